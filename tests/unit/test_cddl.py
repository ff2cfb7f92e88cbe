"""``spec/messages.cddl`` describes every message and record of a run, and refuses what the decoder refuses."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pycddl  # type: ignore[import-untyped]
import pytest
from btard.network.coalition import World
from btard.network.simulator import Simulation
from btard.protocol import log, messages, model
from btard.protocol.arithmetic import Float32, Float64
from btard.protocol.bans import Departure, Fault
from btard.protocol.encoding import DecodeError, Item, decode, encode
from btard.protocol.identity import Identity
from btard.protocol.log import Genesis, Record, Subject
from btard.protocol.messages import (
    Accusation,
    Commit,
    Echo,
    Envelope,
    MessageError,
    Notices,
    Phase,
    Slot,
    decode_body,
    seal,
)
from btard.protocol.model import Configuration, PeerId
from btard.protocol.step import Attempt, Conduct, Plan, State, initial_replica
from btard.protocol.update import Schedule, Sgd, describe
from btard.protocol.verification import Transcript

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))

from cddl import Grammar

SCHEMA = (Path(__file__).resolve().parents[2] / "spec" / "messages.cddl").read_text()
BODIES = {
    Phase.COMMIT: "commit",
    Phase.AGGREGATE: "aggregate",
    Phase.REVEAL: "reveal",
    Phase.REPORT: "report",
    Phase.CLOSING: "closing",
}
LIMIT = 1 << 30


GRAMMAR = Grammar(SCHEMA)


@cache
def schema(rule: str) -> Any:
    """A validator for one rule of the schema (CDDL starts at the first).

    Where an array of proofs is empty, pycddl 0.6 looks for the least number of headers all the same.
    """
    lenient = SCHEMA.replace("[1*2 signed-header]", "[0*2 signed-header]")
    return pycddl.Schema(f"start = {rule}\n{lenient}")


def fits(rule: str, item: Item) -> bool:
    """Whether the schema, read strictly, accepts ``item`` as ``rule``; then pycddl must accept it too."""
    if not GRAMMAR.fits(rule, item):
        return False
    if not rule.endswith("message") and rule != "echo":  # pycddl 0.6 follows no .cbor or choice inside an array
        schema(rule).validate_cbor(encode(item))
    return True


# -- A run that uses everything -----------------------------------------------------------------

PEERS, TOLERATED, DIMENSION, STEPS = 14, 6, 60, 9
WITHHOLDS, MISMATCHES, GARBLES, MISREPORTS, ACCUSES, BLASTS = range(6)
"""What the six Byzantine peers do, from the step of that number on."""


class Bowl:
    """Gradients of ½‖x‖² with a little noise."""

    def gradient(self, parameters: Float32, seed: bytes) -> Float32:
        noise = np.random.default_rng(list(seed)).standard_normal(DIMENSION).astype(np.float32)
        return parameters + np.float32(0.1) * noise


class Misbehaves(Conduct):
    """Lies in its reports, accuses without ground, or announces impossible aggregates, until it is caught."""

    def __init__(self, peer: PeerId, fault: int) -> None:
        self.peer, self.fault = peer, fault

    def acts(self, state: State, fault: int) -> bool:
        return self.fault == fault <= state.step

    def aggregate(self, state: State, attempt: Attempt, inputs: Float32, honest: Float32) -> Float32:
        return honest * np.float32(np.nan) if self.acts(state, BLASTS) else honest

    def report(self, state: State, transcript: Transcript, honest: Float64) -> Float64:
        return honest * 0.5 if self.acts(state, MISREPORTS) else honest

    def accusations(self, state: State, plan: Plan, honest: tuple[Accusation, ...]) -> tuple[Accusation, ...]:
        past = state.transcript(state.step - 1)
        if past is None or self.peer not in past.workers or not self.acts(state, ACCUSES):
            return honest
        return (Accusation(next(peer for peer in past.workers if peer != self.peer), past.step),)


@dataclass
class Recorded(Simulation):
    """Keeps what goes over the wire, and plays the three faults that a ``Conduct`` cannot."""

    sent: list[Envelope] = field(default_factory=list)
    culprits: dict[PeerId, int] = field(default_factory=dict)

    def deliver(
        self, envelope: Envelope | None, slot: Slot, sender: PeerId, copies: int, announced: bytes | None = None
    ) -> Envelope | None:
        due = self.culprits.get(sender) == slot.step and envelope is not None
        if due and slot.phase is Phase.SCATTER and self.culprits[sender] == WITHHOLDS and slot.part == PEERS - 1:
            return None
        if due and envelope and slot.phase is Phase.SCATTER and self.culprits[sender] == MISMATCHES:
            envelope = seal(self.seats[sender].identity, envelope.run, slot, envelope.log_head, envelope.body[::-1])
        if due and envelope and slot.phase is Phase.COMMIT and self.culprits[sender] == GARBLES:
            envelope = seal(self.seats[sender].identity, envelope.run, slot, envelope.log_head, b"\x9f")
        received = super().deliver(envelope, slot, sender, copies, announced)
        self.sent.extend([received] if received else [])
        return received


def versions(run: Run) -> tuple[messages.SignedHeader, ...]:
    """Two versions of one message, in order of digest."""
    made = (
        seal(Identity(b"v" * 32), run.genesis.run, Slot(0, 0, Phase.COMMIT), bytes(32), body) for body in (b"", b"x")
    )
    return tuple(sorted((envelope.signed_header for envelope in made), key=lambda header: header.digest))


def letters(run: Run) -> tuple[Envelope, ...]:
    """Two letters of one candidate, in order."""
    slots = (Slot(1, 0, Phase.PETITION), Slot(1, 0, Phase.PROBATION))
    return tuple(seal(Identity(b"c" * 32), run.genesis.run, slot, bytes(32), bytes(32)) for slot in slots)


def low_hash() -> bytes:
    """Any hash."""
    return b"\x01" * 32


def noted(run: Run) -> Iterator[tuple[str, Item]]:
    """What the ideal channel gives no occasion for: a Commit with letters and all kinds of notices, and an echo."""
    low = low_hash()
    slot = Slot(3, 0, Phase.COMMIT)
    echo = seal(Identity(b"v" * 32), run.genesis.run, slot.echo, low, encode(Echo((low, None)).to_item()))
    proofs = (versions(run), versions(run)[:1])
    full = Commit((low,), low, low, (Accusation(low, 2),), letters(run), True, Notices((low,), proofs, (echo,)))
    commit = seal(Identity(b"v" * 32), run.genesis.run, slot, low, encode(full.to_item()))
    for envelope in (commit, echo, *letters(run)):
        yield "message", envelope.to_item()
        yield "envelope", envelope.to_item()
    yield "echo-message", echo.to_item()
    yield "letter", letters(run)[0].to_item()
    yield from nested("commit", full.to_item())


@dataclass
class Run:
    """What a run left behind."""

    genesis: Genesis
    records: list[Record]
    sent: list[Envelope]
    aggregates: list[bytes]
    faults: Counter[Fault]


@pytest.fixture(scope="module")
def run() -> Run:
    identities = sorted((Identity(bytes([k]) * 32) for k in range(PEERS)), key=lambda identity: identity.peer_id)
    config = Configuration(
        PEERS, TOLERATED, DIMENSION, STEPS, 100.0, 20.0, 0.5, 100.0, optimizer=describe(Sgd(Schedule(0.1, STEPS)))
    )
    start = np.ones(DIMENSION, np.float32)
    roster = tuple(identity.peer_id for identity in identities)
    genesis = Genesis(config, roster, initial_replica(config, start).state_hash)
    culprits = {roster[1 + fault]: fault for fault in range(TOLERATED)}
    conducts = {peer: Misbehaves(peer, fault) for peer, fault in culprits.items()}
    world = World(frozenset(culprits), config.gradient_clip)
    records: list[Record] = []
    aggregates: list[bytes] = []

    def record(peer: PeerId, entry: Record) -> None:
        records.extend([entry] if peer == roster[0] else [])

    def keep(peer: PeerId, content: bytes) -> None:
        aggregates.append(content)

    simulation = Recorded(genesis, identities, start, Bowl(), world, conducts, record, keep, culprits=culprits)
    for observed in simulation.run():
        final = observed.state
    faults = Counter(removal.fault for removal in final.removals)
    assert {removal.peer for removal in final.removals if removal.how is Departure.CONVICTED} <= set(culprits)
    return Run(genesis, records, simulation.sent, aggregates, faults)


def test_the_recorded_run_uses_every_kind_of_message(run: Run) -> None:
    assert {entry.slot.phase for entry in run.sent} == set(Phase) - {Phase.PETITION, Phase.PROBATION}
    assert run.faults == {
        Fault.WITHHELD: 2,
        Fault.MISMATCHED_PART: 1,
        Fault.MALFORMED: 1,
        Fault.WRONG_REPORT: 1,
        Fault.FALSE_ACCUSATION: 1,
        Fault.IMPOSSIBLE_AGGREGATE: 1,
    }
    verdicts = [verdict for record in run.records for verdict in record.verdicts]
    assert Subject.WORKER in {verdict.trial.subject for verdict in verdicts}
    assert any(finding.correction for verdict in verdicts for finding in verdict.findings)
    assert any(not verdict.findings for verdict in verdicts)


# -- Everything fits ------------------------------------------------------------------------------


def nested(rule: str, item: Any) -> Iterator[tuple[str, Item]]:
    """``item`` and what lies inside it, each with its rule, since pycddl 0.6 overlooks faults further in."""
    yield rule, item
    if rule in ("commit", "reveal"):
        for accusation in item[3] if rule == "commit" else item[1]:
            yield "accusation", accusation
    if rule == "commit":
        for letter in item[4]:
            yield "noted-letter", letter
    if rule in ("commit", "aggregate", "reveal", "report"):
        for proof in item[-2]:
            yield "proof", proof
            for header in proof:
                yield "signed-header", header
        for echo in item[-1]:
            yield "envelope", echo
            yield "echo", decode(echo[8], LIMIT)
    if rule == "genesis-record":
        yield "genesis-content", item[1]
        yield "configuration", item[1][0]
        for setting in item[1][0]["optimizer"]:
            yield "setting", setting
    if rule == "record":
        yield "slot", item[1]
        for entry in item[2]:
            yield "entry", entry
        for verdict in item[3]:
            yield from nested("verdict", verdict)
    if rule == "verdict":
        yield "trial", item[0]
        for finding in item[1]:
            yield "finding", finding


def everything(run: Run) -> Iterator[tuple[str, Item]]:
    """Every item of the run with its rule."""
    yield from noted(run)
    for envelope in run.sent:
        yield "envelope", decode(envelope.encode(), LIMIT)
        if not envelope.slot.phase.agreed or envelope.message is not None:
            yield "message", decode(envelope.encode(), LIMIT)
        yield "signed-header", envelope.signed_header.to_item()
        if not envelope.slot.phase.agreed:
            yield "vector", envelope.body
        elif envelope.message is not None:
            yield from nested(BODIES[envelope.slot.phase], decode(envelope.body, LIMIT))
    yield from nested("genesis-record", decode(run.genesis.encode(), LIMIT))
    for record in run.records:
        yield from nested("record", decode(record.encode(), LIMIT))
    for content in run.aggregates[:3]:
        yield "kept-aggregate", content


@pytest.mark.requirement("MSG-5")
@pytest.mark.requirement("MSG-3")
def test_every_message_and_record_of_a_run_fits_the_schema(run: Run) -> None:
    seen: Counter[str] = Counter()
    for rule, item in everything(run):
        assert fits(rule, item), (rule, item)
        seen[rule] += 1
    assert seen.keys() >= {
        "accusation",
        "echo",
        "noted-letter",
        "proof",
        "signed-header",
        "verdict",
        "finding",
        "entry",
        "setting",
        *BODIES.values(),
    }


def test_every_message_reads_back_equal(run: Run) -> None:
    for envelope in run.sent:
        assert Envelope.decode(envelope.encode(), LIMIT) == envelope
        if envelope.slot.phase.agreed and envelope.message is not None:
            assert encode(envelope.message.to_item()) == envelope.body
    for record in run.records:
        assert Record.decode(record.encode()) == record
    assert Genesis.decode(run.genesis.encode()) == run.genesis


# -- Nothing else does ----------------------------------------------------------------------------


def reads_body(slot: Slot) -> Callable[[Item], object]:
    return lambda item: decode_body(slot, encode(item))


READERS: dict[str, Callable[[Item], object]] = {
    "envelope": Envelope.from_item,
    "signed-header": messages.SignedHeader.from_item,
    "accusation": lambda item: messages.accusation_list([item]),
    "verdict": log.Verdict.from_item,
    "finding": log.read_finding,
    "record": lambda item: Record.decode(encode(item)),
    "proof": messages.read_proof,
    "noted-letter": lambda item: messages.letter_list([item]),
    "echo": reads_body(Slot(0, 0, Phase.COMMIT).echo),
    **{rule: reads_body(Slot(0, 0, phase)) for phase, rule in BODIES.items()},
}
STRANGE: tuple[Item, ...] = (None, True, 99, "text", b"", b"x" * 31, b"x" * 33, b"x" * 63, b"x" * 65, [], {}, [None])


def mutations(item: Any) -> Iterator[Item]:
    """``item`` with one entry missing, doubled, added, or of another type or length."""
    yield {}
    yield [*item, None]
    for place, entry in enumerate(item):
        before, after = item[:place], item[place + 1 :]
        yield [*before, *after]
        yield [*before, entry, entry, *after]
        for strange in STRANGE:
            yield [*before, strange, *after]


def reads(rule: str, item: Item) -> bool:
    """Whether the reference accepts ``item`` as ``rule``."""
    try:
        READERS[rule](item)
    except (DecodeError, MessageError):
        return False
    return True


def by_prose_alone(rule: str, item: Any) -> bool:
    """A Report of unequal or broken lengths: CDDL cannot say that."""
    return rule == "report" and GRAMMAR.fits(rule, item) and (len(item[0]) != len(item[1]) or len(item[0]) % 8 > 0)


@pytest.mark.requirement("MSG-5")
@pytest.mark.parametrize("rule", sorted(READERS))
def test_schema_and_decoder_refuse_the_same_mutations(run: Run, rule: str) -> None:
    examples = [item for name, item in everything(run) if name == rule]
    example = max(examples, key=lambda item: len(encode(item)))
    refused = 0
    for mutant in mutations(example):
        assert fits(rule, mutant) == (reads(rule, mutant) or by_prose_alone(rule, mutant)), mutant
        refused += not reads(rule, mutant)
    assert refused >= 2


@pytest.mark.requirement("MSG-5")
def test_a_body_of_another_phase_is_no_message(run: Run) -> None:
    for envelope in run.sent:
        item: Any = decode(envelope.encode(), LIMIT)
        for phase in Phase:
            moved = [*item[:4], int(phase), *item[5:]]
            if phase.agreed:
                rule = "echo" if envelope.slot.part else BODIES[phase]
                expected = envelope.slot.part <= 1 and reads(rule, decode_or_none(envelope.body))
            else:
                expected = phase in (Phase.SCATTER, Phase.GATHER) or len(envelope.body) <= 32
            assert GRAMMAR.fits("message", moved) == expected


def decode_or_none(data: bytes) -> Item:
    """The item that ``data`` encodes, or None."""
    try:
        return decode(data, LIMIT)
    except DecodeError:
        return None


@pytest.mark.requirement("MSG-5")
def test_the_schema_leaves_order_and_equal_lengths_to_prose(run: Run) -> None:
    low: Item = b"\x01" * 32
    high: Item = b"\x02" * 32
    body: Item
    for complaints in ([high, low], [low, low]):
        body = [None, complaints, [], []]  # type: ignore[list-item]
        assert fits("aggregate", body) and not reads("aggregate", body)
    for accusations in ([[high, 1], [low, 1]], [[low, 2], [low, 1]], [[low, 1], [low, 1]]):
        body = [bytes(64), accusations, [], [], []]  # type: ignore[list-item]
        assert fits("reveal", body) and not reads("reveal", body)
    for products, norms in ((8, 16), (7, 7)):
        body = [bytes(products), bytes(norms), [], [], []]
        assert fits("report", body) and not reads("report", body)
    proof = [header.to_item() for header in versions(run)]
    assert reads("proof", proof) and fits("proof", proof)
    for wrong in (proof[::-1], [proof[0]] * 2):
        assert fits("proof", wrong) and not reads("proof", wrong)
    commit: Any = Commit((), low_hash(), low_hash(), letters=letters(run)).to_item()
    assert reads("commit", commit) and fits("commit", commit)
    unordered = [*commit[:4], commit[4][::-1], *commit[5:]]
    assert fits("commit", unordered) and not reads("commit", unordered)


@pytest.mark.requirement("LOG-2")
@pytest.mark.parametrize("change", ["missing", "added", "short real", "long real", "number", "text"])
def test_a_genesis_record_has_exactly_the_specified_fields(run: Run, change: str) -> None:
    record: Any = decode(run.genesis.encode(), LIMIT)
    index, content, run_id = record
    settings = dict(content[0])
    replaced: dict[str, Item] = {"short real": bytes(7), "long real": bytes(9), "number": 1, "text": "1"}
    if change == "missing":
        del settings["steps"]
    elif change == "added":
        settings["extra"] = 1
    else:
        settings["gradient_clip"] = replaced[change]
    assert not fits("configuration", settings)
    with pytest.raises(model.ProtocolError):
        Genesis.decode(encode([index, [settings, *content[1:]], run_id]))


# -- The schema's constants are the code's ----------------------------------------------------------


def test_the_schema_names_the_constants_of_the_code() -> None:
    counts = (model.MAX_PEERS, messages.MAX_NOTICES, messages.MAX_ECHOES, messages.MAX_LETTERS, log.MAX_VERDICTS)
    assert set(re.findall(r"\*(\d+) ", SCHEMA)) == {"2", *(str(count) for count in counts)}
    assert f"at most {messages.MAX_AGREED_BODY} bytes" in SCHEMA
    assert set(re.findall(r"version: (\d+)", SCHEMA)) == {str(model.PROTOCOL_VERSION)}
    listed = re.search(r"configuration = \{\n(.*?)\n\}", SCHEMA, re.DOTALL)
    assert listed is not None
    fields = dict(re.findall(r'"(\w+)": (\w+|\[.*\]),', listed[1]))
    assert [name for name, kind in fields.items() if kind == "uint"] == list(model.COUNT_FIELDS)
    assert [name for name, kind in fields.items() if kind == "real"] == list(model.REAL_FIELDS)
    for rule, codes in (("phase", Phase), ("fault", Fault), ("subject", Subject)):
        values = re.search(rf"^{rule} += (.*?) *(;|$)", SCHEMA, re.MULTILINE)
        assert values is not None and values[1].split(" / ") == [str(int(code)) for code in codes]
