"""Chapter ``butterfly_clip``: partition, radii, canonical residual, and finding a point with a small one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from btard.protocol import butterfly_clip
from btard.protocol.arithmetic import Float32, Float64
from btard.protocol.butterfly_clip import (
    ClipDiverged,
    ClipDomainError,
    Radii,
    carry,
    centered_clip,
    clip,
    distance_bound,
    initial_radii,
    next_radii,
    partition,
    residual,
)
from btard.protocol.model import ProtocolError

WIDTHS = [1, 3, 700, 1024, 1025, 5000, 40_001]
"""Both sides of every change of method: float64 or float32, whole or sampled medoid, one block or several."""


def normal(rows: int, width: int, seed: int = 0) -> Float32:
    return np.random.default_rng(seed).standard_normal((rows, width)).astype(np.float32)


def classic_iteration(vectors: Float32, radius: float, rounds: int) -> Float64:
    """The judge: CenteredClip as first published, v += mean of the clipped differences, in float64."""
    center = np.zeros(vectors.shape[1])
    for _ in range(rounds):
        differences = vectors.astype(np.float64) - center
        norms = np.linalg.norm(differences, axis=1, keepdims=True)
        center = center + (differences * np.minimum(1.0, radius / np.maximum(norms, 1e-300))).mean(axis=0)
    return center


def reweighting_rounds(vectors: Float32, radius: float, tolerance: float, most: int) -> int:
    """How many plain reweightings (Weiszfeld's iteration) the input needs: the measure of a bad input."""
    rows = vectors.astype(np.float64)
    center = rows[0]
    for count in range(most):
        differences = rows - center
        factors = radius / np.maximum(np.linalg.norm(differences, axis=1), radius)
        pull = factors @ differences
        if np.linalg.norm(pull) <= tolerance:
            return count
        center = center + pull / factors.sum()
    return most


# Partition


@pytest.mark.requirement("CLIP-1")
def test_parts_are_the_floors_of_equal_shares() -> None:
    assert partition(10, 4) == (slice(0, 2), slice(2, 5), slice(5, 7), slice(7, 10))
    assert partition(7, 1) == (slice(0, 7),)
    assert partition(2**32, 3)[-1] == slice(2 * 2**32 // 3, 2**32)


@pytest.mark.requirement("CLIP-1")
def test_no_partition_without_workers() -> None:
    with pytest.raises(ClipDomainError, match="0 parts"):
        partition(10, 0)


# Radii


@pytest.mark.requirement("CLIP-2")
def test_carry_by_overlap() -> None:
    old, new = partition(12, 3), partition(12, 2)
    carried = carry(np.array([3.0, 4.0, 12.0]), old, new)
    assert carried.tolist() == [math.sqrt(9 + 0.5 * 16), math.sqrt(0.5 * 16 + 144)]


@pytest.mark.requirement("CLIP-2")
def test_carry_adds_in_the_order_of_the_old_parts() -> None:
    values = np.array([1.0, 2.0**-27, 2.0**-27, 2.0**-27])
    total = 1.0
    for _ in range(3):
        total += 2.0**-54  # each alone is lost in rounding, their sum would not be
    assert carry(values, partition(8, 4), partition(8, 1)).tolist() == [math.sqrt(total)] == [1.0]


@pytest.mark.requirement("CLIP-3")
def test_first_radii_share_the_initial_radius() -> None:
    first = initial_radii(100, 8.0)
    assert next_radii(first, partition(100, 4), 1.0, 1e-3, 100.0).tolist() == [4.0] * 4


@pytest.mark.requirement("CLIP-3")
@pytest.mark.parametrize(
    ("median", "expected"),
    [(2.0, 1.6), (10.0, 3.0), (1e9, 3.0), (0.5, 0.4), (0.0, 0.25), (1e-30, 0.25)],
    ids=["median", "growth limit", "absurd median", "fall", "zero gradients stop at the floor", "tiny"],
)
def test_next_radius_follows_the_median_within_limits(median: float, expected: float) -> None:
    previous = Radii((slice(0, 9),), np.array([2.0]), np.array([median]))
    assert next_radii(previous, (slice(0, 9),), 0.8, 0.25, 50.0).tolist() == [pytest.approx(expected, rel=1e-15)]


@pytest.mark.requirement("CLIP-3")
def test_next_radius_has_a_ceiling() -> None:
    previous = Radii((slice(0, 9),), np.array([2.0]), np.array([9.0]))
    assert next_radii(previous, (slice(0, 9),), 1.0, 0.25, 2.5).tolist() == [2.5]


# Residual


@pytest.mark.requirement("CLIP-4")
def test_residual_of_a_small_example() -> None:
    vectors = np.array([[3, 4], [0, 0], [-6, -8]], np.float32)
    assert residual(vectors, np.zeros(2, np.float32), 2.5) == 0.0
    assert residual(vectors, np.zeros(2, np.float32), 5.0) == 0.0
    assert residual(vectors, np.zeros(2, np.float32), 7.5) == 2.5


@pytest.mark.requirement("CLIP-4")
def test_residual_adds_rows_in_the_given_order() -> None:
    rows = np.array([[1.0], [2.0**-30], [-1.0]], np.float32)
    expected = (1.0 + 2.0**-30) - 1.0
    assert residual(rows, np.zeros(1, np.float32), 4.0) == expected
    rows = np.array([[2.0**100], [1.0], [-(2.0**100)]], np.float32)
    assert residual(rows, np.zeros(1, np.float32), 2.0**101) == 0.0
    assert residual(rows[[0, 2, 1]], np.zeros(1, np.float32), 2.0**101) == 1.0


@pytest.mark.requirement("CLIP-4")
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_point_that_is_not_finite_is_never_accepted(bad: float) -> None:
    center = np.zeros(8, np.float32)
    center[5] = bad
    value = residual(normal(5, 8), center, 1.0)
    assert not value <= 1e300
    assert not value > 1e300, "a check written as 'refuse if above' would let this pass"


@pytest.mark.requirement("CLIP-4")
def test_clip_is_the_textbook_formula_bit_by_bit() -> None:
    differences = normal(200, 1).astype(np.float64) * 10.0 ** np.random.default_rng(1).uniform(-9, 9, (200, 1))
    for row, clipped in zip(differences, clip(differences, 0.7), strict=True):
        assert clipped[0] == row[0] * min(1.0, 0.7 / math.sqrt(row[0] * row[0]))
    assert clip(np.zeros((2, 3)), 0.7).tolist() == [[0.0] * 3] * 2


# CenteredClip


@pytest.mark.requirement("CLIP-5")
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("distance", [1.0, 1e3, 1e6, 1e15])
def test_agrees_with_the_classic_iteration(width: int, distance: float) -> None:
    vectors, radius = normal(16, width), math.sqrt(width)
    vectors[9:] *= np.float32(distance)
    tolerance = 1e-4 * radius
    found = centered_clip(vectors, radius, tolerance)
    assert found.dtype == np.float32 and found.shape == (width,)
    assert residual(vectors, found, radius) <= tolerance
    judge = classic_iteration(vectors, radius, 200)
    assert np.linalg.norm(found - judge) <= 1e-3 * radius  # here the minimum is sharp, so close means equal


def adversarial_inputs(width: int) -> dict[str, tuple[Float32, float]]:
    """Name → vectors and radius. ε is always τ/1000."""
    rows, scale = normal(15, width, 7), math.sqrt(width)
    few = np.arange(15)[:, np.newaxis]
    colluders = np.where(few < 8, rows, 3 * rows[14])
    clusters = np.where(few < 8, rows, rows + np.float32(100))
    line = (np.float32(1.7) ** few * (-1) ** few * np.sign(rows[0]) + 1e-3 * rows).astype(np.float32)
    huge = np.where(few < 8, rows, np.float32(3.4e38))
    wild = np.float32(3.4e38) * np.tanh(rows)
    hidden = np.where(few < 8, rows, np.float32(0))
    for start in range(0, width, 997):
        hidden[8:, start : start + 300] = 1e7
    return {
        "one vector": (rows[:1], scale),
        "two vectors": (rows[:2], scale / 100),
        "duplicates": (np.repeat(rows[:5], 3, axis=0), scale),
        "all equal": (np.repeat(rows[:1], 15, axis=0), scale),
        "all zero": (np.zeros_like(rows), scale),
        "half zero": (np.where(few < 7, rows, np.float32(0)), scale / 10),
        "tiny radius": (rows, scale / 1000),
        "huge radius": (rows, 1e30),
        "absurd radius": (rows, 1e300),
        "colluders near": (colluders, scale / 5),
        "two clusters": (clusters, scale / 10),
        "a line": (line, scale / 3),
        "largest floats": (huge, scale),
        "largest floats first": (huge[::-1].copy(), scale),
        "nothing but large floats": (wild, 1e37 * scale),
        "denormal floats": (rows * np.float32(1e-40), 1e-40 * scale),
        "denormal floats, large radius": (rows * np.float32(1e-42), 1.0),
        "hidden from a sample": (hidden, scale),
        "common offset": (rows + np.float32(1000), scale),
        "empty": (rows[:, :0], 1.0),
    }


@pytest.mark.requirement("CLIP-5")
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", list(adversarial_inputs(1)))
def test_no_input_makes_an_honest_aggregator_fail(name: str, width: int) -> None:
    vectors, radius = adversarial_inputs(width)[name]
    tolerance = 1e-3 * radius
    before = vectors.copy()
    assert residual(vectors, centered_clip(vectors, radius, tolerance), radius) <= tolerance
    assert np.array_equal(before, vectors), "the inputs belong to the caller"


@pytest.mark.requirement("CLIP-5")
def test_result_is_not_a_view_of_an_input() -> None:
    vectors = np.zeros((3, 5), np.float32)
    centered_clip(vectors, 1.0, 0.0)[:] = 1.0
    assert not vectors.any()


@pytest.mark.requirement("CLIP-5")
def test_exact_agreement_needs_no_tolerance() -> None:
    for width in WIDTHS:
        vectors = np.repeat(normal(1, width), 15, axis=0)
        assert np.array_equal(centered_clip(vectors, 1.0, 0.0), vectors[0])


@pytest.mark.requirement("CLIP-5")
def test_inputs_that_need_thousands_of_reweightings() -> None:
    """A fixed cap on reweightings would convict an honest aggregator: here plain ones need > 1000."""
    rng = np.random.default_rng(2)
    clusters = np.repeat([[0.0, 0.0, 0.0], [100.0, 100.0, 100.0]], 8, axis=0) + rng.standard_normal((16, 3))
    vectors = clusters.astype(np.float32)
    assert reweighting_rounds(vectors, 1.0, 5e-4, 4000) > 1000
    assert residual(vectors, centered_clip(vectors, 1.0, 1e-3), 1.0) <= 1e-3


@pytest.mark.requirement("CLIP-5")
def test_search_for_inputs_that_need_many_reweightings() -> None:
    """Evolve inputs towards many plain reweightings, and ask for a solution of each on the way."""
    rng = np.random.default_rng(3)
    pool: list[tuple[int, Float32]] = []
    for _ in range(500):
        if len(pool) < 8:
            corners = np.repeat(rng.standard_normal((4, 2)) * 10 ** rng.uniform(-1, 3, (4, 1)), 3, axis=0)
            vectors = corners + rng.standard_normal((12, 2)) * 10 ** rng.uniform(-3, 0)
        else:
            vectors = pool[int(rng.integers(8))][1].astype(np.float64)
            vectors[rng.integers(12)] += rng.standard_normal(2) * 10 ** rng.uniform(-3, 2)
        candidate = vectors.astype(np.float32)
        assert residual(candidate, centered_clip(candidate, 1.0, 1e-3), 1.0) <= 1e-3
        pool.append((reweighting_rounds(candidate, 1.0, 5e-4, 400), candidate))
        pool = sorted(pool, key=lambda entry: -entry[0])[:8]
    assert pool[0][0] > 281, "the search found no bad input, so it tests nothing"


@pytest.mark.requirement("CLIP-5")
def test_one_clear_sentence_when_float32_is_too_coarse() -> None:
    vectors = normal(15, 40) + np.float32(1e6)
    with pytest.raises(ClipDiverged, match=r"residual of .* where 1e-06 is required") as caught:
        centered_clip(vectors, 1e-3, 1e-6)
    assert isinstance(caught.value, ProtocolError)


@pytest.mark.requirement("CLIP-5")
@pytest.mark.parametrize("width", [5, 5000])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_no_result_for_vectors_that_are_not_finite(bad: float, width: int) -> None:
    vectors = normal(5, width)
    vectors[3, 2] = bad
    with pytest.raises(ClipDiverged, match="nan"):
        centered_clip(vectors, 1.0, 0.5)


@pytest.mark.requirement("CLIP-5")
def test_a_failing_first_attempt_is_repaired(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the float32 rounds return, the result is checked and found in float64."""

    def useless(vectors: Float32, center: Float32, radius: float, tolerance: float) -> tuple[Float32, float]:
        return np.full_like(center, 1e9), math.inf

    exact = butterfly_clip._EXACT
    monkeypatch.setattr(butterfly_clip, "_FAST_THEN_EXACT", (useless, *exact))
    monkeypatch.setattr(butterfly_clip, "_EXACT", (useless, *exact))
    for width in (700, 3000):
        vectors = normal(15, width)
        assert residual(vectors, centered_clip(vectors, 10.0, 1e-3), 10.0) <= 1e-3


@pytest.mark.parametrize(
    ("radius", "tolerance"),
    [(0.0, 1.0), (-1.0, 1.0), (math.inf, 1.0), (math.nan, 1.0), (1.0, -1.0), (1.0, math.nan)],
)
def test_arguments_outside_the_domain_are_named(radius: float, tolerance: float) -> None:
    with pytest.raises(ClipDomainError, match="at radius"):
        centered_clip(normal(3, 4), radius, tolerance)


# Distance bound


@pytest.mark.requirement("CLIP-6")
def test_distance_bound_is_the_larger_of_two() -> None:
    assert distance_bound(9, 7, 0.0, 1.0, 0.9) == pytest.approx(7.9 / 9)
    assert distance_bound(9, 7, 1.0, 1.0, 0.0) == pytest.approx(16 / 2)
    assert distance_bound(1, 0, 0.0, 1.0, 0.0) == 0.0


@pytest.mark.requirement("CLIP-6")
@pytest.mark.parametrize(
    ("honest", "byzantine", "tolerance"),
    [(7, 7, 0.0), (8, 7, 1.0), (0, 0, 0.0), (5, 4, math.nan), (5, -1, 0.0)],
)
def test_no_distance_bound_outside_its_domain(honest: int, byzantine: int, tolerance: float) -> None:
    with pytest.raises(ClipDomainError, match="distance bound"):
        distance_bound(honest, byzantine, 1.0, 1.0, tolerance)
