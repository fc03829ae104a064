"""`ground_truth` of problems that split: every block against closed forms, and the whole against grids."""

import itertools
import json

import numpy as np
import pytest
from scipy.special import gammaln

import wfr_pde as wfr
from wfr_pde.errors import NumericalError
from wfr_pde.storage.files import read_tree, write_tree
from wfr_pde.truth.certified import certificate
from wfr_pde.truth.certified.factored.gaussian_block import gaussian_moments
from wfr_pde.truth.certified.factored.matching import matched, splits

T = [0.0, 0.2, 0.6]
WELL = wfr.Potential("(x**2 - 1)**2")


def rotation(ndim, seed=0):
    """A random rotation."""
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((ndim, ndim)))[0]


def gaussian(ndim, seed, spread=10.0):
    """A Gaussian with correlations."""
    rng, q = np.random.default_rng(seed), rotation(ndim, seed + 100)
    covariance = q @ np.diag(spread ** rng.uniform(-0.5, 0.5, ndim)) @ q.T
    return wfr.Gaussian(rng.uniform(-2, 2, ndim), (covariance + covariance.T) / 2)


def factors_of(tree):
    """The entries of the factors, one per block."""
    return json.loads(tree.attrs["factors"])


def volumes(ds):
    """Volumes of the cells of a Dataset."""
    return np.broadcast_to(np.asarray(wfr.Grid.from_dataset(ds).cell_volume), ds["log_density"].shape[1:])


def along(tree, entry, y, k):
    """Log-density of a one-dimensional block at places y, at save time number k."""
    ds = tree[entry["node"]].to_dataset()
    if entry["kind"] == "gaussian":
        law = wfr.Gaussian(ds["mean"].values[k], ds["covariance"].values[k])
        return law.log_density(y[..., None]) - law.log_normaliser
    return wfr.Trajectory(ds).log_prob(y[..., None], float(ds["t"][k]))


def distance_on_grid(tree, ds, inner, k):
    """L1 distance of a product of 1D blocks from a solution on a grid, where `inner` maps its points to the blocks."""
    y = inner(wfr.Grid.from_dataset(ds).points())
    product = sum(along(tree, entry, y[..., j], k) for j, entry in enumerate(factors_of(tree)))
    return float(np.sum(np.abs(np.exp(product) - np.exp(ds["log_density"].values[k])) * volumes(ds)))


def test_correlated_gaussians_in_50_turned_dimensions():
    q, shift = rotation(50), np.linspace(-1, 1, 50)
    target = wfr.Product([gaussian(20, 1), gaussian(30, 2)], q, shift)
    start = wfr.Product([gaussian(20, 3), gaussian(30, 4)], q, shift)
    tree = wfr.ground_truth(target, start, T)
    whole = [wfr.Gaussian(*law.moments()) for law in (target, start)]
    for k, exact in enumerate(wfr.exact.gaussian_flow(*whole, np.array(T))):
        mean, covariance = np.zeros(50), np.zeros((50, 50))
        for block, entry in zip(target.blocks, factors_of(tree), strict=True):
            mean[block] = tree[entry["node"]]["mean"].values[k]
            covariance[block, block] = tree[entry["node"]]["covariance"].values[k]
        np.testing.assert_allclose(shift + q @ mean, exact.mean, atol=1e-11)
        np.testing.assert_allclose(q @ covariance @ q.T, exact.covariance, atol=1e-11)
        assert tree["kl"].values[k] == pytest.approx(wfr.exact.gaussian_kl(exact, whole[0]), rel=1e-11)
    assert 0 < tree["error_l1"].values.max() < 1e-10


def test_a_gaussian_in_any_dimension_is_one_block():
    tree = wfr.ground_truth(gaussian(7, 1), gaussian(7, 2), T)
    assert [(entry["kind"], entry["ndim"]) for entry in factors_of(tree)] == [("gaussian", 7)]
    assert not {"rotation", "shift"} & set(tree.data_vars)


