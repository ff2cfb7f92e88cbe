"""Properties: what must hold after every step of a run, whatever the attackers do (``PROP-1`` to
``PROP-13`` in the specification's guide).

They are stated from outside, with the knowledge of the whole run that no peer has: true gradients, who is honest, and
what the attackers really did. None of them asks the code under test for its opinion; where a formula of the protocol
is needed, it is the one of the unaltered reference (checks run outside a variant).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from btard.conformance.audit import Auditor, Recomputation, UnclosedLog
from btard.network.simulator import Seat
from btard.protocol.arithmetic import Float32, Float64, admissible_gradient, float32_bytes, norm
from btard.protocol.bans import Departure, remaining_roster, remaining_tolerance
from btard.protocol.butterfly_clip import distance_bound, residual
from btard.protocol.log import Record, Subject
from btard.protocol.majority_vote import pack_signs, unpack_signs
from btard.protocol.membership import probation_length
from btard.protocol.messages import Phase, Reveal, body_hash
from btard.protocol.model import BTARD, MAJORITY_VOTE, REDUNDANT_CODE, PeerId, ProtocolError, validator_count
from btard.protocol.mprng import combine, draw_validators
from btard.protocol.redundant_code import AGGREGATE_ERROR
from btard.protocol.state import Plan, State, plan_step
from btard.protocol.step import CLOSING_STEPS
from btard.protocol.verification import Transcript, failing_parts, profile_of, report_of

from btard_adversary.deeds import AFTER, AT_ONCE, NEXT, Deed
from btard_adversary.swarm import DELAY, GRADIENT_TIME, Swarm, Violation

SAFETY, FRAMING, LIVENESS, ACCOUNTABILITY = "safety", "no framing", "liveness", "accountability"
"""The sides of a verdict."""

PHASES, PHASES_OF_VOTERS = 6, 11
"""Phases of an attempt; with a tolerance, in which there are disclosures and votes."""
FAST_DELAYS, ROUND_DELAYS = 14, 4
"""Most delays of a phase: waiting for messages and echoes and fetching what was decided, and one round of the fallback
for each faulty peer (chapter ``broadcast``)."""
GRADIENTS = 8
"""Gradients that an attempt may wait for beside one for every peer that stands trial."""


@dataclass
class Watch:
    """The properties of one run; it remembers what they need of earlier steps."""

    swarm: Swarm
    applied: dict[int, Transcript] = field(default_factory=dict)
    """The applied attempts by step, as they were when they were applied."""
    liars: dict[int, set[PeerId]] = field(default_factory=dict)
    """Attackers whose commitments or reports of a step are not true, by step."""
    deeds: list[Deed] = field(default_factory=list)
    """Deeds that are still to be paid for."""
    shares: set[bytes] = field(default_factory=set)
    """What honest members have opened."""
    seen: int = 0
    """Records looked at so far."""
    served: Counter[PeerId] = field(default_factory=Counter)
    """How many steps each candidate has been on probation."""
    least: int = 1 << 30
    """The shortest probation that a roster of this run has asked for."""
    last: State | None = None
    reach: float = 0.0
    """The largest distance of an applied part from the honest mean, in units of the bound on it (PROP-5)."""

    @property
    def coalition(self) -> frozenset[PeerId]:
        """The attackers, and the keys that they have brought."""
        return self.swarm.world.coalition | self.swarm.brought

    def after_step(self) -> None:
        """Check everything. Raises :class:`Violation` for the first property that does not hold."""
        members = self.swarm.members
        if not members:
            raise Violation("PROP-3", SAFETY, "no honest peer is left in the run")
        now = members[0].state
        try:
            for check in CHECKS:
                check(self, now)
            self.remember(now)
        except (ArithmeticError, LookupError, ValueError) as error:
            what = f"the agreed state makes no sense: {type(error).__name__}: {error}"
            raise Violation("PROP-3", SAFETY, what) from error

    def remember(self, now: State) -> None:
        """Keep what later steps are judged by."""
        for past in now.history:
            if past.step not in self.applied:
                self.applied[past.step] = past
                self.liars[past.step] = liars_of(self, past)
        self.served.update(candidate.peer for candidate in now.probation)
        self.least = min(self.least, probation_length(len(now.roster), now.tolerated, now.config.validators))
        self.last = now

    def fail(self, identifier: str, side: str, sentence: str) -> None:
        """Report a violation."""
        raise Violation(identifier, side, sentence)

    def name(self, peer: PeerId) -> str:
        """A peer, for people."""
        roster = self.swarm.roster
        who = f"peer {roster.index(peer)}" if peer in roster else "the newcomer"
        return f"{'attacker' if peer in self.coalition else 'honest'} {who}"


Check = Callable[[Watch, State], None]


# -- Truth ------------------------------------------------------------------------------------------


def true_gradient(watch: Watch, past: Transcript, worker: PeerId) -> Float32:
    """What ``worker`` should have committed, float32 ``[d]``."""
    seed = past.groups.seed(past.run, past.seed_randomness, past.step, worker)
    if past.parameters is None:
        raise ValueError("an observer has no parameters")
    return admissible_gradient(watch.swarm.task_of(worker).gradient(past.parameters, seed), past.gradient_clip)


def liars_of(watch: Watch, past: Transcript) -> set[PeerId]:
    """Attackers whose part hashes or report are not those of their true gradient. With a tolerance nobody is called a
    liar here: what is a lie then, a vote decides."""
    found: set[PeerId] = set()
    if watch.swarm.scene.classes > 1:
        return found
    for index, worker in enumerate(past.workers):
        if worker in watch.coalition and past.parameters is not None and past.aggregate is not None:
            gradient = true_gradient(watch, past, worker)
            hashes = profile_of(past).hashes(past, worker, gradient) == past.part_hashes[index]
            report = report_of(past, gradient).tobytes() == np.ascontiguousarray(past.reports[index]).tobytes()
            found |= set() if hashes and report else {worker}
    return found


def records_of(watch: Watch) -> list[Record]:
    """The log of an honest member from the first roster, as far as it is; newcomers' logs begin later."""
    founders = founding_members(watch)
    return watch.swarm.records.get(founders[0].id, []) if founders else []


