"""Rules against attacks: one training run per rule, attack and seed, kept in a directory that can be gone on with.

A rule is a trusted server that bans nobody (``btard_adversary.servers``), or a profile of the protocol, which runs as a
whole swarm with audits and bans. An attack is the same object in both.
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from itertools import product
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import Any, Final, NamedTuple

from btard.network.coalition import World
from btard.network.store import write_atomically
from btard.protocol.model import PROFILES, REDUNDANT_CODE, ProtocolError
from btard.protocol.update import Schedule, Sgd, describe
from btard.training.checkpoints import RunStore
from btard.training.registry import find_task
from btard.training.task import Evaluation, NoLabels, Task
from btard.training.trainer import ServerRun, Settings, Swarm, assemble, diverged, finite, train

from btard_adversary.processes import end_with_the_first
from btard_adversary.servers import ServerKind, find_server, most_byzantine, server_names

NO_ATTACK: Final = "none"
DEFAULT_ATTACKS: Final = (
    NO_ATTACK,
    "sign-flip",
    "label-flip",
    "constant-direction",
    "delayed-gradient",
    "random-noise",
    "inner-product-manipulation",
    "a-little-is-enough",
    "mimic",
    "krum-decoy",
    "hidden-coordinate",
    "coordinate-extremes",
    "min-max",
    "inner-quantile",
    "clip-push",
    "vote-flip",
)
"""Those that any rule meets, then those made for one."""
CELLS, ASKED = "cells.jsonl", "compare.json"
RESULTS: Final = ("table.txt", "table.csv", "table.json", "heatmap.png")
"""What is made of the cells in the end."""


class ComparisonError(ProtocolError, ValueError):
    """A comparison that cannot be made or gone on with; the message is one sentence."""


def check(holds: bool, sentence: str) -> None:
    """Raise :class:`ComparisonError` unless it ``holds``."""
    if not holds:
        raise ComparisonError(sentence)


# -- What is asked for --------------------------------------------------------------------------


@dataclass(frozen=True)
class Comparison:
    """What is compared. Two directories with equal comparisons hold equal cells, but for the seconds."""

    task: str
    rules: tuple[str, ...]
    attacks: tuple[str, ...]
    peers: int
    byzantine: int
    steps: int
    seeds: int
    """Seeds 0 to ``seeds`` − 1."""
    attack_start: int = 0
    """First step of the attacks."""
    data: str | None = None

    def __post_init__(self) -> None:
        """Refuse numbers that make no comparison."""
        check(self.seeds >= 1, f"--seeds must be at least 1, not {self.seeds}")
        check(self.steps >= 1, f"--steps must be at least 1, not {self.steps}")
        early = 0 <= self.attack_start < self.steps
        check(early, f"--attack-start {self.attack_start} is no step of a run of {self.steps} steps")
        check(self.peers >= 1, f"--peers must be at least 1, not {self.peers}")
        check(self.byzantine >= 0, f"--byzantine must not be negative, but is {self.byzantine}")
        check(
            self.byzantine < self.peers,
            f"with {self.byzantine} attackers of {self.peers} peers nobody is honest: lower --byzantine",
        )
        check(bool(self.rules and self.attacks), "--rules and --attacks must name at least one each")
        harmless = self.byzantine > 0 or set(self.attacks) == {NO_ATTACK}
        check(harmless, "an attack needs attackers: set --byzantine, or leave --attacks none")

    def places(self) -> list[Place]:
        """Every run that belongs to it."""
        return [Place(*place) for place in product(self.rules, self.attacks, range(self.seeds))]


class Place(NamedTuple):
    """Which run it is."""

    rule: str
    attack: str
    seed: int


@dataclass(frozen=True)
class Cell:
    """How one run ended."""

    rule: str
    attack: str
    seed: int
    byzantine: int
    """Attackers in it: fewer than asked for where the rule is not meant for so many."""
    accuracy: float | None
    loss: float | None
    """None if it is no number."""
    diverged: bool
    banned: int = 0
    """Attackers that lost their seat."""
    honest_banned: int = 0
    stopped: bool = False
    """Whether the swarm stopped because more peers left than it tolerates."""
    seconds: float = 0.0

    @property
    def place(self) -> Place:
        """Which run it is."""
        return Place(self.rule, self.attack, self.seed)


def asked_comparison(wanted: Comparison, usual: bool) -> Comparison:
    """``wanted``, with everything that is wrong with it refused at once.

    ``usual``: the attacks are the usual ones, not chosen; then one that the task has no labels for is left out.
    """
    for rule in wanted.rules:
        attackers(wanted, rule)
    asked = replace(wanted, attacks=tuple(a for a in wanted.attacks if not usual or seated(wanted, a)))
    for attack in asked.attacks:
        seat(asked, attack)
    return asked


def usual_rules() -> tuple[str, ...]:
    """All that are installed, then the profiles of the protocol."""
    return (*server_names(), *PROFILES)


def usual_attacks(byzantine: int) -> tuple[str, ...]:
    """Those of the literature and those made for a rule; without attackers, none."""
    return DEFAULT_ATTACKS if byzantine else (NO_ATTACK,)


def listed(names: str) -> tuple[str, ...]:
    """The names of a comma-separated list, each once."""
    return tuple(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))


def seat(asked: Comparison, attack: str) -> None:
    """Let an attack take its seat, as it would in a run; raises ``ProtocolError`` if it cannot."""
    if attack != NO_ATTACK:
        swarm = server_swarm(asked, Place("", attack, 0), asked.byzantine, {})
        swarm.conducts(World(swarm.coalition, None))


def seated(asked: Comparison, attack: str) -> bool:
    """Whether the task has what the attack needs."""
    try:
        seat(asked, attack)
    except NoLabels:
        return False
    return True


# -- One run ------------------------------------------------------------------------------------


@lru_cache(maxsize=2)
def task_of(name: str, data: str | None) -> Task:
    """The task, once per process."""
    return find_task(name, path=data)


def attackers(asked: Comparison, rule: str) -> int:
    """How many attackers the rule's runs have: as many as asked for, or the most that it is meant for."""
    if rule not in PROFILES:
        return most_byzantine(find_server(rule), asked.peers, asked.byzantine)
    for byzantine in range(asked.byzantine, -1, -1):
        try:
            assemble(swarm_settings(asked, Place(rule, NO_ATTACK, 0), byzantine), task_of(asked.task, asked.data))
        except ProtocolError:
            if byzantine == 0:
                raise
        else:
            return byzantine
    raise AssertionError("the loop ends with 0")


