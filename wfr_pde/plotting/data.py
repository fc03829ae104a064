"""What figures read from densities: variables, cells, levels that enclose a share of the mass."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import xarray as xr

from wfr_pde.numerics.arguments import finite_array, instance, knows_its_arguments, number, refuse_no_entries, shown
from wfr_pde.targets.arguments import dimension_in_words
from wfr_pde.targets.base import Target

TIMES = ("t", "t_kept")  # names that the dimension of time may have: `t_kept` where `keep` left out frames
SAME_TIME = 1e-9  # by which times may be outside those stored, relative to the largest: rounding of sums of steps
UNSEEN = 1e-3  # mass outside the limits of an axis: boxes are made for tails of 1e-12, which no eye sees
MARGIN = 0.08  # of the width, beyond these limits; no number depends on it
Goal = Target | xr.DataArray | None  # a target, or its log-density on the cells


def log_density_of(ds: xr.Dataset | xr.DataArray, ndim: int) -> xr.DataArray:
    """Return the log-density of a Dataset, if it has `ndim` space dimensions."""
    log_density = with_cells(ds)
    space = space_of(log_density)
    if len(space) != ndim or (ndim == 1 and log_density.ndim != 2):
        raise ValueError(
            f"log_density has the dimensions {log_density.dims}, but this figure is of a density in {ndim} dimension"
            f"{'s' if ndim > 1 else ''}{' at several times' if ndim == 1 else ''}"
        )
    return log_density


def dataset(name: str, value: Any, variables: Sequence[str], of: str) -> xr.Dataset:
    """Return `value`, if it is a Dataset with some variables, as the function `of` returns it.

    Raises
    ------
    TypeError
        If it is no Dataset.
    ValueError
        If a variable is missing.
    """
    instance(name, value, xr.Dataset, f"as {of} returns it")
    missing = [variable for variable in variables if variable not in value.variables]
    if missing:
        known = ", ".join(map(str, value.data_vars)) or "no variables"
        raise ValueError(f"{name} must be a Dataset as {of} returns it, but it lacks {', '.join(missing)}: has {known}")
    return value


def with_cells(ds: xr.Dataset | xr.DataArray, name: str = "ds") -> xr.DataArray:
    """Return the log-density of a Dataset, with the widths of its cells as coordinates."""
    instance(name, ds, (xr.Dataset, xr.DataArray), "of a density, as solve and ground_truth return it")
    if isinstance(ds, xr.DataArray):
        return ds
    if "log_density" not in ds:
        raise ValueError(
            f"{name} has no log_density, but {', '.join(map(str, ds.data_vars)) or 'no variables'}: give a Dataset "
            "that solve or ground_truth returned for a density, or a variable of it"
        )
    log_density = ds["log_density"]
    widths = {f"cell_width_{dim}": ds.get(f"cell_width_{dim}") for dim in log_density.dims}
    return log_density.assign_coords({name: width for name, width in widths.items() if width is not None})


def space_of(log_density: xr.DataArray) -> list[str]:
    """Return the names of the axes of space."""
    return [str(dim) for dim in log_density.dims if dim not in TIMES]


def time_of(log_density: xr.DataArray) -> str | None:
    """Return the name of the dimension of time, if there is one."""
    return next((str(dim) for dim in log_density.dims if dim in TIMES), None)


def frame_at(log_density: xr.DataArray, t: float | None) -> xr.DataArray:
    """Return the log-density at the stored time nearest to `t`, the last by default."""
    time = time_of(log_density)
    if time is None:
        if t is not None:
            number("t", t)
        return log_density
    if log_density.sizes[time] == 0:
        raise ValueError("log_density of ds has no times: give ds with one time or more")
    return log_density.isel({time: -1 if t is None else nearest("t", number("t", t), log_density[time].values)[0]})


def nearest(name: str, times: Any, stored: np.ndarray) -> np.ndarray:
    """Return the numbers of the stored times that are nearest to some.

    Raises
    ------
    ValueError
        If one of them is before the first stored time or after the last.
    """
    wanted = np.atleast_1d(finite_array(name, times))
    if wanted.ndim != 1 or len(wanted) == 0:
        raise ValueError(f"{name} must be one time or more, got an array of shape {wanted.shape}")
    slack = SAME_TIME * max(abs(float(stored[0])), abs(float(stored[-1])))
    outside = (wanted < stored.min() - slack) | (wanted > stored.max() + slack)
    if outside.any():
        raise ValueError(
            f"{name}={wanted[outside][0]:g} is outside the stored times, which go from {stored.min():g} to "
            f"{stored.max():g}"
        )
    return np.abs(stored[:, None] - wanted).argmin(axis=0)


def names_of(name: str, value: Any, known: Sequence[str]) -> list[str]:
    """Return `value`, a name or several, as a list.

    Raises
    ------
    ValueError
        If they are not different ones of those that are known.
    """
    refuse_no_entries(name, value)
    wanted = [value] if isinstance(value, str) else list(value) if isinstance(value, Sequence | np.ndarray) else []
    if not wanted or not all(isinstance(one, str) and one in known for one in wanted) or len({*wanted}) < len(wanted):
        raise ValueError(f"{name} must be different ones of {', '.join(known)}, got {shown(value)}")
    return [str(one) for one in wanted]


def frame_of(ds: xr.Dataset | xr.DataArray, t: float | None, dimensions: Sequence[int]) -> xr.DataArray:
    """Return the density at a time, if it has one of some numbers of dimensions."""
    frame = frame_at(with_cells(ds), t)
    space = space_of(frame)
    if len(space) not in dimensions:
        wanted = " or ".join(map(str, dimensions))
        raise ValueError(
            f"log_density has the axes {', '.join(space)}, but this figure is of a density in {wanted} dimension"
            f"{'s' if dimensions[-1] > 1 else ''}: plotting.marginal(ds, axes) leaves fewer"
        )
    return frame


def time_text(frame: xr.DataArray) -> str:
    """Write the time of a frame, as "t = 0.5"; nothing where it is not stored."""
    return next((f"t = {float(frame[time]):.3g}" for time in TIMES if time in frame.coords), "")


@knows_its_arguments
def marginal(ds: xr.Dataset | xr.DataArray, axes: str | Sequence[str]) -> xr.DataArray:
    """Sum the density over all coordinates but some, at all stored times, and return its logarithm.

    Parameters
    ----------
    ds : Dataset or DataArray
        With `log_density` (t, x, ...), or that variable.
    axes : str or sequence of str
        Names of the axes that stay.

    Returns
    -------
    DataArray
        (t, axes...), with the widths of the cells as coordinates: every figure of densities takes it.

    Raises
    ------
    ValueError
        If there is no such axis.

    Examples
    --------
    The marginal of y of N(0, diag(1, 4)) has the variance 4:

    >>> import numpy as np
    >>> import wfr_pde as wfr
    >>> target = wfr.Gaussian([0, 0], [1, 4])
    >>> grid = wfr.Grid.covering(target, shape=(32, 32))
    >>> ds = wfr.solve(target, wfr.FisherRao(), grid.density(target), t=[0, 1], dt=1)
    >>> y = wfr.plotting.marginal(ds, "y").isel(t=-1)
    >>> round(float((y.y**2 * np.exp(y) * y.cell_width_y).sum()), 3)
    4.0
    """
    log_density = with_cells(ds)
    space = space_of(log_density)
    keep = names_of("axes", axes, space)
    others = [name for name in space if name not in keep]
    if others:
        weighted: Any = log_density
        for name in others:
            weighted = weighted + np.log(cell_widths(log_density, name))
        top = weighted.max(others)
        top = top.where(np.isfinite(top), 0.0)  # where a line has no mass
        with np.errstate(divide="ignore"):
            summed = np.log(np.exp(weighted - top).sum(others)) + top
        log_density = summed.rename("log_density").drop_vars([f"cell_width_{name}" for name in others], errors="ignore")
    time = time_of(log_density)
    return log_density.transpose(*([time] if time else []), *keep)


def cell_widths(log_density: xr.DataArray, name: str) -> xr.DataArray:
    """Return the widths of the cells along an axis: those stored, or from the distances of their centres."""
    stored = log_density.coords.get(f"cell_width_{name}")
    values = np.gradient(log_density[name].values) if stored is None else stored.values
    return xr.DataArray(values, dims=name)


def limits(log_densities: Iterable[xr.DataArray | None], name: str) -> tuple[float, float]:
    """Return limits of an axis that show all but a thousandth of the mass of some densities, at all their times."""
    given = [marginal(log_density, name) for log_density in log_densities if log_density is not None]
    ends, walls = [], []
    for along in given:
        x, half = along[name].values, cell_widths(along, name).values / 2
        mass = np.exp(along.values - along.values.max()).reshape(-1, len(x)) * half
        below = np.cumsum(mass, axis=1) / mass.sum(axis=1, keepdims=True)
        first = (below < UNSEEN / 2).sum(axis=1).min()
        last = min((below < 1 - UNSEEN / 2).sum(axis=1).max(), len(x) - 1)
        ends.append((x[first] - half[first], x[last] + half[last]))
        walls.append((x[0] - half[0], x[-1] + half[-1]))
    (low, high), (left, right) = (
        (float(np.min(pairs, axis=0)[0]), float(np.max(pairs, axis=0)[1])) for pairs in (ends, walls)
    )
    margin = MARGIN * (high - low)
    return max(low - margin, left), min(high + margin, right)


def target_on(frame: xr.DataArray, target: Goal) -> xr.DataArray | None:
    """Return the log-density of the target where `frame` has its values: evaluated, or as it is given."""
    if target is None:
        return None
    if isinstance(target, Target):
        return log_target_of(frame, target)
    instance("target", target, (Target, xr.DataArray), "of its log-density")
    if {*target.dims} != {*frame.dims} or target.shape != tuple(frame.sizes[dim] for dim in target.dims):
        raise ValueError(
            f"target must have the axes of the density, {dict(frame.sizes)}, but has {dict(target.sizes)}: give one "
            "frame of it"
        )
    goal = target.transpose(*frame.dims)
    widths = {name: frame[name] for name in map(str, frame.coords) if name.startswith("cell_width_")}
    return goal.assign_coords({name: width.variable for name, width in widths.items()})


def log_target_of(frame: xr.DataArray, target: Target) -> xr.DataArray:
    """Return the log-density of the target where `frame` has its values and at its time, normalised there."""
    names = frame.dims
    if target.ndim != len(names):
        raise ValueError(
            f"target is {dimension_in_words(target)}, but the density has the axes " + ", ".join(map(str, names))
        )
    time = next((name for name in TIMES if name in frame.coords), None)
    if time is not None:
        target = target.at(float(frame[time]))
    points = np.stack(np.meshgrid(*(frame[name].values for name in names), indexing="ij"), axis=-1)
    values = target.log_density(points)
    values = values - values.max()
    return frame.copy(data=values - np.log(np.sum(np.exp(values) * cell_volumes(frame))))


def cell_volumes(frame: xr.DataArray) -> np.ndarray:
    """Return the volumes of the cells: those stored, or from the distances of their centres."""
    volumes = np.ones(())
    for name in frame.dims:
        volumes = volumes[..., None] * cell_widths(frame, str(name)).values
    return volumes


def edges_of(centres: np.ndarray) -> np.ndarray:
    """Return edges half way between centres, and as far outside the first and last."""
    if len(centres) == 1:
        return np.array([centres[0] - 0.5, centres[0] + 0.5])
    middles = 0.5 * (centres[1:] + centres[:-1])
    return np.concatenate([[2 * centres[0] - middles[0]], middles, [2 * centres[-1] - middles[-1]]])


def relative(log_density: xr.DataArray) -> np.ndarray:
    """Return the density divided by its largest value."""
    return np.exp(log_density.values - log_density.values.max())


def levels_of(log_density: xr.DataArray, masses: Sequence[float]) -> list[float]:
    """Return the values of the relative density whose contours enclose the given shares of the mass, rising."""
    density = relative(log_density).ravel()
    mass = density * np.broadcast_to(cell_volumes(log_density), log_density.shape).ravel()
    order = np.argsort(density)[::-1]
    enclosed = np.cumsum(mass[order]) / mass.sum()
    # interpolated, so that few cells do not make steps; strictly rising, as matplotlib wants it
    levels = np.interp(masses, enclosed, density[order])
    return [float(level) + 1e-12 * k for k, level in enumerate(levels)]
