"""Chapter ``majority_vote``: signs, counting, spot checks, and what a wrong chunk costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from functools import partial
from itertools import pairwise
from math import comb
from typing import Any

import numpy as np
import pytest
from btard.conformance.audit import audit
from btard.protocol.arithmetic import Float32
from btard.protocol.bans import Departure, Fault
from btard.protocol.encoding import chunk_count, chunk_length, tree_hash
from btard.protocol.majority_vote import (
    MajorityVote,
    chosen_chunks,
    majority,
    null_signs,
    pack_signs,
    packed_length,
    read_chunks,
    show_chunks,
    unpack_signs,
)
from btard.protocol.membership import admissible
from btard.protocol.messages import Message, Phase, Report, Slot
from btard.protocol.model import CHUNK_BYTES, ConfigurationError, checked_chunks, shown_bytes
from btard.protocol.state import Attempt, Conduct, State
from hypothesis import given
from hypothesis import strategies as st
from profiles import applied, true_gradient
from swarms import Swarm, configuration

VOTE = MajorityVote()
EDGES = [1, 2, 7, 8, 9, 63, 64, 65, 1023, 1024, 1025, 5000]


def counted_one_by_one(votes: Sequence[Float32], step: int) -> Float32:
    """The majority as chapter ``majority_vote`` says it in words."""
    plus = np.sum([pack(vote, step) > 0 for vote in votes], axis=0)
    minus = len(votes) - plus
    null = np.where((np.arange(len(votes[0])) + step) % 2 == 0, 1, -1)
    return np.where(plus > minus, 1, np.where(plus < minus, -1, null)).astype(np.float32)


def pack(vote: Float32, step: int) -> Float32:
    """The signs of one vote, as +1 and −1."""
    null = np.where((np.arange(len(vote)) + step) % 2 == 0, 1.0, -1.0)
    return np.where(vote > 0, 1.0, np.where(vote < 0, -1.0, null)).astype(np.float32)


# -- Signs ----------------------------------------------------------------------------------------


@pytest.mark.requirement("SIGN-1", "SIGN-2")
@pytest.mark.parametrize("length", EDGES)
@pytest.mark.parametrize("step", [0, 1, 6, 7])
def test_packed_signs_are_those_of_the_entries_and_zeros_alternate(length: int, step: int) -> None:
    vector = np.random.default_rng(length).choice(np.array([-1.5, -0.0, 0.0, 2e-45, 3.0], np.float32), length)
    packed = pack_signs(vector, step)
    assert packed.dtype == np.uint8 and len(packed) == packed_length(length) == -(-length // 8)
    assert np.array_equal(unpack_signs(packed, length), pack(vector, step))
    if length % 8:
        assert packed[-1] >> length % 8 == 0
    assert np.array_equal(pack_signs(np.zeros(length, np.float32), step), null_signs(length, step))


@pytest.mark.requirement("SIGN-2")
def test_null_signs_cancel_from_one_step_to_the_next() -> None:
    for length in EDGES:
        both = unpack_signs(null_signs(length, 3), length) + unpack_signs(null_signs(length, 4), length)
        assert not both.any()


@pytest.mark.requirement("SIGN-3")
@given(st.integers(1, 40), st.sampled_from(EDGES), st.integers(0, 5), st.integers(0, 2**32))
def test_the_majority_is_what_counting_one_by_one_gives(workers: int, length: int, step: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    votes = [rng.choice(np.array([-1, -1, 0, 1], np.float32), length) for _ in range(workers)]
    packed = np.stack([pack_signs(vote, step) for vote in votes])
    assert np.array_equal(unpack_signs(majority(packed, length, step), length), counted_one_by_one(votes, step))


@pytest.mark.requirement("SIGN-3")
@pytest.mark.parametrize("workers", [2, 4, 15, 16, 31, 32])
def test_the_majority_changes_at_half_the_workers(workers: int) -> None:
    for plus in range(workers + 1):
        rows = [np.full(9, 1 if index < plus else -1, np.float32) for index in range(workers)]
        packed = np.stack([pack_signs(row, 1) for row in rows])
        signs = unpack_signs(majority(packed, 9, 1), 9)
        expected = 1 if 2 * plus > workers else -1 if 2 * plus < workers else None
        null = pack(np.zeros(9, np.float32), 1)
        assert np.array_equal(signs, null if expected is None else np.full(9, expected))


@pytest.mark.requirement("SIGN-7")
def test_what_is_no_ballot_counts_as_clear_bits_and_bits_beyond_the_part_do_not_count() -> None:
    cut: Any = type("Cut", (), {"bounds": (slice(0, 11),)})()
    good, long, beyond = b"\xff\x07", b"\xff\x07\x00", b"\xff\xff"
    votes, possible = VOTE.read_parts(cut, 0, [good, long, b"", beyond], 1.0)
    assert possible == [True, False, False, False]
    assert [row.tobytes() for row in votes] == [good, b"\0\0", b"\0\0", good]


@pytest.mark.requirement("SIGN-8")
@pytest.mark.parametrize("content", [b"", b"\xff", b"\xff\x07\x00", b"\xff\x08", b"\xff\xff"])
def test_another_length_or_bits_beyond_the_part_are_no_aggregate(content: bytes) -> None:
    assert VOTE.read_aggregate(content, 11) is None


@pytest.mark.requirement("SIGN-8")
def test_an_aggregate_reads_back_as_plus_and_minus_one() -> None:
    vector = np.array([1, -1, -1, 1, 1, 1, -1, -1, 1, -1, 1], np.float32)
    read = VOTE.read_aggregate(VOTE.content(vector), 11)
    assert read is not None and np.array_equal(read, vector)


# -- Spot checks ----------------------------------------------------------------------------------


@pytest.mark.requirement("SIGN-4")
@pytest.mark.parametrize("detection, count", [(0.5, 1), (0.51, 2), (0.75, 2), (0.9, 4), (0.99, 7), (1 - 2**-20, 20)])
def test_the_number_of_chunks_follows_from_the_probability(detection: float, count: int) -> None:
    assert checked_chunks(detection) == count
    assert Fraction(1, 2**count) <= 1 - Fraction(detection) < Fraction(1, 2 ** (count - 1))


@pytest.mark.requirement("SIGN-5")
def test_chosen_chunks_are_different_ascending_and_uniform() -> None:
    found: Counter[int] = Counter()
    for index in range(2000):
        chosen = chosen_chunks(index.to_bytes(32, "big"), 3, 20 * 1024, 7)
        assert len(chosen) == 7 and chosen == sorted(set(chosen)) and 0 <= chosen[0] <= chosen[-1] < 20
        found.update(chosen)
    assert all(abs(count - 700) < 6 * (2000 * 0.35 * 0.65) ** 0.5 for count in found.values())  # error 4e-8
    assert chosen_chunks(bytes(32), 0, 7 * 1024, 7) == list(range(7))
    assert chosen_chunks(bytes(32), 0, 1, 7) == [0]


@pytest.mark.requirement("SIGN-5")
def test_chosen_chunks_depend_on_randomness_and_part() -> None:
    draws = {tuple(chosen_chunks(bytes([k]) * 32, part, 10**6, 7)) for k in range(4) for part in range(4)}
    assert len(draws) == 16


@pytest.mark.requirement("SIGN-6")
@pytest.mark.parametrize("length", [1, 127, 128, 129, 1000, 128 * 9])
def test_shown_chunks_are_read_if_and_only_if_they_belong_to_the_hash(length: int) -> None:
    body = np.random.default_rng(length).bytes(length)
    indices = list(range(0, chunk_count(length), 2))
    shown, root = show_chunks(body, indices), tree_hash(body)
    expected = b"".join(body[k * CHUNK_BYTES : k * CHUNK_BYTES + chunk_length(length, k)] for k in indices)
    assert read_chunks(shown, root, length, indices) == expected
    for place in range(0, len(shown), 7):
        flipped = shown[:place] + bytes([shown[place] ^ 1]) + shown[place + 1 :]
        assert read_chunks(flipped, root, length, indices) is None
    assert read_chunks(shown[:-1], root, length, indices) is None
    assert read_chunks(shown + b"\0", root, length, indices) is None
    assert read_chunks(shown, bytes(32), length, indices) is None
    assert read_chunks(shown, root, length + 1, indices) is None


@pytest.mark.requirement("SIGN-9")
def test_a_configuration_whose_reports_would_be_too_long_is_refused() -> None:
    assert 17 * shown_bytes(16_000_000, 0.99) < 1 << 17
    config = configuration(peers=60, tolerated=2, dimension=16_000_000, profile="majority-vote")
    assert admissible(config, 100, 2) and not admissible(config, 300, 2)
    with pytest.raises(ConfigurationError, match="SIGN-9"):
        configuration(peers=400, tolerated=10, dimension=1 << 30, profile="majority-vote")


@pytest.mark.requirement("PROP-11")
@pytest.mark.parametrize("chunks, checked", [(8, 1), (8, 3), (977, 7), (20, 19)])
def test_a_forger_gets_most_applied_by_forging_one_chunk_at_a_time(chunks: int, checked: int) -> None:
    """f·Q/(1 − Q), with Q the chance that no forged chunk is shown: exactly C/k − 1 for f = 1, less for more."""

    def applied(forged: int) -> Fraction:
        missed = Fraction(comb(chunks - forged, checked), comb(chunks, checked))
        return forged * missed / (1 - missed)

    gains = [applied(forged) for forged in range(1, chunks + 1)]
    assert gains[0] == Fraction(chunks, checked) - 1
    assert all(later <= earlier for earlier, later in pairwise(gains))


# -- In a run -------------------------------------------------------------------------------------

BIG = 3 * 6 * 1024
"""So many parameters that six workers' parts have three chunks each."""


