"""Densities as a balance of masses in cells: exact solutions leave next to nothing, faults all that they are."""

import dataclasses
import math

import numpy as np
import pytest
from scipy.special import logsumexp, ndtr

import wfr_pde as wfr
from wfr_pde import exact, metrics
from wfr_pde.space.axis import Axis
from wfr_pde.space.grid import Grid
from wfr_pde.truth.certified.attempt import Attempt
from wfr_pde.truth.certified.budget import Budget
from wfr_pde.truth.certified.evidence import witness
from wfr_pde.truth.certified.evidence.cell_balance import CellBalance
from wfr_pde.truth.certified.grids.first_family import cells_for
from wfr_pde.truth.certified.problem import Problem
from wfr_pde.truth.certified.trial_run import schedule_by_trial

TARGET, START = wfr.Gaussian(0, 1), wfr.Gaussian(-1.5, 0.3)


def a_problem(target, start=START, times=(0.0, 0.5), rates=(1.0, 0.0), rtol=1e-7):
    return Problem(target, start, np.array(times), *rates, rtol)


def joined_axis(*segments, periodic=False):
    """Equal cells between places: (lower, upper, cells) of every segment."""
    return Axis.joined([Axis.uniform("x", *segment) for segment in segments], periodic=periodic)


def a_grid(axis):
    boundary = "periodic" if axis.periodic else "no-flux"
    return Grid([axis.edges[0]], [axis.edges[-1]], [axis.n], grading=[axis], boundary=boundary, max_cut=1.0)


def rate_of_masses(problem, grid, values, t=0.1):
    """d_t log M of the cells by the flow, and their masses, of the logarithm of a density at the centres."""
    seen = CellBalance(problem, grid).look(values, t)
    mass = np.exp(seen.log_density) * np.diff(grid.axes[0].edges)
    mean = np.sum(mass * seen.log_ratio) / np.sum(mass)
    return problem.alpha * seen.transport - problem.beta * (seen.log_ratio - mean), mass


def distribution_function(states, x):
    """Of equal parts of Gaussians in one dimension."""
    return np.mean([ndtr((x - np.ravel(s.mean)[0]) / math.sqrt(np.ravel(s.covariance)[0])) for s in states], axis=0)


@pytest.mark.parametrize("rates", [(1.0, 0.0), (0.5, 2.0)], ids=["transport", "both"])
def test_an_exact_solution_is_balanced_to_high_order(rates):
    """Masses of cells change by differences in time as their fluxes and the reaction say.

    Transport alone is linear, and a mixture of two solutions is one; else it is a single Gaussian.
    """
    problem, h, errors = a_problem(TARGET, rates=rates), 3e-5, []
    starts = [START, wfr.Gaussian(1.0, 0.5)] if rates[1] == 0 else [START]
    paths = [exact.gaussian_flow(TARGET, start, [0.3 - h, 0.3, 0.3 + h], *rates) for start in starts]
    before, middle, after = ([path[k] for path in paths] for k in range(3))
    for n in (48, 72):
        grid = a_grid(Axis.uniform("x", -8.0, 8.0, n))
        edges, x = grid.axes[0].edges, grid.axes[0].centres
        log_values = logsumexp(
            [np.ravel(state.log_density(x[:, None])) - state.log_normaliser for state in middle], axis=0
        )
        rate, mass = rate_of_masses(problem, grid, log_values - math.log(len(middle)), 0.3)
        known = np.diff(distribution_function(after, edges) - distribution_function(before, edges)) / (2 * h)
        errors.append(np.abs(mass * rate - known).sum())
    assert errors[0] < 1e-2
    assert errors[1] < 1e-4
    assert len(starts) == 1 or math.log(errors[0] / errors[1]) / math.log(1.5) > 6


def settled(target, start, times, rates=(1.0, 0.0), rtol=1e-6, box=(-9.0, 9.0), finer=1.5, **options):
    """An attempt on cells with joints at the breaks of the target."""
    problem = a_problem(target, start, times, rates, rtol)
    ends = tuple(np.array([end]) for end in box)
    breaks = [np.asarray(target.breaks(*ends).places[0])] if hasattr(target, "breaks") else None
    cells = cells_for(problem, ends, {"max_cut": 1.0, **options}, breaks, real_walls=bool(options)).finer(finer)
    return Attempt(problem, cells, schedule_by_trial(problem, cells, Budget(600.0)), 1, 6, Budget(600.0))


