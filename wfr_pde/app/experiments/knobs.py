"""Knobs: the parameters of an experiment's `run`, with their types, choices and texts."""

from __future__ import annotations

import csv
import dataclasses
import inspect
import io
import math
import numbers
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OPTIONS = (
    "accept_other_code",
    "dask",
    "dry_run",
    "force",
    "help",
    "jobs",
    "json",
    "no_figures",
    "out",
    "quick",
    "resume",
    "shard",
    "traceback",
)  # of the command line: no knob has these names
WORDS = {
    "true": True, "yes": True, "on": True, "1": True,
    "false": False, "no": False, "off": False, "0": False,
}  # fmt: skip
MOST_VALUES = 100_000  # most values of a range: more are a mistake, and no sweep makes as many cells
# types of knobs, and how errors call them
KINDS: dict[type, str] = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


@dataclass(frozen=True)
class Knob:
    """Parameter of an experiment.

    Attributes
    ----------
    name : str
        Name of the parameter of `run`.
    default : int, float, str, bool or tuple
        Its default.
    kind : type
        bool, int, float or str; for a tuple that of its entries.
    is_tuple : bool
        Whether the value is a tuple, written as `0.1,0.2`.
    choices : tuple
        The values that there are, where the annotation names them.
    """

    name: str
    default: Any
    kind: type
    is_tuple: bool = False
    choices: tuple[Any, ...] = ()

    @property
    def option(self) -> str:
        """Option of the command line that sets it: `--t-end`."""
        return "--" + self.name.replace("_", "-")

    @property
    def words(self) -> str:
        """Kind of value that it takes, in words."""
        one = KINDS[self.kind]
        if self.choices:
            one = "one of " + " | ".join(map(_scalar_text, self.choices))
        quotes = " (in double quotes if it has a comma)" if self.kind is str and not self.choices else ""
        return f"several, separated by commas, each {one}{quotes}" if self.is_tuple else one

    def text(self, value: Any) -> str:
        """Write a value as on the command line."""
        if not self.is_tuple:
            return _scalar_text(value)
        row = io.StringIO()
        csv.writer(row, lineterminator="").writerow(map(_scalar_text, value))  # quotes what has a comma
        return row.getvalue()

    def parse(self, text: str) -> Any:
        """Read the value that `text` stands for.

        Raises
        ------
        ValueError
            If it has the wrong type.
        """
        try:
            if self.is_tuple:
                row = next(csv.reader([text], skipinitialspace=True), [])
                parts = [part.strip() for part in row if part.strip()]
                return tuple(self._chosen(_parse_scalar(self.kind, part)) for part in parts)
            return self._chosen(_parse_scalar(self.kind, text.strip()))
        except ValueError:
            raise ValueError(
                f"{self.option} must be {self.words} (default: {self.text(self.default)}), got {text!r}"
            ) from None

    def check(self, value: Any) -> Any:
        """Return a value given in Python in the type of the knob.

        Raises
        ------
        ValueError
            If it has the wrong type.
        """
        try:
            if self.is_tuple:
                if isinstance(value, str) or not isinstance(value, Sequence):
                    raise ValueError
                return tuple(self._chosen(_check_scalar(self.kind, entry)) for entry in value)
            return self._chosen(_check_scalar(self.kind, value))
        except ValueError:
            raise ValueError(
                f"the knob {self.name} must be {self.words} (default: {self.default!r}), got {value!r}"
            ) from None

    def parse_several(self, text: str) -> tuple[Any, ...]:
        """Read the values of a sweep: separated by commas, or by semicolons; of a tuple by semicolons only.

        Of numbers also ranges, `start:stop:number` and `start:stop:number:log`, rounded to 12 digits: the same values
        as if they were written out.

        Raises
        ------
        ValueError
            If one has the wrong type, or is given twice.
        """
        separator = ";" if self.is_tuple or ";" in text else ","
        parts = [part for part in text.split(separator) if part.strip()]
        values = tuple(value for part in parts for value in (self._range(part) if self._is_range(part) else [part]))
        values = tuple(self.parse(value) if isinstance(value, str) else value for value in values)
        if not values:
            raise ValueError(f"{self.option} has no value: give one or several, each {self.words}")
        for i, value in enumerate(values):
            if value in values[:i]:
                raise ValueError(f"{self.option} has the value {self.text(value)} twice in {text!r}: give it once")
        return values

    def _is_range(self, text: str) -> bool:
        return self.kind in (int, float) and not self.is_tuple and ":" in text

    def _range(self, text: str) -> list[Any]:
        """Return the values of `start:stop:number`, with `:log` in equal ratios."""
        try:
            start, stop, number, *how = text.split(":")
            low, high, count = float(start), float(stop), int(number)
            if how not in ([], ["log"]) or count < 2 or (how and not (low > 0 and high > 0)):
                raise ValueError
            if not (math.isfinite(low) and math.isfinite(high)) or count > MOST_VALUES:
                raise ValueError
            shares = [k / (count - 1) for k in range(count)]
            found = [low ** (1 - s) * high**s if how else low + (high - low) * s for s in shares]
            return [_check_scalar(self.kind, float(f"{value:.12g}")) for value in [low, *found[1:-1], high]]
        except ValueError:
            whole = ", whole numbers all" if self.kind is int else ""
            raise ValueError(
                f"{self.option} takes a range as start:stop:number, such as 0:1:5, or 1:1000:4:log (at most "
                f"{MOST_VALUES:,} values{whole}), got {text!r}"
            ) from None

    def _chosen(self, value: Any) -> Any:
        if self.choices and value not in self.choices:
            raise ValueError
        return value


