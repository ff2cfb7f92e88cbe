"""What a peer, or a whole simulated run, keeps on disk so that it can go on after a crash (chapter ``recovery``)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from btard.protocol.encoding import tagged_hash
from btard.protocol.messages import HASH_BYTES
from btard.protocol.recovery import CheckpointError, open_checkpoint, seal_checkpoint

LENGTH_BYTES = 8


def write_atomically(path: Path, data: bytes) -> None:
    """Put ``data`` at ``path``: whoever reads it, and whenever we are killed, it is there entirely or not at all.
    Source: REC-2."""
    fresh = path.with_name(path.name + ".new")
    with fresh.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)  # requirement: REC-2


class Checkpoints:
    """The two latest checkpoints of a folder; if the later one is damaged, the earlier one counts. Source: REC-2."""

    def __init__(self, folder: Path) -> None:
        self.paths = (folder / "checkpoint", folder / "checkpoint.previous")

    def save(self, value: Any) -> None:
        """Keep ``value``, and the one before. Raises :class:`CheckpointError` if it cannot be kept."""
        data = seal_checkpoint(value)
        latest, previous = self.paths
        if latest.exists():
            latest.replace(previous)
        write_atomically(latest, data)

    def load(self) -> Any | None:
        """The latest value that is whole; None if there is none."""
        for path in self.paths:
            try:
                return open_checkpoint(path.read_bytes())
            except (OSError, CheckpointError):
                continue
        return None

    def clear(self) -> None:
        """Forget everything."""
        for path in self.paths:
            path.unlink(missing_ok=True)


class Journal:
    """An append-only file of entries, each with its length and hash: a torn end is found and cut. Source: REC-3."""

    def __init__(self, path: Path) -> None:
        self.path = path
        whole = sum(LENGTH_BYTES + HASH_BYTES + len(entry) for entry in read_journal(path))
        self.file = path.open("ab")
        self.file.truncate(whole)  # requirement: REC-3

    def append(self, entry: bytes) -> None:
        """Keep ``entry``; it is with the operating system before this returns."""
        self.file.write(len(entry).to_bytes(LENGTH_BYTES, "big") + tagged_hash("btard/journal", entry) + entry)
        self.file.flush()

    def entries(self) -> Iterator[bytes]:
        """What is kept, in order."""
        return read_journal(self.path)

    def clear(self) -> None:
        """Begin anew, after a checkpoint."""
        self.file.truncate(0)

    def close(self) -> None:
        """Release the file."""
        self.file.close()


def read_journal(path: Path) -> Iterator[bytes]:
    """The whole entries at the beginning of a journal."""
    data = path.read_bytes() if path.exists() else b""
    start, header = 0, LENGTH_BYTES + HASH_BYTES
    while start + header <= len(data):
        size = int.from_bytes(data[start : start + LENGTH_BYTES], "big")
        entry = data[start + header : start + header + size]
        if len(entry) < size or tagged_hash("btard/journal", entry) != data[start + LENGTH_BYTES : start + header]:
            return
        yield entry
        start += header + size
