"""The step: what is fixed when it starts, what a void attempt keeps, what honest peers send, and how a run closes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from btard.protocol import mprng, verification
from btard.protocol.arithmetic import Float32, admissible_gradient, float32_bytes, lower_median
from btard.protocol.bans import Fault
from btard.protocol.butterfly_clip import next_radii, partition, residual
from btard.protocol.channel import AgreedBroadcast, ComputeGradient, Delivery, Exchange, Gather, Request, Scatter
from btard.protocol.encoding import encode
from btard.protocol.log import Record, Subject
from btard.protocol.messages import (
    Accusation,
    Closing,
    Commit,
    Envelope,
    Phase,
    Slot,
    body_hash,
    seal,
)
from btard.protocol.model import PeerId, ProtocolError, ToleranceExceeded, validator_count
from btard.protocol.mprng import combine, draw_targets, draw_validators, gradient_seed, initial_randomness
from btard.protocol.state import Conduct, Peer, Plan, State, initial_state, open_attempt, plan_step
from btard.protocol.step import CommitRules, close, matching
from btard.protocol.update import apply, from_description, state_hash
from btard.protocol.verification import Transcript, report_of
from profiles import part_hashes
from swarms import AGREED, Swarm, Tamper, TinyTask, configuration, genesis, identities, left, played, say, sign
from tampering import CASES, OversizedNorm, WrongGradient, accusing_aggregate, first_occasion

CONFIG = configuration()
GENESIS = genesis(CONFIG)
PARAMETERS = TinyTask(CONFIG.dimension).initial_parameters()
PEERS, IDS = identities(6, 0), GENESIS.roster
BY_NAME = {case.name: case for case in CASES}


@pytest.fixture(scope="module")
def quiet() -> Swarm:
    """An honest run of nine peers with validators."""
    return played(peers=9, tolerated=2, validators=3, steps=7, seed=11)


def transcripts(run: Swarm) -> list[Transcript]:
    """The applied attempt of every step."""
    return [observed.state.history[-1] for observed in run.observed[: run.config.steps]]


def states(run: Swarm) -> list[State]:
    """The state at the start of every step, the closing ones included, if nobody left in the first of these."""
    training = [initial_state(run.genesis, run.task.initial_parameters()), *(o.state for o in run.observed[:-1])]
    reveals = messages(run.record_at(run.config.steps, 0, Phase.REVEAL))
    opened = combine(reveal.opening for reveal in reveals.values())
    return [*training, replace(training[-1], step=run.config.steps + 1, randomness=opened)]


def gradient(run: Swarm, past: Transcript, worker: PeerId) -> Float32:
    """What an honest worker commits."""
    assert past.parameters is not None
    seed = gradient_seed(past.run, past.seed_randomness, past.step, worker)
    return admissible_gradient(run.task.gradient(past.parameters, seed), run.config.gradient_clip)


def messages(record: Record) -> dict[PeerId, Any]:
    """What everybody said in an agreed phase."""
    return {entry.sender: entry.message for entry in record.entries if entry}


# -- Before the first step ------------------------------------------------------------------------------


@pytest.mark.requirement("STEP-1")
def test_the_state_before_step_0() -> None:
    state = initial_state(GENESIS, PARAMETERS)
    assert (state.roster, state.tolerated, state.step, state.attempt) == (IDS, 2, 0, 0)
    assert (state.run, state.head, state.records) == (GENESIS.run, GENESIS.run, 1)
    assert (state.history, state.removals, state.retries) == ((), (), 0)
    assert state.randomness == initial_randomness(GENESIS.run, IDS)
    assert state.radii.bounds == (slice(0, CONFIG.dimension),)
    assert state.radii.radii.tolist() == state.radii.medians.tolist() == [CONFIG.radius_initial]
    assert state.replica is not None and state.replica.state_hash == GENESIS.state_hash
    assert initial_state(GENESIS).replica is None


@pytest.mark.requirement("STEP-1")
def test_other_parameters_than_those_of_the_genesis_are_refused() -> None:
    wrong = PARAMETERS.copy()
    wrong[3] = -0.0  # equal as a number
    with pytest.raises(ProtocolError, match="not those of the genesis record"):
        initial_state(GENESIS, wrong)


# -- Roles ------------------------------------------------------------------------------------------------


@pytest.mark.requirement("STEP-2")
@pytest.mark.requirement("MODEL-2")
def test_roles_are_drawn_from_the_last_randomness_and_targets_from_two_steps_back(quiet: Swarm) -> None:
    for state, past in zip(states(quiet), transcripts(quiet), strict=False):
        plan = plan_step(state)
        count = validator_count(9, 2, 3)
        assert plan.validators == draw_validators(state.randomness, state.step, state.roster, count)
        assert len(plan.validators) == (count if state.step >= 2 else 0)
        assert past.workers == tuple(peer for peer in state.roster if peer not in plan.validators)
        earlier = {p.step: p for p in transcripts(quiet)}.get(state.step - 2)
        pool = earlier.workers if earlier else ()
        assert plan.targets == draw_targets(state.randomness, state.step, plan.validators, pool)
        assert not set(plan.targets.values()) & set(plan.validators)
        assert len(plan.targets) == len(plan.validators)


@pytest.mark.requirement("STEP-2")
def test_who_left_is_neither_validator_nor_target() -> None:
    run = played({0: BY_NAME["silent in COMMIT"].make(3)}, steps=6, seed=2)
    gone = run.roster[0]
    for state in states(run)[4:]:
        plan = plan_step(state)
        assert gone not in plan.validators
        assert gone not in plan.targets.values()


@pytest.mark.requirement("STEP-2")
def test_a_removal_turns_no_worker_into_a_validator_nor_the_reverse() -> None:
    gone = set()
    for seed in range(12):
        run = played({0: BY_NAME["silent in REPORT"].make(2)}, seed=seed, peers=9, tolerated=3, steps=3)
        before, after = (messages(run.record_at(2, attempt, Phase.COMMIT)) for attempt in (0, 1))
        idle = {peer for peer, commit in before.items() if not commit.part_hashes}
        assert idle == set(draw_validators(states(run)[2].randomness, 2, run.roster, 2))
        assert {peer for peer, commit in after.items() if not commit.part_hashes} == idle - {run.roster[0]}
        gone.add(run.roster[0] in idle)
    assert gone == {True, False}  # both roles were removed in some run


# -- What honest peers send ---------------------------------------------------------------------------------


@pytest.mark.requirement("STEP-3")
def test_a_commit_announces_every_part_of_the_gradient(quiet: Swarm) -> None:
    for past in transcripts(quiet):
        commits = messages(quiet.record_at(past.step, 0, Phase.COMMIT))
        for worker in past.workers:
            expected = gradient(quiet, past, worker)
            bounds = partition(quiet.config.dimension, len(past.workers))
            assert commits[worker].part_hashes == tuple(body_hash(float32_bytes(expected[b])) for b in bounds)
        for validator in set(quiet.roster) - set(past.workers):
            assert commits[validator].part_hashes == ()
        assert len(past.workers) == (9 if past.step < 2 else 6)


@pytest.mark.requirement("STEP-3")
@pytest.mark.parametrize("name", ["one part hash too few", "one part hash too many", "no part hashes"])
def test_another_number_of_part_hashes_is_malformed(name: str) -> None:
    assert left(played({2: BY_NAME[name].make(1)}), 2, Fault.MALFORMED)


@pytest.mark.requirement("STEP-3")
def test_part_hashes_in_a_closing_step_are_malformed() -> None:
    def alter(tamper: Tamper, commit: Commit) -> Commit:
        return replace(commit, part_hashes=(bytes(32),) * 6)

    run = played({2: Tamper({Phase.COMMIT: say(alter)}, start=CONFIG.steps)})
    assert left(run, 2, Fault.MALFORMED)
    assert run.removals[0].slot == Slot(CONFIG.steps, 0, Phase.COMMIT)


@pytest.mark.requirement("STEP-4")
def test_the_state_hash_of_a_strict_majority_of_the_roster_counts() -> None:
    state = initial_state(GENESIS)
    attempt = open_attempt(state, Plan(0, (), {}))

    def rules(*votes: bytes) -> CommitRules:
        made = CommitRules()
        delivered = {IDS[index]: Commit((bytes(32),) * 6, bytes(32), vote) for index, vote in enumerate(votes)}
        made.begin(state, attempt, delivered)  # type: ignore[arg-type]
        return made

    yes, no = b"y" * 32, b"n" * 32
    chosen = rules(yes, no, yes, no, yes, yes)
    for vote, fault in ((yes, None), (no, Fault.DIVERGED)):
        commit = Commit((bytes(32),) * 6, bytes(32), vote)
        assert chosen.fault(state, attempt, IDS[0], commit) is fault
    for split in ((yes, yes, yes, no, no, no), (yes, yes, yes), (), (yes, no, b"x" * 32, yes, no, yes)):
        with pytest.raises(ToleranceExceeded):
            rules(*split)


@pytest.mark.requirement("STEP-5")
def test_an_impossible_part_counts_as_zeros_and_its_sender_is_accused_next() -> None:
    run = played({2: lambda seating: OversizedNorm(seating, 1)})
    past = run.observed[1].state.history[-1]
    assert past.step == 1 and past.aggregate is not None
    for part, bound in enumerate(past.bounds):
        if past.workers[part] == run.roster[2]:
            continue  # it knows its own part as it is
        rows = [
            np.zeros_like(past.aggregate[bound]) if worker == run.roster[2] else gradient(run, past, worker)[bound]
            for worker in past.workers
        ]
        limit = run.config.residual_ratio * float(past.radii[part])
        assert residual(np.stack(rows), past.aggregate[bound], float(past.radii[part])) <= limit
    commits = messages(run.record_at(2, 0, Phase.COMMIT))
    for accuser in set(past.workers) - {run.roster[2]}:
        assert commits[accuser].accusations == (Accusation(run.roster[2], 1),)
    assert left(run, 2, Fault.WRONG_HASH)


@pytest.mark.requirement("STEP-6")
def test_a_receiver_uses_complains_or_attaches() -> None:
    state = initial_state(GENESIS)
    attempt = open_attempt(state, Plan(0, (), {}))
    contents = [bytes([index]) for index in range(6)]
    announced = [body_hash(content) for content in contents]
    slot = attempt.slot(Phase.SCATTER, 0)
    received: list[Envelope | None] = [
        seal(PEERS[index], GENESIS.run, slot, state.head, contents[index]) for index in range(6)
    ]
    received[0] = None  # nobody sends to itself
    used, notices = matching(Peer(PEERS[0]), attempt, received, announced)
    assert used == {IDS[index]: contents[index] for index in range(1, 6)}
    assert (notices.complaints, notices.evidence) == ((), ())

    received[2], received[4] = None, seal(PEERS[4], GENESIS.run, slot, state.head, b"other")
    used, notices = matching(Peer(PEERS[0]), attempt, received, announced)
    assert set(used) == {IDS[1], IDS[3], IDS[5]}
    assert notices.complaints == (IDS[2],)
    assert notices.evidence == ((received[4].signed_header,),)
    used, notices = matching(Peer(PEERS[1]), attempt, received, announced)
    assert notices.complaints == (IDS[0], IDS[2])  # another receiver is owed by the first as well


@pytest.mark.requirement("STEP-7")
def test_workers_announce_their_aggregate_and_validators_nothing(quiet: Swarm) -> None:
    for past in transcripts(quiet):
        assert past.aggregate is not None
        said = messages(quiet.record_at(past.step, 0, Phase.AGGREGATE))
        for peer in quiet.roster:
            if peer in past.workers:
                bound = past.bounds[past.workers.index(peer)]
                assert said[peer].aggregate_hash == body_hash(float32_bytes(past.aggregate[bound]))
            else:
                assert said[peer].aggregate_hash is None


@pytest.mark.requirement("STEP-7")
@pytest.mark.parametrize("name", ["no aggregate and no reason", "an aggregate from a validator"])
def test_an_aggregate_against_duty_is_malformed(name: str) -> None:
    for seed in range(20):
        tamper = BY_NAME[name].make(1)
        run = played({0: tamper}, seed=seed, steps=5)
        if isinstance(tamper, Tamper) and tamper.acted:
            assert left(run, 0, Fault.MALFORMED)
            return
    raise AssertionError("no occasion")


@pytest.mark.requirement("STEP-7")
def test_whoever_misses_an_input_announces_nothing() -> None:
    run = played({4: BY_NAME["a part withheld from one"].make(1)})
    said = run.message(0, 1, 0, Phase.AGGREGATE)
    assert (said.aggregate_hash, said.notices.complaints) == (None, (run.roster[4],))


@pytest.mark.requirement("STEP-12")
def test_validators_report_nothing_and_workers_report_the_truth(quiet: Swarm) -> None:
    for past in transcripts(quiet):
        said = messages(quiet.record_at(past.step, 0, Phase.REPORT))
        for peer in quiet.roster:
            if peer in past.workers:
                assert np.array_equal(said[peer].matrix(), report_of(past, gradient(quiet, past, peer)))
            else:
                assert (said[peer].norms, said[peer].inner_products) == (b"", b"")


@pytest.mark.requirement("STEP-12")
def test_a_report_from_a_validator_is_malformed() -> None:
    for seed in range(20):
        tamper = BY_NAME["a report from a validator"].make(2)
        run = played({0: tamper}, seed=seed, steps=5)
        if isinstance(tamper, Tamper) and tamper.acted:
            assert left(run, 0, Fault.MALFORMED)
            return
    raise AssertionError("no occasion")


@pytest.mark.requirement("MPRNG-3")
@pytest.mark.parametrize(
    "name", ["wrong share in the opening", "wrong salt in the opening", "copied commitment and opening"]
)
def test_an_opening_that_does_not_fit_convicts(name: str) -> None:
    run = played({2: BY_NAME[name].make(1)})
    assert left(run, 2, Fault.WRONG_OPENING)
    assert run.removals[0].slot == Slot(1, 0, Phase.REVEAL)


@pytest.mark.requirement("MPRNG-3")
def test_an_opening_of_an_earlier_attempt_does_not_fit() -> None:
    """Peer 5 is silent, so Reveal is repeated; peer 2 opens what it opened in the first attempt."""

    def stale(tamper: Tamper, request: AgreedBroadcast) -> AgreedBroadcast | None:
        if request.slot.attempt == 0 or request.envelope is None:
            return None
        opening = mprng.private_opening(tamper.identity.seed, GENESIS.run, request.slot.step, 0)
        message: Any = request.envelope.message
        body = encode(replace(message, opening=opening).to_item())
        return replace(request, envelope=tamper.reseal(request.envelope, body))

    run = played({2: Tamper({Phase.REVEAL: stale}), 5: BY_NAME["silent in REVEAL"].make(1)})
    assert run.faults == [(5, Fault.SILENT), (2, Fault.WRONG_OPENING)]
    assert run.removals[1].slot == Slot(1, 1, Phase.REVEAL)


@pytest.mark.requirement("VER-5")
@pytest.mark.parametrize("name", ["norms one bit off", "inner products a little smaller", "a report of zeros"])
def test_the_aggregators_accuse_who_misreports_in_the_next_commit(name: str) -> None:
    run, step = first_occasion(BY_NAME[name], 2)
    commits = messages(run.record_at(step + 1, 0, Phase.COMMIT))
    liar = run.roster[2]
    accusers = {peer for peer, commit in commits.items() if Accusation(liar, step) in commit.accusations}
    assert accusers == set(transcripts(run)[step].workers) - {liar}
    assert left(run, 2, Fault.WRONG_REPORT)
    assert run.removals[0].slot == Slot(step + 1, 0, Phase.COMMIT)
    assert not any(c.accusations for c in messages(run.record_at(step + 1, 1, Phase.COMMIT)).values())


# -- A void attempt -----------------------------------------------------------------------------------------


@pytest.mark.requirement("STEP-9")
@pytest.mark.parametrize("phase", AGREED)
def test_a_void_attempt_is_repeated_with_the_same_gradients_and_fresh_openings(phase: Phase) -> None:
    run = played({4: BY_NAME[f"silent in {phase.name}"].make(1)})
    past = run.observed[1].state.history[-1]
    assert past.step == 1 and past.workers == (*run.roster[:4], run.roster[5])
    assert past.tolerated == 1
    first, second = (messages(run.record_at(1, attempt, Phase.COMMIT)) for attempt in (0, 1))
    for worker in past.workers:
        same = gradient(run, past, worker)
        assert first[worker].part_hashes == part_hashes(same, partition(run.config.dimension, 6))
        assert second[worker].part_hashes == part_hashes(same, partition(run.config.dimension, 5))
        assert first[worker].commitment != second[worker].commitment
    slots = [record.slot[:3] for record in run.log_records if record.slot.step == 1]
    repeated = AGREED[: AGREED.index(phase) + 1]
    assert slots == [*[(1, 0, each) for each in repeated], *[(1, 1, each) for each in AGREED]]


@pytest.mark.requirement("STEP-9")
@pytest.mark.requirement("MPRNG-6")
def test_a_retry_changes_no_seed() -> None:
    run = played({4: BY_NAME["silent in REPORT"].make(1)}, steps=2)
    start = states(run)  # at steps 0 to 3
    expected = [
        gradient_seed(run.genesis.run, start[step].randomness, step, peer)
        for step, roster in ((0, run.roster), (1, run.roster))
        for peer in roster
    ]
    auditing = Counter(run.task.seeds)
    auditing.subtract(expected)
    assert min(auditing.values()) >= 0  # each of them once …
    targets = [plan_step(state).targets for state in start[2:]]
    audits = {gradient_seed(run.genesis.run, start[step].randomness, step, target)
              for step in (0, 1) for target in targets[step].values()}  # fmt: skip
    assert set(+auditing) == audits  # … and the rest by validators, in the closing steps


class Watching(Tamper):
    """An honest peer that keeps every request for a gradient."""

    def __init__(self) -> None:
        super().__init__({Phase.COMMIT: lambda tamper, request: None})
        self.asked: list[ComputeGradient] = []

    def consider(self, request: Request) -> Request:
        """Leave it as it is."""
        if isinstance(request, ComputeGradient):
            self.asked.append(request)
        return request


class Timed(Tamper):
    """An honest peer that keeps the place, the bound and the work of every agreed broadcast and exchange."""

    def __init__(self) -> None:
        super().__init__({Phase.COMMIT: lambda tamper, request: None})
        self.asked: dict[Slot, tuple[int, int | None]] = {}

    def consider(self, request: Request) -> Request:
        """Leave it as it is."""
        if isinstance(request, AgreedBroadcast):
            self.asked[request.slot] = (request.work, request.tolerated)
        elif isinstance(request, (Scatter, Gather)):
            self.asked[request.slot._replace(part=0)] = (request.work, None)
        return request


@pytest.mark.requirement("BCAST-3")
def test_a_request_tells_how_many_gradients_an_honest_peer_may_need_before_it() -> None:
    """One for the phase, one more at the start of a step, and those of the trials that the last phase called."""
    timed = Timed()
    accuser, forger = BY_NAME["a false accusation"].make(1), BY_NAME["a shifted aggregate"].make(3)
    run = played({0: timed, 4: accuser, 5: forger}, validators=1)
    assert run.faults == [(4, Fault.FALSE_ACCUSATION), (5, Fault.WRONG_AGGREGATE)]
    recomputed: dict[Slot, int] = {}
    for record, following in pairwise(run.log_records):
        kinds = [verdict.trial.subject for verdict in record.verdicts]
        workers = len([peer for peer in messages(record).values() if getattr(peer, "norms", b"")])
        recomputed[following.slot] = sum(1 if kind is Subject.WORKER else workers for kind in kinds)
    assert sorted(recomputed.values())[-2:] in ([1, 4], [1, 5])  # a worker's trial, and that of an aggregator
    for slot, (work, tolerated) in timed.asked.items():
        if slot.phase.agreed:
            opening = slot.phase is Phase.COMMIT and slot.attempt == 0
            assert work == 1 + opening + recomputed.get(slot, 0), slot
            gone = sum(1 for removal in run.removals if removal.slot[:2] < slot[:2])
            assert tolerated == run.config.tolerated - gone
        else:
            assert work == 1


class Silenced(Conduct):
    """Reveals zeros in step 1, whatever it committed to."""

    def say(self, state: State, slot: Slot, honest: Any) -> Any:
        """Another opening."""
        return replace(honest, opening=bytes(64)) if (slot.step, slot.phase) == (1, Phase.REVEAL) else honest


def test_a_conduct_may_say_anything_in_an_agreed_phase() -> None:
    assert played({2: lambda seating: Silenced()}).faults == [(2, Fault.WRONG_OPENING)]


@pytest.mark.requirement("STEP-9")
def test_a_retry_asks_for_no_gradient() -> None:
    watching = Watching()
    run = played({0: watching, 4: BY_NAME["silent in REPORT"].make(1)}, steps=2)
    assert run.state.retries == 1
    own = [gradient_seed(run.genesis.run, state.randomness, state.step, run.roster[0]) for state in states(run)[:2]]
    assert [request.seed for request in watching.asked][:2] == own
    audited = [state for state in states(run)[2:] if run.roster[0] in plan_step(state).targets]
    assert len(watching.asked) == 2 + len(audited)


@pytest.mark.requirement("STEP-9")
def test_openings_of_two_attempts_are_unrelated() -> None:
    run = played({4: BY_NAME["silent in REPORT"].make(1)})
    reveals = [messages(run.record_at(1, attempt, Phase.REVEAL)) for attempt in (0, 1)]
    kept = [peer for peer in run.roster if peer != run.roster[4]]
    assert all(reveals[0][peer].opening != reveals[1][peer].opening for peer in kept)
    assert run.observed[1].state.randomness == combine(reveals[1][peer].opening for peer in kept)


@pytest.mark.requirement("STEP-9")
@pytest.mark.requirement("VER-6")
def test_an_accusation_in_a_later_attempt_convicts_its_author() -> None:
    """Peer 2 did misreport, and peer 3, which holds the proof, waits for the second attempt: too late."""

    def late(tamper: Tamper, request: AgreedBroadcast) -> AgreedBroadcast | None:
        if request.slot.attempt == 0 or request.envelope is None:
            return None
        message: Any = request.envelope.message
        accused = Accusation(tamper.swarm.roster[0], request.slot.step - 1)
        body = encode(replace(message, accusations=(accused,)).to_item())
        return replace(request, envelope=tamper.reseal(request.envelope, body))

    run = played({3: Tamper({Phase.COMMIT: late}), 5: BY_NAME["silent in COMMIT"].make(1)})
    assert run.faults == [(5, Fault.SILENT), (3, Fault.FALSE_NOTICE)]
    assert run.record_at(1, 1, Phase.COMMIT).verdicts == ()


# -- Applying -------------------------------------------------------------------------------------------------


@pytest.mark.requirement("STEP-8")
def test_applying_a_step_updates_model_radii_history_and_randomness(quiet: Swarm) -> None:
    optimizer = from_description(quiet.config.optimizer)
    sequence = states(quiet)
    for before, after in pairwise(sequence[:-1]):
        past = after.history[-1]
        assert before.replica is not None and after.replica is not None and past.aggregate is not None
        parameters, moments = apply(optimizer, before.replica.parameters, past.aggregate, before.replica.optimizer)
        assert after.replica.state_hash == state_hash(parameters, moments)
        assert after.replica.parameters.tobytes() == parameters.tobytes()
        assert (after.step, after.attempt) == (before.step + 1, 0)
        assert [p.step for p in after.history] == [s for s in (before.step - 1, before.step) if s >= 0]
        expected = next_radii(
            before.radii, past.bounds, quiet.config.radius_factor, quiet.config.radius_min, quiet.config.radius_max
        )
        assert past.radii.tolist() == after.radii.radii.tolist() == expected.tolist()
        medians = [float(lower_median(past.reports[:, 1, part])) for part in range(len(past.workers))]
        assert after.radii.medians.tolist() == medians
        reveals = messages(quiet.record_at(before.step, 0, Phase.REVEAL))
        assert after.randomness == past.randomness == combine(reveal.opening for reveal in reveals.values())


@pytest.mark.requirement("STEP-8")
def test_the_model_learns_from_the_agreed_aggregates(quiet: Swarm) -> None:
    replica = quiet.state.replica
    assert replica is not None
    assert np.linalg.norm(replica.parameters - 1) < 0.5 * np.linalg.norm(PARAMETERS - 1)


# -- Closing --------------------------------------------------------------------------------------------------


@pytest.mark.requirement("VER-10")
def test_there_is_no_aggregate_to_accuse_in_a_closing_step() -> None:
    def worker(tamper: Tamper) -> PeerId:
        validators = plan_step(tamper.swarm.simulation.seats[tamper.honest_peers[0]].state).validators
        return next(peer for peer in tamper.honest_peers if peer not in validators)

    run = played({2: Tamper({Phase.REVEAL: accusing_aggregate(worker, 0)}, start=3)}, steps=3)
    assert run.faults == [(2, Fault.FALSE_NOTICE)]
    assert run.removals[0].slot == Slot(3, 0, Phase.REVEAL)
    assert run.record_at(3, 0, Phase.REVEAL).verdicts == ()


def tail(run: Swarm) -> list[tuple[int, int, str]]:
    """The slots of all records after the last training step."""
    return [
        (record.slot.step, record.slot.attempt, record.slot.phase.name)
        for record in run.log_records
        if record.slot.step >= run.config.steps
    ]


@pytest.mark.requirement("STEP-10")
def test_two_audit_only_steps_follow_the_last_training_step() -> None:
    run = played(steps=3)
    assert tail(run) == [(3, 0, "COMMIT"), (3, 0, "REVEAL"), (4, 0, "COMMIT"), (5, 0, "CLOSING")]
    assert run.state.replica is not None
    assert run.state.replica.state_hash == run.observed[2].state.replica.state_hash  # type: ignore[union-attr]


@pytest.mark.requirement("STEP-10")
def test_a_lie_about_the_last_report_is_tried_in_the_first_closing_step() -> None:
    run, step = first_occasion(BY_NAME["norms one bit off"], 2, start=2, steps=3)
    assert step == 2
    assert left(run, 2, Fault.WRONG_REPORT)
    assert tail(run) == [
        (3, 0, "COMMIT"),
        (3, 1, "COMMIT"),
        (3, 1, "REVEAL"),
        (4, 0, "COMMIT"),
        (5, 0, "CLOSING"),
    ]


@pytest.mark.requirement("STEP-10")
@pytest.mark.requirement("VER-7")
@pytest.mark.parametrize(("cheating", "verdict"), [(1, 3), (2, 4)])
def test_gradients_of_the_last_two_steps_are_audited(cheating: int, verdict: int) -> None:
    """Of three training steps, one of the last two is a lie: the closing step two later audits it, or nobody does."""
    found = 0
    for seed in range(24):
        run = played({1: lambda seating: WrongGradient(seating, cheating)}, seed=seed, steps=3)
        removal = run.removal(1)
        if removal is not None:
            found += 1
            assert (removal.fault, removal.slot) == (Fault.WRONG_HASH, Slot(verdict, 0, Phase.COMMIT))
        if removal is None or verdict == 4:  # the first closing step was not repeated
            worked = run.roster[1] in transcripts(run)[cheating].workers
            drawn = run.roster[1] in plan_step(states(run)[verdict]).targets.values()
            assert (removal is not None) is (drawn and worked)
    assert 0 < found < 24


@pytest.mark.requirement("STEP-10")
def test_a_removal_in_the_second_closing_step_repeats_nothing() -> None:
    run = played({2: BY_NAME["silent in COMMIT"].make(4)}, steps=3)
    assert left(run, 2, Fault.SILENT) is False  # convicted is not what absence is called
    assert run.faults == [(2, Fault.SILENT)]
    assert tail(run)[-2:] == [(4, 0, "COMMIT"), (5, 0, "CLOSING")]
    assert len(run.log_records[-1].entries) == 5


@pytest.mark.requirement("STEP-10")
def test_a_refusal_to_open_in_the_first_closing_step_is_redone() -> None:
    run = played({2: BY_NAME["silent in REVEAL"].make(3)}, steps=3)
    assert run.faults == [(2, Fault.SILENT)]
    assert tail(run) == [
        (3, 0, "COMMIT"),
        (3, 0, "REVEAL"),
        (3, 1, "COMMIT"),
        (3, 1, "REVEAL"),
        (4, 0, "COMMIT"),
        (5, 0, "CLOSING"),
    ]


def closing(state: State, entries: list[Envelope | None]) -> State:
    """What :func:`close` makes of an agreed vector."""
    exchange: Exchange[State] = close(Peer(PEERS[0]), state)
    request = next(exchange)
    assert isinstance(request, AgreedBroadcast)
    assert request.slot == Slot(state.step, 0, Phase.CLOSING)
    exchange.send(Delivery(tuple(entries)))
    try:
        exchange.send(None)
    except StopIteration as stop:
        final: State = stop.value
        return final
    raise AssertionError("closing asks for nothing after its record")


def vouching(head: bytes, *peers: int, body: bytes | None = None) -> Iterator[Envelope | None]:
    """Closing messages of some peers; nothing from the others."""
    content = encode(Closing().to_item()) if body is None else body
    for index, identity in enumerate(PEERS):
        slot = Slot(0, 0, Phase.CLOSING)
        yield seal(identity, GENESIS.run, slot, head, content) if index in peers else None


@pytest.mark.requirement("STEP-11")
@pytest.mark.parametrize("tolerated", [0, 1, 2])
def test_all_but_the_faulty_close_the_run(tolerated: int) -> None:
    state = replace(initial_state(GENESIS), tolerated=tolerated)
    entries = list(vouching(state.head, *range(tolerated, 6)))
    final = closing(state, entries)
    assert final.records == 2
    assert final.head == state.head  # the final head is the one that the entries sign
    refused: list[Callable[[], Iterator[Envelope | None]]] = [
        lambda: vouching(state.head, *range(tolerated + 1, 6)),
        lambda: vouching(state.head),
        lambda: vouching(bytes(32), *range(6)),
        lambda: vouching(state.head, *range(6), body=b"\xff"),
    ]
    for made in refused:
        with pytest.raises(ToleranceExceeded, match="final log head"):
            closing(state, list(made()))


@pytest.mark.requirement("STEP-11")
def test_the_closing_record_leaves_out_who_names_another_head() -> None:
    wrong = Tamper({Phase.CLOSING: sign(lambda tamper, envelope: tamper.reseal(envelope, log_head=bytes(32)))})
    run = played({3: wrong})
    assert wrong.acted
    assert not run.removals
    last = run.log_records[-1]
    assert last.slot == Slot(CONFIG.steps + 2, 0, Phase.CLOSING)
    assert [entry is None for entry in last.entries] == [index == 3 for index in range(6)]


def test_an_audit_needs_what_an_observer_does_not_have() -> None:
    run = played(steps=1)
    past = replace(run.state.history[-1], aggregate=None, parameters=None)
    with pytest.raises(ValueError, match="observer"):
        report_of(past, np.zeros(64, dtype=np.float32))
    with pytest.raises(ValueError, match="observer"):
        next(verification.recompute_gradient(past, past.workers[0]))
    with pytest.raises(ValueError, match="observer"):
        verification.lying_workers(past, 0, np.zeros((6, 10), dtype=np.float32), ())
