"""Names of types that many files use."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]
Ints: TypeAlias = np.ndarray[Any, np.dtype[np.integer[Any]]]
Mask: TypeAlias = np.ndarray[Any, np.dtype[np.bool_]]
Rng: TypeAlias = int | np.random.Generator | None  # a seed, a generator, or a fresh one
