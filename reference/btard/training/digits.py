"""Handwritten digits: 1,797 images of 8 × 8 pixels that ship with scikit-learn, and a small convolutional net."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

from btard.protocol.update import AdamW, Schedule
from btard.training.draws import permutation
from btard.training.task import TaskDefaults, refuse_data
from btard.training.torch_task import Examples, TorchTask, cross_entropy, he_uniform

TEST_EXAMPLES = 360
CLASSES = 10

DEFAULTS = TaskDefaults(
    optimizer=AdamW(Schedule(0.006, 200)),
    gradient_clip=20.0,
    radius_initial=2.0,
    radius_min=0.0066,
    radius_max=2.0,
    vote_rate=0.01,
)
"""Measured with 16 workers of which 7 flip signs for 40 steps: honest norms stay below 4, and the spread of a
part falls from 0.6 to 0.005. λ is five times the former; τ_min is as small as float32 then allows at n = 16, b = 7."""


class DigitsNet(nn.Sequential):
    """Three convolutions with GroupNorm, then one linear layer: [B, 1, 8, 8] to [B, 10] scores."""

    def __init__(self, width: int) -> None:
        """``width``: channels of the first layer, a multiple of 4."""
        super().__init__(
            *convolution(1, width, stride=1),
            *convolution(width, 2 * width, stride=2),
            *convolution(2 * width, 2 * width, stride=2),
            nn.Flatten(),
            nn.Linear(8 * width, CLASSES),
        )


def convolution(inputs: int, outputs: int, stride: int) -> list[nn.Module]:
    """A 3 × 3 convolution, GroupNorm and ReLU. GroupNorm, because it needs no running statistics."""
    return [
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
        nn.GroupNorm(4, outputs),
        nn.ReLU(),
    ]


def examples() -> tuple[Examples, Examples]:
    """Training and test examples: float32[B, 1, 8, 8] in [−1, 1] and int64[B], split the same way everywhere."""
    pixels, labels = load_digits(return_X_y=True)
    images = torch.from_numpy(((pixels - 8.0) / 8.0).astype(np.float32)).view(-1, 1, 8, 8)
    targets = torch.from_numpy(labels.astype(np.int64))
    order = torch.from_numpy(permutation(len(images), b"digits"))
    test, train = order[:TEST_EXAMPLES], order[TEST_EXAMPLES:]
    return (images[train], targets[train]), (images[test], targets[test])


def digits(device: str = "cpu", path: str | None = None, batch_size: int = 64, width: int = 12) -> TorchTask:
    """The task. No ``path`` is taken: the data come with scikit-learn. Raises ``TaskError``."""
    refuse_data("digits", path)
    train, test = examples()
    return TorchTask(
        name="digits",
        model=lambda: he_uniform(DigitsNet(width), "digits"),
        loss=cross_entropy,
        loss_name="nats per image",
        train=train,
        test=test,
        batch_size=batch_size,
        classes=CLASSES,
        defaults=DEFAULTS,
        device=device,
    )
