"""Agreed broadcast: delays and bytes of a phase, signature checks per second, and how a simulated step grows.

Run with ``python -m tests.benchmarks.bench_broadcast [phases|signatures|growth]``.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np
from btard.protocol import broadcast as module
from btard.protocol.broadcast import encode_frame
from btard.protocol.identity import Identity, verify

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from broadcasts import CHAIN, DELAY, MESSAGE, Broadcast, Move, check, play
from networks import simulation

Row = tuple[str, float, str]
SIZES, LARGER = (4, 16, 64), (4, 16, 64, 128)
EVERYONE = (1 << 64) - 1


@contextmanager
def verify_once() -> Iterator[None]:
    """Simulated peers share one process: each signature is checked once."""
    original, module.verify = module.verify, lru_cache(maxsize=1 << 20)(verify)  # type: ignore[assignment]
    try:
        yield
    finally:
        module.verify = original


def phase(peers: int, faulty: int, moves: Iterable[Move] = ()) -> Broadcast:
    """A phase in which every frame takes Δ; it is checked that it went as it must."""
    broadcast = Broadcast(peers, (peers - 2) // 2, faulty, [(0.0, 0.0)] * (peers - faulty))
    with verify_once():
        check(play(broadcast, moves))
    return broadcast


def chains(peers: int) -> list[Move]:
    """All b faulty peers sign two echoes each, and show them to one peer in the last moment of round after round."""
    faulty, made = (peers - 2) // 2, []
    for author in range(faulty):
        made.append(Move(MESSAGE, author, EVERYONE, -2, 0.0, 0, (), 0))
        for version in (1, None):  # neither is what honest peers echo, so no certificate ends it
            made.append(Move(CHAIN, author, 1, author, 0.0, 0, (version,) * faulty, author))
    return made


def delays(broadcast: Broadcast) -> float:
    """Message delays from the last start to the last delivery."""
    return (max(member.at or 0.0 for member in broadcast.members) - broadcast.members[0].begins) / DELAY


def bytes_sent(broadcast: Broadcast) -> float:
    """Bytes per honest peer; what goes to everyone goes to n − 1."""
    copies = ((len(broadcast.roster) - 1 if to is None else 1, frame) for _, _, to, frame in broadcast.sent)
    size = lru_cache(maxsize=None)(lambda frame: len(encode_frame(frame)))
    return sum(count * size(frame) for count, frame in copies) / len(broadcast.members)


def phases() -> list[Row]:
    """Delays and bytes of one agreed phase."""
    rows: list[Row] = []
    for peers in SIZES:
        b = (peers - 2) // 2
        cases = {"nobody faulty": phase(peers, 0), "one peer crashed": phase(peers, 1)}
        cases[f"{b} of {peers} release chains in every round"] = phase(peers, b, chains(peers))
        for case, broadcast in cases.items():
            worst = broadcast.members[0].latest - broadcast.members[0].begins
            target = "2" if case == "nobody faulty" else f"<= {worst:.0f}"
            rows.append(
                (
                    f"message delays of an agreed phase, n = {peers}, {case}",
                    delays(broadcast),
                    target,
                )
            )
            rows.append((f"kB per peer of an agreed phase, n = {peers}, {case}", bytes_sent(broadcast) / 1e3, "-"))
    if any(value != 2 for name, value, target in rows if target == "2"):
        raise SystemExit("the fast path of an agreed phase does not take two message delays")
    return rows


def signatures() -> list[Row]:
    """Signature checks per second on one core."""
    identity = Identity(bytes(32))
    digests = [number.to_bytes(32, "big") for number in range(2000)]
    signed = [(identity.peer_id, digest, identity.sign(digest)) for digest in digests]
    began = time.perf_counter()
    if not all(verify(*one) for one in signed):
        raise SystemExit("a good signature was refused")
    return [("signature checks per second, one core", len(signed) / (time.perf_counter() - began), "-")]


def step_seconds(peers: int) -> float:
    """Wall time of a simulated step on the network, the faster of two."""
    moments = [time.perf_counter()]
    for _ in simulation(peers, (peers - 2) // 2, 2).run():
        moments.append(time.perf_counter())
    return min(after - before for before, after in list(pairwise(moments))[:2])


def growth() -> list[Row]:
    """Simulated steps by size, and the least-squares fit c1·n + c2·n² + c3·n³ of their relative error."""
    seconds = np.array([step_seconds(peers) for peers in LARGER])
    sizes = np.array(LARGER, dtype=np.float64)
    terms = np.stack([sizes, sizes**2, sizes**3], axis=1)
    fit = nonnegative_fit(terms / seconds[:, None], np.ones(len(sizes)))
    shares = terms[-1] * fit / (terms[-1] @ fit)
    rows: list[Row] = [
        (f"seconds of a simulated step, n = {n}", float(s), "-") for n, s in zip(LARGER, seconds, strict=True)
    ]
    rows += [(f"fit: microseconds × n^{power}", 1e6 * c, "-") for power, c in enumerate(fit, start=1)]
    power = int(np.argmax(shares)) + 1
    rows.append((f"share of the largest term, n^{power}, at n = {LARGER[-1]}", float(shares[power - 1]), "-"))
    rows.append(("largest relative error of the fit", float(np.max(np.abs(terms @ fit / seconds - 1))), "-"))
    return rows


def nonnegative_fit(matrix: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Least squares with coefficients ≥ 0: the best over all choices of columns."""
    best, error = np.zeros(matrix.shape[1]), np.inf
    for chosen in range(1, 1 << matrix.shape[1]):
        columns = [k for k in range(matrix.shape[1]) if chosen >> k & 1]
        found = np.linalg.lstsq(matrix[:, columns], target, rcond=None)[0]
        residual = float(np.sum((matrix[:, columns] @ found - target) ** 2))
        if np.all(found >= 0) and residual < error:
            best, error = np.zeros(matrix.shape[1]), residual
            best[columns] = found
    return best


PARTS = {"phases": phases, "signatures": signatures, "growth": growth}


def run(which: tuple[str, ...] = tuple(PARTS)) -> list[Row]:
    """All rows asked for: name, value, target."""
    return [row for name in which for row in PARTS[name]()]


if __name__ == "__main__":
    for name, value, target in run(tuple(sys.argv[1:]) or tuple(PARTS)):
        print(f"{value:10.3f}  target {target:8}  {name}", flush=True)
