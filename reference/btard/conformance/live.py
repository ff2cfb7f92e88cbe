"""The live oracle: an implementation takes seats in a simulated swarm, and all that it does is compared.

Beside each of its seats sits the reference, as a shadow: it gets what the implementation gets, at the same virtual
times, and what the two do is compared at every instant (chapter ``conformance``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from btard.conformance.comparison import Difference, Done, compared, differences
from btard.conformance.examples import Example
from btard.conformance.reference_peer import Stating, ending
from btard.conformance.subject import Misbehaved, Subject
from btard.conformance.tasks import plain_task
from btard.network.coalition import Seating, World
from btard.network.limits import Limits
from btard.network.node import Node
from btard.network.simulator import Seat, Witnessed
from btard.network.virtual import NetworkSimulation
from btard.protocol.arithmetic import Float32, norm
from btard.protocol.broadcast import Frame, Timing
from btard.protocol.butterfly_clip import residual
from btard.protocol.channel import AppendRecord, CollectLetters, Exchange, Request
from btard.protocol.identity import KEY_BYTES, Identity
from btard.protocol.messages import Envelope
from btard.protocol.model import BTARD, REDUNDANT_CODE, PeerId, ProtocolError, ToleranceExceeded
from btard.protocol.state import Attempt, Conduct, Peer, State
from btard.protocol.step import run
from btard.protocol.verification import profile_of
from btard.training.trainer import find_attacks, take_seat

CODED_TOLERANCE = 1e-5
"""Profile redundant-code: how far an aggregate may be from the reference's, relative to its largest input (CODE-14)."""
HEX = frozenset("0123456789abcdef")


class Nonconforming(ProtocolError):
    """The implementation did something else than the reference."""

    def __init__(self, found: list[Difference]) -> None:
        super().__init__(found[0].sentence)
        self.found = found


class Follower(Witnessed, Stating):
    """The shadow's conduct: honest, but it goes on with the implementation's aggregate if that one is right."""

    def __init__(self, peer: PeerId, world: World) -> None:
        Witnessed.__init__(self, peer, world)
        Stating.__init__(self)
        self.given: bytes | None = None
        """What the implementation says that it has aggregated."""
        self.wrong: list[Difference] = []

    def aggregate(self, state: State, attempt: Attempt, inputs: Float32, honest: Float32) -> Float32:
        """The implementation's aggregate, if it is one. Source: CONF-4."""
        if self.given is None:
            return honest
        vector = profile_of(state.config).read_aggregate(self.given, len(honest))
        self.given = None
        if vector is None or not acceptable(state, attempt, self.peer, inputs, vector, honest):
            self.wrong.append(Difference("aggregate", f"its aggregate of step {state.step} is not one of its inputs"))
            return honest
        return vector  # requirement: CONF-4


def acceptable(state: State, attempt: Attempt, peer: PeerId, inputs: Float32, vector: Float32, honest: Float32) -> bool:
    """Whether ``vector`` is a right aggregate of ``inputs``."""
    config, part = state.config, attempt.part_of(peer)
    if config.profile == BTARD and part is not None:
        radius = float(attempt.radii[part])
        return residual(inputs, vector, radius) <= config.residual_ratio * radius
    if config.profile == REDUNDANT_CODE:
        return bool(norm(np.subtract(vector, honest, dtype=np.float64)) <= CODED_TOLERANCE * norm(inputs).max())
    return bool(np.array_equal(vector, honest))


