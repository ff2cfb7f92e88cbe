"""Recovery: sealed values, torn files, continued logs, and a node that crashes at any point."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from btard.conformance.audit import audit
from btard.network.limits import Limits
from btard.network.links import FaultyLinks, Links
from btard.network.node import ARCHIVED_PHASES, Node
from btard.network.simulator import Seat
from btard.network.store import Checkpoints, ContinuedFile, Journal, ResumeError, write_atomically
from btard.network.surviving import PeerStore, SurvivingNode
from btard.network.virtual import NetworkSimulation
from btard.protocol.broadcast import Frame
from btard.protocol.channel import AppendRecord, Request
from btard.protocol.encoding import encode
from btard.protocol.messages import Envelope, Phase, Reveal, seal
from btard.protocol.model import PeerId, ToleranceExceeded
from btard.protocol.recovery import CheckpointError, open_value, seal_value
from btard.protocol.state import Conduct, Peer, State, initial_state
from btard.protocol.step import run
from networks import DELAY, end, simulation
from swarms import identities

PLAIN: list[Any] = [
    None,
    True,
    1 - (1 << 64),
    (1 << 64) - 1,
    0.1,
    -0.0,
    float("inf"),
    "text",
    b"bytes",
    (1, (2, [3, {4: 5}])),
    {"key": frozenset({b"a"})},
    slice(1, 7),
]


# -- Values ---------------------------------------------------------------------------------------


@pytest.mark.requirement("REC-1")
@pytest.mark.parametrize("value", PLAIN, ids=repr)
def test_a_value_comes_back(value: Any) -> None:
    again = open_value(seal_value(value))
    assert repr(again) == repr(value) and type(again) is type(value)


@pytest.mark.requirement("REC-1")
@pytest.mark.parametrize("dtype", ["<f4", "<f8", "<i2", "|b1"])
def test_an_array_comes_back_to_the_bit(dtype: str) -> None:
    array = np.frombuffer(random.Random(0).randbytes(48), np.uint8).view("|b1" if dtype == "|b1" else dtype)
    again = open_value(seal_value(array.reshape(2, -1)))
    assert again.dtype == array.dtype and again.shape == (2, array.size // 2) and again.tobytes() == array.tobytes()


@pytest.mark.requirement("REC-1")
def test_the_state_of_an_eventful_run_comes_back() -> None:
    state = end(simulation(conducts={PEERS[0].peer_id: Whispers()})).state
    assert state.removals
    again = open_value(seal_value(state))
    assert seal_value(again) == seal_value(state)
    assert again.head == state.head and again.replica.state_hash == state.replica.state_hash
    assert again.removals == state.removals and again.history[-1].step == state.history[-1].step


@pytest.mark.requirement("REC-1")
def test_any_cut_and_any_altered_byte_is_noticed() -> None:
    data = seal_value((1, b"abc", np.arange(3, dtype=np.float32)))
    for size in range(len(data)):
        with pytest.raises(CheckpointError):
            open_value(data[:size])
    for place in range(len(data)):
        with pytest.raises(CheckpointError):
            open_value(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])


def test_what_cannot_be_kept_is_refused() -> None:
    for value in (object(), 1 << 64, [{"deep": 1 + 2j}]):
        with pytest.raises(CheckpointError, match="cannot hold"):
            seal_value(value)
    with pytest.raises(CheckpointError, match="cannot hold an array"):
        seal_value(np.zeros(2, dtype=np.complex64))


# -- Files ----------------------------------------------------------------------------------------


class Killed(Exception):
    """The process is gone."""


@pytest.mark.requirement("REC-2")
def test_a_file_is_the_old_one_or_the_new_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def killed(self: Path, target: Path) -> Path:
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Path, "replace", killed)
        write_atomically(path, b"new, and longer")
    assert path.read_bytes() == b"old"
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"


@pytest.mark.requirement("REC-2")
def test_the_checkpoint_before_counts_if_the_latest_is_damaged(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path)
    assert kept.load() is None
    kept.save(1)
    kept.save(2)
    assert kept.load() == 2
    latest = tmp_path / "checkpoint"
    latest.write_bytes(latest.read_bytes()[:-1])
    assert kept.load() == 1
    latest.unlink()
    assert kept.load() == 1
    kept.clear()
    assert kept.load() is None


@pytest.mark.requirement("REC-3")
def test_a_journal_torn_anywhere_keeps_what_is_whole(tmp_path: Path) -> None:
    values = [("start", 0.0), ("take", b"x" * 40), ("answer", None)]
    path, ends = tmp_path / "journal", [0]
    journal = Journal(path)
    for value in values:
        journal.append(value)
        ends.append(path.stat().st_size)
    journal.close()
    whole = path.read_bytes()
    for size in range(len(whole) + 1):
        path.write_bytes(whole[:size])
        again, count = Journal(path), sum(1 for end in ends[1:] if end <= size)
        assert again.values == values[:count] and path.stat().st_size == ends[count]
        again.append(("more",))
        again.close()
        assert Journal(path).values == [*values[:count], ("more",)]


@pytest.mark.requirement("REC-4")
def test_a_continued_file_must_hold_what_is_written_again(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"headone twoTORN")
    file = ContinuedFile(path, 4)
    file.write(b"one ")
    file.write(b"two")
    with pytest.raises(ResumeError, match="altered"):
        file.write(b"three")
    path.write_bytes(b"headone twoth")  # the last entry was cut off by a kill
    file = ContinuedFile(path, 4)
    for entry in (b"one ", b"two", b"three"):
        file.write(entry)
    file.close()
    assert path.read_bytes() == b"headone twothree"
    with pytest.raises(ResumeError, match="shorter"):
        ContinuedFile(path, 100)


# -- A node that crashes ----------------------------------------------------------------------------


@dataclass
class Mortal(NetworkSimulation):
    """The process of one honest peer dies now and then while it writes its journal; what is left is its folder.

    ``plan`` says of each entry whether the process dies before (0), after (1) or while (2) writing it. What made
    the entry comes again, as a sender repeats what was not acknowledged. What the dead process had sent and what has
    not arrived yet is lost: nobody is left to send it again but the process that follows.
    """

    mortal: PeerId = b""
    folder: Path = Path()
    plan: Callable[[], int | None] = lambda: None
    late: float | None = None
    """How long after each checkpoint the process dies, too."""
    deaths: int = 0
    reviving: bool = False

    def node(self, seat: Seat) -> Node:
        return self.made(seat) if seat.id == self.mortal else super().node(seat)

    def made(self, seat: Seat) -> SurvivingNode:
        """The node as its folder has it."""
        config, store = self.genesis.configuration, PeerStore(self.folder, self.genesis, every=2)
        begin = store.state or initial_state(self.genesis, self.parameters)
        limits, generator = Limits(config.peers, config.dimension), run(Peer(seat.identity), begin)
        node = SurvivingNode(seat.identity, self.genesis.run, generator, self.timing, limits, store)
        store.switch = self.switching(store)  # type: ignore[method-assign]
        self.reviving = True
        node.replay()
        self.reviving = False
        return node

    def switching(self, store: PeerStore) -> Callable[[Journal, bytes], None]:
        """The store makes a checkpoint; the process may die soon after, with all that it has just sent."""
        switch = store.switch

        def switched(fresh: Journal, checkpoint: bytes) -> None:
            switch(fresh, checkpoint)
            if self.late is not None and not self.reviving:
                self.at(self.now + self.late, self.die)

        return switched

    def die(self) -> None:
        """The process is killed while it waits, and started again at once."""
        self.deaths += 1
        node = self.nodes[self.mortal]
        self.reborn(node, lambda: None)
        self.settle(node)

    def bringer(self, sender: PeerId, receiver: PeerId, data: bytes) -> Callable[[], None]:
        """The event of an arrival, which does not happen if the sender dies before."""
        bring, life = super().bringer(sender, receiver, data), self.deaths
        return lambda: bring() if sender != self.mortal or self.deaths == life else None

    def append(self, journal: Journal, value: Any) -> None:
        """Append to the journal, and perhaps die of it."""
        death = None if self.reviving else self.plan()
        if death == 2:
            journal.file.write((99).to_bytes(8, "big") + bytes(7))
            journal.file.flush()
        elif death != 0:
            APPEND(journal, value)
        if death is not None:
            raise Killed

    def act(self, node: Node, action: Callable[[], None]) -> None:
        pending = action
        while True:
            try:
                return super().act(node, pending)
            except Killed:
                self.deaths += 1
                pending = self.reborn(node, action)

    def reborn(self, node: Node, action: Callable[[], None]) -> Callable[[], None]:
        """Replace all that the node knew by what its folder holds. Returns what happens to it next."""
        begun = node.begun
        vars(node).clear()
        vars(node).update(vars(self.made(self.seats[self.mortal])))
        self.woken.pop(node.id, None)

        def again() -> None:
            if node.begun:
                self.settle(node)
            if begun or not node.begun:
                action()

        return again

    def serve(self, seat: Seat, request: Request) -> Any:
        """As ever; the mortal peer's log is in its folder."""
        if isinstance(request, AppendRecord) and seat.id == self.mortal:
            node = self.nodes[seat.id]
            assert isinstance(node, SurvivingNode)
            node.store.record(request.record)
        return super().serve(seat, request)


