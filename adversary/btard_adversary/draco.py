"""Draco's two codes, for comparison: what it costs to find the same liars without a shorter row.

Source: Chen, Wang, Charles, Papailiopoulos, *DRACO: Byzantine-resilient Distributed Training via Redundant Gradients*,
ICML 2018. Both bear s liars and need 2s + 1 gradients per worker; rows are as long as the gradient. In the repetition
code the workers of a group send the same gradient, and equal rows win. In the cyclic code a worker sends one complex
combination of 2s + 1 neighbouring gradients; the liars are found from one random projection as the roots of a
polynomial, and one combination of the other rows is the sum of all gradients.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import numpy.typing as npt
from btard.protocol.arithmetic import Float32, Float64

Complex128 = npt.NDArray[np.complex128]

BLOCK = 1 << 14
"""Coordinates per block: a block of all rows fits a core's cache."""
NOISE = 1e-5
"""Relative size of syndromes that rounding explains."""


class NoMajority(ValueError):
    """No s + 1 rows of a group are equal."""


def repetition_decode(groups: list[Float32], liars: int) -> Float32:
    """The mean of the groups' gradients, float32 ``[d]``.

    ``groups``: float32 ``[2s + 1, d]`` each. A gradient counts if s + 1 rows are equal to it, bit for bit. Without
    liars s + 1 of the 2s + 1 rows are read once, with s liars all of them, most of these in part; the mean reads one
    row per group. Raises :class:`NoMajority`.
    """
    total = np.zeros(groups[0].shape[1])
    for rows in groups:
        total += rows[majority_row(rows, liars)]
    return (total / len(groups)).astype(np.float32)


def majority_row(rows: Float32, liars: int) -> int:
    """Index of a row that s others equal, float32 ``[2s + 1, d]``. Raises :class:`NoMajority`."""
    bits = rows.view(np.uint32)
    classes: list[tuple[int, int]] = []
    for index in range(len(rows)):
        for position, (first, count) in enumerate(classes):
            if equal(bits[first], bits[index]):
                classes[position] = (first, count + 1)
                break
        else:
            position = len(classes)
            classes.append((index, 1))
        if classes[position][1] > liars:
            return classes[position][0]
    raise NoMajority(f"no {liars + 1} of {len(rows)} rows are equal")


def equal(left: npt.NDArray[np.uint32], right: npt.NDArray[np.uint32]) -> bool:
    """Whether two rows are equal; different ones mostly show in the first block."""
    starts = range(0, len(left), BLOCK)
    return all(np.array_equal(left[start : start + BLOCK], right[start : start + BLOCK]) for start in starts)


class CyclicCode:
    """The cyclic code of n = ``workers`` that bears s = ``liars``, n >= 2s + 1.

    Complex rows are kept as two planes, real parts of all workers and then imaginary parts, so that everything is one
    real matrix product. Worker j computes the gradients j, …, j + 2s (mod n). The coefficients grow with n − 2s, and
    rounding with them: rows in float32 leave a relative error of 10⁻⁷ for n = 15, s = 6, and of 10⁻² for n = 45, s = 6.
    """

    def __init__(self, workers: int, liars: int) -> None:
        """Raises :class:`ValueError` for n < 2s + 1."""
        if not 0 <= 2 * liars < workers:
            raise ValueError(f"a cyclic code needs n >= 2s + 1, not n = {workers}, s = {liars}")
        self.workers, self.liars = workers, liars
        angles = 2j * np.pi * np.outer(np.arange(workers), np.arange(workers)) / workers
        self.waves: Complex128 = np.exp(angles) / np.sqrt(workers)
        self.carried = self.waves[:, : workers - 2 * liars]
        self.checks = self.waves[:, workers - 2 * liars :].conj().T
        """Orthogonal to the rows of honest workers, complex128 ``[2s, n]``."""

    @cached_property
    def coefficients(self) -> Complex128:
        """W, complex128 ``[n, n]``: row j has its non-zero entries at j, …, j + 2s, and a combination of any n − 2s of
        its rows is the vector of ones."""
        columns = []
        for gradient in range(self.workers):
            absent = [j for j in range(self.workers) if (gradient - j) % self.workers > 2 * self.liars]
            wanted = np.zeros(len(absent) + 1, dtype=np.complex128)
            wanted[-1] = 1.0
            first = np.eye(1, self.carried.shape[1])
            columns.append(self.carried @ np.linalg.solve(np.vstack([self.carried[absent], first]), wanted))
        return np.array(columns).T

    def encode(self, gradients: Float32) -> Float32:
        """All rows, float32 ``[2n, d]``, from all gradients, float32 ``[n, d]``."""
        planes = np.vstack([self.coefficients.real, self.coefficients.imag]).astype(np.float32)
        return np.asarray(planes @ gradients)

    def decode(self, rows: Float32, coins: int) -> Float32:
        """The mean of all gradients, float32 ``[d]``, from finite ``rows``, float32 ``[2n, d]``.

        Two passes over the rows, 2·n·d numbers each: the projection, and the combination.
        """
        honest = self.honest(self.project(rows, coins))
        combination, *_ = np.linalg.lstsq(self.carried[honest].T, np.eye(self.carried.shape[1])[0], rcond=None)
        weights = np.zeros(2 * self.workers)
        weights[honest] = combination.real
        weights[np.array(honest) + self.workers] = -combination.imag
        return np.asarray((weights / self.workers).astype(np.float32) @ rows)

    def project(self, rows: Float32, coins: int) -> Float64:
        """One random projection of the rows, float64 ``[2n]``: float32 in blocks, which are added in float64."""
        randomness = np.random.default_rng(coins)
        values = np.zeros(len(rows))
        for start in range(0, rows.shape[1], BLOCK):
            block = rows[:, start : start + BLOCK]
            values += block @ (randomness.random(block.shape[1], dtype=np.float32) - np.float32(0.5))
        return values

    def honest(self, values: Float64) -> list[int]:
        """The workers that do not lie, at least n − s of them, from a projection ``[2n]`` of their rows.

        The syndromes of the liars' errors obey a linear recurrence; its characteristic polynomial vanishes at them.
        """
        projected = values[: self.workers] + 1j * values[self.workers :]
        syndromes = self.checks @ projected
        s = self.liars
        if s == 0 or np.abs(syndromes).max() <= NOISE * np.linalg.norm(projected):
            return list(range(self.workers))
        hankel = syndromes[np.add.outer(np.arange(s), np.arange(s))]
        recurrence, *_ = np.linalg.lstsq(hankel, -syndromes[s:], rcond=1e-6)
        points = np.exp(-2j * np.pi * np.arange(self.workers) / self.workers)
        sizes = np.abs(np.polynomial.polynomial.polyval(points, np.append(recurrence, 1.0)))
        return sorted(int(index) for index in np.argsort(sizes)[s:])
