"""Hash, XOF, sampling and the byte form of data: worked values, the RFC's examples, one case per rule."""

from __future__ import annotations

import hashlib
import tracemalloc
from enum import IntEnum
from math import inf, nan
from pathlib import Path
from typing import Any

import cbor2
import numpy as np
import pytest
from btard.protocol.encoding import (
    MAX_DEPTH,
    DecodeError,
    Malformed,
    NotCanonical,
    NotEncodable,
    Oversized,
    Shape,
    TooDeep,
    TooMany,
    chunk_count,
    chunk_length,
    decode,
    decode_sequence,
    encode,
    expand,
    path_length,
    sample_indices,
    tagged_hash,
    tree_hash,
    tree_holds,
    tree_levels,
    tree_path,
)
from btard.protocol.model import ProtocolError

LIMIT = 1 << 20

CHAPTER = Path(__file__).parents[2] / "spec" / "encoding.md"

EXAMPLE_HASH = "97bfc207c8132a8c37c925c24adcc725e786b9517c5196b2cea9f452967a7cd0"
EXAMPLE_STREAM = "f0c2581e8ff119680978d72af2b1458b0220ef923ff6dd787571808caf423b12"
EXAMPLE_SAMPLE = [448, 318, 803, 535, 275, 615, 28, 840]
EXAMPLE_ITEM: Any = [1, b"\xde\xad\xbe\xef", 300, [], None, True, {"task": "digits", "n": 16}]
EXAMPLE_BYTES = "870144deadbeef19012c80f6f5a2616e10647461736b66646967697473"

# -- Hash, XOF, sampling ----------------------------------------------------------------------


@pytest.mark.requirement("ENC-1")
def test_tagged_hash_is_sha256_of_the_doubled_tag_hash_and_the_parts() -> None:
    inner = hashlib.sha256(b"btard/example").digest()
    for parts in [(), (b"",), (b"abc",), (b"a", b"bc"), (bytes(64), bytes(1000))]:
        expected = hashlib.sha256(inner + inner + b"".join(parts)).digest()
        assert tagged_hash("btard/example", *parts) == expected
        assert tagged_hash("btard/example", *parts) == expected  # the cached prefix is not consumed


@pytest.mark.requirement("ENC-1")
def test_tagged_hash_of_the_chapter_and_of_bip_340() -> None:
    assert tagged_hash("btard/example", b"abc").hex() == EXAMPLE_HASH
    published = bytes.fromhex("7bb52d7a9fef58323eb1bf7a407db382d2f3f2d81bb1224f49fe518f6d48d37c")
    expected = hashlib.sha256(published + published + b"abc").digest()
    assert tagged_hash("BIP0340/challenge", b"abc") == expected


@pytest.mark.requirement("ENC-1")
def test_tags_separate_domains() -> None:
    assert len({tagged_hash(tag, b"abc") for tag in ("", "a", "b", "btard/a", "btard/ä")}) == 5


@pytest.mark.requirement("ENC-2")
def test_expand_is_shake128_over_the_same_input() -> None:
    inner = hashlib.sha256(b"btard/example").digest()
    stream = hashlib.shake_128(inner + inner + b"abc").digest(400)
    assert expand("btard/example", b"a", b"bc", length=400) == stream
    for length in (0, 1, 167, 168, 169):  # 168 bytes are one block of SHAKE-128
        assert expand("btard/example", b"abc", length=length) == stream[:length]
    assert stream[:32].hex() == EXAMPLE_STREAM


@pytest.mark.requirement("ENC-3")
def test_sample_indices_reduces_little_endian_words() -> None:
    stream = expand("btard/sample", b"seed", length=800)
    for population in (1, 2, 1797, 2**63 - 1):
        indices = sample_indices(b"seed", 100, population)
        expected = [int.from_bytes(stream[8 * k : 8 * k + 8], "little") % population for k in range(100)]
        assert indices.tolist() == expected
        assert indices.dtype == np.int64
    assert sample_indices(b"seed", 0, 5).shape == (0,)
    assert sample_indices(bytes(32), 8, 1000).tolist() == EXAMPLE_SAMPLE


