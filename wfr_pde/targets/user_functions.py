"""Functions that users write: called with arrays of coordinates, with points in the last axis, or point by point."""

from __future__ import annotations

import contextlib
import inspect
import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from typing_extensions import override

from wfr_pde.errors import SlowFunctionWarning
from wfr_pde.numerics.arguments import refuse_masked, shown
from wfr_pde.numerics.counted import counted
from wfr_pde.numerics.typing import Array
from wfr_pde.numerics.user_calls import raise_if_in_place, read_only
from wfr_pde.targets.expressions import compile_expression

# kinds of parameters that may be coordinates
POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
TRIED = 8  # points at which a function that takes no arrays is tried with numbers; it may be undefined at some
# forms of functions that users write: what they are called with
FORMS = {
    "coordinates": "one array (...) per coordinate",
    "points": "one array of points (..., d)",
    "point": "one point (d,) at a time",
}


def checked_form(function: Callable[..., Any], of: Any, ndim: int | None) -> int:
    """Check a function in one of the `FORMS`, and return its dimension, read from its parameters if not given.

    Raises
    ------
    ValueError
        If there is no such form, the dimension cannot be told, or the function takes another number of arguments.
    """
    if not isinstance(of, str) or of not in FORMS:
        known = "; ".join(f"{form!r}: V takes {words}" for form, words in FORMS.items())
        raise ValueError(f"of must be one of {known}; got {shown(of)}")
    if of != "coordinates":
        if ndim is None:
            raise ValueError(f"V takes {FORMS[of]}, which does not tell the dimension d: give ndim")
        return ndim
    moving = depends_on_time(function, of, ndim)
    if ndim is None:
        return _count_coordinates(function) - moving
    least, most = _numbers_of_arguments(function)
    if not least <= ndim + moving <= most:
        takes = f"{least}" if least == most else f"{least} to {most}"
        raise ValueError(
            f"V takes {takes} argument{'s' * (takes != '1')}, but ndim={ndim}: it gets one array per coordinate, "
            'V(x, y, ...). For a function of points, say so: of="points" if it takes arrays of shape (..., d), '
            'of="point" if it takes one vector (d,) at a time'
        )
    return ndim


def depends_on_time(function: Callable[..., Any], of: Any, ndim: int | None) -> bool:
    """Tell whether the last argument is the time: its name is t, and it is not needed as a coordinate."""
    try:
        names = [p.name for p in inspect.signature(function).parameters.values() if p.kind in POSITIONAL]
    except (TypeError, ValueError):
        return False
    coordinates = ndim if of == "coordinates" else 1
    return len(names) > 1 and names[-1] == "t" and (coordinates is None or len(names) == coordinates + 1)


@dataclass(frozen=True)
class AtTime:
    """A function of places and time at one time: value or gradient of a potential that moves.

    Parameters
    ----------
    function : callable or str
        With the time as its last argument, or an expression in t.
    t : float
        The time.
    part : {"value", "gradient"}
        Of an expression.
    ndim : int or None
        Of an expression.
    """

    function: Callable[..., Any] | str
    t: float
    part: str = "value"
    ndim: int | None = None

    def __call__(self, *places: Any) -> Any:
        """Return the function of the places at that time."""
        function = self.function
        if isinstance(function, str):
            compiled = compile_expression(function, self.ndim)
            function = compiled.value if self.part == "value" else compiled.gradient
        return function(*places, self.t)

    @override
    def __repr__(self) -> str:
        name = getattr(self.function, "__qualname__", self.function)
        return f"{name} at t={self.t!r}"


