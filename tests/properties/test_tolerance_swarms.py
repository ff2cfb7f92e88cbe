"""Tolerance mode in whole runs: swarms whose peers compute in different determinism classes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from btard.conformance.audit import audit
from btard.network.coalition import Seating
from btard.network.simulator import Simulation
from btard.network.virtual import NetworkSimulation
from btard.protocol.arithmetic import Float32, Float64
from btard.protocol.bans import Departure, Fault
from btard.protocol.broadcast import Frame
from btard.protocol.butterfly_clip import centered_clip, residual
from btard.protocol.channel import ComputeGradient, Disclose, Duty, Exchange
from btard.protocol.encoding import expand
from btard.protocol.log import Subject
from btard.protocol.messages import Accusation, Commit, Envelope, Message, Phase, Report, Slot, Statement, Vote
from btard.protocol.model import PeerId, ToleranceExceeded
from btard.protocol.mprng import DIRECTION_DEVIATION, gradient_seed
from btard.protocol.state import Attempt, Conduct, Plan, State
from btard.protocol.verification import Transcript, report_of
from btard_adversary.attacks.aggregation import ShiftedAggregate
from btard_adversary.attacks.gradients import SignFlip, WithinTolerance
from btard_adversary.attacks.protocol import FalseAccuser
from swarms import Behaviour, Swarm, Tamper, TinyTask, configuration

ETA = 0.01
NOISE = 0.004
"""How far a class lies from the task itself, relatively: two classes are less than η apart."""


class OtherClass:
    """The task as another determinism class computes it."""

    def __init__(self, task: TinyTask, name: int, noise: float) -> None:
        self.task, self.name, self.noise = task, bytes([name]), noise

    def gradient(self, parameters: Float32, seed: bytes) -> Float32:
        """The gradient plus noise of the class's own."""
        gradient = self.task.gradient(parameters, seed)
        drawn = expand("tests/class", self.name, seed, length=4 * len(gradient))
        noise = np.frombuffer(drawn, dtype="<i4").astype(np.float64)
        size = self.noise * np.linalg.norm(gradient) / np.linalg.norm(noise)
        return (gradient + noise * size).astype(np.float32)


class Partial(Simulation):
    """A channel on which some disclosures of Byzantine peers reach only some."""

    reaches: Callable[[Duty, PeerId], bool] = staticmethod(lambda duty, recipient: True)

    def disclose(self, duties: tuple[Duty, ...]) -> None:
        """As ever, less what is held back."""
        super().disclose(duties)
        for seat in self.live:
            seat.answer = tuple(
                entry if duty.sender not in self.world.coalition or self.reaches(duty, seat.id) else None
                for entry, duty in zip(seat.answer, duties, strict=True)
            )


class MixedSwarm(Swarm):
    """A swarm whose peers take turns in three determinism classes."""

    noise = NOISE

    def assemble(self) -> Simulation:
        """Seat everybody, each in its class."""
        simulation = super().assemble()
        simulation.__class__ = Partial
        oracles = [self.task, OtherClass(self.task, 1, self.noise), OtherClass(self.task, 2, self.noise)]
        simulation.classes = {peer: oracles[index % 3] for index, peer in enumerate(self.roster)}
        return simulation


def mixed(behaviours: Mapping[int, Behaviour] | None = None, seed: int = 0, **changes: Any) -> MixedSwarm:
    """A mixed run that has not started."""
    defaults = {"tolerance": ETA, "peers": 8, "tolerated": 2, "validators": 3, "steps": 8}
    return MixedSwarm(configuration(**{**defaults, **changes}), behaviours or {}, seed)


def checked(swarm: MixedSwarm) -> MixedSwarm:
    """A finished run that kept its promises and whose log both audits accept."""
    swarm.run()
    swarm.check_safety()
    replica = swarm.state.replica
    assert replica is not None
    for report in (audit(swarm.log), audit(swarm.log, swarm.recomputation())):
        assert report.head == swarm.state.head
        assert report.removals == swarm.removals
        assert report.trials == sum(len(record.verdicts) for record in swarm.log_records)
    assert report.state_hash == replica.state_hash
    return swarm


def faults(swarm: Swarm) -> dict[int, Fault]:
    """Why each peer left, by index in the first roster."""
    return dict(swarm.faults)


# -- Honest peers of different classes -----------------------------------------------------------------


