"""The slowest modes of the transport: eigenvalues and eigenfunctions of the generator, and the rates that follow.

The generator of the W flow with rate 1 is L f = Lap f - grad V · grad f, self-adjoint in L²(pi). Its eigenvalues
0 = -lambda_0 > -lambda_1 >= -lambda_2 ... say how fast a density mu = pi f forgets its start: the part of f in mode k
falls like exp(-alpha lambda_k t), and lambda_1 is the spectral gap.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from wfr_pde.energies import KL
from wfr_pde.errors import NumericalError
from wfr_pde.flows.base import checked_rate
from wfr_pde.flows.transport.finite_volume.jump_rates import FLUXES, jump_rates
from wfr_pde.space.density import Density
from wfr_pde.space.grid import Grid
from wfr_pde.storage import files as storage
from wfr_pde.storage.source_hash import source_hash
from wfr_pde.targets.base import Target

if TYPE_CHECKING:
    import xarray as xr

Array = np.ndarray[Any, np.dtype[np.float64]]
Solver = Callable[[Array], Array]

ORDERS = (2, 4, 6)
SPARE = 4  # modes beyond those wanted: room for a multiple eigenvalue, and for one that changes places
DEPTH = 8  # blocks of a Krylov space before it starts anew
MAX_ROUNDS = 40
CONVERGED = 1e-8  # residual of a mode, relative; its eigenvalue has the square of that
DENSE = 400  # cells up to which all modes are computed
DIRECT = 40_000  # cells up to which a matrix of three or more dimensions is factorised
SOLVED = 1e-11  # residual of conjugate gradients, relative
MAX_ITERATIONS = 500
TAIL = 1e-9  # of the largest sqrt(pi): below that rounding would show in v / sqrt(pi)
MIXED = 0.1  # difference of the errors of two modes over their gap from which they count as mixed
ROUNDING = 1e-12  # relative, of an eigenvalue of order one


def spectrum(
    target: Target, grid: Grid, n: int = 4, *, order: int | None = None, flux: str = "scharfetter-gummel"
) -> xr.Dataset:
    """The `n` lowest eigenvalues lambda_k and eigenfunctions phi_k of -L = -(Lap - grad V · grad).

    Mode 0 is the constant, with eigenvalue exactly 0; mode 1 belongs to the spectral gap. L is discretised by the
    finite-volume chain of `jump_rates`, whose eigenvalues have an error in even powers of the cell width, and
    extrapolated (Richardson) from this grid and the ones with a half and a quarter of the cells.

    On each grid -L is, in L²(pi), B'B with B the weighted differences over the faces, so that lambda = |B v|² is a sum
    of squares: a gap of 1e-12 has ten digits, one of 1e-18 six, though the norm of -L is 1e5 or more. The modes come
    from block Krylov spaces of (B'B + sigma)⁻¹, orthogonal to the known mode 0, and from singular values of B there by
    Jacobi rotations. The blocks find multiplicities up to n + 3.

    The walls of a box that is meant to hold all mass change eigenvalues too, the more the faster a mode grows in the
    tails; an estimate of that is part of `eigenvalue_error`. A slow mode that lives out there, where there is hardly
    any mass, is seen only by a box that holds it. With max_cut=1 the walls are real, and reflect.

    Parameters
    ----------
    target : Target
    grid : Grid
        Even number of cells along every axis. Limits: a factorised matrix in one and two dimensions;
        above 40,000 cells in three or more, conjugate gradients with a multigrid preconditioner, which take long.
    n : int
        Number of modes, the constant included.
    order : {2, 4, 6}, optional
        Order of the eigenvalues in the cell width: 2 is this grid alone, 4 and 6 extrapolate from two and three
        grids. By default 6 where all numbers of cells are multiples of four (and 16 at least), else 4.
    flux : str
        Weight function of the rates, a key of `two_point_flux.FLUXES`.

    Returns
    -------
    xarray.Dataset
        `eigenvalue` (mode), rising; `eigenvalue_error` (mode), an estimate: the distance to the eigenvalue of the next
        lower order (for order 2, to that of order 4), so that it is too large by far where the cells are narrow, and
        what the walls and the mixing of close modes may change;
        `eigenfunction` (mode, x, ...), on this grid alone (order 2), with ∫ phi_i phi_k pi dx = delta_ik, and
        positive in the last cell, in index order, where |phi| sqrt(pi) is above half of its maximum. In the space of
        a multiple eigenvalue any basis may come out. `cell_width_x`, ... as `solve` stores them.

    Raises
    ------
    TypeError, ValueError
        If the target moves, has other dimensions or does not fit the grid, a number of cells is odd or small, n or
        order or flux is not as above, or the rates overflow.
    MemoryError
        Before anything is allocated, if it would not fit.
    NumericalError
        If the modes do not converge.

    References
    ----------
    Scharfetter and Gummel (1969), doi:10.1109/T-ED.1969.16566, for the flux; Drmač and Veselić (2008),
    doi:10.1137/050639193, for the Jacobi rotations.
    """
    began = time.perf_counter()
    order = _checked_order(grid, order)
    _check_arguments(target, grid, n, order, flux)
    grids = [grid, grid.coarsened()] + ([grid.coarsened().coarsened()] if order == 6 else [])
    _check_memory(grid, n)
    log_pi = KL(target).log_equilibrium(grid)
    chains = [_chain(grid, grid.backend.asnumpy(log_pi), flux)]
    chains += [_chain(g, g.backend.asnumpy(g.log_density(target, checked=False)), flux) for g in grids[1:]]
    with grid.backend.one_thread():
        modes = _modes_of_all(chains, n - 1)
    levels = matched_eigenvalues(chains, modes)
    values, errors = extrapolated(levels, order)
    errors[1:] += effect_of_neighbours(values[1:], levels)
    errors[1:] += effect_of_walls(chains[0], *modes[0]) + effect_of_rounding(chains[0], modes[0][0])
    rising = np.argsort(values, kind="stable")
    functions = eigenfunctions(chains[0], *modes[0])[rising]
    attrs = {
        "title": "spectrum of the generator of the W flow",
        "target": repr(target),
        "grid": json.dumps(grid.description()),
        "flux": flux,
        "order": order,
        "cells": json.dumps([list(g.shape) for g in grids]),
        "backend": "numpy",
        "device": "cpu",
        "versions": json.dumps(dict(storage.versions())),
        "commit": storage.commit(),
        "source_hash": source_hash(),
        "wall_time": round(time.perf_counter() - began, 6),
    }
    return _dataset(Density(grid, log_pi), values[rising], errors[rising], functions, attrs)


def long_time_rate(ds: xr.Dataset, transport_rate: float = 1.0, reaction_rate: float = 1.0) -> float:
    """Rate 2 (alpha lambda_1 + beta) at which KL(mu|pi) falls in the end: KL ~ exp(-2 (alpha lambda_1 + beta) t).

    Near equilibrium f = mu/pi - 1 obeys df/dt = alpha L f - beta f, and KL is ½ ∫ f² pi. A start without a part in
    mode 1 falls faster; without transport (alpha = 0) the rate is 2 beta.

    Parameters
    ----------
    ds : xarray.Dataset
        Of `spectrum`.
    transport_rate, reaction_rate : float
        alpha, beta >= 0.
    """
    alpha, beta = checked_rate(transport_rate, "the transport"), checked_rate(reaction_rate, "the reaction")
    return 2 * (alpha * float(ds["eigenvalue"][1]) + beta)


def decay_rate(ds: xr.Dataset, name: str = "kl", since: float | None = None) -> float:
    """Rate r at which a record falls like e^(-r t): least squares of its logarithm over the times from `since` on.

    It is the rate of the end only where faster modes have died out by `since`, and the record is still above its
    rounding (for KL about 1e-30, as it is summed from terms that do not cancel): look at the curve.

    Parameters
    ----------
    ds : xarray.Dataset
        Of `solve`, with a record.
    name : str
        Of the record, a number at each time.
    since : float, optional
        By default the middle of the run.

    Raises
    ------
    ValueError
        If there is no such record, it is not positive from `since` on, or fewer than two times are left.
    """
    records = [str(key) for key, variable in ds.data_vars.items() if variable.dims == ("t",)]
    if name not in records:
        raise ValueError(f"the Dataset has no record {name!r} of a number at each time; it has {records or 'none'}")
    t, values = ds["t"].values, ds[name].values
    begin = (t[0] + t[-1]) / 2 if since is None else float(since)
    late = t >= begin
    if late.sum() < 2:
        raise ValueError(f"a rate needs two times from since={begin:g} on, but the run has {late.sum()}: it ends at "
                         f"t={t[-1]:g}; give an earlier `since`, or more save times")  # fmt: skip
    if not (values[late] > 0).all():
        bad = np.flatnonzero(late & ~(values > 0))[0]
        raise ValueError(f"{name} is {values[bad]} at t={t[bad]:g}, so that it has no logarithm: use an earlier part")
    centred = t[late] - t[late].mean()
    return -float(centred @ np.log(values[late]) / (centred @ centred))


# The arguments


def _checked_order(grid: Any, order: int | None) -> int:
    """The order, by default the highest that the numbers of cells allow."""
    if not isinstance(grid, Grid):
        raise TypeError(f"spectrum takes a Grid such as Grid.covering(target, shape=128), got {grid!r}")
    if order is None:
        return 6 if all(cells % 4 == 0 and cells >= 16 for cells in grid.shape) else 4
    if order not in ORDERS:
        raise ValueError(f"order must be one of {ORDERS}, got {order!r}")
    return order


def _check_arguments(target: Any, grid: Grid, n: Any, order: int, flux: str) -> None:
    if not isinstance(target, Target):
        raise TypeError(f"spectrum takes a Target such as DoubleWell(2.0), got {target!r}")
    if target.moving:
        raise ValueError(f"the target {target!r} moves: give it as it is at one time, target.at(t)")
    if flux not in FLUXES:
        raise ValueError(f"flux must be one of {', '.join(map(repr, FLUXES))}, got {flux!r}")
    divisor = 4 if order == 6 else 2
    if any(cells % divisor or cells < 4 * divisor for cells in grid.shape):
        raise ValueError(
            f"shape={grid.shape} cannot be made coarser for order {order}: every number of cells must be a multiple "
            f"of {divisor}, and {4 * divisor} at least; use for instance "
            f"shape={tuple(max(4 * divisor, divisor * math.ceil(cells / divisor)) for cells in grid.shape)}"
        )
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 2:
        raise ValueError(f"n must be a whole number of modes, at least 2 (the constant and the gap), got {n!r}")
    coarsest = grid.size // divisor**grid.ndim
    if n > coarsest // 2:
        raise ValueError(
            f"n={n} modes are more than half of the {coarsest} cells of the coarsest grid of order {order}, which "
            f"cannot hold them: use more cells than {grid.shape}, or n <= {coarsest // 2}"
        )


def _check_memory(grid: Grid, n: int) -> None:
    """Compare the factors and the Krylov space with the free memory."""
    size, d = grid.size, grid.ndim
    factorised = d < 3 or size <= DIRECT
    # measured, with some room: entries of both factors per cell
    fill = {1: 8.0, 2: 4 * math.log2(size)}.get(d, 20 * size ** (1 / 3) if factorised else 40.0)
    needed = 8 * size * ((n + SPARE) * (DEPTH + 6) + 3 * fill)
    available = grid.backend.available_memory()
    if available is not None and needed > available:
        raise MemoryError(
            f"{n} modes on {grid.shape} cells need about {needed / 2**30:.3g} GiB, but {available / 2**30:.3g} GiB are "
            "free: use fewer cells or modes"
        )


# The chain on one grid


@dataclass(frozen=True, eq=False)
class Chain:
    """The finite-volume chain on one grid, in the symmetric form S = B'B for v = sqrt(mass) f.

    Attributes
    ----------
    grid : Grid
    root : array (cells,)
        Square root of the mass of every cell, of norm 1: S root = 0.
    rates : list of (down, up)
        Of `jump_rates`, per axis, arrays of the grid's shape.
    factor : sparse array (faces, cells)
        B: sqrt(r(i -> j)) v_i - sqrt(r(j -> i)) v_j on the face between i and j.
    """

    grid: Grid
    root: Array
    rates: list[tuple[Array, Array]]
    factor: Any

    @cached_property
    def matrix(self) -> Any:
        """S, sparse (cells, cells)."""
        return (self.factor.T @ self.factor).tocsc()

    @property
    def shift(self) -> float:
        """sigma > 0, below the slowest rate of diffusion through an empty box."""
        return 0.1 * (math.pi / max(axis.length for axis in self.grid.axes)) ** 2


def _chain(grid: Grid, log_pi: Array, flux: str) -> Chain:
    from scipy.sparse import coo_array, vstack

    log_mass = np.array(log_pi)
    number = np.arange(grid.size).reshape(grid.shape)
    rates, factors = [], []
    for k, axis in enumerate(grid.axes):
        log_mass += np.log(axis.widths).reshape([-1 if i == k else 1 for i in range(grid.ndim)])
        down, up = jump_rates(grid, log_pi, k, flux)
        rates.append((down, up))
        above, into = np.roll(number, -1, axis=k), np.roll(down, -1, axis=k)
        faces = slice(None) if axis.periodic else tuple(
            slice(0, -1) if i == k else slice(None) for i in range(grid.ndim)
        )  # fmt: skip
        columns = np.concatenate([number[faces].ravel(), above[faces].ravel()])
        entries = np.sqrt(np.concatenate([up[faces].ravel(), into[faces].ravel()]))
        n_faces = len(columns) // 2
        entries[n_faces:] *= -1
        rows = np.tile(np.arange(n_faces), 2)
        factors.append(coo_array((entries, (rows, columns)), shape=(n_faces, grid.size)))
    with np.errstate(under="ignore"):
        root = np.exp(0.5 * (log_mass - log_mass.max())).ravel()
    return Chain(grid, root / np.linalg.norm(root), rates, vstack(factors, format="csr"))


def _modes_of_all(chains: list[Chain], count: int) -> list[tuple[Array, Array]]:
    """`lowest_modes` on all grids, from the coarsest on, as each is a start for the next; spare ones on the coarse."""
    modes = [lowest_modes(chains[-1], count + SPARE // 2)]
    for fine in chains[-2::-1]:
        start = aggregates(fine.root, fine.grid.shape) @ modes[0][1]
        modes.insert(0, lowest_modes(fine, count if fine is chains[0] else count + SPARE // 2, start))
    return modes


def lowest_modes(chain: Chain, count: int, start: Array | None = None) -> tuple[Array, Array]:
    """The `count` lowest eigenvalues above zero, and their vectors v (cells, count) of norm 1, orthogonal to root.

    `start` holds approximations of some of the vectors, as columns.
    """
    block = count + SPARE
    if chain.grid.size <= max(DENSE, 4 * block):
        vectors = np.linalg.eigh(chain.matrix.toarray())[1][:, : block + 1]
        vectors = _without(vectors, chain.root[:, None])
        # the one that was lost with the root is what is left of norm 0
        candidates = np.linalg.svd(vectors, full_matrices=False)[0][:, : min(block, chain.grid.size - 1)]
        return refined(chain, candidates, count)
    solve = _solver(chain)
    vectors = np.random.default_rng(0).standard_normal((chain.grid.size, block)) / math.sqrt(chain.grid.size)
    if start is not None:
        vectors[:, : start.shape[1]] = start[:, :block]
    for _ in range(MAX_ROUNDS):
        vectors, residuals = _krylov(solve, chain.root[:, None], vectors, block)
        if residuals[:count].max() <= CONVERGED:
            return refined(chain, vectors, count)
    raise NumericalError(
        f"the modes did not converge: the residual of mode {int(np.argmax(residuals[:count])) + 1} is "
        f"{residuals[:count].max():.2g} after {MAX_ROUNDS} rounds; use fewer modes, or another grid than "
        f"{chain.grid.shape}"
    )


def refined(chain: Chain, vectors: Array, count: int) -> tuple[Array, Array]:
    """The lowest modes in the span of `vectors`, nearly modes themselves, to relative accuracy.

    Their eigenvalues are squares of singular values of B V. Its columns are as long as the roots of the eigenvalues,
    which may lie many powers of ten apart, and nearly orthogonal: Jacobi rotations then find each to its own
    digits (Demmel and Veselić 1992, doi:10.1137/0613074), where other methods know them relative to the largest.
    """
    from scipy.linalg import lapack

    triangle = np.linalg.qr(chain.factor @ vectors)[1]
    singular, _, right, work, _, info = lapack.dgejsv(triangle, joba=0, jobu=3, jobv=0, jobr=0)
    if info != 0:
        raise NumericalError(f"the singular values of {len(triangle)} modes did not converge (dgejsv: {info})")
    eigenvalues = (singular * work[0] / work[1]) ** 2
    rising = np.argsort(eigenvalues)[:count]
    return eigenvalues[rising], vectors @ right[:, rising]


def _krylov(solve: Solver, root: Array, start: Array, block: int) -> tuple[Array, Array]:
    """Best approximations of the slowest modes in a block Krylov space of `solve`, and their relative residuals."""
    basis = [np.linalg.qr(_without(start, root))[0]]
    projected = np.zeros((DEPTH * block, DEPTH * block))
    for j in range(DEPTH):
        image, rest = _without(solve(basis[j]), root), np.eye(block)
        for _ in range(2):  # once more, of norm 1: what is nearly exhausted is orthogonal too
            for i, known in enumerate(basis):
                part = known.T @ image
                projected[i * block : (i + 1) * block, j * block : (j + 1) * block] += part @ rest
                image -= known @ part
            image, triangle = np.linalg.qr(_without(image, root))
            rest = triangle @ rest
        if j + 1 < DEPTH:
            projected[(j + 1) * block : (j + 2) * block, j * block : (j + 1) * block] = rest
        basis.append(image)
    slowness, shares = np.linalg.eigh((projected + projected.T) / 2)
    slowness, shares = slowness[::-1][:block], shares[:, ::-1][:, :block]
    residuals = np.linalg.norm(rest @ shares[-block:], axis=0) / np.abs(slowness)
    best = sum(basis[j] @ shares[j * block : (j + 1) * block] for j in range(DEPTH))
    return np.linalg.qr(np.asarray(best))[0], residuals


def _without(vectors: Array, root: Array) -> Array:
    """`vectors` with their parts along `root` taken out."""
    vectors = vectors - root @ (root.T @ vectors)
    return vectors - root @ (root.T @ vectors)


# Solving with S + sigma


def _solver(chain: Chain) -> Solver:
    """(S + sigma)⁻¹ for blocks of vectors."""
    from scipy.sparse import eye_array

    shifted = (chain.matrix + chain.shift * eye_array(chain.grid.size)).tocsr()
    if chain.grid.ndim < 3 or chain.grid.size <= DIRECT:
        return _factorised(shifted)
    precondition = _multigrid(shifted, chain.root, chain.grid.shape)
    return lambda vectors: _conjugate_gradients(shifted, precondition, vectors)


def _factorised(matrix: Any) -> Solver:
    """The inverse of a positive definite matrix: no pivoting, a symmetric ordering."""
    from scipy.sparse.linalg import splu

    options = {"SymmetricMode": True}
    return splu(matrix.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=options).solve


def aggregates(root: Array, shape: tuple[int, ...]) -> Any:
    """P, sparse (cells, joined cells), orthonormal columns root_i / |root| over every two cells along every axis."""
    from scipy.sparse import csr_array

    joined = [(n + 1) // 2 for n in shape]
    places = [np.arange(n).reshape([-1 if i == k else 1 for i in range(len(shape))]) // 2 for k, n in enumerate(shape)]
    number = np.ravel_multi_index(np.broadcast_arrays(*places), joined).ravel()
    norm = np.sqrt(np.bincount(number, weights=root**2))[number]
    equal = np.bincount(number)[number] ** -0.5
    entries = np.divide(root, norm, out=equal, where=norm > 0)  # equal shares where there is no mass
    return csr_array((entries, (np.arange(len(root)), number)), shape=(len(root), math.prod(joined)))


def _multigrid(matrix: Any, root: Array, shape: tuple[int, ...]) -> Solver:
    """One V-cycle on aggregates of cells, symmetric and positive definite: for conjugate gradients.

    The correction is enlarged, as aggregates are too stiff: Braess (1995), Computing 55, 379. `root` is kept by
    every level: it is what decays slowest.
    """
    if matrix.shape[0] <= DIRECT:
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


def _conjugate_gradients(matrix: Any, precondition: Solver, right: Array) -> Array:
    """matrix⁻¹ right, column by column at once."""
    solution, residual = np.zeros_like(right), right.copy()
    goal = SOLVED * np.linalg.norm(right, axis=0)
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
    worst = float((np.linalg.norm(residual, axis=0) / goal).max()) * SOLVED
    raise NumericalError(
        f"conjugate gradients left a residual of {worst:.2g} after {MAX_ITERATIONS} iterations on {right.shape[0]} "
        "cells: use fewer cells, or cells of more equal widths along the axes"
    )


# From the modes of every grid to the result


def matched_eigenvalues(chains: list[Chain], modes: list[tuple[Array, Array]]) -> Array:
    """Eigenvalues (grid, mode) of the same modes on all grids, by the largest overlaps, and not by their order.

    Two eigenvalues that lie close may change places from one grid to the next.
    """
    from scipy.optimize import linear_sum_assignment

    levels = [modes[0][0]]
    vectors = modes[0][1]
    for fine, (values, candidates) in zip(chains[:-1], modes[1:], strict=True):
        vectors = aggregates(fine.root, fine.grid.shape).T @ vectors
        overlaps = (vectors.T @ candidates) ** 2
        chosen = linear_sum_assignment(-overlaps)[1]
        levels.append(values[chosen])
        vectors = candidates[:, chosen]
    return np.array(levels)


def extrapolated(levels: Array, order: int) -> tuple[Array, Array]:
    """Eigenvalues of that order in the cell width, and estimates of their errors, mode 0 in front.

    Parameters
    ----------
    levels : array (grid, mode)
        From the finest grid on, each with half of the cells of the one before.
    order : {2, 4, 6}
    """
    second = levels[0]
    fourth = second + (second - levels[1]) / 3
    if order == 6:
        coarse = levels[1] + (levels[1] - levels[2]) / 3
        values = fourth + (fourth - coarse) / 15
        errors = np.abs(values - fourth)
    else:
        values = second if order == 2 else fourth
        errors = np.abs(fourth - second)
    return np.append(0.0, values), np.append(0.0, errors)


def effect_of_neighbours(values: Array, levels: Array) -> Array:
    """What mixing with close modes may change the eigenvalues (mode,) by: delta²/gap.

    Where the errors on the grids differ between two modes by an amount delta that is not small against their gap, the
    modes mix, by more on coarser grids, and their eigenvalues are no series in dx².
    """
    shifts = levels[0] - levels[1]  # three times the error of the finest
    difference = np.abs(shifts[:, None] - shifts[None, :]) / 3
    gap = np.abs(values[:, None] - values[None, :])
    mixed = difference > MIXED * gap
    np.fill_diagonal(mixed, False)
    return np.where(mixed, difference**2 / np.maximum(np.maximum(gap, difference), 1e-300), 0.0).max(
        axis=1, initial=0.0
    )


def effect_of_rounding(chain: Chain, eigenvalues: Array) -> Array:
    """What rounding may change the eigenvalues (mode,) by: |B v|² with an error of eps |B| in B v.

    Relative to the eigenvalue it is eps |B| / sqrt(lambda), where others have eps |B|² / lambda.
    """
    error = np.finfo(np.float64).eps * math.sqrt(float(chain.matrix.diagonal().max()))
    return np.asarray(ROUNDING * eigenvalues + 2 * error * np.sqrt(eigenvalues) + error**2)


def effect_of_walls(chain: Chain, eigenvalues: Array, vectors: Array) -> Array:
    """What the eigenvalues (mode,) may be off because the box ends; zero where the walls are real (max_cut = 1).

    Moving a no-flux wall outwards changes an eigenvalue at the rate -lambda ∫ phi² pi over the wall (Hadamard's
    formula with a vanishing slope); over the length on which pi falls by a factor e that is what is left out. Twice
    that is returned.
    """
    grid, effect = chain.grid, np.zeros(len(eigenvalues))
    if grid.max_cut >= 1:
        return effect
    mass = (vectors**2).T.reshape(-1, *grid.shape)  # of phi² pi, in the cells
    for k, (down, up) in enumerate(chain.rates):
        if grid.axes[k].periodic:
            continue
        for wall, inner, inwards, outwards in ((0, 1, up, down), (-1, -2, down, up)):
            with np.errstate(divide="ignore"):  # the rates of the last face: their ratio is how pi falls
                falls = np.log(inwards.take(wall, axis=k) / outwards.take(inner, axis=k))
            cells = 1 / np.clip(falls, 1 / grid.axes[k].n, None)
            effect += (mass.take(wall, axis=k + 1) * cells).reshape(len(effect), -1).sum(axis=1)
    return 2 * eigenvalues * effect


def eigenfunctions(chain: Chain, eigenvalues: Array, vectors: Array) -> Array:
    """phi (mode, x, ...) with ∫ phi² pi = 1, the constant in front, signs as `spectrum` has them."""
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
    """Eigenfunctions continued to where sqrt(pi) is so small that v / sqrt(pi) is rounding.

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
    rows = _generator(chain)[unknown]
    source, rows = rows[:, known], rows[:, unknown]
    options = {"SymmetricMode": True}
    for function, eigenvalue in zip(functions, eigenvalues, strict=True):
        matrix = (rows + diags_array(np.full(len(unknown), eigenvalue))).tocsc()
        factors = splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=options)
        function[unknown] = -factors.solve(source @ function[known])
    return functions.reshape(-1, *chain.grid.shape)


