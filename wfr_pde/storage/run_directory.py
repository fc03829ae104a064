"""A run of `solve` on disk: everything can be opened by xarray alone, and is whole whenever the writer is killed.

A run directory holds `run.json` (what the run is, and whether it is done), `seg-000000.nc`, ... (immutable pieces
of the result along t) and `checkpoint.nc` (the state to go on from).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wfr_pde.numerics.arguments import knows_its_arguments
from wfr_pde.numerics.arguments import path as checked_path
from wfr_pde.storage import files
from wfr_pde.storage.schema_version import check_schema
from wfr_pde.storage.source_hash import code_attrs, code_attrs_of_resumed

if TYPE_CHECKING:
    import xarray as xr


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
            check_schema(found, f"the run in out={str(path)!r}")
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
        files.write_json({"status": status, "fingerprint": self.fingerprint, **attrs}, self.path / "run.json")

    def checkpoint(self) -> xr.Dataset | None:
        """Read the state to go on from, with attributes `frame`, `segments` and `rng`; None if there is none."""
        path = self.path / "checkpoint.nc"
        return files.read_dataset(path) if path.exists() else None

    def append(self, segment: xr.Dataset, checkpoint: xr.Dataset) -> None:
        """Write the next segment, then the checkpoint that counts it."""
        before = self.checkpoint()
        if before is not None and before.attrs["frame"] >= checkpoint.attrs["frame"]:
            return  # written already, and interrupted right after
        number = 0 if before is None else int(before.attrs["segments"])
        files.write_dataset(segment, self.path / f"seg-{number:06d}.nc")
        files.write_dataset(checkpoint.assign_attrs(segments=number + 1), self.path / "checkpoint.nc")

    def finish(self, attrs: Mapping[str, Any]) -> None:
        """Mark the run as done."""
        self._write_status("done", attrs)


@knows_its_arguments
def open_run(path: str | Path) -> xr.Dataset:
    """Open the Dataset of a run directory, finished or not, up to its last checkpoint.

    Parameters
    ----------
    path : path
        The directory that was given to `solve` as `out`.

    Returns
    -------
    xarray.Dataset
        As `solve` returns it.

    Raises
    ------
    FileNotFoundError
        If the directory holds no run of `solve`, or one that was stopped before anything was saved.

    Examples
    --------
    >>> import tempfile
    >>> import wfr_pde as wfr
    >>> start = wfr.Grid(-8.0, 8.0, 64).density(wfr.Gaussian(1.0, 1.0))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = wfr.solve(wfr.Gaussian(0.0, 1.0), wfr.FisherRao(), start, [0.0, 1.0], 1.0, out=f"{folder}/run")
    ...     opened = wfr.open_run(f"{folder}/run")
    >>> opened.log_density.shape, bool((opened.log_density == run.log_density).all())
    ((2, 64), True)
    """
    path = checked_path("path", path)
    if not (path / "run.json").exists():
        meant = f": a file is opened by xarray.open_dataset({str(path)!r})" if path.is_file() else ""
        raise FileNotFoundError(f"the path {path} holds no run of `solve(..., out=folder)`, no run.json{meant}")
    if (path / "data.nc").exists():
        raise FileNotFoundError(
            f"{path} holds the result of an experiment, not a run of `solve`: open {path / 'data.nc'} with "
            "xarray.open_dataset"
        )
    if not (path / "checkpoint.nc").exists():
        raise FileNotFoundError(f"the run in {path} was stopped before anything was saved: start it again")
    count = int(files.read_dataset(path / "checkpoint.nc").attrs["segments"])
    segments = [files.read_dataset(path / f"seg-{number:06d}.nc") for number in range(count)]
    return join_segments(segments)


def join_segments(segments: list[xr.Dataset]) -> xr.Dataset:
    """Put segments together along their time dimensions; the attributes are those of the last."""
    import xarray as xr

    if len(segments) == 1:
        return segments[0]
    joined = segments[0]
    for dim in ("t", "t_kept"):
        parts = [segment[[name for name in segment.variables if dim in segment[name].dims]] for segment in segments]
        if parts[0].variables:
            joined = joined.drop_dims(dim).merge(xr.concat(parts, dim=dim), combine_attrs="override")
    return joined[list(segments[0].data_vars)].assign_attrs(segments[-1].attrs)
