"""Vectors of chapter ``broadcast``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from btard.conformance.vectors.cases import ABSENT, Chapter, Refusal, Vector, equal, operation
from btard.conformance.vectors.forms import octets, plain_slot, read_real, read_slot, real, texts
from btard.conformance.vectors.recorded import STRANGER, echo_of, keys
from btard.protocol.broadcast import (
    Answer,
    Arrival,
    Ask,
    Ballot,
    Frame,
    Listen,
    Offer,
    Place,
    Relay,
    Send,
    Timing,
    agreed_broadcast,
    decode_frame,
    encode_frame,
    frame_items,
    majority,
    relay_digest,
    vouched,
)
from btard.protocol.channel import Delivery
from btard.protocol.encoding import encode, tagged_hash
from btard.protocol.identity import Identity
from btard.protocol.messages import MAX_AGREED_BODY, Echo, Envelope, Phase, Reveal, Slot, seal

FLAGS = {
    "bad-frame": "takes a frame of another form than the CDDL's",
    "canonical": "takes a frame in another encoding than the canonical one",
    "limits": "takes a frame of more bytes, items or arrays inside each other than its place allows",
    "unsorted": "takes vouchers that are not in strictly ascending order of peers",
    "relay-digest": "vouches for other bytes than H(btard/relay, digest of the echo)",
    "false-voucher": "takes a signature of a peer outside the roster, of the echo's author, or one that is not valid",
    "majority": "decides by a plurality, by a majority of the echoes that count, or with ties",
    "two-versions": "counts an echo of which two versions were accepted",
    "deadline": "ends a round at another time than the table says",
    "goes-on": "delivers something else where a message was decided and did not come: more than b peers are faulty",
    "early": "delivers before the time at which it must, or echoes before it must",
    "late": "waits although it has everything, or takes what comes too late",
    "first-version": "echoes another version than the first one that came",
    "certificate": "takes for a certificate what is none: n - 1 signatures, another body, another log head",
    "no-certificate": "does not use a certificate, or does not offer it",
    "chain": "accepts or vouches for an echo in another round than its signatures allow",
    "silent-fallback": "does not vouch where it must, or vouches where it need not",
    "complaint": "complains about others than those whose message or echo was not there in time",
    "evidence": "does not show two versions of what it holds in two, or keeps more than two",
    "unrelated": "takes in what belongs to another run, slot or roster",
    "answer": "answers with other messages than those that are decided or echoed and not held",
}


# -- Frames ------------------------------------------------------------------------------------------


def plain_frame(frame: Frame) -> dict[str, Any]:
    """A frame, field by field."""
    match frame:
        case Envelope():
            return {"kind": 0, "envelope": frame.encode().hex()}
        case Relay():
            pairs = [[peer.hex(), signature.hex()] for peer, signature in frame.signatures]
            return {"kind": 1, "echo": frame.echo.encode().hex(), "signatures": pairs}
        case Offer():
            return {"kind": 2, "slot": plain_slot(frame.slot)}
        case Ask():
            return {"kind": 3, "slot": plain_slot(frame.slot), "held": texts(frame.held)}
        case Answer():
            envelopes = [envelope.encode().hex() for envelope in frame.envelopes]
            return {
                "kind": 4,
                "slot": plain_slot(frame.slot),
                "signatures": texts(frame.signatures),
                "envelopes": envelopes,
            }


@operation(
    "broadcast.read_frame",
    "`data`: bytes of a frame; `limit`: most bytes; `peers`: of how many peers the roster is at most, which bounds "
    "the items (LIM-10)",
    "`kind`, and by kind: 0: `envelope`: bytes; 1: `echo`: bytes of an envelope, `signatures`: list of [peer, "
    "signature]; 2: `slot`, of part 0; 3: `slot`, `held`: list of digests; 4: `slot`, `signatures`: list, "
    "`envelopes`: list of bytes",
)
def compute_read_frame(given: dict[str, Any]) -> dict[str, Any]:
    """BCAST-1."""
    return plain_frame(decode_frame(bytes.fromhex(given["data"]), given["limit"], frame_items(given["peers"])))


@operation("broadcast.write_frame", "a frame, as `broadcast.read_frame` gives it", "its bytes")
def compute_write_frame(given: dict[str, Any]) -> str:
    """BCAST-1."""
    return encode_frame(read_plain(given)).hex()


def read_plain(given: dict[str, Any]) -> Frame:
    """Inverse of :func:`plain_frame`."""
    kind = given["kind"]
    if kind == 0:
        return read_envelope(given["envelope"])
    if kind == 1:
        pairs = ((bytes.fromhex(peer), bytes.fromhex(signature)) for peer, signature in given["signatures"])
        return Relay(read_envelope(given["echo"]), tuple(pairs))
    slot = read_slot(given["slot"])
    if kind == 2:
        return Offer(slot)
    if kind == 3:
        return Ask(slot, octets(given["held"]))
    return Answer(slot, octets(given["signatures"]), tuple(map(read_envelope, given["envelopes"])))


def read_envelope(text: str) -> Envelope:
    """An envelope of its bytes."""
    return Envelope.decode(bytes.fromhex(text), MAX_AGREED_BODY)


# -- Pieces ---------------------------------------------------------------------------------------------


@operation("broadcast.relay_digest", "`echo`: bytes of an envelope", "what a peer signs to vouch for it")
def compute_relay_digest(given: dict[str, Any]) -> str:
    """BCAST-7."""
    return relay_digest(read_envelope(given["echo"])).hex()


@operation(
    "broadcast.vouched",
    "`echo`: bytes of an envelope; `signatures`: list of [peer, signature]; `roster`",
    "whether all of them are vouchers for the echo",
)
def compute_vouched(given: dict[str, Any]) -> bool:
    """BCAST-7."""
    signers = {bytes.fromhex(peer): bytes.fromhex(signature) for peer, signature in given["signatures"]}
    return vouched(read_envelope(given["echo"]), signers, octets(given["roster"]))


@operation(
    "broadcast.majority",
    "`votes`: what the echoes that count attest of one peer, list of digests or null; `peers`: n",
    "the digest that is delivered, or null",
)
def compute_majority(given: dict[str, Any]) -> str | None:
    """BCAST-6."""
    votes = [None if vote is None else bytes.fromhex(vote) for vote in given["votes"]]
    digest = majority(votes, given["peers"])
    return None if digest is None else digest.hex()


@operation(
    "broadcast.deadlines",
    "`start`, `delay`: Delta, `gradient`: G, reals; `work`; `exchanges`: list of the work before each exchange of "
    "parts since the last agreed phase; `tolerated`: b_t",
    "reals: `ready`: R, `echo`: E, `fallback`: F, `rounds`: the last moments for an echo with 1 to b + 1 signatures, "
    "`deliver`: D; here any order of the sums gives the same",
)
def compute_deadlines(given: dict[str, Any]) -> dict[str, Any]:
    """BCAST-2, BCAST-3, BCAST-6, BCAST-7."""
    timing = Timing(read_real(given["delay"]), read_real(given["gradient"]))
    ready = read_real(given["start"]) + given["work"] * timing.gradient
    for work in given["exchanges"]:
        ready += work * timing.gradient + timing.round
    echo = ready + timing.round
    fallback = echo + timing.round
    rounds = [real(fallback + k * timing.round) for k in range(given["tolerated"] + 1)]
    deliver = fallback + (given["tolerated"] + 1) * timing.round + 2 * timing.delay
    return {
        "ready": real(ready),
        "echo": real(echo),
        "fallback": real(fallback),
        "rounds": rounds,
        "deliver": real(deliver),
    }


# -- A whole phase ------------------------------------------------------------------------------------------


def same_phase(given: dict[str, Any], expected: Any, answer: Any) -> bool:
    """Whether two phases went alike: what was sent at one time may be in any order."""

    def told(what: Any) -> Any:
        return {**what, "sent": sorted(what["sent"], key=by_time)} if "sent" in what else what

    return equal(given, told(expected), told(answer))


def by_time(line: list[Any]) -> tuple[float, str]:
    """The order of what was sent."""
    return read_real(line[0]), json.dumps(line)


@operation(
    "broadcast.phase",
    "one peer in one agreed phase: `seed` of its keys; `run`; `slot`, of part 0; `roster`; `tolerated`: b_t; `head`: "
    "its log head; `delay`: Delta and `ready`: R, reals; `message`: bytes of its own envelope, which it sends at "
    "time 0; `arrivals`: list of [time, sender, bytes of a frame], by time, the times real; what comes at the very "
    "moment of a deadline is in time, and what comes before time 0 waits",
    "`sent`: list of [time, to, what] by time, where what is sent at one time may be in any order; times real, to: a "
    "peer, or null for everyone; what: [`message`], [`echo`, its entries], [`relay`, digest of the echo, those who "
    "vouch for it, myself included], [`offer`], [`ask`, digests held, ascending], or [`answer`, how many "
    "signatures, digests of the messages in it, in roster order]; `delivered`: list of digests or null; `at`: "
    "when, a real; `complaints`: list of peers; `evidence`: list of [digest, digest], in the order of the "
    "signers' ids and then ascending; `echoes`: the digests of the echoes that are shown, ascending",
    same_phase,
)
def compute_phase(given: dict[str, Any]) -> dict[str, Any]:
    """BCAST-2, BCAST-4 to BCAST-9."""
    identity, roster = Identity(bytes.fromhex(given["seed"])), octets(given["roster"])
    run, head = octets([given["run"], given["head"]])
    ballot = Ballot(Place(identity, run, read_slot(given["slot"]), roster, given["tolerated"], head))
    generator = agreed_broadcast(
        ballot, read_envelope(given["message"]), Timing(read_real(given["delay"]), 0.0), read_real(given["ready"])
    )
    waiting = [
        Arrival(max(0.0, read_real(time)), bytes.fromhex(sender), decode_frame(bytes.fromhex(frame), 1 << 20))
        for time, sender, frame in given["arrivals"]
    ]
    sent: list[tuple[float, Send]] = []
    now, answer = 0.0, None
    try:
        while True:
            request = generator.send(answer)
            answer = None
            if isinstance(request, Send):
                sent.append((now, request))
            elif isinstance(request, Listen):
                answer = waiting.pop(0) if waiting and waiting[0].now <= request.until else None
                now = answer.now if answer else max(now, request.until)
    except StopIteration as stop:
        delivery: Delivery = stop.value
    for arrival in waiting:
        sent.extend((arrival.now, reply) for reply in ballot.take(arrival))
    return {**plain_delivery(delivery), "at": real(now), "sent": plain_sent(sent)}


def plain_delivery(delivery: Delivery) -> dict[str, Any]:
    """What was delivered, and what is said about it."""
    digests = [None if entry is None else entry.signed_header.digest.hex() for entry in delivery.vector]
    notices = delivery.notices
    proofs = sorted(notices.evidence, key=lambda proof: (proof[0].sender, proof[0].digest))
    evidence = [[header.digest.hex() for header in proof] for proof in proofs]
    echoes = sorted(echo.signed_header.digest.hex() for echo in notices.echoes)
    return {"delivered": digests, "complaints": texts(notices.complaints), "evidence": evidence, "echoes": echoes}


def plain_sent(sent: Iterable[tuple[float, Send]]) -> list[Any]:
    """What was sent when, in an order that does not depend on how it came about."""
    lines = [[real(time), send.to.hex() if send.to else None, in_short(send.frame)] for time, send in sent]
    return sorted(lines, key=by_time)


def in_short(frame: Frame) -> list[Any]:
    """What a frame says, without signatures."""
    match frame:
        case Envelope():
            echo = frame.message
            if not isinstance(echo, Echo):
                return ["message"]
            return ["echo", [None if digest is None else digest.hex() for digest in echo.vector]]
        case Relay():
            return ["relay", frame.echo.signed_header.digest.hex(), [peer.hex() for peer, _ in frame.signatures]]
        case Offer():
            return ["offer"]
        case Ask():
            return ["ask", texts(frame.held)]
        case Answer():
            digests = sorted(envelope.signed_header.digest.hex() for envelope in frame.envelopes)
            return ["answer", len(frame.signatures), digests]


# -- A small swarm ----------------------------------------------------------------------------------------------

PEERS = keys(5)
RUN, HEAD = tagged_hash("btard/vectors", b"run"), tagged_hash("btard/vectors", b"head")
SLOT = Slot(3, 0, Phase.REVEAL)
DELAY = 1.0
"""With R = 0: E = 4, F = 8, rounds of 4."""
Moment = tuple[float, int, Frame]
"""When, from whom, and what."""


def message(peer: int, version: int = 0) -> Envelope:
    """A signed message of the phase."""
    return seal(PEERS[peer], RUN, SLOT, HEAD, encode(Reveal(bytes([version]) * 64).to_item()))


def digest(peer: int, version: int = 0) -> bytes:
    """What names it."""
    return message(peer, version).signed_header.digest


def vector(count: int, *others: tuple[int, bytes | None]) -> list[bytes | None]:
    """The digests of the first messages of so many peers, with other entries."""
    entries: list[bytes | None] = [digest(peer) for peer in range(count)]
    for place, entry in others:
        entries[place] = entry
    return entries


def echo(peer: int, entries: Sequence[bytes | None], head: bytes = HEAD) -> Envelope:
    """A signed echo."""
    return echo_of(PEERS[peer], RUN, SLOT, head, entries)


def relay(shown: Envelope, *signers: int) -> Relay:
    """An echo with signatures of those who vouch for it."""
    signed = [(PEERS[peer].peer_id, PEERS[peer].sign(relay_digest(shown))) for peer in signers]
    return Relay(shown, tuple(sorted(signed)))


def phase(count: int, tolerated: int, *moments: Moment, ready: float = 0.0) -> dict[str, Any]:
    """The input of a whole phase as the first peer sees it."""
    arrivals = [[real(time), PEERS[peer].peer_id.hex(), encode_frame(frame).hex()] for time, peer, frame in moments]
    who = {"seed": PEERS[0].seed.hex(), "roster": texts(peer.peer_id for peer in PEERS[:count]), "tolerated": tolerated}
    where = {"run": RUN.hex(), "slot": plain_slot(SLOT), "head": HEAD.hex()}
    clock = {"delay": real(DELAY), "ready": real(ready)}
    return {**who, **where, **clock, "message": message(0).encode().hex(), "arrivals": arrivals}


def messages(count: int, *without: int, time: float = 1.0) -> list[Moment]:
    """Everybody else's message."""
    return [(time, peer, message(peer)) for peer in range(1, count) if peer not in without]


