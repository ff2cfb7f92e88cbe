"""Vectors of chapter ``redundant_code``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations, pairwise
from typing import Any

import numpy as np

from btard.conformance.vectors.built import built, drawn
from btard.conformance.vectors.butterfly_clip import added, matrix
from btard.conformance.vectors.cases import Chapter, operation
from btard.conformance.vectors.forms import (
    octets,
    read_real,
    read_reals,
    read_singles,
    real,
    reals,
    rows,
    singles,
    texts,
)
from btard.conformance.vectors.transcripts import (
    announced,
    attempt_of,
    ids,
    judged,
    plain_transcript,
    read_transcript,
    state_of,
)
from btard.protocol.arithmetic import Float32, Float64, dot, float32_bytes, float64_bytes, norm
from btard.protocol.encoding import tagged_hash
from btard.protocol.messages import Report
from btard.protocol.model import REDUNDANT_CODE, Configuration, group_size_at, liars_at
from btard.protocol.mprng import DIRECTION_DEVIATION, by_lot
from btard.protocol.profile import Groups
from btard.protocol.redundant_code import (
    CodeError,
    RedundantCode,
    adds_up,
    agreeing,
    bad_group_probability,
    check_code,
    coded_length,
    deal,
    decode,
    decode_safely,
    decoding_bound,
    encode,
    frame,
    frame_row,
    group_frame,
    mean_of,
)
from btard.protocol.verification import Transcript

FLAGS = {
    "no-grid": "does not round the coefficients to multiples of 2⁻²⁰, or not to the nearest",
    "other-frame": "takes other frequencies, another order of cosine and sine, or another length",
    "no-code": "takes a code that does not exist, or that bears fewer liars than it says",
    "other-row": "gives a member another row of the frame",
    "interleaved": "cuts a part into columns otherwise: every r_c-th number, or with the padding elsewhere",
    "narrow": "computes in float32",
    "other-operations": "computes the same in another order: the last bits differ",
    "decodes-anyway": "decodes from rows that do not agree, or that are too few",
    "trusts-liars": "decodes from the rows of liars",
    "underdetermined": "decodes from rows that do not determine the part",
    "too-near": "leaves out a row that is not clearly off: it may be an honest one",
    "not-the-mean": "weighs the groups by their members, or adds without dividing",
    "independent": "takes the workers for independent, or the groups",
    "off-by-one": "counts s liars in a group as too many, or s + 1 as few enough",
    "group-size": "takes another size of a group than the present b_t gives",
    "too-few-workers": "takes a configuration in which the workers make no group after some removals",
    "dealt-otherwise": "divides the workers into consecutive groups, in another order, or into another number of them",
    "dealt-again": "deals the workers again in a retry, or drops an empty group",
    "clipped": "reports clipped differences, or about the gradient itself",
    "norm-of-difference": "reports the norm of the difference instead of the gradient's",
    "bound-on-a-row": "asks for a bound on the norm of a coded part",
    "impossible-taken": "takes numbers or contents that no gradient has",
    "possible-refused": "refuses numbers that an honest gradient can have",
    "not-a-number": "refuses only what is greater than the limit, and so takes what is not a number",
    "count": "takes another number of entries than there are parts",
    "tolerant": "compares reports of a group with a tolerance",
    "bitwise": "compares numbers by their bits: −0 and 0 differ",
    "all-members": "adds the numbers of all members instead of one of each group",
    "no-floor": "leaves out the least norm 2⁻¹⁰⁰, or applies it to the sum",
    "wrong-limit": "takes another limit than the one that is written",
}
PROFILE = RedundantCode()
COINS = tagged_hash("btard/coins", b"vectors")


def unlike(_: dict[str, Any], expected: Any, answer: Any) -> bool:
    """Reals that differ by a relative 2⁻³⁰ at most: for values whose rounding no rule fixes."""
    right, said = read_real(expected), read_real(answer)
    return abs(said - right) <= 2.0**-30 * abs(right)


@operation("redundant_code.frame", "`rows` r; `compression` r_c", "matrix of float64: the frame")
def compute_frame(given: dict[str, Any]) -> list[str]:
    """CODE-1."""
    return rows(frame(given["rows"], given["compression"]))


@operation("redundant_code.check_code", "`rows` r; `liars` s; `compression` r_c", "true; refused unless CODE-2 holds")
def compute_check_code(given: dict[str, Any]) -> bool:
    """CODE-2."""
    check_code(given["rows"], given["liars"], given["compression"])
    return True


@operation(
    "redundant_code.group_frame",
    "`members` of a group; `rows` r; `compression` r_c",
    "matrix of float64: the coefficients of each member",
)
def compute_group_frame(given: dict[str, Any]) -> list[str]:
    """CODE-3."""
    return rows(group_frame(given["members"], given["rows"], given["compression"]))


@operation(
    "redundant_code.encode",
    "`part`: float32 vector; `coefficients`: float64 vector c_1, …, c_{r_c}",
    "float32 vector: the member's row",
)
def compute_encode(given: dict[str, Any]) -> str:
    """CODE-4."""
    return singles(encode(read_singles(given["part"]), read_reals(given["coefficients"])))


@operation(
    "redundant_code.parts",
    "`transcript` as for `verification.report`, of profile redundant-code; `worker`: its id; `gradient`: float32 "
    "vector",
    "list of bytes: what the worker sends of each part",
)
def compute_parts(given: dict[str, Any]) -> list[str]:
    """CODE-3, CODE-4, CODE-11."""
    transcript, worker = read_transcript(given["transcript"]), bytes.fromhex(given["worker"])
    return texts(PROFILE.parts(transcript, worker, read_singles(given["gradient"])))


@operation(
    "redundant_code.read_parts",
    "`contents`: list of bytes, what each worker sent of a part of `length` coordinates; `compression` r_c",
    "`{rows, possible}`: a matrix of float32, what each counts as; and a list, whether it is possible",
)
def compute_read_parts(given: dict[str, Any]) -> dict[str, Any]:
    """STEP-5."""
    groups = Groups((ids(1),), 1, given["compression"])
    cut, _ = attempt_of(1, given["length"], math.inf, REDUNDANT_CODE, groups)
    found, possible = PROFILE.read_parts(cut, 0, octets(given["contents"]), 0.0)
    return {"rows": rows(found), "possible": possible}


def enough_of(given: dict[str, Any], expected: Any, answer: Any) -> bool:
    """Honest rows in ascending order, at least n − s of them."""
    enough = len(answer) >= len(given["rows"]) - given["liars"]
    return enough and bool(answer == sorted(set(answer) & set(expected)))


@operation(
    "redundant_code.agreeing",
    "`rows`: matrix of float32, what each member of a group sent; `size` r; `compression` r_c; `liars` s",
    "list of the positions of rows that agree, ascending; refused if fewer than n − s do. At least n − s of the listed "
    "positions pass, and no other one",
    enough_of,
)
def compute_agreeing(given: dict[str, Any]) -> list[int]:
    """CODE-5."""
    sent = matrix(given["rows"])
    coefficients = group_frame(len(sent), given["size"], given["compression"])
    return list(agreeing(sent, coefficients, given["liars"], COINS))


def close_to(given: dict[str, Any], expected: Any, answer: Any) -> bool:
    """A part that differs from the true one by at most δ times its norm."""
    part, said = read_singles(expected), read_singles(answer)
    r, compression = given["size"], given["compression"]
    delta = decoding_bound(r, (r - compression) // 2, compression, len(given["rows"]))
    error = float(norm(np.subtract(said, part, dtype=np.float64)))
    return len(said) == len(part) and error <= delta * float(norm(part))


@operation(
    "redundant_code.decode",
    "`rows`, `size`, `compression` as before; `agreeing`: positions of the rows to decode from; `length` of the part",
    "float32 vector: the part; refused if these rows do not determine it. The vector's output is the true part: what "
    "differs from it by at most δ times its norm passes (CODE-6, with the worst κ of the code that bears ⌊(r − r_c)/2⌋ "
    "liars)",
    close_to,
)
def compute_decode(given: dict[str, Any]) -> str:
    """CODE-6."""
    sent = matrix(given["rows"])
    coefficients = group_frame(len(sent), given["size"], given["compression"])
    return singles(decode(sent, coefficients, given["agreeing"], given["length"]))


def close_group(given: dict[str, Any], expected: Any, answer: Any) -> bool:
    """The same suspects, and a part that is close enough."""
    return answer["outside"] == expected["outside"] and close_to(given, expected["part"], answer["part"])


@operation(
    "redundant_code.decode_group",
    "`rows`, `size`, `compression`, `length` as before; the group bears ⌊(r − r_c)/2⌋ liars",
    "`{part, outside}`: the decoded part (float32; its error as before), and the positions of the members that are "
    "suspected, ascending; refused if the group is undecodable (CODE-14)",
    close_group,
)
def compute_decode_group(given: dict[str, Any]) -> dict[str, Any]:
    """CODE-14."""
    sent = matrix(given["rows"])
    groups = Groups((ids(len(sent)),), given["size"], given["compression"])
    part, outside = decode_safely(sent, groups, 0, given["length"], COINS)
    return {"part": singles(part), "outside": list(outside)}


@operation("redundant_code.mean", "`parts`: matrix of float32, a row for each group", "float32 vector: their mean")
def compute_mean(given: dict[str, Any]) -> str:
    """CODE-7."""
    return singles(mean_of(list(matrix(given["parts"])) if given["parts"] else []))


@operation(
    "redundant_code.bad_group_probability",
    "`sizes`: list of the numbers of members; `liars` s; `byzantine` b",
    "real: the probability of CODE-8. A relative error of 2⁻³⁰ passes",
    unlike,
)
def compute_bad_group_probability(given: dict[str, Any]) -> str:
    """CODE-8."""
    sizes = given["sizes"]
    return real(bad_group_probability(sizes, given["liars"], sum(sizes), given["byzantine"]))


@operation(
    "redundant_code.group_size",
    "`group_size` r, `liars` s, `compression` r_c of the configuration; `tolerated` b_t",
    "`[r_t, s_t]`",
)
def compute_group_size(given: dict[str, Any]) -> list[int]:
    """CODE-9, CODE-11."""
    liars, tolerated = given["liars"], given["tolerated"]
    return [group_size_at(given["group_size"], liars, tolerated), liars_at(liars, tolerated)]


def configured(given: dict[str, Any]) -> Configuration:
    """A configuration with these numbers; nothing else of it matters."""
    names = ("peers", "tolerated", "validators", "group_size", "liars", "compression")
    counts = {name: given[name] for name in names}
    return Configuration(
        **counts, dimension=1000, steps=1, gradient_clip=1.0, radius_initial=1.0, radius_min=1.0, radius_max=1.0,
        profile=REDUNDANT_CODE,
    )  # fmt: skip


@operation(
    "redundant_code.configuration",
    "`peers` n; `tolerated` b; `validators` m_max; `group_size` r; `liars` s; `compression` r_c",
    "true; refused unless such a configuration is allowed",
)
def compute_configuration(given: dict[str, Any]) -> bool:
    """CODE-2, CODE-9."""
    PROFILE.check(configured(given))
    return True


@operation(
    "redundant_code.draw_groups",
    "`randomness`: bytes r_{t−1}; `step` t; `workers`: list of their ids; `size` r_t",
    "list of the groups: the ids of the members of each, in order",
)
def compute_draw_groups(given: dict[str, Any]) -> list[list[str]]:
    """CODE-10."""
    order = by_lot("btard/group", bytes.fromhex(given["randomness"]), given["step"], octets(given["workers"]))
    return [texts(group) for group in deal(order, given["size"])]


@operation(
    "redundant_code.regroup",
    "`members`: list of the groups of the step, ids; `workers`: ids that are left; of the configuration `group_size` "
    "r, `liars` s, `compression` r_c; `tolerated`: present b_t",
    "`{size, members}`: the present r_t; and for each group a list of `[id, row]`, who is left, with its row of the "
    "frame",
)
def compute_regroup(given: dict[str, Any]) -> dict[str, Any]:
    """CODE-11, CODE-3."""
    fields = {"peers": 40, "validators": 1, **{name: given[name] for name in ("liars", "compression", "group_size")}}
    config = configured({**fields, "tolerated": given["tolerated"]})
    groups = Groups(tuple(octets(group) for group in given["members"]), 0, given["compression"])
    left = PROFILE.regrouped(state_of(config), groups, octets(given["workers"]))
    members = [[[worker.hex(), k % left.size] for k, worker in enumerate(group)] for group in left.members]
    return {"size": left.size, "members": members}


@operation(
    "redundant_code.report",
    "`transcript`; `gradient`: float32 vector",
    "`{products, norms}`: float64 vectors to report",
)
def compute_report(given: dict[str, Any]) -> dict[str, str]:
    """CODE-12."""
    numbers = PROFILE.numbers(read_transcript(given["transcript"]), read_singles(given["gradient"]))
    return {"products": reals(numbers[0]), "norms": reals(numbers[1])}


@operation(
    "redundant_code.possible_report",
    "`gradient_clip`: real λ; `parts`: how many; `products`, `norms`: bytes of a Report; `chunks` of it: list of bytes",
    "whether some gradient could have this report",
)
def compute_possible_report(given: dict[str, Any]) -> bool:
    """CODE-13."""
    count = given["parts"]
    transcript, _ = attempt_of(count, count, gradient_clip=read_real(given["gradient_clip"]))
    report = Report(bytes.fromhex(given["products"]), bytes.fromhex(given["norms"]), octets(given["chunks"]))
    return PROFILE.possible_report(transcript, transcript.workers[0], report)


@operation(
    "redundant_code.adds_up",
    "`workers`: list of ids; `groups`: list of the ids of each group's members; `products`, `norms`: float64 vectors, "
    "what each worker reports about a part",
    "whether the part passes CODE-15",
)
def compute_adds_up(given: dict[str, Any]) -> bool:
    """CODE-15."""
    said = np.stack([read_reals(given["products"]), read_reals(given["norms"])], axis=1)[:, :, np.newaxis]
    groups = Groups(tuple(octets(group) for group in given["groups"]), 1, 1)
    transcript, _ = attempt_of(len(said), len(said), math.inf, REDUNDANT_CODE)
    with np.errstate(invalid="ignore"):
        return adds_up(replace(transcript, workers=octets(given["workers"]), groups=groups, reports=said), 0)


@operation(
    "redundant_code.right_aggregate",
    "`workers`: list of ids; `groups`: list of the ids of each group's members; `gradients`: matrix of float32, of "
    "each worker the recomputed part; `aggregate`: float32 vector, the part that was applied",
    "whether the aggregator is acquitted",
)
def compute_right_aggregate(given: dict[str, Any]) -> bool:
    """CODE-16."""
    parts, aggregate = matrix(given["gradients"]), read_singles(given["aggregate"])
    groups = Groups(tuple(octets(group) for group in given["groups"]), 1, 1)
    workers = octets(given["workers"])
    whole = np.pad(aggregate, (0, (len(workers) - 1) * len(aggregate)))  # the first part is the one in question
    transcript, _ = attempt_of(1, len(whole), math.inf, REDUNDANT_CODE)
    past = replace(transcript, workers=workers, groups=groups, aggregate=whole)
    return PROFILE.right_aggregate(past, 0, list(parts), 0.1)


def chapter() -> Chapter:
    """All vectors of the chapter."""
    made = Chapter("redundant_code", FLAGS)
    for add in (add_frames, add_codes, add_rows, add_encoded, add_contents, add_agreeing, add_decoded, add_groups):
        add(made)
    for add in (add_means, add_probabilities, add_sizes, add_deals, add_regrouped):
        add(made)
    for add in (add_reports, add_possible, add_sums, add_errors):
        add(made)
    return made


# -- Frame and encoding ---------------------------------------------------------------------------


def add_frames(made: Chapter) -> None:
    """CODE-1."""
    name = "redundant_code.frame"
    for r, compression in ((1, 1), (2, 1), (2, 2), (3, 1), (5, 3), (7, 2), (8, 4), (15, 9), (20, 12), (20, 20)):
        made.right(f"{r}-{compression}", name, "CODE-1", rows=r, compression=compression)
    for r, compression in ((5, 3), (8, 4), (15, 9)):
        case = {"rows": r, "compression": compression}
        plain = [frame_row(i, r, compression) for i in range(r)]
        floors = [reals([math.floor(2**20 * x) / 2**20 for x in row]) for row in plain]
        cut = [reals([math.trunc(2**20 * x) / 2**20 for x in row]) for row in plain]
        label = f"{r}-{compression}"
        made.trap(f"{label}-on-the-grid", name, "CODE-1", "no-grid", [reals(row) for row in plain], **case)
        made.trap(f"{label}-nearest", name, "CODE-1", "no-grid", floors, **case)
        made.trap(f"{label}-not-cut", name, "CODE-1", "no-grid", cut, **case)
        right, odd = frame(r, compression), compression % 2
        swapped = right.copy()
        for k in range(odd, compression, 2):
            swapped[:, [k, k + 1]] = right[:, [k + 1, k]]
        made.trap(f"{label}-cosine-first", name, "CODE-1", "other-frame", rows(swapped), **case)
        longer = math.sqrt(compression) * right
        made.trap(f"{label}-rows-of-norm-1", name, "CODE-1", "other-frame", rows(longer), **case)
        made.trap(f"{label}-from-0", name, "CODE-1", "other-frame", rows(np.roll(right, 1, axis=0)), **case)
        parity = [reals([round(2**20 * x) / 2**20 for x in unshifted(i, r, compression)]) for i in range(r)]
        made.trap(f"{label}-shift-by-parity", name, "CODE-1", "other-frame", parity, **case)
    for r, compression in ((3, 4), (3, 0), (21, 3), (0, 0), (0, 1)):
        made.refused(f"{r}-{compression}-is-none", name, "CODE-1", "no-code", rows=r, compression=compression)


def unshifted(i: int, r: int, compression: int) -> list[float]:
    """A row with whole frequencies for even r_c and shifted ones for odd r_c."""
    odd = compression % 2
    row = [math.sqrt(1.0 / compression)] * odd
    for k in range(1, compression // 2 + 1):
        angle = 2 * math.pi * (k - odd / 2) * i / r
        row += [math.sqrt(2.0 / compression) * math.cos(angle), math.sqrt(2.0 / compression) * math.sin(angle)]
    return row


def add_codes(made: Chapter) -> None:
    """CODE-2."""
    name = "redundant_code.check_code"
    for r, s, compression in ((1, 0, 1), (3, 1, 1), (5, 1, 3), (6, 1, 3), (15, 6, 3), (20, 0, 20), (20, 9, 1)):
        made.right(f"{r}-{s}-{compression}", name, "CODE-2", rows=r, liars=s, compression=compression)
    for r, s, compression in (
        (4, 1, 3), (15, 7, 2), (2, 1, 1), (21, 1, 3), (21, 10, 1), (5, 0, 0), (5, 0, 6), (0, 0, 1), (1024, 1, 1),
    ):  # fmt: skip
        made.refused(
            f"{r}-{s}-{compression}-is-none", name, "CODE-2", "no-code", rows=r, liars=s, compression=compression
        )


def add_rows(made: Chapter) -> None:
    """CODE-3."""
    name = "redundant_code.group_frame"
    for members, r, compression in ((5, 5, 3), (8, 5, 3), (9, 5, 2), (3, 1, 1)):
        case = {"members": members, "rows": r, "compression": compression}
        made.right(f"{members}-of-{r}-{compression}", name, "CODE-3", **case)
    case = {"members": 8, "rows": 5, "compression": 3}
    base = frame(5, 3)
    made.trap("eighths", name, "CODE-3", "other-row", rows(frame(8, 3)), **case)
    made.trap("again-from-0", name, "CODE-3", "other-row", rows(base[[0, 1, 2, 3, 4, 4, 4, 4]]), **case)
    made.trap("in-blocks", name, "CODE-3", "other-row", rows(base[np.arange(8) * 5 // 8]), **case)
    made.trap("last-first", name, "CODE-3", "other-row", rows(base[[0, 1, 2, 3, 4, 4, 3, 2]]), **case)


def add_encoded(made: Chapter) -> None:
    """CODE-4, and CODE-11 for all parts."""
    name = "redundant_code.encode"
    for length, r, compression, row in ((6, 5, 3, 1), (7, 5, 3, 4), (1, 5, 3, 2), (5, 1, 1, 0), (30, 15, 9, 14)):
        part, coefficients = drawn(f"part {length}", length), frame(r, compression)[row]
        made.right(f"{length}-by-{compression}", name, "CODE-4", part=singles(part), coefficients=reals(coefficients))
    made.right("zeros", name, "CODE-4", part=singles(-np.zeros(4)), coefficients=reals(frame(5, 3)[0]))
    made.right("huge", name, "CODE-4", part=singles([3e38, -3e38, 3e38]), coefficients=reals(frame(5, 3)[1]))
    made.right("tiny", name, "CODE-4", part=singles([1e-45, -3e-45, 1e-44]), coefficients=reals(frame(5, 3)[2]))
    part, coefficients = drawn("part to encode", 67) * np.float32(1.7), frame(15, 9)[4]
    case = {"part": singles(part), "coefficients": reals(coefficients)}
    for label, (flag, mistaken) in wrongly_encoded(part, coefficients).items():
        made.trap(label, name, "CODE-4", flag, singles(mistaken), **case)
    add_coded_parts(made)


def columns_of(part: Float32, compression: int) -> Float32:
    """The columns of a part, as rows of a matrix."""
    length = coded_length(len(part), compression)
    return np.pad(part, (0, compression * length - len(part))).reshape(compression, length)


def wrongly_encoded(part: Float32, coefficients: Float64) -> dict[str, tuple[str, Any]]:
    """What mistakes give: a flag and a row each."""
    compression = len(coefficients)
    columns = columns_of(part, compression)
    missing = columns.size - len(part)
    front = np.pad(part, (missing, 0)).reshape(compression, -1)
    strided = np.pad(part, (0, missing)).reshape(-1, compression).T
    narrow = np.zeros(columns.shape[1], np.float32)
    for c, column in zip(coefficients, columns, strict=True):
        narrow += (np.float32(c) * column).astype(np.float32)
    return {
        "every-ninth": ("interleaved", combined(strided, coefficients)),
        "zeros-in-front": ("interleaved", combined(front, coefficients)),
        "rounded-once": ("narrow", narrow),
        "not-the-sum-of-all": ("other-operations", combined(columns[:-1], coefficients[:-1])),
    }


def combined(columns: Float32, coefficients: Float64) -> Float64:
    """The sum of the columns times the coefficients, in order."""
    total = np.zeros(columns.shape[1])
    for c, column in zip(coefficients, columns, strict=True):
        total += c * column
    return total


def coded_attempt() -> tuple[Transcript, Float32]:
    """Seven workers in two groups, of four and three, with r_c = 3; their gradients."""
    lots = [ids(7)[k] for k in (4, 2, 6, 0, 5, 1, 3)]
    transcript, gradients = attempt_of(7, 29, math.inf, REDUNDANT_CODE, Groups(deal(lots, 3), 3, 3))
    return announced(transcript, gradients), gradients


def add_coded_parts(made: Chapter) -> None:
    """CODE-3, CODE-4: what a member sends."""
    name, req = "redundant_code.parts", "CODE-4 CODE-3 CODE-11 CLIP-1"
    transcript, gradients = coded_attempt()
    dropped = ("run", "step", "tolerated", "gradient_clip", "seed_randomness", "randomness", "radii", "reports")
    plain = plain_transcript(transcript, (*dropped, "part_hashes"))
    base = frame(3, 3)
    for index, position, flag in ((0, 3, "other-row"), (1, 1, "other-row")):
        worker = transcript.groups.members[index][position]
        number = transcript.workers.index(worker)
        gradient = gradients[number]
        case = {"transcript": plain, "worker": worker.hex(), "gradient": singles(gradient)}
        pieces = [gradient[bound] for bound in transcript.bounds]
        by_roster = texts(float32_bytes(encode(piece, base[number % 3])) for piece in pieces)
        if by_roster != compute_parts(case):
            made.trap(f"group-{index}-position-{position}", name, req, flag, by_roster, **case)
        third = -(-len(gradient) // 3)
        whole = encode(gradient, base[position % 3])
        cut = texts(float32_bytes(whole[third * k // 7 : third * (k + 1) // 7]) for k in range(7))
        made.trap(f"group-{index}-cut-before-coded", name, req, "interleaved", cut, **case)


def add_contents(made: Chapter) -> None:
    """STEP-5: coded parts."""
    name, req = "redundant_code.read_parts", "STEP-5 CODE-4"

    def case(*contents: bytes) -> dict[str, Any]:
        """The fields of an input: a part of seven coordinates, in rows of three."""
        return {"contents": texts(contents), "length": 7, "compression": 3}

    good = float32_bytes([1.0, -0.0, 3.0])
    made.right("good", name, req, **case(good, float32_bytes([0.0, 0.0, 1e-45])))
    huge = float32_bytes([3e38, 3e38, 3e38])
    zeros = {"rows": [good.hex(), "00" * 12], "possible": [True, False]}
    made.trap("no-bound", name, req, "bound-on-a-row", zeros, **case(good, huge))
    for label, bad in (
        ("nan", float32_bytes([1.0, math.nan, 0.0])),
        ("infinite", float32_bytes([-math.inf, 0.0, 0.0])),
        ("whole-part", float32_bytes(range(7))),
        ("short", good[:8]),
        ("torn", good[:-1]),
        ("empty", b""),
    ):
        taken = {"rows": [good.hex(), bad[:12].ljust(12, b"\0").hex()], "possible": [True, True]}
        made.trap(label, name, req, "impossible-taken", taken, **case(good, bad))


# -- Location and decoding ------------------------------------------------------------------------

CODES = ((5, 1, 3), (7, 3, 1), (8, 2, 4), (15, 6, 3))
"""r, s, r_c of codes for which r = 2s + r_c."""


def sent(name: str, members: int, size: int, compression: int, length: int = 23) -> tuple[Float32, Float32]:
    """The true rows of a group, and its part."""
    part = drawn(name, length)
    return np.stack([encode(part, row) for row in group_frame(members, size, compression)]), part


def lies(honest: Float32, liars: Sequence[int], together: bool = False) -> Float32:
    """Rows of which some are false: all for another part if ``together``, else every one for itself."""
    told = honest.copy()
    for number, liar in enumerate(liars):
        told[liar] = drawn(f"lie {0 if together else number}", honest.shape[1]) * np.float32(3)
    return told


def group_case(rows_sent: Float32, size: int, compression: int, **fields: Any) -> dict[str, Any]:
    """The fields of an input."""
    return {"rows": rows(rows_sent), "size": size, "compression": compression, **fields}


def add_agreeing(made: Chapter) -> None:
    """CODE-5."""
    name, req = "redundant_code.agreeing", "CODE-5"
    for r, s, compression in CODES:
        for members in (r, r + 2):
            honest, _ = sent(f"agreeing {r}", members, r, compression)
            label = f"{members}-of-{r}-{s}-{compression}"
            made.right(f"{label}-honest", name, req, **group_case(honest, r, compression, liars=s))
            liars = [(2 * k + 1) % members for k in range(s)]
            everybody = list(range(members))
            told = lies(honest, liars)
            made.trap(
                f"{label}-lies", name, req, "trusts-liars", everybody, **group_case(told, r, compression, liars=s)
            )
            more = lies(honest, [*liars, *[k for k in everybody if k not in liars][:1]])
            made.refused(f"{label}-too-many", name, req, "decodes-anyway", **group_case(more, r, compression, liars=s))
    honest, _ = sent("agreeing broken", 5, 5, 3)
    for label, entry in (("nan", math.nan), ("infinite", math.inf)):
        broken = honest.copy()
        broken[2, 1] = entry
        made.trap(
            f"{label}-never-agrees", name, req, "trusts-liars", [0, 1, 2, 3, 4], **group_case(broken, 5, 3, liars=1)
        )
        broken[3, 0] = entry
        made.refused(f"{label}-twice", name, req, "decodes-anyway", **group_case(broken, 5, 3, liars=1))
    small = honest.copy()
    small[1, 0] *= np.float32(1.001)
    made.trap("a-thousandth", name, req, "trusts-liars", [0, 1, 2, 3, 4], **group_case(small, 5, 3, liars=1))
    made.refused("no-liar-borne", name, req, "decodes-anyway", **group_case(small, 5, 3, liars=0))
    made.refused("too-few-members", name, req, "no-code", **group_case(honest[:4], 5, 3, liars=1))


def add_decoded(made: Chapter) -> None:
    """CODE-6."""
    name, req = "redundant_code.decode", "CODE-6"
    for r, s, compression in CODES:
        for members in (r, r + 2):
            honest, part = sent(f"decoded {r}", members, r, compression)
            left = list(range(members))
            label = f"{members}-of-{r}-{s}-{compression}"
            fields = group_case(honest, r, compression, length=len(part))
            built(made, singles(part), id=f"{label}-all", name=name, requirements=req, agreeing=left, **fields)
            if not s:
                continue
            fewer = left[s:]
            told = group_case(lies(honest, left[:s], together=True), r, compression, length=len(part))
            wrong = compute_decode({**told, "agreeing": left})
            built(
                made, singles(part), wrong, id=f"{label}-without-liars", name=name, requirements=req,
                flag="trusts-liars", agreeing=fewer, **told,
            )  # fmt: skip
    honest, part = sent("decoded few", 8, 5, 3)
    fields = group_case(honest, 5, 3, length=len(part))
    for label, kept in (("two-rows", [0, 1]), ("copies", [0, 5, 1, 6]), ("nobody", [])):
        made.refused(label, name, req, "underdetermined", agreeing=kept, **fields)
    made.refused("other-length", name, req, "no-code", agreeing=list(range(8)), **{**fields, "length": 25})
    wrong = singles(columns_of(part, 3).T.reshape(-1)[: len(part)])
    built(
        made, singles(part), wrong, id="consecutive-columns", name=name, requirements=req, flag="interleaved",
        agreeing=list(range(8)), **fields,
    )  # fmt: skip


def add_groups(made: Chapter) -> None:
    """CODE-14: when a group is decoded, and who is suspected."""
    name, req = "redundant_code.decode_group", "CODE-14 CODE-5 CODE-6"
    for r, s, compression in CODES:
        honest, part = sent(f"safely {r}", r, r, compression)
        fields = {"length": len(part)}
        label = f"{r}-{s}-{compression}"
        truth = {"part": singles(part), "outside": list[int]()}
        built(
            made, truth, id=f"{label}-honest", name=name, requirements=req,
            **group_case(honest, r, compression, **fields),
        )  # fmt: skip
        liars = sorted((2 * k + 1) % r for k in range(s))
        told = lies(honest, liars)
        built(
            made, {"part": singles(part), "outside": liars}, truth, id=f"{label}-lies", name=name, requirements=req,
            flag="trusts-liars", **group_case(told, r, compression, **fields),
        )  # fmt: skip
        more = lies(honest, range(s + 1))
        made.refused(f"{label}-too-many", name, req, "decodes-anyway", **group_case(more, r, compression, **fields))
        small = group_case(honest[:-1], r, compression, **fields)
        made.refused(f"{label}-member-gone", name, req, "decodes-anyway", **small)
        near = honest.copy()
        near[1] += np.float32(1e-3) * honest[0]
        made.refused(f"{label}-nearly", name, req, "too-near", **group_case(near, r, compression, **fields))
    add_near(made)


def add_near(made: Chapter) -> None:
    """CODE-14: an eighth of the part's norm."""
    name, req = "redundant_code.decode_group", "CODE-14"
    honest, part = sent("an eighth", 5, 5, 3)
    aim = drawn("direction of a lie", honest.shape[1]).astype(np.float64)
    unit = aim / float(norm(aim)) * float(norm(part))
    for label, share in (("a-seventh", 1 / 7), ("more-than-an-eighth", 0.126), ("far", 4.0)):
        told = honest.copy()
        told[3] = (told[3] + share * unit).astype(np.float32)
        truth, everybody = {"part": singles(part), "outside": [3]}, {"part": singles(part), "outside": []}
        built(
            made, truth, everybody, id=label, name=name, requirements=req, flag="trusts-liars",
            **group_case(told, 5, 3, length=len(part)),
        )  # fmt: skip
    for label, share in (("less-than-an-eighth", 0.124), ("a-tenth", 0.1), ("a-hundredth", 0.01)):
        told = honest.copy()
        told[3] = (told[3] + share * unit).astype(np.float32)
        made.refused(label, name, req, "too-near", **group_case(told, 5, 3, length=len(part)))


