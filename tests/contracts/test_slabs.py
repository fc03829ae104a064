"""A grid in slabs gives what the whole gives: whatever depends on all cells goes through `Reductions` and the grid."""

import dataclasses
import math
import re
import threading

import numpy as np
import pytest
import slabs

import wfr_pde as wfr
from wfr_pde import diagnostics
from wfr_pde.numerics.backends import numpy as numpy_backend
from wfr_pde.numerics.cellwise import Cellwise
from wfr_pde.space.heat.blocks import Blocks
from wfr_pde.space.quadrature import log_mass_corrected

S, R = wfr.SinkhornKernel(0.7), wfr.FisherRao(1.3)
FLOWS = {
    "FisherRao": R,
    "SinkhornKernel": S,
    "Lie W-FR": wfr.Lie(S, R),
    "Lie FR-W": wfr.Lie(R, S),
    "Strang W/2 FR W/2": wfr.Strang(S, R),
    "Strang FR/2 W FR/2": wfr.Strang(R, S),
    "Repeated": wfr.Repeated(wfr.Strang(R, S), 3),
    "Extrapolated 4": wfr.Extrapolated(wfr.Strang(R, S), 4),
    "Extrapolated 8": wfr.Extrapolated(wfr.Strang(R, S), 8),
    "Extrapolated transport": wfr.Extrapolated(S, 8),
}
CORRELATED = wfr.Gaussian([0, 0.4], [[1, 0.6], [0.6, 0.7]])
BESIDE = wfr.Gaussian([-1, -0.5], [0.8, 0.5])
TWO_MODES = wfr.GaussianMixture([[-1.6, 0.0, 0.3], [1.4, 0.5, 0.0]], [0.4, 0.6], 0.45)
WAVES = wfr.Potential(lambda x, y: np.cos(x) * (1 + 0.2 * y**2) + 2 * y**2)
OTHER_WAVES = wfr.Potential(lambda x, y: np.sin(x) + 3 * y**2)
TO_THE_RIGHT = wfr.Gaussian([2, 0], 0.5)
AROUND = wfr.Grid([0, -4], [2 * np.pi, 4], (50, 70), boundary=("periodic", "no-flux"), max_cut=1)
GRADED = wfr.Grid([-7, -6], [7, 7], (90, 70), grading=(lambda x: 1 / np.sqrt(1 + 0.1 * x**2), None))
CASES = {  # target, start, grid, rows of the slabs
    "two": (CORRELATED, BESIDE, wfr.Grid([-6, -5], [6, 6], (64, 64)), (32, 32)),
    "uneven": (CORRELATED, BESIDE, wfr.Grid([-6, -5], [6, 6], (96, 80)), (30, 66)),
    "three": (CORRELATED, BESIDE, wfr.Grid([-6, -5], [6, 6], (65, 67)), (1, 40, 24)),
    "periodic": (WAVES, OTHER_WAVES, AROUND, (20, 30)),
    "graded": (CORRELATED, BESIDE, GRADED, (31, 59)),
    "3D": (TWO_MODES, wfr.Gaussian([-1.5, 0, 0], 0.5), wfr.Grid([-5] * 3, [5] * 3, (30, 28, 26)), (11, 19)),
    "4D": (
        wfr.Gaussian([0] * 4, [0.8, 1.0, 1.5, 0.9]),
        wfr.Gaussian([0.5] * 4, 1.0),
        wfr.Grid([-4] * 4, [4] * 4, (12, 13, 11, 14), max_cut=1),
        (5, 7),
    ),
    # the target's mode at e^-200 of the start, the ends of the box at e^-650; and at e^-1800 and e^-6000
    "wide": (TO_THE_RIGHT, wfr.Gaussian([-4, 0], 0.09), wfr.Grid([-7, -5], [6, 5], (120, 96)), (50, 70)),
    "wider": (TO_THE_RIGHT, wfr.Gaussian([-4, 0], 0.01), wfr.Grid([-7, -5], [6, 5], (256, 196)), (100, 156)),
}
SOME = ("SinkhornKernel", "Strang FR/2 W FR/2", "Extrapolated 4")
PAIRS = [(case, flow) for case in CASES for flow in (FLOWS if case in ("uneven", "wide") else SOME)]


def whole(state):
    return state.grid.reductions.whole(state.log_values)


