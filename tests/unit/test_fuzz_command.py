"""``btard fuzz``: what it finds it prints, saves and replays; a wrong call gets one sentence and exit code 2."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from btard import cli
from btard.cli import COMMANDS
from btard.training import registry
from btard_adversary import faulty
from btard_adversary.fuzz import Campaign, campaign, search_attack
from btard_adversary.script import ALL, Action, Scene, Script
from btard_adversary.variants import Variant
from plugin import run_with_plugin
from test_cli import btard

pytest_plugins = "pytester"


def test_a_fault_is_found_shown_saved_and_replayed(tmp_path: Path) -> None:
    lenient = "--variant", "divergence-tolerated"
    done = btard("fuzz", *lenient, "--examples", "120", "--jobs", "1", "--out", str(tmp_path))
    assert done.returncode == 1, done.stderr
    assert "state hash" in done.stdout and "attackers:" in done.stdout
    (saved,) = tmp_path.iterdir()
    assert str(saved) in done.stdout
    again = btard("fuzz", "--replay", str(saved), *lenient)
    assert again.returncode == 1 and "state hash" in again.stdout
    fine = btard("fuzz", "--replay", str(saved))
    assert fine.returncode == 0 and "no property is violated" in fine.stdout


def test_the_reference_holds_and_says_how_much_was_tried() -> None:
    done = btard("fuzz", "--examples", "6", "--jobs", "2", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["violation"] is None
    assert found["swarms"] >= 6 and found["steps"] > found["swarms"]
    assert 50 < len(found["requirements_covered"]) <= found["requirements"]


def test_who_kills_a_campaign_leaves_no_process_behind() -> None:
    """The processes that share it hold its output open: it is closed once the last of them has ended."""
    command = [sys.executable, "-m", "btard.cli", "fuzz", "--minutes", "5", "--jobs", "2"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    time.sleep(5)  # until they play
    process.kill()
    process.communicate(timeout=30)
    assert process.returncode == -signal.SIGKILL


def test_the_list_of_variants_names_each_with_what_it_bends() -> None:
    done = btard("fuzz", "--list-variants", "--json")
    listed = json.loads(done.stdout)
    assert {entry["name"] for entry in listed} == set(faulty.CATALOGUE)
    assert all(entry["bends"] and entry["summary"] for entry in listed)


def test_a_rule_that_does_not_hold_what_it_claims_is_broken(tmp_path: Path) -> None:
    out = str(tmp_path)
    done = btard("fuzz", "--rule", "mean", "--byzantine", "1", "--peers", "7", "--examples", "60", "--out", out)
    assert done.returncode == 1 and "BROKEN" in done.stdout
    held = btard("fuzz", "--rule", "coordinate-median", "--peers", "7", "--byzantine", "2", "--examples", "60")
    assert held.returncode == 0, held.stdout


def test_an_attack_is_measured_against_the_bound(tmp_path: Path) -> None:
    done = btard("fuzz", "--attack", "sign-flip", "--examples", "4", "--out", str(tmp_path))
    assert done.returncode == 0 and "of the bound" in done.stdout
    report = search_attack("sign-flip", 60.0, 0, 8)
    assert 0 < report.reach <= 1 and report.violation is None and sum(report.ends.values()) >= 8


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--variant", "nope"), "there is no variant 'nope': 'btard fuzz --list-variants' lists those that are known"),
        (("--variant", "opening-uncheckd"), "did you mean opening-unchecked or"),
        (("--variant", "os:path"), "not a Variant"),
        (("--attack", "nope"), "there is no attack 'nope'"),
        (("--attack", "os:path"), "'os:path' is a module, not an attack"),
        (("--attack", "os:getcwd"), "attack 'os:getcwd' cannot be seated: TypeError"),
        (("--attack", "builtins:repr"), "'builtins:repr' gives a str, not an attack"),
        (("--rule", "nope"), "nope"),
        (("--rule", "mean", "--claim", "__import__('os')"), "claim"),
        (("--replay", "/nowhere.json"), "cannot read '/nowhere.json'"),
        (("--rule", "mean", "--attack", "mimic"), "choose one of"),
        (("--minutes", "0"), "--minutes must be above 0"),
        (("--examples", "-1"), "--examples and --jobs not below it"),
    ],
)
def test_a_wrong_call_gets_one_sentence(arguments: tuple[str, ...], sentence: str) -> None:
    done = btard("fuzz", *arguments)
    assert done.returncode == 2, done.stdout
    assert sentence in done.stderr and done.stderr.count("\n") == 1 and not done.stdout


@pytest.mark.parametrize(
    ("name", "line"),
    [("far_away", "return honest[10**9]"), ("no_key", "return {}['missing']"), ("nothing", "return None")],
)
def test_an_attack_whose_code_fails_is_a_wrong_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, line: str
) -> None:
    (tmp_path / f"{name}.py").write_text(
        "from btard_adversary.attacks.base import Attack\n"
        "class Mine(Attack):\n"
        "    def gradient(self, state, honest):\n"
        f"        {line}\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    saved = tmp_path / "script.json"
    Script(Scene(channel="ideal"), (Action(ALL, 1, "attack", how=f"{name}:Mine"),)).save(saved)
    for call in (("--attack", f"{name}:Mine", "--examples", "2"), ("--replay", str(saved))):
        done = btard("fuzz", *call)
        assert done.returncode == 2, done.stdout
        assert "attack Mine" in done.stderr and done.stderr.count("\n") == 1 and not done.stdout


def test_the_same_seed_finds_the_same() -> None:
    def found(seed: int) -> Campaign:
        return campaign("complaints-ignored", 600.0, seed, 120)

    first, second = found(5), found(5)
    assert first.found is not None and first.found == second.found
    assert (first.counts.swarms, first.counts.steps) == (second.counts.swarms, second.counts.steps)


def test_a_variant_of_ones_own_needs_no_name() -> None:
    mine = Variant("mine", ".mprng:combine", lambda original: lambda openings: bytes(32))
    done = campaign(mine, 60.0, 0, 5)
    assert done.found is not None and done.found.property == "PROP-7"


def test_the_fixtures_fail_with_the_script_or_return_the_report(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        from btard_adversary.variants import Variant

        def test_holds(fuzz_variant):
            assert fuzz_variant("", examples=2).found is None

        def test_breaks(fuzz_variant):
            fuzz_variant(Variant("mine", ".mprng:combine", lambda original: lambda openings: bytes(32)), examples=5)

        def test_attack(fuzz_attack):
            assert fuzz_attack("mimic", examples=2).reach >= 0
        """
    )
    result = run_with_plugin(pytester)
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["*PROP-7*", "*saved: *"])


def test_without_hypothesis_it_says_what_to_install() -> None:
    call = "import sys; sys.modules['hypothesis'] = None; from btard.cli import main; main(['fuzz', '--examples', '1'])"
    done = subprocess.run([sys.executable, "-c", call], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2 and "pip install btard[adversary]" in done.stderr
    assert done.stderr.count("\n") == 1 and not done.stdout


def test_a_command_that_cannot_be_imported_harms_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = EntryPoint("broken-tool", "nowhere:command", COMMANDS)
    monkeypatch.setattr(cli, "entry_points", lambda group: [broken])
    monkeypatch.setattr(registry, "known_names", lambda group: {"broken-tool": broken})
    monkeypatch.setattr(cli.app, "registered_commands", list(cli.app.registered_commands))
    done = btard("broken-tool", "--whatever", "1")
    assert done.returncode == 2 and "'nowhere', which is missing" in done.stderr
    monkeypatch.undo()
    assert btard("attacks").returncode == 0
