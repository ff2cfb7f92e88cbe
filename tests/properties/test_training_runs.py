"""The main job on real data: attackers are banned, nobody honest is, and accuracy does not suffer."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import pytest
from btard.training.registry import find_task
from btard.training.task import Task
from btard.training.trainer import Settings, train

GRADIENT_ATTACKS = (
    "sign-flip",
    "constant-direction",
    "random-noise",
    "label-flip",
    "delayed-gradient",
    "inner-product-manipulation",
    "a-little-is-enough",
)
OTHER_ATTACKS = ("shifted-aggregate", "covered-aggregate", "false-accuser")


@lru_cache(maxsize=1)
def digits() -> Task:
    """The task, once."""
    return find_task("digits", device="cpu")


@lru_cache(maxsize=3)
def clean_accuracy(seed: int) -> float:
    """Accuracy without attack."""
    summary = train(Settings(peers=16, tolerate=7, seed=seed, logs="none"), digits(), None, lambda event: None)
    return float(summary["accuracy"])


def attacked(attack: str, seed: int, **settings: Any) -> dict[str, Any]:
    """A run of 16 peers with 7 attackers."""
    chosen = Settings(peers=16, byzantine=7, attack=attack, seed=seed, logs="none", **settings)
    return train(chosen, digits(), None, lambda event: None)


def check_survived(summary: dict[str, Any], seed: int, tolerance: float) -> None:
    """All attackers banned, nobody honest touched, accuracy near that of an undisturbed run."""
    assert summary["byzantine_banned"] == 7
    assert summary["honest_banned"] == summary["honest_eliminated"] == summary["absent"] == 0
    assert summary["retries"] <= 7
    assert summary["accuracy"] >= clean_accuracy(seed) - tolerance


def test_the_main_job() -> None:
    """`make train`: seven sign-flippers from step 10; the plain mean under the same attack diverges."""
    summary = attacked("sign-flip", 0, attack_start=10, baselines=("mean",))
    check_survived(summary, 0, 0.02)
    assert summary["accuracy"] >= 0.95
    assert summary["accuracy_mean_baseline"] <= 0.30
    assert summary["diverged_mean_baseline"]


def test_covered_aggregates_on_real_data() -> None:
    check_survived(attacked("covered-aggregate", 1), 1, 0.03)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("attack", GRADIENT_ATTACKS + OTHER_ATTACKS)
def test_every_attack_on_three_seeds(attack: str, seed: int) -> None:
    check_survived(attacked(attack, seed), seed, 0.03)
