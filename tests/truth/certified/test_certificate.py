import dataclasses
import importlib
import itertools
import json
import math
import time
import types

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import wfr_pde as wfr
from wfr_pde import exact, metrics
from wfr_pde.numerics.deadline import OutOfTimeError, deadline
from wfr_pde.truth.certified.attempt import PARTS, RATIOS
from wfr_pde.truth.certified.budget import SHORT, Budget
from wfr_pde.truth.certified.evidence.second_family import Agreement
from wfr_pde.truth.certified.grids.first_grids import first_terrain
from wfr_pde.truth.certified.problem import Problem
from wfr_pde.truth.certified.time_breaks import breaks
from wfr_pde.truth.certified.trial_run import schedule_by_trial

certificate = importlib.import_module("wfr_pde.truth.certified.certificate")
TARGET, START = wfr.Gaussian(0, 1), wfr.Gaussian(-1, 0.5)


def true_errors(ds, truth, target):
    """L1 and KL errors at the save times, against Gaussians on the whole line."""
    grid = wfr.Grid.from_dataset(ds)
    l1, kl = [], []
    for k, t in enumerate(ds["t"].values):
        answer = truth(float(t - ds["t"].values[0]))
        known = wfr.Density(grid, answer.log_density(grid.points()) - answer.log_normaliser)
        l1.append(metrics.l1(known, wfr.Density.from_dataset(ds, k)) + max(0.0, 1 - known.mass))
        kl.append(abs(float(ds["kl"][k]) - exact.gaussian_kl(answer, target)))
    return np.array(l1), np.array(kl)


@settings(max_examples=8, deadline=None, derandomize=True)
@given(
    mean=st.floats(-3, 3),
    variance=st.floats(0.1, 3),
    rates=st.tuples(st.floats(0.1, 5), st.floats(0.1, 5)),
    rtol=st.sampled_from([1e-3, 1e-5, 1e-7]),
)
def test_bounds_hold_between_gaussians(mean, variance, rates, rtol):
    start = wfr.Gaussian(mean, variance)
    ds = wfr.ground_truth(TARGET, start, [0, 0.1, 1.0], transport_rate=rates[0], reaction_rate=rates[1], rtol=rtol)
    l1, kl = true_errors(ds, lambda t: exact.gaussian_flow(TARGET, start, t, *rates), TARGET)
    assert ds["error_l1"].max() <= rtol
    assert np.all(l1 <= ds["error_l1"] + 1e-14)
    assert np.all(kl <= ds["error_kl"] + 1e-14)


@pytest.mark.parametrize("rates", [(1, 0), (0, 1), (0, 0), (10, 0.1), (0.1, 10)])
def test_bounds_hold_for_any_rates(rates):
    ds = wfr.ground_truth(
        TARGET, START, [0, 1e-9, 0.5, 0.5 + 1e-6, 20], transport_rate=rates[0], reaction_rate=rates[1]
    )
    l1, kl = true_errors(ds, lambda t: exact.gaussian_flow(TARGET, START, t, *rates), TARGET)
    assert np.all(l1 <= ds["error_l1"] + 1e-14)
    assert np.all(kl <= ds["error_kl"] + 1e-14)
    if 0 in rates:
        assert np.all(ds["error_l1_time"] == 0)  # exact in time


def test_mixture_needs_more_than_polynomials():
    # log mu/pi of Gaussians is a parabola, which any interpolation gets right; here it is not
    start = wfr.GaussianMixture([-2.0, 1.0], [0.4, 0.6], [0.2, 0.4])
    ds = wfr.ground_truth(TARGET, start, [0, 0.05, 0.5], reaction_rate=0.0, rtol=1e-7)
    grid = wfr.Grid.from_dataset(ds)
    for k, t in ((1, 0.05), (2, 0.5)):
        known = grid.density(exact.mixture_transport(TARGET, start, t))
        assert metrics.l1(known, wfr.Density.from_dataset(ds, k)) <= float(ds["error_l1"][k])