def new_records(watch: Watch, now: State, records: list[Record] | None = None) -> list[Record]:
    """What has been appended of the steps since the last look; some members may be further than others."""
    records = records_of(watch) if records is None else records
    return [record for record in records[watch.seen :] if record.slot.step < now.step]


def founding_members(watch: Watch) -> list[Seat]:
    """Honest members that have had their seats from the first."""
    founders = set(watch.swarm.roster) - watch.swarm.returned.keys()
    return [seat for seat in watch.swarm.members if seat.id in founders]


# -- PROP-1: agreement ------------------------------------------------------------------------------


def agreement(watch: Watch, now: State) -> None:
    """All honest members hold the same roster, bans, randomness, parameters, optimizer and log."""
    views = {}
    for seat in watch.swarm.members:
        state, replica = seat.state, seat.state.replica
        model = (replica.parameters.tobytes(), replica.state_hash) if replica else None
        moments = tuple(np.asarray(m).tobytes() for m in vars(replica.optimizer).values()) if replica else ()
        agreed = state.roster, state.tolerated, state.removals, state.randomness, state.head, state.step
        views[seat.id] = (agreed, model, moments, state.radii.radii.tobytes(), state.probation)
    if len(set(views.values())) > 1:
        odd = sorted(views, key=lambda peer: list(views.values()).count(views[peer]))[0]
        watch.fail("PROP-1", SAFETY, f"{watch.name(odd)} holds another state than others after step {now.step - 1}")
    logs = [new_records(watch, now, watch.swarm.records.get(seat.id, [])) for seat in founding_members(watch)]
    if len({tuple(record.head_after(b"") for record in log) for log in logs}) > 1:
        watch.fail("PROP-1", SAFETY, "honest members have different logs")


# -- PROP-2: no framing -----------------------------------------------------------------------------


def no_framing(watch: Watch, now: State) -> None:
    """No honest peer is convicted, absent or refused; it is eliminated with an attacker only."""
    for removal in now.removals:
        if removal.peer in watch.coalition:
            continue
        if removal.how is Departure.ELIMINATED:
            if removal.partner not in watch.coalition:
                watch.fail("PROP-2", FRAMING, f"{watch.name(removal.peer)} is eliminated with another honest peer")
        elif removal.how is not Departure.LEFT:
            what = f"{removal.how.value} for {removal.fault.text}"
            watch.fail("PROP-2", FRAMING, f"{watch.name(removal.peer)} is {what} in step {removal.slot.step}")


