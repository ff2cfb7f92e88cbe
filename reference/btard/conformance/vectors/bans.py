"""Vectors of chapter ``bans``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from btard.conformance.vectors.cases import Chapter, Refusal, VectorError, operation
from btard.conformance.vectors.forms import octets, texts
from btard.conformance.vectors.recorded import (
    NEWCOMERS,
    REMOVAL,
    STRANGER,
    Draft,
    draft,
    echo_of,
    follow,
    owner,
    plain_removal,
    recorded,
    versions,
)
from btard.protocol.bans import Departure, Departures, Fault, Removal, remaining_roster, remaining_tolerance
from btard.protocol.encoding import encode
from btard.protocol.log import Finding, Subject, Trial
from btard.protocol.messages import Accusation, Envelope, Phase, Proof, SignedHeader, Slot, Statement, seal
from btard.protocol.model import PeerId
from btard.protocol.state import State, plan_step

FLAGS = {
    "fault-order": "finds another fault than the first one that applies to an entry",
    "decision-order": "decides the removals of a phase in another order than BAN-1",
    "complaint-order": "settles complaints in another order than by complainer, then by accused",
    "second-reason": "removes a peer twice, or for a later reason than the first",
    "not-moot": "lets a complaint or a trial about somebody who is out have an effect",
    "moot": "takes a complaint or a trial for moot that is not",
    "one-of-a-pair": "removes the accused alone, or the complainer alone, where nobody can tell who is right",
    "voices": "miscounts the voices about a peer: more than b_t, as it is before the removals",
    "ignores": "does not punish what convicts, or does not hear what a removed peer said",
    "overzealous": "punishes what is no fault",
    "who-is-wrong": "punishes somebody else than the one who is at fault",
    "tolerance": "lowers b_t by another number than one for each single removal and each pair",
    "goes-on": "goes on although b_t would be below zero",
    "refusal": "does not refuse a key without a seat that was convicted, or refuses one that was not",
    "verdict-effect": "draws other consequences from a verdict than BAN-9",
    "trial-order": "holds other trials than BAN-8, or in another order",
}


# -- Operations ------------------------------------------------------------------------------------------


@operation(
    "bans.removals",
    "`log`: bytes of a log that goes on (as in `log.follow`): it ends with the record of the phase in question, "
    "whose verdicts stand in the record",
    "what the last record leads to: `removals`: of seats, in the order in which they were decided, and `refusals`: "
    f"of keys without a seat, in the same order, each a list of {REMOVAL}; `roster` and `tolerated`: b_t, after the "
    "phase. Refused, if the run must stop, or a verdict is missing or impossible",
)
def compute_removals(given: dict[str, Any]) -> dict[str, Any]:
    """BAN-1 to BAN-12."""
    asked = follow(bytes.fromhex(given["log"]))
    after, before = asked[-1].state, asked[-2].state
    new = after.removals[len(before.removals) :]
    lost = [plain_removal(removal) for removal in new if removal.how is not Departure.REFUSED]
    refused = [plain_removal(removal) for removal in new if removal.how is Departure.REFUSED]
    census = {"roster": texts(after.roster), "tolerated": after.tolerated}
    return {"removals": lost, "refusals": refused, **census}


@operation(
    "bans.depart",
    "`roster`; `tolerated`: b_t; `decisions`: what is decided in a phase, in order: list of [`remove`, peer, code of "
    "the fault] or [`eliminate`, complainer, accused]",
    "`removals`: list of [peer, how, code of the fault, partner or null]; `roster` and `tolerated` after the phase; "
    "refused, if the run must stop",
)
def compute_depart(given: dict[str, Any]) -> dict[str, Any]:
    """BAN-2 to BAN-4."""
    departures = Departures(Slot(0, 0, Phase.COMMIT))
    for what, one, other in given["decisions"]:
        if what == "remove":
            departures.remove(bytes.fromhex(one), Fault(other))
        else:
            departures.eliminate(bytes.fromhex(one), bytes.fromhex(other))
    left = [[peer, how, fault, partner] for peer, how, fault, _, partner in map(plain_removal, departures.removals)]
    roster = remaining_roster(octets(given["roster"]), departures.removals)
    tolerated = remaining_tolerance(given["tolerated"], departures.removals)
    return {"removals": left, "roster": texts(roster), "tolerated": tolerated}


# -- What is expected ----------------------------------------------------------------------------------------

Said = tuple[str, int, Any]
"""A removal in short: ``convicted`` or ``absent``, who, for what; or ``pair``, who, with whom. Peers by place."""


def lost(peer: int, fault: Fault) -> Said:
    """One peer, removed alone."""
    return ("absent" if fault in (Fault.SILENT, Fault.MISSED) else "convicted", peer, fault)


def pair(one: int, other: int) -> Said:
    """Two peers, eliminated."""
    return ("pair", one, other)


def outcome(made: Draft, removals: Sequence[Said], refusals: Sequence[tuple[PeerId, Fault]] = ()) -> dict[str, Any]:
    """What somebody says follows from the last record of a draft."""
    slot, before = made.record.slot, state_before(made)
    if slot.phase is Phase.COMMIT_VOTE:
        slot = slot._replace(phase=Phase.COMMIT)
    gone: list[Removal] = []
    for what, peer, other in removals:
        if what == "pair":
            first, second = made.roster[peer], made.roster[other]
            gone.append(Removal(first, Departure.ELIMINATED, Fault.WITHHELD, slot, second))
            gone.append(Removal(second, Departure.ELIMINATED, Fault.WITHHELD, slot, first))
        else:
            gone.append(Removal(made.roster[peer], Departure(what), Fault(other), slot))
    refused = [Removal(key, Departure.REFUSED, fault, slot) for key, fault in refusals]
    lowered = sum(what != "pair" for what, _, _ in removals) + sum(what == "pair" for what, _, _ in removals)
    return {
        "removals": [plain_removal(removal) for removal in gone],
        "refusals": [plain_removal(removal) for removal in refused],
        "roster": texts(remaining_roster(before.roster, gone)),
        "tolerated": before.tolerated - lowered,
    }


def state_before(made: Draft) -> State:
    """The agreed state before the record of a draft."""
    return states(made.origin.name)[made.index - 1]


@cache
def states(name: str) -> list[State]:
    """The agreed states of a recorded run, before every record."""
    log = recorded(name)
    return [asked.state for asked in follow(log.log[: log.offsets[-2]])]


Refused = Sequence[tuple[PeerId, Fault]]


def case(
    made: Chapter, id: str, requirements: str, flag: str, shown: Draft, right: Sequence[Said],
    wrong: Sequence[Said] | None,
    refused: Refused = (), wrongly: Refused | None = None,
) -> None:  # fmt: skip
    """One vector: ``right`` is what must follow, ``wrong`` what follows for whoever makes the mistake ``flag`` (None:
    it stops). Raises :class:`VectorError` if the reference says otherwise."""
    mistaken: Any = (
        Refusal("stops") if wrong is None else outcome(shown, wrong, refused if wrongly is None else wrongly)
    )
    answer = made.trap(id, "bans.removals", requirements, flag, mistaken, log=shown.file)
    if answer != outcome(shown, right, refused):
        raise VectorError(f"'{id}' is not what it was meant to be: {answer}")


def stops(made: Chapter, id: str, requirements: str, flag: str, shown: Draft) -> None:
    """One vector in which the run must stop."""
    made.refused(id, "bans.removals", requirements, flag, log=shown.file)


# -- Vectors ---------------------------------------------------------------------------------------------------


def chapter() -> Chapter:
    """All vectors of the chapter."""
    made = Chapter("bans", FLAGS)
    for add in (
        add_departures, add_quiet, add_entries, add_commits, add_aggregates, add_reveals, add_reports,
        add_complaints, add_voices, add_evidence, add_mismatches, add_echoes, add_contents, add_trials,
        add_aggregate_trials, add_order, add_seatless, add_limits,
    ):  # fmt: skip
        add(made)
    return made


def add_departures(made: Chapter) -> None:
    """BAN-2 to BAN-4, by themselves."""
    roster = [f"{k:02x}" * 32 for k in range(8)]
    a, b, c, d = roster[:4]
    remove, eliminate = "remove", "eliminate"
    for name, requirements, flag, tolerated, decisions, mistaken in (
        ("nobody", "BAN-4", "", 2, [], None),
        ("one-of-each", "BAN-2 BAN-4", "tolerance", 3, [[remove, a, 1], [remove, b, 0], [eliminate, c, d]], -4),
        ("pair", "BAN-3 BAN-4", "tolerance", 2, [[eliminate, b, a]], -2),
        ("twice", "BAN-2", "second-reason", 3, [[remove, a, 0], [remove, a, 1]], -2),
        ("pair-after-removal", "BAN-3", "not-moot", 3, [[remove, a, 0], [eliminate, b, a]], -2),
        ("removal-after-pair", "BAN-2", "second-reason", 3, [[eliminate, b, a], [remove, a, 1]], -2),
        ("chain-of-pairs", "BAN-3", "not-moot", 3, [[eliminate, a, b], [eliminate, b, c], [eliminate, c, d]], -3),
        ("both-ways", "BAN-3", "not-moot", 3, [[eliminate, a, b], [eliminate, b, a]], -2),
        ("down-to-zero", "BAN-4", "", 1, [[remove, a, 7]], None),
    ):
        given = {"roster": roster, "tolerated": tolerated, "decisions": decisions}
        if mistaken is None:
            made.right(name, "bans.depart", requirements, **given)
            continue
        right = compute_depart(given)
        made.trap(name, "bans.depart", requirements, flag, {**right, "tolerated": tolerated + mistaken}, **given)
    for fault in Fault:
        given = {"roster": roster, "tolerated": 1, "decisions": [[remove, a, int(fault)]]}
        made.right(f"fault-{int(fault)}", "bans.depart", "BAN-2", **given)
    for name, tolerated, decisions in (
        ("one-of-none", 0, [[remove, a, 0]]),
        ("pair-of-none", 0, [[eliminate, a, b]]),
        ("two-of-one", 1, [[remove, a, 1], [eliminate, b, c]]),
    ):
        given = {"roster": roster, "tolerated": tolerated, "decisions": decisions}
        made.refused(name, "bans.depart", "BAN-4", "goes-on", **given)


RUN = "quiet"
"""The run that most records are changed of: seven peers, two of them tolerated, validators from step 2 on."""


def at(phase: Phase, step: int = 1) -> Draft:
    """A record of that run, to be changed."""
    return draft(RUN, step, phase)


def add_quiet(made: Chapter) -> None:
    """Phases in which nobody is removed."""
    for phase in (Phase.COMMIT, Phase.AGGREGATE, Phase.REVEAL, Phase.REPORT):
        made.right(f"nothing-in-{phase.name.lower()}", "bans.removals", "BAN-1 BAN-5", log=at(phase).file)


def add_entries(made: Chapter) -> None:
    """BAN-5: what is wrong with any entry."""
    for phase in (Phase.COMMIT, Phase.AGGREGATE, Phase.REVEAL, Phase.REPORT):
        where, empty = phase.name.lower(), encode([])
        for name, shown, fault in (
            ("silent", at(phase).silence(3), Fault.SILENT),
            ("malformed", at(phase).put(3, empty), Fault.MALFORMED),
            ("no-cbor", at(phase).put(3, b"\xff"), Fault.MALFORMED),
            ("wrong-head", at(phase).put(3, log_head=bytes(32)), Fault.WRONG_LOG_HEAD),
        ):
            requirements = "BAN-5 BAN-2" + (" MSG-5" if fault is Fault.MALFORMED else "")
            case(made, f"{name}-in-{where}", requirements, "ignores", shown, [lost(3, fault)], [])
        both = at(phase).put(3, empty, log_head=bytes(32))
        case(
            made, f"malformed-with-wrong-head-in-{where}", "BAN-5", "fault-order", both,
            [lost(3, Fault.MALFORMED)], [lost(3, Fault.WRONG_LOG_HEAD)],
        )  # fmt: skip
        noted = at(phase).note(3, complaints=(3,))
        noted.put(3, log_head=bytes(32))
        case(
            made, f"wrong-head-and-false-notice-in-{where}", "BAN-5", "fault-order", noted,
            [lost(3, Fault.WRONG_LOG_HEAD)], [lost(3, Fault.FALSE_NOTICE)],
        )  # fmt: skip


def add_commits(made: Chapter) -> None:
    """STEP-3, STEP-4, VER-6, MEMB-1: the rules of Commit."""
    hashes = at(Phase.COMMIT).message(0).part_hashes
    ids = at(Phase.COMMIT).roster
    letter = seal(STRANGER, bytes(32), Slot(1, 0, Phase.PETITION), bytes(32), b"")
    said: dict[str, tuple[str, Fault, dict[str, Any]]] = {
        "hash-missing": ("STEP-3", Fault.MALFORMED, {"part_hashes": hashes[1:]}),
        "no-hashes": ("STEP-3", Fault.MALFORMED, {"part_hashes": ()}),
        "hash-too-many": ("STEP-3", Fault.MALFORMED, {"part_hashes": (*hashes, bytes(32))}),
        "other-state": ("STEP-4", Fault.DIVERGED, {"state_hash": bytes(32)}),
        "accuses-of-this-step": ("VER-6", Fault.FALSE_NOTICE, {"accusations": (Accusation(ids[1], 1),)}),
        "accuses-itself": ("VER-6", Fault.FALSE_NOTICE, {"accusations": (Accusation(ids[0], 0),)}),
        "accuses-a-stranger": ("VER-6", Fault.FALSE_NOTICE, {"accusations": (Accusation(STRANGER.peer_id, 0),)}),
        "letter-of-another-run": ("MEMB-1", Fault.FALSE_NOTICE, {"letters": (letter,)}),
    }
    for name, (requirement, fault, changes) in said.items():
        shown = at(Phase.COMMIT).say(0, **changes)
        case(made, name, f"{requirement} BAN-5", "ignores", shown, [lost(0, fault)], [])
    first = at(Phase.COMMIT).say(0, part_hashes=(), state_hash=bytes(32), letters=(letter,))
    case(
        made,
        "hashes-before-state",
        "BAN-5",
        "fault-order",
        first,
        [lost(0, Fault.MALFORMED)],
        [lost(0, Fault.DIVERGED)],
    )
    then = at(Phase.COMMIT).say(0, state_hash=bytes(32), letters=(letter,))
    case(
        made, "letters-before-state", "BAN-5", "fault-order", then, [lost(0, Fault.FALSE_NOTICE)],
        [lost(0, Fault.DIVERGED)],
    )  # fmt: skip
    validator = at(Phase.COMMIT, 2)
    place = next(k for k, _ in enumerate(validator.entries) if not validator.message(k).part_hashes)
    case(
        made, "validator-with-hashes", "STEP-3", "ignores", validator.say(place, part_hashes=(bytes(32),) * 5),
        [lost(place, Fault.MALFORMED)], [],
    )  # fmt: skip
    closing = at(Phase.COMMIT, 3).say(2, part_hashes=(bytes(32),) * 5)
    case(made, "hashes-in-closing-step", "STEP-3 STEP-10", "ignores", closing, [lost(2, Fault.MALFORMED)], [])
    broken = at(Phase.COMMIT).put(1, log_head=bytes(32)).put(2, log_head=bytes(32))
    broken.say(5, state_hash=bytes(32)).say(6, state_hash=bytes(32))
    stops(made, "four-faults-of-two-tolerated", "BAN-4", "goes-on", broken)
    split = at(Phase.COMMIT)
    for other in (0, 1, 2):
        split.say(other, state_hash=bytes(32))
    stops(made, "majority-with-others-silent", "STEP-4 BAN-4", "goes-on", split.silence(6))
    add_majorities(made)


def add_majorities(made: Chapter) -> None:
    """STEP-4: the majority is one of the roster, and counts every readable Commit."""
    counted = at(Phase.COMMIT).silence(0).say(1, part_hashes=())
    counted.say(2, state_hash=bytes(32))
    stops(made, "three-faults", "BAN-4", "goes-on", counted)
    still = at(Phase.COMMIT).say(1, part_hashes=()).say(2, state_hash=bytes(32))
    case(
        made, "faulty-commits-count", "STEP-4", "who-is-wrong", still,
        [lost(1, Fault.MALFORMED), lost(2, Fault.DIVERGED)], [lost(2, Fault.DIVERGED)],
    )  # fmt: skip


def workers_first(phase: Phase) -> tuple[Draft, int, int]:
    """A record of step 2, a worker's place, and a validator's."""
    commits = at(Phase.COMMIT, 2)
    works = [bool(commits.message(place).part_hashes) for place in range(7)]
    return at(phase, 2), works.index(True), works.index(False)


def add_aggregates(made: Chapter) -> None:
    """STEP-7: the rules of Aggregate."""
    shown, worker, _ = workers_first(Phase.AGGREGATE)
    case(
        made, "no-aggregate", "STEP-7", "ignores", shown.say(worker, aggregate_hash=None),
        [lost(worker, Fault.MALFORMED)], [],
    )  # fmt: skip
    shown, worker, validator = workers_first(Phase.AGGREGATE)
    case(
        made, "aggregate-of-a-validator", "STEP-7", "ignores", shown.say(validator, aggregate_hash=bytes(32)),
        [lost(validator, Fault.MALFORMED)], [],
    )  # fmt: skip
    shown, worker, validator = workers_first(Phase.AGGREGATE)
    shown.say(worker, aggregate_hash=None).note(worker, complaints=(validator,))
    case(
        made, "no-aggregate-but-a-complaint", "STEP-7 BAN-3", "overzealous", shown,
        [pair(worker, validator)], [lost(worker, Fault.MALFORMED)],
    )  # fmt: skip
    shown, worker, validator = workers_first(Phase.AGGREGATE)
    shown.note(worker, complaints=(validator,))
    case(
        made, "aggregate-beside-a-complaint", "STEP-7 BAN-3", "overzealous", shown,
        [pair(worker, validator)], [lost(worker, Fault.MALFORMED)],
    )  # fmt: skip
    shown, worker, validator = workers_first(Phase.AGGREGATE)
    shown.say(validator, aggregate_hash=bytes(32)).note(validator, complaints=(worker,))
    case(
        made, "validator-with-aggregate-and-complaint", "STEP-7", "not-moot", shown,
        [lost(validator, Fault.MALFORMED)], [pair(validator, worker)],
    )  # fmt: skip


def add_reveals(made: Chapter) -> None:
    """MPRNG-3 and VER-10: the rules of Reveal."""
    ids = at(Phase.REVEAL).roster
    opening = at(Phase.REVEAL).message(1).opening
    salted = at(Phase.REVEAL).message(0).opening
    said: dict[str, tuple[str, Fault, dict[str, Any]]] = {
        "wrong-opening": ("MPRNG-3", Fault.WRONG_OPENING, {"opening": bytes(64)}),
        "copied-opening": ("MPRNG-2 MPRNG-3", Fault.WRONG_OPENING, {"opening": opening}),
        "wrong-salt": ("MPRNG-3", Fault.WRONG_OPENING, {"opening": salted[:63] + bytes([salted[63] ^ 1])}),
        "accuses-itself": ("VER-10", Fault.FALSE_NOTICE, {"accusations": (Accusation(ids[0], 1),)}),
        "accuses-of-earlier": ("VER-10", Fault.FALSE_NOTICE, {"accusations": (Accusation(ids[1], 0),)}),
        "accuses-a-stranger": ("VER-10", Fault.FALSE_NOTICE, {"accusations": (Accusation(STRANGER.peer_id, 1),)}),
    }
    for name, (requirement, fault, changes) in said.items():
        shown = at(Phase.REVEAL).say(0, **changes)
        case(made, f"reveal-{name}", f"{requirement} BAN-5", "ignores", shown, [lost(0, fault)], [])
    both = at(Phase.REVEAL).say(0, opening=bytes(64), accusations=(Accusation(ids[0], 1),))
    case(
        made, "opening-before-accusation", "BAN-5", "fault-order", both,
        [lost(0, Fault.WRONG_OPENING)], [lost(0, Fault.FALSE_NOTICE)],
    )  # fmt: skip
    shown, worker, validator = workers_first(Phase.REVEAL)
    shown.say(worker, accusations=(Accusation(shown.roster[validator], 2),))
    case(made, "accuses-a-validator", "VER-10", "ignores", shown, [lost(worker, Fault.FALSE_NOTICE)], [])
    closing = at(Phase.REVEAL, 3).say(0, accusations=(Accusation(ids[1], 3),))
    case(made, "accuses-in-closing-step", "VER-10 STEP-10", "ignores", closing, [lost(0, Fault.FALSE_NOTICE)], [])
    missed = at(Phase.REVEAL).say(0, opening=bytes(64)).note(0, complaints=(1,))
    case(
        made, "complaint-is-no-excuse", "MPRNG-3", "not-moot", missed, [lost(0, Fault.WRONG_OPENING)], [pair(0, 1)]
    )  # fmt: skip


def add_reports(made: Chapter) -> None:
    """STEP-12 and VER-2: the rules of Report."""
    numbers = at(Phase.REPORT).message(0)
    infinite = bytes.fromhex("000000000000f07f")
    negative = bytes.fromhex("000000000000f0bf")
    said: dict[str, dict[str, Any]] = {
        "not-finite": {"norms": infinite + numbers.norms[8:]},
        "negative-norm": {"norms": negative + numbers.norms[8:]},
        "product-not-a-number": {"inner_products": bytes.fromhex("000000000000f87f") + numbers.inner_products[8:]},
        "product-above-norm": {"inner_products": bytes.fromhex("0000000000d01241") + numbers.inner_products[8:]},
        "part-missing": {"inner_products": numbers.inner_products[8:], "norms": numbers.norms[8:]},
        "empty": {"inner_products": b"", "norms": b""},
        "with-chunks": {"chunks": (b"\x00",)},
    }
    for name, changes in said.items():
        shown = at(Phase.REPORT).say(0, **changes)
        case(made, f"report-{name}", "VER-2 BAN-5", "ignores", shown, [lost(0, Fault.IMPOSSIBLE_REPORT)], [])
    shown, _, validator = workers_first(Phase.REPORT)
    shown.say(validator, inner_products=bytes(40), norms=bytes(40))
    case(made, "report-of-a-validator", "STEP-12", "ignores", shown, [lost(validator, Fault.MALFORMED)], [])
    uneven = at(Phase.REPORT).say(0, norms=numbers.norms[8:])
    case(
        made, "fewer-norms-than-products", "MSG-5", "fault-order", uneven,
        [lost(0, Fault.MALFORMED)], [lost(0, Fault.IMPOSSIBLE_REPORT)],
    )  # fmt: skip


# -- Complaints ----------------------------------------------------------------------------------------------------


def complaining(phase: Phase, *pairs: tuple[int, tuple[int, ...]], step: int = 1) -> Draft:
    """A record in which peers complain about others."""
    shown = at(phase, step)
    for complainer, accused in pairs:
        shown.note(complainer, complaints=accused)
    return shown


def add_complaints(made: Chapter) -> None:
    """BAN-3: pairs, in their order; what is moot."""
    for phase in (Phase.COMMIT, Phase.AGGREGATE, Phase.REVEAL, Phase.REPORT):
        shown = complaining(phase, (5, (2,)))
        name = f"complaint-in-{phase.name.lower()}"
        case(made, name, "BAN-3", "one-of-a-pair", shown, [pair(5, 2)], [("absent", 2, Fault.WITHHELD)])
    shown = complaining(Phase.AGGREGATE, (3, (6,)), (5, (0,)))
    case(
        made, "by-complainer", "BAN-1 BAN-3", "complaint-order", shown, [pair(3, 6), pair(5, 0)],
        [pair(5, 0), pair(3, 6)],
    )  # fmt: skip
    shown = complaining(Phase.AGGREGATE, (3, (1, 6)))
    case(made, "lowest-accused-first", "BAN-1 BAN-3", "complaint-order", shown, [pair(3, 1)], [pair(3, 6)])
    shown = complaining(Phase.AGGREGATE, (3, (6,)), (4, (6,)))
    case(made, "lowest-complainer-first", "BAN-1 BAN-3", "complaint-order", shown, [pair(3, 6)], [pair(4, 6)])
    shown = complaining(Phase.AGGREGATE, (3, (6,)), (6, (3,)))
    case(made, "both-ways", "BAN-3", "not-moot", shown, [pair(3, 6)], [pair(3, 6), pair(6, 3)])
    shown = complaining(Phase.AGGREGATE, (1, (2,)), (2, (3,)), (3, (4,)))
    case(made, "chain", "BAN-3", "not-moot", shown, [pair(1, 2), pair(3, 4)], [pair(1, 2), pair(2, 3)])
    shown = complaining(Phase.AGGREGATE, (1, (4,))).silence(4)
    case(made, "about-a-silent-peer", "BAN-3 BAN-1", "not-moot", shown, [lost(4, Fault.SILENT)], [pair(1, 4)])
    shown = complaining(Phase.AGGREGATE, (1, (4,))).put(4, b"")
    case(made, "about-a-convicted-peer", "BAN-3 BAN-1", "not-moot", shown, [lost(4, Fault.MALFORMED)], [pair(1, 4)])
    shown = complaining(Phase.REVEAL, (4, (1,))).say(4, opening=bytes(64))
    case(made, "of-a-convicted-peer", "BAN-3 BAN-1", "not-moot", shown, [lost(4, Fault.WRONG_OPENING)], [pair(4, 1)])
    gone = draft("retry", 2, Phase.COMMIT, attempt=1)
    silent = state_before(gone).removals[-1].peer
    own = gone.message(0).notices._replace(complaints=(silent,))
    gone.say(0, notices=own)
    case(
        made,
        "about-who-was-heard-last-and-is-out",
        "BAN-3 BAN-6",
        "overzealous",
        gone,
        [],
        [lost(0, Fault.FALSE_NOTICE)],
    )
    later = draft("retry", 2, Phase.AGGREGATE, attempt=1)
    later.say(0, notices=later.message(0).notices._replace(complaints=(silent,)))
    case(made, "about-who-is-long-out", "BAN-6", "ignores", later, [lost(0, Fault.FALSE_NOTICE)], [])
    first = at(Phase.COMMIT, 0).note(0, complaints=(1,))
    case(made, "before-anything-was-owed", "BAN-6", "not-moot", first, [lost(0, Fault.FALSE_NOTICE)], [pair(0, 1)])
    for name, accused in (("about-itself", at(Phase.AGGREGATE).roster[2]), ("about-a-stranger", STRANGER.peer_id)):
        shown = at(Phase.AGGREGATE)
        shown.say(2, notices=shown.message(2).notices._replace(complaints=(accused,)))
        case(made, name, "BAN-6", "ignores", shown, [lost(2, Fault.FALSE_NOTICE)], [])
    mixed = at(Phase.AGGREGATE)
    mixed.say(
        2, notices=mixed.message(2).notices._replace(complaints=tuple(sorted((mixed.roster[5], STRANGER.peer_id))))
    )
    case(made, "one-of-two-is-groundless", "BAN-6", "not-moot", mixed, [lost(2, Fault.FALSE_NOTICE)], [pair(2, 5)])


def add_voices(made: Chapter) -> None:
    """BAN-11: more than b_t voices."""
    shown = complaining(Phase.AGGREGATE, (0, (5,)), (1, (5,)), (2, (5,)))
    case(made, "three-voices", "BAN-11", "voices", shown, [lost(5, Fault.MISSED)], [pair(0, 5)])
    shown = complaining(Phase.AGGREGATE, (0, (5,)), (1, (5,)))
    case(made, "two-voices", "BAN-11 BAN-3", "voices", shown, [pair(0, 5)], [lost(5, Fault.MISSED)])
    shown = complaining(Phase.AGGREGATE, (0, (5,)), (1, (5,))).silence(6)
    case(
        made, "bound-before-removals", "BAN-11", "voices", shown,
        [lost(6, Fault.SILENT), pair(0, 5)], [lost(6, Fault.SILENT), lost(5, Fault.MISSED)],
    )  # fmt: skip
    shown = complaining(Phase.REVEAL, (0, (5,)), (1, (5,)), (2, (5,))).say(2, opening=bytes(64))
    case(
        made, "voice-of-a-convicted-peer", "BAN-11 BAN-1", "ignores", shown,
        [lost(2, Fault.WRONG_OPENING), lost(5, Fault.MISSED)], [lost(2, Fault.WRONG_OPENING), pair(0, 5)],
    )  # fmt: skip
    shown = complaining(Phase.AGGREGATE, (0, (1, 5)), (2, (5,)), (3, (5,)))
    case(
        made, "voices-before-pairs", "BAN-1 BAN-11", "decision-order", shown,
        [lost(5, Fault.MISSED), pair(0, 1)], [pair(0, 1), lost(5, Fault.MISSED)],
    )  # fmt: skip
    shown = complaining(Phase.AGGREGATE, (0, (2, 5)), (1, (2, 5)), (3, (2, 5)))
    case(
        made, "two-missed", "BAN-1 BAN-11", "complaint-order", shown,
        [lost(2, Fault.MISSED), lost(5, Fault.MISSED)], [lost(5, Fault.MISSED), lost(2, Fault.MISSED)],
    )  # fmt: skip
    shown = complaining(Phase.AGGREGATE, (0, (5,)), (1, (5,)), (2, (5,)), (5, (3,)))
    case(made, "complaint-of-a-missed-peer", "BAN-3 BAN-11", "not-moot", shown, [lost(5, Fault.MISSED)], [pair(5, 3)])
    silent = complaining(Phase.AGGREGATE, (0, (5,)), (1, (5,)), (2, (5,))).silence(5)
    case(
        made, "missed-and-silent", "BAN-2 BAN-11", "second-reason", silent,
        [lost(5, Fault.SILENT)], [lost(5, Fault.MISSED)],
    )  # fmt: skip


# -- Evidence ----------------------------------------------------------------------------------------------------


def proof_about(shown: Draft, place: int, slot: Slot | None = None, run: bytes | None = None) -> Proof:
    """Two versions that a peer signed for one slot."""
    peer, before = shown.roster[place], state_before(shown)
    where = Slot(0, 0, Phase.COMMIT) if slot is None else slot
    return versions(owner(peer), before.run if run is None else run, where, before.head)


def showing(phase: Phase, carrier: int, *proofs: Callable[[Draft], Proof]) -> Draft:
    """A record in which a peer shows evidence."""
    shown = at(phase)
    return shown.note(carrier, evidence=tuple(make(shown) for make in proofs))


def about(place: int, slot: Slot | None = None) -> Callable[[Draft], Proof]:
    """Evidence that a peer signed two versions."""
    return lambda shown: proof_about(shown, place, slot)


def add_evidence(made: Chapter) -> None:
    """BAN-7: two versions."""
    guilty = [lost(4, Fault.EQUIVOCATION)]
    for phase in (Phase.COMMIT, Phase.AGGREGATE, Phase.REVEAL, Phase.REPORT):
        shown = showing(phase, 1, about(4))
        case(made, f"two-versions-in-{phase.name.lower()}", "BAN-7 MSG-2", "ignores", shown, guilty, [])
    for name, slot in (
        ("of-a-part", Slot(1, 0, Phase.SCATTER, 2)),
        ("of-an-echo", Slot(0, 0, Phase.REPORT, 1)),
        ("of-a-coming-step", Slot(9, 3, Phase.COMMIT)),
        ("of-a-letter", Slot(0, 0, Phase.PROBATION)),
        ("of-this-very-phase", Slot(1, 0, Phase.AGGREGATE)),
    ):
        case(made, f"versions-{name}", "BAN-7", "ignores", showing(Phase.AGGREGATE, 1, about(4, slot)), guilty, [])
    own = showing(Phase.AGGREGATE, 4, about(4))
    case(made, "versions-of-oneself", "BAN-7", "ignores", own, guilty, [])
    for name, spoil in SPOILED.items():
        shown = showing(Phase.AGGREGATE, 1, spoiled(spoil))
        case(made, f"no-proof-{name}", "BAN-7 BAN-6", "who-is-wrong", shown, [lost(1, Fault.FALSE_NOTICE)], guilty)
    shown = at(Phase.AGGREGATE)
    shown.note(1, evidence=(versions(STRANGER, state_before(shown).run, Slot(0, 0, Phase.COMMIT), bytes(32)),))
    case(made, "versions-of-a-stranger", "BAN-7 BAN-2 BAN-6", "overzealous", shown, [], [lost(1, Fault.FALSE_NOTICE)])
    mixed = showing(
        Phase.AGGREGATE, 1, about(4), lambda shown: SPOILED["false-signature"](shown, proof_about(shown, 5))
    )
    case(
        made, "one-good-one-bad", "BAN-6 BAN-7", "second-reason", mixed,
        [lost(1, Fault.FALSE_NOTICE), *guilty], [lost(1, Fault.FALSE_NOTICE)],
    )  # fmt: skip
    removed = showing(Phase.REVEAL, 1, about(4)).say(1, opening=bytes(64))
    case(
        made, "evidence-of-a-convicted-peer", "BAN-1 BAN-7", "ignores", removed,
        [lost(1, Fault.WRONG_OPENING), *guilty], [lost(1, Fault.WRONG_OPENING)],
    )  # fmt: skip
    listed = showing(Phase.AGGREGATE, 1, about(6), about(4))
    case(
        made, "as-listed", "BAN-1", "decision-order", listed,
        [lost(6, Fault.EQUIVOCATION), *guilty], [*guilty, lost(6, Fault.EQUIVOCATION)],
    )  # fmt: skip
    carried = showing(Phase.AGGREGATE, 2, about(6))
    carried.note(5, evidence=(proof_about(carried, 4),))
    case(
        made, "by-the-messages-that-carry-it", "BAN-1", "decision-order", carried,
        [lost(6, Fault.EQUIVOCATION), *guilty], [*guilty, lost(6, Fault.EQUIVOCATION)],
    )  # fmt: skip
    malformed = showing(Phase.AGGREGATE, 1, lambda shown: proof_about(shown, 4)[::-1])
    case(made, "headers-not-in-order", "MSG-5", "fault-order", malformed, [lost(1, Fault.MALFORMED)], guilty)
    same = showing(Phase.AGGREGATE, 1, lambda shown: proof_about(shown, 4)[:1] * 2)
    case(made, "same-header-twice", "MSG-5 BAN-7", "who-is-wrong", same, [lost(1, Fault.MALFORMED)], guilty)
    silent = showing(Phase.AGGREGATE, 1, about(4)).silence(4)
    case(
        made, "silence-stands-first", "BAN-1 BAN-2", "second-reason", silent,
        [lost(4, Fault.SILENT)], [lost(4, Fault.EQUIVOCATION)],
    )  # fmt: skip


def spoiled(spoil: Callable[[Draft, Proof], Proof]) -> Callable[[Draft], Proof]:
    """Evidence that proves nothing any more."""
    return lambda shown: spoil(shown, proof_about(shown, 4))


def resigned(shown: Draft, header: SignedHeader, **changes: Any) -> SignedHeader:
    """A header with other fields, signed by its sender."""
    other = replace(header, **changes)
    return replace(other, signature=owner(other.sender).sign(other.digest))


def ordered(*headers: SignedHeader) -> Proof:
    """Headers as a proof lists them."""
    return tuple(sorted(headers, key=lambda header: header.digest))


SPOILED: dict[str, Callable[[Draft, Proof], Proof]] = {
    "false-signature": lambda shown, proof: (replace(proof[0], signature=bytes(64)), proof[1]),
    "second-signature-false": lambda shown, proof: (proof[0], replace(proof[1], signature=proof[0].signature)),
    "other-run": lambda shown, proof: ordered(*(resigned(shown, header, run=bytes(32)) for header in proof)),
    "one-of-another-run": lambda shown, proof: ordered(proof[0], resigned(shown, proof[1], run=bytes(32))),
    "two-slots": lambda shown, proof: ordered(proof[0], resigned(shown, proof[1], slot=Slot(0, 1, Phase.COMMIT))),
    "two-senders": lambda shown, proof: ordered(proof[0], resigned(shown, proof[1], sender=shown.roster[5])),
    "message-and-echo": lambda shown, proof: ordered(
        proof[0], resigned(shown, proof[1], slot=Slot(0, 0, Phase.COMMIT, 1))
    ),
}
"""By name: what makes no proof of two headers."""


def add_mismatches(made: Chapter) -> None:
    """BAN-7: one header of a part that is not what was announced."""
    guilty = [lost(4, Fault.MISMATCHED_PART)]
    scatter, gather = Slot(1, 0, Phase.SCATTER, 2), Slot(1, 0, Phase.GATHER, 4)
    case(made, "other-part", "BAN-7 STEP-6", "ignores", single(Phase.AGGREGATE, scatter), guilty, [])
    case(made, "other-aggregate", "BAN-7 STEP-6", "ignores", single(Phase.REVEAL, gather), guilty, [])
    commit = at(Phase.COMMIT).message(4)
    announced = at(Phase.AGGREGATE).message(4).aggregate_hash
    for name, shown in (
        ("as-announced", single(Phase.AGGREGATE, scatter, commit.part_hashes[2])),
        ("aggregate-as-announced", single(Phase.REVEAL, gather, announced)),
        ("in-commit", single(Phase.COMMIT, scatter)),
        ("in-report", single(Phase.REPORT, gather)),
        ("part-in-reveal", single(Phase.REVEAL, scatter)),
        ("aggregate-in-aggregate", single(Phase.AGGREGATE, gather)),
        ("other-step", single(Phase.AGGREGATE, scatter._replace(step=0))),
        ("other-attempt", single(Phase.AGGREGATE, scatter._replace(attempt=1))),
        ("no-such-part", single(Phase.AGGREGATE, scatter._replace(part=7))),
        ("aggregate-of-another", single(Phase.REVEAL, gather._replace(part=3))),
        ("agreed-phase", single(Phase.AGGREGATE, Slot(1, 0, Phase.COMMIT))),
        ("signs", single(Phase.AGGREGATE, scatter._replace(phase=Phase.BALLOT))),
    ):
        case(made, f"no-mismatch-{name}", "BAN-7 BAN-6", "who-is-wrong", shown, [lost(1, Fault.FALSE_NOTICE)], guilty)
    shown = single(Phase.AGGREGATE, scatter)
    (header,) = shown.message(1).notices.evidence[0]
    shown.note(1, evidence=((replace(header, signature=bytes(64)),),))
    case(made, "no-mismatch-unsigned", "BAN-7 MSG-2", "who-is-wrong", shown, [lost(1, Fault.FALSE_NOTICE)], guilty)
    shown = single(Phase.AGGREGATE, scatter)
    (header,) = shown.message(1).notices.evidence[0]
    shown.note(1, evidence=((resigned(shown, header, run=bytes(32)),),))
    case(made, "no-mismatch-of-another-run", "BAN-7", "who-is-wrong", shown, [lost(1, Fault.FALSE_NOTICE)], guilty)
    add_validators_part(made)


def single(phase: Phase, slot: Slot, hashed: bytes = bytes(32)) -> Draft:
    """A record in which a peer shows one header of another's."""
    shown = at(phase)
    before = state_before(shown)
    header = SignedHeader(before.run, slot, shown.roster[4], before.head, hashed, bytes(64))
    return shown.note(1, evidence=((resigned(shown, header),),))