def echoes(count: int, *without: int, time: float = 2.0, entries: Sequence[bytes | None] = ()) -> list[Moment]:
    """Everybody else's echo."""
    others = [peer for peer in range(1, count) if peer not in without]
    return [(time, peer, echo(peer, entries or vector(count))) for peer in others]


# -- Vectors -------------------------------------------------------------------------------------------------------


def chapter() -> Chapter:
    """All vectors of the chapter."""
    made = Chapter("broadcast", FLAGS)
    for add in (
        add_frames, add_bad_frames, add_frame_limits, add_relays, add_majorities, add_deadlines,
        add_fast, add_rounds, add_certificates, add_answers, add_fallbacks, add_chains, add_versions, add_unrelated,
    ):  # fmt: skip
        add(made)
    made.vectors = [naming_notices(vector) for vector in made.vectors]
    return made


def naming_notices(vector: Vector) -> Vector:
    """A phase in which something was noted exercises BCAST-8, whatever else it is about."""
    said = vector.output if vector.operation == "broadcast.phase" and vector.output is not ABSENT else {}
    noted = any(said.get(name) for name in ("complaints", "evidence", "echoes"))
    if not noted or "BCAST-8" in vector.requirements:
        return vector
    return replace(vector, requirements=(*vector.requirements, "BCAST-8"))


