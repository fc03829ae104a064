"""Experiments: files that compute a Dataset, draw a figure of it, and check what it claims.

An experiment is a Python file, usually in the folder `experiments`, with

- a docstring whose first line says what it shows;
- ``run(**knobs) -> xarray.Dataset``, every knob with a default: an int, float, str, bool or a tuple of those; an
  annotation such as ``Literal["a", "b"]``, or ``tuple[Literal["a", "b"], ...]``, names its choices;
- ``figure(ds) -> matplotlib.figure.Figure``, from the Dataset alone;
- ``QUICK``, a dict of knobs for a run of a few seconds;
- ``CHECKS``, a dict ``name -> (expected, tolerance)``: the scalar variable of that name must be within the
  tolerance of what is expected;
- where a run is large, ``costs(**knobs)``, a dict of what `wfr_pde.estimate` says of its parts, for ``--dry-run``.

`run_experiment` stores data, figures and provenance in ``results/<name>/<hash of knobs>``.

A long `run` hands its parts over to be stored one by one, by yielding functions without arguments::

    def run(barriers=(1.0, 2.0), n=256):
        each = []
        for barrier in barriers:
            each.append((yield partial(solved, barrier, n)))
        return xr.concat(each, xr.DataArray(list(barriers), dims="barrier", name="barrier"))

Each function returns a Dataset, which is stored before the next one begins; what `yield` gives back is what was
stored. When the run was stopped, it goes on after the last part that is stored.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import inspect
import json
import math
import numbers
import shlex
import sys
import threading
import time
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wfr_pde._version import __version__
from wfr_pde.app.experiments import figure_data as drawn
from wfr_pde.app.experiments import parts as segments
from wfr_pde.app.experiments.knobs import Knob, found_knobs
from wfr_pde.storage import files, locks, provenance

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from wfr_pde.integrate.estimate import Estimate

FOLDER = "experiments"
OUT = "results"
NOT_DATA = ("QUICK", "CHECKS")  # parts of a file that the data do not depend on
DRAWING = threading.Lock()  # matplotlib draws in one thread at a time; the workers of an executor may be threads


@dataclass(frozen=True)
class Check:
    """A claim of an experiment, and what came out."""

    name: str
    value: float
    expected: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether the value is within the tolerance; NaN never is."""
        return abs(self.value - self.expected) <= self.tolerance

    def content(self) -> dict[str, Any]:
        """The check in plain types, for JSON."""
        return {
            "value": self.value if math.isfinite(self.value) else str(self.value),
            "expected": self.expected,
            "tolerance": self.tolerance,
            "passed": self.passed,
        }


