"""Gradients of torch models are functions of (parameters, seed): the same bits, whatever came between."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from btard.protocol.encoding import sample_indices
from btard.training.task import (
    DeviceUnavailable,
    NoLabels,
    OptionRefused,
    StatefulModel,
    TaskError,
    is_task,
)

torch = pytest.importorskip("torch")

from btard.training import torch_task  # noqa: E402
from btard.training.devices import reproducible, resolve_device  # noqa: E402
from btard.training.digits import digits  # noqa: E402
from btard.training.torch_task import TorchTask, cross_entropy, he_uniform  # noqa: E402

SEED = bytes(32)
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
devices = pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=needs_gpu)])


def small_net() -> torch.nn.Module:
    """3 inputs, 4 classes."""
    return torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 4))


def small_task(**changes: object) -> TorchTask:
    """A classification task on drawn points."""
    generator = torch.Generator().manual_seed(3)
    inputs = torch.rand(50, 3, generator=generator)
    targets = (inputs.sum(1) * 1.3).long().clamp(0, 3)
    arguments = {
        "name": "small",
        "model": small_net,
        "loss": torch.nn.functional.cross_entropy,
        "train": (inputs[:40], targets[:40]),
        "test": (inputs[40:], targets[40:]),
        "batch_size": 5,
        "classes": 4,
    }
    return TorchTask(**{**arguments, **changes})  # type: ignore[arg-type]


def independent_gradient(task: TorchTask, relabel: Callable[[torch.Tensor], torch.Tensor]) -> np.ndarray:
    """The same gradient by a module of its own and ``torch.autograd.grad``."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = small_net()
    chosen = torch.from_numpy(sample_indices(SEED, 5, 40))
    inputs, targets = (side[chosen] for side in task._train)
    loss = torch.nn.functional.cross_entropy(module(inputs), relabel(targets))
    gradients = torch.autograd.grad(loss, [parameter for _, parameter in module.named_parameters()])
    return torch.cat([gradient.reshape(-1) for gradient in gradients]).numpy()


def test_the_flat_gradient_is_autograds_in_the_order_of_named_parameters() -> None:
    task = small_task()
    start = task.initial_parameters()
    assert start.shape == (task.dimension,) == (3 * 8 + 8 + 8 * 4 + 4,)
    assert start.dtype == np.float32
    ours = task.gradient(start, SEED)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, independent_gradient(task, lambda y: y), rtol=1e-5, atol=1e-8)


def test_a_poisoned_gradient_is_that_of_flipped_labels() -> None:
    task = small_task()
    ours = task.poisoned_gradient(task.initial_parameters(), SEED)
    np.testing.assert_allclose(ours, independent_gradient(task, lambda y: 3 - y), rtol=1e-5, atol=1e-8)
    assert not np.array_equal(ours, task.gradient(task.initial_parameters(), SEED))


def test_the_task_satisfies_the_protocol() -> None:
    assert is_task(small_task())
    assert not is_task(small_net())
    assert not is_task(small_task)


def test_without_classes_there_are_no_labels_to_flip() -> None:
    targets = torch.rand(10, 4)
    examples = (torch.rand(10, 3), targets)
    task = small_task(loss=torch.nn.functional.mse_loss, train=examples, test=examples, classes=None)
    with pytest.raises(NoLabels, match="'small' has no class labels"):
        task.poisoned_gradient(task.initial_parameters(), SEED)
    quality = task.evaluate(task.initial_parameters())
    assert quality.accuracy is None
    assert quality.loss > 0


@devices
def test_a_gradient_repeats_bit_by_bit_whatever_came_between(device: str) -> None:
    task, other = digits(device), digits(device)
    start = task.initial_parameters()
    seeds = [bytes([index]) * 32 for index in range(3)]
    first = [task.gradient(start, seed).tobytes() for seed in seeds]
    task.evaluate(start)
    task.poisoned_gradient(start + 1, seeds[0])
    again = [task.gradient(start, seed).tobytes() for seed in reversed(seeds)]
    elsewhere = [other.gradient(start, seed).tobytes() for seed in seeds]
    assert first == again[::-1] == elsewhere
    assert len(set(first)) == 3


