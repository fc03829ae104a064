"""Potentials written as text: an allow-list over Python's syntax tree, then sympy for the gradient.

The text is never evaluated as Python: `ast.parse` only reads it, and the tree is walked piece by piece.
Functions are kept inert (sympy may add, multiply and raise to whole powers, nothing more), so that no
rewriting can run away, and what is computed is what was written.
"""

from __future__ import annotations

import ast
import operator
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, NoReturn

import numpy as np

from wfr_pde.numerics.arguments import shown

AXES = ("x", "y", "z", "w")  # names of the coordinates, in order; four is the largest dimension of a grid
CONSTANTS = {"pi": np.pi, "e": np.e}  # names that stand for numbers

# characters of a text, and depth below: hostile text ends in an error, not in minutes or a full stack
_MAX_LENGTH = 1000
_MAX_DEPTH = 50  # brackets and operations within each other: far below Python's limit of 1000 nested calls
_MAX_POWER = 1000  # largest constant exponent: x**1000 overflows from x = 2.04 on
_LARGEST = 1e300  # largest number in a text: a little below the largest double, beyond which there is only infinity


def logcosh(u: Any) -> Any:
    """Return the logarithm of the hyperbolic cosine; it does not overflow."""
    size = np.abs(u)  # cosh overflows beyond 710
    return size + np.log1p(np.exp(-2 * size)) - np.log(2)


def _heaviside(u: Any) -> Any:
    return np.heaviside(u, 0.5)


def _where(condition: Any, a: Any, b: Any) -> Any:
    return np.where(np.isnan(condition), np.nan, np.where(np.asarray(condition) != 0, a, b))


def _less(u: Any, v: Any) -> Any:
    return np.where(np.isnan(u) | np.isnan(v), np.nan, np.less(u, v))


def _less_equal(u: Any, v: Any) -> Any:
    return np.where(np.isnan(u) | np.isnan(v), np.nan, np.less_equal(u, v))


# name: (NumPy function, derivative by each argument in terms of u and v)
_FUNCTIONS: dict[str, tuple[Callable[..., Any], tuple[str, ...]]] = {
    "exp": (np.exp, ("exp(u)",)),
    "log": (np.log, ("1/u",)),
    "sqrt": (np.sqrt, ("0.5/sqrt(u)",)),
    "sin": (np.sin, ("cos(u)",)),
    "cos": (np.cos, ("-sin(u)",)),
    "tan": (np.tan, ("1 + tan(u)**2",)),
    "sinh": (np.sinh, ("cosh(u)",)),
    "cosh": (np.cosh, ("sinh(u)",)),
    "tanh": (np.tanh, ("1 - tanh(u)**2",)),
    "atan": (np.arctan, ("1/(1 + u**2)",)),
    "asinh": (np.arcsinh, ("1/sqrt(1 + u**2)",)),
    "abs": (np.abs, ("sign(u)",)),
    "sign": (np.sign, ("0",)),
    "log1p": (np.log1p, ("1/(1 + u)",)),
    "expm1": (np.expm1, ("exp(u)",)),
    "logcosh": (logcosh, ("tanh(u)",)),
    "logaddexp": (np.logaddexp, ("exp(u - logaddexp(u, v))", "exp(v - logaddexp(u, v))")),
    "min": (np.minimum, ("", "")),  # that of the argument taken: `_derivative_of_choice`
    "max": (np.maximum, ("", "")),
    "Heaviside": (_heaviside, ("0",)),
}
_ANY_NUMBER = ("min", "max")  # of arguments, from two on: min(a, b, c) is min(min(a, b), c)
# what the syntax makes: where(condition, a, b), and comparisons, 1 where they hold and 0 elsewhere
_PIECEWISE: dict[str, tuple[Callable[..., Any], int]] = {
    "where": (_where, 3),
    "less": (_less, 2),
    "less_equal": (_less_equal, 2),
}
# u**v as a NumPy function, and its derivative by each argument
_POWER: tuple[Callable[..., Any], tuple[str, ...]] = (np.power, ("v*u**(v - 1)", "log(u)*u**v"))

