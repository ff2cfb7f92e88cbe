"""Hostile bytes for everything that reads bytes: real frames, messages and records of a run, mutated, and noise.

    python -m tests.fuzzing --inputs 1000000

prints how often each entry point answered with each named error, the inputs per second, and the worst ratio of
memory to input. Anything but a named error, or more memory than the bound, ends it with a traceback and the input.
"""

from __future__ import annotations

import argparse
import random
import resource
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

from btard.conformance.audit import heads
from btard.network.links import FaultyLinks
from btard.network.virtual import NetworkSimulation
from btard.protocol.broadcast import Frame, Relay, decode_frame, encode_frame
from btard.protocol.encoding import (
    INITIAL_BYTES,
    DecodeError,
    NotEncodable,
    decode,
    decode_sequence,
    encode,
    tagged_hash,
)
from btard.protocol.log import Genesis, Record
from btard.protocol.messages import ECHO, Envelope, Phase, Slot, decode_body
from btard.protocol.model import PeerId, ProtocolError
from btard.protocol.state import Conduct

from tests.swarms import TinyTask as Task
from tests.swarms import World, configuration, genesis, identities

LIMIT = 1 << 20
SHORT_LIMIT = 2000
BYTES_PER_INPUT_BYTE = 256
"""Most memory that reading may take for every byte of input: an empty array is one byte, and 56 in CPython."""
FIXED_BYTES = 64 * 1024
"""Most memory that reading may take beyond that."""
MEASURED = 16
"""Memory is measured for one in so many batches, since that is slow."""
BATCH = 500

SLOTS = [Slot(1, 0, phase, part) for phase in Phase if phase.agreed for part in (0, ECHO)]
READERS: dict[str, Callable[[bytes], Any]] = {
    "item": lambda data: decode(data, SHORT_LIMIT),
    "sequence": lambda data: list(decode_sequence(data, LIMIT)),
    "envelope": lambda data: Envelope.decode(data, LIMIT),
    "frame": lambda data: decode_frame(data, LIMIT),
    "genesis": Genesis.decode,
    "record": Record.decode,
    "log": lambda data: list(heads(data)),
}
BODIES: dict[str, Callable[[bytes], Any]] = {
    f"body of {slot.phase.name.lower()}, part {slot.part}": partial(decode_body, slot) for slot in SLOTS
}
"""Of these, each input goes to one."""


class Unnamed(AssertionError):
    """An input that raised something else than a named error, or took too much memory."""


# -- Corpus -----------------------------------------------------------------------------------


class Partial(Conduct):
    """Withholds every other frame from one half of the peers, so that the others need the fallback."""

    def post(self, recipient: PeerId, honest: Frame) -> tuple[Frame | bytes, ...]:
        """Nothing to peers whose id is even, in odd steps."""
        step = honest.echo.slot.step if isinstance(honest, Relay) else honest.slot.step
        return () if step % 2 and not recipient[-1] % 2 else (honest,)


@cache
def corpus() -> tuple[bytes, ...]:
    """Distinct frames, messages and records of a small run with duplicates, delays and a peer that withholds."""
    config = configuration(peers=5, tolerated=1, steps=3, dimension=24)
    made, peers, task = genesis(config), identities(5, 0), Task(24)
    byzantine = peers[0].peer_id
    seen: dict[tuple[type, Any], list[bytes]] = {}

    def watch(now: float, sender: PeerId, receiver: PeerId, frame: Frame, size: int) -> None:
        place = frame.echo.slot if isinstance(frame, Relay) else frame.slot
        seen.setdefault((type(frame), place[2:]), []).append(encode_frame(frame))

    simulation = NetworkSimulation(
        made, peers, task.initial_parameters(), task, World(frozenset({byzantine}), None), {byzantine: Partial()},
        watch=watch,
    )  # fmt: skip
    simulation.connect(FaultyLinks(0.05, 1.0, jitter=0.9, duplication=0.2))
    records: list[bytes] = []
    simulation.record = lambda peer, record: records.append(record.encode()) if peer == peers[1].peer_id else None
    for _ in simulation.run():
        pass
    frames = [data for group in seen.values() for data in dict.fromkeys(group[:12])]
    inner = [decode(data, LIMIT) for data in frames]
    envelopes = [Envelope.from_item(item[1]) for item in inner if isinstance(item, list) and item[0] == 0]
    messages = [envelope.encode() for envelope in envelopes] + [envelope.body for envelope in envelopes]
    log = made.encode() + b"".join(records)
    return tuple(dict.fromkeys([*frames, *messages, *records, made.encode(), log[:20_000], b"\x80", b"\xa0"]))


