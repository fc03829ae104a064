"""Trajectories between save times."""

import math

import numpy as np
import pytest
from gaussian_frames import START, TARGET, closed_form, exact, frames

import wfr_pde as wfr
from wfr_pde.integrate.continuity import continuity
from wfr_pde.integrate.spline_errors import spline_errors

TARGET_2D = wfr.Gaussian([0.5, 0.0], [[1.0, 0.3], [0.3, 0.6]])


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
        (lambda path: path.at([0.1, 0.2]), "t must be a single number"),
        (lambda path: path.log_prob(0.0, 1.0), "the last axis must have length 1"),
        (lambda path: path.log_prob(np.zeros((3, 2)), 1.0), "the last axis must have length 1"),
        (lambda path: path.log_prob(np.zeros((3, 1)), [1.0, 2.0]), "do not broadcast"),
        (lambda path: path.velocity(np.zeros((3, 1)), 1.0), "velocity needs the target"),
        (lambda path: wfr.Trajectory(path.ds, TARGET_2D), "2-dimensional, but the grid is 1-dimensional"),
        (lambda path: wfr.Trajectory(path.ds.drop_vars("log_density")), "needs densities on a grid"),
        (lambda path: wfr.Trajectory(path.ds.isel(t=0)), "must have the time"),
    ],
)
def test_wrong_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(wfr.Trajectory(frames(TARGET, START, LINEAR)))


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


def test_sums_over_the_cells_do_not_change_the_density_at_a_wall():
    """From 2x to x on the half line by reaction alone, mu_t is exponential at rate 1 + e^-t; a wall is in the mass."""
    target = wfr.Potential("x")
    times = np.linspace(0, 2, 11)
    truth = wfr.ground_truth(target, wfr.Potential("2*x"), times, rtol=1e-5, transport_rate=0.0, box=(0, 40), max_cut=1)
    path = wfr.Trajectory(truth, target)
    x = np.array([[0.3], [1.0], [4.0]])
    for t in (0.0, 1.0, 1.1, 1.93):
        rate = 1 + np.exp(-t)
        error = np.abs(path.log_prob(x, t) - (np.log(rate) - rate * x[:, 0]))
        assert np.all(error <= path.log_prob_error(x, t))
        assert np.all(error < 1e-5)


@pytest.mark.parametrize("t", [0.1, 0.55, 1.3])
def test_a_jump_between_save_times_is_within_the_error(t):
    """By reaction alone; sums over the cells are off by 1e-3 there, and change in time."""
    target, start = wfr.Potential("x**2/2 + 1.5*Heaviside(x - 0.2)"), wfr.Gaussian(0.5, 0.55)
    path = wfr.Trajectory(wfr.ground_truth(target, start, [0, 0.3, 0.8, 2], rtol=1e-5, transport_rate=0.0), target)
    share = np.exp(-t)

    def log_density(x):
        return -share * (x - 0.5) ** 2 / 1.1 - (1 - share) * (x**2 / 2 + 1.5 * (x > 0.2))

    nodes, weights = np.polynomial.legendre.leggauss(20)
    ends = np.linspace(-7.8, 8.2, 81)  # the jump is one
    x = (ends[:-1, None] + 0.1 * (1 + nodes)).ravel()
    volumes = np.tile(0.1 * weights, 80)
    right = np.exp(log_density(x))
    right /= np.sum(right * volumes)
    inside = (x > path.grid.lower[0]) & (x < path.grid.upper[0])
    apart = np.sum((np.abs(np.exp(path.log_prob(x[:, None], t)) - right) * volumes)[inside])
    assert apart < path.error_l1(t) < 1e-4


@pytest.mark.parametrize(("rtol", "error"), [(1e-2, 2e-3), (1e-5, 1e-4)])
def test_moments_are_integrals_up_to_a_wall(rtol, error):
    """From 4x to 1.5x on the half line by reaction alone: exponential, with the rate 1.5 + 2.5 e^-t."""
    target = wfr.Potential("1.5*x")
    options = {"rtol": rtol, "transport_rate": 0.0, "box": (0, 30), "max_cut": 1}
    path = wfr.Trajectory(wfr.ground_truth(target, wfr.Potential("4*x"), [0, 0.5, 1.2], **options), target)
    for t in (0.0, 0.3, 1.2):
        rate = 1.5 + 2.5 * np.exp(-t)
        assert abs(path.mean(t)[0] - 1 / rate) < error
        assert abs(path.covariance(t)[0, 0] - 1 / rate**2) < error


def test_moments_are_those_of_a_gamma_density_at_a_singular_wall():
    target, start = wfr.Potential("x - 0.5*log(x)"), wfr.Potential("2*x - 1.5*log(x)")
    options = {"rtol": 1e-5, "transport_rate": 0.0, "box": (0, 50), "max_cut": 1}
    path = wfr.Trajectory(wfr.ground_truth(target, start, [0, 1.2], **options), target)
    share = np.exp(-1.2)
    shape, rate = 1.5 + share, 1 + share
    assert abs(path.mean(1.2)[0] - shape / rate) < 1e-12