# -- PROP-3: counting -------------------------------------------------------------------------------


def counting(watch: Watch, now: State) -> None:
    """Honest peers eliminated are no more than attackers eliminated; the honest majority among workers is kept."""
    pairs = [removal.peer in watch.coalition for removal in now.removals if removal.how is Departure.ELIMINATED]
    if 2 * sum(pairs) < len(pairs):
        watch.fail("PROP-3", SAFETY, f"{len(pairs) - sum(pairs)} honest peers eliminated with {sum(pairs)} attackers")
    outlaws = {r.peer for r in now.removals if r.how in (Departure.CONVICTED, Departure.REFUSED)}
    if outlaws & {*now.roster, *(candidate.peer for candidate in now.probation)}:
        watch.fail("PROP-3", SAFETY, "a convicted key has a seat, or is on probation for one")
    past = now.transcript(now.step - 1)
    if past is not None and len(past.workers) < 2 * past.tolerated + 1:
        watch.fail("PROP-3", SAFETY, f"{len(past.workers)} workers with b_t = {past.tolerated} in step {past.step}")
    names = [r.peer for r in now.removals if r.how not in (Departure.LEFT, Departure.REFUSED)]
    if len(set(names)) < len(names) and not now.arrivals:
        watch.fail("PROP-3", SAFETY, "a peer was removed twice")
    validators = validator_count(len(now.roster), now.tolerated, now.config.validators)
    if len(now.roster) < 2 * now.tolerated + validators + 1:
        watch.fail("PROP-3", SAFETY, f"n = {len(now.roster)} with b = {now.tolerated} and m = {validators}")
    attackers = len(watch.swarm.world.coalition & set(now.roster))  # a seat for another key is luck, or PROP-6
    if attackers > now.tolerated:
        watch.fail("PROP-3", SAFETY, f"{attackers} attackers hold seats, but b_t = {now.tolerated}")
    gone = [r for r in now.removals if r.how in (Departure.CONVICTED, Departure.ABSENT)]
    expected = now.config.tolerated - len(gone) - len(pairs) // 2
    if now.tolerated != expected and not now.arrivals:
        watch.fail("PROP-3", SAFETY, f"b_t = {now.tolerated}, and {expected} follows from who left")


# -- PROP-4: liveness -------------------------------------------------------------------------------


def liveness(watch: Watch, now: State) -> None:
    """At most b attempts of a run are void, and every step ends in a bounded time."""
    if now.retries > now.config.tolerated + len(now.arrivals):
        watch.fail("PROP-4", LIVENESS, f"{now.retries} void attempts with b = {now.config.tolerated}")
    before = watch.last.retries if watch.last else 0
    took = (watch.swarm.times[-1] - watch.swarm.times[-2]) / DELAY
    attempts = 1 + now.retries - before
    phases = PHASES if watch.swarm.scene.classes == 1 else PHASES_OF_VOTERS
    waiting = phases * (FAST_DELAYS + ROUND_DELAYS * now.config.tolerated)
    working = GRADIENT_TIME / DELAY * (GRADIENTS + now.config.peers)
    most = attempts * (waiting + working)
    if took > most:
        watch.fail("PROP-4", LIVENESS, f"step {now.step - 1} took {took:.0f} delays for {attempts} attempts")


# -- PROP-5: what is applied ------------------------------------------------------------------------


def applied_parts(watch: Watch, now: State) -> None:
    """PROP-5: every applied part is within Δ_max of an honest one, or was acquitted; an honest aggregator's obeys the
    bound on CenteredClip. PROP-11: in the other profiles it is what their chapters promise. Nothing is claimed where
    keys that the attackers brought make more than b_t of the members."""
    past = now.transcript(now.step - 1)
    if past is None or past.step in watch.applied or past.aggregate is None or past.parameters is None:
        return
    if watch.last and len(watch.coalition.intersection(watch.last.roster)) > watch.last.tolerated:
        return
    honest = [worker for worker in past.workers if worker not in watch.coalition]
    if not honest:
        watch.fail("PROP-5", SAFETY, f"no honest worker is left in step {past.step}")
    truths = np.stack([true_gradient(watch, past, worker) for worker in honest])
    if past.profile == MAJORITY_VOTE:
        check_vote(watch, past, truths)
    if past.profile == REDUNDANT_CODE:
        check_mean(watch, past)
    if past.profile != BTARD:
        return
    for part, (bound, aggregator) in enumerate(zip(past.bounds, past.workers, strict=True)):
        check_part(watch, past, part, truths[:, bound].astype(np.float64), past.aggregate[bound], aggregator)


