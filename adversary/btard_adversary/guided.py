"""Guided search: what makes a variant behave differently from the reference is where a fault can be.

A script is deterministic, so the same script on the reference says whether the variant's change came into play at
all. Scripts in which it did, and no property broke, are played again with something more.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field, replace

from btard.protocol.encoding import tagged_hash
from hypothesis import strategies as st

from btard_adversary.machine import Play
from btard_adversary.script import Scene, Script
from btard_adversary.strategies import conspiracies, every_other, schedules, several, weighted
from btard_adversary.swarm import Violation

KEPT = 40
"""Most scripts that are kept to start from: those with the fewest actions in the smallest swarms."""


def trace(play: Play) -> bytes:
    """What honest peers came to, in one hash: their logs, their radii, and when they applied their steps."""
    swarm = play.swarm
    logs = [swarm.log_of(seat.id) for seat in swarm.simulation.honest]
    radii = [state.radii.radii.tobytes() for state in swarm.boundaries]
    return tagged_hash("btard/adversary/trace", *logs, *radii, repr(swarm.times).encode())


def reference_trace(script: Script) -> bytes:
    """The same of the reference."""
    play = Play(script.scene, nullcontext)
    play.swarm.plan(script)
    while play.advance():
        pass
    return trace(play)


@dataclass
class Pool:
    """Scripts in which a variant differs from the reference."""

    scripts: list[Script] = field(default_factory=list)
    differed: int = 0
    """In how many swarms it did."""
    compared: int = 0

    def look(self, play: Play) -> None:
        """Keep the script of a finished run, in which somebody did something, if the variant behaved differently."""
        script = play.swarm.script
        if not play.counts.mutated:
            return
        self.compared += 1
        try:
            differs = trace(play) != reference_trace(script)
        except Violation:
            return  # the reference breaks; the campaign on the reference is the place to say so
        if differs and script not in self.scripts:
            self.differed += 1
            self.scripts = sorted([*self.scripts, script], key=size)[:KEPT]


def size(script: Script) -> tuple[int, int]:
    """How long a script is, then how large its swarm."""
    return len(script.actions), script.scene.peers


@st.composite
def grown(draw: st.DrawFn, scripts: list[Script]) -> Script:
    """One of ``scripts`` with something more, or in another scene."""
    script = draw(st.sampled_from(scripts))
    scene, first = script.scene, min([action.step for action in script.actions], default=0)
    step = min(max(0, first + draw(st.sampled_from([0, 0, 0, 0, -1, 1, 2]))), scene.steps)
    more = draw(weighted((3, several(scene, step)), (1, conspiracies(step, scene.channel == "broadcast"))))
    kept = script.actions if draw(st.integers(0, 3)) else tuple(replace(action, attempt=1) for action in script.actions)
    return Script(draw(elsewhere(scene)), (*kept, *more))


@st.composite
def elsewhere(draw: st.DrawFn, scene: Scene) -> Scene:
    """A scene, at times with more attackers, other ones, another network or a longer run."""
    if draw(st.booleans()):
        return scene
    count = draw(st.integers(1, scene.tolerated))
    first = draw(st.integers(0, scene.peers - 1))
    attackers = every_other(first, count, scene.peers)
    return replace(
        scene, attackers=attackers, schedule=draw(schedules()), steps=max(scene.steps, draw(st.integers(3, 7)))
    )
