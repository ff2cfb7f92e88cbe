"""The protocol's tolerance bounds from three sides: inside no example violates them, at the edge they are reached,
and just outside they break.

Each :class:`Bound` is complete in itself: its statement, where it is proven, and three functions that need no
arguments. What can be counted is counted; only real vectors are searched.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from typing import NamedTuple

import numpy as np
from btard.protocol import mprng
from btard.protocol.arithmetic import Float32, Float64, lower_median
from btard.protocol.butterfly_clip import (
    ClipDomainError,
    Radii,
    centered_clip,
    distance_bound,
    next_radii,
    residual,
)
from btard.protocol.model import reachable, validator_count
from btard.protocol.mprng import DIRECTION_DEVIATION, draw_targets, draw_validators
from btard.protocol.verification import C2_DEVIATIONS, Transcript, c3_holds

from btard_adversary.laws import (
    caught,
    counted_audits,
    dominating_tail,
    least_caught,
    passing_share,
    refusal_gain,
    wrong_steps_law,
)


class Inside(NamedTuple):
    """What was looked at within the bound."""

    cases: int
    violations: list[str]
    """One sentence each; empty if the bound holds."""


class Outside(NamedTuple):
    """What happens beyond the bound's condition."""

    ratio: float
    """What is reached in units of the bound; above 1 it breaks."""
    text: str


@dataclass(frozen=True)
class Bound:
    """A statement that can be tested from both sides."""

    name: str
    statement: str
    source: str
    """Requirement ids and the chapter with the proof."""
    inside: Callable[[], Inside]
    edge: Callable[[], float]
    """The share of the bound that is reached where it is tight; 1 is all of it."""
    outside: Callable[[], Outside]


# -- Distance of an aggregate from the honest mean --------------------------------------------------


def sharp_distance_bound(honest: int, byzantine: int, spread: float, radius: float, tolerance: float) -> float:
    """The stronger form that the chapter proves: max((bτ + ε)/h, R·max(1, b'/(h − b')))."""
    pull = byzantine + tolerance / radius
    return max(pull * radius / honest, spread * max(1.0, pull / (honest - pull)))


def honest_vectors(rng: np.random.Generator, honest: int, width: int, kind: int) -> tuple[Float64, Float64, float]:
    """Honest vectors, their mean and R, the largest distance to it; ``kind`` 0 to 3."""
    vectors = rng.standard_normal((honest, width))
    if kind == 1:  # the mean at its most lopsided: all but one on one side
        vectors[:] = vectors[0]
        vectors[0] *= -(honest - 1)
    elif kind == 2:
        vectors = np.sign(vectors) * rng.uniform(0.999, 1.0, (honest, 1))
    elif kind == 3:
        vectors *= 10.0 ** rng.uniform(-2, 2, (honest, 1))
    mean = vectors.mean(axis=0)
    return vectors, mean, float(np.linalg.norm(vectors - mean, axis=1).max())


def pulled(vectors: Float64, point: Float64, radius: float) -> Float64:
    """Σ clip_τ(x_i − v), float64 ``[m]``."""
    differences = vectors - point
    factors = radius / np.maximum(np.linalg.norm(differences, axis=1), radius)
    return np.asarray(factors @ differences)


class Forged(NamedTuple):
    """A point that colluders made correct, or as nearly so as they can."""

    distance: float
    """From the honest mean."""
    spread: float
    """R."""
    radius: float
    """τ."""
    tolerance: float
    """The ε for which the point is correct."""
    left: float
    """The residual with the colluders in place; at most ``tolerance``."""


