"""One agreed broadcast among a few peers in virtual time, with an adversary who decides when what arrives."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from typing import Any

from btard.protocol.broadcast import (
    Answer,
    Arrival,
    Ask,
    Ballot,
    Frame,
    Networking,
    Offer,
    Place,
    Relay,
    Send,
    Timing,
    agreed_broadcast,
    relay_digest,
)
from btard.protocol.channel import Delivery
from btard.protocol.encoding import encode, tagged_hash
from btard.protocol.identity import Identity
from btard.protocol.messages import Echo, Envelope, Phase, Reveal, Slot, seal
from btard.protocol.model import PeerId
from btard.protocol.mprng import uint64

DELAY, WORK = 1.0, 2.0
TIMING = Timing(DELAY, WORK)
RUN, HEAD = b"r" * 32, b"h" * 32
SLOT = Slot(0, 0, Phase.REVEAL)
KEYS = [Identity(tagged_hash("tests/key", uint64(9), uint64(index))) for index in range(64)]
KEYS.sort(key=lambda identity: identity.peer_id)

Delays = Callable[[PeerId, PeerId], float]
"""How long a frame takes between two honest peers, in (0, Δ]."""


def message(identity: Identity, version: int = 0) -> Envelope:
    """A signed message; different versions differ in their bodies."""
    return seal(identity, RUN, SLOT, HEAD, encode(Reveal(bytes([version]) * 64).to_item()))


def digest(envelope: Envelope) -> bytes:
    """What names a message."""
    return envelope.signed_header.digest


def echo(identity: Identity, vector: Iterable[bytes | None], head: bytes = HEAD) -> Envelope:
    """A signed echo."""
    return seal(identity, RUN, SLOT.echo, head, encode(Echo(tuple(vector)).to_item()))


def relay(envelope: Envelope, signers: Iterable[Identity] = ()) -> Relay:
    """An echo with a chain of signatures."""
    chain = {one.peer_id: one.sign(relay_digest(envelope)) for one in signers if one.peer_id != envelope.sender}
    return Relay(envelope, tuple(sorted(chain.items())))


@dataclass
class Member:
    """One honest peer in its phase."""

    ballot: Ballot
    task: Networking[Delivery]
    begins: float
    """When it sends its message."""
    ready: float
    """The latest time at which it might have."""
    wake: float | None = None
    early: list[Arrival] = field(default_factory=list)
    begun: bool = False
    at: float | None = None
    """When it delivered."""
    delivery: Delivery | None = None

    @property
    def id(self) -> PeerId:
        """The peer id."""
        return self.ballot.place.identity.peer_id

    @property
    def digests(self) -> tuple[bytes | None, ...]:
        """The delivered vector."""
        vector = self.delivery.vector if self.delivery else ()
        return tuple(None if entry is None else digest(entry) for entry in vector)

    def moment(self, round_: int) -> float:
        """E for −1, F for 0, and F + k(σ + Δ)."""
        return self.ready + (2 + round_) * TIMING.round

    @property
    def latest(self) -> float:
        """By when it must have delivered."""
        return self.moment(self.ballot.place.tolerated + 1) + 2 * DELAY


class Broadcast:
    """A phase. ``starts``: when each honest peer starts it, and how long it works before it sends."""

    def __init__(self, peers: int, tolerated: int, faulty: int, starts: Iterable[tuple[float, float]]) -> None:
        self.identities, self.tolerated = KEYS[:peers], tolerated
        self.roster = tuple(one.peer_id for one in self.identities)
        self.faulty = self.identities[peers - faulty :]
        self.keys = {one.peer_id: one for one in self.faulty}
        self.members = [
            self.member(one, start, work)
            for one, (start, work) in zip(self.identities[: peers - faulty], starts, strict=True)
        ]
        self.by_id = {member.id: member for member in self.members}
        self.delays: Delays = lambda sender, receiver: DELAY
        self.seen: list[Relay] = []
        """Vouched echoes that honest peers have sent."""
        self.sent: list[tuple[float, PeerId, PeerId | None, Frame]] = []
        self.now = -100.0
        self.events: list[tuple[float, int, int, Callable[[], None]]] = []
        self.order = count()

    def member(self, identity: Identity, start: float, work: float) -> Member:
        """An honest peer that starts at ``start``."""
        ballot = Ballot(Place(identity, RUN, SLOT, self.roster, self.tolerated, HEAD))
        ready = start + WORK
        task = agreed_broadcast(ballot, message(identity), TIMING, ready)
        return Member(ballot, task, start + work, ready)

    # -- Time ---------------------------------------------------------------------------------

    def at(self, time: float, action: Callable[[], None], late: bool = False) -> None:
        """Do ``action`` at ``time``; deadlines come after what arrives then."""
        heapq.heappush(self.events, (max(time, self.now), int(late), next(self.order), action))

    def run(self) -> Broadcast:
        """Play the phase to its end."""
        for member in self.members:
            self.at(member.begins, lambda member=member: self.begin(member))  # type: ignore[misc]
        while self.events and not all(member.delivery for member in self.members):
            self.now, _, _, action = heapq.heappop(self.events)
            action()
        return self

    def begin(self, member: Member) -> None:
        """A peer begins; what came early is taken in."""
        member.begun = True
        self.feed(member, None)
        for arrival in member.early:
            self.feed(member, arrival)

    def arrive(self, receiver: PeerId, sender: PeerId, frame: Frame) -> None:
        """A frame is here."""
        member = self.by_id[receiver]
        arrival = Arrival(self.now, sender, frame)
        if not member.begun:
            member.early.append(arrival)
        elif member.delivery is None:
            self.feed(member, arrival)
        elif isinstance(frame, Ask):
            for send in member.ballot.take(arrival):
                self.post(member, send)

    def feed(self, member: Member, arrival: Arrival | None) -> None:
        """Run a peer until it listens again."""
        if member.delivery is not None:
            return
        try:
            effect = member.task.send(arrival)
            while isinstance(effect, Send):
                self.post(member, effect)
                effect = member.task.send(None)
            if effect.until != member.wake:
                member.wake = effect.until
                self.at(effect.until, lambda: self.alarm(member, effect.until), late=True)
        except StopIteration as stop:
            member.delivery, member.at = stop.value, self.now

    def alarm(self, member: Member, until: float) -> None:
        """A deadline has come, if the peer still waits for it."""
        if member.wake == until:
            self.feed(member, None)

    def post(self, member: Member, send: Send) -> None:
        """An honest peer sends; the adversary sees it at once."""
        self.sent.append((self.now, member.id, send.to, send.frame))
        if isinstance(send.frame, Relay):
            self.seen.append(send.frame)
        for receiver in self.members:
            if receiver is not member and send.to in (None, receiver.id):
                self.inject(self.now + self.delays(member.id, receiver.id), receiver.id, member.id, send.frame)

    def inject(self, time: float, receiver: PeerId, sender: PeerId, frame: Frame) -> None:
        """Let a frame arrive at ``time``."""
        self.at(time, lambda: self.arrive(receiver, sender, frame))

    # -- What the adversary can make -------------------------------------------------------------

    @cached_property
    def honest_digests(self) -> dict[PeerId, bytes]:
        """Honest messages, by sender."""
        return {member.id: digest(message(member.ballot.place.identity)) for member in self.members}

    def vector(self, versions: Iterable[int | None]) -> tuple[bytes | None, ...]:
        """An echo's vector: honest messages, and a version of each faulty peer's."""
        chosen = dict(zip(self.keys, versions, strict=False))
        made = {peer: None if v is None else digest(message(self.keys[peer], v)) for peer, v in chosen.items()}
        return tuple(self.honest_digests.get(peer) or made.get(peer) for peer in self.roster)

    def mirrored(self, author: Identity, member: Member) -> Envelope | None:
        """An echo equal to an honest peer's; None if that has not echoed yet."""
        mine = member.ballot.mine
        return None if mine is None else seal(author, RUN, SLOT.echo, HEAD, mine.body)

    def certificate(self, member: Member) -> Answer:
        """The certificate of an honest peer's echo; with wrong signatures where honest peers have not echoed it."""
        mine = member.ballot.mine
        signatures = []
        for peer in self.roster:
            if peer in self.keys:
                made = self.mirrored(self.keys[peer], member)
            else:
                made = self.by_id[peer].ballot.mine
                made = made if made and mine and made.body == mine.body else None
            signatures.append(made.signature if made else bytes(64))
        return Answer(SLOT, tuple(signatures), ())


