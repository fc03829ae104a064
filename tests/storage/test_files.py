"""Files are whole or not there, and come back as they were."""

import errno
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import xarray as xr

import wfr_pde as wfr
from wfr_pde.numerics.arguments import path as checked_path
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


LIMITED = """
import resource, sys
import numpy as np
import xarray as xr
from wfr_pde.storage import files

path, limit = sys.argv[1], int(sys.argv[2])
ds = xr.Dataset({"a": (("t", "x"), np.ones((100, 500))), "b": ("t", ["text"] * 100)}, attrs={"long": "x" * 30_000})
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    files.write_dataset(ds, path)
except OSError as error:
    print(error, *error.__notes__)
"""


def written(path, limit):
    """What a process says that has at most so many bytes for a file; the process must come to its end."""
    command = [sys.executable, "-c", LIMITED, str(path), str(limit)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="files have no limit of size there")
@pytest.mark.parametrize("limit", [1, 5_000, 60_000, 400_000])
def test_a_limit_of_size_leaves_the_old_file_and_the_interpreter_whole(tmp_path, limit):
    path = tmp_path / "a.nc"
    path.write_text("old")
    said = written(path, limit)
    assert said.startswith(f"[Errno {errno.EFBIG}] {os.strerror(errno.EFBIG)}: {str(path)!r}")
    assert "nothing half-written is left: make space, or write to another disk" in said
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("a.nc", "old")]


def test_a_full_disk_leaves_the_old_file_and_the_interpreter_whole(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(disk)]
    try:
        if subprocess.run(mounted, capture_output=True, check=False).returncode:
            pytest.skip("a small disk cannot be made here")
    except FileNotFoundError:
        pytest.skip("a small disk cannot be made here")
    try:
        (disk / "a.nc").write_text("old")
        said = written(disk / "a.nc", 0)
        assert said.startswith(f"[Errno {errno.ENOSPC}] No space left on device: ")
        assert [(p.name, p.read_text()) for p in disk.iterdir()] == [("a.nc", "old")]
    finally:
        subprocess.run(["umount", str(disk)], check=True)


class InterruptedFile(io.FileIO):
    """A file whose third write is interrupted."""

    calls = 0

    def write(self, content):
        self.calls += 1
        if self.calls == 3:
            raise KeyboardInterrupt
        return super().write(content)


def test_an_interruption_does_not_pass_through_hdf5(tmp_path, monkeypatch):
    files_made = []

    class Patient(files.PatientFile):
        def __init__(self, path):
            super().__init__(path)
            self._file.close()
            self._file = InterruptedFile(path, "w+")
            files_made.append(self._file)

    monkeypatch.setattr(files, "PatientFile", Patient)
    with pytest.raises(KeyboardInterrupt):
        files.write_dataset(xr.Dataset({"a": ("x", [1.0] * 5000)}), tmp_path / "a.nc")
    assert [file.calls for file in files_made] == [3]  # nothing is written after it
    assert list(tmp_path.iterdir()) == []


def test_json_takes_paths_and_is_readable(tmp_path):
    path = files.write_json({"where": Path("a/b"), "n": 3}, tmp_path / "a.json")
    assert json.loads(path.read_text()) == {"where": "a/b", "n": 3}


def test_names_of_files_are_text_in_any_locale():
    """What Python makes of the bytes of "ün" where the locale is C, and it may not read them as UTF-8."""
    name = "ün".encode().decode("ascii", errors="surrogateescape")
    assert files.readable(name) == files.readable("ün") == "ün"
    assert files.readable("\udcff") == "\N{REPLACEMENT CHARACTER}"
    assert checked_path("out", name) == Path(name)
    assert checked_path("out", name[:2] * 127)  # 254 bytes
    with pytest.raises(ValueError, match="out has a name of more than 255 bytes"):
        checked_path("out", name[:2] * 128)
