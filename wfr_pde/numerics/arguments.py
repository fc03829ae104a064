"""Checks of arguments: numbers, arrays, names and objects as they are used, or an error with the argument's name.

All rooms check by these. A check takes the name of the argument and what was given, and returns what is to be used.
"""

from __future__ import annotations

import difflib
import inspect
import math
import os
from collections.abc import Callable, Collection, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numpy as np

from wfr_pde.numerics.typing import Array

SHOWN = 80  # characters of a value in a message: one line of a terminal
LARGEST_WHOLE = 2**63 - 1  # of an integer in an array
LARGEST_SEED = 2**256  # entropy that numpy makes has 128 bits
MOST_DIMENSIONS = 10**6  # a larger number of dimensions is taken for a mistake
LENGTHS = 1e-75, 1e75  # the fourth power and its inverse are numbers
MOST_NESTED = 64  # lists in lists: NumPy has no more dimensions
LONGEST_NAME = 255  # bytes of a name of a file, as Linux, macOS and Windows have it
SMALL = 2**28  # bytes, 256 MiB, that are taken to be free without asking the system
LARGEST = 2**47  # bytes that a process can address at all
ALIKE = 0.65  # share of letters that a name and the one that was meant have in common: difflib's default is 0.6
ELSEWHERE = {  # arguments that other functions have, and what to do without them
    "record": "solve has; of a stored density ask wfr.diagnostics, as in "
    "wfr.diagnostics.mean(wfr.Density.from_dataset(ds), wfr.KL(target))",
    "dt": "the step is that of the run, as in solve(..., dt=0.1)",
}
OTHER_WORDS = {  # names that other programs have: those that are used here, of which a function has one
    "time": ("t", "times"),
    "times": ("t",),
    "tol": ("rtol",),
    "tolerance": ("rtol",),
    "alpha": ("transport_rate", "rate"),
    "beta": ("reaction_rate", "rate"),
    "step": ("dt",),
    "step_size": ("dt",),
    "stepsize": ("dt",),
    "cov": ("covariance", "covariances"),
    "covs": ("covariances",),
    "mu": ("mean", "means"),
    "n": ("shape",),
    "cells": ("shape",),
    "bounds": ("box", "support"),
    "n_particles": ("n",),
    "n_samples": ("n",),
    "n_seeds": ("seeds",),
    "seed": ("rng",),
    "random_state": ("rng",),
    "frame": ("index",),
    "dim": ("ndim",),
    "grad": ("gradient",),
}
P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


def shown(value: Any) -> str:
    """Show a value, whatever it is, in one short line."""
    if isinstance(value, int) and abs(value) >= 10**30:
        return f"a whole number of {int(math.log10(abs(value))) + 1} digits"
    try:
        line = " ".join(repr(value).split())
    except Exception:  # a repr of others, which may fail as it likes
        line = f"an object of class {type(value).__name__}"
    return line if len(line) <= SHOWN else f"{line[:SHOWN]}..."


def real_array(name: str, value: Any) -> Array:
    """Return `value` as an array of real numbers in double precision: itself where it is one.

    Raises
    ------
    ValueError
        For complex numbers, dates and durations, texts, None, and whatever else is no array of real numbers, and for
        masked values.
    """
    if type(value) is np.ndarray and value.dtype == np.float64:
        return value
    refuse_masked(name, value)
    try:
        array = np.asarray(value)
        if array.dtype.kind in "fiub":
            return np.asarray(array, dtype=np.float64)
        if array.dtype.kind == "O" and all(_is_number(item) for item in array.ravel().tolist()):
            return np.asarray(array, dtype=np.float64)
        kind = _KINDS.get(array.dtype.kind)
    except OverflowError:
        raise ValueError(f"{name} has a number that is too large for double precision: {shown(value)}") from None
    except Exception as error:  # conversions of other libraries raise what they like
        raise ValueError(f"{name} must be an array of real numbers, got {shown(value)} ({_line(error)})") from error
    raise ValueError(
        f"{name} must be an array of real numbers, got {shown(value)}{f', which is {kind}' if kind else ''}"
    )


def is_array(value: Any) -> bool:
    """Return whether something is an array, of NumPy or of a library that NumPy reads, and not a class."""
    return hasattr(value, "__array__") and hasattr(value, "shape") and not isinstance(value, type)


def refuse_no_entries(name: str, value: Any) -> None:
    """Refuse an array of no dimensions where several things belong: it counts as iterable, but has no entries.

    Raises
    ------
    TypeError
    """
    if isinstance(value, np.ndarray) and value.ndim == 0:
        raise TypeError(f"{name} must be something with entries, got an array of no dimensions, {shown(value)}")


