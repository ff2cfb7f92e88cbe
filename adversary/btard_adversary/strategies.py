"""Hypothesis strategies: scenes and actions, drawn so that they shrink to short scripts of small swarms."""

from __future__ import annotations

from functools import lru_cache
from typing import TypeVar

from btard.protocol.model import BTARD, MAJORITY_VOTE, REDUNDANT_CODE
from btard.training.registry import find_by_name, known_names
from hypothesis import strategies as st

from btard_adversary.actions import (
    BESIDE,
    BROUGHT,
    CERTIFICATE,
    DELAYS,
    EARLIER,
    FOR_EVER,
    LIES,
    NAMES,
    NEARBY,
    NOISE,
    RELAY,
    VALUES,
    WHEN,
)
from btard_adversary.mutations import BYTES, HEADERS, catalogue
from btard_adversary.script import ALL, ANY, EVERYONE, Action, Scene, Schedule, Script

PHASES = ("COMMIT", "SCATTER", "AGGREGATE", "GATHER", "REVEAL", "REPORT", "CLOSING")
VOTED = ("AUDIT", "COMMIT_TRIAL", "REPORT_TRIAL", "COMMIT_VOTE", "REPORT_VOTE")
"""Phases of tolerance mode only."""
AGREED = ("COMMIT", "AGGREGATE", "REVEAL", "REPORT")
PHASES_OF = {
    "Commit": ["COMMIT"],
    "Aggregate": ["AGGREGATE"],
    "Reveal": ["REVEAL"],
    "Report": ["REPORT"],
    "Vote": ["COMMIT_VOTE", "REPORT_VOTE"],
}
COMPUTED = ("gradient", "gradient", "aggregate", "aggregate", "cover", "accuse", "refuse", "twin", "leave")
DISTURBANCES = ("drop", "resign", "contradict", "corrupt", "delay", "repeat", "replay", "sign as", "forge")
SLOW = ("flood",)
"""Named attacks that take their time; they are run by name elsewhere."""
LABELS = ("label-flip",)
"""Named attacks that need labels."""

Drawn = TypeVar("Drawn")

masks = st.sampled_from([EVERYONE, 1, 2, 4, 8, 16, 0b101, 0b1010, 0b110011, (1 << 18) - 2]) | st.integers(0, 2**8 - 1)
small = st.integers(0, 3)


@lru_cache(maxsize=1)
def named_attacks() -> list[str]:
    """The attacks of installed packages that a toy swarm can play."""
    return [name for name in known_names("btard.attacks") if name not in (*SLOW, *LABELS)]


def weighted(*choices: tuple[int, st.SearchStrategy[Drawn]]) -> st.SearchStrategy[Drawn]:
    """One of several strategies, each as often as its weight says; ``st.one_of`` counts nothing twice."""
    places = [place for place, (weight, _) in enumerate(choices) for _ in range(weight)]
    return st.sampled_from(places).flatmap(lambda place: choices[place][1])


MIXED = (BTARD, BTARD, BTARD, BTARD, MAJORITY_VOTE, REDUNDANT_CODE)
"""The profiles, each as often as it is played."""
SIZES = [1] * 32 + [2] * 24 + [3] * 12 + [4] * 8 + [5, 6, 7, 8]
"""b: mostly small, since a small swarm is played in a tenth of the time of a large one."""
SPARSE = 10
"""Most peers on a sparse overlay, where everyone passes everything on."""


def every_other(first: int, count: int, peers: int) -> tuple[int, ...]:
    """The places of ``count`` attackers in a ring of ``peers``, in ascending order."""
    return tuple(sorted((first + 2 * index) % peers for index in range(count)))


