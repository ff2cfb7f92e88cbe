"""A peer on a network: joins the protocol's generator to links and a clock (chapter ``node``).

It does no input or output itself. A driver hands it frames (:meth:`Node.receive`), tells it the time
(:meth:`Node.wake`) and answers what is neither network nor clock (:meth:`Node.answer`); the node leaves
what it wants sent in its ``outbox`` and says when it wants to be woken. So the same node runs in virtual
time under the simulator and in real time over sockets.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from btard.protocol.broadcast import (
    VERSIONS,
    Answer,
    Arrival,
    Ask,
    Ballot,
    Frame,
    Networking,
    Place,
    Relay,
    Send,
    Timing,
    agreed_broadcast,
    vouched,
)
from btard.protocol.channel import AgreedBroadcast, Delivery, Disclose, Exchange, Gather, Request, Scatter
from btard.protocol.exchange import Inbox, disclosures, exchange, gather_exchange, scatter_exchange
from btard.protocol.identity import Identity
from btard.protocol.messages import MAX_NOTICES, Envelope, Notices, Phase, Proof, Slot
from btard.protocol.model import MAX_PEERS, PeerId, ProtocolError, Roster
from btard.protocol.step import Expelled, State

ARCHIVED_PHASES = 12
"""How many delivered phases a node still answers for and looks for second versions in: about three steps."""
RECENT_STEPS = 3
"""Frames of steps further from mine than this are stale."""
EARLY_PHASES = 4
"""For how many phases to come a node keeps early frames."""
SPARE_FRAMES = 16
"""Frames per phase that one link may bring beyond two for every peer."""

Key = tuple[int, int, int]
"""Step, attempt and rank of a phase: honest peers pass through ascending keys."""

Together = AgreedBroadcast | Scatter | Gather | Disclose
"""What peers ask for together."""


def key_of(frame: Frame) -> Key:
    """The phase that ``frame`` is about."""
    return key_of_slot(frame.echo.slot if isinstance(frame, Relay) else frame.slot)


@dataclass
class Flooding:
    """What a node on a sparse overlay has passed on in a phase: nothing twice, and of each peer two versions."""

    seen: dict[tuple[PeerId, Slot], dict[bytes, int]]
    """By author and slot: each version's digest, with the longest chain of signatures passed on."""

    def fresh(self, frame: Envelope | Relay, roster: Roster) -> bool:
        """Whether to pass ``frame`` on: not after an equally long chain for it, or for two other versions. Those
        behind me got these earlier, and can accept them for at least as long. Source: NODE-3."""
        echo, length = (frame.echo, 1 + len(frame.signatures)) if isinstance(frame, Relay) else (frame, 0)
        versions = self.seen.setdefault((echo.sender, echo.slot), {})
        digest = echo.signed_header.digest
        as_long = {version for version, before in versions.items() if before >= length}
        if digest in as_long or len(as_long) >= VERSIONS or not signed(frame, roster):
            return False  # requirement: NODE-3
        versions[digest] = length
        return True


def signed(frame: Envelope | Relay, roster: Roster) -> bool:
    """Whether all signatures of ``frame`` are good, and its chain is of other peers of the roster."""
    if isinstance(frame, Envelope):
        return frame.signed_header.authentic
    return vouched(frame.echo, dict(frame.signatures), roster) and frame.echo.signed_header.authentic


