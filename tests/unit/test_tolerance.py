"""Tolerance mode, the pure part: relative errors, votes and verdicts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from btard.protocol import tolerance
from btard.protocol.arithmetic import Float32, Float64, float32_bytes, float64_bytes
from btard.protocol.bans import Fault
from btard.protocol.log import Finding, Subject, Trial
from btard.protocol.messages import MAX_CORRECTIONS, MessageError, Statement, Vote
from btard.protocol.model import ConfigurationError
from btard.protocol.mprng import gradient_seed
from btard.protocol.state import State
from btard.protocol.verification import Transcript, report_of
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from profiles import part_hashes
from swarms import configuration, examples, played

FLOOR = 0.25


# -- The inequality -----------------------------------------------------------------------------


@pytest.mark.requirement("TOL-1")
def test_the_margin_must_cover_the_difference_between_two_judges() -> None:
    least = 0.1 * 1.1 / 0.9
    assert configuration(tolerance=0.1).margin == 0.2
    assert configuration(tolerance=0.1, margin=least * 1.00001).margin == least * 1.00001
    assert configuration().margin == 0
    for changes, named in (
        ({"tolerance": 0.1, "margin": least * 0.99999}, r"mu >= eta\(1 \+ eta\)/\(1 - eta\)"),
        ({"margin": 0.1}, "mu = 0 where eta = 0"),
        ({"tolerance": 0.1, "margin": 0.46}, r"eta \+ 2mu < 1"),
        ({"tolerance": 0.21}, r"eta \+ 2mu < 1"),
        ({"tolerance": float("nan")}, "tolerance"),
        ({"tolerance": -0.1}, "tolerance"),
        ({"tolerance": 0.1, "margin": float("nan")}, "margin"),
    ):
        with pytest.raises(ConfigurationError, match=named):
            configuration(**changes)


def on_a_line(*points: float) -> list[Float32]:
    """Vectors along one axis."""
    return [np.array([point, 0.0], dtype=np.float32) for point in points]


def splits(eta: float, accusation: float, conviction: float) -> bool:
    """Whether an honest accuser can see its accusation fail: the accuser's gradient, the judge's and the
    accused's on one line, the classes η apart, the accused just beyond the bound of an accusation."""
    accuser, judge, accused = on_a_line(1.0, 1.0 + eta, 1.0 + accusation * 1.0001)
    assert not tolerance.near(accused, accuser, accusation, FLOOR)
    return tolerance.near(accused, judge, conviction, FLOOR)


@pytest.mark.requirement("TOL-1")
@pytest.mark.requirement("TOL-4")
@pytest.mark.requirement("TOL-8")
@pytest.mark.parametrize("eta", [0.01, 0.1, 0.2])
def test_just_below_the_inequality_an_honest_accuser_is_outvoted(eta: float) -> None:
    least = eta * (1 + eta) / (1 - eta)
    config = configuration(tolerance=eta, margin=least * 1.00001)
    assert not splits(eta, tolerance.accusation_bound(config), tolerance.conviction_bound(config))
    below = 0.98 * least
    assert splits(eta, eta + 2 * below, eta + below)


Vectors = st.lists(st.floats(-1, 1, width=32), min_size=3, max_size=3).map(lambda v: np.array(v, dtype=np.float32))


@pytest.mark.requirement("TOL-4")
@pytest.mark.requirement("TOL-8")
@settings(max_examples=examples(300))
@given(
    accuser=Vectors,
    direction=Vectors,
    accused=Vectors,
    eta=st.sampled_from([1e-6, 0.01, 0.1, 0.18]),
    factor=st.sampled_from([1.0, 1.3]),
    size=st.sampled_from([1e-3, 1.0, 1e6]),
)
def test_honest_judges_confirm_honest_accusations_and_acquit_honest_gradients(
    accuser: Float32, direction: Float32, accused: Float32, eta: float, factor: float, size: float
) -> None:
    mu = factor * eta * (1 + eta) / (1 - eta) * (1 + 2.0**-20)
    accuser = accuser * np.float32(size)
    # The judge's class: as far from the accuser's as honest classes may be, whichever of the two is smaller.
    scale = max(float(np.linalg.norm(accuser.astype(np.float64))), FLOOR) * (1 - eta)
    length = float(np.linalg.norm(direction.astype(np.float64))) or 1.0
    judge = (accuser + direction.astype(np.float64) * (eta * scale / length)).astype(np.float32)
    assume(tolerance.near(judge, accuser, eta, FLOOR) and tolerance.near(accuser, judge, eta, FLOOR))  # rounding
    # A gradient in the neighbourhood of the bounds.
    away = float(np.linalg.norm(accused.astype(np.float64))) or 1.0
    reach = (eta + 2 * mu) * max(float(np.linalg.norm(accuser.astype(np.float64))), FLOOR)
    accused = (accuser + accused.astype(np.float64) * (1.01 * reach / away)).astype(np.float32)
    if not tolerance.near(accused, accuser, eta + 2 * mu, FLOOR):
        assert not tolerance.near(accused, judge, eta + mu, FLOOR)
    assert tolerance.near(judge, accuser, eta + mu, FLOOR)
    assert tolerance.near(accuser, judge, eta + mu, FLOOR)


