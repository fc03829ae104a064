"""Trajectories between save times, the continuity equation along characteristics, curl and the Helmholtz split."""

import json
import math

import numpy as np
import pytest
import xarray as xr

import wfr_pde as wfr
from wfr_pde.integrate.agreement_rules import until_they_grow
from wfr_pde.integrate.continuity import continuity
from wfr_pde.integrate.frame_interpolation import MOST_WEIGHT
from wfr_pde.integrate.helmholtz_split import helmholtz
from wfr_pde.integrate.rate_of_change import RateOfChange
from wfr_pde.integrate.spline_errors import spline_errors
from wfr_pde.integrate.vector_fields import curl

TARGET = wfr.Gaussian(0.5, 1.0)
START = wfr.Gaussian(-2.0, 0.16)
TARGET_2D = wfr.Gaussian([0.5, 0.0], [[1.0, 0.3], [0.3, 0.6]])
START_2D = wfr.Gaussian([-1.0, 0.5], 0.25)
J = np.array([[0.0, 1.0], [-1.0, 0.0]])


def frames(target, start, times, rates=(1.0, 1.0), grid=None, error=None):
    """The Dataset of a closed-form flow, exact but for rounding."""
    grid = grid or wfr.Grid.covering(target, start, shape=200)
    states = wfr.exact.gaussian_flow(target, start, np.asarray(times), *rates)
    densities = [wfr.Density(grid, grid.log_density(state, checked=False)) for state in states]
    coordinates = densities[0].coordinates()
    variables = {name: coordinates.pop(name) for name in list(coordinates) if name.startswith("cell_")}
    variables["log_density"] = (("t", *grid.names), np.stack([density.log_values for density in densities]))
    if error is not None:
        variables["error_l1"] = (("t",), error)
    attrs = {"grid": json.dumps(grid.description()), "transport_rate": rates[0], "reaction_rate": rates[1]}
    return xr.Dataset(variables, coords=coordinates | {"t": np.asarray(times)}, attrs=attrs)


def exact(t, target=TARGET, start=START, rates=(1.0, 1.0)):
    return wfr.exact.gaussian_flow(target, start, float(t), *rates)


def normalised(gaussian, x):
    return gaussian.log_density(x) - gaussian.log_normaliser


LINEAR, GEOMETRIC = np.linspace(0, 5, 51), np.concatenate([[0], np.geomspace(1e-2, 5, 40)])


@pytest.mark.parametrize("variance", [0.02, 0.16, 2.0])
@pytest.mark.parametrize("rates", [(1.0, 0.0), (1.0, 1.0), (0.0, 1.0)])
@pytest.mark.parametrize("times", [LINEAR, GEOMETRIC, LINEAR[::5]], ids=["linear", "geometric", "coarse"])
def test_the_stated_error_in_time_is_never_below_the_true_one(times, rates, variance):
    start = wfr.Gaussian(-2.0, variance)
    path = wfr.Trajectory(frames(TARGET, start, times, rates), TARGET)
    queries = np.concatenate([[0.1 * times[1], 0.6 * times[1]], np.geomspace(1.3 * times[1], 4.9, 7)])
    stated = path.error_l1(queries)
    for t, bound in zip(queries, stated, strict=True):
        reference = np.exp(path.grid.log_density(exact(t, start=start, rates=rates), checked=False))
        true = float(path.grid.integrate(np.abs(path.at(t).values - reference)))
        # 1e-13: the mass of the Gaussian outside the box; the worst of 1600 such queries has a ratio of 1.1
        assert true <= bound + 1e-13
    if times is GEOMETRIC:
        assert stated.max() < 0.05  # measured: 0.01 in the worst interval, where the target is nearly reached
        assert np.median(stated) < 2e-3


