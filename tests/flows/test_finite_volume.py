"""FiniteVolume against closed forms, dense exponentials, and sums in arbitrary precision."""

import math

import mpmath
import numpy as np
import pytest
from scipy.linalg import expm

import wfr_pde as wfr
from wfr_pde.flows.transport.finite_volume.jump_rates import FLUXES, jump_rates, log_jump_rates
from wfr_pde.numerics.compiled import chain_exponential as line_sweeps

BOUNDARIES = ["no-flux", "periodic"]
WAVY = wfr.Potential("2*cos(x)+sin(2*x)")
FAR, TARGET = wfr.Gaussian(-10, 0.25), wfr.Gaussian(0, 1)  # e^-200 at the target's mode


def generator(grid, log_pi, flux="scharfetter-gummel"):
    """The matrix of L, on f = mu/pi."""
    n = grid.shape[0]
    down, up = jump_rates(grid, log_pi, 0, flux)
    matrix = np.zeros((n, n))
    for i in range(n):
        matrix[i, (i - 1) % n] += down[i]
        matrix[i, (i + 1) % n] += up[i]
        matrix[i, i] -= down[i] + up[i]
    return matrix


def step(flow, energy, state, dt):
    return flow.make_step(energy, state, dt)(state, 0.0)


def last(*args, **kwargs):
    return wfr.Density.from_dataset(wfr.solve(*args, **kwargs))


def exact(grid, target, start, t, alpha=1.0, beta=0.0):
    return grid.density(wfr.exact.gaussian_flow(target, start, t, alpha, beta))


def grids(n, kind="uniform", distributions=(TARGET, FAR)):
    if kind == "graded":
        box = wfr.Grid.covering(*distributions, shape=8)
        return wfr.Grid(
            box.lower, box.upper, n, grading=lambda x: 0.5 + 1 / np.cosh((x + 10) / 1.5) + 1 / np.cosh(x / 2)
        )
    return wfr.Grid.covering(*distributions, shape=n)


# The rates


@pytest.mark.parametrize("flux", FLUXES)
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_rates_are_in_detailed_balance(flux, boundary):
    grid = wfr.Grid([0, -1], [2 * np.pi, 1], (20, 9), boundary=[boundary, "no-flux"], grading=[None, lambda y: 2 + y])
    log_pi = 3 * np.random.default_rng(1).standard_normal(grid.shape)
    for axis in range(2):
        down, up = jump_rates(grid, log_pi, axis, flux)
        weight = np.exp(log_pi) * np.asarray(grid.cell_volume)
        flow_up, flow_down = weight * up, np.roll(weight * down, -1, axis=axis)
        assert np.abs(flow_up - flow_down).max() < 1e-14 * flow_up.max()
        if not grid.axes[axis].periodic:
            assert np.all(np.take(down, 0, axis) == 0)
            assert np.all(np.take(up, -1, axis) == 0)


def test_scharfetter_gummel_is_exact_for_a_constant_force():
    """With V = x the flux between cells is that of the exact solution of F' = 0."""
    rise = np.array([-800.0, -30.0, -1e-9, 0.0, 1e-9, 0.5, 30.0, 800.0])
    with mpmath.workdps(50):
        expected = [float(z / mpmath.expm1(z)) if z else 1.0 for z in map(mpmath.mpf, rise.tolist())]
    assert FLUXES["scharfetter-gummel"](rise) == pytest.approx(expected, rel=4e-16, abs=1e-320)


def test_rates_that_overflow():
    grid = wfr.Grid(-1, 1, 20)
    steep = np.where(grid.points()[:, 0] > 0, -3000.0, 0.0)
    with pytest.raises(ValueError, match=r"square-root flux overflow: V jumps by 3000 nats .* near 0.*scharfetter"):
        jump_rates(grid, steep, 0, "square-root")
    jump_rates(grid, steep, 0, "scharfetter-gummel")
    energy = wfr.KL(wfr.Gaussian(0, 1), checked=False)
    with pytest.raises(ValueError, match=r"rate\*dt=1e\+300 times the largest jump rate along x, .* overflows"):
        wfr.FiniteVolume(1e300).make_step(energy, grid.density(wfr.Gaussian(0, 0.02)), 1.0)


