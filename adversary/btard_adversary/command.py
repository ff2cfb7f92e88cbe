"""The command ``btard fuzz``; the command line finds it by its entry point (group ``btard.commands``)."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from btard.network.coalition import BrokenAttack
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from btard_adversary.fuzz import Campaign

EPILOG = "Examples: btard fuzz --minutes 5; btard fuzz --variant opening-unchecked; btard fuzz --rule my_module:my_rule"


def fuzz(
    minutes: Annotated[float, typer.Option(help="How long to look, per variant, rule or attack.")] = 1.0,
    examples: Annotated[int, typer.Option(help="Most swarms, or inputs of a rule; 0 for no limit.")] = 0,
    variant: Annotated[str, typer.Option(help="A faulty variant by name, or 'module:name' of your own.")] = "",
    all_variants: Annotated[bool, typer.Option("--all-variants", help="Every faulty variant in turn.")] = False,
    list_variants: Annotated[bool, typer.Option("--list-variants", help="List the faulty variants.")] = False,
    rule: Annotated[str, typer.Option(help="An aggregation rule by name, or 'module:name'.")] = "",
    claim: Annotated[str, typer.Option(help="The rule's claimed bound, e.g. '4*(1+b/(n-2*b))**2'.")] = "",
    peers: Annotated[int, typer.Option(help="n for a rule; 0 for a range.")] = 0,
    byzantine: Annotated[int, typer.Option(help="b for a rule; -1 for a range.")] = -1,
    attack: Annotated[str, typer.Option(help="An attack by name, or 'module:name'.")] = "",
    replay: Annotated[Path | None, typer.Option(help="Play a saved script, or check a saved input of a rule.")] = None,
    blind: Annotated[bool, typer.Option("--random-bytes", help="The baseline: attackers send random bytes.")] = False,
    seed: Annotated[int, typer.Option(help="The same seed looks at the same swarms.")] = 0,
    jobs: Annotated[int, typer.Option(help="Processes; 0 for one per core.")] = 0,
    out: Annotated[Path, typer.Option(help="Where what is found is saved.")] = Path("runs/fuzz"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Try to break a property of the protocol, of a variant, of an aggregation rule, or with an attack.

    Exit code 0: nothing was found; 1: a violation, printed as a readable script and saved; 2: a wrong call.
    """
    asked = [
        bool(variant) and replay is None,
        all_variants,
        list_variants,
        bool(rule),
        bool(attack),
        replay is not None,
    ]
    if sum(asked) > 1:
        refuse("choose one of --variant, --all-variants, --list-variants, --rule, --attack and --replay")
    if minutes <= 0 or examples < 0 or jobs < 0:
        refuse("--minutes must be above 0, --examples and --jobs not below it")
    most, seconds = examples or 10**9, 60.0 * minutes
    with broken_attacks_refused():
        if list_variants:
            show_variants(as_json)
        elif replay is not None:
            replay_file(replay, variant, as_json)
        elif rule:
            search_rule(rule, claim, peers, byzantine, seconds, examples, seed, out, as_json)
        elif attack:
            show_attack(attack, seconds, seed, most, out, as_json)
        elif all_variants:
            hunt_all(seconds, seed, most, jobs, blind, out, as_json)
        else:
            hunt(variant, seconds, seed, most, jobs, blind, out, as_json)


@contextmanager
def broken_attacks_refused() -> Iterator[None]:
    """An attack whose code does not work is a wrong call; exit code 1 is for what is found."""
    try:
        yield
    except BrokenAttack as broken:
        refuse(str(broken))


def refuse(sentence: str) -> None:
    """A wrong call."""
    raise typer.BadParameter(sentence)


def emit(lines: Any, data: Any, as_json: bool) -> None:
    """Print a result for people, or for programs."""
    print(json.dumps(data, indent=2) if as_json else "\n".join(lines), flush=True)


@contextmanager
def working(what: str) -> Iterator[None]:
    """Show on a terminal what is going on, and for how long."""
    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        progress.add_task(what, total=None)
        yield


def show_variants(as_json: bool) -> None:
    """The catalogue of faulty variants."""
    from btard_adversary.faulty import CATALOGUE, names

    rows = [(name, CATALOGUE[name].bends, CATALOGUE[name].summary) for name in names()]
    lines = [f"{name}  (bends {bends})\n    {summary}" for name, bends, summary in rows]
    emit(lines, [dict(zip(("name", "bends", "summary"), row, strict=True)) for row in rows], as_json)


