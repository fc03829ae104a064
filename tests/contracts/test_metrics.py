"""The laws that every metric obeys: what it declares is measured.

Metrics are found in `wfr_pde.metrics`, so that a new one is held to the same. Seeds are fixed; a statistical comparison
allows five standard errors of the mean over independent repeats.
"""

import dataclasses
import inspect
import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import gammaln, hyp1f1

import wfr_pde as wfr
from wfr_pde import metrics
from wfr_pde.metrics.base import DECLARED, described
from wfr_pde.space.product_law import ProductLaw

TARGETS = {
    1: wfr.Gaussian(0.2, 1),
    2: wfr.GaussianMixture(means=[[-1.5, 0], [1.5, 0]], weights=[0.3, 0.7], covariances=0.5),
    3: wfr.Gaussian([0, 0.2, 0], np.diag([1.0, 1.2, 0.9])),
}
GRIDS = {1: wfr.Grid(-9, 9, 200), 2: wfr.Grid([-8, -7], [8, 7], (64, 50)), 3: wfr.Grid([-6] * 3, [6] * 3, 20)}
DENSITIES = {d: GRIDS[d].density(TARGETS[d]) for d in GRIDS}
STANDARD_ERRORS = 5.0
WITHOUT_REFERENCE = ("ksd", "effective_sample_size")  # the first argument does not count
POWERS = {"1": 0, "nats": 0, "length": 1, "length²": 2, "length⁴": 4, "length^½": 0.5}  # of a scale, by the units


def square_root(points):
    """A function of points that `ExpectationError` is tried with."""
    return np.sqrt(1 + points[..., 0] ** 2)


def arguments(cls, d):
    """Arguments without which a metric cannot be made, and lists of those of variants."""
    return {
        "KSD": [{"target": TARGETS[d]}],
        "ModeMasses": [{"centres": np.vstack([-np.eye(d)[:1], np.eye(d)])}],
        "ExpectationError": [{"function": square_root, "name": "expectation_error"}],
        "KernelKL": [{"variance": 0.3}],
        "BinnedTotalVariation": [{}, {"bins": 9}],
        "BinnedHellinger": [{}, {"bins": 9}],
        "SlicedWasserstein": [{"n_directions": 8}, {"n_directions": 8, "order": 1}],
        "Wasserstein": [{"order": 1, "atoms": 100}, {"order": 2, "atoms": 100}],
        "MMD": [{"scale": 1.3}, {"scale": 1.3, "unbiased": True, "squared": True}, {"scale": 1.3, "kernel": "laplace"}],
        "EnergyDistance": [{}, {"squared": True}],
        "ByDraws": [{"metric": metrics.EnergyDistance(), "draws": 300}],
        "MarginalTotalVariation": [{}, {"bins": 9, "coordinates": [0]}],
        "MarginalWasserstein": [{}, {"order": 1}],
    }.get(cls.__name__, [{}])


def exported():
    """Metrics by name: functions, and classes but for `Metric`."""
    names = {name: getattr(metrics, name) for name in metrics.__all__ if name != "Metric"}
    assert all(inspect.isclass(item) or hasattr(item, "units") for item in names.values())
    return names


def of_dimension(d):
    """(label, metric) of all in d dimensions."""
    for name, item in exported().items():
        if not inspect.isclass(item):
            if d <= item.max_ndim:
                yield name, item
            continue
        needed = {p.name for p in inspect.signature(item).parameters.values() if p.default is p.empty}
        for number, given_arguments in enumerate(arguments(item, d)):
            assert needed <= given_arguments.keys(), f"say in arguments() how a {name} is made: it needs {needed}"
            metric = item(**given_arguments)
            if d <= metric.max_ndim:
                yield name + "'" * number, metric


ALL = [pytest.param(metric, d, id=f"{name}-{d}") for d in (1, 2, 3) for name, metric in of_dimension(d)]
each = pytest.mark.parametrize(("metric", "d"), ALL)


