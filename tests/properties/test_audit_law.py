"""How long a cheater survives: the exact law of the audits, against the draws of the protocol and real runs."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np
import pytest
from btard.network.coalition import Seating
from btard.protocol.arithmetic import Float32
from btard.protocol.bans import Fault
from btard.protocol.messages import Phase
from btard.protocol.model import validator_count
from btard.protocol.mprng import draw_targets, draw_validators
from btard.protocol.state import Conduct, State, initial_state
from btard_adversary.laws import caught, divergence, dominating_tail, wrong_steps_law
from swarms import Swarm, swarm

ERROR = 1e-6
"""Probability that a statistical test of this file fails although the law holds. All draws are seeded."""


# -- Bounds on chance -----------------------------------------------------------------------------------


def check_share(count: int, draws: int, probability: float, tests: int = 1) -> None:
    """Fail if a coin of this probability shows ``count`` of ``draws`` with chance below ERROR/tests (Chernoff)."""
    chance = 2 * math.exp(-draws * divergence(count / draws, probability))
    assert chance > ERROR / tests, f"{count} of {draws} where {probability:.5f} is expected"


def check_law(samples: Sequence[int], law: dict[int, Fraction]) -> None:
    """Every tail of the samples fits the law, by Chernoff and a union bound over the tails."""
    for edge in sorted(law)[1:]:
        expected = float(sum(weight for value, weight in law.items() if value >= edge))
        check_share(sum(value >= edge for value in samples), len(samples), expected, len(law))


# -- The law of one cheater against the draws of the protocol ----------------------------------------------


def randomness(label: str, run: int, step: int) -> bytes:
    """A value in the place of r_t."""
    return hashlib.sha256(f"{label}/{run}/{step}".encode()).digest()


def peers(count: int) -> tuple[bytes, ...]:
    """Ids, sorted."""
    return tuple(index.to_bytes(32, "big") for index in range(count))


def drawn_wrong_steps(n: int, m: int, steps: int, cheater: int, rand: Sequence[bytes]) -> int:
    """Wrong steps of a lone cheater, by the protocol's own draws; ``rand[t]`` is r_{t−1}."""
    roster = peers(n)
    workers: list[list[bytes]] = []
    wrong = 0
    for step in range(steps + 2):
        validators = draw_validators(rand[step], step, roster, m)
        pool = workers[step - 2] if 2 <= step < steps + 2 else []
        if roster[cheater] in draw_targets(rand[step], step, validators, pool).values():
            return wrong
        workers.append([peer for peer in roster if peer not in validators])
        wrong += step < steps and roster[cheater] in workers[-1]
    return wrong


@pytest.mark.requirement("PROP-6")
@pytest.mark.requirement("VER-7")
@pytest.mark.parametrize(("n", "m"), [(4, 1), (5, 2), (9, 3)])
def test_the_protocols_draws_follow_the_exact_law(n: int, m: int) -> None:
    steps, draws = 12, 6000
    samples = [
        drawn_wrong_steps(n, m, steps, run % n, [randomness(f"law {n} {m}", run, t) for t in range(steps + 2)])
        for run in range(draws)
    ]
    check_law(samples, wrong_steps_law(n, m, steps))


def test_the_test_above_sees_a_wrong_pool() -> None:
    """Targets drawn from the whole roster instead of the workers of t − 2 would be noticed."""
    n, m, steps, draws = 5, 2, 12, 6000
    law = wrong_steps_law(n, m, steps)
    roster, samples = peers(n), []
    for run in range(draws):
        wrong, cheater = 0, roster[run % n]
        for step in range(steps):
            rand = randomness("pool", run, step)
            validators = draw_validators(rand, step, roster, m)
            if step >= 2 and cheater in draw_targets(rand, step, validators, roster).values():
                break
            wrong += cheater not in validators
        samples.append(wrong)
    with pytest.raises(AssertionError):
        check_law(samples, law)


@pytest.mark.requirement("PROP-6")
@pytest.mark.requirement("VER-7")
@pytest.mark.parametrize(("n", "b", "m"), [(16, 7, 1), (15, 6, 2), (14, 5, 3), (13, 4, 4)])
def test_the_probability_of_an_honest_audit_is_the_stated_one(n: int, b: int, m: int) -> None:
    roster, draws, hits, cases = peers(n), 12_000, 0, 0
    for run in range(draws):
        first, second = randomness(f"honest {n}", run, 4), randomness(f"honest {n}", run, 6)
        workers = [peer for peer in roster if peer not in draw_validators(first, 4, roster, m)]
        suspect = roster[run % b]  # the first b peers are Byzantine
        if suspect not in workers:
            continue
        cases += 1
        validators = draw_validators(second, 6, roster, m)
        targets = draw_targets(second, 6, validators, workers)
        hits += any(target == suspect and roster.index(auditor) >= b for auditor, target in targets.items())
    check_share(hits, cases, float(caught(n, b, m)))
    assert cases > draws * (1 - m / n) * 0.95


def test_the_stated_figures() -> None:
    """The table of the chapter, and the figure of 1 in 25 for sixteen peers with seven liars."""
    figures = {(16, 7, 1): 0.0400, (15, 6, 2): 0.0989, (14, 5, 3): 0.1888, (13, 4, 4): 0.3333}
    for (n, b, m), figure in figures.items():
        assert float(caught(n, b, m)) == pytest.approx(figure, abs=5e-5)
        assert m == validator_count(n, b, 4)


