"""The log: the genesis record proves itself, and the head covers all agreed content and nothing else."""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace
from typing import Any

import pytest
from btard.protocol.arithmetic import float64_bytes
from btard.protocol.bans import Fault
from btard.protocol.encoding import DecodeError, decode, encode
from btard.protocol.identity import BadKey, Identity
from btard.protocol.log import (
    MAX_RECORD,
    Finding,
    Genesis,
    LogError,
    Record,
    Subject,
    Trial,
    Verdict,
    read_configuration,
)
from btard.protocol.messages import MessageError, Phase, Slot, seal
from btard.protocol.model import ConfigurationError, ProtocolError
from btard.protocol.update import Schedule, Sgd, UpdateError, describe
from hypothesis import given
from hypothesis import strategies as st
from swarms import configuration, genesis

GENESIS = genesis(configuration())


def sha256_tagged(tag: str, data: bytes) -> bytes:
    """The tagged hash, written again."""
    key = hashlib.sha256(tag.encode()).digest()
    return hashlib.sha256(key + key + data).digest()


# -- Genesis ----------------------------------------------------------------------------------------


@pytest.mark.requirement("LOG-1")
def test_the_run_id_is_the_hash_of_the_genesis_content() -> None:
    assert GENESIS.run == sha256_tagged("btard/run", encode(GENESIS.content()))
    assert Genesis.decode(GENESIS.encode()) == GENESIS
    assert Genesis.decode(GENESIS.encode()).run == GENESIS.run


@pytest.mark.requirement("LOG-1")
@pytest.mark.parametrize(
    "changes",
    [
        {"steps": 5},
        {"validators": 1},
        {"gradient_clip": 49.0},
        {"radius_initial": 7.0},
        {"radius_min": 0.3},
        {"radius_max": 49.0},
        {"residual_ratio": 0.2},
        {"spread_ratio": 1.5},
        {"distance_ratio": 99.0},
        {"radius_factor": 0.9},
        {"task": "another"},
        {"optimizer": describe(Sgd(Schedule(0.25, 4), momentum=0.25))},
        {"dimension": 65},
        {"tolerated": 1},
    ],
)
def test_every_setting_changes_the_run_id(changes: dict[str, Any]) -> None:
    changed = replace(GENESIS, configuration=configuration(**changes))
    assert changed.run != GENESIS.run
    assert Genesis.decode(changed.encode()) == changed


@pytest.mark.requirement("LOG-1")
def test_roster_and_initial_state_change_the_run_id() -> None:
    assert replace(GENESIS, state_hash=bytes(32)).run != GENESIS.run
    assert genesis(configuration(), seed=1).run != GENESIS.run


@pytest.mark.requirement("LOG-2")
@pytest.mark.parametrize("changes", [{"optimizer": ()}, {"optimizer": (("name", "newton"),)}])
def test_an_optimizer_that_does_not_exist_is_refused(changes: dict[str, Any]) -> None:
    changed = replace(GENESIS, configuration=configuration(**changes))
    assert changed.run != GENESIS.run
    with pytest.raises(UpdateError):
        Genesis.decode(changed.encode())


def with_content(*changes: tuple[int, Any], run: bytes | None = None) -> bytes:
    """A genesis record with parts of its content replaced, and a run id that fits unless given."""
    content: Any = decode(encode(GENESIS.content()), MAX_RECORD)
    for index, value in changes:
        content[index] = value
    return encode([0, content, run or sha256_tagged("btard/run", encode(content))])


def settings(**changes: Any) -> dict[str, Any]:
    """The configuration as it is written; None removes a field."""
    written: Any = decode(encode(GENESIS.content()), MAX_RECORD)
    merged = {**written[0], **changes}
    return {name: value for name, value in merged.items() if value is not None}


@pytest.mark.requirement("LOG-1")
@pytest.mark.parametrize(
    "data",
    [
        b"",
        encode([1, GENESIS.content(), GENESIS.run]),
        encode([0, GENESIS.content()]),
        encode([0, GENESIS.content(), bytes(32)]),
        encode([0, GENESIS.content(), GENESIS.run, None]),
        GENESIS.encode() + b"\0",
        GENESIS.encode()[:-1],
        with_content((0, settings(steps=9)), run=GENESIS.run),
        with_content((0, settings(steps=None))),
        with_content((0, settings(surplus=1))),
        with_content((0, [])),
        with_content((0, settings(steps="4"))),
        with_content((0, settings(peers=True))),
        with_content((0, settings(radius_min=bytes(7)))),
        with_content((0, settings(radius_min=1))),
        with_content((0, settings(task=b"bytes"))),
        with_content((0, settings(optimizer=[["name"]]))),
        with_content((0, settings(optimizer=[["name", 1]]))),
        with_content((2, bytes(31))),
        with_content((0, settings(distance_ratio=float64_bytes([0.0])))),  # 0 is replaced by the default: no round trip
        with_content((0, settings(distance_ratio=float64_bytes([0.0]))), run=GENESIS.run),  # the run of that default
    ],
)
def test_a_malformed_genesis_record_is_refused(data: bytes) -> None:
    with pytest.raises((DecodeError, MessageError)):
        Genesis.decode(data)


