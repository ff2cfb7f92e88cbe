"""Inputs and answers that are made, not computed: numbers from a stream, and outputs that are right by construction."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from btard.conformance.vectors.cases import Chapter, File, VectorError
from btard.protocol.arithmetic import Float32
from btard.protocol.encoding import expand


def drawn(name: str, *shape: int) -> Float32:
    """Numbers that look random, multiples of 2⁻²³ in [−1, 1): float32 of this shape, the same on every machine."""
    count = int(np.prod(shape))
    words = np.frombuffer(expand("btard/vectors", name.encode(), length=4 * count), dtype="<i4")
    return np.asarray((words >> 8).astype(np.float32) / np.float32(2**23)).reshape(shape)


def built(made: Chapter, output: Any, mistaken: Any = None, **case: Any) -> None:
    """A vector with an ``output`` that is right by construction, where many are and how one is found is free: what the
    reference finds has other last bits on another machine. ``case``: the arguments of :meth:`Chapter.add`.

    Raises :class:`VectorError` if the vector does not take the output and the reference's own answer, or takes
    ``mistaken``.
    """
    named: dict[str, Any] = {key: case.pop(key) for key in ("id", "name", "requirements")}
    flag: str = case.pop("flag", "")
    fields: dict[str, Any | File] = case
    found = made.add(**named, fields=fields, flag=flag)
    vector = replace(found, output=output)
    if not (vector.passes(output) and vector.passes(found.output)) or (flag and vector.passes(mistaken)):
        raise VectorError(f"'{vector.id}' does not tell right from wrong")
    made.vectors[-1] = vector