# -- Real runs ----------------------------------------------------------------------------------------------


class AlwaysWrong(Conduct):
    """One entry of the gradient is one bit off, in every step."""

    def gradient(self, state: State, honest: Float32) -> Float32:
        """Committed and scattered consistently: only an audit can tell."""
        wrong = honest.copy()
        wrong[0] = np.nextafter(wrong[0], np.float32(np.inf))
        return wrong


def always_wrong(seating: Seating) -> Conduct:
    """Seat it."""
    return AlwaysWrong()


def survived(run: Swarm, cheater: int) -> int:
    """Applied steps in which the cheater worked; the run is stopped once it is convicted."""
    wrong = 0
    for observed in run.play():
        if run.removals:
            break
        if observed.state.step <= run.config.steps:
            wrong += run.roster[cheater] in observed.state.history[-1].workers
    return wrong


def predicted(run: Swarm, cheater: int, m: int) -> int:
    """The same, from the randomness that the run opened and the draws alone."""
    rand = [state.randomness for state in opened(run)]
    roster, workers, wrong = run.roster, list[list[bytes]](), 0
    for step, r in enumerate(rand):
        validators = draw_validators(r, step, roster, m)
        targets = draw_targets(r, step, validators, workers[step - 2] if step >= 2 else [])
        if roster[cheater] in targets.values():
            return wrong
        workers.append([peer for peer in roster if peer not in validators])
        wrong += step < run.config.steps and roster[cheater] in workers[-1]
    return wrong


def opened(run: Swarm) -> Iterator[State]:
    """The states at the start of every step that the run reached."""
    yield initial_state(run.genesis)
    for observed in run.observed:
        if observed.state.step <= run.config.steps:
            yield observed.state


@pytest.mark.requirement("PROP-6")
@pytest.mark.requirement("VER-7")
def test_real_runs_follow_the_law_and_their_own_draws() -> None:
    steps, cheater, runs = 9, 1, 160
    samples = []
    for seed in range(runs):
        run = swarm({cheater: always_wrong}, peers=4, tolerated=1, dimension=4, steps=steps, seed=seed)
        wrong = survived(run, cheater)
        samples.append(wrong)
        removal = run.removal(cheater)
        if removal is not None:
            assert (removal.fault, removal.slot.phase, removal.slot.attempt) == (Fault.WRONG_HASH, Phase.COMMIT, 0)
        assert wrong == predicted(run, cheater, 1)
    check_law(samples, wrong_steps_law(4, 1, steps))
    assert len(Counter(samples)) > 4


# -- Coalitions ---------------------------------------------------------------------------------------------


def coalition_cheats(n: int, b: int, most: int, label: str, run: int, all_at_once: bool) -> int:
    """Cheats of a coalition, until its last member is convicted: applied steps with a Byzantine worker's lie.

    ``all_at_once``: everybody cheats in every step; else one member at a time, as long as it lasts.
    Byzantine validators audit nobody.
    """
    roster, byzantine, cheats, step = peers(n), set(peers(b)), 0, 0
    history: list[tuple[list[bytes], set[bytes]]] = []
    while byzantine:
        rand = randomness(label, run, step)
        validators = draw_validators(rand, step, roster, validator_count(len(roster), len(byzantine), most))
        workers, liars = history[step - 2] if step >= 2 else ([], set())
        targets = draw_targets(rand, step, validators, [peer for peer in workers if peer in roster])
        out = {target for auditor, target in targets.items() if auditor not in byzantine and target in liars}
        roster, byzantine = tuple(peer for peer in roster if peer not in out), byzantine - out
        workers = [peer for peer in roster if peer not in validators]
        willing = sorted(byzantine) if all_at_once else sorted(byzantine)[:1]
        lying = {peer for peer in willing if peer in workers}
        history.append((workers, lying))
        cheats += bool(lying)
        step += 1
    return cheats


@pytest.mark.requirement("PROP-6")
@pytest.mark.requirement("VER-7")
@pytest.mark.parametrize("all_at_once", [True, False])
@pytest.mark.parametrize(("n", "b", "runs"), [(6, 2, 400), (16, 7, 60)])
def test_a_coalitions_cheats_are_dominated_by_geometric_variables(n: int, b: int, runs: int, all_at_once: bool) -> None:
    least = min(
        (1 - m / left) * min(1, m / (left - m)) * (n - b) / (left - 1)
        for gone in range(b)
        for left, m in [(n - gone, validator_count(n - gone, b - gone, 4))]
    )
    samples = [coalition_cheats(n, b, 4, f"coalition {n} {all_at_once}", run, all_at_once) for run in range(runs)]
    tail = dominating_tail(b, least, max(samples) + 2)
    for edge in sorted(set(samples)):
        share, bound = sum(value >= edge for value in samples) / runs, tail[edge]
        if share > bound:
            assert math.exp(-runs * divergence(share, bound)) > ERROR / len(set(samples)), edge
    # … and the bound is not idle: with three times the probability it would be broken
    if (n, all_at_once) == (6, False):
        idle = dominating_tail(b, 3 * least, max(samples) + 2)
        shares = {edge: sum(value >= edge for value in samples) / runs for edge in set(samples)}
        assert any(
            share > idle[edge] and math.exp(-runs * divergence(share, idle[edge])) < ERROR
            for edge, share in shares.items()
        )
