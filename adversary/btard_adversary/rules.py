"""Search for inputs on which an aggregation rule breaks its claim.

A rule is one function ``(vectors, n_byzantine) -> vector``: float64 ``[n, d]``, a row per peer, to float64 ``[d]``.
:func:`search_rule` draws structured inputs, climbs from the worst of them, and keeps the input with the largest
ratio of deviation to allowed distance. A rule that raises, answers in another shape or type, gives no finite number
for finite input or changes its input is at fault whatever it claims. :func:`fuzz_rule` is the same by name, with a
report; findings are saved and checked again with :func:`replay_rule`.
"""

from __future__ import annotations

import json
import math
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
from btard.protocol.arithmetic import Float64
from btard.protocol.model import ProtocolError
from btard.training.registry import find_by_name

from btard_adversary.claims import Claim, claim_of, radius, read_claim
from btard_adversary.instances import Instance, instances, spoiled

RULES: Final = "btard.rules"
"""The group of entry points under which rules are found by name."""
SLACK: Final = 1e-9
"""Room for rounding: relative to the allowed distance, and to the largest honest norm."""
USUAL_EXAMPLES: Final = 1000
"""Drawn inputs of a search that is given neither a number nor a time."""
CLIMB_FROM: Final = 6
"""Instances that the ascent starts from."""
CLIMB_COST: Final = 250
"""Evaluations of the rule per ascent."""
PATIENCE: Final = 5.0
"""Seconds that one evaluation may take before the rule counts as hanging."""
MOST_HANGS: Final = 2
"""A search gives up after so many."""
READABLE: Final = 64
"""A JSON file shows vectors with at most so many numbers; the .npz file always has them."""
UNCLAIMED: Final = radius("1", "no claim is made: for measuring only")


class RuleError(ProtocolError, ValueError):
    """A search that cannot be set up, or a finding that cannot be read."""


class Hangs(Exception):
    """Raised inside a rule that takes too long."""


class Rule(Protocol):
    """What is under test."""

    def __call__(self, vectors: Float64, n_byzantine: int, /) -> Float64:
        """Aggregate float64 ``[n, d]`` into float64 ``[d]``."""


# -- Findings -----------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Finding:
    """An input, and what the rule did with it."""

    kind: str
    """``claim``, or the fault: ``raises``, ``hangs``, ``shape``, ``type``, ``not finite``, ``changes its input``."""
    instance: Instance
    ratio: float
    """Deviation over allowed distance; above 1 the claim is broken. 0 for a fault."""
    deviation: float = 0.0
    allowed: float = 0.0
    detail: str = ""
    """What went wrong, for a fault."""
    rule: str = ""
    claim: str = ""
    """The claim as :func:`~btard_adversary.claims.read_claim` reads it, empty if it is no expression."""
    formula: str = ""
    seed: int = 0

    @property
    def broken(self) -> bool:
        """Whether this is a fault or a broken claim."""
        return self.kind != "claim" or self.ratio > 1

    def line(self) -> str:
        """One sentence."""
        n, b, d = self.instance.sizes
        where = f"n = {n}, b = {b}, d = {d} ({self.instance.how})"
        if self.kind != "claim":
            return f"{self.kind}: {self.detail}, at {where}"
        if self.allowed == math.inf:
            return f"the claim allows any distance, at {where}"
        verdict = "BROKEN" if self.broken else "kept"
        return f"claim {verdict}: deviation {self.deviation:.4g} is {self.ratio:.4g} times what is allowed, at {where}"

    def as_dict(self) -> dict[str, Any]:
        """Without the vectors; JSON has no infinity, so infinite numbers become text."""
        n, b, d = self.instance.sizes
        numbers = {"ratio": self.ratio, "deviation": self.deviation, "allowed": self.allowed}
        shown = {name: value if math.isfinite(value) else str(value) for name, value in numbers.items()}
        texts = {"rule": self.rule, "kind": self.kind, "detail": self.detail, "claim": self.claim}
        sizes = {"n": n, "b": b, "d": d, "seed": self.seed}
        return {**texts, "formula": self.formula, **shown, **sizes, "how": self.instance.how}


