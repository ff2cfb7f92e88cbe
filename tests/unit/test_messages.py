"""Messages: a round trip for every body, a named error for every malformed field, and one place for each message."""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from btard.protocol.encoding import DecodeError, Malformed, NotCanonical, Oversized, encode
from btard.protocol.identity import GROUP_ORDER, Identity
from btard.protocol.messages import (
    BODIES,
    ENVELOPE_OVERHEAD,
    MAX_AGREED_BODY,
    MAX_NOTICES,
    Accusation,
    Aggregate,
    Closing,
    Commit,
    Envelope,
    Message,
    MessageError,
    Notices,
    Phase,
    Report,
    Reveal,
    SignedHeader,
    Slot,
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
notices = st.builds(Notices, ascending, st.lists(headers, max_size=2).map(tuple))
accusations = st.lists(st.builds(Accusation, hashes32, steps), unique=True, max_size=4).map(
    lambda made: tuple(sorted(made))
)
numbers = st.integers(0, 5).flatmap(lambda parts: st.tuples(*[st.binary(min_size=8 * parts, max_size=8 * parts)] * 2))
messages: st.SearchStrategy[Message] = st.one_of(
    st.builds(Commit, st.lists(hashes32, max_size=4).map(tuple), hashes32, hashes32, accusations, notices),
    st.builds(Aggregate, st.none() | hashes32, notices),
    st.builds(Reveal, st.binary(min_size=64, max_size=64), accusations, notices),
    st.builds(lambda pair, noted: Report(pair[0], pair[1], noted), numbers, notices),
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
        ([*wire(), 0], "array of 10 items"),
        ({"version": 1}, "array of 10 items"),
        (wire(version=0), "protocol version"),
        (wire(version=2), "protocol version"),
        (wire(version=True), "protocol version"),
        (wire(version=b"\x01"), "protocol version"),
        (wire(run=RUN[:31]), "32 bytes"),
        (wire(run=RUN + b"r"), "32 bytes"),
        (wire(run="r" * 32), "32 bytes"),
        (wire(step=None), "unsigned integer"),
        (wire(step=True), "unsigned integer"),
        (wire(attempt=b"1"), "unsigned integer"),
        (wire(phase=7), "no phase 7"),
        (wire(phase=False), "unsigned integer"),
        (wire(part=[0]), "unsigned integer"),
        (wire(sender=b"s" * 33), "32 bytes"),
        (wire(head=None), "32 bytes"),
        (wire(body="body"), "byte string"),
        (wire(body=None), "byte string"),
        (wire(signature=bytes(63)), "64 bytes"),
        (wire(signature=bytes(65)), "64 bytes"),
    ],
)
def test_a_malformed_envelope_is_refused_by_name(item: Any, says: str) -> None:
    with pytest.raises(MessageError, match=says):
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
        with contextlib.suppress(DecodeError, MessageError):
            decode_body(phase, data)


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
def test_every_body_survives_the_wire(message: Message) -> None:
    data = encode(message.to_item())
    assert len(data) <= MAX_AGREED_BODY
    assert decode_body(message.phase, data) == message
    envelope = seal(ALICE, RUN, SLOT._replace(phase=message.phase), HEAD, data)
    assert envelope.message == message


def header_item(**changes: Any) -> list[Any]:
    """A signed header's items."""
    return wire(body=bytes(32), **changes)


LOW, HIGH = b"\x01" * 32, b"\x02" * 32
COMMIT: list[Any] = [[LOW, LOW], HEAD, HEAD, [[LOW, 3], [LOW, 4], [HIGH, 0]], [LOW, HIGH], [header_item()]]
AGGREGATE: list[Any] = [HEAD, [LOW], [header_item()]]
REVEAL: list[Any] = [bytes(64), [[LOW, 3]], [LOW], []]
REPORT: list[Any] = [bytes(16), bytes(16), [], []]


def changed(body: list[Any], index: int, value: Any) -> list[Any]:
    """The body with one item replaced."""
    return [*body[:index], value, *body[index + 1 :]]


