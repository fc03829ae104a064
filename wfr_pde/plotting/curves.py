"""Curves: records over time, and errors against a knob."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from wfr_pde.numerics.arguments import flag, instance, knows_its_arguments, not_negative, number, share, shown, text
from wfr_pde.plotting.data import dataset
from wfr_pde.plotting.style import GREY, MARKERS, axes_or_new, figure_of, label, style


def record(variable: xr.DataArray, ax: Axes | None = None, **line: Any) -> Figure:
    """Draw a record against time; of one with a further dimension, a line for each entry, named in the legend.

    Parameters
    ----------
    variable : DataArray
        With the dimension `t`, as ``ds["kl"]``.
    ax : matplotlib Axes, optional
        Where to draw; by default in a new figure.
    **line
        Passed to matplotlib's plot: color, label, ...

    Returns
    -------
    matplotlib.figure.Figure
        That of `ax`, or a new one.

    Raises
    ------
    TypeError, ValueError
        If it is no DataArray, or has other dimensions.

    Examples
    --------
    >>> import wfr_pde as wfr
    >>> target, start = wfr.Gaussian(0, 1), wfr.Gaussian(1, 1)
    >>> start = wfr.Grid.covering(target, start, shape=32).density(start)
    >>> ds = wfr.solve(target, wfr.FisherRao(), start, t=[0, 0.5, 1], dt=0.5, record=[wfr.KL(target)])
    >>> figure = wfr.plotting.record(ds["kl"])
    >>> figure.axes[0].get_ylabel(), round(float(figure.axes[0].lines[0].get_ydata()[0]), 3)
    ('KL(μ|π) (nats)', 0.5)
    """
    instance("variable", variable, xr.DataArray, "such as ds['kl']")
    if "t" not in variable.dims or variable.ndim > 2:
        raise ValueError(
            f"variable {variable.name!r} has the dimensions {variable.dims}: a record has t and at most one more; "
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


@knows_its_arguments
def seed_band(
    variable: xr.DataArray, ax: Axes | None = None, *, confidence: float = 0.95, spread: bool = False, log: bool = False
) -> Figure:
    """Draw a record of several runs against time: the mean over the seeds, in a band.

    The band is Student's confidence interval of the mean, or with `spread` holds that share of the runs. Of a record
    with one more dimension a line is drawn for each entry, named in the legend. Missing runs are NaN.

    Parameters
    ----------
    variable : DataArray
        With the dimensions `t` and `seed`, and at most one more.
    ax : matplotlib Axes, optional
        Where to draw; by default in a new figure.
    confidence : float
        Share that the band holds.
    spread : bool
        Whether the band is that of the runs instead of their mean's.
    log : bool
        Whether the scale is logarithmic. Its limits are those of the means: bands may reach down to zero.

    Returns
    -------
    matplotlib.figure.Figure
        That of `ax`, or a new one.

    Raises
    ------
    ValueError
        If the dimensions are others, or the share is none.

    Examples
    --------
    Of three runs the line is the mean, from 2 down to 1:

    >>> import xarray as xr
    >>> import wfr_pde as wfr
    >>> runs = xr.DataArray([[1.0, 0.5], [2.0, 1.0], [3.0, 1.5]], dims=("seed", "t"), coords={"t": [0.0, 1.0]})
    >>> figure = wfr.plotting.seed_band(runs)
    >>> figure.axes[0].lines[0].get_ydata().tolist()
    [2.0, 1.0]
    """
    share("confidence", confidence, "the share that the band holds, such as 0.95")
    flag("spread", spread)
    flag("log", log)
    instance("variable", variable, xr.DataArray, "of several runs")
    if not {"t", "seed"} <= set(variable.dims) or variable.ndim > 3:
        raise ValueError(
            f"variable {variable.name!r} has the dimensions {variable.dims}: it must have t and seed and at most one "
            'more; stack runs by xr.concat(runs, "seed"), choose the others with .sel(...)'
        )
    other = [str(dim) for dim in variable.dims if dim not in ("t", "seed")]
    entries: list[tuple[dict[str, Any], dict[str, int]]] = [({}, {})]
    if other:
        entries = [({"label": str(entry)}, {other[0]: k}) for k, entry in enumerate(variable[other[0]].values)]
    with style():
        ax = axes_or_new(ax)
        curves = []
        for named, index in entries:
            values = variable.isel(index).transpose("seed", "t").values
            mean = _mean(values)
            (line,) = ax.plot(variable["t"], mean, **named)
            curves.append((line.get_color(), *_band(values, mean, confidence, spread)))
        _shade(ax, variable["t"].values, curves, log)
        ax.set(xlabel=label(variable["t"]), ylabel=label(variable))
        if other:
            ax.legend()
    return figure_of(ax)


def error_band(
    ds: xr.Dataset,
    name: str = "kl",
    bound: str | None = None,
    ax: Axes | None = None,
    *,
    log: bool = False,
    **line: Any,
) -> Figure:
    """Draw a record of a certified solution against time, in the band that the bound of its error leaves.

    Parameters
    ----------
    ds : Dataset
        Of `ground_truth`, or another with a record and a bound of its error.
    name : str
        Name of the record.
    bound : str, optional
        Name of the bound; by default ``error_<name>``. A record that is an L1 distance has "error_l1".
    ax : matplotlib Axes, optional
        Where to draw; by default in a new figure.
    log : bool
        Whether the scale is logarithmic: where the record is below its bound, the band reaches down to the axis.
    **line
        Passed to matplotlib's plot: color, label, ...

    Returns
    -------
    matplotlib.figure.Figure
        That of `ax`, or a new one.

    Raises
    ------
    ValueError
        If there is no such record over `t`, or no such bound.

    Examples
    --------
    KL falls from 2 to 1, each known to 0.1: the band ends at 0.9.

    >>> import xarray as xr
    >>> import wfr_pde as wfr
    >>> ds = xr.Dataset({"kl": ("t", [2.0, 1.0]), "error_kl": ("t", [0.1, 0.1])}, coords={"t": [0.0, 1.0]})
    >>> figure = wfr.plotting.error_band(ds, "kl")
    >>> round(float(figure.axes[0].collections[0].get_paths()[0].vertices[:, 1].min()), 6)
    0.9
    """
    instance("ds", ds, xr.Dataset, "of ground_truth, and the record by its name, as in error_band(ds, 'kl')")
    text("name", name)
    flag("log", log)
    bound = f"error_{name}" if bound is None else text("bound", bound)
    records = [str(key) for key, variable in ds.data_vars.items() if variable.dims == ("t",)]
    for argument, wanted, what in (("name", name, "record"), ("bound", bound, "bound")):
        if wanted not in records:
            raise ValueError(
                f"{argument}: there is no {what} {shown(wanted)} over t: the Dataset has {', '.join(records) or 'none'}"
            )
    low, high = ds[name] - ds[bound], ds[name] + ds[bound]
    with style():
        ax = axes_or_new(ax)
        record(ds[name], ax, **line)
        _shade(ax, ds["t"].values, [(ax.lines[-1].get_color(), low.values, high.values)], log)
    return figure_of(ax)


@knows_its_arguments
def convergence(
    table: xr.Dataset, ax: Axes | None = None, *, names: Sequence[str] | None = None, fit: slice | None = None
) -> Figure:
    """Draw errors against a knob, with the observed orders in the legend and a line of every whole order beside.

    Parameters
    ----------
    table : Dataset
        Of `convergence_table`, or several joined along a first dimension: `error` (knob) or (scheme, knob). A
        variable `eoc` (scheme) holds the orders; without it they are fitted.
    ax : matplotlib Axes, optional
        Where to draw; by default in a new figure.
    names : sequence of str, optional
        Names of the curves; by default the coordinate of the first dimension.
    fit : slice, optional
        Range of the knob for fitted orders, as in ``table.sel(dt=fit)``: all by default.

    Returns
    -------
    matplotlib.figure.Figure
        That of `ax`, or a new one.

    Raises
    ------
    TypeError, ValueError
        If it is no such table, or the names do not fit.

    Examples
    --------
    Errors that are dt² have the order 2:

    >>> import xarray as xr
    >>> import wfr_pde as wfr
    >>> table = xr.Dataset({"error": ("dt", [0.16, 0.04, 0.01])}, coords={"dt": [0.4, 0.2, 0.1]})
    >>> figure = wfr.plotting.convergence(table)
    >>> figure.axes[0].get_legend().get_texts()[0].get_text()
    'order 2.00'
    """
    dataset("table", table, ("error",), "convergence_table")
    error = table["error"]
    knob = str(error.dims[-1])
    curves = error.values.reshape(-1, error.sizes[knob])
    words = [str(name) for name in (error[error.dims[0]].values if error.ndim > 1 else [""])]
    if names is not None:
        words = [text("names", name) for name in (names if isinstance(names, Sequence) else [names])]
        if isinstance(names, str) or len(words) != len(curves):
            raise ValueError(f"names must be a list of {len(curves)} names, one per curve, got {shown(names)}")
    values = table[knob].values.astype(float)
    orders = np.atleast_1d(table["eoc"].values) if "eoc" in table else fitted_orders(table, fit)
    with style():
        ax = axes_or_new(ax)
        for k, (curve, name, order) in enumerate(zip(curves, words, orders, strict=True)):
            legend = f"{name}: {order:.2f}" if name else f"order {order:.2f}"
            ax.loglog(values, curve, linestyle="-", linewidth=1, marker=MARKERS[k % len(MARKERS)], label=legend)
        _reference_slopes(ax, values, curves, orders)
        ax.set(xlabel=label(table[knob]), ylabel=label(error))
        ax.xaxis.set(major_locator=LogLocator(subs=(1, 2, 5)), major_formatter="{x:g}", minor_formatter=NullFormatter())
        ax.legend(title="observed order" if any(words) else None, loc="lower right", labelspacing=0.25)
        low, high = (np.log(bound) for bound in ax.get_ylim())
        ax.set_ylim(bottom=np.exp(low - 0.03 * (len(curves) + 1) * (high - low)))  # room for the legend
    return figure_of(ax)


@knows_its_arguments
def fitted_orders(table: xr.Dataset, fit: slice | None = None, floor: float = 0.0) -> np.ndarray:
    """Fit orders by least squares of log error against log knob, over the errors above `floor`.

    Parameters
    ----------
    table : Dataset
        As for `convergence`.
    fit : slice, optional
        Range of the knob; all by default.
    floor : float
        Rounding: smaller errors are left out.

    Returns
    -------
    array (scheme,)
        Orders; NaN where fewer than two errors are left.

    Raises
    ------
    TypeError, ValueError
        If it is no such table, or `fit` holds no value of the knob.

    Examples
    --------
    Errors that are dt² have the order 2:

    >>> import xarray as xr
    >>> import wfr_pde as wfr
    >>> table = xr.Dataset({"error": ("dt", [0.16, 0.04, 0.01])}, coords={"dt": [0.4, 0.2, 0.1]})
    >>> wfr.plotting.fitted_orders(table).round(6).tolist()
    [2.0]
    """
    dataset("table", table, ("error",), "convergence_table")
    floor = not_negative("floor", floor, "the rounding below which errors are left out")
    error = table["error"]
    if fit is not None:
        instance("fit", fit, slice, "such as slice(0.1, 0.01)")
        ends = [None if end is None else number("fit", end) for end in (fit.start, fit.stop)]
        error = error.sel({error.dims[-1]: slice(*ends)})
        if error.sizes[error.dims[-1]] == 0:
            raise ValueError(f"fit={shown(fit)} holds no value of {error.dims[-1]}: it goes from coarse to fine")
    h = error[error.dims[-1]].values.astype(float)
    orders = []
    for curve in error.values.reshape(-1, len(h)):
        good = np.isfinite(curve) & (curve > floor)
        slope = np.polyfit(np.log(h[good]), np.log(curve[good]), 1)[0] if good.sum() > 1 else np.nan
        orders.append(abs(slope))  # an error falls with dt, and with the number of cells
    return np.array(orders)


def _reference_slopes(ax: Axes, values: np.ndarray, curves: np.ndarray, orders: np.ndarray) -> None:
    """Draw a thin line of every whole order, just below the first curve that has it."""
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


def _mean(values: np.ndarray) -> np.ndarray:
    """Average over the first axis what is not NaN; NaN where all is."""
    count = np.isfinite(values).sum(axis=0)
    return np.where(count > 0, np.nansum(values, axis=0) / np.maximum(count, 1), np.nan)


def _band(values: np.ndarray, mean: np.ndarray, confidence: float, spread: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of the band of some runs (seed, t); NaN for fewer than two."""
    count = np.isfinite(values).sum(axis=0)
    low, high = np.full_like(mean, np.nan), np.full_like(mean, np.nan)
    several = count > 1
    if spread:
        tail = (1 - confidence) / 2
        low[several], high[several] = np.nanquantile(values[:, several], [tail, 1 - tail], axis=0)
        return low, high
    from scipy.stats import t as student

    n = count[several]
    half = student.ppf((1 + confidence) / 2, n - 1) * np.nanstd(values[:, several], axis=0, ddof=1) / np.sqrt(n)
    low[several], high[several] = mean[several] - half, mean[several] + half
    return low, high


def _shade(ax: Axes, t: np.ndarray, bands: Sequence[tuple[Any, np.ndarray, np.ndarray]], log: bool) -> None:
    """Draw bands in the colours of their lines; on a logarithmic scale they do not change its limits."""
    if log:
        ax.set_yscale("log")
        ax.set_ylim(*ax.get_ylim())
    for colour, low, high in bands:
        bottom = np.maximum(low, np.finfo(float).tiny) if log else low
        ax.fill_between(t, bottom, high, color=colour, alpha=0.2, linewidth=0)
