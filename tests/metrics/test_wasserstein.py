"""Wasserstein distances against closed forms, SciPy and POT."""

import math
import subprocess
import sys

import numpy as np
import ot
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import wfr_pde as wfr
from wfr_pde import metrics
from wfr_pde.metrics.wasserstein import _means_of_boxes

settings.register_profile("metrics", deadline=None, max_examples=40)
SEEDS = st.integers(0, 2**32 - 1)


def gaussian(n, mean, variance, **options):
    return wfr.Grid(-9, 9, n, **options).density(wfr.Gaussian(mean, variance))


def weighted(rng, n, d=1, **options):
    return wfr.Particles(rng.normal(size=(n, d)), rng.normal(size=n), **options)


# On a line


@given(seed=SEEDS, n=st.integers(1, 30), m=st.integers(1, 30))
@settings(deadline=None, max_examples=60)
def test_particles_on_a_line_are_those_of_scipy_and_pot(seed, n, m):
    rng = np.random.default_rng(seed)
    a, b = weighted(rng, n), weighted(rng, m)
    x, y = a.positions[:, 0], b.positions[:, 0]
    expected = stats.wasserstein_distance(x, y, a.weights, b.weights)
    assert metrics.wasserstein_1(a, b) == pytest.approx(expected, rel=1e-10, abs=1e-14)
    expected = math.sqrt(ot.wasserstein_1d(x, y, a.weights, b.weights, p=2))
    assert metrics.wasserstein_2(a, b) == pytest.approx(expected, rel=1e-7, abs=1e-7)


def errors(function, closed):
    return [function(gaussian(n, 0, 1), gaussian(n, 0.7, 0.5)) - closed for n in (100, 200, 400)]


def test_gaussians_on_a_line_to_second_order():
    sd = math.sqrt(0.5)
    w2 = errors(metrics.wasserstein_2, math.hypot(0.7, 1 - sd))
    x = np.linspace(-9, 9, 1_000_001)
    w1 = errors(metrics.wasserstein_1, np.trapezoid(np.abs(stats.norm.cdf(x) - stats.norm.cdf(x, 0.7, sd)), x))
    assert abs(w1[0]) < 5e-5
    assert abs(w2[0]) < 3e-4
    for e in (w1, w2):
        assert 3 < e[0] / e[1] < 6  # O(dx²)
        assert 3 < e[1] / e[2] < 6


def test_graded_cells():
    options = {"grading": lambda x: 1 / np.sqrt(1 + x**2)}
    a, b = gaussian(300, 0, 1, **options), gaussian(400, 0.7, 0.5)
    assert metrics.wasserstein_2(a, b) == pytest.approx(math.hypot(0.7, 1 - math.sqrt(0.5)), abs=1e-4)


def test_a_shift_is_a_shift():
    particles = wfr.Particles(gaussian(400, 0, 1).sample(300, 3))
    moved = wfr.Particles(particles.positions + 1.5)
    assert metrics.wasserstein_1(particles, moved) == pytest.approx(1.5, rel=1e-13)
    assert metrics.wasserstein_2(particles, moved) == pytest.approx(1.5, rel=1e-13)
    far = wfr.Particles([[1000.0]])  # outside of the box: it counts where it is
    assert metrics.wasserstein_1(gaussian(400, 0, 1), far) == pytest.approx(1000, rel=1e-12)


def test_one_particle_against_a_density():
    density, particle = gaussian(400, 0, 1), wfr.Particles([[0.0]])
    assert metrics.wasserstein_1(density, particle) == pytest.approx(math.sqrt(2 / math.pi), abs=3e-4)  # dx²/12 φ(0)..
    dx = density.grid.axes[0].dx
    assert metrics.wasserstein_2(density, particle) == pytest.approx(math.sqrt(1 + dx**2 / 12), rel=1e-9)


def test_floor_on_a_line():
    density, n, runs = gaussian(400, 0, 1), 300, 80
    rng = np.random.default_rng(4)
    values = [metrics.wasserstein_1(density, wfr.Particles(density.sample(n, rng))) for _ in range(runs)]
    floor = metrics.wasserstein_1.floor(density, n)
    assert abs(np.mean(values) - floor) < 4.5 * np.std(values, ddof=1) / math.sqrt(runs)  # by chance: 7e-6
    # asymptotically E ∫ |F_n - F| = ∫ sqrt(2 F (1 - F)/(π n))
    x = density.grid.axes[0].edges
    f = stats.norm.cdf(x)
    assert floor == pytest.approx(np.trapezoid(np.sqrt(2 * f * (1 - f) / math.pi / n), x), rel=0.02)