def voted(conducts: dict[int, Conduct], steps: int = 4, seed: int = 0, **changes: Any) -> Swarm:
    """A run of seven peers, of which two may be faulty."""
    settings = {"peers": 7, "tolerated": 2, "dimension": BIG, "steps": steps, "profile": "majority-vote", **changes}
    return Swarm(configuration(**settings), {k: partial(seated, c) for k, c in conducts.items()}, seed).run()


def seated(conduct: Conduct, seating: Any) -> Conduct:
    """``conduct``, wherever it sits."""
    return conduct


def test_the_applied_aggregate_is_the_majority_of_the_true_signs() -> None:
    run = voted({}, steps=10)
    assert len({sign for past in applied(run) for sign in np.asarray(past.aggregate)}) == 2
    for past in applied(run):
        votes = [true_gradient(run, past, worker) for worker in past.workers]
        for bound in past.bounds:
            expected = counted_one_by_one([vote[bound] for vote in votes], past.step)
            assert past.aggregate is not None and np.array_equal(past.aggregate[bound], expected)


class Flips(Conduct):
    """Turns the first ``chunks`` chunks of its aggregate in step 1."""

    def __init__(self, chunks: int) -> None:
        self.chunks = chunks

    def aggregate(self, state: State, attempt: Attempt, inputs: Any, honest: Float32) -> Float32:
        if state.step != 1:
            return honest
        forged = honest.copy()
        forged[: 1024 * self.chunks] *= -1
        return forged


