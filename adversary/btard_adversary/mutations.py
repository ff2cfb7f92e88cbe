"""Mutations: small and boundary changes of every field of every message.

What kind of value a field holds is declared with the message type, in ``btard.protocol.messages``; here are
the ways to change each kind. A mutation gets the honest value and a :class:`Context` to take plausible other
values from, and returns what is said instead; a value that does not change is no mutation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import lru_cache
from typing import Any, get_type_hints

import numpy as np
from btard.protocol.encoding import encode
from btard.protocol.messages import (
    GATHERED,
    SCATTERED,
    Accusation,
    Aggregate,
    Chunks,
    Commit,
    Doubles,
    Echo,
    Envelope,
    Hash,
    Message,
    Notices,
    Opening,
    Phase,
    Report,
    Reveal,
    SignedHeader,
    Slot,
    Statement,
    Vote,
)
from btard.protocol.model import PeerId

TYPES: tuple[type[Any], ...] = (Commit, Aggregate, Reveal, Report, Vote, Echo)
"""Message types that have fields."""


@dataclass(frozen=True)
class Context:
    """Where a message is said: what an attacker takes other values from."""

    me: PeerId
    run: bytes
    slot: Slot
    log_head: bytes
    roster: tuple[PeerId, ...]
    victim: PeerId
    """An honest member, chosen by the action."""
    theirs: Message | None = None
    """What the victim is about to say in the same phase."""
    colluder: PeerId = b""
    """Another attacker, if there is one."""
    heard: Mapping[PeerId, Sequence[Envelope]] = field(default_factory=dict)
    """What each honest peer has signed, the latest last."""

    @property
    def signed(self) -> list[SignedHeader]:
        """What the victim has signed, the latest last."""
        return [envelope.signed_header for envelope in self.heard.get(self.victim, ())]

    @property
    def parts(self) -> list[SignedHeader]:
        """Signed parts of the exchange that ends with this phase, in this attempt or another: the victim's, or if it
        has sent none those of another honest peer."""
        exchange = SCATTERED if self.slot.phase is Phase.AGGREGATE else GATHERED
        for peer in (self.victim, *sorted(self.heard)):
            found = [one.signed_header for one in self.heard.get(peer, ()) if one.slot.phase in exchange]
            if found:
                return found
        return []


Mutation = Callable[[Any, Context], Any]


def flipped(data: bytes) -> bytes:
    """``data`` with its last bit flipped."""
    return data[:-1] + bytes([data[-1] ^ 1]) if data else b"\0"


def copied(field: str) -> Mutation:
    """The victim's value of ``field``."""
    return lambda value, context: getattr(context.theirs, field, value)


def at_first(change: Callable[[Any], Any]) -> Mutation:
    """Change the first entry of a list."""
    return lambda value, context: (change(value[0]), *value[1:]) if value else value


def at_last(change: Callable[[Any], Any]) -> Mutation:
    """Change the last entry of a list."""
    return lambda value, context: (*value[:-1], change(value[-1])) if value else value


def doubles(change: Callable[[Any], Any]) -> Mutation:
    """Change a vector of float64 as a whole."""

    def mutate(value: bytes, context: Context) -> bytes:
        if not value:
            return value
        with np.errstate(all="ignore"):
            return bytes(np.asarray(change(np.frombuffer(value, dtype="<f8").copy()), dtype="<f8").tobytes())

    return mutate


def first_entry(change: Callable[[float], float]) -> Mutation:
    """Change the first number of a vector of float64."""

    def mutate(vector: Any) -> Any:
        vector[0] = change(vector[0])
        return vector

    return doubles(mutate)


STRANGER: PeerId = bytes(range(32))
"""A key that is in no roster."""


def accuse(peer: Callable[[Context], PeerId], back: int) -> Mutation:
    """One more accusation, about ``back`` steps ago."""

    def mutate(value: tuple[Accusation, ...], context: Context) -> tuple[Accusation, ...]:
        more = Accusation(peer(context), max(context.slot.step - back, 0))
        return tuple(sorted({*value, more}))

    return mutate


