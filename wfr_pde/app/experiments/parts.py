"""Parts of a long experiment, each stored before the next one begins.

They are files `seg-000000.nc`, `seg-000001.nc`, ... in the directory of the run, written whole or not at all. Each
says which code, version and knobs it belongs to, so that none is taken for a part of another run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wfr_pde.storage import files

if TYPE_CHECKING:
    import xarray as xr

Parts = Generator[Callable[[], "xr.Dataset"], "xr.Dataset", "xr.Dataset"]
OF, SECONDS = "segment_of", "segment_seconds"  # attributes of a file


@dataclass(frozen=True)
class Segments:
    """The parts of one run on disk.

    Attributes
    ----------
    directory : Path
        Where they are.
    fingerprint : str
        What determines them; a file with another one is not there.
    """

    directory: Path
    fingerprint: str

    def path(self, number: int) -> Path:
        """The file of a part."""
        return self.directory / f"seg-{number:06d}.nc"

    def files(self) -> list[Path]:
        """All files of parts, those of other runs too."""
        return sorted(self.directory.glob("seg-*.nc"))

    def count(self) -> int:
        """The number of parts that are stored."""
        number = 0
        while OF in self._attrs(number):
            number += 1
        return number

    def seconds(self) -> float:
        """The time that the stored parts took."""
        return sum(float(self._attrs(number)[SECONDS]) for number in range(self.count()))

    def drop(self) -> None:
        """Remove all parts."""
        for path in self.files():
            path.unlink()

    def completed(self, parts: Parts, check: Callable[[xr.Dataset], None]) -> xr.Dataset:
        """Carry a run through: compute the parts that are not stored, and return its Dataset.

        Parameters
        ----------
        parts : generator
            Yields functions without arguments, and is sent the Datasets that they return, as read from disk.
        check : callable
            Raises for a Dataset that a file does not take.

        Raises
        ------
        TypeError
            If what is yielded is no function, or returns no Dataset.
        """
        number = 0
        part = None
        while True:
            try:
                function = parts.send(part)  # type: ignore[arg-type]  # the first one is None
            except StopIteration as end:
                return end.value
            if OF not in self._attrs(number):
                self._write(number, function, check)
            part = files.read_dataset(self.path(number)).drop_encoding()
            del part.attrs[OF], part.attrs[SECONDS]
            number += 1

    def _write(self, number: int, function: Callable[[], xr.Dataset], check: Callable[[xr.Dataset], None]) -> None:
        """Compute a part and store it."""
        import xarray as xr

        began = time.perf_counter()
        ds = function() if callable(function) else function
        if not isinstance(ds, xr.Dataset) or not callable(function):
            raise TypeError(
                "run must yield functions without arguments that return an xarray.Dataset, such as "
                f"functools.partial(solved, n); part {number} is {_kind(function, ds)}"
            )
        check(ds)
        seconds = round(time.perf_counter() - began, 6)
        files.write_dataset(ds.assign_attrs({OF: self.fingerprint, SECONDS: seconds}), self.path(number))

    def _attrs(self, number: int) -> dict[str, Any]:
        """The attributes of a stored part; none if it is not there, or is one of another run.

        Raises
        ------
        ValueError
            If the file cannot be read.
        """
        path = self.path(number)
        if not path.exists():
            return {}
        try:
            attrs = files.read_attrs(path)
        except OSError as error:
            raise ValueError(f"{path} cannot be read ({error}): delete it or give --force") from None
        return attrs if attrs.get(OF) == self.fingerprint else {}


def _kind(function: Any, result: Any) -> str:
    name = type(function).__name__
    return f"a {name} that returns a {type(result).__name__}" if callable(function) else f"a {name}"
