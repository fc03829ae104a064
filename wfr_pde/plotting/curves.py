"""Curves: records over time, and errors against a knob."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from wfr_pde.plotting.sheet import GREY, MARKERS, axes_or_new, figure_of, label, style


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
        ax = axes_or_new(ax)
        for curve, named in curves:
            ax.plot(curve["t"], curve, **{**named, **line})
        ax.set(xlabel=label(variable["t"]), ylabel=label(variable))
        if other:
            ax.legend()
    return figure_of(ax)


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
        ax = axes_or_new(ax)
        for k, (curve, name, order) in enumerate(zip(curves, words, orders, strict=True)):
            text = f"{name}: {order:.2f}" if name else f"order {order:.2f}"
            ax.loglog(values, curve, linestyle="-", linewidth=1, marker=MARKERS[k % len(MARKERS)], label=text)
        _reference_slopes(ax, values, curves, orders)
        ax.set(xlabel=label(table[knob]), ylabel=label(error))
        ax.xaxis.set(major_locator=LogLocator(subs=(1, 2, 5)), major_formatter="{x:g}", minor_formatter=NullFormatter())
        ax.legend(title="observed order" if any(words) else None, loc="lower right", labelspacing=0.25)
        low, high = (np.log(bound) for bound in ax.get_ylim())
        ax.set_ylim(bottom=np.exp(low - 0.03 * (len(curves) + 1) * (high - low)))  # room for the legend
    return figure_of(ax)


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
