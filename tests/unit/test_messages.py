"""Messages: a round trip for every body, a named error for every malformed field, and one place for each message."""

from __future__ import annotations

import contextlib
import hashlib
import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from btard.protocol.encoding import DecodeError, Item, Malformed, NotCanonical, Oversized, TooMany, decode, encode
from btard.protocol.identity import GROUP_ORDER, Identity
from btard.protocol.messages import (
    BODIES,
    BODY_SHAPE,
    ECHO,
    ENVELOPE_OVERHEAD,
    MAX_AGREED_BODY,
    MAX_BODY_ITEMS,
    MAX_ECHOES,
    MAX_LETTERS,
    MAX_NOTICES,
    MAX_STATEMENTS,
    Accusation,
    Aggregate,
    Closing,
    Commit,
    Echo,
    Envelope,
    Message,
    MessageError,
    Notices,
    Phase,
    Proof,
    Report,
    Reveal,
    SignedHeader,
    Slot,
    Statement,
    Vote,
    belongs,
    body_hash,
    decode_body,
    message_digest,
    seal,
)
from btard.protocol.model import MAX_PEERS
from hypothesis import given
from hypothesis import strategies as st

ALICE, BOB = Identity(b"a" * 32), Identity(b"b" * 32)
RUN, HEAD = b"r" * 32, b"h" * 32
SLOT = Slot(7, 1, Phase.COMMIT)


def sha256_tagged(tag: str, data: bytes) -> bytes:
    """The tagged hash, written again."""
    key = hashlib.sha256(tag.encode()).digest()
    return hashlib.sha256(key + key + data).digest()


# -- Strategies -------------------------------------------------------------------------------------

hashes32 = st.binary(min_size=32, max_size=32)
steps = st.integers(0, 2**64 - 1)
slots = st.builds(Slot, steps, steps, st.sampled_from(Phase), steps)
headers = st.builds(SignedHeader, hashes32, slots, hashes32, hashes32, hashes32, st.binary(min_size=64, max_size=64))
ascending = st.lists(hashes32, unique=True, max_size=4).map(lambda peers: tuple(sorted(peers)))
envelopes = st.builds(
    Envelope, hashes32, slots, hashes32, hashes32, st.binary(max_size=32), st.binary(min_size=64, max_size=64)
)


def in_order(found: list[SignedHeader]) -> Proof:
    """Evidence from ``found``."""
    return tuple(sorted(found, key=lambda header: header.digest))


proofs = st.lists(headers, min_size=1, max_size=2, unique_by=lambda header: header.digest).map(in_order)
notices = st.builds(
    Notices, ascending, st.lists(proofs, max_size=2).map(tuple), st.lists(envelopes, max_size=2).map(tuple)
)
letters = st.lists(envelopes, max_size=2, unique_by=lambda letter: (letter.sender, letter.slot)).map(
    lambda made: tuple(sorted(made, key=lambda letter: (letter.sender, letter.slot)))
)
accusations = st.lists(st.builds(Accusation, hashes32, steps), unique=True, max_size=4).map(
    lambda made: tuple(sorted(made))
)
statements = st.lists(
    st.builds(Statement, steps, hashes32, steps, st.binary(max_size=16)), max_size=3, unique_by=lambda made: made[:3]
).map(lambda made: tuple(sorted(made)))
numbers = st.integers(0, 5).flatmap(lambda parts: st.tuples(*[st.binary(min_size=8 * parts, max_size=8 * parts)] * 2))
messages: st.SearchStrategy[Message] = st.one_of(
    st.builds(
        Commit,
        st.lists(hashes32, max_size=4).map(tuple),
        hashes32,
        hashes32,
        accusations,
        letters,
        st.booleans(),
        notices,
    ),
    st.builds(Aggregate, st.none() | hashes32, notices),
    st.builds(Reveal, st.binary(min_size=64, max_size=64), accusations, notices),
    st.builds(
        lambda pair, chunks, noted: Report(pair[0], pair[1], tuple(chunks), noted),
        numbers,
        st.lists(st.binary(max_size=64), max_size=3),
        notices,
    ),
    st.builds(Vote, statements, notices),
    st.just(Closing()),
)