def frames_of(attempt, **changed):
    """Frames of the answer to the problem, or to another one on the same cells."""
    problem = dataclasses.replace(attempt.problem, **changed)
    other = Attempt(problem, attempt.cells, attempt.schedule, 1, attempt.order, attempt.work)
    other.measure_space()
    return other._all_frames()


def held_against_it(attempt, frames):
    return witness.testify(attempt.problem, attempt.cells.grid(1), attempt.grid, frames, attempt.nodes)


def apart(attempt, frames, others):
    """L1 distances at the save times after the first."""
    pairs = [[wfr.Density(attempt.grid, values[k]).normalised() for values in (frames, others)]
             for k in attempt.nodes.saved[1:]]  # fmt: skip
    return np.array([metrics.l1(*pair) for pair in pairs])


def step_well(height, place=0.3):
    return wfr.Potential(lambda x: x**2 / 2 + height * (x > place), ndim=1, breaks=[place], support=(-9, 9))


@pytest.mark.parametrize("rates", [(1.0, 0.0), (1.0, 1.0)], ids=["transport", "both"])
def test_faults_at_a_jump_of_the_potential_are_seen_with_their_size(rates):
    """A jump of another height leaves fluxes that are equal on both sides, but g jumps."""
    one = settled(step_well(1.0), wfr.Gaussian(-0.8, 0.4), [0.0, 0.2], rates, finer=1.0)
    right = frames_of(one)
    for changed in ({"target": step_well(1.001)}, {"target": step_well(1.01)}, {"alpha": 1.001 * rates[0]}):
        wrong = frames_of(one, **changed)
        true, found = apart(one, wrong, right), held_against_it(one, wrong)
        assert np.all(found.l1[1:] > 0.9 * true)
        assert np.all(found.l1[1:] < 2 * true)
        assert found.unknown.max() < 1e-12
    assert held_against_it(one, right).l1.max() < 1e-5


def test_what_passes_nothing_through_a_joint_is_no_answer():
    """Two exact halves, with a wall between them that is not there: every cell is balanced but for the jump of g."""
    axis = joined_axis((-3.0, 0.0, 32), (0.0, 3.0, 32))
    grid, flat = a_grid(axis), wfr.Potential("0*x", ndim=1, breaks=[0.0])
    problem = a_problem(flat)
    halves = np.where(axis.centres < 0, math.log(0.3), math.log(0.7)) - math.log(3.0)
    seen = CellBalance(problem, grid).look(halves, 0.1)
    width = axis.widths[0]
    flux = (0.7 - 0.3) / 3 / width  # of two cells whose values are so far apart
    assert seen.transport[31] == pytest.approx(flux / (0.1 * width), rel=1e-6)
    assert seen.transport[32] == pytest.approx(-flux / (0.7 / 3 * width), rel=1e-6)
    others = np.delete(seen.transport, [31, 32])
    assert np.abs(others).max() < 1e-8
    start = CellBalance(problem, grid).look(halves, 0.0)
    assert np.abs(start.transport).max() < 1e-8  # a start may jump


def test_mass_out_of_nothing_is_unknown():
    """A blob that appears where the flow has next to none, and then follows the equation."""
    one = settled(wfr.Gaussian(0, 1), wfr.Gaussian(-2, 0.04), [0.0, 0.02], finer=1.0)
    times, frames, size = one.nodes.times, frames_of(one), 1e-3
    first = int(np.searchsorted(times, 0.003))
    since = times[first:] - times[first]
    blobs = exact.gaussian_flow(wfr.Gaussian(0, 1), wfr.Gaussian(3, 0.09), since, 1.0, 0.0)
    wrong = list(frames)
    for k, blob in enumerate(blobs, start=first):
        added = np.asarray(one.grid.log_density(blob, checked=False)) + math.log(size)
        wrong[k] = np.logaddexp(frames[k] + math.log1p(-size), added)
    true, found = apart(one, wrong, frames), held_against_it(one, wrong)
    assert true[-1] == pytest.approx(2 * size, rel=0.01)
    assert 2 * (found.l1[-1] + found.unknown[-1]) > true[-1]
    assert held_against_it(one, frames).unknown[-1] < 1e-12


