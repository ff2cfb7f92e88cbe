"""The step, profile BTARD: six phases from gradients to an applied aggregate (chapter ``step``).

A peer is the generator :func:`run`. It yields requests (chapter ``channel``) and reads like the
algorithm; what Byzantine peers do differently is a :class:`Conduct` with one method replaced.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np

from btard.protocol import membership, mprng, tolerance, verification
from btard.protocol.arithmetic import (
    Float32,
    Float64,
    admissible_gradient,
    float32_bytes,
    float32_vector,
    lower_median,
)
from btard.protocol.bans import Departures, Fault, Removal, remaining_roster, remaining_tolerance
from btard.protocol.butterfly_clip import Radii, centered_clip, initial_radii, next_radii, partition
from btard.protocol.channel import (
    AgreedBroadcast,
    AppendRecord,
    CollectLetters,
    ComputeGradient,
    Delivery,
    Disclose,
    Duty,
    Exchange,
    FetchContent,
    Gather,
    Scatter,
    StepApplied,
    WriteLetter,
)
from btard.protocol.encoding import encode
from btard.protocol.identity import Identity
from btard.protocol.log import Finding, Genesis, Record, Subject, Trial, Verdict
from btard.protocol.membership import Probation, Seated
from btard.protocol.messages import (
    MAX_LETTERS,
    NO_NOTICES,
    Accusation,
    Aggregate,
    Closing,
    Commit,
    Echo,
    Envelope,
    Message,
    Notices,
    Phase,
    Proof,
    Report,
    Reveal,
    SignedHeader,
    Slot,
    Vote,
    body_hash,
    seal,
)
from btard.protocol.model import (
    Configuration,
    PeerId,
    ProtocolError,
    Roster,
    ToleranceExceeded,
    validator_count,
)
from btard.protocol.update import OptimizerState, apply, from_description, state_hash
from btard.protocol.verification import Judge, Transcript

if TYPE_CHECKING:
    from btard.protocol.broadcast import Frame

described_optimizer = lru_cache(maxsize=16)(from_description)

CLOSING_STEPS = 2
"""Audit-only steps after the last training step: the first draws the auditors of the last gradients."""


# -- State ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Replica:
    """What a peer holds beside the agreed state: the model, and what it aggregated last."""

    parameters: Float32
    """float32 ``[d]``; equal on every honest peer after every step."""
    optimizer: OptimizerState
    state_hash: bytes
    inputs: Float32 | None = None
    """What I aggregated in the last applied attempt, float32 ``[workers, m]``; None as a validator."""
    impossible: tuple[PeerId, ...] = ()
    """Workers whose part counted as zeros there."""


@dataclass(frozen=True)
class Heard:
    """An agreed phase as its echoes are judged by: who was heard, and the digests of what was delivered."""

    slot: Slot
    roster: Roster
    digests: tuple[bytes | None, ...]


@dataclass(frozen=True)
class State:
    """The agreed state between phases, and the replica of those who have one."""

    config: Configuration
    run: bytes
    roster: Roster
    tolerated: int
    """b_t."""
    step: int
    attempt: int
    randomness: bytes
    """r_{t−1}."""
    radii: Radii
    """Clipping radii and median norms of the last applied attempt."""
    head: bytes
    records: int
    """The number of records in the log."""
    history: tuple[Transcript, ...] = ()
    """The applied attempts of steps t − 2 and t − 1."""
    removals: tuple[Removal, ...] = ()
    retries: int = 0
    last: Heard | None = None
    """The last agreed phase; None before the first."""
    work: int = 0
    """How many gradients the trials of the last agreed phase recomputed."""
    replica: Replica | None = None
    pending: Notices = NO_NOTICES
    """What this peer alone saw go wrong in the last agreed phase; said in its next message."""
    probation: tuple[Probation, ...] = ()
    """Candidates for a seat, by id."""
    arrivals: tuple[Seated, ...] = ()
    """Who got a seat during the run, in order."""
    leavers: tuple[PeerId, ...] = ()
    """Who left in good order at the last step boundary; tried once more in the next Commit."""
    shown: Mapping[tolerance.Suspect, bytes] = field(default_factory=dict)
    """Tolerance mode: committed gradients that this peer holds, its own and those disclosed to everyone."""

    def transcript(self, step: int) -> Transcript | None:
        """The applied attempt of ``step``, if it is one of the last two."""
        return next((past for past in self.history if past.step == step), None)


def initial_state(genesis: Genesis, parameters: Float32 | None = None) -> State:
    """The state before step 0; ``parameters`` None makes an observer. Source: STEP-1."""
    config, run = genesis.configuration, genesis.run
    radii = initial_radii(config.dimension, config.radius_initial)
    replica = None
    if parameters is not None:
        replica = initial_replica(config, parameters)
        if replica.state_hash != genesis.state_hash:
            raise ProtocolError("the initial parameters are not those of the genesis record")
    randomness = mprng.initial_randomness(run, genesis.roster)
    return State(
        config, run, genesis.roster, config.tolerated, 0, 0, randomness, radii, run, 1, replica=replica
    )  # requirement: STEP-1


def initial_replica(config: Configuration, parameters: Float32) -> Replica:
    """The model before step 0, with a fresh optimizer."""
    optimizer = described_optimizer(config.optimizer).initial_state(config.dimension)
    return Replica(parameters, optimizer, state_hash(parameters, optimizer))


class WrongDownload(ProtocolError):
    """What a candidate downloaded is not the agreed state."""


class Voided(Exception):
    """Someone left: the attempt is void. ``state`` is the one to retry from."""

    def __init__(self, state: State) -> None:
        self.state = state


class Expelled(ProtocolError):
    """This peer itself has left the run."""

    def __init__(self, state: State) -> None:
        super().__init__("this peer has left the run")
        self.state = state


# -- Roles ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plan:
    """What is fixed when a step starts: the validators and whom each audits. Removals only delete."""

    step: int
    validators: tuple[PeerId, ...]
    targets: dict[PeerId, PeerId]
    inspectors: dict[PeerId, PeerId] = field(default_factory=dict)
    """Who recomputes which candidate's gradient of step t − 2, by candidate."""

    def workers(self, roster: Roster) -> Roster:
        """W: the peers of ``roster`` that contribute a gradient."""
        return tuple(peer for peer in roster if peer not in self.validators)


def plan_step(state: State) -> Plan:
    """Draw validators and their targets, the workers of step t − 2, from r_{t−1}. Source: STEP-2."""
    most = validator_count(len(state.roster), state.tolerated, state.config.validators)
    validators = mprng.draw_validators(state.randomness, state.step, state.roster, most)
    audited = state.transcript(state.step - 2)
    pool = [peer for peer in audited.workers if peer in state.roster] if audited else []
    targets = mprng.draw_targets(state.randomness, state.step, validators, pool)
    return Plan(state.step, validators, targets, membership.draw_inspectors(state))  # requirement: STEP-2


@dataclass(frozen=True)
class Attempt:
    """One attempt of a step: its roles and partition, and what has been agreed in it so far."""

    plan: Plan
    number: int
    roster: Roster
    workers: Roster
    bounds: tuple[slice, ...]
    radii: Float64
    part_hashes: tuple[tuple[bytes, ...], ...] = ()
    commitments: dict[PeerId, bytes] = field(default_factory=dict)
    aggregate_hashes: tuple[bytes, ...] = ()
    leaving: tuple[PeerId, ...] = ()
    """Who leaves after this step."""

    def slot(self, phase: Phase, part: int = 0) -> Slot:
        """The slot of ``phase`` in this attempt."""
        return Slot(self.plan.step, self.number, phase, part)

    def part_of(self, peer: PeerId | None) -> int | None:
        """The index of the part that ``peer`` aggregates; None for validators and observers."""
        return self.workers.index(peer) if peer in self.workers else None


