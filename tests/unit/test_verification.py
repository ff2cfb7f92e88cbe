"""Verification: every check on both sides of its edge, what slips through C2, and whom a trial convicts."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from btard.protocol import verification
from btard.protocol.arithmetic import Float32, Float64, admissible_gradient, float32_bytes, float64_bytes, norm
from btard.protocol.bans import Fault
from btard.protocol.butterfly_clip import centered_clip, residual
from btard.protocol.channel import ComputeGradient, Exchange, ReadVerdict
from btard.protocol.log import Finding, Subject, Trial, Verdict
from btard.protocol.messages import Accusation, Phase, Report, body_hash
from btard.protocol.mprng import DIRECTION_DEVIATION, direction, gradient_seed
from btard.protocol.profile import Groups, possible_aggregate
from btard.protocol.state import Plan, open_attempt
from btard.protocol.step import may_accuse
from btard.protocol.verification import (
    C2_DEVIATIONS,
    ROUNDING_SLACK,
    Transcript,
    c2_holds,
    c3_holds,
    corrected,
    examine_worker,
    failing_parts,
    judge,
    lying_workers,
    measure,
    possible_parts,
    possible_report,
    report_of,
)
from btard_adversary.attacks.aggregation import CoveredAggregate
from btard_adversary.attacks.protocol import FalseAccuser
from hypothesis import given
from hypothesis import strategies as st
from profiles import part_hashes
from swarms import Swarm, TinyTask, configuration, left, played

WORKERS = tuple(bytes([index]) * 32 for index in range(1, 6))
RUN, SEEDS = b"r" * 32, b"s" * 32
DIMENSION, RADIUS, RATIO = 43, 2.0, 0.1
PARAMETERS = np.zeros(DIMENSION, dtype=np.float32)
TASK = TinyTask(DIMENSION)


def honest_gradient(worker: bytes) -> Float32:
    """What ``worker`` should have committed in :func:`transcript`."""
    return TASK.gradient(PARAMETERS, gradient_seed(RUN, SEEDS, 3, worker))


GRADIENTS = np.stack([honest_gradient(worker) for worker in WORKERS])


def transcript(**changes: Any) -> Transcript:
    """An attempt of five honest workers, with true aggregates and reports."""
    empty = Transcript(
        run=RUN,
        step=3,
        tolerated=1,
        gradient_clip=50.0,
        seed_randomness=SEEDS,
        randomness=b"z" * 32,
        workers=WORKERS,
        dimension=DIMENSION,
        radii=np.full(5, RADIUS),
        part_hashes=(),
        aggregate_hashes=(),
        reports=np.zeros((5, 2, 5)),
        parameters=PARAMETERS,
    )
    aggregate = np.zeros(DIMENSION, dtype=np.float32)
    for bound in empty.bounds:
        aggregate[bound] = centered_clip(GRADIENTS[:, bound], RADIUS, RATIO * RADIUS)
    return reported(replace(empty, aggregate=aggregate), **changes)


def reported(past: Transcript, **changes: Any) -> Transcript:
    """The transcript with the hashes and true reports that follow from its aggregate."""
    assert past.aggregate is not None
    reports = np.stack([report_of(past, gradient) for gradient in GRADIENTS])
    hashes = tuple(part_hashes(gradient, past.bounds) for gradient in GRADIENTS)
    announced = tuple(body_hash(float32_bytes(past.aggregate[bound])) for bound in past.bounds)
    return replace(past, reports=reports, part_hashes=hashes, aggregate_hashes=announced, **changes)


def shifted(past: Transcript, part: int, length: float) -> Transcript:
    """The transcript after part ``part`` was aggregated wrongly by ``length``, and truly reported about."""
    assert past.aggregate is not None
    aggregate = past.aggregate.copy()
    aggregate[past.bounds[part].start] += np.float32(length)
    return reported(replace(past, aggregate=aggregate))


def decide(trial: Trial, past: Transcript, ratio: float = RATIO) -> tuple[Verdict, list[bytes]]:
    """The verdict of the reference's judge, and the seeds of the gradients that it recomputed."""
    return answer(judge(trial, past, ratio))