@pytest.mark.requirement("LOG-1")
@pytest.mark.parametrize(
    "changes",
    [
        {"tolerated": 3},
        {"residual_ratio": float64_bytes([math.nan])},
        {"radius_factor": float64_bytes([2.5])},
        {"distance_ratio": float64_bytes([1.0])},
        {"peers": 7},
    ],
)
def test_a_genesis_record_with_an_impossible_configuration_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        Genesis.decode(with_content((0, settings(**changes))))


def test_the_configuration_survives_the_log_bit_for_bit() -> None:
    odd = configuration(radius_factor=0.1 + 0.2, residual_ratio=math.nextafter(0.1, 1))
    assert read_configuration(decode(encode(replace(GENESIS, configuration=odd).content()), MAX_RECORD)[0]) == odd  # type: ignore[index]


@pytest.mark.requirement("LOG-2")
def test_the_roster_is_sorted_complete_and_of_good_keys() -> None:
    roster = list(GENESIS.roster)
    for bad in (roster[:-1], [*roster, Identity(b"x" * 32).peer_id], roster[::-1], [roster[0], *roster[:-1]]):
        with pytest.raises((ConfigurationError, MessageError)):
            Genesis.decode(with_content((1, list(bad))))
    with pytest.raises(ConfigurationError):
        replace(GENESIS, roster=tuple(reversed(GENESIS.roster))).check()


@pytest.mark.requirement("LOG-2")
@pytest.mark.parametrize(
    "key",
    [
        bytes(32),  # a point of order 4
        (1).to_bytes(32, "little"),  # the neutral element
        (2**255 - 19).to_bytes(32, "little"),  # not canonical
        (2).to_bytes(32, "little"),  # not on the curve
    ],
)
def test_a_key_that_no_peer_may_have_is_refused(key: bytes) -> None:
    roster = sorted([*GENESIS.roster[1:], key])
    with pytest.raises(BadKey):
        Genesis.decode(with_content((1, list(roster))))


# -- Records ----------------------------------------------------------------------------------------

ALICE, BOB = Identity(b"a" * 32), Identity(b"b" * 32)
SLOT = Slot(3, 1, Phase.REVEAL)
ENTRY = seal(ALICE, GENESIS.run, SLOT, b"h" * 32, b"body")
VERDICT = Verdict(Trial(1, BOB.peer_id, Subject.WORKER), (Finding(BOB.peer_id, Fault.WRONG_REPORT, bytes(32)),))
RECORD = Record(9, SLOT, (ENTRY, None), (VERDICT,))


@pytest.mark.requirement("LOG-3")
def test_the_head_is_the_tagged_hash_of_the_last_head_and_the_content() -> None:
    content: list[Any] = [
        9,
        3,
        1,
        4,
        [ENTRY.signed_header.digest, None],
        [[[1, BOB.peer_id, 0], [[BOB.peer_id, 8, bytes(32)]]]],
    ]
    assert RECORD.head_after(b"h" * 32) == sha256_tagged("btard/log", b"h" * 32 + encode(content))


