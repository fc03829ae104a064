"""Boxes that hold several distributions."""

import numpy as np
import pytest

import wfr_pde as wfr


@pytest.mark.parametrize(
    ("target", "start"),
    [
        (wfr.Gaussian(0, 1), wfr.Gaussian(-10, 0.25)),
        (wfr.GaussianMixture([-30, 40.0], [0.999, 0.001], [1, 0.04]), wfr.Gaussian(0, 1)),
        (wfr.Gaussian([1e4, -3], [[1, 0.5], [0.5, 1]]), wfr.Gaussian([1e4, 0], 1e-2)),
        (wfr.Banana(), wfr.Gaussian([0, 0], 1.0)),
    ],
)
def test_covering_leaves_no_mass_outside(target, start):
    grid = wfr.Grid.covering(target, start, shape=64, tail=1e-10)
    for distribution in (target, start):
        draws = distribution.sample(20_000, rng=0)
        assert np.all((draws > grid.lower) & (draws < grid.upper))
        low, high = distribution.box(1e-10)
        assert np.all(low >= grid.lower)
        assert np.all(high <= grid.upper)


def test_covering_a_black_box():
    grid = wfr.Grid.covering(wfr.Potential("2*(x**2 - 1)**2 + 2*y**2 + x*y/2"), shape=64)
    exact = wfr.Grid.covering(wfr.DoubleWell(2, stiffness=(4,), coupling=0.5), shape=64)
    for found, known in zip((*grid.lower, *grid.upper), (*exact.lower, *exact.upper), strict=True):
        assert found == pytest.approx(known, rel=0.3)
    grid.density(wfr.DoubleWell(2, stiffness=(4,), coupling=0.5))


def test_covering_passes_options_and_refuses_nonsense():
    grid = wfr.Grid.covering(wfr.Gaussian(0, 1), shape=32, boundary="periodic", names=("q",))
    assert (grid.boundary, grid.names) == (("periodic",), ("q",))
    with pytest.raises(ValueError, match="at least one of distributions"):
        wfr.Grid.covering(shape=32)
    with pytest.raises(ValueError, match="different dimensions"):
        wfr.Grid.covering(wfr.Gaussian(0, 1), wfr.Banana(), shape=32)
    with pytest.raises(ValueError, match="between 0 and 1"):
        wfr.Grid.covering(wfr.Gaussian(0, 1), shape=32, tail=0)
