"""Write a finished comparison (``btard compare``) into the README, its heat map beside the other figures.

btard compare --task digits,batch_size=8 --steps 100 --seeds 3 --out runs/compare
python -m tests.benchmarks.comparison_table runs/compare
"""

from __future__ import annotations

import argparse
import csv
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README, FIGURE = ROOT / "README.md", ROOT / "spec" / "figures" / "comparison.png"
BEGIN, END = "<!-- comparison: begin -->", "<!-- comparison: end -->"


def main() -> None:
    """Fill the table between the markers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    with (folder / "table.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    text = README.read_text(encoding="utf-8")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    README.write_text(before + BEGIN + "\n" + table(rows) + "\n" + END + after, encoding="utf-8")
    shutil.copyfile(folder / "heatmap.png", FIGURE)


def table(rows: list[dict[str, str]]) -> str:
    """Attacks by rules: the mean over the seeds; in italics where a run diverged."""
    rules, attacks = (list(dict.fromkeys(row[key] for row in rows)) for key in ("rule", "attack"))
    found = {(row["rule"], row["attack"]): cell(row) for row in rows}
    lines = ["| attack | " + " | ".join(rules) + " |", "| --- |" + " ---: |" * len(rules)]
    lines += [f"| {attack} | " + " | ".join(found[rule, attack] for rule in rules) + " |" for attack in attacks]
    return "\n".join(lines)


def cell(row: dict[str, str]) -> str:
    """One place of the table."""
    value = f"{float(row['mean']):.2f}".removeprefix("0")
    return f"*{value}*" if int(row["diverged"]) else value


if __name__ == "__main__":
    main()
