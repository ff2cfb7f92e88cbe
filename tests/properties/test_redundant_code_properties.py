"""Properties of redundant coding: whoever lies, however, the part is decoded or the failure is named."""

from __future__ import annotations

import math

import numpy as np
import pytest
from btard.protocol.arithmetic import Float32, Float64
from btard.protocol.redundant_code import (
    AGREEMENT,
    UNIT,
    Undecodable,
    agreeing,
    bad_group_probability,
    conditioning,
    decode,
    decoding_bound,
    encode,
    frame,
    group_frame,
)
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

seeds = st.integers(0, 2**32 - 1)
relaxed = settings(deadline=None, max_examples=60)


@st.composite
def codes(draw: st.DrawFn, most: int = 20) -> tuple[int, int, int, int]:
    """(members, r, s, r_c) with r >= 2s + r_c."""
    rows = draw(st.integers(1, most))
    liars = draw(st.integers(0, (rows - 1) // 2))
    compression = draw(st.integers(1, rows - 2 * liars))
    return rows + draw(st.integers(0, 3)), rows, liars, compression


def normal(length: int, seed: int) -> Float32:
    return np.random.default_rng(seed).standard_normal(length).astype(np.float32)


def sent(part: Float32, coefficients: Float64) -> Float32:
    return np.stack([encode(part, row) for row in coefficients])


def distance(left: Float32, right: Float32) -> float:
    return float(np.linalg.norm(left.astype(np.float64) - right))


@pytest.mark.requirement("CODE-4")
@pytest.mark.requirement("CODE-6")
@given(codes(), st.integers(1, 300), st.integers(-45, 35), seeds, st.data())
@relaxed
def test_any_rows_that_may_be_left_give_the_part_back(
    code: tuple[int, int, int, int], length: int, exponent: int, seed: int, data: st.DataObject
) -> None:
    members, rows, liars, compression = code
    part = (normal(length, seed) * 10.0**exponent).astype(np.float32)
    coefficients = group_frame(members, rows, compression)
    removed = data.draw(st.sets(st.integers(0, members - 1), max_size=liars))
    kept = sorted(set(range(members)) - removed)
    decoded = decode(sent(part, coefficients), coefficients, kept, length)
    bound = decoding_bound(rows, liars, compression, members)
    subnormal = 2.0**-149 * math.sqrt(length + compression) * (2 * conditioning(rows, liars, compression) + members + 1)
    assert distance(decoded, part) <= bound * np.linalg.norm(part.astype(np.float64)) + subnormal


@pytest.mark.requirement("CODE-5")
@pytest.mark.requirement("CODE-6")
@given(codes(), st.integers(1, 3000), seeds, st.data())
@relaxed
def test_whatever_s_liars_send_the_part_is_found(
    code: tuple[int, int, int, int], length: int, seed: int, data: st.DataObject
) -> None:
    """Lies of any kind that are not as small as rounding; honest rows are never left out."""
    members, rows, liars, compression = code
    part, coefficients = normal(length, seed), group_frame(members, rows, compression)
    received = sent(part, coefficients)
    who = data.draw(st.lists(st.integers(0, members - 1), max_size=liars, unique=True))
    other = normal(length, seed + 1)
    for number, index in enumerate(who):
        kind = data.draw(st.sampled_from(["zero", "nan", "consistent", "scaled", "one entry", "noise"]))
        if kind == "zero":
            received[index] = 0
        elif kind == "nan":
            received[index, -1] = data.draw(st.sampled_from([np.nan, np.inf, -np.inf]))
        elif kind == "consistent":
            received[index] = encode(other, coefficients[index])
        elif kind == "scaled":
            received[index] *= np.float32(data.draw(st.sampled_from([-1.0, 0.5, 2.0, 1e20, 1e-20])))
        elif kind == "one entry":
            received[index, data.draw(st.integers(0, received.shape[1] - 1))] += np.float32(length)
        else:
            received[index] += normal(received.shape[1], seed + 2 + number)
    found = agreeing(received, coefficients, liars, seed.to_bytes(32, "big"))
    assert set(range(members)) - set(who) <= set(found)
    decoded = decode(received, coefficients, found, length)
    # A row that was set to what it was (a zero row, say) is no lie; so compare results, not members.
    assert distance(decoded, part) <= 2e-5 * np.linalg.norm(part) + 1e-30


@pytest.mark.requirement("CODE-5")
@given(codes(12), st.integers(20, 400), st.floats(-7, 0), seeds)
@example((20, 20, 5, 10), 2000, -4.0, 0)
@example((20, 20, 4, 12), 2000, -3.0, 0)
@example((15, 15, 6, 3), 2000, -5.0, 0)
@example((9, 9, 3, 3), 32, -4.0, 32)  # refused when only the choices that magnify rounding most were tried
@relaxed
def test_a_lie_that_hides_in_the_weakest_direction_is_located_or_harmless(
    code: tuple[int, int, int, int], length: int, exponent: float, seed: int
) -> None:
    """The strongest lie known: s liars speak for another part, which r_c honest rows hardly tell from the true one."""
    _, rows, liars, compression = code
    assume(liars > 0)
    base = frame(rows, compression)
    part = normal(compression * length, seed)
    weakest = np.linalg.svd(base[:compression])[2][-1]
    shift = 10.0**exponent * np.outer(weakest, normal(length, seed + 1))
    other = (part.reshape(compression, length) + shift).astype(np.float32).reshape(-1)
    received = sent(part, base)
    who = list(range(compression, compression + liars))
    received[who] = sent(other, base[who])
    found = agreeing(received, base, liars, seed.to_bytes(32, "big"))
    decoded = decode(received, base, found, len(part))
    singular = np.linalg.svd(base[:compression])[1]
    bound = (2 * AGREEMENT * UNIT) * math.sqrt(rows / compression) / float(singular[-1])
    assert distance(decoded, part) <= max(bound, 2e-5) * np.linalg.norm(part)
    if not set(found) & set(who):
        assert distance(decoded, part) <= decoding_bound(rows, liars, compression) * np.linalg.norm(part)


@pytest.mark.requirement("CODE-5")
@given(codes(12), st.integers(1, 500), seeds)
@relaxed
def test_with_more_liars_failure_is_named_or_a_large_set_agrees(
    code: tuple[int, int, int, int], length: int, seed: int
) -> None:
    members, rows, liars, compression = code
    coefficients = group_frame(members, rows, compression)
    received = np.random.default_rng(seed).standard_normal((members, length)).astype(np.float32)
    try:
        found = agreeing(received, coefficients, liars, seed.to_bytes(32, "big"))
    except Undecodable:
        return
    assert len(found) >= members - liars and found == tuple(sorted(set(found)))
    # Without liars to bear, and as many rows as columns, any rows are those of some part.
    assert len(np.unique(coefficients[list(found)], axis=0)) == compression


@pytest.mark.requirement("CODE-8")
@given(st.lists(st.integers(1, 8), min_size=1, max_size=4), st.integers(0, 4), st.data())
@relaxed
def test_more_byzantine_workers_or_fewer_liars_borne_never_lower_the_probability(
    sizes: list[int], liars: int, data: st.DataObject
) -> None:
    workers = sum(sizes)
    byzantine = data.draw(st.integers(0, workers - 1))
    here = bad_group_probability(sizes, liars, workers, byzantine)
    assert 0.0 <= here <= bad_group_probability(sizes, liars, workers, byzantine + 1) <= 1.0
    assert here >= bad_group_probability(sizes, liars + 1, workers, byzantine)
