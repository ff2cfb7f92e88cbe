"""Agreed broadcast against an adversary who forges, withholds and times every frame; and faulty variants of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any

import pytest
from broadcasts import CERTIFICATE, CHAIN, DELAY, ECHO, FORGED, MESSAGE, WORK, Broadcast, Broken, Move, check, play
from btard.protocol import broadcast as module
from btard.protocol.broadcast import Answer, Ballot, Offer
from btard.protocol.identity import verify
from btard.protocol.messages import Envelope
from btard.protocol.model import ProtocolError
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from swarms import examples

DELAYS = (0.01, 0.5, DELAY)
STARTS = (0.0, 1.5, 3 * DELAY)
ALL = 127
MASKS = (ALL, 0, 1, 2, 3, 4, 6)
NUDGES = (0.0, 0.0, -0.25, -DELAY, 0.25, -2.5)


@pytest.fixture(autouse=True, scope="module")
def verify_once() -> Iterator[None]:
    """Frames are shared among simulated peers: each signature is checked once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "verify", lru_cache(maxsize=1 << 16)(verify))
        yield


@st.composite
def moves(draw: st.DrawFn, tolerated: int) -> Move:
    """One frame of the adversary."""
    return Move(
        kind=draw(st.sampled_from((0, 0, 1, 1, 2, 2, 3, 3, 4, 5, 6, 7))),
        author=draw(st.integers(0, 2)),
        targets=draw(st.sampled_from((ALL, ALL, 1, 2, 3, 5, 6, 9))),
        round=draw(st.integers(-2, tolerated + 1)),
        nudge=draw(st.sampled_from(NUDGES)),
        version=draw(st.integers(0, 3)),
        versions=tuple(draw(st.lists(st.sampled_from((None, 0, 1)), min_size=3, max_size=3))),
        signers=draw(st.sampled_from((0, 1, 2, FORGED))),
    )


@st.composite
def splits(draw: st.DrawFn, tolerated: int) -> list[Move]:
    """Every faulty peer sends its message to some, so that votes are close, and its echo to some, in time or
    with as many signatures as the last moment needs."""
    made = []
    for author in range(tolerated):
        made.append(Move(MESSAGE, author, draw(st.sampled_from(MASKS)), -2, 0.0, 0, (), 0))
        round_ = draw(st.integers(0, tolerated))
        late = draw(st.sampled_from((0.0, 0.0, 0.25)))
        versions = tuple(draw(st.lists(st.sampled_from((None, 0)), min_size=3, max_size=3)))
        signers = draw(st.sampled_from((round_, round_, FORGED)))
        kind = draw(st.sampled_from((ECHO, CHAIN, CHAIN)))
        made.append(Move(kind, author, draw(st.sampled_from(MASKS)), round_, late, 0, versions, signers))
    return made