@st.composite
def scenes(draw: st.DrawFn, most: int = 18, profiles: tuple[str, ...] = MIXED) -> Scene:
    """A swarm of 4 to ``most`` peers, any b that n ≥ 2b + 2 admits, at most b attackers, in one of ``profiles``."""
    tolerated = draw(st.sampled_from([b for b in SIZES if 2 * b + 2 <= most]))
    channel = draw(st.sampled_from(["ideal", "broadcast"]))
    sparse = channel == "broadcast" and tolerated <= 2 and most >= SPARSE and draw(st.integers(0, 9)) == 0
    least, more = (2 * tolerated + 5, SPARSE) if sparse else (2 * tolerated + 2, min(2 * tolerated + 4, most))
    peers = draw(st.integers(least, more))
    attackers = draw(st.sampled_from([tolerated] * tolerated + list(range(1, tolerated + 1))))
    first = draw(st.integers(0, peers - 1))
    classes = draw(st.sampled_from([1] * 11 + [3]))
    closed = sparse or classes > 1
    return Scene(
        peers=peers,
        tolerated=tolerated,
        attackers=every_other(first, attackers, peers),
        validators=draw(st.integers(1, 3)),
        steps=draw(st.sampled_from([3, 3, 4, 4, 5, 6, 8 if tolerated > 1 else 11])),
        seed=draw(st.integers(0, 999)),
        channel=channel,
        schedule=draw(schedules()),
        newcomer=0 if closed else draw(st.sampled_from([0, 0, 0, 0, 0, 1])),
        leaver=0 if closed else draw(st.sampled_from([0, 0, 0, 0, 0, 2])),
        returning=0 if closed else draw(st.sampled_from([0, 0, 0, 0, 0, 0, 0, 1])),
        links=tolerated + 1 if sparse else 0,
        classes=classes,
        profile=draw(st.sampled_from(profiles)) if classes == 1 else BTARD,
    )


def schedules() -> st.SearchStrategy[Schedule]:
    """The network's part: everything within Δ."""
    kinds = st.sampled_from(["even", "even", "late", "random", "apart", "lossy"])
    return st.builds(Schedule, kinds, st.integers(0, 7), st.integers(0, 99))


@st.composite
def alterations(draw: st.DrawFn, votes: bool = False) -> dict[str, object]:
    """One field of one message, changed for everyone or for some; with ``votes`` at times of a vote."""
    message, field = draw(st.sampled_from(sorted(key for key in catalogue() if votes or key[0] != "Vote")))
    how = draw(st.sampled_from(sorted(catalogue()[message, field])))
    if message == "Echo":
        return {"do": "alter", "phase": draw(st.sampled_from(AGREED)), "frame": "echo", "field": field, "how": how}
    to = draw(st.just(EVERYONE) | masks)
    return {"do": "alter", "phase": draw(st.sampled_from(PHASES_OF[message])), "field": field, "how": how, "to": to}


@st.composite
def transmissions(draw: st.DrawFn, votes: bool = False) -> dict[str, object]:
    """Something that happens to frames on their way out; with ``votes`` also of the phases of tolerance mode."""
    do = draw(st.sampled_from(DISTURBANCES))
    found: dict[str, object] = {"do": do, "phase": draw(st.sampled_from(PHASES + VOTED * votes)), "to": draw(masks)}
    if do == "forge":
        found |= {"phase": draw(st.sampled_from(AGREED)), "how": draw(st.sampled_from([RELAY, CERTIFICATE]))}
    if do == "delay":
        found["how"] = draw(st.sampled_from(sorted(DELAYS)))
    if do in ("drop", "delay", "corrupt", "resign", "repeat", "contradict"):
        found["frame"] = draw(st.sampled_from(["message", "message", "echo", "relay"]))
    if do == "resign":
        found |= {"how": draw(st.sampled_from(sorted(HEADERS))), "field": draw(st.sampled_from(["", BESIDE]))}
    if do == "contradict":
        found["how"] = draw(st.sampled_from(WHEN))
    if do == "corrupt":
        found["how"] = draw(st.sampled_from(sorted(BYTES)))
    if do in ("replay", "sign as"):
        found["how"] = draw(st.sampled_from(["beside", "instead"]))
        fields = EARLIER if do == "replay" else NAMES
        found["field"] = draw(st.sampled_from(fields))
    return found


@st.composite
def values(draw: st.DrawFn) -> dict[str, object]:
    """Another gradient or aggregate, an accusation, a refusal, a second copy, a goodbye."""
    do = draw(st.sampled_from(COMPUTED))
    found: dict[str, object] = {"do": do}
    if do in ("gradient", "aggregate"):
        found["how"] = draw(st.sampled_from(sorted(VALUES)))
    if do == "accuse":
        found["how"] = draw(st.sampled_from(LIES))
    if do == "refuse":
        found["phase"] = "REVEAL"
    if do == "twin":
        found["to"] = draw(masks)
    return found