def open_attempt(state: State, plan: Plan) -> Attempt:
    """Partition the vector among the workers that are left, and set their clipping radii."""
    workers, config = plan.workers(state.roster), state.config
    bounds = partition(config.dimension, len(workers))
    radii = next_radii(state.radii, bounds, config.radius_factor, config.radius_min, config.radius_max)
    return Attempt(plan, state.attempt, state.roster, workers, bounds, radii)


# -- Peers ------------------------------------------------------------------------------------


class Conduct:
    """A peer's private choices. Each method gets the honest value and returns what is used instead."""

    def memory(self) -> dict[str, Any]:
        """What of me a checkpoint must keep: by default all attributes but those that the seat gave me."""
        return {name: value for name, value in vars(self).items() if name not in ("seating", "world", "scale")}

    def gradient(self, state: State, honest: Float32) -> Float32:
        """The gradient, float32 ``[d]``, that I commit and scatter at ``state.step``."""
        return honest

    def aggregate(self, state: State, attempt: Attempt, inputs: Float32, honest: Float32) -> Float32:
        """The aggregate of ``inputs`` float32 ``[workers, m]`` for my part, float32 ``[m]``."""
        return honest

    def report(self, state: State, transcript: Transcript, honest: Float64) -> Float64:
        """My report, float64 ``[2, parts]``; ``transcript`` has no reports yet."""
        return honest

    def accusations(self, state: State, plan: Plan, honest: tuple[Accusation, ...]) -> tuple[Accusation, ...]:
        """The accusations that go into my Commit, in ascending order."""
        return honest

    def petitions(self, state: State) -> bool:
        """Whether I ask for a seat when I have none."""
        return True

    def labour(self, state: State, honest: bytes) -> bytes:
        """The hash that I commit to on probation."""
        return honest

    def leaves(self, state: State) -> bool:
        """Whether I leave in good order after this step."""
        return False

    def say(self, state: State, slot: Slot, honest: Message) -> Message:
        """My message in an agreed phase, whatever it holds."""
        return honest

    def post(self, recipient: PeerId, honest: Frame) -> Iterable[Frame | bytes]:
        """What I put on the link to ``recipient`` where an honest peer puts one frame (chapter ``broadcast``)."""
        return (honest,)


@dataclass(frozen=True)
class Peer:
    """Who runs the protocol. Without an identity it is an observer: it follows the log and sends nothing."""

    identity: Identity | None
    conduct: Conduct = field(default_factory=Conduct)
    judge: Judge = verification.judge

    @property
    def id(self) -> PeerId | None:
        """The peer id, None for an observer."""
        return self.identity.peer_id if self.identity else None

    def seal(self, state: State, slot: Slot, body: bytes, hashed_body: bytes | None = None) -> Envelope | None:
        """My signed message, None as an observer."""
        return seal(self.identity, state.run, slot, state.head, body, hashed_body) if self.identity else None


# -- The run ----------------------------------------------------------------------------------


def run(peer: Peer, state: State) -> Exchange[State]:
    """A whole run, from ``state`` to the closing record, or until this peer leaves in good order. A peer without
    a seat follows, and asks for one. Raises :class:`Expelled` if this peer must leave."""
    while state.step < state.config.steps:
        state = yield from training_step(peer, state)
        yield StepApplied(state)
        if peer.id in state.leavers:
            return state
    for _ in range(CLOSING_STEPS):
        state = yield from closing_step(peer, state)
    return (yield from close(peer, state))


@dataclass(frozen=True)
class Work:
    """What a peer brings to a step: its gradient (workers), and whom it accuses of earlier lies."""

    gradient: Float32 | None
    accusations: tuple[Accusation, ...]
    notices: Notices = NO_NOTICES
    letters: tuple[Envelope, ...] = ()


def seated(peer: Peer, state: State) -> bool:
    """Whether this peer is a member; else it only follows."""
    return peer.id in state.roster


def training_step(peer: Peer, state: State) -> Exchange[State]:
    """One step: compute once, then attempt until nobody leaves. Source: STEP-9."""
    plan = plan_step(state)
    work = yield from prepare(peer, state, plan)
    while True:
        try:
            return (yield from attempt_step(peer, state, plan, work))
        except Voided as voided:
            state, work = voided.state, Work(work.gradient, ())  # requirement: STEP-9


def prepare(peer: Peer, state: State, plan: Plan) -> Exchange[Work]:
    """Workers compute their gradient while validators audit; both look for lies about their last part."""
    gradient, notices = None, NO_NOTICES
    accusations = [Accusation(liar, state.step - 1) for liar in lies_about_my_part(peer, state)]
    target = plan.targets.get(peer.id) if peer.id else None
    transcript = state.transcript(state.step - 2)
    if state.config.tolerance:
        found, notices = yield from audit_disclosed(peer, state, plan)
        accusations.extend(found)
    elif target and transcript and (yield from verification.audit(transcript, target)):
        accusations.append(Accusation(target, state.step - 2))
    for candidate, inspector in plan.inspectors.items():
        if inspector == peer.id and transcript and not (yield from verification.inspect(transcript, candidate)):
            accusations.append(Accusation(candidate, state.step - 2))
    if peer.id in plan.workers(state.roster) and state.step < state.config.steps:
        gradient = yield from compute_gradient(peer, state)
    letters = yield from correspond(peer, state)
    chosen = peer.conduct.accusations(state, plan, tuple(sorted(accusations)))
    return Work(gradient, chosen, notices, letters)


def correspond(peer: Peer, state: State) -> Exchange[tuple[Envelope, ...]]:
    """Members collect letters; a peer without a seat writes one: its commitment if it is on probation, else a
    petition. Source: MEMB-1."""
    if peer.identity is None or state.config.tolerance or state.step >= state.config.steps:
        return ()
    if seated(peer, state):
        letters: tuple[Envelope, ...] = yield CollectLetters()
        chosen = {(letter.sender, letter.slot): letter for letter in letters if membership.useful(state, letter)}
        return tuple(chosen[place] for place in sorted(chosen))[:MAX_LETTERS]
    mine = next((candidate for candidate in state.probation if candidate.peer == peer.id), None)
    if mine is not None and mine.since <= state.step and state.replica is not None:
        seed = mprng.gradient_seed(state.run, state.randomness, state.step, peer.identity.peer_id)
        raw = yield ComputeGradient(state.replica.parameters, state.replica.state_hash, seed)
        gradient = admissible_gradient(raw, state.config.gradient_clip)
        hashed = peer.conduct.labour(state, body_hash(float32_bytes(gradient)))
        yield from write_letter(peer, state, Phase.PROBATION, hashed)
    elif mine is None and peer.conduct.petitions(state):
        yield from write_letter(peer, state, Phase.PETITION, b"")
    return ()


def write_letter(peer: Peer, state: State, phase: Phase, body: bytes) -> Exchange[None]:
    """Sign a letter and send it to the members."""
    letter = peer.seal(state, Slot(state.step, 0, phase), body)
    if letter is not None:
        yield WriteLetter(letter)


def check_replica(state: State, agreed_hash: bytes) -> None:
    """A candidate's downloaded parameters must be those that the members agree on. Source: MEMB-10."""
    if state.replica is not None and state.replica.state_hash != agreed_hash:
        raise WrongDownload("the downloaded parameters are not those that the members agree on")  # requirement: MEMB-10


def compute_gradient(peer: Peer, state: State) -> Exchange[Float32 | None]:
    """My gradient of this step: finite, of norm at most λ."""
    if peer.id is None or state.replica is None:
        return None
    seed = mprng.gradient_seed(state.run, state.randomness, state.step, peer.id)
    raw = yield ComputeGradient(state.replica.parameters, state.replica.state_hash, seed)
    return peer.conduct.gradient(state, admissible_gradient(raw, state.config.gradient_clip))


