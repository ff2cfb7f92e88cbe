"""Membership: how seats are earned, left and taken again (chapter ``membership``)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import cycle
from typing import TYPE_CHECKING, NamedTuple

from btard.protocol.bans import Departure, Departures, Fault, Removal
from btard.protocol.identity import BadKey, check_public_key
from btard.protocol.messages import HASH_BYTES, MAX_LETTERS, Commit, Envelope, Message, Phase, Slot
from btard.protocol.model import (
    MAX_PEERS,
    Configuration,
    ConfigurationError,
    PeerId,
    check_census,
    reachable,
    validator_count,
)
from btard.protocol.mprng import by_lot

if TYPE_CHECKING:
    from btard.protocol.state import State

MAX_CANDIDATES = 8
"""Most candidates on probation at a time; never more than there are members."""
LEAST_PROBATION = 2
"""Fewest steps of probation: so long it takes until a candidate holds the parameters of the last two steps."""
PETITION_STEPS = 8
"""For how many steps a petition is good."""
LETTER_BYTES = {Phase.PETITION: 0, Phase.PROBATION: HASH_BYTES}
"""The length of a letter's body."""


class Probation(NamedTuple):
    """A candidate and how far it has come."""

    peer: PeerId
    since: int
    """The first step whose gradient it owes."""
    owed: int
    """How many inspected steps it needs (T_join)."""
    passed: int = 0
    """How many it has."""


class Seated(NamedTuple):
    """A candidate that got a seat."""

    peer: PeerId
    step: int
    """The first step of its membership."""


def probation_length(peers: int, tolerated: int, most: int) -> int:
    """T_join = ⌈n(n − 1)/(m·h)⌉ with h = n − b: the mean number of steps until an audit hits an idle seat.
    Source: MEMB-3."""
    validators = validator_count(peers, tolerated, most)
    rate = validators * (peers - tolerated)
    return max(LEAST_PROBATION, math.ceil(peers * (peers - 1) / rate))  # requirement: MEMB-3


# -- Letters ------------------------------------------------------------------------------------


def is_letter(letter: Envelope, run: bytes) -> bool:
    """Whether ``letter`` is one: of this run, of the right form, signed. Who brings anything else is at fault,
    since anyone can see it. Source: MEMB-1."""
    slot = letter.slot
    if letter.run != run or letter.log_head != run:
        return False
    if slot.phase not in LETTER_BYTES or (slot.attempt, slot.part) != (0, 0):
        return False
    return len(letter.body) == LETTER_BYTES[slot.phase] and letter.signed_header.authentic  # requirement: MEMB-1


def outlawed(state: State, key: PeerId) -> bool:
    """Whether ``key`` was ever convicted, as a member or on probation. Source: MEMB-2."""
    return any(r.peer == key and r.how in (Departure.CONVICTED, Departure.REFUSED) for r in state.removals)


def welcome(state: State, key: PeerId) -> bool:
    """Whether a petition of ``key`` is heard: a proper key without a seat that was never convicted. Source: MEMB-2."""
    if key in state.roster or any(candidate.peer == key for candidate in state.probation):
        return False
    try:
        check_public_key(key)
    except BadKey:
        return False
    return not outlawed(state, key)  # requirement: MEMB-2


def choose_letters(state: State, letters: Iterable[Envelope]) -> tuple[Envelope, ...]:
    """What a member puts into its next Commit: commitments first, then petitions by lot, the last one of each key, as
    far as there is room. Ascending by sender and slot. Source: MEMB-12."""
    found = sorted((letter for letter in letters if useful(state, letter)), key=lambda letter: letter.slot)
    chosen = {(letter.sender, letter.slot): letter for letter in found}
    asking = {letter.sender: letter for letter in chosen.values() if letter.slot.phase is Phase.PETITION}
    lots = by_lot("btard/candidate", state.randomness, state.step, asking)
    working = [letter for letter in chosen.values() if letter.slot.phase is Phase.PROBATION]
    brought = [*working, *(asking[key] for key in lots)][:MAX_LETTERS]  # requirement: MEMB-12
    return tuple(sorted(brought, key=lambda letter: (letter.sender, letter.slot)))