def play(asked: Comparison, place: Place) -> Cell:
    """One run from its beginning to its end."""
    byzantine = attackers(asked, place.rule)
    if place.rule in PROFILES:
        return play_profile(asked, place, byzantine)
    return play_server(asked, place, byzantine, find_server(place.rule))


def play_profile(asked: Comparison, place: Place, byzantine: int) -> Cell:
    """The protocol itself, over a channel that cannot fail."""
    settings = swarm_settings(asked, place, byzantine)
    summary = train(settings, task_of(asked.task, asked.data), None, lambda event: None)
    lost = ("banned", "eliminated")
    return Cell(
        *place,
        byzantine=byzantine,
        accuracy=summary["accuracy"],
        loss=summary["loss"],
        diverged=summary["diverged"],
        banned=sum(summary[f"byzantine_{how}"] for how in lost),
        honest_banned=sum(summary[f"honest_{how}"] for how in lost),
        stopped=summary["stopped"] is not None,
        seconds=summary["seconds"],
    )


def swarm_settings(asked: Comparison, place: Place, byzantine: int) -> Settings:
    """The settings of a run of the protocol."""
    attack = None if place.attack == NO_ATTACK or not byzantine else place.attack
    return Settings(
        task=asked.task,
        profile=place.rule,
        peers=asked.peers,
        byzantine=byzantine,
        attack=attack,
        attack_start=asked.attack_start,
        steps=asked.steps,
        seed=place.seed,
        data=asked.data,
        liars=byzantine if place.rule == REDUNDANT_CODE else 0,
        channel="ideal",
        logs="none",
    )


def play_server(asked: Comparison, place: Place, byzantine: int, kind: ServerKind) -> Cell:
    """A trusted server, and nobody is banned."""
    task = task_of(asked.task, asked.data)
    overrides = vote_overrides(task, asked.steps) if kind.signed else {}
    swarm = server_swarm(asked, place, byzantine, overrides)
    run = ServerRun(swarm, kind.make(asked.peers, byzantine), place.rule)
    deque(run.play(), maxlen=0)
    quality = run.quality or Evaluation(float("nan"), None)
    worse = diverged(quality, task.evaluate(swarm.parameters))
    return Cell(*place, byzantine, quality.accuracy, finite(quality.loss), worse, seconds=round(run.seconds, 3))