class Node:
    """One peer. ``relays``: it sits on a sparse overlay and passes on what it gets."""

    def __init__(
        self, identity: Identity, run: bytes, generator: Exchange[State], timing: Timing, relays: bool = False
    ) -> None:
        self.identity, self.run, self.generator, self.timing = identity, run, generator, timing
        self.relays = relays
        self.outbox: list[tuple[PeerId | None, Frame]] = []
        """What to send, and to whom (None: everyone)."""
        self.request: Request | None = None
        """What the driver must answer."""
        self.wake_at: float | None = None
        self.state: State | None = None
        """The state in which the run ended."""
        self.error: ProtocolError | None = None
        """Why it ended, if not well."""
        self.roster: Roster = ()
        self.ready = 0.0
        """The latest time at which an honest peer that is with me would have got here."""
        self.current: Key = (-1, 0, 0)
        self.asked: Together | None = None
        self.task: Networking[Any] | None = None
        self.ballot: Ballot | None = None
        self.archive: deque[tuple[Key, Ballot]] = deque(maxlen=ARCHIVED_PHASES)
        self.early: dict[Key, list[Arrival]] = {}
        self.brought: Counter[PeerId] = Counter()
        """New frames that each link brought in this phase."""
        self.flooding: dict[Key, Flooding] = {}
        self.gate: Callable[[], bool] = lambda: True
        """Whether the protocol may go on after an exchange; a simulator holds rushing attackers back with it."""
        self.held: tuple[Any] | None = None
        """What the network's part gave while the gate was closed."""
        self.late: list[Proof] = []
        """Evidence that surfaced after its phase."""
        self.aggregates: tuple[Envelope, ...] = ()
        """The parts of the last aggregate that I sent or got."""
        self.ignored = 0
        """Frames that were not taken: strangers', stale ones, and those beyond a link's share."""

    @property
    def id(self) -> PeerId:
        """The peer id."""
        return self.identity.peer_id

    @property
    def phase(self) -> Phase:
        """The phase that I am in."""
        return self.asked.slot.phase if self.asked else Phase.COMMIT

    @property
    def finished(self) -> bool:
        """Whether the run has ended for this peer."""
        return self.state is not None or self.error is not None

    # -- What a driver calls ----------------------------------------------------------------------

    def start(self, now: float) -> None:
        """Begin the run."""
        self.ready = now
        self.answer(now, None)

    def join(self, now: float, request: AgreedBroadcast) -> None:
        """Begin with the first broadcast of a new member, whose protocol has been following until here."""
        self.ready = now
        self.begin(now, request)

    def answer(self, now: float, value: Any) -> None:
        """Go on with the driver's answer to ``request``."""
        self.request = None
        self.proceed(now, value)

    def wake(self, now: float) -> None:
        """The time ``wake_at`` has come."""
        if self.task is not None and self.wake_at is not None and now >= self.wake_at:
            self.feed(now, None)

    def receive(self, now: float, sender: PeerId, frame: Frame) -> None:
        """Take in a frame that a link brought. Source: LIM-3, LIM-4."""
        if not self.admits(sender, frame):
            self.ignored += 1
            return
        if self.relays and isinstance(frame, Answer):
            self.pass_on_wanted(frame)
        arrival, key = Arrival(now, sender, frame), key_of(frame)
        if key == self.current and self.task is not None:
            self.feed(now, arrival)
        elif key > self.current and not self.finished:
            self.keep_early(key, arrival)
        else:
            self.take_late(key, arrival)

    # -- Taking frames ------------------------------------------------------------------------------

    def admits(self, sender: PeerId, frame: Frame) -> bool:
        """Whether a link may bring this frame now: within its share, not stale, not a copy. Passes it on if
        the overlay is sparse."""
        peers = len(self.roster) or MAX_PEERS  # not known before the first phase
        share = (2 * peers + SPARE_FRAMES) * (peers if self.relays else 1)
        if sender == self.id or self.brought[sender] >= share:
            return False  # requirement: LIM-4
        if self.roster and sender not in self.roster:
            return False  # requirement: LIM-3
        if abs(key_of(frame)[0] - self.current[0]) > RECENT_STEPS:
            return False
        self.brought[sender] += 1
        if self.relays and isinstance(frame, (Envelope, Relay)):
            return self.pass_on(frame)
        return True

    def pass_on(self, frame: Envelope | Relay) -> bool:
        """Send a frame that is new and well signed to all neighbours; whether it was."""
        author = frame.echo.sender if isinstance(frame, Relay) else frame.sender
        if self.roster and author not in self.roster:
            return False
        wanted = self.ballot is not None and isinstance(frame, Envelope) and self.ballot.wants(frame)
        if not wanted and not self.flooding.setdefault(key_of(frame), Flooding({})).fresh(frame, self.roster):
            return False
        self.outbox.append((None, frame))
        return True

    def pass_on_wanted(self, answer: Answer) -> None:
        """Send messages that were decided, and that I had to ask for, to neighbours: they may lack them too."""
        wanted = self.ballot.wants if self.ballot is not None else None
        self.outbox.extend((None, envelope) for envelope in answer.envelopes if wanted and wanted(envelope))

    def keep_early(self, key: Key, arrival: Arrival) -> None:
        """Keep a frame of a phase that I have not reached. Source: LIM-5."""
        if key in self.early or len(self.early) < EARLY_PHASES:
            self.early.setdefault(key, []).append(arrival)  # requirement: LIM-5
        else:
            self.ignored += 1

    def take_late(self, key: Key, arrival: Arrival) -> None:
        """Answer a peer that has not finished a phase that I have; look for a second version of a message."""
        for known, ballot in self.archive:
            if known == key and isinstance(arrival.frame, Ask):  # requirement: NODE-2
                self.outbox.extend((send.to, send.frame) for send in ballot.take(arrival))
            elif known == key and isinstance(arrival.frame, Envelope):
                before = ballot.evidence()
                ballot.hear(arrival.frame)
                self.late += [proof for proof in ballot.evidence() if proof not in before]

    # -- Going on -------------------------------------------------------------------------------------

    def proceed(self, now: float, value: Any) -> None:
        """Let the protocol run to its next request."""
        try:
            request = self.generator.send(value)
        except StopIteration as stop:
            self.end(stop.value)
        except Expelled as expelled:
            self.end(expelled.state)
        except ProtocolError as error:
            self.error, self.task, self.wake_at = error, None, None
        else:
            if isinstance(request, Together):
                self.begin(now, request)
            else:
                self.request = request

    def end(self, state: State) -> None:
        """The run is over for me; I still answer who asks."""
        self.state, self.task, self.wake_at = state, None, None

    def begin(self, now: float, request: Together) -> None:
        """Start the network's part of ``request``."""
        self.asked, self.current = request, key_of_slot(request.slot)
        self.ready += request.work * self.timing.gradient
        self.brought.clear()
        if isinstance(request, AgreedBroadcast):
            self.task = self.broadcast(request)
        else:
            inbox, sends = self.exchanged(request)
            self.task = exchange(inbox, sends, self.timing, self.ready)
        self.feed(now, None)
        self.catch_up(now)

    def exchanged(self, request: Scatter | Gather | Disclose) -> tuple[Inbox, list[Send]]:
        """What I expect and send in a point-to-point phase."""
        if isinstance(request, Scatter):
            return scatter_exchange(request, self.run, self.id)
        if isinstance(request, Gather):
            return gather_exchange(request, self.run, self.id)
        return disclosures(request, self.run, self.id)

    def broadcast(self, request: AgreedBroadcast) -> Networking[Delivery]:
        """The agreed broadcast of ``request``. Raises :class:`ProtocolError` for a peer without a message."""
        if request.envelope is None:
            raise ProtocolError("a peer without a seat cannot take part in a broadcast")
        self.roster = request.roster
        place = Place(
            self.identity, self.run, request.slot, request.roster, request.tolerated, request.envelope.log_head
        )
        self.ballot = Ballot(place)
        return agreed_broadcast(self.ballot, request.envelope, self.timing, self.ready)

    def catch_up(self, now: float) -> None:
        """Take in what came early, and forget what is past."""
        for key in sorted(self.early):
            if key <= self.current:
                for arrival in self.early.pop(key, ()):
                    if key == self.current == key_of(arrival.frame) and self.task is not None:
                        self.feed(now, arrival)
        for key in [key for key in self.flooding if key[0] < self.current[0] - 1]:
            del self.flooding[key]

    def feed(self, now: float, arrival: Arrival | None) -> None:
        """Run the network's part until it listens again."""
        if self.task is None:
            return
        try:
            effect = self.task.send(arrival)
            while isinstance(effect, Send):
                self.outbox.append((effect.to, effect.frame))
                effect = self.task.send(None)
            self.wake_at = effect.until
        except StopIteration as stop:
            self.complete(now, stop.value)
        except ProtocolError as error:
            self.error, self.task, self.wake_at = error, None, None

    def complete(self, now: float, result: Any) -> None:
        """The network's part is done: on with the protocol, once the gate is open."""
        self.task, self.wake_at, self.held = None, None, (result,)
        self.release(now)

    def release(self, now: float) -> None:
        """Go on with what was held, if the gate is open."""
        if self.held is None or not self.gate():
            return
        request, (result,), self.held = self.asked, self.held, None
        if isinstance(request, AgreedBroadcast):
            if self.ballot is not None:
                self.archive.append((self.current, self.ballot))
            self.ready = now  # requirement: NODE-1
            late, self.late = Notices(evidence=tuple(self.late[:MAX_NOTICES])), []
            self.proceed(now, replace(result, notices=result.notices.merged(late)))
        elif isinstance(request, (Scatter, Gather)):
            self.ready += self.timing.round
            parts = tuple(result.get(worker) for worker in request.workers) if request.announced else ()
            if isinstance(request, Gather):
                mine = {request.envelope.slot: request.envelope} if request.envelope else {}
                every = {**mine, **{part.slot: part for part in parts if part is not None}}
                self.aggregates = tuple(every[slot] for slot in sorted(every))
            self.proceed(now, parts)
        elif isinstance(request, Disclose):
            self.ready += self.timing.round
            self.proceed(now, tuple(result.get((duty.sender, duty.slot)) for duty in request.duties))


def key_of_slot(slot: Slot) -> Key:
    """The phase of ``slot``."""
    return slot.step, slot.attempt, slot.phase.rank
