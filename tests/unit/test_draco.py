"""Draco's two codes and Bulyan's parts, which the redundant code is compared with: they must do their work."""

from __future__ import annotations

import numpy as np
import pytest
from btard.protocol.arithmetic import Float32, Float64
from btard_adversary.baselines import bulyan_choice, geometric_median, mean_around_median, squared_distances
from btard_adversary.draco import CyclicCode, NoMajority, majority_row, repetition_decode


def normal(rows: int, length: int, seed: int = 0) -> Float32:
    return np.random.default_rng(seed).standard_normal((rows, length)).astype(np.float32)


@pytest.mark.parametrize("lied", [0, 1, 3])
def test_equal_rows_win(lied: int) -> None:
    gradients = normal(2, 40_000)
    groups = [np.tile(gradient, (7, 1)) for gradient in gradients]
    for rows in groups:
        rows[:lied] = normal(1, 40_000, 5)  # the liars agree with one another
    assert np.array_equal(repetition_decode(groups, 3), gradients.astype(np.float64).mean(axis=0).astype(np.float32))


def test_rows_that_differ_in_the_last_entry_only_are_different() -> None:
    rows = np.tile(normal(1, 40_000), (5, 1))
    rows[0, -1] += 1
    rows[2, -1] += 2
    assert majority_row(rows, 2) == 1
    rows[3, -1] += 3
    with pytest.raises(NoMajority):
        majority_row(rows, 2)


@pytest.mark.parametrize(("workers", "liars"), [(3, 1), (7, 2), (7, 3), (15, 6), (15, 3)])
def test_a_worker_of_the_cyclic_code_needs_its_own_gradients_only(workers: int, liars: int) -> None:
    coefficients = CyclicCode(workers, liars).coefficients
    for worker in range(workers):
        absent = [(worker + k) % workers for k in range(2 * liars + 1, workers)]
        assert np.abs(coefficients[worker, absent]).max(initial=0) < 1e-9


@pytest.mark.parametrize("scale", [0.0, 1.0, 1e4])
@pytest.mark.parametrize("lied", [0, 1, 2, 6])
def test_the_cyclic_code_decodes_in_spite_of_liars(lied: int, scale: float) -> None:
    code, gradients = CyclicCode(15, 6), normal(15, 5000)
    rows = code.encode(gradients)
    for seed in range(5):
        who = np.random.default_rng(seed).permutation(15)[:lied]
        received = rows.copy()
        for worker in who:
            received[[worker, worker + 15]] = scale * normal(2, 5000, 9)
        assert not set(who.tolist()) & set(code.honest(code.project(received, seed)))
        mean = gradients.mean(axis=0)
        assert np.linalg.norm(code.decode(received, seed) - mean) <= 1e-5 * np.linalg.norm(mean)


def test_no_cyclic_code_for_half_the_workers() -> None:
    with pytest.raises(ValueError, match="n >= 2s"):
        CyclicCode(6, 3)


def plain_mean_around_median(vectors: Float64, kept: int) -> Float64:
    """Coordinate by coordinate."""
    result = []
    for column in vectors.T:
        nearest = np.argsort(np.abs(column - np.median(column)), kind="stable")[:kept]
        result.append(column[nearest].mean())
    return np.array(result)


@pytest.mark.parametrize(("count", "kept"), [(9, 3), (8, 4), (5, 5), (3, 1)])
def test_the_values_around_the_median_are_the_nearest(count: int, kept: int) -> None:
    vectors = np.random.default_rng(count).standard_normal((count, 500))
    assert np.allclose(mean_around_median(vectors, kept), plain_mean_around_median(vectors, kept))


def test_bulyan_chooses_by_krum_over_and_over() -> None:
    vectors = np.random.default_rng(3).standard_normal((11, 6))
    vectors[:2] += 50
    squares = np.sum((vectors[:, np.newaxis] - vectors) ** 2, axis=2)
    assert np.allclose(squared_distances(vectors), squares)
    left, chosen = list(range(11)), []
    for _ in range(7):
        scores = [sum(sorted(squares[i, j] for j in left if j != i)[: max(len(left) - 4, 0)]) for i in left]
        chosen.append(left.pop(int(np.argmin(scores))))
    assert bulyan_choice(squares, 2) == sorted(chosen)
    assert not {0, 1} & set(chosen)


def test_the_geometric_median_leaves_a_vector_that_is_not_it_and_stays_at_one_that_is() -> None:
    triangle = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    assert np.allclose(geometric_median(triangle, 0), 0.0)
    line = np.array([[0.0, 0.0], [4.0, 3.0], [0.0, 3.0]])
    found = geometric_median(line, 0)
    differences = line - found
    pulls = differences / np.linalg.norm(differences, axis=1, keepdims=True)
    assert np.linalg.norm(pulls.sum(axis=0)) < 1e-6
