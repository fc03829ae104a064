"""Docstrings: sections and an example for everything public, and first words that say what a function does."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from pathlib import Path

import pytest

import wfr_pde

PACKAGE = Path(wfr_pde.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
NO_VERBS = {  # words that the docstring of a function does not begin with
    *("a", "an", "any", "the", "that", "this", "these", "those", "what", "which", "where", "when", "how", "whether"),
    *("as", "of", "in", "on", "by", "at", "for", "from", "to", "with", "without", "if", "all", "no", "nothing", "one"),
    *("it", "its", "there", "some", "several", "same", "both", "each", "every", "half", "not", "is", "are"),
    *("array", "arrays", "bool", "bytes", "cells", "copies", "density", "densities", "distance", "distances"),
    *("errors", "integral", "integrals", "largest", "logarithm", "logarithms", "mass", "masses", "matrix", "names"),
    *("numbers", "places", "product", "products", "smallest", "sums", "times", "values", "vectors", "weights"),
}


def public_modules():
    """The modules with an `__all__`."""
    names = []
    for file in FILES:
        if re.search(r"^__all__ = ", file.read_text("utf-8"), re.M):
            names.append(".".join((PACKAGE.name, *file.relative_to(PACKAGE).with_suffix("").parts)))
    return [importlib.import_module(name.removesuffix(".__init__")) for name in names]


def public_names():
    """Every name in an `__all__` that is no plain value, with what it is: {dotted name: object}."""
    found = {}
    for module in public_modules():
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.ismodule(value) or callable(value):
                found.setdefault(id(value), (f"{module.__name__}.{name}", value))
    return dict(found.values())


def public_methods():
    """Methods that public classes define and do not override, but for properties: {dotted name: function}."""
    found = {}
    for value in PUBLIC.values():
        for base in reversed(value.__mro__) if inspect.isclass(value) else ():
            if not base.__module__.startswith(PACKAGE.name):
                continue
            for name, method in vars(base).items():
                function = inspect.unwrap(getattr(method, "__func__", method))
                is_method = inspect.isfunction(function) and function.__name__ == name
                if is_method and not name.startswith("_") and is_new(base, name):
                    found[f"{base.__module__}.{base.__qualname__}.{name}"] = function
    return found


def is_new(cls, name):
    """Whether no base of a class has an attribute."""
    return not any(hasattr(base, name) for base in cls.__mro__[1:])


PUBLIC = public_names()
METHODS = public_methods()
FUNCTIONS = {name: inspect.unwrap(value) for name, value in PUBLIC.items() if inspect.isroutine(value)}
CLASSES = {name: value for name, value in PUBLIC.items() if inspect.isclass(value)}


def section(text, title):
    """The lines of a section of a docstring, or None."""
    match = re.search(rf"^{title}\n-+\n(.*?)(?=\n\n\w+\n-+\n|\Z)", text, re.M | re.S)
    return match and match[1]


def documented(text):
    """The names in the section of parameters or attributes."""
    lines = "\n".join(section(text, title) or "" for title in ("Parameters", "Attributes"))
    entries = re.findall(r"^(\S.*?)(?: :.*)?$", lines, re.M)
    return {name.strip().lstrip("*") for entry in entries for name in entry.split(",")}


def undescribed(text):
    """Entries of the sections of parameters and attributes with nothing said of them."""
    lines = "\n".join(section(text, title) or "" for title in ("Parameters", "Attributes"))
    return re.findall(r"^(\S.*)$(?!\n +\S)", lines, re.M)


def named_in(text):
    """The words in backticks."""
    return {word for code in re.findall(r"`+([^`\n]+)`+", text) for word in re.findall(r"\w+", code)}


def parameters(function):
    """The names of the parameters of a function, but for self and private ones."""
    names = [name for name in inspect.signature(function).parameters if not name.startswith("_")]
    return [name for name in names if name not in ("self", "cls")]


def raises(function):
    """Whether the body of a function raises an error itself."""
    tree = ast.parse(inspect.cleandoc("\n" + inspect.getsource(function)))
    errors = [node for node in ast.walk(tree) if isinstance(node, ast.Raise) and node.exc is not None]
    return any("NotImplementedError" not in ast.unparse(node) for node in errors)


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_public_names_have_an_example(name):
    assert ">>>" in (section(inspect.getdoc(PUBLIC[name]) or "", "Examples") or ""), f"{name} has no example"


@pytest.mark.parametrize("name", sorted(PUBLIC | METHODS))
def test_public_entries_have_a_description(name):
    found = undescribed(inspect.getdoc((PUBLIC | METHODS)[name]) or "")
    assert not found, f"{name} says nothing of {found}"


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_public_functions_have_sections(name):
    function, text = FUNCTIONS[name], inspect.getdoc(FUNCTIONS[name]) or ""
    missing = set(parameters(function)) - documented(text)
    assert not missing, f"{name} does not say what {sorted(missing)} are"
    returned = str(inspect.signature(function).return_annotation)
    assert returned in ("None", "NoReturn") or section(text, "Returns") or section(text, "Yields"), f"{name}: Returns?"
    assert section(text, "Raises") or not raises(function), f"{name}: Raises?"


@pytest.mark.parametrize("name", sorted(METHODS))
def test_public_methods_say_what_their_arguments_are(name):
    """In a section, or by their names in the text of a short docstring."""
    function, text = METHODS[name], inspect.getdoc(METHODS[name]) or ""
    missing = set(parameters(function)) - documented(text) - named_in(text)
    assert not missing, f"{name} does not say what {sorted(missing)} are"
    assert section(text, "Raises") or not raises(function), f"{name}: Raises?"


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_public_classes_say_what_their_arguments_are(name):
    cls = CLASSES[name]
    if "__init__" not in vars(cls) or issubclass(cls, Exception):  # no dataclass, and arguments are the base's
        return
    missing = set(parameters(cls.__init__)) - documented(inspect.getdoc(cls))
    assert not missing, f"{name} does not say what {sorted(missing)} are"


def functions_of(file):
    """Functions of a file that have a docstring, but for properties, records and metrics: (name, docstring)."""
    found = []

    def look(node, prefix):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef):
                decorators = " ".join(ast.unparse(decorator) for decorator in child.decorator_list)
                text = ast.get_docstring(child)
                if text and not re.search(r"property|described|setter", decorators):
                    found.append((f"{prefix}{child.name}", text))
            if isinstance(child, ast.FunctionDef | ast.ClassDef):
                look(child, f"{prefix}{child.name}.")

    look(ast.parse(file.read_text("utf-8")), "")
    return found


def begins_with_a_verb(text):
    """Whether the first word may be a verb: one of letters, not in the list, and not before "of"."""
    word, *after = text.split()
    is_word = re.fullmatch(r"[A-Z][a-z]+[,:]?", word) and word.lower().strip(",:") not in NO_VERBS
    return bool(is_word) and after[:1] != ["of"]  # "Number of ..." is none of a verb either


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(PACKAGE).as_posix())
def test_docstrings_of_functions_begin_with_a_verb(file):
    wrong = [f"{name}: {text.splitlines()[0]}" for name, text in functions_of(file) if not begins_with_a_verb(text)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("text", ["The mass.", "Number of cells.", "That of the start.", "log mu at x.", "`n` draws."])
def test_other_beginnings_are_seen(text):
    assert not begins_with_a_verb(text)
    assert begins_with_a_verb(f"Return {text}")


def test_sections_that_are_missing_are_seen():
    def share(mass, cells):
        """Return the share.

        Parameters
        ----------
        mass : float
        """
        if cells == 0:
            raise ValueError("no cells")
        return mass / cells

    text = inspect.getdoc(share)
    assert parameters(share) == ["mass", "cells"]
    assert documented(text) == {"mass"}
    assert undescribed(text) == ["mass : float"]
    assert raises(share)
    assert section(text, "Returns") is None
