"""A peer on real clocks: a :class:`~btard.network.node.Node` over TCP (chapter ``clocks``).

Every ordered pair of peers has one connection, dialled by the sender: frames go one way, acknowledgements the
other. A handshake binds it to both peers' keys. What was not acknowledged when a connection breaks is sent again
over the next one, so a break that heals within Δ loses nothing.
"""

from __future__ import annotations

import asyncio
import logging
import os
import struct
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

import numpy as np

from btard.network.node import Node
from btard.network.simulator import Oracle
from btard.protocol.broadcast import encode_frame
from btard.protocol.channel import AppendRecord, CollectLetters, ComputeGradient, FetchContent, Request, StepApplied
from btard.protocol.encoding import tagged_hash
from btard.protocol.identity import Identity, verify
from btard.protocol.log import Record
from btard.protocol.model import PeerId, ProtocolError, Roster
from btard.protocol.state import State

Address = tuple[str, int]
"""Host and port."""

HOST = "127.0.0.1"
HANDSHAKE_TIME = 5.0
"""Seconds within which a connection must have shown whose it is."""
PENDING = 64
"""Connections that may be in their handshake; one more ends the oldest."""
PATIENCE = 10.0
"""Seconds after which a peer is ready to start although it has no link to some others."""
FIRST_RETRY = 0.01
"""Seconds until a broken connection is dialled again; doubles up to Δ/4."""

ID, NONCE, SIGNATURE, SESSION = 32, 32, 64, 16
HEADER = struct.Struct(">QI")
"""Before every frame: its number in the session, from 1, and its length."""
COUNT = struct.Struct(">Q")
"""The number of the last frame that arrived."""
START = b"R"
"""First byte of a list of start signatures; no frame begins with it."""
START_LISTS = 2
"""Start lists that a peer sends in one session: its own signature, and all of them when it starts."""

log = logging.getLogger(__name__)
Result = TypeVar("Result")


class Refused(ProtocolError):
    """A connection that this peer does not keep; the text says why."""


# -- Handshake --------------------------------------------------------------------------------


def challenge(run: bytes, role: bytes, dialler: PeerId, acceptor: PeerId, *nonces: bytes) -> bytes:
    """What the end of a connection in this ``role`` signs: both ids and both nonces, 32 bytes. Source: CLOCK-6."""
    return tagged_hash("btard/link", run, role, dialler, acceptor, *nonces)


async def dial(address: Address, identity: Identity, run: bytes, peer: PeerId, session: bytes) -> Stream:
    """Connect to ``peer`` and prove who I am. Raises :class:`Refused`, OSError."""
    reader, writer = await asyncio.open_connection(*address)
    stream = Stream(reader, writer)
    try:
        mine = os.urandom(NONCE)
        writer.write(identity.peer_id + mine + session)
        theirs, signature = await stream.read(NONCE), await stream.read(SIGNATURE)
        nonces = mine, theirs, session
        if not verify(peer, challenge(run, b"accept", identity.peer_id, peer, *nonces), signature):
            raise Refused("whoever answers does not have the key")
        writer.write(identity.sign(challenge(run, b"dialup", identity.peer_id, peer, *nonces)))
    except BaseException:
        stream.close()
        raise
    return stream


async def accept(stream: Stream, identity: Identity, run: bytes, roster: Roster) -> tuple[PeerId, bytes]:
    """Find out who dialled: a peer and its session. Raises :class:`Refused`, and what a broken connection raises."""
    peer, theirs, session = await stream.read(ID), await stream.read(NONCE), await stream.read(SESSION)
    if peer not in roster or peer == identity.peer_id:
        raise Refused("it is no peer of this run")
    mine = os.urandom(NONCE)
    nonces = theirs, mine, session
    stream.writer.write(mine + identity.sign(challenge(run, b"accept", peer, identity.peer_id, *nonces)))
    signature = await stream.read(SIGNATURE)
    if not verify(peer, challenge(run, b"dialup", peer, identity.peer_id, *nonces), signature):
        raise Refused("it does not have the key")  # requirement: CLOCK-6
    return peer, session