def forged_point(rng: np.random.Generator, honest: int, byzantine: int) -> Forged:
    """Colluders choose a far point v and place themselves to cancel the honest pull there as well as b can.

    Any v is allowed that has residual <= ε, so instead of asking centered_clip for one, take any v and give
    it the smallest ε that makes it a solution.
    """
    vectors, mean, spread = honest_vectors(rng, honest, int(rng.integers(1, 5)), int(rng.integers(4)))
    radius = max(spread, 1e-6) * 10.0 ** rng.uniform(-2, 2)
    direction = rng.standard_normal(vectors.shape[1])
    if rng.random() < 0.7 and spread > 0:
        direction = vectors[rng.integers(honest)] - mean + 0.1 * rng.random() * direction * spread
    direction /= max(float(np.linalg.norm(direction)), 1e-300)
    limit = sharp_distance_bound(honest, byzantine, spread, radius, 0.0) + radius
    point = mean + direction * limit * rng.uniform(0, 1.2)

    pull = pulled(vectors, point, radius)
    size = float(np.linalg.norm(pull))
    tolerance = max(0.0, size - byzantine * radius) * (1 + 1e-9) + 1e-9 * radius
    colluder = point - pull / max(size, 1e-300) * min(radius, size / max(byzantine, 1))
    everyone = np.concatenate([vectors, np.repeat(colluder[np.newaxis], byzantine, axis=0)])
    left = float(np.linalg.norm(pulled(everyone, point, radius)))
    return Forged(float(np.linalg.norm(point - mean)), spread, radius, tolerance, left)


def bounded(forged: Forged, honest: int, byzantine: int) -> bool:
    """Whether b' is below h, with some room for rounding: else nothing is claimed."""
    return byzantine + forged.tolerance / forged.radius < honest * (1 - 1e-9)


def on_a_line(positions: list[float]) -> Float32:
    """Vectors on the first axis of the plane."""
    return np.array([[position, 0.0] for position in positions], np.float32)


