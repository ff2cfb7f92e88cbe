"""Kill a run at random moments, go on with it, and compare it with the undisturbed one.

``python -m tests.kills FOLDER --trials 200`` runs the trials of one scene after the other and prints what was lost,
which must be nothing. Every life of a run is a process of its own, which SIGKILL ends.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from btard.network.faults import Faults
from btard.training.checkpoints import RunStore
from btard.training.registry import find_task
from btard.training.trainer import Settings, train

COMMON: dict[str, Any] = {"task": "quadratic", "steps": 40, "seed": 1, "logs": "all"}
SCENES: dict[str, Settings] = {
    "attacked": Settings(peers=6, byzantine=2, attack="delayed-gradient", **COMMON),
    "ideal channel": Settings(peers=6, byzantine=2, attack="sign-flip", channel="ideal", **COMMON),
    "network faults": Settings(peers=7, tolerate=2, faults=Faults(loss=0.2, jitter=0.5, cut=1, cut_step=12), **COMMON),
    "comings and goings": Settings(peers=8, tolerate=2, join=(1, 5), leave=(1, 17), **COMMON),
}
PATIENCE = 120.0
"""Seconds after which a life is one that hangs."""
MOST_KILLS = 3
"""After so many kills a trial is left to end."""


def life(settings: Settings, out: Path, resume: bool) -> int:
    """Start a process that begins the run in ``out`` or goes on with it; its process id."""
    child = os.fork()
    if child:
        return child
    try:
        kept = RunStore(out).settings(Settings) if resume else settings
        train(kept, find_task("quadratic", device="cpu"), out, lambda event: None, resume=resume)
        os._exit(0)
    except BaseException as error:  # a child never returns into its parent's code
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        os._exit(1)


def ended(child: int, seconds: float) -> bool:
    """Let a process live for so long; whether it ended by itself. Raises ChildProcessError if it failed."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        known, status = os.waitpid(child, os.WNOHANG)
        if known:
            if status:
                raise ChildProcessError("a life ended with an error")
            return True
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def trial(settings: Settings, out: Path, draw: random.Random, usual: float) -> int:
    """One run with kills at random moments of the ``usual`` time it takes; returns how many."""
    shutil.rmtree(out, ignore_errors=True)
    for kills in range(MOST_KILLS):
        if ended(life(settings, out, (out / "settings.json").exists()), draw.uniform(0.0, usual)):
            return kills
    if not ended(life(settings, out, (out / "settings.json").exists()), PATIENCE):
        raise ChildProcessError("a life hangs")
    return MOST_KILLS


def traces(out: Path) -> dict[str, Any]:
    """What a run left: its logs and what it kept, byte by byte, and its results apart from times and traffic."""
    summary = json.loads((out / "summary.json").read_text())
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    files = {path.name: path.read_bytes() for path in sorted((out / "log").iterdir())}
    return {**files, "summary": without_times(summary), "metrics": [without_times(row) for row in rows]}


def without_times(row: dict[str, Any]) -> dict[str, Any]:
    """Results that must be equal: a resumed run sends again what was on its way, so bytes are not among them."""
    return {key: value for key, value in row.items() if "seconds" not in key and "bytes" not in key}


def trials(folder: Path, count: int, seed: int) -> Iterator[tuple[str, int, list[str]]]:
    """Scene, kills and what differs from the undisturbed run, of ``count`` trials."""
    draw, usual, known = random.Random(seed), {}, {}
    for number in range(count):
        scene = list(SCENES)[number % len(SCENES)]
        if scene not in known:
            begun = time.monotonic()
            if not ended(life(SCENES[scene], folder / scene, False), PATIENCE):
                raise ChildProcessError("an undisturbed run hangs")
            usual[scene], known[scene] = time.monotonic() - begun, traces(folder / scene)
        kills = trial(SCENES[scene], folder / "trial", draw, usual[scene])
        found = traces(folder / "trial")
        yield scene, kills, [key for key in {**known[scene], **found} if known[scene].get(key) != found.get(key)]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    rows = list(trials(options.folder, options.trials, options.seed))
    lost = [f"{scene}: {', '.join(differs)}" for scene, _, differs in rows if differs]
    print(json.dumps({"trials": len(rows), "kills": sum(kills for _, kills, _ in rows), "lost": lost}))


if __name__ == "__main__":
    main()
