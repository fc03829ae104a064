"""The witness against faults planted in exact frames: no solver has a part in it."""

import dataclasses
import math

import numpy as np
import pytest

import wfr_pde as wfr
from wfr_pde import exact, metrics
from wfr_pde.numerics.deadline import OutOfTimeError, deadline
from wfr_pde.truth.certified.budget import Budget
from wfr_pde.truth.certified.evidence import witness
from wfr_pde.truth.certified.grids.first_family import cells_for
from wfr_pde.truth.certified.grids.grid_family import GridFamily
from wfr_pde.truth.certified.problem import Problem
from wfr_pde.truth.certified.step_schedule import Nodes
from wfr_pde.truth.certified.trial_run import schedule_by_trial

TARGET, START = wfr.Gaussian(0, 1), wfr.Gaussian(-1.5, 0.3)
TIMES = np.array([0.0, 0.1, 0.5, 1.5])
RTOL = 1e-9  # how densely the frames lie
FINER = 3.0  # than the first cells of a certified solution, so that the answer is exact but for its faults


@dataclasses.dataclass(frozen=True)
class Setting:
    """A problem whose answer is known, the grids and the times of its frames."""

    problem: Problem
    cells: GridFamily
    nodes: Nodes

    @property
    def grid(self):
        return self.cells.grid(2.0)

    def flow(self, alpha=None, beta=None, shift=0.0):
        """Exact frames with rates and a mean of the target that may be wrong."""
        problem = self.problem
        alpha, beta = problem.alpha if alpha is None else alpha, problem.beta if beta is None else beta
        target = wfr.Gaussian(np.asarray(problem.target.mean) + shift, problem.target.covariance)
        states = exact.gaussian_flow(target, problem.start, self.nodes.times, alpha, beta)
        return [np.asarray(self.grid.log_density(state, checked=False)) for state in states]

    def testimony(self, frames):
        return witness.testify(self.problem, self.cells.grid(1.0), self.grid, frames, self.nodes)

    def errors(self, frames, truth):
        """L1 and KL errors at the save times."""
        found = []
        energy = self.problem.energy
        for k in self.nodes.saved:
            one, other = (wfr.Density(self.grid, values).normalised() for values in (frames[k], truth[k]))
            found.append((metrics.l1(one, other), abs(energy.value(one) - energy.value(other))))
        return np.array(found).T


def setting(rates=(1.0, 1.0), target=TARGET, start=START, box=(-8.5, 8.5), finer=FINER, times=TIMES, rtol=RTOL):
    problem = Problem(target, start, times, *rates, rtol)
    lower, upper = (np.atleast_1d(np.asarray(end, dtype=float)) for end in box)
    cells = cells_for(problem, (lower, upper), {"max_cut": 1.0}).finer(finer)
    schedule = schedule_by_trial(problem, cells, Budget(600.0))
    return Setting(problem, cells, schedule.nodes(times))


BOTH, TRANSPORT, SLOW = setting(), setting((1.0, 0.0)), setting((0.2, 2.0))


def ripple(one, size, where=slice(None)):
    """Frames with a ripple from some of them on."""
    x, frames = one.grid.axes[0].centres, one.flow()
    for k in range(len(frames))[where]:
        frames[k] = frames[k] + size * np.cos(2 * x)
    return frames


