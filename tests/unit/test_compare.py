"""``btard compare``: every rule under every attack; a table, a picture, and a directory that can be gone on with."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from btard.protocol.arithmetic import Float32, Float64
from btard.protocol.model import PROFILES, PeerId
from btard.protocol.state import State
from btard.training.registry import find_task
from btard.training.server import Messages, ServerRule
from btard.training.trainer import ServerRun, Settings, assemble
from btard_adversary import comparison
from btard_adversary.claims import Sizes, claims, radius
from btard_adversary.comparison import Cell, CellStore, Comparison, ComparisonError, Place, attackers, play, played
from btard_adversary.servers import ServerKind, Signum, find_server, most_byzantine, server_names
from btard_adversary.tables import Table
from test_cli import Done, btard

SMALL = (
    "--task", "quadratic,dimension=20", "--peers", "8", "--byzantine", "2", "--steps", "6", "--seeds", "2",
    "--jobs", "1",
)  # fmt: skip
FEW = ("--rules", "mean,krum,btard", "--attacks", "none,sign-flip")
FILES = {"cells.jsonl", "compare.json", "table.txt", "table.csv", "table.json", "heatmap.png", "lock"}


def compared(out: Path, *arguments: str) -> Done:
    """A small comparison into ``out``."""
    return btard("compare", *SMALL, "--out", str(out), *(arguments or FEW))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished small comparison."""
    out = tmp_path_factory.mktemp("compare")
    done = compared(out)
    assert done.returncode == 0, done.stderr
    return out


# -- Results ------------------------------------------------------------------------------------


def test_every_file_is_there_and_says_the_same(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == FILES
    data = json.loads((folder / "table.json").read_text())
    assert {(row["rule"], row["attack"]) for row in data["table"]} == {
        (rule, attack) for rule in ("mean", "krum", "btard") for attack in ("none", "sign-flip")
    }
    assert len(data["cells"]) == 3 * 2 * 2 and data["comparison"]["seeds"] == 2
    with (folder / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["mean"]) for row in rows] == [row["mean"] for row in data["table"]]
    assert all(row["min"] <= row["mean"] <= row["max"] for row in data["table"])
    assert (folder / "heatmap.png").read_bytes().startswith(b"\x89PNG")


def test_the_text_marks_divergence_bans_and_the_number_of_seeds(folder: Path) -> None:
    text = (folder / "table.txt").read_text()
    assert "8 peers, 2 of them attackers, 6 steps, 2 seeds" in text and "f(x) - f(x*)" in text
    heading, none, flipped = text.splitlines()[3:6]
    assert heading.split() == ["attack", "mean", "krum", "btard*"]
    assert none.startswith("none") and "!" not in none and ".." in none
    assert flipped.startswith("sign-flip") and flipped.split()[1].endswith("!")
    assert "! with some seed" in text and "* the protocol, with audits and bans" in text


def test_the_mean_is_ruined_and_the_protocol_is_not(folder: Path) -> None:
    rows = {(row["rule"], row["attack"]): row for row in json.loads((folder / "table.json").read_text())["table"]}
    assert rows["mean", "sign-flip"]["diverged"] == 2
    assert rows["btard", "sign-flip"]["diverged"] == 0 and rows["btard", "sign-flip"]["honest_banned"] == [0, 0]


