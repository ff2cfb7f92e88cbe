"""Runs whose logs are vectors, and what is made of them: small swarms on the task ``quadratic``, played once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from typing import Any, NamedTuple

import numpy as np

from btard.conformance.audit import Auditor, UnclosedLog, read_genesis
from btard.conformance.vectors.cases import Edit, File
from btard.conformance.vectors.forms import plain_slot
from btard.network.coalition import World
from btard.network.simulator import Seat, Simulation
from btard.network.virtual import NetworkSimulation
from btard.protocol.arithmetic import Float32, Float64
from btard.protocol.bans import Fault, Removal
from btard.protocol.broadcast import Frame
from btard.protocol.channel import Exchange
from btard.protocol.encoding import encode, tagged_hash
from btard.protocol.identity import Identity
from btard.protocol.log import Finding, Genesis, LogError, Record, Trial, Verdict
from btard.protocol.messages import Accusation, Echo, Envelope, Message, Phase, Slot, seal
from btard.protocol.model import MAJORITY_VOTE, REDUNDANT_CODE, Configuration, PeerId, ProtocolError, Roster
from btard.protocol.mprng import uint64
from btard.protocol.state import Attempt, Conduct, Peer, Plan, State, initial_replica
from btard.protocol.step import run
from btard.protocol.update import Schedule, Sgd, describe
from btard.protocol.verification import Transcript
from btard.training.analytic import Quadratic

# -- Who takes part, and in what ------------------------------------------------------------------


def keys(count: int, label: int = 0) -> list[Identity]:
    """Key pairs in ascending order of their ids."""
    made = [Identity(tagged_hash("btard/vectors/key", uint64(label), uint64(index))) for index in range(count)]
    return sorted(made, key=lambda identity: identity.peer_id)


STRANGER = keys(1, label=99)[0]
"""A key that never has a seat."""
NEWCOMERS = keys(4, label=98)
"""Keys that want one."""
MU, SMOOTHNESS, NOISE = 0.1, 1.0, 1.0
"""Constants of the task."""


def task_of(dimension: int) -> Quadratic:
    """The task of every recorded run."""
    return Quadratic(dimension, MU, SMOOTHNESS, NOISE)


def configuration(**changes: Any) -> Configuration:
    """A configuration for a small run; ``changes`` are fields of ``Configuration``."""
    steps = changes.get("steps", 3)
    dimension = changes.get("dimension", 8)
    defaults: dict[str, Any] = {
        "peers": 5,
        "tolerated": 1,
        "dimension": dimension,
        "steps": steps,
        "gradient_clip": 8.0,
        "radius_initial": 4.0,
        "radius_min": 0.125,
        "radius_max": 16.0,
        "spread_ratio": 2.0,
        "validators": 1,
        "task": task_of(dimension).description,
        "optimizer": describe(Sgd(Schedule(0.25, steps), momentum=0.5)),
    }
    return Configuration(**{**defaults, **changes})


def genesis_of(config: Configuration) -> Genesis:
    """Record 0 of a run of the task by the first keys."""
    roster = tuple(identity.peer_id for identity in keys(config.peers))
    parameters = task_of(config.dimension).initial_parameters()
    return Genesis(config, roster, initial_replica(config, parameters).state_hash)


# -- Faulty peers: honest ones with one method replaced -----------------------------------------------


class Liar(Conduct):
    """A faulty peer. ``step``: in which it lies; ``identity``: its own keys."""

    def __init__(self, step: int, identity: Identity) -> None:
        self.step, self.identity = step, identity

    def now(self, state: State) -> bool:
        """Whether it is time to lie: in the first attempt of its step."""
        return (state.step, state.attempt) == (self.step, 0)

    def speaks(self, envelope: Envelope, phase: Phase) -> bool:
        """Whether ``envelope`` is its own message, echo or part in that phase of its step."""
        mine = envelope.sender == self.identity.peer_id
        return mine and envelope.slot[:3] == (self.step, 0, phase)


class Silent(Liar):
    """Says nothing from the Commit of its step on."""

    def say(self, state: State, slot: Slot, honest: Message) -> Message:
        """Nothing: a faulty peer that trips over itself is silent."""
        if self.now(state):
            raise ProtocolError("this peer has stopped")
        return honest


class WrongGradient(Liar):
    """Commits and scatters the negated gradient."""

    def gradient(self, state: State, honest: Float32) -> Float32:
        """The other way."""
        return -honest if self.now(state) else honest


class HalvedReport(Liar):
    """Reports half of every inner product."""

    def report(self, state: State, transcript: Transcript, honest: Float64) -> Float64:
        """Right norms, wrong products."""
        return honest * np.array([[0.5], [1.0]]) if self.now(state) else honest


class ShiftedAggregate(Liar):
    """Announces its part moved by a few clipping radii."""

    def aggregate(self, state: State, attempt: Attempt, inputs: Float32, honest: Float32) -> Float32:
        """Moved in every entry."""
        return honest + np.float32(8.0) if self.now(state) else honest


class ImpossibleAggregate(Liar):
    """Announces a part that is not a number."""

    def aggregate(self, state: State, attempt: Attempt, inputs: Float32, honest: Float32) -> Float32:
        """NaN everywhere."""
        return np.full_like(honest, np.nan) if self.now(state) else honest


class FalseAccuser(Liar):
    """Accuses the first other worker of the step before, who told no lie."""

    def accusations(self, state: State, plan: Plan, honest: tuple[Accusation, ...]) -> tuple[Accusation, ...]:
        """One more than it has found."""
        past = state.transcript(state.step - 1)
        if past is None or not self.now(state):
            return honest
        victim = next(peer for peer in past.workers if peer != self.identity.peer_id)
        return tuple(sorted({*honest, Accusation(victim, past.step)}))


class WithheldPart(Liar):
    """Sends no part to one aggregator. Needs links."""

    def post(self, recipient: PeerId, honest: Frame) -> Iterable[Frame]:
        """Nothing for the first peer of the run."""
        part = isinstance(honest, Envelope) and self.speaks(honest, Phase.SCATTER)
        return () if part and recipient == keys(1)[0].peer_id else (honest,)


class WithheldParts(Liar):
    """Sends no part to anybody. Needs links."""

    def post(self, recipient: PeerId, honest: Frame) -> Iterable[Frame]:
        """No parts."""
        return () if isinstance(honest, Envelope) and self.speaks(honest, Phase.SCATTER) else (honest,)


class Equivocator(Liar):
    """Signs another Commit for the first peer of the run. Needs links."""

    def post(self, recipient: PeerId, honest: Frame) -> Iterable[Frame]:
        """The honest Commit for all others."""
        mine = isinstance(honest, Envelope) and self.speaks(honest, Phase.COMMIT) and honest.slot.part == 0
        if not mine or recipient != keys(5)[0].peer_id:
            return (honest,)
        return (resealed(self.identity, honest, encode([])),)  # type: ignore[arg-type]


def resealed(identity: Identity, envelope: Envelope, body: bytes | None = None, **changes: Any) -> Envelope:
    """``envelope`` with another body or other fields, signed by ``identity``."""
    other = replace(envelope, **changes)
    return seal(identity, other.run, other.slot, other.log_head, envelope.body if body is None else body)


# -- Runs --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Recorded:
    """A finished run, as an honest peer has it on its disk."""

    name: str
    genesis: Genesis
    records: tuple[Record, ...]
    contents: tuple[bytes, ...]
    """The aggregates that it gathered."""

    @cached_property
    def log(self) -> bytes:
        """The file of its log."""
        return self.genesis.encode() + b"".join(record.encode() for record in self.records)

    @property
    def file(self) -> File:
        """The log as a vector's input."""
        return File(f"logs/{self.name}.cborseq", self.log)

    @property
    def aggregates(self) -> File:
        """The file beside the log."""
        return File(f"logs/{self.name}.aggregates.cborseq", b"".join(map(encode, self.contents)))

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        """Where every record begins, and where the last one ends."""
        lengths = [len(self.genesis.encode()), *(len(record.encode()) for record in self.records)]
        return (0, *np.cumsum(lengths).tolist())

    @cached_property
    def heads(self) -> tuple[bytes, ...]:
        """The log head after every record."""
        heads = [self.genesis.run]
        for record in self.records:
            heads.append(record.head_after(heads[-1]))
        return tuple(heads)

    def index(self, step: int, phase: Phase, attempt: int = 0) -> int:
        """The index of a phase's record in the log."""
        return next(r.index for r in self.records if r.slot == Slot(step, attempt, phase))

    def record(self, step: int, phase: Phase, attempt: int = 0) -> Record:
        """A phase's record."""
        return self.records[self.index(step, phase, attempt) - 1]

    def until(self, index: int) -> File:
        """The log that ends before record ``index``."""
        return self.file.with_edits(Edit(self.offsets[index], self.offsets[-1] - self.offsets[index]))


