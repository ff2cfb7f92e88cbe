"""The JSON forms of what vectors hold (chapter ``vectors``)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from btard.protocol.arithmetic import (
    Float32,
    Float64,
    float32_bytes,
    float32_vector,
    float64_bytes,
    float64_vector,
)
from btard.protocol.encoding import Item
from btard.protocol.messages import Phase, Slot

SAFE_INTEGER = 2**53 - 1
"""The greatest integer that is a JSON number; greater ones are text."""


def number(value: int) -> int | str:
    """An integer: a JSON number, or text with its decimal digits where a double could not hold it."""
    return value if value <= SAFE_INTEGER else str(value)


def real(value: float) -> str:
    """A real number: the 16 hex digits of its little-endian float64."""
    return float64_bytes(value).hex()


def read_real(text: str) -> float:
    """Inverse of :func:`real`."""
    return float(float64_vector(bytes.fromhex(text))[0])


def reals(values: npt.ArrayLike) -> str:
    """A float64 vector: the hex digits of its little-endian entries, one after the other."""
    return float64_bytes(values).hex()


def read_reals(text: str) -> Float64:
    """Inverse of :func:`reals`."""
    return float64_vector(bytes.fromhex(text))


def singles(values: npt.ArrayLike) -> str:
    """A float32 vector: the hex digits of its little-endian entries, one after the other."""
    return float32_bytes(values).hex()


def read_singles(text: str) -> Float32:
    """Inverse of :func:`singles`."""
    return float32_vector(bytes.fromhex(text))


def rows(matrix: npt.NDArray[Any]) -> list[str]:
    """A matrix of float32 or float64: an array with a vector for each row."""
    return [singles(row) if matrix.dtype == np.float32 else reals(row) for row in matrix]


def texts(values: Any) -> list[str]:
    """Byte strings: an array of their hex digits."""
    return [value.hex() for value in values]


def octets(values: list[str]) -> tuple[bytes, ...]:
    """Inverse of :func:`texts`."""
    return tuple(bytes.fromhex(value) for value in values)


def plain_slot(slot: Slot) -> list[int | str]:
    """A slot: step, attempt, code of the phase, part."""
    return [number(slot.step), number(slot.attempt), int(slot.phase), number(slot.part)]


def read_slot(fields: list[int | str]) -> Slot:
    """Inverse of :func:`plain_slot`."""
    step, attempt, phase, part = (int(field) for field in fields)
    return Slot(step, attempt, Phase(phase), part)


def plain_item(item: Item) -> Any:
    """An item of chapter ``encoding``: ``{"uint": n}``, ``{"bytes": hex}``, ``{"text": t}``, ``{"map": [[key, item],
    …]}`` in the order of the encoding; arrays, true, false and null stand for themselves."""
    if item is None or isinstance(item, bool):
        return item
    if isinstance(item, int):
        return {"uint": number(item)}
    if isinstance(item, bytes):
        return {"bytes": item.hex()}
    if isinstance(item, str):
        return {"text": item}
    if isinstance(item, dict):
        keys = sorted(item, key=lambda key: (len(key.encode()), key.encode()))
        return {"map": [[key, plain_item(item[key])] for key in keys]}
    return [plain_item(entry) for entry in item]


def read_item(plain: Any) -> Item:
    """Inverse of :func:`plain_item`."""
    if plain is None or isinstance(plain, bool):
        return plain
    if isinstance(plain, list):
        return [read_item(entry) for entry in plain]
    ((kind, value),) = plain.items()
    if kind == "uint":
        return int(value)
    if kind == "bytes":
        return bytes.fromhex(value)
    if kind == "text":
        return str(value)
    return {key: read_item(entry) for key, entry in value}