def weighted(seed, d, n=40, spread=1.0):
    rng = np.random.default_rng(seed)
    return wfr.Particles(TARGETS[d].sample(n, rng), spread * rng.standard_normal(n))


def kinds(metric, d):
    """Pairs of measures that it takes: densities and particles."""
    other_density = GRIDS[d].density(wfr.Gaussian([-0.37, 0.13, 0.22][:d], np.diag([0.8, 0.9, 1.1][:d])))
    first, second = weighted(21, d), weighted(22, d, 30)
    for reference in (DENSITIES[d], first):
        for other in (other_density, second):
            if isinstance(reference, metric.references) and isinstance(other, metric.others):
                yield reference, other


def test_every_metric_is_found():
    assert {type(p.values[0]).__name__ for p in ALL} >= {n for n, item in exported().items() if inspect.isclass(item)}
    assert len(exported()) == len(metrics.__all__) - 1


@each
def test_declarations(metric, d):
    assert metric.name.isidentifier()
    assert metric.__name__ == metric.name
    assert isinstance(metric.long_name, str)
    assert metric.long_name
    assert metric.units in {*POWERS, "1/length"}
    doc = metric.__doc__ if isinstance(metric.__doc__, str) else type(metric).__doc__
    assert len(doc) > 50
    for name in ("symmetric", "triangle", "vanishes", "signed", "splits_weights"):
        assert isinstance(getattr(metric, name), bool)
    assert set(metric.references) | set(metric.others) <= {wfr.Density, wfr.Particles, ProductLaw}
    assert ProductLaw not in metric.others
    assert metric.max_ndim >= 1
    assert not (metric.triangle and metric.signed)
    if inspect.isclass(type(metric)) and isinstance(metric, metrics.Metric):
        assert dataclasses.is_dataclass(metric)
        with pytest.raises(dataclasses.FrozenInstanceError):
            metric.name = "other"


def test_only_attributes_of_metrics_can_be_declared():
    with pytest.raises(TypeError, match="a metric declares symmetric, .*, not commutes"):
        described("distance", commutes=True)
    for name in DECLARED:
        assert hasattr(metrics.Metric, name)


def test_two_of_a_kind_can_be_named():
    wide, narrow = metrics.MMD(3, name="mmd_wide"), metrics.MMD(0.7, name="mmd_narrow")
    assert [wide.name, narrow.__name__] == ["mmd_wide", "mmd_narrow"]
    assert wide.long_name == "MMD, gaussian kernel of scale 3"
    assert wide == metrics.MMD(3, name="mmd_wide")


# refusals


@each
def test_other_kinds_are_refused(metric, d):
    density, particles = DENSITIES[d], weighted(1, d)
    with pytest.raises(TypeError, match="ndarray"):
        metric(density, np.zeros((5, d)))
    other = particles if wfr.Particles in metric.others else density
    if metric.name not in WITHOUT_REFERENCE:
        with pytest.raises(TypeError, match="ndarray"):
            metric(np.zeros((5, d)), other)
    for reference in (density, particles):
        for measure in (density, particles):
            if isinstance(reference, metric.references) and isinstance(measure, metric.others):
                assert math.isfinite(metric(reference, measure))
            else:
                with pytest.raises(TypeError, match=r"Density|Particles"):
                    metric(reference, measure)


@each
def test_other_dimensions_are_refused(metric, d):
    if metric.name == "effective_sample_size":
        return
    for reference, other in kinds(metric, d):
        wrong = DENSITIES[d % 3 + 1] if isinstance(other, wfr.Density) else weighted(1, d % 3 + 1)
        with pytest.raises(ValueError, match=f"{d}(-dimensional|).*{d % 3 + 1}(-dimensional|)|different grids"):
            metric(reference, wrong)


