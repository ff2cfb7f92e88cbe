"""Real determinism classes: the digits task in one and two threads, and in double precision."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from btard.cli import main
from btard.protocol.arithmetic import Float32
from btard.training.devices import determinism_class
from btard.training.digits import digits
from btard.training.noise import class_noise, relative_error
from btard.training.task import DeviceUnavailable
from btard.training.torch_task import TorchTask
from btard.training.trainer import RunError, Settings, classes_of, train

CLASSES = ("cpu", "cpu-2", "float64")
SEED = bytes(range(32))


@pytest.fixture(scope="module")
def task() -> TorchTask:
    """The digits."""
    return digits()


def gradients(task: TorchTask) -> list[Float32]:
    """One gradient in every class."""
    return [oracle.gradient(task.initial_parameters(), SEED) for oracle in classes_of(task, CLASSES)]


def test_classes_have_names() -> None:
    assert determinism_class("cpu") == ("cpu", 1, False)
    assert determinism_class("cpu-12") == ("cpu", 12, False)
    assert determinism_class("float64") == ("cpu", 1, True)
    for name in ("", "CPU", "cpu-0", "cpu-100", "cpu-", "float32", "float64-", "gpu", "cpu-2 "):
        with pytest.raises(DeviceUnavailable, match="determinism class"):
            determinism_class(name)


def test_classes_agree_to_some_digits_and_each_with_itself(task: TorchTask) -> None:
    base = task.gradient(task.initial_parameters(), SEED)
    first, again = gradients(task), gradients(task)
    for one, other in zip(first, again, strict=True):
        assert one.dtype == np.float32 and one.tobytes() == other.tobytes()
    one_thread, _, double = first
    assert one_thread.tobytes() == base.tobytes()
    assert 0 < relative_error(one_thread, double) < 1e-5
    assert task.gradient(task.initial_parameters(), SEED).tobytes() == base.tobytes()


def test_the_noise_between_classes_is_measured_along_a_run(task: TorchTask) -> None:
    noise = dict(class_noise(task, ["cpu", "float64", "cpu"], seeds=3, steps=6))
    assert noise["cpu", "cpu"] == 0
    assert 0 < noise["cpu", "float64"] < 1e-5
    parameters = task.initial_parameters()
    single = dict(class_noise(task, ["cpu", "float64"], seeds=1, steps=1))["cpu", "float64"]
    assert single <= noise["cpu", "float64"]
    assert np.array_equal(parameters, task.initial_parameters())


def test_a_swarm_of_three_classes_needs_a_tolerance(task: TorchTask, tmp_path: Path) -> None:
    settings = Settings(peers=8, tolerate=2, steps=5, classes=CLASSES, tolerance=1e-5, channel="ideal")
    summary = train(settings, task, None, lambda event: None)
    assert summary["stopped"] is None and summary["removals"] == []
    assert (summary["tolerance"], summary["classes"]) == (1e-5, list(CLASSES))
    exact = Settings(peers=8, tolerate=2, steps=5, classes=CLASSES, channel="ideal")
    assert train(exact, task, None, lambda event: None)["stopped"]


def test_wrong_classes_get_one_sentence(task: TorchTask, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RunError, match="one determinism class only"):
        classes_of(object.__new__(Nameless), ("cpu",))  # type: ignore[arg-type]
    for arguments in (
        ["train", "--steps", "1", "--classes", "cpu,gpu"],
        ["train", "--steps", "1", "--tolerance", "0.5"],
        ["train", "--steps", "1", "--tolerance", "nan"],
        ["classes", "--classes", "cpu,nothing"],
        ["classes", "--seeds", "0"],
    ):
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        assert stopped.value.code == 2
        assert len(capsys.readouterr().err.strip().splitlines()) == 1


class Nameless:
    """A task without other classes."""

    name = "nameless"


def test_the_command_prints_the_noise(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["classes", "--classes", "cpu,float64", "--seeds", "2", "--steps", "2", "--json"])
    assert not stopped.value.code
    (entry,) = json.loads(capsys.readouterr().out)
    assert entry["classes"] == ["cpu", "float64"] and 0 < entry["relative_error"] < 1e-5