# -- Envelope ---------------------------------------------------------------------------------------


@pytest.mark.requirement("MSG-1")
def test_what_is_signed_is_the_tagged_hash_of_body_hash_and_header() -> None:
    envelope = seal(ALICE, RUN, SLOT, HEAD, b"body")
    header = encode([1, RUN, 7, 1, 0, 0, ALICE.peer_id, HEAD])
    hashed = sha256_tagged("btard/body", b"body")
    assert body_hash(b"body") == hashed
    digest = sha256_tagged("btard/message", hashed + header)
    assert envelope.signed_header.digest == message_digest(RUN, SLOT, ALICE.peer_id, HEAD, hashed) == digest
    assert envelope.signature == ALICE.sign(digest)


@pytest.mark.requirement("MSG-1")
@pytest.mark.parametrize(
    "change",
    [
        {"run": b"q" * 32},
        {"slot": SLOT._replace(step=8)},
        {"slot": SLOT._replace(attempt=0)},
        {"slot": SLOT._replace(phase=Phase.REVEAL)},
        {"slot": SLOT._replace(part=1)},
        {"sender": BOB.peer_id},
        {"log_head": b"g" * 32},
        {"body": b"another"},
    ],
)
def test_the_signature_covers_every_field(change: dict[str, Any]) -> None:
    envelope = seal(ALICE, RUN, SLOT, HEAD, b"body")
    assert envelope.signed_header.authentic
    changed = replace(envelope, **change)
    assert changed.signed_header.digest != envelope.signed_header.digest
    assert not changed.signed_header.authentic


@pytest.mark.requirement("MSG-2")
def test_only_the_senders_signature_is_authentic() -> None:
    envelope = seal(ALICE, RUN, SLOT, HEAD, b"body")
    digest = envelope.signed_header.digest
    assert not replace(envelope, signature=BOB.sign(digest)).signed_header.authentic
    assert not replace(envelope, signature=bytes(64)).signed_header.authentic
    high = int.from_bytes(envelope.signature[32:], "little") + GROUP_ORDER
    crafted = envelope.signature[:32] + high.to_bytes(32, "little")
    assert not replace(envelope, signature=crafted).signed_header.authentic


@pytest.mark.requirement("MSG-3")
@given(hashes32, slots, hashes32, hashes32, st.binary(max_size=200), st.binary(min_size=64, max_size=64))
def test_envelopes_and_headers_survive_the_wire(
    run: bytes, slot: Slot, sender: bytes, head: bytes, body: bytes, signature: bytes
) -> None:
    envelope = Envelope(run, slot, sender, head, body, signature)
    data = envelope.encode()
    assert len(data) <= len(body) + ENVELOPE_OVERHEAD
    assert Envelope.decode(data, len(body)) == envelope
    header = envelope.signed_header
    assert SignedHeader.from_item(header.to_item()) == header


def wire(**changes: Any) -> list[Any]:
    """An envelope's items, with some replaced."""
    names = ["version", "run", "step", "attempt", "phase", "part", "sender", "head", "body", "signature"]
    values: list[Any] = [1, RUN, 7, 1, 0, 0, ALICE.peer_id, HEAD, b"body", bytes(64)]
    fields = dict(zip(names, values, strict=True))
    return list({**fields, **changes}.values())