@pytest.mark.parametrize("metric", [metrics.wasserstein_1, metrics.wasserstein_2], ids=lambda metric: metric.name)
def test_one_dimension_is_all_that_some_take(metric):
    with pytest.raises(ValueError, match=f"{metric.name} is one-dimensional, .* use SlicedWasserstein"):
        metric(weighted(1, 2), weighted(2, 2))


@each
def test_periodic_axes_are_refused_where_distances_count(metric, d):
    if d > 1 or not metric.triangle or (POWERS[metric.units] == 0 and not isinstance(metric, metrics.MMD)):
        return
    periodic = wfr.Grid(-3, 3, 100, boundary="periodic").density(wfr.Gaussian(0, 0.1))
    with pytest.raises(ValueError, match=r"straight lines, but axis x is periodic: use total_variation"):
        metric(periodic, wfr.Particles([[0.0]]))


@each
def test_densities_that_are_not_normalised_are_refused(metric, d):
    if wfr.Density not in metric.references or metric.name in (*WITHOUT_REFERENCE, "l1"):
        return
    density = wfr.Density(GRIDS[d], DENSITIES[d].log_values + 1)
    other = weighted(1, d) if wfr.Particles in metric.others else DENSITIES[d]
    with pytest.raises(ValueError, match=r"reference has mass 2\.71828, not one: give density\.normalised\(\)"):
        metric(density, other)


def product_of(d):
    """A product of a density on a line and a Gaussian beside it."""
    line = GRIDS[1].density(TARGETS[1])
    return ProductLaw([line] if d == 1 else [line, wfr.Gaussian(np.zeros(d - 1), 0.8)])


def of_products(metric, d):
    """The metric, with centres whose parts are products."""
    return metrics.ModeMasses([-np.eye(d)[0], np.eye(d)[0]]) if isinstance(metric, metrics.ModeMasses) else metric


@each
def test_products_are_taken_where_that_is_declared(metric, d):
    """Else the error says what would do."""
    law, other = product_of(d), weighted(1, d)
    metric = of_products(metric, d)
    if wfr.Particles not in metric.others or metric.name in WITHOUT_REFERENCE:
        return
    if ProductLaw in metric.references:
        assert math.isfinite(metric(law, other))
        with pytest.raises(ValueError, match=f"{d}(-dimensional|).*{d % 3 + 1}(-dimensional|)"):
            metric(law, weighted(1, d % 3 + 1))
    else:
        with pytest.raises(TypeError, match=r"ByDraws|Marginal"):
            metric(law, other)


@each
def test_a_product_is_what_its_density_on_a_grid_is(metric, d):
    """Up to the sums over cells, of the order dx². Draws, and bins that end where cells do, are not so close."""
    apart = metrics.ByDraws, metrics.MarginalTotalVariation
    if ProductLaw not in metric.references or d == 3 or isinstance(metric, apart):
        return
    metric = of_products(metric, d)
    law, other = product_of(d), weighted(4, d)
    grid = GRIDS[1] if d == 1 else wfr.Grid([-9, -6.5], [9, 6.5], (200, 150))
    axes = [law.marginal(k) for k in range(d)]
    logs = sum(
        np.reshape(
            (
                one.log_prob(axis.centres[:, None])
                if isinstance(one, wfr.Density)
                else one.log_density(axis.centres[:, None]) - one.log_normaliser
            ),
            [-1 if i == k else 1 for i in range(d)],
        )
        for k, (one, axis) in enumerate(zip(axes, grid.axes, strict=True))
    )
    value = metric(wfr.Density(grid, logs).normalised(), other)
    assert metric(law, other) == pytest.approx(value, rel=0.01, abs=2e-3)


# what a distance is


