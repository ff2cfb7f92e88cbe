"""Tasks are found by name, and every wrong name or option gets one clear sentence."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from btard.training import registry
from btard.training.analytic import Quadratic
from btard.training.registry import find_by_name, find_task
from btard.training.task import OptionRefused, TaskError, UnknownName

INSTALLED = {
    "quadratic": "btard.training.analytic:quadratic",
    "needs-torch": "torch_is_not_here:task",
    "gone": "btard.training.analytic:gone",
}


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exactly the entry points of INSTALLED."""
    points = [EntryPoint(name, place, registry.TASKS) for name, place in INSTALLED.items()]
    monkeypatch.setattr(registry, "entry_points", lambda group: points if group == registry.TASKS else [])


def test_an_installed_task_is_found_with_its_options() -> None:
    task = find_task("quadratic", dimension=12, noise=0.5)
    assert isinstance(task, Quadratic)
    assert (task.dimension, task.noise) == (12, 0.5)


def test_options_may_follow_the_name() -> None:
    task = find_task("quadratic,dimension=12,tail=1.5", noise=0.5)
    assert isinstance(task, Quadratic)
    assert (task.dimension, task.tail, task.noise) == (12, 1.5, 0.5)
    assert find_task("quadratic,noise=3").description == Quadratic(noise=3.0).description
    assert find_task("btard.training.analytic:quadratic,dimension=7").dimension == 7


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("quadratic,depth=3", "does not take 'depth=3': its options, each once, are dimension, mu, noise"),
        ("quadratic,noise", "does not take 'noise'"),
        ("quadratic,", "does not take ''"),
        ("quadratic,noise=1,noise=2", "does not take 'noise=2': its options, each once"),
        ("quadratic,device=cpu", "does not take 'device=cpu'"),
        ("quadratic,noise=loud", "takes a number for 'noise', not 'loud'"),
        ("quadratic,dimension=1.5", "takes a number for 'dimension', not '1.5'"),
        ("quadratic,noise=nan", "needs dimension >= 1"),
    ],
)
def test_wrong_options_after_the_name_are_refused(name: str, sentence: str) -> None:
    with pytest.raises(OptionRefused, match=sentence):
        find_task(name)


def test_a_task_is_found_as_module_and_name() -> None:
    assert find_task("btard.training.analytic:quadratic", device="cpu", path=None).dimension == 1000


def test_a_module_in_the_working_directory_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "task_of_mine.py").write_text("from btard.training.analytic import quadratic as own\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [entry for entry in registry.sys.path if entry != ""])
    assert find_task("task_of_mine:own").dimension == 1000


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UnknownName) as refusal:
        find_task("digitz")
    message = str(refusal.value)
    assert message == "there is no task 'digitz': known are gone, needs-torch, quadratic, and any 'module:name'"


def test_other_groups_are_searched_alike() -> None:
    assert find_by_name("btard.attacks", "attack", "btard.training.analytic:Quadratic") is Quadratic
    with pytest.raises(UnknownName, match="there is no attack 'flip': known are none"):
        find_by_name("btard.attacks", "attack", "flip")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("needs-torch", "task 'needs-torch' needs the module 'torch_is_not_here', which is missing"),
        ("gone", "task 'gone' is not where it should be: .*'gone'"),
        ("no_such_module:task", "needs the module 'no_such_module'"),
        ("btard.training.analytic:nothing", "is not where it should be"),
        ("btard.training.analytic:NOISE_TAG", "is a str, not a task factory"),
        ("btard.training.analytic:", "is not of the form 'module:name'"),
        (":quadratic", "is not of the form 'module:name'"),
        ("../analytic:quadratic", "is not of the form 'module:name'"),
        ("a:b:c", "is not of the form 'module:name'"),
    ],
)
def test_a_useless_name_is_refused(name: str, sentence: str) -> None:
    with pytest.raises(UnknownName, match=sentence):
        find_task(name)


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.EXTRAS, "torch_is_not_here", "train")
    with pytest.raises(UnknownName, match=r"'pip install btard\[train\]' brings it"):
        find_task("needs-torch")


def test_options_that_the_task_does_not_have_are_refused() -> None:
    with pytest.raises(OptionRefused, match=r"'quadratic' does not take these options: .*'layers'"):
        find_task("quadratic", layers=3)


def test_a_factory_of_something_else_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("btard.training.analytic.quadratic", lambda device, path: 3)
    with pytest.raises(UnknownName, match="gives a int, which is not a task"):
        find_task("quadratic")


def test_what_the_task_itself_refuses_passes_through() -> None:
    with pytest.raises(TaskError, match="needs dimension"):
        find_task("quadratic", dimension=0)
