"""Estimates of KL(particles | reference)."""

import math

import numpy as np
import pytest

import wfr_pde as wfr
from wfr_pde import diagnostics, metrics

ESTIMATES = [metrics.NeighbourKL(), metrics.NeighbourKL(1), metrics.KernelKL(0.1)]


def reference(d):
    return wfr.Grid([-8] * d, [8] * d, (300, 64, 36)[d - 1]).density(wfr.Gaussian([0] * d, 1))


def bias_by_neighbours(d, n, runs):
    """Bias for Gaussians, and its standard error."""
    mean, variance = 0.5, 0.8
    density, rng = reference(d), np.random.default_rng(d)
    draws = mean + math.sqrt(variance) * rng.normal(size=(runs, n, d))
    values = [metrics.NeighbourKL(3)(density, wfr.Particles(x)) for x in draws]
    assert np.std(values) < 3 / math.sqrt(n) * math.sqrt(d)
    closed = 0.5 * d * (variance + mean**2 - 1 - math.log(variance))
    return np.mean(values) - closed, np.std(values, ddof=1) / math.sqrt(runs)


@pytest.mark.parametrize("d", [1, 2])
def test_gaussians_by_neighbours(d):
    bias, error = bias_by_neighbours(d, 1000, 40)
    assert abs(bias) < 4.5 * error + (3 / 1000) ** (2 / d)


def test_bias_of_neighbours_in_space_falls_slowly():
    few, error_of_few = bias_by_neighbours(3, 250, 160)
    many, error_of_many = bias_by_neighbours(3, 4000, 40)
    assert many > 4.5 * error_of_many  # it is there, and positive
    # (k/n)^(2/3) would be 6.3, were the density bounded below; in the tails neighbours are too far away for that
    assert (few - 2 * error_of_few) / many > 1.8
    assert few / many < 6.3


def test_gaussians_by_a_kernel_with_its_bias():
    n, runs, variance, sd = 300, 100, 0.05, 0.9
    density = reference(1)
    rng = np.random.default_rng(7)
    values = [metrics.KernelKL(variance)(density, wfr.Particles(sd * rng.normal(size=(n, 1)))) for _ in range(runs)]
    closed = 0.5 * (sd**2 - 1 - math.log(sd**2))
    smoothing = -0.5 * math.log1p(variance / sd**2) + 0.5 * variance / (sd**2 + variance)
    x = np.linspace(-8, 8, 2001)

    def normal(v):
        return np.exp(-(x**2) / 2 / v) / math.sqrt(2 * math.pi * v)

    # K² = N(0, variance/2)/sqrt(4π variance)
    squared = normal(sd**2 + variance / 2) / math.sqrt(4 * math.pi * variance)
    inside = np.abs(x) < 2.5 * sd  # farther out there are too few particles for the expansion
    fluctuation = -np.trapezoid((normal(sd**2) * squared / normal(sd**2 + variance) ** 2)[inside], x[inside]) / 2 / n
    found = np.mean(values)
    assert fluctuation < -5e-3
    assert smoothing < 0
    error = 4.5 * np.std(values, ddof=1) / math.sqrt(runs)
    assert abs(found - (closed + smoothing + fluctuation)) < error + 0.5 * abs(fluctuation)


@pytest.mark.parametrize("metric", ESTIMATES)
def test_between_densities_it_is_the_divergence(metric):
    density = reference(1)
    other = density.grid.density(wfr.Gaussian(0.5, 0.8))
    expected = diagnostics.kl(other, wfr.KL(wfr.Gaussian(0, 1)))
    assert metric(density, other) == pytest.approx(expected, rel=1e-12)
    assert metric(density, density) == 0


def test_neighbours_by_hand():
    x, w = np.array([0.0, 1.0, 3.0]), np.array([0.2, 0.3, 0.5])
    density = reference(1)
    # the nearest to 0 and to 3 is 1, to 1 it is 0; ψ(1) = -γ, the ball has length 2 ρ
    q = np.exp(-np.euler_gamma) * np.array([0.3 / 0.8 / 2, 0.2 / 0.7 / 2, 0.3 / 0.5 / 4])
    expected = w @ (np.log(q) - density.log_prob(x[:, None]))
    assert metrics.NeighbourKL(1)(density, wfr.Particles(x[:, None], np.log(w))) == pytest.approx(expected, rel=1e-12)


def test_kernel_by_hand():
    x, w = np.array([[0.0], [1.0], [3.0]]), np.array([0.2, 0.3, 0.5])
    density = reference(1)
    k = np.exp(-((x - x.T) ** 2) / 0.4) / math.sqrt(0.4 * math.pi)
    np.fill_diagonal(k, 0)
    expected = w @ (np.log(k @ w / (1 - w)) - density.log_prob(x))
    assert metrics.KernelKL(0.2)(density, wfr.Particles(x, np.log(w))) == pytest.approx(expected, rel=1e-12)


def test_outside_the_box_it_is_infinite():
    particles = wfr.Particles(np.append(np.linspace(-1, 1, 20), 50.0)[:, None])
    for metric in ESTIMATES:
        assert metric(reference(1), particles) == math.inf


def test_plain_function():
    density = reference(1)
    particles = wfr.Particles(density.sample(100, 1))
    assert metrics.kl_estimate(density, particles) == metrics.NeighbourKL(5)(density, particles)


def test_errors():
    density = reference(1)
    with pytest.raises(ValueError, match=r"different positions of positive weight there are 2, but 5 neighbours"):
        metrics.NeighbourKL()(density, wfr.Particles([[0.0], [0.0], [1.0]]))
    with pytest.raises(ValueError, match="needs at least two different positions"):
        metrics.KernelKL(1)(density, wfr.Particles([[0.0], [0.0]]))
    with pytest.raises(ValueError, match="neighbours must be a whole number"):
        metrics.NeighbourKL(0)
    with pytest.raises(ValueError, match="variance must be positive.*: it is that of the kernel"):
        metrics.KernelKL(0)
    with pytest.raises(TypeError, match="needs a Density as reference"):
        metrics.NeighbourKL()(wfr.Particles([[0.0]]), wfr.Particles([[0.0]]))
    periodic = wfr.Grid(-3, 3, 100, boundary="periodic").density(wfr.Gaussian(0, 0.1))
    with pytest.raises(ValueError, match="axis x is periodic"):
        metrics.NeighbourKL()(periodic, wfr.Particles(np.linspace(-1, 1, 20)[:, None]))
