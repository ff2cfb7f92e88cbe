"""Whatever Byzantine peers do: honest peers agree, are not framed, keep their majority, and the run ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from btard.conformance.audit import audit
from btard.network.coalition import Seating
from btard.protocol.arithmetic import Float64, admissible_gradient
from btard.protocol.bans import Departure, Fault
from btard.protocol.messages import Phase
from btard.protocol.model import ProtocolError, ToleranceExceeded
from btard.protocol.mprng import combine, gradient_seed
from btard.protocol.state import Conduct, State
from btard.protocol.verification import Transcript
from btard_adversary.attacks.aggregation import CoveredAggregate, ShiftedAggregate
from btard_adversary.attacks.base import Attack
from btard_adversary.attacks.gradients import (
    ALittleIsEnough,
    ConstantDirection,
    DelayedGradient,
    InnerProductManipulation,
    LabelFlip,
    RandomNoise,
    SignFlip,
)
from btard_adversary.attacks.protocol import FalseAccuser
from hypothesis import given, settings
from hypothesis import strategies as st
from swarms import Behaviour, Swarm, Tamper, examples, left, played, say, sign, swarm
from tampering import AUDITED, CASES, ELSEWHERE, Case, first_occasion

ATTACKS: list[type[Attack]] = [
    SignFlip,
    RandomNoise,
    ConstantDirection,
    LabelFlip,
    DelayedGradient,
    InnerProductManipulation,
    ALittleIsEnough,
    ShiftedAggregate,
    CoveredAggregate,
    FalseAccuser,
]


def check_everything(run: Swarm) -> None:
    """Safety of a finished run, and an auditor who comes to the same conclusions with and without the task."""
    run.check_safety()
    assert run.state.step == run.config.steps + 2
    assert all(seat.state.records == run.state.records for seat in run.remaining)
    plain, full = audit(run.log), audit(run.log, run.recomputation())
    assert plain.removals == full.removals == run.removals
    assert plain.head == full.head == run.state.head
    assert run.state.replica is not None
    assert full.state_hash == run.state.replica.state_hash


# -- One misdeed at a time ----------------------------------------------------------------------------


@pytest.mark.requirement("PROP-2")
@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_misdeed_has_its_verdict_and_the_run_goes_on(case: Case) -> None:
    run, step = first_occasion(case, 0, peers=6, tolerated=2, steps=5)
    assert left(run, 0, case.fault, case.how)
    removal = run.removal(0)
    assert removal is not None
    assert (removal.slot.step, removal.slot.attempt, removal.slot.phase) == (step + case.later, 0, case.phase)
    assert len(run.removals) == 1 + case.victim
    assert run.state.retries == 1
    assert run.state.tolerated == 1
    check_everything(run)


def test_without_byzantine_peers_nothing_happens() -> None:
    run = played(seed=3)
    assert (run.removals, run.state.retries, run.state.tolerated) == ((), 0, 2)
    assert not any(record.verdicts for record in run.log_records)
    assert None not in (entry for record in run.log_records for entry in record.entries)
    check_everything(run)


def test_the_least_lie_about_a_gradient_is_found_by_audit_and_by_nothing_else() -> None:
    caught = 0
    for seed in range(12):
        run = played({1: AUDITED.make(1)}, seed=seed, steps=2)
        check_everything(run)
        removal = run.removal(1)
        if removal is None:
            continue
        caught += 1
        assert (removal.fault, removal.how) == (Fault.WRONG_HASH, Departure.CONVICTED)
        assert (removal.slot.step, removal.slot.phase) == (3, Phase.COMMIT)  # the second closing step
    assert 0 < caught < 12  # with probability 1/5 to 1/4 each; both sides occur


# -- Mixtures -------------------------------------------------------------------------------------------


@st.composite
def swarms(draw: st.DrawFn) -> tuple[dict[str, Any], Callable[[], dict[int, Behaviour]]]:
    """Sizes, seed, and up to b Byzantine peers with some behaviour each. The behaviours are made anew for each run."""
    tolerated = draw(st.integers(0, 3))
    peers = draw(st.integers(2 * tolerated + 2, 2 * tolerated + 4).filter(lambda n: n >= 3))
    byzantine = draw(st.lists(st.integers(0, peers - 1), unique=True, max_size=tolerated))
    chosen: dict[int, tuple[Case | type[Attack], int]] = {
        index: (draw(st.sampled_from([*CASES, AUDITED]) | st.sampled_from(ATTACKS)), draw(st.integers(0, 4)))
        for index in byzantine
    }
    changes: dict[str, Any] = {
        "peers": peers,
        "tolerated": tolerated,
        "validators": draw(st.integers(1, 3)),
        "dimension": draw(st.integers(peers, 90)),
        "steps": draw(st.integers(1, 6)),
        "seed": draw(st.integers(0, 2**32)),
    }

    def behaviours() -> dict[int, Behaviour]:
        return {index: behave(kind, start) for index, (kind, start) in chosen.items()}

    return changes, behaviours


def behave(kind: Case | type[Attack], start: int) -> Behaviour:
    """A behaviour from ``start`` on."""
    if isinstance(kind, Case):
        return kind.make(start)

    def seated(seating: Seating) -> Conduct:
        return kind(Seating(seating.peer, seating.world, seating.task, start=start, seed=seating.seed))

    return seated


@pytest.mark.requirement("PROP-1")
@pytest.mark.requirement("PROP-2")
@pytest.mark.requirement("PROP-3")
@pytest.mark.requirement("PROP-4")
@settings(max_examples=examples(40))
@given(swarms())
def test_any_mixture_of_attacks_leaves_honest_peers_in_agreement_and_unframed(
    drawn: tuple[dict[str, Any], Callable[[], dict[int, Behaviour]]],
) -> None:
    changes, behaviours = drawn
    run = played(behaviours(), **changes)  # agreement is checked after every step
    check_everything(run)


@settings(max_examples=examples(8))
@given(swarms())
def test_the_same_seed_gives_the_same_logs_and_parameters(
    drawn: tuple[dict[str, Any], Callable[[], dict[int, Behaviour]]],
) -> None:
    changes, behaviours = drawn
    first, second = played(behaviours(), **changes), played(behaviours(), **changes)
    assert first.log == second.log
    assert [agreed.state.head for agreed in first.observed] == [agreed.state.head for agreed in second.observed]
    assert first.state.replica is not None and second.state.replica is not None
    assert first.state.replica.parameters.tobytes() == second.state.replica.parameters.tobytes()
    assert [agreed.bytes_sent for agreed in first.observed] == [agreed.bytes_sent for agreed in second.observed]


def test_another_seed_gives_another_log() -> None:
    assert played(seed=1, steps=2).log != played(seed=2, steps=2).log


# -- Two at once ----------------------------------------------------------------------------------------


def by_name(name: str, start: int = 1) -> Behaviour:
    """The case of that name."""
    return next(case for case in CASES if case.name == name).make(start)


def test_two_misdeeds_in_one_phase_void_one_attempt_only() -> None:
    run = played({0: by_name("silent in COMMIT"), 1: by_name("wrong state hash")})
    assert run.faults == [(0, Fault.SILENT), (1, Fault.DIVERGED)]
    assert (run.state.retries, run.state.tolerated) == (1, 0)
    check_everything(run)


@pytest.mark.requirement("PROP-4")
def test_every_phase_of_one_step_can_be_voided_in_turn() -> None:
    names = ["silent in COMMIT", "silent in AGGREGATE", "silent in REVEAL", "silent in REPORT"]
    run = played({index: by_name(name) for index, name in enumerate(names)}, peers=10, tolerated=4)
    assert run.faults == [(index, Fault.SILENT) for index in range(4)]
    slots = [removal.slot for removal in run.removals]
    assert [(slot.step, slot.attempt, slot.phase.name) for slot in slots] == [
        (1, 0, "COMMIT"),
        (1, 1, "AGGREGATE"),
        (1, 2, "REVEAL"),
        (1, 3, "REPORT"),
    ]
    assert run.state.retries == 4
    check_everything(run)


@pytest.mark.requirement("PROP-3")
@pytest.mark.parametrize("byzantine", [0, 5])
def test_a_liar_about_a_part_takes_one_honest_peer_with_it_and_no_more(byzantine: int) -> None:
    """Also when the eliminated honest peer has the lowest id, and so speaks first in everything."""
    run = played({byzantine: by_name("a lie about a part that was sent")})
    victim = 1 if byzantine == 0 else 0
    assert sorted(run.faults) == sorted([(byzantine, Fault.WITHHELD), (victim, Fault.WITHHELD)])
    first, second = run.removals
    assert (first.partner, second.partner) == (second.peer, first.peer)
    assert (len(run.state.roster), run.state.tolerated) == (4, 1)
    check_everything(run)


@pytest.mark.requirement("PROP-7")
def test_every_redraw_of_the_randomness_costs_the_coalition_a_peer() -> None:
    """Three attackers see r_1 and refuse it, one after another: four values to choose from, and no fifth."""
    behaviours = {0: by_name("silent in REPORT"), 1: refusing(1), 2: refusing(2)}
    run = played(behaviours, peers=8, tolerated=3, steps=3)
    assert run.faults == [(index, Fault.SILENT) for index in range(3)]
    values = set()
    for attempt in range(4):
        reveals = run.record_at(1, attempt, Phase.REVEAL).entries
        assert len(reveals) == 8 - attempt
        messages: list[Any] = [entry.message for entry in reveals if entry]
        values.add(combine(message.opening for message in messages))
    assert len(values) == 4
    assert run.observed[1].state.randomness in values
    assert run.state.retries == 3


def refusing(attempt: int) -> Behaviour:
    """A peer that is silent in Report of this attempt."""

    def alter(tamper: Tamper, request: Any) -> Any:
        return replace(request, envelope=None) if request.slot.attempt == attempt else None

    return Tamper({Phase.REPORT: alter})


@pytest.mark.requirement("PROP-10")
@pytest.mark.parametrize("name", ELSEWHERE)
def test_what_comes_from_elsewhere_leaves_no_trace(name: str) -> None:
    """Byte for byte the log of a run in which nothing was sent instead."""
    assert played({0: by_name(f"a message {name}")}).log == played({0: by_name("silent in COMMIT")}).log


# -- What is applied --------------------------------------------------------------------------------------


class FarCover(CoveredAggregate):
    """Covers up, and lies about the norms of forged parts, so that the forgers seem near."""

    def report(self, state: State, transcript: Transcript, honest: Float64) -> Float64:
        """Norms within Δ_max for every colluder's part."""
        report = super().report(state, transcript, honest)
        forged = [transcript.workers.index(peer) for peer in transcript.workers if peer in self.world.coalition]
        report[1, forged] = np.minimum(report[1, forged], transcript.radii[forged])
        return report


