"""Samplers of the WFR flow: what they declare of law and order, and the steps one by one."""

import dataclasses
import inspect
import math
import pickle

import numpy as np
import pytest
import xarray as xr

import wfr_pde as wfr
from wfr_pde import exact
from wfr_pde.numerics.compiled.gridded_sums import binned_kernel_sums
from wfr_pde.numerics.compiled.pair_sums import kernel_sums, log_kernel_sums
from wfr_pde.samplers import (
    SMCWFR,
    BirthDeath,
    FeynmanKac,
    KernelDensity,
    Langevin,
    MixtureDensity,
    Oracle,
    Resample,
    birth_death,
    resample,
)
from wfr_pde.samplers.density_ratio import log_gaussian_sums
from wfr_pde.space.particles import Mixture

TARGET, START = wfr.Gaussian(0, 1), wfr.Gaussian(-1, 0.4)
END = 0.5
MOMENTS = {"mean": lambda state, energy: state.mean()[0], "variance": lambda state, energy: state.covariance()[0, 0]}


@pytest.fixture(scope="module")
def oracle():
    ds = wfr.ground_truth(TARGET, START, np.linspace(0, END, 11), rtol=1e-6)
    return Oracle(wfr.Trajectory(ds, TARGET))


@pytest.fixture(scope="module")
def of_fr():
    ds = wfr.ground_truth(TARGET, START, np.linspace(0, END, 11), transport_rate=0, rtol=1e-6)
    return Oracle(wfr.Trajectory(ds, TARGET))


def with_oracle(name, oracle, of_fr):
    """A flow with the true g, and the rates of its law."""
    return {
        "Langevin": (Langevin(), (1, 0)),
        "FeynmanKac alone": (FeynmanKac(density=of_fr), (0, 1)),
        "BirthDeath alone": (BirthDeath(density=of_fr), (0, 1)),
        "FeynmanKac, Langevin": (wfr.Strang(FeynmanKac(density=oracle), Langevin()), (1, 1)),
        "Langevin, FeynmanKac": (wfr.Lie(Langevin(), FeynmanKac(density=oracle)), (1, 1)),
        "BirthDeath, Langevin": (wfr.Strang(BirthDeath(density=oracle), Langevin()), (1, 1)),
        "with resampling": (wfr.Lie(Resample(), wfr.Strang(FeynmanKac(density=oracle), Langevin())), (1, 1)),
    }[name]


ORACLES = ["Langevin", "FeynmanKac alone", "BirthDeath alone", "FeynmanKac, Langevin", "Langevin, FeynmanKac",
           "BirthDeath, Langevin", "with resampling"]  # fmt: skip
LAWS = {(1, 0): "w", (0, 1): "fr", (1, 1): "wfr"}


def moments(flow, n, dt, seed, start=START, target=TARGET):
    """Mean and variance at the end."""
    ds = wfr.solve(target, flow, start.sample(n, rng=seed), [0, END], dt, rng=seed, record=MOMENTS, keep=[END])
    return np.array([ds["mean"].values[-1], ds["variance"].values[-1]])


def true_moments(rates):
    answer = exact.gaussian_flow(TARGET, START, END, *rates)
    return np.array([answer.mean[0], answer.covariance[0, 0]])


@pytest.mark.parametrize("name", ORACLES)
def test_converges_in_dt_to_its_law(name, oracle, of_fr):
    flow, rates = with_oracle(name, oracle, of_fr)
    assert flow.law == LAWS[rates]
    n, seeds = 40_000, range(6)
    dts = [0.25, 0.125, 0.0625]
    errors = np.array([[moments(flow, n, dt, seed) for seed in seeds] for dt in dts]) - true_moments(rates)
    mean, noise = errors.mean(axis=1), 4 * errors.std(axis=1, ddof=1) / math.sqrt(len(seeds)) + 4e-3
    # 4 standard errors of 6 runs, a Student t with 5 degrees: one in a hundred; 4e-3: the true noise of 240,000 draws
    assert np.all(np.abs(mean[-1] - mean[-2] / 2) < noise[-1] + noise[-2] / 2)  # of order one, or better
    assert np.all(np.abs(mean[-1]) < 0.05)


