"""The command ``btard compare``; the command line finds it by its entry point (group ``btard.commands``)."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from btard_adversary.comparison import Cell, CellStore, Comparison

EPILOG = (
    "Examples: btard compare --rules mean,krum,btard --attacks none,sign-flip,krum-decoy --byzantine 6 --steps 60; "
    "btard compare --task digits --seeds 3 --out runs/compare"
)


def compare(
    rules: Annotated[
        str | None,
        typer.Option(
            help="Rules, comma-separated: trusted servers, profiles of the protocol, or module:name; default: all."
        ),
    ] = None,
    attacks: Annotated[
        str | None, typer.Option(help="Attacks, comma-separated: none, see 'btard attacks', or module:name.")
    ] = None,
    peers: Annotated[int, typer.Option(help="Number of peers.")] = 16,
    byzantine: Annotated[int, typer.Option(help="Number of attackers among them.")] = 7,
    task: Annotated[
        str, typer.Option(help="Task, as in 'btard train'; options follow: digits,batch_size=8.")
    ] = "digits",
    steps: Annotated[int, typer.Option(help="Training steps of every run.")] = 80,
    seeds: Annotated[int, typer.Option(help="How many runs for each rule and attack: seeds 0, 1, ...")] = 3,
    attack_start: Annotated[int, typer.Option(help="First step of the attacks.")] = 0,
    data: Annotated[str | None, typer.Option(help="Path of the data set, for tasks that read one.")] = None,
    out: Annotated[
        Path, typer.Option(help="Directory of the results; called again, an interrupted comparison goes on.")
    ] = Path("runs/compare"),
    jobs: Annotated[int, typer.Option(help="Processes; 0 for one per core.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the comparison that --out holds.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")] = False,
) -> None:
    """Train with every rule under every attack, and make a table of how well it went.

    Aggregation rules run at a trusted server that bans nobody; the profiles of the protocol run as a swarm, with audits
    and bans. Called again with the same --out it goes on where it stopped.
    """
    from btard_adversary.comparison import (
        CellStore,
        Comparison,
        asked_comparison,
        check,
        listed,
        usual_attacks,
        usual_rules,
    )
    from btard_adversary.tables import Table

    check(jobs >= 0, f"--jobs must not be negative, but is {jobs}")
    named = usual_rules() if rules is None else listed(rules)
    chosen = usual_attacks(byzantine) if attacks is None else listed(attacks)
    wanted = Comparison(task, named, chosen, peers, byzantine, steps, seeds, attack_start, data)
    asked = asked_comparison(wanted, usual=attacks is None)
    store = CellStore(out)
    with store.opened(asked, overwrite) as done:
        with Watcher(asked, len(done), quiet=as_json) as watcher:
            play_rest(asked, store, done, jobs or os.cpu_count() or 1, watcher)
        table = Table(asked, tuple(done))
        table.write(out)
    print(json.dumps(table.as_dict(), indent=1) if as_json else f"{table.text()}\nwritten to {out}", flush=True)


def play_rest(asked: Comparison, store: CellStore, done: list[Cell], jobs: int, watcher: Watcher) -> None:
    """Play what is missing, and add it to ``done``; if interrupted, say how to go on and exit with code 130."""
    from btard_adversary.comparison import played

    there = {cell.place for cell in done}
    try:
        for cell in played(asked, [place for place in asked.places() if place not in there], jobs):
            store.append(cell)
            done.append(cell)
            watcher.tell(cell, len(done))
    except KeyboardInterrupt:
        watcher.stop()
        interrupted(f"interrupted after {len(done)} of {len(asked.places())} runs: the same command goes on from there")


def interrupted(sentence: str) -> NoReturn:
    """End with one sentence on standard error and exit code 130."""
    Console(stderr=True, soft_wrap=True, highlight=False).print(f"btard: {sentence}", markup=False)
    raise typer.Exit(130)


class Watcher:
    """Shows which runs are done: a live bar on a terminal, a line per run elsewhere."""

    def __init__(self, asked: Comparison, done: int, quiet: bool) -> None:
        self.total = len(asked.places())
        self.console = Console(stderr=quiet, soft_wrap=True, highlight=False)
        columns = (
            TextColumn("{task.description:60}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        self.progress = Progress(*columns, console=self.console, disable=not self.console.is_terminal)
        self.bar = self.progress.add_task("", total=self.total, completed=done)
        if done and not self.console.is_terminal:
            self.console.print(f"goes on after {done} of {self.total} runs")

    def __enter__(self) -> Watcher:
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Leave the terminal as it was."""
        self.progress.stop()

    def tell(self, cell: Cell, done: int) -> None:
        """One more run is done."""
        quality = f"accuracy {cell.accuracy:.3f}" if cell.accuracy is not None else describe_loss(cell)
        what = f"{cell.rule}, {cell.attack}, seed {cell.seed}: {quality}{' diverged' if cell.diverged else ''}"
        self.progress.update(self.bar, completed=done, description=what)
        if not self.console.is_terminal:
            self.console.print(f"{done:4} of {self.total}  {what}  ({cell.seconds:.1f} s)", markup=False)


def describe_loss(cell: Cell) -> str:
    """The loss in words."""
    return "loss is no number" if cell.loss is None else f"loss {cell.loss:.4g}"
