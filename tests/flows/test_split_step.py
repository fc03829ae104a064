"""SplitStep: spectral, of order 2, with a floor that is declared, measured, and warned of where it matters."""

import itertools
import json
import warnings

import numpy as np
import pytest

import wfr_pde as wfr
from wfr_pde.flows.transport.split_step.flow import schroedinger_potential
from wfr_pde.flows.transport.split_step.rounding_floor import relative_floor
from wfr_pde.integrate.diagnostics import target_mass_below_floor
from wfr_pde.space.axis import Axis
from wfr_pde.space.heat import spectral
from wfr_pde.truth.certified.preparation.reach import Ceilings
from wfr_pde.truth.certified.preparation.under_ceilings import UnderCeilings
from wfr_pde.validation.finite_population import FinitePopulationCutoff

S, R = wfr.SplitStep(), wfr.FisherRao()
NORMAL = wfr.Gaussian(0.0, 1.0)
WELL, WELL_START = wfr.DoubleWell(2.0), wfr.Gaussian(-1, 0.04)


def run(target, flow, start, t, dt, **options):
    return wfr.Density.from_dataset(wfr.solve(target, flow, start, [0, t], dt, **options))


def l1(a, b):
    return float(a.grid.integrate(np.abs(a.values - b.values)))


def floor_warnings(target, flow, start, t, dt):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        wfr.solve(target, flow, start, np.linspace(0, t, 3), dt)
    return [str(w.message) for w in caught if issubclass(w.category, wfr.FloorWarning)]


# Accuracy


@pytest.mark.parametrize("beta", [0.0, 1.0])
@pytest.mark.parametrize("n", [48, 96, 192])
def test_spectral_in_space_on_a_gaussian(n, beta):
    """Standard deviations of 1.9 cells and more: extrapolated in dt, only rounding is left."""
    start = wfr.Gaussian(-1.5, 0.5)
    grid = wfr.Grid(-9, 9, n)
    flow = wfr.Extrapolated(wfr.Strang(wfr.FisherRao(beta), S), 8)
    exact = grid.density(wfr.exact.gaussian_flow(NORMAL, start, 1.0, 1.0, beta))
    assert l1(run(NORMAL, flow, grid.density(start), 1.0, 0.05), exact) < 1e-12  # 1e-14 measured


@pytest.mark.parametrize(("flow", "order"), [(S, 2), (wfr.Extrapolated(S, 4), 4), (wfr.Extrapolated(S, 6), 6)])
def test_order_in_dt(flow, order):
    start = wfr.Gaussian(-1.5, 0.5)
    grid = wfr.Grid(-9, 9, 128)
    exact = grid.density(wfr.exact.gaussian_flow(NORMAL, start, 1.0, 1.0, 0.0))
    errors = [l1(run(NORMAL, flow, grid.density(start), 1.0, 1 / k), exact) for k in (12, 16)]
    assert -np.diff(np.log(errors)) / np.log(16 / 12) == pytest.approx(order, abs=0.2)


def test_law_of_a_step_on_a_gaussian():
    """The mean shrinks by e^(-2 asinh(dt/2)) per step, up to a change of weight that is the same for every step."""
    grid = wfr.Grid(-12, 12, 200)
    energy, dt = wfr.KL(NORMAL), 0.8
    step = S.make_step(energy, grid.density(NORMAL), dt)
    state = grid.density(NORMAL)
    for k in range(60):
        state = step(state, k * dt)
    # the ground state of the splitting has the exponent sqrt(1/4 + dt²/16) in place of 1/2
    ground = wfr.Gaussian(0.0, 1 / (0.5 + 2 * np.sqrt(1 / 16 * (1 + dt**2 / 4))))
    assert l1(state, grid.density(ground)) < 1e-10
    shifted = wfr.Density(grid, state.log_values + np.log1p(1e-6 * grid.axes[0].centres)).normalised()
    ratio = step(shifted, 100.0).mean() / shifted.mean()
    assert ratio[0] == pytest.approx(np.exp(-2 * np.arcsinh(dt / 2)), rel=1e-6)


