"""The laws that every sampler obeys: what it declares is measured.

Samplers are found in `wfr_pde.samplers`, so that a new one is held to the same. Seeds are fixed; a statistical
comparison allows five standard errors, estimated from independent repeats (a false alarm once in a million, or once in
10^5 with the fewest repeats here).
"""

import dataclasses
import importlib.util
import inspect
import itertools
import math
import pickle
import re

import numpy as np
import pytest

import wfr_pde as wfr
from wfr_pde import exact, samplers
from wfr_pde.flows.law import Law
from wfr_pde.validation.mean_field import moves_densities

START, TARGET = wfr.Gaussian([-1.0, 0.5], [1.5, 0.8]), wfr.Gaussian([1.0, 0.0], [[0.5, 0.2], [0.2, 0.4]])
LINE_START, LINE_TARGET = wfr.Gaussian(-1.0, 0.6), wfr.Gaussian(0.5, 0.8)
WELLS = wfr.GaussianMixture([-1.0, 1.2], [0.4, 0.6], [0.5, 0.4])
GRID, FINE_GRID = wfr.Grid(-7, 7, 160), wfr.Grid(-7, 7, 320)
N, DT = 40, 0.1
STANDARD_ERRORS = 5.0


def mala_of_blackjax(log_density, time):
    """The algorithm that `samplers.Blackjax` is tried with."""
    import blackjax

    return blackjax.mala(log_density, time)


def arguments(cls, start):
    """Arguments without which a sampler cannot be made, and bandwidths, which by default follow the number."""
    known = {
        "BirthDeath": {"bandwidth": 0.4},
        "FeynmanKac": {"density": samplers.KernelDensity(0.4)},
        "Resample": {"threshold": 0.9},
        "Blackjax": {"build": mala_of_blackjax},
        "TeleportingWalkers": {"bandwidth": 0.4},
        "Tempering": {"start": start},
        "KernelFisherRao": {"start": start, "bandwidth": 1.5, "regularisation": 1e-3},
        "SVGD": {"bandwidth": 1.0},
        "ReverseDiffusion": {"path": wfr.Noised(start, wfr.OU(t_end=1.0)).reversed()},
    }.get(cls.__name__, {})
    needed = {p.name for p in inspect.signature(cls).parameters.values() if p.default is p.empty}
    assert needed <= known.keys(), f"say in arguments() how a {cls.__name__} is made: it needs {needed}"
    return known


def made(cls, start=START, **changes):
    return cls(**arguments(cls, start) | changes)


CLASSES = {
    name: cls
    for name, cls in sorted(vars(samplers).items())
    if inspect.isclass(cls) and issubclass(cls, samplers.Sampler) and cls is not samplers.Sampler
}
SAMPLERS = {name: made(cls) for name, cls in CLASSES.items()}
ON_THE_LINE = {name: made(cls, LINE_START) for name, cls in CLASSES.items()}
NEEDS_JAX = pytest.mark.skipif(importlib.util.find_spec("blackjax") is None, reason="needs blackjax")
COMPILED_FOR_EVERY_SHAPE = {"Blackjax"}  # some seconds each; it is an algorithm of others, in tests/samplers/external


def each(*without):
    """Parametrize over the names of all samplers but some."""
    marks = {"Blackjax": NEEDS_JAX}
    names = [pytest.param(name, marks=marks.get(name, ())) for name in CLASSES if name not in without]
    return pytest.mark.parametrize("name", names)


def takes_weights(sampler, target=TARGET, start=START):
    """Whether it moves particles of different weights; else it must say what to do."""
    state = wfr.Particles(start.sample(4, rng=0), np.arange(4.0))
    try:
        sampler.make_step(wfr.KL(target), state, DT)
    except ValueError as refusal:
        if "put Resample() before it" not in str(refusal):
            raise
        return False
    return True


def weighted(sampler, n=N, target=TARGET, start=START, spread=1.0, seed=1):
    """Particles drawn from the start, as far as the sampler allows with different weights, and what else it carries."""
    rng = np.random.default_rng(seed)
    positions = start.sample(n, rng)
    log_weights = spread * rng.standard_normal(n) if takes_weights(sampler, target, start) else None
    state = wfr.Particles(positions, log_weights)
    if isinstance(sampler, samplers.Blackjax):
        return state
    first = sampler.make_step(wfr.KL(target), state, DT)(state, 0.0, np.random.default_rng(seed))
    return wfr.Particles(positions, log_weights, first.mixture, first.auxiliary)


