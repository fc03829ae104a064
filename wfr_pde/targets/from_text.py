"""Targets from text: a family by its name and arguments, as in `gaussian(mean=-1, covariance=0.04)`."""

from __future__ import annotations

import ast
import difflib
import inspect
import re
from typing import Any

from wfr_pde.numerics.arguments import choice, knows_its_arguments, shown
from wfr_pde.targets.base import Target
from wfr_pde.targets.expressions import constant, refuse_node, syntax_tree
from wfr_pde.targets.stored_factors import stored_product

_CLASS = re.compile(r"\b([A-Z][A-Za-z]*)\(")  # name of a class before its bracket, in the spelling of a Target
# targets whose arguments are arrays, functions or targets, which text does not hold
MOST_COPIES = 10_000  # of a distribution in a list
_NEEDS_OBJECTS = ("GridTarget", "Posterior", "GeometricPath", "GeometricMean", "Noised", "ReversedPath")


def distribution_names() -> dict[str, type[Target]]:
    """Return the targets that text can build: their class names in snake_case, and `mixture`."""
    import wfr_pde.targets as targets

    classes = [getattr(targets, name) for name in targets.__all__ if name not in _NEEDS_OBJECTS]
    classes = [c for c in classes if inspect.isclass(c) and issubclass(c, Target) and c is not Target]
    named = {re.sub(r"(?<!^)(?=[A-Z])", "_", c.__name__).lower(): c for c in classes}
    return {**named, "mixture": targets.GaussianMixture}


def _known() -> dict[str, type[Target]]:
    """Return all names that text may call: those of distributions, and of paths and means between two of them."""
    import wfr_pde.targets as targets

    paths = {"geometric_path": targets.GeometricPath, "geometric_mean": targets.GeometricMean}
    return {**distribution_names(), **paths}


@knows_its_arguments
def stored_distribution(ds: Any, attribute: str) -> Target:
    """Build the target or the start that the provenance of a Dataset names.

    Parameters
    ----------
    ds : Dataset or DataTree
        As `solve` and `ground_truth` return it.
    attribute : {"energy", "start"}
        "energy" for the target, "start" for the start.

    Returns
    -------
    Target

    Raises
    ------
    ValueError
        If the attribute is no text to make a distribution from, as that of a Python function is.

    Examples
    --------
    >>> import wfr_pde as wfr
    >>> target = wfr.Gaussian(0, 1)
    >>> grid = wfr.Grid.covering(target, shape=32)
    >>> ds = wfr.solve(target, wfr.FisherRao(), grid.density(target), t=[0, 1], dt=1)
    >>> wfr.targets.stored_distribution(ds, "energy")
    Gaussian(mean=[0.0], covariance=[[1.0]])
    """
    if not hasattr(ds, "attrs"):
        raise TypeError(f"ds must be a Dataset of solve, whose attributes say what it is of, got {shown(ds)}")
    said = str(ds.attrs.get(choice("attribute", attribute, ("energy", "start")), ""))
    inner = re.sub(r"^KL\(target=(.*)\)$", r"\1", said)
    try:
        return stored_product(ds, attribute, _spelled) if "factors" in ds.attrs else _spelled(inner)
    except (ValueError, TypeError):
        raise ValueError(f"the Dataset says of its {attribute} {said!r}, which is no text to make it from") from None


def _spelled(text: str) -> Target:
    """Build what the spelling of a target says, by the names of classes."""
    return parse_distribution(_CLASS.sub(lambda found: _snake(found[1]) + "(", text))


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


@knows_its_arguments
def parse_distribution(text: str) -> Target:
    """Build the target that `text` names, without evaluating it as Python.

    Parameters
    ----------
    text : str
        One call such as `gaussian(mean=[0, 1], covariance=[[1, .2], [.2, 1]])`, `four_modes()`, or
        `potential("x**4/4 - x**2")`; arguments are numbers (`1/3` and `sqrt(2)` too), lists, for a potential text, and
        for `geometric_path(start, target)` and `product([double_well(5) * 19, gaussian(0, 1)])` such calls.

    Returns
    -------
    Target

    Raises
    ------
    ValueError
        If it is anything else, the name is unknown or the target refuses the arguments.

    Examples
    --------
    >>> import wfr_pde as wfr
    >>> wfr.targets.parse_distribution("gaussian(mean=1/2, covariance=0.25)")
    Gaussian(mean=[0.5], covariance=[[0.25]])
    >>> wfr.targets.parse_distribution("product([double_well(5) * 19, gaussian(0, 1)])").ndim
    20
    """
    known = _known()
    call = syntax_tree(text, r"[A-Za-z0-9_+\-*/(),.<>=\s\[\]'\"]", named=True)
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
        refuse_node(
            text,
            call,
            f"is not a distribution such as gaussian(mean=0, covariance=1); known: {', '.join(known)}",
        )
    return _built(call, call.func, text, known)


def _built(call: ast.Call, function: ast.Name, text: str, known: dict[str, type[Target]]) -> Target:
    """Make the target that a call of a known name stands for."""
    name = function.id
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        meant = f" (did you mean {near[0]}?)" if near else ""
        refuse_node(
            text,
            function,
            f"is not a known distribution{meant}; known: {', '.join(known)}; any other is written by its -log, as in "
            "potential('2*log(1 + x**2/3)')",
        )
    args = [_argument(node, text, known) for node in call.args]
    kwargs = {}
    for keyword in call.keywords:
        if keyword.arg is None:
            refuse_node(text, keyword, "is not allowed: write name=value")
        if keyword.arg in kwargs:
            refuse_node(text, keyword, "is given twice")
        kwargs[keyword.arg] = _argument(keyword.value, text, known)
    _check_arguments(name, inspect.signature(known[name]), args, kwargs)
    return known[name](*args, **kwargs)


def _check_arguments(name: str, signature: inspect.Signature, args: list[Any], kwargs: dict[str, Any]) -> None:
    takes = ", ".join(signature.parameters) or "no arguments"
    for keyword in kwargs:
        if keyword not in signature.parameters:
            raise ValueError(f"{name} has no parameter {keyword!r}; it takes {takes}")
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        raise ValueError(f"{name}: {error}; it takes {takes}") from None


def _argument(node: ast.expr, text: str, known: dict[str, type[Target]]) -> Any:
    """Return what an argument of a call spells: a number, list or text; or a distribution, or a list of them."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in known:
        return _built(node, node.func, text, known)
    if isinstance(node, ast.List | ast.Tuple) and any(isinstance(one, ast.Call | ast.BinOp) for one in node.elts):
        return [one for element in node.elts for one in _entries(element, text, known)]
    return _literal(node, text)


def _entries(node: ast.expr, text: str, known: dict[str, type[Target]]) -> list[Any]:
    """Return what an entry of a list stands for: one thing, or a distribution many times, as in `ring() * 20`."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult) and isinstance(node.right, ast.Constant):
        one, count = node.left, node.right.value
        if isinstance(one, ast.Call) and isinstance(one.func, ast.Name) and one.func.id in known:
            if type(count) is not int or not 1 <= count <= MOST_COPIES:
                refuse_node(text, node.right, f"is not how often a distribution is there: 1 to {MOST_COPIES}")
            return [_argument(one, text, known)] * count
    return [_argument(node, text, known)]


def _literal(node: ast.expr, text: str) -> Any:
    """Return the number, list or text that a node of the syntax tree spells."""
    if isinstance(node, ast.List | ast.Tuple):
        return [_literal(element, text) for element in node.elts]
    if isinstance(node, ast.Constant) and type(node.value) in (int, str):
        return node.value
    return constant(node, text)
