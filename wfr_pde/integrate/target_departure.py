"""What a target does between the cell centres, where the splines of a run do not see it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from wfr_pde.numerics.regular_splines import RegularSpline
from wfr_pde.numerics.typing import Array
from wfr_pde.space.grid import Grid
from wfr_pde.targets.base import Target

KEPT = 4  # splines, each as large as the grid: of a target that moves every time has its own


@dataclass(frozen=True, eq=False)
class TargetDeparture:
    """By how much log pi departs, at places, from its spline through the cell centres.

    A flow to pi takes over at most what pi has: a reaction a share between 0 and 1 of it, a transport all of it, as
    mu/pi is smooth. So log mu departs from its own spline by as much, at places where cells are too wide for V, which
    the values at the centres alone do not show.

    Parameters
    ----------
    grid : Grid
    target : Target
        pi, in the coordinates of the grid.
    """

    grid: Grid
    target: Target
    _splines: dict[tuple[float, int], RegularSpline | None] = field(init=False, repr=False, default_factory=dict)

    def __call__(self, points: Array, t: float, degree: int, order: int) -> Array:
        """Return the departures of log pi (order 0, nats) or of its gradient (order 1) at points (m, d) of the box.

        `degree` is that of the spline. They are infinite where log pi is not defined at a place. Where it is not finite
        at a centre, they are zero: the spline of such a run says by itself that nothing is known.
        """
        target: Any = self.target.at(t) if self.target.moving else self.target
        spline = self._spline(target, t if self.target.moving else 0.0, degree)
        if spline is None:
            return np.zeros(len(points))
        with np.errstate(all="ignore"):
            if order == 0:
                apart = np.abs(target.log_density(points) - spline(points))
            else:
                apart = np.linalg.norm(target.score(points) - spline.gradient(points), axis=-1)
        return np.where(np.isnan(apart), np.inf, apart)

    def _spline(self, target: Target, t: float, degree: int) -> RegularSpline | None:
        if (t, degree) not in self._splines:
            if len(self._splines) >= KEPT:
                del self._splines[next(iter(self._splines))]
            values = self.grid.evaluate(target.log_density)
            finite = bool(np.isfinite(values).all())
            cells = [axis.cells for axis in self.grid.axes]
            self._splines[t, degree] = RegularSpline(cells, values, degree) if finite else None
        return self._splines[t, degree]