def convict(trial: Trial, transcript: Transcript, residual_ratio: float) -> Exchange[Verdict]:
    """A judge that recomputes nothing and finds every accused guilty."""
    return Verdict(trial, (Finding(trial.accused, Fault.WRONG_HASH),))
    yield  # a judge is a generator


class Prejudiced(Simulation):
    """A swarm in which all peers judge like that: their log is whole, and wrong."""

    def begin(self, identity: Identity, conduct: Conduct | None, state: State) -> Seat:
        """Start a peer with that judge."""
        seat = super().begin(identity, conduct, state)
        seat.generator = run(Peer(identity, seat.conduct, convict), state)
        return seat


@dataclass
class Recipe:
    """How a run goes: who lies, who leaves, who comes."""

    config: Configuration
    liars: Mapping[int, tuple[type[Liar], int]] = field(default_factory=dict)
    """By index in the first roster: what it does, and in which step."""
    leaves: Mapping[int, int] = field(default_factory=dict)
    """Who leaves in good order, and after which step."""
    comes: Mapping[int, Sequence[Identity]] = field(default_factory=dict)
    """Who begins to follow the run at which boundary."""
    swarm: type[Simulation] = Simulation
    """On the ideal channel, or on links."""


def play(name: str, recipe: Recipe) -> Recorded:
    """Play a run and keep what its first honest peer that stays has written."""
    config, genesis, task = recipe.config, genesis_of(recipe.config), task_of(recipe.config.dimension)
    identities = keys(config.peers)
    conducts: dict[PeerId, Conduct] = {
        identities[index].peer_id: kind(step, identities[index]) for index, (kind, step) in recipe.liars.items()
    }
    records: dict[PeerId, list[Record]] = {}
    contents: dict[PeerId, dict[bytes, None]] = {}
    world = World(frozenset(conducts), config.gradient_clip)
    simulation = recipe.swarm(genesis, identities, task.initial_parameters(), task, world, conducts)
    simulation.record = lambda peer, record: records.setdefault(peer, []).append(record)
    simulation.keep = lambda peer, content: contents.setdefault(peer, {}).setdefault(content)
    for index, step in recipe.leaves.items():
        simulation.retire([identities[index].peer_id], step)
    for observed in simulation.run():
        for newcomer in recipe.comes.get(observed.state.step, ()):
            simulation.welcome(newcomer)
    owner = next(seat for seat in simulation.honest if seat.id in seat.state.roster and seat.id in genesis.roster).id
    return Recorded(name, genesis, tuple(records[owner]), tuple(contents[owner]))


