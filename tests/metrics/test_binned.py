"""Total variation and Hellinger distance of particles, over bins of about equal mass."""

import math

import numpy as np
import pytest
from scipy import stats

import wfr_pde as wfr
from wfr_pde import metrics
from wfr_pde.metrics.binned import bin_of, equal_bins, mean_deviation, mean_root

LINE = wfr.Grid(-9, 9, 400).density(wfr.Gaussian(0, 1))
TWO_MODES = wfr.GaussianMixture(means=[[-2, 0], [2, 0]], weights=[0.3, 0.7], covariances=0.25)
PLANE = wfr.Grid([-6, -4], [6, 4], (120, 80)).density(TWO_MODES)
GRADED = wfr.Grid([-6, -4], [6, 4], (60, 80), grading=[lambda x: 1 / np.sqrt(1 + x**2), None]).density(TWO_MODES)
SPACE = wfr.Grid([-7] * 3, [7] * 3, 28).density(wfr.Gaussian([0, 0, 0], 1))
BINNED = [metrics.BinnedTotalVariation, metrics.BinnedHellinger]


@pytest.mark.parametrize("density", [LINE, PLANE, GRADED, SPACE])
@pytest.mark.parametrize("bins", [2, 7, 32])
def test_bins_have_about_equal_mass_and_fill_the_box(density, bins):
    labels, masses = equal_bins(density, bins)
    assert labels.shape == density.grid.shape
    assert sorted(set(labels.ravel())) == list(range(bins))
    assert masses[-1] == 0
    assert masses.sum() == pytest.approx(1, rel=1e-12)
    slab = max(  # a cut is off by half the mass of a slab of cells at most, and a bin has log2(bins) cuts
        density.marginal(k).values.max() * axis.dx for k, axis in enumerate(density.grid.axes)
    )
    assert np.abs(masses[:-1] - 1 / bins).max() < math.ceil(math.log2(bins)) * slab / 2


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("bins", [7, 33, 100])
def test_bins_of_symmetric_densities_do_not_depend_on_rounding(d, bins):
    """Where spreads of axes and masses of halves are equal, the last bit does not choose."""
    density = wfr.Grid([-6] * d, [6] * d, 20).density(wfr.Gaussian([0] * d, 1))
    labels, masses = equal_bins(density, bins)
    for seed in range(5):
        noise = 1e-14 * np.random.default_rng(seed).standard_normal(density.grid.shape)
        again = equal_bins(wfr.Density(density.grid, density.log_values + noise), bins)
        np.testing.assert_array_equal(again[0], labels)
        np.testing.assert_allclose(again[1], masses, rtol=1e-12)


def test_every_cell_is_a_bin_where_there_are_enough():
    labels, masses = equal_bins(LINE, 10**6)
    assert np.array_equal(labels, np.arange(400))
    assert masses[:-1] == pytest.approx(LINE.values * LINE.grid.cell_volume, rel=1e-12)


@pytest.mark.parametrize("n", [1, 3, 50, 1000])
def test_mean_deviation_and_root_are_those_of_the_binomial(n):
    k = np.arange(n + 1)
    for p in (0.0, 1e-5, 0.02, 0.3, 0.5, 0.999, 1.0):
        pmf = stats.binom.pmf(k, n, p)
        assert mean_deviation(np.array([p]), n)[0] == pytest.approx(pmf @ np.abs(k / n - p), rel=1e-9, abs=1e-15)
        if p > 0:
            assert mean_root(p, n) == pytest.approx(pmf @ np.sqrt(k / (n * p)), rel=1e-9)


@pytest.mark.parametrize(
    ("density", "target"), [(LINE, LINE), (PLANE, TWO_MODES), (GRADED, TWO_MODES), (SPACE, wfr.Gaussian([0, 0, 0], 1))]
)
@pytest.mark.parametrize("kind", BINNED)
def test_floor_is_what_independent_draws_have(density, target, kind):
    metric, n, runs = kind(bins=20), 400, 60
    rng = np.random.default_rng(11)
    values = np.array([metric(density, wfr.Particles(target.sample(n, rng))) for _ in range(runs)])
    values = values if kind is metrics.BinnedTotalVariation else values**2
    floor = metric.floor(density, n) ** (1 if kind is metrics.BinnedTotalVariation else 2)
    # 4.5 standard errors: eight such tests fail by chance once in 2e4 runs
    assert abs(values.mean() - floor) < 4.5 * values.std(ddof=1) / math.sqrt(runs)