def useful(state: State, letter: Envelope) -> bool:
    """Whether a member puts ``letter`` into its next Commit."""
    return is_letter(letter, state.run) and (petitions(state, letter) or works(state, letter))


def petitions(state: State, letter: Envelope) -> bool:
    """Whether ``letter`` is a petition that is heard now."""
    age = state.step - letter.slot.step
    return letter.slot.phase is Phase.PETITION and 0 <= age <= PETITION_STEPS and welcome(state, letter.sender)


def works(state: State, letter: Envelope) -> bool:
    """Whether ``letter`` is the commitment to the last step's gradient of somebody on probation."""
    owing = any(candidate.peer == letter.sender and candidate.since < state.step for candidate in state.probation)
    return letter.slot.phase is Phase.PROBATION and letter.slot.step == state.step - 1 and owing


def read_letters(state: State, delivered: Mapping[PeerId, Message], departures: Departures) -> State:
    """What the letters of an agreed Commit change, also if the attempt is void. Source: MEMB-4, MEMB-5.

    Petitions begin a probation with the next step. Commitments join the transcript of their step, where the
    inspectors find them; a candidate that signed two is refused.
    """
    commits = (message for message in delivered.values() if isinstance(message, Commit))
    letters = [letter for commit in commits for letter in commit.letters if is_letter(letter, state.run)]
    committed: dict[PeerId, set[bytes]] = {}
    for letter in letters:
        if works(state, letter):
            committed.setdefault(letter.sender, set()).add(letter.body)
    past = state.transcript(state.step - 1)
    if past is not None:
        merged = {peer: {*hashes, *known(past.candidates, peer)} for peer, hashes in committed.items()}
        for peer in sorted(peer for peer, hashes in merged.items() if len(hashes) > 1):
            departures.refuse(peer, Fault.EQUIVOCATION)  # requirement: MEMB-5
        single = {peer: min(hashes) for peer, hashes in merged.items()}
        joined = replace(past, candidates=tuple(sorted({**dict(past.candidates), **single}.items())))
        state = replace(state, history=tuple(joined if one is past else one for one in state.history))
    return begin_probations(state, sorted({letter.sender for letter in letters if petitions(state, letter)}))


def known(candidates: Iterable[tuple[PeerId, bytes]], peer: PeerId) -> list[bytes]:
    """What ``peer`` has committed to in a transcript."""
    return [committed for candidate, committed in candidates if candidate == peer]


def begin_probations(state: State, petitioners: Sequence[PeerId]) -> State:
    """Put petitioners on probation as long as there is room, by lot. Source: MEMB-4."""
    room = min(MAX_CANDIDATES, len(state.roster)) - len(state.probation)  # requirement: MEMB-4
    owed = probation_length(len(state.roster), state.tolerated, state.config.validators)
    order = by_lot("btard/candidate", state.randomness, state.step, petitioners)
    new = tuple(Probation(peer, state.step + 1, owed) for peer in order[: max(0, room)])
    return replace(state, probation=tuple(sorted(state.probation + new)))


# -- Inspection -----------------------------------------------------------------------------------


def draw_inspectors(state: State) -> dict[PeerId, PeerId]:
    """Who recomputes which candidate's gradient of step t − 2: drawn from r_{t−1}, which nobody knew when that
    gradient was committed. No member gets a second one before all have one. Source: MEMB-6."""
    past = state.transcript(state.step - 2)
    committed = [peer for peer, _ in past.candidates] if past else []
    candidates = [c.peer for c in state.probation if c.peer in committed]
    order = by_lot("btard/inspector", state.randomness, state.step, state.roster)
    return dict(zip(candidates, cycle(order), strict=False))  # requirement: MEMB-6


def inspections(state: State) -> int:
    """How many candidates' gradients a member may have to recompute."""
    return math.ceil(len(state.probation) / len(state.roster))


# -- Step boundaries ------------------------------------------------------------------------------


