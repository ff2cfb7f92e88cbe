"""Aggregation rules of the literature and the protocol's own, each with its claim, small enough to read.

A rule takes ``vectors`` (float64 ``[n, d]``, a row per peer) and the number of Byzantine rows it must bear, and
gives float64 ``[d]``. Found by name through the entry points ``btard.rules``. They are for comparison; in the
protocol only CenteredClip is used.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from btard.protocol.arithmetic import Float32, Float64, admissible_gradient
from btard.protocol.butterfly_clip import ClipDomainError, distance_bound
from btard.protocol.butterfly_clip import centered_clip as find_center

from btard_adversary import claims as known
from btard_adversary.claims import Claim, claims, kappa, radius

Vectors = npt.NDArray[np.floating[Any]]
"""A row per peer, or one vector: float64 in a search, float32 where time counts."""


@claims(radius("1", "without Byzantine vectors it is the honest mean itself", lambda n, b: b == 0))
def mean(vectors: Float64, n_byzantine: int) -> Float64:
    """The plain mean. One Byzantine vector moves it anywhere."""
    return np.asarray(vectors.mean(axis=0))


@claims(known.SHARP_MEDIAN)
def coordinate_median(vectors: Float64, n_byzantine: int) -> Float64:
    """The median of each coordinate. Source: Yin et al., ICML 2018.

    The claim, sharper than the usual 4(1 + b/(n − 2b))²: among all n values of a coordinate the k-th smallest is at
    most the k-th smallest honest one, which h − k + 1 honest values reach. So it exceeds the honest mean by at most
    √((k − 1)/(h − k + 1)) deviations (Cauchy and Schwarz), and squares add up over the coordinates. With k at most
    n/2 + 1 that is κ = n/(n − 2b); for odd n, k = (n + 1)/2 and κ = (n − 1)/(n + 1 − 2b), which two points reach.
    """
    return np.asarray(np.median(vectors, axis=0))


@claims(known.SHARP_TRIMMED_MEAN)
def trimmed_mean(vectors: Float64, n_byzantine: int) -> Float64:
    """The mean of each coordinate without its b smallest and b largest values. Source: Yin et al., ICML 2018.

    The claim, sharper than the usual 6b/(n − 2b)·(1 + b/(n − 2b)): the values that are kept have the ranks b + 1 to h,
    and the k-th smallest of all is at most the k-th smallest honest one. So their mean is at most that of the n − 2b
    largest honest values, which exceeds the honest mean by at most √(b/(n − 2b)) deviations (Cauchy and Schwarz).
    Two points reach that, and Allouah et al. (2023) show that no rule can do better.
    """
    kept = np.sort(vectors, axis=0)[n_byzantine : len(vectors) - n_byzantine]
    return np.asarray(kept.mean(axis=0))


KRUM_ROOTS = "(2*h*(h-2)/((h-1)*(h-b-1)))**0.5+((b+1)/(h-b-1))**0.5"


@claims(kappa(f"({KRUM_ROOTS})**2", "derived in krum's docstring", lambda n, b: n >= 2 * b + 3))
def krum(vectors: Float64, n_byzantine: int) -> Float64:
    """The vector with the least sum of squared distances to its k = n − b − 2 nearest others.

    Source: Blanchard, El Mhamdi, Guerraoui, Stainer, NeurIPS 2017; it needs n ≥ 2b + 3. The claim: with V the honest
    mean square, the honest scores average to at most 2hV·k/(h − 1), so the chosen vector's is no larger. It is close
    to at least a = k − b + 1 honest vectors (itself included, if it is one), whose mean it is at most
    √(score/a) away from, and their mean is at most √((h − a)V/a) from the mean of all.
    """
    squares = np.sum((vectors[:, np.newaxis] - vectors) ** 2, axis=2)
    np.fill_diagonal(squares, -1.0)  # a vector is its own nearest, also among copies of it
    nearest = np.sort(squares, axis=1)[:, 1 : len(vectors) - n_byzantine - 1]
    return np.array(vectors[int(np.argmin(nearest.sum(axis=1)))])


def squared_distances(vectors: Vectors) -> Float64:
    """Squared distances between all rows, float64 ``[n, n]``, from one Gram matrix of the rows less the first one."""
    gram = np.zeros((len(vectors), len(vectors)))
    for start in range(0, vectors.shape[1], 1 << 14):
        shifted = vectors[:, start : start + (1 << 14)] - vectors[0, start : start + (1 << 14)]
        gram += shifted @ shifted.T
    squares = gram.diagonal()
    return np.asarray(np.maximum(squares[:, np.newaxis] + squares - 2 * gram, 0.0))


@claims(known.MULTI_KRUM)
def multi_krum(vectors: Vectors, n_byzantine: int) -> Vectors:
    """The mean of the n − b vectors with the least sums of squared distances to their n − b nearest, themselves
    included. Source: Blanchard et al., NeurIPS 2017, in the form of the claim. Two passes over the vectors."""
    squares = squared_distances(vectors)
    np.fill_diagonal(squares, 0.0)
    count = len(vectors) - n_byzantine
    scores = np.sort(squares, axis=1)[:, :count].sum(axis=1)
    return np.asarray(vectors[np.sort(np.argsort(scores, kind="stable")[:count])].mean(axis=0))


@claims(known.GEOMETRIC_MEDIAN)
def geometric_median(vectors: Vectors, n_byzantine: int) -> Vectors:
    """The point with the least sum of distances to the vectors, by Weiszfeld's iteration.

    Safeguarded as by Vardi and Zhang (PNAS 2000): at one of the vectors it stays if that is the median and leaves it
    otherwise. Ends when a round moves less than 10⁻¹⁰ of the smallest weighted distance, or after 1,000 rounds; two
    passes over the vectors per round.
    """
    center = np.median(vectors, axis=0)
    for _ in range(1000):
        differences = vectors - center
        distances = np.linalg.norm(differences, axis=1)
        apart = distances > 1e-12 * max(float(distances.max()), 1e-300)
        if not apart.any():
            break
        inverse = np.where(apart, 1.0 / np.where(apart, distances, 1.0), 0.0)
        pull = (inverse / inverse.sum()).astype(vectors.dtype) @ differences
        force = float(np.linalg.norm(pull) * inverse.sum())
        held = float(np.count_nonzero(~apart))
        if held and force <= held:
            break
        center = center + pull * (1.0 - held / force if held else 1.0)
        if float(np.linalg.norm(pull)) <= 1e-10 / float(inverse.max()):
            break
    return np.asarray(center)


@claims(kappa("15*h/(n-4*b)", "derived in bulyan's docstring", lambda n, b: n >= 4 * b + 3))
def bulyan(vectors: Vectors, n_byzantine: int) -> Vectors:
    """Krum chooses n − 2b vectors, one after another; per coordinate the n − 4b of their values that are closest to
    their median are averaged. Source: El Mhamdi, Guerraoui, Rouault, ICML 2018; it needs n ≥ 4b + 3.

    Two passes for the distances, which are computed once, and about six over the chosen rows for the coordinates: the
    closest values lie side by side in the order of size. The claim, for any choice of n − 2b vectors, with
    m = n − 4b: on each side of a coordinate's median are at least m/2 honest values, so the median is at most √(2h/m)
    deviations from the honest mean. The m closest values are on average no farther from the median than m honest
    ones, which are √(h/m) deviations from the mean or less; together (2√2 + 1)√(h/m) deviations, and (2√2 + 1)² < 15.
    """
    chosen = vectors[bulyan_choice(squared_distances(vectors), n_byzantine)]
    kept = len(vectors) - 4 * n_byzantine
    result = np.empty_like(chosen[0])
    for start in range(0, chosen.shape[1], 1 << 13):
        result[start : start + (1 << 13)] = mean_around_median(chosen[:, start : start + (1 << 13)], kept)
    return np.asarray(result)


def mean_around_median(vectors: Vectors, kept: int) -> Vectors:
    """Per coordinate, the mean of the ``kept`` values closest to the median of all."""
    count = len(vectors)
    ordered = np.ascontiguousarray(np.sort(np.ascontiguousarray(vectors.T), axis=1).T)
    median = 0.5 * ordered[(count - 1) // 2] + 0.5 * ordered[count // 2]
    first = np.zeros(ordered.shape[1], dtype=np.intp)
    least = np.maximum(median - ordered[0], ordered[kept - 1] - median)
    for start in range(1, count - kept + 1):
        farthest = np.maximum(median - ordered[start], ordered[start + kept - 1] - median)
        first[farthest < least] = start
        least = np.minimum(farthest, least)
    nearest = np.take_along_axis(ordered, first + np.arange(kept)[:, np.newaxis], axis=0)
    return np.asarray(nearest.mean(axis=0))


def bulyan_choice(squares: Float64, n_byzantine: int) -> list[int]:
    """Which n − 2b vectors Bulyan chooses, ascending, from their squared distances ``[n, n]``."""
    left = list(range(len(squares)))
    chosen: list[int] = []
    while len(chosen) < len(squares) - 2 * n_byzantine:
        nearest = np.sort(squares[np.ix_(left, left)], axis=1)
        scores = nearest[:, : max(len(left) - n_byzantine - 1, 1)].sum(axis=1)  # the first is the distance to itself
        chosen.append(left.pop(int(np.argmin(scores))))
    return sorted(chosen)


@dataclass(frozen=True)
class CenteredClip:
    """The protocol's aggregate at a fixed radius, with the bound of CLIP-6 as its claim.

    As in the protocol, every vector is first made admissible: entries that are no numbers become 0, and
    the norm is cut to λ. Honest workers do that before they commit, so their vectors are no longer than λ.
    """

    radius: float = 1.0
    """τ."""
    residual_ratio: float = 0.1
    """φ = ε/τ."""
    gradient_clip: float = 100.0
    """λ: few enough radii for float32 to reach the residual, as MODEL-7 demands."""

    def __call__(self, vectors: Float64, n_byzantine: int) -> Float64:
        """A point with residual at most φτ, float64 ``[d]``."""
        found = find_center(self.admissible(vectors), self.radius, self.residual_ratio * self.radius)
        return found.astype(np.float64)

    def admissible(self, vectors: Float64) -> Float32:
        """The rows as workers may commit them (ARITH-4)."""
        with np.errstate(over="ignore"):
            return np.stack([admissible_gradient(row, self.gradient_clip) for row in vectors])

    @cached_property
    def claim(self) -> Claim:
        """CLIP-6, plus the rounding to float32. Nothing is claimed for honest vectors that are not admissible."""

        def allowed(n: int, b: int, honest: Float64) -> float:
            if float(np.linalg.norm(honest, axis=1).max()) > self.gradient_clip * (1 - 2.0**-19):
                return math.inf
            cut = self.admissible(honest).astype(np.float64)
            moved = float(np.linalg.norm(cut.mean(axis=0) - honest.mean(axis=0)))
            try:
                bound = distance_bound(n - b, b, known.spread(cut), self.radius, self.residual_ratio * self.radius)
            except ClipDomainError:
                return math.inf
            return bound + moved

        formula = "distance <= max((b*tau + eps)/h, R*(h + b')/(h - b')), b' = b + eps/tau"
        setting = (
            f"; tau = {self.radius:g}, eps = {self.residual_ratio:g} tau, vectors cut to norm {self.gradient_clip:g}"
        )
        return Claim("centered-clip", allowed, formula + setting, "CLIP-6", self.applies)

    def applies(self, n: int, b: int) -> bool:
        """b' < h."""
        return b + self.residual_ratio < n - b


centered_clip = CenteredClip()
"""The rule of the entry point ``centered-clip``."""
