"""Tables of what `compare`, `validate`, `error_budget` and `convergence_table` return: pandas, LaTeX, or text.

- `to_dataframe`: every number in full, a row per method, statistic or step, for programs.
- `to_text`, `to_latex`: for eyes. A number has the digits that its interval supports: the last two of half its width.

Select what a table is to show as of any Dataset: ``tables.to_latex(errors.isel(t=-1))`` is the last time alone, and
what is selected away has no column.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from wfr_pde.metrics.latex import refuse_broken, tabular
from wfr_pde.metrics.numerals import Cell, numerals, plain
from wfr_pde.numerics.arguments import instance, knows_its_arguments, text

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

__all__ = ["to_dataframe", "to_latex", "to_text"]

# function: variables that tell its result, its dimensions, and the columns of its numbers
KINDS = {
    "compare": (
        ("mean", "low", "high", "metric"),
        ("method", "n", "t", "metric"),
        ("mean", "low", "high", "floor", "floor_low", "floor_high", "equivalent_draws"),
    ),
    "validate": (
        ("deviation", "margin", "score", "statistic"),
        ("t", "statistic"),
        ("reference", "mean", "deviation", "low", "high", "margin", "resolution", "score"),
    ),
    "error_budget": (
        ("part", "part_half_width", "measured", "parts"),
        ("dt", "n", "statistic"),
        ("sum", "sum_half_width", "measured", "measured_half_width", "noise"),
    ),
    "convergence_table": (("error", "order"), (), ("error", "order", "wall_time")),
}


@knows_its_arguments
def to_dataframe(ds: xr.Dataset) -> pd.DataFrame:
    """Return the numbers of a comparison, verdict, budget or table of convergence as a table of pandas.

    Parameters
    ----------
    ds : Dataset
        Of `compare`, `validate`, `error_budget` or `convergence_table`, or a selection of one.

    Returns
    -------
    pandas.DataFrame
        A row per method, number, time and metric; per time and statistic; per step, number and statistic, with a column
        for each part and for half the width of its interval; or per value of the knob. Rows without a run are left out.

    Raises
    ------
    TypeError, ValueError
        If it is no such Dataset.

    Examples
    --------
    Errors that fall as dt² have the order 2 in every row but the first:

    >>> import wfr_pde as wfr
    >>> target = wfr.Gaussian(0, 1)
    >>> grid = wfr.Grid.covering(target, wfr.Gaussian(1, 1), shape=64)
    >>> table = wfr.convergence_table(
    ...     lambda dt: grid.density(wfr.Gaussian(dt**2, 1)), "dt", [0.4, 0.2, 0.1], reference=grid.density(target)
    ... )
    >>> [round(float(order), 1) for order in wfr.tables.to_dataframe(table)["order"][1:]]
    [2.0, 2.0]
    """
    kind = _kind(ds)
    dims, columns = _dims(ds, kind), KINDS[kind][2]
    whole = ds.expand_dims([dim for dim in dims if dim not in ds.dims])
    chosen = whole[[name for name in columns if name in whole]].reset_coords(drop=True)
    if kind == "error_budget":
        for part in map(str, whole["parts"].values):
            one = whole.sel(parts=part, drop=True)
            chosen = chosen.assign({part: one["part"], f"{part}_half_width": one["part_half_width"]})
        parts = [f"{part}{end}" for part in map(str, whole["parts"].values) for end in ("", "_half_width")]
        chosen = chosen[[*parts, *columns]]
    table = chosen.to_dataframe(dim_order=list(dims)).reset_index()
    return table.dropna(subset=["mean"], ignore_index=True) if kind == "compare" else table


@knows_its_arguments
def to_text(ds: xr.Dataset) -> str:
    """Return a table as lines of text, in aligned columns.

    Parameters
    ----------
    ds : Dataset
        Of `compare`, `validate`, `error_budget` or `convergence_table`, or a selection of one.

    Returns
    -------
    str
        Lines: the names of the columns, then a row each.

    Raises
    ------
    TypeError, ValueError
        If it is no such Dataset.

    Examples
    --------
    A shift by dt² has an error of the order 2; its time is left out:

    >>> import wfr_pde as wfr
    >>> target = wfr.Gaussian(0, 1)
    >>> grid = wfr.Grid.covering(target, wfr.Gaussian(1, 1), shape=64)
    >>> table = wfr.convergence_table(
    ...     lambda dt: grid.density(wfr.Gaussian(dt**2, 1)), "dt", [0.4, 0.2, 0.1], reference=grid.density(target)
    ... )
    >>> print(wfr.tables.to_text(table.drop_vars("wall_time")))
     dt     error  order
    0.4  1.28e-01      -
    0.2  3.20e-02   2.00
    0.1  8.00e-03   2.00
    """
    return aligned(table_rows(ds))


def aligned(rows: Sequence[Sequence[Cell]]) -> str:
    """Return rows of cells, the first of them the head, as lines of text: words to the left, numbers to the right."""
    texts = [[" to ".join(cell) if isinstance(cell, tuple) else cell for cell in row] for row in rows]
    columns = [[one or "-" for one in column] for column in zip(*texts, strict=True)]
    for k, column in enumerate(columns):
        width, is_left = max(map(len, column)), all(isinstance(row[k], str) for row in rows)
        columns[k] = [one.ljust(width) if is_left else one.rjust(width) for one in column]
    return "\n".join("  ".join(row).rstrip() for row in zip(*columns, strict=True))


@knows_its_arguments
def to_latex(ds: xr.Dataset, caption: str | None = None, label: str | None = None) -> str:
    r"""Return a table as LaTeX in the style of booktabs, for a preamble with ``\usepackage{booktabs}``.

    Names of methods, statistics and knobs are escaped; metrics have their long names.

    Parameters
    ----------
    ds : Dataset
        Of `compare`, `validate`, `error_budget` or `convergence_table`, or a selection of one.
    caption : str, optional
        LaTeX, put above a ``table``; with neither caption nor label there is the ``tabular`` alone.
    label : str, optional
        For ``\ref``.

    Returns
    -------
    str
        LaTeX: a ``tabular``, in a ``table`` if there is a caption or a label.

    Raises
    ------
    TypeError, ValueError
        If it is no such Dataset; if caption or label leaves a brace open, or has a bare %.

    Examples
    --------
    A shift by dt² has an error of the order 2; its time is left out:

    >>> import wfr_pde as wfr
    >>> target = wfr.Gaussian(0, 1)
    >>> grid = wfr.Grid.covering(target, wfr.Gaussian(1, 1), shape=64)
    >>> table = wfr.convergence_table(
    ...     lambda dt: grid.density(wfr.Gaussian(dt**2, 1)), "dt", [0.4, 0.2, 0.1], reference=grid.density(target)
    ... )
    >>> print(wfr.tables.to_latex(table.drop_vars("wall_time")).splitlines()[5])
    $0.2$ & $3.20 \times 10^{-2}$ & $2.00$ \\
    """
    for name, value in (("caption", caption), ("label", label)):
        if value is not None:
            refuse_broken(name, text(name, value))
    return tabular(table_rows(ds, long_names=True), caption, label)


def table_rows(ds: xr.Dataset, long_names: bool = False) -> list[list[Cell]]:
    """Return a table as rows of cells, the first of them its head: words are str, numbers tuples of numerals."""
    kind, numbers = _kind(ds), to_dataframe(ds)
    kept = [dim for dim in _dims(ds, kind) if dim in ds.dims]
    head, fill = {
        "compare": _of_comparison,
        "validate": _of_verdict,
        "error_budget": _of_budget,
        "convergence_table": _of_convergence,
    }[kind](ds, numbers)
    words = _long_names(ds) if long_names else {}
    rows: list[list[Cell]] = [[*kept, *head]]
    for one in numbers.to_dict("records"):
        keys = [words.get(one[name], one[name]) if name == "metric" else one[name] for name in kept]
        rows.append([*(key if isinstance(key, str) else (_key(key),) for key in keys), *fill(one)])
    return rows


def _kind(ds: Any) -> str:
    """Return the name of the function that returned a Dataset.

    Raises
    ------
    TypeError
        If it is no Dataset.
    ValueError
        If it is one of something else.
    """
    import xarray as xr

    instance("ds", ds, xr.Dataset, f"as {', '.join(KINDS)} return it")
    for name, (variables, _, _) in KINDS.items():
        if all(variable in ds.variables for variable in variables):
            return name
    known = ", ".join(map(str, ds.data_vars)) or "no variables"
    raise ValueError(f"ds must be a Dataset as {', '.join(KINDS)} return it, but has {known}")


def _dims(ds: xr.Dataset, kind: str) -> tuple[str, ...]:
    """Return the dimensions of what a function returned, also those along which one entry is selected."""
    if kind != "convergence_table":
        return KINDS[kind][1]
    return tuple(map(str, ds["error"].dims or ds["error"].coords))


def _key(value: Any) -> str:
    """Write a number of particles, a time or a step."""
    return f"{value:d}" if isinstance(value, int | np.integer) else f"{value:.6g}"


def _long_names(ds: xr.Dataset) -> dict[str, str]:
    """Return the long names of metrics, with their units, by their names."""
    if "metric_long_name" not in ds.coords:
        return {}
    columns = (np.atleast_1d(ds[name].values) for name in ("metric", "metric_long_name", "metric_units"))
    return {
        str(name): str(words) if units in ("1", "") else f"{words} ({units})"
        for name, words, units in zip(*columns, strict=True)
    }


def _of_comparison(ds: xr.Dataset, numbers: pd.DataFrame) -> tuple[list[Cell], Any]:
    """Return the head, and a function that makes the cells of a row."""
    has_floor = "floor" in numbers.columns
    percent = f"{100 * ds.attrs['confidence']:g} % interval" if "confidence" in ds.attrs else "interval"
    head: list[Cell] = ["mean", percent, *(["floor", "equivalent draws"] if has_floor else [])]

    def cells(one: dict[Any, Any]) -> list[Cell]:
        half = (one["high"] - one["low"]) / 2
        mean, *ends = numerals([one["mean"], one["low"], one["high"]], half)
        own: list[Cell] = [(mean,), tuple(ends) if np.isfinite(half) else ()]
        if has_floor:
            spread = (one["floor_high"] - one["floor_low"]) / 2
            draws = one["equivalent_draws"]
            own += [tuple(numerals([one["floor"]], spread)), () if np.isnan(draws) else (plain(draws, 2),)]
        return own

    return head, cells


def _of_verdict(ds: xr.Dataset, numbers: pd.DataFrame) -> tuple[list[Cell], Any]:
    """Return the head, and a function that makes the cells of a row.

    Reference and mean are written to the digits of the interval of the deviation, in their own units.
    """
    whole = ds.expand_dims([dim for dim in ("t", "statistic") if dim not in ds.dims])
    scale = whole["standard_deviation"].to_series().to_dict()
    head: list[Cell] = ["reference", "mean of runs", "deviation", "interval", "margin", "resolution"]

    def cells(one: dict[Any, Any]) -> list[Cell]:
        half = (one["high"] - one["low"]) / 2
        known, mean = numerals([one["reference"], one["mean"]], half * scale[one["t"], one["statistic"]])
        deviation, *ends = numerals([one["deviation"], one["low"], one["high"]], half, sign=True)
        margin, resolution = plain(one["margin"], 2), plain(one["resolution"], 2)
        return [(known,), (mean,), (deviation,), tuple(ends), (margin,), (resolution,)]

    return head, cells


def _of_budget(ds: xr.Dataset, numbers: pd.DataFrame) -> tuple[list[Cell], Any]:
    """Return the head, and a function that makes the cells of a row: every part with half the width of its interval."""
    names = [*map(str, ds["parts"].values), "sum", "measured"]
    head: list[Cell] = [*names, "noise of a run"]

    def cells(one: dict[Any, Any]) -> list[Cell]:
        pairs = [(one[name], one[f"{name}_half_width"]) for name in names]
        shown = [(" ± ".join(_with_half(value, half)),) for value, half in pairs]
        return [*shown, (plain(one["noise"], 2),)]

    return head, cells


def _with_half(value: float, half: float) -> list[str]:
    """Return the numerals of a value and of half the width of its interval; of the value alone where there is none."""
    (signed,), (_, width) = numerals([value], half, sign=True), numerals([value, half], half)
    return [signed, width] if half > 0 else [signed]


def _of_convergence(ds: xr.Dataset, numbers: pd.DataFrame) -> tuple[list[Cell], Any]:
    """Return the head, and a function that makes the cells of a row."""

    is_timed = "wall_time" in numbers.columns

    def cells(one: dict[Any, Any]) -> list[Cell]:
        error, order = one["error"], one["order"]
        own: list[Cell] = [() if np.isnan(error) else (f"{error:.2e}",), () if np.isnan(order) else (f"{order:.2f}",)]
        return [*own, (plain(one["wall_time"], 2),)] if is_timed else own

    return ["error", "order", *(["seconds"] if is_timed else [])], cells


def __dir__() -> list[str]:
    """Return the public names."""
    return __all__
