"""Vectors of chapter ``model``."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

from btard.conformance.vectors.cases import Chapter, operation
from btard.conformance.vectors.forms import read_real, real
from btard.protocol.model import (
    MAX_DIMENSION,
    MAX_PEERS,
    MAX_STEPS,
    REAL_FIELDS,
    Configuration,
    checked_chunks,
    default_distance_ratio,
    distance_ratio_bound,
    fewest,
    group_size_at,
    least_radius,
    reachable,
    rounding_reach,
    validator_count,
)

FLAGS = {
    "counts": "takes numbers of peers, steps or parameters beyond their bounds",
    "majority": "takes n = 2b + 1",
    "edge": "takes < for ≤ or > for ≥, or the other way round",
    "not-a-number": "compares so that NaN passes",
    "out-of-range": "takes a real constant that is negative, 0 where it must not be, or too large",
    "validators-work": "counts validators among the honest workers",
    "no-residual": "counts b instead of b + φ faulty vectors",
    "first-census": "checks the first roster only, and not what removals make of it",
    "no-minimum": "takes m_max validators wherever there are so many peers, or one too many or too few",
    "early-validators": "gives steps 0 and 1 validators",
    "singles-only": "forgets the removals of pairs, or those of single peers",
    "other-default": "fills in another default, or one for the first roster alone",
    "tolerance": "takes η and μ for which judges may differ",
    "other-profile": "takes constants of one profile in another, or a profile that does not exist",
    "small-group": "takes groups that cannot bear their liars, or for which there are too few workers",
    "long-report": "takes a report of chunks that does not fit",
    "by-logarithm": "computes the number of chunks with a logarithm, or one too few",
}


@operation(
    "model.configuration",
    "fields of the configuration, by name: counts as numbers, `profile` and `task` as text, the others as real "
    "numbers; what is absent has its default",
    "an object with `distance_ratio` (κ; of another profile than `btard`: as given, else 0) and `margin` (μ) as real "
    "numbers, `group_size` (0 in other profiles than `redundant-code`), and `validators`: those of step 2 if nobody is "
    "removed. Defaults count as in the functions of this chapter, operation by operation. Refused: a configuration "
    "that violates a requirement",
)
def compute_configuration(given: dict[str, Any]) -> dict[str, Any]:
    """MODEL-1 to MODEL-7, TOL-1, PROF-1, CODE-2, CODE-9, SIGN-9."""
    fields: dict[str, Any] = {name: read_real(value) if name in REAL_FIELDS else value for name, value in given.items()}
    config = Configuration(**fields)
    return {
        "distance_ratio": real(config.distance_ratio),
        "margin": real(config.margin),
        "group_size": config.group_size,
        "validators": validator_count(config.peers, config.tolerated, config.validators),
    }


@operation("model.validators", "`step`; `peers`: n_t; `tolerated`: b_t; `most`: m_max", "m_t, the number of validators")
def compute_validators(given: dict[str, Any]) -> int:
    """MODEL-2."""
    return validator_count(given["peers"], given["tolerated"], given["most"]) if given["step"] >= 2 else 0


@operation(
    "model.reachable",
    "`peers`: n; `tolerated`: b; `most`: m_max",
    "list of all lists (n_t, b_t, m_t) that removals can lead to, with the validators of MODEL-2 and with none, each "
    "once, in ascending order",
)
def compute_reachable(given: dict[str, Any]) -> list[list[int]]:
    """MODEL-5: which censuses it is checked for."""
    censuses = reachable(given["peers"], given["tolerated"], given["most"])
    return [list(census) for census in sorted(set(censuses))]


@operation("model.fewest", "`peers`: n; `tolerated`: b", "`fewest`(n, b)")
def compute_fewest(given: dict[str, Any]) -> int:
    """MODEL-4: for which rosters the default of κ is computed."""
    return fewest(given["peers"], given["tolerated"])


@operation(
    "model.least_radius",
    "`peers`: n; `tolerated`: b; `most`: m_max; `gradient_clip`, `radius_max`, `residual_ratio`: real numbers",
    "real number: the least τ_min, as the function `least_radius` computes it",
)
def compute_least_radius(given: dict[str, Any]) -> str:
    """MODEL-7."""
    counts = [given[name] for name in ("peers", "tolerated", "most")]
    return real(
        least_radius(*counts, *(read_real(given[n]) for n in ("gradient_clip", "radius_max", "residual_ratio")))
    )


@operation("model.checked_chunks", "`detection`: real number, P", "k, how many chunks of a part are shown")
def compute_checked_chunks(given: dict[str, Any]) -> int:
    """SIGN-4."""
    return checked_chunks(read_real(given["detection"]))


@operation(
    "model.group_size", "`group_size`: r; `liars`: s; `tolerated`: b_t", "r_t, the least number of members of a group"
)
def compute_group_size(given: dict[str, Any]) -> int:
    """CODE-9."""
    return group_size_at(given["group_size"], given["liars"], given["tolerated"])


USUAL: dict[str, Any] = {
    "peers": 16, "tolerated": 7, "dimension": 1000, "steps": 100,
    "gradient_clip": 10.0, "radius_initial": 1.0, "radius_min": 0.01, "radius_max": 10.0,
}  # fmt: skip
CODED: dict[str, Any] = {**USUAL, "tolerated": 3, "profile": "redundant-code", "liars": 3}
VOTED: dict[str, Any] = {**USUAL, "profile": "majority-vote"}


def plain(fields: dict[str, Any]) -> dict[str, Any]:
    """Fields of a configuration as they stand in a vector."""
    return {name: real(value) if name in REAL_FIELDS else value for name, value in fields.items()}


def taken(made: Chapter, id: str, requirements: str, base: dict[str, Any], **change: Any) -> None:
    """A configuration that must be taken."""
    made.right(id, "model.configuration", requirements, **plain({**base, **change}))


def refused(made: Chapter, id: str, requirements: str, flag: str, base: dict[str, Any], **change: Any) -> None:
    """A configuration that must be refused."""
    made.refused(id, "model.configuration", requirements, flag, **plain({**base, **change}))


def chapter() -> Chapter:
    """All vectors of the chapter."""
    made = Chapter("model", FLAGS)
    for add in (
        add_usual, add_counts, add_reals, add_factor, add_ratios, add_radii, add_defaults, add_tolerance, add_profiles,
        add_groups, add_chunks, add_censuses, add_least_radii,
    ):  # fmt: skip
        add(made)
    return made


def add_usual(made: Chapter) -> None:
    """Configurations with nothing special."""
    for peers, tolerated in ((2, 0), (4, 1), (8, 3), (16, 3), (16, 7), (64, 20)):
        taken(made, f"{peers}-{tolerated}", "MODEL-1 MODEL-6", USUAL, peers=peers, tolerated=tolerated)
    taken(made, "all-set", "MODEL-4", USUAL, validators=2, residual_ratio=0.25, spread_ratio=2.0, distance_ratio=99.0,
          radius_factor=0.5, delay=0.25, gradient_time=0.0, detection=0.5, task="digits")  # fmt: skip


def add_counts(made: Chapter) -> None:
    """MODEL-1 to MODEL-3, both sides of every edge."""
    great = {"dimension": 2000, "tolerated": 3, "radius_min": 1.0}
    edges: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
        "no-faulty": ("MODEL-1", {"tolerated": 0}, {"tolerated": -1}),
        "most-peers": ("MODEL-1", {**great, "peers": MAX_PEERS}, {**great, "peers": MAX_PEERS + 1}),
        "one-step": ("MODEL-1", {"steps": 1}, {"steps": 0}),
        "most-steps": ("MODEL-1", {"steps": MAX_STEPS}, {"steps": MAX_STEPS + 1}),
        "one-validator": ("MODEL-2", {"validators": 1}, {"validators": 0}),
        "as-many-parameters": ("MODEL-3", {"dimension": 16}, {"dimension": 15}),
        "most-parameters": ("MODEL-3", {"dimension": MAX_DIMENSION}, {"dimension": MAX_DIMENSION + 1}),
    }
    for name, (requirement, right, wrong) in edges.items():
        taken(made, name, requirement, USUAL, **right)
        refused(made, f"{name}-beyond", requirement, "counts", USUAL, **wrong)
    refused(made, "validators-negative", "MODEL-2", "counts", USUAL, validators=-1)
    for peers, tolerated in ((2, 1), (3, 1), (15, 7), (16, 8), (1, 0), (0, 0)):
        refused(made, f"{peers}-{tolerated}", "MODEL-1", "majority", USUAL, peers=peers, tolerated=tolerated)


GREATEST, LEAST = 2.0**100, 2.0**-100
ABOVE, BELOW = math.nextafter(GREATEST, math.inf), math.nextafter(LEAST, 0)


def add_reals(made: Chapter) -> None:
    """MODEL-4, both sides of every edge."""
    for name in REAL_FIELDS:
        refused(made, f"{name}-nan", "MODEL-4", "not-a-number", USUAL, **{name: math.nan})
        refused(made, f"{name}-infinite", "MODEL-4", "out-of-range", USUAL, **{name: math.inf})
        refused(made, f"{name}-negative", "MODEL-4", "out-of-range", USUAL, **{name: -1.0})
    for name in ("delay", "gradient_time", "radius_max", "distance_ratio"):
        easy = {"radius_min": 2.0**90} if name == "radius_max" else {}
        taken(made, f"{name}-greatest", "MODEL-4", USUAL, **{**easy, name: GREATEST})
        refused(made, f"{name}-too-great", "MODEL-4", "out-of-range", USUAL, **{**easy, name: ABOVE})
    zeros = (
        "gradient_clip radius_initial radius_min radius_max residual_ratio spread_ratio radius_factor delay detection"
    )
    for name in zeros.split():
        refused(made, f"{name}-zero", "MODEL-4", "out-of-range", USUAL, **{name: 0.0})
    taken(made, "gradient_time-zero", "MODEL-4", USUAL, gradient_time=0.0)
    for name in ("residual_ratio", "detection"):
        refused(made, f"{name}-one", "MODEL-4", "edge", USUAL, **{name: 1.0})
    below_one = math.nextafter(1.0, 0)
    taken(made, "detection-near-one", "MODEL-4", USUAL, detection=below_one)
    taken(made, "residual-near-one", "MODEL-4", USUAL, tolerated=3, residual_ratio=below_one)
    add_least_norms(made)


def add_least_norms(made: Chapter) -> None:
    """MODEL-4: λ, τ_0, τ_min and τ_max among themselves."""
    small = {**USUAL, "gradient_clip": LEAST, "radius_max": 1.0, "radius_min": 0.1}
    tiny = {**USUAL, "gradient_clip": LEAST, "radius_initial": LEAST, "radius_max": LEAST, "radius_min": LEAST}
    taken(made, "least-clip", "MODEL-4", small)
    refused(made, "clip-below-least", "MODEL-4", "out-of-range", small, gradient_clip=BELOW)
    taken(made, "least-radius", "MODEL-4", tiny)
    refused(made, "radius-below-least", "MODEL-4", "out-of-range", tiny, radius_min=BELOW)
    taken(made, "radii-equal", "MODEL-4", USUAL, radius_min=10.0)
    refused(made, "radii-crossed", "MODEL-4", "edge", USUAL, radius_min=math.nextafter(10.0, 11))
    taken(made, "start-is-greatest", "MODEL-4", USUAL, radius_initial=10.0)
    taken(made, "start-below-least", "MODEL-4", USUAL, radius_initial=2.0**-200)
    refused(made, "start-above-greatest", "MODEL-4", "edge", USUAL, radius_initial=math.nextafter(10.0, 11))


def last_that(holds: Callable[[float], bool], right: float, wrong: float) -> float:
    """The number beside the edge between ``right``, for which ``holds`` is true, and ``wrong``, for which it is not."""
    while math.nextafter(right, wrong) != wrong:
        middle = right + (wrong - right) / 2
        right, wrong = (middle, wrong) if holds(middle) else (right, middle)
    return right


def add_factor(made: Chapter) -> None:
    """MODEL-5: c · (b_t + φ) < h_t. In the first roster of USUAL h is 8, and b + φ is 7.1."""
    edge = last_that(lambda c: c * 7.1 < 8, 1.0, 2.0)
    taken(made, "factor-at-the-edge", "MODEL-5", USUAL, radius_factor=edge)
    refused(made, "factor-beyond", "MODEL-5", "edge", USUAL, radius_factor=math.nextafter(edge, math.inf))
    exact = {**USUAL, "peers": 17, "tolerated": 4, "residual_ratio": 0.5}  # h = 9
    taken(made, "factor-below-exact", "MODEL-5", exact, radius_factor=math.nextafter(2.0, 0))
    refused(made, "factor-exact", "MODEL-5", "edge", exact, radius_factor=2.0)
    refused(made, "factor-without-residual", "MODEL-5", "no-residual", USUAL, radius_factor=8 / 7.05)
    refused(made, "factor-with-validators", "MODEL-5", "validators-work", exact, radius_factor=2.5)
    taken(made, "factor-small", "MODEL-5", USUAL, radius_factor=1e-300)


def add_ratios(made: Chapter) -> None:
    """MODEL-6: κ above its bound, which is κ's default without its 1 %."""
    for name, base in (("b-7", USUAL), ("b-3", {**USUAL, "tolerated": 3}), ("b-0", {**USUAL, "tolerated": 0})):
        bound = max(distance_ratio_bound(c, 0.1, 4.0) for c in reachable(16, base["tolerated"], 4))
        taken(made, f"ratio-{name}", "MODEL-6", base, distance_ratio=math.nextafter(bound, math.inf))
        refused(made, f"ratio-is-bound-{name}", "MODEL-6", "edge", base, distance_ratio=bound)
        refused(made, f"ratio-below-{name}", "MODEL-6", "edge", base, distance_ratio=0.99 * bound)
        no_validators = 4 + 4 * (16 + 0.1) / (16 - 2 * base["tolerated"] - 0.1)
        refused(made, f"ratio-all-work-{name}", "MODEL-6", "validators-work", base, distance_ratio=no_validators)
    without_residual = 4 + 4 * 15 / 1
    refused(made, "ratio-without-residual", "MODEL-6", "no-residual", USUAL, distance_ratio=without_residual)
    # Where the spread is small, the first entry of the maximum counts.
    small = {**USUAL, "spread_ratio": 0.001}
    bound = 0.001 + 7.1 / 8
    taken(made, "ratio-of-liars", "MODEL-6", small, distance_ratio=math.nextafter(bound, math.inf))
    refused(made, "ratio-of-liars-is-bound", "MODEL-6", "edge", small, distance_ratio=bound)
    refused(made, "ratio-of-spread-alone", "MODEL-6", "edge", small, distance_ratio=0.001 + 0.001 * 15.1 / 0.9 + 1e-9)