def check_vote(watch: Watch, past: Transcript, truths: Float32) -> None:
    """What is applied is the honest majority's sign wherever the other workers could not turn it; ``truths``: of the
    honest workers, float32 ``[h, d]``. Parts of less than a chunk each are shown as a whole."""
    for bound in past.bounds:
        signs = np.stack([unpacked(truth[bound], past.step) for truth in truths])
        margin, others = signs.sum(axis=0), len(past.workers) - len(truths)
        decided = np.abs(margin) > others
        applied = np.asarray(past.aggregate)[bound]
        if not (np.abs(applied) == 1).all() or (np.sign(margin) != applied)[decided].any():
            watch.fail("PROP-11", SAFETY, f"a sign of step {past.step} is not the one that the honest majority decides")


def unpacked(vector: Float32, step: int) -> Float32:
    """Signs as they are voted, float32 ``[m]`` of +1 and −1."""
    return unpack_signs(pack_signs(vector, step), len(vector))


def check_mean(watch: Watch, past: Transcript) -> None:
    """What is applied is the mean of the groups' true gradients, part by part, up to rounding. A forged part may pass
    by chance, if it is not far off: one of half the norm with a probability of 10⁻⁵."""
    present = [group[0] for group in past.groups.members if group]
    groups = np.stack([true_gradient(watch, past, worker).astype(np.float64) for worker in present])
    for part, bound in enumerate(past.bounds):
        error = float(norm(np.asarray(past.aggregate)[bound] - groups[:, bound].mean(axis=0)))
        allowed = 0.5 if past.workers[part] in watch.coalition else AGGREGATE_ERROR
        if error > allowed * float(norm(groups[:, bound]).mean()) + 1e-30:
            watch.fail("PROP-11", SAFETY, f"part {part} of step {past.step} is not the mean of the groups' gradients")


def check_part(
    watch: Watch, past: Transcript, part: int, truths: Float64, applied: Float32, aggregator: PeerId
) -> None:
    """One part: ``truths`` float64 ``[h, m]`` against ``applied`` float32 ``[m]``."""
    config, radius = watch.swarm.config, float(past.radii[part])
    where = f"part {part} of step {past.step}, aggregated by {watch.name(aggregator)},"
    if not np.isfinite(applied).all():
        watch.fail("PROP-5", SAFETY, f"{where} is not finite")
    distances = norm(truths - applied)
    reach = config.distance_ratio * radius
    if distances.min() > reach * (1 + 1e-9) and aggregator not in past.settled:
        watch.fail(
            "PROP-5", SAFETY, f"{where} is {distances.min() / reach:.3g} times as far from all honest as allowed"
        )
    if aggregator in watch.coalition:
        return
    center = truths.mean(axis=0)
    spread, honest = float(norm(truths - center).max()), len(truths)
    lying = len(past.workers) - honest
    epsilon = config.residual_ratio * radius
    if honest > lying + config.residual_ratio:
        bound = distance_bound(honest, lying, spread, radius, epsilon)
        ratio = float(norm(applied.astype(np.float64) - center)) / bound
        watch.reach = max(watch.reach, ratio)
        if ratio > 1 + 1e-6:
            watch.fail("PROP-5", SAFETY, f"{where} is farther from the honest mean than the bound on CenteredClip")


# -- PROP-6: audit and accountability ----------------------------------------------------------------


def audits(watch: Watch, now: State) -> None:
    """Who lied in step t − 2 and was audited by an honest validator is out; validators are drawn by lot."""
    for plan in plans_of(watch, now):
        check_targets(watch, now, plan)
        check_candidates(watch, now, plan)
        check_roles(watch, now, plan)


def plans_of(watch: Watch, now: State) -> list[Plan]:
    """The plan of the step since the last boundary, or at the end of a run of both closing steps. Where the others are
    several steps ahead of one who leaves, those between are not seen."""
    before = watch.last
    if before is None:
        return []
    plans = [plan_step(before)]
    if (before.step, now.step) == (now.config.steps, now.config.steps + CLOSING_STEPS):
        plans.append(plan_step(between_closing_steps(watch, now, before)))
    return plans


