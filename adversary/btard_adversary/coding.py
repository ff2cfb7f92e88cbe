"""Beyond the bound of a redundant code: two gradients that no decoder can tell apart (chapter ``redundant_code``)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from btard.protocol.arithmetic import Float32, Float64
from btard.protocol.redundant_code import CodeError, encode, frame


@dataclass(frozen=True, eq=False)
class Pair:
    """Two explanations of what one group sent: either could be the truth."""

    rows: Float32
    """What the aggregator receives either way, float32 ``[2s + r_c - 1, L]``."""
    parts: tuple[Float32, Float32]
    """The true gradient in the one case and in the other, float32 ``[r_c·L]``."""
    liars: tuple[frozenset[int], frozenset[int]]
    """Who lies in the one case and in the other: s members each."""


def indistinguishable_pair(liars: int, compression: int, length: int = 64, seed: int = 0) -> Pair:
    """At r = 2s + r_c − 1: two parts and two sets of s liars that lead to the same bits in every row.

    In the first case members 0 to s − 1 lie by encoding the second part, in the other case the next s lie by encoding
    the first. The r_c − 1 others are honest in both: the parts differ by a vector that their rows map to 0, up to an
    error that rounding to float32 removes; coordinates in which it does not are drawn again. ``length``: L. Raises
    :class:`CodeError` without a frame, and for s < 1.
    """
    rows = 2 * liars + compression - 1
    if liars < 1:
        raise CodeError("without liars there is one explanation only")
    base = frame(rows, compression)
    common = base[2 * liars :]
    kernel = np.linalg.svd(common)[2][-1] if compression > 1 else np.ones(1)
    randomness = np.random.default_rng(seed)
    kept: list[Float32] = []
    while sum(columns.shape[1] for columns in kept) < length:
        drawn = randomness.standard_normal((compression, 4 * length)).astype(np.float32)
        other = (drawn + 0.25 * np.outer(kernel, randomness.standard_normal(4 * length))).astype(np.float32)
        seen, also = (_rows(x, common) for x in (drawn, other))
        same = (seen.view(np.uint32) == also.view(np.uint32)).all(axis=0)
        kept.append(np.concatenate([drawn, other])[:, same])
    both = np.concatenate(kept, axis=1)[:, :length]
    first, second = (np.ascontiguousarray(part).reshape(-1) for part in (both[:compression], both[compression:]))
    sent = [encode(second if index < liars else first, row) for index, row in enumerate(base)]
    sets = frozenset(range(liars)), frozenset(range(liars, 2 * liars))
    return Pair(np.stack(sent), (first, second), sets)


def _rows(columns: Float32, coefficients: Float64) -> Float32:
    """The rows of some members, float32 ``[k, L]``, from the columns ``[r_c, L]`` of a part."""
    part = np.ascontiguousarray(columns).reshape(-1)
    if len(coefficients) == 0:
        return np.zeros((0, columns.shape[1]), np.float32)
    return np.stack([encode(part, row) for row in coefficients])
