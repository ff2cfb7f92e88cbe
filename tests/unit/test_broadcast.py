"""Agreed broadcast, piece by piece, and the worked example of its chapter."""

from __future__ import annotations

from dataclasses import replace

import pytest
from broadcasts import (
    CHAIN,
    ECHO,
    HEAD,
    KEYS,
    MESSAGE,
    RUN,
    SLOT,
    TIMING,
    Broadcast,
    Move,
    check,
    digest,
    echo,
    message,
    play,
    relay,
)
from btard.protocol.agreed import work_before
from btard.protocol.broadcast import (
    Answer,
    Arrival,
    Ask,
    Ballot,
    Frame,
    Offer,
    Place,
    Relay,
    Timing,
    decode_frame,
    encode_frame,
    frame_item,
)
from btard.protocol.encoding import DecodeError, Item, encode
from btard.protocol.identity import Identity
from btard.protocol.messages import MAX_AGREED_BODY, MessageError, Phase, Slot, seal
from btard.protocol.state import initial_state
from swarms import TinyTask, configuration, genesis

A, B, C, D = KEYS[:4]
ROSTER = tuple(key.peer_id for key in KEYS[:4])
VECTOR = tuple(digest(message(key)) for key in KEYS[:4])
FRAMES: list[Frame] = [
    message(A),
    relay(echo(A, VECTOR), (B, C)),
    Offer(SLOT),
    Ask(SLOT, VECTOR),
    Answer(SLOT, (bytes(64),) * 4, (message(A), message(B))),
]


def ballot(identity: Identity = A) -> Ballot:
    """A peer of four that tolerates one, with its own message."""
    made = Ballot(Place(identity, RUN, SLOT, ROSTER, 1, HEAD))
    made.hear(message(identity))
    return made


def full_ballot() -> Ballot:
    """A peer that has everyone's message, and has echoed."""
    made = ballot()
    for key in KEYS[:4]:
        made.hear(message(key))
    made.echo()
    return made


# -- Frames ------------------------------------------------------------------------------------------


@pytest.mark.requirement("BCAST-1")
@pytest.mark.parametrize("frame", FRAMES, ids=lambda frame: type(frame).__name__)
def test_frames_survive_the_wire(frame: Frame) -> None:
    assert decode_frame(encode_frame(frame), 1 << 16) == frame


WRONG: dict[str, Item] = {
    "not an array": 1,
    "empty": [],
    "unknown kind": [5, []],
    "kind is a truth value": [False, frame_item(message(A))],
    "an item too many": [*frame_item(Offer(SLOT)), 0],  # type: ignore[misc]
    "a place of two": [2, [0, 0]],
    "no such phase": [2, [0, 0, 99]],
    "a short digest": [3, [0, 0, 4], [b"x"]],
    "a short signature": [4, [0, 0, 4], [bytes(63)], []],
    "a short voucher": [1, echo(A, VECTOR).to_item(), [[bytes(32)]]],
    "vouchers not in order": [1, echo(A, VECTOR).to_item(), [[b"b" * 32, bytes(64)], [b"a" * 32, bytes(64)]]],
    "a voucher twice": [1, echo(A, VECTOR).to_item(), [[bytes(32), bytes(64)], [bytes(32), bytes(64)]]],
    "an answer with a header": [4, [0, 0, 4], [], [message(A).signed_header.to_item()[:9]]],  # type: ignore[index]
}


@pytest.mark.requirement("BCAST-1")
@pytest.mark.parametrize("name", WRONG)
def test_wrong_frames_are_refused_by_name(name: str) -> None:
    with pytest.raises(MessageError):
        decode_frame(encode(WRONG[name]), 1 << 16)


@pytest.mark.requirement("BCAST-1")
def test_frames_beyond_their_limit_are_refused() -> None:
    data = encode_frame(message(A))
    assert decode_frame(data, len(data)) == message(A)
    with pytest.raises(DecodeError):
        decode_frame(data, len(data) - 1)


# -- The clock ---------------------------------------------------------------------------------------


