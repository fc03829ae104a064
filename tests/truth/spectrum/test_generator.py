"""The spectrum against closed forms: eigenvalues, orders, multiplicities, tiny gaps; its arguments."""

import dataclasses

import numpy as np
import pytest
import xarray as xr

import wfr_pde as wfr


def check(ds, expected, tolerance):
    """Eigenvalues, and that the estimated errors cover the true ones (but for rounding)."""
    values, errors = ds.eigenvalue.values, ds.eigenvalue_error.values
    assert values == pytest.approx(np.array(expected, dtype=float), abs=tolerance)
    assert values[0] == errors[0] == 0
    assert (np.abs(values - expected) <= errors + 1e-13).all()


FLAT = wfr.Potential("0*x")


@pytest.mark.parametrize("flux", ["scharfetter-gummel", "square-root"])
def test_ornstein_uhlenbeck(flux):
    target = wfr.Gaussian(1, 0.25)
    ds = wfr.spectrum(target, wfr.Grid.covering(target, shape=256), 5, flux=flux)
    check(ds, 4 * np.arange(5), 1e-5)  # walls at 7 sd, felt by mode 4 most
    x = (ds.x.values - 1) / 0.5
    hermite = [np.ones_like(x), x, (x**2 - 1) / np.sqrt(2), (x**3 - 3 * x) / np.sqrt(6)]
    for mode, expected in enumerate(hermite):
        # order 2: (dx/sd)² = 3e-3 times a factor that grows with the mode
        inner = slice(10, -10)  # the walls make the slope zero
        assert ds.eigenfunction[mode].values[inner] == pytest.approx(expected[inner], abs=0.01 * np.abs(expected).max())


def test_correlated_gaussian_has_sums_of_the_eigenvalues_of_its_precision():
    precision = np.array([[1.0, 0.4], [0.4, 2.5]])
    a, b = np.linalg.eigvalsh(precision)
    target = wfr.Gaussian([0.5, -0.3], np.linalg.inv(precision))
    ds = wfr.spectrum(target, wfr.Grid.covering(target, shape=96, names=("u", "v")), 5)
    check(ds, [0, a, 2 * a, b, 3 * a], 3e-5)  # cells of 0.14
    assert ds.eigenfunction.dims == ("mode", "u", "v")


@pytest.mark.parametrize("gap", [1.0, 1e-2, 1e-4, 1e-6, 1e-8, 1e-12])
def test_tiny_gaps_have_their_digits(gap):
    target = wfr.CoshDoubleWell(gap)
    grid = wfr.Grid.covering(target, shape=512)
    ds = wfr.spectrum(target, grid)
    assert ds.attrs["order"] == 6
    assert float(ds.eigenvalue[1]) == pytest.approx(gap, rel=1e-8)
    assert abs(float(ds.eigenvalue[1]) - gap) <= float(ds.eigenvalue_error[1]) < 1e-6 * gap
    tanh = np.tanh(grid.axes[0].centres)
    tanh /= np.sqrt(grid.integrate(np.exp(wfr.KL(target).log_equilibrium(grid)) * tanh**2))
    assert ds.eigenfunction[1].values == pytest.approx(tanh, abs=1e-3)  # order 2


def test_rounding_leaves_a_gap_of_1e_18_six_digits():
    target = wfr.CoshDoubleWell(1e-18)
    ds = wfr.spectrum(target, wfr.Grid.covering(target, shape=1024))
    assert abs(float(ds.eigenvalue[1]) - 1e-18) <= min(1e-24, float(ds.eigenvalue_error[1]))


@pytest.mark.parametrize(("order", "cells"), [(2, (64, 128)), (4, (64, 128)), (6, (160, 320))])
def test_order_in_the_cell_width(order, cells):
    target = wfr.CoshDoubleWell(0.3)
    errors = [
        abs(float(wfr.spectrum(target, wfr.Grid.covering(target, shape=n), 2, order=order).eigenvalue[1]) - 0.3)
        for n in cells
    ]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.2 if order < 6 else 0.6)


def test_periodic_axis():
    """k² twice each, with cosines and sines of any phase."""
    ds = wfr.spectrum(FLAT, wfr.Grid(0, 2 * np.pi, 128, boundary="periodic"), 6)
    check(ds, [0, 1, 1, 4, 4, 9], 1e-6)
    pair = ds.eigenfunction[1:3].values
    assert (pair**2).sum(axis=0) == pytest.approx(2.0, abs=1e-9)


def test_box_has_cosines():
    grid = wfr.Grid(0, np.pi, 64, max_cut=1)
    ds = wfr.spectrum(FLAT, grid, 4)
    check(ds, np.arange(4) ** 2, 1e-6)
    x = grid.axes[0].centres
    # eigenvectors of the discrete problem too; positive in the last cell that counts
    for mode in (1, 2, 3):
        cosine = (-1) ** mode * np.sqrt(2) * np.cos(mode * x)
        assert ds.eigenfunction[mode].values == pytest.approx(cosine, abs=1e-12)


def test_half_a_gaussian_between_real_walls():
    ds = wfr.spectrum(wfr.Gaussian(0, 1), wfr.Grid(0, 8, 128, max_cut=1), 4)
    check(ds, [0, 2, 4, 6], 3e-6)


