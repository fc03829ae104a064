"""Flows that go down no energy: solve(None, flow, ...), on densities and on particles."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
import xarray as xr

import wfr_pde as wfr
from wfr_pde import diagnostics
from wfr_pde.energies import NoEnergy
from wfr_pde.errors import NoEquilibriumError
from wfr_pde.flows.law import Law

TARGET = wfr.Gaussian(0.5, 0.3)
TIMES = np.linspace(0, 0.4, 5)
HALF_LINE = wfr.Grid(0, 9, 180, max_cut=1)  # a wall at 0 that cuts the mass, and one that nothing reaches


@dataclass(frozen=True)
class Heat(wfr.Flow):
    """d_t mu = rate Lap mu in a box: exact up to the cells."""

    rate: float = 1.0

    order = math.inf
    self_adjoint = True
    preserves = frozenset({"mass", "positivity"})
    energies = ()
    measures = (wfr.Density,)

    def build_step(self, energy, template, dt):
        kernel = template.grid.heat_kernel(self.rate * dt)
        return lambda state, rng: wfr.Density(state.grid, kernel.log_product(state.log_values))


@dataclass(frozen=True)
class Drifting(wfr.Flow):
    """Particles along dX = drift(X) dt + sqrt(2) dW, by Euler and Maruyama."""

    drift: Callable = field(repr=False, default=np.zeros_like)

    order = 1
    preserves = frozenset({"mass", "positivity"})
    energies = ()
    measures = (wfr.Particles,)
    random = True

    def build_step(self, energy, template, dt):
        def step(state, rng):
            noise = rng.standard_normal(state.positions.shape)
            return wfr.Particles(state.positions + dt * self.drift(state.positions) + math.sqrt(2 * dt) * noise)

        return step

    def reference(self, template):
        return self.drift(template.positions)


def reflected(mean, variance):
    """The Gaussian on x > 0 that is reflected at 0: the sum of two, of which each half line holds half."""
    return wfr.GaussianMixture([mean, -mean], [0.5, 0.5], variance)


@pytest.fixture(scope="module")
def start():
    return HALF_LINE.density(reflected(1.0, 0.2))


def density_run(**options):
    return wfr.solve(None, wfr.Lie(Heat(0.4), Heat(0.6)), HALF_LINE.density(reflected(1.0, 0.2)), TIMES, 0.1, **options)


def particle_run(**options):
    positions = wfr.Gaussian([1.0, 0.0], 0.2).sample(50, rng=3)
    return wfr.solve(None, Drifting(turning), positions, TIMES, 0.05, rng=7, **options)


def turning(x):
    """A drift that is no gradient."""
    return np.stack([-x[..., 0] - 2 * x[..., 1], 2 * x[..., 0] - x[..., 1]], axis=-1)


@pytest.mark.parametrize(
    "flow",
    [
        Heat(),
        wfr.Repeated(Heat(), 2),
        wfr.Lie(Heat(0.3), Heat(0.7)),
        wfr.Strang(Heat(0.5), Heat(0.5)),
        wfr.Extrapolated(wfr.Strang(Heat(0.5), Heat(0.5)), 4),
    ],
    ids=repr,
)
def test_heat_in_a_box_is_that_of_the_images(flow, start):
    ds = wfr.solve(None, flow, start, TIMES, 0.1, record=[diagnostics.mass])
    for t, log_values in zip(TIMES, ds.log_density.values, strict=True):
        found = wfr.Density(HALF_LINE, log_values)
        exact = HALF_LINE.density(reflected(1.0, 0.2 + 2 * t))
        assert float(HALF_LINE.integrate(np.abs(found.values - exact.values))) < 1e-12
    assert ds.mass.values == pytest.approx(1, abs=1e-13)


def test_particles_follow_a_drift_that_is_no_gradient():
    """The mean turns and shrinks; Euler's has the closed form (1 + dt A)^k m."""
    n, dt = 40_000, 0.05
    positions = wfr.Gaussian([1.0, 0.0], 0.2).sample(n, rng=3)
    ds = wfr.solve(None, Drifting(turning), positions, [0, 0.4], dt, rng=7, record=[diagnostics.mean])
    one = np.eye(2) + dt * np.array([[-1, -2], [2, -1]])
    exact = np.linalg.matrix_power(one, 8) @ positions.mean(axis=0)
    noise = math.sqrt(2 * 0.4 / n)  # of the mean, at most: the drift only shrinks it
    assert ds["mean"].values[-1] == pytest.approx(exact, abs=5 * noise)
    assert np.abs(exact - positions.mean(axis=0)).max() > 20 * noise


