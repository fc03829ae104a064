"""Axes: the map of a density of points, its quadrature, given edges, what is refused."""

import math

import numpy as np
import pytest

import wfr_pde as wfr
from wfr_pde.space.axis import Axis

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
        (np.ones(100), "takes a function of the coordinate .* got .*1.0.*; for given edges use Grid.from_edges"),
        (2.0, "takes a function of the coordinate"),
    ],
)
def test_wrong_densities_of_points(density, message):
    with np.errstate(divide="ignore"), pytest.raises(ValueError, match=message):
        wfr.Grid(-1, 1, 100, grading=density)
