"""Decoding a redundant code, liars located, against Draco's codes and against Bulyan, on a million numbers.

Run as ``python tests/benchmarks/bench_decoding.py``. Each ratio is the median over paired runs, both sides measured one
right after the other. Both run on one thread, where threadpoolctl is there to say so, and processor time is counted:
threads that wait for each other on a busy machine would say nothing about either. All read rows that are in memory.
Cost in memory passes, one pass being d float32 numbers of one worker:

- redundant code: 2n/r_c (project and decode; rows are d/r_c long, in groups of 15);
- Draco, cyclic: 4n (project and combine; rows are complex);
- Draco, repetition: n(s + 1)/(2s + 1) without liars, up to n with;
- Bulyan: 2n for the distances, about 6(n − 2f) for the coordinates.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import numpy as np
from btard.protocol.arithmetic import Float32
from btard.protocol.redundant_code import agreeing, decode, encode, frame, mean_of
from btard_adversary.baselines import bulyan
from btard_adversary.draco import CyclicCode, repetition_decode

LENGTH = 1_000_000
GROUP = 15
PAIRS = 7


class Setting(NamedTuple):
    """Workers, liars that a group of 15 bears, compression."""

    workers: int
    liars: int
    compression: int


SETTINGS = (Setting(15, 6, 3), Setting(15, 3, 9), Setting(45, 6, 3), Setting(45, 3, 9))


def normal(rows: int, length: int = LENGTH) -> Float32:
    return np.random.default_rng(1).standard_normal((rows, length), dtype=np.float32)


def lie(rows: Float32, liars: int) -> Float32:
    """The first ``liars`` rows replaced by others of usual length."""
    rows[:liars] = -3 * rows[:liars]
    return rows


def coded_groups(setting: Setting) -> tuple[Float32, list[Float32]]:
    """The mean of the groups' gradients, and every group's rows, as many lying as it bears."""
    parts = normal(setting.workers // GROUP)
    base = frame(GROUP, setting.compression)
    groups = [lie(np.stack([encode(part, row) for row in base]), setting.liars) for part in parts]
    return parts.mean(axis=0), groups


def redundant(groups: list[Float32], setting: Setting) -> Float32:
    """Locate the liars of every group, decode, and take the mean."""
    base = frame(GROUP, setting.compression)
    parts = [decode(rows, base, agreeing(rows, base, setting.liars, bytes(32)), LENGTH) for rows in groups]
    return parts[0] if len(parts) == 1 else mean_of(parts)


def seconds(action: Callable[[], object]) -> float:
    """Processor time of one call."""
    start = time.process_time()
    action()
    return time.process_time() - start


def on_one_thread() -> AbstractContextManager[object]:
    """Linear algebra without threads of its own, if that can be arranged."""
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        return nullcontext()
    return threadpool_limits(1)


def paired(ours: Callable[[], object], theirs: Callable[[], object], pairs: int) -> tuple[float, float]:
    """Medians: their time over ours, and our seconds."""
    ours()
    times = [(seconds(ours), seconds(theirs)) for _ in range(pairs)]
    return statistics.median(their / own for own, their in times), statistics.median(own for own, _ in times)


def apart(left: Float32, right: Float32) -> float:
    """Relative distance."""
    return float(np.linalg.norm(left - right) / np.linalg.norm(right))


def measure(setting: Setting, pairs: int = PAIRS) -> list[tuple[str, float, str]]:
    """Rows (name, measured ratio, target) for one setting."""
    n, s, compression = setting
    main = s == 3  # as many as Bulyan bears of 15; the other settings are for information
    targets = (">= 1.8", ">= 10") if main else ("none", "none")
    where = f"n = {n}, groups of 15, s = {s}, r_c = {compression}"
    wanted, groups = coded_groups(setting)

    def ours() -> Float32:
        return redundant(groups, setting)

    rows = [(f"redundant code, {where}: relative error of the decoded mean", apart(ours(), wanted), "<= 1e-5")]

    code = CyclicCode(n, s)
    gradients = normal(n)
    sent = code.encode(gradients)
    lie(sent[:n], s)
    lie(sent[n:], s)
    assert apart(code.decode(sent, 1), gradients.mean(axis=0)) < 0.1, "the cyclic code decodes its own rows"
    ratio, own = paired(ours, lambda: code.decode(sent, 1), pairs)
    name = f"{where} ({own * 1e3:.1f} ms, {2 * n / compression:.0f} passes)"
    rows.append((f"redundant code, {name}: time of Draco cyclic ({4 * n} passes) / ours", ratio, targets[0]))

    bears = (n - 3) // 4
    ratio, _ = paired(ours, lambda: bulyan(gradients, bears), min(pairs, 3))
    passes = 2 * n + 6 * (n - 2 * bears)
    rows.append(
        (
            f"redundant code, {where}: time of Bulyan (f = {bears}, {passes} passes) / ours",
            ratio,
            ">= 10" if main else "none",
        )
    )
    size = 2 * s + 1
    part = gradients[0]
    repeated = [lie(np.tile(part, (size, 1)), s) for _ in range(n // size)]
    ratio, _ = paired(ours, lambda: repetition_decode(repeated, s), pairs)
    rows.append((f"redundant code, {where}: time of Draco repetition (up to {n} passes) / ours", ratio, "none"))
    return rows


def run() -> list[tuple[str, float, str]]:
    """Rows (name, measured ratio, target) for ``make bench``."""
    with on_one_thread():
        return [row for setting in SETTINGS for row in measure(setting)]


if __name__ == "__main__":
    for name, value, target in run():
        print(f"{name:<100} {value:10.3g}   target {target}")
