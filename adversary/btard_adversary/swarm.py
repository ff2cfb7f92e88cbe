"""A swarm that plays a script step by step, and checks every property after each step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import lru_cache
from random import Random
from typing import Any

import numpy as np
from btard.network.coalition import BrokenAttack, Recruiter, Seating
from btard.network.links import FaultyLinks, Links
from btard.network.simulator import AgreementBroken, Observed, Seat, Simulation
from btard.network.virtual import NetworkSimulation
from btard.protocol.arithmetic import Float32
from btard.protocol.bans import Departure, Removal
from btard.protocol.encoding import expand, tagged_hash
from btard.protocol.identity import Identity
from btard.protocol.log import Genesis, Record
from btard.protocol.messages import Slot, content_hash
from btard.protocol.model import REDUNDANT_CODE, Configuration, PeerId, ProtocolError
from btard.protocol.mprng import private_opening, uint64
from btard.protocol.state import Conduct, State, initial_replica
from btard.protocol.update import Schedule as Rate
from btard.protocol.update import Sgd, describe
from btard.protocol.verification import profile_of

from btard_adversary.actions import Player
from btard_adversary.deeds import Recorder
from btard_adversary.script import ALL, Action, Scene, Schedule, Script
from btard_adversary.witness import Witness

MAX_EVENTS = 60_000
"""Events of one step beyond which it is taken not to end: sixteen peers and b = 7 take a tenth of it."""
DELAY, GRADIENT_TIME = 1.0, 10.0
"""Δ and G of a scripted swarm, in seconds of virtual time."""


class Violation(AssertionError):
    """A property does not hold. ``property``: its id; ``side``: safety, no framing, liveness or accountability."""

    def __init__(self, identifier: str, side: str, sentence: str) -> None:
        super().__init__(f"{side} ({identifier}): {sentence}")
        self.property, self.side, self.sentence = identifier, side, sentence


TOLERANCE, CLASS_NOISE = 0.01, 0.004
"""η of a run in several determinism classes, and how far each lies from the first, relatively: two are less than η
apart."""


class Toy:
    """f(x) = ½‖x − 1‖² with noise that a seed fixes: float32 arithmetic that is the same everywhere. ``determinism``:
    the class that computes; each but the first has a relative error of its own."""

    name = "toy"
    noise_tag = "btard/adversary/noise"

    def __init__(self, dimension: int, determinism: int = 0) -> None:
        self.dimension, self.determinism = dimension, determinism

    def initial_parameters(self) -> Float32:
        """Zeros, float32 ``[d]``."""
        return np.zeros(self.dimension, dtype=np.float32)

    def gradient(self, parameters: Float32, seed: bytes) -> Float32:
        """x − 1 plus uniform noise below 2⁻⁴ in each coordinate, float32 ``[d]``."""
        noise = np.frombuffer(expand(self.noise_tag, seed, length=2 * self.dimension), dtype="<i2")
        exact = (parameters - np.float32(1) + noise.astype(np.float32) * np.float32(2.0**-19)).astype(np.float32)
        return self.with_error(exact, seed) if self.determinism else exact

    def with_error(self, exact: Float32, seed: bytes) -> Float32:
        """``exact`` float32 ``[d]`` as another determinism class computes it."""
        drawn = expand("btard/adversary/class", bytes([self.determinism]), seed, length=4 * self.dimension)
        error = np.frombuffer(drawn, dtype="<i4").astype(np.float64)
        return (exact + error * (CLASS_NOISE * np.linalg.norm(exact) / np.linalg.norm(error))).astype(np.float32)

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
        tolerance=TOLERANCE if scene.classes > 1 else 0.0,
        profile=scene.profile,
        **coding(scene),
    )


def coding(scene: Scene) -> dict[str, int]:
    """Profile redundant-code: as many liars as are tolerated, and compression two if the workers suffice for it."""
    if scene.profile != REDUNDANT_CODE:
        return {}
    spare = scene.peers >= 2 * scene.tolerated + 2 + scene.validators
    return {"liars": scene.tolerated, "compression": 2 if spare else 1}


@lru_cache(maxsize=1024)
def key(seed: int, index: int) -> Identity:
    """A key pair of a scripted swarm."""
    return Identity(tagged_hash("btard/adversary/key", uint64(seed), uint64(index)))


class Scheduled(Links):
    """Links that take what the scene's schedule says, never more than ``bound`` seconds."""

    def __init__(self, schedule: Schedule, peers: tuple[PeerId, ...], bound: float = DELAY) -> None:
        super().__init__(0.1 * bound)
        self.schedule, self.peers, self.bound = schedule, peers, bound
        self.random = Random(schedule.seed)

    def arrivals(self, now: float, sender: PeerId, receiver: PeerId) -> tuple[float, ...]:
        """When the one copy arrives."""
        return (now + self.bound * self.share(sender, receiver),)

    def share(self, sender: PeerId, receiver: PeerId) -> float:
        """The part of the bound that a frame takes."""
        match self.schedule.kind:
            case "late":
                return 1.0
            case "random":
                return 1.0 - self.random.random()
            case "apart":
                far = self.peers[self.schedule.peer % len(self.peers)]
                return 1.0 if far in (sender, receiver) else 0.001
        return 0.1


