"""Vectors of chapter ``encoding``."""

from __future__ import annotations

import hashlib
from typing import Any

from btard.conformance.vectors.cases import Chapter, operation
from btard.conformance.vectors.forms import octets, plain_item, read_item
from btard.protocol.encoding import (
    Shape,
    decode,
    decode_sequence,
    encode,
    expand,
    sample_indices,
    tagged_hash,
    tree_hash,
    tree_holds,
    tree_levels,
    tree_path,
)

FLAGS = {
    "no-tag": "hashes the content without the tag's prefix: hashes of different purposes can be mixed up",
    "tag-once": "puts the hash of the tag in front once instead of twice",
    "other-xof": "expands with SHAKE-256 instead of SHAKE-128",
    "big-endian": "reads or writes numbers with the most significant byte first",
    "reduced-wrongly": "maps a word to an index otherwise than by its remainder",
    "long-form": "takes an integer or a length that is not in its shortest form: one value has several encodings",
    "outside-subset": "takes what the subset does not have: negative numbers, floats, tags, indefinite lengths, "
    "other simple values",
    "trailing-bytes": "ignores what follows the item",
    "truncated": "takes an item whose bytes end early",
    "key-order": "takes maps whose keys are not in strictly ascending order of their encodings",
    "bad-text": "takes text that is not UTF-8, or keys that are no text",
    "limits": "takes more bytes, items or containers inside each other than the place allows",
    "trusts-lengths": "believes a declared length before the bytes are there, and reserves memory for it",
    "unbalanced-tree": "doubles the last chunk of an odd level instead of passing it on as it is",
    "no-length": "leaves the length out of the tree hash",
    "wrong-path": "takes a chunk whose path or length does not fit its place",
}


@operation("encoding.tagged_hash", "`tag`: text; `parts`: list of bytes", "bytes: H(tag, parts)")
def compute_tagged_hash(given: dict[str, Any]) -> str:
    """ENC-1."""
    return tagged_hash(given["tag"], *octets(given["parts"])).hex()


@operation("encoding.expand", "`tag`: text; `parts`: list of bytes; `length`", "bytes: XOF(tag, parts)")
def compute_expand(given: dict[str, Any]) -> str:
    """ENC-2."""
    return expand(given["tag"], *octets(given["parts"]), length=given["length"]).hex()


@operation("encoding.sample_indices", "`seed`: bytes; `count`; `population`", "list of indices")
def compute_sample_indices(given: dict[str, Any]) -> list[int]:
    """ENC-3."""
    return [int(index) for index in sample_indices(bytes.fromhex(given["seed"]), given["count"], given["population"])]


@operation("encoding.encode", "`item`", "bytes: its encoding")
def compute_encode(given: dict[str, Any]) -> str:
    """ENC-4."""
    return encode(read_item(given["item"])).hex()


@operation(
    "encoding.decode",
    "`data`: bytes; `limit`: most bytes; `items`, `depth`: most items and containers inside each other, where given; "
    "`named`: whether text and maps are allowed, where given (without these three: whatever can be encoded)",
    "the item",
)
def compute_decode(given: dict[str, Any]) -> Any:
    """ENC-5 to ENC-12, ENC-14."""
    data, limit = bytes.fromhex(given["data"]), given["limit"]
    if "items" not in given:
        return plain_item(decode(data, limit))
    return plain_item(decode(data, limit, Shape(given["items"], given["depth"], given["named"])))


@operation("encoding.decode_sequence", "`data`: bytes; `limit`: most bytes of an item", "list of bytes: every item's")
def compute_decode_sequence(given: dict[str, Any]) -> list[str]:
    """ENC-13."""
    return [item.hex() for _, item in decode_sequence(bytes.fromhex(given["data"]), given["limit"])]


@operation("encoding.tree_hash", "`body`: bytes", "bytes: its tree hash")
def compute_tree_hash(given: dict[str, Any]) -> str:
    """ENC-15."""
    return tree_hash(bytes.fromhex(given["body"])).hex()


