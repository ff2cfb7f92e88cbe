"""Exact laws of chance in the protocol, and bounds on chance for tests that must sample.

Everything here is a rational number or a formula; nothing is drawn. Peers and steps are as in chapter
``verification``: n peers, b of them Byzantine, h = n − b honest, m validators.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import combinations, permutations
from math import comb
from unittest import mock

import numpy as np
import numpy.typing as npt
from btard.protocol import mprng
from btard.protocol.mprng import draw_targets, draw_validators

# -- Audits -------------------------------------------------------------------------------------


def chosen(n: int, m: int, before: int) -> Fraction:
    """P(a given worker of step t − 2 is a target at step t | it is no validator at t).

    ``before``: the number of validators of step t − 2. Of the other n − 1 peers, V(t) is a uniform
    m-subset; q of them were validators at t − 2; the pool then has n − before − (m − q) candidates.
    """
    total = Fraction(0)
    for q in range(min(m, before) + 1):
        weight = Fraction(comb(before, q) * comb(n - 1 - before, m - q), comb(n - 1, m))
        total += weight * min(Fraction(1), Fraction(m, n - before - (m - q)))
    return total


def caught(n: int, b: int, m: int, before: int | None = None) -> Fraction:
    """P(a given Byzantine worker of step t − 2 is drawn by an honest validator), spec chapter ``verification``.

    ``before``: validators of step t − 2, by default as many as now.
    """
    return (1 - Fraction(m, n)) * chosen(n, m, m if before is None else before) * Fraction(n - b, n - 1)


def least_caught(n: int, b: int, m: int) -> Fraction:
    """q: what the probability of an honest audit is at least, whatever the validators of step t − 2 were."""
    return (1 - Fraction(m, n)) * min(Fraction(1), Fraction(m, n - m)) * Fraction(n - b, n - 1)


def counted_audits(n: int, b: int, m: int) -> Iterator[Fraction]:
    """P(peer 0 is drawn by an honest validator), once for each V(t − 2) without it, counted and not derived.

    The protocol's own draws are made for every pair of orders that lots can have, all (n!)² of them; peers
    0 … b − 1 are Byzantine. The mean of what is yielded is :func:`caught`.
    """
    roster = tuple(bytes([peer]) * 32 for peer in range(n))
    orders = list(permutations(roster))
    ranks = [{peer: rank for rank, peer in enumerate(order)} for order in orders]
    for before in combinations(roster[1:], m):
        workers = [peer for peer in roster if peer not in before]
        hits = sum(_audits_first(roster, workers, m, by_validator, ranks, b) for by_validator in ranks)
        yield Fraction(hits, len(orders) ** 2)


def _audits_first(
    roster: tuple[bytes, ...],
    workers: list[bytes],
    m: int,
    by_validator: dict[bytes, int],
    ranks: list[dict[bytes, int]],
    b: int,
) -> int:
    """Of all orders of the targets' lots, how many have an honest validator draw the first peer."""
    rank = [by_validator]

    def by_lot(label: str, randomness: bytes, step: int, peers: Iterable[bytes]) -> list[bytes]:
        return sorted(peers, key=rank[0].__getitem__)

    with mock.patch.object(mprng, "by_lot", by_lot):
        validators, hits = draw_validators(b"", 2, roster, m), 0
        for rank[0] in ranks:
            targets = draw_targets(b"", 2, validators, workers)
            hits += any(target == roster[0] and auditor not in roster[:b] for auditor, target in targets.items())
    return hits


def wrong_steps_law(n: int, m: int, steps: int) -> dict[int, Fraction]:
    """Distribution of the number of wrong steps that a lone peer gets applied if it cheats whenever it works.

    Exact: the peer is a validator at t ≥ 2 with probability m/n, independently. It is convicted at the start
    of step t if it is none then, worked at t − 2, and is drawn. Audits go on for two closing steps.
    """
    law: defaultdict[int, Fraction] = defaultdict(Fraction)
    # (worked at t − 2, worked at t − 1, wrong steps so far) → probability; nobody validates at steps 0 and 1
    states = {(True, True, min(2, steps)): Fraction(1)}
    for t in range(2, steps + 2):
        after: defaultdict[tuple[bool, bool, int], Fraction] = defaultdict(Fraction)
        hit = chosen(n, m, 0 if t < 4 else m)
        for (old, last, count), weight in states.items():
            idle = weight * Fraction(m, n)
            after[last, False, count] += idle
            busy = weight - idle
            if old:
                law[count] += busy * hit
                busy *= 1 - hit
            after[last, True, count + (t < steps)] += busy
        states = after
    for (_, _, count), weight in states.items():
        law[count] += weight
    assert sum(law.values()) == 1
    return dict(law)


def dominating_tail(b: int, q: float, longest: int) -> list[float]:
    """P(b + G_1 + … + G_b ≥ k) for k up to ``longest``; P(G > k) = (1 − q)^k."""
    geometric = [0.0, *(q * (1 - q) ** (k - 1) for k in range(1, longest + 1))]
    total = np.zeros(longest + 1)
    total[min(b, longest)] = 1.0
    for _ in range(b):
        total = np.convolve(total, geometric)[: longest + 1]
    return [float(1 - total[:k].sum()) for k in range(longest + 1)]


# -- Directions ---------------------------------------------------------------------------------


def passing_share(rho: tuple[int, ...], threshold: int, bits: int = 16) -> Fraction:
    """P(|⟨z, ρ⟩| ≤ T), z uniform on all whole vectors with −2^(bits − 1) ≤ z_i < 2^(bits − 1), by counting them.

    ``rho``: whole numbers, the last one not 0; all entries of z but the last are enumerated, so there should
    not be more than 2²⁰ combinations of these.
    """
    half = 1 << (bits - 1)
    values = np.arange(-half, half, dtype=np.int64)
    sums: npt.NDArray[np.int64] = np.zeros(1, dtype=np.int64)
    for entry in rho[:-1]:
        sums = np.add.outer(sums, entry * values).ravel()
    last = abs(rho[-1])  # z_i and −z_i differ by one value; mirroring the sums keeps that exact
    sums = sums if rho[-1] > 0 else -sums
    low = np.maximum(-((threshold + sums) // last), -half)
    high = np.minimum((threshold - sums) // last, half - 1)
    return Fraction(int(np.maximum(high - low + 1, 0).sum()), (2 * half) ** len(rho))


# -- Randomness ---------------------------------------------------------------------------------


def refusal_gain(probability: Fraction, redraws: int) -> Fraction:
    """1 − (1 − p)^(k + 1): the chance of a wanted value if a coalition may have k values drawn again."""
    return 1 - (1 - probability) ** (redraws + 1)


# -- Bounds on chance ---------------------------------------------------------------------------


def divergence(share: float, probability: float) -> float:
    """Kullback–Leibler divergence of two coins."""
    total = 0.0
    for p, q in ((share, probability), (1 - share, 1 - probability)):
        if p > 0:
            total += math.inf if q <= 0 else p * math.log(p / q)
    return total
