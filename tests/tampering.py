"""Every way to break a duty that this harness knows, each with the verdict that must follow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from btard.network.coalition import Seating
from btard.protocol.arithmetic import Float32, Float64, float32_bytes
from btard.protocol.bans import Departure, Fault
from btard.protocol.butterfly_clip import partition
from btard.protocol.encoding import encode
from btard.protocol.identity import Identity
from btard.protocol.messages import (
    MAX_AGREED_BODY,
    Accusation,
    Aggregate,
    Commit,
    Envelope,
    Notices,
    Phase,
    Report,
    Reveal,
    Slot,
    body_hash,
    seal,
)
from btard.protocol.step import Conduct, State
from btard.protocol.verification import Transcript
from swarms import AGREED, GRADIENT_CLIP, Behaviour, Change, Tamper, say, scatter, sign


@dataclass(frozen=True)
class Case:
    """One way to misbehave. ``make(start)`` seats it; it leaves for ``fault`` in ``phase``, ``later`` steps on."""

    name: str
    make: Callable[[int], Behaviour]
    fault: Fault
    phase: Phase
    how: Departure = Departure.CONVICTED
    later: int = 0
    victim: bool = False
    """Whether an honest peer leaves with it."""

    def __str__(self) -> str:
        return self.name


CASES: list[Case] = []


def case(
    name: str,
    changes: dict[Phase, Change],
    fault: Fault,
    phase: Phase | None = None,
    how: Departure = Departure.CONVICTED,
    later: int = 0,
) -> None:
    """Add a case that tampers with messages; by default it is caught in the phase that it alters."""
    found = phase if phase is not None else next(iter(changes))
    pair = how is Departure.ELIMINATED
    CASES.append(Case(name, lambda start: Tamper(changes, start), fault, found, how, later, pair))


def conduct(name: str, kind: type[OnceConduct], fault: Fault, phase: Phase, later: int) -> None:
    """Add a case that follows another conduct."""
    CASES.append(Case(name, lambda start: lambda seating: kind(seating, start), fault, phase, later=later))


class OnceConduct(Conduct):
    """A conduct that acts in the first step from ``start`` on in which it is a worker."""

    def __init__(self, seating: Seating, start: int) -> None:
        self.seating, self.start = seating, start
        self.step: int | None = None

    def now(self, state: State) -> bool:
        """Whether this is the step."""
        if self.step is None and state.step >= self.start:
            self.step = state.step
        return state.step == self.step


# -- Silence, and messages that belong elsewhere -----------------------------------------------------

STRANGER = Identity(b"stranger" * 4)

for silent in AGREED:
    case(f"silent in {silent.name}", {silent: sign(lambda tamper, envelope: None)}, Fault.SILENT, how=Departure.ABSENT)

ELSEWHERE: dict[str, Callable[[Tamper, Envelope], Envelope]] = {
    "of another run": lambda tamper, envelope: tamper.reseal(envelope, run=bytes(32)),
    "of another step": lambda tamper, envelope: tamper.reseal(
        envelope, slot=envelope.slot._replace(step=envelope.slot.step + 1)
    ),
    "of another attempt": lambda tamper, envelope: tamper.reseal(
        envelope, slot=envelope.slot._replace(attempt=envelope.slot.attempt + 1)
    ),
    "of another phase": lambda tamper, envelope: tamper.reseal(
        envelope, slot=envelope.slot._replace(phase=Phase.CLOSING)
    ),
    "of another part": lambda tamper, envelope: tamper.reseal(envelope, slot=envelope.slot._replace(part=1)),
    "signed by a stranger": lambda tamper, envelope: seal(
        STRANGER, envelope.run, envelope.slot, envelope.log_head, envelope.body
    ),
    "in an honest peer's name": lambda tamper, envelope: replace(envelope, sender=tamper.honest_peers[0]),
    "with a broken signature": lambda tamper, envelope: replace(envelope, signature=bytes(64)),
    "of too many bytes": lambda tamper, envelope: tamper.reseal(envelope, bytes(MAX_AGREED_BODY + 1000)),
}
for name, where in ELSEWHERE.items():
    case(f"a message {name}", {Phase.COMMIT: sign(where)}, Fault.SILENT, how=Departure.ABSENT)


# -- Malformed messages, wrong heads ------------------------------------------------------------------


def constantly(body: bytes) -> Callable[[Tamper, Any], bytes]:
    """Whatever is asked, the same bytes."""
    return lambda tamper, message: body


for phase in AGREED:
    for garbage in (b"", b"\xff", encode([]), encode({}), bytes(1000)):
        case(
            f"{garbage[:2].hex() or 'nothing'}… as {phase.name}",
            {phase: say(constantly(garbage))},
            Fault.MALFORMED,
        )
    case(
        f"wrong log head in {phase.name}",
        {phase: sign(lambda tamper, envelope: tamper.reseal(envelope, log_head=bytes(32)))},
        Fault.WRONG_LOG_HEAD,
    )


def hash_count(change: int) -> Change:
    """Another number of part hashes, as a worker."""
    return say(
        lambda tamper, commit: (
            replace(commit, part_hashes=(*commit.part_hashes, bytes(32))[: len(commit.part_hashes) + change])
            if commit.part_hashes
            else None
        )
    )


case("one part hash too few", {Phase.COMMIT: hash_count(-1)}, Fault.MALFORMED)
case("one part hash too many", {Phase.COMMIT: hash_count(1)}, Fault.MALFORMED)
case(
    "no part hashes",
    {Phase.COMMIT: say(lambda tamper, commit: replace(commit, part_hashes=()) if commit.part_hashes else None)},
    Fault.MALFORMED,
)
case(
    "part hashes from a validator",
    {
        Phase.COMMIT: say(
            lambda tamper, commit: None if commit.part_hashes else replace(commit, part_hashes=(bytes(32),) * 4)
        )
    },
    Fault.MALFORMED,
)
case(
    "wrong state hash",
    {Phase.COMMIT: say(lambda tamper, commit: replace(commit, state_hash=bytes(32)))},
    Fault.DIVERGED,
)
case(
    "no aggregate and no reason",
    {Phase.AGGREGATE: say(lambda tamper, message: message.aggregate_hash and Aggregate(None))},
    Fault.MALFORMED,
)
case(
    "an aggregate from a validator",
    {Phase.AGGREGATE: say(lambda tamper, message: None if message.aggregate_hash else Aggregate(bytes(32)))},
    Fault.MALFORMED,
)


# -- MPRNG --------------------------------------------------------------------------------------------


def flipped(opening: bytes, index: int) -> bytes:
    """The opening with one bit flipped."""
    return opening[:index] + bytes([opening[index] ^ 1]) + opening[index + 1 :]


def opening_with_flip(index: int) -> Callable[[Tamper, Any], Reveal]:
    """The honest Reveal with one bit of its opening flipped."""
    return lambda tamper, reveal: replace(reveal, opening=flipped(reveal.opening, index))


for place, index in (("share", 0), ("salt", 63)):
    case(
        f"wrong {place} in the opening",
        {
            Phase.REVEAL: say(opening_with_flip(index)),
        },
        Fault.WRONG_OPENING,
    )


def honest_message(tamper: Tamper) -> Any:
    """What an honest peer is about to say in this phase: a rushing adversary sees it."""
    requests = tamper.swarm.world.requests
    return requests[min(requests)].envelope.message  # type: ignore[union-attr]


case(
    "copied commitment and opening",
    {
        Phase.COMMIT: say(lambda tamper, commit: replace(commit, commitment=honest_message(tamper).commitment)),
        Phase.REVEAL: say(lambda tamper, reveal: replace(reveal, opening=honest_message(tamper).opening)),
    },
    Fault.WRONG_OPENING,
    Phase.REVEAL,
)


# -- Reports ------------------------------------------------------------------------------------------


def report(change: Callable[[Float64, Float64], None]) -> Change:
    """Other numbers, as a worker."""

    def altered(tamper: Tamper, message: Report) -> Report | None:
        if not message.norms:
            return None
        products, norms = message.matrix().copy()
        change(products, norms)
        return Report.of(products, norms)

    return say(altered)


def put(which: int, value: float) -> Callable[[Float64, Float64], None]:
    """Set the first inner product (0) or norm (1)."""

    def change(products: Float64, norms: Float64) -> None:
        (products, norms)[which][0] = value

    return change


for which, what in enumerate(("inner product", "norm")):
    for value in (np.nan, np.inf, -np.inf):
        case(f"{value} as {what}", {Phase.REPORT: report(put(which, value))}, Fault.IMPOSSIBLE_REPORT)
case("a negative norm", {Phase.REPORT: report(put(1, -1.0))}, Fault.IMPOSSIBLE_REPORT)
case("an inner product beyond its bound", {Phase.REPORT: report(put(0, 1e9))}, Fault.IMPOSSIBLE_REPORT)
case(
    "a report of one part too many",
    {
        Phase.REPORT: say(
            lambda tamper, message: (
                replace(message, norms=message.norms + bytes(8), inner_products=message.inner_products + bytes(8))
                if message.norms
                else None
            )
        )
    },
    Fault.IMPOSSIBLE_REPORT,
)
case(
    "an empty report from a worker",
    {Phase.REPORT: say(lambda tamper, message: Report(b"", b"") if message.norms else None)},
    Fault.IMPOSSIBLE_REPORT,
)
case(
    "a report from a validator",
    {Phase.REPORT: say(lambda tamper, message: None if message.norms else Report(bytes(32), bytes(32)))},
    Fault.MALFORMED,
)


def nudge(products: Float64, norms: Float64) -> None:
    """The least possible lie about every norm."""
    norms[:] = np.nextafter(norms, np.inf)


def shrink(products: Float64, norms: Float64) -> None:
    """A possible lie about every inner product."""
    products *= 0.5


case("norms one bit off", {Phase.REPORT: report(nudge)}, Fault.WRONG_REPORT, Phase.COMMIT, later=1)
case("inner products half as large", {Phase.REPORT: report(shrink)}, Fault.WRONG_REPORT, Phase.COMMIT, later=1)


# -- Parts that are withheld, wrong or impossible -------------------------------------------------------


def others(tamper: Tamper, envelopes: list[Envelope | None]) -> list[int]:
    """The places in a scatter that hold a part for an honest peer."""
    return [
        place
        for place, envelope in enumerate(envelopes)
        if envelope is not None and place_owner(tamper, envelope) in tamper.honest_peers
    ]


def place_owner(tamper: Tamper, envelope: Envelope) -> bytes:
    """Who aggregates the part that ``envelope`` carries."""
    request = next(r for r in tamper.swarm.world.requests.values())
    owner: bytes = request.workers[envelope.slot.part]  # type: ignore[union-attr]
    return owner


def withheld(tamper: Tamper, envelopes: list[Envelope | None]) -> None:
    """Nothing for the first honest aggregator."""
    envelopes[others(tamper, envelopes)[0]] = None


def for_one(change: Callable[[Tamper, Envelope], Envelope | None]) -> Change:
    """Another part for the first honest aggregator."""

    def alter(tamper: Tamper, envelopes: list[Envelope | None]) -> None:
        place = others(tamper, envelopes)[0]
        envelope = envelopes[place]
        assert envelope is not None
        envelopes[place] = change(tamper, envelope)

    return scatter(alter)


ELIMINATED: dict[str, Any] = {"fault": Fault.WITHHELD, "phase": Phase.AGGREGATE, "how": Departure.ELIMINATED}
case("a part withheld from one", {Phase.SCATTER: scatter(withheld)}, **ELIMINATED)
case(
    "a part for another slot",
    {
        Phase.SCATTER: for_one(
            lambda tamper, part: tamper.reseal(part, slot=part.slot._replace(attempt=part.slot.attempt + 1))
        )
    },
    **ELIMINATED,
)
case(
    "a part of too many bytes",
    {Phase.SCATTER: for_one(lambda tamper, part: tamper.reseal(part, bytes(10_000)))},
    **ELIMINATED,
)
case(
    "another part than announced, without a signature",
    {Phase.SCATTER: for_one(lambda tamper, part: replace(part, body=b"unsigned", signature=bytes(64)))},
    **ELIMINATED,
)
case(
    "another part than announced",
    {Phase.SCATTER: for_one(lambda tamper, part: tamper.reseal(part, bytes(len(part.body))))},
    Fault.MISMATCHED_PART,
    Phase.AGGREGATE,
)
case(
    "an empty part instead of the one announced",
    {Phase.SCATTER: for_one(lambda tamper, part: tamper.reseal(part, b""))},
    Fault.MISMATCHED_PART,
    Phase.AGGREGATE,
)


class ForgedContent(Tamper):
    """Announces the hashes of other bytes than its gradient's parts, and scatters those bytes.

    ``forge``: from the length of a part to its bytes.
    """

    def __init__(self, forge: Callable[[int], bytes], start: int) -> None:
        self.forge = forge
        super().__init__({Phase.COMMIT: say(self.announce), Phase.SCATTER: scatter(self.send)}, start)

    def contents(self, workers: int) -> list[bytes]:
        """The forged bytes of every part."""
        bounds = partition(self.swarm.config.dimension, workers)
        return [self.forge(bound.stop - bound.start) for bound in bounds]

    def announce(self, tamper: Tamper, commit: Commit) -> Commit | None:
        """The hashes of the forged bytes, as a worker."""
        if not commit.part_hashes:
            return None
        forged = self.contents(len(commit.part_hashes))
        return replace(commit, part_hashes=tuple(body_hash(content) for content in forged))

    def send(self, tamper: Tamper, envelopes: list[Envelope | None]) -> None:
        """The forged bytes, to everyone."""
        forged = self.contents(len(envelopes))
        pairs = zip(envelopes, forged, strict=True)
        envelopes[:] = [part and tamper.reseal(part, content) for part, content in pairs]


def forged(name: str, forge: Callable[[int], bytes]) -> None:
    """Parts that match their hashes and that no gradient has. Everybody takes them for zeros, which its
    report does not: C2 fails, and the trial of an honest aggregator finds the forger."""
    CASES.append(Case(name, lambda start: ForgedContent(forge, start), Fault.WRONG_HASH, Phase.REPORT))


forged("announced parts of one byte", lambda length: b"x")
forged("announced parts without a byte", lambda length: b"")
forged("announced parts that are too long", lambda length: float32_bytes(np.zeros(length + 1)))
forged("announced parts that are no numbers", lambda length: float32_bytes(np.full(length, np.nan)))
forged("announced parts that are infinite", lambda length: float32_bytes(np.full(length, np.inf)))


class OversizedNorm(OnceConduct):
    """A gradient beyond λ: every part by itself is longer than allowed."""

    def gradient(self, state: State, honest: Float32) -> Float32:
        """All entries equal to 2λ."""
        return np.full_like(honest, 2 * GRADIENT_CLIP) if self.now(state) else honest


conduct("parts longer than lambda", OversizedNorm, Fault.WRONG_HASH, Phase.COMMIT, 1)


# -- Aggregates -----------------------------------------------------------------------------------------


def aggregate(content: bytes) -> dict[Phase, Change]:
    """Announce and send other bytes as my aggregate."""

    def announce(tamper: Tamper, message: Aggregate) -> Aggregate | None:
        return Aggregate(body_hash(content)) if message.aggregate_hash else None

    return {
        Phase.AGGREGATE: say(announce),
        Phase.GATHER: sign(lambda tamper, envelope: tamper.reseal(envelope, content)),
    }


for name, content in (
    ("an aggregate of NaN", float32_bytes(np.full(10, np.nan))),
    ("an aggregate without a byte", b""),
    ("an aggregate of the wrong length", bytes(4)),
    ("an aggregate of broken length", bytes(41)),
):
    case(name, aggregate(content), Fault.IMPOSSIBLE_AGGREGATE, Phase.REVEAL)
case(
    "another aggregate than announced",
    {Phase.GATHER: sign(lambda tamper, envelope: tamper.reseal(envelope, bytes(len(envelope.body))))},
    Fault.MISMATCHED_PART,
    Phase.REVEAL,
)
case(
    "a withheld aggregate",
    {Phase.GATHER: sign(lambda tamper, envelope: None)},
    Fault.WITHHELD,
    Phase.REVEAL,
    Departure.ELIMINATED,
)


class Shifted(OnceConduct):
    """An aggregate far from the true one, with nobody to cover it up."""

    def aggregate(self, state: State, attempt: Any, inputs: Float32, honest: Float32) -> Float32:
        """Shifted by λ in every coordinate."""
        return honest + np.float32(GRADIENT_CLIP) if self.now(state) else honest


conduct("a shifted aggregate", Shifted, Fault.WRONG_AGGREGATE, Phase.REPORT, 0)


# -- Complaints, evidence, accusations --------------------------------------------------------------------


def noting(notices: Callable[[Tamper], Notices]) -> Change:
    """The honest message with notices that have no ground, as a worker that then announces no aggregate."""

    def altered(tamper: Tamper, message: Any) -> Any:
        if isinstance(message, Aggregate):
            return Aggregate(None, notices(tamper)) if message.aggregate_hash else None
        return replace(message, notices=notices(tamper))

    return say(altered)


def complaint(about: Callable[[Tamper], bytes]) -> Change:
    """A complaint about somebody."""
    return noting(lambda tamper: Notices((about(tamper),)))


for phase in (Phase.COMMIT, Phase.REPORT):
    case(
        f"a complaint in {phase.name}, where nothing was owed",
        {phase: complaint(lambda tamper: tamper.honest_peers[0])},
        Fault.FALSE_NOTICE,
    )
for phase in (Phase.AGGREGATE, Phase.REVEAL):
    case(
        f"a complaint about itself in {phase.name}",
        {phase: complaint(lambda t: t.identity.peer_id)},
        Fault.FALSE_NOTICE,
    )
    case(
        f"a complaint about a stranger in {phase.name}",
        {phase: complaint(lambda t: STRANGER.peer_id)},
        Fault.FALSE_NOTICE,
    )
case(
    "a complaint while announcing an aggregate",
    {
        Phase.AGGREGATE: say(
            lambda tamper, message: (
                message.aggregate_hash and replace(message, notices=Notices((tamper.honest_peers[0],)))
            )
        )
    },
    Fault.MALFORMED,
)
case(
    "a lie about a part that was sent",
    {Phase.AGGREGATE: complaint(lambda tamper: honest_worker(tamper))},
    Fault.WITHHELD,
    how=Departure.ELIMINATED,
)


def honest_worker(tamper: Tamper) -> bytes:
    """An honest peer that announces an aggregate in this phase."""
    return next(
        peer
        for peer, request in sorted(tamper.swarm.world.requests.items())
        if request.envelope.message.aggregate_hash  # type: ignore[union-attr]
    )


def received_headers(tamper: Tamper) -> list[Any]:
    """Signed headers of what honest peers just sent me."""
    return [e.signed_header for e in tamper.received if e is not None and e.sender in tamper.honest_peers]


EVIDENCE: dict[str, Callable[[Tamper], tuple[Any, ...]]] = {
    "that proves nothing": lambda tamper: (received_headers(tamper)[0],),
    "with a forged signature": lambda tamper: (replace(received_headers(tamper)[0], body_hash=bytes(32)),),
    "of another run": lambda tamper: (replace(received_headers(tamper)[0], run=bytes(32), body_hash=bytes(32)),),
}


def attaching(headers: Callable[[Tamper], tuple[Any, ...]]) -> Callable[[Tamper], Notices]:
    """Notices with these signed headers as evidence."""
    return lambda tamper: Notices((), headers(tamper))


for name, headers in EVIDENCE.items():
    case(
        f"evidence {name}",
        {Phase.AGGREGATE: noting(attaching(headers))},
        Fault.FALSE_NOTICE,
    )
case(
    "evidence in REVEAL that proves nothing",
    {Phase.REVEAL: noting(lambda tamper: Notices((), (received_headers(tamper)[0],)))},
    Fault.FALSE_NOTICE,
)
case(
    "evidence in COMMIT",
    {Phase.COMMIT: noting(lambda tamper: Notices((), (own_header(tamper),)))},
    Fault.FALSE_NOTICE,
)


def own_header(tamper: Tamper) -> Any:
    """A signed header that I made up."""
    slot = Slot(tamper.start, 0, Phase.SCATTER, 0)
    return seal(tamper.identity, tamper.swarm.genesis.run, slot, bytes(32), b"made up").signed_header


def accusing(who: Callable[[Tamper], bytes], back: int) -> Change:
    """An accusation about ``back`` steps ago."""

    def altered(tamper: Tamper, commit: Any) -> Any:
        step = tamper.swarm.simulation.seats[tamper.honest_peers[0]].state.step
        if step < back:
            return None
        return replace(commit, accusations=(Accusation(who(tamper), step - back),))

    return say(altered)


def past_worker(tamper: Tamper) -> bytes:
    """An honest peer that worked in the last step, if I did too."""
    state = tamper.swarm.simulation.seats[tamper.honest_peers[0]].state
    past = state.history[-1]
    if tamper.identity.peer_id not in past.workers:
        raise LookupError
    return next(peer for peer in past.workers if peer in tamper.honest_peers)


case(
    "a false accusation",
    {Phase.COMMIT: accusing(past_worker, 1)},
    Fault.FALSE_ACCUSATION,
)
case(
    "an accusation about the present",
    {Phase.COMMIT: accusing(lambda tamper: tamper.honest_peers[0], 0)},
    Fault.FALSE_NOTICE,
)
case("an accusation of itself", {Phase.COMMIT: accusing(lambda tamper: tamper.identity.peer_id, 1)}, Fault.FALSE_NOTICE)
case("an accusation of a stranger", {Phase.COMMIT: accusing(lambda tamper: STRANGER.peer_id, 1)}, Fault.FALSE_NOTICE)
case(
    "an accusation by no validator about two steps ago",
    {
        Phase.COMMIT: say(
            lambda tamper, commit: (
                replace(commit, accusations=(Accusation(tamper.honest_peers[0], tamper.step_now - 2),))
                if commit.part_hashes and tamper.step_now >= 2
                else None
            )
        )
    },
    Fault.FALSE_NOTICE,
)


def accusing_aggregate(who: Callable[[Tamper], bytes], ahead: int) -> Change:
    """An accusation, in Reveal, of an aggregate."""
    return say(lambda tamper, reveal: replace(reveal, accusations=(Accusation(who(tamper), tamper.step_now + ahead),)))


def honest_aggregator(tamper: Tamper) -> bytes:
    """Somebody whose aggregate I just got."""
    senders: Iterator[bytes] = (e.sender for e in tamper.received if e is not None)
    return next(sender for sender in senders if sender in tamper.honest_peers)


case(
    "a false accusation of an aggregate",
    {Phase.REVEAL: accusing_aggregate(honest_aggregator, 0)},
    Fault.FALSE_ACCUSATION,
)
case(
    "an accusation of an aggregate of another step",
    {Phase.REVEAL: accusing_aggregate(honest_aggregator, 1)},
    Fault.FALSE_NOTICE,
)
case(
    "an accusation of its own aggregate",
    {Phase.REVEAL: accusing_aggregate(lambda tamper: tamper.identity.peer_id, 0)},
    Fault.FALSE_NOTICE,
)


class WrongTranscript(OnceConduct):
    """Reports about another aggregate: every number is wrong, and possible."""

    def report(self, state: State, transcript: Transcript, honest: Float64) -> Float64:
        """Zeros: as if its gradient were the aggregate."""
        return np.zeros_like(honest) if self.now(state) else honest


conduct("a report of zeros", WrongTranscript, Fault.WRONG_REPORT, Phase.COMMIT, 1)


class WrongGradient(OnceConduct):
    """Another gradient, announced and scattered consistently: only an audit sees it."""

    def gradient(self, state: State, honest: Float32) -> Float32:
        """One bit off in one entry."""
        if self.now(state):
            honest = honest.copy()
            honest[0] = np.nextafter(honest[0], np.float32(np.inf))
        return honest


AUDITED = Case(
    "a gradient one bit off",
    lambda start: lambda seating: WrongGradient(seating, start),
    Fault.WRONG_HASH,
    Phase.COMMIT,
    later=2,
)
"""Caught by C4 only if a validator draws it."""
