"""Smooth functions of a point from values at the cell centres of a grid, in variables in which cells are regular."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from wfr_pde.numerics.splines import QUINTIC, TensorSpline
from wfr_pde.numerics.typing import Array
from wfr_pde.space.grid import Grid

Powers = list[tuple[float, float, float]]


class GridSpline:
    """Tensor-product spline through values at cell centres, which no joint is inside of.

    Beside walls from which cells follow a root of the distance the spline is one in that root. On a single axis a
    multiple of the logarithm of the distance, by the two centres nearest to the wall, is taken off before, as densities
    are powers of it there.

    Parameters
    ----------
    grid : Grid
    values : array of `grid.shape`
    degree : int
        5 or 1.
    """

    def __init__(self, grid: Grid, values: ArrayLike, degree: int = QUINTIC) -> None:
        self.axes = grid.axes
        values = np.asarray(values, dtype=np.float64)
        self._powers = _wall_powers(grid, values)
        values = without_wall_powers(grid, values)
        self._spline = TensorSpline(
            [axis.regular(axis.centres) for axis in self.axes],
            [axis.regular(axis.edges) for axis in self.axes],
            values,
            [axis.periodic for axis in self.axes],
            degree=degree,
            joints=[axis.joints for axis in self.axes],
        )
        self._is_regular = all(axis.roots == (1.0, 1.0) for axis in self.axes)

    def wrap(self, points: Array) -> tuple[Array, np.ndarray]:
        """`points` (..., d) with periodic coordinates moved into the box, and a mask (...) of those inside it."""
        return self._spline.wrap(points)

    def __call__(self, points: Array, outside: float = np.nan) -> Array:
        """Values at `points` (..., d), shape (...); `outside` where a point is outside the box, NaN where it is."""
        result = self._spline(self._inner(points), outside)
        return result + _logarithms(self._powers, points[..., 0]) if self._powers else result

    def on(self, coordinates: Sequence[Array]) -> Array:
        """Values at all combinations of coordinates inside the box: (m_1, ..., m_d) for arrays (m_i,)."""
        inner = [axis.regular(x) for axis, x in zip(self.axes, coordinates, strict=True)]
        result = self._spline.on(inner)
        return result + _logarithms(self._powers, coordinates[0]) if self._powers else result

    def gradient(self, points: Array) -> Array:
        """Gradient at `points` (..., d), shape (..., d); NaN outside the box."""
        result = self._spline.gradient(self._inner(points))
        if self._is_regular:
            return result
        for k, axis in enumerate(self.axes):
            result[..., k] *= axis.regular_slope(points[..., k])
        for power, wall, _ in self._powers:
            with np.errstate(divide="ignore"):
                result[..., 0] += power / (points[..., 0] - wall)
        return result

    def _inner(self, points: Array) -> Array:
        if self._is_regular:
            return points
        points, inside = self.wrap(points)
        inner = np.stack([axis.regular(points[..., k]) for k, axis in enumerate(self.axes)], axis=-1)
        return np.where(inside[..., None], inner, points)


def without_wall_powers(grid: Grid, values: Array) -> Array:
    """Values without the multiples of logarithms of the distance from walls that `GridSpline` takes off."""
    powers = _wall_powers(grid, values)
    return values - _logarithms(powers, grid.axes[0].centres) if powers else values


def _logarithms(powers: Powers, x: Array) -> Array:
    """Multiples of logarithms of the distances from walls."""
    total = np.zeros(np.shape(x))
    with np.errstate(divide="ignore", invalid="ignore"):
        for power, wall, length in powers:
            total = total + power * np.log(np.abs(x - wall) / length)
    return total


def _wall_powers(grid: Grid, values: Array) -> Powers:
    """Multiples of logarithms of the distance from walls with a root, the walls, and the length of the axis."""
    found: Powers = []
    if grid.ndim > 1:
        return found
    axis = grid.axes[0]
    for root, wall, ends in zip(axis.roots, axis.edges[[0, -1]].tolist(), ((0, 1), (-1, -2)), strict=True):
        pair = values[list(ends)]
        if root != 1 and np.isfinite(pair).all():
            distances = np.abs(axis.centres[list(ends)] - wall)
            found.append((float((pair[0] - pair[1]) / np.log(distances[0] / distances[1])), wall, axis.length))
    return found
