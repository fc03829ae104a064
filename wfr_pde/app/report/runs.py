"""What runs have left on disk, read as far as it can be read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wfr_pde.app.experiments.experiment import Check
from wfr_pde.app.experiments.loading import docstring
from wfr_pde.app.report.film import Film, films
from wfr_pde.app.report.survey import MARKS, visible
from wfr_pde.storage import files, run_directory
from wfr_pde.storage.source_hash import NAME, SHORT, by_other_code, other_hashes

if TYPE_CHECKING:
    import xarray as xr

PASSED, DONE, FAILED, UNFINISHED, UNREADABLE = "passed", "done", "failed", "unfinished", "unreadable"  # status of a run
PICTURES = (".png", ".svg", ".jpg", ".jpeg", ".gif", ".webp")  # endings of pictures that browsers show


@dataclass(frozen=True)
class Scalar:
    """Number that an experiment gave."""

    name: str
    words: str
    value: float
    units: str


@dataclass(frozen=True, eq=False, kw_only=True)
class Run:
    """Run as it is on disk.

    Attributes
    ----------
    directory : Path
        Where it is.
    experiment : str
        Its name.
    claim : str
        First line of the experiment's docstring when it ran.
    status : str
        "passed", "done" (nothing was to be checked), "failed", "unfinished" or "unreadable".
    notes : tuple of str
        What is not there, or cannot be read.
    knobs : dict
        All knobs, by name.
    is_quick : bool
        Whether the knobs are those of a quick version.
    checks : tuple of Check
        Claims that were checked, and what came out.
    scalars : tuple of Scalar
        Numbers among its data.
    command : str
        That redoes it; empty if it is not known.
    provenance : dict of str to str
        Commit, versions, machine, time and seed, in words.
    by_other_code : str
        What is to be said of data that other code of the package computed; empty if it was the present code.
    films : tuple of Film
        Its densities over time.
    files : tuple of Path
        All of its files, pictures first.
    """

    directory: Path
    experiment: str
    claim: str
    caption: str
    status: str
    notes: tuple[str, ...]
    knobs: dict[str, Any]
    is_quick: bool
    checks: tuple[Check, ...]
    scalars: tuple[Scalar, ...]
    command: str
    provenance: dict[str, str]
    by_other_code: str
    films: tuple[Film, ...]
    files: tuple[Path, ...]

    @property
    def pictures(self) -> tuple[Path, ...]:
        """Files that a page can show; one of each name, as a figure is stored in several formats."""
        found = {path.stem: path for path in reversed(self.files) if path.suffix.lower() in PICTURES}
        return tuple(sorted(found.values()))


def read_run(directory: Path, root: Path | None = None) -> Run:
    """Read what can be read of a run in a folder of results; `notes` say what cannot.

    Links that lead out of `root`, which is the run's directory by default, are not followed.
    """
    try:
        return _read(directory, directory if root is None else root)
    except Exception as error:  # whatever is wrong with one run, the page has the others
        note = f"It cannot be read: {type(error).__name__}: {error}."
        return Run(
            directory=directory,
            experiment=_parent_name(directory),
            claim="",
            caption="",
            status=UNREADABLE,
            notes=(note,),
            knobs={},
            is_quick=False,
            checks=(),
            scalars=(),
            command="",
            provenance={},
            by_other_code="",
            films=(),
            files=(),
        )


def _read(directory: Path, root: Path) -> Run:
    notes: list[str] = []
    entries, left_out = visible(directory, root)
    notes += [f"{each.path.name} is left out: {each.reason}." for each in left_out]
    files = [path for path in entries if path.is_file()]
    content = _content(directory, files, notes)
    data = _data(directory, files, notes)
    attrs: Mapping[str, Any] = {} if data is None else data.attrs
    said = {**_plain(attrs), **content}
    checks = _checks(said, notes)
    if not any(path.suffix.lower() in PICTURES for path in files):
        notes.append("There is no figure.")
    return Run(
        directory=directory,
        experiment=str(said.get("experiment") or _parent_name(directory)),
        claim=str(said.get("description", "")),
        caption=str(said.get("caption", "")),
        status=_status(content, files, data, checks, notes),
        notes=tuple(notes),
        knobs=_mapping(said.get("knobs")),
        is_quick=said.get("quick") is True,
        checks=checks,
        scalars=() if data is None else _scalars(data),
        command=str(said.get("command", "")),
        provenance=_provenance(said),
        by_other_code=by_other_code(others) if said and (others := other_hashes(said)) else "",
        films=() if data is None else _films(data, notes),
        files=tuple(sorted(files, key=lambda path: (path.suffix.lower() not in PICTURES, path.name))),
    )


def _parent_name(directory: Path) -> str:
    """Return the name of the experiment that a run is of, by where it is: <root>/<name>/<hash>."""
    return directory.parent.name or directory.name


def _content(directory: Path, found: Sequence[Path], notes: list[str]) -> dict[str, Any]:
    """Read run.json; a note says so where it is missing or cannot be read."""
    path = directory / "run.json"
    if path not in found:
        notes.append("There is no run.json: status, checks and provenance are not known.")
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        notes.append(f"run.json cannot be read: {error}.")
        return {}
    if not isinstance(content, dict):
        notes.append("run.json cannot be read: it holds no mapping.")
        return {}
    return content


def _data(directory: Path, found: Sequence[Path], notes: list[str]) -> xr.Dataset | None:
    """Open the data, in one file or in segments."""
    try:
        if directory / "data.nc" in found:
            return files.read_dataset(directory / "data.nc")
        if directory / "checkpoint.nc" in found:
            return run_directory.open_run(directory)
        notes.append("The data are not stored here; the command makes them again.")
    except (OSError, ValueError, KeyError, RuntimeError, MemoryError) as error:
        notes.append(f"The data cannot be read: {error}.")
    return None


def _plain(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes of a Dataset, with what they hold as JSON taken apart."""
    return {**attrs, **{name: _mapping(attrs.get(name)) for name in ("knobs", "versions") if name in attrs}}


