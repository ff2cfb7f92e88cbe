"""Every attack of the package ends as it says, and costs the honest peers no more than the specification says."""

from __future__ import annotations

import random
import subprocess
import sys

import pytest
from attack_runs import CHAPTER, MOST, attacked, breaches, table_of_the_chapter
from btard.protocol.model import MAJORITY_VOTE, REDUNDANT_CODE
from btard.training.registry import find_by_name, find_task
from btard.training.trainer import RunError, Settings, attack_names, train

VERDICTS = {name: verdict for name, _, verdict in attack_names()}
NAMES = list(VERDICTS)
SEEN = {
    "a-little-is-enough", "clip-push", "constant-direction", "coordinate-extremes", "covered-aggregate",
    "delayed-gradient", "dodged-trial", "hidden-coordinate", "inner-product-manipulation", "inner-quantile",
    "krum-decoy", "label-flip", "leave-before-audit", "many-keys", "mimic", "min-max", "random-noise", "sign-flip",
    "vote-flip", "within-tolerance",
}  # fmt: skip
"""Attacks that only an audit or probation finds: it may take some steps. The others show at once."""

BRIEF = {
    "sign flip": ("sign-flip",),
    "label flip": ("label-flip",),
    "constant direction": ("constant-direction",),
    "delayed gradients": ("delayed-gradient",),
    "random noise": ("random-noise",),
    "inner-product manipulation": ("inner-product-manipulation",),
    "a little is enough": ("a-little-is-enough",),
    "mimic": ("mimic",),
    "wrong hash": ("wrong-hash",),
    "withheld part": ("withheld-part", "withheld-parts"),
    "partial send": ("partial-send",),
    "equivocation": ("equivocation", "split-equivocation", "late-equivocation"),
    "wrong MPRNG opening": ("wrong-opening",),
    "missing MPRNG opening": ("missing-opening", "late-opening"),
    "copied commitment": ("copied-commitment",),
    "shifted aggregate": ("shifted-aggregate",),
    "shifted aggregate, covered up": ("covered-aggregate",),
    "misreported s": ("misreported-product",),
    "misreported norm": ("misreported-norm",),
    "false accusation": ("false-accuser", "false-content-accusation", "false-evidence"),
    "elimination of honest peers": ("false-complaint", "withheld-aggregate"),
    "replay from another step": ("replay",),
    "replay from another attempt": ("replayed-attempt",),
    "replay from another run": ("replayed-run",),
    "malformed bytes": ("malformed",),
    "oversized bytes": ("oversized",),
    "non-canonical bytes": ("non-canonical",),
    "joining with many keys": ("many-keys",),
}
"""The attacks that every comparison runs, with ours."""

MIXTURES = [
    "sign-flip,withheld-echo,equivocation",
    "false-complaint,withheld-part,split-equivocation",
    "missing-opening,covered-aggregate,false-echo",
    "many-keys,leave-before-audit,flood",
    *(",".join(random.Random(seed).sample(NAMES, MOST)) for seed in range(4)),
]


def steps_for(name: str) -> int:
    """Few steps where a verdict comes at once."""
    return 32 if name in SEEN else 5


@pytest.mark.requirement("PROP-1", "PROP-2", "PROP-3", "PROP-4")
@pytest.mark.parametrize("byzantine", [1, MOST])
@pytest.mark.parametrize("name", NAMES)
def test_every_attack_ends_as_stated(name: str, byzantine: int) -> None:
    assert breaches(attacked(name, byzantine, 0, steps_for(name))) == []


@pytest.mark.requirement("VER-2")
@pytest.mark.parametrize("byzantine", [1, 7])
def test_who_covers_up_reports_no_more_than_is_possible(byzantine: int) -> None:
    """One colluder among many cannot make up for its own shift; what it says must still look like a report."""
    assert breaches(attacked("covered-aggregate", byzantine, 1, 12, peers=16)) == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("byzantine", [1, MOST])
