"""Experiments that store their parts: what is stored, what a stopped run goes on with, what it never takes."""

import json

import pytest
import xarray as xr

from wfr_pde.app.experiments import parts as segments
from wfr_pde.app.experiments import runner as ex
from wfr_pde.storage import files

LONG = '''"""Sums that remember the ones before."""
from functools import partial
from pathlib import Path

import numpy as np
import xarray as xr

HERE = Path(__file__).parent
QUICK = {}
CHECKS = {"total": (1.5, 1e9)}


def run(n=4, seed=0):
    parts = []
    for i in range(n):
        parts.append((yield partial(part, i, seed, parts[-1]["x"] if parts else 0)))
    return xr.concat(parts, "i").assign(total=sum(part["x"].sum() for part in parts))


def part(i, seed, before):
    with open(HERE / "log", "a") as log:
        log.write(f"{i} ")
    if (HERE / f"stop-{i}").exists():
        raise KeyboardInterrupt
    x = np.random.default_rng([seed, i]).standard_normal(3) + before
    return xr.Dataset({"x": ("k", np.asarray(x), {"units": "1"})}, {"i": i})


def figure(ds):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2, 1))
    figure.subplots().plot(ds.x.T)
    return figure
'''


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "sums.py").write_text(LONG)
    return tmp_path / "experiments"


def stopped(folder, i, **options):
    """A run that is interrupted in part i; returns its directory."""
    (folder / f"stop-{i}").touch()
    with pytest.raises(KeyboardInterrupt) as error:
        ex.run_experiment("sums", **options)
    (folder / f"stop-{i}").unlink()
    [directory] = (folder.parent / "results" / "sums").iterdir()
    return directory, " ".join(getattr(error.value, "__notes__", []))


def run_parts(folder):
    """The parts that were computed since the last call."""
    log = folder / "log"
    text = log.read_text() if log.exists() else ""
    log.unlink(missing_ok=True)
    return list(map(int, text.split()))


def without_time(path):
    ds = files.read_dataset(path)
    del ds.attrs["wall_time"]
    return ds


def test_a_run_that_is_not_stopped_leaves_its_data_alone(folder):
    result = ex.run_experiment("sums")
    assert run_parts(folder) == [0, 1, 2, 3]
    assert result.data["x"].shape == (4, 3)
    assert result.data["x"].attrs == {"units": "1"}
    assert not set(result.data.attrs) & {segments.OF, segments.SECONDS}
    assert list(result.directory.glob("seg*")) == []


def test_a_stopped_run_goes_on_to_the_same_bits(folder):
    whole = ex.run_experiment("sums", out="whole")
    run_parts(folder)
    directory, notes = stopped(folder, 2)
    assert run_parts(folder) == [0, 1, 2]
    assert "2 parts of sums are stored; the same command goes on after them" in notes
    assert json.loads((directory / "run.json").read_text())["status"] == "stopped"
    assert [path.name for path in sorted(directory.glob("*.nc"))] == ["seg-000000.nc", "seg-000001.nc"]
    with xr.open_dataset(directory / "seg-000001.nc") as ds:
        assert ds["x"].shape == (3,)
    result = ex.run_experiment("sums")
    assert run_parts(folder) == [2, 3]
    assert without_time(directory / "data.nc").identical(without_time(whole.directory / "data.nc"))
    assert json.loads((result.directory / "run.json").read_text())["status"] == "done"
    assert list(directory.glob("seg*")) == []


@pytest.mark.parametrize(("old", "new"), [("[seed, i]", "[seed, i, 1]"), ('"units": "1"', '"units": "m"')])
def test_parts_of_other_code_are_not_taken(folder, old, new):
    stopped(folder, 2)
    run_parts(folder)
    (folder / "sums.py").write_text(LONG.replace(old, new))
    with pytest.raises(ValueError, match="was made by other code of sums.*without --resume the run starts anew"):
        ex.run_experiment("sums", resume=True)
    assert ex.run_experiment("sums").passed
    assert run_parts(folder) == [0, 1, 2, 3]


