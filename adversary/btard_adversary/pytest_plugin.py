"""For people's own tests: the fixtures ``fuzz_rule``, ``fuzz_attack`` and ``fuzz_variant``.

Pytest loads this module in every project where the package is installed, so it imports nothing but pytest until
somebody asks for the fixture.

    def test_my_rule(fuzz_rule):
        fuzz_rule(my_rule, "4*(1+b/(n-2*b))**2", byzantine=2)


    def test_my_change_of_the_protocol(fuzz_variant):
        fuzz_variant(Variant("mine", ".mprng:combine", my_combine), examples=200)
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from btard_adversary.fuzz import AttackReport, Campaign
    from btard_adversary.rules import RuleReport
    from btard_adversary.variants import Variant


@pytest.fixture
def fuzz_rule(tmp_path: Path) -> Callable[..., RuleReport]:
    """A function that searches for a break of a rule's claim and fails the test with the report if it finds one.

    It takes what :func:`btard_adversary.rules.fuzz_rule` takes. Inputs that break the claim are saved under
    ``tmp_path``; the failure names the files. Defaults: 500 examples, seed 0, so a test repeats exactly.
    """
    from btard_adversary.rules import fuzz_rule as search

    def fuzz(rule: Any, claim: Any = None, **options: Any) -> RuleReport:
        __tracebackhide__ = True
        if options.get("seconds") is None:
            options.setdefault("examples", 500)
        report = search(rule, claim, **{"out": tmp_path / "findings", **options})
        if not report.holds:
            pytest.fail("\n".join(report.lines()), pytrace=False)
        return report

    return fuzz


@pytest.fixture
def fuzz_attack(tmp_path: Path) -> Callable[..., AttackReport]:
    """A function that plays a named attack, or ``module:name``, in many swarms and fails the test if a property breaks.

    Returns the report: how the attackers ended, and how far they moved the model in units of the bound. Defaults:
    40 swarms, seed 0.
    """
    from btard_adversary.fuzz import search_attack

    def fuzz(attack: str, examples: int = 40, seed: int = 0, seconds: float = 600.0) -> AttackReport:
        __tracebackhide__ = True
        report = search_attack(attack, seconds, seed, examples)
        if report.violation is not None:
            pytest.fail("\n".join(report.lines()), pytrace=False)
        return report

    return fuzz


@pytest.fixture
def fuzz_variant(tmp_path: Path) -> Callable[..., Campaign]:
    """A function that looks for a script that breaks a property of a variant of the protocol, and fails the test with
    the shortest one. Takes a :class:`~btard_adversary.variants.Variant`, its name, or ``""`` for the reference.
    Defaults: 100 swarms, seed 0; the script is saved under ``tmp_path``.
    """
    from btard_adversary.fuzz import campaign, save

    def fuzz(variant: Variant | str, examples: int = 100, seed: int = 0, seconds: float = 600.0) -> Campaign:
        __tracebackhide__ = True
        done = campaign(variant, seconds, seed, examples)
        if done.found is not None:
            saved = save(done.found, tmp_path, "variant")
            pytest.fail("\n".join([*done.lines(), f"saved: {saved}"]), pytrace=False)
        return done

    return fuzz