def complain(peer: Callable[[Context], PeerId]) -> Mutation:
    """One more complaint."""

    def mutate(value: Notices, context: Context) -> Notices:
        return value._replace(complaints=tuple(sorted({*value.complaints, peer(context)})))

    return mutate


def victim_of(context: Context) -> PeerId:
    """The honest member that an action is aimed at."""
    return context.victim


def forged_header(context: Context, slot: Slot, body: bytes) -> SignedHeader:
    """A header in the victim's name, with a signature of zeros."""
    return SignedHeader(context.run, slot, context.victim, context.log_head, body, bytes(64))


def show(*bodies: bytes) -> Mutation:
    """Evidence against the victim: forged headers with these body hashes."""

    def mutate(value: Notices, context: Context) -> Notices:
        slot = context.slot if len(bodies) == 2 else context.slot._replace(phase=Phase.SCATTER)
        proof = sorted((forged_header(context, slot, body) for body in bodies), key=lambda header: header.digest)
        return value._replace(evidence=(*value.evidence, tuple(proof)))

    return mutate


Choose = Callable[[Context], list[SignedHeader]]


def misuse(choose: Choose) -> Mutation:
    """Evidence that the victim has signed, and that proves nothing."""

    def mutate(value: Notices, context: Context) -> Notices:
        proof = sorted(choose(context), key=lambda header: header.digest)
        return value._replace(evidence=(*value.evidence, tuple(proof))) if proof else value

    return mutate


def latest(context: Context) -> list[SignedHeader]:
    """The latest message, once."""
    return list(context.signed[-1:])


def two_phases(context: Context) -> list[SignedHeader]:
    """The last two agreed messages, which belong to different phases."""
    return [header for header in context.signed if header.slot.phase.agreed][-2:]


def same_phase(context: Context) -> list[SignedHeader]:
    """The last two messages of one phase, which belong to different attempts or steps."""
    agreed = [header for header in context.signed if header.slot.phase.agreed]
    twice = [[one for one in agreed if one.slot.phase == last.slot.phase][-2:] for last in reversed(agreed)]
    return next((pair for pair in twice if len(pair) > 1), [])


def old_part(context: Context) -> list[SignedHeader]:
    """A part from before this attempt, the latest one."""
    now = context.slot.step, context.slot.attempt
    return [header for header in context.parts if header.slot[:2] != now][-1:]


def true_part(context: Context) -> list[SignedHeader]:
    """The latest part."""
    return context.parts[-1:]


def show_echo(value: Notices, context: Context) -> Notices:
    """A divergent echo in the victim's name."""
    body = encode(Echo((None,) * len(context.roster)).to_item())
    echo = Envelope(context.run, context.slot.echo, context.victim, context.log_head, body, bytes(64))
    return value._replace(echoes=(*value.echoes, echo))


def forge_letter(value: tuple[Envelope, ...], context: Context) -> tuple[Envelope, ...]:
    """A petition in a stranger's name."""
    slot = Slot(context.slot.step, 0, Phase.PETITION)
    letter = Envelope(context.run, slot, STRANGER, context.log_head, b"", bytes(64))
    return tuple(sorted((*value, letter), key=lambda one: (one.sender, one.slot)))


def state(fault: int) -> Mutation:
    """One more statement: the victim is guilty."""

    def mutate(value: tuple[Statement, ...], context: Context) -> tuple[Statement, ...]:
        more = Statement(max(context.slot.step - 1, 0), context.victim, fault)
        return tuple(sorted({*value, more}))

    return mutate


def other_entry(
    value: tuple[bytes | None, ...], context: Context, peer: PeerId, entry: Callable[[bytes], bytes | None]
) -> Any:
    """An echo with the entry of ``peer`` changed."""
    if peer not in context.roster or len(value) != len(context.roster):
        return value
    index = context.roster.index(peer)
    return (*value[:index], entry(value[index] or bytes(32)), *value[index + 1 :])


