"""Faulty implementations: the oracle finds each mistake, and names the requirement that it breaks."""

from __future__ import annotations

import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from btard.conformance import conform as oracle
from btard.conformance.conform import FAILED, PASSED, Report, Settings, conform, replay, vector_results
from btard.conformance.examples import Example, load
from btard.conformance.vectors.cases import Chapter
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

VECTORS: dict[str, str] = {
    "clipped-norms-reported": "verification",
    "cofactor": "identity",
    "columns-interleaved": "redundant_code",
    "directions-big-endian": "mprng",
    "first-content-wins": "exchange",
    "groups-in-blocks": "redundant_code",
    "hash-without-domain": "encoding",
    "keys-by-name": "encoding",
    "last-part-takes-the-rest": "butterfly_clip",
    "late-relays-accepted": "broadcast",
    "long-forms-read": "encoding",
    "middle-of-two": "arithmetic",
    "minus-is-zero": "majority_vote",
    "near-reports-of-b": "verification",
    "null-signs-of-the-first-step": "majority_vote",
    "optimizer-not-hashed": "update.state_hash",
    "padding-bits-set": "majority_vote",
    "products-in-float32": "arithmetic",
    "radii-unlimited": "butterfly_clip",
    "response-reduced": "identity",
    "rest-ignored": "encoding",
    "salts-mixed-in": "mprng",
    "signatures-unchecked": "messages",
    "summed-from-left-to-right": "arithmetic",
    "ties-are-minus": "majority_vote",
    "trials-as-they-come": "bans",
}
"""By chapter, or operation."""
EXAMPLES: dict[str, Example] = {
    "certificate-without-one": Example(
        profile=REDUNDANT_CODE, steps=1, dimension=4, schedule="random", seed=1837065798
    ),
    "deadlines-from-the-phase": Example(
        profile=REDUNDANT_CODE, byzantine=1, attack="missing-opening", steps=1, dimension=4, seed=364818476
    ),
    "early-frames-dropped": Example(dimension=4, seed=3274564053),
    "echo-after-all-but-b": Example(steps=1, dimension=4, seed=3274564053),
    "every-departure-counts": Example(
        peers=6, tolerated=2, byzantine=1, attack="withheld-part", steps=1, dimension=6, seed=3837384150
    ),
    "first-version-only": Example(
        profile=MAJORITY_VOTE, byzantine=1, attack="equivocation", steps=1, dimension=4, seed=3727086877
    ),
    "header-before-body": Example(steps=1, dimension=4, seed=3274564053),
    "letters-not-passed-on": Example(dimension=4, newcomer=1, seed=2725879363),
    "lots-little-endian": Example(profile=MAJORITY_VOTE, steps=4, dimension=11, seed=2892063686),
    "majority-of-the-heard": Example(
        profile=REDUNDANT_CODE, byzantine=1, attack="missing-opening", steps=1, dimension=4, seed=364818476
    ),
    "members-by-id": Example(
        profile=REDUNDANT_CODE, peers=12, tolerated=2, steps=1, dimension=12, compression=2, seed=1837065798
    ),
    "mismatch-taken-as-missing": Example(
        profile=MAJORITY_VOTE, byzantine=1, attack="wrong-hash", steps=1, dimension=4, seed=1661299182
    ),
    "missing-echoes-forgiven": Example(byzantine=1, attack="withheld-echo", steps=1, dimension=4, seed=2615271859),
    "new-gradient-in-a-retry": Example(
        profile=MAJORITY_VOTE, byzantine=1, attack="split-equivocation", steps=1, dimension=4, seed=706638457
    ),
    "no-offer": Example(steps=1, dimension=4, seed=3274564053),
    "numbers-big-endian": Example(steps=1, dimension=4, seed=3274564053),
    "only-the-accused-leaves": Example(
        profile=MAJORITY_VOTE, byzantine=1, attack="withheld-part", steps=1, dimension=4, seed=814969676
    ),
    "openings-unchecked": Example(
        profile=MAJORITY_VOTE, byzantine=1, attack="wrong-opening", steps=1, dimension=4, seed=1620904041
    ),
    "parts-awaited-for-a-delay": Example(
        profile=MAJORITY_VOTE, byzantine=1, attack="wrong-hash", steps=1, dimension=4, seed=1661299182
    ),
    "past-phases-forgotten": Example(profile=REDUNDANT_CODE, steps=1, dimension=4, schedule="random", seed=1837065798),
    "probation-rounded-down": Example(steps=8, dimension=20, newcomer=1, seed=2725879363),
    "share-of-the-first-attempt": Example(byzantine=1, attack="sign-flip", steps=4, dimension=4, seed=2725879363),
    "signatures-in-the-chain": Example(steps=1, dimension=4, seed=3274564053),
    "three-rounds-of-clipping": Example(byzantine=1, attack="sign-flip", steps=2, dimension=4, seed=2725879363),
    "update-in-float64": Example(dimension=8),
    "validators-redrawn": Example(byzantine=1, attack="misreported-product", start=1, steps=5, dimension=18, seed=3),
    "woken-after-a-time": Example(profile=MAJORITY_VOTE, steps=1, dimension=4, schedule="late", seed=2892063686),
    "one-gradient-for-every-phase": Example(byzantine=1, attack="silent", steps=1, dimension=4),
}
"""By the smallest run that was found."""
NO_ANSWERS: dict[str, Example] = {
    "crashes-on-a-bad-frame": Example(
        profile=MAJORITY_VOTE, byzantine=1, attack="flood", steps=1, dimension=4, seed=3400521447
    ),
    "hex-in-upper-case": Example(steps=1, dimension=4, seed=3274564053),
    "no-time-is-no-number": Example(steps=1, dimension=4, seed=3274564053),
    "silent-on-a-bad-frame": Example(
        profile=MAJORITY_VOTE, byzantine=1, attack="flood", steps=1, dimension=4, seed=3400521447
    ),
}
"""The same for mistakes in the answers."""
GREETING = ("claims-everything", "talks-between")
"""What shows before the first vector."""

# -- Tests -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def known_chapters() -> list[Chapter]:
    """The chapters of vectors that the tests use, made once."""
    wanted = {where.partition(".")[0] for where in VECTORS.values()}
    return [chapter for chapter in chapters() if chapter.name in wanted]


def part_of(known: list[Chapter], where: str) -> Chapter:
    """The vectors of a chapter, or of one operation of it."""
    name = where.partition(".")[0]
    chapter = next(chapter for chapter in known if chapter.name == name)
    return replace(chapter, vectors=[v for v in chapter.vectors if v.operation.startswith(where)])


def test_every_mistake_is_tested() -> None:
    """No entry of the catalogue is left out, and none is tested in two ways."""
    assert sorted([*VECTORS, *EXAMPLES, *NO_ANSWERS, *GREETING]) == sorted(CATALOGUE)
    assert len(CATALOGUE) >= 20


@pytest.mark.requirement("VEC-1")
@pytest.mark.parametrize("name", sorted(VECTORS))
def test_vectors_name_the_mistake(
    name: str, known_chapters: list[Chapter], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The vectors of one chapter find the mistake."""
    monkeypatch.setattr(oracle, "chapters", lambda: [part_of(known_chapters, VECTORS[name])])
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
