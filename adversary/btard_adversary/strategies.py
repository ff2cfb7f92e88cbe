"""Hypothesis strategies: scenes and actions, drawn so that they shrink to short scripts of small swarms."""

from __future__ import annotations

from functools import lru_cache

from btard.training.registry import find_by_name, known_names
from hypothesis import strategies as st

from btard_adversary.actions import NOISE, VALUES
from btard_adversary.mutations import BYTES, HEADERS, catalogue
from btard_adversary.script import ALL, EVERYONE, Action, Scene, Schedule, Script

PHASES = ("COMMIT", "SCATTER", "AGGREGATE", "GATHER", "REVEAL", "REPORT")
AGREED = ("COMMIT", "AGGREGATE", "REVEAL", "REPORT")
PHASE_OF = {"Commit": "COMMIT", "Aggregate": "AGGREGATE", "Reveal": "REVEAL", "Report": "REPORT"}
COMPUTED = ("gradient", "gradient", "aggregate", "aggregate", "cover", "cover", "accuse", "refuse", "twin", "leave")
SLOW = ("flood",)
"""Named attacks that take their time; they are run by name elsewhere."""
LABELS = ("label-flip",)
"""Named attacks that need labels."""

masks = st.sampled_from([EVERYONE, 1, 2, 4, 8, 16, 0b101, 0b1010, 0b110011, (1 << 18) - 2]) | st.integers(0, 2**8 - 1)
small = st.integers(0, 3)


@lru_cache(maxsize=1)
def named_attacks() -> list[str]:
    """The attacks of installed packages that a toy swarm can play."""
    return [name for name in known_names("btard.attacks") if name not in (*SLOW, *LABELS)]