def step_of(sampler, state, dt=DT, target=TARGET):
    return sampler.make_step(wfr.KL(target), state, dt)


def advanced(sampler, target, state, dt, n_steps, rng=None):
    """The state after some steps."""
    step, rng = step_of(sampler, state, dt, target), np.random.default_rng(rng)
    for k in range(n_steps):
        state = step(state, k * dt, rng)
    return state


def arrays(state):
    return {name: array for name, (_, array) in state.checkpoint().items()}


def same(a, b):
    a, b = arrays(a), arrays(b)
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def statistics(state):
    """Weighted means of functions of the first coordinate: its mean, second moment, a region, a wave."""
    x = state.positions[:, 0]
    return state.weights @ np.stack([x, x**2, x < 0, np.cos(2 * x)], axis=1)


def density_statistics(density):
    return np.array(
        [
            density.expectation(f)
            for f in (
                lambda p: p[..., 0],
                lambda p: p[..., 0] ** 2,
                lambda p: (p[..., 0] < 0).astype(float),
                lambda p: np.cos(2 * p[..., 0]),
            )
        ]
    )


def differs(found, truth):
    """How many of the allowed standard errors the means over repeats (r, k) are from the truth, at most."""
    error = STANDARD_ERRORS * found.std(axis=0, ddof=1) / math.sqrt(len(found))
    return float(np.max(np.abs(found.mean(axis=0) - truth) / np.maximum(error, 1e-10)))


# what is declared


@each()
def test_declarations(name):
    sampler = SAMPLERS[name]
    assert dataclasses.is_dataclass(sampler)
    assert sampler.__doc__
    assert sampler.order >= 1
    assert sampler.preserves <= {"mass", "positivity", "equilibrium"}
    assert isinstance(sampler.random, bool)
    assert isinstance(sampler.interacting, bool)
    assert isinstance(Law(sampler.law), Law)
    law = sampler.law_on_grid()
    assert sampler.measures == ((wfr.Particles,) if law is None else (wfr.Particles, wfr.Density))
    if law is not None:
        assert not law.random
        assert law.order == sampler.order
        assert sampler.preserves <= law.preserves
        assert ("equilibrium" in law.preserves) == ("equilibrium" in sampler.preserves)


@each()
def test_is_immutable_and_can_be_sent(name):
    sampler = SAMPLERS[name]
    with pytest.raises(dataclasses.FrozenInstanceError):
        sampler.rate = 3
    sent, state = pickle.loads(pickle.dumps(sampler)), weighted(sampler)
    assert repr(sent) == repr(sampler)
    if name not in COMPILED_FOR_EVERY_SHAPE:
        assert same(step_of(sent, state)(state, 0.0, 2), step_of(sampler, state)(state, 0.0, 2))


@each()
def test_rates(name):
    if "rate" not in {field.name for field in dataclasses.fields(CLASSES[name])}:
        return
    for rate in (-1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="finite rate >= 0"):
            made(CLASSES[name], rate=rate)
    state = weighted(SAMPLERS[name])
    try:
        still = made(CLASSES[name], rate=0.0)
    except ValueError as refusal:
        if "needs rate > 0" not in str(refusal):
            raise
        return
    assert step_of(still, state)(state, 0.0, 1) is state


@each()
def test_what_it_does_not_know_is_refused(name):
    class Other(wfr.Energy):
        name = "other"

    sampler, state = SAMPLERS[name], weighted(SAMPLERS[name])
    if sampler.energies:
        with pytest.raises(TypeError, match=f"{name} is a flow of KL, not of Other"):
            sampler.make_step(Other(), state, DT)
    else:
        assert same(sampler.make_step(Other(), state, DT)(state, 0.0, 1), step_of(sampler, state)(state, 0.0, 1))
    with pytest.raises(TypeError, match=f"{name} moves Particles.*, not ndarray"):
        sampler.make_step(wfr.KL(TARGET), state.positions, DT)
    if sampler.law_on_grid() is None:
        with pytest.raises(TypeError, match=f"{name} moves Particles, not Density"):
            wfr.solve(LINE_TARGET, sampler, GRID.density(LINE_START), [0, DT], DT)