@pytest.mark.requirement("TOL-5")
def test_peers_of_three_classes_train_together_only_with_a_tolerance() -> None:
    swarm = checked(mixed())
    assert swarm.removals == ()
    assert not {record.slot.phase for record in swarm.log_records} & {Phase.COMMIT_VOTE, Phase.REPORT_VOTE}
    hashes = {seat.state.replica.state_hash for seat in swarm.simulation.honest if seat.state.replica}
    assert len(hashes) == 1
    exact = mixed(tolerance=0.0)
    with pytest.raises(ToleranceExceeded):
        exact.run()


@pytest.mark.requirement("TOL-4")
def test_a_tolerance_below_the_class_noise_costs_honest_peers_their_seats() -> None:
    with pytest.raises(ToleranceExceeded):
        mixed(tolerance=NOISE / 10).run()


# -- Attackers --------------------------------------------------------------------------------------


@pytest.mark.requirement("TOL-4")
@pytest.mark.requirement("TOL-10")
@pytest.mark.parametrize(
    ("attack", "fault"),
    [
        (SignFlip, Fault.WRONG_GRADIENT),
        (FalseAccuser, Fault.FALSE_ACCUSATION),
        (ShiftedAggregate, Fault.WRONG_AGGREGATE),
    ],
)
def test_attackers_are_convicted_as_in_exact_mode(attack: Any, fault: Fault) -> None:
    swarm = checked(mixed({0: attack, 4: attack}, steps=20))
    assert faults(swarm) == {0: fault, 4: fault}
    voted = [record for record in swarm.log_records if record.verdicts]
    assert {record.slot.phase for record in voted} <= {Phase.COMMIT_VOTE, Phase.REPORT_VOTE}


class Impossible(Conduct):
    """Commits to, scatters and discloses a gradient with a value that none has, and reports as if that part were
    the zeros that it counts as."""

    def __init__(self, value: float) -> None:
        self.value = value
        self.honest: Float32 = np.zeros(0, dtype=np.float32)

    def gradient(self, state: State, honest: Float32) -> Float32:
        """The value is in the last entry, from step 2 on."""
        self.honest = honest.copy()
        changed = honest.copy()
        changed[-1] = self.value if state.step >= 2 else honest[-1]
        return changed

    def report(self, state: State, transcript: Transcript, honest: Float64) -> Float64:
        """A report that C1 finds true."""
        if state.step >= 2:
            self.honest[transcript.bounds[-1]] = 0
        return report_of(transcript, self.honest)


@pytest.mark.requirement("TOL-8")
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
def test_disclosed_content_that_is_no_gradient_convicts_and_harms_nobody(value: float) -> None:
    with np.errstate(all="ignore"):
        swarm = checked(mixed({1: lambda seating: Impossible(value)}))
    assert faults(swarm) == {1: Fault.WRONG_GRADIENT}


# -- Disclosures --------------------------------------------------------------------------------------

Alter = Callable[[Tamper, Envelope], Envelope | None]


class Discloses(Tamper):
    """Alters what it discloses in a phase; ``poisons``: it also commits to minus its gradient."""

    def __init__(self, phase: Phase, alter: Alter, poisons: bool = False) -> None:
        super().__init__({phase: lambda tamper, request: None})
        self.phase, self.alter, self.poisons = phase, alter, poisons

    def drive(self, honest: Exchange[State]) -> Exchange[State]:
        """The altered generator."""
        answer: Any = None
        while True:
            try:
                request = honest.send(answer)
            except StopIteration as stop:
                final: State = stop.value
                return final
            if isinstance(request, Disclose) and request.slot.phase is self.phase:
                altered = tuple(entry and self.alter(self, entry) for entry in request.envelopes)
                request = replace(request, envelopes=altered)
            answer = yield request
            if self.poisons and isinstance(request, ComputeGradient) and request.seed == self.my_seed:
                answer = -answer

    @property
    def my_seed(self) -> bytes:
        """Of the gradient that I owe."""
        state = self.swarm.simulation.seats[self.identity.peer_id].state
        return gradient_seed(state.run, state.randomness, state.step, self.identity.peer_id)


ALTERED: dict[str, Alter] = {
    "nothing": lambda tamper, envelope: None,
    "zeros": lambda tamper, envelope: tamper.reseal(envelope, bytes(len(envelope.body))),
    "too little": lambda tamper, envelope: tamper.reseal(envelope, envelope.body[:-4]),
    "too much": lambda tamper, envelope: tamper.reseal(envelope, envelope.body + bytes(4)),
    "elsewhere": lambda tamper, envelope: tamper.reseal(envelope, slot=envelope.slot._replace(part=0)),
    "unsigned": lambda tamper, envelope: replace(envelope, signature=bytes(64)),
}


