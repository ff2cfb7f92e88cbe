"""Vectors of chapter ``membership``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from btard.conformance.vectors.cases import Chapter, operation
from btard.conformance.vectors.forms import octets, read_slot, texts
from btard.conformance.vectors.recorded import (
    REMOVAL,
    configuration,
    draft,
    follow,
    genesis_of,
    keys,
    plain_removal,
    recorded,
)
from btard.protocol.bans import Departure, Departures, Fault, Removal
from btard.protocol.encoding import tagged_hash
from btard.protocol.identity import Identity
from btard.protocol.log import Genesis
from btard.protocol.membership import (
    Probation,
    Seated,
    admissible,
    choose_letters,
    draw_inspectors,
    end_of_step,
    is_letter,
    probation_length,
    read_letters,
)
from btard.protocol.messages import Commit, Envelope, Phase, Slot, seal
from btard.protocol.model import PeerId, validator_count
from btard.protocol.mprng import by_lot
from btard.protocol.state import State, initial_state, plan_step
from btard.protocol.verification import Transcript

FLAGS = {
    "probation": "computes another length of probation than MEMB-3",
    "no-letter": "takes for a letter what is none",
    "unheard": "hears a petition that is not heard, or does not hear one that is",
    "commitments-first": "lets petitions crowd out commitments, or brings more than it may",
    "one-of-each": "brings several petitions of one key",
    "order": "takes candidates, letters or seats in another order than the lots or ids say",
    "room": "puts more, or fewer, keys on probation than there is room for",
    "inspectors": "draws other inspectors than MEMB-6",
    "counts": "counts another number of inspected steps, or forgets to drop who did not commit",
    "bound": "raises b_t by another number than MEMB-7",
    "inequality": "gives a seat, or lets a member leave, although an inequality would not hold, or refuses one "
    "although all hold",
    "pair": "does not seat a pair together where one alone may not, or seats it wrongly",
    "two-commitments": "does not refuse a candidate that signed two commitments to one step, or refuses another",
    "seats-first": "gives seats before members have left, or to who had one",
}


# -- Forms ------------------------------------------------------------------------------------------------

BEFORE = (
    f"`genesis`: bytes of record 0, for the configuration; `step`; `randomness`: r_{{t-1}}; `roster`; `tolerated`: "
    "b_t; `probation`: list of candidates [peer, first step that it owes, inspected steps that it needs, that it "
    f"has], by id; `removals`: list of {REMOVAL}; `arrivals`: list of [peer, first step of its membership]; "
    "`committed`: for the steps t - 2 and t - 1 the agreed commitments of candidates, a list of [step, list of "
    "[peer, hash]]"
)
"""How operations describe the state before a phase, or at a step boundary."""


def read_before(given: dict[str, Any]) -> State:
    """The state that a vector describes."""
    genesis = Genesis.decode(bytes.fromhex(given["genesis"]))
    history = tuple(bare_transcript(step, octets_of(pairs)) for step, pairs in given["committed"])
    return replace(
        initial_state(genesis),
        step=given["step"],
        randomness=bytes.fromhex(given["randomness"]),
        roster=octets(given["roster"]),
        tolerated=given["tolerated"],
        probation=tuple(Probation(bytes.fromhex(peer), *counts) for peer, *counts in given["probation"]),
        removals=tuple(map(read_removal, given["removals"])),
        arrivals=tuple(Seated(bytes.fromhex(peer), step) for peer, step in given["arrivals"]),
        history=history,
    )


def octets_of(pairs: Iterable[list[str]]) -> tuple[tuple[bytes, bytes], ...]:
    """Peers with hashes."""
    return tuple((bytes.fromhex(peer), bytes.fromhex(committed)) for peer, committed in pairs)


def read_removal(plain: list[Any]) -> Removal:
    """A removal of its form."""
    peer, how, fault, slot, partner = plain
    other = bytes.fromhex(partner) if partner else None
    return Removal(bytes.fromhex(peer), Departure(how), Fault(fault), read_slot(slot), other)


def bare_transcript(step: int, candidates: tuple[tuple[PeerId, bytes], ...]) -> Transcript:
    """A transcript of which only the candidates matter."""
    return Transcript(
        run=bytes(32), step=step, tolerated=0, gradient_clip=1.0, seed_randomness=bytes(32), randomness=bytes(32),
        workers=(), dimension=1, radii=np.zeros(0), part_hashes=(), aggregate_hashes=(), reports=np.zeros((0, 2, 0)),
        parameters=None, state_hash=b"", aggregate=None, candidates=candidates,
    )  # fmt: skip


def plain_probation(probation: Iterable[Probation]) -> list[Any]:
    """Candidates, as operations describe them."""
    return [[peer.hex(), since, owed, passed] for peer, since, owed, passed in probation]


def plain_after(state: State) -> dict[str, Any]:
    """Who has a seat or wants one, after a boundary."""
    return {
        "roster": texts(state.roster),
        "tolerated": state.tolerated,
        "probation": plain_probation(state.probation),
        "removals": [plain_removal(removal) for removal in state.removals],
        "arrivals": [[peer.hex(), step] for peer, step in state.arrivals],
        "leavers": texts(state.leavers),
    }


AFTER = (
    "`roster`, `tolerated`, `probation`, `removals`, `arrivals` as in the input, and `leavers`: the members that "
    "have just left, in the order in which they did"
)


# -- Operations -----------------------------------------------------------------------------------------------


@operation(
    "membership.probation_length",
    "`peers`: n; `tolerated`: b; `most`: m_max",
    "T_join, the inspected steps that it takes",
)
def compute_length(given: dict[str, Any]) -> int:
    """MEMB-3."""
    return probation_length(given["peers"], given["tolerated"], given["most"])


@operation("membership.is_letter", "`run`; `letter`: bytes of an envelope", "whether a Commit may bring it")
def compute_is_letter(given: dict[str, Any]) -> bool:
    """MEMB-1."""
    return is_letter(Envelope.decode(bytes.fromhex(given["letter"]), 1000), bytes.fromhex(given["run"]))


@operation(
    "membership.choose_letters",
    f"{BEFORE}; `letters`: that a member got, list of bytes of an envelope, in any order",
    "the letters that it brings, in the order in which they stand in its Commit: list of [sender, code of the phase]",
)
def compute_choose(given: dict[str, Any]) -> list[list[Any]]:
    """MEMB-2, MEMB-12."""
    letters = [Envelope.decode(bytes.fromhex(letter), 1000) for letter in given["letters"]]
    return named(choose_letters(read_before(given), letters))


def named(letters: Iterable[Envelope]) -> list[list[Any]]:
    """Letters, in the order in which a Commit has them: which one of several petitions of a key counts is left open."""
    ordered = sorted(letters, key=lambda one: (one.sender, one.slot))
    return [[one.sender.hex(), int(one.slot.phase)] for one in ordered]


@operation(
    "membership.read_letters",
    f"{BEFORE}; `letters`: those in the agreed Commits of step t, by the roster order of the Commits, list of lists "
    "of bytes of an envelope",
    "`probation`: the candidates after the phase; `committed`: the commitments to step t - 1 that are agreed then, "
    "list of [peer, hash] by peer, those of refused candidates left out; `refused`: list of peers",
)
def compute_read(given: dict[str, Any]) -> dict[str, Any]:
    """MEMB-2, MEMB-4, MEMB-5."""
    state, departures = read_before(given), Departures(Slot(given["step"], 0, Phase.COMMIT))
    commits = {
        peer: Commit(
            (), bytes(32), bytes(32), (), tuple(Envelope.decode(bytes.fromhex(letter), 1000) for letter in letters)
        )
        for peer, letters in zip(state.roster, given["letters"], strict=True)
    }
    after = read_letters(state, commits, departures)
    refused = [refusal.peer for refusal in departures.refusals]
    past = after.transcript(state.step - 1)
    kept = [[peer.hex(), said.hex()] for peer, said in (past.candidates if past else ()) if peer not in refused]
    probation = [candidate for candidate in after.probation if candidate.peer not in refused]
    return {"probation": plain_probation(probation), "committed": kept, "refused": texts(refused)}


@operation(
    "membership.inspectors",
    BEFORE,
    "list of [candidate, inspector], by candidate",
)
def compute_inspectors(given: dict[str, Any]) -> list[list[str]]:
    """MEMB-6."""
    return [[candidate.hex(), inspector.hex()] for candidate, inspector in draw_inspectors(read_before(given)).items()]


@operation(
    "membership.boundary",
    f"{BEFORE}, step t being the one that ends; `leaving`: who said in the applied attempt that it leaves; "
    "`attempt`: its number",
    AFTER,
)
def compute_boundary(given: dict[str, Any]) -> dict[str, Any]:
    """MEMB-5, MEMB-7, MEMB-8."""
    state = replace(read_before(given), attempt=given["attempt"])
    return plain_after(end_of_step(state, octets(given["leaving"])))


@operation(
    "membership.admissible",
    "`genesis`: bytes of record 0, for the configuration; `peers`: n; `tolerated`: b",
    "whether a roster of n with bound b, and all that removals can make of it, satisfies MEMB-7's inequalities",
)
def compute_admissible(given: dict[str, Any]) -> bool:
    """MEMB-7."""
    config = Genesis.decode(bytes.fromhex(given["genesis"])).configuration
    return admissible(config, given["peers"], given["tolerated"])


@operation(
    "membership.follow",
    "`log`: bytes of a log that goes on (as in `log.follow`)",
    f"{AFTER}; `inspectors` of the step that follows or goes on: list of [candidate, inspector], by candidate",
)
def compute_follow(given: dict[str, Any]) -> dict[str, Any]:
    """MEMB-4 to MEMB-8."""
    asked = follow(bytes.fromhex(given["log"]))
    state, slot = asked[-1]
    started = next(before for before, place in asked if place.step == slot.step)
    pairs = [[candidate.hex(), inspector.hex()] for candidate, inspector in plan_step(started).inspectors.items()]
    return {**plain_after(state), "inspectors": pairs}


# -- Vectors -------------------------------------------------------------------------------------------------------


def chapter() -> Chapter:
    """All vectors of the chapter."""
    made = Chapter("membership", FLAGS)
    for add in (
        add_lengths, add_letters, add_choices, add_petitions, add_commitments, add_inspectors, add_admissible,
        add_counts, add_leaves, add_seats, add_returns, add_runs,
    ):  # fmt: skip
        add(made)
    return made


def add_lengths(made: Chapter) -> None:
    """MEMB-3."""
    for peers, tolerated, most in ((16, 7, 1), (16, 1, 4), (5, 1, 1), (7, 2, 2), (1024, 100, 4)):
        name = f"{peers}-{tolerated}-{most}"
        given = {"peers": peers, "tolerated": tolerated, "most": most}
        right = made.right(name, "membership.probation_length", "MEMB-3", **given)
        count = validator_count(peers, tolerated, most)
        exact = peers * (peers - 1) / (count * (peers - tolerated))
        for what, mistaken in (
            ("rounded-down", int(exact)), ("of-all-members", -(-(peers - 1) // count)),
            ("m-max", -(-peers * (peers - 1) // (most * (peers - tolerated)))),
        ):  # fmt: skip
            if mistaken != right:
                made.trap(f"{name}-{what}", "membership.probation_length", "MEMB-3", "probation", mistaken, **given)
    for peers in (2, 3, 4):
        given = {"peers": peers, "tolerated": 0, "most": 4}
        made.trap(f"least-of-{peers}", "membership.probation_length", "MEMB-3", "probation", 1, **given)


GENESIS = genesis_of(configuration(peers=7, tolerated=2, validators=2, dimension=16, steps=20))
RUN = GENESIS.run
STEP = 9
RANDOMNESS = tagged_hash("btard/vectors", b"randomness")
MEMBERS = keys(7)
CROWD = keys(12, label=97)
"""Keys without a seat."""


def letter(identity: Identity, phase: Phase, step: int, body: bytes | None = None, **changes: Any) -> Envelope:
    """A signed letter; ``changes`` are what is wrong with it."""
    slot = Slot(step, changes.get("attempt", 0), phase, changes.get("part", 0))
    usual = b"" if phase is Phase.PETITION else tagged_hash("btard/vectors", identity.peer_id)
    run, head = changes.get("run", RUN), changes.get("head", RUN)
    return seal(identity, run, slot, head, usual if body is None else body)


def petition(identity: Identity, step: int = STEP) -> Envelope:
    """A wish for a seat."""
    return letter(identity, Phase.PETITION, step)


def commitment(identity: Identity, step: int = STEP - 1, body: bytes | None = None) -> Envelope:
    """A commitment to a gradient."""
    return letter(identity, Phase.PROBATION, step, body)


def add_letters(made: Chapter) -> None:
    """MEMB-1."""
    one = CROWD[0]
    for name, good in (
        ("petition", petition(one)), ("commitment", commitment(one)), ("of-a-member", petition(MEMBERS[0])),
        ("of-long-ago", petition(one, 0)), ("of-the-future", commitment(one, 2**40)),
    ):  # fmt: skip
        made.right(name, "membership.is_letter", "MEMB-1", run=RUN.hex(), letter=good.encode().hex())
    wrong = {
        "other-run": letter(one, Phase.PETITION, STEP, run=bytes(32)),
        "other-run-and-head": letter(one, Phase.PETITION, STEP, run=bytes(32), head=bytes(32)),
        "other-head": letter(one, Phase.PETITION, STEP, head=bytes(32)),
        "retried": letter(one, Phase.PETITION, STEP, attempt=1),
        "with-part": letter(one, Phase.PROBATION, STEP, part=1),
        "petition-with-words": letter(one, Phase.PETITION, STEP, b"\x00"),
        "petition-with-hash": letter(one, Phase.PETITION, STEP, bytes(32)),
        "empty-commitment": letter(one, Phase.PROBATION, STEP, b""),
        "short-commitment": letter(one, Phase.PROBATION, STEP, bytes(31)),
        "long-commitment": letter(one, Phase.PROBATION, STEP, bytes(33)),
        "commit": letter(one, Phase.COMMIT, STEP, b""),
        "scatter": letter(one, Phase.SCATTER, STEP, bytes(32)),
        "unsigned": replace(petition(one), signature=bytes(64)),
        "signed-by-another": replace(petition(one), sender=CROWD[1].peer_id),
    }
    for name, bad in wrong.items():
        made.trap(
            name, "membership.is_letter", "MEMB-1", "no-letter", True, run=RUN.hex(), letter=bad.encode().hex()
        )  # fmt: skip


Candidate = tuple[Identity, int, int, int]
"""Who, since when, how many steps it needs, and has."""


def before(
    candidates: Iterable[Candidate] = (), removals: Iterable[Removal] = (),
    committed: Mapping[int, Iterable[Identity]] | None = None,
    members: Iterable[Identity] = MEMBERS, tolerated: int = 2, arrivals: Iterable[tuple[Identity, int]] = (),
    genesis: Genesis = GENESIS,
) -> dict[str, Any]:  # fmt: skip
    """A state, as operations describe it; ``committed``: who committed to which step."""
    known = committed or {}
    probation = sorted(Probation(who.peer_id, since, owed, passed) for who, since, owed, passed in candidates)
    return {
        "genesis": genesis.encode().hex(),
        "step": STEP,
        "randomness": RANDOMNESS.hex(),
        "roster": sorted(texts(member.peer_id for member in members)),
        "tolerated": tolerated,
        "probation": plain_probation(probation),
        "removals": [plain_removal(removal) for removal in removals],
        "arrivals": [[who.peer_id.hex(), step] for who, step in arrivals],
        "committed": [[step, hashes_of(known.get(step, ()))] for step in (STEP - 2, STEP - 1)],
    }


def hashes_of(identities: Iterable[Identity]) -> list[list[str]]:
    """Commitments, by candidate."""
    return sorted([who.peer_id.hex(), tagged_hash("btard/vectors", who.peer_id).hex()] for who in identities)


def removal(who: Identity, how: Departure, fault: Fault, partner: Identity | None = None, step: int = 3) -> Removal:
    """How somebody left earlier."""
    return Removal(who.peer_id, how, fault, Slot(step, 0, Phase.COMMIT), partner.peer_id if partner else None)


def add_choices(made: Chapter) -> None:
    """MEMB-2, MEMB-12: what a member brings."""
    worker = CROWD[0]
    state = before([(worker, 5, 4, 1)], [removal(CROWD[1], Departure.CONVICTED, Fault.DIVERGED)])
    good = [commitment(worker), petition(CROWD[2]), petition(CROWD[3], STEP - 8)]
    bring(made, "usual", "", state, good, None)
    for name, flag, more in (
        ("too-old", "unheard", petition(CROWD[4], STEP - 9)),
        ("too-early", "unheard", petition(CROWD[4], STEP + 1)),
        ("convicted", "unheard", petition(CROWD[1])),
        ("member", "unheard", petition(MEMBERS[0])),
        ("on-probation", "unheard", petition(worker)),
        ("nobody-on-probation", "unheard", commitment(CROWD[4])),
        ("earlier-commitment", "unheard", commitment(worker, STEP - 2)),
        ("this-step", "unheard", commitment(worker, STEP)),
        ("no-letter", "no-letter", letter(CROWD[4], Phase.PETITION, STEP, b"\x00")),
        ("unsigned", "no-letter", replace(petition(CROWD[4]), signature=bytes(64))),
    ):
        bring(made, name, flag, state, [more, *good], named([more, *good]))
    late = before([(worker, STEP, 4, 0)])
    bring(made, "owes-nothing-yet", "unheard", late, good, named(good))
    for name, how, fault, heard in (
        ("absent", Departure.ABSENT, Fault.SILENT, True), ("left", Departure.LEFT, Fault.LEAVING, True),
        ("eliminated", Departure.ELIMINATED, Fault.WITHHELD, True),
        ("refused", Departure.REFUSED, Fault.WRONG_HASH, False),
    ):  # fmt: skip
        known = before([], [removal(CROWD[5], how, fault)])
        asks = [petition(CROWD[5])]
        bring(made, f"was-{name}", "unheard", known, asks, [] if heard else named(asks))
    twice = [petition(CROWD[5], STEP - 1), petition(CROWD[5])]
    bring(made, "two-petitions-of-one", "one-of-each", state, twice, named(twice))
    add_crowds(made)


def bring(made: Chapter, name: str, flag: str, state: dict[str, Any], letters: list[Envelope], mistaken: Any) -> None:
    """One choice of letters."""
    given = {**state, "letters": texts(one.encode() for one in letters)}
    if mistaken is None:
        made.right(name, "membership.choose_letters", "MEMB-12 MEMB-2", **given)
    else:
        made.trap(name, "membership.choose_letters", "MEMB-12 MEMB-2", flag, mistaken, **given)


def add_crowds(made: Chapter) -> None:
    """MEMB-12: more letters than there is room for."""
    many = keys(66, label=96)
    worker = CROWD[0]
    state = before([(worker, 5, 4, 1)])
    letters = [*(petition(one) for one in many), commitment(worker)]
    crowded = sorted(letters, key=lambda one: one.sender)[:64]
    bring(made, "room-for-64", "commitments-first", state, letters, named(crowded))


def add_petitions(made: Chapter) -> None:
    """MEMB-4: who is put on probation."""
    asking = [[petition(one)] for one in CROWD[:3]] + [[]] * 4
    right = read(made, "three-petitions", "", before(), asking, None)
    everyone = [[petition(one)] for one in CROWD[:7]]
    read(made, "seven-petitions", "", before(), everyone, None)
    six = [(one, 5, 4, 0) for one in CROWD[6:]]
    state = before(six, committed={STEP - 1: CROWD[6:]})
    lots = by_lot("btard/candidate", RANDOMNESS, STEP, [one.peer_id for one in CROWD[:3]])
    for name, flag, chosen in (
        ("room-for-one", "room", lots[:2]), ("lowest-id-first", "order", sorted(lots)[:1]),
        ("highest-lot-first", "order", lots[2:]),
        ("no-room", "room", []),
    ):  # fmt: skip
        after = sorted([*state["probation"], *([peer.hex(), STEP + 1, 5, 0] for peer in chosen)])
        mistaken = {"probation": after, "committed": hashes_of(CROWD[6:]), "refused": []}
        if chosen != lots[:1]:
            read(made, name, flag, state, asking, mistaken)
    full = before([(one, 5, 4, 0) for one in CROWD[5:]], committed={STEP - 1: CROWD[5:]})
    added = sorted([*full["probation"], [lots[0].hex(), STEP + 1, 5, 0]])
    mistaken = {"probation": added, "committed": hashes_of(CROWD[5:]), "refused": []}
    read(made, "as-many-as-members", "room", full, asking, mistaken)
    now = {**right, "probation": [[peer, STEP, owed, passed] for peer, _, owed, passed in right["probation"]]}
    read(made, "from-the-next-step", "probation", before(), asking, now)
    again = [[petition(CROWD[0])], [petition(CROWD[0], STEP - 1)], *[[]] * 5]
    doubled = {"probation": [[CROWD[0].peer_id.hex(), STEP + 1, 5, 0]] * 2, "committed": [], "refused": []}
    read(made, "one-probation-of-two-petitions", "one-of-each", before(), again, doubled)


def read(made: Chapter, name: str, flag: str, state: dict[str, Any], letters: Any, mistaken: Any) -> Any:
    """The letters of one agreed Commit."""
    given = {**state, "letters": [texts(one.encode() for one in brought) for brought in letters]}
    if mistaken is None:
        return made.right(name, "membership.read_letters", "MEMB-4 MEMB-5", **given)
    return made.trap(name, "membership.read_letters", "MEMB-4 MEMB-5", flag, mistaken, **given)


def add_commitments(made: Chapter) -> None:
    """MEMB-5: commitments, and two of them."""
    one, other = CROWD[:2]
    state = before([(one, 5, 4, 1), (other, 5, 4, 1)])
    both = [[commitment(one)], [commitment(other)], *[[]] * 5]
    right = read(made, "two-candidates", "", state, both, None)
    twice = [[commitment(one)], [commitment(one, body=bytes(32)), commitment(other)], *[[]] * 5]
    read(made, "two-commitments-of-one", "two-commitments", state, twice, right)
    known = before([(one, 5, 4, 1), (other, 5, 4, 1)], committed={STEP - 1: [one, other]})
    retried = [[commitment(one, body=bytes(32))], *[[]] * 6]
    read(made, "another-one-in-a-retry", "two-commitments", known, retried, right)
    same = [[commitment(one)], [commitment(one)], [commitment(other)], *[[]] * 4]
    out = [line for line in right["probation"] if line[0] != one.peer_id.hex()]
    kept = [line for line in right["committed"] if line[0] != one.peer_id.hex()]
    mistaken = {"probation": out, "committed": kept, "refused": [one.peer_id.hex()]}
    read(made, "the-same-one-twice", "two-commitments", state, same, mistaken)
    steps = [[commitment(one), commitment(one, STEP)], [commitment(other), commitment(other, STEP - 2)], *[[]] * 5]
    read(made, "to-other-steps", "two-commitments", state, steps, mistaken)
    stranger = [[commitment(one)], [commitment(other), commitment(CROWD[4])], *[[]] * 5]
    more = {**right, "committed": hashes_of([one, other, CROWD[4]])}
    read(made, "of-nobody-on-probation", "unheard", state, stranger, more)


def add_inspectors(made: Chapter) -> None:
    """MEMB-6."""
    workers = CROWD[:4]
    state = before([(one, 5, 4, 1) for one in workers], committed={STEP - 2: workers, STEP - 1: workers})
    right = made.right("four-candidates", "membership.inspectors", "MEMB-6 MPRNG-7", **state)
    everyone = before([(one, 5, 4, 1) for one in CROWD[:8]], committed={STEP - 2: CROWD[:8]})
    all_eight = made.right("more-candidates-than-members", "membership.inspectors", "MEMB-6", **everyone)
    made.right("nobody-on-probation", "membership.inspectors", "MEMB-6", **before())
    made.trap("one-too-few", "membership.inspectors", "MEMB-6", "inspectors", all_eight[:7], **everyone)
    late = before([(one, 5, 4, 1) for one in workers], committed={STEP - 2: workers[:2], STEP - 1: workers})
    made.trap("without-commitment", "membership.inspectors", "MEMB-6", "inspectors", right, **late)
    gone = before([(one, 5, 4, 1) for one in workers[:2]], committed={STEP - 2: workers})
    made.trap("no-candidate-any-more", "membership.inspectors", "MEMB-6", "inspectors", right, **gone)
    members = sorted(bytes.fromhex(member) for member in state["roster"])
    for name, order in (
        ("by-id", members),
        ("lots-of-validators", by_lot("btard/validator", RANDOMNESS, STEP, members)),
        ("lots-of-the-step-before", by_lot("btard/inspector", RANDOMNESS, STEP - 1, members)),
    ):
        mistaken = [[candidate, inspector.hex()] for (candidate, _), inspector in zip(right, order, strict=False)]
        made.trap(name, "membership.inspectors", "MEMB-6", "inspectors", mistaken, **state)


def add_admissible(made: Chapter) -> None:
    """MEMB-7: the inequalities."""
    data = GENESIS.encode().hex()
    for peers, tolerated, right in (
        (7, 2, True),
        (6, 2, True),
        (8, 2, True),
        (5, 1, True),
        (16, 2, True),
        (2, 0, True),
    ):
        name = f"{peers}-{tolerated}"
        made.trap(
            name, "membership.admissible", "MEMB-7", "inequality", not right, genesis=data, peers=peers,
            tolerated=tolerated,
        )  # fmt: skip
    for peers, tolerated in ((5, 2), (7, 3), (1, 0), (17, 2)):
        name = f"not-{peers}-{tolerated}"
        made.trap(
            name, "membership.admissible", "MEMB-7", "inequality", True, genesis=data, peers=peers, tolerated=tolerated
        )  # fmt: skip


def boundary(
    made: Chapter, name: str, requirements: str, flag: str, state: dict[str, Any], leaving: Iterable[Identity],
    wrong: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
) -> Any:  # fmt: skip
    """One step boundary; ``wrong`` makes the mistaken outcome of the right one."""
    given = {**state, "leaving": texts(who.peer_id for who in leaving), "attempt": 1}
    if wrong is None:
        return made.right(name, "membership.boundary", requirements, **given)
    return made.trap(name, "membership.boundary", requirements, flag, wrong(compute_boundary(given)), **given)


def bounded(tolerated: int) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """The mistake of another bound."""
    return lambda after: {**after, "tolerated": tolerated}


def add_counts(made: Chapter) -> None:
    """MEMB-5: inspected steps."""
    one = CROWD[0]
    both = {STEP - 2: [one], STEP - 1: [one]}
    state = before([(one, 5, 4, 1)], committed=both)
    boundary(made, "one-step-more", "MEMB-5", "", state, ())
    boundary(
        made, "counts-the-step", "MEMB-5", "counts", state, (), lambda after: {**after, "probation": state["probation"]}
    )
    idle = before([(one, 5, 4, 1)], committed={STEP - 2: [one]})
    boundary(
        made, "no-commitment", "MEMB-5", "counts", idle, (), lambda after: {**after, "probation": state["probation"]}
    )
    new = before([(one, STEP, 4, 0)])
    boundary(made, "owes-nothing-yet", "MEMB-5", "counts", new, (), lambda after: {**after, "probation": []})
    first = before([(one, STEP - 1, 4, 0)], committed={STEP - 1: [one]})
    passed = [[one.peer_id.hex(), STEP - 1, 4, 1]]
    boundary(made, "not-inspected-yet", "MEMB-5", "counts", first, (), lambda after: {**after, "probation": passed})


def add_leaves(made: Chapter) -> None:
    """MEMB-8."""
    state = before()
    left = boundary(made, "one-leaves", "MEMB-8", "", state, MEMBERS[3:4])
    boundary(
        made, "leave-lowers-no-bound", "MEMB-8", "bound", state, MEMBERS[3:4], lambda after: {**after, "tolerated": 1}
    )
    staying = before(members=MEMBERS[:6])
    boundary(
        made, "too-few-would-stay", "MEMB-8 MODEL-1", "inequality", staying, MEMBERS[3:4],
        lambda after: {**left, "roster": [peer for peer in after["roster"] if peer != MEMBERS[3].peer_id.hex()]},
    )  # fmt: skip
    boundary(
        made, "one-of-two-may-leave", "MEMB-8", "order", state, (MEMBERS[5], MEMBERS[1]),
        lambda after: {**after, "leavers": [MEMBERS[5].peer_id.hex()]},
    )  # fmt: skip
    one = CROWD[0]
    ready = before([(one, 3, 4, 3)], committed={STEP - 2: [one], STEP - 1: [one]}, members=MEMBERS[:6])
    boundary(
        made, "leaves-come-first", "MEMB-8 MEMB-7", "seats-first", ready, MEMBERS[3:4],
        lambda after: {**after, "roster": sorted({*after["roster"]} - {MEMBERS[3].peer_id.hex()})},
    )  # fmt: skip


def add_seats(made: Chapter) -> None:
    """MEMB-7: newcomers."""
    one, other = CROWD[:2]
    both = {STEP - 2: [one, other], STEP - 1: [one, other]}
    state = before([(one, 3, 4, 3), (other, 3, 4, 3)], committed=both)
    boundary(made, "two-newcomers", "MEMB-7", "", state, ())
    boundary(made, "newcomers-raise-no-bound", "MEMB-7", "bound", state, (), lambda after: {**after, "tolerated": 3})
    boundary(
        made, "in-order-of-ids", "MEMB-7", "order", state, (),
        lambda after: {**after, "arrivals": after["arrivals"][::-1]},
    )  # fmt: skip
    young = before([(one, 3, 4, 2)], committed=both)
    grown = before([(one, 3, 4, 3)], committed=both)
    seated = boundary(made, "last-step-counts", "MEMB-7 MEMB-5", "", grown, ())
    boundary(made, "one-step-too-few", "MEMB-7", "counts", young, (), lambda _: seated)
    narrow = genesis_of(configuration(peers=7, tolerated=2, validators=2, dimension=7, steps=20))
    tight = before([(one, 3, 4, 3)], committed=both, genesis=narrow)
    boundary(made, "more-peers-than-parameters", "MEMB-7 MODEL-3", "inequality", tight, (), lambda _: seated)


def add_returns(made: Chapter) -> None:
    """MEMB-7: members that come back."""
    one, other = MEMBERS[5:]
    absent = [removal(one, Departure.ABSENT, Fault.SILENT)]
    known = {STEP - 2: [one, other], STEP - 1: [one, other]}
    ready = [(one, 5, 2, 1)]
    usual = {"members": MEMBERS[:5], "tolerated": 1}
    for name, removals, raised in (
        ("absent-returns", absent, 1),
        ("left-returns", [removal(one, Departure.LEFT, Fault.LEAVING)], 0),
        ("first-of-a-pair-returns", [removal(one, Departure.ELIMINATED, Fault.WITHHELD, other)], 1),
    ):
        state = before(ready, removals, known, **usual)  # type: ignore[arg-type]
        wrong = 2 - raised
        boundary(made, name, "MEMB-7", "bound", state, (), bounded(wrong))
    pair = [
        removal(one, Departure.ELIMINATED, Fault.WITHHELD, other),
        removal(other, Departure.ELIMINATED, Fault.WITHHELD, one),
    ]  # fmt: skip
    second = before(ready, pair, known, members=[*MEMBERS[:5], other], tolerated=2, arrivals=[(other, 6)])
    boundary(made, "second-of-a-pair-returns", "MEMB-7", "bound", second, (), lambda after: {**after, "tolerated": 3})
    earlier = before(ready, pair, known, members=MEMBERS[:5], tolerated=1, arrivals=[(other, 2)])
    boundary(
        made, "partner-came-before-they-left", "MEMB-7", "bound", earlier, (), lambda after: {**after, "tolerated": 1}
    )
    last = [*absent, removal(one, Departure.LEFT, Fault.LEAVING, step=6)]
    twice = before(ready, last, known, **usual)  # type: ignore[arg-type]
    boundary(made, "last-removal-counts", "MEMB-7", "bound", twice, (), lambda after: {**after, "tolerated": 2})
    both = [(one, 5, 2, 1), (other, 5, 2, 1)]
    few = before(both, pair, known, members=MEMBERS[:4], tolerated=1)
    boundary(
        made,
        "pair-together",
        "MEMB-7",
        "pair",
        few,
        (),
        lambda after: {**after, "roster": few["roster"], "tolerated": 1},
    )
    alone = before(both[:1], pair, known, members=MEMBERS[:4], tolerated=1)
    seated = sorted([*alone["roster"], one.peer_id.hex()])
    boundary(
        made, "one-of-a-pair-alone", "MEMB-7", "pair", alone, (),
        lambda after: {**after, "roster": seated, "tolerated": 2},
    )  # fmt: skip


def add_runs(made: Chapter) -> None:
    """MEMB-4 to MEMB-9 in whole runs."""
    for name in ("membership", "return"):
        log = recorded(name)
        for step in range(1, log.genesis.configuration.steps + 1):
            index = log.index(step, Phase.COMMIT)
            made.right(f"{name}-{step}", "membership.follow", "MEMB-4 MEMB-5 MEMB-7 MEMB-8", log=log.until(index))
    unread = draft("membership", 4, Phase.COMMIT)
    for place in range(len(unread.roster)):
        unread.say(place, letters=())
    made.right("no-letters", "membership.follow", "MEMB-5", log=unread.file)
    void = draft("membership", 2, Phase.COMMIT).say(0, state_hash=bytes(32))
    right = compute_follow({"log": void.file.edited.hex()})
    made.trap(
        "letters-of-a-void-attempt", "membership.follow", "MEMB-4", "room", {**right, "probation": []}, log=void.file
    )  # fmt: skip
