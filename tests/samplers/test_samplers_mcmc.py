"""Samplers that end at pi, or follow a path of their own: equilibrium, laws, orders, purity, resumption, refusals.

Seeds are fixed. A comparison "within Monte Carlo error" fails, over seeds, with a probability of 1e-5 or less.
"""

import dataclasses
import itertools
import math

import numpy as np
import pytest
from scipy.linalg import expm
from scipy.special import ndtr
from scipy.stats import chi2, kstest, norm

import wfr_pde as wfr
from wfr_pde import exact
from wfr_pde.numerics.compiled.svgd import stein_directions
from wfr_pde.numerics.compiled.teleportation import _attempts, teleport
from wfr_pde.samplers import (
    MALA,
    SVGD,
    KernelFisherRao,
    Langevin,
    ParallelTempering,
    TeleportingWalkers,
    Tempering,
    UnderdampedLangevin,
)
from wfr_pde.samplers.kernel_fisher_rao import potential_flow

FALSE_ALARM = 1e-5
SIGMAS = norm.isf(FALSE_ALARM / 2)  # 4.4
START, TARGET = wfr.Gaussian([-1.0, 0.5], [1.5, 0.8]), wfr.Gaussian([1.0, 0.0], [[0.5, 0.2], [0.2, 0.4]])
WELLS = wfr.GaussianMixture([-1.5, 1.5], [0.3, 0.7], [0.5, 0.3])
FAR_WELLS = wfr.GaussianMixture([-4.0, 4.0], [0.5, 0.5], [0.3, 0.7])

ALL = {
    "MALA": MALA(),
    "UnderdampedLangevin": UnderdampedLangevin(),
    "Tempering": Tempering(START, threshold=1.0),
    "KernelFisherRao": KernelFisherRao(START),
    "SVGD": SVGD(),
    "TeleportingWalkers": TeleportingWalkers(0.4, rate=3.0),
    "ParallelTempering": ParallelTempering(swap_rate=5.0),
}


def mixture_cdf(target):
    means, deviations = target.means[:, 0], np.sqrt(target.covariances[:, 0, 0])
    return lambda x: ndtr((np.asarray(x)[:, None] - means) / deviations) @ target.weights


def p_value(positions, cdf):
    """Of independent draws, by Kolmogorov and Smirnov."""
    return kstest(positions.ravel(), cdf).pvalue


def advanced(flow, target, state, dt, n_steps=1, seed=1, t=0.0):
    """The state after some steps."""
    step, rng = flow.make_step(wfr.KL(target), state, dt), np.random.default_rng(seed)
    for k in range(n_steps):
        state = step(state, t + k * dt, rng)
    return state


def quantiles(start, n):
    """Particles (n, 1) that stand for a Gaussian, with its very moments."""
    x = norm.ppf((np.arange(n) + 0.5) / n)[:, None]
    return wfr.Particles(start.mean + np.sqrt(start.covariance[0, 0]) * (x - x.mean()) / x.std())


# equilibrium


@pytest.mark.parametrize("dt", [0.1, 0.5, 3.0])
def test_mala_stays_at_pi_where_langevin_does_not(dt):
    start = wfr.Particles(WELLS.sample(50_000, rng=2))
    after = {flow: advanced(flow, WELLS, start, dt, 10).positions for flow in (MALA(), Langevin())}
    moved = np.mean(advanced(MALA(), WELLS, start, dt).positions != start.positions)
    assert 0.01 < moved < 0.99  # some proposals are accepted, some are not
    assert p_value(after[MALA()], mixture_cdf(WELLS)) > FALSE_ALARM
    assert p_value(after[Langevin()], mixture_cdf(WELLS)) < FALSE_ALARM


