"""Vectors of chapter ``mprng``."""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from btard.conformance.vectors.cases import Chapter, Plain, operation
from btard.conformance.vectors.forms import octets, texts
from btard.protocol.encoding import expand, tagged_hash
from btard.protocol.mprng import (
    by_lot,
    combine,
    commitment,
    direction,
    draw_targets,
    draw_validators,
    gradient_seed,
    group_seed,
    initial_randomness,
    private_opening,
    uint64,
)

FLAGS = {
    "little-endian": "hashes numbers, or compares lots, with the least significant byte first",
    "big-endian": "reads the entries of a direction with the most significant byte first",
    "short-numbers": "hashes numbers in another length than eight bytes, or as an encoded item",
    "other-order": "hashes the parts in another order",
    "left-out": "leaves a part out of the hash: the value can be used in another run, step or attempt, or by others",
    "other-tag": "hashes with the tag of another purpose",
    "not-fresh": "opens the same in two attempts, or in two steps",
    "wrong-opening": "takes an opening that does not give the commitment",
    "whole-opening": "combines the salts too",
    "not-hashed": "gives the XOR of the shares without hashing it",
    "other-mixture": "adds or hashes the shares instead of taking their XOR, or takes every share once only",
    "not-sorted": "hashes the roster in the order given instead of ascending",
    "shuffled": "draws places in the roster instead of a lot for every peer: a removal changes the lots of others",
    "highest-lots": "takes the highest lots, or the lowest ids",
    "early-validators": "draws validators in steps 0 and 1",
    "by-id": "gives the drawn peers in the order of their ids",
    "audits-a-validator": "leaves validators among the targets",
    "wraps-around": "gives the last validators targets that have been given already",
    "unsigned": "reads the entries of a direction as unsigned numbers",
    "other-stream": "counts parts from 1, or draws the directions of all parts from one stream",
}


def different(given: dict[str, Plain], _: Plain, answer: Plain) -> bool:
    """Whether an answer holds an opening of 64 bytes for every place, no two alike."""
    lengths = {len(bytes.fromhex(opening)) for opening in answer}
    return lengths <= {64} and len(set(answer)) == len(answer) == len(given["places"])


@operation(
    "mprng.openings",
    "`secret`, `run`: bytes; `places`: list of pairs (step, attempt), all different",
    "list of bytes: the peer's opening in each place; any pass that have 64 bytes each and are all different",
    different,
)
def compute_openings(given: dict[str, Any]) -> list[str]:
    """MPRNG-1."""
    secret, run = octets([given["secret"], given["run"]])
    return texts(private_opening(secret, run, step, attempt) for step, attempt in given["places"])


@operation("mprng.commitment", "`run`, `peer`, `opening`: bytes; `step`; `attempt`", "bytes: the peer's commitment")
def compute_commitment(given: dict[str, Any]) -> str:
    """MPRNG-2."""
    run, peer, opening = octets([given["run"], given["peer"], given["opening"]])
    return commitment(run, int(given["step"]), int(given["attempt"]), peer, opening).hex()


@operation(
    "mprng.opens",
    "`run`, `peer`, `opening`, `commitment`: bytes; `step`; `attempt`",
    "whether the opening is that of the peer's commitment; else the peer is convicted",
)
def compute_opens(given: dict[str, Any]) -> bool:
    """MPRNG-3."""
    return bool(compute_commitment(given) == given["commitment"])


@operation(
    "mprng.combine",
    "`openings`: list of bytes, of all peers of the roster",
    "bytes: r_t of an attempt in whose Reveal nobody was removed",
)
def compute_combine(given: dict[str, Any]) -> str:
    """MPRNG-4."""
    return combine(octets(given["openings"])).hex()