def save_finding(finding: Finding, folder: Path) -> Path:
    """Write ``<rule>-<kind>.npz`` and a JSON file of the same name beside it; gives the path of the latter."""
    folder.mkdir(parents=True, exist_ok=True)
    name = "".join(c if c.isalnum() or c in "-_" else "-" for c in f"{finding.rule or 'rule'}-{finding.kind}")
    instance = finding.instance
    arrays = {"honest": instance.honest, "byzantine": instance.byzantine, "order": instance.order}
    np.savez(folder / f"{name}.npz", **arrays)  # type: ignore[arg-type]  # its stub takes a flag by keyword, too
    shown = {**finding.as_dict(), "vectors": f"{name}.npz"}
    if instance.vectors.size <= READABLE:
        shown |= {key: value.tolist() for key, value in arrays.items()}
    path = folder / f"{name}.json"
    path.write_text(json.dumps(shown, indent=1) + "\n")
    return path


def load_finding(path: Path) -> Finding:
    """What :func:`save_finding` wrote, by the path of the JSON file. Raises :class:`RuleError`."""
    try:
        shown = json.loads(path.read_text())
        with np.load(path.parent / shown["vectors"], allow_pickle=False) as arrays:
            instance = Instance(arrays["honest"], arrays["byzantine"], arrays["order"], shown["how"])
        ratio, deviation, allowed = (float(shown[name]) for name in ("ratio", "deviation", "allowed"))
        detail, rule, claim, formula = (str(shown[name]) for name in ("detail", "rule", "claim", "formula"))
        measured = (ratio, deviation, allowed)
        return Finding(str(shown["kind"]), instance, *measured, detail, rule, claim, formula, int(shown["seed"]))
    except (OSError, KeyError, TypeError, ValueError) as problem:
        raise RuleError(f"{path} is not a saved finding: {problem}") from None


def replay_rule(finding: Finding | Path, rule: Rule | None = None, claim: Claim | None = None) -> Finding:
    """Give a finding's input to the rule again, and measure.

    ``rule``: by default the one that the finding names. ``claim``: by default the finding's, else the rule's own.
    Raises :class:`RuleError`, and ``UnknownName`` for a rule that is not there.
    """
    found = load_finding(finding) if isinstance(finding, Path) else finding
    tried = find_rule(found.rule) if rule is None else rule
    if claim is None:
        claim = read_claim(found.claim) if found.claim else claim_of(tried) or UNCLAIMED
    again = examine(tried, claim, found.instance)
    return replace(again, rule=found.rule, claim=found.claim, formula=claim.formula, seed=found.seed)


# -- One evaluation -----------------------------------------------------------------------------


def examine(rule: Rule, claim: Claim, instance: Instance) -> Finding:
    """Apply the rule to one finite input: the fault that shows, else how far the result is off."""
    given = instance.vectors
    before = given.tobytes()
    result = apply(rule, given, len(instance.byzantine))
    detail, kind = "", ""
    if isinstance(result, Hangs):
        kind, detail = "hangs", f"no result within {PATIENCE:g} s"
    elif isinstance(result, Exception):
        kind, detail = "raises", f"{type(result).__name__}: {result}"
    elif given.tobytes() != before:
        kind, detail = "changes its input", "the array given to the rule was written to"
    elif not isinstance(result, np.ndarray) or result.shape != given.shape[1:]:
        kind, detail = "shape", f"{_described(result)} where float64 {given.shape[1:]} is expected"
    elif result.dtype != np.float64:
        kind, detail = "type", f"{result.dtype} where float64 is expected"
    elif not np.isfinite(result).all():
        kind, detail = "not finite", "finite vectors have a result that is not"
    if kind:
        return Finding(kind, instance, 0.0, detail=detail)
    assert isinstance(result, np.ndarray)
    return measured(claim, instance, result)


def measured(claim: Claim, instance: Instance, result: Float64) -> Finding:
    """How far ``result`` is from the honest mean, in units of what the claim allows there."""
    n, b, _ = instance.sizes
    deviation = float(np.linalg.norm(result - instance.honest.mean(axis=0)))
    allowed = claim.allowed(n, b, instance.honest)
    room = SLACK * float(np.linalg.norm(instance.honest, axis=1).max())
    limit = allowed * (1 + SLACK) + room
    ratio = deviation / limit if limit > 0 else (math.inf if deviation > 0 else 0.0)
    return Finding("claim", instance, ratio, deviation, allowed)


