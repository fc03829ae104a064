"""Distances between densities."""

import math

import numpy as np
import pytest

import wfr_pde as wfr
from wfr_pde import metrics

GRID = wfr.Grid(-9, 9, 200)
A, B = wfr.Gaussian(-0.5, 1.0), wfr.Gaussian(0.5, 1.0)


def test_closed_forms_of_shifted_gaussians():
    a, b = GRID.density(A), GRID.density(B)
    # TV of N(-d/2, 1) and N(d/2, 1) is erf(d / sqrt(8)); |a - b| has a kink, so that the sum errs by O(dx²) = 3e-4
    assert metrics.total_variation(a, b) == pytest.approx(math.erf(1 / math.sqrt(8)), abs=3e-4)
    assert metrics.l1(a, b) == 2 * metrics.total_variation(a, b)
    # H² = 1 - exp(-d²/8), smooth: to rounding, but for the mass 2e-17 outside
    assert metrics.hellinger(a, b) == pytest.approx(math.sqrt(-math.expm1(-1 / 8)), rel=1e-13)


@pytest.mark.parametrize("metric", [metrics.l1, metrics.total_variation, metrics.hellinger])
def test_is_a_distance(metric):
    a, b, c = (GRID.density(wfr.Gaussian(m, v)) for m, v in ((-1, 0.3), (0.4, 1.0), (2, 0.5)))
    assert metric(a, a) == 0
    assert metric(a, b) == pytest.approx(metric(b, a), rel=1e-14)
    assert metric(a, c) <= metric(a, b) + metric(b, c)


def test_largest_values():
    grid = wfr.Grid(-30, 30, 1000)
    a, b = (grid.density(wfr.Gaussian(m, 0.1)) for m in (-25, 25))
    assert metrics.l1(a, b) == pytest.approx(2, rel=1e-12)
    assert metrics.hellinger(a, b) == pytest.approx(1, rel=1e-12)


def test_small_differences_keep_their_digits():
    d = 1e-9  # the difference of the logarithms is known to 1e-16 / d
    assert metrics.hellinger(GRID.density(A), GRID.density(wfr.Gaussian(-0.5 + d, 1.0))) == pytest.approx(
        d / math.sqrt(8), rel=1e-5
    )


@pytest.mark.parametrize(
    ("other", "what"),
    [
        (wfr.Grid(-9, 9, 220), r"shape \(200,\) and \(220,\)"),
        (wfr.Grid(-9, 9.1, 200), r"upper \(9.0,\) and \(9.1,\)"),
        (wfr.Grid(-9, 9, 200, boundary="periodic"), "boundary"),
        (wfr.Grid(-9, 9, 200, names=["v"]), "names"),
    ],
)
def test_different_grids_are_refused(other, what):
    with pytest.raises(ValueError, match=what):
        metrics.l1(GRID.density(A), other.density(A))


def test_other_types_are_refused_with_the_remedy():
    with pytest.raises(TypeError, match="other must be a Density, got ndarray; .*from_dataset"):
        metrics.l1(GRID.density(A), np.zeros(200))
