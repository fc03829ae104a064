"""Targets and starts that a command line names: by a call such as `gaussian(mean=0, covariance=1)`, or in a file."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from wfr_pde.targets import Target

# path of a NetCDF file, with the name of a variable and a time if they are given: truth.nc:log_density@0.5
IN_A_FILE = re.compile(r"(?P<path>.*\.(?:nc|nc4|netcdf|h5|hdf5))(?::(?P<name>\w+))?(?:@(?P<time>[^@]*))?")
SPEC = """\
distributions (SPEC): gaussian(mean=-1, covariance=0.04), mixture(means=[[-2,0],[2,0]], weights=[.3,.7],
  covariances=0.25), double_well(2), four_modes(), potential("x**4/4 - x**2"), geometric_path(gaussian(-1, 1),
  double_well(2)), product([double_well(2) * 19, gaussian(0, 1)]), radial("x**4/4", 30), ...; or values in a NetCDF
  file: FILE.nc[:VARIABLE][@TIME], by default the log_density at the last time, as `solve` and `truth` write it, or the
  only variable"""


def distribution(option: str, text: str) -> Target:
    """Return the distribution that the text of an option names.

    Raises
    ------
    ValueError
        If there is no such file or variable, or the text names nothing.
    """
    from wfr_pde.targets import parse_distribution

    found = IN_A_FILE.fullmatch(text.strip())
    try:
        return _stored(**found.groupdict()) if found else parse_distribution(text)
    except (ValueError, TypeError, OSError) as error:
        error.add_note(f"(of {option})")
        raise


def _stored(path: str, name: str | None, time: str | None) -> Target:
    """Return the distribution whose values are stored."""
    from wfr_pde.storage import files
    from wfr_pde.targets import GridTarget

    try:
        ds = files.read_dataset(path)
    except FileNotFoundError:
        raise ValueError(f"there is no file {path!r}") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as NetCDF: {error}") from None
    if name is None:
        name = _only_variable(path, ds)
    if name not in ds:
        raise ValueError(f"{path} has no variable {name!r}; it has {', '.join(map(str, ds.data_vars))}")
    frame = _frame(path, ds, "t" if "t" in ds[name].dims else "t_kept", name, time)
    is_whole = name == "log_density"
    try:
        return GridTarget(frame if is_whole else frame[name], log=name.startswith("log"))
    except ValueError as error:
        error.add_note(f"(the values are {name} in {path})")
        raise


def _only_variable(path: str, ds: Any) -> str:
    """Return the variable that is meant where none is named."""
    names = [str(name) for name in ds.data_vars]
    if "log_density" in names or len(names) == 1:
        return "log_density" if "log_density" in names else names[0]
    raise ValueError(f"{path} has {', '.join(names) or 'no variables'}: say which is meant, as in {path}:NAME")


def _frame(path: str, ds: Any, dim: str, name: str, time: str | None) -> Any:
    """Return the Dataset at one time, the last by default."""
    if dim not in ds[name].dims:
        if time is not None:
            raise ValueError(f"{name} in {path} is at one time: leave out @{time}")
        return ds
    if time is None:
        return ds.isel({dim: -1})
    times = ds[dim].values
    try:
        nearest = int(np.abs(times - float(time)).argmin())
    except ValueError:
        raise ValueError(f"the time in {path}@{time} must be a number") from None
    if not abs(times[nearest] - float(time)) <= 1e-9 * max(1.0, float(np.abs(times).max())):
        raise ValueError(f"{path} has no time {time}; it has {np.array2string(times, threshold=8, separator=', ')}")
    return ds.isel({dim: nearest})
