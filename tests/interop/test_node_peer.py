"""The second implementation: a peer for Node, written from the specification's text alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from btard.conformance.audit import read_genesis
from btard.conformance.conform import PASSED, Settings, conform, lines, vector_results
from btard.conformance.vectors.cases import Vector
from btard.protocol.model import BTARD

FOLDER = Path(__file__).with_name("node")
COMMAND = f"node {FOLDER / 'peer.js'}"
RUNS = 25
OTHER_PROFILES = ("majority_vote", "redundant_code", "tolerance")
"""Chapters about what a peer of profile btard does not need."""

pytestmark = pytest.mark.skipif(
    shutil.which("node") is None or not (FOLDER / "node_modules").is_dir(),
    reason="needs Node and the packages of tests/interop/node (make test installs them)",
)


def test_it_plays_its_profile_like_the_reference(tmp_path: Path) -> None:
    report = conform(Settings(COMMAND, profiles=(BTARD,), examples=RUNS, vectors=False, out=tmp_path))
    assert report.verdict == PASSED, "\n".join(lines(report))
    assert report.profiles == (BTARD,) and len(report.runs) == RUNS


def test_it_computes_every_vector_of_its_profile() -> None:
    results = list(vector_results(Settings(COMMAND), lambda what, done, of: None))
    missed = [result for result in results if result.verdict != PASSED]
    needed = [result for result in missed if not foreign(result.vector)]
    assert not needed, "\n".join(f"{result.vector.id}: {result.verdict} {result.sentence}" for result in needed[:20])
    assert all(result.verdict == "unsupported" for result in missed)


def foreign(vector: Vector) -> bool:
    """Whether a vector is about something that a peer of profile btard never meets."""
    if vector.operation.partition(".")[0] in OTHER_PROFILES:
        return True
    if "log" not in vector.fields:
        return False
    configuration = read_genesis(bytes.fromhex(vector.input["log"])).configuration
    return configuration.profile != BTARD or configuration.tolerance > 0


def test_it_uses_libraries_and_nothing_of_the_reference() -> None:
    package = json.loads((FOLDER / "package.json").read_text())
    assert sorted(package["dependencies"]) == ["@noble/ed25519", "@noble/hashes", "cborg"]
    for path in FOLDER.glob("*.js"):
        text = path.read_text(encoding="utf-8")
        assert "reference/" not in text and "child_process" not in text, path