@pytest.mark.requirement("TOL-3")
@pytest.mark.parametrize("name", ALTERED)
def test_a_target_that_discloses_anything_else_leaves_with_its_validator(name: str) -> None:
    swarm = checked(mixed({2: Discloses(Phase.AUDIT, ALTERED[name])}, steps=12))
    removal = swarm.removal(2)
    assert removal is not None
    assert (removal.how, removal.fault, removal.slot.phase) == (Departure.ELIMINATED, Fault.WITHHELD, Phase.COMMIT)
    assert len(swarm.removals) == 2
    (acquittal,) = (verdict for record in swarm.log_records for verdict in record.verdicts)
    assert acquittal.findings == () and acquittal.trial.accused == swarm.roster[2]


@pytest.mark.requirement("TOL-13")
def test_a_cheat_that_is_hidden_from_the_validator_convicts_its_author_alone() -> None:
    swarm = checked(mixed({2: Discloses(Phase.AUDIT, ALTERED["nothing"], poisons=True)}, steps=12))
    assert faults(swarm) == {2: Fault.WRONG_GRADIENT}


@pytest.mark.requirement("TOL-7")
@pytest.mark.parametrize("name", ALTERED)
def test_an_accused_that_discloses_anything_else_is_found_to_withhold(name: str) -> None:
    swarm = checked(mixed({2: Discloses(Phase.COMMIT_TRIAL, ALTERED[name], poisons=True)}, steps=12))
    assert faults(swarm) == {2: Fault.UNDISCLOSED}


@pytest.mark.requirement("TOL-7")
@pytest.mark.parametrize("reached", [0, 1, 3, 4, 6])
def test_an_accused_that_discloses_to_some_only_is_out_and_its_accuser_is_not(reached: int) -> None:
    swarm = mixed({2: Discloses(Phase.COMMIT_TRIAL, lambda tamper, envelope: envelope, poisons=True)}, steps=12)
    lucky = [peer for peer in swarm.roster if peer not in swarm.coalition][:reached]
    assert isinstance(swarm.simulation, Partial)
    swarm.simulation.reaches = lambda duty, peer: duty.slot.phase is Phase.AUDIT or peer in lucky
    checked(swarm)
    assert faults(swarm)[2] in (Fault.UNDISCLOSED, Fault.WRONG_GRADIENT)
    assert len(swarm.removals) == 1


@pytest.mark.requirement("TOL-7")
@pytest.mark.parametrize("reached", [0, 1, 3, 4, 6])
def test_no_colluder_shields_a_forged_aggregate_by_disclosing_to_some_only(reached: int) -> None:
    swarm = mixed({0: ShiftedAggregate, 4: lambda seating: Conduct()})
    lucky = [peer for peer in swarm.roster if peer not in swarm.coalition][:reached]
    assert isinstance(swarm.simulation, Partial)
    shielding = (Phase.COMMIT_TRIAL, Phase.REPORT_TRIAL)
    swarm.simulation.reaches = lambda duty, peer: (
        duty.slot.phase not in shielding or duty.sender != swarm.roster[4] or peer in lucky
    )
    checked(swarm)
    applied = [past for observed in swarm.observed for past in observed.state.history]
    for past in applied:
        assert true_aggregates(swarm, past)
    left = {removal.slot for removal in swarm.removals}
    for record in swarm.log_records:
        tried = record.slot.phase is Phase.REPORT_VOTE and record.verdicts
        assert not tried or record.slot._replace(phase=Phase.REPORT) in left


def true_aggregates(swarm: Swarm, past: Transcript) -> bool:
    """Whether every part is an aggregate of (nearly) the true gradients."""
    assert past.aggregate is not None and past.parameters is not None
    seeds = [gradient_seed(past.run, past.seed_randomness, past.step, worker) for worker in past.workers]
    gradients = np.stack([swarm.task.gradient(past.parameters, seed) for seed in seeds])
    slack = len(seeds) * ETA * np.linalg.norm(gradients, axis=1).max()
    return all(
        residual(gradients[:, bound], past.aggregate[bound], float(radius))
        <= swarm.config.residual_ratio * radius + slack
        for bound, radius in zip(past.bounds, past.radii, strict=True)
    )


# -- Votes ----------------------------------------------------------------------------------------------

Victims = set[tuple[int, PeerId]]
Speak = Callable[[Victims], Message]
"""From whom the coalition accused, to what it says instead of a vote."""


