"""Draws from a density on a grid."""

import math

import numpy as np
import pytest

import wfr_pde as wfr


def ks(draws, distribution_function):
    """Kolmogorov-Smirnov distance times sqrt(n): above 2.5 once in 1e5."""
    uniform = np.sort(distribution_function(draws))
    return np.abs(uniform - (np.arange(len(uniform)) + 0.5) / len(uniform)).max() * math.sqrt(len(uniform))


def test_draws_follow_the_density():
    target = wfr.GaussianMixture([[-2, 0], [2, 1]], [0.3, 0.7], 0.3)
    density = wfr.Grid.covering(target, shape=60).density(target)
    draws = density.sample(200_000, rng=1)
    mean, covariance = target.moments()
    n = len(draws)
    assert draws.shape == (200_000, 2)
    # five standard errors: a false alarm in 2e6; cells drawn uniformly would add dx²/12 = 0.002 to the variance
    assert np.abs(draws.mean(axis=0) - mean).max() < 5 * math.sqrt(covariance.max() / n)
    assert np.abs(np.cov(draws.T) - covariance).max() < 5 * math.sqrt(3 / n) * covariance.max()
    uniform = np.sort(np.vectorize(math.erf)((draws[draws[:, 0] > 0, 0] - 2) / math.sqrt(0.6)) / 2 + 0.5)
    # Kolmogorov-Smirnov distance within one component, 2.5/sqrt(n): a false alarm in 1e5
    assert np.abs(uniform - (np.arange(len(uniform)) + 0.5) / len(uniform)).max() < 2.5 / math.sqrt(len(uniform))
    assert np.array_equal(draws, density.sample(200_000, rng=1))


def test_draws_where_a_component_holds_almost_no_mass_or_none():
    density = wfr.Grid(-8, 8, 100).density(wfr.GaussianMixture([-4.0, 4.0], [1, 1e-300], 0.2))
    assert (density.sample(1000, rng=0) < 0).all()
    assert density.sample(0, rng=0).shape == (0, 1)


@pytest.mark.parametrize("slope", [1.0, 2.0, 4.0])  # nats per cell
def test_draws_at_a_steep_wall(slope):
    """The density goes on rising in the half cell at the wall; the exact law is a truncated exponential."""
    grid = wfr.Grid(0, 1, 20, max_cut=1)
    draws = grid.density(wfr.Potential(lambda x: 20 * slope * x)).sample(100_000, rng=0)[:, 0]
    rate = 20 * slope
    uniform = np.sort(np.expm1(-rate * draws) / np.expm1(-rate))
    # Kolmogorov-Smirnov distance 2.5/sqrt(n): a false alarm in 1e5
    assert np.abs(uniform - (np.arange(len(uniform)) + 0.5) / len(uniform)).max() < 2.5 / math.sqrt(len(uniform))


@pytest.mark.parametrize("slope", [20.0, 60.0])
def test_draws_at_a_wall_with_graded_cells(slope):
    """Cells wide at the upper wall and narrow at the lower, where the truncated exponential has its mass."""
    grid = wfr.Grid(0, 1, 40, max_cut=1, grading=lambda x: 1 / (0.02 + x))
    draws = grid.density(wfr.Potential(lambda x: slope * x)).sample(100_000, rng=0)[:, 0]
    assert ks(draws, lambda x: np.expm1(-slope * x) / np.expm1(-slope)) < 2.5
