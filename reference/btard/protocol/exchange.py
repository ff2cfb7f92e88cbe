"""The exchange of parts: point-to-point messages under a deadline (chapter ``exchange``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from btard.protocol.broadcast import Arrival, Listen, Networking, Send, Timing
from btard.protocol.channel import Gather, Scatter
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
    received: dict[PeerId, Envelope] = field(default_factory=dict)

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


def exchange(inbox: Inbox, sends: Sequence[Send], timing: Timing, ready: float) -> Networking[dict[PeerId, Envelope]]:
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