def answer(exchange: Exchange[Any]) -> tuple[Any, list[bytes]]:
    """Serve a part of the protocol that needs gradients only."""
    seeds: list[bytes] = []
    reply: Any = None
    try:
        while True:
            request = exchange.send(reply)
            assert isinstance(request, ComputeGradient)
            seeds.append(request.seed)
            reply = TASK.gradient(request.parameters, request.seed)
    except StopIteration as stop:
        return stop.value, seeds


HONEST = transcript()


# -- Reports ------------------------------------------------------------------------------------------


def slow_report(z: list[int], x: list[float], v: list[float], radius: float) -> tuple[float, float]:
    """s and norm from the text, with Python's floats and a fold of its own."""

    def fold(values: list[float]) -> float:
        values = list(values)
        while len(values) & (len(values) - 1):
            values.append(0.0)
        while len(values) > 1:
            half = len(values) // 2
            values = [a + b for a, b in zip(values[:half], values[half:], strict=True)]
        return values[0] + 0.0

    differences = [a - b for a, b in zip(x, v, strict=True)]
    product = fold([zk * dk for zk, dk in zip(z, differences, strict=True)])
    length = math.sqrt(fold([dk * dk for dk in differences]))
    factor = radius / length if length > radius else 1.0
    return factor * product, length


@pytest.mark.requirement("VER-1")
@pytest.mark.parametrize("radius", [1e-3, 0.5, 2.0, 1e6])
def test_a_report_has_the_bits_of_the_text(radius: float) -> None:
    past = reported(replace(HONEST, radii=np.full(5, radius)))
    assert past.aggregate is not None
    for worker in range(5):
        for part, bound in enumerate(past.bounds):
            z = direction(past.randomness, part, bound.stop - bound.start).tolist()
            expected = slow_report(z, GRADIENTS[worker, bound].tolist(), past.aggregate[bound].tolist(), radius)
            assert past.reports[worker, :, part].tolist() == list(expected)


@pytest.mark.requirement("VER-1")
def test_the_edge_of_clipping_is_not_clipped() -> None:
    z = np.array([3, 4], dtype=np.int16)
    x = np.array([[3.0, 4.0], [6.0, 8.0]], dtype=np.float32)
    products, norms = measure(x, np.zeros(2, dtype=np.float32), z, 5.0)
    assert norms.tolist() == [5.0, 10.0]
    assert products.tolist() == [25.0, 25.0]


@pytest.mark.requirement("VER-1")
def test_a_vector_on_the_center_has_a_report_of_zeros() -> None:
    point = np.ones((1, 7), dtype=np.float32)
    products, norms = measure(point, point[0], np.arange(7, dtype=np.int16), 1.0)
    assert (products.tolist(), norms.tolist()) == ([0.0], [0.0])


def numbers(products: Float64, norms: Float64) -> bool:
    """Whether these numbers are possible in HONEST."""
    return possible_report(HONEST, Report.of(products, norms))


@pytest.mark.requirement("VER-2")
def test_true_reports_are_possible() -> None:
    for row in HONEST.reports:
        assert possible_report(HONEST, Report.of(*row))
    assert numbers(np.zeros(5), np.zeros(5))
    assert numbers(np.zeros(5), np.full(5, 1e300))


@pytest.mark.requirement("VER-2")
@pytest.mark.parametrize("part", range(5))
@pytest.mark.parametrize("which", ["inner product", "norm"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_entry_that_is_no_number_makes_a_report_impossible(part: int, which: str, value: float) -> None:
    products, norms = HONEST.reports[0].copy()
    (products if which == "inner product" else norms)[part] = value
    assert not numbers(products, norms)


@pytest.mark.requirement("VER-2")
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -1e308, -np.finfo(np.float64).max])
def test_norms_out_of_all_range_are_refused_without_a_warning(value: float) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not numbers(np.zeros(5), np.full(5, value))
        assert not numbers(np.full(5, value), np.full(5, value))


@pytest.mark.requirement("VER-2")
@pytest.mark.parametrize("length", [0.25, 1.0, RADIUS, 100.0])
def test_an_inner_product_is_bounded_by_the_clipped_norm_and_the_direction(length: float) -> None:
    for part in range(5):
        bound = HONEST.bounds[part]
        size = float(norm(direction(HONEST.randomness, part, bound.stop - bound.start)))
        edge = min(length, RADIUS) * size * ROUNDING_SLACK
        products, norms = np.zeros(5), np.full(5, length)
        for sign in (1, -1):
            products[part] = sign * edge
            assert numbers(products, norms)
            products[part] = sign * np.nextafter(edge, np.inf)
            assert not numbers(products, norms)