def lies_about_my_part(peer: Peer, state: State) -> list[PeerId]:
    """C1 for the part that I aggregated in the last step."""
    transcript, replica = state.transcript(state.step - 1), state.replica
    if transcript is None or replica is None or replica.inputs is None or peer.id is None:
        return []
    part = transcript.workers.index(peer.id)
    liars = verification.lying_workers(transcript, part, replica.inputs, replica.impossible)
    return [liar for liar in liars if liar in state.roster and liar != peer.id]


def attempt_step(peer: Peer, state: State, plan: Plan, work: Work) -> Exchange[State]:
    """The six phases. Raises :class:`Voided` as soon as anyone leaves. Source: STEP-3 … STEP-8."""
    attempt, gradient = open_attempt(state, plan), work.gradient
    state = with_my_gradient(peer, state, gradient)

    # Commit: bind everyone to its gradient and its share of randomness before anything is shown.
    opening = my_opening(peer, state)
    commit = commit_message(peer, state, attempt, opening, work)
    rules = CommitRules()
    state, commits = yield from agree(peer, state, attempt, commit, rules)
    check_replica(state, rules.state_hash)
    attempt = with_commits(attempt, commits)

    # Scatter and Aggregate: part j of every gradient goes to worker j, who clips and announces.
    inputs, notices, impossible = yield from scatter(peer, state, attempt, gradient)
    mine = my_aggregate(peer, state, attempt, inputs)
    announcement = aggregate_message(mine, notices)
    state, announced = yield from agree(peer, state, attempt, announcement, AggregateRules())
    attempt = with_aggregates(attempt, announced)

    # Gather and Reveal: everyone gets every aggregate; then the shares of randomness are opened.
    aggregate, notices, accusations = yield from gather(peer, state, attempt, mine)
    reveal = Reveal(opening, accusations, notices)
    state, reveals = yield from agree(peer, state, attempt, reveal, RevealRules())
    randomness = mprng.combine(message.opening for message in reveals)

    # Report: what every part did to my gradient, projected on directions that nobody could foresee.
    transcript = transcribe(state, attempt, randomness, aggregate)
    report = report_message(peer, state, transcript, gradient)
    checks = ReportRules(transcript)
    state, _ = yield from agree(peer, state, attempt, report, checks)
    return apply_step(state, checks.transcript, inputs, impossible, attempt.leaving)


def closing_step(peer: Peer, state: State) -> Exchange[State]:
    """An audit-only step: accusations about the last gradients; its randomness picks the next auditors.

    The second one ends with its Commit: nothing is left to draw. Source: STEP-10.
    """
    plan = plan_step(state)
    work = yield from prepare(peer, state, plan)
    last = state.step == state.config.steps + CLOSING_STEPS - 1
    while True:
        try:
            attempt, opening = open_attempt(state, plan), my_opening(peer, state)
            commit = commit_message(peer, state, attempt, opening, work)
            state, commits = yield from agree(peer, state, attempt, commit, CommitRules(closing=True))
            if last:
                return advance(state)
            attempt = with_commits(attempt, commits)
            state, reveals = yield from agree(peer, state, attempt, Reveal(opening), RevealRules())
            return advance(state, mprng.combine(message.opening for message in reveals))
        except Voided as voided:
            state, work = voided.state, Work(None, ())
            if last and not overdue(state):
                return advance(state)  # requirement: STEP-10


def advance(state: State, randomness: bytes | None = None) -> State:
    """The state at the start of the next step."""
    return replace(state, step=state.step + 1, attempt=0, randomness=randomness or state.randomness)


def close(peer: Peer, state: State) -> Exchange[State]:
    """Exchange signed final log heads; n_t − b_t equal ones are the closing record: more than the faulty
    peers can sign by themselves, whomever they pretend to have left at the end. Source: STEP-11."""
    slot = Slot(state.step, 0, Phase.CLOSING)
    delivery = yield from broadcast(peer, state, slot, Closing())
    agreeing = tuple(entry if entry and is_closing(entry, state.head) else None for entry in delivery.vector)
    if sum(entry is not None for entry in agreeing) < len(state.roster) - state.tolerated:
        raise ToleranceExceeded("fewer than n - b peers signed the same final log head")
    record = Record(state.records, slot, agreeing)
    yield AppendRecord(record)  # requirement: STEP-11
    return replace(state, records=state.records + 1)


def is_closing(envelope: Envelope, head: bytes) -> bool:
    """Whether ``envelope`` vouches for ``head`` as the final one."""
    return envelope.log_head == head and isinstance(envelope.message, Closing)


# -- An agreed phase ----------------------------------------------------------------------------

AnyMessage = TypeVar("AnyMessage", Commit, Aggregate, Reveal, Report)


@dataclass(frozen=True)
class Charge:
    """A trial to be held, and who asked for it; nobody if a public check did."""

    trial: Trial
    accusers: tuple[PeerId, ...] = ()


class Rules:
    """What an agreed phase asks of its messages: public violations first, then trials."""

    needs_everyone: ClassVar[bool] = False
    """Whether trials are held only if nobody has left in the phase. C2 and C3 need every report; accusations
    are tried whoever leaves."""

    def begin(self, state: State, attempt: Attempt, delivered: dict[PeerId, Message]) -> None:
        """Look at the whole vector before its entries are judged one by one."""

    def fault(self, state: State, attempt: Attempt, sender: PeerId, message: Message) -> Fault | None:
        """The public violation in ``message``, if any."""
        raise NotImplementedError

    def charges(self, state: State, attempt: Attempt, delivered: dict[PeerId, Message]) -> list[Charge]:
        """The trials that the vector calls for, in order."""
        return []

    def transcripts(self, state: State, attempt: Attempt) -> dict[int, Transcript]:
        """The attempts that a trial of this phase may be about, by step."""
        return {transcript.step: transcript for transcript in state.history}

    def settle(self, state: State, transcripts: dict[int, Transcript]) -> State:
        """The state with what the trials changed in the transcripts."""
        return replace(state, history=tuple(transcripts[past.step] for past in state.history))


def agree(
    peer: Peer, state: State, attempt: Attempt, message: AnyMessage, rules: Rules
) -> Exchange[tuple[State, list[AnyMessage]]]:
    """One agreed phase: broadcast, judge in the fixed order, record. Raises :class:`Voided` if anyone
    left, :class:`Expelled` if it was this peer. Source: BAN-1."""
    slot = attempt.slot(message.phase)
    delivery = yield from broadcast(peer, state, slot, message)
    departures = Departures(slot)
    delivered = judge_openly(state, attempt, delivery.vector, rules, departures)  # requirement: BAN-1
    if state.config.tolerance:  # requirement: TOL-5
        state = yield from write(state, slot, delivery, ())
        state = yield from try_by_vote(peer, state, attempt, delivered, rules, departures)
    else:
        state, verdicts = yield from hold_trials(peer, state, attempt, delivered, rules, departures)
        state = yield from write(state, slot, delivery, verdicts)
    settle_complaints(state, delivered, departures)
    state = hear_candidates(state, delivered, rules, departures)
    if departures.removals:
        state = remove(state, departures)
    if peer.id and (departures.out(peer.id) or departures.refused(peer.id)):
        raise Expelled(state)
    if departures.removals:
        raise Voided(state)
    return state, [delivered[sender] for sender in state.roster]  # type: ignore[misc]


def hear_candidates(state: State, delivered: dict[PeerId, Message], rules: Rules, departures: Departures) -> State:
    """Read the letters in a Commit, and strike out candidates that were convicted. Membership is closed in
    tolerance mode, where no hash of another's gradient can be recomputed. Source: MEMB-4."""
    if isinstance(rules, CommitRules) and not rules.closing and not state.config.tolerance:
        state = membership.read_letters(state, delivered, departures)
    refused = {removal.peer for removal in departures.refusals}
    return replace(
        state,
        removals=(*state.removals, *departures.refusals),
        probation=tuple(candidate for candidate in state.probation if candidate.peer not in refused),
        leavers=(),
    )