def end_of_step(state: State, leaving: Iterable[PeerId]) -> State:
    """Leaves, then seats, at the boundary after step ``state.step``; ``state.history`` is still that of t − 2 and
    t − 1. Source: MEMB-7, MEMB-8."""
    state = replace(state, probation=tuple(count_steps(state)), leavers=())
    for peer in sorted(leaving):
        if admissible(state.config, len(state.roster) - 1, state.tolerated):  # requirement: MEMB-8
            state = leave(state, peer)
    ready = [candidate.peer for candidate in state.probation if candidate.passed >= candidate.owed]
    for peer in ready:
        if peer not in state.roster:
            state = admit(state, peer, ready)
    return state


def count_steps(state: State) -> Iterable[Probation]:
    """The candidates after this step: an inspected step more for those whose commitment nobody convicted; out,
    without blame, who did not commit to its last gradient. Source: MEMB-5."""
    last, inspected = state.transcript(state.step - 1), state.transcript(state.step - 2)
    for candidate in state.probation:
        owes = candidate.since < state.step
        if owes and (last is None or not known(last.candidates, candidate.peer)):
            continue
        passed = inspected is not None and bool(known(inspected.candidates, candidate.peer))
        yield candidate._replace(passed=candidate.passed + passed)


def leave(state: State, peer: PeerId) -> State:
    """``peer`` gives back its seat in good order; b_t stays, and it is tried once more (MEMB-9)."""
    slot = Slot(state.step, state.attempt, Phase.COMMIT)
    removal = Removal(peer, Departure.LEFT, Fault.LEAVING, slot)
    roster = tuple(member for member in state.roster if member != peer)
    return replace(state, roster=roster, removals=(*state.removals, removal), leavers=(*state.leavers, peer))


def admit(state: State, peer: PeerId, ready: Sequence[PeerId]) -> State:
    """Seat ``peer`` if the inequalities hold afterwards, alone or together with the other one of its pair.
    Source: MEMB-7."""
    members, bound = len(state.roster), state.tolerated + restored(state, peer)
    partner = partner_of(state, peer)
    if admissible(state.config, members + 1, bound):
        return seat(state, (peer,), bound)
    if partner in ready and partner not in state.roster and admissible(state.config, members + 2, bound):
        return seat(state, (peer, partner), bound)  # type: ignore[arg-type]
    return state  # requirement: MEMB-7


def seat(state: State, peers: tuple[PeerId, ...], tolerated: int) -> State:
    """The state with ``peers`` seated from the next step on."""
    return replace(
        state,
        roster=tuple(sorted((*state.roster, *peers))),
        tolerated=tolerated,
        probation=tuple(candidate for candidate in state.probation if candidate.peer not in peers),
        arrivals=(*state.arrivals, *(Seated(peer, state.step + 1) for peer in peers)),
    )


def restored(state: State, peer: PeerId) -> int:
    """By how much b_t rises when ``peer`` gets a seat: 1 for one that was absent and for the first of a pair,
    since b_t fell when they went; 0 for the second, for newcomers and for those who left. Source: MEMB-7."""
    last = last_removal(state, peer)
    if last is None or last.how is Departure.LEFT:
        return 0
    if last.how is Departure.ABSENT:
        return 1
    return int(not any(back.peer == last.partner and back.step > last.slot.step for back in state.arrivals))


def last_removal(state: State, peer: PeerId) -> Removal | None:
    """How ``peer`` last went, None if it never had a seat."""
    return next((removal for removal in reversed(state.removals) if removal.peer == peer), None)


def partner_of(state: State, peer: PeerId) -> PeerId | None:
    """Whom ``peer`` was last eliminated with."""
    last = last_removal(state, peer)
    return last.partner if last else None


@lru_cache(maxsize=256)
def admissible(config: Configuration, peers: int, tolerated: int) -> bool:
    """Whether a roster of ``peers`` with bound ``tolerated`` satisfies chapter ``model``, and every one that
    removals can make of it. Source: MEMB-7, MODEL-1 … MODEL-7."""
    if peers < 2 * tolerated + 2 or peers > min(MAX_PEERS, config.dimension):
        return False
    try:
        for census in reachable(peers, tolerated, config.validators):
            check_census(config, census)
    except ConfigurationError:
        return False
    return True
