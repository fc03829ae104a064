"""Densities put into the equation: derivatives between the cells, fluxes at walls and joints."""

import numpy as np
import pytest

import wfr_pde as wfr
from wfr_pde import exact
from wfr_pde.space.axis import Axis
from wfr_pde.truth.certified.evidence.residual import DENSE, INSIDE, STENCIL, Places, Substitution, along, matrix
from wfr_pde.truth.certified.problem import Problem

GRADED = Axis.graded("x", -2.0, 3.0, 40, lambda x: 1 + 5 / (1 + x**2))
JOINED = Axis.joined([Axis.uniform("x", -2, 0.37, 24), Axis.uniform("x", 0.37, 3, 20)], False)
LONG = Axis.uniform("x", -2, 3, 356)


def grid_of(*axes, **options):
    return wfr.Grid(
        [axis.edges[0] for axis in axes],
        [axis.edges[-1] for axis in axes],
        [axis.n for axis in axes],
        grading=list(axes),
        max_cut=1,
        **options,
    )


def problem(target, rates=(1.0, 0.0), start=None):
    return Problem(target, target if start is None else start, np.array([0.0, 1.0]), *rates, 1e-6)


# Places


@pytest.mark.parametrize(
    "axis", [Axis.uniform("x", -2, 3, 32), GRADED, JOINED, LONG], ids=["uniform", "graded", "joined", "long"]
)
def test_derivatives_of_polynomials_are_exact(axis):
    places = Places(axis)
    edges = np.concatenate([axis.edges[cells.start : cells.stop + 1] for cells in axis.segments])
    function = np.polynomial.Polynomial([0.3, -1.0, 0.4, 0.2, -0.3, 0.1, 0.2, -0.1, 0.05, 0.3], domain=[-2, 3])
    assert function.degree() == STENCIL - 1
    for weights, order in ((places.value, 0), (places.first, 1), (places.second, 2)):
        known = function.deriv(order)(edges) if order else function(edges)
        # rounding of derivatives: 1e-16 of the values over the width of a cell to the power of the order
        rounding = 1e-14 / axis.widths.min() ** order
        np.testing.assert_allclose(weights @ function(axis.centres), known, rtol=0, atol=100 * rounding)
    # one degree more is not
    more = lambda x: ((x - 0.5) / 2.5) ** STENCIL
    assert (
        np.abs(
            places.second @ more(axis.centres)
            - STENCIL * (STENCIL - 1) / 2.5**2 * ((edges - 0.5) / 2.5) ** (STENCIL - 2)
        ).max()
        > 1e-12
    )


def test_places_are_edges_with_both_sides_of_joints():
    places = Places(JOINED)
    assert len(places.x) == JOINED.n + 2
    ends = np.flatnonzero(places.leaving)
    np.testing.assert_array_equal(ends, [0, 24, 25, 45])
    w, v = JOINED.widths[0], JOINED.widths[-1]
    np.testing.assert_allclose(places.leaving[ends], [-1 / w, 1 / w, -1 / v, 1 / v], rtol=1e-14)
    np.testing.assert_allclose(
        places.x[ends], [-2 + INSIDE * w, 0.37 - INSIDE * w, 0.37 + INSIDE * v, 3 - INSIDE * v], rtol=1e-12
    )
    np.testing.assert_allclose(places.x[places.below], JOINED.edges[:-1], rtol=0, atol=2 * INSIDE * w)
    np.testing.assert_allclose(places.x[places.below + 1], JOINED.edges[1:], rtol=0, atol=2 * INSIDE * w)


def test_segments_do_not_see_each_other():
    jump = np.where(JOINED.centres < 0.37, 1.0, 5.0)
    places = Places(JOINED)
    np.testing.assert_allclose(places.value @ jump, np.where(places.x < 0.37, 1.0, 5.0), rtol=1e-11)
    assert np.abs(places.first @ jump).max() < 1e-9


def test_circles_wrap():
    errors = []
    for n in (24, 48):
        axis = Axis.uniform("x", 0, 2 * np.pi, n, periodic=True)
        places = Places(axis)
        assert not places.leaving.any()
        np.testing.assert_allclose(places.x, axis.edges)
        value, first = places.value @ np.sin(axis.centres), places.first @ np.sin(axis.centres)
        np.testing.assert_allclose([value[0], first[0]], [value[-1], first[-1]], atol=1e-12)  # one place
        errors.append(np.abs(first - np.cos(places.x)).max())
    assert np.log2(errors[0] / errors[1]) > STENCIL - 1.5  # of a stencil in the middle, even: order 10