@pytest.mark.requirement("MSG-3")
@pytest.mark.parametrize(
    ("item", "says"),
    [
        (wire()[:9], "array of 10 items"),
        ([*wire(), 0], "more than 11 items"),
        ({"version": 1}, "neither text nor a map"),
        (wire(version=0), "protocol version"),
        (wire(version=2), "protocol version"),
        (wire(version=True), "protocol version"),
        (wire(version=b"\x01"), "protocol version"),
        (wire(run=RUN[:31]), "32 bytes"),
        (wire(run=RUN + b"r"), "32 bytes"),
        (wire(run="r" * 32), "neither text nor a map"),
        (wire(step=None), "unsigned integer"),
        (wire(step=True), "unsigned integer"),
        (wire(attempt=b"1"), "unsigned integer"),
        (wire(phase=16), "no phase 16"),
        (wire(phase=False), "unsigned integer"),
        (wire(part=[0]), "more than 1 containers"),
        (wire(part=None), "unsigned integer"),
        (wire(sender=b"s" * 33), "32 bytes"),
        (wire(head=None), "32 bytes"),
        (wire(body="body"), "neither text nor a map"),
        (wire(body=None), "byte string"),
        (wire(signature=bytes(63)), "64 bytes"),
        (wire(signature=bytes(65)), "64 bytes"),
    ],
)
def test_a_malformed_envelope_is_refused_by_name(item: Any, says: str) -> None:
    with pytest.raises((DecodeError, MessageError), match=says):
        Envelope.decode(encode(item), 100)


@pytest.mark.requirement("MSG-3")
def test_the_decoder_of_envelopes_is_strict_and_bounded() -> None:
    data = encode(wire(body=bytes(1000)))
    assert Envelope.decode(data, 1000).body == bytes(1000)
    with pytest.raises(Oversized):
        Envelope.decode(data, len(data) - ENVELOPE_OVERHEAD - 1)
    with pytest.raises(Malformed):
        Envelope.decode(data + b"\0", 1000)
    with pytest.raises(DecodeError):
        Envelope.decode(data[:-1], 1000)
    with pytest.raises(NotCanonical):
        Envelope.decode(data.replace(b"\x8a\x01", b"\x8a\x18\x01", 1), 1000)


@pytest.mark.requirement("MSG-3")
@given(st.binary(max_size=300))
def test_hostile_bytes_raise_nothing_but_named_errors(data: bytes) -> None:
    with contextlib.suppress(DecodeError, MessageError):
        Envelope.decode(data, 300)
    for phase in BODIES:
        for slot in (SLOT._replace(phase=phase), SLOT._replace(phase=phase).echo):
            with contextlib.suppress(DecodeError, MessageError):
                decode_body(slot, data)


# -- Who may say what where -------------------------------------------------------------------------


@pytest.mark.requirement("MSG-4")
def test_a_message_belongs_to_its_run_slot_and_sender_alone() -> None:
    envelope = seal(ALICE, RUN, SLOT, HEAD, b"body")
    assert belongs(envelope, RUN, SLOT, ALICE.peer_id)
    assert not belongs(envelope, b"q" * 32, SLOT, ALICE.peer_id)
    assert not belongs(envelope, RUN, SLOT, BOB.peer_id)
    for other in (
        SLOT._replace(step=6),
        SLOT._replace(attempt=0),
        SLOT._replace(phase=Phase.REPORT),
        SLOT._replace(part=2),
    ):
        assert not belongs(envelope, RUN, other, ALICE.peer_id)


@pytest.mark.requirement("MSG-4")
def test_a_message_with_a_false_signature_belongs_nowhere() -> None:
    envelope = seal(ALICE, RUN, SLOT, HEAD, b"body")
    assert not belongs(replace(envelope, body=b"other"), RUN, SLOT, ALICE.peer_id)
    assert not belongs(replace(envelope, sender=BOB.peer_id), RUN, SLOT, BOB.peer_id)
    for byte in range(64):
        signature = bytearray(envelope.signature)
        signature[byte] ^= 1
        assert not belongs(replace(envelope, signature=bytes(signature)), RUN, SLOT, ALICE.peer_id)


@pytest.mark.requirement("MSG-4")
def test_the_announced_body_needs_no_second_signature() -> None:
    envelope = replace(seal(ALICE, RUN, SLOT, HEAD, b"body"), signature=bytes(64))
    assert belongs(envelope, RUN, SLOT, ALICE.peer_id, body_hash(b"body"))
    assert not belongs(envelope, RUN, SLOT, ALICE.peer_id, body_hash(b"other"))
    assert not belongs(envelope, RUN, SLOT, BOB.peer_id, body_hash(b"body"))
    assert not belongs(envelope, RUN, SLOT._replace(step=8), ALICE.peer_id, body_hash(b"body"))
    signed = seal(ALICE, RUN, SLOT, HEAD, b"body")
    assert belongs(signed, RUN, SLOT, ALICE.peer_id, body_hash(b"other"))  # which makes it evidence