# -- What must hold ---------------------------------------------------------------------------------


class Broken(AssertionError):
    """A guarantee of the broadcast does not hold."""


def require(holds: bool, what: str) -> None:
    """Raise :class:`Broken` unless it ``holds``."""
    if not holds:
        raise Broken(what)


def check(broadcast: Broadcast) -> None:
    """Agreement, validity, termination, skew, no framing, and no slow path for free."""
    members = broadcast.members
    require(all(member.delivery for member in members), "termination")
    times = [member.at for member in members if member.at is not None]
    require(all(member.at is not None and member.at <= member.latest + 1e-9 for member in members), "time of delivery")
    require(max(times) - min(times) <= TIMING.skew + 1e-9, f"skew {max(times) - min(times)}")
    require(len({member.digests for member in members}) == 1, "agreement")
    entries = dict(zip(broadcast.roster, members[0].digests, strict=True))
    require(all(entries[peer] == sent for peer, sent in broadcast.honest_digests.items()), "validity")
    for member in members:
        check_notices(broadcast, member)
        check_slow_path(broadcast, member)


def check_notices(broadcast: Broadcast, member: Member) -> None:
    """No honest peer is complained about, all evidence proves something, honest echoes are explained."""
    notices = member.delivery.notices if member.delivery else None
    require(
        notices is not None and set(notices.complaints) <= set(broadcast.keys), "an honest peer is complained about"
    )
    for first, second in notices.evidence if notices else ():
        same = (first.run, first.slot, first.sender) == (second.run, second.slot, second.sender)
        proves = same and first.digest != second.digest and first.authentic and second.authentic
        require(proves and first.sender in broadcast.keys, "evidence that proves nothing")
    for shown in notices.echoes if notices else ():
        if shown.sender in broadcast.by_id:
            require(explained(broadcast, broadcast.by_id[shown.sender]), "an honest echo is not explained")