@pytest.mark.requirement("BCAST-3")
def test_work_before_a_message_counts_gradients() -> None:
    state = initial_state(genesis(configuration()), TinyTask(64).initial_parameters())
    tried = replace(state, work=3)
    assert [work_before(state, Slot(0, attempt, Phase.COMMIT)) for attempt in (0, 1)] == [2, 1]
    assert work_before(state, Slot(0, 0, Phase.REVEAL)) == 1
    assert work_before(tried, Slot(0, 0, Phase.COMMIT)) == 5
    assert work_before(tried, Slot(0, 0, Phase.SCATTER)) == 4


def test_a_round_is_four_delays() -> None:
    assert (Timing(0.5, 9.0).skew, Timing(0.5, 9.0).round) == (1.5, 2.0)


# -- The worked example ----------------------------------------------------------------------------------

EXAMPLE = [Move(MESSAGE, 0, 0b011, -2, 1.0, 0, (), 0), Move(ECHO, 0, 0b001, 0, -0.1, 0, (0,), 0)]


def example() -> Broadcast:
    """The example of chapter ``broadcast``: ready at 0, E = 4, F = 8, decision at 12, D = 18."""
    return play(Broadcast(4, 1, 1, [(-TIMING.gradient, TIMING.gradient)] * 3), EXAMPLE)


@pytest.mark.requirement("BCAST-2", "BCAST-6", "BCAST-7", "BCAST-8")
def test_the_example_of_the_chapter() -> None:
    phase = example()
    check(phase)
    assert [member.at for member in phase.members] == [18.0, 18.0, 18.0]
    assert all(member.digests == VECTOR for member in phase.members)
    echoed = {sender: time for time, sender, _, frame in phase.sent if getattr(frame, "slot", None) == SLOT.echo}
    assert echoed == {A.peer_id: 1.0, B.peer_id: 1.0, C.peer_id: 4.0}
    vouched = {time for time, _, _, frame in phase.sent if isinstance(frame, Relay)}
    assert vouched == {8.0}
    assert [(time, sender) for time, sender, _, frame in phase.sent if isinstance(frame, Ask)] == [(12.0, C.peer_id)]
    complaints = [member.delivery.notices.complaints for member in phase.members if member.delivery]
    assert complaints == [(), (D.peer_id,), (D.peer_id,)]
    shown = [[one.sender for one in member.delivery.notices.echoes] for member in phase.members if member.delivery]
    assert shown == [[C.peer_id], [C.peer_id], []]


@pytest.mark.requirement("BCAST-5")
def test_one_certificate_is_enough_for_all() -> None:
    """The faulty peer echoes to one peer only; the others have its certificate three delays later."""
    moves = [Move(MESSAGE, 0, 0b111, -2, 1.0, 0, (), 0), Move(ECHO, 0, 0b010, -1, 0.0, 0, (0,), 0)]
    phase = play(Broadcast(4, 1, 1, [(-TIMING.gradient, TIMING.gradient)] * 3), moves)
    check(phase)
    assert [member.at for member in phase.members] == [7.0, 4.0, 7.0]
    assert not any(member.delivery.notices.complaints for member in phase.members if member.delivery)


@pytest.mark.requirement("BCAST-7")
def test_a_chain_counts_to_the_last_moment_and_no_longer() -> None:
    """b = 2: an echo with one more signature is accepted at F + 4Δ, and not a moment later."""
    for nudge, accepted in ((0.0, True), (0.01, False)):
        moves = [Move(MESSAGE, 0, 0b011, -2, 1.0, 0, (), 0), Move(CHAIN, 0, 0b001, 1, nudge, 0, (0, None), 1)]
        phase = play(Broadcast(5, 2, 2, [(0.0, 0.0)] * 3), moves)
        check(phase)
        assert (phase.members[2].digests[3] is not None) is accepted


# -- One peer's ballot ---------------------------------------------------------------------------------


@pytest.mark.requirement("BCAST-9")
def test_two_versions_are_kept_and_the_one_that_was_decided() -> None:
    one = ballot()
    for version in (1, 2, 3):
        one.hear(message(B, version))
    assert list(one.messages[B.peer_id]) == [digest(message(B, version)) for version in (1, 2)]
    one.decided = {B.peer_id: digest(message(B, 3))}
    one.hear(replace(message(B, 3), signature=bytes(64)))
    one.hear(message(B, 3))
    one.hear(message(B, 4))
    assert list(one.messages[B.peer_id]) == [digest(message(B, version)) for version in (1, 2, 3)]
    assert [proof[0].sender for proof in one.evidence()] == [B.peer_id]