class Votes(FalseAccuser):
    """Accuses an innocent peer, if it ``accuses``, and says something else than an honest vote."""

    def __init__(self, seating: Seating, victims: Victims, speak: Speak, accuses: bool) -> None:
        super().__init__(seating)
        self.victims, self.speak, self.accuses = victims, speak, accuses

    def accusations(self, state: State, plan: Plan, honest: tuple[Accusation, ...]) -> tuple[Accusation, ...]:
        """What is said in Commit, remembered for the vote."""
        if not self.accuses or state.step < 2 or any(step == state.step - 1 for step, _ in self.victims):
            return ()
        made = super().accusations(state, plan, ())
        self.victims.update((accusation.step, accusation.accused) for accusation in made)
        return made

    def say(self, state: State, slot: Slot, honest: Message) -> Message:
        """The altered vote; the victims are those of this very step."""
        now = {victim for victim in self.victims if victim[0] == state.step - 1}
        return self.speak(now) if isinstance(honest, Vote) else honest


def blame(fault: Fault) -> Speak:
    """The victims are guilty of ``fault``."""
    return lambda victims: Vote(tuple(Statement(step, peer, int(fault)) for step, peer in sorted(victims)))


def voting(speak: Speak) -> dict[int, Behaviour]:
    """Peer 0 accuses an innocent one, and peers 0 and 4 vote like this."""
    victims: Victims = set()
    return {
        0: lambda seating: Votes(seating, victims, speak, True),
        4: lambda seating: Votes(seating, victims, speak, False),
    }


@pytest.mark.requirement("TOL-10")
@pytest.mark.parametrize("fault", [Fault.WRONG_GRADIENT, Fault.WRONG_REPORT, None])
def test_a_minority_that_lies_in_its_votes_changes_nothing(fault: Fault | None) -> None:
    swarm = checked(mixed(voting(blame(fault) if fault else lambda victims: Vote())))
    assert swarm.faults == [(0, Fault.FALSE_ACCUSATION)]
    (verdict,) = (verdict for record in swarm.log_records for verdict in record.verdicts)
    assert verdict.findings == ()


@pytest.mark.requirement("TOL-7")
def test_who_denies_a_disclosure_leaves_with_the_one_that_made_it() -> None:
    swarm = checked(mixed(voting(blame(Fault.UNDISCLOSED))))
    assert swarm.faults[0] == (0, Fault.FALSE_ACCUSATION)
    assert [fault for _, fault in swarm.faults[1:]] == [Fault.WITHHELD] * 2
    assert swarm.removal(4) is not None


@pytest.mark.requirement("TOL-9")
@pytest.mark.parametrize(
    "speak",
    [
        lambda victims: Report(b"", b""),
        lambda victims: Vote((Statement(99, bytes(32), int(Fault.WRONG_GRADIENT)),)),
        blame(Fault.WRONG_AGGREGATE),
        blame(Fault.SILENT),
    ],
    ids=["another message", "about nobody", "an aggregate that nobody tries", "a fault that no judge finds"],
)
def test_a_vote_that_no_honest_judge_casts_convicts(speak: Speak) -> None:
    swarm = checked(mixed(voting(speak)))
    assert faults(swarm) == {0: Fault.MALFORMED, 4: Fault.MALFORMED}
    assert all(not verdict.findings for record in swarm.log_records for verdict in record.verdicts)


class Spoils(Conduct):
    """Says something unreadable in the Commit of one step."""

    def say(self, state: State, slot: Slot, honest: Message) -> Message:
        """A Report instead of a Commit, in step 2."""
        return Report(b"", b"") if isinstance(honest, Commit) and state.step == 2 else honest


@pytest.mark.requirement("TOL-6")
def test_who_left_in_the_phase_has_no_vote() -> None:
    behaviours = {**voting(lambda victims: Vote()), 4: lambda seating: Spoils()}
    swarm = checked(mixed(behaviours))
    assert faults(swarm) == {0: Fault.FALSE_ACCUSATION, 4: Fault.MALFORMED}
    (vote,) = (record for record in swarm.log_records if record.slot.phase is Phase.COMMIT_VOTE)
    assert vote.slot == Slot(2, 0, Phase.COMMIT_VOTE)
    assert swarm.roster[4] not in [entry.sender for entry in vote.entries if entry]
    assert len(vote.entries) == len(swarm.roster) - 1


# -- Reports that are corrected -----------------------------------------------------------------------


