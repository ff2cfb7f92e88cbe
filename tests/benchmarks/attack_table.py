"""Every attack with its verdict, measured: ``python -m tests.benchmarks.attack_table --write`` fills spec/attacks.md.

``--check`` runs a few attacks again, drawn by ``--draw``, and compares their lines with the chapter's. Exit code 1 if a
verdict is not shown, if an honest peer suffers more than the specification says, or if a line differs.
``--accuracy`` prints the README's table of accuracies instead, six minutes on one core.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from multiprocessing import get_context
from typing import Any

from btard.training.registry import find_task
from btard.training.trainer import Settings, attack_names, train

from tests.attack_runs import BEGIN, CHAPTER, END, MOST, PEERS, attacked, breaches, table_of_the_chapter

ON_DIGITS = (
    "a-little-is-enough", "constant-direction", "covered-aggregate", "delayed-gradient", "false-accuser",
    "inner-product-manipulation", "label-flip", "random-noise", "shifted-aggregate", "sign-flip",
)  # fmt: skip
"""The lines of the README's table."""
SEEDS = (0, 1, 2)
STEPS = 60
HEADING = (
    f"| attack | expected verdict | shown with 1 / {MOST} attackers | how attackers ended | "
    f"honest lost in pairs | voided attempts | seats gained |\n| --- | --- | --- | --- | --- | --- | --- |"
)
Case = tuple[str, int, int]
"""Attack, number of attackers, seed."""


def measure(case: Case) -> tuple[Case, dict[str, Any]]:
    """One run."""
    return case, attacked(*case, STEPS)


def measured(names: list[str], jobs: int) -> Iterator[tuple[Case, dict[str, Any]]]:
    """All runs of these attacks, in order, with progress on standard error."""
    cases = list(product(names, (1, MOST), SEEDS))
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        for number, (case, summary) in enumerate(pool.map(measure, cases), start=1):
            print(f"\r{number:4} of {len(cases)}  {case[0]:30}", end="", file=sys.stderr, flush=True)
            yield case, summary
    print(file=sys.stderr)


def line(name: str, verdict: str, runs: list[tuple[Case, dict[str, Any]]]) -> str:
    """An attack's line of the table."""

    def each(number: int) -> list[dict[str, Any]]:
        return [summary for (_, attackers, _), summary in runs if attackers == number]

    def shown(number: int) -> str:
        return f"{sum(all(v['shown'] for v in run['verdicts']) for run in each(number))} of {len(each(number))}"

    def most(key: str) -> str:
        return " / ".join(str(max(run[key] for run in each(number))) for number in (1, MOST))

    verdicts = [verdict for _, run in runs for verdict in run["verdicts"]]
    ends = Counter(", then ".join(verdict["ends"]) or "in the roster" for verdict in verdicts)
    ended = "; ".join(f"{count} {end}" for end, count in sorted(ends.items(), key=lambda item: (-item[1], item[0])))
    shares = f"{shown(1)} / {shown(MOST)}"
    return (
        f"| {name} | {verdict} | {shares} | {ended} | {most('honest_eliminated')} | {most('retries')} | "
        f"{most('byzantine_joined')} |"
    )


def lines(names: dict[str, str], jobs: int) -> tuple[dict[str, str], list[str]]:
    """The table's lines by attack, and what went wrong."""
    runs = list(measured(list(names), jobs))
    wrong = [
        f"{name}, {attackers} attackers, seed {seed}: {breach}"
        for (name, attackers, seed), summary in runs
        for breach in breaches(summary)
    ]
    return {name: line(name, names[name], [run for run in runs if run[0][0] == name]) for name in names}, wrong


def write(table: dict[str, str]) -> None:
    """Replace the chapter's table."""
    before, rest = CHAPTER.read_text().split(BEGIN)
    body = "\n".join((HEADING, *table.values()))
    CHAPTER.write_text(f"{before}{BEGIN}\n{body}\n{END}{rest.split(END)[1]}")


def accuracy_line(attack: str | None, task: Any) -> str:
    """One line of the README's table: 16 peers, b = 7, 200 steps, attackers acting from step 0."""
    chosen = [
        Settings(peers=16, byzantine=7 if attack else 0, tolerate=7, attack=attack, steps=200, seed=seed, logs="none")
        for seed in SEEDS
    ]
    runs = [train(settings, task, None, lambda event: None) for settings in chosen]
    accuracy = " / ".join(f"{run['accuracy']:.3f}" for run in runs)
    banned = " / ".join(str(run["byzantine_banned"]) for run in runs)
    last = " / ".join(str(max(run["ban_steps"], default="–")) for run in runs)
    honest = sum(run["honest_banned"] + run["honest_eliminated"] for run in runs)
    return f"| {attack or 'none'} | {accuracy} | {banned} | {last} | {honest} |"


def print_accuracies(names: list[str]) -> None:
    """The README's table, a line as soon as it is known."""
    task = find_task("digits", device="cpu")
    print("| attack | accuracy, seeds 0 / 1 / 2 | attackers banned | last ban at step | honest peers lost |")
    print("| --- | --- | --- | --- | --- |")
    for attack in (None, *names):
        print(accuracy_line(attack, task), flush=True)


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=f"Every attack on {PEERS} peers, {STEPS} steps, three seeds.")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--write", action="store_true", help=f"fill the table of {CHAPTER.name}")
    what.add_argument("--check", action="store_true", help="run a drawn few again and compare their lines")
    what.add_argument("--accuracy", action="store_true", help="print the README's table: 16 peers on digits")
    parser.add_argument("--only", default="", help="attacks to run, comma-separated; default: all")
    parser.add_argument("--draw", type=int, default=0, help="seed of what --check draws")
    parser.add_argument("--count", type=int, default=5, help="how many attacks --check draws")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    return parser.parse_args()


def main() -> int:
    """Run, then print, write or compare; the exit code says whether all is as specified."""
    asked = parsed()
    names = {name: verdict for name, _, verdict in attack_names() if not asked.only or name in asked.only.split(",")}
    if asked.accuracy:
        print_accuracies([name for name in names if asked.only or name in ON_DIGITS])
        return 0
    wrong: list[str] = []
    if asked.check:
        if [name for name, _, _ in attack_names()] != list(table_of_the_chapter()):
            wrong.append(f"{CHAPTER.name} does not list the installed attacks")
        names = dict(sorted(random.Random(asked.draw).sample(sorted(names.items()), min(asked.count, len(names)))))
    table, found = lines(names, asked.jobs)
    wrong += found
    if asked.check:
        stated = table_of_the_chapter()
        wrong += [f"{CHAPTER.name} says otherwise: {row}" for name, row in table.items() if stated.get(name) != row]
    elif asked.write and not wrong:
        write(dict(sorted((table_of_the_chapter() | table).items())) if asked.only else table)
    elif not asked.write:
        print("\n".join((HEADING, *table.values())))
    for sentence in wrong:
        print(sentence, file=sys.stderr)
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