@operation(
    "mprng.initial",
    "`run`: bytes; `peers`: list of the ids of the first roster, in any order",
    "bytes: r_{−1}",
)
def compute_initial(given: dict[str, Any]) -> str:
    """MPRNG-5."""
    return initial_randomness(bytes.fromhex(given["run"]), tuple(sorted(octets(given["peers"])))).hex()


@operation(
    "mprng.gradient_seed",
    "`run`, `randomness` (r_{t−1}), `peer`: bytes; `step`: t",
    "bytes: the seed of the peer's gradient",
)
def compute_gradient_seed(given: dict[str, Any]) -> str:
    """MPRNG-6."""
    run, randomness, peer = octets([given["run"], given["randomness"], given["peer"]])
    return gradient_seed(run, randomness, int(given["step"]), peer).hex()


@operation(
    "mprng.group_seed",
    "`run`, `randomness` (r_{t−1}): bytes; `step`: t; `group`: its index",
    "bytes: the seed of the group's gradient",
)
def compute_group_seed(given: dict[str, Any]) -> str:
    """MPRNG-10."""
    run, randomness = octets([given["run"], given["randomness"]])
    return group_seed(run, randomness, int(given["step"]), int(given["group"])).hex()


@operation(
    "mprng.by_lot",
    "`tag`: text; `randomness` (r_{t−1}): bytes; `step`: t; `peers`: list of ids",
    "list of ids, in ascending order of their lots under the tag",
)
def compute_by_lot(given: dict[str, Any]) -> list[str]:
    """MPRNG-7."""
    return texts(by_lot(given["tag"], bytes.fromhex(given["randomness"]), int(given["step"]), octets(given["peers"])))


@operation(
    "mprng.validators",
    "`randomness` (r_{t−1}): bytes; `step`: t; `roster`: list of ids; `count`: m_t, or for t < 2 any number",
    "list of ids: the validators, in ascending order of their lots",
)
def compute_validators(given: dict[str, Any]) -> list[str]:
    """MPRNG-7."""
    randomness, roster = bytes.fromhex(given["randomness"]), octets(given["roster"])
    return texts(draw_validators(randomness, int(given["step"]), roster, given["count"]))


@operation(
    "mprng.targets",
    "`randomness` (r_{t−1}): bytes; `step`: t; `validators`: list of ids in the order drawn; `pool`: list of ids, the "
    "workers of the applied attempt of step t − 2 that are in the roster",
    "list of pairs (validator, target), in the order of the validators, of those who audit somebody",
)
def compute_targets(given: dict[str, Any]) -> list[list[str]]:
    """MPRNG-8."""
    randomness, validators = bytes.fromhex(given["randomness"]), octets(given["validators"])
    pairs = draw_targets(randomness, int(given["step"]), validators, octets(given["pool"]))
    return [texts(pair) for pair in pairs.items()]


@operation(
    "mprng.direction",
    "`randomness` (r_t): bytes; `part`: its index j; `length`: its coordinates",
    "list of integers: the entries of z_j",
)
def compute_direction(given: dict[str, Any]) -> list[int]:
    """MPRNG-9."""
    return [int(entry) for entry in direction(bytes.fromhex(given["randomness"]), given["part"], given["length"])]


RUN, SECRET, PEER, RANDOMNESS = (bytes(range(k, k + 32)) for k in (0, 32, 64, 96))
OTHER = bytes(range(160, 192))
OPENING = private_opening(SECRET, RUN, 5, 1)
ROSTER = [tagged_hash("btard/example", bytes([k])) for k in range(16)]
"""Ids in no order: what they are computed from, not their size, decides."""


def chapter() -> Chapter:
    """All vectors of the chapter."""
    made = Chapter("mprng", FLAGS)
    for add in (
        add_openings, add_commitments, add_openings_shown, add_combined, add_initial, add_seeds, add_lots,
        add_validators, add_targets, add_directions,
    ):  # fmt: skip
        add(made)
    return made


