"""The decoder against hostile bytes: nothing but items and named errors, and exactly one form per item.

The judge is cbor2, a general CBOR library: it must agree on every accepted input, and whatever it
reads inside the subset and writes back unchanged must be accepted.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import cbor2
import pytest
from btard.protocol.encoding import (
    INITIAL_BYTES,
    MAX_DEPTH,
    DecodeError,
    Malformed,
    NotCanonical,
    Oversized,
    TooDeep,
    decode,
    decode_sequence,
    encode,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz_decoder import CORPUS, readers
from tests.fuzzing import BODIES, READERS, Findings, fuzz

LIMIT = 1 << 16
NAMED = {Oversized, NotCanonical, Malformed, TooDeep}

leaves = (
    st.integers(0, 2**64 - 1)
    | st.sampled_from([0, 23, 24, 255, 256, 65535, 65536, 2**32 - 1, 2**32, 2**64 - 1])
    | st.binary(max_size=300)
    | st.text(max_size=40)
    | st.booleans()
    | st.none()
)
items: st.SearchStrategy[Any] = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=30) | st.dictionaries(st.text(max_size=30), inner, max_size=8),
    max_leaves=40,
).filter(lambda item: depth(item) <= MAX_DEPTH)


def depth(item: Any) -> int:
    if isinstance(item, list | dict):
        return 1 + max(map(depth, item.values() if isinstance(item, dict) else item), default=0)
    return 0


def same(left: Any, right: Any) -> bool:
    """Equality that tells False from 0 and True from 1."""
    return bool(left == right) and repr(left) == repr(right)


# -- The judge --------------------------------------------------------------------------------


def refuse_tag(*_: object) -> Any:
    raise ValueError("a tag")


NO_TAGS: Any = {tag: refuse_tag for tag in range(65536)}


def inside_subset(value: Any, depth_left: int) -> bool:
    if isinstance(value, list | dict) and depth_left == 0:
        return False
    if type(value) is list:
        return all(inside_subset(entry, depth_left - 1) for entry in value)
    if type(value) is dict:
        keys_are_text = all(type(key) is str for key in value)
        return keys_are_text and all(inside_subset(entry, depth_left - 1) for entry in value.values())
    if type(value) is int:
        return 0 <= value < 2**64
    return type(value) in (bytes, str, bool, type(None))


def judge(data: bytes) -> bool:
    """Whether cbor2 reads ``data`` as an item of the subset and writes the same bytes."""
    try:
        value = cbor2.loads(data, allow_indefinite=False, semantic_decoders=NO_TAGS, tag_hook=refuse_tag)
        return inside_subset(value, MAX_DEPTH) and cbor2.dumps(value, canonical=True) == data
    except Exception:  # a general decoder fails in many ways on hostile bytes
        return False


def examine(data: bytes) -> str:
    """Decode, compare with the judge, and return the name of the outcome."""
    try:
        item = decode(data, LIMIT)
    except DecodeError as error:
        assert type(error) in NAMED
        assert not judge(data)
        return type(error).__name__
    assert encode(item) == data
    assert same(cbor2.loads(data), item)
    assert judge(data)
    return "accepted"


# -- Properties -------------------------------------------------------------------------------


@pytest.mark.requirement("ENC-4")
@given(items)
@settings(max_examples=200, deadline=None)
def test_decoding_inverts_encoding(item: Any) -> None:
    data = encode(item)
    assert same(decode(data, len(data)), sorted_keys(item))
    assert data == cbor2.dumps(item, canonical=True)
    with pytest.raises(Oversized):
        decode(data, len(data) - 1)


def sorted_keys(item: Any) -> Any:
    """``item`` with every map in the order of its encoding, so that reprs can be compared."""
    if isinstance(item, list):
        return [sorted_keys(entry) for entry in item]
    if isinstance(item, dict):
        return {key: sorted_keys(item[key]) for key in sorted(item, key=lambda k: (len(k.encode()), k.encode()))}
    return item


@pytest.mark.requirement("ENC-12")
@given(st.binary(max_size=60) | st.lists(st.sampled_from(sorted(INITIAL_BYTES)), max_size=30).map(bytes))
@settings(max_examples=300, deadline=None)
def test_any_bytes_give_an_item_or_a_named_error(data: bytes) -> None:
    examine(data)


@pytest.mark.requirement("ENC-6")
@given(items, st.binary(min_size=1, max_size=8))
@settings(max_examples=100, deadline=None)
def test_no_encoding_is_a_prefix_of_another(item: Any, more: bytes) -> None:
    data = encode(item)
    for cut in range(len(data)) if len(data) < 40 else random.Random(data).sample(range(len(data)), 40):
        with pytest.raises(Malformed):
            decode(data[:cut], LIMIT)
    with pytest.raises(Malformed):
        decode(data + more, LIMIT)


@pytest.mark.requirement("ENC-13")
@given(st.lists(items, max_size=6), st.binary(max_size=6))
@settings(max_examples=100, deadline=None)
def test_a_sequence_is_the_concatenation_of_its_records(sequence: list[Any], rest: bytes) -> None:
    records = [encode(item) for item in sequence]
    found: list[bytes] = []
    try:
        for offset, record in decode_sequence(b"".join(records) + rest, LIMIT):
            assert offset == sum(map(len, found))
            found.append(record)
    except DecodeError as error:
        assert error.record == len(found)
    assert found[: len(records)] == records
    assert all(encode(decode(record, LIMIT)) == record for record in found)


# -- Mutations --------------------------------------------------------------------------------


def message_like(rng: random.Random) -> Any:
    """Something of the shape of a message: header fields, hashes, bodies, notices, a little of all else."""
    hashes = [rng.randbytes(32) for _ in range(rng.randrange(12))]
    extras = [None, True, "commit", [], {}, {"b": 1, "a": [False], "cc": "ü"}, [[[b""]]], 2**40]
    return [1, rng.randbytes(32), rng.randrange(500), hashes, rng.sample(extras, 4), rng.randbytes(64)]


HOSTILE = [
    bytes.fromhex(h) for h in ("9bffffffffffffffff", "5bffffffffffffffff", "bb7fffffffffffffff", "d81c", "d81d00")
]
HOSTILE += [bytes.fromhex(h) for h in ("d90100", "d81901", "c249", "d9010282", "5f", "9f", "bf", "ff", "f97e00", "fb")]
HOSTILE += [bytes.fromhex(h) for h in ("20", "3b", "1800", "190001", "7801", "61ff", "a2616100616100", "81" * 20, "f7")]


def mutate(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """One structure-blind change: flip, overwrite, insert, delete, repeat, cut or splice."""
    at, to = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    kind = rng.randrange(8)
    if kind == 0 and data:
        at = rng.randrange(len(data))
        return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]
    if kind == 1:
        return data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]
    if kind == 2:
        return data[:at] + rng.choice(HOSTILE) + data[at:]
    if kind == 3:
        return data[:at] + rng.choice(HOSTILE) + data[to:]
    if kind == 4:
        return data[:at] + data[to:]
    if kind == 5:
        return data[:to] + data[at:]
    if kind == 6:
        return data[:at]
    return data[:at] + other[rng.randrange(len(other)) :]


def mutants(count: int, seed: int) -> Iterator[bytes]:
    rng = random.Random(seed)
    corpus = [encode(message_like(rng)) for _ in range(20)]
    simple: list[Any] = [0, [], {}, [1, 2], {"a": 1, "b": 2}, "text", b"bytes", [[[]]], None]
    corpus += [encode(entry) for entry in simple]
    for _ in range(count):
        data = rng.choice(corpus)
        for _ in range(rng.choice((1, 1, 1, 2, 5))):
            data = mutate(rng, data, rng.choice(corpus))
        yield data


@pytest.mark.requirement("ENC-12")
def test_fifty_thousand_mutants_give_items_or_named_errors() -> None:
    outcomes = [examine(data) for data in mutants(50_000, seed=2022)]
    counts = {name: outcomes.count(name) for name in set(outcomes)}
    assert counts["accepted"] > 1000  # flips inside strings: the judge has something to compare
    assert all(counts[error.__name__] > 50 for error in (Malformed, NotCanonical, TooDeep))


@pytest.mark.requirement("ENC-12")
def test_every_input_of_two_bytes() -> None:
    for number in range(1 << 16):
        data = number.to_bytes(2, "big")
        try:
            item = decode(data, LIMIT)
        except DecodeError:
            continue
        assert encode(item) == data


# -- Everything that reads bytes ----------------------------------------------------------------


def check_coverage(findings: Findings) -> None:
    """The inputs were not all alike: every entry point accepted some and refused some, for every reason there is."""
    assert all(findings.outcomes[name, "accepted"] for name in READERS)
    assert all(findings.outcomes[name, "MessageError"] for name in BODIES)
    assert set(findings.errors) - {"accepted"} == NAMES
    assert findings.measured >= findings.inputs // 20


NAMES = {
    "Oversized",
    "NotCanonical",
    "Malformed",
    "TooDeep",
    "TooMany",
    "MessageError",
    "LogError",
    "ConfigurationError",
}
NAMES |= {"BadKey", "UpdateError"}


@pytest.mark.requirement("ENC-12")
def test_hostile_bytes_raise_named_errors_in_bounded_memory() -> None:
    check_coverage(fuzz(20_000, seed=0))


@pytest.mark.slow
@pytest.mark.requirement("ENC-12")
def test_a_million_hostile_inputs_raise_named_errors_in_bounded_memory() -> None:
    check_coverage(fuzz(1_000_000, seed=1))


def test_the_corpus_of_the_coverage_guided_fuzzer_is_read_as_it_was_made() -> None:
    """Every input is taken by the reader that its first byte names (``make fuzz``)."""
    made, files = readers(), sorted(CORPUS.iterdir())
    chosen = {path.read_bytes()[0] for path in files}
    assert chosen == set(range(len(made)))
    for path in files:
        data = path.read_bytes()
        made[data[0]](data[1:])
