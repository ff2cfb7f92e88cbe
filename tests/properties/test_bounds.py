"""Every tolerance bound from three sides: kept inside, reached at its edge, broken just outside."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from btard_adversary import bounds
from btard_adversary.bounds import Bound
from btard_adversary.laws import caught, counted_audits, least_caught, passing_share, refusal_gain

sides = pytest.mark.parametrize("side", ["inside", "edge", "outside"])
TIGHT = 0.95
"""The share of a bound that must be reached at its edge."""


def check(bound: Bound, side: str) -> None:
    """One side of a bound."""
    if side == "inside":
        inside = bound.inside()
        assert inside.cases >= 9 and not inside.violations, inside.violations[:3]
    elif side == "edge":
        assert TIGHT <= bound.edge() <= 1 + 1e-3
    else:
        outside = bound.outside()
        assert outside.ratio > 1, outside.text


@pytest.mark.requirement("CLIP-6")
@sides
@pytest.mark.parametrize("name", ["DISTANCE", "SHARP_DISTANCE", "RESIDUAL_DISTANCE"])
def test_the_distance_of_a_correct_aggregate(name: str, side: str) -> None:
    check(getattr(bounds, name), side)


@pytest.mark.requirement("VER-4")
@pytest.mark.requirement("MODEL-1")
@sides
def test_a_part_that_passes_c3_is_near_an_honest_one(side: str) -> None:
    check(bounds.C3, side)


@pytest.mark.requirement("PROP-3")
@pytest.mark.requirement("MODEL-1")
@pytest.mark.requirement("MODEL-2")
@sides
def test_removals_keep_the_majority(side: str) -> None:
    check(bounds.COUNTING, side)


@pytest.mark.requirement("VER-3")
@pytest.mark.requirement("PROP-8")
@sides
def test_forged_parts_seldom_pass_c2(side: str) -> None:
    check(bounds.C2, side)


@pytest.mark.requirement("PROP-6")
@pytest.mark.requirement("VER-7")
@sides
def test_cheats_are_audited(side: str) -> None:
    check(bounds.AUDIT, side)


@pytest.mark.requirement("PROP-7")
@sides
def test_redraws_bias_the_randomness_no_further(side: str) -> None:
    check(bounds.RANDOMNESS, side)


@pytest.mark.requirement("CLIP-3")
@pytest.mark.requirement("MODEL-5")
@sides
def test_colluders_do_not_pump_the_radius(side: str) -> None:
    check(bounds.RADIUS_FACTOR, side)


def test_every_bound_is_tested_here_and_can_be_listed() -> None:
    text = "\n".join(bounds.lines())
    assert len(bounds.BOUNDS) == 9 and text.count("edge:") == 9 and "violations" in text
    named = {bound for name in dir(bounds) if isinstance(bound := getattr(bounds, name), Bound)}
    assert named == set(bounds.BOUNDS)


# -- The instruments themselves ---------------------------------------------------------------------


@pytest.mark.parametrize("rho", [(1, 2), (3, -1, 2), (0, -5), (2,), (-7, 3, 1)])
@pytest.mark.parametrize("threshold", [0, 1, 9, 40])
def test_counting_directions_is_plain_enumeration(rho: tuple[int, ...], threshold: int) -> None:
    def products(rest: tuple[int, ...]) -> list[int]:
        return [z * rest[0] + other for z in range(-4, 4) for other in products(rest[1:])] if rest else [0]

    hits = sum(abs(value) <= threshold for value in products(rho))
    assert passing_share(rho, threshold, 3) == Fraction(hits, 8 ** len(rho))


@pytest.mark.requirement("PROP-6")
def test_counted_audits_depend_on_who_validated_before_and_never_fall_below_q() -> None:
    shares = list(counted_audits(5, 1, 2))
    assert min(shares) >= least_caught(5, 1, 2) > 0 and sum(shares, Fraction(0)) / len(shares) == caught(5, 1, 2)


def test_a_law_that_is_a_little_wrong_is_noticed() -> None:
    """As if the pool of targets were the whole roster without the validators of the step."""
    mean = sum(counted_audits(4, 1, 1), Fraction(0)) / 3
    assert mean == caught(4, 1, 1) != caught(4, 1, 1, before=0)


@pytest.mark.parametrize("scale", [0.97, 0.9])
def test_a_smaller_distance_bound_would_be_violated(scale: float) -> None:
    """The edge is real: colluders go beyond any bound that is a little smaller."""
    radius = 9 / 2
    limit = scale * bounds.sharp_distance_bound(9, 7, 1.0, radius, 0.0)
    assert bounds.distance_reached(bounds.balanced(9), 7, radius, 0.0, 1.2 * limit) > limit


def test_one_redraw_more_exceeds_the_bound_for_one_fewer() -> None:
    wanted = frozenset({0})
    assert bounds.best_of_all_strategies(3, wanted, 2) == refusal_gain(Fraction(1, 3), 2)
    assert bounds.best_of_all_strategies(3, wanted, 2) > refusal_gain(Fraction(1, 3), 1)


def test_beyond_the_edge_the_radius_grows_to_its_limit() -> None:
    assert max(bounds.pumped_radii(8, 7, 1.3 * 8 / 7, 100)) == pytest.approx(1e6)
    assert math.isclose(bounds.pumped_radii(8, 7, 0.5, 60)[-1], bounds.RADIUS_MIN)
