"""What a simulated run keeps in its directory so that ``btard train --resume`` can go on after a kill."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from btard.network.faults import Faults
from btard.network.simulator import Boundary, Simulation
from btard.network.store import Checkpoints, ResumeError, write_atomically
from btard.protocol.model import PeerId
from btard.protocol.recovery import CheckpointError
from btard.protocol.state import State

CHECKPOINT_STEPS = 10
"""A checkpoint is written after every so many steps."""


@dataclass(frozen=True)
class Saved:
    """A swarm at a step boundary."""

    agreed: State
    """An honest member's."""
    bytes_sent: int
    boundaries: Mapping[PeerId, Boundary]
    """Of every peer that is still in the run."""
    sizes: Mapping[str, int]
    """How long each file was, by its path in the run directory."""
    recruits: tuple[PeerId, ...]
    away: tuple[PeerId, ...]
    cuts: tuple[PeerId, ...]


class RunStore:
    """The settings and checkpoints of one run directory."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.checkpoints = Checkpoints(out)

    def begin(self, settings: Any) -> None:
        """Remember how the run was asked for; forget an earlier run's checkpoints."""
        self.checkpoints.clear()
        text = json.dumps(asdict(settings), indent=2) + "\n"
        write_atomically(self.out / "settings.json", text.encode())

    def settings(self, kind: type[Any]) -> Any:
        """How the run was asked for. Raises :class:`ResumeError` if this is no directory of a run."""
        try:
            table = json.loads((self.out / "settings.json").read_text())
            known = {f.name for f in fields(kind)}
            values = {name: tuple(v) if isinstance(v, list) else v for name, v in table.items() if name in known}
            values["faults"] = Faults(**table["faults"])
            if "optimizer" in table["overrides"]:
                pairs = table["overrides"]["optimizer"]
                values["overrides"] = {**table["overrides"], "optimizer": tuple((k, v) for k, v in pairs)}
            return kind(**values)
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise ResumeError(f"'{self.out}' holds no run that could be resumed") from error

    def save(self, simulation: Simulation, observed: Any, recruits: Iterable[PeerId], away: Iterable[PeerId]) -> None:
        """Keep the swarm at this step boundary, unless somebody is between two steps or cannot be kept."""
        step, kept = observed.state.step, simulation.saved
        present = [seat for seat in simulation.live if not simulation.cut_off(seat.id)]
        known = [seat.id in kept and kept[seat.id].state.step == step for seat in present]
        if step % CHECKPOINT_STEPS or not all(known) or any(seat.id in recruits for seat in present):
            return
        saved = Saved(
            agreed=observed.state,
            bytes_sent=observed.bytes_sent - sum(s.bytes_sent - kept[s.id].bytes_sent for s in present),
            boundaries={seat.id: kept[seat.id] for seat in present},
            sizes={str(path.relative_to(self.out)): path.stat().st_size for path in self.files()},
            recruits=tuple(sorted(recruits)),
            away=tuple(away),
            cuts=tuple(seat.id for seat in simulation.live if simulation.cut_off(seat.id)),
        )
        try:
            self.checkpoints.save(
                {f.name: getattr(saved, f.name) for f in fields(saved)}
                | {"boundaries": {peer: tuple(kept) for peer, kept in saved.boundaries.items()}}
            )
        except CheckpointError:
            return  # an attack that remembers what no checkpoint can hold: an earlier one must do

    def files(self) -> list[Path]:
        """What the run has written so far."""
        return [path for path in (self.out / "metrics.jsonl", *sorted((self.out / "log").glob("*"))) if path.is_file()]

    def load(self) -> Saved | None:
        """The latest whole checkpoint; None if the run was killed before its first."""
        found = self.checkpoints.load()
        if found is None:
            return None
        boundaries = {peer: Boundary(*kept) for peer, kept in found.pop("boundaries").items()}
        return Saved(boundaries=boundaries, **found)
