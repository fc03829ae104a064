"""Eigenvalues of several grids to one of a higher order, and estimates of its error."""

from __future__ import annotations

import math

import numpy as np

from wfr_pde.numerics.typing import Array
from wfr_pde.truth.spectrum.chain import Chain, aggregates

MIXED = 0.1  # difference of the errors of two modes over their gap from which they count as mixed
ROUNDING = 1e-12  # relative, of an eigenvalue of order one


def matched_eigenvalues(chains: list[Chain], modes: list[tuple[Array, Array]]) -> Array:
    """Match the eigenvalues (grid, mode) of the same modes on all grids, by the largest overlaps, not by their order.

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
    """Extrapolate eigenvalues to an order in the cell width, and estimate their errors, mode 0 in front.

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
    """Bound what mixing with close modes may change the eigenvalues (mode,) by: delta²/gap.

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
    """Bound what rounding may change the eigenvalues (mode,) by: |B v|² with an error of eps |B| in B v.

    Relative to the eigenvalue it is eps |B| / sqrt(lambda), where others have eps |B|² / lambda.
    """
    error = np.finfo(np.float64).eps * math.sqrt(float(chain.matrix.diagonal().max()))
    return np.asarray(ROUNDING * eigenvalues + 2 * error * np.sqrt(eigenvalues) + error**2)


def effect_of_walls(chain: Chain, eigenvalues: Array, vectors: Array) -> Array:
    """Estimate what the eigenvalues (mode,) are off by because the box ends; zero for real walls (max_cut = 1).

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