def between_closing_steps(watch: Watch, now: State, before: State) -> State:
    """The agreed state between the two closing steps, at which nobody looks on: from ``before`` them and the log."""
    gone = [removal for removal in now.removals[len(before.removals) :] if removal.slot.step == before.step]
    left = [removal for removal in gone if removal.how is not Departure.REFUSED]
    drawn = [
        combine(dict(openings(record)).values())
        for record in new_records(watch, now)
        if record.slot.step == before.step and record.slot.phase is Phase.REVEAL
    ]
    return replace(
        before,
        step=before.step + 1,
        roster=remaining_roster(before.roster, left),
        tolerated=remaining_tolerance(before.tolerated, left),
        randomness=drawn[-1] if drawn else before.randomness,
    )


def check_targets(watch: Watch, now: State, plan: Plan) -> None:
    """Who lied two steps ago, and whose auditor is an honest member, is out."""
    for validator, target in plan.targets.items():
        honest = validator not in watch.coalition and validator in now.roster
        if honest and target in watch.liars.get(plan.step - 2, ()) and target in now.roster:
            what = f"lied in step {plan.step - 2}, was audited in step {plan.step}, and has its seat"
            watch.fail("PROP-6", ACCOUNTABILITY, f"{watch.name(target)} {what}")


def check_candidates(watch: Watch, now: State, plan: Plan) -> None:
    """Who committed to another gradient than its own on probation, and was inspected by an honest member, is out."""
    past = watch.last.transcript(plan.step - 2) if watch.last else None
    here = {*now.roster, *(candidate.peer for candidate in now.probation)}
    for candidate, committed in past.candidates if past else ():
        inspector = plan.inspectors.get(candidate)
        honest = inspector in now.roster and inspector not in watch.coalition
        if past is None or not honest or candidate not in here:
            continue
        if committed != body_hash(float32_bytes(true_gradient(watch, past, candidate))):
            what = f"a candidate that lied in step {past.step} was inspected and passed"
            watch.fail("PROP-6", ACCOUNTABILITY, what)


def check_roles(watch: Watch, now: State, plan: Plan) -> None:
    """The applied attempt had the roles that the step began with, less those who left."""
    past, before = now.transcript(plan.step), watch.last
    if past is None or before is None:
        return
    count = validator_count(len(before.roster), before.tolerated, before.config.validators)
    drawn = draw_validators(before.randomness, plan.step, before.roster, count)
    wrong = set(past.workers) - set(before.roster), set(past.workers) & set(drawn)
    if any(wrong):
        watch.fail("PROP-6", SAFETY, f"the workers of step {plan.step} are not those that the lots left")


def deeds_paid(watch: Watch, now: State) -> None:
    """Every provable deviation cost its author the seat in time."""
    step, members = now.step - 1, set(now.roster)
    for recorder in watch.swarm.recorders.values():
        watch.deeds += recorder.settle(step)
    applied = applied_attempts(watch)
    gone = {removal.peer for removal in now.removals}
    for deed in list(watch.deeds):
        due = deed.slot.step + (deed.due in (NEXT, AFTER))
        if due > step:
            continue
        watch.deeds.remove(deed)
        stands = deed.due in (AT_ONCE, NEXT) or applied.get(deed.slot.step) == deed.slot.attempt
        lost = any(witnesses <= gone for witnesses in deed.witnesses if witnesses)
        if deed.attacker in members and stands and not lost:
            where = f"{deed.slot.phase.name} of step {deed.slot.step}"
            watch.fail(
                "PROP-6", ACCOUNTABILITY, f"{watch.name(deed.attacker)} keeps its seat after {deed.text} ({where})"
            )


def applied_attempts(watch: Watch) -> dict[int, int]:
    """The number of the last attempt of every step in the log."""
    found: dict[int, int] = {}
    for record in records_of(watch):
        found[record.slot.step] = max(found.get(record.slot.step, 0), record.slot.attempt)
    return found


# -- PROP-7: randomness -----------------------------------------------------------------------------


