"""What attackers can do to those who pass frames on: whole runs on sparse overlays."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest
from btard.network.links import Links
from btard.network.virtual import NetworkSimulation
from btard.protocol.broadcast import Frame, Relay, relay_digest
from btard.protocol.encoding import encode
from btard.protocol.identity import Identity
from btard.protocol.messages import ECHO, Echo, Envelope, Phase, Slot, seal
from btard.protocol.model import PeerId
from btard.protocol.state import Conduct
from networks import DELAY, end, simulation
from swarms import identities

LATENCY = DELAY / 4
COMMIT = Slot(1, 0, Phase.COMMIT)
"""The phase that is attacked."""


def place(frame: Frame) -> Slot:
    """The slot that a frame is about."""
    return frame.echo.slot if isinstance(frame, Relay) else frame.slot


# -- One attacker's echo, shown to one peer in time, behind a flood ------------------------------------


@dataclass
class Script:
    """Six peers, two of them attackers: ``flooder`` and ``divider``. ``outer`` hears of the others through ``inner``
    only. What the attackers send in ``COMMIT`` beside their messages is played by the clock."""

    flood: bool
    run: Any = None
    messages: dict[PeerId, Envelope] = field(default_factory=dict)
    flooded: int = 0
    """How many frames of the flood were sent to each."""

    def __post_init__(self) -> None:
        self.keys = {key.peer_id: key for key in identities(6, 0)}
        self.flooder, self.divider, *self.honest = sorted(self.keys)
        self.outer, self.inner, *self.rest = self.honest
        attackers = [self.flooder, self.divider]
        graph = {peer: [other for other in (self.inner, *self.rest) if other != peer] for peer in self.rest}
        graph |= {self.outer: [self.inner], self.inner: [self.outer, *self.rest]}
        graph = {peer: [*linked, *attackers] for peer, linked in graph.items()}
        graph |= {one: [other for other in self.keys if other != one] for one in attackers}
        conducts = {one: Scripted(one, self) for one in attackers}
        self.run = simulation(6, 2, steps=2, conducts=conducts, neighbours=graph, links=Links(LATENCY))

    def moment(self, peer: PeerId, rounds: int) -> float:
        """E (1) or F (2) of a peer."""
        return float(self.run.nodes[peer].ready + rounds * 4 * DELAY)

    def send(self, time: float, sender: PeerId, to: Iterable[PeerId], make: Callable[[], Iterable[Frame]]) -> None:
        """Let frames arrive at ``time``."""
        seat = self.run.seats[sender]
        for peer in to:
            self.run.at(time - LATENCY, lambda peer=peer: [self.run.transmit(seat, peer, frame) for frame in make()])

    def begin(self, me: PeerId, message: Envelope) -> None:
        """Plan what else comes of ``me``, who could send its message now."""
        self.messages[me] = message
        if me == self.divider:  # half of the honest peers echo its message, so one more echo decides
            order = sorted(self.honest, key=lambda peer: self.run.nodes[peer].ready)
            between = (self.run.nodes[order[1]].ready + self.run.nodes[order[2]].ready) / 2 + 4 * DELAY
            self.send(between, me, order[2:], lambda: [message])
            last = max(self.moment(peer, 1) for peer in order)
            self.send(last + 0.1 + LATENCY, me, self.honest, lambda: [self.echo(me)])
            return
        last = self.moment(self.outer, 2)
        if self.flood:
            self.send(last - 1.2 * LATENCY, me, (self.inner, *self.rest), self.junk)
        self.send(last - 0.5 * LATENCY, me, (self.outer,), lambda: [self.echo(me)])

    def echo(self, me: PeerId) -> Envelope:
        """An echo that attests everyone's message."""
        heard, mine = self.run.nodes[self.flooder].ballot.messages, self.messages[me]
        sent = (
            self.messages[peer] if peer in self.messages else next(iter(heard[peer].values()))
            for peer in sorted(self.keys)
        )
        vector = tuple(message.signed_header.digest for message in sent)
        return seal(self.keys[me], mine.run, mine.slot.echo, mine.log_head, encode(Echo(vector).to_item()))

    def junk(self) -> list[Frame]:
        """Well signed envelopes of phases to come: more than an author's share."""
        mine, key = self.messages[self.flooder], self.keys[self.flooder]
        attempts = ((COMMIT.step, 0), (COMMIT.step, 1), (COMMIT.step + 1, 0))
        slots = [Slot(*attempt, phase, part) for attempt in attempts for phase in Phase for part in range(6)]
        later = [slot for slot in slots if slot[:3] != COMMIT[:3]]
        self.flooded = len(later)
        return [seal(key, mine.run, slot, mine.log_head, bytes([version])) for slot in later for version in range(2)]


