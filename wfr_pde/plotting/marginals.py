"""Densities in more than one dimension by their marginals, and by slices through a point."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from wfr_pde.numerics.arguments import knows_its_arguments, real_array, shown
from wfr_pde.numerics.counted import counted
from wfr_pde.plotting.data import Goal, frame_of, limits, marginal, names_of, space_of, target_on, time_text
from wfr_pde.plotting.densities import draw_contours, draw_curve
from wfr_pde.plotting.panels import panel_letters
from wfr_pde.plotting.style import (
    BLUE,
    COLUMN_WIDTH,
    PAGE_WIDTH,
    colour_map,
    label,
    new_figure,
    style,
)

DROPS = (0.5, 2.0, 4.5, 8.0)  # nats below the peak at which shades end: 1 to 4 standard deviations of a Gaussian
# nats below the target's own peak at which its lines are drawn: 1 and 3 standard deviations of a Gaussian
LINES = (0.5, 4.5)


@knows_its_arguments
def density_joint(ds: xr.Dataset | xr.DataArray, t: float | None = None, target: Goal = None) -> Figure:
    """Draw a density in two dimensions as contours, with the marginals of both coordinates beside.

    Parameters
    ----------
    ds : Dataset or DataArray
        With `log_density` (t, x, y), or that variable, or one frame of it (x, y).
    t : float, optional
        The nearest stored time is drawn; the last by default.
    target : Target, or DataArray of its log-density (x, y), optional
        Drawn as lines, dotted in the marginals.

    Returns
    -------
    matplotlib.figure.Figure
        A new one.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit, as a time outside of the run.

    Examples
    --------
    The contours, and a panel for each marginal:

    >>> import wfr_pde as wfr
    >>> target = wfr.Gaussian([0, 0], [1, 4])
    >>> grid = wfr.Grid.covering(target, shape=(32, 32))
    >>> ds = wfr.solve(target, wfr.FisherRao(), grid.density(target), t=[0, 1], dt=1)
    >>> figure = wfr.plotting.density_joint(ds, target=target)
    >>> len(figure.axes)
    3
    """
    frame = frame_of(ds, t, (2,))
    goal = target_on(frame, target)
    x, y = space_of(frame)
    with style():
        figure = new_figure(COLUMN_WIDTH, 0.9 * COLUMN_WIDTH)
        layout: Any = figure.get_layout_engine()
        layout.set(w_pad=0.02, h_pad=0.02, wspace=0.02, hspace=0.02)
        grid = figure.add_gridspec(2, 2, width_ratios=(4, 1), height_ratios=(1, 4))
        main = figure.add_subplot(grid[1, 0])
        above = figure.add_subplot(grid[0, 0], sharex=main)
        beside = figure.add_subplot(grid[1, 1], sharey=main)
        draw_contours(main, frame, goal)
        main.set_aspect("auto")
        for ax, name, flipped in ((above, x, False), (beside, y, True)):
            draw_curve(ax, marginal(frame, name), None if goal is None else marginal(goal, name), flipped)
            _without_scale(ax, flipped)
        main.set(xlim=limits([frame, goal], x), ylim=limits([frame, goal], y))
        above.set_title(time_text(frame), loc="left", fontweight="normal")
    return figure


@knows_its_arguments
def density_marginals(
    ds: xr.Dataset | xr.DataArray, t: float | None = None, target: Goal = None, axes: Sequence[str] | None = None
) -> Figure:
    """Draw marginals of a density in two dimensions or more: of each coordinate on the diagonal, of each pair below it.

    Parameters
    ----------
    ds : Dataset or DataArray
        With `log_density` (t, x, y, ...), or that variable, or one frame of it.
    t : float, optional
        The nearest stored time is drawn; the last by default.
    target : Target, or DataArray of its log-density (x, y, ...), optional
        Its marginals are drawn as lines, dotted on the diagonal.
    axes : sequence of str, optional
        Names of the coordinates to show; by default all.

    Returns
    -------
    matplotlib.figure.Figure
        A new one.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit, as a time outside of the run.

    Examples
    --------
    Of the four panels the one above the diagonal is hidden:

    >>> import wfr_pde as wfr
    >>> target = wfr.Gaussian([0, 0], [1, 4])
    >>> grid = wfr.Grid.covering(target, shape=(32, 32))
    >>> ds = wfr.solve(target, wfr.FisherRao(), grid.density(target), t=[0, 1], dt=1)
    >>> figure = wfr.plotting.density_marginals(ds)
    >>> [axes.get_visible() for axes in figure.axes]
    [True, False, True, True]
    """
    frame = frame_of(ds, t, (2, 3, 4))
    goal = target_on(frame, target)
    names = space_of(frame) if axes is None else names_of("axes", axes, space_of(frame))
    if len(names) < 2:
        raise ValueError(f"marginals of pairs need two axes or more of {', '.join(space_of(frame))}, got axes={axes!r}")
    with style():
        figure = new_figure(*((COLUMN_WIDTH, COLUMN_WIDTH) if len(names) < 4 else (PAGE_WIDTH, 0.85 * PAGE_WIDTH)))
        layout: Any = figure.get_layout_engine()
        layout.set(w_pad=0.02, h_pad=0.02, wspace=0.02, hspace=0.02)
        panels: Any = figure.subplots(len(names), len(names), sharex="col", squeeze=False)
        for i, j in np.ndindex(panels.shape):
            _marginal_panel(panels[i, j], frame, goal, names, (i, j))
        panels[0, 0].set_title(time_text(frame), loc="left", fontweight="normal")
        figure.align_ylabels(panels[1:, 0])
        if goal is not None:
            figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="upper right")
    return figure


@knows_its_arguments
def density_slices(
    ds: xr.Dataset | xr.DataArray, point: ArrayLike | None = None, t: float | None = None, target: Goal = None
) -> Figure:
    """Draw a density in three or four dimensions on the planes along every pair of axes through a point.

    The shades end 0.5, 2, 4.5 and 8 nats below the highest value of the whole density, which is where a
    Gaussian is 1 to 4 standard deviations from its mean: they mean the same in all planes, and a plane without mass
    is white.

    Parameters
    ----------
    ds : Dataset or DataArray
        With `log_density` (t, x, y, z[, w]), or that variable, or one frame of it.
    point : array (d,), optional
        The planes go through the nearest cell centre; by default through the highest value.
    t : float, optional
        The nearest stored time is drawn; the last by default.
    target : Target, or DataArray of its log-density, optional
        Drawn as lines 0.5 and 4.5 nats below its own highest value.

    Returns
    -------
    matplotlib.figure.Figure
        A new one.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit, as a point outside of the box or a time outside of the run.

    Examples
    --------
    Three planes, and a colour bar:

    >>> import wfr_pde as wfr
    >>> target = wfr.Gaussian([0, 0, 0], 1)
    >>> grid = wfr.Grid.covering(target, shape=(20, 20, 20))
    >>> ds = wfr.solve(target, wfr.FisherRao(), grid.density(target), t=[0, 1], dt=1)
    >>> figure = wfr.plotting.density_slices(ds)
    >>> sum(axes.get_visible() for axes in figure.axes)
    4
    """
    frame = frame_of(ds, t, (3, 4))
    goal = target_on(frame, target)
    names = space_of(frame)
    place = _nearest_cell(frame, point)
    pairs = list(combinations(names, 2))
    with style():
        figure = new_figure(PAGE_WIDTH, 2.3 * (len(pairs) // 3) + 0.25)
        panels = figure.subplots(len(pairs) // 3, 3).ravel()
        for ax, pair in zip(panels, pairs, strict=True):
            shown = _slice_panel(ax, frame, goal, pair, place)
            ax.set(xlim=limits([frame, goal], pair[0]), ylim=limits([frame, goal], pair[1]))
        bar = figure.colorbar(shown, ax=panels.tolist(), pad=0.02, aspect=15 * (len(pairs) // 3))
        bar.set_ticks([-drop for drop in DROPS], labels=[f"{drop:g}" for drop in DROPS])
        bar.set_label("nats below the peak")
        figure.suptitle(time_text(frame), x=0.01, ha="left", fontsize=8.5)
    return panel_letters(figure)


def _marginal_panel(
    ax: Axes, frame: xr.DataArray, goal: xr.DataArray | None, names: Sequence[str], place: tuple[int, int]
) -> None:
    """Draw the marginal in row i and column j, of the coordinates j and i."""
    i, j = place
    if j > i:
        ax.set_visible(False)
        return
    both = [names[j]] if i == j else [names[j], names[i]]
    own, other = marginal(frame, both), None if goal is None else marginal(goal, both)
    if i == j:
        draw_curve(ax, own, other)
        _without_scale(ax, flipped=False)
    else:
        draw_contours(ax, own, other)
        ax.set(aspect="auto", ylim=limits([own, other], names[i]))
    ax.set_xlim(*limits([own, other], names[j]))
    last = i == len(names) - 1
    ax.set_xlabel(label(frame[names[j]]) if last else "")
    ax.tick_params(labelbottom=last, labelleft=j == 0 and i > 0)
    if j > 0 or i == 0:
        ax.set_ylabel("")


def _slice_panel(
    ax: Axes, frame: xr.DataArray, goal: xr.DataArray | None, pair: tuple[str, str], place: dict[str, int]
) -> Any:
    """Draw the plane of two axes through a cell; return the contours, which a colour bar takes."""
    others = {name: cell for name, cell in place.items() if name not in pair}
    x, y = (frame[name].values for name in pair)
    shades = colour_map(BLUE)(np.linspace(0.12, 0.95, len(DROPS)))
    drop = frame.isel(others).transpose(*pair).values - float(frame.max())
    # a plane far from the mass is below all shades: one cell of rounding keeps the levels rising
    shown = ax.contourf(x, y, np.maximum(drop, -2 * DROPS[-1]).T, [-d for d in DROPS[::-1]] + [1e-9], colors=shades)
    if goal is not None:
        lines = goal.isel(others).transpose(*pair).values - float(goal.max())
        if lines.max() > -LINES[-1]:
            levels = [-d for d in LINES[::-1] if -d < lines.max()]
            ax.contour(x, y, lines.T, levels, colors="black", linewidths=0.6, linestyles="solid")
    for line, name in ((ax.axvline, pair[0]), (ax.axhline, pair[1])):
        line(frame[name].values[place[name]], color="0.5", linestyle=":", linewidth=0.8, zorder=3)
    ax.grid(False)
    where = ", ".join(f"{name} = {frame[name].values[cell]:.2g}" for name, cell in others.items())
    ax.set(xlabel=label(frame[pair[0]]), ylabel=label(frame[pair[1]]))
    ax.set_title(where.replace("-", "−"), fontweight="normal")
    return shown


def _nearest_cell(frame: xr.DataArray, point: ArrayLike | None) -> dict[str, int]:
    """Return the index of the cell nearest to a point along every axis; that of the highest value without one."""
    names = space_of(frame)
    if point is None:
        return dict(zip(names, map(int, np.unravel_index(int(frame.values.argmax()), frame.shape)), strict=True))
    coordinates = real_array("point", point)
    if coordinates.shape != (len(names),) or not np.isfinite(coordinates).all():
        number = counted(len(names), "finite number")
        raise ValueError(f"point must be {number}, for {', '.join(names)}, got {shown(point)}")
    return {name: int(np.abs(frame[name].values - x).argmin()) for name, x in zip(names, coordinates, strict=True)}


def _without_scale(ax: Axes, flipped: bool) -> None:
    """Hide the axis of the density beside other panels, whose shape alone matters."""
    ax.spines["bottom" if flipped else "left"].set_visible(False)
    if flipped:
        ax.set(xticks=[])
        ax.tick_params(labelleft=False)
    else:
        ax.set(yticks=[])
        ax.tick_params(labelbottom=False)
