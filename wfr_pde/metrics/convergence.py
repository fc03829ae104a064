"""Errors and observed orders over a sequence of runs."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from wfr_pde import metrics
from wfr_pde.metrics.by_name import meant_metric
from wfr_pde.numerics.arguments import function, knows_its_arguments, real_array, shown, text
from wfr_pde.space.density import Density
from wfr_pde.storage.provenance import dataset_attrs

if TYPE_CHECKING:
    import xarray as xr

Metric = Callable[[Density, Density], float]


@knows_its_arguments
def convergence_table(
    run: Callable[[Any], xr.Dataset | Density],
    knob: str,
    values: ArrayLike,
    *,
    reference: xr.Dataset | Density | None = None,
    metric: Metric = metrics.l1,
) -> xr.Dataset:
    """Run with each value of a knob, and measure errors and observed orders.

    With a reference, the order of row i is log(error[i-1]/error[i]) / |log(value[i-1]/value[i])|: for an
    error ~ dt^p, or ~ n^-p in a number n of cells or steps, it is p.

    Without a reference the error of row i is the distance from row i to row i+1 (the last has none). For
    errors ~ dt^p those distances are ~ |dt[i]^p - dt[i+1]^p|, and the order is the p that fits two
    neighbours; for values with a constant ratio r that is log(error[i-1]/error[i]) / log r.

    Parameters
    ----------
    run : function value -> Dataset or Density
        If it returns a Dataset, as `solve` does, the last frame counts.
    knob : str
        What the values are: the dimension of the result.
    values : array (n,)
        Positive, from coarse to fine: dt falling, or a number of cells rising.
    reference : Dataset or Density, optional
        What all are compared with.
    metric : function (reference, other) -> float
        One of `wfr_pde.metrics`, or any such function.

    Returns
    -------
    xarray.Dataset
        `error`, `order` and `wall_time` (in seconds) over the knob; NaN where there is none.

    Raises
    ------
    ValueError
        If the values are not positive and strictly rising or falling.

    Examples
    --------
    The Langevin kernel has order 1 in dt: its law is compared with the exact Ornstein-Uhlenbeck law N(e^-t, 1).

    >>> import numpy as np
    >>> import wfr_pde as wfr
    >>> target, start = wfr.Gaussian(0, 1), wfr.Gaussian(1, 1)
    >>> grid = wfr.Grid.covering(target, start, shape=128)
    >>> def run(dt):
    ...     return wfr.solve(target, wfr.LangevinKernel(), grid.density(start), t=[0, 1], dt=dt)
    >>> exact = grid.density(wfr.Gaussian(np.exp(-1), 1))
    >>> table = wfr.convergence_table(run, "dt", [0.1, 0.05, 0.025], reference=exact)
    >>> round(float(table.order[-1]), 1)
    1.0
    """
    array = _checked_values(knob, values)
    function("run", run, "value -> Dataset or Density")
    if isinstance(metric, str):
        raise TypeError(
            f"metric must be a function (reference, other) -> float, got the text {shown(metric)}: give "
            f"{meant_metric(metric)}"
        )
    function("metric", metric, "(reference, other) -> float")
    known = None if reference is None else _last_frame(reference, "reference")
    errors, seconds = np.full(len(array), math.nan), np.empty(len(array))
    previous: Density | None = None
    for i, value in enumerate(array):
        began = time.perf_counter()
        result = _last_frame(run(value.item()))
        seconds[i] = time.perf_counter() - began
        if known is not None:
            errors[i] = metric(known, result)
        elif previous is not None:
            errors[i - 1] = metric(result, previous)
        previous = result
    orders = _orders(array, errors) if known is not None else _successive_orders(array, errors)
    against = "the next row" if known is None else "the reference"
    return _dataset(
        knob,
        array,
        errors=errors,
        orders=orders,
        seconds=seconds,
        metric=getattr(metric, "__name__", "error"),
        against=against,
    )


def _checked_values(knob: str, values: ArrayLike) -> np.ndarray:
    numbers = real_array("values", values)
    array = np.asarray(values) if numbers.size and np.asarray(values).dtype.kind in "fiu" else numbers
    if not text("knob", knob):
        raise ValueError("knob must be the name of what the values are, got ''")
    if knob in ("error", "order", "wall_time"):
        raise ValueError(f"the knob cannot be named {knob!r}, which is a column of the table")
    if array.ndim != 1 or len(array) == 0 or not (np.isfinite(array).all() and (array > 0).all()):
        raise ValueError(f"the values of {knob} must be positive numbers, got {shown(values)}")
    steps = np.diff(array.astype(np.float64))
    if not ((steps > 0).all() or (steps < 0).all()):
        raise ValueError(
            f"the values of {knob} must go from coarse to fine, all rising or all falling, got {shown(values)}"
        )
    return array


def _last_frame(result: Any, name: str = "what run returns") -> Density:
    if not isinstance(result, Density) and not hasattr(result, "data_vars"):
        raise TypeError(f"{name} must be a Dataset or a Density, got {shown(result)}")
    return result if isinstance(result, Density) else Density.from_dataset(result)


def _orders(values: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """Return the orders of neighbouring rows; NaN in the first row and where an error is zero."""
    orders = np.full(len(values), math.nan)
    for i in range(1, len(values)):
        if errors[i - 1] > 0 and errors[i] > 0:
            orders[i] = math.log(errors[i - 1] / errors[i]) / abs(math.log(values[i - 1] / values[i]))
    return orders


def _successive_orders(values: np.ndarray, differences: np.ndarray) -> np.ndarray:
    """Find orders p from differences ~ |h_i^p - h_{i+1}^p|; NaN in the first and last row, and where no p fits."""
    orders = np.full(len(values), math.nan)
    for i in range(1, len(values) - 1):
        if differences[i - 1] > 0 and differences[i] > 0:
            coarse, fine = (abs(math.log(values[k] / values[k + 1])) for k in (i - 1, i))
            orders[i] = _fitting_order(math.log(differences[i - 1] / differences[i]), coarse, fine)
    return orders


def _fitting_order(log_ratio: float, coarse: float, fine: float) -> float:
    """Find the p with log((e^(p coarse) - 1) / (1 - e^(-p fine))) = log_ratio; the left side rises with p."""
    if math.isclose(coarse, fine, rel_tol=1e-9):
        return log_ratio / fine
    from scipy.optimize import brentq

    def mismatch(p: float) -> float:
        left = math.log(coarse / fine) if p == 0 else math.log(math.expm1(p * coarse) / -math.expm1(-p * fine))
        return left - log_ratio

    largest = 50 / max(coarse, fine)
    if mismatch(-largest) > 0 or mismatch(largest) < 0:
        return math.nan
    return float(brentq(mismatch, -largest, largest))


def _dataset(
    knob: str,
    values: np.ndarray,
    *,
    errors: np.ndarray,
    orders: np.ndarray,
    seconds: np.ndarray,
    metric: str,
    against: str,
) -> xr.Dataset:
    import xarray as xr

    variables = {
        "error": ((knob,), errors, {"long_name": f"{metric} distance to {against}", "units": "1"}),
        "order": ((knob,), orders, {"long_name": f"observed order in {knob}", "units": "1"}),
        "wall_time": ((knob,), seconds, {"long_name": "wall time", "units": "s"}),
    }
    attrs = {"metric": metric, "against": against, **dataset_attrs()}
    return xr.Dataset(variables, coords={knob: (knob, values)}, attrs=attrs)