def reaches(reach: float, least: float) -> bool:
    """MODEL-7 for τ_min = ``least``."""
    return reach <= 0.1 * least / 2


def add_radii(made: Chapter) -> None:
    """MODEL-7: τ_min, by either entry of the maximum."""
    cases: dict[str, dict[str, Any]] = {
        "by-clip": {"gradient_clip": 100.0},
        "by-radius": {"gradient_clip": 0.01, "radius_max": 100.0},
        "b-3": {"tolerated": 3},
    }
    for name, change in cases.items():
        base = {**USUAL, **change}
        censuses = reachable(16, base["tolerated"], 4)
        reach = max(rounding_reach(census, base["gradient_clip"], base["radius_max"], 0.1) for census in censuses)
        edge = last_that(partial(reaches, reach), 21 * reach, 19 * reach)
        taken(made, f"radius-{name}", "MODEL-7", base, radius_min=edge)
        refused(made, f"radius-below-{name}", "MODEL-7", "edge", base, radius_min=math.nextafter(edge, 0))
        refused(made, f"radius-half-{name}", "MODEL-7", "edge", base, radius_min=edge / 2)
    clip = USUAL["gradient_clip"]
    working, liars = 2 / 0.1 * 16 * 2.0**-24 * clip * 16.1 / 1.9, 2 / 0.1 * 16 * 2.0**-24 * clip * 15 / 1
    refused(made, "radius-all-work", "MODEL-7", "validators-work", USUAL, radius_min=working)
    refused(made, "radius-without-residual", "MODEL-7", "no-residual", USUAL, radius_min=liars)


