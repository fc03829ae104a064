"""Discretising a distribution: evaluated slab by slab, normalised, right or refused."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import wfr_pde as wfr


def test_evaluate_goes_slab_by_slab(monkeypatch):
    monkeypatch.setattr("wfr_pde.space.grid.CELLS_PER_SLAB", 30)
    grid = wfr.Grid([0, 0, 0], [1, 1, 1], (7, 4, 5))
    seen = []

    def function(points):
        seen.append(points.shape)
        return points.sum(axis=-1)

    assert np.array_equal(grid.evaluate(function), grid.points().sum(axis=-1))
    assert max(shape[0] for shape in seen) == 1
    assert len(seen) == 7


def test_log_density_is_normalised_and_right():
    grid = wfr.Grid(-9, 9, 120)
    target = wfr.Gaussian(0.5, 1.0)
    x = grid.axes[0].centres
    exact = -((x - 0.5) ** 2) / 2 - 0.5 * math.log(2 * math.pi)
    assert np.abs(grid.log_density(target) - exact).max() < 1e-13


def test_a_density_is_on_its_grid_already():
    grid = wfr.Grid(-7, 7, 64)
    with pytest.raises(TypeError, match="is on its grid already"):
        grid.density(grid.density(wfr.Gaussian(0, 1)))


def test_dimensions_must_agree():
    with pytest.raises(ValueError, match=r"is 2-dimensional, but the grid is 1-dimensional"):
        wfr.Grid(-5, 5, 64).density(wfr.Banana())


@given(
    mean=st.floats(-1e3, 1e3),
    sd=st.floats(1e-3, 1e3),
    lower=st.floats(-1e3, 1e3),
    length=st.floats(1e-3, 4e3),
    n=st.integers(4, 300),
)
def test_a_density_is_right_or_refused(mean, sd, lower, length, n):
    """Whatever the box: a normalised density with the right moments, or a ValueError."""
    grid = wfr.Grid(lower, lower + length, n)
    try:
        density = grid.density(wfr.Gaussian(mean, sd**2))
    except ValueError as error:
        assert "cuts off" in str(error) or "too wide" in str(error)  # noqa: PT017
        return
    assert density.mass == pytest.approx(1, abs=1e-12)
    # the box may cut off 1e-6 of the mass, which changes moments by about 30 times that in units of sd
    assert abs(density.mean()[0] - mean) < 1e-4 * sd
    assert density.covariance()[0, 0] == pytest.approx(sd**2, rel=1e-4)


def test_a_grid_that_does_not_fit_into_memory_is_refused_before_allocating():
    with pytest.raises(MemoryError, match=r"needs about 2.98e\+05 GiB .* use fewer cells than \(100000, 100000"):
        wfr.Grid([-5] * 3, [5] * 3, (100_000, 100_000, 1000)).density(wfr.Gaussian([0] * 3, 1.0))
