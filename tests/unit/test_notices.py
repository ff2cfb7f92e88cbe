"""Notices: what two versions, divergent echoes, complaints and impossible aggregates cost, and whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from btard.conformance.audit import audit
from btard.protocol.arithmetic import Float32
from btard.protocol.bans import Departure, Fault, Removal
from btard.protocol.channel import Delivery
from btard.protocol.encoding import encode
from btard.protocol.judging import equivocation
from btard.protocol.messages import (
    Accusation,
    Aggregate,
    Echo,
    Envelope,
    Notices,
    Phase,
    Proof,
    Reveal,
    SignedHeader,
    Slot,
    seal,
)
from btard.protocol.model import PeerId
from btard.protocol.state import Attempt, Conduct, State
from swarms import (
    AGREED,
    Behaviour,
    Swarm,
    Tamper,
    Told,
    configuration,
    genesis,
    identities,
    left,
    played,
    say,
    scatter,
    sign,
)
from tampering import CASES, STRANGER, complaint, noting, proof_of, showing

GENESIS = genesis(configuration())
PEERS, IDS = identities(6, 0), GENESIS.roster
BY_NAME = {case.name: case for case in CASES}
HERE = Slot(1, 0, Phase.REVEAL)
"""The phase after which the honest peers of these tests are told something."""
THERE = Slot(1, 0, Phase.REPORT)
"""The phase in which they say it."""


def told(index: int, what: Told, slot: Slot = HERE) -> dict[tuple[int, Slot], Told]:
    """One honest peer is told something after ``slot``."""
    return {(index, slot): what}


def run_with(
    heard: dict[tuple[int, Slot], Told], behaviours: dict[int, Behaviour] | None = None, **changes: Any
) -> Swarm:
    """A finished run in which honest peers are told something."""
    run = Swarm(configuration(**changes), behaviours or {}, told=heard).run()
    run.check_safety()
    assert audit(run.log).removals == audit(run.log, run.recomputation()).removals == run.removals
    return run


def signed(author: int, slot: Slot, body: bytes, run: bytes = GENESIS.run) -> Envelope:
    """What one peer of the roster signs."""
    return seal(PEERS[author], run, slot, bytes(32), body)


def two_versions(author: int, slot: Slot) -> Proof:
    """Two versions of one message."""
    return proof_of(signed(author, slot, b"one"), signed(author, slot, b"other"))


def quiet(index: int) -> dict[int, Behaviour]:
    """A Byzantine peer that does nothing by itself: what is signed in its name, it signed."""
    return {index: lambda seating: Conduct()}


# -- Two versions -----------------------------------------------------------------------------------------

PLACES = [
    *(Slot(1, 0, phase) for phase in AGREED),
    *(Slot(1, 0, phase).echo for phase in AGREED),
    Slot(1, 0, Phase.SCATTER, 3),
    Slot(1, 0, Phase.GATHER, 4),
    Slot(0, 0, Phase.COMMIT),
    Slot(0, 5, Phase.REPORT),
    Slot(2**40, 0, Phase.CLOSING),
    Slot(0, 0, Phase.PETITION),
]


@pytest.mark.requirement("BAN-7")
@pytest.mark.parametrize("place", PLACES, ids=str)
def test_two_versions_for_any_slot_convict(place: Slot) -> None:
    run = run_with(told(1, lambda run, delivery: Notices((), (two_versions(4, place),))), quiet(4))
    assert run.removals == (Removal(run.roster[4], Departure.CONVICTED, Fault.EQUIVOCATION, THERE),)


@pytest.mark.requirement("BAN-7")
@pytest.mark.parametrize("phase", AGREED)
def test_two_versions_convict_in_whatever_agreed_phase_and_step_they_surface(phase: Phase) -> None:
    before = {
        Phase.COMMIT: Slot(1, 0, Phase.REPORT),
        Phase.AGGREGATE: Slot(2, 0, Phase.COMMIT),
        Phase.REVEAL: Slot(2, 0, Phase.AGGREGATE),
        Phase.REPORT: Slot(2, 0, Phase.REVEAL),
    }[phase]
    evidence = Notices((), (two_versions(4, Slot(0, 0, Phase.AGGREGATE)),))
    run = run_with(told(1, lambda run, delivery: evidence, before), quiet(4))
    assert run.removals == (Removal(run.roster[4], Departure.CONVICTED, Fault.EQUIVOCATION, Slot(2, 0, phase)),)


@pytest.mark.requirement("BAN-7")
def test_two_versions_convict_in_the_last_step_of_a_run() -> None:
    evidence = Notices((), (two_versions(4, Slot(0, 0, Phase.AGGREGATE)),))
    run = run_with(told(1, lambda run, delivery: evidence, Slot(4, 0, Phase.REVEAL)), quiet(4))
    assert run.removals == (Removal(run.roster[4], Departure.CONVICTED, Fault.EQUIVOCATION, Slot(5, 0, Phase.COMMIT)),)


@pytest.mark.requirement("BAN-7")
def test_only_two_authentic_versions_of_one_peer_for_one_slot_of_this_run_are_an_equivocation() -> None:
    slot = Slot(1, 0, Phase.REVEAL)
    one, other = (signed(4, slot, body).signed_header for body in (b"one", b"other"))

    def proves(first: SignedHeader, second: SignedHeader) -> bool:
        return equivocation(GENESIS.run, first, second)

    assert proves(one, other) and proves(other, one)
    assert proves(one, seal(PEERS[4], GENESIS.run, slot, b"h" * 32, b"one").signed_header)  # another log head
    assert not proves(one, one)
    assert not proves(one, replace(one, signature=PEERS[4].sign(one.digest)))
    for wrong in (
        replace(other, signature=bytes(64)),
        replace(other, signature=one.signature),
        replace(other, sender=IDS[3]),
        signed(3, slot, b"other").signed_header,
        signed(4, slot, b"other", bytes(32)).signed_header,
        *(signed(4, slot._replace(**{field: 2}), b"other").signed_header for field in ("step", "attempt", "part")),
        signed(4, slot._replace(phase=Phase.COMMIT), b"other").signed_header,
    ):
        assert not proves(one, wrong) and not proves(wrong, one)
    elsewhere = [signed(4, slot, body, bytes(32)).signed_header for body in (b"one", b"other")]
    assert not proves(elsewhere[0], elsewhere[1])


@pytest.mark.requirement("BAN-7")
def test_evidence_about_a_stranger_or_about_somebody_who_left_removes_nobody() -> None:
    outsider = proof_of(
        *(seal(STRANGER, GENESIS.run, Slot(0, 0, Phase.COMMIT), bytes(32), body) for body in (b"one", b"other"))
    )
    late = Slot(1, 1, Phase.REVEAL)
    evidence = Notices((), (outsider, two_versions(4, Slot(0, 0, Phase.COMMIT))))
    silent = Tamper({Phase.COMMIT: sign(lambda tamper, envelope: None)})
    run = run_with(told(1, lambda run, delivery: evidence, late), {4: silent})
    assert len(run.message(1, 1, 1, Phase.REPORT).notices.evidence) == 2
    assert run.faults == [(4, Fault.SILENT)]


@pytest.mark.requirement("BAN-7")
def test_an_honest_peer_that_says_everything_about_an_equivocator_stays() -> None:
    """Complaint, evidence and the other's echo together: the proof convicts first, and the complaint is moot."""

    def everything(run: Swarm, delivery: Delivery) -> Notices:
        return Notices((run.roster[4],), (two_versions(4, HERE),), (echo(4, delivery, {1: bytes(32)}),))

    run = run_with(told(1, everything), quiet(4))
    assert run.faults == [(4, Fault.EQUIVOCATION)]


