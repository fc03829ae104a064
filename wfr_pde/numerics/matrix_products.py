"""Products of a matrix with an array along one of its axes."""

from __future__ import annotations

import math
from typing import Any


def product_along(matrix: Any, values: Any, axis: int, xp: Any) -> Any:
    """Multiply `matrix` (m, n_axis) with `values` along one axis."""
    shape = values.shape
    if len(shape) == 2:
        return xp.matmul(matrix, values) if axis == 0 else xp.matmul(values, matrix.T)
    if axis == len(shape) - 1:
        lines = xp.reshape(values, (-1, shape[-1]))
        return xp.reshape(xp.matmul(lines, matrix.T), (*shape[:-1], matrix.shape[0]))
    # the axis next to last, with all later axes folded into one, is a (batched) matrix product
    folded = xp.reshape(values, (*shape[: axis + 1], math.prod(shape[axis + 1 :])))
    return xp.reshape(xp.matmul(matrix, folded), (*shape[:axis], matrix.shape[0], *shape[axis + 1 :]))
