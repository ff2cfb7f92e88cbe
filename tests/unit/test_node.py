"""A node on a network: whole runs under network faults, and what it takes, keeps, answers and passes on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import networkx as nx
import pytest
from broadcasts import HEAD, KEYS, RUN, SLOT, TIMING, digest, echo, message, relay
from btard.network.limits import REMEMBERED_PHASES, Limits
from btard.network.links import FaultyLinks, Links
from btard.network.node import Flooding, Node
from btard.network.simulator import Simulation
from btard.network.virtual import NetworkSimulation
from btard.protocol.bans import Fault
from btard.protocol.broadcast import Answer, Ask, Ballot, Frame, Place, Relay, Send, encode_frame
from btard.protocol.channel import AgreedBroadcast, Exchange
from btard.protocol.encoding import encode
from btard.protocol.identity import Identity
from btard.protocol.messages import Envelope, Phase, Reveal, Slot, seal
from btard.protocol.model import PeerId, Roster
from btard.protocol.state import Conduct, State
from networks import DELAY, GRADIENT_TIME, end, peers, simulation
from swarms import identities

A, B, C, D = KEYS[:4]
ROSTER: Roster = tuple(key.peer_id for key in KEYS[:4])
VECTOR = tuple(digest(message(key)) for key in KEYS[:4])


# -- Whole runs --------------------------------------------------------------------------------------


def ring(both_ways: bool) -> dict[PeerId, list[PeerId]]:
    """Six peers in a ring."""
    graph = nx.cycle_graph(6, create_using=nx.Graph if both_ways else nx.DiGraph)
    named = nx.relabel_nodes(graph, dict(enumerate(peers(6))))
    return {peer: list(named.adj[peer]) for peer in named}


def halves() -> tuple[tuple[float, float, frozenset[PeerId]], ...]:
    """A partition most of the time, each healed in time."""
    return tuple((k * DELAY, k * DELAY + 0.8, frozenset(peers(6)[k % 3 : k % 3 + 3])) for k in range(60))


FAULTS: dict[str, Callable[[], dict[str, Any]]] = {
    "none": dict,
    "loss": lambda: {"links": FaultyLinks(0.05, DELAY, loss=0.4, retry=0.1)},
    "duplication": lambda: {"links": FaultyLinks(0.05, DELAY, duplication=0.5)},
    "delay and reordering": lambda: {"links": FaultyLinks(0.05, DELAY, jitter=0.95)},
    "the longest delay": lambda: {"links": Links(DELAY)},
    "partitions that heal": lambda: {"links": FaultyLinks(0.05, DELAY, retry=0.05, partitions=halves())},
    "everything": lambda: {
        "links": FaultyLinks(0.05, DELAY, 0.3, 0.3, 0.9, 0.1, partitions=halves()),
        "pace": lambda peer: GRADIENT_TIME * (peer[0] % 3) / 2,
    },
    "slow peers": lambda: {"pace": lambda peer: GRADIENT_TIME * (peer[0] % 3) / 2, "links": Links(DELAY)},
    "a ring": lambda: {"links": Links(DELAY / 3), "neighbours": ring(both_ways=True)},
    "a ring with slow peers": lambda: {
        "links": FaultyLinks(0.02, DELAY / 3, jitter=0.3),
        "neighbours": ring(both_ways=True),
        "pace": lambda peer: GRADIENT_TIME * (peer[0] % 3) / 2,
    },
    "one-way links with a way around": lambda: {"links": Links(DELAY / 5), "neighbours": ring(both_ways=False)},
}


@pytest.mark.requirement("NODE-1", "EXCH-1")
@pytest.mark.parametrize("fault", FAULTS)
def test_faults_within_the_delay_cost_nobody_anything(fault: str) -> None:
    """The log is that of the ideal channel, bit by bit."""
    ideal, networked = end(simulation(kind=Simulation)), end(simulation(**FAULTS[fault]()))
    assert networked.state.head == ideal.state.head
    assert networked.state.removals == ()


def test_a_link_slower_than_the_delay_costs_a_seat() -> None:
    """The other side of the bound."""

    class Late(Links):
        def arrivals(self, now: float, sender: PeerId, receiver: PeerId) -> Any:
            return (now + (20 * DELAY if sender == peers(6)[0] else 0.1),)

    removals = end(simulation(links=Late(0.1))).state.removals
    assert removals[0].peer == peers(6)[0]


class TellsOneSomethingElse(Conduct):
    """Signs two Reveals in step 1, and shows the second one to one peer only."""

    def __init__(self, key: Identity, victim: PeerId) -> None:
        self.key, self.victim = key, victim

    def post(self, recipient: PeerId, honest: Frame) -> Iterable[Frame | bytes]:
        """Another message for the victim; messages only, not what it passes on."""
        if not isinstance(honest, Envelope) or honest.sender != self.key.peer_id or recipient != self.victim:
            return (honest,)
        if honest.slot != Slot(1, 0, Phase.REVEAL):
            return (honest,)
        return (seal(self.key, honest.run, honest.slot, honest.log_head, encode(Reveal(bytes(64)).to_item())),)


@pytest.mark.requirement("BCAST-8")
@pytest.mark.parametrize("sparse", [False, True])
def test_two_versions_of_a_message_cost_their_signer_its_seat_and_nobody_elses(sparse: bool) -> None:
    keys = identities(6, 0)
    conducts = {keys[0].peer_id: TellsOneSomethingElse(keys[0], keys[1].peer_id)}
    network = {"neighbours": ring(both_ways=True), "links": Links(DELAY / 5)} if sparse else {"links": Links(DELAY)}
    state = end(simulation(conducts=conducts, **network)).state
    assert [removal.peer for removal in state.removals] == [keys[0].peer_id]
    expected = {Fault.EQUIVOCATION, Fault.SILENT, Fault.WRONG_OPENING} if sparse else {Fault.EQUIVOCATION}
    assert state.removals[0].fault in expected


# -- One node ----------------------------------------------------------------------------------------


def protocol(requests: list[AgreedBroadcast]) -> Exchange[State]:
    """Asks for these broadcasts, one after the other."""
    while requests:
        yield requests.pop(0)
    return None  # type: ignore[return-value]


def request(slot: Slot) -> AgreedBroadcast:
    """A's message in ``slot``."""
    return AgreedBroadcast(slot, ROSTER, replace(message(A), slot=slot), 1)