@pytest.mark.requirement("TOL-2")
def test_relative_errors_of_nothing_and_of_no_numbers() -> None:
    zero, one = on_a_line(0.0, 1.0)
    assert tolerance.near(zero, zero, 0.1, FLOOR)
    assert tolerance.near(on_a_line(0.024)[0], zero, 0.1, FLOOR)
    assert not tolerance.near(on_a_line(0.026)[0], zero, 0.1, FLOOR)
    assert tolerance.near(on_a_line(1.0999)[0], one, 0.1, FLOOR)
    assert not tolerance.near(on_a_line(1.1001)[0], one, 0.1, FLOOR)
    for wild in (np.nan, np.inf, -np.inf, 3e38):
        assert not tolerance.near(np.array([wild, 0], dtype=np.float32), one, 0.9, FLOOR)


# -- Examining ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def past() -> tuple[Transcript, State, Any]:
    """The transcript of an applied attempt, the state after it, and the swarm."""
    swarm = played(steps=3)
    state = swarm.observed[1].state
    return state.history[-1], state, swarm


def gradient_of(past: tuple[Transcript, State, Any], worker: bytes) -> Float32:
    """What a worker committed there."""
    transcript, _, swarm = past
    seed = gradient_seed(transcript.run, transcript.seed_randomness, transcript.step, worker)
    gradient: Float32 = swarm.task.gradient(transcript.parameters, seed)
    return gradient


