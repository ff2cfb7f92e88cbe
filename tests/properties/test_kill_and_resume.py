"""A run that is killed at random moments and resumed ends as the undisturbed one, bit by bit."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.requirement("REC-1", "REC-2", "REC-4")
@pytest.mark.parametrize("trials", [8, pytest.param(200, marks=pytest.mark.slow)])
def test_killed_runs_lose_nothing(tmp_path: Path, trials: int) -> None:
    command = [sys.executable, "-m", "tests.kills", str(tmp_path), "--trials", str(trials)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60 + 20 * trials, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    result = json.loads(done.stdout)
    assert result["lost"] == [] and result["trials"] == trials and result["kills"] >= trials / 2
