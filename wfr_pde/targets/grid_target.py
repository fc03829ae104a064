"""A target from values on a grid."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from typing_extensions import override

from wfr_pde.numerics.arguments import flag, real_array, refuse_no_entries, shown
from wfr_pde.numerics.regular_splines import PLAIN, Cells, RegularSpline
from wfr_pde.numerics.typing import Array
from wfr_pde.targets.arguments import box_of, fingerprint
from wfr_pde.targets.base import Target
from wfr_pde.targets.breaks import Breaks

# joints and roots of axes of which nothing is stored: one smooth piece
ONE: dict[str, Any] = {"joints": (), "roots": PLAIN}
# of fewer values along an axis no repetition is told: the fourth differences take eight around the seam
FEWEST_TOLD = 12
# of the range of the log-values: a smaller difference counts as equal, as of values written with ten digits
REPEATED = 1e-9
# a repetition is told where the roughness without the last values is at most this share of that with them
ROUGHER = 0.5


@dataclass(frozen=True, eq=False)
class GridTarget(Target):
    """Distribution with given values at the cell centres of a box: V = -(spline through the logarithms).

    The spline is a tensor product of degree 5. Across joints of the grid that a Density or Dataset brings, it is made
    of separate pieces; along axes whose cells are equal in a root of the distance from a wall, it is a spline in that
    root. Outside the box the log-density is -inf and the score NaN.

    Parameters
    ----------
    values : array (n_1, ..., n_d), xarray.DataArray or Dataset
        Density (positive, unnormalised) at the cell centres; axis i is coordinate i. A DataArray brings its
        own box: its coordinates are the centres, equal steps apart or not; edges are half way between them. A
        Dataset of `solve`, one frame of it as in ds.isel(t=-1), brings its edges and boundary too, as does a Density.
    lower, upper : float or array (d,)
        Corners of the box, half a cell outside the first and last centre. Not for a DataArray, Dataset or Density.
    log : bool
        Whether the values are log-densities; implied for a DataArray named "log_density", and for a Density.
    periodic : bool or sequence of bool
        Whether the axes wrap around. Then the values are given once: not at x = 0 and at x = period.

    Raises
    ------
    ValueError
        If a value is NaN, infinite, zero or negative (naming its place), the box is missing or empty, an
        axis has fewer than two cells, coordinates do not rise, or a periodic axis repeats its first values at its end.

    Examples
    --------
    The values of a standard Gaussian; the score of its logarithm is -x, between the cell centres too:

    >>> import numpy as np
    >>> import wfr_pde as wfr
    >>> centres = np.linspace(-4, 4, 41)[:-1] + 0.1
    >>> target = wfr.GridTarget(np.exp(-(centres**2) / 2), lower=-4, upper=4)
    >>> round(float(target.score([[1.23]])[0, 0]), 6)
    -1.23
    """

    values: Any
    lower: Any = None
    upper: Any = None
    log: bool = False
    periodic: Any = False
    _cells: list[Cells] = field(init=False, repr=False)
    _spline: RegularSpline = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        values, log, periodic = self.values, flag("log", self.log), self.periodic
        edges_of: dict[str, Array] = {}
        more_of: dict[str, dict[str, Any]] = {}
        if hasattr(values, "data_vars"):
            values, periodic, edges_of, more_of = _of_dataset(values, periodic)
        if hasattr(values, "grid") and hasattr(values, "log_values"):
            if self.lower is not None or self.upper is not None:
                raise ValueError("a Density brings the box of its grid: leave out lower and upper")
            grid = values.grid
            log, cells = True, [axis.cells for axis in grid.axes]
            periodic = [one.periodic for one in cells]
            lower, upper, values = grid.lower, grid.upper, grid.backend.asnumpy(values.log_values)
        elif hasattr(values, "coords") and hasattr(values, "dims"):
            if self.lower is not None or self.upper is not None:
                raise ValueError("a DataArray brings its own box in its coordinates: leave out lower and upper")
            log = log or values.name == "log_density"
            cells = [
                Cells(
                    *_cells(values, dim, edges_of.get(dim)),
                    **{what: of.get(dim, ONE[what]) for what, of in more_of.items()},
                )
                for dim in values.dims
            ]
            lower, upper = [one.edges[0] for one in cells], [one.edges[-1] for one in cells]
        elif self.lower is None or self.upper is None:
            raise ValueError("an array of values needs its box: give lower and upper")
        else:
            cells, lower, upper = [], self.lower, self.upper
        values = np.array(real_array("values", values))
        if values.ndim == 0 or min(values.shape) < 2:
            raise ValueError(f"values need at least two cells along every axis, got shape {values.shape}")
        values.setflags(write=False)
        support = box_of("(lower, upper)", (lower, upper), values.ndim)
        cells = cells or [Cells(*_equal_cells(*axis)) for axis in zip(*support, values.shape, strict=True)]
        for k, one in enumerate(cells):
            if not (one.centres[1:] > one.centres[:-1]).all():
                raise ValueError(
                    f"the cells from lower to upper along axis {k}, {one.edges[0]:g} to {one.edges[-1]:g}, have no "
                    "widths in double precision: use other units"
                )
        periodic = _per_axis(periodic, values.ndim)
        converted = {"values": values, "lower": support[0], "upper": support[1], "log": log}
        cells = [one._replace(periodic=wraps) for one, wraps in zip(cells, periodic, strict=True)]
        converted |= {"periodic": periodic, "support": support, "ndim": values.ndim, "_cells": cells}
        for name, value in converted.items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "_spline", self._make_spline())

    @override
    def __repr__(self) -> str:
        box = f"lower={self.lower.tolist()}, upper={self.upper.tolist()}"
        options = f"log={self.log}, periodic={self.periodic}"
        centres = np.concatenate([one.centres for one in self._cells])
        equal = np.concatenate(
            [_equal_cells(*axis)[0] for axis in zip(self.lower, self.upper, self.values.shape, strict=True)]
        )
        graded = "" if np.array_equal(centres, equal) else f", centres={fingerprint(centres)}"
        return f"GridTarget({fingerprint(self.values)}, {box}, {options}{graded})"

    @property
    def log_values(self) -> Array:
        """Log-density at the cell centres."""
        return self.values if self.log else np.log(self.values)

    def _make_spline(self) -> RegularSpline:
        wrong = ~np.isfinite(self.values) | (not self.log and self.values <= 0)
        centres = [one.centres for one in self._cells]
        if np.any(wrong):
            cell = tuple(int(i) for i in np.argwhere(wrong)[0])
            place = [float(axis[i]) for axis, i in zip(centres, cell, strict=True)]
            what = "finite log-densities" if self.log else "positive and finite densities"
            remedy = "give finite ones there" if self.log else "give log-densities with log=True"
            raise ValueError(
                f"values must be {what}, but the value at {place} (cell {cell}) is {self.values[cell]}: "
                f"{remedy}, or a smaller box"
            )
        for axis in np.flatnonzero(self.periodic):
            if _repeats_its_end(self.log_values, int(axis)):
                raise ValueError(
                    f"the values repeat themselves along the periodic axis {axis}: the last are the first again, at "
                    f"{centres[axis][-1]:.6g} and {centres[axis][0]:.6g}, as on x = 0, ..., period with both ends, so "
                    f"that the period comes out one cell too long; leave out the last ones, "
                    f"np.delete(values, -1, axis={axis}) or values.isel({{dim: slice(None, -1)}}), and give lower and "
                    "upper half a cell outside the first and last place (if equal by right, change one of them "
                    "by a millionth)"
                )
        return RegularSpline(self._cells, self.log_values)

    @override
    def breaks(self, lower: ArrayLike, upper: ArrayLike) -> Breaks:
        """Return the joints of the grid that the values come from, inside the box."""
        corners = zip(*box_of("(lower, upper)", (lower, upper), self.ndim), strict=True)
        places = [one.edges[list(one.joints)] for one in self._cells]
        return Breaks(tuple(p[(p > a) & (p < b)] for p, (a, b) in zip(places, corners, strict=True)))

    @override
    def log_density(self, points: ArrayLike) -> Array:
        """Evaluate the spline through the log-values at points (..., d), shape (...); -inf outside the box."""
        return self._spline(real_array("points", self.as_points(points)), outside=-np.inf)

    @override
    def score(self, points: ArrayLike) -> Array:
        """Return the gradient of the spline at points (..., d), shape (..., d); NaN outside the box."""
        return self._spline.gradient(real_array("points", self.as_points(points)))


def _per_axis(periodic: Any, ndim: int) -> tuple[bool, ...]:
    """Return for every axis whether it is periodic."""
    refuse_no_entries("periodic", periodic)
    given = [periodic] * ndim if isinstance(periodic, bool | np.bool_) else periodic
    if not isinstance(given, Sequence | np.ndarray) or isinstance(given, str) or len(given) != ndim:
        raise ValueError(f"periodic must be True, False, or one of them for each of {ndim} axes, got {shown(periodic)}")
    return tuple(flag(f"periodic[{k}]", one) for k, one in enumerate(given))


def _repeats_its_end(log_values: Array, axis: int) -> bool:
    """Tell whether the last values along a periodic axis repeat the first, and the axis is smoother without them.

    A function that is symmetric about the middle of the box has equal first and last values by right: without the last
    ones it is then rougher. Roughness is the largest fourth difference around the seam.
    """
    values = np.moveaxis(log_values, axis, 0)
    if len(values) < FEWEST_TOLD or not np.allclose(values[0], values[-1], rtol=0, atol=REPEATED * np.ptp(values)):
        return False
    with_last, without = (
        float(np.abs(np.diff(np.concatenate([ring[-4:], ring[:4]]), n=4, axis=0)).max())
        for ring in (values, values[:-1])
    )
    return without < ROUGHER * with_last


def _of_dataset(ds: Any, periodic: Any) -> tuple[Any, Any, dict[str, Array], dict[str, dict[str, Any]]]:
    """Return the log-density of a Dataset of `solve`, which axes wrap, edges that are stored, and joints and roots."""
    if "log_density" not in ds.data_vars:
        raise ValueError(f"a Dataset needs the variable log_density, but has {list(ds.data_vars)}: give a DataArray")
    values = ds["log_density"]
    for dim in ("t", "t_kept"):
        if dim in values.dims:
            raise ValueError(f"a distribution is one frame of a Dataset: give ds.isel({dim}=-1), the last, or another")
    more: dict[str, dict[str, Any]] = {}
    if "grid" in ds.attrs:
        description = json.loads(ds.attrs["grid"])
        boundary = dict(zip(description["names"], description["boundary"], strict=True))
        periodic = [boundary.get(dim) == "periodic" for dim in values.dims]
        more = {what: {dim: tuple(of) for dim, of in description.get(what, {}).items()} for what in ONE}
    edges = {dim: ds[f"cell_edge_{dim}"].values for dim in values.dims if f"cell_edge_{dim}" in ds}
    return values, periodic, edges, more


def _cells(values: Any, dim: str, edges: Array | None) -> tuple[Array, Array]:
    """Return the cell centres (n,) and edges (n + 1,) along a dimension of a DataArray."""
    if dim not in values.coords or values.sizes[dim] < 2:
        raise ValueError(
            f"dimension {dim!r} needs at least two cells with coordinates (their centres); "
            f"take one place along others, as in values.isel({dim}=-1)"
        )
    centres = np.asarray(values.coords[dim].values, dtype=np.float64)
    if not (np.isfinite(centres).all() and (np.diff(centres) > 0).all()):
        raise ValueError(f"coordinate {dim!r} must rise, as cell centres do: values.sortby({dim!r}), without doubles")
    width = (centres[-1] - centres[0]) / (len(centres) - 1)
    if np.allclose(centres, centres[0] + width * np.arange(len(centres)), rtol=0, atol=1e-6 * width):
        return _equal_cells(centres[0] - width / 2, centres[-1] + width / 2, len(centres))
    if edges is None or len(edges) != len(centres) + 1:
        middles = 0.5 * (centres[1:] + centres[:-1])
        edges = np.concatenate([[2 * centres[0] - middles[0]], middles, [2 * centres[-1] - middles[-1]]])
    return centres, np.asarray(edges, dtype=np.float64)


def _equal_cells(lower: float, upper: float, n: int) -> tuple[Array, Array]:
    """Return centres (n,) and edges (n + 1,) of equal cells."""
    with np.errstate(over="ignore", invalid="ignore"):  # of boxes that are refused
        edges = np.linspace(lower, upper, n + 1)
        return (edges[1:] + edges[:-1]) / 2, edges