APPEND = Journal.append


def crashing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, seed: int, chance: float, **options: Any
) -> tuple[Mortal, State]:
    """A run in which one peer dies, each time that it takes something in, with this ``chance``."""
    draw = random.Random(seed)
    options |= {"kind": Mortal, "folder": folder, "mortal": PEERS[2].peer_id}
    mortal = simulation(plan=lambda: draw.randrange(3) if draw.random() < chance else None, **options)
    monkeypatch.setattr(Journal, "append", lambda journal, value: mortal.append(journal, value))
    return mortal, end(mortal).state


class Whispers(Conduct):
    """Sends some peers another message."""

    def post(self, recipient: PeerId, frame: Frame) -> tuple[Frame, ...]:
        if isinstance(frame, Envelope) and frame.slot.phase is Phase.REVEAL and recipient[0] % 2:
            return (seal(PEERS[0], frame.run, frame.slot, frame.log_head, encode(Reveal(bytes(64)).to_item())),)
        return (frame,)


PEERS = identities(6, 0)
SCENES: dict[str, Callable[[], dict[str, Any]]] = {
    "all is well": dict,
    "every delay up to the longest": lambda: {"links": FaultyLinks(0.05, DELAY, jitter=0.95)},
    "a sparse overlay": lambda: {"links": Links(DELAY / 3), "neighbours": ring()},
    "an attacker that equivocates": lambda: {"conducts": {PEERS[0].peer_id: Whispers()}},
}


