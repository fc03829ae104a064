"""Samplers on a grid: their law for infinitely many particles, against particles at the same dt and bandwidth.

Of one million particles in several runs, means are known to a thousandth of a standard deviation. What the particles
add to that is small beside it: a bias of order 1/n from their own terms, and 2e-4 in sums of kernels by way of a grid.
"""

import math

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import brentq

import wfr_pde as wfr
from wfr_pde.flows.sampler_laws.birth_death import log_survival
from wfr_pde.samplers import SMCWFR, BirthDeath, FeynmanKac, KernelDensity, Langevin, MixtureDensity, Oracle, Resample
from wfr_pde.samplers.birth_death import survivors

TARGET = wfr.GaussianMixture([-1.5, 1.5], [0.3, 0.7], [0.5, 0.3])
START = wfr.Gaussian(-0.6, 0.9)
GRID = wfr.Grid(-8.0, 8.0, 256)  # edges of cells at multiples of 1/16
END = 0.6
# Smooth functions, and regions cut at edges of cells.
FUNCTIONS = {
    "x": lambda p: p[..., 0],
    "x²": lambda p: p[..., 0] ** 2,
    "cos 2x": lambda p: np.cos(2 * p[..., 0]),
    "left": lambda p: (p[..., 0] < 0).astype(float),
    "middle": lambda p: ((p[..., 0] > -0.5) & (p[..., 0] < 0.75)).astype(float),
    "right": lambda p: (p[..., 0] > 1.5).astype(float),
}
K, M = KernelDensity(0.3), MixtureDensity()


@pytest.fixture(scope="module")
def oracle():
    ds = wfr.ground_truth(TARGET, START, np.linspace(0, END, 13), transport_rate=1.0, reaction_rate=2.0, rtol=1e-6)
    return Oracle(wfr.Trajectory(ds, TARGET))


def law(target, sampler, start, t, dt):
    return wfr.Density.from_dataset(wfr.solve(target, sampler, start, [0, t], dt, keep="last"))


def agree(target, start, grid, sampler, dt, runs=10, n=100_000, functions=FUNCTIONS, sigmas=4.5):
    """The means of particles are those of the density.

    Errors are those of independent draws or, where particles interact, the spread of the runs, if that is larger. With
    ten runs 4.5 of the latter are exceeded in one of 700 cases, of the former in one of 150,000; seeds are fixed.
    """
    density = law(target, sampler, grid.density(start), END, dt)
    assert abs(density.mass - 1) < 1e-9
    found = []
    for seed in range(runs):
        ds = wfr.solve(target, sampler, start.sample(n, rng=seed), [0, END], dt, rng=seed + 100, keep="last")
        x, w = ds["position"].values[-1], np.exp(ds["log_weight"].values[-1])
        found.append([w @ f(x) for f in functions.values()])
    found = np.array(found)
    for k, (name, f) in enumerate(functions.items()):
        mean, square = (density.expectation(lambda p, f=f, e=e: f(p) ** e) for e in (1, 2))
        independent = math.sqrt((square - mean**2) / (runs * n))
        error = max(independent, found[:, k].std(ddof=1) / math.sqrt(runs))
        assert abs(found[:, k].mean() - mean) < sigmas * error, name
        assert error < 4 * independent, name  # so the comparison is as sharp as said
    return density


ONE_DIMENSION = {
    "Langevin": Langevin(1.3),
    "Langevin, births and deaths": wfr.Lie(Langevin(), BirthDeath(2.0, 0.3)),
    "births and deaths around Langevin": wfr.Strang(BirthDeath(2.0, 0.3), Langevin()),
    "many events": wfr.Lie(Langevin(0.5), BirthDeath(10.0, 0.3)),
    "events by the mixture": wfr.Lie(Langevin(), BirthDeath(3.0, density=M)),
    "weights by the kernel": wfr.Strang(Langevin(), FeynmanKac(2.0, K)),
    "weights by the mixture": wfr.Lie(Langevin(), FeynmanKac(2.0, M)),
    "SMC-WFR": SMCWFR(0.8, 1.5),
    "SMC-WFR, seldom resampled": SMCWFR(0.8, 1.5, self_term=False, threshold=0.6, scheme="multinomial"),
}