def test_zero_pi_in_a_cell_is_refused():
    grid = wfr.Grid(-1, 1, 20)
    target = wfr.Potential(lambda x: np.where(x > 0.5, np.inf, x**2), support=(-1, 0.5))
    with pytest.raises(ValueError, match=r"log-density -inf at .*every cell needs a positive"):
        wfr.solve(target, wfr.FiniteVolume(), grid.density(wfr.Gaussian(0, 0.02)), [0, 1], 1)


def test_wrong_arguments():
    with pytest.raises(ValueError, match="flux must be one of 'scharfetter-gummel', 'square-root', got 'upwind'"):
        wfr.FiniteVolume(1.0, flux="upwind")
    with pytest.raises(ValueError, match="tolerance must be between"):
        wfr.FiniteVolume(1.0, tolerance=1e-16)


def test_cells_too_wide_for_the_start():
    grid = wfr.Grid(-5, 5, 20)
    with pytest.raises(ValueError, match="cells are too wide for the start"):
        wfr.solve(TARGET, wfr.FiniteVolume(), grid.density(wfr.Gaussian(0, 0.01)), [0, 1], 1)


# One axis: the exponential of the chain


@pytest.mark.parametrize("flux", FLUXES)
@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("dt", [1e-3, 0.1, 1.0, 30.0])
def test_equals_the_dense_exponential(boundary, flux, dt):
    grid = wfr.Grid(0, 2 * np.pi, 40, boundary=boundary)
    energy = wfr.KL(WAVY, checked=False)
    log_pi = energy.log_equilibrium(grid)
    rng = np.random.default_rng(0)
    state = wfr.Density(grid, log_pi + 3 * rng.standard_normal(40)).normalised()
    result = step(wfr.FiniteVolume(1.0, flux), energy, state, dt)
    expected = expm(dt * generator(grid, log_pi, flux)) @ np.exp(state.log_values - log_pi)
    # scaling and squaring loses digits as dt grows
    assert np.exp(result.log_values - log_pi) == pytest.approx(expected, rel=1e-12)
    assert abs(result.mass - 1) < 1e-13


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("nats", [20, 900, 3000])
@pytest.mark.parametrize("jobs_per_cell", [0.5, 60.0])
def test_every_cell_is_right_relative_to_itself(boundary, nats, jobs_per_cell):
    """Sums of positive numbers in arbitrary exponent range; beyond 1050 nats every cell has a scale of its own."""
    n = 48
    grid = wfr.Grid(0, 2 * np.pi, n, boundary=boundary)
    energy = wfr.KL(WAVY, checked=False)
    log_pi = energy.log_equilibrium(grid)
    log_f = nats * np.cos(grid.axes[0].centres / 2 if boundary == "no-flux" else grid.axes[0].centres) / 2
    matrix = generator(grid, log_pi)
    rate = float(-matrix.diagonal().min())
    dt = jobs_per_cell / rate
    state = wfr.Density(grid, log_pi + log_f).normalised()
    result = step(wfr.FiniteVolume(), energy, state, dt)
    with mpmath.workdps(30):
        stochastic = [(j, mpmath.mpf(v)) for j, v in enumerate((np.eye(n) + matrix / rate).ravel()) if v]
        term = [mpmath.exp(mpmath.mpf(value)) for value in (state.log_values - log_pi).tolist()]
        total, k = list(term), 0
        while k < jobs_per_cell or any(t > 1e-20 * s for t, s in zip(term, total, strict=True)):
            k += 1
            new = [mpmath.mpf(0)] * n
            for j, value in stochastic:
                new[j // n] += value * term[j % n]
            term = [value * jobs_per_cell / k for value in new]
            total = [a + b for a, b in zip(total, term, strict=True)]
        expected = np.array([float(mpmath.log(value)) - jobs_per_cell for value in total])
    assert np.abs(result.log_values - log_pi - expected).max() < 1e-11 * max(1.0, nats / 1000)


def test_any_range_and_any_jump_gives_finite_values():
    grid = wfr.Grid(-30, 30, 300)
    energy = wfr.KL(wfr.Gaussian(0, 1), checked=False)
    log_pi = energy.log_equilibrium(grid)
    rng = np.random.default_rng(3)
    rough = wfr.Density(grid, log_pi + 2000 * rng.standard_normal(300)).normalised()
    for dt in (1e-5, 0.1, 50.0):
        result = step(wfr.FiniteVolume(), energy, rough, dt)
        assert result.is_finite()
        assert abs(result.mass - 1) < 1e-12
        assert np.ptp(result.log_values - log_pi) <= np.ptp(rough.log_values - log_pi)


@pytest.mark.parametrize("jumps", [1e-200, 1e-3, 1.0])
@pytest.mark.parametrize("slope", [80.0, 1e5])
def test_far_cells_of_a_short_step_take_their_values_from_afar(slope, jumps):
    """A rise of many nats from cell to cell: jumps from the far end dominate, ever so rare."""
    n = 60 if jumps < 1e-100 else 1200
    rate = np.ones((n, 1))
    rate[-1] = 0.0
    values = -slope * np.arange(n)[:, None] if slope < 1e3 else np.where(np.arange(n)[:, None] > 0, -slope, 0.0)
    start = values[:, 0].copy()
    rates = np.roll(rate, 1, axis=0), rate
    with np.errstate(divide="ignore"):
        log_rates = [np.log(towards) for towards in rates]
    good = line_sweeps.advance(values, *rates, *log_rates, True, False, jumps, 1e-12, line_sweeps.resolvents(), 0, 1, 1)
    k = np.arange(n)
    arrived = k * math.log(jumps) - np.array([math.lgamma(j + 1) for j in k])  # from the first cell by k jumps
    assert good
    lower = np.maximum(arrived - 2 * jumps, start - 2 * jumps)
    assert (values[:, 0] >= lower - 1e-10).all()
    assert (values[:, 0] <= lower + 3 * jumps + 1 + math.log(n)).all()


@pytest.mark.parametrize("time", [1.0, 1e4, 1e9])
def test_a_barrier_beyond_the_exponent_range_is_no_obstacle_to_long_steps(time):
    """Wells 800 nats deep: f differs by more than one exponent range for ever. Mass, pi and speed stay."""
    grid = wfr.Grid(-11, 11, 400)
    x = grid.axes[0].centres
    energy = wfr.KL(wfr.Potential("-logaddexp(-8*(x-10)**2, -8*(x+10)**2)"), checked=False)
    log_pi = energy.log_equilibrium(grid)
    state = wfr.Density(grid, -8 * (x + 10) ** 2).normalised()
    assert np.ptp(state.log_values - log_pi) > 2 * line_sweeps.RANGE
    result = step(wfr.FiniteVolume(), energy, state, time)
    assert abs(result.mass - 1) < 1e-12
    ratio = result.log_values - log_pi
    assert ratio[x < -9] == pytest.approx(math.log(2), abs=1e-11)
    assert ratio[x > 9].max() < -700  # the barrier
    if time > 1:
        assert np.ptp(ratio[x > 9]) < 1e-2
        once_more = step(wfr.FiniteVolume(), energy, result, time)
        later = (once_more.log_values - log_pi)[x > 9] - ratio[x > 9]
        assert later == pytest.approx(math.log(2), abs=1e-2)  # grows in proportion to time


def test_a_long_step_from_165_000_nats_away_ends_at_pi():
    target, start = wfr.Gaussian(10, 0.0025), wfr.Gaussian(-10, 0.0025)
    state = wfr.Grid.covering(target, start, shape=1000).density(start)
    energy = wfr.KL(target)
    result = step(wfr.FiniteVolume(), energy, state, 1e4)
    assert np.abs(result.log_values - energy.log_equilibrium(state.grid)).max() < 5e-11  # rounding of 165,000 nats


@pytest.mark.parametrize("time", [1e4, 1e12])
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_rough_states_of_any_range_come_to_rest(boundary, time):
    grid = wfr.Grid(0, 2 * np.pi, 17, boundary=boundary)
    rng = np.random.default_rng(1)
    log_pi = rng.standard_normal(17)
    log_pi -= float(grid.log_integrate(log_pi))
    state = wfr.Density(grid, log_pi + 5000 * rng.standard_normal(17)).normalised()
    energy = wfr.KL(wfr.Potential("0*x", support=(0, 2 * np.pi)), checked=False)
    result = step(wfr.FiniteVolume(), energy, state, time)
    assert abs(result.mass - 1) < 1e-12


def test_a_step_that_needs_too_many_parts_is_refused(monkeypatch):
    monkeypatch.setattr(line_sweeps, "advance_logarithms", lambda *arguments: line_sweeps.NO_END)
    grid = wfr.Grid(-5, 5, 40)
    with pytest.raises(wfr.NumericalError, match="along x needs too many parts, .* use a smaller dt"):
        step(wfr.FiniteVolume(), wfr.KL(TARGET), grid.density(TARGET), 1.0)


def test_a_step_in_which_resolvents_keep_failing():
    """V spans 100,000 nats in a box for a barrier of 18: one step of 1e5 jumps against ten of 1e4."""
    target = wfr.CoshDoubleWell(gap=1.12e-8)
    start = wfr.Gaussian(target.wells[0], 0.25)
    grid = wfr.Grid(-16.06, 13, 200)
    state, energy = grid.density(start), wfr.KL(target)
    once = step(wfr.FiniteVolume(), energy, state, 0.1)
    result = state
    for _ in range(10):
        result = step(wfr.FiniteVolume(), energy, result, 0.01)
    assert np.abs(result.log_values - once.log_values).max() < 1e-9


@pytest.mark.parametrize("stiffness", [1e2, 1e4, 1e6])
def test_stiff_steps_equal_many_small_ones(stiffness):
    """Steps of 1e2 to 1e6 jumps per cell: resolvents against the stochastic matrix's powers."""
    grid = wfr.Grid(-2.6, 2.6, 200)
    energy = wfr.KL(wfr.DoubleWell(height=4.0), checked=False)
    state = grid.density(wfr.Gaussian(-1, 0.04))
    rate = 2 / grid.axes[0].dx ** 2
    dt = stiffness / rate
    result = step(wfr.FiniteVolume(), energy, state, dt)
    log_pi = energy.log_equilibrium(grid)
    ratio = state.log_values - log_pi
    f = np.exp(ratio - ratio.max() + line_sweeps.TOP)
    down, up = jump_rates(grid, log_pi, 0, "scharfetter-gummel")
    largest = 1.1 * (down + up).max()
    n = math.ceil(largest * dt / line_sweeps.SERIES)
    if n > 3000:  # 1e6: too many powers for a test; the same by steps that differ
        other = state
        for part in (0.1, 0.3, 0.6):
            other = step(wfr.FiniteVolume(), energy, other, part * dt)
        expected = other.log_values
    else:
        term, spare, rates = np.empty(202), np.empty(202), (down, up)
        block = line_sweeps.Block(rates, rates, np.empty((6, 0)), wide=False, lines=1, periodic=False)
        for _ in range(n):
            line_sweeps.uniformise(f, term, spare, block, largest * dt / n, largest)
        expected = np.log(f) + ratio.max() - line_sweeps.TOP + log_pi
    assert np.abs(result.log_values - expected).max() < 1e-11


def test_tolerance_is_met():
    grid = grids(400)
    energy, state = wfr.KL(TARGET), grid.density(FAR)
    sharp = step(wfr.FiniteVolume(tolerance=1e-13), energy, state, 10.0).log_values
    for tolerance in (1e-4, 1e-6, 1e-9, 1e-12):
        rough = step(wfr.FiniteVolume(tolerance=tolerance), energy, state, 10.0).log_values
        assert np.abs(rough - sharp).max() < 10 * tolerance  # a dozen accepted parts


def test_rational_function_has_the_order_of_the_radau_methods():
    re, im, wr, wi = line_sweeps.resolvents(4)
    z = np.array([0.2, 0.1])
    value = 1 + sum((complex(c, d) * z / (complex(a, b) - z)).real for a, b, c, d in zip(re, im, wr, wi, strict=True))
    errors = np.abs(value - np.exp(z))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(8, abs=0.3)  # order 2k - 1 = 7


# What it must show


@pytest.mark.parametrize("kind", ["uniform", "graded"])
@pytest.mark.parametrize("beta", [0.0, 1.0])
def test_order_in_dx_on_far_gaussians(kind, beta):
    """From e^-200 away: order 2, and 4 extrapolated; the W part alone has no error in dt."""
    flow = wfr.FiniteVolume()
    dt = 0.125
    if beta:
        flow, dt = wfr.Extrapolated(wfr.Strang(wfr.FisherRao(beta), flow), 8), 1 / 32
    errors = {}
    for name, scheme in (("plain", flow), ("extrapolated", wfr.Extrapolated(flow, 4, "dx"))):
        errors[name] = []
        for n in (400, 800):
            grid = grids(n, kind)
            result = last(TARGET, scheme, grid.density(FAR), [0, 1], dt)
            errors[name].append(wfr.metrics.l1(exact(grid, TARGET, FAR, 1.0, 1.0, beta), result))
    plain, high = (math.log2(errors[name][0] / errors[name][1]) for name in errors)
    assert plain == pytest.approx(2, abs=0.1)
    assert high == pytest.approx(4, abs=0.25)
    assert errors["extrapolated"][1] < 5e-5


def test_tails_are_right_to_the_discretisation_error_down_to_600_nats():
    """log mu of the W flow against the closed form where mu is e^-600 of its maximum: order 2 in dx, no floor."""
    target, start = wfr.Gaussian(0, 1), wfr.Gaussian(-10, 0.25)
    errors = []
    for n in (3000, 6000):
        grid = wfr.Grid(-22, 26, n)
        state = grid.density(start)
        result = last(target, wfr.FiniteVolume(), state, [0, 0.5], 0.5)
        expected = exact(grid, target, start, 0.5).log_values
        x = grid.axes[0].centres
        seen = (expected > expected.max() - 600) & (x > -20) & (x < 24)  # walls bend the last cells
        assert expected[seen].min() < expected.max() - 590
        errors.append(np.abs(result.log_values - expected)[seen].max())
    assert errors[1] < 1.5  # of 600 nats, at dx |grad log mu| = 0.3 to 0.6
    assert math.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.25)


