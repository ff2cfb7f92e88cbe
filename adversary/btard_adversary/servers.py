"""Trusted servers, for comparison only: any aggregation rule, and those that need memory or redundancy.

A server is found by name: an entry point of ``btard.servers``, a rule of ``btard.rules``, or ``module:name``. Each of
them is called with (peers, n_byzantine) and gives a :class:`~btard.training.server.ServerRule` for one run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from btard.protocol.arithmetic import Float32
from btard.protocol.model import PROFILES, PeerId
from btard.protocol.mprng import group_seed
from btard.protocol.state import State
from btard.training.registry import find_by_name, known_names
from btard.training.server import Messages, ServerRule

from btard_adversary.claims import Sizes, claim_of, minority
from btard_adversary.draco import CyclicCode, NoMajority, repetition_decode
from btard_adversary.rules import RULES, Rule, RuleError, find_rule

SERVERS: Final = "btard.servers"
"""The group of entry points under which servers are found that are more than a rule."""

MakeServer = Callable[[int, int], ServerRule]
"""(peers, n_byzantine) → a server for one run."""


@dataclass
class RuleServer(ServerRule):
    """A server that applies a rule to one gradient from each worker, all n of them in every step."""

    rule: Rule
    n_byzantine: int

    def aggregate(self, state: State, messages: Messages) -> Float32:
        """The rule's result, float32 ``[d]``. What is no number counts as 0: rules are for finite vectors."""
        vectors = np.stack([message[0] for message in messages.values()]).astype(np.float64)
        vectors[~np.isfinite(vectors)] = 0.0
        return np.asarray(self.rule(vectors, self.n_byzantine), dtype=np.float32)


@dataclass
class Signum(ServerRule):
    """Each worker sends the sign of its momentum, the server the majority. Source: Bernstein et al., ICLR 2019.

    A message is the momentum itself, and the server takes its sign: the same, and attacks see what they fight.
    """

    peers: int
    n_byzantine: int
    decay: float = 0.9
    """β: momentum ← β · momentum + (1 − β) · gradient."""
    momentum: dict[PeerId, Float32] = field(default_factory=dict)

    signed = True

    def message(self, state: State, worker: PeerId, gradients: Float32) -> Float32:
        """The worker's momentum, float32 ``[1, d]``."""
        before = self.momentum.get(worker, np.zeros_like(gradients))
        self.momentum[worker] = np.float32(self.decay) * before + np.float32(1 - self.decay) * gradients
        return self.momentum[worker]

    def aggregate(self, state: State, messages: Messages) -> Float32:
        """The majority of the signs, −1, 0 (a tie) or 1 per coordinate, float32 ``[d]``."""
        votes = np.sum([np.sign(np.nan_to_num(message[0])) for message in messages.values()], axis=0)
        return np.asarray(np.sign(votes), dtype=np.float32)


@dataclass
class DracoRepetition(ServerRule):
    """Groups of 2b + 1 compute the same gradient, and the server takes what b + 1 of them agree on, else nothing.

    Workers that make no group of their own are idle. Source: Chen et al., ICML 2018.
    """

    peers: int
    n_byzantine: int

    @staticmethod
    def applies(peers: int, n_byzantine: int) -> bool:
        """One group at least."""
        return peers >= 2 * n_byzantine + 1

    @property
    def size(self) -> int:
        """Members of a group."""
        return 2 * self.n_byzantine + 1

    def seeds(self, state: State, worker: PeerId) -> tuple[bytes, ...]:
        """The group's."""
        index = state.roster.index(worker) // self.size
        return (group_seed(state.run, state.randomness, state.step, index),)

    def aggregate(self, state: State, messages: Messages) -> Float32:
        """The mean of the groups' gradients, float32 ``[d]``; zeros if no group has a majority."""
        rows = [message[0] for message in messages.values()]
        groups = [np.stack(rows[k : k + self.size]) for k in range(0, len(rows) - self.size + 1, self.size)]
        try:
            return repetition_decode(groups, self.n_byzantine)
        except NoMajority:
            return np.zeros_like(rows[0])


@dataclass
class DracoCyclic(ServerRule):
    """Every worker computes 2b + 1 gradients of its neighbourhood and sends one complex combination of them.

    A message has two rows, real and imaginary parts. Source: Chen et al., ICML 2018.
    """

    peers: int
    n_byzantine: int

    def __post_init__(self) -> None:
        self.code = CyclicCode(self.peers, self.n_byzantine)

    @staticmethod
    def applies(peers: int, n_byzantine: int) -> bool:
        """The code exists."""
        return peers >= 2 * n_byzantine + 1

    def neighbourhood(self, state: State, worker: PeerId) -> list[int]:
        """Which gradients a worker computes."""
        index = state.roster.index(worker)
        return [(index + k) % self.peers for k in range(2 * self.n_byzantine + 1)]

    def seeds(self, state: State, worker: PeerId) -> tuple[bytes, ...]:
        """Those of its neighbourhood."""
        place = state.run, state.randomness, state.step
        return tuple(group_seed(*place, index) for index in self.neighbourhood(state, worker))

    def message(self, state: State, worker: PeerId, gradients: Float32) -> Float32:
        """Real and imaginary part of its combination, float32 ``[2, d]``."""
        mine = self.code.coefficients[state.roster.index(worker), self.neighbourhood(state, worker)]
        return np.stack([mine.real, mine.imag]).astype(np.float32) @ gradients

    def aggregate(self, state: State, messages: Messages) -> Float32:
        """The mean of all gradients, float32 ``[d]``."""
        rows = np.stack(list(messages.values())).transpose(1, 0, 2).reshape(2 * self.peers, -1)
        rows[~np.isfinite(rows)] = 0.0
        return self.code.decode(rows, int.from_bytes(state.randomness, "big"))


@dataclass(frozen=True)
class ServerKind:
    """How to make a server, and what is known about it."""

    make: MakeServer
    applies: Sizes = minority
    """The sizes (n, b) for which it is meant."""
    signed: bool = False
    """Whether its aggregates are signs, which want a learning rate of their own."""


def server_names() -> list[str]:
    """All installed rules and servers."""
    return [*known_names(RULES), *known_names(SERVERS)]


def find_server(name: str) -> ServerKind:
    """The server of that name. Raises ``UnknownName`` and :class:`RuleError`."""
    if name in known_names(RULES):
        return of_rule(find_rule(name))
    if ":" not in name and name not in known_names(SERVERS):
        known = ", ".join(sorted((*server_names(), *PROFILES)))
        raise RuleError(f"there is no rule '{name}': known are {known}, and any 'module:name'")
    found = find_by_name(SERVERS, "rule", name)
    if not callable(found):
        raise RuleError(f"'{name}' is a {type(found).__name__}, neither a rule nor a server")
    if not (isinstance(found, type) and issubclass(found, ServerRule)):
        return of_rule(found)
    return ServerKind(found, getattr(found, "applies", minority), getattr(found, "signed", False))


def of_rule(rule: Any) -> ServerKind:
    """A plain rule as a server; it is meant for the sizes of its claim."""
    claim = claim_of(rule)
    return ServerKind(lambda peers, n_byzantine: RuleServer(rule, n_byzantine), claim.applies if claim else minority)


def most_byzantine(kind: ServerKind, peers: int, byzantine: int) -> int:
    """The largest b up to ``byzantine`` that it is meant for; all of them if it is meant to bear none, as the mean."""
    admitted = (b for b in range(byzantine, 0, -1) if kind.applies(peers, b))
    return next(admitted, byzantine)