def add_openings(made: Chapter) -> None:
    """MPRNG-1."""
    case: dict[str, Any] = {"secret": SECRET.hex(), "run": RUN.hex()}
    places = [[0, 0], [0, 1], [1, 0], [5, 1], [2**32, 0]]
    made.right("five-places", "mprng.openings", "MPRNG-1", places=places, **case)
    attempt_left_out = texts(private_opening(SECRET, RUN, step, 0) for step in (3, 3))
    step_left_out = texts(private_opening(SECRET, RUN, 0, attempt) for attempt in (1, 1))
    summed = texts(private_opening(SECRET, RUN, 0, step + attempt) for step, attempt in ((1, 2), (2, 1)))
    mistakes = {
        "two-attempts": ([[3, 0], [3, 1]], attempt_left_out),
        "two-steps": ([[3, 1], [4, 1]], step_left_out),
        "equal-sums": ([[1, 2], [2, 1]], summed),
    }
    for name, (places, mistaken) in mistakes.items():
        made.trap(name, "mprng.openings", "MPRNG-1", "not-fresh", mistaken, places=places, **case)
    share = [OPENING[:32].hex()]
    made.trap("share-alone", "mprng.openings", "MPRNG-1", "left-out", share, places=[[5, 1]], **case)


def add_commitments(made: Chapter) -> None:
    """MPRNG-2."""
    for step, attempt in ((0, 0), (5, 1), (258, 3), (2**32, 1025)):
        case = {**commitment_case(step, attempt), "opening": private_opening(SECRET, RUN, step, attempt).hex()}
        made.right(f"{step}-{attempt}", "mprng.commitment", "MPRNG-2", **case)
    for name, (flag, parts) in wrong_commitments(258, 3).items():
        tag = "btard/mprng/opening" if flag == "other-tag" else "btard/mprng/commit"
        mistaken = tagged_hash(tag, *parts).hex()
        made.trap(name, "mprng.commitment", "MPRNG-2", flag, mistaken, **commitment_case(258, 3))


def commitment_case(step: int, attempt: int) -> dict[str, Any]:
    """The input of ``mprng.commitment``."""
    return {"run": RUN.hex(), "step": step, "attempt": attempt, "peer": PEER.hex(), "opening": OPENING.hex()}


def wrong_commitments(step: int, attempt: int) -> dict[str, tuple[str, list[bytes]]]:
    """By name: the mistake, and what it hashes."""
    place = uint64(step) + uint64(attempt)
    little = step.to_bytes(8, "little") + attempt.to_bytes(8, "little")
    short = step.to_bytes(4, "big") + attempt.to_bytes(4, "big")
    return {
        "little-endian": ("little-endian", [RUN, little, PEER, OPENING]),
        "four-bytes": ("short-numbers", [RUN, short, PEER, OPENING]),
        "encoded": ("short-numbers", [RUN, bytes.fromhex("190102") + b"\x03", PEER, OPENING]),
        "attempt-first": ("other-order", [RUN, uint64(attempt) + uint64(step), PEER, OPENING]),
        "id-first": ("other-order", [PEER, RUN, place, OPENING]),
        "opening-first": ("other-order", [OPENING, RUN, place, PEER]),
        "no-run": ("left-out", [place, PEER, OPENING]),
        "no-attempt": ("left-out", [RUN, uint64(step), PEER, OPENING]),
        "no-id": ("left-out", [RUN, place, OPENING]),
        "no-salt": ("left-out", [RUN, place, PEER, OPENING[:32]]),
        "opening-alone": ("left-out", [OPENING]),
        "other-tag": ("other-tag", [RUN, place, PEER, OPENING]),
    }


