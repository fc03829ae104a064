"""Experiments: what a file must hold, knobs and their types, what is stored and re-used, checks."""

import json
import sys

import numpy as np
import pytest
import xarray as xr

from wfr_pde.app.experiments import runner as ex
from wfr_pde.storage import files, locks

GOOD = '''"""A parabola and its end.

Its second paragraph.
"""
from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import xarray as xr

QUICK = {"n": 4}
CHECKS = {"end": (1.0, 1e-12)}


def run(n=8, t_end=1.0, shape="square", rates=(1.0, 2), sizes=(1, 2), loud=False, tau: float = 2):
    with open(Path(__file__).with_suffix(".log"), "a") as log:
        log.write("run ")
    t = np.linspace(0, t_end, n)
    values = xr.DataArray(t**2, dims="t", attrs={"units": "1"})
    return xr.Dataset({"y": values, "end": values[-1]}, coords={"t": t}, attrs={"note": "mine"})


def figure(ds):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2, 1))
    figure.subplots().plot(ds.t, ds.y)
    return figure
'''


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A project with one experiment, as the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "parabola.py").write_text(GOOD)
    (tmp_path / "experiments" / "_shared.py").write_text("raise RuntimeError")
    return tmp_path / "experiments"


def edited(folder, old, new, name="parabola"):
    """The experiment with a change."""
    assert old in GOOD
    path = folder / f"{name}.py"
    path.write_text(GOOD.replace(old, new))
    return path


def times_run(folder):
    return (folder / "parabola.log").read_text().count("run")


# Finding and loading


def test_find_and_describe_without_running(folder):
    (folder / "broken.py").write_text("def (")
    (folder / "bare.py").write_text("raise RuntimeError")
    found = ex.find_experiments()
    assert list(found) == ["bare", "broken", "parabola"]
    assert ex.description(found["parabola"]) == "A parabola and its end."
    assert ex.description(found["broken"]).startswith("(cannot be read")
    assert ex.description(found["bare"]) == "(no docstring)"


def test_load_by_name_and_by_path(folder):
    for name in ("parabola", "experiments/parabola.py", folder / "parabola.py"):
        loaded = ex.load_experiment(name)
        assert loaded.name == "parabola"
        assert loaded.description == "A parabola and its end."
        assert loaded.quick == {"n": 4}
        assert loaded.checks == {"end": (1.0, 1e-12)}


def test_what_only_the_figure_uses_does_not_make_other_data(folder):
    """Nor the docstring, QUICK and CHECKS; what both use does."""
    path = folder / "parabola.py"
    text = GOOD.replace("plot(ds.t, ds.y)", "plot(ds.t, draw(ds.y))").replace("t**2", "other(t)") + (
        "\n\nWIDTH, POWER = 1, 2\n\n\ndef draw(y):\n    return WIDTH * y**POWER\n\n\n"
        "def other(t):\n    return t**POWER\n"
    )

    def source(old, new):
        assert old in text
        path.write_text(text.replace(old, new))
        return ex.load_experiment("parabola").source

    known = source("", "")
    assert source("return WIDTH * y", "return WIDTH + y") == known
    assert source('"""A parabola', '"""The parabola') == known
    assert source("QUICK = {", "QUICK = {} or {") == known
    assert source("WIDTH, POWER = 1, 2", "WIDTH, POWER = 1, 2\n\n\ndef costs(**knobs):\n    return {}") == known
    assert source("return t**POWER", "return 1 * t**POWER") != known
    assert source("WIDTH, POWER = 1, 2", "WIDTH, POWER = 1, 3") != known
    assert source("import numpy as np", "import numpy as np, math") != known


