"""Where gradients are computed, and how to get the same bits every time."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch

from btard.training.task import DeviceUnavailable

DEVICE = re.compile(r"cpu|cuda(?::([0-9]{1,3}))?", re.ASCII)

_ONE_AT_A_TIME = threading.RLock()
"""Thread count and determinism flags belong to the process, so one gradient runs at a time."""


def resolve_device(name: str) -> torch.device:
    """The torch device for ``cpu``, ``cuda``, ``cuda:<index>`` or ``auto`` (a GPU if there is one).

    Raises :class:`DeviceUnavailable` with one sentence for the user.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    form = DEVICE.fullmatch(name)
    if form is None:
        raise DeviceUnavailable(f"there is no device '{name}': choose cpu, cuda or auto")
    if name != "cpu":
        if not torch.cuda.is_available():
            raise DeviceUnavailable("device 'cuda' needs a GPU and a torch built for it: use cpu or auto")
        if int(form[1] or 0) >= torch.cuda.device_count():
            raise DeviceUnavailable(f"device '{name}' is not there: {torch.cuda.device_count()} GPUs are")
        # cuBLAS reads this when it starts; without it torch refuses its matrix products as nondeterministic.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    return torch.device(name)


class DeterminismClass(NamedTuple):
    """What decides the bits of a gradient, beside the versions of the libraries."""

    device: str = "cpu"
    threads: int = 1
    """Of the CPU; sums over two threads round differently."""
    double: bool = False
    """Whether to compute in float64 and round the result to float32."""


CLASS = re.compile(r"(cpu|float64)(?:-([1-9][0-9]?))?|(cuda(?::[0-9]{1,3})?)", re.ASCII)


def determinism_class(name: str) -> DeterminismClass:
    """The class called ``cpu``, ``cpu-2`` (two threads), ``float64`` (on the CPU), ``cuda`` or ``cuda:1``.

    Raises :class:`DeviceUnavailable` with one sentence for the user.
    """
    form = CLASS.fullmatch(name)
    if form is None:
        raise DeviceUnavailable(f"there is no determinism class '{name}': choose cpu, cpu-2, float64 or cuda")
    if form[3]:
        resolve_device(name)
        return DeterminismClass(name)
    return DeterminismClass("cpu", int(form[2] or 1), form[1] == "float64")


@contextmanager
def reproducible(threads: int = 1) -> Iterator[None]:
    """Everything that could change the bits of a gradient is pinned inside, and as before outside.

    The number of ``threads`` (sums over two round differently than over one), deterministic kernels, IEEE
    float32 products.
    """
    with _ONE_AT_A_TIME:
        before = _settings()
        try:
            _apply(_Settings(threads, 2, False, True, ("ieee",) * len(_PRECISIONS)))
            yield
        finally:
            _apply(before)


class _Settings(NamedTuple):
    """The process-wide settings of torch that change bits."""

    threads: int
    debug_mode: int
    """0: any kernel; 2: a kernel without a deterministic form raises."""
    cudnn_benchmark: bool
    cudnn_deterministic: bool
    precisions: tuple[str, ...]
    """Of float32 products, per entry of ``_PRECISIONS``."""


_BACKENDS: Any = torch.backends
_PRECISIONS: tuple[Any, ...] = (
    _BACKENDS.cuda.matmul,
    _BACKENDS.cudnn.conv,
    _BACKENDS.cudnn.rnn,
    _BACKENDS.mkldnn.matmul,
    _BACKENDS.mkldnn.conv,
    _BACKENDS.mkldnn.rnn,
)
"""Where torch keeps the permission to round factors to TF32 or bfloat16 first."""


def _settings() -> _Settings:
    """The settings now."""
    cudnn = torch.backends.cudnn
    return _Settings(
        torch.get_num_threads(),
        torch.get_deterministic_debug_mode(),
        cudnn.benchmark,
        cudnn.deterministic,
        tuple(backend.fp32_precision for backend in _PRECISIONS),
    )


def _apply(settings: _Settings) -> None:
    """Set them. (``use_deterministic_algorithms`` would do the same but takes a millisecond.)"""
    torch.set_num_threads(settings.threads)
    torch.set_deterministic_debug_mode(settings.debug_mode)
    torch.backends.cudnn.benchmark = settings.cudnn_benchmark
    torch.backends.cudnn.deterministic = settings.cudnn_deterministic
    for backend, precision in zip(_PRECISIONS, settings.precisions, strict=True):
        backend.fp32_precision = precision
