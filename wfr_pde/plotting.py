"""Figures of stored data: every function takes a Dataset, as `solve` returns it, and returns a matplotlib Figure.

Give `ax` to draw into a figure of your own, made inside ``with plotting.style():``; without it a figure as wide as
a column is made. Labels come from the attributes `long_name` and `units`. Nothing here uses pyplot.

    with plotting.style():
        figure = plotting.new_figure(plotting.PAGE_WIDTH, 2.5)
        left, right = figure.subplots(1, 2)
        plotting.density_contours(ds, t=1.0, target=target, ax=left)
        plotting.record(ds["kl"], ax=right).savefig("figure.pdf")
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import matplotlib
import numpy as np
import xarray as xr
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from numpy.typing import ArrayLike

from wfr_pde.targets.base import Target

COLUMN_WIDTH = 3.4  # inches: one of two columns
PAGE_WIDTH = 7.0  # both

# Colours of Okabe and Ito (2008), for every kind of colour vision, from dark to light in grey; as that alone does
# not tell neighbours apart in print, dashes go with them.
BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"
COLOURS = ("#000000", BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY)
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 0.7)), (0, (7, 2)))
MARKERS = ("o", "s", "^", "v", "D", "P", "X")
GREY = "0.45"

STYLE: dict[str, Any] = {
    "axes.grid": True,
    "axes.labelsize": 8,
    "axes.linewidth": 0.6,
    "axes.prop_cycle": cycler(color=COLOURS, linestyle=DASHES),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 8.5,
    "axes.titleweight": "bold",
    "figure.dpi": 150,
    "figure.facecolor": "white",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib: the same picture on every machine
    "font.size": 8,
    "grid.color": "0.9",
    "grid.linewidth": 0.5,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "lines.markersize": 3.5,
    "mathtext.fontset": "dejavusans",
    "pdf.fonttype": 42,
    "xtick.labelsize": 7.5,
    "xtick.major.width": 0.6,
    "ytick.labelsize": 7.5,
    "ytick.major.width": 0.6,
}

LONGEST_BOX = 10  # widths: a longer one is not drawn to scale
CONTOUR_MASSES = (0.99, 0.9, 0.75, 0.5, 0.25)  # contours enclose these shares of the mass
SYMBOLS = {"alpha": "α", "beta": "β", "lambda": "λ", "mu": "μ", "pi": "π"}


def style() -> AbstractContextManager[None]:
    """The style sheet, for a ``with`` block: paper widths, colours safe for every kind of colour vision."""
    parameters: Any = STYLE
    return matplotlib.rc_context(parameters)


def new_figure(width: float = COLUMN_WIDTH, height: float | None = None) -> Figure:
    """An empty figure of a size in inches, laid out so that nothing overlaps; the height is 0.72 widths by default."""
    return Figure(figsize=(width, 0.72 * width if height is None else height), layout="constrained")


def label(variable: xr.DataArray) -> str:
    """Axis label of a variable: its `long_name`, or name, and its `units` unless they are "1"."""
    words = str(variable.attrs.get("long_name", variable.name or ""))
    words = re.sub(rf"\b({'|'.join(SYMBOLS)})\b", lambda found: SYMBOLS[found[0]], words)
    units = str(variable.attrs.get("units", "1"))
    return words if units in ("1", "") else f"{words} ({units})"


def density_image(ds: xr.Dataset | xr.DataArray, ax: Axes | None = None) -> Figure:
    """Space-time image of a density in one dimension: time to the right, darker is denser.

    Parameters
    ----------
    ds : Dataset with `log_density` (t, x), or that variable
    ax : matplotlib Axes, optional
    """
    log_density = _log_density(ds, ndim=1)
    time, space = log_density.dims
    with style():
        ax = _axes(ax)
        density = np.exp(log_density.transpose(space, time))
        stored = ds.get(f"cell_edge_{space}") if isinstance(ds, xr.Dataset) else None
        edges = _edges(log_density[space].values) if stored is None else stored.values
        times = _edges(log_density[time].values)
        image = ax.pcolormesh(times, edges, density, cmap=_colours(BLUE), vmin=0, shading="flat", rasterized=True)
        ax.grid(False)
        ax.set(xlabel=label(log_density[time]), ylabel=label(log_density[space]))
        ax.figure.colorbar(image, ax=ax, label="density", pad=0.02)
    return _figure(ax)


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
    log_density = _log_density(ds, ndim=1)
    time, space = log_density.dims
    stored = log_density[time].values
    wanted = (
        stored[np.linspace(0, len(stored) - 1, 6).astype(int)] if times is None else np.atleast_1d(np.asarray(times))
    )
    frames = np.unique([np.abs(stored - t).argmin() for t in wanted])
    x, density = log_density[space].values, np.exp(log_density.values[frames])
    offset = 0.45 * density.max()
    goal = None if target is None else np.exp(_log_target(log_density[0], target).values)
    with style():
        ax = _axes(ax)
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
    return _figure(ax)


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
    log_density = _log_density(ds, ndim=2)
    if log_density.ndim == 3:
        time = log_density.dims[0]
        log_density = log_density.isel({time: -1}) if t is None else log_density.sel({time: t}, method="nearest")
    names = log_density.dims
    x, y = (log_density[name].values for name in names)
    with style():
        ax = _axes(ax)
        density, levels = _relative(log_density), _levels(log_density, CONTOUR_MASSES)
        shades = _colours(colour)(np.linspace(0.12, 0.95, len(levels)))
        ax.contourf(x, y, density.T, [*levels, 1.1], colors=shades)
        if target is not None:
            log_target = _log_target(log_density, target) if isinstance(target, Target) else target
            goal = _relative(log_target.transpose(*names))
            levels = _levels(log_target.transpose(*names), (0.99, 0.9, 0.5))
            ax.contour(x, y, goal.T, levels, colors="black", linewidths=0.6, linestyles="solid")
        ax.grid(False)
        longest, shortest = max(np.ptp(x), np.ptp(y)), min(np.ptp(x), np.ptp(y))
        aspect = "equal" if longest < LONGEST_BOX * shortest else "auto"
        ax.set(xlabel=label(log_density[names[0]]), ylabel=label(log_density[names[1]]), aspect=aspect)
    return _figure(ax)


def record(variable: xr.DataArray, ax: Axes | None = None, **line: Any) -> Figure:
    """A record against time; of a record with one more dimension, a line for each entry, named in the legend.

    Parameters
    ----------
    variable : DataArray
        With the dimension `t`, as ``ds["kl"]``.
    ax : matplotlib Axes, optional
    **line
        Passed to matplotlib's plot: color, label, ...
    """
    if "t" not in variable.dims or variable.ndim > 2:
        raise ValueError(
            f"{variable.name!r} has the dimensions {variable.dims}: a record has t and at most one more; "
            "choose the others with .sel(...)"
        )
    curves: Iterable[tuple[xr.DataArray, dict[str, Any]]] = [(variable, {})]
    other = [dim for dim in variable.dims if dim != "t"]
    if other:
        entries = variable[other[0]].values
        curves = [(variable.isel({other[0]: k}), {"label": str(entry)}) for k, entry in enumerate(entries)]
    with style():
        ax = _axes(ax)
        for curve, named in curves:
            ax.plot(curve["t"], curve, **{**named, **line})
        ax.set(xlabel=label(variable["t"]), ylabel=label(variable))
        if other:
            ax.legend()
    return _figure(ax)


def convergence(
    table: xr.Dataset, ax: Axes | None = None, *, names: Sequence[str] | None = None, fit: slice | None = None
) -> Figure:
    """Errors against a knob, with the observed orders in the legend and a line of every whole order beside.

    Parameters
    ----------
    table : Dataset
        Of `convergence_table`, or several joined along a first dimension: `error` (knob) or (scheme, knob). A
        variable `eoc` (scheme) holds the orders; without it they are fitted.
    ax : matplotlib Axes, optional
    names : sequence of str, optional
        Names of the curves; by default the coordinate of the first dimension.
    fit : slice, optional
        Range of the knob for fitted orders, as in ``table.sel(dt=fit)``: all by default.
    """
    error = table["error"]
    knob = str(error.dims[-1])
    curves = error.values.reshape(-1, error.sizes[knob])
    words = (
        [str(name) for name in (error[error.dims[0]].values if error.ndim > 1 else [""])] if names is None else names
    )
    values = table[knob].values.astype(float)
    orders = np.atleast_1d(table["eoc"].values) if "eoc" in table else fitted_orders(table, fit)
    with style():
        ax = _axes(ax)
        for k, (curve, name, order) in enumerate(zip(curves, words, orders, strict=True)):
            text = f"{name}: {order:.2f}" if name else f"order {order:.2f}"
            ax.loglog(values, curve, linestyle="-", linewidth=1, marker=MARKERS[k % len(MARKERS)], label=text)
        _reference_slopes(ax, values, curves, orders)
        ax.set(xlabel=label(table[knob]), ylabel=label(error))
        ax.xaxis.set(major_locator=LogLocator(subs=(1, 2, 5)), major_formatter="{x:g}", minor_formatter=NullFormatter())
        ax.legend(title="observed order" if any(words) else None, loc="lower right", labelspacing=0.25)
        low, high = (np.log(bound) for bound in ax.get_ylim())
        ax.set_ylim(bottom=np.exp(low - 0.03 * (len(curves) + 1) * (high - low)))  # room for the legend
    return _figure(ax)


def comparison(ds: xr.Dataset, metrics: Sequence[str] | None = None, n: int | None = None) -> Figure:
    """Metrics of samplers over time, as `compare` returns them, above the floor of independent draws.

    One panel per metric: means over the seeds with confidence bands, and in grey what as many independent draws from
    the truth would have, mean and spread.

    Parameters
    ----------
    ds : Dataset of `compare`
    metrics : sequence of str, optional
        Names of the metrics to draw; by default all.
    n : int, optional
        Number of particles; by default the largest.
    """
    names = [str(name) for name in ds["metric"].values] if metrics is None else list(metrics)
    chosen = ds.sel(n=ds["n"].values.max() if n is None else n)
    columns = {1: 1, 2: 2, 4: 2}.get(len(names), 3)
    rows = -(-len(names) // columns)
    with style():
        figure = new_figure(COLUMN_WIDTH if columns == 1 else PAGE_WIDTH, 2.2 * rows + 0.5)
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for ax, name in zip(panels, names, strict=False):
            _compared(ax, chosen.sel(metric=name))
        for ax in panels[len(names) :]:
            ax.set_visible(False)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=min(len(labels), 4))
    return figure


def _compared(ax: Axes, one: xr.Dataset) -> None:
    """One metric over time."""
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
    ax.set_title(words if units in ("1", "") else f"{words} ({units})", fontweight="normal")


def verdict(ds: xr.Dataset) -> Figure:
    """Deviations of a sampler from its reference, as `validate` returns them: a row per statistic, a mark per time.

    Bars are simultaneous intervals, the grey ones behind them the margins; rows that deviate by more are red.

    Parameters
    ----------
    ds : Dataset of `validate`
    """
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


def budget(ds: xr.Dataset, statistic: str) -> Figure:
    """Waterfall of the error of a sampler, as `error_budget` returns it: a panel per step and number of particles.

    Every bar starts where the one before it ends; the last is the measured error, which their sum should meet. Whiskers
    are confidence intervals, the grey band that of a single run.

    Parameters
    ----------
    ds : Dataset of `error_budget`
    statistic : str
        Which one.

    Raises
    ------
    ValueError
        If there is none of that name.
    """
    if statistic not in ds["statistic"].values:
        known = ", ".join(map(str, ds["statistic"].values))
        raise ValueError(f"the budget has the statistics {known}, not {statistic!r}")
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
    return figure


def waterfall(cell: xr.Dataset, ax: Axes) -> None:
    """One panel of a `budget`: of one step, number of particles and statistic."""
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


def fitted_orders(table: xr.Dataset, fit: slice | None = None, floor: float = 0.0) -> np.ndarray:
    """Orders by least squares of log error against log knob, over the errors above `floor`; NaN for fewer than two.

    Parameters
    ----------
    table : Dataset
        As for `convergence`.
    fit : slice, optional
        Range of the knob.
    floor : float
        Rounding: smaller errors are left out.
    """
    error = table["error"] if fit is None else table["error"].sel({table["error"].dims[-1]: fit})
    h = error[error.dims[-1]].values.astype(float)
    orders = []
    for curve in error.values.reshape(-1, len(h)):
        good = np.isfinite(curve) & (curve > floor)
        slope = np.polyfit(np.log(h[good]), np.log(curve[good]), 1)[0] if good.sum() > 1 else np.nan
        orders.append(abs(slope))  # an error falls with dt, and with the number of cells
    return np.array(orders)


def _reference_slopes(ax: Axes, values: np.ndarray, curves: np.ndarray, orders: np.ndarray) -> None:
    """A thin line of every whole order, just below the first curve that has it."""
    sign = 1 if values[0] > values[-1] else -1  # dt falls towards the finest, a number of cells rises
    drawn: set[int] = set()
    low, high = np.nanmin(curves[curves > 0]), np.nanmax(curves)
    for curve, order in zip(curves, orders, strict=True):
        good = np.isfinite(curve) & (curve > 0)
        if not np.isfinite(order) or round(order) in drawn or not good.any():
            continue
        drawn.add(round(order))
        anchor = np.flatnonzero(good)[-2:][0]  # the finest may be rounding
        line = curve[anchor] * (values / values[anchor]) ** (sign * round(order))
        line[(line < low / 2) | (line > 2 * high)] = np.nan
        ax.loglog(values, 0.5 * line, color=GREY, linestyle="-", linewidth=0.5, zorder=1)


def _axes(ax: Axes | None) -> Axes:
    return new_figure().subplots() if ax is None else ax


def _figure(ax: Axes) -> Figure:
    return ax.figure.figure  # through a sub-figure, if it is in one


def _log_density(ds: xr.Dataset | xr.DataArray, ndim: int) -> xr.DataArray:
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


def _log_target(frame: xr.DataArray, target: Target) -> xr.DataArray:
    """Log-density of the target where `frame` has its values, normalised there."""
    names = frame.dims
    points = np.stack(np.meshgrid(*(frame[name].values for name in names), indexing="ij"), axis=-1)
    values = target.log_density(points)
    values = values - values.max()
    return frame.copy(data=values - np.log(np.sum(np.exp(values) * _cell_volumes(frame))))


def _cell_volumes(frame: xr.DataArray) -> np.ndarray:
    """Volumes of the cells: those stored, or from the distances of their centres."""
    volumes = np.ones(())
    for name in frame.dims:
        stored = frame.coords.get(f"cell_width_{name}")
        volumes = volumes[..., None] * (np.gradient(frame[name].values) if stored is None else stored.values)
    return volumes


def _edges(centres: np.ndarray) -> np.ndarray:
    """Edges half way between centres, and as far outside the first and last."""
    if len(centres) == 1:
        return np.array([centres[0] - 0.5, centres[0] + 0.5])
    middles = 0.5 * (centres[1:] + centres[:-1])
    return np.concatenate([[2 * centres[0] - middles[0]], middles, [2 * centres[-1] - middles[-1]]])


def _relative(log_density: xr.DataArray) -> np.ndarray:
    """The density divided by its largest value."""
    return np.exp(log_density.values - log_density.values.max())


def _levels(log_density: xr.DataArray, masses: Sequence[float]) -> list[float]:
    """Values of the relative density whose contours enclose the given shares of the mass, rising."""
    density = _relative(log_density).ravel()
    mass = density * np.broadcast_to(_cell_volumes(log_density), log_density.shape).ravel()
    order = np.argsort(density)[::-1]
    enclosed = np.cumsum(mass[order]) / mass.sum()
    # interpolated, so that few cells do not make steps; strictly rising, as matplotlib wants it
    levels = np.interp(masses, enclosed, density[order])
    return [float(level) + 1e-12 * k for k, level in enumerate(levels)]


def _colours(dark: str) -> LinearSegmentedColormap:
    """White to a colour, then somewhat darker: even steps in grey too."""
    red, green, blue = to_rgb(dark)
    return LinearSegmentedColormap.from_list(
        "shades", [(1, 1, 1), (red, green, blue), (0.55 * red, 0.55 * green, 0.55 * blue)]
    )
