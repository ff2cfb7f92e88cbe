"""Things found by name: ours, those of installed packages (entry points), or ``module:name``."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from btard.protocol.model import ProtocolError


class UnknownName(ProtocolError):
    """A name that leads to nothing; the message lists the known ones."""


def known(group: str) -> dict[str, EntryPoint]:
    """The installed entries of an entry-point group, by name, in alphabetical order."""
    return {point.name: point for point in sorted(entry_points(group=group), key=lambda point: point.name)}


def find(group: str, kind: str, name: str) -> Any:
    """What ``name`` stands for in ``group``. Raises :class:`UnknownName` with one sentence about ``kind``."""
    installed = known(group)
    if name not in installed and ":" not in name:
        listing = ", ".join(installed) or "none"
        raise UnknownName(f"there is no {kind} '{name}': known are {listing}, and any 'module:name'")
    try:
        found = installed[name].load() if name in installed else load(kind, name)
    except ModuleNotFoundError as problem:
        hint = "; 'pip install btard[train]' brings it" if problem.name in ("torch", "sklearn") else ""
        raise UnknownName(f"{kind} '{name}' needs the module '{problem.name}', which is missing{hint}") from None
    except AttributeError as problem:
        raise UnknownName(f"{kind} '{name}' is not where it should be: {problem}") from None
    if not callable(found):
        raise UnknownName(f"'{name}' is a {type(found).__name__}, which makes no {kind}")
    return found


def load(kind: str, place: str) -> Any:
    """The attribute that ``module:name`` names."""
    module, _, attribute = place.partition(":")
    if not all(part.isidentifier() for part in (*module.split("."), attribute)):
        raise UnknownName(f"{kind} '{place}' is not of the form 'module:name'")
    return getattr(import_module(module), attribute)
