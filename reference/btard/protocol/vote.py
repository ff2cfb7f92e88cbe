"""Tolerance mode: audits of disclosed gradients, and trials by an agreed vote (chapter ``tolerance``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from btard.protocol import tolerance, verification
from btard.protocol.agreed import broadcast, disclose, write
from btard.protocol.arithmetic import Float32, float32_bytes
from btard.protocol.bans import Departures, Fault, remaining_roster, remaining_tolerance
from btard.protocol.channel import Duty, Exchange
from btard.protocol.judging import Charge, Rules, called, judge_openly, learn, punish, settle_complaints
from btard.protocol.log import Finding, Subject, Trial
from btard.protocol.messages import NO_NOTICES, Accusation, Message, Notices, Phase, Slot, Vote
from btard.protocol.model import PeerId
from btard.protocol.state import Attempt, Expelled, Peer, Plan, State, remove
from btard.protocol.verification import Transcript

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
    charges = [
        charge
        for charge in called(state, attempt, delivered, rules, departures)
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
