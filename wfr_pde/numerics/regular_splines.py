"""Splines through values at cell centres in variables in which cells are regular beside walls."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from wfr_pde.numerics.splines import QUINTIC, TensorSpline
from wfr_pde.numerics.typing import Array

PLAIN = (1.0, 1.0)  # roots of an axis whose walls are like any other place
Powers = list[tuple[float, float, float]]  # multiples of the logarithm of the distance from a wall, the wall, a length


class Cells(NamedTuple):
    """Cells of one axis.

    Attributes
    ----------
    centres : array (n,)
    edges : array (n + 1,)
    periodic : bool
    joints : sequence of int
        Numbers of the edges where segments meet.
    roots : (float, float)
        p where cells beside the lower and the upper wall follow the p-th root of the distance from it, up to the next
        joint; 1 elsewhere.
    """

    centres: Array
    edges: Array
    periodic: bool = False
    joints: Sequence[int] = ()
    roots: tuple[float, float] = PLAIN

    def regular(self, points: Array) -> Array:
        """Return coordinates (...) in which the cells of every segment are regular: roots of the distance from walls.

        Increasing, and the same at walls and joints; the coordinates themselves where both `roots` are 1.
        """
        result = np.array(points, dtype=np.float64)
        for root, wall, end, inside in self._rooted(result):
            share = np.abs(result[inside] - wall) / abs(end - wall)
            result[inside] = wall + (end - wall) * share ** (1 / root)
        return result

    def regular_slope(self, points: Array) -> Array:
        """Return the derivative of `regular`, infinite in a wall with a root."""
        points = np.asarray(points, dtype=np.float64)
        slope = np.ones(points.shape)
        for root, wall, end, inside in self._rooted(points):
            with np.errstate(divide="ignore"):
                slope[inside] = (np.abs(points[inside] - wall) / abs(end - wall)) ** (1 / root - 1) / root
        return slope

    def _rooted(self, points: Array) -> Iterator[tuple[float, float, float, Any]]:
        """Yield the root of each segment that has one, its wall, its other end, and which points are inside."""
        ends = self.edges[[0, *self.joints, -1]].tolist()
        for side, (wall, end) in enumerate(((ends[0], ends[1]), (ends[-1], ends[-2]))):
            if self.roots[side] != 1:
                yield self.roots[side], wall, end, (points >= min(wall, end)) & (points <= max(wall, end))

    def wall_powers(self, values: Array) -> Powers:
        """Return the multiples of the logarithm of the distance that values (n,) have beside walls with a root."""
        found: Powers = []
        for root, wall, ends in zip(self.roots, self.edges[[0, -1]].tolist(), ((0, 1), (-1, -2)), strict=True):
            pair = values[list(ends)]
            if root != 1 and np.isfinite(pair).all():
                distances = np.abs(self.centres[list(ends)] - wall)
                power = float((pair[0] - pair[1]) / np.log(distances[0] / distances[1]))
                found.append((power, wall, float(self.edges[-1] - self.edges[0])))
        return found


def without_wall_powers(axes: Sequence[Cells], values: Array) -> Array:
    """Take the multiples of logarithms of the distance from walls off the values, as `RegularSpline` does."""
    powers = axes[0].wall_powers(values) if len(axes) == 1 else []
    return values - _logarithms(powers, axes[0].centres) if powers else values


def _logarithms(powers: Powers, x: Array) -> Array:
    """Sum the multiples of logarithms of the distances from walls, at places x."""
    total = np.zeros(np.shape(x))
    with np.errstate(divide="ignore", invalid="ignore"):
        for power, wall, length in powers:
            total = total + power * np.log(np.abs(x - wall) / length)
    return total


class RegularSpline:
    """Tensor-product spline through values at cell centres, which no joint is inside of.

    Beside walls from which cells follow a root of the distance the spline is one in that root. On a single axis a
    multiple of the logarithm of the distance, by the two centres nearest to the wall, is taken off before, as densities
    are powers of it there.

    Parameters
    ----------
    axes : sequence of Cells
    values : array (n_1, ..., n_d)
    degree : int
        5 or 1.
    """

    def __init__(self, axes: Sequence[Cells], values: ArrayLike, degree: int = QUINTIC) -> None:
        self.degree = degree
        self.axes = axes
        values = np.asarray(values, dtype=np.float64)
        self._powers = axes[0].wall_powers(values) if len(axes) == 1 else []
        self._spline = TensorSpline(
            [axis.regular(axis.centres) for axis in axes],
            [axis.regular(axis.edges) for axis in axes],
            without_wall_powers(axes, values),
            [axis.periodic for axis in axes],
            degree=degree,
            joints=[axis.joints for axis in axes],
        )
        self._is_plain = all(tuple(axis.roots) == PLAIN for axis in axes)

    def wrap(self, points: Array) -> tuple[Array, np.ndarray]:
        """Return `points` (..., d) with periodic coordinates moved into the box, and a mask (...) of those inside."""
        return self._spline.wrap(points)

    def __call__(self, points: Array, outside: float = np.nan) -> Array:
        """Evaluate the spline at `points` (..., d), shape (...); `outside` beyond the box, NaN where a point is NaN."""
        result = self._spline(self._inner(points), outside)
        return result + _logarithms(self._powers, points[..., 0]) if self._powers else result

    def on(self, coordinates: Sequence[Array]) -> Array:
        """Evaluate the spline at all combinations of coordinates in the box: (m_1, ..., m_d) for arrays (m_i,)."""
        result = self._spline.on([axis.regular(x) for axis, x in zip(self.axes, coordinates, strict=True)])
        return result + _logarithms(self._powers, coordinates[0]) if self._powers else result

    def gradient(self, points: Array) -> Array:
        """Evaluate the gradient at `points` (..., d), shape (..., d); NaN outside the box."""
        result = self._spline.gradient(self._inner(points))
        if self._is_plain:
            return result
        for k, axis in enumerate(self.axes):
            result[..., k] *= axis.regular_slope(points[..., k])
        for power, wall, _ in self._powers:
            with np.errstate(divide="ignore"):
                result[..., 0] += power / (points[..., 0] - wall)
        return result

    def _inner(self, points: Array) -> Array:
        """Return the points in the variables of the spline; those outside the box as they are."""
        if self._is_plain:
            return points
        points, inside = self.wrap(points)
        inner = np.stack([axis.regular(points[..., k]) for k, axis in enumerate(self.axes)], axis=-1)
        return np.where(inside[..., None], inner, points)