def ring() -> dict[PeerId, list[PeerId]]:
    """Everyone has a link to two others."""
    ids = [identity.peer_id for identity in PEERS]
    return {peer: [ids[index - 1], ids[(index + 1) % len(ids)]] for index, peer in enumerate(ids)}


@pytest.mark.requirement("REC-5")
@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("seed", range(2))
def test_a_peer_that_dies_at_any_point_goes_on_as_if_nothing_had_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scene: str, seed: int
) -> None:
    undisturbed = end(simulation(steps=5, **SCENES[scene]())).state
    mortal, state = crashing(tmp_path, monkeypatch, seed, 0.06, steps=5, **SCENES[scene]())
    assert mortal.deaths >= 10
    assert [removal.peer for removal in state.removals] == [removal.peer for removal in undisturbed.removals]
    assert mortal.mortal in state.roster
    if not state.removals:
        assert state.head == undisturbed.head
    assert audit((tmp_path / "log.cborseq").read_bytes()).head == state.head


class OnlyYou(Conduct):
    """Shows its echoes of some phases to one peer only, which alone gets a certificate, and all others ask it."""

    def post(self, recipient: PeerId, frame: Frame) -> tuple[Frame, ...]:
        hidden = isinstance(frame, Envelope) and frame.slot.phase in (Phase.COMMIT, Phase.REPORT) and frame.slot.part
        return () if hidden and recipient != PEERS[2].peer_id else (frame,)


