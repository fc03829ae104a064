"""Samplers: their particles, and their errors."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from wfr_pde.numerics.arguments import choice, instance, knows_its_arguments, shown, whole
from wfr_pde.plotting.data import (
    SAME_TIME,
    dataset,
    frame_at,
    limits,
    marginal,
    names_of,
    space_of,
    time_of,
    with_cells,
)
from wfr_pde.plotting.densities import draw_contours, legend_above
from wfr_pde.plotting.panels import panel_letters
from wfr_pde.plotting.style import (
    BLUE,
    COLOURS,
    COLUMN_WIDTH,
    DASHES,
    GREY,
    MARKERS,
    PAGE_WIDTH,
    SKY,
    VERMILION,
    axes_or_new,
    density_label,
    figure_of,
    label,
    new_figure,
    style,
)
from wfr_pde.space.particles import Particles

LETTERS = 15  # of a title, per inch: longer titles are broken into lines
MARGIN = 0.5  # inches beside a panel, which its title may not fill
# share of the particles on either side that the axes may leave out, so that one far away does not shrink the rest
OUTLYING = 1e-3
MARKS = 500  # most particles that have a mark below the histogram, evenly chosen: more make a solid bar
DOTS, DOT = 1500, (0.5, 8.0)  # area of all dots together, and limits of that of one, in square points
EDGED = 2.0  # square points from which a dot has a white edge: smaller ones would be all edge


@knows_its_arguments
def particles(
    runs: xr.Dataset,
    truth: xr.Dataset | xr.DataArray,
    t: float | None = None,
    axes: str | Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Draw particles of a run over the true density at the same time.

    In one dimension a histogram of their weights over the curve, and a mark for each particle; in two dots whose area
    is in proportion to the weight, over contours. What lies outside the axes is not drawn.

    Parameters
    ----------
    runs : Dataset
        One run, with `position` (t, particle, dim), and `log_weight` if weights differ: of several choose one, as by
        ``.isel(seed=0)``.
    truth : Dataset or DataArray
        With `log_density` (t, x, ...), or that variable, or one frame of it. Its axes are the entries of `dim`, in
        order.
    t : float, optional
        The nearest time that the run has stored; the last by default. The truth must have it, too.
    axes : str or sequence of str, optional
        Names of one or two axes to look along; needed in more than two dimensions.
    ax : matplotlib Axes, optional
        Where to draw; by default in a new figure.

    Returns
    -------
    matplotlib.figure.Figure
        That of `ax`, or a new one.

    Raises
    ------
    ValueError
        If dimensions, axes or times do not fit.

    Examples
    --------
    >>> import wfr_pde as wfr
    >>> target, start = wfr.Gaussian(0, 1), wfr.Gaussian(1, 1)
    >>> grid = wfr.Grid.covering(target, start, shape=32)
    >>> ds = wfr.solve(target, wfr.FisherRao(), grid.density(start), t=[0, 0.5, 1], dt=0.5)
    >>> particles = start.sample(50, rng=0)
    >>> run = wfr.solve(target, wfr.samplers.Langevin(), particles, t=[0, 0.5, 1], dt=0.5, rng=0)
    >>> figure = wfr.plotting.particles(run, ds)
    >>> figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()
    ('x', 'density')
    """
    now, time = particles_at(runs, t)
    frame = _truth_at(with_cells(truth, "truth"), time)
    space = space_of(frame)
    if now.ndim != len(space):
        raise ValueError(f"the particles are {now.ndim}-dimensional, but the truth has the axes {', '.join(space)}")
    names = space if axes is None else names_of("axes", axes, space)
    if len(names) > 2:
        raise ValueError(f"choose one or two of the axes to look along, as axes={tuple(names[:2])!r}")
    shown = marginal(frame, names)
    points = now.positions[:, [space.index(name) for name in names]]
    with style():
        ax = axes_or_new(ax)
        (_histogram if len(names) == 1 else _dots)(ax, shown, points, now)
        legend_above(ax, "" if time is None else f"t = {time:.3g}", len(names) == 1)
    return figure_of(ax)


