"""Errors of means, covariances, masses of modes and other expectations."""

import math

import numpy as np
import pytest

import wfr_pde as wfr
from wfr_pde import metrics

TARGET = wfr.GaussianMixture(means=[[-2, 0], [2, 0]], weights=[0.3, 0.7], covariances=0.25)
DENSITY = wfr.Grid([-6, -4], [6, 4], (120, 80)).density(TARGET)
MODES = [[-2, 0], [2, 0]]


def test_mean_and_covariance_of_gaussians():
    grid = wfr.Grid([-8, -8], [9, 9], 60)
    a, b = grid.density(wfr.Gaussian([0, 0], 1)), grid.density(wfr.Gaussian([0.3, -0.4], 0.5))
    assert metrics.mean_error(a, b) == pytest.approx(0.25, rel=1e-12)
    assert metrics.covariance_error(a, b) == pytest.approx(2 * 0.25, rel=1e-11)
    particles = wfr.Particles([[1.0, 0.0], [-1.0, 0.0]], np.log([0.8, 0.2]))
    assert metrics.mean_error(a, particles) == pytest.approx(0.36, rel=1e-12)
    # the variance along x is 1 - 0.36, there is none along y
    assert metrics.covariance_error(a, particles) == pytest.approx(0.36**2 + 1, rel=1e-12)
    assert metrics.mean_error(particles, particles) == 0


def test_floor_of_the_mean():
    n, runs = 100, 200
    rng = np.random.default_rng(1)
    values = [metrics.mean_error(DENSITY, wfr.Particles(TARGET.sample(n, rng))) for _ in range(runs)]
    floor = metrics.mean_error.floor(DENSITY, n)
    assert floor == pytest.approx((0.25 * 2 + 16 * 0.21) / n, rel=1e-9)
    assert abs(np.mean(values) - floor) < 4.5 * np.std(values, ddof=1) / math.sqrt(runs)  # by chance: 7e-6


def test_masses_of_modes():
    metric = metrics.ModeMasses(MODES)
    assert metric(DENSITY, wfr.Particles([[-1.0, 0.0], [1.0, 0.0]])) == pytest.approx(0.2, abs=1e-4)
    far = wfr.Particles([[-100.0, 0.0], [100.0, 0.0]], np.log([0.3, 0.7]))  # outside the box: to the nearest
    assert metric(DENSITY, far) == pytest.approx(0, abs=1e-4)
    one = metrics.ModeMasses([-1.0, 1.0])
    line = wfr.Particles([[0.5], [0.7]])
    assert one(line, wfr.Particles([[-0.5], [0.7]])) == pytest.approx(0.5)


def test_floor_of_the_masses_of_modes():
    metric, n, runs = metrics.ModeMasses(MODES), 100, 300
    rng = np.random.default_rng(2)
    values = [metric(DENSITY, wfr.Particles(TARGET.sample(n, rng))) for _ in range(runs)]
    assert abs(np.mean(values) - metric.floor(DENSITY, n)) < 4.5 * np.std(values, ddof=1) / math.sqrt(runs)
    # two modes: the mean deviation of one binomial count, about sqrt(2 p (1 - p)/(π n))
    assert metric.floor(DENSITY, n) == pytest.approx(math.sqrt(2 * 0.21 / math.pi / n), rel=0.02)


def test_expectations_of_the_user():
    tail = metrics.ExpectationError(lambda x: x[..., 0] > 3, "tail", "squared error of P(x > 3)")
    assert (tail.name, tail.long_name, tail.units) == ("tail", "squared error of P(x > 3)", "1")
    expected = DENSITY.expectation(lambda x: x[..., 0] > 3)
    assert tail(DENSITY, wfr.Particles([[0.0, 0.0]])) == pytest.approx(expected**2, rel=1e-12)
    both = metrics.ExpectationError(lambda x: x, "mean")
    particles = wfr.Particles(TARGET.sample(50, 3))
    assert both(DENSITY, particles) == pytest.approx(metrics.mean_error(DENSITY, particles), rel=1e-10)


def test_effective_sample_size_ignores_the_reference():
    particles = wfr.Particles(np.zeros((4, 1)), np.log([0.4, 0.4, 0.1, 0.1]))
    assert metrics.effective_sample_size(None, particles) == pytest.approx(1 / 0.34, rel=1e-12)
    with pytest.raises(TypeError, match="is one of Particles, got Density as other"):
        metrics.effective_sample_size(None, DENSITY)


def test_particles_are_wrapped_along_periodic_axes():
    grid = wfr.Grid(-math.pi, math.pi, 200, boundary="periodic")
    density = grid.density(wfr.Gaussian(0.2, 0.1))
    draws = density.sample(50, 2)
    around = wfr.Particles(draws + 2 * math.pi)
    for metric in (metrics.mean_error, metrics.covariance_error, metrics.ModeMasses([-1.0, 0.1, 1.0])):
        assert metric(density, around) == pytest.approx(metric(density, wfr.Particles(draws)), rel=1e-9, abs=1e-13)


def test_centres_of_another_dimension_are_refused():
    with pytest.raises(ValueError, match="the centres are 1-dimensional, but the state is 2-dimensional"):
        metrics.ModeMasses([-1.0, 1.0])(DENSITY, DENSITY)
    with pytest.raises(ValueError, match="centres must be finite"):
        metrics.ModeMasses([[math.nan, 0.0]])
