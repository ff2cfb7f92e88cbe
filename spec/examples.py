"""Used by cog in the chapters: print worked examples, computed by the reference itself."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable

import cog
from btard.protocol.arithmetic import float32_bytes, folding_sum
from btard.protocol.encoding import encode, tagged_hash
from btard.protocol.identity import Identity
from btard.protocol.log import Genesis, Record
from btard.protocol.membership import probation_length
from btard.protocol.messages import Aggregate, Closing, Envelope, Notices, Phase, Slot, body_hash, seal
from btard.protocol.model import Configuration, default_distance_ratio, distance_ratio_bound, fewest, reachable
from btard.protocol.update import Schedule, Sgd, describe

ALICE, BOB = sorted((Identity(bytes(range(32))), Identity(bytes(range(32, 64)))), key=lambda peer: peer.peer_id)


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """Print a Markdown table."""
    titles = list(head)
    cog.outl("| " + " | ".join(titles) + " |")
    cog.outl("| " + " | ".join("---" for _ in titles) + " |")
    for row in rows:
        cog.outl("| " + " | ".join(str(cell) for cell in row) + " |")


def block(lines: Iterable[tuple[str, str]]) -> None:
    """Print a fenced block of bytes and what they are."""
    cog.outl("```")
    for data, meaning in lines:
        chunks = [data[start : start + 72] for start in range(0, len(data), 72)] or [""]
        for chunk in chunks[:-1]:
            cog.outl(chunk)
        cog.outl(f"{chunks[-1]:<74}{meaning}".rstrip())
    cog.outl("```")


def bits(value: float) -> str:
    """A float64 as sixteen hexadecimal digits, sign and exponent first."""
    return struct.pack(">d", value).hex()


# -- Chapter model --------------------------------------------------------------------------------


def distance_ratios() -> None:
    """κ for some sizes, with the census that decides."""
    rows = []
    for peers, tolerated in ((4, 1), (8, 3), (16, 3), (16, 7), (64, 20), (64, 31)):
        censuses = [*reachable(peers, tolerated, 4), *reachable(fewest(peers, tolerated), tolerated, 4)]
        worst = max(censuses, key=lambda census: distance_ratio_bound(census, 0.1, 4.0))
        kappa = default_distance_ratio(peers, tolerated, 4, 0.1, 4.0)
        where = f"{worst.peers}, {worst.tolerated}, {worst.validators}"
        rows.append((peers, tolerated, where, worst.honest_workers, f"{kappa:.2f}"))
    table(("n", "b", "worst n_t, b_t, m_t", "h", "default κ"), rows)


# -- Chapter arithmetic ---------------------------------------------------------------------------


def folding() -> None:
    """A folding sum stage by stage, in the exact bits."""
    stage = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
    plain = 0.0
    for value in stage:
        plain += value
    rows = [("entries", "<br>".join(f"`{bits(value)}`" for value in stage))]
    expected = float(folding_sum(stage))
    stage += [0.0] * (8 - len(stage))
    while len(stage) > 1:
        half = len(stage) // 2
        stage = [low + high for low, high in zip(stage[:half], stage[half:], strict=True)]
        rows.append((f"{half} left", "<br>".join(f"`{bits(value)}`" for value in stage)))
    if stage != [expected]:
        raise ValueError("the example is not the folding sum")
    rows.append(("from left to right, for comparison", f"`{bits(plain)}`"))
    table(("stage", "values"), rows)


def vectors() -> None:
    """The bytes of a short float32 vector, and their hash."""
    data = float32_bytes([1.0, -2.5, 0.0])
    table(("what", "value"), (("(1, −2.5, 0)", f"`{data.hex()}`"), ("body hash", f"`{body_hash(data).hex()}`")))


# -- Chapter messages -----------------------------------------------------------------------------


def example_envelope() -> Envelope:
    """Bob's message as a validator in phase Aggregate of step 5, attempt 1."""
    run, head = tagged_hash("btard/example", b"run"), tagged_hash("btard/example", b"head")
    return seal(BOB, run, Slot(5, 1, Phase.AGGREGATE), head, encode(Aggregate(None, Notices()).to_item()))


def envelope() -> None:
    """An envelope byte by byte."""
    sent = example_envelope()
    block(
        (
            ("8a", "array of 10"),
            ("01", "protocol version 1"),
            ("5820" + sent.run.hex(), "run"),
            ("05", "step 5"),
            ("01", "attempt 1"),
            ("02", "phase Aggregate"),
            ("00", "part, 0 in agreed phases"),
            ("5820" + sent.sender.hex(), "sender"),
            ("5820" + sent.log_head.hex(), "log head"),
            ("45" + sent.body.hex(), "body: [null, [], [], []]"),
            ("5840" + sent.signature.hex(), "signature"),
        )
    )


def envelope_hashes() -> None:
    """What is derived from the envelope."""
    sent = example_envelope()
    header = sent.signed_header
    rows = (
        ("sender's seed", f"`{BOB.seed.hex()}`"),
        ("run", "H(`btard/example`, `72756e`)"),
        ("log head", "H(`btard/example`, `68656164`)"),
        ("body hash, H(`btard/body`, body)", f"`{header.body_hash.hex()}`"),
        ("digest, H(`btard/message`, body hash, header)", f"`{header.digest.hex()}`"),
        ("bytes of the envelope", len(sent.encode())),
    )
    table(("what", "value"), rows)


# -- Chapter log ----------------------------------------------------------------------------------


def example_genesis() -> Genesis:
    """Two peers, nobody faulty, two parameters."""
    config = Configuration(2, 0, 2, 1, 1.0, 1.0, 0.5, 2.0, task="example", optimizer=describe(Sgd(Schedule(0.1, 1))))
    return Genesis(config, (ALICE.peer_id, BOB.peer_id), tagged_hash("btard/example", b"state"))


def log() -> None:
    """A genesis record, one record after it, and the heads."""
    genesis = example_genesis()
    slot = Slot(0, 0, Phase.CLOSING)
    sent = seal(ALICE, genesis.run, slot, genesis.run, encode(Closing().to_item()))
    record = Record(1, slot, (sent, None))
    digest = sent.signed_header.digest
    content = encode([1, 0, 0, int(Phase.CLOSING), [digest, None], []])
    rows = (
        ("roster", f"`{ALICE.peer_id.hex()}`<br>`{BOB.peer_id.hex()}`"),
        ("state hash", "H(`btard/example`, `7374617465`)"),
        ("genesis content", f"`{encode(genesis.content()).hex()}`"),
        ("run id = log head before record 1", f"`{genesis.run.hex()}`"),
        ("digest of Alice's entry", f"`{digest.hex()}`"),
        ("content of record 1", f"`{content.hex()}`"),
        ("log head after record 1", f"`{record.head_after(genesis.run).hex()}`"),
    )
    if record.head_after(genesis.run) != tagged_hash("btard/log", genesis.run, content):
        raise ValueError("the example is not the log head")
    table(("what", "value"), rows)


# -- Chapter membership -----------------------------------------------------------------------------


def seat_costs() -> None:
    """What a seat costs for n = 16: the probation, and what patience saves of it."""
    rows = []
    for validators in (1, 4):
        for tolerated in (1, 3, 5, 7):
            length = probation_length(16, tolerated, validators)
            chance = math.log(16 / tolerated)
            saved = [min(length, math.log(8 * steps / 3) / chance) for steps in (1_000, 1_000_000)]
            rows.append((validators, tolerated, length, *(f"{length - discount:.1f}" for discount in saved)))
    table(("m_max", "b", "T_join", "gradients, patience 1,000 steps", "patience 10⁶ steps"), rows)
