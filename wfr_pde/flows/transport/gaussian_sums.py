"""Sums of Gaussians about moved cells, on the cells of a grid: in the log-domain, right to rounding in every cell."""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

from wfr_pde.grid import Grid

Array = np.ndarray[Any, np.dtype[np.float64]]

NEGLIGIBLE = 42.0  # nats below a sum at which a term is lost in rounding, with all others of its kind
PLAIN_RANGE = 600.0  # nats that the sums of a tile may span in plain numbers
PARALLEL_FROM, PARTS = 256, 64  # tiles, for which threads are worth their start, and shares of them
TILES = {1: (1, 1, 8), 2: (1, 4, 4), 3: (4, 4, 4)}  # cells per tile, by the number of axes

jit = numba.njit(cache=True, nogil=True, error_model="numpy")


@jit
def _gap(low, high, tile_low, tile_high, length):  # type: ignore
    """Distance between two intervals; around the circle where the axis is periodic (length > 0)."""
    gap = max(0.0, low - tile_high, tile_low - high)
    if length > 0:
        gap = min(gap, max(0.0, length - (max(high, tile_high) - min(low, tile_low))))
    return gap


@jit
def _factors(x, first, count, place, gap, walls, length, half_precision, e):  # type: ignore
    """e ← the Gaussian about `place` along one axis, mirrored at walls or wrapped, over that at the distance `gap`."""
    for i in range(count):
        d = abs(x[first + i] - place)
        if length > 0:
            near, far = min(d, length - d), max(d, length - d)
            e[i] = math.exp(-half_precision * (near - gap) * (near + gap))
            e[i] += math.exp(-half_precision * (far - gap) * (far + gap))
            far = near + length
            e[i] += math.exp(-half_precision * (far - gap) * (far + gap))
        else:
            e[i] = math.exp(-half_precision * (d - gap) * (d + gap))
    if length > 0:
        return
    box = walls[1] - walls[0]
    for image in (2 * walls[0] - place, 2 * walls[1] - place, place - 2 * box, place + 2 * box):
        nearest = max(image - x[first + count - 1], x[first] - image)
        if half_precision * (nearest - gap) * (nearest + gap) < NEGLIGIBLE:
            for i in range(count):
                d = x[first + i] - image
                e[i] += math.exp(-half_precision * (d - gap) * (d + gap))


@jit
def _bounds(tile_low, tile_high, space, sources, upper):  # type: ignore
    """Upper bounds of what the blocks of sources give a tile, and a lower bound of the sum in each of its cells."""
    _, _, lengths, half_precision = space
    places, log_mass, _, low, high, top, best = sources
    least, most = -np.inf, -np.inf
    for b in range(len(top)):
        near, far = 0.0, 0.0
        for k in range(3):
            gap = _gap(low[k, b], high[k, b], tile_low[k], tile_high[k], lengths[k])
            near += gap * gap
            place = places[k, best[b]]
            reach = max(abs(place - tile_low[k]), abs(place - tile_high[k]))
            if lengths[k] > 0:
                reach = min(reach, 0.5 * lengths[k])
            far += reach * reach
        upper[b] = top[b] - half_precision * near
        most = max(most, upper[b])
        least = max(least, log_mass[best[b]] - half_precision * far)
    return least, most


@jit
def _one_tile(starts, counts, space, sources, result):  # type: ignore
    """The sums in the cells of one tile; False where they span too much, and it has to be done cell by cell."""
    x, walls, lengths, half_precision = space
    places, log_mass, offsets, _, _, top, _ = sources
    tile_low, tile_high = np.empty(3), np.empty(3)
    for k in range(3):
        tile_low[k], tile_high[k] = x[k, starts[k]], x[k, starts[k] + counts[k] - 1]
    upper = np.empty(len(top))
    least, most = _bounds(tile_low, tile_high, space, sources, upper)
    gaps, e = np.empty(3), np.empty((3, counts.max()))
    plain = most - least < PLAIN_RANGE
    if not plain and counts.max() > 1:
        return False
    sums = np.zeros((counts[0], counts[1], counts[2]))
    shift = np.full((counts[0], counts[1], counts[2]), most if plain else -np.inf)
    for b in range(len(top)):
        if upper[b] < least - NEGLIGIBLE:
            continue
        for j in range(offsets[b], offsets[b + 1]):
            exponent = log_mass[j]
            for k in range(3):
                gaps[k] = _gap(places[k, j], places[k, j], tile_low[k], tile_high[k], lengths[k])
                exponent -= half_precision * gaps[k] * gaps[k]
            if exponent < least - NEGLIGIBLE:
                continue
            for k in range(3):
                _factors(x[k], starts[k], counts[k], places[k, j], gaps[k], walls[k], lengths[k], half_precision, e[k])
            if plain:
                weight = math.exp(exponent - most)
                for i0 in range(counts[0]):
                    for i1 in range(counts[1]):
                        scale = weight * e[0, i0] * e[1, i1]
                        for i2 in range(counts[2]):
                            sums[i0, i1, i2] += scale * e[2, i2]
                continue
            if exponent > shift[0, 0, 0]:
                sums[0, 0, 0] *= math.exp(shift[0, 0, 0] - exponent)
                shift[0, 0, 0] = exponent
            sums[0, 0, 0] += math.exp(exponent - shift[0, 0, 0]) * e[0, 0] * e[1, 0] * e[2, 0]
    for i0 in range(counts[0]):
        for i1 in range(counts[1]):
            for i2 in range(counts[2]):
                value = shift[i0, i1, i2] + math.log(sums[i0, i1, i2])
                result[starts[0] + i0, starts[1] + i1, starts[2] + i2] = value
    return True


