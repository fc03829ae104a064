"""Running experiments: what is stored and re-used, checks, figures."""

import json
import sys

import numpy as np
import pytest
import xarray as xr

from wfr_pde.app.experiments.loading import load_experiment
from wfr_pde.app.experiments.runner import redraw, run_experiment
from wfr_pde.storage import files, locks


def test_what_a_run_leaves(folder):
    result = run_experiment("parabola", {"t_end": 1.0}, quick=True)
    assert result.passed
    assert not result.reused
    assert sorted(path.name for path in result.directory.iterdir()) == [
        "data.nc", "figure.csv", "figure.pdf", "figure.png", "run.json",
    ]  # fmt: skip
    assert result.directory.parent == folder.parent.joinpath("results", "parabola").relative_to(folder.parent)
    with xr.open_dataset(result.directory / "data.nc") as ds:
        assert ds.sizes["t"] == 4
        assert ds.attrs["note"] == "mine"
        assert json.loads(ds.attrs["knobs"])["n"] == 4
        assert all(isinstance(value, str | int | float | np.number) for value in ds.attrs.values())
    content = json.loads((result.directory / "run.json").read_text())
    assert content["status"] == "done"
    assert content["knobs"]["rates"] == [1.0, 2.0]
    assert content["command"] == "wfr-pde run parabola --n=4"
    assert content["checks"] == {"end": {"value": 1.0, "expected": 1.0, "tolerance": 1e-12, "passed": True}}
    assert {"versions", "commit", "source_hash", "wall_time", "source"} <= set(content)


def test_data_are_computed_once(folder, times_run):
    first = run_experiment("parabola")
    (first.directory / "figure.png").unlink()
    again = run_experiment("parabola")
    assert (first.reused, again.reused) == (False, True)
    assert times_run() == 1
    assert (first.directory / "figure.png").exists()
    assert again.data.identical(first.data)
    run_experiment("parabola", force=True)
    assert times_run() == 2
    run_experiment("parabola", {"n": 9})
    assert times_run() == 3


@pytest.mark.parametrize(
    ("old", "new", "runs"),
    [
        ("t**2", "t**2 + 0", 2),
        ("import numpy as np", "import numpy as np\nX = 1", 2),
        ("figsize=(2, 1)", "figsize=(3, 1)", 1),  # a figure never computes data again
        ("(1.0, 1e-12)", "(1.0, 1e-6)", 1),
        ("Its second paragraph.", "Said otherwise.", 1),
        ("def run(", "# a comment\ndef run(", 1),
    ],
)
def test_only_what_the_data_depend_on_computes_them_again(folder, times_run, edited, old, new, runs):
    run_experiment("parabola")
    edited(old, new)
    run_experiment("parabola")
    assert times_run() == runs


def test_another_version_computes_again(folder, times_run, monkeypatch):
    run_experiment("parabola")
    monkeypatch.setattr("wfr_pde.app.experiments.experiment.__version__", "99")
    run_experiment("parabola")
    assert times_run() == 2


def test_stored_data_of_other_code_of_the_package_are_taken_and_known_as_such(folder, times_run, monkeypatch):
    first = run_experiment("parabola")
    assert first.other_hashes == ()
    monkeypatch.setattr("wfr_pde.storage.source_hash.source_hash", lambda: "0" * 64)
    again = run_experiment("parabola")
    assert (again.reused, times_run()) == (True, 1)
    assert again.other_hashes == (first.data.attrs["source_hash"],)
    assert run_experiment("parabola", force=True).other_hashes == ()


def test_same_data_same_bytes_of_the_figures(folder):
    result = run_experiment("parabola")
    names = ("figure.png", "figure.pdf", "figure.csv")
    before = [(result.directory / name).read_bytes() for name in names]
    run_experiment("parabola")
    assert before == [(result.directory / name).read_bytes() for name in names]


def test_the_csv_has_what_was_drawn(folder):
    result = run_experiment("parabola", quick=True)
    lines = (result.directory / "figure.csv").read_text().splitlines()
    assert lines[:2] == ["panel,kind,artist,label,part,x,y,value", "1,line,1,,1,0,0,"]
    assert len(lines) == 5


def test_redraw_computes_nothing(folder, times_run, edited):
    result = run_experiment("parabola")
    data = (result.directory / "data.nc").read_bytes()
    for name in ("figure.png", "figure.pdf", "figure.csv", "run.json"):
        (result.directory / name).unlink()
    edited("t**2", "t**3")  # older data are drawn, too
    again = redraw(load_experiment("parabola"), result.directory)
    assert times_run() == 1
    assert again.data.attrs["source"] != again.experiment.source
    assert (result.directory / "figure.csv").exists()
    content = json.loads((result.directory / "run.json").read_text())
    assert content["source"] == again.data.attrs["source"]
    assert content["knobs"]["n"] == 8
    assert (result.directory / "data.nc").read_bytes() == data
    with pytest.raises(FileNotFoundError, match=r"holds no data\.nc"):
        redraw(again.experiment, folder)


