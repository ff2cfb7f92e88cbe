"""Small runs of :class:`~swarms.TinyTask` on a simulated network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from btard.network.coalition import World
from btard.network.simulator import Observed, Simulation
from btard.network.virtual import NetworkSimulation
from btard.protocol.model import PeerId
from btard.protocol.state import Conduct
from swarms import TinyTask, configuration, genesis, identities

DELAY, GRADIENT_TIME = 1.0, 10.0


def peers(count: int, seed: int = 0) -> list[PeerId]:
    """The first roster."""
    return [identity.peer_id for identity in identities(count, seed)]


def simulation(
    count: int = 6,
    tolerated: int = 2,
    steps: int = 3,
    seed: int = 0,
    conducts: Mapping[PeerId, Conduct] | None = None,
    kind: type[Simulation] = NetworkSimulation,
    **network: Any,
) -> Any:
    """A run that has not started. ``network``: fields of its ``kind``."""
    config = configuration(
        peers=count,
        tolerated=tolerated,
        steps=steps,
        dimension=max(32, count),
        radius_min=0.25 if count < 32 else 4.0,  # MODEL-7
        delay=DELAY,
        gradient_time=GRADIENT_TIME,
    )
    task = TinyTask(config.dimension)
    world = World(frozenset(conducts or ()), config.gradient_clip)
    keys = identities(count, seed)
    return kind(genesis(config, seed), keys, task.initial_parameters(), task, world, conducts or {}, **network)


def end(run: Simulation) -> Observed:
    """What the run ends with."""
    *_, last = run.run()
    return last