@pytest.mark.parametrize("name", ["Langevin", "FeynmanKac, Langevin", "BirthDeath, Langevin"])
def test_error_falls_with_the_square_root_of_the_number(name, oracle, of_fr):
    flow, _ = with_oracle(name, oracle, of_fr)
    numbers, seeds = np.array([64, 256, 1024, 4096]), range(200)
    spread = [
        np.std([moments(flow, n, 0.125, 1000 * k + seed) for seed in seeds], axis=0) for k, n in enumerate(numbers)
    ]
    slopes = np.polyfit(np.log(numbers), np.log(spread), 1)[0]
    # spreads of 200 runs are known to 5 %, slopes over a factor 64 to 0.016: 0.05 is 3 standard deviations
    assert np.all(np.abs(slopes + 0.5) < 0.05)


def test_every_exported_sampler_is_a_flow_that_states_its_law():
    for cls in vars(wfr.samplers).values():
        if inspect.isclass(cls) and issubclass(cls, wfr.samplers.Sampler):
            assert dataclasses.is_dataclass(cls) or cls is wfr.samplers.Sampler
            assert cls.__doc__
            if isinstance(cls.law, str):
                assert cls.law in {"w", "fr", "wfr", "rest", "pi", "own"}


@pytest.mark.parametrize(
    "flow",
    [
        Langevin(0.7),
        Resample(0.5, "stratified"),
        wfr.Strang(FeynmanKac(0.3, KernelDensity(0.2)), Langevin()),
        wfr.Lie(Langevin(), FeynmanKac(density=MixtureDensity(self_term=False))),
        wfr.Strang(Langevin(), BirthDeath(2.0, 0.3)),
        wfr.Lie(Langevin(), BirthDeath(2.0, 0.3, "energy")),
        SMCWFR(0.5, 2.0, threshold=0.7),
    ],
    ids=repr,
)
def test_steps_are_pure_and_runs_resume_to_the_same_bits(flow, tmp_path):
    assert pickle.loads(pickle.dumps(flow)) == flow
    target = wfr.GaussianMixture([[-1.0, 0.0], [1.5, 0.5]], [0.4, 0.6], 0.3)
    start = wfr.Gaussian([0, 0], 1.0).sample(150, rng=3)
    t = np.linspace(0, 0.5, 6)
    whole = wfr.solve(target, flow, start, t, 0.05, rng=5)

    class StoppedError(Exception):
        pass

    def stops(state, energy, counter=[0]):  # noqa: B006
        counter[0] += 1
        if counter[0] == 4:
            raise StoppedError
        return 0.0

    with pytest.raises(StoppedError):
        wfr.solve(target, flow, start, t, 0.05, rng=5, out=tmp_path / "run", record={"stop": stops})
    resumed = wfr.solve(
        target, flow, start, t, 0.05, rng=5, out=tmp_path / "run", record={"stop": lambda state, energy: 0.0}
    )
    for name in ("position", "log_weight"):
        np.testing.assert_array_equal(whole[name], resumed[name])


def test_a_seed_of_solve_does_not_repeat_the_start():
    positions = START.sample(1000, rng=7)
    ds = wfr.solve(wfr.Gaussian(0, 1), Langevin(), positions, [0, 1e-3], 1e-3, rng=7)
    noise = ds["position"].values[1] - ds["position"].values[0]
    assert abs(np.corrcoef(noise[:, 0], positions[:, 0])[0, 1]) < 0.15  # 4.7 standard deviations


