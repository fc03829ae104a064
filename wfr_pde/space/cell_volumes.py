"""Volumes of the cells of a tensor-product grid."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from wfr_pde.numerics.backends import Backend
from wfr_pde.space.axis import Axis


@dataclass(frozen=True, eq=False)
class CellVolumes:
    """Volumes of the cells between the edges of some axes; arrays are made when they are asked for, and kept.

    Parameters
    ----------
    axes : tuple of Axis
    backend : Backend
        Of the arrays.
    """

    axes: tuple[Axis, ...]
    backend: Backend

    @cached_property
    def are_equal(self) -> bool:
        """Whether all cells are equal."""
        return all(axis.is_uniform for axis in self.axes)

    @cached_property
    def volume(self) -> Any:
        """Volume of the cells: a number where all are equal, else an array over the grid."""
        if self.are_equal:
            return float(math.prod(axis.length / axis.n for axis in self.axes))
        return self.backend.xp.exp(self.log_volume)

    @cached_property
    def log_volume(self) -> Any:
        """Logarithm of `volume`."""
        if self.are_equal:
            return math.log(self.volume)
        shape = tuple(axis.n for axis in self.axes)
        return self.log_widths(range(len(shape))) + self.backend.asarray(np.zeros(shape))

    def log_widths(self, axes: Iterable[int]) -> Any:
        """Sum of the logarithms of the cell widths along some axes, of a shape that broadcasts over the grid."""
        d = len(self.axes)
        total = np.zeros((1,) * d)
        for k in axes:
            total = total + np.log(self.axes[k].widths).reshape([-1 if i == k else 1 for i in range(d)])
        return self.backend.asarray(total)