class Stream:
    """One TCP connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def read(self, length: int) -> bytes:
        """Exactly so many bytes; raises IncompleteReadError at the end."""
        return await self.reader.readexactly(length)

    async def read_count(self) -> int:
        """An acknowledgement."""
        number: int = COUNT.unpack(await self.read(COUNT.size))[0]
        return number

    def close(self) -> None:
        """End it at once."""
        self.writer.transport.abort()


BROKEN = (OSError, asyncio.IncompleteReadError, TimeoutError)
"""What a connection raises when it is over."""


# -- To one peer ------------------------------------------------------------------------------


class Outgoing:
    """Frames on their way to one peer: sent in order, kept until they are acknowledged, at most ``room`` bytes."""

    def __init__(self, peer: PeerId, room: int) -> None:
        self.peer, self.room = peer, room
        self.session = os.urandom(SESSION)
        self.frames: deque[tuple[int, bytes]] = deque()
        """Numbers and bytes of what is not acknowledged, in order."""
        self.size = 0
        self.last = 0
        """The number of the last frame that was put in."""
        self.dropped = 0
        """Frames given up because the peer takes too little."""
        self.more = asyncio.Event()
        self.connected = asyncio.Event()

    def put(self, data: bytes) -> None:
        """Send ``data``. If there is no room, the oldest frames are given up: the peer is beyond Δ. Source: CLOCK-8."""
        self.last += 1
        self.frames.append((self.last, data))
        self.size += len(data)
        while self.size > self.room and len(self.frames) > 1:  # requirement: CLOCK-8
            self.dropped += 1
            self.forget()
        self.more.set()

    def forget(self) -> None:
        """Let go of the oldest frame."""
        self.size -= len(self.frames.popleft()[1])

    def acknowledged(self, number: int) -> None:
        """The peer has everything up to ``number``."""
        while self.frames and self.frames[0][0] <= number:
            self.forget()

    async def keep_connected(self, connect: Callable[[], Awaitable[Stream]], slowest: float) -> None:
        """Carry frames for ever, over one connection after the other. Source: CLOCK-7."""
        pause = FIRST_RETRY
        while True:
            with suppress(*BROKEN, Refused):
                async with asyncio.timeout(HANDSHAKE_TIME):
                    stream = await connect()
                try:
                    async with asyncio.timeout(HANDSHAKE_TIME):
                        self.acknowledged(await stream.read_count())
                    self.connected.set()
                    pause = FIRST_RETRY
                    await first_failure(self.write(stream), self.read_counts(stream))
                finally:
                    stream.close()
            await asyncio.sleep(pause)
            pause = min(2 * pause, slowest)

    async def write(self, stream: Stream) -> None:
        """Send what is not acknowledged, then what comes."""
        sent = 0
        while True:
            self.more.clear()
            for number, data in [entry for entry in self.frames if entry[0] > sent]:  # requirement: CLOCK-7
                stream.writer.write(HEADER.pack(number, len(data)) + data)
                await stream.writer.drain()
                sent = number
            await self.more.wait()

    async def read_counts(self, stream: Stream) -> None:
        """Take in acknowledgements."""
        while True:
            self.acknowledged(await stream.read_count())


async def first_failure(*parts: Awaitable[None]) -> None:
    """Run ``parts`` side by side until one of them fails; the others are cancelled. Raises what it raised."""
    tasks = [asyncio.ensure_future(part) for part in parts]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
    finally:
        await end(tasks)


async def end(tasks: list[asyncio.Task[None]]) -> None:
    """Cancel ``tasks`` and wait until they have ended."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


# -- From everyone ----------------------------------------------------------------------------


