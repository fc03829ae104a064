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
    local_cells : tuple of slice, optional
        Those along every axis that arrays are over; all by default, see `Grid.local_cells`.
    """

    axes: tuple[Axis, ...]
    backend: Backend
    local_cells: tuple[slice, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "local_cells", self.local_cells or tuple(slice(0, axis.n) for axis in self.axes))

    @cached_property
    def local_shape(self) -> tuple[int, ...]:
        """Shape of the arrays."""
        return tuple(cells.stop - cells.start for cells in self.local_cells)

    @cached_property
    def are_equal(self) -> bool:
        """Whether all cells are equal."""
        return all(axis.is_uniform for axis in self.axes)

    @cached_property
    def volume(self) -> Any:
        """Volume of the cells: a number where all are equal, else an array of shape `local_shape`."""
        if self.are_equal:
            return float(math.prod(axis.length / axis.n for axis in self.axes))
        return self.backend.xp.exp(self.log_volume)

    @cached_property
    def log_volume(self) -> Any:
        """Logarithm of `volume`."""
        if self.are_equal:
            return math.log(self.volume)
        return self.log_widths(range(len(self.axes))) + self.backend.asarray(np.zeros(self.local_shape))

    def log_widths(self, axes: Iterable[int]) -> Any:
        """Sum the logarithms of the cell widths along some axes, in a shape that broadcasts over the grid."""
        d = len(self.axes)
        total = np.zeros((1,) * d)
        for k in axes:
            total = total + np.log(self.axes[k].widths[self.local_cells[k]]).reshape(self._place(k))
        return self.backend.asarray(total)

    def along_axis(self, k: int, values: np.ndarray) -> Any:
        """Return values (n,) of the cells of an axis at the local ones, in a shape that broadcasts over the others."""
        return self.backend.asarray(np.asarray(values)[self.local_cells[k]].reshape(self._place(k)))

    def _place(self, k: int) -> list[int]:
        """Return the shape of an array along one axis that broadcasts over the others."""
        return [-1 if i == k else 1 for i in range(len(self.axes))]