def add_validators_part(made: Chapter) -> None:
    """BAN-7: a validator has announced no part."""
    shown, worker, validator = workers_first(Phase.AGGREGATE)
    before = state_before(shown)
    slot = Slot(2, 0, Phase.SCATTER, 0)
    header = SignedHeader(before.run, slot, shown.roster[validator], before.head, bytes(32), bytes(64))
    shown.note(worker, evidence=((resigned(shown, header),),))
    case(
        made, "no-mismatch-of-a-validator", "BAN-7", "who-is-wrong", shown,
        [lost(worker, Fault.FALSE_NOTICE)], [lost(validator, Fault.MISMATCHED_PART)],
    )  # fmt: skip


# -- Echoes ----------------------------------------------------------------------------------------------------------


def echoing(*others: tuple[int, bytes | None], signer: int = 4, head: bytes | None = None, **changes: Any) -> Draft:
    """An Aggregate in which a peer shows an echo of the Commit before, with some entries other than delivered."""
    shown = at(Phase.AGGREGATE)
    last = state_before(shown).last
    if last is None:
        raise VectorError("nothing was heard before")
    vector = list(last.digests)
    for place, heard in others:
        vector[place] = heard
    slot = changes.get("slot", last.slot)
    run = changes.get("run", state_before(shown).run)
    identity = owner(shown.roster[signer]) if signer < 7 else STRANGER
    echo = echo_of(identity, run, slot, bytes(32) if head is None else head, vector[: changes.get("length", 7)])
    return shown.note(1, echoes=(echo,))


