"""What a computed curve of densities leaves in the equation of a weighted diffusion.

The curve is u = exp(Lambda), not normalised, Lambda the polynomial in time through the logarithms at consecutive steps
and the slopes that the equation gives them there. Its residual r = d_t u + div(u b) - div(D grad u) - c u is evaluated
between the steps. As the solution operator of the equation without c is a contraction in L1, the error of u is at most
∫ ||r||_1 dt, whatever scheme u comes from.
"""

from __future__ import annotations

import itertools
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
MORE_PLACES = 384  # and as many cells, wherever they are, tails too
GOLDEN = 0.6180339887498949  # multiples of it spread evenly over an interval, so that nothing periodic escapes
NEAREST = 0.15  # cells from a centre to the closest look between the cells
LARGEST = 600.0  # nats of growth, beyond which nothing is known
STEP = 0.05  # cells between the points of the differences that div b is computed by


@dataclass(frozen=True)
class Residual:
    """Sizes of the residual over one panel of time, relative to the mass that there is.

    Attributes
    ----------
    size : float
        ∫ ||r||_1 / ||u||_1 dt, by differences of order 10 in space, each grown until the end of the panel.
    doubt : float
        The same of what differences of order 8 give otherwise.
    growth : float
        ∫ (max c - E_u c) dt: by how many nats an error at the begin may grow, relative to the mass. 0 without a rate.
    """

    size: float
    doubt: float
    growth: float


@dataclass(frozen=True)
class Unseen:
    """What coefficients do between the places or times at which the residual asks them.

    Attributes
    ----------
    size : float
        In L1.
    growth : float
        In nats, of the rate: what it may make errors grow by beside what the residual knows.
    """

    size: float
    growth: float