FRAMES: dict[str, Frame] = {
    "message": message(0),
    "echo": echo(1, vector(4)),
    "part": seal(PEERS[1], RUN, Slot(3, 0, Phase.SCATTER, 2), HEAD, bytes(12)),
    "bare-relay": relay(echo(1, vector(4))),
    "relay": relay(echo(1, vector(4)), 0, 2),
    "offer": Offer(SLOT),
    "ask": Ask(SLOT),
    "ask-with-digests": Ask(SLOT, (digest(0), digest(1))),
    "empty-answer": Answer(SLOT, (), ()),
    "answer": Answer(SLOT, (bytes(64),) * 2, (message(0), message(1))),
}


def add_frames(made: Chapter) -> None:
    """BCAST-1: every kind, both ways."""
    for name, frame in FRAMES.items():
        made.right(name, "broadcast.read_frame", "BCAST-1", data=encode_frame(frame).hex(), limit=4000, peers=4)
        made.right(name, "broadcast.write_frame", "BCAST-1", **plain_frame(frame))


def add_bad_frames(made: Chapter) -> None:
    """BCAST-1: what is no frame."""
    place: list[Any] = [3, 0, 4]
    shown, sealed = echo(1, vector(4)).to_item(), message(0).to_item()
    bodies: Any = sealed
    first, second = sorted(peer.peer_id for peer in PEERS[:2])
    wrong: dict[str, tuple[str, Any]] = {
        "no-array": ("bad-frame", 1),
        "empty": ("bad-frame", []),
        "kind-5": ("bad-frame", [5, place]),
        "kind-is-a-flag": ("bad-frame", [False, sealed]),
        "kind-is-bytes": ("bad-frame", [b"\x00", sealed]),
        "envelope-and-more": ("bad-frame", [0, sealed, 0]),
        "envelope-of-nine": ("bad-frame", [0, bodies[:9]]),
        "envelope-as-bytes": ("bad-frame", [0, encode(sealed)]),
        "other-version": ("bad-frame", [0, [2, *bodies[1:]]]),
        "no-such-phase": ("bad-frame", [0, [*bodies[:4], 16, *bodies[5:]]]),
        "relay-without-list": ("bad-frame", [1, shown]),
        "voucher-without-signature": ("bad-frame", [1, shown, [[first]]]),
        "short-voucher": ("bad-frame", [1, shown, [[first, bytes(63)]]]),
        "vouchers-descending": ("unsorted", [1, shown, [[second, bytes(64)], [first, bytes(64)]]]),
        "voucher-twice": ("unsorted", [1, shown, [[first, bytes(64)], [first, bytes(64)]]]),
        "offer-with-part": ("bad-frame", [2, [*place, 0]]),
        "offer-of-no-phase": ("bad-frame", [2, [3, 0, 99]]),
        "offer-and-more": ("bad-frame", [2, place, []]),
        "ask-without-list": ("bad-frame", [3, place]),
        "short-digest": ("bad-frame", [3, place, [bytes(31)]]),
        "null-digest": ("bad-frame", [3, place, [None]]),
        "answer-without-messages": ("bad-frame", [4, place, []]),
        "short-signature": ("bad-frame", [4, place, [bytes(63)], []]),
        "answer-with-header": ("bad-frame", [4, place, [], [bodies[:8]]]),
        "map": ("limits", {"kind": 2}),
        "text": ("limits", ["offer"]),
        "too-deep": ("limits", [4, place, [], [[*bodies[:8], [bodies[8]], bodies[9]]]]),
    }
    for name, (flag, item) in wrong.items():
        made.refused(name, "broadcast.read_frame", "BCAST-1", flag, data=encode(item).hex(), limit=4000, peers=4)
    offer = encode_frame(Offer(SLOT))
    for name, data in (
        ("long-form", offer[:1] + b"\x18\x02" + offer[2:]),
        ("trailing", offer + b"\x00"),
        ("cut", offer[:-1]),
        ("indefinite", b"\x9f" + offer[1:] + b"\xff"),
        ("nothing", b""),
    ):
        made.refused(name, "broadcast.read_frame", "BCAST-1", "canonical", data=data.hex(), limit=4000, peers=4)


