"""Arrays that compiled loops read."""

from __future__ import annotations

from typing import Any

import numpy as np

from wfr_pde.numerics.user_calls import read_only


def contiguous(array: Any, dtype: Any = np.float64) -> np.ndarray:
    """Return `array` in one piece and read-only, so that loops are compiled for one kind of arrays alone."""
    return np.asarray(read_only(np.ascontiguousarray(array, dtype=dtype)))
