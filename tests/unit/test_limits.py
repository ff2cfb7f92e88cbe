"""Limits: honest frames always fit; a flood costs bounded memory and no honest peer its seat."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import networkx
import pytest
from btard.network.coalition import World
from btard.network.limits import ANSWERS, Limits, Link
from btard.network.links import FaultyLinks, Links
from btard.network.node import Node, key_of_slot
from btard.network.virtual import NetworkSimulation
from btard.protocol.bans import Departure, Fault
from btard.protocol.broadcast import Answer, Ask, Frame, Offer, Relay, decode_frame, encode_frame
from btard.protocol.encoding import ARRAY, DecodeError, TooMany, encode, head
from btard.protocol.identity import Identity
from btard.protocol.messages import (
    ECHO,
    MAX_AGREED_BODY,
    MAX_CORRECTIONS,
    MAX_ECHOES,
    MAX_LETTERS,
    Accusation,
    Commit,
    Echo,
    Envelope,
    Notices,
    Phase,
    Report,
    SignedHeader,
    Slot,
    Statement,
    Vote,
    seal,
)
from btard.protocol.model import PeerId
from btard.protocol.state import Conduct, State

from tests.swarms import TinyTask, configuration, genesis, identities, played

FAR = 2**64 - 1
"""The greatest number: fields as long as they get."""


def swarm(conducts: dict[int, Conduct] | None = None, seed: int = 0, **changes: Any) -> NetworkSimulation:
    """A run on a simulated network that has not started; ``conducts`` by index in the roster."""
    config = configuration(**{"peers": 4, "tolerated": 1, "steps": 3, "dimension": 24, **changes})
    made, peers, task = genesis(config, seed), identities(config.peers, seed), TinyTask(config.dimension)
    named = {peers[index].peer_id: conduct for index, conduct in (conducts or {}).items()}
    world = World(frozenset(named), config.gradient_clip)
    return NetworkSimulation(made, peers, task.initial_parameters(), task, world, named)


def finished(simulation: NetworkSimulation) -> State:
    """The agreed state in which a run ends; the simulation checks agreement after every step."""
    *_, last = simulation.run()
    return last.state


# -- Sizes ----------------------------------------------------------------------------------------


def bulky_header(index: int) -> SignedHeader:
    slot = Slot(FAR, FAR, Phase.COMMIT, FAR)
    return SignedHeader(bytes(32), slot, index.to_bytes(32, "big"), bytes(32), bytes(32), bytes(64))


def bulky(slot: Slot, body: bytes, sender: bytes = bytes(32)) -> Envelope:
    return Envelope(bytes(32), slot, sender, bytes(32), body, bytes(64))


def bulkiest_notices(peers: int) -> Notices:
    """Everybody is complained about, every faulty peer equivocated, and as many echoes as there is room for differ."""
    ids = [index.to_bytes(32, "big") for index in range(peers)]
    evidence = tuple((bulky_header(index), bulky_header(index)) for index in range(peers // 2))
    echo = encode(Echo((bytes(32),) * peers).to_item())
    echoes = tuple(bulky(Slot(FAR, FAR, Phase.COMMIT, ECHO), echo, ids[index % peers]) for index in range(MAX_ECHOES))
    return Notices(tuple(ids), evidence, echoes)


def bulkiest(peers: int) -> Iterator[Envelope]:
    """The longest messages that an honest peer can have to send."""
    notices, hashes = bulkiest_notices(peers), (bytes(32),) * peers
    accusations = tuple(Accusation(index.to_bytes(32, "big"), FAR) for index in range(peers))
    letter = bulky(Slot(FAR, FAR, Phase.PROBATION, FAR), bytes(32))
    commit = Commit(hashes, bytes(32), bytes(32), accusations, (letter,) * MAX_LETTERS, True, notices)
    report = Report(bytes(8 * peers), bytes(8 * peers), notices=notices)
    faults = 4 * (peers // 2)  # of every faulty peer as worker and as aggregator, in two steps
    statements = tuple(Statement(FAR, index.to_bytes(32, "big"), 255) for index in range(faults))
    longest = statements[0]._replace(correction=bytes(MAX_CORRECTIONS))
    vote = Vote((longest, *statements[1:]), notices)
    for message in (commit, report, vote):
        yield bulky(Slot(FAR, FAR, message.phase), encode(message.to_item()))


@pytest.mark.requirement("LIM-1")
@pytest.mark.parametrize("peers", [4, 16, 128, 1024])
def test_the_longest_honest_frames_fit(peers: int) -> None:
    limits = Limits(peers, dimension=4 * peers)
    messages = list(bulkiest(peers))
    assert all(len(message.body) <= MAX_AGREED_BODY for message in messages)
    echo = bulky(Slot(FAR, FAR, Phase.COMMIT, ECHO), encode(Echo((bytes(32),) * peers).to_item()))
    vouchers = tuple((peer.to_bytes(32, "big"), bytes(64)) for peer in range((peers - 1) // 2))
    slot = Slot(FAR, FAR, Phase.COMMIT)
    part = bulky(Slot(FAR, FAR, Phase.SCATTER, peers - 1), bytes(4 * limits.dimension))
    frames: list[Frame] = [*messages, echo, Relay(echo, vouchers), Offer(slot), part]
    frames.append(Ask(slot, (bytes(32),) * min(3 * peers, 1024)))
    if peers <= 128:
        frames.append(Answer(slot, (bytes(64),) * peers, (messages[2],) * (2 * peers)))
    for frame in frames:
        data = encode_frame(frame)
        limits.check_size(data)
        assert limits.fits(frame, len(data)) and len(data) <= limits.frame
        assert decode_frame(data, limits.frame, limits.items) == frame


@pytest.mark.requirement("LIM-2")
@pytest.mark.parametrize("kind", range(5))
def test_a_frame_that_is_longer_than_its_kind_allows_is_not_even_read(kind: int) -> None:
    node = started().nodes[identities(4, 0)[0].peer_id]
    read: list[int] = []
    node.decode = lambda data, limit, items: read.append(len(data)) or Offer(Slot(0, 0, Phase.COMMIT))
    limit = node.limits.kinds[kind]
    node.links[identities(4, 0)[1].peer_id].owed = 2
    for size in (limit, limit + 1):
        node.read(0.0, identities(4, 0)[1].peer_id, bytes([0x82, kind]).ljust(size, b"\0"))
    assert read == [limit]


def started(**changes: Any) -> NetworkSimulation:
    """A run after its first step."""
    simulation = swarm(**changes)
    simulation.paused = simulation.run()  # type: ignore[attr-defined]
    next(simulation.paused)  # type: ignore[attr-defined]
    return simulation


def check_safety(simulation: NetworkSimulation, state: State) -> None:
    """No honest peer left but in a pair with a Byzantine one."""
    for removal in state.removals:
        assert removal.how is Departure.ELIMINATED or removal.peer in simulation.world.coalition
    pairs = [
        removal.peer in simulation.world.coalition for removal in state.removals if removal.how is Departure.ELIMINATED
    ]
    assert 2 * sum(pairs) >= len(pairs)


# -- Honest traffic ---------------------------------------------------------------------------------


class Watcher:
    """The greatest share that any link or author used, as a fraction of what it may."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.most = {"brought": 0.0, "volume": 0.0, "early": 0.0, "passed": 0.0, "answered": 0.0, "ignored": 0}
        original = Node.begin

        def begin(node: Node, now: float, request: Any) -> None:
            self.look(node)
            original(node, now, request)

        monkeypatch.setattr(Node, "begin", begin)

    def look(self, node: Node) -> None:
        limits = node.limits
        for link in node.links.values():
            self.raise_to("brought", link.brought / limits.share)
            self.raise_to("volume", link.volume / limits.share_bytes)
            self.raise_to("early", link.early / limits.early)
        self.raise_to("passed", max(node.passed.values(), default=0) / limits.authored)
        self.raise_to("answered", max(node.answered.values(), default=0) / ANSWERS)

    def raise_to(self, name: str, value: float) -> None:
        self.most[name] = max(self.most[name], value)