def _generator(chain: Chain) -> Any:
    """L, sparse (cells, cells): (L f)_i = Σ_j r(i -> j) (f_j - f_i)."""
    from scipy.sparse import coo_array

    number = np.arange(chain.grid.size).reshape(chain.grid.shape)
    entries = [-np.asarray(sum(down + up for down, up in chain.rates)).ravel()]
    columns = [number.ravel()]
    for k, (down, up) in enumerate(chain.rates):
        # a rate through a wall is zero, so that it does not matter whom it leads to
        entries += [down.ravel(), up.ravel()]
        columns += [np.roll(number, 1, axis=k).ravel(), np.roll(number, -1, axis=k).ravel()]
    rows = np.tile(number.ravel(), len(columns))
    shape = (chain.grid.size, chain.grid.size)
    return coo_array((np.concatenate(entries), (rows, np.concatenate(columns))), shape=shape).tocsr()


def _dataset(pi: Density, values: Array, errors: Array, functions: Array, attrs: dict[str, Any]) -> xr.Dataset:
    import xarray as xr

    names = pi.grid.names
    coordinates: dict[str, Any] = {"mode": (("mode",), np.arange(len(values)), {"long_name": "mode", "units": "1"})}
    widths: dict[str, Any] = {}
    for name, (dims, array) in pi.coordinates().items():
        if set(dims) <= set(names):
            (widths if name.startswith("cell_width_") else coordinates)[name] = (dims, array)
    variables = {
        "eigenvalue": (("mode",), values, {"long_name": "eigenvalue of -L", "units": "1"}),
        "eigenvalue_error": (("mode",), errors, {"long_name": "estimated error of the eigenvalue", "units": "1"}),
        "eigenfunction": (("mode", *names), functions, {"long_name": "eigenfunction, normalised", "units": "1"}),
    }
    return xr.Dataset(variables | widths, coords=coordinates, attrs=attrs)
