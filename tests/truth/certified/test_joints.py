"""Axes in segments: joints at kinks and jumps, the flux across them, and everything that must not cross them."""

import dataclasses
import math

import numpy as np
import pytest

import wfr_pde as wfr
from wfr_pde import metrics
from wfr_pde.flows.transport.finite_volume.jump_rates import FLUXES, jump_rates, log_jump_rates
from wfr_pde.numerics.richardson import richardson
from wfr_pde.space.axis import Axis
from wfr_pde.space.quadrature import log_mass_corrected
from wfr_pde.space.transfer import Interpolation, local_weights
from wfr_pde.storage.files import read_dataset
from wfr_pde.truth.certified.grids.first_family import cells_for
from wfr_pde.truth.certified.grids.grid_family import FEWEST_IN_SEGMENT, WIDER
from wfr_pde.truth.certified.grids.one_sided_scores import FromOneSide
from wfr_pde.truth.certified.problem import Problem

RATIOS = (0.75, 1.0, 1.25, 1.5, 2.0)
JUMP = wfr.Potential(lambda x: x**2 / 2 + 2.0 * (x > 0.37), ndim=1)
KINK = wfr.Potential(lambda x: 2 * abs(x), ndim=1)


def in_segments(*parts, periodic=False):
    """An axis of equal cells between given places: ends (a, b, ...) and numbers of cells."""
    ends, counts = parts
    segments = [Axis.uniform("x", a, b, n) for a, b, n in zip(ends[:-1], ends[1:], counts, strict=True)]
    return Axis.joined(segments, periodic)


def grid_of(axis):
    return wfr.Grid(
        axis.edges[0],
        axis.edges[-1],
        axis.n,
        grading=[axis],
        max_cut=1,
        boundary="periodic" if axis.periodic else "no-flux",
    )


def problem(target, start, beta=0.0):
    return Problem(target, start, np.array([0.0, 0.3]), 1.0, beta, 1e-6)


# The axis


def test_an_axis_in_segments():
    axis = in_segments((-1, 0.37, 2), (8, 12))
    assert (axis.n, axis.joints, axis.edges[8]) == (20, (8,), 0.37)
    assert axis.segments == (slice(0, 8), slice(8, 20))
    assert np.isclose(axis.widths.sum(), 3, rtol=1e-14)
    assert axis.segment(axis.segments[1]).matches(Axis.uniform("x", 0.37, 2, 12))
    assert not axis.matches(dataclasses.replace(axis, joints=()))
    assert axis.renamed("y", False).joints == (8,)


def test_equal_cells_with_a_joint_are_not_uniform():
    axis = in_segments((-1, 0, 1), (8, 8))
    assert not axis.is_uniform
    assert grid_of(axis).axes[0].joints == (8,)


def test_joining_cells_keeps_joints():
    assert in_segments((-1, 0.37, 2), (8, 12)).coarsened().matches(in_segments((-1, 0.37, 2), (4, 6)))
    with pytest.raises(ValueError, match="joint at edge 9"):
        in_segments((0, 1, 2), (9, 9)).coarsened()


def test_wrong_joints_and_segments_are_refused():
    axis = Axis.uniform("x", 0, 1, 8)
    for joints in ((0,), (8,), (5, 3), (4, 4)):
        with pytest.raises(ValueError, match="from 1 to 7"):
            dataclasses.replace(axis, joints=joints)
    with pytest.raises(ValueError, match="begins at"):
        Axis.joined([axis, Axis.uniform("x", 1.5, 2, 8)])


def test_joints_are_stored_and_read_again(tmp_path):
    grid = grid_of(in_segments((-6, 0.37, 6), (24, 20)))
    ds = wfr.solve(wfr.KL(JUMP), wfr.FiniteVolume(), grid.density(wfr.Gaussian(0, 1)), [0, 0.1], dt=0.1)
    ds.to_netcdf(tmp_path / "run.nc", engine="h5netcdf")
    read = wfr.Grid.from_dataset(read_dataset(tmp_path / "run.nc"))
    assert read.axes[0].joints == (24,)
    assert read.matches(grid)


