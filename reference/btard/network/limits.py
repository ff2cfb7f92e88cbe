"""Limits: how much a node takes from each of its links, and keeps (chapter ``limits``)."""

from __future__ import annotations

import hashlib
from collections import deque
from dataclasses import dataclass, field, replace
from functools import cached_property

from btard.protocol.broadcast import VERSIONS, Frame, Relay, frame_items
from btard.protocol.encoding import Oversized
from btard.protocol.membership import LETTER_BYTES, MAX_CANDIDATES
from btard.protocol.messages import ECHO, ENVELOPE_OVERHEAD, MAX_AGREED_BODY, MAX_CORRECTIONS, Envelope, Phase
from btard.protocol.model import MAX_DIMENSION, MAX_PEERS, Configuration, shown_in

MESSAGE_BASE = 24 * 1024
"""Bytes of an agreed body that do not grow with the roster: 64 letters, the heads of 8 echoes, fixed fields."""
MESSAGE_PER_PEER = 1024
"""Bytes of an agreed body per peer of the roster: a part's hash, accusation, complaint, evidence, 8 echo entries."""
DIGEST_BYTES = 34
"""Of a digest with its head, in an echo or a request."""
VOUCHER_BYTES = 102
"""Of one peer's signature with its name, in a relay."""
SPARE_FRAMES = 64
"""Frames per phase that one link may bring beyond four for every peer."""
SPARSE_PHASES = 4
"""How many agreed phases' frames a link of a sparse overlay may bring in one phase of mine."""
BYTE_PHASES = 4
"""How many phases' bytes a link may bring in one phase of mine: of the last one, mine, and two to come."""
FRAME_COST = 1024
"""Bytes that keeping a frame costs beyond its own."""
EARLY_GRADIENTS = 2
"""How many gradients' worth of parts is kept early: a suspect of two steps discloses two."""
ANSWERS = 4
"""Requests of one peer about one phase that are answered."""
REMEMBERED_PHASES = 12
"""How many past phases a node has in view: it takes frames about them, and knows again what it has seen of them."""
FRAME_KINDS = 5
ANSWER_KIND = 4
VOTES = frozenset((Phase.COMMIT_VOTE, Phase.REPORT_VOTE))


