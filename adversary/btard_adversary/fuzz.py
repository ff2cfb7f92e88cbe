"""Campaigns: the machine plays until the time is up or a property breaks; the script that broke it is made short."""

from __future__ import annotations

import gc
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from btard.protocol.model import BTARD
from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings, target
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test

from btard_adversary.coverage import Tracer, all_requirements
from btard_adversary.guided import Pool, grown
from btard_adversary.machine import Counts, Play, SwarmMachine, Variation, verdict_of
from btard_adversary.processes import end_with_the_first
from btard_adversary.script import ALL, Action, Scene, Schedule, Script
from btard_adversary.strategies import MIXED, scenes
from btard_adversary.swarm import Swarm, Violation
from btard_adversary.sweep import order, swept
from btard_adversary.variants import Variant

BATCH = 2
"""Examples that Hypothesis is asked for at a time: the simplest one, which is not counted, and a fresh one. Of more, it
derives five of six from those before, and a campaign meets far fewer different deeds."""
SWEPT = 16
"""Scripts of the sweep between two batches. They are not compared with the reference: that takes as long again."""
TARGETED = 15
"""Examples of a search with a target, where deriving is the point."""
STEPS = 8
"""Most steps that the machine plays before it lets a run end."""
TRACED = 10
"""One batch in so many is traced for coverage, which makes it several times as slow."""
EXAMPLES = 20_000
"""Examples of a campaign that nobody limits."""


@dataclass(frozen=True)
class Found:
    """A script that breaks a property."""

    script: Script
    property: str
    side: str
    sentence: str
    example: int
    """The number of the swarm that broke it."""
    reference: bool = False
    """Whether it breaks the reference too: then the variant is not to blame."""

    def lines(self) -> Iterator[str]:
        """For people."""
        yield f"{self.side} ({self.property}): {self.sentence}"
        if self.reference:
            yield "the reference breaks on this script, too: please report it"
        yield from self.script.text().splitlines()


@dataclass
class Campaign:
    """What one campaign has done."""

    variant: str = ""
    """Its name; empty for the reference."""
    counts: Counts = field(default_factory=Counts)
    covered: set[str] = field(default_factory=set)
    found: Found | None = None
    differed: int = 0
    """In how many of ``compared`` swarms a variant behaved differently from the reference and broke nothing."""
    compared: int = 0
    swept: int = 0
    """How many scripts of the sweep were played."""
    seconds: float = 0.0

    def lines(self) -> Iterator[str]:
        """For people."""
        c, every = self.counts, all_requirements()
        yield f"{c.swarms:,} swarms, {c.steps:,} steps, {c.mutated:,} mutated messages in {self.seconds:.0f} s"
        if self.covered:
            yield f"{len(self.covered & every)} of {len(every)} requirements with enforcing code were exercised"
        if self.compared:
            yield f"in {self.differed:,} of {self.compared:,} swarms the variant behaved differently and broke nothing"
        yield f"{min(self.swept, len(order(0))):,} of the {len(order(0)):,} scripts of the sweep were played"
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
            "differed": self.differed,
            "compared": self.compared,
            "swept": self.swept,
            "requirements_covered": None if self.variant else sorted(self.covered),
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


def variation(name: str | Variant) -> Variation:
    """The context in which a variant is the protocol; the reference for an empty name. Raises
    :class:`~btard_adversary.variants.VariantError`."""
    from btard_adversary.faulty import find

    if isinstance(name, Variant):
        return name
    return find(name) if name else nullcontext


def campaign(
    name: str | Variant = "",
    seconds: float = 60.0,
    first_seed: int = 0,
    examples: int = EXAMPLES,
    blind: bool = False,
    job: int = 0,
    jobs: int = 1,
) -> Campaign:
    """Fuzz the reference, or the variant ``name``, in this process: until ``seconds`` are over, ``examples`` swarms
    have been played, or a property breaks. The same seed plays the same swarms; each of ``jobs`` processes others."""
    done = Campaign(name.name if isinstance(name, Variant) else name)
    with seldom_collecting():
        search(done, variation(name), seconds, first_seed, examples, blind, job, jobs)
    return done


