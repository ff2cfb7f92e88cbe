"""Hypothesis strategies: scenes and actions, drawn so that they shrink to short scripts of small swarms."""

from __future__ import annotations

from functools import lru_cache

from btard.training.registry import known_names
from hypothesis import strategies as st

from btard_adversary.actions import VALUES
from btard_adversary.mutations import BYTES, HEADERS, catalogue
from btard_adversary.script import EVERYONE, Action, Scene, Schedule, Script

MOST_PEERS, FEWEST_PEERS = 18, 4
PHASES = ("COMMIT", "SCATTER", "AGGREGATE", "GATHER", "REVEAL", "REPORT")
AGREED = ("COMMIT", "AGGREGATE", "REVEAL", "REPORT")
PHASE_OF = {"Commit": "COMMIT", "Aggregate": "AGGREGATE", "Reveal": "REVEAL", "Report": "REPORT"}
SLOW = ("flood", "many-keys")
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
    """A swarm of ``FEWEST_PEERS`` to ``most`` peers, any b that n ≥ 2b + 2 admits, at most b attackers."""
    tolerated = draw(st.integers(1, (most - 2) // 2))
    peers = draw(st.integers(max(2 * tolerated + 2, FEWEST_PEERS), min(2 * tolerated + 4, most)))
    attackers = draw(st.lists(st.integers(0, peers - 1), unique=True, min_size=1, max_size=tolerated))
    newcomer = draw(st.sampled_from([0, 0, 0, 0, 1]))
    return Scene(
        peers=peers,
        tolerated=tolerated,
        attackers=tuple(sorted(attackers)),
        validators=draw(st.integers(1, 3)),
        steps=draw(st.integers(3, 6)),
        dimension=draw(st.sampled_from([24, 40])),
        seed=draw(st.integers(0, 999)),
        schedule=draw(schedules()),
        newcomer=newcomer,
        leaver=draw(st.sampled_from([0, 0, 0, 2])) if peers > 2 * tolerated + 3 else 0,
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
    do = draw(st.sampled_from(["gradient", "gradient", "aggregate", "aggregate", "accuse", "refuse", "twin", "leave"]))
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


def kinds() -> st.SearchStrategy[dict[str, object]]:
    """What an action is about; one in four is a step of a named attack."""
    named = st.sampled_from(named_attacks()).map(lambda name: {"do": "attack", "how": name})
    return st.one_of(alterations(), transmissions(), values(), named)


@st.composite
def actions(draw: st.DrawFn, step: int | None = None, most: int = 5) -> Action:
    """One action, in ``step`` or in any of the first ``most``."""
    what = draw(kinds())
    when = draw(st.integers(1, most)) if step is None else step
    made: Action = Action(attacker=draw(small), step=when, victim=draw(small), **what)  # type: ignore[arg-type]
    return made


@st.composite
def scripts(draw: st.DrawFn, most_peers: int = 10, most_actions: int = 4) -> Script:
    """A whole run: a scene, and up to ``most_actions`` actions."""
    scene = draw(scenes(most_peers))
    acts = draw(st.lists(actions(most=scene.steps), min_size=0, max_size=most_actions))
    return Script(scene, tuple(acts))
