"""Graded axes: the map of a density of points, its quadrature, given edges, what is refused; automatic grading."""

import dataclasses
import math
import warnings

import numpy as np
import pytest

import wfr_pde as wfr
from wfr_pde.space.axis import Axis
from wfr_pde.space.mesh_density import densities_of_points
from wfr_pde.space.panels import shared_out

# a density of points, its exact integral, and the box
MAPS = {
    "rational": (lambda x: 1 / np.sqrt(1 + x**2), np.arcsinh, -10, 10),
    "scales 1:1e6": (lambda x: 1 / np.sqrt(1e-12 + x**2), lambda x: np.arcsinh(1e6 * x), -1, 1.3),
    "kink": (lambda x: 1 + 5 * abs(x - 0.3), lambda x: x + 2.5 * (x - 0.3) * abs(x - 0.3), -1, 1),
    "square root": (lambda x: 0.01 + np.sqrt(x), lambda x: 0.01 * x + x**1.5 / 1.5, 0, 4),
    "narrow": (
        lambda x: 1 + 1e4 / (1 + ((x - 3.3) / 1e-3) ** 2),
        lambda x: x + 10 * np.arctan((x - 3.3) / 1e-3),
        -50,
        50,
    ),
    "huge and off": (lambda x: 1e200 * np.exp(x - 1e4), lambda x: 1e200 * np.exp(x - 1e4), 1e4 - 1, 1e4 + 1),
}


@pytest.mark.parametrize("n", [300, 2400])
@pytest.mark.parametrize("case", MAPS.values(), ids=MAPS.keys())
def test_cells_share_the_density_of_points_equally(case, n):
    density, integral, lower, upper = case
    axis = Axis.graded("x", lower, upper, n, density)
    assert (axis.edges[0], axis.edges[-1], axis.n) == (lower, upper, n)
    total = integral(upper) - integral(lower)
    rounding = 4e-16 * max(abs(lower), abs(upper)) * density(axis.edges).max() / total  # of the edges themselves
    share = (integral(axis.edges) - integral(lower)) / total
    assert np.abs(share - np.arange(n + 1) / n).max() < 1e-12 + rounding
    half = (integral(axis.centres) - integral(lower)) / total
    assert np.abs(half - (np.arange(n) + 0.5) / n).max() < 1e-12 + rounding
    assert axis.widths == pytest.approx(total / n / density(axis.centres), rel=1e-11)


def test_a_periodic_map_has_no_seam():
    axis = Axis.graded("x", 0, 2 * math.pi, 128, lambda x: 1.5 + np.cos(x - 1), periodic=True)
    # 1/(2 + sin x) integrates to 2 pi / sqrt(3) over the circle: periodic and analytic, so to rounding
    assert np.sum(axis.widths / (2 + np.sin(axis.centres))) == pytest.approx(2 * math.pi / math.sqrt(3), rel=1e-12)
    assert axis.widths.sum() == pytest.approx(2 * math.pi, rel=1e-13)


def test_quadrature_on_a_smooth_map_is_spectral():
    errors = []
    for n in (22, 32, 48, 120):
        axis = Axis.graded("x", -40, 30, n, lambda x: 1 / np.sqrt(1 + (0.2 * x) ** 2))
        mu = np.exp(-((axis.centres - 0.5) ** 2) / 2) / math.sqrt(2 * math.pi) * axis.widths
        errors.append(max(abs(np.sum(mu * f) - e) for f, e in ((1, 1), (axis.centres, 0.5), (axis.centres**2, 1.25))))
    # 22 cells are 1.2 wide in the middle: e^(-2 pi² / 1.2²) = 1e-6, times 10 for the second moment; the log falls as n²
    assert errors[0] < 1e-4
    assert errors[1] < errors[0] ** 1.5
    assert errors[2] < 1e-13
    assert errors[3] < 1e-13


