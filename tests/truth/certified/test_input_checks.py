"""Input that is not what it seems: boxes that cut mass, axes that do not wrap, coordinates that eat the digits."""

import math

import numpy as np
import pytest
import xarray as xr
from scipy import special, stats

import wfr_pde as wfr
from wfr_pde import exact, metrics
from wfr_pde.truth.certified.certificate import plan
from wfr_pde.truth.certified.preparation.input_checks import (
    check_box,
    check_coordinates,
    check_periodic,
    coordinate_rounding,
    cut_mass,
    potential_rounding,
)
from wfr_pde.truth.certified.problem import Problem

EPS = np.finfo(float).eps
TURN = 2 * math.pi
WAVE, AROUND = wfr.Potential("cos(x)"), wfr.Potential("-4*cos(x - 1)")
HALF = wfr.Gaussian(0, 1)


def problem(target, start, rtol=1e-6):
    return Problem(target, start, np.array([0.0, 1.0]), 1.0, 1.0, rtol)


def correlated(x, y):
    return (x**2 - 1.2 * x * y + y**2) / (2 * 0.64)


# --- boxes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "lower", "upper", "known"),
    [
        (wfr.Gaussian(0, 1), 0, 9, 0.5),
        (wfr.Gaussian(1, 4), -20, 0, stats.norm.sf(0, 1, 2)),
        (wfr.GaussianMixture([0, 13.77], [0.57, 0.43], [0.84, 0.59]), -8, 8, 0.43),
        (wfr.Potential("x**2/2"), -1, 9, stats.norm.cdf(-1)),
        (wfr.Potential("abs(x)"), -5, 5, math.exp(-5)),
        (wfr.Potential(lambda x: x - np.log(x)), 0, 5, stats.gamma(2).sf(5)),
        (wfr.Potential(lambda x: x + np.log(x) / 2), 0, 5, stats.gamma(0.5).sf(5)),  # singular at the wall
        (wfr.Potential("2.5*log(1 + x**2/4)"), -20, 20, 2 * stats.t(4).sf(20)),
        (wfr.Potential("-log(exp(-x**2/2) + 12*exp(-(x-30)**2/2))"), -8, 8, 12 / 13),
        (wfr.Potential("x**2/2", support=(-40, 40)), -2, 2, 2 * stats.norm.sf(2)),
        (wfr.Potential(correlated), [-8, -2], [8, 8], stats.norm.cdf(-2)),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_cut_mass_is_that_of_closed_forms(target, lower, upper, known):
    low, high = np.atleast_1d(lower).astype(float), np.atleast_1d(upper).astype(float)
    # the box that is searched for leaves out some 1e-8 of the mass, and the quadrature errs by less than 1e-4 of it
    assert cut_mass(target, low, high, [True] * target.ndim) == pytest.approx(known, rel=1e-3, abs=2e-8)


def test_heavy_tails_are_told_from_densities_without_a_mass():
    box = np.array([-20.0]), np.array([20.0])
    cauchy = cut_mass(wfr.Potential("log(1 + x**2)"), *box, [True])
    assert cauchy == pytest.approx(2 * stats.cauchy.sf(20), rel=0.1)  # from shells, which is coarse
    for V in ("0*x", "x", "-x", "cos(x)", "-x**2"):
        assert cut_mass(wfr.Potential(V), *box, [True]) is None


def test_mass_beyond_one_axis_is_that_of_a_strip():
    target = wfr.Potential("cos(x) + y**2/2")  # no finite mass in the plane
    share = cut_mass(target, np.array([0.0, -1.0]), np.array([TURN, 9.0]), [False, True])
    assert share == pytest.approx(stats.norm.cdf(-1), rel=1e-3)


@pytest.mark.parametrize(
    ("target", "start", "box", "what"),
    [
        (HALF, wfr.Gaussian(2, 0.1), ([0], [9]), "target"),
        (wfr.Potential("x**2/2"), wfr.Gaussian(2, 0.1), ([0], [9]), "target"),
        (wfr.Potential("0*x"), wfr.Gaussian(0.5, 0.04), ([0], [1]), "start"),
        (wfr.Gaussian([0, 0], 1), wfr.Gaussian([2, -2], 0.1), ([0, -8], [8, 0]), "target"),
        (wfr.GeometricPath(wfr.Gaussian(3, 0.2), HALF), wfr.Gaussian(3, 0.2), ([0], [9]), "target"),
    ],
)
def test_walls_that_cut_are_refused_unless_they_are_meant(target, start, box, what):
    walls = [False] * start.ndim
    with pytest.raises(ValueError, match=rf"cuts off .* of the mass of the {what} .*give max_cut=1 if the walls"):
        check_box(problem(target, start), *box, walls)
    check_box(problem(target, start), *box, walls, max_cut=1)
    check_box(problem(target, start), *box, [True] * start.ndim)  # no walls


def test_the_box_of_the_remedy_would_do():
    with pytest.raises(ValueError, match=r"a box from \[-\d") as caught:
        check_box(problem(wfr.Gaussian(2, 0.1), wfr.Potential("x**2/2")), [0.0], [9.0], [False])
    lower = float(str(caught.value).split("a box from [")[1].split("]")[0])
    check_box(problem(wfr.Gaussian(2, 0.1), wfr.Potential("x**2/2")), [lower], [9.0], [False])
    assert -8 < lower < special.ndtri(1e-6)


@pytest.mark.parametrize(
    ("target", "start", "box"),
    [
        (wfr.Potential("0*x"), wfr.Potential(lambda x: -np.log(1 + 0.6 * np.cos(np.pi * x))), (0, 1)),
        (wfr.Potential("2*x"), wfr.Potential("x"), (0, 3)),
        (wfr.Potential("x"), wfr.Potential("2*x"), (0, 40)),
        (wfr.Potential(lambda x: x + np.log(x) / 2), wfr.Gaussian(1, 0.04), (0, 30)),  # cut: 2.9e-7
        (wfr.Potential("x**2/2", support=(0, 9)), wfr.Gaussian(3, 0.04), (0, 9)),  # the user's word
        (wfr.GridTarget(np.ones(8), 0, 4), wfr.Gaussian(2, 0.04), (0, 4)),
    ],
)
def test_walls_without_which_there_is_no_density_are_meant(target, start, box):
    check_box(problem(target, start), *box, [False])


@pytest.mark.parametrize(("cut", "refused"), [(5e-7, False), (2e-6, True)])
@pytest.mark.parametrize("V", ["x**2/2", "(x - 3*y)**2/2 + y**2/2", "x**2/2 - log(1 + 0.5*cos(y)) + y**2/2"])
def test_the_threshold_is_met(V, cut, refused):
    start = wfr.Potential(V)
    sd = math.sqrt(10) if "3*y" in V else 1.0
    lower, upper = np.full(start.ndim, -9 * sd), np.full(start.ndim, 9 * sd)
    lower[0] = special.ndtri(cut) * sd
    inside = wfr.Gaussian(np.zeros(start.ndim), 0.1)
    if refused:
        with pytest.raises(ValueError, match=r"cuts off (2|1\.9\d*|2\.0\d*)e-06 of the mass of the start"):
            check_box(problem(inside, start), lower, upper, [False] * start.ndim)
    else:
        check_box(problem(inside, start), lower, upper, [False] * start.ndim)


@pytest.mark.parametrize("max_cut", [0, -1, 1.5, float("nan")])
def test_a_cut_is_a_share(max_cut):
    with pytest.raises(ValueError, match=r"max_cut is a share of the mass"):
        check_box(problem(HALF, HALF), [-9], [9], [False], max_cut)


# --- periodic axes --------------------------------------------------------------------------------------


def test_a_start_that_wraps_nowhere_is_refused_where_it_is_cut():
    with pytest.raises(ValueError, match=r"start Gaussian.* is not periodic along axis 0.*0\.5.*shift the box"):
        check_periodic(problem(WAVE, wfr.Gaussian(0, 0.04)), 0, TURN, [True])
    check_periodic(problem(WAVE, wfr.Gaussian(0, 0.04)), -math.pi, math.pi, [True])
    check_periodic(problem(WAVE, wfr.Gaussian(math.pi, 0.04)), 0, TURN, [True])


@pytest.mark.parametrize("length", [6.0, math.pi, 4 * math.pi + 0.1, 6.2832])
def test_a_wrong_period_is_refused_with_the_right_one(length):
    for target, start, what in ((WAVE, AROUND, "start"), (WAVE, wfr.Gaussian(length / 2, 1e-3), "target")):
        with pytest.raises(ValueError, match=rf"the {what} .*period {length}: .*repeats itself after 2 pi = 6\.28318"):
            check_periodic(problem(target, start), 0, length, [True])


@pytest.mark.parametrize("lower", [0.0, -1.0, 100.0])
@pytest.mark.parametrize("turns", [1, 2, 5])
def test_multiples_of_the_period_are_right(lower, turns):
    check_periodic(problem(WAVE, AROUND), lower, lower + turns * TURN, [True])


def test_a_sharp_or_high_potential_is_periodic_too():
    sharp = wfr.Potential("-100000*cos(x)")
    check_periodic(problem(wfr.Potential("cos(x) + 1e8"), sharp, 1e-12), 0, TURN, [True])


def test_what_is_defined_in_the_box_alone_is_looked_at_there():
    x = (np.arange(32) + 0.5) / 32 * TURN
    wraps, ends = (wfr.GridTarget(np.cos(x), 0, TURN, log=True, periodic=p) for p in (True, False))
    check_periodic(problem(wraps, AROUND), 0, TURN, [True])
    with pytest.raises(ValueError, match="target GridTarget.*is not periodic"):
        check_periodic(problem(ends, AROUND), 0, TURN, [True])
    # the user vouches for the mass, but at the seam there is a jump
    with pytest.raises(ValueError, match="target Potential.*is not periodic"):
        check_periodic(problem(wfr.Potential("x/3", support=(0, TURN)), AROUND), 0, TURN, [True])


def test_a_wrong_gradient_is_no_period():
    target = wfr.Potential(np.cos, ndim=1, gradient=lambda x: (-np.sin(x) + np.where(np.abs(x - 3) < 4, 0, 1e-3),))
    with pytest.raises(ValueError, match="gradients at"):
        check_periodic(problem(target, AROUND), 0, TURN, [True])


def test_walls_that_are_meant_do_not_excuse_a_seam():
    target, start = wfr.Potential("cos(x) + y**2/2"), wfr.Gaussian([0, 0], 0.04)
    with pytest.raises(ValueError, match="not periodic along axis 0"):
        check_periodic(problem(target, start), [0, 0], [TURN, 9], [True, False], max_cut=1)


# --- digits ---------------------------------------------------------------------------------------------


def test_rounding_of_coordinates_and_potentials():
    at = problem(wfr.Gaussian(1e8, 1), wfr.Gaussian(1e8, 1))
    # the steepest place of 14 nats is sqrt(28) sd out
    assert coordinate_rounding(at, 1e8 - 9, 1e8 + 9) == pytest.approx(EPS * 1e8 * math.sqrt(28), rel=0.02)
    high = problem(wfr.Potential("x**2/2 + 1e8"), HALF)
    assert potential_rounding(high, -9, 9) == pytest.approx(EPS * 1e8, rel=1e-6)
    low = problem(wfr.Potential("x**2/2"), HALF)
    assert potential_rounding(low, -9, 9) < 1e-13
    assert coordinate_rounding(low, -9, 9) < 1e-13


def test_large_terms_that_cancel_are_seen():
    expanded = wfr.Potential(lambda x: x**2 / 2 - 1e5 * x + 5e9)
    found = potential_rounding(problem(expanded, wfr.Gaussian(1e5, 1)), 1e5 - 9, 1e5 + 9)
    x = 1e5 + np.linspace(-4, 4, 10001)
    true = np.abs(expanded.log_density(x[:, None]) + (x - 1e5) ** 2 / 2).max()
    assert true > 1e-7  # the size of V, below 14, would say 3e-15
    assert true / 2 < found < 10 * true


def test_too_few_digits_are_refused():
    narrow = wfr.Gaussian(1e8, 1e-12)
    with pytest.raises(ValueError, match=r"coordinates eat the digits of the start.*shift the origin"):
        check_coordinates(problem(narrow, narrow), 1e8 - 1e-5, 1e8 + 1e-5)
    with pytest.raises(ValueError, match=r"V of the target .*subtract a constant"):
        check_coordinates(problem(wfr.Potential("x**2/2 + 1e16"), HALF), -9, 9)
    check_coordinates(problem(wfr.Gaussian(1e8, 1e-6), wfr.Gaussian(1e8, 1e-6)), 1e8 - 0.01, 1e8 + 0.01)
    with pytest.raises(ValueError, match="no finite log-density in the box"):
        check_coordinates(problem(wfr.Potential("sqrt(x)"), HALF), -9, -1)


@pytest.mark.parametrize(
    ("target", "shift"),
    [
        (wfr.Potential("x**2/2 + 1e10"), 0.0),
        (wfr.Potential(lambda x: x**2 / 2 - 5e4 * x + 1.25e9), 5e4),
    ],
)
def test_the_estimates_bound_what_rounding_does(target, shift):
    known, start = wfr.Gaussian(shift, 1), wfr.Gaussian(shift - 1, 0.2)
    box = [shift - 9], [shift + 9]
    ds = wfr.ground_truth(target, start, [0, 0.2], reaction_rate=0, rtol=1e-4, box=box, strict=False, seconds=20)
    grid = wfr.Grid.from_dataset(ds)
    off = metrics.l1(grid.density(exact.gaussian_flow(known, start, 0.2, 1, 0)), wfr.Density.from_dataset(ds, 1))
    parts = problem(target, start)
    rounding = coordinate_rounding(parts, *box) + potential_rounding(parts, *box)
    scheme = float(ds["error_l1_time"][1] + ds["error_l1_domain"][1])  # what rounding does counts as other parts, too
    assert rounding > 1e-7
    assert off <= rounding + scheme
    assert rounding <= ds["error_l1_rounding"][1] <= 2 * rounding
    assert off <= ds["error_l1"][1]


# --- the whole ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", [wfr.ground_truth, plan])
def test_ground_truth_checks_its_input(function):
    with pytest.raises(ValueError, match=r"cuts off 0\.5 of the mass of the target"):
        function(HALF, wfr.Gaussian(3, 0.1), [0, 0.1], box=([0], [9]))
    with pytest.raises(ValueError, match="not periodic"):
        function(WAVE, wfr.Gaussian(0, 0.04), [0, 0.1], box=([0], [TURN]), boundary="periodic")
    with pytest.raises(ValueError, match="eat the digits"):
        function(wfr.Gaussian(1e8, 1e-12), wfr.Gaussian(1e8, 1e-12), [0, 0.1])


def test_walls_that_are_meant_are_solved_with():
    start = wfr.Gaussian(3, 0.04)
    ds = wfr.ground_truth(HALF, start, [0, 0.1], box=([0], [9]), max_cut=1, rtol=1e-3, reaction_rate=0)
    assert float(ds["error_l1"].max()) <= 1e-3


# --- arrays ---------------------------------------------------------------------------------------------


def shapes(x):
    return [np.cos(x), np.sin(x), np.cos(x) + 0.3 * np.sin(2 * x), 20 * np.cos(x - 1)]


@pytest.mark.parametrize("n", [16, 33, 129])
def test_arrays_that_repeat_their_end_are_refused(n):
    closed = np.linspace(0, TURN, n)
    for values in shapes(closed):
        with pytest.raises(ValueError, match=r"repeat themselves along the periodic axis 0.*np\.delete"):
            wfr.GridTarget(values, 0, TURN, log=True, periodic=True)
        wfr.GridTarget(values, 0, TURN, log=True)  # with walls they may be equal
    for values in shapes((np.arange(n) + 0.5) / n * TURN):  # of which cos has equal ends by right
        wfr.GridTarget(values, 0, TURN, log=True, periodic=True)


def test_labelled_and_plane_arrays_too():
    x, y = np.linspace(0, TURN, 33), np.linspace(0, 3, 20)
    values = np.exp(np.cos(x[:, None] - 1) * np.cos(y))
    array = xr.DataArray(values, {"y": x, "x": y}, ("y", "x"))
    with pytest.raises(ValueError, match="periodic axis 0"):
        wfr.GridTarget(array, periodic=[True, False])
    with pytest.raises(ValueError, match="periodic axis 1"):
        wfr.GridTarget(array.transpose(), periodic=[False, True])
    target = wfr.GridTarget(array.isel(y=slice(None, -1)), periodic=[True, False])
    assert target.upper[0] - target.lower[0] == pytest.approx(TURN)
    assert wfr.GridTarget(np.ones(20), 0, 1, periodic=True).periodic == (True,)