class Shadow(Node):
    """The reference beside the implementation under test; what leaves is what the implementation sends."""

    def __init__(self, seat: Seat, example: Example, simulation: LiveSimulation, number: int) -> None:
        config, run_id = simulation.genesis.configuration, simulation.genesis.run
        timing = Timing(config.delay, config.gradient_time)
        super().__init__(seat.identity, run_id, seat.generator, timing, Limits.of(config))
        self.simulation, self.subject, self.number = simulation, simulation.subject, number
        assert isinstance(seat.conduct, Follower)
        self.follower = seat.conduct
        self.expected, self.actual = Done(), Done()
        self.instant = 0.0
        self.alarm: float | None = None
        """When the implementation wants to be woken."""
        self.unsent: list[tuple[PeerId | None, bytes]] = []
        """What the implementation wants sent."""
        self.over, self.told_of_end = False, False
        """Whether the run has ended for the shadow, and for the implementation, and has been compared."""
        self.letters: list[Envelope] = []
        """The letters that it has been given; the shadow has no others."""
        self.simply(
            "seat",
            genesis=simulation.genesis.encode().hex(),
            secret=seat.identity.seed.hex(),  # requirement: CONF-2
            task=plain_task(example.task),
        )
        if example.leaver and number == 0:
            self.simply("leave", step=example.leaver)

    # -- What happens to both -----------------------------------------------------------------------

    def start(self, now: float, ready: float | None = None) -> None:
        """The run begins."""
        self.tell(now, "start")
        super().start(now, ready)

    def read(self, now: float, sender: PeerId, data: bytes) -> None:
        """A link brings something."""
        self.tell(now, "receive", **{"from": sender.hex(), "frame": data.hex()})
        super().read(now, sender, data)

    def wake(self, now: float) -> None:
        """A deadline of one of the two has come."""
        if self.alarm is not None and now >= self.alarm:
            self.tell(now, "wake")
        super().wake(now)

    def drain(self) -> list[tuple[PeerId | None, Frame]]:
        """What the implementation sends; what the shadow would send is kept for the comparison."""
        for to, frame in super().drain():
            self.expected.frames.extend((receiver, self.simulation.encoded(frame)) for receiver in self.those(to))
        sends, self.unsent = self.unsent, []
        for to, data in sends:
            self.actual.frames.extend((receiver, data) for receiver in self.those(to))
        return sends  # type: ignore[return-value]

    def those(self, to: PeerId | None) -> list[PeerId]:
        """The recipients of a frame."""
        return [to] if to is not None else [peer for peer in self.simulation.nodes if peer != self.id]

    # -- Talking to the implementation ----------------------------------------------------------------

    def simply(self, do: str, **fields: Any) -> None:
        """Tell the implementation something that it only takes note of."""
        answer = self.subject.ask(do, seat=self.number, **fields)
        if answer != {}:
            key = "seat" if do == "seat" else "form"
            raise Nonconforming([Difference(key, f"its answer to '{do}' is not an empty object")])

    def tell(self, now: float, do: str, **fields: Any) -> None:
        """Tell the implementation what happens at ``now``, and take what it does."""
        self.settle_before(now)
        self.bring_letters()
        if do == "wake":
            self.alarm = None
        self.take_doings(now, self.subject.ask(do, seat=self.number, now=int(now), **fields), do)

    def bring_letters(self) -> None:
        """Give the implementation the letters that have come for it."""
        for letter in self.simulation.seats[self.id].letters:
            if letter not in self.letters:
                self.letters.append(letter)
                self.simply("letter", letter=letter.encode().hex())

    def take_doings(self, now: float, doings: Mapping[str, Any], do: str) -> None:
        """Keep what the implementation did. Source: CONF-5."""
        try:
            told = Doings.read(doings)
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
            sentence = f"its answer to '{do}' has not the form of doings: {error}"
            raise Nonconforming([Difference("form", sentence)]) from error  # requirement: CONF-5
        if told.wake is not None and (told.wake < now or (told.wake == now and do == "wake")):
            sentence = f"at {int(now)} it asks to be woken at {told.wake}, which is over"
            raise Nonconforming([Difference("clock", sentence)])  # requirement: CONF-3
        self.unsent.extend(told.send)
        self.actual.records.extend(told.records)
        self.actual.states.extend(told.states)
        if told.ended is not None and not self.told_of_end:
            self.actual.ended, self.told_of_end = told.ended, True
        self.follower.given = told.aggregate
        self.alarm = told.wake
        if self.alarm is not None:
            self.simulation.at(self.alarm, self.simulation.waker(self), late=True)

    # -- Comparing ----------------------------------------------------------------------------------

    def settle_before(self, now: float) -> None:
        """If the time has moved on, compare what was done in the last instant. Raises :class:`Nonconforming`."""
        if now <= self.instant:
            return
        self.expected.states, self.follower.states = self.follower.states, []
        found = [*self.follower.wrong, *self.differing()]
        if found:
            raise Nonconforming(found)
        self.simulation.exercised |= compared(self.expected)
        self.expected, self.actual, self.instant = Done(), Done(), now

    def differing(self) -> list[Difference]:
        """What differs in the last instant."""
        self.expected.ended = self.newly_ended()
        same = self.expected.ended is None or self.expected.ended in ("closed", "left", "expelled")
        if not same and self.actual.ended is not None:
            self.actual.ended = self.expected.ended  # whatever it calls the error that stopped it
        for done in (self.expected, self.actual):  # what goes to peers that have left is nobody's business
            done.frames = [(receiver, data) for receiver, data in done.frames if receiver in self.roster]
        return differences(self.expected, self.actual, self.simulation.example.profile)

    def newly_ended(self) -> str | None:
        """How the shadow's run ended, if it has just ended."""
        if not self.finished or self.over:
            return None
        self.over = True
        return ending(self)


@dataclass
class Doings:
    """What an implementation says that it did."""

    send: list[tuple[PeerId | None, bytes]] = field(default_factory=list)
    wake: int | None = None
    records: list[bytes] = field(default_factory=list)
    states: list[dict[str, Any]] = field(default_factory=list)
    aggregate: bytes | None = None
    ended: str | None = None

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> Doings:
        """Doings from JSON; raises :class:`ValueError`, :class:`TypeError` or :class:`AttributeError`."""
        if plain.get("unsupported"):
            raise ValueError("it calls this unsupported")
        unknown = set(plain) - {"send", "wake", "records", "states", "aggregate", "ended"}
        if unknown:
            raise ValueError(f"there is no '{min(unknown)}'")
        wake, ended, given = plain.get("wake"), plain.get("ended"), plain.get("aggregate")
        if wake is not None and (isinstance(wake, bool) or int(wake) != wake):
            raise ValueError("'wake' is a whole number or null")
        return cls(
            [(None if to is None else peer_id(to), octets(frame)) for to, frame in plain.get("send") or ()],
            None if wake is None else int(wake),
            [octets(record) for record in plain.get("records") or ()],
            [dict(state) for state in plain.get("states") or ()],
            None if given is None else octets(given),
            None if ended is None else str(ended),
        )


