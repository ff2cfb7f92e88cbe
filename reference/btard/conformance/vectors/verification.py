"""Vectors of chapter ``verification``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from btard.conformance.vectors.built import drawn
from btard.conformance.vectors.butterfly_clip import added, matrix
from btard.conformance.vectors.cases import Chapter, VectorError, operation
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
    TRANSCRIPT,
    attempt_of,
    honest_attempt,
    ids,
    judged,
    plain_finding,
    plain_reports,
    plain_transcript,
    read_transcript,
    state_of,
)
from btard.protocol.arithmetic import (
    Float32,
    Float64,
    admissible_gradient,
    dot,
    float32_bytes,
    float64_bytes,
    folding_sum,
    norm,
)
from btard.protocol.bans import Departures, Fault
from btard.protocol.butterfly_clip import clip, residual
from btard.protocol.channel import ComputeGradient, Exchange
from btard.protocol.encoding import tagged_hash
from btard.protocol.judging import learn, punish_contents, uncovered
from btard.protocol.log import Finding, Subject, Trial, Verdict
from btard.protocol.messages import Accusation, Message, Notices, Phase, Report, Reveal, Slot, body_hash
from btard.protocol.model import MAJORITY_VOTE, REDUNDANT_CODE, Configuration, PeerId
from btard.protocol.mprng import DIRECTION_DEVIATION, direction, directions
from btard.protocol.profile import Groups, possible_aggregate
from btard.protocol.state import Attempt, Plan
from btard.protocol.step import may_accuse
from btard.protocol.verification import (
    C2_DEVIATIONS,
    ROUNDING_SLACK,
    Transcript,
    c2_holds,
    c3_holds,
    distinct_gradients,
    examine_worker,
    failing_parts,
    lying_workers,
    measure,
    possible_parts,
    possible_report,
    report_of,
    seed_of,
    try_aggregator,
    try_candidate,
)

FLAGS = {
    "other-operations": "computes the same in another order: the last bits differ",
    "narrow": "takes differences in float32",
    "not-clipped": "does not clip what is projected",
    "clipped-norm": "reports the norm after clipping",
    "other-direction": "expands the directions with other bytes: another part number, byte order, sign or randomness",
    "impossible-taken": "takes numbers that no gradient has",
    "possible-refused": "refuses numbers that an honest gradient can have",
    "not-a-number": "refuses only what is greater than the limit, and so takes what is not a number",
    "count": "takes another number of entries than there are parts",
    "no-absolute": "forgets the sign of the sum",
    "strict-limit": "fails what is exactly at the limit",
    "rounded-limit": "passes what is above the limit by less than a rounding error",
    "voices": "asks for another number of workers or peers than b_t + 1",
    "one-check": "fails a part only if both checks fail, or makes one check only",
    "settled-again": "tries an aggregator again for a part for which it has stood trial",
    "counts-anyway": "aggregates a part that no gradient has",
    "tolerant": "compares reports or hashes with a tolerance",
    "bitwise": "compares numbers by their bits: −0 and 0 differ",
    "half-compared": "compares the products only, or the norms only, or another part",
    "spares-impossible": "does not accuse whose content was impossible",
    "report-first": "looks at the report although a hash is wrong",
    "correction-form": "writes the true report in another form, or writes one where there is none",
    "raw": "compares with a gradient that was not made admissible (ARITH-4)",
    "other-hash": "hashes other bytes than were sent, or with another tag",
    "judged-anyway": "judges the aggregator although a hash is wrong, or any other part than its own",
    "stops-early": "does not judge all workers, or stops after the first finding",
    "shielded": "acquits the aggregator because a report is wrong",
    "not-again": "does not look at C2 and C3 again after a correction",
    "may-accuse": "takes an accusation that its sender may not make",
    "may-not-accuse": "refuses an accusation that its sender may make",
    "every-worker": "recomputes a gradient for every worker although some share a seed",
}


def as_report(numbers: Float64) -> dict[str, str]:
    """A report's numbers."""
    return {"products": reals(numbers[0]), "norms": reals(numbers[1])}


def limits(given: dict[str, Any]) -> Configuration:
    """A configuration with the given φ and κ; nothing else of it matters."""
    return Configuration(
        peers=4, tolerated=0, dimension=4, steps=1, gradient_clip=1.0, radius_initial=1.0, radius_min=1.0,
        radius_max=1.0, spread_ratio=0.1, residual_ratio=read_real(given["residual_ratio"]),
        distance_ratio=read_real(given["distance_ratio"]),
    )  # fmt: skip


def answered(exchange: Exchange[Any], raws: dict[bytes, Float32]) -> Any:
    """The result of an exchange that asks for gradients, given what comes out for each seed."""
    try:
        request = next(exchange)
        while isinstance(request, ComputeGradient):
            request = exchange.send(raws[request.seed])
    except StopIteration as end:
        return end.value
    raise ValueError("an exchange that asks for something else")


@operation(
    "verification.measure",
    "`vector` x, `center` v: float32 vectors; `direction` z: list of integers; `radius`: real τ",
    "`{product, norm}`: the reals s and ‖x − v‖",
)
def compute_measure(given: dict[str, Any]) -> dict[str, str]:
    """VER-1."""
    vector, center = read_singles(given["vector"]), read_singles(given["center"])
    aims = np.array(given["direction"], dtype=np.int16)
    products, norms = measure(vector[np.newaxis], center, aims, read_real(given["radius"]))
    return {"product": real(float(products[0])), "norm": real(float(norms[0]))}


@operation(
    "verification.report",
    f"`transcript`: {TRANSCRIPT}; `gradient`: float32 vector, what a worker committed",
    "`{products, norms}`: float64 vectors, what it has to report",
)
def compute_report(given: dict[str, Any]) -> dict[str, str]:
    """VER-1."""
    return as_report(report_of(read_transcript(given["transcript"]), read_singles(given["gradient"])))


@operation(
    "verification.possible_report",
    "`transcript`; `products`, `norms`: bytes of a Report; `chunks` of it: list of bytes",
    "whether some gradient could have this report",
)
def compute_possible_report(given: dict[str, Any]) -> bool:
    """VER-2."""
    report = Report(bytes.fromhex(given["products"]), bytes.fromhex(given["norms"]), octets(given["chunks"]))
    return possible_report(read_transcript(given["transcript"]), report)


def one_part(radius: str, reports: Float64, tolerated: int = 0) -> Transcript:
    """A transcript with one part that matters."""
    transcript, _ = attempt_of(len(reports), len(reports), read_real(radius))
    return replace(transcript, reports=reports, tolerated=tolerated)


