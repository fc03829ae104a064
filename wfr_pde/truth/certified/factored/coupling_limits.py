"""From what the ancestors of the mass met, a limit of the L1 distance, and an estimate of first order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wfr_pde.numerics.typing import Array

DEVIATIONS = 4.0  # of a mean over draws that its limit is away: of a normal law one in 31,600 is beyond, on one side
HEAVIEST = 1 / 3  # mean excess, in nats, over the upper hundredth of exponents: up to it weights have three moments
PILOT_HEAVIEST = 1 / 2  # the same for few draws, which only choose
TOP = 0.01
UNKNOWN = 2.0  # L1 distance of any two laws at most


@dataclass(frozen=True)
class Found:
    """What is known of draws of mu~ and of their ancestors.

    Attributes
    ----------
    tilts : array (points,)
        theta c there, centred.
    constant : float
        What was taken out.
    integrals : array (blocks, points, replicas)
        Of exp(-beta (T - s)) r, the latest block first.
    amplified : array (blocks,)
        exp(beta (T - s)) at the earliest time of a block.
    has_reaction : bool
        Without it, mu/mu~ is the mean of exp(-tilt - integral) without another factor.
    has_noise : bool
        Whether r has noise of its own, which must enter by its mean alone.
    """

    tilts: Array
    constant: float
    integrals: Array
    amplified: Array
    has_reaction: bool
    has_noise: bool

    def grouped(self, width: int) -> Array:
        """Return the integrals over groups of `width` blocks."""
        return np.add.reduceat(self.integrals, np.arange(0, len(self.integrals), width), axis=0)

    def log_ratio(self) -> Array:
        """Return, up to a constant, minus the logarithm of mu/mu~ by each path, (points, replicas)."""
        return np.asarray(self.tilts[:, None] + self.integrals.sum(axis=0))


@dataclass(frozen=True)
class Shares:
    """How the exponential moments are taken apart over blocks of time.

    Attributes
    ----------
    width : int
        Number of blocks that are taken together.
    powers : array (groups,)
        p_j, of which those of a group and of all earlier ones add up to at most exp(-beta (T - t_j)).
    centres : array (groups,)
        Constants that are taken out of the integrals over the groups.
    """

    width: int
    powers: Array
    centres: Array


def mean_excess(exponents: Array) -> float:
    """Return by how much, in the mean, the upper hundredth of draws is above where it begins.

    It is the scale of an exponential tail: weights exp(exponent) have moments up to its inverse.

    Examples
    --------
    >>> print(round(mean_excess(0.2 * np.random.default_rng(1).exponential(size=100000)), 2))
    0.2
    """
    ordered = np.sort(exponents, axis=None)
    top = ordered[-max(10, int(TOP * ordered.size)) :]
    return float(np.mean(top - top[0]))


def choose_shares(found: Found) -> Shares | None:
    """Choose what makes the bound of the normaliser small, on draws that are not those of the bound.

    Returns
    -------
    Shares, or None where no choice has moments that draws can tell
    """
    best, least = None, np.inf
    widths = 2 ** np.arange(int(np.ceil(np.log2(len(found.amplified)))) + 1)
    for width in widths.tolist():
        grouped = found.grouped(width)
        most = np.maximum.reduceat(found.amplified, np.arange(0, len(found.amplified), width))
        shares = Shares(width, _powers(grouped.std(axis=(1, 2)), 1 / most), grouped.mean(axis=(1, 2)))
        ratios, heaviest = _highest(found, shares)
        if heaviest < PILOT_HEAVIEST and ratios.mean() < least:
            best, least = shares, float(ratios.mean())
    return best


def _powers(spread: Array, most: Array) -> Array:
    """Return p that makes the sum of spread_j² / p_j least, where p_j and all later entries add up to at most most_j.

    Their sums over those of the spread are the largest convex function below the bounds.

    Examples
    --------
    >>> _powers(np.array([1.0, 1.0, 1.0]), np.array([1.0, 0.5, 0.1])).tolist()
    [0.5, 0.4, 0.1]
    """
    spread = np.maximum(spread, 1e-12 * spread.max() + 1e-300)
    x = np.concatenate([[0.0], np.cumsum(spread[::-1])])
    y = np.concatenate([[0.0], most[::-1]])
    hull: list[int] = []
    for k in range(len(x)):
        while len(hull) > 1:
            i, j = hull[-2:]
            if (y[j] - y[i]) * (x[k] - x[i]) < (y[k] - y[i]) * (x[j] - x[i]):
                break
            hull.pop()
        hull.append(k)
    return np.diff(np.interp(x, x[hull], y[hull]))[::-1]


def _highest(found: Found, shares: Shares) -> tuple[Array, float]:
    """Return per point exp(-tilt) (1 + sum_j p_j (exp(-Y_j / p_j) - 1)), and the heaviest tail among the exponents."""
    tilts = found.tilts[:, None]
    heaviest = mean_excess(-tilts)
    with np.errstate(over="ignore", invalid="ignore"):
        total = np.exp(-tilts[:, 0])
        for y, power, centre in zip(found.grouped(shares.width), shares.powers, shares.centres, strict=True):
            exponents = -(y - centre) / power
            heaviest = max(heaviest, mean_excess(exponents - tilts))
            total += power * (np.exp(-tilts) * np.expm1(exponents)).mean(axis=1)
    return total, heaviest


def limit(found: Found, shares: Shares | None) -> tuple[float, float]:
    """Return the bound of the L1 distance, as a mean over draws, and the standard error that it has by them.

    Parameters
    ----------
    found : Found
    shares : Shares or None
        None without reaction, where mu/mu~ has the mean one: then that is taken.

    Returns
    -------
    (float, float)
        The error has that of the normaliser in it, to first order. Infinite where draws do not tell the normaliser.
    """
    highest = np.ones(len(found.tilts))
    if shares is None:
        total = found.log_ratio() + found.constant
    else:
        total = found.log_ratio() - shares.centres.sum()
        highest, heaviest = _highest(found, shares)
        if heaviest > HEAVIEST or not np.isfinite(highest).all():
            return np.inf, 0.0
    normaliser = float(highest.mean())
    if found.has_noise:
        short = np.maximum(total.mean(axis=1) + np.log(normaliser), 0.0)
        slope = float(np.mean(short > 0)) / normaliser
    else:
        with np.errstate(over="ignore"):
            ratio = np.exp(-total).mean(axis=1) / normaliser
        short = np.maximum(1 - ratio, 0.0)
        slope = float(np.mean(np.where(ratio < 1, ratio, 0.0))) / normaliser
    return 2 * float(short.mean()), 2 * float((short + slope * highest).std() / np.sqrt(len(short)))


def first_order(found: Found) -> tuple[float, float]:
    """Estimate the L1 distance to first order, the mean modulus of the log-ratio of the laws, and a standard error.

    The log-ratio at a point is the mean over its paths. Replicas tell how much of the spread of such means over the
    points is noise of the paths, and their distribution how large a mean modulus is beside a standard deviation.

    Parameters
    ----------
    found : Found

    Returns
    -------
    (float, float)
        Estimate, at most 2, and its standard error.
    """
    total = found.log_ratio()
    replicas = total.shape[1]
    means = total.mean(axis=1) - total.mean()
    squares = means**2
    shape = float(np.abs(means).mean() / np.sqrt(squares.mean() + 1e-300))
    if replicas > 1:
        squares = squares - total.var(axis=1, ddof=1) / replicas
    variance, doubt = float(squares.mean()), float(squares.std() / np.sqrt(len(squares)))
    deviation = float(np.sqrt(max(variance, 0.0)))
    error = doubt / (2 * deviation) if variance > doubt else float(np.sqrt(doubt))
    return min(UNKNOWN, shape * deviation), shape * error
