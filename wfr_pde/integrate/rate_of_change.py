"""The right-hand side of the Wasserstein-Fisher-Rao flow, on a grid: what a density says of its own future."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from wfr_pde.numerics.typing import Array
from wfr_pde.space.axis import Axis
from wfr_pde.space.grid import Grid
from wfr_pde.targets.base import Target

if TYPE_CHECKING:
    from scipy.sparse import csr_array


STENCIL = 9  # centres that a derivative goes through: order 8 for the first, 7 (inside 8) for the second


@dataclass(frozen=True, eq=False)
class RateOfChange:
    """d_t log mu as the equation has it, with g = log(mu/pi), and gradients on the grid.

    d_t log mu = alpha (Lap g + grad g . grad log mu) - beta (g - E_mu g), with derivatives by polynomials of degree 8
    through the nearest cell centres, one-sided at walls. Nothing of the schemes that solve the equation is used.

    Parameters
    ----------
    grid : Grid
    target : Target
        pi, at rest or moving.
    transport_rate, reaction_rate : float
        alpha, beta >= 0.
    """

    grid: Grid
    target: Target
    transport_rate: float
    reaction_rate: float
    _cache: dict[float, Array] = field(init=False, repr=False, default_factory=dict)

    def __call__(self, log_values: Array, t: float) -> Array:
        """Compute d_t log mu (shape of the grid, nats per time) of a normalised log-density at a time."""
        with np.errstate(all="ignore"):  # places where log-densities are infinite give NaN
            g = log_values - self.log_target(t)
            result = np.zeros(self.grid.shape)
            if self.transport_rate > 0:
                for k in range(self.grid.ndim):
                    slope, bend = self._along(g, k, 0), self._along(g, k, 1)
                    result += self.transport_rate * (bend + slope * self._along(log_values, k, 0))
            if self.reaction_rate > 0:
                result -= self.reaction_rate * (g - float(self.grid.integrate(np.exp(log_values) * g)))
        return result

    def log_target(self, t: float) -> Array:
        """Return the log-density of pi, normalised on the grid."""
        key = float(t) if self.target.moving else 0.0
        if key not in self._cache:
            values = np.asarray(self.grid.evaluate(self.target.at(key).log_density))
            if self.target.moving:
                self._cache.clear()  # one time is asked for many times over, then the next
            self._cache[key] = values - self.grid.log_integrate(values)
        return self._cache[key]

    def gradient_size(self, values: Array) -> Array:
        """Return the length of the gradient of values in every cell of the grid."""
        return gradient_size(values, self._matrices)

    def _along(self, values: Array, axis: int, order: int) -> Array:
        return _applied(self._matrices[axis][order], values, axis)

    @cached_property
    def _matrices(self) -> list[tuple[csr_array, csr_array]]:
        return [derivative_matrices(axis) for axis in self.grid.axes]


def gradient_size(values: Array, matrices: list[tuple[csr_array, csr_array]]) -> Array:
    """Return the length of the gradient of values in every cell of a grid, by the matrices of its axes."""
    with np.errstate(all="ignore"):
        squares = [_applied(pair[0], values, k) ** 2 for k, pair in enumerate(matrices)]
        return np.asarray(np.sqrt(np.sum(squares, axis=0)))


def derivative_matrices(axis: Axis) -> tuple[csr_array, csr_array]:
    """Return the matrices (n, n) of the first and second derivative at the cell centres, sparse."""
    from scipy.sparse import csr_array

    n = axis.n
    count = min(STENCIL, n)
    first = np.arange(n) - count // 2
    if not axis.periodic:
        first = np.clip(first, 0, n - count)
    columns = first[:, None] + np.arange(count)
    wrapped = columns % n
    places = axis.centres[wrapped] + axis.length * (columns // n if axis.periodic else 0)
    weights = _difference_weights(places - axis.centres[:, None])
    rows = np.repeat(np.arange(n), count)
    return tuple(csr_array((w.ravel(), (rows, wrapped.ravel())), shape=(n, n)) for w in weights)  # type: ignore[return-value]


def _difference_weights(offsets: Array) -> tuple[Array, Array]:
    """Return the weights (n, m) of the first and second derivative at 0 from values at `offsets` (n, m).

    Fornberg, Mathematics of Computation 51 (1988) 699-706, for all rows at once.
    """
    n, m = offsets.shape
    weights = np.zeros((3, n, m))
    weights[0, :, 0] = 1.0
    before = np.ones(n)
    for i in range(1, m):
        product = np.ones(n)
        last = weights[:, :, i - 1].copy()
        for j in range(i):
            gap = offsets[:, i] - offsets[:, j]
            product = product * gap
            lower = np.concatenate([np.zeros((1, n)), weights[:-1, :, j]])
            order = np.arange(3.0)[:, None]
            weights[:, :, j] = (offsets[:, i] * weights[:, :, j] - order * lower) / gap
        lower = np.concatenate([np.zeros((1, n)), last[:-1]])
        weights[:, :, i] = before / product * (np.arange(3.0)[:, None] * lower - offsets[:, i - 1] * last)
        before = product
    return weights[1], weights[2]


def _applied(matrix: csr_array, values: Array, axis: int) -> Array:
    lines = np.moveaxis(values, axis, 0)
    product = np.asarray(matrix @ lines.reshape(len(lines), -1))
    return np.moveaxis(product.reshape(lines.shape), 0, axis)