def test_mala_is_reversible():
    """As many cross a place from left to right as from right to left, in one step."""
    x = WELLS.sample(200_000, rng=3)
    y = advanced(MALA(), WELLS, wfr.Particles(x), 0.7).positions
    for place in (-1.7, 0.0, 1.2):
        there, back = np.sum((x < place) & (y >= place)), np.sum((x >= place) & (y < place))
        assert there + back > 1000
        assert abs(there - back) < SIGMAS * math.sqrt(there + back)


def test_mala_comes_to_pi_from_far_away():
    start = wfr.Particles(np.full((10_000, 1), 5.0))
    assert p_value(start.positions, mixture_cdf(WELLS)) < FALSE_ALARM
    after = advanced(MALA(), WELLS, start, 0.4, 150)
    assert p_value(after.positions, mixture_cdf(WELLS)) > FALSE_ALARM


@pytest.mark.parametrize("h", [0.3, 1.2])
def test_underdamped_langevin_has_its_own_equilibrium(h):
    """For N(0, v): positions exactly, velocities with a variance of 1 - h²/(4 v)."""
    n, v = 50_000, 0.8
    target = wfr.Gaussian(0.0, v)
    after = advanced(UnderdampedLangevin(friction=2.0), target, wfr.Particles(np.full((n, 1), 2.0)), h, int(30 / h))
    assert p_value(after.positions / math.sqrt(v), ndtr) > FALSE_ALARM
    velocity = after.auxiliary / math.sqrt(1 - h**2 / (4 * v))
    assert FALSE_ALARM / 2 < chi2.cdf(np.sum(velocity**2), n) < 1 - FALSE_ALARM / 2
    assert abs(np.sum(after.positions * velocity)) < SIGMAS * math.sqrt(n * v)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_teleporting_walkers_keep_the_product_of_pi(n):
    """Ensembles of few walkers, where an error of the pairing would show."""
    rng, flow, repeats = np.random.default_rng(4), TeleportingWalkers(0.6), 1500
    step = flow.make_step(wfr.KL(WELLS), wfr.Particles(np.zeros((n, 1))), 5.0)
    states = (step(wfr.Particles(WELLS.sample(n, rng)), 0.0, rng) for _ in range(repeats))
    after = np.array([state.positions[:, 0] for state in states])
    assert p_value(after, mixture_cdf(WELLS)) > FALSE_ALARM
    left = np.sum(after < 0, axis=1)  # of n independent walkers: binomial, if they are independent of each other
    p = float(mixture_cdf(WELLS)(np.zeros(1))[0])
    variance = n * p * (1 - p)
    fourth = variance * (1 + (3 * n - 6) * p * (1 - p))
    error = math.sqrt((fourth - variance**2) / repeats)
    assert abs(np.mean((left - n * p) ** 2) - variance) < SIGMAS * error


def test_many_teleporting_walkers_stay_at_pi():
    start = wfr.Particles(FAR_WELLS.sample(4000, rng=5))
    after = advanced(TeleportingWalkers(0.3), FAR_WELLS, start, 2.0)
    assert np.mean(after.positions != start.positions) > 0.5
    assert p_value(after.positions, mixture_cdf(FAR_WELLS)) > FALSE_ALARM


def test_teleporting_walkers_cross_to_a_far_mode_that_is_populated():
    x = np.where(np.arange(1000)[:, None] < 950, -4.0, 4.0) + 0.7 * np.random.default_rng(6).standard_normal((1000, 1))
    local = advanced(MALA(), FAR_WELLS, wfr.Particles(x), 0.2, 40).positions
    assert np.mean(local < 0) > 0.9
    after = advanced(wfr.Lie(MALA(), TeleportingWalkers(0.2)), FAR_WELLS, wfr.Particles(x), 0.2, 40).positions
    assert p_value(after, mixture_cdf(FAR_WELLS)) > FALSE_ALARM