def test_two_dimensions():
    target = wfr.Gaussian([0, 0], [[1.0, 0.5], [0.5, 0.8]])
    start = wfr.Gaussian([-1, 1], [[0.4, -0.15], [-0.15, 0.3]])
    ds = wfr.ground_truth(target, start, [0, 0.3], rtol=1e-4)
    l1, kl = true_errors(ds, lambda t: exact.gaussian_flow(target, start, t), target)
    assert l1[1] <= float(ds["error_l1"][1]) <= 1e-4
    assert kl[1] <= float(ds["error_kl"][1])


def test_walls_and_circles_are_part_of_the_problem():
    flat = wfr.Potential(lambda x: 0.0 * x)
    for boundary, wave in (("no-flux", np.pi), ("periodic", 2 * np.pi)):

        def at(t, wave=wave):
            fall = 0.6 * np.exp(-(wave**2) * t)
            return wfr.Potential(lambda x: -np.log(1 + fall * np.cos(wave * x)))

        ds = wfr.ground_truth(flat, at(0), [0, 0.02], reaction_rate=0.0, box=(0.0, 1.0), boundary=boundary)
        grid = wfr.Grid.from_dataset(ds)
        known = wfr.Density(grid, grid.log_density(at(0.02), checked=False))
        assert metrics.l1(known, wfr.Density.from_dataset(ds)) <= float(ds["error_l1"][-1]) <= 1e-6
        assert np.all(ds["error_l1_domain"] == 0)


@pytest.mark.parametrize(("rates", "rtol"), [((1, 1), 1e-7), ((1, 0), 1e-6), ((0, 1), 1e-6)])
def test_bounds_hold_for_moving_targets(rates, rtol):
    path = wfr.GeometricPath(wfr.Gaussian(-2, 0.5), wfr.Gaussian(1, 2))
    ds = wfr.ground_truth(path, START, [0, 0.3, 1], transport_rate=rates[0], reaction_rate=rates[1], rtol=rtol)
    grid, energy = wfr.Grid.from_dataset(ds), wfr.KL(path)
    assert ds["error_l1"].max() <= rtol
    for k, t in enumerate(ds["t"].values):
        answer = exact.gaussian_flow_by_ode(path, START, t, *rates)
        density = wfr.Density.from_dataset(ds, k)
        assert metrics.l1(grid.density(answer), density) <= ds["error_l1"][k] + 2e-12  # of the answer
        assert abs(float(ds["kl"][k]) - exact.gaussian_kl(answer, path.at(t))) <= ds["error_kl"][k] + 2e-12
        assert energy.at(t).value(density) == pytest.approx(float(ds["kl"][k]), abs=10 * rtol)


@pytest.mark.slow
@pytest.mark.parametrize("switches", [(0.5317,)])
def test_bounds_hold_for_targets_that_jump(switches):
    # found by looking: a step that does not see the jump would be right to its own rounding, and wrong
    ends = wfr.Gaussian(0, 1), wfr.Gaussian(2, 0.5)
    path = wfr.GeometricPath(*ends, lambda t: float(sum(t > s for s in switches) % 2))
    ds = wfr.ground_truth(path, ends[0], [0, 1], rtol=1e-3)
    answer, parts = ends[0], [0.0, *switches, 1.0]
    for k, (low, high) in enumerate(itertools.pairwise(parts)):
        answer = exact.gaussian_flow(ends[k % 2], answer, high - low)
    density = wfr.Density.from_dataset(ds, 1)
    assert metrics.l1(density.grid.density(answer), density) <= ds["error_l1"][1] <= 1e-3


def test_breaks_are_where_the_target_bends():
    points = np.linspace(-3, 3, 20)[:, None]
    ends = wfr.Gaussian(0, 1), wfr.Gaussian(2, 0.5)

    def of(schedule):
        return breaks(wfr.GeometricPath(*ends, schedule), points, (0.0, 1.0), 1e-6)

    assert len(of(lambda t: t**3)) == 0
    assert len(of(lambda t: 1 - np.exp(-t))) <= 1
    kink = of(lambda t: min(1.0, t / 0.3))
    assert np.abs(kink - 0.3).min() < 1e-5
    assert len(kink) < 40
    assert np.abs(of(lambda t: float(t > 0.7)) - 0.7).min() < 1e-9
    with pytest.raises(wfr.NumericalError, match="moves too roughly"):
        of(lambda t: np.sin(1e5 * t) ** 2)


