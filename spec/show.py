"""Used by cog in the chapters: print the source of the reference's own definitions."""

from __future__ import annotations

import importlib
import inspect

import cog


def show(module: str, *names: str) -> None:
    """Print the source of ``btard.protocol.<module>``'s ``names`` as one fenced block."""
    source = importlib.import_module(f"btard.protocol.{module}")
    blocks = (inspect.getsource(getattr(source, name)).rstrip() for name in names)
    text = "\n\n\n".join(blocks).replace("]]]", "]] ]")  # cog takes three brackets for its own marker
    cog.outl("```python\n" + text + "\n```")
