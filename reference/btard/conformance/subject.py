"""The implementation under test as a subprocess that answers lines (chapter ``conformance``)."""

from __future__ import annotations

import json
import os
import selectors
import shlex
import signal
import subprocess
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from tempfile import TemporaryFile
from types import TracebackType
from typing import Any, Self

from btard.protocol.model import ProtocolError

PROTOCOL = 1
"""The version of the exchange."""
CHUNK = 1 << 16
"""How many bytes are read at a time."""
MAX_LINE = 1 << 26
"""Most bytes of one answer."""
KEPT_EXCHANGES = 200_000
"""How many requests are kept for a failure's file at most; the runs of an oracle are far shorter."""
STARTING = 30.0
"""Seconds that the first answer may take longer: programs need time to start."""
LAST_LINES = 8
"""How many lines of standard error are reported."""
FAREWELL = 2.0
"""Seconds that a program has to end after ``bye``."""


class SubjectError(ProtocolError):
    """The program cannot be started; the message is one sentence."""


class Misbehaved(ProtocolError):
    """The program crashed, was silent, or answered something that is no answer; the message is one sentence."""


class Subject:
    """A running program. ``command``: as in a shell, without its special characters; ``timeout``: seconds per answer.

    Raises :class:`SubjectError` if it cannot be started, :class:`Misbehaved` if it then does not keep to the
    exchange. Source: CONF-1, CONF-5.
    """

    def __init__(self, command: str, timeout: float) -> None:
        self.command, self.timeout = command, timeout
        self.exchanged: deque[tuple[str, str]] = deque(maxlen=KEPT_EXCHANGES)
        """Requests and answers, the latest last."""
        self.errors = TemporaryFile()  # noqa: SIM115  closed with the program
        self.rest, self.silent, self.started = bytearray(), False, False
        words = split(command)
        try:
            self.process = subprocess.Popen(
                words,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self.errors,
                bufsize=0,
                start_new_session=True,  # so that what it starts can be ended with it
            )
        except OSError as error:
            self.errors.close()
            raise SubjectError(f"'{command}' cannot be started: {error.strerror}") from error
        assert self.process.stdout and self.process.stdin
        self.input, self.output = self.process.stdin, self.process.stdout
        os.set_blocking(self.output.fileno(), False)
        os.set_blocking(self.input.fileno(), False)
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.output, selectors.EVENT_READ)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    # -- Asking -----------------------------------------------------------------------------------

    def ask(self, do: str, **fields: Any) -> dict[str, Any]:
        """The answer to one request, a JSON object. Raises :class:`Misbehaved`."""
        if self.rest:
            raise Misbehaved(f"it speaks without being asked: {shortened(bytes(self.rest))}")
        request = json.dumps({"do": do, **fields}, separators=(",", ":"))
        self.exchanged.append((request, ""))
        deadline = time.monotonic() + self.timeout + (0.0 if self.started else STARTING)
        self.write(request.encode() + b"\n", deadline, do)
        line = self.read_line(deadline, do)
        self.started = True
        self.exchanged[-1] = request, line.decode(errors="replace")
        try:
            answer = json.loads(line, parse_constant=refuse_constant)
        except (ValueError, RecursionError):
            raise Misbehaved(f"its answer to '{do}' is no JSON: {shortened(line)}") from None
        if not isinstance(answer, dict):
            raise Misbehaved(f"its answer to '{do}' is no JSON object: {shortened(line)}")
        return answer

    def write(self, data: bytes, deadline: float, do: str) -> None:
        """Write everything, however slowly it is read."""
        while data:
            try:
                data = data[self.input.write(data) or 0 :]
            except OSError:
                raise Misbehaved(f"it ended before it had read '{do}'{self.last_words()}") from None
            if data:
                self.wait(deadline, do, self.input.fileno())

    def wait(self, deadline: float, do: str, descriptor: int) -> None:
        """Wait until ``descriptor`` can be written, at most until ``deadline``."""
        with selectors.DefaultSelector() as selector:
            selector.register(descriptor, selectors.EVENT_WRITE)
            if not selector.select(max(0.0, deadline - time.monotonic())):
                self.silent = True
                raise Misbehaved(f"it did not read '{do}' within {self.timeout:g} s{self.last_words()}")

    def read_line(self, deadline: float, do: str) -> bytes:
        """The next line that it writes, without its end."""
        while b"\n" not in self.rest[max(0, len(self.rest) - CHUNK) :]:
            left = deadline - time.monotonic()
            if left <= 0 or not self.selector.select(left):
                self.silent = True
                raise Misbehaved(f"it did not answer '{do}' within {self.timeout:g} s{self.last_words()}")
            data = self.output.read(CHUNK)
            if not data:
                raise Misbehaved(f"it ended instead of answering '{do}'{self.last_words()}")
            self.rest += data
            if len(self.rest) > MAX_LINE:
                raise Misbehaved(f"its answer to '{do}' is longer than {MAX_LINE} bytes")
        line, _, rest = bytes(self.rest).partition(b"\n")
        self.rest = bytearray(rest)
        return line

    def last_words(self) -> str:
        """What it wrote to standard error last, as the end of a sentence."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(0.2)
        self.errors.seek(max(0, self.errors.seek(0, os.SEEK_END) - CHUNK))
        lines = [line for line in self.errors.read().decode(errors="replace").splitlines() if line.strip()]
        telling = [line.strip() for line in lines if not line.strip().startswith("at ")]  # no call stacks
        words = " | ".join(telling[-LAST_LINES:])
        return f"; its last words: {words[-600:]}" if lines else ""

    # -- Ending -----------------------------------------------------------------------------------

    def close(self) -> None:
        """Say goodbye, and end the program if it does not do so itself."""
        self.selector.close()
        with suppress(OSError):
            self.input.write(b'{"do":"bye"}\n')
            self.input.close()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(0.0 if self.silent else FAREWELL)
        with suppress(ProcessLookupError):  # nobody is left: neither the program nor what it started
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.output.close()
        self.errors.close()


def refuse_constant(name: str) -> None:
    """JSON has no NaN and no Infinity; raises :class:`ValueError`."""
    raise ValueError(f"{name} is no JSON")


def split(command: str) -> Sequence[str]:
    """The words of a command; raises :class:`SubjectError`."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise SubjectError(f"'{command}' is no command: {error}") from error
    if not words:
        raise SubjectError("the command of the implementation under test is empty")
    return words


def shortened(line: bytes) -> str:
    """The beginning of a line, for a sentence."""
    text = line[:120].decode(errors="replace")
    return repr(text if len(line) <= 120 else text + "…")