@pytest.mark.requirement("VER-2")
def test_norms_are_not_negative_and_reports_have_one_entry_per_part() -> None:
    norms = np.ones(5)
    norms[2] = -(2.0**-1074)
    assert not numbers(np.zeros(5), norms)
    assert not numbers(np.zeros(4), np.ones(4))
    assert not numbers(np.zeros(6), np.ones(6))
    assert not possible_report(HONEST, Report(b"", b""))


@pytest.mark.requirement("VER-2")
@given(st.integers(0, 2**32), st.floats(1e-3, 1e3), st.floats(-20, 20))
def test_whatever_the_gradient_its_report_is_possible(seed: int, radius: float, exponent: float) -> None:
    source = np.random.default_rng(seed)
    gradient = (source.standard_normal(DIMENSION) * 10.0**exponent).astype(np.float32)
    past = replace(HONEST, radii=np.full(5, radius))
    assert possible_report(past, Report.of(*report_of(past, gradient)))
    parallel = np.concatenate([direction(past.randomness, k, b.stop - b.start) for k, b in enumerate(past.bounds)])
    assert past.aggregate is not None
    tight = past.aggregate + parallel.astype(np.float32) * np.float32(10.0**exponent)
    assert possible_report(past, Report.of(*report_of(past, tight)))


# -- C2 -------------------------------------------------------------------------------------------------


@pytest.mark.requirement("VER-3")
def test_c2_holds_up_to_its_threshold_and_not_beyond() -> None:
    threshold = C2_DEVIATIONS * DIRECTION_DEVIATION * RATIO * RADIUS
    assert threshold == pytest.approx(8 * 18918.6 * 0.2, rel=1e-5)
    for sign in (1.0, -1.0):
        reports = np.zeros((5, 2, 5))
        reports[3, 0, 2] = sign * threshold
        assert c2_holds(replace(HONEST, reports=reports), 2, RATIO)
        reports[3, 0, 2] = sign * np.nextafter(threshold, np.inf)
        past = replace(HONEST, reports=reports)
        assert not c2_holds(past, 2, RATIO)
        assert [c2_holds(past, part, RATIO) for part in (0, 1, 3, 4)] == [True] * 4


@pytest.mark.requirement("VER-3")
def test_c2_sums_over_all_workers() -> None:
    reports = np.zeros((5, 2, 5))
    reports[:, 0, 1] = [9e8, -9e8, 5e8, -5e8, 1.0]
    assert c2_holds(replace(HONEST, reports=reports), 1, RATIO)
    reports[:, 0, 1] = [1e4, 1e4, 1e4, 1e4, 0.0]
    assert not c2_holds(replace(HONEST, reports=reports), 1, RATIO)


DRAWS = 10_000