BY_TYPE: dict[Any, dict[str, Mutation]] = {
    Hash: {
        "zeros": lambda value, context: bytes(32),
        "flip": lambda value, context: flipped(value),
    },
    Hash | None: {
        "nothing": lambda value, context: None,
        "zeros": lambda value, context: bytes(32),
        "flip": lambda value, context: flipped(value) if value else value,
    },
    tuple[Hash, ...]: {
        "flip first": at_first(flipped),
        "flip last": at_last(flipped),
        "one less": lambda value, context: value[:-1],
        "one more": lambda value, context: (*value, bytes(32)),
        "swap": lambda value, context: value[::-1],
        "zeros": lambda value, context: (bytes(32),) * len(value),
    },
    tuple[Hash | None, ...]: {
        "deny one": lambda value, context: other_entry(value, context, context.victim, lambda old: None),
        "change one": lambda value, context: other_entry(value, context, context.victim, flipped),
        "deny a colluder": lambda value, context: other_entry(value, context, context.colluder, lambda old: None),
        "change a colluder": lambda value, context: other_entry(value, context, context.colluder, flipped),
        "nothing": lambda value, context: (None,) * len(value),
        "one less": lambda value, context: value[:-1],
    },
    Opening: {
        "zeros": lambda value, context: bytes(64),
        "flip": lambda value, context: flipped(value),
        "flip share": lambda value, context: flipped(value[:1]) + value[1:],
    },
    Doubles: {
        "one ulp": first_entry(lambda number: float(np.nextafter(number, np.inf))),
        "first zero": first_entry(lambda number: 0.0),
        "zeros": doubles(np.zeros_like),
        "negate": doubles(np.negative),
        "double": doubles(lambda vector: vector * 2),
        "halve": doubles(lambda vector: vector / 2),
        "huge": doubles(lambda vector: vector * 1e12 + 1e12),
        "not a number": first_entry(lambda number: float("nan")),
        "infinite": first_entry(lambda number: float("inf")),
        "below zero": first_entry(lambda number: -1.0),
        "one less": doubles(lambda vector: vector[:-1]),
    },
    tuple[Chunks, ...]: {
        "flip first": at_first(lambda shown: flipped(shown[:1]) + shown[1:]),
        "flip last": at_last(flipped),
        "one less": lambda value, context: value[:-1],
        "one more": lambda value, context: (*value, b"chunk"),
        "swap": lambda value, context: value[::-1],
        "longer": at_first(lambda shown: shown + b"\0"),
        "nothing": lambda value, context: (),
    },
    bool: {"toggle": lambda value, context: not value},
    tuple[Accusation, ...]: {
        "the victim, last step": accuse(victim_of, 1),
        "the victim, two steps ago": accuse(victim_of, 2),
        "the victim, now": accuse(victim_of, 0),
        "myself": accuse(lambda context: context.me, 1),
        "a stranger": accuse(lambda context: STRANGER, 1),
        "the victim, twice": lambda value, context: (*value, *2 * accuse(victim_of, 1)((), context)),
    },
    tuple[Envelope, ...]: {"forged letter": forge_letter},
    tuple[Statement, ...]: {
        "the victim is guilty": state(17),
        "unknown fault": state(250),
        "nobody is guilty": lambda value, context: (),
    },
    Notices: {
        "complain about the victim": complain(victim_of),
        "complain about myself": complain(lambda context: context.me),
        "complain about a stranger": complain(lambda context: STRANGER),
        "complain twice": lambda value, context: value._replace(complaints=(*value.complaints, *2 * (context.victim,))),
        "forged evidence": show(bytes(32)),
        "forged equivocation": show(bytes(32), flipped(bytes(32))),
        "a true message as evidence": misuse(latest),
        "messages of two phases as evidence": misuse(two_phases),
        "messages of two attempts as evidence": misuse(same_phase),
        "an old part as evidence": misuse(old_part),
        "a true part as evidence": misuse(true_part),
        "forged echo": show_echo,
        "suppress": lambda value, context: Notices(),
    },
}
"""Ways to change a value, by the declared type of its field."""

