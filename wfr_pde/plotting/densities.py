"""Densities in one and two dimensions."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import is_color_like
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from wfr_pde.numerics.arguments import instance, knows_its_arguments, shown
from wfr_pde.plotting.data import (
    Goal,
    edges_of,
    frame_at,
    frame_of,
    levels_of,
    limits,
    log_density_of,
    log_target_of,
    nearest,
    relative,
    space_of,
    target_on,
    time_text,
)
from wfr_pde.plotting.style import BLUE, axes_or_new, colour_map, density_label, figure_of, label, style
from wfr_pde.targets.base import Target

LONGEST_BOX = 10  # widths of a box: a longer one is not drawn to scale, as it would be a line
HEADROOM = 1.08  # of the axis of a density, over its highest value, so that the curve does not touch the frame
# shares of the mass that contours enclose: from the tails to the core, about evenly spaced to the eye
CONTOUR_MASSES = (0.99, 0.9, 0.75, 0.5, 0.25)


@knows_its_arguments
def density_image(ds: xr.Dataset | xr.DataArray, ax: Axes | None = None) -> Figure:
    """Draw a density in one dimension as an image: time to the right, darker is denser.

    Parameters
    ----------
    ds : Dataset or DataArray
        With `log_density` (t, x), or that variable.
    ax : matplotlib Axes, optional
        Where to draw; by default in a new figure.

    Returns
    -------
    matplotlib.figure.Figure
        That of `ax`, or a new one.

    Raises
    ------
    TypeError, ValueError
        If it has no such density, or a single time.

    Examples
    --------
    >>> import wfr_pde as wfr
    >>> target, start = wfr.Gaussian(0, 1), wfr.Gaussian(1, 1)
    >>> grid = wfr.Grid.covering(target, start, shape=32)
    >>> ds = wfr.solve(target, wfr.FisherRao(), grid.density(start), t=[0, 0.5, 1], dt=0.5)
    >>> figure = wfr.plotting.density_image(ds)
    >>> [axes.get_ylabel() for axes in figure.axes]
    ['x', 'density']
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


@knows_its_arguments
def density_ridge(
    ds: xr.Dataset | xr.DataArray, times: ArrayLike | None = None, target: Target | None = None, ax: Axes | None = None
) -> Figure:
    """Draw densities in one dimension at several times, one above the other, with the time beside each.

    Parameters
    ----------
    ds : Dataset or DataArray
        With `log_density` (t, x), or that variable.
    times : array, optional
        The nearest stored ones are drawn, none of them outside of the run; six by default.
    target : Target, optional
        Drawn as a thin line behind each.
    ax : matplotlib Axes, optional
        Where to draw; by default in a new figure.

    Returns
    -------
    matplotlib.figure.Figure
        That of `ax`, or a new one.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit, as a time outside of the run.

    Examples
    --------
    >>> import wfr_pde as wfr
    >>> target, start = wfr.Gaussian(0, 1), wfr.Gaussian(1, 1)
    >>> grid = wfr.Grid.covering(target, start, shape=32)
    >>> ds = wfr.solve(target, wfr.FisherRao(), grid.density(start), t=[0, 0.5, 1], dt=0.5)
    >>> figure = wfr.plotting.density_ridge(ds, target=target)
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['t = 0', 't = 0.5', 't = 1']
    """
    log_density = log_density_of(ds, ndim=1)
    time, space = log_density.dims
    stored = log_density[time].values
    if target is not None:
        instance("target", target, Target, "such as Gaussian(mean=0, covariance=1)")
    six = np.linspace(0, len(stored) - 1, 6).astype(int)
    frames = np.unique(six if times is None else nearest("times", times, stored))
    x, density = log_density[space].values, np.exp(log_density.values[frames])
    offset = 0.45 * density.max()
    goals = None if target is None else [np.exp(log_target_of(log_density[frame], target).values) for frame in frames]
    with style():
        ax = axes_or_new(ax)
        for k, frame in enumerate(frames):
            base, layer = offset * k, 3 * (len(frames) - k)  # later ones stand behind
            ax.fill_between(x, base, base + density[k], color=BLUE, alpha=0.25, linewidth=0, zorder=layer)
            ax.plot(x, base + density[k], color=BLUE, linestyle="-", linewidth=1, zorder=layer + 1)
            if goals is not None:
                ax.plot(x, base + goals[k], color="black", linestyle=":", linewidth=0.8, zorder=layer + 2)
            ax.text(1.01, base, f"t = {stored[frame]:.3g}", transform=ax.get_yaxis_transform(), va="bottom", fontsize=7)
        ax.grid(False)
        ax.spines["left"].set_visible(False)
        ax.set(xlabel=label(log_density[space]), yticks=[], xlim=(x[0], x[-1]), ylim=(0, None))
    return figure_of(ax)