def add_defaults(made: Chapter) -> None:
    """MODEL-4: κ, μ and r where they are not given."""
    taken(made, "zero-is-default", "MODEL-4", USUAL, distance_ratio=0.0, margin=0.0)
    taken(made, "default-margin", "MODEL-4", USUAL, tolerance=1e-5)
    for peers, tolerated, most in ((16, 3, 4), (64, 20, 4), (40, 2, 8)):
        fields = {**USUAL, "peers": peers, "tolerated": tolerated, "validators": most}
        own = max(distance_ratio_bound(census, 0.1, 4.0) for census in reachable(peers, tolerated, most))
        given = compute_configuration(plain(fields))
        for name, kappa in (
            ("own-roster", 1.01 * own),
            ("no-percent", default_distance_ratio(peers, tolerated, most, 0.1, 4.0) / 1.01),
        ):
            mistaken = {**given, "distance_ratio": real(kappa)}
            made.trap(
                f"{name}-{peers}-{tolerated}", "model.configuration", "MODEL-6", "other-default", mistaken,
                **plain(fields),
            )  # fmt: skip
    tolerant = plain({**USUAL, "tolerance": 1e-5})
    mistaken = {**compute_configuration(tolerant), "margin": real(1e-5)}
    made.trap("default-margin-is-tolerance", "model.configuration", "MODEL-4", "other-default", mistaken, **tolerant)
    for peers, tolerated, mistaken_fewest in ((16, 3, 8), (16, 7, 12), (17, 2, 12), (4, 0, 4), (3, 0, 2), (9, 3, 7)):
        made.trap(
            f"{peers}-{tolerated}", "model.fewest", "MODEL-4", "other-default", mistaken_fewest,
            peers=peers, tolerated=tolerated,
        )  # fmt: skip