@dataclass(frozen=True, eq=False)
class Experiment:
    """A loaded experiment; see the module for what the file holds.

    Attributes
    ----------
    name : str
        Name of the file without `.py`.
    given : str
        How the user named it: the name, or a path.
    description : str
        First line of the docstring.
    source : str
        Hash of the code that the data depend on: without docstring, QUICK, CHECKS, what only `figure`, `costs` use.
    run, figure : callable
    quick : dict
    checks : dict
    knobs : dict of str to Knob
    path : Path
        The file.
    costs : callable or None
    """

    name: str
    given: str
    description: str
    source: str
    run: Callable[..., xr.Dataset | segments.Parts]
    figure: Callable[[xr.Dataset], Figure]
    quick: dict[str, Any]
    checks: dict[str, tuple[float, float]]
    knobs: dict[str, Knob]
    path: Path
    costs: Callable[..., dict[str, Estimate]] | None = None

    def parse(self, texts: Mapping[str, str]) -> dict[str, Any]:
        """Knobs from the command line: name (dashes or underscores) -> text.

        Raises
        ------
        ValueError
            If there is no such knob, or its value has the wrong type.
        """
        named = {name.replace("-", "_"): text for name, text in texts.items()}
        self.refuse_unknown(named)
        return {name: self.knobs[name].parse(text) for name, text in named.items()}

    def values(self, given: Mapping[str, Any], quick: bool = False) -> dict[str, Any]:
        """All knobs: those given, else those of QUICK if `quick`, else the defaults.

        Raises
        ------
        ValueError
            If there is no such knob, or its value has the wrong type.
        """
        changed = {**(self.quick if quick else {}), **given}
        self.refuse_unknown(changed)
        chosen = {name: knob.default for name, knob in self.knobs.items()} | changed
        return {name: self.knobs[name].check(value) for name, value in chosen.items()}

    def refuse_unknown(self, given: Mapping[str, Any]) -> None:
        """Raise a ValueError if a name is not that of a knob."""
        for name in given:
            if name not in self.knobs:
                has = ", ".join(f"{knob.option} {knob.text(knob.default)}" for knob in self.knobs.values())
                if name == "seed":
                    raise ValueError(
                        f"{self.name} takes no --seed: its run has no knob of that name; it has (with defaults): "
                        f"{has or 'none'}"
                    )
                raise ValueError(f"{self.name} has no knob {name!r}; it has (with defaults): {has or 'none'}")

    def command(self, values: Mapping[str, Any]) -> str:
        """The command line that runs it with these knobs."""
        changed = [knob for knob in self.knobs.values() if values[knob.name] != knob.default]
        words = [f"{knob.option}={knob.text(values[knob.name])}" for knob in changed]
        return shlex.join(["wfr-pde", "run", self.given, *words])

    def directory(self, values: Mapping[str, Any], out: str | Path = OUT) -> Path:
        """Where the results with these knobs are stored."""
        return Path(out) / self.name / hashlib.sha256(_canonical(values).encode()).hexdigest()[:12]

    def stored(self, values: Mapping[str, Any], out: str | Path = OUT) -> xr.Dataset | None:
        """The stored data of these knobs, if this code and this version of the package made them.

        Raises
        ------
        ValueError
            If the file cannot be read.
        """
        path = self.directory(values, out) / "data.nc"
        if not path.exists():
            return None
        try:
            ds = files.read_dataset(path)
        except (OSError, ValueError) as error:
            raise ValueError(f"{path} cannot be read ({error}): delete it or give --force") from None
        version = json.loads(ds.attrs.get("versions", "{}")).get("wfr_pde")
        found = (ds.attrs.get("source"), version, ds.attrs.get("knobs"))
        return ds if found == (self.source, __version__, _canonical(values)) else None

    def done(self, values: Mapping[str, Any], out: str | Path = OUT) -> dict[str, Any] | None:
        """What `run.json` says of these knobs, if this code and version are done with data, checks and figure."""
        directory = self.directory(values, out)
        try:
            content = json.loads((directory / "run.json").read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        claims = {name: (c["expected"], c["tolerance"]) for name, c in content.get("checks", {}).items()}
        found = (content.get("status"), content.get("source"), content.get("versions", {}).get("wfr_pde"), claims)
        is_done = found == ("done", self.source, __version__, self.checks) and (directory / "data.nc").exists()
        return content if is_done else None

    def begun(self, values: Mapping[str, Any], out: str | Path = OUT) -> segments.Segments:
        """The parts of these knobs that a stopped run has stored."""
        fingerprint = json.dumps([self.source, __version__, _canonical(values)])
        return segments.Segments(self.directory(values, out), fingerprint)


def _canonical(values: Mapping[str, Any]) -> str:
    return json.dumps(dict(values), sort_keys=True)


def find_experiments(folder: str | Path = FOLDER) -> dict[str, Path]:
    """The experiments in a folder, name -> file, sorted; files whose name starts with `_` are left out.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"there is no folder {str(folder)!r} here: go to the project's root, or give the path of a file"
        )
    return {path.stem: path for path in sorted(folder.glob("*.py")) if not path.stem.startswith("_")}


def docstring(path: str | Path) -> str:
    """The docstring of a file, which is not run."""
    try:
        found = ast.get_docstring(ast.parse(Path(path).read_text(encoding="utf-8")))
    except (SyntaxError, ValueError) as error:
        return f"(cannot be read: {error})"
    return found or "(no docstring)"


def description(path: str | Path) -> str:
    """First line of the docstring of a file, which is not run."""
    return docstring(path).splitlines()[0]


def load_experiment(name: str | Path, folder: str | Path = FOLDER) -> Experiment:
    """The experiment of that name in `folder`, or in the file of that path.

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
            raise ValueError(
                f"there is no experiment {given!r} in {str(folder)!r}; known: {', '.join(known) or 'none'}"
            )
        path = known[given]
    elif not path.is_file():
        raise FileNotFoundError(f"there is no file {given!r}")
    module, source = _executed(path)
    missing = [part for part in ("run", "figure", "QUICK", "CHECKS") if not hasattr(module, part)]
    if missing or not module.__doc__:
        lacks = ", ".join(missing) or "a docstring that says what it shows"
        raise ValueError(
            f"{path} is not an experiment: it lacks {lacks} "
            "(needed: a docstring, run(**knobs), figure(ds), QUICK, CHECKS)"
        )
    knobs = found_knobs(module.run, path)
    experiment = Experiment(
        path.stem, given, module.__doc__.strip().splitlines()[0], source, module.run, module.figure,
        module.QUICK, _checked_claims(module.CHECKS, path), knobs, path.resolve(),
        getattr(module, "costs", None),
    )  # fmt: skip
    if not isinstance(module.QUICK, dict):
        raise ValueError(f"QUICK of {path} must be a dict of knobs, got {module.QUICK!r}")
    experiment.values({}, quick=True)
    return experiment


def _executed(path: Path) -> tuple[types.ModuleType, str]:
    """The module of a file, and the hash of what its data depend on."""
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
    exec(compile(tree, str(path), "exec", dont_inherit=True), module.__dict__)
    return module, _source_hash(tree)


def _source_hash(tree: ast.Module) -> str:
    """Hash of the code that the data depend on, without docstring, QUICK, CHECKS, what only `figure`, `costs` use."""
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
    """The names that a definition or an assignment of plain names gives."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    found = [name for target in targets for name in (target.elts if isinstance(target, ast.Tuple) else [target])]
    names = [name.id for name in found if isinstance(name, ast.Name)]
    return names if len(names) == len(found) else []


def _names(node: ast.AST) -> set[str]:
    """All names in a piece of code."""
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}


def _reached(defined: Mapping[str, list[ast.stmt]], names: set[str]) -> set[str]:
    """The names that those need, and what these need, and so on."""
    found: set[str] = set()
    new = {name for name in names if name in defined}
    while new:
        found |= new
        new = {name for one in new for node in defined[one] for name in _names(node) if name in defined} - found
    return found


def _checked_claims(checks: Any, path: Path) -> dict[str, tuple[float, float]]:
    """CHECKS, if every entry is name -> (expected, tolerance)."""
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


@dataclass(frozen=True, eq=False)
class Result:
    """What a run of an experiment left.

    Attributes
    ----------
    experiment : Experiment
    knobs : dict
        All knobs.
    directory : Path
        Where `data.nc`, `figure.png`, `figure.pdf`, `figure.csv` and `run.json` are.
    data : xarray.Dataset
    checks : tuple of Check
    reused : bool
        Whether the data were there already.
    """

    experiment: Experiment
    knobs: dict[str, Any]
    directory: Path
    data: xr.Dataset
    checks: tuple[Check, ...]
    reused: bool

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return all(check.passed for check in self.checks)

    def content(self) -> dict[str, Any]:
        """What `run.json` holds: status, knobs, command, checks and provenance in plain types."""
        attrs = self.data.attrs
        return {
            "status": "done",
            "experiment": self.experiment.name,
            "description": self.experiment.description,
            "knobs": self.knobs,
            "command": attrs["command"],
            "passed": self.passed,
            "checks": {check.name: check.content() for check in self.checks},
            "versions": json.loads(attrs["versions"]),
            "commit": attrs["commit"],
            "wall_time": attrs["wall_time"],
            "source": attrs["source"],
        }


def run_experiment(
    experiment: Experiment | str | Path,
    knobs: Mapping[str, Any] | None = None,
    *,
    quick: bool = False,
    out: str | Path = OUT,
    force: bool = False,
    resume: bool = False,
    wait: bool = False,
) -> Result:
    """Run an experiment, or take its stored data; draw the figure, check the claims, store it all.

    Data that the same code and version has stored for the same knobs are taken as they are; without them, a run
    that was stopped goes on after the last part that it stored.

    Parameters
    ----------
    experiment : Experiment, or name or path for `load_experiment`
    knobs : mapping, optional
        Knobs that differ from the defaults.
    quick : bool
        Start from QUICK in place of the defaults.
    out : path
        Root of the results; they go to `<out>/<name>/<hash of knobs>`.
    force : bool
        Start anew, whatever is stored; stored data stay until the new ones are complete.
    resume : bool
        Go on with a run that was begun, in preference to stored data, and refuse to begin one.
    wait : bool
        Where another process is writing the same results, wait for it.

    Returns
    -------
    Result

    Raises
    ------
    ValueError, TypeError
        If a knob does not fit, the experiment does not keep to its form, or there is nothing to resume.
    BlockingIOError
        If another process is writing the same results, unless `wait`.
    """
    if not isinstance(experiment, Experiment):
        experiment = load_experiment(experiment)
    values = experiment.values(knobs or {}, quick)
    directory = experiment.directory(values, out)
    parts = experiment.begun(values, out)
    if resume:
        _check_resumable(experiment, parts, force)
    with locks.locked(directory, wait):
        if force:
            parts.drop()
        is_going_on = resume and parts.count() > 0
        stored = None if force or is_going_on else experiment.stored(values, out)
        if stored is None:
            _compute(experiment, values, parts)
        # figures and checks see what is on disk, so that they can be made again from it
        data = files.read_dataset(directory / "data.nc") if stored is None else stored
        return _reported(experiment, values, directory, data, reused=stored is not None)


def redraw(experiment: Experiment, directory: str | Path) -> Result:
    """Draw the figure of stored data again, and check the claims on them; nothing is computed.

    Raises
    ------
    FileNotFoundError
        If there are no data.
    ValueError, TypeError
        If the experiment cannot read them, as may be where its `run` has been changed since.
    """
    directory = Path(directory)
    if not (directory / "data.nc").exists():
        raise FileNotFoundError(f"{directory} holds no data.nc: the run was stopped before; run it again")
    with locks.locked(directory):
        data = files.read_dataset(directory / "data.nc")
        return _reported(experiment, json.loads(data.attrs["knobs"]), directory, data, reused=True)


def _check_resumable(experiment: Experiment, parts: segments.Segments, force: bool) -> None:
    if force:
        raise ValueError("resume (go on) and force (start anew) contradict each other: give one of them")
    if not (parts.directory / "run.json").exists():
        raise ValueError(
            f"there is no run of {experiment.name} with these knobs to resume (no {parts.directory / 'run.json'}): "
            "check the knobs, or start it without --resume"
        )
    if parts.files() and parts.count() == 0:
        raise ValueError(
            f"what is stored in {parts.directory} was made by other code of {experiment.name}, or by another version "
            "of the package, and cannot be gone on with: without --resume the run starts anew"
        )


def _reported(
    experiment: Experiment, values: dict[str, Any], directory: Path, data: xr.Dataset, reused: bool
) -> Result:
    """Check the claims and draw the figure of data that are on disk."""
    checks = tuple(_check(experiment, data, name) for name in experiment.checks)
    result = Result(experiment, values, directory, data, checks, reused)
    files.write_json({**result.content(), "status": "not drawn"}, directory / "run.json")
    with DRAWING:
        _draw(experiment, data, directory)
    files.write_json(result.content(), directory / "run.json")
    return result


def _compute(experiment: Experiment, values: dict[str, Any], parts: segments.Segments) -> None:
    """Compute the data and store them, saying in `run.json` how far that is."""
    content = {
        "experiment": experiment.name,
        "description": experiment.description,
        "knobs": values,
        "command": experiment.command(values),
        "versions": dict(provenance.versions()),
        "source": experiment.source,
    }
    path = parts.directory / "run.json"
    files.write_json({"status": "running", **content}, path)
    try:
        files.write_dataset(_computed(experiment, values, parts), parts.directory / "data.nc")
    except BaseException as error:
        if count := parts.count():
            error.add_note(f"{count} parts of {experiment.name} are stored; the same command goes on after them")
        status = "stopped" if isinstance(error, KeyboardInterrupt) else "failed"
        with contextlib.suppress(OSError):  # the disk may be full
            files.write_json({"status": status, "error": str(error), **content}, path)
        raise
    parts.drop()  # they are in data.nc


def _computed(experiment: Experiment, values: dict[str, Any], parts: segments.Segments) -> xr.Dataset:
    """The data, with provenance."""
    import xarray as xr

    began = time.perf_counter()
    earlier = 0.0
    ds = experiment.run(**values)
    if inspect.isgenerator(ds):
        earlier = parts.seconds()
        run = typing.cast(segments.Parts, ds)
        ds = parts.completed(run, lambda part: _check_storable(experiment, part))
    if not isinstance(ds, xr.Dataset):
        raise TypeError(f"run of {experiment.name} must return an xarray.Dataset, got {type(ds).__name__}")
    _check_storable(experiment, ds)
    return ds.assign_attrs(
        experiment=experiment.name,
        knobs=_canonical(values),
        command=experiment.command(values),
        source=experiment.source,
        versions=json.dumps(dict(provenance.versions())),
        commit=provenance.commit(),
        wall_time=round(earlier + time.perf_counter() - began, 6),
    )


def _check_storable(experiment: Experiment, ds: xr.Dataset) -> None:
    """Raise a TypeError for attributes that a file does not take."""
    for where, attrs in {
        "the Dataset": ds.attrs,
        **{str(name): v.attrs for name, v in ds.variables.items()},
    }.items():
        for name, value in attrs.items():
            if isinstance(value, bool) or not isinstance(value, str | numbers.Real):
                raise TypeError(
                    f"{experiment.name}: attribute {name!r} of {where} is {value!r}, but a file takes "
                    "text and numbers only: use json.dumps(...)"
                )


def _draw(experiment: Experiment, data: xr.Dataset, directory: Path) -> None:
    """Store the figure as png and pdf, and what was drawn as csv."""
    from matplotlib.figure import Figure

    figure = experiment.figure(data)
    if not isinstance(figure, Figure):
        raise TypeError(f"figure of {experiment.name} must return a matplotlib Figure, got {type(figure).__name__}")
    files.write_atomically(directory / "figure.png", lambda path: figure.savefig(path, dpi=200))
    # without a date the same data make the same bytes
    files.write_atomically(directory / "figure.pdf", lambda path: figure.savefig(path, metadata={"CreationDate": None}))
    files.write_atomically(directory / "figure.csv", lambda path: drawn.write_csv(figure, path))
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        pyplot.close(figure)  # one made by pyplot would stay in memory


def _check(experiment: Experiment, data: xr.Dataset, name: str) -> Check:
    if name not in data.data_vars or data[name].size != 1:
        scalars = ", ".join(str(key) for key, variable in data.data_vars.items() if variable.size == 1)
        raise ValueError(
            f"CHECKS of {experiment.name} names {name!r}, which is not a scalar variable of its Dataset; "
            f"those are: {scalars or 'none'}"
        )
    expected, tolerance = experiment.checks[name]
    return Check(name, float(data[name].item()), expected, tolerance)