def test_moving_targets_agree_with_the_other_family():
    ends = wfr.Gaussian(-1, 0.5), wfr.GaussianMixture([[-2.0], [2.0]], [0.3, 0.7], 0.5)
    path = wfr.GeometricPath(*ends, lambda t: min(t, 1.0))
    ds = wfr.ground_truth(path, ends[0], [0, 0.5, 1.5], rtol=1e-4, cross_check=True)
    assert np.all(ds["disagreement"] <= 2 * ds["error_l1"] + 1e-7)
    assert ds["error_l1"].max() <= 1e-4


def test_schema(tmp_path):
    ds = wfr.ground_truth(TARGET, START, [0, 0.5, 1.0], names=["u"])
    ds.to_netcdf(tmp_path / "truth.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "truth.nc") as stored:
        assert stored["log_density"].dims == ("t", "u")
        xr.testing.assert_equal(stored.load(), ds)
        assert all(isinstance(value, str | int | float | np.number) for value in stored.attrs.values())
    for name in ("error_l1", "error_kl"):
        total = sum(ds[f"{name}_{part}"] for part in PARTS)
        np.testing.assert_allclose(total, ds[name], rtol=1e-12)
    assert all(
        {"long_name", "units"} <= set(variable.attrs) for variable in ds.data_vars.values() if "t" in variable.dims
    )
    assert ds["kl"].dims == ds["error_l1"].dims == ("t",)
    cells = json.loads(ds.attrs["cells_per_axis"])
    assert len(cells) == len(RATIOS)
    assert cells[-1] == [ds.sizes["u"]]
    state = wfr.Density.from_dataset(ds, 1)
    assert state.mass == pytest.approx(1, abs=float(ds["error_l1"][1]))  # measured, not the sum over the cells
    assert wfr.KL(TARGET).value(state) == pytest.approx(float(ds["kl"][1]), abs=1e-6)


def test_it_is_deterministic():
    one, other = (wfr.ground_truth(wfr.DoubleWell(2.0), wfr.Gaussian(-1, 0.04), [0, 0.2]) for _ in range(2))
    for name in one.data_vars:
        np.testing.assert_array_equal(one[name], other[name])


def test_cross_check():
    ds = wfr.ground_truth(wfr.DoubleWell(2.0), wfr.Gaussian(-1, 0.04), [0, 1e-9, 0.5], cross_check=True)
    told = json.loads(ds.attrs["evidence"])["second family"]
    assert float(ds["disagreement"][2]) < 1e-5
    assert float(ds["disagreement"][2]) <= told["allowed"][2]
    assert "Sinkhorn" in told["kind"]
    assert len(told["distance"]) == 3


def test_nobody_is_asked_without_need():
    assert "disagreement" not in wfr.ground_truth(TARGET, START, [0, 0.5])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"target": lambda x: x}, "target must be a Target such as"),
        ({"start": wfr.Gaussian([0, 0], 1)}, "the target is 1-dimensional, but the start is 2-dimensional"),
        ({"start": wfr.GeometricPath(START, TARGET, lambda t: t)}, "the start moves"),
        ({"t": [0]}, "at least two save times"),
        ({"t": [0, 1, 1]}, "increasing"),
        ({"rtol": 1e-13}, "rtol must be between"),
        ({"rtol": float("nan")}, "rtol must be between"),
        ({"transport_rate": -1}, "transport_rate must be >= 0"),
        ({"reaction_rate": np.inf}, "reaction_rate must be finite"),
        ({"boundary": "periodic"}, "needs box="),
        ({"box": (1.0, 0.0)}, "lower < upper"),
        ({"box": ([0.0, 0.0], [1.0, 1.0])}, "1-dimensional"),
        ({"seconds": 0}, "seconds must be"),
        ({"memory": -1}, "memory must be"),
    ],
)
def test_bad_input(change, words):
    arguments = {"target": TARGET, "start": START, "t": [0, 1]} | change
    with pytest.raises((ValueError, TypeError), match=words):
        wfr.ground_truth(arguments.pop("target"), arguments.pop("start"), arguments.pop("t"), **arguments)


