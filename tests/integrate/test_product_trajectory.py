"""Trajectories in any dimension against closed forms, and against a grid that holds the whole."""

import functools
import json

import numpy as np
import pytest
from product_trees import gaussian_node, tree_of
from product_trees import line_and_gaussian as fresh_line_and_gaussian

import wfr_pde as wfr
from wfr_pde.integrate.gaussian_trajectory import GaussianTrajectory, distance, divergence
from wfr_pde.integrate.product_trajectory import ProductTrajectory
from wfr_pde.integrate.truth_arguments import as_truth, law_at
from wfr_pde.space.product_law import ProductLaw


@functools.cache
def line_and_gaussian(m=3):
    """A tree made once, with its target and start."""
    return fresh_line_and_gaussian(m)


TIMES = (0.0, 0.02, 0.04, 0.06, 0.1)
ANGLE = 0.6
TURN = np.array([[np.cos(ANGLE), -np.sin(ANGLE)], [np.sin(ANGLE), np.cos(ANGLE)]])


def turned(m):
    """A rotation in m + 2 dimensions, and a shift."""
    rng = np.random.default_rng(2)
    return np.linalg.qr(rng.normal(size=(m + 2, m + 2)))[0], rng.normal(size=m + 2)


@pytest.fixture(scope="module")
def wells():
    """Two different factors on lines, turned and shifted, and the same flow on a grid in the plane."""
    first, second = wfr.DoubleWell(2.0), wfr.CoshDoubleWell(1.0)
    start = wfr.Product([wfr.Gaussian(0.3, 0.5), wfr.Gaussian(-0.2, 0.6)], TURN, [0.5, -1.0])
    target = wfr.Product([first, second], TURN, [0.5, -1.0])
    nodes = {
        "factor_0": wfr.ground_truth(first, start.factors[0], TIMES, rtol=1e-4),
        "factor_1": wfr.ground_truth(second, start.factors[1], TIMES, rtol=1e-4),
    }
    tree = tree_of(nodes, [("factor_0", "grid", 1), ("factor_1", "grid", 1)], TIMES, TURN, [0.5, -1.0])
    whole = wfr.ground_truth(target, start, TIMES, rtol=1e-2)
    return tree, target, wfr.Trajectory(whole, target)


@pytest.mark.parametrize("t", [0.0, 0.03, 0.1])
def test_the_law_is_that_of_a_grid_in_the_plane(wells, t):
    """∫ |mu - nu|, by draws from the product: within the sum of both bounds."""
    tree, target, plane = wells
    path = wfr.Trajectory(tree, target)
    assert isinstance(path, ProductTrajectory)
    x = path.sample(4000, t, 0)
    log_ratio = plane.log_prob(x, t) - path.log_prob(x, t)
    apart = np.abs(np.expm1(log_ratio))
    bound = path.error_l1(t) + plane.error_l1(t)
    assert bound < 0.03
    assert apart.mean() < bound + 4 * apart.std() / np.sqrt(len(x))
    assert np.allclose(path.mean(t), plane.mean(t), atol=3 * bound)
    assert np.allclose(path.covariance(t), plane.covariance(t), atol=6 * bound)
    for name in ("score", "velocity", "growth"):
        apart = np.abs(getattr(path, name)(x, t) - getattr(plane, name)(x, t))
        # the mean of g over the cells of the plane errs by 2e-5 itself
        assert np.median(apart) < 2 * bound + 5e-5 * (name == "growth"), name


def test_equal_factors_share_a_law_and_errors_combine():
    tree, target, _ = line_and_gaussian()
    path = wfr.Trajectory(tree, target)
    law = path.at(0.1)
    assert law.factors[0] is law.factors[1]
    own = float(tree["factor_0"]["error_l1"][2])
    assert path.error_l1(0.1) == pytest.approx(2 * (1 - (1 - own / 2) ** 2), rel=1e-3)
    assert np.array_equal(path.error_l1([[0.1], [0.2]]), [[path.error_l1(0.1)], [path.error_l1(0.2)]])
    assert path.kl == pytest.approx(tree["kl"].values)