FAULTS = {
    "alpha": lambda one: one.flow(alpha=1.001 * one.problem.alpha),
    "beta": lambda one: one.flow(beta=one.problem.beta + 1e-3),
    "mean": lambda one: one.flow(shift=1e-4),
    "ripple": lambda one: ripple(one, 1e-5, slice(1, None)),
    "last frame": lambda one: ripple(one, 1e-5, slice(-1, None)),
    "growing ripple": lambda one: [
        frame + 1e-5 * t * np.sin(one.grid.axes[0].centres)
        for frame, t in zip(one.flow(), one.nodes.times, strict=True)
    ],
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("one", [BOTH, TRANSPORT, SLOW], ids=["both", "transport", "slow"])
def test_planted_faults_are_seen_with_their_size(one, fault):
    frames = FAULTS[fault](one)
    true, kl = one.errors(frames, one.flow())
    found = one.testimony(frames)
    wrong = true > 1e-9  # before the last frame there may be no fault
    assert wrong[-1]
    np.testing.assert_allclose(found.l1[wrong], true[wrong], rtol=0.2)
    assert np.all(found.l1[~wrong] < 1e-9)
    np.testing.assert_allclose(
        found.kl[wrong], kl[wrong], rtol=0.3, atol=0.05 * true.max()
    )  # the difference of two sums
    # of errors so small, the first order is all; the bound by |r| is a bound
    np.testing.assert_allclose(found.linear[wrong], found.l1[wrong], rtol=0.05)
    assert np.all(found.residual >= true - 1e-9)
    assert np.all(found.unknown < 1e-12)


@pytest.mark.parametrize("one", [BOTH, TRANSPORT, SLOW], ids=["both", "transport", "slow"])
def test_no_fault_no_accusation(one):
    found = one.testimony(one.flow())
    assert found.l1.max() < 1e-10
    assert found.kl.max() < 1e-9
    assert found.unknown.max() < 1e-12
    assert found.time.max() < 5 * RTOL  # what the highest terms may be on a panel
    assert [len(part) for part in (found.l1, found.pointwise)] == [len(TIMES)] * 2


def test_the_doubt_in_time_sees_frames_that_are_too_far_apart():
    dense, sparse = setting(), setting(rtol=1e-2)
    assert len(sparse.nodes.times) < len(dense.nodes.times)
    found = [one.testimony(one.flow()).time.max() for one in (dense, sparse)]
    assert found[1] > 100 * found[0]


def test_pointwise_errors_are_those_of_the_logarithm():
    one = TRANSPORT
    frames = ripple(one, 1e-3, slice(-1, None))
    found = one.testimony(frames).pointwise[-1]
    x = one.cells.grid(1.0).axes[0].centres
    last = wfr.Density(one.grid, one.flow()[-1])
    top = np.asarray(last.log_prob(x[:, None])) > -12
    known = np.abs(1e-3 * np.cos(2 * x))
    assert np.abs(found - known)[top].max() < 1e-4 + 1e-3 * 0.1  # less its mean, and means over the cells of the chain


def test_large_errors_are_not_understated_by_their_size():
    """Where errors are about a nat the first order is not enough; the two densities are."""
    one = BOTH
    frames = one.flow(shift=0.3)
    true, _ = one.errors(frames, one.flow())
    assert true[-1] > 0.1
    np.testing.assert_allclose(one.testimony(frames).l1[1:], true[1:], rtol=0.2)


def test_what_is_no_path_is_unknown():
    one = TRANSPORT
    frames = one.flow()
    other = exact.gaussian_flow(TARGET, wfr.Gaussian(2.0, 0.3), one.nodes.times, 1.0, 0.0)
    middle = len(frames) // 2
    frames[middle:] = [np.asarray(one.grid.log_density(state, checked=False)) for state in other[middle:]]
    found = one.testimony(frames)
    assert found.unknown[-1] > 0.5 or found.l1[-1] > 0.5
    assert np.isinf(found.pointwise[-1]).any()


@pytest.mark.parametrize("rates", [(1.0, 1.0), (1.0, 0.0)])
def test_faults_in_a_plane(rates):
    target = wfr.Gaussian([0, 0], [[1.0, 0.4], [0.4, 0.8]])
    start = wfr.Gaussian([-0.8, 0.5], 0.4)
    times = np.array([0.0, 0.3])
    one = setting(rates, target, start, ([-7, -7], [7, 7]), 1.5, times, 1e-6)
    frames = one.flow(alpha=1.01)
    true, _ = one.errors(frames, one.flow())
    found = one.testimony(frames)
    assert found.l1[-1] == pytest.approx(true[-1], rel=0.2)
    assert one.testimony(one.flow()).l1[-1] < 1e-3 * true[-1]


def test_a_target_that_moves():
    path = wfr.GeometricPath(wfr.Gaussian(-1, 0.5), wfr.Gaussian(1, 1))
    problem = Problem(path, wfr.Gaussian(-1, 0.5), np.array([0.0, 0.5]), 1.0, 1.0, 1e-8)
    cells = cells_for(problem, (np.array([-8.0]), np.array([8.0])), {"max_cut": 1.0}).finer(2.0)
    nodes = schedule_by_trial(problem, cells, Budget(600.0)).nodes(problem.times)
    grid = cells.grid(2.0)

    def frames(alpha):
        states = [exact.gaussian_flow_by_ode(path, problem.start, float(t), alpha, 1.0) for t in nodes.times]
        return [np.asarray(grid.log_density(state, checked=False)) for state in states]

    right, wrong = frames(1.0), frames(1.01)
    true = metrics.l1(*(wfr.Density(grid, one[-1]).normalised() for one in (right, wrong)))
    assert witness.testify(problem, cells.grid(1.0), grid, wrong, nodes).l1[-1] == pytest.approx(true, rel=0.2)
    assert witness.testify(problem, cells.grid(1.0), grid, right, nodes).l1[-1] < 1e-3 * true


def test_on_a_circle():
    problem = Problem(
        wfr.Potential("0*x", ndim=1),
        wfr.Potential("-log(1 + 0.5*cos(x))", ndim=1),
        np.array([0.0, 0.7]),
        1.0,
        0.0,
        1e-9,
    )
    box = np.array([0.0]), np.array([2 * math.pi])
    cells = cells_for(problem, box, {"boundary": "periodic", "max_cut": 1.0}, real_walls=True).finer(2.0)
    nodes = schedule_by_trial(problem, cells, Budget(600.0)).nodes(problem.times)
    grid = cells.grid(2.0)
    x = grid.axes[0].centres

    def frames(rate):
        return [np.log1p(0.5 * np.exp(-rate * t) * np.cos(x)) - math.log(2 * math.pi) for t in nodes.times]

    right, wrong = frames(1.0), frames(1.001)
    true = float(grid.integrate(np.abs(np.exp(right[-1]) - np.exp(wrong[-1]))))
    assert witness.testify(problem, cells.grid(1.0), grid, wrong, nodes).l1[-1] == pytest.approx(true, rel=0.2)
    assert witness.testify(problem, cells.grid(1.0), grid, right, nodes).l1[-1] < 1e-9


def test_the_deadline_stops_it():
    frames = BOTH.flow()
    with pytest.raises(OutOfTimeError), deadline(0.0):
        BOTH.testimony(frames)
