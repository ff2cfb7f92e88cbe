"""Vectors of chapter ``log``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from btard.conformance.audit import audit
from btard.conformance.vectors.cases import Chapter, Edit, File, operation
from btard.conformance.vectors.forms import octets, plain_slot, read_slot, real, texts
from btard.conformance.vectors.recorded import (
    RECIPES,
    REMOVAL,
    STRANGER,
    Draft,
    Recorded,
    configuration,
    draft,
    follow,
    genesis_of,
    owner,
    plain_removal,
    recorded,
    resealed,
    rewritten,
)
from btard.protocol.bans import Fault
from btard.protocol.encoding import encode, tagged_hash
from btard.protocol.log import Finding, Genesis, LogError, Record, Subject, Trial, Verdict, read_configuration
from btard.protocol.messages import MAX_AGREED_BODY, Envelope, Phase, Slot, member
from btard.protocol.model import COUNT_FIELDS, MAJORITY_VOTE, REAL_FIELDS, REDUNDANT_CODE

FLAGS = {
    "wrong-run-id": "believes the run id that stands in the genesis record, or hashes other bytes than its content",
    "bad-roster": "takes a roster that is not ascending, has a peer twice, or has not n peers",
    "bad-key": "takes an id that is no admissible key",
    "other-fields": "takes a configuration with other fields than the specified ones, or of other types",
    "bad-configuration": "takes a configuration that violates an inequality or names what does not exist",
    "canonical": "takes a record in another encoding than the canonical one",
    "bad-record": "takes a record that is none: of another form, or of a phase that is not agreed",
    "signatures-in-head": "covers the entries with their signatures: two honest peers may hold different ones",
    "body-in-head": "covers the hashes of the bodies instead of the digests: headers can be exchanged",
    "no-verdicts-in-head": "leaves the verdicts out of the log head",
    "no-silence-in-head": "leaves silent peers out of the log head instead of covering null",
    "no-head-before": "does not chain: the head covers this record only",
    "no-index-in-head": "leaves the index out of the log head",
    "part-in-head": "covers the slot with its part",
    "unclosed": "accepts a log without a closing record: a cut at a record's end goes unseen",
    "cut": "accepts a log whose last record ends early",
    "all-signatures": "asks all peers for a signature of the final head, although n - b are enough",
    "unnoticed": "accepts a log in which one bit was turned",
    "follows": "does not look at what follows the closing record",
    "unchecked-signature": "does not check the signatures of all entries",
    "unchecked-place": "takes messages of another run, slot or phase",
    "unchecked-head": "does not compare the log heads in the entries with what came before",
    "blames-next": "names the record in which the heads do not fit instead of the one before, which they do not cover",
    "unchecked-index": "takes a record that calls itself by another index",
    "unchecked-order": "takes entries that are not in roster order, or not one per peer",
    "stranger": "takes a message of a key that has no seat",
    "unchecked-verdict": "believes the verdicts instead of deriving which trials there are",
    "impossible-verdict": "takes a verdict that no such trial can have",
    "few-signatures": "closes a log with fewer than n - b signed heads",
    "goes-on": "goes on although more peers have left than b allows",
}


# -- Forms ---------------------------------------------------------------------------------------------

CONFIGURATION = (
    "an object with the fields of CDDL `configuration`: counts, reals, texts, and `optimizer`: a list of [name, value]"
)


def plain_configuration(config: Any) -> dict[str, Any]:
    """The configuration, field by field."""
    counts = {name: getattr(config, name) for name in COUNT_FIELDS}
    reals = {name: real(getattr(config, name)) for name in REAL_FIELDS}
    pairs = [list(pair) for pair in config.optimizer]
    return {**counts, **reals, "profile": config.profile, "task": config.task, "optimizer": pairs}


def configuration_item(given: dict[str, Any]) -> Any:
    """Inverse of :func:`plain_configuration`: CDDL ``configuration``."""
    return {name: bytes.fromhex(value) if name in REAL_FIELDS else value for name, value in given.items()}


def plain_verdict(verdict: Verdict) -> list[Any]:
    """A verdict: its trial, and its findings."""
    findings = [[found.peer.hex(), int(found.fault), found.correction.hex()] for found in verdict.findings]
    return [[verdict.trial.step, verdict.trial.accused.hex(), int(verdict.trial.subject)], findings]


def read_verdict(plain: list[Any]) -> Verdict:
    """Inverse of :func:`plain_verdict`."""
    (step, accused, subject), findings = plain
    found = [Finding(bytes.fromhex(p), member(Fault, fault), bytes.fromhex(c)) for p, fault, c in findings]
    return Verdict(Trial(step, bytes.fromhex(accused), member(Subject, subject)), tuple(found))


# -- Operations ------------------------------------------------------------------------------------------


@operation(
    "log.write_genesis",
    f"`configuration`: {CONFIGURATION}; `roster`: list of peers; `state_hash`",
    "`run`: the run id; `data`: bytes of record 0",
)
def compute_write_genesis(given: dict[str, Any]) -> dict[str, Any]:
    """LOG-1, LOG-2."""
    config = read_configuration(configuration_item(given["configuration"]))
    genesis = Genesis(config, octets(given["roster"]), bytes.fromhex(given["state_hash"]))
    genesis.check()
    return {"run": genesis.run.hex(), "data": genesis.encode().hex()}


@operation(
    "log.read_genesis",
    "`data`: bytes of record 0",
    "`run`; `configuration`: as in `log.write_genesis`; `roster`; `state_hash`",
)
def compute_read_genesis(given: dict[str, Any]) -> dict[str, Any]:
    """LOG-1, LOG-2."""
    genesis = Genesis.decode(bytes.fromhex(given["data"]))
    shown = {"configuration": plain_configuration(genesis.configuration), "roster": texts(genesis.roster)}
    return {"run": genesis.run.hex(), **shown, "state_hash": genesis.state_hash.hex()}


VERDICT = (
    "list of `[[step, accused, subject], findings]`, findings: list of `[peer, fault, correction]`, codes and bytes"
)


@operation(
    "log.write_record",
    f"`index`; `slot`, of part 0; `entries`: list of bytes of an envelope, or null; `verdicts`: {VERDICT}",
    "bytes of the record",
)
def compute_write_record(given: dict[str, Any]) -> str:
    """LOG-3."""
    entries = tuple(
        None if entry is None else Envelope.decode(bytes.fromhex(entry), MAX_AGREED_BODY) for entry in given["entries"]
    )
    verdicts = tuple(read_verdict(verdict) for verdict in given["verdicts"])
    return Record(given["index"], read_slot(given["slot"]), entries, verdicts).encode().hex()


@operation(
    "log.read_record",
    "`data`: bytes of a record other than the genesis record",
    f"`index`; `slot`, of part 0; `digests`: list of the entries' digests, or null; `verdicts`: {VERDICT}",
)
def compute_read_record(given: dict[str, Any]) -> dict[str, Any]:
    """LOG-3."""
    record = Record.decode(bytes.fromhex(given["data"]))
    digests = [None if entry is None else entry.signed_header.digest.hex() for entry in record.entries]
    verdicts = [plain_verdict(verdict) for verdict in record.verdicts]
    return {"index": record.index, "slot": plain_slot(record.slot), "digests": digests, "verdicts": verdicts}


@operation("log.head", "`head`: the log head before the record; `record`: its bytes", "the log head after it")
def compute_head(given: dict[str, Any]) -> str:
    """LOG-3."""
    return Record.decode(bytes.fromhex(given["record"])).head_after(bytes.fromhex(given["head"])).hex()


@operation(
    "log.audit",
    "`log`: bytes of a whole log",
    "if it is accepted without recomputation: `run`; `records`: how many, genesis and closing record included; "
    f"`trials`: how many; `removals`: list of {REMOVAL}; they are in the order of the phases, within a phase refused "
    "keys before removals, and who left in good order after those of the step; `head`: the final head. Else "
    "`bad_record`: the index of the record that the table of chapter `log` names",
)
def compute_audit(given: dict[str, Any]) -> dict[str, Any]:
    """LOG-4 to LOG-6."""
    try:
        report = audit(bytes.fromhex(given["log"]))
    except LogError as error:
        return {"bad_record": error.record}
    removals = [plain_removal(removal) for removal in report.removals]
    counts = {"records": report.records, "trials": report.trials}
    return {"run": report.genesis.run.hex(), **counts, "removals": removals, "head": report.head.hex()}


@operation(
    "log.follow",
    "`log`: bytes of a log that goes on: it ends after any record before the closing record",
    "if all records are accepted (the last one without the heads that would cover it): `records`; `removals`, as in "
    "`log.audit`; `head`: the log head after the last record. Else `bad_record`, as in `log.audit`",
)
def compute_follow(given: dict[str, Any]) -> dict[str, Any]:
    """LOG-5, LOG-6."""
    try:
        state, _ = follow(bytes.fromhex(given["log"]))[-1]
    except LogError as error:
        return {"bad_record": error.record}
    removals = [plain_removal(removal) for removal in state.removals]
    return {"records": state.records, "removals": removals, "head": state.head.hex()}


# -- Vectors -----------------------------------------------------------------------------------------------


def chapter() -> Chapter:
    """All vectors of the chapter."""
    made = Chapter("log", FLAGS)
    for add in (
        add_genesis, add_genesis_refusals, add_records, add_record_refusals, add_heads,
        add_accepted, add_ends, add_flips, add_exchanged, add_entries, add_verdicts, add_impossible_verdicts,
        add_censuses,
    ):  # fmt: skip
        add(made)
    return made


def add_genesis(made: Chapter) -> None:
    """LOG-1 and LOG-2: genesis records both ways."""
    for name, config in (
        ("btard", configuration()),
        ("tolerance", configuration(tolerance=2.0**-10)),
        ("majority-vote", configuration(profile=MAJORITY_VOTE)),
        ("redundant-code", configuration(profile=REDUNDANT_CODE, peers=6, liars=1)),
        ("least", configuration(peers=2, tolerated=0, dimension=2, steps=1)),
    ):
        genesis = genesis_of(config)
        content = {"roster": texts(genesis.roster), "state_hash": genesis.state_hash.hex()}
        made.right(name, "log.write_genesis", "LOG-1", configuration=plain_configuration(config), **content)
        made.right(name, "log.read_genesis", "LOG-1 LOG-2", data=genesis.encode().hex())
    add_wrong_ids(made)


def add_wrong_ids(made: Chapter) -> None:
    """LOG-1: what else one could hash."""
    genesis = genesis_of(configuration())
    given = {"configuration": plain_configuration(genesis.configuration), "roster": texts(genesis.roster)}
    for name, run in (
        ("whole-record", tagged_hash("btard/run", encode([0, genesis.content()]))),
        ("other-tag", tagged_hash("btard/log", encode(genesis.content()))),
        ("roster-only", tagged_hash("btard/run", *genesis.roster)),
    ):
        mistaken = {"run": run.hex(), "data": encode([0, genesis.content(), run]).hex()}
        made.trap(
            name, "log.write_genesis", "LOG-1", "wrong-run-id", mistaken,
            **given, state_hash=genesis.state_hash.hex(),
        )  # fmt: skip


def genesis_with(change: Callable[[list[Any]], None]) -> bytes:
    """A genesis record whose content was changed, with the run id of the changed content."""
    content: list[Any] = genesis_of(configuration()).content()  # type: ignore[assignment]
    change(content)
    return encode([0, content, tagged_hash("btard/run", encode(content))])


def setting(**changes: Any) -> Callable[[list[Any]], None]:
    """A change of the configuration; None takes a field out."""

    def change(content: list[Any]) -> None:
        content[0].update(changes)
        for name in [name for name, value in changes.items() if value is None]:
            del content[0][name]

    return change


def peers(listing: Callable[[list[bytes]], list[Any]]) -> Callable[[list[Any]], None]:
    """A change of the roster."""

    def change(content: list[Any]) -> None:
        content[1] = listing(content[1])

    return change


def double(value: float) -> bytes:
    """A real number as it stands in a configuration."""
    return bytes.fromhex(real(value))


GENESIS_REFUSALS: dict[str, tuple[str, Callable[[list[Any]], None]]] = {
    "descending": ("bad-roster", peers(lambda roster: roster[::-1])),
    "peer-twice": ("bad-roster", peers(lambda roster: [roster[0], *roster[:-1]])),
    "peer-missing": ("bad-roster", peers(lambda roster: roster[1:])),
    "peer-too-many": ("bad-roster", peers(lambda roster: sorted([*roster, STRANGER.peer_id]))),
    "no-point": ("bad-key", peers(lambda roster: [bytes([2]) + bytes(31), *roster[1:]])),
    "neutral-point": ("bad-key", peers(lambda roster: [bytes([1]) + bytes(31), *roster[1:]])),
    "short-key": ("bad-key", peers(lambda roster: [roster[0][:31], *roster[1:]])),
    "extra-field": ("other-fields", setting(colour=1)),
    "missing-field": ("other-fields", setting(compression=None)),
    "real-as-integer": ("other-fields", setting(delay=1)),
    "short-real": ("other-fields", setting(delay=double(1.0)[:4])),
    "count-as-bytes": ("other-fields", setting(steps=double(3.0))),
    "flag-as-count": ("other-fields", setting(tolerated=True)),
    "text-as-bytes": ("other-fields", setting(task=b"quadratic")),
    "setting-of-three": ("other-fields", setting(optimizer=[["name", "sgd", "0"]])),
    "too-few-peers": ("bad-configuration", setting(tolerated=2)),
    "other-n": ("bad-configuration", setting(peers=6)),
    "short-vector": ("bad-configuration", setting(dimension=4)),
    "no-steps": ("bad-configuration", setting(steps=0)),
    "no-validators": ("bad-configuration", setting(validators=0)),
    "phi-of-one": ("bad-configuration", setting(residual_ratio=double(1.0))),
    "negative-zero-radius": ("bad-configuration", setting(radius_initial=double(-0.0))),
    "not-a-number": ("bad-configuration", setting(gradient_clip=double(float("nan")))),
    "infinite": ("bad-configuration", setting(gradient_time=double(float("inf")))),
    "negative": ("bad-configuration", setting(gradient_time=double(-1.0))),
    "radii-crossed": ("bad-configuration", setting(radius_min=double(32.0))),
    "kappa-of-zero": ("bad-configuration", setting(distance_ratio=double(0.0))),
    "kappa-too-small": ("bad-configuration", setting(distance_ratio=double(2.0))),
    "rounding-too-coarse": ("bad-configuration", setting(radius_min=double(2.0**-20))),
    "factor-too-great": ("bad-configuration", setting(radius_factor=double(16.0))),
    "margin-without-tolerance": ("bad-configuration", setting(margin=double(0.5))),
    "margin-of-zero": ("bad-configuration", setting(tolerance=double(2.0**-10))),
    "margin-too-small": ("bad-configuration", setting(tolerance=double(2.0**-10), margin=double(2.0**-12))),
    "no-such-profile": ("bad-configuration", setting(profile="btard-2")),
    "liars-without-groups": ("bad-configuration", setting(liars=1)),
    "tolerance-of-votes": ("bad-configuration", setting(profile=MAJORITY_VOTE, tolerance=double(2.0**-10))),
    "sure-detection": ("bad-configuration", setting(profile=MAJORITY_VOTE, detection=double(1.0))),
    "no-such-optimizer": ("bad-configuration", setting(optimizer=[["name", "newton"]])),
    "no-optimizer": ("bad-configuration", setting(optimizer=[])),
}
"""By name: the mistake, and a change of the genesis content that must be refused."""


def add_genesis_refusals(made: Chapter) -> None:
    """LOG-2."""
    for name, (flag, change) in GENESIS_REFUSALS.items():
        made.refused(name, "log.read_genesis", "LOG-2", flag, data=genesis_with(change).hex())
    genesis = genesis_of(configuration())
    record, content = genesis.encode(), genesis.content()
    other = genesis_of(configuration(steps=4))
    for name, flag, data in (
        ("wrong-id", "wrong-run-id", encode([0, content, other.run])),
        ("zero-id", "wrong-run-id", encode([0, content, bytes(32)])),
        ("no-id", "wrong-run-id", encode([0, content])),
        ("record-1", "bad-record", encode([1, content, genesis.run])),
        ("false-for-0", "bad-record", encode([False, content, genesis.run])),
        ("long-form", "canonical", record[:1] + b"\x18\x00" + record[2:]),
        ("trailing-byte", "canonical", record + b"\x00"),
        ("cut", "cut", record[:-1]),
        ("nothing", "cut", b""),
    ):
        made.refused(name, "log.read_genesis", "LOG-2", flag, data=data.hex())


def plain_record(record: Record) -> dict[str, Any]:
    """The input of ``log.write_record``."""
    entries = [None if entry is None else entry.encode().hex() for entry in record.entries]
    verdicts = [plain_verdict(verdict) for verdict in record.verdicts]
    return {"index": record.index, "slot": plain_slot(record.slot), "entries": entries, "verdicts": verdicts}


SHOWN = (
    ("commit", "quiet", 0, Phase.COMMIT),
    ("silence", "silence", 1, Phase.COMMIT),
    ("acquittal", "false-accuser", 1, Phase.COMMIT),
    ("conviction", "shifted-aggregate", 1, Phase.REPORT),
    ("correction", "wrong-report", 1, Phase.COMMIT),
    ("closing", "pair", 4, Phase.CLOSING),
    ("vote", "tolerance", 2, Phase.COMMIT_VOTE),
)
"""Records that are shown by themselves: name, run, step, phase."""


def add_records(made: Chapter) -> None:
    """Records both ways."""
    for name, run, step, phase in SHOWN:
        record = recorded(run).record(step, phase)
        made.right(name, "log.write_record", "LOG-3 LOG-4", **plain_record(record))
        made.right(name, "log.read_record", "LOG-3 LOG-4", data=record.encode().hex())


def add_record_refusals(made: Chapter) -> None:
    """Bytes that are no record."""
    record = recorded("pair").records[-1]
    item: list[Any] = [record.index, [4, 0, 6], [None if e is None else e.to_item() for e in record.entries], []]
    accused = recorded("pair").genesis.roster[0]
    headless = item[2][0][:9]
    wrong: dict[str, list[Any]] = {
        "no-verdicts": item[:3],
        "scatter": [item[0], [4, 0, 1], *item[2:]],
        "no-such-phase": [item[0], [4, 0, 16], *item[2:]],
        "slot-with-part": [item[0], [4, 0, 6, 0], *item[2:]],
        "index-as-bytes": [b"\x0e", *item[1:]],
        "index-as-flag": [True, *item[1:]],
        "entry-without-signature": [*item[:2], [headless, *item[2][1:]], []],
        "entry-as-bytes": [*item[:2], [encode(item[2][0]), *item[2][1:]], []],
        "false-for-null": [*item[:2], [False, *item[2][1:]], []],
        "no-such-subject": [*item[:3], [[[1, accused, 3], []]]],
        "no-such-fault": [*item[:3], [[[1, accused, 0], [[accused, 20, b""]]]]],
        "short-accused": [*item[:3], [[[1, accused[:31], 0], []]]],
        "finding-without-correction": [*item[:3], [[[1, accused, 0], [[accused, 7]]]]],
        "correction-null": [*item[:3], [[[1, accused, 0], [[accused, 7, None]]]]],
    }
    for name, content in wrong.items():
        made.refused(name, "log.read_record", "LOG-3", "bad-record", data=encode(content).hex())
    data = record.encode()
    for name, flag, shown in (
        ("long-index", "canonical", data[:1] + b"\x18" + data[1:2] + data[2:]),
        ("trailing-byte", "canonical", data + b"\xf6"),
        ("indefinite", "canonical", b"\x9f" + data[1:] + b"\xff"),
        ("cut", "cut", data[:-1]),
    ):
        made.refused(name, "log.read_record", "LOG-3", flag, data=shown.hex())


def add_heads(made: Chapter) -> None:
    """LOG-3: the chain, and what it covers."""
    for name, run, step, phase in SHOWN:
        log = recorded(run)
        index = log.index(step, phase)
        given = {"head": log.heads[index - 1].hex(), "record": log.records[index - 1].encode().hex()}
        made.right(name, "log.head", "LOG-3", **given)
    log = recorded("wrong-report")
    index = log.index(1, Phase.COMMIT)
    head, record = log.heads[index - 1], replace(log.records[index - 1])
    record = replace(record, entries=(None, *record.entries[1:]))
    given = {"head": head.hex(), "record": record.encode().hex()}
    for flag, before, content in head_mistakes(head, record):
        made.trap(flag, "log.head", "LOG-3", flag, tagged_hash("btard/log", *before, encode(content)).hex(), **given)
    entry = record.entries[1]
    other = None if entry is None else replace(entry, signature=bytes(64))
    resigned = replace(record, entries=(None, other, *record.entries[2:]))
    mistaken = tagged_hash("btard/log", head, resigned.encode()).hex()
    again = {"head": head.hex(), "record": resigned.encode().hex()}
    made.trap("other-signature-same-head", "log.head", "LOG-3", "signatures-in-head", mistaken, **again)


def head_mistakes(head: bytes, record: Record) -> Iterable[tuple[str, tuple[bytes, ...], Any]]:
    """Mistakes in the content that a head covers: the flag, what stands before it, the content."""
    index, slot = record.index, [record.slot.step, record.slot.attempt, int(record.slot.phase)]
    heard = [entry for entry in record.entries if entry is not None]
    digests: list[Any] = [None if e is None else e.signed_header.digest for e in record.entries]
    bodies: list[Any] = [None if e is None else e.signed_header.body_hash for e in record.entries]
    verdicts = [verdict.to_item() for verdict in record.verdicts]
    yield "signatures-in-head", (head,), [index, *slot, [None, *(e.to_item() for e in heard)], verdicts]
    yield "body-in-head", (head,), [index, *slot, bodies, verdicts]
    yield "no-verdicts-in-head", (head,), [index, *slot, digests, []]
    yield "no-silence-in-head", (head,), [index, *slot, digests[1:], verdicts]
    yield "no-head-before", (), [index, *slot, digests, verdicts]
    yield "no-index-in-head", (head,), [*slot, digests, verdicts]
    yield "part-in-head", (head,), [index, *slot, 0, digests, verdicts]


# -- Audits --------------------------------------------------------------------------------------------------


def add_accepted(made: Chapter) -> None:
    """LOG-5: logs that are accepted, whole and as far as they had come."""
    for name in RECIPES:
        made.right(name, "log.audit", "LOG-5 LOG-4", log=recorded(name).file)
    for name, step, phase in (
        ("quiet", 0, Phase.COMMIT),
        ("pair", 1, Phase.AGGREGATE),
        ("membership", 3, Phase.AGGREGATE),
    ):
        log = recorded(name)
        made.right(f"{name}-until-{step}", "log.follow", "LOG-5", log=log.until(log.index(step, phase)))
    log = recorded("quiet")
    mistaken = {"bad_record": len(log.records)}
    for places in ((0,), (2, 6)):
        name = f"{len(places)}-signatures-less"
        less = Draft(log, len(log.records)).silence(*places).file
        made.trap(name, "log.audit", "LOG-5 STEP-11", "all-signatures", mistaken, log=less)


def add_ends(made: Chapter) -> None:
    """LOG-5: a log ends with its closing record, and with nothing else."""
    log = recorded("pair")
    accepted, count = made_report(log), len(log.records)
    last = log.offsets[-1]
    for name, flag, edit in (
        ("no-closing-record", "unclosed", Edit(log.offsets[count], last - log.offsets[count])),
        ("cut-between-records", "unclosed", Edit(log.offsets[5], last - log.offsets[5])),
        ("genesis-alone", "unclosed", Edit(log.offsets[1], last - log.offsets[1])),
        ("cut-in-last-record", "cut", Edit(last - 1, 1)),
        ("cut-in-the-middle", "cut", Edit(log.offsets[4] + 100, last - log.offsets[4] - 100)),
        ("cut-in-genesis", "cut", Edit(100, last - 100)),
        ("nothing", "cut", Edit(0, last)),
        ("byte-after-the-end", "follows", Edit(last, 0, b"\x00")),
        ("half-a-record-after-the-end", "follows", Edit(last, 0, b"\x84\x0f")),
        ("closing-record-twice", "follows", Edit(last, 0, log.records[-1].encode())),
        ("record-after-the-end", "follows", Edit(last, 0, log.records[4].encode())),
    ):
        made.trap(name, "log.audit", "LOG-5", flag, accepted, log=log.file.with_edits(edit))


def made_report(log: Recorded) -> dict[str, Any]:
    """What an auditor says of a log that it accepts."""
    report: dict[str, Any] = compute_audit({"log": log.log.hex()})
    return report


def add_flips(made: Chapter) -> None:
    """One bit turned, in every kind of field and all over the file."""
    log = recorded("false-accuser")
    accepted = made_report(log)
    found = Draft(log, log.index(1, Phase.COMMIT))
    entry, start = found.entries[2], found.places[2]
    fields = entry.to_item() if isinstance(entry, Envelope) else []
    names = ("version", "run", "step", "attempt", "phase", "part", "sender", "log-head", "body", "signature")
    for name, field in zip(names, fields if isinstance(fields, list) else [], strict=True):
        start += len(encode(field)) + (name == "version")
        made.trap(f"flip-{name}", "log.audit", "LOG-5 MSG-2", "unnoticed", accepted, log=flipped(log, start - 1))
    record, verdicts = log.offsets[found.index], found.places[-1]
    for name, at in (
        ("index", record + 1), ("slot-step", record + 3), ("slot-attempt", record + 4), ("slot-phase", record + 5),
        ("trial-step", verdicts + 3), ("accused", verdicts + 10), ("subject", verdicts + 38),
    ):  # fmt: skip
        made.trap(f"flip-{name}", "log.audit", "LOG-5", "unnoticed", accepted, log=flipped(log, at))
    for at in range(61, log.offsets[-1], log.offsets[-1] // 24):
        made.trap(f"flip-byte-{at}", "log.audit", "LOG-5", "unnoticed", accepted, log=flipped(log, at))


def flipped(log: Recorded, at: int) -> File:
    """The log with the lowest bit of one byte turned."""
    return log.file.with_edits(Edit(at, 1, bytes([log.log[at] ^ 1])))


def add_exchanged(made: Chapter) -> None:
    """LOG-5: records that are elsewhere than they belong."""
    log, other = recorded("pair"), recorded("wrong-gradient")
    accepted = made_report(log)
    data = [record.encode() for record in log.records]
    start = log.offsets[5]
    record = log.records[4]
    for name, flag, file in (
        ("swapped", "unchecked-index", log.file.with_edits(Edit(start, len(data[4] + data[5]), data[5] + data[4]))),
        ("twice", "unchecked-index", log.file.with_edits(Edit(start, 0, data[3]))),
        ("left-out", "unchecked-index", log.file.with_edits(Edit(start, len(data[4])))),
        ("other-run", "unchecked-place", rewritten(log, 1, other.records[0].encode())),
        ("other-phase", "unchecked-place", rewritten(log, 5, replace(record, slot=Slot(1, 0, Phase.REVEAL)).encode())),
        ("other-step", "unchecked-place", rewritten(log, 5, replace(record, slot=Slot(0, 0, Phase.COMMIT)).encode())),
        (
            "other-attempt",
            "unchecked-place",
            rewritten(log, 5, replace(record, slot=Slot(1, 1, Phase.COMMIT)).encode()),
        ),
        ("other-index", "unchecked-index", rewritten(log, 5, replace(record, index=6).encode())),
    ):
        made.trap(name, "log.audit", "LOG-5", flag, accepted, log=file)
    again = Draft(log, 5)
    for place in range(len(again.entries)):
        again.put(place, slot=Slot(1, 1, Phase.COMMIT))
    moved = replace(log.records[4], slot=Slot(1, 1, Phase.COMMIT), entries=tuple(again.entries))  # type: ignore[arg-type]
    made.trap(
        "skips-an-attempt", "log.audit", "LOG-5", "unchecked-place", accepted, log=rewritten(log, 5, moved.encode())
    )


def add_entries(made: Chapter) -> None:
    """LOG-4 and LOG-5: who has an entry, signed by whom, covering what."""
    log = recorded("pair")
    accepted, record = made_report(log), log.records[5]
    first, *rest = record.entries
    stranger = None if first is None else resealed(STRANGER, first, sender=STRANGER.peer_id)
    forged = None if first is None else replace(first, signature=bytes(64))
    other = None if first is None else resealed(owner(first.sender), first, encode([]))
    for name, flag, entries in (
        ("stranger", "stranger", (stranger, *rest)),
        ("stranger-added", "stranger", (stranger, first, *rest)),
        ("entry-missing", "unchecked-order", tuple(rest)),
        ("null-added", "unchecked-order", (first, *rest, None)),
        ("entry-twice", "unchecked-order", (first, first, *rest[1:])),
        ("entries-swapped", "unchecked-order", (rest[0], first, *rest[1:])),
        ("no-signature", "unchecked-signature", (forged, *rest)),
    ):
        data = replace(record, entries=entries).encode()
        made.trap(name, "log.audit", "LOG-4 LOG-5", flag, accepted, log=rewritten(log, 6, data))
    nobody = replace(record, entries=(None,) * len(record.entries)).encode()
    made.trap(
        "all-silent", "log.audit", "LOG-5", "unchecked-head", {"bad_record": 6}, log=rewritten(log, 6, nobody)
    )  # fmt: skip
    later = {"bad_record": 7}
    for name, entries in (
        ("message-withheld", (None, *rest)),
        ("message-exchanged", (other, *rest)),
    ):
        data = replace(record, entries=entries).encode()
        made.trap(name, "log.audit", "LOG-5", "blames-next", later, log=rewritten(log, 6, data))
    add_forged_heads(made)


def add_forged_heads(made: Chapter) -> None:
    """LOG-5: more than half of the entries carry the head, not half of them."""
    for name, count in (("half-of-the-heads", 2), ("no-heads", 4)):
        forged = draft("silence", 1, Phase.AGGREGATE, attempt=1)
        for place in range(count):
            forged.put(place, log_head=bytes(32))
        mistaken = {"bad_record": forged.index}
        made.trap(name, "log.follow", "LOG-5", "blames-next", mistaken, log=forged.file)
    forged = draft("quiet", 1, Phase.AGGREGATE)
    for place in range(4):
        forged.put(place, log_head=bytes(32))
    mistaken = {"bad_record": forged.index}
    made.trap("three-of-seven-heads", "log.follow", "LOG-5", "unchecked-head", mistaken, log=forged.file)


def taken_for_good(made: Draft, *convicted: tuple[int, Fault]) -> dict[str, Any]:
    """What is said of a log if its last record is accepted, and these peers are convicted in it."""
    record = replace(made.record, entries=tuple(made.entries), verdicts=tuple(made.verdicts))  # type: ignore[arg-type]
    head = record.head_after(made.origin.heads[made.index - 1])
    slot = plain_slot(record.slot)
    removals = [[made.roster[place].hex(), "convicted", int(fault), slot, None] for place, fault in convicted]
    return {"records": made.index + 1, "removals": removals, "head": head.hex()}


def add_verdicts(made: Chapter) -> None:
    """LOG-5: the verdicts are those of the trials that the messages call for."""
    guilty, innocent, many = recorded("shifted-aggregate"), recorded("false-accuser"), recorded("redundant-code")
    quiet = recorded("pair")
    for name, log, index, change in (
        ("missing", guilty, guilty.index(1, Phase.REPORT), lambda verdicts: ()),
        ("acquitted", guilty, guilty.index(1, Phase.REPORT), lambda verdicts: (replace(verdicts[0], findings=()),)),
        ("acquittal-missing", innocent, innocent.index(1, Phase.COMMIT), lambda verdicts: ()),
        ("twice", innocent, innocent.index(1, Phase.COMMIT), lambda verdicts: verdicts * 2),
        ("exchanged", many, many.index(1, Phase.REPORT), lambda verdicts: verdicts[::-1]),
        ("one-too-few", many, many.index(1, Phase.REPORT), lambda verdicts: verdicts[:-1]),
        ("uncalled-for", quiet, quiet.index(1, Phase.COMMIT), lambda _: innocent.record(1, Phase.COMMIT).verdicts),
    ):  # fmt: skip
        record = log.records[index - 1]
        data = replace(record, verdicts=change(record.verdicts)).encode()
        made.trap(
            f"verdict-{name}", "log.audit", "LOG-5", "unchecked-verdict", made_report(log),
            log=rewritten(log, index, data),
        )  # fmt: skip


def add_impossible_verdicts(made: Chapter) -> None:
    """LOG-6: what a trial can find."""
    called = draft("false-accuser", 1, Phase.COMMIT)
    trial = called.verdicts[0].trial
    accused, other = called.roster.index(trial.accused), 3
    right = bytes(16 * 5)
    for name, found in (
        ("wrong-hash", (accused, Fault.WRONG_HASH, b"")),
        ("wrong-report", (accused, Fault.WRONG_REPORT, right)),
    ):
        made.right(f"finds-{name}", "log.follow", "LOG-6", log=judged("false-accuser", Phase.COMMIT, found).file)
    for name, findings in (
        ("wrong-aggregate-of-a-worker", [(accused, Fault.WRONG_AGGREGATE, b"")]),
        ("wrong-opening", [(accused, Fault.WRONG_OPENING, b"")]),
        ("wrong-gradient", [(accused, Fault.WRONG_GRADIENT, b"")]),
        ("somebody-else", [(other, Fault.WRONG_HASH, b"")]),
        ("two-findings", [(accused, Fault.WRONG_HASH, b""), (accused, Fault.WRONG_REPORT, right)]),
        ("the-same-twice", [(accused, Fault.WRONG_HASH, b"")] * 2),
        ("no-true-report", [(accused, Fault.WRONG_REPORT, b"")]),
        ("short-report", [(accused, Fault.WRONG_REPORT, right[16:])]),
        ("not-finite", [(accused, Fault.WRONG_REPORT, right[:-2] + b"\xf0\x7f")]),
        ("report-of-wrong-hash", [(accused, Fault.WRONG_HASH, right)]),
    ):
        add_impossible(made, name, judged("false-accuser", Phase.COMMIT, *findings), findings)
    add_impossible_aggregates(made)


Found = tuple[int, Fault, bytes]
"""A finding: the guilty peer's place in the roster, the fault, the true report."""