def part_with_residual(shape: str, width: int) -> tuple[Float32, Float32, float, float]:
    """Inputs, a false aggregate, τ and φ such that the residual is 10³ε and Σ Δ_i has the given shape."""
    radius, ratio = 4.0, 1e-3
    pull = np.zeros(width)
    if shape == "one coordinate":
        pull[width // 2] = 1.0
    elif shape == "two coordinates":
        pull[0], pull[-1] = 1.0, -1.0
    elif shape == "dense":
        pull[:] = np.random.default_rng(1).standard_normal(width)
    pull *= radius / np.linalg.norm(pull)
    inputs = np.zeros((4, width), dtype=np.float32)
    inputs[0] = pull * 10  # one vector outside of τ pulls with τ = 10³ε, and the other three sit on the center
    center = np.zeros(width, dtype=np.float32)
    assert residual(inputs, center, radius) == pytest.approx(1000 * ratio * radius, rel=1e-6)
    return inputs, center, radius, ratio


def count_passing(inputs: Float32, center: Float32, radius: float, ratio: float) -> int:
    """How many of 10⁴ directions let this part pass C2, with true reports."""
    width = len(center)
    past = Transcript(
        run=RUN, step=0, tolerated=0, gradient_clip=1.0, seed_randomness=b"", randomness=b"", workers=WORKERS[:1],
        dimension=width, radii=np.array([radius]), part_hashes=(), aggregate_hashes=(), reports=np.zeros((4, 2, 1)),
    )  # fmt: skip
    passed = 0
    for draw in range(DRAWS):
        z = direction(draw.to_bytes(32, "big"), 0, width)
        products, norms = measure(inputs, center, z, radius)
        reports = np.stack([products, norms], axis=1)[:, :, np.newaxis]
        passed += c2_holds(replace(past, reports=reports), 0, ratio)
    return passed


def chance_of_at_least(count: int, draws: int, probability: float) -> float:
    """Chernoff's bound on P(X ≥ count), X binomial; 1 if count is below the mean."""
    share = count / draws
    if share <= probability:
        return 1.0
    divergence = share * math.log(share / probability)
    if share < 1:
        divergence += (1 - share) * math.log((1 - share) / (1 - probability))
    return math.exp(-draws * divergence)


ERROR = 1e-9
"""Probability that one of the following statistical tests fails although the bound is right."""


@pytest.mark.requirement("PROP-8")
@pytest.mark.requirement("VER-3")
@pytest.mark.parametrize("shape", ["one coordinate", "two coordinates", "dense"])
@pytest.mark.parametrize("width", [2, 60])
def test_a_residual_of_a_thousand_epsilon_seldom_passes(shape: str, width: int) -> None:
    passed = count_passing(*part_with_residual(shape, width))
    stated = 6.54 / 1000 + 8.7e-5
    assert chance_of_at_least(passed, DRAWS, stated) > ERROR, f"{passed} of {DRAWS} draws passed"
    # … and the bound is not idle: about as many pass as it says, or the threshold would be needlessly low
    assert chance_of_at_least(DRAWS - passed, DRAWS, 1 - 4.3 / 1000) > ERROR, f"only {passed} passed"


@pytest.mark.requirement("VER-3")
def test_twice_the_threshold_would_let_too_many_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "C2_DEVIATIONS", 2 * C2_DEVIATIONS)
    passed = count_passing(*part_with_residual("two coordinates", 60))
    assert chance_of_at_least(passed, DRAWS, 6.54 / 1000 + 8.7e-5) < ERROR


@pytest.mark.requirement("VER-3")
def test_an_honest_part_passes_every_draw() -> None:
    source = np.random.default_rng(3)
    inputs = source.standard_normal((4, 60)).astype(np.float32)
    center = centered_clip(inputs, 4.0, 1e-3 * 4.0)
    assert residual(inputs, center, 4.0) > 0
    assert count_passing(inputs, center, 4.0, 1e-3) == DRAWS


# -- C3 -------------------------------------------------------------------------------------------------


@pytest.mark.requirement("VER-4")
@pytest.mark.parametrize("tolerated", [0, 1, 2])
def test_c3_needs_one_more_near_report_than_there_may_be_liars(tolerated: int) -> None:
    ratio = 3.0
    limit = ratio * RADIUS
    for near in range(6):
        reports = np.zeros((5, 2, 5))
        reports[:, 1, 4] = np.nextafter(limit, np.inf)
        reports[:near, 1, 4] = limit
        past = replace(HONEST, reports=reports, tolerated=tolerated)
        assert c3_holds(past, 4, ratio) is (near >= tolerated + 1)
        assert c3_holds(past, 3, ratio)


@pytest.mark.requirement("VER-4")
def test_parts_that_fail_are_named_unless_they_are_settled() -> None:
    config = configuration(peers=5, tolerated=1, dimension=DIMENSION, residual_ratio=RATIO)
    reports = HONEST.reports.copy()
    reports[:, 1, 1] = 1e9
    reports[0, 0, 3] = 1e9
    past = replace(HONEST, reports=reports)
    assert failing_parts(HONEST, config) == []
    assert failing_parts(past, config) == [1, 3]
    assert failing_parts(replace(past, settled=frozenset({WORKERS[1]})), config) == [3]


# -- C1 and C4 --------------------------------------------------------------------------------------------


def c1(past: Transcript, part: int, impossible: tuple[bytes, ...] = ()) -> list[bytes]:
    """Whom the aggregator of ``part`` accuses, having received the true parts."""
    return lying_workers(past, part, GRADIENTS[:, past.bounds[part]], impossible)


