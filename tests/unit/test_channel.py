"""The simulator's channel keeps its contract, whatever Byzantine peers put into it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from btard.network.simulator import Simulation
from btard.protocol.channel import AgreedBroadcast, FetchContent, Gather, Scatter
from btard.protocol.identity import Identity
from btard.protocol.messages import MAX_AGREED_BODY, NO_NOTICES, Envelope, Phase, Slot, belongs, body_hash, seal
from btard.protocol.model import PeerId
from swarms import Swarm, Tamper, sign, swarm
from tampering import CASES, ELSEWHERE

STRANGER = Identity(b"stranger" * 4)


class Listening(Simulation):
    """A simulation that keeps what every peer asked for and was answered."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.heard: dict[tuple[Any, ...], dict[PeerId, tuple[Any, Any]]] = {}

    def exchange(self) -> None:
        """Carry one exchange, and listen."""
        asked = {seat.id: seat.request for seat in self.live}
        super().exchange()
        for seat in self.live:
            request: Any = asked[seat.id]
            place = (type(request), *request.slot[:3])
            self.heard.setdefault(place, {})[seat.id] = (request, seat.answer)


def listened(behaviours: dict[int, Any], **changes: Any) -> tuple[Swarm, Listening]:
    """A finished run, and all that was said in it."""
    run = swarm(behaviours, **changes)
    old = run.simulation
    heard = Listening(old.genesis, old.identities, old.parameters, old.oracle, old.world, old.conducts)
    heard.record, heard.keep = old.record, old.keep
    for index, how in behaviours.items():
        if isinstance(how, Tamper):
            seat = heard.seats[run.roster[index]]
            seat.generator = how.drive(seat.generator)
    run.simulation = heard
    return run.run(), heard


MISDEEDS = [
    "silent in AGGREGATE",
    "a part withheld from one",
    "another part than announced",
    "a part of too many bytes",
    "a withheld aggregate",
    "ff… as REPORT",
    *(f"a message {name}" for name in ELSEWHERE),
]
BY_NAME = {case.name: case for case in CASES}


@pytest.fixture(scope="module", params=[None, *MISDEEDS])
def heard(request: pytest.FixtureRequest) -> tuple[Swarm, Listening]:
    """A run with at most one misdeed, listened to."""
    return listened({} if request.param is None else {2: BY_NAME[request.param].make(1)}, steps=3)


@pytest.mark.requirement("CHAN-1")
def test_all_honest_peers_get_the_same_vector(heard: tuple[Swarm, Listening]) -> None:
    run, simulation = heard
    phases = [(place, said) for place, said in simulation.heard.items() if place[0] is AgreedBroadcast]
    assert len(phases) == len(run.log_records)
    for _, said in phases:
        vectors = {answer.vector for peer, (_, answer) in said.items() if peer not in run.coalition}
        assert len(vectors) == 1
        assert {answer.notices for _, answer in said.values()} == {NO_NOTICES}


@pytest.mark.requirement("CHAN-2")
def test_what_honest_peers_send_arrives(heard: tuple[Swarm, Listening]) -> None:
    run, simulation = heard
    for place, said in simulation.heard.items():
        honest = {peer: pair for peer, pair in said.items() if peer not in run.coalition}
        for sender, (request, _) in honest.items():
            for receiver, (asked, answer) in honest.items():
                if place[0] is AgreedBroadcast:
                    assert answer.vector[asked.roster.index(sender)] == request.envelope
                elif place[0] is Gather and request.envelope is not None:
                    assert answer[asked.workers.index(sender)] == request.envelope
                elif place[0] is Scatter and request.envelopes and receiver in asked.workers:
                    mine = request.envelopes[asked.workers.index(receiver)]
                    assert answer[asked.workers.index(sender)] == mine