def add_echoes(made: Chapter) -> None:
    """BAN-10: echoes that differ from what was delivered."""
    guilty = [lost(4, Fault.UNEXPLAINED_ECHO)]
    case(made, "denied-echo", "BAN-10", "ignores", echoing((2, None)), guilty, [])
    case(made, "other-version-echoed", "BAN-10", "ignores", echoing((2, bytes(32))), guilty, [])
    case(made, "echo-with-another-head", "BAN-10 BAN-6", "who-is-wrong", echoing((2, None), head=b"h" * 32), guilty, [])
    made.right("same-echo", "bans.removals", "BAN-10 BAN-6", log=echoing().file)
    excused = echoing((2, None)).note(4, complaints=(2,))
    case(made, "echo-explained-by-a-complaint", "BAN-10 BAN-3", "overzealous", excused, [pair(4, 2)], guilty)
    partly = echoing((2, None), (3, None)).note(4, complaints=(2,))
    case(made, "echo-explained-in-part", "BAN-10", "ignores", partly, guilty, [pair(4, 2)])
    proven = echoing((2, bytes(32)))
    proven.note(4, evidence=(proof_about(proven, 2),))
    case(
        made, "echo-explained-by-evidence", "BAN-10 BAN-7", "overzealous", proven,
        [lost(2, Fault.EQUIVOCATION)], [lost(2, Fault.EQUIVOCATION), *guilty],
    )  # fmt: skip
    helped = echoing((2, None)).note(5, complaints=(2,))
    case(
        made, "echo-explained-by-another", "BAN-10", "ignores", helped, [*guilty, pair(5, 2)], [pair(5, 2)]
    )  # fmt: skip
    silent = echoing((2, None)).silence(4)
    case(
        made, "echo-of-a-silent-peer", "BAN-10 BAN-2", "second-reason", silent, [lost(4, Fault.SILENT)], guilty
    )  # fmt: skip
    own = at(Phase.AGGREGATE)
    own.note(4, echoes=echoing((2, None)).message(1).notices.echoes)
    case(made, "own-echo-shown", "BAN-10", "ignores", own, guilty, [])
    for name, shown in (
        ("of-another-phase", echoing((2, None), slot=Slot(0, 0, Phase.COMMIT))),
        ("of-this-phase", echoing((2, None), slot=Slot(1, 0, Phase.AGGREGATE))),
        ("of-another-run", echoing((2, None), run=bytes(32))),
        ("too-short", echoing((2, None), length=6)),
        ("of-a-stranger", echoing((2, None), signer=7)),
    ):
        case(made, f"no-echo-{name}", "BAN-6", "who-is-wrong", shown, [lost(1, Fault.FALSE_NOTICE)], guilty)
    unsigned = echoing((2, None))
    (echo,) = unsigned.message(1).notices.echoes
    unsigned.note(1, echoes=(replace(echo, signature=bytes(64)),))
    case(made, "no-echo-unsigned", "BAN-6 MSG-2", "who-is-wrong", unsigned, [lost(1, Fault.FALSE_NOTICE)], guilty)
    message = at(Phase.AGGREGATE)
    commit = at(Phase.COMMIT).entries[4]
    message.note(1, echoes=(commit,) if isinstance(commit, Envelope) else ())
    case(made, "message-as-echo", "BAN-6", "who-is-wrong", message, [lost(1, Fault.FALSE_NOTICE)], guilty)
    add_nothing_owed(made)