def add_openings_shown(made: Chapter) -> None:
    """MPRNG-3."""
    case = {**commitment_case(5, 1), "commitment": commitment(RUN, 5, 1, PEER, OPENING).hex()}
    made.right("opens", "mprng.opens", "MPRNG-3", **case)
    changed = bytes([OPENING[0] ^ 1]) + OPENING[1:]
    salted = OPENING[:-1] + bytes([OPENING[-1] ^ 128])
    changes: dict[str, dict[str, Any]] = {
        "other-share": {"opening": changed.hex()},
        "other-salt": {"opening": salted.hex()},
        "swapped-halves": {"opening": (OPENING[32:] + OPENING[:32]).hex()},
        "zeros": {"opening": bytes(64).hex()},
        "copied": {"peer": OTHER.hex()},
        "last-attempt": {"attempt": 0},
        "next-attempt": {"attempt": 2},
        "last-step": {"step": 4},
        "other-run": {"run": OTHER.hex()},
        "places-swapped": {"step": 1, "attempt": 5},
        "other-commitment": {"commitment": OTHER.hex()},
        "commitment-of-nothing": {"commitment": bytes(32).hex()},
    }
    for name, change in changes.items():
        made.trap(name, "mprng.opens", "MPRNG-3", "wrong-opening", True, **{**case, **change})


def add_combined(made: Chapter) -> None:
    """MPRNG-4."""
    openings = [private_opening(bytes([k]) * 32, RUN, 5, 1) for k in range(5)]
    for count in (1, 2, 5):
        made.right(f"{count}-openings", "mprng.combine", "MPRNG-4", openings=texts(openings[:count]))
    case = {"openings": texts(openings[:3])}
    numbers = [int.from_bytes(opening[:32], "big") for opening in openings[:3]]
    mixed = (numbers[0] ^ numbers[1] ^ numbers[2]).to_bytes(32, "big")
    whole = (np.bitwise_xor.reduce([np.frombuffer(opening, np.uint8) for opening in openings[:3]])).tobytes()
    summed = (sum(numbers) % 2**256).to_bytes(32, "big")
    salts = (np.bitwise_xor.reduce([np.frombuffer(opening[32:], np.uint8) for opening in openings[:3]])).tobytes()
    mistakes = {
        "bare": ("not-hashed", mixed),
        "salts-too": ("whole-opening", tagged_hash("btard/mprng/output", whole)),
        "salts-instead": ("whole-opening", tagged_hash("btard/mprng/output", salts)),
        "summed": ("other-mixture", tagged_hash("btard/mprng/output", summed)),
        "joined": ("other-mixture", tagged_hash("btard/mprng/output", *(opening[:32] for opening in openings[:3]))),
        "turned": ("little-endian", tagged_hash("btard/mprng/output", mixed[::-1])),
        "tag-of-commit": ("other-tag", tagged_hash("btard/mprng/commit", mixed)),
        "two-of-three": ("left-out", combine(openings[:2])),
    }
    for name, (flag, mistaken) in mistakes.items():
        made.trap(name, "mprng.combine", "MPRNG-4", flag, mistaken.hex(), **case)
    twice = [openings[0], openings[1], openings[0]]
    once = combine(openings[:2]).hex()
    made.trap("equal-openings", "mprng.combine", "MPRNG-4", "other-mixture", once, openings=texts(twice))
    led = bytes(31) + b"\x01"
    stripped = tagged_hash("btard/mprng/output", b"\x01").hex()
    made.trap("leading-zeros", "mprng.combine", "MPRNG-4", "short-numbers", stripped, openings=texts([led + bytes(32)]))


