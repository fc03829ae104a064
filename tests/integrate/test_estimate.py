"""What a run costs, beforehand."""

import numpy as np
import pytest

import wfr_pde as wfr
from wfr_pde.integrate.memory import estimated_memory

TARGET, START = wfr.Gaussian([0, 0], 1.0), wfr.Gaussian([1, 0], 0.5)
FLOW = wfr.Extrapolated(wfr.Strang(wfr.FisherRao(), wfr.SinkhornKernel()), 4)


def test_counts_and_sums():
    rho = wfr.Grid([-8, -8], [8, 8], (64, 64)).density(START)
    cost = wfr.estimate(TARGET, FLOW, rho, [0, 0.5, 1.5], 0.25, record=[wfr.KL(TARGET)])
    assert cost.n_steps == 6
    assert cost.memory == estimated_memory(FLOW, rho, 3)
    assert cost.available is None or cost.available > cost.memory
    assert cost.seconds == pytest.approx(cost.preparation + 6 * cost.step + 3 * cost.record)
    assert min(cost.preparation, cost.step, cost.record) > 0
    assert wfr.estimate(TARGET, FLOW, rho, [0, 0.5, 1.5], 0.25, keep="last").memory < cost.memory
    assert wfr.estimate(TARGET, FLOW, rho, [0, 0.5, 1.5], 0.25, written=True).memory > cost.memory


def test_different_sizes_of_steps_are_prepared_each():
    rho = wfr.Grid([-8, -8], [8, 8], (64, 64)).density(START)
    cost = wfr.estimate(TARGET, FLOW, rho, [0, 0.5, 1.1], 0.25)
    assert cost.seconds == pytest.approx(2 * cost.preparation + 5 * cost.step + 3 * cost.record)


def test_particles_and_moving_targets_have_a_cost_too():
    path = wfr.GeometricPath(START, TARGET, lambda t: min(t, 1.0))
    rho = wfr.Grid([-8, -8], [8, 8], (64, 64)).density(START)
    assert wfr.estimate(path, wfr.Strang(wfr.FisherRao(), wfr.SinkhornKernel()), rho, [0, 1], 0.25).seconds > 0
    positions = START.sample(100, rng=0)
    assert wfr.estimate(TARGET, wfr.samplers.Langevin(), positions, [0, 1], 0.25, rng=0).n_steps == 4


def test_what_solve_refuses_is_refused():
    rho = wfr.Grid([-8, -8], [8, 8], (64, 64)).density(START)
    with pytest.raises(ValueError, match="unresolved|resolved"):
        wfr.estimate(TARGET, FLOW, rho, [0, 1], 1e-4)


def test_three_steps_are_made_whatever_the_run(monkeypatch):
    rho, steps = wfr.Grid([-8, -8], [8, 8], (64, 64)).density(START), []
    make_step = wfr.FisherRao.make_step

    def counted(flow, energy, like, dt):
        step = make_step(flow, energy, like, dt)
        return lambda state, t, rng=None: (steps.append(t), step(state, t, rng))[1]

    monkeypatch.setattr(wfr.FisherRao, "make_step", counted)
    assert wfr.estimate(TARGET, wfr.FisherRao(), rho, np.linspace(0, 1e4, 11), 0.25).n_steps == 40_000
    assert steps == [0.0, 0.25, 0.5]


def test_the_generator_of_the_user_is_left_as_it_is():
    generator = np.random.default_rng(3)
    before = generator.bit_generator.state
    wfr.estimate(TARGET, wfr.samplers.Langevin(), START.sample(100, rng=0), [0, 1], 0.25, rng=generator)
    assert generator.bit_generator.state == before