RECIPES: dict[str, Callable[[], Recipe]] = {
    "quiet": lambda: Recipe(configuration(peers=7, tolerated=2, validators=2)),
    "pair": lambda: Recipe(configuration(steps=2), {4: (WithheldPart, 1)}, swarm=NetworkSimulation),
    "missed": lambda: Recipe(configuration(steps=2), {4: (WithheldParts, 1)}, swarm=NetworkSimulation),
    "equivocation": lambda: Recipe(configuration(steps=2), {3: (Equivocator, 1)}, swarm=NetworkSimulation),
    "silence": lambda: Recipe(configuration(steps=2), {2: (Silent, 1)}),
    "false-accuser": lambda: Recipe(configuration(steps=2), {1: (FalseAccuser, 1)}),
    "wrong-gradient": lambda: Recipe(configuration(steps=3), {3: (WrongGradient, 0)}),
    "wrong-report": lambda: Recipe(configuration(steps=2), {1: (HalvedReport, 0)}),
    "shifted-aggregate": lambda: Recipe(configuration(steps=2), {2: (ShiftedAggregate, 1)}),
    "impossible-aggregate": lambda: Recipe(configuration(steps=1), {2: (ImpossibleAggregate, 0)}),
    "membership": lambda: Recipe(
        configuration(peers=7, validators=4, steps=8, dimension=9),
        leaves={3: 2}, comes={1: NEWCOMERS[:2]},
    ),
    "return": lambda: Recipe(
        configuration(peers=6, validators=3, steps=7), {5: (Silent, 0)}, comes={1: keys(6)[5:]},
    ),
    "prejudice": lambda: Recipe(configuration(steps=2), {1: (FalseAccuser, 1)}, swarm=Prejudiced),
    "majority-vote": lambda: Recipe(configuration(profile=MAJORITY_VOTE, steps=3)),
    "redundant-code": lambda: Recipe(
        configuration(profile=REDUNDANT_CODE, peers=6, liars=1, steps=3), {1: (WrongGradient, 1)},
    ),
    "tolerance": lambda: Recipe(configuration(tolerance=2.0**-10, steps=3), {4: (WrongGradient, 0)}),
    "retry": lambda: Recipe(configuration(peers=7, tolerated=2, validators=2), {5: (Silent, 2)}),
}  # fmt: skip
"""The recorded runs by name."""


