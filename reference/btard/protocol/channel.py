"""The channel: what a peer asks of the outside (chapter ``channel``).

The protocol is a generator. It yields one of these requests, and whoever drives it (a simulator, a
network driver, an auditor) sends back the answer. So the protocol itself does no input or output.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from btard.protocol.arithmetic import Float32
from btard.protocol.log import Record, Trial
from btard.protocol.messages import NO_NOTICES, Envelope, Notices, Slot
from btard.protocol.model import PeerId, Roster

if TYPE_CHECKING:
    from btard.protocol.state import State


@dataclass(frozen=True)
class AgreedBroadcast:
    """Send ``envelope`` (None: an observer) in ``slot``; answer: :class:`Delivery`.

    The channel's contract is CHAN-1 … CHAN-4: all honest peers get the same vector, an honest sender's
    envelope is in it, every envelope in it belongs to its slot and sender, and it always answers.
    """

    slot: Slot
    roster: Roster
    envelope: Envelope | None
    tolerated: int = 0
    """b_t, how many of the roster may be faulty."""
    work: int = 1
    """How many gradients' time an honest peer may need before it asks for this (BCAST-3)."""
    candidates: Roster = ()
    """Who is on probation, and may take part from the next step on."""


@dataclass(frozen=True)
class Delivery:
    """What an agreed broadcast delivers."""

    vector: tuple[Envelope | None, ...]
    """The agreed messages, in roster order."""
    notices: Notices = NO_NOTICES
    """What this peer alone saw go wrong; it belongs into its next agreed message."""


@dataclass(frozen=True)
class Scatter:
    """Send ``envelopes[j]`` to worker j (None: nothing); answer: one ``Envelope | None`` per worker, for me.

    ``slot.part`` is the index of the part that I aggregate. Only what belongs to slot and sender is
    answered (CHAN-3); what did not arrive in time is None. A peer without a duty sends ``()``.
    """

    slot: Slot
    workers: Roster
    envelopes: tuple[Envelope | None, ...]
    announced: tuple[bytes, ...]
    """The body hash that each worker announced for the part that I aggregate; () without a duty."""
    work: int = 1
    """As in :class:`AgreedBroadcast`."""


@dataclass(frozen=True)
class Gather:
    """Send ``envelope`` (None: nothing) to every peer; answer: one ``Envelope | None`` per worker."""

    slot: Slot
    workers: Roster
    envelope: Envelope | None
    announced: tuple[bytes, ...]
    """The body hash that each worker announced for its aggregate."""
    work: int = 1
    """As in :class:`AgreedBroadcast`."""


class Duty(NamedTuple):
    """``sender`` owes its committed gradient of step ``slot.step`` − ``slot.part`` to ``recipients`` (TOL-3, TOL-7)."""

    sender: PeerId
    slot: Slot
    recipients: Roster


@dataclass(frozen=True)
class Disclose:
    """Send ``envelopes[k]`` (None: nothing) to the recipients of duty k; answer: one ``Envelope | None`` per duty.

    Only what belongs to the duty's slot and sender is answered, and None where I am no recipient.
    """

    slot: Slot
    duties: tuple[Duty, ...]
    envelopes: tuple[Envelope | None, ...]
    work: int = 1
    """As in :class:`AgreedBroadcast`."""


@dataclass(frozen=True)
class FetchContent:
    """Get the bytes whose body hash is ``content_hash`` from whoever has them; answer: ``bytes``."""

    content_hash: bytes


@dataclass(frozen=True)
class ComputeGradient:
    """Evaluate ``gradient(parameters, seed)``; answer: float32 ``[d]``, any values.

    ``state_hash`` names the parameters, so that a driver can tell equal requests.
    """

    parameters: Float32
    state_hash: bytes
    seed: bytes


@dataclass(frozen=True)
class AppendRecord:
    """Append ``record`` to this peer's log; answer: None, once it is stored."""

    record: Record


@dataclass(frozen=True)
class StepApplied:
    """A training step has ended; ``state`` is the new one. Answer: None."""

    state: State


@dataclass(frozen=True)
class WriteLetter:
    """Send a candidate's letter to the members. Answer: None."""

    letter: Envelope


@dataclass(frozen=True)
class CollectLetters:
    """The latest letters of candidates; answer: ``tuple[Envelope, ...]``, in any order, of any content."""


@dataclass(frozen=True)
class ReadVerdict:
    """The agreed verdict of a trial that I cannot hold myself, from the record to come; answer: ``Verdict``."""

    trial: Trial


Request = (
    AgreedBroadcast
    | Scatter
    | Gather
    | Disclose
    | FetchContent
    | ComputeGradient
    | AppendRecord
    | StepApplied
    | WriteLetter
    | CollectLetters
    | ReadVerdict
)

Result = TypeVar("Result")
Exchange = Generator[Request, Any, Result]
"""A part of the protocol: yields requests, is sent their answers, returns its result."""
