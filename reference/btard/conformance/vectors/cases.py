"""What a vector is, and how the reference answers one (chapter ``vectors``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from btard.protocol.model import ProtocolError

Plain = Any
"""What JSON can hold."""
Operation = Callable[[dict[str, Plain]], Plain]
"""Takes the fields of an input, returns the output; raises a :class:`ProtocolError` to refuse."""
Acceptance = Callable[[dict[str, Plain], Plain, Plain], bool]
"""Whether an answer (the last argument) is right, given the input and the output of the vector."""


class VectorError(ProtocolError):
    """Vectors that contradict the reference, or files that are none; the message is one sentence."""


class Described(NamedTuple):
    """An operation, and how chapter ``vectors`` describes it."""

    compute: Operation
    takes: str
    gives: str
    accepts: Acceptance


OPERATIONS: dict[str, Described] = {}
"""Every operation by name, ``chapter.what``."""


def equal(_: dict[str, Plain], expected: Plain, answer: Plain) -> bool:
    """The usual acceptance: the same JSON value; true and 1 are two values."""
    if isinstance(expected, dict) and isinstance(answer, dict):
        return expected.keys() == answer.keys() and all(equal({}, expected[key], answer[key]) for key in expected)
    if isinstance(expected, list) and isinstance(answer, list):
        return len(expected) == len(answer) and all(map(equal, [{}] * len(expected), expected, answer))
    return isinstance(expected, bool) == isinstance(answer, bool) and bool(expected == answer)


def operation(name: str, takes: str, gives: str, accepts: Acceptance = equal) -> Callable[[Operation], Operation]:
    """Register an operation. ``takes`` and ``gives`` describe its input and its output in chapter ``vectors``."""

    def register(compute: Operation) -> Operation:
        OPERATIONS[name] = Described(compute, takes, gives, accepts)
        return compute

    return register


class Refusal(NamedTuple):
    """An implementation's answer to an input that it does not take."""

    reason: str


def evaluate(name: str, fields: dict[str, Plain]) -> Plain | Refusal:
    """The reference's answer. Raises :class:`VectorError` for an unknown operation."""
    if name not in OPERATIONS:
        raise VectorError(f"there is no operation '{name}'")
    try:
        return OPERATIONS[name].compute(fields)
    except ProtocolError as error:
        return Refusal(str(error))


@dataclass(frozen=True)
class Edit:
    """Bytes of a file that are replaced: ``remove`` bytes at offset ``at`` by ``insert``."""

    at: int
    remove: int = 0
    insert: bytes = b""


@dataclass(frozen=True)
class File:
    """Bytes too long for a JSON file: those of a file beside it, with ``edits``, which do not overlap and are in
    ascending order; offsets are those of the file as it lies there."""

    name: str
    """Relative to the folder of the vectors."""
    content: bytes
    edits: tuple[Edit, ...] = ()

    @property
    def edited(self) -> bytes:
        """The bytes after all edits."""
        data = self.content
        for edit in reversed(self.edits):
            data = data[: edit.at] + edit.insert + data[edit.at + edit.remove :]
        return data

    def with_edits(self, *edits: Edit) -> File:
        """The same file, edited."""
        return File(self.name, self.content, edits)

    def as_plain(self) -> Plain:
        """As it stands in a JSON file."""
        edits = [{"at": edit.at, "remove": edit.remove, "insert": edit.insert.hex()} for edit in self.edits]
        return {"file": self.name, "edits": edits} if edits else {"file": self.name}


ABSENT: Any = object()
"""No output: the input must be refused."""


@dataclass(frozen=True)
class Vector:
    """One case. ``fields``: the input; without an ``output`` it must be refused; ``flag``: the mistake that it catches,
    which makes it a negative one."""

    id: str
    operation: str
    requirements: tuple[str, ...]
    fields: Mapping[str, Plain | File]
    output: Plain = ABSENT
    flag: str = ""

    @property
    def input(self) -> dict[str, Plain]:
        """The input with all files in their place, as hex digits."""
        return {name: value.edited.hex() if isinstance(value, File) else value for name, value in self.fields.items()}

    def passes(self, answer: Plain | Refusal) -> bool:
        """Whether an implementation that gives ``answer`` is right."""
        if isinstance(answer, Refusal) or self.output is ABSENT:
            return isinstance(answer, Refusal) and self.output is ABSENT
        try:
            return OPERATIONS[self.operation].accepts(self.input, self.output, answer)
        except (TypeError, ValueError, KeyError, IndexError, AttributeError):
            return False  # an answer of another form

    def as_plain(self) -> dict[str, Plain]:
        """As it stands in a JSON file."""
        fields = {name: value.as_plain() if isinstance(value, File) else value for name, value in self.fields.items()}
        plain = {"id": self.id, "operation": self.operation, "requirements": list(self.requirements), "input": fields}
        if self.output is not ABSENT:
            plain["output"] = self.output
        return {**plain, "flag": self.flag} if self.flag else plain


@dataclass
class Chapter:
    """The vectors of one chapter, as they are written down."""

    name: str
    flags: Mapping[str, str]
    """What each flag means: the mistake, and what it leads to."""
    vectors: list[Vector] = field(default_factory=list)

    def right(self, id: str, operation: str, requirements: str, **fields: Plain | File) -> Plain:
        """An input that must be taken; the reference's output, which is the expected one. ``id`` is completed with the
        operation, ``requirements`` are separated by spaces. Raises :class:`VectorError` if the reference refuses."""
        return self.add(id, operation, requirements, fields, "").output

    def refused(self, id: str, operation: str, requirements: str, flag: str, **fields: Plain | File) -> None:
        """An input that must be refused; ``flag`` names the mistake of taking it. Raises :class:`VectorError` if the
        reference takes it."""
        vector = self.add(id, operation, requirements, fields, flag)
        if vector.output is not ABSENT:
            raise VectorError(f"the reference takes '{vector.id}', which is to be refused")

    def trap(
        self, id: str, operation: str, requirements: str, flag: str, mistaken: Plain, **fields: Plain | File
    ) -> Plain:
        """An input on which the mistake ``flag`` gives ``mistaken``, another output than the right one. Raises
        :class:`VectorError` if it does not."""
        vector = self.add(id, operation, requirements, fields, flag)
        if vector.output is ABSENT or vector.passes(mistaken):
            raise VectorError(f"'{vector.id}' does not catch the mistake '{flag}'")
        return vector.output

    def add(self, id: str, name: str, requirements: str, fields: Mapping[str, Plain | File], flag: str) -> Vector:
        """Write one vector down with the reference's answer. Raises :class:`VectorError` for an unknown flag, an id
        that is taken, and a refusal without a flag."""
        full = f"{name}/{id}"
        if any(full == known.id for known in self.vectors):
            raise VectorError(f"there are two vectors '{full}'")
        if flag and flag not in self.flags:
            raise VectorError(f"chapter '{self.name}' does not explain the flag '{flag}'")
        bare = Vector(full, name, tuple(requirements.split()), fields, ABSENT, flag)
        answer = evaluate(name, bare.input)
        if isinstance(answer, Refusal) and not flag:
            raise VectorError(f"the reference refuses '{full}': {answer.reason}")
        output = ABSENT if isinstance(answer, Refusal) else answer
        vector = Vector(full, name, bare.requirements, fields, output, flag)
        self.vectors.append(vector)
        return vector


def negative(vectors: Sequence[Vector]) -> int:
    """How many of ``vectors`` are negative: made to catch a mistake."""
    return sum(bool(vector.flag) for vector in vectors)
