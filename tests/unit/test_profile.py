"""Chapter ``profile``: what the profiles ask of a configuration, whose seed is whose, and who is accused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from btard.network.coalition import Seating
from btard.protocol.arithmetic import Float32, Float64
from btard.protocol.bans import Fault
from btard.protocol.encoding import tree_hash
from btard.protocol.identity import Identity
from btard.protocol.messages import Phase, Slot, body_hash, content_hash, seal
from btard.protocol.model import PROFILES, ConfigurationError
from btard.protocol.mprng import gradient_seed, group_seed
from btard.protocol.profile import Groups
from btard.protocol.state import Conduct, State
from btard.protocol.verification import KNOWN, Transcript
from profiles import applied, true_gradient
from swarms import Swarm, configuration

A, B, C, D = (bytes([k]) * 32 for k in range(4))


@pytest.mark.requirement("PROF-1")
@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"profile": "another"}, "there is no profile 'another'"),
        ({"profile": "majority-vote", "tolerance": 0.01}, "eta = 0 in all profiles but btard"),
        ({"profile": "redundant-code", "tolerance": 0.01}, "eta = 0 in all profiles but btard"),
        ({"profile": "btard", "liars": 1}, "s = 0, r_c = 1, r = 0 in all profiles but redundant-code"),
        ({"profile": "majority-vote", "compression": 2}, "s = 0, r_c = 1, r = 0 in all profiles but redundant-code"),
        ({"profile": "btard", "group_size": 3}, "s = 0, r_c = 1, r = 0 in all profiles but redundant-code"),
        ({"profile": "redundant-code", "compression": 0}, "s >= 0, r_c >= 1"),
        ({"profile": "majority-vote", "detection": 1.0}, "0 < detection < 1"),
        ({"profile": "majority-vote", "detection": 0.0}, "0 < detection < 1"),
    ],
)
def test_a_configuration_that_its_profile_cannot_use_is_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        configuration(**changes)


def test_every_profile_is_known_by_its_name() -> None:
    assert tuple(KNOWN) == PROFILES and all(profile.name == name for name, profile in KNOWN.items())


@pytest.mark.requirement("PROF-2", "MPRNG-10")
def test_members_of_a_group_share_a_seed_and_others_have_their_own() -> None:
    groups, run, drawn = Groups(((A, C), (B,)), 1, 1), bytes(32), b"r" * 32
    seeds = [groups.seed(run, drawn, 5, peer) for peer in (A, B, C, D)]
    assert seeds[0] == seeds[2] == group_seed(run, drawn, 5, 0) and seeds[1] == group_seed(run, drawn, 5, 1)
    assert seeds[3] == gradient_seed(run, drawn, 5, D) and len(set(seeds)) == 3
    assert len({group_seed(run, drawn, t, g) for t in range(3) for g in range(3)}) == 9
    assert len({group_seed(run, drawn, 5, 0) for run in (A, B) for drawn in (A, B)}) == 4


@pytest.mark.requirement("MSG-6")
@pytest.mark.parametrize("phase", Phase)
def test_packed_signs_have_a_tree_hash_and_everything_else_a_body_hash(phase: Phase) -> None:
    body = bytes(300)
    expected = tree_hash(body) if phase in (Phase.BALLOT, Phase.TALLY) else body_hash(body)
    envelope = seal(Identity(bytes(32)), bytes(32), Slot(1, 0, phase), bytes(32), body)
    assert content_hash(phase, body) == envelope.signed_header.body_hash == expected
    assert envelope.signed_header.authentic


class Suspicious(Conduct):
    """Honest, but in step 1 its parts fit nobody's, while its reports are true: only its aggregators can tell."""

    def __init__(self, seating: Seating) -> None:
        self.honest: Float32 | None = None

    def gradient(self, state: State, honest: Float32) -> Float32:
        self.honest = honest
        return honest * np.float32(3) if state.step == 1 else honest

    def report(self, state: State, transcript: Transcript, honest: Float64) -> Float64:
        assert self.honest is not None
        return KNOWN[transcript.profile].numbers(transcript, self.honest)


@pytest.mark.requirement("PROF-3")
def test_who_only_seemed_to_lie_is_accused_once_a_recomputation_has_shown_it() -> None:
    """The liar is located while the part is decoded, and accused in the next Commit."""
    config = configuration(peers=9, tolerated=2, profile="redundant-code", liars=2, steps=5)
    run = Swarm(config, {4: Suspicious}).run()
    assert run.faults == [(4, Fault.WRONG_HASH)]
    assert (run.removals[0].slot.step, run.removals[0].slot.phase) == (2, Phase.COMMIT)
    for past in applied(run):
        truth = np.mean([true_gradient(run, past, group[0]) for group in past.groups.members], axis=0)
        assert past.aggregate is not None and np.linalg.norm(past.aggregate - truth) <= 1e-5 * np.linalg.norm(truth)


class Worse(Suspicious):
    """The same with another lie."""

    def gradient(self, state: State, honest: Float32) -> Float32:
        self.honest = honest
        return honest * np.float32(-5) if state.step == 1 else honest


@pytest.mark.requirement("PROF-3", "CODE-14")
def test_more_liars_than_located_are_convicted_and_the_honest_member_that_seemed_to_lie_is_not() -> None:
    """Two of a group of three tell different lies, and one liar can be located: no two rows agree, and every
    aggregator computes the group's gradient itself."""
    met = 0
    for seed in (0, 12, 15):
        config = configuration(peers=9, tolerated=2, profile="redundant-code", liars=1, steps=4)
        run = Swarm(config, {4: Suspicious, 5: Worse}, seed).run()
        past = applied(run)[1]
        groups = [past.groups.place[run.roster[k]][0] for k in (4, 5) if run.roster[k] in past.workers]
        met += len(groups) == 2 and groups[0] == groups[1]
        assert {who for who, _ in run.faults} <= {4, 5} and len(run.faults) == 2
        truth = np.mean([true_gradient(run, past, group[0]) for group in past.groups.members], axis=0)
        assert past.aggregate is not None and np.linalg.norm(past.aggregate - truth) <= 1e-5 * np.linalg.norm(truth)
    assert met == 2
