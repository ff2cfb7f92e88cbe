"""The commands ``btard conform`` and ``btard vectors``."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from btard.conformance.conform import (
    EXIT_CODES,
    RunResult,
    Settings,
    as_plain,
    conform,
    difference_lines,
    junit,
    lines,
    plain_run,
    play_once,
)
from btard.conformance.conform import Progress as Told
from btard.conformance.examples import ATTACKS, load
from btard.conformance.vectors.files import differences, write
from btard.protocol.model import PROFILES
from btard.training.trainer import find_attacks

EPILOG = "Example: btard conform --sut 'node peer.js' --profile btard; btard vectors check"


class Action(StrEnum):
    """What to do with the vectors."""

    WRITE = "write"
    CHECK = "check"


def vectors(
    action: Annotated[
        Action, typer.Argument(help="write them with the reference, or check that they are what it writes.")
    ],
    folder: Annotated[Path, typer.Option(help="Where they lie.")] = Path("spec/vectors"),
) -> None:
    """Write the test vectors of the specification, or check them; exit 1 if one is not as the reference has it."""
    if action is Action.WRITE:
        try:
            counts = write(folder)
        except OSError as error:
            raise typer.BadParameter(f"cannot write to '{folder}': {error.strerror}") from error
        print("\n".join(f"{chapter:16} {count:5}" for chapter, count in counts.items()))
        return
    if not folder.is_dir():
        raise typer.BadParameter(f"there is no folder '{folder}'; --folder names another")
    found = differences(folder)
    print("\n".join(found or [f"all files in '{folder}' are what the reference writes"]))
    raise typer.Exit(int(bool(found)))


def conform_command(
    sut: Annotated[str, typer.Option(help="The command that starts the implementation under test.")],
    profile: Annotated[
        str | None, typer.Option(help="Profiles that must be played, separated by commas; default: those it plays.")
    ] = None,
    attack: Annotated[
        str | None, typer.Option(help="Attacks of the runs, separated by commas; default: all in turn.")
    ] = None,
    examples: Annotated[int, typer.Option(min=0, help="How many runs, over all profiles.")] = 60,
    seats: Annotated[int, typer.Option(min=1, max=8, help="How many seats of a run the implementation takes.")] = 1,
    vectors: Annotated[bool, typer.Option(help="Whether the vectors are tested, too.")] = True,
    timeout: Annotated[float, typer.Option(min=0.01, max=86400, help="Seconds for each answer.")] = 10.0,
    seed: Annotated[int, typer.Option(help="Other runs with another seed.")] = 0,
    again: Annotated[Path | None, typer.Option("--replay", help="Play one saved run again, nothing else.")] = None,
    out: Annotated[Path, typer.Option(help="Where failed runs are saved.")] = Path("conformance"),
    junit_xml: Annotated[Path | None, typer.Option("--junit", help="Write the report as JUnit XML, too.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Test an implementation in any language; exit 0 if it passes, 1 if it fails, 3 if there was nothing to test."""
    settings = Settings(
        sut,
        read_profiles(profile),
        read_attacks(attack),
        examples,
        seats,
        timeout,
        seed,
        vectors,
        out,
        demanding=profile is not None,
    )
    check_places(out, junit_xml)
    if again is not None:
        replay_file(again, settings, as_json)
    with broken_pipes_noticed(), watched() as progress:
        report = conform(settings, progress)
    if junit_xml is not None:
        junit_xml.write_bytes(junit(report))
    print(json.dumps(as_plain(report), indent=1) if as_json else "\n".join(lines(report)))
    raise typer.Exit(EXIT_CODES[report.verdict])


@contextmanager
def broken_pipes_noticed() -> Iterator[None]:
    """A program that ends while it is written to must not end this one."""
    before = signal.signal(signal.SIGPIPE, signal.SIG_IGN) if hasattr(signal, "SIGPIPE") else None
    try:
        yield
    finally:
        if before is not None:
            signal.signal(signal.SIGPIPE, before)


def read_profiles(names: str | None) -> tuple[str, ...]:
    """Profiles from a list; none for all that there are."""
    listed = tuple(name.strip() for name in names.split(",") if name.strip()) if names is not None else PROFILES
    for name in listed:
        if name not in PROFILES:
            raise typer.BadParameter(f"there is no profile '{name}': there are {', '.join(PROFILES)}")
    return listed


def read_attacks(names: str | None) -> tuple[str, ...]:
    """Attacks from a list; none for an empty one. Raises :class:`~btard.training.task.UnknownName`."""
    if names is None:
        return ATTACKS
    listed = tuple(name.strip() for name in names.split(",") if name.strip())
    for name in listed:
        find_attacks(name)
    return listed


def check_places(out: Path, junit_xml: Path | None) -> None:
    """Before anything is tested: what is found can be written down."""
    if out.exists() and not out.is_dir():
        raise typer.BadParameter(f"'{out}' is no folder: --out names another")
    if not os.access(next(parent for parent in (out, *out.absolute().parents) if parent.exists()), os.W_OK):
        raise typer.BadParameter(f"nothing can be written to '{out}': --out names another folder")
    if junit_xml is not None and (junit_xml.is_dir() or not junit_xml.absolute().parent.is_dir()):
        raise typer.BadParameter(f"no file '{junit_xml}' can be written: --junit names another")


def replay_file(path: Path, settings: Settings, as_json: bool) -> None:
    """Play a saved run again."""
    with broken_pipes_noticed():
        result = RunResult(0, example := load(path), play_once(example, settings))
    if as_json:
        print(json.dumps({"verdict": result.verdict, **plain_run(result)}, indent=1))
    else:
        print("\n".join([f"  {example.text()}", *difference_lines(result), result.verdict]))
    raise typer.Exit(EXIT_CODES[result.verdict])


@contextmanager
def watched() -> Iterator[Told]:
    """Show on a terminal what is going on."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as shown:
        task = shown.add_task("starting", total=None)
        yield lambda what, done, of: shown.update(task, description=what, completed=done, total=of)