def _histogram(ax: Axes, truth: xr.DataArray, points: np.ndarray, now: Particles) -> None:
    """Draw weights of particles in one dimension as bars, a mark for each below, and the curve."""
    x = points[:, 0]
    low, high = limits([truth], str(truth.dims[0]))
    low, high = min(low, float(np.quantile(x, OUTLYING))), max(high, float(np.quantile(x, 1 - OUTLYING)))
    count = int(np.clip(2.5 * now.effective_sample_size ** (1 / 3), 8, 80))  # Freedman and Diaconis, for a Gaussian
    heights, edges = np.histogram(x, count, (low, high), weights=now.weights)
    ax.stairs(heights / np.diff(edges), edges, fill=True, color="0.78", label="particles")
    ax.plot(truth[truth.dims[0]], np.exp(truth), color=BLUE, linestyle="-", label="truth")
    top = ax.get_ylim()[1]
    seen = x[np.linspace(0, len(x) - 1, min(len(x), MARKS)).astype(int)]
    ax.plot(
        seen, np.full(len(seen), -0.045 * top), color="black", linestyle="none", marker="|", markersize=4,
        markeredgewidth=0.4, alpha=float(np.clip(60 / len(seen), 0.15, 0.7)),
    )  # fmt: skip
    ax.set(xlim=(low, high), ylim=(-0.09 * top, top), ylabel=density_label([truth[truth.dims[0]]]))
    ax.set_xlabel(label(truth[truth.dims[0]]))
    ax.grid(False)


def _dots(ax: Axes, truth: xr.DataArray, points: np.ndarray, now: Particles) -> None:
    """Draw particles in the plane over the contours; equal weights cover the same area, whatever their number."""
    draw_contours(ax, truth, colour=SKY)  # light enough for black dots, in grey too
    area = now.weights * len(points) * np.clip(DOTS / len(points), *DOT)
    order = np.argsort(-area)  # small ones in front
    ax.scatter(
        points[order, 0],
        points[order, 1],
        s=area[order],
        color="black",
        alpha=0.75,
        edgecolors="white",
        linewidths=np.where(area[order] > EDGED, 0.25, 0.0).tolist(),
        zorder=3,
    )
    for name, axis, values in zip(truth.dims, "xy", points.T, strict=True):
        low, high = limits([truth], str(name))
        seen = np.quantile(values, [OUTLYING, 1 - OUTLYING])
        ax.set(**{f"{axis}lim": (min(low, seen[0]), max(high, seen[1]))})


def particles_at(runs: xr.Dataset, t: float | None) -> tuple[Particles, float | None]:
    """Return the particles at the stored time nearest to `t`, and that time."""
    instance("runs", runs, xr.Dataset, "of particles, as solve returns it for start.sample(n)")
    if "position" not in runs:
        raise ValueError(
            f"runs of particles have the variable position, got {', '.join(map(str, runs.data_vars)) or 'none'}: give "
            "a Dataset as solve returns it for start.sample(n)"
        )
    position = runs["position"]
    time = time_of(position)
    if set(position.dims) - {time} != {"particle", "dim"}:
        raise ValueError(
            f"position has the dimensions {position.dims}, but must have t, particle and dim: choose one run, as by "
            ".isel(seed=0)"
        )
    one = frame_at(position, t)
    log_weights = frame_at(runs["log_weight"], t).values if "log_weight" in runs else None
    return Particles(one.transpose("particle", "dim").values, log_weights), float(one[time]) if time else None


def _truth_at(log_density: xr.DataArray, time: float | None) -> xr.DataArray:
    """Return the true density at the time of the particles."""
    dim = time_of(log_density)
    if dim is None or time is None:
        return frame_at(log_density, time)
    stored = log_density[dim].values
    frame = log_density.isel({dim: int(np.abs(stored - time).argmin())})
    if abs(float(frame[dim]) - time) > SAME_TIME * max(float(np.ptp(stored)), abs(time)):
        raise ValueError(
            f"the particles are those at t={time:g}, where the truth is not stored; the nearest is "
            f"t={float(frame[dim]):g}: solve for that time, or give another t="
        )
    return frame