def test_a_known_body_hash_gives_the_same_signature() -> None:
    assert seal(ALICE, RUN, SLOT, HEAD, b"body", body_hash(b"body")) == seal(ALICE, RUN, SLOT, HEAD, b"body")


# -- Bodies -------------------------------------------------------------------------------------------


@pytest.mark.requirement("MSG-5")
@given(messages)
def test_every_body_survives_the_wire(message: Commit | Aggregate | Reveal | Report | Vote | Closing) -> None:
    data = encode(message.to_item())
    assert len(data) <= MAX_AGREED_BODY
    slot = SLOT._replace(phase=message.phase)
    assert decode_body(slot, data) == message
    assert seal(ALICE, RUN, slot, HEAD, data).message == message
    if isinstance(message, Vote):  # of both kinds of trial
        assert decode_body(SLOT._replace(phase=Phase.REPORT_VOTE), data) == message


@pytest.mark.requirement("MSG-5")
@given(st.sampled_from(sorted(BODIES)), st.lists(st.none() | hashes32, max_size=5).map(tuple))
def test_an_echo_survives_the_wire_in_every_agreed_phase(phase: Phase, vector: tuple[bytes | None, ...]) -> None:
    slot = Slot(7, 1, phase).echo
    assert slot == Slot(7, 1, phase, 1)
    assert seal(ALICE, RUN, slot, HEAD, encode(list(vector))).message == Echo(vector)
    assert Echo(vector).to_item() == list(vector)


def header_item(**changes: Any) -> list[Any]:
    """A signed header's items."""
    return wire(body=bytes(32), **changes)


LOW, HIGH = b"\x01" * 32, b"\x02" * 32


def two_headers() -> list[Item]:
    """Two versions for one slot, in order of digest."""
    made = (SignedHeader.from_item(header_item(head=head)) for head in (LOW, HIGH))
    return [header.to_item() for header in in_order(list(made))]


COMMIT: list[Any] = [
    [LOW, LOW],
    HEAD,
    HEAD,
    [[LOW, 3], [LOW, 4], [HIGH, 0]],
    [wire(phase=7, sender=LOW), wire(phase=7, sender=HIGH, step=1), wire(phase=8, sender=HIGH, step=1)],
    True,
    [LOW, HIGH],
    [[header_item()], two_headers()],
    [wire(part=1), wire()],
]
AGGREGATE: list[Any] = [HEAD, [LOW], [[header_item()]], []]
REVEAL: list[Any] = [bytes(64), [[LOW, 3]], [LOW], [], [wire(part=1)]]
REPORT: list[Any] = [bytes(16), bytes(16), [b"chunk"], [], [], []]
VOTE: list[Any] = [[[3, LOW, 8, bytes(16)], [3, LOW, 9, b""], [3, HIGH, 7, b""], [4, LOW, 7, b""]], [LOW], [], []]


def changed(body: list[Any], index: int, value: Any) -> list[Any]:
    """The body with one item replaced."""
    return [*body[:index], value, *body[index + 1 :]]