def test_what_needs_an_energy_says_so(start):
    for flow in (
        wfr.FisherRao(),
        wfr.Lie(Heat(), wfr.FisherRao()),
        wfr.Strang(wfr.Repeated(wfr.FisherRao(), 2), Heat()),
    ):
        with pytest.raises(TypeError, match=r"FisherRao is a flow of KL, but .* the problem is None: give a target"):
            wfr.solve(None, flow, start, TIMES, 0.1)
        assert wfr.solve(TARGET, flow, start, TIMES, 0.1).attrs["title"].endswith("flow of KL")
    with pytest.raises(TypeError, match=r"SinkhornKernel is a flow of KL, but there is no energy"):
        wfr.estimate(None, wfr.SinkhornKernel(), start, TIMES, 0.1)
    with pytest.raises(TypeError, match=r"Langevin is a flow of KL, but there is no energy"):
        wfr.solve(None, wfr.samplers.Langevin(), np.zeros((3, 1)), TIMES, 0.1)
    with pytest.raises(TypeError, match=r"Heat is a flow of any Energy, not of NoneType"):
        Heat().make_step(None, start, 0.1)
    with pytest.raises(TypeError, match=r"a Target or an Energy, or None for a flow that needs none, got str"):
        wfr.solve("none", Heat(), start, TIMES, 0.1)


def test_extrapolation_in_dx_combines_log_mu_where_there_is_no_pi(start):
    """A flow that is exact in space has the same law on both grids, so that there is nothing to correct."""

    @dataclass(frozen=True)
    class Coarse(Heat):
        space_order = 2

    plain, extrapolated = (
        wfr.Density.from_dataset(wfr.solve(None, flow, start, TIMES, 0.1))
        for flow in (Coarse(), wfr.Extrapolated(Coarse(), 4, "dx"))
    )
    assert not np.array_equal(plain.log_values, extrapolated.log_values)
    assert float(plain.grid.integrate(np.abs(plain.values - extrapolated.values))) < 1e-4


@pytest.mark.parametrize("promise", ["equilibrium", "monotone"])
def test_a_flow_of_no_energy_promises_nothing_about_its_minimiser(promise):
    with pytest.raises(TypeError, match=rf"Mine needs no energy, .* cannot promise \['{promise}'\]"):
        type("Mine", (wfr.Flow,), {"energies": (), "preserves": frozenset({"mass", promise})})


def test_with_an_energy_the_flow_is_the_same_and_records_see_it(start):
    alone = wfr.solve(None, Heat(), start, TIMES, 0.1, record=[wfr.KL(TARGET)])
    beside = wfr.solve(TARGET, Heat(), start, TIMES, 0.1, record=[diagnostics.kl])
    assert np.array_equal(alone.log_density, beside.log_density)
    assert np.array_equal(alone.kl, beside.kl)
    assert alone.kl[0] == wfr.KL(TARGET).value(start)


