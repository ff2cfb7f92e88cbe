"""Whole runs on bad networks: peers cut off at any time, random sparse overlays, attackers who pass nothing on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import networkx as nx
from btard.network.links import FaultyLinks
from btard.protocol.bans import Departure
from btard.protocol.broadcast import Frame, Relay
from btard.protocol.messages import Envelope, Phase
from btard.protocol.model import PeerId
from btard.protocol.state import Conduct
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import DELAY, GRADIENT_TIME, end, peers, simulation
from swarms import examples

PACES = st.lists(st.sampled_from((0.0, 0.5, 1.0)), min_size=8, max_size=8)


@st.composite
def swarms(draw: st.DrawFn) -> tuple[int, int, int]:
    """n, b and a seed."""
    count = draw(st.integers(4, 8))
    return count, (count - 2) // 2, draw(st.integers(0, 1000))


def pace(count: int, seed: int, paces: list[float]) -> Any:
    """How long each peer computes."""
    times = {peer: GRADIENT_TIME * share for peer, share in zip(peers(count, seed), paces, strict=False)}
    return times.__getitem__


@settings(max_examples=examples(30))
@given(swarms(), st.data(), PACES, st.sampled_from((0.0, 0.9)), st.sampled_from((0.0, 0.3)))
def test_exactly_the_peers_that_are_cut_off_are_absent(
    swarm: tuple[int, int, int], data: st.DataObject, paces: list[float], jitter: float, loss: float
) -> None:
    count, tolerated, seed = swarm
    cut = data.draw(st.lists(st.sampled_from(peers(count, seed)), min_size=1, max_size=tolerated, unique=True))
    cuts = {peer: data.draw(st.floats(0, 40), label="time of the cut") for peer in cut}
    links = FaultyLinks(0.05, DELAY, jitter=jitter, loss=loss, retry=0.1, cuts=dict(cuts), seed=seed)
    run = simulation(count, tolerated, 2, seed, links=links, pace=pace(count, seed, paces))
    closings: list[float] = []

    def watch(now: float, sender: PeerId, receiver: PeerId, frame: Frame, size: int) -> None:
        if isinstance(frame, Envelope) and last_commit(frame):
            closings.append(now)

    run.watch = watch
    state = end(run).state
    assert state.step == 4
    gone = {removal.peer: removal.how for removal in state.removals}
    assert set(gone) <= set(cuts)
    assert set(gone.values()) <= {Departure.ABSENT}
    # Who is cut off once it has said its last Commit is still in the roster: nothing is removed after that.
    assert all(peer in gone for peer, time in cuts.items() if time < min(closings))


def last_commit(envelope: Envelope) -> bool:
    """Whether this is a message of the last Commit of a run of two steps."""
    return envelope.slot.step == 3 and envelope.slot.phase is Phase.COMMIT


class PassesNothingOn(Conduct):
    """Speaks for itself, and drops what it should pass on."""

    def __init__(self, me: PeerId) -> None:
        self.me = me

    def post(self, recipient: PeerId, honest: Frame) -> Iterable[Frame | bytes]:
        author = honest.echo.sender if isinstance(honest, Relay) else getattr(honest, "sender", self.me)
        return (honest,) if author == self.me else ()


@settings(max_examples=examples(30))
@given(swarms(), st.data(), PACES, st.booleans())
def test_a_sparse_overlay_is_as_good_as_a_complete_one(
    swarm: tuple[int, int, int], data: st.DataObject, paces: list[float], silent: bool
) -> None:
    """Faulty peers pass nothing on, or are silent; the honest ones are connected without them."""
    count, tolerated, seed = swarm
    roster = peers(count, seed)
    faulty = data.draw(st.lists(st.sampled_from(roster), max_size=tolerated, unique=True))
    graph, hops = overlay(roster, faulty, data.draw(st.integers(0, 1 << 16)), data.draw(st.sampled_from((0.0, 0.3))))
    links = FaultyLinks(0.05 * DELAY / hops, DELAY / hops, jitter=0.8 * DELAY / hops, seed=seed)
    conducts = {peer: PassesNothingOn(peer) for peer in faulty}
    if silent:
        links.cut(0.0, faulty)
        conducts = {}
    neighbours = {peer: list(graph.adj[peer]) for peer in roster}
    run = simulation(
        count, tolerated, 2, seed, conducts, links=links, neighbours=neighbours, pace=pace(count, seed, paces)
    )
    state = end(run).state
    assert {removal.peer for removal in state.removals} <= set(faulty)
    assert not silent or {removal.peer for removal in state.removals} == set(faulty)


def overlay(roster: list[PeerId], faulty: list[PeerId], seed: int, density: float) -> tuple[Any, int]:
    """A random overlay whose honest part is a random tree and some more links, and the most hops in it."""
    honest = [peer for peer in roster if peer not in faulty]
    tree = nx.relabel_nodes(nx.random_labeled_tree(len(honest), seed=seed), dict(enumerate(honest)))
    extra = nx.relabel_nodes(nx.gnp_random_graph(len(roster), density, seed=seed), dict(enumerate(roster)))
    graph = nx.compose(tree, extra)
    for index, peer in enumerate(faulty):  # each has a link to some honest peer
        graph.add_edge(peer, honest[(seed + index) % len(honest)])
    return graph, max(1, nx.diameter(graph.subgraph(honest)))