@pytest.mark.requirement("ENC-3")
@pytest.mark.parametrize("count, population", [(1, 0), (1, -1), (1, 2**63), (-1, 5)])
def test_sample_indices_refuses_what_it_cannot_draw(count: int, population: int) -> None:
    with pytest.raises(ValueError):
        sample_indices(b"seed", count, population)


def test_sampling_bias_bound() -> None:
    """Distance to uniform is r(p − r)/(p·2⁶⁴), r = 2⁶⁴ mod p, and at most p/2⁶⁶."""
    for population in (3, 1797, 10**12 + 39, 2**63 - 1):
        rest = 2**64 % population
        quotient = 2**64 // population
        excess = rest * abs((quotient + 1) * population - 2**64)  # of the r likelier indices, times p
        assert excess == rest * (population - rest)
        assert 4 * excess <= population**2


# -- Encoding ---------------------------------------------------------------------------------

IN_SUBSET: list[tuple[str, Any]] = [  # RFC 8949, appendix A
    ("00", 0),
    ("01", 1),
    ("0a", 10),
    ("17", 23),
    ("1818", 24),
    ("1819", 25),
    ("1864", 100),
    ("1903e8", 1000),
    ("1a000f4240", 1000000),
    ("1b000000e8d4a51000", 1000000000000),
    ("1bffffffffffffffff", 18446744073709551615),
    ("f4", False),
    ("f5", True),
    ("f6", None),
    ("40", b""),
    ("4401020304", b"\1\2\3\4"),
    ("60", ""),
    ("6161", "a"),
    ("6449455446", "IETF"),
    ("62225c", '"\\'),
    ("62c3bc", "ü"),
    ("63e6b0b4", "水"),
    ("64f0908591", "\U00010151"),
    ("80", []),
    ("83010203", [1, 2, 3]),
    ("8301820203820405", [1, [2, 3], [4, 5]]),
    ("98190102030405060708090a0b0c0d0e0f101112131415161718181819", list(range(1, 26))),
    ("a0", {}),
    ("a26161016162820203", {"a": 1, "b": [2, 3]}),
    ("826161a161626163", ["a", {"b": "c"}]),
    ("a56161614161626142616361436164614461656145", {"a": "A", "b": "B", "c": "C", "d": "D", "e": "E"}),
]

OUTSIDE = [  # the rest of appendix A
    *("20", "29", "3863", "3903e7", "3bffffffffffffffff", "c249010000000000000000", "c349010000000000000000"),
    *("f90000", "f98000", "f93c00", "fb3ff199999999999a", "f93e00", "f97bff", "fa47c35000", "fa7f7fffff"),
    *("fb7e37e43c8800759c", "f90001", "f90400", "f9c400", "fbc010666666666666", "f97c00", "f97e00", "f9fc00"),
    *("fa7f800000", "fa7fc00000", "faff800000", "fb7ff0000000000000", "fb7ff8000000000000"),
    *("fbfff0000000000000", "f7", "f0", "f8ff", "c074323031332d30332d32315432303a30343a30305a"),
    *("c11a514b67b0", "c1fb41d452d9ec200000", "d74401020304", "d818456449455446"),
    *("d82076687474703a2f2f7777772e6578616d706c652e636f6d", "a201020304", "5f42010243030405ff"),
    *(
        "7f657374726561646d696e67ff",
        "9fff",
        "9f018202039f0405ffff",
        "9f01820203820405ff",
        "83018202039f0405ff",
    ),
    *("83019f0203ff820405", "9f0102030405060708090a0b0c0d0e0f101112131415161718181819ff"),
    *("bf61610161629f0203ffff", "826161bf61626163ff", "bf6346756ef563416d7421ff"),
]