def test_correlated_gaussian_in_two_dimensions():
    target = wfr.Gaussian([0, 0], [[1, 0.5], [0.5, 0.8]])
    start = wfr.Gaussian([-1, 0.5], [[0.5, -0.1], [-0.1, 0.6]])
    grid = wfr.Grid.covering(target, start, shape=(80, 80), tail=1e-16)
    exact = grid.density(wfr.exact.gaussian_flow(target, start, 0.5, 1.0, 1.0))
    flow = wfr.Extrapolated(wfr.Strang(R, S), 8)
    assert l1(run(target, flow, grid.density(start), 0.5, 1 / 8), exact) < 1e-9  # 5e-11, of order 8


@pytest.mark.parametrize("beta", [0.0, 1.0])
def test_agrees_with_the_sinkhorn_kernel_on_a_double_well(beta):
    grid = wfr.Grid.covering(WELL, WELL_START, shape=160)
    start = grid.density(WELL_START)
    flows = [wfr.Extrapolated(wfr.Strang(wfr.FisherRao(beta), w), 8) for w in (S, wfr.SinkhornKernel())]
    a, b = (run(WELL, flow, start, 0.5, 1 / 128) for flow in flows)
    assert l1(a, b) < 1e-7  # the extrapolated errors of both


def test_agrees_with_the_sinkhorn_kernel_on_a_circle():
    grid = wfr.Grid(0, 2 * np.pi, 64, boundary="periodic")
    target, start = wfr.Potential("cos(x)"), grid.density(wfr.Potential("3*cos(x - 1)"))
    a, b = (run(target, wfr.Extrapolated(w, 8), start, 1.0, 0.05) for w in (S, wfr.SinkhornKernel()))
    assert l1(a, b) < 1e-11


@pytest.mark.parametrize("boundary", [("periodic", "no-flux"), ("no-flux", "periodic")])
def test_mixed_boundaries_and_a_moving_target(boundary):
    """The variables separate: the density is the product of those of the two axes."""
    limits = {"periodic": (0, 2 * np.pi), "no-flux": (-6.5, 6.5)}
    parts = {
        "periodic": (wfr.Potential("cos(x)"), wfr.Potential("3*cos(x - 1)")),
        "no-flux": (wfr.Gaussian(0, 0.9), wfr.Gaussian(-1, 0.7)),
    }
    moved = []
    for kind in boundary:
        grid = wfr.Grid(*limits[kind], 40, boundary=kind)
        target, start = parts[kind]
        moved.append(run(wfr.GeometricPath(start, target, lambda t: t), S, grid.density(start), 0.4, 0.2).values)
    both = [
        wfr.Potential(lambda x, y, i=i: -sum(
            parts[kind][i].log_density(np.stack([z], axis=-1)) for kind, z in zip(boundary, (x, y), strict=True)
        ))
        for i in (0, 1)
    ]  # fmt: skip
    grid = wfr.Grid(*zip(*(limits[kind] for kind in boundary), strict=True), (40, 40), boundary=boundary)
    joint = run(wfr.GeometricPath(both[1], both[0], lambda t: t), S, grid.density(both[1]), 0.4, 0.2)
    # the moving targets are normalised grid by grid; the densities are far above the floor
    assert np.abs(joint.values - moved[0][:, None] * moved[1][None, :]).max() < 1e-12


def test_the_potential_of_a_mixture_is_right_to_rounding():
    """U from the closed form of two Gaussians, at cells up to the walls."""
    target = wfr.GaussianMixture([-1.0, 1.2], [0.4, 0.6], [0.3, 0.2])
    grid = wfr.Grid(-5, 5, 100)
    x = grid.axes[0].centres
    logs = [np.log(w / np.sqrt(v)) - (x - m) ** 2 / (2 * v) for m, w, v in ((-1.0, 0.4, 0.3), (1.2, 0.6, 0.2))]
    share = 1 / (1 + np.exp(np.clip(logs[1] - logs[0], -700, 700)))
    a, b = -(x + 1.0) / 0.3, -(x - 1.2) / 0.2
    score = share * a + (1 - share) * b
    slope = -share / 0.3 - (1 - share) / 0.2 + share * (1 - share) * (a - b) ** 2
    assert schroedinger_potential(wfr.KL(target), grid) == pytest.approx(score**2 / 4 + slope / 2, rel=1e-9, abs=1e-9)


