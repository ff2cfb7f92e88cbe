"""Tasks whose optimum and constants are known, with numpy alone and the same bits on every machine."""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np
import numpy.typing as npt

from btard.protocol.arithmetic import Float32, Float64, dot, folding_sum
from btard.protocol.encoding import expand, sample_indices
from btard.protocol.update import Schedule, Sgd
from btard.training.draws import permutation, uniform
from btard.training.task import Evaluation, NoLabels, OptionRefused, TaskDefaults

NOISE_SCALE = math.sqrt((2.0**32 - 1.0) / 12.0)
"""Standard deviation of a uniform int16."""
LN_2 = 0.6931471805599453


class Quadratic:
    """f(x) = ½ Σ_k a_k (x_k − x*_k)², with curvatures a_k evenly spaced from μ to L.

    The gradient of a seed is ∇f(x) plus noise of mean 0 and E‖noise‖² = σ², with entries uniform on a
    grid. No labels. ``dimension``: d; ``mu``, ``smoothness``: μ and L, 0 < μ ≤ L; ``noise``: σ ≥ 0. Raises
    :class:`OptionRefused`.
    """

    name = "quadratic"
    loss_name = "f(x) - f(x*)"

    def __init__(self, dimension: int = 1000, mu: float = 0.1, smoothness: float = 1.0, noise: float = 1.0) -> None:
        """Draw x*, uniform in (−1, 1)^d, from ``dimension`` alone."""
        if dimension < 1 or not 0.0 < mu <= smoothness < math.inf or not 0.0 <= noise < math.inf:
            raise OptionRefused("task 'quadratic' needs dimension >= 1, 0 < mu <= smoothness and noise >= 0")
        self.dimension, self.mu, self.smoothness, self.noise = dimension, mu, smoothness, noise
        self.optimum: Float64 = uniform(dimension, b"quadratic").astype(np.float32).astype(np.float64)
        shares = np.arange(dimension) / max(dimension - 1, 1)
        self.curvature: Float64 = mu + (smoothness - mu) * shares

    @property
    def description(self) -> str:
        """Name and constants; they fix everything."""
        constants = f"mu={self.mu!r} smoothness={self.smoothness!r} noise={self.noise!r}"
        return f"{self.name}: d={self.dimension} {constants}"

    @property
    def defaults(self) -> TaskDefaults:
        """Plain gradient descent; lengths from the gradient at the start, whose norm is known."""
        start = float(np.sqrt(dot(self.gradient_mean(self.initial_parameters()), None)))
        raise NotImplementedError(start)