def refuse_masked(name: str, value: Any, depth: int = 0) -> None:
    """Refuse an array with masked values, or a list of such: what lies under a mask is not meant to be read.

    Raises
    ------
    ValueError
    """
    if isinstance(value, list | tuple) and depth < MOST_NESTED:
        for item in value:
            if isinstance(item, np.ma.MaskedArray | list | tuple):
                refuse_masked(name, item, depth + 1)
    if not isinstance(value, np.ma.MaskedArray) or not np.any(np.ma.getmaskarray(value)):
        return
    if value.ndim == 0:
        raise ValueError(f"{name} is masked, which stands for a missing value: give a number")
    places = np.argwhere(np.ma.getmaskarray(value))
    many = f"{len(places)} masked values, the first" if len(places) > 1 else "a masked value"
    raise ValueError(
        f"{name} has {many} at {places[0].tolist()}: leave masked values out, as by array.compressed(), or say what "
        "stands for them, as by array.filled(0.0)"
    )


_KINDS = {  # what arrays that are no real numbers hold, by NumPy's letter, and the remedy
    "c": "complex: give .real, or real and imaginary parts as two coordinates",
    "m": "a duration: give numbers in one unit of time, such as value / np.timedelta64(1, 's')",
    "M": "a date: give numbers in one unit of time since the start",
    "U": "text",
    "S": "text",
}


def _is_number(item: Any) -> bool:
    """Return whether an item of an array of objects is a real number, such as a Fraction or a Decimal."""
    is_other = isinstance(item, complex | np.complexfloating | str | bytes | np.ma.MaskedArray)
    return hasattr(item, "__float__") and not is_other


def _line(error: Exception) -> str:
    """Return the first line of what an error says."""
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"[:SHOWN]


def finite_array(name: str, value: Any) -> Array:
    """Return `value` as a read-only float array of its own, all entries finite."""
    array = np.array(real_array(name, value))
    if not np.all(np.isfinite(array)):
        place = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise ValueError(f"{name} must be finite, but {name}{list(place) or ''} is {array[place]}")
    array.setflags(write=False)
    return array


def number(name: str, value: Any) -> float:
    """Return `value` as a float, which may be infinite or nan."""
    if isinstance(value, float):
        return float(value)
    if isinstance(value, bool | np.bool_):
        raise ValueError(f"{name} must be a single real number, got {value}")
    array = real_array(name, value)
    if array.ndim != 0:
        raise ValueError(f"{name} must be a single number, got an array of shape {array.shape}")
    return float(array)


def finite(name: str, value: Any, meaning: str = "") -> float:
    """Return `value` as a finite float; `meaning` says what it is."""
    result = number(name, value)
    if not math.isfinite(result):
        raise ValueError(f"{name} must be finite, got {result}{f': it is {meaning}' if meaning else ''}")
    return result


def positive(name: str, value: Any, meaning: str = "") -> float:
    """Return `value` as a finite float above zero."""
    result = finite(name, value, meaning)
    if result <= 0:
        raise ValueError(f"{name} must be positive, got {result}{f': it is {meaning}' if meaning else ''}")
    return result


def length(name: str, value: Any, meaning: str = "") -> float:
    """Return `value` as a positive float whose square, and the inverse of that, neither overflow nor vanish."""
    result = positive(name, value, meaning)
    shortest, longest = LENGTHS
    if not shortest <= result <= longest:
        raise ValueError(
            f"{name} must be between {shortest:g} and {longest:g}, got {result}"
            f"{f': it is {meaning}' if meaning else ''}; use other units"
        )
    return result


def not_negative(name: str, value: Any, meaning: str = "") -> float:
    """Return `value` as a finite float of at least zero."""
    result = finite(name, value, meaning)
    if result < 0:
        raise ValueError(f"{name} must be >= 0, got {result}{f': it is {meaning}' if meaning else ''}")
    return result


def share(name: str, value: Any, meaning: str = "") -> float:
    """Return `value` as a number strictly between 0 and 1."""
    result = number(name, value)
    if not 0 < result < 1:
        raise ValueError(f"{name} must lie between 0 and 1, got {result}{f': it is {meaning}' if meaning else ''}")
    return result


def whole(name: str, value: Any, least: int | None = None, meaning: str = "", most: int = LARGEST_WHOLE) -> int:
    """Return `value` as an integer, at least `least` and at most `most`; a float that is whole counts."""
    said = f"a whole number{f' of at least {least}' if least is not None else ''}"
    end = f": it is {meaning}" if meaning else ""
    if isinstance(value, int) and not isinstance(value, bool):
        result = value
    else:
        try:
            exact = number(name, value)
        except ValueError:
            raise ValueError(f"{name} must be {said}, got {shown(value)}{end}") from None
        if not exact.is_integer():  # neither are inf and nan
            raise ValueError(f"{name} must be {said}, got {shown(value)}{end}")
        result = int(exact)
    if result > most:
        raise ValueError(f"{name} must be at most {shown(most)}, got {shown(value)}{end}")
    if least is not None and result < least:
        raise ValueError(f"{name} must be {said}, got {shown(value)}{end}")
    return result


def dimension(value: Any, least: int = 1) -> int:
    """Return the argument `ndim` as a number of dimensions."""
    return whole("ndim", value, least, "the number of dimensions", MOST_DIMENSIONS)


def choice(name: str, value: Any, choices: Collection[str]) -> str:
    """Return `value`, or refuse it if it is none of the choices."""
    if not isinstance(value, str) or value not in choices:
        near = difflib.get_close_matches(value, choices, 1) if isinstance(value, str) else []
        meant = f" (did you mean {near[0]!r}?)" if near else ""
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {shown(value)}{meant}")
    return value