@pytest.mark.requirement("REC-6")
@pytest.mark.parametrize("conduct", [None, OnlyYou()], ids=["all is well", "only it has the certificate"])
@pytest.mark.parametrize("delay", [0.003, 0.03, 0.09, 0.11, 0.19, 0.21, 0.4])
def test_a_peer_that_dies_soon_after_a_checkpoint_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, conduct: Conduct | None, delay: float
) -> None:
    conducts = {PEERS[0].peer_id: conduct} if conduct else {}
    undisturbed = end(simulation(steps=5, conducts=conducts)).state
    mortal, state = crashing(tmp_path, monkeypatch, 0, 0.0, steps=5, conducts=conducts, late=delay * DELAY)
    assert mortal.deaths == 2
    assert state.removals == undisturbed.removals == () and state.head == undisturbed.head
    assert audit((tmp_path / "log.cborseq").read_bytes()).head == state.head


@pytest.mark.requirement("REC-6")
def test_the_journal_behind_a_checkpoint_holds_a_whole_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then it holds the last phases' broadcasts, and all that is not acknowledged."""
    switch, held = PeerStore.switch, []

    def looking(store: PeerStore, fresh: Journal, checkpoint: bytes) -> None:
        switch(store, fresh, checkpoint)
        state, _ = open_value(store.checkpoint.read_bytes())
        held.append((state.step, [entry[0] for entry in Journal(fresh.path).values].count("answer")))

    monkeypatch.setattr(PeerStore, "switch", looking)
    crashing(tmp_path, monkeypatch, 0, 0.0, steps=5)
    assert [step for step, _ in held] == [1, 3]
    assert all(answers >= ARCHIVED_PHASES + 1 for _, answers in held)  # every record, and the boundary


@pytest.mark.requirement("REC-5")
def test_a_peer_that_forgets_what_it_took_in_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the journal is good for: with the checkpoint alone, the peer and the others no longer agree."""

    def forget(node: SurvivingNode) -> None:
        for kind, *fields in node.store.journal.values:
            if kind == "start":
                node.repeat(kind, *fields)

    monkeypatch.setattr(SurvivingNode, "replay", forget)
    with pytest.raises(ToleranceExceeded):
        crashing(tmp_path, monkeypatch, 1, 0.06, steps=5)


@pytest.mark.requirement("REC-5")
def test_nothing_leaves_before_its_cause_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    sync = Journal.sync

    def noting(journal: Journal) -> None:
        sync(journal)
        synced.append(journal.path.stat().st_size)

    monkeypatch.setattr(Journal, "sync", noting)
    mortal = simulation(kind=Mortal, folder=tmp_path, mortal=PEERS[2].peer_id)
    sizes: list[tuple[int, int]] = []

    def watch(now: float, sender: PeerId, receiver: PeerId, frame: Frame, size: int) -> None:
        if sender == mortal.mortal:
            journal = mortal.nodes[sender].store.journal  # type: ignore[attr-defined]
            sizes.append((journal.path.stat().st_size, synced[-1]))

    mortal.watch = watch
    end(mortal)
    assert sizes and all(written == safe for written, safe in sizes)


@pytest.mark.requirement("REC-2")
def test_a_damaged_checkpoint_is_no_reason_to_go_on_from_an_older_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mortal, _ = crashing(tmp_path, monkeypatch, 0, 0.0, steps=5)
    assert {path.name for path in tmp_path.glob("journal-*")} == {"journal-3", "journal-5"}
    checkpoint = tmp_path / "checkpoint"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-1])
    with pytest.raises(ResumeError, match="join anew"):
        PeerStore(tmp_path, mortal.genesis)
