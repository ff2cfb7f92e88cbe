"""The JSON form of a transcript, and attempts to make vectors of (chapters ``verification`` to ``tolerance``)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from btard.conformance.vectors.built import drawn
from btard.conformance.vectors.forms import (
    octets,
    read_real,
    read_reals,
    read_singles,
    real,
    reals,
    singles,
    texts,
)
from btard.protocol.arithmetic import Float32, Float64
from btard.protocol.butterfly_clip import Radii, centered_clip
from btard.protocol.log import Finding
from btard.protocol.model import BTARD, Configuration, PeerId
from btard.protocol.profile import NO_GROUPS, Groups
from btard.protocol.state import State
from btard.protocol.verification import Transcript, profile_of, report_of

TRANSCRIPT = (
    "an attempt, with the fields that the operation needs: `profile`: text; `run`: bytes; `step` t; `tolerated` b_t; "
    "`gradient_clip`: real λ; `seed_randomness`: bytes r_{t−1}; `randomness`: bytes r_t; `workers`: list of their ids, "
    "in order; `dimension` d; `radii`: float64 vector, τ of each part (infinite in the other profiles); `part_hashes`: "
    "a list for each worker, with the hash of each part; `aggregate_hashes`: list, of each part; `reports`: for each "
    "worker `{products, norms}`, float64 vectors with a number for each part; `aggregate`: float32 vector ĝ; "
    "`settled`: ids of the aggregators that have stood trial for their parts; `candidates`: list of `[id, hash]`, what "
    "each committed to on probation; `groups`: `{members, size, compression}`, with a list of ids for each group, r_t "
    "and r_c; `checked`: k, how many chunks of a part are shown"
)


def plain_groups(groups: Groups) -> dict[str, Any]:
    """Groups: ids of the members of each, r_t, r_c."""
    members = [texts(group) for group in groups.members]
    return {"members": members, "size": groups.size, "compression": groups.compression}


def read_groups(plain: dict[str, Any]) -> Groups:
    """Inverse of :func:`plain_groups`."""
    return Groups(tuple(octets(group) for group in plain["members"]), plain["size"], plain["compression"])


def plain_reports(reports: Float64) -> list[dict[str, str]]:
    """Reports float64 ``[workers, 2, parts]``."""
    return [{"products": reals(report[0]), "norms": reals(report[1])} for report in reports]


def read_reports(plain: list[dict[str, str]]) -> Float64:
    """Inverse of :func:`plain_reports`."""
    return np.array([[read_reals(report["products"]), read_reals(report["norms"])] for report in plain])


def plain_transcript(transcript: Transcript, without: Iterable[str] = ()) -> dict[str, Any]:
    """A transcript as it stands in a vector, ``without`` the fields that do not matter there."""
    plain: dict[str, Any] = {
        "profile": transcript.profile,
        "run": transcript.run.hex(),
        "step": transcript.step,
        "tolerated": transcript.tolerated,
        "gradient_clip": real(transcript.gradient_clip),
        "seed_randomness": transcript.seed_randomness.hex(),
        "randomness": transcript.randomness.hex(),
        "workers": texts(transcript.workers),
        "dimension": transcript.dimension,
        "radii": reals(transcript.radii),
        "part_hashes": [texts(hashes) for hashes in transcript.part_hashes],
        "aggregate_hashes": texts(transcript.aggregate_hashes),
        "reports": plain_reports(transcript.reports),
        "settled": texts(sorted(transcript.settled)),
        "candidates": [texts(candidate) for candidate in transcript.candidates],
    }
    if transcript.checked:
        plain["checked"] = transcript.checked
    if transcript.aggregate is not None:
        plain["aggregate"] = singles(transcript.aggregate)
    if transcript.groups != NO_GROUPS:
        plain["groups"] = plain_groups(transcript.groups)
    return {field: value for field, value in plain.items() if value not in ([], "") and field not in without}


def read_transcript(plain: dict[str, Any]) -> Transcript:
    """Inverse of :func:`plain_transcript`; what is not there does not matter."""
    workers = octets(plain["workers"])
    return Transcript(
        run=bytes.fromhex(plain.get("run", "")),
        step=plain.get("step", 0),
        tolerated=plain.get("tolerated", 0),
        gradient_clip=read_real(plain["gradient_clip"]) if "gradient_clip" in plain else np.inf,
        seed_randomness=bytes.fromhex(plain.get("seed_randomness", "")),
        randomness=bytes.fromhex(plain.get("randomness", "")),
        workers=workers,
        dimension=plain.get("dimension", len(workers)),
        radii=read_reals(plain["radii"]) if "radii" in plain else np.full(len(workers), np.inf),
        part_hashes=tuple(octets(hashes) for hashes in plain.get("part_hashes", [])),
        aggregate_hashes=octets(plain.get("aggregate_hashes", [])),
        reports=read_reports(plain["reports"]) if "reports" in plain else np.zeros((len(workers), 2, 0)),
        parameters=np.zeros(0, np.float32),
        aggregate=read_singles(plain["aggregate"]) if "aggregate" in plain else None,
        settled=frozenset(octets(plain.get("settled", []))),
        candidates=tuple((bytes.fromhex(peer), bytes.fromhex(told)) for peer, told in plain.get("candidates", [])),
        profile=plain.get("profile", BTARD),
        groups=read_groups(plain["groups"]) if "groups" in plain else NO_GROUPS,
        checked=plain.get("checked", 0),
    )


def plain_finding(finding: Finding) -> dict[str, Any]:
    """A finding: whose, the code of the fault, and the true report or no bytes."""
    return {"peer": finding.peer.hex(), "fault": int(finding.fault), "correction": finding.correction.hex()}


# -- Attempts to make vectors of ------------------------------------------------------------------


def ids(count: int) -> tuple[PeerId, ...]:
    """Ids in ascending order."""
    return tuple(bytes([17 * k + 3]) * 32 for k in range(count))


def state_of(config: Configuration, **fields: Any) -> State:
    """A state, for functions that look at a few of its fields only."""
    none = np.zeros(0)
    blank = State(config, b"", (), config.tolerated, 0, 0, b"", Radii((), none, none), b"", 1)
    return replace(blank, **fields)


def attempt_of(
    workers: int, dimension: int, radius: float = 1.0, profile: str = BTARD, groups: Groups = NO_GROUPS, **fields: Any
) -> tuple[Transcript, Float32]:
    """An attempt of honest workers without an aggregate, and their gradients."""
    own = drawn(f"gradients {workers} {dimension}", workers, dimension)
    bare = Transcript(
        run=bytes(range(32)), step=7, tolerated=1, gradient_clip=8.0, seed_randomness=b"\x5a" * 32,
        randomness=b"\xa5" * 32, workers=ids(workers), dimension=dimension, radii=np.full(workers, radius),
        part_hashes=(), aggregate_hashes=(), reports=np.zeros((workers, 2, 0)), profile=profile, groups=groups,
    )  # fmt: skip
    transcript = replace(bare, **fields)
    place = {w: k for k, group in enumerate(transcript.groups.members) for w in group}
    rows = [own[place.get(worker, k)] for k, worker in enumerate(transcript.workers)]
    return transcript, np.stack(rows)


def announced(transcript: Transcript, gradients: Iterable[Float32]) -> Transcript:
    """With the hashes of the workers' parts."""
    profile = profile_of(transcript)
    pairs = zip(transcript.workers, gradients, strict=True)
    return replace(transcript, part_hashes=tuple(profile.hashes(transcript, w, g) for w, g in pairs))


