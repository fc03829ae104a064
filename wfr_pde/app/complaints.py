"""Errors and warnings as one line each, with the place in the user's code that they come from."""

from __future__ import annotations

import contextlib
import sysconfig
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path

import wfr_pde
from wfr_pde.app.exit_codes import BAD_INPUT, exit_code
from wfr_pde.errors import BackendError, NumericalError

LONGEST = 1200  # characters of a line: what is longer lacks its middle
PACKAGE = Path(wfr_pde.__file__).parent
LIBRARIES = tuple(Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib"))
SAY_ENOUGH = (BackendError, ImportError, NumericalError)  # whoever raises them


def notes(error: BaseException) -> str:
    """Join the notes that were added to an exception."""
    return " ".join(getattr(error, "__notes__", []))


def code_of(error: Exception) -> int | None:
    """Return the exit code of an error; None for one of the program itself, and not of the user's code."""
    code = exit_code(error)
    return BAD_INPUT if code is None and users_place(error) else code


def complaint(error: Exception) -> str:
    """Write an error on one line; one that the user's code raised with its file and line, and its type."""
    place = "" if isinstance(error, SAY_ENOUGH) else users_place(error)
    text = str(error)
    if not text.strip() or (place and not _is_raised_here(error)):
        text = f"{type(error).__name__}: {text}" if text.strip() else type(error).__name__
    for note in getattr(error, "__notes__", []):
        text += f" {note}" if note.startswith("(") else f"; {note}"
    return shortened(f"{place}: {text}" if place else text)


def shortened(text: str) -> str:
    """Write a text on one line, without its middle where that is long."""
    line = " ".join(text.split())
    if len(line) <= LONGEST:
        return line
    half = LONGEST // 2 - 5
    return f"{line[:half]} [...] {line[-half:]}"


@contextlib.contextmanager
def warnings_on_one_line() -> Iterator[None]:
    """Have warnings printed as errors are, each on a line of its own."""
    before = warnings.formatwarning
    warnings.formatwarning = _warning_line
    try:
        yield
    finally:
        warnings.formatwarning = before


def _warning_line(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """Write a warning on one line, with its kind and place where it is none of ours."""
    path = Path(filename)
    is_ours = category.__module__.startswith("wfr_pde") or (category is UserWarning and path.is_relative_to(PACKAGE))
    text = f"{message}" if is_ours else f"{_shown(path)}, line {lineno}: {category.__name__}: {message}"
    return f"wfr-pde: warning: {shortened(text)}\n"


def users_place(error: BaseException) -> str:
    """Return file and line of the innermost call in the user's code; empty where no such code was running."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if path.suffix == ".py" and not path.is_relative_to(PACKAGE) and not _is_of_library(path):
            return f"{_shown(path)}, line {frame.lineno}"
    return ""


def _is_raised_here(error: BaseException) -> bool:
    """Return whether it was the package that raised an error, and not code that it calls."""
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if not _is_of_library(Path(frame.filename))]
    return bool(own) and Path(own[-1].filename).is_relative_to(PACKAGE)


def _is_of_library(path: Path) -> bool:
    """Return whether a file is part of Python, or of an installed package."""
    if path.is_relative_to(PACKAGE):
        return False
    return not {"site-packages", "dist-packages"}.isdisjoint(path.parts) or any(map(path.is_relative_to, LIBRARIES))


def _shown(path: Path) -> str:
    """Write a path from the working directory on, where it is below that."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
