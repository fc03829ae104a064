"""Splines beside walls at which a density is a power of the distance."""

import numpy as np
import pytest

import wfr_pde as wfr
from wfr_pde.numerics.regular_splines import RegularSpline
from wfr_pde.space.axis import Axis


def line(power=4.0, upper_wall=False, joint=False):
    def ones(x):
        return np.ones_like(x)

    wall = Axis.towards_wall("x", 0.0, 2.0, 40, ones, power, 1.0, upper_wall=upper_wall)
    if not joint:
        return wall
    other = Axis.graded("x", 2.0, 5.0, 30, ones)
    return Axis.joined([wall, other])


@pytest.mark.parametrize("upper_wall", [False, True])
def test_a_power_times_a_smooth_function_is_interpolated(upper_wall):
    axis = line(upper_wall=upper_wall)

    def function(x):
        return -0.4 * np.log(2 - x if upper_wall else x) + np.sin(x)

    def slope(x):
        return (0.4 / (2 - x) if upper_wall else -0.4 / x) + np.cos(x)

    spline = RegularSpline([axis.cells], function(axis.centres))
    x = np.concatenate([np.geomspace(1e-9, 0.5, 200), np.linspace(0.5, 1.99, 100)])
    x = (2 - x if upper_wall else x)[:, None]
    np.testing.assert_allclose(spline(x), function(x[:, 0]), atol=2e-5)
    distance = np.minimum(1, 2 - x[:, 0] if upper_wall else x[:, 0])
    np.testing.assert_allclose(spline.gradient(x)[:, 0] * distance, slope(x[:, 0]) * distance, atol=2e-4)


def test_regular_coordinates_keep_walls_and_joints_and_have_their_slope():
    axis = line(joint=True)
    np.testing.assert_allclose(axis.cells.regular(np.array([0.0, 2.0, 5.0])), [0, 2, 5], atol=1e-14)
    widths = np.diff(axis.cells.regular(axis.edges[:41]))
    np.testing.assert_allclose(widths[:6], widths[0], rtol=0.01)  # beside the wall
    assert widths.max() < 3 * widths.min()
    x = np.linspace(0.05, 4.95, 50)
    numeric = (axis.cells.regular(x + 1e-6) - axis.cells.regular(x - 1e-6)) / 2e-6
    np.testing.assert_allclose(axis.cells.regular_slope(x), numeric, rtol=1e-7)
    assert np.isinf(axis.cells.regular_slope(np.array([0.0]))).all()


@pytest.mark.parametrize(("before", "after"), [(1.5, 2.5), (0.5, 0.6)])
def test_a_trajectory_is_right_between_the_cells_at_a_singular_wall(before, after):
    """Between gamma densities by reaction alone: mu_t is one of shape s a + (1 - s) b, s = e^-t, at every time."""
    from scipy.special import gammaln

    target = wfr.Potential(f"x - ({after} - 1)*log(x)")
    start = wfr.Potential(f"2*x - ({before} - 1)*log(x)")
    truth = wfr.ground_truth(target, start, [0, 0.5, 1, 2], rtol=1e-5, box=(0, 50), max_cut=1, transport_rate=0.0)
    path = wfr.Trajectory(truth, target)
    x = np.geomspace(1e-8, 40, 500)[:, None]
    for t in (0.0, 0.7, 1.0):
        share = np.exp(-t)
        shape, rate = share * before + (1 - share) * after, 1 + share
        known = (shape - 1) * np.log(x[:, 0]) - rate * x[:, 0] + shape * np.log(rate) - gammaln(shape)
        error = np.abs(path.log_prob(x, t) - known)
        assert np.all(error <= path.log_prob_error(x, t))
        assert np.all(error < 1e-4)
        score = (shape - 1) / x[:, 0] - rate
        assert np.all(np.abs(path.score(x, t)[:, 0] - score) * np.minimum(x[:, 0], 1) < 1e-4)