def reported(transcript: Transcript, gradients: Iterable[Float32]) -> Transcript:
    """With the true reports about the aggregate."""
    return replace(transcript, reports=np.stack([report_of(transcript, gradient) for gradient in gradients]))


def honest_attempt(workers: int = 4, dimension: int = 11, radius: float = 1.0) -> tuple[Transcript, Float32]:
    """An attempt of profile btard in which everybody tells the truth, and the gradients."""
    transcript, gradients = attempt_of(workers, dimension, radius)
    return judged(transcript, gradients, rounded_aggregate(transcript, gradients)), gradients


def judged(transcript: Transcript, gradients: Float32, aggregate: Float32) -> Transcript:
    """The attempt with this aggregate, and what honest workers say about it."""
    return reported(announced(replace(transcript, aggregate=aggregate), gradients), gradients)


def rounded_aggregate(transcript: Transcript, gradients: Float32) -> Float32:
    """An aggregate with a few digits: residuals far below ε, and the same on every machine."""
    parts = [
        centered_clip(gradients[:, bound], float(radius), 1e-6 * float(radius))
        for bound, radius in zip(transcript.bounds, transcript.radii, strict=True)
    ]
    return np.asarray(np.round(np.concatenate(parts) * 512) / np.float32(512), dtype=np.float32)
