"""The stateful machine: swarm steps per second, and where the time goes.

Run with ``python -m tests.benchmarks.bench_machine``.
"""

from __future__ import annotations

import cProfile
import pstats
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from btard_adversary.fuzz import batch_settings, cores, seldom_collecting
from btard_adversary.machine import Counts, run_script
from btard_adversary.script import Script
from btard_adversary.strategies import actions
from btard_adversary.swarm import Scene, Schedule
from hypothesis import given, seed
from hypothesis import strategies as st

Row = tuple[str, float, str]
SWARMS = 40
PARTS = {
    "network": "btard/network/",
    "protocol": "btard/protocol/",
    "properties and scripts": "btard_adversary/",
    "signatures": "nacl",
    "Hypothesis": "hypothesis/",
}


@st.composite
def eights(draw: st.DrawFn) -> Script:
    """Eight peers, b = 3, up to three attackers, up to four actions; half of the runs on the ideal channel."""
    channel = draw(st.sampled_from(["ideal", "broadcast"]))
    scene = Scene(8, 3, (1, 4, 6), 2, 5, seed=draw(st.integers(0, 99)), channel=channel, schedule=Schedule())
    acts = draw(st.lists(actions(scene), max_size=4))
    return Script(scene, tuple(acts))


def play(number: int) -> tuple[Counts, float]:
    """Swarms of one process, and its seconds."""
    counts = Counts()

    def one(script: Script) -> None:
        counts.add(run_script(script))

    began = time.perf_counter()
    with seldom_collecting():
        seed(number)(batch_settings(SWARMS)(given(eights())(one)))()
    return counts, time.perf_counter() - began


def profile() -> dict[str, float]:
    """The share of each part in the time of one process."""
    profiler = cProfile.Profile()
    profiler.enable()
    play(1)
    profiler.disable()
    spent: Counter[str] = Counter()
    for (file, _, _), (_, _, own, _, _) in pstats.Stats(profiler).stats.items():  # type: ignore[attr-defined]
        spent[next((part for part, place in PARTS.items() if place in file), "numpy, Python itself")] += own
    return {part: own / sum(spent.values()) for part, own in spent.most_common()}


def run() -> list[Row]:
    """Steps per second on all cores, and the profile."""
    jobs = cores()
    began = time.perf_counter()
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        list(pool.map(play, range(jobs)))  # the first time, modules are loaded
        began = time.perf_counter()
        steps = sum(counts.steps for counts, _ in pool.map(play, range(100, 100 + jobs)))
        rate = steps / (time.perf_counter() - began)
    rows: list[Row] = [(f"swarm steps per second in the machine, 8 peers, {jobs} processes", rate, ">= 40")]
    return rows + [(f"  of which {part}", share, "-") for part, share in profile().items()]


if __name__ == "__main__":
    for name, value, target in run():
        print(f"{value:10.3f}  target {target:8}  {name}")
