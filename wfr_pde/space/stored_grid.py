"""Grids in a Dataset: what describes one there, and how it is read again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from wfr_pde.numerics.arguments import finite, shown, whole
from wfr_pde.space.axis import Axis

if TYPE_CHECKING:
    from wfr_pde.space.grid import Grid

SAME_CENTRE = 1e-6  # of a cell and of the coordinate: the rounding of single precision
SAME_TIME, ROUNDING = 1e-9, 1e-13  # by which times may differ, relative to the span of the stored ones, and to them


def grid_description(grid: Grid) -> dict[str, Any]:
    """Return what makes a grid, but for the backend and the cells of graded axes, in plain types."""
    more = {
        "joints": {axis.name: list(axis.joints) for axis in grid.axes if axis.joints},
        "roots": {axis.name: list(axis.roots) for axis in grid.axes if axis.roots != (1.0, 1.0)},
    }
    return {
        "lower": list(grid.lower),
        "upper": list(grid.upper),
        "shape": list(grid.shape),
        "boundary": list(grid.boundary),
        "names": list(grid.names),
        "max_cut": grid.max_cut,
        "graded": {axis.name: axis.smooth for axis in grid.axes if not axis.is_uniform},
    } | {what: values for what, values in more.items() if values}


def check_dataset(ds: Any, *needed: str) -> None:
    """Refuse what is no Dataset on a grid, or lacks variables that are needed.

    Raises
    ------
    TypeError, ValueError
    """
    if not hasattr(ds, "data_vars") or not hasattr(ds, "attrs"):
        raise TypeError(f"ds must be a Dataset, as solve and ground_truth return one, got {shown(ds)}")
    if "grid" not in ds.attrs or not all(name in ds.data_vars for name in needed):
        wanted = "".join(f"{name}, and " for name in needed)
        raise ValueError(
            f"ds must have {wanted}grid in its attributes, as solve stores them, but has {list(ds.data_vars)}"
        )


def check_coordinates(ds: Any, grid: Grid) -> None:
    """Refuse a Dataset whose coordinates are not the cell centres of its grid: reversed, selected, renamed or moved.

    Raises
    ------
    ValueError
    """
    dims = ds["log_density"].dims if "log_density" in ds.variables else grid.names
    order = tuple(dim for dim in dims if dim in grid.names)
    if len(order) == grid.ndim and order != grid.names:
        raise ValueError(f"log_density of ds must have its axes in the order {grid.names}, got {dims}")
    for axis in grid.axes:
        if axis.name not in ds.coords:
            continue
        found = np.asarray(ds[axis.name].values)
        slack = SAME_CENTRE * (axis.widths + np.abs(axis.centres))
        if found.shape != axis.centres.shape or not (np.abs(found - axis.centres) <= slack).all():
            raise ValueError(
                f"the coordinate {axis.name!r} of ds is not that of its grid ({shown(found)} in place of "
                f"{shown(axis.centres)}): give ds as solve or ground_truth return it, with the axes as they are"
            )


def stored_arguments(ds: Any) -> dict[str, Any]:
    """Return the arguments of `Grid` that make the grid of a Dataset, but for the backend."""
    check_dataset(ds)
    description = json.loads(ds.attrs["grid"])
    smooth, joints, roots = (description.pop(what, {}) for what in ("graded", "joints", "roots"))
    grading = [
        Axis(
            name,
            np.asarray(ds[f"cell_edge_{name}"].values, dtype=np.float64),
            np.asarray(ds[name].values, dtype=np.float64),
            np.asarray(ds[f"cell_width_{name}"].values, dtype=np.float64),
            periodic=False,
            smooth=smooth[name],
            joints=tuple(joints.get(name, ())),
            roots=tuple(roots.get(name, (1.0, 1.0))),
        )
        if name in smooth
        else None
        for name in description["names"]
    ]
    return {**description, "grading": grading}


def number_of_frame(variable: Any, index: int | None = None, t: float | None = None) -> int:
    """Return the number of the frame that was asked for, by its number or its time; without either the last.

    Parameters
    ----------
    variable : xarray.DataArray
        Its first dimension is the time.
    index : int, optional
        Number of the frame.
    t : float, optional
        Its time.

    Returns
    -------
    int

    Raises
    ------
    ValueError
        If both are given, or the time is not stored.
    """
    n = len(variable)
    if t is None:
        return whole("index", -1 if index is None else index, -n, "the number of a frame", most=n - 1)
    if index is not None:
        raise ValueError(f"index={shown(index)} and t={shown(t)} both name a frame: give one of them")
    wanted, times = finite("t", t), np.asarray(variable[variable.dims[0]].values, dtype=np.float64)
    nearest = int(np.abs(times - wanted).argmin())
    if abs(times[nearest] - wanted) > max(SAME_TIME * float(np.ptp(times)), ROUNDING * float(np.abs(times).max())):
        raise ValueError(
            f"t={wanted:g} is not stored, the nearest stored time is {times[nearest]:g}: take that one, save at "
            f"t={wanted:g}, or interpolate with wfr.Trajectory(ds, target).at({wanted:g})"
        )
    return nearest