@pytest.mark.requirement("BCAST-9")
def test_what_does_not_belong_is_not_kept() -> None:
    one = ballot()
    one.hear(seal(B, bytes(32), SLOT, HEAD, message(B).body))
    one.hear(message(KEYS[5]))
    one.hear(replace(message(B), sender=C.peer_id))
    one.hear(seal(B, RUN, SLOT, HEAD, bytes(MAX_AGREED_BODY + 1)))
    one.hear(echo(B, VECTOR[:3]))
    one.hear(echo(B, VECTOR, bytes(32)))
    assert list(one.messages) == [A.peer_id]
    assert not one.echoes


@pytest.mark.requirement("BCAST-7")
@pytest.mark.parametrize(
    "signers", [(KEYS[5],), (B, B), (C,)], ids=["a stranger", "the author", "a peer, wrong signature"]
)
def test_chains_need_other_peers_of_the_roster(signers: tuple[Identity, ...]) -> None:
    one = full_ballot()
    bad = relay(echo(B, VECTOR), signers)
    if signers == (B, B):
        bad = Relay(bad.echo, ((B.peer_id, bad.echo.signature),))
    if signers == (C,):
        bad = Relay(bad.echo, ((C.peer_id, bytes(64)),))
    one.accept(bad, 0.0)
    assert B.peer_id not in one.echoes
    one.accept(relay(echo(B, VECTOR), (D,)), 0.0)
    assert B.peer_id in one.echoes


@pytest.mark.requirement("BCAST-4")
def test_a_certificate_is_everyones_signature_of_my_echo() -> None:
    one = full_ballot()
    for key in (B, C):
        one.hear(echo(key, VECTOR))
    one.hear(echo(D, (*VECTOR[:3], None)))
    assert not one.certified()
    one.hear(echo(D, VECTOR))
    assert one.certified()


@pytest.mark.requirement("BCAST-5")
def test_an_answer_counts_only_in_full() -> None:
    one, good = full_ballot(), tuple(echo(key, VECTOR).signature for key in KEYS[:4])
    for bad in (good[:3], (*good[:3], bytes(64)), (good[1], good[0], *good[2:])):
        one.learn(Answer(SLOT, bad, ()))
        assert not one.certified() and len(one.certificate) == 1
    one.learn(Answer(SLOT, good, ()))
    assert one.certified()


@pytest.mark.requirement("BCAST-5")
def test_each_offerer_is_asked_once_and_only_while_it_matters() -> None:
    one = ballot()
    offer = Arrival(0.0, B.peer_id, Offer(SLOT))
    assert not list(one.take(offer))  # I have not echoed: there is no certificate
    one = full_ballot()
    assert [send.to for send in one.take(offer)] == [B.peer_id]
    assert not list(one.take(offer))
    assert [send.to for send in one.take(offer._replace(sender=C.peer_id))] == [C.peer_id]
    for key in (B, C, D):
        one.hear(echo(key, VECTOR))
    assert not list(one.take(offer._replace(sender=D.peer_id)))


@pytest.mark.requirement("BCAST-5")
def test_an_answer_has_at_most_one_message_of_each_peer() -> None:
    one = full_ballot()
    one.hear(message(D, 1))
    (sent,) = one.take(Arrival(0.0, B.peer_id, Ask(SLOT, VECTOR[:2])))
    assert isinstance(sent.frame, Answer)
    assert [digest(held) for held in sent.frame.envelopes] == list(VECTOR[2:])
    one.decided = dict(zip(ROSTER, (*VECTOR[:3], digest(message(D, 1))), strict=True))
    assert [digest(held) for held in one.answer(Ask(SLOT, VECTOR[:3])).envelopes] == [digest(message(D, 1))]
    assert one.answer(Ask(SLOT)).envelopes == ()


@pytest.mark.requirement("BCAST-8")
def test_an_echo_that_came_wrapped_is_no_missing_echo() -> None:
    one = full_ballot()
    one.accept(relay(echo(B, VECTOR), (C,)), 0.0)
    one.miss_echoes()
    assert one.complaints == {C.peer_id, D.peer_id}
