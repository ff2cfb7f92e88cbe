"""Messages: the envelope that every byte travels in, and one body per purpose (chapter ``messages``)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from itertools import pairwise
from typing import Annotated, Any, ClassVar, NamedTuple, Self, TypeVar

from btard.protocol.arithmetic import Float64, float64_bytes, float64_vector
from btard.protocol.encoding import DecodeError, Item, Shape, decode, encode, tagged_hash, tree_hash
from btard.protocol.identity import Identity, verify
from btard.protocol.model import MAX_PEERS, PROTOCOL_VERSION, PeerId, ProtocolError

HASH_BYTES = 32
SIGNATURE_BYTES = 64
OPENING_BYTES = 64
MAX_NOTICES = MAX_PEERS
"""Most accusations, complaints or items of evidence in one message."""
ENVELOPE_OVERHEAD = 512
"""Upper bound on the bytes that an envelope adds to its body."""
MAX_ECHOES = 8
"""Most divergent echoes in one message."""
MAX_STATEMENTS = 4 * MAX_PEERS
"""Most statements in one vote: the workers of two steps, and their aggregates."""
MAX_CORRECTIONS = 1 << 18
"""Most bytes of corrections in one vote."""
MAX_LETTERS = 64
"""Most letters of candidates in one message."""
MAX_AGREED_BODY = 4096 + 1024 * MAX_PEERS
"""Upper bound on the body of an agreed message, in bytes."""
ENVELOPE_ITEMS = 11
"""Items of an envelope, or of a signed header: the array and its fields."""
MAX_BODY_ITEMS = 5 + 5 * MAX_STATEMENTS + MAX_NOTICES * (2 + 2 * ENVELOPE_ITEMS) + MAX_ECHOES * ENVELOPE_ITEMS
"""Most items of an agreed body: a Vote's, with all statements, complaints, proofs of two headers, and echoes."""
ENVELOPE_SHAPE = Shape(ENVELOPE_ITEMS, depth=1)
ECHO_SHAPE = Shape(1 + MAX_PEERS, depth=1)
BODY_SHAPE = Shape(MAX_BODY_ITEMS, depth=4)
"""Deepest are the headers: body, evidence, proof, header."""


Hash = Annotated[bytes, "hash"]
"""32 bytes."""
Opening = Annotated[bytes, "opening"]
"""64 bytes: share and salt."""
Doubles = Annotated[bytes, "float64"]
"""A vector of float64, little-endian."""
Chunks = Annotated[bytes, "chunks"]
"""Chunks of one part, each with its path."""


class MessageError(ProtocolError):
    """A message that is not what its place calls for; the text says what is wrong."""


class Phase(IntEnum):
    """The phases of a step, in order; the exchange of final log heads that closes a run; and the two kinds
    of letter that candidates write (chapter ``membership``)."""

    COMMIT = 0
    SCATTER = 1
    AGGREGATE = 2
    GATHER = 3
    REVEAL = 4
    REPORT = 5
    CLOSING = 6
    PETITION = 7
    PROBATION = 8
    AUDIT = 9
    """Tolerance mode: targets disclose their gradients to their validators, before Commit."""
    COMMIT_TRIAL = 10
    """Tolerance mode: suspects disclose their gradients to everyone, after Commit."""
    COMMIT_VOTE = 11
    REPORT_TRIAL = 12
    REPORT_VOTE = 13
    BALLOT = 14
    """Profile majority-vote, in the place of Scatter: the signs of a part."""
    TALLY = 15
    """Profile majority-vote, in the place of Gather: the majority's signs of a part."""

    @property
    def rank(self) -> int:
        """Its place in an attempt: phases begin in ascending order of rank."""
        return RANKS[self]

    @property
    def agreed(self) -> bool:
        """Whether the phase uses agreed broadcast (else point to point, or letters of candidates)."""
        return self in BODIES


RANKS = {
    phase: rank
    for rank, phase in enumerate(
        (
            Phase.AUDIT, Phase.COMMIT, Phase.COMMIT_TRIAL, Phase.COMMIT_VOTE, Phase.SCATTER, Phase.BALLOT,
            Phase.AGGREGATE, Phase.GATHER, Phase.TALLY, Phase.REVEAL, Phase.REPORT, Phase.REPORT_TRIAL,
            Phase.REPORT_VOTE, Phase.CLOSING, Phase.PETITION, Phase.PROBATION,
        )
    )
}  # fmt: skip