def test_another_process_with_other_thread_settings_gets_the_same_bits() -> None:
    task = digits()
    ours = hashlib.sha256(task.gradient(task.initial_parameters(), SEED).tobytes()).hexdigest()
    program = (
        "import hashlib, torch; torch.set_num_threads(3); torch.set_float32_matmul_precision('medium');"
        "from btard.training.digits import digits; task = digits();"
        "print(hashlib.sha256(task.gradient(task.initial_parameters(), bytes(32)).tobytes()).hexdigest())"
    )
    environment = os.environ | {"OMP_NUM_THREADS": "2", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", program]
    output = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert output.strip() == ours


def test_settings_are_pinned_inside_and_restored_outside() -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(KeyError), reproducible():
            assert torch.get_num_threads() == 1
            assert torch.are_deterministic_algorithms_enabled()
            assert torch.backends.mkldnn.matmul.fp32_precision == "ieee"
            raise KeyError
        assert torch.get_num_threads() == 2
        assert not torch.are_deterministic_algorithms_enabled()
    finally:
        torch.set_num_threads(threads)


def test_building_a_task_leaves_torchs_generator_alone_and_does_not_depend_on_it() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = small_task()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    second = small_task()
    assert first.initial_parameters().tobytes() == second.initial_parameters().tobytes()
    assert first.initial_parameters().tobytes() != small_task(model_seed=1).initial_parameters().tobytes()


def test_parameters_are_loaded_by_value() -> None:
    task = small_task()
    start = task.initial_parameters()
    start.flags.writeable = False
    gradient = task.gradient(start, SEED)
    gradient += 1
    start = task.initial_parameters()
    start += 1
    assert np.array_equal(task.initial_parameters() + 1, start)
    assert not np.array_equal(task.gradient(task.initial_parameters(), SEED), gradient)


@pytest.mark.parametrize("shape", [(1,), (67,), (69,), (68, 1)])
def test_a_vector_of_the_wrong_shape_is_refused(shape: tuple[int, ...]) -> None:
    task = small_task()
    for use in (task.evaluate, lambda parameters: task.gradient(parameters, SEED)):
        with pytest.raises(TaskError, match="has 68 parameters"):
            use(np.zeros(shape, np.float32))


def test_evaluation_is_the_mean_over_all_test_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    task = small_task()
    whole = task.evaluate(task.initial_parameters())
    monkeypatch.setattr(torch_task, "EVALUATION_BATCH", 3)
    pieces = task.evaluate(task.initial_parameters())
    assert pieces.loss == pytest.approx(whole.loss, rel=1e-6)
    assert pieces.accuracy == whole.accuracy
    assert whole.accuracy in {count / 10 for count in range(11)}


def test_a_diverged_model_reports_nan_and_the_accuracy_of_its_argmax() -> None:
    task = small_task()
    quality = task.evaluate(np.full(task.dimension, np.nan, np.float32))
    assert quality.diverged
    assert quality.accuracy is not None
    assert not task.evaluate(task.initial_parameters()).diverged


def test_the_description_covers_data_batch_model_and_arguments() -> None:
    base = small_task()
    inputs, targets = base._train
    altered = inputs.clone()
    altered[7, 1] += 1
    variants = [
        base,
        small_task(train=(altered, targets)),
        small_task(train=(inputs, 3 - targets)),
        small_task(test=(inputs, targets)),
        small_task(batch_size=6),
        small_task(model_seed=1),
        small_task(loss_name="nats"),
    ]
    assert len({task.description for task in variants}) == len(variants)
    assert small_task().description == base.description
    assert base.description.split()[0] == base.name


def test_overlapping_windows_are_hashed_through_the_data_below_them() -> None:
    data = torch.arange(100, dtype=torch.uint8)
    assert torch.equal(torch_task.memory(data.unfold(0, 10, 1)), data)
    assert torch.equal(torch_task.memory(data[::2]), data[::2])
    first, second = data[:-1].unfold(0, 10, 1), data[1:].unfold(0, 10, 1)
    assert torch_task.digest({}, (first, second)) != torch_task.digest({}, (second, first))


@pytest.mark.parametrize(
    ("layer", "sentence"),
    [
        (lambda: torch.nn.BatchNorm1d(3), "running statistics"),
        (lambda: torch.nn.Linear(3, 4).double(), "must be float32"),
        (lambda: torch.nn.Linear(3, 4).requires_grad_(False), "no parameter that requires a gradient"),
    ],
)
def test_models_that_no_auditor_can_recompute_are_refused(layer: Callable[[], torch.nn.Module], sentence: str) -> None:
    with pytest.raises(StatefulModel, match=sentence):
        small_task(model=lambda: torch.nn.Sequential(layer()))


def test_dropout_is_off() -> None:
    plain, dropping = small_task(), small_task(model=lambda: torch.nn.Sequential(small_net(), torch.nn.Dropout(0.5)))
    start = plain.initial_parameters()
    assert plain.gradient(start, SEED).tobytes() == dropping.gradient(start, SEED).tobytes()


def test_frozen_layers_are_no_parameters_but_enter_the_description() -> None:
    def half_frozen(value: float) -> torch.nn.Module:
        net = small_net()
        torch.nn.init.constant_(net[0].weight, value)
        net[0].requires_grad_(False)
        return net

    one, two = small_task(model=lambda: half_frozen(0.1)), small_task(model=lambda: half_frozen(0.2))
    assert one.dimension == 8 * 4 + 4
    assert one.gradient(one.initial_parameters(), SEED).shape == (36,)
    assert one.description != two.description


@pytest.mark.parametrize(
    "changes",
    [
        {"batch_size": 0},
        {"test": (torch.zeros(0, 3), torch.zeros(0).long())},
        {"train": (torch.zeros(4, 3), torch.zeros(3).long())},
    ],
)
def test_impossible_arguments_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(OptionRefused, match="at least"):
        small_task(**changes)


def test_defaults_are_measured_where_none_are_given() -> None:
    task = small_task()
    seeds = [index.to_bytes(32, "big") for index in range(16)]
    norms = [np.linalg.norm(task.gradient(task.initial_parameters(), seed)) for seed in seeds]
    defaults = task.defaults
    assert defaults.gradient_clip == pytest.approx(10 * max(norms), rel=0.06)
    assert defaults.radius_max == pytest.approx(np.median(norms), rel=0.2)
    assert 0 < defaults.radius_min < defaults.radius_initial < defaults.radius_max
    assert defaults.gradient_clip <= 3124 * defaults.radius_min
    with pytest.raises(OptionRefused, match="zero or not finite"):
        _ = small_task(loss=lambda scores, targets: (scores * 0).sum()).defaults


def test_he_initialisation_has_the_variance_it_states_and_fixed_bits() -> None:
    net = he_uniform(torch.nn.Sequential(torch.nn.Linear(600, 300), torch.nn.LayerNorm(300)), "test")
    weight = net[0].weight.detach().numpy()
    assert weight.var() == pytest.approx(2 / 600, rel=0.02)
    assert weight.mean() == pytest.approx(0, abs=1e-3)
    assert bool((net[1].weight == 1).all() and (net[1].bias == 0).all() and (net[0].bias == 0).all())
    found = hashlib.sha256(weight.astype("<f4").tobytes()).hexdigest()
    assert found[:16] == "860be51fcf17d4e0"


def test_cross_entropy_takes_classes_on_the_last_axis() -> None:
    scores, targets = torch.randn(2, 3, 5), torch.randint(0, 5, (2, 3), dtype=torch.uint8)
    expected = torch.nn.functional.cross_entropy(scores.movedim(-1, 1), targets.long())
    assert float(cross_entropy(scores, targets)) == pytest.approx(float(expected), rel=1e-6)


@pytest.mark.parametrize("name", ["gpu", "", "cpu:0", "cuda:x", "cuda:", "mps"])
def test_an_unknown_device_is_refused(name: str) -> None:
    with pytest.raises(DeviceUnavailable, match="choose cpu, cuda or auto"):
        resolve_device(name)


def test_a_missing_gpu_is_refused_with_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for name in ("cuda", "cuda:1"):
        with pytest.raises(DeviceUnavailable, match="needs a GPU"):
            resolve_device(name)
    assert resolve_device("auto").type == resolve_device("cpu").type == "cpu"


def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    with pytest.raises(DeviceUnavailable, match="'cuda:1' is not there"):
        resolve_device("cuda:1")
    assert resolve_device("auto").type == "cuda"


@needs_gpu
def test_a_gpu_agrees_with_the_cpu_up_to_rounding() -> None:
    here, there = digits("cpu"), digits("cuda")
    start = here.initial_parameters()
    assert there.description == here.description
    np.testing.assert_allclose(there.gradient(start, SEED), here.gradient(start, SEED), rtol=1e-3, atol=1e-5)


def test_the_readme_snippet_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    from btard.protocol.update import apply
    from btard.training.registry import find_task

    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    task = find_task("readme_task_snippet:quadrants")
    assert task.description.startswith("readme_task_snippet:quadrants ")
    optimizer = task.defaults.optimizer.over(150)
    parameters, state = task.initial_parameters(), optimizer.initial_state(task.dimension)
    for step in range(150):
        seeds = [bytes([step, worker]) for worker in range(4)]
        mean = np.mean([task.gradient(parameters, seed) for seed in seeds], axis=0)
        parameters, state = apply(optimizer, parameters, mean, state)
    accuracy = task.evaluate(parameters).accuracy
    assert accuracy is not None
    assert accuracy > 0.85