@knows_its_arguments
def comparison(ds: xr.Dataset, metrics: Sequence[str] | None = None, n: int | None = None) -> Figure:
    """Draw metrics of samplers over time, as `compare` returns them, above the floor of independent draws.

    One panel per metric: means over the seeds with confidence bands, and in grey what as many independent draws from
    the truth would have, mean and spread.

    Parameters
    ----------
    ds : Dataset
        Of `compare`.
    metrics : sequence of str, optional
        Names of the metrics to draw; by default all.
    n : int, optional
        Number of particles; by default the largest.

    Returns
    -------
    matplotlib.figure.Figure
        A new one.

    Raises
    ------
    TypeError, ValueError
        If it is no such Dataset, or has no such metric or number.

    Examples
    --------
    >>> import wfr_pde as wfr
    >>> target = wfr.Gaussian(0, 1)
    >>> runs = [
    ...     wfr.solve(target, wfr.samplers.MALA(), target.sample(20, rng=seed), t=[0, 1], dt=0.5, rng=seed)
    ...     for seed in range(3)
    ... ]
    >>> ds = wfr.compare(target, runs, [wfr.metrics.mean_error, wfr.metrics.wasserstein_1], floor_draws=10)
    >>> [axes.get_title() for axes in wfr.plotting.comparison(ds).axes]
    ['(a) squared error of the mean (length²)', '(b) W₁ (length)']
    """
    dataset("ds", ds, ("metric", "n", "method", "mean"), "compare")
    known, numbers = [str(name) for name in ds["metric"].values], ds["n"].values.tolist()
    names = known if metrics is None else names_of("metrics", metrics, known)
    if n is not None and whole("n", n) not in numbers:
        raise ValueError(f"n must be one of the numbers of particles {', '.join(map(str, numbers))}, got {shown(n)}")
    chosen = ds.sel(n=max(numbers) if n is None else int(n))
    columns = {1: 1, 2: 2, 4: 2}.get(len(names), 3)
    rows = -(-len(names) // columns)
    with style():
        figure = new_figure(COLUMN_WIDTH if columns == 1 else PAGE_WIDTH, 2.2 * rows + 0.5)
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for ax, name in zip(panels, names, strict=False):
            _compared(ax, chosen.sel(metric=name), figure.get_figwidth() / columns - MARGIN)
        for ax in panels[len(names) :]:
            ax.set_visible(False)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=min(len(labels), 4))
    return panel_letters(figure)


def _compared(ax: Axes, one: xr.Dataset, width: float) -> None:
    """Draw one metric over time, in a panel of some width in inches."""
    t, positive = one["t"].values, True
    bands: list[Any] = []
    mark = "o" if len(t) < 2 else ""
    for k, method in enumerate(one["method"].values):
        of = one.sel({"method": method})  # `method` is an argument of sel
        look: dict[str, Any] = {"color": COLOURS[1 + k % 6], "linestyle": DASHES[k % 7], "marker": mark}
        if not np.isfinite(of["mean"]).any():
            continue
        ax.plot(t, of["mean"], label=str(method), **look)
        bands.append((of["low"], of["high"], {"color": look["color"], "alpha": 0.2}))
        positive &= bool((of["mean"].fillna(1) > 0).all())
    if "floor" in one:
        ax.plot(t, one["floor"], color=GREY, linestyle="-", linewidth=0.8, marker=mark, label="independent draws")
        bands.append((one["floor_low"], one["floor_high"], {"color": GREY, "alpha": 0.15}))
        positive &= bool((one["floor"] > 0).all())
    if positive:
        ax.set_yscale("log")
        ax.set_ylim(*ax.get_ylim())  # bands that reach down to zero do not count
    for low, high, shade in bands:
        ax.fill_between(t, np.maximum(low, np.finfo(float).tiny) if positive else low, high, linewidth=0, **shade)
    units = str(one["metric_units"].values)
    words = str(one["metric_long_name"].values)
    ax.set(xlabel=label(one["t"]))
    title = words if units in ("1", "") else f"{words} ({units})"
    ax.set_title(textwrap.fill(title, int(LETTERS * width)), fontweight="normal")