def add_means(made: Chapter) -> None:
    """CODE-7."""
    name, req = "redundant_code.mean", "CODE-7"
    for count, width in ((1, 4), (2, 5), (3, 7), (7, 2)):
        made.right(f"{count}-groups", name, req, parts=rows(drawn(f"groups {count}", count, width)))
    made.right("huge", name, req, parts=rows(np.full((3, 2), 3e38, np.float32)))
    parts = drawn("groups to average", 7, 60) * (np.float32(10) ** np.arange(-3, 4, dtype=np.float32))[:, np.newaxis]
    parts = parts.astype(np.float32)
    total = folding_rows(parts)
    narrow = np.zeros(60, np.float32)
    for part in parts:
        narrow += part
    case = {"parts": rows(parts)}
    made.trap("in-float64", name, req, "narrow", singles(narrow / np.float32(7)), **case)
    made.trap("divided", name, req, "not-the-mean", singles(total), **case)
    lost = np.array([[1.0], [2.0**60], [-(2.0**60)]], np.float32)
    made.trap("in-order", name, req, "other-operations", singles([1 / 3]), parts=rows(lost))
    made.refused("no-group", name, req, "no-code", parts=[])


def folding_rows(parts: Float32) -> Float64:
    """The sum of the rows, in order."""
    total = np.zeros(parts.shape[1])
    for part in parts:
        total += part
    return total


