"""Samplers that are any callable."""

import functools
import json
import re

import numpy as np
import pytest
import xarray as xr
from unadjusted_langevin import DT, START, TARGET, TIMES, euler

import wfr_pde as wfr
from wfr_pde.samplers import Langevin
from wfr_pde.samplers.external.load_callable import dotted_name
from wfr_pde.samplers.external.run_sampler import run_sampler


def yielding(*results):
    """A sampler that yields what it is told."""
    return lambda target, x, times, rng: iter(results)


def at_rest(target, x, times, rng):
    for t in times:
        yield t, x, None


@pytest.mark.parametrize("seed", [0, 5])
@pytest.mark.parametrize("first", [True, False], ids=["with the start", "without"])
def test_the_same_algorithm_gives_what_solve_gives(seed, first):
    ds = run_sampler(euler, TARGET, START, TIMES, 200, rng=seed, first=first)
    own = wfr.solve(TARGET, Langevin(), START.sample(200, rng=seed), TIMES, DT, rng=seed)
    np.testing.assert_array_equal(ds["position"], own["position"])  # the same random numbers, and sums in one order
    np.testing.assert_array_equal(ds["log_weight"], own["log_weight"])
    np.testing.assert_array_equal(ds["position"][0], START.sample(200, rng=seed))
    assert list(ds.data_vars) == list(own.data_vars)
    for name in ("position", "log_weight", "t"):
        assert ds[name].dims == own[name].dims
        assert ds[name].dtype == own[name].dtype
        assert ds[name].attrs == own[name].attrs
    assert ds.attrs["seed"] == own.attrs["seed"] == str(seed)
    assert ds.attrs["energy"] == own.attrs["energy"]
    assert set(own.attrs) - set(ds.attrs) == {"flow", "dt", "dt_used", "n_steps"}


def test_provenance():
    ds = run_sampler(functools.partial(euler, dt=0.05), TARGET, START, TIMES, 50, first=False)
    assert ds.attrs["method"] == dotted_name(euler) == "unadjusted_langevin.euler"
    assert json.loads(ds.attrs["options"]) == {"first": "False"}
    assert ds.attrs["start"] == repr(START)
    assert ds.attrs["wall_time"] > 0
    assert all(isinstance(value, str | int | float) for value in ds.attrs.values())


