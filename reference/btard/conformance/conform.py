"""The whole test of an implementation: greeting, vectors, runs; and the report of it (chapter ``conformance``)."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from itertools import islice
from pathlib import Path
from secrets import token_hex
from shlex import quote
from typing import Any
from xml.etree import ElementTree

from btard.conformance.attribution import ATTRIBUTIONS, of_profile
from btard.conformance.comparison import Difference
from btard.conformance.examples import ATTACKS, Example, draw, save, shrink
from btard.conformance.live import Played, play
from btard.conformance.subject import PROTOCOL, Misbehaved, Subject
from btard.conformance.vectors.cases import ABSENT, Refusal, Vector
from btard.conformance.vectors.files import chapters
from btard.protocol.model import PROFILES

PASSED, FAILED, UNSUPPORTED, NOT_TRIED = "passed", "failed", "unsupported", "not tried"
EXIT_CODES = {PASSED: 0, FAILED: 1, UNSUPPORTED: 3}
BESIDE = 0.3
"""How much a failed vector says about a requirement that it only exercises beside another."""
MOST_NAMED = 100
"""Most characters of a name that an implementation gives itself."""
MOST_MISBEHAVIOURS = 5
"""Vectors at which the program crashes or is silent, before no more are tried."""
SHRINKING = 30.0
"""For how many seconds smaller runs are sought that fail, too."""
SHOWN = 10
"""How many failed vectors a report for people lists."""

Progress = Callable[[str, int, int], None]
"""Told of what is going on, how much of it is done, and how much there is."""


@dataclass(frozen=True)
class Settings:
    """What is tested, and how."""

    command: str
    profiles: tuple[str, ...] = PROFILES
    attacks: tuple[str, ...] = ATTACKS
    examples: int = 60
    """How many runs, over all profiles."""
    seats: int = 1
    timeout: float = 10.0
    """Seconds for each answer."""
    seed: int = 0
    vectors: bool = True
    out: Path = Path("conformance")
    """Where failed runs are saved."""
    demanding: bool = False
    """Whether an implementation that does not play all of ``profiles`` is unsupported."""


@dataclass(frozen=True)
class VectorResult:
    """What an implementation made of a vector."""

    vector: Vector
    verdict: str
    sentence: str = ""


@dataclass(frozen=True)
class RunResult:
    """What came of a run."""

    number: int
    example: Example
    played: Played
    saved: Path | None = None

    @property
    def verdict(self) -> str:
        """Passed or failed."""
        return FAILED if self.played.found else PASSED


@dataclass
class Report:
    """What is known about an implementation."""

    command: str
    name: str = ""
    profiles: tuple[str, ...] = ()
    """Those that it plays, of those asked for."""
    missing: tuple[str, ...] = ()
    """Those that it should play and does not."""
    greeting: list[Difference] = field(default_factory=list)
    """What was wrong before the first vector."""
    vectors: list[VectorResult] = field(default_factory=list)
    runs: list[RunResult] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        """Passed, failed or unsupported."""
        verdicts = {*(result.verdict for result in self.vectors), *(result.verdict for result in self.runs)}
        if self.greeting or FAILED in verdicts:
            return FAILED
        return PASSED if PASSED in verdicts and not self.missing else UNSUPPORTED

    @property
    def named(self) -> list[str]:
        """The requirements that failures are attributed to, the likeliest first: the first two by vectors, the first
        by runs, then the others."""
        greeting = (id for difference in self.greeting for id in difference.requirements)
        vectors = suspects(self.vectors)
        runs = (id for result in self.runs for difference in result.played.found for id in difference.requirements)
        return list(dict.fromkeys([*greeting, *vectors[:2], *islice(runs, 1), *vectors, *runs]))

    @property
    def requirements(self) -> dict[str, list[str]]:
        """All requirements: those that passed, failed, and were not exercised."""
        failed = set(self.named)
        vectors = {id for result in self.vectors if result.verdict == PASSED for id in result.vector.requirements}
        keys = {(key, result.example.profile) for result in self.runs for key in result.played.exercised}
        runs = {id for key, profile in keys for id in of_profile(ATTRIBUTIONS[key].requirements, profile)}
        greeted = {"CONF-1", "CONF-5"} if self.name else set()
        passed = (vectors | runs | greeted) - failed
        everything = known_requirements()
        rest = [id for id in everything if id not in passed | failed]
        return {
            "passed": [id for id in everything if id in passed],
            "failed": [id for id in everything if id in failed],
            "not_exercised": rest,
        }

    @property
    def summary(self) -> str:
        """One line, for a badge."""
        vectors, runs = counted(self.vectors), counted(self.runs)
        tried = vectors[PASSED] + vectors[FAILED]
        profiles = ", ".join(self.profiles) or "no profile"
        computed = f"{vectors[PASSED]}/{tried} vectors" if self.vectors else "vectors not tested"
        played = f"{runs[PASSED]}/{len(self.runs)} runs" if self.runs else "no runs"
        return f"BTARD conformance {self.verdict}: {profiles}; {computed}, {played}"


def counted(results: Iterable[VectorResult | RunResult]) -> Counter[str]:
    """How many of each verdict."""
    return Counter(result.verdict for result in results)


def suspects(results: Sequence[VectorResult]) -> list[str]:
    """The requirements of failed vectors, the likeliest culprits first.

    Functions come before whole logs, which fail whatever is wrong, and earlier operations before later ones, which
    often use them. Among those of one operation the one comes first of whose vectors the greater share fails, in
    tenths; vectors that exercise a requirement beside another count less.
    """
    tried = [result for result in results if result.verdict in (PASSED, FAILED)]
    operations = {name: place for place, name in enumerate(dict.fromkeys(r.vector.operation for r in tried))}
    places: dict[str, tuple[bool, int]] = {}
    for result in tried:
        for id in result.vector.requirements if result.verdict == FAILED else ():
            logs = "log" in result.vector.fields
            place = logs, 0 if logs else operations[result.vector.operation]
            places[id] = min(places.get(id, place), place)
    shares = {id: share_of_failed(id, places[id][0], tried) for id in places}
    return sorted(places, key=lambda id: (places[id], -shares[id]))


def share_of_failed(id: str, logs: bool, results: Sequence[VectorResult]) -> int:
    """Of the vectors about a requirement, of whole logs or not, how many tenths failed."""
    exercising = [r for r in results if id in r.vector.requirements and ("log" in r.vector.fields) == logs]
    weights = [1.0 if r.vector.requirements[0] == id else BESIDE for r in exercising]
    failed = sum(w for w, r in zip(weights, exercising, strict=True) if r.verdict == FAILED)
    return int(10 * failed / sum(weights))


def known_requirements() -> list[str]:
    """The ids of all requirements of the specification, in order."""
    return files("btard.conformance").joinpath("requirements.txt").read_text(encoding="utf-8").split()


# -- Testing ----------------------------------------------------------------------------------


def conform(settings: Settings, progress: Progress = lambda what, done, of: None) -> Report:
    """Test an implementation. Raises :class:`~btard.conformance.subject.SubjectError` if it cannot be started."""
    report = Report(settings.command)
    with Subject(settings.command, settings.timeout) as subject:
        try:
            greet(subject, settings, report)
        except Misbehaved as error:
            report.greeting.append(Difference("form", str(error)))
    if report.greeting:
        return report
    if settings.vectors:
        report.vectors.extend(vector_results(settings, progress))
    if report.profiles:
        play_examples(settings, report, progress)
    return report


def greet(subject: Subject, settings: Settings, report: Report) -> None:
    """Ask who it is, and for what nobody can do. Source: CONF-1."""
    greeting = subject.ask("hello", protocol=PROTOCOL)
    name, profiles = greeting.get("name"), greeting.get("profiles")
    if not isinstance(name, str) or not isinstance(profiles, list):
        report.greeting.append(Difference("form", "its answer to 'hello' has no name, or no list of profiles"))
        return
    report.name = printable(name)[:MOST_NAMED]
    report.profiles = tuple(dict.fromkeys(profile for profile in settings.profiles if profile in profiles))
    if settings.demanding:
        report.missing = tuple(profile for profile in settings.profiles if profile not in profiles)
    nonsense = token_hex(8)
    for do, fields in ((f"do-{nonsense}", {}), ("evaluate", {"operation": f"none.{nonsense}", "input": {}})):
        if not declines(subject.ask(do, **fields)):
            sentence = f"it does not say that it cannot do '{do}' {fields.get('operation', '')}".rstrip()
            report.greeting.append(Difference("unsupported", sentence))  # requirement: CONF-1


def declines(answer: dict[str, Any]) -> bool:
    """Whether an answer says that something is not supported, and nothing else."""
    return len(answer) == 1 and answer.get("unsupported") is True


def vector_results(settings: Settings, progress: Progress) -> Iterator[VectorResult]:
    """Ask for every vector; a program that crashes is started again."""
    vectors = [vector for chapter in chapters() for vector in chapter.vectors]
    subject, misbehaved = Subject(settings.command, settings.timeout), 0
    try:
        for number, vector in enumerate(vectors):
            progress("vectors", number, len(vectors))
            try:
                yield result_of(vector, subject)
            except Misbehaved as error:
                yield VectorResult(vector, FAILED, str(error))
                misbehaved += 1
                if misbehaved >= MOST_MISBEHAVIOURS:
                    yield from (VectorResult(rest, NOT_TRIED) for rest in vectors[number + 1 :])
                    return
                subject.close()
                subject = Subject(settings.command, settings.timeout)
    finally:
        subject.close()
        progress("vectors", len(vectors), len(vectors))


def result_of(vector: Vector, subject: Subject) -> VectorResult:
    """What an implementation makes of a vector. Raises :class:`Misbehaved`. Source: VEC-1."""
    said = subject.ask("evaluate", operation=vector.operation, input=vector.input)
    if declines(said):
        return VectorResult(vector, UNSUPPORTED)
    if len(said) != 1 or not {"output", "refused"} & said.keys():
        return VectorResult(vector, FAILED, f"it gives neither an output nor a refusal: {told(said)}")
    answer = Refusal(str(said["refused"])) if "refused" in said else said["output"]
    if vector.passes(answer):
        return VectorResult(vector, PASSED)
    due = "refuse" if vector.output is ABSENT else f"give {shown(vector.output)}"
    mistake = f"; maybe it {meaning(vector)}" if vector.flag else ""
    return VectorResult(vector, FAILED, f"it {told(answer)} where it should {due}{mistake}")  # requirement: VEC-1


def meaning(vector: Vector) -> str:
    """The mistake that a negative vector catches, in words."""
    made = next(chapter for chapter in chapters() if chapter.name == vector.operation.partition(".")[0])
    return made.flags[vector.flag]


def told(answer: Any) -> str:
    """An answer in words."""
    if isinstance(answer, Refusal):
        return f"refuses: {printable(answer.reason[:100])}"
    return f"gives {shown(answer)}"


def shown(answer: Any) -> str:
    """The beginning of an output."""
    text = printable(str(answer)[:200])
    return f"{text[:100]}{'…' if len(text) > 100 else ''}"


def play_examples(settings: Settings, report: Report, progress: Progress) -> None:
    """Play runs of every profile until one fails."""
    broken: set[str] = set()
    for number in range(settings.examples):
        progress("runs", number, settings.examples)
        example = draw(number, settings.seed, report.profiles, settings.attacks, settings.seats)
        if example.profile in broken:
            continue
        played = play_once(example, settings)
        if played.found:
            broken.add(example.profile)
            report.runs.append(shrunk(number, example, settings))
        else:
            report.runs.append(RunResult(number, example, played))
    progress("runs", settings.examples, settings.examples)


def play_once(example: Example, settings: Settings) -> Played:
    """One run with a fresh program."""
    with Subject(settings.command, settings.timeout) as subject:
        return play(example, subject)


def shrunk(number: int, example: Example, settings: Settings) -> RunResult:
    """A failed run made smaller, and saved. Source: CONF-6."""
    deadline = time.monotonic() + SHRINKING

    def fails(candidate: Example) -> bool:
        return time.monotonic() < deadline and bool(play_once(candidate, settings).found)

    smallest = shrink(example, fails)  # requirement: CONF-6
    return replay(smallest, settings, number)


def replay(example: Example, settings: Settings, number: int = 0) -> RunResult:
    """Play a run, and save it with what was said if it fails."""
    with Subject(settings.command, settings.timeout) as subject:
        played = play(example, subject)
        if not played.found:
            return RunResult(number, example, played)
        path = settings.out / f"{example.profile}-{number}.json"
        listed = [{"what": d.key, "sentence": d.sentence, "requirements": list(d.requirements)} for d in played.found]
        save(example, path, command=settings.command, differences=listed)
        exchange = "".join(f"{request}\n{answer}\n" for request, answer in subject.exchanged)
        path.with_suffix(".exchange.jsonl").write_text(exchange, encoding="utf-8")
        return RunResult(number, example, played, path)


# -- Reporting --------------------------------------------------------------------------------


def as_plain(report: Report) -> dict[str, Any]:
    """The report as JSON."""
    vectors, runs = counted(report.vectors), counted(report.runs)
    return {
        "verdict": report.verdict,
        "summary": report.summary,
        "command": report.command,
        "name": report.name,
        "profiles": list(report.profiles),
        "greeting": [difference.sentence for difference in report.greeting],
        "vectors": {
            **{verdict.replace(" ", "_"): vectors[verdict] for verdict in (*EXIT_CODES, NOT_TRIED)},
            "failures": [plain_vector(result) for result in report.vectors if result.verdict == FAILED],
        },
        "runs": {
            **{verdict: runs[verdict] for verdict in (PASSED, FAILED)},
            "steps": sum(result.played.steps for result in report.runs),
            "failures": [plain_run(result) for result in report.runs if result.verdict == FAILED],
        },
        "named": report.named,
        "requirements": report.requirements,
    }


def plain_vector(result: VectorResult) -> dict[str, Any]:
    """A failed vector as JSON."""
    vector = result.vector
    about = {"id": vector.id, "requirements": list(vector.requirements), "sentence": result.sentence}
    return {**about, "flag": vector.flag} if vector.flag else about


def plain_run(result: RunResult) -> dict[str, Any]:
    """A failed run as JSON."""
    listed = [{"sentence": d.sentence, "requirements": list(d.requirements)} for d in result.played.found]
    return {"example": result.example.text(), "differences": listed, "saved": str(result.saved)}


def lines(report: Report) -> Iterator[str]:
    """The report for people."""
    yield f"{report.name or report.command}: {', '.join(report.profiles) or 'none of the profiles asked for'}"
    for difference in report.greeting:
        yield f"  {printable(difference.sentence)} ({', '.join(difference.requirements)})"
    if report.vectors:
        yield f"vectors       {tally(counted(report.vectors))}"
        failed = [result for result in report.vectors if result.verdict == FAILED]
        for result in failed[:SHOWN]:
            yield f"  {result.vector.id} ({', '.join(result.vector.requirements)}): {result.sentence}"
        if len(failed) > SHOWN:
            yield f"  and {len(failed) - SHOWN} more; --json lists all"
    if report.runs:
        ended = " (the runs of a profile end with the first failure)" if counted(report.runs)[FAILED] else ""
        yield f"runs          {tally(counted(report.runs))}{ended}"
    for run in report.runs:
        yield from run_lines(run, report.command)
    verdicts = report.requirements
    yield (
        f"requirements  {len(verdicts['passed'])} passed, {len(verdicts['failed'])} failed, "
        f"{len(verdicts['not_exercised'])} not exercised"
    )
    if report.named:
        yield f"look first at {', '.join(report.named[:3])}"
    yield report.summary


def run_lines(result: RunResult, command: str) -> Iterator[str]:
    """A failed run for people."""
    if result.verdict == PASSED:
        return
    yield f"  {result.example.text()}"
    yield from difference_lines(result)
    yield f"    saved; play it again: btard conform --sut {quote(command)} --replay {quote(str(result.saved))}"


def difference_lines(result: RunResult) -> Iterator[str]:
    """What differed in a run, for people."""
    for difference in result.played.found[:SHOWN]:
        yield f"    {printable(difference.sentence)} ({', '.join(difference.requirements)})"


def tally(counts: Counter[str]) -> str:
    """Verdicts in words."""
    verdicts = (*EXIT_CODES, NOT_TRIED)
    return ", ".join(f"{counts[verdict]} {verdict}" for verdict in verdicts if counts[verdict]) or "none"


def junit(report: Report) -> bytes:
    """The report as JUnit XML, which other people's CI reads."""
    root = ElementTree.Element("testsuites", name="BTARD conformance")
    vectors = [(v.vector.operation, v.vector.id, v.verdict, v.sentence, v.vector.requirements) for v in report.vectors]
    runs = [
        (
            f"run.{run.example.profile}",
            f"{run.number}: {run.example.text()}",
            run.verdict,
            "; ".join(difference.sentence for difference in run.played.found),
            tuple(dict.fromkeys(id for difference in run.played.found for id in difference.requirements)),
        )
        for run in report.runs
    ]
    greeting = [("greeting", "greeting", FAILED, d.sentence, d.requirements) for d in report.greeting]
    add_suite(root, "greeting", greeting or [("greeting", "greeting", PASSED, "", ())])
    add_suite(root, "vectors", vectors)
    add_suite(root, "runs", runs)
    data: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return data


def add_suite(
    root: ElementTree.Element, name: str, cases: Sequence[tuple[str, str, str, str, tuple[str, ...]]]
) -> None:
    """One suite of cases: class, name, verdict, what is wrong, requirements."""
    verdicts = Counter(verdict for _, _, verdict, _, _ in cases)
    counts = {"tests": len(cases), "failures": verdicts[FAILED], "skipped": verdicts[UNSUPPORTED] + verdicts[NOT_TRIED]}
    suite = ElementTree.SubElement(root, "testsuite", {"name": name, **{k: str(v) for k, v in counts.items()}})
    for group, case, verdict, sentence, requirements in cases:
        element = ElementTree.SubElement(suite, "testcase", classname=f"btard.{group}", name=case)
        if verdict == FAILED:
            message = f"{sentence} ({', '.join(requirements)})"
            ElementTree.SubElement(element, "failure", message=printable(message))
        elif verdict in (UNSUPPORTED, NOT_TRIED):
            ElementTree.SubElement(element, "skipped")


def printable(text: str) -> str:
    """``text`` without characters that XML cannot hold or that a terminal obeys; an implementation's may have any."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
