"""Samplers and metrics in 100 dimensions: memory O(N d), kernels that underflow, what kernel estimates still see."""

import tracemalloc
from dataclasses import dataclass

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.special import logsumexp

import wfr_pde as wfr
from wfr_pde import exact, metrics, samplers
from wfr_pde.numerics.compiled.gridded_sums import affordable
from wfr_pde.numerics.compiled.pair_sums import log_kernel_sums
from wfr_pde.numerics.compiled.svgd import stein_directions
from wfr_pde.numerics.compiled.teleportation import teleport
from wfr_pde.samplers.bandwidths import median_distance
from wfr_pde.samplers.density_ratio import scott
from wfr_pde.samplers.kernel_fisher_rao import potential_flow

N, D = 2000, 100
STATE = 8 * N * D  # bytes of the positions
MOST = 18  # states that a step may take, for two replicas, too; one matrix of N² numbers is 20
TARGET = wfr.GaussianMixture([[-1.0] * D, [1.0] * D], [0.3, 0.7], 1.0)
START = wfr.Gaussian([0.5] * D, 1.0)
PATH = wfr.Noised(TARGET, wfr.OU(t_end=3.0)).reversed()
FLOWS = {
    "BirthDeath": samplers.BirthDeath(),
    "BirthDeath, energy": samplers.BirthDeath(variant="energy"),
    "FeynmanKac": samplers.FeynmanKac(),
    "KernelFisherRao": samplers.KernelFisherRao(START, centres=200),
    "Langevin": samplers.Langevin(),
    "MALA": samplers.MALA(),
    "ParallelTempering": samplers.ParallelTempering(temperatures=(1.0, 2.0)),
    "Resample": samplers.Resample(),
    "ReverseDiffusion": samplers.ReverseDiffusion(PATH),
    "SMCWFR": samplers.SMCWFR(),
    "SMCWFR, no self term": samplers.SMCWFR(self_term=False),
    "SVGD": samplers.SVGD(),
    "TeleportingWalkers": samplers.TeleportingWalkers(0.5),
    "Tempering": samplers.Tempering(START),
    "UnderdampedLangevin": samplers.UnderdampedLangevin(),
}
METRICS = {
    "MMD": metrics.MMD(10.0),
    "MMD, Laplace": metrics.MMD(10.0, kernel="laplace"),
    "EnergyDistance": metrics.EnergyDistance(),
    "KSD": metrics.KSD(TARGET),
    "SlicedWasserstein": metrics.SlicedWasserstein(),
    "mean_error": metrics.mean_error,
    "covariance_error": metrics.covariance_error,
    "ModeMasses": metrics.ModeMasses(np.linspace(-1, 1, 20)[:, None] * np.ones(D)),
}


def particles(name=""):
    log_weights = np.random.default_rng(1).normal(size=N) if name == "Resample" else None
    return wfr.Particles(START.sample(N, rng=0), log_weights)


def peak(function):
    """Result of a function, and the bytes that it takes beyond what there is; what it loads is loaded before."""
    function()
    tracemalloc.start()
    try:
        result = function()
        return result, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", FLOWS)
def test_a_step_takes_memory_in_proportion_to_the_particles(name):
    state = particles(name)
    step = FLOWS[name].make_step(wfr.KL(PATH if name == "ReverseDiffusion" else TARGET), state, 0.01)
    after, most = peak(lambda: step(state, 0.0, np.random.default_rng(0)))
    assert most < MOST * STATE
    again = step(state, 0.0, np.random.default_rng(0))
    assert after.positions.shape == (N, D)
    np.testing.assert_array_equal(after.positions, again.positions)
    np.testing.assert_array_equal(after.log_weights, again.log_weights)


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_takes_memory_in_proportion_to_the_particles(name):
    one, other = particles(), wfr.Particles(TARGET.sample(N, rng=5))
    distance, most = peak(lambda: METRICS[name](one, other))
    assert most < MOST * STATE
    assert np.isfinite(distance)


def test_draws_of_a_mixture_take_memory_in_proportion_to_them():
    x, most = peak(lambda: TARGET.sample(N, rng=3))
    assert most < 4 * STATE
    assert x.mean() == pytest.approx(0.4, abs=0.05)