def add_tolerance(made: Chapter) -> None:
    """TOL-1."""
    eta = 1e-3
    least = eta * (1 + eta) * (1 + 2.0**-20)
    edge = last_that(lambda mu: mu * (1 - eta) >= least, 2 * eta, eta)
    taken(made, "margin-at-the-edge", "TOL-1", USUAL, tolerance=eta, margin=edge)
    refused(made, "margin-beyond", "TOL-1", "tolerance", USUAL, tolerance=eta, margin=math.nextafter(edge, 0))
    refused(made, "margin-is-tolerance", "TOL-1", "tolerance", USUAL, tolerance=eta, margin=eta)
    bare = eta * (1 + eta) / (1 - eta)
    refused(made, "margin-without-slack", "TOL-1", "tolerance", USUAL, tolerance=eta, margin=bare * (1 + 2.0**-30))
    refused(made, "margin-without-tolerance", "TOL-1", "tolerance", USUAL, margin=1e-6)
    taken(made, "great-margin", "TOL-1", USUAL, tolerance=0.125, margin=0.4374)
    refused(made, "sum-is-one", "TOL-1", "tolerance", USUAL, tolerance=0.125, margin=0.4375)
    refused(made, "default-margin-too-great", "TOL-1", "tolerance", USUAL, tolerance=0.2)
    taken(made, "greatest-with-default", "TOL-1", USUAL, tolerance=math.nextafter(0.2, 0))
    refused(made, "tolerance-one", "TOL-1", "tolerance", USUAL, tolerance=1.0)


