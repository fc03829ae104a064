"""Break points: where a potential, or one of its derivatives, jumps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from wfr_pde.numerics.arguments import finite_array, shown
from wfr_pde.numerics.counted import counted
from wfr_pde.numerics.records import Record
from wfr_pde.numerics.typing import Array
from wfr_pde.targets.expressions import AXES, compile_expression, inert, numeric

if TYPE_CHECKING:
    from wfr_pde.targets.enclosures import Enclosure

# parts of an interval to begin with; parts that bounds do not decide are halved, so that no result depends on it
FIRST_BOXES = 64
MOST_BOXES = 2**14  # parts in one round; with more, not all roots are looked for, and the breaks say so (`elsewhere`)
NARROWEST = 2.0**-30  # of the box: below it roots are told apart by signs, as bounds no longer decide
COARSE = 2.0**-10  # of the box: wider parts are not given up for being undefined at their ends
CROWDED = 2**12  # parts that no bound decides, at which halving ends: narrower ones would not help
CROWDED_CLUSTER = 4  # zeros within a part that no bound decides, from which on there may be any number, as of sin(1/x)
PLACES = 129  # places looked at within a part that no bound decides
# most bisections for a zero; most end sooner, at the last bit, and a zero at 0 is known to 2^-200 of its part
HALVINGS = 200
EQUAL = 1e-14  # of the box: closer breaks are one, as some roundings may lie between them
SAME_ZERO = 1e-8  # of the box: closer zeros are one where u is zero to rounding between them; 1 - cos(x) is for 1e-8
NOTHING = 1e-290  # bounds of u this small mean that it underflows, and is zero without a break
BOXES_IN_SPACE = 2**14  # boxes in more dimensions, at which the search for a zero ends: then there may be one


@dataclass(frozen=True, eq=False)
class Breaks(Record):
    """Where V, or a derivative of V, jumps inside a box.

    Attributes
    ----------
    places : tuple of d arrays
        Per axis k the sorted coordinates c of the hyperplanes x_k = c across which it may jump.
    elsewhere : bool
        Whether there may be others, not of that form (as of abs(x - y)), or too many to be listed.
    """

    places: tuple[Array, ...]
    elsewhere: bool = False

    @classmethod
    def none(cls, ndim: int) -> Breaks:
        """Make the `Breaks` of a function without any, in `ndim` dimensions."""
        return cls(tuple(np.empty(0) for _ in range(ndim)))

    def __bool__(self) -> bool:
        return self.elsewhere or any(len(places) > 0 for places in self.places)

    def __or__(self, other: Breaks) -> Breaks:
        """Return the breaks of both, joined."""
        pairs = zip(self.places, other.places, strict=True)
        return Breaks(tuple(np.union1d(a, b) for a, b in pairs), self.elsewhere or other.elsewhere)

    def inside(self, lower: Array, upper: Array) -> Breaks:
        """Return the breaks strictly inside a box, whose corners have shape (d,)."""
        each = zip(self.places, lower, upper, strict=True)
        return Breaks(tuple(p[(p > low) & (p < high)] for p, low, high in each), self.elsewhere)


def given_breaks(value: Any, ndim: int) -> Breaks:
    """Take breaks by the user's word: a list of numbers in one dimension, a list of d such lists otherwise.

    Raises
    ------
    ValueError
        If it has another shape, or a number is not finite.
    """
    if isinstance(value, Breaks):
        if len(value.places) != ndim:
            raise ValueError(f"breaks are of {counted(len(value.places), 'axis', 'axes')}, not of {ndim}")
        return value
    form = "a list of numbers" if ndim == 1 else f"{ndim} lists of numbers, one per axis (empty where there are none)"
    if isinstance(value, str) or not hasattr(value, "__len__"):
        raise ValueError(f"breaks must be {form}, got {shown(value)}")
    lists = [value] if ndim == 1 else list(value)
    if len(lists) != ndim:
        raise ValueError(f"breaks must be {form}, got {len(lists)} for {counted(ndim, 'axis', 'axes')}: {shown(value)}")
    places = []
    for k, numbers in enumerate(lists):
        name = "breaks" if ndim == 1 else f"breaks[{k}]"
        array = finite_array(name, numbers)
        if array.ndim != 1:
            raise ValueError(f"breaks must be {form}, but {name} is {shown(numbers)}")
        places.append(np.unique(array))
    return Breaks(tuple(places))


def breaks_of_expression(text: str, ndim: int, lower: Array, upper: Array) -> Breaks:
    """Find the breaks of an expression in a box with corners (d,), as `_breaks` does."""
    return _breaks(text, ndim, tuple(map(float, lower)), tuple(map(float, upper)))


@lru_cache(maxsize=256)
def _breaks(text: str, ndim: int, lower: tuple[float, ...], upper: tuple[float, ...]) -> Breaks:
    """Find the breaks of an expression in a box with corners (d,): where the pieces meet of which it is made.

    These are the zeros of the arguments of abs, sign, Heaviside, of a - b in min(a, b), max(a, b) and comparisons,
    and of what is under a root, a logarithm, a power that is not whole, or a fraction bar. What is listed need not be
    a break (abs(x)**2 has none); a break that is not listed sets `elsewhere`.
    """
    import sympy

    from wfr_pde.targets.enclosures import Enclosure  # here, as only expressions need it

    compiled = compile_expression(text, ndim)
    found, elsewhere = Breaks.none(ndim), False
    symbols = {sympy.Symbol(name): k for k, name in enumerate(AXES)} | {sympy.Symbol("r"): 0 if ndim == 1 else None}
    if ndim == 1 and compiled.formula.has(sympy.Symbol("r")):
        found |= Breaks((np.zeros(1),))
    for factor, touching in _vanishing(compiled.formula):
        axes = {symbols[symbol] for symbol in factor.free_symbols}
        k = axes.pop() if len(axes) == 1 else None
        if k is not None:
            along = factor if k == 0 else factor.xreplace({sympy.Symbol(AXES[k]): sympy.Symbol("x")})
            roots, complete = _roots(along, lower[k], upper[k], touching)
            found |= Breaks(tuple(roots if i == k else np.empty(0) for i in range(ndim)))
            elsewhere |= not complete
        elif not elsewhere:
            elsewhere = _may_vanish(Enclosure(factor, ndim), lower, upper)
    lengths = np.asarray(upper) - np.asarray(lower)
    places = tuple(_distinct(p, EQUAL * length) for p, length in zip(found.places, lengths, strict=True))
    return Breaks(places, elsewhere).inside(np.asarray(lower), np.asarray(upper))


def _vanishing(formula: Any) -> Iterator[tuple[Any, bool]]:
    """Yield the expressions at whose zeros pieces of a formula meet, each once.

    With each comes whether zeros without a change of sign count too.
    """
    import sympy

    seen = set()
    for node in sympy.preorder_traversal(formula):
        argument, touching = _argument(node)
        for factor in _factors(argument, touching) if argument is not None else ():
            if factor not in seen:
                seen.add(factor)
                yield factor, touching


def _argument(node: Any) -> tuple[Any, bool]:
    """Return what vanishes where pieces of a function meet, or where it is singular; None if there is no such place.

    The second value is whether zeros without a change of sign count too.
    """
    name = type(node).__name__
    if name in ("f_abs", "f_sign", "f_Heaviside"):
        return node.args[0], False
    if name in ("f_min", "f_max", "f_less", "f_less_equal"):
        return node.args[0] - node.args[1], False
    if name in ("f_sqrt", "f_log"):
        return node.args[0], True
    if name == "f_log1p":
        return 1 + node.args[0], True
    if name == "f_power":
        exponent = node.args[1]
        smooth = exponent.is_Number and float(exponent) >= 0 and float(exponent).is_integer()
        return (None, False) if smooth else (node.args[0], True)
    if node.is_Pow and int(node.exp) < 0:
        return node.base, True
    if name == "f_tan":
        return inert("cos")(node.args[0]), False
    return None, False


def _factors(u: Any, touching: bool) -> list[Any]:
    """Return the factors of u whose zeros, together, are those of u.

    If only changes of sign count (`touching` is false), factors that change no sign are left out.
    """
    if u.is_Mul:
        return [factor for part in u.args for factor in _factors(part, touching)]
    if u.is_Pow and int(u.exp) % 2 == 0 and not touching:
        return []
    if u.is_Pow:
        return _factors(u.base, touching)
    # exp and cosh have no zeros, and the others are pieces of the tree in their own right
    if u.is_Number or type(u).__name__ in ("f_exp", "f_cosh", "f_abs", "f_sqrt", "f_power"):
        return []
    return [u]


def _roots(u: Any, lower: float, upper: float, touching: bool) -> tuple[Array, bool]:
    """Find the zeros of an expression of x in [lower, upper], and tell whether these are all.

    Parts on which the bounds of u, or of its slope, leave one zero at most are decided; the others are halved. What
    is left in the end is looked at place by place.
    """
    import sympy

    from wfr_pde.targets.enclosures import Enclosure  # here, as only expressions need it

    function = numeric([sympy.Symbol("x"), sympy.Symbol("r")], [u])

    def at(x: Array) -> Array:
        with np.errstate(all="ignore"):
            return np.broadcast_to(np.asarray(function(x, np.abs(x))[0], dtype=np.float64), np.shape(x))

    enclosure, length = Enclosure(u, 1), upper - lower
    edges = np.linspace(lower, upper, FIRST_BOXES + 1)
    left, right = edges[:-1], edges[1:]
    brackets: list[tuple[Array, Array]] = []
    complete = True
    while len(left):
        bounds = enclosure.bounds(left[:, None], right[:, None])
        may = (bounds.low <= 0) & (bounds.high >= 0)
        may &= ~((np.abs(bounds.low) <= NOTHING) & (np.abs(bounds.high) <= NOTHING))  # zero all over, and no break
        middle = left + 0.5 * (right - left)
        narrow = right - left <= COARSE * length
        may &= ~(narrow & np.isnan(at(left)) & np.isnan(at(middle)) & np.isnan(at(right)))
        single = may & ((bounds.slope_low[:, 0] > 0) | (bounds.slope_high[:, 0] < 0))
        brackets.append((left[single], right[single]))
        rest = may & ~single
        left, middle, right = left[rest], middle[rest], right[rest]
        if len(left) == 0 or (right - left).max() <= NARROWEST * length or (len(left) > CROWDED and narrow.all()):
            break
        left, right = np.concatenate([left, middle]), np.concatenate([middle, right])
        if len(left) > MOST_BOXES:
            complete = False
            break
    changes = _changes(at, *(np.concatenate([b[i] for b in brackets]) for i in (0, 1)))
    clusters = _joined(left, right) if complete else []
    within = [_in_cluster(at, *cluster, touching) for cluster in clusters]
    complete &= all(len(roots) < CROWDED_CLUSTER for roots in within)
    found = [changes, *within]
    roots = _distinct(np.concatenate(found), EQUAL * length)
    return _without_plateaus(at, roots, SAME_ZERO * length), complete


def _without_plateaus(at: Callable[[Array], Array], roots: Array, close: float) -> Array:
    """Replace roots between which u is zero to rounding by one, as for 1 - cos(x), which is zero for 1e-8 around 0."""
    if len(roots) < 2:
        return roots
    between = roots[:-1] + 0.5 * np.diff(roots)
    apart = ~((np.diff(roots) <= close) & (at(between) == 0))
    groups = np.split(roots, np.flatnonzero(apart) + 1)
    return np.concatenate([g if len(g) == 1 else _nicest(at, g.mean(keepdims=True), g[-1] - g[0]) for g in groups])


def _joined(left: Array, right: Array) -> list[tuple[float, float]]:
    """Return the intervals that adjacent parts make together."""
    order = np.argsort(left)
    left, right = left[order], right[order]
    first = np.flatnonzero(np.concatenate([[True], left[1:] > right[:-1]])) if len(left) else np.empty(0, dtype=int)
    last = np.append(first[1:], len(left)) - 1 if len(left) else first
    return [(float(a), float(b)) for a, b in zip(left[first], right[last], strict=True)]


def _in_cluster(at: Callable[[Array], Array], left: float, right: float, touching: bool) -> Array:
    """Find changes of sign within an interval in which no bound decides, or the place where u touches zero."""
    places = np.linspace(left, right, PLACES)
    values = at(places)
    signed = places[np.isfinite(values) & (values != 0)]
    signs = np.sign(at(signed))
    turns = np.flatnonzero(signs[:-1] * signs[1:] < 0)
    if len(turns) or not touching:
        return _changes(at, signed[turns], signed[turns + 1])
    for _ in range(8):
        sizes = np.abs(at(places))
        if np.isnan(sizes).all():
            return np.empty(0)
        lowest = np.flatnonzero(sizes == np.nanmin(sizes))
        best = places[lowest[len(lowest) // 2]]  # the middle of those that are zero to rounding
        step = places[1] - places[0]
        if len(lowest) > 1 or step == 0:
            break
        places = np.linspace(best - step, best + step, PLACES)
    return _nicest(at, np.array([best]), right - left)


def _changes(at: Callable[[Array], Array], left: Array, right: Array) -> Array:
    """Find one zero in every interval at whose ends u has different signs, to the last bit."""
    signs = np.sign(at(left)), np.sign(at(right))
    opposite = signs[0] * signs[1] <= 0
    left, right, start = left[opposite].copy(), right[opposite].copy(), signs[0][opposite]
    right = np.where(start == 0, left, right)
    left = np.where(signs[1][opposite] == 0, right, left)
    for _ in range(HALVINGS):
        middle = left + 0.5 * (right - left)
        if np.all((middle == left) | (middle == right)):
            break
        sign = np.sign(at(middle))
        left, right = np.where(sign == -start, left, middle), np.where(sign == start, right, middle)
    return _nicest(at, np.where(np.abs(at(left)) <= np.abs(at(right)), left, right), 1.0)


def _nicest(at: Callable[[Array], Array], roots: Array, length: float) -> Array:
    """Exchange roots for numbers of few digits beside them, where these are zeros to the last bit."""
    rounded = np.round(roots, 12)
    zero = (at(rounded) == 0) & (np.abs(rounded - roots) <= 1e-12 * np.maximum(np.abs(roots), min(length, 1.0)))
    return np.where(zero, rounded, roots) + 0.0


def _distinct(places: Array, least: float) -> Array:
    """Sort places, and leave out those that are closer than `least` to the one before."""
    places = np.unique(places)
    return places[np.concatenate([[True], np.diff(places) > least])] if len(places) else places


def _may_vanish(enclosure: Enclosure, lower: Sequence[float] | Array, upper: Sequence[float] | Array) -> bool:
    """Tell whether bounds leave room for a zero in a box."""
    left, right = np.array([lower], dtype=np.float64), np.array([upper], dtype=np.float64)
    while True:
        low, high = enclosure(left, right)
        may = (low <= 0) & (high >= 0)
        left, right = left[may], right[may]
        if len(left) == 0 or len(left) > BOXES_IN_SPACE:
            return len(left) > 0
        axis = np.argmax(right - left, axis=-1)[:, None]
        along = np.arange(enclosure.ndim) == axis
        middle = np.where(along, left + 0.5 * (right - left), 0)
        if np.all((right - left).max(axis=-1) <= NARROWEST * (np.max(upper) - np.min(lower))):
            return True
        left, right = (
            np.concatenate([left, np.where(along, middle, left)]),
            np.concatenate([np.where(along, middle, right), right]),
        )