def judge_openly(
    state: State, attempt: Attempt, vector: Sequence[Envelope | None], rules: Rules, departures: Departures
) -> dict[PeerId, Message]:
    """What follows from an agreed vector without a trial; returns the readable messages by sender."""
    delivered = {e.sender: e.message for e in vector if e is not None and e.message is not None}
    rules.begin(state, attempt, delivered)
    punish_violations(state, attempt, vector, rules, departures)
    punish_echoes(state, delivered, departures)
    punish_contents(state, delivered, departures)
    return delivered


def write(state: State, slot: Slot, delivery: Delivery, verdicts: tuple[Verdict, ...]) -> Exchange[State]:
    """Append an agreed phase to the log."""
    record = Record(state.records, slot, delivery.vector, verdicts)
    yield AppendRecord(record)
    heard = Heard(slot, state.roster, digests(delivery.vector))
    head = record.head_after(state.head)
    return replace(state, head=head, records=state.records + 1, last=heard, pending=delivery.notices)


def broadcast(peer: Peer, state: State, slot: Slot, message: Message) -> Exchange[Delivery]:
    """Send ``message`` with what the channel told me to say, and get everyone's."""
    message = peer.conduct.say(state, slot, with_notices(message, state.pending))
    envelope = peer.seal(state, slot, encode(message.to_item())) if seated(peer, state) else None
    work, candidates = work_before(state, slot), tuple(candidate.peer for candidate in state.probation)
    delivery: Delivery = yield AgreedBroadcast(slot, state.roster, envelope, state.tolerated, work, candidates)
    return delivery


def with_notices(message: Message, notices: Notices) -> Message:
    """``message`` with ``notices`` beside its own; a Closing has no room for any."""
    if isinstance(message, (Closing, Echo)) or notices == NO_NOTICES:
        return message
    return replace(message, notices=message.notices.merged(notices))


def work_before(state: State, slot: Slot) -> int:
    """How many gradients' time an honest peer may need before it sends its message in ``slot``: one for
    whatever the phase computes, in a step's first Commit one for the gradient or the audit and those of its
    inspections, and those of the last trials. Source: BCAST-3."""
    opening = slot.phase is Phase.COMMIT and slot.attempt == 0
    return 1 + opening * (1 + membership.inspections(state)) + state.work  # requirement: BCAST-3


def digests(vector: Sequence[Envelope | None]) -> tuple[bytes | None, ...]:
    """What names each message of an agreed vector."""
    return tuple(None if entry is None else entry.signed_header.digest for entry in vector)


def punish_violations(
    state: State, attempt: Attempt, vector: Sequence[Envelope | None], rules: Rules, departures: Departures
) -> None:
    """Silence, public violations and evidence: what anyone can see without recomputing."""
    for sender, envelope in zip(state.roster, vector, strict=True):
        fault = public_fault(state, attempt, sender, envelope, rules)
        if fault is not None:
            departures.remove(sender, fault)
    for message in (envelope.message for envelope in vector if envelope and envelope.message):
        for proof in message.notices.evidence:
            fault = proven_fault(state, attempt, proof, message)
            if fault is not None and proof[0].sender in state.roster:
                departures.remove(proof[0].sender, fault)
            elif fault is not None and proof[0].sender in without_seat(state):
                departures.refuse(proof[0].sender, fault)


def without_seat(state: State) -> set[PeerId]:
    """Who can be convicted although it has no seat: candidates, and members that have just left."""
    return {*state.leavers, *(candidate.peer for candidate in state.probation)}


def public_fault(
    state: State, attempt: Attempt, sender: PeerId, envelope: Envelope | None, rules: Rules
) -> Fault | None:
    """The first thing wrong with one entry of the agreed vector. Source: BAN-5."""
    if envelope is None:
        return Fault.SILENT
    if envelope.message is None:
        return Fault.MALFORMED
    if envelope.log_head != state.head:
        return Fault.WRONG_LOG_HEAD  # requirement: BAN-5
    if not grounded(state, attempt, sender, envelope.message):
        return Fault.FALSE_NOTICE
    return rules.fault(state, attempt, sender, envelope.message)


def grounded(state: State, attempt: Attempt, sender: PeerId, message: Message) -> bool:
    """Whether every complaint is about a duty that existed, all evidence proves something, and all attached
    echoes are of the last agreed phase. Source: BAN-6."""
    notices = message.notices
    if notices == NO_NOTICES:
        return True
    heard = state.last.roster if state.last else ()
    owing = [peer for peer in heard if sender in heard and peer != sender]
    complaints = all(peer in owing for peer in notices.complaints)
    evidence = all(proven_fault(state, attempt, proof, message) is not None for proof in notices.evidence)
    echoes = all(is_last_echo(state, echo) for echo in notices.echoes)
    return complaints and evidence and echoes  # requirement: BAN-6


def proven_fault(state: State, attempt: Attempt, proof: Proof, message: Message) -> Fault | None:
    """What ``proof`` proves against its signer, whenever it surfaces; None if nothing. Source: BAN-7."""
    if len(proof) == 2:
        return Fault.EQUIVOCATION if equivocation(state.run, *proof) else None
    mismatch = proves_mismatch(state, attempt, proof[0], message)
    return Fault.MISMATCHED_PART if mismatch else None


def equivocation(run: bytes, first: SignedHeader, second: SignedHeader) -> bool:
    """Whether one peer signed two versions for one slot of this run."""
    if not first.run == second.run == run or first.sender != second.sender or first.slot != second.slot:
        return False
    return first.digest != second.digest and first.authentic and second.authentic


def proves_mismatch(state: State, attempt: Attempt, proof: SignedHeader, message: Message) -> bool:
    """Whether ``proof`` is a part of the exchange just ended, signed, and not what was announced. Source: BAN-7."""
    phase = Phase.SCATTER if isinstance(message, Aggregate) else Phase.GATHER
    part, author = proof.slot.part, attempt.part_of(proof.sender)
    if proof.run != state.run or proof.slot != attempt.slot(phase, part) or author is None:
        return False
    if isinstance(message, Aggregate) and part < len(attempt.workers):
        announced = attempt.part_hashes[author][part]
    elif isinstance(message, Reveal) and part == author and attempt.aggregate_hashes:
        announced = attempt.aggregate_hashes[author]
    else:
        return False
    return proof.body_hash != announced and proof.authentic  # requirement: BAN-7


def is_last_echo(state: State, echo: Envelope) -> bool:
    """Whether ``echo`` is a well-formed, signed echo of the last agreed phase by one of its peers."""
    heard = state.last
    if heard is None or echo.slot != heard.slot.echo or echo.run != state.run or echo.sender not in heard.roster:
        return False
    well_formed = isinstance(echo.message, Echo) and len(echo.message.vector) == len(heard.roster)
    return well_formed and echo.signed_header.authentic


def punish_echoes(state: State, delivered: dict[PeerId, Message], departures: Departures) -> None:
    """Whoever echoed something else than was delivered says why in the same phase in which that echo is
    shown, or is convicted: nobody forces the slow path for nothing. Source: BAN-10."""
    for message in delivered.values():
        for echo in message.notices.echoes:
            if is_last_echo(state, echo) and echo.sender in delivered and unexplained(state, echo, delivered):
                departures.remove(echo.sender, Fault.UNEXPLAINED_ECHO)  # requirement: BAN-10