# -- Complaints -------------------------------------------------------------------------------------------


@pytest.mark.requirement("BAN-6")
@pytest.mark.parametrize("phase", AGREED)
def test_a_complaint_after_the_first_agreed_message_is_grounded_and_in_it_convicts(phase: Phase) -> None:
    liar = Tamper({phase: complaint(lambda tamper: tamper.swarm.roster[2])}, start=0)
    run = played({4: liar})
    assert liar.step == 0
    if phase is Phase.COMMIT:
        assert run.faults == [(4, Fault.FALSE_NOTICE)]
    else:
        assert run.faults == [(4, Fault.WITHHELD), (2, Fault.WITHHELD)]


@pytest.mark.requirement("BAN-6")
def test_a_complaint_about_somebody_who_left_after_the_last_phase_is_grounded_and_moot() -> None:
    """What it missed in the phase in which the other was removed, it says in the first phase of the next attempt."""
    silent = Tamper({Phase.COMMIT: sign(lambda tamper, envelope: None)})
    said = told(1, lambda run, delivery: Notices((run.roster[4],)), Slot(1, 0, Phase.COMMIT))
    run = run_with(said, {4: silent})
    assert run.message(1, 1, 1, Phase.COMMIT).notices.complaints == (run.roster[4],)
    assert run.faults == [(4, Fault.SILENT)]


