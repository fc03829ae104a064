"""Interval enclosures of expressions: bounds of V and of its gradient that hold on whole boxes.

Interval arithmetic over the tree of an expression, on arrays of boxes. Every operation is rounded outwards by more
than its own error, so that the bounds hold for V of real numbers as well as for V as it is computed. Slopes are
carried along (forward differentiation), for the mean value form V(c) + V'(box) (box - c).

R. E. Moore, R. B. Kearfott, M. J. Cloud, Introduction to Interval Analysis (2009), doi:10.1137/1.9780898717716,
chapters 3, 5 and 6.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, reduce
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from wfr_pde.numerics.typing import Array
from wfr_pde.targets.expressions import AXES, compile_expression, logcosh

Ends: TypeAlias = tuple[Any, Any]  # lower and upper ends, numbers or arrays (m,)

EPS = 2.0**-52  # machine epsilon; a rounding is half of it, relative, and the other half is room for the bound itself
ULPS = 8  # outwards per function of NumPy, whose error is at most 4 in the last place
# outwards per operation, for what underflows: far above the smallest number, far below what any bound needs
TINY = 1e-300
ABSOLUTE = 2e-15  # outwards for functions of size one that cancel near their zeros: nine times EPS
# ends that overflow are moved to it, so that the other side of an interval stays a bound
LARGEST = np.finfo(np.float64).max
LONGEST_TURN = 1e14  # the sine of a larger argument may be anything in [-1, 1]: doubles are 0.016 apart there
BOXES_AT_ONCE = 2**12  # so that temporaries stay in cache; no number depends on it
LINE: Ends = (-np.inf, np.inf)  # bounds of what is not known


@dataclass(frozen=True, eq=False)
class Bounds:
    """Bounds of a function on m boxes.

    Attributes
    ----------
    low, high : arrays (m,)
        -inf and inf where it may be undefined.
    slope_low, slope_high : arrays (m, d)
        Of its partial derivatives; -inf and inf where it may jump or be undefined.
    jumps : array (m,) of bool
        Whether it may jump within the box.
    """

    low: Array
    high: Array
    slope_low: Array
    slope_high: Array
    jumps: Any


@dataclass(frozen=True, eq=False)
class _Value:
    """Ends of a node of the tree on m boxes, its slopes (None is zero), and where it may be undefined, or jump."""

    ends: Ends
    slopes: tuple[Ends | None, ...]
    undefined: Any = False
    jumps: Any = False


@dataclass(frozen=True, eq=False)
class Enclosure:
    """Bounds of an expression of `ndim` coordinates on boxes; made by `enclosure`.

    Parameters
    ----------
    formula : sympy expression
        Of the symbols x, y, z, w and r, as `CompiledExpression.formula`.
    ndim : int
        Number of coordinates.
    """

    formula: Any
    ndim: int

    def __call__(self, lower: ArrayLike, upper: ArrayLike) -> tuple[Array, Array]:
        """Bound the values on the boxes [lower, upper], each (m, d): two arrays (low, high), each (m,).

        They hold the range of V, rounding included, and are (-inf, inf) where V may be undefined. They come from
        interval arithmetic on the expression as it stands, so that their excess shrinks with the width of the box.

        Raises
        ------
        ValueError
            If the boxes are not two finite arrays (m, d) with lower <= upper.
        """
        bounds = self._evaluate(lower, upper, slopes=False)
        return bounds.low, bounds.high

    def gradient(self, lower: ArrayLike, upper: ArrayLike) -> tuple[Array, Array]:
        """Bound the partial derivatives: (low, high), each (m, d); (-inf, inf) where V may jump or be undefined.

        At kinks they hold the slopes of all sides, so that the mean value theorem holds with them.
        """
        bounds = self.bounds(lower, upper)
        return bounds.slope_low, bounds.slope_high

    def bounds(self, lower: ArrayLike, upper: ArrayLike) -> Bounds:
        """Bound values and gradient on the boxes [lower, upper], each (m, d), without the mean value form."""
        return self._evaluate(lower, upper, slopes=True)

    def tight(self, lower: ArrayLike, upper: ArrayLike) -> tuple[Array, Array]:
        """Bound the values by a call and the mean value form, keeping the narrower; the excess falls as width²."""
        lower, upper = self._boxes(lower, upper)
        bounds = self.bounds(lower, upper)
        centre, half = centre_and_half(lower, upper)
        low, high = self(centre, centre)
        with np.errstate(all="ignore"):
            reach = (half * np.maximum(np.abs(bounds.slope_low), np.abs(bounds.slope_high))).sum(axis=-1)
            reach = np.where(np.isnan(reach), np.inf, reach * (1 + 4 * self.ndim * EPS))
            low, high = _outward((low - reach, high + reach), 2)
        return np.maximum(bounds.low, low), np.minimum(bounds.high, high)

    def _boxes(self, lower: ArrayLike, upper: ArrayLike) -> tuple[Array, Array]:
        lower, upper = np.asarray(lower, dtype=np.float64), np.asarray(upper, dtype=np.float64)
        if lower.ndim != 2 or lower.shape != upper.shape or lower.shape[-1] != self.ndim:
            raise ValueError(
                f"boxes are two arrays of shape (m, {self.ndim}), lower and upper, got {lower.shape} and {upper.shape}"
            )
        if not (np.isfinite(lower).all() and np.isfinite(upper).all() and (lower <= upper).all()):
            raise ValueError("boxes need finite lower <= upper along every axis: one of them is empty or not finite")
        return lower, upper

    def _evaluate(self, lower: ArrayLike, upper: ArrayLike, slopes: bool) -> Bounds:
        lower, upper = self._boxes(lower, upper)
        m = len(lower)
        pieces = [slice(start, start + BOXES_AT_ONCE) for start in range(0, max(m, 1), BOXES_AT_ONCE)]
        parts = [self._piece(lower[piece], upper[piece], slopes) for piece in pieces]
        return Bounds(*(np.concatenate([part[i] for part in parts]) for i in range(5)))

    def _piece(self, lower: Array, upper: Array, slopes: bool) -> tuple[Any, ...]:
        m, walk = len(lower), _Walk(lower, upper, slopes)
        with np.errstate(all="ignore"):
            value = walk.value(self.formula)
            low, high = (np.broadcast_to(end, (m,)) for end in value.ends)
            undefined = np.broadcast_to(value.undefined, (m,)) | np.isnan(low) | np.isnan(high)
            jumps = np.broadcast_to(value.jumps, (m,))
            loose = (undefined | jumps)[:, None]
            sides = []
            for side, end in enumerate(LINE):
                columns = [np.broadcast_to(0.0 if s is None else s[side], (m,)) for s in value.slopes]
                slope = np.stack(columns, axis=-1) if columns else np.zeros((m, self.ndim))
                sides.append(np.where(loose | np.isnan(slope), end, slope))
        return np.where(undefined, -np.inf, low), np.where(undefined, np.inf, high), *sides, jumps


@lru_cache(maxsize=64)
def enclosure(text: str, ndim: int | None = None) -> Enclosure:
    """Make the `Enclosure` of an expression, as `Potential` takes it.

    Raises
    ------
    ValueError
        If the expression holds something that is not allowed.
    """
    compiled = compile_expression(text, ndim)
    return Enclosure(compiled.formula, compiled.ndim)


def centre_and_half(lower: Array, upper: Array) -> tuple[Array, Array]:
    """Return the middles of boxes, and distances from them that no place of the box exceeds."""
    centre = np.clip(lower + 0.5 * (upper - lower), lower, upper)
    return centre, np.maximum(upper - centre, centre - lower) * (1 + 2 * EPS)


# Ends: outward rounding, and the four operations


def _outward(ends: Ends, ulps: float = 1, positive: Any = False) -> Ends:
    """Move ends outwards by so many units in the last place.

    Where `positive`, the true values are not negative, and the lower end stays at zero or above.
    """
    low, high = np.minimum(ends[0], LARGEST), np.maximum(ends[1], -LARGEST)
    low = low - (np.abs(low) * (ulps * EPS) + TINY)
    high = high + (np.abs(high) * (ulps * EPS) + TINY)
    return (low if positive is False else np.where(positive, np.maximum(low, 0.0), low)), high


def _add(terms: Sequence[Ends]) -> Ends:
    """Sum intervals, with an error of rounding that holds for any order of summation."""
    if len(terms) == 1:
        return terms[0]
    ends = []
    for side in (0, 1):
        total, size = reduce(operator.add, (t[side] for t in terms)), sum(np.abs(t[side]) for t in terms)
        error = size * (len(terms) * EPS) + TINY
        ends.append(np.minimum(total, LARGEST) - error if side == 0 else np.maximum(total, -LARGEST) + error)
    low, high = ends
    if all(np.all(term[0] >= 0) for term in terms):
        low = np.maximum(low, 0.0)
    return low, high


def _multiply(a: Ends, b: Ends) -> Ends:
    if np.ndim(a[0]) == 0 and a[0] == a[1]:
        a, b = b, a
    if np.ndim(b[0]) == 0 and b[0] == b[1]:
        ends = (a[0] * b[0], a[1] * b[0]) if b[0] >= 0 else (a[1] * b[0], a[0] * b[0])
    else:
        products = (a[0] * b[0], a[0] * b[1], a[1] * b[0], a[1] * b[1])
        ends = (reduce(np.minimum, products), reduce(np.maximum, products))
        if np.isnan(ends[0]).any() or np.isnan(ends[1]).any():  # 0 times what is unbounded, but finite
            given = reduce(operator.or_, (np.isnan(end) for end in (*a, *b)))
            finite = [np.where(np.isnan(p) & ~given, 0.0, p) for p in products]
            ends = (reduce(np.minimum, finite), reduce(np.maximum, finite))
    return _outward(ends, 2, positive=((a[0] >= 0) & (b[0] >= 0)) | ((a[1] <= 0) & (b[1] <= 0)))


def _reciprocal(a: Ends) -> Ends:
    """Return an interval that holds 1/a; unbounded where a is not of one sign."""
    through = (a[0] <= 0) & (a[1] >= 0)
    low, high = _outward((1 / a[1], 1 / a[0]), 2, positive=a[0] >= 0)
    return np.where(through, -np.inf, low), np.where(through, np.inf, high)


def _size(a: Ends) -> Ends:
    """Return an interval that holds |a|."""
    low, high = np.abs(a[0]), np.abs(a[1])
    return np.where((a[0] <= 0) & (a[1] >= 0), 0.0, np.minimum(low, high)), np.maximum(low, high)


def _whole_power(a: Ends, n: int) -> Ends:
    """Return an interval that holds a**n for a whole n > 0."""
    ends = _size(a) if n % 2 == 0 else a
    return ends if n == 1 else _outward((ends[0] ** n, ends[1] ** n), ULPS, positive=ends[0] >= 0)


def _real_power(u: Ends, v: Ends) -> Ends:
    """Return an interval that holds u**v for u >= 0: it is monotone in u and in v, so that the corners bound it."""
    base = np.maximum(u[0], 0.0), np.maximum(u[1], 0.0)
    corners = [np.power(p, q) for p in base for q in v]
    return _outward((reduce(np.minimum, corners), reduce(np.maximum, corners)), ULPS, positive=True)


def _negative(a: Ends) -> Ends:
    return -a[1], -a[0]


def _hull(a: Ends, b: Ends) -> Ends:
    return np.minimum(a[0], b[0]), np.maximum(a[1], b[1])


def _chosen(sure: Any, surely_not: Any, a: Ends, b: Ends) -> Ends:
    """Return the interval a, or b, or one that holds both where it is not known which is taken."""
    both = _hull(a, b)
    low, high = (np.where(sure, a[i], np.where(surely_not, b[i], both[i])) for i in (0, 1))
    return low, high


# Functions of one argument: range, and range of the derivative


def _increasing(function: Callable[..., Any], positive_from: float = 0.0) -> Callable[[Ends], Ends]:
    """Make the range of a function that grows, and is not negative from some place on."""
    return lambda u: _outward((function(u[0]), function(u[1])), ULPS, positive=u[0] >= positive_from)


def _even(function: Callable[..., Any], absolute: float = 0.0) -> Callable[[Ends], Ends]:
    """Make the range of an even function that grows with |u|, and is nowhere negative."""

    def of(u: Ends) -> Ends:
        size = _size(u)
        low, high = _outward((function(size[0]), function(size[1])), ULPS)
        return np.maximum(low - absolute, 0.0), high + absolute

    return of


def _cosine(u: Ends, offset: float = 0.0) -> Ends:
    """Return the range of the cosine of u - 2 pi offset."""
    function = np.sin if offset else np.cos
    size = np.maximum(np.abs(u[0]), np.abs(u[1]))
    margin = size * (4 * EPS) + 1e-15
    first, last = u[0] / (2 * np.pi) - offset - margin, u[1] / (2 * np.pi) - offset + margin
    highest = np.floor(last) >= np.ceil(first)
    lowest = np.floor(last - 0.5) >= np.ceil(first - 0.5)
    ends = function(u[0]), function(u[1])
    low = np.maximum(np.minimum(*ends) - ABSOLUTE, -1.0)
    high = np.minimum(np.maximum(*ends) + ABSOLUTE, 1.0)
    anything = ~(size <= LONGEST_TURN)
    return np.where(lowest | anything, -1.0, low), np.where(highest | anything, 1.0, high)


def _sine(u: Ends) -> Ends:
    return _cosine(u, 0.25)


def _pole_of_tangent(u: Ends) -> Any:
    margin = np.maximum(np.abs(u[0]), np.abs(u[1])) * (8 * EPS) + 1e-15
    return ~(np.floor(u[1] / np.pi - 0.5 + margin) < np.ceil(u[0] / np.pi - 0.5 - margin)) | (margin > 0.1)


def _tangent(u: Ends) -> Ends:
    return _outward((np.tan(u[0]) - ABSOLUTE, np.tan(u[1]) + ABSOLUTE), ULPS)


def _unit_step(u: Ends) -> Ends:
    return np.heaviside(u[0], 0.5), np.heaviside(u[1], 0.5)


def _sign(u: Ends) -> Ends:
    return np.sign(u[0]), np.sign(u[1])


def _slope_of_bell(function: Callable[..., Any]) -> Callable[[Ends], Ends]:
    """Make the range of an even function that falls with |u|, and is nowhere negative."""

    def of(u: Ends) -> Ends:
        size = _size(u)
        return _outward((function(size[1]), function(size[0])), ULPS, positive=True)

    return of


def _nowhere(u: Ends) -> Any:
    return False


def _one_plus(a: Ends) -> Ends:
    return _add([(1.0, 1.0), a])


# name: (range, range of the derivative, where it may be undefined)
_Unary: TypeAlias = tuple[Callable[[Ends], Ends], Callable[[Ends], Ends], Callable[[Ends], Any]]
_UNARY: dict[str, _Unary] = {
    "exp": (_increasing(np.exp, -np.inf), _increasing(np.exp, -np.inf), _nowhere),
    "expm1": (_increasing(np.expm1), _increasing(np.exp, -np.inf), _nowhere),
    "log": (
        _increasing(lambda u: np.log(np.maximum(u, 0.0)), 1.0),
        lambda u: _reciprocal((np.maximum(u[0], 0.0), u[1])),
        lambda u: u[0] <= 0,
    ),
    "log1p": (
        _increasing(lambda u: np.log1p(np.maximum(u, -1.0))),
        lambda u: _reciprocal(_one_plus((np.maximum(u[0], -1.0), u[1]))),
        lambda u: u[0] <= -1,
    ),
    "sqrt": (
        _increasing(lambda u: np.sqrt(np.maximum(u, 0.0))),
        lambda u: _outward((0.5 / np.sqrt(np.maximum(u[1], 0.0)), 0.5 / np.sqrt(np.maximum(u[0], 0.0))), ULPS, True),
        lambda u: u[0] < 0,
    ),
    "sin": (_sine, _cosine, _nowhere),
    "cos": (_cosine, lambda u: _negative(_sine(u)), _nowhere),
    "tan": (_tangent, lambda u: _one_plus(_whole_power(_tangent(u), 2)), _pole_of_tangent),
    "sinh": (_increasing(np.sinh), _even(np.cosh), _nowhere),
    "cosh": (_even(np.cosh), _increasing(np.sinh), _nowhere),
    "tanh": (_increasing(np.tanh), _slope_of_bell(lambda u: 1 / np.cosh(u) ** 2), _nowhere),
    "atan": (_increasing(np.arctan), _slope_of_bell(lambda u: 1 / (1 + u * u)), _nowhere),
    "asinh": (_increasing(np.arcsinh), _slope_of_bell(lambda u: 1 / np.sqrt(1 + u * u)), _nowhere),
    "abs": (_size, lambda u: (np.where(u[0] > 0, 1.0, -1.0), np.where(u[1] < 0, -1.0, 1.0)), _nowhere),
    "logcosh": (_even(logcosh, ABSOLUTE), _increasing(np.tanh), _nowhere),
    "sign": (_sign, lambda u: (0.0, 0.0), _nowhere),
    "Heaviside": (_unit_step, lambda u: (0.0, 0.0), _nowhere),
}
_STEPS = ("sign", "Heaviside")  # functions that jump at zero


class _Walk:
    """Values of the nodes of a tree on some boxes, each computed once."""

    def __init__(self, lower: Array, upper: Array, slopes: bool) -> None:
        self.corners, self.slopes = (lower, upper), slopes
        self.ndim = lower.shape[-1]
        self.known: dict[Any, _Value] = {}

    def value(self, node: Any) -> _Value:
        """Return the value of a node, computed when it is first asked for."""
        if node not in self.known:
            self.known[node] = self._value(node)
        return self.known[node]

    def _value(self, node: Any) -> _Value:
        if node.is_Symbol:
            return self._radius() if node.name == "r" else self._coordinate(AXES.index(node.name))
        if node.is_Number:
            return _Value((float(node), float(node)), self._no_slopes())
        values = [self.value(argument) for argument in node.args]
        name = type(node).__name__
        if node.is_Add:
            result = self._sum(values)
        elif node.is_Mul:
            result = reduce(self._product, values)
        elif node.is_Pow:
            result = self._whole_power(values[0], int(node.exp))
        elif name in ("f_min", "f_max"):
            result = self._smallest(*values) if name == "f_min" else self._largest(*values)
        elif name in ("f_less", "f_less_equal"):
            result = self._comparison(values[0], values[1], strict=name == "f_less")
        elif name == "f_where":
            return self._where(*values)  # where a branch not taken is undefined does not matter
        elif name == "f_power":
            result = self._power(*values)
        elif name == "f_logaddexp":
            result = self._logaddexp(*values)
        else:
            result = self._unary(name.removeprefix("f_"), values[0])
        undefined = reduce(operator.or_, [result.undefined, *(v.undefined for v in values)])
        jumps = reduce(operator.or_, [result.jumps, *(v.jumps for v in values)])
        return replace(result, undefined=undefined, jumps=jumps)

    def _no_slopes(self) -> tuple[Ends | None, ...]:
        return (None,) * self.ndim if self.slopes else ()

    def _chain(self, *parts: tuple[Callable[[], Ends], _Value]) -> tuple[Ends | None, ...]:
        """Return slopes of a function of some arguments: Σ (derivative by the argument) (slope of the argument)."""
        if not self.slopes:
            return ()
        derivatives = [derivative() if any(argument.slopes) else None for derivative, argument in parts]
        slopes: list[Ends | None] = []
        for k in range(self.ndim):
            terms = [
                _multiply(derivative, slope)
                for derivative, (_, argument) in zip(derivatives, parts, strict=True)
                if derivative is not None and (slope := argument.slopes[k]) is not None
            ]
            slopes.append(_add(terms) if terms else None)
        return tuple(slopes)

    def _coordinate(self, k: int) -> _Value:
        slopes = tuple((1.0, 1.0) if i == k else None for i in range(self.ndim)) if self.slopes else ()
        return _Value((self.corners[0][:, k], self.corners[1][:, k]), slopes)

    def _radius(self) -> _Value:
        """Return the distance from the origin, with the slopes x / r in [-1, 1]."""
        coordinates = [self._coordinate(k).ends for k in range(self.ndim)]
        square = _add([_whole_power(x, 2) for x in coordinates])
        ends = _outward((np.sqrt(np.maximum(square[0], 0.0)), np.sqrt(square[1])), ULPS, positive=True)
        slopes: list[Ends | None] = []
        for x in coordinates if self.slopes else ():
            low, high = _multiply(x, _reciprocal(ends))
            low, high = np.where(ends[0] > 0, low, -1.0), np.where(ends[0] > 0, high, 1.0)
            low = np.where(x[0] >= 0, np.maximum(low, 0.0), np.maximum(low, -1.0))
            slopes.append((low, np.where(x[1] <= 0, np.minimum(high, 0.0), np.minimum(high, 1.0))))
        return _Value(ends, tuple(slopes))

    def _sum(self, values: list[_Value]) -> _Value:
        slopes: list[Ends | None] = []
        for k in range(self.ndim if self.slopes else 0):
            terms = [slope for value in values if (slope := value.slopes[k]) is not None]
            slopes.append(_add(terms) if terms else None)
        return _Value(_add([value.ends for value in values]), tuple(slopes))

    def _product(self, a: _Value, b: _Value) -> _Value:
        return _Value(
            _multiply(a.ends, b.ends),
            self._chain((lambda: b.ends, a), (lambda: a.ends, b)),
            a.undefined | b.undefined,
            a.jumps | b.jumps,
        )

    def _whole_power(self, u: _Value, n: int) -> _Value:
        def power(exponent: int) -> Ends:
            if exponent == 0:
                return 1.0, 1.0
            ends = _whole_power(u.ends, abs(exponent))
            return ends if exponent > 0 else _reciprocal(ends)

        undefined = (u.ends[0] <= 0) & (u.ends[1] >= 0) if n < 0 else False
        return _Value(power(n), self._chain((lambda: _multiply((float(n),) * 2, power(n - 1)), u)), undefined)

    def _power(self, u: _Value, v: _Value) -> _Value:
        ends = _real_power(u.ends, v.ends)
        undefined = (u.ends[0] < 0) | ((u.ends[0] <= 0) & (v.ends[0] < 0))

        def by_base() -> Ends:
            return _multiply(v.ends, _real_power(u.ends, _add([v.ends, (-1.0, -1.0)])))

        def by_exponent() -> Ends:
            return _multiply(_UNARY["log"][0](u.ends), ends)

        return _Value(ends, self._chain((by_base, u), (by_exponent, v)), undefined)

    def _logaddexp(self, u: _Value, v: _Value) -> _Value:
        ends = (np.logaddexp(u.ends[0], v.ends[0]), np.logaddexp(u.ends[1], v.ends[1]))
        low, high = _outward(ends, ULPS)

        def share(a: _Value, b: _Value) -> Ends:
            """Return 1/(1 + exp(b - a)), between 0 and 1."""
            below, above = _reciprocal(_one_plus(_UNARY["exp"][0](_add([b.ends, _negative(a.ends)]))))
            return np.maximum(below, 0.0), np.minimum(above, 1.0)

        slopes = self._chain((lambda: share(u, v), u), (lambda: share(v, u), v))
        return _Value((low - ABSOLUTE, high + ABSOLUTE), slopes)

    def _unary(self, name: str, u: _Value) -> _Value:
        value, derivative, undefined = _UNARY[name]
        jumps = (u.ends[0] <= 0) & (u.ends[1] >= 0) if name in _STEPS else False
        return _Value(value(u.ends), self._chain((lambda: derivative(u.ends), u)), undefined(u.ends), jumps)

    def _smallest(self, u: _Value, v: _Value) -> _Value:
        first, second = u.ends[1] < v.ends[0], v.ends[1] < u.ends[0]
        ends = (np.minimum(u.ends[0], v.ends[0]), np.minimum(u.ends[1], v.ends[1]))
        return _Value(ends, self._chosen_slopes(first, second, u, v))

    def _largest(self, u: _Value, v: _Value) -> _Value:
        first, second = u.ends[0] > v.ends[1], v.ends[0] > u.ends[1]
        ends = (np.maximum(u.ends[0], v.ends[0]), np.maximum(u.ends[1], v.ends[1]))
        return _Value(ends, self._chosen_slopes(first, second, u, v))

    def _chosen_slopes(self, first: Any, second: Any, u: _Value, v: _Value) -> tuple[Ends | None, ...]:
        return tuple(
            None if a is None and b is None else _chosen(first, second, a or (0.0, 0.0), b or (0.0, 0.0))
            for a, b in zip(u.slopes, v.slopes, strict=True)
        )

    def _comparison(self, u: _Value, v: _Value, strict: bool) -> _Value:
        (low_u, high_u), (low_v, high_v) = u.ends, v.ends
        holds = (high_u < low_v) if strict else (high_u <= low_v)
        fails = (low_u >= high_v) if strict else (low_u > high_v)
        return _Value((np.where(holds, 1.0, 0.0), np.where(fails, 0.0, 1.0)), self._no_slopes(), False, ~holds & ~fails)

    def _where(self, condition: _Value, a: _Value, b: _Value) -> _Value:
        first, second = condition.ends[0] > 0.5, condition.ends[1] < 0.5  # it is 0 or 1

        def flags(of_a: Any, of_b: Any) -> Any:
            return np.where(first, of_a, np.where(second, of_b, np.logical_or(of_a, of_b)))

        return _Value(
            _chosen(first, second, a.ends, b.ends),
            self._chosen_slopes(first, second, a, b),
            condition.undefined | flags(a.undefined, b.undefined),
            (~first & ~second) | flags(a.jumps, b.jumps),
        )
