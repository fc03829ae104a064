"""Truths of one's own: a closed form in the place of a certified solution, wherever a truth is taken."""

import sys
from pathlib import Path

import numpy as np
import pytest

import wfr_pde as wfr
from wfr_pde import exact, metrics, samplers
from wfr_pde.integrate.truth_protocol import StatedProblem
from wfr_pde.samplers import Oracle

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
TARGET, START, TIMES = wfr.Gaussian(1.0, 0.5), wfr.Gaussian(0.0, 0.25), [0.0, 0.25, 0.5]
ULA = samplers.Langevin()


@pytest.fixture(scope="module")
def certified():
    return wfr.ground_truth(TARGET, START, TIMES, rtol=1e-5, cross_check=False)


@pytest.fixture(scope="module")
def closed_form(certified):
    """The class of the documentation, on the cells of the certified solution."""
    sys.path.insert(0, str(EXAMPLES))
    try:
        from own_truth import GaussianFlow
    finally:
        sys.path.remove(str(EXAMPLES))
    return GaussianFlow(TARGET, START, TIMES, wfr.Grid.from_dataset(certified))


class WithoutGrid:
    """The Wasserstein flow between Gaussians of any dimension, which no grid holds: draws in place of a density."""

    times = np.array([0.0, 0.5])

    def __init__(self, target, start):
        self.problem = StatedProblem(target, start, 1.0, 0.0)

    def law(self, t):
        return exact.gaussian_flow(self.problem.target, self.problem.start, float(t), 1.0, 0.0)

    def at(self, t):
        return wfr.Particles(self.law(t).sample(2000, 5))

    def log_prob(self, x, t):
        return self.law(t).log_density(x) - self.law(t).log_normaliser

    def score(self, x, t):
        return self.law(t).score(x)

    def sample(self, n, t, rng=None):
        return self.law(t).sample(n, rng)

    def error_l1(self, t):
        return 0.0


def runs(target, start, times, n, seeds):
    return [wfr.solve(target, ULA, start.sample(n, rng=s), times, 0.125, rng=s) for s in range(seeds)]


def shift(truth, x, ds, t):
    """Largest difference to the certified log-density, over what that states."""
    path = wfr.Trajectory(ds, TARGET)
    return float(np.max(np.abs(truth.log_prob(x, t) - path.log_prob(x, t)) / (path.log_prob_error(x, t) + 1e-9)))


def test_the_closed_form_is_that_of_the_certified_solution(closed_form, certified):
    bound = certified["error_l1"].values + closed_form.error_l1(0.0)
    for k, t in enumerate(TIMES):
        mine, theirs = closed_form.at(t), wfr.Density.from_dataset(certified, k)
        assert metrics.l1(mine, theirs) <= bound[k]
    x = np.linspace(-1, 2, 30)[:, None]
    assert shift(closed_form, x, certified, 0.5) < 1


def test_compare_gives_the_same_numbers(closed_form, certified):
    found = runs(TARGET, START, TIMES, 200, 4)
    chosen = [metrics.total_variation, metrics.wasserstein_1]
    mine, theirs = (wfr.compare(truth, found, chosen, floor_draws=5) for truth in (closed_form, certified))
    bound = certified["error_l1"].values[:, None]
    gap = np.abs(mine["value"] - theirs["value"]).max(dim=("method", "n", "seed"))
    assert np.all(gap.values[:, :1] <= bound / 2 + 1e-12)
    grid = wfr.Grid.from_dataset(certified)
    assert np.all(gap.values[:, 1:] <= (grid.upper[0] - grid.lower[0]) * bound / 2 + 1e-12)  # over the box
    assert list(mine["t"].values) == TIMES
    # its floor is that of its own draws: another number of the same size
    assert not np.array_equal(mine["floor"], theirs["floor"])
    np.testing.assert_allclose(mine["floor"], theirs["floor"], rtol=0.7)


