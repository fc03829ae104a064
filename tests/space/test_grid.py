"""Grid: cells and coordinates, graded axes, given edges."""

import numpy as np
import pytest

import wfr_pde as wfr


def test_cells_and_coordinates():
    grid = wfr.Grid([-1, 0], [1, 3], (4, 6), boundary=("no-flux", "periodic"))
    assert (grid.ndim, grid.size, grid.names) == (2, 24, ("x", "y"))
    assert grid.axes[0].centres == pytest.approx([-0.75, -0.25, 0.25, 0.75])
    assert (grid.axes[0].dx, grid.axes[1].length, grid.axes[1].periodic) == (0.5, 3.0, True)
    assert grid.points().shape == (4, 6, 2)
    assert grid.points()[3, 0] == pytest.approx([0.75, 0.25])
    assert "shape=(4, 6)" in repr(grid)


def test_numbers_do_for_one_dimension():
    grid = wfr.Grid(-2, 2, 8)
    assert (grid.shape, grid.lower, grid.boundary) == ((8,), (-2.0,), ("no-flux",))


# Graded axes (the axes themselves: tests/space/test_axis.py)

WIDE_AND_NARROW = (lambda x: 1 / np.sqrt(0.01 + (0.2 * x) ** 2)), None


def half_graded(shape=(160, 60), **options):
    """x graded around 0, y with equal cells."""
    return wfr.Grid([-15, -5], [15, 6], shape, grading=WIDE_AND_NARROW, **options)


def test_a_grid_graded_along_one_axis():
    grid = half_graded()
    assert not grid.is_uniform
    assert [axis.is_uniform for axis in grid.axes] == [False, True]
    assert grid.cell_volume.shape == grid.shape
    assert grid.cell_volume == pytest.approx(np.outer(grid.axes[0].widths, grid.axes[1].widths))
    assert grid.log_cell_volume == pytest.approx(np.log(grid.cell_volume))
    assert "x graded from 0.0" in repr(grid)
    assert "y graded" not in repr(grid)
    assert grid.description()["graded"] == {"x": True}
    target = wfr.Gaussian([0, 0.5], [4.0, 0.4])
    density = grid.density(target)
    x, y = density.marginal("x"), density.marginal("y")
    assert (x.grid.is_uniform, y.grid.is_uniform) == (False, True)
    assert y.grid.matches(wfr.Grid(-5, 6, 60, names=("y",)))
    for marginal, exact in ((x, wfr.Gaussian(0, 4.0)), (y, wfr.Gaussian(0.5, 0.4))):
        assert np.abs(marginal.log_values - marginal.grid.log_density(exact)).max() < 1e-10
    assert grid.integrate(density.values) == pytest.approx(1, abs=1e-13)
    assert grid.log_integrate(density.log_values - 1e4) == pytest.approx(-1e4, rel=1e-15)
    joined = grid.coarsened()
    assert joined.shape == (80, 30)
    assert [axis.is_uniform for axis in joined.axes] == [False, True]


def test_graded_grids_match_where_their_cells_do():
    grid = half_graded()
    assert grid.matches(half_graded(max_cut=1))
    assert not grid.matches(half_graded(boundary=("periodic", "no-flux")))
    assert not grid.matches(half_graded(names=("a", "b")))
    assert not grid.matches(wfr.Grid([-15, -5], [15, 6], (160, 60)))
    other = wfr.Grid([-15, -5], [15, 6], (160, 60), grading=(lambda x: 1 / np.sqrt(0.011 + (0.2 * x) ** 2), None))
    assert not grid.matches(other)
    same_edges = wfr.Grid.from_edges(*(axis.edges for axis in grid.axes))
    assert not grid.matches(same_edges)  # other centres
    one, another = (wfr.Gaussian([0, 0.5], [4.0, 0.4]) for _ in range(2))
    with pytest.raises(ValueError, match="different grids: the cells have different edges"):
        wfr.metrics.l1(grid.density(one), other.density(another))


def test_given_edges():
    edges = np.geomspace(1, 40, 401), np.linspace(-6, 6, 61)
    grid = wfr.Grid.from_edges(*edges, names=("a", "b"), boundary=("no-flux", "periodic"), max_cut=1e-4)
    assert (grid.shape, grid.names, grid.boundary, grid.max_cut) == (
        (400, 60), ("a", "b"), ("no-flux", "periodic"), 1e-4,
    )  # fmt: skip
    assert np.array_equal(grid.axes[0].edges, edges[0])
    assert np.array_equal(grid.axes[0].centres, (edges[0][1:] + edges[0][:-1]) / 2)
    assert grid.axes[1].is_uniform
    # the quadrature is of order 2, which is not mistaken for mass cut off, or for cells too wide
    target = wfr.Gaussian([15, 0], [4.0, 0.5])
    error = grid.integrate(np.exp(grid.evaluate(target.log_density) - target.log_normaliser)) - 1
    assert 1e-6 < abs(error) < 1e-3
    assert grid.density(target).mean() == pytest.approx([15, 0], abs=1e-3)
    with pytest.raises(ValueError, match="cuts off 0.0"):
        grid.density(wfr.Gaussian([3, 0], [1.0, 0.5]))
    with pytest.raises(ValueError, match="needs the edges"):
        wfr.Grid.from_edges()
    with pytest.raises(ValueError, match="have 5 axes, but grids have at most 4"):
        wfr.Grid.from_edges(*[np.arange(5)] * 5)


def test_no_mass_in_a_graded_cell_names_the_place():
    grid = half_graded(max_cut=1)
    with np.errstate(all="ignore"), pytest.raises(ValueError, match=r"log-density -inf at {'x': -14.*every cell needs"):
        grid.density(wfr.Potential(lambda x, y: np.where(x < -14, np.inf, x**2 + y**2)))


def test_integrals_are_of_one_value_per_cell():
    plane = wfr.Grid([-7, -7], [7, 7], (64, 64))
    assert plane.integrate(np.ones((64, 64))) == pytest.approx(196)
    assert plane.integrate(np.ones((64, 64)).tolist()) == pytest.approx(196)
    assert plane.log_integrate(log_values=np.zeros((64, 64))) == pytest.approx(np.log(196))
    for values in (1.0, np.ones(64), np.ones((1, 64, 64)), []):
        with pytest.raises(ValueError, match=r"^values must have the shape of the grid, \(64, 64\), one per cell"):
            plane.integrate(values)
    for values in ("x", [[1, 2], [3]], 10**400, np.ma.masked_all((64, 64))):
        with pytest.raises(ValueError, match=r"^values "):
            plane.integrate(values)
    with pytest.raises(ValueError, match=r"^log_values must have the shape"):
        plane.log_integrate([1.0, 2.0])
