"""Used by cog in the chapters: print the source of the reference's own definitions."""

from __future__ import annotations

import importlib
import inspect
from operator import attrgetter
from textwrap import dedent

import cog


def show(module: str, *names: str) -> None:
    """Print the source of ``btard.protocol.<module>``'s ``names`` as one fenced block; a module with a dot in its
    name is that of another package of ``btard``, a name with a dot a method."""
    source = importlib.import_module(f"btard.{module}" if "." in module else f"btard.protocol.{module}")
    blocks = (dedent(inspect.getsource(attrgetter(name)(source))).rstrip() for name in names)
    text = "\n\n\n".join(blocks).replace("]]]", "]] ]")  # cog takes three brackets for its own marker
    cog.outl("```python\n" + text + "\n```")