def links_of(schedule: Schedule, peers: tuple[PeerId, ...], hops: int = 1) -> Links:
    """The links of a scene, on which ``hops`` one after the other take at most Δ."""
    bound = DELAY / hops
    if schedule.kind != "lossy":
        return Scheduled(schedule, peers, bound)
    slow, retry = 0.3 * bound, 0.1 * bound
    return FaultyLinks(retry, bound, loss=0.2, duplication=0.2, jitter=slow, retry=retry, seed=schedule.seed)


def ring(peers: tuple[PeerId, ...], side: int) -> dict[PeerId, list[PeerId]]:
    """A sparse overlay: everyone has links to ``side`` peers on each side, which any 2 · side − 1 departures leave
    connected."""
    offsets = [offset for offset in range(-side, side + 1) if offset]
    return {peer: [peers[(at + offset) % len(peers)] for offset in offsets] for at, peer in enumerate(peers)}


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
    waiting: list[Action] = field(default_factory=list)
    """What is still to be done, by step."""
    brought: set[PeerId] = field(default_factory=set)
    """Keys that attackers have brought into the run."""
    returned: dict[PeerId, Removal] = field(default_factory=dict)
    """Who came back after which removal."""
    steps: int = 0
    """How many steps have been applied."""
    finished: bool = False

    def __post_init__(self) -> None:
        self.config = configuration(self.scene)
        self.tasks = [Toy(self.config.dimension, determinism) for determinism in range(self.scene.classes)]
        self.task = self.tasks[0]
        keys = sorted((key(self.scene.seed, i) for i in range(self.scene.peers)), key=lambda k: k.peer_id)
        self.roster = tuple(identity.peer_id for identity in keys)
        self.keys = {k.peer_id: k for k in (*keys, key(self.scene.seed, self.scene.peers))}
        """Of the first roster and the newcomer."""
        self.coalition = tuple(self.roster[index] for index in sorted(self.scene.attackers))
        self.world = Witness(frozenset(self.coalition), self.config.gradient_clip)
        parameters = self.task.initial_parameters()
        with self.variant():
            start = initial_replica(self.config, parameters).state_hash
            self.genesis = Genesis(self.config, self.roster, start)
            self.players = {k.peer_id: self.player(self.seating(k)) for k in keys if k.peer_id in self.coalition}
            everyone = not self.scene.links
            self.recorders = {peer: Recorder(peer, self.world, who, everyone) for peer, who in self.players.items()}
            self.simulation = self.stage(keys, parameters)
        self.simulation.record = lambda peer, record: self.records.setdefault(peer, []).append(record)
        self.simulation.keep = self.keep
        self.simulation.classes = {peer: self.task_of(peer) for peer in self.roster}
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
        side = self.scene.links
        links = links_of(self.scene.schedule, self.roster, len(self.roster) if side else 1)
        overlay = ring(self.roster, side) if side else None
        about = self.genesis, keys, parameters, self.task, self.world, self.recorders
        return Stage(*about, links=links, neighbours=overlay)

    def seating(self, identity: Identity) -> Seating:
        """One attacker's place."""
        ideal = self.scene.channel == "ideal"
        return Seating(identity.peer_id, self.world, self.task, 0, 1, None, self.scene.seed, identity, ideal)

    def task_of(self, peer: PeerId) -> Toy:
        """The task as a peer's determinism class computes it."""
        return self.tasks[self.roster.index(peer) % len(self.tasks)] if peer in self.roster else self.task

    def keep(self, peer: PeerId, content: bytes) -> None:
        """Keep an aggregate, as a run directory does."""
        self.contents[content_hash(profile_of(self.config).gather, content)] = content

    def opening(self, peer: PeerId, run: bytes, slot: Slot) -> bytes:
        """What an honest peer opens in an attempt (MPRNG-1)."""
        return private_opening(self.keys[peer].seed, run, slot.step, slot.attempt)

    @property
    def script(self) -> Script:
        """What has been played, and what is still to be."""
        return Script(self.scene, (*self.actions, *self.waiting))

    def act(self, *actions: Action) -> None:
        """Add actions. Between two calls of :meth:`step`, step ``steps`` has already begun, so the earliest step that
        can still be changed is ``steps + 1``."""
        for action in actions if self.coalition else ():
            self.actions.append(action)
            one = self.coalition[action.attacker % len(self.coalition)]
            for peer in self.coalition if action.attacker == ALL else (one,):
                player = self.players[peer]
                if isinstance(player, Player):
                    player.act(action, self.roster)

    def plan(self, script: Script) -> None:
        """Let the attackers follow ``script``. Each action is added at the boundary before its step, as where a script
        is made up step by step: what an attack has seen depends on when it was added."""
        self.waiting = sorted(script.actions, key=lambda action: action.step)

    def begin_actions(self) -> None:
        """Add what is due in the next step."""
        while self.waiting and self.waiting[0].step <= self.steps + 1:
            self.act(self.waiting.pop(0))

    def step(self) -> Observed | None:
        """Play to the next step boundary; None if the run is over. Raises :class:`Violation`."""
        if self.finished:
            return None
        self.begin_actions()
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
            if isinstance(player, Recruiter) and not self.scene.links:  # nobody has a link to a new key
                brought = list(player.recruits(state))
                self.brought |= {identity.peer_id for identity, _ in brought}
                coming += brought
        if self.scene.returning:
            coming += self.back(state)
        with self.variant():
            for identity, conduct in coming:
                self.simulation.welcome(identity, conduct)

    def back(self, state: State) -> list[tuple[Identity, Conduct | None]]:
        """Who has just lost the seat without blame. Attackers that come back behave."""
        here = {*state.roster, *(candidate.peer for candidate in state.probation)}
        last = {removal.peer: removal for removal in state.removals}
        lost = {p for p, r in last.items() if r.how not in (Departure.CONVICTED, Departure.REFUSED) and p not in here}
        gone = sorted(peer for peer in lost - self.brought if last[peer] is not self.returned.get(peer))
        for peer in gone:
            self.returned[peer] = last[peer]
            self.records.pop(peer, None)
        return [(self.keys[peer], Conduct() if peer in self.coalition else None) for peer in gone]

    def advance(self) -> Observed | None:
        """One step of the simulation, whose errors are verdicts."""
        try:
            return next(self.playing, None)
        except (Violation, BrokenAttack):
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
    def contested(self) -> bool:
        """Whether somebody may still disturb the run, or is to come or go."""
        here = {*self.boundaries[-1].roster, *(candidate.peer for candidate in self.boundaries[-1].probation)}
        return bool(
            here & {*self.coalition, *self.brought} or self.scene.newcomer or self.scene.leaver or self.scene.returning
        )

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
    swarm.plan(script)
    while (observed := swarm.step()) is not None:
        yield swarm, observed