# node of the syntax tree: what is done to its sides
_OPERATORS: dict[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
# a < b as (name, whether the sides are exchanged)
_COMPARISONS: dict[type[ast.AST], tuple[str, bool]] = {
    ast.Lt: ("less", False),
    ast.LtE: ("less_equal", False),
    ast.Gt: ("less", True),
    ast.GtE: ("less_equal", True),
}
# what is written in place of a character or sign that is not allowed
_HINTS = {"^": "write ** for powers", "=": "write the potential alone", "×": "write *", "²": "write **2"}


@dataclass(frozen=True, eq=False)
class CompiledExpression:
    """A potential of `ndim` coordinates: `value(x, y, …)` and the list `gradient(x, y, …)`, on arrays.

    Where it is `moving`, both take the time t after the coordinates. `formula` is what both are made from: a sympy
    expression of the symbols x, y, z, w, r and t, whose functions are inert and called f_exp, f_min, f_where, …
    """

    ndim: int
    value: Callable[..., Any]
    gradient: Callable[..., list[Any]]
    formula: Any
    moving: bool = False


@lru_cache(maxsize=64)
def compile_expression(text: str, ndim: int | None = None) -> CompiledExpression:
    """Read `text` as a potential in x, y, z, w, r (the distance from the origin) and t (the time).

    Parameters
    ----------
    text : str
        Made of the coordinates, numbers, pi, e, + - * / **, brackets and the functions exp, log, sqrt,
        sin, cos, tan, sinh, cosh, tanh, atan, asinh, abs, sign, log1p, expm1, logcosh and logaddexp(a, b).
        In pieces: min(a, b, …), max(a, b, …), Heaviside(u) (½ at 0) and where(condition, a, b), the condition
        being a comparison by <, <=, > or >=, which is a number, too: 2*(x > 0.37) is 2 where it holds, else 0.
        What a branch of `where` is on the other side does not matter, to the gradient neither.
    ndim : int, optional
        Dimension; from the last coordinate used where it is not given.

    Raises
    ------
    ValueError
        If anything else is in it, naming the piece and its column.
    """
    import sympy

    tree = syntax_tree(text, r"[A-Za-z0-9_+\-*/(),.<>=\s]")
    if isinstance(tree, ast.Compare):
        refuse_node(text, tree, "is true or false, no potential: write where(condition, a, b), or a number times it")
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    # plain symbols: without assumptions sympy makes no case distinctions
    symbols = {name: sympy.Symbol(name) for name in (*AXES, "r", "t")}
    formula = sympy.sympify(_exact(_Builder(text, symbols).build(tree)))
    ndim = _dimension(text, used, ndim)
    moving = "t" in used
    arguments = [symbols[name] for name in (*AXES[:ndim], "t", "r")]
    value = numeric(arguments, [formula])
    partials = numeric(arguments, [sympy.diff(formula, symbol) for symbol in arguments if symbol.name != "t"])

    def gradient(*coordinates: Any) -> list[Any]:
        coordinates, t = (coordinates[:-1], coordinates[-1]) if moving else (coordinates, 0.0)
        r = _radius(coordinates) if "r" in used else 0.0
        with np.errstate(all="ignore"):
            *along, by_r = partials(*coordinates, t, r)
            if "r" not in used:
                return along
            # x/r has no direction at the origin: zero there, as for a ring
            return [p + np.where(r > 0, by_r * x / r, 0.0) for p, x in zip(along, coordinates, strict=True)]

    def evaluate(*coordinates: Any) -> Any:
        coordinates, t = (coordinates[:-1], coordinates[-1]) if moving else (coordinates, 0.0)
        with np.errstate(all="ignore"):
            return value(*coordinates, t, _radius(coordinates) if "r" in used else 0.0)[0]

    return CompiledExpression(ndim, evaluate, gradient, formula, moving)


def constant(node: ast.expr, text: str) -> float:
    """Return the number that an expression without coordinates stands for."""
    number = _Builder(text, {}).build(node)
    assert isinstance(number, float)
    return number


def _radius(coordinates: Sequence[Any]) -> Any:
    return np.sqrt(sum(x**2 for x in coordinates))


def _dimension(text: str, used: set[str], ndim: int | None) -> int:
    highest = max((AXES.index(name) + 1 for name in used if name in AXES), default=0)
    if ndim is None:
        if "r" in used or not highest:
            what = "r, the distance from the origin, does" if "r" in used else "a constant does"
            raise ValueError(f"{what} not tell the dimension of {_short(text)}: give ndim")
        return highest
    if not 1 <= ndim <= len(AXES):
        raise ValueError(f"an expression has between 1 and {len(AXES)} coordinates ({', '.join(AXES)}), ndim is {ndim}")
    if highest > ndim:
        raise ValueError(f"{_short(text)} uses {AXES[highest - 1]}, which needs ndim >= {highest}, but ndim is {ndim}")
    return ndim


def syntax_tree(text: str, allowed: str, named: bool = False) -> ast.expr:
    """Parse `text`, after a check of its length, its depth and its characters, against the pattern `allowed`.

    Unless `named`, = is refused too: it would name a value.
    """
    if not isinstance(text, str):
        raise TypeError(f"text must be a text, got {shown(text)}")
    text = normalised(text)
    if len(text) > _MAX_LENGTH:
        raise ValueError(f"the text has {len(text)} characters, more than {_MAX_LENGTH}: write a Python function")
    for column, character in enumerate(text):
        if not re.fullmatch(allowed, character, re.ASCII):
            refuse(text, column, character, _HINTS.get(character, "is not a character allowed here"))
    if not named and (equals := re.search("(?<![<>])=", text)):
        refuse(text, equals.start(), "=", _HINTS["="])
    _check_depth(text)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text, mode="eval").body
    except SyntaxError as error:
        column = min(max((error.offset or 1) - 1, 0), max(len(text) - 1, 0))
        reason = f"is where reading fails ({error.msg}); a product needs *"
        raise ValueError(_complaint(text, column, text[column : column + 10], reason)) from None
    except (ValueError, MemoryError, RecursionError) as error:
        raise ValueError(f"{_short(text)} cannot be read ({error}): write a Python function") from None
    return tree


