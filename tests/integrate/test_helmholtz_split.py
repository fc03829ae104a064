"""The Helmholtz split: what moves a density, and what leaves it as it is."""

import math

import numpy as np
import pytest
from gaussian_frames import TARGET, frames

import wfr_pde as wfr
from wfr_pde.integrate.helmholtz_split import helmholtz

TARGET_2D = wfr.Gaussian([0.5, 0.0], [[1.0, 0.3], [0.3, 0.6]])
START_2D = wfr.Gaussian([-1.0, 0.5], 0.25)
J = np.array([[0.0, 1.0], [-1.0, 0.0]])


def wave(x, t):
    """A gradient: of sin x sin y."""
    return np.stack([np.cos(x[..., 0]) * np.sin(x[..., 1]), np.sin(x[..., 0]) * np.cos(x[..., 1])], axis=-1)


@pytest.mark.parametrize("graded", [False, True])
def test_helmholtz_separates_a_gradient_from_what_leaves_the_density(graded):
    mixture = wfr.GaussianMixture([[-2, 0], [2, 0]], [0.3, 0.7], 0.25)
    narrow = wfr.Gaussian([0, 0], 0.1)
    grid = wfr.Grid.covering(mixture, *([narrow] if graded else []), shape=72, graded=graded)
    density = grid.density(mixture)
    split = helmholtz(density, lambda x, t: wave(x, t) + mixture.score(x) @ J.T)
    mass = (density.values * grid.cell_volume)[..., None]
    size = float(split.norm)
    # spline derivatives of order dx^5; measured 2e-5 (equal cells), 3e-5
    assert np.sqrt(np.sum(mass * (split.gradient.values - wave(grid.points(), 0)) ** 2)) < 2e-4 * size
    squares = float(split.gradient_norm) ** 2 + float(split.divergence_free_norm) ** 2
    assert squares == pytest.approx(size**2, rel=1e-9)


def test_helmholtz_of_what_leaves_a_trajectory_has_no_gradient():
    """Of order six in the cells: 48 and 96 cells measure 2e-5 and 3e-7."""
    grid = wfr.Grid.covering(TARGET_2D, START_2D, shape=96)
    path = wfr.Trajectory(frames(TARGET_2D, START_2D, [0.2, 0.3, 0.4], grid=grid))
    split = path.helmholtz(lambda x, t: path.score(x, t) @ J.T, 0.3)
    assert float(split.gradient_norm) < 1e-5 * float(split.norm)
    assert split.gradient.dims == ("x", "y", "axis")
    assert float((np.exp(path.at(0.3).log_values) * split.phi).sum()) == pytest.approx(0, abs=1e-6)


def test_helmholtz_in_one_dimension_and_around_a_circle():
    grid = wfr.Grid.covering(TARGET, shape=80)
    split = helmholtz(grid.density(TARGET), lambda x, t: np.sin(x))
    assert float(split.divergence_free_norm) < 1e-8  # between walls every field is a gradient
    ring = wfr.Grid(0, 2 * math.pi, 64, boundary="periodic", max_cut=1)
    density = ring.density(wfr.Potential("cos(x)"))
    split = helmholtz(density, lambda x, t: np.ones_like(x))
    # around a circle mu w is constant, and w has the winding of v
    reciprocal = 1 / density.values
    expected = 2 * math.pi * reciprocal / float(ring.integrate(reciprocal))
    assert split.divergence_free.values[:, 0] == pytest.approx(expected, abs=1e-8)


def test_helmholtz_in_three_dimensions():
    target = wfr.Gaussian([0.0, 0.5, 0.0], np.diag([1.0, 0.5, 0.8]))
    grid = wfr.Grid.covering(target, shape=20, tail=1e-5, max_cut=1e-3)
    matrix = np.array([[0, 1, 0.5], [-1, 0, 0.2], [-0.5, -0.2, 0]])
    density = grid.density(target)
    split = helmholtz(density, lambda x, t: x + target.score(x) @ matrix.T)
    mass = (density.values * grid.cell_volume)[..., None]
    error = np.sqrt(np.sum(mass * (split.gradient.values - grid.points()) ** 2))
    assert error < 0.02  # of fields of size 2: what the walls, which cut off 1e-5, let through, and coarse cells


def test_helmholtz_refuses_a_field_that_is_not_finite():
    density = wfr.Grid.covering(TARGET, shape=40).density(TARGET)
    with pytest.raises(ValueError, match="the field is nan at x"):
        helmholtz(density, lambda x, t: np.where(x > 0, np.nan, x))
    with pytest.raises(ValueError, match="one vector per point"):
        helmholtz(density, lambda x, t: x[..., 0])
