"""Calls of functions that users write: they get arrays that cannot be written to, so that they change nothing of ours.

A function that works in place would move the particles of a run, or the points of a grid, and nothing would say so.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

REFUSED = "read-only"  # what errors of NumPy, and of buffers, say when an array cannot be written to
# what a message tells the author of a function that works in place
REMEDY = "write x = x - 1 in place of x -= 1, or begin with x = x.copy()"


def read_only(value: Any) -> Any:
    """Return a view of a NumPy array that cannot be written to; return anything else as it is."""
    if not isinstance(value, np.ndarray) or not value.flags.writeable:
        return value
    view = value.view()
    view.flags.writeable = False
    return view


def given_over(array: np.ndarray) -> np.ndarray:
    """Make an array read-only that nobody else holds, so that `unchanging` takes it without a copy."""
    array.flags.writeable = False
    return array


def unchanging(array: np.ndarray) -> np.ndarray:
    """Return an array that nobody can write to: a copy, unless it is one already."""
    owner = array if array.base is None else array.base
    if isinstance(owner, np.ndarray) and not owner.flags.writeable and not array.flags.writeable:
        return array
    return given_over(np.array(array))


def call(name: str, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """Return what a function of a user returns; arrays among the arguments are handed over as `read_only`.

    Parameters
    ----------
    name : str
        How the function is called in errors.
    function : callable
    *arguments, **named

    Raises
    ------
    ValueError
        If it works in place.
    """
    try:
        return function(*map(read_only, arguments), **named)
    except ValueError as error:
        raise_if_in_place(name, error)
        raise


def raise_if_in_place(name: str, error: ValueError) -> None:
    """Raise a ValueError with the remedy, if what went wrong is that a function wrote to an array that it was given."""
    said = str(error)
    if REFUSED in said and REMEDY not in said:
        raise ValueError(
            f"{name} changes an array that it is given, which is read-only, as others use it, too ({said}): {REMEDY}"
        ) from error


def keeps_points(method: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a method of a class that a user writes, so that it gets arrays which it cannot change."""

    @wraps(method)
    def kept(self: Any, *arguments: Any, **named: Any) -> Any:
        name = f"{type(self).__name__}.{method.__name__}"
        return call(name, method, self, *arguments, **{key: read_only(value) for key, value in named.items()})

    return kept