def punish_contents(state: State, delivered: dict[PeerId, Message], departures: Departures) -> None:
    """An aggregator is convicted on its content if more than b_t peers say that it sent nothing usable, and
    one of them that what it sent is impossible. Source: VER-10.

    Every honest peer says so of such an aggregator: either it holds the announced content or it complains.
    """
    accused = {a.accused for m in delivered.values() if isinstance(m, Reveal) for a in m.accusations}
    for aggregator in sorted(accused):
        voices = sum(aggregator in complained_of(message) for message in delivered.values())
        if voices > state.tolerated:
            departures.remove(aggregator, Fault.IMPOSSIBLE_AGGREGATE)  # requirement: VER-10


def unexplained(state: State, echo: Envelope, delivered: dict[PeerId, Message]) -> bool:
    """Whether ``echo`` contradicts the delivery about a peer that its signer neither complains about nor
    convicts. Nothing is owed about a peer that is out, or whose message was not delivered."""
    if state.last is None or not isinstance(echo.message, Echo):
        return False
    said = delivered[echo.sender].notices
    explained = {*said.complaints, *(proof[0].sender for proof in said.evidence if len(proof) == 2)}
    return any(
        delivery is not None and heard != delivery and peer in state.roster and peer not in explained
        for peer, delivery, heard in zip(state.last.roster, state.last.digests, echo.message.vector, strict=True)
    )


def settle_complaints(state: State, delivered: dict[PeerId, Message], departures: Departures) -> None:
    """A peer that more than b_t others miss something from is absent: one of them is honest. Of any other
    complaint one cannot tell who is right: both leave, in sorted order. An accusation of an aggregate's
    content that did not convict is a complaint too. Source: BAN-3."""
    pairs = [(one, other) for one in sorted(delivered) for other in sorted(complained_of(delivered[one]))]
    voices = Counter(accused for _, accused in pairs)
    for accused in sorted(peer for peer in voices if peer in state.roster and voices[peer] > state.tolerated):
        departures.remove(accused, Fault.MISSED)  # requirement: BAN-11
    for complainer, accused in pairs:
        if accused in state.roster:
            departures.eliminate(complainer, accused)


def complained_of(message: Message) -> set[PeerId]:
    """Whom the sender of ``message`` blames for what nobody else can verify."""
    accused = [a.accused for a in message.accusations] if isinstance(message, Reveal) else []
    missed = [s.peer for s in message.statements if s.fault == Fault.UNDISCLOSED] if isinstance(message, Vote) else []
    return {*message.notices.complaints, *accused, *missed}


def hold_trials(
    peer: Peer,
    state: State,
    attempt: Attempt,
    delivered: dict[PeerId, Message],
    rules: Rules,
    departures: Departures,
) -> Exchange[tuple[State, tuple[Verdict, ...]]]:
    """Hold the trials of a phase one by one; an accused who is already out is moot. Source: BAN-8."""
    called = not (rules.needs_everyone and departures.removals)
    queue = rules.charges(state, attempt, delivered) if called else []
    transcripts, verdicts, work = rules.transcripts(state, attempt), list[Verdict](), 0
    while queue:
        charge = queue.pop(0)
        trial, past = charge.trial, transcripts[charge.trial.step]
        settled = trial.subject is Subject.AGGREGATE and trial.accused in past.settled
        here = trial.accused in state.roster or trial.accused in without_seat(state)
        gone = departures.out(trial.accused) or departures.refused(trial.accused)
        if gone or not here or settled:  # requirement: BAN-8
            continue
        verdict = yield from peer.judge(trial, past, state.config.residual_ratio)
        verdicts.append(verdict)
        work += len(past.workers) if trial.subject is Subject.AGGREGATE else 1
        punish(charge, verdict, state, departures)
        transcripts[trial.step] = learn(past, verdict)
        queue.extend(uncovered(state, transcripts[trial.step], verdict))
    return replace(rules.settle(state, transcripts), work=work), tuple(verdicts)


def punish(charge: Charge, verdict: Verdict, state: State, departures: Departures) -> None:
    """Guilty: banned, unless out already. Acquitted: every accuser is banned. Source: BAN-9."""
    for finding in verdict.findings:  # a trial of an earlier step also judges workers who have left since
        if finding.peer in state.roster:
            departures.remove(finding.peer, finding.fault)
        elif finding.peer in without_seat(state):
            departures.refuse(finding.peer, finding.fault)
    if not verdict.findings:
        for accuser in charge.accusers:
            departures.remove(accuser, Fault.FALSE_ACCUSATION)  # requirement: BAN-9


def learn(past: Transcript, verdict: Verdict) -> Transcript:
    """The transcript after a verdict: false reports replaced by true ones, a tried part settled."""
    for finding in verdict.findings:
        if finding.correction:
            past = verification.corrected(past, finding)
    if verdict.trial.subject is Subject.AGGREGATE:
        past = replace(past, settled=past.settled | {verdict.trial.accused})
    return past


def uncovered(state: State, past: Transcript, verdict: Verdict) -> list[Charge]:
    """After a conviction for a false report: parts that fail C2 or C3 now that the truth is known. Source: VER-11."""
    if not any(finding.correction for finding in verdict.findings):
        return []
    failing = verification.failing_parts(past, state.config)
    return [Charge(Trial(past.step, past.workers[part], Subject.AGGREGATE)) for part in failing]


def remove(state: State, departures: Departures) -> State:
    """The state from which the void attempt is retried. Source: STEP-9."""
    removals = tuple(departures.removals)
    return replace(
        state,
        roster=remaining_roster(state.roster, removals),
        tolerated=remaining_tolerance(state.tolerated, removals),
        attempt=state.attempt + 1,
        removals=state.removals + removals,
        retries=state.retries + 1,
    )


# -- Commit -------------------------------------------------------------------------------------


def my_opening(peer: Peer, state: State) -> bytes:
    """What I commit to in this attempt; zeros for an observer, who sends nothing."""
    if peer.identity is None:
        return bytes(64)
    return mprng.private_opening(peer.identity.seed, state.run, state.step, state.attempt)


def commit_message(peer: Peer, state: State, attempt: Attempt, opening: bytes, work: Work) -> Commit:
    """Hashes of my parts, my MPRNG commitment, my state hash, my accusations. Source: STEP-3."""
    hashes = () if work.gradient is None else verification.part_hashes(work.gradient, attempt.bounds)
    commitment = mprng.commitment(state.run, state.step, state.attempt, peer.id or b"", opening)
    replica_hash = state.replica.state_hash if state.replica else bytes(32)
    leaving = not state.config.tolerance and peer.conduct.leaves(state)
    return Commit(hashes, commitment, replica_hash, work.accusations, work.letters, leaving, work.notices)


class CommitRules(Rules):
    """Commit: the right number of hashes, the majority's state hash, accusations that one may make."""

    def __init__(self, closing: bool = False) -> None:
        self.closing = closing
        self.state_hash = b""

    def begin(self, state: State, attempt: Attempt, delivered: dict[PeerId, Message]) -> None:
        """Find the state hash that a strict majority of the roster announces. Source: STEP-4."""
        announced = Counter(m.state_hash for m in delivered.values() if isinstance(m, Commit))
        leader, votes = announced.most_common(1)[0] if announced else (b"", 0)
        if 2 * votes <= len(state.roster):
            raise ToleranceExceeded("no strict majority of the roster announced the same state hash")
        self.state_hash = leader

    def fault(self, state: State, attempt: Attempt, sender: PeerId, message: Message) -> Fault | None:
        """STEP-3 and STEP-4."""
        if not isinstance(message, Commit):
            return Fault.MALFORMED
        works = sender in attempt.workers and not self.closing
        if len(message.part_hashes) != (len(attempt.workers) if works else 0):
            return Fault.MALFORMED  # requirement: STEP-3
        if not all(may_accuse(state, attempt, sender, accusation) for accusation in message.accusations):
            return Fault.FALSE_NOTICE
        if not all(membership.is_letter(letter, state.run) for letter in message.letters):
            return Fault.FALSE_NOTICE
        if message.state_hash != self.state_hash:
            return Fault.DIVERGED  # requirement: STEP-4
        return None

    def charges(self, state: State, attempt: Attempt, delivered: dict[PeerId, Message]) -> list[Charge]:
        """One trial per accused and step, by step, then by id; then one per step of whoever has just left."""
        accusers = accusers_of(delivered, partial(may_accuse, state, attempt))
        ordered = sorted(accusers, key=lambda accusation: (accusation.step, accusation.accused))
        charges = [Charge(Trial(a.step, a.accused, subject_of(state, a)), accusers[a]) for a in ordered]
        exams = [
            Charge(Trial(past.step, leaver, Subject.WORKER))
            for leaver in state.leavers
            for past in state.history
            if leaver in past.workers
        ]  # requirement: MEMB-9
        known = {charge.trial for charge in charges}
        more = [charge for charge in undisclosed(state, attempt, delivered) + exams if charge.trial not in known]
        return charges + more + overdue(state)


