"""The result of a comparison: as text, as CSV, as JSON and as a picture. Rows are attacks, columns are rules."""

from __future__ import annotations

import csv
import io
import json
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from btard.network.store import write_atomically
from btard.protocol.model import PROFILES

from btard_adversary.comparison import RESULTS, Cell, Comparison, task_of

WIDTH: Final = 118
"""Columns of the text table; rules that do not fit go into further blocks."""
DIVERGED: Final = "!"
BANS: Final = "*"
COLUMNS: Final = ("rule", "attack", "measure", "mean", "min", "max", "seeds", "diverged", "stopped")
COUNTS: Final = ("byzantine", "banned", "honest_banned")


@dataclass(frozen=True)
class Entry:
    """One place of the table: a rule under an attack, over all seeds."""

    rule: str
    attack: str
    measure: str
    """``accuracy`` or ``loss``."""
    cells: tuple[Cell, ...]

    @property
    def values(self) -> list[float]:
        """The measure of every seed; infinite where the loss is no number."""
        found = [cell.accuracy if self.measure == "accuracy" else cell.loss for cell in self.cells]
        return [math.inf if value is None else value for value in found]

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return statistics.fmean(self.values)

    @property
    def diverged(self) -> int:
        """Of how many seeds the model ended worse than untrained."""
        return sum(cell.diverged for cell in self.cells)

    @property
    def text(self) -> str:
        """Mean, least and greatest, with a mark if a run diverged."""
        form = "{:.2f}" if self.measure == "accuracy" else "{:.3g}"
        low, high = (form.format(bound) for bound in (min(self.values), max(self.values)))
        span = f" {low}..{high}" if len(self.cells) > 1 else ""
        return form.format(self.mean) + (DIVERGED if self.diverged else "") + span

    def row(self) -> dict[str, Any]:
        """As plain data; null where the number is infinite."""
        numbers = {"mean": self.mean, "min": min(self.values), "max": max(self.values)}
        finite = {name: round(value, 6) if math.isfinite(value) else None for name, value in numbers.items()}
        stopped = sum(cell.stopped for cell in self.cells)
        head = {"rule": self.rule, "attack": self.attack, "measure": self.measure}
        ends = {"seeds": len(self.cells), "diverged": self.diverged, "stopped": stopped}
        counts = {name: [getattr(cell, name) for cell in self.cells] for name in COUNTS}
        return {**head, **finite, **ends, **counts}


@dataclass(frozen=True)
class Table:
    """A comparison whose runs are all done."""

    asked: Comparison
    cells: tuple[Cell, ...]

    @cached_property
    def measure(self) -> str:
        """Accuracy, or loss for a task that has none."""
        return "loss" if any(cell.accuracy is None for cell in self.cells) else "accuracy"

    @cached_property
    def entries(self) -> dict[tuple[str, str], Entry]:
        """Every place of the table, by rule and attack."""
        found: dict[tuple[str, str], list[Cell]] = {}
        for cell in sorted(self.cells, key=lambda cell: cell.seed):
            found.setdefault((cell.rule, cell.attack), []).append(cell)
        places = [(rule, attack) for rule in self.asked.rules for attack in self.asked.attacks]
        return {place: Entry(*place, self.measure, tuple(found[place])) for place in places}

    @cached_property
    def reduced(self) -> dict[str, int]:
        """The rules that met fewer attackers than asked for, with how many."""
        met = {rule: self.entries[rule, self.asked.attacks[0]].cells[0].byzantine for rule in self.asked.rules}
        return {rule: count for rule, count in met.items() if count < self.asked.byzantine}

    def heading(self, rule: str) -> str:
        """A rule as a column shows it: with a mark if it bans, and the number of its footnote."""
        note = f"[{list(self.reduced).index(rule) + 1}]" if rule in self.reduced else ""
        return rule + (BANS if rule in PROFILES else "") + note

    @property
    def title(self) -> str:
        """What was run, in one line."""
        asked = self.asked
        seeds = f"{asked.seeds} seed{'s' * (asked.seeds > 1)}"
        start = f" from step {asked.attack_start}" if asked.attack_start else ""
        peers = f"{asked.peers} peers, {asked.byzantine} of them attackers{start}"
        return f"{asked.task}: {peers}, {asked.steps} steps, {seeds}"

    @property
    def measured(self) -> str:
        """What the numbers are, with their unit."""
        if self.measure == "accuracy":
            return "test accuracy (share right)"
        return f"test loss ({task_of(self.asked.task, self.asked.data).loss_name})"

    def footnotes(self) -> list[str]:
        """What the marks mean, as far as there are any."""
        notes = []
        if any(entry.diverged for entry in self.entries.values()):
            notes.append(f"{DIVERGED} with some seed the model ended worse than untrained, or its loss is no number")
        if any(rule in PROFILES for rule in self.asked.rules):
            notes.append(f"{BANS} the protocol, with audits and bans; all others are trusted servers that ban nobody")
        for number, (rule, count) in enumerate(self.reduced.items(), start=1):
            attackers = f"{count} attacker{'s' * (count != 1)}"
            notes.append(f"[{number}] {rule}: {attackers} only, the most that it is meant for among {self.asked.peers}")
        return notes

    def text(self) -> str:
        """The whole table, in blocks that fit a page."""
        span = ", mean and least..greatest over the seeds" if self.asked.seeds > 1 else ""
        lines = [self.title, f"{self.measured}{span}"]
        names = ["attack", *self.asked.attacks]
        columns = [
            [self.heading(rule), *(self.entries[rule, attack].text for attack in self.asked.attacks)]
            for rule in self.asked.rules
        ]
        for block in blocks(columns, max(map(len, names))):
            lines += ["", *(row.rstrip() for row in aligned([names, *block]))]
        return "\n".join([*lines, "", *self.footnotes()]).rstrip() + "\n"

    def csv(self) -> str:
        """A line per rule and attack; counts of several seeds are separated by spaces."""
        text = io.StringIO()
        writer = csv.DictWriter(text, [*COLUMNS, *COUNTS], lineterminator="\n")
        writer.writeheader()
        for entry in self.entries.values():
            row = entry.row()
            writer.writerow(row | {name: " ".join(map(str, row[name])) for name in COUNTS})
        return text.getvalue()

    def as_dict(self) -> dict[str, Any]:
        """Everything, for a program to read."""
        ordered = sorted(self.cells, key=lambda cell: self.asked.places().index(cell.place))
        table = [entry.row() for entry in self.entries.values()]
        notes = self.footnotes()
        return {"comparison": asdict(self.asked), "table": table, "notes": notes, "cells": [asdict(c) for c in ordered]}

    def write(self, out: Path) -> None:
        """All files of results."""
        text, table, data, picture = (out / name for name in RESULTS)
        write_atomically(text, self.text().encode())
        write_atomically(table, self.csv().encode())
        write_atomically(data, (json.dumps(self.as_dict(), indent=1) + "\n").encode())
        draw(self, picture)


