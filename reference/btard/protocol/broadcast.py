"""Agreed broadcast: all honest peers deliver the same vector of messages (chapter ``broadcast``).

One phase is the generator :func:`agreed_broadcast`. It yields what it wants from the network and from the
clock (:class:`Send`, :class:`Listen`) and reads like the protocol: messages, echoes, and if the echoes are
not all equal, Dolev–Strong over the echoes. It does no input or output and has no clock of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar

from btard.protocol.channel import Delivery
from btard.protocol.encoding import Item, Shape, decode, encode, tagged_hash
from btard.protocol.identity import Identity, verify
from btard.protocol.messages import (
    ENVELOPE_ITEMS,
    HASH_BYTES,
    MAX_AGREED_BODY,
    NO_NOTICES,
    SIGNATURE_BYTES,
    Echo,
    Envelope,
    MessageError,
    Notices,
    Phase,
    Proof,
    SignedHeader,
    Slot,
    count,
    hashes,
    items,
    listed,
    member,
    octets,
    seal,
)
from btard.protocol.model import MAX_PEERS, PeerId, Roster, ToleranceExceeded

SKEW_DELAYS = 3
"""Honest peers start a phase within this many delays Δ of each other (BCAST-7)."""
VERSIONS = 2
"""Most versions of one message that are kept: two prove an equivocation."""


# -- Frames -----------------------------------------------------------------------------------


class Relay(NamedTuple):
    """An echo that travels on, with the signatures of those who vouch that they accepted it in time."""

    echo: Envelope
    signatures: tuple[tuple[PeerId, bytes], ...]
    """By peer, in ascending order; the echo's own signature is not among them."""


class Offer(NamedTuple):
    """The sender holds the certificate of the phase."""

    slot: Slot


class Ask(NamedTuple):
    """The sender wants the certificate of the phase, and messages other than those it holds."""

    slot: Slot
    held: tuple[bytes, ...] = ()
    """Digests of the messages that I hold."""


class Answer(NamedTuple):
    """The echo signatures of all peers, in roster order (empty: no certificate yet), and messages."""

    slot: Slot
    signatures: tuple[bytes, ...]
    envelopes: tuple[Envelope, ...]


Frame = Envelope | Relay | Offer | Ask | Answer
FRAME_DEPTH = 3
"""Arrays inside each other: an answer, its messages, an envelope."""


def frame_items(peers: int) -> int:
    """Most items of a frame: an answer's (frame, kind, place and two lists; everyone's signature; of everyone up to
    two messages), or in the smallest runs a relay's (frame, kind, echo, list; two names and an array for each)."""
    answer = 8 + (1 + 2 * ENVELOPE_ITEMS) * peers
    relay = 3 + ENVELOPE_ITEMS + 3 * peers
    return max(answer, relay)


MAX_FRAME_ITEMS = frame_items(MAX_PEERS)


def frame_item(frame: Frame) -> Item:
    """CDDL ``frame``: a kind and its fields."""
    if isinstance(frame, Envelope):
        return [0, frame.to_item()]
    if isinstance(frame, Relay):
        return [1, frame.echo.to_item(), [[peer, signature] for peer, signature in frame.signatures]]
    if isinstance(frame, Offer):
        return [2, slot_item(frame.slot)]
    if isinstance(frame, Ask):
        return [3, slot_item(frame.slot), list(frame.held)]
    return [4, slot_item(frame.slot), list(frame.signatures), [entry.to_item() for entry in frame.envelopes]]


def encode_frame(frame: Frame) -> bytes:
    """The bytes on a link."""
    return encode(frame_item(frame))


def decode_frame(data: bytes, limit: int, most: int = MAX_FRAME_ITEMS) -> Frame:
    """Read one frame of at most ``limit`` bytes and ``most`` items from hostile bytes; raises :class:`DecodeError`
    or :class:`MessageError`. Source: BCAST-1."""
    fields = decode(data, limit, Shape(most, FRAME_DEPTH))  # requirement: BCAST-1
    if not isinstance(fields, list) or not fields:
        raise MessageError("a frame is an array that begins with its kind")
    kind = count(fields[0])
    if kind not in READERS:
        raise MessageError(f"there is no frame of kind {kind}")
    return READERS[kind](fields)


def read_envelope(fields: list[Item]) -> Frame:
    """A message, an echo or a part."""
    _, envelope = items(fields, 2, "an envelope's frame")
    return Envelope.from_item(envelope)