def test_measures_follow_from_the_law():
    with pytest.raises(TypeError, match="Odd.measures is a hook by its old name: call it law_on_grid"):
        type("Odd", (samplers.Sampler,), {"measures": (wfr.Particles, wfr.Density)})


# single steps


@each()
def test_a_step_is_pure_and_its_randomness_comes_from_the_generator(name):
    sampler = SAMPLERS[name]
    state, step = weighted(sampler), step_of(sampler, weighted(sampler))
    before = {key: array.copy() for key, array in arrays(state).items()}
    rng = np.random.default_rng(5)
    once = step(state, 0.0, rng)
    drew = rng.bit_generator.state != np.random.default_rng(5).bit_generator.state
    after = {key: array.copy() for key, array in arrays(once).items()}
    other = step(step(state, 0.0, np.random.default_rng(6)), DT, np.random.default_rng(7))
    assert all(np.array_equal(array, before[key]) for key, array in arrays(state).items())
    assert all(np.array_equal(array, after[key]) for key, array in arrays(once).items())
    assert same(step(state, 0.0, np.random.default_rng(5)), once)
    assert same(step_of(sampler, state)(state, 0.0, np.random.default_rng(5)), once)
    assert not same(other, once)
    assert drew == sampler.random
    assert same(step(state, 0.0, np.random.default_rng(6)), once) != sampler.random


@each()
def test_mass_and_finite_numbers(name):
    sampler = SAMPLERS[name]
    state = weighted(sampler, spread=3.0)
    after = advanced(sampler, TARGET, state, DT, 2, 8)
    assert after.positions.shape == state.positions.shape
    if "mass" in sampler.preserves:
        assert abs(after.mass - 1) < 1e-12
    if "positivity" in sampler.preserves:
        assert after.is_finite()
        assert np.isfinite(after.log_weights).all()


@each()
def test_particles_couple_if_it_says_so(name):
    """With the same random numbers, one particle moved or of another weight changes what the others do, or does not."""
    sampler = SAMPLERS[name]
    state = weighted(sampler)
    step = step_of(sampler, state)
    positions, log_weights = state.positions.copy(), state.log_weights.copy()
    positions[7] += [0.8, -0.6]
    if takes_weights(sampler):
        log_weights[7] += 2.0
    others = np.arange(N) != 7
    change = wfr.Particles(positions, log_weights, state.mixture, state.auxiliary)
    a, b = (step(one, 0.0, np.random.default_rng(9)) for one in (state, change))
    assert not np.array_equal(a.positions[7], b.positions[7]) or sampler.interacting
    moved_alike = np.array_equal(a.positions[others], b.positions[others])
    if a.auxiliary is not None:
        moved_alike &= np.array_equal(a.auxiliary[others], b.auxiliary[others])
    # weights sum to one, whatever is changed: their ratios are what can stay
    ratios_a, ratios_b = (one.log_weights[others] - one.log_weights[others][0] for one in (a, b))
    assert (moved_alike and np.allclose(ratios_a, ratios_b, rtol=0, atol=1e-12)) != sampler.interacting


@each(*COMPILED_FOR_EVERY_SHAPE)
def test_the_order_of_the_particles_does_not_matter(name):
    """Exactly where nothing is random, else for means over random numbers."""
    sampler = SAMPLERS[name]
    state = weighted(sampler, n=15)
    order = np.random.default_rng(10).permutation(15)
    auxiliary = None if state.auxiliary is None else state.auxiliary[order]
    mixture = None if state.mixture is None else state.mixture.chosen(order)
    mixed = wfr.Particles(state.positions[order], state.log_weights[order], mixture, auxiliary)
    step = step_of(sampler, state, 0.4)
    if not sampler.random:
        a, b = step(state, 0.0), step(mixed, 0.0)
        np.testing.assert_allclose(a.positions[order], b.positions, rtol=0, atol=1e-9)
        np.testing.assert_allclose(a.log_weights[order], b.log_weights, rtol=0, atol=1e-9)
        return
    found = np.array(
        [
            [statistics(step(one, 0.0, np.random.default_rng([k, seed]))) for seed in range(300)]
            for k, one in enumerate((state, mixed))
        ]
    )
    error = STANDARD_ERRORS * np.sqrt(np.sum(found.var(axis=1, ddof=1), axis=0) / found.shape[1])
    assert np.all(np.abs(found[0].mean(axis=0) - found[1].mean(axis=0)) < error)