def test_a_density_with_a_gap():
    grid = wfr.Grid(0, 4, 40)
    log_values = np.where((grid.axes[0].centres < 1) | (grid.axes[0].centres > 3), math.log(0.5), -np.inf)
    density = wfr.Density(grid, log_values)
    modes = wfr.Particles([[0.5], [3.5]])
    # every mode is even on an interval of length 1 about its particle
    assert metrics.wasserstein_1(density, modes) == pytest.approx(1 / 4, rel=1e-12)
    assert metrics.wasserstein_2(density, modes) == pytest.approx(math.sqrt(1 / 12), rel=1e-12)
    uneven = wfr.Particles([[0.5], [3.5]], np.log([0.3, 0.7]))
    assert metrics.wasserstein_1(modes, uneven) == pytest.approx(0.6, rel=1e-12)
    assert metrics.wasserstein_2(modes, uneven) == pytest.approx(math.sqrt(0.2 * 9), rel=1e-12)


# Sliced


@pytest.mark.parametrize(("d", "shape"), [(2, (60, 90)), (3, (32, 36, 40))])
def test_sliced_gaussians_to_second_order(d, shape):
    metric = metrics.SlicedWasserstein()
    along = metric.directions(d)[:, 0]
    sd = math.sqrt(0.8)
    closed = math.sqrt(np.mean((0.7 * along) ** 2) + (1 - sd) ** 2)
    found = []
    for factor in (1, 2) if d == 2 else (1, 1.5):
        grid = wfr.Grid([-8] * d, [8.5] * d, [int(factor * n) for n in shape])
        a, b = grid.density(wfr.Gaussian([0] * d, 1)), grid.density(wfr.Gaussian([0.7] + [0] * (d - 1), 0.8))
        found.append(metric(a, b) - closed)
    assert abs(found[0]) < 4e-4
    assert abs(found[0] / found[1]) > 0.8 * (4 if d == 2 else 2.25)


def test_directions_of_the_plane_are_exact_for_second_moments():
    for n in (2, 5, 64):
        directions = metrics.SlicedWasserstein(n).directions(2)
        assert directions.T @ directions / n == pytest.approx(np.eye(2) / 2, abs=1e-14)


def test_directions_of_space_are_even_and_repeatable():
    for d in (3, 4):
        directions = metrics.SlicedWasserstein(256).directions(d)
        assert np.linalg.norm(directions, axis=1) == pytest.approx(1)
        # random directions: 0.9/sqrt(3 256) = 0.03 in every entry
        assert directions.T @ directions / 256 == pytest.approx(np.eye(d) / d, abs=0.01)
        assert np.array_equal(directions, metrics.SlicedWasserstein(256).directions(d))
        assert not np.array_equal(directions, metrics.SlicedWasserstein(256, seed=1).directions(d))


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("d", [2, 3])
def test_sliced_particles_are_those_of_pot(order, d):
    rng = np.random.default_rng(8)
    a, b = weighted(rng, 40, d), weighted(rng, 55, d)
    metric = metrics.SlicedWasserstein(20, order=order)
    expected = ot.sliced_wasserstein_distance(
        a.positions, b.positions, a.weights, b.weights, p=order, projections=metric.directions(d).T
    )
    assert metric(a, b) == pytest.approx(expected, rel=1e-7)


def test_sliced_in_one_dimension_is_the_distance_itself():
    density, particles = gaussian(200, 0, 1), wfr.Particles(np.linspace(-1, 2, 20)[:, None])
    assert metrics.SlicedWasserstein()(density, particles) == pytest.approx(
        metrics.wasserstein_2(density, particles), abs=1e-3
    )


def test_sliced_distance_of_draws_falls_with_their_number():
    target = wfr.GaussianMixture(means=[[-2, 0], [2, 0]], weights=[0.3, 0.7], covariances=0.25)
    density = wfr.Grid([-6, -4], [6, 4], (60, 80), grading=[lambda x: 1 / np.sqrt(1 + x**2), None]).density(target)
    one, many = (
        np.mean([metrics.SlicedWasserstein(16)(density, wfr.Particles(target.sample(n, s))) for s in range(6)])
        for n in (100, 10_000)
    )
    assert many < one / 2.5  # n^-¼ for the masses of the modes, n^-½ for the rest: 3.2 to 10
    assert many < 0.1


