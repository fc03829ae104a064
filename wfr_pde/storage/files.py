"""Results on disk: everything can be opened by xarray alone, and is whole whenever the writer is killed.

A run directory holds `run.json` (what the run is, and whether it is done), `seg-000000.nc`, ... (immutable pieces
of the result along t) and `checkpoint.nc` (the state to go on from). Every file is written under a temporary name,
flushed to disk and renamed.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import platform
import subprocess
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, Any

from wfr_pde import _version
from wfr_pde._version import __version__
from wfr_pde.storage.source_hash import code_attrs, code_attrs_of_resumed

if TYPE_CHECKING:
    import xarray as xr


def write_atomically(path: str | Path, write: Callable[[Path], object]) -> Path:
    """Have `write(temporary_path)` make a file, then flush it to disk and rename it to `path`."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp{path.suffix}")
    try:
        write(temporary)
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def write_dataset(ds: xr.Dataset, path: str | Path) -> Path:
    """Write a Dataset as one NetCDF-4 file, whole or not at all."""
    return write_atomically(path, lambda temporary: ds.to_netcdf(temporary, engine="h5netcdf"))


def read_dataset(path: str | Path) -> xr.Dataset:
    """Read a NetCDF file whole into memory."""
    import xarray as xr

    with xr.open_dataset(path, engine="h5netcdf", decode_timedelta=False) as ds:
        return ds.load()


def read_attrs(path: str | Path) -> dict[str, Any]:
    """The attributes of a NetCDF file, without reading its variables."""
    import xarray as xr

    with xr.open_dataset(path, engine="h5netcdf", decode_timedelta=False) as ds:
        return dict(ds.attrs)


def write_json(content: Mapping[str, Any], path: str | Path) -> Path:
    """Write a mapping as JSON, whole or not at all."""
    text = json.dumps(content, indent=2, default=str) + "\n"
    return write_atomically(path, lambda temporary: temporary.write_text(text))


