"""The spectrum of the generator: the slowest modes of the transport, extrapolated in the width of the cells.

The generator of the W flow with rate 1 is L f = Lap f - grad V · grad f, self-adjoint in L²(pi). Its eigenvalues
0 = -lambda_0 > -lambda_1 >= -lambda_2 ... say how fast a density mu = pi f forgets its start: the part of f in mode k
falls like exp(-alpha lambda_k t), and lambda_1 is the spectral gap.
"""

from __future__ import annotations

import json
import math
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from wfr_pde.energies import KL
from wfr_pde.flows.transport.finite_volume.jump_rates import FLUXES
from wfr_pde.numerics.arguments import choice, instance, knows_its_arguments, shown, whole
from wfr_pde.numerics.counted import counted
from wfr_pde.numerics.progress import reporting, step_done
from wfr_pde.numerics.typing import Array
from wfr_pde.space.density import Density
from wfr_pde.space.grid import Grid
from wfr_pde.storage import provenance
from wfr_pde.targets.base import Target
from wfr_pde.truth.spectrum.chain import Chain, finite_volume_chain
from wfr_pde.truth.spectrum.eigenpairs import SPARE, eigenfunctions, lanczos_vectors, lowest_modes
from wfr_pde.truth.spectrum.errors import (
    effect_of_neighbours,
    effect_of_rounding,
    effect_of_walls,
    extrapolated,
    matched_eigenvalues,
)
from wfr_pde.truth.spectrum.shifted_inverse import DIRECT

if TYPE_CHECKING:
    import xarray as xr


ORDERS = (2, 4, 6)  # in the cell width: by one, two and three grids


@knows_its_arguments
def spectrum(
    target: Target,
    grid: Grid,
    n: int = 4,
    *,
    order: int | None = None,
    flux: str = "scharfetter-gummel",
    progress: bool | None = None,
) -> xr.Dataset:
    """Compute the `n` lowest eigenvalues lambda_k and eigenfunctions phi_k of -L = -(Lap - grad V · grad).

    Mode 0 is the constant, with eigenvalue exactly 0; mode 1 belongs to the spectral gap. L is discretised by the
    finite-volume chain of `jump_rates`, whose eigenvalues have an error in even powers of the cell width, and
    extrapolated (Richardson) from this grid and the ones with a half and a quarter of the cells.

    On each grid -L is, in L²(pi), B'B with B the weighted differences over the faces, so that lambda = |B v|² is a sum
    of squares: a gap of 1e-12 has ten digits, one of 1e-18 six, though the norm of -L is 1e5 or more. The modes come
    from the Lanczos method for (B'B + sigma)⁻¹, orthogonal to the known mode 0, and from singular values of B in their
    span by Jacobi rotations. A second search, outside of what the first has found, makes sure that no vector of a
    multiple eigenvalue is missing.

    The walls of a box that is meant to hold all mass change eigenvalues too, the more the faster a mode grows in the
    tails; an estimate of that is part of `eigenvalue_error`. A slow mode that lives out there, where there is hardly
    any mass, is seen only by a box that holds it. With max_cut=1 the walls are real, and reflect.

    Parameters
    ----------
    target : Target
        pi, at rest.
    grid : Grid
        Even number of cells along every axis. Limits: a factorised matrix in one and two dimensions;
        above 40,000 cells in three or more, conjugate gradients with a multigrid preconditioner, which take long.
    n : int
        Number of modes, the constant included.
    order : {2, 4, 6}, optional
        Order of the eigenvalues in the cell width: 2 is this grid alone, 4 and 6 extrapolate from two and three
        grids. By default 6 where all numbers of cells are multiples of four (and 16 at least), else 4.
    flux : str
        Weight function of the rates, a key of `jump_rates.FLUXES`.
    progress : bool, optional
        Count grids on a bar; by default where stderr is a terminal, and in notebooks.

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
    Scharfetter and Gummel (1969), doi:10.1109/T-ED.1969.16566, for the flux; Lehoucq, Sorensen and Yang (1998),
    doi:10.1137/1.9780898719628, for the Lanczos method of ARPACK; Drmač and Veselić (2008), doi:10.1137/050639193, for
    the Jacobi rotations.

    Examples
    --------
    For N(0, 1) the eigenvalues are 0, 1, 2, ..., with Hermite polynomials as eigenfunctions:

    >>> import wfr_pde as wfr
    >>> modes = wfr.spectrum(wfr.Gaussian(0.0, 1.0), wfr.Grid(-8.0, 8.0, 128), 3)
    >>> modes.eigenvalue.values.round(4)
    array([0., 1., 2.])
    >>> bool((modes.eigenvalue_error < 1e-3).all())
    True
    """
    began = time.perf_counter()
    order, n = _checked_order(grid, order), whole("n", n, 2, "the number of modes, with the constant and the gap")
    _check_arguments(target, grid, n, order, flux)
    grids = [grid, grid.coarsened()] + ([grid.coarsened().coarsened()] if order == 6 else [])
    _check_memory(grid, n)
    log_pi = KL(target).log_equilibrium(grid)
    chains = [finite_volume_chain(grid, grid.backend.asnumpy(log_pi), flux)]
    chains += [finite_volume_chain(g, g.backend.asnumpy(g.log_density(target, checked=False)), flux) for g in grids[1:]]
    with grid.backend.one_thread(), reporting(progress, "spectrum"):
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
        **provenance.dataset_attrs(),
        "wall_time": round(time.perf_counter() - began, 6),
    }
    return _dataset(Density(grid, log_pi), values[rising], errors[rising], functions, attrs)