def test_the_file_that_is_there_is_what_runs(folder):
    """A change within the clock's resolution counts too."""
    sources = set()
    for n in range(5):
        edited(folder, "n=8", f"n={n}")
        loaded = ex.load_experiment("parabola")
        assert loaded.knobs["n"].default == n
        sources.add(loaded.source)
    assert len(sources) == 5


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("def run(", "def go(", "lacks run "),
        ("def figure(ds)", "def draw(ds)", "lacks figure"),
        ("QUICK =", "FAST =", "lacks QUICK"),
        ("CHECKS =", "CLAIMS =", "lacks CHECKS"),
        ('"""A parabola and its end.\n\nIts second paragraph.\n"""', "", "lacks a docstring"),
        ("n=8", "n", "needs named parameters with defaults, but has n"),
        ("tau: float = 2", "**more", r"but has \*\*more"),
        ("n=8", "n=None", "n=None .* needs a default that is an int, float, str or bool"),
        ("(1.0, 2)", "()", r"rates=\(\) .* needs a default"),
        ("(1.0, 2)", "(1.0, 'a')", "rates=.* needs a default"),
        ("n=8", "out=8", "'out', which is an option of the command line"),
        ("n=8", "jobs=8", "'jobs', which is an option of the command line"),
        ("n=8", "seed=0.5", "knob seed=0.5 .* must be a whole number"),
        ("n=8", "n: Nonsense = 8", "annotation of the knob n .* cannot be read: name 'Nonsense'"),
        ("n=8", "n: Literal[4, 6] = 8", r"knob n must be one of 4 \| 6 \(default: 8\), got 8"),
        ('{"n": 4}', "4", "QUICK .* must be a dict"),
        ('{"n": 4}', '{"m": 4}', "has no knob 'm'"),
        ('{"n": 4}', '{"n": "4"}', "knob n must be a whole number"),
        ('{"end": (1.0, 1e-12)}', "[]", "CHECKS .* must be a dict"),
        ("(1.0, 1e-12)", "1.0", r"CHECKS\['end'\] .* must be \(expected, tolerance\)"),
        ("(1.0, 1e-12)", "(1.0, -1e-12)", "tolerance >= 0"),
        ("(1.0, 1e-12)", "(float('nan'), 1)", r"must be \(expected, tolerance\)"),
        ("def run(", "def run((", "is not valid Python: .*line 17"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_experiment(folder, old, new, message):
    edited(folder, old, new)
    with pytest.raises(ValueError, match=message):
        ex.load_experiment("parabola")


def test_names_that_do_not_exist(folder, monkeypatch):
    with pytest.raises(ValueError, match="no experiment 'circle' in 'experiments'; known: parabola"):
        ex.load_experiment("circle")
    with pytest.raises(FileNotFoundError, match=r"no file 'circle\.py'"):
        ex.load_experiment("circle.py")
    monkeypatch.chdir(folder)
    with pytest.raises(FileNotFoundError, match="no folder 'experiments' here"):
        ex.load_experiment("parabola")


# Knobs


def test_knobs_have_the_types_of_their_defaults(folder):
    knobs = ex.load_experiment("parabola").knobs
    kinds = {name: (knob.kind, knob.is_tuple) for name, knob in knobs.items()}
    assert kinds == {
        "n": (int, False), "t_end": (float, False), "shape": (str, False), "rates": (float, True),
        "sizes": (int, True), "loud": (bool, False), "tau": (float, False),
    }  # fmt: skip
    assert knobs["tau"].default == 2.0
    assert knobs["t_end"].option == "--t-end"


def test_knobs_from_text(folder):
    loaded = ex.load_experiment("parabola")
    texts = {"n": "1e3", "t-end": "-.5", "shape": "1", "rates": "-1, 2e-3", "sizes": "7", "loud": "yes"}
    assert loaded.parse(texts) == {
        "n": 1000, "t_end": -0.5, "shape": "1", "rates": (-1.0, 2e-3), "sizes": (7,), "loud": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (
            {"m": "3"},
            "no knob 'm'; it has .*--n 8, --t-end 1.0, .* --rates 1.0,2.0, --sizes 1,2, --loud false",
        ),
        ({"n": "3.5"}, r"--n must be a whole number \(default: 8\), got '3.5'"),
        ({"n": "nan"}, "--n must be a whole number"),
        ({"t-end": "soon"}, "--t-end must be a number"),
        ({"rates": "1,x"}, "--rates must be several, separated by commas, each a number"),
        ({"sizes": "1.5"}, "--sizes must be .* whole number"),
        ({"loud": "maybe"}, "--loud must be true or false"),
    ],
)
def test_wrong_knobs(folder, texts, message):
    with pytest.raises(ValueError, match=message):
        ex.load_experiment("parabola").parse(texts)


@pytest.mark.parametrize(
    "knobs",
    [{"n": 2.5}, {"n": True}, {"loud": 1}, {"t_end": "1"}, {"rates": 1.0}, {"rates": "12"}, {"shape": 1}],
)
def test_wrong_knobs_from_python(folder, knobs):
    with pytest.raises(ValueError, match=r"the knob .* must be"):
        ex.run_experiment("parabola", knobs)


