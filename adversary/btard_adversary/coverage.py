"""Which requirements of the specification a run exercises: the statements that enforce them, as they are reached."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import btard

ENFORCEMENT = re.compile(r"#\s*requirement:\s*([A-Z0-9, -]+)")


@lru_cache(maxsize=1)
def enforced() -> dict[str, dict[int, frozenset[str]]]:
    """Requirement ids by file and line: every line of the statement that carries the comment."""
    found: dict[str, dict[int, frozenset[str]]] = {}
    for path in sorted(Path(btard.__file__).parent.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        comments = {n: m[1] for n, line in enumerate(text.splitlines(), 1) if (m := ENFORCEMENT.search(line))}
        if comments:
            found[str(path)] = lines_of(ast.parse(text), comments)
    return found


def lines_of(tree: ast.Module, comments: dict[int, str]) -> dict[int, frozenset[str]]:
    """The lines of the smallest statement, or header of a compound one, around each comment."""
    spans = [(node.lineno, header_end(node)) for node in ast.walk(tree) if isinstance(node, ast.stmt)]
    lines: dict[int, frozenset[str]] = {}
    for number, text in comments.items():
        around = [span for span in spans if span[0] <= number <= span[1]]
        first, last = min(around, key=lambda span: span[1] - span[0], default=(number, number))
        identifiers = frozenset(part.strip() for part in text.split(",") if part.strip())
        for line in range(first, last + 1):
            lines[line] = lines.get(line, frozenset()) | identifiers
    return lines


def header_end(node: ast.stmt) -> int:
    """The last line of a statement, without the block that follows it."""
    body = getattr(node, "body", None)
    if isinstance(body, list) and body:
        return max(node.lineno, int(body[0].lineno) - 1)
    return node.end_lineno or node.lineno


def all_requirements() -> set[str]:
    """Every id that has an enforcing statement."""
    return {identifier for lines in enforced().values() for found in lines.values() for identifier in found}


@dataclass
class Tracer:
    """Collects the ids whose statements are reached while it is on; slow, so it watches some runs only."""

    covered: set[str] = field(default_factory=set)
    lines: dict[CodeType, dict[int, frozenset[str]]] = field(default_factory=dict)

    def watch(self, frame: FrameType, event: str, argument: Any) -> Any:
        """On a call: trace it if it holds a statement of interest."""
        code = frame.f_code
        if code not in self.lines:
            here = enforced().get(code.co_filename, {})
            last = max((line for _, _, line in code.co_lines() if line), default=0)
            self.lines[code] = {n: ids for n, ids in here.items() if code.co_firstlineno <= n <= last}
        return self.line if self.lines[code] else None

    def line(self, frame: FrameType, event: str, argument: Any) -> Any:
        """On a line: note what it enforces."""
        found = self.lines[frame.f_code].get(frame.f_lineno)
        if found:
            self.covered |= found
        return self.line

    @contextmanager
    def on(self) -> Iterator[None]:
        """Trace what runs inside."""
        before = sys.gettrace()
        sys.settrace(self.watch)
        try:
            yield
        finally:
            sys.settrace(before)
