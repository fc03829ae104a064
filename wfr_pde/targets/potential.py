"""Targets given by a potential: a Python function, or an expression as text."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from wfr_pde.deadline import check_deadline
from wfr_pde.targets import differentiation
from wfr_pde.targets.arguments import Array, box_of, call_repr, dimension
from wfr_pde.targets.base import Target
from wfr_pde.targets.breaks import Breaks, breaks_of_expression, given_breaks
from wfr_pde.targets.expressions import CompiledExpression, compile_expression


@dataclass(frozen=True, eq=False)
class Potential(Target):
    """The distribution exp(-V) of any potential V(x, y, …).

    Parameters
    ----------
    V : function or str
        A function of the d coordinates, arrays of one shape (...), that returns an array (...):
        `Potential(lambda x, y: 2 * (x**2 - 1) ** 2 + y**2)`. Or an expression in x, y, z, w and r (distance
        from the origin), as `Potential("2*(x**2 - 1)**2 + y**2")`; text cannot run code.
    ndim : int, optional
        Dimension d; else the number of positional parameters without a default, or the last coordinate used.
    gradient : function, optional
        grad V: a function of the coordinates that returns d arrays (...) or numbers. Compared with central
        differences at its first use. Without it an expression is differentiated by sympy, a function by
        complex steps or differences.
    support : (lower, upper), optional
        A box that surely holds the mass; else the box is searched for.
    breaks : list of numbers, or one list per axis, optional
        Where V, or a derivative of V, jumps: coordinates c of points x = c, in more dimensions of hyperplanes
        x_k = c. Expressions know theirs, which are added. `potential.breaks(lower, upper)` are those in a box.

    Raises
    ------
    ValueError
        If the dimension cannot be told, the expression holds something not allowed, V or gradient return
        a wrong shape, gradient is wrong, or breaks are no finite numbers.
    """

    V: Callable[..., Any] | str
    ndim: int = None  # type: ignore[assignment]
    gradient: Callable[..., Sequence[Any]] | None = None
    support: Any = None
    breaks: Any = field(default=None, repr=False)  # in an instance the function (lower, upper) -> Breaks

    def __post_init__(self) -> None:
        ndim = None if self.ndim is None else dimension(self.ndim)
        if isinstance(self.V, str):
            ndim = compile_expression(self.V, ndim).ndim
        elif callable(self.V):
            ndim = _count_coordinates(self.V) if ndim is None else ndim
        else:
            raise ValueError(f"V must be a function of the coordinates or an expression, got {self.V!r}")
        if self.gradient is not None and not callable(self.gradient):
            raise ValueError(f"gradient must be a function of the coordinates, got {self.gradient!r}")
        object.__setattr__(self, "ndim", ndim)
        if self.support is not None:
            object.__setattr__(self, "support", box_of("support", self.support, ndim))
        if not isinstance(self.breaks, _BreaksInBox):
            given = None if self.breaks is None else given_breaks(self.breaks, ndim)
            text = self.V if isinstance(self.V, str) else None
            object.__setattr__(self, "breaks", _BreaksInBox(text, ndim, given))

    def __repr__(self) -> str:
        spelled = call_repr(self)
        return spelled if self.breaks.given is None else f"{spelled[:-1]}, breaks={self.breaks.spelled()})"

    @property
    def _compiled(self) -> CompiledExpression | None:
        return compile_expression(self.V, self.ndim) if isinstance(self.V, str) else None

    def log_density(self, points: ArrayLike) -> Array:
        """-V at points (..., d), shape (...); NaN where V is."""
        return np.asarray(-self._potential(self.as_points(points)))

    def score(self, points: ArrayLike) -> Array:
        """-grad V at points (..., d), shape (..., d)."""
        points = self.as_points(points)
        if self.gradient is not None:
            if points.size and "_gradient_checked" not in self.__dict__:
                differentiation.check_gradient(self._potential, self._gradient, points)
                object.__setattr__(self, "_gradient_checked", True)
            return -self._gradient(points)
        return -self._gradient(points) if self._compiled is not None else super().score(points)

    @property
    def score_by_differences(self) -> bool:
        """Whether V is a function without a gradient."""
        return self.gradient is None and self._compiled is None

    def _potential(self, points: Array) -> Array:
        check_deadline()  # whoever asks a slow function many times is within a budget of time so
        function = self.V if self._compiled is None else self._compiled.value
        values = self._call(function, "V", points)  # type: ignore[arg-type]
        return self._shaped(values, "V", points)

    def _gradient(self, points: Array) -> Array:
        function = self.gradient or self._compiled.gradient  # type: ignore[union-attr]
        parts = self._call(function, "gradient", points)
        if not isinstance(parts, Sequence | np.ndarray) or len(parts) != self.ndim:
            got = f"{len(parts)} parts" if isinstance(parts, Sequence | np.ndarray) else type(parts).__name__
            raise ValueError(f"gradient must return {self.ndim} arrays, one per coordinate, but returned {got}")
        return np.stack([self._shaped(part, f"gradient[{i}]", points) for i, part in enumerate(parts)], axis=-1)

    def _call(self, function: Callable[..., Any], name: str, points: Array) -> Any:
        try:
            # what is not finite is reported where it matters, with its place
            with np.errstate(all="ignore"):
                return function(*(points[..., axis] for axis in range(self.ndim)))
        except Exception as error:
            error.add_note(
                f"raised by {name} of {self!r} at coordinates of shape {points.shape[:-1]}: it gets one array per "
                "coordinate; use numpy.where instead of if, and numpy's functions instead of math's"
            )
            raise

    def _shaped(self, value: Any, name: str, points: Array) -> Array:
        array, shape = np.asarray(value), points.shape[:-1]
        if array.dtype.kind not in "biufc" or (np.iscomplexobj(array) and not np.iscomplexobj(points)):
            raise ValueError(f"{name} must return real numbers, but returned an array of type {array.dtype}")
        if array.shape == () and math.prod(shape) > 1 and self._compiled is None:
            raise ValueError(
                f"{name} returned one number for {math.prod(shape)} points: it gets one array per coordinate and must "
                "return one value per point (no np.sum or np.mean over them); for a constant write 0 * x"
            )
        if array.shape not in (shape, ()):
            raise ValueError(
                f"{name} must return one value per point: the coordinates have shape {shape}, "
                f"but it returned shape {array.shape}"
            )
        array = array if np.iscomplexobj(array) else array.astype(np.float64)
        return np.array(np.broadcast_to(array, shape))


@dataclass(frozen=True)
class _BreaksInBox:
    """Breaks of a potential as a function of the box: those of its text, and those given."""

    text: str | None
    ndim: int
    given: Breaks | None

    def __call__(self, lower: ArrayLike, upper: ArrayLike) -> Breaks:
        low, high = box_of("the box", (lower, upper), self.ndim)
        found = Breaks.none(self.ndim) if self.given is None else self.given.inside(low, high)
        return found if self.text is None else found | breaks_of_expression(self.text, self.ndim, low, high)

    def spelled(self) -> list[Any]:
        """The breaks given, as the constructor takes them."""
        lists = [] if self.given is None else [places.tolist() for places in self.given.places]
        return lists[0] if self.ndim == 1 else lists


def _count_coordinates(function: Callable[..., Any]) -> int:
    """Number of positional parameters without a default."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        raise ValueError(f"the parameters of {function!r} cannot be read: give ndim") from None
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        raise ValueError(f"{function!r} takes any number of coordinates (*args): give ndim")
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    count = sum(p.kind in positional and p.default is p.empty for p in parameters)
    if not count:
        raise ValueError(f"{function!r} has no positional parameter to take a coordinate: write lambda x: ...")
    return count
