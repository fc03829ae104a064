"""The lowest eigenvalues and eigenvectors of the chain on one grid, and the eigenfunctions they stand for."""

from __future__ import annotations

from typing import Any

import numpy as np

from wfr_pde.errors import NumericalError
from wfr_pde.numerics.counted import counted
from wfr_pde.numerics.typing import Array
from wfr_pde.truth.spectrum.chain import Chain, generator_matrix
from wfr_pde.truth.spectrum.shifted_inverse import DIRECT, SOLVED, Solver, inverse_of_shifted

Modes = tuple[Array, Array]  # eigenvalues and vectors

SPARE = 4  # modes beyond those wanted: room for a multiple eigenvalue, and for one that changes places
DENSE = 400  # cells up to which all modes are computed, without a search
MAX_RESTARTS = 60  # of a search; easy spectra take five, clusters a few dozen
ACCURATE = 1e-10  # residual of a mode in a search, relative; rounding beside modes 1e6 times as slow is below that
CONVERGED = 1e-8  # largest residual of a mode, relative; its eigenvalue has the square of that
INNER = 0.01  # residual of the solutions that a search is made of, over that of its modes
ROUGHLY = 0.01  # residual, relative, with which the slowest mode is found that a search may have missed
TAIL = 1e-9  # of the largest sqrt(pi): below that rounding would show in v / sqrt(pi)


def lowest_modes(chain: Chain, count: int) -> tuple[Array, Array]:
    """Find the `count` lowest eigenvalues above zero, and their vectors (cells, count) of norm 1, orthogonal to root.

    Raises
    ------
    NumericalError
        If the iteration does not converge.
    """
    block, root = count + SPARE, chain.root[:, None]
    if chain.grid.size <= max(DENSE, 4 * block):
        vectors = np.linalg.eigh(chain.matrix.toarray())[1][:, : block + 1]
        vectors = _without(vectors, root)
        # the one that was lost with the root is what is left of norm 0
        candidates = np.linalg.svd(vectors, full_matrices=False)[0][:, : min(block, chain.grid.size - 1)]
        return refined(chain, candidates, count)
    solve = inverse_of_shifted(chain)
    eigenvalues, vectors = refined(chain, slowest_modes(solve, root, block), count)
    residuals = np.linalg.norm((eigenvalues + chain.shift) * _without(solve(vectors), root) - vectors, axis=0)
    if not residuals.max() <= CONVERGED:
        raise NumericalError(
            f"the modes did not converge: the residual of mode {int(np.argmax(residuals)) + 1} is "
            f"{residuals.max():.2g}; use fewer modes, or another grid than {chain.grid.shape}"
        )
    return eigenvalues, vectors


def slowest_modes(solve: Solver, root: Array, n: int, first: Modes | None = None) -> Array:
    """Find vectors (cells, n or more) of the `n` largest eigenvalues of the inverse `solve`, orthogonal to `root`.

    Searches go on, each outside of what is known, until `n` modes are known and the slowest one outside, found to one
    per cent, is no slower than the fastest of these: a search may miss some of a multiple eigenvalue, or all that
    rounding hides beside much slower ones. `first` may hold modes that are known.
    """
    slowness, vectors = (np.empty(0), np.empty((len(root), 0))) if first is None else first
    while True:
        known = np.concatenate([root, vectors], axis=1)
        missing = n - len(slowness)
        if missing <= 0:
            outside = converged_modes(solve, known, 1, ROUGHLY)[0][0]
            if outside <= (1 + CONVERGED) * np.sort(slowness)[-n]:
                return vectors
        more = converged_modes(solve, known, max(missing, 1), ACCURATE)
        slowness, vectors = np.append(slowness, more[0]), np.append(vectors, more[1], axis=1)


