"""Small swarms for tests: a task that needs no torch, a run from one seed, and peers that tamper with messages."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from btard.conformance.audit import Recomputation
from btard.network.coalition import Seating, World
from btard.network.simulator import Observed, Seat, Simulation
from btard.protocol.arithmetic import Float32
from btard.protocol.bans import Departure, Fault, Removal
from btard.protocol.channel import AgreedBroadcast, Delivery, Exchange, Gather, Request, Scatter
from btard.protocol.encoding import encode, tagged_hash
from btard.protocol.identity import Identity
from btard.protocol.log import Genesis, Record
from btard.protocol.messages import Envelope, Message, Notices, Phase, Slot, content_hash, seal
from btard.protocol.model import Configuration, PeerId
from btard.protocol.mprng import uint64
from btard.protocol.state import Conduct, State, initial_replica
from btard.protocol.update import Schedule, Sgd, describe
from btard.protocol.verification import profile_of
from btard_adversary.swarm import Toy

GRADIENT_CLIP = 50.0
AGREED = (Phase.COMMIT, Phase.AGGREGATE, Phase.REVEAL, Phase.REPORT)
"""The agreed phases of a training step, in order."""


def examples(count: int) -> int:
    """The number of examples of a property test: 25 times as many in `make thorough`."""
    return count * (25 if os.environ.get("BTARD_THOROUGH") else 1)


class TinyTask(Toy):
    """The harness's toy task, with noise of its own; it remembers the seeds of every evaluation."""

    noise_tag = "tests/noise"

    def __init__(self, dimension: int) -> None:
        super().__init__(dimension)
        self.seeds: list[bytes] = []
        """Of every evaluation so far."""

    def gradient(self, parameters: Float32, seed: bytes) -> Float32:
        """x − 1 plus noise, float32 ``[d]``."""
        self.seeds.append(seed)
        return super().gradient(parameters, seed)


def configuration(**changes: Any) -> Configuration:
    """A configuration that fits :class:`TinyTask`; ``changes`` are fields of ``Configuration``."""
    steps = changes.get("steps", 4)
    defaults: dict[str, Any] = {
        "peers": 6,
        "tolerated": 2,
        "dimension": 64,
        "steps": steps,
        "gradient_clip": GRADIENT_CLIP,
        "radius_initial": 8.0,
        "radius_min": 0.25,
        "radius_max": 50.0,
        "spread_ratio": 2.0,
        "validators": 2,
        "task": "tests: tiny",
        "optimizer": describe(Sgd(Schedule(0.25, max(steps, 1)), momentum=0.5)),
    }
    return Configuration(**{**defaults, **changes})


def identities(count: int, seed: int) -> list[Identity]:
    """Key pairs in ascending order of their ids."""
    made = [Identity(tagged_hash("tests/key", uint64(seed), uint64(index))) for index in range(count)]
    return sorted(made, key=lambda identity: identity.peer_id)


def genesis(config: Configuration, seed: int = 0) -> Genesis:
    """Record 0 of a run of :class:`TinyTask`."""
    roster = tuple(identity.peer_id for identity in identities(config.peers, seed))
    parameters = TinyTask(config.dimension).initial_parameters()
    return Genesis(config, roster, initial_replica(config, parameters).state_hash)


# -- Byzantine peers ------------------------------------------------------------------------------


Change = Callable[["Tamper", Any], Any]
"""Gets the tamperer and an honest request; returns what is asked for instead, or None to leave it."""