def test_validate_gives_the_same_verdict_on_the_same_margins(closed_form, certified):
    flow = wfr.Lie(ULA, samplers.FeynmanKac(density=Oracle(closed_form)))

    def declared_nothing(target, x, times, rng):
        ds = wfr.solve(target, flow, x, times, 0.125, rng=rng)
        for k, t in enumerate(times):
            yield t, ds["position"].values[k], ds["log_weight"].values[k]

    mine, theirs = (wfr.validate(declared_nothing, truth, n=100, t=[0.5]) for truth in (closed_form, certified))
    assert mine.attrs["reference"] == theirs.attrs["reference"] == "the truth"
    assert mine.attrs["verdict"] == theirs.attrs["verdict"]
    gap = np.abs(mine["reference"] - theirs["reference"]) / theirs["standard_deviation"]
    assert np.all(gap <= theirs["reference_error"] + mine["reference_error"])
    assert float(mine["reference_error"].max()) < 1e-9 < float(theirs["reference_error"].max())
    # the same law of a declared scheme, from the box of either
    laws = [wfr.validate(samplers.SMCWFR(), truth, n=50, dt=0.125, t=[0.5]) for truth in (closed_form, certified)]
    np.testing.assert_allclose(laws[0]["reference"], laws[1]["reference"], rtol=1e-9, atol=1e-9)


def test_error_budget_gives_the_same_parts(closed_form, certified):
    mine, theirs = (
        wfr.error_budget(samplers.SMCWFR(), truth, dt=0.125, n=30, seeds=2) for truth in (closed_form, certified)
    )
    bound = float(certified["error_l1"][-1]) * theirs["standard_deviation"] + 1e-9
    assert np.all(np.abs(mine["truth"] - theirs["truth"]) <= bound)
    assert np.all(np.abs(mine["part"] - theirs["part"]) <= bound)
    assert np.all(np.abs(mine["measured"] - theirs["measured"]) <= bound)


def test_an_oracle_gives_the_same_g(closed_form, certified):
    often = wfr.ground_truth(TARGET, START, np.linspace(0, 0.5, 9), rtol=1e-5, cross_check=False)
    particles = wfr.Particles(START.sample(100, rng=1))
    path = wfr.Trajectory(often, TARGET)
    mine, theirs = Oracle(closed_form), Oracle(path)
    for t in (0.25, 0.3):
        gap = np.abs(mine(particles, TARGET, t) - theirs(particles, TARGET, t))
        known = path.log_prob_error(particles.positions, t)
        assert np.median(known) < 1e-2
        assert np.all(gap <= known + 1e-9)
        assert gap.max() > 0
    theirs = Oracle(certified)
    assert repr(mine) == repr(Oracle(closed_form)) != repr(theirs)
    # on the cells of the truth and on others
    for grid in (wfr.Grid.from_dataset(certified), wfr.Grid(-3.0, 4.0, 150)):
        density = grid.density(START)
        on = [oracle.on_grid(grid)(density, wfr.KL(TARGET), 0.25) for oracle in (mine, theirs)]
        near = np.abs(grid.points()[:, 0] - 0.3) < 1.5
        np.testing.assert_allclose(on[0][near], on[1][near], atol=1e-4)


def test_without_a_grid_there_are_compare_and_the_oracle():
    d = 5
    target, start = wfr.Gaussian(np.ones(d), 1.0), wfr.Gaussian(np.zeros(d), 0.5)
    truth = WithoutGrid(target, start)
    found = runs(target, start, truth.times, 300, 3)
    ds = wfr.compare(truth, found, [metrics.EnergyDistance(), metrics.mean_error], floor_draws=5)
    assert np.all(ds["value"].isel(t=1) > 0)
    assert np.all(ds["floor"] > 0)
    shifted = [run.assign(position=run["position"] + 1) for run in found]
    far = wfr.compare(truth, shifted, [metrics.EnergyDistance(), metrics.mean_error], floor_draws=0)
    assert np.all(far["mean"] > 5 * ds["mean"])
    particles = wfr.Particles(start.sample(50, rng=0))
    g = Oracle(truth)(particles, target, 0.5)
    expected = truth.log_prob(particles.positions, 0.5) - target.log_density(particles.positions)
    np.testing.assert_array_equal(g, expected)
    words = r"needs a density on a grid, but WithoutGrid.at\(0\) gives Particles.*let it return grid.density"
    with pytest.raises(TypeError, match=f"validate {words}"):
        wfr.validate(ULA, truth, dt=0.1)
    with pytest.raises(TypeError, match=f"error_budget {words.replace('0', '0.5')}"):
        wfr.error_budget(ULA, truth, dt=0.1, n=10)
    with pytest.raises(TypeError, match="total_variation needs a Density as reference|a Density"):
        wfr.compare(truth, found, [metrics.total_variation])


