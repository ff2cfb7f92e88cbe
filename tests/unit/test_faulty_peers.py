"""Faulty implementations: the oracle finds each mistake, and names the requirement that it breaks."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from btard.conformance import conform as oracle
from btard.conformance.conform import FAILED, PASSED, Report, Settings, conform, replay, vector_results
from btard.conformance.examples import Example, load
from btard.conformance.vectors.files import chapters
from btard.protocol.model import BTARD, MAJORITY_VOTE, PROFILES, REDUNDANT_CODE
from btard_adversary.faulty_peers import CATALOGUE

MINUTE = 60.0
"""Seconds for an answer: enough on a busy machine."""
PATIENCE = {"silent-on-a-bad-frame": 5.0}
"""Where the mistake is that no answer comes, in seconds."""


def command(name: str) -> str:
    """What starts a faulty implementation."""
    return f"{shlex.quote(sys.executable)} -m btard_adversary.faulty_peers {name}"


def settings(name: str, tmp_path: Path, **chosen: Any) -> Settings:
    """How one is tested."""
    return Settings(command(name), timeout=PATIENCE.get(name, MINUTE), out=tmp_path, **chosen)


# -- Where each mistake shows with little work -------------------------------------------------------
# TABLES#

# -- Tests -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def known_chapters() -> dict[str, Any]:
    """The chapters of vectors that the tests use, made once."""
    wanted = set(CHAPTERS.values())
    return {chapter.name: chapter for chapter in chapters() if chapter.name in wanted}


def test_every_mistake_is_tested() -> None:
    """No entry of the catalogue is left out, and none is tested in two ways."""
    assert sorted([*CHAPTERS, *EXAMPLES, *NO_ANSWERS, *GREETING]) == sorted(CATALOGUE)
    assert len(CATALOGUE) >= 20


@pytest.mark.requirement("VEC-1")
@pytest.mark.parametrize("name", sorted(CHAPTERS))
def test_vectors_name_the_mistake(
    name: str, known_chapters: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The vectors of one chapter find the mistake."""
    monkeypatch.setattr(oracle, "chapters", lambda: [known_chapters[CHAPTERS[name]]])
    report = Report(command(name), name, PROFILES)
    report.vectors.extend(vector_results(settings(name, tmp_path), lambda what, done, of: None))
    assert report.verdict == FAILED
    assert CATALOGUE[name].bends in report.named[:3]


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_a_run_names_the_mistake(name: str, tmp_path: Path) -> None:
    """One run finds the mistake."""
    report = Report(command(name), name, PROFILES)
    report.runs.append(replay(EXAMPLES[name], settings(name, tmp_path)))
    assert report.verdict == FAILED
    assert CATALOGUE[name].bends in report.named[:3]


@pytest.mark.requirement("CONF-5")
@pytest.mark.parametrize("name", sorted(NO_ANSWERS))
def test_what_is_no_answer_is_reported_and_not_raised(name: str, tmp_path: Path) -> None:
    """Crashes, silence and answers of another form are failures of the run, with a sentence."""
    report = Report(command(name), name, PROFILES)
    report.runs.append(replay(NO_ANSWERS[name], settings(name, tmp_path)))
    assert report.verdict == FAILED
    assert [difference.key for difference in report.runs[0].played.found] == ["form"]
    assert CATALOGUE[name].bends in report.named[:3]


@pytest.mark.requirement("CONF-1")
@pytest.mark.parametrize("name", GREETING)
def test_the_greeting_names_the_mistake(name: str, tmp_path: Path) -> None:
    """The oracle finds the mistake before it asks for anything else."""
    report = conform(settings(name, tmp_path))
    assert report.verdict == FAILED
    assert not report.vectors and not report.runs
    assert CATALOGUE[name].bends in report.named[:3]


@pytest.mark.requirement("CONF-2")
@pytest.mark.requirement("CONF-3")
@pytest.mark.parametrize("profile", PROFILES)
def test_the_reference_passes(profile: str, tmp_path: Path) -> None:
    """A conforming peer passes a short series in every profile."""
    started = f"{shlex.quote(sys.executable)} -m btard.conformance.reference_peer"
    report = conform(Settings(started, (profile,), examples=4, vectors=False, timeout=MINUTE, out=tmp_path))
    assert report.verdict == PASSED
    assert report.named == []
    assert len(report.runs) == 4


NEARBY = """
import numpy as np
from btard.conformance.reference_peer import main
from btard_adversary.variants import replaced

def nearby(original):
    return lambda vectors, radius, tolerance: np.nextafter(original(vectors, radius, tolerance / 2), np.float32(9))

with replaced(".butterfly_clip:centered_clip", nearby):
    main()
"""
"""A peer whose aggregates differ from the reference's in every entry, in the last bit."""


@pytest.mark.requirement("CONF-4")
def test_another_right_aggregate_passes(tmp_path: Path) -> None:
    """Every aggregate that CLIP-5 admits is right, and the reference goes on with it."""
    program = tmp_path / "nearby.py"
    program.write_text(NEARBY, encoding="utf-8")
    started = shlex.join([sys.executable, str(program)])
    report = conform(Settings(started, (BTARD,), examples=2, vectors=False, timeout=MINUTE, out=tmp_path))
    assert report.verdict == PASSED


@pytest.mark.requirement("CONF-6")
def test_a_failure_is_saved_as_a_smaller_run(tmp_path: Path) -> None:
    """What fails in a large run is reported as a small one, which fails again when it is played from its file."""
    chosen = settings("no-offer", tmp_path, profiles=(BTARD,), examples=1, vectors=False)
    (result,) = conform(chosen).runs
    assert result.saved is not None
    assert (result.example.peers, result.example.steps, result.example.schedule) == (4, 1, "even")
    again = replay(load(result.saved), chosen)
    assert again.played.found == result.played.found
    assert result.saved.with_suffix(".exchange.jsonl").read_text().count("\n") > 2


def test_the_program_lists_its_mistakes() -> None:
    """Without a name, and with an unknown one."""
    listing = subprocess.run([*shlex.split(command(""))], capture_output=True, text=True, timeout=MINUTE)
    assert listing.returncode == 0
    assert all(name in listing.stdout for name in CATALOGUE)
    unknown = subprocess.run([*shlex.split(command("none"))], capture_output=True, text=True, timeout=MINUTE)
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert unknown.stderr.count("\n") == 1
