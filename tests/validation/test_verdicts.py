"""Verdicts on samplers, and the test behind them: its level, its power, and biases that it forgives."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
import xarray as xr

import wfr_pde as wfr
from wfr_pde import samplers
from wfr_pde.validation.max_test import MaxTest, Runs, max_test
from wfr_pde.validation.statistics import observables
from wfr_pde.validation.verdict import CONSISTENT, INCONSISTENT, NO_POWER, report
from wfr_pde.validation.verdicts import validate

TARGET, START = wfr.Gaussian(1.0, 0.5), wfr.Gaussian(0.0, 0.25)
PI = wfr.Grid([-4.0], [6.0], 200).density(TARGET)
ULA = samplers.Langevin()
COMMON = dict(target=TARGET, dt=0.1, n=300)


def validated(sampler, **changes):
    """Against a density of pi, which gives the box; the reference is the law of the scheme, from the start."""
    return validate(sampler, PI, **{**COMMON, "start": START, "t": [0.5], **changes})


@dataclass(frozen=True)
class Quiet(samplers.Sampler):
    """Langevin with noise that is too small by the square root of two."""

    rate: float = 1.0

    interacting = False

    def build_step(self, energy, template, dt):
        def step(state, rng):
            x = state.positions
            return self.moved(state, x + dt * energy.target.score(x) + math.sqrt(dt) * rng.standard_normal(x.shape))

        return step


def unadjusted(target, x, times, rng, dt):
    """Langevin as a function."""
    for k, t in enumerate(times):
        for _ in range(round((t - times[k - 1]) / dt) if k else 0):
            x = x + dt * target.score(x) + math.sqrt(2 * dt) * rng.standard_normal(x.shape)
        yield t, x, None


# Verdicts


def test_a_correct_sampler_is_consistent():
    ds = validated(ULA)
    assert ds.attrs["verdict"] == CONSISTENT
    assert float(ds["resolution"].max()) < 0.2
    assert ds["value"].dims == ("seed", "t", "statistic")
    assert ds["value"].shape[0] == 20
    mean, variance = 0.0, 0.25  # of five steps, in closed form
    for _ in range(5):
        mean, variance = mean + 0.1 * (1 - mean) / 0.5, (1 - 0.1 / 0.5) ** 2 * variance + 0.2
    at = ds.isel(t=0)
    assert float(at["reference"].sel(statistic="variance x")) == pytest.approx(variance, rel=1e-6)
    assert float(at["standard_deviation"].sel(statistic="mean x")) == pytest.approx(math.sqrt(variance), rel=1e-6)
    assert float(at["reference"].sel(statistic="mean x")) == pytest.approx(mean, rel=1e-6)


def test_the_law_of_the_scheme_has_the_step_that_is_declared():
    """Twice the step is another law: a run with that is found, though both are Langevin."""
    runs = [wfr.solve(TARGET, ULA, START.sample(1000, rng=s), [0, 0.4], 0.2, rng=s) for s in range(20)]
    assert validated(runs, scheme=ULA, dt=0.2, t=[0.4]).attrs["verdict"] == CONSISTENT
    assert validated(runs, scheme=ULA, dt=0.05, t=[0.4]).attrs["verdict"] == INCONSISTENT


def test_too_little_noise_is_found_and_named():
    ds = validated(Quiet(), scheme=ULA)
    assert ds.attrs["verdict"] == INCONSISTENT
    worst = ds["score"].isel(t=0).to_series().nlargest(3).index
    assert "variance x" in worst
    # the noise has put in half of what it should
    assert float(ds["deviation"].sel(statistic="variance x").item()) < -0.2
    text = report(ds)
    assert ds.attrs["report"] == text
    assert text.startswith("inconsistent: Quiet(rate=1.0)")
    assert "held against the law of Langevin(rate=1.0); 20 runs of 300 particles, dt = 0.1" in text
    assert "variance x" in text


def test_few_particles_are_not_enough_and_what_is_said_to_do_does():
    few = validated(ULA, n=10)
    assert few.attrs["verdict"] == NO_POWER
    factor = few.attrs["power_factor"]
    assert factor > 1
    n, seeds = math.ceil(10 * factor), math.ceil(20 * factor)
    text = report(few)
    assert f"{seeds} runs of 10 particles would do, or 20 of {n}" in text
    for changes in (dict(n=n), dict(n=10, seeds=seeds)):
        more = validated(ULA, **changes)
        # spreads of 20 runs are known to one part in six, the critical value as well
        assert float(more["resolution"].max()) == pytest.approx(0.2, rel=0.3)
    assert validated(ULA, n=2 * n, rng=1).attrs["verdict"] == CONSISTENT
    assert validated(ULA, n=10, effect=0.6).attrs["verdict"] == CONSISTENT


def test_a_report_of_a_consistent_sampler():
    text = report(validated(ULA, n=1000))
    assert text.startswith("consistent: Langevin(rate=1.0)")
    assert "a deviation of 0.2 standard deviations would have been found in each" in text
    assert text.endswith("in standard deviations of a single draw")


def test_the_same_seed_gives_the_same_verdict_to_the_last_bit():
    first = validated(ULA, n=20, rng=3)
    assert validated(ULA, n=20, rng=3).identical(first)
    assert not validated(ULA, n=20, rng=4).equals(first)


def test_runs_made_elsewhere():
    def runs(flow):
        return [wfr.solve(TARGET, flow, START.sample(300, rng=s), [0, 0.5], 0.1, rng=s) for s in range(20)]

    right = runs(ULA)
    ds = validated(right, scheme=ULA)
    assert ds.attrs["verdict"] == CONSISTENT
    assert ds.attrs["n"] == 300
    assert ds.attrs["sampler"] == "Langevin(rate=1.0)"
    stacked = xr.concat(right, "seed", combine_attrs="override")
    assert validated(stacked, scheme=ULA)["score"].equals(ds["score"])
    assert validated(runs(Quiet()), scheme=ULA).attrs["verdict"] == INCONSISTENT


def test_a_function():
    ds = validated(unadjusted, scheme=ULA)
    assert ds.attrs["verdict"] == CONSISTENT
    assert ds.attrs["sampler"].endswith("unadjusted")

    def hurried(target, x, times, rng, dt):
        return unadjusted(target, x, 1.5 * np.asarray(times), rng, dt)

    def relabelled(target, x, times, rng, dt):
        for t, (_, positions, _) in zip(times, hurried(target, x, times, rng, dt), strict=True):
            yield t, positions, None

    assert validated(relabelled, scheme=ULA, t=[0.4]).attrs["verdict"] == INCONSISTENT


def test_a_sampler_that_keeps_pi_is_held_against_it():
    kinetic = samplers.UnderdampedLangevin()
    ds = validate(kinetic, PI, TARGET, dt=0.1, n=600, t=[1.0])  # it keeps pi to O(dt²): runs of dt/2 are needed, too
    assert ds.attrs["verdict"] == CONSISTENT
    assert "the truth" in report(ds)
    # friction and noise that do not belong together
    wrong = validate(Quiet(), PI, TARGET, dt=0.1, n=300, t=[1.0], scheme=kinetic)
    assert wrong.attrs["verdict"] == INCONSISTENT


def test_against_the_truth_the_bias_of_the_step_is_forgiven():
    """A function that declares nothing: large steps deviate from the W flow, and would be found without dt/2."""
    truth = wfr.ground_truth(TARGET, START, [0, 0.6], reaction_rate=0, rtol=1e-4, cross_check=False)
    ds = validate(unadjusted, truth, dt=0.2, n=300)
    assert ds.attrs["verdict"] != INCONSISTENT
    assert float(np.abs(ds["step_bias"]).max()) > 0.02
    raw = (ds["mean"] - ds["reference"]) / ds["standard_deviation"]
    assert float(np.abs(raw).max()) > 0.1


def test_a_mode_that_nobody_reaches_is_no_fault():
    far = wfr.GaussianMixture([-3.0, 3.0], [0.5, 0.5], [0.3, 0.3])
    near = wfr.Gaussian(-3.0, 0.3)
    pi = wfr.Grid([-7.0], [7.0], 200).density(far)
    ds = validate(samplers.SMCWFR(), pi, far, dt=0.2, n=100, start=near, t=[6.0])
    assert ds.attrs["verdict"] == NO_POWER
    gap = (ds["mean"] - ds["reference"]).sel(statistic="mode 2").item()
    assert gap < -0.2, "the runs are far from the law"
    assert "grows from places where less than one of 100 particles is expected" in report(ds)
    assert math.isinf(ds.attrs["power_factor"])


def test_own_statistics_and_modes():
    ds = validated(ULA, statistics={"sine": lambda x: np.sin(x[..., 0])})
    assert list(ds["statistic"].values) == ["sine"]
    ds = validated(ULA, modes=[[0.0], [1.0]])
    assert {"mode 1", "mode 2"} <= set(ds["statistic"].values)


TWO = wfr.Gaussian([0, 0], 1.0)
RUN = wfr.solve(TARGET, ULA, START.sample(30, rng=0), [0, 0.5], 0.1, rng=0)
SHIFTED = [RUN.assign(position=RUN.position + 1e-3 * k) for k in range(20)]
OTHER = wfr.solve(TARGET, ULA, START.sample(31, rng=0), [0, 0.5], 0.1, rng=0)
TRUTH = wfr.solve(TARGET, wfr.FisherRao(), wfr.Grid([-4.0], [6.0], 100).density(START), [0, 0.5], 0.1)


@pytest.mark.parametrize(
    ("error", "message", "sampler", "changes"),
    [
        (TypeError, "sampler must be a Flow such as .*, a function, or runs, got 3", 3, {}),
        (TypeError, "sampler must be a Flow such as", samplers.Langevin, {}),
        (ValueError, "Langevin needs a step: give dt=", ULA, {"dt": None}),
        (ValueError, "the law of the declared scheme needs its step", unadjusted, {"dt": None, "scheme": ULA}),
        (TypeError, "scheme must be a Flow", ULA, {"scheme": "ula"}),
        (TypeError, "give the target", ULA, {"target": None}),
        (ValueError, "n must be a whole number of at least 2, got 1", ULA, {"n": 1}),
        (ValueError, "n must be a whole number of at least 2, got 2.5", ULA, {"n": 2.5}),
        (ValueError, "seeds must be a whole number of at least 20, got 19", ULA, {"seeds": 19}),
        (ValueError, "effect must be positive", ULA, {"effect": 0}),
        (ValueError, "level must lie between 0 and 1", ULA, {"level": 5}),
        (ValueError, "dt must be positive, got -1", ULA, {"dt": -1}),
        (ValueError, "a density has no times: give t=", ULA, {"t": None}),
        (ValueError, "t has no time after that of the start, 0", ULA, {"t": [0.0]}),
        (ValueError, "statistics is empty", ULA, {"statistics": {}}),
        (ValueError, r"statistics\['x'\] must return one number for each", ULA, {"statistics": {"x": lambda x: x}}),
        (ValueError, "no statistic varies under", ULA, {"statistics": {"one": lambda x: 1 + 0 * x[..., 0]}}),
        (ValueError, "a verdict needs at least 20 independent runs, got 1", RUN, {"scheme": ULA}),
        (ValueError, "different numbers of particles", [RUN, OTHER], {"scheme": ULA}),
        (TypeError, "must be Datasets of particles", [TRUTH], {"scheme": ULA}),
        (ValueError, "a run of Langevin.* has not stored t=0.3", SHIFTED, {"scheme": ULA, "t": [0.3]}),
        (ValueError, "the modes have shape", ULA, {"modes": [[0.0, 1.0], [1.0, 1.0]]}),
        (ValueError, "modes must be two places or more", ULA, {"modes": [[1, 2]]}),
        (ValueError, "leave one of the two out", ULA, {"modes": [-1, 1], "statistics": {"one": lambda x: x[..., 0]}}),
    ],
)  # fmt: skip
def test_input_that_does_not_fit(error, message, sampler, changes):
    with pytest.raises(error, match=message):
        validated(sampler, **changes)


def test_truths_that_do_not_fit():
    with pytest.raises(
        TypeError, match="truth must be a Dataset of ground_truth, a Trajectory, a Density, .* got 'truth.nc'$"
    ):
        validate(ULA, "truth.nc", TARGET, dt=0.1)
    truth = wfr.Trajectory(TRUTH, TARGET, transport_rate=0.0, reaction_rate=1.0)
    with pytest.raises(ValueError, match="is led to pi on a path of its own"):
        validate(samplers.UnderdampedLangevin(), truth, dt=0.1)
    with pytest.raises(ValueError, match="follows the law 'own', which is not that of the truth"):
        validate(samplers.Blackjax(lambda f, h: None, law="own"), truth, dt=0.1)
    with pytest.raises(ValueError, match="the truth does not know its rates"):
        validate(unadjusted, wfr.Trajectory(TRUTH, TARGET), dt=0.1)
    periodic = wfr.Grid([0.0], [1.0], 20, boundary="periodic")
    with pytest.raises(ValueError, match="samplers know no periodic axes"):
        validate(ULA, wfr.Density(periodic, np.zeros(20)), TARGET, dt=0.1, t=[1.0])


# The test itself, on numbers of a known law

N, K = 100, 8


def made(rng, seeds=20, correlation=0.0, mean=0.0, n=N) -> np.ndarray:
    """Means of n standard normal draws each, (seed, 1, K), correlated."""
    common, own = rng.standard_normal((seeds, 1, 1)), rng.standard_normal((seeds, 1, K))
    return mean + (math.sqrt(correlation) * common + math.sqrt(1 - correlation) * own) / math.sqrt(n)


def outcome(runs, margin=0.0, rng=0) -> MaxTest:
    return max_test(runs, np.zeros((1, K)), np.ones((1, K)), np.full((1, K), margin), 0.05, rng)


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.99])
def test_false_alarms_are_at_most_the_level(correlation):
    rng, trials = np.random.default_rng(5), 150
    alarms = sum(bool((outcome(Runs(made(rng, 20, correlation), N), rng=k).score > 1).any()) for k in range(trials))
    # binomial: at a level of 5 %, 15 or more have a probability of 1 %
    assert alarms < 15
    assert alarms > 0 or correlation == 0.99


def test_critical_values_know_the_correlation():
    rng = np.random.default_rng(1)
    independent, alike = (outcome(Runs(made(rng, 40, c), N)).critical for c in (0.0, 1.0))
    # of 8 independent Student t (39), 2.9; of one, 2.02
    assert independent == pytest.approx(2.87, abs=0.15)
    assert alike == pytest.approx(2.02, abs=0.1)


def test_a_deviation_as_large_as_the_resolution_is_found_in_95_percent():
    rng, trials = np.random.default_rng(2), 150
    found = 0
    for k in range(trials):
        base = made(rng)
        size = outcome(Runs(base, N), margin=0.05, rng=k).resolution[0, 0]
        deviating = made(rng)
        deviating[:, 0, 0] += size
        found += bool(outcome(Runs(deviating, N), margin=0.05, rng=k).score[0, 0] > 1)
    # the size is itself known from 20 runs only
    assert found > 0.88 * trials


def test_the_margin_is_forgiven():
    rng = np.random.default_rng(3)
    runs = Runs(made(rng, mean=0.5), N)
    assert (outcome(runs).score > 1).all()
    assert not (outcome(runs, margin=0.5).score > 1).any()


def test_power_factor_is_how_many_more_are_needed():
    rng = np.random.default_rng(4)
    test = outcome(Runs(made(rng), N), margin=0.02)
    factor = test.power_factor(0.05)
    seeds = math.ceil(20 * factor)
    more = outcome(Runs(made(rng, seeds), N), margin=0.02)
    assert float(more.resolution.max()) == pytest.approx(0.05, rel=0.2)
    assert math.isinf(test.power_factor(0.02))


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_biases_that_fall_with_the_number_are_forgiven_and_constant_ones_are_not(power):
    """A bias of 0.3 at n particles, ten standard errors of the mean of the runs."""
    rng = np.random.default_rng(6)
    base = made(rng, mean=0.3)
    falling = outcome(Runs(base, N, made(rng, mean=0.3 * 2**-power, n=2 * N)))
    assert (falling.score < 1).all()
    assert np.all(np.abs(falling.number_bias) > 0.1)
    constant = outcome(Runs(base, N, made(rng, mean=0.3, n=2 * N)))
    assert (constant.score > 1).mean() > 0.7


@pytest.mark.parametrize("power", [0.6, 0.85, 1.2, 1.7, 3.0])
def test_any_power_from_a_half_on_is_forgiven_however_large_the_bias(power):
    rng = np.random.default_rng(9)
    trials = [Runs(made(rng, mean=2.0), N, made(rng, mean=2.0 * 2**-power, n=2 * N)) for _ in range(20)]
    # at a level of 5 %, four of 20 or more have a probability of 2 %
    assert sum(bool((outcome(runs, rng=k).score > 1).any()) for k, runs in enumerate(trials)) < 4


def test_runs_that_agree_by_chance_prove_nothing():
    same = np.zeros((20, 1, K)) + 1e-3
    assert not (outcome(Runs(same, N)).score > 1).any()
    assert outcome(Runs(same, N)).critical == pytest.approx(2.09, abs=0.01)  # of one Student t (19)


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_biases_of_the_step_are_forgiven_and_constant_ones_are_not(power):
    rng = np.random.default_rng(7)
    base = made(rng, mean=0.3)
    falling = outcome(Runs(base, N, fine=made(rng, mean=0.3 * 2**-power)))
    assert (falling.score < 1).all()
    assert np.all(np.abs(falling.step_bias) > 0.1)
    assert (outcome(Runs(base, N, fine=made(rng, mean=0.3))).score > 1).any()


def test_both_biases_at_once():
    rng = np.random.default_rng(8)
    number, step = 0.4, -0.25
    runs = Runs(
        made(rng, mean=number + step),
        N,
        made(rng, mean=number / 2 + step, n=2 * N),
        made(rng, mean=number + step / 2),
    )
    assert (outcome(runs).score < 1).all()
    assert (outcome(Runs(runs.base, N)).score > 1).any()


@pytest.mark.parametrize("cells", [24, 64, 400])
def test_regions_have_the_mass_that_they_are_named_by(cells):
    grid = wfr.Grid(-8, 8, cells)
    density, target = grid.density(wfr.Gaussian(0, 1)), wfr.Gaussian(0, 1)
    found = observables(density, target)
    masses = dict(zip(found.names, found.means(density), strict=True))
    regions = {name: mass for name, mass in masses.items() if "<" in name}
    assert len(set(regions.values())) == len(regions)
    for name, mass in regions.items():
        assert abs(float(name.split()[-2]) / 100 - mass) < 0.05
    assert len(regions) == {24: 1, 64: 2, 400: 5}[cells]


def test_an_accusation_has_a_p_value_and_is_repeated_with_fresh_seeds():
    grid, target = wfr.Grid(-8, 8, 400), wfr.Gaussian(0, 1)
    truth = grid.density(target)

    def shifted(target, start, times, rng):
        for t, by in zip(times, (0.0, 0.5), strict=True):
            yield t, start + by, None

    once = validate(shifted, truth, target, n=100, t=[1.0])
    again = validate(shifted, truth, target, n=100, t=[1.0], confirm=True)
    for found in (once, again):
        assert found.attrs["verdict"] == INCONSISTENT
        assert found.attrs["p_value"] < 1e-3
        assert "beyond the margin is sure, and 0.2 is worth finding" in report(found)
    assert (once.attrs["repeated"], again.attrs["repeated"]) == (0, 1)
    assert not np.array_equal(once["value"], again["value"])
    assert "again with fresh seeds" in report(again)
    assert again.attrs["report"] == report(again)


def test_p_values_of_correct_runs_are_spread_evenly():
    """Of normal statistics: below .05 in 5 % of cases, within four standard errors, or less."""
    rng, found = np.random.default_rng(5), []
    for k in range(400):
        values = rng.standard_normal((20, 1, 6)) / 10
        found.append(max_test(Runs(values, 100), np.zeros((1, 6)), np.ones((1, 6)), np.zeros((1, 6)), 0.05, k).p_value)
    assert np.mean(np.array(found) < 0.05) < 0.05 + 4 * np.sqrt(0.05 * 0.95 / 400)
    assert np.mean(np.array(found) < 0.5) > 0.3


# Moving targets


def test_samplers_of_a_moving_target():
    """Euler-Maruyama's steps have their own law; held against it, steps with less noise are found out."""
    path = wfr.Noised(wfr.GaussianMixture([-1.0, 1.0], [0.4, 0.6], [0.2, 0.2]), wfr.OU(t_end=1.5)).reversed()
    start = wfr.Grid(-6.0, 6.0, 192).density(path.at(0.0))
    truth = wfr.solve(None, wfr.ReverseSDE(path), start, [0.0, 0.5, 1.0], 0.125, progress=False)
    sampler = samplers.ReverseDiffusion(path)
    common = dict(target=path, dt=0.25, n=300, seeds=40)
    good = validate(sampler, truth, **common)
    assert good.attrs["verdict"] == CONSISTENT
    assert {"potential", "mode 1", "variance x"} <= set(good["statistic"].values.tolist())
    quiet = samplers.ReverseDiffusion(path, churn=0.8)
    assert validate(quiet, truth, scheme=sampler, **common).attrs["verdict"] == INCONSISTENT