@pytest.mark.requirement("BAN-6")
def test_a_complaint_about_somebody_who_left_earlier_convicts() -> None:
    silent = Tamper({Phase.COMMIT: sign(lambda tamper, envelope: None)})
    liar = Tamper({Phase.REVEAL: complaint(lambda tamper: tamper.swarm.roster[4])})
    run = played({4: silent, 5: liar})
    assert run.faults == [(4, Fault.SILENT), (5, Fault.FALSE_NOTICE)]


@pytest.mark.requirement("BAN-3")
@pytest.mark.requirement("BAN-11")
@pytest.mark.parametrize("voices", [1, 2, 3, 4])
def test_more_complainers_than_there_may_be_liars_are_believed(voices: int) -> None:
    """b = 2: of three complainers one is honest. Up to two may lie, and pairs leave."""
    complaints = {(index, HERE): lambda run, delivery: Notices((run.roster[5],)) for index in range(voices)}
    run = run_with(complaints, quiet(5))
    if voices > 2:
        assert run.removals == (Removal(run.roster[5], Departure.ABSENT, Fault.MISSED, THERE),)
    else:
        assert run.faults == [(0, Fault.WITHHELD), (5, Fault.WITHHELD)]
    assert run.state.tolerated == 1


@pytest.mark.requirement("BAN-11")
def test_liars_within_the_bound_never_make_an_honest_peer_absent() -> None:
    liars = {index: Tamper({Phase.REPORT: complaint(lambda tamper: tamper.swarm.roster[0])}) for index in (4, 5)}
    run = played(liars)
    run.check_safety()
    assert run.faults == [(4, Fault.WITHHELD), (0, Fault.WITHHELD)]


# -- An announcement of nothing -----------------------------------------------------------------------------


def announcing_nothing(about: Notices) -> Behaviour:
    """A worker without an aggregate, in the second attempt of step 1."""

    def alter(tamper: Tamper, request: Any) -> Any:
        message = request.envelope.message
        if request.slot.attempt == 0 or message.aggregate_hash is None:
            return None
        body = encode(Aggregate(None, about).to_item())
        return replace(request, envelope=tamper.reseal(request.envelope, body))

    return Tamper({Phase.AGGREGATE: alter})


@pytest.mark.requirement("STEP-7")
@pytest.mark.parametrize(
    "about",
    [
        Notices(),
        Notices((), (two_versions(4, Slot(0, 0, Phase.COMMIT)),)),  # about somebody who is out
        Notices(
            (),
            (
                proof_of(
                    *(seal(STRANGER, GENESIS.run, Slot(0, 0, Phase.COMMIT), bytes(32), body) for body in (b"", b"x"))
                ),
            ),
        ),
    ],
    ids=["nothing", "somebody who left", "a stranger"],
)
def test_an_aggregate_is_missing_only_if_somebody_leaves_for_it(about: Notices) -> None:
    """Else the attempt would go on without a hash for the part."""
    silent = Tamper({Phase.COMMIT: sign(lambda tamper, envelope: None)})
    run = played({4: silent, 5: announcing_nothing(about)})
    assert run.faults == [(4, Fault.SILENT), (5, Fault.MALFORMED)]
    assert run.removals[1].slot == Slot(1, 1, Phase.AGGREGATE)


@pytest.mark.requirement("STEP-7")
def test_an_aggregate_is_missing_although_a_moot_echo_is_shown() -> None:
    def alter(tamper: Tamper, request: Any) -> Any:
        message = request.envelope.message
        if message.aggregate_hash is None:
            return None
        body = encode(Aggregate(None, Notices((), (), (true_echo(tamper),))).to_item())
        return replace(request, envelope=tamper.reseal(request.envelope, body))

    run = played({5: Tamper({Phase.AGGREGATE: alter})})
    assert run.faults == [(5, Fault.MALFORMED)]