def test_between_dense_frames_everything_is_exact():
    path = wfr.Trajectory(frames(TARGET, START, GEOMETRIC), TARGET)
    x = np.linspace(-2.5, 3, 23)[:, None]
    for t in (0.004, 0.033, 0.4):
        mu = exact(t)
        g = normalised(mu, x) - normalised(TARGET, x)
        mean, variance = float(mu.mean[0]), float(mu.covariance[0, 0])
        kl = 0.5 * (variance + (mean - 0.5) ** 2 - 1 - math.log(variance))
        # measured 2e-5 at most; the far ends are 10 standard deviations away, log-densities of -50
        assert path.log_prob(x, t) == pytest.approx(normalised(mu, x), abs=1e-4)
        assert path.score(x, t) == pytest.approx(mu.score(x), abs=1e-4)
        assert path.velocity(x, t) == pytest.approx(TARGET.score(x) - mu.score(x), abs=1e-4)
        assert path.growth(x, t) == pytest.approx(kl - g, abs=1e-4)
        assert path.mean(t) == pytest.approx(mu.mean, abs=1e-5)
        assert path.covariance(t) == pytest.approx(mu.covariance, abs=1e-5)
        # 1e-11: rounding of log-densities of -50
        assert (np.abs(path.log_prob(x, t) - normalised(mu, x)) <= path.log_prob_error(x, t) + 1e-11).all()
        error = np.linalg.norm(path.score(x, t) - mu.score(x), axis=-1)
        assert (error <= path.score_error(x, t) + 1e-11).all()
        assert float(path.at(t).expectation(lambda p, t=t: path.growth(p, t))) == pytest.approx(0, abs=1e-11)


def test_save_times_give_the_frames_to_the_bit():
    ds = frames(TARGET, START, LINEAR, error=np.linspace(0, 1e-3, 51))
    path = wfr.Trajectory(ds, TARGET)
    assert np.array_equal(path.at(LINEAR[7]).log_values, ds.log_density.values[7])
    assert path.error_l1(LINEAR[7]) == ds.error_l1.values[7]
    # at the top only the frame's own error is left, spread over a quarter of the width at least, in the cell beside too
    top = exact(LINEAR[7]).mean[None]
    assert 4 * ds.error_l1.values[7] <= path.log_prob_error(top, LINEAR[7])[0] < 5 * ds.error_l1.values[7]
    between = path.error_l1(LINEAR[30] + 0.04)
    # the frames' own, times at most the sum of the weights' sizes, about 1.3 in the middle of eight
    assert ds.error_l1.values[31] <= between < 2 * ds.error_l1.values[31]


def test_times_broadcast_with_points():
    path = wfr.Trajectory(frames(TARGET, START, LINEAR), TARGET)
    x, t = np.linspace(-2, 2, 12).reshape(3, 4, 1), np.array([0.25, 1.0, 0.25, 3.3])
    for function in (path.log_prob, path.score, path.velocity, path.growth, path.log_prob_error, path.score_error):
        together = function(x, t)
        assert together.shape[:2] == (3, 4)
        for j in range(4):
            assert together[:, j] == pytest.approx(function(x[:, j], t[j]), rel=1e-12, abs=1e-14)
    assert path.log_prob(np.zeros(1), t).shape == (4,)
    assert path.mean(t).shape == (4, 1)
    assert path.covariance(t[:2]).shape == (2, 1, 1)
    assert path.mode_masses([[-2.0], [2.0]], t).sum(axis=-1) == pytest.approx(np.ones(4))
    assert path.error_l1(t.reshape(2, 2)).shape == (2, 2)


def test_draws_and_places_outside_the_box():
    path = wfr.Trajectory(frames(TARGET, START, LINEAR), TARGET)
    draws = path.sample(20_000, 0.73, rng=0)
    assert draws.mean() == pytest.approx(float(exact(0.73).mean[0]), abs=5 / math.sqrt(20_000))  # 5 standard errors
    outside = np.array([[1e3], [0.0]])
    assert path.log_prob(outside, 0.73)[0] == -math.inf
    for function in (path.score, path.velocity, path.growth, path.log_prob_error, path.score_error):
        assert np.isnan(np.ravel(function(outside, 0.73))[0])
        assert np.isfinite(np.ravel(function(outside, 0.73))[1])
    assert np.isinf(path.log_prob_error(np.array([[5.0]]), 0.73))  # 20 nats down, and nothing is known of frames there


