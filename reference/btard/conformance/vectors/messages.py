"""Vectors of chapter ``messages``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from btard.conformance.vectors.cases import Chapter, operation
from btard.conformance.vectors.forms import octets, plain_item, plain_slot, read_slot
from btard.protocol.encoding import DecodeError, Item, decode, encode, tagged_hash, tree_hash
from btard.protocol.identity import GROUP_ORDER, Identity
from btard.protocol.messages import (
    BODIES,
    ECHO,
    ENVELOPE_OVERHEAD,
    GATHERED,
    MAX_AGREED_BODY,
    MAX_ECHOES,
    MAX_LETTERS,
    MAX_NOTICES,
    MAX_STATEMENTS,
    SCATTERED,
    Envelope,
    MessageError,
    Phase,
    Slot,
    belongs,
    body_hash,
    content_hash,
    decode_body,
    message_digest,
    seal,
)

FLAGS = {
    "other-digest": "hashes something else: the header first, without a field, or the body instead of its hash",
    "other-body-hash": "takes the body hash where the tree hash is asked for, or the other way round",
    "signs-again": "signs the encoded header instead of the digest",
    "unknown-version": "takes another protocol version, or true for 1",
    "unknown-phase": "takes a phase without a code",
    "wrong-length": "takes a hash, id, signature or opening of another length",
    "wrong-type": "takes a field of another type",
    "wrong-count": "takes an array with too few or too many fields",
    "not-canonical": "takes bytes that chapter `encoding` refuses",
    "too-long": "takes more bytes, entries or open arrays than the place allows",
    "not-ascending": "takes a list that is not in strictly ascending order",
    "uneven-report": "takes a Report with unequal numbers of inner products and norms, or with torn numbers",
    "bad-proof": "takes a proof of no header, of three, or of two in the wrong order",
    "no-body": "reads a body where there is none, or where it is no CBOR",
    "other-place": "delivers what was said for another run, slot or sender",
    "stranger": "delivers what comes from nobody in the roster",
    "bad-signature": "delivers what the sender did not sign",
    "announced": "trusts an announced hash where there is none, or compares with it wrongly",
    "signature-needed": "refuses an announced part because of its signature",
    "reads-too-much": "refuses in the channel what only the protocol may judge: unannounced content, bad bodies",
}


@operation("messages.content_hash", "`phase`: its code; `body`: bytes", "bytes: what stands for the body in a digest")
def compute_content_hash(given: dict[str, Any]) -> str:
    """MSG-1, MSG-6."""
    return content_hash(Phase(given["phase"]), bytes.fromhex(given["body"])).hex()


@operation(
    "messages.digest",
    "`run`, `sender`, `log_head`, `body`: bytes; `slot`",
    "bytes: the digest of the message",
)
def compute_digest(given: dict[str, Any]) -> str:
    """MSG-1, MSG-6."""
    run, sender, log_head, body = octets([given[name] for name in ("run", "sender", "log_head", "body")])
    slot = read_slot(given["slot"])
    return message_digest(run, slot, sender, log_head, content_hash(slot.phase, body)).hex()


@operation(
    "messages.seal",
    "`seed` (of the sender), `run`, `log_head`, `body`: bytes; `slot`",
    "bytes: the encoded envelope",
)
def compute_seal(given: dict[str, Any]) -> str:
    """MSG-1, MSG-6."""
    seed, run, log_head, body = octets([given[name] for name in ("seed", "run", "log_head", "body")])
    return seal(Identity(seed), run, read_slot(given["slot"]), log_head, body).encode().hex()


@operation(
    "messages.decode_envelope",
    "`data`: bytes; `limit`: most bytes of the body",
    "an object with the envelope's `run`, `slot`, `sender`, `log_head`, `body`, `signature`, bytes but for the slot; "
    "signatures are not looked at",
)
def compute_decode_envelope(given: dict[str, Any]) -> dict[str, Any]:
    """MSG-3."""
    envelope = Envelope.decode(bytes.fromhex(given["data"]), given["limit"])
    fields = {name: getattr(envelope, name).hex() for name in ("run", "sender", "log_head", "body", "signature")}
    return {**fields, "slot": plain_slot(envelope.slot)}


@operation(
    "messages.decode_body",
    "`slot`: that of the message (part 0) or of the echo (part 1); `body`: bytes",
    "the item that the body encodes; refused if it is malformed, or if the slot's phase has no agreed body",
)
def compute_decode_body(given: dict[str, Any]) -> Any:
    """MSG-5."""
    body = bytes.fromhex(given["body"])
    decode_body(read_slot(given["slot"]), body)
    return plain_item(decode(body, MAX_AGREED_BODY))


@operation(
    "messages.admit",
    "`run`: bytes; `roster`: list of ids; `slot`, `sender`: whose message for which slot is awaited; `data`: bytes "
    "that have come; `limit`: most bytes of the body; `announced`: bytes, the hash that the sender announced for that "
    "part, where it did",
    'an object with `outcome`: `"accept"` if the channel delivers the message, else `"ignore"`',
)
def compute_admit(given: dict[str, Any]) -> dict[str, str]:
    """MSG-2, MSG-3, MSG-4, MSG-6."""
    return {"outcome": "accept" if delivered(given) else "ignore"}


def delivered(given: dict[str, Any]) -> bool:
    """Whether a channel hands the bytes on as the awaited message."""
    slot, (run, sender) = read_slot(given["slot"]), octets([given["run"], given["sender"]])
    parts = slot.phase in (*SCATTERED, *GATHERED)
    announced = bytes.fromhex(given["announced"]) if parts and "announced" in given else None
    try:
        envelope = Envelope.decode(bytes.fromhex(given["data"]), given["limit"])
    except (DecodeError, MessageError):
        return False
    return given["sender"] in given["roster"] and belongs(envelope, run, slot, sender, announced)


ALICE, BOB, CAROL = (Identity(bytes([k]) * 32) for k in (0x61, 0x62, 0x63))
RUN, OTHER_RUN, HEAD = (tagged_hash("btard/example", word) for word in (b"run", b"other", b"head"))
SLOT = Slot(7, 1, Phase.COMMIT)
A, B, C = sorted(tagged_hash("btard/example", bytes([k])) for k in range(3))
"""Three ids or hashes, in ascending order."""


def chapter() -> Chapter:
    """All vectors of the chapter."""
    made = Chapter("messages", FLAGS)
    for add in (
        add_hashes, add_seals, add_envelopes, add_bad_envelopes, add_bodies, add_field_faults, add_orders, add_proofs,
        add_excess, add_no_bodies, add_admitted, add_ignored, add_announced,
    ):  # fmt: skip
        add(made)
    return made


# -- What is signed ---------------------------------------------------------------------------


def add_hashes(made: Chapter) -> None:
    """MSG-1 and MSG-6: hashes and digests."""
    for phase in (Phase.COMMIT, Phase.SCATTER, Phase.GATHER, Phase.BALLOT, Phase.TALLY, Phase.AUDIT):
        for length in (0, 200):
            body = bytes(range(length))
            signs = phase in (Phase.BALLOT, Phase.TALLY)
            other = body_hash(body) if signs else tree_hash(body)
            made.trap(
                f"{phase.name.lower()}-{length}", "messages.content_hash", "MSG-6 MSG-1" if signs else "MSG-1 MSG-6",
                "other-body-hash", other.hex(), phase=int(phase), body=body.hex(),
            )  # fmt: skip
    for phase in Phase:
        case = digest_case(Slot(7, 1, phase, 2), b"body")
        made.right(phase.name.lower(), "messages.digest", "MSG-1", **case)
    case = digest_case(SLOT, b"body")
    header: list[Item] = [1, RUN, 7, 1, 0, 0, ALICE.peer_id, HEAD]
    hashed, coded = body_hash(b"body"), encode(header)
    mistakes = {
        "header-first": (coded, hashed),
        "body-itself": (b"body", coded),
        "no-body": (coded,),
        "body-encoded": (body_hash(encode(b"body")), coded),
        "one-array": (encode([*header, hashed]),),
        "bare-fields": (hashed, RUN, bytes([7, 1, 0, 0]), ALICE.peer_id, HEAD),
        **{f"without-{k}": (hashed, encode(header[:k] + header[k + 1 :])) for k in range(8)},
    }
    for name, parts in mistakes.items():
        mistaken = tagged_hash("btard/message", *parts).hex()
        made.trap(name, "messages.digest", "MSG-1", "other-digest", mistaken, **case)
    tagged = tagged_hash("btard/body", hashed, coded).hex()
    made.trap("tag-of-body", "messages.digest", "MSG-1", "other-digest", tagged, **case)
    ballot = Slot(7, 1, Phase.BALLOT, 3)
    mistaken = message_digest(RUN, ballot, ALICE.peer_id, HEAD, body_hash(b"signs")).hex()
    made.trap(
        "ballot-as-body", "messages.digest", "MSG-6", "other-body-hash", mistaken, **digest_case(ballot, b"signs")
    )


def digest_case(slot: Slot, body: bytes) -> dict[str, Any]:
    """The input of ``messages.digest``."""
    fields = {"run": RUN, "sender": ALICE.peer_id, "log_head": HEAD, "body": body}
    return {**{name: value.hex() for name, value in fields.items()}, "slot": plain_slot(slot)}


def add_seals(made: Chapter) -> None:
    """MSG-1, MSG-6: whole envelopes."""
    slots = {
        "commit": SLOT,
        "echo": SLOT.echo,
        "scatter": Slot(0, 0, Phase.SCATTER, 5),
        "tally": Slot(2**32, 300, Phase.TALLY, 1023),
        "petition": Slot(65536, 0, Phase.PETITION),
        "great-step": Slot(2**64 - 1, 0, Phase.CLOSING),
    }
    for name, slot in slots.items():
        case = seal_case(slot, bytes(range(30)))
        made.right(name, "messages.seal", "MSG-1", **case)
        hashed = content_hash(slot.phase, bytes(range(30)))
        header = encode([1, RUN, slot.step, slot.attempt, int(slot.phase), slot.part, ALICE.peer_id, HEAD])
        wrong = {
            "body-first": ("other-digest", tagged_hash("btard/message", header, hashed)),
            "hash-of-header": ("signs-again", tagged_hash("btard/message", header)),
            "hash-of-body": ("signs-again", hashed),
        }
        for other, (flag, digest) in wrong.items():
            envelope = Envelope(RUN, slot, ALICE.peer_id, HEAD, bytes(range(30)), ALICE.sign(digest))
            made.trap(f"{name}-{other}", "messages.seal", "MSG-1", flag, envelope.encode().hex(), **case)


def seal_case(slot: Slot, body: bytes) -> dict[str, Any]:
    """The input of ``messages.seal``."""
    fields = {"seed": ALICE.seed, "run": RUN, "log_head": HEAD, "body": body}
    return {**{name: value.hex() for name, value in fields.items()}, "slot": plain_slot(slot)}


# -- Envelopes --------------------------------------------------------------------------------


def add_envelopes(made: Chapter) -> None:
    """MSG-3: what must be read, whether or not its signature and its body are any good."""
    for phase in Phase:
        envelope = seal(ALICE, RUN, Slot(7, 1, phase, 2), HEAD, b"body")
        made.right(phase.name.lower(), "messages.decode_envelope", "MSG-3", data=envelope.encode().hex(), limit=4)
    unsigned = Envelope(RUN, SLOT, bytes(32), HEAD, b"", bytes(64))
    made.right("unsigned", "messages.decode_envelope", "MSG-3", data=unsigned.encode().hex(), limit=0)
    great = Envelope(RUN, Slot(2**64 - 1, 2**64 - 1, Phase.TALLY, 2**64 - 1), A, HEAD, b"", bytes(64))
    made.right("greatest-numbers", "messages.decode_envelope", "MSG-3", data=great.encode().hex(), limit=0)
    slack = ENVELOPE_OVERHEAD - 190
    filled = Envelope(RUN, SLOT, A, HEAD, bytes(100 + slack), bytes(64)).encode()
    limit = len(filled) - ENVELOPE_OVERHEAD
    made.right("whole-limit", "messages.decode_envelope", "MSG-3", data=filled.hex(), limit=limit)
    made.refused(
        "one-byte-too-many", "messages.decode_envelope", "MSG-3", "too-long", data=filled.hex(), limit=limit - 1
    )


def with_field(place: int, value: Item) -> bytes:
    """An encoded envelope with one field replaced."""
    envelope = seal(ALICE, RUN, SLOT, HEAD, b"body").to_item()
    assert isinstance(envelope, list)
    return encode([*envelope[:place], value, *envelope[place + 1 :]])


BAD_FIELDS: dict[str, tuple[str, int, Item]] = {
    "version-0": ("unknown-version", 0, 0),
    "version-2": ("unknown-version", 0, 2),
    "version-true": ("unknown-version", 0, True),
    "version-bytes": ("unknown-version", 0, b"\x01"),
    "version-null": ("unknown-version", 0, None),
    "phase-16": ("unknown-phase", 4, 16),
    "phase-255": ("unknown-phase", 4, 255),
    "phase-true": ("unknown-phase", 4, True),
    "phase-false": ("unknown-phase", 4, False),
    "phase-null": ("unknown-phase", 4, None),
    "run-short": ("wrong-length", 1, RUN[:31]),
    "run-long": ("wrong-length", 1, RUN + b"\0"),
    "sender-short": ("wrong-length", 6, A[:31]),
    "sender-long": ("wrong-length", 6, A + b"\0"),
    "head-short": ("wrong-length", 7, HEAD[:31]),
    "head-long": ("wrong-length", 7, HEAD + b"\0"),
    "signature-short": ("wrong-length", 9, bytes(63)),
    "signature-long": ("wrong-length", 9, bytes(65)),
    "signature-empty": ("wrong-length", 9, b""),
    "run-number": ("wrong-type", 1, 1),
    "step-true": ("wrong-type", 2, True),
    "step-bytes": ("wrong-type", 2, b"\x07"),
    "step-null": ("wrong-type", 2, None),
    "attempt-false": ("wrong-type", 3, False),
    "attempt-array": ("wrong-type", 3, []),
    "part-true": ("wrong-type", 5, True),
    "part-bytes": ("wrong-type", 5, b""),
    "sender-null": ("wrong-type", 6, None),
    "body-null": ("wrong-type", 8, None),
    "body-number": ("wrong-type", 8, 0),
    "body-array": ("wrong-type", 8, []),
    "body-text": ("wrong-type", 8, "body"),
    "body-map": ("wrong-type", 8, {}),
    "signature-null": ("wrong-type", 9, None),
}
"""By name: the mistake, and the field that is wrong."""


def add_bad_envelopes(made: Chapter) -> None:
    """MSG-3: what must be refused."""
    for name, (flag, place, value) in BAD_FIELDS.items():
        made.refused(name, "messages.decode_envelope", "MSG-3", flag, data=with_field(place, value).hex(), limit=100)
    envelope = seal(ALICE, RUN, SLOT, HEAD, b"body")
    item, data = envelope.to_item(), envelope.encode()
    assert isinstance(item, list)
    whole = {
        "nine-fields": encode(item[:9]),
        "eleven-fields": encode([*item, 0]),
        "no-fields": encode([]),
        "no-version": encode(item[1:]),
        "in-an-array": encode([item]),
        "bytes": encode(data),
        "null": encode(None),
    }
    for name, bad in whole.items():
        made.refused(name, "messages.decode_envelope", "MSG-3", "wrong-count", data=bad.hex(), limit=1000)
    head, tail = data[:1], data[1:]
    wrong = {
        "empty": b"",
        "cut": data[:-1],
        "trailing-byte": data + b"\0",
        "long-version": head + b"\x18\x01" + tail[1:],
        "long-array-head": b"\x98\x0a" + tail,
        "indefinite-array": b"\x9f" + tail + b"\xff",
        "negative-version": head + b"\x20" + tail[1:],
        "tagged": b"\xc1" + data,
        "version-float": head + b"\xf9\x3c\x00" + tail[1:],
    }
    place = data.index(encode(RUN)) + 34
    assert data[place] == SLOT.step
    wrong |= {
        "negative-step": data[:place] + b"\x26" + data[place + 1 :],
        "long-step": data[:place] + b"\x18\x07" + data[place + 1 :],
        "great-step": data[:place] + b"\xc2\x49\x01" + bytes(8) + data[place + 1 :],
    }
    for name, bad in wrong.items():
        made.refused(name, "messages.decode_envelope", "MSG-3", "not-canonical", data=bad.hex(), limit=1000)


# -- Bodies -----------------------------------------------------------------------------------

ECHOED = seal(BOB, RUN, SLOT.echo, HEAD, encode([A, None]))
LETTERS = [
    seal(CAROL, RUN, Slot(7, 0, phase), RUN, body) for phase, body in ((Phase.PETITION, b""), (Phase.PROBATION, A))
]
VERSIONS = sorted(
    (seal(BOB, RUN, SLOT, HEAD, body).signed_header for body in (b"one", b"two", b"three")), key=lambda it: it.digest
)
PART = seal(BOB, RUN, Slot(7, 1, Phase.SCATTER, 2), HEAD, bytes(8)).signed_header
EMPTY: list[Item] = [[], [], []]
FULL: list[Item] = [[A, C], [[PART.to_item()], [VERSIONS[0].to_item(), VERSIONS[1].to_item()]], [ECHOED.to_item()]]
"""Notices: none, and some of each kind."""

BODIES_TAKEN: dict[Phase, dict[str, list[Item]]] = {
    Phase.COMMIT: {
        "validators": [[], A, B, [], [], False, *EMPTY],
        "workers": [[A, B, A], A, B, [], [], True, *EMPTY],
        "full": [[A], C, C, [[A, 5], [A, 6], [B, 0]], [it.to_item() for it in LETTERS], False, *FULL],
    },
    Phase.AGGREGATE: {"null": [None, *EMPTY], "hash": [A, *EMPTY], "full": [A, *FULL]},
    Phase.REVEAL: {"plain": [bytes(64), [], *EMPTY], "full": [bytes(64), [[A, 7], [B, 7]], *FULL]},
    Phase.REPORT: {
        "empty": [b"", b"", [], *EMPTY],
        "numbers": [bytes(16), b"\xff" * 16, [], *EMPTY],
        "chunks": [b"", b"", [b"", b"\x01" * 160], *FULL],
    },
    Phase.COMMIT_VOTE: {
        "none": [[], *EMPTY],
        "some": [[[6, A, 3, b""], [6, A, 4, bytes(16)], [6, B, 0, b""], [7, A, 0, b"\x01"]], *FULL],
    },
    Phase.REPORT_VOTE: {"unknown-fault": [[[2**64 - 1, A, 2**64 - 1, b""]], *EMPTY]},
    Phase.CLOSING: {"nothing": []},
}


def body_case(phase: Phase, body: bytes, part: int = 0) -> dict[str, Any]:
    """The input of ``messages.decode_body``."""
    return {"slot": plain_slot(Slot(7, 1, phase, part)), "body": body.hex()}


def malformed(made: Chapter, id: str, flag: str, phase: Phase, body: Item, part: int = 0) -> None:
    """A body that must be refused."""
    made.refused(id, "messages.decode_body", "MSG-5", flag, **body_case(phase, encode(body), part))


def add_bodies(made: Chapter) -> None:
    """MSG-5: what must be read."""
    for phase, bodies in BODIES_TAKEN.items():
        for name, body in bodies.items():
            case = body_case(phase, encode(body))
            made.right(f"{phase.name.lower()}-{name}", "messages.decode_body", "MSG-5", **case)
    echoes: dict[str, list[Item]] = {"empty": [], "nothing-came": [None, None], "some": [A, None, A, C]}
    for name, echo in echoes.items():
        case = body_case(Phase.REPORT, encode(echo), ECHO)
        made.right(f"echo-{name}", "messages.decode_body", "MSG-5", **case)
    nan = bytes.fromhex("000000000000f8ff") * 2
    case = body_case(Phase.REPORT, encode([nan, nan, [], *EMPTY]))
    made.right("report-not-a-number", "messages.decode_body", "MSG-5", **case)


SAMPLES: dict[Phase, list[Item]] = {
    Phase.COMMIT: [[A], B, C, [], [], False, *EMPTY],
    Phase.AGGREGATE: [A, *EMPTY],
    Phase.REVEAL: [bytes(64), [], *EMPTY],
    Phase.REPORT: [bytes(8), bytes(8), [], *EMPTY],
    Phase.COMMIT_VOTE: [[], *EMPTY],
    Phase.CLOSING: [],
}

FIELD_FAULTS: dict[Phase, dict[int, dict[str, list[Item]]]] = {
    Phase.COMMIT: {
        0: {"wrong-type": [None, A, [1], [None]], "wrong-length": [[A[:31]], [A + A]]},
        1: {"wrong-type": [None, 0, [A]], "wrong-length": [b"", A[:31], A + b"\0"]},
        2: {"wrong-type": [None, [A]], "wrong-length": [A[:31], bytes(64)]},
        3: {"wrong-type": [None, [A], [[A, None]], [[A, True]]], "wrong-count": [[[A]], [[A, 1, 2]], [[]]]},
        4: {"wrong-type": [None, [A], [[]]], "wrong-length": [[with_body.to_item() for with_body in (
            Envelope(RUN, Slot(7, 0, Phase.PROBATION), A, RUN, bytes(33), bytes(64)),)]]},
        5: {"wrong-type": [0, 1, None, b"\x01"]},
        6: {"wrong-type": [None, [0], [True]], "wrong-length": [[A[:31]]]},
        7: {"wrong-type": [None, [A], [[A]], [[None]]]},
        8: {"wrong-type": [None, [A], [[]], [[PART.to_item()]]]},
    },
    Phase.AGGREGATE: {0: {"wrong-type": [0, False, [], [A]], "wrong-length": [b"", A[:31], A + b"\0"]}},
    Phase.REVEAL: {
        0: {"wrong-type": [None, []], "wrong-length": [b"", bytes(32), bytes(63), bytes(65)]},
        1: {"wrong-type": [None, [A]], "wrong-count": [[[A]]]},
    },
    Phase.REPORT: {
        0: {"wrong-type": [None, [bytes(8)], 0]},
        1: {"wrong-type": [None, [bytes(8)], 0]},
        2: {"wrong-type": [None, b"", [None], [[b""]]]},
    },
    Phase.COMMIT_VOTE: {
        0: {
            "wrong-type": [None, [[True, A, 0, b""]], [[0, A, False, b""]], [[0, A, 0, None]]],
            "wrong-length": [[[0, A[:31], 0, b""]]],
            "wrong-count": [[[0, A, 0]], [[0, A, 0, b"", 0]]],
        }
    },
}  # fmt: skip
"""By phase and field: the mistake, and what the field must not be."""


def add_field_faults(made: Chapter) -> None:
    """MSG-5: fields of another type or length, missing ones and more than there are."""
    for phase, fields in FIELD_FAULTS.items():
        name, sample = phase.name.lower(), SAMPLES[phase]
        for place, faults in fields.items():
            for flag, values in faults.items():
                for index, value in enumerate(values):
                    body = [*sample[:place], value, *sample[place + 1 :]]
                    malformed(made, f"{name}-{place}-{flag}-{index}", flag, phase, body)
    for phase, sample in SAMPLES.items():
        name = phase.name.lower()
        malformed(made, f"{name}-one-more", "wrong-count", phase, [*sample, []])
        malformed(made, f"{name}-is-null", "wrong-type", phase, None)
        malformed(made, f"{name}-bytes", "wrong-type", phase, encode(sample))
        if sample:
            malformed(made, f"{name}-one-less", "wrong-count", phase, sample[:-1])
            malformed(made, f"{name}-no-fields", "wrong-count", phase, [])
        case = body_case(phase, encode(sample) + b"\0")
        made.refused(f"{name}-trailing-byte", "messages.decode_body", "MSG-5", "not-canonical", **case)
    wrong: dict[str, tuple[str, Item]] = {
        "number": ("wrong-type", [0]),
        "false": ("wrong-type", [A, False]),
        "short": ("wrong-length", [A[:31]]),
        "long": ("wrong-length", [A, None, A + b"\0"]),
        "nested": ("wrong-type", [[A]]),
        "null": ("wrong-type", None),
        "hash": ("wrong-type", A),
    }
    for name, (flag, echo) in wrong.items():
        malformed(made, f"echo-{name}", flag, Phase.COMMIT, echo, ECHO)
    malformed(made, "message-for-echo", "wrong-type", Phase.COMMIT, SAMPLES[Phase.COMMIT], ECHO)
    malformed(made, "echo-for-message", "wrong-count", Phase.COMMIT, [A, None, A])
    malformed(made, "commit-for-aggregate", "wrong-count", Phase.AGGREGATE, SAMPLES[Phase.COMMIT])
    empty = body_case(Phase.CLOSING, b"")
    made.refused("closing-of-no-bytes", "messages.decode_body", "MSG-5", "not-canonical", **empty)
    named = body_case(Phase.COMMIT, encode([*SAMPLES[Phase.COMMIT][:8], {}]))
    made.refused("map-inside", "messages.decode_body", "MSG-5", "not-canonical", **named)


def changed(phase: Phase, place: int, value: Item) -> list[Item]:
    """The usual body with one field replaced."""
    sample = SAMPLES[phase]
    return [*sample[:place], value, *sample[place + 1 :]]


def add_orders(made: Chapter) -> None:
    """MSG-5: strictly ascending lists, equal numbers."""
    petition, commitment = (letter.to_item() for letter in LETTERS)
    earlier = seal(CAROL, RUN, Slot(6, 0, Phase.PROBATION), RUN, A).to_item()
    lists: dict[str, tuple[Phase, int, list[Item]]] = {
        "complaints-swapped": (Phase.REVEAL, 2, [B, A]),
        "complaints-twice": (Phase.AGGREGATE, 1, [A, A]),
        "accusations-swapped": (Phase.COMMIT, 3, [[B, 1], [A, 1]]),
        "accusations-by-step": (Phase.COMMIT, 3, [[B, 1], [A, 2]]),
        "accusations-twice": (Phase.COMMIT, 3, [[A, 1], [A, 1]]),
        "accusations-as-bytes": (Phase.REVEAL, 1, [[A, 256], [A, 255]]),
        "letters-swapped": (Phase.COMMIT, 4, [commitment, petition]),
        "letters-twice": (Phase.COMMIT, 4, [petition, petition]),
        "letters-by-step": (Phase.COMMIT, 4, [petition, earlier]),
        "statements-swapped": (Phase.COMMIT_VOTE, 0, [[7, A, 0, b""], [6, A, 0, b""]]),
        "statements-by-peer": (Phase.COMMIT_VOTE, 0, [[7, A, 0, b""], [6, B, 0, b""]]),
        "statements-by-fault": (Phase.COMMIT_VOTE, 0, [[7, A, 1, b""], [7, A, 0, b""]]),
        "statements-twice": (Phase.COMMIT_VOTE, 0, [[7, A, 0, b""], [7, A, 0, b"\x01"]]),
    }
    for name, (phase, place, value) in lists.items():
        malformed(made, name, "not-ascending", phase, changed(phase, place, value))
    numbers = {
        "one-more-norm": (8, 16),
        "one-less-norm": (16, 8),
        "torn": (7, 7),
        "torn-last": (12, 12),
        "none": (8, 0),
    }
    for name, (left, right) in numbers.items():
        body: list[Item] = [bytes(left), bytes(right), [], *EMPTY]
        malformed(made, f"report-{name}", "uneven-report", Phase.REPORT, body)


def add_proofs(made: Chapter) -> None:
    """MSG-5: evidence."""
    one, two, three = (header.to_item() for header in VERSIONS)
    assert isinstance(one, list)
    short_hash: Item = [*one[:8], A[:31], one[9]]
    with_body: Item = [*one[:8], b"body", one[9]]
    proofs: dict[str, tuple[str, Item]] = {
        "none": ("bad-proof", []),
        "three": ("bad-proof", [one, two, three]),
        "swapped": ("bad-proof", [two, one]),
        "twice": ("bad-proof", [one, one]),
        "not-in-an-array": ("bad-proof", one),
        "short-hash": ("wrong-length", [short_hash]),
        "whole-message": ("wrong-length", [with_body]),
        "version": ("unknown-version", [[2, *one[1:]]]),
        "version-true": ("unknown-version", [[True, *one[1:]]]),
        "phase": ("unknown-phase", [[*one[:4], 16, *one[5:]]]),
        "nine-fields": ("wrong-count", [one[:9]]),
    }
    for name, (flag, proof) in proofs.items():
        malformed(made, f"proof-{name}", flag, Phase.AGGREGATE, changed(Phase.AGGREGATE, 2, [proof]))
    unsigned: Item = [*one[:9], bytes(64)]
    body = changed(Phase.AGGREGATE, 2, [[unsigned]])
    made.right("proof-unsigned", "messages.decode_body", "MSG-5", **body_case(Phase.AGGREGATE, encode(body)))


def add_excess(made: Chapter) -> None:
    """MSG-5: as many entries as allowed, and one more."""
    ids = [k.to_bytes(32, "big") for k in range(MAX_NOTICES + 1)]
    letters = [
        Envelope(RUN, Slot(k, 0, Phase.PETITION), A, RUN, b"", bytes(64)).to_item() for k in range(MAX_LETTERS + 1)
    ]
    statements: list[Item] = [[k, A, 0, b""] for k in range(MAX_STATEMENTS + 1)]
    accused: list[Item] = [[A, k] for k in range(MAX_NOTICES + 1)]
    lists: dict[str, tuple[Phase, int, list[Item]]] = {
        "part-hashes": (Phase.COMMIT, 0, [*ids]),
        "letters": (Phase.COMMIT, 4, letters),
        "echoes": (Phase.COMMIT, 8, [ECHOED.to_item()] * (MAX_ECHOES + 1)),
        "chunks": (Phase.REPORT, 2, [b""] * (MAX_NOTICES + 2)),
        "accusations": (Phase.REVEAL, 1, accused),
        "complaints": (Phase.REVEAL, 2, [*ids]),
    }
    for name, (phase, place, entries) in lists.items():
        malformed(made, f"{name}-one-too-many", "too-long", phase, changed(phase, place, entries))
    for name in ("letters", "echoes", "chunks"):
        phase, place, entries = lists[name]
        case = body_case(phase, encode(changed(phase, place, entries[:-1])))
        made.right(f"{name}-as-many-as-allowed", "messages.decode_body", "MSG-5", **case)
    malformed(made, "statements-one-too-many", "too-long", Phase.COMMIT_VOTE, changed(Phase.COMMIT_VOTE, 0, statements))
    malformed(made, "echo-of-too-many", "too-long", Phase.COMMIT, [None] * (MAX_NOTICES + 1), ECHO)
    made.right(
        "echo-of-all", "messages.decode_body", "MSG-5", **body_case(Phase.COMMIT, encode([None] * MAX_NOTICES), ECHO)
    )
    malformed(made, "five-arrays-deep", "too-long", Phase.AGGREGATE, changed(Phase.AGGREGATE, 2, [[[[]]]]))


def add_no_bodies(made: Chapter) -> None:
    """MSG-5: slots without an agreed body."""
    for phase in Phase:
        if phase not in BODIES:
            malformed(made, f"no-body-of-{phase.name.lower()}", "no-body", phase, [])
    malformed(made, "part-2", "no-body", Phase.COMMIT, SAMPLES[Phase.COMMIT], 2)


# -- Delivery ---------------------------------------------------------------------------------

ROSTER = sorted(peer.peer_id for peer in (ALICE, BOB))


def admit_case(envelope: Envelope | bytes, slot: Slot, **change: Any) -> dict[str, Any]:
    """The input of ``messages.admit``: Alice's message for ``slot`` is awaited."""
    data = envelope if isinstance(envelope, bytes) else envelope.encode()
    case = {"run": RUN.hex(), "roster": [peer.hex() for peer in ROSTER], "slot": plain_slot(slot)}
    return {**case, "sender": ALICE.peer_id.hex(), "data": data.hex(), "limit": 1000, **change}


