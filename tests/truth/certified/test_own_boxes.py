"""Targets and starts that live on a box bring it: arrays of values, stored frames, densities, potentials with walls."""

import numpy as np
import pytest
from scipy.special import digamma

import wfr_pde as wfr


@pytest.fixture(scope="module")
def interrupted():
    """A truth to 0.3, and one to 1 for what comes after."""
    target, start = wfr.DoubleWell(1.0), wfr.Gaussian(1, 0.2)
    return target, *(wfr.ground_truth(target, start, times, rtol=1e-6) for times in ([0, 0.3], [0, 0.3, 0.6, 1.0]))


@pytest.mark.parametrize("start", [wfr.GridTarget, wfr.Density.from_dataset, lambda frame: wfr.GridTarget(frame)])
def test_a_stored_frame_goes_on_as_if_nothing_had_been(interrupted, start):
    target, first, whole = interrupted
    rest = wfr.ground_truth(target, start(first.isel(t=-1)), [0, 0.3, 0.7], rtol=1e-6)
    allowed = rest.error_kl.values + whole.error_kl.values[1:]
    assert np.all(np.abs(rest.kl.values - whole.kl.values[1:]) <= allowed)


def test_a_density_as_target_is_its_own_spline(interrupted):
    _, first, _ = interrupted
    density = wfr.Density.from_dataset(first.isel(t=-1))
    target = wfr.GridTarget(density)
    points = np.linspace(-1, 1, 7)[:, None]
    np.testing.assert_array_equal(target.log_density(points), wfr.GridTarget(first.isel(t=-1)).log_density(points))
    with pytest.raises(ValueError, match="a Density brings the box of its grid"):
        wfr.GridTarget(density, -1, 1)


def test_an_array_of_values_needs_no_box_beside_it():
    x = np.linspace(-5, 5, 401)
    target = wfr.GridTarget(np.exp(-(x**2) / 2 - 0.1 * x**4), -5, 5)
    truth = wfr.ground_truth(target, wfr.Gaussian(0, 0.5), [0, 0.5], rtol=1e-4)
    assert truth.error_l1.max() <= 1e-4
    assert truth.attrs["rtol"] == 1e-4
    grid = wfr.Grid.covering(target, wfr.Gaussian(0, 0.5), shape=64)
    assert (grid.lower, grid.upper) == ((-5.0,), (5.0,))


def test_a_potential_that_ends_at_a_wall_is_solved_up_to_it():
    target = wfr.Potential("x - 2*log(x)", support=(0, 60))  # gamma of shape 3
    start = wfr.Potential("2*x - 4*log(x)", support=(0, 60))  # of shape 5 and rate 2
    truth = wfr.ground_truth(target, start, [0, 0.5], rtol=1e-4)
    kl = (5 - 3) * digamma(5) - np.log(24) + np.log(2) + 3 * np.log(2) + 5 * (1 - 2) / 2
    assert abs(truth.kl.values[0] - kl) <= truth.error_kl.values[0] + 1e-12
    assert truth.x.values[0] > 0


def test_a_start_that_a_wall_of_the_target_cuts_is_refused():
    x = np.linspace(-5, 5, 401)
    with pytest.raises(ValueError, match="cuts off .* of the mass of the start"):
        wfr.ground_truth(wfr.GridTarget(np.exp(-(x**2)), -5, 5), wfr.Gaussian(3, 0.5), [0, 0.5], rtol=1e-4)


def test_a_support_that_is_no_wall_may_be_left():
    target = wfr.Potential("x**2/2", support=(-8, 8))
    truth = wfr.ground_truth(target, wfr.Gaussian(9, 1), [0, 0.5], rtol=1e-3)
    assert truth.x.values[-1] > 12


@pytest.mark.parametrize(
    ("target", "start", "length"),
    [
        ("0*x", "2*x", 1.0),
        ("x**2/2", "x**2/2 - x", 40.0),
    ],
)
def test_a_face_of_the_support_with_density_is_a_wall(target, start, length):
    """V goes on beyond it, but no mass is there by the user's word: what is solved is the problem with walls."""
    target, start = (wfr.Potential(V, support=(0, length)) for V in (target, start))
    truth = wfr.ground_truth(target, start, [0, 0.1], rtol=1e-4)
    within = wfr.ground_truth(target, start, [0, 0.1], rtol=1e-4, box=(0, length), max_cut=1)
    x, weights = np.polynomial.legendre.leggauss(400)
    x = (length / 2 * (x + 1))[:, None]
    log_p, log_q = start.log_density(x), target.log_density(x)
    log_p, log_q = (values - np.log(length / 2 * weights @ np.exp(values)) for values in (log_p, log_q))
    known = length / 2 * weights @ (np.exp(log_p) * (log_p - log_q))
    assert abs(float(truth.kl[0]) - known) <= float(truth.error_kl[0]) + 1e-12
    assert np.all(np.abs(truth.kl - within.kl) <= truth.error_kl + within.error_kl + 1e-12)


def test_a_lognormal_law_by_a_function_follows_no_scales_at_the_wall():
    """log V changes over all scales down to the wall, where no mass is."""
    truth = wfr.ground_truth(
        wfr.Potential(lambda x: np.log(x) ** 2 / 2 + np.log(x), ndim=1, support=(0, 500)),
        wfr.Potential("(log(x) - 0.5)**2/0.6 + log(x)", support=(0, 500)),
        [0, 0.1],
        transport_rate=0,
        rtol=1e-4,
    )
    kl = 0.5 * (0.3 - 1 + 0.5**2 - np.log(0.3))  # of N(0.5, 0.3) to N(0, 1): log x is one to one
    assert abs(float(truth.kl[0]) - kl) <= float(truth.error_kl[0]) + 1e-8  # what is beyond 500
    assert float(truth.error_l1.max()) <= 1e-4


@pytest.mark.parametrize("support", [(-3.01, 3.37), (-2.9, 3.2)])
def test_a_support_that_is_no_wall_and_lets_mass_out_is_refused(support):
    start = wfr.Potential("x**2/2 + sin(3*x)", support=support)
    with pytest.raises(ValueError, match=r"the support of the start .* leaves .* of its mass outside: its density goes on"):
        wfr.ground_truth(wfr.Gaussian(0.5, 1), start, [0, 0.3], transport_rate=0, max_cut=1)


def test_a_support_that_holds_the_mass_is_a_hint():
    start = wfr.Potential("x**2/2 + sin(3*x)", support=(-8, 8))
    truth = wfr.ground_truth(wfr.Gaussian(0.5, 1), start, [0, 0.3], transport_rate=0, rtol=1e-4)
    assert float(truth.error_l1.max()) < 1e-4