@pytest.mark.requirement("VER-5")
@pytest.mark.parametrize("part", range(5))
@pytest.mark.parametrize("which", [0, 1])
def test_an_aggregator_sees_the_least_lie_about_its_part(part: int, which: int) -> None:
    assert c1(HONEST, part) == []
    reports = HONEST.reports.copy()
    reports[2, which, part] = np.nextafter(reports[2, which, part], np.inf)
    past = replace(HONEST, reports=reports)
    assert c1(past, part) == [WORKERS[2]]
    assert [c1(past, other) for other in range(5) if other != part] == [[]] * 4


@pytest.mark.requirement("VER-5")
def test_an_aggregator_accuses_whose_part_counted_as_zeros() -> None:
    inputs = GRADIENTS[:, HONEST.bounds[1]].copy()
    assert lying_workers(HONEST, 1, inputs, [WORKERS[4]]) == [WORKERS[4]]
    inputs[3] = 0.0
    assert lying_workers(HONEST, 1, inputs, []) == [WORKERS[3]]


def possible(content: bytes, length: int, level: float) -> bool:
    """Whether some gradient has this part; if not, it counts as zeros."""
    good = float32_bytes(np.ones(length))
    vectors, fits = possible_parts([good, content, good], length, max(level, length))
    assert fits[[0, 2]].all() and (vectors[[0, 2]] == 1).all()
    vectors, fits = possible_parts([content], length, level)
    assert vectors.shape == (1, length) and vectors.dtype == np.float32
    if fits[0]:
        assert vectors.tobytes() == content
    else:
        assert not vectors.any()
    return bool(fits[0])


@pytest.mark.requirement("STEP-5")
def test_a_part_is_possible_up_to_its_level_and_in_its_length_only() -> None:
    data = float32_bytes([3.0, 4.0])
    assert possible(data, 2, 5.0)
    assert not possible(data, 2, float(np.nextafter(5.0, 0.0)))
    for content, length in ((data[:-1], 2), (data + b"\0", 2), (data, 1), (data, 3), (b"", 2)):
        assert not possible(content, length, 100.0)
    for value in (np.nan, np.inf, -np.inf):
        assert not possible(float32_bytes([value, 0.0]), 2, 100.0)
    assert not possible(float32_bytes([np.finfo(np.float32).max] * 2), 2, 1e38)


@pytest.mark.requirement("VER-7")
def test_an_audit_finds_one_wrong_bit_and_nothing_else() -> None:
    for worker, gradient in zip(WORKERS, GRADIENTS, strict=True):
        assert examine_worker(HONEST, worker, gradient) is None
        accused, seeds = answer(verification.audit(HONEST, worker))
        assert accused is False
        assert seeds == [gradient_seed(RUN, SEEDS, 3, worker)]


@pytest.mark.requirement("VER-7")
@pytest.mark.parametrize("part", range(5))
def test_an_audit_compares_every_hash_and_every_number(part: int) -> None:
    hashes = [list(row) for row in HONEST.part_hashes]
    hashes[2][part] = bytes(32)
    wrong_hash = replace(HONEST, part_hashes=tuple(tuple(row) for row in hashes))
    assert examine_worker(wrong_hash, WORKERS[2], GRADIENTS[2]) == Finding(WORKERS[2], Fault.WRONG_HASH)
    assert answer(verification.audit(wrong_hash, WORKERS[2]))[0] is True
    assert answer(verification.audit(wrong_hash, WORKERS[1]))[0] is False
    for which in (0, 1):
        reports = HONEST.reports.copy()
        reports[2, which, part] = np.nextafter(reports[2, which, part], np.inf)
        lied = replace(HONEST, reports=reports)
        finding = examine_worker(lied, WORKERS[2], GRADIENTS[2])
        assert finding == Finding(WORKERS[2], Fault.WRONG_REPORT, float64_bytes(HONEST.reports[2]))
        assert answer(verification.audit(lied, WORKERS[2]))[0] is True


@pytest.mark.requirement("VER-7")
def test_a_recomputed_gradient_is_made_admissible_as_the_committed_one_was() -> None:
    """An honest gradient beyond λ was clipped before it was committed; whoever recomputes it clips it, too."""
    size = float(norm(GRADIENTS[0]))
    for level in (size * 2, size / 2):
        past = replace(HONEST, gradient_clip=level)
        expected = admissible_gradient(GRADIENTS[0], level)
        recomputed, _ = answer(verification.recompute_gradient(past, WORKERS[0]))
        assert recomputed.tobytes() == expected.tobytes()
    run = played({1: FalseAccuser}, gradient_clip=2.0)
    assert float(norm(TASK.gradient(PARAMETERS, b""))) > 2.0
    assert run.faults == [(1, Fault.FALSE_ACCUSATION)]