@lru_cache(maxsize=4)
def kinds(links: bool, votes: bool) -> st.SearchStrategy[dict[str, object]]:
    """What an action is about; with ``links`` also what happens to frames, with ``votes`` also what is voted."""
    named = [name for name in named_attacks() if links or not on_links(name)]
    attack = st.sampled_from(named).map(attack_of)
    said = alterations(votes).filter(lambda what: links or (not what.get("to") and what.get("frame") != "echo"))
    computed = values().filter(lambda what: links or what["do"] not in ("twin", "refuse"))
    return weighted((4, said), (3, computed), (3, attack), *([(4, transmissions(votes))] if links else []))


def attack_of(name: str) -> dict[str, object]:
    """A named attack."""
    return {"do": "attack", "how": name}


def on_links(name: str) -> bool:
    """Whether a named attack acts on links."""
    return bool(getattr(find_by_name("btard.attacks", "attack", name), "on_links", False))


@st.composite
def actions(draw: st.DrawFn, scene: Scene, step: int | None = None) -> Action:
    """One action that has a meaning in ``scene``, in ``step`` or in any but the first."""
    what = draw(kinds(scene.channel == "broadcast", scene.classes > 1))
    when = draw(st.integers(1, scene.steps - 1)) if step is None else step
    who = draw(st.sampled_from([0, 0, 1, 1, 2, 3, ALL, ALL]))
    attempt = draw(st.sampled_from([ANY] * 7 + [1]))
    return made_of(what, who, when, draw(small), attempt)


def made_of(what: dict[str, object], who: int, step: int, victim: int, attempt: int = ANY) -> Action:
    """The action that ``what`` is about."""
    return Action(attacker=who, step=step, victim=victim, attempt=attempt, **what)  # type: ignore[arg-type]


@st.composite
def turns(draw: st.DrawFn, scene: Scene, step: int) -> list[Action]:
    """What a coalition does in one step: often nothing, since most of what it can do costs a seat."""
    together = conspiracies(step, scene.channel == "broadcast")
    return draw(weighted((6, st.just([])), (9, several(scene, step)), (5, together)))


def several(scene: Scene, step: int) -> st.SearchStrategy[list[Action]]:
    """One action, or at times two or three."""
    alone = actions(scene, step)
    return weighted((4, alone.map(lambda one: [one])), (1, st.lists(alone, min_size=2, max_size=3)))


SHIFTS = ("shift a little", "shift somewhat", "shift more", "shift", "one entry")


def conspiracies(step: int, links: bool = True) -> st.SearchStrategy[list[Action]]:
    """What a coalition does together: cover up a forged part, frame an aggregator, accuse in turn, eliminate honest
    peers, refuse the randomness, use the second attempt, let some see in the last moment what others never see."""
    everywhere = [
        covered(step),
        framing(step),
        denying(step),
        accusing(step),
        complaining(step),
        joining(step),
        again(step, links),
    ]
    if not links:
        return st.one_of(*everywhere)
    return weighted((5, st.one_of(*everywhere)), (1, refusing(step)), (3, late_echoes(step)))


@st.composite
def covered(draw: st.DrawFn, step: int) -> list[Action]:
    """A forged part, and reports that cover it up."""
    forged = Action(draw(small), step, "aggregate", how=draw(st.sampled_from(SHIFTS)))
    return [forged, Action(ALL, step, "cover", how=draw(st.sampled_from(["", NEARBY])))]


@st.composite
def framing(draw: st.DrawFn, step: int) -> list[Action]:
    """A false gradient, and a false report that puts honest aggregators of its parts on trial."""
    field = draw(st.sampled_from(["inner_products", "norms"]))
    how = draw(st.sampled_from(sorted(catalogue()["Report", field])))
    lie = Action(draw(small), step, "gradient", how=draw(st.sampled_from(sorted(VALUES))))
    return [lie, Action(draw(small), step, "alter", "REPORT", field=field, how=how)]


