"""A byte-level language model on English text that every CPython ships: its own language reference."""

from __future__ import annotations

import math
from pathlib import Path
from pydoc_data.topics import topics

import torch
from torch import Tensor, nn

from btard.protocol.update import AdamW, Schedule
from btard.training.devices import resolve_device
from btard.training.task import DataUnusable, OptionRefused, TaskDefaults
from btard.training.torch_task import Examples, TorchTask, cross_entropy, he_uniform

BYTES = 256
HEADS = 4
TEST_WINDOWS = 64
TRAIN_FILE, TEST_FILE = "wiki.train.tokens", "wiki.valid.tokens"

DEFAULTS = TaskDefaults(
    optimizer=AdamW(Schedule(0.004, 200, warmup_steps=10), weight_decay=0.01),
    gradient_clip=20.0,
    radius_initial=2.0,
    radius_min=0.0066,
    radius_max=2.0,
)
"""Measured with 16 workers of which 7 flip signs or labels for 40 steps: honest norms stay below 4, single batches
apart, and the spread of a part between 0.003 and 1.3. λ is five times the former; τ_min as small as float32 then
allows at n = 16, b = 7."""


class Block(nn.Module):
    """Causal self-attention and a feed-forward layer, each after LayerNorm and added to its input."""

    def __init__(self, width: int) -> None:
        """``width``: a multiple of HEADS."""
        super().__init__()
        self.before_attention = nn.LayerNorm(width)
        self.mix = nn.Linear(width, 3 * width, bias=False)
        self.attended = nn.Linear(width, width, bias=False)
        self.before_forward = nn.LayerNorm(width)
        self.expand = nn.Linear(width, 4 * width, bias=False)
        self.contract = nn.Linear(4 * width, width, bias=False)

    def forward(self, stream: Tensor, mask: Tensor) -> Tensor:
        """[B, T, width] to [B, T, width]; ``mask``: [T, T], −∞ above the diagonal."""
        stream = stream + self.attended(self.attention(self.before_attention(stream), mask))
        hidden = nn.functional.gelu(self.expand(self.before_forward(stream)))
        result: Tensor = stream + self.contract(hidden)
        return result

    def attention(self, stream: Tensor, mask: Tensor) -> Tensor:
        """Written out, because the fused kernels of some devices sum in an order that varies."""
        batch, length, width = stream.shape
        heads = self.mix(stream).view(batch, length, 3, HEADS, width // HEADS).permute(2, 0, 3, 1, 4)
        query, key, value = heads.unbind(0)
        scores = query @ key.transpose(-1, -2) / math.sqrt(width // HEADS) + mask
        mixed: Tensor = scores.softmax(-1) @ value
        return mixed.transpose(1, 2).reshape(batch, length, width)


class ByteTransformer(nn.Module):
    """uint8[B, T] to scores [B, T, 256] of the next byte; the output layer shares the embedding."""

    mask: Tensor

    def __init__(self, width: int, depth: int, context: int) -> None:
        """``context``: T, the length of a window in bytes."""
        super().__init__()
        self.embedding = nn.Embedding(BYTES, width)
        self.position = nn.Parameter(torch.zeros(context, width))
        self.blocks = nn.ModuleList(Block(width) for _ in range(depth))
        self.last = nn.LayerNorm(width)
        self.register_buffer("mask", torch.full((context, context), -math.inf).triu(1))

    def forward(self, window: Tensor) -> Tensor:
        """Scores before softmax."""
        stream = self.embedding(window.long()) + self.position
        for block in self.blocks:
            stream = block(stream, self.mask)
        scores: Tensor = self.last(stream) @ self.embedding.weight.T
        return scores


def initial_gains(depth: int) -> dict[str, float]:
    """Quieter than He's rule where layers are linear, and where many are added to one stream."""
    quiet = {"embedding.weight": 0.25, "position": 0.1}
    for index in range(depth):
        quiet |= {f"blocks.{index}.{name}.weight": 0.5 for name in ("mix", "attended", "expand", "contract")}
    return quiet


def corpus(path: str | None) -> tuple[bytes, bytes]:
    """Training and test text.

    Without ``path`` the topics of ``pydoc_data`` in the order of their keys; a file is taken as it is; a
    directory must hold WikiText's token files. Of one text, the last tenth is the test text. Raises
    :class:`DataUnusable`.
    """
    if path is None:
        return split("".join(topics[key] for key in sorted(topics)).encode())
    place = Path(path)
    if place.is_dir():
        return read(place / TRAIN_FILE), read(place / TEST_FILE)
    return split(read(place))


def split(text: bytes) -> tuple[bytes, bytes]:
    """The first nine tenths and the rest."""
    cut = len(text) * 9 // 10
    return text[:cut], text[cut:]


def read(file: Path) -> bytes:
    """The bytes of a file. Raises :class:`DataUnusable`."""
    try:
        return file.read_bytes()
    except OSError as problem:
        raise DataUnusable(f"text file '{file}' cannot be read: {problem.strerror}") from None


def windows(text: bytes, context: int, device: torch.device) -> Examples:
    """Every window of ``context`` bytes and the same window one byte later: uint8[B, T] views, no copies."""
    if len(text) <= context:
        raise DataUnusable(f"a text of {len(text)} bytes is too short for windows of {context} bytes")
    data = torch.frombuffer(bytearray(text), dtype=torch.uint8).to(device)
    return data[:-1].unfold(0, context, 1), data[1:].unfold(0, context, 1)


def text(
    device: str = "cpu",
    path: str | None = None,
    batch_size: int = 24,
    width: int = 96,
    depth: int = 2,
    context: int = 64,
) -> TorchTask:
    """The task. ``path``: another text, see :func:`corpus`. Raises ``TaskError``."""
    if width < HEADS or width % HEADS or depth < 1 or context < 1:
        raise OptionRefused(f"task 'text' needs a width that {HEADS} divides, and depth and context of at least 1")
    train, test = (windows(part, context, resolve_device(device)) for part in corpus(path))
    spread = torch.arange(TEST_WINDOWS) * (len(test[0]) - 1) // (TEST_WINDOWS - 1)
    return TorchTask(
        name="text",
        model=lambda: he_uniform(ByteTransformer(width, depth, context), "text", initial_gains(depth)),
        loss=cross_entropy,
        loss_name="nats per byte",
        train=train,
        test=(test[0][spread], test[1][spread]),
        batch_size=batch_size,
        classes=BYTES,
        defaults=DEFAULTS,
        device=device,
    )
