"""The chain for log(mu/pi) against the flow: Strang of FisherRao and FiniteVolume, extrapolated, to rounding."""

import numpy as np
import pytest

import wfr_pde as wfr
from wfr_pde import metrics
from wfr_pde.errors import NumericalError
from wfr_pde.flows import Extrapolated, FiniteVolume, FisherRao, Strang
from wfr_pde.flows.transport.finite_volume.line_sweep import LineSweep
from wfr_pde.numerics.compiled.chain_steps import moved_mass
from wfr_pde.truth.certified.problem import Problem
from wfr_pde.truth.certified.ratio_chain import RatioChain

LINE = wfr.DoubleWell(2.0), wfr.Gaussian(-0.8, 0.2)
PLANE = wfr.Gaussian([0.0, 0.0], [[1.0, 0.4], [0.4, 0.6]]), wfr.Gaussian([-0.5, 0.5], 0.4)
MOVING = wfr.GeometricPath(wfr.Gaussian(-1, 0.5), wfr.Gaussian(1, 1)), wfr.Gaussian(-1, 0.5)
DEEP = 25.0  # nats below the top, down to which log-densities are compared


def solved(distributions, rates, order, shape, steps=3, dt=0.01, **options):
    """Log-densities after some steps by the chain, and by the flow."""
    target, start = distributions
    problem = Problem(target, start, np.array([0.0, 1.0]), *rates, 1e-6)
    grid = wfr.Grid.covering(target, start, shape=shape, **options)
    state = grid.density(start)
    chain = RatioChain(problem, grid, 1e-13)
    basic = Strang(FisherRao(rates[1]), FiniteVolume(rates[0], tolerance=1e-13))
    flow = basic if order == 2 or problem.exact_in_time else Extrapolated(basic, order)
    assert chain.moving == target.moving
    g, t = problem.log_ratio(state, 0.0), 0.0
    step = flow.make_step(problem.energy, state, dt)
    for _ in range(steps):
        g, state, t = chain.step(g, t, dt, order), step(state, t), t + dt
    return problem.density(grid, g, t), state.normalised()


@pytest.mark.parametrize("order", [2, 4, 6, 8])
@pytest.mark.parametrize("rates", [(1.0, 1.0), (2.0, 0.0), (0.0, 0.7), (0.3, 5.0)])
@pytest.mark.parametrize(("distributions", "shape"), [(LINE, 64), (PLANE, 32), (MOVING, 64)])
def test_steps_are_those_of_the_flow(distributions, shape, rates, order):
    chain, flow = solved(distributions, rates, order, shape)
    assert metrics.l1(chain, flow) < 2e-11  # the transport has 1e-13 per cell and step; weights of order 8 are about 30
    top = flow.log_values.max()
    there = flow.log_values > top - DEEP
    assert np.abs(chain.log_values - flow.log_values)[there].max() < 1e-7


def test_on_graded_axes_too():
    chain, flow = solved(LINE, (1.0, 1.0), 4, 64, graded=True)
    assert not chain.grid.axes[0].is_uniform
    assert metrics.l1(chain, flow) < 1e-11


def test_equilibrium_is_a_fixed_point():
    target, _ = LINE
    problem = Problem(target, target, np.array([0.0, 1.0]), 1.0, 1.0, 1e-6)
    grid = wfr.Grid.covering(target, shape=64)
    g = RatioChain(problem, grid, 1e-13).step(np.zeros(grid.shape), 0.0, 0.1, 4)
    assert np.abs(g).max() < 1e-12


def test_constants_do_not_matter():
    target, start = LINE
    problem = Problem(target, start, np.array([0.0, 1.0]), 1.0, 1.0, 1e-6)
    grid = wfr.Grid.covering(target, start, shape=64)
    chain = RatioChain(problem, grid, 1e-13)
    g = problem.log_ratio(grid.density(start), 0.0)
    one, other = chain.step(g, 0.0, 0.05, 4), chain.step(g + 3.0, 0.0, 0.05, 4)
    assert metrics.l1(problem.density(grid, one, 0.05), problem.density(grid, other, 0.05)) < 1e-12


