"""Which requirements decide about what: for differences between an implementation and the reference."""

from __future__ import annotations

from typing import NamedTuple


class Attribution(NamedTuple):
    """One thing that is compared."""

    what: str
    requirements: tuple[str, ...]
    """The likeliest first."""


def decided(what: str, requirements: str) -> Attribution:
    """A row of the table."""
    return Attribution(what, tuple(requirements.split()))


ATTRIBUTIONS = {
    # What is agreed on.
    "state.removals": decided("removals", "BAN-1 BAN-5 BAN-3"),
    "state.roster": decided("roster", "BAN-1 MEMB-7 MEMB-8"),
    "state.tolerated": decided("b_t", "BAN-4"),
    "state.randomness": decided("randomness", "MPRNG-4 MPRNG-5"),
    "state.state_hash": decided("state hash", "UPD-8 UPD-4 STEP-8"),
    "state.head": decided("log head", "LOG-3"),
    "record.slot": decided("record: its phase", "STEP-9 BAN-1"),
    "record.entries": decided("record: what was delivered", "BCAST-6 BCAST-4 CHAN-3"),
    "record.verdicts": decided("record: verdicts", "VER-8 VER-9 BAN-8"),
    "record.bytes": decided("record: bytes", "LOG-4 ENC-4"),
    "aggregate": decided("aggregated part", "CLIP-5 CLIP-4 CODE-14"),
    # What a message says.
    "header": decided("any message: its header", "MSG-1 LOG-3"),
    "header.log_head": decided("any message: log head", "LOG-3"),
    "header.signature": decided("any message: signature", "ID-3 MSG-1"),
    "body": decided("any message: form of the body", "MSG-5 ENC-4"),
    "commit.part_hashes": decided("Commit: part hashes", "STEP-3 MPRNG-6 ARITH-4"),
    "commit.commitment": decided("Commit: commitment", "MPRNG-2 MPRNG-1"),
    "commit.state_hash": decided("Commit: state hash", "UPD-8 UPD-4 STEP-8"),
    "commit.accusations": decided("Commit: accusations", "VER-7 VER-5 VER-6"),
    "commit.letters": decided("Commit: letters", "MEMB-12 MEMB-1"),
    "commit.leaving": decided("Commit: leaving", "MEMB-8"),
    "aggregate.aggregate_hash": decided("Aggregate: hash", "STEP-7 CLIP-5 STEP-5"),
    "reveal.opening": decided("Reveal: opening", "MPRNG-1"),
    "reveal.accusations": decided("Reveal: accusations", "VER-10"),
    "report.inner_products": decided("Report: inner products", "VER-1 MPRNG-9 CLIP-3"),
    "report.norms": decided("Report: norms", "VER-1 CODE-12"),
    "report.chunks": decided("Report: chunks", "SIGN-6 SIGN-5"),
    "notices.complaints": decided("any agreed message: complaints", "BCAST-8 STEP-6"),
    "notices.evidence": decided("any agreed message: evidence", "STEP-6 BCAST-9 BCAST-8"),
    "notices.echoes": decided("any agreed message: attached echoes", "BCAST-8 BAN-10"),
    "echo.vector": decided("echo: what was received", "BCAST-2 BCAST-9"),
    "scatter": decided("part in Scatter or Ballot", "STEP-5 CLIP-1 ARITH-5"),
    "gather": decided("part in Gather or Tally", "CLIP-5 ARITH-5"),
    "relay.signatures": decided("relay: its signatures", "BCAST-7"),
    "ask.held": decided("ask: what it holds", "BCAST-5"),
    "answer.content": decided("answer: certificate and messages", "BCAST-5 NODE-2"),
    "frame": decided("frame: form", "BCAST-1 ENC-4"),
    # Whether and when something is sent.
    "echo": decided("echo: when", "BCAST-2 BCAST-3"),
    "offer": decided("offer: when", "BCAST-4 BCAST-5"),
    "relay": decided("relay: when", "BCAST-7"),
    "ask": decided("ask: when", "BCAST-5 BCAST-6"),
    "answer": decided("answer: when", "BCAST-5 NODE-2 LIM-7"),
    "part": decided("part: when", "EXCH-1 STEP-7"),
    "message": decided("agreed message: when", "NODE-1 BCAST-7 BCAST-4"),
    "record": decided("record: when", "BCAST-4 BCAST-7"),
    "state": decided("state: when", "STEP-9 STEP-10 BAN-1"),
    "ended": decided("end of the run", "STEP-11 STEP-10"),
    # How it answers.
    "unsupported": decided("things that nobody has", "CONF-1"),
    "clock": decided("times to be woken at", "CONF-3"),
    "form": decided("form of an answer", "CONF-5 CONF-1"),
}
"""By what differs. In this order the differences of an instant are reported."""
