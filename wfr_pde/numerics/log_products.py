"""Products of positive matrices with positive arrays, both given by their logarithms, right in every entry."""

from __future__ import annotations

from typing import Any

import numpy as np

from wfr_pde.numerics.typing import Array

# a scaled sum above it has lost nothing that counts: terms that vanish are below 1e-308, and a sum has fewer than 1e12
SAFE = 1e-280
BLOCK = 2**22  # numbers of a temporary array


def log_product_along(log_matrix: Array, log_values: Array, axis: int) -> Array:
    """Return log of the product of exp(log_matrix) (m, n) with exp(log_values) along an axis of n entries.

    A matrix product with rows and lines that are scaled to a largest entry of one. Where a sum is then too small to be
    sure that no term was lost, it is made anew from its own largest term, so that every entry is right relative to its
    value, whatever the range of the exponents.
    """
    lines, shape = _lines(log_values, axis)
    rows, tops, matrix, scaled = _scaled(log_matrix, lines)
    sums = matrix @ scaled
    with np.errstate(divide="ignore"):
        result = np.log(sums) + (rows[:, None] + tops)
    for i, j in _unsafe(sums, len(lines)):
        terms = log_matrix[i] + lines.T[j]
        largest = terms.max(axis=1)
        result[i, j] = largest + np.log(np.sum(np.exp(terms - largest[:, None]), axis=1))
    return np.moveaxis(result.reshape(-1, *shape), 0, axis)


def log_mean_along(log_matrix: Array, weighted: Array, log_values: Array, axis: int) -> Array:
    """Return means of `weighted` (m, n), with the weights exp(log_matrix + log_values) along an axis of n entries.

    Right relative to the largest of the averaged numbers, as `log_product_along` is relative to its sums.
    """
    lines, shape = _lines(log_values, axis)
    _, _, matrix, scaled = _scaled(log_matrix, lines)
    sums = matrix @ scaled
    with np.errstate(divide="ignore", invalid="ignore"):
        result = ((matrix * weighted) @ scaled) / sums
    for i, j in _unsafe(sums, len(lines)):
        terms = log_matrix[i] + lines.T[j]
        shares = np.exp(terms - terms.max(axis=1)[:, None])
        result[i, j] = np.sum(shares * weighted[i], axis=1) / np.sum(shares, axis=1)
    return np.moveaxis(result.reshape(-1, *shape), 0, axis)


def _lines(log_values: Array, axis: int) -> tuple[Array, tuple[int, ...]]:
    """Return the lines along an axis as columns, and the shape of the other axes."""
    lines = np.moveaxis(log_values, axis, 0)
    return np.ascontiguousarray(lines.reshape(len(lines), -1)), lines.shape[1:]


def _scaled(log_matrix: Array, lines: Array) -> tuple[Array, Array, Array, Array]:
    """Return the largest logarithms of all rows and lines, and both arrays scaled by them."""
    rows, tops = log_matrix.max(axis=1), lines.max(axis=0)
    return rows, tops, np.exp(log_matrix - rows[:, None]), np.exp(lines - tops)


def _unsafe(sums: Array, n: int) -> list[tuple[Any, Any]]:
    """Return rows and columns of sums that may have lost terms, in blocks of as many as fit into a temporary array."""
    i, j = np.nonzero(~(sums > SAFE))
    count = max(1, BLOCK // n)
    return [(i[k : k + count], j[k : k + count]) for k in range(0, len(i), count)]
