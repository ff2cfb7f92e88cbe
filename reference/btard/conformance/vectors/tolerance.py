"""Vectors of chapter ``tolerance``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from btard.conformance.vectors.built import drawn
from btard.conformance.vectors.butterfly_clip import added, matrix
from btard.conformance.vectors.cases import Chapter, operation
from btard.conformance.vectors.forms import octets, read_real, read_singles, real, rows, singles, texts
from btard.conformance.vectors.transcripts import (
    attempt_of,
    honest_attempt,
    ids,
    judged,
    plain_finding,
    plain_transcript,
    read_transcript,
)
from btard.protocol.arithmetic import Float32, float32_bytes, float64_bytes, norm
from btard.protocol.bans import Fault
from btard.protocol.butterfly_clip import residual
from btard.protocol.log import Finding, Subject, Trial
from btard.protocol.messages import Statement, Vote
from btard.protocol.model import Configuration, PeerId
from btard.protocol.tolerance import committed_gradient, examine, examine_aggregate, near, verdict_of, well_founded
from btard.protocol.verification import Transcript

FLAGS = {
    "margins": "takes a configuration whose margins let honest judges of two classes disagree, or refuses a good one",
    "other-scale": "measures the error by another length: of the committed gradient, without the floor, or absolutely",
    "strict-limit": "finds what is exactly at the limit too far",
    "rounded-limit": "takes what is above the limit by less than a rounding error",
    "not-a-number": "finds only what is greater than the limit too far, and so takes what is not a number",
    "narrow": "computes differences in float32",
    "not-the-committed": "takes a gradient whose parts have other hashes than those announced",
    "impossible-taken": "takes a gradient of which a part is impossible",
    "report-first": "looks at the report although the gradient is wrong, or with the recomputed gradient",
    "tolerant": "compares reports with a tolerance, though they are exact",
    "correction": "writes another correction than the true report, or takes one that too few give",
    "counts-anyway": "counts an impossible part as it is instead of as zeros",
    "malformed-vote": "takes a vote that no honest judge casts",
    "sound-vote": "refuses a vote that an honest judge can cast",
    "voices": "asks for another number of votes than more than half, or than b_t",
    "other-fault": "names another fault than the one most stated",
    "mixed-up": "counts votes about another step, peer or fault",
}


@operation(
    "tolerance.configuration",
    "`tolerance` η; `margin` μ, 0 if not given: reals",
    "real: the margin of the configuration; refused unless TOL-1 holds",
)
def compute_configuration(given: dict[str, Any]) -> str:
    """TOL-1."""
    config = Configuration(
        peers=4, tolerated=0, dimension=4, steps=1, gradient_clip=1.0, radius_initial=1.0, radius_min=1.0,
        radius_max=1.0, tolerance=read_real(given["tolerance"]), margin=read_real(given["margin"]),
    )  # fmt: skip
    return real(config.margin)


@operation(
    "tolerance.near",
    "`committed` x, `own` g: float32 vectors; `bound` β, `floor` τ_min: reals",
    "whether x is within β of g",
)
def compute_near(given: dict[str, Any]) -> bool:
    """TOL-2."""
    committed, own = read_singles(given["committed"]), read_singles(given["own"])
    return near(committed, own, read_real(given["bound"]), read_real(given["floor"]))


@operation(
    "tolerance.committed_gradient",
    "`transcript` as for `verification.report`; `worker`: its id; `body`: bytes that it disclosed",
    "whether that is the gradient which it committed",
)
def compute_committed_gradient(given: dict[str, Any]) -> bool:
    """TOL-3."""
    worker, body = octets([given["worker"], given["body"]])
    return committed_gradient(read_transcript(given["transcript"]), worker, body) is not None


@operation(
    "tolerance.examine",
    "`transcript`; `worker`: its id; `committed`: float32 vector that it disclosed; `own`: float32 vector, the judge's "
    "recomputation; `bound`: real, η + 2μ for an accuser, η + μ for a judge; `floor`: real τ_min",
    "null, or the finding `{peer, fault, correction}`",
)
def compute_examine(given: dict[str, Any]) -> dict[str, Any] | None:
    """TOL-4, TOL-8."""
    transcript, worker = read_transcript(given["transcript"]), bytes.fromhex(given["worker"])
    committed, own = read_singles(given["committed"]), read_singles(given["own"])
    finding = examine(transcript, worker, committed, own, read_real(given["bound"]), read_real(given["floor"]))
    return plain_finding(finding) if finding else None


@operation(
    "tolerance.examine_aggregate",
    "`transcript`; `accused`: id of an aggregator; `committed`: matrix of float32, what each worker disclosed; "
    "`residual_ratio`: real φ",
    "null, or the finding `{peer, fault, correction}`",
)
def compute_examine_aggregate(given: dict[str, Any]) -> dict[str, Any] | None:
    """TOL-8."""
    transcript, accused = read_transcript(given["transcript"]), bytes.fromhex(given["accused"])
    ratio = read_real(given["residual_ratio"])
    finding = examine_aggregate(transcript, accused, list(matrix(given["committed"])), ratio)
    return plain_finding(finding) if finding else None


def read_trial(plain: dict[str, Any]) -> Trial:
    """A trial."""
    return Trial(plain["step"], bytes.fromhex(plain["accused"]), Subject(plain["subject"]))


def read_vote(plain: list[list[Any]]) -> Vote:
    """The statements of a vote."""
    listed = [Statement(step, bytes.fromhex(p), fault, bytes.fromhex(said)) for step, p, fault, said in plain]
    return Vote(tuple(listed))


def attempts(plain: list[list[Any]]) -> dict[int, Transcript]:
    """Transcripts by step, of which only the workers matter."""
    bare, _ = attempt_of(1, 1)
    return {step: replace(bare, step=step, workers=octets(workers)) for step, workers in plain}


@operation(
    "tolerance.well_founded",
    "`vote`: list of statements `[step, id, fault, correction]`; `sender`: its id; `trials`: list of `{step, accused, "
    "subject}` (subject 0: a worker, 1: an aggregate); `workers`: list of `[step, ids]`, those of the attempts that "
    "the trials are about; `court`: ids",
    "whether the vote is one that TOL-9 allows (its order apart)",
)
def compute_well_founded(given: dict[str, Any]) -> bool:
    """TOL-9."""
    trials = [read_trial(plain) for plain in given["trials"]]
    sender, court = bytes.fromhex(given["sender"]), octets(given["court"])
    return well_founded(read_vote(given["vote"]), sender, trials, attempts(given["workers"]), court)


@operation(
    "tolerance.verdict",
    "`trial`: `{step, accused, subject}`; `workers`: list of `[step, ids]`; `votes`: list of votes, each a list of "
    "statements as above; `voters`: how many peers the court has; `tolerated`: its b_t",
    "list of findings `{peer, fault, correction}`, in order",
)
def compute_verdict(given: dict[str, Any]) -> list[dict[str, Any]]:
    """TOL-10, TOL-11."""
    votes = [read_vote(vote) for vote in given["votes"]]
    trial, past = read_trial(given["trial"]), attempts(given["workers"])
    verdict = verdict_of(trial, past, votes, given["voters"], given["tolerated"])
    return [plain_finding(finding) for finding in verdict.findings]


def chapter() -> Chapter:
    """All vectors of the chapter."""
    made = Chapter("tolerance", FLAGS)
    for add in (add_margins, add_near, add_disclosed, add_examined, add_aggregates, add_votes, add_verdicts):
        add(made)
    return made


def add_margins(made: Chapter) -> None:
    """TOL-1."""
    name, req = "tolerance.configuration", "TOL-1"

    def case(eta: float, mu: float) -> dict[str, str]:
        """The fields of an input."""
        return {"tolerance": real(eta), "margin": real(mu)}

    for label, eta, mu in (("exact-mode", 0.0, 0.0), ("usual", 1e-5, 0.0), ("given", 1e-5, 1.1e-5), ("wide", 0.1, 0.4)):
        made.right(label, name, req, **case(eta, mu))
    made.trap("twice-eta", name, req, "margins", real(0.0), **case(1e-5, 0.0))
    for label, eta, mu in (
        ("margin-in-exact-mode", 0.0, 1e-5),
        ("smaller-than-eta", 1e-5, 0.9e-5),
        ("eta-itself", 0.1, 0.1),
        ("without-room-for-rounding", 0.1, 0.1 * 1.1 / 0.9),
        ("too-wide", 0.1, 0.45),
        ("a-fifth", 0.2, 0.0),
        ("nan", math.nan, 1e-5),
        ("margin-nan", 1e-5, math.nan),
        ("negative", -1e-5, 0.0),
    ):
        made.refused(label, name, req, "margins", **case(eta, mu))


def add_near(made: Chapter) -> None:
    """TOL-2."""
    name, req = "tolerance.near", "TOL-2"
    own = drawn("recomputed", 21)
    scale = float(norm(own))

    def case(committed: Float32, mine: Float32, bound: float, floor: float = 0.5) -> dict[str, str]:
        """The fields of an input."""
        return {"committed": singles(committed), "own": singles(mine), "bound": real(bound), "floor": real(floor)}

    close = own + drawn("difference", 21) * np.float32(1e-4)
    error = float(norm(np.subtract(close, own, dtype=np.float64)))
    made.right("equal", name, req, **case(own, own, 1e-9))
    made.right("close", name, req, **case(close, own, 1e-2))
    made.right("far", name, req, **case(close * np.float32(2), own, 1e-2))
    made.right("nothing", name, req, **case(np.zeros(3, np.float32), np.zeros(3, np.float32), 1e-5))
    exact = np.array([3.0, 4.0], np.float32), np.array([0.0, 0.0], np.float32)
    made.trap("at-the-limit", name, req, "strict-limit", False, **case(*exact, 0.5, 10.0))
    made.trap("an-ulp-above", name, req, "rounded-limit", True, **case(*exact, math.nextafter(0.5, 0.0), 10.0))
    made.trap("floor", name, req, "other-scale", False, **case(*exact, 0.6, 10.0))
    made.trap("floor-is-no-sum", name, req, "other-scale", True, **case(close, own, 0.9 * error / scale, scale / 2))
    made.trap("own-length", name, req, "other-scale", True, **case(own * np.float32(3), own, 1.0, 0.1))
    made.trap("not-absolute", name, req, "other-scale", True, **case(own * np.float32(1e-3), own * 0, 0.9e-3 * scale))
    between = singles_apart(own)
    made.trap("in-float64", name, req, "narrow", between[1], **case(between[0], own, *between[2:]))
    for label, entry in (("nan", math.nan), ("infinite", math.inf)):
        broken = own.copy()
        broken[4] = entry
        made.trap(label, name, req, "not-a-number", True, **case(broken, own, 1e300))


def singles_apart(own: Float32) -> tuple[Float32, bool, float, float]:
    """A committed gradient, the answer of float32 differences, and a bound and a floor between the two errors."""
    committed = own * np.float32(777.7)
    wide = float(norm(np.subtract(committed, own, dtype=np.float64)))
    narrow = float(norm(np.subtract(committed, own).astype(np.float64)))
    low = min(wide, narrow)
    return committed, narrow <= wide, low / 2.0**20, 2.0**20


def add_disclosed(made: Chapter) -> None:
    """TOL-3."""
    name, req = "tolerance.committed_gradient", "TOL-3"
    honest, gradients = honest_attempt()
    dropped = ("run", "step", "tolerated", "gradient_clip", "seed_randomness", "randomness", "radii", "reports")
    plain = plain_transcript(honest, (*dropped, "aggregate"))

    def case(body: bytes) -> dict[str, Any]:
        """The fields of an input."""
        return {"transcript": plain, "worker": honest.workers[2].hex(), "body": body.hex()}

    body = float32_bytes(gradients[2])
    made.right("committed", name, req, **case(body))
    for label, other in (
        ("another-ones", float32_bytes(gradients[1])),
        ("last-bit", body[:-4] + bytes([body[-4] ^ 1]) + body[-3:]),
        ("first-bit", bytes([body[0] ^ 1]) + body[1:]),
        ("short", body[:-4]),
        ("long", body + bytes(4)),
        ("torn", body[:-1]),
        ("nothing", b""),
        ("one-part", body[:8]),
    ):
        made.trap(label, name, req, "not-the-committed", True, **case(other))


def add_examined(made: Chapter) -> None:
    """TOL-4, TOL-8."""
    name, req = "tolerance.examine", "TOL-8 TOL-4"
    honest, gradients = honest_attempt()
    worker, committed = honest.workers[2], gradients[2]
    own = (committed * np.float32(1 + 2.0**-15)).astype(np.float32)
    dropped = ("run", "step", "tolerated", "seed_randomness", "part_hashes", "aggregate_hashes")

    def case(past: Transcript, told: Float32, mine: Float32 = own, bound: float = 1e-4) -> dict[str, Any]:
        """The fields of an input."""
        plain = plain_transcript(past, dropped)
        fields = {"worker": worker.hex(), "committed": singles(told), "own": singles(mine)}
        return {"transcript": plain, **fields, "bound": real(bound), "floor": real(1e-3)}

    truth = float64_bytes(honest.reports[2])
    wrong_report = plain_finding(Finding(worker, Fault.WRONG_REPORT, truth))
    lied = honest.reports.copy()
    lied[2, 0, 1] = math.nextafter(lied[2, 0, 1], math.inf)
    lie = replace(honest, reports=lied)
    made.right("honest", name, req, **case(honest, committed))
    made.right("same-class", name, req, **case(honest, committed, committed))
    made.right("too-far", name, req, **case(honest, committed, own, 1e-6))
    made.trap("reports-are-exact", name, req, "tolerant", None, **case(lie, committed))
    mine = judged(honest, np.stack([*gradients[:2], own, gradients[3]]), np.array(honest.aggregate))
    own_truth = plain_finding(Finding(worker, Fault.WRONG_REPORT, float64_bytes(mine.reports[2])))
    made.trap("report-about-the-committed", name, req, "report-first", own_truth, **case(honest, committed))
    made.trap("correction-of-the-committed", name, req, "correction", own_truth, **case(lie, committed))
    made.trap("gradient-first", name, req, "report-first", wrong_report, **case(lie, committed, own, 1e-6))
    lazy = plain_finding(Finding(worker, Fault.WRONG_GRADIENT, truth))
    made.trap("no-correction-of-a-gradient", name, req, "correction", lazy, **case(lie, committed, own, 1e-6))
    for label, entry in (("nan", math.nan), ("infinite", -math.inf)):
        broken = committed.copy()
        broken[5] = entry
        made.trap(label, name, req, "not-a-number", None, **case(honest, broken))
    tight = replace(honest, gradient_clip=0.5)
    made.trap("longer-than-allowed", name, req + " STEP-5", "impossible-taken", None, **case(tight, committed))
    made.trap("impossible-whatever-is-own", name, req, "impossible-taken", None, **case(tight, committed, committed))


def add_aggregates(made: Chapter) -> None:
    """TOL-8: an aggregator, judged by what the workers disclosed."""
    name, req = "tolerance.examine_aggregate", "TOL-8 CLIP-4"
    honest, gradients = honest_attempt()
    accused, bound = honest.workers[1], honest.bounds[1]
    dropped = ("run", "step", "tolerated", "seed_randomness", "part_hashes", "aggregate_hashes", "reports")

    def case(past: Transcript, committed: Float32 = gradients, ratio: float = 0.1) -> dict[str, Any]:
        """The fields of an input."""
        fields = {"accused": accused.hex(), "committed": rows(committed), "residual_ratio": real(ratio)}
        return {"transcript": plain_transcript(past, (*dropped, "randomness")), **fields}

    guilty = plain_finding(Finding(accused, Fault.WRONG_AGGREGATE))
    moved = np.array(honest.aggregate)
    moved[bound] += np.float32(0.25)
    elsewhere = np.array(honest.aggregate)
    elsewhere[honest.bounds[2]] += np.float32(0.25)
    made.right("honest", name, req, **case(honest))
    made.right("forged", name, req, **case(replace(honest, aggregate=moved)))
    made.trap("another-part", name, req, "mixed-up", guilty, **case(replace(honest, aggregate=elsewhere)))
    left = residual(gradients[:, bound], np.array(honest.aggregate)[bound], 1.0)
    made.trap("at-the-limit", name, req, "strict-limit", guilty, **case(honest, ratio=left))
    made.trap("an-ulp-above", name, req, "rounded-limit", None, **case(honest, ratio=math.nextafter(left, 0.0)))
    long = gradients.copy()
    long[3, bound] = 100.0
    zeros = gradients.copy()
    zeros[3] = 0.0
    made.trap("impossible-is-zeros", name, req + " STEP-5", "counts-anyway", None, **case(by_zeros(honest, long), long))
    fitting = fitted(honest, zeros)
    made.trap("zeros-are-right", name, req + " STEP-5", "counts-anyway", guilty, **case(fitting, long))


def by_zeros(honest: Transcript, committed: Float32) -> Transcript:
    """With an aggregate that is right if impossible parts count as they are."""
    return replace(honest, aggregate=rounded_mean(committed), radii=np.full(4, 200.0))


def fitted(honest: Transcript, zeros: Float32) -> Transcript:
    """With an aggregate that is right if impossible parts count as zeros."""
    return replace(honest, aggregate=rounded_mean(zeros), radii=np.full(4, 1.5))


def rounded_mean(vectors: Float32) -> Float32:
    """The mean of all rows."""
    return np.array([added(column) / len(vectors) for column in vectors.T.tolist()], dtype=np.float32)


# -- Votes ----------------------------------------------------------------------------------------

REPORT, GRADIENT = int(Fault.WRONG_REPORT), int(Fault.WRONG_GRADIENT)
HIDDEN, AGGREGATE = int(Fault.UNDISCLOSED), int(Fault.WRONG_AGGREGATE)


def statement(peer: PeerId, fault: int, correction: bytes = b"", step: int = 7) -> list[Any]:
    """As it stands in a vote."""
    return [step, peer.hex(), fault, correction.hex()]


def trial_of(peer: PeerId, subject: Subject, step: int = 7) -> dict[str, Any]:
    """As it stands in an input."""
    return {"step": step, "accused": peer.hex(), "subject": int(subject)}


def add_votes(made: Chapter) -> None:
    """TOL-9."""
    name, req = "tolerance.well_founded", "TOL-9"
    a, b, c, d, e = ids(5)
    worker, aggregator = trial_of(a, Subject.WORKER), trial_of(b, Subject.AGGREGATE, 8)
    truth = float64_bytes([1.0] * 6)

    def case(*said: list[Any], trials: Sequence[dict[str, Any]] = (worker, aggregator)) -> dict[str, Any]:
        """The fields of an input: e votes; three workers at each step; d is not in the court."""
        past = [[7, texts([a, b, c])], [8, texts([b, d, e])]]
        fields = {"sender": e.hex(), "trials": list(trials), "workers": past, "court": texts([a, b, c, e])}
        return {"vote": list(said), **fields}

    for label, said in (
        ("nobody", []),
        ("gradient", [statement(a, GRADIENT)]),
        ("report", [statement(a, REPORT, truth)]),
        ("report-without-room", [statement(a, REPORT)]),
        ("undisclosed", [statement(a, HIDDEN)]),
        ("worker-of-the-accused", [statement(d, GRADIENT, step=8)]),
        ("both-of-an-aggregator", [statement(b, GRADIENT, step=8), statement(b, AGGREGATE, step=8)]),
        ("oneself", [statement(e, GRADIENT, step=8)]),
    ):
        made.right(label, name, req, **case(*said))
    for label, said in (
        ("no-suspect", [statement(b, GRADIENT)]),
        ("other-step", [statement(a, GRADIENT, step=8)]),
        ("aggregate-without-trial", [statement(a, AGGREGATE)]),
        ("aggregate-of-a-worker", [statement(d, AGGREGATE, step=8)]),
        ("another-fault", [statement(a, int(Fault.WRONG_HASH))]),
        ("unknown-fault", [statement(a, 99)]),
        ("two-faults", [statement(a, REPORT, truth), statement(a, GRADIENT)]),
        ("hidden-and-wrong", [statement(a, GRADIENT), statement(a, HIDDEN)]),
        ("undisclosed-by-oneself", [statement(e, HIDDEN, step=8)]),
        ("undisclosed-outside-the-court", [statement(d, HIDDEN, step=8)]),
        ("correction-too-short", [statement(a, REPORT, truth[8:])]),
        ("correction-too-long", [statement(a, REPORT, truth + bytes(8))]),
        ("correction-nan", [statement(a, REPORT, float64_bytes([math.nan] + [0.0] * 5))]),
        ("correction-infinite", [statement(a, REPORT, float64_bytes([0.0] * 5 + [math.inf]))]),
        ("correction-of-a-gradient", [statement(a, GRADIENT, truth)]),
        ("correction-of-an-aggregate", [statement(b, AGGREGATE, truth, 8)]),
    ):
        made.trap(label, name, req, "malformed-vote", True, **case(*said))
    made.trap("no-trial", name, req, "malformed-vote", True, **case(statement(a, GRADIENT), trials=[]))
    free = [statement(d, REPORT, truth, 8), statement(e, REPORT, b"", 8)]
    made.trap("outside-the-court", name, req, "sound-vote", False, **case(*free))


def add_verdicts(made: Chapter) -> None:
    """TOL-10, TOL-11."""
    name = "tolerance.verdict"
    a, b, c = ids(3)
    truth, other = float64_bytes([1.0] * 6), float64_bytes([2.0] * 6)

    def case(
        *votes: list[list[Any]], subject: Subject = Subject.WORKER, voters: int = 7, tolerated: int = 2
    ) -> dict[str, Any]:
        """The fields of an input: a trial of a."""
        fields = {"trial": trial_of(a, subject), "workers": [[7, texts([a, b, c])]], "votes": list(votes)}
        return {**fields, "voters": voters, "tolerated": tolerated}

    def found(fault: Fault, correction: bytes = b"", peer: PeerId = a) -> list[dict[str, Any]]:
        """One finding."""
        return [plain_finding(Finding(peer, fault, correction))]

    bad, hidden = [statement(a, GRADIENT)], [statement(a, HIDDEN)]
    lied, lied_otherwise, silent = [statement(a, REPORT, truth)], [statement(a, REPORT, other)], list[list[Any]]()
    made.right("acquitted", name, "TOL-10", **case(silent, silent, silent, silent))
    made.right("unanimous", name, "TOL-10", **case(bad, bad, bad, bad, bad))
    made.right("report", name, "TOL-10 TOL-11", **case(lied, lied, lied, lied, silent))
    guilty = found(Fault.WRONG_GRADIENT)
    made.trap("three-of-seven", name, "TOL-10", "voices", guilty, **case(bad, bad, bad, silent))
    made.trap("four-of-seven", name, "TOL-10", "voices", [], **case(bad, bad, bad, bad))
    made.trap("half-of-eight", name, "TOL-10", "voices", guilty, **case(bad, bad, bad, bad, voters=8))
    made.trap("not-of-votes-cast", name, "TOL-10", "voices", guilty, **case(bad, bad, silent))
    made.trap("any-of-three-faults", name, "TOL-10", "voices", [], **case(bad, bad, lied, hidden))
    made.trap("two-hidden", name, "TOL-10", "voices", found(Fault.UNDISCLOSED), **case(hidden, hidden, silent))
    made.trap("three-hidden", name, "TOL-10", "voices", [], **case(hidden, hidden, hidden, silent))
    made.trap("bad-does-not-hide", name, "TOL-10", "voices", found(Fault.UNDISCLOSED), **case(bad, hidden, hidden))
    mixed = case(bad, bad, lied, lied)
    made.trap("lowest-code", name, "TOL-11", "other-fault", guilty, **mixed)
    most = case(lied, bad, bad, hidden, hidden, hidden)
    made.trap("most-stated", name, "TOL-11", "other-fault", found(Fault.WRONG_REPORT, truth), **most)
    made.trap("not-the-first", name, "TOL-11", "other-fault", guilty, **most)
    few = case(lied, lied, lied_otherwise, lied_otherwise)
    made.trap("too-few-for-a-correction", name, "TOL-11", "correction", found(Fault.WRONG_REPORT, truth), **few)
    backed = case(lied_otherwise, lied_otherwise, lied, lied, lied)
    made.trap("backed-correction", name, "TOL-11", "correction", found(Fault.WRONG_REPORT, other), **backed)
    empty = case([statement(a, REPORT)], lied, lied, lied)
    made.trap("some-had-no-room", name, "TOL-11", "correction", found(Fault.WRONG_REPORT), **empty)
    about = [statement(b, GRADIENT)]
    made.trap("another-peer", name, "TOL-10", "mixed-up", guilty, **case(bad, bad, about, about))
    past = [statement(a, GRADIENT, step=8)]
    made.trap("another-step", name, "TOL-10", "mixed-up", guilty, **case(bad, bad, past, past))
    add_aggregate_verdicts(made)


def add_aggregate_verdicts(made: Chapter) -> None:
    """TOL-10: an aggregator, whose workers are suspects too."""
    name = "tolerance.verdict"
    a, b, c = ids(3)
    base: dict[str, Any] = {
        "trial": trial_of(b, Subject.AGGREGATE), "workers": [[7, texts([a, b, c])]], "voters": 5, "tolerated": 1,
    }  # fmt: skip
    forged, late = statement(b, AGGREGATE), statement(b, AGGREGATE, step=8)
    cheat, liar = statement(c, GRADIENT), statement(a, GRADIENT)
    guilty = plain_finding(Finding(b, Fault.WRONG_AGGREGATE))
    others = [plain_finding(Finding(peer, Fault.WRONG_GRADIENT)) for peer in (a, c)]
    made.right("forger", name, "TOL-10", **base, votes=[[forged]] * 3)
    made.right("worker-only", name, "TOL-10", **base, votes=[[cheat]] * 4)
    every = {**base, "votes": [[liar, forged, cheat]] * 3}
    made.trap("workers-first", name, "TOL-10", "mixed-up", [guilty, *others], **every)
    made.trap("judged-although-workers-lied", name, "TOL-10", "mixed-up", others, **every)
    made.trap("two-of-five", name, "TOL-10", "voices", [guilty], **base, votes=[[forged]] * 2 + [[]] * 3)
    made.trap("other-step", name, "TOL-10", "mixed-up", [guilty], **base, votes=[[forged], [forged], [late]])
    apart = [[forged], [forged], [statement(b, GRADIENT)], [statement(b, GRADIENT)]]
    made.trap("two-kinds-of-fault", name, "TOL-10", "mixed-up", [guilty], **base, votes=apart)
