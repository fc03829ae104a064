"""Distributions in turned coordinates."""

import numpy as np
import pytest

from wfr_pde.targets import Banana, DoubleWell, FourModes, Gaussian, GaussianMixture, GeometricPath, Potential
from wfr_pde.targets.turned import (
    Turned,
    original_points,
    turned,
    turned_box,
    turned_points,
    turned_vectors,
)

ANGLE = 0.7
Q = np.array([[np.cos(ANGLE), -np.sin(ANGLE)], [np.sin(ANGLE), np.cos(ANGLE)]])
C = np.array([0.3, -1.2])
PLANE = Gaussian([-1, 2], [[1, 0.6], [0.6, 0.8]])
TARGETS = {
    "gaussian": PLANE,
    "mixture": FourModes(),
    "mixture-class": GaussianMixture([[-2, 0], [2, 0]], [0.3, 0.7], [[[1, 0.2], [0.2, 0.3]], [[0.5, 0], [0, 2]]]),
    "banana": Banana(),
    "well": DoubleWell(2, stiffness=(4,), coupling=0.5),
    "text": Potential("x**4/4 + (y - x)**2"),
    "path": GeometricPath(PLANE, FourModes()).at(0.5),
    "path-gaussian": GeometricPath(PLANE, Gaussian([0, 0], 2)).at(0.5),
}
EVERY = pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS.keys())


@pytest.fixture
def points():
    return np.random.default_rng(3).normal(0, 1.5, (40, 2))


@EVERY
def test_the_log_density_is_that_of_the_target_up_to_a_constant(target, points):
    gap = turned(target, Q, C).log_density(turned_points(points, Q, C)) - target.log_density(points)
    np.testing.assert_allclose(gap, gap[0], atol=1e-9)  # rounding of some hundred nats


@EVERY
def test_the_score_is_that_of_the_target_turned(target, points):
    own = turned(target, Q, C).score(turned_points(points, Q, C))
    expected = turned_vectors(target.score(points), Q)
    np.testing.assert_allclose(own, expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())


@EVERY
def test_the_box_holds_the_turned_mass(target):
    lower, upper = turned(target, Q, C).box(1e-6)
    inner = target.box(1e-3)
    grid = np.stack(np.meshgrid(*(np.linspace(a, b, 200) for a, b in zip(*inner, strict=True))), axis=-1).reshape(-1, 2)
    log_density = target.log_density(grid)
    typical = turned_points(grid[log_density > log_density.max() - 5], Q, C)
    assert np.all((typical > lower) & (typical < upper))


def test_points_there_and_back(points):
    np.testing.assert_allclose(original_points(turned_points(points, Q, C), Q, C), points, atol=1e-14)


def test_gaussians_and_mixtures_stay_what_they_are():
    assert isinstance(turned(PLANE, Q, C), Gaussian)
    assert isinstance(turned(TARGETS["mixture-class"], Q, C), GaussianMixture)
    assert isinstance(turned(TARGETS["banana"], Q, C), Turned)
    assert turned(PLANE, Q, C).log_normaliser == pytest.approx(PLANE.log_normaliser, abs=1e-14)


def test_moments_and_draws_turn():
    banana = Turned(Banana(), Q, C)
    draws = Banana().sample(50, 1)
    np.testing.assert_array_equal(banana.sample(50, 1), turned_points(draws, Q, C))
    mean, covariance = Turned(PLANE, Q, C).moments()
    np.testing.assert_allclose(mean, turned(PLANE, Q, C).mean, atol=1e-14)
    np.testing.assert_allclose(covariance, Q.T @ PLANE.covariance @ Q, atol=1e-14)


def test_a_support_is_enclosed():
    target = Turned(Potential("x**2 + y**2", support=([-1, -2], [3, 2])), Q, C)
    corners = np.array([[-1, -2], [-1, 2], [3, -2], [3, 2]])
    places = turned_points(corners, Q, C)
    lower, upper = target.box()
    np.testing.assert_allclose(lower, places.min(axis=0), atol=1e-14)
    np.testing.assert_allclose(upper, places.max(axis=0), atol=1e-14)
    np.testing.assert_allclose(turned_box(([-1, -2], [3, 2]), Q, C), (lower, upper))


def test_a_moving_target_turns_at_every_time(points):
    path = GeometricPath(PLANE, Banana())
    moved = turned(path, Q, C)
    assert moved.moving
    for wrapped in (moved, Turned(path, Q, C)):
        gap = wrapped.at(0.3).log_density(turned_points(points, Q, C)) - path.at(0.3).log_density(points)
        np.testing.assert_allclose(gap, gap[0], atol=1e-9)


def test_breaks_are_no_longer_along_the_axes():
    target = Turned(Potential("x**2 + y**2 + abs(x - 1)"), Q, C)
    kink = turned_points([1.0, 0.5], Q, C)
    near = target.breaks(kink - 0.1, kink + 0.1)
    assert near.elsewhere
    assert [len(places) for places in near.places] == [0, 0]
    far = turned_points([5.0, 0.5], Q, C)
    assert not target.breaks(far - 0.1, far + 0.1)


def test_what_is_no_rotation_is_refused():
    with pytest.raises(ValueError, match="orthogonal"):
        Turned(PLANE, 1.001 * Q, C)
    with pytest.raises(ValueError, match="shape"):
        Turned(PLANE, np.eye(3), C)
    with pytest.raises(ValueError, match="finite"):
        turned(PLANE, Q, [np.nan, 0])
