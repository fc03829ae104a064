"""Solve with S + sigma: sparse factors, or conjugate gradients with a multigrid preconditioner."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from wfr_pde.errors import NumericalError
from wfr_pde.numerics.typing import Array
from wfr_pde.truth.spectrum.chain import Chain, aggregates

DIRECT = 40_000  # cells up to which a matrix of three or more dimensions is factorised
COARSEST = 4000  # cells up to which multigrid factorises: more would cost more than the iterations that they save
SOLVED = 1e-11  # residual of conjugate gradients, relative
MAX_ITERATIONS = 500  # of conjugate gradients, after which it is an error


class Solver(Protocol):
    """(S + sigma)⁻¹ for blocks of vectors (cells, n), up to a residual relative to each of them."""

    def __call__(self, vectors: Array, residual: float = SOLVED) -> Array:
        """Solve for each of the vectors."""


def inverse_of_shifted(chain: Chain) -> Solver:
    """Make a solver with S + sigma; factors are right to rounding, whatever residual is asked for."""
    from scipy.sparse import eye_array

    shifted = (chain.matrix + chain.shift * eye_array(chain.grid.size)).tocsr()
    if chain.grid.ndim < 3 or chain.grid.size <= DIRECT:
        exact = _factorised(shifted)
        return lambda vectors, residual=SOLVED: exact(vectors)
    precondition = _multigrid(shifted, chain.root, chain.grid.shape)
    return lambda vectors, residual=SOLVED: _conjugate_gradients(shifted, precondition, vectors, residual)


def _factorised(matrix: Any) -> Callable[[Array], Array]:
    """Factorise a positive definite matrix, without pivoting and with a symmetric ordering; return its solver."""
    from scipy.sparse.linalg import splu

    options = {"SymmetricMode": True}
    return splu(matrix.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=options).solve


def _multigrid(matrix: Any, root: Array, shape: tuple[int, ...]) -> Callable[[Array], Array]:
    """Make one V-cycle on aggregates of cells, symmetric and positive definite, for conjugate gradients.

    The correction is enlarged, as aggregates are too stiff: Braess (1995), Computing 55, 379. `root` is kept by
    every level: it is what decays slowest.
    """
    if matrix.shape[0] <= COARSEST:
        return _factorised(matrix)
    join = aggregates(root, shape)
    joined_shape = tuple((n + 1) // 2 for n in shape)
    coarse = _multigrid((join.T @ matrix @ join).tocsr(), join.T @ root, joined_shape)
    relax = (0.6 / matrix.diagonal())[:, None]

    def cycle(right: Array) -> Array:
        solution = relax * right
        solution += relax * (right - matrix @ solution)
        solution += 1.6 * (join @ coarse(join.T @ (right - matrix @ solution)))
        for _ in range(2):
            solution += relax * (right - matrix @ solution)
        return solution

    return cycle


def _conjugate_gradients(matrix: Any, precondition: Callable[[Array], Array], right: Array, solved: float) -> Array:
    """Solve matrix x = right, all columns at once, up to a relative residual `solved`."""
    solution, residual = np.zeros_like(right), right.copy()
    goal = solved * np.linalg.norm(right, axis=0)
    direction = preconditioned = precondition(residual)
    product = np.sum(residual * preconditioned, axis=0)
    for _ in range(MAX_ITERATIONS):
        image = matrix @ direction
        step = product / np.sum(direction * image, axis=0)
        solution += step * direction
        residual -= step * image
        if (np.linalg.norm(residual, axis=0) <= goal).all():
            return solution
        preconditioned = precondition(residual)
        product, before = np.sum(residual * preconditioned, axis=0), product
        direction = preconditioned + product / before * direction
    worst = float((np.linalg.norm(residual, axis=0) / goal).max()) * solved
    raise NumericalError(
        f"conjugate gradients left a residual of {worst:.2g} after {MAX_ITERATIONS} iterations on {right.shape[0]} "
        "cells: use fewer cells, or cells of more equal widths along the axes"
    )
