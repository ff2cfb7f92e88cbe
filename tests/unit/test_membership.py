"""Membership: letters, probation, inspectors, seats, leaves and returns, on both channels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from btard.conformance.audit import Recomputation, audit
from btard.network.coalition import World
from btard.network.simulator import (
    MAX_WAITING_LETTERS,
    Observed,
    Seat,
    Simulation,
    Witnessed,
    downloaded,
    kept_letters,
)
from btard.network.virtual import NetworkSimulation
from btard.protocol import membership
from btard.protocol.agreed import work_before
from btard.protocol.bans import Departure, Fault, Removal
from btard.protocol.channel import Request
from btard.protocol.encoding import tagged_hash
from btard.protocol.identity import Identity
from btard.protocol.log import Record, Subject, Trial
from btard.protocol.membership import MAX_CANDIDATES, Probation, Seated, choose_letters, probation_length
from btard.protocol.messages import MAX_LETTERS, Accusation, Commit, Envelope, Message, Phase, Slot, body_hash, seal
from btard.protocol.mprng import by_lot, uint64
from btard.protocol.state import Conduct, Plan, State, initial_state
from btard.protocol.step import WrongDownload
from btard.protocol.update import state_hash

from tests.swarms import TinyTask, configuration, genesis, identities

NEW = identities(12, 99)
BOTH = pytest.mark.parametrize("channel", [Simulation, NetworkSimulation])


class Run:
    """One simulated run to which guests come."""

    def __init__(self, channel: type[Simulation], conducts: dict[int, Conduct] | None = None, **changes: Any) -> None:
        config = configuration(**{"peers": 6, "tolerated": 1, "steps": 24, **changes})
        self.genesis, self.members = genesis(config), identities(config.peers, 0)
        self.task = TinyTask(config.dimension)
        chosen = {self.members[index].peer_id: conduct for index, conduct in (conducts or {}).items()}
        world = World(frozenset(chosen), config.gradient_clip)
        parameters = self.task.initial_parameters()
        self.simulation = channel(self.genesis, self.members, parameters, self.task, world, chosen)
        self.records: dict[int, bytes] = {}
        self.contents: dict[bytes, bytes] = {}
        self.simulation.record = lambda peer, record: self.records.setdefault(record.index, record.encode()) and None
        self.simulation.keep = lambda peer, content: self.contents.update({body_hash(content): content})
        self.states: dict[int, State] = {}

    def play(self, guests: dict[int, list[tuple[Identity, Conduct | None]]] | None = None) -> State:
        """Run to the end; ``guests`` come at their steps. Returns the last agreed state."""
        observed: Observed | None = None
        for observed in self.simulation.run():
            self.states[observed.state.step] = observed.state
            for identity, conduct in (guests or {}).pop(observed.state.step, []):
                self.simulation.welcome(identity, conduct)
        if observed is None:
            raise ValueError("the run has no step")
        return observed.state

    @property
    def log(self) -> bytes:
        """The members' log."""
        return self.genesis.encode() + b"".join(self.records[index] for index in sorted(self.records))

    def check_log(self) -> None:
        """An auditor accepts it, with and without recomputation."""
        known = Recomputation(self.task.gradient, self.task.initial_parameters(), self.contents)
        assert audit(self.log).removals == audit(self.log, known).removals


class Idle(Conduct):
    """A candidate that commits to nothing real."""

    def labour(self, state: State, honest: bytes) -> bytes:
        return bytes(32)


class Lazy(Conduct):
    """A candidate that stops committing after some steps: its letters are of no use."""

    def labour(self, state: State, honest: bytes) -> bytes:
        return honest if state.step < 6 else b""


# -- Probation ----------------------------------------------------------------------------------


@BOTH
@pytest.mark.requirement("MEMB-4")
@pytest.mark.requirement("MEMB-7")
def test_an_honest_newcomer_gets_its_seat_and_an_idle_one_is_refused(channel: type[Simulation]) -> None:
    run = Run(channel)
    state = run.play({2: [(NEW[0], None), (NEW[1], Idle())]})
    owed = probation_length(6, 1, run.genesis.configuration.validators)
    assert [arrival.peer for arrival in state.arrivals] == [NEW[0].peer_id]
    assert state.arrivals[0].step == 4 + owed + 2  # heard in step 3; each step is inspected two steps later
    assert [(r.peer, r.how, r.fault) for r in state.removals] == [(NEW[1].peer_id, Departure.REFUSED, Fault.WRONG_HASH)]
    assert (len(state.roster), state.tolerated, state.retries) == (7, 1, 0)
    seated = run.simulation.seats[NEW[0].peer_id].state
    assert seated.head == state.head and seated.replica and state.replica
    assert seated.replica.state_hash == state.replica.state_hash
    run.check_log()