@cache
def recorded(name: str) -> Recorded:
    """A run, played once."""
    return play(name, RECIPES[name]())


# -- Following a log -----------------------------------------------------------------------------------


class Asked(NamedTuple):
    """A state between two phases, and the slot of the phase that follows."""

    state: State
    slot: Slot


class Watching(Conduct):
    """Notes the states in which something is said."""

    def __init__(self) -> None:
        self.seen: list[Asked] = []

    def say(self, state: State, slot: Slot, honest: Message) -> Message:
        """Look, and say nothing else."""
        self.seen.append(Asked(state, slot))
        return honest


class Follower(Auditor):
    """An auditor of a log that goes on: it has no closing record yet."""

    def follow(self) -> list[Asked]:
        """The states before every agreed phase, the one that is still to come included. Raises :class:`LogError` for a
        record that cannot be true, and for a log that is closed."""
        watching = Watching()
        generator, answer = run(Peer(None, watching, self.recorded), self.state), None
        try:
            while True:
                answer = self.serve(generator.send(answer))
        except UnclosedLog:
            return watching.seen
        except StopIteration as stop:
            raise LogError(self.position, "the log is closed") from stop
        except LogError:
            raise
        except ProtocolError as error:
            raise LogError(self.position, str(error)) from error


def follow(log: bytes) -> list[Asked]:
    """The states before every agreed phase of a log without closing record, and the state after its last record."""
    return Follower(read_genesis(log), log, None).follow()


def plain_removal(removal: Removal) -> list[Any]:
    """Who left how, for what, where, and with whom."""
    partner = removal.partner.hex() if removal.partner else None
    return [removal.peer.hex(), removal.how.value, int(removal.fault), plain_slot(removal.slot), partner]


REMOVAL = (
    "`[peer, how, fault, slot, partner]`: how is `convicted`, `absent`, `eliminated`, `left` or `refused`; fault is "
    "a code; slot is that of the agreed phase, with part 0 (of what a vote decides: of the Commit or Report before "
    "it; of who left in good order: of the Commit that said so); partner is the other one of an eliminated pair, "
    "else null"
)
"""How operations describe a removal."""


# -- Making another record -------------------------------------------------------------------------------