@knows_its_arguments
def density_curve(
    ds: xr.Dataset | xr.DataArray, t: float | None = None, target: Goal = None, ax: Axes | None = None
) -> Figure:
    """Draw a density in one dimension at one time, filled, with the target as a dotted line.

    Parameters
    ----------
    ds : Dataset or DataArray
        With `log_density` (t, x), or that variable, or one frame of it (x).
    t : float, optional
        The nearest stored time is drawn; the last by default.
    target : Target, or DataArray of its log-density (x), optional
        What the flow runs to.
    ax : matplotlib Axes, optional
        Where to draw; by default in a new figure.

    Returns
    -------
    matplotlib.figure.Figure
        That of `ax`, or a new one.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit, as a time outside of the run.

    Examples
    --------
    The highest value of a Gaussian of variance 1 is 1/sqrt(2 pi) = 0.399, some per cent less between two cells:

    >>> import wfr_pde as wfr
    >>> target, start = wfr.Gaussian(0, 1), wfr.Gaussian(1, 1)
    >>> grid = wfr.Grid.covering(target, start, shape=32)
    >>> ds = wfr.solve(target, wfr.FisherRao(), grid.density(start), t=[0, 0.5, 1], dt=0.5)
    >>> figure = wfr.plotting.density_curve(ds, target=target)
    >>> round(float(figure.axes[0].lines[0].get_ydata().max()), 1)
    0.4
    """
    frame = frame_of(ds, t, (1,))
    with style():
        ax = axes_or_new(ax)
        goal = target_on(frame, target)
        draw_curve(ax, frame, goal)
        name = space_of(frame)[0]
        ax.set(xlabel=label(frame[name]), ylabel=density_label([frame[name]]), xlim=limits([frame, goal], name))
        legend_above(ax, time_text(frame), goal is not None)
    return figure_of(ax)


@knows_its_arguments
def density_contours(
    ds: xr.Dataset | xr.DataArray,
    t: float | None = None,
    target: Goal = None,
    ax: Axes | None = None,
    colour: str = BLUE,
) -> Figure:
    """Draw a density in two dimensions, shaded by the share of the mass inside, with the contours of the target.

    The shades, from light to dark, end where the density encloses 99, 90, 75, 50 and 25 % of the mass: a narrow density
    and a wide one are equally visible. The time is written above a figure of its own, and above `ax` where `t` is
    given.

    Parameters
    ----------
    ds : Dataset or DataArray
        With `log_density` (t, x, y), or that variable, or one frame of it (x, y).
    t : float, optional
        The nearest stored time is drawn; the last by default.
    target : Target, or DataArray of its log-density (x, y), optional
        Drawn as lines that enclose 99, 90 and 50 % of its mass.
    ax : matplotlib Axes, optional
        Where to draw; by default in a new figure.
    colour : str
        Of the darkest shade.

    Returns
    -------
    matplotlib.figure.Figure
        That of `ax`, or a new one.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit, as a time outside of the run.

    Examples
    --------
    >>> import wfr_pde as wfr
    >>> target = wfr.Gaussian([0, 0], [1, 4])
    >>> grid = wfr.Grid.covering(target, shape=(32, 32))
    >>> ds = wfr.solve(target, wfr.FisherRao(), grid.density(target), t=[0, 1], dt=1)
    >>> figure = wfr.plotting.density_contours(ds, target=target)
    >>> figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()
    ('x', 'y')
    """
    log_density = frame_at(log_density_of(ds, ndim=2), t)
    if not isinstance(colour, str | tuple) or not is_color_like(colour):
        raise ValueError(f"colour must be one that matplotlib knows, got {shown(colour)}")
    with style():
        titled = ax is None or t is not None
        ax = axes_or_new(ax)
        draw_contours(ax, log_density, target, colour)
        if titled:
            ax.set_title(time_text(log_density), loc="left", fontweight="normal")
    return figure_of(ax)


def draw_contours(ax: Axes, log_density: xr.DataArray, target: Goal = None, colour: str = BLUE) -> None:
    """Draw contours of a density in two dimensions, shaded, and lines of the target."""
    names = log_density.dims
    x, y = (log_density[name].values for name in names)
    density, levels = relative(log_density), levels_of(log_density, CONTOUR_MASSES)
    shades = colour_map(colour)(np.linspace(0.12, 0.95, len(levels)))
    ax.contourf(x, y, density.T, [*levels, 1.1], colors=shades)
    goal = target_on(log_density, target)
    if goal is not None:
        levels = levels_of(goal, (0.99, 0.9, 0.5))
        ax.contour(x, y, relative(goal).T, levels, colors="black", linewidths=0.6, linestyles="solid")
    ax.grid(False)
    longest, shortest = max(np.ptp(x), np.ptp(y)), min(np.ptp(x), np.ptp(y))
    aspect = "equal" if longest < LONGEST_BOX * shortest else "auto"
    ax.set(xlabel=label(log_density[names[0]]), ylabel=label(log_density[names[1]]), aspect=aspect)


def draw_curve(ax: Axes, frame: xr.DataArray, goal: xr.DataArray | None, flipped: bool = False) -> None:
    """Draw a filled density in one dimension, and the target as a dotted line; turned by 90 degrees if `flipped`."""
    x, density = frame[frame.dims[0]].values, np.exp(frame.values)
    fill, line = (ax.fill_betweenx, lambda *xy, **look: ax.plot(*xy[::-1], **look)) if flipped else (
        ax.fill_between, ax.plot,
    )  # fmt: skip
    fill(x, 0, density, color=BLUE, alpha=0.25, linewidth=0)
    line(x, density, color=BLUE, linestyle="-", linewidth=1, label="density")
    if goal is not None:
        line(x, np.exp(goal.values), color="black", linestyle=":", linewidth=1, label="target")
    top = HEADROOM * max(float(np.exp(part.max())) for part in (frame, goal) if part is not None)
    ax.grid(False)
    ax.set(**{"xlim" if flipped else "ylim": (0, top)})


def legend_above(ax: Axes, text: str, legend: bool) -> None:
    """Write a line of text above the axes, and the legend beside it, where they hide no data."""
    ax.set_title(text, loc="left", fontweight="normal")
    if legend:
        ax.legend(loc="lower right", bbox_to_anchor=(1.02, 0.98), ncols=2)