def test_both_channels_tell_the_same_story() -> None:
    """Only who brings a letter differs, and with it the log's hash."""

    def story(channel: type[Simulation]) -> tuple[object, ...]:
        state = Run(channel).play({2: [(NEW[0], None), (NEW[1], Idle())]})
        assert state.replica
        return state.roster, state.removals, state.arrivals, state.randomness, state.replica.state_hash

    assert story(Simulation) == story(NetworkSimulation)


@pytest.mark.requirement("MEMB-5")
def test_a_missing_commitment_ends_a_probation_without_blame() -> None:
    state = Run(Simulation, steps=12).play({2: [(NEW[0], Lazy())]})
    assert not state.removals and not state.arrivals


@pytest.mark.requirement("MEMB-5")
def test_two_commitments_to_one_step_refuse_the_candidate() -> None:
    class Twice(Witnessed):
        """A member that brings a second commitment, which the candidate signed."""

        def say(self, state: State, slot: Slot, honest: Message) -> Message:
            owing = [c for c in state.probation if c.since < state.step]
            if not isinstance(honest, Commit) or not owing:
                return honest
            other = seal(NEW[0], state.run, Slot(state.step - 1, 0, Phase.PROBATION), state.run, bytes(32))
            return replace(honest, letters=(other,))

    run = Run(Simulation, steps=12)
    member = run.simulation.seats[run.members[0].peer_id]
    brings = Twice(member.id, run.simulation.world)
    run.simulation.seats[member.id] = run.simulation.begin(member.identity, brings, member.state)
    state = run.play({2: [(NEW[0], None)]})
    assert [(r.peer, r.fault) for r in state.removals] == [(NEW[0].peer_id, Fault.EQUIVOCATION)]


@pytest.mark.requirement("MEMB-2")
@BOTH
def test_a_convicted_key_is_never_heard_again(channel: type[Simulation]) -> None:
    run = Run(channel, steps=20)
    state = run.play({2: [(NEW[1], Idle())], 10: [(NEW[1], None)]})
    assert not state.arrivals and len(state.removals) == 1
    assert all(not s.probation for step, s in run.states.items() if step > 10)


@pytest.mark.requirement("MEMB-4")
def test_there_is_room_for_few_candidates() -> None:
    run = Run(Simulation, steps=8)
    run.play({2: [(identity, None) for identity in NEW]})
    assert max(len(state.probation) for state in run.states.values()) == min(MAX_CANDIDATES, 6)


@pytest.mark.requirement("MEMB-3")
def test_a_probation_lasts_as_long_as_an_idle_seat() -> None:
    assert probation_length(16, 7, 1) == 27  # 240/9: the mean time until an audit hits, 1/0.0375
    assert probation_length(16, 7, 4) == 27  # n − 2b − 1 leaves one validator
    assert probation_length(16, 3, 4) == 5
    assert probation_length(4, 0, 4) == 2


class Deceived(Simulation):
    """A swarm in which a follower that notices a wrong download goes away."""

    def advance(self, seat: Seat) -> Request | None:
        try:
            return super().advance(seat)
        except WrongDownload:
            seat.finished = True
            return None


@pytest.mark.requirement("MEMB-11")
def test_who_downloads_a_lie_signs_nothing_that_it_could_be_refused_for() -> None:
    """On probation already, it follows again with parameters that a faulty member made up."""
    run = Run(Deceived, steps=16)
    simulation, lied = run.simulation, False
    for observed in simulation.run():
        state = observed.state
        if state.step == 2:
            simulation.welcome(NEW[0])
        if state.probation and state.probation[0].since <= state.step and not lied:
            lied = True
            member = next(seat for seat in simulation.honest if not seat.follows)
            good = downloaded(member.state)
            assert good.replica is not None
            false = good.replica.parameters + np.float32(1)
            made_up = replace(good.replica, parameters=false, state_hash=state_hash(false, good.replica.optimizer))
            seat = simulation.begin(NEW[0], None, replace(good, replica=made_up))
            simulation.seats[NEW[0].peer_id] = seat
            seat.request = simulation.advance(seat)
    assert lied and seat.finished
    assert not state.removals and not state.probation