def accepted(made: Chapter, id: str, requirements: str, flag: str, case: Mapping[str, Any]) -> None:
    """What must be delivered, though some mistake would ignore it."""
    made.trap(id, "messages.admit", requirements, flag, {"outcome": "ignore"}, **case)


def ignored(made: Chapter, id: str, requirements: str, flag: str, case: Mapping[str, Any]) -> None:
    """What must not be delivered."""
    made.trap(id, "messages.admit", requirements, flag, {"outcome": "accept"}, **case)


def add_admitted(made: Chapter) -> None:
    """MSG-4: what must be delivered."""
    for phase in Phase:
        slot = Slot(7, 0, phase, 1)
        made.right(
            phase.name.lower(), "messages.admit", "MSG-4", **admit_case(seal(ALICE, RUN, slot, HEAD, b"it"), slot)
        )
    bad_body = seal(ALICE, RUN, SLOT, HEAD, b"\xff")
    accepted(made, "malformed-body", "MSG-4 MSG-5", "reads-too-much", admit_case(bad_body, SLOT))
    other_head = seal(ALICE, RUN, SLOT, OTHER_RUN, encode(SAMPLES[Phase.COMMIT]))
    accepted(made, "other-log-head", "MSG-4", "reads-too-much", admit_case(other_head, SLOT))
    for length in (2, 200):
        slot = Slot(7, 1, Phase.TALLY, 3)
        case = admit_case(seal(ALICE, RUN, slot, HEAD, bytes(length)), slot)
        accepted(made, f"tally-of-{length}", "MSG-6 MSG-2", "other-body-hash", case)