SIGNS = (Phase.BALLOT, Phase.TALLY)
"""Phases whose bodies are packed signs."""
SCATTERED, GATHERED = (Phase.SCATTER, Phase.BALLOT), (Phase.GATHER, Phase.TALLY)
"""Phases in which parts go to their aggregators, and aggregates to everyone; which of them follows from the profile."""

ECHO = 1
"""The ``part`` of an echo's slot."""


class Slot(NamedTuple):
    """The place of one message of one sender: two signed versions for one slot are an equivocation."""

    step: int
    attempt: int
    phase: Phase
    part: int = 0
    """Scatter, Gather: index of the part (which is also the recipient or the sender). Agreed phases: 0 for
    the message, 1 for its echo. Disclosures: how many steps ago the gradient was committed."""

    @property
    def echo(self) -> Slot:
        """The slot of the echoes of an agreed phase."""
        return self._replace(part=ECHO)


# -- Envelope ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class SignedHeader:
    """What a signature covers: who says which body in which slot. Constant size, so it serves as evidence."""

    run: bytes
    slot: Slot
    sender: PeerId
    log_head: bytes
    body_hash: bytes
    signature: bytes

    @cached_property
    def digest(self) -> bytes:
        """The 32 bytes that are signed; they name the message in the log. Source: MSG-1."""
        return message_digest(self.run, self.slot, self.sender, self.log_head, self.body_hash)

    @cached_property
    def authentic(self) -> bool:
        """Whether the signature is the sender's."""
        return verify(self.sender, self.digest, self.signature)  # requirement: MSG-2

    def to_item(self) -> Item:
        """CDDL ``signed-header``."""
        return [*header_item(self.run, self.slot, self.sender, self.log_head), self.body_hash, self.signature]

    @classmethod
    def from_item(cls, item: Item) -> Self:
        """Inverse of :meth:`to_item`; raises :class:`MessageError`."""
        fields = items(item, 10, "a signed header")
        return cls(*header_fields(fields[:8]), octets(fields[8], HASH_BYTES), octets(fields[9], SIGNATURE_BYTES))


@dataclass(frozen=True)
class Envelope:
    """One message of one peer. ``body`` is CBOR in agreed phases, else little-endian float32 or packed signs."""

    run: bytes
    slot: Slot
    sender: PeerId
    log_head: bytes
    body: bytes
    signature: bytes

    @cached_property
    def signed_header(self) -> SignedHeader:
        """The envelope with its body replaced by the body's hash."""
        hashed = content_hash(self.slot.phase, self.body)
        return SignedHeader(self.run, self.slot, self.sender, self.log_head, hashed, self.signature)

    @cached_property
    def message(self) -> Message | None:
        """The body of an agreed message, or None if it is malformed."""
        try:
            return decode_body(self.slot, self.body)
        except (DecodeError, MessageError):
            return None

    def encode(self) -> bytes:
        """The bytes on the wire; CDDL ``envelope``."""
        return encode(self.to_item())

    def to_item(self) -> Item:
        """CDDL ``envelope``."""
        return [*header_item(self.run, self.slot, self.sender, self.log_head), self.body, self.signature]

    @classmethod
    def from_item(cls, item: Item) -> Self:
        """Inverse of :meth:`to_item`; raises :class:`MessageError`."""
        fields = items(item, 10, "an envelope")
        return cls(*header_fields(fields[:8]), octets(fields[8]), octets(fields[9], SIGNATURE_BYTES))

    @classmethod
    def decode(cls, data: bytes, body_limit: int) -> Self:
        """Read one envelope from hostile bytes; raises :class:`DecodeError` or :class:`MessageError`."""
        return cls.from_item(decode(data, body_limit + ENVELOPE_OVERHEAD, ENVELOPE_SHAPE))  # requirement: MSG-3


def header_item(run: bytes, slot: Slot, sender: PeerId, log_head: bytes) -> list[Item]:
    """CDDL ``header``: version, run, step, attempt, phase, part, sender, log head."""
    return [PROTOCOL_VERSION, run, slot.step, slot.attempt, int(slot.phase), slot.part, sender, log_head]