@each
def test_zero_to_itself(metric, d):
    """Up to the quadrature, that of the distance of densities from each other; of particles up to rounding."""
    if not metric.vanishes:
        return
    if wfr.Density in metric.others:
        size = abs(metric(DENSITIES[d], GRIDS[d].density(wfr.Gaussian(np.full(d, 1.0) if d > 1 else 1.0, 0.6))))
        # k_0 has products of scores, which the wide cells here in two and three dimensions sum less exactly
        tolerance = 0.05 if metric.name == "ksd" and d > 1 else 1e-6
        assert abs(metric(DENSITIES[d], DENSITIES[d])) <= tolerance * size
    if metric.symmetric and metric.splits_weights and wfr.Particles in metric.references:
        particles = weighted(3, d)
        moved = wfr.Particles(particles.positions + 1.0, particles.log_weights)
        # differences of sums that are one leave the root of their rounding
        assert metric(particles, particles) <= 1e-7 * metric(particles, moved)


@each
def test_never_negative_but_where_it_says_so(metric, d):
    values = [metric(a, b) for a, b in kinds(metric, d)]
    values += [metric(DENSITIES[d], weighted(k, d, 12)) for k in range(40) if wfr.Particles in metric.others]
    if wfr.Particles in metric.references and wfr.Particles in metric.others:
        values += [metric(weighted(k, d, 12), weighted(k + 99, d, 12)) for k in range(40)]
    assert all(map(math.isfinite, values))
    if not metric.signed:
        assert min(values) >= 0


def test_what_may_be_negative_is():
    few = [wfr.Particles(TARGETS[1].sample(30, k)) for k in range(40)]
    for _, metric in of_dimension(1):
        if metric.signed:
            assert min(metric(DENSITIES[1], particles) for particles in few) < 0


@each
def test_symmetry(metric, d):
    gaps = []
    for a, b in kinds(metric, d):
        if isinstance(b, metric.references) and isinstance(a, metric.others):
            value, back = metric(a, b), metric(b, a)
            gaps.append(abs(value - back) / max(abs(value), 1e-3))
    if metric.symmetric:
        assert gaps
        assert max(gaps) < 1e-9
    elif metric.units == "nats":
        assert max(gaps) > 1e-3  # a divergence


@each
def test_triangle_inequality_between_densities(metric, d):
    if not metric.triangle:
        return
    places = np.random.default_rng(4).uniform(-0.6, 0.6, (6, d))
    densities = [
        GRIDS[d].density(wfr.Gaussian(x if d > 1 else float(x[0]), 0.9 + 0.04 * k)) for k, x in enumerate(places)
    ]
    pairs = {(i, j): metric(a, b) for i, a in enumerate(densities) for j, b in enumerate(densities) if i < j}
    for i in range(6):
        for j in range(i + 1, 6):
            for k in range(j + 1, 6):
                sides = sorted([pairs[i, j], pairs[j, k], pairs[i, k]])
                assert sides[2] <= sides[0] + sides[1] + 1e-9


@pytest.mark.parametrize(
    "metric",
    [m for _, m in of_dimension(1) if m.triangle and wfr.Particles in m.references],
    ids=lambda metric: metric.long_name,
)
@given(seed=st.integers(0, 2**32 - 1), d=st.integers(1, 3))
@settings(deadline=None, max_examples=25)
def test_triangle_inequality_between_particles(metric, seed, d):
    d = 1 if isinstance(metric, metrics.ModeMasses) else min(d, int(min(metric.max_ndim, 3)))
    rng = np.random.default_rng(seed)
    a, b, c = (wfr.Particles(rng.normal(size=(n, d)) * 2, rng.normal(size=n)) for n in rng.integers(1, 20, 3))
    assert metric(a, b) == pytest.approx(metric(b, a), rel=1e-9, abs=1e-9)
    assert metric(a, c) <= metric(a, b) + metric(b, c) + 1e-9
    assert metric(a, b) >= 0


# particles


