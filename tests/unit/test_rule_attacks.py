"""Attacks made for one aggregation rule: each ruins training with it, and another rule or the protocol survives."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from btard.network.coalition import Seating, World
from btard.protocol.arithmetic import Float64
from btard.training.registry import known_names
from btard_adversary.attacks.rules import (
    CoordinateExtremes,
    InnerQuantile,
    KrumDecoy,
    MinMax,
    Omniscient,
    VoteFlip,
    chosen_by_krum,
    pairwise,
    squared_distances,
)
from btard_adversary.baselines import krum
from btard_adversary.comparison import Cell, Comparison, Place, play
from btard_adversary.rules import RULES

QUADRATIC, DIGITS = "quadratic,dimension=200", "digits,batch_size=8"

BREAKS = [
    ("krum-decoy", "krum", 100, "btard", 5),
    ("hidden-coordinate", "krum", 200, "coordinate-median", 10),
    ("coordinate-extremes", "coordinate-median", 200, "btard", 5),
    ("coordinate-extremes", "trimmed-mean", 200, "btard", 5),
    ("min-max", "krum", 30, "signum", 7),
    ("inner-quantile", "bulyan", 20, "btard", 5),
    ("clip-push", "centered-clip", 400, "krum", 2),
    ("vote-flip", "signum", 7, "btard", 5),
    ("vote-flip", "coordinate-median", 150, "btard", 5),
]
"""On the quadratic: the rule's loss grows at least so many times, the survivor's at most so many times."""

ON_DIGITS = [
    ("krum-decoy", "krum", 0.6, "signum"),
    ("krum-decoy", "bulyan", 0.15, "signum"),
    ("coordinate-extremes", "coordinate-median", 0.6, "btard"),
    ("min-max", "krum", 0.6, "btard"),
    ("inner-quantile", "bulyan", 0.25, "btard"),
    ("clip-push", "centered-clip", 0.6, "krum"),
    ("vote-flip", "signum", 0.06, "btard"),
]
"""On digits, with batches of 8: the rule loses at least so much accuracy, and more than the survivor does."""


@cache
def played(task: str, rule: str, attack: str, steps: int) -> Cell:
    """One run of 16 peers, 7 attackers among them, or as many as the rule is meant for."""
    asked = Comparison(task, (rule,), (attack,), peers=16, byzantine=7, steps=steps, seeds=1)
    return play(asked, Place(rule, attack, 0))


def growth(rule: str, attack: str) -> float:
    """How many times the loss on the quadratic an attack makes it."""
    before, after = (played(QUADRATIC, rule, name, 100).loss for name in ("none", attack))
    assert before is not None and after is not None
    return after / before


def loss_of_accuracy(rule: str, attack: str) -> float:
    """How much accuracy on digits an attack costs."""
    before, after = (played(DIGITS, rule, name, 80).accuracy for name in ("none", attack))
    assert before is not None and after is not None
    return before - after


def skip_unless_installed(rule: str) -> None:
    """A rule of the package that may not be there yet."""
    if rule == "bulyan" and rule not in known_names(RULES):
        pytest.skip("there is no rule 'bulyan' here")


@pytest.mark.parametrize(("attack", "rule", "least", "survivor", "most"), BREAKS)
def test_an_attack_breaks_its_rule_and_another_one_survives(
    attack: str, rule: str, least: float, survivor: str, most: float
) -> None:
    skip_unless_installed(rule)
    assert growth(rule, attack) >= least
    assert growth(survivor, attack) <= most


@pytest.mark.slow
@pytest.mark.parametrize(("attack", "rule", "least", "survivor"), ON_DIGITS)
def test_an_attack_breaks_its_rule_on_real_data(attack: str, rule: str, least: float, survivor: str) -> None:
    skip_unless_installed(rule)
    lost = loss_of_accuracy(rule, attack)
    assert lost >= least
    assert loss_of_accuracy(survivor, attack) < lost - 0.03


# -- What each one sends ------------------------------------------------------------------------


def honest_gradients(mean: float = 0.3) -> Float64:
    """Nine noisy gradients, float64 ``[9, 400]``, rounded to float32."""
    drawn = np.random.default_rng(3).standard_normal((9, 400)) + mean
    return drawn.astype(np.float32).astype(np.float64)


def sent(attack: type[Omniscient], gradients: Float64, attackers: int = 6) -> Float64:
    """The coalition's vector."""
    coalition = frozenset(bytes([200 + index]) * 32 for index in range(attackers))
    world = World(coalition, None)
    return attack(Seating(min(coalition), world, None)).joint(gradients, attackers)


def test_krum_chooses_the_decoy() -> None:
    gradients = honest_gradients()
    decoy = sent(KrumDecoy, gradients)
    assert np.array_equal(krum(np.vstack([gradients, *[decoy] * 6]), 6), decoy)
    assert float(decoy @ gradients.mean(axis=0)) < 0


@pytest.mark.parametrize("length", [0.1, 0.5, 1.0, 2.0, 3.0])
def test_what_krum_chooses_is_foreseen(length: float) -> None:
    gradients = honest_gradients()
    decoy = -length * np.ones(400)
    foreseen = chosen_by_krum(pairwise(gradients), squared_distances(gradients, decoy), 6)
    assert foreseen == np.array_equal(krum(np.vstack([gradients, *[decoy] * 6]), 6), decoy)


def test_min_max_stays_among_the_honest_distances() -> None:
    gradients = honest_gradients()
    reach = squared_distances(gradients, sent(MinMax, gradients)).max() / pairwise(gradients).max()
    assert reach == pytest.approx(1)


def test_extremes_lie_beyond_every_honest_value_and_quantiles_within() -> None:
    gradients = honest_gradients()
    below = np.where(gradients.mean(axis=0) > 0, 1.0, -1.0)
    extremes, quantiles = sent(CoordinateExtremes, gradients), sent(InnerQuantile, gradients, attackers=2)
    assert ((gradients - extremes) * below > 0).all()
    assert (((gradients - quantiles) * below > 0).sum(axis=0) >= 5).all()
    assert (((gradients - quantiles) * below < 0).sum(axis=0) >= 1).all()


def test_votes_turn_thin_majorities_only() -> None:
    gradients = np.array([[1.0, 1.0, -1.0]] * 5 + [[1.0, -1.0, -1.0]] * 4)
    assert np.sign(sent(VoteFlip, gradients, attackers=3)).tolist() == [1.0, -1.0, -1.0]


def test_without_honest_workers_the_gradient_stays_as_it_is() -> None:
    seating = Seating(bytes(32), World(frozenset({bytes(32)}), None), None)
    honest = np.ones(4, dtype=np.float32)
    assert KrumDecoy(seating).poison(None, honest) is honest  # type: ignore[arg-type]  # no state is looked at