@operation("encoding.tree_path", "`body`: bytes; `index` of one of its chunks", "bytes: the chunk's path")
def compute_tree_path(given: dict[str, Any]) -> str:
    """ENC-16."""
    return tree_path(tree_levels(bytes.fromhex(given["body"])), given["index"]).hex()


@operation(
    "encoding.tree_holds",
    "`root`: bytes; `length` of the body; `index`, `chunk`, `path`: bytes",
    "whether the chunk is the body's",
)
def compute_tree_holds(given: dict[str, Any]) -> bool:
    """ENC-16."""
    root, chunk, path = octets([given["root"], given["chunk"], given["path"]])
    return tree_holds(root, given["length"], given["index"], chunk, path)


def chapter() -> Chapter:
    """All vectors of the chapter."""
    made = Chapter("encoding", FLAGS)
    for add in (add_hashes, add_indices, add_items, add_refusals, add_shapes, add_sequences, add_trees):
        add(made)
    return made


def add_hashes(made: Chapter) -> None:
    """ENC-1 and ENC-2."""
    for name, tag, parts in (
        ("no-parts", "btard/run", []),
        ("one-part", "btard/body", ["00"]),
        ("two-parts", "btard/message", ["ff" * 32, "8401"]),
        ("long", "btard/chunk", ["5a" * 1000]),
        ("utf-8-tag", "btard/ä", ["01"]),
    ):
        made.right(name, "encoding.tagged_hash", "ENC-1", tag=tag, parts=parts)
    content = bytes(range(32))
    bare, once = hashlib.sha256(content), hashlib.sha256(hashlib.sha256(b"btard/body").digest() + content)
    case = {"tag": "btard/body", "parts": [content.hex()]}
    made.trap("with-tag", "encoding.tagged_hash", "ENC-1", "no-tag", bare.hexdigest(), **case)
    made.trap("tag-twice", "encoding.tagged_hash", "ENC-1", "tag-once", once.hexdigest(), **case)
    for length in (0, 1, 32, 167, 168, 169, 1000):
        made.right(
            f"{length}-bytes", "encoding.expand", "ENC-2", tag="btard/direction", parts=["01", "02"], length=length
        )
    prefix = hashlib.sha256(b"btard/direction").digest() * 2
    other = hashlib.shake_256(prefix + content).hexdigest(64)
    made.trap(
        "shake-128", "encoding.expand", "ENC-2", "other-xof", other,
        tag="btard/direction", parts=[content.hex()], length=64,
    )  # fmt: skip


def add_indices(made: Chapter) -> None:
    """ENC-3."""
    seed = bytes(range(32))
    for count, population in ((0, 5), (8, 1), (8, 10), (5, 2**40 + 1), (3, 2**53 - 111)):
        made.right(
            f"{count}-of-{population}", "encoding.sample_indices", "ENC-3",
            seed=seed.hex(), count=count, population=population,
        )  # fmt: skip
    stream = expand("btard/sample", seed, length=8 * 6)
    words = [int.from_bytes(stream[k : k + 8], "big") % 1000 for k in range(0, 48, 8)]
    scaled = [int.from_bytes(stream[k : k + 8], "little") * 1000 >> 64 for k in range(0, 48, 8)]
    case = {"seed": seed.hex(), "count": 6, "population": 1000}
    made.trap("little-endian", "encoding.sample_indices", "ENC-3", "big-endian", words, **case)
    made.trap("remainder", "encoding.sample_indices", "ENC-3", "reduced-wrongly", scaled, **case)


