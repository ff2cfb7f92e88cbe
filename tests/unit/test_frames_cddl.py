"""``spec/messages.cddl`` describes every frame of a run on a bad network, and refuses what the reader refuses."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pycddl  # type: ignore[import-untyped]
import pytest
from broadcasts import CHAIN, ECHO, MESSAGE, Broadcast, Move, play
from btard.protocol.broadcast import Frame, decode_frame, encode_frame, frame_item
from btard.protocol.encoding import DecodeError, Item, encode
from btard.protocol.messages import MessageError

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))

from cddl import Grammar

SCHEMA = (Path(__file__).resolve().parents[2] / "spec" / "messages.cddl").read_text()
GRAMMAR = Grammar(SCHEMA)
PYCDDL = pycddl.Schema(f"start = frame\n{SCHEMA}")
LIMIT = 1 << 20


@cache
def travelled() -> tuple[Frame, ...]:
    """The frames of two phases: one with a certificate that is asked for, one that needs the fallback and a fetch."""
    shown = Move(MESSAGE, 0, 0b111, -2, 0.0, 0, (), 0)
    certified = [shown, Move(ECHO, 0, 0b001, -1, 0.0, 0, (0,), 0)]
    fallback = [Move(MESSAGE, 0, 0b011, -2, 0.0, 0, (), 0), Move(CHAIN, 0, 0b001, 0, -0.5, 0, (0,), 0)]
    phases = [play(Broadcast(4, 1, 1, [(0.0, 0.0)] * 3), moves) for moves in (certified, fallback)]
    return tuple(frame for phase in phases for _, _, _, frame in phase.sent)


def readable(item: Item) -> bool:
    """Whether the reader takes it."""
    try:
        decode_frame(encode(item), LIMIT)
    except (DecodeError, MessageError):
        return False
    return True


def test_every_frame_fits_the_schema() -> None:
    kinds = Counter(type(frame).__name__ for frame in travelled())
    assert set(kinds) == {"Envelope", "Relay", "Offer", "Ask", "Answer"}
    for frame in travelled():
        assert decode_frame(encode_frame(frame), LIMIT) == frame
        assert GRAMMAR.fits("frame", frame_item(frame))
        PYCDDL.validate_cbor(encode_frame(frame))


REPLACEMENTS: tuple[Item, ...] = (None, 9, True, b"", b"x" * 31, b"x" * 33, "x", [], [b"x"], {})


def mutants(item: Item) -> Iterator[Item]:
    """``item`` with one thing in it replaced, left out or doubled."""
    yield from REPLACEMENTS
    if not isinstance(item, list):
        return
    for index, inner in enumerate(item):
        yield [*item[:index], *item[index + 1 :]]
        yield [*item[: index + 1], *item[index:]]
        for mutant in mutants(inner):
            yield [*item[:index], mutant, *item[index + 1 :]]


def one_of_each() -> list[Frame]:
    """A frame of each kind, the largest that travelled."""
    frames: dict[Any, Frame] = {}
    for frame in sorted(travelled(), key=lambda frame: len(encode_frame(frame))):
        frames[type(frame)] = frame
    return list(frames.values())


@pytest.mark.requirement("BCAST-1")
@pytest.mark.parametrize("frame", one_of_each(), ids=lambda frame: type(frame).__name__)
def test_schema_and_reader_refuse_the_same(frame: Frame) -> None:
    verdicts = Counter[bool]()
    for mutant in mutants(frame_item(frame)):
        fits = GRAMMAR.fits("frame", mutant)
        assert readable(mutant) == (fits and ordered(mutant)), mutant
        verdicts[fits] += 1
    assert verdicts[False] > 10 * len(frame_item(frame))  # type: ignore[arg-type]


def ordered(item: Item) -> bool:
    """Whether the vouchers of a relay are in strictly ascending order, which CDDL cannot say."""
    if not isinstance(item, list) or len(item) != 3 or item[0] != 1 or not isinstance(item[2], list):
        return True
    peers = [pair[0] for pair in item[2] if isinstance(pair, list) and pair and isinstance(pair[0], bytes)]
    return all(a < b for a, b in pairwise(peers))
