"""The time loop: steps and save times, records, what is kept, the schema."""

import json
import math
import sys
from dataclasses import dataclass

import numpy as np
import pytest
import xarray as xr
from double_well_run import FLOW, GRID, START, TARGET
from hypothesis import given, settings
from hypothesis import strategies as st

import wfr_pde as wfr
from wfr_pde.energies import KL
from wfr_pde.flows.base import Flow
from wfr_pde.storage import files


@dataclass(frozen=True)
class Diffusion(Flow):
    """Brownian motion of particles: the smallest random flow."""

    rate: float = 1.0
    order = math.inf
    preserves = frozenset({"mass"})
    random = True

    def build_step(self, energy, template, dt):
        scale = math.sqrt(2 * self.rate * dt)

        def step(state, rng):
            return wfr.Particles(
                state.positions + scale * rng.standard_normal(state.positions.shape), state.log_weights
            )

        return step


def test_schema(start):
    ds = wfr.solve(TARGET, FLOW, start, np.linspace(0, 0.4, 5), 0.05, record=[wfr.KL(TARGET)])
    assert dict(ds.sizes) == {"t": 5, "x": 96}
    assert ds.log_density.dims == ("t", "x")
    assert ds.x.values == pytest.approx(GRID.axes[0].centres)
    assert (ds.cell_width_x.values == GRID.axes[0].widths).all()
    assert (np.exp(ds.log_density) * ds.cell_width_x).sum("x").values == pytest.approx(1, abs=1e-13)
    assert np.array_equal(ds.log_density[0], start.log_values)
    assert (ds.kl.attrs["long_name"], ds.kl.attrs["units"]) == ("KL(mu|pi)", "nats")
    assert (np.diff(ds.kl) < 0).all()
    assert all(isinstance(value, str | int | float) for value in ds.attrs.values())
    wanted = "energy flow grid start dt n_steps seed backend device versions commit wall_time"
    assert set(wanted.split()) <= set(ds.attrs)
    assert "SinkhornKernel(rate=1.0)" in ds.attrs["flow"]
    assert json.loads(ds.attrs["versions"])["wfr_pde"] == wfr.__version__


def test_the_file_opens_with_xarray_alone(start, tmp_path):
    ds = wfr.solve(TARGET, FLOW, start, [0, 0.1], 0.05, record=[wfr.KL(TARGET)])
    files.write_dataset(ds, tmp_path / "run.nc")
    with xr.open_dataset(tmp_path / "run.nc") as stored:
        xr.testing.assert_identical(stored.load(), ds)
    again = wfr.Density.from_dataset(files.read_dataset(tmp_path / "run.nc"))
    assert again.grid.matches(GRID)
    assert np.array_equal(again.log_values, ds.log_density[-1])


def test_dt_is_the_largest_step_and_what_was_used_is_stored(start):
    ds = wfr.solve(TARGET, FLOW, start, [0, 0.1, 0.25], 0.06)
    assert json.loads(ds.attrs["dt_used"]) == pytest.approx([0.05])
    assert (ds.attrs["dt"], ds.attrs["n_steps"]) == (0.06, 5)
    ds = wfr.solve(TARGET, FLOW, start, [0, 0.1, 0.17], 0.05)
    assert json.loads(ds.attrs["dt_used"]) == pytest.approx([0.05, 0.035])


def test_rounding_of_save_times_makes_no_new_steps(start):
    ds = wfr.solve(TARGET, FLOW, start, np.linspace(0, 3, 31), 0.1)
    assert len(json.loads(ds.attrs["dt_used"])) == 1
    assert ds.attrs["n_steps"] == 30
    assert np.array_equal(wfr.solve(TARGET, FLOW, start, 0.1 * np.arange(31), 0.1).log_density, ds.log_density)


def test_save_times_do_not_change_the_steps(start):
    many = wfr.solve(TARGET, FLOW, start, [0, 0.1, 0.2, 0.3, 0.4], 0.1)
    few = wfr.solve(TARGET, FLOW, start, [0, 0.4], 0.1)
    assert np.abs(many.log_density[-1].values - few.log_density[-1].values).max() < 1e-13


@pytest.mark.parametrize(("keep", "times"), [("last", [0.4]), ([0.1, 0.3], [0.1, 0.3]), (0.2, [0.2])])
def test_keep(start, keep, times):
    full = wfr.solve(TARGET, FLOW, start, np.linspace(0, 0.4, 5), 0.05, record=[wfr.KL(TARGET)])
    ds = wfr.solve(TARGET, FLOW, start, np.linspace(0, 0.4, 5), 0.05, record=[wfr.KL(TARGET)], keep=keep)
    assert ds.log_density.dims == ("t_kept", "x")
    assert ds.t_kept.values == pytest.approx(times)
    assert np.array_equal(ds.log_density, full.log_density.sel(t=times, method="nearest"))
    assert np.array_equal(ds.kl, full.kl)


