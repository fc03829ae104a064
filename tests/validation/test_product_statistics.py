"""Statistics of products: expectations and standard deviations of blocks and of the whole, against draws."""

from __future__ import annotations

import numpy as np
import pytest

import wfr_pde as wfr
from wfr_pde.integrate.stationary_product import StationaryProduct
from wfr_pde.integrate.truth_arguments import as_truth
from wfr_pde.space.product_law import ProductLaw
from wfr_pde.space.radial_law import RadialLaw
from wfr_pde.validation.finite_population import FinitePopulationCutoff
from wfr_pde.validation.mean_field import mean_field
from wfr_pde.validation.product_mean_field import BlockLaw, Span, law_of_block, unreached
from wfr_pde.validation.product_parts import part_of
from wfr_pde.validation.product_problem import BlockProblem, ProductProblem
from wfr_pde.validation.product_statistics import ProductObservables

N = 200_000
LINE = wfr.GaussianMixture([-1.0, 1.2], [0.4, 0.6], [0.3, 0.2])
REST = wfr.Gaussian([0.3, -0.2, 0.5], [[0.8, 0.2, 0.0], [0.2, 0.6, -0.1], [0.0, -0.1, 1.2]])
PI = wfr.Gaussian([0.0, 0.1, -0.3], [[1.0, -0.3, 0.1], [-0.3, 0.9, 0.0], [0.1, 0.0, 0.5]])
SHELL = wfr.Radial(lambda r: r**2 / 2 - 5 * np.log(r), ndim=4)


def density():
    return wfr.Grid(-5.0, 5.0, 300).density(LINE)


def shell():
    return RadialLaw(wfr.Grid(0.0, 9.0, 600).density(SHELL.radius), 4)


def agree(found, values):
    """Means (k,) agree with those of draws (n, k) within five standard errors."""
    error = values.std(axis=0) / np.sqrt(len(values))
    np.testing.assert_array_less(np.abs(found - values.mean(axis=0)), 5 * error + 1e-6)


@pytest.mark.parametrize(
    ("law", "target", "k"),
    [(density(), LINE, 2 + 5 + 2 + 2), (REST, PI, 3 + 6 + 15 + 2), (shell(), SHELL.radius, 4 + 10 + 5 + 2)],
    ids=["grid", "gaussian", "radial"],
)
def test_expectations_of_a_block_are_those_of_draws(law, target, k):
    part = part_of(law, target, LINE.means if target is LINE else None)
    values = part.values(law.sample(N, 1))
    assert values.shape == (N, k)
    assert len(part.named(["a", "b", "c", "d"])) == k
    agree(part.means(law), values)
    squares = (values - part.means(law)) ** 2
    agree(part.deviations(law) ** 2, squares)
    assert part.level == pytest.approx(part.means(law)[-2], rel=1e-12)
    assert (np.abs(values[:2000] - part.means(law)).max(axis=0) <= part.largest(law)).all()


def test_a_gaussian_block_under_another_law_than_that_it_was_chosen_for():
    other = wfr.Gaussian([0.1, 0.0, 0.9], [[0.5, 0.1, 0.1], [0.1, 0.9, 0.0], [0.1, 0.0, 0.7]])
    part = part_of(REST, PI, None)
    agree(part.means(other), part.values(other.sample(N, 2)))
    agree(part.deviations(other) ** 2, (part.values(other.sample(N, 3)) - part.means(other)) ** 2)


def test_expectations_of_the_whole_are_those_of_draws():
    axes = np.linalg.qr(np.random.default_rng(0).standard_normal((9, 9)))[0]
    law = ProductLaw([density(), density(), REST, shell()], axes)
    line = part_of(law.factors[0], LINE, LINE.means)
    parts = [line, line, part_of(REST, PI, None), part_of(law.factors[3], SHELL.radius, None)]
    chosen = ProductObservables(law, parts)
    own = [part.means(factor) for part, factor in zip(parts, law.factors, strict=True)]
    means, errors = chosen.combined(own, [0 * one for one in own])
    points = law.sample(N, 4)
    blocks = np.array([chosen.means(wfr.Particles(some)) for some in np.split(points, 400)])
    assert blocks.shape[1] == len(means) == len(set(chosen.names))
    gap = np.abs(blocks.mean(axis=0) - means) / (blocks.std(axis=0) / 20)
    assert gap.max() < 5
    spread = blocks.std(axis=0) * np.sqrt(N / 400)  # of a single draw
    np.testing.assert_allclose(chosen.deviations(), spread, rtol=0.25)  # 400 values: five standard errors and a bit
    assert not errors.any()
    assert [name for name in chosen.names if name.startswith("covariance")][-1] == "covariance y5 y9"
    assert "covariance y1 y2" in chosen.names
    kept = chosen.only(["mean y3", "potential"])
    assert kept.names == ["mean y3", "potential"]
    assert kept.means(wfr.Particles(points[:10])).shape == (2,)


