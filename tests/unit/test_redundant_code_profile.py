"""Chapter ``redundant_code``, "The profile": groups, reports, the public check, and runs with liars in them."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from btard.conformance.audit import audit
from btard.network.coalition import Seating, World
from btard.network.virtual import NetworkSimulation
from btard.protocol.arithmetic import Float32, Float64, dot, norm
from btard.protocol.bans import Departure, Fault, Removal
from btard.protocol.messages import Phase, Report, Slot
from btard.protocol.model import ConfigurationError, group_size_at, liars_at
from btard.protocol.mprng import by_lot
from btard.protocol.profile import Groups
from btard.protocol.redundant_code import (
    AGGREGATE_ERROR,
    REPORTED_ERROR,
    RedundantCode,
    Undecodable,
    adds_up,
    deal,
    decode_safely,
    encode,
    frame,
    step_risk,
)
from btard.protocol.state import Attempt, Conduct, State, plan_step
from btard.protocol.verification import KNOWN, Transcript, failing_parts
from profiles import applied, true_gradient
from swarms import Swarm, TinyTask, configuration, genesis, identities

CODE = RedundantCode()
PEERS = [bytes([k]) * 32 for k in range(19)]


def coded(behaviours: dict[int, Any], seed: int = 0, **changes: Any) -> Swarm:
    """A run of twelve peers in which three may lie: groups of nine, compression three, unless said otherwise."""
    settings = {"peers": 12, "tolerated": 3, "liars": 3, "compression": 3, "steps": 5, "validators": 1, **changes}
    return Swarm(configuration(profile="redundant-code", **settings), behaviours, seed).run()


def truth(run: Swarm, past: Transcript) -> Float64:
    """The mean of the groups' true gradients, float64 ``[d]``."""
    present = [group[0] for group in past.groups.members if group]
    return np.mean([true_gradient(run, past, worker).astype(np.float64) for worker in present], axis=0)


def exact(run: Swarm) -> bool:
    """Whether every applied part is the mean of the true ones, to a relative error of 10⁻⁵."""
    for past in applied(run):
        assert past.aggregate is not None
        for bound in past.bounds:
            wanted = truth(run, past)[bound]
            if np.linalg.norm(past.aggregate[bound] - wanted) > 1e-5 * np.linalg.norm(wanted):
                return False
    return True


# -- Configuration and groups -----------------------------------------------------------------------