@operation(
    "verification.c2",
    "`products`: float64 vector, the s that the workers report about a part, in their order; `radius`: real τ; "
    "`residual_ratio`: real φ",
    "whether the part passes C2",
)
def compute_c2(given: dict[str, Any]) -> bool:
    """VER-3."""
    said = np.stack([read_reals(given["products"])] * 2, axis=1)[:, :, np.newaxis]
    with np.errstate(invalid="ignore"):
        return c2_holds(one_part(given["radius"], said), 0, read_real(given["residual_ratio"]))


@operation(
    "verification.c3",
    "`norms`: float64 vector, those that the workers report about a part; `radius`: real τ; `distance_ratio`: real κ; "
    "`tolerated`: b_t",
    "whether the part passes C3",
)
def compute_c3(given: dict[str, Any]) -> bool:
    """VER-4."""
    said = np.stack([read_reals(given["norms"])] * 2, axis=1)[:, :, np.newaxis]
    return c3_holds(one_part(given["radius"], said, given["tolerated"]), 0, read_real(given["distance_ratio"]))


@operation(
    "verification.failing_parts",
    "`transcript`; `residual_ratio`: real φ; `distance_ratio`: real κ",
    "list of the parts whose aggregators stand trial",
)
def compute_failing_parts(given: dict[str, Any]) -> list[int]:
    """VER-3, VER-4, VER-11."""
    return failing_parts(read_transcript(given["transcript"]), limits(given))


@operation(
    "verification.possible_parts",
    "`contents`: list of bytes, what each worker sent of a part of `length` coordinates; `gradient_clip`: real λ",
    "`{parts, possible}`: a matrix of float32, what each counts as; and a list, whether it is a gradient's",
)
def compute_possible_parts(given: dict[str, Any]) -> dict[str, Any]:
    """STEP-5."""
    found, possible = possible_parts(octets(given["contents"]), given["length"], read_real(given["gradient_clip"]))
    return {"parts": rows(found), "possible": possible.tolist()}


@operation(
    "verification.lying_workers",
    "`transcript`; `part` of the accuser; `inputs`: matrix of float32, what each worker's content counts as; "
    "`impossible`: ids whose content no gradient has",
    "list of the ids that the aggregator of the part accuses, in the order of the workers",
)
def compute_lying_workers(given: dict[str, Any]) -> list[str]:
    """VER-5."""
    transcript, impossible = read_transcript(given["transcript"]), octets(given["impossible"])
    return texts(lying_workers(transcript, given["part"], matrix(given["inputs"]), impossible))


@operation(
    "verification.examine_worker",
    "`transcript`; `worker`: its id; `raw`: float32 vector, what a recomputation gives before ARITH-4",
    "null, or the finding `{peer, fault, correction}`: id, code of the fault (chapter `bans`), and bytes, none unless "
    "the report is wrong",
)
def compute_examine_worker(given: dict[str, Any]) -> dict[str, Any] | None:
    """VER-7, VER-8."""
    transcript = read_transcript(given["transcript"])
    gradient = admissible_gradient(read_singles(given["raw"]), transcript.gradient_clip)
    finding = examine_worker(transcript, bytes.fromhex(given["worker"]), gradient)
    return plain_finding(finding) if finding else None


@operation(
    "verification.try_candidate",
    "`transcript`; `candidate`: its id; `raw`: float32 vector, as before",
    "list of findings",
)
def compute_try_candidate(given: dict[str, Any]) -> list[dict[str, Any]]:
    """VER-8."""
    transcript, candidate = read_transcript(given["transcript"]), bytes.fromhex(given["candidate"])
    raws = {seed_of(transcript, candidate): read_singles(given["raw"])}
    return [plain_finding(finding) for finding in answered(try_candidate(transcript, candidate), raws)]


@operation(
    "verification.try_aggregator",
    "`transcript`; `accused`: its id; `raws`: matrix of float32, for each worker what a recomputation gives before "
    "ARITH-4; `residual_ratio`: real φ",
    "list of findings, in order",
)
def compute_try_aggregator(given: dict[str, Any]) -> list[dict[str, Any]]:
    """VER-9."""
    transcript = read_transcript(given["transcript"])
    pairs = zip(transcript.workers, given["raws"], strict=True)
    raws = {seed_of(transcript, worker): read_singles(raw) for worker, raw in pairs}
    trial = try_aggregator(transcript, bytes.fromhex(given["accused"]), read_real(given["residual_ratio"]))
    return [plain_finding(finding) for finding in answered(trial, raws)]


@operation(
    "verification.after_verdict",
    "`transcript`; `subject` of a trial about it: 0 for a worker, 1 for an aggregator; `accused`: id; `findings` of "
    "the verdict; `residual_ratio`: real φ; `distance_ratio`: real κ",
    "`{reports, settled, parts}`: the reports that stand now, ids of the aggregators that have stood trial, ascending, "
    "and the list of the parts whose aggregators stand trial because of this verdict",
)
def compute_after_verdict(given: dict[str, Any]) -> dict[str, Any]:
    """VER-11."""
    transcript, config = read_transcript(given["transcript"]), limits(given)
    found = [
        Finding(bytes.fromhex(one["peer"]), Fault(one["fault"]), bytes.fromhex(one["correction"]))
        for one in given["findings"]
    ]
    trial = Trial(transcript.step, bytes.fromhex(given["accused"]), Subject(given["subject"]))
    verdict = Verdict(trial, tuple(found))
    after = learn(transcript, verdict)
    charges = uncovered(state_of(config), after, verdict)
    parts = [transcript.workers.index(charge.trial.accused) for charge in charges]
    return {"reports": plain_reports(after.reports), "settled": texts(sorted(after.settled)), "parts": parts}


@operation(
    "verification.possible_aggregate",
    "`content`: bytes; `length`: coordinates of the part",
    "whether the content has the form of an aggregate",
)
def compute_possible_aggregate(given: dict[str, Any]) -> bool:
    """VER-10."""
    return possible_aggregate(bytes.fromhex(given["content"]), given["length"])


@operation(
    "verification.impossible_aggregates",
    "`tolerated`: b_t; `reveals`: for each peer's Reveal `{sender, accusations, complaints}`, its id, and lists of "
    "the ids that it accuses and complains about",
    "list of the ids that are convicted for their content, ascending",
)
def compute_impossible_aggregates(given: dict[str, Any]) -> list[str]:
    """VER-10."""
    departures, reveals = Departures(Slot(0, 0, Phase.REVEAL, 0)), dict[PeerId, Message]()
    for said in given["reveals"]:
        accusations = tuple(Accusation(peer, 0) for peer in octets(said["accusations"]))
        reveals[bytes.fromhex(said["sender"])] = Reveal(bytes(64), accusations, Notices(octets(said["complaints"])))
    config = limits({"residual_ratio": real(0.1), "distance_ratio": real(9.0)})
    punish_contents(state_of(config, tolerated=given["tolerated"]), reveals, departures)
    return texts(removal.peer for removal in departures.removals)


