"""Inputs for aggregation rules that hurt: structured honest vectors and Byzantine ones placed with them in view."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from btard.protocol.arithmetic import Float64
from hypothesis import strategies as st

from btard_adversary.claims import spread

Order = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Instance:
    """One input of a rule, with the knowledge of who is who."""

    honest: Float64
    """float64 ``[h, d]``."""
    byzantine: Float64
    """float64 ``[b, d]``."""
    order: Order
    """int64 ``[n]``: row k given to the rule is row ``order[k]`` of honest vectors followed by Byzantine ones."""
    how: str
    """Where it comes from, for people."""

    @property
    def vectors(self) -> Float64:
        """What the rule gets: a fresh float64 ``[n, d]``."""
        return np.concatenate([self.honest, self.byzantine])[self.order]

    @property
    def sizes(self) -> tuple[int, int, int]:
        """n, b and d."""
        return len(self.order), len(self.byzantine), self.honest.shape[1]


def unit(rng: np.random.Generator, d: int) -> Float64:
    """A random direction, float64 ``[d]``."""
    vector = rng.standard_normal(d)
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-300))


# -- Honest vectors: (rng, h, d, share) -> float64 [h, d], of size about 1 --------------------------


def _gaussian(rng: np.random.Generator, h: int, d: int, share: float) -> Float64:
    return rng.standard_normal((h, d))


def _heavy_tailed(rng: np.random.Generator, h: int, d: int, share: float) -> Float64:
    return rng.standard_normal((h, d)) * 10.0 ** rng.uniform(-2, 2, (h, 1))


def _equal(rng: np.random.Generator, h: int, d: int, share: float) -> Float64:
    return np.repeat(rng.standard_normal((1, d)), h, axis=0)


def _two_points(rng: np.random.Generator, h: int, d: int, share: float) -> Float64:
    """A share of them at one point and the rest at another: the mean at its most lopsided."""
    near = np.arange(h)[:, np.newaxis] < max(1, round(share * h))
    return np.where(near, 0.0, unit(rng, d))


def _clusters(rng: np.random.Generator, h: int, d: int, share: float) -> Float64:
    return _two_points(rng, h, d, share) + 0.05 * rng.standard_normal((h, d))


def _line(rng: np.random.Generator, h: int, d: int, share: float) -> Float64:
    return np.outer(np.linspace(-1.0, 1.0, h) ** (3 if share > 0.5 else 1), unit(rng, d))


def _simplex(rng: np.random.Generator, h: int, d: int, share: float) -> Float64:
    """Corners of a simplex, as far as d has room; then again from the first."""
    return np.asarray(np.eye(d)[np.arange(h) % d])


def _integers(rng: np.random.Generator, h: int, d: int, share: float) -> Float64:
    """Small whole numbers: many ties."""
    return rng.integers(-2, 3, (h, d)).astype(np.float64)


HONEST: Final[dict[str, Callable[[np.random.Generator, int, int, float], Float64]]] = {
    "gaussian": _gaussian,
    "two points": _two_points,
    "clusters": _clusters,
    "line": _line,
    "simplex": _simplex,
    "heavy-tailed": _heavy_tailed,
    "equal": _equal,
    "integers": _integers,
}

# -- Byzantine vectors: (rng, honest [h, d], b, reach, share) -> float64 [b, d] ----------------------


def _size(honest: Float64) -> float:
    """A length to measure by: the honest spread, or their norm where they are all equal, or 1."""
    found = spread(honest)
    if found <= 1e-9 * float(np.abs(honest).max()):
        found = float(np.abs(honest).max())
    return found or 1.0


def _towards(rng: np.random.Generator, honest: Float64) -> Float64:
    """A direction from the mean: often that of an honest vector."""
    outward = honest[rng.integers(len(honest))] - honest.mean(axis=0)
    length = float(np.linalg.norm(outward))
    if length == 0 or rng.random() < 0.3:
        return unit(rng, honest.shape[1])
    return np.asarray(outward / length * rng.choice([-1.0, 1.0]))


def _same(point: Float64, b: int) -> Float64:
    return np.repeat(point[np.newaxis], b, axis=0)


def _one_point(rng: np.random.Generator, honest: Float64, b: int, reach: float, share: float) -> Float64:
    return _same(honest.mean(axis=0) + _towards(rng, honest) * _size(honest) * reach, b)


def _edge(rng: np.random.Generator, honest: Float64, b: int, reach: float, share: float) -> Float64:
    """On the honest vector farthest from the mean."""
    return _same(honest[np.argmax(np.linalg.norm(honest - honest.mean(axis=0), axis=1))], b)


def _mimic(rng: np.random.Generator, honest: Float64, b: int, reach: float, share: float) -> Float64:
    return _same(np.asarray(honest[rng.integers(len(honest))]), b)


def _beside(rng: np.random.Generator, honest: Float64, b: int, reach: float, share: float) -> Float64:
    """Close to one honest vector, not on it."""
    near = 0.1 * share * _size(honest)
    return _mimic(rng, honest, b, reach, share) + near * rng.standard_normal((b, honest.shape[1]))


def _far(rng: np.random.Generator, honest: Float64, b: int, reach: float, share: float) -> Float64:
    return _same(honest.mean(axis=0) + _towards(rng, honest) * _size(honest) * 1e6 * reach, b)


def _scattered(rng: np.random.Generator, honest: Float64, b: int, reach: float, share: float) -> Float64:
    noise = rng.standard_normal((b, honest.shape[1]))
    return np.asarray(honest.mean(axis=0) + noise * _size(honest) * reach * 10.0 ** rng.uniform(-1, 1, (b, 1)))


def _a_little(rng: np.random.Generator, honest: Float64, b: int, reach: float, share: float) -> Float64:
    """A few standard deviations off in every coordinate. Source: Baruch, Baruch, Goldberg 2019."""
    signs = rng.choice([-1.0, 1.0], honest.shape[1])
    return _same(honest.mean(axis=0) + signs * honest.std(axis=0) * min(reach, 4.0), b)


def _opposite(rng: np.random.Generator, honest: Float64, b: int, reach: float, share: float) -> Float64:
    """A negative multiple of the mean: inner-product manipulation. Source: Xie, Koyejo, Gupta 2020."""
    return _same(-reach * honest.mean(axis=0), b)


def _divided(rng: np.random.Generator, honest: Float64, b: int, reach: float, share: float) -> Float64:
    """Some imitate an honest vector, the others are far away."""
    imitates = np.arange(b)[:, np.newaxis] < round(share * b)
    return np.where(imitates, _mimic(rng, honest, b, reach, share), _far(rng, honest, b, reach, share))


BYZANTINE: Final[dict[str, Callable[[np.random.Generator, Float64, int, float, float], Float64]]] = {
    "at one point": _one_point,
    "at the honest edge": _edge,
    "mimic": _mimic,
    "beside an honest vector": _beside,
    "far away": _far,
    "scattered": _scattered,
    "a little is enough": _a_little,
    "opposite to the mean": _opposite,
    "divided": _divided,
}


def build(
    sizes: tuple[int, int, int],
    families: tuple[str, str],
    seed: int,
    shape: tuple[float, float] = (1.0, 0.5),
    scale: float = 1.0,
    offset: float = 0.0,
) -> Instance:
    """The instance of these choices.

    ``sizes``: n, b, d; ``families``: names in :data:`HONEST` and :data:`BYZANTINE`; ``shape``: reach (distance of the
    Byzantine vectors in units of the honest spread) and share (of whatever the families divide);
    ``offset``: distance of the honest vectors from the origin before everything is multiplied by ``scale``.
    """
    (n, b, d), rng, (reach, share) = sizes, np.random.default_rng(seed), shape
    honest = HONEST[families[0]](rng, n - b, d, share) + offset * unit(rng, d)
    byzantine = BYZANTINE[families[1]](rng, honest, b, reach, share)
    how = f"honest {families[0]}, Byzantine {families[1]}"
    return Instance(scale * honest, scale * byzantine, rng.permutation(n), how)


@st.composite
def instances(draw: Any, sizes: Sequence[tuple[int, int]], dimensions: Sequence[int] = (1, 2, 3, 6)) -> Instance:
    """Finite inputs: of one of ``sizes`` (n, b), in one of ``dimensions``, at everyday, huge and tiny scales."""
    n, b = draw(st.sampled_from(list(sizes)))
    d = draw(st.sampled_from(list(dimensions)))
    families = draw(st.sampled_from(list(HONEST))), draw(st.sampled_from(list(BYZANTINE)))
    reach = 10.0 ** draw(st.floats(-1, 2))
    share = draw(st.floats(0, 1))
    scale = draw(st.sampled_from([1.0, 1.0, 1.0, 1e6, 1e-6]))
    offset = draw(st.sampled_from([0.0, 0.0, 1.0, 100.0]))
    return build((n, b, d), families, draw(st.integers(0, 2**32 - 1)), (reach, share), scale, offset)


def spoiled(instance: Instance, seed: int) -> Instance:
    """The same with NaN or infinite entries in the Byzantine vectors."""
    rng = np.random.default_rng(seed)
    byzantine = instance.byzantine.copy()
    byzantine[rng.random(byzantine.shape) < 0.5] = rng.choice([np.nan, np.inf, -np.inf])
    byzantine[0, 0] = np.nan
    return Instance(instance.honest, byzantine, instance.order, "Byzantine entries that are no numbers")
