"""The files of the vectors: written by one command, and checked against the reference (chapter ``vectors``)."""

from __future__ import annotations

import json
from functools import cache
from importlib import import_module
from pathlib import Path

from btard.conformance.vectors.cases import Chapter, File

FORMAT = 1
CHAPTERS = (
    "encoding",
    "identity",
    "arithmetic",
    "model",
    "messages",
    "log",
    "mprng",
    "butterfly_clip",
    "update",
    "majority_vote",
    "redundant_code",
    "verification",
    "tolerance",
    "broadcast",
    "exchange",
    "bans",
    "membership",
    "step",
)
"""The chapters with vectors, in reading order; each is a module of this package with a function ``chapter``."""


def load_operations() -> None:
    """Make every operation known."""
    for name in CHAPTERS:
        import_module(f"btard.conformance.vectors.{name}")


@cache
def chapters() -> tuple[Chapter, ...]:
    """All vectors, made with the reference; raises :class:`VectorError` where they contradict it."""
    return tuple(import_module(f"btard.conformance.vectors.{name}").chapter() for name in CHAPTERS)


def contents(chapter: Chapter) -> dict[str, bytes]:
    """The files of one chapter, by path relative to the folder of the vectors."""
    values = (value for vector in chapter.vectors for value in vector.fields.values())
    files = {value.name: value.content for value in values if isinstance(value, File)}
    return {f"{chapter.name}.json": document(chapter).encode(), **files}


def document(chapter: Chapter) -> str:
    """A chapter's JSON file: a line for each vector."""
    head = {"format": FORMAT, "chapter": chapter.name, "flags": dict(chapter.flags)}
    lines = [json.dumps(vector.as_plain(), ensure_ascii=False) for vector in chapter.vectors]
    opening = json.dumps(head, ensure_ascii=False, indent=1)[: -len("\n}")]
    return opening + ',\n "vectors": [\n  ' + ",\n  ".join(lines) + "\n ]\n}\n"


def write(folder: Path) -> dict[str, int]:
    """Write all files, and remove others of their kind; how many vectors each chapter has."""
    folder.mkdir(parents=True, exist_ok=True)
    counts, kept = {}, set()
    for chapter in chapters():
        counts[chapter.name] = len(chapter.vectors)
        for name, data in contents(chapter).items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            kept.add(path)
    for path in stored(folder) - kept:
        path.unlink()
    return counts


def stored(folder: Path) -> set[Path]:
    """The vector files in ``folder``."""
    return {*folder.glob("*.json"), *folder.glob("logs/*.cborseq")}


def differences(folder: Path) -> list[str]:
    """What in ``folder`` is not as the reference writes it, a sentence each."""
    found, expected = [], set()
    for chapter in chapters():
        for name, data in contents(chapter).items():
            path = folder / name
            expected.add(path)
            if not path.exists():
                found.append(f"'{path}' is missing")
            elif path.read_bytes() != data:
                found.append(f"'{path}' is not what the reference writes{where(path.read_bytes(), data)}")
    return found + [f"'{path}' is no file of the vectors" for path in sorted(stored(folder) - expected)]


def where(here: bytes, expected: bytes) -> str:
    """The first line in which two files differ."""
    pairs = enumerate(zip(here.splitlines(), expected.splitlines(), strict=False), start=1)
    return next((f": line {number} differs" for number, (one, other) in pairs if one != other), "")
