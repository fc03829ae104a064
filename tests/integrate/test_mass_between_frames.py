"""The mass of a density between the frames of a run, where sums over the cells are not one: kinks and walls."""

import numpy as np
import pytest

import wfr_pde as wfr

EVEN, FAR_APART = [0.0, 1.0, 2.5, 4.5], [0.0, 4.41, 4.45, 4.49]


def linear(values):
    """A density on (-6, 6) by values at the middles of a few cells, as arrays of users are."""
    return wfr.GridTarget(np.array(values), -6.0, 6.0)


CASES = [  # target, start
    ([2.23, 0.4, 1.9, 0.7, 3.1], [1.2, 4.3, 1.1, 0.9, 1.1]),
    ([4.5, 1.9, 0.7, 0.6, 1.6], [0.5, 0.4, 1.6, 11.7, 0.8, 0.6, 0.3]),
]


def panels(*laws):
    """Nodes and weights of Gauss rules between all knots of laws by cells of (-6, 6), and all over it."""
    edges = np.unique(np.concatenate([np.linspace(-6, 6, 401), *(np.linspace(-6, 6, 2 * n + 1) for n in laws)]))
    nodes, weights = np.polynomial.legendre.leggauss(6)
    half = np.diff(edges)[:, None] / 2
    return (edges[:-1, None] + half * (1 + nodes)).ravel()[:, None], (half * weights).ravel()


@pytest.mark.parametrize("times", [EVEN, FAR_APART], ids=["even", "far apart"])
@pytest.mark.parametrize(("target", "start"), CASES)
def test_what_is_not_known_of_the_mass_is_in_the_error(target, start, times):
    """Under reaction the density at every time is known: start^s target^(1-s) to mass one, s = e^-t."""
    x, weights = panels(len(target), len(start))
    target, start = linear(target), linear(start)
    path = wfr.Trajectory(wfr.ground_truth(target, start, times, transport_rate=0, rtol=1e-3), target)
    for t in np.linspace(0.1, 4.4, 12):
        s = np.exp(-t)
        known = np.exp(s * start.log_density(x) + (1 - s) * target.log_density(x))
        known /= weights @ known
        found = np.exp(path.log_prob(x, float(t)))
        assert abs(weights @ found - 1) <= path.error_l1(float(t))
        assert weights @ np.abs(found - known) <= path.error_l1(float(t))