def test_sums_by_blocks_are_direct_ones():
    rng = np.random.default_rng(2)
    x, log_w = rng.normal(size=(700, D)), rng.normal(size=700) * 100
    squares = cdist(x, x, "sqeuclidean")
    for variance in (1e-4, 0.8, 1e3):  # the terms of others are e^-1e6 and less; e^-120; alike
        for left_out in (None, np.arange(700)):
            terms = log_w - squares / (2 * variance)
            if left_out is not None:
                np.fill_diagonal(terms, -np.inf)
            found = log_kernel_sums(x, x, log_w, variance, left_out)
            np.testing.assert_allclose(found, logsumexp(terms, axis=1), rtol=1e-13)
    scores, h = rng.normal(size=x.shape), 7.0
    kernels = np.exp(-squares / (2 * h**2))
    expected = (kernels @ scores + (kernels.sum(axis=1)[:, None] * x - kernels @ x) / h**2) / 700
    np.testing.assert_allclose(stein_directions(x, scores, h), expected, atol=1e-14)


def test_a_grid_of_infinitely_many_nodes_is_not_asked_for():
    x = np.random.default_rng(3).normal(size=(10, 200))
    with np.errstate(all="raise"):
        assert not affordable(x, x, 1e-8)


def test_crowds_that_underflow():
    # kernels with the far walker are e^-3000 or so, and still it is the first to go, as pi is e^-7000 there
    rng, n, width = np.random.default_rng(4), 30, 1.5
    x = rng.normal(size=(n, D))
    x[7] *= 12
    target = wfr.Gaussian(np.zeros(D), 1.0)
    log_pi = target.log_density(x)
    exponents = -cdist(x, x, "sqeuclidean") / (2 * width**2)
    np.fill_diagonal(exponents, -np.inf)
    crowds = log_kernel_sums(x, x, np.zeros(n), width**2, np.arange(n))
    np.testing.assert_allclose(crowds, logsumexp(exponents, axis=1), rtol=1e-13)
    assert crowds[7] < -745  # of which the exponential is zero
    clones = x[:1] + width * rng.normal(size=(1, D))
    before, uniforms = x.copy(), np.array([[0.5, 0.5]])
    walkers = x, log_pi.copy(), crowds, crowds.copy()
    log_pi_clones = target.log_density(clones)
    done = teleport(
        *walkers, parents=np.array([0]), clones=clones, log_pi_clones=log_pi_clones, uniforms=uniforms, bandwidth=width
    )
    near = -cdist(before, clones, "sqeuclidean")[:, 0] / (2 * width**2)
    weights = np.logaddexp(logsumexp(exponents, axis=1), near) - log_pi
    assert done == 1
    assert np.delete(weights, 7).max() < weights[7] - 1000  # there is no doubt which one goes
    np.testing.assert_array_equal(x[7], clones[0])
    exponents = -cdist(x, x, "sqeuclidean") / (2 * width**2)
    np.fill_diagonal(exponents, -np.inf)
    np.testing.assert_allclose(crowds, logsumexp(exponents, axis=1), rtol=1e-12)


def test_rules_for_the_bandwidth():
    x = np.random.default_rng(5).normal(size=(N, D)) * 3.0
    assert scott(wfr.Particles(x)) == pytest.approx(3.0 * N ** (-1 / (D + 4)), rel=0.01)
    assert median_distance(x) == pytest.approx(3.0 * np.sqrt(2 * D), rel=0.01)
    alone = wfr.Particles(x, np.where(np.arange(N) == 3, 0.0, -2000.0))
    with pytest.raises(ValueError, match=r"zero along axis 0 \(effective sample size 1 of 2000\).*put Resample"):
        scott(alone)


def test_kernels_at_some_particles_are_those_of_the_weighted_equations():
    # the Galerkin equations of 20 kernels, written out with the gradients of all 60 particles
    rng, h, d = np.random.default_rng(6), 6.0, 30
    x, weights, chosen = rng.normal(size=(60, d)), rng.dirichlet(np.ones(60)), np.arange(0, 60, 3)
    force = weights * (x[:, 0] - weights @ x[:, 0])
    gap = x[None, chosen].transpose(1, 0, 2) - x
    kernels = np.exp(-(gap**2).sum(-1) / (2 * h**2))
    slopes = kernels[..., None] * gap / h**2
    matrix = np.einsum("ilk,jlk,l->ij", slopes, slopes, weights)
    matrix += 1e-3 * np.trace(matrix) / 20 * np.eye(20)
    expected = np.einsum("i,ilk->lk", np.linalg.solve(matrix, kernels @ force), slopes)
    np.testing.assert_allclose(potential_flow(x, weights, force, h, 1e-3, chosen), expected, rtol=1e-9, atol=1e-11)


@dataclass(frozen=True)
class Known(samplers.LogRatio):
    """The true g of the WFR flow between two Gaussians."""

    target: wfr.Gaussian
    start: wfr.Gaussian

    is_exact = True

    def __call__(self, state, target, t):
        law = exact.gaussian_flow(self.target, self.start, t)
        return law.log_density(state.positions) - target.log_density(state.positions)


