"""What a trusted server asks of its workers and makes of their answers: training without the protocol."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from btard.protocol.arithmetic import Float32
from btard.protocol.model import PeerId
from btard.protocol.mprng import gradient_seed
from btard.protocol.state import State

Messages = Mapping[PeerId, Float32]
"""What every worker sends, float32 ``[rows, d]`` each, in the order of the roster."""


class ServerRule:
    """One run's server, with its workers: here the plain mean of a gradient from each.

    A subclass replaces what is different. The three methods are called in their order, once per step; whatever is
    remembered from step to step lives in the object, so that every run has one of its own.
    """

    def seeds(self, state: State, worker: PeerId) -> tuple[bytes, ...]:
        """The batches whose gradients ``worker`` computes. Workers that share a seed compute the same gradient."""
        return (gradient_seed(state.run, state.randomness, state.step, worker),)

    def message(self, state: State, worker: PeerId, gradients: Float32) -> Float32:
        """What an honest ``worker`` sends, float32 ``[rows, d]``, given its ``gradients``, float32 ``[seeds, d]``.

        Called for attackers too: it is what they would have sent. Their attack then replaces it row by row,
        knowing the same row of all honest messages.
        """
        return gradients

    def aggregate(self, state: State, messages: Messages) -> Float32:
        """What the update is given, float32 ``[d]``. Nothing is known of ``messages`` but their shape."""
        sent = [message[0] for message in messages.values()]
        return np.asarray(np.mean(sent, axis=0, dtype=np.float32))