def add_nothing_owed(made: Chapter) -> None:
    """BAN-10: nothing is owed about who was not heard, or is out."""
    shown = draft("retry", 2, Phase.COMMIT, attempt=1)
    last, before = state_before(shown).last, state_before(shown)
    if last is None:
        raise VectorError("nothing was heard before")
    vector = [bytes(32) if digest is None else digest for digest in last.digests]
    echo = echo_of(owner(shown.roster[0]), before.run, last.slot, before.head, vector)
    shown.note(1, echoes=(echo,))
    case(made, "nothing-owed-about-silence", "BAN-10", "overzealous", shown, [], [lost(0, Fault.UNEXPLAINED_ECHO)])
    gone = draft("false-accuser", 1, Phase.COMMIT, attempt=1)
    last, before = state_before(gone).last, state_before(gone)
    if last is None:
        raise VectorError("nothing was heard before")
    out = next(k for k, peer in enumerate(last.roster) if peer not in before.roster)
    denied = [None if k == out else digest for k, digest in enumerate(last.digests)]
    gone.note(1, echoes=(echo_of(owner(gone.roster[0]), before.run, last.slot, before.head, denied),))
    case(made, "nothing-owed-about-who-is-out", "BAN-10", "overzealous", gone, [], [lost(0, Fault.UNEXPLAINED_ECHO)])