def randomness(watch: Watch, now: State) -> None:
    """r_t is made of members' openings, no two of which are the same; honest shares are fresh in every attempt."""
    attempts = applied_attempts(watch)
    for record in new_records(watch, now):
        slot, opened = record.slot, dict(openings(record))
        mine = {peer: opening for peer, opening in opened.items() if peer not in watch.coalition}
        if watch.shares.intersection(mine.values()):
            watch.fail("PROP-7", SAFETY, f"a share is opened again in step {slot.step}")
        if any(opening != watch.swarm.opening(peer, now.run, slot) for peer, opening in mine.items()):
            watch.fail("PROP-7", SAFETY, f"an honest share of step {slot.step} is not the one that its secret gives")
        watch.shares.update(mine.values())
        if slot.phase is Phase.REVEAL and attempts.get(slot.step) == slot.attempt and slot.step == now.step - 1:
            check_draw(watch, now, opened)


def check_draw(watch: Watch, now: State, opened: dict[PeerId, bytes]) -> None:
    """The randomness of the step just applied."""
    honest = {opening for sender, opening in opened.items() if sender not in watch.coalition}
    if any(list(opened.values()).count(opening) > 1 for opening in honest):
        watch.fail("PROP-7", SAFETY, "an honest member's share was opened by another one, too")
    if now.randomness != combine(opened.values()):
        watch.fail("PROP-7", SAFETY, "the randomness of a step is not that of its openings")


def openings(record: Record) -> Iterator[tuple[PeerId, bytes]]:
    """The openings in a Reveal record, by sender."""
    for entry in record.entries:
        if entry is not None and isinstance(entry.message, Reveal):
            yield entry.sender, entry.message.opening


# -- PROP-8: public checks ----------------------------------------------------------------------------


def public_checks(watch: Watch, now: State) -> None:
    """A part that fails C2 or C3 is not applied untried; one that was tried and acquitted has a residual within ε."""
    past = now.transcript(now.step - 1)
    if past is None or past.step in watch.applied:
        return
    failing = [past.workers[part] for part in failing_parts(past, watch.swarm.config)]
    for aggregator in failing:
        if aggregator not in past.settled:
            watch.fail("PROP-8", SAFETY, f"a part of step {past.step} that fails C2 or C3 is applied untried")
    exact = watch.swarm.scene.classes == 1 and past.profile == BTARD
    if not exact or past.parameters is None or past.aggregate is None or liars_of(watch, past):
        return
    truths = np.stack([true_gradient(watch, past, worker) for worker in past.workers])
    for part, (bound, aggregator) in enumerate(zip(past.bounds, past.workers, strict=True)):
        if aggregator not in watch.coalition or aggregator in past.settled:
            how = "acquitted" if aggregator in past.settled else "untried"
            check_residual(watch, past, part, truths[:, bound], f"{watch.name(aggregator)}, {how},")


def check_residual(watch: Watch, past: Transcript, part: int, inputs: Float32, who: str) -> None:
    """The applied part is a clipped mean of ``inputs`` float32 ``[workers, m]`` within ε."""
    if past.aggregate is None:
        return
    radius = float(past.radii[part])
    left = float(residual(inputs, past.aggregate[past.bounds[part]], radius))
    if left > watch.swarm.config.residual_ratio * radius * (1 + 1e-6):
        watch.fail("PROP-8", SAFETY, f"the aggregate of {who} has too large a residual in step {past.step}")


def honest_aggregates(watch: Watch, now: State) -> None:
    """What an honest aggregator announced is a clipped mean of what it received, parts that nobody may have taken as
    zeros (STEP-5)."""
    for seat in watch.swarm.members if now.config.profile == BTARD else ():
        past, replica = seat.state.transcript(now.step - 1), seat.state.replica
        inputs = replica.inputs if replica else None
        if past is None or inputs is None or seat.id not in past.workers:
            continue
        check_residual(watch, past, past.workers.index(seat.id), inputs, watch.name(seat.id))


# -- PROP-9, PROP-10: the log, and what comes from elsewhere -------------------------------------------


def belonging(watch: Watch, now: State) -> None:
    """Everything in the log was signed by a member for exactly its place; nobody without a seat gets one unseen."""
    for record in new_records(watch, now):
        for entry in record.entries:
            if entry is None:
                continue
            fits = entry.run == now.run and entry.slot == record.slot and entry.signed_header.authentic
            if not fits:
                watch.fail(
                    "PROP-10", SAFETY, f"a message that belongs elsewhere is in the log of step {record.slot.step}"
                )
    strangers = set(now.roster) - set(watch.swarm.roster) - {arrival.peer for arrival in now.arrivals}
    if strangers:
        watch.fail("PROP-10", SAFETY, "somebody without a seat is in the roster")