def test_runs_of_solve_with_few_frames():
    grid = wfr.Grid.covering(TARGET, START, shape=100)
    flow = wfr.Strang(wfr.FisherRao(), wfr.SinkhornKernel())
    run = wfr.solve(TARGET, flow, grid.density(START), [0, 0.1, 0.2, 0.3], 0.05, keep=[0, 0.1, 0.3])
    path = wfr.Trajectory(run, TARGET, transport_rate=1.0)
    assert path.times.tolist() == [0, 0.1, 0.3]
    assert 0 < path.error_l1(0.05) <= 2
    assert path.velocity(np.zeros((2, 1)), 0.2).shape == (2, 1)
    with pytest.raises(ValueError, match=r"growth needs the rate.*reaction_rate=\.\.\."):
        path.growth(np.zeros((2, 1)), 0.2)
    last = wfr.Trajectory(wfr.solve(TARGET, flow, grid.density(START), [0, 0.1], 0.05, keep="last"))
    assert last.at(0.1).mass == pytest.approx(1)
    assert last.score(np.zeros((1, 1)), 0.1).shape == (1, 1)


def test_a_ground_truth_says_rates_and_errors():
    """Errors of frames and of the interpolation together, and its own velocity and growth give it back."""
    truth = wfr.ground_truth(TARGET, wfr.Gaussian(-1.0, 0.16), np.append(0, np.geomspace(0.02, 1, 16)), rtol=1e-5)
    path = wfr.Trajectory(truth, TARGET)
    for t in (0.013, 0.3, 0.9):
        state = np.exp(path.grid.log_density(exact(t, start=wfr.Gaussian(-1.0, 0.16)), checked=False))
        assert float(path.grid.integrate(np.abs(path.at(t).values - state))) <= path.error_l1(t)
    grid = wfr.Grid(-2.5, 2.5, 40, max_cut=0.1)
    moved = continuity(path.velocity, wfr.Gaussian(-1.0, 0.16), [0, 0.4], grid, growth=path.growth, rtol=1e-5)
    reference = grid.log_density(exact(0.4, start=wfr.Gaussian(-1.0, 0.16)), checked=False)
    # the tolerances of the run and of the characteristics, measured 3e-6
    assert float(grid.integrate(np.abs(np.exp(moved.log_density.values[1]) - np.exp(reference)))) < 1e-4


def test_graded_and_periodic_axes():
    target, start = wfr.GaussianMixture([-2.0, 2.0], [0.5, 0.5], 0.1), wfr.Gaussian(0.0, 0.01)
    grid = wfr.Grid.covering(target, start, shape=160, graded=True)
    path = wfr.Trajectory(frames(wfr.Gaussian(0.0, 1.0), start, GEOMETRIC, grid=grid))
    assert not path.grid.is_uniform
    assert path.mean(0.3) == pytest.approx([0.0], abs=1e-9)  # symmetric
    ring = wfr.Grid(0, 2 * math.pi, 64, boundary="periodic", max_cut=1)
    flow = wfr.FiniteVolume()
    begin = ring.density(wfr.Potential("cos(x)"))
    run = wfr.solve(wfr.Potential("-cos(x)"), flow, begin, np.linspace(0, 1, 11), 0.05)
    path = wfr.Trajectory(run, wfr.Potential("-cos(x)"), transport_rate=1.0)
    x = np.linspace(0.1, 6, 9)[:, None]
    assert path.velocity(x + 2 * math.pi, 0.55) == pytest.approx(path.velocity(x, 0.55), abs=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda path: path.at(5.1), "t=5.1 is outside the run, which has times from 0 to 5"),
        (lambda path: path.score(np.zeros((2, 1)), [0.1, math.nan]), "t=nan is outside"),
        (lambda path: path.at([0.1, 0.2]), "t must be a number"),
        (lambda path: path.log_prob(0.0, 1.0), "the last axis must have length 1"),
        (lambda path: path.log_prob(np.zeros((3, 2)), 1.0), "the last axis must have length 1"),
        (lambda path: path.log_prob(np.zeros((3, 1)), [1.0, 2.0]), "do not broadcast"),
        (lambda path: path.velocity(np.zeros((3, 1)), 1.0), "velocity needs the target"),
        (lambda path: wfr.Trajectory(path.ds, TARGET_2D), "2-dimensional, but the grid has 1 axes"),
        (lambda path: wfr.Trajectory(path.ds.drop_vars("log_density")), "needs densities on a grid"),
        (lambda path: wfr.Trajectory(path.ds.isel(t=0)), "must have the time"),
    ],
)
def test_wrong_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(wfr.Trajectory(frames(TARGET, START, LINEAR)))