def test_weights_of_kernel_and_mixture_are_the_formulas():
    rng = np.random.default_rng(0)
    x, log_weights = rng.normal(size=(7, 2)), rng.normal(size=7)
    target = wfr.Gaussian([0, 0], 1)
    means, component = rng.normal(size=(7, 2)), np.arange(7)
    state = wfr.Particles(x, log_weights, Mixture(means, 0.3, np.full(7, -math.log(7)), component))
    squares = ((x[:, None] - x) ** 2).sum(axis=-1)
    expected = np.log(np.exp(-squares / 0.08) @ state.weights) - target.log_density(x)
    np.testing.assert_allclose(KernelDensity(0.2)(state, target, 0.0), expected, rtol=1e-12)
    terms = np.exp(-((x[:, None] - means) ** 2).sum(axis=-1) / 0.6) / 7
    expected = np.log(terms.sum(axis=1)) - target.log_density(x)
    np.testing.assert_allclose(MixtureDensity()(state, target, 0.0), expected, rtol=1e-12)
    expected = np.log(terms.sum(axis=1) - np.diag(terms)) - target.log_density(x)
    np.testing.assert_allclose(MixtureDensity(self_term=False)(state, target, 0.0), expected, rtol=1e-12)
    step = FeynmanKac(2.0, KernelDensity(0.2)).make_step(wfr.KL(target), state, 0.1)
    change = step(state, 0.0).log_weights - state.log_weights + -math.expm1(-0.2) * KernelDensity(0.2)(state, target, 0)
    np.testing.assert_allclose(change, change[0], atol=1e-13)
    assert step(state, 0.0).mixture is None


def test_smc_wfr_is_its_three_parts():
    target, start = wfr.Gaussian(0, 1), wfr.Particles(START.sample(60, rng=0), np.linspace(0, 1, 60))
    state = SMCWFR(0.5, 2.0).make_step(wfr.KL(target), start, 0.2)(start, 0.0, np.random.default_rng(1))
    rng = np.random.default_rng(1)
    x = start.positions[resample.chosen(start.weights, rng)]
    y = x - 0.1 * x
    x = y + math.sqrt(0.2) * rng.standard_normal(y.shape)
    q = np.exp(-((x - y.T) ** 2) / 0.4).mean(axis=1)
    log_w = -math.expm1(-0.4) * (target.log_density(x) - np.log(q))
    np.testing.assert_allclose(state.positions, x, rtol=1e-14)
    np.testing.assert_allclose(state.log_weights, log_w - np.log(np.exp(log_w).sum()), atol=1e-12)


@pytest.mark.parametrize("scheme", ["systematic", "stratified", "multinomial"])
def test_resampling_is_unbiased(scheme):
    rng = np.random.default_rng(2)
    weights = rng.dirichlet(np.full(9, 0.4))
    counts = np.array([np.bincount(resample.chosen(weights, rng, scheme), minlength=9) for _ in range(4000)])
    error = 5 * np.maximum(counts.std(axis=0), 0.02) / math.sqrt(4000)  # nine comparisons at 5 standard errors
    assert np.all(np.abs(counts.mean(axis=0) - 9 * weights) < error)
    if scheme == "systematic":
        assert np.all(np.abs(counts - 9 * weights) < 1 + 1e-9)


def test_resampling_waits_for_its_threshold():
    state = wfr.Particles(np.arange(4.0)[:, None], np.log([0.4, 0.3, 0.2, 0.1]))  # 3.33 of 4
    energy = wfr.KL(TARGET)
    assert Resample(0.8).make_step(energy, state, 1.0)(state, 0.0, 0) is state
    assert np.ptp(Resample(0.9).make_step(energy, state, 1.0)(state, 0.0, 0).log_weights) == 0


def test_birth_death_events():
    # who is killed, who copied, and how often: one particle with a large rate, the others almost at rest
    rng = np.random.default_rng(0)
    for sign in (1, -1):
        expected = np.array([sign * math.log(2), 0.0, 0.0, 0.0])  # an event of particle 0 in half of all cases
        sources = np.array([birth_death.survivors(expected, rng) for _ in range(4000)])
        changed = (sources != np.arange(4)).any(axis=1)
        assert abs(changed.mean() - 0.5) < 0.04  # 5 standard deviations
        if sign > 0:
            assert np.all(sources[:, 1:] == [1, 2, 3])
            shares = np.bincount(sources[changed, 0], minlength=4)[1:] / changed.sum()
        else:
            assert np.all(sources[:, 0] == 0)
            shares = (sources[changed, 1:] == 0).mean(axis=0)
        np.testing.assert_allclose(shares, 1 / 3, atol=0.053)  # 5 standard deviations
    assert birth_death.survivors(np.array([3.0]), rng).tolist() == [0]


