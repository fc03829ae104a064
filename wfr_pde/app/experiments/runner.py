"""Runs of experiments: data are computed or taken, the figure drawn, claims checked, and all of it stored."""

from __future__ import annotations

import contextlib
import json
import math
import numbers
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wfr_pde.app.experiments.drawing import store_figure
from wfr_pde.app.experiments.experiment import OUT, Check, Experiment, canonical
from wfr_pde.app.experiments.loading import load_experiment
from wfr_pde.app.experiments.parts import RunWithParts, StoredParts
from wfr_pde.numerics.counted import counted
from wfr_pde.storage import files, locks, provenance
from wfr_pde.storage import source_hash as code

if TYPE_CHECKING:
    import xarray as xr

DRAWING = threading.Lock()  # matplotlib draws in one thread at a time; the workers of an executor may be threads


@dataclass(frozen=True, eq=False)
class Result:
    """Result of a run of an experiment.

    Attributes
    ----------
    experiment : Experiment
        The experiment that was run.
    knobs : dict
        All knobs.
    directory : Path
        Where `data.nc`, `figure.png`, `figure.pdf`, `figure.csv` and `run.json` are.
    data : xarray.Dataset
        What its `run` returned, as it is stored.
    checks : tuple of Check
        Its claims, and what came out.
    reused : bool
        Whether the data were there already.
    caption : str
        Of the figure; empty where none was drawn.
    """

    experiment: Experiment
    knobs: dict[str, Any]
    directory: Path
    data: xr.Dataset
    checks: tuple[Check, ...]
    reused: bool
    caption: str = ""

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return all(check.passed for check in self.checks)

    @property
    def other_hashes(self) -> tuple[str, ...]:
        """Source hashes of the code that computed the data, where it is not the present code of the package."""
        return code.other_hashes(self.data.attrs)

    def content(self) -> dict[str, Any]:
        """Return what `run.json` holds: status, knobs, command, checks, scalars and provenance in plain types."""
        attrs = self.data.attrs
        return {
            "status": "done",
            "experiment": self.experiment.name,
            "description": self.experiment.description,
            "knobs": self.knobs,
            "quick": self.experiment.is_quick(self.knobs),
            "command": attrs["command"],
            "passed": self.passed,
            "checks": {check.name: check.content() for check in self.checks},
            "numbers": _scalars(self.data),
            "versions": json.loads(attrs["versions"]),
            "commit": attrs["commit"],
            **provenance.schema_and_code(attrs),
            "wall_time": attrs["wall_time"],
            "source": attrs["source"],
            **({"caption": self.caption} if self.caption else {}),
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
    accept_other_code: bool = False,
    figures: bool = True,
) -> Result:
    """Run an experiment, or take its stored data; draw the figure, check the claims, store it all.

    Data that the same code of the experiment and the same version of the package have stored for the same knobs are
    taken as they are (`Result.other_hashes` says whether the package has been changed since); without them, a run that
    was stopped goes on after the last part that it stored.

    Parameters
    ----------
    experiment : Experiment, or name or path for `load_experiment`
        What is run.
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
    accept_other_code : bool
        Go on with parts that other code of the package has stored; the attribute `other_source_hashes` says so then.
    figures : bool
        Draw the figure; `redraw` can do so later.

    Returns
    -------
    Result

    Raises
    ------
    ValueError, TypeError
        If a knob does not fit, the experiment does not keep to its form, there is nothing to resume, or other code of
        the package has stored the parts that are there.
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
            if not accept_other_code:
                _refuse_other_parts(experiment, parts)
            _compute(experiment, values, parts)
        # figures and checks see what is on disk, so that they can be made again from it
        data = files.read_dataset(directory / "data.nc") if stored is None else stored
        parts.drop_older_than(directory / "data.nc")
        return _reported(experiment, values, directory, data, reused=stored is not None, figures=figures)


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


def _check_resumable(experiment: Experiment, parts: StoredParts, force: bool) -> None:
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


def _refuse_other_parts(experiment: Experiment, parts: StoredParts) -> None:
    """Refuse to go on with parts that other code of the package has stored."""
    code.refuse_other_code(
        parts.source_hashes(),
        f"the run of {experiment.name} in {parts.directory} was begun",
        "give --force to start anew, or --accept-other-code, which is written into the attributes of the result",
    )


def _reported(
    experiment: Experiment,
    values: dict[str, Any],
    directory: Path,
    data: xr.Dataset,
    reused: bool,
    figures: bool = True,
) -> Result:
    """Check the claims and draw the figure of data that are on disk."""
    checks = tuple(_check(experiment, data, name) for name in experiment.checks)
    result = Result(experiment, values, directory, data, checks, reused)
    if figures:
        files.write_json({**result.content(), "status": "not drawn"}, directory / "run.json")
        with DRAWING:
            caption = store_figure(experiment, data, directory, experiment.is_quick(values))
        result = replace(result, caption=caption)
    files.write_json(result.content(), directory / "run.json")
    return result


def _compute(experiment: Experiment, values: dict[str, Any], parts: StoredParts) -> None:
    """Compute the data and store them, saying in `run.json` how far that is."""
    content = {
        "experiment": experiment.name,
        "description": experiment.description,
        "knobs": values,
        "quick": experiment.is_quick(values),
        "command": experiment.command(values, parts.directory.parents[1]),
        "versions": dict(provenance.versions()),
        code.NAME: code.source_hash(),
        "source": experiment.source,
    }
    path = parts.directory / "run.json"
    files.write_json({"status": "running", **content}, path)
    try:
        files.write_dataset(_computed(experiment, values, parts), parts.directory / "data.nc")
    except BaseException as error:
        if count := parts.count():
            number = counted(count, "part")
            error.add_note(f"stored so far: {number} of {experiment.name}; the same command goes on from there")
        status = "stopped" if isinstance(error, KeyboardInterrupt) else "failed"
        with contextlib.suppress(OSError):  # the disk may be full
            files.write_json({"status": status, "error": str(error), **content}, path)
        raise


def _computed(experiment: Experiment, values: dict[str, Any], parts: StoredParts) -> xr.Dataset:
    """Compute the data, and add their provenance."""
    import xarray as xr

    began = time.perf_counter()
    run = RunWithParts(parts, lambda part: _check_storable(experiment, part))
    with run.going_on():
        ds = experiment.run(**values)
    if not isinstance(ds, xr.Dataset):
        raise TypeError(f"run of {experiment.name} must return an xarray.Dataset, got {type(ds).__name__}")
    _check_storable(experiment, ds)
    return ds.assign_attrs(
        experiment=experiment.name,
        knobs=canonical(values),
        command=experiment.command(values, parts.directory.parents[1]),
        source=experiment.source,
        wall_time=round(run.seconds + time.perf_counter() - began, 6),
        **provenance.dataset_attrs(code.code_attrs(run.source_hashes)),
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


def _scalars(data: xr.Dataset) -> dict[str, float | str]:
    """Return the scalar variables that are numbers, for JSON: as text where they are not finite."""
    found = {str(name): v.item() for name, v in data.data_vars.items() if v.size == 1 and v.dtype.kind in "fiub"}
    return {name: float(x) if math.isfinite(x) else str(float(x)) for name, x in found.items()}


def _check(experiment: Experiment, data: xr.Dataset, name: str) -> Check:
    if name not in data.data_vars or data[name].size != 1:
        scalars = ", ".join(str(key) for key, variable in data.data_vars.items() if variable.size == 1)
        raise ValueError(
            f"CHECKS of {experiment.name} names {name!r}, which is not a scalar variable of its Dataset; "
            f"those are: {scalars or 'none'}"
        )
    expected, tolerance = experiment.checks[name]
    return Check(name, float(data[name].item()), expected, tolerance)