def subject_of(state: State, accusation: Accusation) -> Subject:
    """Whether a member or a candidate is accused."""
    past = state.transcript(accusation.step)
    return Subject.WORKER if past and accusation.accused in past.workers else Subject.CANDIDATE


def accusers_of(
    delivered: dict[PeerId, Message], may: Callable[[PeerId, Accusation], bool]
) -> dict[Accusation, tuple[PeerId, ...]]:
    """The accusations that their senders ``may`` make, each with everyone who makes it, by id."""
    accusers: dict[Accusation, tuple[PeerId, ...]] = {}
    for sender in sorted(delivered):
        message = delivered[sender]
        for accusation in message.accusations if isinstance(message, Commit) else ():
            if may(sender, accusation):
                accusers[accusation] = (*accusers.get(accusation, ()), sender)
    return accusers


def may_accuse(state: State, attempt: Attempt, sender: PeerId, accusation: Accusation) -> bool:
    """C1 accusations come from aggregators about step t − 1, C4 accusations from validators about their
    target in step t − 2, both in the first attempt only. Source: VER-6."""
    accused, step = accusation
    past = state.transcript(step)
    if attempt.number > 0 or past is None or accused == sender:
        return False
    if accused in attempt.plan.inspectors and step == state.step - 2:
        return attempt.plan.inspectors[accused] == sender
    if accused not in past.workers:
        return False
    if step == state.step - 1:
        return sender in past.workers
    return attempt.plan.targets.get(sender) == accused  # requirement: VER-6


def with_commits(attempt: Attempt, commits: Iterable[Commit]) -> Attempt:
    """The attempt after Commit."""
    by_peer = dict(zip(attempt.roster, commits, strict=True))
    hashes = tuple(by_peer[worker].part_hashes for worker in attempt.workers)
    commitments = {peer: commit.commitment for peer, commit in by_peer.items()}
    leaving = tuple(peer for peer, commit in by_peer.items() if commit.leaving)
    return replace(attempt, part_hashes=hashes, commitments=commitments, leaving=leaving)


# -- Scatter and Aggregate ------------------------------------------------------------------------


def scatter(
    peer: Peer, state: State, attempt: Attempt, gradient: Float32 | None
) -> Exchange[tuple[Float32 | None, Notices, tuple[PeerId, ...]]]:
    """Send part j to worker j; collect mine. Returns the inputs float32 ``[workers, m]`` (None if I do
    not aggregate), what to complain about, and whose content was impossible. Source: STEP-5."""
    part, work = attempt.part_of(peer.id), work_before(state, attempt.slot(Phase.SCATTER))
    if part is None or gradient is None:
        yield Scatter(attempt.slot(Phase.SCATTER), attempt.workers, (), (), work)
        return None, Notices(), ()
    mine = attempt.part_hashes[part]
    envelopes = tuple(
        None
        if to == part
        else peer.seal(state, attempt.slot(Phase.SCATTER, to), float32_bytes(gradient[bound]), mine[to])
        for to, bound in enumerate(attempt.bounds)
    )
    announced = tuple(hashes[part] for hashes in attempt.part_hashes)
    slot = attempt.slot(Phase.SCATTER, part)
    received: Sequence[Envelope | None] = yield Scatter(slot, attempt.workers, envelopes, announced, work)
    contents, notices = matching(peer, attempt, received, announced)
    contents[attempt.workers[part]] = float32_bytes(gradient[attempt.bounds[part]])
    bound = attempt.bounds[part]
    inputs, possible = verification.possible_parts(
        [contents.get(worker, b"") for worker in attempt.workers], bound.stop - bound.start, state.config.gradient_clip
    )
    impossible = tuple(worker for worker, fits in zip(attempt.workers, possible, strict=True) if not fits)
    return inputs, notices, impossible


def matching(
    peer: Peer, attempt: Attempt, received: Sequence[Envelope | None], announced: Sequence[bytes]
) -> tuple[dict[PeerId, bytes], Notices]:
    """Sort what workers sent me: content that matches its announced hash, evidence, complaints. Source: STEP-6."""
    contents: dict[PeerId, bytes] = {}
    complaints, evidence = [], []
    for worker, envelope, expected in zip(attempt.workers, received, announced, strict=True):
        if worker == peer.id:
            continue
        if envelope is None:
            complaints.append(worker)
        elif envelope.signed_header.body_hash != expected:
            evidence.append((envelope.signed_header,))
        else:
            contents[worker] = envelope.body
    return contents, Notices(tuple(complaints), tuple(evidence))  # requirement: STEP-6


def my_aggregate(peer: Peer, state: State, attempt: Attempt, inputs: Float32 | None) -> Float32 | None:
    """CenteredClip of what I received, float32 ``[m]``; None if I do not aggregate."""
    part = attempt.part_of(peer.id)
    if inputs is None or part is None:
        return None
    radius = float(attempt.radii[part])
    honest = centered_clip(inputs, radius, state.config.residual_ratio * radius)
    return peer.conduct.aggregate(state, attempt, inputs, honest)


def aggregate_message(mine: Float32 | None, notices: Notices) -> Aggregate:
    """The hash of my part, or None with the reason."""
    missing = mine is None or notices.complaints or notices.evidence
    return Aggregate(None if missing or mine is None else body_hash(float32_bytes(mine)), notices)


def hindered(state: State, notices: Notices) -> bool:
    """Whether ``notices`` name a peer that is still here: then someone leaves, and the attempt is void anyway."""
    named = {*notices.complaints, *(proof[0].sender for proof in notices.evidence)}
    return not named.isdisjoint(state.roster)


class AggregateRules(Rules):
    """Aggregate: workers announce a hash or say what is missing; validators announce nothing."""

    def fault(self, state: State, attempt: Attempt, sender: PeerId, message: Message) -> Fault | None:
        """STEP-7."""
        if not isinstance(message, Aggregate):
            return Fault.MALFORMED
        works, nothing = sender in attempt.workers, message.aggregate_hash is None
        if nothing != (not works) and not (nothing and hindered(state, message.notices)):
            return Fault.MALFORMED  # requirement: STEP-7
        return None


def with_aggregates(attempt: Attempt, announced: Iterable[Aggregate]) -> Attempt:
    """The attempt after Aggregate."""
    by_peer = dict(zip(attempt.roster, announced, strict=True))
    hashes = tuple(by_peer[worker].aggregate_hash or b"" for worker in attempt.workers)
    return replace(attempt, aggregate_hashes=hashes)


# -- Gather and Reveal ----------------------------------------------------------------------------