# -- Aggregates -----------------------------------------------------------------------------------------------------


def accusing(*pairs: tuple[int, int], step: int = 1) -> Draft:
    """A Reveal in which peers accuse aggregates of impossible content."""
    shown = at(Phase.REVEAL, step)
    for accuser, accused in pairs:
        known = shown.message(accuser).accusations
        shown.say(accuser, accusations=tuple(sorted((*known, Accusation(shown.roster[accused], step)))))
    return shown


def add_contents(made: Chapter) -> None:
    """VER-10: aggregates that nobody can use."""
    guilty = [lost(5, Fault.IMPOSSIBLE_AGGREGATE)]
    shown = accusing((0, 5), (1, 5), (2, 5))
    case(made, "three-accuse-an-aggregate", "VER-10 BAN-1", "ignores", shown, guilty, [lost(5, Fault.MISSED)])
    shown = accusing((0, 5)).note(1, complaints=(5,)).note(2, complaints=(5,))
    case(made, "one-accuses-two-complain", "VER-10", "voices", shown, guilty, [lost(5, Fault.MISSED)])
    shown = accusing((0, 5)).note(0, complaints=(5,)).note(1, complaints=(5,))
    case(made, "one-peer-has-one-voice", "VER-10 BAN-3", "voices", shown, [pair(0, 5)], guilty)
    shown = accusing((1, 5))
    case(made, "one-accuses", "VER-10 BAN-3", "one-of-a-pair", shown, [pair(1, 5)], guilty)
    shown = accusing((1, 5), (3, 0))
    case(
        made,
        "two-accusations",
        "VER-10 BAN-3",
        "complaint-order",
        shown,
        [pair(1, 5), pair(3, 0)],
        [pair(3, 0), pair(1, 5)],
    )
    shown = accusing((0, 5), (1, 5), (2, 5), (0, 1), (2, 1), (3, 1))
    case(
        made, "aggregators-ascending", "VER-10 BAN-1", "decision-order", shown,
        [lost(1, Fault.IMPOSSIBLE_AGGREGATE), *guilty], [*guilty, lost(1, Fault.IMPOSSIBLE_AGGREGATE)],
    )  # fmt: skip
    shown = accusing((0, 5), (1, 5), (2, 5)).say(2, opening=bytes(64))
    case(
        made, "accusation-of-a-convicted-peer", "VER-10 BAN-1", "ignores", shown,
        [lost(2, Fault.WRONG_OPENING), *guilty], [lost(2, Fault.WRONG_OPENING), pair(0, 5)],
    )  # fmt: skip