class Forges(Conduct):
    """Shifts its part in step ``start``, and reports the truth about it."""

    def __init__(self, seating: Seating, start: int, told: dict[PeerId, Float64]) -> None:
        self.peer, self.start, self.told = seating.peer, start, told

    def aggregate(self, state: State, attempt: Attempt, inputs: Float32, honest: Float32) -> Float32:
        """A quarter of a radius away."""
        part = attempt.part_of(self.peer)
        if part is None or state.step != self.start:
            return honest
        return (honest + 0.25 * attempt.radii[part] / np.sqrt(len(honest))).astype(np.float32)

    def report(self, state: State, transcript: Transcript, honest: Float64) -> Float64:
        """The truth, which the accomplice hears."""
        self.told[self.peer] = honest
        return honest

    def accusations(self, state: State, plan: Plan, honest: tuple[Accusation, ...]) -> tuple[Accusation, ...]:
        """None: its accomplice's lie is about its own part."""
        return ()


class Covers(Conduct):
    """Misreports s about the forger's part in step ``start``, so that it passes C2."""

    def __init__(self, seating: Seating, start: int, told: dict[PeerId, Float64]) -> None:
        self.world, self.start, self.told = seating.world, start, told

    def report(self, state: State, transcript: Transcript, honest: Float64) -> Float64:
        """What is missing for a sum of zero."""
        (forger, theirs), report = next(iter(self.told.items()), (b"", honest)), honest.copy()
        if state.step == self.start and forger in transcript.workers:
            part = transcript.workers.index(forger)
            others = sum(other[0, part] for other in [*self.world.honest_reports(), theirs])
            if abs(others + honest[0, part]) > 8 * DIRECTION_DEVIATION * 0.1 * transcript.radii[part]:
                report[0, part] = -others
        return report


def covered(start: int, seed: int, steps: int) -> MixedSwarm:
    """A forger and its accomplice."""
    told: dict[PeerId, Float64] = {}
    behaviours: dict[int, Behaviour] = {
        0: lambda seating: Forges(seating, start, told),
        4: lambda seating: Covers(seating, start, told),
    }
    return mixed(behaviours, seed, steps=steps)


@pytest.mark.requirement("TOL-11")
@pytest.mark.requirement("TOL-12")
@pytest.mark.parametrize(("start", "steps", "found_at"), [(1, 4, 3), (4, 5, 6)])
def test_the_forger_behind_a_corrected_report_stands_trial(start: int, steps: int, found_at: int) -> None:
    """Also in the last Commit of a run, which is then repeated."""
    for seed in range(40):
        swarm = checked(covered(start, seed, steps))
        if (4, Fault.WRONG_REPORT) in swarm.faults:
            break
    assert swarm.faults == [(4, Fault.WRONG_REPORT), (0, Fault.WRONG_AGGREGATE)]
    convicted, tried = (record for record in swarm.log_records if record.verdicts)
    assert convicted.slot == Slot(found_at, 0, Phase.COMMIT_VOTE)
    assert tried.slot == Slot(found_at, 1, Phase.COMMIT_VOTE)
    assert convicted.verdicts[0].findings[0].correction
    assert [verdict.trial.subject for verdict in tried.verdicts] == [Subject.AGGREGATE]


# -- Damage -------------------------------------------------------------------------------------------


class QuietSwarm(MixedSwarm):
    """Classes that differ far less than the tolerance admits."""

    noise = NOISE / 100


def within_tolerance(scale: float, seed: int = 0) -> QuietSwarm:
    """Two attackers that move their gradients by ``scale`` · (η + 2μ), in a common direction."""
    config = configuration(tolerance=ETA, peers=8, tolerated=2, validators=3, steps=24)
    attack = partial(replace_scale, scale)
    return QuietSwarm(config, {1: attack, 5: attack}, seed)


def replace_scale(scale: float, seating: Seating) -> Conduct:
    """The attack at this strength."""
    return WithinTolerance(replace(seating, scale=scale))


@pytest.mark.requirement("TOL-4")
@pytest.mark.requirement("TOL-8")
def test_an_attacker_inside_the_tolerance_stays_and_one_just_outside_is_convicted() -> None:
    inside = checked(within_tolerance(0.99))
    assert inside.removals == ()
    outside = checked(within_tolerance(1.01))
    assert faults(outside) == {1: Fault.WRONG_GRADIENT, 5: Fault.WRONG_GRADIENT}


