"""Faulty implementations: the reference as an implementation under test, with one mistake that an implementer makes.

``python -m btard_adversary.faulty_peers NAME`` answers the requests of ``btard conform`` (chapter ``conformance``);
without a name it lists the mistakes. Each replaces one function of the reference, so that the oracle can be asked
whether it finds the mistake and names the requirement that it breaks.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from btard.conformance.reference_peer import Program, Seat, main
from btard.conformance.vectors.files import load_operations
from btard.network.node import Node
from btard.protocol.arithmetic import admissible_gradient
from btard.protocol.bans import Departures
from btard.protocol.broadcast import Offer, Timing
from btard.protocol.butterfly_clip import clip
from btard.protocol.channel import ComputeGradient
from btard.protocol.encoding import MAP, Malformed, encode, head, tagged_hash, text
from btard.protocol.identity import GROUP_ORDER
from btard.protocol.log import Subject, Trial
from btard.protocol.majority_vote import packed_length
from btard.protocol.messages import Envelope, Notices
from btard.protocol.model import BTARD, MAJORITY_VOTE, PROFILES, REDUNDANT_CODE, ProtocolError
from btard.protocol.mprng import uint64
from btard.protocol.state import Voided, plan_step
from btard.protocol.step import accusers_of, may_accuse, prepare
from btard.protocol.update import OptimizerState
from nacl.bindings import (
    crypto_core_ed25519_add,
    crypto_core_ed25519_scalar_reduce,
    crypto_scalarmult_ed25519_base_noclamp,
    crypto_scalarmult_ed25519_noclamp,
)

from btard_adversary.variants import Variant

CATALOGUE: dict[str, Variant] = {}
"""Every mistake by name."""

Make = Callable[[Any], Any]


def mistake(target: str, bends: str, *profiles: str) -> Callable[[Make], Make]:
    """Enter a mistake into the catalogue, under its function's name; ``profiles``: where it shows, if not in all."""

    def enter(make: Make) -> Make:
        name = make.__name__.replace("_", "-")
        summary = (make.__doc__ or "").strip().rstrip(".")
        CATALOGUE[name] = Variant(name, target, make, bends, summary, profiles or PROFILES)
        return make

    return enter


# -- Encoding ------------------------------------------------------------------------------------------


@mistake(".encoding:tagged_hash", "ENC-1")
def hash_without_domain(original: Any) -> Any:
    """The tag is left out of every hash."""
    import hashlib

    return lambda tag, *parts: hashlib.sha256(b"".join(parts)).digest()


@mistake(".encoding:write_container", "ENC-4")
def keys_by_name(original: Any) -> Any:
    """The keys of a map are sorted as text, not by their encodings, of which the shorter come first."""

    def write_container(item: Any, emit: Any, depth: int) -> None:
        if not isinstance(item, dict):
            original(item, emit, depth)
            return
        emit(head(MAP, len(item)))
        for key in sorted(item):
            emit(text(key) + encode(item[key]))

    return write_container


@mistake(".encoding:read_argument", "ENC-8")
def long_forms_read(original: Any) -> Any:
    """Lengths and integers are read in whatever form they come, as CBOR libraries do."""

    def read_argument(data: bytes, position: int, form: int) -> tuple[int, int]:
        end = position + (1 << (form - 24))
        if end > len(data):
            raise Malformed("the bytes end inside an item")
        return int.from_bytes(data[position:end], "big"), end

    return read_argument


@mistake(".encoding:decode", "ENC-6")
def rest_ignored(original: Any) -> Any:
    """What follows the item is not looked at."""
    from btard.protocol.encoding import ANYTHING, Oversized, read_item

    def decode(data: bytes, limit: int, shape: Any = ANYTHING) -> Any:
        if len(data) > limit:
            raise Oversized("too long")
        return read_item(data, 0, shape)[0]

    return decode


# -- Identity ------------------------------------------------------------------------------------------


