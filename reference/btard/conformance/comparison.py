"""What an implementation did at one instant, compared with what the reference did (chapter ``conformance``)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

from btard.conformance.attribution import ATTRIBUTIONS, likeliest, of_profile
from btard.protocol.broadcast import Answer, Ask, Frame, Offer, Relay, decode_frame
from btard.protocol.log import Record
from btard.protocol.messages import ECHO, GATHERED, Echo, Envelope, Phase, Slot
from btard.protocol.model import PeerId, ProtocolError

MAX_FRAME = 1 << 28
"""Most bytes of a frame that are looked at."""
ABSENCE = ("is missing", "comes unexpectedly")
STOPPED = ("BCAST-9", "BCAST-6", "STEP-4")
"""Why a peer may give up in an agreed phase: it lacks a message that was decided, or a majority."""
ORDER = {key: position for position, key in enumerate(ATTRIBUTIONS)}


class Difference(NamedTuple):
    """One thing that is not as the reference has it."""

    key: str
    """Of the table of attributions."""
    sentence: str
    speaking: tuple[str, ...] = ()
    """The requirements that the two values speak for."""

    @property
    def requirements(self) -> tuple[str, ...]:
        """Those that decide about it, the likeliest first."""
        return self.speaking or ATTRIBUTIONS[self.key].requirements


Identity = tuple[Any, ...]
"""What says which thing of one side belongs to which of the other."""
Content = dict[str, Any]
"""What is compared of a thing, by attribution."""


class Thing(NamedTuple):
    """A frame, a record or a state."""

    kind: str
    """The attribution of its being there."""
    identity: Identity
    name: str
    content: Content
    slot: Slot | None = None
    """Where in the run it stands."""


@dataclass
class Done:
    """What one side did at one instant."""

    frames: list[tuple[PeerId, bytes]] = field(default_factory=list)
    """By recipient."""
    records: list[bytes] = field(default_factory=list)
    states: list[dict[str, Any]] = field(default_factory=list)
    ended: str | None = None

    def things(self) -> Iterator[Thing]:
        """Everything, one by one."""
        yield from (state_thing(state) for state in self.states)
        yield from (record_thing(record) for record in self.records)
        yield from (frame_thing(receiver, data) for receiver, data in self.frames)
        if self.ended is not None:
            yield Thing("ended", ("ended",), "the end of the run", {"ended": self.ended})


def state_thing(state: dict[str, Any]) -> Thing:
    """An agreed state."""
    place = state.get("step"), state.get("attempt")
    compared = {key: state.get(key.removeprefix("state.")) for key in ATTRIBUTIONS if key.startswith("state.")}
    known = all(isinstance(number, int) for number in place)
    slot = Slot(*place, Phase.COMMIT) if known else None  # type: ignore[arg-type]
    return Thing(
        "state", ("state", *map(repr, place)), f"the state before step {place[0]}, attempt {place[1]}", compared, slot
    )


def record_thing(data: bytes) -> Thing:
    """A record, by what its chain covers."""
    try:
        record = Record.decode(data)
    except ProtocolError as error:
        return Thing("record.bytes", ("record", data), f"a record that is none ({error})", {"record.bytes": data})
    digests = [None if entry is None else entry.signed_header.digest for entry in record.entries]
    if not all(entry is None or entry.signed_header.authentic for entry in record.entries):
        return Thing("record.bytes", ("record", data), "a record with a false signature", {"record.bytes": data})
    verdicts = [verdict.to_item() for verdict in record.verdicts]
    compared = {"record.slot": record.slot, "record.entries": digests, "record.verdicts": verdicts}
    return Thing("record", ("record", record.index), f"record {record.index}", compared, record.slot)


def frame_thing(receiver: PeerId, data: bytes) -> Thing:
    """A frame to one recipient."""
    to = f" to {receiver.hex()[:8]}"
    try:
        frame = decode_frame(data, MAX_FRAME)
    except ProtocolError as error:
        return Thing("frame", ("frame", receiver, data), f"a frame{to} that is none ({error})", {"frame": data})
    kind, about, compared = read_frame(frame)
    slot = frame.echo.slot if isinstance(frame, Relay) else frame.slot
    author = frame.echo.signed_header.digest if isinstance(frame, Relay) else b""
    name = f"{about} of step {slot.step}, attempt {slot.attempt}, {phase_name(slot)}{to}"
    return Thing(kind, (kind, receiver, slot, author), name, compared, slot)


def phase_name(slot: Slot) -> str:
    """The phase in words."""
    return slot.phase.name.capitalize().replace("_", " ")


def read_frame(frame: Frame) -> tuple[str, str, Content]:
    """Kind, name and content of a frame."""
    match frame:
        case Envelope():
            return read_envelope(frame)
        case Relay(echo, signatures):
            return "relay", "the relay", {"relay.signatures": (echo.encode(), signatures)}
        case Offer():
            return "offer", "the offer", {}
        case Ask(_, held):
            return "ask", "the ask", {"ask.held": sorted(held)}
        case Answer(_, signatures, envelopes):
            messages = sorted(envelope.encode() for envelope in envelopes)
            return "answer", "the answer", {"answer.content": (signatures, messages)}


def read_envelope(envelope: Envelope) -> tuple[str, str, Content]:
    """Kind, name and content of an envelope."""
    head: Content = {
        "header": (envelope.run, envelope.sender),
        "header.log_head": envelope.log_head,
        "header.signature": envelope.signature,
    }
    if not envelope.slot.phase.agreed:
        content = "gather" if envelope.slot.phase in GATHERED else "scatter"
        return "part", f"part {envelope.slot.part}", {**head, content: envelope.body}
    echo = envelope.slot.part == ECHO
    kind, name = ("echo", "the echo") if echo else ("message", "the message")
    return kind, name, {**head, **read_body(envelope)}


def read_body(envelope: Envelope) -> Content:
    """What an agreed message says, field by field."""
    message = envelope.message
    if message is None:
        return {"body": envelope.body}
    if isinstance(message, Echo):
        return {"echo.vector": message.vector}
    said = type(message).__name__.lower()
    content = {f"{said}.{f.name}": getattr(message, f.name) for f in fields(message) if f.name != "notices"}
    notices = {f"notices.{name}": getattr(message.notices, name) for name in message.notices._fields}
    return {key if key in ATTRIBUTIONS else "body": value for key, value in {**content, **notices}.items()}


def differences(expected: Done, actual: Done, profile: str = "") -> list[Difference]:
    """What differs, in the order of the attributions: contents before what is missing or too much. If ``profile`` names
    that of the run, requirements of others are not named."""
    here, there = sorted_things(expected), sorted_things(actual)
    found: list[Difference] = []
    for identity in {**here, **there}:
        wanted, given = unequal(here.get(identity, []), there.get(identity, []))
        for one, other in zip(wanted, given, strict=False):
            found.extend(contents_differ(one, other))
        found.extend(alone(thing, "is missing", thing.content, None) for thing in wanted[len(given) :])
        found.extend(alone(thing, "comes unexpectedly", None, thing.content) for thing in given[len(wanted) :])
    found = sorted(dict.fromkeys(found), key=lambda difference: ORDER[difference.key])
    found = gave_up(expected, actual, found) + found
    return [difference._replace(speaking=of_profile(difference.requirements, profile)) for difference in found]


def unequal(wanted: list[Thing], given: list[Thing]) -> tuple[list[Thing], list[Thing]]:
    """What is left of two lists without what is equal in both, however often and in whatever order it comes."""
    rest = list(given)
    left = []
    for thing in wanted:
        match = next((other for other in rest if other.content == thing.content), None)
        if match is None:
            left.append(thing)
        else:
            rest.remove(match)
    return left, rest


def alone(thing: Thing, how: str, wanted: Content | None, given: Content | None) -> Difference:
    """A thing that only one side did at this instant."""
    return Difference(thing.kind, f"{thing.name} {how}", likeliest(thing.kind, thing.slot, wanted, given))


def gave_up(expected: Done, actual: Done, found: list[Difference]) -> list[Difference]:
    """An end in a phase that the other side has delivered: then the rest follows from it."""
    delivered = len(expected.records) > len(actual.records)
    if actual.ended is None or expected.ended is not None or not delivered:
        return []
    if any(not difference.sentence.endswith(ABSENCE) for difference in found):
        return []
    return [Difference("ended", f"it ends instead of delivering: {actual.ended[:200]}", STOPPED)]


def sorted_things(done: Done) -> dict[Identity, list[Thing]]:
    """Everything that one side did, by identity."""
    found: dict[Identity, list[Thing]] = {}
    for thing in done.things():
        found.setdefault(thing.identity, []).append(thing)
    return found


def contents_differ(expected: Thing, actual: Thing) -> Iterator[Difference]:
    """How a thing of both sides differs. A signature is wrong only where what it signs is right; beside other removals
    what follows from them is not listed, nor beside a body that cannot be read what it does not say."""
    here, there = expected.content, actual.content
    wrong = [key for key in {**here, **there} if here.get(key) != there.get(key)]
    wrong = next(([key] for key in ("state.removals", "body") if key in wrong), wrong)
    if len(wrong) > 1:
        wrong = [key for key in wrong if key != "header.signature"]
    for key in wrong:
        what = ATTRIBUTIONS[key].what.partition(": ")[2] or "it"
        speaking = likeliest(key, expected.slot, here.get(key), there.get(key))
        yield Difference(key, f"{expected.name}: {what} differs", speaking)


def compared(done: Done) -> set[str]:
    """The attributions of everything in ``done``, which was equal on both sides; of lists that were not empty."""
    things = list(done.things())
    return {thing.kind for thing in things} | {
        key for thing in things for key, value in thing.content.items() if value not in ((), b"", [], None)
    }