MALFORMED: list[tuple[Phase, Any, str]] = [
    (Phase.COMMIT, COMMIT[:8], "a Commit is an array of 9 items"),
    (Phase.COMMIT, [*COMMIT, 0], "a Commit is an array of 9 items"),
    (Phase.COMMIT, {}, "neither text nor a map"),
    (Phase.COMMIT, 0, "a Commit is an array of 9 items"),
    (Phase.COMMIT, changed(COMMIT, 0, None), "array of at most"),
    (Phase.COMMIT, changed(COMMIT, 0, [bytes(31)]), "32 bytes"),
    (Phase.COMMIT, changed(COMMIT, 0, [bytes(32)] * (MAX_NOTICES + 1)), "array of at most"),
    (Phase.COMMIT, changed(COMMIT, 1, bytes(33)), "32 bytes"),
    (Phase.COMMIT, changed(COMMIT, 2, 5), "32 bytes"),
    (Phase.COMMIT, changed(COMMIT, 3, [[LOW]]), "an accusation is an array of 2 items"),
    (Phase.COMMIT, changed(COMMIT, 3, [[LOW, True]]), "unsigned integer"),
    (Phase.COMMIT, changed(COMMIT, 3, [[LOW, 3], [LOW, 3]]), "accusations are listed in strictly ascending order"),
    (Phase.COMMIT, changed(COMMIT, 3, [[HIGH, 3], [LOW, 3]]), "accusations are listed in strictly ascending order"),
    (Phase.COMMIT, changed(COMMIT, 4, None), "array of at most 64"),
    (Phase.COMMIT, changed(COMMIT, 4, [LOW]), "an envelope is an array of 10 items"),
    (Phase.COMMIT, changed(COMMIT, 4, [wire(step=k) for k in range(MAX_LETTERS + 1)]), "array of at most 64"),
    (Phase.COMMIT, changed(COMMIT, 4, COMMIT[4][::-1]), "letters are listed in strictly ascending order"),
    (Phase.COMMIT, changed(COMMIT, 4, [wire(), wire()]), "letters are listed in strictly ascending order"),
    (Phase.COMMIT, changed(COMMIT, 4, [wire(body=bytes(33))]), "a letter has at most 32 bytes"),
    (Phase.COMMIT, changed(COMMIT, 5, None), "true or false"),
    (Phase.COMMIT, changed(COMMIT, 5, 1), "true or false"),
    (Phase.COMMIT, changed(COMMIT, 6, [LOW, LOW]), "peers are listed in strictly ascending order"),
    (Phase.COMMIT, changed(COMMIT, 6, [HIGH, LOW]), "peers are listed in strictly ascending order"),
    (Phase.COMMIT, changed(COMMIT, 7, [[header_item(phase=16)]]), "no phase 16"),
    (Phase.COMMIT, changed(COMMIT, 7, [[wire()]]), "32 bytes"),
    (Phase.COMMIT, changed(COMMIT, 7, [header_item()]), "array of at most 2"),
    (Phase.COMMIT, changed(COMMIT, 7, [[]]), "one signed header, or two in ascending order of digest"),
    (Phase.COMMIT, changed(COMMIT, 7, [two_headers()[::-1]]), "one signed header, or two in ascending order"),
    (Phase.COMMIT, changed(COMMIT, 7, [[header_item(), header_item()]]), "one signed header, or two in ascending"),
    (Phase.COMMIT, changed(COMMIT, 7, [[*two_headers(), header_item()]]), "array of at most 2"),
    (Phase.COMMIT, changed(COMMIT, 7, [[header_item()]] * (MAX_NOTICES + 1)), "array of at most"),
    (Phase.COMMIT, changed(COMMIT, 8, None), "array of at most 8"),
    (Phase.COMMIT, changed(COMMIT, 8, [header_item()[:9]]), "an envelope is an array of 10 items"),
    (Phase.COMMIT, changed(COMMIT, 8, [wire()] * (MAX_ECHOES + 1)), "array of at most 8"),
    (Phase.AGGREGATE, AGGREGATE[:3], "an Aggregate is an array of 4 items"),
    (Phase.AGGREGATE, changed(AGGREGATE, 0, False), "32 bytes"),
    (Phase.AGGREGATE, changed(AGGREGATE, 0, b""), "32 bytes"),
    (Phase.AGGREGATE, changed(AGGREGATE, 1, [LOW, LOW]), "strictly ascending"),
    (Phase.AGGREGATE, changed(AGGREGATE, 2, [[[]]]), "a signed header is an array of 10 items"),
    (Phase.REVEAL, REVEAL[:4], "a Reveal is an array of 5 items"),
    (Phase.REVEAL, changed(REVEAL, 0, bytes(32)), "64 bytes"),
    (Phase.REVEAL, changed(REVEAL, 1, [[LOW, 1], [LOW, 0]]), "strictly ascending"),
    (Phase.REPORT, REPORT[:5], "a Report is an array of 6 items"),
    (Phase.REPORT, changed(REPORT, 0, bytes(8)), "as many norms as inner products"),
    (Phase.REPORT, [bytes(12), bytes(12), [], [], [], []], "as many norms as inner products"),
    (Phase.REPORT, changed(REPORT, 1, None), "byte string"),
    *(
        (phase, item, says)
        for phase in (Phase.COMMIT_VOTE, Phase.REPORT_VOTE)
        for item, says in (
            (VOTE[:3], "a Vote is an array of 4 items"),
            (changed(VOTE, 0, [VOTE[0][0][:3]]), "a statement is an array of 4 items"),
            (changed(VOTE, 0, [changed(VOTE[0][0], 0, None)]), "unsigned integer"),
            (changed(VOTE, 0, [changed(VOTE[0][0], 1, LOW[:31])]), "32 bytes"),
            (changed(VOTE, 0, [changed(VOTE[0][0], 2, True)]), "unsigned integer"),
            (changed(VOTE, 0, [changed(VOTE[0][0], 3, None)]), "byte string"),
            (changed(VOTE, 0, VOTE[0][::-1]), "statements are listed in strictly ascending order"),
            (
                changed(VOTE, 0, [VOTE[0][0], changed(VOTE[0][0], 3, b"")]),
                "statements are listed in strictly ascending",
            ),
            (changed(VOTE, 0, [[step, LOW, 7, b""] for step in range(MAX_STATEMENTS + 1)]), "array of at most 4096"),
            (changed(VOTE, 1, [LOW, LOW]), "strictly ascending"),
        )
    ),
    (Phase.CLOSING, [0], "a Closing is an array of 0 items"),
    (Phase.CLOSING, None, "a Closing is an array of 0 items"),
]