def test_same_seed_same_bits():
    first, again, other = (run_sampler(euler, TARGET, START, TIMES, 50, rng=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first["position"], again["position"])
    assert (first["position"][-1] != other["position"][-1]).all()
    np.testing.assert_array_equal(
        *(run_sampler(euler, TARGET, START, TIMES, 9, rng=np.random.default_rng(1))["position"] for _ in range(2))
    )
    free = [run_sampler(euler, TARGET, START, TIMES, 9, rng=None) for _ in range(2)]
    assert (free[0]["position"] != free[1]["position"]).all()
    assert free[0].attrs["seed"] != free[1].attrs["seed"]


def test_what_the_sampler_is_given_is_its_own():
    x = START.sample(20, rng=0)
    kept, times = x.copy(), TIMES.copy()

    def destroys(target, x, times, rng):
        for t in times.copy():
            yield t, x, None
            x += 1
            times[:] = 0

    ds = run_sampler(destroys, TARGET, x, times)
    np.testing.assert_array_equal(x, kept)
    np.testing.assert_array_equal(times, TIMES)
    np.testing.assert_allclose(ds["position"].values - kept, np.arange(4)[:, None, None] + 0 * kept, rtol=1e-15)


def test_starts():
    x = START.sample(30, rng=1)
    expected = run_sampler(at_rest, TARGET, START, TIMES, 30, rng=1)
    np.testing.assert_array_equal(expected["position"], np.broadcast_to(x, (4, 30, 2)))
    for start in (x, wfr.Particles(x)):
        xr.testing.assert_equal(run_sampler(at_rest, TARGET, start, TIMES, rng=1), expected)
    density = wfr.Grid([-4, -3], [4, 4], 32).density(START)
    drawn = run_sampler(at_rest, TARGET, density, TIMES, 30, rng=1)
    np.testing.assert_array_equal(drawn["position"][0], density.sample(30, rng=1))


def test_weights_are_normalised_and_may_be_zero():
    log_weights = np.log([1, 2, 3, 4]) + 700
    log_weights[0] = -np.inf

    def weighted(target, x, times, rng):
        return [(t, x + t, log_weights) for t in times]

    ds = run_sampler(weighted, TARGET, START, TIMES, 4)
    np.testing.assert_allclose(np.exp(ds["log_weight"]), [[0, 2 / 9, 3 / 9, 4 / 9]] * 4, rtol=1e-13)


def test_the_number_of_particles_may_differ_from_that_of_the_start():
    halves = run_sampler(lambda target, x, times, rng: ((t, x[::2], None) for t in times), TARGET, START, TIMES, 10)
    assert halves.sizes["particle"] == 5


X = np.zeros((5, 2))
FAR = np.full((5, 2), np.inf)
WRONG = {
    "no tuple": (yielding(X), TypeError, r"yielded an array of shape \(5, 2\) before it .* tuples \(t, positions"),
    "two things": (yielding((0.0, X)), TypeError, "yielded 2 things"),
    "no time": (yielding(("now", X, None)), ValueError, "yielded the time 'now'.*finite number"),
    "NaN time": (yielding((np.nan, X, None)), ValueError, "yielded the time nan"),
    "wrong time": (yielding((0, X, None), (0.26, X, None)), ValueError, "t=0.26, but the next save time is 0.25"),
    "late": (yielding((0.5, X, None)), ValueError, "t=0.5, but the next save time is 0.25"),
    "few": (yielding((0, X, None), (0.25, X, None)), ValueError, "stopped after t=0.25.* 2 save times from t=0.5 on"),
    "none": (yielding(), ValueError, "stopped before it yielded anything"),
    "many": (
        yielding(*((t, X, None) for t in [*TIMES, 1.0])),
        ValueError,
        "yielded t=1 after the last save time 0.8: it must stop there",
    ),
    "one axis": (yielding((0, X[0], None)), ValueError, r"positions of shape \(2,\): they must have shape \(n, 2\)"),
    "dimension": (yielding((0, X[:, :1], None)), ValueError, r"positions of shape \(5, 1\)"),
    "words": (yielding((0, "here", None)), ValueError, "no arrays of numbers"),
    "number": (yielding((0, X, None), (0.25, X[1:], None)), ValueError, "4 particles, after 5 before: keep .*-inf"),
    "number at first": (yielding((0.25, X[1:], None)), ValueError, "or yield all of them at the first save time too"),
    "infinite": (yielding((0, FAR, None)), ValueError, r"at t=0 .*particle 0 has the position \[inf, inf\]"),
    "no particle": (yielding((0, X[:0], None)), ValueError, "n > 0"),
    "weights": (
        yielding((0, X, np.zeros(4))),
        ValueError,
        "the number of particles is 5",
    ),
    "no weight": (yielding((0, X, np.full(5, -np.inf))), ValueError, "at least one weight must be positive"),
    "NaN weight": (yielding((0, X, np.full(5, np.nan))), ValueError, "largest log-weight is nan"),
    "nothing": (lambda target, x, times, rng: None, TypeError, "returned NoneType, which is no iterable"),
    "one array": (
        lambda target, x, times, rng: [(t, x, None) for t in times],
        ValueError,
        r"same array of positions for several times.*append positions.copy\(\)",
    ),
}


@pytest.mark.parametrize(("sampler", "error", "message"), WRONG.values(), ids=WRONG.keys())
def test_what_does_not_fit_is_refused(sampler, error, message):
    with pytest.raises(error, match=message):
        run_sampler(sampler, TARGET, START, TIMES, 5)


def test_times_may_differ_by_rounding_only():
    times = np.array([0.0, 100.0])
    assert run_sampler(yielding((1e-8, X, None), (100 + 1e-8, X, None)), TARGET, START, times, 5)["t"][1] == 100
    with pytest.raises(ValueError, match="t=100.000001, but"):
        run_sampler(yielding((0, X, None), (100 + 1e-6, X, None)), TARGET, START, times, 5)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((Langevin(), TARGET, START, TIMES, 5), TypeError, "is a Flow: run it with solve"),
        ((3, TARGET, START, TIMES, 5), TypeError, "must be a callable"),
        ((at_rest, "pi", START, TIMES, 5), TypeError, "target must be a Target .* got .pi."),
        ((at_rest, TARGET, [0, 1], TIMES, 5), TypeError, "start must be .* got list"),
        ((at_rest, TARGET, wfr.Gaussian(0, 1), TIMES, 5), ValueError, "start is 1-dimensional, but the target 2-"),
        ((at_rest, TARGET, START, TIMES), ValueError, "n must be a whole number .* got None"),
        ((at_rest, TARGET, START, TIMES, 0), ValueError, "n must be a whole number of at least 1, got 0"),
        ((at_rest, TARGET, X, TIMES, 6), ValueError, "n=6, but the start has 5 particles: leave n out"),
        ((at_rest, TARGET, wfr.Particles(X, np.arange(5)), TIMES), ValueError, "different weights.*start.sample"),
        ((at_rest, TARGET, START, [0, 1, 1], 5), ValueError, "increasing save times"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        run_sampler(*arguments)


def test_errors_of_the_sampler_pass_with_a_note():
    def breaks(target, x, times, rng):
        yield times[0], x, None
        yield times[1], x, None
        raise KeyError("mine")

    def breaks_at_once(target, x, times, rng):
        raise OSError("mine")

    with pytest.raises(KeyError, match="mine") as caught:
        run_sampler(breaks, TARGET, START, TIMES, 5)
    assert re.search(r"raised by the sampler .*breaks, after t=0.25", caught.value.__notes__[0])
    with pytest.raises(OSError, match="mine") as caught:
        run_sampler(breaks_at_once, TARGET, START, TIMES, 5)
    assert "before it yielded anything" in caught.value.__notes__[0]
    with pytest.raises(TypeError, match="unexpected keyword argument 'step'"):
        run_sampler(euler, TARGET, START, TIMES, 5, step=0.1)


@pytest.mark.parametrize("yielded", ["t", "positions", "log_weights"])
@pytest.mark.parametrize("value", [10**400, np.ma.masked_all((2, 1))], ids=["too large", "masked"])
def test_what_is_no_number_in_double_precision_is_refused(yielded, value):
    def sampler(target, start, times, rng):
        good = {"t": times[0], "positions": start, "log_weights": np.zeros(2)}
        yield tuple((good | {yielded: value}).values())

    with pytest.raises(ValueError, match="yielded"):
        wfr.run_sampler(sampler, wfr.Gaussian(0, 1), np.zeros((2, 1)), [0, 1])


def test_a_sampler_that_ends_the_program_is_an_error():
    def ends(target, positions, times, rng):
        yield times[0], positions, None
        raise SystemExit(0)

    def at_once(target, positions, times, rng):
        raise SystemExit(0)

    for sampler, when in ((ends, "after t=0"), (at_once, "before it yielded anything")):
        with pytest.raises(ValueError, match=rf"ends the program \(SystemExit with the code 0\), {when}"):
            run_sampler(sampler, TARGET, START, TIMES, 5)


def test_complex_positions_are_refused_rather_than_cut():
    def complex_positions(target, positions, times, rng):
        for t in times:
            yield t, positions + 1j, None

    with pytest.raises(ValueError, match="complex: give .real"):
        run_sampler(complex_positions, TARGET, START, TIMES, 5)


def test_positions_that_are_returned_are_answered_with_the_form_of_results():
    with pytest.raises(TypeError, match=r"returned an array of shape \(5, 1\): it must yield, or return a list of"):
        run_sampler(lambda target, x, times, rng: x, wfr.Gaussian(0, 1), wfr.Gaussian(0, 1), [0, 1], n=5)