@pytest.mark.requirement("STEP-7")
@pytest.mark.parametrize("evidence", [False, True])
def test_an_aggregate_may_be_missing_if_somebody_leaves_for_it(evidence: bool) -> None:
    about = Notices((), (two_versions(4, Slot(0, 0, Phase.COMMIT)),)) if evidence else Notices((IDS[4],))

    def alter(tamper: Tamper, message: Any) -> Any:
        return Aggregate(None, about) if message.aggregate_hash else None

    run = played({4: lambda seating: Conduct(), 5: Tamper({Phase.AGGREGATE: say(alter)})})
    assert sorted(run.faults) == ([(4, Fault.EQUIVOCATION)] if evidence else [(4, Fault.WITHHELD), (5, Fault.WITHHELD)])
    assert {removal.slot for removal in run.removals} == {Slot(1, 0, Phase.AGGREGATE)}


@pytest.mark.requirement("STEP-7")
def test_an_honest_worker_that_complains_about_the_last_broadcast_still_announces_its_aggregate() -> None:
    run = run_with(told(1, lambda run, delivery: Notices((run.roster[4],)), Slot(1, 0, Phase.COMMIT)), quiet(4))
    said = run.message(1, 1, 0, Phase.AGGREGATE)
    assert said.aggregate_hash is not None and said.notices.complaints == (run.roster[4],)
    assert run.faults == [(1, Fault.WITHHELD), (4, Fault.WITHHELD)]


@pytest.mark.requirement("STEP-6")
def test_what_the_channel_told_and_what_the_exchange_lacked_are_said_together() -> None:
    def withhold(tamper: Tamper, parts: list[Envelope | None]) -> None:
        parts[1] = None

    complaint_about_4 = told(1, lambda run, delivery: Notices((run.roster[4],)), Slot(1, 0, Phase.COMMIT))
    behaviours: dict[int, Behaviour] = {4: lambda seating: Conduct(), 5: Tamper({Phase.SCATTER: scatter(withhold)})}
    run = run_with(complaint_about_4, behaviours)
    said = run.message(1, 1, 0, Phase.AGGREGATE)
    assert (said.aggregate_hash, said.notices.complaints) == (None, (run.roster[4], run.roster[5]))
    assert run.faults == [(1, Fault.WITHHELD), (4, Fault.WITHHELD)]  # the second complaint is moot


# -- Divergent echoes -----------------------------------------------------------------------------------------


def echo(author: int, delivery: Delivery, heard: dict[int, bytes | None], slot: Slot = HERE) -> Envelope:
    """An echo of ``delivery`` by one peer, that differs from it at some places."""
    digests = [entry and entry.signed_header.digest for entry in delivery.vector]
    vector = tuple(heard.get(place, digest) for place, digest in enumerate(digests))
    return signed(author, slot.echo, encode(Echo(vector).to_item()))


def true_echo(tamper: Tamper) -> Envelope:
    """My echo of what was delivered last."""
    last = tamper.swarm.records[tamper.honest_peers[0]][-1]
    vector = Echo(tuple(entry and entry.signed_header.digest for entry in last.entries))
    return seal(tamper.identity, GENESIS.run, last.slot.echo, bytes(32), encode(vector.to_item()))


def shown(heard: dict[int, bytes | None], author: int = 4) -> dict[tuple[int, Slot], Told]:
    """Peer 1 got an echo that differs from the delivery."""
    return told(1, lambda run, delivery: Notices((), (), (echo(author, delivery, heard),)))


@pytest.mark.requirement("BAN-10")
@pytest.mark.parametrize("heard", [None, bytes(32)], ids=["nothing", "another version"])
@pytest.mark.parametrize("about", [0, 1, 4, 5], ids=str)
def test_an_echo_that_nobody_explains_convicts_its_signer(heard: bytes | None, about: int) -> None:
    run = run_with(shown({about: heard}), quiet(4))
    assert run.removals == (Removal(run.roster[4], Departure.CONVICTED, Fault.UNEXPLAINED_ECHO, THERE),)


@pytest.mark.requirement("BAN-10")
def test_an_echo_is_explained_by_a_complaint_about_the_peer_that_it_lacks() -> None:
    """Peer 3 did not hear peer 4, shows that in its echo, and says so."""
    said = shown({4: None}, author=3) | told(3, lambda run, delivery: Notices((run.roster[4],)))
    run = run_with(said, quiet(4))
    assert run.faults == [(3, Fault.WITHHELD), (4, Fault.WITHHELD)]


