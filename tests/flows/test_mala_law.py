"""MALAKernel: detailed balance, and the law of one million particles."""

import itertools
import math

import numpy as np
import pytest

import wfr_pde as wfr
from wfr_pde.flows.sampler_laws.mala import _log_transitions

WELLS = wfr.GaussianMixture([-1.5, 1.5], [0.3, 0.7], [0.5, 0.3])
START = wfr.Gaussian(-0.6, 0.6)
GRID = wfr.Grid(-7.0, 7.0, 280)
GRADED = wfr.Grid(-7.0, 7.0, 200, grading=lambda x: 1 / (1 + 0.05 * x**2))


def advanced(sampler, state, dt, n_steps, seed=None, target=WELLS):
    step, rng = sampler.make_step(wfr.KL(target), state, dt), np.random.default_rng(seed)
    for k in range(n_steps):
        state = step(state, k * dt, rng)
    return state


@pytest.mark.parametrize("grid", [GRID, GRADED], ids=["uniform", "graded"])
@pytest.mark.parametrize("dt", [0.02, 0.4, 2.0])
def test_transitions_are_those_of_mala_in_detailed_balance(grid, dt):
    energy, rate = wfr.KL(WELLS), 0.7
    (axis,) = grid.axes
    x, w, pi = axis.centres, axis.widths, np.exp(energy.log_equilibrium(grid))
    log_matrix = _log_transitions(energy, grid.density(START), rate * dt)
    flow = np.exp(log_matrix - np.log(w)) * pi  # density of going to i from j, times pi_j
    np.fill_diagonal(flow, 0.0)
    # both minima are rounded on their own: exponents of some thousand are known to 1e-12
    np.testing.assert_allclose(flow, flow.T, rtol=1e-11, atol=1e-300)
    # the definition: proposals times the probability that they are accepted
    h = rate * dt
    means = x + h * WELLS.score(x[:, None])[:, 0]
    log_q = -((x[:, None] - means) ** 2) / (4 * h) - 0.5 * math.log(4 * math.pi * h)
    accepted = np.exp(np.minimum(0.0, np.log(pi)[:, None] + log_q.T - np.log(pi) - log_q))
    expected = np.exp(log_q) * accepted * pi
    np.fill_diagonal(expected, 0.0)
    np.testing.assert_allclose(flow, expected, rtol=1e-9, atol=1e-300)
    # columns: nothing is lost
    assert np.abs(np.sum(w[:, None] * np.exp(log_matrix), axis=0) / w - 1).max() < 1e-13


@pytest.mark.parametrize("grid", [GRID, GRADED], ids=["uniform", "graded"])
@pytest.mark.parametrize("dt", [0.02, 0.4, 2.0])
def test_equilibrium_and_mass_are_kept_and_pi_is_approached(grid, dt):
    energy = wfr.KL(WELLS)
    pi = wfr.Density(grid, energy.log_equilibrium(grid))
    assert np.abs(advanced(wfr.MALAKernel(), pi, dt, 5).log_values - pi.log_values).max() < 1e-11
    state, before = grid.density(START), math.inf
    for _ in range(4):
        assert energy.value(state) < before
        before = energy.value(state)
        state = advanced(wfr.MALAKernel(), state, dt, 5)
        assert abs(state.mass - 1) < 1e-12
    assert before < energy.value(grid.density(START))


# Smooth functions, and regions cut at edges of the cells of GRID, so that its sums are of order 2 in dx.
FUNCTIONS = {
    "x": lambda x: x,
    "x²": lambda x: x**2,
    "cos 2x": lambda x: np.cos(2 * x),
    "tanh": lambda x: np.tanh(3 * (x - 0.5)),
    "left": lambda x: (x < 0).astype(float),
    "middle": lambda x: ((x > -0.5) & (x < 0.75)).astype(float),
    "right": lambda x: (x > 1.5).astype(float),
}


@pytest.mark.parametrize(("dt", "n_steps"), [(0.2, 3), (0.8, 2)])
def test_law_is_that_of_a_million_particles(dt, n_steps):
    """Particles that do not interact are independent draws: means are off by their standard error.

    4 of them: 14 comparisons fail, over seeds, in one of 1100 cases; seeds are fixed.
    """
    n = 1_000_000
    law = advanced(wfr.samplers.MALA(1.3), GRID.density(START), dt, n_steps)
    particles = advanced(wfr.samplers.MALA(1.3), wfr.Particles(START.sample(n, rng=1)), dt, n_steps, seed=2)
    x = particles.positions[:, 0]
    start = START.sample(n, rng=1)[:, 0]
    for name, f in FUNCTIONS.items():
        expected, found = law.expectation(lambda points, f=f: f(points[..., 0])), f(x)
        error = found.std() / math.sqrt(n)
        assert abs(found.mean() - expected) < 4 * error, name
        if name in {"x", "left"}:  # it has moved, and is not there yet
            assert abs(found.mean() - f(start).mean()) > 40 * error
            assert abs(found.mean() - f(WELLS.sample(n, rng=3)[:, 0]).mean()) > 40 * error


def test_error_in_space_is_of_order_two():
    def means(n):
        state = advanced(wfr.MALAKernel(), wfr.Grid(-7, 7, n).density(START), 0.3, 3)
        return np.array([state.mean()[0], state.covariance()[0, 0], state.expectation(lambda p: np.cos(p[..., 0]))])

    found = [means(n) for n in (140, 280, 560, 1120)]
    differences = [np.abs(b - a).max() for a, b in itertools.pairwise(found)]
    orders = np.log2(np.array(differences[:-1]) / differences[1:])
    # the kinks lie elsewhere in the cells on each grid: the factor of dx² changes from grid to grid, by 40 % here
    np.testing.assert_allclose(orders, 2, atol=0.8)
    assert np.mean(orders) == pytest.approx(2, abs=0.2)
    # what the comparison with particles may neglect, at its 280 cells: a tenth of a standard error
    assert differences[1] < 1e-4


def test_what_it_does_not_do():
    energy, start = wfr.KL(WELLS), GRID.density(START)
    with pytest.raises(
        ValueError, match=r"dt=0.0001 leaves the proposals of MALAKernel\(rate=1.0\) unresolved .*0.0018"
    ):
        wfr.MALAKernel().make_step(energy, start, 1e-4)
    with pytest.raises(ValueError, match="dt=0.0001 is too small"):
        wfr.solve(WELLS, wfr.samplers.MALA(), start, [0, 1], 1e-4)
    plane = wfr.Gaussian([0.0, 0.0], 1.0)
    square = wfr.Grid([-7, -7], [7, 7], 40).density(plane)
    circle = wfr.Grid(0, 2 * np.pi, 40, boundary="periodic").density(wfr.Potential("cos(x)"))
    for flow in (wfr.MALAKernel(), wfr.samplers.MALA(), wfr.Lie(wfr.MALAKernel(), wfr.FisherRao())):
        with pytest.raises(ValueError, match=r"one dimension between no-flux walls, but the grid has 2 axes"):
            wfr.solve(plane, flow, square, [0, 1], 0.5)
        with pytest.raises(ValueError, match=r"1 axis \(periodic\): hold MALA against the W flow"):
            wfr.solve(wfr.Potential("cos(x)"), flow, circle, [0, 1], 0.5)
    with pytest.raises(ValueError, match="finite rate >= 0"):
        wfr.MALAKernel(-1)
    assert wfr.MALAKernel(0.0).make_step(energy, start, 0.1)(start, 0.0) is start
