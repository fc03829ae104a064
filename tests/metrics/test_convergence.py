"""Tables of errors and observed orders."""

import math

import numpy as np
import pytest

import wfr_pde as wfr
from wfr_pde.metrics.convergence import convergence_table

GRID = wfr.Grid(-9, 9, 120)


def shifted(shift):
    return GRID.density(wfr.Gaussian(shift, 1.0))


def distance(reference, other):
    """The difference of the means: exactly linear in the shift."""
    return abs(float((reference.mean() - other.mean())[0]))


@pytest.mark.parametrize("p", [1, 2, 4])
def test_orders_against_a_reference(p):
    values = np.array([0.4, 0.2, 0.13, 0.1])
    table = convergence_table(lambda h: shifted(h**p), "dt", values, reference=shifted(0.0), metric=distance)
    assert table["error"].values == pytest.approx(values**p, rel=1e-9)
    assert math.isnan(table["order"][0])
    assert table["order"].values[1:] == pytest.approx([p] * 3, rel=1e-9)
    assert np.array_equal(table["dt"], values)


def test_orders_of_a_number_of_cells_are_positive():
    table = convergence_table(lambda n: shifted(n**-2.0), "n", [4, 8, 12], reference=shifted(0.0), metric=distance)
    assert table["order"].values[1:] == pytest.approx([2, 2], rel=1e-9)
    assert table["n"].dtype.kind == "i"


@pytest.mark.parametrize(
    "values", [[0.8, 0.4, 0.2, 0.1], [0.8, 0.5, 0.4, 0.1], [2, 3, 8, 9]], ids=["constant ratio", "uneven", "rising"]
)
@pytest.mark.parametrize("p", [1, 2])
def test_orders_of_successive_differences(values, p):
    sign = 1 if values[0] > values[1] else -1
    table = convergence_table(lambda h: shifted(float(h) ** (sign * p)), "h", values, metric=distance)
    steps = np.array(values, dtype=float) ** (sign * p)
    assert table["error"].values[:-1] == pytest.approx(np.abs(np.diff(steps)), rel=1e-9)
    assert np.isnan(table["error"].values[-1])
    assert table["order"].values[1:-1] == pytest.approx([p] * 2, rel=1e-7)
    assert np.isnan(table["order"].values[[0, -1]]).all()


def test_runs_of_solve():
    target = wfr.Gaussian(0, 1)
    flow = wfr.Strang(wfr.FisherRao(), wfr.SinkhornKernel())

    def run(dt):
        return wfr.solve(target, flow, shifted(-1.0), [0, 1.2], dt)

    dt = 0.3 / 2 ** np.arange(3)
    truth = wfr.solve(target, wfr.Extrapolated(flow, 8), shifted(-1.0), [0, 1.2], 0.2)
    table = convergence_table(run, "dt", dt, reference=truth)
    assert table["order"].values[-1] == pytest.approx(2, abs=0.1)  # O(dt²) = 0.02
    assert (table["wall_time"] > 0).all()
    assert table.attrs["metric"] == "l1"
    # one reference run less: the same order
    assert convergence_table(run, "dt", dt)["order"].values[1] == pytest.approx(2, abs=0.1)


def test_errors_of_zero_have_no_order():
    table = convergence_table(lambda h: shifted(0.0), "dt", [0.4, 0.2, 0.1], metric=distance)
    assert table["error"].values[:2].tolist() == [0, 0]
    assert np.isnan(table["order"]).all()


@pytest.mark.parametrize("values", [[], [0.1, -0.1], [0.1, 0.1], [0.1, 0.3, 0.2], [math.inf, 1.0], 0.1])
def test_bad_values(values):
    with pytest.raises(ValueError, match="the values of dt"):
        convergence_table(shifted, "dt", values)


def test_the_name_of_a_metric_is_refused_with_the_metric():
    with pytest.raises(TypeError, match=r"got the text 'l1': give wfr\.metrics\.l1$"):
        convergence_table(shifted, "dt", [0.1], metric="l1")


def test_bad_knob():
    with pytest.raises(ValueError, match="cannot be named 'error'"):
        convergence_table(shifted, "error", [0.1])


@pytest.mark.parametrize(
    ("flow", "order"), [(wfr.FiniteVolume(), 2), (wfr.Extrapolated(wfr.FiniteVolume(), 4, "dx"), 4)], ids=["2", "4"]
)
def test_orders_in_the_number_of_graded_cells(flow, order):
    """Grids of different cells have no common distance; each can be held against the closed form on its own."""
    target, start = wfr.Gaussian(0, 1.0), wfr.Gaussian(-1, 0.01)
    exact = wfr.exact.gaussian_flow(target, start, 0.1, 1.0, 0.0)

    def run(n):
        grid = wfr.Grid.covering(target, start, shape=n, graded=True)
        return wfr.solve(target, flow, grid.density(start), [0, 0.1], 0.1)

    def to_exact(reference, other):
        return wfr.metrics.l1(other.grid.density(exact), other)

    known = wfr.Grid.covering(exact, shape=64).density(exact)
    table = convergence_table(run, "n", [160, 240, 360], reference=known, metric=to_exact)
    assert table["order"].values[1:] == pytest.approx([order] * 2, abs=0.3)
    with pytest.raises(ValueError, match=r"different grids: shape \(240,\) and \(160,\)"):
        convergence_table(run, "n", [160, 240])
