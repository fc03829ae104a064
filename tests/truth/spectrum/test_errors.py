"""Errors of the eigenvalues cover what walls and mixing do; modes of several grids are matched."""

import numpy as np
import pytest

import wfr_pde as wfr
from wfr_pde.truth.spectrum.chain import finite_volume_chain
from wfr_pde.truth.spectrum.eigenpairs import lowest_modes
from wfr_pde.truth.spectrum.errors import matched_eigenvalues


def check(ds, expected, tolerance):
    """Eigenvalues, and that the estimated errors cover the true ones (but for rounding)."""
    values, errors = ds.eigenvalue.values, ds.eigenvalue_error.values
    assert values == pytest.approx(np.array(expected, dtype=float), abs=tolerance)
    assert values[0] == errors[0] == 0
    assert (np.abs(values - expected) <= errors + 1e-13).all()


def chain_of(target, grid, flux="scharfetter-gummel"):
    return finite_volume_chain(grid, grid.log_density(target, checked=False), flux)


def test_crossing_eigenvalues_are_matched_by_their_functions():
    """A box that is nearly square; on the coarse grid the modes come in another order."""
    flat = wfr.Potential("0*x + 0*y")
    fine, coarse = (chain_of(flat, wfr.Grid((0, 0), (1, 1.01), n, max_cut=1)) for n in (32, 16))
    values, vectors = lowest_modes(coarse, 4)
    other = [1, 0, 3, 2]
    levels = matched_eigenvalues([fine, coarse], [lowest_modes(fine, 4), (values[other], vectors[:, other])])
    assert levels[1].tolist() == values.tolist()


def test_walls_that_cut_the_tails_are_part_of_the_error():
    target = wfr.Gaussian(1, 0.25)
    grid = wfr.Grid.covering(target, shape=512, tail=1e-6, max_cut=1e-5)
    check(wfr.spectrum(target, grid, 4), [0, 4, 8, 12], 0.05)


def test_errors_cover_modes_that_mix():
    """Wells so deep that a level of the barrier lies between two of a pair: on coarse grids they change places."""
    target = wfr.DoubleWell(30.0)
    fine, *coarser = (wfr.spectrum(target, wfr.Grid.covering(target, shape=n), n=6) for n in (3200, 400, 800, 1600))
    for ds in coarser:
        off = np.abs(ds.eigenvalue.values - fine.eigenvalue.values)
        assert (off <= ds.eigenvalue_error.values + fine.eigenvalue_error.values + 1e-12).all()