# -- Trials ------------------------------------------------------------------------------------------------------------


def tried(*accusations: tuple[int, int], step: int = 1) -> Draft:
    """A Commit in which peers accuse others of a lie about the last step."""
    shown = at(Phase.COMMIT, step)
    for accuser, accused in accusations:
        known = shown.message(accuser).accusations
        shown.say(accuser, accusations=tuple(sorted((*known, Accusation(shown.roster[accused], step - 1)))))
    return shown


def found(shown: Draft, accused: int, *findings: tuple[int, Fault], subject: Subject = Subject.WORKER) -> Draft:
    """The verdict of a trial about the step before, or of an aggregate of this step."""
    step = shown.record.slot.step - (subject is Subject.WORKER)
    true = bytes(16 * 7)
    guilty = (Finding(shown.roster[k], fault, true if fault is Fault.WRONG_REPORT else b"") for k, fault in findings)
    return shown.judged(Trial(step, shown.roster[accused], subject), *guilty)


def add_trials(made: Chapter) -> None:
    """BAN-8 and BAN-9: trials of workers."""
    wrong = Fault.WRONG_HASH
    shown = found(tried((0, 5)), 5, (5, wrong))
    case(made, "guilty", "BAN-9", "verdict-effect", shown, [lost(5, wrong)], [pair(0, 5)])
    shown = found(tried((0, 5), (3, 5)), 5)
    case(
        made, "acquitted", "BAN-9", "verdict-effect", shown,
        [lost(0, Fault.FALSE_ACCUSATION), lost(3, Fault.FALSE_ACCUSATION)], [lost(0, Fault.FALSE_ACCUSATION)],
    )  # fmt: skip
    shown = found(tried((3, 5), (0, 5)), 5, (5, wrong))
    case(
        made, "one-trial-of-two-accusers", "BAN-8 BAN-9", "second-reason", shown, [lost(5, wrong)], [lost(5, wrong)] * 2
    )
    shown = found(found(tried((0, 6), (1, 2)), 2, (2, wrong)), 6, (6, wrong))
    case(
        made, "by-accused", "BAN-8", "trial-order", shown, [lost(2, wrong), lost(6, wrong)],
        [lost(6, wrong), lost(2, wrong)],
    )  # fmt: skip
    swapped = found(found(tried((0, 6), (1, 2)), 6, (6, wrong)), 2, (2, wrong))
    made.refused("by-accuser", "bans.removals", "BAN-8", "trial-order", log=swapped.file)
    made.refused("no-verdict", "bans.removals", "BAN-8", "trial-order", log=tried((0, 5)).file)
    both = found(tried((0, 5)), 5, (5, wrong)).put(5, b"")
    made.refused("trial-of-a-convicted-peer", "bans.removals", "BAN-8", "not-moot", log=both.file)
    moot = tried((0, 5)).put(5, b"")
    case(
        made, "moot-trial", "BAN-8 BAN-9", "not-moot", moot,
        [lost(5, Fault.MALFORMED)], [lost(5, Fault.MALFORMED), lost(0, Fault.FALSE_ACCUSATION)],
    )  # fmt: skip
    silent = found(tried((0, 5)).silence(5), 5, (5, wrong))
    refused = [(silent.roster[5], wrong)]
    case(
        made,
        "silent-and-guilty",
        "BAN-8 BAN-9",
        "refusal",
        silent,
        [lost(5, Fault.SILENT)],
        [lost(5, wrong)],
        refused,
        [],
    )
    innocent = found(tried((0, 5)).silence(5), 5)
    case(
        made, "silent-and-innocent", "BAN-8 BAN-9", "moot", innocent,
        [lost(5, Fault.SILENT), lost(0, Fault.FALSE_ACCUSATION)], [lost(5, Fault.SILENT)],
    )  # fmt: skip
    accuser = found(tried((0, 5)).say(0, state_hash=bytes(32)), 5, (5, wrong))
    case(
        made, "accuser-is-out", "BAN-8 BAN-1", "moot", accuser,
        [lost(0, Fault.DIVERGED), lost(5, wrong)], [lost(0, Fault.DIVERGED)],
    )  # fmt: skip
    first = found(tried((0, 5)).say(0, state_hash=bytes(32)), 5)
    case(
        made, "accuser-is-out-already", "BAN-9 BAN-2", "second-reason", first,
        [lost(0, Fault.DIVERGED)], [lost(0, Fault.FALSE_ACCUSATION)],
    )  # fmt: skip
    add_more_trials(made)