@knows_its_arguments
def verdict(ds: xr.Dataset) -> Figure:
    """Draw deviations of a sampler from its reference, as `validate` finds them: a row per statistic, a mark per time.

    Bars are simultaneous intervals, the grey ones behind them the margins; rows that deviate by more are red. Dashed
    lines are deviations worth finding, `effect` of `validate`.

    Parameters
    ----------
    ds : Dataset
        Of `validate`.

    Returns
    -------
    matplotlib.figure.Figure
        A new one, titled by the verdict.

    Raises
    ------
    TypeError, ValueError
        If it is no such Dataset.

    Examples
    --------
    MALA, from draws of its equilibrium, stays in it:

    >>> import wfr_pde as wfr
    >>> target = wfr.Gaussian(0, 1)
    >>> density = wfr.Grid.covering(target, shape=48).density(target)
    >>> ds = wfr.validate(wfr.samplers.MALA(), density, target, start=target, t=[0, 1], dt=0.5, n=100, seeds=20)
    >>> wfr.plotting.verdict(ds).axes[0].get_title()
    'consistent'
    """
    dataset("ds", ds, ("statistic", "t", "margin", "score", "deviation"), "validate")
    names, times = ds["statistic"].values.tolist(), ds["t"].values
    spread = np.linspace(0.27, -0.27, len(times)) if len(times) > 1 else np.zeros(1)
    with style():
        figure = new_figure(COLUMN_WIDTH, 1.3 + 0.17 * len(names) + 0.05 * len(names) * len(times))
        ax = figure.subplots()
        for i, time in enumerate(times):
            one = ds.isel(t=i)
            rows = np.arange(len(names)) - spread[i]
            ax.barh(rows, 2 * one["margin"], left=-one["margin"], height=0.5 / len(times), color="0.85", zorder=1)
            bad = one["score"].values > 1
            for which, colour in ((~bad, COLOURS[0]), (bad, VERMILION)):
                centre = one["deviation"].values[which]
                ax.errorbar(
                    centre, rows[which], xerr=(one["high"] - one["low"]).values[which] / 2, color=colour,
                    linestyle="none", marker=MARKERS[i], markersize=3, elinewidth=0.8,
                )  # fmt: skip
            ax.plot([], [], color=COLOURS[0], linestyle="none", marker=MARKERS[i], label=f"t = {time:g}")
        for side in (-1, 1):
            ax.axvline(side * ds.attrs["effect"], color=GREY, linestyle="--", linewidth=0.8)
        ax.axvline(0, color=GREY, linestyle="-", linewidth=0.6)
        ax.set(ylim=(len(names) - 0.4, -0.6), xlabel="deviation (standard deviations of a draw)")
        ax.set_yticks(range(len(names)), names)
        ax.grid(axis="y", visible=False)
        ax.set_title(ds.attrs["verdict"], color=VERMILION if (ds["score"] > 1).any() else COLOURS[0])
        figure.legend(loc="outside lower center", ncols=min(len(times), 4))
    return figure


@knows_its_arguments
def budget(ds: xr.Dataset, statistic: str) -> Figure:
    """Draw the error of a sampler as waterfalls, as `error_budget` divides it: a panel per step and number.

    Every bar starts where the one before it ends; the last is the measured error, which their sum should meet. Whiskers
    are confidence intervals, the grey band that of a single run.

    Parameters
    ----------
    ds : Dataset
        Of `error_budget`.
    statistic : str
        Name of the statistic whose error it is.

    Returns
    -------
    matplotlib.figure.Figure
        A new one.

    Raises
    ------
    TypeError, ValueError
        If it is no such Dataset, or there is no statistic of that name.

    Examples
    --------
    Five parts, and the measured error:

    >>> import wfr_pde as wfr
    >>> target, start = wfr.Gaussian(0, 1), wfr.Gaussian(1, 1)
    >>> density = wfr.Grid.covering(target, start, shape=48).density(start)
    >>> flow = wfr.Strang(wfr.FisherRao(), wfr.LangevinKernel())
    >>> truth = wfr.solve(target, flow, density, t=[0, 0.5], dt=0.125)
    >>> sampler = wfr.Lie(wfr.samplers.Langevin(), wfr.samplers.BirthDeath(bandwidth=0.4))
    >>> ds = wfr.error_budget(sampler, truth, target, start=start, dt=0.25, n=50, seeds=4)
    >>> figure = wfr.plotting.budget(ds, "mean x")
    >>> figure.axes[0].get_ylabel(), len(figure.axes[0].get_xticks())
    ('error of mean x', 6)
    """
    dataset("ds", ds, ("statistic", "part", "measured", "noise"), "error_budget")
    choice("statistic", statistic, ds["statistic"].values.tolist())
    one = ds.sel(statistic=statistic)
    rows, columns = one.sizes["dt"], one.sizes["n"]
    with style():
        figure = new_figure(COLUMN_WIDTH if columns == 1 else PAGE_WIDTH, 1.5 * rows + 1.1)
        panels = figure.subplots(rows, columns, squeeze=False, sharey="row", sharex=True)
        for i, j in np.ndindex(rows, columns):
            ax: Any = panels[i, j]
            cell = one.isel(dt=i, n=j)
            waterfall(cell, ax)
            ax.set_title(f"dt = {float(cell['dt']):g}, n = {int(cell['n'])}")
            if j == 0:
                ax.set_ylabel(f"error of {statistic}")
    return panel_letters(figure)