def test_equilibrium_is_kept_up_to_dt_squared_only():
    grid = wfr.Grid.covering(WELL, shape=128)
    pi = grid.density(WELL)
    errors = [l1(run(WELL, S, pi, 1.0, dt), pi) for dt in (0.01, 0.005)]
    assert errors[0] / errors[1] == pytest.approx(4, abs=0.1)
    assert errors[1] > 1e-6
    assert "equilibrium" not in S.preserves


@pytest.mark.parametrize("dt", [1e-6, 1e-2, 1.0, 1e3])
def test_any_step_is_finite_and_keeps_the_mass(dt):
    """Tails with rate dt U = 1e8 underflow, U < 0 between the wells grows."""
    grid = wfr.Grid(-3, 3, 200)
    target = wfr.DoubleWell(20.0)
    step = S.build_step(wfr.KL(target), grid.density(target), dt)
    state = step(grid.density(wfr.Gaussian(-1, 0.01)), None)
    assert state.is_finite()
    assert abs(state.mass - 1) < 1e-12


# The transforms


@pytest.mark.parametrize("boundary", ["no-flux", "periodic"])
@pytest.mark.parametrize("shape", [(64,), (61,), (997,), (4096,), (40, 36), (127, 128), (16, 12, 10)])
def test_the_transforms_err_less_than_the_floor(shape, boundary):
    """Against the same in extended precision, on bumps of all widths, noise and single cells."""
    from scipy import fft

    grid = wfr.Grid([0] * len(shape), [1] * len(shape), shape, boundary=boundary)
    rng = np.random.default_rng(1)
    for time in (1e-6, 1e-3):
        heat = spectral.HeatSemigroup(grid, time)
        symbol = heat.symbol.astype(np.longdouble)
        for kind in range(4):
            distance = np.linalg.norm(grid.points() - rng.uniform(0.2, 0.8, len(shape)), axis=-1)
            u = np.exp(-(distance**2) / 2 / [0.1, 0.01][kind % 2] ** 2) if kind < 2 else rng.random(shape) ** 8
            if kind == 3:
                u = (u == u.max()) * 1.0
            wide = u.astype(np.longdouble)
            if boundary == "periodic":
                right = fft.irfftn(fft.rfftn(wide) * symbol, s=shape)
            else:
                right = fft.idctn(fft.dctn(wide) * symbol)
            error = np.abs(heat(u.copy()) - right).max()
            assert error < relative_floor(grid.size) * u.max()


@pytest.mark.parametrize(
    ("shape", "boundary"),
    [((256,), "periodic"), ((65,), "periodic"), ((48, 50), "periodic"), ((24, 31), ("no-flux", "periodic"))],
)
def test_both_libraries_agree_and_repeat_their_bits(shape, boundary):
    pytest.importorskip("pyfftw")
    grid = wfr.Grid([0] * len(shape), [1] * len(shape), shape, boundary=boundary)
    u = np.random.default_rng(0).random(shape)
    a, b = (spectral.HeatSemigroup(grid, 1e-4, library) for library in ("fftw", "scipy"))
    first = a(u.copy())
    assert np.abs(first - b(u.copy())).max() < 1e-13 * first.max()
    assert np.array_equal(a(u.copy()), first)
    assert np.array_equal(spectral.HeatSemigroup(grid, 1e-4, "fftw")(u.copy()), first)


def test_timed_plans_are_stored_where_possible(tmp_path, monkeypatch):
    pyfftw = pytest.importorskip("pyfftw")
    grid = wfr.Grid(0, 1, 36, boundary="periodic")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    known = pyfftw.export_wisdom()
    try:
        assert spectral.measure_plans(grid)
        assert b"fftw" in spectral.wisdom_file().read_bytes()
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))  # not a directory
        assert not spectral.measure_plans(grid)
        assert not spectral.measure_plans(wfr.Grid(0, 1, 36))
    finally:  # other tests plan as without
        pyfftw.forget_wisdom()
        pyfftw.import_wisdom(known)


def test_a_resolved_heat_kernel_is_positive():
    grid = wfr.Grid(0, 1, 100)
    point = np.zeros(100)
    point[3] = 1.0
    for factor, positive in ((0.75, True), (0.4, False)):
        heat = spectral.HeatSemigroup(grid, factor * 0.01**2)
        assert heat.positive == positive
        assert (heat(point.copy()).min() > -relative_floor(100)) == positive