@pytest.mark.requirement("VER-7")
def test_a_wrong_hash_comes_before_a_wrong_report() -> None:
    past = replace(HONEST, part_hashes=((bytes(32),) * 5,) * 5, reports=np.zeros((5, 2, 5)))
    finding = examine_worker(past, WORKERS[0], GRADIENTS[0])
    assert finding == Finding(WORKERS[0], Fault.WRONG_HASH)


# -- Who may accuse whom ------------------------------------------------------------------------------------


@pytest.mark.requirement("VER-6")
def test_accusations_are_made_by_those_who_can_know_and_in_the_first_attempt() -> None:
    run = played(steps=8, seed=4)
    state = next(  # a state in the middle of the run: steps t − 2 and t − 1 had a validator
        observed.state
        for observed in run.observed
        if observed.state.step >= 4
        and len({w for past in observed.state.history for w in past.workers}) == 6
        and all(len(past.workers) == 5 for past in observed.state.history)
    )
    before, last = state.history
    idle = next(peer for peer in state.roster if peer not in last.workers)
    auditor, target = state.roster[0], next(peer for peer in before.workers if peer != state.roster[0])
    plan = Plan(state.step, (auditor,), {auditor: target})
    first = open_attempt(state, plan)

    def may(sender: bytes, accused: bytes, step: int, attempt: Any = first) -> bool:
        return may_accuse(state, attempt, sender, Accusation(accused, step))

    for sender in last.workers:
        for accused in last.workers:
            assert may(sender, accused, last.step) is (sender != accused)
        assert not may(sender, idle, last.step)  # did not work, so did not lie
        assert not may(idle, sender, last.step)  # did not aggregate, so cannot know
    assert may(auditor, target, before.step)
    for sender in state.roster:
        for accused in state.roster:
            assert may(sender, accused, before.step) is ((sender, accused) == (auditor, target))
            for step in (before.step - 1, state.step, state.step + 1):
                assert not may(sender, accused, step)
    again = replace(first, number=1)
    assert not may(auditor, target, before.step, again)
    assert not may(last.workers[0], last.workers[1], last.step, again)
    assert not may(last.workers[0], bytes(32), last.step)


# -- Trials -------------------------------------------------------------------------------------------------


def trial(subject: Subject, index: int) -> Trial:
    """A trial about HONEST's step."""
    return Trial(3, WORKERS[index], subject)


@pytest.mark.requirement("VER-8")
def test_the_trial_of_a_worker_recomputes_its_gradient_and_no_other() -> None:
    verdict, seeds = decide(trial(Subject.WORKER, 2), HONEST)
    assert verdict == Verdict(trial(Subject.WORKER, 2))
    assert seeds == [gradient_seed(RUN, SEEDS, 3, WORKERS[2])]
    past = replace(HONEST, reports=np.zeros((5, 2, 5)))
    verdict, _ = decide(trial(Subject.WORKER, 2), past)
    truth = float64_bytes(HONEST.reports[2])
    assert verdict.findings == (Finding(WORKERS[2], Fault.WRONG_REPORT, truth),)


@pytest.mark.requirement("VER-8")
def test_a_verdict_is_a_function_of_the_transcript() -> None:
    past = shifted(HONEST, 1, 50.0)
    for subject in (Subject.WORKER, Subject.AGGREGATE):
        assert decide(trial(subject, 1), past)[0] == decide(trial(subject, 1), past)[0]


@pytest.mark.requirement("VER-8")
@pytest.mark.parametrize("unknown", [("parameters",), ("aggregate",), ("parameters", "aggregate")])
@pytest.mark.parametrize("subject", Subject)
def test_who_does_not_hold_what_a_trial_takes_reads_the_verdict(subject: Subject, unknown: tuple[str, ...]) -> None:
    held, past = trial(subject, 1), replace(HONEST, **dict.fromkeys(unknown))  # type: ignore[arg-type]
    told = Verdict(held, (Finding(WORKERS[1], Fault.WRONG_HASH),))
    exchange = judge(held, past, RATIO)
    assert next(exchange) == ReadVerdict(held)
    with pytest.raises(StopIteration) as stop:
        exchange.send(told)
    assert stop.value.value is told


