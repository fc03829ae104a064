"""Particles: weights, moments, what is refused."""

import numpy as np
import pytest

import wfr_pde as wfr


def test_particles():
    positions = np.random.default_rng(0).standard_normal((500, 2))
    log_weights = positions[:, 0] - 1e4
    particles = wfr.Particles(positions, log_weights)
    weights = np.exp(positions[:, 0]) / np.exp(positions[:, 0]).sum()
    assert particles.weights == pytest.approx(weights)
    assert particles.mass == pytest.approx(1, abs=1e-14)
    assert particles.mean() == pytest.approx(weights @ positions)
    assert particles.covariance() == pytest.approx(np.cov(positions.T, aweights=weights, ddof=0))
    assert particles.effective_sample_size == pytest.approx(1 / (weights**2).sum())
    assert particles.expectation(lambda p: p[:, 1] ** 2) == pytest.approx(weights @ positions[:, 1] ** 2)
    assert wfr.Particles(positions).effective_sample_size == pytest.approx(500)
    assert particles.sample(10, rng=0).shape == (10, 2)


@pytest.mark.parametrize(
    ("positions", "log_weights", "message"),
    [
        (np.zeros(5), None, r"shape \(n, d\)"),
        (np.zeros((0, 2)), None, "n > 0"),
        (np.array([[0.0], [np.nan]]), None, "particle 1 has the position"),
        (np.zeros((3, 1)), np.zeros(2), "the number of particles is 3"),
        (np.zeros((2, 1)), np.array([-np.inf, -np.inf]), "at least one weight must be positive"),
        (np.zeros((2, 1)), np.array([0.0, np.nan]), "at least one weight must be positive"),
    ],
)
def test_wrong_particles(positions, log_weights, message):
    with pytest.raises(ValueError, match=message):
        wfr.Particles(positions, log_weights)


def test_resampled_by_numbers_or_by_a_mask():
    particles = wfr.Particles([[0.0], [1.0], [2.0]], [0.0, -1.0, -2.0])
    assert particles.resampled(np.array([2, 0, 2])).positions[:, 0].tolist() == [2, 0, 2]
    assert particles.resampled([True, False, True]).positions[:, 0].tolist() == [0, 2]
    assert particles.resampled([0, -1]).weights.tolist() == [0.5, 0.5]


@pytest.mark.parametrize("which", ["x", None, [], [0.5], [3], [-4], [np.nan], np.zeros((2, 2)), 10**400, np.ma.masked])
def test_what_are_no_numbers_of_particles(which):
    with pytest.raises(ValueError, match="^which "):
        wfr.Particles([[0.0], [1.0], [2.0]]).resampled(which)