def _checked_order(grid: Any, order: int | None) -> int:
    """Return the order, or by default the highest that the numbers of cells allow."""
    instance("grid", grid, Grid, "such as Grid.covering(target, shape=128)")
    if order is None:
        return 6 if all(cells % 4 == 0 and cells >= 16 for cells in grid.shape) else 4
    if whole("order", order) not in ORDERS:
        raise ValueError(f"order must be one of {ORDERS}, got {shown(order)}")
    return order


def _check_arguments(target: Any, grid: Grid, n: Any, order: int, flux: str) -> None:
    instance("target", target, Target, "such as DoubleWell(2.0)")
    if target.moving:
        raise ValueError(f"the target {target!r} moves: give it as it is at one time, target.at(t)")
    choice("flux", flux, FLUXES)
    divisor = 4 if order == 6 else 2
    if any(cells % divisor or cells < 4 * divisor for cells in grid.shape):
        raise ValueError(
            f"shape={grid.shape} cannot be made coarser for order {order}: every number of cells must be a multiple "
            f"of {divisor}, and {4 * divisor} at least; use for instance "
            f"shape={tuple(max(4 * divisor, divisor * math.ceil(cells / divisor)) for cells in grid.shape)}"
        )
    coarsest = grid.size // divisor**grid.ndim
    if n > coarsest // 2:
        raise ValueError(
            f"n={shown(n)} modes are more than half of the {coarsest} cells of the coarsest grid of order {order}, "
            f"which cannot hold them: use more cells than {grid.shape}, or n <= {coarsest // 2}"
        )


def _check_memory(grid: Grid, n: int) -> None:
    """Compare the factors and the vectors with the free memory."""
    size, d = grid.size, grid.ndim
    factorised = d < 3 or size <= DIRECT
    # measured, with some room: entries of both factors per cell
    fill = {1: 8.0, 2: 4 * math.log2(size)}.get(d, 20 * size ** (1 / 3) if factorised else 40.0)
    block = n + SPARE
    needed = 8 * size * (lanczos_vectors(block) + (d + 6) * block + 3 * fill)
    available = grid.backend.available_memory()
    if available is not None and needed > available:
        raise MemoryError(
            f"{counted(n, 'mode')} on {grid.shape} cells need about {needed / 2**30:.3g} GiB, but "
            f"{available / 2**30:.3g} GiB are free: use fewer cells or modes"
        )


def _modes_of_all(chains: list[Chain], count: int) -> list[tuple[Array, Array]]:
    """Find the lowest modes on all grids, with spare ones on the coarser grids, where some may change places."""
    found = []
    for chain in chains:
        found.append(lowest_modes(chain, count if chain is chains[0] else count + SPARE // 2))
        step_done()
    return found


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