def test_one_step_of_ten_is_as_accurate_as_a_hundred():
    grid = grids(400)
    state = grid.density(FAR)
    one = last(TARGET, wfr.FiniteVolume(), state, [0, 10], 10.0)
    many = last(TARGET, wfr.FiniteVolume(), state, [0, 10], 0.1)
    assert np.abs(one.log_values - many.log_values).max() < 2e-11
    truth = exact(grid, TARGET, FAR, 10.0)
    assert wfr.metrics.l1(truth, one) == pytest.approx(wfr.metrics.l1(truth, many), rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("flux", FLUXES)
def test_pi_stays_to_the_last_bit_and_mass_to_rounding(flux):
    grid = wfr.Grid([-4, -3], [4, 3], (120, 50), grading=[lambda x: 1 / (2 + x**2), None])
    energy = wfr.KL(wfr.Potential("2*(x**2-1)**2 + 2*y**2 + x*y/2"))
    pi = wfr.Density(grid, energy.log_equilibrium(grid))
    start = grid.density(wfr.Gaussian([-1, 0], 0.2))
    for dt in (1e-3, 0.1, 10.0, 1e4):
        prepared = wfr.FiniteVolume(1.0, flux).make_step(energy, pi, dt)
        assert np.abs(prepared(pi, 0.0).log_values - pi.log_values).max() < 1e-14
        assert abs(prepared(start, 0.0).mass - 1) < 1e-12


def test_agrees_with_the_closed_form_in_three_dimensions():
    target = wfr.Gaussian([0, 0, 0], [[1, 0.4, 0], [0.4, 1, 0.2], [0, 0.2, 1]])
    start = wfr.Gaussian([-1.5, 0.5, 0], 0.5)
    flow = wfr.Extrapolated(wfr.Extrapolated(wfr.Strang(wfr.FisherRao(), wfr.FiniteVolume()), 4), 4, "dx")
    errors = []
    for n in (32, 48):
        grid = wfr.Grid.covering(target, start, shape=n, tail=1e-7)
        result = last(target, flow, grid.density(start), [0, 0.5], 0.125)
        errors.append(wfr.metrics.l1(exact(grid, target, start, 0.5, 1.0, 1.0), result))
    assert errors[1] < 0.03
    assert math.log(errors[0] / errors[1]) / math.log(1.5) > 3.5


def test_extrapolation_in_dx_and_dt_commute_and_reach_the_closed_form_in_two_dimensions():
    target, start = wfr.Gaussian([0, 0], [[1, 0.6], [0.6, 1]]), wfr.Gaussian([-2, 1], [[0.3, 0], [0, 0.5]])
    grid = wfr.Grid.covering(target, start, shape=128)
    flow = wfr.Extrapolated(wfr.Extrapolated(wfr.FiniteVolume(), 8), 4, "dx")
    result = last(target, flow, grid.density(start), [0, 0.5], 0.0625)
    assert wfr.metrics.l1(exact(grid, target, start, 0.5), result) < 2e-4  # O(dx^4); plain: 4e-3


def test_extrapolation_in_dx_is_for_flows_of_order_two():
    with pytest.raises(ValueError, match="order in dx is inf, not 2"):
        wfr.Extrapolated(wfr.SinkhornKernel(), 4, "dx")
    with pytest.raises(ValueError, match="in dx has order 4, got order=6"):
        wfr.Extrapolated(wfr.FiniteVolume(), 6, "dx")
    with pytest.raises(ValueError, match="variable must be one of"):
        wfr.Extrapolated(wfr.FiniteVolume(), 4, "x")
    grid = wfr.Grid(-6, 6, 65)
    with pytest.raises(ValueError, match="axis x has 65 cells: an even number"):
        wfr.solve(TARGET, wfr.Extrapolated(wfr.FiniteVolume(), 4, "dx"), grid.density(wfr.Gaussian(-1, 0.5)), [0, 1], 1)


def test_the_number_of_threads_changes_no_bit(monkeypatch):
    grid = wfr.Grid([-6, -6], [6, 6], 192)
    energy, state = wfr.KL(wfr.Gaussian([0, 0], 1.0)), grid.density(wfr.Gaussian([-1, 0], 0.3))
    results = []
    for cpus in (1, 3):
        monkeypatch.setattr("os.cpu_count", lambda cpus=cpus: cpus)
        results.append(step(wfr.FiniteVolume(), energy, state, 0.3).log_values)
    assert np.array_equal(*results)


@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_scales_of_one_to_a_thousand_on_a_graded_grid(scale):
    """pi = N(0, 50²), mu0 = ½ pi + ½ N(0, 0.05²): KL of the W flow, which moves a mixture to a mixture."""
    target = wfr.Gaussian(0, (50 * scale) ** 2)
    narrow = (0.05 * scale) ** 2
    start = wfr.GaussianMixture([0, 0], [0.5, 0.5], [(50 * scale) ** 2, narrow])
    grid = wfr.Grid.covering(target, start, shape=800, graded=True)
    t = np.array([0, 1e-3, 0.1, 10]) * scale**2
    flow = wfr.Extrapolated(wfr.FiniteVolume(), 4, "dx")
    ds = wfr.solve(target, flow, grid.density(start), t, t[-1], record=[wfr.KL(target)])
    for k, time in enumerate(t):
        decay = math.exp(-2 * time / (50 * scale) ** 2)
        variance = decay * narrow + (1 - decay) * (50 * scale) ** 2
        mixture = wfr.GaussianMixture([0, 0], [0.5, 0.5], [(50 * scale) ** 2, variance])
        exact_grid = wfr.Grid.covering(target, mixture, shape=1600, graded=True)
        assert float(ds.kl[k]) == pytest.approx(wfr.KL(target).value(exact_grid.density(mixture)), abs=2e-6)


def test_a_narrow_start_165_000_nats_away():
    """N(-10, 0.05²) to N(10, 0.05²): every cell has a scale of its own.

    V rises by a hundred nats from cell to cell, where the flux is that of upwinding: the mean is right to order 1.
    """
    target, start = wfr.Gaussian(10, 0.0025), wfr.Gaussian(-10, 0.0025)
    expected = wfr.exact.gaussian_flow(target, start, 1e-3, 1.0, 0.0).mean[0]
    errors = []
    for n in (1000, 2000):
        state = wfr.Grid.covering(target, start, shape=n).density(start)
        means = []
        for dt in (1e-3, 1e-4):
            result = last(target, wfr.FiniteVolume(), state, [0, 1e-3], dt)
            assert abs(result.mass - 1) < 1e-10
            means.append(result.mean()[0])
        assert means[0] == pytest.approx(means[1], abs=1e-9)
        errors.append(abs(means[0] - expected))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(1, abs=0.05)
    assert errors[1] < 2e-3  # of a way of 6.6, on cells of 0.01


def test_mass_is_kept_where_rates_underflow():
    """V jumps by up to 3000 nats from cell to cell: what falls from such a cliff arrives."""
    target = wfr.Potential("x**2/2+(y-x**2)**2/(2*0.05**2)")
    grid = wfr.Grid([-4, -4], [4, 16], (60, 150), max_cut=1.0)
    energy, state = wfr.KL(target, checked=False), grid.density(wfr.Gaussian([-2, 12], 0.1))
    log_pi = energy.log_equilibrium(grid)
    assert np.abs(np.diff(log_pi, axis=0)).max() > 2000
    for dt in (1e-6, 1e-4, 0.01):
        result = step(wfr.FiniteVolume(), energy, state, dt)
        assert result.is_finite()
        assert abs(result.mass - 1) < 1e-10  # rounding of logarithms of tens of thousands
    pi = wfr.Density(grid, log_pi)
    assert np.abs(step(wfr.FiniteVolume(), energy, pi, 0.01).log_values - log_pi).max() < 1e-10


def test_logarithms_of_the_rates():
    grid = wfr.Grid([0, -1], [2 * np.pi, 1], (20, 9), boundary=["periodic", "no-flux"], grading=[None, lambda y: 2 + y])
    log_pi = 30 * np.random.default_rng(1).standard_normal(grid.shape)
    for flux in FLUXES:
        for axis in range(2):
            for rate, log_rate in zip(
                jump_rates(grid, log_pi, axis, flux), log_jump_rates(grid, log_pi, axis, flux), strict=True
            ):
                assert np.exp(log_rate) == pytest.approx(rate, rel=1e-13)
