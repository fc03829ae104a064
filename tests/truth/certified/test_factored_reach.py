"""What is neglected where target and start are split counts by how far the laws reach and how narrow they are."""

import numpy as np
import pytest

import wfr_pde as wfr
from wfr_pde import exact
from wfr_pde.truth.certified.factored.reach import amplification, spread

T = [0.0, 0.1, 0.5, 2.0]
LINE = wfr.Gaussian(0, 1)


def turned_by(angle):
    """A rotation of the plane."""
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def correlated(eps):
    """A covariance that is all but singular, with correlations of 5e-10 between its blocks."""
    covariance = np.eye(3)
    covariance[0, 1] = covariance[1, 0] = 1 - eps
    covariance[0, 2] = covariance[2, 0] = 5e-10
    covariance[1, 2] = covariance[2, 1] = -5e-10
    return covariance


NARROW = [wfr.Gaussian(0, 1e6), wfr.Gaussian(0, 1e-6)]
PROBLEMS = {
    "a start far away": (wfr.Product([LINE] * 2), wfr.Gaussian([1e4, 1e4], [[1, 5e-10], [5e-10, 1]])),
    "a start that is all but singular": (
        wfr.Product([wfr.Gaussian([0, 0], 1.0), LINE]),
        wfr.Gaussian(np.zeros(3), correlated(1e-4)),
    ),
    "a start that is turned a little": (wfr.Product([LINE] * 2), wfr.Product(NARROW, turned_by(5e-11))),
    "a target that is turned a little": (
        wfr.Product(NARROW, turned_by(5e-11)),
        wfr.Product([wfr.Gaussian(3, 1.0)] * 2),
    ),
    "blocks that are equal but for little": (
        wfr.Product([LINE, wfr.Gaussian(0, 1 + 5e-13), LINE]),
        wfr.Product([wfr.Gaussian(1e4, 4.0)] * 3),
    ),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_bound_holds_where_little_is_neglected(name):
    target, start = PROBLEMS[name]
    tree = wfr.ground_truth(target, start, T, transport_rate=0, rtol=1e-3, strict=False)
    path = wfr.Trajectory(tree, target)
    laws = [wfr.Gaussian(*law.moments()) for law in (target, start)]
    for k, true in enumerate(exact.gaussian_flow(*laws, T, 0, 1)):
        off = exact.gaussian_kl(wfr.Gaussian(path.mean(T[k]), path.covariance(T[k])), true)
        assert 0.65 * np.sqrt(2 * abs(off)) <= float(tree["error_l1"][k])
        assert abs(exact.gaussian_kl(true, laws[0]) - float(tree["kl"][k])) <= float(tree["error_kl"][k])


def test_pointwise_errors_hold_where_a_start_is_turned_a_little():
    target, start = PROBLEMS["a start that is turned a little"]
    tree = wfr.ground_truth(target, start, T, rtol=1e-2)
    path = wfr.Trajectory(tree, target)
    laws = [wfr.Gaussian(*law.moments()) for law in (target, start)]
    for t, true in zip(T, exact.gaussian_flow(*laws, T), strict=True):
        x = true.sample(2000, rng=0)
        off = np.abs(path.log_prob(x, t) - true.log_density(x) + true.log_normaliser)
        assert (off <= path.log_prob_error(x, t)).all()
        assert (np.linalg.norm(path.score(x, t) - true.score(x), axis=1) <= path.score_error(x, t)).all()
        assert t > 0 or off.max() > 1e-5


def test_spreads_are_moments_and_the_least_lengths():
    covariance = np.array([[2.0, 0.3], [0.3, 0.1]])
    mean, found, size = spread(wfr.Gaussian([1, 2], covariance))
    np.testing.assert_allclose(size, np.sqrt(np.linalg.eigvalsh(covariance)[0]))
    np.testing.assert_array_equal(found, covariance)
    for law in (wfr.Potential("x**2/0.02 + y**2/0.08"), wfr.Radial(wfr.Gaussian(0, 0.01), 3)):
        mean, found, size = spread(law)
        np.testing.assert_allclose(mean, 0, atol=1e-7)  # its box is found by a search
        assert 0.04 < size <= 0.1  # of the length of the score, which has several components
    law = wfr.Product([wfr.Gaussian(3, 0.01), wfr.Gaussian(4, 4.0)], shift=[1.0, 1.0])
    mean, found, size = spread(law)
    np.testing.assert_allclose((*mean, *found.diagonal(), size), (4, 5, 0.01, 4, 0.1))
    np.testing.assert_allclose(amplification([law], [np.ones(2)]), 1 + np.sqrt(25 + 4.01) / 0.1)


def test_a_law_whose_sums_over_wide_cells_are_not_one_is_a_trajectory():
    """Reaction alone is exact in every cell, however few there are beside a law that is far narrower than the box."""
    axes = np.eye(5)
    target = wfr.GaussianMixture([0 * axes[0], 1e-9 * axes[0]], [0.5, 0.5], 1.0)
    start = wfr.Gaussian(np.full(5, 1e4), 1.0)
    times = [0.0, 0.2, 1.0, 3.0]
    tree = wfr.ground_truth(target, start, times, transport_rate=0, rtol=1e-4)
    path = wfr.Trajectory(tree, target)
    true = exact.gaussian_flow(wfr.Gaussian(np.zeros(5), 1.0), start, times, 0, 1)[-1]
    points = true.sample(1000, rng=0)
    np.testing.assert_allclose(path.log_prob(points, 3.0), true.log_density(points) - true.log_normaliser, atol=1e-2)
    assert path.sample(10, 3.0, rng=0).shape == (10, 5)