def converged_modes(solve: Solver, known: Array, n: int, tolerance: float) -> Modes:
    """Find the largest eigenvalues, at most n, of the inverse `solve` outside the span of `known`, and vectors.

    By the implicitly restarted Lanczos method (ARPACK). Of a multiple eigenvalue it sees the part that its start vector
    has, and more only by rounding. The start vector is the same in every call with as many known vectors, so that
    results repeat to the bit, and another one with more of them. Solutions are as accurate as `tolerance` needs: what
    they lack is at most that share of the largest eigenvalue outside, as parts along `known` are taken out.

    Raises
    ------
    NumericalError
        If none converges.
    """
    from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

    size, residual = len(known), max(INNER * tolerance, SOLVED)

    def apply(vector: Array) -> Array:
        return _without(solve(_without(vector.reshape(-1, 1), known), residual), known)[:, 0]

    operator = LinearOperator((size, size), matvec=apply, dtype=np.float64)
    start = _without(np.random.default_rng(known.shape[1]).standard_normal((size, 1)), known)[:, 0]
    try:
        found: Any = eigsh(
            operator, n, which="LA", v0=start, ncv=lanczos_vectors(n), tol=tolerance, maxiter=MAX_RESTARTS
        )
        return found
    except ArpackNoConvergence as error:
        some: Any = error.eigenvalues, error.eigenvectors
        if len(some[0]):
            return some
    raise NumericalError(
        f"the modes did not converge: beside {known.shape[1] - 1} known ones none did in {MAX_RESTARTS} restarts on "
        f"{size} cells; use fewer modes, or another grid"
    )


def lanczos_vectors(n: int) -> int:
    """Return how many vectors the search for `n` modes holds."""
    return max(2 * n + 1, 10)


def refined(chain: Chain, vectors: Array, count: int) -> tuple[Array, Array]:
    """Compute the lowest modes in the span of `vectors`, nearly modes themselves, to relative accuracy.

    Their eigenvalues are squares of singular values of B V. Its columns are as long as the roots of the eigenvalues,
    which may lie many powers of ten apart, and nearly orthogonal: Jacobi rotations then find each to its own
    digits (Demmel and Veselić 1992, doi:10.1137/0613074), where other methods know them relative to the largest.
    """
    from scipy.linalg import lapack

    triangle = np.linalg.qr(chain.factor @ vectors)[1]
    singular, _, right, work, _, info = lapack.dgejsv(triangle, joba=0, jobu=3, jobv=0, jobr=0)
    if info != 0:
        raise NumericalError(f"singular values of {counted(len(triangle), 'mode')} did not converge (dgejsv: {info})")
    eigenvalues = (singular * work[0] / work[1]) ** 2
    rising = np.argsort(eigenvalues)[:count]
    return eigenvalues[rising], vectors @ right[:, rising]


def _without(vectors: Array, root: Array) -> Array:
    """Return `vectors` with their parts along `root` taken out."""
    vectors = vectors - root @ (root.T @ vectors)
    return vectors - root @ (root.T @ vectors)


def eigenfunctions(chain: Chain, eigenvalues: Array, vectors: Array) -> Array:
    """Compute phi (mode, x, ...) with ∫ phi² pi = 1, the constant in front, signs as `spectrum` has them."""
    size = np.abs(vectors)
    large = size >= 0.5 * size.max(axis=0)
    last = len(size) - 1 - np.argmax(large[::-1], axis=0)
    vectors = vectors * np.sign(vectors[last, np.arange(len(last))])
    inside = chain.root >= TAIL * chain.root.max()
    functions = np.divide(vectors.T, chain.root, out=np.zeros(vectors.T.shape), where=inside)
    functions = functions.reshape(-1, *chain.grid.shape)
    if not inside.all():
        functions = _continued(chain, eigenvalues, functions, inside.reshape(chain.grid.shape))
    return np.concatenate([np.ones((1, *chain.grid.shape)), functions])


def _continued(chain: Chain, eigenvalues: Array, functions: Array, inside: Array) -> Array:
    """Continue eigenfunctions to where sqrt(pi) is so small that v / sqrt(pi) is rounding.

    There -L phi = lambda phi is solved from the cells where phi is known. Elimination without pivots loses no
    digits, as -L - lambda is an M-matrix (where the way back from there is faster than the mode). NaN if there are too
    many cells in three or more dimensions to factorise the matrix.
    """
    from scipy.sparse import diags_array
    from scipy.sparse.linalg import splu

    unknown, known = np.flatnonzero(np.logical_not(inside)), np.flatnonzero(inside)
    functions = functions.reshape(len(functions), -1)
    if inside.ndim >= 3 and len(unknown) > DIRECT:
        return np.where(inside.ravel(), functions, np.nan).reshape(-1, *chain.grid.shape)
    rows = generator_matrix(chain)[unknown]
    source, rows = rows[:, known], rows[:, unknown]
    options = {"SymmetricMode": True}
    for function, eigenvalue in zip(functions, eigenvalues, strict=True):
        matrix = (rows + diags_array(np.full(len(unknown), eigenvalue))).tocsc()
        factors = splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=options)
        function[unknown] = -factors.solve(source @ function[known])
    return functions.reshape(-1, *chain.grid.shape)