def blocks(columns: Sequence[list[str]], first: int) -> Iterable[list[list[str]]]:
    """``columns`` in groups that fit beside a column of width ``first``."""
    block: list[list[str]] = []
    used = first
    for column in columns:
        width = 2 + max(map(len, column))
        if block and used + width > WIDTH:
            yield block
            block, used = [], first
        block.append(column)
        used += width
    yield block


def aligned(columns: Sequence[list[str]]) -> Iterable[str]:
    """The rows of ``columns``, each as wide as its widest entry."""
    widths = [max(map(len, column)) for column in columns]
    for row in zip(*columns, strict=True):
        yield "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True))


# -- The picture --------------------------------------------------------------------------------


def draw(table: Table, path: Path) -> None:
    """Write a heat map of the means to ``path``, a PNG: bright is good, whatever is measured."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import colors
    from matplotlib import pyplot as plt

    rules, attacks = table.asked.rules, table.asked.attacks
    means = [[table.entries[rule, attack].mean for rule in rules] for attack in attacks]
    known = [value for row in means for value in row if math.isfinite(value) and value > 0] or [1.0]
    accuracy = table.measure == "accuracy"
    scale = colors.Normalize(0, 1) if accuracy else colors.LogNorm(min(known), max(max(known), 1.001 * min(known)))
    palette = plt.get_cmap("viridis" if accuracy else "viridis_r").with_extremes(bad="#440154", over="#440154")
    size = (3.4 + 0.72 * len(rules), 2.6 + 0.36 * len(attacks))
    figure, axis = plt.subplots(figsize=size, layout="constrained")
    shown = [[value if math.isfinite(value) else math.nan for value in row] for row in means]
    picture = axis.imshow(shown, norm=scale, cmap=palette, aspect="auto")
    axis.set_xticks(range(len(rules)), [table.heading(rule) for rule in rules], rotation=40, ha="right")
    axis.set_yticks(range(len(attacks)), attacks)
    axis.set_xlabel("rule")
    axis.set_ylabel("attack")
    for row, attack in enumerate(attacks):
        for column, rule in enumerate(rules):
            entry = table.entries[rule, attack]
            dark = scale(entry.mean) < 0.55 if accuracy else not scale(entry.mean) < 0.45
            axis.text(column, row, number(entry), ha="center", va="center", fontsize=8, color="w" if dark else "k")
    figure.colorbar(picture, label=table.measured + ", mean over the seeds" * (table.asked.seeds > 1))
    figure.suptitle(table.title, fontsize=11)
    figure.supxlabel("\n".join(table.footnotes()), fontsize=8, x=0.01, ha="left")
    figure.savefig(path, dpi=130)
    plt.close(figure)


def number(entry: Entry) -> str:
    """The mean, short, with its mark."""
    if not math.isfinite(entry.mean):
        return "inf" + DIVERGED
    short = f"{entry.mean:.2f}" if entry.measure == "accuracy" else f"{entry.mean:.2g}"
    return short + (DIVERGED if entry.diverged else "")