@pytest.mark.parametrize("spread", [1e2, 1e8])
def test_rounding_of_moments_is_within_its_bound(spread):
    """Against the formulas in forty digits; half of Pinsker's bound is less than the L1 distance."""
    mp = pytest.importorskip("mpmath")
    target, start, times = gaussian(8, 5, spread), gaussian(8, 6, spread), np.array([0.0, 0.01, 1.0])
    ds = gaussian_moments(target, start, times, 1.0, 0.7)
    with mp.workdps(40):
        values, q = mp.eigsy(mp.matrix(target.covariance.tolist()))
        a = [1 / v for v in values]
        rates = [x + mp.mpf(0.7) / 2 for x in a]
        c0 = q.T * mp.matrix(start.covariance.tolist()) * q
        off = q.T * (mp.matrix(start.mean.tolist()) - mp.matrix(target.mean.tolist()))
        for k, t in enumerate(times):
            falls = mp.diag([mp.exp(-g * mp.mpf(t)) for g in rates])
            z = mp.diag([(1 - mp.exp(-2 * g * mp.mpf(t))) / g for g in rates])
            s0 = c0**-1 - mp.diag(a)
            c = (mp.diag(a) + falls * s0 * (mp.eye(8) + z * s0) ** -1 * falls) ** -1
            m = mp.exp(-mp.mpf(0.7) * mp.mpf(t) / 2) * c * falls * (mp.eye(8) + s0 * z) ** -1 * c0**-1 * off
            m, c = mp.matrix(target.mean.tolist()) + q * m, q * c * q.T
            ratio = c**-1 * mp.matrix(ds["covariance"].values[k].tolist())
            apart = mp.matrix(ds["mean"].values[k].tolist()) - m
            kl = (sum(ratio[i, i] for i in range(8)) - 8 - mp.log(mp.det(ratio)) + (apart.T * c**-1 * apart)[0]) / 2
            assert 0.5 * float(mp.sqrt(2 * abs(kl))) <= ds["error_l1"].values[k] + 1e-18
    assert ds["error_l1"].values.max() < 1e-12 * spread


def test_moving_gaussians_are_followed_in_time():
    """The mean of a target that moves at the speed one, by transport alone."""
    path = wfr.GeometricPath(wfr.Gaussian([0.0] * 5, 1.0), wfr.Gaussian([1.0] * 5, 1.0), lambda t: t)
    tree = wfr.ground_truth(path, wfr.Gaussian([0.0] * 5, 1.0), [0.0, 0.4, 0.9], reaction_rate=0.0)
    t = np.array([0.0, 0.4, 0.9])[:, None]
    np.testing.assert_allclose(tree["factor_0"]["mean"].values, (t + np.expm1(-t)) * np.ones(5), atol=1e-11)
    assert 1e-12 < tree["error_l1"].values[-1] < 1e-9


def test_paths_between_products_are_products_of_paths():
    line = wfr.GeometricPath(wfr.Gaussian(0.0, 1.0), WELL, lambda t: min(t, 1.0))
    ends = wfr.Product([wfr.Gaussian(0.0, 1.0)] * 6), wfr.Product([WELL] * 5 + [wfr.Gaussian(0.5, 1.0)])
    path = wfr.GeometricPath(*ends, line.schedule)
    tree = wfr.ground_truth(path, wfr.Gaussian([0.3] * 6, 0.5), [0.5, 0.6], rtol=1e-2)
    assert [(entry["node"], entry["kind"]) for entry in factors_of(tree)] == [("factor_0", "grid")] * 5 + [
        ("factor_1", "gaussian")
    ]
    alone = wfr.ground_truth(line, wfr.Gaussian(0.3, 0.5), [0.5, 0.6], rtol=tree["factor_0"].attrs["rtol"])
    np.testing.assert_array_equal(tree["factor_0"]["log_density"].values, alone["log_density"].values)
    rest = wfr.GeometricPath(wfr.Gaussian(0.0, 1.0), wfr.Gaussian(0.5, 1.0), line.schedule)
    exact = wfr.exact.gaussian_flow_by_ode(rest, wfr.Gaussian(0.3, 0.5), 0.6, start_time=0.5)
    assert tree["factor_1"]["mean"].values[1] == pytest.approx(exact.mean, abs=1e-12)
    pi = rest.at(0.6)
    kl = 5 * alone["kl"].values[1] + wfr.exact.gaussian_kl(exact, pi)
    assert tree["kl"].values[1] == pytest.approx(kl, abs=1e-11)


@pytest.mark.parametrize(("ndim", "q", "s0"), [(3, 0.0, 3.0), (20, 30.0, 1.0), (100, 0.0, 1.0)])
def test_shells_follow_their_closed_form(ndim, q, s0):
    a, rtol = 1.0, 1e-7

    def profile(c):
        return lambda r: c * r**2 / 2 - (q * np.log(r) if q else 0.0)

    target, start = wfr.Radial(profile(a), ndim), wfr.Radial(profile(a + s0), ndim)
    tree = wfr.ground_truth(target, start, T, rtol=rtol)
    assert factors_of(tree) == [{"node": "factor_0", "kind": "radial", "ndim": ndim}]
    ds, power = tree["factor_0"].to_dataset(), q + ndim - 1
    r, g = ds["x"].values, a + 0.5
    for k, t in enumerate(T):
        c = a + np.exp(-2 * g * t) * s0 / (1 + s0 * -np.expm1(-2 * g * t) / g)
        log_mass = gammaln((power + 1) / 2) + (power - 1) / 2 * np.log(2) - (power + 1) / 2 * np.log(c)
        exact = np.exp(power * np.log(r) - c * r**2 / 2 - log_mass)
        error = np.sum(np.abs(np.exp(ds["log_density"].values[k]) - exact) * volumes(ds))
        assert error <= tree["error_l1"].values[k] + 1e-14
    assert tree["error_l1"].values.max() <= rtol


