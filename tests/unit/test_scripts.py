"""Scripts, mutations, variants and coverage: the parts that the adversarial harness is made of."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from btard.network.coalition import Seating, World
from btard.protocol import mprng, step
from btard.protocol.messages import BODIES, Closing, Echo, Phase, Slot
from btard.protocol.state import Conduct
from btard_adversary import faulty
from btard_adversary.actions import VERBS, Player, conduct_of
from btard_adversary.coverage import Tracer, all_requirements
from btard_adversary.fuzz import shortest
from btard_adversary.machine import run_script, verdict_of
from btard_adversary.mutations import BY_FIELD, Context, catalogue, declared_fields
from btard_adversary.script import Action, Scene, Schedule, Script, ScriptError, check, load
from btard_adversary.strategies import PHASES_OF, named_attacks, scripts
from btard_adversary.swarm import Toy, Violation, key
from btard_adversary.sweep import order, swept
from btard_adversary.variants import Variant, VariantError, replaced
from hypothesis import given, settings

LIE = Script(
    Scene(peers=4, tolerated=1, attackers=(1,), steps=3, channel="ideal"),
    (Action(0, 1, "alter", "REVEAL", field="opening", how="zeros"),),
)


# -- Mutations ------------------------------------------------------------------------------------


def test_every_field_of_every_message_has_mutations() -> None:
    """What kind of value a field holds is declared with its type; a field without a kind would be a KeyError."""
    kinds = {body for body in (*BODIES.values(), Echo) if body is not Closing}
    expected = {(kind.__name__, field.name) for kind in kinds for field in fields(kind)}
    assert set(catalogue()) == expected
    assert all(len(found) >= 1 for found in catalogue().values())
    assert all(name in declared_fields(kind) for kind, name in BY_FIELD)


def test_mutations_change_what_they_are_given() -> None:
    values: dict[str, Any] = {
        "commitment": b"c" * 32,
        "state_hash": b"s" * 32,
        "part_hashes": (b"a" * 32, b"b" * 32),
        "opening": b"o" * 64,
        "norms": bytes(15) + b"\x40",
        "leaving": False,
        "accusations": (),
        "vector": (b"a" * 32, b"b" * 32),
    }
    roster = b"v" * 32, b"w" * 32
    slot = Slot(3, 0, Phase.COMMIT)
    context = Context(b"m" * 32, bytes(32), slot, bytes(32), roster, victim=roster[0], colluder=roster[1])
    changed = {}
    for (_, field), found in catalogue().items():
        for name, mutation in found.items() if field in values else ():
            changed[field, name] = mutation(values[field], context) != values[field]
    same = {place for place, differs in changed.items() if not differs}
    assert {name for _, name in same} <= {"copy", "first zero"}  # nobody to copy from; the first number is zero


# -- Scripts --------------------------------------------------------------------------------------


@settings(max_examples=50)
@given(script=scripts())
def test_a_script_reads_back_as_it_was_written(script: Script) -> None:
    from btard_adversary.script import script_of

    assert script_of(json.loads(json.dumps(script.as_dict())), "drawn") == script
    assert len(script.text().splitlines()) >= 3


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "is no script"),
        ("[]", "is no script"),
        ('{"scene": {"peers": "4"}}', "'peers' of a scene is no int"),
        ('{"scene": {"crew": 4}}', "a scene has no 'crew'"),
        ('{"scene": {}, "actions": [{"attacker": 0, "step": 1, "do": "bribe"}]}', "nobody can 'bribe'"),
        (
            '{"scene": {}, "actions": [{"attacker": 0, "step": 1, "do": "resign", "how": "x"}]}',
            "there is no 'x' to resign",
        ),
        ('{"scene": {"channel": "ideal", "links": 2}}', "an ideal channel has no links"),
        ('{"scene": {"peers": 4, "attackers": [9]}}', "attackers are peers of the roster"),
        ('{"scene": {"channel": "pigeon"}}', "there is no channel 'pigeon'"),
        ('{"scene": {}, "actions": [{"attacker": 0, "step": 1, "do": "drop", "phase": "LUNCH"}]}', "no phase 'LUNCH'"),
        ('{"scene": {}, "actions": [{"attacker": 0, "step": 1, "do": "drop", "frame": "pie"}]}', "no frame 'pie'"),
        ('{"scene": {}, "actions": [{"attacker": 0, "step": 1, "do": "drop", "field": "x"}]}', "no 'x' to drop"),
        ('{"scene": {}, "actions": [{"attacker": 0, "step": 1, "do": "drop", "attempt": -2}]}', "no attempt -2"),
        ('{"scene": {"schedule": {"kind": "tidal"}}}', "there is no schedule 'tidal'"),
        ('{"scene": {"peers": 6, "dimension": 6}}', "6 peers train more than 6 parameters"),
        ('{"scene": {"classes": 2, "returning": 1}}', "nobody comes or goes"),
    ],
)
def test_what_is_no_script_is_refused_in_a_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "script.json"
    path.write_text(text)
    with pytest.raises(ScriptError, match="script") as refused:
        load(path)
    assert sentence in str(refused.value)


def test_the_same_script_plays_the_same_run() -> None:
    from btard_adversary.swarm import play

    script = replace(LIE, scene=replace(LIE.scene, channel="broadcast", schedule=Schedule("lossy", seed=3)))
    heads = [[observed.state.head for _, observed in play(script)] for _ in range(2)]
    assert heads[0] == heads[1] and len(heads[0]) > 3


@pytest.mark.parametrize("verb", sorted(set(VERBS) - {"attack"}))
def test_every_kind_of_action_is_harmless_where_it_has_nothing_to_do(verb: str) -> None:
    """A run whose only action comes too late is the run without it."""
    quiet = Script(LIE.scene)
    late = Script(LIE.scene, (Action(0, 99, verb),))
    assert run_script(late).mutated == run_script(quiet).mutated == 0


def test_a_player_passes_every_choice_through_its_chain() -> None:
    identity = key(0, 0)
    seating = Seating(identity.peer_id, World(frozenset({identity.peer_id}), 1.0), Toy(8), identity=identity)
    player = Player(seating)
    player.chain.append(conduct_of(Action(0, 2, "leave"), seating, [identity.peer_id]))
    overridden = {name for name in vars(Conduct) if not name.startswith("_")} - {"memory", "labour"}
    assert overridden <= set(vars(Player))


# -- The sweep --------------------------------------------------------------------------------------


def test_the_sweep_does_every_thing_once_and_in_a_retry() -> None:
    stops = order(3)
    parts = [(stop.again, what) for stop in stops for _, _, what in stop.parts]
    said = {(again, what["phase"], what["field"], what["how"]) for again, what in parts if what["do"] == "alter"}
    for (message, name), changes in catalogue().items():
        for how in changes if message not in ("Vote", "Echo") else ():
            where = PHASES_OF[message][0], name, how
            assert {(False, *where), (True, *where)} <= said
    assert {what["do"] for _, what in parts} == set(VERBS) - {"refuse"}, "to refuse takes luck in a draw"
    assert {what["how"] for _, what in parts if what["do"] == "attack"} == set(named_attacks())


def test_every_script_of_the_sweep_can_be_played_and_differs_by_seed() -> None:
    for number in range(len(order(3)) + 5):
        check(swept(3, number), str(number))
    assert swept(3, 7) == swept(3, 7)
    assert [swept(3, number) for number in range(9)] != [swept(4, number) for number in range(9)]


# -- Variants -------------------------------------------------------------------------------------


def test_a_replaced_function_is_replaced_wherever_it_is_used_and_put_back() -> None:
    original = mprng.combine
    with replaced(".mprng:combine", lambda was: lambda openings: was(openings)[::-1]):
        assert mprng.combine is not original
        assert step.mprng.combine([bytes(64)]) == original([bytes(64)])[::-1]
    assert mprng.combine is original


def test_a_variant_of_nothing_is_refused_in_a_sentence() -> None:
    for target in (".mprng:combined", ".nothing:at_all", ".step:CommitRules.faults", "mprng"):
        with pytest.raises(VariantError, match="there is no such function"), replaced(target, lambda was: was):
            pass
    with pytest.raises(VariantError, match="cannot be made: KeyError"), replaced(".mprng:combine", lambda was: {}["x"]):
        pass
    with pytest.raises(VariantError, match="cannot be called"), replaced(".mprng:combine", lambda was: 3):
        pass


def test_there_are_at_least_forty_faulty_variants_and_each_names_what_it_bends() -> None:
    from btard_adversary.coverage import enforced

    assert len(faulty.CATALOGUE) >= 40 and enforced()
    known = all_requirements()
    for variant in faulty.CATALOGUE.values():
        assert variant.bends in known, variant
        assert variant.summary
        with variant():
            pass


# -- Making scripts short, and coverage ----------------------------------------------------------------


def test_a_script_is_made_as_short_as_it_can_be() -> None:
    noise = tuple(Action(who, step, "repeat", "COMMIT") for who in range(2) for step in range(3))
    scene = Scene(peers=8, tolerated=3, attackers=(1, 4), steps=5, newcomer=1, schedule=Schedule("late"))
    long = Script(scene, (*noise, *LIE.actions))
    vary = faulty.find("opening-unchecked")
    violation = verdict_of(long, vary)
    assert violation is not None
    short, verdict = shortest(long, vary, violation)
    assert isinstance(verdict, Violation)
    assert len(short.actions) == 1
    assert (short.scene.peers, short.scene.channel, short.scene.newcomer) == (4, "ideal", 0)
    assert verdict_of(short) is None, "the reference holds where the variant breaks"


def test_coverage_names_the_requirements_that_a_run_reaches() -> None:
    tracer = Tracer()
    with tracer.on():
        run_script(Script(LIE.scene))
    assert {"STEP-8", "MPRNG-4", "BAN-1"} <= tracer.covered <= all_requirements()
    assert not {"MPRNG-3", "BAN-9", "STEP-9"} & tracer.covered, "nobody did anything wrong"


def test_somebody_elses_variant_is_found_by_module_and_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "my_variants.py").write_text(
        "from btard_adversary.variants import Variant\n"
        "lazy = Variant('lazy', '.mprng:combine', lambda original: lambda openings: bytes(32), 'MPRNG-4')\n"
        "wrong = 3\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    found = faulty.find("my_variants:lazy")
    assert isinstance(found, Variant) and verdict_of(LIE, found) is not None
    with pytest.raises(VariantError, match="is a int, not a Variant"):
        faulty.find("my_variants:wrong")
    with pytest.raises(VariantError, match="not a Variant"):
        faulty.find("my_variants:wrong")
