"""What follows from the messages of an agreed phase: public faults, complaints, trials (chapter ``bans``)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from btard.protocol import verification
from btard.protocol.bans import Departures, Fault
from btard.protocol.channel import Exchange
from btard.protocol.log import Subject, Trial, Verdict
from btard.protocol.messages import (
    NO_NOTICES,
    Aggregate,
    Echo,
    Envelope,
    Message,
    Proof,
    Reveal,
    SignedHeader,
    Vote,
)
from btard.protocol.model import PeerId
from btard.protocol.state import Attempt, Peer, State
from btard.protocol.verification import Transcript


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
    hears_letters: bool = False
    """Whether the messages may bring letters of candidates."""

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


# -- Without a trial -------------------------------------------------------------------------------


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
    profile = verification.profile_of(state.config)
    phase = profile.scatter if isinstance(message, Aggregate) else profile.gather
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


def settle_complaints(state: State, delivered: dict[PeerId, Message], departures: Departures) -> None:
    """A peer that more than b_t others miss something from is absent: one of them is honest. Of any other
    complaint one cannot tell who is right: both leave, in sorted order. An accusation of an aggregate's
    content that did not convict is a complaint too. Source: BAN-3."""
    pairs = [(one, other) for one in sorted(delivered) for other in sorted(complained_of(delivered[one]))]
    voices = Counter(accused for _, accused in pairs)
    for accused in sorted(peer for peer in voices if voices[peer] > state.tolerated):
        if accused in state.roster:
            departures.remove(accused, Fault.MISSED)  # requirement: BAN-11
        elif accused in state.leavers:
            departures.refuse(accused, Fault.MISSED)  # requirement: BAN-12
    for complainer, accused in pairs:
        if accused in state.roster:
            departures.eliminate(complainer, accused)


def complained_of(message: Message) -> set[PeerId]:
    """Whom the sender of ``message`` blames for what nobody else can verify."""
    accused = [a.accused for a in message.accusations] if isinstance(message, Reveal) else []
    missed = [s.peer for s in message.statements if s.fault == Fault.UNDISCLOSED] if isinstance(message, Vote) else []
    return {*message.notices.complaints, *accused, *missed}


# -- Trials ----------------------------------------------------------------------------------------


def hold_trials(
    peer: Peer,
    state: State,
    attempt: Attempt,
    delivered: dict[PeerId, Message],
    rules: Rules,
    departures: Departures,
) -> Exchange[tuple[State, tuple[Verdict, ...]]]:
    """Hold the trials of a phase one by one; an accused who is out for good is moot. Source: BAN-8."""
    queue = called(state, attempt, delivered, rules, departures)
    transcripts, verdicts, work = rules.transcripts(state, attempt), list[Verdict](), 0
    while queue:
        charge = queue.pop(0)
        trial, past = charge.trial, transcripts[charge.trial.step]
        settled = trial.subject is Subject.AGGREGATE and trial.accused in past.settled
        here = trial.accused in state.roster or trial.accused in without_seat(state)
        gone = departures.convicted(trial.accused) or departures.refused(trial.accused)
        if gone or not here or settled:  # requirement: BAN-8
            continue
        verdict = yield from peer.judge(trial, past, state.config.residual_ratio)
        verdicts.append(verdict)
        work += verification.distinct_gradients(past) if trial.subject is Subject.AGGREGATE else 1
        punish(charge, verdict, state, departures)
        transcripts[trial.step] = learn(past, verdict)
        queue.extend(uncovered(state, transcripts[trial.step], verdict))
    return replace(rules.settle(state, transcripts), work=work), tuple(verdicts)


def called(
    state: State, attempt: Attempt, delivered: dict[PeerId, Message], rules: Rules, departures: Departures
) -> list[Charge]:
    """The trials that a phase calls for, as far as they can be held although somebody has left."""
    return [] if rules.needs_everyone and departures.removals else rules.charges(state, attempt, delivered)


def punish(charge: Charge, verdict: Verdict, state: State, departures: Departures) -> None:
    """Guilty: banned; its key is refused if it fell silent in this phase, or has no seat. Acquitted: every accuser is
    banned. Source: BAN-9."""
    for finding in verdict.findings:  # a trial of an earlier step also judges workers who have left since
        seated = finding.peer in state.roster
        if seated and not departures.out(finding.peer):
            departures.remove(finding.peer, finding.fault)
        elif departures.absent(finding.peer) or (not seated and finding.peer in without_seat(state)):
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