def read_relay(fields: list[Item]) -> Frame:
    """An echo with its chain of signatures."""
    _, echo, chain = items(fields, 3, "a relay")
    pairs = [items(link, 2, "a relay's signature") for link in listed(chain)]
    signatures = tuple((octets(peer, HASH_BYTES), octets(signed, SIGNATURE_BYTES)) for peer, signed in pairs)
    if any(a >= b for (a, _), (b, _) in pairwise(signatures)):
        raise MessageError("the signatures of a relay are listed in strictly ascending order of peers")
    return Relay(Envelope.from_item(echo), signatures)


def read_offer(fields: list[Item]) -> Frame:
    """An offer."""
    _, slot = items(fields, 2, "an offer")
    return Offer(read_slot(slot))


def read_ask(fields: list[Item]) -> Frame:
    """A request for a certificate and messages."""
    _, slot, held = items(fields, 3, "a request")
    return Ask(read_slot(slot), hashes(held))


def read_answer(fields: list[Item]) -> Frame:
    """A certificate and messages."""
    _, slot, signatures, envelopes = items(fields, 4, "an answer")
    signed = tuple(octets(signature, SIGNATURE_BYTES) for signature in listed(signatures))
    return Answer(read_slot(slot), signed, tuple(Envelope.from_item(entry) for entry in listed(envelopes)))


READERS: dict[int, Callable[[list[Item]], Frame]] = {
    0: read_envelope,
    1: read_relay,
    2: read_offer,
    3: read_ask,
    4: read_answer,
}


def slot_item(slot: Slot) -> Item:
    """CDDL ``place``: step, attempt, phase."""
    return [slot.step, slot.attempt, int(slot.phase)]


def read_slot(item: Item) -> Slot:
    """Inverse of :func:`slot_item`; raises :class:`MessageError`."""
    step, attempt, phase = items(item, 3, "a place")
    return Slot(count(step), count(attempt), member(Phase, phase))


# -- The clock ----------------------------------------------------------------------------------


class Timing(NamedTuple):
    """The two bounds that all deadlines derive from, in seconds."""

    delay: float
    """Δ: from any honest peer's sending to any other's receiving, retransmission and relay included."""
    gradient: float
    """G: the most time that one gradient, or the other work of a phase, takes."""

    @property
    def skew(self) -> float:
        """σ: how far apart honest peers may start a phase."""
        return SKEW_DELAYS * self.delay

    @property
    def round(self) -> float:
        """How long after I am ready everything arrives that honest peers send when they are: σ + Δ."""
        return self.skew + self.delay


# -- What the generator asks for ------------------------------------------------------------------


class Send(NamedTuple):
    """Send ``frame`` to one peer, or to everyone (None)."""

    frame: Frame
    to: PeerId | None = None


class Listen(NamedTuple):
    """Wait for a frame, at most until ``until``; answer: :class:`Arrival`, or None once that time has come."""

    until: float


class Arrival(NamedTuple):
    """A frame that arrived, and when."""

    now: float
    sender: PeerId
    """Who handed it to me; signatures say who wrote what is in it."""
    frame: Frame


Result = TypeVar("Result")
Networking = Generator[Send | Listen, Any, Result]
"""Uses the network: yields :class:`Send` and :class:`Listen`, returns its result."""


# -- One phase ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """Who takes part in an agreed broadcast, and where in the run it stands."""

    identity: Identity
    run: bytes
    slot: Slot
    roster: Roster
    tolerated: int
    """b_t."""
    log_head: bytes


def agreed_broadcast(phase: Ballot, envelope: Envelope, timing: Timing, ready: float) -> Networking[Delivery]:
    """Broadcast ``envelope`` and deliver what everyone broadcast. ``ready``: the latest time at which an honest
    peer that started when I did sends its own. Source: BCAST-2 … BCAST-8; Dolev and Strong 1983."""
    slot, tolerated = phase.place.slot, phase.place.tolerated
    phase.hear(envelope)

    # Round 0: my message to all, theirs to me. Every honest message is here by the deadline.
    yield Send(envelope)
    echo_time = ready + timing.round  # requirement: BCAST-2
    yield from phase.listen(echo_time, phase.complete)
    phase.miss_messages()

    # Round 1: what I received. If all say the same, that is the result, and anyone can be shown so.
    yield Send(phase.echo())
    fallback_time = echo_time + timing.round
    yield from phase.listen(fallback_time, phase.certified)

    # Fallback: agree on everyone's echo, then take what the majority of echoes attests.
    if not phase.certified():
        phase.miss_echoes()
        decide_time = fallback_time + tolerated * timing.round
        yield from phase.vouch_for_all(fallback_time, timing.round)
        yield from phase.listen(decide_time, phase.certified)
        if not phase.certified():
            phase.decide()
            yield from phase.fetch()
            yield from phase.listen(decide_time + timing.round + 2 * timing.delay, phase.certified)

    # Whoever still waits for an echo can have the certificate.
    if phase.certified():
        yield Send(Offer(slot))
    return phase.delivery()