class Tamper:
    """An honest peer whose requests are altered on their way out, each phase once.

    ``changes``: what is altered, by phase. It begins in step ``start``, or later where the first change
    says None (a validator has no part to tamper with), and all changes happen in one step.
    """

    def __init__(self, changes: Mapping[Phase, Change], start: int = 1) -> None:
        self.changes, self.start = dict(changes), start
        self.first = next(iter(self.changes))
        self.step: int | None = None
        """The step in which it acts."""
        self.identity = Identity(bytes(32))
        self.received: Any = ()
        """The latest answer: after Scatter and Gather, what the others sent."""
        self.swarm: Swarm

    @property
    def acted(self) -> bool:
        """Whether it has altered everything that it wanted to."""
        return not self.changes

    def sit(self, identity: Identity, swarm: Swarm) -> None:
        """Learn whose seat it is."""
        self.identity, self.swarm = identity, swarm

    def drive(self, honest: Exchange[State]) -> Exchange[State]:
        """The altered generator."""
        answer: Any = None
        while True:
            try:
                request = honest.send(answer)
            except StopIteration as stop:
                final: State = stop.value
                return final
            answer = yield self.consider(request)
            if isinstance(request, (AgreedBroadcast, Scatter, Gather)):
                self.received = () if isinstance(request, AgreedBroadcast) else answer

    def consider(self, request: Request) -> Request:
        """Alter a request if it is time to."""
        if not isinstance(request, (AgreedBroadcast, Scatter, Gather)) or not self.wanted(request.slot):
            return request
        try:
            altered: Request | None = self.changes[request.slot.phase](self, request)
        except (LookupError, StopIteration):  # nothing is there to tamper with
            altered = None
        if altered is None:
            return request
        self.step = request.slot.step
        del self.changes[request.slot.phase]
        return altered

    def wanted(self, slot: Slot) -> bool:
        """Whether a request in ``slot`` is to be altered."""
        begun = slot.step == self.step if self.step is not None else slot.phase is self.first
        return begun and slot.step >= self.start and slot.phase in self.changes

    @property
    def index(self) -> int:
        """My place in the first roster."""
        return self.swarm.roster.index(self.identity.peer_id)

    @property
    def step_now(self) -> int:
        """The step that the swarm is in."""
        return self.swarm.simulation.seats[self.honest_peers[0]].state.step

    @property
    def honest_peers(self) -> list[PeerId]:
        """Honest peers still in the run, by id."""
        return [seat.id for seat in self.swarm.simulation.honest if not seat.finished]

    def reseal(self, envelope: Envelope, body: bytes | None = None, **changes: Any) -> Envelope:
        """``envelope`` with changes, signed again."""
        changed = replace(envelope, **changes)
        content = envelope.body if body is None else body
        return seal(self.identity, changed.run, changed.slot, changed.log_head, content)


def say(change: Callable[[Tamper, Any], Message | bytes | None]) -> Change:
    """A change of an agreed message's body: gets the tamperer and the honest message."""

    def alter(tamper: Tamper, request: AgreedBroadcast) -> AgreedBroadcast | None:
        assert request.envelope is not None
        said = change(tamper, request.envelope.message)
        if said is None:
            return None
        body = said if isinstance(said, bytes) else encode(said.to_item())
        return replace(request, envelope=tamper.reseal(request.envelope, body))

    return alter


def sign(change: Callable[[Tamper, Envelope], Envelope | None]) -> Change:
    """A change of a whole envelope, of an agreed message or an aggregate; None sends nothing."""

    def alter(tamper: Tamper, request: AgreedBroadcast | Gather) -> Request | None:
        if request.envelope is None:
            return None
        return replace(request, envelope=change(tamper, request.envelope))

    return alter


def scatter(change: Callable[[Tamper, list[Envelope | None]], None]) -> Change:
    """A change of the scattered parts: edits the list in place."""

    def alter(tamper: Tamper, request: Scatter) -> Scatter | None:
        if not request.envelopes:
            return None
        envelopes = list(request.envelopes)
        change(tamper, envelopes)
        return replace(request, envelopes=tuple(envelopes))

    return alter


# -- Runs -----------------------------------------------------------------------------------------

Behaviour = Tamper | Callable[[Seating], Conduct]
"""What a Byzantine peer does: tamper with honest messages, or follow another conduct."""


Told = Callable[["Swarm", Delivery], Notices]
"""What a channel that sees more than the ideal one adds to a delivery."""