@pytest.mark.parametrize("n", [16, 40])
def test_constants_do_not_matter_and_mass_is_kept_where_cells_are_joined(n):
    axis = joined_axis((-2.0, 0.3, n), (0.3, 2.0, n))
    grid, problem = a_grid(axis), a_problem(step_well(12.0))
    balance = CellBalance(problem, grid)
    seen = balance.look(np.asarray(grid.log_density(START, checked=False)), 0.1)
    rng = np.random.default_rng(5)
    values = rng.normal(size=axis.n)
    plain, log_density = balance.joined(values, seen.log_density)
    moved, _ = balance.joined(values + 1e3, seen.log_density + 7.0)
    np.testing.assert_allclose(moved, plain, atol=1e-9 * np.abs(plain).max())
    pairs = np.exp(log_density) * np.diff(axis.edges).reshape(-1, 2).sum(axis=1)
    mass = np.exp(seen.log_density) * np.diff(axis.edges)
    assert pairs.sum() == pytest.approx(mass.sum(), rel=1e-13)
    mean = np.sum(mass * values) / mass.sum()
    assert np.sum(pairs * plain) == pytest.approx(np.sum(mass * (values - mean)), abs=1e-13)


@pytest.mark.parametrize("joint", [None, 24])
def test_flux_passes_through_the_wrap(joint):
    """Of 1 + cos(x - shift) / 2 on a circle without a potential, whose flux through the wrap is known."""
    circle = 2 * math.pi
    axis = Axis.uniform("x", 0.0, circle, 48, periodic=True)
    if joint is not None:
        place = axis.edges[joint]
        axis = joined_axis((0.0, place, 24), (place, circle, 24), periodic=True)
    values = np.log1p(0.5 * np.cos(axis.centres - 1.0)) - math.log(circle)
    problem = a_problem(wfr.Potential("0*x", ndim=1))
    rate, mass = rate_of_masses(problem, a_grid(axis), values)
    known = np.diff(-0.5 * np.sin(axis.edges - 1.0)) / circle  # of m' at the edges
    np.testing.assert_allclose(rate * mass, known, rtol=0, atol=1e-7 if joint is None else 2e-5)
    assert abs(known[0]) > 1e-3
    assert np.sum(rate * mass) == pytest.approx(0.0, abs=1e-14)


@pytest.mark.parametrize("width", [0.03, 2e-4])
@pytest.mark.parametrize("at", [95, 64], ids=["inside", "at its joint"])
def test_a_large_source_in_a_stiff_spike_is_answered_as_in_fine_steps(at, width):
    """What a dipole of 1e3 nats leaves behind after a step, against the linear equation in many steps.

    In the narrower spike the transport is fast even in the last part of the step, and half of that of the source stays.
    """
    n = 64
    axis = joined_axis((-3.0, -width, n), (-width, width, n), (width, 3.0, n))
    grid = a_grid(axis)
    pit = wfr.Potential(lambda x: x**2 / 2 - 4.0 * (np.abs(x) < width), ndim=1, breaks=[-width, width], support=(-9, 9))
    chain = witness._Chain(a_problem(pit, pit, rtol=1e-6), grid)
    mass = np.exp(chain.alone) * grid.cell_volume
    mass /= mass.sum()
    source, dt = np.zeros(axis.n), 0.01
    source[at], source[at + 1] = 1e3, -1e3 * mass[at] / mass[at + 1]
    chain.advance(source, 0.0, dt, mass)
    found, known = np.expm1(chain.moved - chain.alone), _linear(chain, source, dt)
    sizes = [np.sum(mass * np.abs(d - np.sum(mass * d))) for d in (found, known)]
    left = witness.SMALL / 2 * mass[at : at + 2].sum() if width < 1e-3 else 0.0
    assert 1e-9 < sizes[1] < 0.05
    assert 0.7 * sizes[1] < sizes[0] < 1.3 * sizes[1] + 2 * left
    assert np.sum(mass * np.exp(chain.lost)) < 1e-9


def _linear(chain, source, dt):
    """u = D / mu after dt in many graded steps, each half a source, the transport, half a source."""
    ends = dt * (1 - np.concatenate([0.8 ** np.arange(120), [0.0]]))  # ever finer towards the end
    u = np.zeros((2, len(source)))
    parts = np.maximum(source, 0.0), np.maximum(-source, 0.0)
    for step in np.diff(ends):
        for k, part in enumerate(parts):
            half = part * step / dt / 2
            with np.errstate(divide="ignore"):
                moved = chain.chain.transport(np.maximum(np.log(u[k] + half), -200.0), 0.0, step)
            u[k] = np.exp(moved) + half
    return u[0] - u[1]
