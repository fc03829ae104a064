"""`compare`: metrics of runs beside their floors, whatever runs, numbers, seeds and times there are."""

import matplotlib
import numpy as np
import pytest

import wfr_pde as wfr
from wfr_pde import metrics, plotting
from wfr_pde.metrics.tables import table_rows
from wfr_pde.samplers import Langevin
from wfr_pde.validation.baseline import equivalent_draws
from wfr_pde.validation.comparison import compare

TARGET, START = wfr.Gaussian(0, 1), wfr.Gaussian(-1, 0.4)
TIMES = np.array([0.0, 0.5, 1.0])


@pytest.fixture(scope="module")
def truth():
    return wfr.ground_truth(TARGET, START, TIMES, reaction_rate=0, rtol=1e-6)


def draws_as_runs(truth, n, seeds, first=0):
    """Independent draws from the truth at every time, as if they were runs."""
    path, runs = wfr.Trajectory(truth), []
    one = wfr.solve(TARGET, Langevin(), START.sample(n, rng=0), TIMES, 0.5, rng=0)
    for seed in range(first, first + seeds):
        rng = np.random.default_rng(1000 + seed)
        run = one.copy(deep=True)
        run["position"].values[:] = np.stack([path.at(t).sample(n, rng) for t in TIMES])
        runs.append(run.assign_attrs(method="draws"))
    return runs


def test_independent_draws_lie_on_their_floor(truth):
    chosen = [metrics.total_variation, metrics.MMD(), metrics.wasserstein_1, metrics.mean_error]
    ds = compare(truth, draws_as_runs(truth, 256, 40), chosen, floor_draws=40)
    assert ds["value"].dims == ("method", "n", "seed", "t", "metric")
    assert ds["value"].shape == (1, 256 // 256, 40, 3, 4)
    assert list(ds["metric"].values) == ["total_variation", "mmd", "wasserstein_1", "mean_error"]
    np.testing.assert_allclose(ds["mean"].isel(method=0, n=0), ds["floor"].isel(n=0), rtol=0.45)  # 4 x 11 %
    equivalent = ds["equivalent_draws"].isel(method=0, n=0)
    assert np.all((equivalent > 100) & (equivalent < 700))
    assert np.all((ds["low"] <= ds["mean"]) & (ds["mean"] <= ds["high"]))
    covered = (ds["floor"] >= ds["low"]) & (ds["floor"] <= ds["high"])
    assert covered.mean() > 0.5


def test_fewer_particles_are_worth_fewer_draws(truth):
    # every point twice: half as many draws
    runs = draws_as_runs(truth, 512, 30)
    for run in runs:
        run["position"].values[:, 256:] = run["position"].values[:, :256]
    ds = compare(truth, runs, [metrics.wasserstein_1, metrics.MMD()], t=[0.5, 1.0], floor_draws=40)
    equivalent = ds["equivalent_draws"].isel(method=0, n=0)
    assert np.all((equivalent > 150) & (equivalent < 430))
    biased = [run.assign(position=run["position"] + 5) for run in runs[:2]]
    ds = compare(truth, biased, [metrics.wasserstein_1], t=[1.0])
    assert float(ds["equivalent_draws"].squeeze()) == 0


def test_methods_numbers_and_seeds_may_be_ragged(truth):
    runs = {
        "ula": [
            wfr.solve(TARGET, Langevin(), START.sample(n, rng=seed), TIMES, 0.25, rng=seed)
            for n, seed in ((64, 0), (64, 1), (32, 2))
        ],
        "one": wfr.solve(TARGET, Langevin(), START.sample(32, rng=3), [0, 1.0], 0.25, rng=3),
    }
    ds = compare(truth, runs, [metrics.mean_error], floor_draws=4)
    assert list(ds["method"].values) == ["ula", "one"]
    assert list(ds["n"].values) == [32, 64]
    assert list(ds["t"].values) == [0.0, 1.0]  # those that all runs have
    assert np.isfinite(ds["value"]).sum(dim="seed").isel(t=0, metric=0).values.tolist() == [[1, 2], [1, 0]]
    assert np.isnan(ds["high"].sel({"method": "one", "n": 32})).all()  # one seed has no interval
    assert np.isnan(ds["mean"].sel({"method": "one", "n": 64})).all()
    alone = compare(truth, runs["one"], [metrics.mean_error], floor_draws=0)
    assert "floor" not in alone
    np.testing.assert_array_equal(
        alone["value"].squeeze(), ds["value"].sel({"method": "one", "n": 32}, drop=True)[0, :, 0]
    )


def test_a_dimension_of_seeds_is_several_runs_and_a_density_stands_for_all_times(truth):
    import xarray as xr

    runs = draws_as_runs(truth, 50, 3)
    stacked = xr.concat(runs, dim="seed", combine_attrs="drop_conflicts")
    one, other = (compare(truth, of, [metrics.mean_error], floor_draws=2) for of in (runs, stacked))
    np.testing.assert_array_equal(one["value"], other["value"])
    pi = wfr.Grid.from_dataset(truth).density(TARGET)
    against_pi = compare(pi, runs, [metrics.mean_error], floor_draws=2)
    expected = metrics.mean_error(pi, wfr.Particles(runs[0]["position"].values[0]))
    assert float(against_pi["value"][0, 0, 0, 0, 0]) == expected


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"runs": []}, "at least one Dataset"),
        ({"runs": [np.zeros((3, 1))]}, "must be Datasets of particles .* got ndarray"),
        ({"metrics": []}, "at least one, such as"),
        ({"metrics": metrics.mean_error}, "must be a list of metrics, got one: give .mean_error."),
        ({"metrics": [metrics.MMD]}, r"class of metrics: give one, such as MMD\(\)"),
        ({"t": []}, "one time or more"),
        ({"confidence": 95}, "between 0 and 1"),
        ({"floor_draws": 2.5}, "whole number"),
        ({"metrics": ["mmd"]}, r"must be functions .*got 'mmd', which is text: give wfr.metrics.MMD\(\)$"),
        ({"metrics": "total variation"}, r"must be a list .*: give \[wfr.metrics.total_variation\]$"),
        ({"metrics": ["nonsense"]}, r"give one of wfr.metrics: Binned.*, wasserstein_2$"),
        ({"metrics": [metrics.MMD(), metrics.MMD(2.0)]}, "two metrics are called 'mmd'"),
        ({"t": [0.3]}, "has not stored t=0.3"),
        ({"t": [7.0]}, "outside the run|has not stored"),
    ],
)
def test_bad_input(truth, change, words):
    arguments = {"runs": draws_as_runs(truth, 10, 1), "metrics": [metrics.mean_error]} | change
    with pytest.raises((ValueError, TypeError), match=words):
        compare(truth, arguments.pop("runs"), arguments.pop("metrics"), **arguments)
    plane = wfr.solve(wfr.Gaussian([0, 0], 1), Langevin(), np.zeros((4, 2)), TIMES, 0.5, rng=0)
    with pytest.raises(ValueError, match="1-dimensional, but a run of .* 2-dimensional"):
        compare(truth, [plane], [metrics.mean_error])