@pytest.mark.requirement("MEMB-12")
def test_petitions_crowd_out_no_commitment() -> None:
    """Many keys with low ids petition in every step; an honest candidate's commitments are brought all the same."""
    state = initial_state(genesis(configuration()))
    keys = [Identity(tagged_hash("tests/crowd", uint64(number))) for number in range(3 * MAX_LETTERS)]
    keys.sort(key=lambda key: key.peer_id)
    late, crowd = keys[-1], keys[:-1]
    state = replace(state, step=5, probation=(Probation(late.peer_id, 2, 9),))
    petitions = [seal(key, state.run, Slot(5, 0, Phase.PETITION), state.run, b"") for key in crowd]
    twice = seal(crowd[0], state.run, Slot(4, 0, Phase.PETITION), state.run, b"")
    commitment = seal(late, state.run, Slot(4, 0, Phase.PROBATION), state.run, bytes(32))
    brought = choose_letters(state, [*petitions, twice, commitment])
    assert len(brought) == MAX_LETTERS and commitment in brought
    assert [letter.sender for letter in brought] == sorted({letter.sender for letter in brought})
    lots = by_lot("btard/candidate", state.randomness, 5, [key.peer_id for key in crowd])
    assert {letter.sender for letter in brought} == {late.peer_id, *lots[: MAX_LETTERS - 1]}


def test_a_queue_of_letters_keeps_commitments_longest() -> None:
    def letter(number: int, phase: Phase) -> Envelope:
        return seal(Identity(tagged_hash("tests/queue", uint64(number))), bytes(32), Slot(4, 0, phase), bytes(32), b"")

    waiting: list[Envelope] = []
    for number in range(2 * MAX_WAITING_LETTERS):
        waiting = kept_letters(waiting, letter(number, Phase.PROBATION if number == 0 else Phase.PETITION))
    assert len(waiting) == MAX_WAITING_LETTERS and waiting[0].slot.phase is Phase.PROBATION


# -- Letters --------------------------------------------------------------------------------------


def letter(**changes: Any) -> tuple[Callable[[State], Envelope], str]:
    """A petition with ``changes``, by the state it is sent in."""

    def made(state: State) -> Envelope:
        slot = changes.get("slot", Slot(state.step, 0, changes.get("phase", Phase.PETITION)))
        head = changes.get("head", changes.get("run", state.run))
        sealed = seal(NEW[0], changes.get("run", state.run), slot, head, changes.get("body", b""))
        return replace(sealed, signature=changes.get("signature", sealed.signature))

    return made, str(changes)


@pytest.mark.requirement("MEMB-1")
@pytest.mark.parametrize(
    ("made", "convicts"),
    [
        (letter()[0], False),
        (letter(slot=Slot(0, 0, Phase.PROBATION), body=bytes(32))[0], False),
        (letter(slot=Slot(1 << 20, 0, Phase.PETITION))[0], False),
        (letter(signature=bytes(64))[0], True),
        (letter(run=bytes(32))[0], True),
        (letter(head=bytes(32))[0], True),
        (letter(body=bytes(1))[0], True),
        (letter(phase=Phase.PROBATION)[0], True),
        (letter(phase=Phase.CLOSING)[0], True),
        (letter(slot=Slot(3, 1, Phase.PETITION))[0], True),
        (letter(slot=Slot(3, 0, Phase.PETITION, 1))[0], True),
    ],
)
def test_who_brings_what_is_no_letter_is_convicted(made: Callable[[State], Envelope], convicts: bool) -> None:
    class Bringer(Conduct):
        def say(self, state: State, slot: Slot, honest: Message) -> Message:
            brings = isinstance(honest, Commit) and state.step == 3
            return replace(honest, letters=(made(state),)) if brings else honest

    run = Run(Simulation, {0: Bringer()}, steps=6)
    state = run.play()
    expected = [(run.members[0].peer_id, Fault.FALSE_NOTICE)] if convicts else []
    assert [(removal.peer, removal.fault) for removal in state.removals] == expected


# -- Inspection -----------------------------------------------------------------------------------


@pytest.mark.requirement("MEMB-6")
def test_a_false_inspector_is_convicted_and_the_candidate_seated() -> None:
    class Liar(Conduct):
        def accusations(self, state: State, plan: Plan, honest: Any) -> Any:
            mine = [c for c, inspector in plan.inspectors.items() if inspector in self.members]
            return tuple(sorted({*honest, *(Accusation(candidate, state.step - 2) for candidate in mine)}))

        members: frozenset[bytes] = frozenset()

    liar = Liar()
    run = Run(Simulation, {0: liar}, steps=40)
    liar.members = frozenset({run.members[0].peer_id})
    state = run.play({2: [(NEW[0], None)]})
    removed = [(removal.peer, removal.fault) for removal in state.removals]
    assert removed in ([], [(run.members[0].peer_id, Fault.FALSE_ACCUSATION)])
    assert [arrival.peer for arrival in state.arrivals] == [NEW[0].peer_id]


