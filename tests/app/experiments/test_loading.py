"""Loading experiments: what is found, what a file must hold, and which code its data depend on."""

from pathlib import Path

import pytest

from wfr_pde.app.experiments import loading
from wfr_pde.app.experiments.loading import description, find_experiments, load_experiment, own_folder


def test_find_and_describe_without_running(folder):
    (folder / "broken.py").write_text("def (")
    (folder / "bare.py").write_text("raise RuntimeError")
    found = find_experiments()
    assert list(found) == ["bare", "broken", "parabola"]
    assert description(found["parabola"]) == "A parabola and its end."
    assert description(found["broken"]).startswith("(cannot be read")
    assert description(found["bare"]) == "(no docstring)"


def test_load_by_name_and_by_path(folder):
    for name in ("parabola", "experiments/parabola.py", folder / "parabola.py"):
        loaded = load_experiment(name)
        assert loaded.name == "parabola"
        assert loaded.description == "A parabola and its end."
        assert loaded.quick == {"n": 4}
        assert loaded.checks == {"end": (1.0, 1e-12)}


def test_what_only_the_figure_uses_does_not_make_other_data(folder):
    """Nor the docstring, QUICK and CHECKS; what both use does."""
    path = folder / "parabola.py"
    text = path.read_text().replace("plot(ds.t, ds.y)", "plot(ds.t, draw(ds.y))").replace("t**2", "other(t)") + (
        "\n\nWIDTH, POWER = 1, 2\n\n\ndef draw(y):\n    return WIDTH * y**POWER\n\n\n"
        "def other(t):\n    return t**POWER\n"
    )

    def source(old, new):
        assert old in text
        path.write_text(text.replace(old, new))
        return load_experiment("parabola").source

    known = source("", "")
    assert source("return WIDTH * y", "return WIDTH + y") == known
    assert source('"""A parabola', '"""The parabola') == known
    assert source("QUICK = {", "QUICK = {} or {") == known
    assert source("WIDTH, POWER = 1, 2", "WIDTH, POWER = 1, 2\n\n\ndef costs(**knobs):\n    return {}") == known
    assert source("return t**POWER", "return 1 * t**POWER") != known
    assert source("WIDTH, POWER = 1, 2", "WIDTH, POWER = 1, 3") != known
    assert source("import numpy as np", "import numpy as np, math") != known


def test_the_file_that_is_there_is_what_runs(folder, edited):
    """A change within the clock's resolution counts too."""
    sources = set()
    for n in range(5):
        edited("n=8", f"n={n}")
        loaded = load_experiment("parabola")
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
def test_a_file_that_is_no_experiment(folder, edited, old, new, message):
    edited(old, new)
    with pytest.raises(ValueError, match=message):
        load_experiment("parabola")


def test_names_that_do_not_exist(folder, monkeypatch):
    with pytest.raises(ValueError, match="no experiment 'circle' in 'experiments' or in wfr_pde; known: parabola"):
        load_experiment("circle")
    with pytest.raises(FileNotFoundError, match=r"no file 'circle\.py'"):
        load_experiment("circle.py")
    monkeypatch.chdir(folder)
    with pytest.raises(ValueError, match="no experiment 'parabola' .*known: none"):
        load_experiment("parabola")
    with pytest.raises(FileNotFoundError, match="no folder 'experiments' here"):
        load_experiment("parabola", "experiments")


def test_those_of_the_package_are_found_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = find_experiments()
    assert {"galaxies", "splitting_order"} <= set(found)
    assert load_experiment("galaxies").path == found["galaxies"].resolve()
    assert own_folder() == loading.SHIPPED


def test_own_experiments_come_first(folder, monkeypatch, caplog):
    shipped = loading.SHIPPED
    shipped.mkdir()
    for name in ("parabola", "circle"):
        (shipped / f"{name}.py").write_text((folder / "parabola.py").read_text())
    assert find_experiments() == {"circle": shipped / "circle.py", "parabola": Path("experiments/parabola.py")}
    assert find_experiments(folder) == {"parabola": folder / "parabola.py"}
    assert own_folder() == Path("experiments")
    with caplog.at_level("INFO", "wfr_pde"):
        load_experiment("circle")
        assert caplog.messages == []
        assert load_experiment("parabola").path == folder / "parabola.py"
        assert caplog.messages == ["taken from the folder 'experiments', not from wfr_pde: parabola"]
        caplog.clear()
        monkeypatch.setattr(loading, "SHIPPED", folder)  # the source tree itself: the same files
        load_experiment("parabola")
        assert caplog.messages == []