def add_frame_limits(made: Chapter) -> None:
    """BCAST-1: bytes and items."""
    data = encode_frame(FRAMES["relay"])
    made.right("whole-limit", "broadcast.read_frame", "BCAST-1", data=data.hex(), limit=len(data), peers=4)
    made.refused("too-long", "broadcast.read_frame", "BCAST-1", "limits", data=data.hex(), limit=len(data) - 1, peers=4)
    for name, peers, most in (("two-peers", 2, 54), ("four-peers", 4, 100)):
        full, over = (encode_frame(Ask(SLOT, (bytes(32),) * (count - 7))) for count in (most, most + 1))
        made.right(
            f"items-of-{name}", "broadcast.read_frame", "BCAST-1 LIM-10", data=full.hex(), limit=9000, peers=peers
        )
        made.refused(
            f"item-too-many-of-{name}", "broadcast.read_frame", "BCAST-1 LIM-10", "limits",
            data=over.hex(), limit=9000, peers=peers,
        )  # fmt: skip


def add_relays(made: Chapter) -> None:
    """BCAST-7: who vouches for what."""
    shown = echo(1, vector(4))
    header, text = shown.signed_header, shown.encode().hex()
    made.right("echo", "broadcast.relay_digest", "BCAST-7", echo=text)
    for name, mistaken in (
        ("signs-the-digest", header.digest),
        ("signs-the-body", tagged_hash("btard/relay", header.body_hash)),
        ("signs-the-envelope", tagged_hash("btard/relay", shown.encode())),
    ):
        made.trap(name, "broadcast.relay_digest", "BCAST-7", "relay-digest", mistaken.hex(), echo=text)
    roster = texts(peer.peer_id for peer in PEERS[:4])
    good = relay(shown, 0, 2).signatures
    plain = [[peer.hex(), signature.hex()] for peer, signature in good]
    made.right("two-vouch", "broadcast.vouched", "BCAST-7", echo=text, signatures=plain, roster=roster)
    made.right("nobody-vouches", "broadcast.vouched", "BCAST-7", echo=text, signatures=[], roster=roster)
    stranger = [STRANGER.peer_id.hex(), STRANGER.sign(relay_digest(shown)).hex()]
    author = [PEERS[1].peer_id.hex(), PEERS[1].sign(relay_digest(shown)).hex()]
    plainly = [PEERS[0].peer_id.hex(), PEERS[0].sign(header.digest).hex()]
    elsewhere = [PEERS[0].peer_id.hex(), PEERS[0].sign(relay_digest(echo(1, vector(4, (0, None))))).hex()]
    for name, signatures in (
        ("stranger", [stranger]),
        ("author", [author]),
        ("of-the-digest", [plainly]),
        ("for-another-echo", [elsewhere]),
        ("zeros", [[PEERS[0].peer_id.hex(), bytes(64).hex()]]),
        ("one-of-two", [plain[0], [plain[1][0], plain[0][1]]]),
        ("swapped", [[plain[0][0], plain[1][1]], [plain[1][0], plain[0][1]]]),
    ):
        made.trap(
            name, "broadcast.vouched", "BCAST-7", "false-voucher", True, echo=text, signatures=signatures, roster=roster
        )  # fmt: skip