@jit
def _tiles(first, last, shape, tile, space, sources, result):  # type: ignore
    """The sums in the tiles from number `first` up to `last`."""
    tiles = (shape + tile - 1) // tile
    starts, counts, cell, one = (
        np.empty(3, np.int64),
        np.empty(3, np.int64),
        np.empty(3, np.int64),
        np.ones(3, np.int64),
    )
    for number in range(first, last):
        starts[0] = number // (tiles[1] * tiles[2])
        starts[1] = number // tiles[2] % tiles[1]
        starts[2] = number % tiles[2]
        for k in range(3):
            starts[k] *= tile[k]
            counts[k] = min(tile[k], shape[k] - starts[k])
        if _one_tile(starts, counts, space, sources, result):
            continue
        for i in range(counts[0] * counts[1] * counts[2]):
            cell[0] = starts[0] + i // (counts[1] * counts[2])
            cell[1] = starts[1] + i // counts[2] % counts[1]
            cell[2] = starts[2] + i % counts[2]
            _one_tile(cell, one, space, sources, result)


@numba.njit(cache=True, nogil=True, error_model="numpy", parallel=True)
def _tiles_in_parallel(parts, total, shape, tile, space, sources, result):  # type: ignore
    for part in numba.prange(parts):
        _tiles(part * total // parts, (part + 1) * total // parts, shape, tile, space, sources, result)


class GaussianSums:
    """log Σ_j m_j N(x_i; y_j, variance I) at the centres x_i of a grid, y_j = the places that its cells are moved to.

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
        Of the Gaussians along every axis.

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
        tiles = -(-self._shape // self._tile)
        block = np.ravel_multi_index([i // t for i, t in zip(index, self._tile, strict=True)], tiles)
        self._order = np.argsort(block, kind="stable")
        counts = np.bincount(block, minlength=int(np.prod(tiles)))
        self._offsets = np.concatenate([[0], np.cumsum(counts)])
        self._places = np.ascontiguousarray(folded[:, self._order])
        self._low = np.minimum.reduceat(self._places, self._offsets[:-1], axis=1)
        self._high = np.maximum.reduceat(self._places, self._offsets[:-1], axis=1)

    def log_density(self, log_mass: Array) -> Array:
        """The logarithm of the sums for log m_j = `log_mass`, both of shape `grid.shape`."""
        ordered = np.ascontiguousarray(log_mass.ravel()[self._order])
        top = np.maximum.reduceat(ordered, self._offsets[:-1])
        first = np.repeat(top, np.diff(self._offsets)) == ordered
        best = np.flatnonzero(first)[np.searchsorted(np.flatnonzero(first), self._offsets[:-1])]
        result = np.empty(tuple(self._shape))
        space = self._x, self._walls, self._lengths, 0.5 / self.variance
        sources = self._places, ordered, self._offsets, self._low, self._high, top, best
        total = int(np.prod(-(-self._shape // self._tile)))
        if total < PARALLEL_FROM:
            _tiles(0, total, self._shape, self._tile, space, sources, result)
        else:
            _tiles_in_parallel(PARTS, total, self._shape, self._tile, space, sources, result)
        return result.reshape(self.grid.shape) - 0.5 * self.grid.ndim * math.log(2 * math.pi * self.variance)


def _folded(places: Array, lower: float, length: float, periodic: bool) -> Array:
    """Places moved into the box: wrapped, or mirrored at the walls."""
    inside = (places - lower) % (length if periodic else 2 * length)
    return lower + (inside if periodic else np.minimum(inside, 2 * length - inside))
