"""Checks of arguments: masked values are not read, and lengths have squares."""

import re

import numpy as np
import pytest

import wfr_pde as wfr
from wfr_pde import metrics, samplers
from wfr_pde.numerics import arguments
from wfr_pde.numerics.deadline import clock, leave_out

MASKED = np.ma.array([1.0, 2.0, -9999.0], mask=[False, False, True])


@pytest.mark.parametrize("check", [arguments.real_array, arguments.finite_array])
def test_masked_values_are_refused(check):
    with pytest.raises(ValueError, match=r"y has a masked value at \[2\].*array.compressed\(\)"):
        check("y", MASKED)
    with pytest.raises(ValueError, match=r"y has 2 masked values, the first at \[0\]"):
        check("y", np.ma.masked_all(2))
    for nested in ([[MASKED]], [1.0, np.ma.masked], np.array([1.0, np.ma.masked], dtype=object)):
        with pytest.raises(ValueError, match=r"^y "):
            check("y", nested)
    assert check("y", np.ma.array([1.0, 2.0])).tolist() == [1.0, 2.0]


@pytest.mark.parametrize("check", [arguments.number, arguments.finite, arguments.positive, arguments.whole])
def test_a_missing_number_is_none(check):
    with pytest.raises(ValueError, match="^y "):
        check("y", np.ma.masked)


def missing_beyond_one(x):
    """A potential that is masked in places."""
    return np.ma.masked_greater(x**2, 1)


def test_masked_arrays_are_refused_wherever_arrays_are_given():
    target, grid = wfr.Gaussian(0, 1), wfr.Grid(-7, 7, 64)
    density = grid.density(wfr.Gaussian(1, 0.5))
    column = np.ma.array([[1.0], [2.0], [-9999.0]], mask=[[False], [False], [True]])
    log_values = np.ma.masked_less(density.log_values, -20)
    calls = {
        "data": lambda: wfr.Posterior(target, lambda m, y: -((y - m) ** 2) / 2, MASKED),
        "log_likelihood": lambda: wfr.Posterior(
            target, lambda m, y: np.ma.masked_greater(m + y, 0), [1.0, 2.0]
        ).log_density([[1.0]]),
        "V": lambda: wfr.Potential(missing_beyond_one, support=(-3, 3)).log_density([[0.5], [2.0]]),
        "positions": lambda: wfr.Particles(column),
        "log_weights": lambda: wfr.Particles(np.zeros((3, 1)), MASKED),
        "values": lambda: wfr.GridTarget(MASKED, 0, 1),
        "log_values": lambda: wfr.Density(grid, log_values),
        "t": lambda: wfr.solve(target, wfr.FisherRao(), density, np.ma.array([0, 1, 5], mask=[0, 0, 1]), 1),
        "points": lambda: target.log_density(column),
        "mean": lambda: wfr.Gaussian(np.ma.masked, 1),
    }
    refused = {}
    for name, call in calls.items():
        try:
            call()
        except ValueError as error:
            refused[name] = bool(re.search(rf"\b{name}\b.* masked", str(error)))
    assert refused == dict.fromkeys(calls, True)


def test_lengths_are_those_of_which_powers_are_numbers():
    for value in (1e308, 1e-320, 5e-324):
        for make in (metrics.MMD, lambda length: metrics.KSD(wfr.Gaussian(0, 1), length), samplers.SVGD):
            parameter = "bandwidth" if make is samplers.SVGD else "scale" if make is metrics.MMD else "length"
            named = {"bandwidth": value} if make is samplers.SVGD else {parameter: value}
            with pytest.raises(ValueError, match=f"{parameter} must be between 1e-75 and 1e[+]75"):
                make(**named)
    square = metrics.MMD(np.array(1.0))(wfr.Grid(-7, 7, 64).density(wfr.Gaussian(0, 1)), wfr.Particles([[0.0], [1.0]]))
    assert square == metrics.MMD(1.0)(wfr.Grid(-7, 7, 64).density(wfr.Gaussian(0, 1)), wfr.Particles([[0.0], [1.0]]))


def test_seeds_are_numbers_in_any_clothes():
    a, b = (
        wfr.solve(wfr.Gaussian(0, 1), samplers.Langevin(), np.zeros((3, 1)), [0, 0.1], 0.1, rng=seed)["position"].values
        for seed in (3, np.array(3.0))
    )
    assert np.array_equal(a, b)
    assert metrics.SlicedWasserstein(seed=np.array(3.0)) == metrics.SlicedWasserstein(seed=3)


