"""Search for experiments, loading them, and the hash of the code in a file that its data depend on."""

from __future__ import annotations

import ast
import difflib
import hashlib
import logging
import math
import numbers
import sys
import types
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from wfr_pde import _version
from wfr_pde.app.experiments.experiment import Experiment, Tolerance
from wfr_pde.app.experiments.knobs import found_knobs

FOLDER = "experiments"  # default folder of experiments
NOT_DATA = ("QUICK", "CHECKS", "TOLERANCES")  # parts of a file that the data do not depend on
LOG = logging.getLogger(__name__)


def _shipped() -> Path:
    """Return the folder of the experiments of the package: in it where it was installed, beside it in its source."""
    inside = Path(__file__).parent / "shipped"
    return inside if inside.is_dir() else Path(_version.__file__).parents[1] / FOLDER


SHIPPED = _shipped()


def find_experiments(folder: str | Path | None = None) -> dict[str, Path]:
    """Find experiments, name -> file, sorted; files whose name starts with `_` are left out.

    Parameters
    ----------
    folder : path, optional
        Where they are. By default they are those of the package and those in the folder `experiments` of the working
        directory; where both have a name, it is the latter.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    """
    if folder is None:
        return dict(sorted({**_files(SHIPPED), **_files(Path(FOLDER))}.items()))
    if not Path(folder).is_dir():
        raise FileNotFoundError(f"there is no folder {str(folder)!r} here: give the path of one that is there")
    return _files(Path(folder))


def own_folder() -> Path:
    """Return the folder `experiments` of the working directory or, where there is none, that of the package."""
    return Path(FOLDER) if Path(FOLDER).is_dir() else SHIPPED


def tell_of_replaced(names: Iterable[str]) -> None:
    """Log which of these experiments are those of the working directory, in place of some of the package."""
    own, shipped = _files(Path(FOLDER)), _files(SHIPPED)
    both = sorted(own.keys() & shipped.keys() & set(names))
    replaced = [name for name in both if not own[name].samefile(shipped[name])]
    if replaced:
        LOG.info("taken from the folder %r, not from wfr_pde: %s", FOLDER, ", ".join(replaced))


def _files(folder: Path) -> dict[str, Path]:
    """List the experiments in a folder, which need not be there."""
    return {path.stem: path for path in sorted(folder.glob("*.py")) if not path.stem.startswith("_")}


def docstring(path: str | Path) -> str:
    """Return the docstring of a file, which is not run."""
    try:
        found = ast.get_docstring(ast.parse(Path(path).read_text(encoding="utf-8")))
    except (SyntaxError, ValueError) as error:
        return f"(cannot be read: {error})"
    return found or "(no docstring)"


def description(path: str | Path) -> str:
    """Return the first line of the docstring of a file, which is not run."""
    return docstring(path).splitlines()[0]


def load_experiment(name: str | Path, folder: str | Path | None = None) -> Experiment:
    """Load the experiment of that name, found as `find_experiments` does, or in the file of that path.

    Raises
    ------
    ValueError
        If there is none, or the file is not an experiment.
    """
    given = str(name)
    path = Path(name)
    if path.suffix != ".py":
        known = find_experiments(folder)
        if given not in known:
            raise ValueError(_unknown(given, known, folder))
        path = known[given]
        if folder is None:
            tell_of_replaced([given])
    elif not path.is_file():
        raise FileNotFoundError(f"there is no file {given!r}")
    module, source = _executed(path)
    missing = [part for part in ("run", "figure", "QUICK", "CHECKS") if not hasattr(module, part)]
    if missing or not module.__doc__:
        lacks = ", ".join(missing) or "a docstring that says what it shows"
        raise ValueError(
            f"{path} is not an experiment: it lacks {lacks} "
            "(needed: a docstring, run(**knobs), figure(ds), QUICK, CHECKS); if it is none, call it _{path.name}"
        )
    knobs = found_knobs(module.run, path)
    experiment = Experiment(
        name=path.stem,
        given=given,
        description=module.__doc__.strip().splitlines()[0],
        source=source,
        run=module.run,
        figure=module.figure,
        quick=module.QUICK,
        checks=_checked_claims(module.CHECKS, path),
        knobs=knobs,
        path=path.resolve(),
        costs=getattr(module, "costs", None),
        tolerances=_checked_tolerances(getattr(module, "TOLERANCES", {}), path),
    )
    if not isinstance(module.QUICK, dict):
        raise ValueError(f"QUICK of {path} must be a dict of knobs, got {module.QUICK!r}")
    experiment.values({}, quick=True)
    return experiment


def chosen_experiments(folder: str | Path, names: Iterable[str] | None) -> dict[str, Path]:
    """Return the experiments in a folder that have some of these names, in the order of the folder; all for None.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    ValueError
        If one of the names is of none of them.
    """
    found = find_experiments(folder)
    if names is None:
        return found
    chosen = set(names)
    for name in sorted(chosen - found.keys()):
        raise ValueError(_unknown(name, found, folder))
    return {name: path for name, path in found.items() if name in chosen}


