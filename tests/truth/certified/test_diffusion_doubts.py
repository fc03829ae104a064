"""Parts of the bound of a weighted diffusion, on single attempts: inputs by which a second attack broke the bound."""

import numpy as np
import pytest

import wfr_pde as wfr
from wfr_pde.truth.certified.diffusions.attempt import DiffusionAttempt
from wfr_pde.truth.certified.diffusions.certificate import share_cut
from wfr_pde.truth.certified.diffusions.residual import grown
from wfr_pde.truth.certified.diffusions.second_opinion import second_opinion


def nothing(points, t):
    return 0 * points


def mixture(means, weights):
    return wfr.GaussianMixture(np.array(means)[:, None], weights, 1.0)


def reacted(rate, start=None, grid=None):
    """Growth alone, over a unit of time: the attempt, and its errors in L1 and of log Z by the closed form."""
    start, grid = start or wfr.Gaussian(0.0, 1.0), grid or wfr.Grid(-8.0, 8.0, 96)
    flow = wfr.Advected(nothing, 0.0, lambda points, t: rate(points[..., 0]))
    attempt = DiffusionAttempt(flow, start, np.array([0.0, 1.0]), grid, 8)
    x = np.linspace(-12, 22, 340_001)
    log_values = start.log_density(x[:, None]) - start.log_normaliser + rate(x)
    largest = log_values.max()
    log_mass = largest + np.log(np.trapezoid(np.exp(log_values - largest), x))
    density = attempt.solution[0][-1]
    centres = grid.points()[..., 0]
    exact = np.exp(start.log_density(centres[:, None]) - start.log_normaliser + rate(centres) - log_mass)
    error = float(grid.integrate(np.abs(np.exp(density.log_values) - exact)))
    return attempt, error, abs(density.log_mass - log_mass)


def check_honest(attempt, error, of_mass):
    assert error > 1e-10  # else this tells nothing
    assert error <= attempt.bound[-1]
    assert of_mass <= attempt.log_mass_bound[-1]


@pytest.mark.parametrize("offset", [-3000.0, 0.0, 3000.0])
def test_constants_of_the_rate_do_not_matter(offset):
    """Masses of e^3000 and of e^-3000: what is left in the equation is relative to them."""
    found = reacted(lambda x: offset + 3 * np.cos(3 * x))
    check_honest(*found)
    assert found[0].bound[-1] < 1e-2


def test_a_rate_with_a_spike_in_the_tail_between_the_cells():
    check_honest(*reacted(lambda x: 60 * np.exp(-0.5 * ((x - 6.02) / 0.02) ** 2)))


def test_a_rate_with_the_period_of_a_third_of_a_cell():
    check_honest(*reacted(lambda x: 3 * np.cos(2 * np.pi * 18 * x)))


def test_what_a_rate_makes_of_a_tail_is_narrower_than_the_cells():
    """The sum over the cells is not the mass, which the equation at the cells does not show."""
    start = mixture([0.0, 10.0], [1 - 1e-17, 1e-17])
    grid = wfr.Grid(-9.0, 19.0, 96)
    attempt, error, of_mass = reacted(lambda x: 45 / (1 + np.exp(-3 * (x - 5))), start, grid)
    assert 1e-5 < of_mass <= attempt.mass_error(attempt.solution[0][-1]) * 1.1
    check_honest(attempt, error, of_mass)


def test_a_start_with_the_period_of_a_third_of_a_cell():
    flow = wfr.Advected(nothing, 0.0)
    start = wfr.Potential(lambda x: x**2 / 2 - 0.5 * np.cos(2 * np.pi * 18 * x))
    attempt = DiffusionAttempt(flow, start, np.array([0.0, 1.0]), wfr.Grid(-8.0, 8.0, 96), 8)
    beginning = attempt.flow.begin(wfr.Density(attempt.grid, -(attempt.grid.points()[..., 0] ** 2) / 2).normalised())
    vars(attempt)["beginning"] = beginning  # what the check of the cells does not let through
    assert 0.2 < attempt.start_error < 0.5  # the mean of |exp(cos(x)/2) / I0(1/2) - 1| is 0.31


@pytest.mark.parametrize("constant", [-2000, 2000])
def test_constants_of_the_start_do_not_matter(constant):
    times, grid = np.array([0.0, 1.0]), wfr.Grid(-8.0, 8.0, 96)
    attempt = DiffusionAttempt(wfr.Advected(nothing, 0.0), wfr.Potential(f"x**2/2 + {constant}"), times, grid, 8)
    assert (attempt.bound < 1e-11).all()


def test_errors_of_a_panel_grow_until_its_end():
    """An error at its begin, and growth by e^3 after it."""
    size, doubt, growth = grown(np.array([[1.0, 0.5, 0.0], [0.0, 0.0, 3.0]]), np.array([1.0, 1.0]))
    assert (size, doubt, growth) == pytest.approx((np.exp(3), 0.5 * np.exp(3), 3.0))


@pytest.mark.parametrize(
    "start", [mixture([0.0, 20.0], [1 - 5e-7, 5e-7]), wfr.Potential("-log(exp(-x**2/2) + 5e-7*exp(-(x-20)**2/2))")]
)
def test_what_a_given_box_cuts_off_is_part_of_the_bound(start):
    grid = wfr.Grid(-9.0, 9.0, 96)
    attempt = DiffusionAttempt(wfr.Advected(nothing, 0.0), start, np.array([0.0, 1.0]), grid, 8, share_cut(start, grid))
    assert attempt.bound == pytest.approx([2e-6, 2e-6], rel=1e-2)  # the error is 1e-6


def test_tails_that_fall_slowly_beyond_a_given_box():
    """Student's t with three degrees of freedom has 2 * 1.1 / r^3 beyond r, and twice that is the error."""
    start = wfr.Potential("2*log(1 + x**2/3)")
    flow = wfr.Advected(nothing, 0.0)
    attempt = DiffusionAttempt(flow, start, np.array([0.0, 1.0]), wfr.Grid(-200.0, 200.0, 1200), 8)
    cut = 2 * 6 * np.sqrt(3) / np.pi / 3 / 200**3
    assert 2 * cut < attempt.solution[1]["domain"][-1] < 6 * cut


def test_a_given_box_that_a_rate_leaves():
    """The far mode has 0.3 of the mass at the end, and is outside of the box."""
    flow = wfr.Advected(
        nothing, 0.0, lambda x, t: np.logaddexp(np.log(0.7), np.log(0.6) - 2 * (x - 10) ** 2 + x**2 / 2)[..., 0]
    )
    ds = wfr.ground_truth(
        flow=flow, start=wfr.Gaussian(0, 1), t=[0, 1], rtol=1e-3, box=(-7, 7), seconds=30, strict=False
    )
    assert float(ds["error_l1"][-1]) > 0.6


def test_a_right_answer_is_not_contradicted():
    """Where the second family has too few steps, it has to know that it is off by 6e-4."""
    path = wfr.Noised(wfr.Gaussian(1.0, 0.25), wfr.OU(t_end=1.5)).reversed()
    flow = wfr.ReverseSDE(path, lambda x, t: 1.3 * path.path.at(t).score(x), churn=2.0)
    attempt = DiffusionAttempt(flow, path.at(0.0), np.array([0.0, 1.0]), wfr.Grid(-7.0, 8.0, 96), 8)
    opinion = second_opinion(attempt)
    assert 1e-9 < opinion.distance[-1] <= opinion.allowed[-1]
    assert attempt.bound[-1] < 1e-3
