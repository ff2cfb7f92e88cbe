"""Vectors of chapter ``majority_vote``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from btard.conformance.vectors.built import drawn
from btard.conformance.vectors.cases import Chapter, operation
from btard.conformance.vectors.forms import octets, read_real, read_singles, real, singles, texts
from btard.conformance.vectors.transcripts import announced, attempt_of, plain_transcript, read_transcript
from btard.protocol.arithmetic import Float32
from btard.protocol.butterfly_clip import partition
from btard.protocol.encoding import expand, tree_hash
from btard.protocol.majority_vote import (
    MajorityVote,
    chosen_chunks,
    majority,
    pack_signs,
    show_chunks,
)
from btard.protocol.messages import Message, Report, body_hash
from btard.protocol.model import MAJORITY_VOTE, Configuration, PeerId, checked_chunks, shown_in
from btard.protocol.mprng import uint64
from btard.protocol.verification import Transcript

FLAGS = {
    "bit-order": "packs from the highest bit of a byte",
    "zeros": "gives zeros another sign: always the same one, or that of the sign bit",
    "wrong-parity": "takes the parity of something else than entry plus step, or counts entries in the whole vector",
    "padding": "sets bits beyond the part, counts them, or takes an aggregate that has some",
    "ties": "gives ties another sign than the null sign",
    "threshold": "asks for another number of votes than more than half",
    "impossible-taken": "takes a body that nobody sends",
    "body-hash": "announces the body hash of packed signs",
    "rounded-logarithm": "computes the number of chunks by a logarithm, or rounds it",
    "other-words": "reads the random words otherwise: byte order, part, randomness",
    "repeated": "counts a chunk twice that was drawn twice",
    "unsorted": "shows the chunks in the order in which they were drawn",
    "counts-signs": "takes the number of signs, or of bytes, for that of chunks",
    "other-form": "shows paths and chunks in another order, or not all of them",
    "not-the-announced": "takes a chunk that does not belong to the announced hash",
    "superfluous": "takes a report that holds more or less than it should",
    "half-opened": "counts although a report is missing or impossible",
    "convicts-wrongly": "convicts somebody else than the one that counted wrong, or an honest aggregator",
    "unnoticed": "does not notice a wrong count in a shown chunk",
    "no-room": "takes a run whose reports cannot be sent",
}
PROFILE = MajorityVote()


@operation("majority_vote.pack_signs", "`vector`: float32; `step` t", "bytes: the packed signs of the part")
def compute_pack_signs(given: dict[str, Any]) -> str:
    """SIGN-1, SIGN-2."""
    return pack_signs(read_singles(given["vector"]), given["step"]).tobytes().hex()


@operation(
    "majority_vote.parts",
    "`gradient`: float32 vector; `workers`: how many; `step` t",
    "list of `[body, hash]`: bytes, what a worker sends of each part, and what it announces",
)
def compute_parts(given: dict[str, Any]) -> list[list[str]]:
    """SIGN-1, SIGN-4, MSG-6."""
    gradient = read_singles(given["gradient"])
    cut, _ = attempt_of(given["workers"], len(gradient), math.inf, MAJORITY_VOTE, step=given["step"])
    bodies = PROFILE.parts(cut, cut.workers[0], gradient)
    return [texts(pair) for pair in zip(bodies, PROFILE.hashes(cut, cut.workers[0], gradient), strict=True)]


@operation(
    "majority_vote.majority",
    "`votes`: list of bytes, the packed signs of each worker; `length` of the part; `step` t",
    "bytes: the majority's packed signs",
)
def compute_majority(given: dict[str, Any]) -> str:
    """SIGN-3."""
    votes = np.stack([np.frombuffer(vote, dtype=np.uint8) for vote in octets(given["votes"])])
    return majority(votes, given["length"], given["step"]).tobytes().hex()


@operation(
    "majority_vote.read_parts",
    "`contents`: list of bytes, what each worker sent of a part; `length` of the part",
    "`{votes, possible}`: list of bytes, what each is counted as; and a list, whether nobody has to be accused for it",
)
def compute_read_parts(given: dict[str, Any]) -> dict[str, Any]:
    """SIGN-7."""
    cut, _ = attempt_of(1, given["length"], math.inf, MAJORITY_VOTE)
    votes, possible = PROFILE.read_parts(cut, 0, octets(given["contents"]), math.inf)
    return {"votes": texts(vote.tobytes() for vote in votes), "possible": possible}


@operation(
    "majority_vote.read_aggregate",
    "`content`: bytes; `length` of the part",
    "float32 vector: the applied part; null if the content is no aggregate",
)
def compute_read_aggregate(given: dict[str, Any]) -> str | None:
    """SIGN-8."""
    found = PROFILE.read_aggregate(bytes.fromhex(given["content"]), given["length"])
    return None if found is None else singles(found)


@operation("majority_vote.checked_chunks", "`detection`: real P", "k")
def compute_checked_chunks(given: dict[str, Any]) -> int:
    """SIGN-4."""
    return checked_chunks(read_real(given["detection"]))


@operation(
    "majority_vote.chosen_chunks",
    "`randomness`: bytes r_t; `part` j; `length` of the part, in signs; `checked` k",
    "list of the indices of the chunks that are shown",
)
def compute_chosen_chunks(given: dict[str, Any]) -> list[int]:
    """SIGN-5."""
    return chosen_chunks(bytes.fromhex(given["randomness"]), given["part"], given["length"], given["checked"])


@operation(
    "majority_vote.report",
    "`transcript` as for `verification.report`, of profile majority-vote; `worker`: its id; `gradient`: float32 "
    "vector; `aggregate`: bytes, what it sent as the aggregate of its part",
    "list of bytes: the chunks of its report",
)
def compute_report(given: dict[str, Any]) -> list[str]:
    """SIGN-6."""
    worker, mine = octets([given["worker"], given["aggregate"]])
    return texts(PROFILE.chunks(read_transcript(given["transcript"]), worker, read_singles(given["gradient"]), mine))


def read_report(plain: dict[str, Any]) -> Report:
    """A Report with the given numbers and chunks."""
    products, norms = octets([plain.get("products", ""), plain.get("norms", "")])
    return Report(products, norms, octets(plain["chunks"]))


@operation(
    "majority_vote.possible_report",
    "`transcript`; `worker`: its id; `report`: `{products, norms, chunks}`, bytes (none if absent) and a list of bytes",
    "whether the report is possible",
)
def compute_possible_report(given: dict[str, Any]) -> bool:
    """SIGN-6."""
    transcript, worker = read_transcript(given["transcript"]), bytes.fromhex(given["worker"])
    return PROFILE.possible_report(transcript, worker, read_report(given["report"]))


@operation(
    "majority_vote.openly_wrong",
    "`transcript`; `reports`: for each worker its report as above, or null if it did not come or cannot be read",
    "list of the ids of the aggregators that are convicted, in the order of the workers",
)
def compute_openly_wrong(given: dict[str, Any]) -> list[str]:
    """SIGN-10."""
    transcript = read_transcript(given["transcript"])
    pairs = zip(transcript.workers, given["reports"], strict=True)
    reports: dict[PeerId, Message] = {worker: read_report(plain) for worker, plain in pairs if plain is not None}
    return texts(PROFILE.openly_wrong(transcript, reports))


@operation(
    "majority_vote.room",
    "of a configuration `peers` n, `tolerated` b, `dimension` d, `validators` m_max, `detection`: real P",
    "the most bytes that SIGN-9 counts for the chunks of a report in the first step; refused if too many",
)
def compute_room(given: dict[str, Any]) -> int:
    """SIGN-9."""
    counts = {name: given[name] for name in ("peers", "tolerated", "dimension", "validators")}
    config = Configuration(
        **counts, steps=1, gradient_clip=1.0, radius_initial=1.0, radius_min=1.0, radius_max=1.0,
        profile=MAJORITY_VOTE, detection=read_real(given["detection"]),
    )  # fmt: skip
    return (config.peers + 1) * shown_in(config)


def chapter() -> Chapter:
    """All vectors of the chapter."""
    made = Chapter("majority_vote", FLAGS)
    for add in (add_signs, add_parts, add_majorities, add_tallies, add_bodies, add_counts, add_choices):
        add(made)
    for add in (add_shown, add_possible, add_convictions, add_rooms):
        add(made)
    return made


# -- Signs --------------------------------------------------------------------------------------


def packed(bits: Sequence[bool]) -> str:
    """Bits, packed from the lowest."""
    return np.packbits(np.array(bits, dtype=bool), bitorder="little").tobytes().hex()


MIXED = [0.5, -2.0, 0.0, -0.0, 3.0, 0.0, 0.0, -1.0, 1.0, -0.0, 0.0]


def add_signs(made: Chapter) -> None:
    """SIGN-1 and SIGN-2."""
    name, req = "majority_vote.pack_signs", "SIGN-1 SIGN-2"
    for label, vector in (
        ("empty", []),
        ("one", [1.0]),
        ("minus-one", [-1.0]),
        ("denormal", [1e-45, -1e-45]),
        ("eight", [1.0, -1.0] * 4),
        ("nine", [-1.0] * 8 + [1.0]),
        ("zeros", [0.0] * 13),
    ):
        made.right(label, name, req, vector=singles(vector), step=4)
    made.right("odd-step", name, req, vector=singles(MIXED), step=5)
    made.right("large-step", name, req, vector=singles(MIXED), step=2**32 - 1)
    for step in (4, 5):
        case = {"vector": singles(MIXED), "step": step}
        null = [(k + step) % 2 == 0 for k in range(len(MIXED))]
        signs = [x > 0 or (x == 0 and plus) for x, plus in zip(MIXED, null, strict=True)]
        high = np.packbits(np.array(signs)).tobytes().hex()
        made.trap(f"{step}-lowest-first", name, req, "bit-order", high, **case)
        made.trap(f"{step}-zero-minus", name, req, "zeros", packed([x > 0 for x in MIXED]), **case)
        made.trap(f"{step}-zero-plus", name, req, "zeros", packed([x >= 0 for x in MIXED]), **case)
        by_bit = [math.copysign(1, x) > 0 for x in MIXED]
        made.trap(f"{step}-sign-bit", name, req, "zeros", packed(by_bit), **case)
        late = [x > 0 or (x == 0 and not plus) for x, plus in zip(MIXED, null, strict=True)]
        made.trap(f"{step}-entry-from-0", name, req, "wrong-parity", packed(late), **case)
        padded = packed([*signs, *[(k + step) % 2 == 0 for k in range(11, 16)]])
        made.trap(f"{step}-clear-beyond", name, req, "padding", padded, **case)
    fixed = packed([x > 0 or (x == 0 and k % 2 == 0) for k, x in enumerate(MIXED)])
    made.trap("step-counts", name, req, "wrong-parity", fixed, vector=singles(MIXED), step=7)


def add_parts(made: Chapter) -> None:
    """SIGN-1 for all parts, and their hashes."""
    name, req = "majority_vote.parts", "SIGN-1 SIGN-2 MSG-6"
    gradient = np.where(np.arange(23) % 3 == 0, np.float32(0), drawn("signs", 23)).astype(np.float32)
    case = {"gradient": singles(gradient), "workers": 4, "step": 6}
    right = made.right("four", name, req, **case)
    made.right("three-chunks", name, req, gradient=singles(drawn("long", 2500)), workers=1, step=3)
    bodies = [shifted(gradient, bound, 6) for bound in partition(23, 4)]
    across = [texts([body, tree_hash(body)]) for body in bodies]
    made.trap("entries-of-the-part", name, req, "wrong-parity", across, **case)
    plain = [[body, body_hash(bytes.fromhex(body)).hex()] for body, _ in right]
    made.trap("tree-hash", name, "MSG-6 SIGN-6", "body-hash", plain, **case)


def shifted(gradient: Float32, bound: slice, step: int) -> bytes:
    """A part whose zeros have the signs of their places in the whole vector."""
    return pack_signs(gradient[bound], step + bound.start).tobytes()


def add_majorities(made: Chapter) -> None:
    """SIGN-3."""
    name, req = "majority_vote.majority", "SIGN-3 SIGN-2"
    for workers, length in ((1, 5), (2, 16), (3, 17), (4, 30), (7, 64), (8, 65), (15, 130), (16, 200)):
        votes = [ballot(f"ballot {workers} {k}", length) for k in range(workers)]
        case = {"votes": texts(votes), "length": length, "step": 3 + workers}
        made.right(f"{workers}-workers", name, req, **case)
        counts = np.sum([np.unpackbits(np.frombuffer(v, np.uint8), count=length, bitorder="little") for v in votes], 0)
        null = (np.arange(length) + 3 + workers) % 2 == 0
        label = f"{workers}-workers"
        if workers > 1:
            made.trap(f"{label}-of-all", name, req, "threshold", packed(counts == workers), **case)
        if workers % 2 == 0:
            half = workers / 2
            made.trap(f"{label}-ties-plus", name, req, "ties", packed(counts >= half), **case)
            made.trap(f"{label}-ties-minus", name, req, "ties", packed(counts > half), **case)
            other = (counts > half) | ((counts == half) & ~null)
            made.trap(f"{label}-ties-alternate", name, req, "ties", packed(other), **case)
        elif workers > 1:
            short = packed(counts >= workers // 2)
            made.trap(f"{label}-half-rounded-down", name, req, "threshold", short, **case)
    full = {"votes": ["ffff", "ffff", "0000"], "length": 11, "step": 2}
    made.trap("clear-beyond", name, req, "padding", "ffff", **full)
    tied = {"votes": ["ffff", "0000"], "length": 11, "step": 2}
    made.trap("clear-beyond-ties", name, req, "padding", "5555", **tied)
    twenty = [*["ff"] * 10, *["00"] * 10]
    made.trap("twenty-tie", name, req, "ties", "ff", votes=twenty, length=8, step=1)
    made.trap("300-workers", name, req, "threshold", "00", votes=["ff"] * 256 + ["00"] * 44, length=8, step=1)


def ballot(name: str, length: int) -> bytes:
    """Packed signs of a part."""
    return pack_signs(drawn(name, length), 0).tobytes()


def add_tallies(made: Chapter) -> None:
    """SIGN-7."""
    name, req = "majority_vote.read_parts", "SIGN-7"
    made.right("good", name, req, contents=["5501", "ff07", "0000"], length=11)
    made.right("whole-bytes", name, req, contents=["5581", "ffff"], length=16)
    for label, bad, kept in (
        ("short", "ff", "ff00"),
        ("long", "ff0700", "ff07"),
        ("empty", "", "0000"),
        ("float32", singles([1.0] * 11), singles([1.0] * 11)[:4]),
    ):
        taken = {"votes": ["5501", kept], "possible": [True, True]}
        made.trap(label, name, req, "impossible-taken", taken, contents=["5501", bad], length=11)
    for beyond in ("ff0f", "0080", "ff08"):
        case = {"contents": [beyond, "5501"], "length": 11}
        counted = {"votes": [beyond, "5501"], "possible": [False, True]}
        cleared = (int(beyond, 16) & 0xFF07).to_bytes(2, "big").hex()
        made.trap(f"{beyond}-not-counted", name, req, "padding", counted, **case)
        unaccused = {"votes": [cleared, "5501"], "possible": [True, True]}
        made.trap(f"{beyond}-accused", name, req, "impossible-taken", unaccused, **case)
        dropped = {"votes": ["0000", "5501"], "possible": [False, True]}
        if cleared != "0000":
            made.trap(f"{beyond}-rest-counts", name, req, "padding", dropped, **case)


def add_bodies(made: Chapter) -> None:
    """SIGN-8."""
    name, req = "majority_vote.read_aggregate", "SIGN-8 VER-10"
    made.right("eleven", name, req, content="5505", length=11)
    made.right("all-minus", name, req, content="00", length=8)
    made.right("one", name, req, content="01", length=1)
    bits = np.unpackbits(np.frombuffer(bytes.fromhex("5505"), np.uint8), count=11)
    made.trap("lowest-first", name, req, "bit-order", singles(bits * 2.0 - 1), content="5505", length=11)
    ones = singles([1.0] * 11)
    for label, content in (("bit-11", "ff0f"), ("bit-15", "ff87"), ("all-bits", "ffff")):
        made.trap(label, name, req, "padding", ones, content=content, length=11)
    for label, content in (("short", "ff"), ("long", "ff0700"), ("empty", ""), ("float32", ones)):
        made.trap(label, name, req, "impossible-taken", ones, content=content, length=11)


# -- Spot checks --------------------------------------------------------------------------------


def add_counts(made: Chapter) -> None:
    """SIGN-4."""
    name, req = "majority_vote.checked_chunks", "SIGN-4"
    for p in (0.5, 0.9, 0.99, 0.999, 0.999999, 0.01):
        made.right(f"{p}", name, req, detection=real(p))
    made.right("as-close-to-1-as-can-be", name, req, detection=real(math.nextafter(1.0, 0.0)))
    for k in (1, 3, 10, 30):
        p = 1 - 2.0**-k
        up, down = math.nextafter(p, 1.0), math.nextafter(p, 0.0)
        made.trap(f"{k}-exactly", name, req, "rounded-logarithm", k + 1, detection=real(p))
        made.trap(f"{k}-an-ulp-more", name, req, "rounded-logarithm", k, detection=real(up))
        if k > 1:
            made.trap(f"{k}-an-ulp-less", name, req, "rounded-logarithm", k - 1, detection=real(down))
    made.trap("at-least-one", name, req, "rounded-logarithm", 0, detection=real(0.25))
    made.trap("rounded-up", name, req, "rounded-logarithm", 6, detection=real(0.99))


def add_choices(made: Chapter) -> None:
    """SIGN-5."""
    name, req, randomness = "majority_vote.chosen_chunks", "SIGN-5", b"\xa5" * 32

    def case(part: int, chunks: int, checked: int, signs: int = 0) -> dict[str, Any]:
        """The fields of an input: a part with so many chunks, and as many signs less in the last one."""
        return {"randomness": randomness.hex(), "part": part, "length": 1024 * chunks - signs, "checked": checked}

    for part, chunks, checked, signs in ((0, 1, 7, 1000), (1, 7, 7, 0), (2, 8, 7, 1), (3, 1000, 7, 5), (4, 30, 20, 3)):
        made.right(f"{checked}-of-{chunks}", name, req, **case(part, chunks, checked, signs))
    made.right("another-part", name, req, **case(4, 1000, 7))
    made.right("two-of-three", name, req, **case(0, 3, 2))
    made.trap("all-of-seven", name, req, "counts-signs", choice(randomness, 1, 7, 6), **case(1, 7, 7, 1023))
    drawn_words = words(randomness, uint64(3), 40)
    order = first(drawn_words, 1000, 7)
    made.trap("ascending", name, req, "unsorted", order, **case(3, 1000, 7))
    for label, stream in (
        ("big-endian", [int.from_bytes(word.to_bytes(8, "little"), "big") for word in drawn_words]),
        ("part-little-endian", words(randomness, (3).to_bytes(8, "little"), 40)),
        ("part-in-four-bytes", words(randomness, (3).to_bytes(4, "big"), 40)),
        ("without-part", words(randomness, b"", 40)),
    ):
        made.trap(label, name, req, "other-words", sorted(first(stream, 1000, 7)), **case(3, 1000, 7))
    scaled = [word * 1000 >> 64 for word in drawn_words]
    made.trap("modulo", name, req, "other-words", sorted(first(scaled, 1000, 7)), **case(3, 1000, 7))
    for checked in (5, 9):
        twice = [word % 10 for word in words(randomness, uint64(6), checked)]
        made.trap(f"{checked}-different", name, req, "repeated", sorted(set(twice)), **case(6, 10, checked))
        made.trap(f"{checked}-not-twice", name, req, "repeated", sorted(twice), **case(6, 10, checked))
    exact = case(2, 10, 3)
    for label, count in (("one-more", 11), ("bytes", 10 * 128), ("signs", 10 * 1024)):
        mistaken = sorted(first(words(randomness, uint64(2), 40), count, 3))
        made.trap(f"{label}-chunk", name, req, "counts-signs", mistaken, **exact)
    twelve = case(2, 11, 3, 1023)
    fewer = sorted(first(words(randomness, uint64(2), 40), 10, 3))
    made.trap("last-chunk-counts", name, req, "counts-signs", fewer, **twelve)


def words(randomness: bytes, part: bytes, count: int) -> list[int]:
    """Words of the stream."""
    stream = expand("btard/chunks", randomness, part, length=8 * count)
    return [int.from_bytes(stream[k : k + 8], "little") for k in range(0, 8 * count, 8)]


def first(stream: Sequence[int], total: int, count: int) -> list[int]:
    """The first different remainders."""
    return list(dict.fromkeys(word % total for word in stream))[:count]


def choice(randomness: bytes, part: int, total: int, count: int) -> list[int]:
    """The chunks that would be shown of so many."""
    return sorted(first(words(randomness, uint64(part), 40), total, count))


Shown = dict[str, Any]


def election(checked: int = 1, dimension: int = 6400, workers: int = 3) -> tuple[Transcript, Float32, list[bytes]]:
    """An honest attempt: the transcript, the gradients, and each part's aggregate."""
    transcript, gradients = attempt_of(workers, dimension, math.inf, MAJORITY_VOTE, checked=checked)
    gradients[:, ::7] = 0.0
    bodies = [PROFILE.parts(transcript, worker, g) for worker, g in zip(transcript.workers, gradients, strict=True)]
    tallies = []
    for part, bound in enumerate(transcript.bounds):
        votes = np.stack([np.frombuffer(body[part], np.uint8) for body in bodies])
        tallies.append(majority(votes, bound.stop - bound.start, transcript.step).tobytes())
    return with_tallies(announced(transcript, gradients), tallies), gradients, tallies


