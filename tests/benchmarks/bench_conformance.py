"""How fast conformance is checked: logs, vectors, live runs.

python -m tests.benchmarks.bench_conformance
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from functools import partial

from btard.conformance.audit import audit
from btard.conformance.conform import PASSED, Settings, vector_results
from btard.conformance.examples import Example
from btard.conformance.live import play
from btard.conformance.subject import Subject
from btard.network.coalition import World
from btard.network.simulator import Simulation
from btard.protocol.encoding import decode_sequence
from btard.protocol.identity import verify
from btard.protocol.log import MAX_RECORD, Record

REFERENCE = f"{sys.executable} -m btard.conformance.reference_peer"
ROUNDS = 5
PEERS, TOLERATED, STEPS, DIMENSION = 16, 7, 100, 1000
LIVE_STEPS = 1000


def recorded_log() -> bytes:
    """The log of a run of 16 peers and 100 steps of an analytic task, as one peer writes it."""
    example = Example(peers=PEERS, tolerated=TOLERATED, validators=4, steps=STEPS, dimension=DIMENSION)
    records: list[bytes] = [example.genesis.encode()]
    writer = example.identities[0].peer_id
    simulation = Simulation(
        example.genesis,
        example.identities,
        example.task.initial_parameters(),
        example.task,
        World(frozenset(), None),
        record=lambda peer, record: records.append(record.encode()) if peer == writer else None,
    )
    for _ in simulation.run():
        pass
    return b"".join(records)


def signatures(log: bytes) -> set[tuple[bytes, bytes, bytes]]:
    """Everything signed in a log, each once."""
    records = (Record.decode(item) for _, item in list(decode_sequence(log, MAX_RECORD))[1:])
    headers = (entry.signed_header for record in records for entry in record.entries if entry is not None)
    return {(header.sender, header.digest, header.signature) for header in headers}


def verify_all(signed: set[tuple[bytes, bytes, bytes]]) -> None:
    """One verification per signature."""
    assert all(verify(*one) for one in signed)


def seconds(work: Callable[[], object]) -> float:
    """How long ``work`` takes with nothing remembered."""
    verify.cache_clear()
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def ratio(works: dict[str, Callable[[], object]], base: str) -> dict[str, float]:
    """The least times of several rounds in turn, relative to those of ``base``."""
    least = {name: min(times) for name, times in measured(works).items()}
    return {name: least[name] / least[base] for name in works}


def measured(works: dict[str, Callable[[], object]]) -> dict[str, list[float]]:
    """The times of several rounds in turn."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(ROUNDS):
        for name, work in works.items():
            times[name].append(seconds(work))
    return times


def run() -> Iterator[tuple[str, float, str]]:
    """Name, number, target."""
    log = recorded_log()
    signed = signatures(log)
    works = {
        "signatures": partial(verify_all, signed),
        "audit": partial(audit, log),
    }
    ratios = ratio(works, "signatures")
    about = f"audit of {STEPS} steps of {PEERS} peers ({len(signed):,} signatures) / its signature checks alone"
    yield about, ratios["audit"], "<= 1.5"
    yield "check of all vectors with the reference, over lines, in seconds", seconds(check_vectors), "< 60"
    yield f"live run of {LIVE_STEPS:,} steps of 4 peers, in seconds", seconds(play_live), "< 60"


def check_vectors() -> None:
    """Ask the reference for every vector, as another implementation is asked."""
    results = list(vector_results(Settings(REFERENCE), lambda what, done, of: None))
    assert all(result.verdict == PASSED for result in results)


def play_live() -> None:
    """A long run without attack."""
    with Subject(REFERENCE, 60.0) as subject:
        played = play(Example(steps=LIVE_STEPS), subject)
    assert not played.found and played.steps == LIVE_STEPS + 2


if __name__ == "__main__":
    for name, number, target in run():
        print(f"{number:10.3f}  target {target:8}  {name}", flush=True)