def explained(broadcast: Broadcast, member: Member) -> bool:
    """Whether a peer says why its echo differs from what was delivered (BAN-10)."""
    notices = member.delivery.notices if member.delivery else None
    if notices is None:
        return False
    known = {*notices.complaints, *(first.sender for first, _ in notices.evidence)}
    return disputed(member) <= known


def disputed(member: Member) -> set[PeerId]:
    """Whose delivered message is not what the peer echoed."""
    heard = member.ballot.mine.message if member.ballot.mine else None
    vector: Any = heard.vector if isinstance(heard, Echo) else ()
    named = zip(member.ballot.place.roster, vector, member.digests, strict=True)
    return {peer for peer, mine, delivered in named if delivered is not None and mine != delivered}


def check_slow_path(broadcast: Broadcast, member: Member) -> None:
    """Whoever was forced into the fallback can name a culprit: silent, complained of, or an echo that differs."""
    if member.ballot.fallback is None or member.delivery is None:
        return
    notices = member.delivery.notices
    named = None in member.digests or notices.complaints or notices.echoes or disputed(member)
    require(bool(named), "the fallback cost nobody anything")


# -- An adversary ------------------------------------------------------------------------------------

MESSAGE, ECHO, MIRROR, CHAIN, REPLAY, CERTIFICATE, OFFER, ASK = range(8)


FORGED = 64
"""More than there are peers."""


@dataclass(frozen=True)
class Move:
    """A frame of the adversary. ``round`` and ``nudge``: when it arrives, by each receiver's clock."""

    kind: int
    author: int
    targets: int
    """To whom, as a bit mask."""
    round: int
    """−2: at the start; −1: E; 0: F; k: the end of the k-th round of the fallback."""
    nudge: float
    version: int
    """Of the message, or whose echo is copied."""
    versions: tuple[int | None, ...]
    """What an echo says of the faulty peers' messages."""
    signers: int
    """How many faulty peers vouch; beyond ``FORGED`` the chain also has false signatures of all honest peers."""


def play(broadcast: Broadcast, moves: Iterable[Move]) -> Broadcast:
    """A phase with these moves of the adversary."""
    for move in moves if broadcast.faulty else ():
        for index, target in enumerate(broadcast.members):
            if move.targets >> index & 1:
                time = target.moment(move.round) + move.nudge
                broadcast.at(time, lambda move=move, target=target: perform(broadcast, move, target))  # type: ignore[misc]
    return broadcast.run()


def perform(broadcast: Broadcast, move: Move, target: Member) -> None:
    """Let the frames of a move arrive now."""
    sender = broadcast.faulty[move.author % len(broadcast.faulty)].peer_id
    for frame in frames(broadcast, move, target):
        broadcast.arrive(target.id, sender, frame)


def frames(broadcast: Broadcast, move: Move, target: Member) -> Iterator[Frame]:
    """What a move consists of."""
    author = broadcast.faulty[move.author % len(broadcast.faulty)]
    model = broadcast.members[move.version % len(broadcast.members)]
    vouchers = [one for one in broadcast.faulty if one is not author][: move.signers]
    forged = {member.id: bytes(64) for member in broadcast.members} if move.signers >= FORGED else {}
    mirrored = broadcast.mirrored(author, model)
    match move.kind:
        case 0:
            yield message(author, move.version)
        case 1:
            yield echo(author, broadcast.vector(move.versions))
        case 2 if mirrored:
            yield mirrored
        case 3:
            made = relay(echo(author, broadcast.vector(move.versions)), vouchers)
            yield Relay(made.echo, tuple(sorted({**dict(made.signatures), **forged}.items())))
        case 4 if broadcast.seen:
            known = broadcast.seen[move.version % len(broadcast.seen)]
            added = relay(known.echo, broadcast.faulty).signatures
            yield Relay(known.echo, tuple(sorted({**dict(known.signatures), **dict(added)}.items())))
        case 5:
            yield broadcast.certificate(model)
        case 6:
            yield Offer(SLOT)
        case 7:
            yield Ask(SLOT, (bytes(32),))