def with_tallies(transcript: Transcript, tallies: Sequence[bytes]) -> Transcript:
    """The attempt in which these aggregates were announced."""
    return replace(transcript, aggregate_hashes=tuple(tree_hash(tally) for tally in tallies))


def plain_election(transcript: Transcript) -> dict[str, Any]:
    """What reports are judged by."""
    dropped = ("run", "seed_randomness", "gradient_clip", "radii", "reports", "tolerated", "aggregate")
    return plain_transcript(transcript, dropped)


def reports_of(transcript: Transcript, gradients: Float32, tallies: Sequence[bytes]) -> list[Shown]:
    """The true reports of everybody."""
    triples = zip(transcript.workers, gradients, tallies, strict=True)
    return [{"chunks": texts(PROFILE.chunks(transcript, *triple))} for triple in triples]


def add_shown(made: Chapter) -> None:
    """SIGN-6: what a report holds."""
    name, req = "majority_vote.report", "SIGN-6 SIGN-5"
    for label, checked, dimension in (("all-chunks", 2, 50), ("one-of-three", 1, 6400), ("two-of-three", 2, 6399)):
        transcript, gradients, tallies = election(checked, dimension)
        case = {
            "transcript": plain_election(transcript),
            "worker": transcript.workers[1].hex(),
            "gradient": singles(gradients[1]),
            "aggregate": tallies[1].hex(),
        }
        right = made.right(label, name, req, **case) if label != "two-of-three" else compute_report(case)
    bodies = [*PROFILE.parts(transcript, transcript.workers[1], gradients[1]), tallies[1]]
    chosen = [PROFILE.chosen(transcript, part) for part in (0, 1, 2, 1)]
    pairs = list(zip(bodies, chosen, strict=True))
    bare = texts(b"".join(body[128 * k : 128 * k + 128] for k in picked) for body, picked in pairs)
    backwards = texts(show_chunks(body, picked[::-1]) for body, picked in pairs)
    every = texts(show_chunks(body, [0, 1, 2]) for body, _ in pairs)
    made.trap("with-paths", name, req, "other-form", bare, **case)
    made.trap("ascending", name, req, "unsorted", backwards, **case)
    made.trap("chosen-only", name, req, "superfluous", every, **case)
    made.trap("aggregate-too", name, req, "superfluous", right[:3], **case)
    made.trap("aggregate-last", name, req, "other-form", [right[3], *right[:3]], **case)