@operation(
    "verification.may_accuse",
    "`step` t; `attempt`; `sender`, `accused`: ids; `about`: the step of the accusation; `workers`: list of "
    "`[step, ids]`, those of the applied attempts of steps t − 2 and t − 1; `targets`: list of `[validator, target]`; "
    "`inspectors`: list of `[candidate, inspector]`",
    "whether the sender may make the accusation in its Commit",
)
def compute_may_accuse(given: dict[str, Any]) -> bool:
    """VER-6."""
    attempt = attempt_of(4, 4)[0]
    history = tuple(replace(attempt, step=step, workers=octets(workers)) for step, workers in given["workers"])
    config = limits({"residual_ratio": real(0.1), "distance_ratio": real(9.0)})
    state = state_of(config, step=given["step"], history=history)
    targets, inspectors = (
        {one: other for one, other in map(octets, given[name])} for name in ("targets", "inspectors")
    )
    plan = Plan(given["step"], tuple(targets), targets, inspectors)
    current = Attempt(plan, given["attempt"], (), (), (), np.zeros(0))
    accusation = Accusation(bytes.fromhex(given["accused"]), given["about"])
    return may_accuse(state, current, bytes.fromhex(given["sender"]), accusation)


@operation(
    "verification.gradients_of_trial", "`transcript`", "how many gradients the trial of one of its aggregators takes"
)
def compute_gradients_of_trial(given: dict[str, Any]) -> int:
    """VER-12."""
    return distinct_gradients(read_transcript(given["transcript"]))


def chapter() -> Chapter:
    """All vectors of the chapter."""
    made = Chapter("verification", FLAGS)
    for add in (add_measures, add_reports, add_possible, add_c2, add_c3, add_failing, add_parts, add_liars):
        add(made)
    for add in (add_examined, add_profiles, add_candidates, add_trials, add_corrections, add_voices, add_accusations):
        add(made)
    return made


# -- Reports --------------------------------------------------------------------------------------


def add_measures(made: Chapter) -> None:
    """VER-1: one part."""
    name = "verification.measure"
    x, v = drawn("measured", 9), drawn("measured against", 9)
    z = direction(b"\x11" * 32, 0, 9)
    for label, vector, center, radius in (
        ("inside", x, v, 100.0),
        ("outside", x, v, 0.3),
        ("equal", v, v, 1.0),
        ("huge", np.full(9, 3e38, np.float32), np.full(9, -3e38, np.float32), 1.0),
        ("tiny", np.full(9, 1e-45, np.float32), np.zeros(9, np.float32), 1e-30),
        ("negative-zeros", np.full(9, -0.0, np.float32), np.zeros(9, np.float32), 1.0),
    ):
        made.right(label, name, "VER-1", **measured(vector, center, z.tolist(), radius))
    size = float(norm(np.subtract(x, v, dtype=np.float64)))
    made.right("exactly-the-radius", name, "VER-1", **measured(x, v, z.tolist(), size))
    made.right("nothing", name, "VER-1", **measured(x[:0], v[:0], [], 1.0))
    for k in range(1000):
        x, v = drawn(f"measured {k}", 19) * np.float32(9000), drawn(f"measured against {k}", 19) / np.float32(3)
        case = measured(x, v, direction(b"\x22" * 32, k, 19).tolist(), 0.3)
        right = compute_measure(case)
        if all(mistaken != right for _, mistaken in mismeasured(case).values()):
            break
    else:
        raise VectorError("no sample tells all mistakes")
    for label, (flag, mistaken) in mismeasured(case).items():
        made.trap(label, name, "VER-1", flag, mistaken, **case)


def measured(vector: Float32, center: Float32, aims: list[int], radius: float) -> dict[str, Any]:
    """The fields of an input."""
    return {"vector": singles(vector), "center": singles(center), "direction": aims, "radius": real(radius)}


def mismeasured(case: dict[str, Any]) -> dict[str, tuple[str, dict[str, str]]]:
    """What mistakes give: a flag and a result each."""
    x, v, radius = read_singles(case["vector"]), read_singles(case["center"]), read_real(case["radius"])
    z, y = np.array(case["direction"]), np.subtract(x, v, dtype=np.float64)
    size, product = float(norm(y)), float(dot(z, y))

    def told(s: float, length: float = size) -> dict[str, str]:
        """The numbers as an answer."""
        return {"product": real(s), "norm": real(length)}

    squares, products = (y * y).tolist(), (z * y).tolist()
    narrow = np.subtract(x, v).astype(np.float64)
    ratio = radius / size
    return {
        "projected-last": ("other-operations", told(float(dot(z, clip(y, radius))))),
        "product-from-left": ("other-operations", told(ratio * added(products))),
        "norm-from-left": ("other-operations", told(ratio * product, math.sqrt(added(squares)))),
        "times-radius-first": ("other-operations", told(product * radius / size)),
        "float32": ("narrow", told(radius / float(norm(narrow)) * float(dot(z, narrow)), float(norm(narrow)))),
        "not-clipped": ("not-clipped", told(product)),
        "clipped-norm": ("clipped-norm", told(ratio * product, radius)),
        "unsigned": ("other-direction", told(ratio * float(dot(z % 65536, y)))),
    }


def add_reports(made: Chapter) -> None:
    """VER-1: all parts."""
    name = "verification.report"
    for workers, dimension, radius in ((4, 11, 1.0), (3, 3, 0.2), (5, 23, 1e9), (1, 6, 0.5)):
        transcript, gradients = honest_attempt(workers, dimension, radius)
        made.right(
            f"{workers}-workers-{dimension}", name, "VER-1 MPRNG-9",
            transcript=bare(transcript), gradient=singles(gradients[0]),
        )  # fmt: skip
    transcript, gradients = honest_attempt()
    gradient = gradients[3]
    case = {"transcript": bare(transcript), "gradient": singles(gradient)}
    bounds = transcript.bounds
    lengths = [bound.stop - bound.start for bound in bounds]
    aims = [direction(transcript.randomness, part, length) for part, length in enumerate(lengths)]
    whole = direction(transcript.randomness, 0, transcript.dimension)
    for label, wrong in (
        ("counted-from-1", [direction(transcript.randomness, part + 1, n) for part, n in enumerate(lengths)]),
        ("big-endian", [aim.astype("<i2").byteswap() for aim in aims]),
        ("one-for-all", [whole[bound] for bound in bounds]),
        ("last-randomness", [direction(transcript.seed_randomness, part, n) for part, n in enumerate(lengths)]),
    ):
        made.trap(label, name, "VER-1 MPRNG-9", "other-direction", projected(transcript, gradient, wrong), **case)
    far = replace(transcript, radii=np.full(4, np.inf))
    made.trap("not-clipped", name, "VER-1", "not-clipped", projected(far, gradient, aims), **case)


