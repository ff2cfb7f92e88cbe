"""A verdict: which ends of an attacker count as the expected one."""

from __future__ import annotations

import sys

import pytest
from btard.protocol.bans import Departure, Fault, Removal
from btard.protocol.messages import Phase, Slot
from btard.training.trainer import attack_names
from btard_adversary.attacks.base import ABSENT, ELIMINATED, TOLERATED, Verdict, convicted

from tests.attack_runs import table_of_the_chapter
from tests.benchmarks import attack_table


def removed(how: Departure, fault: Fault) -> Removal:
    """A departure at step 1."""
    return Removal(bytes(32), how, fault, Slot(1, 0, Phase.COMMIT, 0))


SILENT = removed(Departure.ABSENT, Fault.SILENT)
PAIR = removed(Departure.ELIMINATED, Fault.WITHHELD)
MALFORMED = removed(Departure.CONVICTED, Fault.MALFORMED)
LIAR = removed(Departure.CONVICTED, Fault.WRONG_HASH)
LEFT = removed(Departure.LEFT, Fault.LEAVING)
REFUSED = removed(Departure.REFUSED, Fault.WRONG_HASH)
EITHER = Verdict("absent, or eliminated in a pair", (*ABSENT, *ELIMINATED.ends))
LEAVER = Verdict("left, then refused", ((Departure.LEFT, Fault.LEAVING), (Departure.REFUSED, Fault.WRONG_HASH)))
STAYS_OR_ABSENT = Verdict("keeps its seat, or absent", ABSENT, may_stay=True)

CASES = [
    (TOLERATED, [], True),
    (TOLERATED, [SILENT], False),
    (convicted(Fault.MALFORMED), [MALFORMED], True),
    (convicted(Fault.MALFORMED), [], False),
    (convicted(Fault.MALFORMED), [LIAR], False),
    (convicted(Fault.MALFORMED), [SILENT], False),
    (convicted(Fault.MALFORMED, Fault.WRONG_HASH), [LIAR], True),
    (convicted(Fault.MALFORMED), [MALFORMED, PAIR], False),
    (convicted(Fault.WRONG_HASH), [REFUSED], False),
    (EITHER, [SILENT], True),
    (EITHER, [PAIR], True),
    (EITHER, [PAIR, SILENT], True),
    (EITHER, [PAIR, MALFORMED], False),
    (EITHER, [], False),
    (LEAVER, [LEFT, REFUSED], True),
    (LEAVER, [LEFT, PAIR], False),
    (STAYS_OR_ABSENT, [], True),
    (STAYS_OR_ABSENT, [SILENT], True),
    (STAYS_OR_ABSENT, [MALFORMED], False),
]


@pytest.mark.parametrize(("verdict", "removals", "shown"), CASES)
def test_a_verdict_is_shown_by_expected_departures_and_no_others(
    verdict: Verdict, removals: list[Removal], shown: bool
) -> None:
    assert verdict.shown(removals) is shown
    assert verdict.shown(iter(removals)) is shown


def test_a_conviction_names_its_faults() -> None:
    both = convicted(Fault.WRONG_AGGREGATE, Fault.WRONG_REPORT)
    assert both.text == "convicted: wrong aggregate or wrong report"
    assert both.ends == (
        (Departure.CONVICTED, Fault.WRONG_AGGREGATE), (Departure.CONVICTED, Fault.WRONG_REPORT),
    )  # fmt: skip


def test_the_table_can_be_checked_for_one_attack_only(monkeypatch: pytest.MonkeyPatch) -> None:
    stated = table_of_the_chapter()
    monkeypatch.setattr(attack_table, "lines", lambda names, jobs: ({name: stated[name] for name in names}, []))
    monkeypatch.setattr(sys, "argv", ["attack_table", "--check", "--only", "sign-flip"])
    if [name for name, _, _ in attack_names()] == list(stated):
        assert attack_table.main() == 0
    monkeypatch.setattr(attack_table, "table_of_the_chapter", lambda: {"sign-flip": stated["sign-flip"]})
    assert attack_table.main() == 1