@pytest.mark.parametrize("name", ONE_DIMENSION)
def test_law_is_that_of_many_particles(name):
    dt = 0.2
    density = agree(TARGET, START, GRID, ONE_DIMENSION[name], dt)
    # dt is coarse enough for the law to be far from that of small steps: a wrong dt in it would show
    fine = law(TARGET, ONE_DIMENSION[name], GRID.density(START), END, dt / 4)
    assert max(abs(density.expectation(f) - fine.expectation(f)) for f in FUNCTIONS.values()) > 0.008


def test_law_of_the_kernelised_energy():
    """It sums over all pairs: fewer particles."""
    agree(TARGET, START, GRID, wfr.Lie(Langevin(), BirthDeath(2.0, 0.3, "energy")), 0.3, runs=16, n=3000)


def test_law_with_the_true_ratio(oracle):
    agree(TARGET, START, GRID, wfr.Strang(BirthDeath(2.0, density=oracle), Langevin()), 0.3)
    agree(TARGET, START, GRID, wfr.Lie(Langevin(), FeynmanKac(2.0, oracle)), 0.3)


def test_law_in_two_dimensions():
    target = wfr.GaussianMixture(
        [[-1.2, 0.0], [1.2, 0.5]], [0.4, 0.6], [[[0.5, 0.2], [0.2, 0.4]], [[0.4, 0], [0, 0.5]]]
    )
    start = wfr.Gaussian([-0.5, 0.5], [[0.8, -0.2], [-0.2, 0.6]])
    grid = wfr.Grid([-6.4, -6.4], [6.4, 6.4], 64)
    functions = FUNCTIONS | {
        "y": lambda p: p[..., 1],
        "xy": lambda p: p[..., 0] * p[..., 1],
        "corner": lambda p: ((p[..., 0] > 0) & (p[..., 1] > 0.4)).astype(float),
    }
    functions.pop("middle"), functions.pop("right")  # not at edges of these cells
    agree(target, start, grid, wfr.Lie(Langevin(), BirthDeath(3.0, 0.4)), 0.2, runs=10, n=50_000, functions=functions)


@pytest.mark.parametrize("scale", [0.1, 1.0, 3.0])
def test_events_in_random_order_have_the_law_that_is_claimed(scale):
    """One call for a million particles: how many copies of the particles of a cell there are, by Λ of the cell."""
    cells, n = 24, 1_200_000
    grid, rng = wfr.Grid(0.0, 1.0, cells), np.random.default_rng(5)
    share = rng.permutation(np.linspace(0.5, 1.5, cells))
    state = wfr.Density(grid, np.log(share / share.mean()))
    counts = np.round(n * share / share.sum()).astype(int)
    expected = scale * np.concatenate([np.linspace(-1, 1.5, cells - 1), [0.0]])
    cell = np.repeat(np.arange(cells), counts)
    copies = np.bincount(survivors(expected[cell], rng), minlength=len(cell))
    found = np.bincount(cell, copies, cells)
    predicted = counts * np.exp(log_survival(state, expected))
    assert predicted.sum() == pytest.approx(len(cell), rel=1e-4)  # shares are rounded
    # offspring of different particles is all but uncorrelated: the variance of a sum is at most that of its terms
    error = np.sqrt(np.bincount(cell, copies.astype(float) ** 2, cells))
    assert np.all(np.abs(found - predicted) < 4 * error)
    # sharp enough to tell the law from that of events all at once: 1 - p + D and 1 + p, less deaths by births B
    chance, mass = -np.expm1(-np.abs(expected)), counts / counts.sum()
    deaths, births = mass @ np.where(expected > 0, chance, 0), mass @ np.where(expected < 0, chance, 0)
    at_once = 1 + np.where(expected > 0, -chance, chance) + deaths - births
    assert scale < 1 or np.any(np.abs(found - counts * at_once) > 6 * error)


def test_survival_is_right_where_next_to_nobody_dies():
    """Far tails with a mass of e^-60 to e^-20 that all die: what is left there comes to D/2 of it, with all digits."""
    for depth in (60.0, 40.0, 25.0):
        grid = wfr.Grid(0.0, 1.0, 8)
        state = wfr.Density(grid, np.array([-depth] + [0.0] * 7)).normalised()
        expected = np.array([800.0] + [0.0] * 7)
        deaths = float(state.values[0] / 8)
        result = log_survival(state, expected)
        assert result[0] == pytest.approx(math.log(deaths / 2 + deaths**2 / 3), abs=3e-14)
        np.testing.assert_allclose(result[1:], deaths, rtol=1e-6, atol=3e-16)