def bare(transcript: Transcript, *fields: str) -> dict[str, Any]:
    """A transcript without hashes and reports, and without these fields."""
    dropped = ("part_hashes", "aggregate_hashes", "reports", "run", "seed_randomness", "gradient_clip", *fields)
    return plain_transcript(transcript, dropped)


def projected(transcript: Transcript, gradient: Float32, aims: Sequence[Any]) -> dict[str, str]:
    """A report with other directions."""
    aggregate = np.zeros(0, np.float32) if transcript.aggregate is None else transcript.aggregate
    pairs = [
        measure(gradient[np.newaxis, bound], aggregate[bound], aim, float(radius))
        for bound, aim, radius in zip(transcript.bounds, aims, transcript.radii, strict=True)
    ]
    return as_report(np.array([[float(s[0]) for s, _ in pairs], [float(n[0]) for _, n in pairs]]))


def add_possible(made: Chapter) -> None:
    """VER-2."""
    name, req = "verification.possible_report", "VER-2"
    transcript, _ = honest_attempt()
    true, plain = transcript.reports[0], bare(transcript, "aggregate")
    sizes = directions(transcript.randomness, (2, 3, 3, 3))[1]

    def said(part: int, s: float | None = None, length: float | None = None) -> dict[str, Any]:
        """The true report with other numbers about one part."""
        numbers = true.copy()
        for row, value in enumerate((s, length)):
            if value is not None:
                numbers[row, part] = value
        return {"transcript": plain, **as_report(numbers), "chunks": []}

    def greatest(part: int, length: float) -> float:
        """The greatest |s| beside a norm."""
        return float(min(length, 1.0) * sizes[part] * ROUNDING_SLACK)

    made.right("honest", name, req, **said(0))
    made.right("zeros", name, req, **said(1, 0.0, 0.0))
    made.right("far-too-large", name, req, **said(1, 1e9, 0.5))
    for part, length in ((0, 0.5), (1, 1.0), (3, 1e300)):
        limit, label = greatest(part, length), f"{part}-of-{length:g}"
        above = math.nextafter(limit, math.inf)
        made.trap(f"at-the-limit-{label}", name, req, "strict-limit", False, **said(part, limit, length))
        made.trap(f"negative-at-the-limit-{label}", name, req, "strict-limit", False, **said(part, -limit, length))
        made.trap(f"above-the-limit-{label}", name, req, "rounded-limit", True, **said(part, above, length))
        made.trap(f"negative-above-{label}", name, req, "no-absolute", True, **said(part, -above, length))
        slack = limit / (1 + 2.0**-41)
        made.trap(f"within-the-slack-{label}", name, req, "possible-refused", False, **said(part, slack, length))
    for part in range(4):
        for length in (0.3, 0.7, 0.9):
            other = length * (float(sizes[part]) * ROUNDING_SLACK)
            if other != greatest(part, length):
                wrongly = other > greatest(part, length)
                s = max(other, greatest(part, length))
                made.trap(f"rounded-{part}-{length}", name, req, "other-operations", wrongly, **said(part, s, length))
    made.trap("beyond-the-radius", name, req, "impossible-taken", True, **said(2, 2 * greatest(2, 1.0), 3.0))
    made.trap("zero-norm", name, req, "impossible-taken", True, **said(2, 1e-300, 0.0))
    made.trap("negative-norm", name, req, "impossible-taken", True, **said(2, 0.0, -0.5))
    made.trap("smallest-negative-norm", name, req, "impossible-taken", True, **said(2, 0.0, -5e-324))
    made.trap("negative-zeros", name, req, "bitwise", False, **said(2, -0.0, -0.0))
    for label, value in (("nan", math.nan), ("infinite", math.inf), ("minus-infinite", -math.inf)):
        flag = "not-a-number" if label == "nan" else "impossible-taken"
        made.trap(f"{label}-product", name, req, flag, True, **said(3, value))
        made.trap(f"{label}-norm", name, req, flag, True, **said(3, None, value))
    made.trap("infinite-both", name, req, "not-a-number", True, **said(0, math.inf, math.inf))
    honest = said(0)
    for label, change in (
        ("one-more", {key: honest[key] + "00" * 8 for key in ("products", "norms")}),
        ("one-less", {key: honest[key][16:] for key in ("products", "norms")}),
        ("empty", {"products": "", "norms": ""}),
        ("chunks", {"chunks": ["00"]}),
    ):
        made.trap(label, name, req, "count", True, **{**honest, **change})


# -- Public checks --------------------------------------------------------------------------------


def add_c2(made: Chapter) -> None:
    """VER-3."""
    name, req = "verification.c2", "VER-3"

    def case(products: Sequence[float], radius: float = 0.7, ratio: float = 0.1) -> dict[str, str]:
        """The fields of an input."""
        return {"products": reals(products), "radius": real(radius), "residual_ratio": real(ratio)}

    def threshold(radius: float = 0.7, ratio: float = 0.1) -> float:
        """T."""
        return C2_DEVIATIONS * DIRECTION_DEVIATION * ratio * radius

    limit = threshold()
    made.right("zeros", name, req, **case([0.0, 0.0, 0.0]))
    made.right("usual", name, req, **case([9000.0, -8000.0, 400.0, -1700.0]))
    made.right("forged", name, req, **case([9e5, -8e3, 4e2]))
    made.right("one-worker", name, req, **case([limit / 2]))
    above = math.nextafter(limit, math.inf)
    for sign, word in ((1, ""), (-1, "minus-")):
        made.trap(f"{word}at-the-limit", name, req, "strict-limit", False, **case([sign * limit, 0.0, 0.0]))
        flag = "rounded-limit" if sign > 0 else "no-absolute"
        made.trap(f"{word}above-the-limit", name, req, flag, True, **case([sign * above, 0.0, 0.0]))
    made.trap("minus-far-above", name, req, "no-absolute", True, **case([-1e9, 0.0]))
    made.trap("cancels", name, req, "no-absolute", False, **case([1e9, -1e9]))
    made.trap("nan", name, req, "not-a-number", True, **case([math.nan, 0.0]))
    made.trap("infinities", name, req, "not-a-number", True, **case([math.inf, -math.inf]))
    lost = [1.0, limit - 1.0, 2.0**70, 0.0, 0.0, 3.0, -(2.0**70), 0.0]
    said = abs(added(lost)) <= limit
    made.trap("folded", name, req, "other-operations", said, **case(lost))
    for k in range(20):
        radius, ratio = 0.7 + k / 64, 0.1 + k / 128
        other = C2_DEVIATIONS * DIRECTION_DEVIATION * (ratio * radius)
        right = threshold(radius, ratio)
        if other != right:
            given = case([max(other, right)], radius, ratio)
            made.trap(f"threshold-{k}", name, req, "other-operations", other > right, **given)