@dataclass
class Ballot:
    """What one peer knows in one agreed phase."""

    place: Place
    messages: dict[PeerId, dict[bytes, Envelope]] = field(default_factory=dict)
    """Signed messages by sender and digest: the first two versions, and the one that was decided."""
    echoes: dict[PeerId, dict[bytes, Envelope]] = field(default_factory=dict)
    """Accepted echoes by author and digest, at most two versions each."""
    mine: Envelope | None = None
    """My echo."""
    asked: set[PeerId] = field(default_factory=set)
    """Whom I asked for the certificate."""
    certificate: dict[PeerId, bytes] = field(default_factory=dict)
    """Signatures of echoes equal to mine; a certificate when it has everyone's."""
    complaints: set[PeerId] = field(default_factory=set)
    decided: dict[PeerId, bytes | None] | None = None
    """What Dolev–Strong decided: the digest of every peer's message."""
    fallback: tuple[float, float] | None = None
    """When the fallback began, and the length of a round."""

    # -- Listening ------------------------------------------------------------------------------

    def listen(self, until: float, enough: Callable[[], bool]) -> Networking[None]:
        """Take in frames until there is ``enough``, or the time is up."""
        while not enough():
            arrival: Arrival | None = yield Listen(until)
            if arrival is None:
                return
            yield from self.take(arrival)

    def take(self, arrival: Arrival) -> Iterable[Send]:
        """Take in one frame; returns what to send in reply. Also answers those who ask after I am done."""
        match arrival.frame:
            case Envelope() as envelope:
                self.hear(envelope)
            case Relay() as relay:
                return self.accept(relay, arrival.now)
            case Offer() if self.mine and not self.certified() and arrival.sender not in self.asked:
                self.asked.add(arrival.sender)
                return [Send(Ask(self.place.slot), arrival.sender)]  # requirement: BCAST-5
            case Ask() as asked:
                return [Send(self.answer(asked), arrival.sender)]
            case Answer() as answer:
                self.learn(answer)
        return []

    def hear(self, envelope: Envelope) -> None:
        """Keep a signed message, or an echo that came before the fallback."""
        sender, slot = envelope.sender, self.place.slot
        if sender not in self.place.roster or envelope.run != self.place.run:
            return
        if envelope.slot == slot and len(envelope.body) <= MAX_AGREED_BODY:
            keep_version(self.messages, envelope, VERSIONS + self.wants(envelope))
        elif self.fallback is None and self.is_echo(envelope):
            self.keep_echo(envelope)

    def wants(self, envelope: Envelope) -> bool:
        """Whether ``envelope`` was decided, is genuine, and is not here yet."""
        sender, header = envelope.sender, envelope.signed_header
        if self.decided is None or self.decided.get(sender) != header.digest:
            return False
        return header.digest not in self.messages.get(sender, {}) and header.authentic

    def is_echo(self, envelope: Envelope) -> bool:
        """Whether ``envelope`` has the form of an echo of this phase: my log head, one entry per peer."""
        if envelope.slot != self.place.slot.echo or envelope.log_head != self.place.log_head:
            return False
        echo = envelope.message
        return isinstance(echo, Echo) and len(echo.vector) == len(self.place.roster)

    def keep_echo(self, echo: Envelope) -> bool:
        """Keep an echo; whether it is among those kept."""
        kept = keep_version(self.echoes, echo)
        if kept and self.mine and echo.body == self.mine.body:
            self.certificate[echo.sender] = echo.signature
        return kept

    # -- Rounds 0 and 1 -------------------------------------------------------------------------

    def complete(self) -> bool:
        """Whether everyone's message is here."""
        return len(self.messages) == len(self.place.roster)

    def miss_messages(self) -> None:
        """Remember whose message did not come in time: I may complain."""
        self.complaints |= {peer for peer in self.place.roster if peer not in self.messages}

    def miss_echoes(self) -> None:
        """Remember whose echo did not come before the fallback: I may complain, whatever comes later."""
        self.complaints |= {peer for peer in self.place.roster if peer not in self.echoes}

    def echo(self) -> Envelope:
        """My echo: the digest of the first version that I got of everyone's message."""
        place = self.place
        vector = tuple(next(iter(self.messages.get(peer, ())), None) for peer in place.roster)
        self.mine = seal(place.identity, place.run, place.slot.echo, place.log_head, encode(Echo(vector).to_item()))
        for versions in list(self.echoes.values()):
            for echo in list(versions.values()):
                self.keep_echo(echo)
        self.keep_echo(self.mine)
        return self.mine

    def certified(self) -> bool:
        """Whether I hold everyone's signature of one and the same echo. Source: BCAST-4."""
        return len(self.certificate) == len(self.place.roster)  # requirement: BCAST-4

    # -- Certificates -----------------------------------------------------------------------------

    def answer(self, asked: Ask) -> Answer:
        """The certificate, if I hold it; and to those who name what they hold, the messages that they lack of
        those that were decided, or before that, of those that I echoed."""
        signatures = tuple(self.certificate[peer] for peer in self.place.roster) if self.certified() else ()
        named = zip(self.place.roster, self.delivered() if asked.held else (), strict=False)
        wanted = [(peer, digest) for peer, digest in named if digest is not None and digest not in asked.held]
        here = (self.messages.get(peer, {}).get(digest) for peer, digest in wanted)
        return Answer(self.place.slot, signatures, tuple(envelope for envelope in here if envelope is not None))

    def learn(self, answer: Answer) -> None:
        """Take in messages, and a certificate for my own echo if all of it is good."""
        for envelope in answer.envelopes:
            self.hear(envelope)
        if self.mine is None or self.certified() or len(answer.signatures) != len(self.place.roster):
            return
        named = dict(zip(self.place.roster, answer.signatures, strict=True))
        if all(self.signed_mine(peer, signature) for peer, signature in named.items()):
            self.certificate = named

    def signed_mine(self, peer: PeerId, signature: bytes) -> bool:
        """Whether ``signature`` is ``peer``'s under an echo equal to mine."""
        if self.mine is None:
            return False
        return replace(self.mine.signed_header, sender=peer, signature=signature).authentic

    # -- Fallback: Dolev–Strong over the echoes -----------------------------------------------------

    def vouch_for_all(self, began: float, length: float) -> Networking[None]:
        """Begin the fallback: vouch to everyone for each echo that I got in time."""
        self.fallback = began, length
        accepted = [echo for versions in self.echoes.values() for echo in versions.values()]
        for echo in accepted if self.place.tolerated > 0 else ():
            yield Send(self.vouch(echo, {}))

    def accept(self, relay: Relay, now: float) -> list[Send]:
        """Accept an echo with k signatures until k − 1 rounds after the fallback began, and vouch for it while
        others can still accept it. Source: BCAST-7."""
        echo, signers = relay.echo, dict(relay.signatures)
        if echo.sender not in self.place.roster or echo.run != self.place.run or not self.is_echo(echo):
            return []
        known = echo.signed_header.digest in self.echoes.get(echo.sender, {})
        if known or not self.in_time(1 + len(signers), now) or not vouched(echo, signers, self.place.roster):
            return []
        accepted = self.keep_echo(echo)
        if not accepted or self.fallback is None or len(signers) >= self.place.tolerated:
            return []
        return [Send(self.vouch(echo, signers))]

    def in_time(self, signatures: int, now: float) -> bool:
        """Whether an echo with so many signatures is still accepted."""
        if self.fallback is None:
            return True
        began, length = self.fallback
        return now <= began + (signatures - 1) * length  # requirement: BCAST-7

    def vouch(self, echo: Envelope, signers: dict[PeerId, bytes]) -> Relay:
        """``echo`` with my signature added."""
        me, chain = self.place.identity, dict(signers)
        if me.peer_id != echo.sender:
            chain[me.peer_id] = me.sign(relay_digest(echo))
        return Relay(echo, tuple(sorted(chain.items())))

    def decide(self) -> None:
        """A peer's echo counts if exactly one version was accepted; a message is delivered if the echoes of
        more than half of all peers attest it. Source: BCAST-6."""
        echoes = [next(iter(versions.values())).message for versions in self.echoes.values() if len(versions) == 1]
        vectors = [echo.vector for echo in echoes if isinstance(echo, Echo)]
        columns = zip(self.place.roster, zip(*vectors, strict=True), strict=True)
        self.decided = {peer: majority(column, len(self.place.roster)) for peer, column in columns}

    def fetch(self) -> Networking[None]:
        """Ask for messages that were decided and that I lack."""
        held = {digest for versions in self.messages.values() for digest in versions}
        wanted = {digest for digest in (self.decided or {}).values() if digest is not None}
        if not wanted <= held:
            yield Send(Ask(self.place.slot, tuple(sorted(held))[:MAX_PEERS]))

    # -- The result -------------------------------------------------------------------------------

    def delivered(self) -> tuple[bytes | None, ...]:
        """The digests of the agreed vector: my echo if it is certified, else what was decided."""
        if self.decided is not None and not self.certified():
            return tuple(self.decided[peer] for peer in self.place.roster)
        return self.mine.message.vector if self.mine and isinstance(self.mine.message, Echo) else ()

    def delivery(self) -> Delivery:
        """The agreed vector, and what I have to say about how it came about."""
        digests = self.delivered()
        named = zip(self.place.roster, digests, strict=True)
        return Delivery(tuple(self.content(peer, digest) for peer, digest in named), self.notices(digests))

    def content(self, peer: PeerId, digest: bytes | None) -> Envelope | None:
        """The message that was delivered. Raises :class:`ToleranceExceeded` if nobody who attests it has it."""
        if digest is None:
            return None
        if digest not in self.messages.get(peer, {}):
            raise ToleranceExceeded("a message that a majority attests did not come: more than b peers are faulty")
        return self.messages[peer][digest]

    def notices(self, digests: Sequence[bytes | None]) -> Notices:
        """Complaints, equivocations seen, and echoes that differ from what was delivered. Source: BCAST-8."""
        others = [echo for versions in self.echoes.values() for echo in versions.values() if echo != self.mine]
        differing = {body for body, echo in {echo.body: echo for echo in others}.items() if differs(echo, digests)}
        divergent = tuple(echo for echo in others if echo.body in differing)
        return NO_NOTICES.merged(Notices(tuple(self.complaints), self.evidence(), divergent))  # requirement: BCAST-8

    def evidence(self) -> tuple[Proof, ...]:
        """Two versions of every message and every echo of which there are two."""
        both = [*self.messages.values(), *self.echoes.values()]
        twice = (versions.values() for versions in both if len(versions) >= VERSIONS)
        return tuple(proof_of([kept.signed_header for kept in versions]) for versions in twice)

    def witnessed(self) -> dict[tuple[PeerId, Slot], SignedHeader]:
        """What each peer signed, if it is one version."""
        both = [*self.messages.values(), *self.echoes.values()]
        single = [next(iter(versions.values())) for versions in both if len(versions) == 1]
        return {(envelope.sender, envelope.slot): envelope.signed_header for envelope in single}