def add_possible(made: Chapter) -> None:
    """SIGN-6: what cannot be a report."""
    name, req = "majority_vote.possible_report", "SIGN-6 ENC-16"
    transcript, gradients, tallies = election(2)
    worker, plain = transcript.workers[1], plain_election(transcript)
    honest = reports_of(transcript, gradients, tallies)[1]["chunks"]

    def case(chunks: Sequence[str], **numbers: str) -> dict[str, Any]:
        """The fields of an input."""
        return {"transcript": plain, "worker": worker.hex(), "report": {"chunks": list(chunks), **numbers}}

    def changed(index: int, data: bytes) -> list[str]:
        """The honest report with another entry."""
        return [*honest[:index], data.hex(), *honest[index + 1 :]]

    made.right("honest", name, req, **case(honest))
    made.right("empty", name, req, **case([]))
    first, last = bytes.fromhex(honest[0]), bytes.fromhex(honest[3])
    bodies = PROFILE.parts(transcript, worker, gradients[1])
    chosen = PROFILE.chosen(transcript, 0)
    unpicked = next(k for k in range(3) if k not in chosen)
    for label, entry, data in (
        ("flipped-sign", 0, bytes([first[0] ^ 1]) + first[1:]),
        ("flipped-path", 0, first[:-1] + bytes([first[-1] ^ 128])),
        ("forged-tally", 3, bytes([last[0] ^ 1]) + last[1:]),
        ("another-chunk", 0, show_chunks(bodies[0], sorted([chosen[0], unpicked]))),
        ("another-part", 0, show_chunks(bodies[2], chosen)),
        ("another-worker", 0, show_chunks(PROFILE.parts(transcript, worker, gradients[0])[0], chosen)),
        ("repeated-chunk", 0, show_chunks(bodies[0], [chosen[0], chosen[0]])),
    ):
        made.trap(label, name, req, "not-the-announced", True, **case(changed(entry, data)))
    made.trap("backwards", name, req, "unsorted", True, **case(changed(0, show_chunks(bodies[0], chosen[::-1]))))
    for label, chunks in (
        ("a-byte-more", changed(0, first + b"\x00")),
        ("a-byte-less", changed(0, first[:-1])),
        ("a-chunk-more", changed(0, show_chunks(bodies[0], [0, 1, 2]))),
        ("a-chunk-less", changed(0, show_chunks(bodies[0], chosen[:1]))),
        ("an-entry-more", [*honest, ""]),
        ("an-entry-less", honest[:3]),
        ("nothing-of-a-part", changed(1, b"")),
        ("the-tally-twice", [*honest, honest[3]]),
    ):
        made.trap(label, name, req, "superfluous", True, **case(chunks))
    zeros = "00" * 24
    made.trap("with-numbers", name, req, "superfluous", True, **case(honest, products=zeros, norms=zeros))
    made.trap("with-norms", name, req, "superfluous", True, **case(honest, norms=zeros))