@pytest.mark.requirement("TOL-4")
def test_attackers_inside_the_tolerance_move_no_part_farther_than_the_damage_bound() -> None:
    swarm = within_tolerance(0.99).run()
    config, attacked = swarm.config, 0
    steps = {past.step: past for observed in swarm.observed for past in observed.state.history}
    for past in steps.values():
        assert past.aggregate is not None and past.parameters is not None
        seeds = [gradient_seed(past.run, past.seed_randomness, past.step, worker) for worker in past.workers]
        gradients = np.stack([swarm.task.gradient(past.parameters, seed) for seed in seeds]).astype(np.float64)
        w, b = len(seeds), sum(worker in swarm.coalition for worker in past.workers)
        zeta = (config.tolerance + 2 * config.margin) * np.linalg.norm(gradients, axis=1).max()
        attacked += b
        for bound, radius in zip(past.bounds, past.radii, strict=True):
            parts, phi = gradients[:, bound], config.residual_ratio
            mean = parts.mean(axis=0)
            spread = np.linalg.norm(parts - mean, axis=1).max() + zeta * (1 + b / w)
            limit = b * zeta / w + max(phi * radius / w, spread * (w + phi) / (w - phi))
            assert np.linalg.norm(past.aggregate[bound] - mean) <= limit
    assert attacked


@pytest.mark.requirement("TOL-4")
@pytest.mark.parametrize(("workers", "attackers"), [(3, 1), (5, 2), (12, 5)])
def test_the_damage_bound_without_clipping_is_reached(workers: int, attackers: int) -> None:
    """And one honest vector less than the bound assumes breaks it."""
    random = np.random.default_rng(workers)
    honest = random.standard_normal((workers, 40)).astype(np.float32)
    direction = random.standard_normal(40)
    direction /= np.linalg.norm(direction)
    zeta, radius, ratio = 0.05 * float(np.linalg.norm(honest, axis=1).max()), 100.0, 1e-4
    moved = honest.copy()
    moved[:attackers] = (honest[:attackers] + zeta * direction).astype(np.float32)
    drift = np.linalg.norm(centered_clip(moved, radius, ratio * radius) - honest.mean(axis=0, dtype=np.float64))
    bound = (ratio * radius + attackers * zeta) / workers
    assert 0.9 * attackers * zeta / workers < drift <= bound
    moved[attackers] = (honest[attackers] + zeta * direction).astype(np.float32)
    drift = np.linalg.norm(centered_clip(moved, radius, ratio * radius) - honest.mean(axis=0, dtype=np.float64))
    assert drift > bound


# -- On a network -----------------------------------------------------------------------------------------


class NetworkSwarm(MixedSwarm):
    """The same, every frame over a simulated network."""

    def assemble(self) -> Simulation:
        """Seat everybody on the network, each in its class."""
        ideal = super().assemble()
        conducts = {self.roster[index]: how(self.seating(self.roster[index])) for index, how in self.behaviours.items()}  # type: ignore[operator]
        parameters = self.task.initial_parameters()
        simulation = NetworkSimulation(
            self.genesis, self.peers, parameters, self.task, self.world, conducts, classes=ideal.classes
        )
        simulation.record, simulation.keep = ideal.record, ideal.keep
        return simulation


class Whispers(SignFlip):
    """Flips its gradient, and in trials discloses it to two peers only."""

    def post(self, recipient: PeerId, honest: Frame) -> Iterable[Frame | bytes]:
        """Nothing to most, when it stands trial."""
        trial = isinstance(honest, Envelope) and honest.slot.phase is Phase.COMMIT_TRIAL
        return () if trial and recipient > sorted(self.world.gradients)[1] else (honest,)


@pytest.mark.requirement("TOL-7")
@pytest.mark.requirement("TOL-10")
def test_a_network_leads_to_the_same_log_as_the_ideal_channel() -> None:
    config = configuration(tolerance=ETA, peers=8, tolerated=2, validators=3, steps=10)
    for attacks in ({}, {0: SignFlip, 4: FalseAccuser}):
        network = checked(NetworkSwarm(config, attacks))
        assert network.log == checked(MixedSwarm(config, attacks)).log
        assert len(network.removals) == len(attacks)


@pytest.mark.requirement("TOL-7")
def test_an_accused_that_whispers_its_gradient_on_a_network_is_out() -> None:
    config = configuration(tolerance=ETA, peers=8, tolerated=2, validators=3, steps=10)
    swarm = checked(NetworkSwarm(config, {1: Whispers}))
    assert swarm.faults in ([(1, Fault.UNDISCLOSED)], [(1, Fault.WRONG_GRADIENT)])
