"""The stateful machine on the reference: whatever the attackers do, every property holds after every step."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from btard_adversary import faulty, properties
from btard_adversary.fuzz import run_batch
from btard_adversary.guided import reference_trace, trace
from btard_adversary.machine import Counts, Play, SwarmMachine, run_script, verdict_of
from btard_adversary.script import ALL, Action, Scene, Schedule, Script, script_of
from btard_adversary.strategies import named_attacks, scripts
from btard_adversary.swarm import Violation
from btard_adversary.sweep import order, swept
from hypothesis import HealthCheck, given, settings
from swarms import examples

CORPUS = Path(__file__).parent / "variants.json"
"""A short script for every faulty variant, as the harness found it."""
KNOWN: dict[str, dict[str, Any]] = json.loads(CORPUS.read_text())
COMPLAIN = "complain about the victim"
OPEN_ONLY = {"many-keys", "convicted-return"}
"""Attacks that need open membership, which a run with a tolerance has not."""


@pytest.mark.parametrize("how", ["honest", "two commitments"])
def test_more_faulty_members_than_tolerated_are_no_violation(how: str) -> None:
    """The only worker of a step may be a key that the attackers brought, and that has earned its seat."""
    scene = Scene(4, 1, (0,), 3, 11, 24, 0, schedule=Schedule("even", 0, 0))
    refusal, newcomer = Action(-1, 1, "refuse", "REVEAL"), Action(0, 2, "bring", how=how)
    run_script(Script(scene, (refusal, newcomer)))


class TestSwarms(SwarmMachine.TestCase):  # type: ignore[name-defined,misc]
    """Swarms of 4 to 18 peers, step by step."""


TestSwarms.settings = settings(
    max_examples=examples(12), stateful_step_count=6, deadline=None, suppress_health_check=list(HealthCheck)
)


@pytest.mark.requirement("PROP-1", "PROP-2", "PROP-3", "PROP-4", "PROP-5", "PROP-6", "PROP-7", "PROP-8", "PROP-9")
@settings(max_examples=examples(25), deadline=None, suppress_health_check=list(HealthCheck))
@given(script=scripts())
def test_no_script_breaks_a_property(script: Script) -> None:
    run_script(script)


def test_what_was_played_step_by_step_is_replayed_to_the_byte() -> None:
    differing: list[Script] = []

    class Machine(SwarmMachine):
        """Every run again, from its script."""

        counts, played, most_peers = Counts(), set[Script](), 8

        @staticmethod
        def look(play: Play) -> None:
            if trace(play) != reference_trace(play.swarm.script):
                differing.append(play.swarm.script)

    assert run_batch(Machine, 3, 10) is None
    assert Machine.counts.swarms >= 10 and not differing


@pytest.mark.parametrize("name", ["delayed-gradient", "mimic", "replay"])
def test_an_attack_that_remembers_plays_alike_however_its_script_came_about(name: str) -> None:
    """A named attack sees the run from the boundary before its step, also if the whole script is known at first."""
    script = Script(Scene(6, 2, (1, 4), 2, 5, seed=5), (Action(ALL, 3, "attack", how=name),))
    grown = Play(script.scene)
    while grown.advance():
        if grown.swarm.steps == 2:
            grown.swarm.act(*script.actions)
    assert trace(grown) == reference_trace(script)


@pytest.mark.slow
@settings(max_examples=examples(4), deadline=None, suppress_health_check=list(HealthCheck))
@given(script=scripts(most_peers=18, most_actions=8))
def test_no_script_breaks_a_property_of_a_large_swarm(script: Script) -> None:
    run_script(script)


@pytest.mark.parametrize("kind", ["even", "late", "random", "apart", "lossy"])
def test_a_network_within_its_bound_costs_nobody_anything(kind: str) -> None:
    for seed in range(3):
        run_script(Script(Scene(peers=6, tolerated=2, steps=4, seed=seed, schedule=Schedule(kind, seed, seed))))


def test_a_late_answer_does_not_keep_a_peer_from_the_certificate_that_it_needs() -> None:
    """Found by the harness: an answer that crossed the end of a phase used up the next phase's."""
    acts = (Action(0, 0, "corrupt", "REVEAL", frame="echo", how="cut a byte", to=0b1),)
    scene = Scene(peers=4, tolerated=1, attackers=(3,), validators=2, steps=3, seed=246)
    for seed in range(22, 25):
        run_script(Script(Scene(**{**vars(scene), "schedule": Schedule("lossy", 0, seed)}), acts))


@pytest.mark.parametrize("part", range(8))
def test_no_script_of_the_sweep_breaks_a_property(part: int) -> None:
    """One in forty here; ``btard fuzz`` goes through all of them."""
    for number in range(part, len(order(1)), 40):
        run_script(swept(1, number))


