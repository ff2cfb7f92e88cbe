"""The exchange of parts: point-to-point messages under a deadline (chapter ``exchange``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from btard.protocol.broadcast import Arrival, Listen, Networking, Send, Timing
from btard.protocol.channel import Disclose, Gather, Scatter
from btard.protocol.messages import Envelope, Slot, belongs
from btard.protocol.model import PeerId, Roster


@dataclass
class Inbox:
    """What I am to receive in one exchange: one part from each of ``senders``."""

    run: bytes
    slots: tuple[Slot, ...]
    """The slot of each sender's part."""
    senders: Roster
    announced: tuple[bytes, ...]
    """The body hash that each sender announced."""
    received: dict[Any, Envelope] = field(default_factory=dict)
    """By sender; disclosures by sender and slot."""

    def take(self, envelope: Envelope) -> None:
        """Keep a part that belongs here; the announced content wins over another that came before. Source: EXCH-2."""
        if envelope.sender not in self.senders:
            return
        index = self.senders.index(envelope.sender)
        expected = self.announced[index]
        if not belongs(envelope, self.run, self.slots[index], envelope.sender, expected):
            return
        if envelope.sender not in self.received or envelope.signed_header.body_hash == expected:
            self.received[envelope.sender] = envelope  # requirement: EXCH-2

    def settled(self) -> bool:
        """Whether everyone's announced content is here."""
        expected = zip(self.senders, self.announced, strict=True)
        here = self.received
        return all(peer in here and here[peer].signed_header.body_hash == wanted for peer, wanted in expected)


def exchange(inbox: Inbox, sends: Sequence[Send], timing: Timing, ready: float) -> Networking[dict[Any, Envelope]]:
    """Send my parts, and take what comes until I have everything or no honest part can be on its way any more.
    ``ready``: the latest time at which an honest peer that started when I did sends its own. Source: EXCH-1."""
    yield from sends
    while not inbox.settled():
        arrival: Arrival | None = yield Listen(ready + timing.round)  # requirement: EXCH-1
        if arrival is None:
            break
        if isinstance(arrival.frame, Envelope):
            inbox.take(arrival.frame)
    return inbox.received


def scatter_exchange(request: Scatter, run: bytes, me: PeerId) -> tuple[Inbox, list[Send]]:
    """What to expect and to send when every worker's part j goes to worker j."""
    others = [worker for worker in request.workers if worker != me]
    expected = dict(zip(request.workers, request.announced, strict=False))
    sends = [
        Send(envelope, worker)
        for worker, envelope in zip(request.workers, request.envelopes, strict=False)
        if envelope is not None and worker != me
    ]
    if not request.announced:
        return Inbox(run, (), (), ()), sends
    inbox = Inbox(run, (request.slot,) * len(others), tuple(others), tuple(expected[worker] for worker in others))
    return inbox, sends


def gather_exchange(request: Gather, run: bytes, me: PeerId) -> tuple[Inbox, list[Send]]:
    """What to expect and to send when every worker's aggregate goes to everyone."""
    others = [(part, worker) for part, worker in enumerate(request.workers) if worker != me]
    inbox = Inbox(
        run,
        tuple(request.slot._replace(part=part) for part, _ in others),
        tuple(worker for _, worker in others),
        tuple(request.announced[part] for part, _ in others),
    )
    return inbox, [] if request.envelope is None else [Send(request.envelope)]


def disclosures(request: Disclose, run: bytes, me: PeerId) -> tuple[Inbox, list[Send]]:
    """What to expect and to send when gradients are disclosed to those that they are owed to."""
    owed = [duty for duty in request.duties if duty.sender != me and me in duty.recipients]
    sends = [
        Send(envelope, recipient)
        for duty, envelope in zip(request.duties, request.envelopes, strict=True)
        if envelope is not None
        for recipient in duty.recipients
        if recipient != me
    ]
    slots, senders = tuple(duty.slot for duty in owed), tuple(duty.sender for duty in owed)
    return DisclosureInbox(run, slots, senders, ()), sends


@dataclass
class DisclosureInbox(Inbox):
    """Disclosures: a sender may owe several, and nobody has announced the hash of the whole."""

    def take(self, envelope: Envelope) -> None:
        """Keep the first signed body of each slot that is owed to me."""
        place = (envelope.sender, envelope.slot)
        expected = place in zip(self.senders, self.slots, strict=True) and place not in self.received
        if expected and belongs(envelope, self.run, envelope.slot, envelope.sender):
            self.received[place] = envelope

    def settled(self) -> bool:
        """Whether everything owed is here."""
        return len(self.received) == len(self.slots)