def test_a_ring_in_thirty_dimensions_is_radial():
    tree = wfr.ground_truth(wfr.Ring(5.0, 1.0, ndim=30), wfr.Gaussian(np.zeros(30), 1.0), [0.0, 0.5], rtol=1e-3)
    assert [entry["kind"] for entry in factors_of(tree)] == ["radial"]
    assert tree["kl"].values[0] > tree["kl"].values[1] > 0


def test_two_modes_in_20_dimensions():
    """Along the line the 1D problem; in a plane the 2D one on a grid that is turned by 30 degrees."""
    direction = rotation(20, 3)[:, 0]
    mixture = wfr.GaussianMixture([-1.2 * direction, 1.2 * direction], [0.3, 0.7], 0.5)
    tree = wfr.ground_truth(mixture, wfr.Gaussian(0.4 * direction, 0.8), T, rtol=1e-4)
    kinds = [(entry["kind"], entry["ndim"]) for entry in factors_of(tree)]
    assert kinds == [("grid", 1), ("gaussian", 19)]
    axis = tree["rotation"].values[:, 0]
    side = float(np.sign(axis @ direction))
    assert abs(axis @ direction) == pytest.approx(1, abs=1e-12)
    line = wfr.ground_truth(
        wfr.GaussianMixture([-1.2 * side, 1.2 * side], [0.3, 0.7], 0.5), wfr.Gaussian(0.4 * side, 0.8), T, rtol=1e-4
    )
    turn = np.array([[np.cos(np.pi / 6), -np.sin(np.pi / 6)], [np.sin(np.pi / 6), np.cos(np.pi / 6)]])
    mode = turn @ [1.2 * side, 0.0]
    plane = wfr.ground_truth(
        wfr.GaussianMixture([-mode, mode], [0.3, 0.7], 0.5), wfr.Gaussian(mode / 3, 0.8), T, rtol=1e-3, turn=False
    )
    for k in range(len(T)):
        bounds = tree["error_l1"].values[k]
        far = np.abs(np.exp(along(tree, factors_of(tree)[0], line["x"].values, k)) - np.exp(line["log_density"][k]))
        assert float(np.sum(far.values * volumes(line))) <= bounds + line["error_l1"].values[k]
        points = wfr.Grid.from_dataset(plane).points() @ turn
        across = tree["factor_1"]["covariance"].values[k][0, 0]
        product = along(tree, factors_of(tree)[0], points[..., 0], k)
        product = product - points[..., 1] ** 2 / (2 * across) - np.log(2 * np.pi * across) / 2
        far = np.sum(np.abs(np.exp(product) - np.exp(plane["log_density"].values[k])) * volumes(plane))
        assert far <= bounds + plane["error_l1"].values[k]


def test_two_wells_are_those_of_a_plane():
    wells, starts = [WELL, wfr.Potential("(x**2 - 1)**2/2 + x/4")], [wfr.Gaussian(0.3, 0.4), wfr.Gaussian(-0.2, 0.5)]
    tree = wfr.ground_truth(wfr.Product(wells), wfr.Gaussian([0.3, -0.2], [0.4, 0.5]), T, rtol=1e-4)
    whole = wfr.Potential("(x**2 - 1)**2 + (y**2 - 1)**2/2 + y/4")
    plane = wfr.ground_truth(whole, wfr.Product(starts), T, rtol=1e-3)
    for k in range(len(T)):
        bounds = tree["error_l1"].values[k] + plane["error_l1"].values[k]
        assert distance_on_grid(tree, plane, lambda x: x, k) <= bounds
        bounds = tree["error_kl"].values[k] + plane["error_kl"].values[k]
        assert abs(tree["kl"].values[k] - plane["kl"].values[k]) <= bounds


