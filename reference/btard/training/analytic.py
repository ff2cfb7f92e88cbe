"""Tasks with known constants, in numpy alone and with the same bits on every machine."""

from __future__ import annotations

import math

import numpy as np

from btard.protocol.arithmetic import Float32, Float64, dot, folding_sum, norm
from btard.protocol.encoding import expand, sample_indices
from btard.protocol.update import Schedule, Sgd
from btard.training.calibration import two_digits
from btard.training.draws import uniform
from btard.training.task import Evaluation, NoLabels, OptionRefused, TaskDefaults, refuse_data

NOISE_TAG = "btard/training/noise"
TAIL_TAG = "btard/training/tail"
NOISE_DEVIATION = math.sqrt((2.0**32 - 1.0) / 12.0)
"""Standard deviation of a uniform int16."""
LN_2 = 0.6931471805599453
EXPONENTIAL = tuple(1.0 / math.factorial(k) for k in range(15, -1, -1))
"""Taylor coefficients of exp, highest first: enough for float64 on |r| <= ln(2)/2."""
TRAIN_EXAMPLES, TEST_EXAMPLES = 2000, 500
LABEL_NOISE = 0.1


class Quadratic:
    """f(x) = ½ Σ_k a_k (x_k − x*_k)², with curvatures a_k evenly spaced from μ to L.

    The gradient of a seed is ∇f(x) plus noise of mean 0 and E‖noise‖² = σ². With a ``tail`` in (1, 2] the
    noise of a seed is M times as long, P(M > t) = t^−tail for t >= 1: moments of that order and above do not
    exist, the variance among them. No labels. ``dimension``: d; ``mu``, ``smoothness``: 0 < μ <= L;
    ``noise``: σ >= 0; ``tail``: 0 for none. Raises :class:`OptionRefused`.
    """

    name = "quadratic"
    loss_name = "f(x) - f(x*)"

    def __init__(
        self,
        dimension: int = 1000,
        mu: float = 0.1,
        smoothness: float = 1.0,
        noise: float = 1.0,
        tail: float = 0.0,
    ) -> None:
        """Draw x*, uniform in (−1, 1)^d, from nothing but ``dimension``."""
        if dimension < 1 or not 0.0 < mu <= smoothness < math.inf or not 0.0 <= noise < math.inf:
            raise OptionRefused("task 'quadratic' needs dimension >= 1, 0 < mu <= smoothness and noise >= 0")
        if tail and not 1.0 < tail <= 2.0:
            raise OptionRefused("task 'quadratic' needs 1 < tail <= 2, or tail = 0 for noise with a variance")
        self.dimension, self.mu, self.smoothness, self.noise, self.tail = dimension, mu, smoothness, noise, tail
        self.optimum: Float64 = uniform(dimension, b"quadratic").astype(np.float32).astype(np.float64)
        self.curvature: Float64 = mu + (smoothness - mu) * (np.arange(dimension) / max(dimension - 1, 1))

    @property
    def description(self) -> str:
        """Name and constants; they fix everything."""
        constants = f"mu={self.mu!r} smoothness={self.smoothness!r} noise={self.noise!r}"
        tail = f" tail={self.tail!r}" if self.tail else ""
        return f"{self.name} d={self.dimension} {constants}{tail}"

    @property
    def defaults(self) -> TaskDefaults:
        """Gradient descent with steps below 1/L; lengths from the known first gradient and σ."""
        first = float(norm(self.curvature * self.optimum))
        radius = two_digits(max(self.noise, first / 100))
        return TaskDefaults(
            optimizer=Sgd(Schedule(two_digits(0.5 / self.smoothness), 200)),
            gradient_clip=two_digits(5 * (first + self.noise)),
            radius_initial=radius,
            radius_min=two_digits(5 * (first + self.noise) / 2000),
            radius_max=4 * radius,
            vote_rate=0.02,
        )

    def initial_parameters(self) -> Float32:
        """The origin, float32[d]."""
        return np.zeros(self.dimension, dtype=np.float32)

    def gradient(self, parameters: Float32, seed: bytes) -> Float32:
        """float32[d]: a_k (x_k − x*_k) + noise in float64, then rounded."""
        words = np.frombuffer(expand(NOISE_TAG, seed, length=2 * self.dimension), dtype="<i2")
        noise = (words + 0.5) * (self.noise / NOISE_DEVIATION / math.sqrt(self.dimension))
        if self.tail:
            noise *= magnitude(seed, self.tail)
        exact = self.curvature * (parameters.astype(np.float64) - self.optimum)
        return (exact + noise).astype(np.float32)

    def poisoned_gradient(self, parameters: Float32, seed: bytes) -> Float32:
        """Always raises :class:`NoLabels`."""
        raise NoLabels("task 'quadratic' has no class labels to flip")

    def evaluate(self, parameters: Float32) -> Evaluation:
        """f(x) − f(x*); exact, so there is no test set."""
        gap = parameters.astype(np.float64) - self.optimum
        return Evaluation(float(dot(self.curvature * gap, gap)) / 2, None)