def test_no_events_and_no_rate_change_nothing():
    pi = wfr.Density(GRID, wfr.KL(TARGET).log_equilibrium(GRID))
    for flow in (BirthDeath(2.0), BirthDeath(2.0, density=M), BirthDeath(2.0, variant="energy"), FeynmanKac(density=M)):
        after = flow.make_step(wfr.KL(TARGET), pi, 0.3)(pi, 0.0)
        assert np.abs(after.log_values - pi.log_values).max() < 1e-12
    for flow in (BirthDeath(0.0), FeynmanKac(0.0), Langevin(0.0), Resample()):
        assert flow.make_step(wfr.KL(TARGET), pi, 0.3)(pi, 0.0) is pi


def test_weights_by_the_exact_ratio_are_the_fr_flow():
    start = GRID.density(START)
    weighed = FeynmanKac(1.3, M).make_step(wfr.KL(TARGET), start, 0.4)(start, 0.0)
    exact = wfr.FisherRao(1.3).make_step(wfr.KL(TARGET), start, 0.4)(start, 0.0)
    assert np.abs(weighed.log_values - exact.log_values).max() < 1e-12


def test_births_and_deaths_are_the_fr_flow_to_first_order():
    start, t = GRID.density(START), 0.4
    exact = law(TARGET, wfr.FisherRao(1.3), start, t, t)
    errors = [
        float(GRID.integrate(np.abs(law(TARGET, BirthDeath(1.3), start, t, t / n).values - exact.values)))
        for n in (8, 16, 32)
    ]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(1, abs=0.15)  # O(dt) of rate dt g ~ 0.2
    assert np.log2(errors[1] / errors[2]) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(("alpha", "beta", "bandwidth"), [(1.0, 2.0, 0.5), (0.3, 3.0, 0.4)])
def test_equilibrium_of_kernelised_births_and_deaths_is_not_pi(alpha, beta, bandwidth):
    """With pi = N(0, 1), N(0, C) stays Gaussian: g = x²/2 (1 - 1/(C + ε²)), and Cov(x², x²/2) = C², so that

    dC/dt = 2 alpha (1 - C) - beta C² (1 - 1/(C + ε²)).
    """

    def change(c):
        return 2 * alpha * (1 - c) - beta * c**2 * (1 - 1 / (c + bandwidth**2))

    stays = brentq(change, 0.1, 2)
    assert stays < 1 - 0.05  # the kernel makes mu look wider than it is
    target, grid = wfr.Gaussian(0.0, 1.0), wfr.Grid(-9, 9, 180)
    flow = wfr.Lie(Langevin(alpha), BirthDeath(beta, bandwidth))
    start = grid.density(wfr.Gaussian(0.0, stays))
    gaps = np.array([law(target, flow, start, 2.5, dt).covariance()[0, 0] - stays for dt in (0.1, 0.05, 0.025)])
    assert abs(gaps[0]) > 0.003
    np.testing.assert_allclose(gaps[1:] / gaps[:-1], 0.5, atol=0.06)  # O(dt), with a term of dt²
    assert abs(2 * gaps[2] - gaps[1]) < 0.05 * abs(gaps[0])
    # and on the way there, extrapolated in dt: what is left falls with dt²
    path = solve_ivp(lambda t, c: change(c), (0, 0.5), [0.4], rtol=1e-10, atol=1e-12)
    finer = wfr.Grid(-9, 9, 270)
    begin = finer.density(wfr.Gaussian(0.0, 0.4))
    first, second, third = (law(target, flow, begin, 0.5, dt).covariance()[0, 0] for dt in (0.05, 0.025, 0.0125))
    left = np.array([2 * second - first, 2 * third - second]) - path.y[0, -1]
    assert abs(left[1]) < 3e-4
    assert left[1] / left[0] == pytest.approx(0.25, abs=0.06)