def test_sparse_and_dense_matrices_are_the_same():
    rng = np.random.default_rng(3)
    index, weights = rng.integers(0, DENSE, (7, 4)), rng.normal(size=(7, 4))
    dense, sparse = matrix(index, weights, DENSE), matrix(index, weights, DENSE + 1)
    assert isinstance(dense, np.ndarray)
    np.testing.assert_allclose(sparse.toarray()[:, :DENSE], dense)
    values = rng.normal(size=(3, DENSE, 2))
    np.testing.assert_allclose(along(dense, values, 1), np.einsum("ij,ajb->aib", dense, values))
    long = rng.normal(size=(3, DENSE + 1))
    np.testing.assert_allclose(along(sparse, long, 1), long @ sparse.toarray().T)
    planes = rng.normal(size=(2, DENSE + 1, 3))
    np.testing.assert_allclose(along(sparse, planes, -2), np.einsum("ij,ajb->aib", sparse.toarray(), planes))


# Substitution


@pytest.mark.parametrize("rates", [(1.0, 0.0), (0.7, 2.0)])
@pytest.mark.parametrize(
    "axis",
    [Axis.uniform("x", -7, 7, 64), Axis.graded("x", -7, 7, 64, lambda x: 1 + 3 / (1 + x**2))],
    ids=["uniform", "graded"],
)
def test_the_true_flow_leaves_nothing(axis, rates):
    target, start, t = wfr.Gaussian(0.3, 1.2), wfr.Gaussian(-1.0, 0.4), 0.2
    grid, h = grid_of(axis), 1e-4
    states = exact.gaussian_flow(target, start, np.array([t - h, t, t + h]), *rates)
    look = Substitution(problem(target, rates), grid).look(grid.log_density(states[1], checked=False), t)
    x = Places(axis).x[:, None]
    before, now, after = (state.log_density(x) - state.log_normaliser for state in states)
    rate = (after - before) / (2 * h)
    reaction = now - target.log_density(x) + target.log_normaliser - exact.gaussian_kl(states[1], target)
    inside = slice(1, -1)  # the walls have a flux of a density that ends there
    found = rates[0] * look.transport - rates[1] * reaction
    np.testing.assert_allclose(found[inside], rate[inside], rtol=1e-5, atol=1e-6)  # h^2 of the difference in time
    np.testing.assert_allclose(look.log_density, now, atol=1e-10)
    np.testing.assert_allclose(look.potential, -target.log_density(x), rtol=1e-14)
    np.testing.assert_allclose(look.log_ratio, look.log_density + look.potential, rtol=1e-12)


def test_a_plane_with_correlations():
    target = wfr.Gaussian([0, 0], [[1.0, 0.5], [0.5, 0.8]])
    state = wfr.Gaussian([-1, 1], [[0.4, -0.15], [-0.15, 0.3]])
    grid = wfr.Grid([-5, -4], [4, 5], [40, 44])
    look = Substitution(problem(target), grid).look(grid.log_density(state, checked=False), 0.0)
    x = np.stack(np.meshgrid(*(Places(axis).x for axis in grid.axes), indexing="ij"), axis=-1)
    slope, pull = state.score(x), state.score(x) - target.score(x)
    curvature = np.trace(np.linalg.inv(target.covariance) - np.linalg.inv(state.covariance))
    known = curvature + np.sum(pull * slope, axis=-1)
    inside = slice(1, -1), slice(1, -1)
    np.testing.assert_allclose(look.transport[inside], known[inside], rtol=1e-8, atol=1e-8)


def test_walls_let_nothing_pass():
    """What flows out of a wall by the polynomials is put back into half a cell there."""
    axis = Axis.uniform("x", 0, 1, 20)
    target = wfr.Potential(lambda x: 0.0 * x, ndim=1)
    look = Substitution(problem(target), grid_of(axis)).look(axis.centres.copy(), 0.0)  # mu = e^x: a flux mu everywhere
    smooth = 1.0  # g'' + g'^2
    assert look.transport[0] == pytest.approx(smooth + 2 / axis.widths[0], rel=1e-9)
    assert look.transport[-1] == pytest.approx(smooth - 2 / axis.widths[0], rel=1e-9)
    np.testing.assert_allclose(look.transport[1:-1], smooth, rtol=1e-9)
    still = Substitution(problem(target), grid_of(axis)).look(np.cos(np.pi * axis.centres), 0.0)
    x = Places(axis).x  # a wave that respects the walls
    known = -(np.pi**2) * np.cos(np.pi * x) + np.pi**2 * np.sin(np.pi * x) ** 2
    # the ends are INSIDE of a cell off the wall: a slope of pi^2 of that, over half a cell; and stencils at the side
    np.testing.assert_allclose(still.transport, known, rtol=0, atol=1e-4)