def test_out_of_reach():
    far = wfr.Gaussian(1e6, 1), wfr.Gaussian(1e6 - 1, 0.5)  # coordinates eat the digits
    with pytest.raises(wfr.NumericalError, match=r"rtol=1e-12 is out of reach .* stands in the way is .* is reachable"):
        wfr.ground_truth(*far, [0, 0.5], rtol=1e-12, transport_rate=0)
    ds = wfr.ground_truth(TARGET, START, [0, 0.5], rtol=1e-12, strict=False)
    l1, _ = true_errors(ds, lambda t: exact.gaussian_flow(TARGET, START, t), TARGET)
    assert 1e-12 < ds["error_l1"].max() < 2e-11  # rounding, and what orders and witness say of 200 steps of it
    assert l1[1] <= float(ds["error_l1"][1])


def test_no_time_at_all():
    with pytest.raises(wfr.NumericalError, match="seconds"):
        wfr.ground_truth(TARGET, START, [0, 0.5], seconds=1e-3)


def test_memory_is_refused_beforehand(monkeypatch):
    backend = dataclasses.replace(wfr.Grid(0, 1, 4).backend, available_memory=lambda: 2**20)
    monkeypatch.setattr("wfr_pde.space.grid.get_backend", lambda name: backend)
    with pytest.raises(MemoryError, match=r"at 1\d\d\d times on .* fewer save times"):
        wfr.ground_truth(TARGET, START, np.linspace(0, 1, 1000))


def test_the_search_for_a_box_is_within_the_budget():
    calls = []

    def slow(x, y):
        calls.append(time.sleep(0.01))
        return x**4 + y**2

    with pytest.raises(OutOfTimeError, match="seconds=, is spent"):
        wfr.ground_truth(wfr.Potential(slow), wfr.Gaussian([0, 0], 1), [0, 1], seconds=0.5)
    assert len(calls) < 100  # a whole search takes thousands


def test_memory_budget():
    with pytest.raises(MemoryError, match=r"memory=0\.0003 allows for less"):
        wfr.ground_truth(TARGET, START, np.linspace(0, 1, 1000), rtol=1e-9, memory=3e-4)
    far = wfr.Gaussian(9, 0.25)
    options = {"rtol": 1e-6, "memory": 1.2e-3}  # a second attempt does not fit
    with pytest.raises(wfr.NumericalError, match="out of reach in the memory there is"):
        wfr.ground_truth(TARGET, far, [0, 0.5, 1], **options)
    ds = wfr.ground_truth(TARGET, far, [0, 0.5, 1], **options, strict=False)
    l1, _ = true_errors(ds, lambda t: exact.gaussian_flow(TARGET, far, t), TARGET)
    assert np.all(l1 <= ds["error_l1"] + 1e-14)


def test_panels_fit_the_flow():
    problem = Problem(TARGET, wfr.Gaussian(0, 1e-4), np.array([0.0, 1.0]), 1.0, 1.0, 1e-6)
    cells = first_terrain(problem, None, "no-flux", None, 1e-6).cells
    lengths = np.diff(schedule_by_trial(problem, cells, Budget(60.0)).ends)
    assert lengths.max() >= 100 * lengths.min()  # a narrow start spreads at first
    with pytest.raises(OutOfTimeError, match="trial run"), deadline(0.0):
        schedule_by_trial(problem, cells, Budget(60.0))
    with pytest.raises(OutOfTimeError, match="a trial run alone would take"):
        schedule_by_trial(problem, cells, Budget(1e-6))


