"""SinkhornKernel: a reversible Markov step with equilibrium pi, right to rounding in every cell."""

import dataclasses

import numpy as np
import pytest

import wfr_pde as wfr
from wfr_pde.flows.transport.sinkhorn import scaling
from wfr_pde.flows.transport.sinkhorn.scaling import sinkhorn_scaling
from wfr_pde.numerics.backends import get_backend
from wfr_pde.space.axis import Axis
from wfr_pde.space.heat.product import HeatKernel
from wfr_pde.space.transfer import local_weights

CASES = {
    "gaussian": (wfr.Gaussian(0.3, 1.0), wfr.Grid(-9, 9, 120)),
    "double well": (wfr.DoubleWell(2.0), wfr.Grid(-2.7, 2.7, 100)),
    "steep double well": (wfr.DoubleWell(20.0), wfr.Grid(-3, 3, 128)),  # 1,280 nats
    "periodic": (wfr.Potential(lambda x: 2 * np.cos(x * np.pi / 3.1)), wfr.Grid(0, 6.2, 60, boundary="periodic")),
    "correlated 2D": (wfr.Gaussian([0, 1], [[1, 0.6], [0.6, 0.7]]), wfr.Grid([-7, -6], [7, 7], (60, 72))),
    "mixture 2D": (wfr.GaussianMixture([[-2, 0], [2, 0]], [0.3, 0.7], 0.25), wfr.Grid([-6, -4.2], [6, 4.2], (64, 48))),
    "mixed boundaries": (
        wfr.Potential(lambda x, y: np.cos(x) * (1 + y**2) + y**2 * 4),
        wfr.Grid([0, -3.2], [2 * np.pi, 3.2], (40, 48), boundary=("periodic", "no-flux")),
    ),
    "3D": (wfr.Gaussian([0, 0, 0], [0.5, 1.0, 0.7]), wfr.Grid([-5, -7, -6], [5, 7, 6], (24, 24, 26))),
    "wall": (wfr.Gaussian(0, 1), wfr.Grid(0, 8, 100, max_cut=1)),
}  # fmt: skip


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def case(request):
    return request.param


def transport(target, grid, factor=1.0):
    """A step of `factor` times the smallest allowed dt."""
    energy = wfr.KL(target)
    flow = wfr.SinkhornKernel(2.0)
    template = wfr.Density(grid, energy.log_equilibrium(grid))
    dt = flow.dt_bounds(energy, template)[0] * factor
    return flow.make_step(energy, template, dt), template, energy


@pytest.mark.parametrize("factor", [1.0, 7.0, 1e3, 1e7])
def test_equilibrium_stays_and_mass_is_kept(case, factor):
    step, pi, _ = transport(*case, factor)
    assert np.abs(step(pi, 0.0).log_values - pi.log_values).max() < 1e-12 * (1 + 1e-3 * np.ptp(pi.log_values))
    rng = np.random.default_rng(3)
    rough = wfr.Density(pi.grid, pi.log_values + 5 * rng.standard_normal(pi.grid.shape)).normalised()
    assert abs(step(rough, 0.0).mass - 1) < 1e-12


def test_ten_thousand_steps_keep_mass_and_equilibrium():
    step, pi, _ = transport(*CASES["double well"])
    state = pi
    for _ in range(10_000):
        state = step(state, 0.0)
    # what is constant of the residual is taken off: without that it is 1e-15 per step, and adds up
    assert abs(state.mass - 1) < 1e-12
    assert np.abs(state.log_values - pi.log_values).max() < 1e-12


def test_a_thousand_steps_with_the_scaling_of_two_grids_keep_mass_and_equilibrium():
    target = wfr.GaussianMixture([[-1.5, 0], [1.5, 0]], [0.3, 0.7], 0.6)
    step, pi, _ = transport(target, wfr.Grid([-6, -6], [6, 6], (128, 120)), 10.0)
    state = pi
    for _ in range(1000):
        state = step(state, 0.0)
    assert abs(state.mass - 1) < 1e-12
    assert np.abs(state.log_values - pi.log_values).max() < 1e-12