@each
def test_the_order_of_particles_and_those_without_weight_do_not_matter(metric, d):
    if wfr.Particles not in metric.others:
        return
    density, particles = DENSITIES[d], weighted(5, d)
    value = metric(density, particles)
    order = np.random.default_rng(0).permutation(40)
    mixed = wfr.Particles(particles.positions[order], particles.log_weights[order])
    assert metric(density, mixed) == pytest.approx(value, rel=1e-9, abs=1e-9)
    more = wfr.Particles(
        np.concatenate([particles.positions, np.full((5, d), 0.1)]), np.append(particles.log_weights, [-np.inf] * 5)
    )
    assert metric(density, more) == pytest.approx(value, rel=1e-9, abs=1e-9)
    if wfr.Particles in metric.references:
        again = weighted(6, d)
        assert metric(mixed, again) == pytest.approx(metric(particles, again), rel=1e-9, abs=1e-9)


@each
def test_a_particle_is_two_of_half_the_weight(metric, d):
    """Where that is declared; else it is seen."""
    if wfr.Particles not in metric.others:
        return
    particles = weighted(7, d)
    # all in halves and those in halves: the effective sample size is four times as large
    twice = wfr.Particles(np.tile(particles.positions, (4, 1)), np.tile(particles.log_weights, 4))
    gaps = []
    for reference in (DENSITIES[d], weighted(8, d)):
        if isinstance(reference, metric.references):
            value = metric(reference, particles)
            gaps.append(abs(metric(reference, twice) - value) / max(abs(value), 1e-3))
    assert (max(gaps) < 1e-9) == metric.splits_weights


@each
def test_weights_count(metric, d):
    """Particles of another law, weighted back to the reference, come near it; unweighted they do not."""
    if wfr.Particles not in metric.others or metric.name == "effective_sample_size":
        return
    wide, n = wfr.Gaussian(np.full(d, 0.6) if d > 1 else 0.6, 2.5), 3000
    near, far = [], []
    for seed in range(3):
        x = wide.sample(n, seed)
        x = x[np.abs(x).max(axis=1) < 5.9]  # where the densities are
        near.append(abs(metric(DENSITIES[d], wfr.Particles(x, TARGETS[d].log_density(x) - wide.log_density(x)))))
        far.append(abs(metric(DENSITIES[d], wfr.Particles(x))))
    assert np.mean(near) < 0.6 * np.mean(far)


@each
def test_units_say_how_it_scales_and_shifts_do_not_matter(metric, d):
    """Of x → 2 x + 8, with grids and lengths of kernels along."""
    if metric.name == "ksd":
        return  # units for a length of 1
    factor, shift = 2.0, 8.0
    changes = {
        metrics.MMD: lambda m: {"scale": factor * m.scale},
        metrics.KernelKL: lambda m: {"variance": factor**2 * m.variance},
        metrics.ModeMasses: lambda m: {"centres": factor * np.asarray(m.centres) + shift},
        metrics.ExpectationError: lambda m: {"function": lambda x: square_root((x - shift) / factor)},
    }.get(type(metric))
    scaled = metric if changes is None else dataclasses.replace(metric, **changes(metric))

    def moved(measure):
        if isinstance(measure, wfr.Particles):
            return wfr.Particles(factor * measure.positions + shift, measure.log_weights)
        grid = measure.grid
        lower, upper = (factor * np.array(ends) + shift for ends in (grid.lower, grid.upper))
        return wfr.Density(wfr.Grid(lower, upper, grid.shape), measure.log_values - d * math.log(factor))

    for a, b in kinds(metric, d):
        expected = factor ** POWERS[metric.units] * metric(a, b)
        assert scaled(moved(a), moved(b)) == pytest.approx(expected, rel=1e-8)