@pytest.mark.requirement("ENC-4")
@pytest.mark.parametrize("data, item", IN_SUBSET)
def test_examples_of_the_rfc_inside_the_subset(data: str, item: Any) -> None:
    raw = bytes.fromhex(data)
    assert encode(item) == raw
    assert decode(raw, LIMIT) == item and type(decode(raw, LIMIT)) is type(item)
    assert cbor2.loads(raw) == item and cbor2.dumps(item, canonical=True) == raw


@pytest.mark.requirement("ENC-7")
@pytest.mark.parametrize("data", OUTSIDE)
def test_examples_of_the_rfc_outside_the_subset(data: str) -> None:
    raw = bytes.fromhex(data)
    cbor2.loads(raw)  # valid in general
    with pytest.raises(Malformed):
        decode(raw, LIMIT)


@pytest.mark.requirement("ENC-4")
def test_the_chapters_example() -> None:
    assert encode(EXAMPLE_ITEM).hex() == EXAMPLE_BYTES
    assert decode(bytes.fromhex(EXAMPLE_BYTES), LIMIT) == EXAMPLE_ITEM


@pytest.mark.requirement("ENC-4")
def test_tuples_and_subclasses_are_encoded_like_their_bases() -> None:
    class Colour(IntEnum):
        RED = 1

    assert encode((1, (2,))) == encode([1, [2]])  # type: ignore[arg-type]
    assert encode(Colour.RED) == encode(1)
    assert encode(True) != encode(1)


CYCLE: list[Any] = []
CYCLE.append(CYCLE)
NOT_ENCODABLE: list[Any] = [
    *(
        -1,
        2**64,
        10**40,
        0.0,
        1.5,
        nan,
        inf,
        1j,
        {1},
        frozenset(),
        object(),
        bytearray(b"a"),
        memoryview(b"a"),
    ),
    *(np.float32(1), np.float64(1), np.int64(1), np.zeros(2), "\ud800", {1: 2}, {b"a": 2}, {None: 2}),
    *({"\udfff": 1}, [1, [2.0]], {"a": {"b": -1}}, CYCLE, cbor2.undefined, cbor2.CBORTag(1, 1)),
]


@pytest.mark.requirement("ENC-4")
@pytest.mark.parametrize("value", NOT_ENCODABLE, ids=lambda value: type(value).__name__)
def test_values_outside_the_subset_cannot_be_encoded(value: Any) -> None:
    with pytest.raises(NotEncodable) as caught:
        encode(value)
    assert isinstance(caught.value, ProtocolError) and not isinstance(caught.value, DecodeError)


@pytest.mark.requirement("ENC-4")
def test_map_keys_are_written_in_the_order_of_their_encodings() -> None:
    item: Any = {"b": 1, "aa": 2, "": 3, "a": 4, "ä": 5, "z" * 30: 6, "Z": 7}
    assert list(decode(encode(item), LIMIT)) == ["", "Z", "a", "b", "aa", "ä", "z" * 30]  # type: ignore[arg-type]
    assert encode(item) == cbor2.dumps(item, canonical=True)


# -- Decoding: one case per rule --------------------------------------------------------------


def refuses(error: type[DecodeError], data: str, limit: int = LIMIT) -> None:
    with pytest.raises(DecodeError) as caught:
        decode(bytes.fromhex(data), limit)
    assert type(caught.value) is error
    assert isinstance(caught.value, ProtocolError) and caught.value.record is None and str(caught.value)


@pytest.mark.requirement("ENC-5")
def test_the_limit_is_inclusive_and_comes_first() -> None:
    assert decode(b"\x43abc", 4) == b"abc"
    refuses(Oversized, "43616263", 3)
    refuses(Oversized, "ffffff", 2)
    refuses(Malformed, "ffffff", 3)


@pytest.mark.requirement("ENC-6")
@pytest.mark.parametrize("data", ["", "18", "19ff", "1affffff", "81", "8201", "a1", "a16161", "5820", "6161f6", "0000"])
def test_exactly_one_item_is_expected(data: str) -> None:
    refuses(Malformed, data)


