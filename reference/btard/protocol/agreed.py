"""What a peer says, hears and records in an agreed phase (chapter ``step``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from btard.protocol import membership, tolerance
from btard.protocol.channel import AgreedBroadcast, AppendRecord, Delivery, Disclose, Duty, Exchange
from btard.protocol.encoding import encode
from btard.protocol.log import Record, Verdict
from btard.protocol.messages import NO_NOTICES, Closing, Echo, Envelope, Message, Notices, Phase, Slot
from btard.protocol.state import Heard, Peer, State, seated
from btard.protocol.verification import profile_of


def broadcast(peer: Peer, state: State, slot: Slot, message: Message) -> Exchange[Delivery]:
    """Send ``message`` with what the channel told me to say, and get everyone's."""
    message = peer.conduct.say(state, slot, with_notices(message, state.pending))
    envelope = peer.seal(state, slot, encode(message.to_item())) if seated(peer, state) else None
    work, candidates = work_before(state, slot), tuple(candidate.peer for candidate in state.probation)
    delivery: Delivery = yield AgreedBroadcast(slot, state.roster, envelope, state.tolerated, work, candidates)
    return delivery


def with_notices(message: Message, notices: Notices) -> Message:
    """``message`` with ``notices`` beside its own; a Closing has no room for any."""
    if isinstance(message, (Closing, Echo)) or notices == NO_NOTICES:
        return message
    return replace(message, notices=message.notices.merged(notices))


def work_before(state: State, slot: Slot) -> int:
    """How many gradients' time an honest peer may need before it sends its message in ``slot``: one for
    whatever the phase computes, in a step's first Commit one for the gradient or the audit and those of its
    inspections, and those of the last trials. Source: BCAST-3."""
    opening = slot.phase is Phase.COMMIT and slot.attempt == 0
    looking = opening or slot.phase is Phase.AGGREGATE  # for who lied about a part
    recomputed = looking * profile_of(state.config).recomputations(state)
    return 1 + opening * (1 + membership.inspections(state)) + recomputed + state.work  # requirement: BCAST-3


def write(state: State, slot: Slot, delivery: Delivery, verdicts: tuple[Verdict, ...]) -> Exchange[State]:
    """Append an agreed phase to the log."""
    record = Record(state.records, slot, delivery.vector, verdicts)
    yield AppendRecord(record)
    heard = Heard(slot, state.roster, digests(delivery.vector))
    head = record.head_after(state.head)
    return replace(state, head=head, records=state.records + 1, last=heard, pending=delivery.notices)


def digests(vector: Sequence[Envelope | None]) -> tuple[bytes | None, ...]:
    """What names each message of an agreed vector."""
    return tuple(None if entry is None else entry.signed_header.digest for entry in vector)


def disclose(
    peer: Peer, state: State, slot: Slot, duties: tuple[Duty, ...]
) -> Exchange[dict[tolerance.Suspect, bytes]]:
    """Send the gradients that I owe, and collect those owed to me, by step and worker."""
    suspects = [(duty.slot.step - duty.slot.part, duty.sender) for duty in duties]
    envelopes = tuple(
        peer.seal(state, duty.slot, state.shown[suspect]) if duty.sender == peer.id and suspect in state.shown else None
        for duty, suspect in zip(duties, suspects, strict=True)
    )
    answer: Sequence[Envelope | None] = yield Disclose(slot, duties, envelopes)
    return {suspect: envelope.body for suspect, envelope in zip(suspects, answer, strict=False) if envelope}