def search(
    done: Campaign, vary: Variation, seconds: float, first_seed: int, examples: int, blind: bool, job: int, jobs: int
) -> None:
    """Play batches of swarms, and write what happens into ``done``."""
    reference = vary is nullcontext
    began, batch, pool, played = time.monotonic(), 0, Pool(), set[Script]()
    while time.monotonic() - began < seconds and done.counts.swarms < examples and done.found is None:
        if ENOUGH is not None and ENOUGH.is_set():
            break
        machine = machine_of(vary, blind, played)
        if not reference:
            machine.look = staticmethod(pool.look)
        number = (first_seed + 7919 * job) * 1_000_003 + batch
        tracer = Tracer()
        trace = reference and batch % TRACED == 0
        with tracer.on() if trace else nullcontext():
            violation = run_batch(machine, number, BATCH)
        if violation is None and not blind:
            first = job + jobs * batch * SWEPT
            violation = run_sweep(machine, first_seed, range(first, first + jobs * SWEPT, jobs))
            done.swept += SWEPT
        if violation is None and pool.scripts and not blind:
            violation = run_guided(machine, number, BATCH, pool)
        done.differed, done.compared = pool.differed, pool.compared
        done.covered |= tracer.covered
        done.counts.add(machine.counts)
        if violation is not None and machine.last is not None:
            short, verdict = shortest(machine.last, vary, violation)
            too = verdict_of(short) is not None
            if ENOUGH is not None:
                ENOUGH.set()
            done.found = Found(short, verdict.property, verdict.side, verdict.sentence, done.counts.swarms, too)
        batch += 1
    done.seconds = time.monotonic() - began


@contextmanager
def seldom_collecting() -> Iterator[None]:
    """Let Python look for garbage cycles seldom: with so many living objects that takes a third of the time."""
    usual = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    try:
        yield
    finally:
        gc.set_threshold(*usual)
        gc.unfreeze()


def machine_of(vary: Variation, blind: bool, played: set[Script]) -> type[SwarmMachine]:
    """A machine of its own, with its own counts, in which runs that were ``played`` are not counted again."""

    class Machine(SwarmMachine):
        """One batch of a campaign."""

        variant = staticmethod(vary)
        counts = Counts()
        last = None

    Machine.played, Machine.blind = played, blind
    Machine.profiles = getattr(vary, "profiles", MIXED)
    return Machine


def batch_settings(examples: int, *phases: Phase) -> settings:
    """Hypothesis as a generator: no database, no deadline, no shrinking of its own."""
    return settings(
        max_examples=max(1, examples),
        stateful_step_count=STEPS,
        phases=[Phase.generate, *phases],
        database=None,
        deadline=None,
        verbosity=Verbosity.quiet,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )


def run_batch(machine: type[SwarmMachine], number: int, examples: int) -> Violation | None:
    """Let Hypothesis play some swarms; the violation that it ends with, if any."""
    try:
        run_state_machine_as_test(seed(number)(machine), settings=batch_settings(examples))
    except Violation as violation:
        return violation
    return None


def run_sweep(machine: type[SwarmMachine], sweep: int, places: range) -> Violation | None:
    """Play the next scripts of the sweep."""
    try:
        for place in places:
            play_script(machine, swept(sweep, place, machine.profiles), lambda play: None)
    except Violation as violation:
        return violation
    return None


def run_guided(machine: type[SwarmMachine], number: int, examples: int, pool: Pool) -> Violation | None:
    """Play scripts that grow out of those in which the variant differs."""

    def one(script: Script) -> None:
        play_script(machine, script, machine.look)

    try:
        seed(number)(batch_settings(examples)(given(grown(list(pool.scripts)))(one)))()
    except Violation as violation:
        return violation
    return None


def play_script(machine: type[SwarmMachine], script: Script, look: Callable[[Play], None]) -> None:
    """Play one script under watch as the machine would; ``look`` gets the run that ended well."""
    machine.last, play = script, Play(script.scene, machine.variant)
    play.swarm.plan(script)
    try:
        play.finish()
        look(play)
    finally:
        machine.count(play)


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
        changed = try_out(replace(current, scene=simpler(current.scene))) or changed
    current = best()
    plain = tuple(plainer(action, len(current.scene.attackers)) for action in current.actions)
    if plain != current.actions:
        changed = try_out(replace(current, actions=plain)) or changed
    return changed


def plainer(action: Action, attackers: int) -> Action:
    """The action with its attacker named by its index, and no victim but the first."""
    alone = action.attacker != ALL or attackers == 1
    return replace(action, attacker=action.attacker % attackers if alone else ALL, victim=0)


def simpler_scenes(scene: Scene) -> Iterator[Callable[[Scene], Scene]]:
    """Ways to simplify a scene."""
    if scene.newcomer:
        yield lambda s: replace(s, newcomer=0)
    if scene.leaver:
        yield lambda s: replace(s, leaver=0)
    if scene.returning:
        yield lambda s: replace(s, returning=0)
    if scene.classes > 1:
        yield lambda s: replace(s, classes=1)
    if scene.profile != BTARD:
        yield lambda one: replace(one, profile=BTARD)
    if scene.links:
        yield lambda s: replace(s, links=0)
    if scene.channel != "ideal":
        yield lambda s: replace(s, channel="ideal", links=0)
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


def playable(scene: Scene) -> bool:
    """Whether a scene is one that the properties are about."""
    return scene.peers >= 2 * scene.tolerated + 2 and 1 <= len(scene.attackers) <= scene.tolerated and scene.steps >= 2