def test_every_divergence_falls_and_oscillation_cannot_grow(case):
    step, pi, energy = transport(*case)
    rng = np.random.default_rng(4)
    state = wfr.Density(pi.grid, pi.log_values + 3 * rng.standard_normal(pi.grid.shape)).normalised()
    moved = step(state, 0.0)
    g, h = (np.asarray(energy.first_variation(s)) for s in (state, moved))
    assert h.max() <= g.max() + 1e-12
    assert h.min() >= g.min() - 1e-12
    assert energy.value(moved) < energy.value(state)
    for f in (lambda r: (r - 1) ** 2, lambda r: -np.log(r), lambda r: np.abs(r - 1), lambda r: -np.sqrt(r)):
        before, after = (float(pi.grid.integrate(np.exp(pi.log_values) * f(np.exp(q)))) for q in (g, h))
        assert after <= before + 1e-13


FUSED = [
    (wfr.DoubleWell(2.0), wfr.Gaussian(-1, 0.3), wfr.Grid(-4, 4, 200), 0.05),  # passes of the array API
    (wfr.DoubleWell(2.0), wfr.Gaussian(-1, 0.3), wfr.Grid(-4, 4, 5000), 0.01),  # compiled ones, here and below
    (wfr.FourModes(), wfr.Gaussian([0, 8], 1), wfr.Grid([-10, -10], [10, 18], (260, 364)), 0.02),
    (wfr.Gaussian([0, 0], 1), wfr.Gaussian([20, 0], 0.5), wfr.Grid([-10, -10], [30, 10], (150, 80)), 0.1),  # 980 nats
    (
        wfr.DoubleWell(2.0), wfr.Gaussian(-1, 0.3),
        wfr.Grid(-4, 4, 5000, grading=lambda x: 1 / (1 + x**2)), 0.02,
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", FUSED, ids=lambda case: repr(case[2]))
def test_reactions_beside_the_transport_are_those_on_their_own(case):
    target, start, grid, dt = case
    energy, state = wfr.KL(target), grid.density(start)
    reaction, transport = wfr.FisherRao(1.5), wfr.SinkhornKernel(0.8)
    half, full, moved = (
        flow.make_step(energy, state, h) for flow, h in ((reaction, dt / 2), (reaction, dt), (transport, dt))
    )
    for flow, parts in (
        (wfr.Strang(reaction, transport), (half, moved, half)),
        (wfr.Lie(reaction, transport), (full, moved)),
        (wfr.Lie(transport, reaction), (moved, full)),
        (transport, (moved,)),
    ):
        found, expected = state, state
        step = flow.make_step(energy, state, dt)
        for _ in range(3):
            found = step(found, 0.0)
            for part in parts:
                expected = part(expected, 0.0)
        reach = float(np.ptp(np.asarray(energy.first_variation(state)))) + float(np.ptp(state.log_values))
        assert abs(found.mass - 1) < 1e-13
        assert np.abs(found.log_values - expected.log_values).max() < 4 * np.finfo(float).eps * (50 + reach)
        watched = []
        together = flow.make_steps(energy, state, dt)(state, 0.0, 3, callback=lambda seen=watched: seen.append(0))
        assert len(watched) == 3
        assert abs(together.mass - 1) < 1e-13
        assert np.abs(together.log_values - expected.log_values).max() < 4 * np.finfo(float).eps * (50 + reach)


def test_the_step_is_reversible():
    target, grid = CASES["double well"]
    step, pi, _ = transport(target, grid, 3.0)
    n = grid.shape[0]
    kernel = np.empty((n, n))  # log of the transition density from cell j to cell i
    for j in range(n):
        point = np.full(n, -1500.0)  # a point mass, as far as e^-1500 can tell
        point[j] = 0.0
        kernel[:, j] = step(wfr.Density(grid, point), 0.0).log_values
    flux = kernel + pi.log_values[None, :]
    near = kernel > -1000.0
    assert np.abs(flux - flux.T)[near & near.T].max() < 1e-11


def test_scaling_solves_its_equation_and_has_no_history():
    grid = wfr.Grid(-6, 6, 256)
    log_s = 0.5 * wfr.KL(wfr.DoubleWell(20.0)).log_equilibrium(grid)  # down to e^-12,000
    kernel = grid.heat_kernel(0.004)
    log_d = sinkhorn_scaling(kernel, 2 * log_s)
    residual = log_d + kernel.log_product(log_d + log_s) - log_s
    assert np.abs(residual).max() < 4 * np.finfo(float).eps * np.abs(log_s).max()
    assert np.array_equal(log_d, sinkhorn_scaling(kernel, 2 * log_s))


@pytest.mark.parametrize(("factor", "ok"), [(0.99, False), (1.0, True)])
def test_unresolved_kernel_is_refused_with_both_remedies(factor, ok):
    grid = wfr.Grid(-6, 6, 100)
    target, start = wfr.Gaussian(0, 1), grid.density(wfr.Gaussian(-1, 0.5))
    flow = wfr.Extrapolated(wfr.Strang(wfr.SinkhornKernel(2.0), wfr.FisherRao(1.0)), order=8)
    dt = 8 * 0.75 * 0.12**2 / 2  # outer half of a quarter
    assert flow.dt_bounds(wfr.KL(target), start)[0] == pytest.approx(dt)
    if ok:
        wfr.solve(target, flow, start, [0, dt], dt)
        return
    with pytest.raises(ValueError, match=r"too small .*resolved from 0.0432 on.* or a finer grid") as error:
        wfr.solve(target, flow, start, [0, dt * factor], dt * factor)
    n = int(str(error.value).split("shape=(")[1].split(",")[0])  # the remedy that it names works
    finer = wfr.Grid(-6, 6, n)
    wfr.solve(target, flow, finer.density(wfr.Gaussian(-1, 0.5)), [0, dt * factor], dt * factor)


def test_rate_zero_stays():
    grid = wfr.Grid(-6, 6, 100)
    start = grid.density(wfr.Gaussian(-1, 0.5))
    ds = wfr.solve(wfr.Gaussian(0, 1), wfr.SinkhornKernel(0.0), start, [0, 1e-9], 1e-9)
    assert np.array_equal(ds.log_density[1], start.log_values)


def gaussian_sinkhorn_step(precision, mean, covariance, time):
    """The law of one step on a Gaussian: e^(-asinh(time A)) in place of e^(-time A)."""
    eigenvalues, vectors = np.linalg.eigh(precision)
    m = (vectors * np.exp(-np.arcsinh(time * eigenvalues))) @ vectors.T
    return m @ mean, np.linalg.inv(precision) + m @ (covariance - np.linalg.inv(precision)) @ m


@pytest.mark.parametrize(("time", "half_width"), [(0.02, 8), (0.3, 12), (5.0, 30)])
def test_law_on_gaussians_with_covariances_that_do_not_commute(time, half_width):
    """On the whole plane: the walls are several sqrt(2 time) away from the mass."""
    precision = np.array([[1.0, 0.4], [0.4, 2.0]])
    target = wfr.Gaussian([0, 0], np.linalg.inv(precision))
    mean, covariance = np.array([-2.0, 1.0]), np.array([[0.5, -0.2], [-0.2, 0.3]])
    grid = wfr.Grid([-half_width] * 2, [half_width] * 2, (210, 200))
    ds = wfr.solve(target, wfr.SinkhornKernel(), grid.density(wfr.Gaussian(mean, covariance)), [0, time], time)
    moved = grid.density(wfr.Gaussian(*gaussian_sinkhorn_step(precision, mean, covariance, time)))
    error = np.abs(np.exp(ds.log_density.values[-1]) - moved.values).sum() * grid.cell_volume
    assert error < 1e-12


@pytest.mark.parametrize(
    ("mean", "covariance", "half_width", "n", "time"),
    [
        ([-10.0], [[0.00714]], 14, 1000, 2e-3),  # 17,900 nats on the grid, the target's mode at e^-7000
        ([-5.0, 3.0], [[0.01, 0.002], [0.002, 0.02]], 8, 320, 2.4e-3),  # 30,000 nats
    ],
)
def test_a_start_thousands_of_nats_away_is_right_in_every_cell_by_blocks(mean, covariance, half_width, n, time):
    """Strang steps against their closed form, log-density against log-density, far from the walls."""
    mean, covariance = np.array(mean), np.array(covariance)
    d = len(mean)
    precision = np.eye(d) + 0.3 * (1 - np.eye(d))
    grid = wfr.Grid([-half_width] * d, [half_width] * d, n)
    start = grid.density(wfr.Gaussian(mean, covariance))
    assert np.ptp(start.log_values) > 7000
    flow = wfr.Strang(wfr.FisherRao(), wfr.SinkhornKernel())
    ds = wfr.solve(wfr.Gaussian(np.zeros(d), np.linalg.inv(precision)), flow, start, [0, 3 * time], time)
    half = np.exp(-time / 2)
    for _ in range(3):
        for part in ("reaction", "transport", "reaction"):
            if part == "transport":
                mean, covariance = gaussian_sinkhorn_step(precision, mean, covariance, time)
            else:
                inverse = half * np.linalg.inv(covariance) + (1 - half) * precision
                mean, covariance = (
                    np.linalg.solve(inverse, half * np.linalg.solve(covariance, mean)),
                    np.linalg.inv(inverse),
                )
    exact = grid.log_density(wfr.Gaussian(mean, covariance))
    away = (slice(n // 8, -n // 8),) * d
    # relative error of the density in cells down to e^-10,000; rounding of the logarithms gives 1e-11
    assert np.abs(ds.log_density.values[-1] - exact)[away].max() < 1e-9
    assert np.abs(np.exp(ds.log_density.values[-1]) - np.exp(exact)).sum() * grid.cell_volume < 1e-9


def test_under_a_moving_energy_the_heat_kernel_is_made_once(monkeypatch):
    made, make = [], HeatKernel.__init__

    def counted(kernel, grid, time):
        made.append(time)
        make(kernel, grid, time)

    monkeypatch.setattr(HeatKernel, "__init__", counted)
    path = wfr.GeometricPath(wfr.Gaussian(-1, 0.5), wfr.Gaussian(1, 0.7))
    state = wfr.Grid(-7, 7, 90).density(wfr.Gaussian(-1, 0.5))
    step = wfr.Strang(wfr.FisherRao(), wfr.SinkhornKernel()).make_step(wfr.KL(path), state, 0.1)
    for k in range(3):
        state = step(state, 0.1 * k)
    assert made == [0.1]


# The scaling on two and more grids

CUT_IN_CHUNKS = dataclasses.replace(get_backend("numpy"), chunk=400)  # small grids have coarser ones, too
CORRELATED = wfr.Gaussian([0, 1], [[1, 0.6], [0.6, 0.7]])
POLAR = wfr.Potential(lambda x, y: np.cos(x) * (1 + y**2) + y**2 * 4)
TWO_GRIDS = {
    "correlated": (CORRELATED, wfr.Grid([-7, -6], [7, 7], (60, 73))),
    "mixture": (wfr.GaussianMixture([[-2, 0], [2, 0]], [0.3, 0.7], 0.25), wfr.Grid([-6, -4], [6, 4], (97, 70))),
    "1,300 nats": (wfr.DoubleWell(20.0, stiffness=(3.0,)), wfr.Grid([-3, -6], [3, 6], (160, 90))),
    "ridges": (wfr.GaussianMixture([[-20, 0], [20, 3]], [0.5, 0.5], 1.0), wfr.Grid([-28, -9], [28, 12], (160, 64))),
    "walls": (CORRELATED, wfr.Grid([0, 0.5], [4, 4], (60, 72), max_cut=1)),
    "mixed boundaries": (
        POLAR,
        wfr.Grid([0, -3.2], [2 * np.pi, 3.2], (60, 71), boundary=("periodic", "no-flux")),
    ),
    "graded": (
        wfr.Gaussian([0, 0], [1, 0.25]),
        wfr.Grid([-9, -6], [9, 6], (130, 70), grading=(lambda x: 1 / np.sqrt(0.25 + 0.04 * x**2), None)),
    ),
    "3D": (wfr.Gaussian([0, 0, 0], [0.5, 1.0, 0.7]), wfr.Grid([-5, -7, -6], [5, 7, 6], (24, 25, 26))),
    "4D": (wfr.Gaussian([0] * 4, [0.8, 1.0, 1.5, 0.9]), wfr.Grid([-4] * 4, [4] * 4, (14, 15, 15, 16), max_cut=1)),
}  # fmt: skip
TWO_GRIDS = {k: (target, dataclasses.replace(grid, backend=CUT_IN_CHUNKS)) for k, (target, grid) in TWO_GRIDS.items()}


@pytest.fixture
def products(monkeypatch):
    """Counts of the products, by grid."""
    counts = {}
    log_product = HeatKernel.log_product

    def counted(kernel, *arguments, **options):
        counts[kernel.grid.shape] = counts.get(kernel.grid.shape, 0) + 1
        return log_product(kernel, *arguments, **options)

    monkeypatch.setattr(HeatKernel, "log_product", counted)
    return counts


def scaled(target, grid, factor):
    """The kernel of `factor` times dx² of the widest cell, log pi, and what rounding leaves of it."""
    log_pi = grid.log_density(target)
    kernel = grid.heat_kernel(factor * max(axis.dx for axis in grid.axes) ** 2)
    return kernel, log_pi, np.finfo(float).eps * (4 + 0.5 * np.abs(log_pi).max())


@pytest.mark.parametrize(("factor", "most"), [(1.01, 15), (3, 12), (20, 8), (1e5, 7)])
@pytest.mark.parametrize("case", TWO_GRIDS.values(), ids=TWO_GRIDS.keys())
def test_few_products_give_the_scaling_of_chebyshev_iteration(case, factor, most, products, monkeypatch):
    kernel, log_pi, rounding = scaled(*case, factor)
    kept = log_pi.copy()
    log_d = sinkhorn_scaling(kernel, log_pi)
    fine, *coarser = [products[shape] * np.prod(shape) / log_pi.size for shape in sorted(products, key=np.prod)[::-1]]
    assert fine <= most
    assert fine + sum(coarser) <= 24  # in products on this grid, by the number of cells
    assert np.array_equal(log_pi, kept)
    assert np.array_equal(log_d, sinkhorn_scaling(kernel, log_pi))  # no history
    residual = log_d + kernel.log_product(log_d + 0.5 * log_pi) - 0.5 * log_pi
    assert np.abs(residual).max() < 4 * rounding
    monkeypatch.setattr(wfr.Grid, "coarser", lambda grid, time: None)
    products.clear()
    alone = sinkhorn_scaling(kernel, log_pi)
    assert set(products) == {log_pi.shape}
    assert products[log_pi.shape] >= 18
    assert np.abs(log_d - alone).max() < 5 * rounding


HARD = {
    "tails of 2,500 nats": (wfr.Gaussian([0, 0], [1, 1]), wfr.Grid([-50, -50], [50, 50], (200, 200)), 0.75),
    "banana": (wfr.Banana(1.0), wfr.Grid([-6, -6], [8, 50], (200, 400)), 1.5),
    "mass behind a wall": (wfr.Gaussian([-30, 0], 1.0), wfr.Grid([0, -6], [6, 6], (400, 100), max_cut=1), 2.0),
    "noise": (
        wfr.Potential(lambda x, y: 2 * np.sin(40 * x + 31 * y * y)),
        wfr.Grid([0, 0], [1, 1], (130, 130), max_cut=1),
        0.8,
    ),
}


@pytest.mark.parametrize(("target", "grid", "factor"), HARD.values(), ids=HARD.keys())
def test_what_the_coarser_grid_cannot_stand_for_is_left_to_chebyshev_iteration(target, grid, factor, products):
    kernel, log_pi, rounding = scaled(target, grid, factor)
    log_d = sinkhorn_scaling(kernel, log_pi)
    assert products[log_pi.shape] <= 60
    residual = log_d + kernel.log_product(log_d + 0.5 * log_pi) - 0.5 * log_pi
    assert np.abs(residual).max() < 4 * rounding


@pytest.mark.parametrize("bad", [np.nan, np.inf, 7.0])
def test_a_useless_start_from_the_coarser_grid_does_no_harm(bad, products, monkeypatch):
    kernel, log_pi, rounding = scaled(*TWO_GRIDS["mixture"], 3.0)
    exact = sinkhorn_scaling(kernel, log_pi)
    nest = scaling._Level.nest

    def badly_nested(level):
        nest(level)
        level.log_d[::3, 1::5] += bad

    monkeypatch.setattr(scaling._Level, "nest", badly_nested)
    products.clear()
    assert np.abs(sinkhorn_scaling(kernel, log_pi) - exact).max() < 5 * rounding
    assert products[log_pi.shape] <= 45


def test_a_residual_that_stays_is_an_error(monkeypatch):
    kernel, log_pi, _ = scaled(*TWO_GRIDS["mixture"], 3.0)
    monkeypatch.setattr(scaling, "MAX_ROUNDS", 3)
    with pytest.raises(wfr.NumericalError, match="check that the target is finite"):
        sinkhorn_scaling(kernel, log_pi)


@pytest.mark.parametrize("boundary", ["no-flux", "periodic"])
@pytest.mark.parametrize("graded", [False, True])
def test_interpolation_of_what_is_even_at_walls_is_of_full_order_there(boundary, graded):
    density = (lambda x: 1.5 + np.cos(2 * np.pi * (x - 1) / 3)) if graded else None
    source, destination = (wfr.Grid(1, 4, n, boundary=boundary, grading=density) for n in (40, 81))
    f = lambda x: np.exp(np.cos(2 * np.pi * (x - 1) / 3))
    move = scaling._Interpolation(source, destination, 8, even=True)
    x, points = source.axes[0].centres, destination.axes[0].centres
    assert move(f(x)) == pytest.approx(f(points), abs=2e-5 if graded else 4e-7)
    total = np.ones(81)
    move.add(f(x), total)
    assert total == pytest.approx(1 + move(f(x)), abs=1e-14)
    index, weights = local_weights(Axis.uniform("x", 0, 1, 10), np.array([0.01]), 4, even=True)
    assert index.tolist() == [[1, 0, 0, 1]]
    assert weights.sum() == pytest.approx(1)


# Graded cells: spectral where rate*dt >= 0.75 dx² from the first to the last place that matters


def gaussian_error(target, start, grid, flow, n_steps, factor=1.0):
    """L1 distance to the closed form after steps of `factor` times the smallest dt."""
    rho = grid.density(start)
    dt = flow.dt_bounds(wfr.KL(target), rho)[0] * factor
    ds = wfr.solve(target, flow, rho, [0, n_steps * dt], dt)
    if isinstance(flow, wfr.Extrapolated):
        exact = wfr.exact.gaussian_flow(target, start, n_steps * dt)
    else:
        rate = float(isinstance(flow, wfr.Strang))
        exact = wfr.exact.gaussian_split(
            target, start, dt, n_steps, "FR-W-FR", reaction_rate=rate, transport="sinkhorn"
        )
    return wfr.metrics.l1(grid.density(exact), wfr.Density.from_dataset(ds))


GRADED = {
    "1:30": (wfr.Gaussian(0, 1.0), wfr.Gaussian(-1, 1e-3), 300, {}),
    "1:1000": (wfr.Gaussian(0, 2500.0), wfr.Gaussian(0, 0.0025), 200, {}),
    "two narrow ends": (wfr.Gaussian(1.5, 0.0025), wfr.Gaussian(-1.5, 0.0025), 500, {}),
    "2D": (wfr.Gaussian([0, 0], [1, 0.01]), wfr.Gaussian([1, 0], [0.01, 0.5]), (120, 128), {}),
}


@pytest.mark.parametrize("flow", [wfr.SinkhornKernel(), wfr.Strang(wfr.FisherRao(), wfr.SinkhornKernel())], ids=str)
@pytest.mark.parametrize("case", GRADED.values(), ids=GRADED.keys())
def test_a_graded_grid_is_spectral_from_the_smallest_dt_on(case, flow):
    target, start, n, options = case
    grid = wfr.Grid.covering(target, start, shape=n, graded=True, tail=1e-30, **options)
    for factor in (1.0, 3.0):
        assert gaussian_error(target, start, grid, flow, 4, factor) < 1e-11


def test_a_grid_graded_along_one_axis_is_spectral():
    target, start = wfr.Gaussian([0, 0], [1, 0.25]), wfr.Gaussian([1, 0], [0.01, 0.5])
    grid = wfr.Grid([-10, -6], [10, 6], (150, 70), grading=(lambda x: 1 / np.sqrt(0.01 + 0.04 * (x - 1) ** 2), None))
    assert gaussian_error(target, start, grid, wfr.Strang(wfr.FisherRao(), wfr.SinkhornKernel()), 3) < 1e-11


def test_extrapolation_on_a_graded_grid_goes_down_to_rounding():
    target, start = wfr.Gaussian(0, 1.0), wfr.Gaussian(-1, 0.01)
    flow = wfr.Extrapolated(wfr.Strang(wfr.FisherRao(), wfr.SinkhornKernel()), 6)
    grid = wfr.Grid.covering(target, start, shape=500, graded=True, tail=1e-30)
    rho = grid.density(start)
    ds = wfr.solve(target, flow, rho, [0, 0.5], 0.0625)
    exact = wfr.exact.gaussian_flow(target, start, 0.5)
    assert wfr.metrics.l1(grid.density(exact), wfr.Density.from_dataset(ds)) < 1e-9
    # equal cells that resolve the start as well take so many more of them
    narrow = grid.axes[0].widths.min()
    assert (grid.upper[0] - grid.lower[0]) / narrow > 5 * 500


def test_below_the_limit_of_a_graded_grid_the_kernel_is_not_resolved(monkeypatch):
    """Until the mass has come to the wide cells: the limit is no hundred times too careful."""
    target, start = wfr.Gaussian(0, 1.0), wfr.Gaussian(-1, 0.01)
    grid = wfr.Grid.covering(target, start, shape=300, graded=True)
    assert gaussian_error(target, start, grid, wfr.SinkhornKernel(), 100) < 1e-9  # the walls are at 7 sd
    monkeypatch.setattr("wfr_pde.flows.transport.sinkhorn.flow.RESOLUTION", 0.02)
    assert gaussian_error(target, start, grid, wfr.SinkhornKernel(), 1000) > 1e-6


def test_cells_between_start_and_target_count_and_those_beyond_do_not():
    target, start = wfr.Gaussian(10, 0.01), wfr.Gaussian(-10, 0.01)
    density = lambda x: sum(1 / np.sqrt(0.01 + 0.04 * (x - c) ** 2) for c in (-10, 10))
    grid = wfr.Grid(-100, 100, 600, grading=density)
    axis = grid.axes[0]
    between = axis.widths[np.abs(axis.centres) < 10].max()
    assert axis.dx > 2 * between
    low, _ = wfr.SinkhornKernel(2.0).dt_bounds(wfr.KL(target), grid.density(start))
    assert low == pytest.approx(0.75 * between**2 / 2)


def test_the_limit_falls_with_the_depth_of_the_tails():
    """N(0, 1) at x is x²/2 nats below its maximum: a squared width counts 1 - x²/90."""
    gaussian = wfr.Gaussian(0, 1.0)
    grid = wfr.Grid(-30, 30, 400, grading=lambda x: 1 / np.sqrt(1 + x**2))
    axis = grid.axes[0]
    expected = np.max(axis.widths**2 * np.maximum(0, 1 - axis.centres**2 / 90))
    low, _ = wfr.SinkhornKernel().dt_bounds(wfr.KL(gaussian), grid.density(gaussian))
    assert low == pytest.approx(0.75 * expected, rel=1e-3)  # the highest cell is beside the mode


@pytest.mark.parametrize("boundary", ["no-flux", "periodic"])
def test_far_wide_cells_keep_what_they_hold(boundary):
    """Where cells are far wider than the kernel the step does nothing: pi, mass and positivity stay."""
    target, start = wfr.Gaussian(0, 1.0), wfr.Gaussian(-1, 0.01)
    grid = wfr.Grid(-200, 200, 400, grading=lambda x: 1 / np.sqrt(0.01 + 0.04 * (x + 1) ** 2))
    grid = wfr.Grid(-200, 200, 400, grading=grid.grading, boundary=boundary)
    energy, rho = wfr.KL(target), grid.density(start)
    low = wfr.SinkhornKernel().dt_bounds(energy, rho)[0]
    step = wfr.SinkhornKernel().make_step(energy, rho, low)
    pi = wfr.Density(grid, energy.log_equilibrium(grid))
    assert np.abs(step(pi, 0.0).log_values - pi.log_values).max() < 1e-12 * np.ptp(pi.log_values)
    moved = step(rho, 0.0)
    assert moved.is_finite()
    assert moved.mass == pytest.approx(1, abs=1e-12)