def apply(rule: Rule, vectors: Float64, n_byzantine: int) -> Any:
    """The rule's result, or the exception that it raised; :class:`Hangs` if it took too long."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with time_limit(PATIENCE):
                return rule(vectors, n_byzantine)
        except Exception as problem:
            return problem


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise :class:`Hangs` in the body after ``seconds``, where that is possible: in the main thread of a system
    with alarms, if nobody else uses them. A body that never returns to Python cannot be stopped."""
    possible = hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()
    if not possible or signal.getsignal(signal.SIGALRM) is not signal.SIG_DFL:
        yield
        return

    def ring(number: int, frame: FrameType | None) -> None:
        raise Hangs

    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)


def _described(result: object) -> str:
    return f"an array of shape {result.shape}" if isinstance(result, np.ndarray) else f"a {type(result).__name__}"


# -- The search ---------------------------------------------------------------------------------


class Budget(NamedTuple):
    """How long a search goes on: ``examples`` drawn inputs, or until ``seconds`` have passed."""

    examples: int
    seconds: float


@dataclass
class Search:
    """A search in progress."""

    rule: Rule
    claim: Claim
    budget: Budget
    began: float = field(default_factory=time.monotonic)
    evaluations: int = 0
    worst: Finding | None = None
    starts: dict[str, Finding] = field(default_factory=dict)
    """The worst finding of each pair of families: where ascents begin."""
    faults: dict[str, Finding] = field(default_factory=dict)
    """The first of each kind."""
    notes: dict[str, str] = field(default_factory=dict)
    hangs: int = 0

    def out_of_time(self) -> bool:
        """Whether the time is up, or the rule has taken it all."""
        return self.hangs >= MOST_HANGS or time.monotonic() - self.began >= self.budget.seconds

    def try_one(self, instance: Instance) -> float:
        """Evaluate, keep what is worth keeping, and give the ratio (0 for a fault)."""
        self.evaluations += 1
        finding = examine(self.rule, self.claim, instance)
        if finding.kind != "claim":
            self.faults.setdefault(finding.kind, finding)
            self.hangs += finding.kind == "hangs"
            return 0.0
        if self.worst is None or finding.ratio > self.worst.ratio:
            self.worst = finding
        best = self.starts.get(instance.how)
        if best is None or finding.ratio > best.ratio:
            self.starts[instance.how] = finding
        return finding.ratio


def search_rule(
    rule: Rule,
    claim: Claim | None = None,
    sizes: Sequence[tuple[int, int]] | None = None,
    *,
    examples: int | None = None,
    seconds: float | None = None,
    seed: int = 0,
) -> Finding:
    """The worst input found for ``rule``; the first fault, if there is one and the claim is kept.

    ``claim``: by default the rule's own; without any, the largest honest distance from the mean is the measure.
    ``sizes``: pairs (n, b) to try. The same program with the same ``examples`` and ``seed`` repeats the search; another
    one may draw other inputs, because Hypothesis also tries the constants of the modules that are loaded.
    """
    search = run_search(rule, claim, sizes, examples=examples, seconds=seconds, seed=seed)
    shown = [finding for finding in findings(search) if finding.broken] or findings(search)
    return replace(shown[0], formula=search.claim.formula, claim=search.claim.text, seed=seed)


def run_search(
    rule: Rule,
    claim: Claim | None = None,
    sizes: Sequence[tuple[int, int]] | None = None,
    *,
    examples: int | None = None,
    seconds: float | None = None,
    seed: int = 0,
) -> Search:
    """As :func:`search_rule`, with everything that was seen."""
    claim = claim or claim_of(rule) or UNCLAIMED
    sizes = list(sizes) if sizes is not None else usual_sizes(claim)
    if not sizes or any(not 0 <= b < n for n, b in sizes):
        raise RuleError(f"a search needs sizes with 0 <= b < n, not {sizes}")
    if examples is None:
        examples = USUAL_EXAMPLES if seconds is None else 1 << 30
    search = Search(rule, claim, Budget(examples, math.inf if seconds is None else seconds))
    for number, drawn in enumerate(_rounds(search.budget, seconds is not None)):
        draw_examples(search, sizes, drawn, seed + number)
        climb_all(search, np.random.default_rng([seed, number]))
        if search.out_of_time():
            break
    simplify(search)
    take_notes(search, seed)
    return search


