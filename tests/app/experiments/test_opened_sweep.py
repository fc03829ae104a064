"""All variables of a sweep over its knobs, ranges of knobs, and sweeps without figures."""

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from wfr_pde.app.experiments import runner
from wfr_pde.app.experiments import sweep as sw
from wfr_pde.app.experiments.knobs import Knob
from wfr_pde.app.experiments.loading import load_experiment
from wfr_pde.app.experiments.opened_sweep import open_sweep

CURVES = '''"""Curves."""
import numpy as np
import xarray as xr

QUICK = {"n": 5, "t_end": 0.5}
CHECKS = {}


def run(n=8, t_end=1.0, rate=1.0, size=3):
    if rate == 4:
        raise ValueError("too fast")
    t = np.linspace(0, t_end, n)
    ds = xr.Dataset({"decay": ("t", np.exp(-rate * t)), "half": np.log(2) / rate}, {"t": t})
    return ds.assign(ragged=("k", np.zeros(size)), label=("side", ["left", f"right {rate:g}"]))


def figure(ds):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2, 1))
    figure.subplots().plot(ds.t, ds.decay)
    return figure
'''


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "curves.py").write_text(CURVES)
    return tmp_path


def swept(knobs, **options):
    plan = sw.plan("curves", knobs)
    with ThreadPoolExecutor(1) as pool:
        sw.sweep(plan, pool, progress=False, **options)
    return plan


def test_curves_over_the_knobs():
    plan = swept({"rate": [1, 2, 4], "size": [3, 5]}, figures=False)
    ds = open_sweep(plan.directory)
    assert ds["decay"].dims == ("rate", "size", "t")
    assert ds["t"].values.tolist() == np.linspace(0, 1, 8).tolist()
    np.testing.assert_array_equal(ds["decay"].sel(rate=2, size=5), np.exp(-2 * np.linspace(0, 1, 8)))
    assert np.isnan(ds["decay"].sel(rate=4)).all()  # a cell that failed
    assert ds["half"].sel(rate=2, size=3) == np.log(2) / 2
    assert ds["label"].sel(rate=2, size=5).values.tolist() == ["left", "right 2"]
    assert json.loads(ds.attrs["left_out"]) == ["ragged"]
    table = ds[["decay", "half"]].to_dataframe().reset_index()
    assert len(table) == 3 * 2 * 8
    assert set(table.columns) >= {"rate", "size", "t", "decay", "half"}


def test_coordinates_that_differ_are_variables():
    ds = open_sweep(swept({"t_end": [1, 2]}, figures=False).directory)
    assert "t" not in ds.coords
    assert ds["t_of_cell"].dims == ("t_end", "t")
    assert ds["t_of_cell"].sel(t_end=2).values.tolist() == np.linspace(0, 2, 8).tolist()


def test_no_sweep(folder):
    with pytest.raises(FileNotFoundError, match="holds no sweep"):
        open_sweep(folder)


def test_no_figures_until_they_are_drawn():
    plan = swept({"rate": [1, 2]}, figures=False)
    cells = [plan.experiment.directory(cell, plan.out) for cell in plan.cells]
    assert [sorted(path.name for path in cell.iterdir() if path.name[0] != ".") for cell in cells] == [
        ["data.nc", "run.json"]
    ] * 2
    assert all(json.loads((cell / "run.json").read_text())["status"] == "done" for cell in cells)
    before = [(cell / "data.nc").stat().st_mtime_ns for cell in cells]
    swept({"rate": [1, 2]})  # nothing is done again
    assert [(cell / "data.nc").stat().st_mtime_ns for cell in cells] == before
    runner.redraw(plan.experiment, cells[0])
    assert (cells[0] / "figure.png").exists()


@pytest.mark.parametrize(
    ("default", "text", "values"),
    [
        (1.0, "0:1:5", (0.0, 0.25, 0.5, 0.75, 1.0)),
        (1.0, "0:1:11", tuple(k / 10 for k in range(11))),  # as they are written, not 0.30000000000000004
        (1.0, "1:1000:4:log", (1.0, 10.0, 100.0, 1000.0)),
        (1.0, "1:0:3,5", (1.0, 0.5, 0.0, 5.0)),
        (1, "10:50:5", (10, 20, 30, 40, 50)),
        ("a", "a:b:3", ("a:b:3",)),
    ],
)
def test_ranges(default, text, values):
    found = Knob("k", default, type(default)).parse_several(text)
    assert found == values
    assert [type(value) for value in found] == [type(default)] * len(values)


@pytest.mark.parametrize(
    ("default", "text"),
    [(1.0, "0:1"), (1.0, "0:1:1"), (1.0, "0:1:-3"), (1.0, "0:1:2.5"), (1.0, "0:1:3:log"), (1.0, "1:2:3:lin"),
     (1.0, "0:inf:3"), (1.0, "0:nan:3"), (1.0, "a:b:3"), (1.0, "0:1:1000000000"), (1, "0:1:3"), (1.0, "::")],
)  # fmt: skip
def test_wrong_ranges(default, text):
    with pytest.raises(ValueError, match=r"--k takes a range as start:stop:number, such as 0:1:5, or 1:1000:4:log"):
        Knob("k", default, type(default)).parse_several(text)


def test_a_range_that_has_a_value_twice():
    with pytest.raises(ValueError, match="twice"):
        Knob("k", 1.0, float).parse_several("1:1:3")


def test_quick_knobs():
    experiment = load_experiment("curves")
    for knobs, quick in (({}, True), ({"n": 6}, True), ({"rate": 3}, True), ({"t_end": 1.0}, False)):
        assert experiment.is_quick(experiment.values(knobs, quick=True)) == quick
    for knobs in ({}, {"n": 5}, {"rate": 3}):
        assert not experiment.is_quick(experiment.values(knobs))


@pytest.mark.parametrize(
    ("out", "words"),
    [("results", ""), ("./results/", ""), ("else where", " '--out=else where'"), ("deep/er", " --out=deep/er")],
)
def test_the_command_names_where_results_go(folder, out, words):
    for where in (out, folder / out):
        result = runner.run_experiment("curves", {"n": 4}, out=where, figures=False)
        assert result.content()["command"] == f"wfr-pde run curves --n=4{words}"
        assert sw.plan("curves", {"n": [4, 5]}, out=where).command == f"wfr-pde sweep curves --n=4,5{words}"


def test_a_folder_elsewhere_is_named_whole(tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    result = runner.run_experiment("curves", out=elsewhere, figures=False)
    assert result.content()["command"] == f"wfr-pde run curves --out={elsewhere}"
