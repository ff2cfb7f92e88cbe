"""Canonical arithmetic: the same bits from every implementation (chapter ``arithmetic``).

Everything that enters a decision passes through these functions. They use IEEE-754 float64,
round to nearest, one operation at a time (no fused multiply-add), and sum by *folding*, so a
value that two honest peers compute from the same inputs is equal, never merely close.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int16 = npt.NDArray[np.int16]


def folding_sum(values: npt.ArrayLike) -> Float64:
    """Sum over the last axis by folding: second half onto first half, until one entry is left.

    ``values``: float array ``[..., k]``; the result has shape ``[...]``. The last axis counts as
    padded with zeros to a power of two, so zeros at the end change nothing, and the sum of no
    entries is 0. The result is never a negative zero. Source: ARITH-1.
    """
    return fold(np.array(values, dtype=np.float64))


def fold(work: Float64) -> Float64:
    """:func:`folding_sum` that overwrites its argument."""
    length = work.shape[-1]
    if length == 0:
        return np.zeros(work.shape[:-1])
    half = 1 << (length - 1).bit_length()
    while half > 1:
        half //= 2
        if length > half:
            work[..., : length - half] += work[..., half:length]
            length = half
    return np.asarray(work[..., 0] + 0.0)  # requirement: ARITH-1


def dot(left: npt.ArrayLike, right: npt.ArrayLike) -> Float64:
    """Canonical inner product over the last axis: elementwise products, folded. Source: ARITH-2."""
    return fold(np.multiply(left, right, dtype=np.float64))  # requirement: ARITH-2


def norm(values: npt.ArrayLike) -> Float64:
    """Canonical Euclidean norm over the last axis. Source: ARITH-2."""
    return np.sqrt(dot(values, values))


def lower_median(values: npt.ArrayLike) -> Float64:
    """The ``ceil(k/2)``-th smallest of ``k >= 1`` numbers over the last axis: a median that is one of them.

    Source: ARITH-3.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64), axis=-1)
    return np.asarray(ordered[..., (ordered.shape[-1] - 1) // 2])  # requirement: ARITH-3


def admissible_gradient(raw: npt.ArrayLike, level: float) -> Float32:
    """The gradient that a worker commits: finite, float32, of canonical norm below ``level`` (λ).

    Non-finite entries become 0 first; then, if the norm exceeds λ(1 − 2⁻²⁰), the entries are scaled
    to that norm in float64 and rounded to float32. The margin absorbs the rounding, there and in the
    norms of parts, so the check ``norm <= λ`` needs no slack. Source: ARITH-4; clipping as in
    BTARD-Clipped-SGD.
    """
    gradient = np.array(raw, dtype=np.float32)
    gradient[~np.isfinite(gradient)] = 0.0
    size, ceiling = float(norm(gradient)), level * (1.0 - 2.0**-20)
    if size > ceiling:
        gradient = (gradient.astype(np.float64) * (ceiling / size)).astype(np.float32)
    return gradient  # requirement: ARITH-4


def float32_bytes(values: npt.ArrayLike) -> bytes:
    """Little-endian float32, the form of every vector on the wire. Source: ARITH-5."""
    return np.ascontiguousarray(values, dtype="<f4").tobytes()  # requirement: ARITH-5


def float64_bytes(values: npt.ArrayLike) -> bytes:
    """Little-endian float64, the form of every reported number. Source: ARITH-5."""
    return np.ascontiguousarray(values, dtype="<f8").tobytes()


def float32_vector(data: bytes) -> Float32:
    """Inverse of :func:`float32_bytes`; ``len(data)`` must be a multiple of 4."""
    return np.frombuffer(data, dtype="<f4").astype(np.float32, copy=False)


def float64_vector(data: bytes) -> Float64:
    """Inverse of :func:`float64_bytes`; ``len(data)`` must be a multiple of 8."""
    return np.frombuffer(data, dtype="<f8").astype(np.float64, copy=False)
