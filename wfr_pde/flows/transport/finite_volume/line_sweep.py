"""One axis of the finite-volume chain, exact in time: exp(time L) along all lines of a grid."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np

from wfr_pde.errors import NumericalError
from wfr_pde.flows.transport.finite_volume.jump_rates import UNDERFLOW, jump_rates, log_jump_rates
from wfr_pde.numerics.deadline import check_deadline
from wfr_pde.numerics.typing import Array
from wfr_pde.space.grid import Grid

CELLS_FOR_THREADS = 2**15  # fewer are done by one thread
PARTS = 16  # of a sweep per thread: between them a deadline is looked at
LARGEST_RATE = 1e140  # of dt times a jump rate: its square stays below the largest double


def _columns(xp: Any, values: Any, axis: int) -> Any:
    """Return the lines along an axis as the columns of an array (n, m)."""
    if values.ndim == 1:
        return values.reshape(-1, 1)
    return xp.ascontiguousarray(xp.moveaxis(values, axis, 0).reshape(values.shape[axis], -1))


class LineSweep:
    """The operator exp(time L) along one axis of a grid, for logarithms of the ratio mu/pi.

    On the device if the backend has kernels, but for the rates: they are made on the host, once.
    """

    def __init__(self, grid: Grid, log_pi: Array, axis: int, flux: str, tolerance: float) -> None:
        from wfr_pde.numerics.compiled import chain_exponential as line_sweeps  # here, as it loads numba

        self.sweeps, self.axis, self.tolerance = line_sweeps, axis, tolerance
        self.kernels = grid.backend.kernels
        self.xp: Any = np if self.kernels is None else grid.backend.xp
        put = np.asarray if self.kernels is None else grid.backend.asarray
        self.periodic = grid.axes[axis].periodic
        self.n, self.name = grid.shape[axis], grid.names[axis]
        down, up = (_columns(np, rates, axis) for rates in jump_rates(grid, log_pi, axis, flux))
        self.down, self.up = put(down), put(up)
        self.fastest = float(max(down.max(), up.max()))
        self.poles = put(line_sweeps.resolvents())
        # where V is so steep that a rate underflows, f may make up for it
        steep = np.zeros(down.shape[1], dtype=bool)
        for k, rates in ((0, down), (-1, up)):
            inner = rates if self.periodic else np.delete(rates, k, axis=0)
            steep |= inner.min(axis=0) < UNDERFLOW
        self.steep = put(steep)
        self._log_rates_made = False
        self._log_rates = lambda: [put(_columns(np, rates, axis)) for rates in log_jump_rates(grid, log_pi, axis, flux)]

    def check(self, time: float) -> None:
        """Refuse a time over which the jumps overflow.

        Raises
        ------
        ValueError
        """
        if not self.fastest * max(time, 1.0) < LARGEST_RATE:
            raise ValueError(
                f"rate*dt={time:.4g} times the largest jump rate along {self.name}, {self.fastest:.4g}, "
                "overflows: V is too steep for these cells; use more of them, or a smaller dt"
            )

    @cached_property
    def log_rates(self) -> list[Any]:
        """Logarithms of the jump rates, made where a line first needs them."""
        self._log_rates_made = True
        return self._log_rates()

    def __call__(self, log_ratio: Any, time: float) -> Any:
        """Return the logarithms after a time, which is in units of length² (diffusivity times time)."""
        if log_ratio.ndim == 1 and self.kernels is None:
            return self._along_one_line(log_ratio, time)
        xp = self.xp
        shape = (log_ratio.shape[self.axis], *(n for k, n in enumerate(log_ratio.shape) if k != self.axis))
        columns = _columns(xp, log_ratio, self.axis)
        wide = (xp.max(columns, axis=0) - xp.min(columns, axis=0) > self.sweeps.RANGE) | self.steep
        rates = [self.down, self.up, *(self.log_rates if wide.any() else (self.down[:0], self.up[:0]))]
        if wide.any() and not wide.all():
            result = xp.empty_like(columns)
            for chosen, is_wide in ((wide, True), (~wide, False)):
                part, *part_rates = (xp.ascontiguousarray(array[:, chosen]) for array in (columns, *rates))
                result[:, chosen] = self._moved(part, part_rates, is_wide, time)
        else:
            result = self._moved(columns, rates, bool(wide.all()), time)
        return (
            xp.ascontiguousarray(xp.moveaxis(result.reshape(shape), 0, self.axis)) if len(shape) > 1 else result[:, 0]
        )

    def _along_one_line(self, log_ratio: Array, time: float) -> Array:
        """Sweep over the only axis of a grid, by one compiled call."""
        check_deadline()
        result = np.array(log_ratio)
        self.check_end(self.on_one_line(self.sweeps.advance_logarithms, result, time), time)
        return result

    def on_one_line(self, compiled: Callable[..., int], values: Array, *arguments: Any) -> bool:
        """Let a compiled function change the values on one line by its rates; return whether it came to an end."""
        fixed = bool(self.steep[0]), self.periodic, self.tolerance, self.poles
        nothing = self.down[:0], self.up[:0]
        end = self.sweeps.NEEDS_LOG_RATES
        if not self._log_rates_made:
            end = compiled(values, *arguments, self.down, self.up, *nothing, *fixed)
        if end == self.sweeps.NEEDS_LOG_RATES:
            end = compiled(values, *arguments, self.down, self.up, *self.log_rates, *fixed)
        return bool(end == self.sweeps.DONE)

    def _moved(self, columns: Any, rates: list[Any], wide: bool, time: float) -> Any:
        """Return some of the lines after the time; `wide` ones span more than one exponent range."""
        if wide:
            values = columns.copy()
            self._advance(values, rates, True, time)
            return values
        shift = columns.max(axis=0) - self.sweeps.TOP
        values = self.xp.exp(columns - shift)
        self._advance(values, rates, False, time)
        self.xp.log(values, out=values)
        values += shift
        return values

    def _advance(self, values: Any, rates: list[Any], wide: bool, time: float) -> None:
        """Sweep over the columns in place, by compiled code; blocks are the same for any number of threads."""
        if self.kernels is not None:
            check_deadline()
            down, up, log_down, log_up = rates
            good = self.kernels.sweep(
                values,
                (down, up, log_down, log_up),
                wide,
                self.periodic,
                time,
                tolerance=self.tolerance,
                poles=self.poles,
                constants=self.sweeps.constants(),
            )
            self.check_end(good, time)
            return
        sweeps, lines = self.sweeps, values.shape[1]
        block = max(1, sweeps.CELLS_PER_BLOCK // self.n)
        arguments = values, *rates, wide, self.periodic, time, self.tolerance, self.poles
        workers = min(os.cpu_count() or 1, -(-lines // block)) if values.size >= CELLS_FOR_THREADS else 1
        share = block * math.ceil(lines / block / (PARTS * workers))
        parts = [(start, min(start + share, lines)) for start in range(0, lines, share)]
        if workers == 1:
            for first, end in parts:
                check_deadline()
                self.check_end(sweeps.advance(*arguments, first, end, block), time)
            return
        from concurrent.futures import ThreadPoolExecutor  # here, as it is slow to import

        with ThreadPoolExecutor(workers) as pool:
            jobs = [pool.submit(functools.partial(sweeps.advance, *arguments, *part, block)) for part in parts]
            try:
                for job in jobs:
                    check_deadline()
                    self.check_end(job.result(), time)
            finally:
                pool.shutdown(cancel_futures=True)

    def check_end(self, good: bool, time: float) -> None:
        """Raise an error where a sweep came to no end.

        Raises
        ------
        NumericalError
        """
        if not good:
            raise NumericalError(
                f"a step of time {time:.4g} along {self.name} needs too many parts, at jump rates of up to "
                f"{self.fastest:.4g} and tolerance={self.tolerance:g}: use a smaller dt, or a larger tolerance"
            )
