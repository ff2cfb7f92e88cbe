"""The sweep: every single thing that an attacker can do, what is said or computed also in a retry, and conspiracies.

A random search takes long to come to the rarer actions. The sweep goes through all of them, in small swarms and in an
order that a seed fixes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import cycle, zip_longest
from random import Random
from typing import Any

from btard.protocol.model import BTARD
from btard.protocol.step import CLOSING_STEPS

from btard_adversary.actions import (
    BESIDE,
    BEYOND,
    BROUGHT,
    CERTIFICATE,
    DELAYS,
    EARLIER,
    FOR_EVER,
    LIES,
    NAMES,
    NEARBY,
    RELAY,
    SOON,
    VALUES,
    WHEN,
)
from btard_adversary.mutations import BYTES, HEADERS, catalogue
from btard_adversary.script import ALL, ANY, EVERYONE, Action, Scene, Schedule, Script
from btard_adversary.strategies import AGREED, PHASES, PHASES_OF, SHIFTS, VOTED, every_other, named_attacks, on_links

Deviation = dict[str, Any]
"""What an :class:`~btard_adversary.script.Action` is about, but for who does it, and when."""

Part = tuple[int, int, Deviation]
"""Who does it, so many steps after the first, and what."""


@dataclass(frozen=True)
class Stop:
    """One script of the sweep."""

    parts: tuple[Part, ...]
    links: bool
    """Whether it takes links."""
    again: bool = False
    """Whether it happens in a retry."""
    scene: dict[str, Any] = field(default_factory=dict)
    """What the scene must be like."""

    def is_dear(self) -> bool:
        """Whether it takes several times as long as others, which come first."""
        return self.links and self.scene.get("peers", 6) > 5


AT_CLOSING = 1000
"""So many steps after the first: in the step of the closing record."""
SOME, FEW = 0b010101, 0b1000
"""Masks that name some or hardly any of a few peers."""
MESSAGES = tuple(phase for phase in PHASES if phase != "CLOSING")


def alterations() -> Iterator[Deviation]:
    """Every field of every message, changed in every way for everyone."""
    for (message, name), changes in catalogue().items():
        for how in changes if message != "Vote" else ():
            if message == "Echo":
                for phase in AGREED:
                    yield {"do": "alter", "phase": phase, "frame": "echo", "field": name, "how": how}
            else:
                yield {"do": "alter", "phase": PHASES_OF[message][0], "field": name, "how": how}


def computations() -> Iterator[Deviation]:
    """Every other gradient and aggregate, every lie about others."""
    for how in VALUES:
        yield {"do": "gradient", "how": how}
        if "norm" not in how:
            yield {"do": "aggregate", "how": how}
    for how in LIES:
        yield {"do": "accuse", "how": how}
    yield {"do": "leave"}


def second_versions() -> Iterator[Deviation]:
    """One change of every field, for some."""
    for (message, name), changes in catalogue().items():
        if message not in ("Vote", "Echo"):
            how, phase = next(iter(changes)), PHASES_OF[message][0]
            yield {"do": "alter", "phase": phase, "field": name, "how": how, "to": SOME}
    yield {"do": "twin", "to": SOME}


def transmissions() -> Iterator[Deviation]:
    """Everything that can happen to a frame of any phase."""
    for phase in MESSAGES:
        frames = ("message", "echo", "relay") if phase in AGREED else ("message",)
        for frame in frames:
            for to in (EVERYONE, SOME):
                yield {"do": "drop", "phase": phase, "frame": frame, "to": to}
            yield {"do": "repeat", "phase": phase, "frame": frame}
            for how in WHEN if frame != "relay" else ():
                yield {"do": "contradict", "phase": phase, "frame": frame, "how": how, "to": SOME}
            for how in DELAYS:
                yield {"do": "delay", "phase": phase, "frame": frame, "how": how, "to": SOME}
        for how in HEADERS:
            yield {"do": "resign", "phase": phase, "how": how}
            yield {"do": "resign", "phase": phase, "how": how, "field": BESIDE, "to": SOME}
        for how in BYTES:
            yield {"do": "corrupt", "phase": phase, "how": how}
        for how in ("beside", "instead"):
            for name in EARLIER:
                yield {"do": "replay", "phase": phase, "field": name, "how": how}
            for name in NAMES:
                yield {"do": "sign as", "phase": phase, "field": name, "how": how}
        for how in (RELAY, CERTIFICATE) if phase in AGREED else ():
            yield {"do": "forge", "phase": phase, "how": how}


def conspiracies() -> Iterator[tuple[Part, ...]]:
    """What a coalition does together."""
    for shift in SHIFTS:
        for how in ("", NEARBY):
            yield (0, 0, {"do": "aggregate", "how": shift}), (ALL, 0, {"do": "cover", "how": how})
    for vector in ("inner_products", "norms"):
        for how in catalogue()["Report", vector]:
            lie = {"do": "alter", "phase": "REPORT", "field": vector, "how": how}
            yield (1, 0, {"do": "gradient", "how": "one entry"}), (0, 0, lie)
            yield (1, 0, {"do": "gradient", "how": "negate"}), (1, 0, lie)
    for how in LIES:
        yield (0, 0, {"do": "accuse", "how": how}), (1, 1, {"do": "accuse", "how": how})
        for after in range(4):  # an accusation of a validator is another matter, and who is one is drawn by lot
            yield ((ALL, after, {"do": "accuse", "how": how}),)
    for after in range(4):
        yield ((ALL, after, {"do": "gradient", "how": BEYOND}),)
    for phase in AGREED:
        complaint = {"do": "alter", "phase": phase, "field": "notices", "how": "complain about the victim"}
        yield ((ALL, 0, complaint),)
        yield (1, 0, {"do": "aggregate", "how": "shift"}), (ALL, 0, complaint)


def partial_broadcasts() -> Iterator[Stop]:
    """One attacker among four: a message that some get, an echo that others get, and what may come behind it."""
    scene = {"tolerated": 1, "peers": 4, "attackers": (0,)}
    phases = cycle(AGREED)
    for withheld in (0b1000, 0b1100):
        for unheard in (0b1000, 0b1100, 0b0100, 0b0110, 0b1110):
            for phase in AGREED:
                yield Stop((unsaid(phase, withheld), unsaid(phase, unheard, "echo")), True, scene=scene)
                silent = unsaid(phase, withheld), unsaid(phase, unheard, "echo"), unsaid(phase, EVERYONE, "relay")
                yield Stop(silent, True, scene=scene)
            phase = next(phases)
            offer = 0, 0, {"do": "forge", "phase": phase, "how": CERTIFICATE}
            yield Stop((offer, unsaid(phase, withheld), unsaid(phase, unheard, "echo")), True, scene=scene)
        for shown in (0b0010, 0b0100, 0b1000):
            for how in DELAYS:
                phase = next(phases)
                quiet = unsaid(phase, withheld), unsaid(phase, EVERYONE, "echo")
                about = {"phase": phase, "to": shown}
                late = {**about, "do": "delay", "frame": "relay", "field": FOR_EVER, "how": how}
                yield Stop((*quiet, (0, 0, late)), True, scene=scene)
                forged = {**about, "do": "forge", "field": how, "how": RELAY}
                yield Stop((*quiet, (0, 0, forged)), True, scene=scene)


def unusable_aggregates() -> Iterator[Stop]:
    """An aggregate that is none, which some get and others do not."""
    for how in ("not a number", "infinite"):
        for withheld in (0b1000, 0b1100, 0b0110):
            unsent = 0, 0, {"do": "drop", "phase": "GATHER", "to": withheld}
            scene = {"tolerated": 1, "peers": 4, "attackers": (0,)}
            yield Stop(((0, 0, {"do": "aggregate", "how": how}), unsent), True, scene=scene)


def spoiled_together() -> Iterator[Stop]:
    """One makes the attempt void in the phase in which another one sends nothing, or two versions."""
    for phase in AGREED:
        complaint = {"do": "alter", "phase": phase, "field": "notices", "how": "complain about a stranger"}
        for frame in ("message", "echo"):
            second = {"do": "contradict", "phase": phase, "frame": frame, "how": SOON, "to": SOME}
            for what in ({"do": "drop", "phase": phase, "frame": frame}, second):
                yield Stop(((0, 0, complaint), (1, 0, what)), True, scene={"tolerated": 2, "peers": 6})


def disclosures() -> Iterator[Stop]:
    """In tolerance mode: what somebody shows to its auditor or in a trial, or how it votes, is not sent, or garbage."""
    scene = {"tolerated": 2, "peers": 6, "classes": 3, "steps": 6}
    for phase in VOTED:
        for after in (1, 2, 3):
            yield Stop(((ALL, after, {"do": "drop", "phase": phase}),), True, scene=scene)
        lie = ALL, 0, {"do": "gradient", "how": "negate"}
        yield Stop((lie, (ALL, 1, {"do": "drop", "phase": phase})), True, scene=scene)
        yield Stop((lie, (ALL, 2, {"do": "drop", "phase": phase})), True, scene=scene)
        yield Stop((lie, (ALL, 2, {"do": "resign", "phase": phase, "how": "zeros for a body"})), True, scene=scene)


def unsaid(phase: str, to: int, frame: str = "message") -> Part:
    """The first attacker sends some nothing."""
    return 0, 0, {"do": "drop", "phase": phase, "frame": frame, "to": to}


def denials() -> Iterator[Stop]:
    """A colluder's message that hardly anyone misses, and an echo that denies it; one that nobody gets, and two echoes
    about it."""
    scene = {"tolerated": 2, "peers": 6, "attackers": (0, 1)}
    for phase in AGREED:
        denial = {"do": "alter", "phase": phase, "frame": "echo", "field": "vector", "how": "deny a colluder"}
        yield Stop((unsaid(phase, FEW), (1, 0, denial)), True, scene=scene)
        second = {"do": "contradict", "phase": phase, "frame": "echo", "how": SOON, "to": FEW}
        yield Stop((unsaid(phase, EVERYONE), (1, 0, second)), True, scene=scene)


def denied_gradients() -> Iterator[Stop]:
    """Another gradient, and a report about the true one."""
    for how in VALUES:
        for who in (0, ALL):
            yield Stop(((who, 0, {"do": "deny"}), (who, 0, {"do": "gradient", "how": how})), False)


def comings_and_goings() -> Iterator[Stop]:
    """Keys that ask for seats, peers that leave, and those that come back."""
    long = {"tolerated": 1, "steps": 12}
    for how in BROUGHT:
        yield Stop(((0, 0, {"do": "bring", "how": how}),), True, scene={**long, "peers": 4})
        yield Stop(((0, 0, {"do": "bring", "how": how}),), False, scene={**long, "peers": 6})
    complaint = {"do": "alter", "phase": "AGGREGATE", "field": "notices", "how": "complain about the victim"}
    for peers in (4, 5):
        yield Stop(((0, 0, complaint),), True, scene={**long, "peers": peers, "returning": 1})
        silence = {"do": "drop", "phase": "COMMIT"}
        yield Stop(((0, 0, silence),), True, scene={**long, "peers": peers, "returning": 1})
    leave = 0, 0, {"do": "leave"}
    for peers in (4, 5, 6):
        yield Stop((leave,), True, scene={"tolerated": 1, "peers": peers})
        for lie in ("negate", "one ulp"):
            yield Stop((leave, (0, 0, {"do": "gradient", "how": lie})), False, scene={"tolerated": 1, "peers": peers})
            before = (0, 0, {"do": "gradient", "how": lie}), (0, 1, {"do": "leave"})
            yield Stop(before, False, scene={"tolerated": 1, "peers": peers})


def named() -> Iterator[Stop]:
    """The named attacks, by all."""
    for name in named_attacks():
        attack = ((ALL, 0, {"do": "attack", "how": name}),)
        yield Stop(attack, on_links(name))
        yield Stop(attack, on_links(name), scene={"tolerated": 1, "peers": 5})


def closings() -> Iterator[Stop]:
    """Everything that can happen to the closing message."""
    scene = {"tolerated": 1, "peers": 4}
    for how in HEADERS:
        yield Stop(((0, AT_CLOSING, {"do": "resign", "phase": "CLOSING", "how": how}),), True, scene=scene)
    for to in (EVERYONE, SOME):
        yield Stop(((0, AT_CLOSING, {"do": "drop", "phase": "CLOSING", "to": to}),), True, scene=scene)


EVIDENCE = 4
"""How often evidence is shown in retries: what there is to show depends on who has which role."""


def shows(what: Deviation) -> bool:
    """Whether evidence is shown."""
    return str(what.get("how", "")).endswith("as evidence")


IN_RETRIES = ("replay", "drop", "sign as", "forge", "twin")
"""What is swept in retries, too, of what happens to frames; and all that is said or computed."""


@lru_cache(maxsize=4)
def order(seed: int) -> list[Stop]:
    """The whole sweep, shuffled: what attackers do together in turn with what they do alone, in one step or the next
    or in a retry. What takes long comes last."""
    random, said, sent = Random(seed), [*alterations(), *computations()], [*second_versions(), *transmissions()]
    echoes = [what for what in said if what.get("frame") == "echo"]
    alone = [Stop(((1, 0, what),), True, True) for what in sent if what["do"] in IN_RETRIES]
    repeated = [what for what in said for _ in range(EVIDENCE if shows(what) else 1)]
    alone += [Stop(((1, 0, what),), what in echoes, True) for what in repeated]
    alone += [Stop(((0, 0, what),), True, scene={"tolerated": 1, "peers": 4}) for what in echoes + sent]
    for links, found in (False, [what for what in said if what not in echoes]), (True, echoes + sent):
        random.shuffle(found)
        for at in range(0, len(found), 2):
            later = at // 2 % 2
            parts = [(who, who * later, what) for who, what in enumerate(found[at : at + 2])]
            alone.append(Stop(tuple(parts), links))
    together = [Stop(parts, False) for parts in conspiracies()]
    together += [
        *partial_broadcasts(),
        *unusable_aggregates(),
        *spoiled_together(),
        *denials(),
        *disclosures(),
        *denied_gradients(),
    ]
    together += [*comings_and_goings(), *named(), *closings()]
    random.shuffle(alone)
    random.shuffle(together)
    alone.sort(key=Stop.is_dear)
    return [stop for pair in zip_longest(together, alone) for stop in pair if stop is not None]


def swept(seed: int, number: int, profiles: tuple[str, ...] = (BTARD,)) -> Script:
    """The script at place ``number`` of the sweep, in one of ``profiles``; behind the last one it begins anew, with
    other swarms."""
    stops = order(seed)
    stop, draw = stops[number % len(stops)], Random(f"{seed}/{number}")
    scene, first, victim = scene_of(stop, draw), draw.choice([1, 1, 2]), draw.randrange(4)
    last, attempt = scene.steps + CLOSING_STEPS, 1 if stop.again else ANY
    acts = [
        Action(who, min(first + after, last), victim=victim, attempt=attempt, **what) for who, after, what in stop.parts
    ]
    phase = draw.choice(["AGGREGATE", "REVEAL", "REPORT"])
    spoiled = Action(0, first, "alter", phase, field="notices", how="complain about a stranger", attempt=0)
    if scene.classes == 1:
        scene = replace(scene, profile=Random(f"{seed}/{number}/profile").choice(profiles))
    return Script(scene, tuple([spoiled, *acts] if stop.again else acts))


def scene_of(stop: Stop, draw: Random) -> Scene:
    """A small swarm for a script."""
    tolerated = stop.scene.get("tolerated", draw.choice([2, 2, 3]))
    peers = stop.scene.get("peers", 2 * tolerated + 2 + draw.choice([0, 0, 1]))
    network = Schedule(draw.choice(["even", "late", "random", "apart"]), draw.randrange(peers), draw.randrange(100))
    newcomer = 0 if stop.scene else draw.choice([0] * 7 + [1])
    made = Scene(
        peers=peers,
        tolerated=tolerated,
        attackers=every_other(draw.randrange(peers), tolerated, peers),
        validators=draw.choice([1, 2]),
        steps=5,
        seed=draw.randrange(1000),
        channel="broadcast" if stop.links else "ideal",
        schedule=network if stop.links else Schedule(),
        newcomer=newcomer,
    )
    return replace(made, **stop.scene)
