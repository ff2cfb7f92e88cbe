"""Tolerance mode: audits and trials between determinism classes (chapter ``tolerance``)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from itertools import groupby

import numpy as np

from btard.protocol.arithmetic import Float32, float32_bytes, float32_vector, float64_bytes, float64_vector, norm
from btard.protocol.bans import Fault
from btard.protocol.butterfly_clip import residual
from btard.protocol.log import Finding, Subject, Trial, Verdict
from btard.protocol.messages import MAX_CORRECTIONS, Statement, Vote, body_hash
from btard.protocol.model import Configuration, PeerId
from btard.protocol.verification import Transcript, possible_parts, report_of

WORKER_FAULTS = (Fault.MISSED, Fault.WRONG_GRADIENT, Fault.WRONG_REPORT)
"""What a worker may be found guilty of: it disclosed nothing, or what it committed or reported is wrong."""

Suspect = tuple[int, PeerId]
"""A step, and a worker of it."""


# -- Relative error -----------------------------------------------------------------------------


def accusation_bound(config: Configuration) -> float:
    """η + 2μ, above which a validator accuses. Source: TOL-4."""
    return config.tolerance + 2.0 * config.margin


def conviction_bound(config: Configuration) -> float:
    """η + μ, above which a judge votes guilty. Source: TOL-8."""
    return config.tolerance + config.margin


def near(committed: Float32, own: Float32, bound: float, floor: float) -> bool:
    """Whether ‖committed − own‖ ≤ bound·max(‖own‖, floor), in canonical arithmetic; float32 ``[d]`` each.

    False for anything that is not a number. Source: TOL-2.
    """
    with np.errstate(all="ignore"):  # what was committed may be anything
        error = float(norm(np.subtract(committed, own, dtype=np.float64)))
    return error <= bound * max(float(norm(own)), floor)  # requirement: TOL-2


# -- Disclosed gradients ------------------------------------------------------------------------


def committed_gradient(transcript: Transcript, worker: PeerId, body: bytes) -> Float32 | None:
    """``body`` as float32 ``[d]`` if it is what ``worker`` committed, part for part; else None. Source: TOL-3."""
    if len(body) != 4 * transcript.dimension:
        return None
    announced = transcript.part_hashes[transcript.workers.index(worker)]
    hashes = tuple(body_hash(body[4 * bound.start : 4 * bound.stop]) for bound in transcript.bounds)
    return float32_vector(body) if hashes == announced else None  # requirement: TOL-3


def possible(transcript: Transcript, committed: Float32) -> bool:
    """Whether some gradient has the parts of ``committed``: finite, norms at most λ (as in STEP-5)."""
    level = transcript.gradient_clip
    parts = (committed[bound] for bound in transcript.bounds)
    return all(bool(possible_parts([float32_bytes(part)], len(part), level)[1].all()) for part in parts)


def examine(
    transcript: Transcript, worker: PeerId, committed: Float32, own: Float32, bound: float, floor: float
) -> Finding | None:
    """What is wrong with a disclosed gradient, float32 ``[d]``, given my own recomputation of it.

    The report is an exact function of what was committed, so it is compared for equality. Source: TOL-4, TOL-8.
    """
    if not possible(transcript, committed) or not near(committed, own, bound, floor):
        return Finding(worker, Fault.WRONG_GRADIENT)
    truth = report_of(transcript, committed)
    if not np.array_equal(truth, transcript.reports[transcript.workers.index(worker)]):
        return Finding(worker, Fault.WRONG_REPORT, float64_bytes(truth))
    return None  # requirement: TOL-8


def examine_aggregate(
    transcript: Transcript, accused: PeerId, committed: Sequence[Float32], residual_ratio: float
) -> Finding | None:
    """Whether the part of ``accused`` is none of its inputs' aggregates; ``committed``: by worker, float32 ``[d]``.

    The inputs are known exactly, whoever may have lied about its gradient. Source: TOL-8.
    """
    if transcript.aggregate is None:
        raise ValueError("an observer has no aggregate to judge")
    part = transcript.workers.index(accused)
    bound, radius = transcript.bounds[part], float(transcript.radii[part])
    contents = [float32_bytes(gradient[bound]) for gradient in committed]
    inputs, _ = possible_parts(contents, bound.stop - bound.start, transcript.gradient_clip)
    if residual(inputs, transcript.aggregate[bound], radius) <= residual_ratio * radius:
        return None
    return Finding(accused, Fault.WRONG_AGGREGATE)


# -- Votes --------------------------------------------------------------------------------------


def suspects(docket: Sequence[Trial], transcripts: Mapping[int, Transcript]) -> list[Suspect]:
    """Whose gradients the trials of ``docket`` look at, in ascending order: the accused workers, and of an
    accused aggregator's step all workers."""
    found: set[Suspect] = set()
    for trial in docket:
        workers = (trial.accused,) if trial.subject is Subject.WORKER else transcripts[trial.step].workers
        found.update((trial.step, worker) for worker in workers)
    return sorted(found)