def add_probabilities(made: Chapter) -> None:
    """CODE-8."""
    name, req = "redundant_code.bad_group_probability", "CODE-8"
    for sizes, liars, byzantine in (
        ([15], 3, 3), ([8, 7], 2, 3), ([5, 5, 5], 1, 4), ([5, 5, 6], 2, 7), ([20] * 50, 3, 100), ([3, 0, 4], 1, 2),
        ([7, 7], 0, 1), ([5, 5], 5, 7),
    ):  # fmt: skip
        label = f"{len(sizes)}-groups-{liars}-{byzantine}"
        made.right(label, name, req, sizes=sizes, liars=liars, byzantine=byzantine)
    sizes, liars, byzantine = [5, 5, 6], 2, 5
    case = {"sizes": sizes, "liars": liars, "byzantine": byzantine}
    total, share = math.comb(16, byzantine), byzantine / 16
    good = [math.fsum(math.comb(n, j) * share**j * (1 - share) ** (n - j) for j in range(liars + 1)) for n in sizes]
    many = range(liars + 1, byzantine + 1)
    single = [math.fsum(math.comb(n, j) * math.comb(16 - n, byzantine - j) for j in many) / total for n in sizes]
    made.trap("without-return", name, req, "independent", real(1 - math.prod(good)), **case)
    apart = real(1 - math.prod(1 - p for p in single))
    made.trap("groups-depend", name, req, "independent", apart, **case)
    made.trap("one-group", name, req, "independent", real(single[0]), **case)
    for label, other in (("more-than-s", 1), ("not-s-plus-1", 3)):
        mistaken = real(bad_group_probability(sizes, other, 16, byzantine))
        made.trap(label, name, req, "off-by-one", mistaken, **case)
    tried = sum(bad(sizes, chosen, liars) for chosen in combinations(range(16), byzantine)) / total
    if abs(tried - bad_group_probability(sizes, liars, 16, byzantine)) > 1e-12:
        raise CodeError("counting all choices gives another probability")
    made.refused("more-than-workers", name, req, "no-code", sizes=[3, 3], liars=1, byzantine=7)