class Disagreement(AssertionError):
    """Honest peers differ in something that the protocol makes them agree on."""


@dataclass
class Swarm:
    """One small simulated run. ``behaviours``: what the Byzantine peers do, by index in the first roster."""

    config: Configuration
    behaviours: Mapping[int, Behaviour] = field(default_factory=dict)
    seed: int = 0
    told: Mapping[tuple[int, Slot], Told] = field(default_factory=dict)
    """What the channel tells an honest peer alone, by its index and the slot of the agreed phase just ended."""
    records: dict[PeerId, list[Record]] = field(default_factory=dict)
    contents: dict[bytes, bytes] = field(default_factory=dict)
    observed: list[Observed] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.task = TinyTask(self.config.dimension)
        self.genesis = genesis(self.config, self.seed)
        self.peers = identities(self.config.peers, self.seed)
        self.roster = self.genesis.roster
        self.coalition = frozenset(self.roster[index] for index in self.behaviours)
        self.world = World(self.coalition, self.config.gradient_clip)
        self.simulation = self.assemble()

    def assemble(self) -> Simulation:
        """Seat everybody."""
        conducts = {
            self.roster[index]: Conduct() if isinstance(how, Tamper) else how(self.seating(self.roster[index]))
            for index, how in self.behaviours.items()
        }
        parameters = self.task.initial_parameters()
        simulation = Simulation(self.genesis, self.peers, parameters, self.task, self.world, conducts)
        simulation.record = lambda peer, record: self.records.setdefault(peer, []).append(record)
        simulation.keep = self.keep
        for index, how in self.behaviours.items():
            if isinstance(how, Tamper):
                seat = simulation.seats[self.roster[index]]
                how.sit(seat.identity, self)
                seat.generator = how.drive(seat.generator)
        for index in {index for index, _ in self.told}:
            seat = simulation.seats[self.roster[index]]
            seat.generator = self.hearing(index, seat.generator)
        return simulation

    def hearing(self, index: int, honest: Exchange[State]) -> Exchange[State]:
        """The generator of a peer whose channel tells it what ``told`` says."""
        answer: Any = None
        while True:
            try:
                request = honest.send(answer)
            except StopIteration as stop:
                final: State = stop.value
                return final
            answer = yield request
            if isinstance(request, AgreedBroadcast) and (index, request.slot) in self.told:
                answer = replace(answer, notices=self.told[index, request.slot](self, answer))

    def keep(self, peer: PeerId, content: bytes) -> None:
        """Keep an aggregate, as a run directory does."""
        self.contents[content_hash(profile_of(self.config).gather, content)] = content

    def seating(self, peer: PeerId) -> Seating:
        """An attacker's place."""
        return Seating(peer, self.world, self.task, seed=self.seed)

    def play(self) -> Iterator[Observed]:
        """Run, checking after every step that honest peers agree."""
        for observed in self.simulation.run():
            self.check_agreement()
            self.observed.append(observed)
            yield observed

    def run(self) -> Swarm:
        """Run to the end."""
        for _ in self.play():
            pass
        return self

    # -- What came out ------------------------------------------------------------------------

    @property
    def remaining(self) -> list[Seat]:
        """Honest peers that have not left."""
        return [seat for seat in self.simulation.honest if seat.id in seat.state.roster]

    @property
    def state(self) -> State:
        """The state of the honest peers that have not left."""
        return self.remaining[0].state

    @property
    def removals(self) -> tuple[Removal, ...]:
        """Everybody's departure, in order."""
        return self.state.removals

    def removal(self, index: int) -> Removal | None:
        """How the peer with this index left."""
        return next((removal for removal in self.removals if removal.peer == self.roster[index]), None)

    @property
    def log(self) -> bytes:
        """The log of the first honest peer that stayed."""
        return self.genesis.encode() + b"".join(record.encode() for record in self.log_records)

    @property
    def log_records(self) -> list[Record]:
        """Its records, from the first phase to the closing record."""
        return self.records[self.remaining[0].id]

    @property
    def faults(self) -> list[tuple[int, Fault]]:
        """Who left, by index in the first roster, and why, in order."""
        return [(self.roster.index(removal.peer), removal.fault) for removal in self.removals]

    def record_at(self, step: int, attempt: int, phase: Phase) -> Record:
        """The record of one agreed phase."""
        return next(record for record in self.log_records if record.slot == Slot(step, attempt, phase))

    def message(self, index: int, step: int, attempt: int, phase: Phase) -> Any:
        """What one peer said in an agreed phase."""
        entries = self.record_at(step, attempt, phase).entries
        return next(entry.message for entry in entries if entry and entry.sender == self.roster[index])

    def recomputation(self, **changes: Any) -> Recomputation:
        """What an auditor with the task has."""
        known = Recomputation(self.task.gradient, self.task.initial_parameters(), self.contents)
        return replace(known, **changes)

    def check_agreement(self) -> None:
        """All honest peers that are still in hold equal agreed states and equal logs."""
        holders = self.remaining
        if not holders:
            raise Disagreement("no honest peer is left")
        views = {agreed_view(seat.state) for seat in holders}
        if len(views) != 1:
            raise Disagreement(f"{len(views)} different agreed states")
        if len({tuple(record.encode() for record in self.records[seat.id]) for seat in holders}) != 1:
            raise Disagreement("different logs")

    def check_safety(self) -> None:
        """No framing, honest eliminated ≤ Byzantine eliminated, at most b retries, the majority kept."""
        state = self.state
        for removal in state.removals:
            if removal.peer not in self.coalition and removal.how is not Departure.ELIMINATED:
                raise Disagreement(f"an honest peer was {removal.how.value} for {removal.fault.text}")
        out = [removal.peer in self.coalition for removal in state.removals if removal.how is Departure.ELIMINATED]
        if 2 * sum(out) < len(out):
            raise Disagreement("more honest than Byzantine peers were eliminated")
        if state.retries > self.config.tolerated:
            raise Disagreement(f"{state.retries} retries with b = {self.config.tolerated}")
        if len({removal.peer for removal in state.removals}) != len(state.removals):
            raise Disagreement("someone left twice")
        applied = [past for observed in self.observed for past in observed.state.history]
        if any(len(past.workers) < 2 * past.tolerated + 1 for past in applied):
            raise Disagreement("the honest workers lost their majority")
        if len(state.roster) < 2 * state.tolerated + 1:
            raise Disagreement("the honest peers lost their majority")


