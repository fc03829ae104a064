"""Targets whose potential is capped."""

import numpy as np
import pytest

from wfr_pde.targets import Banana, Gaussian, GeometricPath, Potential
from wfr_pde.targets.capped import Capped

QUADRATIC = Gaussian(0, 1)  # V = x²/2


def excess(height, span):
    """Height above a ceiling of 50 nats that a V of 50 + height is given."""
    x = np.sqrt(2 * (50 + np.asarray(height)))[:, None]
    return -Capped(QUADRATIC, 50, span).log_density(x) - 50


def test_below_the_ceiling_nothing_changes():
    x = np.linspace(-9.99, 9.99, 999)[:, None]
    capped = Capped(QUADRATIC, 50, 20)
    np.testing.assert_array_equal(capped.log_density(x), QUADRATIC.log_density(x))
    np.testing.assert_array_equal(capped.score(x), QUADRATIC.score(x))


def test_above_it_rises_and_stays_below_the_ceiling_and_the_span():
    heights = np.geomspace(1e-3, 1e9, 400)
    capped = excess(heights, 20)
    assert np.all(np.diff(capped[heights < 2e4]) > 0)
    assert np.all(np.diff(capped) >= 0)
    assert capped.max() == pytest.approx(20, abs=1e-8)  # rounding of 50
    assert np.all(capped <= heights + 1e-6)  # rounding of V = x²/2 at 1e9


@pytest.mark.parametrize("order", [1, 2, 3, 4, 5])
def test_derivatives_at_the_ceiling_go_on(order):
    # phi(z) - z = -z² e^(-1/z) + ...: at z <= .03 below 1e-17, and with it every difference quotient of it
    z = np.linspace(0.005, 0.03, 26)
    with np.errstate(all="ignore"):
        gap = z / (1 + z * np.exp(-1 / z)) - z
    assert np.abs(np.diff(gap, order)).max() < 1e-15
    np.testing.assert_allclose(excess(20 * z, 20), 20 * z, atol=1e-12)


def test_the_score_is_the_gradient():
    target = Capped(Banana(), 6, 9)
    points = np.random.default_rng(0).normal(0, 3, (300, 2))
    h = 1e-5
    steps = h * np.eye(2)
    expected = np.stack(
        [(target.log_density(points + s) - target.log_density(points - s)) / (2 * h) for s in steps], -1
    )
    above = -Banana().log_density(points) > 6
    assert 50 < above.sum() < 290
    # third derivative times h²/6, and rounding of 15 nats over 2 h
    np.testing.assert_allclose(target.score(points), expected, rtol=1e-5, atol=1e-6)


def test_infinite_and_undefined_potentials():
    wall = Potential("x**2 - log(x)")
    target = Capped(wall, 30, 10)
    assert target.log_density([[0.0]])[0] == -40
    assert target.score([[0.0]])[0, 0] == 0
    assert np.isnan(target.log_density([[-1.0]])[0])


def test_a_moving_target_is_capped_at_every_time():
    path = GeometricPath(Gaussian(0, 1), Gaussian(4, 0.1))
    capped = Capped(path, 50, 20)
    assert capped.moving
    x = np.linspace(-30, 30, 61)[:, None]
    at = capped.at(1.0)
    assert -at.log_density(x).min() <= 70
    near = -path.at(1.0).log_density(x) <= 50
    np.testing.assert_array_equal(at.log_density(x)[near], path.at(1.0).log_density(x)[near])


def test_box_and_draws_are_those_of_the_target():
    target = Capped(Banana(), 40, 40)
    np.testing.assert_array_equal(target.box(1e-6), Banana().box(1e-6))
    np.testing.assert_array_equal(target.sample(5, 1), Banana().sample(5, 1))


def test_breaks_are_those_of_the_target():
    breaks = Capped(Potential("x**2 + abs(x - 1)"), 40, 40).breaks([-3], [3])
    np.testing.assert_allclose(breaks.places[0], [1])


def test_arguments_are_checked():
    with pytest.raises(ValueError, match="span must be positive"):
        Capped(QUADRATIC, 50, 0)
    with pytest.raises(ValueError, match="ceiling must be finite"):
        Capped(QUADRATIC, np.inf, 1)
    with pytest.raises(ValueError, match="must be a target"):
        Capped("x", 50, 1)