class ResidualRule:
    """The residual of an equation on a grid."""

    def __init__(self, equation: DiffusionEquation, grid: Grid) -> None:
        self.equation, self.grid = equation, grid
        self._lower, self._lengths = np.array(grid.lower), np.array([axis.length for axis in grid.axes])
        self._periodic = np.array([axis.periodic for axis in grid.axes])
        self._divergence = divergence_of(self._inside, STEP * np.array([axis.dx for axis in grid.axes]))
        self._looks = 0  # so far: no two panels look at the same places beside the cells

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
        weights = 2 * half * weights
        found = np.empty((len(places), 3))
        for row, place in zip(found, 2 * places - 1, strict=True):
            of_value, of_slope = _hermite(nodes, float(place))
            values, slope = (np.tensordot(w, known, axes=1) for w in (of_value, of_slope / half))
            row[:] = self._at(values, slope, middle + half * float(place))
        return Residual(*grown(found, weights))

    def slope(self, values: Array, t: float) -> Array:
        """Return d_t Lambda by the equation, of Lambda at a time."""
        return -self._left(values, 0.0, t)[0]

    def _at(self, values: Array, slope: Array, t: float) -> tuple[float, float, float]:
        """Return ||r||_1 at a time and its doubt, relative to the mass, and the largest c beside its mean."""
        with np.errstate(over="ignore", invalid="ignore"):  # of attempts that are far off: their bound is no number
            one, other, rate = self._left(values, slope, t)
            density, integrate = np.exp(values - values.max()), self.grid.integrate
            mass = float(integrate(density))
            size, doubt = (float(integrate(density * np.abs(part))) / mass for part in (one, one - other))
            beyond = 0.0 if rate is None else float(rate.max()) - float(integrate(density * rate)) / mass
            return size, doubt, beyond

    def _left(self, values: Array, slope: Array | float, t: float) -> tuple[Array, Array, Array | None]:
        """Return r/u by differences of order 10 and of order 8, and c at the cells."""
        grid, equation = self.grid, self.equation
        points = grid.points().reshape(-1, grid.ndim)
        drift = checked_values(self._inside, points, t, "the drift").reshape(*grid.shape, grid.ndim)
        known = slope + self._divergence(points, t).reshape(grid.shape)
        rate = None
        if equation.rate is not None:
            rate = checked_scalar(equation.rate, "the rate")(points, t).reshape(grid.shape)
            known = known - rate
        diffusivity = diffusivity_at(equation.diffusivity, t, grid.ndim)
        found = []
        for first, second in zip(FIRST, SECOND, strict=True):
            total = known
            for k, axis in enumerate(grid.axes):
                gradient, curvature = _differences(grid, values, k, (first, second))
                spread = curvature / axis.dx**2 + (gradient / axis.dx) ** 2
                total = total + drift[..., k] * gradient / axis.dx - diffusivity[k] * spread
            found.append(total)
        return found[0], found[1], rate

    def between(self, log_values: Array, t: float) -> Unseen:
        """Return what drift and rate do between the cells that they do not show at the centres, per time.

        Their values aside, at places that are others for every cell and panel, are compared with what interpolation
        makes of those at the centres. Of the rate also the maximum counts, wherever it is: it is what errors grow by.
        """
        grid, points = self.grid, self.grid.points().reshape(-1, self.grid.ndim)
        density, total, growth = self._shares(log_values), 0.0, 0.0
        aside = [points + shift for shift in self._shifts(len(points))]
        for values, weight in self._fields():
            known = values(points, t)
            off, largest = np.zeros(len(points)), -math.inf
            for places in aside:
                there = values(places, t)
                off = np.maximum(off, np.abs(there - log_values_at(grid, known.reshape(grid.shape), places)))
                largest = max(largest, float(there.max()))
            total += weight * float(np.sum(density * off))
            if values == self._rate:
                growth = max(0.0, largest - float(known.max()))
        return Unseen(total, growth)

    def _shifts(self, n: int) -> list[Array]:
        """Return shifts (n, d) from the centres of cells to places within them, on either side along every axis."""
        widths = np.array([axis.dx for axis in self.grid.axes])
        found = []
        for corner in itertools.product((-1.0, 1.0), repeat=self.grid.ndim):
            self._looks += 1
            # Kronecker's sequence, whose steps along the axes are powers of one number
            steps = (self._looks * math.sqrt(2) + np.arange(n)[:, None] * GOLDEN ** np.arange(1, len(widths) + 1)) % 1
            found.append(np.array(corner) * (NEAREST + (0.5 - NEAREST) * steps) * widths)
        return found

    def _shares(self, log_values: Array) -> Array:
        """Return the shares of the mass in the cells."""
        density = np.exp(log_values - log_values.max()).ravel()
        return np.asarray(density / density.sum())

    def _fields(self) -> list[tuple[Callable[[Array, float], Array], float]]:
        """Return the components of the drift, and the rate, with what a change of each by one is in L1 per time."""
        fields = [(partial(self._component, k), 1 / axis.dx) for k, axis in enumerate(self.grid.axes)]
        rate = self.equation.rate
        if rate is None:
            return list(fields)
        return [*fields, (self._rate, 1.0)]

    def _rate(self, points: Array, t: float) -> Array:
        """Return the rate."""
        rate = self.equation.rate
        return np.zeros(len(points)) if rate is None else np.asarray(rate(points, t), dtype=np.float64)

    def _component(self, k: int, points: Array, t: float) -> Array:
        """Return component `k` of the drift."""
        return np.asarray(self._inside(points, t)[..., k], dtype=np.float64)

    def between_times(self, times: Array, log_values: Array, looks: int) -> Unseen:
        """Return what the coefficients do between the nodes of a panel in time, by `looks` at some places."""
        begin, length = float(times[0]), float(times[-1] - times[0])
        nodes, _ = gauss(2 * (len(times) - 1))
        shares = self._shares(log_values)
        even = np.searchsorted(np.cumsum(shares), (np.arange(PLACES) + 0.5) / PLACES)
        some = min(MORE_PLACES, len(shares))
        self._looks += 1
        cells = (np.arange(some) * len(shares) // some + int(self._looks * GOLDEN % 1 * len(shares))) % len(shares)
        # two means over the mass, of which the larger one counts: places of even mass, and cells with their masses
        weights = np.zeros((2, PLACES + some))
        weights[0, :PLACES], weights[1, PLACES:] = 1 / PLACES, shares[cells] / max(float(shares[cells].sum()), 1e-300)
        points = self.grid.points().reshape(-1, self.grid.ndim)[
            np.concatenate([np.minimum(even, len(shares) - 1), cells])
        ]
        seen = [begin + length * float(x) for x in nodes]
        at = [(k + (k + self._looks) * GOLDEN % 1) / looks for k in range(looks)]
        of_looks = [lagrange(nodes, np.asarray(x)) for x in at]
        total = growth = 0.0
        for values, weight in self._fields():
            known = np.stack([values(points, t) for t in seen])
            off = np.zeros(len(points))
            for x, of_nodes in zip(at, of_looks, strict=True):
                here, expected = values(points, begin + length * x), of_nodes @ known
                off += np.abs(here - expected)
                if values == self._rate:
                    growth += max(0.0, _above(here, weights) - _above(expected, weights))
            total += weight * float((weights @ off).max())
        if callable(self.equation.diffusivity):
            squares = np.array([axis.dx for axis in self.grid.axes]) ** 2
            d = self.grid.ndim
            spread = np.stack([diffusivity_at(self.equation.diffusivity, t, d) for t in seen])
            for x, of_nodes in zip(at, of_looks, strict=True):
                here = diffusivity_at(self.equation.diffusivity, begin + length * x, d)
                total += float(np.sum(np.abs(here - of_nodes @ spread) / squares))
        return Unseen(total * length / looks, growth * length / looks)

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


def grown(found: Array, weights: Array) -> tuple[float, float, float]:
    """Integrate sizes, doubts and growths (k, 3) at the nodes of a rule, the first two with the growth after them."""
    growth = weights * np.maximum(found[:, 2], 0.0)
    after = np.exp(np.minimum(np.cumsum(growth[::-1])[::-1], LARGEST))
    size, doubt = (float(np.sum(weights * after * found[:, k])) for k in (0, 1))
    return size, doubt, float(growth.sum())


def _above(rate: Array, weights: Array) -> float:
    """Return how far the largest rate is above its mean, by the larger mean."""
    return float(rate.max() - (weights @ rate).max())


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