def agreed_view(state: State) -> tuple[Any, ...]:
    """Everything that honest peers must hold in common."""
    replica = state.replica
    assert replica is not None
    return (
        state.roster,
        state.tolerated,
        state.step,
        state.randomness,
        state.head,
        state.records,
        state.removals,
        state.retries,
        tuple((bound.start, bound.stop) for bound in state.radii.bounds),
        state.radii.radii.tobytes(),
        state.radii.medians.tobytes(),
        replica.state_hash,
        replica.parameters.tobytes(),
        tuple((past.step, past.reports.tobytes(), past.settled, past.workers) for past in state.history),
    )


def swarm(behaviours: Mapping[int, Behaviour] | None = None, seed: int = 0, **changes: Any) -> Swarm:
    """A run that has not started; ``changes`` are fields of ``Configuration``."""
    return Swarm(configuration(**changes), behaviours or {}, seed)


def played(behaviours: Mapping[int, Behaviour] | None = None, seed: int = 0, **changes: Any) -> Swarm:
    """A finished run."""
    return swarm(behaviours, seed, **changes).run()


def left(swarm: Swarm, index: int, fault: Fault, how: Departure = Departure.CONVICTED) -> bool:
    """Whether the peer left for exactly this reason."""
    removal = swarm.removal(index)
    return removal is not None and removal.fault is fault and removal.how is how
