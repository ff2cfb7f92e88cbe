"""What the README shows is what the tests run."""

from __future__ import annotations

import re
from pathlib import Path

from btard.cli import app

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_snippet_is_the_tested_one() -> None:
    shown = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert shown is not None
    assert shown[1] == (ROOT / "tests" / "unit" / "readme_task_snippet.py").read_text(encoding="utf-8")


def test_every_link_into_the_repository_leads_somewhere() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_command_shown_exists() -> None:
    shown = set(re.findall(r"(?:`|bin/)btard ([a-z]+)", README))
    known = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    assert shown
    assert shown <= known
