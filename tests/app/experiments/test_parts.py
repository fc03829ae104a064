"""Experiments that store their parts: what is stored, what a stopped run goes on with, what it never takes."""

import json
import shutil

import numpy as np
import pytest
import xarray as xr

from wfr_pde.app.experiments.loading import load_experiment
from wfr_pde.app.experiments.runner import run_experiment
from wfr_pde.storage import files
from wfr_pde.storage.source_hash import source_hash

LONG = '''"""Sums that remember the ones before."""
from pathlib import Path

import numpy as np
import xarray as xr

from wfr_pde.app.experiments.parts import stored

HERE = Path(__file__).parent
QUICK = {}
CHECKS = {"total": (1.5, 1e9)}


def run(n=4, seed=0):
    parts = []
    for i in range(n):
        parts.append(stored(part, i, seed, parts[-1]["x"] if parts else 0))
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
        run_experiment("sums", **options)
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
    for name in ("wall_time", "command"):  # which names the directory
        del ds.attrs[name]
    return ds


def test_a_run_that_is_not_stopped_leaves_its_data_alone(folder):
    result = run_experiment("sums")
    assert run_parts(folder) == [0, 1, 2, 3]
    assert result.data["x"].shape == (4, 3)
    assert result.data["x"].attrs == {"units": "1"}
    assert not [name for name in result.data.attrs if name.startswith("segment")]
    assert list(result.directory.glob("seg*")) == []


def test_parts_that_a_killed_run_has_left_beside_its_data_are_removed(folder):
    directory, _ = stopped(folder, 3)
    left = folder.parent / "left"
    shutil.copytree(directory, left)  # with the times of its files
    assert len(list(left.glob("seg*"))) == 3
    run_experiment("sums")
    for path in left.glob("seg*"):
        shutil.copy2(path, directory)
    run_parts(folder)
    assert run_experiment("sums").reused
    assert run_parts(folder) == []
    assert list(directory.glob("seg*")) == []


def test_a_stopped_run_goes_on_to_the_same_bits(folder):
    whole = run_experiment("sums", out="whole")
    run_parts(folder)
    directory, notes = stopped(folder, 2)
    assert run_parts(folder) == [0, 1, 2]
    assert "stored so far: 2 parts of sums; the same command goes on from there" in notes
    assert json.loads((directory / "run.json").read_text())["status"] == "stopped"
    assert [path.name for path in sorted(directory.glob("*.nc"))] == ["seg-000000.nc", "seg-000001.nc"]
    with xr.open_dataset(directory / "seg-000001.nc") as ds:
        assert ds["x"].shape == (3,)
    result = run_experiment("sums")
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
        run_experiment("sums", resume=True)
    assert run_experiment("sums").passed
    assert run_parts(folder) == [0, 1, 2, 3]


def test_parts_of_another_version_are_not_taken(folder, monkeypatch):
    stopped(folder, 2)
    run_parts(folder)
    monkeypatch.setattr("wfr_pde.app.experiments.experiment.__version__", "99")
    run_experiment("sums")
    assert run_parts(folder) == [0, 1, 2, 3]


def test_a_part_that_is_missing_is_made_again_and_the_others_are_taken(folder):
    directory, _ = stopped(folder, 3)
    (directory / "seg-000001.nc").unlink()
    run_parts(folder)
    loaded = load_experiment("sums")
    assert loaded.begun(loaded.values({})).count() == 1
    run_experiment("sums")
    assert run_parts(folder) == [1, 3]


def test_a_part_that_cannot_be_read(folder):
    directory, _ = stopped(folder, 2)
    (directory / "seg-000000.nc").write_bytes(b"half a file")
    with pytest.raises(ValueError, match=r"seg-000000.nc cannot be read .* delete it or give --force"):
        run_experiment("sums")
    assert run_experiment("sums", force=True).passed


def test_force_starts_anew_and_keeps_the_old_data_until_the_new_are_there(folder):
    first = run_experiment("sums")
    run_parts(folder)
    directory, _ = stopped(folder, 2, force=True)
    assert run_parts(folder) == [0, 1, 2]
    assert run_experiment("sums").reused
    assert run_parts(folder) == []
    assert files.read_dataset(directory / "data.nc").identical(first.data)
    run_experiment("sums", resume=True)  # goes on with the new ones
    assert run_parts(folder) == [2, 3]
    run_experiment("sums", force=True)
    assert run_parts(folder) == [0, 1, 2, 3]


def test_resume_begins_nothing(folder):
    with pytest.raises(ValueError, match="no run of sums with these knobs to resume .* start it without --resume"):
        run_experiment("sums", resume=True)
    assert not (folder.parent / "results").exists()
    with pytest.raises(ValueError, match="contradict each other"):
        run_experiment("sums", resume=True, force=True)
    stopped(folder, 1)
    run_parts(folder)
    run_experiment("sums", resume=True)
    assert run_parts(folder) == [1, 2, 3]
    assert run_experiment("sums", resume=True).reused


@pytest.mark.parametrize(
    ("new", "message"),
    [
        ("3", "must be given a function .* part 0 is a int"),
        ("xr.Dataset()", "must be given a function .* part 0 is a Dataset"),
        ("int", "part 0 is a type that returns a int"),
        ("lambda: xr.Dataset(attrs={'a': []})", "attribute 'a' of the Dataset is \\[\\]"),
        ("part, np.random.default_rng(0), 0, 0", "a Generator is used up .* give a seed"),
        ("part, iter([0]), 0, 0", "a list_iterator is used up .* give a tuple"),
    ],
)
def test_what_cannot_be_a_part(folder, new, message):
    (folder / "sums.py").write_text(LONG.replace('part, i, seed, parts[-1]["x"] if parts else 0', new))
    with pytest.raises(TypeError, match=message):
        run_experiment("sums")


def test_a_run_that_returns_nothing(folder):
    (folder / "sums.py").write_text(LONG.replace("return xr.concat", "xr.concat"))
    with pytest.raises(TypeError, match="must return an xarray.Dataset, got NoneType"):
        run_experiment("sums")


def test_an_error_in_a_part_is_not_taken_for_the_end(folder):
    (folder / "sums.py").write_text(LONG.replace("raise KeyboardInterrupt", "raise StopIteration"))
    (folder / "stop-1").touch()
    with pytest.raises(StopIteration):
        run_experiment("sums")
    (folder / "stop-1").unlink()
    run_parts(folder)
    run_experiment("sums")
    assert run_parts(folder) == [1, 2, 3]


def changed(old, new):
    assert old in LONG
    return LONG.replace(old, new)


def test_outside_of_a_run_stored_just_calls(folder):
    """In a notebook, say."""
    experiment = load_experiment("sums")
    whole = experiment.run(n=2)
    assert run_parts(folder) == [0, 1]
    assert whole.sizes["i"] == 2
    assert not (folder.parent / "results").exists()
    run_experiment("sums")
    run_parts(folder)
    experiment.run(n=2)  # nor after a run
    assert run_parts(folder) == [0, 1]


def test_the_same_call_twice_is_two_parts(folder):
    text = changed('i, seed, parts[-1]["x"] if parts else 0', "7, seed, 0").replace("seed=seed", "seed")
    (folder / "sums.py").write_text(text.replace("np.random.default_rng([seed, i])", "np.random.default_rng()"))
    data = run_experiment("sums").data
    assert run_parts(folder) == [7, 7, 7, 7]
    assert len(np.unique(data["x"])) == data["x"].size


def test_a_part_of_a_part_is_stored_with_it(folder):
    text = changed(
        "def part(i, seed, before):",
        "def part(*args):\n    return stored(inner, *args)\n\n\ndef inner(i, seed, before):",
    )
    (folder / "sums.py").write_text(text)
    directory, _ = stopped(folder, 2)
    assert [path.name for path in sorted(directory.glob("*.nc"))] == ["seg-000000.nc", "seg-000001.nc"]
    run_parts(folder)
    run_experiment("sums")
    assert run_parts(folder) == [2, 3]


def test_a_stored_part_with_other_arguments_is_not_taken(folder, monkeypatch):
    """As where a run reads a file that has been changed since: code and knobs are the same."""
    text = changed("def run(n=4, seed=0):", "def run(n=4, seed=0):\n    import os\n    shift = os.environ['SHIFT']")
    (folder / "sums.py").write_text(text.replace("if parts else 0", "if parts else float(shift)"))
    monkeypatch.setenv("SHIFT", "0")
    stopped(folder, 2)
    run_parts(folder)
    monkeypatch.setenv("SHIFT", "1")
    shifted = run_experiment("sums").data
    assert run_parts(folder) == [0, 1, 2, 3]
    assert shifted.identical(run_experiment("sums", force=True).data.assign_attrs(wall_time=shifted.attrs["wall_time"]))


def test_the_time_of_stored_parts_counts(folder):
    (folder / "sums.py").write_text(
        changed("from pathlib", "import time\nfrom pathlib").replace(
            "    if (HERE", "    time.sleep(0.2 if i == 0 else 0)\n    if (HERE"
        )
    )
    stopped(folder, 2)
    assert run_experiment("sums").data.attrs["wall_time"] > 0.2


# Parts of other code of the package


OTHER = "0" * 64


@pytest.fixture
def other_code(monkeypatch):
    """A function after which the code of the package is another."""

    def change():
        monkeypatch.setattr("wfr_pde.storage.source_hash.source_hash", lambda: OTHER)

    return change


def test_parts_of_other_code_of_the_package_are_refused_and_can_be_accepted(folder, other_code):
    old = source_hash()
    stopped(folder, 2)
    run_parts(folder)
    other_code()
    for options in ({}, {"resume": True}):
        with pytest.raises(ValueError, match=f"was begun by other code .*{old[:12]}; now {OTHER[:12]}.* --force"):
            run_experiment("sums", **options)
    assert run_parts(folder) == []
    result = run_experiment("sums", accept_other_code=True)
    assert run_parts(folder) == [2, 3]
    assert result.data.attrs["source_hash"] == OTHER
    assert result.data.attrs["other_source_hashes"] == old
    assert json.loads((result.directory / "run.json").read_text())["other_source_hashes"] == old
    assert result.other_hashes == (old,)


def test_force_does_without_parts_of_other_code(folder, other_code):
    stopped(folder, 2)
    run_parts(folder)
    other_code()
    result = run_experiment("sums", force=True)
    assert run_parts(folder) == [0, 1, 2, 3]
    assert result.other_hashes == ()
    assert "other_source_hashes" not in result.data.attrs
