"""Automatic grading: by the local scales of distributions."""

import warnings

import numpy as np
import pytest

import wfr_pde as wfr
from wfr_pde.space.axis import Axis
from wfr_pde.space.mesh_density import densities_of_points


def covered(*distributions, shape, **options):
    """The graded grid, and that it takes every distribution, with its moments where they are known."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        grid = wfr.Grid.covering(*distributions, shape=shape, graded=True, **options)
        for distribution in distributions:
            density = grid.density(distribution)
            moments = distribution.moments()
            if moments is not None:
                sd = np.sqrt(np.diag(moments[1]))
                assert np.all(np.abs(density.mean() - moments[0]) < 1e-8 * sd)
                # the box leaves out 1e-12 of the mass, at 7 sd
                assert np.sqrt(np.diag(density.covariance())) == pytest.approx(sd, rel=1e-6)
    return grid


@pytest.mark.parametrize(
    ("distributions", "shape", "finest", "widest"),
    [
        ((wfr.Gaussian(0, 2500.0), wfr.Gaussian(0, 0.0025)), 200, 0.03, 10),
        ((wfr.Gaussian([0, 0], [1, 1 / 900]), wfr.Gaussian([1, 0], [1 / 900, 1])), 100, 0.02, 0.4),
        ((wfr.Potential("x**4 / 4"), wfr.Gaussian(0, 1e-4)), 160, 0.005, 0.1),
        ((wfr.Potential("x**2 / 2 - log(1 + 1000*exp(-5e5*(x - 3)**2))"), wfr.Gaussian(0, 1)), 300, 4e-4, 0.1),
        ((wfr.GaussianMixture([-30, 40.0], [0.99999, 1e-5], [1, 1e-6]), wfr.Gaussian(0, 1)), 300, 4e-4, 0.5),
        ((wfr.FourModes(), wfr.Gaussian([0, 8], 1.0)), 128, 0.06, 0.4),
    ],
    ids=["scales", "anisotropic", "black box", "narrow mode of a black box", "rare component", "four modes"],
)
def test_covering_by_local_scales(distributions, shape, finest, widest):
    grid = covered(*distributions, shape=shape)
    assert min(axis.widths.min() for axis in grid.axes) < finest
    assert max(axis.dx for axis in grid.axes) > widest


def test_covering_a_funnel_by_local_scales():
    grid = covered(wfr.Funnel(variance=1.0), shape=(96, 200))
    assert grid.axes[1].dx > 20 * grid.axes[1].widths.min()


def test_covering_resolves_what_is_between_two_narrow_ends():
    ends = wfr.Gaussian(-10, 0.01), wfr.Gaussian(10, 0.01)
    grid = covered(*ends, shape=800)
    grid.density(wfr.Gaussian(1.2, 0.01))  # the Fisher-Rao flow comes through there
    start = grid.density(ends[0])
    ds = wfr.solve(ends[1], wfr.FisherRao(), start, [0, 0.5, 1], 1)
    exact = wfr.exact.gaussian_flow(*ends[::-1], 0.5, 0.0, 1.0)
    assert wfr.Density.from_dataset(ds, 1).covariance()[0, 0] == pytest.approx(exact.covariance[0, 0], rel=1e-10)


def test_a_state_that_comes_to_cells_too_wide_for_it_is_caught():
    ends = wfr.Gaussian(-10, 0.01), wfr.Gaussian(10, 0.01)
    density = lambda x: sum(1 / np.sqrt(0.01 + 0.04 * (x - c) ** 2) for c in (-10, 10))
    grid = wfr.Grid(-11, 11, 200, grading=density)
    with pytest.raises(wfr.NumericalError, match=r"too wide for the state at t=0.5: .* deviation about 0.1, but"):
        wfr.solve(ends[1], wfr.FisherRao(), grid.density(ends[0]), [0, 0.5, 9], 1)


def test_grading_of_a_given_box_and_periodic_axes():
    target, start = wfr.Potential("-20*cos(x)"), wfr.Potential("-500*cos(x - 6)")
    grid = wfr.Grid(0, 2 * np.pi, 128, boundary="periodic", names=("q",), max_cut=1e-4).graded(target, start)
    assert (grid.boundary, grid.names, grid.max_cut, grid.shape) == (("periodic",), ("q",), 1e-4, (128,))
    [axis] = grid.axes
    assert axis.widths[[0, -1]] == pytest.approx(axis.widths[[0, -1]].mean(), rel=0.1)  # no seam
    assert axis.centres[axis.widths.argmin()] == pytest.approx(6, abs=0.3)
    # the mean of cos(x - 6) is I_1(500)/I_0(500)
    mean = grid.density(start).expectation(lambda p: np.cos(p[..., 0] - 6))
    assert mean == pytest.approx(1 - 1 / 1000 - 1 / 8 / 500**2, abs=1e-8)


def test_grading_is_deterministic():
    ends = wfr.FourModes(), wfr.Potential("x**2 / 2 + y**4 / 4")
    first, again = (wfr.Grid.covering(*ends, shape=64, graded=True) for _ in range(2))
    for a, b in zip(first.axes, again.axes, strict=True):
        assert np.array_equal(a.edges, b.edges)
        assert np.array_equal(a.widths, b.widths)


def test_what_cannot_be_graded():
    path = wfr.GeometricPath(wfr.Gaussian(-1, 0.1), wfr.Gaussian(0, 1))
    with pytest.raises(ValueError, match=r"moves.*path\.at\(0\)"):
        wfr.Grid.covering(path, shape=64, graded=True)
    wfr.Grid.covering(path.at(0), path.at(9), shape=64, graded=True)
    with pytest.raises(ValueError, match="no finite log-density in the box"):
        wfr.Grid(-3, -1, 64).graded(wfr.Potential("log(x)"))


@pytest.mark.parametrize("variance", [1e-4, 1e-6, 1e-8])
def test_narrow_targets_under_wide_starts_are_graded(variance):
    # scales of a steep target where the start is have no end; they were spikes, and no axis could follow them
    target, start = wfr.Gaussian(0, variance), wfr.Gaussian(1, 0.04)
    densities = densities_of_points([target, start], [-0.3], [2.3], [False], [(start, target)])
    axis = Axis.graded("x", -0.3, 2.3, 256, densities[0])
    total = axis.widths[0] * axis.n * densities[0](axis.centres[:1])[0]
    assert total < 3000
    x = np.linspace(0.3, 1.7, 2001)
    assert np.abs(np.diff(np.log(densities[0](x)))).max() < 0.05