def node(*slots: Slot) -> Node:
    """A's node, started at 0."""
    made = Node(A, RUN, protocol([request(slot) for slot in slots or (SLOT,)]), TIMING, Limits(4, 64))
    made.start(0.0)
    return made


def relaying() -> Node:
    """A's node on a sparse overlay, started at 0, with nothing left to send."""
    made = Node(A, RUN, protocol([request(SLOT)]), TIMING, Limits(4, 64, relays=True))
    made.start(0.0)
    sent(made)
    return made


def hand(one: Node, now: float, neighbour: Identity, frame: Frame) -> None:
    """Let the link to ``neighbour`` bring a frame."""
    one.read(now, neighbour.peer_id, encode_frame(frame))


def sent(one: Node) -> list[Frame]:
    """What it wants to send, taken out of its outbox."""
    frames, one.outbox = [frame for _, frame in one.outbox], []
    return frames


def deliver(one: Node, now: float) -> None:
    """Let SLOT end with a certificate."""
    for key in (B, C, D):
        hand(one, now, key, message(key))
    for key in (B, C, D):
        hand(one, now, key, echo(key, VECTOR))


@pytest.mark.requirement("NODE-1")
def test_deadlines_count_from_the_last_delivery() -> None:
    one = node(SLOT, SLOT._replace(phase=Phase.REPORT))
    assert one.wake_at == TIMING.gradient + TIMING.round
    deliver(one, 1.5)
    assert one.current == (0, 0, Phase.REPORT.rank)
    assert one.wake_at == 1.5 + TIMING.gradient + TIMING.round


@pytest.mark.requirement("NODE-2")
def test_a_node_answers_about_past_phases_also_after_its_run() -> None:
    for slots in ((SLOT, SLOT._replace(phase=Phase.REPORT)), (SLOT,)):
        one = node(*slots)
        deliver(one, 1.0)
        sent(one)
        hand(one, 2.0, B, Ask(SLOT, (bytes(32),)))
        (answer,) = sent(one)
        assert isinstance(answer, Answer)
        assert answer.signatures == tuple(echo(key, VECTOR).signature for key in KEYS[:4])
        assert len(answer.envelopes) == 4


