"""NumPy on the CPU."""

from __future__ import annotations

import collections
import contextlib
import contextvars
import functools
import importlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import numpy as np

from wfr_pde.numerics.backends.base import Backend
from wfr_pde.numerics.cellwise import Cellwise

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

CHUNK = 2**16  # cells of a chunk: half a MiB per array, so that a few are in the second cache
COMPILED_FROM = 2**12  # cells: with fewer, loading numba costs more than its loops save

# glibc gives memory back to the system with every array that is freed, to have it cleared for the next one, until it
# has seen a larger array freed (up to 32 MiB): so it sees one, which is not touched
np.empty(31 * 2**17)


def available_memory() -> int | None:
    """Return the bytes of memory that the system can still give, or None where it does not tell (Linux does)."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return 1024 * int(line.split()[1])
    except OSError:
        return None
    return None


_pool: contextvars.ContextVar[tuple[ThreadPoolExecutor, int] | None] = contextvars.ContextVar("pool", default=None)


@functools.cache
def _blas() -> Any:
    from threadpoolctl import ThreadpoolController

    importlib.import_module("scipy.linalg.cython_blas")  # BLAS of the compiled operations: to be looked after, too
    return ThreadpoolController()


def one_thread() -> AbstractContextManager[object]:
    """Return a context in which BLAS uses one thread."""
    return _blas().limit(limits=1, user_api="blas")


@contextlib.contextmanager
def threads(many: bool) -> Iterator[None]:
    """Give BLAS one thread for a while, and `shared` one thread, or as many as BLAS had where there is `many`."""
    from concurrent.futures import ThreadPoolExecutor  # here, as it is slow to import

    number = max((library.num_threads for library in _blas().select(user_api="blas").lib_controllers), default=1)
    with contextlib.ExitStack() as stack:
        stack.enter_context(one_thread())
        helpers = number - 1 if many and _pool.get() is None else 0
        if helpers:
            stack.callback(_pool.reset, _pool.set((stack.enter_context(ThreadPoolExecutor(helpers)), helpers)))
        elif not many:
            stack.callback(_pool.reset, _pool.set(None))
        yield


def shared(function: Callable[[Any], Any], chunks: Sequence[Any]) -> list[Any]:
    """Call a function for all chunks and return the results in order; threads take the next chunk as they get free."""
    available = _pool.get()
    if available is None or len(chunks) == 1:
        return [function(chunk) for chunk in chunks]
    pool, helpers = available
    waiting, results = collections.deque(enumerate(chunks)), [None] * len(chunks)

    def work() -> None:
        while waiting:
            try:
                number, chunk = waiting.popleft()
            except IndexError:  # another thread was faster
                return
            results[number] = function(chunk)

    others = [pool.submit(work) for _ in range(min(helpers, len(chunks) - 1))]
    work()
    for other in others:
        other.result()
    return results


def read_only(array: np.ndarray) -> np.ndarray:
    """Return a view that cannot be written to."""
    view = array.view()
    view.flags.writeable = False
    return view


def compiled_cellwise(cells: int) -> Cellwise | None:
    """Return the compiled operations, or None where there are too few cells to be worth the time to load them."""
    if cells < COMPILED_FROM:
        return None
    from wfr_pde.numerics.compiled.cellwise import CompiledCellwise  # here, as it loads numba

    return CompiledCellwise()


def backend() -> Backend:
    """Return the NumPy backend."""
    return Backend(
        name="numpy",
        xp=np,
        device="cpu",
        asarray=np.asarray,
        asnumpy=np.asarray,
        available_memory=available_memory,
        one_thread=one_thread,
        threads=threads,
        map=shared,
        compiled_cellwise=compiled_cellwise,
        chunk=CHUNK,
        read_only=read_only,
    )
