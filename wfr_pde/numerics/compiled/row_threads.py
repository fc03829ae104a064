"""Threads for the rows of a compiled loop, which end with the call.

Numba's own (`parallel=True`) stay, and after a `fork` the child hangs or is ended by the OpenMP layer: processes that
are forked after a run, as those of `multiprocessing` on Linux, could not make another one.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numba

PARTS = 8  # per thread, so that none waits long for the last


def number_of_threads() -> int:
    """Return the number of processors that this process may use, or what the variable NUMBA_NUM_THREADS says."""
    return int(numba.config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]


def share_rows(loop: Callable[..., Any], n: int, *arguments: Any) -> None:
    """Call `loop(start, stop, *arguments)` for parts of `n` rows, by threads that take the next one as they get free.

    Parameters
    ----------
    loop : callable
        Compiled with ``nogil=True``. What it does to a row must not depend on `start` and `stop`: then results are the
        same bits for any number of threads.
    n : int
        Number of rows.
    *arguments
        Passed on.
    """
    threads = min(number_of_threads(), n)
    if threads <= 1:
        loop(0, n, *arguments)
        return
    from concurrent.futures import ThreadPoolExecutor  # here, as it is slow to import

    parts = min(n, PARTS * threads)
    first, last = [part * n // parts for part in range(parts)], [(part + 1) * n // parts for part in range(parts)]
    with ThreadPoolExecutor(threads) as pool:
        jobs = [pool.submit(partial(loop, *rows, *arguments)) for rows in zip(first, last, strict=True)]
        try:
            for job in jobs:
                job.result()
        finally:
            pool.shutdown(cancel_futures=True)