ITEMS: dict[str, Any] = {
    "zero": 0,
    "23": 23,
    "24": 24,
    "255": 255,
    "256": 256,
    "65535": 65535,
    "65536": 65536,
    "4294967295": 2**32 - 1,
    "4294967296": 2**32,
    "greatest-integer": 2**64 - 1,
    "null": None,
    "true": True,
    "false": False,
    "no-bytes": b"",
    "24-bytes": bytes(24),
    "256-bytes": bytes(256),
    "text": "part",
    "umlaut": "ä",
    "empty-array": [],
    "nested": [[1, [b"\x02"]], None],
    "24-entries": list(range(24)),
    "map": {"b": 1, "a": b"\x00", "aa": [True]},
    "deepest": [[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]],
}


def add_items(made: Chapter) -> None:
    """ENC-4: every item both ways."""
    for name, item in ITEMS.items():
        made.right(name, "encoding.encode", "ENC-4", item=plain_item(item))
        made.right(name, "encoding.decode", "ENC-4", data=encode(item).hex(), limit=1000)
    swapped = encode([{"a": b"\x00"}, {"aa": [True]}, {"b": 1}])
    made.trap(
        "short-keys-first", "encoding.encode", "ENC-4", "key-order", swapped.hex(),
        item=plain_item({"aa": 1, "b": 2, "a": 3}),
    )  # fmt: skip


REFUSALS = {
    "long-form": (
        "ENC-8",
        "1800 1817 190000 1900ff 1a0000ffff 1b00000000ffffffff 5800 581700 98 9800 b800 7800 7817 590001ff",
    ),
    "outside-subset": (
        "ENC-7",
        "20 3903e7 c000 c24101 f90000 fa00000000 fb0000000000000000 f7 f0 f820 f818 ff 5f4100ff 9f01ff bf616101ff"
        " 7f6161ff 1c 1d 1e 1f 5c e0",
    ),
    "trailing-bytes": ("ENC-6", "0000 f600 8000 400041 a0a0"),
    "truncated": ("ENC-7", " 18 19 1900 1a000000 1b00000000000000 8201 a1 a16161 a1616101ff"),
    "key-order": ("ENC-10", "a2616201616102 a2616101616102 a262616101616102 a3616101616202616202"),
    "bad-text": ("ENC-9", "61ff 62c328 63eda080 62c080 64f4908080 a1410001 a10001 a1f601 a18001 a161ff01"),
    "trusts-lengths": (
        "ENC-12",
        "4100ff5b 42ff 5bffffffffffffffff 5a7fffffff00 7bffffffffffffffff 9bffffffffffffffff 9a7fffffff00"
        " bbffffffffffffffff ba7fffffff00 8161 bb8000000000000000",
    ),
}
"""By mistake: the requirement, and encodings that must be refused."""


def add_refusals(made: Chapter) -> None:
    """ENC-6 to ENC-12: bytes that no encoder writes."""
    for flag, (requirement, listing) in REFUSALS.items():
        for index, data in enumerate(listing.split(" ")):
            made.refused(f"{flag}-{index}", "encoding.decode", requirement, flag, data=data, limit=1000)


def add_shapes(made: Chapter) -> None:
    """ENC-5, ENC-11, ENC-14: what a place allows."""
    pair = encode([[1, 2], [3]])
    made.right("whole-limit", "encoding.decode", "ENC-5", data=pair.hex(), limit=len(pair))
    made.refused("one-byte-too-many", "encoding.decode", "ENC-5", "limits", data=pair.hex(), limit=len(pair) - 1)
    made.refused("nothing-allowed", "encoding.decode", "ENC-5", "limits", data="00", limit=0)
    made.refused("17-deep", "encoding.decode", "ENC-11", "limits", data="81" * 17 + "00", limit=1000)
    made.refused("17-maps-deep", "encoding.decode", "ENC-11", "limits", data="a16161" * 17 + "00", limit=1000)
    shape = {"data": pair.hex(), "limit": 1000, "items": 6, "depth": 2, "named": False}
    made.right("fits-shape", "encoding.decode", "ENC-14", **shape)
    made.refused("one-item-too-many", "encoding.decode", "ENC-14", "limits", **{**shape, "items": 5})
    made.refused("one-level-too-deep", "encoding.decode", "ENC-11", "limits", **{**shape, "depth": 1})
    for name, data in (("text", "6161"), ("map", "a0"), ("text-inside", "8161" + "61")):
        bare = {"data": data, "limit": 1000, "items": 9, "depth": 3, "named": False}
        made.refused(f"no-{name}-here", "encoding.decode", "ENC-14", "limits", **bare)