@pytest.mark.requirement("CHAN-3")
def test_every_entry_belongs_to_its_slot_and_sender(heard: tuple[Swarm, Listening]) -> None:
    run, simulation = heard
    for place, said in simulation.heard.items():
        for receiver, (request, answer) in said.items():
            agreed = place[0] is AgreedBroadcast
            senders, entries = (request.roster, answer.vector) if agreed else (request.workers, answer)
            for index, (sender, entry) in enumerate(zip(senders, entries, strict=bool(entries))):
                if entry is None:
                    continue
                part = {AgreedBroadcast: 0, Gather: index}.get(place[0])
                if part is None:
                    part = request.workers.index(receiver)
                assert belongs(entry, run.genesis.run, Slot(place[1], place[2], place[3], part), sender)


TRIED = {Phase.COMMIT_VOTE: "a false accusation", Phase.REPORT_VOTE: "a shifted aggregate"}
"""What another peer does so that there is something to vote on, in tolerance mode."""


def silenced(phase: Phase) -> tuple[Swarm, Listening, Tamper]:
    """A run in which peer 2 is silent in ``phase``."""
    silent = Tamper({phase: sign(lambda tamper, envelope: None)}, start=6 if phase is Phase.CLOSING else 1)
    if phase not in TRIED:
        return *listened({2: silent}, steps=4), silent
    settings: dict[str, Any] = {"tolerance": 0.01, "peers": 8, "tolerated": 2, "steps": 4}
    return *listened({2: silent, 3: BY_NAME[TRIED[phase]].make(1)}, **settings), silent


@pytest.mark.requirement("CHAN-4")
@pytest.mark.parametrize("phase", [phase for phase in Phase if phase.agreed])
def test_silence_is_answered_with_nothing(phase: Phase) -> None:
    run, simulation, silent = silenced(phase)
    assert silent.acted
    (vector,) = {
        answer.vector
        for place, said in simulation.heard.items()
        if place[0] is AgreedBroadcast and place[1:] == (silent.step, 0, phase)
        for peer, (_, answer) in said.items()
    }
    assert [entry is None for entry in vector] == [index == 2 for index in range(run.config.peers)]
    assert run.state.step == run.config.steps + 2


@pytest.mark.requirement("CHAN-3")
@pytest.mark.parametrize("size", [0, 10, MAX_AGREED_BODY + 10_000])
def test_whatever_does_not_belong_is_as_if_it_had_not_been_sent(size: int) -> None:
    run = swarm()
    slot, sender = Slot(0, 0, Phase.REVEAL), run.roster[0]
    envelope = seal(run.peers[0], run.genesis.run, slot, bytes(32), bytes(size))

    def delivered(made: Envelope, announced: bytes | None = None) -> Envelope | None:
        return run.simulation.deliver(made, slot, sender, 5, announced)

    assert delivered(envelope) == (envelope if size <= MAX_AGREED_BODY else None)
    for wrong in (
        replace(envelope, signature=bytes(64)),
        replace(envelope, sender=run.roster[1]),
        replace(envelope, slot=slot._replace(attempt=1)),
        replace(envelope, run=bytes(32)),
        seal(STRANGER, run.genesis.run, slot, bytes(32), b""),
        seal(run.peers[0], run.genesis.run, slot._replace(step=1), bytes(32), b""),
    ):
        assert delivered(wrong) is None
    assert run.simulation.seats[sender].bytes_sent == 5 * (
        len(envelope.encode()) * 5
        + len(seal(STRANGER, run.genesis.run, slot, bytes(32), b"").encode())
        + len(seal(run.peers[0], run.genesis.run, slot._replace(step=1), bytes(32), b"").encode())
    )


@pytest.mark.requirement("CHAN-1")
def test_content_that_was_gathered_is_fetched_by_its_hash() -> None:
    run = swarm(steps=2)
    answers = []
    for _ in run.play():
        seats = run.simulation.seats.values()
        for content in run.simulation.contents.values():
            request = FetchContent(body_hash(content))
            answers.append({run.simulation.serve(seat, request) for seat in seats} == {content})
        assert {run.simulation.serve(seat, FetchContent(bytes(32))) for seat in seats} == {b""}
    assert answers and all(answers)