@dataclass(frozen=True)
class Limits:
    """The limits of a run of ``peers`` peers and ``dimension`` parameters. Sizes in bytes."""

    peers: int = MAX_PEERS
    dimension: int = MAX_DIMENSION
    relays: bool = False
    """Whether peers pass on what they get: a sparse overlay."""
    shown: int = 0
    """Most bytes of chunks of one part in a report (profile majority-vote)."""

    @classmethod
    def of(cls, config: Configuration, relays: bool = False) -> Limits:
        """The limits that a run of ``config`` begins with."""
        return cls(config.peers, config.dimension, relays, shown_in(config))

    @cached_property
    def message(self) -> int:
        """Most bytes of an agreed message."""
        return min(MESSAGE_BASE + MESSAGE_PER_PEER * self.peers, MAX_AGREED_BODY) + ENVELOPE_OVERHEAD

    @cached_property
    def vote(self) -> int:
        """Most bytes of a vote, which may carry true reports."""
        return min(self.message + MAX_CORRECTIONS, MAX_AGREED_BODY + ENVELOPE_OVERHEAD)

    @cached_property
    def report(self) -> int:
        """Most bytes of a Report, which may carry chunks."""
        return min(self.message + (self.peers + 1) * self.shown, MAX_AGREED_BODY + ENVELOPE_OVERHEAD)

    @cached_property
    def longest(self) -> int:
        """Most bytes of any agreed message."""
        return max(self.vote, self.report)

    @cached_property
    def part(self) -> int:
        """Most bytes of a part, or of a disclosure: a whole gradient's worth."""
        return 4 * self.dimension + ENVELOPE_OVERHEAD

    @cached_property
    def relay(self) -> int:
        """Most bytes of an echo, or of an echo that travels on."""
        return ENVELOPE_OVERHEAD + (DIGEST_BYTES + VOUCHER_BYTES) * self.peers

    @cached_property
    def ask(self) -> int:
        """Most bytes of a request: digests of up to three versions of every message."""
        return ENVELOPE_OVERHEAD + 3 * DIGEST_BYTES * self.peers

    @cached_property
    def answer(self) -> int:
        """Most bytes of an answer: a certificate, and everyone's message, of faulty peers up to three versions."""
        return ENVELOPE_OVERHEAD + self.peers * VOUCHER_BYTES + 2 * self.peers * self.longest

    @cached_property
    def kinds(self) -> tuple[int, ...]:
        """Most bytes of a frame, by kind."""
        return max(self.longest, self.part), self.relay, ENVELOPE_OVERHEAD, self.ask, self.answer

    @cached_property
    def frame(self) -> int:
        """Most bytes of any frame."""
        return max(self.kinds)

    @cached_property
    def frames(self) -> int:
        """How many different frames an honest peer sends at most while another one is in one phase: two fallbacks."""
        return 4 * self.peers + SPARE_FRAMES

    @cached_property
    def authored(self) -> int:
        """How many envelopes of one author are passed on between two deliveries."""
        return 2 * self.peers + SPARE_FRAMES

    @cached_property
    def share(self) -> int:
        """How many different frames one link may bring in one phase."""
        return self.frames * (SPARSE_PHASES * (self.peers + MAX_CANDIDATES) if self.relays else 1)

    @cached_property
    def items(self) -> int:
        """Most items of any frame: bodies and parts are one each."""
        return frame_items(self.peers)

    @cached_property
    def author_bytes(self) -> int:
        """Most bytes of one author's frames in one phase: parts, a message, an echo, and a relay of two versions of
        everyone's echo. A sparse overlay brings two versions of all, and a third of a message that was decided."""
        versions = VERSIONS if self.relays else 1
        signed = versions * (EARLY_GRADIENTS * self.part + self.longest) + (self.longest if self.relays else 0)
        return signed + self.frames * self.relay

    @cached_property
    def share_bytes(self) -> int:
        """Bytes of different frames that one link may bring in one phase: answers to two requests of this phase and
        of the last come on top of what authors sign."""
        authors = self.peers if self.relays else 1
        return BYTE_PHASES * (authors * self.author_bytes + ANSWERS * self.ask) + 4 * self.answer

    def has_room(self, link: Link, size: int) -> bool:
        """Whether ``link`` may bring another frame, of ``size`` bytes, in this phase."""
        return link.brought < self.share and link.volume + size <= self.share_bytes

    @cached_property
    def early(self) -> int:
        """Bytes of one peer's frames that are kept early: gradients' parts, two messages, small frames."""
        return (
            EARLY_GRADIENTS * self.part
            + self.message
            + self.longest
            + (self.peers + 8) * (ENVELOPE_OVERHEAD + FRAME_COST)
        )

    @cached_property
    def queue(self) -> int:
        """Bytes that wait for one slow receiver: what a phase sends it at most, twice."""
        return 2 * (EARLY_GRADIENTS * self.part + 2 * self.longest + 2 * self.peers * self.relay + self.answer)

    def grown(self, peers: int) -> Limits:
        """The limits once the roster has ``peers`` peers: never less than before."""
        return self if peers <= self.peers else replace(self, peers=peers)

    def check_size(self, data: bytes) -> None:
        """Raise :class:`Oversized` if ``data`` is too long for the kind of frame that it claims to be."""
        kind = data[1] if len(data) > 1 else 0
        limit = self.kinds[kind] if kind < FRAME_KINDS else 0
        if len(data) > limit:
            raise Oversized(f"{len(data)} bytes in a frame of at most {limit}")  # requirement: LIM-2

    def longest_in(self, phase: Phase) -> int:
        """Most bytes of an envelope of ``phase``."""
        if not phase.agreed:
            return self.part
        return self.vote if phase in VOTES else self.report if phase is Phase.REPORT else self.message

    def fits(self, frame: Frame, size: int) -> bool:
        """Whether ``frame`` has a place in its phase: its kind, its part, the length of its chain, its ``size``."""
        slot = frame.echo.slot if isinstance(frame, Relay) else frame.slot
        if isinstance(frame, Relay):
            return slot.phase.agreed and slot.part == ECHO and 2 * len(frame.signatures) < self.peers
        if isinstance(frame, Envelope):
            agreed, longest = slot.phase.agreed, self.longest_in(slot.phase)
            last = ECHO if agreed else self.peers - 1
            return slot.phase not in LETTER_BYTES and slot.part <= last and size <= longest  # requirement: LIM-1
        return slot.phase.agreed


def claims_to_answer(data: bytes) -> bool:
    """Whether a frame can be nothing but an answer. Its kind is the second byte of any array that is a frame."""
    return data[1:2] == bytes([ANSWER_KIND])


@dataclass
class Link:
    """What one link has brought."""

    brought: int = 0
    """Different frames in this phase."""
    volume: int = 0
    """Bytes of these."""
    seen: deque[set[bytes]] = field(default_factory=lambda: deque([set()], maxlen=REMEMBERED_PHASES))
    """Digests of the frames of the last phases."""
    early: int = 0
    """Bytes of the peer's frames that are kept for phases to come."""
    owed: int = 0
    """Answers that I asked for in this phase and have not got."""
    overdue: int = 0
    """The same of the phase before: an answer may be on the way when the phase ends."""

    def is_new(self, data: bytes) -> bool:
        """Whether these bytes come for the first time; remembers them."""
        digest = hashlib.blake2b(data, digest_size=16).digest()
        if any(digest in phase for phase in self.seen):
            return False
        self.seen[-1].add(digest)
        return True

    def charge(self, data: bytes) -> None:
        """Count a frame that is let in."""
        self.brought += 1
        self.volume += len(data)
        if claims_to_answer(data):
            late = self.overdue > 0
            self.overdue, self.owed = self.overdue - late, self.owed - (not late)

    @property
    def expects(self) -> bool:
        """Whether an answer is asked for: else none is let in."""
        return self.owed + self.overdue > 0

    def next_phase(self) -> None:
        """A new phase begins, with a new share."""
        self.overdue, self.owed = self.owed, 0
        self.brought = self.volume = 0
        self.seen.append(set())