@contextlib.contextmanager
def locked(directory: str | Path, wait: bool = False) -> Iterator[None]:
    """Keep other processes from writing a directory, which is made if it is not there.

    The lock ends with the process, however that ends. File systems without locks are written without one.

    Raises
    ------
    BlockingIOError
        If another process holds it, and `wait` is false.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / ".lock"
    is_ours = False
    while not is_ours:
        file = open(path, "a")  # noqa: SIM115  # closed below; closing it ends the lock
        try:
            has_locks = _lock(file, wait)
            is_ours = path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat())
        except BlockingIOError:
            raise BlockingIOError(
                f"{directory} is being written by another process: wait until it is done, or stop it"
            ) from None
        finally:
            if not is_ours:  # whoever held it has removed it, so that others lock another file
                file.close()
    try:
        if has_locks:
            for leftover in directory.glob(".*.tmp*"):  # of a process that was killed while it wrote
                leftover.unlink()
        yield
    finally:
        path.unlink(missing_ok=True)
        file.close()


def _lock(file: IO[str], wait: bool) -> bool:
    """Lock an open file; false where there are no locks."""
    try:
        import fcntl
    except ImportError:  # not a POSIX system
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        raise
    except OSError:  # the file system has none
        return False
    return True


@functools.cache
def commit() -> str:
    """Commit of the source tree that the package runs from; empty if it is installed from elsewhere.

    It ends in -dirty if a file has been changed since; results, which runs write, do not count.
    """
    here = str(Path(_version.__file__).parent)

    def git(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["git", "-C", here, *words], capture_output=True, check=False, text=True)

    try:
        if git("ls-files", "--error-unmatch", "_version.py").returncode != 0:
            return ""
        head = git("describe", "--always", "--abbrev=40").stdout.strip()
        changed = git("status", "--porcelain", "--untracked-files=no", "--", ":/", ":(top,exclude)results").stdout
    except OSError:
        return ""
    return f"{head}-dirty" if changed.strip() else head


@functools.cache
def versions() -> Mapping[str, str]:
    """Versions of what the numbers depend on; read once, as looking them up is slow."""
    packages = ("numpy", "scipy", "xarray", "h5netcdf")
    found = {name: version(name) for name in packages}
    return MappingProxyType({"wfr_pde": __version__, "python": platform.python_version(), **found})


class RunDirectory:
    """A run on disk, written piece by piece, from which it can go on.

    Parameters
    ----------
    path : path
        Directory; made if it is not there.
    fingerprint : str
        Hash of everything that determines the result.
    accept_other_code : bool
        Take a run that other code of the package began.

    Attributes
    ----------
    code : dict of str to str
        Attributes of the result that say which code it is of.

    Raises
    ------
    ValueError
        If the directory holds a run with another fingerprint, one that other code began, or files that are no run.
    """

    def __init__(self, path: str | Path, fingerprint: str, accept_other_code: bool = False) -> None:
        self.path = Path(path)
        self.fingerprint = fingerprint
        self.code = code_attrs()
        if self.path.exists() and not self.path.is_dir():
            raise ValueError(f"out={str(path)!r} is a file; give a directory for the run")
        if (self.path / "run.json").exists():
            found = json.loads((self.path / "run.json").read_text())
            if found.get("fingerprint") != fingerprint:
                raise ValueError(
                    f"out={str(path)!r} holds another run (other problem, flow, start, times, dt, records or seed): "
                    "choose another directory, or delete that one"
                )
            if (self.path / "checkpoint.nc").exists():
                self.code = code_attrs_of_resumed(found, f"out={str(path)!r}", accept_other_code)
            if found["status"] != "done":
                self._write_status("running", self.code)
        elif self.path.exists() and any(not entry.name.startswith(".") for entry in self.path.iterdir()):
            raise ValueError(f"out={str(path)!r} is not empty and holds no run: choose another directory")
        else:
            self._write_status("running", self.code)
        for leftover in self.path.glob(".*.tmp*"):  # of a process that was killed while it wrote
            leftover.unlink()

    def _write_status(self, status: str, attrs: Mapping[str, Any]) -> None:
        write_json({"status": status, "fingerprint": self.fingerprint, **attrs}, self.path / "run.json")

    def checkpoint(self) -> xr.Dataset | None:
        """The state to go on from, with attributes `frame`, `segments` and `rng`; None if there is none."""
        path = self.path / "checkpoint.nc"
        return read_dataset(path) if path.exists() else None

    def append(self, segment: xr.Dataset, checkpoint: xr.Dataset) -> None:
        """Write the next segment, then the checkpoint that counts it."""
        before = self.checkpoint()
        if before is not None and before.attrs["frame"] >= checkpoint.attrs["frame"]:
            return  # written already, and interrupted right after
        number = 0 if before is None else int(before.attrs["segments"])
        write_dataset(segment, self.path / f"seg-{number:06d}.nc")
        write_dataset(checkpoint.assign_attrs(segments=number + 1), self.path / "checkpoint.nc")

    def finish(self, attrs: Mapping[str, Any]) -> None:
        """Mark the run as done."""
        self._write_status("done", attrs)


def open_run(path: str | Path) -> xr.Dataset:
    """The Dataset of a run directory, finished or not, up to its last checkpoint.

    Raises
    ------
    FileNotFoundError
        If the directory holds no run, or one that was stopped before anything was saved.
    """
    path = Path(path)
    if not (path / "run.json").exists():
        raise FileNotFoundError(f"{path} holds no run (no run.json)")
    if not (path / "checkpoint.nc").exists():
        raise FileNotFoundError(f"the run in {path} was stopped before anything was saved: start it again")
    count = int(read_dataset(path / "checkpoint.nc").attrs["segments"])
    segments = [read_dataset(path / f"seg-{number:06d}.nc") for number in range(count)]
    return join_segments(segments)


def join_segments(segments: list[xr.Dataset]) -> xr.Dataset:
    """Segments put together along their time dimensions; attributes of the last."""
    import xarray as xr

    if len(segments) == 1:
        return segments[0]
    joined = segments[0]
    for dim in ("t", "t_kept"):
        parts = [segment[[name for name in segment.variables if dim in segment[name].dims]] for segment in segments]
        if parts[0].variables:
            joined = joined.drop_dims(dim).merge(xr.concat(parts, dim=dim), combine_attrs="override")
    return joined[list(segments[0].data_vars)].assign_attrs(segments[-1].attrs)