def test_three_factors_are_those_of_space():
    factors = [wfr.Potential("x**2/2 + cos(x)/2"), wfr.Potential("x**2/2 + sin(x)/3"), wfr.Potential("x**2/2")]
    start = wfr.Gaussian([0.3, -0.2, 0.0], 1.0)
    tree = wfr.ground_truth(wfr.Product(factors), start, [0.0, 0.1], rtol=1e-4)
    whole = wfr.Potential("x**2/2 + y**2/2 + z**2/2 + cos(x)/2 + sin(y)/3")
    space = wfr.ground_truth(whole, start, [0.0, 0.1], rtol=0.1)
    for k in range(2):
        bounds = tree["error_l1"].values[k] + space["error_l1"].values[k]
        assert distance_on_grid(tree, space, lambda x: x, k) <= bounds < 1e-3


def test_twenty_equal_wells_are_one_solve(monkeypatch):
    solved = []
    of_one = certificate._on_a_grid

    def counting(problem, times, **options):
        solved.append(problem)
        return of_one(problem, times, **options)

    monkeypatch.setattr(certificate, "_on_a_grid", counting)
    q = rotation(20, 7)
    start = wfr.Gaussian(q @ np.full(20, 0.3), 0.25)  # whose moments in the frame are equal but for rounding
    tree = wfr.ground_truth(wfr.Product([WELL] * 20, q), start, [0.0, 0.1], rtol=1e-2)
    assert len(solved) == 1
    assert list(tree.children) == ["factor_0"]
    assert [entry["node"] for entry in factors_of(tree)] == ["factor_0"] * 20
    each = tree["factor_0"]
    assert tree["kl"].values == pytest.approx(20 * each["kl"].values, rel=1e-12)
    assert np.all(tree["error_l1"].values > 15 * each["error_l1"].values)
    assert tree["error_l1"].values.max() <= 1e-2


def kinds(target, start):
    """Kinds and dimensions of the blocks."""
    return [(block.kind, block.ndim) for block in matched(target, start).blocks]


def test_blocks_of_a_start_may_be_coarser():
    wells, coupled = wfr.Product([WELL] * 3), np.eye(3)
    coupled[0, 2] = coupled[2, 0] = 0.5
    found = matched(wells, wfr.Gaussian([0, 0, 0], coupled))
    assert [(block.kind, block.ndim) for block in found.blocks] == [("grid", 2), ("grid", 1)]
    np.testing.assert_array_equal(found.rotation, np.eye(3)[:, [0, 2, 1]])
    start = wfr.GaussianMixture([[0, 0, 0], [0, 1, 0]], [1, 1], 0.3)
    assert sorted(kinds(wells, start)) == [("grid", 1)] * 3
    half = wfr.Product([wfr.Gaussian([0, 0], 1), WELL])
    assert kinds(half, start) == [("gaussian", 1), ("grid", 1), ("grid", 1)]


def test_laws_in_the_blocks_multiply_to_the_given_ones():
    q, shift, rng = rotation(5, 9), np.arange(5.0), np.random.default_rng(0)
    target = wfr.Product([WELL, wfr.Radial("x**4/4", 2), gaussian(2, 1)], q, shift)
    starts = [
        wfr.Product([wfr.Gaussian(0.3, 1), wfr.Ring(1.0, 0.5), gaussian(2, 2)], q, shift),
        wfr.Gaussian(shift, 0.5),
        wfr.GaussianMixture([shift, shift + q[:, 3]], [1, 2], 0.5),
    ]
    for start in starts:
        found = matched(target, start)
        y = rng.standard_normal((10, 5))
        x = found.shift + y @ found.rotation.T
        ends = np.cumsum([0, *(block.ndim for block in found.blocks)])
        for whole, name in ((target, "target"), (start, "start")):
            parts = [
                getattr(block, name).log_density(y[:, a:b])
                for block, (a, b) in zip(found.blocks, itertools.pairwise(ends), strict=True)
            ]
            np.testing.assert_allclose(np.ptp(sum(parts) - whole.log_density(x)), 0, atol=1e-11)
        assert found.departure < 1e-10


def test_a_mixture_couples_what_both_laws_differ_in():
    one, other = rotation(10, 1)[:, 0], rotation(10, 2)[:, 0]
    target = wfr.GaussianMixture([0 * one, one], [1, 1], 0.3)
    assert kinds(target, wfr.Gaussian(np.ones(10), 1.0)) == [("grid", 1), ("gaussian", 9)]
    assert kinds(target, wfr.GaussianMixture([0 * one, other], [1, 1], 0.3)) == [("grid", 2), ("gaussian", 8)]
    with pytest.raises(ValueError, match="means span 5 dimensions: at most 4 can be solved"):
        matched(wfr.GaussianMixture(np.eye(10)[:6] * 3, np.ones(6), 0.3), wfr.Gaussian(np.zeros(10), 1.0))


