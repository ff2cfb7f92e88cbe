"""The log: a hash-chained, append-only record of everything agreed (chapter ``log``)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import Self

from btard.protocol.arithmetic import float64_bytes, float64_vector
from btard.protocol.bans import Fault
from btard.protocol.encoding import Item, decode, encode, tagged_hash
from btard.protocol.identity import check_public_key
from btard.protocol.messages import (
    HASH_BYTES,
    MAX_AGREED_BODY,
    Envelope,
    MessageError,
    Phase,
    Slot,
    count,
    distinct,
    hashes,
    items,
    listed,
    member,
    octets,
)
from btard.protocol.model import (
    COUNT_FIELDS,
    MAX_PEERS,
    REAL_FIELDS,
    Configuration,
    ConfigurationError,
    PeerId,
    ProtocolError,
    Roster,
)
from btard.protocol.update import from_description

MAX_VERDICTS = 4 * MAX_PEERS
"""Most verdicts in one record: workers of two steps, their aggregators, and aggregates that failed with them."""
MAX_RECORD = (MAX_PEERS + 1) * (MAX_AGREED_BODY + 1024)
"""Upper bound on the bytes of one record."""


class LogError(ProtocolError):
    """A log that is not one; ``record`` is the index of the first bad record."""

    def __init__(self, record: int, reason: str) -> None:
        super().__init__(f"record {record}: {reason}")
        self.record = record
        self.reason = reason


# -- Genesis ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Genesis:
    """Record 0: what all peers know before the first step. Its hash is the run's id and the first log head."""

    configuration: Configuration
    roster: Roster
    state_hash: bytes
    """Hash of the initial parameters and optimizer state."""

    @cached_property
    def run(self) -> bytes:
        """The run id, 32 bytes. Source: LOG-1."""
        return tagged_hash("btard/run", encode(self.content()))  # requirement: LOG-1

    def content(self) -> Item:
        """CDDL ``genesis-content``."""
        config = self.configuration
        reals: dict[str, Item] = {name: float64_bytes(getattr(config, name)) for name in REAL_FIELDS}
        counts: dict[str, Item] = {name: getattr(config, name) for name in COUNT_FIELDS}
        texts: dict[str, Item] = {"profile": config.profile, "task": config.task}
        update: dict[str, Item] = {"optimizer": [[name, value] for name, value in config.optimizer]}
        return [{**counts, **reals, **texts, **update}, list(self.roster), self.state_hash]

    def encode(self) -> bytes:
        """Record 0: the content and the run id, so that it proves itself."""
        return encode([0, self.content(), self.run])

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Inverse of :meth:`encode`; raises a :class:`ProtocolError`."""
        index, content, run = items(decode(data, MAX_RECORD), 3, "a genesis record")
        if count(index) != 0:
            raise MessageError("a log begins with record 0")
        settings, roster, state_hash = items(content, 3, "the genesis content")
        peers = distinct(hashes(roster))
        genesis = cls(read_configuration(settings), peers, octets(state_hash, HASH_BYTES))
        if genesis.run != run or genesis.encode() != data:
            raise MessageError("the run id is not the hash of the genesis content")
        genesis.check()
        return genesis

    def check(self) -> None:
        """Refuse a roster that does not fit the configuration or holds a bad key, and an optimizer that does not
        exist (LOG-2)."""
        if len(self.roster) != self.configuration.peers or tuple(sorted(self.roster)) != self.roster:
            raise ConfigurationError("the roster is not the sorted list of n peers")
        for peer in self.roster:
            check_public_key(peer)  # requirement: LOG-2
        from_description(self.configuration.optimizer)


def read_configuration(item: Item) -> Configuration:
    """The configuration of a genesis record; raises :class:`ProtocolError`."""
    names = {*REAL_FIELDS, *COUNT_FIELDS, "profile", "task", "optimizer"}
    if not isinstance(item, dict) or set(item) != names:
        raise MessageError("the configuration does not have exactly the specified fields")
    counts = {name: count(item[name]) for name in COUNT_FIELDS}
    reals = {name: float(float64_vector(octets(item[name], 8))[0]) for name in REAL_FIELDS}
    texts = {name: text(item[name]) for name in ("profile", "task")}
    pairs = [items(entry, 2, "an optimizer setting") for entry in listed(item["optimizer"])]
    optimizer = tuple((text(name), text(value)) for name, value in pairs)
    return Configuration(**counts, **reals, **texts, optimizer=optimizer)  # type: ignore[arg-type]


def text(item: Item) -> str:
    """``item`` as a text string; raises :class:`MessageError`."""
    if not isinstance(item, str):
        raise MessageError("expected a text string")
    return item


# -- Verdicts ---------------------------------------------------------------------------------


class Subject(IntEnum):
    """What a trial is about."""

    WORKER = 0
    """Everything that the accused announced about its gradient in an applied attempt."""
    AGGREGATE = 1
    """The residual of the part that the accused aggregated."""
    CANDIDATE = 2
    """The gradient that the accused committed to on probation."""


@dataclass(frozen=True)
class Trial:
    """Who is tried, for which step, and for what."""

    step: int
    accused: PeerId
    subject: Subject


@dataclass(frozen=True)
class Finding:
    """One peer found guilty. ``correction``: the true report as little-endian float64, if the report was wrong."""

    peer: PeerId
    fault: Fault
    correction: bytes = b""


@dataclass(frozen=True)
class Verdict:
    """The outcome of a trial: who is guilty of what; nobody means that the accused is acquitted."""

    trial: Trial
    findings: tuple[Finding, ...] = ()

    def to_item(self) -> Item:
        """CDDL ``verdict``."""
        trial: list[Item] = [self.trial.step, self.trial.accused, int(self.trial.subject)]
        return [trial, [[found.peer, int(found.fault), found.correction] for found in self.findings]]

    @classmethod
    def from_item(cls, item: Item) -> Self:
        """Inverse of :meth:`to_item`; raises :class:`MessageError`."""
        trial, findings = items(item, 2, "a verdict")
        step, accused, subject = items(trial, 3, "a trial")
        tried = Trial(count(step), octets(accused, HASH_BYTES), member(Subject, subject))
        return cls(tried, tuple(read_finding(entry) for entry in listed(findings)))


def read_finding(item: Item) -> Finding:
    """CDDL ``finding``; raises :class:`MessageError`."""
    peer, fault, correction = items(item, 3, "a finding")
    return Finding(octets(peer, HASH_BYTES), member(Fault, fault), octets(correction))


# -- Records ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Record:
    """One agreed phase: what was delivered, in roster order, and the verdicts that followed from it."""

    index: int
    slot: Slot
    entries: tuple[Envelope | None, ...]
    verdicts: tuple[Verdict, ...] = ()

    def head_after(self, head: bytes) -> bytes:
        """The log head after this record, given the one before.

        Covers agreed content only: a message counts by the hash that its sender signed, not by the
        signature, since two valid signatures of one message are no second version. Source: LOG-3.
        """
        digests: list[Item] = [None if entry is None else entry.signed_header.digest for entry in self.entries]
        content: list[Item] = [self.index, self.slot.step, self.slot.attempt, int(self.slot.phase), digests]
        content.append([verdict.to_item() for verdict in self.verdicts])
        return tagged_hash("btard/log", head, encode(content))  # requirement: LOG-3

    def encode(self) -> bytes:
        """The record as it lies in the file; CDDL ``record``."""
        entries = [None if entry is None else entry.to_item() for entry in self.entries]
        slot: list[Item] = [self.slot.step, self.slot.attempt, int(self.slot.phase)]
        return encode([self.index, slot, entries, [verdict.to_item() for verdict in self.verdicts]])

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Inverse of :meth:`encode`; raises :class:`DecodeError` or :class:`MessageError`."""
        return cls.from_item(decode(data, MAX_RECORD))

    @classmethod
    def from_item(cls, item: Item) -> Self:
        """A record that has been decoded; raises :class:`MessageError`."""
        index, slot, entries, verdicts = items(item, 4, "a record")
        step, attempt, phase = items(slot, 3, "a slot")
        place = Slot(count(step), count(attempt), member(Phase, phase))
        if not place.phase.agreed:
            raise MessageError("the phase is not an agreed one")
        envelopes = tuple(None if entry is None else Envelope.from_item(entry) for entry in listed(entries))
        outcome = tuple(Verdict.from_item(verdict) for verdict in listed(verdicts, MAX_VERDICTS))
        return cls(count(index), place, envelopes, outcome)
