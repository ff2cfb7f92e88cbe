"""Every attack on digits, three seeds each: ``python -m tests.benchmarks.attack_table`` prints the README's table.

About ten seconds a run on one core, six minutes in all.
"""

from __future__ import annotations

from typing import Any

from btard.training.registry import find_task
from btard.training.trainer import Settings, attack_names, train

SEEDS = (0, 1, 2)


def measure(attack: str | None, seed: int, task: Any) -> dict[str, Any]:
    """The summary of one run of 16 peers, b = 7, 200 steps, attackers acting from step 0."""
    settings = Settings(
        peers=16, byzantine=7 if attack else 0, tolerate=7, attack=attack, steps=200, seed=seed, logs="none"
    )
    return train(settings, task, None, lambda event: None)


def row(attack: str | None, task: Any) -> str:
    """One line of the table."""
    runs = [measure(attack, seed, task) for seed in SEEDS]
    accuracy = " / ".join(f"{run['accuracy']:.3f}" for run in runs)
    banned = " / ".join(str(run["byzantine_banned"]) for run in runs)
    last = " / ".join(str(max(run["ban_steps"], default="–")) for run in runs)
    honest = sum(run["honest_banned"] + run["honest_eliminated"] for run in runs)
    return f"| {attack or 'none'} | {accuracy} | {banned} | {last} | {honest} |"


def main() -> None:
    """Print the table as Markdown, a line as soon as it is known."""
    task = find_task("digits", device="cpu")
    print("| attack | accuracy, seeds 0 / 1 / 2 | attackers banned | last ban at step | honest peers lost |")
    print("| --- | --- | --- | --- | --- |")
    for attack in (None, *(name for name, _, _ in attack_names())):
        print(row(attack, task), flush=True)


if __name__ == "__main__":
    main()