def honest_parts(run: Swarm, past: Transcript, bound: slice) -> Float64:
    """What the honest workers committed, float64 ``[honest, m]``."""
    assert past.parameters is not None
    seeds = [
        gradient_seed(past.run, past.seed_randomness, past.step, worker)
        for worker in past.workers
        if worker not in run.coalition
    ]
    computed = [run.task.gradient(past.parameters, seed) for seed in seeds]
    return np.stack([admissible_gradient(one, past.gradient_clip)[bound] for one in computed]).astype(np.float64)


@pytest.mark.requirement("PROP-5")
@pytest.mark.parametrize("scale", [0.4, 0.9, 3.0])
def test_colluders_who_cover_up_move_no_applied_part_away_from_all_honest_ones(scale: float) -> None:
    def seated(seating: Seating) -> Conduct:
        return FarCover(replace(seating, scale=scale))

    shifts, trials = [], 0
    for seed in range(5):
        run = played({index: seated for index in (1, 4, 7)}, seed=seed, peers=9, tolerated=3, steps=8)
        check_everything(run)
        for past in (observed.state.history[-1] for observed in run.observed):
            assert past.aggregate is not None
            for part, bound in enumerate(past.bounds):
                limit = run.config.distance_ratio * float(past.radii[part])
                distances = np.linalg.norm(honest_parts(run, past, bound) - past.aggregate[bound], axis=1)
                if past.workers[part] not in past.settled:
                    assert distances.min() <= limit
                if past.workers[part] in run.coalition:
                    shifts.append(distances.min() / limit)
        if scale > 1:  # C3 calls the trial in the very first step, unless the cover itself is impossible
            trials += len(run.record_at(0, 0, Phase.REPORT).verdicts)
            assert sorted(index for index, _ in run.faults) == [1, 4, 7]
            assert {removal.slot.step for removal in run.removals} == {0}
    # below Δ_max forged parts are applied until an audit finds the cover; beyond it none is
    assert bool(max(shifts, default=0.0) > scale / 2) is (scale < 1)
    assert (trials > 0) is (scale > 1)