def add_profiles(made: Chapter) -> None:
    """PROF-1."""
    for name, base in (("vote", VOTED), ("code", CODED)):
        taken(made, name, "PROF-1", base)
        refused(made, f"{name}-tolerance", "PROF-1", "other-profile", base, tolerance=1e-5)
    for name in ("", "BTARD", "btard ", "majority_vote", "draco"):
        refused(made, f"profile-{name or 'empty'}", "PROF-1", "other-profile", USUAL, profile=name)
    for field, value in (("liars", 1), ("compression", 2), ("group_size", 1)):
        refused(made, f"{field}-in-btard", "PROF-1", "other-profile", USUAL, **{field: value})
        refused(made, f"{field}-in-majority-vote", "PROF-1", "other-profile", VOTED, **{field: value})
    refused(made, "no-compression", "PROF-1", "other-profile", USUAL, compression=0)
    taken(made, "ratios-unchecked-in-vote", "MODEL-5 MODEL-6 MODEL-7", VOTED, radius_factor=5.0, radius_min=1e-20)
    refused(made, "ratios-checked-in-btard", "MODEL-5 MODEL-6 MODEL-7", "edge", USUAL, radius_factor=5.0)
    refused(made, "counts-checked-in-vote", "MODEL-1", "majority", VOTED, peers=15)