def add_initial(made: Chapter) -> None:
    """MPRNG-5."""
    for count in (2, 5, 16):
        peers = sorted(ROSTER[:count])
        made.right(f"{count}-peers", "mprng.initial", "MPRNG-5", run=RUN.hex(), peers=texts(peers))
    given, ascending = ROSTER[:5], sorted(ROSTER[:5])
    case = {"run": RUN.hex(), "peers": texts(given)}
    turned = sorted(given, key=lambda peer: peer[::-1])
    mistakes = {
        "as-given": ("not-sorted", [RUN, *given]),
        "descending": ("not-sorted", [RUN, *reversed(ascending)]),
        "turned": ("little-endian", [RUN, *turned]),
        "peers-first": ("other-order", [*ascending, RUN]),
        "no-run": ("left-out", ascending),
        "number-of-peers": ("short-numbers", [RUN, uint64(5), *ascending]),
        "other-tag": ("other-tag", [RUN, *ascending]),
    }
    for name, (flag, parts) in mistakes.items():
        tag = "btard/mprng/output" if flag == "other-tag" else "btard/mprng/initial"
        made.trap(name, "mprng.initial", "MPRNG-5", flag, tagged_hash(tag, *parts).hex(), **case)


def add_seeds(made: Chapter) -> None:
    """MPRNG-6 and MPRNG-10."""
    base: dict[str, Any] = {"run": RUN.hex(), "randomness": RANDOMNESS.hex()}
    owners: dict[str, tuple[str, str, bytes, dict[str, Any]]] = {
        "gradient_seed": ("MPRNG-6", "btard/seed", PEER, {"peer": PEER.hex()}),
        "group_seed": ("MPRNG-10", "btard/group-seed", uint64(258), {"group": 258}),
    }
    for what, (requirement, tag, last, owner) in owners.items():
        for step in (0, 1, 258, 2**32):
            made.right(f"step-{step}", f"mprng.{what}", requirement, step=step, **base, **owner)
        little = (258).to_bytes(8, "little")
        mistakes = {
            "little-endian": ("little-endian", [RUN, RANDOMNESS, little, last]),
            "four-bytes": ("short-numbers", [RUN, RANDOMNESS, uint64(258)[4:], last]),
            "owner-first": ("other-order", [RUN, RANDOMNESS, last, bytes(7), uint64(258)]),
            "randomness-first": ("other-order", [RANDOMNESS, RUN, uint64(258), last]),
            "no-step": ("left-out", [RUN, RANDOMNESS, last]),
            "no-run": ("left-out", [RANDOMNESS, uint64(258), last]),
            "with-attempt": ("left-out", [RUN, RANDOMNESS, uint64(258), uint64(0), last]),
            "other-tag": ("other-tag", [RUN, RANDOMNESS, uint64(258), last]),
        }
        for name, (flag, parts) in mistakes.items():
            used = "btard/validator" if flag == "other-tag" else tag
            mistaken = tagged_hash(used, *parts).hex()
            made.trap(name, f"mprng.{what}", requirement, flag, mistaken, step=258, **base, **owner)
    short = tagged_hash("btard/group-seed", RUN, RANDOMNESS, uint64(3), b"\x02").hex()
    made.trap("short-group", "mprng.group_seed", "MPRNG-10", "short-numbers", short, step=3, group=2, **base)


def lots(parts: Any, peers: list[bytes], tag: str = "btard/validator") -> list[bytes]:
    """Peers in ascending order of the hash of what ``parts`` gives for each."""
    return sorted(peers, key=lambda peer: tagged_hash(tag, *parts(peer)))


def add_lots(made: Chapter) -> None:
    """MPRNG-7: the order of lots."""
    for tag in ("btard/validator", "btard/target", "btard/candidate", "btard/inspector", "btard/group"):
        name = tag.removeprefix("btard/")
        made.right(name, "mprng.by_lot", "MPRNG-7", **lot_case(tag))
    turned = sorted(ROSTER, key=lambda peer: tagged_hash("btard/target", RANDOMNESS, uint64(258), peer)[::-1])
    right = lots(lambda peer: (RANDOMNESS, uint64(258), peer), ROSTER, "btard/target")
    mistakes: dict[str, tuple[str, list[bytes]]] = {
        "little-endian-lots": ("little-endian", turned),
        "little-endian-step": (
            "little-endian",
            lots(lambda peer: (RANDOMNESS, (258).to_bytes(8, "little"), peer), ROSTER, "btard/target"),
        ),
        "no-step": ("left-out", lots(lambda peer: (RANDOMNESS, peer), ROSTER, "btard/target")),
        "id-first": ("other-order", lots(lambda peer: (peer, RANDOMNESS, uint64(258)), ROSTER, "btard/target")),
        "other-tag": ("other-tag", lots(lambda peer: (RANDOMNESS, uint64(258), peer), ROSTER)),
        "ids-ascending": ("by-id", sorted(ROSTER)),
        "as-given": ("by-id", ROSTER),
        "descending": ("highest-lots", right[::-1]),
    }
    for name, (flag, mistaken) in mistakes.items():
        made.trap(name, "mprng.by_lot", "MPRNG-7", flag, texts(mistaken), **lot_case("btard/target"))


