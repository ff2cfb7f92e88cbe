"""The stateful machine: Hypothesis seats a swarm, adds actions, plays it step by step, and checks every property."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from btard_adversary.properties import Watch, at_the_end
from btard_adversary.script import Scene, Script
from btard_adversary.strategies import MIXED, noise, scenes, turns
from btard_adversary.swarm import Swarm, Violation

Variation = Callable[[], AbstractContextManager[Any]]
"""Makes the context in which a variant is the protocol."""


@dataclass
class Counts:
    """How much has been played."""

    swarms: int = 0
    steps: int = 0
    mutated: int = 0
    """Messages, parts and gradients that were not what an honest peer would have sent."""

    def add(self, other: Counts) -> None:
        """Take in the counts of another run."""
        self.swarms += other.swarms
        self.steps += other.steps
        self.mutated += other.mutated


AFTERMATH = 3
"""Steps that are still played when no attacker is left: so long something may come of what they did (VER-7)."""


class Play:
    """One script, played under watch. Every method raises :class:`~btard_adversary.swarm.Violation`."""

    def __init__(self, scene: Scene, variant: Variation = nullcontext, **how: Any):
        self.swarm = Swarm(scene, variant, **how)
        self.watch = Watch(self.swarm)
        self.steps = 0
        self.quiet = 0
        """For how many steps nobody has had anything to attack with."""
        self.broken = False
        """Whether a property has been violated; then there is nothing more to play."""

    def step(self) -> bool:
        """Play one step and check it; whether there was one."""
        with self.noticing():
            if not self.advance():
                return False
            self.watch.after_step()
            return True

    @contextmanager
    def noticing(self) -> Iterator[None]:
        """Notice a violation on its way."""
        try:
            yield
        except Violation:
            self.broken = True
            raise

    def advance(self) -> bool:
        """Play one step unchecked; whether there was one. A run is over soon after its last attacker."""
        if self.broken or self.quiet > AFTERMATH or self.swarm.step() is None:
            return False
        self.steps += 1
        self.quiet = 0 if self.swarm.contested else self.quiet + 1
        return True

    def finish(self) -> None:
        """Play to the end, and let an auditor look at the log."""
        while self.step():
            pass
        if not self.broken:
            with self.noticing():
                at_the_end(self.watch)

    @property
    def counts(self) -> Counts:
        """What has been played."""
        mutated = sum(recorder.altered for recorder in self.swarm.recorders.values())
        return Counts(1, self.steps, mutated)


def run_script(script: Script, variant: Variation = nullcontext, **how: Any) -> Counts:
    """Play a whole script under watch; raises :class:`~btard_adversary.swarm.Violation`."""
    play = Play(script.scene, variant, **how)
    play.swarm.plan(script)
    play.finish()
    return play.counts


def verdict_of(script: Script, variant: Variation = nullcontext) -> Violation | None:
    """The property that a script breaks, if any."""
    try:
        run_script(script, variant)
    except Violation as violation:
        return violation
    return None


class SwarmMachine(RuleBasedStateMachine):
    """Swarms of 4 to ``most_peers`` peers under scripts that grow as they are played.

    Subclass it to choose a ``variant`` or larger swarms. The last script played is ``last``.
    """

    variant: ClassVar[Variation] = nullcontext
    counts: ClassVar[Counts] = Counts()
    played: ClassVar[set[Script]] = set()
    """What was counted."""
    last: ClassVar[Script | None] = None
    most_peers: ClassVar[int] = 18
    look: ClassVar[Callable[[Play], None]] = lambda play: None
    """Gets every run that ended well."""
    profiles: ClassVar[tuple[str, ...]] = MIXED
    """What scenes are drawn from."""
    blind: ClassVar[bool] = False
    """Whether attackers send random bytes and nothing else: the baseline."""

    def __init__(self) -> None:
        super().__init__()
        self.play: Play | None = None

    @initialize(data=st.data())
    def seat(self, data: st.DataObject) -> None:
        """Seat a swarm."""
        self.play = Play(data.draw(scenes(type(self).most_peers, type(self).profiles)), type(self).variant)

    @rule(data=st.data())
    def go_on(self, data: st.DataObject) -> None:
        """Let the attackers plan ahead, and play a step. At a boundary the next step has begun already."""
        if self.play is None or self.play.swarm.finished:
            return
        swarm = self.play.swarm
        for step in (swarm.steps + 1,) if swarm.steps else (0, 1):
            swarm.act(*data.draw(st.lists(noise(step), max_size=3) if type(self).blind else turns(swarm.scene, step)))
        self.check(self.play.step)

    def check(self, step: Callable[[], object]) -> None:
        """Play on; what has been played so far is kept for whoever catches a violation."""
        if self.play is not None:
            type(self).last = self.play.swarm.script
            step()

    def teardown(self) -> None:
        """Play to the end."""
        if self.play is not None:
            try:
                self.check(self.play.finish)
                type(self).look(self.play)
            finally:
                type(self).count(self.play)

    @classmethod
    def count(cls, play: Play) -> None:
        """Count a run, unless it has been played before."""
        if play.swarm.script not in cls.played:
            cls.played.add(play.swarm.script)
            cls.counts.add(play.counts)
