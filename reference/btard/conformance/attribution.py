"""Which requirements decide about what: for differences between an implementation and the reference.

The table names what can be at the root of a difference. Where the two values that differ say more (whose removal is
missing, how many hashes are others), the functions below it name the likeliest requirements first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from btard.protocol.arithmetic import Float64, float64_vector
from btard.protocol.bans import Departure, Fault
from btard.protocol.log import Subject
from btard.protocol.messages import Phase, Slot
from btard.protocol.model import BTARD, MAJORITY_VOTE, REDUNDANT_CODE


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
    "state.roster": decided("roster", "MEMB-7 MEMB-3 MEMB-8 MEMB-5"),
    "state.tolerated": decided("b_t", "BAN-4 MEMB-7"),
    "state.randomness": decided("randomness", "MPRNG-4 MPRNG-5 STEP-8"),
    "state.state_hash": decided("state hash", "UPD-1 UPD-4 UPD-8 STEP-8"),
    "state.head": decided("log head", "LOG-3"),
    "record.slot": decided("record: its phase", "STEP-9 BAN-1"),
    "record.entries": decided("record: what was delivered", "BCAST-6 BCAST-4 CHAN-3"),
    "record.verdicts": decided("record: verdicts", "VER-8 VER-9 BAN-8"),
    "record.bytes": decided("record: bytes", "LOG-4 ENC-4"),
    "aggregate": decided("aggregated part", "CLIP-5 SIGN-3 CODE-14 CLIP-4 SIGN-2"),
    # What a message says.
    "header": decided("any message: its header", "MSG-1 LOG-3"),
    "header.log_head": decided("any message: log head", "LOG-3"),
    "header.signature": decided("any message: signature", "ID-3 MSG-1"),
    "body": decided("any message: form of the body", "MSG-5 ENC-4"),
    "commit.part_hashes": decided("Commit: part hashes", "MPRNG-6 CODE-10 SIGN-1 ARITH-4 CLIP-1 STEP-3"),
    "commit.commitment": decided("Commit: commitment", "MPRNG-2 MPRNG-1"),
    "commit.state_hash": decided("Commit: state hash", "UPD-1 UPD-4 UPD-8 STEP-8"),
    "commit.accusations": decided("Commit: accusations", "VER-5 VER-7 VER-6"),
    "commit.letters": decided("Commit: letters", "MEMB-12 MEMB-1 MEMB-3"),
    "commit.leaving": decided("Commit: leaving", "MEMB-8"),
    "aggregate.aggregate_hash": decided("Aggregate: hash", "STEP-7 MSG-1 STEP-6 CLIP-5"),
    "reveal.opening": decided("Reveal: opening", "MPRNG-1"),
    "reveal.accusations": decided("Reveal: accusations", "VER-10"),
    "report.inner_products": decided("Report: inner products", "VER-1 MPRNG-9 ARITH-2 ARITH-1 CODE-12"),
    "report.norms": decided("Report: norms", "VER-1 ARITH-2 ARITH-1 CODE-12"),
    "report.chunks": decided("Report: chunks", "SIGN-6 SIGN-5"),
    "notices.complaints": decided("any agreed message: complaints", "BCAST-8 STEP-6"),
    "notices.evidence": decided("any agreed message: evidence", "BCAST-9 BCAST-8 STEP-6"),
    "notices.echoes": decided("any agreed message: attached echoes", "BCAST-8 BAN-10"),
    "echo.vector": decided("echo: what was received", "BCAST-2 BCAST-9"),
    "scatter": decided("part in Scatter or Ballot", "STEP-5 CLIP-1 ARITH-5"),
    "gather": decided("part in Gather or Tally", "CLIP-5 ARITH-5"),
    "relay.signatures": decided("relay: its signatures", "BCAST-7"),
    "ask.held": decided("ask: what it holds", "BCAST-5"),
    "answer.content": decided("answer: certificate and messages", "BCAST-5 NODE-2"),
    "frame": decided("frame: form", "BCAST-1 ENC-4"),
    # Whether and when something is sent, or done: what the rest follows from comes first.
    "record": decided("record: when", "BCAST-4 BCAST-7 BCAST-3"),
    "echo": decided("echo: when", "BCAST-2 BCAST-3 NODE-1"),
    "offer": decided("offer: when", "BCAST-5 BCAST-4"),
    "relay": decided("relay: when", "BCAST-7 BCAST-3 NODE-1"),
    "ask": decided("ask: when", "BCAST-5 BCAST-6"),
    "answer": decided("answer: when", "BCAST-5 NODE-2 LIM-7"),
    "state": decided("state: when", "STEP-9 STEP-10 BAN-1"),
    "ended": decided("end of the run", "STEP-11 STEP-10"),
    "part": decided("part: when", "EXCH-1 STEP-7 STEP-2"),
    "message": decided("agreed message: when", "BCAST-4 BCAST-7 NODE-1"),
    # How it answers.
    "unsupported": decided("things that nobody has", "CONF-1"),
    "seat": decided("whether it takes a seat", "LOG-1 LOG-2 UPD-8 ENC-4"),
    "clock": decided("times to be woken at", "CONF-3"),
    "form": decided("form of an answer", "CONF-5 CONF-1"),
}
"""By what differs. In this order the differences of an instant are reported."""

FAULTS = {
    Fault.SILENT: "BAN-5 CHAN-3",
    Fault.MALFORMED: "BAN-5 STEP-3 MPRNG-7 MSG-5",
    Fault.WRONG_LOG_HEAD: "BAN-5 LOG-3",
    Fault.DIVERGED: "STEP-4",
    Fault.WRONG_OPENING: "MPRNG-3",
    Fault.IMPOSSIBLE_REPORT: "VER-2 SIGN-6 CODE-13",
    Fault.MISMATCHED_PART: "BAN-7 STEP-6",
    Fault.WRONG_HASH: "VER-7 VER-8",
    Fault.WRONG_REPORT: "VER-7 VER-8",
    Fault.WRONG_AGGREGATE: "VER-9 SIGN-10 CODE-16",
    Fault.IMPOSSIBLE_AGGREGATE: "VER-10",
    Fault.FALSE_ACCUSATION: "BAN-9 VER-8",
    Fault.FALSE_NOTICE: "BAN-6 VER-6",
    Fault.WITHHELD: "BAN-3",
    Fault.EQUIVOCATION: "BAN-7",
    Fault.UNEXPLAINED_ECHO: "BAN-10",
    Fault.MISSED: "BAN-11 BAN-12",
    Fault.LEAVING: "MEMB-8",
}
"""What decides whether somebody is removed for a fault."""
NEARLY = 1e-4
"""Numbers that are off by less than this share of them come from the same formula."""


# -- What the values say ---------------------------------------------------------------------------


OTHERS = {BTARD: ("SIGN", "CODE"), MAJORITY_VOTE: ("CODE", "CLIP-2", "CLIP-3", "CLIP-5"), REDUNDANT_CODE: ("SIGN",)}
"""Requirements, or chapters, that decide about nothing in a run of a profile."""


def of_profile(requirements: Iterable[str], profile: str) -> tuple[str, ...]:
    """Without those of other profiles."""
    foreign = OTHERS.get(profile, ())
    return tuple(id for id in requirements if id not in foreign and id.partition("-")[0] not in foreign)


def likeliest(key: str, slot: Slot | None = None, wanted: Any = None, given: Any = None) -> tuple[str, ...]:
    """The requirements that decide about ``key`` where the reference has ``wanted`` and an implementation ``given``
    (None: nothing at this instant) in ``slot``. Those that the two values speak for come first."""
    first = REFINED[key](slot, wanted, given) if key in REFINED and slot is not None else ""
    return tuple(dict.fromkeys((*first.split(), *ATTRIBUTIONS[key].requirements)))


def about_removals(slot: Slot, wanted: Any, given: Any) -> str:
    """By the fault of the first removal that only one side has, or by their order."""
    here, there = removals_of(wanted), removals_of(given)
    if Counter(here) == Counter(there):
        return "BAN-1 BAN-8"
    alone = [*without(here, there), *without(there, here)]
    if Counter(peer for peer, *_ in here) == Counter(peer for peer, *_ in there):
        return f"BAN-2 BAN-5 {grounds(alone[0])}"
    return grounds(alone[0])


def about_state(slot: Slot, wanted: Any, given: Any) -> str:
    """An attempt that only one side begins: by why the one before was void, if it was."""
    removals = removals_of((wanted or given)["state.removals"])
    return grounds(removals[-1]) if slot.attempt and removals else ""


def removals_of(plain: Any) -> list[tuple[str, str, Any]]:
    """Removals from JSON; what has not their form has no known fault."""
    listed = plain if isinstance(plain, list) else [plain]
    return [removal_of(entry) for entry in listed]


def removal_of(entry: Any) -> tuple[str, str, Any]:
    """Peer, manner and code of a fault."""
    if isinstance(entry, list) and len(entry) == 3 and isinstance(entry[2], int):
        return str(entry[0]), str(entry[1]), entry[2]
    return str(entry), "", None


def without(some: Iterable[Any], others: Sequence[Any]) -> list[Any]:
    """What is not among the others."""
    return [one for one in some if one not in others]


def grounds(removal: Sequence[Any]) -> str:
    """What decides about one removal."""
    _, manner, code = removal
    known = FAULTS.get(code, "")
    return f"{known} BAN-9 MEMB-2" if manner == Departure.REFUSED.value else known


def about_verdicts(slot: Slot, wanted: Any, given: Any) -> str:
    """The order, a trial that only one side holds, or what is found in one."""
    here, there = dict(map(verdict_parts, wanted)), dict(map(verdict_parts, given))
    if here == there:
        return "BAN-8"
    alone = [*without(here, list(there)), *without(there, list(here))]
    if alone:
        return "VER-3 VER-4 CODE-15" if alone[0][2] == Subject.AGGREGATE else "BAN-8 VER-6 MEMB-9"
    found = next(
        findings for trial in here for findings in (here[trial] or there[trial],) if here[trial] != there[trial]
    )
    return FAULTS.get(found[0][1], "")


def verdict_parts(item: Any) -> tuple[Any, Any]:
    """Trial and findings of an encoded verdict."""
    trial, findings = item
    return tuple(trial), tuple(map(tuple, findings))


def about_part_hashes(slot: Slot, wanted: Any, given: Any) -> str:
    """Another role, another roster, another way to cut, or another gradient."""
    if not wanted or not given:
        return "MPRNG-7 STEP-2 MODEL-2"
    if len(wanted) != len(given):
        return "STEP-3 STEP-2"
    if any(one == other for one, other in zip(wanted, given, strict=True)):
        return "CLIP-1 MPRNG-6 STEP-9" if slot.attempt else "CLIP-1 CODE-4 SIGN-1"
    return "MPRNG-6 STEP-9 CODE-11" if slot.attempt else ""


def about_accusations(slot: Slot, wanted: Any, given: Any) -> str:
    """C1 is about the last step, C4 about the one before."""
    steps = {accusation.step for accusation in {*wanted} ^ {*given}}
    return "VER-5 VER-1 STEP-5" if slot.step - 1 in steps else "VER-7 MPRNG-8 MEMB-6" if steps else "MSG-5"


def about_products(slot: Slot, wanted: Any, given: Any) -> str:
    """Another role; in some parts: their radii; nearly right: the arithmetic; else other directions."""
    here, there = numbers(wanted), numbers(given)
    if len(here) == len(there) and (here == there).any():
        return "VER-1 CLIP-3 ARITH-3"
    return about_norms(slot, wanted, given) or "MPRNG-9 MPRNG-4 VER-1"


def about_norms(slot: Slot, wanted: Any, given: Any) -> str:
    """Another role; the other byte order; nearly right: the arithmetic."""
    here, there = numbers(wanted), numbers(given)
    if len(wanted) != len(given):
        return "STEP-12 MPRNG-7 STEP-2"
    if np.array_equal(here.byteswap(), there, equal_nan=True):
        return "ARITH-5"
    with np.errstate(all="ignore"):
        return "ARITH-2 ARITH-1 VER-1" if (abs(here - there) <= NEARLY * abs(here)).all() else ""


def numbers(body: bytes) -> Float64:
    """The numbers of a report, as far as all of them are there."""
    return float64_vector(body[: len(body) // 8 * 8])


def about_complaints(slot: Slot, wanted: Any, given: Any) -> str:
    """After an exchange it may be about a part."""
    return "STEP-6 EXCH-1 BCAST-8" if follows_exchange(slot) else "BCAST-8"


def about_evidence(slot: Slot, wanted: Any, given: Any) -> str:
    """One header shows a part that was not announced, two are versions of a message."""
    lengths = {len(proof) for proof in {*wanted} ^ {*given}}
    return "STEP-6 EXCH-2" if lengths == {1} else "BCAST-9 BCAST-8 NODE-2"


def about_aggregate(slot: Slot, wanted: Any, given: Any) -> str:
    """Whether there is an aggregate at all."""
    return "STEP-7 STEP-6 EXCH-2" if None in (wanted, given) else ""


def about_echo_vector(slot: Slot, wanted: Any, given: Any) -> str:
    """Sent before something came, or after it was late, or of another version."""
    pairs = list(zip(wanted, given, strict=False))
    if any(heard is None and due is not None for due, heard in pairs):
        return "BCAST-2 BCAST-3 NODE-1"
    if any(due is None and heard is not None for due, heard in pairs):
        return "BCAST-3 NODE-1 BCAST-2"
    return "BCAST-2 BCAST-9"


def about_echo(slot: Slot, wanted: Any, given: Any) -> str:
    """Too early; or missing at a deadline; or missing although all messages have come, which may have been lost."""
    if wanted is None:
        return "BCAST-2 BCAST-3 NODE-1"
    return "BCAST-3 NODE-1 BCAST-2" if None in wanted["echo.vector"] else "BCAST-2 LIM-9 BCAST-9"


def about_message(slot: Slot, wanted: Any, given: Any) -> str:
    """After an exchange it waits for parts."""
    return "EXCH-1 NODE-1 EXCH-2" if follows_exchange(slot) else ""


def follows_exchange(slot: Slot) -> bool:
    """Whether parts are exchanged right before an agreed phase."""
    return slot.phase in (Phase.AGGREGATE, Phase.REVEAL)


REFINED: dict[str, Callable[[Slot, Any, Any], str]] = {
    "state.removals": about_removals,
    "state": about_state,
    "record.verdicts": about_verdicts,
    "commit.part_hashes": about_part_hashes,
    "commit.accusations": about_accusations,
    "aggregate.aggregate_hash": about_aggregate,
    "report.inner_products": about_products,
    "report.norms": about_norms,
    "notices.complaints": about_complaints,
    "notices.evidence": about_evidence,
    "echo.vector": about_echo_vector,
    "echo": about_echo,
    "message": about_message,
}
"""What looks at the values, by what differs."""
