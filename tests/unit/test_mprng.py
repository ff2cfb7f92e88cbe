"""MPRNG: nobody chose it, nobody can copy it, and what is drawn from it is uniform and stable under removals."""

from __future__ import annotations

import hashlib
import math
from functools import reduce
from itertools import permutations

import numpy as np
import pytest
from btard.protocol.mprng import (
    DIRECTION_DEVIATION,
    combine,
    commitment,
    direction,
    directions,
    draw_targets,
    draw_validators,
    gradient_seed,
    initial_randomness,
    private_opening,
)
from hypothesis import given
from hypothesis import strategies as st

RUN = b"r" * 32
ERROR = 1e-9
"""Probability that one statistical test of this file fails although the draw is uniform."""


def sha256_tagged(tag: str, data: bytes) -> bytes:
    """The tagged hash, written again."""
    key = hashlib.sha256(tag.encode()).digest()
    return hashlib.sha256(key + key + data).digest()


def shake_tagged(tag: str, data: bytes, length: int) -> bytes:
    """The tagged XOF, written again."""
    key = hashlib.sha256(tag.encode()).digest()
    return hashlib.shake_128(key + key + data).digest(length)


def peers(count: int) -> tuple[bytes, ...]:
    """Ids, sorted."""
    return tuple(index.to_bytes(32, "big") for index in range(count))


def draws(label: str, count: int) -> list[bytes]:
    """Independent values in the place of r."""
    return [hashlib.sha256(f"{label}/{index}".encode()).digest() for index in range(count)]


def chi_square_limit(cells: int, error: float = ERROR) -> float:
    """A value that chi-square with ``cells`` − 1 degrees of freedom exceeds with probability below ``error``.

    P(X ≥ k + 2√(kx) + 2x) ≤ e^(−x) (Laurent and Massart 2000, lemma 1).
    """
    freedom, x = cells - 1, math.log(1 / error)
    return freedom + 2 * math.sqrt(freedom * x) + 2 * x


def chi_square(counts: list[int]) -> float:
    """Against the uniform distribution."""
    expected = sum(counts) / len(counts)
    return sum((count - expected) ** 2 / expected for count in counts)


# -- Commit and reveal --------------------------------------------------------------------------------


@pytest.mark.requirement("MPRNG-1")
def test_an_opening_is_a_function_of_secret_run_step_and_attempt() -> None:
    secret = b"s" * 32
    opening = private_opening(secret, RUN, 5, 2)
    place = (5).to_bytes(8, "big") + (2).to_bytes(8, "big")
    assert opening == shake_tagged("btard/mprng/opening", secret + RUN + place, 64)
    others = [
        private_opening(b"t" * 32, RUN, 5, 2),
        private_opening(secret, b"q" * 32, 5, 2),
        private_opening(secret, RUN, 6, 2),
        private_opening(secret, RUN, 5, 3),
        private_opening(secret, RUN, 2, 5),
    ]
    assert len({opening, *others}) == 6
    assert len({value[:32] for value in (opening, *others)}) == 6


@pytest.mark.requirement("MPRNG-2")
def test_a_commitment_is_bound_to_run_step_attempt_peer_and_opening() -> None:
    opening, peer = bytes(64), b"p" * 32
    made = commitment(RUN, 5, 2, peer, opening)
    place = (5).to_bytes(8, "big") + (2).to_bytes(8, "big")
    assert made == sha256_tagged("btard/mprng/commit", RUN + place + peer + opening)
    assert made not in {
        commitment(b"q" * 32, 5, 2, peer, opening),
        commitment(RUN, 6, 2, peer, opening),
        commitment(RUN, 5, 3, peer, opening),
        commitment(RUN, 2, 5, peer, opening),
        commitment(RUN, 5, 2, b"o" * 32, opening),
        commitment(RUN, 5, 2, peer, bytes(63) + b"\1"),  # the salt is bound as well
        commitment(RUN, 5, 2, peer, b"\1" + bytes(63)),
    }


