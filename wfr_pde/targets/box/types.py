"""Types of the search for a box: arrays, boxes, and what is asked of a distribution."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from wfr_pde.numerics.typing import Array

Ints = np.ndarray[Any, np.dtype[np.intp]]
Bools = np.ndarray[Any, np.dtype[np.bool_]]
Box = tuple[Array, Array]
LogDensity = Callable[[Array], Array]


class Searchable(Protocol):
    """A distribution whose mass can be searched for: every `Target` is one."""

    @property
    def ndim(self) -> int:
        """Number of dimensions d, 1 to 4."""
        ...

    def log_density(self, points: Array, /) -> Array:
        """Return the log-density, up to a constant, at `points` (n, d); shape (n,)."""
        ...

    def moments(self) -> tuple[Array, Array] | None:
        """Return the mean (d,) and covariance (d, d) where they are known, else None."""
        ...

    def sample(self, n: int, rng: int) -> Array:
        """Return `n` draws (n, d); raise ValueError or NotImplementedError if there is no sampler."""
        ...