def test_records(start):
    def mean(state, energy):
        return state.mean()

    mean.dims, mean.long_name, mean.units = ("axis",), "mean", "length"
    ds = wfr.solve(TARGET, FLOW, start, [0, 0.1], 0.05, record=[mean, wfr.KL(START)])
    assert ds["mean"].dims == ("t", "axis")
    assert ds["mean"].axis.values.tolist() == ["x"]
    assert ds["mean"].attrs == {"long_name": "mean", "units": "length"}
    assert ds["kl"][0] == pytest.approx(0, abs=1e-13)  # an energy records its own value, whatever is solved
    named = {
        "far": lambda state, energy: np.eye(2),
        "g_max": lambda state, energy: energy.first_variation(state).max(),
    }
    ds = wfr.solve(TARGET, FLOW, start, [0, 0.1], 0.05, record=named)
    assert ds.far.dims == ("t", "far_0", "far_1")
    assert ds.g_max.dims == ("t",)


def test_moving_target_is_recorded_at_its_time(start):
    path = wfr.GeometricPath(START, wfr.Gaussian(0.5, 0.2), schedule=lambda t: min(t, 1.0))
    ds = wfr.solve(path, FLOW, start, [0, 0.5, 1.0], 0.05, record=[wfr.KL(path)])
    assert ds.kl[0] == pytest.approx(0, abs=1e-13)
    last = wfr.Density.from_dataset(ds)
    assert ds.kl[-1] == pytest.approx(wfr.KL(wfr.Gaussian(0.5, 0.2)).value(last))


def test_a_target_that_stiffens_on_its_way_limits_the_step(start):
    path = wfr.GeometricPath(wfr.Gaussian(-0.5, 0.3), wfr.Gaussian(0, 0.02), schedule=lambda t: min(t, 1.0))
    with pytest.raises(ValueError, match="dt=0.1 is too large .*converges only for dt <= 0.02"):
        wfr.solve(path, wfr.Extrapolated(wfr.SinkhornKernel(), 4), start, [0, 1], 0.1)


def test_a_target_means_kl_of_it(start):
    a = wfr.solve(TARGET, FLOW, start, [0, 0.1], 0.05)
    b = wfr.solve(KL(TARGET), FLOW, start, [0, 0.1], 0.05)
    assert np.array_equal(a.log_density, b.log_density)


def test_splittings_and_solve_have_no_special_case_for_particles():
    positions = np.zeros((20_000, 2))
    target = wfr.Gaussian([0, 0], 1.0)
    flow = wfr.Strang(Diffusion(0.5), wfr.Repeated(Diffusion(1.5), 2))
    runs = [wfr.solve(target, flow, positions, [0, 0.5, 1.0], 0.25, rng=seed) for seed in (1, 1, 2)]
    ds = runs[0]
    assert ds.position.dims == ("t", "particle", "dim")
    assert ds.log_weight.dims == ("t", "particle")
    assert ds.attrs["seed"] == "1"
    # variance 2 (0.5 + 1.5) t = 4, standard error 4 sqrt(2/n) = 0.04: five of them
    assert ds.position[-1].values.var(axis=0) == pytest.approx([4, 4], abs=0.2)
    assert np.array_equal(ds.position, runs[1].position)
    assert not np.array_equal(ds.position, runs[2].position)
    with pytest.raises(ValueError, match="random, and the noise does not cancel"):
        wfr.Extrapolated(flow, 4)


def test_progress_bar_only_where_wanted(start, capsys):
    wfr.solve(TARGET, FLOW, start, [0, 0.1], 0.05)
    assert capsys.readouterr().err == ""
    wfr.solve(TARGET, FLOW, start, [0, 0.1], 0.05, progress=True)
    assert "step" in capsys.readouterr().err