BY_FIELD: dict[tuple[type[Any], str], dict[str, Mutation]] = {
    (Commit, "commitment"): {"copy": copied("commitment")},
    (Commit, "part_hashes"): {"copy": copied("part_hashes")},
    (Aggregate, "aggregate_hash"): {"copy": copied("aggregate_hash")},
    (Reveal, "opening"): {"copy": copied("opening")},
    (Report, "inner_products"): {"copy": copied("inner_products")},
    (Report, "norms"): {"copy": copied("norms")},
}
"""Further ways for single fields."""


@lru_cache(maxsize=1)
def catalogue() -> dict[tuple[str, str], dict[str, Mutation]]:
    """All mutations, by the name of the message type and the field, then by name."""
    found: dict[tuple[str, str], dict[str, Mutation]] = {}
    for kind in TYPES:
        for name, declared in declared_fields(kind).items():
            found[kind.__name__, name] = {**BY_TYPE[declared], **BY_FIELD.get((kind, name), {})}
    return found


def declared_fields(kind: type[Any]) -> dict[str, Any]:
    """The fields of a message type, with their declared types."""
    hints = get_type_hints(kind, include_extras=True)
    return {one.name: hints[one.name] for one in fields(kind)} if is_dataclass(kind) else {}


def mutated(message: Message, field: str, how: str, context: Context) -> Message:
    """``message`` with one field changed; as it was if it has no such field."""
    mutation = catalogue().get((type(message).__name__, field), {}).get(how)
    if mutation is None:
        return message
    changed: Message = replace(message, **{field: mutation(getattr(message, field), context)})
    return changed


# -- Envelopes --------------------------------------------------------------------------------------

HEADERS: dict[str, Callable[[Envelope], Envelope]] = {
    "log head of zeros": lambda e: replace(e, log_head=bytes(32)),
    "another log head": lambda e: replace(e, log_head=flipped(e.log_head)),
    "another run": lambda e: replace(e, run=flipped(e.run)),
    "next step": lambda e: replace(e, slot=e.slot._replace(step=e.slot.step + 1)),
    "step before": lambda e: replace(e, slot=e.slot._replace(step=max(e.slot.step - 1, 0))),
    "next attempt": lambda e: replace(e, slot=e.slot._replace(attempt=e.slot.attempt + 1)),
    "next phase": lambda e: replace(e, slot=e.slot._replace(phase=Phase((e.slot.phase + 1) % len(Phase)))),
    "another part": lambda e: replace(e, slot=e.slot._replace(part=e.slot.part + 1)),
    "empty body": lambda e: replace(e, body=b""),
    "garbage": lambda e: replace(e, body=b"\xff no message"),
    "body and a byte": lambda e: replace(e, body=e.body + b"\0"),
    "body less a byte": lambda e: replace(e, body=e.body[:-1]),
    "flip a bit of the body": lambda e: replace(e, body=flipped(e.body)),
    "zeros for a body": lambda e: replace(e, body=bytes(len(e.body))),
    "array of nothing": lambda e: replace(e, body=encode([])),
    "long form": lambda e: replace(e, body=bytes([0x98, e.body[0] & 0x1F]) + e.body[1:] if e.body else b""),
}
"""Changes of an envelope, which is signed again afterwards."""

BYTES: dict[str, Callable[[bytes], bytes]] = {
    "flip the last bit": flipped,
    "flip the first bit": lambda data: flipped(data[:1]) + data[1:],
    "flip a bit in the middle": lambda data: flipped(data[: len(data) // 2]) + data[len(data) // 2 :],
    "cut in half": lambda data: data[: len(data) // 2],
    "cut a byte": lambda data: data[:-1],
    "add a byte": lambda data: data + b"\0",
    "twice": lambda data: data + data,
    "nothing": lambda data: b"",
}
"""Changes of bytes on the wire, which nobody signs again."""
