"""Runs under attack and what must hold in every one of them, for the tests and for the specification's table."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from btard.protocol.model import BTARD, REDUNDANT_CODE
from btard.training.registry import find_task
from btard.training.task import Task
from btard.training.trainer import Settings, train
from btard_adversary.attacks.membership import KEYS

PEERS = 8
MOST = 3
"""The most attackers that n ≥ 2b + 2 allows."""
CHAPTER = Path(__file__).resolve().parents[1] / "spec" / "attacks.md"
BEGIN, END = "<!-- attack table: begin -->", "<!-- attack table: end -->"


@lru_cache(maxsize=4)
def task_of(name: str) -> Task:
    """A task, once per process."""
    return find_task(name, device="cpu")


def table_of_the_chapter() -> dict[str, str]:
    """The lines of the table in spec/attacks.md, by attack."""
    table = CHAPTER.read_text().split(BEGIN)[1].split(END)[0].strip().splitlines()[2:]
    return {row.split("|")[1].strip(): row for row in table}


def attacked(
    attack: str | None,
    byzantine: int,
    seed: int,
    steps: int,
    channel: str = "broadcast",
    peers: int = PEERS,
    profile: str = BTARD,
) -> dict[str, Any]:
    """The summary of a run; b is the number of attackers, who start at step 1. In profile redundant-code as many liars
    are located as there are.

    ``attack``: one or several, comma-separated; None: the would-be attackers are honest. The
    simulator compares all honest peers after every step and raises if they differ (PROP-1).
    """
    task = "logistic" if "label-flip" in (attack or "").split(",") else "quadratic"
    acting = {"byzantine": byzantine, "attack": attack, "attack_start": 1}
    coded = byzantine if profile == REDUNDANT_CODE else 0
    about = {"profile": profile, "liars": coded, "channel": channel, "logs": "none"}
    settings = Settings(task=task, peers=peers, steps=steps, seed=seed, **about, **acting)  # type: ignore[arg-type]
    return train(settings, task_of(task), None, lambda event: None)


def breaches(summary: dict[str, Any]) -> list[str]:
    """What went against the specification in a run, as sentences; none if all is well."""
    honest = [removal for removal in summary["removals"] if not removal["byzantine"] and removal["how"] != "eliminated"]
    pairs = summary["honest_eliminated"], summary["byzantine_eliminated"]
    found = [f"honest peer {removal['how']}: {removal['fault']}" for removal in honest]
    found += [
        f"expected '{verdict['expected']}', shown {verdict['ends'] or 'nothing'}"
        for verdict in summary["verdicts"]
        if not verdict["shown"]
    ]
    if len(summary["verdicts"]) != summary["byzantine"]:
        found.append(f"{len(summary['verdicts'])} verdicts for {summary['byzantine']} attackers")
    if pairs[0] > pairs[1]:
        found.append(f"{pairs[0]} honest peers eliminated with {pairs[1]} attackers")
    if summary["retries"] > summary["tolerate"]:
        found.append(f"{summary['retries']} attempts void with b = {summary['tolerate']}")
    if summary["byzantine_joined"]:
        found.append(f"{summary['byzantine_joined']} seats gained by attackers")
    if summary["attack"] == "many-keys" and summary["refused"] != KEYS * summary["byzantine"]:
        found.append(f"{summary['refused']} of {KEYS * summary['byzantine']} idle keys refused")
    if summary["honest_refused"]:
        found.append(f"{summary['honest_refused']} honest newcomers refused")
    if summary["stopped"]:
        found.append(f"stopped: {summary['stopped']}")
    return found
