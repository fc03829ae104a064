"""Grid: cells, sums, products, the box that covers, and what is refused."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import wfr_pde as wfr
from wfr_pde.numerics.backends import get_backend
from wfr_pde.space.checks import mass_in_narrow_features as narrow


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


def test_pieces_change_sums_by_rounding_only():
    values = np.random.default_rng(0).random((7, 4, 5))
    for grading in (None, lambda x: 1 + x**2):
        whole = wfr.Grid([0, 0, 0], [1, 1, 1], (7, 4, 5), grading=(grading, None, None))
        backend = dataclasses.replace(get_backend("numpy"), chunk=30)
        pieces = wfr.Grid([0, 0, 0], [1, 1, 1], (7, 4, 5), grading=(grading, None, None), backend=backend)
        assert len(pieces.pieces()) == 7
        assert pieces.log_integrate(values) == pytest.approx(whole.log_integrate(values), rel=1e-15)
        assert np.array_equal(pieces.in_place(lambda v: np.exp(v, out=v), values.copy()), np.exp(values))
        assert pieces.range(values) == whole.range(values) == (values.min(), values.max())
        total, low, high = pieces.weighted_sum(0.5, values, values**2)
        assert np.array_equal(total, 0.5 * values + values**2)
        assert (low, high) == (total.min(), total.max())
        mixed = pieces.log_mixture(values, 3 * values**2, 0.3)
        assert mixed == pytest.approx(whole.log_mixture(values, 3 * values**2, 0.3), abs=1e-14)
        assert pieces.log_integrate(mixed) == pytest.approx(0, abs=1e-14)
        assert narrow(pieces, values, 0) == pytest.approx(narrow(whole, values, 0), rel=1e-14)


@pytest.mark.parametrize("shape", [(8,), (8, 6), (5, 6, 7), (4, 5, 6, 7)])
def test_sums_in_every_dimension(shape):
    d = len(shape)
    grid = wfr.Grid([0] * d, [2] * d, shape)
    values = np.random.default_rng(0).random(shape)
    assert grid.sum(values) == pytest.approx(values.sum())
    assert (grid.max(values), grid.min(values)) == (values.max(), values.min())
    assert grid.integrate(values) == pytest.approx(values.mean() * 2**d)
    log_sum = math.log(values.sum()) + grid.log_cell_volume
    assert grid.log_integrate(np.log(values) - 1e4) == pytest.approx(log_sum - 1e4, rel=1e-15)
    assert grid.log_integrate(np.log(values)) == pytest.approx(math.log(values.mean() * 2**d))


def test_evaluate_goes_slab_by_slab(monkeypatch):
    monkeypatch.setattr("wfr_pde.space.grid.CELLS_PER_SLAB", 30)
    grid = wfr.Grid([0, 0, 0], [1, 1, 1], (7, 4, 5))
    seen = []

    def function(points):
        seen.append(points.shape)
        return points.sum(axis=-1)

    assert np.array_equal(grid.evaluate(function), grid.points().sum(axis=-1))
    assert max(shape[0] for shape in seen) == 1
    assert len(seen) == 7


def test_midpoint_rule_is_spectral():
    for n, error in ((20, 2e-3), (40, 1e-12)):  # 2 e^(-2 pi² (sd/dx)²), sd/dx = 0.83, 1.67
        values = np.exp(-(wfr.Grid(-12, 12, n).points()[..., 0] ** 2) / 2)
        assert abs(wfr.Grid(-12, 12, n).integrate(values) / math.sqrt(2 * math.pi) - 1) < 10 * error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lower": 1, "upper": 0, "shape": 8}, "finite lower < upper"),
        ({"lower": 0, "upper": math.nan, "shape": 8}, "finite lower < upper"),
        ({"lower": 0, "upper": math.inf, "shape": 8}, "finite lower < upper"),
        ({"lower": [0, 0], "upper": 1, "shape": 8}, "two numbers per axis"),
        ({"lower": 0, "upper": 1, "shape": 3}, "at least 4 cells"),
        ({"lower": 0, "upper": 1, "shape": 8.5}, "whole numbers"),
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


def test_log_density_is_normalised_and_right():
    grid = wfr.Grid(-9, 9, 120)
    target = wfr.Gaussian(0.5, 1.0)
    x = grid.axes[0].centres
    exact = -((x - 0.5) ** 2) / 2 - 0.5 * math.log(2 * math.pi)
    assert np.abs(grid.log_density(target) - exact).max() < 1e-13


# What is refused: the message names the value, the cause and the remedy


def test_target_not_finite_names_the_place():
    grid = wfr.Grid([-1, -1], [1, 1], (8, 8), max_cut=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        for V, value in (
            (lambda x, y: np.log(x) + y, "nan"),
            (lambda x, y: np.where(x > 0.8, np.inf, 0 * y), "-inf"),
        ):
            with pytest.raises(ValueError, match=rf"log-density {value} at {{'x': .*'y': .*of 64 cells"):
                grid.density(wfr.Potential(V))


def test_box_that_cuts_off_mass_names_it_and_the_box_that_would_do():
    with pytest.raises(ValueError, match=r"cuts off 0.0226 of the mass of the start .* would do") as error:
        wfr.Grid(-2, 8, 64).density(wfr.Gaussian(0, 1))
    lower, upper = (
        float(part.split("]")[0]) for part in str(error.value).split("a box from [")[1].split("to [") if part
    )
    wfr.Grid(lower, upper, 64).density(wfr.Gaussian(0, 1))
    with pytest.raises(ValueError, match="no mass|cuts off 1 of the mass"):
        wfr.Grid(40, 50, 64).density(wfr.Gaussian(0, 1))


def test_box_that_cuts_off_mass_of_unknown_normaliser():
    with pytest.raises(ValueError, match="cuts off"):
        wfr.Grid(-1.5, 1.5, 64).density(wfr.Potential("x**4 / 4"))
    wfr.Grid(-4, 4, 64).density(wfr.Potential("x**4 / 4"))


def test_a_wall_that_cuts_through_the_mass_is_seen_where_the_density_rises_towards_it():
    for upper in (0.02, 0.3):
        with pytest.raises(ValueError, match="cuts off .* would do"):
            wfr.Grid(-3, upper, 256).density(wfr.Potential(lambda x: 20 * (x**2 - 1) ** 2))


def test_a_component_between_the_cells_is_not_called_cut_off():
    with pytest.raises(ValueError, match="cells are too wide"):
        wfr.Grid(-12, 12, 64).density(wfr.GaussianMixture([-3.0, 3.0], [0.5, 0.5], [1.0, 1e-4]))


def test_a_jump_across_a_periodic_boundary_is_seen():
    for V in ("x", "x**2"):
        with pytest.raises(ValueError, match="not periodic along x"):
            wfr.Grid(0, 6, 64, boundary="periodic").density(wfr.Potential(V))


@pytest.mark.parametrize("n", [128, 256, 552, 1024])
@pytest.mark.parametrize("V", ["x**2 + sin(1000*x)", "x**2 + 0.2*sin(300*x)"])
def test_oscillations_between_the_cells_are_seen(V, n):
    with pytest.raises(ValueError, match="too wide"):
        wfr.Grid(-7, 7, n).density(wfr.Potential(V))


def test_a_mode_beyond_a_barrier_at_the_wall_is_seen():
    with pytest.raises(ValueError, match=r"cuts off 0.5 of the mass.* would do"):
        wfr.Grid(-5, 0, 256).density(wfr.Potential("4*(x**2 - 9)**2 / 9"))


def test_a_density_is_on_its_grid_already():
    grid = wfr.Grid(-7, 7, 64)
    with pytest.raises(TypeError, match="is on its grid already"):
        grid.density(grid.density(wfr.Gaussian(0, 1)))


def test_not_integrable_target_is_refused():
    for V in ("0*x", "x", "-x**2", "log(1 + x**2) / 4"):
        with pytest.raises(ValueError, match="cuts off"):
            wfr.Grid(-5, 5, 64).density(wfr.Potential(V))


def test_walls_that_are_meant():
    half = wfr.Grid(0, 8, 100, max_cut=1).density(wfr.Gaussian(0, 1))
    assert half.mean() == pytest.approx(math.sqrt(2 / math.pi), abs=1e-3)  # midpoint rule at a wall: O(dx²)


def test_narrow_features_are_refused_with_the_number_of_cells_that_would_do():
    with pytest.raises(
        ValueError, match=r"too wide .* along x, 0.42 of its mass is in features of standard deviation about 0.101"
    ):
        wfr.Grid([-8, -8], [8, 16], 64).density(wfr.FourModes())
    with pytest.raises(ValueError, match=r"sd >= 1.25 cells\); use about \d+ cells") as error:
        wfr.Grid(-50, 50, 64).density(wfr.Potential("x**2 / 2"))
    needed = int(str(error.value).split("use about ")[1].split(" ")[0])
    assert wfr.Grid(-50, 50, needed).density(wfr.Potential("x**2 / 2")).mass == pytest.approx(1)


def test_dimensions_must_agree():
    with pytest.raises(ValueError, match=r"is 2-dimensional, but the grid has 1 axes"):
        wfr.Grid(-5, 5, 64).density(wfr.Banana())


# Grid.covering


@pytest.mark.parametrize(
    ("target", "start"),
    [
        (wfr.Gaussian(0, 1), wfr.Gaussian(-10, 0.25)),
        (wfr.GaussianMixture([-30, 40.0], [0.999, 0.001], [1, 0.04]), wfr.Gaussian(0, 1)),
        (wfr.Gaussian([1e4, -3], [[1, 0.5], [0.5, 1]]), wfr.Gaussian([1e4, 0], 1e-2)),
        (wfr.Banana(), wfr.Gaussian([0, 0], 1.0)),
    ],
)
def test_covering_leaves_no_mass_outside(target, start):
    grid = wfr.Grid.covering(target, start, shape=64, tail=1e-10)
    for distribution in (target, start):
        draws = distribution.sample(20_000, rng=0)
        assert np.all((draws > grid.lower) & (draws < grid.upper))
        low, high = distribution.box(1e-10)
        assert np.all(low >= grid.lower)
        assert np.all(high <= grid.upper)


def test_covering_a_black_box():
    grid = wfr.Grid.covering(wfr.Potential("2*(x**2 - 1)**2 + 2*y**2 + x*y/2"), shape=64)
    exact = wfr.Grid.covering(wfr.DoubleWell(2, stiffness=(4,), coupling=0.5), shape=64)
    for found, known in zip((*grid.lower, *grid.upper), (*exact.lower, *exact.upper), strict=True):
        assert found == pytest.approx(known, rel=0.3)
    grid.density(wfr.DoubleWell(2, stiffness=(4,), coupling=0.5))


def test_covering_passes_options_and_refuses_nonsense():
    grid = wfr.Grid.covering(wfr.Gaussian(0, 1), shape=32, boundary="periodic", names=("q",))
    assert (grid.boundary, grid.names) == (("periodic",), ("q",))
    with pytest.raises(ValueError, match="at least one distribution"):
        wfr.Grid.covering(shape=32)
    with pytest.raises(ValueError, match="different dimensions"):
        wfr.Grid.covering(wfr.Gaussian(0, 1), wfr.Banana(), shape=32)
    with pytest.raises(ValueError, match="between 0 and 1"):
        wfr.Grid.covering(wfr.Gaussian(0, 1), shape=32, tail=0)


@given(
    mean=st.floats(-1e3, 1e3),
    sd=st.floats(1e-3, 1e3),
    lower=st.floats(-1e3, 1e3),
    length=st.floats(1e-3, 4e3),
    n=st.integers(4, 300),
)
def test_a_density_is_right_or_refused(mean, sd, lower, length, n):
    """Whatever the box: a normalised density with the right moments, or a ValueError."""
    grid = wfr.Grid(lower, lower + length, n)
    try:
        density = grid.density(wfr.Gaussian(mean, sd**2))
    except ValueError as error:
        assert "cuts off" in str(error) or "too wide" in str(error)  # noqa: PT017
        return
    assert density.mass == pytest.approx(1, abs=1e-12)
    # the box may cut off 1e-6 of the mass, which changes moments by about 30 times that in units of sd
    assert abs(density.mean()[0] - mean) < 1e-4 * sd
    assert density.covariance()[0, 0] == pytest.approx(sd**2, rel=1e-4)


def test_a_grid_that_does_not_fit_into_memory_is_refused_before_allocating():
    with pytest.raises(MemoryError, match=r"needs about 2.98e\+05 GiB .* use fewer cells than \(100000, 100000"):
        wfr.Grid([-5] * 3, [5] * 3, (100_000, 100_000, 1000)).density(wfr.Gaussian([0] * 3, 1.0))


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
    with pytest.raises(ValueError, match="5 different axis names"):
        wfr.Grid.from_edges(*[np.arange(5)] * 5)


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


def test_cells_too_wide_on_a_graded_axis_are_named_with_numbers_that_do():
    density = lambda x: 1 / np.sqrt(0.01 + (0.2 * x) ** 2)
    start = wfr.Gaussian(5.0, 0.01)
    with pytest.raises(ValueError, match="grading with more of them there") as error:
        wfr.Grid(-15, 15, 100, grading=density).density(start)
    words = str(error.value)
    assert float(words.split("deviation about ")[1].split(",")[0]) == pytest.approx(0.1, rel=0.01)
    axis = wfr.Grid(-15, 15, 100, grading=density).axes[0]
    there = axis.widths[np.abs(axis.centres - 5).argmin()]
    assert float(words.split("the cells are ")[2].split(" wide")[0]) == pytest.approx(there, rel=0.1)
    for _ in range(3):  # one cell tells little of how the widths vary across the start: the number gets better
        needed = int(str(error.value).split("use about ")[1].split(" ")[0])
        assert 400 < needed < 700
        try:
            moved = wfr.Grid(-15, 15, needed, grading=density).density(start)
        except ValueError as again:
            error.value.args = again.args
        else:
            break
    assert moved.mean() == pytest.approx([5], abs=1e-6)


def test_what_oscillates_between_graded_cells_is_seen_where_the_mass_is():
    grid = wfr.Grid.covering(wfr.Gaussian(0, 1), wfr.Gaussian(0, 1e-4), shape=400, graded=True)
    with pytest.raises(ValueError, match="too wide"):
        grid.density(wfr.Potential("x**2 / 2 + 0.3*sin(150*x)"))


def test_no_mass_in_a_graded_cell_names_the_place():
    grid = half_graded(max_cut=1)
    with np.errstate(all="ignore"), pytest.raises(ValueError, match=r"log-density -inf at {'x': -14.*every cell needs"):
        grid.density(wfr.Potential(lambda x, y: np.where(x < -14, np.inf, x**2 + y**2)))