# -- Somebody's own attack -----------------------------------------------------------------------------


@dataclass
class AttackReport:
    """What an attack achieved."""

    attack: str
    counts: Counts = field(default_factory=Counts)
    reach: float = 0.0
    """The largest distance of an applied part from the honest mean, in units of the bound (CLIP-6)."""
    script: Script | None = None
    """The run in which that was."""
    violation: Violation | None = None
    ends: Counter[str] = field(default_factory=Counter)
    """How attackers ended."""
    seconds: float = 0.0

    def lines(self) -> Iterator[str]:
        """For people."""
        yield f"attack {self.attack}: {self.counts.swarms:,} swarms, {self.counts.steps:,} steps, {self.seconds:.0f} s"
        yield f"largest deviation of an applied part from the honest mean: {self.reach:.3f} of the bound (CLIP-6)"
        yield "attackers: " + ", ".join(f"{count:,} {end}" for end, count in self.ends.most_common())
        yield "no property was violated" if self.violation is None else str(self.violation)
        yield from self.script.text().splitlines() if self.script is not None else ()

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        return {
            "attack": self.attack,
            "swarms": self.counts.swarms,
            "steps": self.counts.steps,
            "reach": self.reach,
            "ends": dict(self.ends),
            "violation": None if self.violation is None else str(self.violation),
            "script": None if self.script is None else self.script.as_dict(),
        }


def attack_script(name: str, scene: Scene, first: int) -> Script:
    """All attackers of a scene carry out the named attack from step ``first`` on."""
    return Script(scene, (Action(ALL, first, "attack", how=name),))


def search_attack(name: str, seconds: float, first_seed: int = 0, examples: int = EXAMPLES) -> AttackReport:
    """Let Hypothesis look for the scene in which a named attack, or ``module:name``, moves the model farthest."""
    report, began = AttackReport(name), time.monotonic()

    def one(scene: Scene, first: int) -> None:
        script = attack_script(name, scene, first)
        play = Play(scene)
        play.swarm.plan(script)
        try:
            play.finish()
        except Violation as violation:
            if report.violation is None:
                report.violation, report.script = violation, script
        report.counts.add(play.counts)
        report.ends.update(ends_of(play.swarm))
        if play.watch.reach > report.reach and report.violation is None:
            report.reach, report.script = play.watch.reach, script
        target(play.watch.reach)

    batch = 0
    while time.monotonic() - began < seconds and report.counts.swarms < examples and report.violation is None:
        most = max(1, min(TARGETED, examples - report.counts.swarms))
        search = given(scenes(), st.integers(0, 2))(one)
        seed(first_seed * 1_000_003 + batch)(batch_settings(most, Phase.target)(search))()
        batch += 1
    report.seconds = time.monotonic() - began
    return report


def ends_of(swarm: Swarm) -> list[str]:
    """How each attacker of a finished run ended."""
    members = swarm.members
    if not members:
        return []
    removals = {removal.peer: f"{removal.how.value}: {removal.fault.text}" for removal in members[0].state.removals}
    return [removals.get(peer, "kept their seats") for peer in swarm.coalition]


# -- Many campaigns ----------------------------------------------------------------------------------


def campaigns(
    names: list[str], seconds: float, first_seed: int, jobs: int, examples: int = EXAMPLES, blind: bool = False
) -> Iterator[Campaign]:
    """One campaign for each variant, several at a time; in the order in which they end."""
    if jobs <= 1:
        for name in names:
            yield campaign(name, seconds, first_seed, examples, blind)
        return
    with ProcessPoolExecutor(jobs, get_context("spawn"), end_with_the_first) as pool:
        waiting = [pool.submit(campaign, name, seconds, first_seed, examples, blind) for name in names]
        for future in as_completed(waiting):
            yield future.result()


ENOUGH: Event | None = None
"""Set as soon as one of the processes that share a campaign has found something."""


def stop_together(enough: Event) -> None:
    """A process that shares a campaign begins."""
    global ENOUGH
    end_with_the_first()
    ENOUGH = enough


def shared(
    name: str, seconds: float, first_seed: int, jobs: int, examples: int = EXAMPLES, blind: bool = False
) -> Campaign:
    """One campaign on several cores: each plays other swarms; when one has found something, all stop."""
    whole = Campaign(name)
    share = -(-examples // max(1, jobs))
    context = get_context("spawn")
    with ProcessPoolExecutor(jobs, context, stop_together, (context.Event(),)) as pool:
        parts = [pool.submit(campaign, name, seconds, first_seed, share, blind, job, jobs) for job in range(jobs)]
        for part in parts:
            done = part.result()
            whole.counts.add(done.counts)
            whole.covered |= done.covered
            whole.differed += done.differed
            whole.compared += done.compared
            whole.swept += done.swept
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