def test_kernelised_energy_has_its_own_term():
    state = wfr.Particles(np.random.default_rng(1).normal(size=(30, 1)))
    gaps = state.positions - state.positions.T
    kernel = np.exp(-(gaps**2) / (2 * 0.3**2))
    smooth = kernel.mean(axis=1)
    own = BirthDeath(bandwidth=0.3, variant="energy")._log_ratio(state, TARGET, 0.0)
    expected = np.log(smooth) + (kernel / smooth).mean(axis=1) - TARGET.log_density(state.positions)
    np.testing.assert_allclose(own, expected, rtol=1e-12)


def test_pair_sums_far_and_left_out():
    rng = np.random.default_rng(4)
    x, y, log_weights = rng.normal(size=(40, 3)), rng.normal(size=(2500, 3)), 3 * rng.normal(size=2500)
    x[0], log_weights[5] = 1e3, -np.inf
    exponents = log_weights - ((x[:, None] - y) ** 2).sum(axis=-1) / 0.02
    np.testing.assert_allclose(
        log_kernel_sums(x, y, log_weights, 0.01), np.logaddexp.reduce(exponents, axis=1), rtol=1e-13
    )
    nearest = exponents.argmax(axis=1)
    exponents[np.arange(40), nearest] = -np.inf
    expected = np.logaddexp.reduce(exponents, axis=1)
    np.testing.assert_allclose(log_kernel_sums(x, y, log_weights, 0.01, nearest), expected, rtol=1e-13)
    assert log_kernel_sums(x[:1], y[:1], np.zeros(1), 1.0, np.zeros(1, int))[0] == -np.inf
    weights = rng.normal(size=2500)
    kernel = np.exp(-((x[:, None] - y) ** 2).sum(axis=-1) / 2)
    np.testing.assert_allclose(kernel_sums(x, y, weights, 1.0), kernel @ weights, atol=1e-12)
    many = rng.normal(size=(1500, 2))  # by all threads
    rows = log_kernel_sums(many, many, np.zeros(1500), 0.04)
    np.testing.assert_array_equal(rows[:100], log_kernel_sums(many[:100], many, np.zeros(1500), 0.04))


def test_moving_target():
    # log mu_t of the tempered FR flow from mu_0 stays on the path: weight a with a' = lambda - a
    path = wfr.GeometricPath(START, TARGET, lambda t: min(t, 1.0))
    ds = wfr.ground_truth(path, START, [0, 0.25, END], transport_rate=0, rtol=1e-6)
    flow = FeynmanKac(density=Oracle(wfr.Trajectory(ds, path)))
    found = np.mean([moments(flow, 20_000, 0.05, seed, target=path) for seed in range(4)], axis=0)
    answer = exact.gaussian_flow_by_ode(path, START, END, 0.0, 1.0)
    np.testing.assert_allclose(found, [answer.mean[0], answer.covariance[0, 0]], atol=0.012)  # 5 standard deviations


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Langevin(-1), "finite rate >= 0"),
        (lambda: Resample(0), "threshold must be in"),
        (lambda: Resample(scheme="best"), "scheme must be one of"),
        (lambda: KernelDensity(0), "bandwidth must be positive"),
        (lambda: FeynmanKac(density=0.2), "density must be a LogRatio such as KernelDensity"),
        (lambda: BirthDeath(bandwidth=-1), "bandwidth must be"),
        (lambda: BirthDeath(variant="x"), "variant must be one of"),
        (lambda: BirthDeath(bandwidth=0.1, density=KernelDensity(0.2)), "leaves nothing for bandwidth"),
        (lambda: SMCWFR(0), "needs rate > 0"),
        (lambda: SMCWFR(reaction_rate=-1), "finite rate >= 0"),
    ],
)
def test_bad_parameters(make, words):
    with pytest.raises((ValueError, TypeError), match=words):
        make()


