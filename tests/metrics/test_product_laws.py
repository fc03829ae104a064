"""Metrics against laws in any dimension: closed forms, and Monte Carlo."""

import math

import numpy as np
import pytest
from product_trees import small_tree

import wfr_pde as wfr
from wfr_pde.metrics.product_kernel_means import mean_of_directions, own_product_mean, product_mean_at
from wfr_pde.space.product_law import ProductLaw
from wfr_pde.space.radial_law import RadialLaw

STANDARD_ERRORS = 5.0


def shell(m, q=2.0, rate=1.0):
    """|x|^q exp(-rate |x|²/2) in R^m, by its radius on a grid."""
    middle, width = math.sqrt((q + m) / rate), 1 / math.sqrt(rate)
    grid = wfr.Grid(max(0.0, middle - 9 * width), middle + 9 * width, 500)
    r = grid.axes[0].centres
    density = wfr.Density(grid, (q + m - 1) * np.log(r) - rate * r**2 / 2)
    return RadialLaw(density.normalised(), m)


def hundred():
    """Wells, shells and a correlated Gaussian in a hundred dimensions, turned."""
    rng = np.random.default_rng(3)
    mix = rng.normal(size=(30, 30)) / 6
    grid = wfr.Grid(-3.0, 3.0, 160)
    well = grid.density(wfr.DoubleWell(3.0))
    factors = [well] * 40 + [wfr.Gaussian(rng.normal(size=30), 0.3 * np.eye(30) + mix @ mix.T), shell(30)]
    return ProductLaw(factors, np.linalg.qr(rng.normal(size=(100, 100)))[0], rng.normal(size=100))


def test_the_mean_of_the_kernel_in_a_hundred_dimensions_is_that_of_draws():
    """E k(X, x_i) and E k(X, X') of 100 particles in 100 dimensions: 200 000 draws, in blocks of 20 000."""
    law, scale = hundred(), 20.0
    particles = law.sample(100, 5)
    exact = product_mean_at(scale, law, particles)
    own = own_product_mean(scale, law)
    sums, squares, pairs, n = np.zeros(100), np.zeros(100), [], 0
    rng = np.random.default_rng(6)
    for _ in range(10):
        draws = law.sample(20_000, rng)
        square = np.sum(draws**2, axis=1)[:, None] + np.sum(particles**2, axis=1) - 2 * draws @ particles.T
        kernel = np.exp(-square / scale**2)
        sums, squares, n = sums + kernel.sum(axis=0), squares + (kernel**2).sum(axis=0), n + len(draws)
        pairs.append(np.exp(-np.sum((draws[::2] - draws[1::2]) ** 2, axis=1) / scale**2))
    mean = sums / n
    error = np.sqrt((squares / n - mean**2) / n)
    assert (np.abs(mean - exact) < STANDARD_ERRORS * error).all()
    assert (error < 3e-3 * exact).all()  # the comparison is sharp
    values = np.concatenate(pairs)
    assert abs(values.mean() - own) < STANDARD_ERRORS * values.std() / math.sqrt(len(values))


@pytest.mark.parametrize("m", [1, 2, 3, 10, 80])
def test_the_kernel_over_a_radial_gaussian_is_the_closed_form(m):
    """A standard Gaussian by its radius, and as a Gaussian."""
    radial, gaussian = ProductLaw([shell(m, 0.0)]), ProductLaw([wfr.Gaussian(np.zeros(m), 1.0)])
    x = 1.5 * gaussian.sample(20, 0)
    for scale in (1.5, 6.0, 40.0):
        # where mass is near r = 0, sums over cells are of order 8 and no more
        assert product_mean_at(scale, radial, x) == pytest.approx(product_mean_at(scale, gaussian, x), rel=1e-6)
        assert own_product_mean(scale, radial) == pytest.approx(own_product_mean(scale, gaussian), rel=1e-6)


@pytest.mark.parametrize("m", [1, 2, 3, 50, 400, 1200])
def test_the_mean_over_directions_is_right_for_all_sizes(m):
    """Against mpmath's confluent hypergeometric limit function, scaled."""
    import mpmath

    kappa = [0.0, 1e-9, 1e-3, 1.0, 30.0, 400.0, 5000.0]
    with mpmath.workdps(60):
        exact = [mpmath.hyp0f1(mpmath.mpf(m) / 2, mpmath.mpf(k) ** 2 / 4) * mpmath.exp(-k) for k in kappa]
        found = mean_of_directions(m, np.array(kappa)).tolist()
        for one, other in zip(found, exact, strict=True):
            assert abs(one - other) < 1e-11 * other + 1e-300  # 1e-300: smaller than floats are