@each
def test_more_draws_are_nearer(metric, d):
    if wfr.Particles not in metric.others or metric.name == "effective_sample_size":
        return
    if getattr(metric, "at_resolution_of", None) is not None:
        metric = metric.at_resolution_of(DENSITIES[d], 30)  # the number of bins grows with the draws
    density, rng = DENSITIES[d], np.random.default_rng(3)
    few, many = (
        np.mean([abs(metric(density, wfr.Particles(TARGETS[d].sample(n, rng)))) for _ in range(8)]) for n in (30, 1200)
    )
    # n^-½ would be 6.3, the transport distance of a hundred atoms ends at that of the atoms; estimates have a bias
    assert many < few / (1.2 if metric.name in ("wasserstein", "kernel_kl", "kl_estimate") else 2)


# floors

WITH_FLOOR = [p for p in ALL if hasattr(p.values[0], "floor")]


@pytest.mark.parametrize(("metric", "d"), WITH_FLOOR)
def test_the_floor_is_what_independent_draws_have(metric, d):
    """Its mean, or its root mean square: between the two."""
    n, draws, reference = 40, np.random.default_rng(10), DENSITIES[d]
    values = np.array([metric(reference, wfr.Particles(TARGETS[d].sample(n, draws))) for _ in range(250)])
    error = STANDARD_ERRORS * values.std(ddof=1) / math.sqrt(len(values))
    low, high = values.mean() - error, math.sqrt(np.mean(values**2)) + error
    floor = metric.floor(reference, n)
    assert low < floor < high
    if not metric.signed:
        assert error < 0.5 * floor  # the comparison is sharp


@pytest.mark.parametrize(("metric", "d"), WITH_FLOOR)
def test_floors_fall_with_the_number_of_draws_which_is_one(metric, d):
    few, many = (metric.floor(DENSITIES[d], n) for n in (10, 1000))
    assert few == many == 0 if metric.signed else 0 < many < few
    for n in (0, 2.5):
        with pytest.raises(
            ValueError, match=f"n must be a whole number .*, got {n}: it is the number of independent draws"
        ):
            metric.floor(DENSITIES[d], n)


# closed forms between Gaussians


def mean_length(mean_square, variance, d):
    """E|X| of N(m, variance I) in d dimensions with |m|² = `mean_square`."""
    ratio = math.exp(gammaln((d + 1) / 2) - gammaln(d / 2))
    return math.sqrt(2 * variance) * ratio * float(hyp1f1(-0.5, d / 2, -mean_square / (2 * variance)))


def closed_forms(d, a, b, shift):
    """Distances between N(0, a² I) and N(shift e_1 , b² I) in d dimensions; of the squares where n draws bias them."""
    kernel = lambda variance, m, scale: (
        (1 + 2 * variance / scale**2) ** (-d / 2) * math.exp(-(m**2) / (scale**2 + 2 * variance))
    )
    mmd2 = kernel(2 * a**2, 0, 1.3) + kernel(2 * b**2, 0, 1.3) - 2 * kernel(a**2 + b**2, shift, 1.3)
    energy2 = 2 * mean_length(shift**2, a**2 + b**2, d) - mean_length(0, 2 * a**2, d) - mean_length(0, 2 * b**2, d)
    variance = a**2 + b**2
    affinity = (2 * a * b / variance) ** (d / 2) * math.exp(-(shift**2) / (4 * variance))
    forms = {
        metrics.MMD(1.3): math.sqrt(mmd2),
        metrics.EnergyDistance(): math.sqrt(energy2),
        metrics.hellinger: math.sqrt(1 - affinity),
        metrics.mean_error: shift**2,
        metrics.covariance_error: d * (a**2 - b**2) ** 2,
        metrics.kl_estimate: d * (math.log(a / b) - 0.5 + b**2 / (2 * a**2)) + shift**2 / (2 * a**2),
    }
    if d == 1:
        forms[metrics.wasserstein_2] = math.sqrt(shift**2 + (a - b) ** 2)
        forms[metrics.SlicedWasserstein()] = math.sqrt(shift**2 + (a - b) ** 2)
        forms[metrics.Wasserstein()] = math.sqrt(shift**2 + (a - b) ** 2)
    elif d == 2:
        forms[metrics.SlicedWasserstein()] = math.sqrt(shift**2 / 2 + (a - b) ** 2)
    if a == b:
        overlap = 2 * NormalDist().cdf(shift / (2 * a)) - 1
        forms |= {metrics.total_variation: overlap, metrics.l1: 2 * overlap}
        if d == 1:
            forms[metrics.wasserstein_1] = shift
    return forms