def _rounds(budget: Budget, timed: bool) -> Iterator[int]:
    """Numbers of examples, a few hundred at a time if a clock runs: drawing and climbing take turns."""
    left = budget.examples
    while left > 0:
        yield min(left, 300 if timed else left)
        left -= 300 if timed else left


def usual_sizes(claim: Claim) -> list[tuple[int, int]]:
    """Small sizes for which the claim is made: 3 to 11 peers, any b."""
    return [(n, b) for n in range(3, 12) for b in range(n) if claim.applies(n, b)]


def draw_examples(search: Search, sizes: Sequence[tuple[int, int]], count: int, seed: int) -> None:
    """Let Hypothesis draw inputs and steer towards larger ratios."""
    import hypothesis

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.generate, hypothesis.Phase.target],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(instances(sizes))
    def drawn(instance: Instance) -> None:
        if not search.out_of_time():
            ratio = search.try_one(instance)
            hypothesis.target(math.log(min(max(ratio, 1e-12), 1e12)))

    drawn()


def climb_all(search: Search, rng: np.random.Generator) -> None:
    """Climb from the worst instances of different families. A claim that broke widely needs no climbing."""
    starts = sorted(search.starts.values(), key=lambda finding: -finding.ratio)[:CLIMB_FROM]
    for start in starts:
        if search.out_of_time() or (search.worst is not None and search.worst.ratio > 100):
            return
        climb(search.try_one, start.instance, start.ratio, rng, min(CLIMB_COST, search.budget.examples))


