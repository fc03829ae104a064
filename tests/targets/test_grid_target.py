"""A stored frame, or a density, as a target."""

import numpy as np
import pytest

import wfr_pde as wfr


@pytest.mark.parametrize("as_what", ["frame", "density"])
def test_the_kinks_of_a_stored_frame_stay_where_they_are(as_what):
    """x²/2 + 1.3 |x - 0.3| under reaction alone: what comes after half of the time is what comes after all of it."""
    target, start = wfr.Potential("x**2/2 + 1.3*abs(x - 0.3)"), wfr.Gaussian(-0.5, 0.3)
    whole = wfr.ground_truth(target, start, [0, 0.5, 1.2], rtol=1e-5, transport_rate=0.0)
    frame = whole.isel(t=1)
    middle = wfr.GridTarget(frame if as_what == "frame" else wfr.Density.from_dataset(frame))
    assert middle.breaks([-5], [5]).places[0].tolist() == [0.3]
    share = np.exp(-0.5)
    x = np.linspace(-3, 3, 301)
    known = -share * (x + 0.5) ** 2 / 0.6 - (1 - share) * (x**2 / 2 + 1.3 * np.abs(x - 0.3))
    apart = middle.log_density(x[:, None]) - known
    assert np.ptp(apart) < 1e-6
    after = wfr.ground_truth(target, middle, [0.5, 1.2], rtol=1e-5, transport_rate=0.0)
    assert abs(after.kl[1] - whole.kl[2]) <= after.error_kl[1] + whole.error_kl[2] + 1e-7


def test_a_stored_frame_with_a_singular_wall_goes_on_as_the_run_does():
    """Gamma densities: cells are equal in a root of the distance, and densities infinite or zero at the wall."""
    target, start = wfr.Potential("x - 0.5*log(x)"), wfr.Potential("2*x - 1.5*log(x)")
    options = {"rtol": 1e-5, "transport_rate": 0.0, "box": (0, 50), "max_cut": 1}
    whole = wfr.ground_truth(target, start, [0, 0.5, 1.2], **options)
    after = wfr.ground_truth(target, wfr.GridTarget(whole.isel(t=1)), [0.5, 1.2], **options)
    apart = np.abs(after.kl.values - whole.kl.values[1:])
    assert np.all(apart <= after.error_kl.values + whole.error_kl.values[1:] + 1e-7)


@pytest.mark.parametrize(("lower", "upper"), [(0, 5e-324), (1, 1 + 3e-16), (-1.7e308, 1.7e308)])
def test_cells_without_widths(lower, upper):
    with pytest.raises(ValueError, match="the cells from lower to upper along axis 0, .* have no widths"):
        wfr.GridTarget([1.0, 2.0, 3.0], lower, upper)