def plain(d, place=0.0):
    """A Gaussian in d dimensions."""
    return wfr.Gaussian([place] * d, 1.0) if d > 1 else wfr.Gaussian(place, 1.0)


@pytest.mark.parametrize("d", [1, 2, 3])
@each(*COMPILED_FOR_EVERY_SHAPE)
def test_few_and_far_particles_in_one_to_three_dimensions(name, d):
    """One, two, of very different weights, one without weight, 20 deviations away: right, or refused with a remedy."""
    target, start, far = plain(d), plain(d, 0.5), plain(d, 20 / math.sqrt(d))
    near = np.random.default_rng(11).standard_normal((12, d))
    for mu, positions, log_weights in (
        (start, near[:1], None),
        (start, near[:2], None),
        (start, near, np.linspace(-600, 0, 12)),
        (start, near, np.append(np.zeros(11), -np.inf)),
        (far, near + 20 / math.sqrt(d), None),
    ):
        sampler = made(CLASSES[name], mu)
        if log_weights is not None and not takes_weights(sampler, target, mu):
            continue
        state = wfr.Particles(positions, log_weights)
        try:
            after = advanced(sampler, target, state, DT, 3, 12)
        except (ValueError, wfr.NumericalError) as refusal:
            if not re.search(r"(give|use) \w+", str(refusal)):
                raise
            continue
        assert after.positions.shape == positions.shape
        assert after.is_finite()
        assert abs(after.mass - 1) < 1e-12
        if log_weights is not None and not sampler.interacting:
            np.testing.assert_array_equal(after.log_weights, state.log_weights)


@each()
def test_bounds_and_memory_of_particles(name):
    sampler, state = SAMPLERS[name], weighted(SAMPLERS[name])
    assert sampler.dt_bounds(wfr.KL(TARGET), state) == (0.0, math.inf)
    use = sampler.memory_use(state)
    assert 0 <= use.held < 1e9
    assert 1 <= use.stepping <= use.states < 100
    if name not in COMPILED_FOR_EVERY_SHAPE:
        for dt in (1e-9, 1.0):
            assert step_of(sampler, state, dt)(state, 0.0, 1).is_finite()


@each(*COMPILED_FOR_EVERY_SHAPE)
def test_a_target_that_stands_still_on_its_way(name):
    """Is the target at rest, or moving targets are refused."""
    sampler, state = SAMPLERS[name], weighted(SAMPLERS[name])
    still = wfr.GeometricPath(START, TARGET, schedule=lambda t: 1.0)
    try:
        step = sampler.make_step(wfr.KL(still), state, DT)
    except ValueError as refusal:
        if not re.search(r"one moves: use \w+", str(refusal)):
            raise
        return
    after, expected = (one(state, 0.3, np.random.default_rng(13)) for one in (step, step_of(sampler, state)))
    np.testing.assert_allclose(after.positions, expected.positions, rtol=0, atol=1e-9)
    np.testing.assert_allclose(after.log_weights, expected.log_weights, rtol=0, atol=1e-9)


# laws: of many steps, and of many particles


def keeps_pi(sampler, dt=1.0, n=150, repeats=200):
    """How far particles drawn from pi leave it, in allowed errors; of different weights, where they may differ."""
    rng, wide = np.random.default_rng(14), wfr.Gaussian(0.0, 2.5)
    ratios = takes_weights(sampler, WELLS, LINE_START) and sampler.law != Law.W
    truth = density_statistics(FINE_GRID.density(WELLS))
    found, step = [], step_of(sampler, wfr.Particles(np.zeros((n, 1))), dt, WELLS)
    for _ in range(repeats):
        x = (wide if ratios else WELLS).sample(n, rng)
        log_weights = WELLS.log_density(x) - wide.log_density(x) if ratios else None
        state = wfr.Particles(x, log_weights)
        after = step(step(state, 0.0, rng), dt, rng)
        # weights that sum to one have a bias of order 1/n, which the start has as well
        found.append(statistics(after) - statistics(state) if ratios else statistics(after) - truth)
    return differs(np.array(found), 0.0)


@each(*COMPILED_FOR_EVERY_SHAPE)
def test_equilibrium_in_law(name):
    sampler = ON_THE_LINE[name]
    if "equilibrium" not in sampler.preserves:
        return
    assert keeps_pi(sampler) < 1
    if sampler.law_on_grid() is not None:
        pi = GRID.density(WELLS)
        after = step_of(sampler, pi, DT, WELLS)(pi, 0.0)
        assert np.abs(after.log_values - pi.log_values).max() < 1e-12