def two_steps(target, start, flow):
    """A function of a grid: log mu after two steps, and its KL and mass."""

    def run(grid):
        energy, state = wfr.KL(target), grid.density(start)
        dt = max(flow.dt_bounds(energy, state)[0], 1.5 * max(axis.dx for axis in grid.axes) ** 2)
        state = flow.make_steps(energy, state, dt)(state, 0.0, 2)
        return whole(state), energy.value(state), state.mass

    return run


@pytest.mark.parametrize(("case", "name"), PAIRS, ids=[" ".join(pair) for pair in PAIRS])
def test_every_flow_gives_what_it_gives_on_the_whole_grid(case, name):
    target, start, grid, rows = CASES[case]
    run = two_steps(target, start, FLOWS[name])
    expected, kl, mass = run(grid)
    # rounding of logarithms of that size; the weights of order 8 multiply it
    rounding = (
        np.finfo(float).eps * (10 + np.abs(expected).max()) * (20 if getattr(FLOWS[name], "order", 0) == 8 else 4)
    )
    results = slabs.in_slabs(run, grid, rows)
    for log_values, other_kl, other_mass in results:
        assert np.abs(log_values - expected).max() < rounding
        assert np.abs(np.exp(log_values) - np.exp(expected)).sum() < 1e-13 * np.exp(expected).sum()
        assert other_kl == pytest.approx(kl, rel=1e-12, abs=1e-13)
        assert other_mass == pytest.approx(mass, abs=1e-13)
        assert np.array_equal(log_values, results[0][0])


def test_wide_starts_take_a_shift_per_line_and_blocks(monkeypatch):
    """That the wide cases are what they are for: where others have one shift, lines have their own, or blocks."""
    taken = {"lines": 0, "blocks": 0}
    log_along, log_product = Cellwise.log_along, Blocks.log_product

    def by_lines(cellwise, *arguments):
        done = log_along(cellwise, *arguments)
        taken["lines"] += done
        return done

    def by_blocks(blocks, lines):
        taken["blocks"] += 1
        return log_product(blocks, lines)

    monkeypatch.setattr(Cellwise, "log_along", by_lines)
    monkeypatch.setattr(Blocks, "log_product", by_blocks)
    for case, ways in (("uneven", []), ("wide", ["lines", "blocks"]), ("wider", ["blocks"])):
        target, start, grid, rows = CASES[case]
        grid = dataclasses.replace(
            grid, backend=dataclasses.replace(grid.backend, compiled_cellwise=lambda cells: None)
        )
        taken.update(lines=0, blocks=0)
        slabs.in_slabs(two_steps(target, start, S), grid, rows)
        assert [way for way, times in taken.items() if times] == ways


@pytest.mark.filterwarnings("ignore::wfr_pde.errors.OpenIntegralWarning")  # chi² is one of the box
@pytest.mark.parametrize("case", ["uneven", "three", "periodic", "graded", "3D"])
def test_numbers_of_a_density_are_those_of_the_whole(case):
    target, start, grid, rows = CASES[case]
    records = [
        *(diagnostics.mass, diagnostics.mean, diagnostics.covariance, diagnostics.kl, diagnostics.reverse_kl),
        *(diagnostics.jeffreys, diagnostics.chi_squared, diagnostics.fisher_information, diagnostics.entropy),
        *(diagnostics.variance_of_log_ratio, diagnostics.oscillation, diagnostics.target_mass_below_floor),
        diagnostics.mode_masses([[0.1] * grid.ndim, [0.9] * grid.ndim]),
        diagnostics.region_mass(lambda points: points[..., 0] > 0.3, "right"),
    ]

    def numbers(grid):
        state, energy = grid.density(start), wfr.KL(target)
        found = [record(state, energy) for record in records]
        marginals = [state.marginal(axes).log_values for axes in (0, grid.ndim - 1)]
        points = np.array(grid.lower) + np.array([0.3, 0.5, 0.7])[:, None] * (np.array(grid.upper) - grid.lower)
        reductions, log_values = grid.reductions, state.log_values
        sums = [grid.sum(log_values), *grid.range(log_values), grid.min(log_values), grid.max(log_values)]
        sums += [grid.log_integrate(log_values), reductions.all_finite(log_values)]
        limits = [S.dt_bounds(energy, state), S.max_extrapolation_dt(energy, state)]
        corrected = log_mass_corrected(grid, log_values)
        return [*found, *marginals, state.log_prob(points), state.sample(5, 1), sums, *limits, corrected]

    for others in slabs.in_slabs(numbers, grid, rows):
        for expected, found in zip(numbers(grid), others, strict=True):
            assert np.shape(found) == np.shape(expected)
            assert found == pytest.approx(np.asarray(expected), rel=1e-11, abs=1e-13)