def add_convictions(made: Chapter) -> None:
    """SIGN-10."""
    name, req = "majority_vote.openly_wrong", "SIGN-10 SIGN-3"

    def case(transcript: Transcript, reports: Sequence[Shown | None]) -> dict[str, Any]:
        """The fields of an input."""
        return {"transcript": plain_election(transcript), "reports": list(reports)}

    def forger(part: int, at: int, mask: int, dimension: int = 6400, workers: int = 3) -> dict[str, Any]:
        """An attempt in which one aggregate has other bits in one byte, announced and shown as they are."""
        honest, gradients, tallies = election(1, dimension, workers)
        tally = bytearray(tallies[part])
        tally[at] ^= mask
        tallies[part] = bytes(tally)
        forged = with_tallies(honest, tallies)
        return case(forged, reports_of(forged, gradients, tallies))

    transcript, gradients, tallies = election()
    honest = reports_of(transcript, gradients, tallies)
    ids = texts(transcript.workers)
    shown = PROFILE.chosen(transcript, 1)[0]
    hidden = (shown + 1) % 3
    made.right("all-honest", name, req, **case(transcript, honest))
    small, votes, counts = election(1, 41, 4)
    made.right("ties", name, req, **case(small, reports_of(small, votes, counts)))
    made.right("two-workers", name, req, **pair_of_voters())
    made.trap("one-bit", name, req, "unnoticed", [], **forger(1, 128 * shown, 4))
    for label, part in (("first-part", 0), ("last-part", 2)):
        at = 128 * PROFILE.chosen(transcript, part)[0]
        made.trap(label, name, req, "unnoticed", [], **forger(part, at, 4))
    made.trap("last-bit-shown", name, req, "unnoticed", [], **forger(1, min(128 * shown + 127, 266), 1))
    made.trap("bit-that-is-not-shown", name, req, "convicts-wrongly", [ids[1]], **forger(1, 128 * hidden, 4))
    made.trap("only-the-forger", name, req, "convicts-wrongly", ids, **forger(1, 128 * shown, 4))
    small_forger = forger(2, 0, 255, 41, 4)
    made.trap("small-part", name, req, "unnoticed", [], **small_forger)
    beyond = forger(1, 1, 128, 41, 4)
    made.trap("tally-with-bits-beyond", name, req, "padding", [], **beyond)
    add_half_opened(made, forger(1, 128 * shown, 4))
    add_padded_ballot(made)


