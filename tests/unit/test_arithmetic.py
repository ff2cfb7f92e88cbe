"""Canonical arithmetic agrees bit for bit with an independent slow fold, and with exact rational numbers."""

from __future__ import annotations

import math
import struct
from fractions import Fraction

import numpy as np
import pytest
from btard.protocol.arithmetic import (
    admissible_gradient,
    dot,
    float32_bytes,
    float32_vector,
    float64_bytes,
    float64_vector,
    folding_sum,
    lower_median,
    norm,
)
from btard.protocol.butterfly_clip import partition
from btard.protocol.verification import possible_parts
from hypothesis import given, settings
from hypothesis import strategies as st

ANY_FLOAT = st.floats(width=64, allow_nan=False, allow_infinity=False, min_value=-1e150, max_value=1e150)
ANY_FLOAT32 = st.floats(width=32)


def slow_fold(values: list[float]) -> float:
    """The folding sum as the text has it: pad with zeros to a power of two, second half onto the first, repeat."""
    entries = list(values)
    while len(entries) == 0 or len(entries) & (len(entries) - 1):
        entries.append(0.0)
    while len(entries) > 1:
        half = len(entries) // 2
        entries = [entries[k] + entries[k + half] for k in range(half)]
    return entries[0] + 0.0


def bits(value: float) -> bytes:
    """A float64's eight bytes: tells 0 from −0."""
    return struct.pack("<d", value)


@pytest.mark.requirement("ARITH-1")
@given(st.lists(ANY_FLOAT, max_size=70))
def test_the_folding_sum_has_the_bits_of_the_slow_fold(values: list[float]) -> None:
    assert bits(float(folding_sum(values))) == bits(slow_fold(values))


@pytest.mark.requirement("ARITH-1")
def test_the_folding_sum_at_every_length_around_powers_of_two() -> None:
    source = np.random.default_rng(5)
    for length in [*range(20), 31, 32, 33, 255, 256, 257, 1000, 4097]:
        values = source.standard_normal(length) * 10.0 ** source.integers(-8, 8, length)
        assert bits(float(folding_sum(values))) == bits(slow_fold(values.tolist())), length


@pytest.mark.requirement("ARITH-1")
def test_the_order_of_additions_is_the_folding_one() -> None:
    # (1 + −1) + (2⁻⁶⁰ + 0): from left to right the small number would be lost, here it is not.
    assert float(folding_sum([1.0, 2.0**-60, -1.0])) == 2.0**-60
    assert float(folding_sum([1.0, -1.0, 2.0**-60])) == 0.0  # (1 + 2⁻⁶⁰) + (−1 + 0)


@pytest.mark.requirement("ARITH-1")
def test_exact_bits() -> None:
    values = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7])
    assert float(folding_sum(values)).hex() == "0x1.6666666666667p+1"
    assert sum(values.tolist()).hex() == "0x1.6666666666666p+1"  # another order, other bits
    assert float(dot([1.0, 2.0, 3.0], [4.0, 5.0, 6.0])) == 32.0


def slow_norm(values: list[float]) -> float:
    """The canonical norm, slowly."""
    return math.sqrt(slow_fold([value * value for value in values]))


@pytest.mark.requirement("ARITH-1")
@pytest.mark.parametrize("values", [[], [-0.0], [-0.0, -0.0], [-0.0] * 5, [1.0, -1.0]])
def test_zero_is_never_negative(values: list[float]) -> None:
    assert bits(float(folding_sum(values))) == bits(0.0)


@pytest.mark.requirement("ARITH-1")
@given(st.lists(ANY_FLOAT, max_size=20), st.integers(0, 40))
def test_zeros_at_the_end_change_nothing(values: list[float], zeros: int) -> None:
    assert bits(float(folding_sum(values))) == bits(float(folding_sum([*values, *[0.0] * zeros])))


@pytest.mark.requirement("ARITH-1")
def test_rows_are_summed_apart_and_the_input_is_kept() -> None:
    table = np.random.default_rng(1).standard_normal((3, 4, 11))
    before = table.copy()
    sums = folding_sum(table)
    assert sums.shape == (3, 4)
    assert (table == before).all()
    assert all(sums[i, j] == slow_fold(table[i, j].tolist()) for i in range(3) for j in range(4))
    assert folding_sum(np.zeros((2, 0))).tolist() == [0.0, 0.0]


@pytest.mark.requirement("ARITH-2")
@given(st.lists(st.tuples(ANY_FLOAT32.filter(math.isfinite), st.integers(-(2**15), 2**15 - 1)), max_size=40))
def test_products_and_norms_have_the_bits_of_the_slow_ones(pairs: list[tuple[float, int]]) -> None:
    left = np.array([pair[0] for pair in pairs], dtype=np.float32)
    right = np.array([pair[1] for pair in pairs], dtype=np.int16)
    assert bits(float(dot(left, right))) == bits(slow_fold([float(a) * float(b) for a, b in pairs]))
    assert bits(float(norm(left))) == bits(slow_norm([float(a) for a in left]))


