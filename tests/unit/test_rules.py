"""The search for broken claims of aggregation rules: what it must find, what it must leave alone, what it saves."""

from __future__ import annotations

import importlib
import json
import math
import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
from btard.protocol.arithmetic import Float64
from btard.training import registry
from btard.training.task import UnknownName
from btard_adversary import baselines
from btard_adversary import claims as known
from btard_adversary.claims import Claim, ClaimError, Expression, claim_of, claims, kappa, radius, read_claim
from btard_adversary.instances import BYZANTINE, HONEST, Instance, build
from btard_adversary.rules import (
    Rule,
    RuleError,
    choose_sizes,
    fuzz_rule,
    load_finding,
    replay_rule,
    save_finding,
    search_rule,
)
from plugin import PLUGIN, run_with_plugin

pytest_plugins = "pytester"

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
RULES = {name: target.split(":") for name, target in PROJECT["entry-points"]["btard.rules"].items()}
FEW = 300
"""Examples within which a planted mistake is found."""


def named(name: str) -> Rule:
    """One of the package's rules."""
    module, attribute = RULES[name]
    rule: Rule = getattr(importlib.import_module(module), attribute)
    return rule


# -- Rules with a planted mistake ---------------------------------------------------------------


def upper_median(vectors: Float64, n_byzantine: int) -> Float64:
    """One place too far up: with n = 2b + 1 or 2b + 2 Byzantine values reach it."""
    return np.array(np.sort(vectors, axis=0)[len(vectors) // 2 + 1])


def trims_too_little(vectors: Float64, n_byzantine: int) -> Float64:
    """Trims b − 1 values on either side."""
    return baselines.trimmed_mean(vectors, max(n_byzantine - 1, 0))


def krum_of_one(vectors: Float64, n_byzantine: int) -> Float64:
    """Looks at one neighbour only: two colluders beside each other win."""
    squares = np.sum((vectors[:, np.newaxis] - vectors) ** 2, axis=2)
    np.fill_diagonal(squares, np.inf)
    return np.array(vectors[int(np.argmin(squares.min(axis=1)))])


def first_row(vectors: Float64, n_byzantine: int) -> Float64:
    """Believes the first peer."""
    return np.array(vectors[0])


def mean_of_bounded(vectors: Float64, n_byzantine: int) -> Float64:
    """Cuts to norm 10, then takes the mean: harmless at everyday scale, wrong for long honest vectors."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray((vectors * np.minimum(1.0, 10.0 / np.maximum(norms, 1e-300))).mean(axis=0))


MISTAKES = [
    (baselines.mean, "radius:4", [(5, 1)]),
    (upper_median, known.COORDINATE_MEDIAN.text, [(5, 2), (6, 2), (7, 3)]),
    (trims_too_little, known.TRIMMED_MEAN.text, None),
    (krum_of_one, "kappa:6*(1+b/(n-2*b))", None),
    (first_row, "kappa:100*(1+b/(n-2*b))", None),
    (mean_of_bounded, "radius:20*h/(h-b)", None),
]


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("rule", "claim", "sizes"), MISTAKES, ids=[rule.__name__ for rule, _, _ in MISTAKES])
def test_planted_mistakes_are_found(rule: Rule, claim: str, sizes: list[tuple[int, int]] | None, seed: int) -> None:
    finding = search_rule(rule, read_claim(claim), sizes, examples=FEW, seed=seed)
    assert finding.kind == "claim" and finding.ratio > 1.5


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("more", "found"), [(-2, True), (0, False), (2, True)])
def test_krum_with_the_wrong_number_of_neighbours_is_found(more: int, found: bool, seed: int) -> None:
    """Two fewer leave liars among themselves, two more make it count the liars. One more or fewer, n − b − 1 or
    n − b − 3, keeps the claim at the sizes searched, so no test here demands that it be found."""

    def variant(vectors: Float64, n_byzantine: int) -> Float64:
        squares = np.sum((vectors[:, np.newaxis] - vectors) ** 2, axis=2)
        np.fill_diagonal(squares, -1.0)
        nearest = np.sort(squares, axis=1)[:, 1 : len(vectors) - n_byzantine - 1 + more]
        return np.array(vectors[int(np.argmin(nearest.sum(axis=1)))])

    assert search_rule(variant, claim_of(baselines.krum), examples=600, seed=seed).broken == found


@pytest.mark.parametrize("name", RULES)
def test_the_claims_of_our_own_rules_hold(name: str) -> None:
    report = fuzz_rule(named(name), examples=FEW, seed=4)
    assert report.holds, "\n".join(report.lines())


def test_one_liar_breaks_the_mean_and_the_report_says_so() -> None:
    report = fuzz_rule(baselines.mean, byzantine=1, examples=FEW)
    text = "\n".join(report.lines())
    assert not report.holds and "claim BROKEN" in text and "outside the sizes of the claim" in text
    assert report.findings[0].ratio > 1e5


def test_a_claim_that_is_too_strong_is_broken_and_a_rule_without_claim_is_only_measured() -> None:
    assert not fuzz_rule(baselines.coordinate_median, "radius:0.5", peers=7, byzantine=2, examples=FEW).holds

    def median(vectors: Float64, n_byzantine: int) -> Float64:
        return baselines.coordinate_median(vectors, n_byzantine)

    report = fuzz_rule(median, peers=7, byzantine=2, examples=FEW)
    assert report.holds and report.claim is None and "honest radii" in "\n".join(report.lines())
    assert report.findings[0].ratio > 0.95


SHARP = [(baselines.trimmed_mean, known.SHARP_TRIMMED_MEAN), (baselines.coordinate_median, known.SHARP_ODD_MEDIAN)]


@pytest.mark.parametrize(("rule", "claim"), SHARP, ids=["trimmed mean", "median"])
@pytest.mark.parametrize(("peers", "byzantine"), [(11, 5), (9, 3), (13, 2)])
def test_sharp_claims_are_reached_and_a_smaller_one_is_broken(
    rule: Rule, claim: Claim, peers: int, byzantine: int
) -> None:
    reached = search_rule(rule, claim, [(peers, byzantine)], examples=FEW).ratio
    assert 0.95 <= reached <= 1
    smaller = read_claim(f"kappa:0.8*({claim.text.removeprefix('kappa:')})")
    assert search_rule(rule, smaller, [(peers, byzantine)], examples=FEW).broken


def test_the_search_comes_close_to_the_bound_of_the_protocols_rule() -> None:
    """No family was made for centred clipping; drawing and climbing find where its bound is nearly reached."""
    assert search_rule(baselines.centered_clip, sizes=[(16, 7)], examples=500).ratio >= 0.95


def test_sharper_claims_are_below_those_of_the_literature() -> None:
    honest = np.random.default_rng(0).standard_normal((6, 2))
    pairs = [(known.SHARP_TRIMMED_MEAN, known.TRIMMED_MEAN), (known.SHARP_MEDIAN, known.COORDINATE_MEDIAN)]
    for sharp, usual in [*pairs, (known.SHARP_ODD_MEDIAN, known.SHARP_MEDIAN)]:
        for n in range(3, 30):
            for b in range(1, (n + 1) // 2):
                assert sharp.allowed(n, b, honest) < usual.allowed(n, b, honest)


def test_rules_are_found_by_the_names_of_their_entry_points(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [EntryPoint(name, ":".join(target), "btard.rules") for name, target in RULES.items()]
    monkeypatch.setattr(registry, "entry_points", lambda group: points if group == "btard.rules" else [])
    report = fuzz_rule("trimmed-mean", peers=5, byzantine=1, examples=20)
    assert report.holds and report.rule == "trimmed-mean"
    with pytest.raises(UnknownName, match=f"known are {', '.join(sorted(RULES))}, and any"):
        fuzz_rule("median")


def test_a_search_repeats() -> None:
    first, second = (search_rule(upper_median, known.COORDINATE_MEDIAN, [(5, 2)], examples=50, seed=3) for _ in "12")
    assert first.ratio == second.ratio and np.array_equal(first.instance.vectors, second.instance.vectors)


def test_a_search_by_the_clock_ends() -> None:
    report = fuzz_rule(baselines.coordinate_median, seconds=0.5)
    assert report.holds and 0.5 <= report.seconds < 5 and report.evaluations > 50


# -- Faults that need no claim ------------------------------------------------------------------


def raises(vectors: Float64, n_byzantine: int) -> Float64:
    raise ValueError("too many peers")


def wrong_shape(vectors: Float64, n_byzantine: int) -> Float64:
    return np.array(vectors[:1])


def wrong_type(vectors: Float64, n_byzantine: int) -> Float64:
    return np.asarray(vectors.mean(axis=0), dtype=np.float32)


def overflowing(vectors: Float64, n_byzantine: int) -> Float64:
    return np.asarray(vectors.mean(axis=0) / np.ptp(vectors, axis=0) * np.ptp(vectors, axis=0))


def writes(vectors: Float64, n_byzantine: int) -> Float64:
    vectors -= vectors.mean(axis=0)
    return np.asarray(vectors[0])


@pytest.mark.parametrize(
    ("rule", "kind"),
    [
        (raises, "raises"),
        (wrong_shape, "shape"),
        (wrong_type, "type"),
        (overflowing, "not finite"),
        (writes, "changes its input"),
    ],
)
def test_faults_are_reported_whatever_is_claimed(rule: Rule, kind: str, tmp_path: Path) -> None:
    report = fuzz_rule(rule, examples=100, out=tmp_path)
    assert not report.holds and kind in {finding.kind for finding in report.broken}
    saved = next(path for path in report.saved if load_finding(path).kind == kind)
    assert replay_rule(saved, rule).kind == kind


def test_a_rule_that_never_ends_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("btard_adversary.rules.PATIENCE", 0.2)

    def waits(vectors: Float64, n_byzantine: int) -> Float64:
        while np.ptp(vectors) > 1e3:
            pass
        return baselines.coordinate_median(vectors, n_byzantine)

    report = fuzz_rule(waits, known.COORDINATE_MEDIAN, examples=FEW)
    assert [finding.kind for finding in report.broken] == ["hangs"] and report.seconds < 5


def test_dependence_on_order_chance_or_non_numbers_is_noted_and_breaks_nothing() -> None:
    rng = np.random.default_rng(0)

    def unsteady(vectors: Float64, n_byzantine: int) -> Float64:
        return np.asarray(vectors.mean(axis=0) + 1e-3 * rng.random())

    text = "\n".join(fuzz_rule(first_row, "radius:1e9", examples=60).notes)
    assert "order of the rows" in text and "NaN" in text
    assert "twice" in "\n".join(fuzz_rule(unsteady, "radius:1e9", peers=4, byzantine=0, examples=60).notes)
    assert fuzz_rule(baselines.centered_clip, examples=60).notes == ()


# -- Findings on disk ---------------------------------------------------------------------------


def test_a_saved_finding_replays_exactly(tmp_path: Path) -> None:
    report = fuzz_rule(trims_too_little, known.TRIMMED_MEAN, examples=FEW, seed=5, out=tmp_path)
    (path,) = report.saved
    again = replay_rule(path, trims_too_little)
    assert again.ratio == report.findings[0].ratio > 1 and again.seed == 5
    shown = json.loads(path.read_text())
    assert shown["kind"] == "claim" and shown["claim"] == known.TRIMMED_MEAN.text and "how" in shown
    assert not replay_rule(path, baselines.trimmed_mean).broken


def test_a_finding_names_its_rule(tmp_path: Path) -> None:
    report = fuzz_rule("btard_adversary.baselines:mean", byzantine=1, examples=50, out=tmp_path)
    again = replay_rule(report.saved[0])
    assert again.broken and again.rule == "btard_adversary.baselines:mean"


def test_findings_are_rounded_to_be_read() -> None:
    finding = search_rule(trims_too_little, known.TRIMMED_MEAN, [(5, 1)], examples=FEW)
    assert "rounded" in finding.instance.how and len(json.dumps(finding.instance.honest.tolist())) < 200


@pytest.mark.parametrize("damage", ["{}", "no json", '{"vectors": "missing.npz"}'])
def test_a_damaged_finding_is_refused_by_name(damage: str, tmp_path: Path) -> None:
    path = save_finding(search_rule(first_row, radius("1"), [(3, 1)], examples=5), tmp_path)
    path.write_text(damage)
    with pytest.raises(RuleError, match="not a saved finding"):
        load_finding(path)


def test_a_report_is_a_dictionary_for_programs(tmp_path: Path) -> None:
    report = fuzz_rule(baselines.mean, byzantine=1, examples=20, out=tmp_path)
    shown = json.loads(json.dumps(report.as_dict(), allow_nan=False))
    assert shown["holds"] is False and shown["findings"][0]["kind"] == "claim"


# -- Claims -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("4*(1+b/(n-2*b))**2", 36.0),
        ("h", 3.0),
        ("-(-2)", 2.0),
        ("1e3", 1000.0),
        ("b/(n-5)", math.inf),
        ("-1", math.inf),
    ],
)
def test_expressions_are_arithmetic(text: str, value: float) -> None:
    assert Expression(text)(5, 2) == value


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", "n if b else h", "n.real", "abs(n)", "n[0]", "'a'", "True", "1j", "n < b", "n @ b", "n; b"),
        *("lambda: n", "__import__('os')", "9" * 201, "(" * 150 + "n", "n or b", "~n", "n // 2", "f'{n}'"),
    ],
)
def test_everything_else_is_refused(text: str) -> None:
    with pytest.raises(ClaimError):
        read_claim(text)


def test_towers_of_powers_are_infinite_and_quick() -> None:
    assert Expression("9**9**9**9")(5, 2) == math.inf
    assert Expression("(0-n)**0.5")(5, 2) == math.inf


def test_the_form_stands_before_the_expression() -> None:
    honest = np.array([[-1.0], [1.0], [0.0]])
    assert read_claim("radius:2").allowed(3, 0, honest) == 2.0
    assert read_claim("diameter: 2").allowed(3, 0, honest) == 4.0
    assert read_claim("6").allowed(3, 0, honest) == pytest.approx(2.0)
    with pytest.raises(ClaimError, match="known are"):
        read_claim("volume:2")


def test_mixing_carries_a_kappa_over_and_nothing_else() -> None:
    assert known.mixed(kappa("2")).allowed(4, 1, np.array([[-1.0], [1.0], [0.0]])) == pytest.approx(
        math.sqrt(8 / 3 * 3 * 2 / 3)
    )
    with pytest.raises(ClaimError):
        known.mixed(radius("2"))


def test_a_rule_carries_its_claim() -> None:
    claim = radius("3")

    @claims(claim)
    def rule(vectors: Float64, n_byzantine: int) -> Float64:
        return np.array(vectors[0])

    assert claim_of(rule) is claim and claim_of(first_row) is None
    assert all(claim_of(named(name)) is not None for name in RULES)


def test_a_claim_without_bound_at_a_size_cannot_break_there() -> None:
    assert fuzz_rule(baselines.mean, "b/(n-2*b)", peers=4, byzantine=2, examples=50).holds


# -- Sizes and names ----------------------------------------------------------------------------


def test_sizes_follow_what_is_fixed_and_the_domain_of_the_claim() -> None:
    krum = claim_of(baselines.krum)
    assert krum is not None
    assert choose_sizes(krum, 7, None) == [(7, 0), (7, 1), (7, 2)]
    assert choose_sizes(krum, 7, 3) == [(7, 3)]
    assert choose_sizes(krum, None, 2)[0] == (7, 2)
    assert all(n >= 2 * b + 3 for n, b in choose_sizes(krum, None, None))


@pytest.mark.parametrize(("peers", "byzantine"), [(0, None), (None, -1), (3, 3)])
def test_impossible_sizes_are_refused(peers: int | None, byzantine: int | None) -> None:
    with pytest.raises(RuleError):
        fuzz_rule(baselines.mean, peers=peers, byzantine=byzantine)


def test_what_is_no_rule_is_refused() -> None:
    with pytest.raises(RuleError, match="not a rule"):
        fuzz_rule("math:pi")


@pytest.mark.parametrize("honest", HONEST)
@pytest.mark.parametrize("byzantine", BYZANTINE)
def test_instances_are_finite_and_know_who_is_who(honest: str, byzantine: str) -> None:
    instance = build((7, 3, 2), (honest, byzantine), seed=1, shape=(100.0, 0.5), scale=1e6, offset=100.0)
    assert np.isfinite(instance.vectors).all() and instance.sizes == (7, 3, 2)
    plain = Instance(instance.honest, instance.byzantine, np.argsort(instance.order), "")
    assert sorted(map(tuple, plain.vectors.tolist())) == sorted(map(tuple, instance.vectors.tolist()))


# -- The pytest plugin --------------------------------------------------------------------------


def test_the_fixture_fails_with_the_report_and_saves_the_input(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        def my_mean(vectors, n_byzantine):
            return vectors.mean(axis=0)

        def test_mine(fuzz_rule):
            fuzz_rule(my_mean, "radius:4", byzantine=1)

        def test_median(fuzz_rule):
            assert fuzz_rule("btard_adversary.baselines:coordinate_median").holds
        """
    )
    result = run_with_plugin(pytester)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*claim BROKEN*", "saved: *my_mean-claim.json"])


def test_the_plugin_loads_nothing_heavy() -> None:
    script = (
        "import sys, pytest, btard_adversary.pytest_plugin;"
        "sys.exit(any(name in sys.modules for name in ('numpy', 'hypothesis', 'btard', 'torch')))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
    assert PROJECT["entry-points"]["pytest11"] == {"btard": PLUGIN}
