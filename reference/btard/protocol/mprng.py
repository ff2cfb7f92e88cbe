"""MPRNG: randomness that no peer chose, and what is drawn from it (chapter ``mprng``)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache, reduce

import numpy as np

from btard.protocol.arithmetic import Float64, Int16, norm
from btard.protocol.encoding import expand, tagged_hash
from btard.protocol.messages import HASH_BYTES, OPENING_BYTES
from btard.protocol.model import PeerId, Roster

DIRECTION_DEVIATION = math.sqrt((2**32 - 1) / 12)
"""σ_z, the standard deviation of one entry of a direction: uniform on the int16 range."""


def uint64(number: int) -> bytes:
    """Eight bytes, big-endian: how numbers enter a hash."""
    return number.to_bytes(8, "big")


# -- Commit and reveal ------------------------------------------------------------------------


def private_opening(secret: bytes, run: bytes, step: int, attempt: int) -> bytes:
    """A peer's 64-byte opening: 32 bytes of share, 32 of salt, fresh for every attempt.

    It is a pseudo-random function of the peer's own ``secret``, so a restarted peer, or a repeated
    seeded run, opens the same. Source: MPRNG-1.
    """
    place = uint64(step) + uint64(attempt)
    return expand("btard/mprng/opening", secret, run, place, length=OPENING_BYTES)  # requirement: MPRNG-1


def commitment(run: bytes, step: int, attempt: int, peer: PeerId, opening: bytes) -> bytes:
    """The 32 bytes that bind a peer to its opening. Bound to run, step, attempt and id, so that a
    copied commitment cannot be opened. Source: MPRNG-2."""
    place = uint64(step) + uint64(attempt)
    return tagged_hash("btard/mprng/commit", run, place, peer, opening)  # requirement: MPRNG-2


def combine(openings: Iterable[bytes]) -> bytes:
    """r_t: the hash of the XOR of all shares. Source: MPRNG-4."""
    shares = (int.from_bytes(opening[:HASH_BYTES], "big") for opening in openings)
    mixed = reduce(int.__xor__, shares, 0)
    return tagged_hash("btard/mprng/output", mixed.to_bytes(HASH_BYTES, "big"))  # requirement: MPRNG-4


def initial_randomness(run: bytes, roster: Roster) -> bytes:
    """r_{−1}, before anyone has opened anything. Source: MPRNG-5."""
    return tagged_hash("btard/mprng/initial", run, *roster)  # requirement: MPRNG-5


# -- What is drawn ----------------------------------------------------------------------------


def gradient_seed(run: bytes, randomness: bytes, step: int, peer: PeerId) -> bytes:
    """ξ(i, t), the seed of peer i's batch at step t, with ``randomness`` = r_{t−1}.

    Independent of attempt and roster: a retry recomputes no gradient. Source: MPRNG-6.
    """
    return tagged_hash("btard/seed", run, randomness, uint64(step), peer)  # requirement: MPRNG-6


def group_seed(run: bytes, randomness: bytes, step: int, group: int) -> bytes:
    """The seed that the members of a group share (profile redundant-code), with ``randomness`` = r_{t−1}. As
    independent of attempt and roster as that of a single worker. Source: MPRNG-10."""
    return tagged_hash("btard/group-seed", run, randomness, uint64(step), uint64(group))  # requirement: MPRNG-10


def by_lot(label: str, randomness: bytes, step: int, peers: Iterable[PeerId]) -> list[PeerId]:
    """``peers`` in the order of their lots. A lot depends on nobody else, so a removal does not
    reshuffle those who stay. Source: MPRNG-7."""
    return sorted(peers, key=lambda peer: tagged_hash(label, randomness, uint64(step), peer))


def draw_validators(randomness: bytes, step: int, roster: Roster, count: int) -> tuple[PeerId, ...]:
    """V(t): the ``count`` peers with the lowest lots from r_{t−1}; nobody at steps 0 and 1. Source: MPRNG-7."""
    if step < 2:
        return ()
    return tuple(by_lot("btard/validator", randomness, step, roster)[:count])  # requirement: MPRNG-7


def draw_targets(
    randomness: bytes, step: int, validators: Sequence[PeerId], pool: Iterable[PeerId]
) -> dict[PeerId, PeerId]:
    """Who audits whom: the k-th validator gets the k-th lot among ``pool``.

    ``pool``: workers of step t − 2 that are still active. Validators of step t are struck from it:
    nobody audits while being audited. Source: MPRNG-8.
    """
    candidates = (peer for peer in pool if peer not in validators)
    targets = by_lot("btard/target", randomness, step, candidates)
    return dict(zip(validators, targets, strict=False))  # requirement: MPRNG-8


def direction(randomness: bytes, part: int, length: int) -> Int16:
    """z_j: ``length`` independent int16 values, uniform, from r_t and the part's index. Source: MPRNG-9."""
    data = expand("btard/direction", randomness, uint64(part), length=2 * length)
    return np.frombuffer(data, dtype="<i2")  # requirement: MPRNG-9


@lru_cache(maxsize=4)
def directions(randomness: bytes, lengths: tuple[int, ...]) -> tuple[Int16, Float64]:
    """All parts' directions, padded with zeros to int16 ``[parts, longest]``, and their norms ``[parts]``."""
    table = np.zeros((len(lengths), max(lengths)), dtype=np.int16)
    for part, length in enumerate(lengths):
        table[part, :length] = direction(randomness, part, length)
    return table, norm(table)