def bad(sizes: Sequence[int], chosen: Sequence[int], liars: int) -> bool:
    """Whether a group has more than ``liars`` of the chosen workers."""
    edges = [sum(sizes[:k]) for k in range(len(sizes) + 1)]
    return any(sum(low <= c < high for c in chosen) > liars for low, high in pairwise(edges))


# -- Groups ---------------------------------------------------------------------------------------


def add_sizes(made: Chapter) -> None:
    """CODE-9."""
    name, req = "redundant_code.group_size", "CODE-9 CODE-11"
    for tolerated in (7, 3, 2, 1, 0):
        case = {"group_size": 10, "liars": 3, "compression": 3, "tolerated": tolerated}
        made.right(f"{tolerated}-tolerated", name, req, **case)
        if tolerated < 3:
            made.trap(f"{tolerated}-shrinks", name, req, "group-size", [10, tolerated], **case)
            made.trap(f"{tolerated}-by-two", name, req, "group-size", [10 - (3 - tolerated), tolerated], **case)
            made.trap(f"{tolerated}-keeps-spare-rows", name, req, "group-size", [2 * tolerated + 3, tolerated], **case)
        elif tolerated > 3:
            made.trap(f"{tolerated}-at-most-s", name, req, "group-size", [10 + 2 * (tolerated - 3), tolerated], **case)
    name, req = "redundant_code.configuration", "CODE-9 CODE-2"

    def case_of(n: int, b: int, m: int, r: int, s: int, compression: int) -> dict[str, int]:
        """The fields of an input."""
        return {"peers": n, "tolerated": b, "validators": m, "group_size": r, "liars": s, "compression": compression}

    made.right("one-group", name, req, **case_of(16, 3, 1, 15, 3, 9))
    made.right("three-groups", name, req, **case_of(16, 2, 1, 5, 1, 3))
    made.right("no-liar", name, req, **case_of(4, 0, 1, 3, 0, 3))
    for label, given in (
        ("too-few-at-first", case_of(8, 3, 1, 9, 3, 3)),
        ("too-few-beside-a-validator", case_of(9, 3, 1, 9, 3, 3)),
        ("too-few-after-a-removal", case_of(9, 2, 1, 8, 1, 3)),
        ("too-few-after-pairs", case_of(16, 5, 1, 14, 1, 3)),
    ):
        made.refused(label, name, req, "too-few-workers", **given)
    for label, given in (
        ("r-too-small", case_of(16, 3, 1, 8, 3, 3)),
        ("r-too-large", case_of(64, 3, 1, 21, 3, 3)),
        ("no-compression", case_of(16, 3, 1, 7, 3, 0)),
    ):
        made.refused(label, name, req, "no-code", **given)


