"""Runs two at a time: the same numbers, targets asked by one thread, within the budget."""

import math
import threading
import time

import numpy as np
import pytest

import wfr_pde as wfr
from wfr_pde.errors import NumericalError
from wfr_pde.numerics.deadline import OutOfTimeError, deadline
from wfr_pde.truth.certified.budget import LONG, Budget, Run
from wfr_pde.truth.certified.problem import Problem
from wfr_pde.truth.certified.ratio_chain import RatioChain

START = wfr.Gaussian([-1, 0.5], 0.5)


def asked_by(names):
    """A well in the plane that notes which threads ask for it."""

    def potential(x, y):
        names.add(threading.current_thread().name)
        return 0.5 * (x**2 + y**2) + np.cos(x)

    return wfr.Potential(potential, ndim=2)


def long_runs(target, seconds=0.5):
    problem = Problem(target, START, np.array([0.0, seconds]), 1.0, 1.0, 1e-3)
    grids = [wfr.Grid([-6, -6], [6, 6], n) for n in (40, 64, 48)]
    steps = np.linspace(0, seconds, 1 + math.ceil(LONG / 40**2))
    return [Run(problem, grid, steps, 4, problem.times) for grid in grids]


def test_runs_two_at_a_time_are_those_alone_to_the_bit():
    names = set()
    runs, work = long_runs(asked_by(names)), Budget(600.0)
    together = work.run_all(runs)
    assert names == {threading.current_thread().name}
    for run, found in zip(runs, together, strict=True):
        alone = Budget(600.0).run(run.problem, run.grid, run.steps, run.order, run.wanted)
        assert np.array_equal(found, alone)


def test_both_threads_are_used_in_the_plane(monkeypatch):
    names = set()
    frames = Run.frames

    def noting(self, *beginning):
        names.add(threading.current_thread().name)
        return frames(self, *beginning)

    monkeypatch.setattr(Run, "frames", noting)
    Budget(600.0).run_all(long_runs(wfr.Gaussian([0, 0], 1)))
    assert len(names) == 2
    names.clear()
    line = Problem(wfr.Gaussian(0, 1), wfr.Gaussian(-1, 0.5), np.array([0.0, 0.5]), 1.0, 1.0, 1e-3)
    steps = np.linspace(0, 0.5, 1 + math.ceil(LONG / 64))
    Budget(600.0).run_all([Run(line, wfr.Grid(-6, 6, n), steps, 4, line.times) for n in (64, 96)])
    assert names == {threading.current_thread().name}


def test_threads_are_stopped_by_the_deadline_of_the_call():
    runs = long_runs(wfr.Gaussian([0, 0], 1))
    began = time.perf_counter()
    with pytest.raises(OutOfTimeError, match="is spent"), deadline(0.05):
        Budget(600.0, rate=1e-9).run_all(runs)
    assert time.perf_counter() - began < 30
    with pytest.raises(OutOfTimeError, match="would take about"):
        Budget(0.1, rate=1.0).run_all(runs)


def test_an_error_in_a_thread_is_raised(monkeypatch):
    step = RatioChain.step

    def failing(self, g, t, dt, order):
        if t > 0.1 and threading.current_thread() is not threading.main_thread():
            raise NumericalError("diverges")
        return step(self, g, t, dt, order)

    monkeypatch.setattr(RatioChain, "step", failing)
    with pytest.raises(NumericalError, match="diverges"):
        Budget(600.0).run_all(long_runs(wfr.Gaussian([0, 0], 1)))
