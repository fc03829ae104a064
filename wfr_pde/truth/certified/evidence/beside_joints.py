"""What may hide between a break and the points of quadrature nearest to it: a second break, or a steep layer.

No rule has a point in the first hundredths of a cell beside a joint, where V may jump. So V and the logarithm of the
start are looked at there, at distances from the joint that fall to 1e-12 of the cell, against the polynomial through
places further inside. Where they depart from it, the integral of what that changes in the density is a doubt of the
mass and of KL.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from wfr_pde.numerics.deadline import check_deadline
from wfr_pde.numerics.gauss_rules import lagrange
from wfr_pde.numerics.typing import Array
from wfr_pde.space.axis import Axis
from wfr_pde.space.grid import Grid
from wfr_pde.targets.base import Target

LAYER = 0.04  # of a cell: how far from a joint the nearest points of all rules may be
DISTANCES = LAYER * np.concatenate([[0.0], np.geomspace(1e-12, 1.0, 49)])  # of the cell; the first is beside the joint
NODES = 10  # of the polynomial, from the layer to the other end of the cell
FARTHEST = 1e9  # nats, for what is infinite
MOST_RISE = 60.0  # nats that a density may rise in a layer above what it is at its end
MOST_LINES = 4096  # lines through a joint, of those with most mass
# Chebyshev points from the layer to the other end of the cell
NODE_PLACES = LAYER + (1 - LAYER) * 0.5 * (1 - np.cos(np.pi * (np.arange(NODES) + 0.5) / NODES))


TO_DISTANCES = lagrange(NODE_PLACES, DISTANCES)  # values at these points -> the polynomial in the layer


@dataclass(frozen=True, eq=False)
class Layer:
    """One side of a joint.

    Attributes
    ----------
    axis : int
    cell : int
        Number of the cell of the grid beside the joint.
    edge, width : float
        Place of the joint, and the length of the cell, negative for a cell below the joint.
    """

    axis: int
    cell: int
    edge: float
    width: float

    @property
    def places(self) -> Array:
        """Coordinates of the distances, and then of the nodes, along the axis: never the joint itself."""
        beside = np.nextafter(self.edge, self.edge + self.width)
        inside = self.edge + self.width * np.concatenate([DISTANCES, NODE_PLACES])
        return np.maximum(inside, beside) if self.width > 0 else np.minimum(inside, beside)


def layers(grid: Grid) -> Iterator[Layer]:
    """Yield both sides of all joints of a grid."""
    for k, axis in enumerate(grid.axes):
        for joint in axis.joints:
            edge = float(axis.edges[joint])
            yield Layer(k, joint, edge, float(axis.edges[joint + 1]) - edge)
            yield Layer(k, joint - 1, edge, float(axis.edges[joint - 1]) - edge)


def departures(grid: Grid, layer: Layer, distribution: Target, lines: Array) -> tuple[Array, Array]:
    """Return the log-density at the distances of a layer, and what the polynomial says there, (distances, n) each.

    `lines` (n, d - 1) are numbers of the cells of the other axes, through whose centres the distances are measured.
    """
    check_deadline()
    others = [axis.centres for k, axis in enumerate(grid.axes) if k != layer.axis]
    points = np.empty((len(layer.places), len(lines), grid.ndim))
    points[..., layer.axis] = layer.places[:, None]
    for i, k in enumerate(k for k in range(grid.ndim) if k != layer.axis):
        points[..., k] = others[i][lines[:, i]]
    with np.errstate(all="ignore"):
        values = np.asarray(distribution.log_density(points), dtype=np.float64)
    values = np.clip(np.nan_to_num(values, nan=-FARTHEST, neginf=-FARTHEST), -FARTHEST, FARTHEST)
    found, nodes = values[: len(DISTANCES)], values[len(DISTANCES) :]
    return found, TO_DISTANCES @ nodes


def changed_in_layer(layer: Layer, exponents: Array, expected: Array) -> Array:
    """Integrate |e^a - e^b| over a layer, in length (n,), relative to where the layer ends.

    `exponents` a and `expected` b are arrays (distances, n).
    """
    end = exponents[-1]
    found, smooth = (np.exp(np.clip(one - end, -MOST_RISE, MOST_RISE)) for one in (exponents, expected))
    return np.asarray(np.trapezoid(np.abs(found - smooth), abs(layer.width) * DISTANCES, axis=0))


def lines_through(grid: Grid, layer: Layer, masses: Array) -> Array:
    """Return the numbers (n, d - 1) of the cells of the other axes where most of the mass beside a joint is."""
    along = np.take(masses, layer.cell, axis=layer.axis)
    if along.ndim == 0:
        return np.zeros((1, 0), dtype=int)
    order = np.argsort(-along.ravel(), kind="stable")[:MOST_LINES]
    return np.stack(np.unravel_index(order, along.shape), axis=-1)


def area_of(grid: Grid, layer: Layer, lines: Array) -> Array:
    """Return the volumes (n,) of the cells of `lines` in the other axes, over which a layer is integrated."""
    others: list[Axis] = [axis for k, axis in enumerate(grid.axes) if k != layer.axis]
    return np.asarray(math.prod((axis.widths[lines[:, i]] for i, axis in enumerate(others)), start=np.ones(len(lines))))
