"""Identity of calls: the function and the values of its arguments, as a hash that every process finds."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import re
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

ADDRESS = re.compile(r" at 0x[0-9a-f]+")  # address in the repr of an object, which differs from process to process


def call_name(function: Callable[..., Any]) -> str:
    """Return the name of a function, or of the class of a callable object."""
    if isinstance(function, functools.partial):
        return call_name(function.func)
    return getattr(function, "__qualname__", type(function).__qualname__)


def call_hash(function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
    """Hash a call: the function and the values of its arguments.

    Numbers, texts, arrays, Datasets (their values, without attributes), containers, dataclasses and functions with what
    they close over are known by their values; other objects by their repr, without addresses.

    Raises
    ------
    TypeError
        For an argument that a call uses up, as a numpy Generator or an iterator.
    """
    digest = hashlib.sha256()
    for piece in _pieces((function, args, dict(kwargs)), ()):
        digest.update(piece)
        digest.update(b"\0")
    return digest.hexdigest()


def _pieces(value: Any, inside: tuple[int, ...]) -> Iterator[bytes]:
    """Yield the bytes that a value is known by; `inside` are the ids of the objects that hold it."""
    if id(value) in inside:
        yield b"itself"
        return
    _refuse_used_up(value)
    inside = (*inside, id(value))
    yield type(value).__qualname__.encode()
    if isinstance(value, np.ndarray) and value.dtype != object:
        yield f"{value.dtype.str} {value.shape}".encode()
        yield np.ascontiguousarray(value).tobytes()
    elif isinstance(value, set | frozenset):
        yield from sorted(hashlib.sha256(b"\0".join(_pieces(one, inside))).digest() for one in value)
    else:
        held = _held(value)
        if held is None:
            yield ADDRESS.sub("", repr(value)).encode()
            return
        yield str(len(held)).encode()
        for one in held:
            yield from _pieces(one, inside)


def _refuse_used_up(value: Any) -> None:
    """Refuse what a call changes for the calls after it: a part that is read from disk would not."""
    if isinstance(value, np.random.Generator | np.random.RandomState | Iterator):
        kind = type(value).__name__
        raise TypeError(
            f"a {kind} is used up by the part that it is given to, but not by one that is read from disk, so that a "
            f"run that goes on would have other numbers: give {'a tuple' if isinstance(value, Iterator) else 'a seed'}"
        )


def _held(value: Any) -> list[Any] | None:
    """Return the values that determine an object; None for one that holds no others."""
    import xarray as xr

    if isinstance(value, np.ndarray | list | tuple):
        return list(value)
    if isinstance(value, functools.partial):
        return [value.func, value.args, value.keywords]
    if isinstance(value, types.MethodType):
        return [value.__func__, value.__self__]
    if isinstance(value, types.FunctionType):
        return _held_by_function(value)
    if isinstance(value, xr.Dataset):  # attributes hold the time that a run took
        return [(str(name), variable.dims, variable.values) for name, variable in value.variables.items()]
    if isinstance(value, xr.DataArray):
        coordinates = [(str(name), one.dims, one.values) for name, one in value.coords.items()]
        return [str(value.name), value.dims, value.values, *coordinates]
    if isinstance(value, Mapping):
        return [one for pair in value.items() for one in pair]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value) if field.init]
        return [type(value).__module__, *((name, getattr(value, name, None)) for name in names)]
    return None


def _held_by_function(function: types.FunctionType) -> list[Any]:
    """Return name, code, defaults, and what the function closes over."""
    code = function.__code__
    cells = [cell.cell_contents for cell in function.__closure__ or () if cell != types.CellType()]
    named = [function.__module__, function.__qualname__, code.co_code, code.co_names, code.co_consts]
    return [*named, function.__defaults__, function.__kwdefaults__, cells]
