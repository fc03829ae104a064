"""The continuity equation along characteristics."""

import math

import numpy as np
import pytest

import wfr_pde as wfr
from wfr_pde.integrate.continuity import continuity

TARGET = wfr.Gaussian(0.5, 1.0)
START = wfr.Gaussian(-2.0, 0.16)
TARGET_2D = wfr.Gaussian([0.5, 0.0], [[1.0, 0.3], [0.3, 0.6]])
START_2D = wfr.Gaussian([-1.0, 0.5], 0.25)
J = np.array([[0.0, 1.0], [-1.0, 0.0]])


def exact(t, target=TARGET, start=START, rates=(1.0, 1.0)):
    return wfr.exact.gaussian_flow(target, start, float(t), *rates)


def field_2d(x, t, reaction=0.0):
    """The velocity of the closed-form flow."""
    return TARGET_2D.score(x) - exact(t, TARGET_2D, START_2D, (1.0, reaction)).score(x)


@pytest.mark.parametrize("reaction", [0.0, 1.0])
@pytest.mark.parametrize("swirl", [0.0, 1.0])
def test_the_continuity_equation_gives_the_closed_form(reaction, swirl):
    """Adding J grad log mu, J antisymmetric, leaves the density as it is: div(mu J grad log mu) = 0."""
    rates = (1.0, reaction)

    def velocity(x, t):
        return field_2d(x, t, reaction) + swirl * exact(t, TARGET_2D, START_2D, rates).score(x) @ J.T

    def growth(x, t):
        return -reaction * (exact(t, TARGET_2D, START_2D, rates).log_density(x) - TARGET_2D.log_density(x))

    grid = wfr.Grid.covering(TARGET_2D, START_2D, shape=24, max_cut=1e-3, tail=1e-4)
    ds = continuity(velocity, START_2D, [0.0, 0.3], grid, growth=growth if reaction else None, rtol=1e-8)
    reference = grid.log_density(exact(0.3, TARGET_2D, START_2D, rates))
    true = float(grid.integrate(np.abs(np.exp(ds.log_density.values[1]) - np.exp(reference))))
    assert true <= ds.error_l1.values[1]
    assert true < 1e-7  # measured 2e-9
    assert np.abs(ds.log_density.values[1] - reference).max() < 1e-6  # in the tails too; measured 1e-7
    assert wfr.Trajectory(ds).at(0.1).mass == pytest.approx(1)


def test_a_given_divergence_and_a_start_on_a_grid():
    """v = -x: mu_t(x) = e^t mu_0(x e^t), from outside of the box; v = x stays within."""
    grid = wfr.Grid(-7, 7, 100)
    start = grid.density(wfr.Gaussian(0.0, 0.8))
    ds = continuity(lambda x, t: 0.1 * x, start, [0, 1], divergence=lambda x, t: np.full(len(x), 0.1))
    reference = grid.log_density(wfr.Gaussian(0.0, 0.8 * math.exp(0.2)))
    assert ds.log_density.values[1] == pytest.approx(reference, abs=1e-7)  # spline of a parabola: exact
    with pytest.raises(ValueError, match="outside the box of the start: give the start as a distribution"):
        continuity(lambda x, t: -x, start, [0, 1])


def test_transport_around_a_circle():
    grid = wfr.Grid(0, 2 * math.pi, 64, boundary="periodic", max_cut=1)
    wave = wfr.Potential(lambda x: np.cos(x))
    ds = continuity(lambda x, t: np.full_like(x, 2.0), wave, [0, 4.0], grid)
    reference = grid.log_density(wfr.Potential(lambda x: np.cos(x - 8.0)))
    assert ds.log_density.values[1] == pytest.approx(reference, abs=1e-8)
    assert ds.mass.values == pytest.approx([1, 1], abs=1e-9)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((lambda x, t: x[..., 0], START, [0, 1]), {}, "must return one vector per point"),
        ((lambda x, t: x * math.nan, START, [0, 1]), {}, r"the field is nan at x=\["),
        ((lambda x, t: x, START, [0, 1]), {"divergence": lambda x, t: x}, "must return one number per point"),
        ((lambda x, t: x, START, [0, 1]), {"growth": lambda x, t: 1.0}, "the growth must return one number"),
        ((lambda x, t: x, START, [1, 0]), {}, "increasing save times"),
        ((lambda x, t: x, START, [0, 1]), {"grid": None}, "needs a grid"),
        ((lambda x, t: x, START_2D, [0, 1]), {}, "the start is 2-dimensional, but the grid is 1-dimensional"),
        ((lambda x, t: x, START, [0, 1]), {"rtol": 0.0}, "rtol must be"),
    ],
)
def test_continuity_refuses_what_does_not_fit(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        continuity(*arguments, **({"grid": wfr.Grid(-4, 4, 20)} | options))


def wave(x, t):
    """A gradient: of sin x sin y."""
    return np.stack([np.cos(x[..., 0]) * np.sin(x[..., 1]), np.sin(x[..., 0]) * np.cos(x[..., 1])], axis=-1)
