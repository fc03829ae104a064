"""A stored result made again, and each of its numbers compared with what is stored, to a stated tolerance.

Compared are the scalar variables of the result, which `run.json` holds (`checks`, `numbers`), and all that the figure
shows, which `figure.csv` holds. Two numbers agree where they differ by at most

    relative * |stored| + absolute

with `relative` 1e-6; `absolute` is 1e-10, for the figure 1e-10 times the largest number of the line (points, area, ...)
in question, and for a scalar with a claim a thousandth of the claim's tolerance, if that is more. An experiment states
what else applies in ``TOLERANCES``, a dict of patterns of names (those of `Comparison`) -> (relative, absolute), or
-> None for what depends on the machine, such as times, and is not compared.

Samplers with seeds give the same numbers with the same versions of the libraries only; another version may draw, add
or compile otherwise, and a particle that is accepted in one and not in the other changes all that comes after it.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

from wfr_pde.app.experiments.experiment import Experiment, Tolerance
from wfr_pde.app.experiments.figure_data import TEXTS
from wfr_pde.app.experiments.runner import Result, run_experiment
from wfr_pde.numerics.counted import counted
from wfr_pde.storage import provenance

RELATIVE, ABSOLUTE = 1e-6, 1e-10
OF_CLAIM = 1e-3  # of the tolerance of a claim
COORDINATES = ("x", "y", "value")  # columns of the figure's table
Artist = tuple[int, str, int]  # panel, kind, number within the panel


@dataclass(frozen=True)
class Comparison:
    """A number that is stored and the same made again; of a panel of a figure, the two that agree worst.

    Attributes
    ----------
    name : str
        A scalar variable, or panel, kind and column of the figure's table: "panel 1 line y"; for an artist with a
        tolerance of its own "panel 1 line 3 y".
    stored, again : float
        NaN where there is none.
    tolerance : float or None
        How far they may be apart; None where they are not compared.
    count : int
        How many pairs of numbers this is the worst of.
    fault : str
        Why they cannot be compared; empty where they can.
    """

    name: str
    stored: float
    again: float
    tolerance: float | None
    count: int = 1
    fault: str = ""

    @property
    def difference(self) -> float:
        """How far they are apart: 0 for two that are equal, infinities and NaN included."""
        return _differences(np.array([self.stored]), np.array([self.again])).item()

    @property
    def agrees(self) -> bool:
        """Whether they agree, or are not to be compared."""
        return not self.fault and (self.tolerance is None or self.difference <= self.tolerance)

    def content(self) -> dict[str, Any]:
        """Return the comparison in plain types, for JSON."""
        names = ("name", "stored", "again", "difference", "tolerance", "count", "fault", "agrees")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, eq=False)
class Reproduction:
    """A stored result and what came of making it again.

    Attributes
    ----------
    stored : dict
        What `run.json` of the stored result says.
    result : Result
        The new one.
    comparisons : tuple of Comparison
    other_versions : dict of str to (str, str)
        Libraries whose version is another than that of the stored result: name -> (stored, here).
    """

    stored: dict[str, Any]
    result: Result
    comparisons: tuple[Comparison, ...]
    other_versions: dict[str, tuple[str, str]]

    @property
    def agrees(self) -> bool:
        """Whether all numbers agree."""
        return all(comparison.agrees for comparison in self.comparisons)

    @property
    def unused_tolerances(self) -> list[str]:
        """Patterns in TOLERANCES that fit no name."""
        names = [comparison.name for comparison in self.comparisons]
        return [
            pattern
            for pattern in self.result.experiment.tolerances
            if not any(fnmatchcase(name, pattern) for name in names)
        ]


def read_result(directory: str | Path) -> dict[str, Any]:
    """Read what `run.json` of a stored result says.

    Raises
    ------
    ValueError
        If there is none, or the run was not completed.
    """
    path = Path(directory) / "run.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} cannot be read ({error}): give the folder of a result, or its experiment") from None
    if content.get("status") != "done":
        raise ValueError(f"{path} is of a run that is {content.get('status')!r}, not done: there is nothing to compare")
    return content


def reproduce(experiment: Experiment, directory: str | Path, out: str | Path) -> Reproduction:
    """Run an experiment with the knobs of a stored result, and compare the numbers of the two.

    Parameters
    ----------
    experiment : Experiment
    directory : path
        Of the stored result: `run.json` and `figure.csv` are read.
    out : path
        Root of the new results. What is done there by the same code is taken as it is.

    Raises
    ------
    ValueError
        If the stored result cannot be read, has other knobs than the experiment, or would be written over.
    """
    directory = Path(directory).resolve()
    stored = read_result(directory)
    values = experiment.values(stored["knobs"])
    if experiment.directory(values, out).resolve() == directory:
        raise ValueError(f"{out} is where the stored result is, which would be written over: give another folder")
    before = _curves(directory / "figure.csv")
    result = run_experiment(experiment, values, out=out)
    comparisons = (
        *_scalars(stored, result.content(), experiment.tolerances),
        *_panels(before, _curves(result.directory / "figure.csv"), experiment.tolerances),
    )
    return Reproduction(stored, result, comparisons, _other_versions(stored, directory))


def _other_versions(stored: Mapping[str, Any], directory: Path) -> dict[str, tuple[str, str]]:
    """List the versions that are not those of a stored result: of its run.json, and of the constraints beside it."""
    found = {**provenance.constraints_in(directory.parents[1] / provenance.CONSTRAINTS), **stored["versions"]}
    here = {**provenance.packages(), **provenance.versions()}
    return {
        name: (version, here.get(name, "none")) for name, version in found.items() if here.get(name, "none") != version
    }


def _scalars(stored: Mapping[str, Any], again: Mapping[str, Any], stated: Mapping[str, Tolerance]) -> list[Comparison]:
    """Compare the scalar variables."""
    before, after = _numbers(stored), _numbers(again)
    comparisons = []
    for name in before:
        claim = stored["checks"].get(name, {}).get("tolerance", 0.0)
        pair = _stated(name, stated, (RELATIVE, max(ABSOLUTE, OF_CLAIM * claim)))
        tolerance = None if pair is None else float(_allowed(before[name], *pair))
        fault = "" if name in after else "the experiment has no such variable any more"
        comparisons.append(Comparison(name, before[name], after.get(name, math.nan), tolerance, fault=fault))
    return comparisons


def _numbers(content: Mapping[str, Any]) -> dict[str, float]:
    """Return the scalar variables that run.json holds; of a result of older code only those with a claim."""
    checks = {name: check["value"] for name, check in content["checks"].items()}
    return {name: float(value) for name, value in {**checks, **content.get("numbers", {})}.items()}


def _panels(
    before: Mapping[Artist, np.ndarray], after: Mapping[Artist, np.ndarray], stated: Mapping[str, Tolerance]
) -> list[Comparison]:
    """Compare the figures: of each panel, kind and column the two numbers that agree worst."""
    worst: dict[str, Comparison] = {}
    for artist in sorted({*before, *after}):
        for comparison in _columns(artist, before.get(artist), after.get(artist), stated):
            so_far = worst.get(comparison.name)
            count = comparison.count + (so_far.count if so_far else 0)
            chosen = comparison if so_far is None or _badness(comparison) > _badness(so_far) else so_far
            worst[comparison.name] = Comparison(**{**vars(chosen), "count": count})
    return list(worst.values())


def _columns(
    artist: Artist, before: np.ndarray | None, after: np.ndarray | None, stated: Mapping[str, Tolerance]
) -> Iterator[Comparison]:
    """Compare the columns of an artist."""
    panel, kind, number = artist
    rows = [0 if table is None else len(table) for table in (before, after)]
    if before is None or after is None or rows[0] != rows[1]:
        fault = f"{kind} {number} has {counted(rows[0], 'point')} in the stored figure, {rows[1]} in the new one"
        yield Comparison(f"panel {panel} {kind} points", float(rows[0]), float(rows[1]), None, fault=fault)
        return
    for k, column in enumerate(COORDINATES):
        a, b = before[:, k], after[:, k]
        if np.isnan(a).all() and np.isnan(b).all():
            continue
        own, name = f"panel {panel} {kind} {number} {column}", f"panel {panel} {kind} {column}"
        if any(fnmatchcase(own, pattern) for pattern in stated):
            name = own
        largest = np.max(np.abs(a), where=np.isfinite(a), initial=0.0)
        pair = _stated(name, stated, (RELATIVE, ABSOLUTE * largest))
        if pair is None:
            yield Comparison(name, a[0], b[0], None, len(a))
            continue
        allowed = _allowed(a, *pair)
        i = int(np.argmax(_excess(_differences(a, b), allowed)))
        yield Comparison(name, a[i].item(), b[i].item(), allowed[i].item(), len(a))


def _stated(name: str, stated: Mapping[str, Tolerance], default: tuple[float, float]) -> Tolerance:
    """Return the tolerance of a number: that of the first pattern that fits its name, else the default."""
    return next((stated[pattern] for pattern in stated if fnmatchcase(name, pattern)), default)


def _allowed(stored: Any, relative: float, absolute: float) -> Any:
    """Return the tolerance of numbers; of those that are not finite the absolute one."""
    return np.where(np.isfinite(stored), relative * np.abs(stored), 0.0) + absolute


def _differences(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return distances of numbers: 0 where both are the same or NaN, infinite where only one is finite."""
    equal = (a == b) | (np.isnan(a) & np.isnan(b))
    finite = np.isfinite(a) & np.isfinite(b)
    return np.where(equal, 0.0, np.where(finite, np.abs(np.where(finite, a, 0) - np.where(finite, b, 0)), np.inf))


def _excess(differences: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """Differences over what is allowed; where nothing is, 0 or infinite."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(differences == 0, 0.0, differences / allowed)


def _badness(comparison: Comparison) -> float:
    """Measure how badly two numbers agree, to choose the worst."""
    if comparison.fault:
        return math.inf
    if comparison.tolerance is None:
        return -1.0
    return _excess(np.array(comparison.difference), np.array(comparison.tolerance)).item()


def _curves(path: Path) -> dict[Artist, np.ndarray]:
    """Return the numbers that a figure shows, by artist; shape (points, 3)."""
    curves: dict[Artist, list[list[float]]] = {}
    try:
        with open(path, newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                if row["kind"] not in TEXTS:
                    artist = int(row["panel"]), row["kind"], int(row["artist"])
                    numbers = [float(row[column]) if row[column] else math.nan for column in COORDINATES]
                    curves.setdefault(artist, []).append(numbers)
    except (OSError, KeyError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as the table of a figure ({error}): run the experiment anew") from None
    return {artist: np.array(rows) for artist, rows in curves.items()}