@pytest.mark.requirement("ARITH-2")
def test_products_are_rounded_before_they_are_added() -> None:
    # (1 + 2⁻³⁰)² = 1 + 2⁻²⁹ + 2⁻⁶⁰ rounds to 1 + 2⁻²⁹; a fused multiply-add would keep the last term.
    x = 1.0 + 2.0**-30
    assert float(dot([x, 1.0 + 2.0**-29], [x, -1.0])) == 0.0


@pytest.mark.requirement("ARITH-2")
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50))
def test_norms_are_close_to_exact_ones(values: list[float]) -> None:
    exact = math.sqrt(sum(Fraction(value) ** 2 for value in values))
    assert abs(float(norm(values)) - exact) <= 4e-16 * exact + 1e-150


@pytest.mark.requirement("ARITH-3")
@given(st.lists(ANY_FLOAT, min_size=1, max_size=30))
def test_the_lower_median_is_a_member_with_half_of_the_others_on_each_side(values: list[float]) -> None:
    median = lower_median(values)
    assert median in values
    assert 2 * sum(value <= median for value in values) >= len(values)
    assert 2 * sum(value < median for value in values) < len(values)


@pytest.mark.requirement("ARITH-3")
def test_of_an_even_number_the_lower_one_counts() -> None:
    assert lower_median([4.0, 1.0, 3.0, 2.0]) == 2.0
    assert lower_median([5.0]) == 5.0
    assert lower_median([9.0, 7.0]) == 7.0


@pytest.mark.requirement("ARITH-4")
@settings(max_examples=300)
@given(
    st.lists(ANY_FLOAT32, min_size=1, max_size=24),
    st.floats(1e-20, 1e20),
    st.integers(1, 24),
)
def test_a_gradient_is_made_admissible_and_so_are_all_its_parts(raw: list[float], level: float, parts: int) -> None:
    gradient = admissible_gradient(np.array(raw, dtype=np.float32), level)
    assert gradient.dtype == np.float32
    assert np.isfinite(gradient).all()
    assert float(norm(gradient)) <= level
    for bound in partition(len(raw), min(parts, len(raw))):
        part = gradient[bound]
        assert float(norm(part)) <= level
        assert possible_parts([float32_bytes(part)], len(part), level)[1].all()


@pytest.mark.requirement("ARITH-4")
@pytest.mark.parametrize("seed", range(20))
def test_the_margin_absorbs_rounding_in_long_vectors_and_their_parts(seed: int) -> None:
    source = np.random.default_rng(seed)
    raw = (source.standard_normal(20_000) * 10.0 ** source.uniform(-6, 6, 20_000)).astype(np.float32)
    level = float(10.0 ** source.uniform(-5, 5))
    gradient = admissible_gradient(raw, level)
    assert level * (1 - 2.0**-19) < float(norm(gradient)) < level
    concentrated = np.zeros(20_000, dtype=np.float32)
    concentrated[7000:7003] = raw[:3]  # one part has the whole norm
    for bound in partition(20_000, 16):
        assert float(norm(admissible_gradient(concentrated, level)[bound])) <= level


@pytest.mark.requirement("ARITH-4")
def test_what_needs_no_change_is_not_changed() -> None:
    raw = np.array([3.0, -4.0, 0.0], dtype=np.float32)
    assert admissible_gradient(raw, 5.01).tobytes() == raw.tobytes()
    assert float(norm(admissible_gradient(raw, 5.0))) < 5.0  # on the level itself the margin is taken off
    assert admissible_gradient(raw, 5.0).tobytes() != raw.tobytes()


@pytest.mark.requirement("ARITH-4")
def test_entries_that_are_no_numbers_become_zero_before_the_norm_is_taken() -> None:
    raw = np.array([np.nan, 3.0, np.inf, -np.inf, 4.0], dtype=np.float32)
    assert admissible_gradient(raw, 100.0).tolist() == [0.0, 3.0, 0.0, 0.0, 4.0]
    assert np.isnan(raw[0])  # the caller's array is left alone


@pytest.mark.requirement("ARITH-4")
def test_the_largest_float32_does_not_overflow() -> None:
    raw = np.full(1000, np.finfo(np.float32).max, dtype=np.float32)
    gradient = admissible_gradient(raw, 10.0)
    assert 9.9 < float(norm(gradient)) <= 10.0


@pytest.mark.requirement("ARITH-5")
def test_vectors_are_little_endian_on_the_wire() -> None:
    assert float32_bytes([1.0, -2.0]) == bytes.fromhex("0000803f000000c0")
    assert float64_bytes([1.0, -2.0]) == bytes.fromhex("000000000000f03f00000000000000c0")


@pytest.mark.requirement("ARITH-5")
@given(st.binary(max_size=64))
def test_reading_keeps_every_bit(data: bytes) -> None:
    whole = data[: len(data) // 8 * 8]
    assert float64_bytes(float64_vector(whole)) == whole
    assert float32_vector(whole).astype("<f4").tobytes() == whole
