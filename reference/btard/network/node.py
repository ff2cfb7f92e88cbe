"""A peer on a network: joins the protocol's generator to links and a clock (chapter ``node``).

It does no input or output itself. A driver hands it frames (:meth:`Node.receive`), tells it the time
(:meth:`Node.wake`) and answers what is neither network nor clock (:meth:`Node.answer`); the node leaves
what it wants sent in its ``outbox`` and says when it wants to be woken. So the same node runs in virtual
time under the simulator and in real time over sockets.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from btard.network.limits import ANSWERS, FRAME_COST, REMEMBERED_PHASES, Limits, Link, claims_to_answer
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
    decode_frame,
    proof_of,
    vouched,
)
from btard.protocol.channel import AgreedBroadcast, Delivery, Disclose, Exchange, Gather, Request, Scatter
from btard.protocol.exchange import Inbox, disclosures, exchange, gather_exchange, scatter_exchange
from btard.protocol.identity import Identity
from btard.protocol.messages import Envelope, Notices, Phase, Proof, SignedHeader, Slot
from btard.protocol.model import PeerId, ProtocolError, Roster
from btard.protocol.state import Expelled, State

ARCHIVED_PHASES = 3
"""How many delivered phases a node still answers for: honest peers are never more than one apart."""

Key = tuple[int, int, int]
"""Step, attempt and rank of a phase: honest peers pass through ascending keys."""

Together = AgreedBroadcast | Scatter | Gather | Disclose
"""What peers ask for together."""


def key_of(frame: Frame) -> Key:
    """The phase that ``frame`` is about."""
    return key_of_slot(frame.echo.slot if isinstance(frame, Relay) else frame.slot)


@dataclass
class Flooding:
    """What a node on a sparse overlay has passed on of one phase: nothing twice, and of each peer two versions."""

    seen: dict[tuple[type, PeerId, Slot], dict[bytes, int]] = field(default_factory=dict)
    """By kind, author and slot: each version's digest, with the longest chain of signatures passed on. Envelopes
    and relays are apart, so that nobody's relays stop an envelope that its author signed."""

    def fresh(self, frame: Envelope | Relay, roster: Roster) -> bool:
        """Whether to pass ``frame`` on: not after an equally long chain for it, or for two other versions. Those
        behind me got these earlier, and can accept them for at least as long. Source: NODE-3."""
        echo, length = (frame.echo, len(frame.signatures)) if isinstance(frame, Relay) else (frame, 0)
        place, digest = (type(frame), echo.sender, echo.slot), echo.signed_header.digest
        versions = self.seen.get(place, {})
        as_long = {version for version, before in versions.items() if before >= length}
        if digest in as_long or len(as_long) >= VERSIONS or not signed(frame, roster):
            return False  # requirement: NODE-3
        self.seen.setdefault(place, versions)[digest] = length
        return True


def signed(frame: Envelope | Relay, roster: Roster) -> bool:
    """Whether all signatures of ``frame`` are good, and its chain is of other peers of the roster."""
    if isinstance(frame, Envelope):
        return frame.signed_header.authentic
    return vouched(frame.echo, dict(frame.signatures), roster) and frame.echo.signed_header.authentic


