"""Experiments: files that compute a Dataset, draw a figure of it, and check what it claims.

An experiment is a Python file, usually in the folder `experiments`, with

- a docstring whose first line says what it shows;
- ``run(**knobs) -> xarray.Dataset``, every knob with a default: an int, float, str, bool or a tuple of those;
- ``figure(ds) -> matplotlib.figure.Figure``, from the Dataset alone;
- ``QUICK``, a dict of knobs for a run of a few seconds;
- ``CHECKS``, a dict ``name -> (expected, tolerance)``: the scalar variable of that name must be within the
  tolerance of what is expected.

`run_experiment` stores data, figures and provenance in ``results/<name>/<hash of knobs>``.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
import math
import numbers
import shlex
import sys
import time
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wfr_pde import storage
from wfr_pde._version import __version__

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

FOLDER = "experiments"
OUT = "results"
OPTIONS = (
    "dry_run",
    "force",
    "help",
    "json",
    "out",
    "quick",
    "traceback",
)  # of the command line: no knob has these names
NOT_DATA = ("figure", "QUICK", "CHECKS")  # parts of a file that the data do not depend on
WORDS = {
    "true": True, "yes": True, "on": True, "1": True,
    "false": False, "no": False, "off": False, "0": False,
}  # fmt: skip
KINDS: dict[type, str] = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


@dataclass(frozen=True)
class Knob:
    """A parameter of an experiment.

    Attributes
    ----------
    name : str
        Name of the parameter of `run`.
    default : int, float, str, bool or tuple
        Its default.
    kind : type
        bool, int, float or str; for a tuple that of its entries.
    is_tuple : bool
        Whether the value is a tuple, written as `0.1,0.2`.
    """

    name: str
    default: Any
    kind: type
    is_tuple: bool = False

    @property
    def option(self) -> str:
        """The knob as an option of the command line: `--t-end`."""
        return "--" + self.name.replace("_", "-")

    @property
    def words(self) -> str:
        """What the value has to be."""
        one = KINDS[self.kind]
        return f"several, separated by commas, each {one}" if self.is_tuple else one

    def text(self, value: Any) -> str:
        """A value as it is written on the command line."""
        return ",".join(map(_scalar_text, value)) if self.is_tuple else _scalar_text(value)

    def parse(self, text: str) -> Any:
        """The value that `text` stands for.

        Raises
        ------
        ValueError
            If it has the wrong type.
        """
        try:
            if self.is_tuple:
                return tuple(_parse_scalar(self.kind, part.strip()) for part in text.split(",") if part.strip())
            return _parse_scalar(self.kind, text.strip())
        except ValueError:
            raise ValueError(
                f"{self.option} must be {self.words} (default: {self.text(self.default)}), got {text!r}"
            ) from None

    def check(self, value: Any) -> Any:
        """A value given in Python, in the type of the knob.

        Raises
        ------
        ValueError
            If it has the wrong type.
        """
        try:
            if self.is_tuple:
                if isinstance(value, str) or not isinstance(value, Sequence):
                    raise ValueError
                return tuple(_check_scalar(self.kind, entry) for entry in value)
            return _check_scalar(self.kind, value)
        except ValueError:
            raise ValueError(
                f"the knob {self.name} must be {self.words} (default: {self.default!r}), got {value!r}"
            ) from None


def _scalar_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _parse_scalar(kind: type, text: str) -> Any:
    if kind is bool:
        if text.lower() not in WORDS:
            raise ValueError
        return WORDS[text.lower()]
    if kind is int and not text.lstrip("+-").isdigit():
        return _check_scalar(int, float(text))  # 1e5 is a whole number too
    return kind(text)


def _check_scalar(kind: type, value: Any) -> Any:
    if isinstance(value, bool) or kind is bool:
        fits = isinstance(value, bool) and kind is bool
    elif kind is int:
        fits = isinstance(value, numbers.Real) and math.isfinite(value) and value == round(float(value))
    elif kind is float:
        fits = isinstance(value, numbers.Real)
    else:
        fits = isinstance(value, str)
    if not fits:
        raise ValueError
    return kind(value)


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
        Hash of the code that the data depend on: the file without docstring, `figure`, QUICK and CHECKS.
    run, figure : callable
    quick : dict
    checks : dict
    knobs : dict of str to Knob
    """

    name: str
    given: str
    description: str
    source: str
    run: Callable[..., xr.Dataset]
    figure: Callable[[xr.Dataset], Figure]
    quick: dict[str, Any]
    checks: dict[str, tuple[float, float]]
    knobs: dict[str, Knob]

    def parse(self, texts: Mapping[str, str]) -> dict[str, Any]:
        """Knobs from the command line: name (dashes or underscores) -> text.

        Raises
        ------
        ValueError
            If there is no such knob, or its value has the wrong type.
        """
        named = {name.replace("-", "_"): text for name, text in texts.items()}
        self._refuse_unknown(named)
        return {name: self.knobs[name].parse(text) for name, text in named.items()}

    def values(self, given: Mapping[str, Any], quick: bool = False) -> dict[str, Any]:
        """All knobs: those given, else those of QUICK if `quick`, else the defaults.

        Raises
        ------
        ValueError
            If there is no such knob, or its value has the wrong type.
        """
        changed = {**(self.quick if quick else {}), **given}
        self._refuse_unknown(changed)
        chosen = {name: knob.default for name, knob in self.knobs.items()} | changed
        return {name: self.knobs[name].check(value) for name, value in chosen.items()}

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
            ds = storage.read_dataset(path)
        except (OSError, ValueError) as error:
            raise ValueError(f"{path} cannot be read ({error}): delete it or give --force") from None
        version = json.loads(ds.attrs.get("versions", "{}")).get("wfr_pde")
        found = (ds.attrs.get("source"), version, ds.attrs.get("knobs"))
        return ds if found == (self.source, __version__, _canonical(values)) else None

    def _refuse_unknown(self, given: Mapping[str, Any]) -> None:
        for name in given:
            if name not in self.knobs:
                has = ", ".join(f"{knob.option} {knob.text(knob.default)}" for knob in self.knobs.values())
                raise ValueError(f"{self.name} has no knob {name!r}; it has (with defaults): {has or 'none'}")


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
    knobs = _knobs(module.run, path)
    experiment = Experiment(
        path.stem, given, module.__doc__.strip().splitlines()[0], source, module.run, module.figure,
        module.QUICK, _checked_claims(module.CHECKS, path), knobs,
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
    """Hash of the code without the docstring and what the data do not depend on."""
    body = tree.body[1:] if ast.get_docstring(tree) is not None else tree.body
    return hashlib.sha256("\n".join(ast.unparse(node) for node in body if not _not_data(node)).encode()).hexdigest()


def _not_data(node: ast.stmt) -> bool:
    if isinstance(node, ast.FunctionDef):
        return node.name in NOT_DATA
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return any(isinstance(target, ast.Name) and target.id in NOT_DATA for target in targets)


def _knobs(run: Callable[..., Any], path: Path) -> dict[str, Knob]:
    """The knobs: the parameters of `run`, typed by their defaults."""
    knobs = {}
    for name, parameter in inspect.signature(run).parameters.items():
        default = parameter.default
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD) or default is parameter.empty:
            raise ValueError(f"run of {path} needs named parameters with defaults, but has {parameter}")
        if name in OPTIONS:
            raise ValueError(f"run of {path} has a knob {name!r}, which is an option of the command line: rename it")
        is_tuple = isinstance(default, tuple)
        kinds = {type(entry) for entry in (default if is_tuple else (default,))}
        if kinds == {int, float} or (kinds == {int} and parameter.annotation in (float, "float")):
            kinds = {float}
        kind = kinds.pop() if len(kinds) == 1 else None
        if kind not in KINDS:
            raise ValueError(
                f"the knob {name}={default!r} of {path} needs a default that is an int, float, str or bool, "
                "or a tuple of those"
            )
        knob = Knob(name, default, kind, is_tuple)
        knobs[name] = Knob(name, knob.check(default), kind, is_tuple)
    return knobs


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
        Where `data.nc`, `figure.png`, `figure.pdf` and `run.json` are.
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
) -> Result:
    """Run an experiment, or take its stored data; draw the figure, check the claims, store it all.

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
        Compute the data even if the same code and version has stored them for the same knobs.

    Returns
    -------
    Result

    Raises
    ------
    ValueError, TypeError
        If a knob does not fit, or the experiment does not keep to its form.
    """
    if not isinstance(experiment, Experiment):
        experiment = load_experiment(experiment)
    values = experiment.values(knobs or {}, quick)
    directory = experiment.directory(values, out)
    stored = None if force else experiment.stored(values, out)
    if stored is None:
        storage.write_dataset(_computed(experiment, values), directory / "data.nc")
    # figures and checks see what is on disk, so that they can be made again from it
    data = storage.read_dataset(directory / "data.nc") if stored is None else stored
    checks = tuple(_check(experiment, data, name) for name in experiment.checks)
    result = Result(experiment, values, directory, data, checks, reused=stored is not None)
    storage.write_json({**result.content(), "status": "not drawn"}, directory / "run.json")
    _draw(experiment, data, directory)
    storage.write_json(result.content(), directory / "run.json")
    return result


