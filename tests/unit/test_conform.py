"""The live oracle and its report: what it says of programs that conform, crash, are silent or talk nonsense."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from textwrap import dedent
from typing import Any
from xml.etree import ElementTree

import pytest
from btard.cli import main
from btard.conformance import conform as oracle
from btard.conformance.comparison import Done, differences
from btard.conformance.conform import Settings, as_plain, conform, junit, known_requirements, lines
from btard.conformance.examples import ATTACKS, Example, ExampleError, cost, draw, load, playable, save, smaller
from btard.conformance.live import Doings, play
from btard.conformance.subject import Misbehaved, Subject, SubjectError
from btard.protocol.model import BTARD, MAJORITY_VOTE, PROFILES, REDUNDANT_CODE

REFERENCE = f"{sys.executable} -m btard.conformance.reference_peer"


@pytest.fixture
def program(tmp_path: Path) -> Any:
    """Makes a program that is the reference with a few lines of Python before it serves."""

    def make(code: str, name: str = "program") -> str:
        path = tmp_path / f"{name}.py"
        head = "from btard.conformance import reference_peer as peer\nimport json, os, sys, time\n"
        path.write_text(head + dedent(code) + "\npeer.main()\n")
        return f"{sys.executable} {path}"

    return make


def settings(command: str, **changes: Any) -> Settings:
    """A short test."""
    usual = Settings(command, profiles=(BTARD,), examples=2, vectors=False, timeout=20.0)
    return replace(usual, **changes)


# -- Programs that misbehave ----------------------------------------------------------------------


@pytest.mark.requirement("CONF-1")
def test_a_program_that_claims_to_have_everything_is_unmasked(program: Any) -> None:
    boast = program("""
        honest = peer.Program.answer
        def answer(self, request):
            said = honest(self, request)
            return {"output": "00"} if said == peer.UNSUPPORTED else said
        peer.Program.answer = answer
    """)
    report = conform(settings(boast))
    assert report.verdict == "failed" and report.named[0] == "CONF-1" and not report.runs


@pytest.mark.requirement("CONF-5")
@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("ended", "os._exit(3)"),
        ("did not answer", "time.sleep(60)"),
        ("no JSON object", "print('[1]', flush=True); continue_()"),
        ("no JSON", "print('{nonsense', flush=True); continue_()"),
        ("without being asked", "print('{}\\n{}', flush=True); continue_()"),
        ("form of doings", "print('{\"send\": [[1, 2, 3]]}', flush=True); continue_()"),
        ("form of doings", "print('{\"sends\": []}', flush=True); continue_()"),
        ("form of doings", "print('{\"unsupported\": true}', flush=True); continue_()"),
    ],
)
def test_crashes_silence_and_nonsense_are_results(
    program: Any, what: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oracle, "SHRINKING", 2.0)
    faulty = program(f"""
        class Silent(Exception): pass
        def continue_(): raise Silent
        honest = peer.Program.answer
        def answer(self, request):
            if request["do"] == "receive":
                {line}
            return honest(self, request)
        def serve(lines, out):
            program = peer.Program()
            for text in lines:
                try:
                    out.write(json.dumps(answer(program, json.loads(text))) + "\\n")
                    out.flush()
                except Silent:
                    pass
        peer.serve = serve
    """)
    report = conform(settings(faulty, timeout=1.0, examples=1, out=tmp_path))
    assert report.verdict == "failed" and report.named[:1] == ["CONF-5"]
    assert what in report.runs[0].played.found[0].sentence


@pytest.mark.requirement("CONF-3")
def test_an_alarm_that_is_not_later_is_a_failure(program: Any, tmp_path: Path) -> None:
    faulty = program("peer.Seat.alarm = property(lambda self: 0)")
    report = conform(settings(faulty, out=tmp_path, examples=1))
    assert report.named == ["CONF-3"]


@pytest.mark.requirement("CONF-3")
def test_more_alarms_than_needed_are_no_failure(program: Any) -> None:
    nervous = program("""
        honest = peer.Seat.act
        def act(self, now, action):
            done = honest(self, now, action)
            if "wake" in done and done["wake"] > now + 500:
                done["wake"] = now + 500
            return done
        peer.Seat.act = act
    """)
    assert conform(settings(nervous)).verdict == "passed"


@pytest.mark.requirement("CONF-3")
def test_what_arrives_at_a_deadline_may_be_answered_with_that_deadline() -> None:
    example = Example(
        peers=9, tolerated=3, byzantine=2, attack="wrong-log-head", start=1, steps=4, dimension=12, schedule="lossy",
        seed=914103730,
    )  # fmt: skip
    alarms = []
    with Subject(REFERENCE, 20.0) as subject:
        assert not play(example, subject).found
        for request, answer in subject.exchanged:
            asked, told = json.loads(request), json.loads(answer)
            if asked["do"] == "receive" and told.get("wake") == asked["now"]:
                alarms.append(asked["now"])
    assert alarms


def test_frames_may_leave_one_by_one_and_in_any_order(program: Any) -> None:
    other = program("""
        honest = peer.Seat.act
        def act(self, now, action):
            done = honest(self, now, action)
            sends = []
            for to, frame in done.get("send", []):
                everyone = [p.hex() for p in self.node.roster if p != self.node.id]
                sends += [[one, frame] for one in (everyone if to is None else [to])]
            if sends:
                done["send"] = sends[::-1]
            return done
        peer.Seat.act = act
    """)
    assert conform(settings(other)).verdict == "passed"


def test_the_last_words_of_a_program_are_reported(program: Any) -> None:
    with Subject(program("sys.exit('out of paper')"), 20.0) as subject, pytest.raises(Misbehaved, match="out of paper"):
        subject.ask("hello")


def test_a_command_that_cannot_be_started_is_a_wrong_call(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("no-such-program-here", "", "'"):
        with pytest.raises(SubjectError):
            Subject(command, 1.0)
        with pytest.raises(SystemExit) as ended:
            main(["conform", "--sut", command])
        assert ended.value.code == 2 and "Traceback" not in capsys.readouterr().err


# -- Aggregates -----------------------------------------------------------------------------------


AGGREGATE = """
    import numpy as np
    honest = peer.Telling.aggregate
    def aggregate(self, state, attempt, inputs, right):
        moved = right + np.float32({by}) * np.float32(max(1e-6, abs(right).max()))
        return honest(self, state, attempt, inputs, moved.astype(np.float32))
    peer.Telling.aggregate = aggregate
