"""Walls at which a density is a power of the distance: the exponent, cells that suit it, the powers of the error."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from typing_extensions import override

from wfr_pde.numerics.richardson import EVEN
from wfr_pde.numerics.typing import Array
from wfr_pde.space.grid import Grid
from wfr_pde.targets.base import Target

DECADES = 10.0 ** -np.arange(2, 15)  # distances from the wall, over the length of the axis
DEEPEST = 1e7  # units in the last place of the wall that a distance has at least
REGULAR = 1e-4  # of a - 1: what is below is a slope, or rounding
AGREE = 2e-3  # difference of the exponents from decade to decade that is still a power law
PLACES = 5  # along the wall, where exponents must agree to be one
SAME_POWER = 0.05  # powers of the error this close count as one: weights that cancel both would be huge
WHOLE = (4.0, 5.0, 6.0)  # powers of the map that are tried, besides those that suit the exponent
# powers of the map: below, the flux errs too much beside the wall; above, cells are too narrow there
LEAST, LARGEST = 3.5, 12.0
TOLD_APART, MANY_CELLS = 1e3, 1e3  # units in the last place of a wall, and cells of an axis
NEXT_TO_ZERO = 1e-100  # distance from a wall at 0 that is told from it, in V too
CELLS_PRICE = 1.5  # of one in the power of the map, over one in a power of the error


def wall_exponents(target: Target, lower: ArrayLike, upper: ArrayLike) -> Array:
    """Find the exponents a (d, 2) of the density, y^(a-1) at the distance y from the lower and upper walls.

    V = -(a - 1) log y + what is smooth: a is seen in the rise of V from decade to decade of y, as deep as rounding
    permits, and is extrapolated over the last two decades. V is never evaluated in the wall.

    Parameters
    ----------
    target : Target
    lower, upper : arrays (d,)
        The box.

    Returns
    -------
    array (d, 2)
        1 where the wall is regular: V is smooth there, or is no logarithm (e^(-1/y), or not finite).

    Raises
    ------
    ValueError
        If a <= 0: the density is not integrable.
    """
    lower, upper = (np.atleast_1d(np.asarray(end, dtype=np.float64)) for end in (lower, upper))
    found = np.ones((len(lower), 2))
    shares = np.random.default_rng(0).uniform(0.2, 0.8, (PLACES, len(lower)))
    shares = np.full((1, 1), 0.5) if len(lower) == 1 else shares
    for k in range(len(lower)):
        for side, wall in enumerate((lower[k], upper[k])):
            places = [
                _exponent(target, lower + share * (upper - lower), k, wall, 1 - 2 * side, (upper - lower)[k])
                for share in shares
            ]
            value = float(np.median(places))
            # everywhere along the wall alike, or it is no property of the wall
            found[k, side] = value if np.ptp(places) <= AGREE else 1.0
            if found[k, side] <= 0:
                raise ValueError(
                    f"the density of {target!r} goes as y^{value - 1:.4g} with the distance y from the wall at "
                    f"{wall:.6g} of axis {k}, which has no finite mass: use a box that ends short of it"
                )
    return found


def _exponent(target: Target, place: Array, k: int, wall: float, direction: int, length: float) -> float:
    """Find the exponent at one place along a wall; 1 where there is no power law."""
    distances = DECADES * length
    distances = distances[distances >= DEEPEST * np.spacing(abs(wall))]
    if len(distances) < 4:
        return 1.0
    points = np.repeat(place[None], len(distances), axis=0)
    points[:, k] = wall + direction * distances
    distances = np.abs(points[:, k] - wall)  # as they are after rounding
    with np.errstate(all="ignore"):
        log_density = np.asarray(target.log_density(points), dtype=np.float64)
    if not np.isfinite(log_density).all():
        return 1.0
    powers = np.diff(log_density) / np.diff(np.log(distances))  # a - 1 from decade to decade
    powers = (10 * powers[1:] - powers[:-1]) / 9  # without what is linear in the distance
    last = powers[-3:]
    if np.ptp(last) > AGREE * (1 + abs(last[-1])) or abs(last[-1]) < REGULAR:
        return 1.0
    return 1.0 + float(last[-1])


def most_power(wall: float, length: float) -> float:
    """Return the largest power of the map with which the first of a thousand cells is told from the wall."""
    if wall == 0:
        return LARGEST
    return min(LARGEST, math.log(length / (TOLD_APART * float(np.spacing(abs(wall))))) / math.log(MANY_CELLS))


def map_power(*exponents: float, largest: float = LARGEST) -> float:
    """Choose the power p of the map y = s^p of the distance from a wall where densities have some exponents.

    1 where all are regular. Else p is such that the leading `error_powers` are as large as can be: p = 1/a or 2/a, 4/a,
    as the term s^(p a - 1) of the density has no error in the midpoint sum if p a is 1, and an even one for 2 and
    4; or a whole number. Beside the wall the flux has errors of the size of V' dx, which reach the solution as
    dx^(2 p): so p has to be above one where a = 2 too, which the midpoint sum would not mind. No power above `largest`
    is tried, see `most_power`.
    """
    if all(exponent == 1 for exponent in exponents):
        return 1.0
    suited = [k / exponent for exponent in exponents for k in (1, 2, 4, 6)]
    candidates = [float(p) for p in sorted({*WHOLE, *suited}) if LEAST <= p <= largest]
    if not candidates:
        return max(1.0, min(LEAST, largest))

    def gain(p: float) -> float:
        return sum(error_powers([(a, p) for a in exponents], len(EVEN) + 1)) - CELLS_PRICE * p

    return max(candidates, key=gain)


def error_powers(walls: Iterable[tuple[float, float]], count: int = len(EVEN)) -> tuple[float, ...]:
    """Return the powers of the cell width in the error, increasing, of finite volumes with densities (a, p) at walls.

    2, 4, 6, 8, ... of the inside; p (a + k), k = 0, 1, ..., of the mass beside a wall where that is no odd number
    (the midpoint sum has no error then); 2 p, 3 p, ... of the flux beside it. Nearly the same ones count once.
    """
    pairs, found = list(walls), [*EVEN, EVEN[-1] + 2, EVEN[-1] + 4]
    for exponent, power in pairs:
        if power == exponent == 1:
            continue
        masses = [float(power * (exponent + k)) for k in range(4)]
        found += [m for m in masses if abs((m % 2) - 1) > 1e-6]
        found += [2 * power, 3 * power]
    distinct: list[float] = []
    for value in sorted(found, key=lambda value: (round(value, 6) not in EVEN, value)):  # even ones stay
        if all(abs(value - other) > SAME_POWER for other in distinct):
            distinct.append(value)
    return tuple(sorted(distinct)[:count])


def without_walls(distribution: Target, walls: Mapping[tuple[int, int], tuple[float, float]], grid: Grid) -> Target:
    """Take its powers of the distance from `walls`, as `GridFamily` has them, off a distribution.

    It is the distribution itself where there are none.
    """
    exponents = np.ones((grid.ndim, 2))
    for (axis, side), (exponent, _) in walls.items():
        exponents[axis, side] = exponent
    if np.all(exponents == 1):
        return distribution
    return WithoutWalls(distribution, exponents, np.array(grid.lower), np.array(grid.upper))


class WithoutWalls(Target):
    """A distribution with its powers of the distance from walls taken off, so that its scales are those of the rest.

    What is closer to such a wall than rounding tells is taken for the next place that is told.

    Parameters
    ----------
    base : Target
    exponents : array (d, 2)
        Of the density at the walls, see `wall_exponents`.
    lower, upper : arrays (d,)
    """

    def __init__(self, base: Target, exponents: Array, lower: Array, upper: Array) -> None:
        self.base, self.exponents, self.lower, self.upper = base, exponents, lower, upper
        self.ndim = base.ndim

    @override
    def log_density(self, points: ArrayLike) -> Array:
        """Compute the log-density, less (a - 1) log y for every wall."""
        points = self._told(self.as_points(points))
        result = np.array(self.base.log_density(points), dtype=np.float64)
        for side, wall in enumerate((self.lower, self.upper)):
            powers = self.exponents[:, side] - 1
            for k in np.flatnonzero(powers):
                result -= powers[k] * np.log(np.abs(points[..., k] - wall[k]))
        return result

    @override
    def score(self, points: ArrayLike) -> Array:
        """Compute the score, less the gradient of (a - 1) log y for every wall."""
        points = self._told(self.as_points(points))
        result = np.array(self.base.score(points), dtype=np.float64)
        for side, wall in enumerate((self.lower, self.upper)):
            powers = self.exponents[:, side] - 1
            for k in np.flatnonzero(powers):
                result[..., k] -= powers[k] / (points[..., k] - wall[k])
        return result

    def _told(self, points: Array) -> Array:
        """Move points that are nearer to a singular wall than `TOLD_APART` last digits that far away from it."""
        apart = (np.maximum(TOLD_APART * np.spacing(np.abs(wall)), NEXT_TO_ZERO) for wall in (self.lower, self.upper))
        bounds = [
            np.where(self.exponents[:, side] == 1, wall - np.inf * sign, wall + sign * distance)
            for side, wall, sign, distance in zip((0, 1), (self.lower, self.upper), (1, -1), apart, strict=True)
        ]
        return np.asarray(np.clip(points, *bounds))

    @override
    def sample(self, n: int, rng: Any = None) -> Array:
        """Draw from the distribution itself, as its mass is what has to be resolved."""
        return self.base.sample(n, rng)