@pytest.mark.requirement("LOG-3")
def test_every_piece_of_agreed_content_changes_the_head() -> None:
    finding = VERDICT.findings[0]
    variants = [
        replace(RECORD, index=10),
        replace(RECORD, slot=SLOT._replace(step=4)),
        replace(RECORD, slot=SLOT._replace(attempt=0)),
        replace(RECORD, slot=SLOT._replace(phase=Phase.REPORT)),
        replace(RECORD, entries=(None, ENTRY)),
        replace(RECORD, entries=(ENTRY,)),
        replace(RECORD, entries=(ENTRY, None, None)),
        replace(RECORD, entries=(replace(ENTRY, body=b"other"), None)),
        replace(RECORD, entries=(replace(ENTRY, log_head=bytes(32)), None)),
        replace(RECORD, entries=(replace(ENTRY, sender=BOB.peer_id), None)),
        replace(RECORD, verdicts=()),
        replace(RECORD, verdicts=(VERDICT, VERDICT)),
        replace(RECORD, verdicts=(replace(VERDICT, findings=()),)),
        replace(RECORD, verdicts=(replace(VERDICT, trial=replace(VERDICT.trial, step=2)),)),
        replace(RECORD, verdicts=(replace(VERDICT, trial=replace(VERDICT.trial, subject=Subject.AGGREGATE)),)),
        replace(RECORD, verdicts=(replace(VERDICT, findings=(replace(finding, fault=Fault.WRONG_HASH),)),)),
        replace(RECORD, verdicts=(replace(VERDICT, findings=(replace(finding, correction=b"\1" * 32),)),)),
        replace(RECORD, verdicts=(replace(VERDICT, findings=(replace(finding, peer=ALICE.peer_id),)),)),
    ]
    heads = {variant.head_after(b"h" * 32) for variant in (RECORD, *variants)}
    assert len(heads) == len(variants) + 1
    assert RECORD.head_after(b"i" * 32) not in heads


@pytest.mark.requirement("LOG-3")
def test_another_signature_of_the_same_message_is_no_other_content() -> None:
    signed_again = replace(ENTRY, signature=bytes(64))
    assert replace(RECORD, entries=(signed_again, None)).head_after(b"h" * 32) == RECORD.head_after(b"h" * 32)


hashes32 = st.binary(min_size=32, max_size=32)
verdicts = st.builds(
    Verdict,
    st.builds(Trial, st.integers(0, 2**64 - 1), hashes32, st.sampled_from(Subject)),
    st.lists(st.builds(Finding, hashes32, st.sampled_from(Fault), st.binary(max_size=32)), max_size=3).map(tuple),
)


@given(
    st.integers(0, 2**64 - 1),
    st.sampled_from([phase for phase in Phase if phase.agreed]),
    st.lists(st.sampled_from([None, ENTRY]), max_size=4),
    st.lists(verdicts, max_size=3),
)
def test_records_survive_the_file(index: int, phase: Phase, entries: list[Any], outcome: list[Verdict]) -> None:
    record = Record(index, Slot(3, 1, phase), tuple(entries), tuple(outcome))
    assert Record.decode(record.encode()) == record


def entry_items() -> list[Any]:
    """The items of ENTRY's envelope."""
    items: Any = ENTRY.to_item()
    return list(items)


def item(**changes: Any) -> list[Any]:
    """A record's items, with some replaced."""
    verdict = [[1, BOB.peer_id, 0], [[BOB.peer_id, 8, b""]]]
    fields: dict[str, Any] = {"index": 9, "slot": [3, 1, 4], "entries": [ENTRY.to_item()], "verdicts": [verdict]}
    return list({**fields, **changes}.values())


@pytest.mark.parametrize(
    "bad",
    [
        item()[:3],
        [*item(), 0],
        item(index=None),
        item(slot=[3, 1]),
        item(slot=[3, 1, 4, 0]),
        item(slot=[3, 1, 1]),  # Scatter is not agreed
        item(slot=[3, 1, 7]),  # nor is a letter's phase
        item(slot=[3, 1, 9]),  # nor a disclosure
        item(slot=[3, 1, 14]),
        item(entries={}),
        item(entries=[[]]),
        item(entries=[entry_items()[:9]]),
        item(verdicts=[[]]),
        item(verdicts=[[[1, BOB.peer_id], []]]),
        item(verdicts=[[[1, BOB.peer_id, 3], []]]),
        item(verdicts=[[[1, bytes(31), 0], []]]),
        item(verdicts=[[[1, BOB.peer_id, 0], [[BOB.peer_id, 99, b""]]]]),
        item(verdicts=[[[1, BOB.peer_id, 0], [[BOB.peer_id, 8, None]]]]),
        item(verdicts=[[[1, BOB.peer_id, 0], [[BOB.peer_id, 8]]]]),
    ],
)
def test_a_malformed_record_is_refused(bad: list[Any]) -> None:
    assert Record.decode(encode(item())).index == 9
    with pytest.raises(MessageError):
        Record.decode(encode(bad))


def test_a_log_error_names_its_record() -> None:
    error = LogError(7, "it is bad")
    assert (error.record, error.reason, str(error)) == (7, "it is bad", "record 7: it is bad")
    assert isinstance(error, ProtocolError)
