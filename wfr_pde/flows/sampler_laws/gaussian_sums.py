"""Sums of Gaussians about moved cells, on the cells of a grid: in the log-domain, right to rounding in every cell."""

from __future__ import annotations

import math

import numpy as np

from wfr_pde.numerics.compiled.gaussian_tiles import tiles
from wfr_pde.numerics.compiled.row_threads import share_rows
from wfr_pde.numerics.typing import Array
from wfr_pde.space.grid import Grid

PARALLEL_FROM = 256  # tiles, for which threads are worth their start
TILES = {1: (1, 1, 8), 2: (1, 4, 4), 3: (4, 4, 4)}  # cells per tile, by the number of axes


class GaussianSums:
    """Sums log Σ_j m_j N(x_i; y_j, variance I) at the centres x_i of a grid, y_j the places its cells are moved to.

    Tiles of neighbouring cells are summed together: from the bounding boxes of the y_j follow bounds of what blocks of
    them contribute, and only those within e^-42 of the smallest sum in the tile are looked at. Every cell is summed by
    one thread in a fixed order, and right relative to its own value, whatever the range. Places outside no-flux walls
    are mirrored into the box, and so are Gaussians; on periodic axes they wrap.

    Parameters
    ----------
    grid : Grid
        In one, two or three dimensions.
    places : array (*grid.shape, d)
        The y_j.
    variance : float
        Variance of the Gaussians along every axis.

    Raises
    ------
    ValueError
        If their standard deviation is above a sixth of the box, where more images would count.
    """

    def __init__(self, grid: Grid, places: Array, variance: float) -> None:
        self.grid, self.variance = grid, variance
        shortest = min(axis.length for axis in grid.axes)
        if 36 * variance > shortest**2:
            raise ValueError(
                f"Gaussians of a standard deviation of {math.sqrt(variance):.4g} are too wide for a box of length "
                f"{shortest:.4g} (at most a sixth): use more cells per axis"
            )
        empty = 3 - grid.ndim
        self._shape = np.array((1,) * empty + grid.shape, dtype=np.int64)
        self._tile = np.array(TILES[grid.ndim], dtype=np.int64)
        self._x = np.zeros((3, max(grid.shape)))
        self._walls, self._lengths = np.tile([-np.inf, np.inf], (3, 1)), np.zeros(3)
        folded = np.zeros((3, grid.size))
        for k, axis in enumerate(grid.axes, start=empty):
            self._x[k, : axis.n] = axis.centres
            self._walls[k] = axis.edges[[0, -1]]
            self._lengths[k] = axis.length if axis.periodic else 0.0
            folded[k] = _folded(places[..., k - empty].ravel(), axis.edges[0], axis.length, axis.periodic)
        # sources block by block, as the tiles of the cells that they come from
        index = np.unravel_index(np.arange(grid.size), self._shape)
        shape = -(-self._shape // self._tile)
        block = np.ravel_multi_index([i // t for i, t in zip(index, self._tile, strict=True)], shape)
        self._order = np.argsort(block, kind="stable")
        counts = np.bincount(block, minlength=int(np.prod(shape)))
        self._offsets = np.concatenate([[0], np.cumsum(counts)])
        self._places = np.ascontiguousarray(folded[:, self._order])
        self._low = np.minimum.reduceat(self._places, self._offsets[:-1], axis=1)
        self._high = np.maximum.reduceat(self._places, self._offsets[:-1], axis=1)

    def log_density(self, log_mass: Array) -> Array:
        """Return the logarithm of the sums for log m_j = `log_mass`, both of shape `grid.shape`."""
        ordered = np.ascontiguousarray(log_mass.ravel()[self._order])
        top = np.maximum.reduceat(ordered, self._offsets[:-1])
        first = np.repeat(top, np.diff(self._offsets)) == ordered
        best = np.flatnonzero(first)[np.searchsorted(np.flatnonzero(first), self._offsets[:-1])]
        result = np.empty(tuple(self._shape))
        space = self._x, self._walls, self._lengths, 0.5 / self.variance
        sources = self._places, ordered, self._offsets, self._low, self._high, top, best
        total = int(np.prod(-(-self._shape // self._tile)))
        if total < PARALLEL_FROM:
            tiles(0, total, self._shape, self._tile, space, sources, result)
        else:
            share_rows(tiles, total, self._shape, self._tile, space, sources, result)
        return result.reshape(self.grid.shape) - 0.5 * self.grid.ndim * math.log(2 * math.pi * self.variance)


def _folded(places: Array, lower: float, length: float, periodic: bool) -> Array:
    """Move places into the box: wrapped, or mirrored at the walls."""
    inside = (places - lower) % (length if periodic else 2 * length)
    return lower + (inside if periodic else np.minimum(inside, 2 * length - inside))