def test_difference_of_two_gaussians_is_seen():
    other = wfr.Gaussian(1, 1)
    particles = wfr.Particles(other.sample(200_000, 3))
    expected = math.erf(1 / math.sqrt(8))  # bins see somewhat less: the densities cross within one
    assert metrics.BinnedTotalVariation(bins=100)(LINE, particles) == pytest.approx(expected, abs=0.01)
    assert metrics.BinnedHellinger(bins=100)(LINE, particles) ** 2 == pytest.approx(-math.expm1(-1 / 8), abs=0.01)


def test_densities_in_all_cells_are_those_of_the_plain_functions():
    other = LINE.grid.density(wfr.Gaussian(0.5, 1.3))
    assert metrics.BinnedTotalVariation()(LINE, other) == pytest.approx(metrics.total_variation(LINE, other), rel=1e-12)
    assert metrics.BinnedHellinger()(LINE, other) == pytest.approx(metrics.hellinger(LINE, other), rel=1e-12)
    few = metrics.BinnedTotalVariation(bins=10)(LINE, other)
    assert few <= metrics.total_variation(LINE, other)  # bins see less


def test_plain_functions_take_particles():
    particles = wfr.Particles(PLANE.sample(500, 1))
    for function, kind in zip((metrics.total_variation, metrics.hellinger), BINNED, strict=True):
        assert function(PLANE, particles) == kind()(PLANE, particles)
        assert function.floor(PLANE, 500) == kind().floor(PLANE, 500)
    assert metrics.BinnedTotalVariation().number(PLANE, 500.0) == math.ceil(math.sqrt(500))
    assert metrics.BinnedTotalVariation().number(LINE, 1000.0) == 10
    assert metrics.BinnedTotalVariation(bins=9).number(LINE, 1000.0) == 9


def test_particles_outside_the_box_are_mass_in_a_wrong_place():
    inside = LINE.sample(90, 5)
    particles = wfr.Particles(np.concatenate([inside, np.full((10, 1), 50.0)]))
    metric = metrics.BinnedTotalVariation(bins=2)
    expected, found = metric.masses(LINE, particles)
    assert expected[-1] == 0
    assert found[-1] == pytest.approx(0.1, rel=1e-12)
    assert metric(LINE, wfr.Particles(np.full((3, 1), 50.0))) == pytest.approx(1, rel=1e-14)


def test_cells_of_positions():
    labels = np.arange(400)
    edges = LINE.grid.axes[0].edges
    at = np.array([edges[0], edges[1], edges[-1], np.nextafter(edges[-1], 99), np.nextafter(edges[0], -99)])
    assert bin_of(LINE, labels, at[:, None]).tolist() == [0, 1, 399, 400, 400]


def test_periodic_axes_wrap():
    grid = wfr.Grid(-math.pi, math.pi, 200, boundary="periodic")
    density = grid.density(wfr.Gaussian(0, 0.1))
    draws = density.sample(400, 2)
    metric = metrics.BinnedTotalVariation(bins=12)
    once_around = draws + 2 * math.pi * np.random.default_rng(0).integers(-2, 3, draws.shape)
    assert metric(density, wfr.Particles(once_around)) == metric(density, wfr.Particles(draws))


def test_a_reference_without_mass_somewhere():
    grid = wfr.Grid(0, 10, 50)
    log_values = np.where(grid.axes[0].centres < 5, -math.log(5), -np.inf)
    density = wfr.Density(grid, log_values)
    metric = metrics.BinnedTotalVariation(bins=5)
    assert metric(density, wfr.Particles([[0.5], [4.5]])) == pytest.approx(0.6, rel=1e-12)  # bins of mass 0.2
    assert metric(density, wfr.Particles([[0.5], [7.5]])) == pytest.approx(0.6, rel=1e-12)  # 7.5 is in the last bin
    everything = metrics.BinnedTotalVariation(bins=50)
    assert everything(density, wfr.Particles([[7.5]])) == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize("bins", [0, 1, 2.5])
def test_numbers_of_bins_that_make_no_sense(bins):
    with pytest.raises(ValueError, match="bins must be a whole number of at least 2"):
        metrics.BinnedTotalVariation(bins=bins)


def test_a_reference_must_be_a_density():
    particles = wfr.Particles(LINE.sample(10, 1))
    with pytest.raises(TypeError, match=r"total_variation needs a Density as reference, .*grid\.density"):
        metrics.BinnedTotalVariation()(particles, particles)