@pytest.mark.requirement("MEMB-6")
def test_inspectors_are_drawn_late_and_nobody_gets_two() -> None:
    state = Run(Simulation, steps=8).play()
    past = state.history[-1]
    candidates = tuple((identity.peer_id, bytes(32)) for identity in NEW[:5])
    waiting = tuple(sorted(Probation(peer, 0, 9) for peer, _ in candidates))
    base = replace(state, step=past.step + 2, history=(replace(past, candidates=candidates),), probation=waiting)
    drawn = [membership.draw_inspectors(replace(base, randomness=tagged_hash("t", bytes([k])))) for k in range(40)]
    assert all(len(set(who.values())) == 5 and set(who) == {peer for peer, _ in candidates} for who in drawn)
    assert len({tuple(sorted(who.items())) for who in drawn}) > 20  # another r_{t−1}, other inspectors
    assert not membership.draw_inspectors(replace(base, probation=()))
    assert membership.inspections(base) == 1


@pytest.mark.requirement("MEMB-6", "BCAST-3")
def test_every_candidate_has_an_inspector_also_if_members_have_gone() -> None:
    state = Run(Simulation, steps=8).play()
    past = state.history[-1]
    candidates = tuple((identity.peer_id, bytes(32)) for identity in NEW[:5])
    waiting = tuple(sorted(Probation(peer, 0, 9) for peer, _ in candidates))
    few = replace(state, roster=state.roster[:3], step=past.step + 2, probation=waiting)
    drawn = membership.draw_inspectors(replace(few, history=(replace(past, candidates=candidates),)))
    assert set(drawn) == {peer for peer, _ in candidates}
    assert sorted(Counter(drawn.values()).values()) == [1, 2, 2]
    assert membership.inspections(few) == 2
    opening = Slot(few.step, 0, Phase.COMMIT)
    assert work_before(few, opening) == work_before(replace(few, probation=()), opening) + 2


@pytest.mark.requirement("BAN-8")
@pytest.mark.requirement("MEMB-9")
def test_a_leaver_that_is_accused_too_is_tried_once_for_each_step() -> None:
    class Accuser(Conduct):
        def accusations(self, state: State, plan: Plan, honest: Any) -> Any:
            false = Accusation(run.members[3].peer_id, 5)
            return tuple(sorted({*honest, false})) if state.step == 6 else honest

    run = Run(Simulation, {1: Accuser()}, peers=8, tolerated=2, steps=8)
    run.simulation.retire([run.members[3].peer_id], 5)
    state = run.play()
    verdicts = [v.trial for index in sorted(run.records) for v in Record.decode(run.records[index]).verdicts]
    assert len(verdicts) == len(set(verdicts)) and Trial(5, run.members[3].peer_id, Subject.WORKER) in verdicts
    assert [(r.peer, r.how, r.fault) for r in state.removals] == [
        (run.members[3].peer_id, Departure.LEFT, Fault.LEAVING),
        (run.members[1].peer_id, Departure.CONVICTED, Fault.FALSE_ACCUSATION),
    ]


# -- Leaving and returning ------------------------------------------------------------------------


@BOTH
@pytest.mark.requirement("MEMB-8")
@pytest.mark.requirement("MEMB-9")
def test_a_member_leaves_in_good_order_and_is_examined(channel: type[Simulation]) -> None:
    run = Run(channel, peers=8, steps=12)
    run.simulation.retire([run.members[3].peer_id], 5)
    state = run.play()
    assert [(r.peer, r.how) for r in state.removals] == [(run.members[3].peer_id, Departure.LEFT)]
    assert (len(state.roster), state.tolerated, state.retries) == (7, 1, 0)
    assert run.simulation.seats[run.members[3].peer_id].finished
    assert audit(run.log).trials == 2  # both kept steps
    run.check_log()


@pytest.mark.requirement("MEMB-9")
def test_who_cheats_and_leaves_at_once_is_refused() -> None:
    class Cheat(Conduct):
        def gradient(self, state: State, honest: Any) -> Any:
            return -honest if state.step == 5 else honest

        def leaves(self, state: State) -> bool:
            return state.step == 5

    run = Run(Simulation, {3: Cheat()}, peers=8, steps=12)
    how = [(r.how, r.fault) for r in run.play().removals if r.peer == run.members[3].peer_id]
    assert how in (
        [(Departure.LEFT, Fault.LEAVING), (Departure.REFUSED, Fault.WRONG_HASH)],
        [(Departure.LEFT, Fault.LEAVING)],  # it was a validator in that step
    )