def test_without_a_terminal_there_is_no_bar_to_import(start, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    wfr.solve(TARGET, FLOW, start, [0, 0.1], 0.05)
    with pytest.raises(ImportError):
        wfr.solve(TARGET, FLOW, start, [0, 0.1], 0.05, progress=True)


def test_the_remedy_for_a_small_dt_works(start):
    """Also where the save times cut it down again."""
    flow = wfr.Extrapolated(FLOW, 8)
    for t in ([0, 1], [0, 0.1, 0.35], np.linspace(0, 3, 11)):
        with pytest.raises(ValueError, match="too small") as error:
            wfr.solve(TARGET, flow, start, t, 1e-3)
        dt = float(str(error.value).split("at least ")[1].split(" ")[0])
        wfr.solve(TARGET, flow, start, t, dt)


def test_a_record_cannot_change_the_state(start):
    def vandal(state, energy):
        state.log_values[:] = 0

    with pytest.raises(ValueError, match="read-only"):
        wfr.solve(TARGET, FLOW, start, [0, 0.1], 0.05, record=[vandal])


def test_many_save_times_are_no_burden(start):
    ds = wfr.solve(TARGET, wfr.FisherRao(), start, np.linspace(0, 5, 20_001), 1.0, keep="last")
    assert ds.attrs["n_steps"] == 20_000
    assert len(json.loads(ds.attrs["dt_used"])) == 1


def test_a_flow_that_breaks_its_promise_is_caught(start):
    @dataclass(frozen=True)
    class Leaky(Flow):
        factor: float
        order = 1
        preserves = frozenset({"mass"})

        def build_step(self, energy, template, dt):
            return lambda state, rng: wfr.Density(state.grid, state.log_values + self.factor)

    with pytest.raises(wfr.NumericalError, match="mass is 1.0000002.* promises to keep it"):
        wfr.solve(TARGET, Leaky(1e-7), start, [0, 0.1], 0.05)
    with pytest.raises(wfr.NumericalError, match="not finite at t=0.1: use a smaller dt"):
        wfr.solve(TARGET, Leaky(math.nan), start, [0, 0.1], 0.05)


# Whatever comes in: finite, mass one, or a clear error


@st.composite
def distributions(draw, d):
    kind = draw(st.sampled_from(["gaussian", "mixture", "potential", "well"]))
    mean = draw(st.lists(st.floats(-8, 8), min_size=d, max_size=d))
    if kind == "gaussian":
        return wfr.Gaussian(mean, draw(st.floats(1e-2, 30)))
    if kind == "mixture":
        other = draw(st.lists(st.floats(-8, 8), min_size=d, max_size=d))
        return wfr.GaussianMixture([mean, other], [1, draw(st.floats(1e-6, 10))], draw(st.floats(0.02, 9)))
    if kind == "well":
        return wfr.DoubleWell(draw(st.floats(0.1, 30)), stiffness=(draw(st.floats(0.5, 9)),) * (d - 1))
    names = "xyz"[:d]
    terms = [
        f"{draw(st.floats(0.1, 5)):.3f}*({v} - {m:.3f})**{draw(st.sampled_from([2, 4]))}"
        for v, m in zip(names, mean, strict=True)
    ]
    more = draw(st.sampled_from(["", " + cos(3*x)", " - log(x)", " + abs(x)"]))
    return wfr.Potential(" + ".join(terms) + more, ndim=d)


@st.composite
def problems(draw):
    d = draw(st.integers(1, 3))
    n = draw(st.lists(st.integers(4, [300, 48, 16][d - 1]), min_size=d, max_size=d))
    target, start = draw(distributions(d)), draw(distributions(d))
    boundary = draw(st.sampled_from(["no-flux", "periodic"]))
    if draw(st.booleans()):
        grid = lambda: wfr.Grid.covering(target, start, shape=n, boundary=boundary)
    else:
        lower = draw(st.lists(st.floats(-30, 5), min_size=d, max_size=d))
        size = draw(st.floats(0.5, 60))
        cut = draw(st.sampled_from([1e-6, 1.0]))
        grid = lambda: wfr.Grid(lower, [a + size for a in lower], n, boundary=boundary, max_cut=cut)
    r, s = wfr.FisherRao(draw(st.floats(0, 20))), wfr.SinkhornKernel(draw(st.floats(0, 20)))
    flow = draw(st.sampled_from([wfr.Lie(s, r), wfr.Strang(r, s), wfr.Extrapolated(wfr.Strang(s, r), 6), s, r]))
    return target, start, grid, flow, draw(st.floats(1e-3, 5)), draw(st.integers(1, 4))


@settings(max_examples=150)
@given(problems())
def test_finite_with_mass_one_or_a_clear_error(problem):
    target, start, grid, flow, dt, n = problem
    try:
        on_grid = grid()
        rho = on_grid.density(start)
        ds = wfr.solve(target, flow, rho, [0, n * dt], dt, record=[wfr.KL(target)])
    except (ValueError, wfr.NumericalError) as error:
        assert len(str(error)) > 40  # noqa: PT017
        assert "nan" not in str(error).lower() or "log-density" in str(error)  # noqa: PT017
        return
    final = wfr.Density.from_dataset(ds)
    assert final.is_finite()
    assert abs(final.mass - 1) < 1e-10
    assert np.isfinite(ds.kl).all()
    if "monotone" in flow.preserves:
        assert ds.kl[-1] <= ds.kl[0] * (1 + 1e-9) + 1e-11