def test_json_is_all_that_is_printed(tmp_path: Path) -> None:
    done = compared(tmp_path, "--rules", "mean", "--attacks", "none", "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["comparison"]["rules"] == ["mean"]


def test_accuracy_is_shown_where_the_task_has_one(tmp_path: Path) -> None:
    arguments = (
        "--task",
        "logistic",
        "--rules",
        "mean",
        "--attacks",
        "none,label-flip",
        "--seeds",
        "1",
        "--steps",
        "8",
    )
    done = compared(tmp_path, *arguments)
    assert "test accuracy (share right)" in done.stdout and ".." not in done.stdout


def test_wide_tables_are_folded() -> None:
    asked = Comparison("digits", tuple(f"rule-number-{i}" for i in range(30)), ("none",), 16, 7, 1, 1)
    table = Table(asked, tuple(Cell(rule, "none", 0, 7, 0.5, 1.0, False) for rule in asked.rules))
    lines = table.text().splitlines()
    assert max(map(len, lines)) <= 118 and sum(line.startswith("attack") for line in lines) > 2


def test_a_loss_that_is_no_number_is_the_greatest() -> None:
    asked = Comparison("quadratic", ("mean",), ("none",), 16, 7, 1, 2)
    cells = (Cell("mean", "none", 0, 7, None, None, True), Cell("mean", "none", 1, 7, None, 2.0, False))
    entry = Table(asked, cells).entries["mean", "none"]
    assert entry.text == "inf! 2..inf" and entry.row()["mean"] is None


# -- Going on -----------------------------------------------------------------------------------


def test_a_finished_comparison_is_printed_again_without_a_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "play", lambda asked, place: pytest.fail("played again"))
    before = (folder / "table.txt").read_text()
    done = compared(folder)
    assert done.returncode == 0 and before in done.stdout


def test_half_a_line_is_dropped_and_the_rest_kept(folder: Path, tmp_path: Path) -> None:
    for name in ("compare.json", "cells.jsonl"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    path = tmp_path / "cells.jsonl"
    whole = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(whole[:5]) + whole[5][:30])
    done = compared(tmp_path)
    assert done.returncode == 0 and "goes on after 5 of 12 runs" in done.stdout
    lines = path.read_bytes().splitlines(keepends=True)
    assert lines[:5] == whole[:5] and len(lines) == 12

    def measured(lines: list[bytes]) -> list[dict[str, object]]:
        return [json.loads(line) | {"seconds": 0} for line in lines]

    assert measured(lines) == measured(whole)


def test_a_comparison_killed_in_the_middle_goes_on(tmp_path: Path) -> None:
    arguments = [
        "--task",
        "quadratic",
        "--steps",
        "60",
        "--seeds",
        "4",
        "--rules",
        "mean,krum",
        "--attacks",
        "none,mimic",
    ]
    command = [sys.executable, "-m", "btard.cli", "compare", *arguments, "--out", str(tmp_path), "--jobs", "2"]
    default = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a shell's background job ignores it
    for number in (signal.SIGKILL, signal.SIGINT):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=default)
        wait_for_lines(tmp_path / "cells.jsonl", 1 if number == signal.SIGKILL else 3)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert process.returncode in (0, 130)
    if process.returncode == 130:
        assert b"the same command goes on from there" in errors and errors.count(b"\n") == 1
    done = btard("compare", *arguments, "--out", str(tmp_path), "--jobs", "1")
    assert done.returncode == 0 and "goes on after" in done.stdout
    assert len((tmp_path / "cells.jsonl").read_text().splitlines()) == 16


def wait_for_lines(path: Path, count: int) -> None:
    """Until ``path`` has so many lines."""
    limit = time.monotonic() + 60
    while time.monotonic() < limit and (not path.exists() or path.read_bytes().count(b"\n") < count):
        time.sleep(0.02)


def test_an_interruption_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def interrupted(asked: Comparison, place: Place) -> Cell:
        calls.append(place)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return play(asked, place)

    monkeypatch.setattr(comparison, "play", interrupted)
    done = compared(tmp_path)
    assert done.returncode == 130
    assert done.stderr == "btard: interrupted after 2 of 12 runs: the same command goes on from there\n"
    monkeypatch.undo()
    assert "goes on after 2 of 12 runs" in compared(tmp_path).stdout