class Door:
    """Accepts connections of the peers of a run, one for each, and hands on what they bring."""

    def __init__(self, identity: Identity, run: bytes, roster: Roster, limit: int) -> None:
        self.identity, self.run, self.roster, self.limit = identity, run, roster, limit
        self.bring: Callable[[PeerId, bytes], None] = lambda peer, data: None
        self.tasks: set[asyncio.Task[None]] = set()
        self.pending: list[Stream] = []
        """Connections in their handshake, oldest first."""
        self.open: dict[PeerId, Stream] = {}
        self.arrived: dict[PeerId, tuple[bytes, int]] = {}
        """Every peer's session, and the number of the last frame that came in it."""
        self.refused = 0

    def enter(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Somebody has dialled. Too many in their handshake: the oldest has to go."""
        stream = Stream(reader, writer)
        self.pending.append(stream)
        if len(self.pending) > PENDING:  # requirement: CLOCK-10
            self.pending.pop(0).close()
        task = asyncio.ensure_future(self.attend(stream))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def attend(self, stream: Stream) -> None:
        """One connection from its beginning to its end."""
        try:
            async with asyncio.timeout(HANDSHAKE_TIME):
                peer = await self.identify(stream)
            await self.take_frames(peer, stream)
        except Refused as refused:
            self.note(refused)
        except BROKEN:
            pass
        finally:
            self.leave_handshake(stream)
            stream.close()

    def leave_handshake(self, stream: Stream) -> None:
        """The handshake is over, one way or another."""
        if stream in self.pending:
            self.pending.remove(stream)

    async def identify(self, stream: Stream) -> PeerId:
        """The handshake; then this connection is the peer's only one."""
        peer, session = await accept(stream, self.identity, self.run, self.roster)
        self.leave_handshake(stream)
        if peer in self.open:
            self.open[peer].close()
        self.open[peer] = stream
        known, number = self.arrived.get(peer, (session, 0))
        self.arrived[peer] = session, number if known == session else 0
        return peer

    def session_of(self, peer: PeerId) -> bytes:
        """The session in which ``peer`` sends: another one if its process was started again."""
        return self.arrived.get(peer, (b"", 0))[0]

    async def take_frames(self, peer: PeerId, stream: Stream) -> None:
        """Read frames until the connection ends; each number once. Raises :class:`Refused` for one too long."""
        session = self.arrived[peer][0]
        while True:
            stream.writer.write(COUNT.pack(self.arrived[peer][1]))
            await stream.writer.drain()
            number, length = HEADER.unpack(await stream.read(HEADER.size))
            if length > self.limit:
                raise Refused(f"peer {peer.hex()[:8]} announced {length} bytes")  # requirement: CLOCK-9
            data = await stream.read(length)
            current, last = self.arrived[peer]
            if current != session:
                return
            if number > last:
                self.arrived[peer] = session, number
                self.bring(peer, data)  # raises Refused if this peer could not keep it: then it is not acknowledged
            await asyncio.sleep(0)  # the other links' turn

    def note(self, refused: Refused) -> None:
        """Count a refusal; a line for the 1st, 2nd, 4th, 8th, …, so that a flood does not fill the log."""
        self.refused += 1
        if self.refused & (self.refused - 1) == 0:
            log.warning("refused a connection, %d so far: %s", self.refused, refused)


# -- The peer ---------------------------------------------------------------------------------


class SocketPeer:
    """Runs ``node`` in real time; ``oracle`` evaluates gradients, in a thread of its own.

    ``tolerated`` is b; ``record`` is called with every record before anything that follows from it is sent.
    """

    def __init__(
        self, node: Node, roster: Roster, tolerated: int, oracle: Oracle, record: Callable[[Record], None]
    ) -> None:
        self.node, self.roster, self.tolerated, self.oracle, self.record = node, roster, tolerated, oracle, record
        self.state: State | None = None
        """The state after the last step."""
        self.patience = PATIENCE
        self.door = Door(node.identity, node.run, roster, max(node.limits.frame, len(START) + len(roster) * 96))
        others = [peer for peer in roster if peer != node.id]
        self.links = {peer: Outgoing(peer, node.limits.queue) for peer in others}
        self.signatures: dict[PeerId, bytes] = {}
        """Of those who are ready to start."""
        self.heard: dict[PeerId, tuple[bytes, int]] = {}
        """Every peer's session, and how many start lists came in it."""
        self.started, self.busy = node.begun, False
        self.failure: ProtocolError | None = None
        """What went wrong with this peer itself, if anything did."""
        self.done = asyncio.Event()
        self.alarm: asyncio.TimerHandle | None = None
        self.executor = ThreadPoolExecutor(1)
        self.tasks: list[asyncio.Task[None]] = []
        self.server: asyncio.Server | None = None

    def now(self) -> float:
        """The monotonic clock, in seconds."""
        return asyncio.get_running_loop().time()  # requirement: CLOCK-1

    async def listen(self, port: int = 0) -> Address:
        """Open the door, on any free port; returns where."""
        self.door.bring = self.take
        self.server = await asyncio.start_server(self.door.enter, HOST, port)
        address: Address = self.server.sockets[0].getsockname()[:2]
        return address

    async def run(self, addresses: Mapping[PeerId, Address]) -> State:
        """Take part in the run until it ends, and for as long as others may still ask. Raises the error that
        ended it for this peer."""
        try:
            for peer, link in self.links.items():
                self.spawn(link.keep_connected(self.dialler(addresses[peer], peer), self.node.timing.delay / 4))
            self.begin()
            await self.done.wait()
            if self.node.state is not None:
                await asyncio.sleep(self.node.timing.skew + 2 * self.node.timing.delay)  # requirement: CLOCK-5
        finally:
            await self.stop()
        error = self.failure or self.node.error
        if error is not None:
            raise error
        if self.node.state is None:
            raise ProtocolError("the run was stopped before its end")
        return self.node.state

    async def stop(self) -> None:
        """Close everything that this peer opened; a run that has not ended fails."""
        self.done.set()
        if self.server is not None:
            self.server.close()
        if self.alarm is not None:
            self.alarm.cancel()
        await end([*self.tasks, *self.door.tasks])
        self.executor.shutdown(wait=False, cancel_futures=True)

    def dialler(self, address: Address, peer: PeerId) -> Callable[[], Awaitable[Stream]]:
        """How to connect to one peer."""
        link, node = self.links[peer], self.node
        return lambda: dial(address, node.identity, node.run, peer, link.session)

    def spawn(self, work: Any) -> None:
        """Start a task that ends with the peer; an error in it ends the peer."""
        task = asyncio.ensure_future(work)
        task.add_done_callback(self.watch)
        self.tasks.append(task)

    def watch(self, task: asyncio.Task[None]) -> None:
        """A task has ended."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        """End this peer for an error of its own, such as a full disk; the first one is told."""
        if self.failure is None:
            self.failure = ProtocolError(f"the peer failed: {error!r}")
            self.failure.__cause__ = error
        self.done.set()

    # -- The start ------------------------------------------------------------------------------

    def begin(self) -> None:
        """Get ready, or go on with a run that had begun before a crash."""
        if self.started:
            self.say_ready()
            self.settle()
        else:
            self.spawn(self.get_ready())

    async def get_ready(self) -> None:
        """Say that I am ready, once I have a link to everyone or have waited long enough."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self.patience):
                for link in self.links.values():
                    await link.connected.wait()
        self.say_ready()
        self.start_if_ready()

    def say_ready(self) -> None:
        """Sign that I am ready, and tell everyone."""
        digest = tagged_hash("btard/start", self.node.run)
        self.signatures[self.node.id] = self.node.identity.sign(digest)
        self.tell_start([self.node.id])

    def tell_start(self, peers: list[PeerId]) -> None:
        """Send everyone the signatures of ``peers``."""
        data = START + b"".join(peer + self.signatures[peer] for peer in peers)
        for link in self.links.values():
            link.put(data)

    def hear_start(self, sender: PeerId, data: bytes) -> None:
        """Take in start signatures up to the first that is not good: an honest peer sends no other. So a list costs
        one check in vain at most, beside those that bring something new."""
        if self.started or not self.expects_start(sender, len(data) - len(START)):
            return
        digest = tagged_hash("btard/start", self.node.run)
        for at in range(len(START), len(data), ID + SIGNATURE):
            peer, signature = data[at : at + ID], data[at + ID : at + ID + SIGNATURE]
            if peer in self.signatures:
                continue
            if peer not in self.roster or not verify(peer, digest, signature):
                break
            self.signatures[peer] = signature
        self.start_if_ready()

    def expects_start(self, sender: PeerId, size: int) -> bool:
        """Whether a start list with ``size`` bytes of signatures may come from ``sender`` now: no more than an honest
        process sends, which is a session, and of no more peers than there are."""
        session = self.door.session_of(sender)
        known, lists = self.heard.get(sender, (session, 0))
        lists = 1 + (lists if known == session else 0)
        self.heard[sender] = session, lists
        whole = size % (ID + SIGNATURE) == 0 and size <= len(self.roster) * (ID + SIGNATURE)
        return whole and lists <= START_LISTS  # requirement: CLOCK-12

    def start_if_ready(self) -> None:
        """Start once n − b peers are ready, and show everyone that they are. Source: CLOCK-2."""
        if not self.started and len(self.signatures) >= len(self.roster) - self.tolerated:  # requirement: CLOCK-2
            self.started = True
            self.tell_start(list(self.signatures))
            self.node.start(self.now())
            self.settle()

    # -- The run --------------------------------------------------------------------------------

    def take(self, sender: PeerId, data: bytes) -> None:
        """Something arrived. Raises :class:`Refused` if this peer has failed: an error of its own, also one of the
        operating system, is not taken for a broken connection, and the frame is not acknowledged. Source: REC-5."""
        try:
            if self.failure is None and data[:1] == START:
                self.hear_start(sender, data)
            elif self.failure is None:
                self.node.read(self.now(), sender, data)
                self.settle()
        except Exception as error:
            self.fail(error)
        if self.failure is not None:
            raise Refused("this peer has failed")  # requirement: CLOCK-11

    def settle(self) -> None:
        """Send what the node wants sent, answer what it asks, set its alarm."""
        self.flush()
        while self.node.request is not None and not self.busy:
            if isinstance(self.node.request, ComputeGradient):
                self.busy = True
                self.spawn(self.compute(self.node.request))
                break
            self.node.answer(self.now(), self.serve(self.node.request))
            self.flush()
        self.set_alarm()
        if self.node.finished:
            self.done.set()

    def flush(self) -> None:
        """Put the outbox on the links."""
        for to, frame in self.node.drain():
            data = encode_frame(frame)
            for peer in self.links if to is None else [to]:
                self.links[peer].put(data)

    def set_alarm(self) -> None:
        """Wake the node when it wants to be woken."""
        if self.alarm is not None:
            self.alarm.cancel()
            self.alarm = None
        if self.node.wake_at is not None:
            self.alarm = asyncio.get_running_loop().call_at(self.node.wake_at, self.wake)  # requirement: CLOCK-3

    def wake(self) -> None:
        """A deadline has come."""
        try:
            self.node.wake(max(self.now(), self.node.wake_at or 0.0))
            self.settle()
        except Exception as error:
            self.fail(error)

    async def compute(self, request: ComputeGradient) -> None:
        """Evaluate a gradient beside everything else."""
        work = asyncio.get_running_loop().run_in_executor(
            self.executor, self.oracle.gradient, request.parameters, request.seed
        )
        gradient = np.asarray(await work, dtype=np.float32)  # requirement: CLOCK-4
        self.busy = False
        self.node.answer(self.now(), gradient)
        self.settle()

    def serve(self, request: Request) -> Any:
        """Answer a request that needs no network."""
        match request:
            case FetchContent():
                known = {part.signed_header.body_hash: part.body for part in self.node.aggregates}
                return known.get(request.content_hash, b"")
            case CollectLetters():
                return ()  # candidates have no links yet
            case AppendRecord():
                self.record(request.record)
            case StepApplied():
                self.state = request.state
        return None