def add_c3(made: Chapter) -> None:
    """VER-4."""
    name, req = "verification.c3", "VER-4"
    limit = 7.3 * 0.7
    over = math.nextafter(limit, math.inf)

    def case(norms: Sequence[float], tolerated: int) -> dict[str, Any]:
        """The fields of an input."""
        return {"norms": reals(norms), "radius": real(0.7), "distance_ratio": real(7.3), "tolerated": tolerated}

    made.right("all-near", name, req, **case([0.5, 0.6, 0.0, 1.0], 1))
    made.right("all-far", name, req, **case([50.0, 60.0, 70.0, 80.0], 1))
    made.right("nobody-tolerated", name, req, **case([50.0, 60.0, 70.0, 1.0], 0))
    for tolerated in (0, 1, 3):
        near, far = [1.0] * tolerated, [90.0] * 4
        made.trap(f"{tolerated}-near-{tolerated}-tolerated", name, req, "voices", True, **case(near + far, tolerated))
        made.trap(
            f"{tolerated + 1}-near-{tolerated}-tolerated",
            name,
            req,
            "voices",
            False,
            **case([*near, 1.0, *far], tolerated),
        )
    made.trap("a-minority", name, req, "voices", False, **case([1.0, 1.0] + [90.0] * 9, 1))
    made.trap("at-the-limit", name, req, "strict-limit", False, **case([limit, limit, 90.0], 1))
    made.trap("above-the-limit", name, req, "rounded-limit", True, **case([limit, over, 90.0], 1))
    made.trap("nan", name, req, "not-a-number", True, **case([1.0, math.nan, math.nan], 1))


RATIOS = {"residual_ratio": real(0.1), "distance_ratio": real(9.0)}


def forged(transcript: Transcript, changes: dict[tuple[int, int, int], float]) -> Transcript:
    """With other numbers at (worker, row, part)."""
    reports = transcript.reports.copy()
    for place, value in changes.items():
        reports[place] = value
    return replace(transcript, reports=reports)


def add_failing(made: Chapter) -> None:
    """VER-3, VER-4: both checks, and trials that have been held."""
    name = "verification.failing_parts"
    honest, _ = honest_attempt()
    dropped = ("part_hashes", "aggregate_hashes", "aggregate", "run", "seed_randomness", "gradient_clip")
    sums = forged(honest, {(0, 0, 2): 1e6, (1, 0, 0): -1e6})
    far = forged(honest, {(worker, 1, 1): 10.0 for worker in range(3)})
    both = forged(sums, {(worker, 1, 2): 10.0 for worker in range(4)})
    settled = replace(sums, settled=frozenset([honest.workers[0]]))

    def case(transcript: Transcript) -> dict[str, Any]:
        """The fields of an input."""
        return {"transcript": plain_transcript(transcript, dropped), **RATIOS}

    made.right("none", name, "VER-3 VER-4", **case(honest))
    made.right("both-checks", name, "VER-3 VER-4", **case(both))
    made.trap("only-c2", name, "VER-3", "one-check", [], **case(sums))
    made.trap("only-c3", name, "VER-4", "one-check", [], **case(far))
    made.trap("settled", name, "VER-11", "settled-again", [0, 2], **case(settled))


def add_parts(made: Chapter) -> None:
    """STEP-5: what was received."""
    name, req = "verification.possible_parts", "STEP-5 VER-5"
    good = float32_bytes([3.0, 4.0])

    def case(*contents: bytes, length: int = 2, level: float = 5.0) -> dict[str, Any]:
        """The fields of an input."""
        return {"contents": texts(contents), "length": length, "gradient_clip": real(level)}

    made.right("good", name, req, **case(good, float32_bytes([0.0, -0.0]), float32_bytes([-1e-45, 1.0])))
    made.right("at-the-limit", name, req, **case(good, level=5.0))
    made.right("empty-part", name, req, **case(b"", b"", length=0))
    for label, bad, counted in (
        ("nan", [math.nan, 0.0], [math.nan, 0.0]),
        ("infinite", [math.inf, 0.0], [math.inf, 0.0]),
        ("too-long", [3.0, 4.000001], [3.0, 4.000001]),
        ("huge", [3e38, -3e38], [3e38, -3e38]),
    ):
        taken = {"parts": [singles([3.0, 4.0]), singles(counted)], "possible": [True, False]}
        made.trap(f"{label}-is-zeros", name, req, "counts-anyway", taken, **case(good, float32_bytes(bad)))
    for label, content in (
        ("short", good[:4]),
        ("torn", good[:7]),
        ("long", good + bytes(4)),
        ("nothing", b""),
        ("a-byte-more", good + b"\x00"),
    ):
        taken = {"parts": [singles([3.0, 4.0]), good.hex()], "possible": [True, True]}
        made.trap(f"{label}-content", name, req, "counts-anyway", taken, **case(good, content))
    limit = math.nextafter(5.0, 0.0)
    taken = {"parts": [good.hex()], "possible": [True]}
    made.trap("an-ulp-above", name, req, "rounded-limit", taken, **case(good, level=limit))


# -- Private checks -------------------------------------------------------------------------------


