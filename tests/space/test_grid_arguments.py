"""Arguments of a grid: what is refused."""

import dataclasses
import math

import pytest

import wfr_pde as wfr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lower": 1, "upper": 0, "shape": 8}, "finite lower < upper"),
        ({"lower": 0, "upper": math.nan, "shape": 8}, "finite lower < upper"),
        ({"lower": 0, "upper": math.inf, "shape": 8}, "finite lower < upper"),
        ({"lower": [0, 0], "upper": 1, "shape": 8}, "one number per axis each"),
        ({"lower": 0, "upper": 1, "shape": 3}, "shape must be a whole number of at least 4"),
        ({"lower": 0, "upper": 1, "shape": 8.5}, "shape must be a whole number"),
        ({"lower": [0, 0], "upper": [1, 1], "shape": (8, 8, 8)}, "shape must be 2"),
        ({"lower": 0, "upper": 1, "shape": 8, "boundary": "open"}, "boundary must be one of"),
        ({"lower": 0, "upper": 1, "shape": 8, "boundary": ("periodic", "periodic")}, "or 1 of them"),
        ({"lower": 0, "upper": 1, "shape": 8, "names": ("x", "y")}, "1 different axis names"),
        ({"lower": 0, "upper": 1, "shape": 8, "names": ("a b",)}, "letters, digits"),
        ({"lower": 0, "upper": 1, "shape": 8, "names": ("t",)}, "other than axis"),
        ({"lower": 0, "upper": 1, "shape": 8, "max_cut": 0}, "share of the mass"),
    ],
)
def test_wrong_grids(arguments, message):
    with pytest.raises(ValueError, match=message):
        wfr.Grid(**arguments)


def test_missing_backend_names_what_there_is():
    with pytest.raises(wfr.BackendError, match="no backend 'jax' in this version of wfr_pde; use one of: cupy, numpy"):
        wfr.Grid(0, 1, 8, backend="jax")


@pytest.mark.parametrize("name", ["cell_width_x", "x_edge", "cell_"])
def test_axis_names_that_a_dataset_needs_itself(name):
    with pytest.raises(ValueError, match="other than .*_edge"):
        wfr.Grid(0, 1, 8, names=(name,))


def test_wrong_gradings():
    with pytest.raises(ValueError, match="must be 2 functions or None, one per axis"):
        wfr.Grid([0, 0], [1, 1], 8, grading=lambda x: 1 + x)
    with pytest.raises(ValueError, match="one per axis, got 1"):
        wfr.Grid([0, 0], [1, 1], 8, grading=[None])
    assert wfr.Grid([0, 0], [1, 1], 8, grading=[None, None]).is_uniform
    assert wfr.Grid(0, 1, 8, grading=lambda x: 3 + 0 * x).is_uniform


def test_a_graded_grid_with_other_cells_needs_its_density_again():
    grid = wfr.Grid.covering(wfr.Gaussian(0, 1), shape=64, graded=True)
    with pytest.raises(ValueError, match="is of 64 cells from .* asks for 32 cells .*: give the density of points"):
        dataclasses.replace(grid, shape=32)
    assert dataclasses.replace(grid, max_cut=1).matches(grid)


@pytest.mark.parametrize(("lower", "upper"), [(0, 1e308), (-1e308, 1e308), (0, 1e151)])
def test_boxes_whose_squares_overflow_are_refused(lower, upper):
    """Their centres and widths were infinite, or no numbers."""
    with pytest.raises(ValueError, match=r"lower=.* go beyond 1e\+150.*use other units"):
        wfr.Grid(lower, upper, 8)
    assert wfr.Grid(0, 1e149, 8).axes[0].centres[-1] == pytest.approx(1e149 * 15 / 16)