@pytest.mark.requirement("MPRNG-4")
@given(st.lists(st.binary(min_size=64, max_size=64), max_size=6))
def test_the_output_is_the_hash_of_the_xor_of_all_shares(openings: list[bytes]) -> None:
    xor = reduce(lambda a, b: bytes(x ^ y for x, y in zip(a, b, strict=True)), (o[:32] for o in openings), bytes(32))
    assert combine(openings) == sha256_tagged("btard/mprng/output", xor)
    assert combine(reversed(openings)) == combine(openings)


@pytest.mark.requirement("MPRNG-4")
def test_one_share_that_nobody_knew_makes_the_output_uniform() -> None:
    fixed = [bytes([7]) * 64, bytes([9]) * 64]
    counts = [0] * 256
    for value in draws("share", 20_000):
        counts[combine([*fixed, value + bytes(32)])[0]] += 1
    assert chi_square(counts) < chi_square_limit(256)


@pytest.mark.requirement("MPRNG-5")
def test_the_first_randomness_depends_on_run_and_roster() -> None:
    assert initial_randomness(RUN, peers(3)) == sha256_tagged("btard/mprng/initial", RUN + b"".join(peers(3)))
    assert initial_randomness(RUN, peers(3)) != initial_randomness(RUN, peers(4))
    assert initial_randomness(RUN, peers(3)) != initial_randomness(b"q" * 32, peers(3))


# -- What is drawn ------------------------------------------------------------------------------------


@pytest.mark.requirement("MPRNG-6")
def test_a_gradient_seed_depends_on_run_randomness_step_and_peer_only() -> None:
    randomness, peer = b"x" * 32, b"p" * 32
    seed = gradient_seed(RUN, randomness, 5, peer)
    assert seed == sha256_tagged("btard/seed", RUN + randomness + (5).to_bytes(8, "big") + peer)
    assert seed not in {
        gradient_seed(b"q" * 32, randomness, 5, peer),
        gradient_seed(RUN, b"y" * 32, 5, peer),
        gradient_seed(RUN, randomness, 6, peer),
        gradient_seed(RUN, randomness, 5, b"o" * 32),
    }


@pytest.mark.requirement("MPRNG-7")
def test_validators_are_the_lowest_lots() -> None:
    for randomness in draws("lots", 20):
        lots = {p: sha256_tagged("btard/validator", randomness + (9).to_bytes(8, "big") + p) for p in peers(7)}
        expected = sorted(lots, key=lambda peer: lots[peer])
        for count in range(8):
            assert draw_validators(randomness, 9, peers(7), count) == tuple(expected[:count])


@pytest.mark.requirement("MPRNG-7")
def test_the_first_two_steps_have_no_validators() -> None:
    assert draw_validators(RUN, 0, peers(5), 2) == draw_validators(RUN, 1, peers(5), 2) == ()
    assert len(draw_validators(RUN, 2, peers(5), 2)) == 2


@pytest.mark.requirement("MPRNG-7")
@given(st.binary(min_size=32, max_size=32), st.integers(0, 8), st.integers(1, 5))
def test_a_removal_does_not_reshuffle_those_who_stay(randomness: bytes, gone: int, count: int) -> None:
    roster = peers(9)
    before = draw_validators(randomness, 4, roster, count)
    after = draw_validators(randomness, 4, tuple(p for p in roster if p != roster[gone]), count)
    kept = [peer for peer in before if peer != roster[gone]]
    assert list(after[: len(kept)]) == kept
    assert len(set(after) - set(before)) == (1 if roster[gone] in before else 0)


@pytest.mark.requirement("MPRNG-7")
def test_steps_draw_apart() -> None:
    same = sum(draw_validators(r, 4, peers(8), 1) == draw_validators(r, 5, peers(8), 1) for r in draws("steps", 4000))
    # mean 500, standard deviation 21
    assert abs(same - 500) < 21 * 7


