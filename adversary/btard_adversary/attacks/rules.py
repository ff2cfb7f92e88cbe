"""Attacks designed against one aggregation rule each: the coalition knows the honest gradients and the rule.

All of them send vectors that look plausible, so that in the protocol nothing but the audit tells them apart.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from btard.protocol.arithmetic import Float32, Float64
from btard.protocol.model import REDUNDANT_CODE
from btard.protocol.state import State

from btard_adversary.attacks.base import AUDITED_IF_FALSE, GradientAttack, Verdict

HALVINGS = 12
"""How often a length is halved in the search for the largest that a rule lets pass."""


LEAST_SHARE = 0.1
"""The least share of honest values beyond those of the attackers that hide among them."""


def squared_distances(vectors: Float64, point: Float64) -> Float64:
    """‖x_i − point‖² of every row of ``vectors`` ``[h, d]``, float64 ``[h]``."""
    return np.asarray(np.sum((vectors - point) ** 2, axis=1))


def pairwise(vectors: Float64) -> Float64:
    """‖x_i − x_j‖² of all rows of ``vectors`` ``[h, d]``, float64 ``[h, h]``."""
    centred = vectors - vectors.mean(axis=0)
    norms = np.sum(centred**2, axis=1)
    squares: Float64 = norms[:, None] + norms - 2 * np.dot(centred, centred.T)
    np.fill_diagonal(squares, 0.0)
    return np.maximum(squares, 0.0)


class Omniscient(GradientAttack):
    """All attackers send one vector, made from the honest gradients."""

    verdict_in: ClassVar[dict[str, Verdict]] = {REDUNDANT_CODE: AUDITED_IF_FALSE}
    """In a single group all honest gradients are the same, and so is what is made of them."""

    def poison(self, state: State, honest: Float32) -> Float32:
        """The coalition's vector; the honest gradient in a step without honest workers."""
        if not self.world.gradients:
            return honest
        gradients = self.world.honest_gradients().astype(np.float64)
        return np.asarray(self.joint(gradients, len(self.world.coalition)), dtype=np.float32)

    def joint(self, gradients: Float64, attackers: int) -> Float64:
        """float64 ``[d]``, given the honest ``gradients``, float64 ``[h, d]``."""
        raise NotImplementedError


class KrumDecoy(Omniscient):
    """−λ · sign(mean), as long as Krum still chooses it. Source: Fang, Cao, Jia, Gong, USENIX Security 2020, eq. 6.

    b equal vectors support each other: each has b − 1 neighbours at distance 0, so that a point somewhat outside of
    the honest cloud has a lower score than anything inside.
    """

    summary = "against Krum: equal vectors that point uphill, as far out as Krum still chooses them"

    def joint(self, gradients: Float64, attackers: int) -> Float64:
        """The decoy."""
        uphill = -np.sign(gradients.mean(axis=0))
        squares = pairwise(gradients)
        norms, along, size = np.sum(gradients**2, axis=1), np.dot(gradients, uphill), float(np.dot(uphill, uphill))
        length = 4 * float(np.sqrt(squares.max() / max(size, 1.0)))
        for _ in range(HALVINGS):
            decoy = np.maximum(norms - 2 * length * along + size * length**2, 0.0)
            if chosen_by_krum(squares, decoy, attackers):
                break
            length /= 2
        return np.asarray(self.scale * length * uphill)


def chosen_by_krum(squares: Float64, decoy: Float64, attackers: int) -> bool:
    """Whether Krum's least score is that of equal vectors at squared distances ``decoy`` ``[h]`` from the honest ones.

    ``squares``: those between honest vectors, float64 ``[h, h]``.
    """
    near = max(len(squares) - 2, 1)  # n − b − 2 neighbours
    own = np.sort(np.concatenate([np.zeros(attackers - 1), decoy]))[:near].sum()
    others = np.concatenate([squares, np.tile(decoy[:, None], attackers)], axis=1)
    return bool(own < np.sort(others, axis=1)[:, 1 : near + 1].sum(axis=1).min())


class HiddenCoordinate(Omniscient):
    """The honest mean, but for one coordinate, which is as wrong as Krum lets pass.

    Source: El Mhamdi, Guerraoui, Rouault, ICML 2018. Distances grow like √d, so that one coordinate can be off by
    about √d deviations. It is always the first.
    """

    summary = "against Krum: the honest mean, with one coordinate as wrong as Krum lets pass"

    def joint(self, gradients: Float64, attackers: int) -> Float64:
        """The mean with one coordinate off."""
        mean, squares = gradients.mean(axis=0), pairwise(gradients)
        centre = squared_distances(gradients, mean)
        length = 4 * float(np.sqrt(squares.max()))
        for _ in range(HALVINGS):
            decoy = centre + length**2 - 2 * length * (mean[0] - gradients[:, 0])
            if chosen_by_krum(squares, decoy, attackers):
                break
            length /= 2
        mean[0] -= self.scale * length
        return np.asarray(mean)


