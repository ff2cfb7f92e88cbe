"""Every requirement of the specification has one place that enforces it and a test that shows it.

    python tests/tools/requirements.py            write spec/requirements.md, exit 1 on a fault
    python tests/tools/requirements.py --check    write nothing; a matrix out of date is a fault too

A requirement is a list item of a chapter that begins ``- **CLIP-3.**``; a MUST elsewhere is a fault. Code enforces
it on the line with the comment ``# requirement: CLIP-3``. A test shows it with
``@pytest.mark.requirement("CLIP-3")``. The properties ``PROP-n`` follow from the whole, so they have tests but
no line of code.
"""

from __future__ import annotations

import argparse
import ast
import io
import re
import sys
import tokenize
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MATRIX = Path("spec/requirements.md")
LIST = Path("reference/btard/conformance/requirements.txt")
"""All ids but those of properties, for the report of the conformance oracle."""
PROPERTIES = "PROP"
"""The prefix of those that need no enforcing code."""

IDENTIFIER = re.compile(r"[A-Z][A-Z0-9]*-[1-9][0-9]*")
STATEMENT = re.compile(rf"- \*\*({IDENTIFIER.pattern})\.\*\*\s*(.*)")
ENFORCEMENT = re.compile(r"#\s*requirement:\s*(.*)")
OBLIGATION = re.compile(r"(?<!\")\bMUST\b")
"""The word in use; in quotation marks it is only mentioned."""
FENCE = re.compile(r"\s*(```|~~~)")
FIRST_WORDS = 12

HEADING = """# Requirements

Written by `python tests/tools/requirements.py`; do not edit. Properties (`PROP`) follow from the whole and
have no enforcing line.
"""


@dataclass(frozen=True)
class Requirement:
    """One requirement as a chapter states it."""

    id: str
    chapter: str
    words: str


@dataclass
class Matrix:
    """What was found, by id, and what is wrong."""

    stated: dict[str, Requirement] = field(default_factory=dict)
    enforced: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Places ``file:function``, one entry per comment."""
    tested: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Tests ``file::function``."""
    unreadable: list[str] = field(default_factory=list)
    """Marks and comments whose ids cannot be read."""

    def faults(self) -> list[str]:
        """One sentence per fault, sorted; empty if all is well."""
        found = list(self.unreadable)
        for id, places in self.enforced.items():
            if id not in self.stated:
                found.append(f"{id} is enforced at {', '.join(places)}, but no chapter states it")
            if len(places) > 1:
                found.append(f"{id} is enforced in more than one place: {', '.join(places)}")
        for id, tests in self.tested.items():
            if id not in self.stated:
                found.append(f"{id} is tested by {', '.join(tests)}, but no chapter states it")
        for id, requirement in self.stated.items():
            if id not in self.enforced and not is_property(id):
                found.append(f"{id} ({requirement.chapter}) has no enforcing code")
            if id not in self.tested:
                found.append(f"{id} ({requirement.chapter}) has no test")
        return sorted(found)

    def text(self) -> str:
        """The matrix as Markdown, by chapter, then by id."""
        lines = [HEADING.rstrip()]
        chapter = ""
        for requirement in sorted(self.stated.values(), key=lambda r: (r.chapter, order(r.id))):
            if requirement.chapter != chapter:
                chapter = requirement.chapter
                lines += ["", f"## [{chapter}]({chapter})", "", "| id | requirement | enforced at | tests |"]
                lines.append("| --- | --- | --- | --- |")
            places = "<br>".join(f"`{place}`" for place in self.enforced.get(requirement.id, []))
            tests = "<br>".join(f"`{test}`" for test in sorted(set(self.tested.get(requirement.id, []))))
            lines.append(f"| {requirement.id} | {requirement.words} | {places or '–'} | {tests or '–'} |")
        return "\n".join(lines) + "\n"

    def ids(self) -> str:
        """All ids but those of properties, in order, one a line."""
        return "".join(f"{id}\n" for id in sorted(self.stated, key=order) if not is_property(id))


def is_property(id: str) -> bool:
    """Whether ``id`` is a property of the whole."""
    return id.startswith(PROPERTIES + "-")


def order(id: str) -> tuple[str, int]:
    """Sort key: CLIP-2 before CLIP-10."""
    prefix, _, number = id.rpartition("-")
    return prefix, int(number)


# -- Chapters -----------------------------------------------------------------------------------


def read_chapters(folder: Path, matrix: Matrix) -> None:
    """Collect the requirements of all chapters in ``folder``, the matrix itself excepted."""
    for path in sorted(folder.glob("*.md")):
        if path.name == MATRIX.name:
            continue
        for requirement in statements(path.name, path.read_text()):
            if requirement.id in matrix.stated:
                other = matrix.stated[requirement.id].chapter
                matrix.unreadable.append(f"{requirement.id} is stated twice: in {other} and {path.name}")
            matrix.stated[requirement.id] = requirement
        for line in stray_obligations(path.read_text()):
            matrix.unreadable.append(f"{path.name}:{line} says MUST outside of a requirement")


def statements(chapter: str, text: str) -> Iterator[Requirement]:
    """The requirements in a chapter's text; what stands between fences is code."""
    lines, inside = text.splitlines(), False
    for number, line in enumerate(lines):
        inside ^= bool(FENCE.match(line))
        match = STATEMENT.match(line)
        if match and not inside:
            yield Requirement(match[1], chapter, first_words(match[2], lines[number + 1 :]))


