"""Dataclasses that are compared by what they hold, arrays too, and say which argument was meant."""

from __future__ import annotations

import inspect
from dataclasses import fields
from typing import Any, ClassVar

import numpy as np
from typing_extensions import override

from wfr_pde.numerics.arguments import refuse_unknown

HASHED = 64  # entries of an array that its hash reads: equality reads all


class Record:
    """A base of dataclasses (``eq=False``): equality, hash, and errors for arguments that do not exist.

    Two of one class are equal if all their fields are that have ``compare=True``; arrays are compared entry by entry.
    Classes that are no dataclasses are equal to themselves only.

    Attributes
    ----------
    other_words : dict
        Names of arguments that others use: what to write here.

    Raises
    ------
    TypeError
        If an argument is given by a name that the class does not know; with the one that was probably meant.
    """

    other_words: ClassVar[dict[str, str]] = {}

    def __new__(cls, *args: Any, **named: Any) -> Any:
        """Make an object, if the class knows the names of its arguments."""
        if named:
            _refuse_unknown(cls, named)
        return super().__new__(cls)

    @override
    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        names = _compared(type(self))
        if type(self) is not type(other) or not names:
            return NotImplemented
        return all(same(getattr(self, name), getattr(other, name)) for name in names)

    @override
    def __hash__(self) -> int:
        names = _compared(type(self))
        if not names:
            return object.__hash__(self)
        if "_hash" not in self.__dict__:
            contents = (_hashable(getattr(self, name)) for name in names)
            object.__setattr__(self, "_hash", hash((type(self).__qualname__, *contents)))
        return int(self.__dict__["_hash"])

    @override
    def __getstate__(self) -> dict[str, Any]:
        """Leave the hash out of copies and pickles: that of a text differs from process to process."""
        return {name: value for name, value in self.__dict__.items() if name != "_hash"}


def same(a: Any, b: Any) -> bool:
    """Return whether two values are equal: arrays in shape and every entry, lists and tuples item by item."""
    if a is b:
        return True
    if hasattr(a, "equals") or hasattr(b, "equals"):  # Datasets
        return type(a) is type(b) and bool(a.equals(b))
    if hasattr(a, "dtype") or hasattr(b, "dtype"):
        return getattr(a, "shape", ()) == getattr(b, "shape", ()) and bool((a == b).all())
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


def _compared(cls: type) -> tuple[str, ...]:
    """Return the names of the fields that count; none where a class adds no fields, whatever else it adds."""
    return tuple(field.name for field in fields(cls) if field.compare) if "__dataclass_fields__" in vars(cls) else ()


def _hashable(value: Any) -> Any:
    """Return something with a hash that is equal for equal values."""
    if isinstance(value, np.ndarray):
        step = max(1, -(-value.size // HASHED))
        numbers = value.ravel()[::step]
        return value.shape, (numbers + 0.0).tobytes() if numbers.dtype.kind in "biuf" else 0  # -0.0 equals 0.0
    if isinstance(value, list | tuple):
        return tuple(map(_hashable, value))
    try:
        return hash(value)
    except TypeError:
        return type(value).__qualname__


def _refuse_unknown(cls: type, named: dict[str, Any]) -> None:
    parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]  # type: ignore[misc]
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return
    known = [parameter.name for parameter in parameters]
    refuse_unknown(cls.__name__, named, known, cls.other_words)  # type: ignore[attr-defined]