def normalised(text: str) -> str:
    """Return `text` on one line, the form to which the columns of a syntax tree refer."""
    return re.sub(r"\s", " ", text).strip()


def _check_depth(text: str) -> None:
    depth = 0
    for column, character in enumerate(text):
        depth += (character in "([") - (character in ")]")
        if depth > _MAX_DEPTH:
            refuse(text, column, character, f"is nested more than {_MAX_DEPTH} deep")


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")


def _complaint(text: str, column: int, piece: str, reason: str) -> str:
    return f"in the text {_short(text)}, column {column + 1}: {_short(piece)} {reason}"


def refuse(text: str, column: int, piece: str, reason: str) -> NoReturn:
    """Raise the ValueError that names a piece of `text`, its column and the remedy."""
    raise ValueError(_complaint(text, column, piece, reason))


def refuse_node(text: str, node: ast.AST, reason: str) -> NoReturn:
    """Raise the ValueError of `refuse` for a node of the syntax tree."""
    text = normalised(text)
    column = getattr(node, "col_offset", 0)
    refuse(text, column, ast.get_source_segment(text, node) or text, reason)


class _Builder:
    """Builder of a formula from a syntax tree: what has no coordinates becomes a float, else a sympy expression."""

    def __init__(self, text: str, symbols: Mapping[str, Any]) -> None:
        self.text, self.symbols = text, symbols

    def build(self, node: ast.AST, depth: int = 0) -> Any:
        if depth > _MAX_DEPTH:
            refuse_node(self.text, node, f"is nested more than {_MAX_DEPTH} deep")
        try:
            if isinstance(node, ast.Constant):
                result = self._number(node)
            elif isinstance(node, ast.Name):
                result = self._name(node)
            elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
                operand = self.build(node.operand, depth + 1)
                result = -operand if isinstance(node.op, ast.USub) else operand
            elif isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
                left, right = self.build(node.left, depth + 1), self.build(node.right, depth + 1)
                result = _operate(_OPERATORS[type(node.op)], left, right)
            elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
                result = self._power(node, self.build(node.left, depth + 1), self.build(node.right, depth + 1))
            elif isinstance(node, ast.Call):
                result = self._call(node, depth)
            elif isinstance(node, ast.Compare):
                result = self._comparison(node, depth)
            else:
                refuse_node(self.text, node, "is not allowed: use numbers, coordinates, + - * / ** and functions")
        except (OverflowError, ZeroDivisionError) as error:
            refuse_node(self.text, node, f"has no finite value ({error})")
        return self._checked(node, result)

    def _number(self, node: ast.Constant) -> float:
        if isinstance(node.value, bool) or not isinstance(node.value, int | float):
            refuse_node(self.text, node, "is not a real number")
        return float(node.value)

    def _name(self, node: ast.Name) -> Any:
        if node.id in self.symbols:
            return self.symbols[node.id]
        if node.id in CONSTANTS:
            return CONSTANTS[node.id]
        known = ", ".join([*self.symbols, *CONSTANTS])
        hint = (
            "is a function: write its argument in brackets" if node.id in _FUNCTIONS else f"is unknown; known: {known}"
        )
        refuse_node(self.text, node, hint)

    def _power(self, node: ast.BinOp, base: Any, exponent: Any) -> Any:
        if not isinstance(exponent, float):
            return _apply("power", [base, exponent])
        if abs(exponent) > _MAX_POWER:
            refuse_node(self.text, node.right, f"is too large a power: at most {_MAX_POWER}")
        if isinstance(base, float):
            return base**exponent
        return base ** int(exponent) if exponent.is_integer() else _apply("power", [base, exponent])

    def _call(self, node: ast.Call, depth: int) -> Any:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name not in _FUNCTIONS and name != "where":
            refuse_node(self.text, node.func, f"is not a known function; known: {', '.join(_FUNCTIONS)}, where")
        number = 3 if name == "where" else len(_FUNCTIONS[name][1])
        fits = len(node.args) >= number if name in _ANY_NUMBER else len(node.args) == number
        if node.keywords or not fits:
            takes = f"{number} or more arguments" if name in _ANY_NUMBER else f"{number} argument(s)"
            refuse_node(self.text, node, f"is not how {name} is called: it takes {takes}")
        if name == "where" and not isinstance(node.args[0], ast.Compare):
            refuse_node(self.text, node.args[0], "is no condition: compare two numbers by <, <=, > or >=")
        first, *others = [self.build(argument, depth + 1) for argument in node.args]
        if name == "where":
            return _choose(first, *others)
        if name in _ANY_NUMBER:
            for other in others:
                first = _apply(name, [first, other])
            return first
        return _apply(name, [first, *others])

    def _comparison(self, node: ast.Compare, depth: int) -> Any:
        """Return 1 where a comparison, or every one of a chain such as 0 < x < 1, holds, else 0."""
        sides = [self.build(side, depth + 1) for side in (node.left, *node.comparators)]
        result: Any = None
        for operation, left, right in zip(node.ops, sides[:-1], sides[1:], strict=True):
            if type(operation) not in _COMPARISONS:
                refuse_node(self.text, node, "is not a comparison allowed here: use <, <=, > or >=")
            name, exchanged = _COMPARISONS[type(operation)]
            holds = _apply(name, [right, left] if exchanged else [left, right])
            result = holds if result is None else _operate(operator.mul, result, holds)
        return result

    def _checked(self, node: ast.AST, result: Any) -> Any:
        """Return `result`, if its numbers are real, finite and below 1e300."""
        if isinstance(result, complex):
            refuse_node(self.text, node, "is not a real number")
        if isinstance(result, int | float | np.floating):
            return self._sane(node, float(result))
        import sympy

        if result.is_Number:  # what cancels to a number is one
            return self._sane(node, float(result))
        for number in result.atoms(sympy.Number):
            if abs(number) > _LARGEST:
                refuse_node(self.text, node, f"holds a number beyond {_LARGEST}")
        return result

    def _sane(self, node: ast.AST, number: float) -> float:
        if not abs(number) <= _LARGEST:  # NaN too
            refuse_node(self.text, node, f"is {number}: numbers are finite and at most {_LARGEST}")
        return number


