"""Checks of a distribution on a grid: each message names the value, the cause and the remedy."""

import math

import numpy as np
import pytest

import wfr_pde as wfr


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