@pytest.mark.requirement("VER-7")
def test_without_parameters_nothing_is_recomputed() -> None:
    with pytest.raises(ValueError, match="observer"):
        answer(verification.audit(replace(HONEST, parameters=None), WORKERS[1]))


@pytest.mark.requirement("VER-9")
def test_an_honest_aggregator_is_acquitted_and_a_forger_convicted() -> None:
    for index in range(5):
        verdict, seeds = decide(trial(Subject.AGGREGATE, index), HONEST)
        assert verdict.findings == ()
        assert len(seeds) == 5
        past = shifted(HONEST, index, 50.0)
        verdict, _ = decide(trial(Subject.AGGREGATE, index), past)
        assert verdict.findings == (Finding(WORKERS[index], Fault.WRONG_AGGREGATE),)
        other = (index + 1) % 5
        assert decide(trial(Subject.AGGREGATE, other), past)[0].findings == ()


@pytest.mark.requirement("VER-9")
def test_the_residual_convicts_beyond_epsilon_and_not_at_it() -> None:
    past = shifted(HONEST, 2, 0.25)
    assert past.aggregate is not None
    size = residual(GRADIENTS[:, past.bounds[2]], past.aggregate[past.bounds[2]], RADIUS)
    edge = size / RADIUS
    while edge * RADIUS < size:
        edge = float(np.nextafter(edge, np.inf))
    assert decide(trial(Subject.AGGREGATE, 2), past, ratio=edge)[0].findings == ()
    below = float(np.nextafter(edge, 0.0))
    while below * RADIUS >= size:
        below = float(np.nextafter(below, 0.0))
    verdict, _ = decide(trial(Subject.AGGREGATE, 2), past, ratio=below)
    assert verdict.findings == (Finding(WORKERS[2], Fault.WRONG_AGGREGATE),)


@pytest.mark.requirement("VER-9")
def test_liars_about_reports_are_found_beside_the_forger_and_do_not_shield_it() -> None:
    past = shifted(HONEST, 2, 50.0)
    reports = past.reports.copy()
    reports[4, 0, 2] += 1.0
    verdict, _ = decide(trial(Subject.AGGREGATE, 2), replace(past, reports=reports))
    truth = float64_bytes(past.reports[4])
    assert verdict.findings == (
        Finding(WORKERS[4], Fault.WRONG_REPORT, truth),
        Finding(WORKERS[2], Fault.WRONG_AGGREGATE),
    )


@pytest.mark.requirement("VER-9")
def test_a_wrong_hash_leaves_the_inputs_unknown_so_the_aggregator_is_not_judged() -> None:
    past = shifted(HONEST, 2, 50.0)
    hashes = (*past.part_hashes[:4], (bytes(32),) * 5)
    verdict, _ = decide(trial(Subject.AGGREGATE, 2), replace(past, part_hashes=hashes))
    assert verdict.findings == (Finding(WORKERS[4], Fault.WRONG_HASH),)


@pytest.mark.requirement("VER-10")
@pytest.mark.parametrize(
    ("change", "guilty"),
    [
        (lambda data: data, False),
        (lambda data: data[:-4], True),
        (lambda data: data[:-1], True),
        (lambda data: data + bytes(4), True),
        (lambda data: b"", True),
        (lambda data: data[:-4] + float32_bytes([np.nan]), True),
        (lambda data: float32_bytes([np.inf]) + data[4:], True),
        (lambda data: float32_bytes([3e38]) + data[4:], False),  # finite, and C2 will see it
    ],
)
def test_an_aggregate_is_impossible_by_its_length_or_an_entry(change: Callable[[bytes], bytes], guilty: bool) -> None:
    assert HONEST.aggregate is not None
    bound = HONEST.bounds[3]
    content = change(float32_bytes(HONEST.aggregate[bound]))
    assert possible_aggregate(content, bound.stop - bound.start) is not guilty


# -- After a conviction ---------------------------------------------------------------------------------------