def add_groups(made: Chapter) -> None:
    """CODE-2 and CODE-9."""
    taken(made, "group-least", "CODE-2", CODED, group_size=7)
    refused(made, "group-too-small", "CODE-2", "small-group", CODED, group_size=6)
    refused(made, "group-too-small-compressed", "CODE-2", "small-group", CODED, compression=2, group_size=7)
    refused(made, "group-negative-liars", "CODE-2", "small-group", CODED, liars=-1)
    refused(made, "group-no-compression", "CODE-2", "small-group", CODED, compression=0, group_size=7)
    wide = {**CODED, "peers": 40}
    taken(made, "group-greatest", "CODE-2", wide, group_size=20)
    refused(made, "group-too-great", "CODE-2", "small-group", wide, group_size=21)
    # 16 peers, 3 faulty, 4 validators: 12 workers at first.
    taken(made, "group-of-all-workers", "CODE-9", CODED, group_size=12)
    refused(made, "group-of-more", "CODE-9", "small-group", CODED, group_size=13)
    refused(made, "group-with-validators", "CODE-9", "validators-work", CODED, group_size=16)
    # No liars are located, so r stays as pairs leave: 12, 10, 8 and 6 workers.
    taken(made, "group-after-pairs", "CODE-9", {**CODED, "liars": 0}, group_size=6)
    for size in (7, 12):
        refused(made, f"group-{size}-after-pairs", "CODE-9", "first-census", {**CODED, "liars": 0}, group_size=size)
    # Two of three are located: after the first removal s_t stays at 2, while a pair has taken two workers.
    taken(made, "group-one-liar-less", "CODE-9", {**CODED, "liars": 2}, group_size=10)
    refused(made, "group-too-few-later", "CODE-9", "first-census", {**CODED, "liars": 2}, group_size=11)
    sizes = {"7-3-3": (7, 3, 3, 1), "7-3-1": (7, 3, 1, 7), "12-2-3": (12, 2, 3, 14), "12-2-0": (12, 2, 0, 12)}
    for name, (size, liars, tolerated, mistaken) in {**sizes, "5-2-1": (5, 2, 1, 4)}.items():
        made.trap(
            name, "model.group_size", "CODE-9", "small-group", mistaken,
            group_size=size, liars=liars, tolerated=tolerated,
        )  # fmt: skip