def test_what_stays_on_one_grid():
    plane = wfr.Gaussian([0, 0], 1), wfr.GaussianMixture([[0, 0], [1, 1]], [1, 1], 1.0)
    assert not any(splits(target, plane[0]) for target in (*plane, wfr.Ring()))
    assert not splits(wfr.Potential("x**2 + y**2 + z**2 + w**2"), wfr.Gaussian([0] * 4, 1))
    assert splits(wfr.Product([wfr.Gaussian(0, 1)]), wfr.Gaussian(0, 1))
    path = wfr.GeometricPath(wfr.Product([WELL] * 2), wfr.Product([wfr.Gaussian(0, 1)] * 2))
    assert kinds(path, wfr.Gaussian([0.2, 0.3], 1)) == [("grid", 1), ("grid", 1)]


@pytest.mark.parametrize(
    ("target", "start", "message"),
    [
        (
            wfr.Product([WELL] * 6),
            wfr.Gaussian(np.zeros(6), np.eye(6) + 0.3 * np.ones((6, 6))),
            r"coordinates \[0, 1, 2, 3, 4, 5\] form one block of 6 dimensions of target and start, coupled",
        ),
        (wfr.Radial("x**4/4", 6), wfr.Gaussian([1] + [0] * 5, 1.0), "not about the same"),
        (wfr.Product([WELL] * 6), wfr.Potential(lambda *x: sum(x), ndim=6), "no split of the start"),
        (wfr.Potential(lambda *x: sum(x), ndim=5), wfr.Gaussian(np.zeros(5), 1.0), "no split of the target Potential"),
        (wfr.Product([WELL] * 2), wfr.Gaussian(0, 1), "2-dimensional, but the start is 1-dimensional"),
    ],
)
def test_what_does_not_split_is_refused_with_the_reason(target, start, message):
    with pytest.raises(ValueError, match=message):
        wfr.ground_truth(target, start, T)


@pytest.mark.parametrize("option", [{"box": ([-1] * 5, [1] * 5)}, {"boundary": "periodic"}, {"names": list("abcde")}])
def test_options_of_one_grid_are_refused(option):
    with pytest.raises(ValueError, match=f"{next(iter(option))}= is of one grid"):
        wfr.ground_truth(wfr.Gaussian([0] * 5, 1), wfr.Gaussian([0] * 5, 2), T, **option)


def test_a_tolerance_out_of_reach_names_the_factor():
    target = wfr.Product([WELL, wfr.Gaussian([0, 0], 1)])
    with pytest.raises(NumericalError, match=r"the factor Potential\(V='\(x\*\*2 - 1\)\*\*2', ndim=1\), from Gaussian"):
        wfr.ground_truth(target, wfr.Gaussian([0.3, 0, 0], 0.5), [0, 0.1], rtol=1e-12, seconds=4)
    with pytest.raises(ValueError, match="the factor Potential"):
        wfr.ground_truth(wfr.Product([wfr.Potential("log(1 + x**2)/4")] * 2), wfr.Gaussian([0, 0], 1), T)


def test_a_profile_without_mass_is_refused():
    with pytest.raises(ValueError, match=r"Radius|mass|tails"):
        wfr.ground_truth(wfr.Radial("log(1 + x**2)/4", 3), wfr.Gaussian([0, 0, 0], 1), T)


def test_a_tree_is_one_file(tmp_path):
    target = wfr.Product([WELL, wfr.Gaussian([0, 0], 1)], rotation(3), [1, 2, 3])
    tree = wfr.ground_truth(target, wfr.Gaussian([1, 2, 3], 0.5), [0, 0.1], rtol=1e-2)
    found = read_tree(write_tree(tree, tmp_path / "tree.nc"))
    assert found.identical(tree)
    assert found.attrs["factors"] == tree.attrs["factors"]


def test_a_tree_says_of_what_it_is():
    q, shift = rotation(12), np.arange(12.0)
    target = wfr.Product([WELL, gaussian(9, 1), wfr.Radial(wfr.Ring(1.0, 0.5, ndim=1), 2)], q, shift)
    start = wfr.Product([wfr.Gaussian(0.3, 0.5), gaussian(9, 2), wfr.Gaussian([0, 0], 1.0)], q, shift)
    tree = wfr.ground_truth(target, start, [0, 0.1], rtol=3e-2)
    points = np.random.default_rng(0).standard_normal((5, 12)) + shift
    for attribute, law in (("energy", target), ("start", start)):
        found = wfr.targets.stored_distribution(tree, attribute)
        assert np.ptp(found.log_density(points) - law.log_density(points)) < 1e-9