def add_majorities(made: Chapter) -> None:
    """BCAST-6: more than half of all peers."""
    a, b = bytes([0xA]).hex() * 32, bytes([0xB]).hex() * 32
    for name, votes, peers in (
        ("all", [a] * 4, 4), ("three-of-four", [a, a, b, a], 4), ("three-of-five", [a, None, a, b, a], 5),
        ("one-of-one", [a], 1), ("nothing-came", [None] * 4, 4),
    ):  # fmt: skip
        made.right(name, "broadcast.majority", "BCAST-6", votes=votes, peers=peers)
    for name, votes, peers, mistaken in (
        ("two-of-four", [a, a], 4, a), ("tie", [a, a, b, b], 4, a), ("two-of-three-that-count", [a, a, b], 5, a),
        ("all-that-count", [a, a], 5, a), ("plurality", [a, a, b, None, None], 6, a),
        ("half-of-six", [a, a, a, b], 6, a),
        ("most-say-nothing", [None, None, None, a, a], 5, a), ("nothing-and-some", [a, None, a, None], 4, a),
        ("three-of-four-despite-others", [a, b, a, a], 4, None), ("three-of-five-despite-silence", [a, a, a], 5, None),
    ):  # fmt: skip
        made.trap(name, "broadcast.majority", "BCAST-6", "majority", mistaken, votes=votes, peers=peers)


def add_deadlines(made: Chapter) -> None:
    """BCAST-2, BCAST-3, BCAST-6, BCAST-7: the table of times."""
    for name, delay, gradient, work, exchanges, tolerated in (
        ("usual", 1.0, 10.0, 2, [], 1),
        ("nobody-faulty", 0.5, 4.0, 1, [], 0),
        ("after-scatter", 0.5, 4.0, 1, [1], 2),
        ("after-two-exchanges", 0.25, 2.0, 3, [1, 4], 3),
        ("no-work", 2.0, 0.0, 7, [5], 1),
    ):
        given = {"start": real(100.0), "delay": real(delay), "gradient": real(gradient), "work": work}
        case = {**given, "exchanges": exchanges, "tolerated": tolerated}
        right = made.right(name, "broadcast.deadlines", "BCAST-2 BCAST-3 BCAST-7", **case)
        for what, other in (
            ("short-rounds", compute_deadlines({**case, "delay": real(delay / 2)})),
            ("one-round-less", {**right, "deliver": real(read_real(right["deliver"]) - 4 * delay)}),
            ("no-time-to-fetch", {**right, "deliver": real(read_real(right["deliver"]) - 2 * delay)}),
            ("without-skew", {**right, "echo": real(read_real(right["ready"]) + delay)}),
        ):
            made.trap(f"{name}-{what}", "broadcast.deadlines", "BCAST-2 BCAST-6", "deadline", other, **case)


def trap(
    made: Chapter, id: str, requirements: str, flag: str, case: dict[str, Any],
    mistaken: dict[str, Any] | Refusal | None = None, **changes: Any,
) -> None:  # fmt: skip
    """A phase in which the mistake gives an output with ``changes``, or the one of another course of events."""
    wrong = {**compute_phase(case), **changes} if mistaken is None else mistaken
    made.trap(id, "broadcast.phase", requirements, flag, wrong, **case)


def add_fast(made: Chapter) -> None:
    """BCAST-2, BCAST-4: two delays, if all is well."""
    for count, tolerated in ((2, 0), (4, 1), (5, 1)):
        case = phase(count, tolerated, *messages(count), *echoes(count))
        made.right(f"all-well-{count}", "broadcast.phase", "BCAST-2 BCAST-4 BCAST-5", **case)
    alone = phase(1, 0)
    made.right("alone", "broadcast.phase", "BCAST-2 BCAST-4", **alone)
    before = phase(4, 1, *messages(4, time=-1.0), *echoes(4, time=-0.5), ready=20.0)
    made.right("all-before-me", "broadcast.phase", "BCAST-2 BCAST-4", **before)
    case = phase(4, 1, *messages(4), *echoes(4))
    trap(made, "no-need-to-wait", "BCAST-4", "late", case, at=real(8.0))
    offers = [line for line in compute_phase(case)["sent"] if line[2] != ["offer"]]
    trap(made, "offers-its-certificate", "BCAST-5", "no-certificate", case, sent=offers)
    slow = phase(4, 1, *messages(4, 3), (3.5, 3, message(3)), *echoes(4, time=5.0))
    hasty = [[real(1.0), None, ["echo", [None if entry is None else entry.hex() for entry in vector(4, (3, None))]]]]
    calm = [line for line in compute_phase(slow)["sent"] if line[2][0] != "echo"]
    trap(made, "waits-for-the-last", "BCAST-2", "early", slow, sent=sorted([*hasty, *calm], key=by_time))