def test_sums_of_kernels_stay_right_while_walkers_teleport():
    """Far outliers, whose sums are tiny differences, too."""
    rng, n, h = np.random.default_rng(7), 60, 0.3
    x = rng.standard_normal((n, 2)) * np.array([1.0, 3.0])
    log_pi = -0.5 * np.sum(x**2, axis=1)

    def crowds_of(x):
        kernels = np.exp(-0.5 * np.sum((x[:, None] - x) ** 2, axis=-1) / h**2)
        np.fill_diagonal(kernels, 0.0)
        return np.log(kernels.sum(axis=1))

    crowds = crowds_of(x)
    peaks, done = crowds.copy(), 0
    for _ in range(2000):
        parents = rng.integers(n, size=5)
        clones = x[parents] + h * rng.standard_normal((5, 2))
        attempts = {"parents": parents, "clones": clones, "log_pi_clones": -0.5 * np.sum(clones**2, 1)}
        done += teleport(x, log_pi, crowds, peaks, **attempts, uniforms=rng.random((5, 2)), bandwidth=h)
    assert 2000 <= done <= 10_000
    np.testing.assert_allclose(crowds, crowds_of(x), rtol=0, atol=1e-10)  # logarithms
    np.testing.assert_array_equal(log_pi, -0.5 * np.sum(x**2, axis=1))


def test_compiled_teleports_are_those_of_the_formula():
    rng, n, h = np.random.default_rng(8), 7, 0.8
    q = lambda a, b: math.exp(-0.5 * (a - b) ** 2 / h**2)
    log_pi_of = lambda z: -0.25 * z**4
    x = rng.standard_normal((n, 1))
    for _ in range(200):
        parent, uniforms = int(rng.integers(n)), rng.random(2)
        clone = x[parent, 0] + h * rng.standard_normal()
        pool = [clone, *x[:, 0]]
        w = np.array([sum(q(a, z) for k, a in enumerate(pool) if k != i) / math.exp(log_pi_of(z))
                      for i, z in enumerate(pool)])  # fmt: skip
        j = 1 + int(np.searchsorted(np.cumsum(w[1:]), uniforms[0] * w[1:].sum(), side="right"))
        expected = x.copy()
        if uniforms[1] < w[1:].sum() / (w.sum() - w[j]):
            expected[j - 1] = clone
        crowds = np.log((np.exp(-0.5 * (x - x.T) ** 2 / h**2) - np.eye(n)).sum(axis=1))
        state = x.copy(), log_pi_of(x[:, 0]), crowds, crowds.copy()
        clones = np.array([[clone]])
        done = _attempts(*state, np.array([parent]), clones, log_pi_of(clones[:, 0]), uniforms[None], 0.5 / h**2)
        assert done == 1
        np.testing.assert_array_equal(state[0], expected)
        x = expected


@pytest.mark.parametrize("dt", [0.2, 2.0])
def test_parallel_tempering_keeps_the_product(dt):
    """Replicas of N(m, v) at temperature T have N(m, T v), and stay independent of each other."""
    n, temperatures = 40_000, np.array([1.0, 2.0, 5.0])
    target = wfr.Gaussian(1.0, 0.6)
    rng = np.random.default_rng(9)
    x = 1.0 + np.sqrt(0.6 * temperatures) * rng.standard_normal((n, 3))
    flow = ParallelTempering(temperatures=tuple(temperatures), swap_rate=2.0)
    after = advanced(flow, target, wfr.Particles(x[:, :1], auxiliary=x[:, 1:]), dt, 8)
    z = (np.hstack([after.positions, after.auxiliary]) - 1.0) / np.sqrt(0.6 * temperatures)
    for column in z.T:
        assert p_value(column, ndtr) > FALSE_ALARM
    for i, j in ((0, 1), (0, 2), (1, 2)):
        assert abs(z[:, i] @ z[:, j]) < SIGMAS * math.sqrt(n)
        assert abs((z[:, i] ** 2 - 1) @ (z[:, j] ** 2 - 1)) < SIGMAS * math.sqrt(4 * n)


