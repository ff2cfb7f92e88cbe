"""Runs of pytest with the harness's plugin, inside a test."""

from __future__ import annotations

from importlib.metadata import entry_points

import pytest

PLUGIN = "btard_adversary.pytest_plugin"


def run_with_plugin(pytester: pytest.Pytester) -> pytest.RunResult:
    """Run the tests that ``pytester`` has written."""
    installed = any(point.value == PLUGIN for point in entry_points(group="pytest11"))
    by_hand = [] if installed else ["-p", PLUGIN]  # pytest refuses to load it twice
    return pytester.runpytest_inprocess(*by_hand, "-p", "no:cacheprovider")
