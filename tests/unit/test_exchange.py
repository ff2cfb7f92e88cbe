"""Scatter and Gather under deadlines."""

from __future__ import annotations

from dataclasses import replace

import pytest
from broadcasts import HEAD, KEYS, RUN, TIMING
from btard.protocol.broadcast import Arrival, Listen, Offer, Send
from btard.protocol.channel import Gather, Scatter
from btard.protocol.exchange import Inbox, exchange, gather_exchange, scatter_exchange
from btard.protocol.messages import Envelope, Phase, Slot, body_hash, seal

A, B, C = KEYS[:3]
WORKERS = tuple(key.peer_id for key in KEYS[:3])
HERE = Slot(1, 0, Phase.SCATTER, 0)
BODIES = {B.peer_id: b"bbbb", C.peer_id: b"cccc"}


def part(key: object, body: bytes, slot: Slot = HERE) -> Envelope:
    """A signed part."""
    return seal(key, RUN, slot, HEAD, body)  # type: ignore[arg-type]


def inbox() -> Inbox:
    """What A is to get from B and C."""
    return Inbox(RUN, (HERE, HERE), (B.peer_id, C.peer_id), tuple(body_hash(body) for body in BODIES.values()))


@pytest.mark.requirement("EXCH-1")
def test_it_ends_when_everything_is_here() -> None:
    running = exchange(inbox(), [Send(part(A, b"a"), B.peer_id)], TIMING, ready=10.0)
    assert next(running) == Send(part(A, b"a"), B.peer_id)
    assert running.send(None) == Listen(14.0)
    assert running.send(Arrival(1.0, B.peer_id, part(B, b"bbbb"))) == Listen(14.0)
    assert running.send(Arrival(1.0, B.peer_id, Offer(HERE))) == Listen(14.0)
    with pytest.raises(StopIteration) as end:
        running.send(Arrival(2.0, C.peer_id, part(C, b"cccc")))
    assert end.value.value == {B.peer_id: part(B, b"bbbb"), C.peer_id: part(C, b"cccc")}


@pytest.mark.requirement("EXCH-1")
def test_it_ends_at_the_deadline_with_what_is_here() -> None:
    running = exchange(inbox(), [], TIMING, ready=10.0)
    next(running)
    running.send(Arrival(1.0, C.peer_id, part(C, b"cccc")))
    with pytest.raises(StopIteration) as end:
        running.send(None)
    assert end.value.value == {C.peer_id: part(C, b"cccc")}


@pytest.mark.requirement("EXCH-2")
@pytest.mark.parametrize("bodies", [(b"bbbb", b"x"), (b"x", b"bbbb"), (b"x", b"y", b"bbbb")])
def test_the_announced_content_wins(bodies: tuple[bytes, ...]) -> None:
    box = inbox()
    for body in bodies:
        box.take(part(B, body))
    assert box.received[B.peer_id].body == b"bbbb"


@pytest.mark.requirement("EXCH-2")
def test_other_content_is_kept_as_evidence_if_signed() -> None:
    box = inbox()
    box.take(replace(part(B, b"x"), signature=bytes(64)))
    assert not box.received
    box.take(part(B, b"x"))
    assert box.received[B.peer_id].body == b"x" and not box.settled()


@pytest.mark.requirement("EXCH-2")
def test_what_does_not_belong_is_ignored() -> None:
    box = inbox()
    box.take(part(A, b"bbbb"))
    box.take(part(B, b"bbbb", HERE._replace(part=1)))
    box.take(part(B, b"bbbb", HERE._replace(attempt=1)))
    box.take(replace(part(B, b"bbbb"), run=bytes(32)))
    assert not box.received
    box.take(replace(part(B, b"bbbb"), signature=bytes(64)))  # the announcement was signed
    assert list(box.received) == [B.peer_id]


def test_scatter_names_what_is_owed() -> None:
    envelopes = (None, part(A, b"1", HERE._replace(part=1)), part(A, b"2", HERE._replace(part=2)))
    box, sends = scatter_exchange(Scatter(HERE, WORKERS, envelopes, (b"a", b"b", b"c")), RUN, A.peer_id)
    assert [(send.to, send.frame) for send in sends] == list(zip(WORKERS[1:], envelopes[1:], strict=True))
    assert (box.senders, box.announced, box.slots) == (WORKERS[1:], (b"b", b"c"), (HERE, HERE))


def test_a_peer_without_a_duty_scatters_nothing_and_waits_for_nothing() -> None:
    box, sends = scatter_exchange(Scatter(HERE, WORKERS, (), ()), RUN, KEYS[4].peer_id)
    assert box.settled() and not sends


def test_gather_is_from_every_worker_to_all() -> None:
    slot = Slot(1, 0, Phase.GATHER, 1)
    mine = part(B, b"agg", slot)
    box, sends = gather_exchange(Gather(slot, WORKERS, mine, (b"a", b"b", b"c")), RUN, B.peer_id)
    assert sends == [Send(mine)]
    assert (box.senders, box.announced) == ((A.peer_id, C.peer_id), (b"a", b"c"))
    assert [entry.part for entry in box.slots] == [0, 2]
    validator, none = gather_exchange(Gather(slot, WORKERS, None, (b"a", b"b", b"c")), RUN, KEYS[4].peer_id)
    assert validator.senders == WORKERS and not none