def add_liars(made: Chapter) -> None:
    """VER-5."""
    name, req = "verification.lying_workers", "VER-5"
    honest, gradients = honest_attempt()
    part, workers = 2, honest.workers
    dropped = ("part_hashes", "aggregate_hashes", "run", "seed_randomness", "gradient_clip", "tolerated")

    def case(
        transcript: Transcript, impossible: Sequence[PeerId] = (), inputs: Float32 | None = None
    ) -> dict[str, Any]:
        """The fields of an input."""
        received = gradients[:, honest.bounds[part]] if inputs is None else inputs
        plain = plain_transcript(transcript, dropped)
        return {"transcript": plain, "part": part, "inputs": rows(received), "impossible": texts(impossible)}

    s, size = honest.reports[1, :, part]
    above = math.nextafter(float(s), math.inf)
    longer = math.nextafter(float(size), math.inf)
    made.right("all-honest", name, req, **case(honest))
    made.right("two-liars", name, req, **case(forged(honest, {(3, 0, part): 1.0, (0, 1, part): 2.0})))
    made.trap("an-ulp-of-s", name, req, "tolerant", [], **case(forged(honest, {(1, 0, part): above})))
    made.trap("an-ulp-of-the-norm", name, req, "tolerant", [], **case(forged(honest, {(1, 1, part): longer})))
    made.trap("only-s", name, req, "half-compared", [], **case(forged(honest, {(1, 0, part): -float(s)})))
    made.trap("only-the-norm", name, req, "half-compared", [], **case(forged(honest, {(1, 1, part): 9.0})))
    elsewhere = forged(honest, {(1, 0, 1): 9.0, (0, 1, 3): 9.0})
    made.trap("lies-elsewhere", name, req, "half-compared", texts(workers[:2]), **case(elsewhere))
    made.trap("impossible", name, req, "spares-impossible", [], **case(honest, [workers[3]]))
    both = forged(honest, {(0, 0, part): 9.0})
    made.trap("both-kinds", name, req, "spares-impossible", texts(workers[:1]), **case(both, [workers[3]]))
    order = forged(honest, {(3, 0, part): 9.0})
    made.trap("in-order", name, req, "stops-early", texts([workers[3], workers[0]]), **case(order, [workers[0]]))
    center = (np.zeros(0) if honest.aggregate is None else honest.aggregate)[honest.bounds[part]]
    equal = gradients[:, honest.bounds[part]].copy()
    equal[1] = center
    zeros = forged(honest, {(1, 0, part): -0.0, (1, 1, part): -0.0})
    accused = texts([workers[1]])
    made.trap("negative-zeros", name, req, "bitwise", accused, **case(zeros, inputs=equal.astype(np.float32)))


def add_examined(made: Chapter) -> None:
    """VER-7, VER-8: a worker of profile btard."""
    name = "verification.examine_worker"
    honest, gradients = honest_attempt()
    worker, raw = honest.workers[1], gradients[1]

    def case(transcript: Transcript, recomputed: Float32 = raw) -> dict[str, Any]:
        """The fields of an input."""
        plain = plain_transcript(transcript, ("aggregate_hashes", "run", "seed_randomness", "tolerated"))
        return {"transcript": plain, "worker": worker.hex(), "raw": singles(recomputed)}

    def found(fault: Fault, correction: bytes = b"") -> dict[str, Any]:
        """An answer."""
        return plain_finding(Finding(worker, fault, correction))

    made.right("honest", name, "VER-7", **case(honest))
    others = honest.part_hashes[0]
    stolen = replace(honest, part_hashes=(others, others, *honest.part_hashes[2:]))
    made.right("another-ones-hashes", name, "VER-7", **case(stolen))
    truth = float64_bytes(honest.reports[1])
    s = float(honest.reports[1, 0, 3])
    lie = forged(honest, {(1, 0, 3): math.nextafter(s, math.inf)})
    made.right("wrong-report", name, "VER-7 VER-11", **case(forged(honest, {(1, 1, 0): 9.0})))
    made.trap("an-ulp", name, "VER-7", "tolerant", None, **case(lie))
    last = list(honest.part_hashes[1])
    last[3] = bytes([last[3][0] ^ 1]) + last[3][1:]
    broken = replace(honest, part_hashes=(others, tuple(last), *honest.part_hashes[2:]))
    both = forged(broken, {(1, 0, 3): 9.0})
    wrong = found(Fault.WRONG_REPORT, truth)
    made.trap("last-hash", name, "VER-7", "half-compared", None, **case(broken))
    made.trap("hash-and-report", name, "VER-7", "report-first", wrong, **case(both))
    made.trap("no-correction-of-a-hash", name, "VER-7", "correction-form", found(Fault.WRONG_HASH, truth), **case(both))
    columns = found(Fault.WRONG_REPORT, float64_bytes(honest.reports[1].T))
    made.trap("correction-by-part", name, "VER-11 VER-1", "correction-form", columns, **case(lie))
    said = found(Fault.WRONG_REPORT, float64_bytes(lie.reports[1]))
    made.trap("correction-is-the-truth", name, "VER-11", "correction-form", said, **case(lie))
    bare_hashes = tuple(tagged_hash("btard/chunk", float32_bytes(raw[bound])) for bound in honest.bounds)
    other = replace(honest, part_hashes=(others, bare_hashes, *honest.part_hashes[2:]))
    made.trap("another-tag", name, "VER-7 MSG-6", "other-hash", None, **case(other))
    add_admissible(made)


def add_admissible(made: Chapter) -> None:
    """VER-7: what a recomputation gives is made admissible first."""
    name = "verification.examine_worker"
    transcript, gradients = attempt_of(4, 11)
    aggregate = np.zeros(11, np.float32)
    raw = gradients[2].copy()
    raw[5], raw[6] = math.nan, math.inf
    for label, level, given in (("nan", 8.0, raw), ("too-long", 0.25, gradients[2] * np.float32(3))):
        committed = np.stack([admissible_gradient(g, level) for g in (*gradients[:2], given, gradients[3])])
        past = judged(replace(transcript, gradient_clip=level), committed, aggregate)
        plain = plain_transcript(past, ("aggregate_hashes", "run", "seed_randomness", "tolerated"))
        worker = past.workers[2]
        mistaken = plain_finding(Finding(worker, Fault.WRONG_HASH))
        case = {"transcript": plain, "worker": worker.hex(), "raw": singles(given)}
        made.trap(label, name, "VER-7 ARITH-4", "raw", mistaken, **case)
    zeros = gradients.copy()
    zeros[2, 4] = 0.0
    past = judged(transcript, zeros, aggregate)
    negative = zeros[2].copy()
    negative[4] = -0.0
    plain = plain_transcript(past, ("aggregate_hashes", "run", "seed_randomness", "tolerated"))
    case = {"transcript": plain, "worker": past.workers[2].hex(), "raw": singles(negative)}
    made.trap("negative-zero-is-another-body", name, "VER-7", "tolerant", None, **case)