@pytest.mark.requirement("MSG-5")
@pytest.mark.parametrize(("phase", "item", "says"), MALFORMED)
def test_a_malformed_body_is_refused_by_name(phase: Phase, item: Any, says: str) -> None:
    data = encode(item)
    with pytest.raises((DecodeError, MessageError), match=says):
        decode_body(SLOT._replace(phase=phase), data)
    assert seal(ALICE, RUN, SLOT._replace(phase=phase), HEAD, data).message is None


@pytest.mark.requirement("MSG-5")
@pytest.mark.parametrize(
    ("phase", "body"),
    [
        (Phase.COMMIT, COMMIT),
        (Phase.AGGREGATE, AGGREGATE),
        (Phase.REVEAL, REVEAL),
        (Phase.REPORT, REPORT),
        (Phase.COMMIT_VOTE, VOTE),
        (Phase.REPORT_VOTE, VOTE),
    ],
)
def test_the_bodies_that_the_malformed_ones_are_made_from_are_well_formed(phase: Phase, body: list[Any]) -> None:
    message = decode_body(SLOT._replace(phase=phase), encode(body))
    assert message.to_item() == body


@pytest.mark.requirement("MSG-5")
@pytest.mark.parametrize(
    ("vector", "says"),
    [({}, "neither text"), (0, "an array"), ([LOW[:31]], "32 bytes"), ([0], "32 bytes"), ([None] * 1025, "1025 items")],
)
def test_a_malformed_echo_is_refused_by_name(vector: Any, says: str) -> None:
    with pytest.raises((DecodeError, MessageError), match=says):
        decode_body(SLOT.echo, encode(vector))
    assert seal(ALICE, RUN, SLOT.echo, HEAD, encode(vector)).message is None