# -- Mutations --------------------------------------------------------------------------------

LENGTHS = [0, 1, 23, 24, 32, 64, 255, 256, 1024, 1025, 65535, 65536, 2**31, 2**32 - 1, 2**32, 2**63, 2**64 - 1]
SCRAPS = [bytes.fromhex(h) for h in ("1800", "190001", "d81c", "c249", "5f", "9f", "bf", "ff", "f97e00", "fb", "20")]
SCRAPS += [b"\x81" * 20, b"\xa1\x61a" * 20, b"\x80" * 2000, b"\xa0" * 2000, b"\x00" * 2000, bytes.fromhex("61ff")]
SCRAPS += [bytes.fromhex("a2616100616100"), b"\x58\x20" + bytes(32), b"\x58\x40" + bytes(64), b"\xf4\xf5\xf6"]


def head(major: int, value: int, size: int) -> bytes:
    """An initial byte with its argument in ``size`` bytes, minimal or not."""
    if size == 0:
        return bytes([major << 5 | value % 24])
    return bytes([major << 5 | 24 + (size.bit_length() - 1)]) + (value % 256**size).to_bytes(size, "big")


def any_head(rng: random.Random) -> bytes:
    """A head of any type that claims any length."""
    return head(rng.randrange(8), rng.choice(LENGTHS), rng.choice((0, 1, 2, 4, 8)))


def mutate(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """One change: a bit, a byte, a head, a scrap, a cut, a repetition, a splice, two places swapped."""
    at, to = sorted((rng.randrange(len(data) + 1), rng.randrange(len(data) + 1)))
    near = min(at + rng.randrange(1, 70), len(data))
    match rng.randrange(10):
        case 0 if data:
            at = rng.randrange(len(data))
            return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]
        case 1:
            return data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]
        case 2:
            return data[:at] + any_head(rng) + data[at + rng.choice((0, 1, 2, 3)) :]
        case 3:
            return data[:at] + rng.choice(SCRAPS) + data[at:]
        case 4:
            return data[:at] + rng.choice(SCRAPS) + data[near:]
        case 5:
            return data[:at] + data[near:]
        case 6:
            return data[:near] + data[at:]
        case 7:
            return data[:at]
        case 8:
            return data[:at] + other[rng.randrange(len(other)) :]
        case _:
            return data[:at] + data[to:near] + data[near:to] + data[at:near] + data[to:]


VALUES: list[Any] = [
    0,
    1,
    23,
    2**16,
    2**32,
    2**64 - 1,
    b"",
    bytes(8),
    bytes(32),
    bytes(64),
    b"\xff" * 32,
    "",
    "btard",
    "a" * 300,
]
VALUES += [True, False, None, [], {}, [[]], [0] * 1025, {"a": 0}, [bytes(32)] * 2, b"\x00\x00\x00\x00\x00\x00\xf8\x7f"]


def places(item: Any) -> list[tuple[Any, Any]]:
    """Every container inside ``item`` with every key or index of it."""
    keys = list(item) if isinstance(item, dict) else range(len(item)) if isinstance(item, list) else ()
    return [(item, key) for key in keys] + [place for key in keys for place in places(item[key])]