def add_more_trials(made: Chapter) -> None:
    """BAN-8: two steps, retries, and accusations that may not be made."""
    wrong = Fault.WRONG_HASH
    shown = at(Phase.COMMIT, 2)
    plan = recorded_targets(2)
    validator, target = next(iter(plan.items()))
    aggregator = next(k for k in range(7) if k not in (validator, target) and k not in plan)
    accused = next(k for k in range(7) if k not in (aggregator, target, validator))
    shown.say(validator, accusations=(Accusation(shown.roster[target], 0),))
    shown.say(aggregator, accusations=(Accusation(shown.roster[accused], 1),))
    shown.judged(Trial(0, shown.roster[target], Subject.WORKER), Finding(shown.roster[target], wrong))
    shown.judged(Trial(1, shown.roster[accused], Subject.WORKER), Finding(shown.roster[accused], wrong))
    case(
        made, "earlier-step-first", "BAN-8 VER-6", "trial-order", shown,
        [lost(target, wrong), lost(accused, wrong)], [lost(accused, wrong), lost(target, wrong)],
    )  # fmt: skip
    other = next(k for k in range(7) if k not in (validator, target))
    missed = at(Phase.COMMIT, 2).say(validator, accusations=(Accusation(at(Phase.COMMIT, 2).roster[other], 0),))
    case(made, "accuses-no-target", "VER-6 BAN-5", "ignores", missed, [lost(validator, Fault.FALSE_NOTICE)], [])
    retried = draft("retry", 2, Phase.COMMIT, attempt=1)
    retried.say(0, accusations=(Accusation(retried.roster[1], 1),))
    case(made, "accuses-in-a-retry", "VER-6 STEP-9", "ignores", retried, [lost(0, Fault.FALSE_NOTICE)], [])
    for name, findings, right in (
        ("wrong-report", [(5, Fault.WRONG_REPORT)], [lost(5, Fault.WRONG_REPORT)]),
        ("wrong-hash", [(5, wrong)], [lost(5, wrong)]),
    ):
        held = found(tried((0, 5)), 5, *findings)
        if name == "wrong-report":
            continue  # what it uncovers follows from the corrected report
        case(made, f"finds-{name}", "BAN-9", "verdict-effect", held, right, [])


def recorded_targets(step: int) -> dict[int, int]:
    """The validators of a step of the run and their targets, by place."""
    state = next(state for state in states(RUN) if state.step == step)
    return {state.roster.index(v): state.roster.index(t) for v, t in plan_step(state).targets.items()}


def add_aggregate_trials(made: Chapter) -> None:
    """BAN-8 and BAN-9: trials of aggregators."""
    shown = draft("shifted-aggregate", 1, Phase.REPORT)
    accused = shown.roster.index(shown.verdicts[0].trial.accused)
    case(made, "aggregator-guilty", "BAN-9 VER-3", "ignores", shown, [lost(accused, Fault.WRONG_AGGREGATE)], [])
    acquitted = draft("shifted-aggregate", 1, Phase.REPORT)
    trial = acquitted.verdicts.pop().trial
    case(
        made,
        "aggregator-acquitted",
        "BAN-9",
        "overzealous",
        acquitted.judged(trial),
        [],
        [lost(accused, Fault.WRONG_AGGREGATE)],
    )
    silent = draft("shifted-aggregate", 1, Phase.REPORT).silence(4)
    silent.verdicts.clear()
    case(
        made, "no-trials-without-all-reports", "BAN-8", "trial-order", silent,
        [lost(4, Fault.SILENT)], [lost(4, Fault.SILENT), lost(accused, Fault.WRONG_AGGREGATE)],
    )  # fmt: skip
    held = draft("shifted-aggregate", 1, Phase.REPORT).silence(4)
    made.refused("trial-without-all-reports", "bans.removals", "BAN-8", "trial-order", log=held.file)
    coded = draft("redundant-code", 1, Phase.REPORT)
    made.right("five-trials", "bans.removals", "BAN-8 BAN-9", log=coded.file)
    liar = draft("wrong-report", 1, Phase.COMMIT)
    made.right("corrected-report", "bans.removals", "BAN-9 VER-11", log=liar.file)
    vote = draft("tolerance", 2, Phase.COMMIT_VOTE)
    made.right("convicted-by-vote", "bans.removals", "TOL-10 BAN-9", log=vote.file)
    add_undisclosed(made)
    commit = draft("tolerance", 2, Phase.COMMIT)
    made.right("before-the-vote", "bans.removals", "TOL-5", log=commit.file)


def add_undisclosed(made: Chapter) -> None:
    """TOL-10: most judges miss a gradient."""
    shown = draft("tolerance", 2, Phase.COMMIT_VOTE)
    trial = shown.verdicts.pop().trial
    accused = shown.roster.index(trial.accused)
    for judge in (place for place in range(len(shown.roster)) if place != accused):
        shown.say(judge, statements=(Statement(trial.step, trial.accused, int(Fault.UNDISCLOSED)),))
    shown.judged(trial, Finding(trial.accused, Fault.UNDISCLOSED))
    case(
        made, "undisclosed", "TOL-10 TOL-7 BAN-1", "decision-order", shown,
        [lost(accused, Fault.UNDISCLOSED)], [lost(accused, Fault.MISSED)],
    )  # fmt: skip


# -- The whole order ---------------------------------------------------------------------------------------------------