@mistake(".identity:equation_holds", "ID-6")
def cofactor(original: Any) -> Any:
    """A signature's equation is multiplied by the cofactor, as batch verifiers do."""
    from hashlib import sha512

    def eightfold(point: bytes) -> bytes:
        for _ in range(3):
            point = crypto_core_ed25519_add(point, point)
        return point

    def equation_holds(key: bytes, message: bytes, signature: bytes) -> bool:
        commitment, response = signature[:32], signature[32:]
        challenge = crypto_core_ed25519_scalar_reduce(sha512(commitment + key + message).digest())
        try:
            left = crypto_scalarmult_ed25519_base_noclamp(response)
            right = crypto_core_ed25519_add(commitment, crypto_scalarmult_ed25519_noclamp(challenge, key))
            return eightfold(left) == eightfold(right)
        except Exception:  # no point of the curve
            return False

    return equation_holds


@mistake(".identity:verify", "ID-5")
def response_reduced(original: Any) -> Any:
    """The second half of a signature is taken modulo L instead of being refused above it."""

    def verify(peer_id: bytes, digest: bytes, signature: bytes) -> bool:
        response = int.from_bytes(signature[32:], "little") % GROUP_ORDER
        whole = len(signature) == 64
        return whole and bool(original(peer_id, digest, signature[:32] + response.to_bytes(32, "little")))

    return verify


# -- Arithmetic ----------------------------------------------------------------------------------------


@mistake(".arithmetic:fold", "ARITH-1", BTARD, REDUNDANT_CODE)
def summed_from_left_to_right(original: Any) -> Any:
    """Sums are added up entry by entry instead of being folded."""

    def fold(work: Any) -> Any:
        return np.add.accumulate(work, axis=-1)[..., -1] + 0.0 if work.shape[-1] else original(work)

    return fold


@mistake(".arithmetic:dot", "ARITH-2", BTARD, REDUNDANT_CODE)
def products_in_float32(original: Any) -> Any:
    """Inner products are multiplied in float32 where float64 is due."""

    def dot(left: Any, right: Any) -> Any:
        products = np.asarray(left, dtype=np.float32) * np.asarray(right, dtype=np.float32)
        return original(products, np.ones(1))

    return dot


@mistake(".arithmetic:lower_median", "ARITH-3", BTARD)
def middle_of_two(original: Any) -> Any:
    """The median of an even count is the mean of the two in the middle, as libraries have it."""
    return lambda values: np.asarray(np.median(np.asarray(values, dtype=np.float64), axis=-1))


@mistake(".messages:Report.of", "ARITH-5", BTARD, REDUNDANT_CODE)
def numbers_big_endian(original: Any) -> Any:
    """Reported numbers are written in network byte order."""
    return lambda cls, inner_products, norms: original(cls, inner_products.byteswap(), norms.byteswap())


# -- Messages and log ----------------------------------------------------------------------------------


@mistake(".messages:message_digest", "MSG-1")
def header_before_body(original: Any) -> Any:
    """What is signed is the hash of header and body hash, in that order."""
    from btard.protocol.messages import header_item

    def message_digest(run: bytes, slot: Any, sender: bytes, log_head: bytes, hashed_body: bytes) -> bytes:
        return tagged_hash("btard/message", encode(header_item(run, slot, sender, log_head)), hashed_body)

    return message_digest


@mistake(".log:Record.head_after", "LOG-3")
def signatures_in_the_chain(original: Any) -> Any:
    """The log's chain covers whole messages, signatures included."""
    return lambda self, log_head: tagged_hash("btard/log", log_head, self.encode())


@mistake(".messages:SignedHeader.authentic", "MSG-2")
def signatures_unchecked(original: Any) -> Any:
    """Nobody's signature is looked at."""
    return lambda header: True


# -- Shared randomness ---------------------------------------------------------------------------------


@mistake(".mprng:private_opening", "MPRNG-1")
def share_of_the_first_attempt(original: Any) -> Any:
    """A retry opens what was opened before."""
    return lambda secret, run, step, attempt: original(secret, run, step, 0)


@mistake(".mprng:combine", "MPRNG-4")
def salts_mixed_in(original: Any) -> Any:
    """The last 32 bytes of every opening enter the randomness instead of the first."""
    return lambda openings: original(opening[32:] for opening in openings)


@mistake(".mprng:by_lot", "MPRNG-7")
def lots_little_endian(original: Any) -> Any:
    """Lots are compared as little-endian numbers."""

    def by_lot(label: str, randomness: bytes, step: int, peers: Any) -> list[bytes]:
        def lot(peer: bytes) -> bytes:
            return tagged_hash(label, randomness, uint64(step), peer)[::-1]

        return sorted(peers, key=lot)

    return by_lot