def add_ignored(made: Chapter) -> None:
    """MSG-2 to MSG-4: what must not be delivered."""
    good = seal(ALICE, RUN, SLOT, HEAD, b"body")
    places = {
        "other-run": seal(ALICE, OTHER_RUN, SLOT, HEAD, b"body"),
        "other-step": seal(ALICE, RUN, SLOT._replace(step=6), HEAD, b"body"),
        "later-step": seal(ALICE, RUN, SLOT._replace(step=8), HEAD, b"body"),
        "other-attempt": seal(ALICE, RUN, SLOT._replace(attempt=0), HEAD, b"body"),
        "other-phase": seal(ALICE, RUN, SLOT._replace(phase=Phase.REVEAL), HEAD, b"body"),
        "echo": seal(ALICE, RUN, SLOT.echo, HEAD, b"body"),
        "other-sender": seal(BOB, RUN, SLOT, HEAD, b"body"),
    }
    for name, envelope in places.items():
        ignored(made, name, "MSG-4", "other-place", admit_case(envelope, SLOT))
    stranger = admit_case(seal(CAROL, RUN, SLOT, HEAD, b"body"), SLOT, sender=CAROL.peer_id.hex())
    ignored(made, "stranger", "MSG-4", "stranger", stranger)
    add_badly_signed(made, good)
    long = seal(ALICE, RUN, SLOT, HEAD, bytes(600))
    ignored(made, "too-long", "MSG-3", "too-long", admit_case(long, SLOT, limit=200))
    for name, data in {"no-bytes": b"", "cut": good.encode()[:-1], "more": good.encode() + b"\0"}.items():
        ignored(made, name, "MSG-3", "not-canonical", admit_case(data, SLOT))
    ignored(made, "version-2", "MSG-3", "unknown-version", admit_case(with_field(0, 2), SLOT))
    ignored(made, "version-true", "MSG-3", "unknown-version", admit_case(with_field(0, True), SLOT))