def gather(
    peer: Peer, state: State, attempt: Attempt, mine: Float32 | None
) -> Exchange[tuple[Float32 | None, Notices, tuple[Accusation, ...]]]:
    """Send my aggregate to everyone; collect all. Returns ĝ float32 ``[d]``, notices, accusations. Source: STEP-6."""
    part = attempt.part_of(peer.id)
    slot = attempt.slot(Phase.GATHER, part or 0)
    envelope = None if mine is None else peer.seal(state, slot, float32_bytes(mine))
    work = work_before(state, slot)
    request = Gather(slot, attempt.workers, envelope, attempt.aggregate_hashes, work)
    received: Sequence[Envelope | None] = yield request
    if not seated(peer, state):
        return (yield from fetch_aggregate(state, attempt)), Notices(), ()
    contents, notices = matching(peer, attempt, received, attempt.aggregate_hashes)
    aggregate = np.zeros(state.config.dimension, dtype=np.float32)
    accusations = []
    if mine is not None and part is not None:
        aggregate[attempt.bounds[part]] = mine
    for worker, content in contents.items():
        bound = attempt.bounds[attempt.workers.index(worker)]
        if verification.possible_aggregate(content, bound.stop - bound.start):
            aggregate[bound] = float32_vector(content)
        else:
            accusations.append(Accusation(worker, state.step))
    return aggregate, notices, tuple(accusations)


def fetch_aggregate(state: State, attempt: Attempt) -> Exchange[Float32 | None]:
    """ĝ for an observer with a replica, from contents kept by hash; None without one."""
    if state.replica is None:
        return None
    aggregate = np.zeros(state.config.dimension, dtype=np.float32)
    for bound, content_hash in zip(attempt.bounds, attempt.aggregate_hashes, strict=True):
        content: bytes = yield FetchContent(content_hash)
        if not verification.possible_aggregate(content, bound.stop - bound.start):
            return None
        aggregate[bound] = float32_vector(content)
    return aggregate


class RevealRules(Rules):
    """Reveal: openings that match their commitments; accusations of impossible aggregates."""

    def fault(self, state: State, attempt: Attempt, sender: PeerId, message: Message) -> Fault | None:
        """MPRNG-3."""
        if not isinstance(message, Reveal):
            return Fault.MALFORMED
        bound = mprng.commitment(state.run, state.step, state.attempt, sender, message.opening)
        if bound != attempt.commitments[sender]:
            return Fault.WRONG_OPENING  # requirement: MPRNG-3
        if not all(accuses_aggregate(attempt, sender, accusation) for accusation in message.accusations):
            return Fault.FALSE_NOTICE
        return None


def accuses_aggregate(attempt: Attempt, sender: PeerId, accusation: Accusation) -> bool:
    """Whether ``accusation`` is about another worker's aggregate in this very attempt. Source: VER-10."""
    accused, step = accusation
    announced = bool(attempt.aggregate_hashes)
    return announced and step == attempt.plan.step and accused in attempt.workers and accused != sender


# -- Report ---------------------------------------------------------------------------------------


def transcribe(state: State, attempt: Attempt, randomness: bytes, aggregate: Float32 | None) -> Transcript:
    """The attempt as it stands before its reports."""
    size, replica = len(attempt.workers), state.replica
    return Transcript(
        run=state.run,
        step=state.step,
        tolerated=state.tolerated,
        gradient_clip=state.config.gradient_clip,
        seed_randomness=state.randomness,
        randomness=randomness,
        workers=attempt.workers,
        dimension=state.config.dimension,
        radii=attempt.radii,
        part_hashes=attempt.part_hashes,
        aggregate_hashes=attempt.aggregate_hashes,
        reports=np.zeros((size, 2, size)),
        parameters=replica.parameters if replica else None,
        state_hash=replica.state_hash if replica else b"",
        aggregate=aggregate,
    )


def report_message(peer: Peer, state: State, transcript: Transcript, gradient: Float32 | None) -> Report:
    """My report as a worker; an empty one as a validator or observer."""
    if gradient is None or transcript.aggregate is None:
        return Report(b"", b"")
    honest = verification.report_of(transcript, gradient)
    return Report.of(*peer.conduct.report(state, transcript, honest))


class ReportRules(Rules):
    """Report: numbers that some gradient produces; then C2 and C3 for every part."""

    needs_everyone = True

    def __init__(self, transcript: Transcript) -> None:
        self.transcript = transcript

    def fault(self, state: State, attempt: Attempt, sender: PeerId, message: Message) -> Fault | None:
        """VER-2; validators report nothing."""
        if not isinstance(message, Report):
            return Fault.MALFORMED
        if sender not in attempt.workers:
            return None if not message.norms else Fault.MALFORMED  # requirement: STEP-12
        return None if verification.possible_report(self.transcript, message) else Fault.IMPOSSIBLE_REPORT

    def charges(self, state: State, attempt: Attempt, delivered: dict[PeerId, Message]) -> list[Charge]:
        """A trial of every aggregator whose part fails C2 or C3, by part."""
        reports = [message.matrix() for peer in attempt.workers if isinstance(message := delivered[peer], Report)]
        self.transcript = replace(self.transcript, reports=np.stack(reports))
        failing = verification.failing_parts(self.transcript, state.config)
        return [Charge(Trial(state.step, attempt.workers[part], Subject.AGGREGATE)) for part in failing]

    def transcripts(self, state: State, attempt: Attempt) -> dict[int, Transcript]:
        """Only this attempt is tried here."""
        return {state.step: self.transcript}

    def settle(self, state: State, transcripts: dict[int, Transcript]) -> State:
        """Keep the transcript; it enters the history when the attempt is applied."""
        self.transcript = transcripts[state.step]
        return state


# -- Applying -------------------------------------------------------------------------------------


def apply_step(
    state: State,
    transcript: Transcript,
    inputs: Float32 | None,
    impossible: tuple[PeerId, ...],
    leaving: tuple[PeerId, ...],
) -> State:
    """The canonical update, the radii for the next step, the transcript for the audits to come, and the seats
    that are given back and taken. Source: STEP-8."""
    medians = lower_median(transcript.reports[:, 1, :].T)
    replica = state.replica
    if replica is not None and transcript.aggregate is not None:
        optimizer = described_optimizer(state.config.optimizer)
        parameters, moments = apply(optimizer, replica.parameters, transcript.aggregate, replica.optimizer)
        replica = Replica(parameters, moments, state_hash(parameters, moments), inputs, impossible)
    state = membership.end_of_step(state, leaving)
    recent = tuple(past for past in state.history if past.step == state.step - 1)
    applied = replace(
        state,
        radii=Radii(transcript.bounds, transcript.radii, medians),
        history=(*recent, transcript),
        replica=replica,
    )
    return advance(applied, transcript.randomness)  # requirement: STEP-8


# -- Tolerance mode ---------------------------------------------------------------------------------

TRIAL_PHASES = {
    Phase.COMMIT: (Phase.COMMIT_TRIAL, Phase.COMMIT_VOTE),
    Phase.REPORT: (Phase.REPORT_TRIAL, Phase.REPORT_VOTE),
}
"""Where the trials of an agreed phase are held: the exchange of disclosures, and the vote."""


def with_my_gradient(peer: Peer, state: State, gradient: Float32 | None) -> State:
    """Keep what I commit in this step for as long as somebody may ask for it. Source: TOL-3."""
    if not state.config.tolerance or peer.id is None:
        return state
    shown = {suspect: body for suspect, body in state.shown.items() if suspect[0] >= state.step - 2}
    mine = {} if gradient is None else {(state.step, peer.id): float32_bytes(gradient)}
    return replace(state, shown={**shown, **mine})