@pytest.mark.requirement("PROP-5")
@pytest.mark.parametrize("attack", [SignFlip, RandomNoise, ConstantDirection])
def test_honest_aggregators_keep_the_distance_bound(attack: type[Attack]) -> None:
    run = played({index: attack for index in (0, 3, 6)}, peers=9, tolerated=3, steps=6)
    attacked = 0
    for past in (observed.state.history[-1] for observed in run.observed):
        assert past.aggregate is not None
        liars = sum(worker in run.coalition for worker in past.workers)
        attacked += liars > 0
        for part, bound in enumerate(past.bounds):
            if past.workers[part] in run.coalition:
                continue
            parts, radius = honest_parts(run, past, bound), float(past.radii[part])
            center = parts.mean(axis=0)
            spread = float(np.linalg.norm(parts - center, axis=1).max())
            count, pull = len(parts), liars + run.config.residual_ratio
            limit = max(pull * radius / count, spread * (count + pull) / (count - pull))
            assert np.linalg.norm(past.aggregate[bound] - center) <= limit * (1 + 1e-9)
    assert attacked >= 2


# -- Beyond the bound -----------------------------------------------------------------------------------


def outcome(behaviours: dict[int, Behaviour], **changes: Any) -> ProtocolError | Swarm:
    """The finished run, or the named error that stopped it. Any other exception fails the test."""
    run = swarm(behaviours, **changes)
    try:
        return run.run()
    except ProtocolError as error:
        return error


