"""Chapter ``majority_vote``, "What a minority of voters can do": the theorem by exact enumeration, and its breaks."""

from __future__ import annotations

import math
from fractions import Fraction
from math import comb, erf, sqrt

import numpy as np
import pytest
from btard.protocol.majority_vote import majority, pack_signs, unpack_signs

RATIOS = [0.01, 0.1, 0.5, 1.0, 2 / sqrt(3), 1.2, 2.0, 5.0]
"""S = |g|/σ."""


def wrong_gauss(ratio: float) -> float:
    """Probability that one estimate has the wrong sign: normal noise."""
    return 0.5 * (1 - erf(ratio / sqrt(2)))


def wrong_uniform(ratio: float) -> float:
    """The same: uniform noise, whose half-width is √3 deviations."""
    return max(0.0, 0.5 - ratio / (2 * sqrt(3)))


def wrong_laplace(ratio: float) -> float:
    """The same: Laplace noise."""
    return 0.5 * math.exp(-sqrt(2) * ratio)


NOISES = [wrong_gauss, wrong_uniform, wrong_laplace]


def failure(voters: int, flipped: int, wrong: float) -> float:
    """Probability that at most half of the votes are right, if ``flipped`` of the voters turn theirs; exact."""
    honest = voters - flipped
    total = 0.0
    for good in range(honest + 1):
        for bad in range(flipped + 1):  # of those who flip, ``bad`` had the right sign
            if 2 * (good + flipped - bad) <= voters:
                p = comb(honest, good) * (1 - wrong) ** good * wrong ** (honest - good)
                total += p * comb(flipped, bad) * (1 - wrong) ** bad * wrong ** (flipped - bad)
    return total


@pytest.mark.requirement("PROP-11")
@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("ratio", RATIOS)
def test_a_vote_fails_with_at_most_the_stated_probability(noise: object, ratio: float) -> None:
    """All M up to 25, every number of blind adversaries below one half."""
    wrong = noise(ratio)  # type: ignore[operator]
    for voters in range(1, 26):
        for flipped in range((voters + 1) // 2):
            share = flipped / voters
            assert failure(voters, flipped, wrong) <= 1 / ((1 - 2 * share) * sqrt(voters) * ratio) + 1e-12


@pytest.mark.requirement("PROP-11")
def test_gausss_inequality_bounds_a_single_wrong_sign() -> None:
    for ratio in RATIOS:
        bound = 2 / (9 * ratio**2) if ratio > 2 / sqrt(3) else 0.5 - ratio / (2 * sqrt(3))
        assert all(noise(ratio) <= bound + 1e-12 for noise in NOISES)
    assert wrong_uniform(1.0) == pytest.approx(0.5 - 1 / (2 * sqrt(3)))  # attained


@pytest.mark.requirement("PROP-11")
def test_with_half_of_the_voters_flipped_no_number_of_voters_helps() -> None:
    for wrong in (0.01, 0.2, 0.4):
        assert all(failure(voters, voters // 2, wrong) >= 0.5 for voters in range(2, 26, 2))


@pytest.mark.requirement("PROP-11")
def test_with_skewed_noise_more_voters_make_it_worse() -> None:
    """Estimates of mean 1 that are −1 in nine cases of ten, and 19 in the tenth: σ = 6, S = 1/6."""
    failures = [failure(voters, 0, 0.9) for voters in (1, 5, 25)]
    assert failures == sorted(failures) and failures[-1] > 0.999999
    assert failure(49, 0, 0.9) > 6 / sqrt(49)  # the theorem would say 1/(√M·S)


@pytest.mark.requirement("PROP-11")
@pytest.mark.parametrize("honest, byzantine", [(9, 7), (4, 3), (5, 2)])
def test_adversaries_who_see_the_votes_turn_exactly_the_thin_majorities(honest: int, byzantine: int) -> None:
    """Every margin of the honest votes: turned by all faulty votes against it if and only if it is less than b, or at
    b by the null sign."""
    for plus in range(honest + 1):
        votes = np.ones((honest + byzantine, 2), np.float32)
        votes[plus:honest] = -1
        margin = 2 * plus - honest
        votes[honest:] = -np.sign(margin)
        signs = unpack_signs(majority(np.stack([pack_signs(vote, 0) for vote in votes]), 2, 0), 2)
        turned = signs != np.sign(margin)
        assert turned.all() if abs(margin) < byzantine else turned.any() == (abs(margin) == byzantine)


def test_the_failure_of_a_few_voters_is_what_fractions_give() -> None:
    third = Fraction(1, 3)
    exact = 3 * third**2 * (1 - third) + third**3
    assert failure(3, 0, 1 / 3) == pytest.approx(float(exact))
