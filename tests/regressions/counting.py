"""What a solve takes, in numbers that do not depend on how fast the machine is."""

from __future__ import annotations

import contextlib
import functools
import sys
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

import wfr_pde
from wfr_pde.flows.transport.finite_volume.line_sweep import LineSweep
from wfr_pde.space.heat.product import HeatKernel

PACKAGE = str(Path(wfr_pde.__file__).parent)
IN_LINE = ("<listcomp>", "<dictcomp>", "<setcomp>")  # frames of their own until Python 3.11 only
Function = Callable[..., Any]


def counts(solve: Callable[[Function], Any], function: Function) -> dict[str, int]:
    """Count what `solve(function)` takes, after a first call that compiles, imports and fills caches.

    Returns
    -------
    dict
        ``products``: with heat kernels of a grid; ``sweeps``: of the exact finite volumes along an axis, or compiled
        steps of them; ``product_cells`` and ``swept_cells``: the cells that they went over; ``points``: at which V was
        evaluated; ``calls``: of Python functions of the package; ``bytes``: the most that was allocated at a time.
    """
    solve(function)
    found: Counter[str] = Counter(
        dict.fromkeys(("products", "product_cells", "sweeps", "swept_cells", "points", "calls"), 0)
    )
    with counted_methods(found), counted_calls(found):
        solve(counted_points(found, function))
    tracemalloc.start()
    try:
        solve(function)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    return {**found, "bytes": peak}


def counted_points(found: Counter[str], function: Function) -> Function:
    """Make a function V that counts the points at which it is asked."""

    @functools.wraps(function)
    def counted(*coordinates: Any) -> Any:
        found["points"] += np.broadcast(*coordinates).size
        return function(*coordinates)

    return counted


@contextlib.contextmanager
def counted_methods(found: Counter[str]) -> Iterator[None]:
    """Count products and sweeps."""
    product, sweep, line = HeatKernel.apply, LineSweep.__call__, LineSweep.on_one_line

    def counted_product(kernel: HeatKernel, begin: Any, values: Any, end: Any) -> Any:
        found.update(products=1, product_cells=values.size)
        return product(kernel, begin, values, end)

    def counted_sweep(self: LineSweep, log_ratio: Any, time: float) -> Any:
        if log_ratio.ndim > 1:  # the others are counted below
            found.update(sweeps=1, swept_cells=log_ratio.size)
        return sweep(self, log_ratio, time)

    def counted_line(self: LineSweep, compiled: Any, values: Any, *arguments: Any) -> Any:
        found.update(sweeps=1, swept_cells=values.size)
        return line(self, compiled, values, *arguments)

    with (
        mock.patch.object(HeatKernel, "apply", counted_product),
        mock.patch.object(LineSweep, "__call__", counted_sweep),
        mock.patch.object(LineSweep, "on_one_line", counted_line),
    ):
        yield


@contextlib.contextmanager
def counted_calls(found: Counter[str]) -> Iterator[None]:
    """Count calls of functions of the package, generators that go on included."""

    def look(frame: Any, event: str, argument: Any) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(PACKAGE) and code.co_name not in IN_LINE:
            found["calls"] += 1

    before = sys.getprofile()
    sys.setprofile(look)
    try:
        yield
    finally:
        sys.setprofile(before)