def test_errors_of_the_blocks_become_those_of_the_whole():
    law = ProductLaw([density(), REST])
    parts = [part_of(law.factors[0], LINE, None), part_of(REST, PI, None)]
    chosen = ProductObservables(law, parts)
    assert chosen.labels == ["x1", "x2", "x3", "x4"]
    exact = [part.means(factor) for part, factor in zip(parts, law.factors, strict=True)]
    errors = [np.full(len(one), error) for one, error in zip(exact, (0.01, 0.02), strict=True)]
    _, found = chosen.combined(exact, errors)
    by_name = dict(zip(chosen.names, found.tolist(), strict=True))
    assert by_name["mean x1"] == 0.01
    assert by_name["covariance x1 x3"] == pytest.approx(0.01 * 0.02)
    assert by_name["potential"] == pytest.approx(0.03)
    assert by_name["variance of the potential"] == pytest.approx(0.03 + 0.03**2)


def test_equal_blocks_are_one_problem():
    target = wfr.Product([LINE] * 3 + [PI])
    truth = as_truth(target)
    assert isinstance(truth, StationaryProduct)
    problem = ProductProblem.of(truth, target, wfr.Gaussian(np.zeros(6), 1.0))
    assert [block.numbers for block in problem.blocks] == [[0, 1, 2], [3]]
    assert problem.placed("ab") == ["a", "a", "a", "b"]
    assert float(truth.error_l1(0.0)) < 1e-9
    points = truth.sample(5, 0.0, 1)
    gap = truth.log_prob(points, 0.0) - target.log_density(points)
    assert np.ptp(gap) < 1e-6
    np.testing.assert_allclose(truth.score(points, 0.0), target.score(points), atol=1e-4)


def test_modes_of_a_mixture_are_those_of_the_block_that_it_is_one_in():
    apart = np.random.default_rng(1).standard_normal(20)
    target = wfr.GaussianMixture([0 * apart, apart], [0.3, 0.7], 0.4)
    problem = ProductProblem.of(as_truth(target), target, wfr.Gaussian(np.zeros(20), 1.0))
    modes = problem.modes_of_blocks(None)
    assert [None if one is None else one.shape for one in modes] == [(2, 1), None]
    assert float(np.ptp(modes[0])) == pytest.approx(float(np.linalg.norm(apart)))


def test_places_without_a_particle_of_a_gaussian_block_are_those_on_its_axes():
    pi, start = wfr.Gaussian(2.0, 0.8), wfr.Gaussian(0.0, 0.5)
    flow, times = wfr.samplers.FeynmanKac(), np.array([0.0, 0.6])
    block = BlockProblem(
        [0], wfr.Gaussian([0.0, 0.0], 0.5), wfr.Gaussian([2.0, 0.0], 0.8), wfr.Gaussian([0.0, 0.0], 0.5)
    )
    law = law_of_block(flow, block, times, 0.1)
    assert isinstance(law, BlockLaw)
    assert law.expectations(1, part_of(law.laws[1], block.target, None))[1].max() == 0
    part = part_of(law.laws[1], block.target, None)
    gaps = [unreached(flow, block, law, [(part, law.laws[1])], Span(times, 0.1, n))[0] for n in (100, 10_000)]
    assert gaps[0].max() > 3 * gaps[1].max() > 0
    box = wfr.Grid.covering(pi, start, shape=192)
    whole, cut = (
        mean_field(one, pi, start, times, 0.1, box, only_coarse=True, cells=192).coarse[1].mean()[0]
        for one in (flow, FinitePopulationCutoff(flow, 100))
    )
    assert gaps[0][0] >= abs(whole - cut) * 0.999  # of the mean of the first coordinate