def test_compiling_is_not_counted():
    before = clock()
    leave_out(1000.0)
    try:
        assert clock() < before - 900
    finally:
        leave_out(-1000.0)


def test_arrays_without_entries_are_refused_where_several_things_belong():
    nothing = np.array(3.0)
    calls = {
        "support": lambda: wfr.Potential("x**2", support=nothing),
        "periodic": lambda: wfr.GridTarget([1.0, 2.0, 3.0], 0, 1, periodic=nothing),
        "boundary": lambda: wfr.Grid(0, 1, 8, nothing),
        "names": lambda: wfr.Grid(0, 1, 8, names=nothing),
        "box": lambda: wfr.ground_truth(wfr.Gaussian(0, 1), wfr.Gaussian(1, 1), [0, 1], box=nothing),
        "runs": lambda: wfr.compare(wfr.Gaussian(0, 1), nothing, [metrics.mean_error]),
    }
    for name, call in calls.items():
        with pytest.raises(TypeError, match=f"{name} must be something with entries, got an array of no dimensions"):
            call()


def test_ragged_boundaries_are_refused():
    with pytest.raises(ValueError, match="boundary must be one of"):
        wfr.ground_truth(wfr.Gaussian(0, 1), wfr.Gaussian(1, 1), [0, 1], boundary=[[1, 2], [3]])


def test_rates_that_make_no_variance():
    for value in (5e-324, 1e308):
        with pytest.raises(ValueError, match=r"SMCWFR needs a rate of 0, or between 1e-100 and 1e\+100, got rate="):
            samplers.SMCWFR(rate=value)
    with pytest.raises(ValueError, match="attempts per walker in one step, more than 1e[+]06: use a smaller dt"):
        wfr.solve(wfr.Gaussian(0, 1), samplers.TeleportingWalkers(0.3, 1e9), np.zeros((3, 1)), [0, 0.1], 0.1, rng=0)
    with pytest.raises(ValueError, match="transport_rate and reaction_rate must be at most 1e[+]100"):
        wfr.ground_truth(wfr.Gaussian(0, 1), wfr.Gaussian(1, 1), [0, 1], transport_rate=1e308)


def test_the_shortest_of_times_moves_nothing():
    start = wfr.Gaussian(1, 2)
    for moved in (wfr.exact.fisher_rao(wfr.Gaussian(0, 1), start, 5e-324, 1.0),):
        assert (moved.mean, moved.covariance) == (start.mean, start.covariance)


def test_the_smallest_tail_has_a_box():
    with pytest.raises(ValueError, match="tail must be at least 1e-300, got 5e-324"):
        wfr.Gaussian(0, 1).box(tail=5e-324)
    lower, upper = wfr.Gaussian(0, 1).box(tail=1e-300)
    assert -40 < lower[0] < -30  # erfc^-1(1e-300) √2 = 37.0
    assert 30 < upper[0] < 40


class Place:
    """A path that says where it is in another way, or not at all."""

    def __init__(self, where):
        self.where = where

    def __fspath__(self):
        if self.where is None:
            raise RuntimeError("nowhere")
        return self.where


def test_paths():
    assert arguments.path("out", Place("here")).name == "here"
    for value in (Place(None), Place(b"here"), b"here", "", "a\0b", 3):
        with pytest.raises(TypeError, match="out must be a path, got "):
            arguments.path("out", value)


@pytest.mark.parametrize(
    ("call", "meant"),
    [
        (lambda: wfr.ground_truth(wfr.Gaussian(0, 1), wfr.Gaussian(1, 1), [0, 1], alpha=2), "transport_rate"),
        (lambda: wfr.ground_truth(wfr.Gaussian(0, 1), wfr.Gaussian(1, 1), [0, 1], tol=1e-3), "rtol"),
        (lambda: wfr.GaussianMixture(means=[0], covs=1), "covariances"),
        (lambda: wfr.Grid(-5, 5, n=100), "shape"),
        (lambda: samplers.Langevin(beta=2), "rate"),
    ],
)
def test_words_of_other_programs_are_answered_with_those_of_this_one(call, meant):
    with pytest.raises(TypeError, match=rf"has no argument '\w+', did you mean {meant}\?"):
        call()


@pytest.mark.parametrize("word", ["dt", "step", "stepsize"])
def test_a_sampler_says_where_its_step_is_given(word):
    with pytest.raises(
        TypeError, match=rf"Langevin has no argument '{word}': the step is that of the run, as in solve"
    ):
        samplers.Langevin(**{word: 0.1})