@pytest.mark.requirement("MEMB-8")
def test_nobody_leaves_where_the_inequality_would_fail() -> None:
    run = Run(Simulation, peers=6, tolerated=2, steps=8)
    run.simulation.retire([run.members[0].peer_id], 3)
    assert not run.play().removals


@pytest.mark.requirement("MEMB-7")
def test_absent_peers_return_and_the_bound_rises_again() -> None:
    run = Run(NetworkSimulation, peers=8, tolerated=2, steps=40)
    gone = [run.members[1], run.members[5]]
    cut: Iterator[Observed] = run.simulation.run()
    state: State | None = None
    for observed in cut:
        state = observed.state
        if state.step == 3:
            run.simulation.cut([identity.peer_id for identity in gone])  # type: ignore[attr-defined]
        if state.step == 8:
            assert (len(state.roster), state.tolerated) == (6, 0)
            for identity in gone:
                run.simulation.welcome(identity)
    assert state is not None
    assert (len(state.roster), state.tolerated) == (8, 2)
    assert {arrival.peer for arrival in state.arrivals} == {identity.peer_id for identity in gone}
    run.check_log()


def eliminated(state: State, first: bytes, second: bytes) -> State:
    """``state`` after the pair has left."""
    slot = Slot(2, 0, Phase.AGGREGATE)
    pair = (
        Removal(first, Departure.ELIMINATED, Fault.WITHHELD, slot, second),
        Removal(second, Departure.ELIMINATED, Fault.WITHHELD, slot, first),
    )
    roster = tuple(peer for peer in state.roster if peer not in (first, second))
    return replace(state, roster=roster, removals=pair, tolerated=state.tolerated - 1, step=9)


@pytest.mark.requirement("MEMB-7")
def test_the_first_of_a_pair_raises_the_bound_and_the_second_does_not() -> None:
    config = configuration(peers=9, tolerated=2)
    start = initial_state(genesis(config), TinyTask(64).initial_parameters())
    first, second = start.roster[1], start.roster[4]
    state = eliminated(start, first, second)
    one = membership.admit(state, first, [first])
    assert (len(one.roster), one.tolerated) == (8, 2)
    both = membership.admit(one, second, [second])
    assert (len(both.roster), both.tolerated) == (9, 2)
    assert both.arrivals == (Seated(first, 10), Seated(second, 10))


@pytest.mark.requirement("MEMB-7")
def test_a_pair_returns_together_where_one_alone_may_not() -> None:
    config = configuration(peers=6, tolerated=2)
    start = initial_state(genesis(config), TinyTask(64).initial_parameters())
    first, second = start.roster[1], start.roster[4]
    state = eliminated(start, first, second)
    assert membership.admit(state, first, [first]) == state  # n = 5, b = 2
    together = membership.admit(state, first, [first, second])
    assert (len(together.roster), together.tolerated) == (6, 2)


@pytest.mark.requirement("MEMB-10")
def test_a_wrong_download_is_found_by_the_next_commit() -> None:
    run = Run(Simulation, steps=6)
    with pytest.raises(WrongDownload):
        for observed in run.simulation.run():
            if observed.state.step == 2:
                follower = run.simulation.welcome(NEW[0])
                replica = follower.state.replica
                assert replica is not None
                wrong = replace(replica, parameters=replica.parameters + np.float32(1), state_hash=bytes(32))
                state = replace(follower.state, replica=wrong)
                run.simulation.seats[NEW[0].peer_id] = again = run.simulation.begin(NEW[0], None, state)
                again.request = run.simulation.advance(again)


# -- What a seat costs ----------------------------------------------------------------------------


@pytest.mark.requirement("PROP-13")
@pytest.mark.parametrize(("peers", "faulty", "idle"), [(6, 2, 2), (6, 2, 4), (16, 7, 3)])
def test_idle_steps_pass_as_often_as_the_bound_says_and_no_more(peers: int, faulty: int, idle: int) -> None:
    roster = [identity.peer_id for identity in identities(peers, 3)]
    looking_away = set(roster[:faulty])
    tries = 6000

    def passes(key: int) -> bool:
        lots = (
            by_lot("btard/inspector", tagged_hash("r", key.to_bytes(4, "big")), step, roster)[0] for step in range(idle)
        )
        return all(inspector in looking_away for inspector in lots)

    chance = (faulty / peers) ** idle
    seats = sum(passes(key) for key in range(tries))
    deviation = 4.5 * np.sqrt(tries * chance * (1 - chance))  # two-sided error below 1e-5
    assert abs(seats - tries * chance) <= deviation