@pytest.mark.requirement("ENC-7")
def test_every_initial_byte_is_either_known_or_refused() -> None:
    known = {*range(0x1C), *range(0x40, 0x5C), *range(0x60, 0x7C), *range(0x80, 0x9C), *range(0xA0, 0xBC)}
    known |= {0xF4, 0xF5, 0xF6}
    for initial in range(256):
        try:
            decode(bytes([initial]) + bytes(40), LIMIT)
        except DecodeError as error:
            assert ("begins with" in str(error)) == (initial not in known)


@pytest.mark.requirement("ENC-7")
@pytest.mark.parametrize(
    "data",
    [
        "d81c81d81d00",  # an array that contains itself
        "d81c80",
        "d9010081d81900",  # string references
        "d8234161",  # a regular expression
        "d901028101",  # a set
        "c482381c0a",  # a decimal fraction
        "d9d9f700",  # the self-described tag
        "9f00ff",
        "5f4101ff",
        "bfff",
        "ff",
        "f818",
        "e0",
        "1c",
        "5d",
        "fc",
    ],
)
def test_dangers_of_a_general_decoder(data: str) -> None:
    refuses(Malformed, data)
    refuses(Malformed, "81" + data)


@pytest.mark.requirement("ENC-8")
@pytest.mark.parametrize("major", [0x00, 0x40, 0x60, 0x80, 0xA0])
def test_arguments_are_in_their_shortest_form(major: int) -> None:
    for low, width, most in [(24, 1, 23), (25, 2, 0xFF), (26, 4, 0xFFFF), (27, 8, 0xFFFFFFFF)]:
        for argument in (0, most):
            refuses(NotCanonical, (bytes([major | low]) + argument.to_bytes(width, "big")).hex())
    for argument in (23, 24, 255, 256, 65535, 65536, 2**32 - 1, 2**32, 2**64 - 1):
        assert decode(cbor2.dumps(argument), LIMIT) == argument


@pytest.mark.requirement("ENC-9")
@pytest.mark.parametrize("data", ["61ff", "62c328", "62c080", "63eda080", "64f4908080", "61c3", "63e282", "64f0808080"])
def test_text_is_utf8(data: str) -> None:
    refuses(Malformed, data)


@pytest.mark.requirement("ENC-10")
@pytest.mark.parametrize(
    "error, data",
    [
        (NotCanonical, "a2616201616102"),  # b before a
        (NotCanonical, "a2616101616102"),  # a twice
        (NotCanonical, "a262616101616202"),  # aa before b
        (Malformed, "a10000"),
        (Malformed, "a1416100"),
        (Malformed, "a1f600"),
        (Malformed, "a18000"),
        (Malformed, "a1a000"),
        (Malformed, "a26161000100"),
    ],
)
def test_map_keys_are_text_and_strictly_ascending(error: type[DecodeError], data: str) -> None:
    refuses(error, data)


@pytest.mark.requirement("ENC-11")
def test_nesting_is_bounded_on_both_sides() -> None:
    for opening, value in (("81", "80"), ("a160", "a0")):
        allowed = bytes.fromhex(opening * (MAX_DEPTH - 1) + value)
        nested = decode(allowed, LIMIT)
        assert encode(nested) == allowed
        with pytest.raises(NotEncodable):
            encode([nested])
        refuses(TooDeep, "81" + allowed.hex())
        refuses(TooDeep, opening * 100_000)


@pytest.mark.requirement("ENC-12")
@pytest.mark.parametrize("head", ["5b", "7b", "9b", "bb"])
@pytest.mark.parametrize("length", [2**32, 2**40, 2**63 - 1, 2**63, 2**64 - 1])
@pytest.mark.parametrize("around", ["", "81" * (MAX_DEPTH - 1), "84"])
def test_a_declared_length_allocates_nothing(head: str, length: int, around: str) -> None:
    data = bytes.fromhex(around + head) + length.to_bytes(8, "big") + bytes(20)
    tracemalloc.start()
    try:
        with pytest.raises(Malformed):
            decode(data, LIMIT)
        assert tracemalloc.get_traced_memory()[1] < 20_000
    finally:
        tracemalloc.stop()