@mistake(".mprng:direction", "MPRNG-9", BTARD, REDUNDANT_CODE)
def directions_big_endian(original: Any) -> Any:
    """The entries of a direction are read in network byte order."""
    return lambda randomness, part, length: original(randomness, part, length).byteswap()


# -- Clipping, update ----------------------------------------------------------------------------------


@mistake(".butterfly_clip:partition", "CLIP-1")
def last_part_takes_the_rest(original: Any) -> Any:
    """All parts have ⌊d/w⌋ coordinates, and the last one has the rest, too."""

    def partition(dimension: int, workers: int) -> Any:
        edges = [k * (dimension // workers) for k in range(workers)] + [dimension]
        return tuple(slice(low, high) for low, high in pairwise(edges))

    return partition


@mistake(".butterfly_clip:next_radii", "CLIP-3", BTARD)
def radii_unlimited(original: Any) -> Any:
    """A clipping radius may grow by more than half in a step."""

    def next_radii(previous: Any, bounds: Any, factor: float, least: float, most: float) -> Any:
        return original(replace(previous, radii=np.full_like(previous.radii, 1e100)), bounds, factor, least, most)

    return next_radii


@mistake(".butterfly_clip:centered_clip", "CLIP-5", BTARD)
def three_rounds_of_clipping(original: Any) -> Any:
    """CenteredClip is stopped after three rounds from the mean, as in its paper, however far it has come."""

    def centered_clip(vectors: Any, radius: float, tolerance: float) -> Any:
        center = vectors.mean(axis=0, dtype=np.float64)
        for _ in range(3):
            center = center + clip(vectors - center, radius).mean(axis=0)
        return center.astype(np.float32)

    return centered_clip


@mistake(".update:Sgd.update", "UPD-1")
def update_in_float64(original: Any) -> Any:
    """The update is computed in float64 and rounded once."""

    def update(self: Any, parameters: Any, aggregate: Any, state: OptimizerState) -> Any:
        momentum = state.momentum.astype(np.float64) * self.momentum + aggregate
        updated = parameters - self.schedule.rate(state.count) * momentum
        return updated.astype(np.float32), replace(
            state, count=state.count + 1, momentum=momentum.astype(np.float32)[: len(state.momentum)]
        )

    return update


@mistake(".update:state_hash", "UPD-8")
def optimizer_not_hashed(original: Any) -> Any:
    """The state hash covers the parameters, and not what the optimizer remembers."""
    nothing = np.zeros(0, dtype=np.float32)
    return lambda parameters, state: original(parameters, OptimizerState(state.count, nothing, nothing))


# -- Verification and bans -----------------------------------------------------------------------------


@mistake(".verification:measure", "VER-1", BTARD)
def clipped_norms_reported(original: Any) -> Any:
    """The norm after clipping is reported."""

    def measure(vectors: Any, centers: Any, direction: Any, radii: Any) -> Any:
        products, norms = original(vectors, centers, direction, radii)
        return products, np.minimum(norms, radii)

    return measure


@mistake(".verification:c3_holds", "VER-4", BTARD)
def near_reports_of_b(original: Any) -> Any:
    """As many near reports as there may be liars are enough: one too few."""
    return lambda transcript, part, ratio: original(
        replace(transcript, tolerated=transcript.tolerated - 1), part, ratio
    )


@mistake(".step:CommitRules.charges", "BAN-8", BTARD)
def trials_as_they_come(original: Any) -> Any:
    """The accused are tried in the order in which the accusations stand in the messages."""

    def charges(self: Any, state: Any, attempt: Any, delivered: Any) -> Any:
        heard = accusers_of(delivered, lambda sender, accusation: may_accuse(state, attempt, sender, accusation))
        places = [Trial(accusation.step, accusation.accused, Subject.WORKER) for accusation in heard]
        ordered = original(self, state, attempt, delivered)
        return sorted(ordered, key=lambda charge: places.index(charge.trial) if charge.trial in places else len(places))

    return charges


@mistake(".step:RevealRules.fault", "MPRNG-3")
def openings_unchecked(original: Any) -> Any:
    """An opening need not match its commitment."""
    from btard.protocol.bans import Fault

    def fault(*arguments: Any) -> Any:
        found = original(*arguments)
        return None if found is Fault.WRONG_OPENING else found

    return fault


@mistake(".judging:settle_complaints", "BAN-3")
def only_the_accused_leaves(original: Any) -> Any:
    """A complaint removes the accused, and the complainer stays."""

    def settle(state: Any, delivered: Any, departures: Departures) -> None:
        before = set(state.roster)
        original(state, delivered, departures)
        complainers = {sender for sender, message in delivered.items() if message.notices.complaints} & before
        departures.removals = [
            removal
            for removal in departures.removals
            if removal.partner is None or removal.peer not in complainers or removal.partner in complainers
        ]

    return settle


@mistake(".bans:tolerance_lost", "BAN-4")
def every_departure_counts(original: Any) -> Any:
    """Of an eliminated pair both are taken off b."""
    return lambda removals: len(list(removals))


# -- Agreed broadcast ----------------------------------------------------------------------------------


@mistake(".broadcast:Ballot.complete", "BCAST-2")
def echo_after_all_but_b(original: Any) -> Any:
    """The echo is sent when the messages of n - b peers are here, as asynchronous protocols do."""
    return lambda self: len(self.messages) >= len(self.place.roster) - self.place.tolerated


@mistake(".broadcast:Ballot.certified", "BCAST-4")
def certificate_without_one(original: Any) -> Any:
    """The echoes of n - 1 peers are a certificate."""
    return lambda self: len(self.certificate) >= len(self.place.roster) - 1


@mistake(".broadcast:majority", "BCAST-6")
def majority_of_the_heard(original: Any) -> Any:
    """A message needs the majority of the echoes that name one, not of all peers."""

    def majority(column: Any, peers: int) -> Any:
        named = [digest for digest in column if digest is not None]
        return original(named, len(named)) if named else None

    return majority


@mistake("btard.network.node:Node.send", "BCAST-5")
def no_offer(original: Any) -> Any:
    """Whoever holds a certificate keeps it to itself until it is asked."""
    return lambda self, effect: None if isinstance(effect.frame, Offer) else original(self, effect)


@mistake(".broadcast:Ballot.in_time", "BCAST-7")
def late_relays_accepted(original: Any) -> Any:
    """An echo is accepted until the end of the phase, however few have signed it."""
    return lambda self, signatures, now: True


@mistake(".broadcast:Ballot.miss_echoes", "BCAST-8")
def missing_echoes_forgiven(original: Any) -> Any:
    """Nobody complains about an echo that did not come."""
    return lambda self: None


@mistake(".broadcast:keep_version", "BCAST-9")
def first_version_only(original: Any) -> Any:
    """Of several versions of a message only the first is kept."""
    return lambda kept, envelope, most=1: original(kept, envelope, 1)


# -- Exchange and node ---------------------------------------------------------------------------------


@mistake(".exchange:Inbox.take", "EXCH-2")
def first_content_wins(original: Any) -> Any:
    """The first content of a sender is kept, whatever it announced."""

    def take(self: Any, envelope: Envelope) -> None:
        if envelope.sender not in self.received:
            original(self, envelope)

    return take


@mistake(".exchange:exchange", "EXCH-1")
def parts_awaited_for_a_delay(original: Any) -> Any:
    """A peer waits for parts as long as one delay takes, and forgets that others may have started later."""

    def exchange(inbox: Any, sends: Any, timing: Any, ready: float) -> Any:
        return original(inbox, sends, Timing(timing.delay / 4, timing.gradient), ready)

    return exchange


@mistake(".agreed:work_before", "BCAST-3")
def one_gradient_for_every_phase(original: Any) -> Any:
    """Deadlines count the time of one gradient before each message, in Commit, too."""
    return lambda state, slot: 1


@mistake("btard.network.node:Node.begin", "NODE-1")
def deadlines_from_the_phase(original: Any) -> Any:
    """Deadlines count from the moment in which the peer begins the phase."""

    def begin(self: Node, now: float, request: Any) -> None:
        self.ready = now
        original(self, now, request)

    return begin


@mistake("btard.network.node:Node.keep_early", "LIM-9")
def early_frames_dropped(original: Any) -> Any:
    """A frame of a phase that is yet to come is thrown away."""
    return lambda self, arrival, cost: None


@mistake("btard.network.node:Node.look_back", "NODE-2")
def past_phases_forgotten(original: Any) -> Any:
    """Whoever asks about a phase that is over gets no answer."""

    def look_back(self: Node, arrival: Any) -> None:
        if isinstance(arrival.frame, Envelope):
            original(self, arrival)

    return look_back


# -- Step and membership -------------------------------------------------------------------------------


@mistake(".step:attempt_step", "MPRNG-6")
def new_gradient_in_a_retry(original: Any) -> Any:
    """A retry draws a new batch."""

    def attempt_step(peer: Any, state: Any, plan: Any, work: Any) -> Any:
        if state.attempt and work.gradient is not None:
            place = uint64(state.step) + uint64(state.attempt)
            seed = tagged_hash("btard/seed", state.run, state.randomness, place, peer.id)
            raw = yield ComputeGradient(state.replica.parameters, state.replica.state_hash, seed)
            work = replace(work, gradient=admissible_gradient(raw, state.config.gradient_clip))
        return (yield from original(peer, state, plan, work))

    return attempt_step


@mistake(".step:training_step", "STEP-2")
def validators_redrawn(original: Any) -> Any:
    """A retry draws the validators among those who are left."""

    def training_step(peer: Any, state: Any) -> Any:
        from btard.protocol.step import Work, attempt_step

        work = None
        while True:
            plan = plan_step(state)
            fresh = yield from prepare(peer, state, plan)
            work = Work(fresh.gradient, ()) if work else fresh
            try:
                return (yield from attempt_step(peer, state, plan, work))
            except Voided as voided:
                state = voided.state

    return training_step


@mistake(".step:matching", "STEP-6")
def mismatch_taken_as_missing(original: Any) -> Any:
    """A part that is not the announced one is complained about, instead of being shown."""

    def matching(*arguments: Any) -> Any:
        contents, notices = original(*arguments)
        liars = tuple(proof[0].sender for proof in notices.evidence)
        return contents, Notices(tuple(sorted({*notices.complaints, *liars})))

    return matching


@mistake(".membership:probation_length", "MEMB-3")
def probation_rounded_down(original: Any) -> Any:
    """Probation is one step shorter than it should be."""
    return lambda peers, tolerated, most: original(peers, tolerated, most) - 1


@mistake(".membership:choose_letters", "MEMB-12")
def letters_not_passed_on(original: Any) -> Any:
    """Letters of candidates are read, and not brought to the others."""
    return lambda state, letters: ()


# -- Majority vote -------------------------------------------------------------------------------------


@mistake(".majority_vote:compared", "SIGN-3", MAJORITY_VOTE)
def ties_are_minus(original: Any) -> Any:
    """Where as many vote for one sign as for the other, the sign is minus."""

    def compared(planes: Any, threshold: int) -> Any:
        more, equal = original(planes, threshold)
        return more, np.zeros_like(equal)

    return compared


@mistake(".majority_vote:null_signs", "SIGN-2", MAJORITY_VOTE)
def null_signs_of_the_first_step(original: Any) -> Any:
    """The sign of a zero is the same in every step."""
    return lambda length, step: original(length, 0)


@mistake(".majority_vote:pack_signs", "SIGN-1", MAJORITY_VOTE)
def padding_bits_set(original: Any) -> Any:
    """The negative entries are packed and turned around, and the bits behind the last entry with them."""

    def pack_signs(vector: Any, step: int) -> Any:
        packed = original(vector, step)
        spare = 8 * packed_length(len(vector)) - len(vector)
        if spare:
            packed[-1] |= 255 << (8 - spare) & 255
        return packed

    return pack_signs


@mistake(".majority_vote:unpack_signs", "SIGN-8", MAJORITY_VOTE)
def minus_is_zero(original: Any) -> Any:
    """A bit that is not set stands for 0 instead of -1."""
    return lambda signs, length: np.unpackbits(signs, count=length, bitorder="little").astype(np.float32)


# -- Redundant code ------------------------------------------------------------------------------------


@mistake(".redundant_code:deal", "CODE-10", REDUNDANT_CODE)
def groups_in_blocks(original: Any) -> Any:
    """The first workers by lot are one group, the next ones another."""

    def deal(workers: Any, size: int) -> Any:
        count = max(1, len(workers) // size)
        return tuple(tuple(group.tolist()) for group in np.array_split(np.array(workers, dtype=object), count))

    return deal


@mistake(".redundant_code:RedundantCode.draw_groups", "CODE-10", REDUNDANT_CODE)
def members_by_id(original: Any) -> Any:
    """The members of a group are in the order of their ids, not of their lots: so they hold other rows."""

    def draw_groups(self: Any, state: Any, workers: Any) -> Any:
        found = original(self, state, workers)
        return replace(found, members=tuple(tuple(sorted(group)) for group in found.members))

    return draw_groups


@mistake(".redundant_code:encode", "CODE-4", REDUNDANT_CODE)
def columns_interleaved(original: Any) -> Any:
    """Column k of a part has every r_c-th number from k on, instead of consecutive ones."""

    def encode(part: Any, coefficients: Any) -> Any:
        compression = len(coefficients)
        filled = np.zeros(-(-len(part) // compression) * compression, np.float32)
        filled[: len(part)] = part
        return original(filled.reshape(-1, compression).T.reshape(-1), coefficients)

    return encode


# -- How it answers ------------------------------------------------------------------------------------


@mistake("btard.conformance.reference_peer:UNSUPPORTED", "CONF-1")
def claims_everything(original: Any) -> Any:
    """What it does not know it answers with an empty object."""
    return {}


@mistake("btard.conformance.reference_peer:Program.answer", "CONF-1")
def talks_between(original: Any) -> Any:
    """It prints what it is doing to its standard output."""

    def answer(self: Program, request: Any) -> Any:
        print(f"got {request['do']}")
        return original(self, request)

    return answer


@mistake("btard.network.node:Node.read", "CONF-5")
def crashes_on_a_bad_frame(original: Any) -> Any:
    """Bytes that are no frame raise an error that nobody catches."""

    def read(self: Node, now: float, sender: bytes, data: bytes) -> None:
        self.decode(data, self.limits.frame, self.limits.items)
        original(self, now, sender, data)

    return read


@mistake("btard.conformance.reference_peer:Seat.act", "CONF-5")
def no_time_is_no_number(original: Any) -> Any:
    """When it need not be woken, the time at which it wants to be is not a number."""

    def act(self: Seat, now: float, action: Any) -> Any:
        return {"wake": float("nan"), **original(self, now, action)}

    return act


@mistake("btard.conformance.reference_peer:Seat.act", "CONF-5")
def hex_in_upper_case(original: Any) -> Any:
    """Bytes are written with upper case digits."""

    def act(self: Seat, now: float, action: Any) -> Any:
        done = original(self, now, action)
        return {**done, "records": [record.upper() for record in done.get("records", [])]}

    return act


@mistake("btard.conformance.reference_peer:serve", "CONF-5")
def silent_on_a_bad_frame(original: Any) -> Any:
    """Bytes that are no frame are ignored, and not answered either."""

    def serve(lines: Any, out: Any) -> None:
        def good() -> Any:
            for line in lines:
                if readable(json.loads(line)):
                    yield line

        original(good(), out)

    return serve


def readable(request: Any) -> bool:
    """Whether a request brings no frame, or one."""
    from btard.protocol.broadcast import decode_frame

    try:
        decode_frame(bytes.fromhex(request.get("frame", "820283000000")), 1 << 28)
    except ProtocolError:
        return False
    return True


@mistake("btard.conformance.reference_peer:Seat.act", "CONF-3")
def woken_after_a_time(original: Any) -> Any:
    """It says how long it wants to sleep, not until when."""

    def act(self: Seat, now: float, action: Any) -> Any:
        done = original(self, now, action)
        return {**done, "wake": done["wake"] - int(now)} if "wake" in done else done

    return act


# -- The program ---------------------------------------------------------------------------------------


def listing() -> str:
    """Every mistake, a line each."""
    width = max(map(len, CATALOGUE))
    return "\n".join(f"{name:{width}}  {one.bends:9} {one.summary}" for name, one in sorted(CATALOGUE.items()))


def program(arguments: list[str]) -> int:
    """List the mistakes, or serve with one of them; the exit code."""
    if not arguments:
        print(listing())
        return 0
    if len(arguments) != 1 or arguments[0] not in CATALOGUE:
        print(f"there is no mistake '{' '.join(arguments)}'; without a name they are listed", file=sys.stderr)
        return 2
    load_operations()  # all that is looked up must be there before it is replaced
    with CATALOGUE[arguments[0]]():
        main()
    return 0


if __name__ == "__main__":
    sys.exit(program(sys.argv[1:]))