@pytest.mark.requirement("MSG-5")
@pytest.mark.parametrize(
    "slot", [*(SLOT._replace(phase=phase) for phase in Phase if phase not in BODIES), SLOT._replace(part=2)]
)
def test_a_slot_without_a_body_has_no_message(slot: Slot) -> None:
    for body in (encode([]), encode(COMMIT)):
        with pytest.raises(MessageError, match="the body of a part is no message"):
            decode_body(slot, body)


@pytest.mark.requirement("MSG-5")
def test_an_oversized_body_is_refused_before_it_is_read() -> None:
    with pytest.raises(Oversized):
        decode_body(SLOT._replace(phase=Phase.CLOSING), bytes(MAX_AGREED_BODY + 1))


@pytest.mark.requirement("MSG-5")
@pytest.mark.parametrize("part", [0, ECHO])
def test_a_body_of_many_small_items_is_refused_before_they_are_built(part: int) -> None:
    body = b"\x9a" + (1_000_000).to_bytes(4, "big") + b"\0" * 1_000_000
    slot = Slot(1, 0, Phase.COMMIT_VOTE, part)
    tracemalloc.start()
    try:
        with pytest.raises(TooMany):
            decode_body(slot, body)
        assert tracemalloc.get_traced_memory()[1] < 10_000
    finally:
        tracemalloc.stop()


