"""NumPy on the CPU."""

from __future__ import annotations

import functools
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from wfr_pde.backends.base import Backend


def available_memory() -> int | None:
    """Bytes of memory that the system can still give, or None where it does not tell (it does on Linux)."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return 1024 * int(line.split()[1])
    except OSError:
        return None
    return None


@functools.cache
def _blas() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def one_thread() -> AbstractContextManager[object]:
    """A context in which BLAS uses one thread."""
    return _blas().limit(limits=1, user_api="blas")


def read_only(array: np.ndarray) -> np.ndarray:
    """A view that cannot be written to."""
    view = array.view()
    view.flags.writeable = False
    return view


def backend() -> Backend:
    """The NumPy backend."""
    return Backend(
        name="numpy",
        xp=np,
        device="cpu",
        asarray=np.asarray,
        asnumpy=np.asarray,
        available_memory=available_memory,
        one_thread=one_thread,
        read_only=read_only,
    )