def test_order_of_dimensions_does_not_matter_but_which(truth):
    run = draws_as_runs(truth, 30, 1)[0]
    one, other = (
        compare(truth, ds, [metrics.mean_error], floor_draws=0) for ds in (run, run.transpose("particle", "dim", "t"))
    )
    np.testing.assert_array_equal(one["value"], other["value"])
    with pytest.raises(ValueError, match="have the dimensions .* they must be t"):
        compare(truth, run.rename(t="time"), [metrics.mean_error])


def test_close_times_are_told_apart(truth):
    run = draws_as_runs(truth, 30, 1)[0].isel(t=[0, 1]).assign_coords(t=[0.0, 1e-10])
    pi = wfr.Grid.from_dataset(truth).density(TARGET)
    with pytest.raises(ValueError, match="has not stored t=2e-10"):
        compare(pi, run, [metrics.mean_error], t=[2e-10])


def test_infinite_values_and_metrics_that_need_particles(truth):
    runs = draws_as_runs(truth, 30, 3)
    runs[0]["position"].values[1, 0] = 1e3  # outside the box
    ds = compare(truth, runs, [metrics.kl_estimate, metrics.KernelKL(0.1, name="kernel")], t=[0.5, 1.0], floor_draws=3)
    assert np.isposinf(ds["mean"].isel(t=0)).all()
    assert [row[3] for row in table_rows(ds.isel(t=0))[1:]] == [("inf",), ("inf",)]
    assert np.isnan(ds["high"].isel(t=0)).all()
    assert np.isfinite(ds["mean"].isel(t=1)).all()
    assert np.isfinite(ds["high"].isel(t=1)).all()