@st.composite
def denying(draw: st.DrawFn, step: int) -> list[Action]:
    """A false gradient, and true reports about the one that was due."""
    who, how = draw(small), draw(st.sampled_from(sorted(VALUES)))
    return [Action(who, step, "deny"), Action(who, step, "gradient", how=how)]


@st.composite
def accusing(draw: st.DrawFn, step: int) -> list[Action]:
    """False accusations of one honest peer, by one attacker after the other or by all at once."""
    victim = draw(small)
    if draw(st.booleans()):
        return [Action(ALL, step, "accuse", how=draw(st.sampled_from(LIES)), victim=victim)]
    return [Action(turn, step + turn, "accuse", how="last step", victim=victim) for turn in range(3)]


@st.composite
def complaining(draw: st.DrawFn, step: int) -> list[Action]:
    """Everyone complains about one honest peer, and at times somebody forges a part meanwhile."""
    phase, victim = draw(st.sampled_from(AGREED)), draw(small)
    complaint = Action(ALL, step, "alter", phase, field="notices", how="complain about the victim", victim=victim)
    forged = [Action(draw(small), step, "aggregate", how=draw(st.sampled_from(SHIFTS)))] if draw(st.booleans()) else []
    return [complaint, *forged]


def joining(step: int) -> st.SearchStrategy[list[Action]]:
    """A further key asks for a seat."""
    return st.builds(lambda who, how: [Action(who, step, "bring", how=how)], small, st.sampled_from(BROUGHT))


def refusing(step: int) -> st.SearchStrategy[list[Action]]:
    """Nobody opens where the randomness is unlucky."""
    return st.just([Action(ALL, step, "refuse", "REVEAL")])


@st.composite
def again(draw: st.DrawFn, step: int, links: bool) -> list[Action]:
    """One attacker spoils the first attempt, and another one does something in the next."""
    phase, who = draw(st.sampled_from(AGREED[:3])), draw(small)
    spoil = Action(who, step, "alter", phase, field="notices", how="complain about a stranger", attempt=0)
    what = draw(alterations() if draw(st.booleans()) or not links else transmissions())
    return [spoil, made_of(what, who + 1, step, draw(small), 1)]


@st.composite
def late_echoes(draw: st.DrawFn, step: int) -> list[Action]:
    """A message reaches some of the honest peers, and the echo that would tip the balance some of them, or one late."""
    who, phase = draw(small), draw(st.sampled_from(AGREED))
    withheld, shown = draw(masks), 1 << draw(st.integers(0, 5))
    unsaid = Action(who, step, "drop", phase, to=withheld)
    if draw(st.booleans()):  # the echo reaches some in time, and others must be told by them
        return [unsaid, Action(who, step, "drop", phase, frame="echo", to=draw(masks))]
    late = draw(st.sampled_from([how for how in DELAYS if how.startswith("till")]))
    relayed = draw(
        st.sampled_from(
            [
                Action(who, step, "delay", phase, frame="relay", field=FOR_EVER, how=late, to=shown),
                Action(who, step, "forge", phase, field=late, how=RELAY, to=shown),
            ]
        )
    )
    offered = draw(st.sampled_from([[], [Action(who, step, "forge", phase, how=CERTIFICATE)]]))
    return [*offered, unsaid, Action(who, step, "drop", phase, frame="echo"), relayed]


@st.composite
def noise(draw: st.DrawFn, step: int) -> Action:
    """Random bytes in place of frames of one phase: what a fuzzer sends that knows nothing about the protocol."""
    where = {"phase": draw(st.sampled_from(PHASES)), "frame": draw(st.sampled_from(["message", "echo"]))}
    what = {"do": "corrupt", "how": NOISE, "to": draw(masks), **where}
    return made_of(what, draw(small), step, draw(small))


@st.composite
def scripts(draw: st.DrawFn, most_peers: int = 10, most_actions: int = 5) -> Script:
    """A whole run: a scene, and up to ``most_actions`` actions."""
    scene = draw(scenes(most_peers))
    acts = draw(st.lists(actions(scene), min_size=1, max_size=most_actions))
    return Script(scene, tuple(acts))