def climb(
    score: Callable[[Instance], float], start: Instance, ratio: float, rng: np.random.Generator, budget: int
) -> tuple[Instance, float]:
    """Follow the ratio upwards by moving the vectors, with the rule as a black box.

    Each round estimates the slope along one random direction (of all entries, of one row, or of one entry) from
    two evaluations, as in simultaneous perturbation (Spall 1992), and moves if either is better; the step grows
    after a success and shrinks after a failure. No derivative is needed, so rules that select or sort will do.
    """
    here, rows, step = start, len(start.order), 0.3
    for _ in range(budget // 2):
        direction = _perturbation(rng, rows, here.honest.shape[1])
        length = step * _length(here)
        tries = [moved(here, sign * length * direction, start.how) for sign in (1.0, -1.0)]
        ratios = [score(instance) for instance in tries]
        best = int(np.argmax(ratios))
        if ratios[best] > ratio:
            here, ratio, step = tries[best], ratios[best], min(1.6 * step, 3.0)
        else:
            step = 0.85 * step if step > 1e-6 else 0.3
    return here, ratio


def _length(instance: Instance) -> float:
    """How far the honest entries spread: the unit of steps."""
    spread = float(np.ptp(instance.honest, axis=0).max())
    return spread if spread > 0 else float(np.abs(instance.honest).max()) or 1.0


def _perturbation(rng: np.random.Generator, rows: int, d: int) -> Float64:
    """A random direction in the space of all vectors, float64 ``[rows, d]``."""
    direction = rng.standard_normal((rows, d))
    kind = rng.integers(3)
    if kind > 0:
        direction[np.arange(rows) != rng.integers(rows)] = 0.0
    if kind > 1:
        direction[:, np.arange(d) != rng.integers(d)] = 0.0
    return np.asarray(direction / max(float(np.linalg.norm(direction)), 1e-300))


def moved(instance: Instance, change: Float64, how: str) -> Instance:
    """The instance with ``change`` ``[n, d]`` added: to honest vectors first, then to Byzantine ones."""
    h = len(instance.honest)
    how = how if how.endswith("climbed") else f"{how}, climbed"
    return Instance(instance.honest + change[:h], instance.byzantine + change[h:], instance.order, how)


def simplify(search: Search) -> None:
    """Round the vectors of a broken claim to as few digits as still break it nearly as badly: easier to read."""
    worst = search.worst
    if worst is None or not worst.broken:
        return
    wanted = min(0.9 * worst.ratio, 1e6) if worst.ratio > 1.2 else worst.ratio
    size = float(np.abs(worst.instance.honest).max()) or float(np.abs(worst.instance.vectors).max()) or 1.0
    for digits in range(4):
        unit = 10.0 ** (math.floor(math.log10(size)) - digits)
        honest, byzantine = (np.round(x / unit) * unit + 0.0 for x in (worst.instance.honest, worst.instance.byzantine))
        rounded = replace(worst.instance, honest=honest, byzantine=byzantine, how=f"{worst.instance.how}, rounded")
        finding = examine(search.rule, search.claim, rounded)
        if finding.kind == "claim" and finding.ratio >= wanted and finding.broken:
            search.worst = finding
            return


def take_notes(search: Search, seed: int) -> None:
    """What is worth knowing and breaks nothing: the order of the rows, repetition, entries that are no numbers."""
    for finding in [] if search.hangs else list(search.starts.values())[:40]:
        instance, b = finding.instance, len(finding.instance.byzantine)
        first, again = (apply(search.rule, instance.vectors, b) for _ in range(2))
        other = apply(search.rule, instance.vectors[::-1].copy(), b)
        room = 1e-6 * float(np.abs(instance.vectors).max())
        if not _close(first, again, 0.0):
            search.notes["repeat"] = "the same input twice gives two results"
        elif not _close(first, other, room):
            search.notes["order"] = "the order of the rows changes the result"
        if b > 0 and "numbers" not in search.notes:
            _note_numbers(search, spoiled(instance, seed))


def _note_numbers(search: Search, instance: Instance) -> None:
    """Whether NaN and infinity from Byzantine peers get through."""
    result = apply(search.rule, instance.vectors, len(instance.byzantine))
    if isinstance(result, Exception):
        search.notes["numbers"] = f"NaN or infinity from a Byzantine peer makes it raise {type(result).__name__}"
    elif not np.isfinite(result).all():
        search.notes["numbers"] = "NaN or infinity from a Byzantine peer reaches the result: remove such entries first"


def _close(left: Any, right: Any, room: float) -> bool:
    """Whether two results agree; failures are reported elsewhere."""
    if not (isinstance(left, np.ndarray) and isinstance(right, np.ndarray)) or left.shape != right.shape:
        return True
    return bool(np.all((np.abs(left - right) <= room) | ~np.isfinite(left)))


def findings(search: Search) -> list[Finding]:
    """The worst input for the claim first, then one of each fault."""
    return ([] if search.worst is None else [search.worst]) + list(search.faults.values())


# -- By name, with a report ---------------------------------------------------------------------


@dataclass(frozen=True)
class RuleReport:
    """What a search found."""

    rule: str
    claim: Claim | None
    findings: tuple[Finding, ...]
    """The worst input for the claim first, then one of each fault."""
    notes: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...]
    evaluations: int
    seconds: float
    seed: int
    saved: tuple[Path, ...] = ()

    @property
    def broken(self) -> tuple[Finding, ...]:
        """Faults, and the claim if it is broken; without a claim only faults count."""
        claimed = self.claim is not None
        return tuple(finding for finding in self.findings if finding.broken and (claimed or finding.kind != "claim"))

    @property
    def holds(self) -> bool:
        """Nothing was found against the rule."""
        return not self.broken

    def lines(self) -> list[str]:
        """The report as plain text."""
        shown = [f"rule {self.rule}: {'no break found' if self.holds else 'BROKEN'}"]
        if self.claim is None:
            shown.append("no claim is made; deviations are measured in largest honest distances from the mean")
        else:
            shown.append(f"claim: {self.claim.formula}" + (f" ({self.claim.source})" if self.claim.source else ""))
        peers, liars = sorted({n for n, _ in self.sizes}), sorted({b for _, b in self.sizes})
        shown.append(f"searched n in {_range(peers)}, b in {_range(liars)}; seed {self.seed}")
        shown.append(f"{self.evaluations} evaluations in {self.seconds:.1f} s")
        outside = [(n, b) for n, b in self.sizes if self.claim is not None and not self.claim.applies(n, b)]
        if outside:
            shown.append("outside the sizes of the claim: " + ", ".join(f"n = {n}, b = {b}" for n, b in outside[:4]))
        shown += [self._line(finding) for finding in self.findings]
        shown += [f"note: {note}" for note in self.notes]
        return shown + [f"saved: {path}" for path in self.saved]

    def _line(self, finding: Finding) -> str:
        if finding.kind == "claim" and self.claim is None:
            n, b, d = finding.instance.sizes
            return f"largest deviation found: {finding.ratio:.4g} honest radii, at n = {n}, b = {b}, d = {d}"
        return finding.line()

    def as_dict(self) -> dict[str, Any]:
        """For a program to read."""
        return {
            "rule": self.rule,
            "holds": self.holds,
            "claim": None if self.claim is None else self.claim.formula,
            "findings": [finding.as_dict() for finding in self.findings],
            "notes": list(self.notes),
            "sizes": [list(pair) for pair in self.sizes],
            "evaluations": self.evaluations,
            "seconds": self.seconds,
            "seed": self.seed,
            "saved": [str(path) for path in self.saved],
        }


