"""A test of many expectations at once, from independent runs, with biases that are known by extrapolation only."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np

from wfr_pde.numerics.typing import Array

SIGNS = 4000  # random signs of the runs: a level of 0.05 is kept to about 0.003; time grows with it
# powers with which a bias may fall: from that of Monte Carlo to none at all
POWERS = (0.5, 0.75, 1.0, 1.5, 2.0, math.inf)
LEAST_VARIANCE = 0.1  # of a run, over that of as many independent draws: runs that agree by chance prove nothing
COLUMNS = 1000  # statistics whose random signs are held at once: 32 MB for each array of them
POWER = 1.645  # standard errors beyond the critical value at which 95 % of deviations are found: the normal quantile


@dataclass(frozen=True, eq=False)
class Runs:
    """Statistics of independent runs.

    Attributes
    ----------
    base : array (seed, t, k)
        Of runs as they are declared.
    n : int
        Particles of each.
    wide : array (seed, t, k), optional
        Of runs with 2n particles.
    fine : array (seed, t, k), optional
        Of runs with dt/2.
    """

    base: Array
    n: int
    wide: Array | None = None
    fine: Array | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class MaxTest:
    """Outcome of a test for every statistic (t, k), in standard deviations of a single draw.

    Attributes
    ----------
    deviation : array
        Mean less reference, biases taken off with the powers that are kindest.
    half_width : array
        Of the simultaneous interval.
    number_bias, step_bias : arrays
        What was taken off.
    score : array
        Studentised deviation beyond the margin, over the critical value.
    resolution : array
        The smallest deviation that is found in 95 % of cases, whatever the powers are.
    spread : array
        The part of that which falls with the square root of the number of runs; the rest is the margin.
    critical : float
        Critical value: studentised deviations beyond it are significant at the joint level.
    p_value : float
        Share of the tests of correct samplers in which some statistic deviates by as much.
    """

    deviation: Array
    half_width: Array
    number_bias: Array
    step_bias: Array
    score: Array
    resolution: Array
    spread: Array
    critical: float
    p_value: float

    def power_factor(self, effect: float) -> float:
        """Return by what factor more runs, or particles, would find a deviation of `effect` everywhere."""
        room = effect - (self.resolution - self.spread)
        if not (room > 0).all():
            return math.inf
        return float(np.max((self.spread / room) ** 2))


def max_test(runs: Runs, means: Array, scales: Array, margins: Array, level: float, rng: int) -> MaxTest:
    """Test |E - means| <= margins for all statistics at once, at a joint level.

    With T, T_2n, T_h the means over runs as they are, with 2n particles, and with half the step, biases c n^-p and
    c' dt^q are taken off as a (T - T_2n) + b (T - T_h), a = 1/(1 - 2^-p), b = 1/(1 - 2^-q). The powers are not known:
    a statistic counts only if it deviates for every pair of them (an intersection-union test, Berger 1982), by more
    standard errors than the critical value. That is the 1 - level quantile of the largest studentised mean of the
    centred runs with random signs, which keeps their correlations.

    Parameters
    ----------
    runs : Runs
        Statistics of independent runs.
    means, scales, margins : arrays (t, k)
        References, standard deviations of a single draw, and margins.
    level : float
        Share of correct samplers that may be found to deviate.
    rng : int
        Seed of the random signs.

    Returns
    -------
    MaxTest
    """
    shape, count = means.shape, len(runs.base)
    sets = [runs.base, runs.wide, runs.fine]
    present = [(one.reshape(len(one), -1) - means.ravel()) / scales.ravel() for one in sets if one is not None]
    sizes = [size for one, size in zip(sets, (runs.n, 2 * runs.n, runs.n), strict=True) if one is not None]
    average = np.array([one.mean(axis=0) for one in present])
    floors = LEAST_VARIANCE / np.array(sizes, dtype=np.float64)[:, None]
    variance = np.maximum(np.array([one.var(axis=0, ddof=1) for one in present]), floors) / count
    weights, factors = _weights(runs)
    deviations, errors = weights @ average, np.sqrt(weights**2 @ variance)  # (pairs of powers, statistics)
    margin = (margins / scales).ravel()
    shares, score = _kindest(deviations, errors, margin)
    own, chosen = shares @ weights, shares @ factors
    largest = _largest_by_chance(present, own, floors, rng)
    critical = _critical(largest, len(runs.base), level)
    gaps = np.zeros((2, len(margin)))
    for place, one in ((0, runs.wide), (1, runs.fine)):
        if one is not None:
            other = 1 if place == 0 else len(present) - 1
            gaps[place] = chosen[:, place] * (average[0] - average[other])
    spread = (critical + POWER) * errors.max(axis=0)
    return MaxTest(
        deviation=np.sum(own.T * average, axis=0).reshape(shape),
        half_width=(critical * np.sqrt(np.sum(own.T**2 * variance, axis=0))).reshape(shape),
        number_bias=gaps[0].reshape(shape),
        step_bias=gaps[1].reshape(shape),
        score=(score / critical).reshape(shape),
        resolution=(margin + spread).reshape(shape),
        spread=spread.reshape(shape),
        critical=critical,
        p_value=_p_value(largest, len(runs.base), float(score.max())),
    )


def _kindest(deviations: Array, errors: Array, margin: Array) -> tuple[Array, Array]:
    """Find the shares (statistic, pair) of the pairs of powers that leave least, and studentised deviations.

    Deviations are linear in the factors: where they lie on both sides of the margin, or within it, for some pairs, a
    power in between leaves nothing.
    """
    excess = np.maximum(np.abs(deviations) - margin, 0) / errors
    kindest = np.argmin(excess + 1e-9 * errors / errors.max(), axis=0)  # of equal ones that with the least error
    which = np.arange(len(margin))
    score = excess[kindest, which]
    shares = np.zeros((len(margin), len(deviations)))
    shares[which, kindest] = 1.0
    lowest, highest = deviations.argmin(axis=0), deviations.argmax(axis=0)
    low, high = deviations[lowest, which], deviations[highest, which]
    between = np.flatnonzero((low <= margin) & (high >= -margin) & (score > 0))
    share = np.clip(-low[between] / (high - low)[between], 0.0, 1.0)
    shares[between] = 0.0
    shares[between, lowest[between]] = 1 - share
    shares[between, highest[between]] = share
    score[between] = 0.0
    return shares, score


def _weights(runs: Runs) -> tuple[Array, Array]:
    """Return the weights of the sets of runs, and the factors (a, b), for all pairs of powers."""
    able = [1 / (1 - 2**-power) for power in POWERS]
    number = able if runs.wide is not None else [0.0]
    step = able if runs.fine is not None else [0.0]
    factors = np.array(list(itertools.product(number, step)))
    columns = [1 - factors.sum(axis=1)]
    columns += [factors[:, 0]] if runs.wide is not None else []
    columns += [factors[:, 1]] if runs.fine is not None else []
    return np.stack(columns, axis=1), factors


def _critical(largest: Array, count: int, level: float) -> float:
    """Return what the largest studentised deviation exceeds in a share `level` of cases by chance, for so many runs."""
    from scipy import stats

    quantile = float(np.quantile(largest, 1 - level))
    return max(quantile, float(stats.t.isf(level / 2, count - 1)))  # never below that of one statistic


def _p_value(largest: Array, count: int, found: float) -> float:
    """Return in what share of cases the largest studentised deviation is as large as the one found, by chance."""
    from scipy import stats

    share = (1 + int((largest >= found).sum())) / (1 + len(largest))
    return max(share, float(2 * stats.t.sf(found, count - 1))) if found > 0 else 1.0


def _largest_by_chance(sets: list[Array], weights: Array, floors: Array, rng: int) -> Array:
    """Return the largest studentised means (SIGNS,) of centred runs with random signs.

    Parameters
    ----------
    sets : list of arrays (seed, statistics)
        Statistics of the sets of runs: as declared, with 2n particles, with dt/2.
    weights : array (statistics, set)
        Weights of the means over the sets.
    floors : array (set, 1)
        Least variances of a run.
    rng : int
        Seed of the signs.
    """
    generator = np.random.default_rng(np.random.SeedSequence(rng, spawn_key=(2,)))
    signs = [generator.integers(2, size=(SIGNS, len(one))) * 2.0 - 1.0 for one in sets]
    largest = np.zeros(SIGNS)
    for first in range(0, sets[0].shape[1], COLUMNS):
        some = slice(first, first + COLUMNS)
        width = sets[0][:, some].shape[1]
        total, square = np.zeros((SIGNS, width)), np.zeros((SIGNS, width))
        for k, (one, sign) in enumerate(zip(sets, signs, strict=True)):
            count, values = len(one), one[:, some]
            centred = values - values.mean(axis=0)
            mean = sign @ centred / count
            variance = (np.mean(centred**2, axis=0) - mean**2) * count / (count - 1)
            total += weights[some, k] * mean
            square += weights[some, k] ** 2 * np.maximum(variance, floors[k]) / count
        np.maximum(largest, np.max(np.abs(total) / np.sqrt(square), axis=1), out=largest)
    return largest