@pytest.mark.requirement("ENC-12")
@pytest.mark.parametrize("unit", ["80", "a0", "8180", "818180", "a16080", "40", "60", "1903e8", "1bffffffffffffffff"])
def test_memory_is_linear_in_the_input(unit: str) -> None:
    entries = 4_000
    data = b"\x99" + entries.to_bytes(2, "big") + bytes.fromhex(unit) * entries
    tracemalloc.start()
    try:
        decode(data, LIMIT)
        assert tracemalloc.get_traced_memory()[1] < 100 * len(data) + 20_000
    finally:
        tracemalloc.stop()


# -- Shapes -----------------------------------------------------------------------------------


@pytest.mark.requirement("ENC-14")
@pytest.mark.parametrize(
    ("error", "data"),
    [
        (None, "8301024180"),
        (None, "82f6820000"),
        (TooMany, "8400000000"),
        (TooMany, "8281008100"),
        (TooMany, "9a000f4240" + "80" * 1_000_000),
        (TooDeep, "81818100"),
        (Malformed, "8160"),
        (Malformed, "81a0"),
    ],
)
def test_a_shape_bounds_items_depth_and_kinds(error: type[DecodeError] | None, data: str) -> None:
    shape = Shape(items=5 if error is not TooMany else 4, depth=2)
    if error is None:
        assert encode(decode(bytes.fromhex(data), LIMIT, shape)).hex() == data
    else:
        with pytest.raises(error):
            decode(bytes.fromhex(data), 1 << 20, shape)


@pytest.mark.requirement("ENC-14")
def test_what_a_shape_refuses_is_not_built() -> None:
    data = bytes.fromhex("9a000f4240" + "a0" * 1_000_000)
    tracemalloc.start()
    try:
        with pytest.raises(TooMany):
            decode(data, len(data), Shape(items=1000))
        assert tracemalloc.get_traced_memory()[1] < 4_000
    finally:
        tracemalloc.stop()


# -- Sequences --------------------------------------------------------------------------------

ITEMS: list[Any] = [1, [b"x" * 30, None], {"a": 1}, "text", []]
RECORDS = [encode(item) for item in ITEMS]


@pytest.mark.requirement("ENC-13")
def test_a_sequence_yields_offsets_and_exact_bytes() -> None:
    found = list(decode_sequence(b"".join(RECORDS), LIMIT))
    assert [data for _, data in found] == RECORDS
    assert [offset for offset, _ in found] == [sum(map(len, RECORDS[:k])) for k in range(len(RECORDS))]
    assert list(decode_sequence(b"", LIMIT)) == []


@pytest.mark.requirement("ENC-13")
@pytest.mark.parametrize(
    "error, bad",
    [
        (Malformed, "ff"),
        (Malformed, "8101ff"[:2]),
        (Malformed, "5820"),
        (NotCanonical, "1800"),
        (TooDeep, "81" * 40),
        (Oversized, "5828" + "00" * 40),
    ],
)
def test_good_records_come_before_the_name_of_the_first_bad_one(error: type[DecodeError], bad: str) -> None:
    records = decode_sequence(b"".join(RECORDS) + bytes.fromhex(bad), 40)
    seen = []
    with pytest.raises(DecodeError) as caught:
        for _, record in records:
            seen.append(record)
    assert seen == RECORDS
    assert type(caught.value) is error and caught.value.record == len(RECORDS)
    assert f"record {len(RECORDS)}" in str(caught.value)


@pytest.mark.requirement("ENC-13")
def test_a_cut_inside_a_record_is_seen_and_a_cut_between_records_is_not() -> None:
    data = b"".join(RECORDS)
    boundaries = {sum(map(len, RECORDS[:k])) for k in range(len(RECORDS) + 1)}
    for cut in range(len(data) + 1):
        if cut in boundaries:
            assert b"".join(record for _, record in decode_sequence(data[:cut], LIMIT)) == data[:cut]
        else:
            with pytest.raises(Malformed):
                list(decode_sequence(data[:cut], LIMIT))