def _range(numbers: list[int]) -> str:
    return f"{numbers[0]}" if len(numbers) == 1 else f"{numbers[0]}..{numbers[-1]}"


def find_rule(name: str) -> Rule:
    """The rule of that name: an entry point of ``btard.rules``, or ``module:name``. Raises ``UnknownName``."""
    rule = find_by_name(RULES, "rule", name)
    if not callable(rule):
        raise RuleError(f"'{name}' is a {type(rule).__name__}, not a rule: a function of vectors and n_byzantine")
    return rule  # type: ignore[no-any-return]  # its signature shows when it is called


def fuzz_rule(
    name_or_object: str | Rule,
    claim_expression: str | Claim | None = None,
    peers: int | None = None,
    byzantine: int | None = None,
    *,
    seconds: float | None = None,
    examples: int | None = None,
    seed: int = 0,
    out: Path | None = None,
) -> RuleReport:
    """Search for a break of a rule's claim, and save what breaks it into ``out``.

    ``claim_expression``: as :func:`~btard_adversary.claims.read_claim` reads it, or a claim; by default the rule's.
    ``peers``, ``byzantine``: the only n and b to try; sizes outside the claim's domain are tried if both are given,
    or if no other size has that b. Raises :class:`RuleError`, ``ClaimError`` and ``UnknownName``.
    """
    rule = find_rule(name_or_object) if isinstance(name_or_object, str) else name_or_object
    name = name_or_object if isinstance(name_or_object, str) else getattr(rule, "__name__", type(rule).__name__)
    claim = read_claim(claim_expression) if isinstance(claim_expression, str) else claim_expression or claim_of(rule)
    sizes = choose_sizes(claim or UNCLAIMED, peers, byzantine)
    search = run_search(rule, claim, sizes, examples=examples, seconds=seconds, seed=seed)
    formula, text = search.claim.formula, search.claim.text
    seen = tuple(replace(f, rule=name, claim=text, formula=formula, seed=seed) for f in findings(search))
    took = time.monotonic() - search.began
    report = RuleReport(name, claim, seen, tuple(search.notes.values()), tuple(sizes), search.evaluations, took, seed)
    if out is None:
        return report
    return replace(report, saved=tuple(save_finding(finding, out) for finding in report.broken))


def choose_sizes(claim: Claim, peers: int | None, byzantine: int | None) -> list[tuple[int, int]]:
    """The pairs (n, b) to search, given at most what the user fixed. Raises :class:`RuleError`."""
    if peers is not None and peers < 1:
        raise RuleError(f"a rule needs at least one peer, not {peers}")
    if byzantine is not None and byzantine < 0:
        raise RuleError(f"there cannot be {byzantine} Byzantine peers")
    if peers is not None and byzantine is not None:
        if byzantine >= peers:
            raise RuleError(f"with {byzantine} Byzantine of {peers} peers nobody is honest")
        return [(peers, byzantine)]
    if peers is not None:
        sizes = [(peers, b) for b in range(peers) if claim.applies(peers, b)]
        return sizes or [(peers, b) for b in range((peers + 1) // 2)]
    if byzantine is not None:
        least = max(3, 2 * byzantine + 1)
        sizes = [(n, byzantine) for n in range(least, least + 6) if claim.applies(n, byzantine)]
        return sizes or [(n, byzantine) for n in range(least, least + 4)]
    return usual_sizes(claim)