def add_badly_signed(made: Chapter, good: Envelope) -> None:
    """MSG-2: signatures that are not the sender's of this digest."""
    s = int.from_bytes(good.signature[32:], "little") + GROUP_ORDER
    digest = good.signed_header.digest
    signatures = {
        "zeros": bytes(64),
        "flipped": bytes([good.signature[0] ^ 1]) + good.signature[1:],
        "great-s": good.signature[:32] + s.to_bytes(32, "little"),
        "by-another": BOB.sign(digest),
        "of-the-body-hash": ALICE.sign(body_hash(good.body)),
        "of-another-body": seal(ALICE, RUN, SLOT, HEAD, b"other").signature,
        "of-another-step": seal(ALICE, RUN, SLOT._replace(step=8), HEAD, b"body").signature,
        "of-another-part": seal(ALICE, RUN, SLOT.echo, HEAD, b"body").signature,
        "of-another-run": seal(ALICE, OTHER_RUN, SLOT, HEAD, b"body").signature,
        "of-another-log-head": seal(ALICE, RUN, SLOT, OTHER_RUN, b"body").signature,
    }
    for name, signature in signatures.items():
        envelope = Envelope(RUN, SLOT, ALICE.peer_id, HEAD, b"body", signature)
        ignored(made, f"signature-{name}", "MSG-2", "bad-signature", admit_case(envelope, SLOT))
    ballot = Slot(7, 1, Phase.BALLOT, 3)
    flat = ALICE.sign(message_digest(RUN, ballot, ALICE.peer_id, HEAD, body_hash(b"signs")))
    envelope = Envelope(RUN, ballot, ALICE.peer_id, HEAD, b"signs", flat)
    ignored(made, "ballot-signed-as-body", "MSG-6 MSG-2", "other-body-hash", admit_case(envelope, ballot))