def test_done_says_whether_data_checks_and_figure_are_there(folder, edited):
    def done():
        loaded = load_experiment("parabola")
        return loaded.done(loaded.values({}))

    assert done() is None
    content = run_experiment("parabola").content()
    assert done() == json.loads(json.dumps(content))
    edited("(1.0, 1e-12)", "(1.0, 1e-6)")  # other claims
    assert done() is None
    edited("t**2", "t**2 + 0")
    assert done() is None


def test_one_process_writes_at_a_time(folder):
    result = run_experiment("parabola")
    with locks.locked(result.directory), pytest.raises(BlockingIOError, match="being written by another process"):
        run_experiment("parabola")
    run_experiment("parabola")


def test_a_figure_that_fails_leaves_the_data(folder, edited):
    edited("figure.subplots()", "figure.nonsense()")
    with pytest.raises(AttributeError, match="nonsense"):
        run_experiment("parabola")
    edited("figure.subplots()", "figure.subplots()")
    assert run_experiment("parabola").reused


def test_a_full_disk_leaves_no_half_file(folder, monkeypatch):
    def full(ds, path):
        raise OSError("No space left on device")

    monkeypatch.setattr(files, "write_dataset", full)
    with pytest.raises(OSError, match="No space left"):
        run_experiment("parabola")
    monkeypatch.undo()
    monkeypatch.chdir(folder.parent)
    [directory] = folder.parent.glob("results/parabola/*")
    assert [path.name for path in directory.iterdir()] == ["run.json"]
    assert json.loads((directory / "run.json").read_text())["status"] == "failed"
    assert not run_experiment("parabola").reused


def test_stored_data_that_cannot_be_read(folder):
    result = run_experiment("parabola")
    (result.directory / "data.nc").write_bytes(b"half a file")
    with pytest.raises(ValueError, match=r"data.nc cannot be read .* delete it or give --force"):
        run_experiment("parabola")
    assert run_experiment("parabola", force=True).passed


@pytest.mark.parametrize(
    ("claim", "value", "passed"),
    [
        ("(1.0, 0.0)", "1.0", True),
        ("(1.0, 0.1)", "1.11", False),
        ("(1.0, 0.1)", "np.nan", False),
        ("(1.0, np.inf)", "np.nan", False),
        ("(0, 1e9)", "np.inf", False),
    ],
)
def test_checks(folder, edited, claim, value, passed):
    path = edited("(1.0, 1e-12)", claim)
    path.write_text(path.read_text().replace("values[-1]}", f"{value}}}"))
    result = run_experiment("parabola")
    assert result.passed is passed
    content = json.loads((result.directory / "run.json").read_text())
    assert content["passed"] is passed


@pytest.mark.parametrize(
    ("old", "new", "kind", "message"),
    [
        ('"end": values', '"start": values', ValueError, "names 'end', .* those are: start"),
        ('"end": values[-1]', '"end": values', ValueError, "not a scalar variable .* none"),
        ("return xr.Dataset", "return t\n    xr.Dataset", TypeError, "must return an xarray.Dataset"),
        ("    return figure", "    return 3", TypeError, "must return a matplotlib Figure, got int"),
        ('{"note": "mine"}', '{"note": {}}', TypeError, "'note' of the Dataset is {}, .* json.dumps"),
        ('{"units": "1"}', '{"units": True}', TypeError, "attribute 'units' of y is True"),
    ],
)  # fmt: skip
def test_runs_that_do_not_keep_to_the_form(folder, edited, old, new, kind, message):
    edited(old, new)
    with pytest.raises(kind, match=message):
        run_experiment("parabola")


def test_pyplot_keeps_nothing(folder, edited):
    new = "import matplotlib.pyplot as plt\n    figure = plt.figure()"
    edited("figure = Figure(figsize=(2, 1))", new)
    run_experiment("parabola")
    assert sys.modules["matplotlib.pyplot"].get_fignums() == []


def test_out_is_the_root_of_the_results(folder, tmp_path):
    result = run_experiment("parabola", out=tmp_path / "elsewhere")
    assert result.directory.is_relative_to(tmp_path / "elsewhere" / "parabola")
    assert not (tmp_path / "results").exists()