@pytest.mark.parametrize("kind", ["geometric", "jittered"])
def test_quadrature_on_given_edges_is_of_order_two(kind):
    errors = []
    for n in (100, 200, 400, 800):
        edges = np.geomspace(0.3, 30, n + 1) - 8
        if kind == "jittered":
            edges = np.linspace(-9, 9, n + 1)
            edges[1:-1] += 18 / n * np.random.default_rng(0).uniform(-0.4, 0.4, n - 1)
        axis = Axis.from_edges("x", edges)
        assert not axis.smooth
        assert axis.widths.sum() == pytest.approx(edges[-1] - edges[0], rel=1e-14)
        mu = np.exp(-(axis.centres**2) / 2) / math.sqrt(2 * math.pi)
        errors.append(np.abs(np.sum(mu * axis.widths) - 1))
    assert errors[0] < 1e-3
    assert math.log2(errors[0] / errors[-1]) / 3 > 1.95  # random cells partly cancel: even faster


def test_joined_cells_of_a_smooth_map_are_those_of_the_map_with_half_as_many():
    density = lambda x: 1 / np.sqrt(1 + (0.3 * x) ** 2) + np.exp(-(x**2))
    for periodic, rho in ((False, density), (True, lambda x: 1.5 + np.cos(np.pi * x / 20))):
        fine, coarse = (Axis.graded("x", -20, 20, n, rho, periodic) for n in (240, 120))
        joined = fine.coarsened()
        assert joined.smooth
        assert np.abs(joined.edges - coarse.edges).max() < 1e-13 * 40
        assert np.abs(joined.centres - coarse.centres).max() < 1e-13 * 40
        # x' comes from a quintic spline in s: its error is of order 6
        assert joined.widths == pytest.approx(coarse.widths, rel=1e-5)
    given = Axis.from_edges("x", np.geomspace(1, 9, 13))
    assert np.array_equal(given.coarsened().edges, given.edges[::2])
    assert np.array_equal(given.coarsened().centres, (given.edges[:-1:2] + given.edges[2::2]) / 2)
    with pytest.raises(ValueError, match="has 13 cells: an even number"):
        Axis.from_edges("x", np.geomspace(1, 9, 14)).coarsened()


def test_equal_edges_are_a_uniform_axis():
    axis = Axis.from_edges("x", np.linspace(-1, 2, 31))
    assert axis.is_uniform
    assert axis.matches(Axis.uniform("x", -1, 2, 30))
    assert not axis.matches(Axis.from_edges("x", np.linspace(-1, 2, 31) + 1e-9 * np.arange(31) ** 2))


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        ([0, 1, 3, 2, 4, 5], r"edges of axis x must increase, but edge 3 \(2\) does not exceed edge 2 \(3\): sort"),
        ([0, 1, 1, 2, 3], "drop doubles"),
        ([0, 1, math.nan, 3, 4], "edge 2 of axis x is nan"),
        ([0, 1, 2, 3, math.inf], "edge 4 of axis x is inf"),
        ([0, 1, 2, 3], r"at least 5 numbers \(4 cells\), got shape \(4,\)"),
        (np.ones((5, 5)), r"got shape \(5, 5\)"),
        (3.0, r"got shape \(\)"),
    ],
)
def test_wrong_edges(edges, message):
    with pytest.raises(ValueError, match=message):
        wfr.Grid.from_edges(edges)


@pytest.mark.parametrize(
    ("density", "message"),
    [
        (lambda x: x, r"of axis x is -.* it must be positive and finite"),
        (lambda x: np.where(x > 0.5, np.nan, 1.0), "of axis x is nan at 0.50"),
        (lambda x: 0 * x**2, "is 0.0 at"),
        (lambda x: 1 / np.maximum(x, 0), "is inf at"),
        (lambda x: 1.0, r"one value per coordinate: .* returned shape \(\)"),
        (lambda x: np.stack([x, x]), "one value per coordinate"),
        (lambda x: np.where(x > 0.123, 1000.0, 1.0), "jumps, or changes many times over, within a cell of 100 near"),
        (lambda x: 1e-30 + np.exp(-1e6 * x**2), "jumps|varies too much"),
        (np.ones(100), "takes a function of the coordinate .* got 1.0; for given edges use Grid.from_edges"),
        (2.0, "takes a function of the coordinate"),
    ],
)
def test_wrong_densities_of_points(density, message):
    with np.errstate(divide="ignore"), pytest.raises(ValueError, match=message):
        wfr.Grid(-1, 1, 100, grading=density)