# -- The chapter's examples -------------------------------------------------------------------


def test_the_chapter_shows_the_values_tested_here() -> None:
    chapter = CHAPTER.read_text(encoding="utf-8")
    for value in (EXAMPLE_HASH, EXAMPLE_STREAM, EXAMPLE_BYTES, ", ".join(map(str, EXAMPLE_SAMPLE))):
        assert value in chapter


@pytest.mark.parametrize("error", [Oversized, Malformed, NotCanonical, TooDeep])
def test_the_chapters_table_of_refused_inputs(error: type[DecodeError]) -> None:
    rows = [line.split("|") for line in CHAPTER.read_text(encoding="utf-8").splitlines() if "` | ENC-" in line]
    mine = [row[1].split("`")[1] for row in rows if row[2].strip() == f"`{error.__name__}`"]
    assert len(rows) == 14 and mine
    for data in mine:
        refuses(error, "81" * 16 + "80" if error is TooDeep else data, 3 if error is Oversized else LIMIT)


# -- Trees of hashes ----------------------------------------------------------------------------


def top_of(leaves: list[bytes]) -> bytes:
    """The top of a tree, split at the largest power of two below the number of leaves, as RFC 6962 draws it."""
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return tagged_hash("btard/pair", top_of(leaves[:split]), top_of(leaves[split:]))


LENGTHS = [0, 1, 127, 128, 129, 256, 257, 640, 128 * 6, 128 * 7 + 3, 128 * 33]


@pytest.mark.requirement("ENC-15")
@pytest.mark.parametrize("length", LENGTHS)
def test_the_tree_hash_is_that_of_the_length_and_of_the_tree_over_the_chunks(length: int) -> None:
    body = np.random.default_rng(length).bytes(length)
    chunks = [body[k : k + 128] for k in range(0, length, 128)] or [b""]
    assert chunk_count(length) == len(chunks)
    top = top_of([tagged_hash("btard/chunk", chunk) for chunk in chunks])
    assert tree_hash(body) == tagged_hash("btard/tree", length.to_bytes(8, "big"), top)


@pytest.mark.requirement("ENC-16")
@pytest.mark.parametrize("length", LENGTHS)
def test_a_chunk_with_its_path_belongs_to_one_place_of_one_body_only(length: int) -> None:
    body = np.random.default_rng(length).bytes(length)
    root, levels = tree_hash(body), tree_levels(body)
    for index in range(chunk_count(length)):
        chunk, path = body[128 * index : 128 * (index + 1)], tree_path(levels, index)
        assert (len(chunk), len(path)) == (chunk_length(length, index), path_length(length, index))
        assert tree_holds(root, length, index, chunk, path)
        assert not tree_holds(root, length + 128, index, chunk, path)
        assert not tree_holds(root, length, index, chunk + b"\0", path)
        assert not tree_holds(root, length, index, chunk, path + bytes(32))
        assert not tree_holds(bytes(32), length, index, chunk, path)
        if chunk:
            assert not tree_holds(root, length, index, bytes([chunk[0] ^ 1]) + chunk[1:], path)
        for place in range(0, len(path), 32):
            assert not tree_holds(root, length, index, chunk, path[:place] + bytes(32) + path[place + 32 :])
        for other in range(chunk_count(length)):
            same = chunk_length(length, other) == len(chunk) and path_length(length, other) == len(path)
            assert other == index or not same or not tree_holds(root, length, other, chunk, path)


@pytest.mark.requirement("ENC-16")
def test_a_pair_of_hashes_is_no_chunk() -> None:
    """The levels of a tree have tags of their own: what is hashed for a pair cannot be shown as a chunk."""
    body = bytes(256)
    pair = b"".join(tree_levels(body)[0])
    assert not tree_holds(tree_hash(body), 64, 0, pair, b"")