# Save times that leave an interval unresolved

CLUSTERED = np.array([*np.linspace(0, 1e-3, 7), 1])
CLOSE = np.array([0, 0.2, 0.4, 0.4 + 1e-7, 0.6, 0.8])


def closed_form(times, rates=(1.0, 1.0), start=None, known=None):
    """Frames of N(-2, .1) to N(0, 1) with an error of `log_density_error` stated, and the density at a time."""
    target, start = wfr.Gaussian(0.0, 1.0), start or wfr.Gaussian(-2.0, 0.1)
    ds = frames(target, start, times, rates, grid=wfr.Grid.covering(target, start, shape=300, tail=1e-30))
    if known is not None:
        ds["log_density_error"] = (("t", "x"), np.broadcast_to(known, ds.log_density.shape))
    return ds, target, lambda t: exact(t, target, start, rates)


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
        rule = path._frames.rule(k)
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


# Pointwise errors

MIXTURE = wfr.GaussianMixture([-1.5, 1.0], [0.3, 0.7], [0.05, 0.1])


@pytest.mark.parametrize("knows", [True, False])
@pytest.mark.parametrize("pattern", [np.append(0, np.geomspace(0.01, 2, 25)), np.linspace(0, 2, 21)])
def test_pointwise_errors_hold_in_the_stated_region(pattern, knows):
    target = wfr.Gaussian(0.0, 1.0)
    grid = wfr.Grid.covering(target, MIXTURE, shape=500, tail=1e-60)
    values = np.stack([grid.log_density(exact_mixture(target, t), checked=False) for t in pattern])
    ds = frames(target, wfr.Gaussian(0.0, 1.0), pattern, (1.0, 0.0), grid=grid)
    ds = ds.assign(log_density=(("t", "x"), values), log_density_error=(("t", "x"), np.full(values.shape, 1e-12)))
    path = wfr.Trajectory(ds, target if knows else None)
    rng, reach = np.random.default_rng(0), []
    for t in rng.uniform(0.0, 2.0, 25):
        x, truth = rng.uniform(-8, 8, (40, 1)), exact_mixture(target, t)
        stated = path.log_prob_error(x, t)
        error = np.abs(path.log_prob(x, t) - truth.log_density(x) + truth_mass(grid, truth))
        depth = path.at(t).log_values.max() - path.log_prob(x, t)
        assert (error <= stated + 1e-11 * (1 + depth)).all()
        assert np.array_equal(np.isinf(stated), depth >= path.holds_within(t))
        assert (np.linalg.norm(path.score(x, t) - truth.score(x), axis=-1) <= path.score_error(x, t) + 1e-8).all()
        reach.append(path.holds_within(t))
    if knows:
        assert np.median(reach) > 30  # it claims something, in tails too


def exact_mixture(target, t):
    return wfr.exact.mixture_transport(target, MIXTURE, float(t))


def truth_mass(grid, truth):
    return float(grid.log_integrate(grid.evaluate(truth.log_density)))


def test_what_is_known_of_the_frames_is_followed():
    """The variable `log_density_error` where there is one; else 10 nats, less where the L1 error says less."""
    times, x = np.linspace(0.2, 1, 17), np.linspace(-8, 6, 141)[:, None]
    ds, target, _ = closed_form(times, known=1e-9)
    assert wfr.Trajectory(ds, target).holds_within(0.5) > 100
    known = np.where(wfr.Grid.from_dataset(ds).points()[:, 0] > 3, np.inf, 1e-3)
    path = wfr.Trajectory(ds.assign(log_density_error=(("t", "x"), np.tile(known, (17, 1)))), target)
    t = 0.512
    stated, depth = path.log_prob_error(x, t), path.at(t).log_values.max() - path.log_prob(x, t)
    assert np.isinf(stated[x[:, 0] > 2.95]).all()
    assert np.isinf(stated[depth > path.holds_within(t)]).all()
    assert (stated[depth < path.holds_within(t)] >= 1e-3).all()
    plain = wfr.Trajectory(ds.drop_vars("log_density_error"), target)
    assert 8 < plain.holds_within(t) <= 10
    rough = wfr.Trajectory(ds.drop_vars("log_density_error").assign(error_l1=("t", np.full(17, 1e-3))), target)
    assert 2 < rough.holds_within(t) < math.log(0.5 / 4e-3)
    assert plain.holds_within([0.3, 0.4]).shape == (2,)


