"""Box and cells that a certified solution begins with: walls, breaks, and what lies between the centres."""

import numpy as np
import pytest

import wfr_pde as wfr
from wfr_pde.targets.breaks import Breaks
from wfr_pde.truth.certified.grids.first_grids import breaks_of, first_terrain, look_at
from wfr_pde.truth.certified.problem import Problem

START = wfr.Gaussian(-0.7, 0.15**2)


def problem(target, start=START, rtol=1e-6):
    return Problem(target, start, np.array([0.0, 1.0]), 1.0, 1.0, rtol)


def terrain(target, start=START, box=None, boundary="no-flux", max_cut=1e-6, rtol=1e-6):
    return first_terrain(problem(target, start, rtol), box, boundary, None, max_cut)


def barrier(width, height=6.0):
    return wfr.Potential(f"x**2/2 + {height}*exp(-(x - 0.3)**2/(2*{width}**2))")


def test_a_box_holds_both():
    found = terrain(wfr.Gaussian(0, 1), wfr.Gaussian(-5, 0.04))
    assert found.cells.lower[0] < -6
    assert found.cells.upper[0] > 5
    assert not found.cells.real_walls
    assert not found.hides
    assert not found.breaks
    assert found.look.kind == "looked"


def test_a_tighter_tolerance_has_a_wider_box():
    widths = [
        float(np.ptp([one.cells.lower, one.cells.upper]))
        for one in (terrain(wfr.Gaussian(0, 1), rtol=rtol) for rtol in (1e-4, 1e-9))
    ]
    assert widths[1] > widths[0]


def test_a_box_that_is_given_is_kept():
    found = terrain(wfr.Gaussian(0, 1), box=(-9, 8))
    assert (found.cells.lower[0], found.cells.upper[0]) == (-9, 8)
    assert found.cells.real_walls


@pytest.mark.parametrize("width", [0.01, 0.003, 0.001])
def test_what_lies_between_the_centres_gets_cells(width):
    # found by looking: mass on the wrong side of the barrier, and a bound of 3e-7
    found = terrain(barrier(width))
    assert not found.hides
    axis = found.cells.grid(1).axes[0]
    near = np.abs(axis.centres - 0.3) < 2 * width
    assert near.sum() >= 3
    assert axis.widths[near].max() < 1.5 * width
    without = terrain(wfr.Potential("x**2/2"))
    assert found.cells.counts[0] > without.cells.counts[0]


def test_features_far_above_everything_do_not_count():
    far = wfr.Potential("x**2/2 + 6*exp(-(x - 30)**2/(2*0.003**2))")
    assert (
        terrain(far, box=(-9, 32), max_cut=1).cells.counts
        == terrain(wfr.Potential("x**2/2"), box=(-9, 32), max_cut=1).cells.counts
    )


@pytest.mark.parametrize(
    ("V", "places"),
    [
        ("abs(x)", [0.0]),
        ("x**2/2 + sign(x - 0.37)", [0.37]),
        (lambda x: np.abs(x - 0.25), [0.25]),
        (lambda x: x**2 / 2 + 2.0 * (x > 0.37), [0.37]),
        ("x**2/2", []),
        (lambda x: x**2 / 2, []),
    ],
)
def test_breaks_are_on_edges_of_all_grids(V, places):
    target = wfr.Potential(V, ndim=1) if callable(V) else wfr.Potential(V)
    found = terrain(target)
    np.testing.assert_allclose(found.breaks.places[0], places, atol=1e-8)
    for ratio in (0.75, 1.0, 1.25, 1.5, 2.0):
        edges = found.cells.grid(ratio).axes[0].edges
        for place in found.breaks.places[0]:
            assert np.abs(edges - place).min() < 1e-12
    assert not found.hides


