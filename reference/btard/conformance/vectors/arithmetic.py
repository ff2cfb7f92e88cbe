"""Vectors of chapter ``arithmetic``."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np

from btard.conformance.vectors.cases import Chapter, operation
from btard.conformance.vectors.forms import read_real, read_reals, read_singles, real, reals, singles
from btard.protocol.arithmetic import (
    Float32,
    admissible_gradient,
    dot,
    float32_bytes,
    float64_bytes,
    folding_sum,
    lower_median,
    norm,
)

FLAGS = {
    "left-to-right": "adds the values one after the other",
    "neighbours": "adds every value to the one beside it instead of laying the second half onto the first",
    "not-padded": "cuts a number of values that is no power of two in the middle, or carries the odd one along",
    "exact": "sums more exactly than asked for, with wider or compensated accumulators, or scaled against overflow",
    "negative-zero": "gives −0 as a sum",
    "flushed": "takes numbers below 2⁻¹⁰²² as 0",
    "fused": "multiplies and adds in one operation, with one rounding",
    "in-float32": "computes in float32 what is to be computed in float64",
    "upper-median": "takes the upper of the two in the middle",
    "mean-of-two": "takes the mean of the two in the middle",
    "not-sorted": "takes the number in the middle of the list",
    "sorted-by-size": "orders the numbers by absolute value, or as text",
    "keeps-non-finite": "clips before it replaces infinities and NaN, keeps them, or drops the whole gradient",
    "no-margin": "clips to λ itself: after rounding the norm may exceed λ",
    "always-scaled": "scales a gradient that is short enough, or pulls it up to the ceiling",
    "other-order": "multiplies by the ceiling and then divides by the norm, or divides by a rounded inverse",
    "entry-by-entry": "limits every entry, or each part, instead of the norm of the whole",
    "big-endian": "writes the most significant byte first",
}


@operation("arithmetic.sum", "`values`: vector of float64", "real number: the canonical sum")
def compute_sum(given: dict[str, Any]) -> str:
    """ARITH-1."""
    return canonical(folding_sum, read_reals(given["values"]))


@operation(
    "arithmetic.dot", "`left`, `right`: vectors of float64, of one length", "real number: the canonical inner product"
)
def compute_dot(given: dict[str, Any]) -> str:
    """ARITH-2."""
    return canonical(dot, read_reals(given["left"]), read_reals(given["right"]))


@operation("arithmetic.norm", "`values`: vector of float64", "real number: the canonical norm")
def compute_norm(given: dict[str, Any]) -> str:
    """ARITH-2."""
    return canonical(norm, read_reals(given["values"]))


@operation("arithmetic.lower_median", "`values`: vector of float64, at least one entry", "real number: the median")
def compute_lower_median(given: dict[str, Any]) -> str:
    """ARITH-3."""
    return canonical(lower_median, read_reals(given["values"]))


@operation(
    "arithmetic.admissible_gradient",
    "`raw`: vector of float32; `level`: real number, λ",
    "vector of float32: what is committed",
)
def compute_admissible_gradient(given: dict[str, Any]) -> str:
    """ARITH-4."""
    with np.errstate(all="ignore"):
        return singles(admissible_gradient(read_singles(given["raw"]), read_real(given["level"])))


@operation(
    "arithmetic.float32_bytes",
    "`numbers`: list of pairs of integers (a, e), which stand for a · 2ᵉ, a float32",
    "bytes: these numbers as float32",
)
def compute_float32_bytes(given: dict[str, Any]) -> str:
    """ARITH-5."""
    return float32_bytes([math.ldexp(a, e) for a, e in given["numbers"]]).hex()


@operation(
    "arithmetic.float64_bytes",
    "`numbers`: list of pairs of integers (a, e), which stand for a · 2ᵉ, a float64",
    "bytes: these numbers as float64",
)
def compute_float64_bytes(given: dict[str, Any]) -> str:
    """ARITH-5."""
    return float64_bytes([math.ldexp(a, e) for a, e in given["numbers"]]).hex()


def canonical(compute: Any, *vectors: Any) -> str:
    """A result as text; overflow is no error."""
    with np.errstate(all="ignore"):
        return real(float(compute(*vectors)))


def chapter() -> Chapter:
    """All vectors of the chapter."""
    made = Chapter("arithmetic", FLAGS)
    for add in (add_sums, add_special_sums, add_products, add_norms, add_medians, add_gradients, add_edges, add_bytes):
        add(made)
    return made


# -- Sums -------------------------------------------------------------------------------------


def spread(length: int, seed: int = 1) -> list[float]:
    """Numbers of both signs and many sizes, so that the order of additions shows."""
    state, values = seed, []
    for _ in range(length):
        state = state * 6364136223846793005 % 2**64 + 1442695040888963407
        mantissa = (state >> 11) % 2**53 - 2**52
        values.append(math.ldexp(mantissa, state % 7 - 55))
    return values


def left_to_right(values: list[float]) -> float:
    """The mistake of the loop."""
    total = 0.0
    for value in values:
        total += value
    return total


def neighbours(values: list[float]) -> float:
    """The mistake of adding 0 to 1, 2 to 3, and so on."""
    work = list(values)
    while len(work) > 1:
        work += [0.0] * (len(work) % 2)
        work = [left + right for left, right in zip(work[::2], work[1::2], strict=True)]
    return work[0]


def halves_of_the_length(values: list[float]) -> float:
    """The mistake of folding in the middle of the values that are there, the odd one carried along."""
    work = list(values)
    while len(work) > 1:
        half = -(-len(work) // 2)
        work = [work[k] + (work[half + k] if half + k < len(work) else 0.0) for k in range(half)]
    return work[0]


def in_float32(values: list[float]) -> float:
    """The mistake of folding in float32."""
    work = np.array(values, dtype=np.float32)
    while len(work) > 1:
        work = np.append(work, np.zeros(len(work) % 2, np.float32))
        work = work[: len(work) // 2] + work[len(work) // 2 :]
    return float(work[0])


SUM_MISTAKES = {
    "left-to-right": left_to_right,
    "neighbours": neighbours,
    "not-padded": halves_of_the_length,
    "exact": math.fsum,
    "in-float32": in_float32,
}


def add_sums(made: Chapter) -> None:
    """ARITH-1: the order of additions. Some of many seeds give sums on which every mistake shows."""
    tenths = [k / 10 for k in range(1, 8)]
    made.right("seven-tenths", "arithmetic.sum", "ARITH-1", values=reals(tenths))
    made.trap(
        "tenths-in-order", "arithmetic.sum", "ARITH-1", "left-to-right", real(left_to_right(tenths)),
        values=reals(tenths),
    )  # fmt: skip
    for length in (1, 2, 3, 4, 5, 8, 13, 100, 257):
        made.right(f"{length}-values", "arithmetic.sum", "ARITH-1", values=reals(spread(length)))
    for length in (6, 11, 24, 33, 100):
        for flag, mistake in SUM_MISTAKES.items():
            values = telling(length, mistake)
            made.trap(
                f"{length}-{flag}", "arithmetic.sum", "ARITH-1", flag, real(mistake(values)), values=reals(values)
            )


def telling(length: int, mistake: Any) -> list[float]:
    """Values on which ``mistake`` gives another sum."""
    candidates = (spread(length, seed) for seed in range(2, 100))
    return next(values for values in candidates if float(folding_sum(values)) != mistake(values))


def add_special_sums(made: Chapter) -> None:
    """ARITH-1: zeros, small, large and infinite values."""
    made.right("nothing", "arithmetic.sum", "ARITH-1", values="")
    made.right("one-infinity", "arithmetic.sum", "ARITH-1", values=reals([1.0, math.inf, 2.0]))
    zeros: dict[str, list[float]] = {"one": [-0.0], "two": [-0.0, -0.0], "three": [-0.0, -0.0, -0.0]}
    for name, values in zeros.items():
        made.trap(
            f"negative-zeros-{name}", "arithmetic.sum", "ARITH-1", "negative-zero", real(-0.0), values=reals(values)
        )
    lost = [1.0, 2.0**53, -(2.0**53)]
    made.trap(
        "one-is-kept", "arithmetic.sum", "ARITH-1", "left-to-right", real(left_to_right(lost)), values=reals(lost)
    )
    longer = [2.0**53, 1.0, 1.0, 1.0, 0.0]
    made.right("without-zero-at-the-end", "arithmetic.sum", "ARITH-1", values=reals(longer[:-1]))
    made.trap(
        "zero-at-the-end", "arithmetic.sum", "ARITH-1", "not-padded", real(halves_of_the_length(longer)),
        values=reals(longer),
    )  # fmt: skip
    great = [1e308, 1.0, 1e308, -1e308]
    made.trap("overflow", "arithmetic.sum", "ARITH-1", "exact", real(1e308), values=reals(great))
    small = [2.0**-1073, 2.0**-1074]
    made.trap("subnormal", "arithmetic.sum", "ARITH-1", "flushed", real(0.0), values=reals(small))


# -- Inner products and norms -----------------------------------------------------------------


def fused_dot(left: list[float], right: list[float]) -> float:
    """The mistake of adding with the product not yet rounded, in the first fold."""
    size = 1 << max(0, len(left) - 1).bit_length()
    padded = [*zip(left, right, strict=True), *[(0.0, 0.0)] * (size - len(left))]
    if size == 1:
        return left[0] * right[0]
    pairs = zip(padded[: size // 2], padded[size // 2 :], strict=True)
    work = [float(Fraction(a * b) + Fraction(c) * Fraction(d)) for (a, b), (c, d) in pairs]
    return float(folding_sum(work))


def exact_dot(left: list[float], right: list[float]) -> float:
    """The mistake of rounding once, at the end."""
    return float(sum((Fraction(a) * Fraction(b) for a, b in zip(left, right, strict=True)), Fraction(0)))


def loop_dot(left: list[float], right: list[float]) -> float:
    """The mistake of the loop."""
    return left_to_right([a * b for a, b in zip(left, right, strict=True)])


def single_dot(left: list[float], right: list[float]) -> float:
    """The mistake of multiplying in float32."""
    return float(folding_sum(np.array(left, dtype=np.float32) * np.array(right, dtype=np.float32)))


DOT_MISTAKES = {"fused": fused_dot, "exact": exact_dot, "left-to-right": loop_dot, "in-float32": single_dot}


def add_products(made: Chapter) -> None:
    """ARITH-2: inner products."""
    for length in (0, 1, 3, 16, 100):
        left, right = spread(length), spread(length, 7)
        made.right(f"{length}-entries", "arithmetic.dot", "ARITH-2", left=reals(left), right=reals(right))
    for length in (3, 6, 16, 50):
        for flag, mistake in DOT_MISTAKES.items():
            left, right = telling_pair(length, mistake)
            made.trap(
                f"{length}-{flag}", "arithmetic.dot", "ARITH-2", flag, real(mistake(left, right)),
                left=reals(left), right=reals(right),
            )  # fmt: skip
    near = 1.0 + 2.0**-30
    left, right = [-1.0, near], [1.0 + 2.0**-29, near]
    made.trap(
        "all-but-cancelled", "arithmetic.dot", "ARITH-2", "fused", real(fused_dot(left, right)),
        left=reals(left), right=reals(right),
    )  # fmt: skip
    made.trap(
        "negative-zero", "arithmetic.dot", "ARITH-2", "negative-zero", real(-0.0),
        left=reals([0.0, -1.0]), right=reals([-1.0, 0.0]),
    )  # fmt: skip
    made.trap(
        "small-products", "arithmetic.dot", "ARITH-2", "flushed", real(0.0),
        left=reals([2.0**-530] * 2), right=reals([2.0**-530] * 2),
    )  # fmt: skip


def telling_pair(length: int, mistake: Any) -> tuple[list[float], list[float]]:
    """Two vectors on which ``mistake`` gives another inner product."""
    candidates = ((spread(length, seed), spread(length, seed + 1000)) for seed in range(2, 100))
    return next(pair for pair in candidates if float(dot(*pair)) != mistake(*pair))


def add_norms(made: Chapter) -> None:
    """ARITH-2: norms."""
    made.right("3-4-5", "arithmetic.norm", "ARITH-2", values=reals([3.0, -4.0]))
    for length in (0, 1, 7, 100):
        made.right(f"{length}-entries", "arithmetic.norm", "ARITH-2", values=reals(spread(length)))
    mistakes: dict[str, Callable[[list[float]], float]] = {
        "exact": lambda values: math.sqrt(exact_dot(values, values)),
        "left-to-right": lambda values: math.sqrt(loop_dot(values, values)),
        "fused": lambda values: math.sqrt(fused_dot(values, values)),
        "in-float32": lambda values: math.sqrt(single_dot(values, values)),
    }
    for length in (7, 40):
        for flag, mistake in mistakes.items():
            found = (spread(length, seed) for seed in range(2, 1000))
            values = next(values for values in found if float(norm(values)) != mistake(values))
            made.trap(
                f"{length}-{flag}", "arithmetic.norm", "ARITH-2", flag, real(mistake(values)), values=reals(values)
            )
    great, small = [2.0**600, 2.0**600], [2.0**-600, 2.0**-600]
    made.trap("overflow", "arithmetic.norm", "ARITH-2", "exact", real(math.hypot(*great)), values=reals(great))
    made.trap("underflow", "arithmetic.norm", "ARITH-2", "exact", real(math.hypot(*small)), values=reals(small))
    subnormal = [2.0**-530, 2.0**-529]
    made.trap("subnormal-squares", "arithmetic.norm", "ARITH-2", "flushed", real(0.0), values=reals(subnormal))


# -- Median -----------------------------------------------------------------------------------


def add_medians(made: Chapter) -> None:
    """ARITH-3."""
    for length in (1, 2, 3, 9, 16):
        made.right(f"{length}-numbers", "arithmetic.lower_median", "ARITH-3", values=reals(spread(length)))
    made.right("with-infinity", "arithmetic.lower_median", "ARITH-3", values=reals([math.inf, 1.0, math.inf, 0.5]))
    made.right("equal-ones", "arithmetic.lower_median", "ARITH-3", values=reals([2.0, 1.0, 2.0, 2.0, 1.0]))
    for length in (2, 4, 6, 10):
        values = spread(length, 5)
        ordered, half = sorted(values), length // 2
        case = {"values": reals(values)}
        upper, mean = ordered[half], (ordered[half - 1] + ordered[half]) / 2
        made.trap(f"{length}-upper", "arithmetic.lower_median", "ARITH-3", "upper-median", real(upper), **case)
        made.trap(f"{length}-mean", "arithmetic.lower_median", "ARITH-3", "mean-of-two", real(mean), **case)
    values = [3.0, 10.0, -7.0, 20.0, 2.0, 0.5, 100.0]
    case, place = {"values": reals(values)}, (len(values) - 1) // 2
    by_size, by_text = sorted(values, key=abs)[place], sorted(values, key=str)[place]
    made.trap("in-the-middle", "arithmetic.lower_median", "ARITH-3", "not-sorted", real(values[place]), **case)
    made.trap("by-size", "arithmetic.lower_median", "ARITH-3", "sorted-by-size", real(by_size), **case)
    made.trap("by-text", "arithmetic.lower_median", "ARITH-3", "sorted-by-size", real(by_text), **case)


# -- Admissible gradients ---------------------------------------------------------------------

RAW = np.array([0.75, -1.2500001, 3.1415927, -0.001, 2.0e-5, 7.0, -0.0, 0.1], dtype=np.float32)
MARGIN = 1.0 - 2.0**-20


def add_gradients(made: Chapter) -> None:
    """ARITH-4: usual gradients, and gradients that are to be clipped."""
    for level in (1.0, 2.5, 100.0):
        made.right(f"level-{level:g}", "arithmetic.admissible_gradient", "ARITH-4", raw=singles(RAW), level=real(level))
    made.right("nothing", "arithmetic.admissible_gradient", "ARITH-4", raw="", level=real(1.0))
    made.right("zeros", "arithmetic.admissible_gradient", "ARITH-4", raw="0000000000000080", level=real(1.0))
    great = np.full(4, np.finfo(np.float32).max, dtype=np.float32)
    made.right("greatest", "arithmetic.admissible_gradient", "ARITH-4", raw=singles(great), level=real(1.0))
    for level in (1.0, 2.5):
        for name, (flag, mistaken) in clipped_wrongly(RAW, level).items():
            made.trap(
                f"{name}-{level:g}", "arithmetic.admissible_gradient", "ARITH-4", flag, singles(mistaken),
                raw=singles(RAW), level=real(level),
            )  # fmt: skip
    add_quotients(made)
    add_non_finite(made)


def clipped_wrongly(raw: Float32, level: float) -> dict[str, tuple[str, Float32]]:
    """By name: the mistake, and what becomes of ``raw``, which is to be clipped."""
    size = float(norm(raw))
    wide = raw.astype(np.float64)
    return {
        "in-float32": ("in-float32", raw * np.float32(level * MARGIN / size)),
        "without-margin": ("no-margin", (wide * (level / size)).astype(np.float32)),
        "not-clipped": ("no-margin", raw),
        "by-entry": ("entry-by-entry", np.clip(raw, -np.float32(level * MARGIN), np.float32(level * MARGIN))),
        "by-greatest": ("entry-by-entry", (wide * (level * MARGIN / float(abs(wide).max()))).astype(np.float32)),
    }


def add_quotients(made: Chapter) -> None:
    """ARITH-4, step 3: the quotient first. The other orders differ in few gradients, so some are searched for."""
    mistakes = {
        "divided-last": lambda wide, ceiling, size: wide * ceiling / size,
        "inverse": lambda wide, ceiling, size: wide * (ceiling * (1.0 / size)),
        "divided-by-quotient": lambda wide, ceiling, size: wide / (size / ceiling),
    }
    for name, mistake in mistakes.items():
        raw, level, mistaken = telling_gradient(mistake)
        made.trap(
            name, "arithmetic.admissible_gradient", "ARITH-4", "other-order", singles(mistaken),
            raw=singles(raw), level=real(level),
        )  # fmt: skip


def telling_gradient(mistake: Any) -> tuple[Float32, float, Float32]:
    """A gradient and a λ, for which another order of operations gives another float32 somewhere.

    They differ by a last bit of float64, which shows only beside the middle of two float32 numbers. So λ is chosen such
    that the first entry comes to lie there.
    """
    for seed in range(1, 400):
        raw = np.array(spread(4, seed), dtype=np.float32)
        wide, size = raw.astype(np.float64), float(norm(raw))
        half = raw[0] / np.float32(2)
        middle = (float(half) + float(np.nextafter(half, np.float32(0)))) / 2
        for step in range(-4, 5):
            level = middle / float(wide[0]) * size / MARGIN * (1 + step * 2.0**-52)
            mistaken: Float32 = mistake(wide, level * MARGIN, size).astype(np.float32)
            if singles(admissible_gradient(raw, level)) != singles(mistaken):
                return raw, level, mistaken
    raise LookupError


def add_non_finite(made: Chapter) -> None:
    """ARITH-4, step 1."""
    spoiled = {"nan": "0000c07f", "negative-nan": "0000c0ff", "signalling-nan": "0100807f", "infinity": "0000807f"}
    for name, bits in {**spoiled, "negative-infinity": "000080ff"}.items():
        digits = singles(RAW[:3]) + bits + singles(RAW[4:])
        for level in (100.0, 2.5):
            case = {"raw": digits, "level": real(level)}
            kept = digits if level > 10 else singles(np.zeros(len(RAW)))
            made.trap(
                f"{name}-{level:g}", "arithmetic.admissible_gradient", "ARITH-4", "keeps-non-finite", kept, **case
            )
    made.trap(
        "all-dropped", "arithmetic.admissible_gradient", "ARITH-4", "keeps-non-finite", singles(np.zeros(2)),
        raw="0000803f0000c07f", level=real(5.0),
    )  # fmt: skip
    great = float(np.finfo(np.float32).max)
    made.trap(
        "greatest-for-infinity", "arithmetic.admissible_gradient", "ARITH-4", "keeps-non-finite",
        singles(admissible_gradient([1.0, great], 1.0)), raw="0000803f0000807f", level=real(1.0),
    )  # fmt: skip


def add_edges(made: Chapter) -> None:
    """ARITH-4: norms at λ and at the ceiling. The gradient (1) has the norm 1."""
    one = singles([1.0])
    at_ceiling = 1.0 / MARGIN
    at_ceiling = next(x for x in (at_ceiling, math.nextafter(at_ceiling, 2)) if x * MARGIN >= 1.0)
    below = math.nextafter(at_ceiling, 0)
    made.right("norm-at-ceiling", "arithmetic.admissible_gradient", "ARITH-4", raw=one, level=real(at_ceiling))
    made.right("just-below", "arithmetic.admissible_gradient", "ARITH-4", raw=one, level=real(below))
    for name, level in (("norm-is-level", 1.0), ("norm-in-margin", 1.0 + 2.0**-21)):
        made.trap(name, "arithmetic.admissible_gradient", "ARITH-4", "no-margin", one, raw=one, level=real(level))
    short = np.array([0.3, 0.4, -0.0], dtype=np.float32)
    for level in (0.75, 4.0):
        wide = short.astype(np.float64) * (level * MARGIN / float(norm(short)))
        made.trap(
            f"pulled-up-to-{level:g}", "arithmetic.admissible_gradient", "ARITH-4", "always-scaled",
            singles(wide.astype(np.float32)), raw=singles(short), level=real(level),
        )  # fmt: skip
    made.trap(
        "keeps-negative-zero", "arithmetic.admissible_gradient", "ARITH-4", "negative-zero",
        singles([0.3, 0.4, 0.0]), raw=singles(short), level=real(4.0),
    )  # fmt: skip
    small = np.array([2.0**-120, 3.0 * 2.0**-149], dtype=np.float32)
    flushed = np.array([2.0**-120, 0.0], dtype=np.float32)
    made.trap(
        "keeps-subnormal", "arithmetic.admissible_gradient", "ARITH-4", "flushed", singles(flushed),
        raw=singles(small), level=real(1.0),
    )  # fmt: skip


# -- Byte form --------------------------------------------------------------------------------

NUMBERS = [[1, 0], [-5, -1], [0, 0], [3, 40], [16777215, -24], [1, -126], [1, -149], [-8388607, -149], [16777215, 104]]
"""Numbers that both types have, down to the least and up to the greatest float32."""


def add_bytes(made: Chapter) -> None:
    """ARITH-5."""
    wide = [[2**53 - 1, 971], [1, -1074], [-(2**53 - 1), -53], [1, -1022]]
    made.right("no-entries", "arithmetic.float32_bytes", "ARITH-5", numbers=[])
    for name, numbers in (("example", NUMBERS[:3]), ("all", NUMBERS)):
        values = np.array([math.ldexp(a, e) for a, e in numbers])
        made.right(name, "arithmetic.float32_bytes", "ARITH-5", numbers=numbers)
        made.right(name, "arithmetic.float64_bytes", "ARITH-5", numbers=numbers)
        turned = {"float32_bytes": values.astype(">f4"), "float64_bytes": values.astype(">f8")}
        for what, written in turned.items():
            made.trap(
                f"{name}-turned", f"arithmetic.{what}", "ARITH-5", "big-endian", written.tobytes().hex(),
                numbers=numbers,
            )  # fmt: skip
    made.right("extreme", "arithmetic.float64_bytes", "ARITH-5", numbers=wide)
    for name, number in (("least-float32", [1, -149]), ("below-normal", [-8388607, -149])):
        made.trap(name, "arithmetic.float32_bytes", "ARITH-5", "flushed", singles([0.0]), numbers=[number])
    for name, number in (("least-float64", [1, -1074]), ("great-subnormal", [2**52 - 1, -1074])):
        made.trap(name, "arithmetic.float64_bytes", "ARITH-5", "flushed", reals([0.0]), numbers=[number])
    pairs = list(pairwise(NUMBERS))[:2]
    for index, pair in enumerate(pairs):
        swapped = float32_bytes([math.ldexp(a, e) for a, e in reversed(pair)])
        made.trap(f"in-order-{index}", "arithmetic.float32_bytes", "ARITH-5", "big-endian", swapped.hex(), numbers=pair)
