"""The simulator and the log files of a run: nothing that a Byzantine peer does there reaches an honest one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from btard.conformance.audit import UnclosedLog, audit
from btard.network.coalition import Seating
from btard.protocol.bans import Departure, Fault
from btard.protocol.channel import ComputeGradient, Scatter, StepApplied
from btard.protocol.messages import Accusation, Phase
from btard.protocol.mprng import gradient_seed
from btard.protocol.state import Conduct, Plan, State
from btard.training.trainer import LogWriter
from swarms import Swarm, Tamper, played, say, sign
from tampering import CASES


def victim_of_a_pair() -> tuple[Swarm, bytes]:
    """A run in which an honest peer was eliminated, and that peer's id."""
    run = played({0: next(case for case in CASES if case.victim).make(1)}, seed=3)
    gone = [removal.peer for removal in run.removals if removal.how is Departure.ELIMINATED]
    return run, next(peer for peer in gone if peer not in run.coalition)


@pytest.mark.requirement("VER-10")
@pytest.mark.requirement("PROP-9")
def test_an_aggregate_that_nobody_got_convicts_its_aggregator_in_both_audits() -> None:
    def accuse(tamper: Tamper, reveal: Any) -> Any:
        request = next(iter(tamper.swarm.world.requests.values()))
        return replace(reveal, accusations=(Accusation(tamper.swarm.roster[0], request.slot.step),))  # type: ignore[union-attr]

    withholder = Tamper({Phase.GATHER: sign(lambda tamper, envelope: None)})
    run = played({0: withholder, 1: Tamper({Phase.REVEAL: say(accuse)})})
    assert run.faults[0] == (0, Fault.IMPOSSIBLE_AGGREGATE)
    assert audit(run.log).removals == audit(run.log, run.recomputation()).removals == run.removals


def test_a_single_log_goes_on_when_its_owner_leaves(tmp_path: Path) -> None:
    run, victim = victim_of_a_pair()
    stayed = [peer for peer in run.roster if peer not in run.coalition and peer != victim]
    writer = LogWriter(tmp_path, [victim], run.genesis)
    for peer in (victim, *stayed):
        for record in run.records[peer]:
            writer.record(peer, record)
    writer.close(stayed)
    (log,) = tmp_path.glob("*.cborseq")
    assert log.stem == min(stayed).hex()[:16]
    assert audit(log.read_bytes()).removals == run.removals


def test_the_log_of_an_eliminated_peer_ends_where_it_left() -> None:
    run, victim = victim_of_a_pair()
    own = run.genesis.encode() + b"".join(record.encode() for record in run.records[victim])
    assert run.log.startswith(own)
    with pytest.raises(UnclosedLog):
        audit(own)


@pytest.mark.requirement("PROP-2")
def test_nobody_is_framed_by_a_false_name_for_parameters() -> None:
    """A Byzantine peer asks for a victim's gradient at other parameters under the true state hash, then accuses."""

    class Poisoner(Tamper):
        def __init__(self) -> None:
            super().__init__({Phase.COMMIT: say(self.accuse)}, start=2)
            self.past: Any = None
            self.victim = b""

        def accuse(self, tamper: Tamper, commit: Any) -> Any:
            if tamper.identity.peer_id not in self.past.workers:
                return None
            return replace(commit, accusations=(Accusation(self.victim, self.past.step),))

        def drive(self, honest: Any) -> Iterator[Any]:
            answer = None
            while True:
                try:
                    request = honest.send(answer)
                except StopIteration as stop:
                    return stop.value
                if isinstance(request, StepApplied) and request.state.step >= 2:
                    self.past = past = request.state.history[-1]
                    self.victim = next(worker for worker in past.workers if worker != self.identity.peer_id)
                    yield request
                    seed = gradient_seed(past.run, past.seed_randomness, past.step, self.victim)
                    yield ComputeGradient(past.parameters + 1, past.state_hash, seed)
                    answer = None
                    continue
                answer = yield self.consider(request)

    run = played({0: Poisoner()}, seed=3)
    assert run.faults == [(0, Fault.FALSE_ACCUSATION)]


@pytest.mark.requirement("PROP-10")
def test_the_coalition_sees_honest_gradients_and_cannot_write_them() -> None:
    refused = []

    class Scribbler(Conduct):
        def __init__(self, seating: Seating) -> None:
            self.world = seating.world

        def gradient(self, state: State, honest: Any) -> Any:
            for gradient in self.world.gradients.values():
                with pytest.raises(ValueError, match="read-only"):
                    gradient *= -1
                refused.append(state.step)
            return honest

    assert played({0: Scribbler}).removals == ()
    assert refused


def moved(request: Scatter, **place: int) -> Scatter:
    """The scattered parts, in another slot."""
    parts = (part and replace(part, slot=part.slot._replace(**place)) for part in request.envelopes)
    return replace(request, envelopes=tuple(parts))


WRECKS = {
    "too few": lambda request: replace(request, envelopes=request.envelopes[:-1]),
    "none": lambda request: replace(request, envelopes=()),
    "a negative part": lambda request: moved(request, part=-1),
    "a huge step": lambda request: moved(request, step=2**64),
}


@pytest.mark.requirement("CHAN-4")
@pytest.mark.parametrize("wreck", WRECKS.values(), ids=WRECKS.keys())
def test_a_wrecked_scatter_is_a_withheld_one(wreck: Any) -> None:
    def alter(tamper: Tamper, request: Scatter) -> Any:
        return wreck(request) if request.envelopes else None

    run = played({0: Tamper({Phase.SCATTER: alter})})
    assert run.removal(0) is not None
    assert run.faults == [(0, Fault.MISSED)]  # by everybody


def test_a_byzantine_peer_that_trips_over_its_own_lies_falls_silent() -> None:
    class Impossible(Conduct):
        def accusations(self, state: State, plan: Plan, honest: Any) -> Any:
            return (Accusation(b"x", -1),) if state.step == 1 else honest

    run = played({0: lambda seating: Impossible()})
    assert run.faults == [(0, Fault.SILENT)]


def test_aggregates_are_kept_once(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path, [b"\x01" * 32], played().genesis)
    for peer in (b"\x01" * 32, b"\x02" * 32):
        writer.keep(peer, np.zeros(4, np.float32).tobytes())
    writer.close([])
    assert (tmp_path / f"{'01' * 8}.aggregates").stat().st_size == 1 + 16