def add_rounds(made: Chapter) -> None:
    """BCAST-2, BCAST-8: what is in time, and what is said about the rest."""
    moments = [*messages(4, 3), *echoes(4, 3, entries=vector(4, (3, None)))]
    silent = phase(4, 1, *moments)
    made.right("silent-peer", "broadcast.phase", "BCAST-2 BCAST-6 BCAST-8", **silent)
    trap(made, "complains-about-silence", "BCAST-8", "complaint", silent, complaints=[])
    denied = phase(4, 1, *messages(4, 3), *echoes(4, entries=vector(4, (3, None)), time=5.0))
    made.right("all-deny-one", "broadcast.phase", "BCAST-2 BCAST-4 BCAST-8", **denied)
    trap(made, "certificate-of-silence", "BCAST-8 BCAST-4", "complaint", denied, complaints=[])
    just = phase(4, 1, *messages(4, 3), (4.0, 3, message(3)), *echoes(4, time=5.0))
    trap(made, "message-at-the-deadline", "BCAST-2", "deadline", just, compute_phase(denied))
    late = phase(4, 1, *messages(4, 3), (4.25, 3, message(3)), *echoes(4, time=5.0))
    trap(made, "message-after-the-deadline", "BCAST-2 BCAST-8", "late", late, compute_phase(just))
    ready = phase(4, 1, *messages(4, 3), (9.0, 3, message(3)), *echoes(4, time=9.5), ready=6.0)
    trap(
        made,
        "deadline-counts-from-ready",
        "BCAST-2 BCAST-3",
        "deadline",
        ready,
        compute_phase({**ready, "ready": real(0.0)}),
    )
    last = phase(4, 1, *messages(4), *echoes(4, 3), (8.0, 3, echo(3, vector(4))))
    trap(
        made,
        "echo-at-the-deadline",
        "BCAST-8",
        "deadline",
        last,
        compute_phase(phase(4, 1, *messages(4), *echoes(4, 3))),
    )
    missing = phase(4, 1, *messages(4), *echoes(4, 3))
    trap(made, "echo-missing", "BCAST-8 BCAST-6", "complaint", missing, complaints=[])
    trap(made, "delivers-not-before", "BCAST-6", "early", missing, at=real(12.0))


def add_certificates(made: Chapter) -> None:
    """BCAST-4: n signatures under one body and one log head."""
    for name, last in (
        ("other-body", (2.0, 3, echo(3, vector(4, (1, None))))),
        ("other-head", (2.0, 3, echo(3, vector(4), head=bytes(32)))),
        ("too-short", (2.0, 3, echo(3, vector(3)))),
        ("forged", (2.0, 3, Envelope(RUN, SLOT.echo, PEERS[3].peer_id, HEAD, echo(3, vector(4)).body, bytes(64)))),
    ):
        case = phase(4, 1, *messages(4), *echoes(4, 3), last)
        mistaken = compute_phase(phase(4, 1, *messages(4), *echoes(4)))
        trap(made, f"no-certificate-{name}", "BCAST-4", "certificate", case, mistaken)
    fewer = phase(4, 1, *messages(4), *echoes(4, 3))
    whole = compute_phase(phase(4, 1, *messages(4), *echoes(4)))
    mistaken = {**whole, "complaints": [PEERS[3].peer_id.hex()]}
    trap(made, "three-of-four", "BCAST-4", "certificate", fewer, mistaken)
    twice = phase(4, 1, *messages(4), *echoes(4, 3), (2.5, 1, echo(1, vector(4))), (2.75, 2, echo(2, vector(4))))
    trap(made, "the-same-echo-again", "BCAST-4", "certificate", twice, mistaken)
    before = [(0.5, 3, echo(3, vector(4))), *messages(4), *echoes(4, 3)]
    made.right("echo-before-all-messages", "broadcast.phase", "BCAST-4", **phase(4, 1, *before))
    late = phase(4, 1, *messages(4), *echoes(4, 3), (8.5, 3, relay(echo(3, vector(4)), 2)))
    made.right("certificate-in-the-fallback", "broadcast.phase", "BCAST-4 BCAST-7 BCAST-8", **late)
    trap(made, "complaint-stays", "BCAST-8", "complaint", late, complaints=[])


def add_answers(made: Chapter) -> None:
    """BCAST-5: offers, questions and answers."""
    whole = tuple(echo(peer, vector(4)).signature for peer in range(4))
    offer = (5.0, 1, Offer(SLOT))
    asked = phase(4, 1, *messages(4), *echoes(4, 3), offer, (5.5, 1, Answer(SLOT, whole, ())))
    made.right("certificate-of-another", "broadcast.phase", "BCAST-5", **asked)
    without = compute_phase(phase(4, 1, *messages(4), *echoes(4, 3)))
    trap(made, "takes-the-certificate", "BCAST-5", "no-certificate", asked, without)
    again = phase(4, 1, *messages(4), *echoes(4, 3), offer, (5.25, 1, Offer(SLOT)), (5.5, 2, Offer(SLOT)))
    right = compute_phase(again)
    ask = [real(5.25), PEERS[1].peer_id.hex(), ["ask", []]]
    trap(made, "asks-once", "BCAST-5", "answer", again, sent=sorted([*right["sent"], ask], key=by_time))
    early = phase(4, 1, (0.5, 1, Offer(SLOT)), *messages(4), *echoes(4))
    ask = [real(0.5), PEERS[1].peer_id.hex(), ["ask", []]]
    sent = sorted([*compute_phase(early)["sent"], ask], key=by_time)
    trap(made, "asks-after-its-echo", "BCAST-5", "answer", early, sent=sent)
    for name, signatures in (
        ("one-missing", whole[:3]),
        ("one-false", (*whole[:3], bytes(64))),
        ("swapped", (whole[1], whole[0], *whole[2:])),
        ("of-another-echo", tuple(echo(peer, vector(4, (3, None))).signature for peer in range(4))),
        ("of-messages", tuple(message(peer).signature for peer in range(4))),
    ):
        case = phase(4, 1, *messages(4), *echoes(4, 3), offer, (5.5, 1, Answer(SLOT, signatures, ())))
        trap(made, f"answer-{name}", "BCAST-5", "certificate", case, compute_phase(asked))
    add_questions(made)