def test_a_turned_run_is_read_in_x():
    """log_prob, score and moments of a product that is turned, against the plain one at the same places."""
    rotation, shift = turned(3)
    plain, _, _ = line_and_gaussian()
    tree, target, start = fresh_line_and_gaussian(rotation=rotation, shift=shift)
    path, straight = wfr.Trajectory(tree, target), wfr.Trajectory(plain)
    x = path.sample(50, 0.1, 1)
    y = (x - shift) @ rotation
    assert np.allclose(path.log_prob(x, 0.1), straight.log_prob(y, 0.1), rtol=0, atol=1e-11)
    assert np.allclose(path.score(x, 0.1), straight.score(y, 0.1) @ rotation.T, atol=1e-9)
    assert np.allclose(path.covariance(0.1), rotation @ straight.covariance(0.1) @ rotation.T)
    assert np.allclose(path.log_prob(start.sample(5, 0), 0.0), path.at(0.0).log_prob(start.sample(5, 0)))
    assert np.abs(path.sample(40_000, 0.1, 3).mean(axis=0) - path.mean(0.1)).max() < 0.04


def test_times_broadcast_with_points():
    tree, target, _ = line_and_gaussian()
    path = wfr.Trajectory(tree, target)
    x, t = path.sample(4, 0.1, 0), np.array([0.0, 0.07, 0.1, 0.2])
    together = path.log_prob(x, t)
    assert together == pytest.approx([float(path.log_prob(x[i], t[i])) for i in range(4)])
    assert path.score(x, t)[1] == pytest.approx(path.score(x[1], 0.07))
    assert path.velocity(x, t)[3] == pytest.approx(path.velocity(x[3], 0.2))
    assert path.log_prob(x, t[:, None]).shape == (4, 4)
    assert path.mean(t[:, None]).shape == (4, 1, 5)


# Gaussians in fifty dimensions


@pytest.fixture(scope="module")
def fifty():
    rng = np.random.default_rng(7)
    mix = rng.normal(size=(50, 50)) / 10
    target = wfr.Gaussian(rng.normal(size=50), 0.5 * np.eye(50) + mix @ mix.T)
    start = wfr.Gaussian(np.zeros(50), 2.0)
    times = [0.0, 0.1, 0.2, 0.4, 0.8]
    return tree_of({"factor_0": gaussian_node(target, start, times)}, [("factor_0", "gaussian", 50)], times), (
        target,
        start,
    )


@pytest.mark.parametrize("t", [0.1, 0.15, 0.7])
def test_a_gaussian_in_fifty_dimensions_is_the_closed_form(fifty, t):
    tree, (target, start) = fifty
    path, exact = wfr.Trajectory(tree, target), wfr.exact.gaussian_flow(target, start, t)
    assert path.mean(t) == pytest.approx(exact.mean, abs=1e-12)
    assert path.covariance(t) == pytest.approx(exact.covariance, abs=1e-12)
    assert path.error_l1(t) < 1e-12
    x = exact.sample(100, 0)
    apart = np.abs(path.log_prob(x, t) - exact.log_density(x) + exact.log_normaliser)
    assert apart.max() < 1e-11
    assert (apart <= path.log_prob_error(x, t) + 1e-12).all()
    assert (np.linalg.norm(path.score(x, t) - exact.score(x), axis=1) <= path.score_error(x, t) + 1e-12).all()
    g = exact.log_density(x) - exact.log_normaliser - target.log_density(x) + target.log_normaliser
    assert path.growth(x, t) == pytest.approx(divergence(exact, target) - g, abs=1e-10)
    assert path.velocity(x, t) == pytest.approx(target.score(x) - exact.score(x), abs=1e-10)


