"""Reductions: sums, integrals and extremes over the cells, in one chunk or many."""

import dataclasses
import math

import numpy as np
import pytest

import wfr_pde as wfr
from wfr_pde.numerics.backends import get_backend
from wfr_pde.space.axis import Axis
from wfr_pde.space.cell_volumes import CellVolumes
from wfr_pde.space.checks import mass_in_narrow_features as narrow
from wfr_pde.space.reductions import Reductions


def test_chunks_change_sums_by_rounding_only():
    values = np.random.default_rng(0).random((7, 4, 5))
    for grading in (None, lambda x: 1 + x**2):
        whole = wfr.Grid([0, 0, 0], [1, 1, 1], (7, 4, 5), grading=(grading, None, None))
        backend = dataclasses.replace(get_backend("numpy"), chunk=30)
        cut = wfr.Grid([0, 0, 0], [1, 1, 1], (7, 4, 5), grading=(grading, None, None), backend=backend)
        assert len(cut.chunks()) == 7
        assert cut.log_integrate(values) == pytest.approx(whole.log_integrate(values), rel=1e-15)
        assert np.array_equal(cut.in_place(lambda v: np.exp(v, out=v), values.copy()), np.exp(values))
        assert cut.range(values) == whole.range(values) == (values.min(), values.max())
        total, low, high = cut.weighted_sum(0.5, values, values**2)
        assert np.array_equal(total, 0.5 * values + values**2)
        assert (low, high) == (total.min(), total.max())
        mixed = cut.log_mixture(values, 3 * values**2, 0.3)
        assert mixed == pytest.approx(whole.log_mixture(values, 3 * values**2, 0.3), abs=1e-14)
        assert cut.log_integrate(mixed) == pytest.approx(0, abs=1e-14)
        assert narrow(cut, values, 0) == pytest.approx(narrow(whole, values, 0), rel=1e-14)


@pytest.mark.parametrize("shape", [(8,), (8, 6), (5, 6, 7), (4, 5, 6, 7)])
def test_sums_in_every_dimension(shape):
    d = len(shape)
    grid = wfr.Grid([0] * d, [2] * d, shape)
    values = np.random.default_rng(0).random(shape)
    assert grid.sum(values) == pytest.approx(values.sum())
    assert (grid.max(values), grid.min(values)) == (values.max(), values.min())
    assert grid.integrate(values) == pytest.approx(values.mean() * 2**d)
    log_sum = math.log(values.sum()) + grid.log_cell_volume
    assert grid.log_integrate(np.log(values) - 1e4) == pytest.approx(log_sum - 1e4, rel=1e-15)
    assert grid.log_integrate(np.log(values)) == pytest.approx(math.log(values.mean() * 2**d))


def test_midpoint_rule_is_spectral():
    for n, error in ((20, 2e-3), (40, 1e-12)):  # 2 e^(-2 pi² (sd/dx)²), sd/dx = 0.83, 1.67
        values = np.exp(-(wfr.Grid(-12, 12, n).points()[..., 0] ** 2) / 2)
        assert abs(wfr.Grid(-12, 12, n).integrate(values) / math.sqrt(2 * math.pi) - 1) < 10 * error


def test_sums_over_several_axes():
    values = np.random.default_rng(0).normal(size=(5, 6, 7))
    reductions = wfr.Grid([0] * 3, [1] * 3, (5, 6, 7)).reductions
    assert np.array_equal(reductions.sum_along(values, (0, 2)), values.sum(axis=(0, 2)))
    far = reductions.log_sum_along(values - 1e4 * np.arange(6)[:, None], (0, 2))  # every line has a scale of its own
    assert far == pytest.approx(np.log(np.exp(values).sum(axis=(0, 2))) - 1e4 * np.arange(6), rel=1e-14)
    assert reductions.all_finite(values)
    values[1, 2, 3] = -np.inf
    assert not reductions.all_finite(values)
    chunks = reductions.chunks(1, 40)
    assert [chunk.index[1] for chunk in chunks] == [slice(k, k + 1) for k in range(6)]
    assert reductions.sum_of_chunks(lambda chunk: np.ones((5, 6, 7))[chunk.index], chunks) == 210


def test_reductions_know_shape_and_volumes_but_no_grid():
    axes = Axis.uniform("x", 0, 2, 8), Axis.graded("y", -1, 1, 6, lambda y: 1 + y**2)
    backend = get_backend("numpy")
    reductions = Reductions((8, 6), backend, CellVolumes(axes, backend))
    values = np.random.default_rng(0).random((8, 6))
    exact = (values @ axes[1].widths).sum() * 0.25
    assert reductions.integrate(values) == pytest.approx(exact)
    assert reductions.integral_of(lambda v: v, values) == pytest.approx(exact)
    assert math.exp(reductions.log_integrate(np.log(values))) == pytest.approx(exact)
    of_mass_one = reductions.log_mixture(np.log(values), np.zeros((8, 6)), 1.0)
    assert reductions.integrate(np.exp(of_mass_one)) == pytest.approx(1)


def test_a_grid_leaves_all_sums_to_its_reductions():
    class OfTwoEqualHalves(Reductions):
        def sum(self, values):
            return 2 * super().sum(values)

        def log_integrate(self, log_values):
            return super().log_integrate(log_values) + math.log(2)

    grid = wfr.Grid(-7, 7, 64, max_cut=1)
    vars(grid)["reductions"] = OfTwoEqualHalves(grid.shape, grid.backend, grid.volumes)
    assert grid.sum(np.ones(64)) == 128
    assert grid.integrate(np.ones(64)) == pytest.approx(28)
    density = grid.density(wfr.Gaussian(0, 1))
    assert density.mass == pytest.approx(1)
    assert density.values.sum() * grid.cell_volume == pytest.approx(0.5)
