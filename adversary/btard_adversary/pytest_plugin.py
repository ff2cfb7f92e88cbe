"""For the tests of people's own aggregation rules: the fixture ``fuzz_rule``.

Pytest loads this module in every project where the package is installed, so it imports nothing but pytest until
somebody asks for the fixture.

    def test_my_rule(fuzz_rule):
        fuzz_rule(my_rule, "4*(1+b/(n-2*b))**2", byzantine=2)
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from btard_adversary.rules import RuleReport


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
