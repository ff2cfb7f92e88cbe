"""A swarm that plays a script step by step, and checks every property after each step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import lru_cache
from random import Random
from typing import Any

import numpy as np
from btard.network.coalition import Recruiter, Seating, World
from btard.network.links import FaultyLinks, Links
from btard.network.simulator import AgreementBroken, Observed, Seat, Simulation
from btard.network.virtual import NetworkSimulation
from btard.protocol.arithmetic import Float32
from btard.protocol.encoding import expand, tagged_hash
from btard.protocol.identity import Identity
from btard.protocol.log import Genesis, Record
from btard.protocol.messages import body_hash
from btard.protocol.model import Configuration, PeerId, ProtocolError
from btard.protocol.mprng import uint64
from btard.protocol.state import Conduct, State, initial_replica
from btard.protocol.update import Schedule as Rate
from btard.protocol.update import Sgd, describe

from btard_adversary.actions import Player, conduct_of
from btard_adversary.deeds import Recorder
from btard_adversary.script import ALL, Action, Scene, Schedule, Script

MAX_EVENTS = 60_000
"""Events of one step beyond which it is taken not to end: sixteen peers and b = 7 take a tenth of it."""
DELAY, GRADIENT_TIME = 1.0, 10.0
"""Δ and G of a scripted swarm, in seconds of virtual time."""


class Violation(AssertionError):
    """A property does not hold. ``property``: its id; ``side``: safety, no framing, liveness or accountability."""

    def __init__(self, identifier: str, side: str, sentence: str) -> None:
        super().__init__(f"{side} ({identifier}): {sentence}")
        self.property, self.side, self.sentence = identifier, side, sentence


class Toy:
    """f(x) = ½‖x − 1‖² with noise that a seed fixes: float32 arithmetic that is the same everywhere."""

    name = "toy"
    noise_tag = "btard/adversary/noise"

    def __init__(self, dimension: int) -> None:
        self.dimension = dimension

    def initial_parameters(self) -> Float32:
        """Zeros, float32 ``[d]``."""
        return np.zeros(self.dimension, dtype=np.float32)

    def gradient(self, parameters: Float32, seed: bytes) -> Float32:
        """x − 1 plus uniform noise below 2⁻⁴ in each coordinate, float32 ``[d]``."""
        noise = np.frombuffer(expand(self.noise_tag, seed, length=2 * self.dimension), dtype="<i2")
        return (parameters - np.float32(1) + noise.astype(np.float32) * np.float32(2.0**-19)).astype(np.float32)

    def poisoned_gradient(self, parameters: Float32, seed: bytes) -> Float32:
        """Uphill."""
        return -self.gradient(parameters, seed)


def configuration(scene: Scene) -> Configuration:
    """The configuration of a scene; raises :class:`~btard.protocol.model.ConfigurationError`."""
    return Configuration(
        peers=scene.peers,
        tolerated=scene.tolerated,
        dimension=max(scene.dimension, scene.peers + 1),
        steps=scene.steps,
        gradient_clip=50.0,
        radius_initial=8.0,
        radius_min=0.5,
        radius_max=50.0,
        spread_ratio=2.0,
        validators=scene.validators,
        task="toy",
        optimizer=describe(Sgd(Rate(0.25, scene.steps), momentum=0.5)),
        delay=DELAY,
        gradient_time=GRADIENT_TIME,
    )


@lru_cache(maxsize=1024)
def key(seed: int, index: int) -> Identity:
    """A key pair of a scripted swarm."""
    return Identity(tagged_hash("btard/adversary/key", uint64(seed), uint64(index)))


class Scheduled(Links):
    """Links that take what the scene's schedule says, never more than Δ."""

    def __init__(self, schedule: Schedule, peers: tuple[PeerId, ...]) -> None:
        super().__init__(0.1 * DELAY)
        self.schedule, self.peers = schedule, peers
        self.random = Random(schedule.seed)

    def arrivals(self, now: float, sender: PeerId, receiver: PeerId) -> tuple[float, ...]:
        """When the one copy arrives."""
        return (now + DELAY * self.share(sender, receiver),)

    def share(self, sender: PeerId, receiver: PeerId) -> float:
        """The part of Δ that a frame takes."""
        match self.schedule.kind:
            case "late":
                return 1.0
            case "random":
                return 1.0 - self.random.random()
            case "apart":
                far = self.peers[self.schedule.peer % len(self.peers)]
                return 1.0 if far in (sender, receiver) else 0.001
        return 0.1


def links_of(schedule: Schedule, peers: tuple[PeerId, ...]) -> Links:
    """The links of a scene."""
    if schedule.kind != "lossy":
        return Scheduled(schedule, peers)
    return FaultyLinks(0.1, DELAY, loss=0.2, duplication=0.2, jitter=0.3, retry=0.1, seed=schedule.seed)


MAX_EXCHANGES = 600
"""Exchanges of one step on the ideal channel, likewise."""


class IdealStage(Simulation):
    """A scripted swarm on the ideal channel; it notices steps that do not end."""

    spent = 0
    now = 0.0

    def exchange(self) -> None:
        """Count exchanges."""
        self.spent += 1
        if self.spent > MAX_EXCHANGES:
            raise Violation("PROP-4", "liveness", f"a step does not end within {MAX_EXCHANGES} exchanges")
        super().exchange()


class Stage(NetworkSimulation):
    """A scripted swarm on its network; it notices steps that do not end."""

    spent = 0

    def at(self, time: float, action: Callable[[], None], late: bool = False) -> None:
        """Count events."""
        self.spent += 1
        if self.spent > MAX_EVENTS:
            raise Violation("PROP-4", "liveness", f"a step does not end within {MAX_EVENTS} events")
        super().at(time, action, late)