@pytest.mark.requirement("VER-11")
def test_the_truth_replaces_a_false_report() -> None:
    past = shifted(HONEST, 2, 50.0)
    config = configuration(peers=5, tolerated=1, dimension=DIMENSION, residual_ratio=RATIO, distance_ratio=1e6)
    assert failing_parts(past, config) == [2]
    reports = past.reports.copy()
    reports[4, 0, 2] -= reports[:, 0, 2].sum()
    covered = replace(past, reports=reports)
    assert failing_parts(covered, config) == []
    finding = examine_worker(covered, WORKERS[4], GRADIENTS[4])
    assert finding is not None
    mended = corrected(covered, finding)
    assert np.array_equal(mended.reports, past.reports)
    assert failing_parts(mended, config) == [2]
    assert not np.array_equal(covered.reports, past.reports)  # the old transcript is a value


def covered_run(seed: int) -> Swarm:
    """Three colluders of nine forge their parts and cover each other up."""
    return played({index: CoveredAggregate for index in (1, 4, 7)}, seed=seed, peers=9, tolerated=3, steps=12)


@pytest.mark.requirement("VER-11")
def test_when_a_cover_up_is_found_its_forgers_stand_trial_in_the_same_phase() -> None:
    for seed in range(5):
        run = covered_run(seed)
        run.check_safety()
        record = next((r for r in run.log_records if r.verdicts and r.slot.phase is Phase.COMMIT), None)
        if record is None:
            continue
        audited = [verdict for verdict in record.verdicts if verdict.trial.subject is Subject.WORKER]
        others = list(record.verdicts[len(audited) :])
        assert [verdict.findings[0].fault for verdict in audited] == [Fault.WRONG_REPORT] * len(audited)
        forgers = {verdict.trial.accused for verdict in others}
        assert forgers and forgers <= run.coalition - {verdict.trial.accused for verdict in audited}
        for verdict in others:
            assert verdict.trial.subject is Subject.AGGREGATE
            assert verdict.trial.step == audited[0].trial.step
            faults = {finding.peer: finding.fault for finding in verdict.findings}
            assert faults[verdict.trial.accused] in (Fault.WRONG_AGGREGATE, Fault.WRONG_REPORT)
        assert all(left(run, index, run.removal(index).fault) for index in (1, 4, 7))  # type: ignore[union-attr]
        return
    raise AssertionError("no cover-up was audited in five runs")


@pytest.mark.requirement("VER-4")
def test_while_they_are_covered_up_forged_parts_stay_near_an_honest_worker() -> None:
    """With everybody's report on s covered, C3 still bounds how far an applied part is from some honest part."""
    run = covered_run(2)
    applied = [past for observed in run.observed for past in observed.state.history[-1:]]
    assert applied
    for past in applied:
        assert past.aggregate is not None
        for part, bound in enumerate(past.bounds):
            if past.workers[part] in past.settled:
                continue
            distances = [
                float(norm(true_gradient(run, past, worker)[bound] - past.aggregate[bound].astype(np.float64)))
                for worker in past.workers
                if worker not in run.coalition
            ]
            assert min(distances) <= run.config.distance_ratio * past.radii[part]


def true_gradient(run: Swarm, past: Transcript, worker: bytes) -> Float64:
    """What an honest worker committed."""
    assert past.parameters is not None
    seed = gradient_seed(past.run, past.seed_randomness, past.step, worker)
    return run.task.gradient(past.parameters, seed).astype(np.float64)


def test_exactness_of_the_bound_in_rational_numbers() -> None:
    """P(pass) for ρ in one coordinate, by counting: the statistical tests above have the right target."""
    passing = sum(abs(Fraction(z)) <= Fraction(8 * DIRECTION_DEVIATION) / 1000 for z in range(-(2**15), 2**15))
    assert passing / 2**16 == pytest.approx(4.62e-3, abs=2e-5)


@pytest.mark.requirement("VER-12")
def test_workers_who_share_a_seed_cost_one_gradient_together() -> None:
    groups = Groups((WORKERS[:2], WORKERS[2:]), 2, 1)
    past = replace(HONEST, groups=groups)
    recomputed, seeds = answer(verification.recompute_gradients(past, WORKERS))
    assert list(recomputed) == list(WORKERS) and len(seeds) == 2 == verification.distinct_gradients(past)
    assert recomputed[WORKERS[0]] is recomputed[WORKERS[1]]
    assert verification.distinct_gradients(HONEST) == len(WORKERS)
