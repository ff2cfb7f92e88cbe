"""The analytic task of chapter ``conformance`` as JSON: where gradients come from in runs and in vectors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from btard.conformance.vectors.forms import read_real, real
from btard.protocol.model import ProtocolError
from btard.training.analytic import Quadratic

CONSTANTS = ("mu", "smoothness", "noise")


def plain_task(task: Quadratic) -> dict[str, Any]:
    """A task as requests and vectors name it."""
    return {"name": task.name, "dimension": task.dimension, **{name: real(getattr(task, name)) for name in CONSTANTS}}


def read_task(plain: Mapping[str, Any]) -> Quadratic:
    """Inverse of :func:`plain_task`; raises :class:`ProtocolError` for another task."""
    if plain["name"] != Quadratic.name:
        raise ProtocolError(f"there is no task '{plain['name']}' here")
    return Quadratic(plain["dimension"], *(read_real(plain[name]) for name in CONSTANTS))
