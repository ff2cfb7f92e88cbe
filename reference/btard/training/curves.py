"""The picture of a run: loss and accuracy over steps, with every departure marked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt

if TYPE_CHECKING:
    from btard.training.trainer import Event

LABELS = {"swarm": "BTARD", "mean": "plain mean, same attack", "clean": "BTARD, no attack"}
COLORS = {"swarm": "#0b6e4f", "mean": "#c1292e", "clean": "#7a7a7a"}
STYLES = {"swarm": "-", "mean": "--", "clean": ":"}


def draw_curves(path: Path, summary: dict[str, Any], events: list[Event], loss_name: str) -> None:
    """Write a PNG to ``path``."""
    from btard.training.trainer import Measured

    measured = [event for event in events if isinstance(event, Measured)]
    has_accuracy = summary["accuracy"] is not None
    figure, axes = plt.subplots(1 + has_accuracy, 1, sharex=True, figsize=(8, 3.2 * (1 + has_accuracy)), squeeze=False)
    panels = [axis for (axis,) in axes]
    for name in dict.fromkeys(event.run for event in measured):
        points = [event for event in measured if event.run == name]
        style = {"label": LABELS[name], "color": COLORS[name], "linestyle": STYLES[name], "linewidth": 1.8}
        steps = [event.steps for event in points]
        panels[0].plot(steps, [event.quality.loss for event in points], **style)
        if has_accuracy:
            panels[1].plot(steps, [event.quality.accuracy for event in points], **style)
    mark_departures(panels, summary)
    panels[0].set_ylabel(f"test loss ({loss_name})")
    panels[0].set_yscale("log")
    if has_accuracy:
        panels[1].set_ylabel("test accuracy (share right)")
        panels[1].set_ylim(-0.02, 1.02)
    panels[-1].set_xlabel("training step")
    panels[-1].legend(loc="best", frameon=False)
    figure.suptitle(title(summary))
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def mark_departures(panels: list[Any], summary: dict[str, Any]) -> None:
    """A tick at every step where someone left, attackers and honest peers apart."""
    for byzantine, color, label in ((True, "#e08e0b", "attacker leaves"), (False, "#1f4e9c", "honest peer leaves")):
        steps = [removal["step"] for removal in summary["removals"] if removal["byzantine"] == byzantine]
        for panel in panels:
            for index, step in enumerate(steps):
                panel.axvline(step, color=color, linewidth=0.9, alpha=0.7, label=label if index == 0 else None)


def title(summary: dict[str, Any]) -> str:
    """What was run, in one line."""
    attack = f"attack: {summary['attack']} from step {summary['attack_start']}" if summary["attack"] else "no attack"
    return f"{summary['task']}: {summary['peers']} peers, {summary['byzantine']} of them attackers, {attack}"
