"""Checks of a distribution on a grid: finite, resolved by the cells, smooth between them, and held by the box."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from wfr_pde.errors import CellsTooWideError, CutMassError
from wfr_pde.numerics.cellwise import Chunk
from wfr_pde.space.axis import Axis
from wfr_pde.space.grid import Grid

if TYPE_CHECKING:
    from wfr_pde.targets.base import Target

NARROWEST_SD = 1.25  # in cells: a Gaussian of this width is sampled to e^(-2 pi^2 1.25^2) = 4e-14
UNRESOLVED_MASS = 0.01  # share of the mass that may sit in features narrower than NARROWEST_SD
PROBES = 1024  # places drawn by mass where the log-density is looked at between cell centres
MAX_MISMATCH = 0.05  # nats by which it may differ there from the interpolation, at four fifths of the places
PROBE_OFFSET = 0.381966  # of a probe from the centre, in cells; irrational, so that it cannot alias with the grid
STENCIL = range(-2, 4)  # cells around a probe, for interpolation of order 6
MIDPOINT_ERROR = 0.01  # of a mass, that is allowed on cells with given edges, where the quadrature is of order 2
COARSE_CELLS = 2**15  # of the grid on which the mass outside a box is summed


def check_finite(grid: Grid, log_values: Any, distribution: Target, what: str) -> None:
    """Refuse a log-density that is not finite in every cell."""
    if math.isfinite(float(grid.reductions.sum(log_values))):
        return
    host = grid.backend.asnumpy(log_values)
    found = grid.reductions.first_where(~np.isfinite(host), host)
    if found is None:  # only the sum overflowed
        return
    count, index, value = found
    place = [float(axis.centres[i]) for axis, i in zip(grid.axes, index, strict=True)]
    raise ValueError(
        f"{what} {distribution!r} has log-density {value} at {dict(zip(grid.names, place, strict=True))} "
        f"(and is not finite in {count} of {grid.size} cells): every cell needs a positive, finite "
        "density; choose a box inside the region where it is defined, or correct the formula"
    )


def check_resolved(grid: Grid, log_values: Any, what: str) -> None:
    """Refuse features narrower than the cells resolve, by the curvature of the log-density from cell to cell.

    A Gaussian of standard deviation sd has the second difference -(dx/sd)^2 along an axis (sd the
    conditional one, which is what a product grid has to resolve).

    Parameters
    ----------
    grid : Grid
    log_values : array over the grid
        Of a density of mass one.
    what : str
        What it is, for messages.

    Raises
    ------
    ValueError
        If more than 1 % of the mass is in features of a standard deviation below 1.25 cells.
    """
    xp, volume, total = grid.backend.xp, grid.cell_volume, grid.reductions.sum
    for k, axis in enumerate(grid.axes):
        if mass_in_narrow_features(grid, log_values, k) <= UNRESOLVED_MASS:
            continue
        curvature = _cell_curvature(grid, log_values, k)
        mass = xp.exp(log_values) * volume
        narrow = _is_narrow(grid, curvature, k)
        narrow_mass = xp.where(narrow, mass, xp.zeros_like(mass))
        unresolved = float(total(narrow_mass))
        ends = grid.along_axis(k, np.isin(np.arange(axis.n), (0, axis.n - 1)).astype(float))
        if axis.periodic and float(total(narrow_mass * ends)) > 0.5 * unresolved:
            raise ValueError(
                f"{what} is not periodic along {axis.name}: its log-density jumps where the "
                f"axis wraps, from {axis.edges[0]:.4g} to {axis.edges[-1]:.4g}; shift the box so that its mass "
                'is inside, or use boundary="no-flux"'
            )
        weighted = xp.where(narrow, curvature * mass, xp.zeros_like(mass))
        cells = math.sqrt(float(total(weighted)) / unresolved)  # over the standard deviation there
        others = tuple(i for i in range(grid.ndim) if i != k)
        along = grid.backend.asnumpy(grid.reductions.sum_along(narrow_mass, others))
        width = float(np.sum(along * axis.widths)) / unresolved
        spread = math.sqrt(max(0.0, float(np.sum(along * (axis.widths - width) ** 2)) / unresolved))
        sd, needed = width / cells, math.ceil(axis.n * cells * NARROWEST_SD * (1 + 2 * spread / width))
        remedy = "or a smaller box" if axis.is_uniform else "or a grading with more of them there"
        raise CellsTooWideError(
            f"the cells are too wide for {what}: along {axis.name}, {unresolved:.2g} of its "
            f"mass is in features of standard deviation about {sd:.3g}, but the cells are {width:.3g} wide "
            f"(needed: sd >= {NARROWEST_SD} cells); use about {needed} cells there, {remedy}"
        )


def mass_in_narrow_features(grid: Grid, log_values: Any, k: int) -> float:
    """Return the mass in features along axis `k` narrower than the cells resolve, chunk by chunk of another axis."""
    xp, volume = grid.backend.xp, grid.cell_volume
    across = 0 if k > 0 or grid.ndim == 1 else 1
    layers = grid.reductions.layers_beside(log_values, k)

    def masses_of(chunk: Chunk) -> Any:
        values = log_values[chunk.index]
        mass = xp.exp(values) * (volume if grid.is_uniform else volume[chunk.index])
        beside = layers if grid.ndim == 1 else tuple(layer[chunk.index] for layer in layers)
        narrow = _is_narrow(grid, _cell_curvature(grid, values, k, beside), k)
        return xp.where(narrow, mass, xp.zeros_like(mass))

    chunks = grid.reductions.chunks(across, None if grid.ndim > 1 else grid.local_size)
    return grid.reductions.sum_of_chunks(masses_of, chunks)


def _is_narrow(grid: Grid, curvature: Any, k: int) -> Any:
    """Return a mask of the cells with a curvature along axis `k` as of features too narrow, but at walls and joints."""
    axis, inside = grid.axes[k], np.ones(grid.axes[k].n)
    if not axis.periodic:
        inside[[0, -1]] = 0.0
    for joint in axis.joints:
        inside[max(joint - 1, 0) : joint + 1] = 0.0
    return curvature * NARROWEST_SD**2 * grid.along_axis(k, inside) > 1 + 1e-6


def _cell_curvature(grid: Grid, log_values: Any, k: int, layers: Any = None) -> Any:
    """Compute minus the second derivative of the log-density along axis `k`, times the cell width squared.

    Of a part of the cells with the layers beside it, as in `Reductions.neighbours`.
    """
    axis = grid.axes[k]
    below, above = grid.reductions.neighbours(log_values, k, layers)
    if axis.is_uniform:
        return 2 * log_values - above - below
    wrap = (axis.edges[-1] - axis.centres[-1]) + (axis.centres[0] - axis.edges[0])
    faces = np.append(np.diff(axis.centres), wrap)
    upper, lower = faces, np.roll(faces, 1)
    scale = 2 * axis.widths**2 / (upper + lower)
    weights = [grid.along_axis(k, scale / distance) for distance in (upper, lower)]
    return weights[0] * (log_values - above) + weights[1] * (log_values - below)


def check_between_cells(grid: Grid, log_values: Any, log_mass: float, distribution: Target, what: str) -> None:
    """Refuse a log-density that varies between the cell centres, by values at probes drawn by mass beside them."""
    host = grid.backend.asnumpy(log_values)
    masses = np.exp(host + grid.backend.asnumpy(grid.log_widths(range(grid.ndim))))
    cells = grid.reductions.cells_by_mass(masses, (np.arange(PROBES) + 0.5) / PROBES)
    centres = np.stack([axis.centres[i] for axis, i in zip(grid.axes, cells, strict=True)], axis=-1)
    for k, axis in enumerate(grid.axes):
        inner = np.full(PROBES, True) if axis.periodic else (cells[k] >= 2) & (cells[k] < axis.n - 3)
        for joint in axis.joints:
            inner &= (cells[k] < joint - 3) | (cells[k] >= joint + 2)
        if axis.n < 6 or not inner.any():
            continue
        points = centres[inner]
        points[:, k] += PROBE_OFFSET * axis.widths[cells[k][inner]]
        there = np.asarray(distribution.log_density(points)) - log_mass
        expected = np.zeros(len(points))
        for shift, weight in zip(STENCIL, _aside_weights(axis, cells[k][inner]), strict=True):
            index = [c[inner] for c in cells]
            index[k] = (index[k] + shift) % axis.n
            expected += weight * grid.reductions.values_at(host, index)
        off = ~(np.abs(there - expected) <= MAX_MISMATCH)
        if off.mean() > 0.2:
            worst = int(np.argmax(np.abs(there - expected)))
            raise CellsTooWideError(
                f"the cells are too wide for {what} {distribution!r}: it varies between their centres along "
                f"{axis.name} (at {points[worst].tolist()} the log-density is {there[worst]:.4g}, the cells around "
                f"suggest {expected[worst]:.4g}); use many more cells than {axis.n}, or a smoother formula"
            )


def _aside_weights(axis: Axis, cells: np.ndarray) -> list[np.ndarray]:
    """Return Lagrange weights of the centres around some cells for a place `PROBE_OFFSET` beside their own centres."""
    nodes = [
        axis.centres[(cells + shift) % axis.n] + axis.length * ((cells + shift) // axis.n) - axis.centres[cells]
        for shift in STENCIL
    ]
    place = PROBE_OFFSET * axis.widths[cells]
    return [
        np.prod([(place - other) / (node - other) for other in nodes if other is not node], axis=0) for node in nodes
    ]


def check_cut(grid: Grid, log_values: Any, log_mass: float, distribution: Target, what: str) -> None:
    """Compare the mass in the box with the whole: by the known normaliser, or by the box that the mass needs."""
    if grid.max_cut >= 1:
        return
    box, would_do = None, ""
    if distribution.log_normaliser is not None:
        cut = -math.expm1(log_mass - distribution.log_normaliser)
        if abs(cut) <= grid.max_cut:
            return
        box = _box_of(grid.max_cut, distribution)
        covered = box is not None and _contains(grid, box)
        if covered and abs(cut) <= MIDPOINT_ERROR and not all(axis.smooth for axis in grid.axes):
            return
        if cut < 0 or covered:
            raise CellsTooWideError(
                f"the cells are too wide for {what} {distribution!r}: the midpoint rule gives a mass of 1 "
                f"{'-' if cut > 0 else '+'} {abs(cut):.2g} on a grid of {grid.shape}; use more cells"
            )
    else:
        if distribution.support is not None and _contains(grid, distribution.support):
            return
        cut = _mass_beyond_walls(grid, log_values)
        if not all(axis.periodic for axis in grid.axes):
            box = _box_of(grid.max_cut, distribution)
        if box is not None:
            cut = 0.0 if _contains(grid, box) else _share_outside(grid, distribution, box)
        if cut <= grid.max_cut:
            return
    if box is not None and not any(axis.periodic for axis in grid.axes):
        would_do = "a box from {} to {} would do, or Grid.covering(target, start, shape=...), ".format(*_rounded(box))
    raise CutMassError(
        f"the box from {list(grid.lower)} to {list(grid.upper)} cuts off {cut:.3g} of the mass of {what} "
        f"{distribution!r} (allowed: max_cut={grid.max_cut:g}); {would_do}"
        "or give Grid(..., max_cut=1) if the walls are meant to be there"
    )


def _box_of(max_cut: float, distribution: Target) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the box outside which less than `max_cut` of the mass is, or None where there is none."""
    try:
        return distribution.box(max_cut)
    except ValueError:
        return None


