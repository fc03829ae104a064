"""What `solve` refuses before it begins."""

import math

import numpy as np
import pytest
from double_well_run import FLOW, GRID, START, TARGET

import wfr_pde as wfr
from wfr_pde import diagnostics
from wfr_pde.integrate.run import prepare


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"problem": "gauss"}, TypeError, "must be a Target or an Energy, or None for a flow that needs none, got str"),
        ({"flow": "strang"}, TypeError, "flow must be a Flow such as"),
        ({"start": START}, TypeError, r"put a distribution on a grid with grid.density\(distribution\)"),
        ({"t": [0, 0]}, ValueError, "increasing save times"),
        ({"t": []}, ValueError, "increasing save times"),
        ({"t": 5.0}, ValueError, r"at least two save times.*for the state 5 later write t=\[0, 5\]"),
        ({"keep": [math.nan]}, ValueError, "not among the save times"),
        ({"record": "kl"}, TypeError, "record takes functions .*got the text 'kl': give wfr.diagnostics.kl$"),
        ({"record": ["KL"]}, TypeError, "functions, not names, and got the text 'KL': give wfr.diagnostics.kl$"),
        ({"record": ["nonsense"]}, TypeError, "give one of wfr.diagnostics: chi_squared, .*, kl, .*mode_masses"),
        ({"record": {"kl": "mas"}}, TypeError, r"record\['kl'\] takes functions, not names.*give wfr.diagnostics.mass"),
        ({"record": [None]}, TypeError, "record takes functions .*, but None is neither a function nor an Energy"),
        ({"record": [diagnostics]}, TypeError, "record takes functions .*, but <module 'wfr_pde.*neither a function"),
        ({"record": None}, TypeError, r"got None: leave it out, or give \(\)"),
        ({"flow": wfr.Extrapolated(FLOW, 4), "t": [0, 2], "dt": 1.0}, ValueError,
         r"dt=1 is too large .*converges only for dt <= 0\.\d+ .*smaller dt, or the flow without Extrapolated"),
        ({"dt": 1e-25}, ValueError, "more than 1e\\+12 steps: use a larger dt"),
        ({"keep": None}, ValueError, "got None"),
        ({"record": [wfr.KL]}, TypeError, "KL is a class: give an object"),
        ({"record": {1: len}}, ValueError, "a record needs a name of letters"),
        ({"record": {"a/b": len}}, ValueError, "a record needs a name of letters"),
        ({"record": 3}, TypeError, "record takes functions"),
        ({"record": {"x": lambda s, e: np.ones(3)}}, ValueError, "a record cannot be named 'x'"),
        ({"record": [diagnostics.mode_masses([0, 1]), diagnostics.mode_masses([0, 1, 2], name="b")]}, ValueError,
         "do not fit into one Dataset"),
        ({"start": np.zeros((5, 1))}, TypeError, "FisherRao moves Density, not Particles"),
        ({"t": [0, math.nan]}, ValueError, "finite, increasing save times"),
        ({"t": [[0, 1]]}, ValueError, "increasing save times"),
        ({"dt": 0}, ValueError, "dt must be positive, got 0"),
        ({"dt": math.nan}, ValueError, "dt must be finite, got nan"),
        ({"dt": 1e-4}, ValueError, r"dt=0.0001 is too small .*larger dt \(at least 0.0033.*a finer grid \(about 5.77"),
        ({"t": [0, 0.1, 0.1001]}, ValueError, r"a step of 0.0001, but .*save times further apart \(at least 0.0033"),
        ({"keep": "some"}, ValueError, '"all", "last" or some of the save times'),
        ({"keep": [0.07]}, ValueError, "the time 0.07, which is not among the save times"),
        ({"record": [lambda s, e: 0]}, ValueError, "has no name: give a mapping"),
        ({"record": [wfr.KL(TARGET), wfr.KL(START)]}, ValueError, "two records are named 'kl'"),
        ({"record": {"a": 3}}, TypeError, "neither a function"),
        ({"record": {"t": len}}, ValueError, "cannot be named 't'"),
    ],
)  # fmt: skip
def test_wrong_input(start, change, kind, message):
    arguments = {"problem": TARGET, "flow": FLOW, "start": start, "t": [0, 0.1], "dt": 0.05} | change
    with pytest.raises(kind, match=message):
        wfr.solve(**arguments)