def add_questions(made: Chapter) -> None:
    """BCAST-5: what an answer holds."""
    held = (digest(1), digest(3))
    after = phase(4, 1, *messages(4), *echoes(4), (3.0, 2, Ask(SLOT)), (4.0, 3, Ask(SLOT, held)))
    made.right("answers-afterwards", "broadcast.phase", "BCAST-5", **after)
    nothing = [line for line in compute_phase(after)["sent"] if line[2][0] != "answer"]
    trap(made, "answers-who-asks", "BCAST-5", "answer", after, sent=nothing)
    between = phase(4, 1, *messages(4), (1.5, 2, Ask(SLOT, held)), *echoes(4))
    made.right("answers-before-it-knows", "broadcast.phase", "BCAST-5", **between)
    before = phase(4, 1, (0.5, 2, Ask(SLOT, held)), *messages(4), *echoes(4))
    right = compute_phase(before)["sent"]
    full = [[*line[:2], ["answer", 0, [digest(0).hex()]]] if line[2][0] == "answer" else line for line in right]
    trap(made, "nothing-before-its-echo", "BCAST-5", "answer", before, sent=full)
    decided = phase(4, 1, *messages(4), *echoes(4, 3), (13.0, 2, Ask(SLOT, held)))
    right = compute_phase(decided)["sent"]
    signed = [[*line[:2], ["answer", 4, line[2][2]]] if line[2][0] == "answer" else line for line in right]
    trap(made, "answers-without-certificate", "BCAST-5", "answer", decided, sent=signed)


def add_fallbacks(made: Chapter) -> None:
    """BCAST-6: decisions without a certificate."""
    seen = vector(4, (3, None))
    shown = [(7.0, 1, echo(1, vector(4))), (7.0, 2, echo(2, vector(4))), (7.5, 3, echo(3, vector(4)))]
    lacking = phase(4, 1, *messages(4, 3), *shown, (13.0, 1, Answer(SLOT, (), (message(3),))))
    made.right("fetches-what-was-decided", "broadcast.phase", "BCAST-6 BCAST-8", **lacking)
    plainly = [line for line in compute_phase(lacking)["sent"] if line[2][0] != "ask"]
    trap(made, "asks-for-what-it-lacks", "BCAST-6", "answer", lacking, sent=plainly)
    never = phase(4, 1, *messages(4, 3), *shown)
    made.refused("nobody-has-it", "broadcast.phase", "BCAST-6", "goes-on", **never)
    split = [(7.0, 1, echo(1, seen)), (7.0, 2, echo(2, vector(4))), (7.5, 3, echo(3, vector(4)))]
    case = phase(4, 1, *messages(4), *split)
    made.right("three-of-four-attest", "broadcast.phase", "BCAST-6 BCAST-8", **case)
    trap(made, "shows-the-other-echo", "BCAST-8", "evidence", case, echoes=[])
    tied = phase(4, 1, *messages(4), (7.0, 1, echo(1, seen)), (7.0, 2, echo(2, seen)), (7.5, 3, echo(3, vector(4))))
    right = compute_phase(tied)["delivered"]
    trap(made, "two-of-four-attest", "BCAST-6", "majority", tied, delivered=[*right[:3], digest(3).hex()])
    few = phase(4, 1, *messages(4), (7.0, 1, echo(1, vector(4))))
    trap(made, "two-echoes-of-four", "BCAST-6", "majority", few, delivered=texts(vector(4)))
    twice = phase(4, 1, *messages(4), *echoes(4, 3, 2), (6.0, 3, echo(3, vector(4))), (6.5, 3, echo(3, seen)))
    trap(made, "echo-in-two-versions", "BCAST-6 BCAST-8", "two-versions", twice, delivered=texts(vector(4)))
    five = phase(5, 2, *messages(5), *echoes(5, 4, 3), (7.0, 3, echo(3, vector(5, (4, None)))))
    made.right("five-peers", "broadcast.phase", "BCAST-6 BCAST-7 BCAST-8", **five)


def add_chains(made: Chapter) -> None:
    """BCAST-7: an echo with k signatures until F + (k − 1)(σ + Δ)."""
    fast = [*messages(5), *echoes(5, 4)]
    last = echo(4, vector(5, (1, None)))
    for name, time, signers, taken in (
        ("plain-echo-before-the-end", 8.0, (), True),
        ("two-signatures-in-round-1", 11.0, (1,), True),
        ("two-signatures-at-the-end-of-round-1", 12.0, (1,), True),
        ("three-signatures-in-round-2", 15.0, (1, 2), True),
        ("three-signatures-at-the-end", 16.0, (1, 2), True),
        ("more-signatures-than-needed", 10.0, (1, 2, 3), True),
        ("one-signature-in-round-1", 9.0, (), False),
        ("two-signatures-in-round-2", 12.25, (1,), False),
        ("three-signatures-after-the-end", 16.25, (1, 2), False),
    ):
        case = phase(5, 2, *fast, (time, 1, relay(last, *signers)))
        other = phase(5, 2, *fast) if taken else phase(5, 2, *fast, (8.0, 1, relay(last, *signers)))
        trap(made, name, "BCAST-7", "chain", case, compute_phase(other))
    for name, frame in (
        ("author-vouches", Relay(last, ((PEERS[4].peer_id, PEERS[4].sign(relay_digest(last))),))),
        ("stranger-vouches", Relay(last, ((STRANGER.peer_id, STRANGER.sign(relay_digest(last))),))),
        ("false-signature", Relay(last, ((PEERS[1].peer_id, bytes(64)),))),
        ("echo-not-signed", Relay(Envelope(RUN, SLOT.echo, PEERS[4].peer_id, HEAD, last.body, bytes(64)), ())),
    ):
        case = phase(5, 2, *fast, (7.0, 1, frame))
        mistaken = compute_phase(phase(5, 2, *fast, (7.0, 1, relay(last, 1))))
        trap(made, f"relay-{name}", "BCAST-7", "false-voucher", case, mistaken)
    add_vouching(made, fast, last)


