"""Vectors of chapter ``exchange``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from btard.conformance.vectors.cases import Chapter, operation
from btard.conformance.vectors.forms import octets, plain_slot, read_slot, texts
from btard.conformance.vectors.recorded import STRANGER, keys
from btard.protocol.encoding import tagged_hash
from btard.protocol.exchange import DisclosureInbox, Inbox
from btard.protocol.messages import Envelope, Phase, Slot, content_hash, seal

FLAGS = {
    "first-wins": "keeps the first content although the announced one came later",
    "last-wins": "keeps the last content instead of the first one, or of the announced one",
    "unsigned": "keeps content that is neither signed nor the announced one",
    "needs-signature": "does not take the announced content from another hand: its signature is not needed",
    "wrong-place": "keeps a part of another run, slot or sender",
    "waits": "goes on waiting although everything is here",
    "stops": "stops waiting although something else than the announced content is here",
}
LIMIT = 1 << 16


# -- Operations ----------------------------------------------------------------------------------------

PLACES = "`run`; `slots`: of each sender's part; `senders`: list of peers; "
KEPT = (
    "`kept`: for every sender, the index in `arrivals` of the envelope that counts, or null; `enough`: how many "
    "arrivals it takes until nothing is waited for any more, or null"
)


@operation(
    "exchange.parts",
    PLACES
    + "`announced`: the hash that each of them announced; `arrivals`: list of bytes of an envelope, in the order in "
    "which they come in time",
    KEPT,
)
def compute_parts(given: dict[str, Any]) -> dict[str, Any]:
    """EXCH-1, EXCH-2."""
    slots = tuple(map(read_slot, given["slots"]))
    inbox = Inbox(bytes.fromhex(given["run"]), slots, octets(given["senders"]), octets(given["announced"]))
    arrivals, enough = received(inbox, given["arrivals"])
    kept = [inbox.received.get(sender) for sender in octets(given["senders"])]
    return {"kept": [place_of(arrivals, envelope) for envelope in kept], "enough": enough}


@operation(
    "exchange.disclosures",
    PLACES + "`arrivals`: as in `exchange.parts`. A sender may owe several gradients",
    KEPT,
)
def compute_disclosures(given: dict[str, Any]) -> dict[str, Any]:
    """EXCH-1, EXCH-2."""
    slots, senders = tuple(map(read_slot, given["slots"])), octets(given["senders"])
    inbox = DisclosureInbox(bytes.fromhex(given["run"]), slots, senders, ())
    arrivals, enough = received(inbox, given["arrivals"])
    kept = [inbox.received.get(place) for place in zip(senders, slots, strict=True)]
    return {"kept": [place_of(arrivals, envelope) for envelope in kept], "enough": enough}


def received(inbox: Inbox, arrivals: list[str]) -> tuple[list[Envelope], int | None]:
    """Take in what comes; how much of it was enough."""
    envelopes = [Envelope.decode(bytes.fromhex(data), LIMIT) for data in arrivals]
    enough = 0 if inbox.settled() else None
    for count, envelope in enumerate(envelopes, start=1):
        inbox.take(envelope)
        if enough is None and inbox.settled():
            enough = count
    return envelopes, enough


def place_of(arrivals: Sequence[Envelope], envelope: Envelope | None) -> int | None:
    """Which arrival an envelope is."""
    return next((index for index, other in enumerate(arrivals) if other is envelope), None)


# -- Vectors ----------------------------------------------------------------------------------------------

PEERS = keys(3)
RUN, HEAD = tagged_hash("btard/vectors", b"run"), tagged_hash("btard/vectors", b"head")
PART = Slot(4, 1, Phase.SCATTER, 1)
"""What the middle one of three workers gets."""


def part(peer: int, version: int = 0, **changes: Any) -> Envelope:
    """A signed part."""
    slot = changes.get("slot", PART)
    signer = changes.get("signer", PEERS[peer])
    return seal(signer, changes.get("run", RUN), slot, HEAD, bytes([peer, version]) * 6)


def unsigned(envelope: Envelope) -> Envelope:
    """The same without a valid signature."""
    return replace(envelope, signature=bytes(64))


def owed(*arrivals: Envelope, phase: Phase = Phase.SCATTER) -> dict[str, Any]:
    """An exchange in which the first and the last peer owe a part."""
    slots = [PART._replace(phase=phase)] * 2
    announced = [content_hash(phase, part(peer).body) for peer in (0, 2)]
    who = {"run": RUN.hex(), "slots": [plain_slot(slot) for slot in slots], "senders": senders(0, 2)}
    return {**who, "announced": texts(announced), "arrivals": texts(envelope.encode() for envelope in arrivals)}


def senders(*peers: int) -> list[str]:
    """Peers by place."""
    return [PEERS[peer].peer_id.hex() for peer in peers]


def chapter() -> Chapter:
    """All vectors of the chapter."""
    made = Chapter("exchange", FLAGS)
    add_parts(made)
    add_foreign(made)
    add_disclosures(made)
    return made


def add_parts(made: Chapter) -> None:
    """EXCH-1, EXCH-2: which content counts."""
    a, b, other, third = part(0), part(2), part(2, 1), part(2, 2)
    for name, arrivals in (
        ("both", (a, b)), ("other-order", (b, a)), ("one", (b,)), ("nothing", ()), ("twice", (a, a, b)),
    ):  # fmt: skip
        made.right(name, "exchange.parts", "EXCH-1 EXCH-2", **owed(*arrivals))
    for name, flag, arrivals, mistaken in (
        ("announced-content-wins", "first-wins", (other, b, a), ([2, 0], 2)),
        ("announced-content-stays", "last-wins", (a, b, other), ([0, 2], 2)),
        ("first-of-others", "last-wins", (a, other, third), ([0, 2], None)),
        ("unsigned-other", "unsigned", (a, unsigned(other)), ([0, 1], None)),
        ("unsigned-then-signed", "unsigned", (unsigned(other), third, a), ([2, 0], None)),
        ("announced-from-another-hand", "needs-signature", (a, unsigned(b)), ([0, None], None)),
        ("announced-after-other-unsigned", "needs-signature", (other, unsigned(b), a), ([2, 0], None)),
        ("other-is-not-enough", "stops", (a, other, b), ([0, 1], 2)),
        ("other-is-kept", "stops", (a, other), ([0, 1], 2)),
        ("no-more-than-needed", "waits", (a, b), ([0, 1], None)),
    ):
        kept, enough = mistaken
        made.trap(name, "exchange.parts", "EXCH-2", flag, {"kept": kept, "enough": enough}, **owed(*arrivals))
    ballots = [part(peer, slot=PART._replace(phase=Phase.BALLOT)) for peer in (0, 2)]
    made.right("ballots", "exchange.parts", "EXCH-2 MSG-6", **owed(*ballots, phase=Phase.BALLOT))
    loose = owed(ballots[0], unsigned(ballots[1]), phase=Phase.BALLOT)
    made.trap(
        "ballot-from-another-hand", "exchange.parts", "EXCH-2 MSG-6", "needs-signature",
        {"kept": [0, None], "enough": None}, **loose,
    )  # fmt: skip


def add_foreign(made: Chapter) -> None:
    """EXCH-2, MSG-4: what belongs elsewhere."""
    a = part(0)
    for name, envelope in (
        ("other-run", part(2, run=bytes(32))),
        ("other-step", part(2, slot=PART._replace(step=3))),
        ("other-attempt", part(2, slot=PART._replace(attempt=0))),
        ("other-part", part(2, slot=PART._replace(part=2))),
        ("other-phase", part(2, slot=PART._replace(phase=Phase.GATHER))),
        ("who-owes-nothing", part(1)),
        ("stranger", part(2, signer=STRANGER)),
    ):
        case = owed(a, envelope)
        made.trap(name, "exchange.parts", "EXCH-2 MSG-4", "wrong-place", {"kept": [0, 1], "enough": 2}, **case)


def add_disclosures(made: Chapter) -> None:
    """EXCH-2: whole gradients, of which no hash was announced."""
    trial = Slot(4, 1, Phase.COMMIT_TRIAL, 1)
    earlier = trial._replace(part=2)
    slots = [plain_slot(trial), plain_slot(earlier), plain_slot(trial)]
    given = {"run": RUN.hex(), "slots": slots, "senders": senders(0, 0, 2)}
    a, b, c = part(0, slot=trial), part(0, slot=earlier), part(2, slot=trial)
    other = part(2, 1, slot=trial)

    def case(*arrivals: Envelope) -> dict[str, Any]:
        return {**given, "arrivals": texts(envelope.encode() for envelope in arrivals)}

    made.right("all", "exchange.disclosures", "EXCH-2 TOL-3", **case(c, b, a))
    made.right("one-missing", "exchange.disclosures", "EXCH-2 TOL-3", **case(a, c))
    made.right("nothing-disclosed", "exchange.disclosures", "EXCH-2", **case())
    for name, flag, arrivals, kept, enough in (
        ("first-version", "last-wins", (a, b, c, other), [0, 1, 3], 3),
        ("first-version-of-others", "last-wins", (a, b, other, c), [0, 1, 3], 3),
        ("unsigned-gradient", "unsigned", (a, b, unsigned(c)), [0, 1, 2], 3),
        ("unsigned-first", "unsigned", (unsigned(c), a, b, c), [1, 2, 0], 3),
        ("not-owed", "wrong-place", (a, b, part(2, slot=earlier)), [0, 1, 2], 3),
        ("of-another-phase", "wrong-place", (a, b, part(2, slot=trial._replace(phase=Phase.AUDIT))), [0, 1, 2], 3),
        ("one-for-two", "wrong-place", (a, c), [0, 0, 1], 2),
        ("enough", "waits", (a, b, c), [0, 1, 2], None),
    ):
        made.trap(
            name, "exchange.disclosures", "EXCH-2", flag, {"kept": kept, "enough": enough}, **case(*arrivals)
        )  # fmt: skip