def vote_of(findings: Sequence[tuple[int, Finding]]) -> Vote:
    """My vote: the findings, with their steps, in order; corrections as far as they fit. Source: TOL-9."""
    statements, room = [], MAX_CORRECTIONS
    for step, finding in sorted(findings, key=lambda entry: (entry[0], entry[1].peer, entry[1].fault)):
        correction = finding.correction if len(finding.correction) <= room else b""
        room -= len(correction)
        statements.append(Statement(step, finding.peer, int(finding.fault), correction))
    return Vote(tuple(statements))


def well_founded(
    vote: Vote,
    sender: PeerId,
    docket: Sequence[Trial],
    transcripts: Mapping[int, Transcript],
    present: Collection[PeerId],
) -> bool:
    """Whether an honest judge could have cast ``vote``: it is about the docket, names one fault per worker,
    misses nothing from those who owe nothing, and corrects with numbers of the right count. Source: TOL-9."""
    judged = set(suspects(docket, transcripts))
    aggregators = {(trial.step, trial.accused) for trial in docket if trial.subject is Subject.AGGREGATE}
    about_workers = [statement[:2] for statement in vote.statements if statement.fault in WORKER_FAULTS]
    if len(set(about_workers)) < len(about_workers):
        return False
    for step, peer, fault, correction in vote.statements:
        if (step, peer) not in (aggregators if fault == Fault.WRONG_AGGREGATE else judged):
            return False
        if fault not in (*WORKER_FAULTS, Fault.WRONG_AGGREGATE):
            return False
        if fault == Fault.MISSED and (peer not in present or peer == sender):
            return False
        expected = 16 * len(transcripts[step].workers) if fault == Fault.WRONG_REPORT else 0
        if len(correction) not in (0, expected) or not np.isfinite(float64_vector(correction)).all():
            return False
    return True  # requirement: TOL-9


def verdict_of(
    trial: Trial, transcripts: Mapping[int, Transcript], votes: Collection[Vote], voters: int, tolerated: int
) -> Verdict:
    """The verdict that follows from the agreed ``votes`` of a roster of ``voters``. Source: TOL-10."""
    findings = []
    for suspect in suspects([trial], transcripts):
        said = [s for vote in votes for s in vote.statements if s[:2] == suspect and s.fault in WORKER_FAULTS]
        if 2 * len(said) > voters:  # requirement: TOL-10
            findings.append(majority_finding(suspect[1], said, tolerated))
    if trial.subject is Subject.AGGREGATE:
        guilty = Statement(trial.step, trial.accused, int(Fault.WRONG_AGGREGATE))
        if 2 * sum(guilty in vote.statements for vote in votes) > voters:
            findings.append(Finding(trial.accused, Fault.WRONG_AGGREGATE))
    return Verdict(trial, tuple(findings))


def majority_finding(peer: PeerId, said: Sequence[Statement], tolerated: int) -> Finding:
    """The fault that most judges name, the lowest code first. A correction counts if more than b_t judges
    give it: one of them is honest, and honest judges compute the same bits. Source: TOL-11."""
    faults = Counter(statement.fault for statement in said)
    fault = min(faults, key=lambda code: (-faults[code], code))
    if fault != Fault.WRONG_REPORT:
        return Finding(peer, Fault(fault))
    corrections = sorted(statement.correction for statement in said if statement.correction)
    backed = [value for value, group in groupby(corrections) if len(list(group)) > tolerated]
    return Finding(peer, Fault.WRONG_REPORT, backed[0] if backed else b"")  # requirement: TOL-11
