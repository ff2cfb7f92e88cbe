"""Links in virtual time: when what is sent arrives, if it does."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from random import Random

from btard.protocol.model import PeerId

Neighbours = Mapping[PeerId, Collection[PeerId]]
"""Whom each peer has a link to; one-way links are in one peer's collection only."""


class Links:
    """The network of a simulation. Here every transmission takes the same ``latency``, in seconds."""

    latency: float
    cuts: dict[PeerId, float]
    """Peers that nobody hears and that hear nobody, from some time on: they count as faulty."""

    def __init__(self, latency: float) -> None:
        self.latency, self.cuts = latency, {}

    def arrivals(self, now: float, sender: PeerId, receiver: PeerId) -> Iterable[float]:
        """When copies of what ``sender`` sends now reach ``receiver``; nothing if it is lost."""
        return () if self.silent(now, sender, receiver) else (now + self.latency,)

    def silent(self, now: float, *ends: PeerId) -> bool:
        """Whether one of the two ends of a link is cut off."""
        return any(now >= self.cuts[peer] for peer in ends if peer in self.cuts)

    def cut(self, now: float, peers: Iterable[PeerId]) -> None:
        """Cut off ``peers``."""
        self.cuts.update({peer: now for peer in peers if peer not in self.cuts})

    def restore(self, peer: PeerId) -> None:
        """Give ``peer`` its links back."""
        self.cuts.pop(peer, None)

    def lost(self, peer: PeerId) -> bool:
        """Whether ``peer`` is cut off, now or later."""
        return peer in self.cuts


@dataclass
class FaultyLinks(Links):
    """Loss, duplication, reordering, delay and a partition that heals, with retransmission as any transport has it.

    A lost copy is sent again after ``retry`` seconds until it arrives; nothing takes longer than ``bound``
    (but over a cut). Times in seconds; randomness from ``seed``.
    """

    latency: float
    bound: float
    """The most that any transmission takes: Δ, or on a sparse overlay Δ by the number of hops."""
    loss: float = 0.0
    """Probability that a copy is lost."""
    duplication: float = 0.0
    """Probability that a copy arrives twice."""
    jitter: float = 0.0
    """Longest extra delay of a copy: with it, copies overtake each other."""
    retry: float = 0.0
    """Time until a lost copy is sent again."""
    partitions: tuple[tuple[float, float, frozenset[PeerId]], ...] = ()
    """From, until, and one side: what crosses in that time is sent again until it gets through."""
    cuts: dict[PeerId, float] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        self.random = Random(self.seed)

    def arrivals(self, now: float, sender: PeerId, receiver: PeerId) -> Iterable[float]:
        """When copies arrive; within ``bound`` unless one of the two is cut off."""
        if self.silent(now, sender, receiver):
            return ()
        copies = 1 + (self.random.random() < self.duplication)
        return [min(self.one(now, sender, receiver), now + self.bound) for _ in range(copies)]

    def one(self, now: float, sender: PeerId, receiver: PeerId) -> float:
        """When one copy arrives, sent again as often as it takes."""
        time = now
        while self.random.random() < self.loss or self.parted(time, sender, receiver):
            time += self.retry or self.latency
            if time > now + self.bound:
                return time
        return time + self.latency + self.random.random() * self.jitter

    def parted(self, time: float, sender: PeerId, receiver: PeerId) -> bool:
        """Whether a partition lies between the two."""
        return any(
            start <= time < end and (sender in side) != (receiver in side) for start, end, side in self.partitions
        )