def header_fields(fields: list[Item]) -> tuple[bytes, Slot, PeerId, bytes]:
    """Inverse of :func:`header_item`; raises :class:`MessageError`."""
    version, run, step, attempt, phase, part, sender, log_head = fields
    if version != PROTOCOL_VERSION or isinstance(version, bool):
        raise MessageError("the protocol version is unknown")
    slot = Slot(count(step), count(attempt), member(Phase, phase), count(part))
    return octets(run, HASH_BYTES), slot, octets(sender, HASH_BYTES), octets(log_head, HASH_BYTES)


def body_hash(body: bytes) -> bytes:
    """The hash of a body. Source: MSG-1."""
    return tagged_hash("btard/body", body)


def content_hash(phase: Phase, body: bytes) -> bytes:
    """What stands for ``body`` in a message of ``phase``; of a part, it is the hash that Commit and Aggregate announce.
    Packed signs have a tree hash, so that chunks of them can be shown. Source: MSG-6."""
    return tree_hash(body) if phase in SIGNS else body_hash(body)  # requirement: MSG-6


def message_digest(run: bytes, slot: Slot, sender: PeerId, log_head: bytes, hashed_body: bytes) -> bytes:
    """The hash that a sender signs: over the header and the body's hash. Source: MSG-1."""
    header = encode(header_item(run, slot, sender, log_head))
    return tagged_hash("btard/message", hashed_body, header)  # requirement: MSG-1


def seal(
    identity: Identity, run: bytes, slot: Slot, log_head: bytes, body: bytes, hashed_body: bytes | None = None
) -> Envelope:
    """Sign ``body`` for ``slot``; ``hashed_body`` saves hashing a body whose hash is known."""
    hashed = content_hash(slot.phase, body) if hashed_body is None else hashed_body
    digest = message_digest(run, slot, identity.peer_id, log_head, hashed)
    return Envelope(run, slot, identity.peer_id, log_head, body, identity.sign(digest))


def belongs(envelope: Envelope, run: bytes, slot: Slot, sender: PeerId, announced: bytes | None = None) -> bool:
    """Whether a channel may deliver ``envelope`` as ``sender``'s message for ``slot``; else it is ignored.

    A message of another run, slot or signer changes nothing and blames nobody. A part whose body hash
    is the ``announced`` one needs no signature check: the announcement was signed. Source: MSG-4.
    """
    if envelope.run != run or envelope.slot != slot or envelope.sender != sender:
        return False
    header = envelope.signed_header
    return header.body_hash == announced or header.authentic  # requirement: MSG-4


# -- Bodies of agreed messages ----------------------------------------------------------------


class Accusation(NamedTuple):
    """The sender says that ``accused`` lied in ``step``; where it may do so follows from the phase (VER-6)."""

    accused: PeerId
    step: int


Proof = tuple[SignedHeader, ...]
"""Evidence: one signed header whose body hash is not the announced one, or two versions for one slot, by digest."""


class Notices(NamedTuple):
    """What any agreed message may carry: unverifiable complaints, evidence that convicts, divergent echoes."""

    complaints: tuple[PeerId, ...] = ()
    """Peers that broke a duty towards me since my last agreed message: a message, an echo or a part is missing."""
    evidence: tuple[Proof, ...] = ()
    """Parts that are not what was announced; two signed versions of one message."""
    echoes: tuple[Envelope, ...] = ()
    """Echoes of the last agreed phase that differ from what was delivered; their signers must say why (BAN-10)."""

    def to_items(self) -> list[Item]:
        """CDDL ``notices``."""
        proofs: list[Item] = [[header.to_item() for header in proof] for proof in self.evidence]
        return [list(self.complaints), proofs, [echo.to_item() for echo in self.echoes]]

    @classmethod
    def from_items(cls, complaints: Item, evidence: Item, echoes: Item) -> Self:
        """Inverse of :meth:`to_items`; raises :class:`MessageError`."""
        peers = distinct(hashes(complaints))
        proofs = tuple(read_proof(proof) for proof in listed(evidence))
        return cls(peers, proofs, tuple(Envelope.from_item(echo) for echo in listed(echoes, MAX_ECHOES)))

    def merged(self, other: Notices) -> Notices:
        """Both, as an honest peer says it: of the evidence against a peer one proof, two versions before a single
        header, then the lowest digests; all in ascending order, echoes by sender and digest. Source: BCAST-8."""
        complaints = tuple(sorted({*self.complaints, *other.complaints}))
        proofs = sorted((*self.evidence, *other.evidence), key=preference, reverse=True)
        evidence = tuple(proof for _, proof in sorted({proof[0].sender: proof for proof in proofs}.items()))
        found = {(echo.sender, echo.signed_header.digest): echo for echo in (*self.echoes, *other.echoes)}
        echoes = tuple(echo for _, echo in sorted(found.items()))
        return Notices(complaints, evidence[:MAX_NOTICES], echoes[:MAX_ECHOES])