@pytest.mark.requirement("BAN-10")
def test_an_echo_is_explained_by_two_versions_of_the_message_that_it_has() -> None:
    def versions(run: Swarm, delivery: Delivery) -> Notices:
        delivered = delivery.vector[4]
        assert delivered is not None
        return Notices((), (proof_of(delivered, signed(4, HERE, b"other")),))

    other = signed(4, HERE, b"other").signed_header.digest
    run = run_with(shown({4: other}, author=3) | told(3, versions), quiet(4))
    assert run.faults == [(4, Fault.EQUIVOCATION)]


@pytest.mark.requirement("BAN-10")
@pytest.mark.parametrize("what", ["another peer", "only one of two"])
def test_an_explanation_of_something_else_does_not_help(what: str) -> None:
    heard: dict[int, bytes | None] = {0: None} if what == "another peer" else {0: None, 5: None}
    liar = Tamper({Phase.REPORT: complaint(lambda tamper: tamper.swarm.roster[5])})
    run = run_with(shown(heard), {4: liar})
    assert liar.acted
    assert run.faults == [(4, Fault.UNEXPLAINED_ECHO)]  # and its complaint about peer 5 is moot


@pytest.mark.requirement("BAN-10")
def test_evidence_of_a_part_explains_no_echo() -> None:
    """A single header says nothing about the message that the echo is about."""

    def mismatch(tamper: Tamper) -> Proof:
        slot = Slot(1, 0, Phase.GATHER, 5)
        return (signed(5, slot, b"other").signed_header,)

    liar = Tamper({Phase.REVEAL: noting(lambda tamper: Notices((), (mismatch(tamper),)))})
    said = told(
        1,
        lambda run, delivery: Notices((), (), (echo(4, delivery, {5: None}, Slot(1, 0, Phase.AGGREGATE)),)),
        Slot(1, 0, Phase.AGGREGATE),
    )
    run = run_with(said, {4: liar, 5: lambda seating: Conduct()})
    assert sorted(run.faults) == [(4, Fault.UNEXPLAINED_ECHO), (5, Fault.MISMATCHED_PART)]


@pytest.mark.requirement("BAN-10")
def test_an_explanation_a_phase_later_is_too_late() -> None:
    late = Tamper({Phase.COMMIT: complaint(lambda tamper: tamper.swarm.roster[0])}, start=2)
    run = run_with(shown({0: None}), {4: late})
    assert run.faults == [(4, Fault.UNEXPLAINED_ECHO)]
    assert not late.acted


@pytest.mark.requirement("BAN-10")
@pytest.mark.parametrize("version", [None, bytes(32)])
def test_an_echo_about_somebody_of_whom_nothing_was_delivered_needs_no_explanation(version: bytes | None) -> None:
    """Of a silent peer some may have heard something: nothing was delivered, so nobody owes an explanation."""
    slot = Slot(1, 0, Phase.COMMIT)
    silent = Tamper({Phase.COMMIT: sign(lambda tamper, envelope: None)})
    said = told(1, lambda run, delivery: Notices((), (), (echo(3, delivery, {4: version}, slot),)), slot)
    run = run_with(said, {4: silent})
    assert len(run.message(1, 1, 1, Phase.COMMIT).notices.echoes) == 1
    assert run.faults == [(4, Fault.SILENT)]


@pytest.mark.requirement("BAN-10")
def test_an_echo_about_somebody_who_was_removed_then_needs_no_explanation() -> None:
    slot = Slot(1, 0, Phase.COMMIT)
    diverged = Tamper({Phase.COMMIT: say(lambda tamper, commit: replace(commit, state_hash=bytes(32)))})
    said = told(1, lambda run, delivery: Notices((), (), (echo(3, delivery, {4: None}, slot),)), slot)
    run = run_with(said, {4: diverged})
    assert run.faults == [(4, Fault.DIVERGED)]


@pytest.mark.requirement("BAN-10")
def test_an_echo_that_is_true_costs_nobody_anything() -> None:
    shower = Tamper({Phase.REPORT: showing(true_echo)})
    run = run_with(shown({}, author=3), {5: shower})
    assert shower.acted
    assert run.faults == []


@pytest.mark.requirement("BAN-10")
def test_the_echo_of_somebody_who_left_in_the_same_phase_is_moot() -> None:
    silent = Tamper({Phase.REPORT: sign(lambda tamper, envelope: None)})
    run = run_with(shown({0: None}), {4: silent})
    assert run.faults == [(4, Fault.SILENT)]


