"""Grid: cells, sums, products, the box that covers, and what is refused."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

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


@pytest.mark.parametrize("shape", [(8,), (8, 6), (5, 6, 7), (4, 5, 6, 7)])
def test_sums_and_products_in_every_dimension(shape):
    d = len(shape)
    grid = wfr.Grid([0] * d, [2] * d, shape)
    values = np.random.default_rng(0).random(shape)
    assert grid.sum(values) == pytest.approx(values.sum())
    assert (grid.max(values), grid.min(values)) == (values.max(), values.min())
    assert grid.integrate(values) == pytest.approx(values.mean() * 2**d)
    assert grid.logsumexp(np.log(values) - 1e4) == pytest.approx(math.log(values.sum()) - 1e4, rel=1e-15)
    assert grid.log_integrate(np.log(values)) == pytest.approx(math.log(values.mean() * 2**d))
    for axis in range(d):
        matrix = np.random.default_rng(1).random((3, shape[axis]))
        expected = np.moveaxis(np.tensordot(matrix, values, axes=(1, axis)), 0, axis)
        assert grid.apply(matrix, values, axis) == pytest.approx(expected)


def test_evaluate_goes_slab_by_slab(monkeypatch):
    monkeypatch.setattr("wfr_pde.grid.CELLS_PER_SLAB", 30)
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
    with pytest.raises(wfr.BackendError, match="no backend 'cupy' in this version of wfr_pde; use one of: numpy"):
        wfr.Grid(0, 1, 8, backend="cupy")


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
    with pytest.raises(MemoryError, match=r"needs about 4.47e\+05 GiB .* use fewer cells than \(100000, 100000"):
        wfr.Grid([-5] * 3, [5] * 3, (100_000, 100_000, 1000)).density(wfr.Gaussian([0] * 3, 1.0))