def add_order(made: Chapter) -> None:
    """BAN-1: what comes before what."""
    shown = showing(Phase.AGGREGATE, 0, about(2)).put(5, b"")
    case(
        made, "violations-before-evidence", "BAN-1", "decision-order", shown,
        [lost(5, Fault.MALFORMED), lost(2, Fault.EQUIVOCATION)],
        [lost(2, Fault.EQUIVOCATION), lost(5, Fault.MALFORMED)],
    )  # fmt: skip
    shown = echoing((2, None)).note(0, complaints=(6,))
    case(
        made, "echoes-before-complaints", "BAN-1", "decision-order", shown,
        [lost(4, Fault.UNEXPLAINED_ECHO), pair(0, 6)], [pair(0, 6), lost(4, Fault.UNEXPLAINED_ECHO)],
    )  # fmt: skip
    shown = echoing((2, None))
    shown.note(0, evidence=(proof_about(shown, 6),))
    case(
        made, "evidence-before-echoes", "BAN-1", "decision-order", shown,
        [lost(6, Fault.EQUIVOCATION), lost(4, Fault.UNEXPLAINED_ECHO)],
        [lost(4, Fault.UNEXPLAINED_ECHO), lost(6, Fault.EQUIVOCATION)],
    )  # fmt: skip
    shown = accusing((0, 5), (1, 5), (2, 5)).note(0, complaints=(6,))
    case(
        made, "contents-before-complaints", "BAN-1", "decision-order", shown,
        [lost(5, Fault.IMPOSSIBLE_AGGREGATE), pair(0, 6)], [pair(0, 6), lost(5, Fault.IMPOSSIBLE_AGGREGATE)],
    )  # fmt: skip
    shown = found(tried((1, 5)), 5, (5, Fault.WRONG_HASH)).note(0, complaints=(5,))
    case(
        made, "trials-before-complaints", "BAN-1 BAN-3", "decision-order", shown, [lost(5, Fault.WRONG_HASH)],
        [pair(0, 5)],
    )  # fmt: skip
    shown = found(tried((1, 5)), 5).note(0, complaints=(1,))
    case(
        made, "false-accuser-before-complaints", "BAN-1 BAN-3", "decision-order", shown,
        [lost(1, Fault.FALSE_ACCUSATION)], [pair(0, 1)],
    )  # fmt: skip
    shown = showing(Phase.AGGREGATE, 0, about(2)).note(3, complaints=(2,))
    case(
        made,
        "evidence-before-complaints",
        "BAN-1 BAN-3",
        "decision-order",
        shown,
        [lost(2, Fault.EQUIVOCATION)],
        [pair(3, 2)],
    )
    shown = at(Phase.AGGREGATE).put(5, b"").silence(2)
    case(
        made, "entries-in-roster-order", "BAN-1", "decision-order", shown,
        [lost(2, Fault.SILENT), lost(5, Fault.MALFORMED)], [lost(5, Fault.MALFORMED), lost(2, Fault.SILENT)],
    )  # fmt: skip


# -- Without a seat --------------------------------------------------------------------------------


def add_seatless(made: Chapter) -> None:
    """BAN-2, BAN-9, BAN-12, MEMB-5, MEMB-9: candidates, and members that have just left."""
    candidates = [newcomer.peer_id for newcomer in NEWCOMERS[:2]]
    commit = draft("membership", 3, Phase.COMMIT)
    left = next(iter(state_before(commit).leavers))
    run = state_before(commit).run
    shown = draft("membership", 3, Phase.COMMIT)
    shown.note(0, evidence=(versions(owner(left), run, Slot(1, 0, Phase.COMMIT), bytes(32)),)).verdicts.clear()
    case(
        made, "evidence-about-who-left", "BAN-2 BAN-7 BAN-8", "refusal", shown, [], [], [(left, Fault.EQUIVOCATION)], []
    )
    stale = draft("membership", 3, Phase.COMMIT)
    stale.note(0, evidence=(versions(owner(left), run, Slot(1, 0, Phase.COMMIT), bytes(32)),))
    made.refused("trial-of-a-refused-key", "bans.removals", "BAN-8", "not-moot", log=stale.file)
    guilty = draft("membership", 3, Phase.COMMIT)
    trials = [verdict.trial for verdict in guilty.verdicts]
    guilty.verdicts.clear()
    guilty.judged(trials[0], Finding(left, Fault.WRONG_HASH))
    case(made, "left-and-guilty", "MEMB-9 BAN-9", "refusal", guilty, [], [], [(left, Fault.WRONG_HASH)], [])
    made.right("left-and-innocent", "bans.removals", "MEMB-9 BAN-9", log=commit.file)
    missing = draft("membership", 3, Phase.COMMIT)
    missing.verdicts.clear()
    made.refused("who-left-is-not-tried", "bans.removals", "MEMB-9 BAN-8", "trial-order", log=missing.file)
    for name, voices, refused in (("two-miss-who-left", 2, True), ("one-misses-who-left", 1, False)):
        shown = draft("membership", 3, Phase.COMMIT)
        for place in range(voices):
            shown.say(place, notices=shown.message(place).notices._replace(complaints=(left,)))
        key = [(left, Fault.MISSED)]
        right, wrong = (key, []) if refused else ([], key)
        case(made, name, "BAN-12 BAN-3", "refusal", shown, [], [], right, wrong)
    late = draft("membership", 3, Phase.AGGREGATE)
    late.say(0, notices=late.message(0).notices._replace(complaints=(left,)))
    case(made, "who-left-a-phase-too-late", "BAN-6", "ignores", late, [lost(0, Fault.FALSE_NOTICE)], [])
    proof = versions(NEWCOMERS[0], run, Slot(0, 0, Phase.PETITION), run)
    shown = draft("membership", 5, Phase.AGGREGATE).note(0, evidence=(proof,))
    case(
        made,
        "evidence-about-a-candidate",
        "BAN-2 BAN-7",
        "refusal",
        shown,
        [],
        [],
        [(candidates[0], Fault.EQUIVOCATION)],
        [],
    )
    add_candidates(made)


def add_candidates(made: Chapter) -> None:
    """MEMB-5, MEMB-6: letters that contradict each other, and inspections."""
    shown = draft("membership", 4, Phase.COMMIT)
    letters = shown.message(0).letters
    working = next(letter for letter in letters if letter.slot.phase is Phase.PROBATION)
    other = seal(owner(working.sender), working.run, working.slot, working.run, bytes(32))
    changed = tuple(other if letter == working else letter for letter in letters)
    shown.say(1, letters=changed)
    refused = [(working.sender, Fault.EQUIVOCATION)]
    case(made, "two-commitments", "MEMB-5 BAN-1", "refusal", shown, [], [], refused, [])
    void = draft("membership", 4, Phase.COMMIT).say(1, letters=changed).say(1, state_hash=bytes(32))
    case(
        made, "letters-of-a-removed-peer", "MEMB-5 BAN-1", "ignores", void,
        [lost(1, Fault.DIVERGED)], [lost(1, Fault.DIVERGED)], refused, [],
    )  # fmt: skip
    looked = draft("membership", 5, Phase.COMMIT)
    before = state_before(looked)
    candidate, inspector = next(iter(plan_step(before).inspectors.items()))
    place = looked.roster.index(inspector)
    accusation, trial = Accusation(candidate, 3), Trial(3, candidate, Subject.CANDIDATE)
    guilty = draft("membership", 5, Phase.COMMIT).say(place, accusations=(accusation,))
    guilty.judged(trial, Finding(candidate, Fault.WRONG_HASH))
    case(made, "candidate-guilty", "MEMB-6 BAN-9", "refusal", guilty, [], [], [(candidate, Fault.WRONG_HASH)], [])
    innocent = draft("membership", 5, Phase.COMMIT).say(place, accusations=(accusation,)).judged(trial)
    case(
        made, "candidate-innocent", "MEMB-6 BAN-9", "verdict-effect", innocent, [lost(place, Fault.FALSE_ACCUSATION)],
        [],
    )  # fmt: skip
    reported = draft("membership", 5, Phase.COMMIT).say(place, accusations=(accusation,))
    reported.judged(trial, Finding(candidate, Fault.WRONG_REPORT, bytes(96)))
    made.refused("report-of-a-candidate", "bans.removals", "LOG-6", "verdict-effect", log=reported.file)
    wrong = next(k for k, peer in enumerate(looked.roster) if peer not in plan_step(before).inspectors.values())
    meddling = draft("membership", 5, Phase.COMMIT).say(wrong, accusations=(accusation,))
    case(made, "no-inspector-accuses", "MEMB-6 VER-6", "ignores", meddling, [lost(wrong, Fault.FALSE_NOTICE)], [])


def add_limits(made: Chapter) -> None:
    """BAN-4: how many may leave."""
    two = at(Phase.REPORT).silence(1, 4)
    case(made, "two-of-two", "BAN-4", "tolerance", two, [lost(1, Fault.SILENT), lost(4, Fault.SILENT)], None)
    stops(made, "three-of-two", "BAN-4", "goes-on", at(Phase.REPORT).silence(1, 4, 5))
    pairs = complaining(Phase.AGGREGATE, (0, (1,)), (2, (3,)))
    case(made, "two-pairs", "BAN-4", "tolerance", pairs, [pair(0, 1), pair(2, 3)], None)
    stops(made, "pair-too-many", "BAN-4", "goes-on", complaining(Phase.AGGREGATE, (0, (1,)), (2, (3,))).silence(6))