@pytest.mark.requirement("MPRNG-7")
def test_every_set_of_validators_in_every_order_is_equally_likely() -> None:
    cells = {pair: 0 for pair in permutations(peers(5), 2)}
    for randomness in draws("validators", 20_000):
        cells[draw_validators(randomness, 6, peers(5), 2)] += 1  # type: ignore[index]
    assert chi_square(list(cells.values())) < chi_square_limit(len(cells))


@pytest.mark.requirement("MPRNG-8")
def test_every_assignment_of_targets_is_equally_likely_and_apart_from_the_validators() -> None:
    roster = peers(6)
    validators = roster[:2]
    cells = {pair: 0 for pair in permutations(roster[2:], 2)}
    for randomness in draws("targets", 20_000):
        targets = draw_targets(randomness, 6, validators, roster)
        cells[tuple(targets[validator] for validator in validators)] += 1  # type: ignore[index]
    assert chi_square(list(cells.values())) < chi_square_limit(len(cells))
    # drawn with one r: who is first validator says nothing about who is first target
    joint = {pair: 0 for pair in permutations(roster, 2)}
    for randomness in draws("joint", 30_000):
        (validator,) = draw_validators(randomness, 6, roster, 1)
        joint[validator, draw_targets(randomness, 6, (validator,), roster)[validator]] += 1
    assert chi_square(list(joint.values())) < chi_square_limit(len(joint))


@pytest.mark.requirement("MPRNG-8")
@given(st.binary(min_size=32, max_size=32), st.integers(0, 4), st.sets(st.integers(0, 8)))
def test_targets_are_distinct_active_and_never_validators(randomness: bytes, count: int, pool: set[int]) -> None:
    roster = peers(9)
    validators = draw_validators(randomness, 3, roster, count)
    audited = [roster[index] for index in sorted(pool)]
    targets = draw_targets(randomness, 3, validators, audited)
    available = set(audited) - set(validators)
    assert len(targets) == min(len(validators), len(available))
    assert len(set(targets.values())) == len(targets)
    assert set(targets.values()) <= available
    assert list(targets) == list(validators[: len(targets)])
    lots = {p: sha256_tagged("btard/target", randomness + (3).to_bytes(8, "big") + p) for p in available}
    assert list(targets.values()) == sorted(lots, key=lambda peer: lots[peer])[: len(targets)]


@pytest.mark.requirement("MPRNG-9")
def test_directions_are_little_endian_int16_from_the_xof() -> None:
    data = shake_tagged("btard/direction", RUN + (3).to_bytes(8, "big"), 10)
    expected = [int.from_bytes(data[2 * k : 2 * k + 2], "little", signed=True) for k in range(5)]
    assert direction(RUN, 3, 5).tolist() == expected
    assert direction(RUN, 3, 9)[:5].tolist() == expected
    assert direction(RUN, 2, 5).tolist() != expected
    assert direction(b"q" * 32, 3, 5).tolist() != expected


@pytest.mark.requirement("MPRNG-9")
def test_directions_are_uniform_on_the_int16_range() -> None:
    values = direction(RUN, 0, 1 << 18).astype(np.int64)
    cells = np.bincount((values + 2**15) >> 8, minlength=256).tolist()
    assert chi_square(cells) < chi_square_limit(256)
    low = np.bincount(values & 255, minlength=256).tolist()
    assert chi_square(low) < chi_square_limit(256)
    assert abs(values.std() / DIRECTION_DEVIATION - 1) < 0.01
    assert DIRECTION_DEVIATION == pytest.approx(18918.6, abs=0.1)


@pytest.mark.requirement("MPRNG-9")
def test_the_table_of_directions_is_padded_with_zeros() -> None:
    table, norms = directions(RUN, (3, 5, 4))
    assert table.shape == (3, 5)
    for part, length in enumerate((3, 5, 4)):
        assert table[part, :length].tolist() == direction(RUN, part, length).tolist()
        assert not table[part, length:].any()
        exact = math.sqrt(sum(int(z) ** 2 for z in direction(RUN, part, length)))
        assert norms[part] == pytest.approx(exact, rel=1e-15)