def test_gaussians_without_a_target_are_interpolated_with_an_honest_error(fifty):
    """The stored target is not told: then precisions are interpolated, and the error holds."""
    _, (target, start) = fifty
    for seed in range(8):
        rng = np.random.default_rng(seed)
        d = int(rng.integers(1, 6))
        scale = np.exp(rng.normal(size=d))
        target, start = wfr.Gaussian(rng.normal(size=d), np.diag(scale)), wfr.Gaussian(np.zeros(d), 0.3)
        times = np.linspace(0.0, 1.0, 9)
        laws = wfr.exact.gaussian_flow(target, start, times)
        means, covariances = np.array([law.mean for law in laws]), np.array([law.covariance for law in laws])
        path = GaussianTrajectory(times, means, covariances, np.zeros(9))
        for t in rng.uniform(0, 1, 20):
            exact = wfr.exact.gaussian_flow(target, start, float(t))
            assert distance(path.at(t), exact) <= path.error_l1(t)
            if t > 0.5:
                assert path.error_l1(t) < 0.2
    short = GaussianTrajectory(times[:2], means[:2], covariances[:2], np.zeros(2))
    assert short.error_l1(float(times[1]) / 2) == 2.0


def test_a_wrong_gaussian_target_shows_in_the_error(fifty):
    tree, (target, start) = fifty
    wrong = wfr.Gaussian(target.mean + 1.0, target.covariance)
    path, t = wfr.Trajectory(tree, wrong), 0.15
    assert path.error_l1(t) > distance(path.at(t).factors[0], wfr.exact.gaussian_flow(target, start, t)) > 1e-3


def test_the_distance_of_gaussians_bounds_their_l1_distance_and_resolves_rounding():
    p, q = wfr.Gaussian(0, 1), wfr.Gaussian(1e-9, 1 + 1e-9)
    assert 1e-10 < distance(p, q) < 2e-9
    for mean, variance in ((0.5, 1.0), (0.0, 3.0), (2.0, 0.4)):
        other = wfr.Gaussian(mean, variance)
        grid = wfr.Grid(-15, 15, 3000)
        assert wfr.metrics.l1(grid.density(p), grid.density(other)) <= distance(p, other)


# radial


@pytest.fixture(scope="module")
def shells():
    """|x|^2 e^{-|x|²/2} in R^3 from the same power with the rate 2: mu_t ∝ |x|^2 e^{-(1 + S_t)|x|²/2}."""
    times = [0.0, 0.02, 0.04, 0.06, 0.1, 0.2]
    target = wfr.Radial(lambda r: r**2 / 2 - 2 * np.log(r), 3)
    start = wfr.Radial(lambda r: r**2 - 2 * np.log(r), 3)
    ds = wfr.ground_truth(target.radius, start.radius, times, rtol=1e-6, box=([0], [11]))
    return tree_of({"factor_0": ds}, [("factor_0", "radial", 3)], times), target


@pytest.mark.parametrize("t", [0.0, 0.05, 0.1, 0.2])
def test_a_shell_in_three_dimensions_is_the_closed_form(shells, t):
    """S' = -2 alpha S (1 + S) - beta S, integrated by scipy."""
    from scipy.integrate import solve_ivp
    from scipy.special import gammaln

    tree, target = shells
    path = wfr.Trajectory(tree, target)
    found = solve_ivp(lambda _, s: -2 * s * (1 + s) - s, (0, max(t, 1e-9)), [1.0], rtol=1e-12, atol=1e-14)
    rate = 1 + float(found.y[0, -1])
    x = path.sample(400, t, 0)
    square = np.sum(x**2, axis=1)
    log_norm = np.log(2 * np.pi) + 2.5 * np.log(2 / rate) + gammaln(2.5)
    exact = np.log(square) - rate * square / 2 - log_norm
    shown = np.abs(path.log_prob(x, t) - exact)
    assert (shown <= path.log_prob_error(x, t) + 1e-9).all()
    assert np.median(shown) < (1e-5 if t in path.times else 1e-3)
    assert path.covariance(t) == pytest.approx(5 / 3 / rate * np.eye(3), abs=1e-4)
    slope = (2 / square - rate)[:, None] * x
    apart = np.linalg.norm(path.score(x, t) - slope, axis=1)
    assert (apart <= path.score_error(x, t) + 1e-7).all()