def hunt(name: str, seconds: float, seed: int, examples: int, jobs: int, blind: bool, out: Path, as_json: bool) -> None:
    """One campaign on all cores."""
    from btard_adversary.fuzz import cores, save, shared, variation

    variation(name)  # an unknown name is a wrong call, before anything is started
    with working(f"{name or 'the reference'}: for up to {seconds / 60:g} min"):
        done = shared(name, seconds, seed, jobs or cores(), examples, blind)
    lines = list(done.lines())
    if done.found is not None:
        lines.append(f"saved: {save(done.found, out, name.replace(':', '-'))}")
    emit(lines, done.as_dict(), as_json)
    raise typer.Exit(int(done.found is not None))


def hunt_all(seconds: float, seed: int, examples: int, jobs: int, blind: bool, out: Path, as_json: bool) -> None:
    """Every faulty variant, one line each; exit code 1 if one was not found."""
    from btard_adversary.faulty import names
    from btard_adversary.fuzz import campaigns, cores, save

    results = []
    for done in campaigns(names(), seconds, seed, jobs or cores(), examples, blind):
        results.append(done)
        if done.found is not None:
            save(done.found, out, done.variant)
        if not as_json:
            print(row(done), flush=True)
    missed = [done.variant for done in results if done.found is None]
    summary = f"{len(results) - len(missed)} of {len(results)} variants found"
    emit([summary], [done.as_dict() for done in sorted(results, key=lambda done: done.variant)], as_json)
    raise typer.Exit(int(bool(missed)))


def row(done: Campaign) -> str:
    """One variant's result in a line."""
    if done.found is None:
        return f"{done.variant:34} NOT FOUND in {done.counts.swarms:,} swarms"
    found = done.found
    short = found.sentence if len(found.sentence) <= 70 else found.sentence[:69] + "…"
    return f"{done.variant:34} {found.property:8} swarm {found.example:4}, {len(found.script.actions)} actions: {short}"


def replay_file(path: Path, variant: str, as_json: bool) -> None:
    """Play a saved script, on the reference or on a variant, or check a saved input of a rule again."""
    from btard_adversary.script import ScriptError, load

    try:
        script = load(path)
    except ScriptError as problem:
        replay_input(path, as_json, problem)
        return
    from btard_adversary.fuzz import variation
    from btard_adversary.machine import verdict_of

    found = verdict_of(script, variation(variant))
    verdict = "no property is violated" if found is None else str(found)
    emit(
        [*script.text().splitlines(), verdict], {"script": script.as_dict(), "violation": found and str(found)}, as_json
    )
    raise typer.Exit(int(found is not None))


def replay_input(path: Path, as_json: bool, problem: Exception) -> None:
    """A saved input of a rule; raises ``problem`` if it is none either."""
    from btard_adversary.rules import RuleError, replay_rule

    try:
        finding = replay_rule(path)
    except (RuleError, OSError, ValueError, KeyError):
        raise problem from None
    emit([finding.line()], finding.as_dict(), as_json)
    raise typer.Exit(int(finding.broken))


def search_rule(
    name: str,
    claim: str,
    peers: int,
    byzantine: int,
    seconds: float,
    examples: int,
    seed: int,
    out: Path,
    as_json: bool,
) -> None:
    """Look for the input on which an aggregation rule does worst."""
    from btard_adversary.rules import fuzz_rule

    sizes = {"peers": peers or None, "byzantine": byzantine if byzantine >= 0 else None}
    limit = {"examples": examples} if examples else {"seconds": seconds}
    report = fuzz_rule(name, claim or None, **sizes, **limit, seed=seed, out=out)
    emit(report.lines(), report.as_dict(), as_json)
    raise typer.Exit(int(not report.holds))


def show_attack(name: str, seconds: float, seed: int, examples: int, out: Path, as_json: bool) -> None:
    """Look for the swarm in which an attack does most."""
    from btard.training.registry import find_by_name

    from btard_adversary.fuzz import search_attack

    find_by_name("btard.attacks", "attack", name)  # an unknown name is a wrong call
    with working(f"{name}: for up to {seconds / 60:g} min"):
        report = search_attack(name, seconds, seed, examples)
    lines = list(report.lines())
    if report.script is not None:
        path = out / f"attack-{name.replace(':', '-')}.json"
        report.script.save(path)
        lines.append(f"saved: {path}")
    emit(lines, report.as_dict(), as_json)
    raise typer.Exit(int(report.violation is not None))