def add_deals(made: Chapter) -> None:
    """CODE-10."""
    name, req, randomness = "redundant_code.draw_groups", "CODE-10 MPRNG-7", b"\x5a" * 32

    def case(workers: int, size: int, step: int = 7) -> dict[str, Any]:
        """The fields of an input."""
        return {"randomness": randomness.hex(), "step": step, "workers": texts(ids(workers)), "size": size}

    for workers, size in ((5, 5), (9, 5), (10, 5), (14, 4), (4, 5), (3, 1)):
        made.right(f"{workers}-by-{size}", name, req, **case(workers, size))
    order = by_lot("btard/group", randomness, 7, ids(11))
    blocks = [texts(order[k : k + 6]) for k in (0, 6)]
    full = [texts(order[k : k + 5]) for k in (0, 5, 10)]
    made.trap("in-turn", name, req, "dealt-otherwise", blocks, **case(11, 5))
    made.trap("two-groups", name, req, "dealt-otherwise", [texts(order[k::3]) for k in range(3)], **case(11, 5))
    made.trap("no-rest-group", name, req, "dealt-otherwise", full, **case(11, 5))
    ascending = [texts(sorted(order[k::2])) for k in range(2)]
    made.trap("order-of-lots", name, req, "dealt-otherwise", ascending, **case(11, 5))
    by_roster = [texts(ids(11)[k::2]) for k in range(2)]
    made.trap("not-by-id", name, req, "dealt-otherwise", by_roster, **case(11, 5))
    for label, other in (("other-tag", ("btard/target", 7)), ("other-step", ("btard/group", 8))):
        wrong = by_lot(other[0], randomness, other[1], ids(11))
        made.trap(label, name, req, "dealt-otherwise", [texts(wrong[k::2]) for k in range(2)], **case(11, 5))