def judged(name: str, phase: Phase, *findings: Found) -> Draft:
    """A log that ends with a record of step 1 in which one trial was held, with other findings."""
    made = draft(name, 1, phase)
    trial = made.verdicts.pop().trial
    return made.judged(trial, *(Finding(made.roster[place], fault, report) for place, fault, report in findings))


def add_impossible(made: Chapter, name: str, shown: Draft, findings: Iterable[Found]) -> None:
    """One verdict that no such trial can have; the mistake is to punish whom it names."""
    guilty = {place: fault for place, fault, _ in reversed(list(findings))}
    taken = taken_for_good(shown, *guilty.items())
    made.trap(name, "log.follow", "LOG-6", "impossible-verdict", taken, log=shown.file)


def add_impossible_aggregates(made: Chapter) -> None:
    """LOG-6 in the trial of an aggregate."""
    name, phase = "shifted-aggregate", Phase.REPORT
    shown = draft(name, 1, phase)
    accused = shown.roster.index(shown.verdicts[0].trial.accused)
    other = 1 - min(accused, 1)
    size = bytes(16 * len(shown.roster))
    both = ((accused, Fault.WRONG_HASH, b""), (accused, Fault.WRONG_AGGREGATE, b""))
    made.right("worker-and-aggregator", "log.follow", "LOG-6", log=judged(name, phase, *both).file)
    helped = ((other, Fault.WRONG_REPORT, size), (accused, Fault.WRONG_AGGREGATE, b""))
    made.trap(
        "one-of-each-stops-the-run", "log.follow", "LOG-6 BAN-4", "goes-on",
        taken_for_good(judged(name, phase, *helped), (other, Fault.WRONG_REPORT), (accused, Fault.WRONG_AGGREGATE)),
        log=judged(name, phase, *helped).file,
    )  # fmt: skip
    for title, findings in (
        ("other-aggregator", [(other, Fault.WRONG_AGGREGATE, b"")]),
        ("aggregate-with-report", [(accused, Fault.WRONG_AGGREGATE, size)]),
        ("aggregator-twice", [(accused, Fault.WRONG_AGGREGATE, b"")] * 2),
        ("impossible-aggregate", [(accused, Fault.IMPOSSIBLE_AGGREGATE, b"")]),
        ("worker-twice", [(other, Fault.WRONG_HASH, b""), (other, Fault.WRONG_REPORT, size)]),
    ):
        add_impossible(made, title, judged(name, phase, *findings), findings)


def add_censuses(made: Chapter) -> None:
    """LOG-5: a run that would have stopped, and a closing record that too few have signed."""
    log = recorded("quiet")
    few = Draft(log, len(log.records)).silence(0, 3, 5).file
    made.trap("too-few-signatures", "log.audit", "LOG-5 STEP-11", "few-signatures", made_report(log), log=few)
    silent = draft("quiet", 1, Phase.REVEAL).silence(0, 1, 2)
    going_on = {**taken_for_good(silent), "removals": []}
    going_on["removals"] = [
        [silent.roster[k].hex(), "absent", 0, plain_slot(silent.record.slot), None] for k in (0, 1, 2)
    ]
    made.trap("three-of-two-tolerated", "log.follow", "LOG-5 BAN-4", "goes-on", going_on, log=silent.file)
    split = draft("quiet", 1, Phase.COMMIT)
    for place in range(3):
        split.say(place, state_hash=bytes(32))
    split.silence(3)
    taken = taken_for_good(split, *((place, Fault.DIVERGED) for place in range(3)))
    made.trap("no-majority-of-state-hashes", "log.follow", "LOG-5 STEP-4", "goes-on", taken, log=split.file)