@knows_its_arguments
def waterfall(cell: xr.Dataset, ax: Axes) -> None:
    """Draw one panel of a `budget`: of one step, number of particles and statistic.

    Parameters
    ----------
    cell : Dataset
        Of `error_budget`, with one entry selected of `dt`, `n` and `statistic`.
    ax : matplotlib Axes
        Where to draw.

    Raises
    ------
    TypeError, ValueError
        If it is no such Dataset, or of more entries.

    Examples
    --------
    Five parts, and the measured error:

    >>> import wfr_pde as wfr
    >>> target, start = wfr.Gaussian(0, 1), wfr.Gaussian(1, 1)
    >>> density = wfr.Grid.covering(target, start, shape=48).density(start)
    >>> flow = wfr.Strang(wfr.FisherRao(), wfr.LangevinKernel())
    >>> truth = wfr.solve(target, flow, density, t=[0, 0.5], dt=0.125)
    >>> sampler = wfr.Lie(wfr.samplers.Langevin(), wfr.samplers.BirthDeath(bandwidth=0.4))
    >>> ds = wfr.error_budget(sampler, truth, target, start=start, dt=0.25, n=50, seeds=4)
    >>> axes = wfr.plotting.new_figure().subplots()
    >>> wfr.plotting.waterfall(ds.isel(dt=0, n=0).sel(statistic="mean x"), axes)
    >>> len(axes.get_xticks())
    6
    """
    dataset("cell", cell, ("parts", "part", "measured", "noise"), "error_budget")
    if cell["part"].ndim != 1:
        raise ValueError(f"cell must be of one dt, n and statistic, but has the dimensions {cell['part'].dims}")
    instance("ax", ax, Axes, "of matplotlib")
    names = [*map(str, cell["parts"].values), "measured"]
    parts = cell["part"].values
    ends = np.cumsum(parts)
    bottoms = np.append(ends - parts, 0.0)
    heights = np.append(parts, float(cell["measured"]))
    whiskers = np.append(cell["part_half_width"].values, float(cell["measured_half_width"]))
    colours = [*COLOURS[1 : 1 + len(parts)], COLOURS[0]]
    middle, noise = float(cell["measured"]), float(cell["noise"])
    ax.axhspan(middle - noise, middle + noise, color="0.93", zorder=0)
    ax.bar(range(len(names)), heights, 0.7, bottom=bottoms, color=colours, zorder=2)
    ax.errorbar(
        range(len(names)), bottoms + heights, yerr=whiskers, color=GREY, linestyle="none", elinewidth=1.0, capsize=2,
        zorder=3,
    )  # fmt: skip
    for k, end in enumerate(ends):
        ax.plot([k, k + 1], [end, end], color=GREY, linestyle="-", linewidth=0.6, zorder=1)
    ax.axhline(0, color=COLOURS[0], linestyle="-", linewidth=0.6)
    ax.set_xticks(range(len(names)), names, rotation=40, ha="right")
    ax.grid(axis="x", visible=False)
