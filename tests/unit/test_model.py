"""Every inequality of a configuration holds on one side of its edge and is refused, by name, on the other."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from btard.protocol.model import (
    MAX_DIMENSION,
    MAX_PEERS,
    MAX_STEPS,
    Census,
    Configuration,
    ConfigurationError,
    default_distance_ratio,
    distance_ratio_bound,
    reachable,
    validator_count,
)
from swarms import configuration


def refused(inequality: str, **changes: Any) -> None:
    """The configuration is refused, and the message quotes the inequality."""
    with pytest.raises(ConfigurationError) as caught:
        configuration(**changes)
    assert f"violates {inequality}:" in str(caught.value)


@pytest.mark.requirement("MODEL-1")
@pytest.mark.parametrize("tolerated", [0, 1, 2, 7])
def test_a_majority_and_one_validator_need_2b_plus_2_peers(tolerated: int) -> None:
    edge = 2 * tolerated + 2
    assert configuration(peers=edge, tolerated=tolerated).peers == edge
    refused("n >= 2b + 2", peers=edge - 1, tolerated=tolerated)


@pytest.mark.requirement("MODEL-1")
@pytest.mark.parametrize("peers", [-1, 0, 1])
def test_fewer_than_two_peers_are_no_swarm(peers: int) -> None:
    refused("n >= 2b + 2", peers=peers, tolerated=0)


def test_a_negative_bound_and_too_many_peers_are_refused() -> None:
    refused("b >= 0", tolerated=-1)
    refused(f"n <= {MAX_PEERS}", peers=MAX_PEERS + 1, tolerated=0, dimension=MAX_PEERS + 1)
    assert configuration(peers=MAX_PEERS, tolerated=0, dimension=MAX_PEERS).peers == MAX_PEERS


@pytest.mark.requirement("MODEL-2")
def test_validators_never_cost_the_honest_workers_their_majority() -> None:
    for peers in range(1, 40):
        for tolerated in range(peers // 2 + 1):
            for most in (1, 2, 4, 100):
                count = validator_count(peers, tolerated, most)
                assert 0 <= count <= most
                if peers >= 2 * tolerated + 1:
                    assert peers >= 2 * tolerated + count + 1
                    one_more = peers >= 2 * tolerated + count + 2
                    assert count == most or not one_more  # and never fewer than there is room for
                else:
                    assert count == 0


@pytest.mark.requirement("MODEL-2")
def test_every_conviction_makes_room_for_one_more_validator() -> None:
    assert [validator_count(16 - k, 7 - k, 4) for k in range(8)] == [1, 2, 3, 4, 4, 4, 4, 4]


def test_reachable_lists_exactly_what_removals_lead_to() -> None:
    found = {(census.peers, census.tolerated) for census in reachable(11, 4, 2)}
    seen, frontier = set(), {(11, 4)}
    while frontier:
        seen |= frontier
        frontier = {(n - k, b - 1) for n, b in frontier if b > 0 for k in (1, 2)}
    assert found == seen
    assert {census.validators for census in reachable(11, 4, 2)} == {0, 2}


@pytest.mark.requirement("MODEL-3")
def test_every_worker_of_the_first_step_needs_a_coordinate() -> None:
    assert configuration(dimension=6).dimension == 6
    refused("d >= w", dimension=5)
    refused(f"d <= {MAX_DIMENSION}", dimension=MAX_DIMENSION + 1)


def test_the_number_of_steps_and_validators_is_positive() -> None:
    refused(f"1 <= steps <= {MAX_STEPS}", steps=0)
    refused(f"1 <= steps <= {MAX_STEPS}", steps=MAX_STEPS + 1)
    refused("m_max >= 1", validators=0)
    assert configuration(steps=1, validators=1).steps == 1


REALS = [
    "gradient_clip",
    "radius_initial",
    "radius_min",
    "radius_max",
    "residual_ratio",
    "spread_ratio",
    "distance_ratio",
    "radius_factor",
]


@pytest.mark.requirement("MODEL-4")
@pytest.mark.parametrize("name", REALS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1.0])
def test_no_constant_is_negative_infinite_or_no_number(name: str, value: float) -> None:
    refused(f"0 <= {name} <= 2^100", **{name: value})


@pytest.mark.requirement("MODEL-4")
def test_constants_keep_their_ranges() -> None:
    below_one = math.nextafter(1.0, 0.0)
    refused("0 < phi < 1", residual_ratio=0.0)
    refused("0 < phi < 1", residual_ratio=1.0)
    assert configuration(residual_ratio=below_one, peers=8, validators=1).residual_ratio == below_one
    refused("lambda >= 2^-100", gradient_clip=0.0)
    refused("lambda >= 2^-100", gradient_clip=2.0**-101)
    refused("rho* > 0", spread_ratio=0.0)
    refused("c > 0", radius_factor=0.0)
    refused("2^-100 <= tau_min <= tau_max", radius_min=0.0)
    refused("2^-100 <= tau_min <= tau_max", radius_min=math.nextafter(50.0, 99.0), radius_max=50.0)
    assert configuration(radius_min=50.0, radius_max=50.0).radius_min == 50.0
    refused("0 < tau_0 <= tau_max", radius_initial=0.0)
    refused("0 < tau_0 <= tau_max", radius_initial=math.nextafter(50.0, 99.0), radius_max=50.0)
    assert configuration(radius_initial=50.0, radius_max=50.0).radius_initial == 50.0


@pytest.mark.requirement("MODEL-5")
def test_colluders_cannot_pump_up_the_radius() -> None:
    # n = 8, b = 2, m = 2: h/(b + φ) = 4/2.125 is the least of all reachable ratios
    edge = min(c.honest_workers / (c.tolerated + 0.125) for c in reachable(8, 2, 2))
    assert edge == 4 / 2.125
    below, above = edge * (1 - 1e-12), edge * (1 + 1e-12)
    assert configuration(peers=8, residual_ratio=0.125, radius_factor=below).radius_factor == below
    refused("c < h/(b + phi)", peers=8, residual_ratio=0.125, radius_factor=above)


@pytest.mark.requirement("MODEL-5")
def test_the_edge_holds_for_every_reachable_census_and_not_only_for_the_first() -> None:
    # n = 9, b = 2, φ = 0.1 begins with h/(b + φ) = 6/2.1 (m = 1), but with 3/2.1 for m = 4
    configuration(peers=9, validators=1, radius_factor=2.8)
    refused("c < h/(b + phi)", peers=9, validators=1, radius_factor=2.9)
    refused("c < h/(b + phi)", peers=9, validators=4, radius_factor=1.5)


def exact_bound(census: Census, phi: Fraction, rho: Fraction) -> Fraction:
    """The right side of the inequality for κ, in rational arithmetic and from the text."""
    h, b = census.honest_workers, census.tolerated
    return rho + max((b + phi) / h, rho * (h + b + phi) / (h - b - phi))


@pytest.mark.requirement("MODEL-6")
@pytest.mark.parametrize(("peers", "tolerated", "rho"), [(6, 2, 2.0), (16, 7, 4.0), (9, 1, 0.125), (7, 0, 1.0)])
def test_the_distance_ratio_exceeds_what_honest_parts_can_reach(peers: int, tolerated: int, rho: float) -> None:
    phi = 0.125
    exact = max(exact_bound(c, Fraction(phi), Fraction(rho)) for c in reachable(peers, tolerated, 2))
    edge = max(distance_ratio_bound(c, phi, rho) for c in reachable(peers, tolerated, 2))
    assert abs(Fraction(edge) - exact) <= exact * Fraction(1, 2**50)
    settings: dict[str, Any] = {"peers": peers, "tolerated": tolerated, "residual_ratio": phi, "spread_ratio": rho}
    assert configuration(**settings, distance_ratio=math.nextafter(edge, math.inf)).distance_ratio > edge
    refused("kappa > rho* + max((b + phi)/h, rho*(h + b + phi)/(h - b - phi))", **settings, distance_ratio=edge)


@pytest.mark.requirement("MODEL-6")
def test_the_default_distance_ratio_is_just_above_the_bound() -> None:
    config = configuration()
    bound = max(distance_ratio_bound(c, 0.1, 2.0) for c in reachable(6, 2, 2))
    assert config.distance_ratio == default_distance_ratio(6, 2, 2, 0.1, 2.0) == pytest.approx(1.01 * bound)


def test_without_an_honest_surplus_no_distance_is_enough() -> None:
    assert distance_ratio_bound(Census(peers=3, tolerated=1, validators=1), 0.1, 1.0) == math.inf
    assert distance_ratio_bound(Census(peers=4, tolerated=1, validators=1), 0.1, 1.0) < math.inf


@pytest.mark.requirement("MODEL-7")
@pytest.mark.parametrize(("clip", "radius_max"), [(50.0, 50.0), (1.0, 1e5)])
def test_float32_is_fine_enough_for_the_residual(clip: float, radius_max: float) -> None:
    name = "n*2^-24*max(lambda + (b + phi)*tau_max/h, lambda*(h + b + phi)/(h - b - phi)) <= phi*tau_min/2"
    phi = Fraction(0.1)
    sides = []
    for census in reachable(6, 2, 2):
        h, b = census.honest_workers, census.tolerated
        reach = max(
            Fraction(clip) + (b + phi) * Fraction(radius_max) / h, Fraction(clip) * (h + b + phi) / (h - b - phi)
        )
        sides.append(census.peers * reach / 2**24)
    edge = float(2 * max(sides) / phi)
    settings = {"gradient_clip": clip, "radius_max": radius_max, "radius_initial": 1.0}
    assert configuration(**settings, radius_min=edge * (1 + 1e-12)).radius_min >= edge
    refused(name, **settings, radius_min=edge * (1 - 1e-12))


def test_a_configuration_is_a_value() -> None:
    assert configuration() == configuration()
    assert replace(configuration(), steps=5) != configuration()
    assert isinstance(configuration(), Configuration)