def test_mmd_of_draws_has_the_floor_it_says():
    law, metric, n = hundred(), wfr.metrics.MMD(20.0, squared=True), 50
    values = np.array([metric(law, wfr.Particles(law.sample(n, k))) for k in range(60)])
    error = STANDARD_ERRORS * values.std() / math.sqrt(len(values))
    assert abs(values.mean() - metric.floor(law, n)) < error < 0.3 * metric.floor(law, n)


def test_moments_are_compared_in_x():
    law = hundred()
    shifted = wfr.Particles(law.sample(4000, 0) + np.eye(100)[0])
    assert wfr.metrics.mean_error(law, shifted) == pytest.approx(1 + np.trace(law.covariance()) / 4000, abs=0.2)
    assert wfr.metrics.mean_error.floor(law, 10) == pytest.approx(np.trace(law.covariance()) / 10)


def test_marginal_distances_are_lower_bounds_and_see_a_shift_along_y():
    law = hundred()
    draws = law.sample(2000, 1)
    moved = wfr.Particles(draws + 0.5 * law.rotation[:, 3])
    by_one = wfr.metrics.MarginalWasserstein([3], order=1)
    assert by_one(law, moved) == pytest.approx(0.5, abs=0.06)
    assert by_one(law, wfr.Particles(draws)) < 0.06
    assert wfr.metrics.MarginalWasserstein([5], order=1)(law, moved) < 0.06
    assert wfr.metrics.MarginalQuantiles([3], levels=[0.1, 0.9])(law, moved) == pytest.approx(0.5, abs=0.15)
    metric = wfr.metrics.MarginalTotalVariation()
    values = [metric(law, wfr.Particles(law.sample(200, k))) for k in range(20)]
    assert np.mean(values) == pytest.approx(metric.floor(law, 200), rel=0.1)


def test_masses_of_modes_of_a_product_against_draws():
    rng = np.random.default_rng(0)
    grid = wfr.Grid(-3.0, 3.0, 160)
    law = ProductLaw([grid.density(wfr.DoubleWell(2.0)), wfr.Gaussian(rng.normal(size=2), 1.0), shell(3)])
    centres = np.array([[a, b, 0, 0, c, 0] for a in (-1, 1) for b in (-0.5, 1.0) for c in (-1.0, 0.5, 2.0)])
    metric = wfr.metrics.ModeMasses(centres)
    draws = wfr.Particles(law.sample(100_000, 1))
    assert metric(law, draws) < 3 * metric.floor(law, 100_000)
    assert metric.floor(law, 100) > 0.05


def test_metrics_by_draws_have_a_floor_of_their_own():
    law = hundred()
    for inner in (wfr.metrics.EnergyDistance(), wfr.metrics.SlicedWasserstein(16), wfr.metrics.MMD(9.0, "laplace")):
        metric = wfr.metrics.ByDraws(inner, draws=500)
        drawn, shifted = wfr.Particles(law.sample(500, 11)), wfr.Particles(law.sample(500, 12) + 1.0)
        same = wfr.Particles(law.sample(500, 0))
        assert metric(law, same) < 1e-6 < metric(law, drawn) < 0.5 * metric(law, shifted)
    with pytest.raises(TypeError, match="takes no particles as reference"):
        wfr.metrics.ByDraws(wfr.metrics.total_variation)


def test_compare_takes_a_tree_and_states_the_floor():
    tree = small_tree()
    target = wfr.Product([wfr.Gaussian([0, 0], 1), wfr.Gaussian([0, 0, 0], 1.0)])
    start = wfr.Product([wfr.Gaussian([0.5, 0], 0.5), wfr.Gaussian([0, 0, 0], 0.5)])
    sampler = wfr.samplers.Langevin()
    runs = [wfr.solve(target, sampler, start.sample(200, k), [0, 0.1, 0.2], 0.05, rng=k) for k in range(3)]
    metrics = [wfr.metrics.MMD(3.0), wfr.metrics.mean_error, wfr.metrics.MarginalTotalVariation()]
    ds = wfr.compare(tree, {"langevin": runs}, metrics, floor_draws=10)
    first = ds.isel(t=0).squeeze()
    assert (abs(first["mean"] - first["floor"]) < 0.6 * first["floor"]).all()  # the start is drawn exactly
    # transport alone is slower than the flow with both parts
    assert float(ds["mean"].sel(metric="mean_error", t=0.2).squeeze()) > 0.01
    with pytest.raises(TypeError, match="coordinate by coordinate, as MarginalTotalVariation"):
        wfr.compare(tree, {"langevin": runs}, [wfr.metrics.total_variation])
    with pytest.raises(TypeError, match="ByDraws"):
        wfr.compare(tree, {"langevin": runs}, [wfr.metrics.EnergyDistance()])