def silent(start: int) -> Behaviour:
    """A peer that is silent in a Commit."""
    return by_name("silent in COMMIT", start)


def test_one_silent_peer_more_than_tolerated_stops_the_run_by_name() -> None:
    within = outcome({0: silent(1), 1: silent(2)}, peers=6, tolerated=2)
    assert isinstance(within, Swarm)
    beyond = outcome({0: silent(1), 1: silent(2), 2: silent(3)}, peers=6, tolerated=2)
    assert isinstance(beyond, ToleranceExceeded)
    assert "1 more peers left than the 0 still tolerated" in str(beyond)


def test_without_a_majority_for_a_state_the_run_stops_by_name() -> None:
    def diverging(index: int) -> Behaviour:
        return Tamper(
            {
                Phase.COMMIT: say(
                    lambda tamper, commit: type(commit)(
                        commit.part_hashes, commit.commitment, bytes([index]) * 32, commit.accusations
                    )
                )
            }
        )

    within = outcome({index: diverging(index) for index in range(2)}, peers=6, tolerated=2)
    assert isinstance(within, Swarm)
    assert [fault for _, fault in within.faults] == [Fault.DIVERGED] * 2
    beyond = outcome({index: diverging(index) for index in range(3)}, peers=6, tolerated=2)
    assert isinstance(beyond, ToleranceExceeded)
    assert "no strict majority of the roster announced the same state hash" in str(beyond)


def test_without_a_majority_for_the_final_head_the_run_stops_by_name() -> None:
    def closing() -> Behaviour:
        return Tamper({Phase.CLOSING: sign(lambda tamper, envelope: None)})

    within = outcome({0: closing(), 1: closing()}, peers=6, tolerated=2)
    assert isinstance(within, Swarm)
    assert not within.removals
    beyond = outcome({0: closing(), 1: closing(), 2: closing()}, peers=6, tolerated=2)
    assert isinstance(beyond, ToleranceExceeded)
    assert "final log head" in str(beyond)


@settings(max_examples=examples(10))
@given(st.integers(0, 2**32), st.lists(st.sampled_from(CASES), min_size=3, max_size=5))
def test_beyond_the_bound_a_run_ends_well_or_stops_by_name(seed: int, cases: list[Case]) -> None:
    behaviours = {index: case.make(index % 3) for index, case in enumerate(cases)}
    result = outcome(behaviours, seed=seed, peers=6, tolerated=2, steps=3)
    assert isinstance(result, (Swarm, ToleranceExceeded))
