"""Drift and growth, exact along characteristics."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from typing_extensions import override

from wfr_pde.energies import Energy
from wfr_pde.errors import UnresolvedError
from wfr_pde.flows.base import MemoryUse, Step
from wfr_pde.flows.diffusions.coefficients import Field, name_of, values_at_probes
from wfr_pde.flows.diffusions.free_space import FreeSpaceFlow, with_account
from wfr_pde.numerics.arguments import function
from wfr_pde.numerics.characteristics import TOLERANCE, back_along_characteristics
from wfr_pde.numerics.typing import Array
from wfr_pde.numerics.user_calls import call
from wfr_pde.numerics.vector_fields import checked_scalar, checked_values
from wfr_pde.space.continued import log_values_at
from wfr_pde.space.density import Density
from wfr_pde.space.grid import Grid

WEIGHTS = (5 / 6, -5 / 21, 5 / 84, -5 / 504, 1 / 1260)  # of central differences of order 10, one to five cells away
CROSSED = 1e-12  # of the mass that may be in cells between which characteristics cross: there it is wrong
SMALLEST = 1e-3  # what stands for the determinant in such cells
MORE = len(WEIGHTS)  # cells beyond every end that have feet, too
SINGLE_TOLERANCE = 1e-4  # of the characteristics of such a drift, in cells: smaller steps do not lower its rounding


@dataclass(frozen=True, eq=False, repr=False)
class Advection(FreeSpaceFlow):
    """Drift and growth of a density: d_t mu = -div(mu b) + mu (c - E_mu c), exact along characteristics.

        log mu_{t+h}(x) = log mu_t(X(t)) + ∫ (c - div b)(X(s), s) ds + const,   dX/ds = b(X, s), X(t+h) = x

    The characteristics are solved backwards by a method of order 8; log mu at their feet is interpolated by ten points
    per axis, and ∫ div b is -log det dX/dx, by differences of order 10 between the feet of neighbouring cells. The box
    holds the mass: nothing may come through its walls, and axes may be periodic.

    Parameters
    ----------
    drift : function (points (..., d), t) -> (..., d)
        b, smooth; any, also no gradient. Outside the box it is asked, too.
    rate : function (points (..., d), t) -> (...), optional
        c. Its mean over mu does not matter to mu; the mass that it makes is in `log_mass`.

    Raises
    ------
    TypeError
        If something is no function.
    ValueError
        From a step: for values of another shape or that are not finite, with place and time; for graded cells.
    NumericalError
        From a step that loses or makes mass.

    Examples
    --------
    The velocity -x makes N(e^-t, e^-2t) of N(1, 1):

    >>> import wfr_pde as wfr
    >>> start = wfr.Grid(-8.0, 8.0, 128).density(wfr.Gaussian(1.0, 1.0))
    >>> flow = wfr.flows.Advection(lambda points, t: -points)
    >>> run = wfr.solve(None, flow, start, [0.0, 1.0], 0.5, record=[wfr.diagnostics.mean])
    >>> round(float(run["mean"][-1, 0]), 6)
    0.367879
    """

    drift: Field
    rate: Field | None = None

    def __post_init__(self) -> None:
        function("drift", self.drift, "points (..., d), t -> (..., d)")
        if self.rate is not None:
            function("rate", self.rate, "points (..., d), t -> (...)")

    @override
    def __repr__(self) -> str:
        return f"Advection({name_of(self.drift)}{'' if self.rate is None else f', rate={name_of(self.rate)}'})"

    @override
    def reference(self, template: Any) -> np.ndarray:
        return values_at_probes([self.drift, self.rate], template)

    @override
    def memory_use(self, template: Density) -> MemoryUse:
        """Count the twelve stages of the characteristics."""
        return MemoryUse(8 * 16 * (template.ndim + 2) * template.grid.size)

    @override
    def make_step(self, energy: Energy, template: Density, dt: float) -> Step:
        """Prepare the exact map over `dt`."""
        self.check(energy, template)
        grid = template.grid
        feet = _Feet(self, grid)

        def step(state: Density, t: float, rng: Any = None) -> Density:
            places, minus, plus, crossed = feet(t, dt)
            moved = log_values_at(grid, state.log_values, places).reshape(grid.shape) - minus
            if crossed.any():
                _check_crossed(grid, moved, crossed, t + dt)
            self.weigh(state, moved, "drift", t + dt)
            return with_account(state, moved if plus is None else moved + plus)

        return step


def _check_crossed(grid: Grid, moved: Array, crossed: Array, t: float) -> None:
    """Refuse a step in which characteristics cross between cells, but far out in tails.

    Raises
    ------
    NumericalError
    """
    mass = np.where(crossed, np.exp(moved) * grid.cell_volume, 0.0)
    if not mass.sum() <= CROSSED:
        place = grid.points()[np.unravel_index(int(np.argmax(mass)), grid.shape)].tolist()
        raise UnresolvedError(
            f"characteristics cross between the cells at x={place}, in the step to t={t:.6g}: the cells do not resolve "
            "the drift there; use a smaller dt, or more cells"
        )


class _Feet:
    """Feet of the characteristics through all cells, with ∫ div b and ∫ c along them."""

    def __init__(self, flow: Advection, grid: Grid) -> None:
        self.grid = grid
        self._lower, self._lengths = np.array(grid.lower), np.array([axis.length for axis in grid.axes])
        self._periodic = np.array([axis.periodic for axis in grid.axes])
        widths = np.array([axis.dx for axis in grid.axes])
        drift = self._inside(flow.drift)
        self._raw = drift
        self.drift = lambda points, t: checked_values(drift, points, t, "the drift")
        self.rate = None if flow.rate is None else checked_scalar(self._inside(flow.rate), "the rate")
        self._scales = np.concatenate([widths, np.ones(0 if self.rate is None else 1)])
        # the cells, and some more beyond every end, for differences
        places = [axis.centres[0] + axis.dx * np.arange(-MORE, axis.n + MORE) for axis in grid.axes]
        self._points = np.stack(np.meshgrid(*places, indexing="ij"))
        self._inner = tuple(slice(MORE, -MORE) for _ in grid.axes)

    def _inside(self, function: Field) -> Field:
        """Return a function that is asked inside the box along periodic axes."""
        if not self._periodic.any():
            return function
        lower, lengths, periodic = self._lower, self._lengths, self._periodic
        return lambda points, t: function(np.where(periodic, lower + (points - lower) % lengths, points), t)

    def __call__(self, t: float, h: float) -> tuple[Array, Array, Array | None, Array]:
        """Return the places (cells, d) at t of what is at the cells at t + h, both integrals, and where paths cross."""
        d, rate = self.grid.ndim, self.rate

        def slope(s: float, state: Array) -> Array:
            x = np.ascontiguousarray(state[:d].T)
            velocity = self.drift(x, s).T
            return velocity if rate is None else np.concatenate([velocity, rate(x, s)[None]])

        begin = np.zeros((len(self._scales), self._points[0].size))
        begin[:d] = self._points.reshape(d, -1)
        single = np.asarray(call("the drift", self._raw, begin[:d, :1].T, t)).dtype.itemsize <= 4
        tolerance = SINGLE_TOLERANCE if single else TOLERANCE
        end = back_along_characteristics(slope, begin, t, h, self._scales, tolerance)
        end = end.reshape(-1, *self._points.shape[1:])
        feet = np.stack([row[self._inner].ravel() for row in end[:d]], axis=-1)
        logarithm, crossed = self._log_determinant(end[:d])
        return feet, -logarithm, None if rate is None else -end[d][self._inner], crossed

    def _moved(self, k: int, shift: int) -> tuple[Any, ...]:
        """Return the cells that are `shift` cells further along axis `k`, among those with feet."""
        starts = [MORE + shift * (i == k) for i in range(self.grid.ndim)]
        return (slice(None), *(slice(a, a + n) for a, n in zip(starts, self.grid.shape, strict=True)))

    def _log_determinant(self, feet: Array) -> tuple[Array, Array]:
        """Return log det of the Jacobian of the feet (d, ...), -∫ div b along the paths, and where paths cross."""
        d = self.grid.ndim
        jacobian = np.empty((*self.grid.shape, d, d))
        for k, axis in enumerate(self.grid.axes):
            total = np.zeros((d, *self.grid.shape))
            for shift, weight in enumerate(WEIGHTS, start=1):
                total += weight / axis.dx * (feet[self._moved(k, shift)] - feet[self._moved(k, -shift)])
            jacobian[..., k] = np.moveaxis(total, 0, -1)
        sign, logarithm = np.linalg.slogdet(jacobian)
        return np.where(sign > 0, logarithm, math.log(SMALLEST)), sign <= 0