@pytest.mark.requirement("CODE-2")
@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"liars": 3, "compression": 3, "group_size": 8}, r"r >= 2s \+ r_c"),
        ({"liars": 3, "compression": 3, "group_size": 21, "peers": 30}, "r <= 20"),
        ({"liars": -1}, "s >= 0"),
    ],
)
def test_codes_that_do_not_exist_are_refused_with_the_inequality(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        configuration(**{"peers": 12, "tolerated": 3, "profile": "redundant-code", **changes})


@pytest.mark.requirement("CODE-9")
def test_too_few_workers_for_one_group_are_refused() -> None:
    fits = {"peers": 10, "tolerated": 3, "liars": 3, "validators": 1, "profile": "redundant-code"}
    configuration(**fits, compression=3)  # nine workers beside one validator
    with pytest.raises(ConfigurationError, match="CODE-9"):
        configuration(**fits, compression=4)
    with pytest.raises(ConfigurationError, match="CODE-9"):
        configuration(**{**fits, "validators": 2}, compression=3)


@pytest.mark.requirement("CODE-9")
def test_groups_shrink_as_the_bound_does() -> None:
    assert [(liars_at(3, b), group_size_at(9, 3, b)) for b in (5, 3, 2, 1, 0)] == [
        (3, 9),
        (3, 9),
        (2, 7),
        (1, 5),
        (0, 3),
    ]


@pytest.mark.requirement("CODE-10")
@pytest.mark.parametrize(
    "workers, size, sizes", [(19, 9, [10, 9]), (18, 9, [9, 9]), (17, 9, [17]), (4, 9, [4]), (7, 1, [1] * 7)]
)
def test_workers_are_dealt_to_as_many_groups_as_there_can_be(workers: int, size: int, sizes: list[int]) -> None:
    groups = deal(PEERS[:workers], size)
    assert [len(group) for group in groups] == sizes
    assert sorted(peer for group in groups for peer in group) == PEERS[:workers]
    assert all(group[k] == PEERS[g + k * len(groups)] for g, group in enumerate(groups) for k in range(len(group)))


@pytest.mark.requirement("CODE-10", "STEP-2")
def test_groups_follow_the_lots_of_the_step() -> None:
    run = coded({}, steps=4)
    for seen in run.observed[:3]:
        plan = plan_step(seen.state)
        workers = [peer for peer in seen.state.roster if peer not in plan.validators]
        order = by_lot("btard/group", seen.state.randomness, seen.state.step, workers)
        assert plan.groups.members == deal(order, 9) and plan.groups.size == 9
    assert len({past.groups.members for past in applied(run)}) == 4


@pytest.mark.requirement("CODE-11")
def test_a_removal_changes_one_group_and_the_size() -> None:
    class Absent(Conduct):
        def say(self, state: State, slot: Any, honest: Any) -> Any:
            return replace(honest, commitment=bytes(31)) if slot.step == 1 and slot.phase is Phase.COMMIT else honest

    run = coded({4: lambda seating: Absent()}, peers=19, steps=3)
    assert len(run.removals) == 1 and run.removals[0].slot.step == 1
    past = applied(run)[1]
    before = deal(by_lot("btard/group", past.seed_randomness, 1, run.roster), 9)
    gone = run.roster[4]
    assert past.groups.members == tuple(tuple(w for w in group if w != gone) for group in before)
    assert (past.groups.size, past.groups.compression) == (7, 3)


# -- Runs -------------------------------------------------------------------------------------------


class Lies(Conduct):
    """Commits and sends another gradient, and reports about that one."""

    def __init__(self, seating: Seating, factor: float = -10.0) -> None:
        self.factor = np.float32(factor)

    def gradient(self, state: State, honest: Float32) -> Float32:
        self.honest = honest
        return honest * self.factor if state.step >= 1 else honest


class Denies(Lies):
    """The same, but reports about the true one."""

    def report(self, state: State, transcript: Transcript, honest: Float64) -> Float64:
        return KNOWN[transcript.profile].numbers(transcript, self.honest)


@pytest.mark.requirement("PROP-11")
@pytest.mark.parametrize("liar", [Lies, Denies])
@pytest.mark.parametrize("factor", [-10.0, 1.001, 1e30, 0.0])
def test_as_many_liars_as_are_located_change_nothing_and_all_leave(liar: Any, factor: float) -> None:
    run = coded({k: lambda seating: liar(seating, factor) for k in (1, 5, 8)})
    assert sorted(who for who, _ in run.faults) == [1, 5, 8]
    assert {fault for _, fault in run.faults} <= {Fault.WRONG_HASH, Fault.IMPOSSIBLE_REPORT}
    assert exact(run) and len(applied(run)) == 5
    assert {r.slot.step for r in run.removals} <= {1, 2, 3}


@pytest.mark.requirement("PROP-11")
def test_lies_of_the_size_of_rounding_errors_change_next_to_nothing() -> None:
    run = coded({k: lambda seating: Denies(seating, 1 + 3e-7) for k in (1, 5, 8)}, steps=8)
    assert exact(run) and {who for who, _ in run.faults} <= {1, 5, 8}


class Forges(Conduct):
    """Adds to its aggregate ``size`` times the part's norm."""

    def __init__(self, size: float) -> None:
        self.size = size

    def aggregate(self, state: State, attempt: Attempt, inputs: Any, honest: Float32) -> Float32:
        if state.step != 1:
            return honest
        noise = np.random.default_rng(5).standard_normal(len(honest))
        return (honest + noise * (self.size * np.linalg.norm(honest) / np.linalg.norm(noise))).astype(np.float32)


@pytest.mark.requirement("CODE-15", "CODE-16")
@pytest.mark.parametrize("size, guilty", [(1.0, True), (1e-2, True), (1e-6, False), (0.0, False)])
def test_a_forged_aggregate_convicts_unless_it_is_within_rounding(size: float, guilty: bool) -> None:
    run = coded({2: lambda seating: Forges(size)})
    assert run.faults == ([(2, Fault.WRONG_AGGREGATE)] if guilty else [])
    assert exact(run)


class Misreports(Conduct):
    """Changes one number of its report in step 1."""

    def __init__(self, row: int) -> None:
        self.row = row

    def report(self, state: State, transcript: Transcript, honest: Float64) -> Float64:
        if state.step == 1:
            honest[self.row, 0] = np.nextafter(honest[self.row, 0], np.inf)
        return honest


@pytest.mark.requirement("CODE-12", "CODE-15")
@pytest.mark.parametrize("row", [0, 1])
def test_one_wrong_bit_in_a_report_convicts_its_author_alone(row: int) -> None:
    run = coded({3: lambda seating: Misreports(row)})
    assert run.faults == [(3, Fault.WRONG_REPORT)]


@pytest.mark.requirement("CODE-12")
def test_a_report_holds_the_products_with_the_differences_and_the_norms() -> None:
    run = coded({}, steps=2)
    past = applied(run)[0]
    for worker in past.workers:
        gradient = true_gradient(run, past, worker)
        for part, bound in enumerate(past.bounds):
            assert past.aggregate is not None
            z = past.directions[0][part, : bound.stop - bound.start]
            wanted = (
                dot(z, np.subtract(gradient[bound], past.aggregate[bound], dtype=np.float64)),
                norm(gradient[bound]),
            )
            assert past.reports[past.workers.index(worker), :, part].tolist() == [float(value) for value in wanted]


@pytest.mark.requirement("CODE-13")
@pytest.mark.parametrize(
    "products, norms, chunks, possible",
    [
        (0.0, 0.0, (), True),
        (-1e9, 50.0, (), True),
        (0.0, 50.1, (), False),
        (0.0, -1e-9, (), False),
        (np.nan, 1.0, (), False),
        (np.inf, 1.0, (), False),
        (0.0, np.nan, (), False),
        (0.0, 1.0, (b"",), False),
    ],
)
def test_impossible_numbers_are_told_from_possible_ones(products: Any, norms: Any, chunks: Any, possible: bool) -> None:
    past = applied(coded({}, steps=1))[0]
    size = len(past.workers)
    report = replace(Report.of(np.full(size, products), np.full(size, norms)), chunks=chunks)
    assert CODE.possible_report(past, past.workers[0], report) is possible
    assert not CODE.possible_report(past, past.workers[0], Report(report.inner_products[8:], report.norms[8:]))


# -- The public check ---------------------------------------------------------------------------------


@pytest.mark.requirement("CODE-15")
def test_a_part_fails_at_the_threshold_and_where_a_group_disagrees() -> None:
    run = coded({}, peers=19, steps=1)
    past = applied(run)[0]
    first, second = (past.workers.index(group[0]) for group in past.groups.members)
    threshold = 8 * 18918.0 * REPORTED_ERROR * (past.reports[first, 1, 0] + past.reports[second, 1, 0])
    assert failing_parts(past, run.config) == []

    def moved(by: float) -> Transcript:
        """All of the first group say that ⟨z, g − ĝ⟩ is larger."""
        reports = past.reports.copy()
        members = [past.workers.index(worker) for worker in past.groups.members[0]]
        reports[members, 0, 0] = -reports[second, 0, 0] + by
        return replace(past, reports=reports)

    assert adds_up(moved(0.999 * threshold), 0) and adds_up(moved(-0.999 * threshold), 0)
    assert not adds_up(moved(1.001 * threshold), 0) and not adds_up(moved(-1.001 * threshold), 0)
    for row, worker in ((0, past.groups.members[0][3]), (1, past.groups.members[1][8])):
        reports = past.reports.copy()
        reports[past.workers.index(worker), row, 2] += 1e-3
        assert failing_parts(replace(past, reports=reports), run.config) == [2]


@pytest.mark.requirement("CODE-16")
def test_in_a_trial_an_aggregate_is_right_up_to_the_stated_error() -> None:
    run = coded({}, peers=19, steps=1)
    past = applied(run)[0]
    gradients = [true_gradient(run, past, worker) for worker in past.workers]
    bound = past.bounds[4]
    scale = np.mean([np.linalg.norm(true_gradient(run, past, group[0])[bound]) for group in past.groups.members])
    for size, right in ((0.9, True), (1.1, False)):
        wrong = np.asarray(past.aggregate).copy()
        wrong[bound] = truth(run, past)[bound]
        wrong[bound.start] += size * AGGREGATE_ERROR * scale
        assert CODE.right_aggregate(replace(past, aggregate=wrong), 4, gradients, 0.1) is right


# -- Undecodable --------------------------------------------------------------------------------------


def rows_of(part: Float32, size: int, compression: int) -> Float32:
    """What honest members send."""
    return np.stack([encode(part, coefficients) for coefficients in frame(size, compression)])


@pytest.mark.requirement("CODE-14")
def test_a_row_that_is_not_clearly_off_makes_a_group_undecodable() -> None:
    part = np.random.default_rng(0).standard_normal(90).astype(np.float32)
    groups = Groups((tuple(PEERS[:9]),), 9, 3)
    for lie, clear in ((1.0, True), (0.2, True), (0.05, False), (1e-3, False)):
        rows = rows_of(part, 9, 3)
        rows[4] += lie * np.linalg.norm(part) / np.sqrt(len(rows[4]))
        if clear:
            decoded, outside = decode_safely(rows, groups, 0, 90, bytes(32))
            assert outside == (4,) and np.linalg.norm(decoded - part) <= 1e-5 * np.linalg.norm(part)
        else:
            with pytest.raises(Undecodable):
                decode_safely(rows, groups, 0, 90, bytes(32))


@pytest.mark.requirement("CODE-14")
def test_a_group_that_is_too_small_is_undecodable() -> None:
    with pytest.raises(Undecodable):
        decode_safely(np.zeros((8, 4), np.float32), Groups((tuple(PEERS[:8]),), 9, 3), 0, 12, bytes(32))


@pytest.mark.requirement("CODE-14", "PROP-11")
@pytest.mark.parametrize("liars", list(combinations((1, 5, 8), 2)))
def test_with_fewer_located_than_lie_what_is_applied_is_still_right(liars: tuple[int, int]) -> None:
    """s = 1 < b = 2: whether they sit in one group or in two, tell the same lie or different ones."""
    for seed in range(4):
        for factors in ((-10.0, -10.0), (3.0, -5.0)):
            chosen = dict(zip(liars, factors, strict=True))
            made = {k: (lambda seating, f=f: Denies(seating, f)) for k, f in chosen.items()}
            run = coded(made, seed, peers=9, tolerated=2, liars=1, compression=1)
            assert exact(run) and {who for who, _ in run.faults} == set(liars)


@pytest.mark.requirement("PROP-11")
def test_a_group_of_nothing_but_liars_is_beyond_the_bound() -> None:
    """The break beyond: s = 0 < b = 1, so that a group is one worker, and its lie is applied until it is audited."""
    run = coded({3: lambda seating: Lies(seating, -10.0)}, peers=6, tolerated=1, liars=0, compression=1, steps=40)
    assert not exact(run)
    assert run.faults == [(3, Fault.WRONG_HASH)] and run.removals[0].how is Departure.CONVICTED


# -- What a run says beforehand, and the log --------------------------------------------------------------


@pytest.mark.requirement("CODE-8")
def test_the_risk_of_a_step_is_what_lots_give() -> None:
    """With and without a validator, against 4,000 draws: four deviations, exceeded with probability 6e-5 each."""
    config = configuration(peers=18, tolerated=4, liars=1, compression=1, validators=1, profile="redundant-code")
    rng, found = np.random.default_rng(3), []
    for workers in (18, 17):
        lots = (deal([PEERS[k] for k in rng.permutation(workers)], 3) for _ in range(4000))
        bad = sum(any(sum(peer in PEERS[:4] for peer in group) > 1 for group in groups) for groups in lots)
        found.append(bad / 4000)
    assert abs(max(found) - step_risk(config)) < 4 * (0.25 / 4000) ** 0.5
    assert step_risk(configuration(peers=18, tolerated=4, liars=4, profile="redundant-code")) == 0


@pytest.mark.requirement("PROP-9")
def test_the_log_of_coded_parts_can_be_audited_with_and_without_recomputation() -> None:
    run = coded({1: Lies, 5: Denies, 8: lambda seating: Forges(1.0)}, peers=14)
    bare, full = audit(run.log), audit(run.log, run.recomputation())
    assert bare.removals == full.removals == run.removals and len(run.removals) == 3
    assert run.state.replica is not None and full.state_hash == run.state.replica.state_hash


# -- Time ------------------------------------------------------------------------------------------------


@pytest.mark.requirement("PROF-3", "BCAST-3", "VER-12")
@pytest.mark.parametrize("factor, liars", [(1.001, (5,)), (-10.0, (1, 5, 8)), (1.001, (1, 5, 8))])
def test_peers_that_compute_as_slowly_as_they_may_find_the_liars_in_time(factor: float, liars: tuple[int, ...]) -> None:
    """Every gradient takes all but all of G, also those that an aggregator recomputes to see who lied to it."""
    settings = {"peers": 12, "tolerated": 3, "liars": 3, "compression": 3, "steps": 4, "validators": 1}
    config = configuration(profile="redundant-code", delay=1.0, gradient_time=10.0, **settings)
    keys, task = identities(12, 0), TinyTask(config.dimension)
    coalition = {keys[k].peer_id for k in liars}
    world = World(frozenset(coalition), config.gradient_clip)
    conducts = {peer: Denies(Seating(peer, world, task), factor) for peer in coalition}
    start = genesis(config, 0), keys, task.initial_parameters(), task, world, conducts
    *_, last = NetworkSimulation(*start, pace=lambda peer: 9.9 * (peer not in coalition)).run()
    assert {removal.peer for removal in last.state.removals} == coalition
    assert {removal.how for removal in last.state.removals} == {Departure.CONVICTED}


@pytest.mark.requirement("BCAST-3")
def test_the_time_for_recomputation_is_that_of_the_groups_with_which_the_step_began() -> None:
    state = coded({}, peers=19, steps=1).observed[0].state
    assert CODE.recomputations(state) == 2
    slot = Slot(state.step, 0, Phase.COMMIT)
    gone = [Removal(peer, Departure.CONVICTED, Fault.MALFORMED, slot) for peer in state.roster[:2]]
    left = replace(state, roster=state.roster[2:], tolerated=state.tolerated - 2, removals=tuple(gone))
    assert CODE.recomputations(left) == 2
    assert CODE.recomputations(replace(left, step=state.step + 1)) == 17 // 5
