"""Starting points of the search for modes: at all length scales, outside a box and inside it."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri

from wfr_pde.numerics.typing import Array
from wfr_pde.targets.box.types import Box, Ints, LogDensity, Searchable

# points of the scan around the origin in 1, 2, 3, 4 dimensions: more find modes that are smaller beside their distance
N_ANYWHERE = (4096, 8192, 16384, 16384)
N_INSIDE = (1024, 8192, 16384, 16384)  # points of the scan inside a box, by dimension; as above
# points of the scan outside a box, by dimension: more than inside, as the room is larger
N_OUTSIDE = (4096, 32768, 65536, 65536)
FEW = 500  # starts that are all climbed; of more only those are that are higher than their neighbours, to save time


def quasi_random(n: int, dim: int) -> Array:
    """Return `n` evenly spread points of the unit cube: the additive sequence of Roberts (2018)."""
    ratio = 2.0
    for _ in range(60):
        ratio = (1 + ratio) ** (1 / (dim + 1))  # the root of r^(dim+1) = r + 1, a generalised golden ratio
    return (0.5 + np.arange(1, n + 1)[:, None] * ratio ** -np.arange(1.0, dim + 1)) % 1.0


def scattered_offsets(ndim: int, low: float, high: float, n: int) -> Array:
    """Return `n` vectors of lengths from `low` to `high`, all scales and directions alike, and some on the axes."""
    if ndim == 1:
        lengths = np.geomspace(low, high, n // 2)[:, None]
        return np.concatenate([lengths, -lengths])
    uniform = quasi_random(n, ndim + 1)
    normal = ndtri(uniform[:, 1:])
    lengths = low * (high / low) ** uniform[:, :1]
    on_axes = np.geomspace(low, high, 40)[:, None, None] * np.vstack([np.eye(ndim), -np.eye(ndim)])
    scattered = lengths * normal / np.linalg.norm(normal, axis=1, keepdims=True)
    return np.concatenate([scattered, on_axes.reshape(-1, ndim)])


def first_points(target: Searchable) -> tuple[Array, Array]:
    """Return points (n, d) at all scales, and their offsets (n, d).

    The points lie around the origin and, where the target knows its moments or has a sampler, around its mass. The
    offset of a point is its place relative to the centre that it lies around; its length tells the scale there.
    """
    ndim = target.ndim
    points = [scattered_offsets(ndim, 1e-3, 1e6, N_ANYWHERE[min(ndim, 4) - 1])]
    offsets = [points[0]]
    known = target.moments()
    if known is not None:
        spread = float(np.sqrt(np.max(np.diag(known[1]))))
        offsets.append(scattered_offsets(ndim, 0.1 * spread, 100 * spread, 64))
        points.append(known[0] + offsets[-1])
    try:
        points.append(np.asarray(target.sample(64, rng=0), dtype=np.float64))
        offsets.append(points[-1] - np.mean(points[-1], axis=0))
    except (ValueError, NotImplementedError):  # no sampler is known: the other points have to do
        pass
    return np.concatenate(points), np.concatenate(offsets)


def points_outside(f: LogDensity, box: Box) -> tuple[Array, Array]:
    """Return points outside a box where the density falls towards the box, which leads to modes that were missed.

    They are sought at all distances from the faces. Their offsets are returned too, as by `first_points`.
    """
    middle, half = (box[0] + box[1]) / 2, (box[1] - box[0]) / 2
    uniform = quasi_random(N_OUTSIDE[min(middle.size, 4) - 1], middle.size + 1)
    normal = ndtri(uniform[:, 1:])
    normal /= np.max(np.abs(normal), axis=1, keepdims=True)
    beyond = 1e-3 * 1e6 ** uniform[:, :1]
    points = middle + half * (1 + beyond) * normal
    falls = f(middle + half * (1 + 0.98 * beyond) * normal) < f(points)
    return points[falls], (half * beyond * normal)[falls]


def points_inside(box: Box) -> tuple[Array, Array]:
    """Return points all over a box, and their offsets from its middle."""
    middle, half = (box[0] + box[1]) / 2, (box[1] - box[0]) / 2
    offsets = half * (2 * quasi_random(N_INSIDE[min(middle.size, 4) - 1], middle.size) - 1)
    return middle + offsets, offsets


def peaks(points: Array, offsets: Array, values: Array) -> Ints:
    """Return the indices of the points that are higher than their neighbours, highest first; of all, if they are few.

    Neighbours are near in direction and in the logarithm of the distance from the centre of their scan.
    """
    n, ndim = points.shape
    if n <= FEW:
        top = np.arange(n)
    elif ndim == 1:
        order = np.argsort(points[:, 0], kind="stable")
        padded = np.concatenate([[-np.inf], values[order], [-np.inf]])
        top = order[(padded[1:-1] >= padded[:-2]) & (padded[1:-1] >= padded[2:])]
    else:
        from scipy.spatial import cKDTree  # slow to import, and not needed in one dimension

        # Neighbours in direction and in the logarithm of the distance: alike at all scales.
        lengths = np.maximum(np.linalg.norm(offsets, axis=1, keepdims=True), 1e-300)
        features = np.hstack([np.log(lengths), offsets / lengths])
        near = cKDTree(features).query(features, k=2 + 2 * ndim)[1]
        top = np.flatnonzero(values >= np.max(values[near], axis=1))
    top = top[np.isfinite(values[top])]
    return top[np.argsort(-values[top], kind="stable")]