def add_half_opened(made: Chapter, forgery: dict[str, Any]) -> None:
    """SIGN-10: a forger whose part cannot be counted because not everybody has shown its votes."""
    name, req, reports = "majority_vote.openly_wrong", "SIGN-10 SIGN-6", forgery["reports"]
    guilty = forgery["transcript"]["workers"][1:2]
    chunks = reports[2]["chunks"]
    torn = {"chunks": [chunks[0][:-2], *chunks[1:]]}
    for label, other in (("missing", None), ("impossible", torn), ("empty", {"chunks": []})):
        made.trap(f"{label}-report", name, req, "half-opened", guilty, **{**forgery, "reports": [*reports[:2], other]})
    numbers = {"chunks": chunks, "products": "00" * 24, "norms": "00" * 24}
    made.trap(
        "report-with-numbers", name, req, "half-opened", guilty, **{**forgery, "reports": [*reports[:2], numbers]}
    )


def pair_of_voters() -> dict[str, Any]:
    """Two workers that vote against each other everywhere."""
    transcript, gradients = attempt_of(2, 21, math.inf, MAJORITY_VOTE, checked=1)
    gradients[1] = -gradients[0]
    past = announced(transcript, gradients)
    lengths = [bound.stop - bound.start for bound in past.bounds]
    tallies = [pack_signs(np.zeros(length, np.float32), past.step).tobytes() for length in lengths]
    final = with_tallies(past, tallies)
    return {"transcript": plain_election(final), "reports": reports_of(final, gradients, tallies)}