def test_parallel_tempering_crosses_a_barrier():
    start = wfr.Particles(np.full((4000, 1), -4.0))
    assert np.all(advanced(MALA(), FAR_WELLS, start, 0.2, 100).positions < 0)
    flow = ParallelTempering(temperatures=(1, 3, 9, 27), swap_rate=5.0)
    after = advanced(flow, FAR_WELLS, start, 0.2, 250)
    assert p_value(after.positions, mixture_cdf(FAR_WELLS)) > FALSE_ALARM


# laws and orders


def test_mala_follows_the_w_flow():
    """Order 1: the error is about -0.5 dt in the mean, 0.3 dt in the variance."""
    n, start, target = 100_000, wfr.Gaussian(2.0, 0.25), wfr.Gaussian(0.0, 1.0)
    truth = exact.gaussian_flow(target, start, 0.5, 1.0, 0.0)
    variance = truth.covariance[0, 0]
    errors = {}
    for dt in (0.25, 0.01):
        after = advanced(MALA(), target, wfr.Particles(start.sample(n, rng=10)), dt, round(0.5 / dt)).positions
        errors[dt] = abs(after.mean() - truth.mean[0]), abs(after.var() - variance)
        assert errors[dt][0] < 0.7 * dt + SIGMAS * math.sqrt(variance / n)
        assert errors[dt][1] < 0.7 * dt + SIGMAS * variance * math.sqrt(2 / n)
    assert errors[0.25][0] > 5 * errors[0.01][0]


def test_rate_is_speed():
    """Twice the rate at half the dt is the same step."""
    state = wfr.Particles(START.sample(50, rng=11))
    for name in ("MALA", "UnderdampedLangevin", "SVGD", "TeleportingWalkers", "ParallelTempering"):
        flow = ALL[name]
        fast = dataclasses.replace(flow, rate=2 * flow.rate)
        slow, quick = advanced(flow, TARGET, state, 0.2, 3), advanced(fast, TARGET, state, 0.1, 3)
        np.testing.assert_array_equal(slow.positions, quick.positions)


def test_underdamped_langevin_is_of_order_2():
    """Two runs with the same noise differ by the flow of the mean, which is linear for a Gaussian target."""
    friction, target = 0.7, wfr.Gaussian(0.0, 0.5)
    truth = expm(2.0 * np.array([[0.0, 1.0], [-2.0, -friction]])) @ [1.0, -0.5]
    errors = []
    for n_steps in (20, 40, 80):
        ends = [
            advanced(UnderdampedLangevin(friction=friction), target, state, 2.0 / n_steps, n_steps)
            for state in (
                wfr.Particles([[1.0]], auxiliary=np.array([[-0.5]])),
                wfr.Particles([[0.0]], auxiliary=np.array([[0.0]])),
            )
        ]
        ends = [np.array([s.positions[0, 0], s.auxiliary[0, 0]]) for s in ends]
        errors.append(np.abs(ends[0] - ends[1] - truth).max())
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    np.testing.assert_allclose(orders, 2, atol=0.05)


@pytest.mark.parametrize(("n_steps", "flow"), [
    (20, {}), (4, {}), (1, {}), (1, {"moves": 5}), (4, {"threshold": 1.0, "scheme": "multinomial"}),
    (4, {"moves": 0}), (4, {"scale": 0.3, "rate": 2.0}),
])  # fmt: skip
def test_tempering_has_the_moments_of_the_fisher_rao_flow(n_steps, flow):
    """At any dt. The error of a mean over independent runs is estimated from their scatter."""
    sampler, runs, t0 = Tempering(START, start_time=2.0, **flow), 24, 2.0
    truth = exact.gaussian_flow(TARGET, START, 1.0, 0.0, sampler.rate)
    found = []
    for seed in range(runs):
        state = wfr.Particles(START.sample(4000, rng=100 + seed))
        after = advanced(sampler, TARGET, state, 1.0 / n_steps, n_steps, seed, t0)
        gap = after.positions - truth.mean
        found.append([*(after.weights @ gap), *((after.weights[:, None] * gap).T @ gap)[np.triu_indices(2)]])
    found = np.array(found)
    errors = found.mean(axis=0) - [0, 0, *truth.covariance[np.triu_indices(2)]]
    # Student's t with 23 degrees of freedom: 5.6 has a probability of 1e-5; biases of self-normalised weights, O(1/n),
    # are far below
    assert np.all(np.abs(errors) < 5.6 * found.std(axis=0, ddof=1) / math.sqrt(runs))
    assert np.all(found.std(axis=0) / math.sqrt(runs) < 0.02)  # a test that can fail


