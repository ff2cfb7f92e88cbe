"""Bans: who leaves, why, and what that changes (chapter ``bans``)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum, IntEnum

from btard.protocol.messages import Slot
from btard.protocol.model import PeerId, Roster, ToleranceExceeded


class Fault(IntEnum):
    """Why a peer left. The number is the code in the log."""

    SILENT = 0
    """No message in an agreed phase."""
    MALFORMED = 1
    """A message that no honest peer sends: it cannot be read, or its fields do not fit the sender's duty."""
    WRONG_LOG_HEAD = 2
    """A log head other than the agreed one."""
    DIVERGED = 3
    """A state hash in the minority."""
    WRONG_OPENING = 4
    """An MPRNG opening that does not match the commitment."""
    IMPOSSIBLE_REPORT = 5
    """Reported numbers that no gradient produces, or opened chunks that were not announced."""
    MISMATCHED_PART = 6
    """Signed part content that is not what was announced."""
    WRONG_HASH = 7
    """Part hashes that are not those of the recomputed gradient."""
    WRONG_REPORT = 8
    """Reported numbers that are not those of the recomputed gradient."""
    WRONG_AGGREGATE = 9
    """An aggregate its rule denies: a residual above ε, a wrong count of votes, a failed projection."""
    IMPOSSIBLE_AGGREGATE = 10
    """An aggregate of wrong length or with non-finite entries."""
    FALSE_ACCUSATION = 11
    """An accusation of a peer whom the trial acquitted."""
    FALSE_NOTICE = 12
    """A complaint, an accusation or evidence that the sender had no ground for, visibly to all."""
    WITHHELD = 13
    """One of a pair: something owed was not sent, or was received and denied."""
    EQUIVOCATION = 14
    """Two signed versions of one message."""
    UNEXPLAINED_ECHO = 15
    """An echo that differs from what was delivered, with neither evidence nor a complaint to explain it."""
    MISSED = 16
    """More than b_t peers say that something owed to them did not come: one of them is honest."""
    WRONG_GRADIENT = 17
    """Tolerance mode: a committed gradient farther from the recomputed one than the tolerance admits."""
    UNDISCLOSED = 18
    """Tolerance mode: a gradient that stands trial and was not disclosed."""
    LEAVING = 19
    """No fault: the peer said that it leaves."""

    @property
    def text(self) -> str:
        """The fault in words, for people."""
        return self.name.lower().replace("_", " ")


class Departure(Enum):
    """How a peer leaves."""

    CONVICTED = "convicted"
    ABSENT = "absent"
    ELIMINATED = "eliminated"
    LEFT = "left"
    """In good order."""
    REFUSED = "refused"
    """Convicted without a seat: on probation, or after it had left."""


LOSSES = (Departure.CONVICTED, Departure.ABSENT, Departure.ELIMINATED)
"""The ways to lose a seat for something; the others are in good order, or of keys without a seat."""


@dataclass(frozen=True)
class Removal:
    """One peer's departure."""

    peer: PeerId
    how: Departure
    fault: Fault
    slot: Slot
    partner: PeerId | None = None
    """The other one of an eliminated pair."""


@dataclass
class Departures:
    """The removals of one phase, in the order in which they are decided (BAN-1)."""

    slot: Slot
    removals: list[Removal] = field(default_factory=list)
    refusals: list[Removal] = field(default_factory=list)
    """Keys without a seat that were convicted: candidates, and members that had just left."""

    def out(self, peer: PeerId) -> bool:
        """Whether ``peer`` has left in this phase."""
        return any(removal.peer == peer for removal in self.removals)

    def convicted(self, peer: PeerId) -> bool:
        """Whether ``peer`` has left in this phase for good."""
        return any(removal.peer == peer and removal.how is Departure.CONVICTED for removal in self.removals)

    def absent(self, peer: PeerId) -> bool:
        """Whether ``peer`` has left in this phase because nothing came from it: so it might come back."""
        return any(removal.peer == peer and removal.how is Departure.ABSENT for removal in self.removals)

    def refused(self, peer: PeerId) -> bool:
        """Whether ``peer``, without a seat, was convicted in this phase."""
        return any(refusal.peer == peer for refusal in self.refusals)

    def remove(self, peer: PeerId, fault: Fault) -> None:
        """Remove one peer, once: as absent if nothing came from it, else as convicted."""
        if not self.out(peer):  # requirement: BAN-2
            how = Departure.ABSENT if fault in (Fault.SILENT, Fault.MISSED) else Departure.CONVICTED
            self.removals.append(Removal(peer, how, fault, self.slot))

    def refuse(self, peer: PeerId, fault: Fault) -> None:
        """Convict a key that has no seat, or loses it in this phase, once: it never gets one."""
        if not self.refused(peer):
            self.refusals.append(Removal(peer, Departure.REFUSED, fault, self.slot))

    def eliminate(self, first: PeerId, second: PeerId) -> None:
        """Remove both, unless one of them has left already: then the complaint is moot."""
        if not self.out(first) and not self.out(second):  # requirement: BAN-3
            for peer, partner in ((first, second), (second, first)):
                removal = Removal(peer, Departure.ELIMINATED, Fault.WITHHELD, self.slot, partner)
                self.removals.append(removal)


def remaining_roster(roster: Roster, removals: Iterable[Removal]) -> Roster:
    """The roster without those who left."""
    gone = {removal.peer for removal in removals}
    return tuple(peer for peer in roster if peer not in gone)


def tolerance_lost(removals: Iterable[Removal]) -> int:
    """By how much b_t falls: one for everyone convicted or absent, one for every pair."""
    return sum(1 if removal.how is Departure.ELIMINATED else 2 for removal in removals) // 2


def remaining_tolerance(tolerated: int, removals: Sequence[Removal]) -> int:
    """b_t after removals.

    Raises :class:`ToleranceExceeded` below zero: then more peers were faulty than the run tolerates.
    """
    left = tolerated - tolerance_lost(removals)
    if left < 0:  # requirement: BAN-4
        where = next(f"{slot.phase.name.title()} of step {slot.step}" for slot in (r.slot for r in removals))
        raise ToleranceExceeded(f"in {where}, {-left} more peers left than the {tolerated} still tolerated", removals)
    return left
