"""The simulator: a whole swarm in one process, deterministic to the byte.

It drives one protocol generator per peer and carries their requests: point-to-point messages
arrive, and an *ideal* agreed channel gives everyone the same vector of messages. Byzantine peers are
rushing and see everything: in every phase they move after the honest ones and may read what those
are about to send (:class:`~btard.network.coalition.World`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from btard.network.coalition import World
from btard.protocol.arithmetic import Float32
from btard.protocol.channel import (
    AgreedBroadcast,
    AppendRecord,
    ComputeGradient,
    Delivery,
    Exchange,
    FetchContent,
    Gather,
    Request,
    Scatter,
    StepApplied,
)
from btard.protocol.identity import Identity
from btard.protocol.log import Genesis, Record
from btard.protocol.messages import MAX_AGREED_BODY, Envelope, Slot, belongs, body_hash
from btard.protocol.model import PeerId, ProtocolError, Roster, ToleranceExceeded
from btard.protocol.step import Conduct, Expelled, Peer, State, initial_state, run


class AgreementBroken(ProtocolError):
    """Two honest peers hold different agreed states: the reference itself is wrong."""


class Oracle(Protocol):
    """What evaluates gradients; a task is one."""

    def gradient(self, parameters: Float32, seed: bytes) -> Float32:
        """``gradient(parameters, seed)``, float32 ``[d]``."""


class Witnessed(Conduct):
    """An honest peer whose gradient the coalition sees."""

    def __init__(self, peer: PeerId, world: World) -> None:
        self.peer, self.world = peer, world

    def gradient(self, state: State, honest: Float32) -> Float32:
        """The honest gradient."""
        honest.setflags(write=False)  # seen, not touched
        self.world.gradients[self.peer] = honest
        return honest


class StepOracle:
    """Evaluates each distinct gradient of a step once, however many simulated peers ask for it.

    Remembers nothing across steps, so an audit two steps later is a recomputation.
    """

    def __init__(self, oracle: Oracle) -> None:
        self.oracle = oracle
        self.known: dict[tuple[bytes, bytes], Float32] = {}

    def answer(self, request: ComputeGradient, trusted: bool) -> Float32:
        """The gradient asked for, float32 ``[d]``; read-only, since peers share it.

        Only a ``trusted`` peer's state hash is taken as the name of its parameters.
        """
        key = (request.state_hash, request.seed)
        if trusted and key in self.known:
            return self.known[key]
        gradient = np.array(self.oracle.gradient(request.parameters, request.seed), dtype=np.float32)
        gradient.setflags(write=False)
        if trusted:
            self.known[key] = gradient
        return gradient

    def next_step(self) -> None:
        """Forget the step that has ended."""
        self.known.clear()


@dataclass
class Seat:
    """One simulated peer: its generator and what the simulator knows about it."""

    identity: Identity
    byzantine: bool
    generator: Exchange[State]
    state: State
    answer: Any = None
    request: Request | None = None
    bytes_sent: int = 0
    finished: bool = False

    @property
    def id(self) -> PeerId:
        """The peer id."""
        return self.identity.peer_id


@dataclass(frozen=True)
class Observed:
    """What the simulator reports after a step: the agreed state, as the honest peers hold it."""

    state: State
    bytes_sent: int
    """By all peers since the run began; the ideal channel counts one copy per recipient."""


@dataclass
class Simulation:
    """A swarm. ``conducts`` names the Byzantine peers and what they do; everyone else is honest."""

    genesis: Genesis
    identities: list[Identity]
    parameters: Float32
    oracle: Oracle
    world: World
    conducts: Mapping[PeerId, Conduct] = field(default_factory=dict)
    record: Callable[[PeerId, Record], None] = lambda peer, record: None
    """Called with every record that an honest peer appends to its log."""
    keep: Callable[[PeerId, bytes], None] = lambda peer, content: None
    """Called with every aggregate that an honest peer gathers."""

    def __post_init__(self) -> None:
        by_id = sorted(self.identities, key=lambda identity: identity.peer_id)
        self.seats = {identity.peer_id: self.seat(identity) for identity in by_id}
        self.gradients = StepOracle(self.oracle)
        self.contents: dict[bytes, bytes] = {}

    def seat(self, identity: Identity) -> Seat:
        """Start one peer's generator."""
        conduct = self.conducts.get(identity.peer_id)
        state = initial_state(self.genesis, self.parameters)
        chosen = conduct or Witnessed(identity.peer_id, self.world)
        generator = run(Peer(identity, chosen), state)
        return Seat(identity, conduct is not None, generator, state)

    @property
    def live(self) -> list[Seat]:
        """Peers still in the run, in roster order."""
        return [seat for seat in self.seats.values() if not seat.finished]

    @property
    def honest(self) -> list[Seat]:
        """Honest peers, those that have left included."""
        return [seat for seat in self.seats.values() if not seat.byzantine]

    def run(self) -> Iterator[Observed]:
        """Play the run to its end; yields after every applied step, and once after the closing record."""
        step = 0
        while self.live:
            self.advance_all()
            self.exchange()
            applied = min((seat.state.step for seat in self.honest if not seat.finished), default=step)
            if applied > step:
                step = applied
                yield self.observe()
        yield self.observe()

    def observe(self) -> Observed:
        """Check agreement among the honest peers still in the run, and report their state."""
        seated = [seat for seat in self.honest if seat.id in seat.state.roster]
        if not seated:
            raise ToleranceExceeded("no honest peer is left in the run")
        first = seated[0].state
        for seat in seated:
            if agreed(seat.state) != agreed(first):
                raise AgreementBroken(f"peer {seat.id.hex()[:8]} disagrees at step {first.step}")
        return Observed(first, sum(seat.bytes_sent for seat in self.seats.values()))

    # -- Peers ----------------------------------------------------------------------------------

    def advance_all(self) -> None:
        """Let every peer run to its next exchange, the honest ones first."""
        self.world.requests.clear()
        for seat in sorted(self.live, key=lambda seat: seat.byzantine):
            seat.request = self.advance(seat)
            if seat.request is not None and not seat.byzantine:
                self.world.requests[seat.id] = seat.request

    def advance(self, seat: Seat) -> Request | None:
        """Run one peer to its next exchange; None if its run has ended."""
        try:
            request = seat.generator.send(seat.answer)
            while not isinstance(request, (AgreedBroadcast, Scatter, Gather)):
                request = seat.generator.send(self.serve(seat, request))
            return request
        except StopIteration as stop:
            seat.state = stop.value
        except Expelled as expelled:
            seat.state = expelled.state
        except ProtocolError:
            if not seat.byzantine:  # a Byzantine peer that trips over its own lies falls silent
                raise
        seat.finished = True
        return None

    def serve(self, seat: Seat, request: Request) -> Any:
        """Answer a request that needs no other peer."""
        match request:
            case ComputeGradient():
                return self.gradients.answer(request, trusted=not seat.byzantine)
            case FetchContent():
                return self.contents.get(request.content_hash, b"")
            case AppendRecord():
                if not seat.byzantine:
                    self.record(seat.id, request.record)
            case StepApplied():
                if not seat.byzantine and request.state.step > max(other.state.step for other in self.honest):
                    self.gradients.next_step()
                    self.world.gradients.clear()
                seat.state = request.state
        return None

    @property
    def asked(self) -> Request:
        """What the honest peers ask for; all ask for the same."""
        requests = {(type(seat.request), place(seat.request)) for seat in self.live if not seat.byzantine}
        if not requests:
            raise ToleranceExceeded("no honest peer is left in the run")
        if len(requests) != 1:
            raise AgreementBroken("honest peers are in different phases")
        return next(seat.request for seat in self.live if not seat.byzantine and seat.request)

    # -- Exchanges --------------------------------------------------------------------------------

    def exchange(self) -> None:
        """Carry one exchange of all live peers."""
        if not self.live:
            return
        match self.asked:
            case AgreedBroadcast(slot, roster):
                self.broadcast(slot, roster)
            case Scatter(slot, workers):
                self.scatter(slot, workers)
            case Gather(slot, workers, _, announced):
                self.gather(slot, workers, announced)

    def deliver(
        self, envelope: Envelope | None, slot: Slot, sender: PeerId, copies: int, announced: bytes | None = None
    ) -> Envelope | None:
        """Send ``envelope`` over the wire: bytes out, bytes in, and nothing that does not belong."""
        if envelope is None:
            return None  # requirement: CHAN-4
        limit = MAX_AGREED_BODY if slot.phase.agreed else 4 * self.genesis.configuration.dimension
        try:
            data = envelope.encode()
            self.seats[sender].bytes_sent += copies * len(data)
            received = Envelope.decode(data, limit)
        except ProtocolError:  # oversized or unreadable: as if it had not been sent
            return None
        fits = belongs(received, self.genesis.run, slot, sender, announced)
        return received if fits else None  # requirement: CHAN-3

    def broadcast(self, slot: Slot, roster: Roster) -> None:
        """The ideal agreed channel: one vector for everyone."""
        envelopes = {seat.id: shown(seat) for seat in self.live}
        vector = tuple(  # requirement: CHAN-2
            self.deliver(envelopes.get(peer), slot, peer, len(roster) - 1) for peer in roster
        )
        for seat in self.live:
            seat.answer = Delivery(vector)  # requirement: CHAN-1

    def scatter(self, slot: Slot, workers: Roster) -> None:
        """Every worker's part j goes to worker j."""
        sent = {seat.id: envelopes for seat in self.live if len(envelopes := scattered(seat)) == len(workers)}
        for seat in self.live:
            seat.answer = ()
        for part, recipient in enumerate(workers):
            seat, here = self.seats[recipient], slot._replace(part=part)
            announced = seat.request.announced if isinstance(seat.request, Scatter) else ()
            seat.answer = tuple(
                self.deliver(sent[sender][part], here, sender, 1, expected) if sender in sent else None
                for sender, expected in zip(workers, announced, strict=True)
            )

    def gather(self, slot: Slot, workers: Roster, announced: tuple[bytes, ...]) -> None:
        """Every worker's aggregate goes to everyone; its bytes stay available by hash."""
        envelopes = {seat.id: shown(seat) for seat in self.live}
        received = tuple(
            self.deliver(envelopes.get(peer), slot._replace(part=part), peer, len(self.live) - 1, expected)
            for part, (peer, expected) in enumerate(zip(workers, announced, strict=True))
        )
        self.contents = {body_hash(entry.body): entry.body for entry in received if entry is not None}
        for seat in self.live:
            seat.answer = received
        for seat in self.honest:
            for content in self.contents.values() if not seat.finished else ():
                self.keep(seat.id, content)


def agreed(state: State) -> tuple[object, ...]:
    """What all honest peers must hold alike at a step boundary (PROP-1)."""
    model = state.replica.state_hash if state.replica else None
    return state.head, state.roster, state.tolerated, state.randomness, state.removals, model


def place(request: Request | None) -> tuple[int, int, int]:
    """The phase that a request belongs to."""
    if not isinstance(request, (AgreedBroadcast, Scatter, Gather)):
        raise AgreementBroken("a peer waits for no exchange")
    return request.slot[:3]


def shown(seat: Seat) -> Envelope | None:
    """What a peer broadcasts, or shows to all."""
    request = seat.request
    return request.envelope if isinstance(request, (AgreedBroadcast, Gather)) else None


def scattered(seat: Seat) -> tuple[Envelope | None, ...]:
    """What a peer scatters, by recipient."""
    return seat.request.envelopes if isinstance(seat.request, Scatter) else ()