def read_proof(item: Item) -> Proof:
    """CDDL ``proof``: one signed header, or two in ascending order of digest; raises :class:`MessageError`."""
    headers = tuple(SignedHeader.from_item(header) for header in listed(item, 2))
    if not headers or any(a.digest >= b.digest for a, b in pairwise(headers)):
        raise MessageError("evidence is one signed header, or two in ascending order of digest")
    return headers


def preference(proof: Proof) -> tuple[int, list[bytes]]:
    """Which of several proofs against one peer is shown: the one for which this is least."""
    return -len(proof), [header.digest for header in proof]


NO_NOTICES = Notices()


@dataclass(frozen=True)
class Commit:
    """A worker's part hashes, everyone's MPRNG commitment and state hash, accusations about earlier steps."""

    phase: ClassVar[Phase] = Phase.COMMIT
    part_hashes: tuple[Hash, ...]
    commitment: Hash
    state_hash: Hash
    accusations: tuple[Accusation, ...] = ()
    letters: tuple[Envelope, ...] = ()
    """What candidates for a seat sent me, by sender, then by slot."""
    leaving: bool = False
    """Whether I leave in good order after this step."""
    notices: Notices = NO_NOTICES

    def to_item(self) -> Item:
        """CDDL ``commit``."""
        letters: list[Item] = [letter.to_item() for letter in self.letters]
        head: list[Item] = [list(self.part_hashes), self.commitment, self.state_hash]
        return [*head, accusation_items(self.accusations), letters, self.leaving, *self.notices.to_items()]

    @classmethod
    def from_item(cls, item: Item) -> Self:
        """Inverse of :meth:`to_item`; raises :class:`MessageError`."""
        parts, commitment, state, accusations, letters, leaving, *rest = items(item, 9, "a Commit")
        fixed = octets(commitment, HASH_BYTES), octets(state, HASH_BYTES)
        accused, notices = accusation_list(accusations), Notices.from_items(*rest)
        return cls(hashes(parts), *fixed, accused, letter_list(letters), flag(leaving), notices)


@dataclass(frozen=True)
class Aggregate:
    """The hash of the part that I aggregated, or None: as a validator, or because an input is missing."""

    phase: ClassVar[Phase] = Phase.AGGREGATE
    aggregate_hash: Hash | None
    notices: Notices = NO_NOTICES

    def to_item(self) -> Item:
        """CDDL ``aggregate``."""
        return [self.aggregate_hash, *self.notices.to_items()]

    @classmethod
    def from_item(cls, item: Item) -> Self:
        """Inverse of :meth:`to_item`; raises :class:`MessageError`."""
        announced, *rest = items(item, 4, "an Aggregate")
        announced_hash = None if announced is None else octets(announced, HASH_BYTES)
        return cls(announced_hash, Notices.from_items(*rest))


@dataclass(frozen=True)
class Reveal:
    """The opening of my MPRNG commitment, and accusations of aggregates whose content is impossible."""

    phase: ClassVar[Phase] = Phase.REVEAL
    opening: Opening
    accusations: tuple[Accusation, ...] = ()
    notices: Notices = NO_NOTICES

    def to_item(self) -> Item:
        """CDDL ``reveal``."""
        return [self.opening, accusation_items(self.accusations), *self.notices.to_items()]

    @classmethod
    def from_item(cls, item: Item) -> Self:
        """Inverse of :meth:`to_item`; raises :class:`MessageError`."""
        opening, accusations, *rest = items(item, 5, "a Reveal")
        accused = accusation_list(accusations)
        return cls(octets(opening, OPENING_BYTES), accused, Notices.from_items(*rest))