def test_a_noisy_density_of_points_is_taken_as_it_is():
    """In single precision no polynomial fits to rounding: the search for panels ends nevertheless."""
    axis = Axis.graded("x", -1, 1, 50, lambda x: (1 + np.sin(x) ** 2).astype(np.float32))
    exact = Axis.graded("x", -1, 1, 50, lambda x: 1 + np.sin(x) ** 2)
    assert axis.edges == pytest.approx(exact.edges, abs=1e-7)


# Automatic grading


def covered(*distributions, shape, **options):
    """The graded grid, and that it takes every distribution, with its moments where they are known."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        grid = wfr.Grid.covering(*distributions, shape=shape, graded=True, **options)
        for distribution in distributions:
            density = grid.density(distribution)
            moments = distribution.moments()
            if moments is not None:
                sd = np.sqrt(np.diag(moments[1]))
                assert np.all(np.abs(density.mean() - moments[0]) < 1e-8 * sd)
                # the box leaves out 1e-12 of the mass, at 7 sd
                assert np.sqrt(np.diag(density.covariance())) == pytest.approx(sd, rel=1e-6)
    return grid


@pytest.mark.parametrize(
    ("distributions", "shape", "finest", "widest"),
    [
        ((wfr.Gaussian(0, 2500.0), wfr.Gaussian(0, 0.0025)), 200, 0.03, 10),
        ((wfr.Gaussian([0, 0], [1, 1 / 900]), wfr.Gaussian([1, 0], [1 / 900, 1])), 100, 0.02, 0.4),
        ((wfr.Potential("x**4 / 4"), wfr.Gaussian(0, 1e-4)), 160, 0.005, 0.1),
        ((wfr.Potential("x**2 / 2 - log(1 + 1000*exp(-5e5*(x - 3)**2))"), wfr.Gaussian(0, 1)), 300, 4e-4, 0.1),
        ((wfr.GaussianMixture([-30, 40.0], [0.99999, 1e-5], [1, 1e-6]), wfr.Gaussian(0, 1)), 300, 4e-4, 0.5),
        ((wfr.FourModes(), wfr.Gaussian([0, 8], 1.0)), 128, 0.06, 0.4),
    ],
    ids=["scales", "anisotropic", "black box", "narrow mode of a black box", "rare component", "four modes"],
)
def test_covering_by_local_scales(distributions, shape, finest, widest):
    grid = covered(*distributions, shape=shape)
    assert min(axis.widths.min() for axis in grid.axes) < finest
    assert max(axis.dx for axis in grid.axes) > widest


def test_covering_a_funnel_by_local_scales():
    grid = covered(wfr.Funnel(variance=1.0), shape=(96, 200))
    assert grid.axes[1].dx > 20 * grid.axes[1].widths.min()


def test_covering_resolves_what_is_between_two_narrow_ends():
    ends = wfr.Gaussian(-10, 0.01), wfr.Gaussian(10, 0.01)
    grid = covered(*ends, shape=800)
    grid.density(wfr.Gaussian(1.2, 0.01))  # the Fisher-Rao flow comes through there
    start = grid.density(ends[0])
    ds = wfr.solve(ends[1], wfr.FisherRao(), start, [0, 0.5, 1], 1)
    exact = wfr.exact.gaussian_flow(*ends[::-1], 0.5, 0.0, 1.0)
    assert wfr.Density.from_dataset(ds, 1).covariance()[0, 0] == pytest.approx(exact.covariance[0, 0], rel=1e-10)


def test_a_state_that_comes_to_cells_too_wide_for_it_is_caught():
    ends = wfr.Gaussian(-10, 0.01), wfr.Gaussian(10, 0.01)
    density = lambda x: sum(1 / np.sqrt(0.01 + 0.04 * (x - c) ** 2) for c in (-10, 10))
    grid = wfr.Grid(-11, 11, 200, grading=density)
    with pytest.raises(wfr.NumericalError, match=r"too wide for the state at t=0.5: .* deviation about 0.1, but"):
        wfr.solve(ends[1], wfr.FisherRao(), grid.density(ends[0]), [0, 0.5, 9], 1)


def test_grading_of_a_given_box_and_periodic_axes():
    target, start = wfr.Potential("-20*cos(x)"), wfr.Potential("-500*cos(x - 6)")
    grid = wfr.Grid(0, 2 * np.pi, 128, boundary="periodic", names=("q",), max_cut=1e-4).graded(target, start)
    assert (grid.boundary, grid.names, grid.max_cut, grid.shape) == (("periodic",), ("q",), 1e-4, (128,))
    [axis] = grid.axes
    assert axis.widths[[0, -1]] == pytest.approx(axis.widths[[0, -1]].mean(), rel=0.1)  # no seam
    assert axis.centres[axis.widths.argmin()] == pytest.approx(6, abs=0.3)
    # the mean of cos(x - 6) is I_1(500)/I_0(500)
    mean = grid.density(start).expectation(lambda p: np.cos(p[..., 0] - 6))
    assert mean == pytest.approx(1 - 1 / 1000 - 1 / 8 / 500**2, abs=1e-8)


def test_grading_is_deterministic():
    ends = wfr.FourModes(), wfr.Potential("x**2 / 2 + y**4 / 4")
    first, again = (wfr.Grid.covering(*ends, shape=64, graded=True) for _ in range(2))
    for a, b in zip(first.axes, again.axes, strict=True):
        assert np.array_equal(a.edges, b.edges)
        assert np.array_equal(a.widths, b.widths)


def test_what_cannot_be_graded():
    path = wfr.GeometricPath(wfr.Gaussian(-1, 0.1), wfr.Gaussian(0, 1))
    with pytest.raises(ValueError, match=r"moves.*path\.at\(0\)"):
        wfr.Grid.covering(path, shape=64, graded=True)
    wfr.Grid.covering(path.at(0), path.at(9), shape=64, graded=True)
    with pytest.raises(ValueError, match="no finite log-density in the box"):
        wfr.Grid(-3, -1, 64).graded(wfr.Potential("log(x)"))


def test_a_graded_grid_with_other_cells_needs_its_density_again():
    grid = wfr.Grid.covering(wfr.Gaussian(0, 1), shape=64, graded=True)
    with pytest.raises(ValueError, match="is of 64 cells from .* asks for 32 cells .*: give the density of points"):
        dataclasses.replace(grid, shape=32)
    assert dataclasses.replace(grid, max_cut=1).matches(grid)


def test_the_integral_of_a_density_is_made_once():
    asked = []

    def density(x):
        asked.append(np.size(x))
        return 1 / np.sqrt(0.01**2 + x**2)

    Axis.graded("x", -3.0, 4.0, 100, density)
    once = sum(asked)
    for n in (120, 150, 200):
        Axis.graded("x", -3.0, 4.0, n, density)
    assert sum(asked) == once + 120 + 150 + 200  # at the centres alone


def test_shares_between_ends():
    ends = np.array([-3.0, -0.2, 0.001, 1.5, 4.0])
    found = shared_out(lambda x: 1 / np.sqrt(0.01**2 + x**2), ends)
    np.testing.assert_allclose(found, np.diff(np.arcsinh(ends / 0.01)), rtol=1e-13)


def test_rounding_of_far_coordinates_is_not_followed():
    asked = []

    def density(x):
        asked.append(np.size(x))
        return 1 / np.sqrt(1e-5**2 + (0.2 * (x - 1e6)) ** 2)

    Axis.graded("x", 1e6 - 3.0, 1e6 + 4.0, 400, density)
    assert sum(asked) < 16 * 2000  # was 16 * 131072


@pytest.mark.parametrize("variance", [1e-4, 1e-6, 1e-8])
def test_narrow_targets_under_wide_starts_are_graded(variance):
    # scales of a steep target where the start is have no end; they were spikes, and no axis could follow them
    target, start = wfr.Gaussian(0, variance), wfr.Gaussian(1, 0.04)
    densities = densities_of_points([target, start], [-0.3], [2.3], [False], [(start, target)])
    axis = Axis.graded("x", -0.3, 2.3, 256, densities[0])
    total = axis.widths[0] * axis.n * densities[0](axis.centres[:1])[0]
    assert total < 3000
    x = np.linspace(0.3, 1.7, 2001)
    assert np.abs(np.diff(np.log(densities[0](x)))).max() < 0.05
