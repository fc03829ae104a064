"""An experiment: a file that computes a Dataset, draws a figure of it, and checks what it claims.

It is a Python file, usually in the folder `experiments`, with

- a docstring whose first line says what it shows;
- ``run(**knobs) -> xarray.Dataset``, every knob with a default: an int, float, str, bool or a tuple of those; an
  annotation such as ``Literal["a", "b"]``, or ``tuple[Literal["a", "b"], ...]``, names its choices;
- ``figure(ds) -> matplotlib.figure.Figure``, from the Dataset alone;
- ``QUICK``, a dict of knobs for a run of a few seconds;
- ``CHECKS``, a dict ``name -> (expected, tolerance)``: the scalar variable of that name must be within the
  tolerance of what is expected;
- where a run is large, ``costs(**knobs)``, a dict of what `wfr_pde.estimate` says of its parts, for ``--dry-run``.

`run_experiment` stores data, figures and provenance in ``results/<name>/<hash of knobs>``. A long `run` has its parts
stored one by one: see `wfr_pde.app.experiments.parts.stored`.
"""

from __future__ import annotations

import hashlib
import json
import math
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wfr_pde._version import __version__
from wfr_pde.app.experiments.knobs import Knob
from wfr_pde.app.experiments.parts import StoredParts
from wfr_pde.storage import files

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from wfr_pde.integrate.estimate import Estimate

OUT = "results"  # default folder of results


@dataclass(frozen=True)
class Check:
    """Claim of an experiment, and what came out."""

    name: str
    value: float
    expected: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether the value is within the tolerance; NaN never is."""
        return abs(self.value - self.expected) <= self.tolerance

    def content(self) -> dict[str, Any]:
        """Return the check in plain types, for JSON."""
        return {
            "value": self.value if math.isfinite(self.value) else str(self.value),
            "expected": self.expected,
            "tolerance": self.tolerance,
            "passed": self.passed,
        }


@dataclass(frozen=True, eq=False, kw_only=True)
class Experiment:
    """Experiment as it was loaded; the docstring of the module says what its file holds.

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
        Functions that compute the data and draw them.
    quick : dict
        QUICK: knobs of the quick run that differ from the defaults.
    checks : dict
        CHECKS: name of a scalar -> expected value and tolerance.
    knobs : dict of str to Knob
        Parameters of `run`, by name.
    path : Path
        The file.
    costs : callable or None
        Function that tells the cost of a run before it is made.
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
    path: Path
    costs: Callable[..., dict[str, Estimate]] | None = None

    def parse(self, texts: Mapping[str, str]) -> dict[str, Any]:
        """Read knobs from the command line: name (dashes or underscores) -> text.

        Raises
        ------
        ValueError
            If there is no such knob, or its value has the wrong type.
        """
        named = {name.replace("-", "_"): text for name, text in texts.items()}
        self.refuse_unknown(named)
        return {name: self.knobs[name].parse(text) for name, text in named.items()}

    def values(self, given: Mapping[str, Any], quick: bool = False) -> dict[str, Any]:
        """Return all knobs: those given, else those of QUICK if `quick`, else the defaults.

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

    def command(self, values: Mapping[str, Any], out: str | Path = OUT) -> str:
        """Return the command line that runs it with these knobs, and stores it in that folder."""
        changed = [knob for knob in self.knobs.values() if values[knob.name] != knob.default]
        words = [f"{knob.option}={knob.text(values[knob.name])}" for knob in changed]
        return shlex.join(["wfr-pde", "run", self.given, *words, *out_words(out)])

    def is_quick(self, values: Mapping[str, Any]) -> bool:
        """Tell whether the knobs are those of QUICK, or in their place: none that QUICK changes has its default."""
        changed = {name: value for name, value in self.values({}, quick=True).items() if name in self.quick}
        changed = {name: value for name, value in changed.items() if value != self.knobs[name].default}
        has_quick_ones = any(values[name] == value for name, value in changed.items())
        return has_quick_ones and all(values[name] != self.knobs[name].default for name in changed)

    def directory(self, values: Mapping[str, Any], out: str | Path = OUT) -> Path:
        """Return where the results with these knobs are stored."""
        return Path(out) / self.name / hashlib.sha256(canonical(values).encode()).hexdigest()[:12]

    def stored(self, values: Mapping[str, Any], out: str | Path = OUT) -> xr.Dataset | None:
        """Read the stored data of these knobs, if this code of the experiment and this version made them.

        Their attribute `source_hash` says which code of the package it was.

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
        return ds if found == (self.source, __version__, canonical(values)) else None

    def done(self, values: Mapping[str, Any], out: str | Path = OUT) -> dict[str, Any] | None:
        """Return what `run.json` says of these knobs, if this code and version are done with all of it."""
        directory = self.directory(values, out)
        try:
            content = json.loads((directory / "run.json").read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        claims = {name: (c["expected"], c["tolerance"]) for name, c in content.get("checks", {}).items()}
        found = (content.get("status"), content.get("source"), content.get("versions", {}).get("wfr_pde"), claims)
        is_done = found == ("done", self.source, __version__, self.checks) and (directory / "data.nc").exists()
        return content if is_done else None

    def begun(self, values: Mapping[str, Any], out: str | Path = OUT) -> StoredParts:
        """Return the parts of these knobs that a stopped run has stored."""
        fingerprint = json.dumps([self.source, __version__, canonical(values)])
        return StoredParts(self.directory(values, out), fingerprint)


def out_words(out: str | Path) -> list[str]:
    """Return the option `--out`, as it is given where the command is run; none for the default folder."""
    where = Path(out).resolve()
    if where == Path(OUT).resolve():
        return []
    here = Path.cwd()
    return [f"--out={where.relative_to(here).as_posix() if where.is_relative_to(here) else where}"]


def canonical(values: Mapping[str, Any]) -> str:
    """Write knobs as JSON: the same text for the same values."""
    return json.dumps(dict(values), sort_keys=True)