def add_announced(made: Chapter) -> None:
    """MSG-4: parts whose hash was announced."""
    for phase in (Phase.SCATTER, Phase.GATHER, Phase.BALLOT, Phase.TALLY):
        name, slot, body = phase.name.lower(), Slot(7, 1, phase, 1), bytes(range(16))
        announced = content_hash(phase, body).hex()
        unsigned = Envelope(RUN, slot, ALICE.peer_id, HEAD, body, bytes(64))
        signed = seal(ALICE, RUN, slot, HEAD, body)
        case = admit_case(unsigned, slot, announced=announced)
        accepted(made, f"{name}-announced", "MSG-4", "signature-needed", case)
        made.right(
            f"{name}-announced-and-signed", "messages.admit", "MSG-4", **admit_case(signed, slot, announced=announced)
        )
        other = admit_case(signed, slot, announced=OTHER_RUN.hex())
        accepted(made, f"{name}-signed-but-not-announced", "MSG-4", "reads-too-much", other)
        neither = admit_case(unsigned, slot, announced=OTHER_RUN.hex())
        ignored(made, f"{name}-neither", "MSG-4 MSG-2", "bad-signature", neither)
        elsewhere = admit_case(unsigned, slot._replace(part=2), announced=announced)
        ignored(made, f"{name}-announced-elsewhere", "MSG-4", "other-place", elsewhere)
        from_other = admit_case(Envelope(RUN, slot, BOB.peer_id, HEAD, body, bytes(64)), slot, announced=announced)
        ignored(made, f"{name}-announced-by-another", "MSG-4", "other-place", from_other)
        wrong_kind = body_hash(body) if phase in (Phase.BALLOT, Phase.TALLY) else tree_hash(body)
        mixed_up = admit_case(unsigned, slot, announced=wrong_kind.hex())
        ignored(made, f"{name}-other-hash-announced", "MSG-6 MSG-4", "other-body-hash", mixed_up)
    for phase in (Phase.AUDIT, Phase.COMMIT_TRIAL, Phase.COMMIT, Phase.PROBATION):
        slot = Slot(7, 1, phase)
        envelope = Envelope(RUN, slot, ALICE.peer_id, HEAD, b"body", bytes(64))
        case = admit_case(envelope, slot, announced=body_hash(b"body").hex())
        ignored(made, f"{phase.name.lower()}-is-no-announced-part", "MSG-4", "announced", case)