JUMP = 1.5  # nats


def stepped(left, right):
    """The transport beside a jump of V at 0.37, of g with the slopes `left` and `right` there; and log mu, V there."""
    target = wfr.Potential(f"{JUMP / 2}*sign(x - 0.37)", ndim=1)
    x = JOINED.centres
    g = np.where(x < 0.37, left, right) * (x - 0.37)
    substitution = Substitution(problem(target), grid_of(JOINED))
    look = substitution.look(g - JUMP / 2 * np.sign(x - 0.37), 0.0)
    return look, Places(JOINED).leaving


def test_a_flux_that_is_the_same_from_both_sides_of_a_jump_is_none_of_the_ends():
    look, leaving = stepped(0.4, 0.4 * np.exp(JUMP))
    ends = np.flatnonzero(leaving)[1:3]
    np.testing.assert_allclose(look.transport[ends], [0.4**2, (0.4 * np.exp(JUMP)) ** 2], rtol=1e-4)


def test_slopes_of_functions_are_those_of_their_side():
    """A score by differences sees the mean of both sides of a kink, and 1/step of a jump."""
    grid = grid_of(Axis.joined([Axis.uniform("x", -2, 0, 24), Axis.uniform("x", 0, 3, 20)], False))
    for jump in (0.0, 2.0):
        target = wfr.Potential(lambda x: np.abs(x) + np.cos(np.abs(x)) + jump * (x > 0), ndim=1)  # noqa: B023
        substitution = Substitution(problem(target), grid)
        slope = substitution._potentials(0.0)[1][:, 0]
        x = substitution.axes[0].x
        assert np.abs(slope - np.sign(x) * (1 - np.sin(np.abs(x)))).max() < 1e-9


def test_a_flux_that_is_not_keeps_the_mass():
    left, right = 0.4, 0.9
    look, leaving = stepped(left, right)
    ends = np.flatnonzero(leaving)[1:3]
    mu = np.exp(look.log_density[ends])
    assert mu[0] / mu[1] == pytest.approx(np.exp(JUMP), rel=1e-5)
    excess = look.transport[ends] - [left**2, right**2]  # of the half cells at the joint
    gained = mu * excess / (2 * np.abs(leaving[ends]))
    fluxes = mu * [left, right]
    np.testing.assert_allclose(gained, 0.5 * (fluxes[1] - fluxes[0]), rtol=1e-4)  # each half: what goes in, and out


def test_targets_that_move_are_put_in_as_they_are():
    path = wfr.GeometricPath(wfr.Gaussian(-1, 0.5), wfr.Gaussian(1, 1))
    grid = wfr.Grid(-7, 7, 64)
    substitution = Substitution(problem(path, start=wfr.Gaussian(-1, 0.5)), grid)
    for t in (0.0, 0.4, 1.3):
        state = path.at(t)
        look = substitution.look(grid.log_density(state, checked=False), t)
        assert np.abs(look.transport[1:-1]).max() < 1e-7  # in equilibrium with the target of that time
        assert np.ptp(look.log_ratio) < 1e-9


def test_joined_pairs_of_cells():
    axis = Axis.uniform("x", 0, 1, 8)
    substitution = Substitution(problem(wfr.Potential(lambda x: 0 * x, ndim=1)), grid_of(axis))
    x = Places(axis).x
    flat = np.zeros_like(x)
    values, heights = substitution.joined(3 * x, flat)
    np.testing.assert_allclose(values, 3 * axis.edges[1::2], atol=1e-6)  # the middle of two cells
    np.testing.assert_allclose(heights, 0, atol=1e-12)
    values, heights = substitution.joined(np.ones_like(x), 5 * x - 2000)  # no underflow
    np.testing.assert_allclose(values, 1, rtol=1e-12)
    assert np.all(np.diff(heights) > 0)
    values, _ = substitution.joined(x, np.where(x < 0.2, 0.0, -800.0))  # all the mass at the first two places
    assert values[0] == pytest.approx((0.25 * 0 + 0.5 * 0.125) / 0.75, abs=1e-6)