def restructure(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """``data`` with 1 to 3 of its fields replaced, dropped, doubled or exchanged: an encoding of something else."""
    item = decode(data, LIMIT)
    donors = [container[key] for container, key in places(decode(other, LIMIT))] or VALUES
    for _ in range(rng.choice((1, 1, 2, 3))):
        spots = places(item)
        if not spots:
            return encode(rng.choice(VALUES))
        container, key = rng.choice(spots)
        change = rng.randrange(6)
        if change < 3:
            container[key] = deepcopy(rng.choice(VALUES if change else donors))
        elif change == 3:
            del container[key]
        elif isinstance(container, list):
            container.insert(key, deepcopy(rng.choice(container if change == 4 else donors)))
    try:
        return repaired(item) if rng.random() < 0.5 else encode(item)
    except NotEncodable:  # too deep by now
        return data


def repaired(item: Any) -> bytes:
    """The encoding of ``item``; if it looks like a genesis record, with its roster sorted and
    the run id that its content asks for."""
    if isinstance(item, list) and len(item) == 3 and isinstance(item[1], list):
        content = item[1]
        if len(content) == 3 and isinstance(content[1], list) and all(isinstance(peer, bytes) for peer in content[1]):
            content[1].sort()
        item[2] = tagged_hash("btard/run", encode(item[1]))
    return encode(item)


def noise(rng: random.Random) -> bytes:
    """Random bytes, or random beginnings of items."""
    if rng.random() < 0.5:
        return rng.randbytes(rng.randrange(200))
    return bytes(rng.choices(sorted(INITIAL_BYTES), k=rng.randrange(200)))


def is_item(data: bytes) -> bool:
    """Whether ``data`` is one item: parts of gradients and whole logs are not."""
    try:
        decode(data, LIMIT)
    except DecodeError:
        return False
    return True


def changed_log(rng: random.Random, data: bytes) -> bytes:
    """``data``, or now and then a log whose second record it is."""
    return first_record() + data if rng.random() < 0.1 else data


@cache
def first_record() -> bytes:
    """The genesis record of the run that the corpus is from."""
    return genesis(configuration(peers=5, tolerated=1, steps=3, dimension=24)).encode()


def hostile(count: int, seed: int) -> Iterator[bytes]:
    """``count`` inputs: one in twenty is noise, the others are real bytes with changes to bytes or to fields."""
    rng, seeds = random.Random(seed), corpus()
    small = [data for data in seeds if len(data) < 4000]
    items = [data for data in small if is_item(data)]
    for _ in range(count):
        if rng.random() < 0.05:
            yield noise(rng)
            continue
        if rng.random() < 0.05:
            yield restructure(rng, first_record(), rng.choice(items))
            continue
        if rng.random() < 0.4:
            yield changed_log(rng, restructure(rng, rng.choice(items), rng.choice(items)))
            continue
        data = rng.choice(small if rng.random() < 0.97 else seeds)
        for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
            data = mutate(rng, data, rng.choice(small))
        yield data


# -- The judgement ----------------------------------------------------------------------------


@dataclass
class Findings:
    """What came out. ``outcomes``: by entry point and name of the error, or "accepted"."""

    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    inputs: int = 0
    measured: int = 0
    worst: float = 0.0
    """The most memory that one reading took, in units of what it may take."""

    @property
    def errors(self) -> Counter[str]:
        """How often each error came, over all entry points."""
        total: Counter[str] = Counter()
        for (_, name), times in self.outcomes.items():
            total[name] += times
        return total


def examine(data: bytes, findings: Findings, measure: bool) -> None:
    """Give ``data`` to every entry point; raises :class:`Unnamed`."""
    body = list(BODIES)[findings.inputs % len(BODIES)]
    findings.inputs += 1
    findings.measured += measure
    for name, read in [*READERS.items(), (body, BODIES[body])]:
        if measure:
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
        try:
            read(data)
            outcome = "accepted"
        except ProtocolError as error:
            outcome = type(error).__name__
        except Exception as error:
            raise Unnamed(f"{name}: {error!r} for {data.hex()}") from error
        findings.outcomes[name, outcome] += 1
        if measure:
            used = tracemalloc.get_traced_memory()[1] - before
            findings.worst = max(findings.worst, used / (BYTES_PER_INPUT_BYTE * len(data) + FIXED_BYTES))
            if findings.worst > 1:
                raise Unnamed(f"{name}: {used} bytes of memory for {data.hex()}")


def fuzz(count: int, seed: int = 0, every: int = MEASURED) -> Findings:
    """Examine ``count`` hostile inputs, and the memory of one batch in ``every``; raises :class:`Unnamed`."""
    findings = Findings()
    inputs = enumerate(hostile(count, seed))
    for number, data in inputs:
        measure = number // BATCH % every == 0
        if measure != tracemalloc.is_tracing():
            (tracemalloc.start if measure else tracemalloc.stop)()
        examine(data, findings, measure)
    tracemalloc.stop()
    return findings


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Feed hostile bytes to everything that reads bytes.")
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    start = time.perf_counter()
    findings = fuzz(options.inputs, options.seed)
    seconds = time.perf_counter() - start
    readings = findings.outcomes.total()
    print(f"{findings.inputs} inputs, {readings} readings, {findings.inputs / seconds:.0f} inputs/s")
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(
        f"memory: {findings.measured} inputs measured, worst {findings.worst:.2f} of the bound; in all {resident} MiB"
    )
    for name, times in findings.errors.most_common():
        print(f"{times:10d}  {name}")


if __name__ == "__main__":
    main()