def add_profiles(made: Chapter) -> None:
    """VER-7 in the other profiles; VER-12."""
    name, members = "verification.examine_worker", (ids(7)[0::2], ids(7)[1::2])
    groups = Groups(members, 3, 3)
    coded, gradients = attempt_of(7, 23, math.inf, REDUNDANT_CODE, groups)
    past = judged(coded, gradients, drawn("mean", 23))
    signs, votes = attempt_of(3, 40, math.inf, MAJORITY_VOTE, checked=2)
    voted = judged(signs, votes, np.ones(40, np.float32))
    for label, transcript, raw in (("redundant-code", past, gradients[4]), ("majority-vote", voted, votes[1])):
        worker = transcript.workers[4 if label == "redundant-code" else 1]
        plain = plain_transcript(transcript, ("aggregate_hashes", "run", "seed_randomness", "tolerated"))
        case = {"transcript": plain, "worker": worker.hex(), "raw": singles(raw)}
        wrong_hash = plain_finding(Finding(worker, Fault.WRONG_HASH))
        made.trap(label, name, "VER-7 MSG-6", "other-hash", wrong_hash, **case)
    scaled = {**case, "raw": singles(votes[1] * np.float32(2))}
    wrong = plain_finding(Finding(worker, Fault.WRONG_HASH))
    made.trap("same-signs", name, "VER-7 SIGN-1", "other-hash", wrong, **scaled)
    counted = "verification.gradients_of_trial"
    dropped = ("part_hashes", "aggregate_hashes", "reports", "aggregate", "radii", "gradient_clip", "tolerated")
    made.trap("two-groups", counted, "VER-12 PROF-2", "every-worker", 7, transcript=plain_transcript(past, dropped))
    made.right("no-groups", counted, "VER-12", transcript=plain_transcript(voted, dropped))


# -- Trials ---------------------------------------------------------------------------------------


def add_candidates(made: Chapter) -> None:
    """VER-8, MEMB-6."""
    name, req = "verification.try_candidate", "VER-8 MEMB-6"
    transcript, gradients = attempt_of(4, 11)
    candidate, raw = ids(6)[5], gradients[0]
    dropped = ("radii", "randomness", "tolerated", "reports")

    def case(told: bytes, recomputed: Float32 = raw) -> dict[str, Any]:
        """The fields of an input."""
        past = replace(transcript, candidates=((candidate, told),))
        plain = plain_transcript(past, dropped)
        return {"transcript": plain, "candidate": candidate.hex(), "raw": singles(recomputed)}

    guilty = [plain_finding(Finding(candidate, Fault.WRONG_HASH))]
    made.right("honest", name, req, **case(body_hash(float32_bytes(raw))))
    made.right("lazy", name, req, **case(bytes(32)))
    long = raw * np.float32(100)
    shortened = body_hash(float32_bytes(admissible_gradient(long, 8.0)))
    made.trap("too-long", name, req + " ARITH-4", "raw", guilty, **case(shortened, long))
    made.trap("raw-hash", name, req + " ARITH-4", "raw", [], **case(body_hash(float32_bytes(long)), long))
    first = body_hash(float32_bytes(raw[transcript.bounds[0]]))
    made.trap("hash-of-a-part", name, req, "other-hash", [], **case(first))
    made.trap("tree-hash", name, req, "other-hash", [], **case(tagged_hash("btard/tree", float32_bytes(raw))))


def add_trials(made: Chapter) -> None:
    """VER-9."""
    name, req = "verification.try_aggregator", "VER-9"
    honest, gradients = honest_attempt()
    part, workers = 2, honest.workers
    accused = workers[part]
    truth = [float64_bytes(report) for report in honest.reports]

    def case(transcript: Transcript, ratio: float = 0.1) -> dict[str, Any]:
        """The fields of an input."""
        fields = {"accused": accused.hex(), "raws": rows(gradients), "residual_ratio": real(ratio)}
        return {"transcript": plain_transcript(transcript, ("aggregate_hashes", "tolerated")), **fields}

    def liar(worker: int, true: bytes) -> dict[str, Any]:
        """Whose report is wrong."""
        return plain_finding(Finding(workers[worker], Fault.WRONG_REPORT, true))

    def moved(where: int) -> Transcript:
        """The attempt with another aggregate of one part, reported truthfully."""
        aggregate = np.array(honest.aggregate)
        aggregate[honest.bounds[where]] += np.float32(0.5)
        return judged(honest, gradients, aggregate)

    guilty = plain_finding(Finding(accused, Fault.WRONG_AGGREGATE))
    shifted = moved(part)
    true_of = [float64_bytes(report) for report in shifted.reports]
    misreported = forged(honest, {(0, 0, 1): 9.0, (3, 1, 2): 9.0})
    covered = forged(shifted, {(0, 0, part): 9.0, (2, 0, 0): 9.0})
    made.right("all-honest", name, req, **case(honest))
    made.right("wrong-aggregate", name, req, **case(shifted))
    made.right("two-liars", name, req, **case(misreported))
    made.trap("stops-at-the-first", name, req, "stops-early", [liar(0, truth[0])], **case(misreported))
    shielded = [liar(0, true_of[0]), liar(2, true_of[2])]
    made.trap("liars-do-not-shield", name, req, "shielded", shielded, **case(covered))
    made.trap("workers-first", name, req, "stops-early", [guilty, *shielded], **case(covered))
    made.trap("another-part", name, req, "judged-anyway", [guilty], **case(moved(0)))
    hashes = (honest.part_hashes[0], honest.part_hashes[0], *honest.part_hashes[2:])
    false_hash = plain_finding(Finding(workers[1], Fault.WRONG_HASH))
    hidden = replace(shifted, part_hashes=hashes)
    made.trap("hash-shields", name, req, "judged-anyway", [false_hash, guilty], **case(hidden))
    mixed = forged(hidden, {(0, 0, 0): 9.0})
    made.trap("hash-and-report", name, req, "stops-early", [false_hash], **case(mixed))
    left = residual(gradients[:, honest.bounds[part]], np.array(honest.aggregate)[honest.bounds[part]], 1.0)
    made.trap("residual-at-the-limit", name, req + " CLIP-4", "strict-limit", [guilty], **case(honest, left))
    under = math.nextafter(left, 0.0)
    made.trap("residual-an-ulp-above", name, req + " CLIP-4", "rounded-limit", [], **case(honest, under))


