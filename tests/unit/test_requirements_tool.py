"""The requirements tool finds every kind of fault, and only faults."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))

import requirements

CHAPTER = """# Chapter

"MUST" is a word of RFC 2119.

- **DEMO-1.** A peer MUST do the one thing that this sentence, which goes on for many more
  words than the matrix shows, asks of it. It MUST NOT rest.
- **DEMO-2.** A peer MUST NOT do the other.
- **PROP-1.** Nothing breaks.

```python
- **DEMO-9.** what stands in a code block is no statement
```
"""
CODE = '''"""Docstrings may mention # requirement: DEMO-8."""


class Peer:
    def act(self):
        return 1  # requirement: DEMO-1


def refrain():
    return None  # requirement: DEMO-2
'''
TESTS = """import pytest


@pytest.mark.requirement("DEMO-1")
def test_act():
    text = '@pytest.mark.requirement("DEMO-7")'


@pytest.mark.requirement("DEMO-2", "PROP-1")
def test_refrain(): ...
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    for name, text in (("spec/demo.md", CHAPTER), ("reference/demo.py", CODE), ("tests/unit/test_demo.py", TESTS)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def edit(repository: Path, name: str, old: str, new: str) -> list[str]:
    """Replace ``old`` in one file, which must hold it once, and return the faults."""
    path = repository / name
    assert path.read_text().count(old) == 1
    path.write_text(path.read_text().replace(old, new))
    return requirements.collect(repository).faults()


def test_a_sound_repository_has_no_faults(repository: Path) -> None:
    matrix = requirements.collect(repository)
    assert matrix.faults() == []
    assert sorted(matrix.stated) == ["DEMO-1", "DEMO-2", "PROP-1"]
    assert matrix.enforced == {"DEMO-1": ["reference/demo.py:Peer.act"], "DEMO-2": ["reference/demo.py:refrain"]}
    assert matrix.tested["PROP-1"] == ["tests/unit/test_demo.py::test_refrain"]


@pytest.mark.parametrize(
    ("name", "old", "new", "fault"),
    [
        ("reference/demo.py", "  # requirement: DEMO-2", "", "DEMO-2 (demo.md) has no enforcing code"),
        ("tests/unit/test_demo.py", '"DEMO-2", "PROP-1"', '"PROP-1"', "DEMO-2 (demo.md) has no test"),
        ("tests/unit/test_demo.py", '"DEMO-2", "PROP-1"', '"DEMO-2"', "PROP-1 (demo.md) has no test"),
        (
            "reference/demo.py",
            "return None  # requirement: DEMO-2",
            "return None  # requirement: DEMO-1, DEMO-2",
            "DEMO-1 is enforced in more than one place: reference/demo.py:Peer.act, reference/demo.py:refrain",
        ),
        (
            "reference/demo.py",
            "return None  #",
            "x = 1  # requirement: DEMO-2\n    return None  #",
            "DEMO-2 is enforced in more than one place: reference/demo.py:refrain, reference/demo.py:refrain",
        ),
        (
            "reference/demo.py",
            "DEMO-2",
            "DEMO-2, DEMO-3",
            "DEMO-3 is enforced at reference/demo.py:refrain, but no chapter states it",
        ),
        (
            "tests/unit/test_demo.py",
            '"PROP-1"',
            '"PROP-1", "PROP-2"',
            "PROP-2 is tested by tests/unit/test_demo.py::test_refrain, but no chapter states it",
        ),
        (
            "tests/unit/test_demo.py",
            '"PROP-1"',
            "NAME",
            "tests/unit/test_demo.py:9 marks a requirement that is not a literal",
        ),
        (
            "reference/demo.py",
            "DEMO-2",
            "DEMO two",
            "reference/demo.py:10 names 'DEMO two', which is no requirement id",
        ),
        ("spec/demo.md", "# Chapter", "Peers MUST hurry.", "demo.md:1 says MUST outside of a requirement"),
        ("spec/demo.md", "**DEMO-2.**", "**DEMO-1.**", "DEMO-1 is stated twice: in demo.md and demo.md"),
    ],
)
def test_every_kind_of_fault_is_named(repository: Path, name: str, old: str, new: str, fault: str) -> None:
    assert fault in edit(repository, name, old, new)


def test_a_requirement_without_list_item_is_none(repository: Path) -> None:
    faults = edit(repository, "spec/demo.md", "- **DEMO-2.**", "As **DEMO-2.** says,")
    assert any(fault.startswith("DEMO-2 is enforced at") for fault in faults)


def test_the_matrix_shows_first_words_place_and_tests(repository: Path) -> None:
    lines = requirements.collect(repository).text().splitlines()
    assert (
        "| DEMO-1 | A peer MUST do the one thing that this sentence, which goes … "
        "| `reference/demo.py:Peer.act` | `tests/unit/test_demo.py::test_act` |"
    ) in lines
    assert "| PROP-1 | Nothing breaks. | – | `tests/unit/test_demo.py::test_refrain` |" in lines


def test_the_command_writes_then_checks(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = ["--root", str(repository)]
    assert requirements.main([*root, "--check"]) == 1  # no matrix yet
    assert requirements.main(root) == 0
    assert requirements.main([*root, "--check"]) == 0
    written = (repository / "spec/requirements.md").read_text()
    (repository / "reference/demo.py").write_text(CODE.replace("  # requirement: DEMO-2", ""))
    capsys.readouterr()
    assert requirements.main([*root, "--check"]) == 1
    said = capsys.readouterr()
    assert "DEMO-2 (demo.md) has no enforcing code" in said.err and "out of date" in said.err
    assert "3 requirements, 2 faults" in said.out
    assert (repository / "spec/requirements.md").read_text() == written