def test_ratio_of_the_kernelised_energy_is_the_formula():
    """log (K * mu)/pi + K * (mu / (K * mu)), by sums over all pairs of cells."""
    target, grid = wfr.Gaussian(0.0, 1.0), wfr.Grid(-9, 9, 180)
    state, bandwidth, kernel = grid.density(wfr.Gaussian(0.2, 0.6)), 0.5, BirthDeath(1.0, 0.5, "energy")
    x = grid.points()[:, 0]
    k = np.exp(-((x[:, None] - x) ** 2) / (2 * bandwidth**2)) / math.sqrt(2 * math.pi * bandwidth**2) * grid.axes[0].dx
    smooth = k @ state.values
    expected = np.log(smooth) + k @ (state.values / smooth) + x**2 / 2
    found = kernel._log_ratio_on_grid(grid)(state, wfr.KL(target), 0.0)
    inner = np.abs(x) < 5  # walls are not felt
    difference = (found - expected)[inner]
    assert np.ptp(difference) < 1e-10


def test_true_ratio_on_another_grid_is_interpolated(oracle):
    other = wfr.Grid(-9.0, 7.5, 211)
    state, energy, t = other.density(START), wfr.KL(TARGET), 0.25
    found = oracle.on_grid(other)(state, energy, t)
    at_particles = oracle(wfr.Particles(other.points()), TARGET, t)
    difference = found - at_particles
    assert np.ptp(difference) < 1e-9  # one constant; also for cells outside the box of the solution
    same = oracle.on_grid(oracle.truth.grid)(None, energy, t)
    assert np.ptp(same - oracle(wfr.Particles(oracle.truth.grid.points()), TARGET, t)) < 1e-9


def test_kernels_that_cells_do_not_resolve_are_refused():
    energy, start = wfr.KL(TARGET), GRID.density(START)
    for flow in (BirthDeath(1.0, 0.05), BirthDeath(1.0, 0.05, "energy"), FeynmanKac(density=KernelDensity(0.05))):
        with pytest.raises(
            ValueError, match=r"bandwidth=0.05 is not resolved .* 0.0625 \(needs at least 0.0765.*finer"
        ):
            flow.make_step(energy, start, 0.1)
    BirthDeath(1.0, 0.0766).make_step(energy, start, 0.1)


def test_kernel_estimate_on_a_grid_is_that_of_many_particles():
    state = GRID.density(wfr.Gaussian(0.3, 0.6))
    found = K.on_grid(GRID)(state, wfr.KL(wfr.Gaussian(0.0, 1.0)), 0.0)
    x = GRID.points()[:, 0]
    smooth = 0.6 + 0.3**2
    expected = -((x - 0.3) ** 2) / (2 * smooth) - 0.5 * math.log(smooth) + x**2 / 2
    assert np.abs(found - expected)[np.abs(x) < 4].max() < 1e-11


def test_limits_and_refusals_on_grids_are_those_of_the_kernel():
    energy, start = wfr.KL(TARGET), GRID.density(START)
    low = wfr.LangevinKernel(0.8).dt_bounds(energy, start)[0]
    assert Langevin(0.8).dt_bounds(energy, start)[0] == SMCWFR(0.8).dt_bounds(energy, start)[0] == low > 0
    assert Langevin(0.8).dt_bounds(energy, wfr.Particles(START.sample(5, rng=0))) == (0.0, math.inf)
    with pytest.raises(ValueError, match="is too small for SMCWFR"):
        wfr.solve(TARGET, SMCWFR(0.8), start, [0, 1], low / 2)
    for sampler in (Langevin(), SMCWFR(), wfr.samplers.MALA()):
        assert sampler.memory_use(start).held > 8 * GRID.size
        assert sampler.memory_use(wfr.Particles(START.sample(5, rng=0))).held == 0
    with pytest.raises(TypeError, match="moves Particles, not Density"):
        wfr.solve(TARGET, wfr.samplers.SVGD(), start, [0, 1], 0.1)


def test_a_law_does_not_depend_on_the_seed_and_resumes_to_the_same_bits():
    start, sampler = GRID.density(START), wfr.Strang(BirthDeath(2.0, 0.3), Langevin())
    one, two = (wfr.solve(TARGET, sampler, start, [0, 0.1, 0.2], 0.05, rng=seed) for seed in (1, 2))
    np.testing.assert_array_equal(one["log_density"], two["log_density"])
    middle = wfr.Density.from_dataset(one, 1)
    step = sampler.make_step(wfr.KL(TARGET), start, 0.05)
    end = step(step(middle, 0.1), 0.15)
    assert np.abs(end.log_values - one["log_density"].values[-1]).max() < 1e-12