class UserFunction:
    """Function of points (..., d), from one that a user wrote in one of the `FORMS`.

    A function of coordinates that does not take arrays, but takes numbers, is called point by point from then on, with
    a `SlowFunctionWarning`. No function is called without points.

    Parameters
    ----------
    function : callable
        The function as the user wrote it.
    of : {"coordinates", "points", "point"}
        Its form, one of `FORMS`.
    name : str
        How it is called in errors.
    parts : int or None
        None for one value a point; d for a gradient: d arrays of coordinates, else arrays (..., d) or (d,).
    owner : object
        The target, named in errors.
    constant : bool
        Whether one number may stand for the values at all points; it may in a gradient.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        of: str,
        name: str,
        parts: int | None,
        owner: Any,
        constant: bool = False,
    ) -> None:
        self.function, self.of, self.name, self.parts, self.owner = function, of, name, parts, owner
        self.constant = constant
        self.one_by_one = of == "point"
        self.epsilon = float(np.finfo(np.float64).eps)  # of the least precise numbers that it has returned

    def __call__(self, points: Array) -> Array:
        """Return values (...), or gradients (..., d), at points (..., d).

        Raises
        ------
        ValueError
            If it returns another shape, or no real numbers.
        """
        points, shape = read_only(points), points.shape[:-1]
        if 0 in shape:
            return np.empty(shape if self.parts is None else points.shape)
        if self.one_by_one:
            return self._point_by_point(points)
        try:
            returned = self._called(points if self.of == "points" else np.moveaxis(points, -1, 0))
        except Exception as error:
            if isinstance(error, ValueError):
                raise_if_in_place(f"{self.name} of {self.owner!r}", error)
            if self.of == "coordinates" and not np.iscomplexobj(points) and self._takes_numbers(points, error):
                return self._point_by_point(points)
            error.add_note(
                f"raised by {self.name} of {self.owner!r} at coordinates of shape {shape}: it gets {FORMS[self.of]}; "
                "use numpy.where instead of if, and numpy's functions instead of math's"
            )
            raise
        return self._assembled(returned, points)

    def _called(self, arguments: Any) -> Any:
        # what is not finite is reported where it matters, with its place
        with np.errstate(all="ignore"):
            return self.function(*arguments) if self.of == "coordinates" else self.function(arguments)

    def _point_by_point(self, points: Array) -> Array:
        values = [self._at(point) for point in points.reshape(-1, points.shape[-1])]
        return np.reshape(values, points.shape[:-1] if self.parts is None else points.shape)

    def _at(self, point: Array) -> Array:
        """Return value or gradient at one point (d,); infinity or NaN, as NumPy does, where plain Python raises."""
        try:
            return self._assembled(self._called(point.tolist() if self.of == "coordinates" else point.copy()), point)
        except (OverflowError, ZeroDivisionError):  # of the math module and Python's numbers: too large for a double
            return np.full(() if self.parts is None else point.shape, np.inf if self.parts is None else np.nan)
        except ValueError as error:
            if "math domain error" not in str(error) and "positive input" not in str(error):
                raise
            return np.full(() if self.parts is None else point.shape, np.nan)

    def _takes_numbers(self, points: Array, error: Exception) -> bool:
        """Tell whether the function works for some point alone, given as numbers.

        If so, it is called point by point from now on, with a warning.
        """
        flat = points.reshape(-1, points.shape[-1])
        for point in flat[:: max(1, len(flat) // TRIED)]:
            with contextlib.suppress(Exception):  # if none works, the error of the first call is told
                began = time.perf_counter()
                self._assembled(self._called(point.tolist()), point)
                took = time.perf_counter() - began
                break
        else:
            return False
        self.one_by_one = True
        warnings.warn(
            f"{self.name} of {self.owner!r} takes no arrays ({type(error).__name__}: {error}), so it is called point "
            f"by point, about {1e6 * took:.2g} µs each: NumPy's functions in place of math's, and numpy.where in place "
            "of if, make it faster by orders",
            SlowFunctionWarning,
            stacklevel=2,
        )
        return True

    def _assembled(self, returned: Any, points: Array) -> Array:
        if self.parts is None:
            return self._shaped(returned, self.name, points.shape[:-1], points)
        if self.of != "coordinates":
            return self._shaped(returned, self.name, points.shape, points)
        if not isinstance(returned, Sequence | np.ndarray) or len(returned) != self.parts:
            got = (
                counted(len(returned), "part")
                if isinstance(returned, Sequence | np.ndarray)
                else type(returned).__name__
            )
            wanted = counted(self.parts, "array")
            raise ValueError(f"{self.name} must return {wanted}, one per coordinate, but returned {got}")
        shaped = [self._shaped(part, f"{self.name}[{i}]", points.shape[:-1], points) for i, part in enumerate(returned)]
        return np.stack(shaped, axis=-1)

    def _shaped(self, value: Any, name: str, shape: tuple[int, ...], points: Array) -> Array:
        """Return `value` as an array of that shape."""
        refuse_masked(f"what {name} returns", value)
        array = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)  # tensors that hold gradients
        if array.dtype.kind not in "biufc" or (np.iscomplexobj(array) and not np.iscomplexobj(points)):
            raise ValueError(f"{name} must return real numbers, but returned an array of type {array.dtype}")
        if array.dtype.kind == "f":
            self.epsilon = max(self.epsilon, float(np.finfo(array.dtype).eps))
        many = math.prod(points.shape[:-1])
        if array.shape == () and many > 1 and self.parts is None and not self.constant:
            raise ValueError(
                f"{name} returned one number for {many} points: it gets {FORMS[self.of]} and must return one value per "
                "point (no np.sum or np.mean over them); for a constant write 0 * x; if it takes one vector (d,) at a "
                'time, give ndim and of="point"'
            )
        if array.shape not in (shape, ()):
            raise ValueError(
                f"{name} must return one value per point: it got {FORMS[self.of]} for points of shape {points.shape}, "
                f"and should return shape {shape}, but it returned shape {array.shape}"
            )
        array = array if np.iscomplexobj(array) else array.astype(np.float64)
        return np.array(np.broadcast_to(array, shape))


def _count_coordinates(function: Callable[..., Any]) -> int:
    """Count the positional parameters without a default."""
    least, most = _numbers_of_arguments(function)
    if most == math.inf:
        raise ValueError(f"{function!r} takes any number of coordinates (*args), or does not tell: give ndim")
    if not least:
        raise ValueError(f"{function!r} has no positional parameter to take a coordinate: write lambda x: ...")
    return least


def _numbers_of_arguments(function: Callable[..., Any]) -> tuple[int, float]:
    """Return the fewest and most positional arguments of a function; 0 and infinity where they cannot be read."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return 0, math.inf
    positional = [p for p in parameters if p.kind in POSITIONAL]
    least = sum(p.default is p.empty for p in positional)
    return least, math.inf if any(p.kind is p.VAR_POSITIONAL for p in parameters) else len(positional)