def _operate(operation: Callable[[Any, Any], Any], left: Any, right: Any) -> Any:
    if isinstance(left, float) and isinstance(right, float):
        return operation(left, right)
    if operation is operator.truediv and right == 0:
        raise ZeroDivisionError("division by zero")
    return operation(_exact(left), _exact(right))


def _exact(value: Any) -> Any:
    """Return a float as a sympy number that prints with all its digits."""
    import sympy

    return sympy.Float(value, 17) if isinstance(value, float) else value


def _apply(name: str, arguments: list[Any]) -> Any:
    """Apply a function: to numbers at once, else as its inert symbol."""
    if all(isinstance(argument, float) for argument in arguments):
        function = (_FUNCTIONS.get(name) or _PIECEWISE[name])[0]
        with np.errstate(all="ignore"):
            return float(function(*arguments))
    return _symbol(name)(*map(_exact, arguments))


def _choose(condition: Any, a: Any, b: Any) -> Any:
    """Return where(condition, a, b), or the branch if there is but one."""
    a, b = _exact(a), _exact(b)
    if isinstance(condition, float) or getattr(condition, "is_Number", False):
        return a if condition != 0 else b
    return a if a == b else _symbol("where")(condition, a, b)


@cache
def _symbol(name: str) -> Any:
    """Make a sympy function that knows its derivatives and nothing else, so that sympy does not rewrite it."""
    import sympy

    if name in _PIECEWISE:
        return _piecewise(name)
    derivatives = _POWER[1] if name == "power" else _FUNCTIONS[name][1]

    def fdiff(self: Any, argindex: int = 1) -> Any:
        text = derivatives[argindex - 1]
        tree = ast.parse(text, mode="eval").body
        values = {n: float(a) if a.is_Number else a for n, a in zip("uv", self.args, strict=False)}
        return sympy.sympify(_exact(_Builder(text, values).build(tree)))

    members = {"nargs": len(derivatives), "fdiff": fdiff}
    if name in _ANY_NUMBER:
        members["_eval_derivative"] = _derivative_of_choice
    return type(f"f_{name}", (sympy.Function,), members)