@dataclass(frozen=True)
class Report:
    """What a worker says about every part, by profile: two numbers, little-endian float64 (VER-1, CODE-12), or chunks
    of signs with their paths (SIGN-6). Empty for validators."""

    phase: ClassVar[Phase] = Phase.REPORT
    inner_products: Doubles = b""
    norms: Doubles = b""
    chunks: tuple[Chunks, ...] = ()
    notices: Notices = NO_NOTICES

    @classmethod
    def of(cls, inner_products: Float64, norms: Float64) -> Self:
        """Pack two float64 vectors of one entry per part."""
        return cls(float64_bytes(inner_products), float64_bytes(norms))

    @property
    def empty(self) -> bool:
        """Whether it says nothing."""
        return not (self.inner_products or self.norms or self.chunks)

    def matrix(self) -> Float64:
        """The numbers as float64 ``[2, parts]``: inner products, then norms."""
        return float64_vector(self.inner_products + self.norms).reshape(2, -1)

    def to_item(self) -> Item:
        """CDDL ``report``."""
        return [self.inner_products, self.norms, list(self.chunks), *self.notices.to_items()]

    @classmethod
    def from_item(cls, item: Item) -> Self:
        """Inverse of :meth:`to_item`; raises :class:`MessageError`."""
        products, norms, chunks, *rest = items(item, 6, "a Report")
        left, right = octets(products), octets(norms)
        if len(left) != len(right) or len(left) % 8:
            raise MessageError("a Report needs as many norms as inner products, of 8 bytes each")
        shown = tuple(octets(entry) for entry in listed(chunks, MAX_PEERS + 1))
        return cls(left, right, shown, Notices.from_items(*rest))


class Statement(NamedTuple):
    """What a judge found: ``peer`` is guilty of ``fault`` in ``step`` (TOL-9)."""

    step: int
    peer: PeerId
    fault: int
    """Code of the fault (chapter ``bans``)."""
    correction: bytes = b""
    """The true report, in the form of VER-1, if the fault is a wrong report."""


@dataclass(frozen=True)
class Vote:
    """Tolerance mode: whom I find guilty in the trials of the phase just ended; who is not listed is not."""

    phase: ClassVar[Phase] = Phase.COMMIT_VOTE
    statements: tuple[Statement, ...] = ()
    notices: Notices = NO_NOTICES

    def to_item(self) -> Item:
        """CDDL ``vote``."""
        return [[list(statement) for statement in self.statements], *self.notices.to_items()]

    @classmethod
    def from_item(cls, item: Item) -> Self:
        """Inverse of :meth:`to_item`; raises :class:`MessageError`."""
        listing, *rest = items(item, 4, "a Vote")
        statements = tuple(read_statement(entry) for entry in listed(listing, MAX_STATEMENTS))
        if any(a[:3] >= b[:3] for a, b in pairwise(statements)):
            raise MessageError("statements are listed in strictly ascending order of step, peer and fault")
        return cls(statements, Notices.from_items(*rest))


def read_statement(item: Item) -> Statement:
    """CDDL ``statement``; raises :class:`MessageError`."""
    step, peer, fault, correction = items(item, 4, "a statement")
    return Statement(count(step), octets(peer, HASH_BYTES), count(fault), octets(correction))


@dataclass(frozen=True)
class Closing:
    """Nothing but its envelope, whose log head is the sender's final one."""

    phase: ClassVar[Phase] = Phase.CLOSING
    notices: ClassVar[Notices] = NO_NOTICES

    def to_item(self) -> Item:
        """CDDL ``closing``."""
        return []

    @classmethod
    def from_item(cls, item: Item) -> Self:
        """Inverse of :meth:`to_item`; raises :class:`MessageError`."""
        items(item, 0, "a Closing")
        return cls()


@dataclass(frozen=True)
class Echo:
    """What I received in an agreed phase: the digest of every peer's message, in roster order; None: nothing."""

    vector: tuple[Hash | None, ...]
    notices: ClassVar[Notices] = NO_NOTICES

    def to_item(self) -> Item:
        """CDDL ``echo``."""
        return list(self.vector)

    @classmethod
    def from_item(cls, item: Item) -> Self:
        """Inverse of :meth:`to_item`; raises :class:`MessageError`."""
        return cls(tuple(None if entry is None else octets(entry, HASH_BYTES) for entry in listed(item)))