@dataclass
class Swarm:
    """One run. ``variant``: makes the context in which the peers run."""

    scene: Scene
    variant: Callable[[], AbstractContextManager[object]] = nullcontext
    player: Callable[[Seating], Conduct] = Player
    """What the attackers are."""
    records: dict[PeerId, list[Record]] = field(default_factory=dict)
    contents: dict[bytes, bytes] = field(default_factory=dict)
    actions: list[Action] = field(default_factory=list)
    """What has been done so far."""
    brought: set[PeerId] = field(default_factory=set)
    """Keys that attackers have brought into the run."""
    steps: int = 0
    """How many steps have been applied."""
    finished: bool = False

    def __post_init__(self) -> None:
        self.config = configuration(self.scene)
        self.task = Toy(self.config.dimension)
        keys = sorted((key(self.scene.seed, i) for i in range(self.scene.peers)), key=lambda k: k.peer_id)
        self.roster = tuple(identity.peer_id for identity in keys)
        self.coalition = tuple(self.roster[index] for index in sorted(self.scene.attackers))
        self.world = World(frozenset(self.coalition), self.config.gradient_clip)
        parameters = self.task.initial_parameters()
        with self.variant():
            start = initial_replica(self.config, parameters).state_hash
            self.genesis = Genesis(self.config, self.roster, start)
            self.players = {k.peer_id: self.player(self.seating(k)) for k in keys if k.peer_id in self.coalition}
            self.recorders = {peer: Recorder(peer, self.world, player) for peer, player in self.players.items()}
            self.simulation = self.stage(keys, parameters)
        self.simulation.record = lambda peer, record: self.records.setdefault(peer, []).append(record)
        self.simulation.keep = self.keep
        if self.scene.leaver:
            last = [peer for peer in self.roster if peer not in self.coalition][-1]
            self.simulation.retire([last], self.scene.leaver)
        self.playing = self.simulation.run()
        self.boundaries: list[State] = []
        """The agreed state before every step."""
        self.times: list[float] = [0.0]

    def stage(self, keys: list[Identity], parameters: Float32) -> Stage | IdealStage:
        """The simulation of the scene's channel."""
        if self.scene.channel == "ideal":
            return IdealStage(self.genesis, keys, parameters, self.task, self.world, self.recorders)
        links = links_of(self.scene.schedule, self.roster)
        return Stage(self.genesis, keys, parameters, self.task, self.world, self.recorders, links=links)

    def seating(self, identity: Identity) -> Seating:
        """One attacker's place."""
        ideal = self.scene.channel == "ideal"
        return Seating(identity.peer_id, self.world, self.task, 0, 1, None, self.scene.seed, identity, ideal)

    def keep(self, peer: PeerId, content: bytes) -> None:
        """Keep an aggregate, as a run directory does."""
        self.contents[body_hash(content)] = content

    @property
    def script(self) -> Script:
        """What has been played."""
        return Script(self.scene, tuple(self.actions))

    def act(self, *actions: Action) -> None:
        """Add actions; each takes effect in its step, if that is still to come."""
        for action in actions if self.coalition else ():
            self.actions.append(action)
            one = self.coalition[action.attacker % len(self.coalition)]
            for peer in self.coalition if action.attacker == ALL else (one,):
                player = self.players[peer]
                if isinstance(player, Player):
                    player.chain.append(conduct_of(action, player.seating, self.roster))

    def step(self) -> Observed | None:
        """Play to the next step boundary; None if the run is over. Raises :class:`Violation`."""
        if self.finished:
            return None
        self.simulation.spent = 0
        with self.variant():
            observed = self.advance()
        if observed is None:
            return None
        self.times.append(self.simulation.now)
        self.steps = observed.state.step
        self.boundaries.append(observed.state)
        self.finished = observed.state.step > self.config.steps
        if not self.finished:
            self.welcome(observed.state)
        return observed

    def welcome(self, state: State) -> None:
        """Let the newcomer, and whoever the attackers bring, begin to follow the run."""
        coming: list[tuple[Identity, Conduct | None]] = []
        if self.scene.newcomer and state.step == self.scene.newcomer:
            coming.append((key(self.scene.seed, self.scene.peers), None))
        for player in self.players.values():
            if isinstance(player, Recruiter):
                brought = list(player.recruits(state))
                self.brought |= {identity.peer_id for identity, _ in brought}
                coming += brought
        with self.variant():
            for identity, conduct in coming:
                self.simulation.welcome(identity, conduct)

    def advance(self) -> Observed | None:
        """One step of the simulation, whose errors are verdicts."""
        try:
            return next(self.playing, None)
        except Violation:
            raise
        except AgreementBroken as error:
            raise Violation("PROP-1", "safety", str(error)) from error
        except ProtocolError as error:
            raise Violation("PROP-4", "liveness", f"an honest peer stops: {error}") from error
        except RecursionError as error:
            raise Violation("PROP-4", "liveness", "an honest peer does not come to an end") from error
        except Exception as error:
            raise Violation("PROP-4", "liveness", f"an honest peer fails: {type(error).__name__}: {error}") from error

    @property
    def members(self) -> list[Seat]:
        """Honest peers that have a seat."""
        return [seat for seat in self.simulation.honest if seat.id in seat.state.roster]

    def log_of(self, peer: PeerId) -> bytes:
        """The log of one honest peer."""
        return self.genesis.encode() + b"".join(record.encode() for record in self.records.get(peer, []))


def play(script: Script, **how: Any) -> Iterator[tuple[Swarm, Observed]]:
    """Play a script to its end; yields after every step, unchecked."""
    swarm = Swarm(script.scene, **how)
    swarm.act(*script.actions)
    while (observed := swarm.step()) is not None:
        yield swarm, observed