def test_tempering_ends_in_modes_of_the_right_mass():
    """Far modes, which the start covers."""
    start = wfr.Gaussian(0.0, 16.0)
    masses = []
    for seed in range(12):
        state = wfr.Particles(start.sample(2000, rng=200 + seed))
        masses.append(np.mean(advanced(Tempering(start, threshold=1.0), FAR_WELLS, state, 0.5, 30, seed).positions < 0))
    assert abs(np.mean(masses) - 0.5) < 7.1 * np.std(masses, ddof=1) / math.sqrt(12)  # Student's t, 11 degrees: 1e-5
    assert np.std(masses) < 0.05


def test_kernel_fisher_rao_finds_the_velocity_of_a_gaussian():
    """Linear in x. Particles on a lattice, with Gaussian weights, have no error of their own: the span has."""
    start, target = wfr.Gaussian(-1.0, 1.5), wfr.Gaussian(1.0, 0.5)
    z = np.linspace(-6, 6, 200)
    w = norm.pdf(z) / norm.pdf(z).sum()
    x = start.mean + math.sqrt(1.5) * z[:, None]
    h = target.log_density(x) - start.log_density(x)
    mean_rate = 1.5 * 2.0 / 0.5  # C A (b - m)
    variance_rate = 1.5 - 1.5**2 / 0.5  # C - C A C
    expected = mean_rate + variance_rate / (2 * 1.5) * (x - start.mean)
    errors = []
    for regularisation in (1e-4, 1e-6, 1e-8):
        found = potential_flow(x, w, w * (h - w @ h), 2.0, regularisation)
        errors.append(math.sqrt(w @ np.sum((found - expected) ** 2, axis=1) / (w @ np.sum(expected**2, axis=1))))
    assert errors[0] > 2 * errors[1] > 4 * errors[2]
    assert errors[2] < 5e-4  # measured: 2.6e-4


def test_kernel_fisher_rao_solves_the_weak_form():
    """Against sums written out, in two dimensions and with weights."""
    rng, n, width, regularisation = np.random.default_rng(12), 9, 1.3, 1e-3
    x, force, w = rng.standard_normal((n, 2)), rng.standard_normal(n), rng.dirichlet(np.ones(n))
    kernel = lambda a, b: math.exp(-0.5 * np.sum((a - b) ** 2) / width**2)
    slope = lambda i, k: (x[i] - x[k]) / width**2 * kernel(x[i], x[k])  # of K_i at x_k
    m = np.array([[sum(w[k] * slope(i, k) @ slope(j, k) for k in range(n)) for j in range(n)] for i in range(n)])
    b = np.array([sum(kernel(x[i], x[k]) * force[k] for k in range(n)) for i in range(n)])
    c = np.linalg.solve(m + regularisation * np.trace(m) / n * np.eye(n), b)
    expected = np.array([sum(c[j] * slope(j, k) for j in range(n)) for k in range(n)])
    np.testing.assert_allclose(potential_flow(x, w, force, width, regularisation), expected, rtol=1e-8, atol=1e-10)