def balanced(honest: int) -> list[float]:
    """Positions with mean 0 and R = 1, half on each side."""
    return [0.0] * (honest % 2) + [1.0, -1.0] * (honest // 2)


def distance_reached(honest: list[float], byzantine: int, radius: float, tolerance: float, reach: float) -> float:
    """How far up the axis b colluders can put a correct aggregate, cancelling the honest pull if they can."""
    best = 0.0
    for distance in np.linspace(0.0, reach, 1001).tolist():
        point = np.array([distance, 0.0], np.float32)
        pull = residual(on_a_line(honest), point, radius)
        colluder = float(point[0]) + min(radius, pull / max(byzantine, 1))
        if residual(on_a_line(honest + [colluder] * byzantine), point, radius) <= tolerance + 1e-5 * radius:
            best = distance
    return best


def _distance_inside(bound: Callable[[int, int, float, float, float], float], byzantine: int | None) -> Inside:
    """Forged points against ``bound``; a fixed number of Byzantine vectors, or any."""
    cases, violations = 0, []
    for seed in range(400):
        rng = np.random.default_rng([seed, 6])
        honest = int(rng.integers(1, 13))
        liars = int(rng.integers(honest)) if byzantine is None else byzantine
        forged = forged_point(rng, honest, liars)
        if not bounded(forged, honest, liars):
            continue
        cases += 1
        limit = bound(honest, liars, forged.spread, forged.radius, forged.tolerance)
        if forged.left > forged.tolerance or forged.distance * (1 - 1e-9) - 1e-12 > limit:
            violations.append(f"seed {seed}, h = {honest}, b = {liars}: {forged} where {limit} is allowed")
    return Inside(cases, violations)


def _reach_of_branches(honest: int, byzantine: int, ratio: float) -> float:
    """The lesser share reached just below and just above the radius at which the two branches meet."""
    pull = byzantine + ratio
    meeting = (honest + pull) / (honest - pull) * honest / pull
    shares = []
    for beyond in (0.99, 1.01):
        radius, tolerance = beyond * meeting, ratio * beyond * meeting
        limit = distance_bound(honest, byzantine, 1.0, radius, tolerance)
        shares.append(distance_reached(balanced(honest), byzantine, radius, tolerance, 1.01 * limit) / limit)
    return min(shares)


def _sharp_edge() -> float:
    """At τ = Rh/(h − b') the distance Rb'/(h − b') is reached if it is at least R."""
    honest, byzantine = 9, 7
    radius = honest / (honest - byzantine)
    limit = sharp_distance_bound(honest, byzantine, 1.0, radius, 0.0)
    return distance_reached(balanced(honest), byzantine, radius, 0.0, 1.01 * limit) / limit


def _unbounded(honest: int, byzantine: int, ratio: float) -> Outside:
    """All honest vectors are equal, R = 0, and yet a point 10⁶τ away is correct; no bound is given there."""
    distance, tolerance = 1e6, ratio + 1e-9
    vectors = on_a_line([0.0] * honest + [2 * distance] * byzantine)
    correct = residual(vectors, np.array([distance, 0.0], np.float32), 1.0) <= tolerance
    try:
        limit = distance_bound(honest, byzantine, 0.0, 1.0, ratio)  # exactly b' = h: not even there
    except ClipDomainError:
        limit = 0.0
    reached = math.inf if correct and limit == 0 else 0.0
    return Outside(reached, f"h = {honest}, b' = {byzantine + ratio:g}: a point at 10^6 tau is correct")


DISTANCE = Bound(
    "distance",
    "h honest vectors within R of their mean, b' < h: a correct aggregate is within max(b'tau/h, R(h+b')/(h-b'))",
    "CLIP-6; proof in chapter butterfly_clip",
    lambda: _distance_inside(distance_bound, None),
    lambda: min(_reach_of_branches(9, 7, 1e-3), _reach_of_branches(12, 3, 1e-3)),
    lambda: _unbounded(7, 7, 0.0),
)

SHARP_DISTANCE = Bound(
    "sharp distance",
    "the same with max(b'tau/h, R max(1, b'/(h-b')))",
    "CLIP-6; theorem (1) in chapter butterfly_clip",
    lambda: _distance_inside(sharp_distance_bound, None),
    _sharp_edge,
    lambda: _unbounded(8, 8, 0.0),
)

RESIDUAL_DISTANCE = Bound(
    "distance by the residual",
    "a residual of eps alone moves a correct aggregate as eps/tau further liars would: eps/h while nobody is clipped",
    "CLIP-6; proof in chapter butterfly_clip",
    lambda: _distance_inside(distance_bound, 0),
    lambda: min(distance_reached([0.0] * 8, 0, 1.0, 0.5, 0.07) / (0.5 / 8), _reach_of_branches(8, 7, 0.5)),
    lambda: _unbounded(8, 7, 1.0),
)


# -- C3: passing means that an honest part is near ----------------------------------------------------


def c3_passes(far: int, near: int, needed: int) -> bool:
    """C3 of the reference for a part of which ``near`` workers report Δ_max and ``far`` the next larger number,
    when ``needed`` near reports are demanded (b_t + 1 in the protocol)."""
    reports = np.zeros((far + near, 2, 1))
    reports[:, 1, 0] = 4.0
    reports[:far, 1, 0] = np.nextafter(4.0, 5.0)
    workers = tuple(bytes([index]) * 32 for index in range(far + near))
    return c3_holds(
        Transcript(
            run=b"", step=0, tolerated=needed - 1, gradient_clip=1.0, seed_randomness=b"", randomness=b"",
            workers=workers, dimension=len(workers), radii=np.array([1.0]), part_hashes=(), aggregate_hashes=(),
            reports=reports,
        ),
        0,
        4.0,
    )  # fmt: skip


def _censuses(most_peers: int) -> Iterator[tuple[int, int, int]]:
    """(b, m, h) for all admitted n and b, every number of validators that leaves the honest their majority, and the
    hardest case that no faulty peer is among them."""
    for n in range(2, most_peers + 1):
        for b in range((n - 2) // 2 + 1):
            for m in range(n - 2 * b):
                yield b, m, n - m - b


def _c3_inside() -> Inside:
    cases, violations = 0, []
    for b, m, h in _censuses(12):
        for near, lies in product(range(h + 1), range(b + 1)):
            cases += 1
            passes = c3_passes(h - near + b - lies, near + lies, b + 1)
            if passes and near == 0:
                violations.append(f"b = {b}, m = {m}, h = {h}: {lies} liars alone let a part pass")
            if near == h and not passes:
                violations.append(f"b = {b}, m = {m}, h = {h}: a part near all honest workers fails")
    return Inside(cases, violations)


def _c3_edge() -> float:
    """One honest worker near suffices if every liar covers up, and none would not: 'at least one' is exact."""
    tight = [c3_passes(h - 1, b + 1, b + 1) and not c3_passes(h, b, b + 1) for b, _, h in _censuses(12)]
    return sum(tight) / len(tight)


def _c3_outside() -> Outside:
    """n = 2b + 1, one validator, all b liars work: any count that an honest part always reaches, liars reach alone."""
    for b in range(1, 8):
        h = b
        for needed in range(1, 2 * b + 2):
            honest_part_passes = c3_passes(b, h, needed)
            forged_part_passes = c3_passes(h, b, needed)
            if honest_part_passes and not forged_part_passes:
                return Outside(0.0, f"with b = {b} a count of {needed} tells them apart")
    return Outside(math.inf, "n = 2b + 1 with one validator: no count lets honest parts pass and stops forged ones")


C3 = Bound(
    "C3",
    "n >= 2b + m + 1: a part that passes is within Delta_max of an honest worker's, and an honest part passes",
    "VER-4, MODEL-1; chapter verification",
    _c3_inside,
    _c3_edge,
    _c3_outside,
)


# -- Removals keep the majority ---------------------------------------------------------------------


class Crowd(NamedTuple):
    """Who is left."""

    honest: int
    faulty: int
    tolerated: int
    """b_t."""


def removals(crowd: Crowd) -> Iterator[Crowd]:
    """What one removal can lead to: a faulty peer alone, or a pair with at least one faulty member."""
    honest, faulty, tolerated = crowd
    if faulty >= 1:
        yield Crowd(honest, faulty - 1, tolerated - 1)
        yield Crowd(honest - 1, faulty - 1, tolerated - 1)
    if faulty >= 2:
        yield Crowd(honest, faulty - 2, tolerated - 1)


def all_crowds(start: Crowd) -> set[Crowd]:
    """Everything that sequences of removals lead to."""
    seen, fresh = {start}, [start]
    while fresh:
        fresh = [after for before in fresh for after in removals(before) if after not in seen]
        seen.update(fresh)
    return seen


def _counting_inside() -> Inside:
    cases, violations = 0, []
    for n in range(2, 17):
        for b, most in product(range((n - 2) // 2 + 1), (1, 4)):
            known = {tuple(census) for census in reachable(n, b, most)}
            for crowd in all_crowds(Crowd(n - b, b, b)):
                cases += 1
                problem = _problem_of(crowd, Crowd(n - b, b, b), most, known)
                if problem:
                    violations.append(f"n = {n}, b = {b}: {problem} in {crowd}")
    return Inside(cases, violations)


def _problem_of(crowd: Crowd, start: Crowd, most: int, known: set[tuple[int, ...]]) -> str:
    """What is wrong with a crowd; empty if nothing is."""
    left, b = crowd.honest + crowd.faulty, crowd.tolerated
    m = validator_count(left, b, most)
    if crowd.faulty > b:
        return "more faulty peers than b_t"
    if m < 1 or left < 2 * b + m + 1:
        return "no room for a validator"
    if crowd.honest - m < b + 1:  # all validators honest: the hardest case
        return "no honest majority among the workers"
    if start.honest - crowd.honest > start.faulty - crowd.faulty:
        return "more honest peers gone than faulty ones"
    return "" if (left, b, m) in known else "a census that the configuration was not checked for"


def _counting_edge() -> float:
    """With n = 2b + 2, pairs keep n_t = 2b_t + 2 and take as many honest peers as faulty ones, to the last."""
    shares = []
    for b in range(1, 8):
        crowd = min(all_crowds(Crowd(b + 2, b, b)), key=lambda c: (c.tolerated, c.honest))
        gone = (b + 2 - crowd.honest) / (b - crowd.faulty)
        shares.append(min(gone, (2 * crowd.tolerated + 2) / (crowd.honest + crowd.faulty)))
    return min(shares)


def _counting_outside() -> Outside:
    """n = 2b + 1 has no validator to spare: with none nobody audits, with one the honest workers are only b."""
    b = 3
    spare = validator_count(2 * b + 1, b, 4)
    stripped = Crowd(b + 1, b, b)
    majority = stripped.honest - 1 >= b + 1
    broken = spare == 0 and not majority
    return Outside((2 * b + 2) / (2 * b + 1) if broken else 0.0, "n = 2b + 1: no audits, or no honest majority")


COUNTING = Bound(
    "counting",
    "n >= 2b + 2: after any removals n_t >= 2b_t + m_t + 1, m_t >= 1, and no more honest than faulty peers are gone",
    "PROP-3, MODEL-1, MODEL-2; proofs/census.py for every n",
    _counting_inside,
    _counting_edge,
    _counting_outside,
)


# -- C2: how often a forged aggregate passes ----------------------------------------------------------


def narrow_bound(rho: tuple[int, ...], threshold: int, bits: int) -> float:
    """2^−bits (1 + 2T/‖ρ‖_∞)."""
    return (1 + 2 * threshold / max(abs(entry) for entry in rho)) / (1 << bits)


def broad_bound(rho: tuple[int, ...], threshold: int, bits: int) -> float:
    """2√2 (T + 2‖ρ‖)/(2^bits ‖ρ‖)/(1 − 10⁻¹⁰)."""
    size = math.sqrt(sum(entry * entry for entry in rho))
    return 2 * math.sqrt(2) * (threshold + 2 * size) / ((1 << bits) * size) / (1 - 1e-10)


def stated_miss(ratio: float) -> float:
    """What chapter ``mprng`` states for a residual of ``ratio`` ε: 6.54/ratio + 8.7·10⁻⁵."""
    return 6.54 / ratio + 8.7e-5


def _miss_inside() -> Inside:
    """Exact counts for 4-bit directions of up to five entries and for 16-bit ones of two; both proofs hold for any
    number of bits."""
    cases, violations, rng = 0, [], np.random.default_rng(2)
    for case in range(240):
        bits, width = (4, int(rng.integers(1, 6))) if case % 4 else (16, int(rng.integers(1, 3)))
        entries = rng.integers(-9, 10, width)
        entries[-1] = entries[-1] or 1
        rho = tuple(int(entry) for entry in entries)
        threshold = int(rng.integers(0, 1 << (bits - 1)))
        share = float(passing_share(rho, threshold, bits))
        cases += 1
        for bound in (narrow_bound, broad_bound):
            if share > bound(rho, threshold, bits) * (1 + 1e-12):
                violations.append(f"{bound.__name__}: {share} of {bits}-bit directions miss {rho} at T = {threshold}")
    return Inside(cases, violations)


def _miss_edge() -> float:
    """One entry reaches the first bound exactly, two equal ones the second, and what the chapter makes of it."""
    narrow = float(passing_share((1,), 777)) / narrow_bound((1,), 777, 16)
    share = float(passing_share((1, 1), 600))
    broad = share / broad_bound((1, 1), 600, 16)
    ratio = math.sqrt(2) * C2_DEVIATIONS * DIRECTION_DEVIATION / 600  # r/ε with T = 600
    return min(narrow, broad, share / stated_miss(ratio))


def _miss_outside() -> Outside:
    """Entries of one bit miss (1, −1) half of the time; and a direction known beforehand never catches anyone."""
    signs = [(1, 1), (1, -1), (-1, 1), (-1, -1)]
    missed = sum(first - second == 0 for first, second in signs) / len(signs)
    z = mprng.direction(b"known" * 7, 0, 2).astype(np.float64)
    forged = np.array([z[1], -z[0]])
    if float(np.dot(z, forged)) != 0.0:
        return Outside(0.0, "the known direction sees the forgery")
    bound = broad_bound((1, -1), 0, 16)
    return Outside(
        missed / bound, "random signs miss (1, -1) half of the time; a known direction misses what it should"
    )


C2 = Bound(
    "C2",
    "a part with residual r, without misreports, passes with probability at most 6.54 eps/r + 8.7e-5",
    "VER-3, PROP-8; proof in chapter mprng",
    _miss_inside,
    _miss_edge,
    _miss_outside,
)


# -- Audits -------------------------------------------------------------------------------------


COUNTED = ((4, 1, 1), (5, 1, 1), (5, 1, 2))
"""(n, b, m) for which all orders of the lots are counted."""


def _audit_inside() -> Inside:
    cases, violations = 0, []
    for n, b, m in COUNTED:
        shares = list(counted_audits(n, b, m))
        cases += len(shares)
        if sum(shares, Fraction(0)) / len(shares) != caught(n, b, m):
            violations.append(f"n = {n}, b = {b}, m = {m}: counted {shares} and not {caught(n, b, m)} on average")
        if min(shares) < least_caught(n, b, m):
            violations.append(f"n = {n}, b = {b}, m = {m}: less than q for some validators of step t - 2")
    for n, m in ((4, 1), (5, 2), (9, 3), (16, 1)):
        cases += 1
        exact, bound = survival(n, m, 40)
        if any(true > most * (1 + 1e-9) for true, most in zip(exact, bound, strict=True)):
            violations.append(f"n = {n}, m = {m}: a lone cheater survives longer than the bound says")
    return Inside(cases, violations)


def survival(n: int, m: int, steps: int) -> tuple[list[float], list[float]]:
    """P(a lone cheater gets at least k wrong steps applied) in ``steps`` steps: exactly, and by the bound."""
    law = wrong_steps_law(n, m, steps)
    exact = [float(sum(weight for count, weight in law.items() if count >= k)) for k in range(steps + 1)]
    return exact, dominating_tail(1, float(least_caught(n, 1, m)), steps)


def _audit_edge() -> float:
    """q is the exact probability where step t − 2 had no validators, so that the pool is as large as it can be; and
    a lone cheater among many peers survives four steps almost as often as the bound says."""
    cases = ((16, 7, 1), (13, 4, 4), *COUNTED)
    drawn = min(least_caught(n, b, m) / caught(n, b, m, before=0) for n, b, m in cases)
    exact, bound = survival(16, 1, 12)
    return min(float(drawn), exact[4] / bound[4])


def _audit_outside() -> Outside:
    """Targets that are known before reports are agreed: who lies only when nobody will look is never caught."""
    n, m, steps = 9, 2, 400
    roster = tuple(bytes([peer]) * 32 for peer in range(n))
    rand = [hashlib.sha256(f"{step}".encode()).digest() for step in range(steps + 2)]
    validators = [draw_validators(rand[step], step, roster, m) for step in range(steps + 2)]
    workers = [[peer for peer in roster if peer not in drawn] for drawn in validators]
    wrong = 0
    for step in range(steps):
        targets = draw_targets(rand[step + 2], step + 2, validators[step + 2], workers[step])
        wrong += roster[0] in workers[step] and roster[0] not in targets.values()
    tail = dominating_tail(1, float(least_caught(n, 1, m)), steps)
    likely = next(k for k, chance in enumerate(tail) if chance < 1e-9)
    return Outside(wrong / likely, f"{wrong} wrong steps and no audit, where more than {likely} have chance 1e-9")


AUDIT = Bound(
    "audit",
    "a wrong worker of step t - 2 is drawn by an honest validator with probability q or more; cheats survived are"
    " dominated by geometric variables",
    "PROP-6, VER-7; proof in chapter verification",
    _audit_inside,
    _audit_edge,
    _audit_outside,
)


# -- Randomness -----------------------------------------------------------------------------------


def best_of_all_strategies(values: int, wanted: frozenset[int], redraws: int) -> Fraction:
    """The greatest chance that the kept one of ``values`` equally likely values is wanted, over every way to decide,
    for each number of redraws left, which values to have drawn again."""
    refusals = list(product((False, True), repeat=values))
    best = Fraction(0)
    for strategy in product(refusals, repeat=redraws):
        chance = Fraction(len(wanted), values)  # the last value is kept whatever it is
        for refused in strategy:
            kept = sum(value in wanted and not refused[value] for value in range(values))
            chance = Fraction(kept, values) + Fraction(sum(refused), values) * chance
        best = max(best, chance)
    return best


def _randomness_inside() -> Inside:
    cases, violations = 0, []
    for values, redraws in product((2, 3), (0, 1, 2)):
        for size in range(values + 1):
            cases += 1
            chance = Fraction(size, values)
            best = best_of_all_strategies(values, frozenset(range(size)), redraws)
            if best > refusal_gain(chance, redraws) or best > (redraws + 1) * chance:
                violations.append(f"{size} of {values} values, {redraws} redraws: {best}")
    plain = sorted(_outputs(bytes(64)))
    for share in (b"\xff", b"\x80", b"\x0f"):  # whatever the colluders' share, the same values come out
        cases += 1
        if sorted(_outputs(share + bytes(63))) != plain:
            violations.append(f"a Byzantine share that begins with {share!r} changes what can come out")
    return Inside(cases, violations)


def _outputs(byzantine: bytes) -> list[bytes]:
    """r for each of the 256 honest shares that differ in the first byte, next to a fixed Byzantine opening."""
    return [mprng.combine([bytes([first]) + bytes(63), byzantine]) for first in range(256)]


def _randomness_edge() -> float:
    """Refusing every value that is not wanted, with the protocol's own values, counted over all honest shares."""
    outputs = _outputs(bytes(64))
    wanted = sum(value[0] < 32 for value in outputs)
    refused = len(outputs) - wanted
    shares = []
    for redraws in (1, 2, 7):
        reached = 1 - Fraction(refused, len(outputs)) ** (redraws + 1)
        optimum = refusal_gain(Fraction(wanted, len(outputs)), redraws)
        shares.append(float(reached / optimum))
    rare = Fraction(1, 4096)
    return min(*shares, float(refusal_gain(rare, 7) / (8 * rare)))


def _randomness_outside() -> Outside:
    """A redraw that costs nobody a seat: the coalition goes on until it likes the value."""
    chance, redraws = Fraction(1, 64), 7
    free = refusal_gain(chance, 1000)
    return Outside(float(free / ((redraws + 1) * chance)), f"an event of chance 1/64 has chance {float(free):.6f}")


RANDOMNESS = Bound(
    "randomness",
    "an event of probability p has at most 1 - (1 - p)^(b + 1) <= (b + 1)p, all redraws of a run spent on it",
    "PROP-7; chapter mprng",
    _randomness_inside,
    _randomness_edge,
    _randomness_outside,
)


# -- The radius -----------------------------------------------------------------------------------


RADIUS_MIN = 1e-6
"""τ_min of :func:`pumped_radii`."""


def pumped_radii(honest: int, byzantine: int, factor: float, rounds: int) -> list[float]:
    """τ of successive steps while colluders on one ray pull as far as they can; it begins with 1.

    The honest agree fully, so every reported distance is the colluders' own doing: bτ/h.
    """
    bounds, radii = (slice(0, 3),), [1.0]
    state = Radii(bounds, np.array([1.0]), np.array([1.0]))
    for _ in range(rounds):
        radius = float(next_radii(state, bounds, factor, RADIUS_MIN, 1e6)[0])
        vectors = np.zeros((honest + byzantine, 3), np.float32)
        vectors[honest:, 0] = 1e3 * radius
        aggregate = centered_clip(vectors, radius, 1e-4 * radius)
        norms = [float(np.linalg.norm(vectors[0] - aggregate))] * honest + [math.inf] * byzantine
        state = Radii(bounds, np.array([radius]), np.array([lower_median(norms)]))
        radii.append(radius)
    return radii


CROWDS = ((8, 7), (9, 7), (5, 3))


def _radius_inside() -> Inside:
    cases, violations = 0, []
    for (h, b), share in product(CROWDS, (0.5, 0.9, 0.98)):
        cases += 1
        first, *_, last = pumped_radii(h, b, share * h / b, 40)[1:]
        if not last <= max(first * (share + 1e-3) ** 38, RADIUS_MIN):
            violations.append(f"h = {h}, b = {b}, c = {share} h/b: from {first} to {last}")
    return Inside(cases, violations)


def _radius_edge() -> float:
    """At c = h/b the radius neither falls nor grows."""
    reached = []
    for h, b in CROWDS:
        first, *_, last = pumped_radii(h, b, h / b, 40)[1:]
        reached.append(min(last / first, first / last))
    return min(reached)


def _radius_outside() -> Outside:
    radii = pumped_radii(8, 7, 1.02 * 8 / 7, 200)
    return Outside(
        radii[-1] / radii[1], f"c = 1.02 h/b: the radius grows {radii[-1] / radii[1]:.0f} times in 200 steps"
    )


RADIUS_FACTOR = Bound(
    "radius factor",
    "c < h/b: colluders cannot make the radius grow while the honest agree",
    "CLIP-3, MODEL-5; chapter butterfly_clip",
    _radius_inside,
    _radius_edge,
    _radius_outside,
)


BOUNDS = (DISTANCE, SHARP_DISTANCE, RESIDUAL_DISTANCE, C3, COUNTING, C2, AUDIT, RANDOMNESS, RADIUS_FACTOR)


def lines() -> Iterator[str]:
    """What is found for every bound, as plain text."""
    for bound in BOUNDS:
        inside, outside = bound.inside(), bound.outside()
        yield f"{bound.name}: {bound.statement} ({bound.source})"
        yield f"  inside: {inside.cases} cases, {len(inside.violations)} violations"
        yield f"  edge: {100 * bound.edge():.1f} % reached"
        yield f"  outside: {outside.text}"
