"""Panels of time: their nodes, integrals over steps, and the trial run that chooses them."""

import itertools
import math

import numpy as np
import pytest
from scipy.integrate import quad

from wfr_pde.errors import NumericalError
from wfr_pde.numerics.deadline import OutOfTimeError, deadline
from wfr_pde.truth.certified.step_schedule import LOBATTO, NODES, StepSchedule, subdivided, trial_schedule


def test_lobatto_points_are_those_of_the_books():
    inner = [0.209299217902478868768657260345, 0.591700181433142302144510731397, 0.871740148509606615337445761220]
    known = np.sort([*inner, 1.0])  # on (0, 1], of the points on [-1, 1]
    np.testing.assert_allclose(2 * LOBATTO[NODES // 2 :] - 1, known, rtol=0, atol=1e-14)
    np.testing.assert_allclose(LOBATTO + LOBATTO[::-1], 1, rtol=0, atol=1e-14)


def test_nodes_hold_panels_and_save_times():
    schedule, times = StepSchedule(np.array([0.0, 0.1, 0.5, 2.0])), np.array([0.0, 0.3, 0.3 + 1e-9, 2.0])
    nodes = schedule.nodes(times)
    assert nodes.steps() == len(nodes.times) - 1
    assert np.all(np.diff(nodes.times) > 0)
    np.testing.assert_array_equal(nodes.times[nodes.saved], times)
    assert len(nodes.times) == 3 * (NODES - 1) + 1 + 2  # panels share their ends; 0 and 2 are both
    for (a, b), of_panel in zip(itertools.pairwise(schedule.ends), nodes.of_panel, strict=True):
        np.testing.assert_allclose(nodes.times[of_panel], a + (b - a) * LOBATTO, rtol=0, atol=1e-15)
        assert nodes.times[of_panel[0]] == a
        assert nodes.times[of_panel[-1]] == b
    for k, (a, b) in enumerate(itertools.pairwise(nodes.times)):
        panel = nodes.panel[k]
        assert schedule.ends[panel] <= a < b <= schedule.ends[panel + 1]


@pytest.mark.parametrize("decay", [0.0, 0.7, 40.0])
def test_integrals_of_polynomials_over_steps_are_exact(decay):
    nodes = StepSchedule(np.array([1.0, 1.25, 3.0])).nodes(np.array([1.0, 1.7, 3.0]))
    function = np.polynomial.Polynomial([0.3, -1.0, 2.0, 0.1, -0.5, 0.2, 0.7, -0.3], domain=[1, 3])  # degree 7
    for k, (a, b) in enumerate(itertools.pairwise(nodes.times)):
        of_panel, weights, _ = nodes.integral_weights(k, decay)
        known, _ = quad(lambda t, b=b: math.exp(-decay * (b - t)) * function(t), a, b, epsabs=1e-15, epsrel=1e-13)
        assert weights @ function(nodes.times[of_panel]) == pytest.approx(known, rel=1e-11, abs=1e-14)


def test_the_last_term_sees_the_highest_degree_alone():
    nodes = StepSchedule(np.array([0.0, 2.0])).nodes(np.array([0.0, 2.0]))
    for k in range(nodes.steps()):
        of_panel, _, last = nodes.integral_weights(k, 0.3)
        t = nodes.times[of_panel]
        assert abs(last @ t ** (NODES - 2)) < 1e-12
        assert abs(last @ t ** (NODES - 1)) > 1e-6


def test_refined_panels_keep_ends_and_breaks():
    schedule = StepSchedule(np.array([0.0, 1.0, 4.0]), np.array([1.0]))
    finer = schedule.refined(3)
    np.testing.assert_allclose(finer.ends, [0, 1 / 3, 2 / 3, 1, 2, 3, 4], rtol=1e-15)
    np.testing.assert_array_equal(finer.breaks, [1.0])
    np.testing.assert_array_equal(schedule.refined(np.array([1, 4])).ends, [0, 1, 1.75, 2.5, 3.25, 4])


def test_steps_are_cut_into_equal_parts():
    times = np.array([0.0, 1.0, 1.5])
    np.testing.assert_array_equal(subdivided(times, 1), times)
    np.testing.assert_allclose(subdivided(times, 4), [0, 0.25, 0.5, 0.75, 1, 1.125, 1.25, 1.375, 1.5], rtol=1e-15)


# The trial run: states are numbers, so that everything is known


def schedule_of(rate, span, tolerance, breaks=None):
    """Panels for d_t x = rate(t), solved exactly."""

    def advance(state, t, dt):
        return state + quad(rate, t, t + dt)[0]

    def look(states, times):
        return np.array([[rate(t)] for t in times]), np.ones((len(times), 1))

    return trial_schedule(advance, look, 0.0, span, tolerance, breaks)


def interpolation_error(rate, ends):
    """Largest error over the panels of the integral of what is interpolated at their nodes."""
    nodes, worst = StepSchedule(ends).nodes(ends), 0.0
    for k, (a, b) in enumerate(itertools.pairwise(nodes.times)):
        of_panel, weights, _ = nodes.integral_weights(k, 0.0)
        found = weights @ np.array([rate(t) for t in nodes.times[of_panel]])
        worst = max(worst, abs(found - quad(rate, a, b, epsabs=1e-14)[0]))
    return worst


@pytest.mark.parametrize("tolerance", [1e-4, 1e-7, 1e-10])
def test_panels_follow_a_fast_beginning(tolerance):
    def rate(t):
        return -np.exp(-t / 0.01) / 0.01 + np.cos(t)

    schedule = schedule_of(rate, (0.0, 10.0), tolerance)
    assert schedule.ends[0] == 0
    assert schedule.ends[-1] == 10
    lengths = np.diff(schedule.ends)
    assert lengths.max() > 20 * lengths.min()
    assert interpolation_error(rate, schedule.ends) < tolerance


def test_more_panels_for_less_error():
    numbers = [len(schedule_of(lambda t: np.sin(30 * t), (0.0, 1.0), tol).ends) for tol in (1e-4, 1e-8, 1e-12)]
    assert numbers[0] < numbers[1] < numbers[2]
    assert numbers[2] < 10 * numbers[0]  # as the eighth root of the tolerance


def test_panels_do_not_cross_breaks():
    def rate(t):
        return 5.0 * abs(t - 0.3) + abs(t - 0.77)

    schedule = schedule_of(rate, (0.0, 1.0), 1e-8, np.array([0.3, 0.77]))
    assert {0.3, 0.77} <= set(schedule.ends)
    assert len(schedule.ends) < 20
    assert len(schedule_of(rate, (0.0, 1.0), 1e-8).ends) > len(schedule.ends)  # they are crept up to


def test_a_flow_that_no_step_resolves_is_refused():
    def advance(state, t, dt):
        raise NumericalError("diverges")

    with pytest.raises(NumericalError, match="no step resolves the flow 0 after the first save time"):
        trial_schedule(advance, lambda states, times: (np.ones((8, 1)), np.ones((8, 1))), 0.0, (2.0, 3.0), 1e-6)


def test_the_deadline_stops_it():
    with pytest.raises(OutOfTimeError, match="a trial run came 0 beyond the first save time only"), deadline(0.0):
        schedule_of(np.cos, (0.0, 1.0), 1e-6)


def test_a_panel_that_a_break_cuts_short_does_not_shorten_the_next():
    schedule = schedule_of(lambda t: 1.0, (0.0, 1.0), 1e-8, np.array([0.5, 0.5 + 1e-12]))
    assert len(schedule.ends) <= 8  # four times as long as 1e-12, and so on, would be 20


def test_places_beyond_two_nats_and_rounding_count_by_their_weight():
    rng = np.random.default_rng(3)

    def look(states, times):  # the last place holds next to nothing, and all that is seen of it is rounding
        values = np.stack([np.zeros(len(times)), rng.normal(scale=1e20, size=len(times))], axis=1)
        return values, np.broadcast_to([1.0, 1e-12], values.shape)

    def noisy(states, times):
        return 1.0 + 1e-3 * rng.uniform(-1, 1, (len(times), 1)), np.ones((len(times), 1))

    assert len(trial_schedule(lambda state, t, dt: state, look, 0.0, (0.0, 1.0), 1e-8).ends) < 6
    assert len(trial_schedule(lambda state, t, dt: state, noisy, 0.0, (0.0, 1.0), 1e-8, noise=0.01).ends) < 6


def test_times_that_rounding_cannot_tell_apart_end_the_search():
    def look(states, times):
        return 1e300 * np.sin(1e20 * times)[:, None], np.ones((len(times), 1))

    with pytest.raises(NumericalError, match="no step resolves the flow"):
        trial_schedule(lambda state, t, dt: state, look, 0.0, (1000.0, 1000.0 + 1e-9), 1e-30)