# masses of modes


def test_mode_masses_are_products_of_those_of_the_factors():
    tree, target, _ = line_and_gaussian(m=2)
    path = wfr.Trajectory(tree, target)
    signs = np.array([[a, b, c, 0.0] for a in (-1.0, 1.0) for b in (-1.0, 1.0) for c in (-0.5, 1.0)])
    masses = path.mode_masses(signs, 0.1)
    x = path.sample(200_000, 0.1, 5)
    nearest = np.argmin(((x[:, None] - signs) ** 2).sum(axis=-1), axis=1)
    counted = np.bincount(nearest, minlength=8) / len(x)
    assert masses.sum() == pytest.approx(1, abs=1e-9)
    assert np.abs(masses - counted).max() < 5 * np.sqrt(0.25 / len(x))


def test_mode_masses_do_not_depend_on_where_cells_are_cut():
    well, other = wfr.CoshDoubleWell(gap=0.5), wfr.Gaussian(0.3, 0.5)
    start = wfr.Product([wfr.exact.cosh_double_well_flow(well, 0.8, 0.0), other])
    target = wfr.Product([well, other])
    tree = wfr.ground_truth(target, start, [0.0, 0.05, 0.1], reaction_rate=0, rtol=1e-3)
    x = np.linspace(-8, 8, 160001)
    for t in (0.0, 0.07):
        values = np.exp(wfr.exact.cosh_double_well_flow(well, 0.8, t).log_density(x[:, None]))
        for cut in (0.0, 0.013):
            centres = [[cut - 1, 0.3], [cut + 1, 0.3]]
            at_cut = np.abs(x - cut) < 1e-9
            right = np.sum(values[(x > cut) & ~at_cut]) + np.sum(values[at_cut]) / 2
            found = wfr.Trajectory(tree, target).mode_masses(centres, t)
            np.testing.assert_allclose(found[1], right / values.sum(), atol=1e-7)
            np.testing.assert_allclose(wfr.Trajectory(tree, target).mode_masses(centres[::-1], t), found[::-1])


def test_mode_masses_that_do_not_factorise_are_refused():
    tree, target, _ = line_and_gaussian(m=2)
    path = wfr.Trajectory(tree, target)
    with pytest.raises(ValueError, match="are not all combinations of centres of the blocks, of which there are 2 x 2"):
        path.mode_masses([[-1.0, -1.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0]], 0.1)
    with pytest.raises(ValueError, match="do not lie on a line in a Gaussian block of dimension 2"):
        path.mode_masses([[0.0, 0, 0, 0], [0.0, 0, 1, 0], [0.0, 0, 0, 1]], 0.1)


# marginals, problems, refusals


def test_marginals_are_those_of_a_factor():
    tree, target, _ = line_and_gaussian()
    path = wfr.Trajectory(tree, target)
    law = path.at(0.1)
    assert path.marginal(1, 0.1) is law.factors[1]
    pair = path.marginal([2, 4], 0.1)
    assert pair.covariance == pytest.approx(law.factors[2].covariance[np.ix_([0, 2], [0, 2])])
    with pytest.raises(ValueError, match="increasing numbers of coordinates of one factor"):
        path.marginal([1, 2], 0.1)
    with pytest.raises(ValueError, match=r"k must be .*the number of a coordinate, of which there are 5"):
        path.marginal(5, 0.1)


