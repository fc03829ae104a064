"""What figures read from densities: variables, cells, levels that enclose a share of the mass."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from wfr_pde.targets.base import Target


def log_density_of(ds: xr.Dataset | xr.DataArray, ndim: int) -> xr.DataArray:
    """The log-density of a Dataset, if it has `ndim` space dimensions."""
    log_density = ds["log_density"] if isinstance(ds, xr.Dataset) else ds
    if isinstance(ds, xr.Dataset):
        widths = {f"cell_width_{dim}": ds.get(f"cell_width_{dim}") for dim in log_density.dims}
        log_density = log_density.assign_coords({name: width for name, width in widths.items() if width is not None})
    space = [dim for dim in log_density.dims if dim not in ("t", "t_kept")]
    if len(space) != ndim or (ndim == 1 and log_density.ndim != 2):
        raise ValueError(
            f"log_density has the dimensions {log_density.dims}, but this figure is of a density in {ndim} dimension"
            f"{'s' if ndim > 1 else ''}{' at several times' if ndim == 1 else ''}"
        )
    return log_density


def log_target_of(frame: xr.DataArray, target: Target) -> xr.DataArray:
    """Log-density of the target where `frame` has its values, normalised there."""
    names = frame.dims
    points = np.stack(np.meshgrid(*(frame[name].values for name in names), indexing="ij"), axis=-1)
    values = target.log_density(points)
    values = values - values.max()
    return frame.copy(data=values - np.log(np.sum(np.exp(values) * cell_volumes(frame))))


def cell_volumes(frame: xr.DataArray) -> np.ndarray:
    """Volumes of the cells: those stored, or from the distances of their centres."""
    volumes = np.ones(())
    for name in frame.dims:
        stored = frame.coords.get(f"cell_width_{name}")
        volumes = volumes[..., None] * (np.gradient(frame[name].values) if stored is None else stored.values)
    return volumes


def edges_of(centres: np.ndarray) -> np.ndarray:
    """Edges half way between centres, and as far outside the first and last."""
    if len(centres) == 1:
        return np.array([centres[0] - 0.5, centres[0] + 0.5])
    middles = 0.5 * (centres[1:] + centres[:-1])
    return np.concatenate([[2 * centres[0] - middles[0]], middles, [2 * centres[-1] - middles[-1]]])


def relative(log_density: xr.DataArray) -> np.ndarray:
    """The density divided by its largest value."""
    return np.exp(log_density.values - log_density.values.max())


def levels_of(log_density: xr.DataArray, masses: Sequence[float]) -> list[float]:
    """Values of the relative density whose contours enclose the given shares of the mass, rising."""
    density = relative(log_density).ravel()
    mass = density * np.broadcast_to(cell_volumes(log_density), log_density.shape).ravel()
    order = np.argsort(density)[::-1]
    enclosed = np.cumsum(mass[order]) / mass.sum()
    # interpolated, so that few cells do not make steps; strictly rising, as matplotlib wants it
    levels = np.interp(masses, enclosed, density[order])
    return [float(level) + 1e-12 * k for k, level in enumerate(levels)]