def add_vouching(made: Chapter, fast: list[Moment], last: Envelope) -> None:
    """BCAST-7: for what one vouches, and when no more."""
    silent = phase(5, 2, *fast)
    nothing = [line for line in compute_phase(silent)["sent"] if line[2][0] != "relay"]
    trap(made, "vouches-at-the-start", "BCAST-7", "silent-fallback", silent, sent=nothing)
    passed = phase(5, 2, *fast, (11.0, 1, relay(last, 1)))
    bare = [line for line in compute_phase(passed)["sent"] if read_real(line[0]) != 11.0]
    trap(made, "vouches-at-once", "BCAST-7", "silent-fallback", passed, sent=bare)
    full = phase(5, 2, *fast, (11.0, 1, relay(last, 1, 2)))
    chain = sorted(peer.peer_id.hex() for peer in PEERS[:3])
    more = [real(11.0), None, ["relay", last.signed_header.digest.hex(), chain]]
    sent = sorted([*compute_phase(full)["sent"], more], key=by_time)
    trap(made, "does-not-vouch-in-the-last-round", "BCAST-7", "silent-fallback", full, sent=sent)
    again = phase(5, 2, *fast, (9.0, 1, relay(last, 1)), (10.0, 2, relay(last, 2)))
    chain = sorted(peer.peer_id.hex() for peer in (PEERS[0], PEERS[2]))
    more = [real(10.0), None, ["relay", last.signed_header.digest.hex(), chain]]
    sent = sorted([*compute_phase(again)["sent"], more], key=by_time)
    trap(made, "vouches-once", "BCAST-7", "silent-fallback", again, sent=sent)
    none = phase(4, 0, *messages(4), *echoes(4, 3))
    made.right("nobody-faulty-nobody-vouches", "broadcast.phase", "BCAST-7 BCAST-6", **none)


def add_versions(made: Chapter) -> None:
    """BCAST-2, BCAST-8, BCAST-9: two versions, and no more."""
    both = [(0.5, 3, message(3)), (0.75, 3, message(3, 1)), *messages(4, 3)]
    case = phase(4, 1, *both, *echoes(4))
    made.right("first-version-counts", "broadcast.phase", "BCAST-2 BCAST-8 BCAST-9", **case)
    swapped = [(0.5, 3, message(3, 1)), (0.75, 3, message(3)), *messages(4, 3)]
    trap(made, "echoes-the-first", "BCAST-2", "first-version", phase(4, 1, *swapped, *echoes(4)), compute_phase(case))
    trap(made, "shows-both", "BCAST-8", "evidence", case, evidence=[])
    later = phase(4, 1, *messages(4), *echoes(4, time=5.0), (4.5, 3, message(3, 1)))
    later["arrivals"] = sorted(later["arrivals"], key=lambda line: read_real(line[0]))
    trap(made, "second-version-after-the-echo", "BCAST-8 BCAST-9", "evidence", later, evidence=[])
    third = phase(4, 1, (0.25, 3, message(3, 2)), *both, *echoes(4, entries=vector(4, (3, digest(3, 2)))))
    others = sorted([digest(3, 1).hex(), digest(3, 2).hex()])
    trap(made, "two-of-three-versions", "BCAST-9", "evidence", third, evidence=[others])
    shown = vector(4, (3, digest(3, 2)))
    attested = [(7.0, peer, echo(peer, shown)) for peer in (1, 2, 3)]
    fetched = phase(
        4, 1, (0.25, 3, message(3)), (0.5, 3, message(3, 1)), *messages(4, 3), *attested,
        (13.0, 1, Answer(SLOT, (), (message(3, 2),))),
    )  # fmt: skip
    trap(made, "third-version-was-decided", "BCAST-9 BCAST-6", "evidence", fetched, Refusal("lacks it"))
    echoed = phase(
        4, 1, *messages(4), *echoes(4, 3), (6.0, 3, echo(3, vector(4, (0, None)))), (6.5, 3, echo(3, vector(4)))
    )
    made.right("two-echoes-of-one", "broadcast.phase", "BCAST-8 BCAST-9 BCAST-4", **echoed)


def add_unrelated(made: Chapter) -> None:
    """BCAST-4, MSG-4: what belongs elsewhere."""
    body = message(3).body
    identity = PEERS[3]
    without = compute_phase(phase(4, 1, *messages(4), *echoes(4)))
    for name, frame in (
        ("other-run", seal(identity, bytes(32), SLOT, HEAD, body)),
        ("other-step", seal(identity, RUN, SLOT._replace(step=2), HEAD, body)),
        ("other-attempt", seal(identity, RUN, SLOT._replace(attempt=1), HEAD, body)),
        ("other-phase", seal(identity, RUN, SLOT._replace(phase=Phase.REPORT), HEAD, body)),
        ("other-part", seal(identity, RUN, SLOT._replace(part=2), HEAD, body)),
        ("stranger", seal(STRANGER, RUN, SLOT, HEAD, body)),
        ("outside-the-roster", message(4)),
        ("unsigned", Envelope(RUN, SLOT, identity.peer_id, HEAD, body, bytes(64))),
    ):
        case = phase(4, 1, *messages(4, 3), (1.0, 3, frame), *echoes(4, time=5.0, entries=vector(4, (3, None))))
        trap(made, f"ignores-{name}", "MSG-4 BCAST-2", "unrelated", case, without)
    wrong_head = seal(identity, RUN, SLOT, bytes(32), body)
    entries = vector(4, (3, wrong_head.signed_header.digest))
    case = phase(4, 1, *messages(4, 3), (1.0, 3, wrong_head), *echoes(4, entries=entries))
    made.right("message-with-another-head", "broadcast.phase", "BCAST-4 MSG-4", **case)
    malformed = seal(identity, RUN, SLOT, HEAD, b"\xff")
    entries = vector(4, (3, malformed.signed_header.digest))
    case = phase(4, 1, *messages(4, 3), (1.0, 3, malformed), *echoes(4, entries=entries))
    made.right("malformed-message", "broadcast.phase", "BCAST-4 MSG-5", **case)