def test_bad_states():
    energy, positions = wfr.KL(TARGET), START.sample(5, rng=0)
    weighted = wfr.Particles(positions, np.arange(5.0))
    with pytest.raises(ValueError, match=r"equally weighted particles.*put Resample\(\) before"):
        BirthDeath(bandwidth=0.1).make_step(energy, weighted, 0.1)
    with pytest.raises(ValueError, match="know no mixture"):
        FeynmanKac(density=MixtureDensity()).make_step(energy, weighted, 0.1)(weighted, 0.0)
    alone = Langevin().make_step(energy, weighted, 0.1)(wfr.Particles(positions[:1]), 0.0, 0)
    with pytest.raises(ValueError, match="one particle alone"):
        MixtureDensity(self_term=False)(alone, TARGET, 0.0)
    with pytest.raises(TypeError, match="moves Particles, not Density"):
        wfr.solve(TARGET, wfr.samplers.SVGD(), wfr.Grid(-6, 6, 50).density(START), [0, 1], 0.1)
    same = wfr.Particles(np.zeros((5, 1)))
    with pytest.raises(ValueError, match="all particles are at one place"):
        BirthDeath().make_step(energy, same, 0.1)(same, 0.0)
    steep = wfr.Potential(lambda x: x**4 / 4, support=(-3, 3))
    with pytest.raises(wfr.NumericalError, match=r"Langevin moved a particle .* too steep .* smaller dt"):
        wfr.solve(steep, Langevin(), np.full((4, 1), 30.0), [0, 10], 1.0, rng=0)


def test_dataset_opens_without_the_package(tmp_path):
    wfr.solve(TARGET, SMCWFR(), START.sample(20, rng=0), [0, 0.1], 0.1, rng=0, out=tmp_path / "run")
    ds = xr.open_dataset(tmp_path / "run" / "seg-000000.nc")
    assert ds["position"].dims == ("t", "particle", "dim")
    ds.close()


@pytest.mark.parametrize(("d", "n", "width"), [(1, 3000, 0.1), (2, 3000, 0.1), (2, 1000, 0.5), (3, 2000, 0.3)])
def test_binned_sums_agree_with_pairs(d, n, width):
    rng = np.random.default_rng(5)
    x, y, weights = rng.normal(size=(n, d)), rng.normal(size=(n, d)), rng.random(n)
    x[: n // 2] = y[: n // 2]
    pairs = kernel_sums(x, y, weights, width**2)[: n // 2]
    np.testing.assert_allclose(binned_kernel_sums(x, y, weights, width**2)[: n // 2], pairs, rtol=2e-4)
    # without its own term a far particle is alone, and is summed by pairs
    own = np.arange(n // 2)
    y[0] = x[0] = 30.0
    exact_sums = log_gaussian_sums(x[: n // 2], y, np.log(weights), width**2, 10**9, own)
    near = exact_sums > np.log(weights[: n // 2]) - 2
    binned = log_gaussian_sums(x[: n // 2], y, np.log(weights), width**2, 0, own)
    np.testing.assert_allclose(binned[near], exact_sums[near], atol=3e-3)
    np.testing.assert_allclose(binned[0], exact_sums[0], rtol=1e-13)


def test_binned_sums_of_unequal_weights():
    rng = np.random.default_rng(6)
    x = rng.normal(size=(4000, 2))
    log_weights = -((x - 1.5) ** 2).sum(axis=1) / 0.2
    pairs, binned = (log_gaussian_sums(x, x, log_weights, 0.01, number) for number in (10**9, 0))
    weights = np.exp(log_weights - np.logaddexp.reduce(log_weights))
    assert weights @ np.abs(binned - pairs) < 1e-4  # where the mass is
    assert np.abs(binned - pairs).max() < 0.1


def test_binning_is_refused_where_the_grid_would_be_too_large():
    x = np.random.default_rng(0).normal(size=(100, 3))
    with pytest.raises(ValueError, match=r"needs .* nodes to span the points.*sum over pairs"):
        binned_kernel_sums(x, x, np.ones(100), 1e-8)
    np.testing.assert_array_equal(  # so it is not tried
        log_gaussian_sums(x, x, np.zeros(100), 1e-8, 0), log_kernel_sums(x, x, np.zeros(100), 1e-8)
    )


def test_a_run_of_particles_is_told_from_one_with_another_target(tmp_path):
    positions = START.sample(10, rng=0)
    targets = [wfr.Potential(lambda x, k=k: k * x**2, support=(-5, 5)) for k in (1.0, 2.0)]
    wfr.solve(targets[0], Langevin(), positions, [0, 0.1], 0.1, rng=0, out=tmp_path / "run")
    with pytest.raises(ValueError, match="holds another run"):
        wfr.solve(targets[1], Langevin(), positions, [0, 0.1], 0.1, rng=0, out=tmp_path / "run")
