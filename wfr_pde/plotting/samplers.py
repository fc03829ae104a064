"""Samplers: their particles, and their errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from wfr_pde.plotting.sheet import (
    COLOURS,
    COLUMN_WIDTH,
    DASHES,
    GREY,
    MARKERS,
    PAGE_WIDTH,
    VERMILION,
    label,
    new_figure,
    style,
)


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