@pytest.mark.requirement("BAN-1")
@pytest.mark.requirement("BAN-10")
def test_evidence_comes_before_an_unexplained_echo_and_that_before_complaints() -> None:
    said = told(
        1,
        lambda run, delivery: Notices(
            (run.roster[5],),
            (two_versions(4, HERE),),
            tuple(echo(author, delivery, {0: None}) for author in (4, 5)),
        ),
    )
    run = run_with(said, {4: lambda seating: Conduct(), 5: lambda seating: Conduct()})
    assert run.faults == [(4, Fault.EQUIVOCATION), (5, Fault.UNEXPLAINED_ECHO)]


# -- Impossible aggregates --------------------------------------------------------------------------------------


class Blank(Conduct):
    """Announces an aggregate of NaN in step 1."""

    def aggregate(self, state: State, attempt: Attempt, inputs: Float32, honest: Float32) -> Float32:
        """Not a number."""
        return np.full_like(honest, np.nan) if state.step == 1 else honest


def accusers(run: Swarm, step: int = 1) -> list[PeerId]:
    """Who accuses an aggregate in Reveal."""
    entries = run.record_at(step, 0, Phase.REVEAL).entries
    return [entry.sender for entry in entries if entry and getattr(entry.message, "accusations", ())]


@pytest.mark.requirement("VER-10")
def test_an_impossible_aggregate_is_accused_by_every_honest_peer_and_convicts() -> None:
    run = run_with({}, {4: lambda seating: Blank()})
    assert set(run.roster) - {run.roster[4]} <= set(accusers(run))
    assert run.removals == (
        Removal(run.roster[4], Departure.CONVICTED, Fault.IMPOSSIBLE_AGGREGATE, Slot(1, 0, Phase.REVEAL)),
    )
    assert run.record_at(1, 0, Phase.REVEAL).verdicts == ()


def accusing(index: int, complaining: bool = False) -> Behaviour:
    """A liar about the aggregate of one peer."""

    def lie(tamper: Tamper, reveal: Reveal) -> Reveal:
        accused = tamper.swarm.roster[index]
        if complaining:
            return replace(reveal, notices=Notices((accused,)))
        return replace(reveal, accusations=(Accusation(accused, 1),))

    return Tamper({Phase.REVEAL: say(lie)})


@pytest.mark.requirement("VER-10")
@pytest.mark.parametrize("liars", [1, 2])
def test_liars_within_the_bound_convict_no_honest_aggregator(liars: int) -> None:
    """b = 2: the first accuser leaves with the accused, the second accuses somebody who is out."""
    run = played({index: accusing(0) for index in (4, 5)[:liars]})
    run.check_safety()
    assert run.faults == [(4, Fault.WITHHELD), (0, Fault.WITHHELD)]
    assert audit(run.log).removals == audit(run.log, run.recomputation()).removals == run.removals


def heard_by(indices: Sequence[int]) -> dict[int, Behaviour]:
    """Honest in all, but these peers say that peer 4's aggregate is impossible, or (the last) that it is missing."""
    return {index: accusing(4, complaining=index == indices[-1]) for index in indices}


@pytest.mark.requirement("VER-10")
@pytest.mark.parametrize("voices", [2, 3])
def test_complaints_count_with_accusations(voices: int) -> None:
    """One who sees NaN and one who sees nothing tell of the same crime. With b = 2, three voices convict."""
    run = played(heard_by(range(voices)))
    if voices == 3:
        assert run.faults == [(4, Fault.IMPOSSIBLE_AGGREGATE)]
    else:
        assert run.faults == [(0, Fault.WITHHELD), (4, Fault.WITHHELD)]


@pytest.mark.requirement("VER-10")
def test_complaints_without_any_accusation_convict_nobody_of_content() -> None:
    run = played({index: accusing(4, complaining=True) for index in range(3)})
    assert run.faults == [(4, Fault.MISSED)]
    assert left(run, 4, Fault.MISSED, Departure.ABSENT)


@pytest.mark.requirement("VER-10")
@pytest.mark.requirement("BAN-1")
def test_a_conviction_for_content_comes_before_complaints() -> None:
    run = run_with({}, {4: lambda seating: Blank(), 5: accusing(4, complaining=True)})
    assert run.faults == [(4, Fault.IMPOSSIBLE_AGGREGATE)]