@pytest.mark.parametrize("shape", [(16, 16), (64, 64), (64, 48)])
def test_multiple_eigenvalues_are_all_found(shape):
    target = wfr.Gaussian([0, 0], 1.0)
    ds = wfr.spectrum(target, wfr.Grid.covering(target, shape=shape, tail=1e-9), 7, order=4)
    check(ds, [0, 1, 1, 2, 2, 2, 3], 0.02 if shape[0] > 16 else 0.3)


def test_three_dimensions():
    target = wfr.Gaussian([0, 0, 0], [1, 1, 0.25])
    ds = wfr.spectrum(target, wfr.Grid.covering(target, shape=20, tail=1e-6), 4)
    check(ds, [0, 1, 1, 2], 0.03)  # cells of half a standard deviation


def test_galaxies_gap_of_two_fluxes():
    """The gap of the posterior in experiments/galaxies.py: 1.3180e-4, however it is discretised."""
    from wfr_pde.problems.data import galaxies

    def log_likelihood(m1, m2, y):
        return np.logaddexp(-(((y - m1) / 3) ** 2) / 2, -(((y - m2) / 3) ** 2) / 2)

    posterior = wfr.Posterior(wfr.Gaussian([21, 21], 100.0), log_likelihood, galaxies())
    grid = wfr.Grid((9, 9), (28, 28), 108)
    gaps = [wfr.spectrum(posterior, grid, 2, flux=flux) for flux in ("scharfetter-gummel", "square-root")]
    for ds in gaps:
        assert float(ds.eigenvalue[1]) == pytest.approx(1.31806e-4, rel=1e-4)


def test_dataset_is_complete_and_can_be_stored(tmp_path):
    target = wfr.DoubleWell(1.0)
    grid = wfr.Grid.covering(target, shape=48)
    ds = wfr.spectrum(target, grid)
    assert ds.sizes == {"mode": 4, "x": 48}
    assert ds.attrs["order"] == 6
    assert ds.attrs["cells"] == "[[48], [24], [12]]"
    assert ds.attrs["target"] == repr(target)
    assert wfr.Grid.from_dataset(ds).matches(grid)
    assert set(ds.data_vars) == {"eigenvalue", "eigenvalue_error", "eigenfunction", "cell_width_x"}
    assert all({"long_name", "units"} <= set(ds[name].attrs) for name in list(ds.data_vars)[:3])
    ds.to_netcdf(tmp_path / "spectrum.nc", engine="h5netcdf")


def test_same_call_same_bits():
    target = wfr.DoubleWell(1.0, stiffness=(2,))
    grid = wfr.Grid.covering(target, shape=40)
    first, second = (wfr.spectrum(target, grid) for _ in range(2))
    xr.testing.assert_identical(first.drop_attrs(), second.drop_attrs())


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        (33, {}, r"shape=\(33,\) cannot be made coarser for order 4: .* multiple of 2, .* shape=\(34,\)"),
        (34, {"order": 6}, r"multiple of 4, and 16 at least; use for instance shape=\(36,\)"),
        (4, {}, r"and 8 at least; use for instance shape=\(8,\)"),
        (32, {"n": 1}, "n must be a whole number of at least 2, got 1: it is the number of modes"),
        (32, {"n": 2.5}, "n must be a whole number"),
        (32, {"n": 5}, r"n=5 modes are more than half of the 8 cells .* n <= 4"),
        (32, {"order": 3}, r"order must be one of \(2, 4, 6\), got 3"),
        (32, {"flux": "upwind"}, "flux must be one of 'scharfetter-gummel', 'square-root', got 'upwind'"),
    ],
)
def test_errors_of_arguments(shape, options, message):
    target = wfr.Gaussian(0, 1)
    with pytest.raises(ValueError, match=message):
        wfr.spectrum(target, wfr.Grid(-6, 6, shape), **options)


def test_errors_of_targets():
    grid = wfr.Grid(-6, 6, 64)
    with pytest.raises(ValueError, match="2-dimensional, but the grid is 1-dimensional"):
        wfr.spectrum(wfr.Gaussian([0, 0], 1.0), grid)
    with pytest.raises(ValueError, match=r"moves: give it as it is at one time, target.at\(t\)"):
        wfr.spectrum(wfr.GeometricPath(wfr.Gaussian(0, 1), wfr.Gaussian(1, 1)), grid)
    with pytest.raises(TypeError, match="target must be a Target such as"):
        wfr.spectrum(grid, grid)
    with pytest.raises(TypeError, match="grid must be a Grid such as"):
        wfr.spectrum(wfr.Gaussian(0, 1), 64)
    with pytest.raises(ValueError, match=r"log-density -inf at .*every cell needs a positive"):
        wfr.spectrum(wfr.CoshDoubleWell(1.0), wfr.Grid(-400, 400, 4096))
    with pytest.raises(ValueError, match="jump rates of the square-root flux overflow"):
        wfr.spectrum(wfr.CoshDoubleWell(1.0), wfr.Grid(-6, 6, 64), flux="square-root")


def test_too_much_memory_is_refused_beforehand():
    backend = dataclasses.replace(wfr.Grid(0, 1, 4).backend, available_memory=lambda: 10_000)
    with pytest.raises(MemoryError, match=r"4 modes on \(64,\) cells need about .* GiB, but"):
        wfr.spectrum(wfr.Gaussian(0, 1), wfr.Grid(-6, 6, 64, backend=backend))
