"""What holds for every metric: names, invariances of weighted particles, draws that approach, refusals."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import wfr_pde as wfr
from wfr_pde import metrics

TARGETS = {
    1: wfr.Gaussian(0.2, 1),
    2: wfr.GaussianMixture(means=[[-1.5, 0], [1.5, 0]], weights=[0.3, 0.7], covariances=0.5),
    3: wfr.Gaussian([0, 0.2, 0], 1),
}
DENSITIES = {
    1: wfr.Grid(-9, 9, 200).density(TARGETS[1]),
    2: wfr.Grid([-8, -7], [8, 7], (64, 50)).density(TARGETS[2]),
    3: wfr.Grid([-7] * 3, [7] * 3, 28).density(TARGETS[3]),
}
ONE_DIMENSIONAL = [metrics.wasserstein_1, metrics.wasserstein_2]
ANY_DIMENSION = [
    metrics.total_variation,
    metrics.hellinger,
    metrics.BinnedTotalVariation(bins=9),
    metrics.BinnedHellinger(bins=9),
    metrics.SlicedWasserstein(8),
    metrics.SlicedWasserstein(8, order=1),
    metrics.Wasserstein(1, atoms=100),
    metrics.Wasserstein(2, atoms=100),
    metrics.MMD(1.3),
    metrics.MMD(1.3, unbiased=True, squared=True),
    metrics.MMD(1.3, "laplace"),
    metrics.EnergyDistance(),
    metrics.mean_error,
    metrics.covariance_error,
    metrics.NeighbourKL(3),
    metrics.KernelKL(0.3),
    metrics.kl_estimate,
]


def of_dimension(d):
    own = [
        metrics.KSD(TARGETS[d]),
        metrics.ModeMasses(np.vstack([-np.eye(d)[:1], np.eye(d)])),
        metrics.effective_sample_size,
    ]
    return (ONE_DIMENSIONAL if d == 1 else []) + ANY_DIMENSION + own


CASES = [(metric, d) for d in DENSITIES for metric in of_dimension(d)]
IDS = [f"{metric.name}-{d}" for metric, d in CASES]
COUNTS_PARTICLES = ("unbiased", "effective_sample_size")  # a particle twice is not one of twice the weight


@pytest.mark.parametrize("metric", [*of_dimension(1), metrics.l1], ids=lambda metric: metric.name)
def test_names(metric):
    assert metric.name.isidentifier()
    assert metric.__name__ == metric.name
    assert isinstance(metric.long_name, str)
    assert metric.long_name
    assert isinstance(metric.units, str)
    assert metric.units
    doc = metric.__doc__ if isinstance(metric.__doc__, str) else type(metric).__doc__
    assert len(doc) > 50


def test_every_metric_is_tried_here():
    made = {getattr(metric, "__qualname__", type(metric).__name__) for metric in of_dimension(1)}
    assert set(metrics.__all__) - made == {"Metric", "l1", "ExpectationError"}  # tested elsewhere


def test_two_of_a_kind_can_be_named():
    wide, narrow = metrics.MMD(3, name="mmd_wide"), metrics.MMD(0.7, name="mmd_narrow")
    assert [wide.name, narrow.__name__] == ["mmd_wide", "mmd_narrow"]
    assert wide.long_name == "MMD, gaussian kernel of scale 3"
    assert wide == metrics.MMD(3, name="mmd_wide")
    with pytest.raises(AttributeError):
        wide.scale = 2


def weighted(seed, d, n=40):
    rng = np.random.default_rng(seed)
    return wfr.Particles(TARGETS[d].sample(n, rng), rng.normal(size=n))


@pytest.mark.parametrize(("metric", "d"), CASES, ids=IDS)
def test_weighted_particles(metric, d):
    density, particles = DENSITIES[d], weighted(5, d)
    value = metric(density, particles)
    assert math.isfinite(value)
    tolerance = {"rel": 1e-9, "abs": 1e-9}
    order = np.random.default_rng(0).permutation(40)
    mixed = wfr.Particles(particles.positions[order], particles.log_weights[order])
    assert metric(density, mixed) == pytest.approx(value, **tolerance)
    # particles without weight do not count
    more = wfr.Particles(
        np.concatenate([particles.positions, np.full((5, d), 0.1)]), np.append(particles.log_weights, [-np.inf] * 5)
    )
    assert metric(density, more) == pytest.approx(value, **tolerance)
    if getattr(metric, "unbiased", False) or metric.name in COUNTS_PARTICLES:
        return
    if metric.name in ("total_variation", "hellinger") and getattr(metric, "bins", None) is None:
        return  # the number of bins follows the effective sample size
    # a particle twice is one of twice the weight
    twice = wfr.Particles(
        np.concatenate([particles.positions, particles.positions[:7]]),
        np.concatenate(
            [particles.log_weights[:7] - math.log(2), particles.log_weights[7:]]
            + [particles.log_weights[:7] - math.log(2)]
        ),
    )
    assert metric(density, twice) == pytest.approx(value, **tolerance)


@pytest.mark.parametrize(("metric", "d"), CASES, ids=IDS)
def test_more_draws_are_nearer(metric, d):
    if metric.name == "effective_sample_size":
        pytest.skip("it is no distance")
    if getattr(metric, "bins", None) is None and metric.name in ("total_variation", "hellinger"):
        pytest.skip("the number of bins grows with the draws")
    density, rng = DENSITIES[d], np.random.default_rng(3)
    few, many = (
        np.mean([abs(metric(density, wfr.Particles(TARGETS[d].sample(n, rng)))) for _ in range(8)]) for n in (30, 1200)
    )
    # n^-½ would be 6.3, the transport distance of a hundred atoms ends at that of the atoms; estimates have a bias
    assert many < few / (1.2 if metric.name in ("wasserstein", "kernel_kl", "kl_estimate") else 2)


@pytest.mark.parametrize(("metric", "d"), CASES, ids=IDS)
def test_other_kinds_and_dimensions_are_refused(metric, d):
    density = DENSITIES[d]
    with pytest.raises(TypeError, match="ndarray"):
        metric(density, np.zeros((5, d)))
    if metric.name == "effective_sample_size":
        return
    with pytest.raises(ValueError, match=r"dimensional"):
        metric(density, weighted(1, d % 3 + 1))
    if metric.name not in ("ksd", "kl_estimate", "kernel_kl"):
        with pytest.raises((TypeError, ValueError), match=r"reference (is|must be) |needs a Density"):
            metric(np.zeros((5, d)), weighted(1, d))


DISTANCES = [
    metrics.wasserstein_1,
    metrics.wasserstein_2,
    metrics.SlicedWasserstein(4),
    metrics.MMD(1.3),
    metrics.MMD(1.3, "laplace"),
    metrics.EnergyDistance(),
    metrics.Wasserstein(1),
]


@pytest.mark.parametrize("metric", DISTANCES, ids=lambda metric: metric.long_name)
@given(seed=st.integers(0, 2**32 - 1), d=st.integers(1, 3))
@settings(deadline=None, max_examples=25)
def test_distances_are_symmetric_and_obey_the_triangle_inequality(metric, seed, d):
    d = 1 if metric in ONE_DIMENSIONAL else d
    rng = np.random.default_rng(seed)
    a, b, c = (wfr.Particles(rng.normal(size=(n, d)) * 2, rng.normal(size=n)) for n in rng.integers(1, 20, 3))
    assert metric(a, b) == pytest.approx(metric(b, a), rel=1e-9, abs=1e-9)
    assert metric(a, c) <= metric(a, b) + metric(b, c) + 1e-9
    assert metric(a, b) >= 0


@pytest.mark.parametrize("metric", DISTANCES, ids=lambda metric: metric.long_name)
def test_either_order_of_a_density_and_particles(metric):
    particles = weighted(2, 1)
    assert metric(DENSITIES[1], particles) == pytest.approx(metric(particles, DENSITIES[1]), rel=1e-10)


@pytest.mark.parametrize("metric", DISTANCES, ids=lambda metric: metric.long_name)
def test_periodic_axes_are_refused_where_distances_count(metric):
    periodic = wfr.Grid(-3, 3, 100, boundary="periodic").density(wfr.Gaussian(0, 0.1))
    with pytest.raises(ValueError, match=r"straight lines, but axis x is periodic: use total_variation"):
        metric(periodic, wfr.Particles([[0.0]]))


FLOORS = [metric for metric in of_dimension(1) if hasattr(metric, "floor")]


@pytest.mark.parametrize("metric", FLOORS, ids=lambda metric: metric.name)
@pytest.mark.parametrize("n", [0, 2.5])
def test_floors_need_a_number_of_draws(metric, n):
    with pytest.raises(
        ValueError, match=f"n is the number of independent draws, a whole number of at least 1, got {n}"
    ):
        metric.floor(DENSITIES[1], n)


@pytest.mark.parametrize("metric", FLOORS, ids=lambda metric: metric.name)
def test_floors_fall_with_the_number_of_draws(metric):
    few, many = (metric.floor(DENSITIES[1], n) for n in (10, 1000))
    unbiased = getattr(metric, "unbiased", False)
    assert few == many == 0 if unbiased else 0 < many < few


def test_densities_that_are_not_normalised_are_refused():
    density = wfr.Density(DENSITIES[1].grid, DENSITIES[1].log_values + 1)
    with pytest.raises(ValueError, match=r"reference has mass 2\.71828, not one: give density\.normalised\(\)"):
        metrics.wasserstein_1(density, wfr.Particles([[0.0]]))
