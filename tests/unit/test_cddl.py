"""``spec/messages.cddl`` describes every message and record of a run, and refuses what the decoder refuses."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pycddl  # type: ignore[import-untyped]
import pytest
from btard.network.coalition import World
from btard.network.simulator import Seat, Simulation
from btard.protocol import log, membership, messages, model
from btard.protocol.arithmetic import Float32, Float64
from btard.protocol.bans import Departure, Fault
from btard.protocol.channel import Request, WriteLetter
from btard.protocol.encoding import DecodeError, Item, decode, encode, tagged_hash
from btard.protocol.identity import Identity
from btard.protocol.log import Genesis, Record, Subject, Verdict
from btard.protocol.messages import (
    Accusation,
    Commit,
    Echo,
    Envelope,
    MessageError,
    Notices,
    Phase,
    Slot,
    Vote,
    decode_body,
    seal,
)
from btard.protocol.model import Configuration, PeerId
from btard.protocol.state import Attempt, Conduct, Plan, State, initial_replica
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
    Phase.COMMIT_VOTE: "vote",
    Phase.REPORT_VOTE: "vote",
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


# -- Two runs that use everything ---------------------------------------------------------------

PEERS, DIMENSION = 14, 60
EXACT: dict[str, Any] = {"peers": PEERS, "tolerated": 6, "steps": 21}
"""Six Byzantine peers, then two that ask for a seat, and one that leaves."""
TOLERANT: dict[str, Any] = {"peers": 8, "tolerated": 2, "steps": 9, "tolerance": 0.01}
"""Tolerance mode: disclosures and votes."""
VOTING: dict[str, Any] = {"peers": 6, "tolerated": 1, "steps": 6, "profile": "majority-vote"}
CODED: dict[str, Any] = {"peers": 9, "tolerated": 2, "steps": 6, "profile": "redundant-code", "liars": 2}
WITHHOLDS, MISMATCHES, GARBLES, MISREPORTS, ACCUSES, BLASTS, SHIFTS = range(7)
"""What a Byzantine peer does, from the step of that number on."""
KNOCKS, RETIRES = 7, 12
"""When those come that have no seat, and after which step an honest peer leaves."""


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
        blasted = honest * np.float32(np.nan) if self.acts(state, BLASTS) else honest
        return blasted + np.float32(5) if self.acts(state, SHIFTS) else blasted

    def report(self, state: State, transcript: Transcript, honest: Float64) -> Float64:
        return honest * 0.5 if self.acts(state, MISREPORTS) else honest

    def accusations(self, state: State, plan: Plan, honest: tuple[Accusation, ...]) -> tuple[Accusation, ...]:
        past = state.transcript(state.step - 1)
        if past is None or self.peer not in past.workers or not self.acts(state, ACCUSES):
            return honest
        return (Accusation(next(peer for peer in past.workers if peer != self.peer), past.step),)


class Idle(Conduct):
    """On probation, commits to nothing real."""

    def labour(self, state: State, honest: bytes) -> bytes:
        return bytes(32)


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

    def serve(self, seat: Seat, request: Request) -> Any:
        if isinstance(request, WriteLetter):
            self.sent.append(request.letter)
        return super().serve(seat, request)


def versions(run: Run) -> tuple[messages.SignedHeader, ...]:
    """Two versions of one message, in order of digest."""
    made = (
        seal(Identity(b"v" * 32), run.genesis.run, Slot(0, 0, Phase.COMMIT), bytes(32), body) for body in (b"", b"x")
    )
    return tuple(sorted((envelope.signed_header for envelope in made), key=lambda header: header.digest))


def letters(run: Run) -> tuple[Envelope, ...]:
    """Two letters of one candidate, in order."""
    made = ((Slot(1, 0, Phase.PETITION), b""), (Slot(1, 0, Phase.PROBATION), bytes(32)))
    return tuple(seal(Identity(b"c" * 32), run.genesis.run, slot, bytes(32), body) for slot, body in made)


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
    final: State

    @property
    def faults(self) -> Counter[Fault]:
        """How often somebody left for what."""
        return Counter(removal.fault for removal in self.final.removals)

    @property
    def verdicts(self) -> list[Verdict]:
        """Of all its trials."""
        return [verdict for record in self.records for verdict in record.verdicts]


def played(settings: dict[str, Any], faults: Sequence[int], seed: int = 0) -> Run:
    """A run in which Byzantine peers commit ``faults``, recorded by a peer that stays to the end."""
    made = (Identity(tagged_hash("tests/cddl", bytes([seed, k]))) for k in range(settings["peers"]))
    identities = sorted(made, key=lambda identity: identity.peer_id)
    config = Configuration(
        dimension=DIMENSION,
        gradient_clip=100.0,
        radius_initial=20.0,
        radius_min=0.5,
        radius_max=100.0,
        optimizer=describe(Sgd(Schedule(0.1, settings["steps"]))),
        **settings,
    )
    start = np.ones(DIMENSION, np.float32)
    roster = tuple(identity.peer_id for identity in identities)
    genesis = Genesis(config, roster, initial_replica(config, start).state_hash)
    culprits = {roster[1 + place]: fault for place, fault in enumerate(faults)}
    conducts = {peer: Misbehaves(peer, fault) for peer, fault in culprits.items()}
    world = World(frozenset(culprits), config.gradient_clip)
    records: list[Record] = []
    aggregates: list[bytes] = []

    def record(peer: PeerId, entry: Record) -> None:
        records.extend([entry] if peer == roster[0] else [])

    def keep(peer: PeerId, content: bytes) -> None:
        aggregates.append(content)

    simulation = Recorded(genesis, identities, start, Bowl(), world, conducts, record, keep, culprits=culprits)
    if not config.tolerance:
        simulation.retire([roster[-2]], RETIRES)
    for observed in simulation.run():
        final = observed.state
        if final.step == KNOCKS and not config.tolerance:
            simulation.welcome(Identity(b"n" * 32))
            simulation.welcome(Identity(b"i" * 32), Idle())
    assert {removal.peer for removal in final.removals if removal.how is Departure.CONVICTED} <= set(culprits)
    return Run(genesis, records, simulation.sent, aggregates, final)


@pytest.fixture(scope="module")
def run() -> Run:
    return played(EXACT, range(SHIFTS))


@pytest.fixture(scope="module")
def tolerant() -> Run:
    return played(TOLERANT, (MISREPORTS, SHIFTS))


@pytest.fixture(scope="module")
def voting() -> Run:
    return played(VOTING, (BLASTS,))


@pytest.fixture(scope="module")
def coded() -> Run:
    return played(CODED, (MISREPORTS, SHIFTS))


def test_the_recorded_runs_use_every_kind_of_message(run: Run, tolerant: Run, voting: Run, coded: Run) -> None:
    sent = (*run.sent, *tolerant.sent, *voting.sent, *coded.sent)
    assert {entry.slot.phase for entry in sent} == set(Phase)
    assert run.faults == {
        Fault.WITHHELD: 2,
        Fault.MISMATCHED_PART: 1,
        Fault.MALFORMED: 1,
        Fault.WRONG_REPORT: 1,
        Fault.FALSE_ACCUSATION: 1,
        Fault.IMPOSSIBLE_AGGREGATE: 1,
        Fault.WRONG_HASH: 1,
        Fault.LEAVING: 1,
    }
    assert tolerant.faults == {Fault.WRONG_REPORT: 1, Fault.WRONG_AGGREGATE: 1}
    assert {verdict.trial.subject for verdict in run.verdicts} >= {Subject.WORKER, Subject.CANDIDATE}
    assert Subject.AGGREGATE in {verdict.trial.subject for verdict in tolerant.verdicts}
    for verdicts in (run.verdicts, tolerant.verdicts):
        assert any(finding.correction for verdict in verdicts for finding in verdict.findings)
    assert any(not verdict.findings for verdict in run.verdicts)
    commits = [message for entry in run.sent if isinstance(message := entry.message, Commit)]
    assert {letter.slot.phase for commit in commits for letter in commit.letters} == {Phase.PETITION, Phase.PROBATION}
    assert {commit.leaving for commit in commits} == {False, True}
    assert [arrival.peer for arrival in run.final.arrivals] == [Identity(b"n" * 32).peer_id]
    votes = [message for entry in tolerant.sent if isinstance(message := entry.message, Vote)]
    assert any(statement.correction for vote in votes for statement in vote.statements)


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
    if rule == "vote":
        for statement in item[0]:
            yield "statement", statement
    if rule in ("commit", "aggregate", "reveal", "report", "vote"):
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
        if envelope.slot.phase in (Phase.PETITION, Phase.PROBATION):
            yield "letter", envelope.to_item()
        elif not envelope.slot.phase.agreed:
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
def test_every_message_and_record_of_the_runs_fits_the_schema(run: Run, tolerant: Run) -> None:
    seen: Counter[str] = Counter()
    for rule, item in (*everything(run), *everything(tolerant)):
        assert fits(rule, item), (rule, item)
        seen[rule] += 1
    assert seen.keys() >= {
        "accusation",
        "echo",
        "letter",
        "noted-letter",
        "proof",
        "signed-header",
        "statement",
        "verdict",
        "finding",
        "entry",
        "setting",
        *BODIES.values(),
    }


@pytest.mark.requirement("MEMB-1")
def test_the_schema_accepts_as_letters_what_the_members_do(run: Run) -> None:
    identity, asked = Identity(b"c" * 32), 0
    slots = [Slot(1, attempt, phase, part) for phase in Phase for attempt in (0, 1) for part in (0, 1)]
    for slot in slots:
        for size in (0, 1, 31, 32, 33):
            letter = seal(identity, run.genesis.run, slot, run.genesis.run, bytes(size))
            assert GRAMMAR.fits("letter", letter.to_item()) == membership.is_letter(letter, run.genesis.run)
            asked += membership.is_letter(letter, run.genesis.run)
    assert asked == 2


def test_every_message_reads_back_equal(run: Run, tolerant: Run) -> None:
    for envelope in (*run.sent, *tolerant.sent):
        assert Envelope.decode(envelope.encode(), LIMIT) == envelope
        if envelope.slot.phase.agreed and envelope.message is not None:
            assert encode(envelope.message.to_item()) == envelope.body
    for record in (*run.records, *tolerant.records):
        assert Record.decode(record.encode()) == record
    for genesis in (run.genesis, tolerant.genesis):
        assert Genesis.decode(genesis.encode()) == genesis


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
    "statement": messages.read_statement,
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
def test_schema_and_decoder_refuse_the_same_mutations(run: Run, tolerant: Run, rule: str) -> None:
    examples = [item for name, item in (*everything(run), *everything(tolerant)) if name == rule]
    example = max(examples, key=lambda item: len(encode(item)))
    refused = 0
    for mutant in mutations(example):
        assert fits(rule, mutant) == (reads(rule, mutant) or by_prose_alone(rule, mutant)), mutant
        refused += not reads(rule, mutant)
    assert refused >= 2


def readable(envelope: Envelope) -> bool:
    """Whether ``envelope`` is what its place calls for, from the code's point of view."""
    slot, body = envelope.slot, envelope.body
    match slot.phase:
        case Phase.SCATTER | Phase.GATHER | Phase.BALLOT | Phase.TALLY:
            return True
        case Phase.AUDIT:  # TOL-3
            return (slot.attempt, slot.part) == (0, 2)
        case Phase.COMMIT_TRIAL:  # TOL-7
            return slot.part in (1, 2)
        case Phase.REPORT_TRIAL:
            return slot.part == 0
        case Phase.PETITION | Phase.PROBATION:
            return (slot.attempt, slot.part, len(body)) == (0, 0, membership.LETTER_BYTES[slot.phase])
    rule = "echo" if slot.part else BODIES[slot.phase]
    return slot.part <= 1 and reads(rule, decode_or_none(body))