def _mapping(said: Any) -> dict[str, Any]:
    """Return a mapping, given as one or as JSON; empty if it is neither."""
    if isinstance(said, str):
        try:
            said = json.loads(said)
        except ValueError:
            return {}
    return dict(said) if isinstance(said, Mapping) else {}


def _checks(said: Mapping[str, Any], notes: list[str]) -> tuple[Check, ...]:
    checks = []
    for name, check in _mapping(said.get("checks")).items():
        try:
            checks.append(Check(name, *(float(check[key]) for key in ("value", "expected", "tolerance"))))
        except (KeyError, TypeError, ValueError):
            notes.append(f"The check {name} cannot be read.")
    return tuple(checks)


def _status(
    content: Mapping[str, Any], found: Sequence[Path], data: xr.Dataset | None, checks: tuple[Check, ...],
    notes: list[str],
) -> str:  # fmt: skip
    """Return the status of a run, from its run.json, data and checks; a note says how far an unfinished one came."""
    if not content:
        return UNREADABLE
    status = str(content.get("status", "unknown"))
    if status != "done":
        why = f", because of: {content['error']}" if content.get("error") else ""
        notes.append(f"The run is not finished: its status is “{status}”{why}. Its command does what is missing.")
        return UNFINISHED
    if data is None and any(path.name in MARKS[1:] for path in found):
        return UNREADABLE
    if any(not check.passed for check in checks) or content.get("passed") is False:
        return FAILED
    return PASSED if checks else DONE


def _scalars(data: xr.Dataset) -> tuple[Scalar, ...]:
    """Return the variables of the data that hold a single number."""
    return tuple(
        Scalar(str(name), str(v.attrs.get("long_name", "")), float(v.item()), str(v.attrs.get("units", "1")))
        for name, v in data.data_vars.items()
        if v.size == 1 and v.dtype.kind in "fiub"
    )


def _films(data: xr.Dataset, notes: list[str]) -> tuple[Film, ...]:
    try:
        return films(data)
    except (ValueError, KeyError, IndexError) as error:
        notes.append(f"The densities cannot be drawn: {error}.")
        return ()


def _provenance(said: Mapping[str, Any]) -> dict[str, str]:
    """Say where the numbers come from: commit, versions, machine, time, seed."""
    rows: dict[str, str] = {}
    commit = str(said.get("commit") or "")
    rows["commit"] = commit[:12] or "not known"
    if commit.endswith("-dirty"):
        rows["commit"] += ", with changes that were not committed"
    rows["source hash"] = str(said.get(NAME) or "not known")[:SHORT]
    if other_hashes(said):
        rows["source hash"] += ", not that of the present code"
    versions = _mapping(said.get("versions"))
    rows["versions"] = ", ".join(f"{name} {version}" for name, version in versions.items()) or "not known"
    seconds = said.get("wall_time")
    rows["wall time"] = duration(float(seconds)) if isinstance(seconds, int | float) else "not known"
    seed = said.get("seed", _mapping(said.get("knobs")).get("seed"))
    rows["seed"] = "none stored" if seed in (None, "") else str(seed)
    for name in ("backend", "device", "dt", "n_steps"):
        if name in said:
            rows[name.replace("n_steps", "steps")] = str(said[name])
    return rows


def duration(seconds: float) -> str:
    """Write a time as one reads it: 8.4 s, 3 min 20 s, 2 h 5 min."""
    if not math.isfinite(seconds):
        return "not known"
    if seconds < 60:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def described(name: str, runs: Sequence[Run], folder: str | Path) -> tuple[str, str]:
    """Return the claim of an experiment, and what its file says below it.

    The claim is that of the newest run. The file's text goes with it if it still begins with the same line; it also
    serves where no run has stored a claim.
    """
    claim = next((run.claim for run in runs if run.claim), "")
    path = Path(folder) / f"{name}.py"
    if not path.is_file():
        return claim, ""
    first, _, rest = docstring(path).partition("\n")
    return claim or first, rest.strip("\n") if claim in ("", first) else ""
