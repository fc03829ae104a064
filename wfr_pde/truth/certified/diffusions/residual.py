"""What a computed curve of densities leaves in the equation of a weighted diffusion.

The curve is u = exp(Lambda), not normalised, Lambda the polynomial in time through the logarithms at consecutive steps
and the slopes that the equation gives them there. Its residual r = d_t u + div(u b) - div(D grad u) - c u is evaluated
between the steps. As the solution operator of the equation without c is a contraction in L1, the error of u is at most
∫ ||r||_1 dt, whatever scheme u comes from.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from wfr_pde.flows.diffusions.coefficients import diffusivity_at
from wfr_pde.flows.diffusions.equation import DiffusionEquation
from wfr_pde.numerics.falling_parabolas import continued
from wfr_pde.numerics.gauss_rules import gauss, lagrange
from wfr_pde.numerics.typing import Array
from wfr_pde.numerics.vector_fields import checked_scalar, checked_values, divergence_of
from wfr_pde.space.continued import log_values_at
from wfr_pde.space.grid import Grid

# weights of central differences one to five cells away, of order 10 and 8: of the first derivative, and of the second
FIRST = ((5 / 6, -5 / 21, 5 / 84, -5 / 504, 1 / 1260), (4 / 5, -1 / 5, 4 / 105, -1 / 280, 0.0))
SECOND = ((5 / 3, -5 / 21, 5 / 126, -5 / 1008, 1 / 3150), (8 / 5, -1 / 5, 8 / 315, -1 / 560, 0.0))
MORE = 5  # cells beyond every end that differences ask for
PLACES = 32  # of even mass, at which coefficients are looked at between the nodes in time
GOLDEN = 0.6180339887498949  # looks are at multiples of it beside even ones, so that nothing periodic escapes
STEP = 0.05  # cells between the points of the differences that div b is computed by


@dataclass(frozen=True)
class Residual:
    """Sizes of the residual over one panel of time.

    Attributes
    ----------
    size : float
        ∫ ||r||_1 dt, by differences of order 10 in space.
    doubt : float
        The same of what differences of order 8 give otherwise.
    growth : float
        ∫ of the largest c in the box, of nothing without a rate.
    """

    size: float
    doubt: float
    growth: float


class ResidualRule:
    """The residual of an equation on a grid."""

    def __init__(self, equation: DiffusionEquation, grid: Grid) -> None:
        self.equation, self.grid = equation, grid
        self._lower, self._lengths = np.array(grid.lower), np.array([axis.length for axis in grid.axes])
        self._periodic = np.array([axis.periodic for axis in grid.axes])
        self._divergence = divergence_of(self._inside, STEP * np.array([axis.dx for axis in grid.axes]))

    def _inside(self, points: Array, t: float) -> Array:
        """Return the drift, asked inside the box along periodic axes."""
        wrapped = self._lower + (points - self._lower) % self._lengths
        return np.asarray(self.equation.drift(np.where(self._periodic, wrapped, points), t))

    def over_panel(self, times: Array, log_values: Array) -> Residual:
        """Return the sizes over a panel with nodes `times` (k,) in time, and values (k, *shape) of Lambda there."""
        middle, half = float(times[0] + times[-1]) / 2, float(times[-1] - times[0]) / 2
        nodes = (times - middle) / half
        slopes = np.stack([self.slope(values, float(t)) for t, values in zip(times, log_values, strict=True)])
        known = np.concatenate([log_values, half * slopes])
        places, weights = gauss(2 * (len(times) - 1))
        size = doubt = growth = 0.0
        for place, weight in zip(2 * places - 1, 2 * half * weights, strict=True):
            of_value, of_slope = _hermite(nodes, float(place))
            values, slope = (np.tensordot(w, known, axes=1) for w in (of_value, of_slope / half))
            one, other, rate = self._at(values, slope, middle + half * float(place))
            size += weight * one
            doubt += weight * other
            growth += weight * rate
        return Residual(size, doubt, growth)

    def slope(self, values: Array, t: float) -> Array:
        """Return d_t Lambda by the equation, of Lambda at a time."""
        return -self._left(values, 0.0, t)[0]

    def _at(self, values: Array, slope: Array, t: float) -> tuple[float, float, float]:
        """Return ||r||_1 at a time, its doubt, and the largest c."""
        with np.errstate(over="ignore", invalid="ignore"):  # of attempts that are far off: their bound is no number
            one, other, largest = self._left(values, slope, t)
            density, integrate = np.exp(values), self.grid.integrate
            return float(integrate(density * np.abs(one))), float(integrate(density * np.abs(one - other))), largest

    def _left(self, values: Array, slope: Array | float, t: float) -> tuple[Array, Array, float]:
        """Return r/u by differences of order 10 and of order 8, and the largest c."""
        grid, equation = self.grid, self.equation
        points = grid.points().reshape(-1, grid.ndim)
        drift = checked_values(self._inside, points, t, "the drift").reshape(*grid.shape, grid.ndim)
        known = slope + self._divergence(points, t).reshape(grid.shape)
        largest = 0.0
        if equation.rate is not None:
            rate = checked_scalar(equation.rate, "the rate")(points, t).reshape(grid.shape)
            known, largest = known - rate, float(rate.max())
        diffusivity = diffusivity_at(equation.diffusivity, t, grid.ndim)
        found = []
        for first, second in zip(FIRST, SECOND, strict=True):
            total = known
            for k, axis in enumerate(grid.axes):
                gradient, curvature = _differences(grid, values, k, (first, second))
                spread = curvature / axis.dx**2 + (gradient / axis.dx) ** 2
                total = total + drift[..., k] * gradient / axis.dx - diffusivity[k] * spread
            found.append(total)
        return found[0], found[1], largest

    def between(self, log_values: Array, t: float) -> float:
        """Return what drift and rate do between the cells that they do not show at the centres, in L1 per time.

        Their values a third of a cell aside are compared with what interpolation makes of those at the centres.
        """
        grid, points = self.grid, self.grid.points().reshape(-1, self.grid.ndim)
        density, total = np.exp(log_values).ravel(), 0.0
        for values, weight in self._fields():
            known = values(points, t).reshape(grid.shape)
            found = []
            for k, axis in enumerate(grid.axes):
                for sign in (-1, 1):
                    aside = points.copy()
                    aside[:, k] += sign * axis.dx / 3
                    found.append(np.abs(values(aside, t) - log_values_at(grid, known, aside)))
            total += weight * float(np.sum(density * np.max(found, axis=0)))
        return total * math.prod(axis.dx for axis in grid.axes)

    def _fields(self) -> list[tuple[Callable[[Array, float], Array], float]]:
        """Return the components of the drift, and the rate, with what a change of each by one is in L1 per time."""
        fields = [(partial(self._component, k), 1 / axis.dx) for k, axis in enumerate(self.grid.axes)]
        rate = self.equation.rate
        if rate is None:
            return list(fields)
        return [*fields, (lambda points, t: np.asarray(rate(points, t), dtype=np.float64), 1.0)]

    def _component(self, k: int, points: Array, t: float) -> Array:
        """Return component `k` of the drift."""
        return np.asarray(self._inside(points, t)[..., k], dtype=np.float64)

    def between_times(self, times: Array, log_values: Array, looks: int) -> float:
        """Return what the coefficients do between the nodes of a panel in time, in L1, by `looks` at some places."""
        begin, length = float(times[0]), float(times[-1] - times[0])
        nodes, _ = gauss(2 * (len(times) - 1))
        mass = np.cumsum(np.exp(log_values).ravel())
        shares = (np.arange(PLACES) + 0.5) / PLACES * mass[-1]
        points = self.grid.points().reshape(-1, self.grid.ndim)[np.searchsorted(mass, shares)]
        seen = [begin + length * float(x) for x in nodes]
        at = [(k + GOLDEN * (k + 1) % 1) / looks for k in range(looks)]
        of_looks = [lagrange(nodes, np.asarray(x)) for x in at]
        total = 0.0
        for values, weight in self._fields():
            known = np.stack([values(points, t) for t in seen])
            for x, of_nodes in zip(at, of_looks, strict=True):
                total += weight * float(np.abs(values(points, begin + length * x) - of_nodes @ known).mean())
        if callable(self.equation.diffusivity):
            squares = np.array([axis.dx for axis in self.grid.axes]) ** 2
            d = self.grid.ndim
            spread = np.stack([diffusivity_at(self.equation.diffusivity, t, d) for t in seen])
            for x, of_nodes in zip(at, of_looks, strict=True):
                here = diffusivity_at(self.equation.diffusivity, begin + length * x, d)
                total += float(np.sum(np.abs(here - of_nodes @ spread) / squares))
        return total * length / looks

    def outside(self, log_values: Array) -> float:
        """Return about how much mass lies beyond the walls, of log-values that go on as falling parabolas there."""
        total = 0.0
        for k, axis in enumerate(self.grid.axes):
            if axis.periodic:
                continue
            wider = np.moveaxis(continued(log_values, k, axis.n, axis.n), k, 0)
            volume = math.prod(one.dx for one in self.grid.axes)
            total += volume * float(np.exp(wider[: axis.n]).sum() + np.exp(wider[-axis.n :]).sum())
        return total


def _differences(grid: Grid, values: Array, k: int, weights: tuple[tuple[float, ...], ...]) -> tuple[Array, Array]:
    """Return the first and the second differences along axis `k`, in units of cells."""
    axis = grid.axes[k]
    if axis.periodic:
        wide = np.take(values, np.arange(-MORE, axis.n + MORE), axis=k, mode="wrap")
    else:
        wide = continued(values, k, MORE, MORE)
    lines = np.moveaxis(wide, k, 0)
    middle = lines[MORE:-MORE]
    gradient, curvature = np.zeros_like(middle), np.zeros_like(middle)
    for shift in range(1, MORE + 1):
        up, down = (lines[MORE + sign * shift : MORE + sign * shift + axis.n] for sign in (1, -1))
        gradient += weights[0][shift - 1] * (up - down)
        curvature += weights[1][shift - 1] * (up - 2 * middle + down)
    return np.moveaxis(gradient, 0, k), np.moveaxis(curvature, 0, k)


def _hermite(nodes: Array, at: float) -> tuple[Array, Array]:
    """Return the weights (2 k,) of values and slopes at nodes in [-1, 1] in their polynomial, and in its slope."""
    degree = 2 * len(nodes) - 1
    basis = [np.polynomial.chebyshev.Chebyshev.basis(n) for n in range(degree + 1)]
    rows = [[one(node) for one in basis] for node in nodes] + [[one.deriv()(node) for one in basis] for node in nodes]
    wanted = np.array([[one(at) for one in basis], [one.deriv()(at) for one in basis]])
    of_value, of_slope = np.linalg.solve(np.array(rows, dtype=np.float64).T, wanted.T).T
    return of_value, of_slope
