"""What tests of the profiles ask of a run: the applied attempts, and the true gradients."""

from __future__ import annotations

from btard.protocol.arithmetic import Float32, admissible_gradient, float32_bytes
from btard.protocol.messages import body_hash
from btard.protocol.model import PeerId
from btard.protocol.verification import Transcript
from swarms import Swarm


def applied(run: Swarm) -> list[Transcript]:
    """The applied attempts, by step."""
    found = {past.step: past for seen in run.observed for past in seen.state.history}
    return [found[step] for step in sorted(found)]


def true_gradient(run: Swarm, past: Transcript, worker: PeerId) -> Float32:
    """What ``worker`` should have computed, float32 ``[d]``."""
    assert past.parameters is not None
    seed = past.groups.seed(past.run, past.seed_randomness, past.step, worker)
    return admissible_gradient(run.task.gradient(past.parameters, seed), past.gradient_clip)


def part_hashes(gradient: Float32, bounds: tuple[slice, ...]) -> tuple[bytes, ...]:
    """What a worker of profile btard announces about ``gradient`` float32 ``[d]`` (STEP-3)."""
    return tuple(body_hash(float32_bytes(gradient[bound])) for bound in bounds)
