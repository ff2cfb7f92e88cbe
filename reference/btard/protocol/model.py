"""The model: peers, bounds, and the inequalities a configuration must satisfy (chapter ``model``)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

PeerId = bytes
"""A peer's Ed25519 public key, 32 bytes."""

Roster = tuple[PeerId, ...]
"""The active peers, sorted by id."""

PROTOCOL_VERSION = 1
BTARD, MAJORITY_VOTE, REDUNDANT_CODE = "btard", "majority-vote", "redundant-code"
PROFILES = (BTARD, MAJORITY_VOTE, REDUNDANT_CODE)
"""The profiles of the protocol that this version has."""
CHUNK_BYTES = 128
"""The length of a chunk, the leaf of a tree of hashes (chapter ``encoding``); the last one may be shorter."""
MAX_SHOWN = 1 << 19
"""Most bytes of chunks and paths in a report."""
FORGED_SHARE = 0.5
"""The share of wrong chunks for which a configuration states its probability of detection."""
MAX_GROUP = 20
"""Profile redundant-code: greatest r, for which the conditioning of the code is known (chapter ``redundant_code``)."""
MAX_PEERS = 1024
"""Most peers of a roster."""
MAX_DIMENSION = 1 << 32
"""Most parameters."""
MAX_STEPS = 1 << 32
"""Most training steps."""
LEAST_NORM = 2.0**-100
"""Least λ and τ_min: far above float32's subnormals, where scaling loses its relative accuracy (ARITH-4)."""
GREATEST_REAL = 2.0**100
"""Greatest constant: squares and products of a few such numbers are still finite."""
MARGIN_SLACK = 1.0 + 2.0**-20
"""Room for the rounding of norms in the inequality of the margin μ (TOL-1)."""
RESIDUAL_RATIO = 0.1
"""The usual φ: small enough to cost little accuracy, large enough for float32 aggregates (MODEL-7)."""
SPREAD_RATIO = 4.0
"""The usual ρ*: honest parts scatter within a few radii, since τ follows the median of their norms."""


class ProtocolError(Exception):
    """Base of every error that the protocol raises on purpose."""


class ConfigurationError(ProtocolError):
    """A configuration that violates a needed inequality; the message names the inequality."""


class ToleranceExceeded(ProtocolError):
    """More peers left than the bound b allows: the assumptions of the run no longer hold. ``removals``: those
    that were decided last, if it was they."""

    def __init__(self, reason: str, removals: Sequence[Any] = ()) -> None:
        super().__init__(reason)
        self.removals = tuple(removals)


class Census(NamedTuple):
    """Who counts at a step: ``peers`` (n_t), ``tolerated`` (b_t) and ``validators`` (m_t)."""

    peers: int
    tolerated: int
    validators: int

    @property
    def workers(self) -> int:
        """w_t = n_t − m_t, the number of peers that contribute a gradient."""
        return self.peers - self.validators

    @property
    def honest_workers(self) -> int:
        """h = w_t − b_t, the number of workers that are honest even if every faulty peer works."""
        return self.workers - self.tolerated


def validator_count(peers: int, tolerated: int, most: int) -> int:
    """m_t = min(m_max, n_t − 2b_t − 1): validators never cost the honest workers their majority."""
    return max(0, min(most, peers - 2 * tolerated - 1))  # requirement: MODEL-2


def reachable(peers: int, tolerated: int, most: int) -> Iterator[Census]:
    """Every census that removals can lead to: single removals take (1, 1) from (n, b), pairs take (2, 1)."""
    for left in range(tolerated + 1):
        removed = tolerated - left
        for pairs in range(removed + 1):
            remaining = peers - removed - pairs
            yield Census(remaining, left, validator_count(remaining, left, most))
            yield Census(remaining, left, 0)  # the first two steps have no validators


def distance_ratio_bound(census: Census, residual_ratio: float, spread_ratio: float) -> float:
    """The right side of the inequality for κ: how far, in units of τ, an honest part can be from an
    honest aggregate. ρ* + max((b + φ)/h, ρ*(h + b + φ)/(h − b − φ)); source: chapter ``butterfly_clip``."""
    honest, lying = census.honest_workers, census.tolerated + residual_ratio
    if lying >= honest:
        return math.inf
    return spread_ratio + max(lying / honest, spread_ratio * (honest + lying) / (honest - lying))