@dataclass
class Draft:
    """A record of a log, and what it shall be instead; nothing follows it."""

    origin: Recorded
    index: int
    entries: list[Envelope | bytes | None] = field(init=False)
    """Bytes stand for an encoded entry that no encoder writes."""
    verdicts: list[Verdict] = field(init=False)

    def __post_init__(self) -> None:
        record = self.origin.records[self.index - 1]
        self.entries, self.verdicts = list(record.entries), list(record.verdicts)

    @property
    def record(self) -> Record:
        """As it was."""
        return self.origin.records[self.index - 1]

    @property
    def roster(self) -> Roster:
        """Who has an entry, by the record as it was."""
        return tuple(entry.sender if entry else b"" for entry in self.record.entries)

    def silence(self, *places: int) -> Draft:
        """Take messages out."""
        for place in places:
            self.entries[place] = None
        return self

    def say(self, place: int, **changes: Any) -> Draft:
        """Let a peer say something else: ``changes`` are fields of its message."""
        return self.put(place, encode(replace(self.message(place), **changes).to_item()))

    def note(self, place: int, **changes: Any) -> Draft:
        """Let a peer add notices: ``complaints`` by place, ``evidence``, ``echoes``."""
        if "complaints" in changes:
            changes["complaints"] = tuple(sorted(self.roster[accused] for accused in changes["complaints"]))
        return self.say(place, notices=self.message(place).notices._replace(**changes))

    def put(self, place: int, body: bytes | None = None, **changes: Any) -> Draft:
        """Let a peer sign another body, or other fields of the envelope."""
        envelope = self.entries[place]
        if isinstance(envelope, Envelope):
            self.entries[place] = resealed(owner(envelope.sender), envelope, body, **changes)
        return self

    def judged(self, trial: Trial, *findings: Finding) -> Draft:
        """Add a verdict."""
        self.verdicts.append(Verdict(trial, findings))
        return self

    def message(self, place: int) -> Any:
        """What a peer says."""
        envelope = self.entries[place]
        return envelope.message if isinstance(envelope, Envelope) else None

    @property
    def places(self) -> list[int]:
        """Where the entries begin in the file of the log, and at last, where the verdicts do."""
        sizes = [len(encoded(entry)) for entry in self.record.entries]
        end = self.origin.offsets[self.index + 1] - len(verdicts_of(self.record.verdicts))
        return [end - sum(sizes[place:]) for place in range(len(sizes) + 1)]

    def edits(self) -> tuple[Edit, ...]:
        """What this changes in the file of the log."""
        pairs = zip(self.places, self.record.entries, self.entries, strict=False)
        edits = [trimmed(at, encoded(old), encoded(new)) for at, old, new in pairs]
        end = self.places[-1]
        edits.append(Edit(end, len(self.origin.log) - end, verdicts_of(self.verdicts)))
        return tuple(edit for edit in edits if edit.remove or edit.insert)

    @property
    def file(self) -> File:
        """The log with this record as the last one."""
        return self.origin.file.with_edits(*self.edits())


def draft(name: str, step: int, phase: Phase, attempt: int = 0) -> Draft:
    """A phase's record of a recorded run, to be changed."""
    origin = recorded(name)
    return Draft(origin, origin.index(step, phase, attempt))


def encoded(entry: Envelope | bytes | None) -> bytes:
    """An entry as it lies in the file."""
    return entry if isinstance(entry, bytes) else encode(None if entry is None else entry.to_item())


def verdicts_of(verdicts: Iterable[Verdict]) -> bytes:
    """A record's verdicts as they lie in the file."""
    return encode([verdict.to_item() for verdict in verdicts])


def trimmed(at: int, old: bytes, new: bytes) -> Edit:
    """The edit that makes ``new`` of ``old``, without what is alike at both ends."""
    same = next((k for k, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
    left, right = old[same:], new[same:]
    pairs = zip(reversed(left), reversed(right), strict=False)
    tail = next((k for k, (a, b) in enumerate(pairs) if a != b), min(len(left), len(right)))
    return Edit(at + same, len(left) - tail, right[: len(right) - tail])


@cache
def owner(peer: PeerId) -> Identity:
    """The keys of a peer of the vectors."""
    return next(identity for identity in (*keys(9), *NEWCOMERS, STRANGER) if identity.peer_id == peer)


def rewritten(origin: Recorded, index: int, data: bytes) -> File:
    """The whole log with other bytes in the place of one record."""
    start, end = origin.offsets[index : index + 2]
    return origin.file.with_edits(trimmed(start, origin.log[start:end], data))


def versions(identity: Identity, state_run: bytes, slot: Slot, head: bytes) -> tuple[Any, ...]:
    """Two versions of one message, as evidence."""
    made = [seal(identity, state_run, slot, head, encode([number])).signed_header for number in (1, 2)]
    return tuple(sorted(made, key=lambda header: header.digest))


def echo_of(identity: Identity, run_id: bytes, slot: Slot, head: bytes, vector: Iterable[bytes | None]) -> Envelope:
    """A signed echo of an agreed phase."""
    return seal(identity, run_id, slot.echo, head, encode(Echo(tuple(vector)).to_item()))