@st.composite
def scenes(draw: st.DrawFn, most: int = 10) -> Scene:
    """A swarm of 4 to ``most`` peers, any b that n ≥ 2b + 2 admits, at most b attackers."""
    tolerated = draw(st.integers(1, (most - 2) // 2))
    peers = draw(st.integers(2 * tolerated + 2, min(2 * tolerated + 4, most)))
    attackers = draw(st.integers(1, tolerated))
    first = draw(st.integers(0, peers - 1))
    return Scene(
        peers=peers,
        tolerated=tolerated,
        attackers=tuple(sorted((first + 2 * index) % peers for index in range(attackers))),
        validators=draw(st.integers(1, 3)),
        steps=draw(st.sampled_from([3, 4, 4, 5, 7])),
        seed=draw(st.integers(0, 999)),
        channel=draw(st.sampled_from(["ideal", "broadcast"])),
        schedule=draw(schedules()),
        newcomer=draw(st.sampled_from([0, 0, 0, 0, 0, 1])),
        leaver=draw(st.sampled_from([0, 0, 0, 0, 0, 2])),
    )


def schedules() -> st.SearchStrategy[Schedule]:
    """The network's part: everything within Δ."""
    kinds = st.sampled_from(["even", "even", "late", "random", "apart", "lossy"])
    return st.builds(Schedule, kinds, st.integers(0, 7), st.integers(0, 99))


@st.composite
def alterations(draw: st.DrawFn) -> dict[str, object]:
    """One field of one message, changed for everyone or for some."""
    message, field = draw(st.sampled_from(sorted(key for key in catalogue() if key[0] != "Vote")))
    how = draw(st.sampled_from(sorted(catalogue()[message, field])))
    if message == "Echo":
        return {"do": "alter", "phase": draw(st.sampled_from(AGREED)), "frame": "echo", "field": field, "how": how}
    to = draw(st.just(EVERYONE) | masks)
    return {"do": "alter", "phase": PHASE_OF[message], "field": field, "how": how, "to": to}


@st.composite
def transmissions(draw: st.DrawFn) -> dict[str, object]:
    """Something that happens to frames on their way out."""
    do = draw(st.sampled_from(["drop", "resign", "corrupt", "delay", "repeat", "replay", "sign as"]))
    found: dict[str, object] = {"do": do, "phase": draw(st.sampled_from(PHASES)), "to": draw(masks)}
    if do in ("drop", "delay", "corrupt", "resign", "repeat"):
        found["frame"] = draw(st.sampled_from(["message", "message", "echo", "relay"]))
    if do == "resign":
        found["how"] = draw(st.sampled_from(sorted(HEADERS)))
    if do == "corrupt":
        found["how"] = draw(st.sampled_from(sorted(BYTES)))
    if do in ("replay", "sign as"):
        found["how"] = draw(st.sampled_from(["beside", "instead"]))
        fields = ["", "phase before", "body of an earlier step"] if do == "replay" else ["", "stranger"]
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
        found["how"] = draw(st.sampled_from(["last step", "two steps ago"]))
    if do == "refuse":
        found["phase"] = "REVEAL"
    if do == "twin":
        found["to"] = draw(masks)
    return found


@lru_cache(maxsize=2)
def kinds(links: bool) -> st.SearchStrategy[dict[str, object]]:
    """What an action is about; with ``links`` also what happens to frames. One in four is a step of a named attack."""
    named = [name for name in named_attacks() if links or not on_links(name)]
    attack = st.sampled_from(named).map(lambda name: {"do": "attack", "how": name})
    said = alterations().filter(lambda what: links or (not what.get("to") and what.get("frame") != "echo"))
    computed = values().filter(lambda what: links or what["do"] not in ("twin", "refuse"))
    return st.one_of(said, said, computed, attack, *([transmissions(), transmissions()] if links else []))


def on_links(name: str) -> bool:
    """Whether a named attack acts on links."""
    return bool(getattr(find_by_name("btard.attacks", "attack", name), "on_links", False))


@st.composite
def actions(draw: st.DrawFn, step: int | None = None, most: int = 5, links: bool = True) -> Action:
    """One action, in ``step`` or in any of the first ``most``."""
    what = draw(kinds(links))
    when = draw(st.integers(1, most)) if step is None else step
    who = draw(st.sampled_from([0, 0, 1, 1, 2, 3, ALL, ALL]))
    made: Action = Action(attacker=who, step=when, victim=draw(small), **what)  # type: ignore[arg-type]
    return made


SHIFTS = ("shift a little", "shift somewhat", "shift more", "shift", "one entry")


@st.composite
def conspiracies(draw: st.DrawFn, step: int, links: bool = True) -> list[Action]:
    """What a coalition does together: cover up a forged part, accuse in turn, eliminate honest peers, refuse the
    randomness."""
    who, victim = draw(small), draw(small)
    forged = Action(who, step, "aggregate", how=draw(st.sampled_from(SHIFTS)))
    chain = [Action(turn, step + turn, "accuse", how="last step", victim=victim) for turn in range(3)]
    phase = draw(st.sampled_from(AGREED))
    complaint = Action(ALL, step, "alter", phase, field="notices", how="complain about the victim", victim=victim)
    plots = [[forged, Action(ALL, step, "cover")], chain, [complaint], [complaint, forged]]
    refusal = [Action(ALL, step, "refuse", "REVEAL")]
    return draw(st.sampled_from([*plots, refusal] if links else plots))


@st.composite
def noise(draw: st.DrawFn, step: int) -> Action:
    """Random bytes in place of frames of one phase: what a fuzzer sends that knows nothing about the protocol."""
    where = {"phase": draw(st.sampled_from(PHASES)), "frame": draw(st.sampled_from(["message", "echo"]))}
    made = Action(draw(small), step, "corrupt", how=NOISE, to=draw(masks), victim=draw(small), **where)
    return made


@st.composite
def scripts(draw: st.DrawFn, most_peers: int = 10, most_actions: int = 5) -> Script:
    """A whole run: a scene, and up to ``most_actions`` actions."""
    scene = draw(scenes(most_peers))
    what = actions(most=scene.steps - 1, links=scene.channel == "broadcast")
    acts = draw(st.lists(what, min_size=1, max_size=most_actions))
    return Script(scene, tuple(acts))