@pytest.mark.requirement("MSG-5")
def test_the_vote_with_most_items_is_read() -> None:
    """As many of everything as the CDDL allows; so the bound refuses nothing that was a message before."""
    peers = tuple(index.to_bytes(32, "big") for index in range(MAX_PEERS))
    proof = in_order([SignedHeader(RUN, SLOT, HEAD, HEAD, body, bytes(64)) for body in (LOW, HIGH)])
    echo = Envelope(RUN, SLOT.echo, HEAD, HEAD, b"", bytes(64))
    statements = tuple(Statement(number // 1024, peers[number % 1024], 0) for number in range(MAX_STATEMENTS))
    vote = Vote(statements, Notices(peers, (proof,) * MAX_NOTICES, (echo,) * MAX_ECHOES))
    data = encode(vote.to_item())
    with pytest.raises(TooMany):
        decode(data, len(data), BODY_SHAPE._replace(items=MAX_BODY_ITEMS - 1))
    assert len(data) <= MAX_AGREED_BODY and decode_body(Slot(1, 0, Phase.COMMIT_VOTE), data) == vote


@pytest.mark.requirement("MSG-5")
def test_the_largest_honest_message_fits() -> None:
    peers = tuple(index.to_bytes(32, "big") for index in range(MAX_PEERS))
    slot = Slot(2**32, MAX_PEERS, Phase.GATHER, MAX_PEERS)
    proof = in_order([SignedHeader(RUN, slot, HEAD, HEAD, body, bytes(64)) for body in (LOW, HIGH)])
    echo = seal(ALICE, RUN, Slot(2**32, MAX_PEERS, Phase.REPORT, 1), HEAD, encode(list(peers)))
    full = Notices(peers, (proof,) * MAX_PEERS, (echo,) * MAX_ECHOES)
    accused = tuple(Accusation(peer, 2**32) for peer in peers)
    petition = Slot(2**32, 0, Phase.PETITION)
    letters = tuple(Envelope(RUN, petition, peer, HEAD, HEAD, bytes(64)) for peer in peers[:MAX_LETTERS])
    largest = Commit(peers, HEAD, HEAD, accused, letters, True, full)
    data = encode(largest.to_item())
    assert len(data) <= MAX_AGREED_BODY
    assert decode_body(SLOT, data) == largest


# -- Notices ------------------------------------------------------------------------------------------


def single(sender: bytes, step: int = 7) -> Proof:
    """Evidence of one header, as of a mismatched part."""
    return (SignedHeader(RUN, SLOT._replace(step=step), sender, HEAD, HEAD, bytes(64)),)


def double(sender: bytes, step: int = 7) -> Proof:
    """Evidence of two versions."""
    slot = SLOT._replace(step=step)
    return in_order([SignedHeader(RUN, slot, sender, HEAD, body, bytes(64)) for body in (LOW, HIGH)])


@pytest.mark.requirement("BCAST-8")
def test_merged_notices_hold_each_thing_once_in_ascending_order() -> None:
    echoes = [seal(ALICE, RUN, SLOT._replace(step=step).echo, HEAD, b"") for step in range(2)]
    left = Notices((HIGH,), (single(HIGH),), (echoes[0],))
    right = Notices((LOW, HIGH), (single(HIGH), single(LOW)), (echoes[1], echoes[0]))
    in_order = tuple(sorted(echoes, key=lambda echo: echo.signed_header.digest))
    assert left.merged(right) == Notices((LOW, HIGH), (single(LOW), single(HIGH)), in_order)
    assert left.merged(Notices()) == Notices().merged(left) == left


def test_merged_notices_hold_one_proof_against_each_peer_and_rather_that_of_two_versions() -> None:
    part, versions = Notices((), (single(LOW),)), Notices((), (double(LOW),))
    assert part.merged(versions) == versions.merged(part) == versions
    other = Notices((), (single(HIGH), double(HEAD)))
    merged = versions.merged(part.merged(other)).evidence
    assert len(merged) == 3 and set(merged) == {single(HIGH), double(LOW), double(HEAD)}
    for proof, later in ((single(LOW), single(LOW, step=8)), (double(LOW), double(LOW, step=8))):
        lowest = min(proof, later, key=lambda chosen: [header.digest for header in chosen])
        assert Notices((), (proof,)).merged(Notices((), (later,))).evidence == (lowest,)


def test_merged_notices_fit_into_one_message() -> None:
    proofs = [single(index.to_bytes(32, "big")) for index in range(2000)]
    echoes = [seal(ALICE, RUN, SLOT._replace(step=step).echo, HEAD, b"") for step in range(MAX_ECHOES + 1)]
    merged = Notices((), tuple(proofs[:1000])).merged(Notices((), tuple(proofs[1000:]), tuple(echoes)))
    assert merged.evidence == tuple(proofs[:MAX_NOTICES])
    assert merged.echoes == tuple(sorted(echoes, key=lambda echo: echo.signed_header.digest)[:MAX_ECHOES])
    assert decode_body(SLOT._replace(phase=Phase.AGGREGATE), encode(Aggregate(None, merged).to_item())) == Aggregate(
        None, merged
    )


def test_a_report_holds_inner_products_then_norms() -> None:
    report = Report.of(np.array([1.0, -2.0]), np.array([3.0, 4.0]))
    assert report.matrix().tolist() == [[1.0, -2.0], [3.0, 4.0]]
    assert report.norms == np.array([3.0, 4.0]).astype("<f8").tobytes()
    assert Report(b"", b"").matrix().shape == (2, 0)


def test_the_agreed_phases_are_those_with_a_body() -> None:
    assert [phase.name for phase in Phase if phase.agreed] == [
        "COMMIT",
        "AGGREGATE",
        "REVEAL",
        "REPORT",
        "CLOSING",
        "COMMIT_VOTE",
        "REPORT_VOTE",
    ]
    assert {phase for phase in Phase if phase.agreed} == set(BODIES)


def test_the_phases_have_these_codes_and_this_order() -> None:
    by_code = (
        "COMMIT SCATTER AGGREGATE GATHER REVEAL REPORT CLOSING PETITION PROBATION "
        "AUDIT COMMIT_TRIAL COMMIT_VOTE REPORT_TRIAL REPORT_VOTE BALLOT TALLY"
    )
    assert [phase.name for phase in Phase] == by_code.split()
    assert [int(phase) for phase in Phase] == list(range(16))
    in_an_attempt = (
        "AUDIT COMMIT COMMIT_TRIAL COMMIT_VOTE SCATTER BALLOT AGGREGATE GATHER TALLY REVEAL REPORT "
        "REPORT_TRIAL REPORT_VOTE CLOSING PETITION PROBATION"
    )
    assert [phase.name for phase in sorted(Phase, key=lambda phase: phase.rank)] == in_an_attempt.split()