def test_values_come_from_given_quick_default_in_this_order(folder):
    loaded = ex.load_experiment("parabola")
    assert loaded.values({})["n"] == 8
    assert loaded.values({}, quick=True)["n"] == 4
    assert loaded.values({"n": 5.0}, quick=True)["n"] == 5
    # how a value is written does not matter
    assert loaded.directory(loaded.values({"t_end": 1})) == loaded.directory(loaded.values({}))
    assert loaded.directory(loaded.values({"t_end": 2})) != loaded.directory(loaded.values({}))


def test_the_command_redoes_it(folder):
    loaded = ex.load_experiment("parabola")
    values = loaded.values({"n": 5, "rates": (-1, 2), "loud": True, "shape": "two words"})
    command = loaded.command(values)
    assert command == "wfr-pde run parabola --n=5 '--shape=two words' --rates=-1.0,2.0 --loud=true"


CHOICES = 'tau: Literal[1, 2, 4] = 2, form: tuple[Literal["a", "b"], ...] = ("a",)'


def test_choices_come_from_the_annotation(folder):
    edited(folder, "tau: float = 2", CHOICES)
    loaded = ex.load_experiment("parabola")
    assert loaded.knobs["tau"].choices == (1, 2, 4)
    assert loaded.knobs["tau"].words == "one of 1 | 2 | 4"
    assert loaded.parse({"tau": "4", "form": "b,a"}) == {"tau": 4, "form": ("b", "a")}
    for texts in ({"tau": "3"}, {"form": "a,c"}):
        with pytest.raises(ValueError, match=r"must be .*one of (1 \| 2 \| 4|a \| b) \(default"):
            loaded.parse(texts)
    with pytest.raises(ValueError, match=r"the knob tau must be one of 1 \| 2 \| 4 .*got 3"):
        loaded.values({"tau": 3})


def test_a_seed_needs_a_knob_of_that_name(folder):
    with pytest.raises(ValueError, match="parabola takes no --seed: its run has no knob of that name"):
        ex.load_experiment("parabola").parse({"seed": "1"})
    edited(folder, "tau: float = 2", "seed=0")
    assert ex.load_experiment("parabola").parse({"seed": "1"}) == {"seed": 1}


@pytest.mark.parametrize(
    ("name", "text", "values"),
    [
        ("n", "64,128, 1e3", (64, 128, 1000)),
        ("n", "7", (7,)),
        ("shape", "a,b", ("a", "b")),
        ("shape", "a,b;c", ("a,b", "c")),
        ("loud", "true,false", (True, False)),
        ("rates", "1,2", ((1.0, 2.0),)),
        ("rates", "1,2; 3;", ((1.0, 2.0), (3.0,))),
    ],
)
def test_several_values_of_a_knob(folder, name, text, values):
    assert ex.load_experiment("parabola").knobs[name].parse_several(text) == values


@pytest.mark.parametrize(("text", "message"), [("4,4.0", "value 4 twice"), (",", "no value"), ("4,x", "--n must be")])
def test_wrong_values_of_a_sweep(folder, text, message):
    with pytest.raises(ValueError, match=message):
        ex.load_experiment("parabola").knobs["n"].parse_several(text)


# Running


def test_what_a_run_leaves(folder):
    result = ex.run_experiment("parabola", {"t_end": 1.0}, quick=True)
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
    assert {"versions", "commit", "wall_time", "source"} <= set(content)


def test_data_are_computed_once(folder):
    first = ex.run_experiment("parabola")
    (first.directory / "figure.png").unlink()
    again = ex.run_experiment("parabola")
    assert (first.reused, again.reused) == (False, True)
    assert times_run(folder) == 1
    assert (first.directory / "figure.png").exists()
    assert again.data.identical(first.data)
    ex.run_experiment("parabola", force=True)
    assert times_run(folder) == 2
    ex.run_experiment("parabola", {"n": 9})
    assert times_run(folder) == 3


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
def test_only_what_the_data_depend_on_computes_them_again(folder, old, new, runs):
    ex.run_experiment("parabola")
    edited(folder, old, new)
    ex.run_experiment("parabola")
    assert times_run(folder) == runs


def test_another_version_computes_again(folder, monkeypatch):
    ex.run_experiment("parabola")
    monkeypatch.setattr(ex, "__version__", "99")
    ex.run_experiment("parabola")
    assert times_run(folder) == 2


def test_same_data_same_bytes_of_the_figures(folder):
    result = ex.run_experiment("parabola")
    names = ("figure.png", "figure.pdf", "figure.csv")
    before = [(result.directory / name).read_bytes() for name in names]
    ex.run_experiment("parabola")
    assert before == [(result.directory / name).read_bytes() for name in names]