def test_breaks_of_the_start_count_too():
    both = breaks_of(problem(wfr.Potential("abs(x)"), wfr.Potential("abs(x - 1)")), np.array([-9.0]), np.array([9.0]))
    np.testing.assert_allclose(both.places[0], [0.0, 1.0])
    plane = problem(wfr.Potential("x**2 + abs(y)"), wfr.Gaussian([0, 0], 1))
    found = breaks_of(plane, np.array([-5.0, -5.0]), np.array([5.0, 5.0]))
    assert [list(place) for place in found.places] == [[], [0.0]]
    assert isinstance(found, Breaks)


def test_breaks_in_the_plane_are_searched_for():
    kinked = wfr.Potential(lambda x, y: 2 * np.abs(x - 0.25) + y**2 / 2, ndim=2)
    found = terrain(kinked, wfr.Gaussian([0, 0], 1))
    np.testing.assert_allclose(found.breaks.places[0], [0.25], atol=1e-9)
    assert len(found.breaks.places[1]) == 0
    assert not found.breaks.elsewhere
    assert np.abs(found.cells.grid(1.25).axes[0].edges - found.breaks.places[0]).min() < 1e-12
    turned = wfr.Potential(lambda x, y: np.abs(x - y) + (x**2 + y**2) / 2, ndim=2)
    assert terrain(turned, wfr.Gaussian([0, 0], 1)).breaks.elsewhere


def test_loose_tolerances_begin_with_fewer_cells_in_space():
    ours, theirs = (problem(wfr.Gaussian([0, 0, 0], 1), wfr.Gaussian([0.2, 0, 0], 1), rtol=r) for r in (5e-2, 1e-7))
    loose, tight = (first_terrain(each, None, "no-flux", None, 1e-6).cells for each in (ours, theirs))
    assert np.prod(loose.counts) < np.prod(tight.counts) / 3
    assert np.all(loose.upper < tight.upper)


def test_targets_that_move_are_looked_at_at_three_times():
    path = wfr.GeometricPath(wfr.Gaussian(-1, 0.5), wfr.Gaussian(1, 1))
    found = terrain(path, wfr.Gaussian(-1, 0.5))
    alone = terrain(path.at(0), wfr.Gaussian(-1, 0.5))
    assert not found.look.hides
    assert found.look.places > 2 * alone.look.places
    assert not found.hides


def hides(target, start, grid):
    """Whether V does something between the centres of a grid."""
    cells = terrain(wfr.Potential("x**2/2"), box=(grid.lower, grid.upper)).cells
    return look_at(problem(target, start), grid, cells, Breaks.none(1)).hides


def test_a_look_at_cells_that_do_not_show_it():
    grid = wfr.Grid(-9, 9, 200)
    assert hides(barrier(0.003), START, grid)
    assert not hides(wfr.Potential("x**2/2"), START, grid)


def test_high_starts_are_looked_at_as_high_as_they_are():
    """V is looked at up to ten nats above where the start has its mass, however high that is."""
    spike = "x**2/2 + 6*exp(-(x + 11)**2/(2*0.003**2))"  # where V is 60 nats above its lowest
    low, high = wfr.Gaussian(0, 0.04), wfr.Gaussian(-12, 0.01)
    grid = wfr.Grid(-15, 9, 400)
    assert not hides(wfr.Potential(spike), low, grid)
    assert hides(wfr.Potential(spike), high, grid)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"boundary": "periodic"}, "needs box="),
        ({"box": ([0.0, 0.0], [1.0, 1.0])}, "1-dimensional, but the box is 2-dimensional"),
        ({"box": (1.0, 0.0)}, "lower < upper"),
        ({"box": (-1.0, 1.0)}, "cuts off"),
        ({"box": (0.0, 2 * np.pi), "boundary": "periodic"}, "not periodic"),
    ],
)
def test_boxes_that_do_not_fit(options, words):
    with pytest.raises(ValueError, match=words):
        terrain(wfr.Gaussian(0, 1), **options)


def test_walls_that_are_meant():
    found = terrain(wfr.Gaussian(0, 1), wfr.Gaussian(0.5, 0.04), box=(-0.2, 1.2), max_cut=1)
    assert found.cells.real_walls