BOX = wfr.Grid([-6, -5], [6, 6], (60, 50))
REFUSED = {
    "narrow along the slabs": (wfr.Gaussian([0, 0], [0.02, 1]), BOX, "too wide"),
    "narrow across the slabs": (wfr.Gaussian([0, 0], [1, 0.02]), BOX, "too wide"),
    "between the cells": (wfr.Potential(lambda x, y: x**2 + y**2 + 3 * np.sin(10 * np.pi * x) ** 2), BOX, "too wide"),
    "cut off": (wfr.Gaussian([5, 0], 1.0), BOX, "cuts off"),
    "not finite": (wfr.Potential(lambda x, y: np.where((x > 3) & (y > 2), np.inf, x**2 + y**2)), BOX, "not finite"),
    "not periodic": (
        wfr.Potential(lambda x, y: 6 * x + 2 * y**2),
        wfr.Grid([0, -4], [6, 4], (60, 50), boundary=("periodic", "no-flux"), max_cut=1),
        "not periodic along x",
    ),
}


@pytest.mark.parametrize(("start", "grid", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_what_the_whole_refuses_all_slabs_refuse_in_the_same_words(start, grid, words):
    with pytest.raises(ValueError, match=words) as expected:
        grid.density(start)

    def refusal(grid):
        with pytest.raises(ValueError, match=words) as error:
            grid.density(start)
        return str(error.value)

    for found in slabs.in_slabs(refusal, grid, (20, 40)):
        assert numbers_apart(found) == numbers_apart(str(expected.value))


def numbers_apart(text):
    """The words of a text, and its numbers to what rounding leaves of them."""
    return re.sub(r"-?\d+\.\d+(e-?\d+)?", lambda found: f"{float(found[0]):.2g}", text)


def test_a_minimiser_that_is_not_finite_ends_a_step_in_all_slabs():
    class Broken(wfr.KL):
        def log_equilibrium(self, grid):
            log_pi = super().log_equilibrium(grid).copy()
            if grid.local_cells[0].start > 0:
                log_pi[3, 4] = np.nan
            return log_pi

    def refusal(grid):
        state = grid.density(BESIDE)
        with pytest.raises(wfr.NumericalError, match="not finite in some cell"):
            S.make_step(Broken(CORRELATED), state, 0.2)
        return True

    assert all(slabs.in_slabs(refusal, CASES["two"][2], (32, 32)))


@pytest.mark.timeout(30)
def test_an_error_in_one_slab_does_not_hang_the_others():
    def fails(grid):
        state = grid.density(BESIDE)
        if grid.local_cells[0].start > 0:
            raise RuntimeError("in one slab")
        return S.make_step(wfr.KL(CORRELATED), state, 0.2)(state, 0.0)

    with pytest.raises(RuntimeError, match="in one slab"):
        slabs.in_slabs(fails, CASES["two"][2], (32, 32))
    assert not any(thread.name == "slab" for thread in threading.enumerate())


@pytest.mark.timeout(60)
def test_ranges_of_one_slab_alone_are_found_by_the_wide_start(monkeypatch):
    """That the first test can fail: by as much as e^(10^8), where slabs do not part before."""
    target, start, grid, rows = CASES["wide"]

    def run(grid):
        energy, state = wfr.KL(target), grid.density(start)
        return whole(wfr.Repeated(wfr.Strang(R, S), 3).make_step(energy, state, 0.1)(state, 0.0))

    expected = run(grid)
    monkeypatch.setattr(slabs.SlabReductions, "joined", local_range)
    try:
        found = slabs.in_slabs(run, grid, rows)
    except (AssertionError, wfr.NumericalError):
        return
    assert max(np.abs(log_values - expected).max() for log_values in found) > 1e3


def local_range(reductions, ends):
    lows, highs = zip(*ends, strict=True)
    return float(np.min(lows)), float(np.max(highs))


def test_uneven_slabs_decide_by_the_size_of_the_whole():
    grid = wfr.Grid([0, 0], [1, 1], (80, 70))
    assert math.prod((20, 70)) < numpy_backend.COMPILED_FROM < grid.size
    kinds = slabs.in_slabs(lambda grid: (type(grid.cellwise), grid.size, grid.local_size), grid, (20, 60))
    assert kinds == [(type(grid.cellwise), 5600, 1400), (type(grid.cellwise), 5600, 4200)]