Message = Commit | Aggregate | Reveal | Report | Vote | Closing | Echo
BODIES: dict[Phase, type[Any]] = {body.phase: body for body in (Commit, Aggregate, Reveal, Report, Vote, Closing)}
BODIES[Phase.REPORT_VOTE] = Vote


def decode_body(slot: Slot, body: bytes) -> Message:
    """Read the body of an agreed message or of an echo; raises :class:`DecodeError` or :class:`MessageError`."""
    if slot.phase not in BODIES or slot.part > ECHO:
        raise MessageError("the body of a part is no message")
    kind, shape = (Echo, ECHO_SHAPE) if slot.part == ECHO else (BODIES[slot.phase], BODY_SHAPE)
    message: Message = kind.from_item(decode(body, MAX_AGREED_BODY, shape))  # requirement: MSG-5
    return message


# -- Typed reading ----------------------------------------------------------------------------


def items(item: Item, length: int, name: str) -> list[Item]:
    """``item`` as an array of ``length`` items; raises :class:`MessageError`."""
    if not isinstance(item, list) or len(item) != length:
        raise MessageError(f"{name} is an array of {length} items")
    return item


def listed(item: Item, most: int = MAX_NOTICES) -> list[Item]:
    """``item`` as an array of at most ``most`` items; raises :class:`MessageError`."""
    if not isinstance(item, list) or len(item) > most:
        raise MessageError(f"expected an array of at most {most} items")
    return item


def count(item: Item) -> int:
    """``item`` as an unsigned integer; raises :class:`MessageError`."""
    if not isinstance(item, int) or isinstance(item, bool):
        raise MessageError("expected an unsigned integer")
    return item


Code = TypeVar("Code", bound=IntEnum)


def member(kind: type[Code], item: Item) -> Code:
    """``item`` as a code of ``kind``; raises :class:`MessageError`."""
    code = count(item)
    if code not in kind.__members__.values():
        raise MessageError(f"there is no {kind.__name__.lower()} {code}")
    return kind(code)


def octets(item: Item, length: int | None = None) -> bytes:
    """``item`` as a byte string, of ``length`` bytes if given; raises :class:`MessageError`."""
    if not isinstance(item, bytes) or (length is not None and len(item) != length):
        raise MessageError("expected a byte string" + (f" of {length} bytes" if length is not None else ""))
    return item


def hashes(item: Item) -> tuple[bytes, ...]:
    """``item`` as an array of 32-byte strings; raises :class:`MessageError`."""
    return tuple(octets(entry, HASH_BYTES) for entry in listed(item))


def distinct(peers: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """``peers`` if they are in strictly ascending order; raises :class:`MessageError`."""
    if any(a >= b for a, b in pairwise(peers)):
        raise MessageError("peers are listed in strictly ascending order")
    return peers


def flag(item: Item) -> bool:
    """``item`` as true or false; raises :class:`MessageError`."""
    if not isinstance(item, bool):
        raise MessageError("expected true or false")
    return item


def letter_list(item: Item) -> tuple[Envelope, ...]:
    """Letters of candidates, in strictly ascending order of sender and slot; raises :class:`MessageError`."""
    letters = tuple(Envelope.from_item(entry) for entry in listed(item, MAX_LETTERS))
    if any((a.sender, a.slot) >= (b.sender, b.slot) for a, b in pairwise(letters)):
        raise MessageError("letters are listed in strictly ascending order of sender and slot")
    if any(len(letter.body) > HASH_BYTES for letter in letters):
        raise MessageError(f"a letter has at most {HASH_BYTES} bytes")
    return letters


def accusation_items(accusations: tuple[Accusation, ...]) -> list[Item]:
    """CDDL ``[* accusation]``."""
    return [[accusation.accused, accusation.step] for accusation in accusations]


def accusation_list(item: Item) -> tuple[Accusation, ...]:
    """Inverse of :func:`accusation_items`, in strictly ascending order; raises :class:`MessageError`."""
    pairs = [items(entry, 2, "an accusation") for entry in listed(item)]
    accusations = tuple(Accusation(octets(accused, HASH_BYTES), count(step)) for accused, step in pairs)
    if any(a >= b for a, b in pairwise(accusations)):
        raise MessageError("accusations are listed in strictly ascending order")
    return accusations
