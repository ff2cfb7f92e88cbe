"""What security costs: bytes per step and wall time of a simulated step, as ratios within one run.

Run with ``python tests/benchmarks/bench_step.py [bytes|digits|text]``.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from btard.protocol.arithmetic import Float32
from btard.protocol.encoding import expand
from btard.protocol.update import Schedule, Sgd
from btard.training.registry import find_task
from btard.training.task import Evaluation, Task, TaskDefaults
from btard.training.trainer import Event, ServerRun, Settings, SwarmRun, assemble

Row = tuple[str, float, str]
WARM_STEPS = 3


class Noise:
    """A task whose gradients cost almost nothing: standard normal noise, d = 1,000,000."""

    name = "noise"
    loss_name = "nothing"
    description = "noise d=1000000"
    dimension = 1_000_000
    defaults = TaskDefaults(Sgd(Schedule(0.1, 1)), 10_000.0, 1_000.0, 50.0, 2_000.0)

    def initial_parameters(self) -> Float32:
        """Zeros."""
        return np.zeros(self.dimension, dtype=np.float32)

    def gradient(self, parameters: Float32, seed: bytes) -> Float32:
        """Noise from ``seed``."""
        generator = np.random.default_rng(list(expand("bench", seed, length=32)))
        return generator.standard_normal(self.dimension, dtype=np.float32)

    def poisoned_gradient(self, parameters: Float32, seed: bytes) -> Float32:
        """Noise has no labels; the honest gradient."""
        return self.gradient(parameters, seed)

    def evaluate(self, parameters: Float32) -> Evaluation:
        """Nothing to measure."""
        return Evaluation(0.0, None)


def bytes_ratio() -> list[Row]:
    """Bytes per peer and step at 16 peers, d = 1,000,000, against plain butterfly all-reduce."""
    task, steps, peers = Noise(), 6, 16
    swarm = assemble(Settings(peers=peers, tolerate=7, steps=steps, logs="none"), task)
    run = SwarmRun(swarm)
    sent = [0]
    for observed in run.simulation(None).run():
        sent.append(observed.bytes_sent)
    plain = 2 * (peers - 1) / peers * 4 * task.dimension
    without, with_validator = (sent[1] - sent[0]) / peers / plain, (sent[steps] - sent[steps - 1]) / peers / plain
    return [
        ("bytes per peer and step / plain butterfly all-reduce, no validator", without, "<= 1.02"),
        ("bytes per peer and step / plain butterfly all-reduce, one validator", with_validator, "<= 1.02"),
    ]


def step_times(events: Iterator[Event], steps: int) -> list[float]:
    """Seconds of each applied step."""
    moments = [time.perf_counter()]
    for event in events:
        if type(event).__name__ == "Advanced":
            moments.append(time.perf_counter())
    return [after - before for before, after in pairwise(moments)][WARM_STEPS:steps]


def wall_ratio(name: str, target: str, steps: int, rounds: int = 3) -> list[Row]:
    """A simulated step of 16 peers, b = 7, against the same step with the plain mean and no security."""
    task: Task = find_task(name, device="cpu")
    task.evaluate = lambda parameters: Evaluation(0.0, None)  # type: ignore[method-assign]
    swarm = assemble(Settings(task=name, peers=16, tolerate=7, steps=steps, logs="none"), task)
    ratios = []
    for _ in range(rounds):
        secure = statistics.median(step_times(SwarmRun(swarm).play(), steps))
        plain = statistics.median(step_times(ServerRun(swarm).play(), steps))
        ratios.append(secure / plain)
    return [(f"simulated step / plain mean step, {name}, d = {task.dimension:,}", statistics.median(ratios), target)]


def run(which: tuple[str, ...] = ("bytes", "digits", "text")) -> list[Row]:
    """All rows asked for: name, ratio, target."""
    rows: list[Row] = []
    if "bytes" in which:
        rows += bytes_ratio()
    if "digits" in which:
        rows += wall_ratio("digits", "<= 3", 20)
    if "text" in which:
        rows += wall_ratio("text", "<= 1.5", 8)
    return rows


if __name__ == "__main__":
    for name, ratio, target in run(tuple(sys.argv[1:]) or ("bytes", "digits", "text")):
        print(f"{ratio:8.3f}  target {target:8}  {name}")