def test_kernel_fisher_rao_with_kernels_that_cannot_move_anything():
    start, target = wfr.Gaussian(0.5, 1.0), wfr.Gaussian(0.0, 1.0)
    alone = wfr.Particles([[0.3]])
    assert advanced(KernelFisherRao(start, bandwidth=1.0), target, alone, 0.1).positions[0, 0] == 0.3
    far = wfr.Particles([[0.0], [100.0]])
    with pytest.raises(wfr.NumericalError, match="no kernel of bandwidth 1 reaches another of the n=2 .* longer bandw"):
        advanced(KernelFisherRao(start, bandwidth=1.0), target, far, 0.1)
    many = wfr.Particles(start.sample(50, rng=24))
    with pytest.raises(wfr.NumericalError, match="singular up to rounding with regularisation=1e-18: use a larger one"):
        advanced(KernelFisherRao(start, bandwidth=50.0, regularisation=1e-18), target, many, 0.1)


def test_kernel_fisher_rao_is_of_order_2():
    start, target = wfr.Gaussian(-1.0, 1.5), wfr.Gaussian(1.0, 0.5)
    flow = KernelFisherRao(start, bandwidth=2.0)
    ends = [advanced(flow, target, quantiles(start, 60), 1 / n, n).positions for n in (20, 40, 80, 160)]
    gaps = [np.abs(a - b).max() for a, b in itertools.pairwise(ends)]
    np.testing.assert_allclose(np.log2(np.array(gaps[:-1]) / gaps[1:]), 2, atol=0.15)


def test_kernel_fisher_rao_comes_to_the_fisher_rao_flow_with_more_particles():
    start, target = wfr.Gaussian(-1.0, 1.5), wfr.Gaussian(1.0, 0.5)
    truth = exact.gaussian_flow(target, start, 1.0, 0.0, 1.0)
    errors = []
    for n in (25, 100, 400):
        after = advanced(KernelFisherRao(start), target, quantiles(start, n), 0.04, 25)
        errors.append(abs(after.mean()[0] - truth.mean[0]) + abs(after.covariance()[0, 0] - truth.covariance[0, 0]))
    assert errors[0] > 2 * errors[1] > 2 * errors[2]
    assert errors[2] < 0.01


def test_stein_directions_are_those_of_the_formula():
    rng, h = np.random.default_rng(13), 0.7
    x, s = rng.standard_normal((2, 40, 3))
    gaps = x[:, None] - x
    kernels = np.exp(-0.5 * np.sum(gaps**2, axis=-1) / h**2)[..., None]
    np.testing.assert_allclose(stein_directions(x, s, h), np.mean(kernels * (s + gaps / h**2), axis=1), rtol=1e-12)


def test_svgd_comes_to_rest_near_pi():
    """Without bandwidth too; the small variance is that of few particles (measured: 0.01 and 0.06)."""
    x = START.sample(60, rng=14)
    for flow, slack in ((SVGD(bandwidth=1.0), 0.015), (SVGD(), 0.07)):
        after = advanced(flow, TARGET, wfr.Particles(x), 0.2, 800)
        np.testing.assert_allclose(after.mean(), TARGET.mean, atol=5e-3)
        np.testing.assert_allclose(after.covariance(), TARGET.covariance, atol=slack)
        still = advanced(flow, TARGET, after, 0.2)
        assert np.abs(still.positions - after.positions).max() < 1e-3


def test_svgd_is_of_order_1():
    x = START.sample(30, rng=15)
    ends = [advanced(SVGD(), TARGET, wfr.Particles(x), 1 / n, n).positions for n in (10, 20, 40, 80)]
    gaps = [np.abs(a - b).max() for a, b in itertools.pairwise(ends)]
    np.testing.assert_allclose(np.log2(np.array(gaps[:-1]) / gaps[1:]), 1, atol=0.25)


# what every sampler keeps to


