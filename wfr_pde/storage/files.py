"""Files that are written whole: under a temporary name, flushed to disk and renamed (atomic writes)."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from wfr_pde.storage.disk_space import NO_SPACE, note_of_space
from wfr_pde.storage.schema_version import check_schema

if TYPE_CHECKING:
    import xarray as xr


class PatientFile(io.RawIOBase):
    """A file for HDF5 to write to, which keeps the first error for `check` and takes whatever comes after it.

    HDF5 cannot close a file that it cannot write, and ends the interpreter when that tries to: a full disk would do so.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._file = open(path, "w+b", buffering=0)  # noqa: SIM115  # closed by close
        self._error: BaseException | None = None

    def check(self) -> None:
        """Raise the first error that there was."""
        if self._error is not None:
            raise self._error

    @override
    def close(self) -> None:
        self._file.close()
        super().close()

    @override
    def readable(self) -> bool:
        return True

    @override
    def writable(self) -> bool:
        return True

    @override
    def seekable(self) -> bool:
        return True

    @override
    def tell(self) -> int:
        return self._file.tell()

    @override
    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    @override
    def readinto(self, buffer: Any) -> int:
        return self._file.readinto(buffer)

    @override
    def write(self, content: Any) -> int:
        left = memoryview(content).cast("B")
        size = len(left)
        try:
            while left and self._error is None:
                left = left[self._file.write(left) :]
        except BaseException as error:  # an interruption, too, must not pass through HDF5
            self._error = error
        return size

    @override
    def truncate(self, size: int | None = None) -> int:
        try:
            if self._error is None:
                return self._file.truncate(size)
        except BaseException as error:
            self._error = error
        return self.tell() if size is None else size


def write_atomically(path: str | Path, write: Callable[[Path], object], size: int | None = None) -> Path:
    """Write a file by `write(temporary_path)`, flush it to disk, and rename it to `path`; `size` is told if that fails.

    Raises
    ------
    OSError
        That names `path`, with a note where there is no space for it. Nothing half-written is left then.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp{path.suffix}")
    try:
        write(temporary)
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if error.errno not in NO_SPACE:
            raise
        temporary.unlink(missing_ok=True)  # before space is measured
        full = OSError(error.errno, os.strerror(error.errno), str(path))
        full.add_note(note_of_space(path, size, error.errno))
        raise full from None
    finally:
        temporary.unlink(missing_ok=True)
    return path


def write_dataset(ds: xr.Dataset, path: str | Path) -> Path:
    """Write a Dataset as one NetCDF-4 file, whole or not at all."""
    return write_atomically(path, lambda temporary: _write_netcdf(ds, temporary), ds.nbytes)


def write_tree(tree: xr.DataTree, path: str | Path) -> Path:
    """Write a DataTree as one NetCDF-4 file, a group per node, whole or not at all."""
    children = {name: node.to_dataset(inherit=False) for name, node in tree.children.items()}
    return write_atomically(path, lambda temporary: _write_netcdf(tree.to_dataset(), temporary, children), tree.nbytes)


def _write_netcdf(ds: xr.Dataset, path: Path, groups: Mapping[str, xr.Dataset] | None = None) -> None:
    """Write a NetCDF-4 file, for which HDF5 is given a file that cannot fail while it is open."""
    import h5netcdf
    from xarray.backends import H5NetCDFStore

    with PatientFile(path) as file:
        try:
            with h5netcdf.File(file, "w") as content:
                ds.dump_to_store(H5NetCDFStore(content))
                for name, group in (groups or {}).items():
                    group.dump_to_store(H5NetCDFStore(content.create_group(name)))
        finally:
            file.check()  # what HDF5 may have said of it comes after


def read_dataset(path: str | Path) -> xr.Dataset:
    """Read a NetCDF file whole into memory."""
    import xarray as xr

    with xr.open_dataset(path, engine="h5netcdf", decode_timedelta=False) as ds:
        check_schema(ds.attrs, f"the file {readable(str(path))}")
        return ds.load()


def read_tree(path: str | Path) -> xr.DataTree:
    """Read a NetCDF file with groups whole into memory."""
    import xarray as xr

    with xr.open_datatree(path, engine="h5netcdf", decode_timedelta=False) as tree:
        check_schema(tree.attrs, f"the file {readable(str(path))}")
        return tree.load()


def read_attrs(path: str | Path) -> dict[str, Any]:
    """Read the attributes of a NetCDF file, without its variables."""
    import xarray as xr

    with xr.open_dataset(path, engine="h5netcdf", decode_timedelta=False) as ds:
        check_schema(ds.attrs, f"the file {readable(str(path))}")
        return dict(ds.attrs)


def readable(name: str) -> str:
    """Return the name of a file as text that can be stored.

    In a locale that is not UTF-8 Python reads some bytes of names as halves of characters, which no file can hold.
    """
    return name.encode(errors="surrogateescape").decode(errors="replace")


def write_json(content: Mapping[str, Any], path: str | Path) -> Path:
    """Write a mapping as JSON, whole or not at all."""
    return write_text(json.dumps(content, indent=2, default=str) + "\n", path)


def write_text(text: str, path: str | Path) -> Path:
    """Write a text, whole or not at all."""
    return write_atomically(path, lambda temporary: temporary.write_text(text), len(text))