@pytest.mark.parametrize("shift", [0.0, 0.13, 0.31, 0.5, 0.77])
def test_errors_between_cells_hold_at_kinks_and_where_curves_are_sharp(shift):
    grid = wfr.Grid(-4, 4, 80)
    x = grid.points()[:, 0]
    for function in (
        lambda y: -np.abs(y - 0.1 * shift),
        lambda y: np.logaddexp(-20 * (y - 0.1 * shift), 20 * (y - 0.1 * shift)) - y**2,
        lambda y: np.sin(3 * y + shift),
    ):
        density = wfr.Density(grid, function(x))
        places = np.linspace(-4, 4, 3001)
        cells = np.clip(np.searchsorted(grid.axes[0].edges, places) - 1, 0, 79)
        error, slope = spline_errors(grid, density.log_values)
        assert (np.abs(density.log_prob(places[:, None]) - function(places)) <= error[cells]).all()
        if function(0.5) != -abs(0.5 - 0.1 * shift):  # at a kink the slope is what it is on either side
            step = 1e-6
            true = (function(places + step) - function(places - step)) / (2 * step)
            assert (np.abs(density.score(places[:, None])[:, 0] - true) <= slope[cells] + 1e-8).all()
    assert error[10:-10].max() < 1e-3  # of the sine, 20 cells per period; more where splines go on to a wall


# The equation on a grid


@pytest.mark.parametrize("rates", [(1.0, 0.0), (0.5, 2.0)])
@pytest.mark.parametrize("graded", [False, True])
def test_rates_of_change_are_those_of_the_closed_form(graded, rates):
    grid = wfr.Grid.covering(TARGET_2D, START_2D, shape=64, graded=graded)
    equation = RateOfChange(grid, TARGET_2D, *rates)
    t, step = 0.2, 1e-5

    def at(time):
        return grid.log_density(exact(time, TARGET_2D, START_2D, rates), checked=False)

    expected, density = (at(t + step) - at(t - step)) / (2 * step), np.exp(at(t))
    off = np.abs(equation(at(t), t) - expected)
    assert float(grid.integrate(density * off)) < 1e-7 * float(grid.integrate(density * np.abs(expected)))
    gradient = equation.gradient_size(at(t))
    score = np.linalg.norm(exact(t, TARGET_2D, START_2D, rates).score(grid.points()), axis=-1)
    assert gradient == pytest.approx(score, rel=1e-6, abs=1e-6)