IDEAL: dict[str, Any] = {"channel": "ideal"}
TWO_LIES = (
    Action(0, 1, "alter", "REPORT", field="inner_products", how="negate", attempt=0),
    Action(1, 1, "drop", "REPORT", attempt=0),
)
TAKEN_BACK = (
    Action(0, 3, "attack", how="misreported-norm"),
    Action(0, 3, "alter", "REPORT", field="norms", how="halve"),
)
LEAVER = Scene(4, 1, (1,), 1, 2, seed=377, schedule=Schedule("random", 0, 24), leaver=1)
ALONE = Scene(4, 1, (0,), 1, 3)
FAR_LEAVER = Scene(4, 1, (3,), 1, schedule=Schedule("apart", 2, 0), leaver=2)


@pytest.mark.parametrize(
    ("scene", "acts"),
    [
        (Scene(7, 2, (0, 5), **IDEAL), (Action(ALL, 5, "alter", "COMMIT", field="notices", how=COMPLAIN),)),
        (Scene(6, 1, (0,), steps=5, **IDEAL), (Action(0, 6, "alter", "COMMIT", field="commitment", how="copy"),)),
        (Scene(4, 1, (1,), **IDEAL), (Action(0, 1, "gradient", how="beyond the norm"),)),
        (Scene(), TWO_LIES),
        (Scene(4, 1, (2,), seed=509, **IDEAL), TAKEN_BACK),
        (LEAVER, (Action(0, 0, "alter", "COMMIT", field="part_hashes", how="zeros"),)),
        (FAR_LEAVER, (Action(0, 2, "alter", "AGGREGATE", field="aggregate_hash", how="copy"),)),
        (ALONE, (Action(0, 1, "resign", "COMMIT", frame="echo", field="beside", how="another log head"),)),
        (ALONE, (Action(0, 1, "resign", "COMMIT", frame="echo", field="beside", how="empty body"),)),
    ],
    ids=[
        "a complaint about one who has just left",
        "a commitment that nobody opens",
        "a part that counts as zeros",
        "a false report in a void attempt",
        "a false report that was taken back",
        "some are a phase ahead of one who leaves",
        "some are at the end before one who leaves has gone",
        "an echo of another log head beside the true one",
        "something that is no echo beside the true one",
    ],
)
def test_what_costs_nothing_is_not_asked_to_be_paid_for(scene: Scene, acts: tuple[Action, ...]) -> None:
    """Found as false alarms of the harness."""
    run_script(Script(scene, acts))


def test_a_state_that_no_check_can_read_is_a_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(watch: Any, now: Any) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(properties, "CHECKS", (broken,))
    with pytest.raises(Violation, match="makes no sense: ZeroDivisionError"):
        run_script(Script(Scene()))


@pytest.mark.parametrize("name", named_attacks())
def test_every_named_attack_is_paid_for_and_breaks_nothing(name: str) -> None:
    scene = Scene(peers=6, tolerated=2, attackers=(1, 4), steps=4, seed=5)
    run_script(Script(scene, tuple(Action(who, step, "attack", how=name) for who in range(2) for step in (1, 2))))


@pytest.mark.parametrize("name", [name for name in named_attacks() if name not in OPEN_ONLY])
def test_every_named_attack_breaks_nothing_where_classes_differ(name: str) -> None:
    scene = Scene(peers=8, tolerated=2, attackers=(1, 4), steps=5, seed=5, channel="ideal", classes=3)
    run_script(Script(scene, tuple(Action(who, step, "attack", how=name) for who in range(2) for step in (1, 2))))


@pytest.mark.parametrize(
    "name", ["late-equivocation", "withheld-echo", "partial-send", "false-echo", "mismatched-part"]
)
def test_attacks_on_links_break_nothing_on_a_sparse_overlay(name: str) -> None:
    scene = Scene(peers=9, tolerated=2, attackers=(1, 4), steps=3, seed=5, links=3)
    run_script(Script(scene, (Action(ALL, 1, "attack", how=name),)))


# -- Faulty variants ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_the_script_that_breaks_a_variant_does_not_break_the_reference(name: str) -> None:
    script = script_of(KNOWN[name]["script"], name)
    assert len(script.actions) <= 3
    assert isinstance(verdict_of(script, faulty.find(name)), Violation)
    assert verdict_of(script, nullcontext) is None


def test_every_variant_was_found() -> None:
    assert set(KNOWN) == set(faulty.CATALOGUE)
    assert all(KNOWN[name]["script"] for name in KNOWN)