@pytest.mark.requirement("MSG-5")
def test_a_body_of_another_phase_is_no_message(run: Run, tolerant: Run) -> None:
    fitting: Counter[Phase] = Counter()
    for envelope in (*run.sent, *tolerant.sent):
        item: Any = decode(envelope.encode(), LIMIT)
        for phase in Phase:
            expected = readable(replace(envelope, slot=envelope.slot._replace(phase=phase)))
            assert GRAMMAR.fits("message", [*item[:4], int(phase), *item[5:]]) == expected
            fitting[phase] += expected
    assert all(0 < fitting[phase] for phase in Phase)


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
        body = [bytes(products), bytes(norms), [], [], [], []]
        assert fits("report", body) and not reads("report", body)
    proof = [header.to_item() for header in versions(run)]
    assert reads("proof", proof) and fits("proof", proof)
    for wrong in (proof[::-1], [proof[0]] * 2):
        assert fits("proof", wrong) and not reads("proof", wrong)
    commit: Any = Commit((), low_hash(), low_hash(), letters=letters(run)).to_item()
    assert reads("commit", commit) and fits("commit", commit)
    unordered = [*commit[:4], commit[4][::-1], *commit[5:]]
    assert fits("commit", unordered) and not reads("commit", unordered)
    statements: list[Any] = [[1, low, 7, b""], [1, high, 7, b""]]
    assert reads("vote", [statements, [], [], []]) and fits("vote", [statements, [], [], []])
    for wrong in (statements[::-1], [statements[0]] * 2):
        assert fits("vote", [wrong, [], [], []]) and not reads("vote", [wrong, [], [], []])


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
    notices = (messages.MAX_NOTICES, messages.MAX_ECHOES, messages.MAX_LETTERS, messages.MAX_STATEMENTS)
    counts = (model.MAX_PEERS, model.MAX_PEERS + 1, *notices, log.MAX_VERDICTS)
    assert set(re.findall(r"\*(\d+) ", SCHEMA)) == {"2", *(str(count) for count in counts)}
    assert f"at most {messages.MAX_AGREED_BODY} bytes" in SCHEMA
    assert set(re.findall(r"version: (\d+)", SCHEMA)) == {str(model.PROTOCOL_VERSION)}
    listed = re.search(r"configuration = \{\n(.*?)\n\}", SCHEMA, re.DOTALL)
    assert listed is not None
    fields = dict(re.findall(r'"(\w+)": (\w+|\[.*\]),', listed[1]))
    assert [name for name, kind in fields.items() if kind == "uint"] == list(model.COUNT_FIELDS)
    assert [name for name, kind in fields.items() if kind == "real"] == list(model.REAL_FIELDS)
    agreed = [phase for phase in Phase if phase.agreed]
    for rule, codes in (("phase", Phase), ("agreed-phase", agreed), ("fault", Fault), ("subject", Subject)):
        values = re.search(rf"^{rule} += (.*?) *(;|$)", SCHEMA, re.MULTILINE)
        assert values is not None and values[1].split(" / ") == [str(code) for code in sorted(map(int, codes))]
