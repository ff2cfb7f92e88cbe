"""Chapter ``redundant_code``, the code: frames, rows, liars located, decoding, probabilities."""

from __future__ import annotations

import decimal
import math
import random
import warnings
from fractions import Fraction
from itertools import combinations
from typing import cast

import numpy as np
import pytest
from btard.protocol import redundant_code
from btard.protocol.arithmetic import Float32, Float64
from btard.protocol.redundant_code import (
    CONDITION_LIMIT,
    GRID,
    MAX_GROUP,
    UNIT,
    CodeError,
    Undecodable,
    agreeing,
    bad_group_probability,
    check_code,
    coded_length,
    conditioning,
    decode,
    decoding_bound,
    encode,
    frame,
    frame_row,
    group_frame,
    mean_of,
    project,
    run_probability,
)
from btard_adversary.coding import indistinguishable_pair

COINS = bytes(range(32))
CODES = [(r, s, r - 2 * s) for r in range(1, MAX_GROUP + 1) for s in range((r + 1) // 2)]
"""All supported (r, s, r_c) with r = 2s + r_c."""
SOME = [(1, 0, 1), (3, 1, 1), (5, 2, 1), (4, 1, 2), (9, 3, 3), (15, 6, 3), (15, 3, 9), (20, 4, 12), (20, 9, 2)]


def normal(length: int, seed: int = 0) -> Float32:
    return np.random.default_rng(seed).standard_normal(length).astype(np.float32)


def sent(part: Float32, coefficients: Float64) -> Float32:
    """What honest members send, a row each."""
    return np.stack([encode(part, row) for row in coefficients])


def error(found: Float32, part: Float32) -> float:
    """‖found − part‖ / ‖part‖ in float64."""
    return float(np.linalg.norm(found.astype(np.float64) - part) / np.linalg.norm(part.astype(np.float64)))


# Frame

PI = "3.14159265358979323846264338327950288419716939937510582097494459230781640628620899862803482534211706798"


def exact_cosine(numerator: int, denominator: int) -> decimal.Decimal:
    """cos(π·numerator/denominator) to 50 digits, by its series."""
    angle = decimal.Decimal(PI) * (numerator % (2 * denominator)) / denominator
    term = total = decimal.Decimal(1)
    for k in range(1, 60):
        term *= -angle * angle / ((2 * k - 1) * (2 * k))
        total += term
    return total


@pytest.mark.requirement("CODE-1")
def test_every_decent_cosine_gives_the_same_coefficients() -> None:
    """No value is within 5·10⁻¹⁰ of a place where rounding to the grid changes; float64 is off by 10⁻¹⁵."""
    with decimal.localcontext() as context:
        context.prec = 60
        cosines = {(n, r): exact_cosine(n, 2 * r) for r in range(1, MAX_GROUP + 1) for n in range(4 * r)}
        closest = decimal.Decimal(1)
        for rows in range(1, MAX_GROUP + 1):
            for compression in range(1, rows + 1):
                odd, integers = compression % 2, frame(rows, compression) * GRID
                for position in range(rows):
                    values = [(1 / decimal.Decimal(compression)).sqrt()] * odd
                    scale = (2 / decimal.Decimal(compression)).sqrt()
                    for k in range(compression // 2):
                        turns = (2 * k + 1 + odd) * position * 2
                        values += [
                            scale * cosines[turns % (4 * rows), rows],
                            scale * cosines[(turns - rows) % (4 * rows), rows],
                        ]
                    for value, found in zip(values, integers[position], strict=True):
                        assert int((value * GRID).to_integral_value()) == found
                        part = (value * GRID) % 1
                        closest = min(closest, abs(abs(part) - decimal.Decimal("0.5")) / GRID)
    assert 5e-10 < closest < 1e-9


@pytest.mark.requirement("CODE-1")
def test_a_frame_has_rows_of_norm_one_and_nearly_orthogonal_columns() -> None:
    for rows, _, compression in CODES:
        found = frame(rows, compression)
        assert found.shape == (rows, compression) and found.dtype == np.float64
        assert np.abs(np.linalg.norm(found, axis=1) - 1).max() < 4e-6
        assert np.abs(found.T @ found - rows / compression * np.eye(compression)).max() < 1e-5
        assert np.abs(found - [frame_row(i, rows, compression) for i in range(rows)]).max() <= 0.5 / GRID
    assert frame(7, 1).tolist() == [[1.0]] * 7
    assert not frame(7, 3).flags.writeable


@pytest.mark.requirement("CODE-1")
@pytest.mark.parametrize(("rows", "compression"), [(21, 3), (3, 4), (3, 0), (0, 0)])
def test_no_frame_outside_of_its_ranges(rows: int, compression: int) -> None:
    with pytest.raises(CodeError, match="no frame"):
        frame(rows, compression)


def determinant(matrix: list[list[int]]) -> int:
    """Exact, by Bareiss' elimination without fractions."""
    rows, sign, before = [list(row) for row in matrix], 1, 1
    for k in range(len(rows) - 1):
        pivot = next((i for i in range(k, len(rows)) if rows[i][k]), None)
        if pivot is None:
            return 0
        if pivot != k:
            rows[k], rows[pivot], sign = rows[pivot], rows[k], -sign
        for i in range(k + 1, len(rows)):
            for j in range(k + 1, len(rows)):
                rows[i][j] = (rows[i][j] * rows[k][k] - rows[i][k] * rows[k][j]) // before
        before = rows[k][k]
    return sign * rows[-1][-1]


@pytest.mark.parametrize(("rows", "compression"), [(6, 3), (7, 4), (8, 4), (9, 5), (10, 2), (10, 6), (20, 18), (20, 2)])
def test_any_r_c_rows_determine_the_columns_exactly(rows: int, compression: int) -> None:
    integers = (frame(rows, compression) * GRID).astype(np.int64).tolist()
    assert all(determinant([integers[i] for i in chosen]) != 0 for chosen in combinations(range(rows), compression))


def least_volume(rows: int, compression: int) -> float:
    """The least |determinant| of r_c rows, over all choices."""
    coefficients, least = frame(rows, compression), math.inf
    choices = combinations(range(rows), compression)
    while batch := [chosen for _, chosen in zip(range(1 << 14), choices, strict=False)]:
        least = min(least, float(np.abs(np.linalg.det(coefficients[np.array(batch)])).min()))
    return least


@pytest.mark.parametrize("rows", range(1, 15))
def test_any_r_c_rows_determine_the_columns(rows: int) -> None:
    """float64 determinants of rows of norm 1 are exact to 10⁻¹³ or so."""
    assert min(least_volume(rows, compression) for compression in range(1, rows + 1)) > 1e-10


@pytest.mark.slow
@pytest.mark.parametrize("rows", range(15, MAX_GROUP + 1))
def test_any_r_c_rows_determine_the_columns_in_large_groups(rows: int) -> None:
    codes = [compression for size, _, compression in CODES if size == rows]
    assert min(least_volume(rows, compression) for compression in codes) > 1e-12


@pytest.mark.requirement("CODE-2")
def test_every_code_up_to_twenty_rows_is_well_conditioned() -> None:
    found = {code: conditioning(*code) for code in CODES}
    worst = max(found, key=lambda code: found[code])
    assert worst == (20, 4, 12) and 23.68 < found[worst] < 23.69 < CONDITION_LIMIT
    for code in CODES:
        check_code(*code)


@pytest.mark.requirement("CODE-2")
def test_conditioning_is_the_worst_over_all_removals() -> None:
    for rows, liars, compression in [(7, 2, 3), (8, 2, 4), (9, 3, 3), (6, 3, 2)]:
        base = frame(rows, compression)
        kept = [list(c) for size in range(rows - liars, rows + 1) for c in combinations(range(rows), size)]
        assert conditioning(rows, liars, compression) == pytest.approx(max(np.linalg.cond(base[c]) for c in kept))


@pytest.mark.requirement("CODE-2")
def test_codes_that_are_refused() -> None:
    with pytest.raises(CodeError, match=r"r >= 2s \+ r_c: r = 8 is below 2 \* 3 \+ 3"):
        check_code(8, 3, 3)
    with pytest.raises(CodeError, match="at most 20 rows"):
        check_code(21, 3, 3)
    with pytest.raises(CodeError, match="r_c >= 1"):
        check_code(8, 3, 0)
    with pytest.raises(CodeError, match="s >= 0"):
        check_code(8, -1, 3)
    with pytest.raises(CodeError, match="too few rows"):
        conditioning(8, 6, 3)


@pytest.mark.requirement("CODE-2")
def test_a_code_beyond_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redundant_code, "CONDITION_LIMIT", 20.0)
    check_code(19, 4, 11)
    with pytest.raises(CodeError, match=r"condition number 23\.7"):
        check_code(20, 4, 12)


@pytest.mark.requirement("CODE-3")
def test_members_beyond_the_frame_hold_second_copies() -> None:
    assert group_frame(8, 5, 3).tolist() == [frame(5, 3)[i].tolist() for i in (0, 1, 2, 3, 4, 0, 1, 2)]
    assert group_frame(4, 5, 3).tolist() == frame(5, 3)[:4].tolist()


@pytest.mark.requirement("CODE-3")
@pytest.mark.parametrize(("members", "rows", "liars", "compression"), [(8, 5, 1, 3), (9, 6, 2, 2), (11, 5, 1, 3)])
def test_copies_worsen_the_condition_by_at_most_the_root_of_their_number(
    members: int, rows: int, liars: int, compression: int
) -> None:
    coefficients, copies = group_frame(members, rows, compression), math.ceil(members / rows)
    worst = max(
        float(np.linalg.cond(np.delete(coefficients, removed, axis=0)))
        for count in range(liars + 1)
        for removed in combinations(range(members), count)
    )
    assert worst <= math.sqrt(copies) * conditioning(rows, liars, compression) * (1 + 1e-9)


# Encoding


@pytest.mark.requirement("CODE-4")
@pytest.mark.parametrize(("length", "compression"), [(1, 1), (1, 4), (7, 3), (8, 4), (9, 4), (100_001, 3), (0, 2)])
def test_encoding_is_the_formula_bit_by_bit(length: int, compression: int) -> None:
    part, coefficients = normal(length), frame(12, compression)[5]
    size = coded_length(length, compression)
    columns = np.zeros(size * compression, np.float32)
    columns[:length] = part
    total = np.zeros(size)
    for k in range(compression):
        total = total + coefficients[k] * columns.reshape(compression, size)[k].astype(np.float64)
    found = encode(part, coefficients)
    assert found.dtype == np.float32 and found.tobytes() == total.astype(np.float32).tobytes()


@pytest.mark.requirement("CODE-4")
def test_every_product_is_exact_so_fused_operations_change_nothing() -> None:
    part, coefficients = normal(60) * np.float32(1e-38), frame(9, 6)[4]
    for k, coefficient in enumerate(coefficients.tolist()):
        for value in part[10 * k : 10 * k + 10].tolist():
            assert Fraction(coefficient * value) == Fraction(coefficient) * Fraction(value)


@pytest.mark.requirement("CODE-4")
def test_rows_of_a_long_gradient_are_finite() -> None:
    """A row is no longer than the part, so nothing overflows that the part's norm does not."""
    part = np.full(4, 1.6e38, np.float32)
    assert all(np.isfinite(encode(part, row)).all() for row in frame(8, 4))


# Location and decoding


@pytest.mark.requirement("CODE-5")
@pytest.mark.requirement("CODE-6")
@pytest.mark.parametrize(("rows", "liars", "compression"), SOME)
@pytest.mark.parametrize("length", [1, 2, 37, 5000])
def test_all_agree_when_nobody_lies(rows: int, liars: int, compression: int, length: int) -> None:
    part, base = normal(length), frame(rows, compression)
    found = agreeing(sent(part, base), base, liars, COINS)
    assert found == tuple(range(rows))
    assert error(decode(sent(part, base), base, found, length), part) <= decoding_bound(rows, liars, compression)


def lies(rows: Float32, who: list[int], kind: str) -> Float32:
    """``rows`` with those of ``who`` replaced."""
    changed, size = rows.copy(), float(np.linalg.norm(rows[who[0]])) / math.sqrt(rows.shape[1]) if who else 0.0
    for seed, index in enumerate(who):
        noise = normal(rows.shape[1], 100 + seed)
        changed[index] = {
            "reversed": -rows[index],
            "zero": 0 * rows[index],
            "huge": noise * np.float32(1e37),
            "not a number": np.where(noise > 1, np.float32("nan"), rows[index]),
            "infinite": np.where(noise > 1, np.float32("-inf"), rows[index]),
            "small": rows[index] + noise * np.float32(3e-5 * size),
            "one coordinate": rows[index] + np.eye(1, rows.shape[1], 3, dtype=np.float32)[0] * 30 * size,
            "the same": rows[who[0]] + normal(rows.shape[1], 100) * np.float32(size),
        }[kind]
    return changed


KINDS = ["reversed", "zero", "huge", "not a number", "infinite", "small", "one coordinate", "the same"]


@pytest.mark.requirement("CODE-5")
@pytest.mark.requirement("CODE-6")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("rows", "liars", "compression"), [code for code in SOME if code[1]])
def test_liars_are_located_and_do_no_harm(rows: int, liars: int, compression: int, kind: str) -> None:
    part, base = normal(20_000), frame(rows, compression)
    for seed in range(4):
        who = sorted(random.Random(seed).sample(range(rows), liars if seed else 1))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            received = lies(sent(part, base), who, kind)
            found = agreeing(received, base, liars, bytes([seed]) * 32)
            decoded = decode(received, base, found, len(part))
        assert set(found) == set(range(rows)) - set(who)
        assert error(decoded, part) <= decoding_bound(rows, liars, compression)


@pytest.mark.requirement("CODE-5")
@pytest.mark.parametrize("scale", [0.0, 1e-45, 1e-40, 1e-30, 1e30, 1e37])
def test_location_works_at_every_scale(scale: float) -> None:
    part, base = (normal(2000).astype(np.float64) * scale).astype(np.float32), frame(9, 3)
    honest = sent(part, base)
    assert len(agreeing(honest, base, 3, COINS)) == 9
    received = honest.copy()
    received[[0, 4, 5]] = normal(len(honest[0]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = agreeing(received, base, 3, COINS)
        decoded = decode(received, base, found, len(part))
    assert found == (1, 2, 3, 6, 7, 8)
    small = 2.0**-148 * math.sqrt(len(part))
    assert np.linalg.norm(decoded.astype(np.float64) - part) <= 1e-6 * np.linalg.norm(part.astype(np.float64)) + small


@pytest.mark.requirement("CODE-5")
def test_liars_in_a_group_with_second_copies_are_located() -> None:
    part, coefficients = normal(3000), group_frame(13, 9, 3)
    for who in combinations((0, 1, 4, 9, 10), 3):
        received = lies(sent(part, coefficients), list(who), "the same")
        found = agreeing(received, coefficients, 3, COINS)
        assert set(found) == set(range(13)) - set(who)
        assert error(decode(received, coefficients, found, 3000), part) <= decoding_bound(9, 3, 3, 13)


@pytest.mark.requirement("CODE-5")
def test_more_liars_than_s_are_named() -> None:
    part, base = normal(3000), frame(9, 3)
    for kind in ("zero", "huge", "not a number", "small"):
        with pytest.raises(Undecodable):
            agreeing(lies(sent(part, base), [0, 2, 5, 6], kind), base, 3, COINS)


@pytest.mark.requirement("CODE-5")
def test_rows_that_do_not_fit_are_refused() -> None:
    base = frame(9, 3)
    with pytest.raises(CodeError, match="r >= 2s"):
        agreeing(np.zeros((8, 5), np.float32), base, 3, COINS)
    with pytest.raises(CodeError, match="r >= 2s"):
        agreeing(np.zeros((9, 5), np.float32), base, 4, COINS)
    with pytest.raises(CodeError, match="coded rows"):
        decode(np.zeros((9, 5), np.float32), base, range(9), 16)
    with pytest.raises(CodeError, match="do not determine"):
        decode(np.zeros((9, 5), np.float32), base, (0, 1), 15)
    with pytest.raises(CodeError, match="do not determine"):
        decode(np.zeros((6, 5), np.float32), group_frame(6, 3, 3), (0, 3, 1, 4), 15)


@pytest.mark.requirement("CODE-5")
def test_projections_of_rounding_stay_far_below_the_threshold() -> None:
    """Rounding of normal numbers gives 0.4 u in the mean square, far from 12 u."""
    part, base = normal(90_000), frame(9, 3)
    exact = part.reshape(3, -1).astype(np.float64)
    rows = sent(part, base)
    noise = (rows - base @ exact).astype(np.float32)
    values, _ = project(noise, COINS)
    _, scales = project(rows, COINS)
    relative = values / (UNIT * scales)
    assert 0.3 < math.sqrt(float(np.mean(relative**2))) < 0.5
    assert np.abs(relative).max() < 2.5


GRADIENTS = {
    "normal": lambda x: x,
    "constant": lambda x: 0.1 + 0 * x,
    "positive": lambda x: 1 + np.abs(x),
    "of many sizes": lambda x: np.exp(3 * x),
    "ramp": lambda x: np.arange(len(x)) * 1.0,
    "nearly sparse": lambda x: np.where(x > 3.5, x, 1e-9),
}


@pytest.mark.requirement("CODE-5")
@pytest.mark.parametrize("kind", GRADIENTS)
@pytest.mark.parametrize(("rows", "compression"), [(9, 1), (15, 3), (15, 9), (20, 12)])
def test_honest_rows_agree_clearly(rows: int, compression: int, kind: str) -> None:
    """All roundings together, those of the projections included: at most a third of the threshold."""
    part = GRADIENTS[kind](normal(300_000).astype(np.float64)).astype(np.float32)
    base = frame(rows, compression)
    values, scales = project(sent(part, base), COINS)
    assert redundant_code._Sketch(values, scales, base).misfit(np.arange(rows)) <= redundant_code.CLEAR


def test_projections_have_mean_zero_and_variance_one() -> None:
    values, scales = project(np.eye(2, 60_000, dtype=np.float32), COINS)
    assert values.shape == scales.shape == (2, 48)
    entries = np.array([project(np.ones((1, 1), np.float32), bytes([i, j]))[0] for i in range(99) for j in range(9)])
    assert abs(float(entries.mean())) < 0.1 and abs(float(entries.var()) - 1) < 0.1
    assert np.abs(entries).max() < math.sqrt(3)


@pytest.mark.requirement("CODE-6")
@pytest.mark.parametrize(("rows", "liars", "compression"), CODES)
def test_the_bound_holds_for_the_worst_rounding(rows: int, liars: int, compression: int) -> None:
    """Neighbours removed, a part that the rows that are left see least, every entry off by u in the worst direction."""
    base, kept = frame(rows, compression), list(range(liars, rows))
    assert decoding_bound(rows, liars, compression) <= 9e-6
    left, _, right = np.linalg.svd(base[kept])
    for direction in (right[-1], right[0]):
        part = np.outer(direction, normal(50)).astype(np.float32)
        assert error(decode(sent(part.reshape(-1), base), base, kept, part.size), part.reshape(-1)) <= decoding_bound(
            rows, liars, compression
        )
        exact = base @ part.astype(np.float64)
        exact[kept] += np.sign(left[:, compression - 1])[:, np.newaxis] * np.abs(exact[kept]) * UNIT
        decoded = decode(cast(Float32, exact), base, kept, part.size)
        assert error(decoded, part.reshape(-1)) <= decoding_bound(rows, liars, compression)


@pytest.mark.requirement("CODE-7")
def test_the_mean_is_rounded_once() -> None:
    groups = [normal(100_000, seed) for seed in range(3)]
    total = np.zeros(100_000)
    for group in groups:
        total = total + group
    assert mean_of(groups).tobytes() == (total / 3).astype(np.float32).tobytes()
    assert mean_of(groups[:1]).tobytes() == groups[0].tobytes()
    with pytest.raises(CodeError, match="no groups"):
        mean_of([])


# Beyond the bound


@pytest.mark.parametrize(("liars", "compression"), [(1, 1), (2, 1), (1, 3), (2, 2), (3, 3), (6, 3), (3, 9), (4, 12)])
def test_one_row_fewer_and_no_decoder_can_tell(liars: int, compression: int) -> None:
    pair = indistinguishable_pair(liars, compression)
    rows = 2 * liars + compression - 1
    base = frame(rows, compression)
    assert error(pair.parts[0], pair.parts[1]) > 0.05
    assert not pair.liars[0] & pair.liars[1] and len(pair.liars[0]) == len(pair.liars[1]) == liars
    for part, who in zip(pair.parts, pair.liars, strict=True):
        honest = [index for index in range(rows) if index not in who]
        assert sent(part, base[honest]).tobytes() == pair.rows[honest].tobytes()
    with pytest.raises(CodeError, match="r >= 2s"):
        agreeing(pair.rows, base, liars, COINS)


@pytest.mark.parametrize(("liars", "compression"), [(1, 1), (2, 1), (1, 3), (2, 2), (3, 3), (6, 3), (3, 9), (4, 12)])
def test_with_that_row_both_are_decoded(liars: int, compression: int) -> None:
    pair = indistinguishable_pair(liars, compression)
    base = frame(2 * liars + compression, compression)
    for case in (0, 1):
        received = sent(pair.parts[case], base)
        who = sorted(pair.liars[case])
        received[who] = sent(pair.parts[1 - case], base[who])
        found = agreeing(received, base, liars, COINS)
        assert set(found) == set(range(len(base))) - set(who)
        decoded = decode(received, base, found, len(pair.parts[case]))
        assert error(decoded, pair.parts[case]) <= decoding_bound(len(base), liars, compression)


def test_no_pair_without_liars() -> None:
    with pytest.raises(CodeError, match="one explanation"):
        indistinguishable_pair(0, 3)


# Probability


@pytest.mark.requirement("CODE-8")
@pytest.mark.parametrize(
    ("sizes", "liars", "byzantine"), [((3, 3), 1, 2), ((3, 4), 1, 3), ((5,), 1, 2), ((2, 3, 3), 1, 3), ((4, 4), 0, 0)]
)
def test_the_probability_is_that_of_all_lots_counted(sizes: tuple[int, ...], liars: int, byzantine: int) -> None:
    workers = sum(sizes)
    group = [number for number, size in enumerate(sizes) for _ in range(size)]
    lots = list(combinations(range(workers), byzantine))
    bad = sum(max((sum(group[w] == g for w in lot) for g in range(len(sizes))), default=0) > liars for lot in lots)
    assert bad_group_probability(sizes, liars, workers, byzantine) == float(Fraction(bad, len(lots)))


@pytest.mark.requirement("CODE-8")
def test_the_probability_agrees_with_a_simulation() -> None:
    """An honest formula fails this with probability below 10⁻⁹ (six deviations)."""
    sizes, liars, byzantine, draws = (15, 15, 15), 3, 8, 20_000
    expected = bad_group_probability(sizes, liars, 45, byzantine)
    lots = np.argsort(np.random.default_rng(7).random((draws, 45)), axis=1)[:, :byzantine] // 15
    bad = (np.stack([(lots == group).sum(axis=1) for group in range(3)]).max(axis=0) > liars).mean()
    assert abs(bad - expected) <= 6 * math.sqrt(expected * (1 - expected) / draws)
    assert 0.3 < expected < 0.7


@pytest.mark.requirement("CODE-8")
def test_certain_cases_and_runs() -> None:
    assert bad_group_probability((15,), 3, 15, 3) == 0.0
    assert bad_group_probability((15,), 3, 15, 4) == 1.0
    assert bad_group_probability((15, 15, 15), 6, 45, 6) == 0.0
    assert run_probability(0.0, 1000) == run_probability(1.0, 0) == 0.0
    assert run_probability(1.0, 3) == 1.0
    assert run_probability(1e-12, 1000) == pytest.approx(1e-9)
    for sizes, byzantine in (((3, 3), 8), ((3, 3), 7), ((3, 4), -1)):
        with pytest.raises(CodeError):
            bad_group_probability(sizes, 1, 7, byzantine)
    with pytest.raises(CodeError):
        run_probability(1.5, 3)
