"""Vectors of chapter ``butterfly_clip``."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np

from btard.conformance.vectors.built import built, drawn
from btard.conformance.vectors.cases import Chapter, VectorError, operation
from btard.conformance.vectors.forms import read_real, read_reals, read_singles, real, reals, rows, singles
from btard.protocol.arithmetic import Float32, Float64, folding_sum, norm
from btard.protocol.butterfly_clip import (
    Bounds,
    Radii,
    carry,
    centered_clip,
    clip,
    distance_bound,
    next_radii,
    partition,
    residual,
)

FLAGS = {
    "remainder-elsewhere": "gives the coordinates that are left over to the first parts, or to the last one",
    "narrow-product": "computes a part's edges in 32 bits or in floating point: they are wrong for large vectors",
    "no-worker": "cuts a vector for nobody",
    "carried-as-mean": "carries lengths instead of their squares",
    "share-of-the-new": "takes the share of the new part's coordinates instead of the old part's",
    "other-operations": "computes the same in another order: the last bits differ",
    "not-carried": "keeps the numbers of the old parts where the parts have changed",
    "clamps": "applies the limits of a radius in another order, or leaves one out",
    "growth": "lets a radius grow otherwise than to 1.5 times the last one",
    "no-factor": "leaves the factor c out",
    "divided-twice": "divides the vector by norm/τ instead of multiplying it by τ/norm: the last bits differ",
    "zero-norm": "divides by a norm of zero",
    "each-entry": "clips every entry instead of the whole vector",
    "other-order": "adds the clipped vectors in another order, or folds them: the last bits differ",
    "narrow": "computes differences or sums in float32",
    "not-clipped": "does not clip",
    "refuses-above": "refuses only what is greater than the limit, and so takes what is not a number",
    "strict-limit": "refuses what is exactly at the limit",
    "rounded-limit": "takes what is above the limit by less than a rounding error",
    "mean": "takes the mean, which one liar moves as far as it wants",
    "median": "takes the median of every coordinate",
    "few-rounds": "iterates a fixed number of rounds: inputs that need more make an honest aggregator guilty",
    "overflow": "squares float32 numbers in float32: large vectors have infinite norms",
    "no-residual": "counts the faulty vectors without the residual, b instead of b′",
    "one-branch": "takes one branch of the bound alone",
    "no-bound": "names a bound where there is none",
}


def plain_bounds(bounds: Bounds) -> list[list[int]]:
    """Parts: the first coordinate of each, and the first one after it."""
    return [[bound.start, bound.stop] for bound in bounds]


def read_bounds(plain: list[list[int]]) -> Bounds:
    """Inverse of :func:`plain_bounds`."""
    return tuple(slice(start, stop) for start, stop in plain)


def matrix(given: list[str]) -> Float32:
    """Inverse of ``rows`` for float32."""
    return np.stack([read_singles(row) for row in given])


@operation(
    "butterfly_clip.partition",
    "`dimension`; `workers`: how many",
    "list of the parts, in order, each as `[start, stop]`: its first coordinate, and the first one after it",
)
def compute_partition(given: dict[str, Any]) -> list[list[int]]:
    """CLIP-1."""
    return plain_bounds(partition(int(given["dimension"]), given["workers"]))


@operation(
    "butterfly_clip.carry",
    "`values`: float64 vector, a length for each old part; `old`, `new`: lists of parts as `[start, stop]`",
    "float64 vector: a length for each new part",
)
def compute_carry(given: dict[str, Any]) -> str:
    """CLIP-2."""
    return reals(carry(read_reals(given["values"]), read_bounds(given["old"]), read_bounds(given["new"])))


@operation(
    "butterfly_clip.next_radii",
    "of the last applied attempt `old`: list of parts as `[start, stop]`, `radii` and `medians`: float64 vectors with "
    "its τ and the lower median of the reported norms for each of these parts; `new`: the new parts; `factor` c, "
    "`radius_min`, `radius_max`: reals",
    "float64 vector: τ of each new part",
)
def compute_next_radii(given: dict[str, Any]) -> str:
    """CLIP-3."""
    previous = Radii(read_bounds(given["old"]), read_reals(given["radii"]), read_reals(given["medians"]))
    factor, low, high = (read_real(given[name]) for name in ("factor", "radius_min", "radius_max"))
    return reals(next_radii(previous, read_bounds(given["new"]), factor, low, high))


@operation(
    "butterfly_clip.clip", "`difference`: float64 vector y; `radius`: real τ", "float64 vector: the clipped one, f·y"
)
def compute_clip(given: dict[str, Any]) -> str:
    """CLIP-4."""
    return reals(clip(read_reals(given["difference"]), read_real(given["radius"])))


@operation(
    "butterfly_clip.residual",
    "`vectors`: matrix of float32, a row per worker; `center`: float32 vector v; `radius`: real τ",
    "real: the residual of v",
)
def compute_residual(given: dict[str, Any]) -> str:
    """CLIP-4."""
    return real(residual(matrix(given["vectors"]), read_singles(given["center"]), read_real(given["radius"])))


@operation(
    "butterfly_clip.is_aggregate",
    "`vectors`, `center`, `radius` as for the residual; `tolerance`: real ε",
    "whether v is a correct aggregate",
)
def compute_is_aggregate(given: dict[str, Any]) -> bool:
    """CLIP-4, CLIP-5."""
    vectors, center = matrix(given["vectors"]), read_singles(given["center"])
    return residual(vectors, center, read_real(given["radius"])) <= read_real(given["tolerance"])


def is_aggregate(given: dict[str, Any], _: Any, answer: Any) -> bool:
    """Every float32 vector of the right length whose residual is at most ε."""
    right_length = len(answer) == len(given["vectors"][0])
    return right_length and compute_is_aggregate({**given, "center": answer})


@operation(
    "butterfly_clip.centered_clip",
    "`vectors`: matrix of float32, a row per worker; `radius`: real τ; `tolerance`: real ε",
    "float32 vector: an aggregate. Every vector of this length passes whose residual is at most ε",
    is_aggregate,
)
def compute_centered_clip(given: dict[str, Any]) -> str:
    """CLIP-5."""
    return singles(centered_clip(matrix(given["vectors"]), read_real(given["radius"]), read_real(given["tolerance"])))


def nearly(_: dict[str, Any], expected: Any, answer: Any) -> bool:
    """Reals that differ by a relative 2⁻⁴⁰ at most: for values whose rounding no rule fixes."""
    right, said = read_real(expected), read_real(answer)
    return abs(said - right) <= 2.0**-40 * abs(right)


@operation(
    "butterfly_clip.distance_bound",
    "`honest`, `byzantine`: how many; `spread` R, `radius` τ, `tolerance` ε: reals",
    "real: the bound of CLIP-6; refused where there is none, or where an input is not a number. A relative error of "
    "2⁻⁴⁰ passes",
    nearly,
)
def compute_distance_bound(given: dict[str, Any]) -> str:
    """CLIP-6."""
    lengths = (read_real(given[name]) for name in ("spread", "radius", "tolerance"))
    return real(distance_bound(given["honest"], given["byzantine"], *lengths))


def chapter() -> Chapter:
    """All vectors of the chapter."""
    made = Chapter("butterfly_clip", FLAGS)
    for add in (add_partitions, add_carried, add_radii, add_clipped, add_residuals, add_decisions):
        add(made)
    add_aggregates(made)
    add_hard_aggregates(made)
    add_bounds(made)
    return made


# -- Parts and radii ------------------------------------------------------------------------------


def add_partitions(made: Chapter) -> None:
    """CLIP-1."""
    name = "butterfly_clip.partition"
    for dimension, workers in ((1, 1), (10, 3), (16, 16), (64, 4), (7, 2), (1000003, 7), (2**32, 5)):
        made.right(f"{dimension}-by-{workers}", name, "CLIP-1", dimension=dimension, workers=workers)
    for dimension, workers in ((10, 4), (11, 4), (1000, 16)):
        short, rest = divmod(dimension, workers)
        lengths = {
            "first": [short + (k < rest) for k in range(workers)],
            "last": [short] * (workers - 1) + [short + rest],
            "cut-off": [-(-dimension // workers)] * (workers - 1),
        }
        lengths["cut-off"].append(dimension - sum(lengths["cut-off"]))
        for where, wrong in lengths.items():
            edges = [sum(wrong[:k]) for k in range(workers + 1)]
            mistaken = between(edges)
            made.trap(
                f"{dimension}-by-{workers}-{where}", name, "CLIP-1", "remainder-elsewhere", mistaken,
                dimension=dimension, workers=workers,
            )  # fmt: skip
    for dimension, workers in ((2**31 + 5, 6), (2**32 - 1, 3)):
        edges = [(k * dimension) % 2**32 // workers for k in range(workers + 1)]
        made.trap(
            f"{dimension}-by-{workers}-in-32-bits", name, "CLIP-1", "narrow-product",
            between(edges), dimension=dimension, workers=workers,
        )  # fmt: skip
    ninths = [int(k * (1 / 49) * 49) for k in range(50)]
    made.trap(
        "49-by-49-in-floats", name, "CLIP-1", "narrow-product",
        between(ninths), dimension=49, workers=49,
    )  # fmt: skip
    made.refused("nobody", name, "CLIP-1", "no-worker", dimension=10, workers=0)


def between(edges: list[int]) -> list[list[int]]:
    """The parts with these edges."""
    return [list(pair) for pair in pairwise(edges)]


def add_carried(made: Chapter) -> None:
    """CLIP-2."""
    name = "butterfly_clip.carry"

    def case(dimension: int, old: int, new: int) -> dict[str, Any]:
        """Lengths of ``old`` equal parts, to be carried to ``new`` ones."""
        values = np.abs(drawn(f"lengths {dimension} {old}", old).astype(np.float64)) * 0.7 + 0.1
        before, after = plain_bounds(partition(dimension, old)), plain_bounds(partition(dimension, new))
        return {"values": reals(values), "old": before, "new": after}

    for dimension, old, new in ((10, 1, 4), (10, 4, 4), (10, 4, 3), (10, 3, 4), (10, 4, 1), (23, 8, 7), (1000, 15, 16)):
        made.right(f"{old}-to-{new}-of-{dimension}", name, "CLIP-2", **case(dimension, old, new))
    zeros = {**case(10, 4, 3), "values": reals([0.0, 0.5, 0.0, 0.0])}
    made.right("zeros", name, "CLIP-2", **zeros)
    for dimension, old, new in ((10, 4, 3), (23, 8, 7)):
        given = case(dimension, old, new)
        for flag, mistaken in carried_wrongly(given).items():
            made.trap(f"{old}-to-{new}-{flag}", name, "CLIP-2", flag, mistaken, **given)
    for label, mistaken in carried_in_other_order(case(1000, 16, 15)).items():
        made.trap(f"bits-{label}", name, "CLIP-2", "other-operations", mistaken, **case(1000, 16, 15))


def shared(given: dict[str, Any]) -> tuple[list[list[int]], list[int], list[float]]:
    """Of a case of ``carry``: how many coordinates each new part shares with each old one; lengths of the old parts;
    the values."""
    overlaps = [[max(0, min(b, d) - max(a, c)) for c, d in given["old"]] for a, b in given["new"]]
    return overlaps, [b - a for a, b in given["old"]], read_reals(given["values"]).tolist()


def carried_wrongly(given: dict[str, Any]) -> dict[str, str]:
    """What coarse mistakes give, by flag."""
    overlaps, sizes, values = shared(given)
    means = [math.fsum(o / s * x for o, s, x in zip(row, sizes, values, strict=True)) for row in overlaps]
    news = [
        math.sqrt(math.fsum(o / (stop - start) * x * x for o, x in zip(row, values, strict=True)))
        for row, (start, stop) in zip(overlaps, given["new"], strict=True)
    ]
    kept = (values * 2)[: len(overlaps)]
    return {"carried-as-mean": reals(means), "share-of-the-new": reals(news), "not-carried": reals(kept)}


def carried_in_other_order(given: dict[str, Any]) -> dict[str, str]:
    """What other orders of operations give."""
    overlaps, sizes, values = shared(given)
    terms = [[o / s * (x * x) for o, s, x in zip(row, sizes, values, strict=True) if o] for row in overlaps]
    late = [[o * (x * x) / s for o, s, x in zip(row, sizes, values, strict=True) if o] for row in overlaps]
    twice = [[o / s * x * x for o, s, x in zip(row, sizes, values, strict=True) if o] for row in overlaps]
    return {
        "divided-last": reals([math.sqrt(added(row)) for row in late]),
        "multiplied-twice": reals([math.sqrt(added(row)) for row in twice]),
        "float32": reals([float(np.sqrt(np.float32(added(row)))) for row in terms]),
    }


def added(terms: list[float]) -> float:
    """Added to 0 one after the other."""
    total = 0.0
    for term in terms:
        total += term
    return total


def add_radii(made: Chapter) -> None:
    """CLIP-3."""
    name = "butterfly_clip.next_radii"
    before, after = plain_bounds(partition(24, 4)), plain_bounds(partition(24, 3))
    base: dict[str, Any] = {
        "old": before, "new": before, "radii": reals([1.0, 0.4, 0.3, 2.0]), "medians": reals([0.8, 1.1, 0.0, 9.0]),
        "factor": real(0.9), "radius_min": real(0.25), "radius_max": real(2.5),
    }  # fmt: skip
    moved = {**base, "new": after}
    first = {**base, "old": [[0, 24]], "radii": reals([1.0]), "medians": reals([1.0])}
    tight = {**first, "radius_min": real(0.9)}
    made.right("median", name, "CLIP-3", **base)
    made.right("fewer-parts", name, "CLIP-3 CLIP-2", **moved)
    made.right("first-step", name, "CLIP-3 CLIP-2", **first)
    made.right("all-zero", name, "CLIP-3", **{**base, "medians": reals(np.zeros(4))})
    made.right("greatest", name, "CLIP-3", **{**base, "medians": reals([1e30] * 4), "radii": reals([1e30] * 4)})
    for label, (flag, given, wrong) in wrong_rules(base, tight).items():
        parts = read_bounds(given["old"]), read_bounds(given["new"])
        medians, radii = (carry(read_reals(given[key]), *parts) for key in ("medians", "radii"))
        constants = [read_real(given[key]) for key in ("factor", "radius_min", "radius_max")]
        made.trap(label, name, "CLIP-3", flag, reals(wrong(medians, radii, *constants)), **given)
    kept = clamped(np.minimum(0.9 * read_reals(base["medians"]), 1.5 * read_reals(base["radii"])), 0.25, 2.5)
    made.trap("parts-changed", name, "CLIP-3 CLIP-2", "not-carried", reals(kept[:3]), **moved)
    thirds = {**moved, "old": [[0, 24]], "radii": reals([1.1]), "medians": reals([1.1])}
    scaled = carry(np.array([0.9 * 1.1]), read_bounds([[0, 24]]), read_bounds(after))
    made.trap("factor-first", name, "CLIP-3 CLIP-2", "other-operations", reals(clamped(scaled, 0.25, 2.5)), **thirds)


Rule = Callable[[Float64, Float64, float, float, float], Float64]
"""From carried medians and radii, c, τ_min and τ_max to new radii."""


def wrong_rules(base: dict[str, Any], tight: dict[str, Any]) -> dict[str, tuple[str, dict[str, Any], Rule]]:
    """Mistaken rules: a flag, an input that shows the mistake, and the rule."""
    return {
        "no-growth-limit": ("growth", base, lambda m, t, c, low, high: clamped(c * m, low, high)),
        "growth-2": ("growth", base, lambda m, t, c, low, high: clamped(np.minimum(c * m, 2 * t), low, high)),
        "growth-of-median": ("growth", base, lambda m, t, c, low, high: clamped(np.minimum(c * m, 1.5 * m), low, high)),
        "growth-last": ("clamps", tight, lambda m, t, c, low, high: np.minimum(clamped(c * m, low, high), 1.5 * t)),
        "no-least": ("clamps", base, lambda m, t, c, low, high: np.minimum(np.minimum(c * m, 1.5 * t), high)),
        "no-greatest": ("clamps", base, lambda m, t, c, low, high: np.maximum(np.minimum(c * m, 1.5 * t), low)),
        "factor-1": ("no-factor", base, lambda m, t, c, low, high: clamped(np.minimum(m, 1.5 * t), low, high)),
        "factor-on-both": (
            "no-factor", base, lambda m, t, c, low, high: clamped(c * np.minimum(m, 1.5 * t), low, high),
        ),
    }  # fmt: skip


def clamped(values: Float64, low: float, high: float) -> Float64:
    """Between two limits."""
    return np.maximum(np.minimum(values, high), low)


# -- Residuals ------------------------------------------------------------------------------------


def add_clipped(made: Chapter) -> None:
    """CLIP-4: one vector."""
    name = "butterfly_clip.clip"
    long = drawn("clip", 7).astype(np.float64) * 3
    size = float(norm(long))
    tries = (drawn(f"clip {k}", 40).astype(np.float64) / 3 for k in range(99))
    for label, difference, radius in (
        ("shorter", long, 100.0),
        ("longer", long, 0.7),
        ("exactly", np.array([3.0, 4.0]), 5.0),
        ("an-ulp-longer", np.array([3.0, 4.0]), math.nextafter(5.0, 0.0)),
        ("huge", np.array([3e38, -2e38, 1.0]), 1.0),
        ("tiny", np.array([1e-45, 0.0, -1e-45]), 1e-30),
        ("empty", np.zeros(0), 1.0),
    ):
        made.right(label, name, "CLIP-4", difference=reals(difference), radius=real(radius))
    case = {"difference": reals(long), "radius": real(0.7)}
    made.trap("by-ratio", name, "CLIP-4", "divided-twice", reals(long / (size / 0.7)), **case)
    made.trap("by-norm-last", name, "CLIP-4", "other-operations", reals(long * 0.7 / size), **case)
    made.trap("by-entry", name, "CLIP-4", "each-entry", reals(np.clip(long, -0.7, 0.7)), **case)
    made.trap("not-at-all", name, "CLIP-4", "not-clipped", reals(long), **case)
    many = next(y for y in tries if left_size(y) != float(norm(y)))
    from_left = reals(0.7 / left_size(many) * many)
    many_case = {"difference": reals(many), "radius": real(0.7)}
    made.trap("sum-from-left", name, "CLIP-4 ARITH-1", "other-operations", from_left, **many_case)
    nothing = {"difference": reals(np.zeros(3)), "radius": real(0.7)}
    made.trap("zero", name, "CLIP-4", "zero-norm", reals(np.full(3, np.nan)), **nothing)
    wide = np.array([3e38, -2e38])
    made.trap(
        "beyond-float32", name, "CLIP-4", "overflow", reals(np.zeros(2)), difference=reals(wide), radius=real(1.0)
    )


def sample(name: str, workers: int, width: int) -> Float32:
    """Vectors of norm about 1, and one that is far away."""
    vectors = drawn(name, workers, width)
    vectors[-1] *= np.float32(1000)
    return vectors


def left_size(values: Float64) -> float:
    """A norm whose squares are added from left to right."""
    return math.sqrt(added([x * x for x in values.tolist()]))


def add_residuals(made: Chapter) -> None:
    """CLIP-4: all vectors."""
    name = "butterfly_clip.residual"
    for label, workers, width, radius in (
        ("one", 1, 3, 0.5),
        ("four", 4, 5, 0.8),
        ("sixteen", 16, 9, 1.5),
        ("one-coordinate", 5, 1, 0.3),
        ("nothing-clipped", 4, 5, 1e9),
        ("everything-clipped", 4, 5, 1e-9),
    ):
        vectors = sample(label, workers, width)
        center = drawn(f"center {label}", width) * np.float32(0.25)
        made.right(label, name, "CLIP-4", vectors=rows(vectors), center=singles(center), radius=real(radius))
    equal = np.full((3, 4), np.float32(0.1))
    made.right("at-the-center", name, "CLIP-4", vectors=rows(equal), center=singles(equal[0]), radius=real(1.0))
    zeros = np.array([[0.0, -0.0], [1.0, -1.0]], dtype=np.float32)
    made.right("zeros", name, "CLIP-4", vectors=rows(zeros), center=singles([-0.0, 0.0]), radius=real(0.5))
    vectors, center, radius = telling()
    case = {"vectors": rows(vectors), "center": singles(center), "radius": real(radius)}
    for label, (flag, mistaken) in wrong_residuals(vectors, center, radius).items():
        made.trap(label, name, "CLIP-4", flag, real(mistaken), **case)
    huge = np.array([[3e38, 3e38], [-3e38, 3e38], [0.5, 0.25]], dtype=np.float32)
    made.trap(
        "beyond-float32", name, "CLIP-4", "overflow", real(float(norm(huge[2].astype(np.float64)))),
        vectors=rows(huge), center=singles([0.0, 0.0]), radius=real(1.0),
    )  # fmt: skip


@cache
def telling() -> tuple[Float32, Float32, float]:
    """Vectors, a centre and a radius for which every mistake gives another residual."""
    for k in range(1000):
        vectors, center, radius = sample(f"order {k}", 7, 13), drawn(f"center of order {k}", 13), 1.25
        right = residual(vectors, center, radius)
        if all(mistaken != right for _, mistaken in wrong_residuals(vectors, center, radius).values()):
            return vectors, center, radius
    raise VectorError("no sample tells all mistakes")


def wrong_residuals(vectors: Float32, center: Float32, radius: float) -> dict[str, tuple[str, float]]:
    """What mistakes give: a flag and a residual each."""
    differences = np.subtract(vectors, center, dtype=np.float64)
    clipped = clip(differences, radius)
    single = np.subtract(vectors, center).astype(np.float64)
    ratios = np.maximum(norm(differences) / radius, 1.0)
    return {
        "from-the-last": ("other-order", float(norm(total(clipped[::-1])))),
        "folded": ("other-order", float(norm(folding_sum(clipped.T)))),
        "norm-from-the-left": ("other-operations", left_size(total(clipped))),
        "by-ratio": ("divided-twice", float(norm(total(differences / ratios[:, np.newaxis])))),
        "float32-differences": ("narrow", float(norm(total(clip(single, radius))))),
        "float32-sum": ("narrow", float(norm(total(clipped.astype(np.float32).astype(np.float64))))),
        "not-clipped": ("not-clipped", float(norm(total(differences)))),
        "every-entry": ("each-entry", float(norm(total(np.clip(differences, -radius, radius))))),
    }


def total(clipped: Float64) -> Float64:
    """The rows, added in their order."""
    found = np.zeros(clipped.shape[1])
    for row in clipped:
        found += row
    return found


def add_decisions(made: Chapter) -> None:
    """CLIP-4, CLIP-5: where the limit lies."""
    name = "butterfly_clip.is_aggregate"
    vectors, center, radius = telling()
    left = residual(vectors, center, radius)
    case = {"vectors": rows(vectors), "center": singles(center), "radius": real(radius)}
    made.right("below", name, "CLIP-4 CLIP-5", tolerance=real(left * 1.5), **case)
    made.right("above", name, "CLIP-4 CLIP-5", tolerance=real(left / 1.5), **case)
    made.right("perfect", name, "CLIP-5", **{**case, "vectors": rows(np.tile(center, (4, 1)))}, tolerance=real(0.0))
    made.trap("exactly", name, "CLIP-4 CLIP-5", "strict-limit", False, tolerance=real(left), **case)
    under = real(math.nextafter(left, 0.0))
    made.trap("an-ulp-above", name, "CLIP-4 CLIP-5", "rounded-limit", True, tolerance=under, **case)
    for label, (flag, mistaken) in wrong_residuals(vectors, center, radius).items():
        wrongly = mistaken < left  # a limit between the two residuals divides them
        limit = real(mistaken if wrongly else left)
        made.trap(f"{label}-decides", name, "CLIP-4 CLIP-5", flag, wrongly, tolerance=limit, **case)
    for label, entry in (("nan", math.nan), ("infinite", math.inf), ("minus-infinite", -math.inf)):
        broken = center.copy()
        broken[2] = entry
        bad = {**case, "center": singles(broken)}
        made.trap(label, name, "CLIP-4", "refuses-above", True, tolerance=real(1e300), **bad)


# -- Aggregates -----------------------------------------------------------------------------------

NAME = "butterfly_clip.centered_clip"


def aggregate(
    made: Chapter, id: str, vectors: Float32, output: Float32, radius: float, ratio: float = 0.1, wrong: str = ""
) -> None:
    """A case with an aggregate that is known; ``wrong`` names the mistake that it catches."""
    rules: dict[str, Callable[[], Any]] = {
        "mean": lambda: vectors.mean(axis=0, dtype=np.float64),
        "median": lambda: np.median(vectors, axis=0),
        "few-rounds": lambda: iterated(vectors, radius, 1000),
        "": lambda: output,
    }
    mistaken = singles(rules[wrong]().astype(np.float32))
    built(
        made, singles(output), mistaken, id=id, name=NAME, requirements="CLIP-5 CLIP-4", flag=wrong,
        vectors=rows(vectors), radius=real(radius), tolerance=real(ratio * radius),
    )  # fmt: skip


def iterated(vectors: Float32, radius: float, rounds: int) -> Float64:
    """v ← v + (1/k) Σ clip_τ(x_i − v), from the mean."""
    center = vectors.mean(axis=0, dtype=np.float64)
    for _ in range(rounds):
        center = center + total(clip(vectors - center, radius)) / len(vectors)
    return np.asarray(center)


def around(name: str, honest: int, pull: Float64, width: int) -> Float64:
    """Vectors, none longer than about 0.3, whose sum is ``pull``."""
    noise = drawn(name, honest, width).astype(np.float64) * (0.2 / math.sqrt(width))
    return np.asarray(noise - total(noise) / honest + pull / honest)


def axis(width: int) -> Float64:
    """A direction of length 1 with many different entries."""
    direction = np.arange(1.0, width + 1)
    return direction / float(norm(direction))


def pulled(name: str, honest: int, byzantine: int, distance: float, width: int = 6) -> tuple[Float32, Float32]:
    """With τ = 1: ``byzantine`` vectors on one ray, far out; honest ones so that the second result is an aggregate."""
    center = drawn(f"center {name}", width)
    near = center + around(name, honest, -byzantine * axis(width), width)
    far = center + np.arange(1, byzantine + 1)[:, np.newaxis] * distance * axis(width)
    return np.concatenate([near, far]).astype(np.float32), center


def add_aggregates(made: Chapter) -> None:
    """CLIP-5: usual inputs, and those on which simpler rules fail."""
    center = drawn("quiet", 5)
    quiet = (center + around("quiet vectors", 8, np.zeros(5), 5)).astype(np.float32)
    aggregate(made, "honest", quiet, center, 1.0)
    aggregate(made, "one-worker", quiet[:1], quiet[0], 1.0)
    aggregate(made, "zeros", np.zeros((5, 3), np.float32), np.zeros(3, np.float32), 1.0)
    aggregate(made, "all-equal", np.tile(quiet[0], (7, 1)), quiet[0], 1e-3, 1e-3)
    aggregate(made, "one-coordinate", np.array([[0.0], [1.0], [10.0]], np.float32), np.ones(1, np.float32), 1.0)
    for byzantine in (1, 3, 5, 7):
        vectors, right = pulled(f"{byzantine} of 16", 16 - byzantine, byzantine, 100.0)
        aggregate(made, f"{byzantine}-of-16", vectors, right, 1.0)
        aggregate(made, f"{byzantine}-of-16-not-the-mean", vectors, right, 1.0, wrong="mean")
    vectors, right = pulled("7 of 16", 9, 7, 100.0)
    aggregate(made, "small-residual", vectors, right, 1.0, 1e-3)
    aggregate(made, "not-the-median", vectors, right, 1.0, wrong="median")
    aggregate(made, "shuffled", vectors[::-1].copy(), right, 1.0, wrong="mean")


def add_hard_aggregates(made: Chapter) -> None:
    """CLIP-5: inputs that a fixed number of rounds does not solve, or that overflow."""
    for distance in (1e4, 1e6, 1e8):
        vectors, right = pulled(f"far {distance:g}", 9, 7, distance)
        aggregate(made, f"liars-{distance:g}-away", vectors, right, 1.0, wrong="few-rounds")
    balanced = np.array([[1e6, 0]] * 4 + [[-1e6, 0]] * 4 + [[3, 1]], np.float32)
    aggregate(made, "two-far-clusters", balanced, np.array([3, 1], np.float32), 1.0)
    uneven = np.array([[0, 0]] * 5 + [[1e6, 2e6]] * 4, np.float32)
    unit = np.array([1.0, 2.0]) / math.sqrt(5.0)
    aggregate(made, "two-uneven-clusters", uneven, (0.8 * unit).astype(np.float32), 1.0, 1e-3, "few-rounds")
    narrow = np.array([[0.0, 0.0]] * 8 + [[1e5, 0.0]] * 7, np.float32)
    aggregate(made, "narrow-majority", narrow, np.array([0.875, 0.0], np.float32), 1.0, 1e-3, "few-rounds")
    huge = np.array([[0, 0]] * 4 + [[3e38, -3e38], [-3e38, 3e38], [3e38, 3e38]], np.float32)
    aggregate(made, "near-overflow", huge, (np.ones(2) / math.sqrt(32)).astype(np.float32), 1.0, wrong="mean")
    line = np.array([[k * 1000.0] for k in range(-7, 8)], np.float32)
    aggregate(made, "on-a-line", line, np.zeros(1, np.float32), 1.0, 1e-3)
    spread = np.array([[4.0**k] for k in range(13)], np.float32)
    aggregate(made, "ever-farther", spread, np.array([4.0**6], np.float32), 0.5, 1e-3, "few-rounds")
    corners = np.array([[1e5, 0, 0], [0, 1e6, 0], [0, 0, 1e7], [-1e4, -1e4, -1e4]])
    units = corners / norm(corners)[:, np.newaxis]
    last = np.concatenate([corners, [-units[:3].sum(axis=0) - units[3]]]).astype(np.float32)
    aggregate(made, "pulls-that-cancel", last, np.zeros(3, np.float32), 1.0, 1e-3, "few-rounds")
    vectors, right = pulled("wide", 9, 7, 1e6, width=40)
    aggregate(made, "forty-coordinates", vectors, right, 1.0, 1e-2, "few-rounds")


# -- Distance bound -------------------------------------------------------------------------------


def add_bounds(made: Chapter) -> None:
    """CLIP-6."""
    name = "butterfly_clip.distance_bound"

    def case(honest: int, byzantine: int, spread: float, radius: float, tolerance: float) -> dict[str, Any]:
        """The fields of one input."""
        lengths = {"spread": real(spread), "radius": real(radius), "tolerance": real(tolerance)}
        return {"honest": honest, "byzantine": byzantine, **lengths}

    for label, given in (
        ("unclipped", case(9, 7, 0.01, 1.0, 0.1)),
        ("clipped", case(9, 7, 4.0, 1.0, 0.1)),
        ("no-liar", case(5, 0, 1.0, 1.0, 0.0)),
        ("no-spread", case(5, 2, 0.0, 3.0, 0.3)),
        ("barely", case(9, 8, 1.0, 1.0, 0.99)),
    ):
        made.right(label, name, "CLIP-6", **given)
    large, small = case(9, 7, 4.0, 1.0, 0.5), case(9, 7, 0.01, 1.0, 0.5)
    made.trap("with-residual", name, "CLIP-6", "no-residual", real(4.0 * 16 / 2), **large)
    made.trap("with-residual-unclipped", name, "CLIP-6", "no-residual", real(7 / 9), **small)
    made.trap("clipped-larger", name, "CLIP-6", "one-branch", real(7.5 / 9), **large)
    made.trap("unclipped-larger", name, "CLIP-6", "one-branch", real(0.01 * 16.5 / 1.5), **small)
    made.trap("half-bound", name, "CLIP-6", "one-branch", real(4.0 * 7.5 / 1.5), **large)
    for label, given in (
        ("as-many-liars", case(8, 8, 1.0, 1.0, 0.0)),
        ("residual-too-large", case(8, 7, 1.0, 1.0, 1.0)),
        ("more-liars", case(3, 5, 1.0, 1.0, 0.1)),
        ("nobody", case(0, 0, 1.0, 1.0, 0.1)),
        ("residual-nan", case(9, 7, 1.0, 1.0, math.nan)),
        ("spread-nan", case(9, 7, math.nan, 1.0, 0.1)),
        ("radius-nan", case(9, 7, 1.0, math.nan, 0.1)),
        ("residual-infinite", case(9, 7, 1.0, 1.0, math.inf)),
        ("radius-zero", case(9, 7, 1.0, 0.0, 0.1)),
    ):
        made.refused(label, name, "CLIP-6", "no-bound", **given)