# The flux


@pytest.mark.parametrize("flux", FLUXES)
@pytest.mark.parametrize("periodic", [False, True])
def test_rates_across_joints_are_in_detailed_balance(flux, periodic):
    axis = in_segments((-1, 0, 0.4, 1), (8, 5, 12), periodic=periodic)
    log_pi = 3 * np.random.default_rng(1).standard_normal(axis.n)
    down, up = jump_rates(grid_of(axis), log_pi, 0, flux)
    pi = axis.widths * np.exp(log_pi)
    # detailed balance holds to the rounding of the logarithms of rates
    assert np.allclose((pi * up)[:-1], (pi * down)[1:], rtol=1e-13)
    assert np.isclose((pi * up)[-1], (pi * down)[0], rtol=1e-13)
    assert (up[-1] > 0) == periodic
    with np.errstate(divide="ignore"):
        logs = np.log(down), np.log(up)
    assert np.allclose(log_jump_rates(grid_of(axis), log_pi, 0, flux), logs, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("flux", FLUXES)
def test_a_joint_where_nothing_happens_changes_the_rates_by_the_error_of_the_continuation(flux):
    values = []
    for n in (32, 64):
        plain, axis = Axis.uniform("x", 0, 2, 2 * n), in_segments((0, 1, 2), (n, n))
        log_pi = np.sin(2 * axis.centres)
        a, b = (jump_rates(grid_of(cells), log_pi, 0, flux)[1][:-1] for cells in (plain, axis))
        values.append(np.abs(b / a - 1).max())
    assert values[0] < 1e-8
    assert values[0] / values[1] > 2**7.5  # of order 8, and 9 for the sum of both sides


@pytest.mark.parametrize("axis", [0, 1])
def test_joints_along_one_of_two_axes(axis):
    line = in_segments((-1, 0.2, 1), (8, 8))
    axes = [line, Axis.uniform("y", 0, 1, 6)][:: 1 if axis == 0 else -1]
    grid = wfr.Grid(
        [a.edges[0] for a in axes], [a.edges[-1] for a in axes], [a.n for a in axes], grading=axes, max_cut=1
    )
    log_pi = np.random.default_rng(2).standard_normal(grid.shape)
    down, up = jump_rates(grid, log_pi, axis, "scharfetter-gummel")
    for k in range(6):
        index = (slice(None), k) if axis == 0 else (k, slice(None))
        expected = jump_rates(grid_of(line), log_pi[index], 0, "scharfetter-gummel")
        assert np.array_equal(down[index], expected[0])
        assert np.array_equal(up[index], expected[1])


def kinked_well(x, wall=3.0):
    """Odd eigenfunction of V = 2|x| between walls; its eigenvalue."""
    from scipy.optimize import brentq

    w = brentq(lambda w: np.sin(w * wall) + w * np.cos(w * wall), math.pi / 2 / wall + 1e-9, math.pi / wall - 1e-9)
    return 0.5 * np.exp(abs(x) - wall) * np.sin(w * x), w * w + 1


def kinked_errors(flux, n, joint=True):
    """Errors of log(mu/pi) in the kinked well, on the five grids, moved to the finest."""
    target, grids, errors = wfr.KL(KINK, checked=False), [], []
    for ratio in RATIOS:
        cells = round(n * ratio)
        axis = in_segments((-3, 0, 3), (cells, cells)) if joint else Axis.uniform("x", -3, 3, 2 * cells)
        grid = grid_of(axis)
        log_pi = target.log_equilibrium(grid)
        f, rate = kinked_well(axis.centres)
        start = wfr.Density(grid, log_pi + np.log1p(f))
        step = wfr.FiniteVolume(flux=flux, tolerance=1e-13).make_step(target, start, 0.3)
        errors.append(step(start, 0.0).log_values - log_pi - np.log1p(f * math.exp(-0.3 * rate)))
        grids.append(grid)
    return [*(Interpolation(g, grids[-1], 14)(e) for g, e in zip(grids[:-1], errors[:-1], strict=True)), errors[-1]]


@pytest.mark.parametrize("flux", FLUXES)
@pytest.mark.parametrize(("count", "order"), [(1, 2), (2, 4), (3, 6)])
def test_the_error_at_a_kink_has_even_powers(flux, count, order):
    found = []
    for n in (12, 24):  # twice as many, and the third power is below the tolerance of the sweeps
        weights = richardson(RATIOS[-count:])
        errors = kinked_errors(flux, n)[-count:]
        found.append(np.abs(sum(w * e for w, e in zip(weights, errors, strict=True))).max())
    assert np.log2(found[0] / found[1]) > order - 0.25


def test_a_power_that_is_not_there_does_not_help():
    """With 2, 3 instead of 2, 4 three grids are no better than order 4."""
    found = []
    for n in (16, 32):
        errors = kinked_errors("scharfetter-gummel", n)[-3:]
        found.append(np.abs(sum(w * e for w, e in zip(richardson(RATIOS[-3:], (2, 3)), errors, strict=True))).max())
    assert np.log2(found[0] / found[1]) < 4.3


# Interpolation and splines


def test_interpolation_does_not_cross_joints():
    coarse, fine = (grid_of(in_segments((-1, 0.37, 1), (n, n))) for n in (20, 40))

    def f(x):
        return np.where(x > 0.37, 5 + np.exp(x), np.sin(3 * x))

    moved = Interpolation(coarse, fine, 10)(f(coarse.axes[0].centres))
    assert np.abs(moved - f(fine.axes[0].centres)).max() < 1e-8  # dx^10, no trace of the jump of 6


def test_a_segment_with_few_cells_has_all_of_them_in_the_stencil():
    axis = in_segments((0, 1, 2), (4, 20))
    index, weights = local_weights(axis, np.array([0.3, 1.05]), 10)
    assert set(index[0][weights[0] != 0]) == set(range(4))
    assert set(index[1]) == set(range(4, 14))
    assert np.allclose(weights.sum(axis=1), 1, rtol=1e-13)


def test_grids_with_other_joints_are_refused():
    with pytest.raises(ValueError, match="joints at"):
        Interpolation(grid_of(in_segments((0, 0.5, 1), (8, 8))), grid_of(in_segments((0, 0.6, 1), (8, 8))), 4)


def test_log_prob_keeps_kinks_and_jumps():
    grid = grid_of(in_segments((-6, 0.37, 6), (40, 36)))
    density = grid.density(JUMP)
    x = np.linspace(-5, 5, 1001)
    expected = JUMP.log_density(x[:, None])
    assert np.ptp(density.log_prob(x[:, None]) - expected) < 1e-11  # a quadratic on each side
    assert np.abs(density.score(x[:, None])[:, 0] + x).max() < 1e-9
    other = density.on(grid_of(in_segments((-6, 0.37, 6), (60, 60))))
    assert np.ptp(other.log_values - JUMP.log_density(other.grid.points())) < 1e-11


def test_splines_in_segments_along_one_of_two_axes():
    axis = in_segments((-2, 0.37, 2), (24, 20))
    grid = wfr.Grid([-2, -1], [2, 1], [44, 16], grading=[axis, None], max_cut=1)
    target = wfr.Potential(lambda x, y: abs(x - 0.37) * (2 + y), ndim=2)
    points = np.random.default_rng(0).uniform([-2, -1], [2, 1], (500, 2))
    assert np.ptp(grid.density(target).log_prob(points) - target.log_density(points)) < 1e-11


def test_draws_beside_a_jump():
    """The share of draws above the jump is the mass there."""
    grid = grid_of(in_segments((-6, 0.37, 6), (40, 36)))
    density = grid.density(wfr.Potential(lambda x: x**2 / 2 + 8 * abs(x - 0.37) + 1.0 * (x > 0.37), ndim=1))
    above = np.sum(density.values[40:] * grid.axes[0].widths[40:])
    draws = density.sample(20000, rng=1)[:, 0]
    assert abs(np.mean(draws > 0.37) - above) < 4 * math.sqrt(above * (1 - above) / 20000)


# Families


def test_families_have_the_breaks_as_edges_of_all_grids():
    cells = cells_for(
        problem(JUMP, wfr.Gaussian(-0.5, 0.3)), (np.array([-6.0]), np.array([6.0])), {}, breaks=([0.37, -6, 7, 0.37],)
    )
    assert [places.tolist() for places in cells.breaks] == [[0.37]]
    for family in (cells, cells.finer(1.7)):
        share = None
        for ratio in RATIOS:
            axis = family.grid(ratio).axes[0]
            (joint,) = axis.joints
            assert axis.edges[joint] == 0.37
            assert axis.n == family.counts[0] * ratio
            assert share in (None, joint / axis.n)
            share = joint / axis.n
            assert 1 / 1.5 < axis.widths[joint] / axis.widths[joint - 1] < 1.5
    wide, (window,) = cells.wider()
    assert wide.axes[0].edges[wide.axes[0].joints[0]] == 0.37
    assert np.array_equal(wide.axes[0].centres[window], cells.grid(1).axes[0].centres)


def test_a_short_segment_has_cells_enough_and_neighbours_like_it():
    cells = cells_for(
        problem(JUMP, wfr.Gaussian(-0.5, 0.3)), (np.array([-6.0]), np.array([6.0])), {}, breaks=([0.37, 0.371],)
    )
    axis = cells.grid(1).axes[0]
    assert axis.joints[1] - axis.joints[0] >= FEWEST_IN_SEGMENT
    for joint in axis.joints:
        assert 1 / 1.5 < axis.widths[joint] / axis.widths[joint - 1] < 1.5


def test_cells_grow_from_breaks_that_transport_rounds_off():
    box = np.array([-6.0]), np.array([6.0])
    resting = Problem(JUMP, wfr.Gaussian(-0.5, 0.3), np.array([0.0, 1.0]), 0.0, 1.0, 1e-3)
    flat, layered = (
        cells_for(one, box, {}, breaks=([0.37],)).grid(1).axes[0]
        for one in (resting, dataclasses.replace(resting, alpha=1.0))
    )
    assert flat.widths.min() > 0.02
    for side in (-1, 0):
        assert layered.widths[layered.joints[0] + side] < 0.02 * flat.widths[flat.joints[0] + side]
    assert np.max(np.abs(np.diff(np.log(layered.widths)))) < 0.35
    assert layered.n < flat.n + 150


def test_no_layer_where_the_start_fits_the_break():
    """mu = pi (1 + c) has no flux at all, and pi times a smooth function the same from both sides."""
    box = np.array([-6.0]), np.array([6.0])
    fits = wfr.Potential("x**2/2 + 2*Heaviside(x - 0.37) - log(1 + 0.3*tanh(x - 0.37)**2)")
    axes = [
        cells_for(problem(JUMP, start), box, {}, breaks=([0.37],)).grid(1).axes[0]
        for start in (fits, wfr.Gaussian(-0.5, 0.3))
    ]
    near = [axis.widths[axis.joints[0]] / np.median(axis.widths) for axis in axes]
    assert near[0] > 0.3
    assert near[1] < 1e-2


def test_the_wider_box_is_wider_by_its_share_where_the_last_cells_are_narrow():
    target = wfr.Potential("40*(x**2 - 1)**2")
    cells = cells_for(problem(target, wfr.Gaussian(1.2, 0.7)), (np.array([-4.0]), np.array([6.0])), {})
    narrow, (wide, (window,)) = cells.grid(1).axes[0], cells.wider()
    axis = wide.axes[0]
    for side, end in ((0, -4.0), (-1, 6.0)):
        assert abs(axis.edges[side] - end) > 0.99 * WIDER * 10
        assert narrow.widths[side] * WIDER * narrow.n < 0.9 * WIDER * 10  # what it is there for
    assert np.array_equal(axis.widths[window], narrow.widths)
    assert np.max(np.abs(np.diff(np.log(axis.widths)))) < 0.3


def test_the_wider_box_is_no_wider_where_the_last_cells_are_wide():
    """In steep tails V at the ends of the domain run would be 6e8 in place of 5e3, and its first steps take minutes."""
    target = wfr.CoshDoubleWell(0.317)
    start = wfr.Gaussian(target.wells[0], 0.297)
    cells = cells_for(problem(target, start), (np.array([-4.9]), np.array([3.1])), {})
    narrow, (wide, (window,)) = cells.grid(1).axes[0], cells.wider()
    axis = wide.axes[0]
    assert narrow.widths[-1] * WIDER * narrow.n > 2 * WIDER * 8  # what it is there for
    for side, end in ((0, -4.9), (-1, 3.1)):
        assert 0.99 * WIDER * 8 < abs(axis.edges[side] - end) < WIDER * 8 + 2 * narrow.widths[side]
    assert np.array_equal(axis.widths[window], narrow.widths)


def test_scores_by_differences_do_not_reach_across_a_jump():
    target = wfr.Potential(lambda x: np.abs(x) + 5.0 * (x > 0.37), ndim=1)
    one = FromOneSide(target, ([0.0, 0.37],), np.array([-2.0]), np.array([2.0]))
    x = np.array([-1.5, -1e-9, 1e-9, 0.2, 0.37 - 1e-9, 0.37 + 1e-9, 1.999999999])
    assert np.allclose(one.score(x[:, None])[:, 0], -np.sign(x), atol=1e-6)
    assert np.abs(target.score(x[:, None])[:, 0]).max() > 40  # what it is there for
    assert np.array_equal(one.log_density(x[:, None]), target.log_density(x[:, None]))


def test_a_family_of_segments_around_a_circle():
    target = wfr.Potential(lambda x: abs(x - 3), ndim=1)
    cells = cells_for(
        problem(target, wfr.Gaussian(3, 0.1)),
        (np.array([0.0]), np.array([6.0])),
        {"boundary": "periodic", "max_cut": 1.0},
        breaks=([3.0],),
    )
    grid = cells.grid(1.5)
    assert grid.axes[0].periodic
    log_pi = wfr.KL(target, checked=False).log_equilibrium(grid)
    f = np.random.default_rng(0).uniform(1, 2, grid.shape)
    start = wfr.Density(grid, log_pi + np.log(f)).normalised()
    end = wfr.FiniteVolume().make_step(wfr.KL(target, checked=False), start, 100.0)(start, 0.0)
    assert metrics.l1(end, wfr.Density(grid, log_pi)) < 1e-9


def test_without_breaks_nothing_changes():
    box = np.array([-6.0]), np.array([6.0])
    cells = cells_for(problem(wfr.Gaussian(0, 1), wfr.Gaussian(-0.5, 0.3)), box, {})
    assert cells.segments == ((),)
    assert cells.grid(1).axes[0].joints == ()
    assert cells.powers == (2, 4, 6, 8)


def test_the_mass_of_a_density_with_a_jump():
    from scipy.special import ndtr

    mass = math.sqrt(2 * math.pi) * (ndtr(0.37) + math.exp(-2) * ndtr(-0.37))
    corrected, sums = [], []
    for n in (48, 96):
        grids = [grid_of(in_segments((-8, 0.37, 8), (round(n * r), round(n * r)))) for r in RATIOS]
        logs = [JUMP.log_density(grid.points()) for grid in grids]
        plain = [float(grid.log_integrate(values)) - math.log(mass) for grid, values in zip(grids, logs, strict=True)]
        assert abs(plain[-1]) > 1e-5  # order 2
        corrected.append(abs(log_mass_corrected(grids[-1], logs[-1]) - math.log(mass)))
        sums.append(abs(richardson(RATIOS) @ plain))
    assert np.log2(corrected[0] / corrected[1]) > 7
    assert sums[0] < 1e-10  # the sums extrapolated, of order 10
