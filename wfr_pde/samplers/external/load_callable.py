"""Callables by name: a function of an installed module, or of a file."""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from wfr_pde.flows.base import Flow
from wfr_pde.numerics.arguments import knows_its_arguments, shown
from wfr_pde.numerics.arguments import text as checked_text


@knows_its_arguments
def load_callable(where: str) -> Any:
    """Load the callable, or Flow, that a text names.

    The current directory, or that of the file, is put first on the module path, as Python does for what it runs.

    Parameters
    ----------
    where : str
        "package.module:name", "package.module.name" or "path/to/file.py:name".

    Returns
    -------
    callable or Flow

    Raises
    ------
    FileNotFoundError, ImportError
        If there is no such file, module or name.
    TypeError, ValueError
        If it is neither, or the text is none of the above.

    Examples
    --------
    >>> import wfr_pde as wfr
    >>> hypotenuse = wfr.load_callable("math:hypot")
    >>> hypotenuse(3, 4)
    5.0
    """
    text = checked_text("where", where, "a text such as package.module:name or path/to/file.py:name")
    module, colon, name = text.rpartition(":")
    if not colon and text.endswith(".py"):
        raise ValueError(f"where={shown(text)} names a file only: write {text}:NAME with the name of a function in it")
    if colon and module.endswith(".py"):
        found = _attribute(_file_module(Path(module)), name, text)
    elif colon:
        found = _attribute(_module(module, text), name, text)
    else:
        found = _dotted(text)
    if not callable(found) and not isinstance(found, Flow):
        raise TypeError(
            f"{text!r} is {type(found).__name__}, which cannot be called: name a function, a class or a Flow"
        )
    return found


def _dotted(text: str) -> Any:
    """Load what "package.module.name" names, with as many parts as there are modules."""
    parts = text.split(".")
    if len(parts) < 2 or not all(part.isidentifier() for part in parts):
        raise ValueError(f"where={shown(text)} names no callable: write package.module:name, or path/to/file.py:name")
    for k in range(len(parts) - 1, 0, -1):
        module = ".".join(parts[:k])
        try:
            return _attribute(_module(module, text), ".".join(parts[k:]), text)
        except ModuleNotFoundError as error:
            if k == 1 or error.name is None or not f"{module}.".startswith(f"{error.name}."):
                raise
    raise AssertionError  # the last module raises or returns


def _module(name: str, text: str) -> ModuleType:
    """Import a module by its name."""
    if not all(part.isidentifier() for part in name.split(".")):
        raise ValueError(f"where={shown(text)} names no module: write package.module:name, or path/to/file.py:name")
    _put_first(Path.cwd())
    importlib.invalidate_caches()  # the file may be new
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            error.add_note(f"(imported by {name}, for {text!r})")
            raise
        raise ModuleNotFoundError(
            f"there is no module {error.name!r} for {text!r}, neither installed nor in {Path.cwd()}: check the name, "
            "or give path/to/file.py:name",
            name=error.name,
        ) from None


def _file_module(path: Path) -> ModuleType:
    """Import a file as a module, under its own name where that is free."""
    path = path.expanduser().resolve()
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {str(path)!r}")
    name = path.stem
    if not name.isidentifier() or not _is_free(name, path):
        name = f"file_{hashlib.sha256(os.fsencode(path)).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    _put_first(path.parent)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None  # for a name that ends in .py there is one
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickles look there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _is_free(name: str, path: Path) -> bool:
    """Tell whether a module of that name is the file's, or there is none."""
    if name in sys.modules:
        return getattr(sys.modules[name], "__file__", None) == str(path)
    return importlib.util.find_spec(name) is None or Path(f"{name}.py").resolve() == path


def _put_first(directory: Path) -> None:
    if str(directory) not in sys.path:
        sys.path.insert(0, str(directory))


def _attribute(module: ModuleType, name: str, text: str) -> Any:
    """Return the object that a module calls `name`, which may have dots."""
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            here = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
            raise ImportError(
                f"{text!r}: {getattr(found, '__name__', type(found).__name__)} has no {part!r}; it has "
                f"{', '.join(here[:8]) or 'nothing that can be called'}"
            )
        found = getattr(found, part)
    return found


def dotted_name(function: Any) -> str:
    """Return the name of a callable with that of its module; of a partial one, the name of what it calls."""
    while isinstance(function, functools.partial):
        function = function.func
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{named.__qualname__}"
