"""Targets given by a potential: a Python function, or an expression as text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from typing_extensions import override

from wfr_pde.numerics.arguments import dimension, function, number, shown, text
from wfr_pde.numerics.deadline import check_deadline
from wfr_pde.numerics.typing import Array
from wfr_pde.targets import differentiation
from wfr_pde.targets.arguments import box_of, call_repr
from wfr_pde.targets.base import Target
from wfr_pde.targets.breaks import Breaks, breaks_of_expression, given_breaks
from wfr_pde.targets.expressions import CompiledExpression, compile_expression
from wfr_pde.targets.user_functions import AtTime, UserFunction, checked_form, depends_on_time


@dataclass(frozen=True, eq=False)
class Potential(Target):
    """Distribution exp(-V) of any potential V(x, y, …), at rest or moving, V(x, y, …, t).

    Parameters
    ----------
    V : function or str
        A function of the d coordinates, arrays of one shape (...), that returns an array (...):
        `Potential(lambda x, y: 2 * (x**2 - 1) ** 2 + y**2)`. Or an expression in x, y, z, w and r (distance
        from the origin), as `Potential("2*(x**2 - 1)**2 + y**2")`; text cannot run code. It moves if the last argument
        is called t (and `ndim` does not count it), or t is in the expression: `Potential("(x - tanh(t))**2 / 2")`.
    ndim : int, optional
        Dimension d; else the number of positional parameters without a default, or the last coordinate used.
    gradient : function, optional
        grad V: a function of the coordinates that returns d arrays (...) or numbers. Compared with central
        differences at its first use. Without it an expression is differentiated by sympy, a function by
        complex steps or differences.
    support : (lower, upper), optional
        A box that surely holds the mass; else the box is searched for. A face is a wall where V is not finite beyond,
        or where the density at the face is a hundredth of its largest or more, as of Potential("0*x", support=(0, 1)).
    of : {"coordinates", "points", "point"}
        What the functions V and gradient take: "coordinates", one array per coordinate; "points", one array of points
        (..., d), where a gradient returns (..., d); "point", one vector (d,) at a time, as potentials of PyTorch, JAX
        and BlackJAX do (slow).
    breaks : list of numbers, or one list per axis, optional
        Where V, or a derivative of V, jumps: coordinates c of points x = c, in more dimensions of hyperplanes
        x_k = c. Expressions know theirs, which are added. `potential.breaks(lower, upper)` are those in a box.

    Raises
    ------
    ValueError
        If the dimension cannot be told, the expression holds something not allowed, V or gradient return
        a wrong shape, gradient is wrong, or breaks are no finite numbers.

    Examples
    --------
    The score of V = x⁴/4 - x² is 2x - x³:

    >>> import wfr_pde as wfr
    >>> round(float(wfr.Potential("x**4/4 - x**2").score([[2.0]])[0, 0]), 6)
    -4.0
    >>> round(float(wfr.Potential(lambda x: x**4 / 4 - x**2).score([[2.0]])[0, 0]), 6)
    -4.0
    """

    V: Callable[..., Any] | str
    ndim: int = None  # type: ignore[assignment]
    gradient: Callable[..., Sequence[Any]] | None = None
    support: Any = None
    of: str = field(default="coordinates", kw_only=True, repr=False)
    breaks: Any = field(default=None, repr=False)  # in an instance the function (lower, upper) -> Breaks

    def __post_init__(self) -> None:
        ndim = None if self.ndim is None else dimension(self.ndim)
        text("of", self.of)
        if isinstance(self.V, str):
            try:
                compiled = compile_expression(self.V, ndim)
            except ValueError as error:
                raise ValueError(f"V: {error}") from None
            ndim, moving = compiled.ndim, compiled.moving
        elif callable(self.V):
            moving = depends_on_time(self.V, self.of, ndim)
            ndim = checked_form(self.V, self.of, ndim)
        else:
            raise TypeError(f"V must be a function of the coordinates or an expression, got {shown(self.V)}")
        if self.gradient is not None:
            function("gradient", self.gradient, "of the coordinates, that returns d arrays")
        object.__setattr__(self, "ndim", ndim)
        object.__setattr__(self, "moving", moving)
        if self.support is not None:
            object.__setattr__(self, "support", box_of("support", self.support, ndim))
        if not isinstance(self.breaks, _BreaksInBox):
            given = None if self.breaks is None else given_breaks(self.breaks, ndim)
            written = self.V if isinstance(self.V, str) else None
            object.__setattr__(self, "breaks", _BreaksInBox(written, ndim, given))

    @override
    def __repr__(self) -> str:
        extra = "" if self.of == "coordinates" else f", of={self.of!r}"
        extra += "" if self.breaks.given is None else f", breaks={self.breaks.spelled()}"
        return f"{call_repr(self)[:-1]}{extra})"

    @override
    def __getstate__(self) -> dict[str, Any]:
        """Return the arguments alone: copies and pickles do not hold what is compiled from them."""
        return {name: value for name, value in super().__getstate__().items() if name not in ("_value", "_gradient")}

    @property
    def _compiled(self) -> CompiledExpression | None:
        return compile_expression(self.V, self.ndim) if isinstance(self.V, str) else None

    @override
    def log_density(self, points: ArrayLike) -> Array:
        """Return -V at points (..., d), shape (...); NaN where V is.

        Raises
        ------
        ValueError
            If V moves: it has a density at a time only, see `at`.
        """
        return np.asarray(-self._potential(self.as_points(points)))

    @override
    def at(self, t: float) -> Potential:
        """Return the potential at time `t`: itself, unless it moves."""
        t = number("t", t)
        if not self.moving:
            return self
        gradient: Any = None if self.gradient is None else AtTime(self.gradient, t)
        if self._compiled is not None and gradient is None:
            gradient = AtTime(self.V, t, "gradient", self.ndim)
        value = AtTime(self.V, t, "value", self.ndim)
        given = self.breaks.given
        return Potential(value, self.ndim, gradient, self.support, of=self.of, breaks=given)

    @override
    def score(self, points: ArrayLike) -> Array:
        points = self.as_points(points)
        if self.gradient is not None:
            if points.size and "_gradient_checked" not in self.__dict__:
                differentiation.check_gradient(self._potential, self._gradient, points)
                object.__setattr__(self, "_gradient_checked", True)
            return -self._gradient(points)
        return -self._gradient(points) if self._compiled is not None else super().score(points)

    @property
    @override
    def score_by_differences(self) -> bool:
        """Whether V is a function without a gradient."""
        return self.gradient is None and self._compiled is None

    def _potential(self, points: Array) -> Array:
        if self.moving:
            raise ValueError(f"{self!r} moves, it has a density at a time: use potential.at(t)")
        check_deadline()  # whoever asks a slow function many times is within a budget of time so
        return self._value(points)

    @cached_property
    def _value(self) -> UserFunction:
        if self._compiled is not None:
            return UserFunction(self._compiled.value, "coordinates", "V", None, self, constant=True)
        return UserFunction(self.V, self.of, "V", None, self)  # type: ignore[arg-type]

    @cached_property
    def _gradient(self) -> UserFunction:
        if self.gradient is None:
            return UserFunction(self._compiled.gradient, "coordinates", "gradient", self.ndim, self)  # type: ignore[union-attr]
        return UserFunction(self.gradient, self.of, "gradient", self.ndim, self)

    @property
    @override
    def machine_epsilon(self) -> float:
        """Machine epsilon of the least precise numbers that V has returned; a function may use single precision."""
        return self._value.epsilon


@dataclass(frozen=True)
class _BreaksInBox:
    """Breaks of a potential in a box: those of its text, and those given; a function of the corners."""

    text: str | None
    ndim: int
    given: Breaks | None

    def __call__(self, lower: ArrayLike, upper: ArrayLike) -> Breaks:
        low, high = box_of("(lower, upper)", (lower, upper), self.ndim)
        found = Breaks.none(self.ndim) if self.given is None else self.given.inside(low, high)
        if self.text is None or compile_expression(self.text, self.ndim).moving:
            return found
        return found | breaks_of_expression(self.text, self.ndim, low, high)

    def spelled(self) -> list[Any]:
        """Return the breaks given, as the constructor takes them."""
        lists = [] if self.given is None else [places.tolist() for places in self.given.places]
        return lists[0] if self.ndim == 1 else lists