def keep_version(kept: dict[PeerId, dict[bytes, Envelope]], envelope: Envelope, most: int = VERSIONS) -> bool:
    """Keep ``envelope`` if it is signed and fewer than ``most`` other versions are there; whether it is kept.
    Source: BCAST-9."""
    versions, header = kept.setdefault(envelope.sender, {}), envelope.signed_header
    if header.digest not in versions and len(versions) < most and header.authentic:  # requirement: BCAST-9
        versions[header.digest] = envelope
    if not versions:
        del kept[envelope.sender]
    return header.digest in versions


def relay_digest(echo: Envelope) -> bytes:
    """What a peer signs to vouch for ``echo``. Source: BCAST-7."""
    return tagged_hash("btard/relay", echo.signed_header.digest)


def vouched(echo: Envelope, signers: Mapping[PeerId, bytes], roster: Roster) -> bool:
    """Whether all ``signers`` are peers of the roster other than the author, and their signatures are good."""
    digest = relay_digest(echo)
    return all(
        peer in roster and peer != echo.sender and verify(peer, digest, signature)
        for peer, signature in signers.items()
    )


def majority(column: Iterable[bytes | None], peers: int) -> bytes | None:
    """The digest that more than half of ``peers`` attest; None if there is none."""
    digest, votes = Counter(column).most_common(1)[0]
    return digest if 2 * votes > peers else None  # requirement: BCAST-6


def proof_of(versions: list[SignedHeader]) -> Proof:
    """The first two versions as evidence."""
    return tuple(sorted(versions[:VERSIONS], key=lambda header: header.digest))


def differs(echo: Envelope, digests: Sequence[bytes | None]) -> bool:
    """Whether ``echo`` contradicts what was delivered."""
    vector = echo.message.vector if isinstance(echo.message, Echo) else ()
    return any(digest not in (None, heard) for heard, digest in zip(vector, digests, strict=True))