def test_the_csv_has_what_was_drawn(folder):
    result = ex.run_experiment("parabola", quick=True)
    lines = (result.directory / "figure.csv").read_text().splitlines()
    assert lines[:2] == ["panel,kind,artist,label,part,x,y,value", "1,line,1,,1,0,0,"]
    assert len(lines) == 5


def test_redraw_computes_nothing(folder):
    result = ex.run_experiment("parabola")
    data = (result.directory / "data.nc").read_bytes()
    for name in ("figure.png", "figure.pdf", "figure.csv", "run.json"):
        (result.directory / name).unlink()
    edited(folder, "t**2", "t**3")  # older data are drawn, too
    again = ex.redraw(ex.load_experiment("parabola"), result.directory)
    assert times_run(folder) == 1
    assert again.data.attrs["source"] != again.experiment.source
    assert (result.directory / "figure.csv").exists()
    content = json.loads((result.directory / "run.json").read_text())
    assert content["source"] == again.data.attrs["source"]
    assert content["knobs"]["n"] == 8
    assert (result.directory / "data.nc").read_bytes() == data
    with pytest.raises(FileNotFoundError, match=r"holds no data\.nc"):
        ex.redraw(again.experiment, folder)


def test_done_says_whether_data_checks_and_figure_are_there(folder):
    def done():
        loaded = ex.load_experiment("parabola")
        return loaded.done(loaded.values({}))

    assert done() is None
    content = ex.run_experiment("parabola").content()
    assert done() == json.loads(json.dumps(content))
    edited(folder, "(1.0, 1e-12)", "(1.0, 1e-6)")  # other claims
    assert done() is None
    edited(folder, "t**2", "t**2 + 0")
    assert done() is None


def test_one_process_writes_at_a_time(folder):
    result = ex.run_experiment("parabola")
    with locks.locked(result.directory), pytest.raises(BlockingIOError, match="being written by another process"):
        ex.run_experiment("parabola")
    ex.run_experiment("parabola")


def test_a_figure_that_fails_leaves_the_data(folder):
    edited(folder, "figure.subplots()", "figure.nonsense()")
    with pytest.raises(AttributeError, match="nonsense"):
        ex.run_experiment("parabola")
    edited(folder, "figure.subplots()", "figure.subplots()")
    assert ex.run_experiment("parabola").reused


def test_a_full_disk_leaves_no_half_file(folder, monkeypatch):
    def full(ds, path):
        raise OSError("No space left on device")

    monkeypatch.setattr(files, "write_dataset", full)
    with pytest.raises(OSError, match="No space left"):
        ex.run_experiment("parabola")
    monkeypatch.undo()
    monkeypatch.chdir(folder.parent)
    [directory] = folder.parent.glob("results/parabola/*")
    assert [path.name for path in directory.iterdir()] == ["run.json"]
    assert json.loads((directory / "run.json").read_text())["status"] == "failed"
    assert not ex.run_experiment("parabola").reused


def test_stored_data_that_cannot_be_read(folder):
    result = ex.run_experiment("parabola")
    (result.directory / "data.nc").write_bytes(b"half a file")
    with pytest.raises(ValueError, match=r"data.nc cannot be read .* delete it or give --force"):
        ex.run_experiment("parabola")
    assert ex.run_experiment("parabola", force=True).passed


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
def test_checks(folder, claim, value, passed):
    path = edited(folder, "(1.0, 1e-12)", claim)
    path.write_text(path.read_text().replace("values[-1]}", f"{value}}}"))
    result = ex.run_experiment("parabola")
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
def test_runs_that_do_not_keep_to_the_form(folder, old, new, kind, message):
    edited(folder, old, new)
    with pytest.raises(kind, match=message):
        ex.run_experiment("parabola")


def test_pyplot_keeps_nothing(folder):
    new = "import matplotlib.pyplot as plt\n    figure = plt.figure()"
    edited(folder, "figure = Figure(figsize=(2, 1))", new)
    ex.run_experiment("parabola")
    assert sys.modules["matplotlib.pyplot"].get_fignums() == []


def test_out_is_the_root_of_the_results(folder, tmp_path):
    result = ex.run_experiment("parabola", out=tmp_path / "elsewhere")
    assert result.directory.is_relative_to(tmp_path / "elsewhere" / "parabola")
    assert not (tmp_path / "results").exists()