def _unknown(given: str, known: Mapping[str, Path], folder: str | Path | None) -> str:
    """Say that there is no experiment of that name, and which may be meant."""
    where = f"{FOLDER!r} or in wfr_pde" if folder is None else repr(str(folder))
    near = difflib.get_close_matches(given, known, 1)
    meant = f" (did you mean {near[0]!r}?)" if near else ""
    return f"there is no experiment {given!r} in {where}{meant}; known: {', '.join(known) or 'none'}"


def _executed(path: Path) -> tuple[types.ModuleType, str]:
    """Run a file as a module; return it, and the hash of what its data depend on."""
    text = path.read_text(encoding="utf-8")
    try:
        tree = ast.parse(text, filename=str(path))
    except SyntaxError as error:
        raise ValueError(f"{path} is not valid Python: {error.msg} (line {error.lineno})") from None
    # from the text that was read, not through the import system: its cache of bytecode may be out of date
    name = f"wfr_pde_experiment_{path.stem}"
    module = types.ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module  # dataclasses and pickle look classes up here
    try:
        exec(compile(tree, str(path), "exec", dont_inherit=True), module.__dict__)
    except SystemExit as error:
        raise ValueError(f"{path} ends the program when it is loaded, with the exit code {error.code}") from None
    except Exception as error:
        error.add_note(f"(in {path})")
        raise
    return module, _hash_of_code(tree)


def _hash_of_code(tree: ast.Module) -> str:
    """Hash the code that the data depend on, without docstring, `NOT_DATA`, what only `figure`, `costs` use."""
    body = tree.body[1:] if ast.get_docstring(tree) is not None else tree.body
    defined: dict[str, list[ast.stmt]] = {}
    for node in body:
        for name in _defined(node):
            defined.setdefault(name, []).append(node)
    loose = [node for node in body if not _defined(node)]  # imports, loops: they may do anything
    needed = _reached(defined, {"run"}.union(*map(_names, loose)))
    beside = _reached(defined, {"figure", "costs"}) - needed
    kept = [node for node in body if not _defined(node) or not set(_defined(node)) <= beside | set(NOT_DATA)]
    return hashlib.sha256("\n".join(map(ast.unparse, kept)).encode()).hexdigest()


def _defined(node: ast.stmt) -> list[str]:
    """Return the names that a definition or an assignment of plain names gives."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    found = [name for target in targets for name in (target.elts if isinstance(target, ast.Tuple) else [target])]
    names = [name.id for name in found if isinstance(name, ast.Name)]
    return names if len(names) == len(found) else []


def _names(node: ast.AST) -> set[str]:
    """Return all names in a piece of code."""
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}


def _reached(defined: Mapping[str, list[ast.stmt]], names: set[str]) -> set[str]:
    """Return all names that some names need, directly or through others."""
    found: set[str] = set()
    new = {name for name in names if name in defined}
    while new:
        found |= new
        new = {name for one in new for node in defined[one] for name in _names(node) if name in defined} - found
    return found


def _checked_claims(checks: Any, path: Path) -> dict[str, tuple[float, float]]:
    """Return CHECKS, if every entry is name -> (expected, tolerance)."""
    if not isinstance(checks, dict):
        raise ValueError(f"CHECKS of {path} must be a dict name -> (expected, tolerance), got {checks!r}")
    for name, claim in checks.items():
        pair = isinstance(claim, tuple) and len(claim) == 2 and all(isinstance(x, numbers.Real) for x in claim)
        if not pair or not math.isfinite(claim[0]) or not claim[1] >= 0:
            raise ValueError(
                f"CHECKS[{name!r}] of {path} must be (expected, tolerance), two numbers with tolerance >= 0, "
                f"got {claim!r}"
            )
    return {name: (float(expected), float(tolerance)) for name, (expected, tolerance) in checks.items()}


def _checked_tolerances(tolerances: Any, path: Path) -> dict[str, Tolerance]:
    """Return TOLERANCES, if every entry is pattern -> (relative, absolute), or -> None."""
    if not isinstance(tolerances, dict):
        raise ValueError(
            f"TOLERANCES of {path} must be a dict name -> (relative, absolute) or None, got {tolerances!r}"
        )
    for name, pair in tolerances.items():
        is_pair = isinstance(pair, tuple) and len(pair) == 2 and all(isinstance(x, numbers.Real) for x in pair)
        if pair is not None and not (is_pair and all(0 <= x < math.inf for x in pair)):
            raise ValueError(
                f"TOLERANCES[{name!r}] of {path} must be (relative, absolute), two numbers that are not negative, or "
                f"None for what is not compared, got {pair!r}"
            )
    return {name: None if pair is None else (float(pair[0]), float(pair[1])) for name, pair in tolerances.items()}