def isotropic(d, x, deviation):
    return wfr.Gaussian(np.eye(d)[0] * x, deviation**2) if d > 1 else wfr.Gaussian(x, deviation**2)


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize(("a", "b", "shift"), [(0.9, 0.9, 0.8), (0.8, 1.1, 0.5)])
def test_closed_forms_between_densities_of_gaussians(d, a, b, shift):
    """The sums over cells err by O(dx²) where a density is cut or spread in cells."""
    n = {1: 240, 2: 120, 3: 48}[d]
    grid = wfr.Grid([-7.2] * d, [7.2] * d, n)
    first, second = grid.density(isotropic(d, 0.0, a)), grid.density(isotropic(d, shift, b))
    for metric, expected in closed_forms(d, a, b, shift).items():
        spread = metric.units in ("length", "length^½") or metric.name in ("total_variation", "l1")
        tolerance = (14.4 / n) ** 2 / 4 if spread else 1e-6
        assert metric(first, second) == pytest.approx(expected, abs=tolerance), metric.name


@pytest.mark.parametrize("d", [1, 2, 3])
def test_closed_forms_of_particles_of_gaussians(d):
    """Squares are unbiased, or have a known bias of order 1/n, for independent draws from the other."""
    a, b, shift, n, rng = 0.9, 1.1, 0.5, 60, np.random.default_rng(11)
    grid = wfr.Grid([-7.2] * d, [7.2] * d, {1: 240, 2: 80, 3: 36}[d])
    reference, other = grid.density(isotropic(d, 0.0, a)), isotropic(d, shift, b)
    forms = {metric.name: value for metric, value in closed_forms(d, a, b, shift).items()}
    tried = {
        metrics.MMD(1.3, unbiased=True, squared=True): forms["mmd"] ** 2,
        metrics.EnergyDistance(squared=True): forms["energy_distance"] ** 2 + mean_length(0, 2 * b**2, d) / n,
        metrics.mean_error: forms["mean_error"] + d * b**2 / n,
    }
    draws = [wfr.Particles(other.sample(n, rng)) for _ in range(300)]
    for metric, expected in tried.items():
        values = np.array([metric(reference, particles) for particles in draws])
        error = STANDARD_ERRORS * values.std(ddof=1) / math.sqrt(len(values))
        assert abs(values.mean() - expected) < error, metric.name
        assert error < 0.3 * expected, metric.name  # the comparison is sharp


@pytest.mark.parametrize("d", [1, 2, 3])
def test_a_shift_of_particles_is_their_distance(d):
    """W_p of two equal clouds of particles, the other shifted: the length of the shift, whatever the weights."""
    particles, shift = weighted(12, d), np.arange(1.0, d + 1)
    other = wfr.Particles(particles.positions + shift, particles.log_weights)
    size = float(np.linalg.norm(shift))
    for order in (1, 2):
        assert metrics.Wasserstein(order)(particles, other) == pytest.approx(size, rel=1e-9)
    if d == 1:
        assert metrics.wasserstein_1(particles, other) == pytest.approx(size, rel=1e-12)
        assert metrics.wasserstein_2(particles, other) == pytest.approx(size, rel=1e-12)
    sliced = metrics.SlicedWasserstein(512)(particles, other)
    assert sliced == pytest.approx(size / math.sqrt(d), rel=1e-9 if d < 3 else 0.02)  # directions are quasi-random
    assert metrics.mean_error(particles, other) == pytest.approx(size**2)
    assert metrics.covariance_error(particles, other) < 1e-20