class Node:
    """One peer. With ``limits.relays`` it sits on a sparse overlay and passes on what it gets."""

    def __init__(
        self, identity: Identity, run: bytes, generator: Exchange[State], timing: Timing, limits: Limits
    ) -> None:
        self.identity, self.run, self.generator, self.timing = identity, run, generator, timing
        self.limits = limits
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
        self.candidates: Roster = ()
        """Who is on probation."""
        self.ready = 0.0
        """The latest time at which an honest peer that is with me would have got here."""
        self.current: Key = (-1, 0, 0)
        self.asked: Together | None = None
        self.task: Networking[Any] | None = None
        self.ballot: Ballot | None = None
        self.archive: deque[tuple[Key, Ballot]] = deque(maxlen=ARCHIVED_PHASES)
        self.early: dict[Key, list[tuple[Arrival, int]]] = {}
        """Frames of phases to come, with what keeping them costs."""
        self.links: defaultdict[PeerId, Link] = defaultdict(Link)
        self.passed: Counter[PeerId] = Counter()
        """Envelopes passed on since my last delivery, by author."""
        self.waiting: list[Arrival] = []
        """Relays of my phase that came before my fallback began, on a sparse overlay."""
        self.answered: Counter[tuple[PeerId, Key]] = Counter()
        self.decode: Callable[[bytes, int, int], Frame] = decode_frame
        self.flooding: dict[Key, Flooding] = {}
        """What I passed on, by phase, as long as the phase is in view."""
        self.gate: Callable[[], bool] = lambda: True
        """Whether the protocol may go on after an exchange; a simulator holds rushing attackers back with it."""
        self.held: tuple[Any] | None = None
        """What the network's part gave while the gate was closed."""
        self.past: deque[Key] = deque(maxlen=REMEMBERED_PHASES)
        """The last phases; with mine and the next ones they are what I have in view."""
        self.witnessed: dict[Key, dict[tuple[PeerId, Slot], SignedHeader]] = {}
        """What every peer signed, by agreed phase, as long as the phase is in view."""
        self.late: dict[PeerId, Proof] = {}
        """Evidence that surfaced after its phase, one proof for each peer."""
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
    def begun(self) -> bool:
        """Whether the run has begun for this peer."""
        return self.asked is not None or self.request is not None

    @property
    def finished(self) -> bool:
        """Whether the run has ended for this peer."""
        return self.state is not None or self.error is not None

    # -- What a driver calls ----------------------------------------------------------------------

    def start(self, now: float, ready: float | None = None) -> None:
        """Begin the run, or go on with it at a step that was ``ready`` to begin earlier."""
        self.ready = now if ready is None else ready
        self.proceed(now, None)

    def join(self, now: float, request: AgreedBroadcast) -> None:
        """Begin with the first broadcast of a new member, whose protocol has been following until here."""
        self.ready = now
        self.begin(now, request)

    def answer(self, now: float, value: Any) -> None:
        """Go on with the driver's answer to ``request``."""
        self.request = None
        self.proceed(now, value)

    def wake(self, now: float) -> None:
        """It is ``now``; the node goes on if it waited for no later time."""
        if self.is_due(now):
            self.feed(now, None)
            self.pass_on_waiting(now)

    def is_due(self, now: float) -> bool:
        """Whether the time ``wake_at`` has come."""
        return self.task is not None and self.wake_at is not None and now >= self.wake_at

    def drain(self) -> list[tuple[PeerId | None, Frame]]:
        """What is to be sent now, and to whom (None: everyone)."""
        sends, self.outbox = self.outbox, []
        return sends

    def read(self, now: float, sender: PeerId, data: bytes) -> None:
        """Take in the bytes that a link brought; never raises. Source: LIM-1 … LIM-6, LIM-10."""
        limits = self.limits
        try:
            # requirement: LIM-10
            frame = self.decode(data, limits.frame, limits.items) if self.lets_in(sender, data) else None
        except ProtocolError:
            frame = None
        if frame is None:
            self.ignored += 1
        else:
            self.receive(now, sender, frame, len(data))

    def receive(self, now: float, sender: PeerId, frame: Frame, size: int) -> None:
        """Take in a frame of ``size`` bytes. Source: LIM-1, LIM-5, LIM-7 … LIM-9."""
        arrival, key = Arrival(now, sender, frame), key_of(frame)
        if not self.admits(arrival, size):
            self.ignored += 1
            return
        if self.limits.relays and isinstance(frame, Answer):
            self.pass_on_wanted(frame)
        if self.limits.relays and isinstance(frame, Relay):
            self.waiting.append(arrival)
            self.pass_on_waiting(now)
        elif key == self.current and self.task is not None:
            self.take(arrival)
        elif key > self.current and not self.finished:
            self.keep_early(arrival, size + FRAME_COST)
        else:
            self.take_late(arrival)

    # -- Taking frames ------------------------------------------------------------------------------

    def lets_in(self, sender: PeerId, data: bytes) -> bool:
        """Whether a link may bring these bytes now: of a peer, no answer that nobody asked for, within its share, not
        a copy. Nothing of them is read but their kind. Raises :class:`Oversized`."""
        if sender == self.id or not self.knows(sender):
            return False  # requirement: LIM-3
        link = self.links[sender]
        self.limits.check_size(data)
        if claims_to_answer(data) and not link.expects:
            return False  # requirement: LIM-6
        if not self.limits.has_room(link, len(data)) or not link.is_new(data):
            return False  # requirement: LIM-4
        link.charge(data)
        return True

    def admits(self, arrival: Arrival, size: int) -> bool:
        """Whether a frame has a place now, and is to be answered if it asks. Passes an envelope on if the overlay is
        sparse."""
        sender, frame, key = arrival.sender, arrival.frame, key_of(arrival.frame)
        if not self.limits.fits(frame, size) or not self.recent(key) or not self.has_room(arrival, size):
            return False
        if isinstance(frame, Ask):
            self.answered[sender, key] += 1
            return self.answered[sender, key] <= ANSWERS  # requirement: LIM-7
        if self.limits.relays and isinstance(frame, Envelope):
            return self.pass_on(frame)
        if self.limits.relays and isinstance(frame, Relay):
            return self.can_count(frame) and self.fresh(frame)
        return True

    def has_room(self, arrival: Arrival, size: int) -> bool:
        """Whether a frame is of a phase that I have reached, or whoever pays for keeping it can. What I cannot keep
        I do not pass on either: so whoever got a message from me can ask me for it."""
        if key_of(arrival.frame) <= self.current:
            return True
        payer = self.links.get(self.payer(arrival), Link())
        return payer.early + size + FRAME_COST <= self.limits.early  # requirement: LIM-5

    def knows(self, peer: PeerId) -> bool:
        """Whether ``peer`` is a member, or may become one with the next step: others may have seated it already.
        Before the first phase nobody is a stranger."""
        return not self.roster or peer in self.roster or peer in self.candidates

    def recent(self, key: Key) -> bool:
        """Whether a phase is mine, one of the last, or in this attempt, the next one, or the next step."""
        if key <= self.current:
            return key == self.current or key in self.past
        step, attempt, _ = self.current
        return step < 0 or key[:2] in ((step, attempt), (step, attempt + 1), (step + 1, 0))  # requirement: LIM-9

    def fresh(self, frame: Envelope | Relay) -> bool:
        """Whether ``frame`` is of this run, well signed, and says what I have not passed on yet."""
        signed_here = (frame.echo if isinstance(frame, Relay) else frame).run == self.run
        return signed_here and self.flooding.setdefault(key_of(frame), Flooding()).fresh(frame, self.roster)

    def pass_on(self, envelope: Envelope) -> bool:
        """Send an envelope that is new and well signed to all neighbours, up to its author's share; whether it was.
        A message that was decided, and that I lack, is always passed on."""
        author = envelope.sender
        if self.ballot is None or not self.ballot.wants(envelope):
            if not self.knows(author) or self.passed[author] >= self.limits.authored:
                return False  # requirement: LIM-8
            if not self.fresh(envelope):
                return False
            self.passed[author] += 1
        self.outbox.append((None, envelope))
        return True

    def can_count(self, relay: Relay) -> bool:
        """Whether the echo of ``relay`` can be counted in the agreed phase that I am in: all peers in it can tell
        alike. Before they are in it, no honest peer vouches; after it, none needs to be convinced."""
        if self.task is None or self.ballot is None or key_of(relay) != self.current:
            return False
        return self.ballot.is_echo(relay.echo) and len(relay.signatures) <= self.ballot.place.tolerated

    def pass_on_waiting(self, now: float) -> None:
        """Once my fallback has begun, and so everybody is in the phase: take in the relays that came, and send them
        to all neighbours. Source: NODE-3."""
        while self.waiting and self.ballot is not None and self.ballot.fallback is not None:
            arrival = self.waiting.pop(0)
            self.outbox.append((None, arrival.frame))
            self.take(arrival._replace(now=now))

    def pass_on_wanted(self, answer: Answer) -> None:
        """Send messages that were decided, and that I had to ask for, to neighbours: they may lack them too."""
        wanted = self.ballot.wants if self.ballot is not None else None
        self.outbox.extend((None, envelope) for envelope in answer.envelopes if wanted and wanted(envelope))

    def take(self, arrival: Arrival) -> None:
        """Take in a frame of my phase."""
        self.feed(arrival.now, arrival)

    def keep_early(self, arrival: Arrival, cost: int) -> None:
        """Keep a frame until its phase, at the cost of its author if I know that it is (on a sparse overlay the
        signature has been checked), else of the link. Source: LIM-5."""
        self.links[self.payer(arrival)].early += cost
        self.early.setdefault(key_of(arrival.frame), []).append((arrival, cost))

    def payer(self, arrival: Arrival) -> PeerId:
        """Who pays for keeping a frame."""
        frame = arrival.frame
        return author_of(frame) if self.limits.relays and isinstance(frame, (Envelope, Relay)) else arrival.sender

    def take_late(self, arrival: Arrival) -> None:
        """Take in a frame of an earlier phase."""
        self.look_back(arrival)

    def look_back(self, arrival: Arrival) -> None:
        """Answer a peer that has not finished a phase that I have; look for a second version of a message."""
        frame, key = arrival.frame, key_of(arrival.frame)
        if isinstance(frame, Envelope):
            self.compare(frame.signed_header)
        elif isinstance(frame, Ask):
            for ballot in [ballot for known, ballot in self.archive if known == key]:  # requirement: NODE-2
                self.outbox.extend((send.to, send.frame) for send in ballot.take(arrival))

    def compare(self, header: SignedHeader) -> None:
        """Whether ``header`` is a second version of what its sender signed in a past phase: then it is evidence."""
        place = header.sender, header.slot
        known = self.witnessed.get(key_of_slot(header.slot), {}).get(place)
        if known and header.run == self.run and known.digest != header.digest and header.authentic:
            self.hold(header.sender, proof_of([known, header]))

    def hold(self, peer: PeerId, proof: Proof) -> None:
        """Keep evidence against ``peer`` for my next message."""
        self.late.setdefault(peer, proof)

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
        self.past.append(self.current)
        self.asked, self.current = request, key_of_slot(request.slot)
        self.ready += request.work * self.timing.gradient
        for link in self.links.values():
            link.next_phase()
        self.waiting.clear()
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
        self.candidates = request.candidates
        self.roster, self.limits = request.roster, self.limits.grown(len(request.roster))
        place = Place(
            self.identity, self.run, request.slot, request.roster, request.tolerated, request.envelope.log_head
        )
        self.ballot = Ballot(place)
        return agreed_broadcast(self.ballot, request.envelope, self.timing, self.ready)

    def catch_up(self, now: float) -> None:
        """Take in what came early, and forget what is out of view."""
        for key in sorted(self.early):
            if key <= self.current:
                for arrival, cost in self.early.pop(key, ()):
                    self.links[self.payer(arrival)].early -= cost
                    if key == self.current and self.task is not None:
                        self.feed(now, arrival)
                    else:
                        self.look_back(arrival)
        self.flooding = {key: passed for key, passed in self.flooding.items() if self.recent(key)}
        self.witnessed = {key: signed for key, signed in self.witnessed.items() if self.recent(key)}
        for asker, key in [known for known in self.answered if not self.recent(known[1])]:
            del self.answered[asker, key]

    def feed(self, now: float, arrival: Arrival | None) -> None:
        """Run the network's part until it listens again."""
        if self.task is None:
            return
        try:
            effect = self.task.send(arrival)
            while isinstance(effect, Send):
                self.send(effect)
                effect = self.task.send(None)
            self.wake_at = effect.until
        except StopIteration as stop:
            self.complete(now, stop.value)
        except ProtocolError as error:
            self.error, self.task, self.wake_at = error, None, None

    def send(self, effect: Send) -> None:
        """Leave a frame in the outbox; whoever is asked owes an answer."""
        self.outbox.append((effect.to, effect.frame))
        if isinstance(effect.frame, Ask):
            for peer in self.roster if effect.to is None else (effect.to,):
                self.links[peer].owed += 1

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
                self.witnessed[self.current] = self.ballot.witnessed()
            self.passed.clear()
            self.ready = now  # requirement: NODE-1
            late, self.late = Notices(evidence=tuple(self.late.values())), {}
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


def author_of(frame: Envelope | Relay) -> PeerId:
    """Who signed the message or the echo in ``frame``."""
    return frame.echo.sender if isinstance(frame, Relay) else frame.sender


def key_of_slot(slot: Slot) -> Key:
    """The phase of ``slot``."""
    return slot.step, slot.attempt, slot.phase.rank