def test_frames_that_come_early_are_taken_when_their_phase_begins() -> None:
    one = node(SLOT._replace(phase=Phase.COMMIT), SLOT)
    for key in (B, C, D):
        hand(one, 0.0, key, message(key))
    one.wake(one.wake_at or 0.0)
    while one.current == (0, 0, Phase.COMMIT.rank):
        one.wake(one.wake_at or 0.0)
    assert one.ballot is not None and one.ballot.complete()


# -- Sparse overlays -----------------------------------------------------------------------------------


def flooded(*frames: Any) -> list[bool]:
    """Which of these are passed on."""
    flooding = Flooding()
    return [flooding.fresh(frame, ROSTER) for frame in frames]


@pytest.mark.requirement("NODE-3")
def test_everything_is_passed_on_once_and_chains_when_they_are_longer() -> None:
    one, two = relay(echo(B, VECTOR), (C,)), relay(echo(B, VECTOR), (C, D))
    assert flooded(one.echo, one.echo, one, one, two, one) == [True, False, True, False, True, False]
    assert flooded(two, one.echo, one) == [True, True, False]


@pytest.mark.requirement("NODE-3")
def test_of_a_message_two_versions_are_passed_on() -> None:
    assert flooded(message(B), message(B, 1), message(B, 2), message(C)) == [True, True, False, True]


@pytest.mark.requirement("NODE-3")
def test_late_plain_versions_do_not_block_a_chain_that_is_in_time() -> None:
    plain = [echo(B, (None, *VECTOR[1:])), echo(B, (None, None, *VECTOR[2:])), echo(B, VECTOR)]
    assert flooded(*plain, relay(plain[2], (C,))) == [True, True, False, True]


@pytest.mark.requirement("NODE-3")
def test_a_chain_of_strangers_blocks_nothing() -> None:
    strangers = relay(echo(B, VECTOR), KEYS[4:7])
    forged = Relay(echo(B, VECTOR), ((C.peer_id, bytes(64)), (D.peer_id, bytes(64))))
    assert flooded(strangers, forged, relay(echo(B, VECTOR), (C,))) == [False, False, True]


@pytest.mark.requirement("NODE-3")
def test_a_node_passes_on_what_its_neighbours_lack() -> None:
    one = relaying()
    forged = replace(message(D), signature=bytes(64))
    for neighbour, frame in ((B, message(C)), (B, message(C)), (D, message(C)), (B, forged), (B, message(KEYS[4]))):
        hand(one, 1.0, neighbour, frame)
    assert sent(one) == [message(C)]
    assert one.ignored == 4


@pytest.mark.requirement("NODE-3")
def test_a_decided_message_that_came_in_an_answer_travels_on() -> None:
    one = relaying()
    ballot = Ballot(Place(A, RUN, SLOT, ROSTER, 1, HEAD))
    ballot.decided = dict(zip(ROSTER, VECTOR, strict=True))
    one.ballot = ballot
    forged = replace(message(C), signature=bytes(64))
    answer = Answer(SLOT, (), (forged, message(C), message(C, 1)))
    hand(one, 0.9, D, answer)
    assert sent(one) == []  # nobody asked D
    one.send(Send(Ask(SLOT, (VECTOR[2],)), B.peer_id))
    sent(one)
    hand(one, 1.0, B, answer)
    assert sent(one) == [message(C)]


def wakes(one: Node, times: int = 1) -> None:
    """Let so many of its deadlines pass."""
    for _ in range(times):
        one.wake(one.wake_at or 0.0)


@pytest.mark.requirement("NODE-3")
def test_a_relay_waits_until_the_fallback_and_stops_no_envelope() -> None:
    """Before the fallback, a neighbour may not be in the phase; and anyone can wrap what an honest peer signed."""
    one, chain = relaying(), relay(echo(C, VECTOR), (D,))
    for frame in (Relay(message(C), ()), chain, chain, message(C), chain.echo):
        hand(one, 1.0, B, frame)
    assert sent(one) == [message(C), chain.echo]
    wakes(one)
    assert chain not in sent(one)
    wakes(one)
    assert sent(one).count(chain) == 1
    hand(one, one.wake_at or 0.0, B, relay(echo(D, VECTOR), (C,)))
    assert relay(echo(D, VECTOR), (C,)) in sent(one)


