"""What all attacks share: when they act, and that colluders never accuse each other."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from btard.network.coalition import Seating
from btard.protocol.arithmetic import Float32, admissible_gradient
from btard.protocol.messages import Accusation
from btard.protocol.model import ProtocolError
from btard.protocol.step import Conduct, Plan, State


class AttackError(ProtocolError):
    """An attack that does not do what an attack can do; the message is one sentence."""


class Attack(Conduct):
    """An honest peer except where a subclass replaces a method.

    ``summary`` is the line that ``btard attacks`` prints, ``default_scale`` the strength when none is asked for.
    """

    summary: ClassVar[str] = ""
    default_scale: ClassVar[float] = 1.0

    def __init__(self, seating: Seating) -> None:
        self.seating = seating
        self.world = seating.world
        self.scale = self.default_scale if seating.scale is None else seating.scale

    def acts(self, state: State) -> bool:
        """Whether this is a step of the attack."""
        return self.seating.acts(state.step)

    def random(self, state: State) -> np.random.Generator:
        """Randomness of one step, the same in a repeated run."""
        return np.random.default_rng([self.seating.seed, state.step, *self.seating.peer])

    def accusations(self, state: State, plan: Plan, honest: tuple[Accusation, ...]) -> tuple[Accusation, ...]:
        """Colluders never accuse each other."""
        return tuple(accusation for accusation in honest if accusation.accused not in self.world.coalition)


class GradientAttack(Attack):
    """An attack on the gradient. The result is clipped to λ: anything longer convicts itself at once."""

    def gradient(self, state: State, honest: Float32) -> Float32:
        """The poisoned gradient in steps of the attack, else the honest one."""
        with np.errstate(all="ignore"):  # an attack may overflow on purpose
            poisoned = np.asarray(self.poison(state, honest) if self.acts(state) else honest, dtype=np.float32)
        if poisoned.shape != honest.shape:
            raise AttackError(f"{type(self).__name__}.poison gave shape {poisoned.shape}, not {honest.shape}")
        limit = self.world.gradient_limit
        return poisoned if limit is None else admissible_gradient(poisoned, limit)

    def poison(self, state: State, honest: Float32) -> Float32:
        """What to send instead of ``honest``; both float32 ``[d]``."""
        raise NotImplementedError
