"""Used by cog in the chapters: print the source of the reference's own definitions."""

from __future__ import annotations

import importlib
import inspect
import re
from collections import Counter
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


def limits(*runs: tuple[int, int]) -> None:
    """Print the limits of ``btard.network.limits`` for runs of (peers, dimension), one column each."""
    from btard.network.limits import Limits

    rows = {
        "agreed message": "message", "vote": "vote", "part or disclosure": "part", "echo or relay": "relay",
        "request": "ask", "answer": "answer", "any frame": "frame", "envelopes of one author passed on": "authored",
        "frames of one link in a phase": "share", "bytes of one link in a phase": "share_bytes",
        "items of a frame": "items", "kept early, per peer": "early", "queue to one receiver": "queue",
    }  # fmt: skip
    cog.outl("| limit | " + " | ".join(f"n = {n}, d = {d:,}" for n, d in runs) + " |")
    cog.outl("| --- |" + " ---: |" * len(runs))
    for name, field in rows.items():
        values = [f"{getattr(Limits(n, d), field):,}" for n, d in runs]
        cog.outl(f"| {name} | " + " | ".join(values) + " |")


def constants(module: str, *names: str) -> None:
    """Print constants of ``btard.<module>`` with their docstrings, as the rows of a table."""
    loaded = importlib.import_module(f"btard.{module}")
    lines = inspect.getsource(loaded).splitlines()
    cog.outl("| constant | value | meaning |")
    cog.outl("| --- | ---: | --- |")
    for name in names:
        at = next(number for number, line in enumerate(lines) if line.startswith(f"{name} = "))
        meaning = lines[at + 1].strip('"').replace('"""', "")
        cog.outl(f"| `{name}` | {getattr(loaded, name):,} | {meaning} |")


def conditions() -> None:
    """Print the condition number of every redundant code with r = 2s + r_c, a row per r, a column per s."""
    from btard.protocol.redundant_code import MAX_GROUP, conditioning

    columns = range((MAX_GROUP + 1) // 2)
    cog.outl("| r | " + " | ".join(f"s = {s}" for s in columns) + " |")
    cog.outl("| ---: |" + " ---: |" * len(columns))
    for rows in range(1, MAX_GROUP + 1):
        values = [f"{conditioning(rows, s, rows - 2 * s):.2f}" if rows > 2 * s else "" for s in columns]
        cog.outl(f"| {rows} | " + " | ".join(values) + " |")


def operations() -> None:
    """Print a table of the operations of every chapter's vectors."""
    from btard.conformance.vectors.cases import OPERATIONS
    from btard.conformance.vectors.files import CHAPTERS

    for name in CHAPTERS:
        importlib.import_module(f"btard.conformance.vectors.{name}")
        cog.outl(f"### {name}\n")
        cog.outl("| operation | input | output |")
        cog.outl("| --- | --- | --- |")
        for operation, described in OPERATIONS.items():
            if operation.partition(".")[0] == name:
                cog.outl(f"| `{operation}` | {described.takes} | {described.gives} |")
        cog.outl("")


def vector_counts() -> None:
    """Print how many vectors each chapter has."""
    from btard.conformance.vectors.cases import negative
    from btard.conformance.vectors.files import chapters

    cog.outl("| chapter | vectors | of these negative |")
    cog.outl("| --- | ---: | ---: |")
    total = Counter[str]()
    for chapter in chapters():
        total.update(all=len(chapter.vectors), negative=negative(chapter.vectors))
        cog.outl(f"| {chapter.name} | {len(chapter.vectors)} | {negative(chapter.vectors)} |")
    cog.outl(f"| all | {total['all']} | {total['negative']} |")


def attribution() -> None:
    """Print what the live oracle compares, with the requirements that decide about it."""
    from btard.conformance.attribution import ATTRIBUTIONS

    cog.outl("| what differs | requirements |")
    cog.outl("| --- | --- |")
    for what, requirements in ATTRIBUTIONS.values():
        cog.outl(f"| {what} | {', '.join(requirements)} |")


def exchange() -> None:
    """Print the beginning of a real exchange of the live oracle with the reference, long values shortened."""
    import sys

    from btard.conformance.examples import Example
    from btard.conformance.live import play
    from btard.conformance.subject import PROTOCOL, Subject

    with Subject(f"{sys.executable} -m btard.conformance.reference_peer", 60.0) as subject:
        subject.ask("hello", protocol=PROTOCOL)
        subject.ask("levitate")
        subject.ask("evaluate", operation="encoding.encode", input={"item": [{"uint": 1}, None]})
        subject.ask("evaluate", operation="encoding.decode", input={"data": "1801", "limit": 10})
        play(Example(steps=1), subject)
        told = list(subject.exchanged)
    full = [k for k, (_, answer) in enumerate(told) if '"aggregate"' in answer][:1]
    for start, end in ((0, 9), *((k, k + 1) for k in full), (len(told) - 1, len(told))):
        cog.outl("```json\n" + "\n".join(shortened(line) for pair in told[start:end] for line in pair) + "\n```")


def shortened(line: str) -> str:
    """A line of JSON with long runs of hex digits cut."""
    return re.sub(r"([0-9a-f]{12})[0-9a-f]{20,}", r"\1…", line)