class Splitter(Conduct):
    """Forces the fallback in every phase with all that is in its power: it sends its message to some, echoes to some,
    and passes on late."""

    def post(self, recipient: PeerId, honest: Frame) -> Iterable[Frame | bytes]:
        """Nothing to half of the peers, but in the first step."""
        place = honest.echo.slot if isinstance(honest, Relay) else honest.slot
        return () if place.step and recipient[-1] % 2 else (honest,)


OVERLAYS = {
    "complete": lambda n: None,
    "ring": lambda n: networkx.cycle_graph(n),
    "random regular": lambda n: networkx.random_regular_graph(3, n, seed=1),
}


@pytest.mark.requirement("LIM-4", "LIM-5", "LIM-8")
@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("attackers", [0, 3])
def test_honest_peers_never_use_up_their_shares(overlay: str, attackers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    watcher = Watcher(monkeypatch)
    simulation = swarm(dict.fromkeys(range(attackers), Splitter()), peers=8, tolerated=3, steps=2)
    graph: Any = OVERLAYS[overlay](8)
    peers = list(simulation.genesis.roster)
    neighbours = graph and {peer: [peers[i] for i in graph[at]] for at, peer in enumerate(peers)}
    hops = 1 if graph is None else networkx.diameter(graph)
    if attackers and graph is not None:  # the honest part must be connected
        neighbours = {peer: [*linked, *peers[attackers:]] for peer, linked in neighbours.items()}
    bound = 1.0 / hops
    links = FaultyLinks(0.02 * bound, bound, loss=0.1, duplication=0.4, jitter=0.9 * bound, retry=0.05 * bound)
    simulation.connect(links, neighbours)
    state = finished(simulation)
    assert all(
        removal.peer in simulation.world.coalition
        for removal in state.removals
        if removal.how is not Departure.ELIMINATED
    )
    assert all(watcher.most[name] <= 0.75 for name in ("brought", "volume", "early", "passed", "answered")), (
        watcher.most
    )
    assert watcher.most["brought"] > 0


@pytest.mark.requirement("LIM-4")
@pytest.mark.parametrize("peers", [4, 64, 128, 1024])
def test_two_fallbacks_fit_into_one_phase(peers: int) -> None:
    """A message, an echo, relays (two for each faulty author), an offer, two requests, two answers; twice; and what
    an honest peer sends before its fallback in a third phase, with a part before each."""
    faulty = (peers - 1) // 2
    broadcast = 2 + (peers - faulty) + 2 * faulty + 1 + 2 + 2
    assert 2 * broadcast + 7 + 3 <= Limits(peers, 4 * peers).share
    limits = Limits(peers, 4 * peers, relays=True)
    relays = 2 * (faulty + 1) + 2 + 1  # of each author: two of each length, my own, a decided message
    assert limits.authored + relays <= limits.frames
    assert 4 * limits.frames * peers <= limits.share


# -- Floods -----------------------------------------------------------------------------------------

Flood = Callable[[random.Random, "Flooder"], Frame | bytes]


@dataclass
class Flooder(Conduct):
    """Sends ``times`` frames of each of the ``kinds`` before every frame that it owes."""

    identity: Identity
    run: bytes
    roster: tuple[PeerId, ...]
    kinds: tuple[Flood, ...]
    times: int = 0
    key: tuple[int, int, Phase] = (0, 0, Phase.COMMIT)
    """The phase of the last frame that it owed."""
    last: Frame | None = None
    sent: int = 0

    def __post_init__(self) -> None:
        self.random = random.Random(0)

    def post(self, recipient: PeerId, honest: Frame) -> Iterable[Frame | bytes]:
        place = honest.echo.slot if isinstance(honest, Relay) else honest.slot
        self.key, self.last = place[:3], honest
        more = [kind(self.random, self) for kind in self.kinds for _ in range(self.times)]
        self.sent += len(more)
        self.random.shuffle(more)
        return [*more, honest]

    def slot(self, rng: random.Random, ahead: int = 0) -> Slot:
        step, attempt, phase = self.key
        return Slot(step + ahead, attempt, phase if not ahead else rng.choice(list(Phase)[:7]), rng.randrange(2))

    def unsigned(self, slot: Slot, body: bytes) -> Envelope:
        return Envelope(self.run, slot, self.identity.peer_id, bytes(32), body, self.random.randbytes(64))

    def signed(self, slot: Slot, body: bytes) -> Envelope:
        return seal(self.identity, self.run, slot, bytes(32), body)


def garbage(rng: random.Random, by: Flooder) -> bytes:
    return rng.randbytes(rng.randrange(400))


def huge(rng: random.Random, by: Flooder) -> bytes:
    return b"\x84\x04" + bytes(2_000_000) if rng.random() < 0.02 else b"\x82\x00" + rng.randbytes(30_000)


def stale(rng: random.Random, by: Flooder) -> Frame:
    return by.unsigned(Slot(0, 0, Phase.COMMIT, rng.randrange(2)), rng.randbytes(8))


def future(rng: random.Random, by: Flooder) -> Frame:
    step = by.key[0] + rng.choice((1, 1, 1, 2, 100, 2**40))
    return by.unsigned(Slot(step, rng.randrange(2), rng.choice(list(Phase)), rng.randrange(3)), rng.randbytes(2000))


def forged(rng: random.Random, by: Flooder) -> Frame:
    return Envelope(
        by.run, by.slot(rng, rng.randrange(2)), rng.choice(by.roster), bytes(32), rng.randbytes(8), rng.randbytes(64)
    )


def copies(rng: random.Random, by: Flooder) -> Frame | bytes:
    return by.last or b""


def offers(rng: random.Random, by: Flooder) -> Frame:
    return Offer(by.slot(rng, rng.randrange(2)))


def asks(rng: random.Random, by: Flooder) -> Frame:
    return Ask(by.slot(rng), tuple(rng.randbytes(32) for _ in range(rng.randrange(1, 4))))


def answers(rng: random.Random, by: Flooder) -> Frame:
    envelopes = tuple(by.unsigned(by.slot(rng), rng.randbytes(1000)) for _ in range(3))
    return Answer(by.slot(rng), tuple(rng.randbytes(64) for _ in by.roster), envelopes)


def relays(rng: random.Random, by: Flooder) -> Frame:
    vector = tuple(rng.choice((None, rng.randbytes(32))) for _ in by.roster)
    slot = by.slot(rng)._replace(part=ECHO)
    return Relay(by.signed(slot, encode(Echo(vector).to_item())), ((rng.randbytes(32), rng.randbytes(64)),))


def versions(rng: random.Random, by: Flooder) -> Frame:
    """Ever new signed versions of its message and its echo."""
    return by.signed(by.slot(rng), rng.randbytes(500))


HARMLESS: tuple[Flood, ...] = (garbage, huge, stale, future, forged, copies, offers, asks, answers)
"""Nothing in it is signed, so nothing in it convicts."""


def flooded(simulation: NetworkSimulation, kinds: tuple[Flood, ...], times: int = 0) -> Flooder:
    identity = identities(simulation.genesis.configuration.peers, 0)[0]
    return Flooder(identity, simulation.genesis.run, simulation.genesis.roster, kinds, times)


def fed(node: Node, sender: PeerId, frames: Iterable[Frame | bytes], now: float) -> int:
    """Give ``frames`` to ``node``; the most memory that it held because of them, in bytes."""
    held = most = 0
    node.decode = decode_frame
    tracemalloc.start()
    try:
        for frame in frames:
            data = frame if isinstance(frame, bytes) else encode_frame(frame)
            del frame
            before = tracemalloc.get_traced_memory()[0]
            node.read(now, sender, data)
            held += tracemalloc.get_traced_memory()[0] - before
            most = max(most, held)
    finally:
        tracemalloc.stop()
    return most


@pytest.mark.requirement("LIM-4", "LIM-5", "LIM-6", "LIM-7")
@pytest.mark.parametrize("kind", [*HARMLESS, relays, versions], ids=lambda kind: kind.__name__)
def test_thousands_of_frames_of_one_kind_cost_a_node_bounded_memory(kind: Flood) -> None:
    simulation = started()
    node = simulation.nodes[simulation.genesis.roster[1]]
    by = flooded(simulation, (kind,))
    by.key, by.last = (*node.current[:2], node.phase), Offer(Slot(*node.current[:2], node.phase))
    queued, limits = len(node.outbox), node.limits
    assert fed(node, by.identity.peer_id, (kind(by.random, by) for _ in range(4000)), simulation.now) < memory_bound(
        limits
    )
    assert len(node.outbox) - queued <= ANSWERS + 2
    assert all(link.early <= limits.early and link.brought <= limits.share for link in node.links.values())


@pytest.mark.requirement("LIM-9")
def test_only_frames_of_phases_that_are_near_are_kept() -> None:
    simulation = started()
    node, by = simulation.nodes[simulation.genesis.roster[1]], flooded(simulation, ())
    step, attempt, _ = node.current
    near = [(step, attempt, Phase.CLOSING), (step, attempt + 1, Phase.GATHER), (step + 1, 0, Phase.COMMIT)]
    far = [
        (step, attempt + 2, Phase.COMMIT),
        (step + 1, 1, Phase.COMMIT),
        (step + 2, 0, Phase.COMMIT),
        (0, 7, Phase.COMMIT),
    ]
    for keys, kept in ((near, True), (far, False)):
        for key in keys:
            ignored = node.ignored
            node.read(simulation.now, by.identity.peer_id, encode_frame(by.signed(Slot(*key), b"")))
            assert (key_of_slot(Slot(*key)) in node.early, node.ignored == ignored) == (kept, kept), key


@pytest.mark.requirement("LIM-5")
def test_one_link_s_early_frames_leave_room_for_the_others() -> None:
    simulation = started()
    node, by = simulation.nodes[simulation.genesis.roster[1]], flooded(simulation, ())
    ahead = Slot(node.current[0] + 1, 0, Phase.COMMIT)
    for _ in range(60):
        node.read(simulation.now, by.identity.peer_id, encode_frame(by.unsigned(ahead, by.random.randbytes(25_000))))
    kept = [arrival.frame for arrival, _ in node.early[key_of_slot(ahead)]]
    assert 0 < len(kept) < 20 and sum(len(encode_frame(frame)) for frame in kept) <= node.limits.early
    other = identities(4, 0)[2]
    node.read(simulation.now, other.peer_id, encode_frame(seal(other, by.run, ahead, bytes(32), bytes(25_000))))
    assert len(node.early[key_of_slot(ahead)]) == len(kept) + 1


@pytest.mark.requirement("LIM-6")
def test_an_answer_that_nobody_asked_for_is_ignored() -> None:
    simulation = started()
    node, by = simulation.nodes[simulation.genesis.roster[1]], flooded(simulation, ())
    slot = Slot(*node.current[:2], node.phase)
    for asked, ignored in ((0, 1), (1, 0)):
        node.links[by.identity.peer_id].owed = asked
        before = node.ignored
        node.read(
            simulation.now, by.identity.peer_id, encode_frame(Answer(slot, (), (by.unsigned(slot, bytes([asked])),)))
        )
        assert node.ignored - before == ignored


@pytest.mark.requirement("LIM-6")
def test_an_answer_is_read_only_if_it_was_asked_for_and_once() -> None:
    node, sender = started().nodes[identities(4, 0)[1].peer_id], identities(4, 0)[0].peer_id
    read: list[bytes] = []
    node.decode = lambda data, limit, items: read.append(data) or decode_frame(data, limit, items)
    brought = node.links[sender].brought
    node.read(0.0, sender, b"\x84\x04junk")
    assert not read and node.links[sender].brought == brought
    node.links[sender].owed = 1
    for number in range(3):
        node.read(0.0, sender, b"\x84\x04" + bytes([number]))
    assert read == [b"\x84\x04\0"] and node.links[sender].brought == brought + 1


@pytest.mark.requirement("LIM-6")
def test_an_answer_that_is_late_does_not_take_the_place_of_the_next_one() -> None:
    link = Link()
    link.owed = 1
    link.next_phase()
    link.owed = 1
    for _ in range(2):  # the late one, and the one that is needed
        assert link.expects
        link.charge(b"\x84\x04")
    assert not link.expects
    link.owed = 1
    link.next_phase()
    link.next_phase()
    assert not link.expects


def swollen(kind: int, entry: bytes, size: int) -> bytes:
    """A frame of ``size`` bytes that claims to be of this ``kind`` and consists of small entries."""
    entries = (size - 8) // len(entry)
    return b"\x82" + bytes([kind]) + head(ARRAY, entries) + entry * entries


@pytest.mark.requirement("LIM-10")
@pytest.mark.parametrize("entry", ["00", "80", "a0", "60", "40", "8180", "a16100a0"])
@pytest.mark.parametrize("kind", range(5))
def test_a_long_frame_of_small_items_costs_next_to_nothing(kind: int, entry: str) -> None:
    limits = Limits(16, 1_000_000)
    data = swollen(kind, bytes.fromhex(entry), limits.kinds[kind])
    limits.check_size(data)
    node, sender = started().nodes[identities(4, 0)[1].peer_id], identities(4, 0)[0].peer_id
    node.limits, node.links[sender].owed = limits, 1
    ignored = node.ignored
    assert fed(node, sender, [data], 0.0) < 10_000
    assert node.ignored == ignored + 1
    tracemalloc.start()
    try:
        with pytest.raises(DecodeError):
            decode_frame(data, limits.frame, limits.items)
        assert tracemalloc.get_traced_memory()[1] < 200 * limits.items
    finally:
        tracemalloc.stop()


@pytest.mark.requirement("LIM-10")
@pytest.mark.parametrize("peers", [2, 16, 1024])
def test_a_frame_has_as_many_items_as_the_largest_honest_one(peers: int) -> None:
    slot, limits = Slot(FAR, FAR, Phase.COMMIT), Limits(peers)
    messages = (bulky(slot, b""),) * min(2 * peers, 1024)
    frame = Answer(slot, (bytes(64),) * peers, messages)
    data = encode_frame(frame)
    if peers < 1024:
        with pytest.raises(TooMany):
            decode_frame(data, limits.frame, limits.items - 1)
    assert decode_frame(data, limits.frame, limits.items) == frame


@pytest.mark.requirement("LIM-4")
def test_a_link_brings_no_more_bytes_than_its_share() -> None:
    node, sender = started().nodes[identities(4, 0)[1].peer_id], identities(4, 0)[0].peer_id
    read: list[int] = []
    node.decode = lambda data, limit, items: read.append(len(data)) or Offer(Slot(FAR, 0, Phase.COMMIT))
    limits, link = node.limits, node.links[sender]
    node.limits = limits = replace(limits, dimension=1_000_000)
    before = link.volume
    for number in range(limits.frames):
        node.read(0.0, sender, b"\x82\0" + number.to_bytes(4, "big").ljust(1_000_000, b"\0"))
    assert (
        before + sum(read) == link.volume <= limits.share_bytes < link.volume + 1_000_002
        and link.brought < limits.share
    )
    link.next_phase()
    assert link.volume == 0


@pytest.mark.requirement("LIM-8")
def test_of_one_author_no_more_is_passed_on_than_its_share() -> None:
    simulation = swarm()
    peers = list(simulation.genesis.roster)
    simulation.connect(Links(0.1), {peer: [other for other in peers if other != peer] for peer in peers})
    next(simulation.run())
    node, by = simulation.nodes[peers[1]], flooded(simulation, ())
    step = node.current[0] + 1
    slots = [Slot(step, 0, phase, part) for phase in (Phase.SCATTER, Phase.GATHER) for part in range(4)]
    slots += [Slot(step, 0, phase, part) for phase in Phase if phase.agreed for part in (0, ECHO)]
    slots += [slot._replace(step=step - 1, attempt=1) for slot in slots]
    frames = [by.signed(slot, bytes([version])) for slot in slots for version in range(2)]
    queued, carrier = len(node.outbox), identities(4, 0)[2]
    for frame in frames:
        node.read(simulation.now, carrier.peer_id, encode_frame(frame))
    assert len(frames) > node.limits.authored == len(node.outbox) - queued
    node.read(simulation.now, carrier.peer_id, encode_frame(seal(carrier, by.run, slots[0], bytes(32), b"")))
    assert len(node.outbox) - queued == node.limits.authored + 1  # another author has a share of its own
    assert node.links[by.identity.peer_id].early > 50 * node.links[carrier.peer_id].early > 0


@pytest.mark.requirement("LIM-1")
def test_an_agreed_message_of_one_byte_too_many_is_not_heard() -> None:
    node, by = started().nodes[identities(4, 0)[1].peer_id], flooded(started(), ())
    slot = Slot(*node.current[:2], node.phase)
    room = node.limits.message - (len(by.signed(slot, bytes(10_000)).encode()) - 10_000)
    for size, fits in ((room, True), (room + 1, False)):
        envelope = by.signed(slot, bytes(size))
        assert node.limits.fits(envelope, len(envelope.encode())) is fits


@pytest.mark.requirement("LIM-3")
def test_what_strangers_send_leaves_no_trace() -> None:
    simulation = started()
    node = simulation.nodes[simulation.genesis.roster[1]]
    by, stranger = flooded(simulation, ()), Identity(bytes(range(32))).peer_id
    by.key, by.last = (*node.current[:2], node.phase), Offer(Slot(*node.current[:2], node.phase))
    kinds = (*HARMLESS, relays, versions)
    before, queued = node.ignored, len(node.outbox)
    assert fed(node, stranger, (by.random.choice(kinds)(by.random, by) for _ in range(4000)), simulation.now) < 1000
    assert node.ignored == before + 4000 and len(node.outbox) == queued and stranger not in node.links


def memory_bound(limits: Limits) -> int:
    """What one link may cost a node: early frames, digests of copies, two more versions of a message and an echo in
    this phase, and answers that wait to be sent (their envelopes are not copied)."""
    digests = 200 * limits.share
    kept = 2 * (limits.message + limits.relay)
    return limits.early + digests + kept + 100_000


def against(kinds: tuple[Flood, ...], times: int, **changes: Any) -> tuple[NetworkSimulation, Flooder]:
    """A run in which the first peer floods all others."""
    config = configuration(**{"peers": 4, "tolerated": 1, "steps": 3, "dimension": 24, **changes})
    made = genesis(config)
    conduct = Flooder(identities(config.peers, 0)[0], made.run, made.roster, kinds, times)
    return swarm({0: conduct}, **changes), conduct


class Silent(Conduct):
    """Sends nothing."""

    def post(self, recipient: PeerId, honest: Frame) -> Iterable[Frame | bytes]:
        return ()


@pytest.mark.requirement("LIM-4", "LIM-5")
def test_a_peer_that_sends_a_hundred_thousand_frames_is_ignored_as_if_it_were_silent() -> None:
    kinds = tuple(kind for kind in HARMLESS if kind is not copies)  # a copy would bring in what it owes
    simulation, flooder = against(kinds, times=700)
    state, silent = finished(simulation), finished(swarm({0: Silent()}))
    assert flooder.sent >= 100_000
    (removal,) = state.removals
    assert removal.peer == flooder.identity.peer_id and removal.how is Departure.ABSENT
    assert state.head == silent.head and state.replica and silent.replica
    assert state.replica.state_hash == silent.replica.state_hash


@pytest.mark.requirement("LIM-4", "LIM-6", "LIM-7")
@pytest.mark.parametrize(("kinds", "times"), [((copies,), 600), (HARMLESS, 2)], ids=["copies", "within the share"])
def test_a_flood_of_copies_or_within_the_share_changes_nothing(kinds: tuple[Flood, ...], times: int) -> None:
    simulation, flooder = against(kinds, times)
    state = finished(simulation)
    expected = played(peers=4, tolerated=1, steps=3, dimension=24).state
    assert state.head == expected.head and state.removals == ()
    assert flooder.sent > 1000


@pytest.mark.requirement("LIM-4")
def test_a_peer_that_sends_version_after_version_leaves_alone() -> None:
    simulation, flooder = against((versions, relays), times=10)
    state = finished(simulation)
    (removal,) = state.removals
    assert removal.peer == flooder.identity.peer_id
    assert removal.fault in (Fault.EQUIVOCATION, Fault.SILENT)  # ⊥ if everybody got another version first


@pytest.mark.requirement("LIM-8")
def test_a_flood_over_a_sparse_overlay_uses_up_its_authors_share_and_no_carriers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watcher = Watcher(monkeypatch)
    simulation, flooder = against(
        (versions, future, stale, forged, garbage, copies, relays), times=20, peers=6, tolerated=2
    )
    peers = list(simulation.genesis.roster)
    ring = {peer: [peers[at - 1], peers[(at + 1) % 6]] for at, peer in enumerate(peers)}
    simulation.connect(Links(0.02), ring)
    passed: list[int] = []
    original = Node.begin

    def begin(node: Node, now: float, request: Any) -> None:
        link = node.links.get(flooder.identity.peer_id)
        others = [entry.brought / node.limits.share for peer, entry in node.links.items() if entry is not link]
        passed.append(max(others, default=0) <= 0.75)
        original(node, now, request)

    monkeypatch.setattr(Node, "begin", begin)
    state = finished(simulation)
    assert [removal.peer for removal in state.removals] == [flooder.identity.peer_id]
    assert all(passed) and watcher.most["passed"] <= 1


@pytest.mark.requirement("LIM-4")
def test_frames_that_come_twenty_times_do_not_use_up_an_honest_share() -> None:
    class Repeating(Links):
        def arrivals(self, now: float, sender: PeerId, receiver: PeerId) -> list[float]:
            return [now + self.latency * (1 + copy / 10) for copy in range(20)]

    simulation = swarm()
    simulation.connect(Repeating(0.05))
    expected = played(peers=4, tolerated=1, steps=3, dimension=24).state
    state = finished(simulation)
    assert state.head == expected.head and state.removals == ()
