"""Truths: what counts as one, and laws that do not move."""

import numpy as np
import pytest

import wfr_pde as wfr
from wfr_pde.integrate.stationary import Stationary
from wfr_pde.integrate.truth_arguments import MEMBERS, as_truth, is_stationary, law_at, problem_of, start_time
from wfr_pde.integrate.truth_protocol import StatedProblem, Truth

TARGET, START = wfr.Gaussian(1.0, 0.5), wfr.Gaussian(0.0, 0.25)
GRID = wfr.Grid(-4.0, 6.0, 200)


@pytest.fixture(scope="module")
def run():
    return wfr.solve(TARGET, wfr.FisherRao(), GRID.density(START), [0, 0.5], 0.1)


class Complete:
    times = np.array([1.0, 2.0])

    def at(self, t):
        return TARGET

    log_prob = score = sample = error_l1 = at


def test_the_members_are_those_of_the_protocol():
    assert set(MEMBERS) == {name for name in vars(Truth) if not name.startswith("_")}


def test_a_dataset_is_a_trajectory_that_states_what_the_run_names(run):
    truth = as_truth(run, None)
    assert isinstance(truth, wfr.Trajectory)
    assert truth.target is None  # that named in the text of a run is not taken for the interpolation
    assert as_truth(run, TARGET).target is TARGET
    assert as_truth(truth) is truth
    stated = problem_of(as_truth(run.assign_attrs(start=repr(START))))
    assert repr(stated.target) == repr(TARGET)
    assert repr(stated.start) == repr(START)
    assert problem_of(as_truth(run.drop_attrs(deep=False).assign_attrs(grid=run.attrs["grid"]))) == StatedProblem()
    assert start_time(truth) == 0
    assert not is_stationary(truth)


def test_a_density_stands_for_all_times_with_mass_one():
    density = GRID.density(TARGET)
    truth = as_truth(wfr.Density(GRID, density.log_values + 1.0))
    assert is_stationary(truth)
    assert start_time(truth) == 0
    assert truth.at(3.0).mass == pytest.approx(1, abs=1e-12)
    assert problem_of(truth) == StatedProblem(None, truth.at(0.0))
    assert truth.error_l1([0.0, 1.0]).tolist() == [0, 0]
    x = np.array([[0.0], [1.5]])
    np.testing.assert_allclose(truth.log_prob(x, [0.0, 9.0]), density.log_prob(x), atol=1e-12)
    assert truth.log_prob(x[0], np.zeros(3)).shape == (3,)
    np.testing.assert_allclose(truth.score(x, 0.0), density.score(x), atol=1e-9)
    assert truth.score(x[0], np.zeros(3)).shape == (3, 1)
    np.testing.assert_array_equal(truth.sample(5, 2.0, 1), truth.at(0.0).sample(5, 1))


def test_a_distribution_is_put_on_a_grid_with_its_error():
    truth = as_truth(TARGET)
    assert problem_of(truth).target is TARGET
    assert truth.at(0.0).mean()[0] == pytest.approx(1, abs=1e-9)
    assert 0 < truth.error_l1(0.0) < 1e-8
    # a kink between cells: of order 2, and stated
    shifted = wfr.Potential("abs(x - 0.0137)")
    kinked = Stationary.of_target(shifted)
    x = np.linspace(kinked.density.grid.lower[0], kinked.density.grid.upper[0], 200_001)
    exactly = np.exp(-np.abs(x - 0.0137)) / 2
    distance = np.trapezoid(np.abs(np.exp(kinked.log_prob(x[:, None], 0.0)) - exactly), x)
    assert distance > 1e-6
    assert distance / 2 < kinked.error_l1(0.0) < 5 * distance
    plane = as_truth(wfr.Gaussian([0, 1], 0.5))
    assert plane.error_l1(0.0) < 1e-6


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ("truth.nc", TypeError, r"or an object with times, at, log_prob, score, sample, error_l1; got 'truth.nc'$"),
        (Complete, TypeError, "got the class Complete: give one of it"),
        (wfr.Particles(np.zeros((3, 1))), TypeError, "which lacks times, at, log_prob, score, error_l1"),
        (
            wfr.Potential(lambda *x: sum(c**4 for c in x), ndim=4),
            ValueError,
            "no split of Potential",
        ),
        (wfr.GeometricPath(START, TARGET, lambda t: t), ValueError, "moves, so that it is no truth for all times"),
        (wfr.GaussianMixture([-50, 50], [0.5, 0.5], 1e-4), ValueError, "cells"),
    ],
)
def test_what_is_no_truth_is_refused(given, error, words):
    with pytest.raises(error, match=words):
        as_truth(given)


@pytest.mark.parametrize("times", [[0.0, 1.0], np.array([1.0, 0.5]), np.array([0.0, np.nan]), np.zeros((1, 1))])
def test_times_must_increase(times):
    truth = Complete()
    truth.times = times
    with pytest.raises(ValueError, match="the times of a truth must be an array .t,. of finite numbers that increase"):
        as_truth(truth)


def test_a_law_is_a_density_or_particles():
    truth = as_truth(Complete())
    assert start_time(truth) == 1
    assert problem_of(truth) == StatedProblem()
    with pytest.raises(
        TypeError, match=r"Complete.at\(1\) must return a Density, Particles or a ProductLaw, got Gaussian"
    ):
        law_at(truth, 1.0)


def test_a_law_has_mass_one():
    class Double(Complete):
        def at(self, t):
            return wfr.Density(GRID, GRID.density(TARGET).log_values + np.log(2))

    assert law_at(Double(), 1.0).mass == pytest.approx(1, abs=1e-12)
