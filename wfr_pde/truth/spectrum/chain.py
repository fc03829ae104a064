"""The finite-volume chain on one grid as a symmetric matrix B'B, and its aggregates of cells."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from wfr_pde.flows.transport.finite_volume.jump_rates import jump_rates
from wfr_pde.numerics.typing import Array
from wfr_pde.space.grid import Grid


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


def finite_volume_chain(grid: Grid, log_pi: Array, flux: str) -> Chain:
    """Build the chain of a target on a grid, from its normalised log-density there and the flux of `jump_rates`."""
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


def generator_matrix(chain: Chain) -> Any:
    """Return the generator L, sparse (cells, cells): (L f)_i = Σ_j r(i -> j) (f_j - f_i)."""
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


def aggregates(root: Array, shape: tuple[int, ...]) -> Any:
    """Return P, sparse (cells, joined cells), with orthonormal columns root_i / |root| over joined cells."""
    from scipy.sparse import csr_array

    joined = [(n + 1) // 2 for n in shape]
    places = [np.arange(n).reshape([-1 if i == k else 1 for i in range(len(shape))]) // 2 for k, n in enumerate(shape)]
    number = np.ravel_multi_index(np.broadcast_arrays(*places), joined).ravel()
    norm = np.sqrt(np.bincount(number, weights=root**2))[number]
    equal = np.bincount(number)[number] ** -0.5
    entries = np.divide(root, norm, out=equal, where=norm > 0)  # equal shares where there is no mass
    return csr_array((entries, (np.arange(len(root)), number)), shape=(len(root), math.prod(joined)))