def add_corrections(made: Chapter) -> None:
    """VER-11."""
    name, req = "verification.after_verdict", "VER-11"
    honest, gradients = honest_attempt()
    workers = honest.workers
    aggregate = np.array(honest.aggregate)
    aggregate[honest.bounds[2]] += np.float32(2)
    forgery = judged(replace(honest, radii=np.full(4, 0.05)), gradients, aggregate)
    true = forgery.reports
    sums = [float(folding_sum(true[:, 0, part])) for part in range(4)]
    cover = forged(forgery, {(1, 0, part): float(true[1, 0, part]) - sums[part] for part in range(4)})
    finding = plain_finding(Finding(workers[1], Fault.WRONG_REPORT, float64_bytes(true[1])))
    dropped = ("part_hashes", "aggregate_hashes", "aggregate", "run", "seed_randomness", "gradient_clip")

    def case(transcript: Transcript, subject: Subject, accused: int, *findings: dict[str, Any]) -> dict[str, Any]:
        """The fields of an input."""
        plain = plain_transcript(transcript, dropped)
        fields = {"subject": int(subject), "accused": workers[accused].hex(), "findings": list(findings)}
        return {"transcript": plain, **fields, "residual_ratio": real(0.1), "distance_ratio": real(1000.0)}

    honest_false = plain_finding(Finding(workers[0], Fault.WRONG_HASH))
    made.right("acquitted", name, req, **case(honest, Subject.WORKER, 0))
    made.right("settled", name, req, **case(honest, Subject.AGGREGATE, 3))
    uncovering = case(cover, Subject.WORKER, 1, finding)
    right = made.right("uncovered", name, req, **uncovering)
    made.trap("looks-again", name, req, "not-again", {**right, "parts": []}, **{**uncovering, "subject": 0})
    kept = {**right, "reports": plain_reports(cover.reports)}
    made.trap("truth-replaces-the-lie", name, req, "not-again", kept, **uncovering)
    tried = replace(cover, settled=frozenset([workers[2]]))
    told = compute_after_verdict(case(cover, Subject.WORKER, 1, finding))
    again = {**told, "settled": texts([workers[2]])}
    made.trap("not-tried-twice", name, req, "settled-again", again, **case(tried, Subject.WORKER, 1, finding))
    ongoing = case(cover, Subject.AGGREGATE, 2, finding)
    made.trap("its-own-trial-counts", name, req, "settled-again", again, **ongoing)
    hashed = case(forgery, Subject.WORKER, 0, honest_false)
    untouched = compute_after_verdict(hashed)
    reopened = {**untouched, "parts": failing_parts(forgery, limits(RATIOS | {"distance_ratio": real(1000.0)}))}
    made.trap("a-wrong-hash-reopens-nothing", name, req, "judged-anyway", reopened, **hashed)


def add_voices(made: Chapter) -> None:
    """VER-10."""
    name, req = "verification.possible_aggregate", "VER-10"
    good = float32_bytes([1.0, -0.0, 3e38])
    made.right("good", name, req, content=good.hex(), length=3)
    made.right("denormal", name, req, content=float32_bytes([1e-45]).hex(), length=1)
    for label, content in (
        ("nan", float32_bytes([1.0, math.nan, 0.0])),
        ("signalling-nan", bytes.fromhex("010080ff") + bytes(8)),
        ("infinite", float32_bytes([1.0, math.inf, 0.0])),
        ("minus-infinite", float32_bytes([-math.inf, 0.0, 0.0])),
        ("short", good[:8]),
        ("torn", good[:11]),
        ("long", good + bytes(4)),
        ("empty", b""),
        ("doubles", float64_bytes([1.0, 2.0, 3.0])),
    ):
        made.trap(label, name, req, "impossible-taken", True, content=content.hex(), length=3)
    add_convicted(made)


def add_convicted(made: Chapter) -> None:
    """VER-10: how many must say so."""
    name, req, peers = "verification.impossible_aggregates", "VER-10 BAN-3", ids(7)

    def case(tolerated: int, *said: tuple[Sequence[int], Sequence[int]]) -> dict[str, Any]:
        """The fields of an input: whom each peer accuses, and complains about."""
        reveals = [
            {"sender": peer.hex(), "accusations": texts(peers[k] for k in a), "complaints": texts(peers[k] for k in c)}
            for peer, (a, c) in zip(peers, said, strict=False)
        ]
        return {"tolerated": tolerated, "reveals": reveals}

    nothing: tuple[Sequence[int], Sequence[int]] = ((), ())
    made.right("nobody", name, req, **case(2, nothing, nothing, nothing))
    made.right("all", name, req, **case(2, *[((6,), ())] * 6))
    guilty = [peers[6].hex()]
    made.trap("b-voices", name, req, "voices", guilty, **case(2, ((6,), ()), ((6,), ()), nothing, nothing))
    made.trap("one-more", name, req, "voices", [], **case(2, ((6,), ()), ((6,), ()), ((6,), ()), nothing))
    made.trap("with-complaints", name, req, "voices", [], **case(2, ((6,), ()), ((), (6,)), ((), (6,))))
    made.trap("nobody-accuses", name, req, "voices", guilty, **case(2, *[((), (6,))] * 6))
    made.trap("no-voice-twice", name, req, "voices", guilty, **case(1, ((6,), (6,)), nothing, nothing))
    crossed = case(1, ((6, 5), ()), ((5,), (6,)), nothing)
    made.trap("two-of-them", name, req, "stops-early", texts([peers[6]]), **crossed)


def add_accusations(made: Chapter) -> None:
    """VER-6."""
    name, req, (a, b, c, d, e, f) = "verification.may_accuse", "VER-6 MEMB-6", ids(6)
    base: dict[str, Any] = {
        "step": 9, "attempt": 0, "workers": [[7, texts([a, b, c, e])], [8, texts([a, b, d])]],
        "targets": [texts([d, e])], "inspectors": [texts([f, b])],
    }  # fmt: skip

    def case(sender: PeerId, accused: PeerId, about: int, **fields: Any) -> dict[str, Any]:
        """The fields of an input."""
        return {**base, "sender": sender.hex(), "accused": accused.hex(), "about": about, **fields}

    made.right("aggregator", name, req, **case(a, b, 8))
    made.right("validator", name, req, **case(d, e, 7))
    made.right("inspector", name, req, **case(b, f, 7))
    for label, given in (
        ("later-attempt", case(a, b, 8, attempt=1)),
        ("validator-later", case(d, e, 7, attempt=2)),
        ("oneself", case(a, a, 8)),
        ("no-aggregator-then", case(c, a, 8)),
        ("no-worker-then", case(a, c, 8)),
        ("not-its-target", case(d, a, 7)),
        ("not-its-validator", case(a, e, 7)),
        ("target-about-another-step", case(d, e, 8)),
        ("this-step", case(a, b, 9)),
        ("too-old", case(a, b, 6)),
        ("inspector-about-another-step", case(b, f, 8)),
        ("not-its-inspector", case(a, f, 7)),
        ("target-that-was-no-worker", case(d, f, 7, targets=[texts([d, f])], inspectors=[])),
    ):
        made.trap(label, name, req, "may-accuse", True, **given)
    stood = case(d, b, 8, targets=[texts([d, b])])
    made.trap("validator-as-aggregator", name, req, "may-not-accuse", False, **stood)