class CoordinateExtremes(Omniscient):
    """Just beyond the honest extreme of every coordinate, on the side away from the mean's sign.

    Source: Fang, Cao, Jia, Gong, USENIX Security 2020, section 4.3 (trimmed mean and median, full knowledge).
    """

    summary = "against coordinate-wise rules: just beyond the honest extreme of each coordinate, uphill"

    def joint(self, gradients: Float64, attackers: int) -> Float64:
        """The extremes."""
        mean, low, high = gradients.mean(axis=0), gradients.min(axis=0), gradients.max(axis=0)
        beyond = 0.01 * self.scale * (high - low)
        return np.asarray(np.where(mean > 0, low - beyond, high + beyond))


class MinMax(Omniscient):
    """The honest mean, moved uphill as far as no honest gradient is farther away than two honest ones are.

    Source: Shejwalkar and Houmansadr, NDSS 2021, *Min-Max*.
    """

    summary = "against distances: the honest mean moved uphill, no farther from any gradient than honest ones are"

    def joint(self, gradients: Float64, attackers: int) -> Float64:
        """The moved mean."""
        mean, limit = gradients.mean(axis=0), float(pairwise(gradients).max())
        away = -mean / (float(np.linalg.norm(mean)) or 1.0)
        along = np.dot(gradients - mean, away)
        room = limit - squared_distances(gradients, mean)
        length = float((along + np.sqrt(along**2 + room)).min())  # ‖x − mean − length · away‖² = limit
        return np.asarray(mean + self.scale * length * away)


class VoteFlip(Omniscient):
    """Votes against the honest majority where that turns it, and with it elsewhere, where nothing can be won.

    As the size of every entry the honest gradients' mean size is sent.
    """

    summary = "against votes: vote against the honest majority of each coordinate that this turns"

    def joint(self, gradients: Float64, attackers: int) -> Float64:
        """The votes, as numbers of an honest size."""
        majority = np.sign(gradients).sum(axis=0)
        turned = np.abs(majority) <= attackers
        size = np.abs(gradients).mean(axis=0)
        return np.asarray(self.scale * size * np.where(turned, -np.sign(majority), np.sign(majority)))


class InnerQuantile(Omniscient):
    """Every coordinate at a quantile of the honest values, on the uphill side, that Bulyan still averages.

    Bulyan keeps n − 2b vectors and averages the n − 4b values nearest to their median, coordinate by coordinate. With
    ⌈(n − 2b)/2⌉ − b of the n − 3b honest values beyond them, the b equal values of the attackers hold the median, and
    all of them are averaged. (Half a value less: which honest ones are kept is not known.) Their distances from the
    honest vectors are below those between honest ones, so that they are kept. The idea of staying inside the
    variance is that of Baruch, Baruch, Goldberg, NeurIPS 2019, whose z asks only for a majority.
    """

    summary = "against Bulyan: each coordinate as far uphill as Bulyan still averages"

    def joint(self, gradients: Float64, attackers: int) -> Float64:
        """The quantiles."""
        peers = len(gradients) + attackers
        beyond = -(-(peers - 2 * attackers) // 2) - attackers - 0.5
        share = min(max(beyond / max(peers - 3 * attackers, 1), LEAST_SHARE), 0.5)
        low, high = np.quantile(gradients, [share, 1 - share], axis=0)
        return np.asarray(np.where(gradients.mean(axis=0) > 0, low, high))


class ClipPush(Omniscient):
    """Straight uphill, longer than any clipping radius: b vectors of length τ after clipping.

    Against a fixed τ the honest mean loses as soon as it is shorter than bτ/h. The direction is the same for all, so
    that nothing cancels. Source: Karimireddy, He, Jaggi, ICML 2021, on why a radius has to follow the honest spread.
    """

    summary = "against clipping at a fixed radius: straight uphill, ten times the longest honest gradient"
    default_scale = 10.0

    def joint(self, gradients: Float64, attackers: int) -> Float64:
        """The push."""
        mean = gradients.mean(axis=0)
        length = self.scale * float(np.linalg.norm(gradients, axis=1).max())
        return np.asarray(-mean * (length / (float(np.linalg.norm(mean)) or 1.0)))
