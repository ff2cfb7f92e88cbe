"""Attacks on the protocol itself: messages that an honest peer would not send."""

from __future__ import annotations

from btard.protocol.messages import Accusation
from btard.protocol.step import Plan, State

from btard_adversary.attacks.base import Attack


class FalseAccuser(Attack):
    """Accuses a random honest worker of a lie about the part that the accuser aggregated."""

    summary = "accuse a random honest worker of a lie it did not tell"

    def accusations(self, state: State, plan: Plan, honest: tuple[Accusation, ...]) -> tuple[Accusation, ...]:
        """The accusations kept, and one false one."""
        kept = super().accusations(state, plan, honest)
        past = state.transcript(state.step - 1)
        if past is None or self.seating.peer not in past.workers or not self.acts(state):
            return kept
        innocent = [peer for peer in past.workers if peer in state.roster and peer not in self.world.coalition]
        victim = Accusation(innocent[self.random(state).integers(len(innocent))], past.step)
        return tuple(sorted({*kept, victim}))