def peer_id(digits: Any) -> PeerId:
    """A recipient; raises :class:`ValueError`."""
    peer = octets(digits)
    if len(peer) != KEY_BYTES:
        raise ValueError("a recipient is a peer's id, of 32 bytes, or null")
    return peer


def octets(digits: Any) -> bytes:
    """Bytes from hex digits in lower case; raises :class:`ValueError`."""
    if not isinstance(digits, str) or not HEX.issuperset(digits) or len(digits) % 2:
        raise ValueError("bytes are hex digits in lower case")
    return bytes.fromhex(digits)


# -- A run ------------------------------------------------------------------------------------


class LiveSimulation(NetworkSimulation):
    """A swarm some of whose seats belong to the implementation under test."""

    subject: Subject
    example: Example
    tested: tuple[PeerId, ...]

    def __init__(self, example: Example, subject: Subject) -> None:
        self.subject, self.example = subject, example
        self.shadows: list[Shadow] = []
        self.exercised: set[str] = set()
        """The attributions of what has been compared and was equal."""
        byzantine, tested = example.roles()
        self.tested = tuple(tested)
        world = World(frozenset(byzantine), example.configuration.gradient_clip)
        super().__init__(
            example.genesis,
            example.identities,
            example.task.initial_parameters(),
            example.task,
            world,
            conducts_of(example, byzantine, world),
            links=example.links(),
        )
        if example.leaver:
            self.retire(self.tested[:1], example.leaver)

    def begin(self, identity: Identity, conduct: Conduct | None, state: State) -> Seat:
        """Start a peer; where the implementation sits, its shadow."""
        if identity.peer_id not in self.tested:
            return super().begin(identity, conduct, state)
        follower = Follower(identity.peer_id, self.world)
        generator: Exchange[State] = run(Peer(identity, follower), state)
        return Seat(identity, False, generator, state, conduct=follower)

    def node(self, seat: Seat) -> Node:
        """One peer's node."""
        if seat.id not in self.tested:
            return super().node(seat)
        shadow = Shadow(seat, self.example, self, self.tested.index(seat.id))
        shadow.roster = seat.state.roster
        self.shadows.append(shadow)
        return shadow

    def act(self, node: Node, action: Callable[[], None]) -> None:
        """Let a node act; first compare what was done before the time moved on."""
        for shadow in self.shadows:
            shadow.settle_before(self.now)
        super().act(node, action)

    def serve(self, seat: Seat, request: Request) -> Any:
        """Answer a request; what the shadow logs is to be compared."""
        node = self.nodes.get(seat.id)
        if isinstance(node, Shadow) and isinstance(request, AppendRecord):
            node.expected.records.append(request.record.encode())
        if isinstance(node, Shadow) and isinstance(request, CollectLetters):
            return tuple(node.letters)
        return super().serve(seat, request)

    def play(self) -> int:
        """Play to the end; how many steps were applied. Raises :class:`Nonconforming`, :class:`Misbehaved`."""
        steps = 0
        try:
            for observed in self.run():
                steps = observed.state.step
                if steps == self.example.newcomer:
                    self.welcome(self.example.stranger)
        except ToleranceExceeded:
            pass  # with a wrong implementation more peers are faulty than b allows; what it did is still compared
        for shadow in self.shadows:
            shadow.settle_before(float("inf"))
        return steps


def conducts_of(example: Example, byzantine: list[PeerId], world: World) -> dict[PeerId, Conduct]:
    """What the Byzantine peers do."""
    if not example.attack:
        return {}
    factory = find_attacks(example.attack)[0]
    keys = {identity.peer_id: identity for identity in example.identities}
    return {
        peer: take_seat(
            factory, Seating(peer, world, example.task, example.start, seed=example.seed, identity=keys[peer])
        )
        for peer in byzantine
    }


@dataclass(frozen=True)
class Played:
    """What came of a run."""

    steps: int
    found: tuple[Difference, ...]
    """How the implementation differed; nothing if it conforms."""
    exercised: frozenset[str]
    """The attributions of what was compared and equal."""


def play(example: Example, subject: Subject) -> Played:
    """Play one run. What the implementation does wrong is a result."""
    simulation: LiveSimulation | None = None
    steps, found = 0, list[Difference]()
    try:
        simulation = LiveSimulation(example, subject)
        steps = simulation.play()
    except Nonconforming as error:
        found = error.found
    except Misbehaved as error:
        found = [Difference("form", str(error))]
    exercised = frozenset(simulation.exercised) if simulation else frozenset[str]()
    return Played(steps, tuple(found), exercised)
