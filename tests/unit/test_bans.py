"""Bans: the fixed order of decisions, what counts as a public violation, and what a removal costs the bound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from btard.protocol.bans import (
    Departure,
    Departures,
    Fault,
    Removal,
    remaining_roster,
    remaining_tolerance,
)
from btard.protocol.channel import Exchange
from btard.protocol.encoding import encode
from btard.protocol.judging import (
    Charge,
    Rules,
    grounded,
    hold_trials,
    proves_mismatch,
    public_fault,
    settle_complaints,
)
from btard.protocol.log import Finding, Subject, Trial, Verdict
from btard.protocol.messages import (
    Accusation,
    Aggregate,
    Commit,
    Envelope,
    Message,
    Notices,
    Phase,
    Proof,
    Report,
    Reveal,
    Slot,
    body_hash,
    seal,
)
from btard.protocol.model import PeerId, ToleranceExceeded
from btard.protocol.state import Attempt, Conduct, Heard, Peer, Plan, State, initial_state, open_attempt
from btard.protocol.step import CommitRules, transcribe
from btard.protocol.verification import Transcript
from hypothesis import given
from hypothesis import strategies as st
from swarms import Swarm, Tamper, configuration, genesis, identities, played, say, scatter
from tampering import CASES, accusing, attaching, complaint, noting, past_worker, received_headers

GENESIS = genesis(configuration())
PEERS = identities(6, 0)
IDS = GENESIS.roster
SLOT = Slot(1, 0, Phase.AGGREGATE)


def attempt(validators: Sequence[int] = ()) -> tuple[State, Attempt]:
    """A state before step 0, and an attempt: worker i announced the bytes (i, j) as part j and (i) as aggregate."""
    state = initial_state(GENESIS)
    plan = Plan(0, tuple(IDS[index] for index in validators), {})
    opened = open_attempt(state, plan)
    count = len(opened.workers)
    hashes = tuple(tuple(body_hash(bytes([i, j])) for j in range(count)) for i in range(count))
    aggregates = tuple(body_hash(bytes([i])) for i in range(count))
    return state, replace(opened, part_hashes=hashes, aggregate_hashes=aggregates)


# -- Departures ---------------------------------------------------------------------------------------


@pytest.mark.requirement("BAN-2")
def test_a_peer_leaves_once_and_for_the_first_reason() -> None:
    departures = Departures(SLOT)
    departures.remove(IDS[0], Fault.MALFORMED)
    departures.remove(IDS[0], Fault.SILENT)
    departures.eliminate(IDS[0], IDS[1])
    departures.eliminate(IDS[1], IDS[0])
    assert departures.removals == [Removal(IDS[0], Departure.CONVICTED, Fault.MALFORMED, SLOT)]
    assert departures.out(IDS[0]) and not departures.out(IDS[1])


@pytest.mark.requirement("BAN-2")
@pytest.mark.parametrize("fault", [fault for fault in Fault if fault is not Fault.WITHHELD])
def test_only_who_was_not_heard_counts_as_absent(fault: Fault) -> None:
    departures = Departures(SLOT)
    departures.remove(IDS[3], fault)
    expected = Departure.ABSENT if fault in (Fault.SILENT, Fault.MISSED) else Departure.CONVICTED
    assert [removal.how for removal in departures.removals] == [expected]


@pytest.mark.requirement("BAN-3")
def test_an_eliminated_pair_leaves_together_and_later_complaints_about_it_are_moot() -> None:
    departures = Departures(SLOT)
    departures.eliminate(IDS[2], IDS[4])
    departures.eliminate(IDS[3], IDS[4])
    departures.eliminate(IDS[2], IDS[5])
    assert departures.removals == [
        Removal(IDS[2], Departure.ELIMINATED, Fault.WITHHELD, SLOT, IDS[4]),
        Removal(IDS[4], Departure.ELIMINATED, Fault.WITHHELD, SLOT, IDS[2]),
    ]


@pytest.mark.requirement("BAN-3")
def test_of_two_complaints_about_one_peer_the_lower_id_is_heard() -> None:
    """With b = 2, two complainers may both lie, so the accused leaves in a pair."""

    def withhold(tamper: Tamper, parts: list[Envelope | None]) -> None:
        parts[0] = parts[1] = None

    run = played({3: Tamper({Phase.SCATTER: scatter(withhold)})})
    said = [run.message(index, 1, 0, Phase.AGGREGATE).notices.complaints for index in range(3)]
    assert said == [(run.roster[3],), (run.roster[3],), ()]
    assert [removal.peer for removal in run.removals] == [run.roster[0], run.roster[3]]


def test_whoever_left_is_no_longer_in_the_roster() -> None:
    departures = Departures(SLOT)
    departures.remove(IDS[1], Fault.SILENT)
    departures.eliminate(IDS[0], IDS[5])
    assert remaining_roster(IDS, departures.removals) == IDS[2:5]


@pytest.mark.requirement("BAN-4")
@given(st.integers(0, 10), st.integers(0, 6), st.integers(0, 6))
def test_single_removals_and_pairs_lower_the_bound_by_one_each(tolerated: int, singles: int, pairs: int) -> None:
    departures = Departures(SLOT)
    for index in range(singles):
        departures.remove(bytes([index]) * 32, Fault(index))
    for index in range(pairs):
        departures.eliminate(bytes([100 + index]) * 32, bytes([200 + index]) * 32)
    if singles + pairs <= tolerated:
        assert remaining_tolerance(tolerated, departures.removals) == tolerated - singles - pairs
    else:
        with pytest.raises(ToleranceExceeded):
            remaining_tolerance(tolerated, departures.removals)


# -- Order --------------------------------------------------------------------------------------------


def liar_to_two(tamper: Tamper, parts: list[Envelope | None]) -> None:
    """No part for peer 0, a wrong one for peer 1."""
    second = parts[1]
    assert second is not None
    parts[0], parts[1] = None, tamper.reseal(second, b"wrong")


@pytest.mark.requirement("BAN-1")
def test_evidence_comes_before_complaints() -> None:
    run = played({4: Tamper({Phase.SCATTER: scatter(liar_to_two)})})
    assert run.message(0, 1, 0, Phase.AGGREGATE).notices.complaints == (run.roster[4],)
    assert len(run.message(1, 1, 0, Phase.AGGREGATE).notices.evidence) == 1
    assert run.faults == [(4, Fault.MISMATCHED_PART)]  # peer 0's complaint is moot


@pytest.mark.requirement("BAN-1")
def test_trials_come_before_complaints() -> None:
    forger = next(case for case in CASES if case.name == "a shifted aggregate").make(1)
    complaining = Tamper({Phase.REPORT: complaint(lambda tamper: tamper.swarm.roster[4])})
    run = played({4: forger, 5: complaining})
    assert complaining.acted
    assert run.faults == [(4, Fault.WRONG_AGGREGATE)]


@pytest.mark.requirement("BAN-1")
def test_public_violations_come_before_trials() -> None:
    """Peer 1 is accused in the Commit that convicts it: the accusation is moot and costs nothing."""
    diverged = Tamper({Phase.COMMIT: say(lambda tamper, commit: replace(commit, state_hash=bytes(32)))})
    accuser = Tamper({Phase.COMMIT: accusing(lambda tamper: tamper.swarm.roster[1], 1)})
    run = played({0: accuser, 1: diverged})
    assert accuser.acted and diverged.acted
    assert run.faults == [(1, Fault.DIVERGED)]
    assert run.record_at(1, 0, Phase.COMMIT).verdicts == ()


@pytest.mark.requirement("BAN-1")
def test_an_accusation_is_tried_although_its_author_leaves_in_the_same_phase() -> None:
    def accuse_and_diverge(tamper: Tamper, commit: Commit) -> Commit:
        return replace(commit, state_hash=bytes(32), accusations=(Accusation(tamper.swarm.roster[4], 0),))

    def lie(tamper: Tamper, report: Report) -> Report:
        return replace(report, inner_products=bytes(len(report.inner_products)))

    liar = Tamper({Phase.REPORT: say(lie)}, start=0)
    run = played({0: Tamper({Phase.COMMIT: say(accuse_and_diverge)}), 4: liar})
    assert run.faults == [(0, Fault.DIVERGED), (4, Fault.WRONG_REPORT)]
    # … and an acquittal does not remove the accuser a second time
    alone = played({0: Tamper({Phase.COMMIT: say(accuse_and_diverge)})})
    assert alone.faults == [(0, Fault.DIVERGED)]
    (verdict,) = alone.record_at(1, 0, Phase.COMMIT).verdicts
    assert verdict == Verdict(Trial(0, alone.roster[4], Subject.WORKER))


@pytest.mark.requirement("BAN-1")
def test_public_violations_are_recorded_in_roster_order() -> None:
    cases = {case.name: case for case in CASES}
    made = {5: cases["wrong state hash"].make(1), 2: cases["silent in COMMIT"].make(1)}
    assert played(made).faults == [(2, Fault.SILENT), (5, Fault.DIVERGED)]


# -- Public violations ----------------------------------------------------------------------------------


class NoRules(Rules):
    """Rules that find a fault in everything, the last in order."""

    def fault(self, state: State, attempt: Attempt, sender: PeerId, message: Message) -> Fault | None:
        """Always the same."""
        return Fault.IMPOSSIBLE_REPORT


@pytest.mark.requirement("BAN-5")
def test_the_first_thing_wrong_with_an_entry_counts() -> None:
    state, opened = attempt()
    slot, false = opened.slot(Phase.REPORT), Notices((IDS[1],))

    def fault(envelope: Envelope | None) -> Fault | None:
        return public_fault(state, opened, IDS[0], envelope, NoRules())

    def report(head: bytes, notices: Notices) -> Envelope:
        return seal(PEERS[0], state.run, slot, head, encode(Report(notices=notices).to_item()))

    assert fault(None) is Fault.SILENT
    assert fault(seal(PEERS[0], state.run, slot, bytes(32), b"\xff")) is Fault.MALFORMED
    assert fault(report(bytes(32), false)) is Fault.WRONG_LOG_HEAD
    assert fault(report(state.head, false)) is Fault.FALSE_NOTICE
    assert fault(report(state.head, Notices())) is Fault.IMPOSSIBLE_REPORT


MESSAGES: dict[Phase, Any] = {
    Phase.COMMIT: lambda notices: Commit((), bytes(32), bytes(32), notices=notices),
    Phase.AGGREGATE: lambda notices: Aggregate(None, notices),
    Phase.REVEAL: lambda notices: Reveal(bytes(64), (), notices),
    Phase.REPORT: lambda notices: Report(notices=notices),
}


@pytest.mark.requirement("BAN-6")
@pytest.mark.parametrize(
    ("sender", "accused", "owed"),
    [
        (1, 2, True),
        (1, 0, True),  # a validator owes its message and its echo as well
        (0, 2, True),  # and is owed those of the others
        (1, 1, False),  # itself
        (1, 5, False),  # was not there
        (5, 1, False),  # was not there either
    ],
)
@pytest.mark.parametrize("phase", MESSAGES)
def test_a_complaint_needs_a_duty(phase: Phase, sender: int, accused: int, owed: bool) -> None:
    """Everybody in the last agreed phase owed its message and its echo to everybody else in it."""
    state, opened = attempt(validators=[0])
    message = MESSAGES[phase](Notices((IDS[accused],)))
    assert not grounded(state, opened, IDS[sender], message)  # nothing has been owed before the first phase
    heard = Heard(Slot(0, 0, Phase.COMMIT), IDS[:5], (None,) * 5)
    assert grounded(replace(state, last=heard), opened, IDS[sender], message) is owed
    assert grounded(replace(state, last=heard), opened, IDS[sender], MESSAGES[phase](Notices()))


@pytest.mark.requirement("BAN-6")
def test_strangers_owe_nothing_and_one_bad_notice_is_enough() -> None:
    state, opened = attempt()
    last = Slot(0, 0, Phase.COMMIT)
    state = replace(state, last=Heard(last, IDS, (None,) * 6))

    def holds(notices: Notices) -> bool:
        return grounded(state, opened, IDS[1], Aggregate(None, notices))

    assert not holds(Notices((bytes(32),)))
    assert not holds(Notices((IDS[1], IDS[2])))
    good, bad = scattered(2, 1, b"wrong").signed_header, scattered(3, 1, bytes([3, 1])).signed_header
    assert holds(Notices((), ((good,),)))
    assert not holds(Notices((), ((good,), (bad,))))
    true, false = (seal(PEERS[2], GENESIS.run, slot, bytes(32), encode([None] * 6)) for slot in (last.echo, last))
    assert holds(Notices((IDS[2],), ((good,),), (true,)))
    assert not holds(Notices((), (), (true, false)))


@pytest.mark.requirement("BAN-6")
def test_before_the_first_phase_there_is_no_echo_to_show() -> None:
    state, opened = attempt()
    made = seal(PEERS[2], GENESIS.run, Slot(0, 0, Phase.COMMIT).echo, bytes(32), encode([None] * 6))
    assert not grounded(state, opened, IDS[1], MESSAGES[Phase.COMMIT](Notices((), (), (made,))))


def scattered(author: int, part: int, content: bytes, **slot: Any) -> Envelope:
    """A signed part of attempt 0 of step 0."""
    place = Slot(0, 0, Phase.SCATTER, part)._replace(**slot)
    return seal(PEERS[author], GENESIS.run, place, bytes(32), content)


def gathered(author: int, part: int, content: bytes, **slot: Any) -> Envelope:
    """A signed aggregate of attempt 0 of step 0."""
    return scattered(author, part, content, **{"phase": Phase.GATHER, **slot})


@pytest.mark.requirement("BAN-7")
@pytest.mark.parametrize(
    ("envelope", "message", "proves"),
    [
        (scattered(2, 1, b"wrong"), Aggregate(None), True),
        (scattered(2, 3, b"wrong"), Aggregate(None), True),  # also a part that was for somebody else
        (scattered(2, 1, bytes([2, 1])), Aggregate(None), False),  # as announced
        (scattered(2, 1, bytes([2, 3])), Aggregate(None), True),  # announced, but for another part
        (scattered(2, 6, b"wrong"), Aggregate(None), False),  # there is no such part
        (scattered(2, 1, b"wrong", attempt=1), Aggregate(None), False),
        (scattered(2, 1, b"wrong", step=1), Aggregate(None), False),
        (scattered(2, 1, b"wrong", phase=Phase.GATHER), Aggregate(None), False),
        (scattered(2, 1, b"wrong", phase=Phase.COMMIT), Aggregate(None), False),
        (replace(scattered(2, 1, b"wrong"), run=bytes(32)), Aggregate(None), False),
        (seal(PEERS[2], bytes(32), Slot(0, 0, Phase.SCATTER, 1), bytes(32), b"wrong"), Aggregate(None), False),
        (seal(PEERS[2], bytes(32), Slot(0, 0, Phase.GATHER, 2), bytes(32), b"wrong"), Reveal(bytes(64)), False),
        (replace(scattered(2, 1, b"wrong"), signature=bytes(64)), Aggregate(None), False),
        (replace(scattered(2, 1, b"wrong"), sender=IDS[3]), Aggregate(None), False),
        (
            seal(identities(1, 99)[0], GENESIS.run, Slot(0, 0, Phase.SCATTER, 1), bytes(32), b"x"),
            Aggregate(None),
            False,
        ),
        (scattered(2, 1, b"wrong"), Reveal(bytes(64)), False),  # too late
        (gathered(2, 2, b"wrong"), Reveal(bytes(64)), True),
        (gathered(2, 2, bytes([2])), Reveal(bytes(64)), False),  # as announced
        (gathered(2, 3, bytes([2])), Reveal(bytes(64)), False),  # not its part
        (gathered(2, 3, b"wrong"), Reveal(bytes(64)), False),  # whatever it says
        (gathered(2, 6, b"wrong"), Reveal(bytes(64)), False),  # there is no such part
        (gathered(2, 2, b"wrong", attempt=1), Reveal(bytes(64)), False),
        (gathered(2, 2, b"wrong"), Aggregate(None), False),
        (gathered(2, 2, b"wrong"), Report(b"", b""), False),
    ],
)
def test_evidence_proves_a_mismatch_or_nothing(envelope: Envelope, message: Message, proves: bool) -> None:
    state, opened = attempt()
    assert proves_mismatch(state, opened, envelope.signed_header, message) is proves


@pytest.mark.requirement("BAN-7")
def test_a_validator_and_a_closing_step_have_no_parts_to_mismatch() -> None:
    state, opened = attempt(validators=[2])
    assert not proves_mismatch(state, opened, scattered(2, 1, b"wrong").signed_header, Aggregate(None))
    state, opened = attempt()
    closing = replace(opened, part_hashes=(), aggregate_hashes=())
    assert not proves_mismatch(state, closing, gathered(2, 2, b"wrong").signed_header, Reveal(bytes(64)))


def signed_elsewhere(tamper: Tamper) -> Proof:
    """What an honest peer signed in the slot of the part that I just got, but in another run."""
    header = received_headers(tamper)[0]
    author = next(peer for peer in tamper.swarm.peers if peer.peer_id == header.sender)
    return (seal(author, bytes(32), header.slot, header.log_head, b"other").signed_header,)


@pytest.mark.requirement("BAN-7")
@pytest.mark.parametrize("phase", [Phase.AGGREGATE, Phase.REVEAL])
def test_what_was_signed_in_another_run_convicts_only_who_attaches_it(phase: Phase) -> None:
    run = played({3: Tamper({phase: noting(attaching(signed_elsewhere))})})
    assert run.faults == [(3, Fault.FALSE_NOTICE)]
    ((proof,),) = run.message(3, run.removals[0].slot.step, 0, phase).notices.evidence
    assert proof.authentic and proof.sender in run.state.roster


# -- Trials -----------------------------------------------------------------------------------------------


class Charges(Rules):
    """Rules that call for given trials."""

    def __init__(self, *charges: Charge) -> None:
        self.called = list(charges)

    def charges(self, state: State, attempt: Attempt, delivered: dict[PeerId, Message]) -> list[Charge]:
        """The trials given."""
        return list(self.called)


def hold(
    charges: list[Charge],
    findings: Mapping[PeerId, tuple[Finding, ...]],
    silent: PeerId | None = None,
    **changes: Any,
) -> tuple[list[PeerId], Departures, State]:
    """Hold trials with a judge that finds what ``findings`` says of the accused; who was tried, and who left."""
    run: Swarm = played(steps=1)
    state = run.state
    past = replace(state.history[-1], step=0)
    state = replace(state, history=(past,), **changes)
    tried: list[PeerId] = []

    def judge(trial: Trial, transcript: Transcript, residual_ratio: float) -> Exchange[Verdict]:
        tried.append(trial.accused)
        return Verdict(trial, findings.get(trial.accused, ()))
        yield

    departures = Departures(SLOT)
    if silent:
        departures.remove(silent, Fault.SILENT)
    plan = Plan(1, (), {})
    trials = hold_trials(Peer(None, judge=judge), state, open_attempt(state, plan), {}, Charges(*charges), departures)
    try:
        while True:
            next(trials)
    except StopIteration as stop:
        after, verdicts = stop.value
    assert [verdict.trial.accused for verdict in verdicts] == tried
    return tried, departures, after


def worker(index: int, *accusers: int) -> Charge:
    """A trial of a worker."""
    return Charge(Trial(0, IDS[index], Subject.WORKER), tuple(IDS[accuser] for accuser in accusers))


def guilty(index: int, fault: Fault = Fault.WRONG_HASH) -> Finding:
    """One peer found guilty."""
    return Finding(IDS[index], fault)


@pytest.mark.requirement("BAN-8")
def test_an_accused_who_is_out_is_not_tried_and_its_accusers_go_free() -> None:
    findings = {IDS[1]: (guilty(1), guilty(3))}
    tried, departures, _ = hold([worker(1, 0), worker(3, 4)], findings)
    assert tried == [IDS[1]]
    assert [removal.peer for removal in departures.removals] == [IDS[1], IDS[3]]
    tried, departures, _ = hold([worker(1, 0)], {}, roster=(IDS[0], *IDS[2:]))
    assert (tried, departures.removals) == ([], [])


@pytest.mark.requirement("BAN-8", "BAN-9")
@pytest.mark.parametrize("guilt", [True, False])
def test_who_falls_silent_when_accused_is_tried_all_the_same(guilt: bool) -> None:
    """Absent peers may come back; the guilty among them may not."""
    findings = {IDS[1]: (guilty(1),)} if guilt else {}
    tried, departures, _ = hold([worker(1, 0)], findings, silent=IDS[1])
    assert tried == [IDS[1]]
    assert [removal.how for removal in departures.removals if removal.peer == IDS[1]] == [Departure.ABSENT]
    assert departures.refused(IDS[1]) is guilt
    assert departures.out(IDS[0]) is not guilt


@pytest.mark.requirement("BAN-12")
@pytest.mark.parametrize("voices", [1, 2, 3])
def test_more_than_b_complaints_about_a_member_that_has_just_left_refuse_its_key(voices: int) -> None:
    state = replace(initial_state(GENESIS), roster=IDS[:-1], tolerated=1, leavers=(IDS[-1],))
    missed = Aggregate(None, Notices((IDS[-1],)))
    departures = Departures(SLOT)
    settle_complaints(state, {peer: missed for peer in IDS[:voices]}, departures)
    assert departures.removals == []
    assert departures.refused(IDS[-1]) is (voices > 1)


@pytest.mark.requirement("BAN-8")
def test_accusations_are_tried_by_step_then_by_id() -> None:
    state = replace(initial_state(GENESIS), step=2)
    plan = Plan(2, (IDS[3],), {IDS[3]: IDS[4]})
    past = transcribe(state, open_attempt(state, Plan(0, (), {})), b"", None)
    state = replace(state, history=(replace(past, step=0), replace(past, step=1)))
    said = {0: Accusation(IDS[5], 1), 1: Accusation(IDS[2], 1), 3: Accusation(IDS[4], 0)}
    delivered: dict[PeerId, Message] = {IDS[i]: Commit((), bytes(32), bytes(32), (said[i],)) for i in said}
    assert CommitRules().charges(state, open_attempt(state, plan), delivered) == [
        Charge(Trial(0, IDS[4], Subject.WORKER), (IDS[3],)),
        Charge(Trial(1, IDS[2], Subject.WORKER), (IDS[1],)),
        Charge(Trial(1, IDS[5], Subject.WORKER), (IDS[0],)),
    ]


class TwoLies(Conduct):
    """Once, as a validator: accuses its target of step t - 2, and of step t - 1 a worker with a lower id."""

    def __init__(self, me: PeerId) -> None:
        self.me = me
        self.said: tuple[Accusation, ...] = ()

    def accusations(self, state: State, plan: Plan, honest: tuple[Accusation, ...]) -> tuple[Accusation, ...]:
        """The two lies, in the order of ids, which is not that of steps."""
        workers = state.history[-1].workers if state.history else ()
        target = plan.targets.get(self.me, b"")
        lower = [peer for peer in workers if peer < target and peer != self.me]
        if self.said or self.me not in workers or not lower:
            return honest
        self.said = (Accusation(lower[0], state.step - 1), Accusation(target, state.step - 2))
        return self.said


@pytest.mark.requirement("BAN-8")
def test_an_older_step_is_tried_before_a_lower_id() -> None:
    liar = TwoLies(IDS[5])
    run = played({5: lambda seating: liar}, steps=12)
    assert run.faults == [(5, Fault.FALSE_ACCUSATION)]
    newer, older = (Trial(a.step, a.accused, Subject.WORKER) for a in liar.said)
    record = next(record for record in run.log_records if record.verdicts)
    assert [verdict.trial for verdict in record.verdicts] == [older, newer]


@pytest.mark.requirement("BAN-8")
def test_an_aggregator_stands_trial_once_for_its_part() -> None:
    charge = Charge(Trial(0, IDS[1], Subject.AGGREGATE))
    tried, departures, after = hold([charge, charge], {})
    assert (tried, departures.removals) == ([IDS[1]], [])
    assert after.history[0].settled == {IDS[1]}
    tried, _, after = hold([worker(1, 0), charge], {IDS[2]: ()})
    assert tried == [IDS[1], IDS[1]]  # another subject is another trial


@pytest.mark.requirement("BAN-9")
def test_the_guilty_leave_and_of_an_acquittal_the_accusers() -> None:
    _, departures, _ = hold([worker(1, 0, 2), worker(3, 2, 4)], {IDS[1]: (guilty(1),)})
    assert [(removal.peer, removal.fault) for removal in departures.removals] == [
        (IDS[1], Fault.WRONG_HASH),
        (IDS[2], Fault.FALSE_ACCUSATION),
        (IDS[4], Fault.FALSE_ACCUSATION),
    ]


@pytest.mark.requirement("BAN-9")
def test_when_others_are_found_guilty_nobody_accused_falsely() -> None:
    _, departures, _ = hold([worker(1, 0)], {IDS[1]: (guilty(3),)})
    assert [removal.peer for removal in departures.removals] == [IDS[3]]


@pytest.mark.requirement("BAN-9")
def test_who_left_in_an_earlier_step_is_not_removed_again() -> None:
    """A trial of step t − 2 judges all workers of then, also one who has been convicted at step t − 1."""
    charge = Charge(Trial(0, IDS[1], Subject.AGGREGATE))
    findings = {IDS[1]: (guilty(1, Fault.WRONG_AGGREGATE), guilty(4))}
    _, departures, _ = hold([charge], findings, roster=(*IDS[:4], IDS[5]))
    assert [removal.peer for removal in departures.removals] == [IDS[1]]


@pytest.mark.requirement("BAN-9")
def test_false_accusers_leave_together_in_a_run() -> None:
    accusers = {index: Tamper({Phase.COMMIT: accusing(past_worker, 1)}) for index in (3, 5)}
    run = played(accusers)
    assert run.faults == [(3, Fault.FALSE_ACCUSATION), (5, Fault.FALSE_ACCUSATION)]
    assert len(run.record_at(1, 0, Phase.COMMIT).verdicts) == 1


def test_every_fault_reads_as_words() -> None:
    assert Fault.WRONG_LOG_HEAD.text == "wrong log head"
    assert len({fault.text for fault in Fault}) == len(Fault)