def _scalar_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _parse_scalar(kind: type, text: str) -> Any:
    if kind is bool:
        if text.lower() not in WORDS:
            raise ValueError
        return WORDS[text.lower()]
    if kind is int and not text.lstrip("+-").isdigit():
        return _check_scalar(int, float(text))  # 1e5 is a whole number too
    return kind(text)


def _check_scalar(kind: type, value: Any) -> Any:
    if isinstance(value, bool) or kind is bool:
        fits = isinstance(value, bool) and kind is bool
    elif kind is int:
        fits = isinstance(value, numbers.Real) and math.isfinite(value) and value == round(float(value))
    elif kind is float:
        fits = isinstance(value, numbers.Real)
    else:
        fits = isinstance(value, str)
    if not fits:
        raise ValueError
    return kind(value)


def found_knobs(run: Callable[..., Any], path: Path) -> dict[str, Knob]:
    """Return the knobs: the parameters of `run`, typed by their defaults.

    Raises
    ------
    ValueError
        If a parameter has no default, or one of another type.
    """
    knobs = {}
    for name, parameter in inspect.signature(run).parameters.items():
        default = parameter.default
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD) or default is parameter.empty:
            raise ValueError(f"run of {path} needs named parameters with defaults, but has {parameter}")
        if name in OPTIONS:
            raise ValueError(f"run of {path} has a knob {name!r}, which is an option of the command line: rename it")
        is_tuple = isinstance(default, tuple)
        kinds = {type(entry) for entry in (default if is_tuple else (default,))}
        if kinds == {int, float} or (kinds == {int} and parameter.annotation in (float, "float")):
            kinds = {float}
        kind = kinds.pop() if len(kinds) == 1 else None
        if kind not in KINDS:
            raise ValueError(
                f"the knob {name}={default!r} of {path} needs a default that is an int, float, str or bool, "
                "or a tuple of those"
            )
        if name == "seed" and (kind is not int or is_tuple):
            raise ValueError(f"the knob seed={default!r} of {path} must be a whole number by default")
        knob = Knob(name, default, kind, is_tuple, _choices(parameter, run, path))
        knobs[name] = dataclasses.replace(knob, default=knob.check(default))
    return knobs


def _choices(parameter: inspect.Parameter, run: Callable[..., Any], path: Path) -> tuple[Any, ...]:
    """Return the values that an annotation `Literal[...]` or `tuple[Literal[...], ...]` names; none for others."""
    annotation = parameter.annotation
    if isinstance(annotation, str):  # from __future__ import annotations
        try:
            annotation = eval(annotation, getattr(run, "__globals__", {}))
        except Exception as error:
            raise ValueError(f"the annotation of the knob {parameter.name} of {path} cannot be read: {error}") from None
    if typing.get_origin(annotation) is tuple:
        annotation = typing.get_args(annotation)[0]
    return typing.get_args(annotation) if typing.get_origin(annotation) is typing.Literal else ()
