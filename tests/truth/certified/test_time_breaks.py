"""Targets that move: their log-density at many times, and the breaks between panels."""

import numpy as np
import pytest

import wfr_pde as wfr
from wfr_pde.targets.base import Target
from wfr_pde.truth.certified.time_breaks import at_times, breaks

POINTS = np.linspace(-3, 5, 41)[:, None]
ENDS = wfr.Gaussian(0, 1), wfr.Gaussian(2, 0.3)
SPAN = (0.0, 3.0)


class Moving(Target):
    """A target of which only `at` is known."""

    moving, ndim = True, 1

    def __init__(self, path):
        self.path = path

    def at(self, t):
        return self.path.at(t)


@pytest.mark.parametrize("ends", [ENDS, (wfr.DoubleWell(2.0), wfr.Gaussian(-0.8, 0.2))])
def test_ends_of_a_path_make_it_at_every_time(ends):
    path = wfr.GeometricPath(*ends)
    calls = []

    def evaluate(target):
        calls.append(target)
        return target.log_density(POINTS)

    on_the_way = at_times(path, evaluate)
    for t in (0.0, 0.1, 0.7, 30.0):
        apart = on_the_way(t) - path.at(t).log_density(POINTS)
        np.testing.assert_allclose(apart - apart.mean(), 0, rtol=0, atol=1e-11)
    assert len(calls) <= 2
    other = at_times(Moving(path), lambda target: target.log_density(POINTS))
    np.testing.assert_array_equal(other(0.7), path.at(0.7).log_density(POINTS))


def test_an_end_of_weight_zero_is_not_looked_at():
    path = wfr.GeometricPath(*ENDS, lambda t: 1.0)

    def evaluate(target):
        assert target is ENDS[1]
        return target.log_density(POINTS)

    assert np.isfinite(at_times(path, evaluate)(0.3)).all()


@pytest.mark.parametrize("place", [0.37, 1.0, 2.9])
def test_a_jump_is_enclosed_by_two_breaks(place):
    path = wfr.GeometricPath(*ENDS, lambda t: 0.1 * t if t < place else 0.7)
    found = breaks(path, POINTS, SPAN, 1e-6)
    assert 2 <= len(found) <= 4
    left, right = found[found < place], found[found >= place]
    assert place - left.max() < 1e-7
    assert right.min() - place < 1e-7


def test_a_kink_is_enclosed_more_loosely():
    found = breaks(wfr.GeometricPath(*ENDS, lambda t: min(1.0, t / 1.7)), POINTS, SPAN, 1e-5)
    assert 1 <= len(found) <= 4
    assert np.abs(found - 1.7).min() < 1e-3


def test_a_smooth_path_has_few_panels_and_a_slow_one_none():
    few = breaks(wfr.GeometricPath(*ENDS), POINTS, SPAN, 1e-6)
    assert len(few) <= 3
    assert len(breaks(wfr.GeometricPath(*ENDS, lambda t: 0.1 * t), POINTS, SPAN, 1e-6)) == 0
