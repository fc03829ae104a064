"""A radial factor of a product at all times of its run: the law in R^m by the trajectory of the radius."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from wfr_pde.integrate.trajectory import Trajectory
from wfr_pde.integrate.trajectory_points import groups
from wfr_pde.numerics.arguments import real_array
from wfr_pde.numerics.typing import Array
from wfr_pde.space.density import Density
from wfr_pde.space.radial_law import RadialLaw

NARROW = 0.15  # of the median width of the cells: narrower ones beside the origin are those of a map of the wall
FURTHER = 3.0  # times the radius of these, from where the polynomial takes its values
KEPT = 16  # laws, so that a comparison makes each of them once


@dataclass(frozen=True, eq=False)
class RadialTrajectory:
    """Law in R^m whose radius follows a run on the line.

    Parameters
    ----------
    radius : Trajectory
        Of the law of r.
    ndim : int
        m.
    """

    radius: Trajectory
    ndim: int
    _laws: dict[float, RadialLaw] = field(init=False, repr=False, default_factory=dict)

    def at(self, t: float) -> RadialLaw:
        """Return the law at a time of the run."""
        if t not in self._laws:
            if len(self._laws) >= KEPT:
                del self._laws[next(iter(self._laws))]
            self._laws[t] = RadialLaw(self._density(t), self.ndim)
        return self._laws[t]

    def _density(self, t: float) -> Density:
        """Return the density of the radius at a time.

        Between frames rates of change come from second derivatives, which rounding spoils where cells become ever
        narrower towards the origin. But log(mu/pi) is a smooth and even function of r: there it is a polynomial in r²
        through cells further out.
        """
        density, target = self.radius.at(t), self.radius.target
        axis = density.grid.axes[0]
        narrow = axis.widths < NARROW * np.median(axis.widths)
        if t in self.radius.times or target is None or axis.edges[0] > 0 or not narrow[0]:
            return density
        r = axis.centres
        count = int(np.argmin(narrow))
        near = slice(count, int(np.searchsorted(r, FURTHER * r[count])) + 3)
        log_pi = density.grid.evaluate(target.at(t).log_density)
        g = np.asarray(density.log_values) - log_pi
        scale = r[near][-1]
        fitted = np.polynomial.Polynomial.fit((r[near] / scale) ** 2, g[near], 2)
        g[:count] = fitted((r[:count] / scale) ** 2)
        return Density(density.grid, g + log_pi)

    def log_prob(self, points: Array, t: ArrayLike) -> Array:
        """Evaluate the log-density at points (..., m) and times that broadcast."""
        return self._evaluated(points, t, (), lambda law, y: law.log_prob(y))

    def score(self, points: Array, t: ArrayLike) -> Array:
        """Evaluate the gradient of the log-density at points (..., m) and times that broadcast."""
        return self._evaluated(points, t, (self.ndim,), lambda law, y: law.score(y))

    def growth(self, points: Array, t: ArrayLike) -> Array:
        """Evaluate the reaction rate at points (..., m) and times that broadcast: it is that of the radius."""
        return self.radius.growth(_radii(points), t)

    def error_l1(self, t: float) -> float:
        """Bound the L1 error at a time, which is that of the law of the radius."""
        return float(self.radius.error_l1(t))

    def pointwise(self, points: Array, t: ArrayLike, order: int) -> Array:
        """Estimate the errors of the log-density (order 0) or of its gradient (order 1): those of the radius."""
        of_radius = self.radius.log_prob_error if order == 0 else self.radius.score_error
        return of_radius(_radii(points), t)

    def _evaluated(
        self, points: Array, t: ArrayLike, more: tuple[int, ...], function: Callable[[RadialLaw, Array], Array]
    ) -> Array:
        """Evaluate a function of the law and of points, time by time."""
        shape = np.broadcast_shapes(points.shape[:-1], np.shape(t))
        flat = np.broadcast_to(points, (*shape, self.ndim)).reshape(-1, self.ndim)
        result = np.empty((len(flat), *more))
        for time, where in groups(np.broadcast_to(real_array("t", t), shape).ravel()):
            result[where] = function(self.at(time), flat[where])
        return result.reshape((*shape, *more))


def _radii(points: Array) -> Array:
    """Return |y| (..., 1) of points (..., m)."""
    return np.asarray(np.sqrt(np.sum(points**2, axis=-1, keepdims=True)))
