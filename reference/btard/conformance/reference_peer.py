"""The reference as an implementation under test: ``python -m btard.conformance.reference_peer``.

It reads requests from standard input and answers on standard output, a line of JSON each, as an implementation in any
language does (chapter ``conformance``). It is also what faulty implementations are made from: the same program with one
function replaced.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import IO, Any

import numpy as np

from btard import __version__
from btard.conformance.tasks import read_task
from btard.conformance.vectors.cases import Refusal, VectorError, evaluate
from btard.conformance.vectors.files import load_operations
from btard.network.limits import Limits
from btard.network.node import Node
from btard.protocol.arithmetic import Float32
from btard.protocol.broadcast import Timing, encode_frame
from btard.protocol.channel import AppendRecord, CollectLetters, ComputeGradient, FetchContent, Request, StepApplied
from btard.protocol.identity import Identity
from btard.protocol.log import Genesis
from btard.protocol.messages import MAX_AGREED_BODY, Envelope, Message, Phase, Slot
from btard.protocol.model import PROFILES, Configuration, ProtocolError
from btard.protocol.state import Attempt, Conduct, Peer, State, initial_state
from btard.protocol.step import run
from btard.protocol.verification import profile_of
from btard.training.analytic import Quadratic

UNSUPPORTED = {"unsupported": True}

Doings = dict[str, Any]


class Stating(Conduct):
    """An honest peer that notes the agreed state at the start of every attempt."""

    def __init__(self) -> None:
        self.states: list[dict[str, Any]] = []
        """Those that have not been told of, or compared, yet."""

    def say(self, state: State, slot: Slot, honest: Message) -> Message:
        """The honest message."""
        if slot.phase is Phase.COMMIT:
            self.states.append(described(state))
        return honest


class Telling(Stating):
    """It also tells what it has aggregated, and leaves when it is told to."""

    def __init__(self, config: Configuration) -> None:
        super().__init__()
        self.config = config
        self.aggregated: bytes | None = None
        self.last_step: int | None = None

    def aggregate(self, state: State, attempt: Attempt, inputs: Float32, honest: Float32) -> Float32:
        """The honest aggregate."""
        self.aggregated = profile_of(self.config).content(honest)
        return honest

    def leaves(self, state: State) -> bool:
        """Whether this is the last step."""
        return state.step == self.last_step


class Seat:
    """One peer: a node, and what it has done since it was last asked."""

    def __init__(self, genesis: Genesis, secret: bytes, task: Quadratic) -> None:
        config, identity = genesis.configuration, Identity(secret)
        self.task, self.conduct = task, Telling(config)
        state = initial_state(genesis, task.initial_parameters())
        generator = run(Peer(identity, self.conduct), state)
        timing = Timing(config.delay, config.gradient_time)
        self.node = Node(identity, genesis.run, generator, timing, Limits.of(config))
        self.node.roster = genesis.roster
        self.letters: list[Envelope] = []
        self.gradients: dict[tuple[bytes, bytes], Float32] = {}
        self.records: list[str] = []

    def act(self, now: float, action: Callable[[], None]) -> Doings:
        """Let the node act, answer what it asks, and tell what came of it."""
        action()
        while self.node.request is not None:
            self.node.answer(now, self.serve(self.node.request))
        sent = [[to and to.hex(), encode_frame(frame).hex()] for to, frame in self.node.drain()]
        done: Doings = {"send": sent, "wake": self.alarm, "records": self.records, "states": self.conduct.states}
        if self.conduct.aggregated is not None:
            done["aggregate"] = self.conduct.aggregated.hex()
        if self.node.finished:
            done["ended"] = ending(self.node)
        self.records, self.conduct.states, self.conduct.aggregated = [], [], None
        return {name: value for name, value in done.items() if value not in (None, [])}

    @property
    def alarm(self) -> int | None:
        """When the node wants to be woken; all times are whole."""
        return None if self.node.wake_at is None else int(self.node.wake_at)

    def serve(self, request: Request) -> Any:
        """Answer a request that needs no network."""
        match request:
            case ComputeGradient():
                return self.gradient(request)
            case FetchContent():
                known = {part.signed_header.body_hash: part.body for part in self.node.aggregates}
                return known.get(request.content_hash, b"")
            case CollectLetters():
                return tuple(self.letters)
            case AppendRecord():
                self.records.append(request.record.encode().hex())
            case StepApplied():
                self.gradients.clear()
        return None

    def gradient(self, request: ComputeGradient) -> Float32:
        """A gradient of the task; one that several trials of a step ask for is computed once."""
        key = request.state_hash, request.seed
        if key not in self.gradients:
            self.gradients[key] = np.asarray(self.task.gradient(request.parameters, request.seed), dtype=np.float32)
        return self.gradients[key]


def ending(node: Node) -> str:
    """How a run has ended for a peer."""
    if node.error is not None:
        return str(node.error)
    state = node.state
    if state is None or node.id not in state.roster:
        departed = {removal.peer: removal.how.value for removal in state.removals} if state else {}
        return "left" if departed.get(node.id) == "left" else "expelled"
    return "closed"


def described(state: State) -> dict[str, Any]:
    """The agreed state at the start of an attempt, as JSON."""
    return {
        "step": state.step,
        "attempt": state.attempt,
        "roster": [peer.hex() for peer in state.roster],
        "tolerated": state.tolerated,
        "randomness": state.randomness.hex(),
        "head": state.head.hex(),
        "state_hash": state.replica.state_hash.hex() if state.replica else "",
        "removals": [[r.peer.hex(), r.how.value, int(r.fault)] for r in state.removals],
    }


class Program:
    """Answers requests."""

    def __init__(self) -> None:
        self.seats: dict[int, Seat] = {}
        load_operations()

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """The answer to one request."""
        match request:
            case {"do": "hello"}:
                return {"name": f"btard {__version__}, the reference", "profiles": list(PROFILES)}
            case {"do": "evaluate", "operation": name, "input": fields}:
                return self.evaluated(name, fields)
            case {"do": "seat", "seat": seat, "genesis": genesis, "secret": secret, "task": task}:
                return self.take_seat(seat, bytes.fromhex(genesis), bytes.fromhex(secret), task)
            case {"do": "letter", "seat": seat, "letter": letter}:
                self.seats[seat].letters.append(Envelope.decode(bytes.fromhex(letter), MAX_AGREED_BODY))
                return {}
            case {"do": "leave", "seat": seat, "step": step}:
                self.seats[seat].conduct.last_step = step
                return {}
            case {"do": do, "seat": number, "now": now} if number in self.seats:
                seat = self.seats[number]
                node = seat.node
                if do == "start":
                    return seat.act(now, lambda: node.start(now))
                if do == "wake":
                    return seat.act(now, lambda: node.wake(now))
                if do == "receive":
                    sender, frame = bytes.fromhex(request["from"]), bytes.fromhex(request["frame"])
                    return seat.act(now, lambda: node.read(now, sender, frame))
        return UNSUPPORTED

    def evaluated(self, name: str, fields: dict[str, Any]) -> dict[str, Any]:
        """The answer to a vector."""
        try:
            answer = evaluate(name, fields)
        except VectorError:
            return UNSUPPORTED
        return {"refused": answer.reason} if isinstance(answer, Refusal) else {"output": answer}

    def take_seat(self, seat: int, genesis: bytes, secret: bytes, task: dict[str, Any]) -> dict[str, Any]:
        """Seat a peer."""
        try:
            self.seats[seat] = Seat(Genesis.decode(genesis), secret, read_task(task))
        except (ProtocolError, KeyError):
            return UNSUPPORTED
        return {}


def serve(lines: IO[str], out: IO[str]) -> None:
    """Answer requests until there are no more."""
    program = Program()
    for line in lines:
        request = json.loads(line)
        if request["do"] == "bye":
            break
        out.write(json.dumps(program.answer(request), separators=(",", ":")) + "\n")
        out.flush()


def main() -> None:
    """Serve on standard input and output."""
    serve(sys.stdin, sys.stdout)


if __name__ == "__main__":
    main()