def test_what_a_truth_does_not_state_has_to_be_given(closed_form):
    class Silent(type(closed_form)):
        @property
        def problem(self):
            raise AttributeError

        @problem.setter
        def problem(self, value):
            self.inner = value

        def law(self, t):
            return exact.gaussian_flow(TARGET, START, float(t))

    silent = Silent(TARGET, START, TIMES, closed_form.grid)
    for call in (wfr.validate, wfr.error_budget):
        with pytest.raises(TypeError, match="give the target, .* which the truth does not state"):
            call(samplers.SMCWFR(), silent, dt=0.125, n=30)
    with pytest.raises(ValueError, match="does not know its rates: .* the attribute problem = StatedProblem"):
        wfr.validate(lambda target, x, times, rng: None, silent, TARGET)
    mine = wfr.error_budget(samplers.SMCWFR(), silent, TARGET, dt=0.25, n=30, seeds=2)
    theirs = wfr.error_budget(samplers.SMCWFR(), closed_form, dt=0.25, n=30, seeds=2)
    np.testing.assert_allclose(mine["truth"], theirs["truth"], atol=1e-12)  # its start is its first density


def test_a_distribution_stands_for_all_times():
    kinetic = samplers.UnderdampedLangevin()
    ds = wfr.validate(kinetic, TARGET, dt=0.1, n=600, t=[1.0])
    assert ds.attrs["verdict"] == "consistent"
    found = runs(TARGET, TARGET, [0, 0.5], 100, 3)
    on_grid = wfr.Grid.covering(TARGET, shape=1024).density(TARGET)
    mine, theirs = (wfr.compare(truth, found, [metrics.mean_error], floor_draws=2) for truth in (TARGET, on_grid))
    np.testing.assert_allclose(mine["value"], theirs["value"], rtol=1e-9)
    with pytest.raises(ValueError, match="a density has no times: give t="):
        wfr.error_budget(ULA, TARGET, dt=0.1, n=10)
    # runs that were made elsewhere say at which times
    verdict = wfr.validate(runs(TARGET, TARGET, [0, 0.5], 100, 20), TARGET, scheme=ULA, dt=0.125)
    assert verdict["t"].values.tolist() == [0.5]


def test_a_run_on_turned_axes_is_refused_by_all():
    """The law of a scheme would be computed in a box of other coordinates."""
    turned = wfr.Gaussian([0, 0], [[1.0, 0.6], [0.6, 1.0]])
    grid = wfr.Grid([-6, -6], [6, 6], 40)
    ds = wfr.solve(turned, wfr.FisherRao(), grid.density(wfr.Gaussian([0, 0], 1.0)), [0, 0.5], 0.1)
    root = 0.5**0.5
    said = {"rotation": f"[[{root}, {-root}], [{root}, {root}]]", "centre": "[0, 0]"}
    ds = ds.assign_attrs(said, start="gaussian(mean=[0, 0], covariance=1.0)")
    with pytest.raises(ValueError, match="turn=False"):
        wfr.validate(ULA, ds, turned, dt=0.1, n=20)
    with pytest.raises(ValueError, match="turn=False"):
        wfr.error_budget(ULA, ds, turned, dt=0.1, n=20)
    with pytest.raises(ValueError, match="turn=False"):
        Oracle(ds)