@pytest.mark.parametrize("d", [20, 100])
@pytest.mark.parametrize("kind", [samplers.BirthDeath, samplers.FeynmanKac])
def test_with_the_true_density_the_moments_are_those_of_the_flow(kind, d):
    target, start = wfr.Gaussian(np.zeros(d), 1.0), wfr.Gaussian(np.full(d, 0.3), 0.8)
    reaction = kind(density=Known(target, start))
    flow = wfr.Strang(samplers.Langevin(), reaction)
    ds = wfr.solve(target, flow, start.sample(N, rng=1), t=[0, 1], dt=0.05, rng=2)
    state = wfr.Particles(ds.position.values[-1], ds.log_weight.values[-1])
    law = exact.gaussian_flow(target, start, 1.0)
    variances = state.weights @ (state.positions - state.mean()) ** 2
    n_eff = state.effective_sample_size  # copies, too, make fewer independent ones: five deviations are allowed
    assert state.mean().mean() == pytest.approx(law.mean[0], abs=5 / np.sqrt(n_eff * d) + 0.01)  # O(dt)
    assert variances.mean() == pytest.approx(law.covariance[0, 0], abs=5 * np.sqrt(2 / (n_eff * d)) + 0.03)  # O(dt)


def test_every_kernel_sum_is_a_particles_own_term_in_a_hundred_dimensions():
    target, x = wfr.Gaussian(np.zeros(D), 1.0), particles().positions
    moved = samplers.Langevin().make_step(wfr.KL(target), particles(), 0.05)(particles(), 0.0, 3)
    by_kernel = samplers.KernelDensity()(particles(), target, 0.0) + target.log_density(x)
    assert np.ptp(by_kernel) < 1e-3  # the same everywhere: nothing is known of the density
    noise = np.sum((moved.positions - moved.mixture.means) ** 2, axis=1) / (2 * moved.mixture.variance)
    by_mixture = samplers.MixtureDensity()(moved, target, 0.0) + target.log_density(moved.positions)
    np.testing.assert_allclose(by_mixture, -noise - np.log(N), rtol=1e-13)


def law_of_the_blind(name, d, dt, steps):
    """Mean and variance per axis from N(1, 1) to pi = N(0, 1), where every kernel sum is a particle's own term.

    A Langevin step is weighted by a power of pi, 1 - e^-dt. In SMC-WFR the own term is the kernel N(X; Y, 2 dt) that
    the particle was drawn from, of which the same power is taken off: noise of the variance 2 dt / e^-dt. Events of
    birth-death saturate: of a change L = dt (V - E V) of the weights 1 - e^-|L| is made, e^-|L| of its slope.
    """
    mean, variance = 1.0, 1.0
    normal = np.polynomial.hermite_e.hermegauss(60)
    for _ in range(steps):
        noise = 2 * dt * np.exp(dt) if name == "SMCWFR" else 2 * dt
        mean, variance = (1 - dt) * mean, (1 - dt) ** 2 * variance + noise
        power = -np.expm1(-dt)
        if name == "BirthDeath":
            spread = dt * np.sqrt(d * (variance**2 / 2 + mean**2 * variance))
            power = dt * np.exp(-spread * np.abs(normal[0])) @ normal[1] / np.sqrt(2 * np.pi)
        mean, variance = mean / (1 + power * variance), variance / (1 + power * variance)
    return mean, variance


@pytest.mark.parametrize("name", ["SMCWFR", "BirthDeath"])
def test_an_estimated_density_is_blind_in_twenty_dimensions(name):
    d, dt = 20, 0.05
    target, start = wfr.Gaussian(np.zeros(d), 1.0), wfr.Gaussian(np.ones(d), 1.0)
    flow = samplers.SMCWFR() if name == "SMCWFR" else wfr.Lie(samplers.Langevin(), samplers.BirthDeath())
    means, variances = [], []
    for seed in range(4):
        ds = wfr.solve(target, flow, start.sample(N, rng=seed), t=[0, 1], dt=dt, rng=seed)
        state = wfr.Particles(ds.position.values[-1], ds.log_weight.values[-1])
        means.append(state.mean().mean())
        variances.append(np.mean(state.weights @ (state.positions - state.mean()) ** 2))
    mean, variance = law_of_the_blind(name, d, dt, 20)
    assert np.mean(means) == pytest.approx(mean, abs=0.01)
    assert np.mean(variances) == pytest.approx(variance, abs=0.015)
    assert exact.gaussian_flow(target, start, 1.0).covariance[0, 0] == pytest.approx(1.0)  # and not 3/4