def test_what_is_not_finite_is_refused():
    target, start = LINE
    problem = Problem(target, start, np.array([0.0, 1.0]), 1.0, 1.0, 1e-6)
    grid = wfr.Grid.covering(target, start, shape=64)
    with (
        np.errstate(all="ignore"),
        pytest.raises(NumericalError, match=r"not finite at t=0\.6"),
    ):
        RatioChain(problem, grid, 1e-13).step(np.full(grid.shape, np.nan), 0.5, 0.1, 2)


def a_step(start, options, order, stiff):
    """g after a step on 96 cells: by one compiled call, or by sweeps one after the other."""
    target = wfr.Potential("cos(2*pi*x/3) + sin(pi*x/3)") if "boundary" in options else wfr.DoubleWell(2.0)
    problem = Problem(target, start, np.array([0.0, 1.0]), 1.0, 0.7, 1e-6)
    grid = wfr.Grid([-3.0], [3.0], 96, **options)
    chain = RatioChain(problem, grid, 1e-13)
    chain._stiff = stiff
    g = np.asarray(grid.log_density(start, checked=False)) - chain.log_pi(0.0)
    return chain.step(g, 0.0, 0.02, order), chain


@pytest.mark.parametrize("order", [4, 6, 8])
@pytest.mark.parametrize(
    ("start", "options"),
    [
        (wfr.Gaussian(-1.0, 0.1), {}),
        (wfr.Gaussian(-1.0, 0.004), {}),  # spans more than an exponent range
        (wfr.Potential("-3*cos(pi*x/3)"), {"boundary": "periodic"}),
    ],
)
def test_one_call_is_as_sweeps_one_after_the_other(start, options, order):
    one, chain = a_step(start, options, order, stiff=False)
    assert not chain._stiff
    other, _ = a_step(start, options, order, stiff=True)
    density = np.exp(other + chain.log_pi(0.0))
    assert np.sum(density * np.abs(one - other)) < 1e-11 * np.sum(density)
    assert np.abs(one - other).max() < 1e-8


def test_a_step_that_is_too_stiff_for_one_call_is_made_in_parts(monkeypatch):
    expected, _ = a_step(wfr.Gaussian(-1.0, 0.1), {}, 4, stiff=True)
    monkeypatch.setattr(LineSweep, "on_one_line", lambda self, compiled, *rest: False)
    with pytest.raises(NumericalError, match="too many parts"):
        a_step(wfr.Gaussian(-1.0, 0.1), {}, 4, stiff=False)
    monkeypatch.undo()
    original, calls = LineSweep.on_one_line, []

    def first_fails(self, compiled, values, *times):
        calls.append(compiled)
        return len(calls) > 1 and original(self, compiled, values, *times)

    monkeypatch.setattr(LineSweep, "on_one_line", first_fails)
    found, chain = a_step(wfr.Gaussian(-1.0, 0.1), {}, 4, stiff=False)
    assert chain._stiff
    assert np.array_equal(found, expected)


def test_mass_that_an_extrapolation_moves():
    one = np.linspace(0.0, 1.0, 5)
    mass = np.array([0.1, 0.2, 0.3, 0.2, 0.2])
    log_pi = np.array([0.0, -1.0, 0.5, 0.0, -2.0])
    masses = [np.exp(g + log_pi) * mass for g in (one, one**2)]
    expected = np.abs(masses[0] / masses[0].sum() - masses[1] / masses[1].sum()).sum()
    assert moved_mass(one, one**2, log_pi, mass) == pytest.approx(expected, rel=1e-14)
    assert np.isnan(moved_mass(np.full(5, np.nan), one, log_pi, mass))
