"""Progress of long computations: bars on a terminal and in notebooks, and a line where code is compiled first."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Callable, Iterator
from contextvars import ContextVar

# what the bar of a long computation is told of a step; None where there is no bar
_REPORTED: ContextVar[Callable[[], object] | None] = ContextVar("_REPORTED", default=None)


def is_watched(progress: bool | None = None) -> bool:
    """Return whether to show progress: as asked for, else where stderr is a terminal, or in a notebook."""
    if progress is None:
        return is_seen()
    if not isinstance(progress, bool):
        raise ValueError(f"progress must be True, False or None, got an object of class {type(progress).__name__}")
    return progress


def is_seen() -> bool:
    """Return whether somebody may be looking: stderr is a terminal, or the program a notebook."""
    shell = sys.modules.get("IPython")
    in_notebook = shell is not None and type(shell.get_ipython()).__name__ == "ZMQInteractiveShell"
    return in_notebook or (sys.stderr is not None and sys.stderr.isatty())


@contextlib.contextmanager
def bar(
    progress: bool | None, total: int | None, done: int = 0, unit: str = "step", title: str = ""
) -> Iterator[Callable[[], object]]:
    """Show a bar of so many parts, where progress is shown; give a function that is to be called after every part."""
    if not is_watched(progress) or (progress is None and _REPORTED.get() is not None):
        yield lambda: None  # no hidden bar: tqdm starts a thread for it all the same
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tqdm's, where ipywidgets are not there: its bars are text then, which will do
        from tqdm.auto import tqdm

    with tqdm(total=total, initial=done, unit=unit, desc=title or None, leave=False) as shown:
        yield shown.update
        shown.refresh()  # the last parts too, where they were fast


@contextlib.contextmanager
def reporting(progress: bool | None, title: str) -> Iterator[None]:
    """Show a bar of all steps that are made inside, in this thread and those that take its context, however many."""
    if _REPORTED.get() is not None:  # part of a longer computation, which reports
        yield
        return
    with bar(progress, None, title=title) as count:
        token = _REPORTED.set(count if is_watched(progress) else None)
        try:
            yield
        finally:
            _REPORTED.reset(token)


def step_done() -> None:
    """Say that a step of a long computation is made, to the bar that reports it, if there is one."""
    count = _REPORTED.get()
    if count is not None:
        count()