def test_a_run_that_would_take_too_long_is_not_begun():
    problem = Problem(TARGET, START, np.array([0.0, 1.0]), 1.0, 1.0, 1e-6)
    work, grid = Budget(1.0, rate=1.0), wfr.Grid(-5, 5, 64)
    with pytest.raises(OutOfTimeError, match="would take about"):
        work.run(problem, grid, np.linspace(0, 1, 1 + math.ceil(SHORT / grid.size)), 8, problem.times)
    few = np.linspace(0, 1, 11)  # what they take says nothing
    assert work.run(problem, grid, few, 8, problem.times).shape == (2, 64)


def test_runs_say_how_fast_they_are_and_stop_at_the_last_time_wanted():
    problem, work = Problem(TARGET, START, np.array([0.0, 0.5]), 1.0, 1.0, 1e-6), Budget(60.0, rate=1e-12)
    grid, steps = wfr.Grid(-6, 6, 64), np.linspace(0, 1, 11)
    ratios = work.run(problem, grid, steps, 4, problem.times)
    assert ratios.shape == (2, 64)
    assert work.rate > 1e-12
    assert 0 < work.left() < 60
    known = grid.density(exact.gaussian_flow(TARGET, START, 0.5))
    assert metrics.l1(problem.density(grid, ratios[1], 0.5), known) < 0.02  # of order two in dx


def test_a_step_is_stopped_by_the_deadline():
    grid = wfr.Grid([-6, -6], [6, 6], 64)
    state = grid.density(wfr.Gaussian([0, 0], 0.5))
    step = wfr.FiniteVolume().make_step(wfr.KL(wfr.Gaussian([0, 0], 1)), state, 0.1)
    with deadline(60.0), deadline(3600.0):
        assert step(state, 0.0).is_finite()
    with pytest.raises(OutOfTimeError, match="seconds=, is spent"), deadline(0.0), deadline(3600.0):
        step(state, 0.0)
    assert step(state, 0.0).is_finite()


# What a solution says of the evidence that it rests on


def test_the_evidence_is_reported():
    ds = wfr.ground_truth(TARGET, START, [0, 0.5, 1.0])
    told = json.loads(ds.attrs["evidence"])
    assert told["single grids"] == {"fall as dx squared": [True, True, True]}
    assert set(told["witness"]) == {"l1", "linear", "unknown", "time"}
    assert all(len(values) == 3 for values in told["witness"].values())
    np.testing.assert_array_less(told["witness"]["l1"], ds["error_l1"] + 1e-300)
    assert told["V between the cells"]["kind"].startswith("looked at ")
    assert told["V between the cells"]["breaks on edges"] == [[]]
    assert told["V between the cells"]["places between points of quadrature"] == 0  # a formula of the package
    assert float(ds["error_l1_residual"][0]) == 0
    assert np.all(ds["error_l1_residual"][1:] >= told["witness"]["linear"][1:])  # the bound by the modulus


def test_expressions_are_proved_to_hide_nothing():
    told = [
        json.loads(wfr.ground_truth(target, START, [0, 0.5], rtol=1e-4).attrs["evidence"])["V between the cells"]
        for target in (wfr.Potential("x**2/2"), wfr.Potential(lambda x: x**2 / 2, ndim=1))
    ]
    assert told[0]["kind"] == "proved"
    kind, at, number, places = told[1]["kind"].split()
    assert (kind, at, places) == ("looked", "at", "places")
    assert int(number) > 10_000
    inside = [each["places between points of quadrature"] for each in told]
    assert 10_000 < inside[0] < inside[1]  # bounds of slopes tell the rest where V is an expression


def test_breaks_are_reported():
    ds = wfr.ground_truth(wfr.Potential("x**2/2 + abs(x - 0.3)"), START, [0, 0.5], rtol=1e-3)
    told = json.loads(ds.attrs["evidence"])["V between the cells"]
    np.testing.assert_allclose(told["breaks on edges"], [[0.3]])
    assert told["breaks elsewhere"] is False


