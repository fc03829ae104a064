"""Independent draws from a density on a grid, by rejection from an upper bound that is constant in every cell."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Literal

import numpy as np

from wfr_pde.errors import NumericalError
from wfr_pde.numerics import arguments
from wfr_pde.numerics.typing import Array
from wfr_pde.space.axis import Axis

if TYPE_CHECKING:
    from wfr_pde.space.density import Density


ENVELOPE = 1.25  # a density between cell centres stays below this times its highest neighbour, where resolved


def sample_density(density: Density, n: int, rng: int | np.random.Generator | None = None) -> Array:
    """Draw `n` independent points (n, d) from what `Density.log_prob` interpolates; see `Density.sample`."""
    grid = density.grid
    n, rng = arguments.draws(n, grid.ndim), arguments.generator(rng)
    bound = _log_bound(density)
    lengths = [np.diff(axis.edges) for axis in grid.axes]
    envelope = (np.exp(bound - bound.max()) * functools.reduce(np.multiply.outer, lengths)).ravel()
    cumulative = np.cumsum(envelope)
    log_bound = bound.ravel() + np.log(ENVELOPE)
    draws = np.empty((0, grid.ndim))
    while len(draws) < n:
        wanted = int(1.3 * ENVELOPE * (n - len(draws))) + 16
        cell = np.searchsorted(cumulative, rng.random(wanted) * cumulative[-1], side="right")
        cell = np.minimum(cell, grid.size - 1)
        index = np.unravel_index(cell, grid.shape)
        offset = rng.random((wanted, grid.ndim))
        points = np.stack(
            [
                axis.edges[i] + lengths[k][i] * offset[:, k]
                for k, (axis, i) in enumerate(zip(grid.axes, index, strict=True))
            ],
            axis=-1,
        )
        log_ratio = density.log_prob(points) - log_bound[cell]
        if log_ratio.max() > 0:
            worst = points[int(log_ratio.argmax())].tolist()
            raise NumericalError(
                f"the density is not resolved by the cells at {worst}, and draws would be biased: use more cells"
            )
        accepted = np.log(rng.random(wanted)) < log_ratio
        draws = np.concatenate([draws, points[accepted]])
    return draws[:n]


def _log_bound(density: Density) -> Array:
    """Return the largest log-density among the centres of every cell and its neighbours, and its corners."""
    grid = density.grid
    bound = grid.reductions.whole(density.log_values)
    for k, axis in enumerate(grid.axes):
        mode: Literal["wrap", "edge"] = "wrap" if axis.periodic else "edge"
        padded = np.pad(bound, [(1, 1) if i == k else (0, 0) for i in range(grid.ndim)], mode=mode)
        bound = np.maximum.reduce([np.take(padded, np.arange(s, s + axis.n), axis=k) for s in range(3)])
    ends = [_ends(axis) for axis in grid.axes]
    corners = density.log_prob(np.stack(np.meshgrid(*(places for places, *_ in ends), indexing="ij"), axis=-1))
    for k, (_, lower, upper) in enumerate(ends):
        corners = np.maximum(np.take(corners, lower, axis=k), np.take(corners, upper, axis=k))
    return np.maximum(bound, corners)  # at a wall the density may go on rising in the half cell


def _ends(axis: Axis) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the ends of all cells, and the numbers (n,) of the lower and the upper end of each cell.

    A cell below a joint ends just short of it, as the density may jump there.
    """
    upper = axis.edges[1:].copy()
    below = np.array(axis.joints, dtype=int) - 1
    upper[below] = np.nextafter(upper[below], -np.inf)
    places = np.union1d(axis.edges, upper)
    return places, np.searchsorted(places, axis.edges[:-1]), np.searchsorted(places, upper)