def test_a_sampler_that_leaves_pi_is_seen():
    assert keeps_pi(ON_THE_LINE["Langevin"], dt=0.5) > 3


@each(*COMPILED_FOR_EVERY_SHAPE)
def test_independent_particles_that_are_led_to_pi_come_there(name):
    """To a Gaussian, from another one, in a time of ten."""
    sampler = ON_THE_LINE[name]
    if sampler.law is not Law.PI or sampler.interacting:
        return
    truth, rng, found = density_statistics(FINE_GRID.density(LINE_TARGET)), np.random.default_rng(19), []
    for _ in range(40):
        state = wfr.Particles(LINE_START.sample(1500, rng))
        found.append(statistics(advanced(sampler, LINE_TARGET, state, 0.25, 40, rng)))
    assert differs(np.array(found), truth) < 1
    assert differs(np.array(found), density_statistics(FINE_GRID.density(LINE_START))) > 3  # the comparison is sharp


def laws():
    return [name for name, sampler in ON_THE_LINE.items() if sampler.law_on_grid() is not None]


@pytest.mark.parametrize("name", laws())
def test_the_law_on_the_grid_is_that_of_many_particles(name):
    """After two coarse steps. Sums of kernels have a term of their own, of the order of 1/n, far below the error."""
    sampler, n, dt = ON_THE_LINE[name], 2000, 0.2
    expected = density_statistics(advanced(sampler, LINE_TARGET, GRID.density(LINE_START), dt, 2))
    rng, found = np.random.default_rng(15), []
    for _ in range(40):
        state = wfr.Particles(LINE_START.sample(n, rng))
        found.append(statistics(advanced(sampler, LINE_TARGET, state, dt, 2, rng)))
    assert differs(np.array(found), expected) < 1
    if sampler.law != Law.REST:
        assert differs(np.array(found), density_statistics(GRID.density(LINE_START))) > 3  # the comparison is sharp


@pytest.mark.parametrize("d", [1, 2, 3, 4])
@each()
def test_validation_asks_for_the_law_on_the_grid(name, d):
    """Of a sampler alone and in a composition; the axes that it says are those on which a density is taken."""
    sampler = ON_THE_LINE[name]
    law = sampler.law_on_grid()
    has_law = law is not None and d <= min(law.max_ndim, 3)
    assert moves_densities(sampler, d) == has_law
    assert moves_densities(wfr.Strang(wfr.FisherRao(), sampler), d) == has_law
    if law is not None and d < 4:
        density = wfr.Grid([-1.0] * d, [1.0] * d, 4)
        density = wfr.Density(density, np.zeros(density.shape)).normalised()
        if has_law:
            sampler.check(wfr.KL(TARGET), density)
        else:
            with pytest.raises(ValueError, match=f"but the grid has {d} axes"):
                sampler.check(wfr.KL(TARGET), density)


@pytest.mark.parametrize("name", laws())
def test_bounds_and_memory_of_the_law_on_the_grid(name):
    sampler, energy, density = ON_THE_LINE[name], wfr.KL(LINE_TARGET), GRID.density(LINE_START)
    use = sampler.memory_use(density)
    assert 0 <= use.held < 1e9
    assert 1 <= use.stepping <= use.states < 100
    low, high = sampler.dt_bounds(energy, density)
    assert 0 <= low < high
    after = sampler.make_step(energy, density, max(low, 1e-3))(density, 0.0)
    assert after.is_finite()
    assert abs(after.mass - 1) < 1e-9
    if low > 0:
        with pytest.raises(ValueError, match=f"dt={low * 0.999:.4g}.*unresolved.*(larger dt|finer grid)"):
            sampler.make_step(energy, density, low * 0.999)


def l1(a, b):
    return float(a.grid.integrate(np.abs(a.values - b.values)))


def gaps_on_the_grid(sampler):
    """Distances between the laws with 4, 8, 16 steps."""
    start = FINE_GRID.density(LINE_START)
    ends = [advanced(sampler, LINE_TARGET, start, 0.8 / k, k) for k in (4, 8, 16)]
    return [l1(a, b) for a, b in itertools.pairwise(ends)], 0.0


