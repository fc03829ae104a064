"""Rules between save times that leave an interval unresolved, and what they say of their errors."""

import numpy as np
import pytest
from gaussian_frames import closed_form, exact, frames

import wfr_pde as wfr
from wfr_pde.integrate.agreement_rules import until_they_grow
from wfr_pde.integrate.frame_interpolation import MOST_WEIGHT

CLUSTERED = np.array([*np.linspace(0, 1e-3, 7), 1])
CLOSE = np.array([0, 0.2, 0.4, 0.4 + 1e-7, 0.6, 0.8])


def true_l1(path, truth, t):
    reference = np.exp(path.grid.log_density(truth(t), checked=False))
    return float(path.grid.integrate(np.abs(path.at(t).values - reference)))


@pytest.mark.parametrize("knows", [True, False])
@pytest.mark.parametrize("rates", [(1.0, 1.0), (1.0, 0.0)])
def test_clustered_save_times_are_not_extrapolated(rates, knows):
    """Polynomials through the cluster used to agree on a spike of one cell, 2.00 off, with 3.3e-8 stated at t=.997."""
    ds, target, truth = closed_form(CLUSTERED, rates)
    path = wfr.Trajectory(ds, target if knows else None)
    for t in (0.002, 0.1, 0.5, 0.9, 0.997):
        assert true_l1(path, truth, t) <= path.error_l1(t)
        assert path.at(t).values.max() < 1.5 * np.exp(ds.log_density.values).max()
    assert path.error_l1(0.997) > 0.1
    assert path.holds_within(0.5) == 0
    assert np.isinf(path.log_prob_error(np.zeros((1, 1)), 0.5))
    assert "save times are clustered" in path.remedy(0.5)
    assert ("give the target" in path.remedy(0.5)) is not knows
    assert path.remedy(1e-4) == ""


@pytest.mark.parametrize("variance", [2e-4, 5.1e-4, 9.4e-4])
@pytest.mark.parametrize("rates", [(1.0, 0.0), (1.0, 0.05)])
def test_a_start_that_widens_many_times_over_before_the_second_frame(rates, variance):
    """Hermite polynomials make a spike of one cell of it, in which nothing is left of the residual once centred."""
    target, start = wfr.Gaussian(0.0, 1.0), wfr.Gaussian(1.0, variance)
    grid = wfr.Grid.covering(target, start, shape=600, graded=True)
    for times in ([0, 0.3], [0, 0.01, 0.3], [0, 0.004, 3.0]):
        path = wfr.Trajectory(frames(target, start, times, rates, grid=grid), target)
        for t in np.array([1e-3, 0.03, 0.3, 0.7]) * times[-1]:
            assert true_l1(path, lambda t: exact(t, target, start, rates), t) <= path.error_l1(t) + 1e-12


@pytest.mark.parametrize("knows", [True, False])
def test_two_close_frames_do_no_harm(knows):
    ds, target, truth = closed_form(CLOSE)
    path = wfr.Trajectory(ds, target if knows else None)
    for k, t in enumerate(0.5 * (CLOSE[1:] + CLOSE[:-1])):
        rule = path._interpolation.rule(k)
        inside = np.linspace(CLOSE[k], CLOSE[k + 1], 9)[1:-1]
        assert rule.lebesgue(inside) <= 1.01 * MOST_WEIGHT  # at other times than it was looked at
        assert true_l1(path, truth, t) <= path.error_l1(t)


@pytest.mark.parametrize("variance", [1e-2, 1e-3, 1e-4])
@pytest.mark.parametrize("apart", [1e-7, 1e-4])
def test_frames_that_are_far_away_are_no_evidence(variance, apart):
    """They have next to no weight between two close ones: orders agree, however fast the start widens there."""
    target, start = wfr.Gaussian(0.0, 1.0), wfr.Gaussian(1.0, variance)
    grid = wfr.Grid.covering(target, start, shape=400, tail=1e-20, max_cut=1, graded=True)
    path = wfr.Trajectory(frames(target, start, [0.0, apart, *np.linspace(0.4, 4, 10)], grid=grid))
    for t in apart * np.array([0.1, 0.5, 0.9]):
        assert true_l1(path, lambda t: exact(t, target, start), t) <= path.error_l1(t)


def test_orders_that_diverge_and_then_agree_are_no_evidence():
    """Polynomials through log-densities that fall by thousands of nats all end in the same cell of a tail."""
    target, start = wfr.Gaussian(0.0, 1.0), wfr.Gaussian(1.0, 3e-4)
    grid = wfr.Grid.covering(target, start, shape=480, tail=1e-60, max_cut=1, graded=True)
    times = np.array([0, 0.07, 0.46, 0.58, 0.94, 1.26, 1.53, 1.8, 1.97, 2.2])
    path = wfr.Trajectory(frames(target, start, times, (1.0, 0.05), grid=grid))
    for k in range(3):
        for share in (0.1, 0.5, 0.9):
            t = times[k] + share * (times[k + 1] - times[k])
            assert true_l1(path, lambda t: exact(t, target, start, (1.0, 0.05)), t) <= path.error_l1(t)
    kept = until_they_grow(np.array([0.6, 0.4, 0.6, 1e-12]))
    np.testing.assert_array_equal(kept, [0.6, 0.4])
    np.testing.assert_array_equal(until_they_grow(np.array([2.0, 1.9, 1e-12])), [2.0])
    np.testing.assert_array_equal(until_they_grow(np.array([0.1, 0.01, 1e-3])), [0.1, 0.01, 1e-3])


def test_two_frames_of_a_reaction_are_enough_with_the_equation():
    """log mu is linear in e^{-beta t} up to its normaliser; without the equation nobody knows."""
    ds, target, truth = closed_form([0.0, 3.0], (0.0, 1.0))
    path = wfr.Trajectory(ds, target)
    assert true_l1(path, truth, 1.0) < 1e-12
    assert path.error_l1(1.0) < 1e-10  # rounding of derivatives and sums
    assert wfr.Trajectory(ds).error_l1(1.0) > 0.1


def test_near_a_target_at_rest_two_frames_tell_all_that_lies_between():
    ds, target, truth = closed_form([6.0, 60.0], (1.0, 0.0))
    path = wfr.Trajectory(ds, target)
    for t in (6.5, 10.0, 40.0):
        assert true_l1(path, truth, t) <= path.error_l1(t) < 0.02  # the distance to the target at t=6: 4e-3
    ds, target, truth = closed_form([3.0, 30.0])
    path = wfr.Trajectory(ds, target)
    assert true_l1(path, truth, 5.0) <= path.error_l1(5.0) < 0.2


def test_a_run_that_does_not_obey_the_equation_is_seen():
    ds, target, truth = closed_form(np.linspace(0.1, 0.5, 9), (1.0, 1.0))
    wrong = wfr.Trajectory(ds, target, transport_rate=1.1)
    start = truth(0.1)
    off = float(
        wrong.grid.integrate(
            np.abs(
                np.exp(wrong.grid.log_density(exact(0.05, target, start, (1.1, 1.0)), checked=False))
                - np.exp(wrong.grid.log_density(truth(0.15), checked=False))
            )
        )
    )
    assert wrong.error_l1(0.12) > off  # over one interval, from a right frame
    assert wfr.Trajectory(ds, target).error_l1(0.12) < 1e-3 * off