@dataclass
class Scripted(Conduct):
    """Honest but in ``COMMIT``, where it sends its message, perhaps, and otherwise what the script says."""

    me: PeerId
    script: Script

    def post(self, recipient: PeerId, honest: Frame) -> Iterable[Frame | bytes]:
        """Nothing of others."""
        if place(honest)[:3] != COMMIT[:3]:
            return (honest,)
        mine = isinstance(honest, Envelope) and honest.sender == self.me and honest.slot.part != ECHO
        if not mine or not isinstance(honest, Envelope):
            return ()
        if self.me not in self.script.messages:
            self.script.begin(self.me, honest)
        return (honest,) if self.me == self.script.flooder else ()


@pytest.mark.requirement("PROP-1", "LIM-8", "NODE-3")
@pytest.mark.parametrize("flood", [False, True])
def test_whoever_has_used_up_its_share_cannot_make_one_peer_count_its_echo_and_others_not(flood: bool) -> None:
    """Its echo was in time at one peer, which vouches: a relay is nobody's share, so all get it."""
    script = Script(flood)
    seen = end(script.run)  # checks agreement after every step
    assert seen.state.step == 4 and len(seen.state.roster) >= 3
    assert not flood or script.flooded > script.run.nodes[script.inner].limits.authored
    pairs = [removal.peer for removal in seen.state.removals if removal.peer in script.honest]
    assert len(pairs) <= len(seen.state.removals) - len(pairs)


# -- An honest peer's old frames, brought back ----------------------------------------------------------


@dataclass
class Hoarder(Conduct):
    """Keeps all that ``victim`` signs; then brings it back at once to ``near``, old frames first, with chains of all
    lengths of the coalition's signatures."""

    victim: PeerId
    near: PeerId
    coalition: list[Identity]
    kept: dict[bytes, Envelope] = field(default_factory=dict)
    brought: int = 0

    def post(self, recipient: PeerId, honest: Frame) -> Iterable[Frame | bytes]:
        """Nothing of the victim, but in step 2 all of it."""
        author = honest.echo.sender if isinstance(honest, Relay) else getattr(honest, "sender", None)
        if author == self.victim:
            if isinstance(honest, Envelope):
                self.kept[honest.signed_header.digest] = honest
            return ()
        now = isinstance(honest, Envelope) and honest.slot[:3] == (2, 0, Phase.COMMIT) and not self.brought
        return [*self.everything(), honest] if now and recipient == self.near else (honest,)

    def everything(self) -> list[Frame]:
        """All that I can make of what I kept."""
        kept = sorted(self.kept.values(), key=lambda envelope: envelope.slot)
        old: list[Frame] = [envelope for envelope in kept if envelope.slot.step == 0]
        echoes = [envelope for envelope in kept if envelope.slot.phase.agreed and envelope.slot.part == ECHO]
        lengths = range(len(self.coalition) + 1)
        chains = [Relay(echo, self.chain(echo, length)) for echo in echoes for length in lengths]
        self.brought = len(old) + len(chains)
        return [*old, *chains]

    def chain(self, echo: Envelope, length: int) -> tuple[tuple[PeerId, bytes], ...]:
        """So many signatures of the coalition."""
        return tuple((key.peer_id, key.sign(relay_digest(echo))) for key in self.coalition[:length])


@pytest.mark.requirement("PROP-2", "PROP-3", "LIM-8", "NODE-3")
def test_nobody_pays_for_what_others_bring_in_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("btard.network.limits.SPARE_FRAMES", 16)  # else it takes 20 peers to use up a share
    count, tolerated = 10, 4
    keys = identities(count, 0)
    coalition, honest = keys[:tolerated], [key.peer_id for key in keys[tolerated:]]
    hoarder = Hoarder(honest[len(honest) // 2], honest[0], coalition)
    conducts = {key.peer_id: Conduct() for key in coalition} | {coalition[0].peer_id: hoarder}
    ring = {peer: [honest[(at + hop) % len(honest)] for hop in (-1, 1)] for at, peer in enumerate(honest)}
    graph = {peer: [*linked, *(conducts if peer in honest[:2] else ())] for peer, linked in ring.items()}
    graph |= {peer: honest[:2] for peer in conducts}
    run: NetworkSimulation = simulation(
        count, tolerated, 3, conducts=conducts, neighbours=graph, links=Links(DELAY / count)
    )
    for seen in run.run():
        assert seen.state.removals == ()
        if seen.state.step > 2:
            break
    assert hoarder.brought > run.nodes[honest[0]].limits.authored