def add_sequences(made: Chapter) -> None:
    """ENC-13."""
    data = bytes.fromhex("00" + "820102" + "4103")
    made.right("empty", "encoding.decode_sequence", "ENC-13", data="", limit=10)
    made.right("three-items", "encoding.decode_sequence", "ENC-13", data=data.hex(), limit=3)
    made.refused("item-too-long", "encoding.decode_sequence", "ENC-13", "limits", data=data.hex(), limit=2)
    made.refused("cut", "encoding.decode_sequence", "ENC-13", "truncated", data=data[:-1].hex(), limit=10)
    made.refused("long-form", "encoding.decode_sequence", "ENC-13", "long-form", data="001800", limit=10)


def add_trees(made: Chapter) -> None:
    """ENC-15 and ENC-16."""
    for length in (0, 1, 127, 128, 129, 256, 257, 384, 640, 1000):
        made.right(f"{length}-bytes", "encoding.tree_hash", "ENC-15", body=body_of(length).hex())
    body = body_of(384)
    chunks = [tagged_hash("btard/chunk", body[k : k + 128]) for k in (0, 128, 256)]
    low, doubled = tagged_hash("btard/pair", *chunks[:2]), tagged_hash("btard/pair", chunks[2], chunks[2])
    repeated = tagged_hash("btard/tree", len(body).to_bytes(8, "big"), tagged_hash("btard/pair", low, doubled))
    bare = tagged_hash("btard/pair", low, chunks[2])
    made.trap("odd-level", "encoding.tree_hash", "ENC-15", "unbalanced-tree", repeated.hex(), body=body.hex())
    made.trap("length-counts", "encoding.tree_hash", "ENC-15", "no-length", bare.hex(), body=body.hex())
    add_paths(made)


def add_paths(made: Chapter) -> None:
    """ENC-16: chunks with their paths, right and wrong."""
    for length, index in ((1, 0), (129, 1), (640, 0), (640, 3), (640, 4)):
        body = body_of(length)
        path = tree_path(tree_levels(body), index)
        shown: dict[str, Any] = {
            "root": tree_hash(body).hex(),
            "length": length,
            "index": index,
            "chunk": body[128 * index : 128 * index + 128].hex(),
            "path": path.hex(),
        }
        place = f"{index}-of-{length}"
        made.right(place, "encoding.tree_path", "ENC-16", body=body.hex(), index=index)
        made.right(place, "encoding.tree_holds", "ENC-16", **shown)
        wrong: dict[str, dict[str, Any]] = {
            "index": {"index": index ^ 1},
            "length": {"length": length + 1},
            "chunk": {"chunk": flipped(shown["chunk"])},
            "short-chunk": {"chunk": shown["chunk"][2:]},
            "long-path": {"path": shown["path"] + "00" * 32},
            "torn-path": {"path": shown["path"] + "00"},
        }
        for name, change in wrong.items():
            made.trap(
                f"{place}-other-{name}", "encoding.tree_holds", "ENC-16", "wrong-path", True, **{**shown, **change}
            )


def flipped(digits: str) -> str:
    """The same bytes with the lowest bit of the first one turned."""
    data = bytes.fromhex(digits)
    return (bytes([data[0] ^ 1]) + data[1:]).hex()


def body_of(length: int) -> bytes:
    """Bytes that differ from place to place."""
    return bytes((7 * k + k // 256) % 256 for k in range(length))