def _contains(grid: Grid, box: tuple[np.ndarray, np.ndarray]) -> bool:
    """Return whether a box lies in the grid's box, up to rounding."""
    slack = 1e-9 * (np.asarray(grid.upper) - np.asarray(grid.lower))
    return bool(np.all(np.asarray(box[0]) >= grid.lower - slack) and np.all(np.asarray(box[1]) <= grid.upper + slack))


def _share_outside(grid: Grid, distribution: Target, box: tuple[np.ndarray, np.ndarray]) -> float:
    """Return the share of the mass outside this grid's box, on coarse cells that cover both boxes."""
    n = max(8, round(COARSE_CELLS ** (1 / grid.ndim)))
    wide = Grid(np.minimum(box[0], grid.lower), np.maximum(box[1], grid.upper), n)
    points = wide.points()
    with np.errstate(all="ignore"):  # places where the density is not defined hold no mass
        log_values = np.asarray(distribution.log_density(points))
    values = np.exp(np.where(np.isfinite(log_values), log_values - np.nanmax(log_values), -np.inf))
    inside = np.all((points >= grid.lower) & (points <= grid.upper), axis=-1)
    return float(values[~inside].sum() / values.sum())


def _mass_beyond_walls(grid: Grid, log_values: Any) -> float:
    """Return the mass beyond the no-flux walls if the density goes on as in the last two layers, perhaps infinite."""
    xp = grid.backend.xp
    beyond = 0.0
    for k, axis in enumerate(grid.axes):
        if axis.periodic:
            continue
        others = tuple(i for i in range(grid.ndim) if i != k)
        marginal = grid.backend.asnumpy(grid.reductions.sum_along(xp.exp(log_values) * grid.cell_volume, others))
        marginal = marginal / axis.widths
        for wall, last, inner in ((axis.edges[0], 0, 1), (axis.edges[-1], -1, -2)):
            if marginal[last] == 0:
                continue
            ratio = marginal[inner] / marginal[last]
            if ratio <= 1:
                return math.inf
            rate = math.log(ratio) / abs(axis.centres[last] - axis.centres[inner])
            beyond += float(marginal[last]) * math.exp(-rate * abs(wall - axis.centres[last])) / rate
    return beyond


def _rounded(box: tuple[np.ndarray, np.ndarray]) -> tuple[list[float], list[float]]:
    """Round a box outwards, to a thousandth of its width."""
    unit = 10.0 ** np.floor(np.log10((box[1] - box[0]) / 1000))
    ends = np.floor(box[0] / unit) * unit, np.ceil(box[1] / unit) * unit
    lower, upper = ([float(f"{value:.12g}") for value in end] for end in ends)
    return lower, upper
