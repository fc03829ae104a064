"""Targets that move, as users write them: expressions in t, functions of x and t, classes with `at` alone."""

import pickle

import numpy as np
import pytest

import wfr_pde as wfr
from wfr_pde.space.covering import snapshots
from wfr_pde.truth.exact import gaussian_flow_by_ode

TIMES = [0.0, 0.5, 1.0]


class Moving(wfr.Target):
    ndim, moving = 1, True

    def at(self, t):
        return wfr.Gaussian(np.tanh(t), 1)


FORMS = {
    "class": Moving,
    "expression": lambda: wfr.Potential("(x - tanh(t))**2 / 2"),
    "function": lambda: wfr.Potential(lambda x, t: (x - np.tanh(t)) ** 2 / 2),
    "function of points": lambda: wfr.Potential(
        lambda p, t: np.sum((p - np.tanh(t)) ** 2, axis=-1) / 2, ndim=1, of="points"
    ),
    "with a gradient": lambda: wfr.Potential(
        lambda x, t: (x - np.tanh(t)) ** 2 / 2, gradient=lambda x, t: [x - np.tanh(t)]
    ),
}


@pytest.mark.parametrize("make", FORMS.values(), ids=FORMS)
def test_a_moving_target_needs_no_box_and_is_right(make):
    target, start = make(), wfr.Gaussian(0.5, 2)
    assert target.moving
    truth = wfr.ground_truth(target, start, TIMES, rtol=1e-5)
    for k, t in enumerate(TIMES):
        law, pi = gaussian_flow_by_ode(Moving(), start, t), Moving().at(t)
        variance, mean = law.covariance[0, 0], law.mean[0]
        kl = 0.5 * (variance - 1 - np.log(variance) + (mean - pi.mean[0]) ** 2)
        assert abs(kl - truth.kl.values[k]) <= truth.error_kl.values[k] + 1e-9


def test_the_gradient_at_a_time_is_that_of_the_formula():
    target = wfr.Potential("r**2 * exp(-t) / 2 + x*y*t", ndim=2).at(0.7)
    points = np.array([[0.3, -0.4], [1.0, 2.0]])
    x, y = points.T
    expected = -np.stack([x * np.exp(-0.7) + 0.7 * y, y * np.exp(-0.7) + 0.7 * x], axis=-1)
    np.testing.assert_allclose(target.score(points), expected, rtol=1e-14)
    assert pickle.loads(pickle.dumps(target)) == target


def test_an_argument_called_t_is_a_coordinate_where_the_dimension_counts_it():
    assert not wfr.Potential(lambda s, t: s**2 + t**2, ndim=2).moving
    assert wfr.Potential(lambda s, t: s**2 + t**2).moving
    assert not wfr.Potential(lambda t: t**2).moving


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (
            lambda: wfr.Potential("t*x").log_density([[1.0]]),
            r"moves, it has a density at a time: use potential.at\(t\)",
        ),
        (lambda: Moving().box(), r"its box depends on time: .* support=\(lower, upper\)"),
        (lambda: wfr.Grid.covering(Moving(), shape=64), "its box depends on time"),
    ],
)
def test_what_a_moving_target_has_not_is_said(ask, said):
    with pytest.raises(ValueError, match=said):
        ask()


def test_a_target_that_knows_its_box_is_asked_once():
    path = wfr.GeometricPath(wfr.Gaussian(0, 1), wfr.Gaussian(3, 1))
    assert snapshots(path, TIMES) == [path]
    assert snapshots(Moving(), TIMES) == [Moving().at(t) for t in TIMES]