@pytest.mark.parametrize("flow", ALL.values(), ids=ALL.keys())
def test_steps_are_pure(flow):
    state = wfr.Particles(START.sample(40, rng=16))
    first = advanced(flow, TARGET, state, 0.1, 3, seed=5)
    before = [array.copy() for _, array in first.checkpoint().values()]
    step = flow.make_step(wfr.KL(TARGET), state, 0.1)
    a, b = (step(first, 0.3, np.random.default_rng(6)) for _ in range(2))
    for one, other in zip(a.checkpoint().values(), b.checkpoint().values(), strict=True):
        np.testing.assert_array_equal(one[1], other[1])
    for old, (_, now) in zip(before, first.checkpoint().values(), strict=True):
        np.testing.assert_array_equal(old, now)
    assert np.any(a.positions != first.positions)
    assert a.mixture is None
    different = step(first, 0.3, np.random.default_rng(7))
    assert flow.random == bool(np.any(different.positions != a.positions))


@pytest.mark.parametrize("flow", ALL.values(), ids=ALL.keys())
def test_rate_zero_is_rest(flow):
    state = wfr.Particles(START.sample(20, rng=17))
    assert advanced(dataclasses.replace(flow, rate=0.0), TARGET, state, 0.1) is state


@pytest.mark.parametrize("flow", ALL.values(), ids=ALL.keys())
def test_an_interrupted_run_goes_on_to_the_same_bits(flow, tmp_path):
    calls = []

    def mean(state, energy):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return state.mean()

    def run(**where):
        return wfr.solve(
            TARGET, flow, START.sample(30, rng=18), [0, 0.2, 0.4, 0.6, 0.8], 0.1, record={"m": mean}, rng=8, **where
        )

    with pytest.raises(KeyboardInterrupt):
        run(out=tmp_path / "run")
    resumed = run(out=tmp_path / "run")
    calls.clear()
    calls.extend([1] * 4)
    whole = run()
    for name in ("position", "log_weight", "m"):
        np.testing.assert_array_equal(resumed[name].values, whole[name].values)


def test_weights_stay_where_they_may():
    weighted = wfr.Particles(START.sample(30, rng=19), np.random.default_rng(20).standard_normal(30))
    for name in ("MALA", "UnderdampedLangevin", "ParallelTempering", "KernelFisherRao"):
        after = advanced(ALL[name], TARGET, weighted, 0.1, 2)
        np.testing.assert_array_equal(after.log_weights, weighted.log_weights)


def test_moving_targets_are_seen_at_the_middle_of_the_step():
    path = wfr.GeometricPath(START, TARGET)
    state = wfr.Particles(START.sample(30, rng=21))
    for name in ("MALA", "UnderdampedLangevin", "SVGD", "TeleportingWalkers", "ParallelTempering"):
        found = advanced(ALL[name], path, state, 0.2, t=0.3).positions
        np.testing.assert_array_equal(found, advanced(ALL[name], path.at(0.4), state, 0.2).positions)
    for name in ("Tempering", "KernelFisherRao"):
        with pytest.raises(ValueError, match="moves"):
            ALL[name].make_step(wfr.KL(path), state, 0.1)


# refusals


@pytest.mark.parametrize(("make", "message"), [
    (lambda: MALA(rate=-1), "rate >= 0"),
    (lambda: UnderdampedLangevin(friction=0), "friction must be positive"),
    (lambda: Tempering(START, moves=-1), "moves must be a whole number"),
    (lambda: Tempering(START, moves=1.5), "moves must be a whole number"),
    (lambda: Tempering(START, scale=0.0), "scale must be positive"),
    (lambda: Tempering(START, threshold=0.0), "threshold"),
    (lambda: Tempering(START, scheme="best"), "scheme"),
    (lambda: Tempering(wfr.GeometricPath(START, TARGET)), "give start.at"),
    (lambda: KernelFisherRao(START, regularisation=0.0), "regularisation must be positive"),
    (lambda: KernelFisherRao(START, bandwidth=-1.0), "bandwidth must be positive"),
    (lambda: SVGD(bandwidth=0.0), "bandwidth must be positive"),
    (lambda: TeleportingWalkers(0.0), "bandwidth must be positive"),
    (lambda: ParallelTempering(temperatures=(1.0,)), "begin with 1"),
    (lambda: ParallelTempering(temperatures=(2.0, 4.0)), "begin with 1"),
    (lambda: ParallelTempering(temperatures=(1.0, 4.0, 2.0)), "begin with 1"),
    (lambda: ParallelTempering(temperatures=(1.0, math.inf)), "begin with 1"),
    (lambda: ParallelTempering(swap_rate=-1.0), "swap_rate"),
])  # fmt: skip
def test_parameters_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_start_that_is_no_target_is_refused():
    for kind in (Tempering, KernelFisherRao):
        with pytest.raises(TypeError, match="drawn from"):
            kind(np.zeros((10, 2)))
        with pytest.raises(ValueError, match="dimension 1"):
            advanced(kind(wfr.Gaussian(0, 1)), TARGET, wfr.Particles(np.zeros((5, 2))), 0.1)