# The floor


def test_cells_below_the_floor_get_its_value():
    """Past some 33 nats below its maximum u is flat, where the truth goes on falling."""
    grid = wfr.Grid(-10, 10, 300)
    start = grid.density(wfr.Gaussian(-3, 0.1))
    energy, dt = wfr.KL(NORMAL), 0.005
    factor = -0.5 * dt * schroedinger_potential(energy, grid)
    state = S.build_step(energy, start, dt)(start, None)
    log_u = state.log_values - 0.5 * energy.log_equilibrium(grid) - factor
    assert np.ptp(log_u[grid.axes[0].centres > 0]) < 1e-12
    truth = grid.density(wfr.exact.gaussian_flow(NORMAL, wfr.Gaussian(-3, 0.1), dt, 1.0, 0.0)).log_values
    assert (state.log_values - truth)[np.argmin(np.abs(grid.axes[0].centres))] > 1


def test_the_record_shows_for_how_long_the_truth_is_below():
    times = [0, 0.002, 0.03]
    grid = wfr.Grid.covering(WELL, WELL_START, shape=128)
    ds = wfr.solve(WELL, wfr.SinkhornKernel(), grid.density(WELL_START), times, 0.002, record=[target_mass_below_floor])
    at_start, soon, later = ds.target_mass_below_floor.values
    assert 0.3 < at_start < 0.5  # the far mode
    assert 0 < soon < at_start
    assert later < 1e-3  # its tail
    far = wfr.Grid.covering(NORMAL, wfr.Gaussian(-10, 0.25), shape=300)
    ds = wfr.solve(
        NORMAL, wfr.SinkhornKernel(), far.density(wfr.Gaussian(-10, 0.25)), [0, 0.2], 0.1,
        record=[target_mass_below_floor],
    )  # fmt: skip
    assert ds.target_mass_below_floor.values == pytest.approx(1, abs=0.01)


FAR_FLOWS = {
    "W": S,
    "Strang FR W FR": wfr.Strang(R, S),
    "Strang W FR W": wfr.Strang(S, R),
    "Lie": wfr.Lie(S, R),
    "Extrapolated": wfr.Extrapolated(wfr.Strang(R, S), 6),
}


@pytest.mark.parametrize("flow", FAR_FLOWS.values(), ids=FAR_FLOWS.keys())
@pytest.mark.parametrize("dt", [1e-3, 0.1, 1.0])
@pytest.mark.parametrize(("mean", "variance"), [(-10, 0.25), (-5.5, 0.25), (-4, 2 / 15)])  # e^-200, e^-60, e^-60
def test_far_gaussians_are_warned_of_once(flow, dt, mean, variance):
    start = wfr.Gaussian(mean, variance)
    grid = wfr.Grid.covering(NORMAL, start, shape=300)
    messages = floor_warnings(NORMAL, flow, grid.density(start), max(0.1, dt), dt)
    assert len(messages) == 1
    for word in ("of the target's mass", "over time is", "SinkhornKernel or FiniteVolume"):
        assert word in messages[0]


def test_the_warning_is_right_about_a_far_gaussian():
    """With the reaction, what was planted becomes the answer: the mean is far off."""
    start = wfr.Gaussian(-10, 0.25)
    grid = wfr.Grid.covering(NORMAL, start, shape=300)
    with pytest.warns(wfr.FloorWarning):
        state = run(NORMAL, wfr.Strang(R, S), grid.density(start), 1.0, 0.02)
    exact = wfr.exact.gaussian_flow(NORMAL, start, 1.0)
    assert abs(state.mean()[0] - exact.mean[0]) > 0.5


def test_wide_starts_are_warned_of():
    """mu/sqrt(pi) is largest at the walls: rounding there is noise everywhere."""
    start = wfr.Gaussian(0, 4.0)
    grid = wfr.Grid.covering(NORMAL, start, shape=200)
    assert len(floor_warnings(NORMAL, S, grid.density(start), 0.2, 0.1)) == 1