def lot_case(tag: str) -> dict[str, Any]:
    """The input of ``mprng.by_lot``."""
    return {"tag": tag, "randomness": RANDOMNESS.hex(), "step": 258, "peers": texts(ROSTER)}


def shuffled(randomness: bytes, peers: list[bytes]) -> list[bytes]:
    """The mistake of a permutation of places."""
    places = list(peers)
    random.Random(randomness).shuffle(places)
    return places


def add_validators(made: Chapter) -> None:
    """MPRNG-7: who validates."""
    roster = sorted(ROSTER)
    for step, count in ((2, 1), (2, 4), (300, 4), (300, 16), (2**32, 3), (7, 0)):
        case = validators_case(step, count, roster)
        made.right(f"{count}-in-step-{step}", "mprng.validators", "MPRNG-7", **case)
    for step in (0, 1):
        drawn = by_lot("btard/validator", RANDOMNESS, step, roster)[:4]
        made.trap(
            f"nobody-in-step-{step}", "mprng.validators", "MPRNG-7", "early-validators", texts(drawn),
            **validators_case(step, 4, roster),
        )  # fmt: skip
    lowest = by_lot("btard/validator", RANDOMNESS, 300, roster)
    mistakes = {
        "by-id": ("by-id", sorted(lowest[:4])),
        "highest": ("highest-lots", lowest[:-5:-1]),
        "lowest-ids": ("highest-lots", roster[:4]),
        "places-drawn": ("shuffled", shuffled(RANDOMNESS, roster)[:4]),
        "first-lot-and-neighbours": ("shuffled", rotated(lowest[0], roster)[:4]),
        "other-tag": ("other-tag", by_lot("btard/target", RANDOMNESS, 300, roster)[:4]),
        "last-step": ("left-out", by_lot("btard/validator", RANDOMNESS, 299, roster)[:4]),
    }
    for name, (flag, mistaken) in mistakes.items():
        case = validators_case(300, 4, roster)
        made.trap(name, "mprng.validators", "MPRNG-7", flag, texts(mistaken), **case)
    without = [peer for peer in roster if peer != lowest[1]]
    other = texts(shuffled(RANDOMNESS, without)[:4])
    made.trap("after-a-removal", "mprng.validators", "MPRNG-7", "shuffled", other, **validators_case(300, 4, without))


def rotated(first: bytes, roster: list[bytes]) -> list[bytes]:
    """The roster from ``first`` on, around its end."""
    place = roster.index(first)
    return roster[place:] + roster[:place]


def validators_case(step: int, count: int, roster: list[bytes]) -> dict[str, Any]:
    """The input of ``mprng.validators``."""
    return {"randomness": RANDOMNESS.hex(), "step": step, "count": count, "roster": texts(roster)}