def add_padded_ballot(made: Chapter) -> None:
    """SIGN-7: bits of a ballot beyond the part are shown as they are, and not counted."""
    transcript, gradients, tallies = election(1, 41, 4)
    hashes, reports = [list(row) for row in transcript.part_hashes], reports_of(transcript, gradients, tallies)
    for voter in (1, 2, 3):
        body = bytearray(PROFILE.parts(transcript, transcript.workers[voter], gradients[voter])[0])
        body[-1] |= 0x80
        hashes[voter][0] = tree_hash(bytes(body))
        reports[voter]["chunks"][0] = bytes(body).hex()
    padded = replace(transcript, part_hashes=tuple(map(tuple, hashes)))
    made.trap(
        "ballots-with-bits-beyond", "majority_vote.openly_wrong", "SIGN-7 SIGN-10", "padding",
        texts(transcript.workers[:1]), transcript=plain_election(padded), reports=reports,
    )  # fmt: skip


def add_rooms(made: Chapter) -> None:
    """SIGN-9."""
    name, req = "majority_vote.room", "SIGN-9"

    def case(peers: int, dimension: int, detection: float, tolerated: int = 1) -> dict[str, Any]:
        """The fields of an input."""
        counts = {"peers": peers, "tolerated": tolerated, "dimension": dimension, "validators": 1}
        return {**counts, "detection": real(detection)}

    for peers, dimension, detection in ((16, 1_000_000, 0.99), (4, 4, 0.5), (4, 1024, 0.9), (4, 1025, 0.9)):
        made.right(f"{peers}-peers-{dimension}", name, req, **case(peers, dimension, detection))
    made.right("greatest", name, req, **case(1023, 8 * 1024, 0.75))
    for label, given in (
        ("too-sure", case(1023, 8 * 1024, 0.99)),
        ("one-peer-too-many", case(1023, 9 * 1024, 0.8)),
        ("large", case(200, 2**32, 0.99)),
    ):
        made.refused(label, name, req, "no-room", **given)