def test_equivalent_draws_pool_floors_that_rise_by_chance():
    assert equivalent_draws(0.1, [4, 16, 64], [1.0, 0.5, 0.25]) == pytest.approx(400)
    pooled = equivalent_draws(0.5, [4, 16, 64, 256], [1.0, 0.52, 0.54, 0.25])
    assert 16 <= pooled <= 64
    assert equivalent_draws(2.0, [4, 16], [1.0, 0.5]) == 0
    assert equivalent_draws(np.inf, [4, 16], [1.0, 0.5]) == 0
    assert np.isnan(equivalent_draws(0.5, [4, 16], [1.0, 1.01]))
    assert np.isnan(equivalent_draws(-0.1, [4, 16], [1.0, 0.5]))


def test_figure_draws_what_is_in_the_dataset(truth):
    ds = compare(truth, {"a": draws_as_runs(truth, 20, 3)}, [metrics.mean_error, metrics.MMD()], floor_draws=5)
    figure = plotting.comparison(ds)
    left, right = figure.axes
    assert left.get_title() == "(a) squared error of the mean (length²)"
    np.testing.assert_array_equal(left.lines[0].get_ydata(), ds["mean"].values[0, 0, :, 0])
    np.testing.assert_array_equal(right.lines[1].get_ydata(), ds["floor"].values[0, :, 1])
    assert matplotlib.colors.to_rgb(right.lines[0].get_color()) != matplotlib.colors.to_rgb(right.lines[1].get_color())


def test_binned_metrics_look_as_closely_at_any_number_of_draws(truth):
    one = metrics.total_variation.at_resolution_of(wfr.Density.from_dataset(truth), 1000)
    assert one.bins == 10  # n^(1/3)
    runs = [run.isel(particle=slice(125)) for run in draws_as_runs(truth, 1000, 30)]
    ds = compare(truth, runs, [metrics.total_variation], t=[1.0], floor_draws=200)
    assert 90 < float(ds["equivalent_draws"].squeeze()) < 175


def test_one_run_given_several_times_is_refused(truth):
    """Counted as independent it would have an interval of no width."""
    first, second = draws_as_runs(truth, 16, 2)
    for runs in ({"a": [first, first, first]}, {"a": [second, first, second.copy(deep=True)]}, [first, first]):
        with pytest.raises(ValueError, match=r"same positions at all times.*one run, counted twice"):
            compare(truth, runs, [metrics.mean_error], floor_draws=0)
    ds = compare(truth, {"a": [first, second], "b": [first, second]}, [metrics.mean_error], floor_draws=0)
    np.testing.assert_array_equal(ds["mean"].sel(method="a"), ds["mean"].sel(method="b"))
    assert (ds["high"] > ds["low"]).all()


def test_intervals_of_metrics_that_are_not_negative_end_at_zero(truth):
    """Student's interval of two values, 0 and 2, is 1 ± 12.7."""

    def of_sign(reference, other):
        return float(np.sign(other.mean()[0] - reference.mean()[0])) + 1.0

    def squared(reference, other):
        return of_sign(reference, other)

    squared.signed = False
    runs = draws_as_runs(truth, 16, 2)
    apart = [run.assign(position=run["position"] * 0 + place) for run, place in zip(runs, (9.0, -9.0), strict=True)]
    ds = compare(truth, apart, [of_sign, squared], floor_draws=0).isel(t=-1).squeeze()
    assert ds["mean"].values == pytest.approx([1.0, 1.0])
    assert ds["low"].values == pytest.approx([1 - 12.706205, 0.0], rel=1e-6)
    assert ds["high"].values == pytest.approx([1 + 12.706205] * 2, rel=1e-6)


def test_a_sampler_in_place_of_its_runs_is_answered_with_the_call_that_makes_them():
    truth = wfr.Gaussian(0, 1)
    for runs in (ula_of_one_step, {"ula": ula_of_one_step}, [ula_of_one_step]):
        with pytest.raises(TypeError, match=r"not the sampler <function ula_.*: give \[wfr.run_sampler\(sampler, "):
            compare(truth, runs, [metrics.mean_error])
    with pytest.raises(TypeError, match=r"not the sampler Langevin\(.*: give \[wfr.solve\(target, sampler, "):
        compare(truth, {"langevin": Langevin()}, [metrics.mean_error])
    with pytest.raises(TypeError, match="must be Datasets of particles .* got int"):
        compare(truth, {"three": 3}, [metrics.mean_error])


def ula_of_one_step(target, x, times, rng):
    """A sampler as a function; it is never called."""
    raise AssertionError
