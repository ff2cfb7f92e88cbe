"""What the README shows is what the tests run."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from btard.cli import add_commands, app, main

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_snippet_is_the_tested_one() -> None:
    shown = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert shown[0] == (ROOT / "tests" / "unit" / "readme_task_snippet.py").read_text(encoding="utf-8")


def test_every_link_into_the_repository_leads_somewhere() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_command_shown_exists() -> None:
    add_commands()
    shown = set(re.findall(r"(?:`|bin/)btard ([a-z]+)", README))
    known = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    assert shown
    assert shown <= known


def test_the_attack_and_the_configuration_shown_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = re.findall(r"```(?:python|toml)\n(.*?)```", README, re.DOTALL)
    attack = next(block for block in shown if "GradientAttack" in block)
    on_links = next(block for block in shown if "Poster" in block)
    settings = next(block for block in shown if "m_max" in block)
    (tmp_path / "readme_attack.py").write_text(attack)
    (tmp_path / "readme_poster.py").write_text(on_links)
    (tmp_path / "config.toml").write_text(settings)
    monkeypatch.syspath_prepend(tmp_path)
    arguments = ["--byzantine", "7", "--attack", "readme_attack:Undo", "--config", str(tmp_path / "config.toml")]
    with pytest.raises(SystemExit) as ended:
        main(["train", "--steps", "20", "--out", str(tmp_path / "run"), *arguments])
    assert not ended.value.code
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["byzantine_banned"] > 0
    assert {removal["fault"] for removal in summary["removals"]} == {"wrong hash"}
    assert {verdict["expected"] for verdict in summary["verdicts"]} == {"convicted: wrong hash"}
    shut = ["--task", "quadratic", "--peers", "6", "--byzantine", "1", "--attack", "readme_poster:Shut", "--steps", "5"]
    with pytest.raises(SystemExit) as ended:
        main(["train", *shut, "--out", str(tmp_path / "shut")])
    assert not ended.value.code
    assert all(v["shown"] for v in json.loads((tmp_path / "shut" / "summary.json").read_text())["verdicts"])
