"""The witness on ridges, where mass is at rest across in less than a step, against faults planted in exact frames."""

import dataclasses

import numpy as np
import pytest

import wfr_pde as wfr
from wfr_pde import exact, metrics
from wfr_pde.truth.certified.budget import Budget
from wfr_pde.truth.certified.evidence import witness
from wfr_pde.truth.certified.grids.first_family import cells_for
from wfr_pde.truth.certified.problem import Problem
from wfr_pde.truth.certified.trial_run import schedule_by_trial

WIDTH = 0.1  # of the ridge, a standard deviation
TARGET = wfr.Gaussian([0.3, 0.0], np.diag([1.0, WIDTH**2]))
START = wfr.Gaussian([0.0, 0.0], np.diag([0.5, 0.5]))
TIMES = np.array([0.0, 0.1, 0.5])


class Setting:
    """Exact frames on a ridge, on cells that are fine enough."""

    def __init__(self, beta=1.0):
        given = Problem(TARGET, START, TIMES, 1.0, beta, 1e-3)
        self.problem = dataclasses.replace(given, given=given)  # as one that was made ready for a grid
        self.cells = cells_for(given, (np.array([-5.5, -5.0]), np.array([5.5, 5.0])), {"max_cut": 1.0}).finer(1.25)
        self.nodes = schedule_by_trial(self.problem, self.cells, Budget(600.0)).nodes(TIMES)
        self.grid = self.cells.grid(2.0)
        self.x, self.y = (axis.centres for axis in self.grid.axes)

    def flow(self, alpha=1.0, beta=None, shift=0.0):
        """Exact frames with rates and a mean of the target that may be wrong."""
        target = wfr.Gaussian(np.asarray(TARGET.mean) + shift, TARGET.covariance)
        beta = self.problem.beta if beta is None else beta
        states = exact.gaussian_flow(target, START, self.nodes.times, alpha, beta)
        return [np.asarray(self.grid.log_density(state, checked=False)) for state in states]

    def rippled(self, ripple, first=1):
        """Frames with a ripple from some of them on."""
        frames = self.flow()
        return [frame + ripple if k >= first % len(frames) else frame for k, frame in enumerate(frames)]

    def testimony(self, frames):
        return witness.testify(self.problem, self.cells.grid(1.0), self.grid, frames, self.nodes)

    def errors(self, frames):
        """L1 errors at the save times."""
        pairs = [(frames[k], self.flow()[k]) for k in self.nodes.saved]
        return np.array([metrics.l1(*(wfr.Density(self.grid, v).normalised() for v in pair)) for pair in pairs])


@pytest.fixture(scope="module", params=[1.0, 0.0], ids=["both", "transport"])
def one(request):
    return Setting(request.param)


ALONG = {
    "alpha": lambda one: one.flow(alpha=1.03),
    "mean along": lambda one: one.flow(shift=np.array([0.02, 0.0])),
    "ripple along": lambda one: one.rippled(0.01 * np.sin(2 * one.x)[:, None]),
    "last frame": lambda one: one.rippled(0.01 * np.sin(2 * one.x)[:, None], first=-1),
}
ACROSS = {
    "mean across": lambda one: one.flow(shift=np.array([0.0, 0.01 * WIDTH])),
    "ripple across": lambda one: one.rippled(0.01 * np.sin(one.y / WIDTH)[None, :]),
    "last frame": lambda one: one.rippled(0.01 * np.sin(one.y / WIDTH)[None, :], first=-1),
}


def test_no_fault_is_below_the_tolerance(one):
    found = one.testimony(one.flow())
    assert found.l1.max() < 3e-4
    assert found.unknown.max() < 1e-5


@pytest.mark.parametrize("fault", ALONG)
def test_faults_along_the_ridge_are_seen_with_their_size(one, fault):
    frames = ALONG[fault](one)
    true, found = one.errors(frames), one.testimony(frames)
    assert true[-1] > 2e-3
    np.testing.assert_allclose(found.l1, true, rtol=0.25, atol=3e-4)


@pytest.mark.parametrize("fault", ACROSS)
def test_faults_across_the_ridge_are_below_the_bound(one, fault):
    """What is put in across is damped within a step: of a frame alone a part is seen, and counts twice."""
    frames = ACROSS[fault](one)
    true, found = one.errors(frames), one.testimony(frames)
    assert true[-1] > 2e-3
    assert np.all(2 * found.l1 + 2 * found.unknown >= 0.95 * true)
    assert found.l1[-1] < 20 * true[-1]