def test_another_comparison_is_refused_unless_it_is_to_be_replaced(folder: Path, tmp_path: Path) -> None:
    for name in ("compare.json", "cells.jsonl"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    done = compared(tmp_path, "--rules", "mean", "--attacks", "none,sign-flip", "--steps", "5")
    assert done.returncode == 2 and "other --rules, --steps" in done.stderr and done.stderr.count("\n") == 1
    replaced = compared(tmp_path, "--rules", "mean", "--attacks", "none", "--overwrite")
    assert replaced.returncode == 0
    assert len((tmp_path / "cells.jsonl").read_text().splitlines()) == 2


def test_what_is_no_cell_is_refused(tmp_path: Path) -> None:
    asked = Comparison("quadratic", ("mean",), ("none",), 4, 0, 1, 1)
    (tmp_path / "cells.jsonl").write_text("{}\n")
    with pytest.raises(ComparisonError, match=r"without compare\.json"), CellStore(tmp_path).opened(asked, False):
        pass
    (tmp_path / "cells.jsonl").unlink()
    with CellStore(tmp_path).opened(asked, False) as cells:
        assert cells == []
    (tmp_path / "cells.jsonl").write_text("{}\n")
    with pytest.raises(ComparisonError, match="line 1 of"), CellStore(tmp_path).opened(asked, False):
        pass


def test_two_processes_play_what_one_does() -> None:
    asked = Comparison("quadratic,dimension=20", ("mean", "signum"), ("none",), 6, 1, 4, 1)
    threads = os.environ.get("OMP_NUM_THREADS")
    one, two = (sorted(played(asked, asked.places(), jobs), key=lambda cell: cell.place) for jobs in (1, 2))
    assert [(cell.place, cell.loss) for cell in one] == [(cell.place, cell.loss) for cell in two]
    assert os.environ.get("OMP_NUM_THREADS") == threads


# -- Wrong calls --------------------------------------------------------------------------------

REFUSED = [
    (("--rules", "krumm"), "there is no rule 'krumm': known are"),
    (("--rules", "os:path"), "'os:path' is a module, neither a rule nor a server"),
    (("--attacks", "sign-flop"), "did you mean sign-flip?"),
    (("--seeds", "0"), "--seeds must be at least 1, not 0"),
    (("--steps", "0"), "--steps must be at least 1, not 0"),
    (("--peers", "7", "--byzantine", "7"), "with 7 attackers of 7 peers nobody is honest"),
    (("--peers", "7", "--byzantine", "9"), "with 9 attackers of 7 peers nobody is honest"),
    (("--byzantine", "-1"), "--byzantine must not be negative"),
    (("--byzantine", "0", "--attacks", "sign-flip"), "an attack needs attackers"),
    (("--attack-start", "6"), "--attack-start 6 is no step of a run of 6 steps"),
    (("--jobs", "-1"), "--jobs must not be negative"),
    (("--rules", ","), "--rules and --attacks must name at least one each"),
    (("--attacks", "label-flip"), "no class labels to flip"),
    (("--task", "nope"), "there is no task 'nope'"),
]


@pytest.mark.parametrize(("arguments", "sentence"), REFUSED)
def test_a_wrong_call_gets_one_sentence(tmp_path: Path, arguments: tuple[str, ...], sentence: str) -> None:
    done = compared(tmp_path / "new", *arguments)
    assert done.returncode == 2, done.stdout
    assert sentence in done.stderr and done.stderr.count("\n") == 1 and not done.stdout
    assert not (tmp_path / "new").exists()


def test_the_usual_attacks_leave_out_what_the_task_has_no_labels_for(tmp_path: Path) -> None:
    done = compared(tmp_path, "--rules", "mean", "--steps", "2", "--seeds", "1")
    assert done.returncode == 0 and "label-flip" not in done.stdout and "krum-decoy" in done.stdout


# -- Rules and servers --------------------------------------------------------------------------


def needing(sizes: Sizes) -> ServerKind:
    """A server for these sizes."""
    return ServerKind(lambda peers, n_byzantine: ServerRule(), sizes)


def test_a_rule_meets_as_many_attackers_as_it_is_meant_for(tmp_path: Path) -> None:
    assert most_byzantine(needing(lambda n, b: n >= 4 * b + 3), 16, 7) == 3
    assert most_byzantine(find_server("krum"), 16, 7) == 6
    assert most_byzantine(find_server("mean"), 16, 7) == 7
    assert most_byzantine(find_server("mean"), 16, 0) == 0
    done = compared(tmp_path, "--rules", "krum,mean", "--attacks", "none", "--byzantine", "3")
    assert (
        "krum[1]" in done.stdout and "[1] krum: 2 attackers only, the most that it is meant for among 8" in done.stdout
    )


def test_a_profile_meets_as_many_attackers_as_it_bears() -> None:
    asked = Comparison("quadratic,dimension=20", ("btard",), ("none",), 8, 5, 2, 1)
    assert attackers(asked, "btard") == 3


def test_every_rule_and_profile_is_compared_unless_some_are_chosen() -> None:
    assert {"mean", "krum", "signum", *PROFILES} <= {*comparison.usual_rules()}
    assert "signum" in server_names() and find_server("signum").signed


@claims(radius("1", "", lambda n, b: n > 5 * b))
def own_rule(vectors: Float64, n_byzantine: int) -> Float64:
    """A rule of somebody's own, for few attackers."""
    assert np.isfinite(vectors).all()
    return np.asarray(np.median(vectors, axis=0))


class FirstTwo(ServerRule):
    """A server whose workers compute two gradients and send both; it believes the first worker."""

    def __init__(self, peers: int, n_byzantine: int) -> None:
        self.peers = peers

    def seeds(self, state: State, worker: PeerId) -> tuple[bytes, ...]:
        """Two batches that all workers share."""
        return bytes(32), bytes([1]) * 32

    def aggregate(self, state: State, messages: Messages) -> Float32:
        """The mean of what the first worker sends."""
        assert {message.shape for message in messages.values()} == {(2, 20)}
        return np.asarray(next(iter(messages.values())).mean(axis=0))


def test_rules_and_servers_of_ones_own_need_no_name(tmp_path: Path) -> None:
    done = compared(tmp_path, "--rules", f"{__name__}:own_rule,{__name__}:FirstTwo", "--attacks", "none,sign-flip")
    assert done.returncode == 0, done.stderr
    assert f"{__name__}:own_rule[1]" in done.stdout


def test_the_plain_server_is_the_plain_mean() -> None:
    task = find_task("quadratic,dimension=20")
    losses = []
    for rule in (ServerRule(), find_server("mean").make(6, 1)):
        run = ServerRun(assemble(Settings(peers=6, byzantine=1, steps=5, channel="ideal"), task), rule)
        list(run.play())
        assert run.quality is not None
        losses.append(run.quality.loss)
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_signum_sends_momentum_and_the_majority_of_signs_counts() -> None:
    signum = Signum(3, 1)
    workers = [bytes([index]) * 32 for index in range(3)]
    state: State = None  # type: ignore[assignment]  # no state is looked at
    first = [signum.message(state, worker, np.full((1, 2), 1.0, np.float32)) for worker in workers]
    again = signum.message(state, workers[0], np.full((1, 2), -1.0, np.float32))
    assert first[0].tolist() == [[pytest.approx(0.1)] * 2] and again[0, 0] == pytest.approx(-0.01)
    sent = {
        worker: np.array([[sign, 1.0 - index]], np.float32)
        for index, (worker, sign) in enumerate(zip(workers, (-5, 2, 9), strict=True))
    }
    assert signum.aggregate(state, sent).tolist() == [1.0, 0.0]


def test_vectors_that_are_no_numbers_count_as_zero() -> None:
    server = find_server(f"{__name__}:own_rule").make(3, 0)
    sent = {bytes([i]) * 32: np.array([[value, 1.0]], np.float32) for i, value in enumerate((np.nan, np.inf, 4.0))}
    assert server.aggregate(None, sent).tolist() == [0.0, 1.0]  # type: ignore[arg-type]  # no state is looked at
