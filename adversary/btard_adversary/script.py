"""Scripts: what a coalition does in one run, as data that reads like a list of stage directions.

A :class:`Script` is a :class:`Scene` (the swarm and its network) and a list of :class:`Action`. Everything in a run
follows from its script, so a saved script is replayed to the byte.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from btard.protocol.messages import Phase
from btard.protocol.model import BTARD, PROFILES, ProtocolError

ALL = -1
"""The whole coalition."""
ANY = -1
"""Every attempt."""
EVERYONE = 0
"""A mask that names nobody stands for everyone."""


class ScriptError(ProtocolError):
    """A script that cannot be read or played; the message is one sentence."""


CHANNELS = ("broadcast", "ideal")
SCHEDULES = ("even", "late", "random", "apart", "lossy")


@dataclass(frozen=True)
class Schedule:
    """When frames arrive, within Δ: the network's part in a scene."""

    kind: str = "even"
    """``even``: all take a tenth of Δ. ``late``: all take Δ. ``random``: anything up to Δ. ``apart``: what goes to or
    comes from ``peer`` takes Δ, all else next to nothing. ``lossy``: copies are lost, sent again, doubled."""
    peer: int = 0
    seed: int = 0

    def text(self) -> str:
        """The schedule for people."""
        drawn = {"apart": f" (peer {self.peer})", "random": f" (seed {self.seed})", "lossy": f" (seed {self.seed})"}
        return self.kind + drawn.get(self.kind, "")


@dataclass(frozen=True)
class Scene:
    """A swarm before anybody acts. Peers are named by their index in the first roster, in order of their ids."""

    peers: int = 6
    tolerated: int = 2
    attackers: tuple[int, ...] = (0, 1)
    """Who belongs to the coalition; never more than ``tolerated`` where bounds are checked."""
    validators: int = 2
    steps: int = 4
    dimension: int = 24
    seed: int = 0
    channel: str = "broadcast"
    """``broadcast``: every frame over the scene's network. ``ideal``: a channel that cannot fail, and has no links."""
    schedule: Schedule = field(default_factory=Schedule)
    newcomer: int = 0
    """At which step boundary an honest newcomer begins to ask for a seat; 0 for never."""
    leaver: int = 0
    """After which step the last honest peer leaves in good order; 0 for never."""
    returning: int = 0
    """1: whoever has lost the seat without blame asks for one again; 0: nobody does."""
    links: int = 0
    """On a sparse overlay: with how many peers to each side of it in the ring a peer has links; 0: with everyone."""
    classes: int = 1
    """In how many determinism classes the peers compute, in turn; with more than one the run has a tolerance."""
    profile: str = BTARD
    """In profile redundant-code as many liars are located as are tolerated."""


@dataclass(frozen=True)
class Action:
    """One thing that one attacker does in one step."""

    attacker: int
    """Index among the attackers, modulo their number; ``ALL`` for the whole coalition at once."""
    step: int
    do: str
    """Which kind of action (:data:`~btard_adversary.actions.VERBS`)."""
    phase: str = ""
    """The phase whose messages it concerns, by name."""
    frame: str = "message"
    """``message`` (also a part), ``echo``, ``relay``, ``offer``, ``ask`` or ``answer``."""
    field: str = ""
    how: str = ""
    to: int = EVERYONE
    """Mask of recipients, bit i for peer i; 0 for everyone."""
    victim: int = 0
    """An honest member, modulo their number."""
    attempt: int = ANY
    """In which attempt of the step it is done; ``ANY`` for every one. A named attack always acts in every one."""

    def text(self) -> str:
        """The action as a stage direction."""
        what = " ".join(part for part in (self.phase, self.frame if self.frame != "message" else "") if part)
        where = f" of {what}" if what and self.field else f" {what}" if what else ""
        about = f" {self.field}" if self.field else ""
        how = f": {self.how}" if self.how else ""
        to = f", to {peers_of(self.to)} only" if self.to else ""
        aim = f", at victim {self.victim}" if self.victim else ""
        who = "all attackers" if self.attacker == ALL else f"attacker {self.attacker}"
        when = f"step {self.step}" + ("" if self.attempt == ANY else f", attempt {self.attempt}")
        when += " on" if self.do == "attack" else ""
        return f"{when}, {who}: {self.do}{about}{where}{how}{to}{aim}"


def peers_of(mask: int) -> str:
    """The peers of a mask, for people."""
    return "peers " + ", ".join(str(index) for index in range(mask.bit_length()) if mask >> index & 1)


