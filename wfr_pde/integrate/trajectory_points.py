"""A trajectory at points and times: splines through its frames in x, rules of interpolation in t."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from wfr_pde.integrate.interpolation_rules import Rule
from wfr_pde.integrate.time_interpolation import TimeInterpolation
from wfr_pde.numerics.arguments import real_array
from wfr_pde.numerics.regular_splines import RegularSpline
from wfr_pde.numerics.typing import Array
from wfr_pde.space.frame import Frame
from wfr_pde.space.grid import Grid


@dataclass(frozen=True, eq=False)
class TrajectoryPoints:
    """Sums over frames at points (..., d) and times (...), which broadcast.

    Parameters
    ----------
    interpolation : TimeInterpolation
    frame : Frame
        The coordinates of the grid.
    """

    interpolation: TimeInterpolation
    frame: Frame
    _rate_splines: dict[int, _RateSpline] = field(init=False, repr=False, default_factory=dict)

    def shape(self, x: ArrayLike, t: ArrayLike) -> tuple[int, ...]:
        """Return the shape (..., d) of points and times together."""
        points, times = real_array("x", x).shape, real_array("t", t).shape
        d = self.interpolation.grid.ndim
        if len(points) == 0 or points[-1] != d:
            hint = "; write x[..., None] for a plain array of positions" if d == 1 else ""
            raise ValueError(
                f"x has shape {points}, but the run is {d}-dimensional: the last axis must have length {d}{hint}"
            )
        try:
            return (*np.broadcast_shapes(points[:-1], times), d)
        except ValueError:
            raise ValueError(
                f"times t of shape {times} do not broadcast with points of shape {points}: one time, or one per point, "
                f"shape {points[:-1]}"
            ) from None

    def broadcast(self, x: ArrayLike, t: ArrayLike) -> tuple[Array, Array]:
        """Return points (m, d) and times (m,)."""
        shape = self.shape(x, t)
        points = np.broadcast_to(real_array("x", x), shape).reshape(-1, shape[-1])
        times = np.broadcast_to(real_array("t", t), shape[:-1]).ravel()
        return points, self.interpolation.located(times)[0]

    def evaluated(self, x: ArrayLike, t: ArrayLike, function: Callable[[Any, Array], Array]) -> Array:
        """Sum weights(t) function(frame, x) over the frames of each interval, and over their rates of change."""
        shape = self.shape(x, t)
        points, times = self.broadcast(x, t)
        points = self.frame.inner(points)
        index = self.interpolation.located(times)[1]
        result = np.empty((len(points), *function(self.interpolation.densities[0], points[:0]).shape[1:]))
        for k in np.unique(index):
            where = np.flatnonzero(index == k)
            rule: Rule = self.interpolation.rule(int(k))
            of_values, of_rates = rule.weights(times[where])
            terms: list[tuple[Array, Any]] = [
                (of_values[:, i], self.interpolation.densities[frame]) for i, frame in enumerate(rule.frames)
            ]
            if rule.hermite:
                terms += [(of_rates[:, i], self._rate_spline(frame)) for i, frame in enumerate(rule.frames)]
            total = np.zeros((len(where), *result.shape[1:]))
            outside = np.isneginf(function(self.interpolation.densities[rule.frames[0]], points[where]))
            with np.errstate(invalid="ignore"):
                for weight, density in terms:
                    values = function(density, points[where])
                    weight = weight.reshape(len(where), *(1,) * (values.ndim - 1))
                    total = total + np.where(weight == 0, 0, weight) * np.where(weight == 0, 0, values)
            result[where] = np.where(outside, -np.inf, total)
        return result.reshape(shape[:-1] + result.shape[1:])

    def log_mass(self, x: ArrayLike, t: ArrayLike) -> Array:
        """Return the logarithm of the mass that is too much, at the times that go with the points."""
        shape = self.shape(x, t)
        times = self.interpolation.located(real_array("t", t).ravel())[0]
        unique, back = np.unique(times, return_inverse=True)
        intervals = self.interpolation.located(unique)[1]
        masses, interpolation = np.zeros(len(unique)), self.interpolation
        for i, (time, k) in enumerate(zip(unique, intervals, strict=True)):
            masses[i] = interpolation.interpolated_with_mass(interpolation.rule(int(k)), time)[1]
        return np.broadcast_to(masses[back].reshape(np.shape(t)), shape[:-1])

    def cells(self, points: Array) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
        """Return the indices of the cells of points (m, d), and which of the points are inside the box."""
        wrapped, inside = self.interpolation.densities[0]._spline.wrap(self.frame.inner(points))
        cells = tuple(
            np.clip(np.searchsorted(axis.edges, wrapped[:, i], side="right") - 1, 0, axis.n - 1)
            for i, axis in enumerate(self.interpolation.grid.axes)
        )
        return cells, inside

    def _rate_spline(self, number: int) -> _RateSpline:
        if number not in self._rate_splines:
            self._rate_splines[number] = _RateSpline(self.interpolation.grid, self.interpolation.rate(number))
        return self._rate_splines[number]


class _RateSpline:
    """The rate of change of a frame between the cells, evaluated like a `Density`."""

    def __init__(self, grid: Grid, rates: Array) -> None:
        self._spline = RegularSpline([axis.cells for axis in grid.axes], rates)

    def log_prob(self, points: Array) -> Array:
        """Return the values at points."""
        return self._spline(points)

    def score(self, points: Array) -> Array:
        """Return the gradient at points."""
        return self._spline.gradient(points)


def groups(times: Array) -> list[tuple[float, np.ndarray]]:
    """Return the different times, and the numbers of the points of each."""
    unique, back = np.unique(times, return_inverse=True)
    order = np.argsort(back, kind="stable")
    parts = np.split(order, np.searchsorted(back[order], np.arange(1, len(unique))))
    return list(zip(unique.tolist(), parts, strict=True))