def test_start_that_is_not_a_density(start):
    with pytest.raises(ValueError, match=r"has a mass of 2.71.*, not 1: use start.normalised"):
        wfr.solve(TARGET, FLOW, wfr.Density(GRID, start.log_values + 1), [0, 0.1], 0.05)
    values = start.log_values.copy()
    values[3] = -np.inf
    with pytest.raises(ValueError, match="a density of zero has no logarithm"):
        wfr.solve(TARGET, FLOW, wfr.Density(GRID, values), [0, 0.1], 0.05)


def test_target_that_does_not_fit_the_grid(start):
    with pytest.raises(ValueError, match="the target .* is 2-dimensional"):
        wfr.solve(wfr.Banana(), FLOW, start, [0, 0.1], 0.05)
    with pytest.raises(ValueError, match="cuts off .* of the mass of the target"):
        wfr.solve(wfr.Gaussian(0, 4), FLOW, start, [0, 0.1], 0.05)


def test_a_flow_is_checked_once(start):
    calls = []

    class Counting(wfr.FisherRao):
        def check(self, energy, like):
            calls.append(energy)
            super().check(energy, like)

    prepare(TARGET, Counting(), start, [0, 0.1], 0.1)
    assert len(calls) == 1


RECORDED = {
    "complex": (1j, "complex"),
    "object": (object(), "array of real numbers"),
    "mapping": ({"units": 2}, "array of real numbers"),
    "text": ("a", "text"),
    "date": (np.datetime64("2020-01-01"), "date"),
    "None": (None, "array of real numbers"),
    "too large": (10**400, "too large for double precision"),
    "missing": (np.ma.masked, "masked"),
}


@pytest.mark.parametrize("label", RECORDED)
def test_records_are_numbers(label):
    value, message = RECORDED[label]
    record = {"mine": lambda state, energy: value}
    with pytest.raises(ValueError, match=f"the record 'mine' at t=0 .*{message}"):
        wfr.solve(TARGET, wfr.FisherRao(), GRID.density(START), [0, 1], 1, record=record)


def test_records_keep_their_shape_and_their_kind():
    lengths = iter([2, 2, 3])
    record = {"mine": lambda state, energy: np.zeros(next(lengths)), "flag": lambda state, energy: True}
    with pytest.raises(ValueError, match=r"the record 'mine' at t=2 has the shape \(3,\), but had \(2,\) before"):
        wfr.solve(TARGET, wfr.FisherRao(), GRID.density(START), [0, 1, 2], 1, record=record)
    ds = wfr.solve(TARGET, wfr.FisherRao(), GRID.density(START), [0, 1], 1, record={"flag": lambda state, energy: True})
    assert ds["flag"].dtype == bool


@pytest.mark.parametrize("name", ["x", "axis", "axis_2"])
def test_records_have_no_names_of_coordinates(name, tmp_path):
    for out in (None, tmp_path / "run"):
        with pytest.raises(ValueError, match=f"a record cannot be named '{name}', which is a coordinate"):
            wfr.solve(
                *(TARGET, wfr.FisherRao(), GRID.density(START), [0, 1], 1), record={name: lambda s, e: 1.0}, out=out
            )


class Elsewhere:
    """An array of another library, which NumPy reads."""

    shape = (2, 1)

    def __array__(self, dtype=None, copy=None):
        return np.zeros((2, 1))


def test_arrays_of_other_libraries_are_positions():
    ds = wfr.solve(TARGET, wfr.samplers.Langevin(), Elsewhere(), [0, 0.1], 0.1, rng=0)
    assert ds["position"].shape == (2, 2, 1)