def test_records_without_an_energy(start):
    seen = []

    def what(state, energy):
        seen.append(energy)
        return state.mean()[0]

    ds = wfr.solve(None, Heat(), start, TIMES, 0.1, record=[what, diagnostics.entropy])
    assert set(seen) == {NoEnergy()}
    assert (np.diff(ds.entropy) > 0).all()
    assert set(wfr.solve(None, Heat(), start, TIMES, 0.1).data_vars) == {"log_density", "cell_width_x"}
    for record in (
        diagnostics.kl,
        diagnostics.reverse_kl,
        lambda state, energy: energy.value(state),
        _force,
        _reaction,
    ):
        with pytest.raises(NoEquilibriumError, match=r"there is no energy, .* None.*: .* record=\[KL\(target\)\]"):
            wfr.solve(None, Heat(), start, TIMES, 0.1, record={"a": record})


def _force(state, energy):
    return float(energy.first_variation(state)[0])


def _reaction(state, energy):
    return energy.reaction(state, 1.0).mass


def test_the_dataset_says_what_it_is_of(start):
    ds = wfr.solve(None, wfr.Repeated(Heat(), 2), start, TIMES, 0.1)
    assert ds.attrs["title"] == "Repeated flow"
    assert ds.attrs["energy"] == "NoEnergy()"
    assert ds.attrs["flow"] == "Repeated(flow=Heat(rate=1.0), n=2)"
    trajectory = wfr.Trajectory(ds)
    exact = HALF_LINE.density(reflected(1.0, 0.2 + 2 * 0.25))
    distance = float(HALF_LINE.integrate(np.abs(trajectory.at(0.25).values - exact.values)))
    assert distance < min(1e-2, trajectory.error_l1(0.25))
    with pytest.raises(ValueError, match=r"says of its energy 'NoEnergy\(\)', which is no text to make it from"):
        wfr.targets.stored_distribution(ds, "energy")
    assert wfr.estimate(None, Heat(), start, TIMES, 0.1, record=[diagnostics.mean]).n_steps == 4


def test_compositions_say_what_their_parts_need():
    assert wfr.Lie(Heat(), wfr.Repeated(Heat(), 3)).energies == ()
    assert wfr.Strang(wfr.FisherRao(), Heat()).energies == (wfr.KL,)
    assert wfr.Lie(Heat(), wfr.FisherRao()).law is Law.OWN


@pytest.mark.parametrize("run", [density_run, particle_run])
@pytest.mark.parametrize("at", [1, 3])
def test_a_resumed_run_has_the_bits_of_an_uninterrupted_one(run, at, tmp_path):
    calls = []

    def first(state, energy):
        return state.mean()[0]

    def interrupted(state, energy):
        calls.append(energy)
        if len(calls) == at + 2:  # the fingerprint comes first
            raise KeyboardInterrupt
        return first(state, energy)

    whole = run(record={"first": first})
    with pytest.raises(KeyboardInterrupt):
        run(record={"first": interrupted}, out=tmp_path / "run")
    assert len(wfr.open_run(tmp_path / "run").t) == at
    resumed = run(record={"first": first}, out=tmp_path / "run")
    xr.testing.assert_equal(resumed, whole)


def test_runs_on_disk_are_told_apart_by_what_their_flows_do(tmp_path):
    positions = wfr.Gaussian([1.0, 0.0], 0.2).sample(5, rng=3)

    def run(drift, wrap=lambda flow: flow):
        return wfr.solve(None, wrap(Drifting(drift)), positions, TIMES, 0.1, rng=7, out=tmp_path / "run")

    def twice(flow):
        return wfr.Repeated(flow, 2)

    first = run(turning)
    xr.testing.assert_equal(run(lambda x: turning(x)), first)  # a function is what it does, not where it lies
    with pytest.raises(ValueError, match="holds another run"):
        run(np.zeros_like)
    with pytest.raises(ValueError, match="holds another run"):
        wfr.solve(TARGET_2D, Drifting(turning), positions, TIMES, 0.1, rng=7, out=tmp_path / "run")
    tmp_path = tmp_path / "composed"  # what the parts of a composition do counts, too
    run(turning, twice)
    with pytest.raises(ValueError, match="holds another run"):
        run(np.zeros_like, twice)


TARGET_2D = wfr.Gaussian([0, 0], 1)