def flag(name: str, value: Any) -> bool:
    """Return `value`, or refuse it if it is not True or False."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name} must be True or False, got {shown(value)}")
    return bool(value)


def text(name: str, value: Any, meaning: str = "a text") -> str:
    """Return `value`, or refuse it if it is no text."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be {meaning}, got {shown(value)}")
    return value


def path(name: str, value: Any) -> Path:
    """Return `value` as a path."""
    try:
        written = os.fspath(value)
    except Exception:
        written = None  # it is none, or one that does not say which
    if not isinstance(written, str) or "\0" in written or not written:
        raise TypeError(f"{name} must be a path, got {shown(value)}")
    value = written
    if any(len(part.encode(errors="replace")) > LONGEST_NAME for part in Path(value).parts):
        raise ValueError(
            f"{name} has a name of more than {LONGEST_NAME} bytes, longer than files may have: {shown(value)}"
        )
    return Path(value)


def instance(name: str, value: Any, kinds: type[T] | tuple[type, ...], remedy: str = "") -> T:
    """Return `value`, or refuse it if it is of none of the classes `kinds`."""
    if isinstance(value, type) or not isinstance(value, kinds):
        known = " or ".join(kind.__name__ for kind in (kinds if isinstance(kinds, tuple) else (kinds,)))
        article = "an" if known[0] in "AEIOU" else "a"
        given = f"the class {value.__name__} itself: call it" if isinstance(value, type) else shown(value)
        raise TypeError(f"{name} must be {article} {known}{f' {remedy}' if remedy else ''}, got {given}")
    return value  # type: ignore[return-value]


def function(name: str, value: Any, signature: str) -> Callable[..., Any]:
    """Return `value`, or refuse it if it cannot be called; `signature` says how, such as "points (..., d) -> (...)"."""
    if not callable(value):
        raise TypeError(f"{name} must be a function {signature}, got {shown(value)}")
    return value


def seed(name: str, value: Any) -> Any:
    """Return `value`, or refuse it if numpy.random.default_rng does: it takes a seed, a generator, or None."""
    known = np.random.Generator | np.random.SeedSequence | np.random.BitGenerator
    if value is None or isinstance(value, known):
        return value
    try:
        return whole(name, value, 0, most=LARGEST_SEED)
    except ValueError:
        raise ValueError(
            f"{name} must be a seed (a whole number >= 0), a numpy.random.Generator or None, got {shown(value)}"
        ) from None


def generator(value: Any) -> np.random.Generator:
    """Return the generator for the argument `rng`: itself, or a new one from a seed."""
    return value if isinstance(value, np.random.Generator) else np.random.default_rng(seed("rng", value))


def draws(n: Any, ndim: int = 1) -> int:
    """Return the argument `n` as a number of draws (d,), or refuse it if they do not fit into memory.

    Raises
    ------
    ValueError, MemoryError
    """
    number_of = whole("n", n, 0, "the number of draws")
    check_fit("n", n, 8 * number_of * ndim)
    return number_of


def check_fit(name: str, value: Any, size: int) -> None:
    """Refuse a value of an argument for which `size` bytes would have to be free, if they are not.

    Raises
    ------
    MemoryError
    """
    if size < SMALL:
        return
    from wfr_pde.numerics.backends.numpy import available_memory

    free = available_memory() or LARGEST
    if size > free:
        needed = f"{size / 2**30:.3g}" if size < LARGEST else f"more than {LARGEST // 2**30}"
        raise MemoryError(f"{name}={shown(value)} needs {needed} GiB of memory, but {free / 2**30:.3g} GiB are free")


def refuse_unknown(what: str, named: Mapping[str, Any], known: list[str], others: Mapping[str, str] = {}) -> None:
    """Refuse arguments by names that `what` does not know, with the one that was probably meant.

    Raises
    ------
    TypeError
    """
    for name in named:
        if name in known:
            continue
        words = [word for word in OTHER_WORDS.get(name, ()) if word in known]
        near = [others[name]] if name in others else words or difflib.get_close_matches(name, known, 1, ALIKE)
        elsewhere = next((ELSEWHERE[word] for word in (name, *OTHER_WORDS.get(name, ())) if word in ELSEWHERE), None)
        meant = f", did you mean {near[0]}?" if near else f": {elsewhere};" if elsewhere else ":"
        takes = f"it takes {', '.join(known)}" if known else "it takes no arguments"
        raise TypeError(f"{what} has no argument {name!r}{meant} {takes}")


def knows_its_arguments(called: Callable[P, R]) -> Callable[P, R]:
    """Wrap a public function, so that an argument by an unknown name is refused with the one that was meant."""
    parameters = inspect.signature(called).parameters.values()
    by_name = (one.name for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY))
    known = [name for name in by_name if name not in ("self", "cls")]

    @wraps(called)
    def checked(*args: P.args, **named: P.kwargs) -> R:
        if named:
            refuse_unknown(called.__name__, named, known)
        return called(*args, **named)

    return checked