"""


@pytest.mark.requirement("CONF-4")
@pytest.mark.parametrize("profile", [BTARD, REDUNDANT_CODE])
def test_an_aggregate_may_differ_in_its_last_bits(program: Any, profile: str) -> None:
    assert conform(settings(program(AGGREGATE.format(by=1e-6)), profiles=(profile,))).verdict == "passed"


@pytest.mark.requirement("CONF-4")
@pytest.mark.parametrize("profile", PROFILES)
def test_an_aggregate_that_is_none_is_a_failure(program: Any, profile: str, tmp_path: Path) -> None:
    away = "-2.0" if profile == MAJORITY_VOTE else "3.0"
    report = conform(settings(program(AGGREGATE.format(by=away)), profiles=(profile,), out=tmp_path, examples=1))
    assert report.verdict == "failed" and report.runs[0].played.found[0].key == "aggregate"


# -- Runs -----------------------------------------------------------------------------------------


@pytest.mark.requirement("CONF-2")
def test_whatever_the_implementation_sends_follows_from_its_seat() -> None:
    told = []
    for _ in range(2):
        with Subject(REFERENCE, 20.0) as subject:
            assert not play(Example(steps=2, byzantine=1, attack="equivocation"), subject).found
            told.append(list(subject.exchanged))
    assert told[0] == told[1]
    with Subject(REFERENCE, 20.0) as subject:
        play(Example(steps=2, byzantine=1, attack="equivocation", seed=1), subject)
        assert list(subject.exchanged) != told[0]


def test_an_implementation_that_opens_something_else_is_found(program: Any, tmp_path: Path) -> None:
    faulty = program("""
        from btard.protocol import mprng
        mprng.private_opening = lambda secret, run, step, attempt: secret * 2
    """)
    report = conform(settings(faulty, out=tmp_path, examples=1))
    assert report.runs[0].played.found[0].key == "commit.commitment"


def test_several_seats_leaves_and_newcomers() -> None:
    for example in (
        Example(peers=6, tolerated=1, seats=3, steps=3),
        Example(peers=6, tolerated=1, seats=2, steps=4, leaver=2),
        Example(peers=6, tolerated=1, steps=12, newcomer=1),
        Example(peers=6, tolerated=2, byzantine=2, attack="withheld-part", schedule="lossy", steps=4),
    ):
        with Subject(REFERENCE, 20.0) as subject:
            played = play(example, subject)
        assert not played.found and played.steps == example.steps + 2


@pytest.mark.requirement("CONF-6")
def test_a_failed_run_is_made_smaller_and_saved_and_fails_again(
    program: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    faulty = program("""
        from btard.protocol import step
        def begin(self, state, attempt, delivered):  # takes the first state hash instead of the majority's
            self.state_hash = next(m.state_hash for m in delivered.values() if hasattr(m, "state_hash"))
        step.CommitRules.begin = begin
    """)
    chosen = settings(faulty, out=tmp_path / "saved", examples=20, attacks=("wrong-state-hash",))
    report = conform(chosen)
    failed = next(run for run in report.runs if run.played.found)
    first = draw(failed.number, 0, (BTARD,), ("wrong-state-hash",))
    assert cost(failed.example) <= cost(first) and failed.example.steps <= first.steps
    assert failed.saved is not None and load(failed.saved) == failed.example
    told = failed.saved.with_suffix(".exchange.jsonl").read_text().splitlines()
    assert json.loads(told[0])["do"] == "seat"
    for command, code in ((faulty, 1), (REFERENCE, 0)):
        with pytest.raises(SystemExit) as ended:
            main(["conform", "--sut", command, "--replay", str(failed.saved), "--out", str(tmp_path / "again")])
        assert ended.value.code == code
    assert "passed" in capsys.readouterr().out


def test_simpler_runs_are_simpler_and_playable() -> None:
    for number in range(60):
        example = draw(number, 7, PROFILES, ATTACKS, 1 + number % 2)
        assert playable(example), example
        for simpler in smaller(example):
            assert cost(simpler) < cost(example) and playable(simpler)


def test_runs_that_cannot_be_read_or_played_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    save(Example(), path)
    assert load(path) == Example()
    for wrong in (
        {"peers": 3},
        {"profile": "none"},
        {"byzantine": 1},
        {"seats": 0},
        {"peers": "4"},
        {"unknown": 1},
        {"schedule": "x"},
    ):
        path.write_text(json.dumps({"example": wrong}))
        with pytest.raises(ExampleError):
            load(path)
    for text in ("", "[]", "{}", '{"example": 3}'):
        path.write_text(text)
        with pytest.raises(ExampleError):
            load(path)
    with pytest.raises(ExampleError, match="cannot read"):
        load(tmp_path / "none.json")


# -- Comparing ------------------------------------------------------------------------------------


def test_what_is_missing_and_what_is_too_much_is_said() -> None:
    state = {"step": 1, "attempt": 0, "roster": ["aa"], "randomness": "00"}
    here, there = Done(states=[state]), Done(states=[{**state, "randomness": "01"}, {**state, "step": 2}])
    found = [(difference.key, difference.sentence) for difference in differences(here, there)]
    assert [key for key, _ in found] == ["state.randomness", "state"]
    assert "randomness" not in found[1][1] and "unexpectedly" in found[1][1]
    assert not differences(here, here)
    assert [d.key for d in differences(here, Done())] == ["state"]


def test_doings_are_read_strictly() -> None:
    assert Doings.read({}) == Doings()
    assert Doings.read({"send": [[None, "00"]], "wake": 3.0}) == Doings(send=[(None, b"\0")], wake=3)
    assert Doings.read({"send": [["00" * 32, "00"]]}).send == [(bytes(32), b"\0")]
    for wrong in (
        {"wake": 1.5},
        {"wake": True},
        {"wake": "soon"},
        {"send": [["zz", "00"]]},
        {"send": [["00", "00"]]},
        {"send": [[None, "0"]]},
        {"send": [[None, "AA"]]},
        {"records": [None]},
        {"states": ["x"]},
        {"aggregate": 1},
        {"other": 1},
    ):
        with pytest.raises((ValueError, TypeError)):
            Doings.read(wrong)


# -- The report -----------------------------------------------------------------------------------


def test_the_report_names_every_requirement_once_and_is_valid_for_others() -> None:
    report = conform(settings(REFERENCE, examples=1))
    listed = report.requirements
    assert sorted(listed["passed"] + listed["failed"] + listed["not_exercised"]) == sorted(known_requirements())
    assert {"STEP-3", "MPRNG-2", "BCAST-2", "LOG-3"} <= set(listed["passed"])
    assert json.loads(json.dumps(as_plain(report)))["verdict"] == "passed"
    assert list(lines(report))[-1] == "BTARD conformance passed: btard; vectors not tested, 1/1 runs"
    root = ElementTree.fromstring(junit(report))
    assert [suite.get("name") for suite in root] == ["greeting", "vectors", "runs"]
    assert all(suite.get("failures") == "0" for suite in root)


def test_failed_vectors_are_in_every_form_of_the_report(program: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    first = next(chapter for chapter in oracle.chapters() if chapter.name == "encoding")
    monkeypatch.setattr(oracle, "chapters", lambda: (first,))
    faulty = program("""
        from btard.conformance.vectors.cases import OPERATIONS
        from btard.protocol.encoding import tagged_hash
        peer.load_operations()
        told = OPERATIONS["encoding.tagged_hash"]
        OPERATIONS["encoding.tagged_hash"] = told._replace(compute=lambda given: "\\x00")
        del OPERATIONS["encoding.expand"]
    """)
    report = conform(settings(faulty, vectors=True, examples=0))
    plain = as_plain(report)
    assert plain["vectors"]["unsupported"] > 0 and plain["vectors"]["failed"] == 7 and report.named == ["ENC-1"]
    suite = ElementTree.fromstring(junit(report))[1]
    assert suite.get("failures") == "7" and suite.get("skipped") == str(plain["vectors"]["unsupported"])
    text = "\n".join(lines(report))
    assert "maybe it hashes the content without the tag's prefix" in text and "look first at ENC-1" in text
    assert "where it should give" in text


def test_a_program_that_crashes_at_every_vector_is_given_up(program: Any) -> None:
    faulty = program("""
        def evaluated(self, name, fields):
            if name.startswith("none."):
                return peer.UNSUPPORTED
            os._exit(1)
        peer.Program.evaluated = evaluated
    """)
    report = conform(settings(faulty, vectors=True, examples=0))
    counts = oracle.counted(report.vectors)
    assert counts["failed"] == oracle.MOST_MISBEHAVIOURS and counts["not tried"] > 3000
    assert report.verdict == "failed" and "not tried" in "\n".join(lines(report))


def test_the_command_says_what_it_found(program: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    short = ["--profile", "btard", "--examples", "1", "--no-vectors", "--out", str(tmp_path)]
    with pytest.raises(SystemExit) as ended:
        main(["conform", "--sut", REFERENCE, *short, "--junit", str(tmp_path / "junit.xml"), "--json"])
    assert not ended.value.code and json.loads(capsys.readouterr().out)["summary"].startswith(
        "BTARD conformance passed"
    )
    assert (tmp_path / "junit.xml").read_bytes().startswith(b"<?xml")
    for command in ("false", "echo hi", f"{sys.executable} {tmp_path / 'none.py'}"):  # as a user runs it
        junit_file = tmp_path / "dead.xml"
        called = [sys.executable, "-m", "btard.cli", "conform", "--sut", command, "--junit", str(junit_file)]
        done = subprocess.run(called, capture_output=True, text=True, timeout=120)
        assert done.returncode == 1 and "BTARD conformance failed" in done.stdout and junit_file.exists()
        junit_file.unlink()
    idle = program('peer.PROFILES = ("unheard-of",)')
    with pytest.raises(SystemExit) as ended:
        main(["conform", "--sut", idle, *short])
    assert ended.value.code == 3
    for wrong in (
        ["--profile", "none"],
        ["--attack", "none"],
        ["--replay", str(tmp_path / "none")],
        ["--examples", "-1"],
    ):
        with pytest.raises(SystemExit) as ended:
            main(["conform", "--sut", REFERENCE, *wrong])
        assert ended.value.code == 2