def seats(watch: Watch, now: State) -> None:
    """PROP-13: nobody gets a seat before it has been on probation as long as the shortest T_join of the run."""
    for peer in set(now.roster) - set(watch.last.roster if watch.last else watch.swarm.roster):
        served = watch.served[peer]
        if served < watch.least:
            watch.fail("PROP-13", SAFETY, f"{watch.name(peer)} has a seat after {served} steps of probation")


def acquittals(watch: Watch, now: State) -> None:
    """Nobody is acquitted of a lie that it told."""
    for record in new_records(watch, now):
        for verdict in record.verdicts:
            accused, step = verdict.trial.accused, verdict.trial.step
            lied = accused in watch.liars.get(step, ()) and verdict.trial.subject is Subject.WORKER
            if lied and not verdict.findings:
                watch.fail("PROP-6", ACCOUNTABILITY, f"{watch.name(accused)} is acquitted of a lie in step {step}")


def honest_parts(watch: Watch, now: State) -> None:
    """No part of an honest peer is on trial unless somebody misreports. In profile redundant-code a true report about a
    false gradient puts one on trial, too."""
    if now.config.profile == REDUNDANT_CODE:
        return
    misreported = {step for recorder in watch.swarm.recorders.values() for step in recorder.misreported}
    for trial in (verdict.trial for record in new_records(watch, now) for verdict in record.verdicts):
        honest = trial.subject is Subject.AGGREGATE and trial.accused not in watch.coalition
        if honest and trial.step not in misreported:
            part = f"the part of {watch.name(trial.accused)} is on trial in step {trial.step}"
            watch.fail("PROP-8", SAFETY, f"{part}, where no report was altered")


def mark_as_read(watch: Watch, now: State) -> None:
    """Remember how far the log has been read."""
    watch.seen += len(new_records(watch, now))


CHECKS: tuple[Check, ...] = (
    agreement,
    no_framing,
    counting,
    liveness,
    applied_parts,
    public_checks,
    honest_aggregates,
    randomness,
    belonging,
    seats,
    acquittals,
    honest_parts,
    audits,
    deeds_paid,
    mark_as_read,
)


def at_the_end(watch: Watch) -> None:
    """PROP-9: the auditor of the unaltered reference, given the log of any honest member, comes to the same
    conclusions; for one seed in four also without recomputation."""
    swarm = watch.swarm
    seat = next(iter(founding_members(watch)), None)
    if seat is None:
        return
    known = Recomputation(swarm.task.gradient, swarm.task.initial_parameters(), swarm.contents)
    log, now = swarm.log_of(seat.id), swarm.boundaries[-1]
    try:
        states = [concluded(swarm, log, known), *([concluded(swarm, log, None)] if swarm.scene.seed % 4 == 0 else [])]
    except ProtocolError as error:
        raise Violation("PROP-9", SAFETY, f"an auditor refuses the log: {error}") from error
    for state in states:
        compare_conclusions(now, state)
    mine, derived = seat.state.replica, states[0].replica
    if mine is not None and derived is not None and derived.state_hash != mine.state_hash:
        raise Violation("PROP-9", SAFETY, "an auditor finds other parameters")


def compare_conclusions(now: State, derived: State) -> None:
    """What an auditor finds in the log is what the members hold."""
    for what in ("removals", "roster", "tolerated", "randomness", "head", "probation", "arrivals"):
        if getattr(now, what) != getattr(derived, what):
            raise Violation("PROP-9", SAFETY, f"an auditor finds another value of '{what}' in the log")
    if now.radii.radii.tobytes() != derived.radii.radii.tobytes():
        raise Violation("PROP-9", SAFETY, "an auditor finds other clipping radii in the log")


def concluded(swarm: Swarm, log: bytes, known: Recomputation | None) -> State:
    """The state that an auditor reaches; a run that was not played to its end has no closing record."""
    auditor = Auditor(swarm.genesis, log, known)
    try:
        auditor.replay()
    except UnclosedLog:
        if swarm.finished:
            raise
    return auditor.state