def test_parts_of_another_version_are_not_taken(folder, monkeypatch):
    stopped(folder, 2)
    run_parts(folder)
    monkeypatch.setattr(ex, "__version__", "99")
    ex.run_experiment("sums")
    assert run_parts(folder) == [0, 1, 2, 3]


def test_a_part_that_is_missing_is_made_again_and_the_others_are_taken(folder):
    directory, _ = stopped(folder, 3)
    (directory / "seg-000001.nc").unlink()
    run_parts(folder)
    loaded = ex.load_experiment("sums")
    assert loaded.begun(loaded.values({})).count() == 1
    ex.run_experiment("sums")
    assert run_parts(folder) == [1, 3]


def test_a_part_that_cannot_be_read(folder):
    directory, _ = stopped(folder, 2)
    (directory / "seg-000000.nc").write_bytes(b"half a file")
    with pytest.raises(ValueError, match=r"seg-000000.nc cannot be read .* delete it or give --force"):
        ex.run_experiment("sums")
    assert ex.run_experiment("sums", force=True).passed


def test_force_starts_anew_and_keeps_the_old_data_until_the_new_are_there(folder):
    first = ex.run_experiment("sums")
    run_parts(folder)
    directory, _ = stopped(folder, 2, force=True)
    assert run_parts(folder) == [0, 1, 2]
    assert ex.run_experiment("sums").reused
    assert run_parts(folder) == []
    assert files.read_dataset(directory / "data.nc").identical(first.data)
    ex.run_experiment("sums", resume=True)  # goes on with the new ones
    assert run_parts(folder) == [2, 3]
    ex.run_experiment("sums", force=True)
    assert run_parts(folder) == [0, 1, 2, 3]


def test_resume_begins_nothing(folder):
    with pytest.raises(ValueError, match="no run of sums with these knobs to resume .* start it without --resume"):
        ex.run_experiment("sums", resume=True)
    assert not (folder.parent / "results").exists()
    with pytest.raises(ValueError, match="contradict each other"):
        ex.run_experiment("sums", resume=True, force=True)
    stopped(folder, 1)
    run_parts(folder)
    ex.run_experiment("sums", resume=True)
    assert run_parts(folder) == [1, 2, 3]
    assert ex.run_experiment("sums", resume=True).reused


@pytest.mark.parametrize(
    ("new", "message"),
    [
        ("3", "must yield functions .* part 0 is a int"),
        ("xr.Dataset()", "must yield functions .* part 0 is a Dataset"),
        ("int", "part 0 is a type that returns a int"),
        ("lambda: xr.Dataset(attrs={'a': []})", "attribute 'a' of the Dataset is \\[\\]"),
    ],
)
def test_runs_that_yield_something_else(folder, new, message):
    text = LONG.replace('partial(part, i, seed, parts[-1]["x"] if parts else 0)', new)
    (folder / "sums.py").write_text(text)
    with pytest.raises(TypeError, match=message):
        ex.run_experiment("sums")


def test_a_run_that_returns_nothing(folder):
    (folder / "sums.py").write_text(LONG.replace("return xr.concat", "xr.concat"))
    with pytest.raises(TypeError, match="must return an xarray.Dataset, got NoneType"):
        ex.run_experiment("sums")


def test_an_error_in_a_part_is_not_taken_for_the_end(folder):
    (folder / "sums.py").write_text(LONG.replace("raise KeyboardInterrupt", "raise StopIteration"))
    (folder / "stop-1").touch()
    with pytest.raises(StopIteration):
        ex.run_experiment("sums")
    (folder / "stop-1").unlink()
    run_parts(folder)
    ex.run_experiment("sums")
    assert run_parts(folder) == [1, 2, 3]