class Logistic:
    """Logistic regression with L2 penalty on synthetic examples that a noisy hyperplane separates.

    f(w) = mean of log(1 + exp(−y ⟨x, w⟩)) + (l2/2)‖w‖², y = ±1; the last feature is 1. f is μ-strongly
    convex and L-smooth with μ = ``mu`` and L = ``smoothness``. ``features``: d − 1. Raises
    :class:`OptionRefused`.
    """

    name = "logistic"
    loss_name = "nats per example, with penalty"

    def __init__(self, features: int = 99, batch_size: int = 32, l2: float = 0.01) -> None:
        """Draw the examples from nothing but ``features``."""
        if features < 1 or batch_size < 1 or not 0.0 < l2 < math.inf:
            raise OptionRefused("task 'logistic' needs features >= 1, batch_size >= 1 and l2 > 0")
        self.batch_size, self.mu, self.dimension = batch_size, l2, features + 1
        inputs, labels = separable_examples(TRAIN_EXAMPLES + TEST_EXAMPLES, features)
        self._train = inputs[:TRAIN_EXAMPLES], labels[:TRAIN_EXAMPLES]
        self._test = inputs[TRAIN_EXAMPLES:], labels[TRAIN_EXAMPLES:]
        self.smoothness = l2 + float(dot(inputs, inputs).max()) / 4

    @property
    def description(self) -> str:
        """Name and arguments; they fix everything."""
        return f"{self.name} d={self.dimension} batch={self.batch_size} l2={self.mu!r}"

    @property
    def defaults(self) -> TaskDefaults:
        """Settings for the default arguments."""
        return LOGISTIC_DEFAULTS

    def initial_parameters(self) -> Float32:
        """The origin, float32[d]."""
        return np.zeros(self.dimension, dtype=np.float32)

    def gradient(self, parameters: Float32, seed: bytes) -> Float32:
        """float32[d], of ``batch_size`` examples that ``sample_indices`` chooses."""
        return self._differentiate(parameters, seed, 1.0)

    def poisoned_gradient(self, parameters: Float32, seed: bytes) -> Float32:
        """float32[d] with every label negated."""
        return self._differentiate(parameters, seed, -1.0)

    def evaluate(self, parameters: Float32) -> Evaluation:
        """Mean loss with penalty, and the share of examples on the right side."""
        inputs, labels = self._test
        weights = parameters.astype(np.float64)
        margins = labels * dot(inputs, weights)
        penalty = self.mu * float(dot(weights, weights)) / 2
        return Evaluation(float(np.logaddexp(0.0, -margins).mean()) + penalty, float((margins > 0).mean()))

    def _differentiate(self, parameters: Float32, seed: bytes, sign: float) -> Float32:
        """Mean of −y x / (1 + exp(y ⟨x, w⟩)) plus l2·w, in float64 with folding sums, then rounded."""
        chosen = sample_indices(seed, self.batch_size, TRAIN_EXAMPLES)
        inputs, labels = self._train[0][chosen], self._train[1][chosen] * sign
        weights = parameters.astype(np.float64)
        pulls = labels / (1.0 + exponential(labels * dot(inputs, weights)))
        mean = folding_sum((inputs * pulls[:, None]).T) / self.batch_size
        return (self.mu * weights - mean).astype(np.float32)


LOGISTIC_DEFAULTS = TaskDefaults(
    optimizer=Sgd(Schedule(0.3, 200), momentum=0.9),
    gradient_clip=8.0,
    radius_initial=1.0,
    radius_min=0.01,
    radius_max=1.0,
    vote_rate=0.02,
)


def magnitude(seed: bytes, tail: float) -> float:
    """M >= 1 with P(M > t) = t^−tail, of a seed: a uniform number to the power −1/tail."""
    word = int.from_bytes(expand(TAIL_TAG, seed, length=8), "little")
    return 1.0 / root_power(((word >> 12) + 0.5) * 2.0**-52, 1.0 / tail)


def root_power(base: float, exponent: float) -> float:
    """base^exponent for 0 <= exponent <= 1, to an absolute 2⁻⁴⁰ in the exponent, from square roots and products.

    Library ``pow`` differs between machines in the last bit; these do not.
    """
    result, root = 1.0, base
    for _ in range(41):
        if exponent >= 1.0:
            result, exponent = result * root, exponent - 1.0
        root, exponent = math.sqrt(root), exponent * 2.0
    return result


def separable_examples(count: int, features: int) -> tuple[Float64, Float64]:
    """``count`` inputs of unit variance with a 1 appended, float64[count, features + 1], and labels ±1."""
    drawn = uniform(count * features, b"logistic inputs").reshape(count, features) * math.sqrt(3.0)
    normal = uniform(features, b"logistic normal")
    blur = uniform(count, b"logistic noise") * math.sqrt(3.0) * LABEL_NOISE
    sides = dot(drawn, normal / norm(normal)) + blur
    return np.concatenate([drawn, np.ones((count, 1))], axis=1), np.where(sides > 0, 1.0, -1.0)


def exponential(exponents: Float64) -> Float64:
    """exp to a relative 10⁻¹³, from basic operations: library exp differs between machines in the last bits.

    ``exponents``: finite or not, any shape; they are clipped to ±700 first, and NaN stays NaN.
    """
    clipped = np.clip(exponents, -700.0, 700.0)
    doublings = np.rint(clipped / LN_2)
    rest = clipped - doublings * LN_2
    result = np.zeros_like(rest)
    for coefficient in EXPONENTIAL:
        result = result * rest + coefficient
    scaled: Float64 = np.ldexp(result, np.nan_to_num(doublings).astype(np.int32))
    return scaled


def quadratic(
    device: str = "cpu",
    path: str | None = None,
    dimension: int = 1000,
    mu: float = 0.1,
    smoothness: float = 1.0,
    noise: float = 1.0,
    tail: float = 0.0,
) -> Quadratic:
    """The task. ``device`` is not used, and no ``path`` is taken. Raises ``TaskError``."""
    refuse_data("quadratic", path)
    return Quadratic(dimension, mu, smoothness, noise, tail)


def logistic(
    device: str = "cpu", path: str | None = None, features: int = 99, batch_size: int = 32, l2: float = 0.01
) -> Logistic:
    """The task. ``device`` is not used, and no ``path`` is taken. Raises ``TaskError``."""
    refuse_data("logistic", path)
    return Logistic(features, batch_size, l2)
