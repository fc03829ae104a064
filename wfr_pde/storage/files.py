"""Files that are written whole: under a temporary name, flushed to disk and renamed (atomic writes)."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