MALFORMED: list[tuple[Phase, Any, str]] = [
    (Phase.COMMIT, COMMIT[:5], "a Commit is an array of 6 items"),
    (Phase.COMMIT, [*COMMIT, 0], "a Commit is an array of 6 items"),
    (Phase.COMMIT, {}, "a Commit is an array of 6 items"),
    (Phase.COMMIT, changed(COMMIT, 0, None), "array of at most"),
    (Phase.COMMIT, changed(COMMIT, 0, [bytes(31)]), "32 bytes"),
    (Phase.COMMIT, changed(COMMIT, 0, [bytes(32)] * (MAX_NOTICES + 1)), "array of at most"),
    (Phase.COMMIT, changed(COMMIT, 1, bytes(33)), "32 bytes"),
    (Phase.COMMIT, changed(COMMIT, 2, 5), "32 bytes"),
    (Phase.COMMIT, changed(COMMIT, 3, [[LOW]]), "an accusation is an array of 2 items"),
    (Phase.COMMIT, changed(COMMIT, 3, [[LOW, True]]), "unsigned integer"),
    (Phase.COMMIT, changed(COMMIT, 3, [[LOW, 3], [LOW, 3]]), "accusations are listed in strictly ascending order"),
    (Phase.COMMIT, changed(COMMIT, 3, [[HIGH, 3], [LOW, 3]]), "accusations are listed in strictly ascending order"),
    (Phase.COMMIT, changed(COMMIT, 4, [LOW, LOW]), "peers are listed in strictly ascending order"),
    (Phase.COMMIT, changed(COMMIT, 4, [HIGH, LOW]), "peers are listed in strictly ascending order"),
    (Phase.COMMIT, changed(COMMIT, 5, [header_item(phase=9)]), "no phase 9"),
    (Phase.COMMIT, changed(COMMIT, 5, [wire()]), "32 bytes"),
    (Phase.AGGREGATE, AGGREGATE[:2], "an Aggregate is an array of 3 items"),
    (Phase.AGGREGATE, changed(AGGREGATE, 0, False), "32 bytes"),
    (Phase.AGGREGATE, changed(AGGREGATE, 0, b""), "32 bytes"),
    (Phase.AGGREGATE, changed(AGGREGATE, 1, [LOW, LOW]), "strictly ascending"),
    (Phase.AGGREGATE, changed(AGGREGATE, 2, [[]]), "a signed header is an array of 10 items"),
    (Phase.REVEAL, REVEAL[:3], "a Reveal is an array of 4 items"),
    (Phase.REVEAL, changed(REVEAL, 0, bytes(32)), "64 bytes"),
    (Phase.REVEAL, changed(REVEAL, 1, [[LOW, 1], [LOW, 0]]), "strictly ascending"),
    (Phase.REPORT, REPORT[:3], "a Report is an array of 4 items"),
    (Phase.REPORT, changed(REPORT, 0, bytes(8)), "as many norms as inner products"),
    (Phase.REPORT, [bytes(12), bytes(12), [], []], "as many norms as inner products"),
    (Phase.REPORT, changed(REPORT, 1, None), "byte string"),
    (Phase.CLOSING, [0], "a Closing is an array of 0 items"),
    (Phase.CLOSING, None, "a Closing is an array of 0 items"),
]


@pytest.mark.requirement("MSG-5")
@pytest.mark.parametrize(("phase", "item", "says"), MALFORMED)
def test_a_malformed_body_is_refused_by_name(phase: Phase, item: Any, says: str) -> None:
    data = encode(item)
    with pytest.raises(MessageError, match=says):
        decode_body(phase, data)
    assert seal(ALICE, RUN, SLOT._replace(phase=phase), HEAD, data).message is None


@pytest.mark.requirement("MSG-5")
@pytest.mark.parametrize(
    ("phase", "body"),
    [(Phase.COMMIT, COMMIT), (Phase.AGGREGATE, AGGREGATE), (Phase.REVEAL, REVEAL), (Phase.REPORT, REPORT)],
)
def test_the_bodies_that_the_malformed_ones_are_made_from_are_well_formed(phase: Phase, body: list[Any]) -> None:
    message = decode_body(phase, encode(body))
    assert message.to_item() == body


@pytest.mark.requirement("MSG-5")
def test_an_oversized_body_is_refused_before_it_is_read() -> None:
    with pytest.raises(Oversized):
        decode_body(Phase.CLOSING, bytes(MAX_AGREED_BODY + 1))


@pytest.mark.requirement("MSG-5")
def test_the_largest_honest_message_fits() -> None:
    peers = tuple(index.to_bytes(32, "big") for index in range(MAX_PEERS))
    slot = Slot(2**32, MAX_PEERS, Phase.GATHER, MAX_PEERS)
    proof = SignedHeader(RUN, slot, HEAD, HEAD, HEAD, bytes(64))
    full = Notices(peers, (proof,) * MAX_PEERS)
    accused = tuple(Accusation(peer, 2**32) for peer in peers)
    data = encode(Commit(peers, HEAD, HEAD, accused, full).to_item())
    assert len(data) <= MAX_AGREED_BODY
    assert decode_body(Phase.COMMIT, data) == Commit(peers, HEAD, HEAD, accused, full)


def test_a_report_holds_inner_products_then_norms() -> None:
    report = Report.of(np.array([1.0, -2.0]), np.array([3.0, 4.0]))
    assert report.matrix().tolist() == [[1.0, -2.0], [3.0, 4.0]]
    assert report.norms == np.array([3.0, 4.0]).astype("<f8").tobytes()
    assert Report(b"", b"").matrix().shape == (2, 0)


def test_the_agreed_phases_are_those_with_a_body() -> None:
    assert {phase for phase in Phase if phase.agreed} == set(BODIES)
    assert [phase.name for phase in Phase] == [
        "COMMIT",
        "SCATTER",
        "AGGREGATE",
        "GATHER",
        "REVEAL",
        "REPORT",
        "CLOSING",
    ]
