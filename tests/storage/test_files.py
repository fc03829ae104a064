"""Files are whole or not there, and come back as they were."""

import errno
import json
from pathlib import Path

import pytest
import xarray as xr

import wfr_pde as wfr
from wfr_pde.storage import files


def test_a_file_is_whole_or_not_there(tmp_path):
    path = tmp_path / "deep" / "file.txt"
    files.write_atomically(path, lambda p: p.write_text("one"))

    def full(p):
        p.write_text("tw")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        files.write_atomically(path, full)
    assert path.read_text() == "one"
    assert [p.name for p in path.parent.iterdir()] == ["file.txt"]


def test_dataset_comes_back_as_it_was(tmp_path):
    grid, target = wfr.Grid(-3.2, 3.2, 48), wfr.DoubleWell(1.0)
    ds = wfr.solve(
        target, wfr.FisherRao(), grid.density(wfr.Gaussian(-1, 0.1)), [0, 0.2, 0.4], 0.1, record=wfr.KL(target)
    )
    files.write_dataset(ds, tmp_path / "a.nc")
    read = files.read_dataset(tmp_path / "a.nc")
    assert read.identical(ds)
    for name in ds.variables:
        assert read[name].values.tobytes() == ds[name].values.tobytes(), name
    with xr.open_dataset(tmp_path / "a.nc") as plain:
        assert plain.sizes["t"] == 3


def test_json_takes_paths_and_is_readable(tmp_path):
    path = files.write_json({"where": Path("a/b"), "n": 3}, tmp_path / "a.json")
    assert json.loads(path.read_text()) == {"where": "a/b", "n": 3}