@pytest.mark.requirement("SIGN-10")
@pytest.mark.parametrize("peer", [0, 3])
def test_a_false_chunk_convicts_at_once_and_is_not_applied(peer: int) -> None:
    run = voted({peer: Flips(1)})
    removal = run.state.removals[0]
    assert (removal.peer, removal.how, removal.fault) == (run.roster[peer], Departure.CONVICTED, Fault.WRONG_AGGREGATE)
    assert (removal.slot.step, removal.slot.phase) == (1, Phase.REPORT) and len(run.state.removals) == 1
    assert not any(record.verdicts for record in run.log_records)
    assert all(past.step < 1 for past in applied(run) if run.roster[peer] in past.workers)


@pytest.mark.requirement("SIGN-10")
def test_with_fewer_chunks_shown_than_there_are_a_false_one_may_pass() -> None:
    """Detection 0.5 shows one chunk of three: over seeds, a forger of one is found in about a third of the runs."""
    found = [bool(voted({3: Flips(1)}, steps=2, detection=0.5, seed=seed).state.removals) for seed in range(30)]
    assert 2 <= sum(found) <= 20  # each with probability 1/3: outside with probability below 4e-4


class Says(Conduct):
    """Reports something else in step 1."""

    def __init__(self, change: Any) -> None:
        self.change = change

    def say(self, state: State, slot: Slot, honest: Message) -> Message:
        mine = isinstance(honest, Report) and not honest.empty and slot.step == 1
        return self.change(honest) if mine else honest  # type: ignore[no-any-return]


@pytest.mark.requirement("SIGN-6")
@pytest.mark.parametrize(
    "change",
    [
        lambda report: Report(),
        lambda report: Report(bytes(8), bytes(8), report.chunks),
        lambda report: Report(chunks=report.chunks[:-1]),
        lambda report: Report(chunks=(*report.chunks, b"")),
        lambda report: Report(chunks=(report.chunks[0][:-1] + b"\0", *report.chunks[1:])),
        lambda report: Report(chunks=(b"", *report.chunks[1:])),
    ],
)
def test_what_does_not_show_the_announced_chunks_is_an_impossible_report(change: Any) -> None:
    run = voted({3: Says(change)})
    assert [(r.peer, r.fault) for r in run.state.removals] == [(run.roster[3], Fault.IMPOSSIBLE_REPORT)]


def test_a_validator_convicts_who_votes_against_its_gradient() -> None:
    class Turns(Conduct):
        def gradient(self, state: State, honest: Float32) -> Float32:
            return -honest

    run = voted({2: Turns(), 4: Turns()}, steps=60, dimension=64)
    assert {(r.peer, r.fault) for r in run.state.removals} == {(run.roster[k], Fault.WRONG_HASH) for k in (2, 4)}


@pytest.mark.requirement("PROP-9")
def test_a_log_of_votes_can_be_audited_with_and_without_recomputation() -> None:
    run = voted({3: Flips(1), 5: Says(lambda report: Report())}, steps=5)
    bare, full = audit(run.log), audit(run.log, run.recomputation())
    assert bare.removals == full.removals == run.state.removals and len(bare.removals) == 2
    assert run.state.replica is not None and full.state_hash == run.state.replica.state_hash
