"""Results know the code that computed them: the hash of the sources, and what is said and done where it is another."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import wfr_pde as wfr
from wfr_pde.storage import source_hash as code

OTHER = "0" * 64
TARGET = wfr.DoubleWell(1.0)
TIMES = np.linspace(0, 0.4, 5)


@pytest.fixture
def package(tmp_path):
    """A small package."""
    root = tmp_path / "package"
    for name, text in {
        "errors.py": "a = 1\n",
        "numerics/cuda/sums.cu": "float f;\n",
        "space/grid.py": "class Grid:\n    pass\n",
        "app/cli/main.py": "print()\n",
        "problems/data/galaxies.csv": "velocity\n9.2\n",
        "space/README.md": "words\n",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("name", "text", "counts"),
    [
        ("errors.py", "a = 2\n", True),
        ("numerics/cuda/sums.cu", "double f;\n", True),
        ("problems/data/galaxies.csv", "velocity\n9.3\n", True),
        ("space/new.py", "", True),
        ("app/cli/main.py", "print(1)\n", False),
        ("space/README.md", "other words\n", False),
        ("space/.#grid.py", "an editor's\n", False),
    ],
)
def test_what_the_hash_depends_on(package, name, text, counts):
    before = code.hash_of_sources(package)
    (package / name).write_text(text)
    assert (code.hash_of_sources(package) != before) is counts


def test_the_hash_does_not_depend_on_line_endings_or_on_the_place(package, tmp_path):
    before = code.hash_of_sources(package)
    (package / "space" / "grid.py").write_bytes(b"class Grid:\r\n    pass\r\n")
    moved = package.rename(tmp_path / "elsewhere")
    (moved / "space" / "__pycache__").mkdir()
    (moved / "space" / "__pycache__" / "grid.cpython-311.pyc").write_bytes(b"\0")
    assert code.hash_of_sources(moved) == before


def test_a_text_that_moves_from_file_to_file_counts(package):
    before = code.hash_of_sources(package)
    (package / "errors.py").rename(package / "mistakes.py")
    assert code.hash_of_sources(package) != before


def test_the_hash_is_that_of_the_package_in_every_process():
    found = subprocess.run(
        [sys.executable, "-c", "from wfr_pde.storage.source_hash import source_hash; print(source_hash())"],
        cwd=Path(wfr.__file__).parent.parent,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    assert found == code.source_hash() == code.hash_of_sources(Path(wfr.__file__).parent)
    assert len(found) == 64


def test_other_hashes():
    now = code.source_hash()
    assert code.other_hashes({"source_hash": now}) == ()
    assert code.other_hashes({"source_hash": OTHER}) == (OTHER,)
    assert code.other_hashes({}) == ("unknown",)
    assert code.other_hashes({"source_hash": now, "other_source_hashes": f"{OTHER} {now}"}) == (OTHER,)
    assert code.code_attrs([OTHER, now]) == {"source_hash": now, "other_source_hashes": OTHER}
    assert code.code_attrs() == {"source_hash": now}


# In Datasets


def solved(record=(), **options):
    start = wfr.Grid(-3.2, 3.2, 48).density(wfr.Gaussian(-1, 0.1))
    flow = wfr.Strang(wfr.FisherRao(1.0), wfr.SinkhornKernel(1.0))
    return wfr.solve(TARGET, flow, start, TIMES, 0.05, record=record, **options)


def sampled():
    def sampler(target, positions, times, rng):
        for t in times:
            yield t, positions, None

    return wfr.run_sampler(sampler, TARGET, wfr.Gaussian(0, 1), TIMES, n=5, rng=0)


@pytest.mark.parametrize(
    "made",
    [
        solved,
        sampled,
        lambda: wfr.ground_truth(wfr.Gaussian(1, 1), wfr.Gaussian(0, 1), [0, 0.1], rtol=1e-2, cross_check=False),
        lambda: wfr.spectrum(TARGET, wfr.Grid(-3, 3, 64), 2),
    ],
)
def test_every_dataset_has_it(made):
    assert made().attrs["source_hash"] == code.source_hash()


# Directories that runs are written to


@pytest.fixture
def stopped(tmp_path, monkeypatch):
    """A directory with a run of other code that was interrupted at the third save time."""
    monkeypatch.setattr("wfr_pde.integrate.frames.SECONDS_PER_SEGMENT", -1.0)

    def mean(state, energy):
        mean.calls += 1
        if mean.calls == mean.last:
            raise KeyboardInterrupt
        return state.mean()[0]

    mean.calls, mean.last = 0, 4
    with monkeypatch.context() as patch:
        patch.setattr(code, "source_hash", lambda: OTHER)
        with pytest.raises(KeyboardInterrupt):
            solved({"m": mean}, out=tmp_path / "run")
    mean.last = 0
    return tmp_path / "run", {"m": mean}


def test_a_run_that_other_code_began_is_refused(stopped):
    path, record = stopped
    before = (path / "run.json").read_bytes()
    now = code.source_hash()[:12]
    with pytest.raises(ValueError, match=f"was begun by other code .*{OTHER[:12]}; now {now}.* delete the directory"):
        solved(record, out=path)
    assert (path / "run.json").read_bytes() == before
    assert wfr.open_run(path).attrs["source_hash"] == OTHER


def test_a_run_that_other_code_began_can_be_accepted_and_says_so(stopped):
    path, record = stopped
    ds = solved(record, out=path, accept_other_code=True)
    assert ds["m"].values.tobytes() == solved(record)["m"].values.tobytes()
    attrs = {"source_hash": code.source_hash(), "other_source_hashes": OTHER}
    assert attrs.items() <= ds.attrs.items()
    assert attrs.items() <= json.loads((path / "run.json").read_text()).items()
    assert attrs.items() <= solved(record, out=path).attrs.items()  # read again


def test_what_was_accepted_stays_known_when_the_run_is_stopped_again(stopped):
    path, record = stopped
    record["m"].calls, record["m"].last = 0, 3
    with pytest.raises(KeyboardInterrupt):
        solved(record, out=path, accept_other_code=True)
    record["m"].last = 0
    assert solved(record, out=path).attrs["other_source_hashes"] == OTHER


def test_a_directory_in_which_nothing_is_stored_yet_is_not_refused(stopped):
    path, record = stopped
    for file in path.glob("*.nc"):
        file.unlink()
    ds = solved(record, out=path)
    assert ds.attrs["source_hash"] == code.source_hash()
    assert "other_source_hashes" not in ds.attrs


def test_a_finished_run_of_other_code_is_read_with_a_warning(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(code, "source_hash", lambda: OTHER)
        first = solved(out=tmp_path / "run")
    with pytest.warns(UserWarning, match="was computed by other code .* delete it to compute it anew") as caught:
        again = solved(out=tmp_path / "run")
    assert xr.Dataset.identical(again, first)
    assert again.attrs["source_hash"] == OTHER
    assert json.loads((tmp_path / "run" / "run.json").read_text())["source_hash"] == OTHER
    assert Path(caught[0].filename) == Path(__file__)
