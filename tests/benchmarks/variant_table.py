"""Faulty variants: let the harness find every one, and write what found it into adversary/README.md.

    python -m tests.benchmarks.variant_table --write

plays until each variant breaks a property, keeps the shortest script of each in tests/properties/variants.json, and
compares with random bytes in place of actions.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from btard_adversary import faulty
from btard_adversary.fuzz import Campaign, campaigns

ROOT = Path(__file__).resolve().parents[2]
CHAPTER = ROOT / "adversary" / "README.md"
CORPUS = ROOT / "tests" / "properties" / "variants.json"
BEGIN, END = "<!-- variants: begin -->", "<!-- variants: end -->"


def main() -> None:
    """Hunt, print, and write if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="fill the table and the corpus")
    parser.add_argument("--minutes", type=float, default=5.0, help="per variant")
    parser.add_argument("--blind-minutes", type=float, default=0.5, help="per variant, with random bytes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", default="", help="variants, comma-separated; the others stay as they are")
    chosen = parser.parse_args()
    names = chosen.only.split(",") if chosen.only else faulty.names()
    known: dict[str, Any] = json.loads(CORPUS.read_text()) if CORPUS.exists() else {}
    for done in campaigns(names, 60 * chosen.minutes, chosen.seed, chosen.jobs):
        known[done.variant] = entry(done)
        print(line(done.variant, known[done.variant]), flush=True)
    for done in campaigns(names, 60 * chosen.blind_minutes, chosen.seed, chosen.jobs, blind=True):
        known[done.variant]["random_bytes"] = done.found.example if done.found else None
        known[done.variant]["random_swarms"] = done.counts.swarms
    if chosen.write:
        known = {name: known[name] for name in sorted(known) if name in faulty.CATALOGUE}
        CORPUS.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
        text = CHAPTER.read_text(encoding="utf-8")
        before, after = text.split(BEGIN)[0], text.split(END)[1]
        CHAPTER.write_text(before + BEGIN + "\n" + table(known) + "\n" + END + after, encoding="utf-8")


def entry(done: Campaign) -> dict[str, Any]:
    """What is kept of a campaign."""
    found = done.found
    if found is None:
        return {"property": "", "side": "", "swarms": done.counts.swarms, "script": None}
    kept = {"property": found.property, "side": found.side, "sentence": found.sentence, "swarms": found.example}
    return {**kept, "script": found.script.as_dict()}


def table(known: dict[str, Any]) -> str:
    """All variants, as Markdown."""
    head = "| variant | bends | found by | after swarms | actions | with random bytes |"
    return "\n".join(
        [
            head,
            "| --- | --- | --- | ---: | ---: | ---: |",
            *(line(name, found) for name, found in sorted(known.items())),
        ]
    )


def line(name: str, found: dict[str, Any]) -> str:
    """One variant."""
    bends = faulty.CATALOGUE[name].bends
    blind = found.get("random_bytes")
    random = f"{blind}" if blind is not None else f"not in {found.get('random_swarms', 0)}"
    if found["script"] is None:
        return f"| {name} | {bends} | not found | {found['swarms']} | | {random} |"
    actions = len(found["script"]["actions"])
    return f"| {name} | {bends} | {found['property']}, {found['side']} | {found['swarms']} | {actions} | {random} |"


if __name__ == "__main__":
    main()
