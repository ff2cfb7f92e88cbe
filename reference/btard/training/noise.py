"""How far gradients of different determinism classes lie apart."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from btard.protocol.arithmetic import Float32, admissible_gradient
from btard.protocol.encoding import tagged_hash
from btard.protocol.mprng import uint64
from btard.protocol.update import apply
from btard.training.task import Task
from btard.training.trainer import classes_of

Noise = list[tuple[tuple[str, str], float]]
"""Pairs of classes, with the largest relative error between their gradients."""


def class_noise(task: Task, names: list[str], seeds: int, steps: int) -> Noise:
    """The largest ‖g − g'‖/min(‖g‖, ‖g'‖) over ``seeds`` gradients, for every pair of classes.

    The gradients are those of the first steps of a training run with one peer, ``steps`` in all, evenly
    spread, since noise grows as gradients shrink. Raises :class:`ProtocolError` for unknown classes.
    """
    oracles = classes_of(task, tuple(names))
    pairs = list(combinations(range(len(names)), 2))
    worst = dict.fromkeys(pairs, 0.0)
    optimizer, parameters = task.defaults.optimizer.over(steps), task.initial_parameters()
    moments = optimizer.initial_state(task.dimension)
    measured = {round(index * (steps - 1) / max(seeds - 1, 1)) for index in range(seeds)}
    for step in range(steps):
        seed = tagged_hash("btard/class-noise", uint64(step))
        level = task.defaults.gradient_clip
        if step in measured:
            gradients = [admissible_gradient(oracle.gradient(parameters, seed), level) for oracle in oracles]
            for pair in pairs:
                worst[pair] = max(worst[pair], relative_error(gradients[pair[0]], gradients[pair[1]]))
        own = admissible_gradient(task.gradient(parameters, seed), level)
        parameters, moments = apply(optimizer, parameters, own, moments)
    return [((names[one], names[other]), error) for (one, other), error in worst.items()]


def relative_error(one: Float32, other: Float32) -> float:
    """‖one − other‖/min(‖one‖, ‖other‖), 0 for equal vectors; float32 ``[d]`` each."""
    difference = float(np.linalg.norm(one.astype(np.float64) - other.astype(np.float64)))
    least = float(min(np.linalg.norm(vector.astype(np.float64)) for vector in (one, other)))
    return difference / least if difference else 0.0