def test_derivatives_around_a_circle():
    ring = wfr.Grid(0, 2 * math.pi, 48, boundary="periodic", max_cut=1)
    equation = RateOfChange(ring, wfr.Potential("-cos(x)"), 1.0, 0.0)
    flat = np.full(48, -math.log(2 * math.pi))
    x = ring.points()[:, 0]
    # g = -cos(x) + const: d_t log mu = g''; degree 8 in steps of .13: 1e-7
    assert equation(flat, 0.0) == pytest.approx(np.cos(x), abs=1e-6)


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
        ((lambda x, t: x, START_2D, [0, 1]), {}, "the start is 2-dimensional, but the grid has 1 axes"),
        ((lambda x, t: x, START, [0, 1]), {"rtol": 0.0}, "rtol must be"),
    ],
)
def test_continuity_refuses_what_does_not_fit(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        continuity(*arguments, **({"grid": wfr.Grid(-4, 4, 20)} | options))


def test_curl():
    points = np.random.default_rng(0).standard_normal((5, 4, 3))
    omega = np.array([0.3, -1.0, 2.0])
    rotation = curl(lambda x, t: t * np.cross(omega, x) + np.cos(x), points, 2.0)
    assert rotation.shape == (5, 4, 3, 3)
    vector = np.stack([rotation[..., 1, 2], rotation[..., 2, 0], rotation[..., 0, 1]], axis=-1)
    assert vector == pytest.approx(np.broadcast_to(4 * omega, vector.shape), abs=1e-11)  # rounding over the step
    assert np.abs(curl(lambda x, t: TARGET_2D.score(x), points[..., :2], 0.0)).max() < 1e-11
    with pytest.raises(ValueError, match="one vector per point"):
        curl(lambda x, t: x[..., :1], points, 0.0)
    with pytest.raises(ValueError, match="step must be"):
        curl(lambda x, t: x, points, 0.0, step=0.0)


def wave(x, t):
    """A gradient: of sin x sin y."""
    return np.stack([np.cos(x[..., 0]) * np.sin(x[..., 1]), np.sin(x[..., 0]) * np.cos(x[..., 1])], axis=-1)


@pytest.mark.parametrize("graded", [False, True])
def test_helmholtz_separates_a_gradient_from_what_leaves_the_density(graded):
    mixture = wfr.GaussianMixture([[-2, 0], [2, 0]], [0.3, 0.7], 0.25)
    narrow = wfr.Gaussian([0, 0], 0.1)
    grid = wfr.Grid.covering(mixture, *([narrow] if graded else []), shape=72, graded=graded)
    density = grid.density(mixture)
    split = helmholtz(density, lambda x, t: wave(x, t) + mixture.score(x) @ J.T)
    mass = (density.values * grid.cell_volume)[..., None]
    size = float(split.norm)
    # spline derivatives of order dx^5; measured 2e-5 (equal cells), 3e-5
    assert np.sqrt(np.sum(mass * (split.gradient.values - wave(grid.points(), 0)) ** 2)) < 2e-4 * size
    squares = float(split.gradient_norm) ** 2 + float(split.divergence_free_norm) ** 2
    assert squares == pytest.approx(size**2, rel=1e-9)


def test_helmholtz_of_what_leaves_a_trajectory_has_no_gradient():
    """Of order six in the cells: 48 and 96 cells measure 2e-5 and 3e-7."""
    grid = wfr.Grid.covering(TARGET_2D, START_2D, shape=96)
    path = wfr.Trajectory(frames(TARGET_2D, START_2D, [0.2, 0.3, 0.4], grid=grid))
    split = path.helmholtz(lambda x, t: path.score(x, t) @ J.T, 0.3)
    assert float(split.gradient_norm) < 1e-5 * float(split.norm)
    assert split.gradient.dims == ("x", "y", "axis")
    assert float((np.exp(path.at(0.3).log_values) * split.phi).sum()) == pytest.approx(0, abs=1e-6)


def test_helmholtz_in_one_dimension_and_around_a_circle():
    grid = wfr.Grid.covering(TARGET, shape=80)
    split = helmholtz(grid.density(TARGET), lambda x, t: np.sin(x))
    assert float(split.divergence_free_norm) < 1e-8  # between walls every field is a gradient
    ring = wfr.Grid(0, 2 * math.pi, 64, boundary="periodic", max_cut=1)
    density = ring.density(wfr.Potential("cos(x)"))
    split = helmholtz(density, lambda x, t: np.ones_like(x))
    # around a circle mu w is constant, and w has the winding of v
    reciprocal = 1 / density.values
    expected = 2 * math.pi * reciprocal / float(ring.integrate(reciprocal))
    assert split.divergence_free.values[:, 0] == pytest.approx(expected, abs=1e-8)


def test_helmholtz_in_three_dimensions():
    target = wfr.Gaussian([0.0, 0.5, 0.0], np.diag([1.0, 0.5, 0.8]))
    grid = wfr.Grid.covering(target, shape=20, tail=1e-5, max_cut=1e-3)
    matrix = np.array([[0, 1, 0.5], [-1, 0, 0.2], [-0.5, -0.2, 0]])
    density = grid.density(target)
    split = helmholtz(density, lambda x, t: x + target.score(x) @ matrix.T)
    mass = (density.values * grid.cell_volume)[..., None]
    error = np.sqrt(np.sum(mass * (split.gradient.values - grid.points()) ** 2))
    assert error < 0.02  # of fields of size 2: what the walls, which cut off 1e-5, let through, and coarse cells


def test_helmholtz_refuses_a_field_that_is_not_finite():
    density = wfr.Grid.covering(TARGET, shape=40).density(TARGET)
    with pytest.raises(ValueError, match="the field is nan at x"):
        helmholtz(density, lambda x, t: np.where(x > 0, np.nan, x))
    with pytest.raises(ValueError, match="one vector per point"):
        helmholtz(density, lambda x, t: x[..., 0])