def default_distance_ratio(peers: int, tolerated: int, most: int, residual_ratio: float, spread_ratio: float) -> float:
    """The κ that is used when none is given: 1 % above the least that the inequality admits for the first roster
    and for what a quarter of it leaves behind, as far as n ≥ 2b + 2 allows."""
    censuses = [*reachable(peers, tolerated, most), *reachable(fewest(peers, tolerated), tolerated, most)]
    return 1.01 * max(distance_ratio_bound(census, residual_ratio, spread_ratio) for census in censuses)


def fewest(peers: int, tolerated: int) -> int:
    """The size of a roster of ``peers`` after as many orderly leaves as the usual constants admit: a quarter,
    as far as n ≥ 2b + 2 allows."""
    return min(peers, max(2 * tolerated + 2, peers - peers // 4))


def rounding_reach(census: Census, gradient_clip: float, radius_max: float, residual_ratio: float) -> float:
    """How far rounding an aggregate to float32 can move its residual: n·2⁻²⁴ times the aggregate's greatest norm.

    That norm is max(λ + (b + φ)τ_max/h, λ(h + b + φ)/(h − b − φ)); source: chapter ``butterfly_clip``.
    """
    honest, lying = census.honest_workers, census.tolerated + residual_ratio
    if lying >= honest:
        return math.inf
    greatest = max(gradient_clip + lying * radius_max / honest, gradient_clip * (honest + lying) / (honest - lying))
    return census.peers * 2.0**-24 * greatest


def least_radius(
    peers: int, tolerated: int, most: int, gradient_clip: float, radius_max: float, residual_ratio: float
) -> float:
    """The least τ_min that MODEL-7 admits."""
    censuses = [*reachable(peers, tolerated, most), *reachable(fewest(peers, tolerated), tolerated, most)]
    return max(rounding_reach(c, gradient_clip, radius_max, residual_ratio) for c in censuses) * 2 / residual_ratio


def liars_at(liars: int, tolerated: int) -> int:
    """s_t = min(s, b_t): more than b_t cannot lie."""
    return min(liars, tolerated)


def group_size_at(group_size: int, liars: int, tolerated: int) -> int:
    """r_t = r − 2(s − s_t), the least size of a group: it shrinks as faulty peers leave. Source: CODE-9."""
    return group_size - 2 * (liars - liars_at(liars, tolerated))


def checked_chunks(detection: float) -> int:
    """How many chunks of each part are checked: the fewest of which, if half of all chunks are wrong, one is wrong with
    at least this probability. Computed by repeated halving. Source: SIGN-4."""
    count, miss = 1, FORGED_SHARE
    while miss > 1.0 - detection:
        count, miss = count + 1, miss * FORGED_SHARE
    return count  # requirement: SIGN-4


def shown_bytes(dimension: int, detection: float) -> int:
    """Upper bound on the bytes of chunks and paths of one part in a report of profile majority-vote."""
    chunks = -(-dimension // (8 * CHUNK_BYTES))
    return checked_chunks(detection) * (CHUNK_BYTES + 32 * (chunks - 1).bit_length() + 8)


def shown_in(config: Configuration) -> int:
    """Most bytes of chunks of one part in a report of a run."""
    return shown_bytes(config.dimension, config.detection) if config.profile == MAJORITY_VOTE else 0


@dataclass(frozen=True)
class Configuration:
    """Everything that the peers of a run agree on before it starts; part of the genesis record.

    Lengths (λ, τ) are in units of the gradient's Euclidean norm; ratios have no unit.
    """

    peers: int
    """n, the size of the first roster."""
    tolerated: int
    """b, the number of faulty peers that the run tolerates."""
    dimension: int
    """d, the number of parameters."""
    steps: int
    """Training steps; two audit-only steps follow."""
    gradient_clip: float
    """λ, the norm that no committed gradient exceeds."""
    radius_initial: float
    """τ_0, the clipping radius of the whole gradient before the first step."""
    radius_min: float
    """τ_min, the least clipping radius of a part."""
    radius_max: float
    """τ_max, the greatest clipping radius of a part."""
    validators: int = 4
    """m_max, the most validators in a step."""
    residual_ratio: float = RESIDUAL_RATIO
    """φ = ε/τ, the residual that an aggregate may have."""
    spread_ratio: float = SPREAD_RATIO
    """ρ*, the assumed bound on R/τ, the spread of honest parts."""
    distance_ratio: float = 0.0
    """κ = Δ_max/τ; 0 stands for :func:`default_distance_ratio`."""
    radius_factor: float = 1.0
    """c, the clipping radius in units of the median reported norm."""
    tolerance: float = 0.0
    """η, the relative difference that honest gradients may have between determinism classes; 0 for exact mode."""
    margin: float = 0.0
    """μ, the room between acquittal and accusation in tolerance mode; 0 stands for 2η."""
    delay: float = 1.0
    """Δ in seconds: the most time between any honest peer's sending and any other's receiving."""
    gradient_time: float = 10.0
    """G in seconds: the most time that one gradient, or the other work of a phase, takes."""
    liars: int = 0
    """s, how many liars in a group the decoder locates; profile redundant-code."""
    compression: int = 1
    """r_c, by how much a coded part is shorter than the part; profile redundant-code."""
    group_size: int = 0
    """r, the least number of workers that compute the same gradient; 0 stands for 2s + r_c. Profile redundant-code."""
    detection: float = 0.99
    """The probability with which an aggregate that is wrong in half of its chunks is found; profile majority-vote."""
    profile: str = BTARD
    task: str = ""
    """Name, arguments and data hash of the task: what determines every gradient."""
    optimizer: tuple[tuple[str, str], ...] = field(default=())
    """The canonical update and its constants, as sorted pairs of text."""

    def __post_init__(self) -> None:
        """Fill in what follows from the rest, and refuse a configuration that breaks an inequality."""
        if self.group_size == 0 and self.profile == REDUNDANT_CODE:
            object.__setattr__(self, "group_size", 2 * self.liars + self.compression)
        check_counts(self)
        check_profile(self)
        check_constants(self)
        if self.margin == 0.0:
            object.__setattr__(self, "margin", 2.0 * self.tolerance)
        check_tolerance(self)
        if self.distance_ratio == 0.0 and self.profile == BTARD:
            kappa = default_distance_ratio(
                self.peers, self.tolerated, self.validators, self.residual_ratio, self.spread_ratio
            )
            object.__setattr__(self, "distance_ratio", kappa)
        for census in reachable(self.peers, self.tolerated, self.validators):
            check_census(self, census)


REAL_FIELDS = tuple(f.name for f in fields(Configuration) if f.type == "float")
COUNT_FIELDS = tuple(f.name for f in fields(Configuration) if f.type == "int")


def require(holds: bool, inequality: str, values: str) -> None:
    """Raise :class:`ConfigurationError` naming ``inequality`` unless it ``holds`` (NaN never holds)."""
    if not holds:
        raise ConfigurationError(f"the configuration violates {inequality}: {values}")


def check_counts(config: Configuration) -> None:
    """The inequalities between whole numbers."""
    n, b, d = config.peers, config.tolerated, config.dimension
    require(0 <= b, "b >= 0", f"b = {b}")
    require(n >= 2 * b + 2, "n >= 2b + 2", f"n = {n}, b = {b} (MODEL-1)")  # requirement: MODEL-1
    require(n <= MAX_PEERS, f"n <= {MAX_PEERS}", f"n = {n}")
    require(d >= n, "d >= w", f"d = {d}, w = n = {n} in the first step (MODEL-3)")  # requirement: MODEL-3
    require(d <= MAX_DIMENSION, f"d <= {MAX_DIMENSION}", f"d = {d}")
    require(1 <= config.steps <= MAX_STEPS, f"1 <= steps <= {MAX_STEPS}", f"steps = {config.steps}")
    require(1 <= config.validators, "m_max >= 1", f"m_max = {config.validators}")


def check_profile(config: Configuration) -> None:
    """What the profiles ask of their constants. Source: PROF-1, CODE-2, SIGN-9."""
    s, r, compression, profile = config.liars, config.group_size, config.compression, config.profile
    if profile not in PROFILES:
        raise ConfigurationError(f"there is no profile '{profile}'")
    require(
        config.tolerance == 0 or profile == BTARD, "eta = 0 in all profiles but btard", f"eta = {config.tolerance:g}"
    )
    coded = profile == REDUNDANT_CODE
    where = f"s = {s}, r_c = {compression}, r = {r}"
    idle = (s, compression, r) == (0, 1, 0)
    require(coded or idle, "s = 0, r_c = 1, r = 0 in all profiles but redundant-code", where)  # requirement: PROF-1
    require(s >= 0 and compression >= 1, "s >= 0, r_c >= 1", where)
    if coded:
        require(r >= 2 * s + compression, "r >= 2s + r_c", f"{where} (CODE-2)")
        require(r <= MAX_GROUP, f"r <= {MAX_GROUP}", f"{where} (CODE-2)")
    require(0 < config.detection < 1, "0 < detection < 1", f"detection = {config.detection:g}")


def check_constants(config: Configuration) -> None:
    """The inequalities between real constants that no census enters. Source: MODEL-4."""
    for name in REAL_FIELDS:
        value = getattr(config, name)
        sensible = 0 <= value <= GREATEST_REAL  # requirement: MODEL-4
        require(sensible, f"0 <= {name} <= 2^100", f"{name} = {value:g}")
    phi, low, start, high = config.residual_ratio, config.radius_min, config.radius_initial, config.radius_max
    require(0 < phi < 1, "0 < phi < 1", f"phi = {phi:g}")
    require(config.gradient_clip >= LEAST_NORM, "lambda >= 2^-100", f"lambda = {config.gradient_clip:g}")
    require(config.spread_ratio > 0, "rho* > 0", f"rho* = {config.spread_ratio:g}")
    require(LEAST_NORM <= low <= high, "2^-100 <= tau_min <= tau_max", f"tau_min = {low:g}, tau_max = {high:g}")
    require(0 < start <= high, "0 < tau_0 <= tau_max", f"tau_0 = {start:g}, tau_max = {high:g}")
    require(config.radius_factor > 0, "c > 0", f"c = {config.radius_factor:g}")
    require(config.delay > 0, "Delta > 0", f"Delta = {config.delay:g}")


def check_tolerance(config: Configuration) -> None:
    """The inequalities of tolerance mode: judges of different classes reach one verdict. Source: TOL-1."""
    eta, mu = config.tolerance, config.margin
    values = f"eta = {eta:g}, mu = {mu:g} (TOL-1)"
    require(mu == 0 or eta > 0, "mu = 0 where eta = 0", values)
    enough = mu * (1 - eta) >= eta * (1 + eta) * MARGIN_SLACK
    require(eta == 0 or enough, "mu >= eta(1 + eta)/(1 - eta)", values)  # requirement: TOL-1
    require(eta + 2 * mu < 1, "eta + 2mu < 1", values)


def check_census(config: Configuration, census: Census) -> None:
    """The inequalities of a profile that must hold for every reachable census."""
    if config.profile == BTARD:
        check_ratios(config, census)
    elif config.profile == REDUNDANT_CODE:
        check_group(config, census)
    else:
        check_shown(config, census)


def check_shown(config: Configuration, census: Census) -> None:
    """The chunks of a report leave room in a message. Source: SIGN-9."""
    shown = (census.peers + 1) * shown_in(config)
    where = f"n = {census.peers}, d = {config.dimension}, detection = {config.detection:g}: {shown} bytes (SIGN-9)"
    require(shown <= MAX_SHOWN, "chunks of a report <= 2^19 bytes", where)  # requirement: SIGN-9


def check_group(config: Configuration, census: Census) -> None:
    """The workers make at least one group. Source: CODE-9."""
    least = group_size_at(config.group_size, config.liars, census.tolerated)
    where = f"at n = {census.peers}, b = {census.tolerated}, m = {census.validators}"
    values = f"w = {census.workers}, r_t = {least} {where} (CODE-9)"
    require(census.workers >= least, "w >= r_t", values)  # requirement: CODE-9


def check_ratios(config: Configuration, census: Census) -> None:
    """The inequalities of CenteredClip."""
    where = f"at n = {census.peers}, b = {census.tolerated}, m = {census.validators}"
    phi, clip, kappa = config.residual_ratio, config.gradient_clip, config.distance_ratio
    b, h = census.tolerated, census.honest_workers
    c = config.radius_factor
    require(c * (b + phi) < h, "c < h/(b + phi)", f"c = {c:g}, h = {h} {where} (MODEL-5)")  # requirement: MODEL-5
    bound = distance_ratio_bound(census, phi, config.spread_ratio)
    require(  # requirement: MODEL-6
        kappa > bound,
        "kappa > rho* + max((b + phi)/h, rho*(h + b + phi)/(h - b - phi))",
        f"kappa = {kappa:g}, right side = {bound:g} {where} (MODEL-6)",
    )
    rounding = rounding_reach(census, clip, config.radius_max, phi)
    require(  # requirement: MODEL-7
        rounding <= phi * config.radius_min / 2,
        "n*2^-24*max(lambda + (b + phi)*tau_max/h, lambda*(h + b + phi)/(h - b - phi)) <= phi*tau_min/2",
        f"left side = {rounding:g}, right side = {phi * config.radius_min / 2:g} {where};"
        f" tau_min = {2 * rounding / phi:.3g} would do (MODEL-7)",
    )
