"""Every way to break a duty that this harness knows, each with the verdict that must follow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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
    MAX_ECHOES,
    Accusation,
    Aggregate,
    Commit,
    Echo,
    Envelope,
    Notices,
    Phase,
    Proof,
    Report,
    Reveal,
    Slot,
    body_hash,
    seal,
)
from btard.protocol.state import Conduct, State
from btard.protocol.verification import Transcript, failing_parts
from swarms import AGREED, GRADIENT_CLIP, Behaviour, Change, Swarm, Tamper, played, say, scatter, sign


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
    """A possible lie about every inner product, too small for C2 to hear whatever the directions are."""
    products *= 1 - 2.0**-20


case("norms one bit off", {Phase.REPORT: report(nudge)}, Fault.WRONG_REPORT, Phase.COMMIT, later=1)
case("inner products a little smaller", {Phase.REPORT: report(shrink)}, Fault.WRONG_REPORT, Phase.COMMIT, later=1)


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
    Fault.MISSED,
    Phase.REVEAL,
    Departure.ABSENT,
)


class Shifted(OnceConduct):
    """An aggregate far from the true one, with nobody to cover it up."""

    def aggregate(self, state: State, attempt: Any, inputs: Float32, honest: Float32) -> Float32:
        """Shifted by λ in every coordinate."""
        return honest + np.float32(GRADIENT_CLIP) if self.now(state) else honest


conduct("a shifted aggregate", Shifted, Fault.WRONG_AGGREGATE, Phase.REPORT, 0)


# -- Complaints, evidence, accusations --------------------------------------------------------------------


def noting(notices: Callable[[Tamper], Notices]) -> Change:
    """The honest message with other notices, as a worker that then announces no aggregate."""

    def altered(tamper: Tamper, message: Any) -> Any:
        if isinstance(message, Aggregate):
            return Aggregate(None, notices(tamper)) if message.aggregate_hash else None
        return replace(message, notices=notices(tamper))

    return say(altered)


def complaint(about: Callable[[Tamper], bytes]) -> Change:
    """A complaint about somebody."""
    return noting(lambda tamper: Notices((about(tamper),)))


for phase in AGREED:
    case(
        f"a lie in {phase.name} about what somebody owed",
        {phase: complaint(lambda tamper: tamper.honest_peers[0])},
        Fault.WITHHELD,
        how=Departure.ELIMINATED,
    )
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
    "a lie beside an announced aggregate",
    {
        Phase.AGGREGATE: say(
            lambda tamper, message: (
                message.aggregate_hash and replace(message, notices=Notices((tamper.honest_peers[0],)))
            )
        )
    },
    Fault.WITHHELD,
    how=Departure.ELIMINATED,
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


EVIDENCE: dict[str, Callable[[Tamper], Proof]] = {
    "that proves nothing": lambda tamper: (received_headers(tamper)[0],),
    "with a forged signature": lambda tamper: (replace(received_headers(tamper)[0], body_hash=bytes(32)),),
    "of another run": lambda tamper: (replace(received_headers(tamper)[0], run=bytes(32), body_hash=bytes(32)),),
}


def attaching(proof: Callable[[Tamper], Proof]) -> Callable[[Tamper], Notices]:
    """Notices with one piece of evidence."""
    return lambda tamper: Notices((), (proof(tamper),))


for name, proof in EVIDENCE.items():
    case(
        f"evidence {name}",
        {Phase.AGGREGATE: noting(attaching(proof))},
        Fault.FALSE_NOTICE,
    )
case(
    "evidence in REVEAL that proves nothing",
    {Phase.REVEAL: noting(attaching(lambda tamper: (received_headers(tamper)[0],)))},
    Fault.FALSE_NOTICE,
)
case(
    "evidence of a part in COMMIT",
    {Phase.COMMIT: noting(attaching(lambda tamper: (own_header(tamper),)))},
    Fault.FALSE_NOTICE,
)


def own_header(tamper: Tamper) -> Any:
    """A signed header that I made up."""
    slot = Slot(tamper.start, 0, Phase.SCATTER, 0)
    return seal(tamper.identity, tamper.swarm.genesis.run, slot, bytes(32), b"made up").signed_header


def versions(tamper: Tamper, slot: Slot | None = None) -> Proof:
    """Two versions that I signed for one slot."""
    here = slot or Slot(tamper.start, 0, Phase.COMMIT)
    run = tamper.swarm.genesis.run
    return proof_of(*(seal(tamper.identity, run, here, bytes(32), body) for body in (b"one", b"other")))


def proof_of(*made: Envelope) -> Proof:
    """Evidence from these messages, in order of digest."""
    return tuple(sorted((envelope.signed_header for envelope in made), key=lambda header: header.digest))


def framing(tamper: Tamper) -> Proof:
    """Two versions in the name of an honest peer, with my signatures."""
    headers = (replace(header, sender=tamper.honest_peers[0]) for header in versions(tamper))
    return tuple(sorted(headers, key=lambda header: header.digest))


for phase in AGREED:
    case(
        f"two versions of its own, shown in {phase.name}",
        {phase: noting(attaching(versions))},
        Fault.EQUIVOCATION,
    )
    case(f"two forged versions in {phase.name}", {phase: noting(attaching(framing))}, Fault.FALSE_NOTICE)
PAIRS: dict[str, tuple[Callable[[Tamper], Proof], Fault]] = {
    "of two slots": (
        lambda tamper: proof_of(
            *(
                seal(tamper.identity, tamper.swarm.genesis.run, Slot(0, 0, Phase.COMMIT, part), bytes(32), b"")
                for part in range(2)
            )
        ),
        Fault.FALSE_NOTICE,
    ),
    "of another run": (
        lambda tamper: proof_of(
            *(seal(tamper.identity, bytes(32), Slot(0, 0, Phase.COMMIT), bytes(32), body) for body in (b"", b"x"))
        ),
        Fault.FALSE_NOTICE,
    ),
    "of which one is forged": (
        lambda tamper: (versions(tamper)[0], replace(versions(tamper)[1], signature=bytes(64))),
        Fault.FALSE_NOTICE,
    ),
    "out of order": (lambda tamper: versions(tamper)[::-1], Fault.MALFORMED),
    "that are the same": (lambda tamper: (versions(tamper)[0],) * 2, Fault.MALFORMED),
    "and a third": (lambda tamper: (*versions(tamper), versions(tamper)[1]), Fault.MALFORMED),
    "of which none is there": (lambda tamper: (), Fault.MALFORMED),
}
for name, (proof, fault) in PAIRS.items():
    case(f"two versions {name}", {Phase.REVEAL: noting(attaching(proof))}, fault)


def echo_of(tamper: Tamper, digests: Sequence[bytes | None] | None = None, **changes: Any) -> Envelope:
    """My echo of the last agreed phase: by default one that contradicts every message."""
    heard = tamper.swarm.simulation.seats[tamper.honest_peers[0]]
    last = tamper.swarm.records[heard.id][-1]
    said = Echo((bytes(32),) * len(last.entries) if digests is None else tuple(digests))
    envelope = seal(tamper.identity, tamper.swarm.genesis.run, last.slot.echo, bytes(32), encode(said.to_item()))
    return tamper.reseal(envelope, **changes) if changes else envelope


def showing(echo: Callable[[Tamper], Envelope]) -> Change:
    """The honest message with an echo attached."""
    return say(lambda tamper, message: replace(message, notices=Notices((), (), (echo(tamper),))))


for phase in AGREED:
    case(f"an echo that it does not explain in {phase.name}", {phase: showing(echo_of)}, Fault.UNEXPLAINED_ECHO)
ECHOES: dict[str, Callable[[Tamper], Envelope]] = {
    "of an earlier phase": lambda tamper: echo_of(tamper, slot=Slot(0, 0, Phase.COMMIT, 1)),
    "that is a message": lambda tamper: echo_of(tamper, slot=echo_of(tamper).slot._replace(part=0)),
    "of another run": lambda tamper: echo_of(tamper, run=bytes(32)),
    "of too few peers": lambda tamper: echo_of(tamper, [None]),
    "of too many peers": lambda tamper: echo_of(tamper, [None] * 7),
    "that cannot be read": lambda tamper: tamper.reseal(echo_of(tamper), b"\xff"),
    "with a forged signature": lambda tamper: replace(echo_of(tamper), signature=bytes(64)),
    "in an honest peer's name": lambda tamper: replace(echo_of(tamper), sender=tamper.honest_peers[0]),
    "of a stranger": lambda tamper: seal(
        STRANGER, tamper.swarm.genesis.run, echo_of(tamper).slot, bytes(32), echo_of(tamper).body
    ),
}
for name, echo in ECHOES.items():
    case(f"an echo {name}", {Phase.REVEAL: showing(echo)}, Fault.FALSE_NOTICE)
case(
    "too many echoes",
    {
        Phase.REVEAL: say(
            lambda tamper, message: replace(message, notices=Notices((), (), (echo_of(tamper),) * (MAX_ECHOES + 1)))
        )
    },
    Fault.MALFORMED,
)
case(
    "an echo explained by a lie",
    {
        Phase.REVEAL: say(
            lambda tamper, message: replace(
                message, notices=Notices((tamper.honest_peers[0],), (), (missing_first(tamper),))
            )
        )
    },
    Fault.WITHHELD,
    how=Departure.ELIMINATED,
)


def missing_first(tamper: Tamper) -> Envelope:
    """My echo that lacks the message of the first honest peer."""
    last = tamper.swarm.records[tamper.honest_peers[0]][-1]
    heard = (entry and (None if entry.sender == tamper.honest_peers[0] else entry) for entry in last.entries)
    return echo_of(tamper, [entry and entry.signed_header.digest for entry in heard])


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
    Fault.WITHHELD,
    how=Departure.ELIMINATED,
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
    """Reports about another aggregate: every number is wrong, and possible. It waits for a step in which C2 and C3
    do not see it, whose directions are then those that it needs: so only C1 finds it."""

    def report(self, state: State, transcript: Transcript, honest: Float64) -> Float64:
        """Zeros: as if its gradient were the aggregate."""
        lie = np.zeros_like(honest)
        return lie if self.unseen(state, transcript, lie) and self.now(state) else honest

    def unseen(self, state: State, transcript: Transcript, lie: Float64) -> bool:
        """Whether no part fails a public check: a rushing peer knows what the others are about to report."""
        said = {worker: self.seating.world.message_of(worker) for worker in transcript.workers}
        reports = [message.matrix() if isinstance(message, Report) else lie for message in said.values()]
        return not failing_parts(replace(transcript, reports=np.stack(reports)), state.config)


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


# -- Occasions ------------------------------------------------------------------------------------------


def acted_in(behaviour: Behaviour, run: Swarm, index: int) -> int | None:
    """The step in which a peer misbehaved, None if it found no occasion."""
    if isinstance(behaviour, Tamper):
        return behaviour.step if behaviour.acted else None
    conduct = run.simulation.conducts[run.roster[index]]
    return conduct.step if isinstance(conduct, OnceConduct) else None


def first_occasion(case: Case, index: int, start: int = 1, **changes: Any) -> tuple[Swarm, int]:
    """A finished run in which peer ``index`` found an occasion for ``case``, and the step: not in every run is it
    drawn for the role that it needs. ``changes`` are fields of ``Configuration``."""
    for seed in range(3, 30):
        behaviour = case.make(start)
        run = played({index: behaviour}, seed=seed, **changes)
        step = acted_in(behaviour, run, index)
        if step is not None:
            return run, step
    raise LookupError(f"no occasion for {case}")