@dataclass(frozen=True)
class Script:
    """A whole run."""

    scene: Scene
    actions: tuple[Action, ...] = ()

    def text(self) -> str:
        """The script for people."""
        scene = self.scene
        who = ", ".join(str(index) for index in scene.attackers) or "nobody"
        network = scene.schedule.text() if scene.channel == "broadcast" else "ideal"
        lines = [
            f"{scene.peers} peers, b = {scene.tolerated}, attackers: {who}; up to {scene.validators} validators",
            f"{scene.steps} steps of {scene.dimension} parameters, seed {scene.seed}; network: {network}",
        ]
        if scene.links:
            lines.append(f"sparse overlay: a ring, with links to {scene.links} peers on each side")
        if scene.classes > 1:
            lines.append(f"tolerance mode: the peers compute in {scene.classes} determinism classes, in turn")
        if scene.profile != BTARD:
            lines.append(f"profile {scene.profile}")
        if scene.newcomer:
            lines.append(f"a newcomer asks for a seat after step {scene.newcomer}")
        if scene.leaver:
            lines.append(f"the last honest peer leaves after step {scene.leaver}")
        if scene.returning:
            lines.append("whoever loses the seat without blame asks for one again")
        acts = [f"  {action.text()}" for action in self.actions]
        return "\n".join([*lines, *(acts or ["  nobody does anything wrong"])])

    def save(self, path: Path) -> None:
        """Write the script as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.as_dict(), indent=1) + "\n", encoding="utf-8")

    def as_dict(self) -> dict[str, Any]:
        """The script as plain data."""
        return {"scene": bare(self.scene), "actions": [bare(action) for action in self.actions]}


def bare(value: Any) -> dict[str, Any]:
    """A dataclass as plain data, without what is as usual."""
    return {f.name: as_plain(getattr(value, f.name)) for f in fields(value) if getattr(value, f.name) != usual(f)}


def usual(f: Any) -> Any:
    """The default of a field."""
    return f.default_factory() if callable(f.default_factory) else f.default


def as_plain(value: Any) -> Any:
    """What JSON can hold."""
    return asdict(value) if isinstance(value, Schedule) else list(value) if isinstance(value, tuple) else value


def load(path: Path) -> Script:
    """Read a script; raises :class:`ScriptError`."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ScriptError(f"cannot read '{path}': {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ScriptError(f"'{path}' is no script: {error}") from error
    return script_of(data, str(path))


def script_of(data: Any, name: str) -> Script:
    """A script from plain data; raises :class:`ScriptError`."""
    try:
        scene = dict(data["scene"])
        schedule = read(Schedule, scene.pop("schedule", {}))
        attackers = tuple(int(index) for index in scene.pop("attackers", Scene.attackers))
        made = read(Scene, {**scene, "schedule": schedule, "attackers": attackers})
        script = Script(made, tuple(read(Action, action) for action in data.get("actions", [])))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ScriptError(f"'{name}' is no script: {error}") from error
    check(script, name)
    return script


def read(kind: type[Any], data: dict[str, Any]) -> Any:
    """One dataclass from plain data; raises :class:`TypeError` for values of another type."""
    known = {f.name: f for f in fields(kind)}
    for name, value in data.items():
        if name not in known:
            raise TypeError(f"a {kind.__name__.lower()} has no '{name}'")
        declared = str(known[name].type)
        if declared in ("int", "str") and (type(value).__name__ != declared):
            raise TypeError(f"'{name}' of a {kind.__name__.lower()} is no {declared}")
    return kind(**data)


def check(script: Script, name: str) -> None:
    """Refuse what cannot be played; raises :class:`ScriptError`."""
    for wrong in (*wrong_scene(script.scene), *(wrong for action in script.actions for wrong in wrong_action(action))):
        raise ScriptError(f"'{name}': {wrong}")


def wrong_scene(scene: Scene) -> Iterator[str]:
    """What is wrong with a scene."""
    attackers = set(scene.attackers)
    if not attackers <= set(range(scene.peers)) or len(attackers) == scene.peers:
        yield "attackers are peers of the roster, and not all of them"
    if scene.peers < 2 * scene.tolerated + 2 or len(attackers) > scene.tolerated:
        yield "the properties are about n ≥ 2b + 2 peers of which at most b are attackers"
    if scene.links and not scene.tolerated < 2 * scene.links < scene.peers:
        yield "on the overlay everyone has links to more than b peers, and not to itself"
    if not 0 <= scene.seed < 1 << 64 or not 1 <= scene.classes <= 8:
        yield "a seed has 64 bits, and there are 1 to 8 determinism classes"
    if scene.dimension < scene.peers + 1:
        yield f"{scene.peers} peers train more than {scene.peers} parameters"
    if scene.links and scene.channel == "ideal":
        yield "an ideal channel has no links"
    if (scene.links or scene.classes > 1) and (scene.newcomer or scene.leaver or scene.returning):
        yield "nobody comes or goes on a sparse overlay or in tolerance mode"
    if scene.profile not in PROFILES:
        yield f"there is no profile '{scene.profile}'"
    if scene.classes > 1 and scene.profile != BTARD:
        yield "only the profile btard has a tolerance mode"
    if scene.channel not in CHANNELS:
        yield f"there is no channel '{scene.channel}'"
    if scene.schedule.kind not in SCHEDULES:
        yield f"there is no schedule '{scene.schedule.kind}'; there is {', '.join(SCHEDULES)}"


def wrong_action(action: Action) -> Iterator[str]:
    """What is wrong with an action."""
    from btard_adversary.actions import FRAMES, VERBS, parts_of, ways

    if action.do not in VERBS:
        yield f"nobody can '{action.do}'; there is {', '.join(sorted(VERBS))}"
    if action.how not in ways(action):
        yield f"there is no '{action.how}' to {action.do} {action.field}".rstrip()
    if action.phase and action.phase not in Phase.__members__:
        yield f"there is no phase '{action.phase}'"
    if action.frame not in FRAMES:
        yield f"there is no frame '{action.frame}'; there is {', '.join(FRAMES)}"
    if action.field not in parts_of(action):
        yield f"there is no '{action.field}' to {action.do}"
    if action.attempt < ANY:
        yield f"there is no attempt {action.attempt}"