@pytest.mark.parametrize("beta", [0.0, 1.0])
@pytest.mark.parametrize("dt", [0.002, 0.01, 0.1])
@pytest.mark.parametrize("order", [2, 4])
@pytest.mark.parametrize("n", [128, 256])
def test_the_double_well_is_not_warned_of(n, order, dt, beta):
    """Its far mode is at e^-50, but transport lifts it over the floor at once."""
    if order > 2 and dt < 0.01:
        return  # many steps, and nothing new
    grid = wfr.Grid(-3, 3, n)
    flow = S if beta == 0 else wfr.Strang(wfr.FisherRao(beta), S)
    assert (
        floor_warnings(WELL, flow if order == 2 else wfr.Extrapolated(flow, order), grid.density(WELL_START), 1.0, dt)
        == []
    )


@pytest.mark.parametrize("dt", [0.01, 0.1])
def test_the_double_well_in_two_dimensions_is_not_warned_of(dt):
    target = wfr.DoubleWell(2.0, stiffness=(4.0,), coupling=0.5)
    start = wfr.Gaussian([-1, 0], 0.04)
    grid = wfr.Grid.covering(target, start, shape=(96, 96))
    assert floor_warnings(target, wfr.Strang(R, S), grid.density(start), 0.2, dt) == []


def test_ringing_is_warned_of():
    """Sub-steps below 0.75 dx², and mu/s large at a wall: the answer is wrong by 1e-1."""
    grid = wfr.Grid(-3, 3, 128)
    flow = wfr.Extrapolated(wfr.Strang(R, S), 8)
    (message,) = floor_warnings(WELL, flow, grid.density(WELL_START), 0.02, 0.005)
    assert "larger dt or a finer grid" in message


def test_every_run_has_its_own_warning_and_steps_of_other_sizes_carry_on():
    start = wfr.Gaussian(-5.5, 0.25)
    grid = wfr.Grid.covering(NORMAL, start, shape=300)
    energy, density = wfr.KL(NORMAL), grid.density(start)
    for flow, _ in itertools.product((S, FAR_FLOWS["Extrapolated"]), range(2)):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            wfr.solve(energy, flow, density, [0, 0.01, 0.03, 0.06, 0.1], 0.05)  # a step size for every interval
        assert len(caught) == 1


def test_what_the_first_steps_hid_is_remembered_by_steps_of_another_size():
    """After the first steps cells are at the floor, not below: what the start was below it by is known from them."""
    start = wfr.Gaussian(-5.5, 0.25)
    grid = wfr.Grid.covering(NORMAL, start, shape=300)
    with pytest.warns(wfr.FloorWarning, match=r"matters by t=0.02: .* \(by 37.1 nats at the start"):
        wfr.solve(NORMAL, S, grid.density(start), [0, 0.0004, 0.02], 0.02)


def test_the_watch_changes_no_bit():
    start = wfr.Gaussian(-5.5, 0.25)
    grid = wfr.Grid.covering(NORMAL, start, shape=200)
    energy, state = wfr.KL(NORMAL), grid.density(start)
    watched, alone = (flow.make_step(energy, state, 0.01) for flow in (S.monitored(), S))
    other = state
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for k in range(20):
            state, other = watched(state, 0.01 * k), alone(other, 0.01 * k)
    assert np.array_equal(state.log_values, other.log_values)
    assert len(caught) == 1


@pytest.mark.parametrize("flow", FAR_FLOWS.values(), ids=FAR_FLOWS.keys())
def test_steps_outside_a_run_are_not_watched_and_keep_nothing(flow):
    """What one step has seen is nothing to the next, or to a run: only `solve` knows what belongs together."""
    start = wfr.Gaussian(-5.5, 0.25)
    grid = wfr.Grid.covering(NORMAL, start, shape=300)
    energy, density = wfr.KL(NORMAL), grid.density(start)
    step = flow.make_step(energy, density, 0.1)
    once = step(density, 0.0)  # warnings are errors in the tests
    assert np.array_equal(step(density, 0.0).log_values, once.log_values)
    with pytest.warns(wfr.FloorWarning) as caught:
        ds = wfr.solve(energy, flow, density, [0, 0.1], 0.1)
    assert len(caught) == 1
    assert np.array_equal(ds.log_density[-1], once.log_values)