def server_swarm(asked: Comparison, place: Place, byzantine: int, overrides: dict[str, Any]) -> Swarm:
    """Peers of a server: attackers sit where they do in the swarm, and no bound of the protocol applies."""
    settings = swarm_settings(asked, place._replace(rule=PROFILES[0]), byzantine)
    return assemble(replace(settings, tolerate=0, overrides=overrides), task_of(asked.task, asked.data))


def vote_overrides(task: Task, steps: int) -> dict[str, Any]:
    """Gradient descent at the rate for signs, in place of the task's optimizer."""
    rate = task.defaults.vote_rate
    return {"optimizer": describe(Sgd(Schedule(rate, steps)))}


# -- All runs -----------------------------------------------------------------------------------


def played(asked: Comparison, places: Sequence[Place], jobs: int) -> Iterator[Cell]:
    """Play the runs in ``jobs`` processes, the one that is done first first; one process: in this one, in order."""
    if jobs == 1 or len(places) < 2:
        yield from (play(asked, place) for place in places)
        return
    many = min(jobs, len(places))
    with one_thread_each(), ProcessPoolExecutor(many, get_context("spawn"), end_with_the_first) as pool:
        before = set(active_children())
        try:
            for done in as_completed([pool.submit(play, asked, place) for place in places]):
                yield done.result()
        except BrokenProcessPool:
            raise ComparisonError("a process was killed: call the same command again to go on") from None
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for child in set(active_children()) - before:
                child.terminate()
            raise


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Processes started inside compute with one thread each: gradients do anyway, and so do products of matrices."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


# -- The directory ------------------------------------------------------------------------------


@dataclass(frozen=True)
class CellStore:
    """The directory of a comparison: what was asked for, and a line for every run that is done."""

    out: Path

    @contextmanager
    def opened(self, asked: Comparison, overwrite: bool) -> Iterator[list[Cell]]:
        """Begin, or go on; gives the cells that are there. Nobody else writes meanwhile.

        Raises :class:`ComparisonError` if the directory holds another comparison and is not to be overwritten.
        """
        try:
            with RunStore(self.out).locked():
                if overwrite:
                    self.clear()
                self.agree(asked)
                yield self.load(asked)
        except OSError as error:
            raise ComparisonError(f"cannot write to '{self.out}': {error.strerror}") from error

    def clear(self) -> None:
        """Forget the comparison that was here."""
        for name in (CELLS, ASKED, *RESULTS):
            (self.out / name).unlink(missing_ok=True)

    def agree(self, asked: Comparison) -> None:
        """Remember what was asked for; raises :class:`ComparisonError` if it was something else."""
        path, wanted = self.out / ASKED, json.loads(json.dumps(asdict(asked)))
        if not path.exists():
            check(not (self.out / CELLS).exists(), f"'{self.out}' holds {CELLS} without {ASKED}: use --overwrite")
            write_atomically(path, (json.dumps(wanted, indent=2) + "\n").encode())
            return
        try:
            found = json.loads(path.read_bytes())
        except ValueError:
            found = None
        check(isinstance(found, dict), f"'{path}' cannot be read: use --overwrite, or another --out")
        other = [f"--{name.replace('_', '-')}" for name in wanted if found.get(name) != wanted[name]]
        check(
            not other,
            f"'{self.out}' holds a comparison with other {', '.join(other)}: use --overwrite, or another --out",
        )

    def load(self, asked: Comparison) -> list[Cell]:
        """The cells that are there; a line that was cut off when the process was killed is dropped."""
        path = self.out / CELLS
        if not path.exists():
            return []
        content = path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            os.truncate(path, len(whole))
        cells = [self.read(number, line) for number, line in enumerate(whole.splitlines(), start=1)]
        known = set(asked.places())
        return list({cell.place: cell for cell in cells if cell.place in known}.values())

    def read(self, number: int, line: bytes) -> Cell:
        """The cell of a line. Raises :class:`ComparisonError`."""
        try:
            return Cell(**json.loads(line))
        except (ValueError, TypeError):
            raise ComparisonError(f"line {number} of '{self.out / CELLS}' is no cell: use --overwrite") from None

    def append(self, cell: Cell) -> None:
        """Keep a cell: one write of one line, on the disk before this returns."""
        line = json.dumps(asdict(cell)) + "\n"
        descriptor = os.open(self.out / CELLS, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, line.encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
