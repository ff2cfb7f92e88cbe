"""Aggregation rules of the literature and the protocol's own, each with its claim, small enough to read.

A rule takes ``vectors`` (float64 ``[n, d]``, a row per peer) and the number of Byzantine rows it must bear, and
gives float64 ``[d]``. Found by name through the entry points ``btard.rules``. They are for comparison; in the
protocol only CenteredClip is used.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from btard.protocol.arithmetic import Float32, Float64, admissible_gradient
from btard.protocol.butterfly_clip import ClipDomainError, distance_bound
from btard.protocol.butterfly_clip import centered_clip as find_center

from btard_adversary import claims as known
from btard_adversary.claims import Claim, claims, kappa, radius


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
