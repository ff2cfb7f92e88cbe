"""Majority vote: counting against reading the bits and against CenteredClip, and bytes against profile BTARD.

Run as ``python -m tests.benchmarks.bench_profiles``; ``--bytes`` measures the bytes at d = 16,000,000 as well, in two
minutes and 8 GB. Times are medians of paired runs. What a method reads and writes, in passes over its input:

- counting: the bits once, padded (one copy); about five operations per word, in blocks that stay in the cache;
- the plain loop of CenteredClip: per iteration, of 20, the input three times, and a temporary of its size twice.
"""

from __future__ import annotations

import argparse
import statistics
from collections import Counter
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from btard.network.coalition import World
from btard.network.simulator import Simulation
from btard.protocol.arithmetic import Float32
from btard.protocol.identity import Identity
from btard.protocol.log import Genesis
from btard.protocol.majority_vote import Bits, majority, pack_signs
from btard.protocol.messages import GATHERED, SCATTERED, Envelope, Phase, Slot
from btard.protocol.model import BTARD, MAJORITY_VOTE, Configuration, PeerId
from btard.protocol.state import initial_replica
from btard.protocol.update import Schedule, Sgd, describe

from tests.benchmarks.bench_centered_clip import plain_loop, scenario, seconds

WORKERS, LENGTH, LARGE = 16, 1_000_000, 16_000_000
PAIRS = 7


def reading(votes: Bits) -> int:
    """Read every bit once."""
    return int(np.bitwise_xor.reduce(votes.view(np.uint64), axis=None))


def counting_against_the_loop() -> float:
    """The plain loop's time over ours, 16 votes on 1,000,000 coordinates."""
    vectors, radius = scenario(WORKERS, LENGTH, 1.0)
    votes = np.stack([pack_signs(vector, 0) for vector in vectors])
    majority(votes, LENGTH, 0)
    pairs = [
        (seconds(lambda: plain_loop(vectors, radius)), seconds(lambda: majority(votes, LENGTH, 0)))
        for _ in range(PAIRS)
    ]
    return statistics.median(loop / own for loop, own in pairs)


def counting_against_reading() -> float:
    """Our time over that of reading the bits, 16 votes on 16,000,000 coordinates."""
    drawn = [np.random.default_rng(k).integers(0, 256, (WORKERS, LARGE // 8), dtype=np.uint8) for k in range(8)]
    majority(drawn[0], LARGE, 0)
    pairs = []
    for k in range(3 * PAIRS):  # the next ones are no longer in any cache
        counted, read = drawn[k % 8], drawn[(k + 4) % 8]
        pairs.append((seconds(partial(majority, counted, LARGE, 0)), seconds(partial(reading, read))))
    return statistics.median(own / other for own, other in pairs)


# -- Bytes ------------------------------------------------------------------------------------------


class Noise:
    """Gradients that are cheap to make, whatever their length."""

    def __init__(self, dimension: int) -> None:
        self.dimension = dimension

    def gradient(self, parameters: Float32, seed: bytes) -> Float32:
        """Uniform noise, float32 ``[d]``."""
        return np.random.default_rng(list(seed)).random(self.dimension, dtype=np.float32) - np.float32(0.5)


@dataclass
class Counted(Simulation):
    """Counts the bytes of what is sent, and of parts alone, by phase."""

    whole: Counter[Phase] = field(default_factory=Counter)
    bodies: Counter[Phase] = field(default_factory=Counter)

    def deliver(
        self, envelope: Envelope | None, slot: Slot, sender: PeerId, copies: int, announced: bytes | None = None
    ) -> Envelope | None:
        """As before, counting."""
        if envelope is not None:
            self.whole[slot.phase] += copies * len(envelope.encode())
            self.bodies[slot.phase] += copies * len(envelope.body)
        return super().deliver(envelope, slot, sender, copies, announced)


def traffic(profile: str, dimension: int, detection: float = 0.99) -> tuple[int, int]:
    """Bytes of all messages of one training step of 16 peers, and those of the parts' contents."""
    size = float(dimension) ** 0.5
    config = Configuration(
        peers=WORKERS, tolerated=7, dimension=dimension, steps=1, gradient_clip=size, radius_initial=size,
        radius_min=size / 100, radius_max=size, profile=profile, detection=detection, task="noise",
        optimizer=describe(Sgd(Schedule(0.1, 1))),
    )  # fmt: skip
    identities = sorted((Identity(bytes([k]) * 32) for k in range(WORKERS)), key=lambda one: one.peer_id)
    roster, start = tuple(one.peer_id for one in identities), np.zeros(dimension, np.float32)
    genesis = Genesis(config, roster, initial_replica(config, start).state_hash)
    world = World(frozenset(), None)
    simulation = Counted(genesis, identities, start, Noise(dimension), world)
    step = next(simulation.run())
    assert step.state.step == 1 and not step.state.removals
    parts = sum(simulation.bodies[phase] for phase in (*SCATTERED, *GATHERED))
    return sum(simulation.whole.values()), parts


def run() -> list[tuple[str, float, str]]:
    """Rows (name, measured ratio, target) for ``make bench``."""
    where = "16 x 1,000,000"
    rows = [(f"majority vote, {where}: CenteredClip's plain loop / counting", counting_against_the_loop(), ">= 200")]
    where = "16 x 16,000,000"
    rows.append((f"majority vote, {where}: counting / reading the bits", counting_against_reading(), "<= 3"))
    whole, parts = zip(*(traffic(profile, 1_000_000) for profile in (BTARD, MAJORITY_VOTE)), strict=True)
    rows.append(("d = 1,000,000, n = 16: bytes of parts, BTARD / majority vote", parts[0] / parts[1], ">= 31"))
    rows.append(("d = 1,000,000, n = 16: all bytes, BTARD / majority vote", whole[0] / whole[1], "none"))
    return rows


def main() -> None:
    """Print the rows, with ``--bytes`` those of d = 16,000,000 too."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bytes", action="store_true")
    rows = run()
    if parser.parse_args().bytes:
        whole, parts = zip(*(traffic(profile, LARGE) for profile in (BTARD, MAJORITY_VOTE)), strict=True)
        rows.append(("d = 16,000,000, n = 16: bytes of parts, BTARD / majority vote", parts[0] / parts[1], ">= 31"))
        rows.append(("d = 16,000,000, n = 16: all bytes, BTARD / majority vote", whole[0] / whole[1], ">= 25"))
    for name, value, target in rows:
        print(f"{name}: {value:.2f} (target {target})")


if __name__ == "__main__":
    main()
