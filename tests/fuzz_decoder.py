"""Coverage-guided fuzzing of everything that reads bytes, with atheris (``make fuzz``).

    python -m tests.fuzz_decoder runs/corpus tests/corpus -max_total_time=60
    python -m tests.fuzz_decoder --write        # the first corpus, from a run

New inputs go to the first folder. The first byte of an input chooses who reads the rest. Anything but a named error is
a finding; libFuzzer saves its input.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

CORPUS = Path(__file__).parent / "corpus"
LARGEST = 20_000
"""Bytes of the largest input that is checked in."""
EACH = 8
"""About how many inputs there are for each reader."""


def readers() -> list[Callable[[bytes], Any]]:
    """Everything that reads bytes from the network or from a log, in a fixed order."""
    from tests.fuzzing import BODIES, READERS

    return [*READERS.values(), *BODIES.values()]


def write_corpus() -> None:
    """Real frames, messages and records, each for the reader that is meant for it."""
    from btard.protocol.encoding import encode
    from btard.protocol.messages import Vote

    from tests.fuzzing import corpus

    CORPUS.mkdir(exist_ok=True)
    made, inputs = readers(), [*corpus(), encode(Vote().to_item())]
    for choice, read in enumerate(made):
        fitting = [data for data in inputs if len(data) <= LARGEST and accepts(read, data)]
        for data in fitting[:: 1 + len(fitting) // EACH]:
            content = bytes([choice]) + data
            (CORPUS / hashlib.sha256(content).hexdigest()[:16]).write_bytes(content)


def accepts(read: Callable[[bytes], Any], data: bytes) -> bool:
    """Whether a reader takes ``data`` for what it reads."""
    from btard.protocol.model import ProtocolError

    try:
        read(data)
    except ProtocolError:
        return False
    return True


def main() -> None:
    """Fuzz until libFuzzer is told to stop."""
    if sys.argv[1:] == ["--write"]:
        write_corpus()
        return
    import atheris

    with atheris.instrument_imports(include=["btard.protocol", "btard.conformance"]):
        made = readers()
        from btard.protocol.model import ProtocolError

    def one(data: bytes) -> None:
        with suppress(ProtocolError):
            made[data[0] % len(made) if data else 0](data[1:])

    atheris.Setup(sys.argv, one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
