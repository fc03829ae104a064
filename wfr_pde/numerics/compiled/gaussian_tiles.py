"""Sums of many Gaussians in the cells of a grid, tile by tile, compiled; see `flows/sampler_laws/gaussian_sums.py`."""

import math

import numba
import numpy as np

NEGLIGIBLE = 42.0  # nats below a sum at which a term is lost in rounding, with all others of its kind
PLAIN_RANGE = 600.0  # nats that the sums of a tile may span in plain numbers

jit = numba.njit(cache=True, nogil=True, error_model="numpy")


@jit
def _gap(low, high, tile_low, tile_high, length):  # type: ignore
    """Return the distance between two intervals; around the circle where the axis is periodic (length > 0)."""
    gap = max(0.0, low - tile_high, tile_low - high)
    if length > 0:
        gap = min(gap, max(0.0, length - (max(high, tile_high) - min(low, tile_low))))
    return gap


@jit
def _factors(x, first, count, place, gap, walls, length, half_precision, e):  # type: ignore
    """Compute e ← the Gaussian about `place` along one axis, mirrored or wrapped, over that at the distance `gap`."""
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
    """Bound what blocks of sources give a tile from above, and the sum in each of its cells from below."""
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
    """Sum the Gaussians in the cells of one tile; return False where the sums span too much for plain numbers."""
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
def tiles(first, last, shape, tile, space, sources, result):  # type: ignore
    """Sum the Gaussians in the cells of the tiles from number `first` up to `last`."""
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
