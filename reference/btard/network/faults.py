"""Network faults of a simulated run, as a user writes them: ``loss=0.2,jitter=0.5,cut=2@30``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from btard.network.links import FaultyLinks, Neighbours
from btard.network.virtual import LATENCY
from btard.protocol.model import PeerId, ProtocolError

OVERLAYS = ("complete", "ring", "one-way-ring")


class FaultError(ProtocolError):
    """Faults that are none; the message is one sentence."""


@dataclass(frozen=True)
class Faults:
    """What is wrong with the network. Probabilities per transmission; times in units of Δ.

    All but ``cut`` stays within Δ end to end, retransmission included: it costs nobody its seat.
    """

    loss: float = 0.0
    """Probability that a transmission is lost, and sent again."""
    duplication: float = 0.0
    """Probability that it arrives twice."""
    jitter: float = 0.0
    """Longest extra delay, so that transmissions overtake each other."""
    partition: float = 0.0
    """Part of the time in which the swarm is split in two halves, for less than Δ at a time."""
    overlay: str = "complete"
    """Who has links: ``complete``, ``ring``, or ``one-way-ring``; then everyone passes on what it gets."""
    cut: int = 0
    """How many honest peers lose all their links for good."""
    cut_step: int = 0
    """After how many steps they do."""
    heal_step: int = 0
    """After how many steps they get their links back and ask for their seats; 0 for never."""

    @property
    def none(self) -> bool:
        """Whether the network is in order."""
        return self == Faults()

    def links(self, delay: float, peers: Sequence[PeerId], seed: int) -> FaultyLinks:
        """Links with these faults. ``delay``: Δ in seconds, shared among the hops of the overlay."""
        bound = delay / max(1, hops(self.overlay, len(peers)))
        return FaultyLinks(
            latency=LATENCY * bound,
            bound=bound,
            loss=self.loss,
            duplication=self.duplication,
            jitter=self.jitter * bound,
            retry=LATENCY * bound,
            partitions=self.partitions(bound, peers),
            seed=seed,
        )

    def partitions(self, bound: float, peers: Sequence[PeerId]) -> tuple[tuple[float, float, frozenset[PeerId]], ...]:
        """The first hundred partitions, one every ``bound`` seconds, each between other halves."""
        random = Random(len(peers))
        halves = (frozenset(random.sample(list(peers), len(peers) // 2)) for _ in range(100))
        length = 0.8 * self.partition * bound
        return tuple((k * bound, k * bound + length, half) for k, half in enumerate(halves) if length)

    def neighbours(self, peers: Sequence[PeerId]) -> Neighbours | None:
        """The overlay; None if everyone has a link to everyone."""
        if self.overlay == "complete":
            return None
        size, both = len(peers), self.overlay == "ring"
        offsets = (1, -1) if both else (1,)
        return {peer: [peers[(k + offset) % size] for offset in offsets] for k, peer in enumerate(peers)}


def hops(overlay: str, peers: int) -> int:
    """The most links between two peers."""
    return {"complete": 1, "ring": peers // 2, "one-way-ring": peers - 1}[overlay]


def read_faults(text: str) -> Faults:
    """Faults from ``name=value`` pairs; ``cut=COUNT@STEP``, ``heal=STEP``. Raises :class:`FaultError`."""
    values: dict[str, Any] = {}
    for pair in text.split(",") if text else ():
        name, _, value = (part.strip() for part in pair.partition("="))
        require(name not in values, f"the network fault '{name}' is given twice")
        if name == "overlay":
            require(value in OVERLAYS, f"the overlay is {', '.join(OVERLAYS)}, not '{value}'")
            values["overlay"] = value
        elif name == "cut":
            values["cut"] = read_count("cut", value)
        elif name == "heal":
            require(value.isdecimal() and value.isascii(), f"'heal' takes a step, not '{value}'")
            values["heal"] = int(value)
        else:
            values[name] = read_share(name, value)
    cut, step = values.pop("cut", (0, 0))
    heal = values.pop("heal", 0)
    require(not heal or (cut > 0 and step < heal), "only what was cut before can heal: cut=COUNT@STEP,heal=LATER")
    return Faults(cut=cut, cut_step=step, heal_step=heal, **values)


def read_count(name: str, text: str) -> tuple[int, int]:
    """``COUNT@STEP``, both whole numbers; raises :class:`FaultError`."""
    count, _, step = text.partition("@")
    numbers = all(part.isdecimal() and part.isascii() and len(part) < 10 for part in (count, step))
    require(numbers, f"'{name}' takes COUNT@STEP, not '{text}'")
    return int(count), int(step)


def read_share(name: str, value: str) -> float:
    """A number in [0, 1); raises :class:`FaultError`."""
    names = ("loss", "duplication", "jitter", "partition")
    require(name in names, f"there is no network fault '{name}': there are {', '.join(names)}, overlay, cut and heal")
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    require(0 <= number < 1, f"the network fault '{name}' takes a number from 0 to below 1, not '{value}'")
    return number


def require(holds: bool, sentence: str) -> None:
    """Raise :class:`FaultError` unless it ``holds``."""
    if not holds:
        raise FaultError(sentence)