@st.composite
def phases(draw: st.DrawFn) -> tuple[Broadcast, list[Move]]:
    """A phase of 3 to 7 peers, n > 2b, with at most b faulty ones, and what these do."""
    peers = draw(st.integers(3, 7))
    tolerated = draw(st.integers(1, (peers - 1) // 2))
    faulty = draw(st.integers(0, tolerated))
    starts = [(draw(st.sampled_from(STARTS)), draw(st.sampled_from((0.0, WORK)))) for _ in range(peers - faulty)]
    broadcast = Broadcast(peers, tolerated, faulty, starts)
    delays = draw(st.lists(st.sampled_from(DELAYS), min_size=1, max_size=12))
    broadcast.delays = lambda sender, receiver: delays[(len(broadcast.sent) * 7 + receiver[0]) % len(delays)]
    free = st.lists(moves(tolerated), max_size=16)
    return broadcast, draw(splits(tolerated) | splits(tolerated) | free)


@pytest.mark.requirement("BCAST-2", "BCAST-4", "BCAST-5", "BCAST-6", "BCAST-7", "BCAST-8")
@settings(max_examples=examples(400))
@given(phases())
def test_honest_peers_agree_in_bounded_time_and_are_never_blamed(phase: tuple[Broadcast, list[Move]]) -> None:
    check(play(*phase))


@settings(max_examples=examples(100))
@given(st.integers(3, 7), st.lists(st.sampled_from(STARTS), min_size=7, max_size=7))
def test_without_faults_an_agreed_phase_takes_two_delays(peers: int, starts: list[float]) -> None:
    tolerated = (peers - 1) // 2
    broadcast = Broadcast(peers, tolerated, 0, [(start, 0.0) for start in starts[:peers]]).run()
    check(broadcast)
    last = max(starts[:peers])
    assert all(member.at == last + 2 * DELAY for member in broadcast.members)
    assert all(member.delivery and not member.delivery.notices.complaints for member in broadcast.members)


# -- Faulty variants: each must be caught ---------------------------------------------------------------


def certificate_of_fewer(ballot: Ballot) -> bool:
    """n − 1 signatures are taken for a certificate."""
    missing = [peer for peer in ballot.place.roster if peer not in ballot.certificate]
    if len(missing) == 1:
        ballot.certificate[missing[0]] = bytes(64)
    return len(missing) <= 1


def echo_after_fallback(ballot: Ballot, envelope: Envelope) -> None:
    """An echo without a chain counts whenever it comes."""
    if envelope.slot == ballot.place.slot:
        module.keep_version(ballot.messages, envelope, module.VERSIONS + ballot.wants(envelope))
    elif ballot.is_echo(envelope):
        ballot.keep_echo(envelope)


def plurality(column: Iterable[bytes | None], peers: int) -> bytes | None:
    """The digest with most votes, however few."""
    return Counter(column).most_common(1)[0][0]


def hasty_complaint(ballot: Ballot) -> None:
    """Complains about missing echoes as soon as messages are due."""
    ballot.complaints |= {peer for peer in ballot.place.roster if peer not in ballot.messages}
    ballot.complaints |= {peer for peer in ballot.place.roster if peer not in ballot.echoes}
    ballot.complaints.discard(ballot.place.identity.peer_id)


def unchecked_certificate(ballot: Ballot, answer: Answer) -> None:
    """One good signature is enough for a whole certificate."""
    for envelope in answer.envelopes:
        ballot.hear(envelope)
    if ballot.mine and len(answer.signatures) == len(ballot.place.roster):
        named = dict(zip(ballot.place.roster, answer.signatures, strict=True))
        if any(ballot.signed_mine(peer, signature) for peer, signature in named.items()):
            ballot.certificate = named


def deaf_to_offers(ballot: Ballot, arrival: Any) -> Any:
    """Nobody asks for a certificate."""
    return [] if isinstance(arrival.frame, Offer) else TAKE(ballot, arrival)


def accept_silently(ballot: Ballot, relay: Any, now: float) -> list[Any]:
    """Accepts echoes in the fallback, but does not vouch for them."""
    ACCEPT(ballot, relay, now)
    return []


def first_version_counts(ballot: Ballot) -> None:
    """Of two echoes of one author the first counts."""
    vectors = [next(iter(versions.values())).message.vector for versions in ballot.echoes.values()]  # type: ignore[union-attr]
    columns = zip(ballot.place.roster, zip(*vectors, strict=True), strict=True)
    ballot.decided = {peer: module.majority(column, len(ballot.place.roster)) for peer, column in columns}


def one_round_less(broadcast: Broadcast, *args: Any) -> Any:
    """b rounds instead of b + 1."""
    broadcast.tolerated -= 1
    try:
        return MEMBER(broadcast, *args)
    finally:
        broadcast.tolerated += 1


TAKE, ACCEPT, MEMBER = Ballot.take, Ballot.accept, Broadcast.member
VARIANTS: dict[str, tuple[Any, str, Callable[..., Any]]] = {
    "a certificate of n - 1 echoes": (Ballot, "certified", certificate_of_fewer),
    "b rounds": (Broadcast, "member", one_round_less),
    "an echo after the fallback began": (Ballot, "hear", echo_after_fallback),
    "chains whenever they come": (Ballot, "in_time", lambda ballot, signatures, now: True),
    "chains by anyone": (module, "vouched", lambda echo, signers, roster: True),
    "no vouching": (Ballot, "accept", accept_silently),
    "most votes instead of a majority of all": (module, "majority", plurality),
    "the first of two echoes": (Ballot, "decide", first_version_counts),
    "complaints before the fallback": (Ballot, "miss_messages", hasty_complaint),
    "certificates not checked in full": (Ballot, "learn", unchecked_certificate),
    "no offers": (Ballot, "take", deaf_to_offers),
    "no fetching": (Ballot, "fetch", lambda ballot: iter(())),
    "no complaints about echoes": (Ballot, "miss_echoes", lambda ballot: None),
}


SCRIPTS: dict[str, tuple[int, int, list[Move]]] = {
    "an echo after the fallback began": (
        3,
        1,
        [Move(MESSAGE, 0, 0b01, -2, 0.0, 0, (), 0), Move(ECHO, 0, 0b01, 0, 0.25, 0, (0,), 0)],
    ),
    "chains whenever they come": (
        5,
        2,
        [Move(MESSAGE, 0, 0b011, -2, 0.0, 0, (), 0), Move(CHAIN, 0, 0b001, 2, -0.25, 0, (0, None), 0)],
    ),
    "no fetching": (
        3,
        1,
        [Move(MESSAGE, 0, 0b01, -2, 0.0, 0, (), 0), Move(ECHO, 0, 0b11, 0, -0.25, 0, (0,), 0)],
    ),
    "most votes instead of a majority of all": (
        3,
        1,
        [Move(MESSAGE, 0, 0b01, -2, 0.0, 0, (), 0), Move(MESSAGE, 0, 0b10, -2, 0.0, 1, (), 0)],
    ),
    "no vouching": (
        5,
        2,
        [Move(MESSAGE, 0, 0b011, -2, 0.0, 0, (), 0), Move(CHAIN, 0, 0b001, 1, 0.0, 0, (0, None), 1)],
    ),
    "the first of two echoes": (
        3,
        1,
        [
            Move(MESSAGE, 0, 0b01, -2, 0.0, 0, (), 0),
            Move(ECHO, 0, 0b01, 0, -0.25, 0, (0,), 0),
            Move(ECHO, 0, 0b10, 0, -0.25, 0, (None,), 0),
        ],
    ),
    "certificates not checked in full": (
        3,
        1,
        [Move(MESSAGE, 0, 0b01, -2, 0.0, 0, (), 0), Move(CERTIFICATE, 0, 0b01, 0, -0.25, 0, (), 0)],
    ),
}
"""Attacks that a random search takes long to find: peers, b, moves."""


@pytest.mark.parametrize("name", VARIANTS)
def test_a_faulty_variant_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, attribute, variant = VARIANTS[name]
    monkeypatch.setattr(owner, attribute, variant)
    with pytest.raises((Broken, ProtocolError)):
        scripted(name) if name in SCRIPTS else search()


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_same_attack_does_nothing_to_the_reference(name: str) -> None:
    scripted(name)


def scripted(name: str) -> None:
    """One attack, step by step."""
    peers, tolerated, moves = SCRIPTS[name]
    check(play(Broadcast(peers, tolerated, tolerated, [(0.0, 0.0)] * (peers - tolerated)), moves))


@settings(max_examples=2000, derandomize=True, database=None, report_multiple_bugs=False, phases=(Phase.generate,))
@given(phases())
def search(phase: tuple[Broadcast, list[Move]]) -> None:
    """Random attacks."""
    check(play(*phase))