def gaps_of_particles(sampler):
    """Distances between the same particles after 4, 8, 16 steps without random numbers."""
    state = weighted(sampler, 30, LINE_TARGET, LINE_START)
    ends = [advanced(sampler, LINE_TARGET, state, 0.8 / k, k) for k in (4, 8, 16)]
    return [
        float(np.abs(a.positions - b.positions).max() + np.abs(a.weights - b.weights).max())
        for a, b in itertools.pairwise(ends)
    ], 0.0


def gaps_of_pairs(sampler, n=100_000):
    """Distances between the means after 4, 8, 16 steps, of pairs that begin apart and have the same random numbers."""
    means, errors = [], []
    for k in (4, 8, 16):
        ends = [
            advanced(sampler, LINE_TARGET, wfr.Particles(np.full((n, 1), place)), 0.8 / k, k, 16).positions[:, 0]
            for place in (-1.5, 1.5)
        ]
        gap = ends[1] - ends[0]
        means.append(gap.mean())
        errors.append(gap.std() / math.sqrt(n))
    return [abs(a - b) for a, b in itertools.pairwise(means)], math.hypot(*errors[1:])


@each(*COMPILED_FOR_EVERY_SHAPE)
def test_observed_order_is_the_declared_one(name):
    """By the distances between runs with dt, dt/2, dt/4, of which dt is far from small: half an order is allowed."""
    sampler = ON_THE_LINE[name]
    if sampler.law_on_grid() is not None:
        gaps, noise = gaps_on_the_grid(sampler)
    elif not sampler.random:
        gaps, noise = gaps_of_particles(sampler)
    elif not sampler.interacting:
        gaps, noise = gaps_of_pairs(sampler)
    else:
        assert sampler.order == math.inf, f"say how the order of {name} in dt is measured: its law_on_grid() would do"
        rng, found = np.random.default_rng(17), []
        for _ in range(60):
            state = wfr.Particles(LINE_START.sample(400, rng))
            one, many = (advanced(sampler, LINE_TARGET, state, 0.8 / k, k, rng) for k in (1, 5))
            found.append(statistics(one) - statistics(many))
        assert differs(np.array(found), 0.0) < 1
        return
    if sampler.order == math.inf:
        assert max(gaps) < 1e-12
        return
    assert noise < 0.1 * gaps[1]
    assert math.log2(gaps[0] / gaps[1]) == pytest.approx(sampler.order, abs=0.5)


LIMITS = {Law.W: (1.0, 0.0), Law.FR: (0.0, 1.0), Law.WFR: (1.0, 1.0), Law.REST: (0.0, 0.0)}


@each(*COMPILED_FOR_EVERY_SHAPE)
def test_the_limit_is_the_declared_law(name):
    """Moments of the flow of Gaussians in closed form: extrapolated in dt on the grid, else those of many particles."""
    sampler = ON_THE_LINE[name]
    if sampler.law not in LIMITS:
        return
    if name == "FeynmanKac":  # without the bandwidth, of which the law is another one
        sampler = samplers.FeynmanKac()
    truth = exact.gaussian_flow(LINE_TARGET, LINE_START, 0.4, *LIMITS[sampler.law])
    truth = np.array([truth.mean[0], truth.covariance[0, 0]])
    if sampler.law_on_grid() is None:
        assert sampler.order == math.inf, f"say how the limit of {name} is measured: its law_on_grid() would do"
        rng, found = np.random.default_rng(18), []
        for _ in range(200):
            after = advanced(sampler, LINE_TARGET, wfr.Particles(LINE_START.sample(1000, rng)), 0.1, 4, rng)
            found.append([after.mean()[0], after.weights @ (after.positions[:, 0] - truth[0]) ** 2])
        assert differs(np.array(found), truth) < 1
        return
    ends = [advanced(sampler, LINE_TARGET, FINE_GRID.density(LINE_START), 0.4 / k, k) for k in (8, 16, 32)]
    moments = np.array([[end.mean()[0], end.covariance()[0, 0]] for end in ends])
    limits = 2 * moments[1:] - moments[:-1]  # errors of order dt² are left, or dt^(3/2) where proposals are refused
    assert np.all(np.abs(limits[1] - truth) < 2e-3)
    assert np.all(np.abs(limits[1] - truth) <= np.maximum(np.abs(limits[0] - truth) / 2, 1e-6))
