"""The integral of a density of points: made once, and as far as rounding lets it be followed."""

import numpy as np
import pytest

from wfr_pde.space.axis import Axis
from wfr_pde.space.panels import shared_out


def test_a_noisy_density_of_points_is_taken_as_it_is():
    """In single precision no polynomial fits to rounding: the search for panels ends nevertheless."""
    axis = Axis.graded("x", -1, 1, 50, lambda x: (1 + np.sin(x) ** 2).astype(np.float32))
    exact = Axis.graded("x", -1, 1, 50, lambda x: 1 + np.sin(x) ** 2)
    assert axis.edges == pytest.approx(exact.edges, abs=1e-7)


def test_the_integral_of_a_density_is_made_once():
    asked = []

    def density(x):
        asked.append(np.size(x))
        return 1 / np.sqrt(0.01**2 + x**2)

    Axis.graded("x", -3.0, 4.0, 100, density)
    once = sum(asked)
    for n in (120, 150, 200):
        Axis.graded("x", -3.0, 4.0, n, density)
    assert sum(asked) == once + 120 + 150 + 200  # at the centres alone


def test_shares_between_ends():
    ends = np.array([-3.0, -0.2, 0.001, 1.5, 4.0])
    found = shared_out(lambda x: 1 / np.sqrt(0.01**2 + x**2), ends)
    np.testing.assert_allclose(found, np.diff(np.arcsinh(ends / 0.01)), rtol=1e-13)


def test_rounding_of_far_coordinates_is_not_followed():
    asked = []

    def density(x):
        asked.append(np.size(x))
        return 1 / np.sqrt(1e-5**2 + (0.2 * (x - 1e6)) ** 2)

    Axis.graded("x", 1e6 - 3.0, 1e6 + 4.0, 400, density)
    assert sum(asked) < 16 * 2000  # was 16 * 131072
