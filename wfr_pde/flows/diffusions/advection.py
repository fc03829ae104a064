"""Drift and growth, exact along characteristics."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from typing_extensions import override

from wfr_pde.energies import Energy
from wfr_pde.flows.base import Flow, MemoryUse, Step
from wfr_pde.flows.diffusions.coefficients import Field, name_of, values_at_probes
from wfr_pde.flows.diffusions.free_space import begin_account, check_free_space
from wfr_pde.flows.diffusions.mass_balance import MassBalance
from wfr_pde.numerics.arguments import function
from wfr_pde.numerics.characteristics import back_along_characteristics
from wfr_pde.numerics.typing import Array
from wfr_pde.numerics.vector_fields import checked_scalar, checked_values, divergence_of
from wfr_pde.space.continued import log_values_at
from wfr_pde.space.density import Density
from wfr_pde.space.grid import Grid

DIFFERENCE = 0.05  # cells between the points of a difference: (0.05 / 1.25)^6 / 140 = 3e-11 for what cells resolve
SINGLE_DIFFERENCE = 0.3  # of a drift in single precision, whose rounding closer points would amplify


@dataclass(frozen=True, eq=False, repr=False)
class Advection(Flow):
    """Drift and growth of a density: d_t mu = -div(mu b) + mu (c - E_mu c), exact along characteristics.

        log mu_{t+h}(x) = log mu_t(X(t)) + ∫ (c - div b)(X(s), s) ds + const,   dX/ds = b(X, s), X(t+h) = x

    The characteristics are solved backwards by a method of order 8; log mu at their feet is interpolated by ten points
    per axis. The box holds the mass: nothing may come through its walls, and axes may be periodic.

    Parameters
    ----------
    drift : function (points (..., d), t) -> (..., d)
        b, smooth; any, also no gradient. Outside the box it is asked, too.
    rate : function (points (..., d), t) -> (...), optional
        c. Its mean over mu does not matter to mu; the mass that it makes is in `log_mass`.
    divergence : function (points (..., d), t) -> (...), optional
        div b; by default differences over a twentieth of the narrowest cell, which take 6 d evaluations more.

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
    divergence: Field | None = None
    balance: MassBalance | None = field(default=None, kw_only=True, compare=False)

    energies = ()
    order = math.inf
    self_adjoint = True
    preserves = frozenset({"mass", "positivity"})
    measures = (Density,)
    max_ndim = 3

    def __post_init__(self) -> None:
        function("drift", self.drift, "points (..., d), t -> (..., d)")
        for name in ("rate", "divergence"):
            if getattr(self, name) is not None:
                function(name, getattr(self, name), "points (..., d), t -> (...)")

    @override
    def __repr__(self) -> str:
        given = [f"{name}={name_of(getattr(self, name))}" for name in ("drift", "rate", "divergence")]
        return f"Advection({', '.join(one for one in given if not one.endswith('=None'))})"

    @override
    def reference(self, template: Any) -> np.ndarray:
        return values_at_probes([self.drift, self.rate, self.divergence], template)

    @override
    def begin(self, start: Any) -> Any:
        return begin_account(start)

    @override
    def monitored(self) -> Flow:
        return replace(self, balance=MassBalance())

    @override
    def check(self, energy: Energy, template: Any) -> None:
        super().check(energy, template)
        check_free_space(type(self).__name__, template)

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
            places, minus, plus = feet(t, dt)
            moved = log_values_at(grid, state.log_values, places).reshape(grid.shape) - minus
            balance = MassBalance() if self.balance is None else self.balance
            balance.add(float(grid.log_integrate(moved) - grid.log_integrate(state.log_values)), "drift", t + dt)
            values = moved if plus is None else moved + plus
            return Density.holding(grid, values, log_mass=state.log_mass or 0.0).normalised()

        return step


class _Feet:
    """Feet of the characteristics through all cells, with ∫ div b and ∫ c along them."""

    def __init__(self, flow: Advection, grid: Grid) -> None:
        self.grid, self.rate = grid, None
        self._lower, self._lengths = np.array(grid.lower), np.array([axis.length for axis in grid.axes])
        self._periodic = np.array([axis.periodic for axis in grid.axes])
        widths = np.array([axis.dx for axis in grid.axes])
        drift = self._inside(flow.drift)
        single = np.asarray(flow.drift(grid.points(slice(0, 1)), 0.0)).dtype.itemsize <= 4
        self.drift = lambda points, t: checked_values(drift, points, t, "the drift")
        self.divergence = (
            divergence_of(drift, (SINGLE_DIFFERENCE if single else DIFFERENCE) * widths)
            if flow.divergence is None
            else checked_scalar(self._inside(flow.divergence), "the divergence")
        )
        self.rate = None if flow.rate is None else checked_scalar(self._inside(flow.rate), "the rate")
        self._scales = np.concatenate([widths, np.ones(1 if self.rate is None else 2)])

    def _inside(self, function: Field) -> Field:
        """Return a function that is asked inside the box along periodic axes."""
        if not self._periodic.any():
            return function
        lower, lengths, periodic = self._lower, self._lengths, self._periodic
        return lambda points, t: function(np.where(periodic, lower + (points - lower) % lengths, points), t)

    def __call__(self, t: float, h: float) -> tuple[Array, Array, Array | None]:
        """Return the places (cells, d) at time t of what is at the cells at t + h, and both integrals on the grid."""
        d, points = self.grid.ndim, self.grid.points().reshape(-1, self.grid.ndim)

        def slope(s: float, state: Array) -> Array:
            x = np.ascontiguousarray(state[:d].T)
            rows = [*self.drift(x, s).T, self.divergence(x, s)]
            return np.stack(rows if self.rate is None else [*rows, self.rate(x, s)])

        begin = np.concatenate([points.T, np.zeros((len(self._scales) - d, len(points)))])
        end = back_along_characteristics(slope, begin, t, h, self._scales)
        integrals = -end[d:].reshape(-1, *self.grid.shape)  # from t to t + h
        return end[:d].T, integrals[0], None if self.rate is None else integrals[1]
