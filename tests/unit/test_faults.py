"""Network faults as a user writes them: what they cost a run, and how wrong ones are refused."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from btard.cli import main
from btard.network.faults import FaultError, Faults, read_faults

RUN = ["train", "--task", "quadratic", "--peers", "8", "--tolerate", "3", "--steps", "6", "--json"]


def call(*options: str) -> tuple[int, str, str]:
    """Exit code, output and error output of a short run with ``options``."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.raises(SystemExit) as exit, redirect_stdout(out), redirect_stderr(err):
        main([*RUN, *options])
    return int(exit.value.code or 0), out.getvalue(), err.getvalue()


def summary(*options: str) -> dict[str, object]:
    """The summary of a short run with ``options``."""
    code, out, err = call(*options)
    assert code == 0, err
    found: dict[str, object] = json.loads(out)
    return found


@pytest.fixture(scope="module")
def undisturbed() -> dict[str, object]:
    """A run on a network without faults."""
    return summary()


@pytest.mark.parametrize(
    "faults",
    [
        "loss=0.4",
        "duplication=0.9",
        "jitter=0.9",
        "partition=0.9",
        "loss=0.3,duplication=0.3,jitter=0.8,partition=0.5",
        "overlay=ring,loss=0.2",
        "overlay=one-way-ring,jitter=0.9",
    ],
)
def test_faults_inside_delta_change_nothing(faults: str, undisturbed: dict[str, object]) -> None:
    disturbed = summary("--faults", faults)
    for key in ("parameter_hash", "log_head", "removals", "retries"):
        assert disturbed[key] == undisturbed[key]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_exactly_the_cut_peers_are_absent(count: int) -> None:
    found = summary("--faults", f"cut={count}@3")
    assert (found["absent"], found["honest_eliminated"], found["honest_banned"]) == (count, 0, 0)
    assert found["stopped"] is None


def test_more_cut_peers_than_tolerated_stop_the_run_by_name() -> None:
    code, out, _ = call("--faults", "cut=4@3")
    assert code == 1
    assert json.loads(out)["stopped"]


def test_both_channels_tell_the_same_story(undisturbed: dict[str, object]) -> None:
    ideal = summary("--channel", "ideal")
    for key in ("parameter_hash", "log_head", "removals", "retries"):
        assert ideal[key] == undisturbed[key]


@pytest.mark.parametrize(
    "text",
    ["loss=1", "loss=-0.1", "loss=nan", "loss", "cut=two@3", "cut=1@x", "overlay=star", "rain=0.5", "=", "loss=0.1,,"],
)
def test_wrong_faults_are_refused_in_one_sentence(text: str, tmp_path: Path) -> None:
    with pytest.raises(FaultError):
        read_faults(text)
    code, _, err = call("--faults", text, "--out", str(tmp_path / "run"))
    assert code == 2
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("options", [["--channel", "tin-can"], ["--channel", "ideal", "--faults", "loss=0.1"]])
def test_wrong_channels_are_refused(options: list[str]) -> None:
    assert call(*options)[0] == 2


def test_no_faults_are_none() -> None:
    assert read_faults("") == Faults()
    assert read_faults("").none
    assert not read_faults("cut=1@2").none