def _piecewise(name: str) -> Any:
    """Make a sympy function of `_PIECEWISE`, whose derivative is that of the branch, never a product with the other."""
    import sympy

    def derivative(self: Any, symbol: Any) -> Any:
        if name != "where":
            return sympy.Integer(0)
        condition, *branches = self.args
        return _choose(condition, *(branch.diff(symbol) for branch in branches))

    return type(f"f_{name}", (sympy.Function,), {"nargs": _PIECEWISE[name][1], "_eval_derivative": derivative})


def _derivative_of_choice(self: Any, symbol: Any) -> Any:
    """Differentiate min(u, v) or max(u, v): the one taken alone, so that none of the other can be 0 times NaN."""
    u, v = self.args
    condition = _symbol("less_equal")(*((u, v) if type(self).__name__ == "f_min" else (v, u)))
    return _choose(condition, u.diff(symbol), v.diff(symbol))


def inert(name: str) -> Any:
    """Return the inert sympy function that stands for the function `name` of the expression language."""
    return _symbol(name)


def numeric(arguments: list[Any], formulas: list[Any]) -> Callable[..., list[Any]]:
    """Make a function of arrays, one per symbol of `arguments`, that returns the values of the formulas."""
    import sympy

    known = {**_FUNCTIONS, "power": _POWER, **_PIECEWISE}
    functions = {f"f_{name}": function for name, (function, _) in known.items()}
    return sympy.lambdify(arguments, formulas, modules=[functions, "numpy"], cse=True)