@pytest.mark.parametrize("dt", [0.05, 0.01, 0.001])
def test_a_transport_that_takes_two_turns_in_a_step_is_warned_of_once(dt):
    """Both turns begin at the same time, and are one chain all the same."""
    start = wfr.Gaussian(-5.5, 0.25)
    grid, half = wfr.Grid.covering(NORMAL, start, shape=300), wfr.SplitStep(0.5)
    assert len(floor_warnings(NORMAL, wfr.Strang(R, wfr.Lie(half, half)), grid.density(start), 0.1, dt)) == 1
    assert floor_warnings(WELL, wfr.Lie(half, half), wfr.Grid(-3, 3, 128).density(WELL_START), 0.1, max(dt, 0.01)) == []
    watched = wfr.Lie(half, half).monitored()
    assert watched.first is watched.second
    assert watched.first is not wfr.Lie(half, half).monitored().first  # another run


@pytest.mark.parametrize(
    "around", [lambda flow: UnderCeilings(flow, Ceilings.none()), lambda flow: FinitePopulationCutoff(flow, 1e9)]
)
def test_a_flow_around_it_is_watched(around):
    start = wfr.Gaussian(-5.5, 0.25)
    grid = wfr.Grid.covering(NORMAL, start, shape=300)
    flow = around(wfr.Strang(R, S))
    assert len(floor_warnings(NORMAL, flow, grid.density(start), 0.1, 0.05)) == 1
    assert flow.map_parts(lambda part: R if part == S else part).flow == wfr.Strang(R, R)


def test_grids_of_joined_cells_have_chains_of_their_own():
    """Extrapolated in dx a step is made on two grids, and what is known of one says nothing of the other."""
    flow = wfr.Extrapolated(wfr.Strang(wfr.FiniteVolume(0.5), wfr.SplitStep(0.5)), 4, "dx")
    ds = wfr.solve(WELL, flow, wfr.Grid(-3, 3, 128).density(WELL_START), [0, 0.02, 0.05], 0.03)
    assert json.loads(ds.attrs["dt_used"]) == pytest.approx([0.03, 0.02])


# Errors


def test_graded_axes_are_refused():
    grid = wfr.Grid(-8, 8, 64)
    edges = np.sinh(np.linspace(-2, 2, 65)) * 8 / np.sinh(2)
    axis = Axis("x", edges, (edges[1:] + edges[:-1]) / 2, np.diff(edges), False)
    start = grid.density(NORMAL)
    grid.__dict__["axes"] = (axis,)
    with pytest.raises(ValueError, match=r"axis 'x' are graded .* use FiniteVolume"):
        S.make_step(wfr.KL(NORMAL), start, 0.1)


def test_walls_through_a_slope_are_refused():
    target = wfr.Gaussian(0, 1)
    grid = wfr.Grid(-1, 8, 100, max_cut=1)
    with pytest.raises(ValueError, match=r"the wall of the axis 'x' at -1 cuts through a slope .* FiniteVolume"):
        S.make_step(wfr.KL(target), grid.density(target), 0.1)
    half = wfr.Grid(0, 8, 100, max_cut=1)  # no slope at 0: by symmetry it is the whole line
    whole = wfr.Grid(-8, 8, 200)
    start = wfr.GaussianMixture([-2.0, 2.0], [0.5, 0.5], 0.5)
    a, b = (run(target, S, grid.density(start), 0.5, 0.1) for grid in (half, whole))
    assert np.abs(a.values - 2 * b.values[100:]).max() < 1e-13


def test_derivatives_that_are_not_finite_are_refused():
    class Kinked(wfr.Target):
        ndim = 1

        def log_density(self, points):
            return -(points[..., 0] ** 2) / 2

        def score(self, points):
            return np.where(np.abs(points) < 0.01, np.nan, -points)

    target, grid = Kinked(), wfr.Grid(-8, 8, 101)  # a cell centre at 0
    with pytest.raises(ValueError, match=r"two derivatives .* is nan at {'x': .*SinkhornKernel, which needs none"):
        S.make_step(wfr.KL(target), grid.density(NORMAL), 0.1)


def test_rate_zero_stays():
    grid = wfr.Grid(-8, 8, 64)
    start = grid.density(NORMAL)
    assert S.dt_bounds(wfr.KL(NORMAL), start)[0] == 0
    assert wfr.SplitStep(0.0).make_step(wfr.KL(NORMAL), start, 0.1)(start, 0.0) is start
