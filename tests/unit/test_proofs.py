"""The machine-checked statements hold, and each can fail."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "proofs"))

import census


@pytest.mark.parametrize("statement", census.STATEMENTS, ids=lambda statement: statement.name)
def test_statement_is_proven(statement: census.Statement) -> None:
    assert census.proven(statement)


@pytest.mark.parametrize("statement", census.STATEMENTS, ids=lambda statement: statement.name)
def test_statement_breaks_without_its_needed_hypothesis(statement: census.Statement) -> None:
    assert census.can_fail(statement)