def add_targets(made: Chapter) -> None:
    """MPRNG-8."""
    roster = sorted(ROSTER)
    validators = list(draw_validators(RANDOMNESS, 300, tuple(roster), 4))
    for name, pool in (("all-workers", roster), ("some", roster[::2]), ("nobody", [])):
        made.right(name, "mprng.targets", "MPRNG-8", **targets_case(validators, pool))
    order = by_lot("btard/target", RANDOMNESS, 300, roster)
    free = [peer for peer in order if peer not in validators]
    drawn = {
        "validators-stay": ("audits-a-validator", validators, order),
        "validators-by-id": ("by-id", sorted(validators), free),
        "targets-by-id": ("by-id", validators, sorted(free)),
        "highest": ("highest-lots", validators, free[::-1]),
        "other-tag": ("other-tag", validators, left_over("btard/validator", 300, roster, validators)),
        "last-step": ("left-out", validators, left_over("btard/target", 299, roster, validators)),
        "places-drawn": ("shuffled", validators, shuffled(RANDOMNESS, sorted(free))),
    }
    for name, (flag, auditors, targets) in drawn.items():
        mistaken = [texts(pair) for pair in zip(auditors, targets, strict=False)]
        made.trap(name, "mprng.targets", "MPRNG-8", flag, mistaken, **targets_case(validators, roster))
    few = [free[5], free[2]]
    again = [texts(pair) for pair in zip(validators, [free[2], free[5]] * 2, strict=True)]
    made.trap("two-for-four", "mprng.targets", "MPRNG-8", "wraps-around", again, **targets_case(validators, few))
    own = [texts((validators[0], validators[0]))]
    made.trap(
        "nobody-but-itself", "mprng.targets", "MPRNG-8", "audits-a-validator", own,
        **targets_case(validators[:1], validators[:1]),
    )  # fmt: skip


def left_over(tag: str, step: int, roster: list[bytes], validators: list[bytes]) -> list[bytes]:
    """The peers that do not validate, in the order of their lots."""
    return [peer for peer in by_lot(tag, RANDOMNESS, step, roster) if peer not in validators]


def targets_case(validators: list[bytes], pool: list[bytes]) -> dict[str, Any]:
    """The input of ``mprng.targets``."""
    return {"randomness": RANDOMNESS.hex(), "step": 300, "validators": texts(validators), "pool": texts(pool)}


def add_directions(made: Chapter) -> None:
    """MPRNG-9."""
    for part, length in ((0, 0), (0, 1), (3, 8), (258, 100), (1023, 84), (7, 85)):
        made.right(f"part-{part}-of-{length}", "mprng.direction", "MPRNG-9", **direction_case(part, length))
    stream = expand("btard/direction", RANDOMNESS, uint64(258), length=16)
    all_parts = expand("btard/direction", RANDOMNESS, length=2 * 8 * 259)[-16:]
    other = {
        "turned": ("big-endian", np.frombuffer(stream, ">i2")),
        "unsigned": ("unsigned", np.frombuffer(stream, "<u2")),
        "one-byte": ("short-numbers", np.frombuffer(stream[:8], "i1")),
        "little-endian-part": ("little-endian", signed((258).to_bytes(8, "little"))),
        "short-part": ("short-numbers", signed(b"\x01\x02")),
        "from-one": ("other-stream", direction(RANDOMNESS, 259, 8)),
        "one-stream": ("other-stream", np.frombuffer(all_parts, "<i2")),
        "no-part": ("left-out", signed(b"")),
        "other-tag": ("other-tag", np.frombuffer(expand("btard/sample", RANDOMNESS, uint64(258), length=16), "<i2")),
    }
    for name, (flag, mistaken) in other.items():
        entries = [int(entry) for entry in mistaken]
        made.trap(name, "mprng.direction", "MPRNG-9", flag, entries, **direction_case(258, 8))


def signed(part: bytes) -> Any:
    """Eight entries from the stream of a part whose index is hashed as ``part``."""
    return np.frombuffer(expand("btard/direction", RANDOMNESS, part, length=16), "<i2")


def direction_case(part: int, length: int) -> dict[str, Any]:
    """The input of ``mprng.direction``."""
    return {"randomness": RANDOMNESS.hex(), "part": part, "length": length}
