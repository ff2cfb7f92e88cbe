"""CenteredClip against 20 iterations of the plain loop and against copying its input.

Run as ``python tests/benchmarks/bench_centered_clip.py``. Each figure is the median over paired runs of a
ratio, both sides measured one right after the other, so it hardly depends on the machine or on its load.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable

import numpy as np
from btard.protocol.arithmetic import Float32
from btard.protocol.butterfly_clip import centered_clip, residual

WORKERS, BYZANTINE, LENGTH = 16, 7, 1_000_000
RATIO = 1e-3
"""φ = ε/τ, a hundredth of the protocol's default."""
PAIRS = 7


def plain_loop(vectors: Float32, radius: float) -> Float32:
    """CenteredClip as published: 20 times v += mean of the clipped differences, in float32."""
    center = np.zeros(vectors.shape[1], np.float32)
    for _ in range(20):
        differences = vectors - center
        norms = np.linalg.norm(differences, axis=1, keepdims=True)
        center = center + (differences * np.minimum(1, np.float32(radius) / norms)).mean(axis=0)
    return center


def seconds(action: Callable[[], object]) -> float:
    """Duration of one call."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def scenario(rows: int, length: int, distance: float) -> tuple[Float32, float]:
    """Normal vectors, the last seven ``distance`` times as long; τ is the typical honest norm."""
    vectors = np.random.default_rng(1).standard_normal((rows, length), dtype=np.float32)
    vectors[rows - BYZANTINE :] *= np.float32(distance)
    return vectors, math.sqrt(length)


def compare(rows: int, length: int, distance: float, pairs: int) -> tuple[float, float, float, float]:
    """Medians: loop/ours, ours/copy, our residual/the loop's, our seconds."""
    vectors, radius = scenario(rows, length, distance)
    found = centered_clip(vectors, radius, RATIO * radius)  # also warms up
    residuals = residual(vectors, found, radius) / residual(vectors, plain_loop(vectors, radius), radius)
    ours, loops, copies = [], [], []
    for _ in range(pairs):
        loops.append(seconds(lambda: plain_loop(vectors, radius)))
        ours.append(seconds(lambda: centered_clip(vectors, radius, RATIO * radius)))
        copies.append(seconds(lambda: vectors.copy()))
    speedups = [loop / own for loop, own in zip(loops, ours, strict=True)]
    costs = [own / copy for own, copy in zip(ours, copies, strict=True)]
    return statistics.median(speedups), statistics.median(costs), residuals, statistics.median(ours)


def run() -> list[tuple[str, float, str]]:
    """Rows (name, measured ratio, target) for ``make bench``."""
    rows: list[tuple[str, float, str]] = []
    for distance in (1.0, 1e3, 1e6):
        speedup, cost, residuals, _ = compare(WORKERS, LENGTH, distance, PAIRS)
        where = f"16 x 1,000,000, 7 vectors x{distance:g}"
        rows.append((f"CenteredClip, {where}: plain loop's time / ours", speedup, ">= 20"))
        rows.append((f"CenteredClip, {where}: our time / copying the input", cost, "<= 5"))
        rows.append((f"CenteredClip, {where}: our residual / the loop's", residuals, "<= 1"))
    speedup, _, _, own = compare(15, 700, 1e3, 200)
    rows.append((f"CenteredClip, 15 x 700 ({own * 1e3:.2f} ms): plain loop's time / ours", speedup, ">= 1"))
    return rows


if __name__ == "__main__":
    for name, value, target in run():
        print(f"{name:<80} {value:8.2f}   target {target}")