# In any dimension, through POT


@pytest.mark.parametrize("order", [1, 2])
def test_particles_are_those_of_pot(order):
    rng = np.random.default_rng(2)
    a, b = weighted(rng, 30, 2), weighted(rng, 45, 2)
    cost = ot.dist(a.positions, b.positions, "sqeuclidean" if order == 2 else "euclidean")
    expected = ot.emd2(a.weights, b.weights, cost) ** (1 / order)
    assert metrics.Wasserstein(order)(a, b) == pytest.approx(expected, rel=1e-9)
    assert metrics.Wasserstein(order)(a, a) == pytest.approx(0, abs=1e-7)


def test_line_needs_no_transport_plan():
    rng = np.random.default_rng(2)
    a, b = weighted(rng, 30), weighted(rng, 45)
    assert metrics.Wasserstein(1)(a, b) == metrics.wasserstein_1(a, b)
    assert metrics.Wasserstein(2)(a, b) == metrics.wasserstein_2(a, b)


@pytest.mark.parametrize(("d", "shape"), [(2, 60), (3, 40)])
def test_densities_within_their_discretisation_errors(d, shape):
    grid = wfr.Grid([-7] * d, [7.5] * d, shape)
    sd = math.sqrt(0.6)
    a, b = grid.density(wfr.Gaussian([0] * d, 1)), grid.density(wfr.Gaussian([0.7] + [0] * (d - 1), 0.6))
    metric = metrics.Wasserstein(atoms=500)
    closed = math.sqrt(0.49 + d * (1 - sd) ** 2)
    bound = metric.discretisation_error(a) + metric.discretisation_error(b)
    assert abs(metric(a, b) - closed) < bound
    own = d * grid.axes[0].dx ** 2 / 12  # of the cells themselves
    few, many = (metrics.Wasserstein(atoms=n).discretisation_error(a) ** 2 - own for n in (250, 2000))
    assert many / few < 1.5 * 8 ** (-2 / d)  # boxes of size atoms^(-1/d)


def test_discretisation_error_is_the_distance_to_the_atoms():
    density = wfr.Grid([-6, -6], [6, 6], 40).density(wfr.Gaussian([0, 0], 1))
    points, weights, error = _means_of_boxes(density, 50)
    assert weights.sum() == pytest.approx(1)
    draws = density.sample(20_000, 1)
    nearest = ((draws[:, None] - points) ** 2).sum(axis=-1).min(axis=1).mean()
    assert 0.85 * error**2 < nearest < error**2  # boxes are not the cells of Voronoi
    exact = metrics.Wasserstein(atoms=10**6)
    assert exact.discretisation_error(density) == pytest.approx(math.sqrt(2 * 0.3**2 / 12), rel=1e-12)


def test_missing_pot_is_named():
    code = (
        "import sys; sys.modules['ot'] = None; import numpy as np, wfr_pde as wfr\n"
        "p = wfr.Particles(np.eye(2))\n"
        "try: wfr.metrics.Wasserstein()(p, p)\n"
        "except wfr.BackendError as error: print(error)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'wfr-pde[ot]'" in out.stdout


def test_too_many_pairs_are_refused():
    rng = np.random.default_rng(0)
    a = wfr.Particles(rng.normal(size=(12_000, 2)))
    with pytest.raises(ValueError, match=r"12000 times 12000 pairs.*SlicedWasserstein"):
        metrics.Wasserstein()(a, a)


@pytest.mark.parametrize("make", [metrics.Wasserstein, metrics.SlicedWasserstein])
def test_orders(make):
    with pytest.raises(ValueError, match="order of a Wasserstein distance is 1 or 2 here, got 3"):
        make(order=3)


def test_parameters_that_make_no_sense():
    with pytest.raises(ValueError, match="n_directions must be"):
        metrics.SlicedWasserstein(0)
    with pytest.raises(ValueError, match="atoms must be"):
        metrics.Wasserstein(atoms=1)


@pytest.mark.parametrize("metric", [metrics.wasserstein_1, metrics.wasserstein_2])
def test_more_dimensions_need_another_metric(metric):
    particles = wfr.Particles(np.eye(2))
    with pytest.raises(ValueError, match="one-dimensional, but the measures are 2-dimensional: use SlicedWasserstein"):
        metric(particles, particles)