def test_states_that_do_not_fit_are_refused():
    x = START.sample(20, rng=22)
    weighted = wfr.Particles(x, np.arange(20.0))
    for name in ("SVGD", "TeleportingWalkers"):
        with pytest.raises(ValueError, match="put Resample"):
            advanced(ALL[name], TARGET, weighted, 0.1)
    alien = wfr.Particles(x, auxiliary=np.zeros((20, 5)))
    for name in ("UnderdampedLangevin", "ParallelTempering"):
        with pytest.raises(ValueError, match="of another sampler"):
            advanced(ALL[name], TARGET, alien, 0.1)
    one_place = wfr.Particles(np.zeros((20, 2)))
    for name in ("Tempering", "KernelFisherRao", "SVGD"):
        with pytest.raises(ValueError, match="at one place"):
            advanced(ALL[name], TARGET, one_place, 0.1)
    for name in ("Tempering", "KernelFisherRao"):
        with pytest.raises(ValueError, match="begins at start_time"):
            advanced(ALL[name], TARGET, wfr.Particles(x), 0.1, t=-1.0)
    with pytest.raises(ValueError, match="use fewer, kernels at some of them .centres=1000., or Tempering"):
        KernelFisherRao(START).make_step(wfr.KL(TARGET), wfr.Particles(np.zeros((5001, 2))), 0.1)


def test_places_without_density_or_score_are_refused():
    class HalfLine(wfr.Target):
        """exp(-x) for x > 0."""

        ndim = 1

        def log_density(self, points):
            return np.where(points[..., 0] > 0, -points[..., 0], -np.inf)

        def score(self, points):
            return np.where(points > 0, -1.0, np.nan)

    outside = wfr.Particles(np.array([[1.0], [-1.0]]))
    with pytest.raises(wfr.NumericalError, match=r"the score is \[nan\] at the particle at \[-1.0\]"):
        advanced(MALA(), HalfLine(), outside, 0.1)
    with pytest.raises(ValueError, match=r"log-density is -inf at the walker at \[-1.0\]"):
        advanced(TeleportingWalkers(0.5), HalfLine(), outside, 1.0)
    x = np.random.default_rng(23).exponential(size=(3000, 1))
    for flow in (MALA(), TeleportingWalkers(0.5)):
        after = advanced(flow, HalfLine(), wfr.Particles(x), 0.5, 3).positions
        assert np.all(after > 0)
        assert p_value(after, lambda z: -np.expm1(-np.asarray(z))) > FALSE_ALARM


def test_a_drift_that_is_too_steep_is_named():
    class Quartic(wfr.Target):
        ndim = 1

        def log_density(self, points):
            return -(points[..., 0] ** 4)

        def score(self, points):
            return -4 * points**3

    far = wfr.Particles(np.array([[1e100]]))
    with np.errstate(over="ignore", invalid="ignore"), pytest.raises(wfr.NumericalError, match="use a smaller dt"):
        advanced(UnderdampedLangevin(), Quartic(), far, 0.5, 3)
    huge = wfr.Particles(np.array([[1e30]]))
    assert advanced(MALA(), Quartic(), huge, 0.5).positions[0, 0] == 1e30  # refused proposals, no error
