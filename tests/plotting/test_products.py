"""Figures of laws in any dimension: what they show is the law."""

import numpy as np
import pytest
from product_trees import small_tree

import wfr_pde as wfr
from wfr_pde.plotting.products import _frame


def runs():
    start = wfr.Product([wfr.Gaussian([0.5, 0], 0.5), wfr.Gaussian([0, 0, 0], 0.5)])
    target = wfr.Gaussian(np.zeros(5), 1.0)
    return wfr.solve(target, wfr.samplers.Langevin(), start.sample(100, 0), [0, 0.1, 0.2], 0.05, rng=0)


def test_marginals_of_chosen_coordinates_with_particles():
    figure = wfr.plotting.product_marginals(small_tree(), 0.1, [0, 1, 3], runs())
    seen = [ax for ax in figure.axes if ax.get_visible()]
    assert len(seen) == 6
    assert [ax.get_xlabel() for ax in figure.axes[6:]] == ["$y_{0}$", "$y_{1}$", "$y_{3}$"]
    assert len(figure.axes[3].collections[-1].get_offsets()) == 100
    with pytest.raises(ValueError, match="the number of a coordinate, of which there are 5"):
        wfr.plotting.product_marginals(small_tree(), coordinates=[5])


@pytest.mark.parametrize("pair", [(0, 1), (2, 4)])
def test_pairs_in_one_block_are_densities_of_mass_one(pair):
    law = wfr.Trajectory(small_tree()).at(0.1)
    frame = _frame(law, pair)
    x, y = (frame[name].values for name in frame.dims)
    density = np.exp(frame.values)
    assert np.trapezoid(np.trapezoid(density, y), x) == pytest.approx(1, abs=2e-3)
    assert np.trapezoid(density @ np.ones(len(y)) * (y[1] - y[0]) * x, x) == pytest.approx(
        law.mean()[pair[0]], abs=1e-3
    )


def test_a_radial_profile_has_a_curve_per_time():
    figure = wfr.plotting.radial_profile(small_tree(), [0.0, 0.2], runs=runs())
    (ax,) = figure.axes
    assert len(ax.lines) == 2
    r, density = ax.lines[0].get_data()
    variance = 0.5
    assert density == pytest.approx(
        np.sqrt(2 / np.pi) * r**2 * np.exp(-(r**2) / 2 / variance) / variance**1.5, abs=2e-3
    )
    with pytest.raises(ValueError, match="factor must be the number of a radial factor"):
        wfr.plotting.radial_profile(small_tree(), factor=0)
