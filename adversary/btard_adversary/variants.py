"""Variants of the protocol: the reference with one function replaced.

A variant names a function of ``btard`` and what takes its place; inside :func:`replaced` every module that uses the
function uses the replacement. So a wrong protocol is a few lines, and never a copy of a module.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import Any

from btard.protocol.model import ProtocolError

from btard_adversary.strategies import MIXED


class VariantError(ProtocolError):
    """A variant that names nothing, or replaces it by nothing that can be called; the message is one sentence."""


@dataclass(frozen=True)
class Variant:
    """One function of the protocol, replaced."""

    name: str
    target: str
    """``module:function`` or ``module:Class.method``, below ``btard`` where the module's name begins with a dot."""
    make: Callable[[Any], Any]
    """Gets the original and returns what takes its place."""
    bends: str = ""
    """The requirement that it breaks."""
    summary: str = ""
    profiles: tuple[str, ...] = MIXED
    """The profiles in which it is searched, each as often as it stands here."""

    def __call__(self) -> Any:
        """A context manager in which the variant is the protocol."""
        return replaced(self.target, self.make)


@contextmanager
def replaced(target: str, make: Callable[[Any], Any]) -> Iterator[None]:
    """Replace a function, a method or a constant wherever ``btard`` uses it. Raises :class:`VariantError`."""
    holders = places(target)
    original = vars(holders[0][0])[holders[0][1]]
    substitute = substitute_of(original, make, target)
    clear_caches()
    try:
        for holder, name in holders:
            setattr(holder, name, substitute)
        yield
    finally:
        for holder, name in holders:
            setattr(holder, name, original)
        clear_caches()


def clear_caches() -> None:
    """Forget what functions of ``btard`` remember: under another protocol it may be wrong."""
    for module in btard_modules():
        for value in list(vars(module).values()):
            if callable(value) and hasattr(value, "cache_clear"):
                value.cache_clear()


def btard_modules() -> list[Any]:
    """The loaded modules of ``btard``."""
    return [m for key, m in list(sys.modules.items()) if key.partition(".")[0] == "btard" and m is not None]


def places(target: str) -> list[tuple[Any, str]]:
    """Where the thing that ``target`` names is looked up: its class, or every module of ``btard`` that holds it."""
    module, _, path = target.partition(":")
    module = f"btard.protocol{module}" if module.startswith(".") else module
    try:
        holder: Any = import_module(module)
        *classes, name = path.split(".")
        for part in classes:
            holder = getattr(holder, part)
        original = vars(holder)[name]
    except (ImportError, AttributeError, KeyError, ValueError) as error:
        raise VariantError(f"a variant cannot replace '{target}': there is no such function") from error
    if classes:
        return [(holder, name)]
    same = [(m, alias) for m in btard_modules() for alias, value in list(vars(m).items()) if value is original]
    return [(holder, name), *(place for place in same if place != (holder, name))]


def substitute_of(original: Any, make: Callable[[Any], Any], target: str) -> Any:
    """What takes the original's place; static and class methods and properties stay what they are."""
    if isinstance(original, cached_property):
        wrapped = cached_property(make(original.func))
        wrapped.__set_name__(None, str(original.attrname))  # type: ignore[arg-type]
        return wrapped
    inner = getattr(original, "__func__", original)
    try:
        substitute = make(inner)
    except Exception as error:
        raise VariantError(f"the variant of '{target}' cannot be made: {type(error).__name__}: {error}") from error
    if callable(inner) and not callable(substitute):
        raise VariantError(f"the variant of '{target}' makes a {type(substitute).__name__}, which cannot be called")
    return type(original)(substitute) if isinstance(original, (staticmethod, classmethod)) else substitute