def test_pointwise_errors_hold_where_they_are_finite():
    for rates in ((1.0, 1.0), (1.0, 0.0)):
        ds = wfr.ground_truth(
            TARGET, wfr.Gaussian(-1, 0.05), [0, 0.1, 1.0], transport_rate=rates[0], reaction_rate=rates[1], rtol=1e-6
        )
        grid = wfr.Grid.from_dataset(ds)
        assert ds["log_density_error"].dims == ("t", "x")
        for k, t in enumerate(ds["t"].values):
            truth = exact.gaussian_flow(TARGET, wfr.Gaussian(-1, 0.05), float(t), *rates)
            known = truth.log_density(grid.points()) - truth.log_normaliser
            off, stated = np.abs(ds["log_density"][k].values - known), ds["log_density_error"][k].values
            near = known > known.max() - 20
            assert np.all(np.isfinite(stated[near]))
            assert np.all(off[near] <= stated[near] + 1e-10)
            assert stated[near].max() < 0.15  # at 2e-9 of the top, where the error of a solution to 1e-6 is .063
            assert stated[known > known.max() - 15].max() < 0.02


def with_disagreement(monkeypatch, distance):
    """A second family whose answer is some distance away, with errors of 1e-6."""

    def found(opinion, densities, errors):
        n = len(densities)
        return Agreement(np.full(n, distance), np.full(n, 1e-6) + errors, np.arange(n) > 0)

    monkeypatch.setattr("wfr_pde.truth.certified.attempt.agreement", found)


def test_a_disagreement_is_a_failure(monkeypatch):
    with_disagreement(monkeypatch, 0.2)
    with pytest.raises(wfr.NumericalError, match=r"two families of schemes disagree: at t=0\.5 .* 2\.00e-01 apart"):
        wfr.ground_truth(TARGET, START, [0, 0.5], cross_check=True)
    ds = wfr.ground_truth(TARGET, START, [0, 0.5], cross_check=True, strict=False)
    assert np.isnan(ds["disagreement"][0])
    assert float(ds["disagreement"][1]) == 0.2
    assert float(ds["error_l1_between"][1]) >= 0.2
    assert float(ds["error_l1"][1]) >= 0.2


def test_an_agreement_changes_nothing(monkeypatch):
    with_disagreement(monkeypatch, 1e-7)
    ds = wfr.ground_truth(TARGET, START, [0, 0.5], cross_check=True)
    plain = wfr.ground_truth(TARGET, START, [0, 0.5])
    assert np.all(ds["error_l1_between"] == 0)
    np.testing.assert_array_equal(ds["error_l1"], plain["error_l1"])


def test_what_the_cells_cannot_show_leaves_nothing_known(monkeypatch):
    hidden = types.SimpleNamespace(kind="looked", places=7, depth=6.0, hides=True, where=np.array([0.3]))
    monkeypatch.setattr("wfr_pde.truth.certified.attempt.look_at", lambda *arguments: hidden)
    monkeypatch.setattr(
        certificate,
        "first_terrain",
        lambda *arguments: dataclasses.replace(first_terrain(*arguments), look=hidden),
    )
    ds = wfr.ground_truth(TARGET, START, [0, 0.5], rtol=1e-3, strict=False)
    assert np.all(ds["error_l1_between"] == 2)
    assert np.all(np.isinf(ds["error_kl"]))
    told = json.loads(ds.attrs["evidence"])["V between the cells"]
    assert told["kind"] == "looked at 7 places"
    assert told["hides at"] == [0.3]
    with pytest.raises(wfr.NumericalError, match="out of reach"):
        wfr.ground_truth(TARGET, START, [0, 0.5], rtol=1e-3)


def test_times_count_from_the_start_of_a_target_at_rest():
    gaps = np.array([0.0, 2.0**-26, 0.5])
    late, early = (
        wfr.ground_truth(wfr.Potential("2.4*abs(x)"), wfr.Gaussian(-1.06, 0.0035), t, rtol=1e-3, seconds=60)
        for t in (1024 + gaps, gaps)
    )
    np.testing.assert_array_equal(late["t"], 1024 + gaps)
    np.testing.assert_array_equal(late["log_density"], early["log_density"])
    np.testing.assert_array_equal(late["error_l1"], early["error_l1"])