def stray_obligations(text: str) -> Iterator[int]:
    """Numbers of the lines that oblige somebody outside of a requirement's list item."""
    inside = stated = False
    for number, line in enumerate(text.splitlines(), 1):
        inside ^= bool(FENCE.match(line))
        if not line.startswith("  "):
            stated = bool(STATEMENT.match(line))
        if not inside and not stated and OBLIGATION.search(line):
            yield number


def first_words(start: str, following: list[str]) -> str:
    """The first words of a list item that goes on over indented lines."""
    parts = [start]
    for line in following:
        if not line.startswith("  ") or len(" ".join(parts).split()) > FIRST_WORDS:
            break
        parts.append(line.strip())
    words = " ".join(parts).split()
    text = " ".join(words[:FIRST_WORDS]) + (" …" if len(words) > FIRST_WORDS else "")
    return text.replace("|", "\\|")


# -- Code ---------------------------------------------------------------------------------------


def read_code(folder: Path, root: Path, matrix: Matrix) -> None:
    """Collect the enforcing comments of all Python files under ``folder``."""
    for path in sorted(folder.rglob("*.py")):
        place, source = path.relative_to(root).as_posix(), path.read_text()
        names = function_names(ast.parse(source))
        for line, comment in comments(source):
            for id in identifiers(comment, f"{place}:{line}", matrix):
                matrix.enforced[id].append(f"{place}:{names.get(line, 'module')}")


def comments(source: str) -> Iterator[tuple[int, str]]:
    """Line number and ids of every enforcing comment; strings that look like one do not count."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        match = ENFORCEMENT.match(token.string) if token.type == tokenize.COMMENT else None
        if match:
            yield token.start[0], match[1]


def identifiers(text: str, where: str, matrix: Matrix) -> list[str]:
    """The ids in ``text``, separated by commas; anything else is a fault."""
    ids = [entry.strip() for entry in text.split(",")]
    for id in ids:
        if not IDENTIFIER.fullmatch(id):
            matrix.unreadable.append(f"{where} names {id!r}, which is no requirement id")
    return [id for id in ids if IDENTIFIER.fullmatch(id)]


def function_names(tree: ast.Module) -> dict[int, str]:
    """The qualified name of the innermost function or class around every line."""
    names: dict[int, str] = {}

    def visit(node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            name = prefix
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                name = f"{prefix}.{child.name}" if prefix else child.name
                for line in range(child.lineno, (child.end_lineno or child.lineno) + 1):
                    names[line] = name
            visit(child, name)

    visit(tree, "")
    return names


# -- Tests --------------------------------------------------------------------------------------


def read_tests(folder: Path, root: Path, matrix: Matrix) -> None:
    """Collect the requirement marks of all test files under ``folder``."""
    for path in sorted(folder.rglob("test_*.py")):
        place = path.relative_to(root).as_posix()
        for name, line, arguments in marks(ast.parse(path.read_text())):
            for argument in arguments:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    for id in identifiers(argument.value, f"{place}:{line}", matrix):
                        matrix.tested[id].append(f"{place}::{name}" if name else place)
                else:
                    matrix.unreadable.append(f"{place}:{line} marks a requirement that is not a literal")


def marks(tree: ast.Module) -> Iterator[tuple[str, int, list[ast.expr]]]:
    """Test, line and arguments of every ``pytest.mark.requirement(…)``, decorating or not."""

    def visit(node: ast.AST, prefix: str) -> Iterator[tuple[str, int, list[ast.expr]]]:
        for child in ast.iter_child_nodes(node):
            name = prefix
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                name = f"{prefix}::{child.name}" if prefix else child.name
            if isinstance(child, ast.Call) and is_mark(child.func):
                yield name, child.lineno, list(child.args)
            yield from visit(child, name)

    return visit(tree, "")


def is_mark(function: ast.expr) -> bool:
    """Whether ``function`` is ``….mark.requirement``."""
    if not isinstance(function, ast.Attribute) or function.attr != "requirement":
        return False
    holder = function.value
    return holder.attr == "mark" if isinstance(holder, ast.Attribute) else getattr(holder, "id", "") == "mark"


# -- Command ------------------------------------------------------------------------------------


def collect(root: Path) -> Matrix:
    """Everything that ``spec/``, ``reference/`` and ``tests/`` under ``root`` say about requirements."""
    matrix = Matrix()
    read_chapters(root / "spec", matrix)
    read_code(root / "reference", root, matrix)
    read_tests(root / "tests", root, matrix)
    return matrix


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the matrix is out of date")
    parser.add_argument("--root", type=Path, default=ROOT, help="the repository (default: this one)")
    options = parser.parse_args(arguments)
    matrix = collect(options.root)
    faults = matrix.faults()
    for place, text in {MATRIX: matrix.text(), LIST: matrix.ids()}.items():
        path = options.root / place
        if not options.check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            faults.append(f"{place.as_posix()} is out of date: run python tests/tools/requirements.py")
    for fault in faults:
        print(fault, file=sys.stderr)
    print(f"{len(matrix.stated)} requirements, {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