@pytest.mark.parametrize("name", NAMES)
def test_every_attack_ends_as_stated_in_longer_runs(name: str, byzantine: int, seed: int) -> None:
    assert breaches(attacked(name, byzantine, seed, 60)) == []


@pytest.mark.requirement("PROP-1", "PROP-2", "PROP-3", "PROP-4")
@pytest.mark.parametrize("attacks", MIXTURES)
def test_different_attacks_at_once_end_as_stated(attacks: str) -> None:
    summary = attacked(attacks, MOST, 1, 32)
    assert {verdict["expected"] for verdict in summary["verdicts"]} == {VERDICTS[name] for name in attacks.split(",")}
    assert breaches(summary) == []


@pytest.mark.requirement("PROP-10")
@pytest.mark.parametrize("name", ["forged-sender", "withheld-echo-from-one"])
def test_what_is_ignored_changes_the_traffic_and_nothing_else(name: str) -> None:
    undisturbed, disturbed = attacked(None, 1, 0, 5), attacked(name, 1, 0, 5)
    assert disturbed["parameter_hash"] == undisturbed["parameter_hash"]
    assert disturbed["log_head"] == undisturbed["log_head"]
    assert disturbed["bytes_sent_per_peer_per_step"] != undisturbed["bytes_sent_per_peer_per_step"]


def test_every_attack_of_the_literature_and_on_the_protocol_is_there() -> None:
    assert {name for names in BRIEF.values() for name in names} <= set(NAMES)
    strengths = {name: find_by_name("btard.attacks", "attack", name).default_scale for name in BRIEF["sign flip"]}
    assert strengths == {"sign-flip": 1000.0}


def test_the_chapters_table_names_every_attack_with_its_verdict() -> None:
    """``python -m tests.benchmarks.attack_table --check`` compares the measured columns."""
    cells = {name: row.split("|") for name, row in table_of_the_chapter().items()}
    assert {name: row[2].strip() for name, row in cells.items()} == VERDICTS
    assert {row[3].strip() for row in cells.values()} == {"3 of 3 / 3 of 3"}


@pytest.mark.slow
def test_drawn_lines_of_the_table_are_measured_again_alike() -> None:
    command = [sys.executable, "-m", "tests.benchmarks.attack_table", "--check", "--jobs", "1"]
    done = subprocess.run(command, cwd=CHAPTER.parents[1], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr


ON_LINKS = [name for name in NAMES if find_by_name("btard.attacks", "attack", name).on_links]


@pytest.mark.parametrize("name", ON_LINKS)
def test_an_attack_on_links_needs_links(name: str) -> None:
    settings = Settings(task="quadratic", peers=4, byzantine=1, attack=name, channel="ideal", logs="none")
    with pytest.raises(RunError, match="which the ideal channel does not have"):
        train(settings, find_task("quadratic", device="cpu"), None, lambda event: None)


@pytest.mark.requirement("PROP-2", "PROP-6")
@pytest.mark.parametrize("profile", [MAJORITY_VOTE, REDUNDANT_CODE])
@pytest.mark.parametrize("name", [name for name in NAMES if name not in ON_LINKS])
def test_every_attack_ends_as_stated_in_the_other_profiles(name: str, profile: str) -> None:
    summary = attacked(name, MOST, 0, steps_for(name), "ideal", profile=profile)
    assert breaches(summary) == []


@pytest.mark.slow
@pytest.mark.parametrize("profile", [MAJORITY_VOTE, REDUNDANT_CODE])
@pytest.mark.parametrize("name", NAMES)
def test_every_attack_ends_as_stated_in_the_other_profiles_over_the_network(name: str, profile: str) -> None:
    assert breaches(attacked(name, MOST, 1, 40, profile=profile)) == []


@pytest.mark.parametrize("name", [name for name in NAMES if name not in (*ON_LINKS, *SEEN)])
def test_the_ideal_channel_shows_the_same_verdict(name: str) -> None:
    assert breaches(attacked(name, MOST, 0, steps_for(name), channel="ideal")) == []