def add_regrouped(made: Chapter) -> None:
    """CODE-11."""
    name, req = "redundant_code.regroup", "CODE-11 CODE-3 CODE-9"
    peers = ids(12)
    lots = [peers[k] for k in (7, 2, 11, 4, 0, 9, 5, 3, 10, 1, 8, 6)]
    groups = deal(lots, 5)

    def case(gone: Sequence[int], tolerated: int) -> dict[str, Any]:
        """The fields of an input: which of the lots are gone."""
        left = texts(worker for worker in peers if worker not in [lots[k] for k in gone])
        fields = {"group_size": 5, "liars": 1, "compression": 3, "tolerated": tolerated}
        return {"members": [texts(group) for group in groups], "workers": left, **fields}

    def placed(members: Sequence[Sequence[bytes]], size: int) -> dict[str, Any]:
        """An answer."""
        listed = [[[worker.hex(), k % size] for k, worker in enumerate(group)] for group in members]
        return {"size": size, "members": listed}

    made.right("everybody", name, req, **case([], 3))
    made.right("one-gone", name, req, **case([0], 2))
    made.right("fewer-tolerated", name, req, **case([3, 5], 0))
    left = [worker for worker in lots if worker != lots[2]]
    kept = [tuple(worker for worker in group if worker in left) for group in groups]
    made.trap("not-dealt-again", name, req, "dealt-again", placed(deal(left, 5), 5), **case([2], 2))
    held = [[[w.hex(), groups[g].index(w) % 5] for w in group] for g, group in enumerate(kept)]
    made.trap("rows-move-up", name, req, "other-row", {"size": 5, "members": held}, **case([2], 2))
    made.trap("size-of-now", name, req, "group-size", placed(kept, 5), **case([2], 0))
    emptied = case(range(0, 12, 2), 3)
    without = placed([groups[1]], 5)
    made.trap("empty-group-stays", name, req, "dealt-again", without, **emptied)


