"""The truth, the samplers and the samples that a command line names."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wfr_pde.app.cli.distributions import distribution
from wfr_pde.app.complaints import users_place

if TYPE_CHECKING:
    import xarray as xr

    from wfr_pde.targets import Target

OBJECT = "'{\"rate\": 1.0}'"  # as an example of JSON
SAMPLE_SUFFIXES = (".npz", ".nc")  # endings of files of samples; all else is a dotted path to a sampler


def read_truth(path: str) -> xr.Dataset | xr.DataTree:
    """Read what `wfr-pde truth` or `solve` wrote: a Dataset, or a DataTree of factors."""
    from wfr_pde.storage import files

    if not Path(path).exists():
        raise ValueError(f"{path} does not exist: `wfr-pde truth ... -o {path}` would make it")
    try:
        ds = files.read_dataset(Path(path))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is no NetCDF file: the truth comes first, then the samples ({error})") from None
    if "factors" in ds.attrs:
        return files.read_tree(Path(path))
    if "log_density" not in ds:
        raise ValueError(f"{path} holds no density (no variable log_density): give what `wfr-pde truth` wrote")
    return ds


def problem_of(args: argparse.Namespace, truth: xr.Dataset | xr.DataTree) -> tuple[Target, Target]:
    """Return target and start: as given, or as the truth says them."""
    from wfr_pde.targets import stored_distribution

    found = []
    for option, attribute in (("target", "energy"), ("start", "start")):
        text = getattr(args, option)
        try:
            found.append(stored_distribution(truth, attribute) if text is None else distribution(f"--{option}", text))
        except ValueError as error:
            if text is not None:
                raise
            raise ValueError(f'{error}: give --{option} "gaussian(mean=-1, covariance=0.04)", or what it is') from None
    return found[0], found[1]


def load_sampler(text: str) -> Any:
    """Import what a dotted path names; what cannot be imported is bad input, not a missing package."""
    import wfr_pde as wfr

    if ":" not in text and Path(text).is_file() and Path(text).suffix != ".py":
        raise ValueError(
            f"{text} is not a file of samples: those end in {' or '.join(SAMPLE_SUFFIXES)}; an array is stored with "
            "its times by numpy.savez('samples.npz', positions=array, times=times)"
        )
    try:
        return wfr.load_callable(text)
    except SyntaxError as error:
        raise ValueError(
            f"{text} cannot be imported: {error.filename}, line {error.lineno}, is not valid Python: {error.msg}"
        ) from error
    except SystemExit as error:
        raise ValueError(f"{text} ends the program when it is imported, with the exit code {error.code}") from error
    except Exception as error:
        place = users_place(error)
        if place:
            raise ValueError(f"{text} cannot be imported: {place}: {type(error).__name__}: {error}") from None
        if isinstance(error, ImportError):
            raise ValueError(str(error)) from error
        raise  # an error of ours says what is wrong


def is_flow(found: Any) -> bool:
    """Return whether what a dotted path names is a Flow, or a class of them, and not a function."""
    import wfr_pde as wfr

    return isinstance(found, wfr.Flow) or (isinstance(found, type) and issubclass(found, wfr.Flow))


def with_options(text: str, option: str, chosen: dict[str, Any]) -> Any:
    """Import what a dotted path names, and make the Flow with its arguments where that is a class.

    Raises
    ------
    ValueError
        If it is a Flow already, which takes no arguments any more, or the class takes other ones.
    """
    found = load_sampler(text)
    if not is_flow(found):
        return found
    if not isinstance(found, type):
        if chosen:
            raise ValueError(f"{text} is a Flow that is made already, which {option} cannot change: name its class")
        return found
    try:
        return found(**chosen)
    except (TypeError, ValueError) as error:
        error.add_note(f"({text} is made with {option})")
        raise


def json_object(option: str, text: str) -> dict[str, Any]:
    """Read an option that holds a JSON object: the arguments of a sampler."""
    chosen = read_json(option, text, OBJECT)
    if not isinstance(chosen, dict):
        raise ValueError(f"{option} must be a JSON object such as {OBJECT}, got {text!r}")
    return chosen


def read_json(option: str, text: str, example: str) -> Any:
    """Read strict JSON: what is no number, such as NaN, is none there.

    Raises
    ------
    ValueError
        If it is none.
    """
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{option} must be JSON such as {example}, got {text!r}: {error}") from None


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")
