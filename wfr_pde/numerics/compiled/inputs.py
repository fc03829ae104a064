"""Arrays that compiled loops read."""

from __future__ import annotations

from typing import Any

import numpy as np

from wfr_pde.numerics.user_calls import read_only


def contiguous(array: Any, dtype: Any = np.float64) -> np.ndarray:
    """`array` in one piece, and read-only: loops are compiled once for those that can be written to and for others."""
    return np.asarray(read_only(np.ascontiguousarray(array, dtype=dtype)))
