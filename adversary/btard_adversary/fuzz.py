"""Campaigns: the machine plays until the time is up or a property breaks; the script that broke it is made short."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, Verbosity, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from btard_adversary.coverage import Tracer, all_requirements
from btard_adversary.machine import Counts, SwarmMachine, verdict_of
from btard_adversary.script import Action, Scene, Schedule, Script
from btard_adversary.swarm import Violation

BATCH = 15
"""Examples between two looks at the clock."""
STEPS = 8
"""Most steps that the machine plays before it lets a run end."""
TRACED = 20
"""One batch in so many is traced for coverage, which makes it several times as slow."""
EXAMPLES = 20_000
"""Examples of a campaign that nobody limits."""

Variation = Callable[[], AbstractContextManager[Any]]


@dataclass(frozen=True)
class Found:
    """A script that breaks a property."""

    script: Script
    property: str
    side: str
    sentence: str
    example: int
    """The number of the swarm that broke it."""

    def lines(self) -> Iterator[str]:
        """For people."""
        yield f"{self.side} ({self.property}): {self.sentence}"
        yield from self.script.text().splitlines()


@dataclass
class Campaign:
    """What one campaign has done."""

    variant: str = ""
    """Its name; empty for the reference."""
    counts: Counts = field(default_factory=Counts)
    covered: set[str] = field(default_factory=set)
    found: Found | None = None
    seconds: float = 0.0

    def lines(self) -> Iterator[str]:
        """For people."""
        c, every = self.counts, all_requirements()
        yield f"{c.swarms:,} swarms, {c.steps:,} steps, {c.mutated:,} mutated messages in {self.seconds:.0f} s"
        if self.covered:
            yield f"{len(self.covered & every)} of {len(every)} requirements with enforcing code were exercised"
        yield from ["no property was violated"] if self.found is None else self.found.lines()

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        c, found = self.counts, self.found
        return {
            "variant": self.variant or None,
            "swarms": c.swarms,
            "steps": c.steps,
            "mutated_messages": c.mutated,
            "seconds": round(self.seconds, 1),
            "requirements_covered": sorted(self.covered),
            "requirements": len(all_requirements()),
            "violation": None
            if found is None
            else {
                "property": found.property,
                "side": found.side,
                "sentence": found.sentence,
                "swarm": found.example,
                "actions": len(found.script.actions),
                "script": found.script.as_dict(),
            },
        }


def variation(name: str) -> Variation:
    """The context in which a variant is the protocol; the reference for an empty name. Raises
    :class:`~btard_adversary.variants.VariantError`."""
    from btard_adversary.faulty import find

    return find(name) if name else nullcontext


def campaign(
    name: str = "",
    seconds: float = 60.0,
    first_seed: int = 0,
    examples: int = EXAMPLES,
    blind: bool = False,
) -> Campaign:
    """Fuzz the reference, or the variant ``name``, in this process: until ``seconds`` are over, ``examples`` swarms
    have been played, or a property breaks. The same seed plays the same swarms."""
    done, began, batch = Campaign(name), time.monotonic(), 0
    vary = variation(name)
    while time.monotonic() - began < seconds and done.counts.swarms < examples and done.found is None:
        machine = machine_of(vary, blind)
        number = first_seed * 1_000_003 + batch
        tracer = Tracer()
        with tracer.on() if not name and batch % TRACED == 0 else nullcontext():
            violation = run_batch(machine, number, min(BATCH, examples - done.counts.swarms))
        done.covered |= tracer.covered
        done.counts.add(machine.counts)
        if violation is not None and machine.last is not None:
            short, verdict = shortest(machine.last, vary, violation)
            done.found = Found(short, verdict.property, verdict.side, verdict.sentence, done.counts.swarms)
        batch += 1
    done.seconds = time.monotonic() - began
    return done


def machine_of(vary: Variation, blind: bool) -> type[SwarmMachine]:
    """A machine of its own, with its own counts."""

    class Machine(SwarmMachine):
        """One batch of a campaign."""

        variant = staticmethod(vary)
        counts = Counts()
        last = None

    Machine.blind = blind
    return Machine


def run_batch(machine: type[SwarmMachine], number: int, examples: int) -> Violation | None:
    """Let Hypothesis play some swarms; the violation that it ends with, if any."""
    chosen = settings(
        max_examples=max(1, examples),
        stateful_step_count=STEPS,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        verbosity=Verbosity.quiet,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    try:
        run_state_machine_as_test(seed(number)(machine), settings=chosen)
    except Violation as violation:
        return violation
    return None


# -- Making scripts short ----------------------------------------------------------------------------


def shortest(script: Script, vary: Variation, violation: Violation) -> tuple[Script, Violation]:
    """A script with as few actions, and as small a swarm, as still break a property; with what it breaks.

    Greedy: every simplification that still breaks something is kept.
    """
    best, verdict = script, violation

    def try_out(candidate: Script) -> bool:
        nonlocal best, verdict
        found = verdict_of(candidate, vary) if playable(candidate.scene) else None
        if found is None:
            return False
        best, verdict = candidate, found
        return True

    again = True
    while again:
        again = drop_actions(lambda: best, try_out)
        again = simplify_scene(lambda: best, try_out) or again
    return best, verdict


def drop_actions(best: Callable[[], Script], try_out: Callable[[Script], bool]) -> bool:
    """Leave out all actions, then half of them, then one at a time; whether anything could go."""
    changed, size = False, len(best().actions)
    while size:
        start = 0
        while start < len(best().actions):
            actions = best().actions
            fewer = actions[:start] + actions[start + size :]
            if try_out(replace(best(), actions=fewer)):
                changed = True
            else:
                start += size
        size //= 2
    return changed


def simplify_scene(best: Callable[[], Script], try_out: Callable[[Script], bool]) -> bool:
    """Make the swarm smaller and the network plainer; whether anything could be simpler."""
    changed = False
    for simpler in simpler_scenes(best().scene):
        current = best()
        changed = try_out(Script(simpler(current.scene), clipped(current.actions))) or changed
    return changed


def simpler_scenes(scene: Scene) -> Iterator[Callable[[Scene], Scene]]:
    """Ways to simplify a scene."""
    if scene.newcomer:
        yield lambda s: replace(s, newcomer=0)
    if scene.leaver:
        yield lambda s: replace(s, leaver=0)
    if scene.channel != "ideal":
        yield lambda s: replace(s, channel="ideal")
        if scene.schedule != Schedule():
            yield lambda s: replace(s, schedule=Schedule())
    for b in range(1, scene.tolerated):
        yield lambda s, b=b: smaller(s, b)  # type: ignore[misc]
    if len(scene.attackers) > 1:
        yield lambda s: replace(s, attackers=s.attackers[:-1])
        yield lambda s: replace(s, attackers=s.attackers[:1])
    if scene.steps > 3:
        yield lambda s: replace(s, steps=s.steps - 1)


def smaller(scene: Scene, tolerated: int) -> Scene:
    """A swarm of 2b + 2 peers for a smaller b."""
    peers = 2 * tolerated + 2
    attackers = tuple(sorted({index % peers for index in scene.attackers}))[:tolerated]
    return replace(scene, tolerated=tolerated, peers=peers, attackers=attackers)


def clipped(actions: tuple[Action, ...]) -> tuple[Action, ...]:
    """The actions of a script whose scene has changed: they name attackers and victims modulo their numbers."""
    return actions


def playable(scene: Scene) -> bool:
    """Whether a scene is one that the properties are about."""
    return scene.peers >= 2 * scene.tolerated + 2 and 1 <= len(scene.attackers) <= scene.tolerated and scene.steps >= 2


# -- Many campaigns ----------------------------------------------------------------------------------


def campaigns(
    names: list[str], seconds: float, first_seed: int, jobs: int, examples: int = EXAMPLES, blind: bool = False
) -> Iterator[Campaign]:
    """One campaign for each variant, several at a time; in the order in which they end."""
    if jobs <= 1:
        for name in names:
            yield campaign(name, seconds, first_seed, examples, blind)
        return
    from concurrent.futures import as_completed

    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        waiting = [pool.submit(campaign, name, seconds, first_seed, examples, blind) for name in names]
        for future in as_completed(waiting):
            yield future.result()


def shared(name: str, seconds: float, first_seed: int, jobs: int, examples: int = EXAMPLES) -> Campaign:
    """One campaign on several cores: each plays other swarms; the first violation found is the result."""
    whole = Campaign(name)
    share = -(-examples // max(1, jobs))
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        parts = [pool.submit(campaign, name, seconds, first_seed + 7919 * job, share) for job in range(jobs)]
        for part in parts:
            done = part.result()
            whole.counts.add(done.counts)
            whole.covered |= done.covered
            whole.seconds = max(whole.seconds, done.seconds)
            whole.found = whole.found or done.found
    return whole


def cores() -> int:
    """How many processes a campaign uses by default."""
    return max(1, min(os.cpu_count() or 1, 8))


def save(found: Found, folder: Path, name: str) -> Path:
    """Keep a script that breaks a property; the path."""
    path = folder / f"{name or 'reference'}-{found.property.lower()}.json"
    found.script.save(path)
    return path