@pytest.mark.requirement("TOL-3")
def test_only_what_was_committed_counts_as_disclosed(past: Any) -> None:
    transcript, worker = past[0], past[0].workers[0]
    gradient = gradient_of(past, worker)
    body = float32_bytes(gradient)
    assert np.array_equal(tolerance.committed_gradient(transcript, worker, body), gradient)
    flipped = bytearray(body)
    for place in (0, len(body) // 2, len(body) - 1):
        flipped[place] ^= 1
        assert tolerance.committed_gradient(transcript, worker, bytes(flipped)) is None
        flipped[place] ^= 1
    for other in (b"", body[:-1], body[:-4], body + bytes(4)):
        assert tolerance.committed_gradient(transcript, worker, other) is None
    assert tolerance.committed_gradient(transcript, transcript.workers[1], body) is None


def recommitted(transcript: Transcript, worker: bytes, gradient: Float32, report: Float64 | None = None) -> Transcript:
    """The transcript in which ``worker`` committed to ``gradient`` and reported about it."""
    row = transcript.workers.index(worker)
    hashes, reports = list(transcript.part_hashes), transcript.reports.copy()
    hashes[row] = part_hashes(gradient, transcript.bounds)
    reports[row] = report_of(transcript, gradient) if report is None else report
    return replace(transcript, part_hashes=tuple(hashes), reports=reports)


@pytest.mark.requirement("TOL-8")
def test_an_examination_weighs_the_gradient_and_compares_the_report(past: Any) -> None:
    transcript, worker = past[0], past[0].workers[0]
    own = gradient_of(past, worker)
    shift = np.zeros_like(own)
    shift[0] = 0.1 * np.linalg.norm(own)
    for factor, fault in ((0.0, None), (0.99, None), (-0.99, None), (1.01, Fault.WRONG_GRADIENT)):
        committed = own + np.float32(factor) * shift
        changed = recommitted(transcript, worker, committed)
        finding = tolerance.examine(changed, worker, committed, own, 0.1, FLOOR)
        assert (finding and finding.fault) == fault
    lie = transcript.reports[0] * (1 + 2.0**-52)
    changed = recommitted(transcript, worker, own, lie)
    truth = float64_bytes(report_of(transcript, own))
    assert tolerance.examine(changed, worker, own, own, 0.1, FLOOR) == Finding(worker, Fault.WRONG_REPORT, truth)
    for wild in (np.nan, np.inf, 3e38):
        committed = own.copy()
        committed[-1] = wild
        found = tolerance.examine(transcript, worker, committed, own, 0.9, FLOOR)
        assert found == Finding(worker, Fault.WRONG_GRADIENT)
    long = own * np.float32(1.05 * transcript.gradient_clip / np.linalg.norm(own[transcript.bounds[0]]))
    close_to_long = own * np.float32(transcript.gradient_clip / np.linalg.norm(own[transcript.bounds[0]]))
    found = tolerance.examine(transcript, worker, long, close_to_long, 0.1, FLOOR)
    assert found == Finding(worker, Fault.WRONG_GRADIENT)  # near, but longer than λ: its part counted as zeros


@pytest.mark.requirement("TOL-8")
def test_an_aggregate_is_judged_by_what_was_committed_whoever_lied(past: Any) -> None:
    transcript, state, _ = past
    committed = [gradient_of(past, worker) for worker in transcript.workers]
    ratio = state.config.residual_ratio
    for accused in transcript.workers:
        assert tolerance.examine_aggregate(transcript, accused, committed, ratio) is None
    accused = transcript.workers[1]
    aggregate = transcript.aggregate
    assert aggregate is not None
    moved = aggregate.copy()
    moved[transcript.bounds[1]] += np.float32(transcript.radii[1])
    found = tolerance.examine_aggregate(replace(transcript, aggregate=moved), accused, committed, ratio)
    assert found == Finding(accused, Fault.WRONG_AGGREGATE)
    committed[0] = np.full_like(committed[0], np.nan)  # counts as zeros: the parts that its aggregator used
    found = tolerance.examine_aggregate(transcript, accused, committed, ratio)
    assert found is None or found.fault is Fault.WRONG_AGGREGATE


# -- Votes ------------------------------------------------------------------------------------------


GRADIENT, REPORT, MISSED, AGGREGATE = (
    int(fault) for fault in (Fault.WRONG_GRADIENT, Fault.WRONG_REPORT, Fault.UNDISCLOSED, Fault.WRONG_AGGREGATE)
)


def guilty(transcript: Transcript, worker: int, fault: int, correction: bytes = b"") -> Vote:
    """A vote against one worker."""
    return Vote((Statement(transcript.step, transcript.workers[worker], fault, correction),))


@pytest.mark.requirement("TOL-10")
@pytest.mark.parametrize("voters", [5, 6])
def test_a_strict_majority_of_the_roster_convicts(past: Any, voters: int) -> None:
    transcript = past[0]
    known = {transcript.step: transcript}
    worker = Trial(transcript.step, transcript.workers[0], Subject.WORKER)
    aggregator = replace(worker, subject=Subject.AGGREGATE)
    for votes in range(voters + 1):
        cast = [guilty(transcript, 0, GRADIENT)] * votes + [Vote()] * (voters - votes)
        convicted = Finding(worker.accused, Fault.WRONG_GRADIENT)
        expected = (convicted,) if 2 * votes > voters else ()
        assert tolerance.verdict_of(worker, known, cast, voters, 2).findings == expected
        assert tolerance.verdict_of(aggregator, known, cast, voters, 2).findings == expected
        cast = [guilty(transcript, 0, AGGREGATE)] * votes
        assert tolerance.verdict_of(worker, known, cast, voters, 2).findings == ()
        expected = (Finding(worker.accused, Fault.WRONG_AGGREGATE),) if 2 * votes > voters else ()
        assert tolerance.verdict_of(aggregator, known, cast, voters, 2).findings == expected
    elsewhere = [guilty(transcript, 1, GRADIENT)] * voters
    assert tolerance.verdict_of(worker, known, elsewhere, voters, 2).findings == ()
    assert len(tolerance.verdict_of(aggregator, known, elsewhere, voters, 2).findings) == 1


@pytest.mark.requirement("TOL-11")
def test_the_fault_is_what_most_say_and_a_correction_needs_more_than_b_judges(past: Any) -> None:
    transcript = past[0]
    peer = transcript.workers[0]

    def verdict(*said: tuple[int, bytes]) -> tuple[Finding, ...]:
        cast = [guilty(transcript, 0, fault, correction) for fault, correction in said]
        trial = Trial(transcript.step, peer, Subject.WORKER)
        return tolerance.verdict_of(trial, {transcript.step: transcript}, cast, 6, 2).findings

    good, bad = b"good", b"bad"
    assert verdict(*[(REPORT, good)] * 3, *[(REPORT, bad)] * 2) == (Finding(peer, Fault.WRONG_REPORT, good),)
    assert verdict(*[(REPORT, good)] * 2, *[(REPORT, bad)] * 2) == (Finding(peer, Fault.WRONG_REPORT),)
    assert verdict(*[(GRADIENT, b"")] * 2, *[(MISSED, b"")] * 2) == (Finding(peer, Fault.WRONG_GRADIENT),)
    assert verdict(*[(GRADIENT, b"")] * 3, *[(MISSED, b"")] * 2) == (Finding(peer, Fault.WRONG_GRADIENT),)
    assert verdict((GRADIENT, b""), (MISSED, b""), (REPORT, good)) == ()
    assert verdict((GRADIENT, b""), *[(MISSED, b"")] * 2) == ()
    assert verdict(*[(MISSED, b"")] * 2) == ()
    assert verdict(*[(MISSED, b"")] * 3) == (Finding(peer, Fault.UNDISCLOSED),)  # more than b, less than half


@pytest.mark.requirement("TOL-9")
def test_a_vote_that_no_honest_judge_casts_is_refused(past: Any) -> None:
    transcript = past[0]
    step, (first, second, *_) = transcript.step, transcript.workers
    known, judge = {step: transcript}, transcript.workers[-1]
    size = 16 * len(transcript.workers)

    def accepted(subject: Subject, *statements: Statement, sender: bytes = judge) -> bool:
        trials = [Trial(step, first, subject)]
        return tolerance.well_founded(Vote(statements), sender, trials, known, transcript.workers[:-1])

    worker, aggregate = Subject.WORKER, Subject.AGGREGATE
    for fault in (GRADIENT, REPORT, MISSED):
        assert accepted(worker, Statement(step, first, fault))
        assert not accepted(worker, Statement(step, second, fault))
        assert not accepted(worker, Statement(step + 1, first, fault))
        assert accepted(aggregate, Statement(step, second, fault))
    assert accepted(worker, Statement(step, first, REPORT, bytes(size)))
    assert accepted(aggregate, Statement(step, first, AGGREGATE), Statement(step, first, MISSED))
    assert not accepted(worker, Statement(step, first, AGGREGATE))
    assert not accepted(aggregate, Statement(step, second, AGGREGATE))
    for fault in (set(map(int, Fault)) | {99}) - {GRADIENT, REPORT, MISSED, AGGREGATE}:
        assert not accepted(aggregate, Statement(step, first, fault))
    assert not accepted(worker, Statement(step, first, GRADIENT), Statement(step, first, MISSED))
    assert not accepted(worker, Statement(step, first, REPORT, bytes(size - 8)))
    assert not accepted(worker, Statement(step, first, REPORT, float64_bytes(np.full(size // 8, np.nan))))
    assert not accepted(worker, Statement(step, first, GRADIENT, bytes(size)))
    assert not accepted(worker, Statement(step, first, MISSED), sender=first)
    gone = transcript.workers[-1]
    assert not accepted(aggregate, Statement(step, gone, MISSED), sender=first)
    assert accepted(aggregate, Statement(step, gone, GRADIENT), sender=first)


@pytest.mark.requirement("TOL-9")
def test_corrections_in_a_vote_are_bounded_and_the_convictions_stay() -> None:
    length = MAX_CORRECTIONS // 3
    findings = [(1, Finding(bytes([peer]) * 32, Fault.WRONG_REPORT, bytes(length))) for peer in (4, 3, 2, 1)]
    vote = tolerance.vote_of(findings)
    assert [len(statement.correction) for statement in vote.statements] == [length] * 3 + [0]
    assert [statement.peer[0] for statement in vote.statements] == [1, 2, 3, 4]
    assert Vote.from_item(vote.to_item()) == vote


@pytest.mark.requirement("TOL-9")
def test_statements_have_one_order() -> None:
    peer, other = bytes(32), bytes(31) + b"\x01"
    good = Vote((Statement(1, peer, 3), Statement(1, peer, 4), Statement(1, other, 3), Statement(2, peer, 3)))
    assert Vote.from_item(good.to_item()) == good
    for bad in (reversed(good.statements), (good.statements[0], good.statements[0]._replace(correction=b"x"))):
        with pytest.raises(MessageError, match="ascending"):
            Vote.from_item(Vote(tuple(bad)).to_item())
