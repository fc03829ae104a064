"""Densities over space."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from wfr_pde.plotting.fields import edges_of, levels_of, log_density_of, log_target_of, relative
from wfr_pde.plotting.sheet import BLUE, axes_or_new, colour_map, figure_of, label, style
from wfr_pde.targets.base import Target

LONGEST_BOX = 10  # widths: a longer one is not drawn to scale
CONTOUR_MASSES = (0.99, 0.9, 0.75, 0.5, 0.25)  # contours enclose these shares of the mass


def density_image(ds: xr.Dataset | xr.DataArray, ax: Axes | None = None) -> Figure:
    """Space-time image of a density in one dimension: time to the right, darker is denser.

    Parameters
    ----------
    ds : Dataset with `log_density` (t, x), or that variable
    ax : matplotlib Axes, optional
    """
    log_density = log_density_of(ds, ndim=1)
    time, space = log_density.dims
    with style():
        ax = axes_or_new(ax)
        density = np.exp(log_density.transpose(space, time))
        stored = ds.get(f"cell_edge_{space}") if isinstance(ds, xr.Dataset) else None
        edges = edges_of(log_density[space].values) if stored is None else stored.values
        times = edges_of(log_density[time].values)
        image = ax.pcolormesh(times, edges, density, cmap=colour_map(BLUE), vmin=0, shading="flat", rasterized=True)
        ax.grid(False)
        ax.set(xlabel=label(log_density[time]), ylabel=label(log_density[space]))
        ax.figure.colorbar(image, ax=ax, label="density", pad=0.02)
    return figure_of(ax)


def density_ridge(
    ds: xr.Dataset | xr.DataArray, times: ArrayLike | None = None, target: Target | None = None, ax: Axes | None = None
) -> Figure:
    """Densities in one dimension at several times, one above the other, with the time beside each.

    Parameters
    ----------
    ds : Dataset with `log_density` (t, x), or that variable
    times : array, optional
        The nearest stored ones are drawn; six of them by default.
    target : Target, optional
        Drawn as a thin line behind each.
    ax : matplotlib Axes, optional
    """
    log_density = log_density_of(ds, ndim=1)
    time, space = log_density.dims
    stored = log_density[time].values
    wanted = (
        stored[np.linspace(0, len(stored) - 1, 6).astype(int)] if times is None else np.atleast_1d(np.asarray(times))
    )
    frames = np.unique([np.abs(stored - t).argmin() for t in wanted])
    x, density = log_density[space].values, np.exp(log_density.values[frames])
    offset = 0.45 * density.max()
    goal = None if target is None else np.exp(log_target_of(log_density[0], target).values)
    with style():
        ax = axes_or_new(ax)
        for k, frame in enumerate(frames):
            base, layer = offset * k, 3 * (len(frames) - k)  # later ones stand behind
            ax.fill_between(x, base, base + density[k], color=BLUE, alpha=0.25, linewidth=0, zorder=layer)
            ax.plot(x, base + density[k], color=BLUE, linestyle="-", linewidth=1, zorder=layer + 1)
            if goal is not None:
                ax.plot(x, base + goal, color="black", linestyle=":", linewidth=0.8, zorder=layer + 2)
            ax.text(1.01, base, f"t = {stored[frame]:.3g}", transform=ax.get_yaxis_transform(), va="bottom", fontsize=7)
        ax.grid(False)
        ax.spines["left"].set_visible(False)
        ax.set(xlabel=label(log_density[space]), yticks=[], xlim=(x[0], x[-1]), ylim=(0, None))
    return figure_of(ax)


def density_contours(
    ds: xr.Dataset | xr.DataArray,
    t: float | None = None,
    target: Target | xr.DataArray | None = None,
    ax: Axes | None = None,
    colour: str = BLUE,
) -> Figure:
    """Density in two dimensions, shaded by the share of the mass inside, with the contours of the target.

    The shades, from light to dark, end where the density encloses 99, 90, 75, 50 and 25 % of the mass: a narrow
    density and a wide one are equally visible.

    Parameters
    ----------
    ds : Dataset with `log_density` (t, x, y), or that variable, or one frame of it (x, y)
    t : float, optional
        The nearest stored time is drawn; the last by default.
    target : Target, or DataArray of its log-density (x, y), optional
        Drawn as lines that enclose 99, 90 and 50 % of its mass.
    ax : matplotlib Axes, optional
    colour : str
        Of the darkest shade.
    """
    log_density = log_density_of(ds, ndim=2)
    if log_density.ndim == 3:
        time = log_density.dims[0]
        log_density = log_density.isel({time: -1}) if t is None else log_density.sel({time: t}, method="nearest")
    names = log_density.dims
    x, y = (log_density[name].values for name in names)
    with style():
        ax = axes_or_new(ax)
        density, levels = relative(log_density), levels_of(log_density, CONTOUR_MASSES)
        shades = colour_map(colour)(np.linspace(0.12, 0.95, len(levels)))
        ax.contourf(x, y, density.T, [*levels, 1.1], colors=shades)
        if target is not None:
            log_target = log_target_of(log_density, target) if isinstance(target, Target) else target
            goal = relative(log_target.transpose(*names))
            levels = levels_of(log_target.transpose(*names), (0.99, 0.9, 0.5))
            ax.contour(x, y, goal.T, levels, colors="black", linewidths=0.6, linestyles="solid")
        ax.grid(False)
        longest, shortest = max(np.ptp(x), np.ptp(y)), min(np.ptp(x), np.ptp(y))
        aspect = "equal" if longest < LONGEST_BOX * shortest else "auto"
        ax.set(xlabel=label(log_density[names[0]]), ylabel=label(log_density[names[1]]), aspect=aspect)
    return figure_of(ax)