def test_the_problem_is_read_from_the_factors():
    tree, target, start = line_and_gaussian()
    stated = wfr.Trajectory(tree).problem
    x = start.sample(3, 0)
    assert np.ptp(stated.target.log_density(x) - target.log_density(x)) < 1e-12
    assert np.ptp(stated.start.log_density(x) - start.log_density(x)) < 1e-12
    assert (stated.transport_rate, stated.reaction_rate) == (1.0, 1.0)


def test_a_target_that_does_not_split_so_is_refused():
    tree = line_and_gaussian(m=3)[0]
    coupled = np.eye(5)
    coupled[0, 1] = coupled[1, 0] = 0.3
    with pytest.raises(ValueError, match="does not split into the 3 blocks of this run"):
        wfr.Trajectory(tree, wfr.Gaussian(np.zeros(5), coupled))
    with pytest.raises(ValueError, match=r"the target is .*, but the run is 5-dimensional"):
        wfr.Trajectory(tree, wfr.Gaussian(np.zeros(4), 1.0))


def test_a_mixture_in_general_position_splits_as_its_run():
    """Two modes in six dimensions: a mixture on a line, and a Gaussian across it."""
    apart = np.random.default_rng(1).normal(size=6)
    target = wfr.GaussianMixture([0 * apart, apart], [0.3, 0.7], 0.3)
    start = wfr.Gaussian(0.5 * apart, 1.0)
    split = wfr.Product.of(target)
    rotation, shift = split.frame
    first, rest = split.factors
    own = wfr.Gaussian(rotation.T @ (start.mean - shift), 1.0)
    begin, across = wfr.Gaussian(own.mean[:1], 1.0), wfr.Gaussian(own.mean[1:], 1.0)
    nodes = {
        "factor_0": wfr.ground_truth(first, begin, TIMES, rtol=1e-5),
        "factor_1": gaussian_node(rest, across, TIMES),
    }
    tree = tree_of(nodes, [("factor_0", "grid", 1), ("factor_1", "gaussian", 5)], TIMES, rotation, shift)
    path = wfr.Trajectory(tree, target)
    assert path.error_l1(0.05) < 0.01
    x = path.sample(200, 0.05, 0)
    g = path.log_prob(x, 0.05) - target.log_density(x) + target.log_normaliser
    growth = path.growth(x, 0.05)
    assert np.ptp(growth + g) < 1e-6  # -(g - E g)
    assert abs(path.growth(path.sample(20_000, 0.05, 1), 0.05).mean()) < 0.05


def test_what_is_no_tree_is_refused():
    import xarray as xr

    with pytest.raises(ValueError, match="no attribute factors"):
        wfr.Trajectory(xr.DataTree())
    tree = line_and_gaussian()[0].copy()
    tree.attrs["factors"] = json.dumps([{"node": "factor_7", "kind": "grid", "ndim": 1}])
    with pytest.raises(ValueError, match="no node for the factor"):
        wfr.Trajectory(tree)
    with pytest.raises(ValueError, match=r"t=7 is outside the run"):
        wfr.Trajectory(line_and_gaussian()[0]).error_l1(7.0)
    with pytest.raises(ValueError, match="velocity needs the target"):
        wfr.Trajectory(line_and_gaussian()[0]).velocity(np.zeros(5), 0.1)


def test_a_tree_is_a_truth_and_keeps_in_a_file(tmp_path):
    import xarray as xr

    tree, target, _ = line_and_gaussian()
    tree.to_netcdf(tmp_path / "truth.nc")
    truth = as_truth(xr.open_datatree(tmp_path / "truth.nc"))
    assert isinstance(law_at(truth, 0.1), ProductLaw)
    x = truth.sample(5, 0.1, 0)
    assert truth.log_prob(x, 0.1) == pytest.approx(wfr.Trajectory(tree, target).log_prob(x, 0.1))
    assert "factor_0" in truth._repr_html_()