@pytest.mark.requirement("NODE-3")
def test_relays_that_nobody_can_count_stop_none_that_all_can() -> None:
    one, heads = relaying(), (bytes(32), bytes([1]) * 32)
    wakes(one, 2)
    sent(one)
    strange = [relay(echo(C, VECTOR, head), (D,)) for head in heads]
    short = [relay(echo(C, VECTOR[:length]), (D,)) for length in (1, 2)]
    long = relay(echo(C, VECTOR), (B, D))  # longer than b signatures
    elsewhere = [
        replace(echo(C, VECTOR), slot=SLOT.echo._replace(phase=phase)) for phase in (Phase.COMMIT, Phase.REPORT)
    ]
    signed = [seal(C, RUN, wrong.slot, HEAD, wrong.body) for wrong in elsewhere]
    for frame in (*strange, *short, long, *(relay(wrong, (D,)) for wrong in signed), relay(echo(C, VECTOR), (D,))):
        hand(one, one.wake_at or 0.0, B, frame)
    assert sent(one)[0] == relay(echo(C, VECTOR), (D,))
    assert one.ignored == 7 and not one.early


@pytest.mark.requirement("NODE-3")
def test_what_was_signed_in_another_run_is_nobodys_version() -> None:
    one = relaying()
    for version in range(3):
        hand(one, 1.0, B, seal(C, bytes(32), SLOT, HEAD, bytes([version])))
    hand(one, 1.0, B, message(C))
    assert sent(one) == [message(C)]


@pytest.mark.requirement("LIM-8")
def test_relays_are_nobodys_share_and_a_decided_message_travels_beyond_it() -> None:
    one = relaying()
    one.passed[C.peer_id] = one.limits.authored
    hand(one, 1.0, B, message(C))
    assert sent(one) == []
    wakes(one, 2)
    sent(one)
    hand(one, one.wake_at or 0.0, B, relay(echo(C, VECTOR), (D,)))
    assert relay(echo(C, VECTOR), (D,)) in sent(one)
    assert one.ballot is not None
    one.ballot.decided = dict(zip(ROSTER, VECTOR, strict=True))
    hand(one, one.wake_at or 0.0, D, message(C))
    assert sent(one) == [message(C)] and one.passed[C.peer_id] == one.limits.authored


@pytest.mark.requirement("LIM-5", "NODE-3")
def test_what_a_node_has_no_room_to_keep_it_does_not_pass_on() -> None:
    one, later = relaying(), SLOT._replace(phase=Phase.REPORT)
    one.links[C.peer_id].early = one.limits.early
    hand(one, 1.0, B, seal(C, RUN, later, HEAD, b""))
    assert sent(one) == []
    one.links[C.peer_id].early = 0
    hand(one, 1.0, D, seal(C, RUN, later, HEAD, b""))
    assert len(sent(one)) == 1


@pytest.mark.requirement("BCAST-8")
def test_a_second_version_that_came_early_is_evidence_though_its_phase_has_ended() -> None:
    one = node(SLOT._replace(phase=Phase.COMMIT), SLOT, SLOT._replace(phase=Phase.REPORT))
    for key in (B, C, D):
        hand(one, 0.0, key, message(key))
        hand(one, 0.0, key, echo(key, VECTOR))
    hand(one, 0.0, B, message(B, 1))
    while one.current == (0, 0, Phase.COMMIT.rank):
        wakes(one)
    assert one.current == (0, 0, Phase.REPORT.rank)  # the frames that came early were enough
    assert {header.digest for header in one.late[B.peer_id]} == {digest(message(B)), digest(message(B, 1))}


@pytest.mark.requirement("LIM-9")
def test_what_a_node_knows_of_a_phase_it_forgets_when_the_phase_is_out_of_view() -> None:
    slots = [SLOT._replace(step=step) for step in range(REMEMBERED_PHASES + 3)]
    one, widths = node(*slots), []
    for _ in slots:
        wakes(one, 4)
        if one.task is not None:
            widths.append(len(one.witnessed))
            assert set(one.witnessed) <= set(one.past) and set(one.flooding) <= {*one.past, one.current}
    assert max(widths) == REMEMBERED_PHASES


def test_traffic_is_counted_by_phase() -> None:
    run = simulation()
    assert isinstance(run, NetworkSimulation)
    end(run)
    assert sum(run.traffic.values()) == sum(seat.bytes_sent for seat in run.seats.values())
    assert set(run.traffic) >= {Phase.COMMIT, Phase.SCATTER, Phase.CLOSING}
