"""Parts of a long experiment, each stored before the next one begins.

They are files `seg-000000.nc`, `seg-000001.nc`, ... in the directory of the run, in the order of the calls of `stored`,
written whole or not at all. Each says which call it is of, and which code, version and knobs it belongs to, so that
none is taken for a part of another run.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec

from wfr_pde.app.experiments.calls import call_hash, call_name
from wfr_pde.storage import files
from wfr_pde.storage import source_hash as code

if TYPE_CHECKING:
    import xarray as xr

P = ParamSpec("P")
# attributes of a file: the run, the call, the code of the package, and how long it took
OF, CALL, CODE, SECONDS = "segment_of", "segment_call", "segment_source_hash", "segment_seconds"


def stored(function: Callable[P, xr.Dataset], *args: P.args, **kwargs: P.kwargs) -> xr.Dataset:
    """Call a function; in a run of an experiment, store what it returns, or read it where it is stored.

    A run that was stopped goes on after the last part that is stored, to the same bits: in a run, what is returned is
    always what was read from disk. Anywhere else, in a notebook or inside another part, the function is just called.

    Parameters
    ----------
    function : callable
        Returns a Dataset that is determined by the arguments.
    *args, **kwargs
        Its arguments. Those that change when they are used, as a numpy Generator, are refused: give a seed.

    Returns
    -------
    xarray.Dataset

    Raises
    ------
    TypeError
        In a run, if `function` is no function or returns no Dataset, or an argument is used up by the call.

    Examples
    --------
    Outside of a run of an experiment it just calls the function:

    >>> import xarray as xr
    >>> from wfr_pde.app.experiments.parts import stored
    >>> def solved(barrier):
    ...     return xr.Dataset({"gap": barrier / 2})
    >>> def run(barriers=(1.0, 3.0)):
    ...     return xr.concat([stored(solved, barrier) for barrier in barriers], dim="barrier")
    >>> run().gap.values.tolist()
    [0.5, 1.5]
    """
    run = _RUN.get()
    return function(*args, **kwargs) if run is None else run.part(function, args, kwargs)


@dataclass(frozen=True)
class StoredParts:
    """Parts of one run on disk.

    Attributes
    ----------
    directory : Path
        Where they are.
    fingerprint : str
        Hash of what determines them: a file with another one counts as absent.
    """

    directory: Path
    fingerprint: str

    def path(self, number: int) -> Path:
        """Return the file of a part."""
        return self.directory / f"seg-{number:06d}.nc"

    def files(self) -> list[Path]:
        """Return all files of parts, those of other runs too."""
        return sorted(self.directory.glob("seg-*.nc"))

    def count(self) -> int:
        """Count the parts that are stored."""
        number = 0
        while self.attrs(number):
            number += 1
        return number

    def source_hashes(self) -> set[str]:
        """Return the hashes of the code of the package that computed the parts."""
        found = (self.attrs(number) for number in range(len(self.files())))
        return {attrs[CODE] for attrs in found if attrs}

    def drop(self) -> None:
        """Remove the files of all parts."""
        for path in self.files():
            path.unlink()

    def drop_older_than(self, data: Path) -> None:
        """Remove the parts that are in the data already, also those that a run left there which was killed meanwhile.

        Parts that are younger are those of a run with `force` that was stopped: it may go on.
        """
        stored = data.stat().st_mtime_ns
        for path in self.files():
            if path.stat().st_mtime_ns <= stored:
                path.unlink()

    def attrs(self, number: int) -> dict[str, Any]:
        """Read the attributes of a stored part; none if it is not there, or is one of another run.

        Raises
        ------
        ValueError
            If the file cannot be read.
        """
        path = self.path(number)
        try:
            attrs = files.read_attrs(path)
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise ValueError(f"{path} cannot be read ({error}): delete it or give --force") from None
        return attrs if attrs.get(OF) == self.fingerprint and CODE in attrs else {}


@dataclass
class RunWithParts:
    """Run that is going on: it counts the calls of `stored`, and computes the parts that are not on disk.

    Attributes
    ----------
    parts : StoredParts
        The files of the parts.
    check : callable
        Raises for a Dataset that a file does not take.
    seconds : float
        Seconds that the parts that were read from disk took when they were computed.
    source_hashes : set of str
        Hashes of the code that computed those.
    """

    parts: StoredParts
    check: Callable[[xr.Dataset], None]
    seconds: float = 0.0
    source_hashes: set[str] = field(default_factory=set)
    number: int = 0  # of the next part

    @contextlib.contextmanager
    def going_on(self) -> Iterator[None]:
        """Make `stored` store the parts of this run, within a context."""
        token = _RUN.set(self)
        try:
            yield
        finally:
            _RUN.reset(token)

    def part(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> xr.Dataset:
        """Return the next part: read it where this call of it is stored, else compute and store it."""
        number, self.number = self.number, self.number + 1
        if not callable(function):
            raise TypeError(_wrong(number, f"a {type(function).__name__}"))
        call = f"{call_name(function)} {call_hash(function, args, kwargs)}"
        attrs = self.parts.attrs(number)
        if attrs.get(CALL) == call:
            self.seconds += float(attrs[SECONDS])
            self.source_hashes.add(str(attrs[CODE]))
        else:
            self._write(number, call, function, args, kwargs)
        part = files.read_dataset(self.parts.path(number)).drop_encoding()
        for name in (OF, CALL, CODE, SECONDS):
            del part.attrs[name]
        return part

    def _write(
        self, number: int, call: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> None:
        """Compute a part and store it; `stored` just calls while it is computed, as the part is stored whole."""
        import xarray as xr

        began = time.perf_counter()
        token = _RUN.set(None)
        try:
            ds = function(*args, **kwargs)
        finally:
            _RUN.reset(token)
        if not isinstance(ds, xr.Dataset):
            raise TypeError(_wrong(number, f"a {type(function).__name__} that returns a {type(ds).__name__}"))
        self.check(ds)
        seconds = round(time.perf_counter() - began, 6)
        about = {OF: self.parts.fingerprint, CALL: call, CODE: code.source_hash(), SECONDS: seconds}
        files.write_dataset(ds.assign_attrs(about), self.parts.path(number))


_RUN: ContextVar[RunWithParts | None] = ContextVar("the run whose parts are stored", default=None)


def _wrong(number: int, found: str) -> str:
    return (
        "stored must be given a function that returns an xarray.Dataset, and its arguments, such as "
        f"stored(solved, n); part {number} is {found}"
    )