def add_chunks(made: Chapter) -> None:
    """SIGN-4 and SIGN-9."""
    for detection in (1e-9, 0.5, 0.75, 0.99, 0.999, math.nextafter(1.0, 0)):
        made.right(f"{detection!r}", "model.checked_chunks", "SIGN-4", detection=real(detection))
    above = {0.5: 1, 0.75: 2, 0.875: 3}
    for detection, mistaken in above.items():
        beyond = math.nextafter(detection, 1)
        made.trap(
            f"just-above-{detection}",
            "model.checked_chunks",
            "SIGN-4",
            "by-logarithm",
            mistaken,
            detection=real(beyond),
        )
        made.trap(
            f"exactly-{detection}", "model.checked_chunks", "SIGN-4", "by-logarithm", mistaken + 1,
            detection=real(detection),
        )  # fmt: skip
    # 17 · 7 · (128 + 32 · D + 8) ≤ 2¹⁹ for every depth D of 33 and less: a higher P is needed to be refused.
    sure = {**VOTED, "dimension": 2**30}
    chunks = next(k for k in range(1, 54) if 17 * (k + 1) * (136 + 32 * 20) > 2**19)
    taken(made, "report-fits", "SIGN-9", sure, detection=1 - 2.0**-chunks)
    refused(made, "report-too-long", "SIGN-9", "long-report", sure, detection=math.nextafter(1 - 2.0**-chunks, 1))
    refused(made, "report-of-many", "SIGN-9", "long-report", VOTED, peers=1024, dimension=2000)
    short = {**VOTED, "peers": 127, "tolerated": 60, "detection": 1 - 2.0**-30}
    taken(made, "one-chunk", "SIGN-9", short, dimension=1024)
    refused(made, "path-counts", "SIGN-9", "long-report", short, dimension=1025)


def add_censuses(made: Chapter) -> None:
    """MODEL-2, and what removals lead to."""
    for peers, tolerated, most in ((16, 7, 4), (16, 3, 4), (10, 0, 4), (4, 1, 4), (12, 5, 1), (9, 3, 100)):
        case = {"peers": peers, "tolerated": tolerated, "most": most}
        made.right(f"{peers}-{tolerated}-{most}", "model.validators", "MODEL-2", step=2, **case)
        room = peers - 2 * tolerated - 1
        for name, mistaken in (("most", most), ("room-for-one-less", room - 1), ("all-but-majority", room + 1)):
            if mistaken not in (min(most, room), 0):
                made.trap(
                    f"{name}-{peers}-{tolerated}-{most}", "model.validators", "MODEL-2", "no-minimum",
                    min(mistaken, peers), step=100, **case,
                )  # fmt: skip
        for step in (0, 1):
            made.trap(
                f"step-{step}-{peers}-{tolerated}-{most}", "model.validators", "MODEL-2", "early-validators",
                min(most, room), step=step, **case,
            )  # fmt: skip
    for peers, tolerated in ((4, 1), (8, 3), (16, 7)):
        case = {"peers": peers, "tolerated": tolerated, "most": 4}
        every = compute_reachable(case)
        singles = [census for census in every if peers - census[0] == tolerated - census[1]]
        pairs = [census for census in every if peers - census[0] == 2 * (tolerated - census[1])]
        made.right(f"{peers}-{tolerated}", "model.reachable", "MODEL-5", **case)
        for name, mistaken_list in (("singles", singles), ("pairs", pairs)):
            made.trap(
                f"{name}-{peers}-{tolerated}", "model.reachable", "MODEL-5", "singles-only", mistaken_list, **case
            )


def add_least_radii(made: Chapter) -> None:
    """MODEL-7: the least τ_min."""
    for peers, tolerated, clip in ((16, 7, 10.0), (16, 3, 100.0), (64, 20, 1.0), (40, 2, 0.001)):
        case = {
            "peers": peers, "tolerated": tolerated, "most": 4,
            "gradient_clip": real(clip), "radius_max": real(10.0), "residual_ratio": real(0.1),
        }  # fmt: skip
        made.right(f"{peers}-{tolerated}", "model.least_radius", "MODEL-7", **case)
        if fewest(peers, tolerated) < peers:
            own = max(rounding_reach(census, clip, 10.0, 0.1) for census in reachable(peers, tolerated, 4)) * 2 / 0.1
            made.trap(
                f"own-roster-{peers}-{tolerated}", "model.least_radius", "MODEL-7", "other-default", real(own), **case
            )