# -- Reports --------------------------------------------------------------------------------------


def add_reports(made: Chapter) -> None:
    """CODE-12."""
    name, req = "redundant_code.report", "CODE-12 MPRNG-9"
    bare, gradients = coded_attempt()
    transcript = judged(bare, gradients, drawn("mean of groups", 29))
    dropped = ("run", "step", "tolerated", "gradient_clip", "seed_randomness", "radii", "reports", "part_hashes")
    plain = plain_transcript(transcript, dropped)
    case = {"transcript": plain, "gradient": singles(gradients[2])}
    right = made.right("honest", name, req, **case)
    aggregate = singles(drawn("mean of groups", 29))
    made.right("equal", name, req, **{**case, "gradient": aggregate})
    table, bounds = transcript.directions[0], transcript.bounds
    differences = np.subtract(gradients[2], read_singles(aggregate), dtype=np.float64)
    sizes = [float(norm(differences[bound])) for bound in bounds]
    raw = [float(dot(table[k, : b.stop - b.start], gradients[2][b])) for k, b in enumerate(bounds)]
    clipped = read_reals(right["products"]) / np.maximum(np.array(sizes), 1.0)
    made.trap("difference", name, req, "clipped", {**right, "products": reals(raw)}, **case)
    made.trap("not-clipped", name, req, "clipped", {**right, "products": reals(clipped)}, **case)
    made.trap("norm-of-the-part", name, req, "norm-of-difference", {**right, "norms": reals(sizes)}, **case)
    long = drawn("long parts", 7 * 40) * np.float32(1e4)
    wide, _ = attempt_of(7, 7 * 40, math.inf, REDUNDANT_CODE, transcript.groups)
    past = replace(wide, aggregate=drawn("mean of long", 7 * 40) / np.float32(3))
    wide_case = {"transcript": plain_transcript(past, dropped), "gradient": singles(long)}
    told = PROFILE.numbers(past, long)
    rounded = np.subtract(long, np.asarray(past.aggregate)).astype(np.float64)
    narrow = [float(dot(past.directions[0][k, :40], rounded[b])) for k, b in enumerate(past.bounds)]
    mistaken = {"products": reals(narrow), "norms": reals(told[1])}
    made.trap("in-float64", name, req, "narrow", mistaken, **wide_case)


def add_possible(made: Chapter) -> None:
    """CODE-13."""
    name, req = "redundant_code.possible_report", "CODE-13"

    def case(products: Sequence[float], norms: Sequence[float], parts: int = 2, **fields: Any) -> dict[str, Any]:
        """The fields of an input, λ = 5."""
        numbers = {"products": float64_bytes(products).hex(), "norms": float64_bytes(norms).hex()}
        return {"gradient_clip": real(5.0), "parts": parts, **numbers, "chunks": [], **fields}

    made.right("usual", name, req, **case([1.0, -2.0], [1.0, 2.0]))
    made.right("far-too-long", name, req, **case([1.0, -2.0], [1.0, 2000.0]))
    made.trap("any-finite-product", name, req, "possible-refused", False, **case([1e300, -1e300], [0.0, 0.1]))
    made.trap("at-the-limit", name, req, "possible-refused", False, **case([1.0, 0.0], [5.0, 5.0]))
    above = math.nextafter(5.0, 9.0)
    made.trap("above-the-limit", name, req, "impossible-taken", True, **case([1.0, 0.0], [0.0, above]))
    made.trap("negative-norm", name, req, "impossible-taken", True, **case([1.0, 0.0], [-1.0, 1.0]))
    made.trap("smallest-negative-norm", name, req, "impossible-taken", True, **case([1.0, 0.0], [-5e-324, 1.0]))
    made.trap("negative-zeros", name, req, "bitwise", False, **case([-0.0, 0.0], [-0.0, 1.0]))
    for label, value in (("nan", math.nan), ("infinite", math.inf), ("minus-infinite", -math.inf)):
        flag = "not-a-number" if label == "nan" else "impossible-taken"
        made.trap(f"{label}-product", name, req, flag, True, **case([1.0, value], [1.0, 1.0]))
        made.trap(f"{label}-norm", name, req, flag, True, **case([1.0, 0.0], [1.0, value]))
    for label, given in (
        ("one-more", case([1.0] * 3, [1.0] * 3)),
        ("one-less", case([1.0], [1.0])),
        ("empty", case([], [])),
        ("chunks", case([1.0, 1.0], [1.0, 1.0], chunks=[""])),
    ):
        made.trap(label, name, req, "count", True, **given)


