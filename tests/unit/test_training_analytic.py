"""Analytic tasks have the constants they state, and the same bits on every machine."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from btard.protocol.arithmetic import Float32
from btard.protocol.encoding import sample_indices
from btard.protocol.update import apply
from btard.training.analytic import Logistic, Quadratic, exponential, logistic, magnitude, quadratic, root_power
from btard.training.draws import permutation, uniform
from btard.training.task import NoLabels, OptionRefused, Task, is_task


def seeds(count: int) -> list[bytes]:
    """``count`` different seeds."""
    return [index.to_bytes(32, "big") for index in range(count)]


def digest(values: np.ndarray) -> str:
    """Sixteen hexadecimal digits of the SHA-256 of the little-endian bytes."""
    return hashlib.sha256(values.astype(values.dtype.newbyteorder("<")).tobytes()).hexdigest()[:16]


def parameters(dimension: int) -> Float32:
    """Some point."""
    return uniform(dimension, b"test").astype(np.float32)


def test_gradients_and_draws_have_fixed_bits() -> None:
    found = {
        "uniform": digest(uniform(1000, b"a", b"b")),
        "permutation": digest(permutation(1000, b"a")),
        "quadratic": digest(Quadratic(300).gradient(parameters(300), seeds(1)[0])),
        "heavy-tailed": digest(Quadratic(300, tail=1.5).gradient(parameters(300), seeds(1)[0])),
        "logistic": digest(Logistic().gradient(parameters(100), seeds(1)[0])),
        "poisoned": digest(Logistic().poisoned_gradient(parameters(100), seeds(1)[0])),
    }
    assert found == {
        "uniform": "01a8f7945de204ac",
        "permutation": "de8c2c2a8391845c",
        "quadratic": "813b6ca3db04b4e5",
        "heavy-tailed": "202326ce4f765c52",
        "logistic": "cc08002f798606ec",
        "poisoned": "392b6dc8403c2a5f",
    }


def test_draws_are_uniform_and_permutations_are_permutations() -> None:
    drawn = uniform(100_000, b"spread")
    assert np.abs(drawn).max() < 1
    assert drawn.mean() == pytest.approx(0, abs=0.01)
    assert drawn.var() == pytest.approx(1 / 3, rel=0.02)
    order = permutation(500, b"order")
    assert sorted(order) == list(range(500))
    assert not np.array_equal(order, permutation(500, b"other"))


@pytest.mark.parametrize("task", [quadratic(), logistic(), quadratic(tail=1.5)], ids=["quadratic", "logistic", "tail"])
def test_the_tasks_satisfy_the_protocol_and_repeat(task: Task) -> None:
    assert is_task(task)
    start = task.initial_parameters()
    assert start.shape == (task.dimension,)
    first = task.gradient(start, seeds(1)[0])
    assert first.dtype == np.float32
    assert first.tobytes() == task.gradient(start, seeds(1)[0]).tobytes()
    assert first.tobytes() != task.gradient(start, seeds(2)[1]).tobytes()
    assert task.description.split()[0] == task.name
    assert task.defaults.gradient_clip <= 3124 * task.defaults.radius_min


def test_the_quadratics_gradient_is_unbiased_with_the_stated_noise() -> None:
    task = Quadratic(200, mu=0.5, smoothness=2.0, noise=3.0)
    point = parameters(200)
    samples = np.array([task.gradient(point, seed) for seed in seeds(2000)], np.float64)
    exact = task.curvature * (point - task.optimum)
    errors = samples - exact
    assert (errors**2).sum(1).mean() == pytest.approx(9.0, rel=0.02)
    assert np.linalg.norm(errors.mean(0)) < 3 * 3.0 / np.sqrt(2000)
    assert task.curvature.min() == 0.5
    assert task.curvature.max() == 2.0


@pytest.mark.parametrize("tail", [1.2, 1.5, 2.0])
def test_heavy_tails_have_the_stated_law(tail: float) -> None:
    """P(M > t) = t^−tail, to four standard errors of 50,000 draws."""
    drawn = np.array([magnitude(index.to_bytes(8, "big"), tail) for index in range(50_000)])
    assert drawn.min() >= 1.0
    for threshold in (1.5, 4.0, 20.0):
        expected = threshold**-tail
        error = np.sqrt(expected * (1 - expected) / len(drawn))
        assert (drawn > threshold).mean() == pytest.approx(expected, abs=4 * error)


def test_a_heavy_tailed_gradient_is_the_light_one_with_longer_noise() -> None:
    light, heavy = Quadratic(50, noise=2.0), Quadratic(50, noise=2.0, tail=1.5)
    point = parameters(50)
    exact = light.curvature * (point - light.optimum)
    for seed in seeds(20):
        longer = exact + (light.gradient(point, seed) - exact) * magnitude(seed, 1.5)
        np.testing.assert_allclose(heavy.gradient(point, seed), longer, rtol=1e-4, atol=1e-4)


def test_a_power_from_square_roots_is_accurate() -> None:
    for base in (2.0**-53, 0.1, 0.999, 1.0):
        for exponent in (0.0, 0.5, 0.625, 1 / 1.5, 1 / 1.1, 1.0):
            assert root_power(base, exponent) == pytest.approx(base**exponent, rel=1e-10)


def test_the_quadratics_loss_is_the_integral_of_its_gradient() -> None:
    task = Quadratic(50, noise=0.0)
    point, direction = parameters(50), uniform(50, b"direction").astype(np.float32)
    slope = float(np.dot(task.gradient(point, b""), direction))
    ahead, behind = (task.evaluate((point + sign * 0.01 * direction).astype(np.float32)).loss for sign in (1, -1))
    assert (ahead - behind) / 0.02 == pytest.approx(slope, rel=1e-3)
    assert task.evaluate(task.optimum.astype(np.float32)).loss == 0.0
    assert task.evaluate(point).accuracy is None


def test_a_quadratic_has_no_labels() -> None:
    with pytest.raises(NoLabels, match="no class labels"):
        Quadratic().poisoned_gradient(np.zeros(1000, np.float32), b"")


def test_exponential_is_accurate_and_total() -> None:
    points = np.linspace(-700, 700, 100_001)
    np.testing.assert_allclose(exponential(points), np.exp(points), rtol=2e-13)
    edge = exponential(np.array([0.0, -np.inf, np.inf, np.nan, 1e300]))
    assert edge[0] == 1.0
    assert 0 < edge[1] < 1e-300
    assert edge[2] == edge[4] < np.inf
    assert np.isnan(edge[3])


def test_the_logistic_gradient_is_the_formulas() -> None:
    task = Logistic()
    point = parameters(task.dimension)
    chosen = sample_indices(seeds(1)[0], 32, 2000)
    inputs, labels = task._train[0][chosen], task._train[1][chosen]
    margins = labels * (inputs @ point.astype(np.float64))
    for sign, ours in ((1, task.gradient), (-1, task.poisoned_gradient)):
        pulls = -sign * labels / (1 + np.exp(sign * margins))
        expected = (inputs * pulls[:, None]).mean(0) + task.mu * point
        np.testing.assert_allclose(ours(point, seeds(1)[0]), expected, rtol=1e-5, atol=1e-7)


def test_the_logistic_constants_bound_every_change_of_the_gradient() -> None:
    task = Logistic(batch_size=1)
    one, two = parameters(100), -parameters(100)
    distance = np.linalg.norm(one - two)
    for seed in seeds(200):
        change = np.linalg.norm(task.gradient(one, seed) - task.gradient(two, seed))
        assert change <= task.smoothness * distance * 1.0001
        inner = np.dot(task.gradient(one, seed) - task.gradient(two, seed), one - two)
        assert inner >= task.mu * distance**2 * 0.9999


@pytest.mark.parametrize(("task", "target"), [(Quadratic(), 0.05), (Logistic(), 0.35)], ids=["quadratic", "logistic"])
def test_the_defaults_train(task: Task, target: float) -> None:
    optimizer = task.defaults.optimizer.over(100)
    point, state = task.initial_parameters(), optimizer.initial_state(task.dimension)
    for step in range(100):
        workers = [task.gradient(point, bytes([step, worker])) for worker in range(4)]
        point, state = apply(optimizer, point, np.mean(workers, axis=0), state)
    quality = task.evaluate(point)
    assert quality.loss < target
    assert quality.accuracy is None or quality.accuracy > 0.9


def test_arguments_enter_the_description() -> None:
    tasks = [Quadratic(), Quadratic(999), Quadratic(mu=0.2), Quadratic(noise=0), Quadratic(smoothness=2.0)]
    tasks += [Quadratic(tail=1.5), Quadratic(tail=2.0)]
    others = [Logistic(), Logistic(98), Logistic(batch_size=31), Logistic(l2=0.02)]
    assert len({task.description for task in [*tasks, *others]}) == 11


@pytest.mark.parametrize(
    "options", [{"dimension": 0}, {"mu": 0.0}, {"mu": 2.0}, {"smoothness": np.inf}, {"noise": -1.0}, {"noise": np.nan}]
)
def test_impossible_quadratics_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(OptionRefused, match="needs dimension"):
        Quadratic(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("tail", [1.0, 0.5, -1.5, 2.1, np.nan])
def test_tails_without_a_mean_or_with_a_variance_are_refused(tail: float) -> None:
    with pytest.raises(OptionRefused, match="needs 1 < tail <= 2"):
        Quadratic(tail=tail)


@pytest.mark.parametrize("options", [{"features": 0}, {"batch_size": 0}, {"l2": 0.0}, {"l2": np.nan}])
def test_impossible_logistic_tasks_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(OptionRefused, match="needs features"):
        Logistic(**options)  # type: ignore[arg-type]
