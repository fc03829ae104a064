"""One heat kernel for all that use it at once."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable

from wfr_pde.space.grid import Grid
from wfr_pde.space.heat.product import HeatKernel

_made: weakref.WeakKeyDictionary[Grid, weakref.WeakValueDictionary[float, HeatKernel]] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def shared_kernel(grid: Grid, time: float, make: Callable[[Grid, float], HeatKernel]) -> HeatKernel:
    """Return the kernel that is in use for this grid and time, or a new one by `make`; see `Grid.heat_kernel`.

    Kernels live as long as they are used: nothing here keeps one, nor the grid.
    """
    with _lock:
        of_grid = _made.setdefault(grid, weakref.WeakValueDictionary())
        kernel = of_grid.get(time)
    if kernel is None:
        made = make(grid, time)
        with _lock:
            kernel = of_grid.setdefault(time, made)  # that of another thread, if it was faster
    return kernel