def add_sums(made: Chapter) -> None:
    """CODE-15."""
    name, req = "redundant_code.adds_up", "CODE-15"
    peers = ids(7)
    three: list[list[int]] = [[4, 2, 6], [0, 5], [1, 3]]

    def case(
        products: Sequence[float], norms: Sequence[float], groups: Sequence[Sequence[int]] = three
    ) -> dict[str, Any]:
        """The fields of an input: what each group says, or each worker if there are seven numbers."""
        members = [texts(peers[k] for k in group) for group in groups]
        place = {k: g for g, group in enumerate(groups) for k in group}
        spread = [[v[k if len(v) == 7 else place[k]] for k in range(7)] for v in (products, norms)]
        return {"workers": texts(peers), "groups": members, "products": reals(spread[0]), "norms": reals(spread[1])}

    def each(values: Sequence[float], worker: int, other: float) -> list[float]:
        """By worker, of which one says something else."""
        place = {k: g for g, group in enumerate(three) for k in group}
        return [other if k == worker else values[place[k]] for k in range(7)]

    unit = 8 * DIRECTION_DEVIATION * 1e-6
    sizes = [1.0, 2.0, 0.5]
    limit = unit * 3.5
    above = math.nextafter(limit, 1.0)
    good = [0.3, -0.25, 0.01]
    made.right("honest", name, req, **case(good, sizes))
    made.right("zeros", name, req, **case([0.0] * 3, [0.0] * 3))
    made.right("forged", name, req, **case([0.3, 0.5, 0.1], sizes))
    ulp = each(good, 6, math.nextafter(good[0], 1.0))
    longer = each(sizes, 3, math.nextafter(sizes[2], 1.0))
    made.trap("an-ulp-apart", name, req, "tolerant", True, **case(ulp, each(sizes, 0, 2.0)))
    made.trap("norms-apart", name, req, "tolerant", True, **case(each(good, 0, -0.25), longer))
    made.trap("last-member-differs", name, req, "tolerant", True, **case(each(good, 6, 0.9), each(sizes, 0, 2.0)))
    made.trap("first-member-differs", name, req, "tolerant", True, **case(each(good, 4, 0.9), each(sizes, 0, 2.0)))
    zero = each([0.3, -0.3, 0.0], 3, -0.0)
    made.trap("negative-zero", name, req, "bitwise", False, **case(zero, each(sizes, 0, 2.0)))
    made.trap("at-the-limit", name, req, "wrong-limit", False, **case([limit, 0.0, 0.0], sizes))
    made.trap("above-the-limit", name, req, "wrong-limit", True, **case([above, 0.0, 0.0], sizes))
    made.trap("minus-above", name, req, "wrong-limit", True, **case([-above, 0.0, 0.0], sizes))
    uneven = [limit, 0.2, -0.2]
    made.trap("one-of-each-group", name, req, "all-members", False, **case(uneven, sizes))
    hidden = [-0.5, 0.75 + 0.3, 0.0]
    made.trap("not-by-members", name, req, "all-members", True, **case(hidden, sizes))
    emptied = [[4, 2, 6], [], [0, 5, 1, 3]]
    made.right("empty-group", name, req, **case([0.25, 0.0, -0.25], sizes, emptied))
    floor = unit * (2.0**-100 * 3)
    made.trap("floor", name, req, "no-floor", False, **case([floor, 0.0, 0.0], [0.0] * 3))
    made.trap("floor-of-each", name, req, "no-floor", False, **case([floor, 0.0, 0.0], [2.0**-100, 0.0, 0.0]))
    made.trap("above-the-floor", name, req, "no-floor", True, **case([2 * floor, 0.0, 0.0], [0.0] * 3))


def add_errors(made: Chapter) -> None:
    """CODE-16."""
    name, req = "redundant_code.right_aggregate", "CODE-16"
    peers = ids(6)
    groups = [[3, 0, 5, 1], [2, 4]]
    parts = drawn("parts of two groups", 2, 8)
    place = {k: g for g, group in enumerate(groups) for k in group}
    gradients = rows(np.stack([parts[place[k]] for k in range(6)]))
    exact = np.asarray(folding_rows(parts) / 2)
    scale = added([float(size) for size in norm(parts)]) / 2
    aim = drawn("error", 8).astype(np.float64)
    unit = aim / float(norm(aim))

    def case(
        aggregate: Float64, members: Sequence[Sequence[int]] = groups, given: list[str] = gradients
    ) -> dict[str, Any]:
        """The fields of an input."""
        listed = [texts(peers[k] for k in group) for group in members]
        return {"workers": texts(peers), "groups": listed, "gradients": given, "aggregate": singles(aggregate)}

    made.right("rounded", name, req, **case(exact))
    made.right("forged", name, req, **case(exact + 0.01 * unit))
    made.right("empty-group", name, req, **case(exact, [groups[0], [], groups[1]]))
    made.trap("9e-6", name, req, "wrong-limit", False, **case(exact + 9e-6 * scale * unit))
    made.trap("11e-6", name, req, "wrong-limit", True, **case(exact + 1.1e-5 * scale * unit))
    made.trap("15e-6", name, req, "wrong-limit", True, **case(exact + 1.5e-5 * scale * unit))
    weighted = (4 * parts[0].astype(np.float64) + 2 * parts[1]) / 6
    made.trap("mean-of-workers", name, req, "not-the-mean", True, **case(weighted))
    made.trap("sum", name, req, "not-the-mean", True, **case(exact * 2))
    nothing = rows(np.zeros((6, 8), np.float32))
    made.trap("zeros", name, req, "no-floor", True, **case(unit * 2.0**-110, groups, nothing))
    made.trap("nan", name, req, "not-a-number", True, **case(exact * math.nan))
    opposite = rows(np.stack([parts[0] * np.float32(1 - 2 * place[k]) for k in range(6)]))
    size = float(norm(parts[0]))
    made.trap("mean-norm", name, req, "wrong-limit", False, **case(unit * 8e-6 * size, groups, opposite))