def disclose(
    peer: Peer, state: State, slot: Slot, duties: tuple[Duty, ...]
) -> Exchange[dict[tolerance.Suspect, bytes]]:
    """Send the gradients that I owe, and collect those owed to me, by step and worker."""
    suspects = [(duty.slot.step - duty.slot.part, duty.sender) for duty in duties]
    envelopes = tuple(
        peer.seal(state, duty.slot, state.shown[suspect]) if duty.sender == peer.id and suspect in state.shown else None
        for duty, suspect in zip(duties, suspects, strict=True)
    )
    answer: Sequence[Envelope | None] = yield Disclose(slot, duties, envelopes)
    return {suspect: envelope.body for suspect, envelope in zip(suspects, answer, strict=False) if envelope}


def audit_disclosed(peer: Peer, state: State, plan: Plan) -> Exchange[tuple[list[Accusation], Notices]]:
    """C4 in tolerance mode: every target discloses its gradient to its validator, who accuses if it is too far
    off, and complains if it is not what was committed. Source: TOL-3, TOL-4."""
    past, slot = state.transcript(state.step - 2), Slot(state.step, 0, Phase.AUDIT)
    duties = tuple(Duty(plan.targets[v], slot._replace(part=2), (v,)) for v in sorted(plan.targets))
    if past is None or not duties:
        return [], NO_NOTICES
    bodies = yield from disclose(peer, state, slot, duties)
    target = plan.targets.get(peer.id) if peer.id else None
    if target is None:
        return [], NO_NOTICES
    committed = tolerance.committed_gradient(past, target, bodies.get((past.step, target), b""))
    if committed is None:
        return [], Notices((target,))
    own = yield from verification.recompute_gradient(past, target)
    bound = tolerance.accusation_bound(state.config)
    finding = tolerance.examine(past, target, committed, own, bound, state.config.radius_min)
    return [Accusation(target, past.step)] if finding else [], NO_NOTICES  # requirement: TOL-4


def undisclosed(state: State, attempt: Attempt, delivered: dict[PeerId, Message]) -> list[Charge]:
    """Tolerance mode: trials of targets that a validator complains about: who hides a cheat from its validator
    is convicted alone. Acquitted or not judged, it leaves with its validator. Source: TOL-13."""
    past = state.transcript(state.step - 2)
    if not state.config.tolerance or attempt.number > 0 or past is None:
        return []
    targets = attempt.plan.targets
    missed = [targets[v] for v in sorted(targets) if v in delivered and targets[v] in delivered[v].notices.complaints]
    return [Charge(Trial(past.step, target, Subject.WORKER)) for target in missed]  # requirement: TOL-13


def overdue(state: State) -> list[Charge]:
    """Tolerance mode: trials of aggregators whose parts fail since a report was corrected. Source: TOL-12."""
    if not state.config.tolerance:
        return []
    failing = [(past, part) for past in state.history for part in verification.failing_parts(past, state.config)]
    trials = [Trial(past.step, past.workers[part], Subject.AGGREGATE) for past, part in failing]
    return [Charge(trial) for trial in trials if trial.accused in state.roster]  # requirement: TOL-12


def try_by_vote(
    peer: Peer,
    state: State,
    attempt: Attempt,
    delivered: dict[PeerId, Message],
    rules: Rules,
    departures: Departures,
) -> Exchange[State]:
    """Hold the trials of a phase, all at once: the suspects disclose what they committed, everyone who is still
    here examines it, and a strict majority of an agreed vote decides. Source: TOL-6 … TOL-11."""
    called = not (rules.needs_everyone and departures.removals)
    charges = [
        charge
        for charge in (rules.charges(state, attempt, delivered) if called else [])
        if charge.trial.accused in state.roster and not departures.out(charge.trial.accused)
    ]
    transcripts = rules.transcripts(state, attempt)
    if not charges:
        return replace(rules.settle(state, transcripts), work=0)
    if peer.id and departures.out(peer.id):
        raise Expelled(remove(state, departures))
    court = replace(
        state,
        roster=remaining_roster(state.roster, departures.removals),
        tolerated=remaining_tolerance(state.tolerated, departures.removals),
    )  # requirement: TOL-6
    trials = [charge.trial for charge in charges]
    suspects = tolerance.suspects(trials, transcripts)
    trial_phase, vote_phase = TRIAL_PHASES[departures.slot.phase]
    court = yield from show_suspects(peer, court, attempt.slot(trial_phase), suspects)
    mine = yield from cast_vote(peer, court, trials, transcripts)
    slot, court = attempt.slot(vote_phase), replace(court, work=len(suspects))
    delivery = yield from broadcast(peer, court, slot, mine)
    votes = judge_openly(court, attempt, delivery.vector, VoteRules(trials, transcripts), departures)
    ballots, voters = [vote for vote in votes.values() if isinstance(vote, Vote)], len(court.roster)
    verdicts = tuple(tolerance.verdict_of(t, transcripts, ballots, voters, court.tolerated) for t in trials)
    court = yield from write(court, slot, delivery, verdicts)
    for charge, verdict in zip(charges, verdicts, strict=True):
        punish(charge, verdict, state, departures)
        transcripts[verdict.trial.step] = learn(transcripts[verdict.trial.step], verdict)
    settle_complaints(court, votes, departures)  # requirement: TOL-7
    return rules.settle(replace(court, roster=state.roster, tolerated=state.tolerated, work=0), transcripts)


def show_suspects(peer: Peer, court: State, slot: Slot, suspects: Sequence[tolerance.Suspect]) -> Exchange[State]:
    """Everyone whose gradient is looked at, and who is still here, discloses it to all. Source: TOL-7."""
    duties = tuple(
        Duty(worker, slot._replace(part=slot.step - step), court.roster)
        for step, worker in suspects
        if worker in court.roster
    )
    bodies = yield from disclose(peer, court, slot, duties)
    fresh = {suspect: body for suspect, body in bodies.items() if suspect[1] != peer.id}
    return replace(court, shown={**court.shown, **fresh})


def cast_vote(
    peer: Peer, court: State, trials: Sequence[Trial], transcripts: Mapping[int, Transcript]
) -> Exchange[Vote]:
    """What I find when I recompute every suspect's gradient in my own determinism class. Source: TOL-8."""
    if peer.id is None:
        return Vote()
    committed: dict[tolerance.Suspect, Float32] = {}
    findings: list[tuple[int, Finding]] = []
    bound, floor = tolerance.conviction_bound(court.config), court.config.radius_min
    for step, worker in tolerance.suspects(trials, transcripts):
        past = transcripts[step]
        gradient = tolerance.committed_gradient(past, worker, court.shown.get((step, worker), b""))
        if gradient is not None:
            committed[step, worker] = gradient
        if worker == peer.id or (gradient is None and worker not in court.roster):
            continue
        if gradient is None:
            findings.append((step, Finding(worker, Fault.UNDISCLOSED)))
            continue
        own = yield from verification.recompute_gradient(past, worker)
        finding = tolerance.examine(past, worker, gradient, own, bound, floor)
        findings.extend([(step, finding)] if finding else [])
    for trial in trials:
        past = transcripts[trial.step]
        inputs = [committed[trial.step, worker] for worker in past.workers if (trial.step, worker) in committed]
        if trial.subject is Subject.AGGREGATE and len(inputs) == len(past.workers):
            finding = tolerance.examine_aggregate(past, trial.accused, inputs, court.config.residual_ratio)
            findings.extend([(trial.step, finding)] if finding else [])
    return tolerance.vote_of(findings)


class VoteRules(Rules):
    """A vote: statements about the trials of the phase just ended, as an honest judge could make them."""

    def __init__(self, trials: Sequence[Trial], transcripts: Mapping[int, Transcript]) -> None:
        self.trials, self.transcripts_tried = trials, transcripts

    def fault(self, state: State, attempt: Attempt, sender: PeerId, message: Message) -> Fault | None:
        """TOL-9."""
        fits = isinstance(message, Vote) and tolerance.well_founded(
            message, sender, self.trials, self.transcripts_tried, state.roster
        )
        return None if fits else Fault.MALFORMED