def _computed(experiment: Experiment, values: dict[str, Any]) -> xr.Dataset:
    """The data, with provenance."""
    import xarray as xr

    began = time.perf_counter()
    ds = experiment.run(**values)
    if not isinstance(ds, xr.Dataset):
        raise TypeError(f"run of {experiment.name} must return an xarray.Dataset, got {type(ds).__name__}")
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
    return ds.assign_attrs(
        experiment=experiment.name,
        knobs=_canonical(values),
        command=experiment.command(values),
        source=experiment.source,
        versions=json.dumps(dict(storage.versions())),
        commit=storage.commit(),
        wall_time=round(time.perf_counter() - began, 6),
    )


def _draw(experiment: Experiment, data: xr.Dataset, directory: Path) -> None:
    """Store the figure as png and pdf."""
    from matplotlib.figure import Figure

    figure = experiment.figure(data)
    if not isinstance(figure, Figure):
        raise TypeError(f"figure of {experiment.name} must return a matplotlib Figure, got {type(figure).__name__}")
    storage.write_atomically(directory / "figure.png", lambda path: figure.savefig(path, dpi=200))
    # without a date the same data make the same bytes
    storage.write_atomically(
        directory / "figure.pdf", lambda path: figure.savefig(path, metadata={"CreationDate": None})
    )
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
