"""Sweeps: an experiment over a grid of knobs, in parallel.

Each cell of the grid is a run of its own, stored where `wfr-pde run` with these knobs stores it. So a sweep can be
stopped, killed, repeated, extended and shared among machines: what is done is not done again, and what was begun goes
on. A cell that fails costs only itself. The scalar variables of all cells, over the knobs that were swept, become one
Dataset, in `results/<name>/sweep-<hash of the grid>/sweep.nc`.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import shlex
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wfr_pde.app.experiments.experiment import OUT, Experiment, out_words
from wfr_pde.app.experiments.jobs import Cell, Outcome, run_cells
from wfr_pde.app.experiments.loading import load_experiment
from wfr_pde.numerics.counted import counted
from wfr_pde.storage import files, locks, provenance
from wfr_pde.storage import source_hash as code

if TYPE_CHECKING:
    import xarray as xr

OWN = ("done", "passed", "wall_time")  # variables that the sweep adds to those of the cells


@dataclass(frozen=True, eq=False)
class Plan:
    """Grid of knobs that a sweep runs over.

    Attributes
    ----------
    experiment : Experiment
        What is run in every cell.
    axes : dict of str to tuple
        The knobs that are swept, and their values.
    cells : list of dict
        All knobs of every cell, the last axis running fastest.
    out : Path
        Root of the results.
    """

    experiment: Experiment
    axes: dict[str, tuple[Any, ...]]
    cells: list[dict[str, Any]]
    out: Path

    @property
    def directory(self) -> Path:
        """Directory that the combined Dataset goes to."""
        grid = json.dumps([self.cells[0], self.axes], sort_keys=True)
        return self.out / self.experiment.name / f"sweep-{hashlib.sha256(grid.encode()).hexdigest()[:12]}"

    @property
    def command(self) -> str:
        """Command line that makes this sweep."""
        words = ["wfr-pde", "sweep", self.experiment.given]
        for name, knob in self.experiment.knobs.items():
            values = self.axes.get(name, (self.cells[0][name],))
            if values != (knob.default,):
                separator = ";" if knob.is_tuple or any("," in knob.text(value) for value in values) else ","
                words.append(f"{knob.option}={separator.join(map(knob.text, values))}")
        return files.readable(shlex.join([*words, *out_words(self.out)]))

    def shard(self, i: int, n: int) -> list[dict[str, Any]]:
        """Return the cells of part i of n, i = 1, ..., n: every n-th.

        Raises
        ------
        ValueError
            If there is no such part.
        """
        if not 1 <= i <= n:
            raise ValueError(f"the shard must be i/n with 1 <= i <= n, got {i}/{n}")
        return self.cells[i - 1 :: n]

    def swept(self, cell: Mapping[str, Any]) -> dict[str, str]:
        """Return the swept knobs of a cell, as text."""
        return {name: self.experiment.knobs[name].text(cell[name]) for name in self.axes}


def plan(
    experiment: Experiment | str | Path,
    knobs: Mapping[str, Sequence[Any]],
    *,
    quick: bool = False,
    out: str | Path = OUT,
) -> Plan:
    """Plan a sweep: the grid of its knobs.

    Parameters
    ----------
    experiment : Experiment, or name or path for `load_experiment`
        What is run in every cell.
    knobs : mapping
        Name -> values. Knobs with one value are fixed, those with several are swept.
    quick : bool
        Start from QUICK in place of the defaults.
    out : path
        Root of the results.

    Raises
    ------
    ValueError
        If a knob does not fit, or none has several values.
    """
    if not isinstance(experiment, Experiment):
        experiment = load_experiment(experiment)
    experiment.values({name: values[0] for name, values in knobs.items()}, quick)  # refuses unknown ones
    given = {
        name: tuple(knob.check(value) for value in knobs[name])
        for name, knob in experiment.knobs.items()
        if name in knobs
    }
    grid = [
        experiment.values(dict(zip(given, values, strict=True)), quick) for values in itertools.product(*given.values())
    ]
    axes = {name: values for name, values in given.items() if len(values) > 1}
    if not axes:
        raise ValueError(
            f"a sweep needs a knob with several values, such as {_example(experiment)}; "
            f"a single run is `wfr-pde run {experiment.given}`"
        )
    return Plan(experiment, axes, grid, Path(out))


def _example(experiment: Experiment) -> str:
    for knob in experiment.knobs.values():
        if not knob.is_tuple and knob.kind in (int, float):
            return f"{knob.option} {knob.text(knob.default)},{knob.text(2 * knob.default)}"
    return "--n 64,128"


def sweep(
    plan: Plan,
    executor: Executor | None = None,
    *,
    shard: tuple[int, int] = (1, 1),
    force: bool = False,
    accept_other_code: bool = False,
    figures: bool = True,
    progress: bool | None = None,
) -> list[Outcome]:
    """Run the cells that are not done, and store the combined Dataset.

    Parameters
    ----------
    plan : Plan
        The grid of knobs, as `plan` makes it.
    executor : Executor, optional
        Where cells run; by default `Processes()`. Its workers must see the same files under the same paths.
    shard : tuple of int
        (i, n): only part i of n. The combined Dataset has what is done by then of all parts.
    force : bool
        Compute every cell anew.
    accept_other_code : bool
        Take cells, and parts of cells, that other code of the package has computed; the attribute
        `other_source_hashes` of the combined Dataset says so then.
    figures : bool
        Draw the figure of every cell.
    progress : bool, optional
        Show cells done and time left; by default on a terminal only.

    Returns
    -------
    list of Outcome
        In the order of the cells, those that failed included.

    Raises
    ------
    ValueError
        If other code of the package has computed cells of the plan, or parts of them, unless that is accepted.
    """
    if not (force or accept_other_code):
        _refuse_other_cells(plan)
    cells = [Cell(plan.experiment, knobs, plan.out) for knobs in plan.shard(*shard)]
    outcomes = run_cells(
        cells,
        executor,
        force=force,
        accept_other_code=accept_other_code,
        figures=figures,
        progress=progress,
        title=plan.experiment.name,
    )
    combine(plan)
    return outcomes


def _refuse_other_cells(plan: Plan) -> None:
    """Refuse a sweep of which other code of the package has stored something."""
    found: dict[Path, set[str]] = {}
    for cell in plan.cells:
        content = plan.experiment.done(cell, plan.out)
        begun = plan.experiment.begun(cell, plan.out).source_hashes()
        others = begun if content is None else {*begun, *code.other_hashes(content)}
        if others - {code.source_hash()}:
            found[plan.experiment.directory(cell, plan.out)] = others
    if found:
        number = f"{len(found)} of the {counted(len(plan.cells), 'cell')} of this sweep of {plan.experiment.name}"
        code.refuse_other_code(
            set().union(*found.values()),
            f"{number}, the first in {next(iter(found))}, {'was' if len(found) == 1 else 'were'} computed",
            "delete those, give --force to compute all anew, or --accept-other-code, which is written into sweep.nc",
        )


def combine(plan: Plan) -> xr.Dataset:
    """Combine the scalar variables of all cells that are stored, over the swept knobs; written to `sweep.nc`.

    Of cells that are not done, numbers are NaN and `done` is false. A variable that is called like a swept knob, or
    like `done`, `passed` or `wall_time`, gets the ending `_of_cell`.
    """
    with locks.locked(plan.directory, wait=True):  # the last shard to come sees the cells of all others
        ds = _combined(plan)
        files.write_dataset(ds, plan.directory / "sweep.nc")
        content = {
            "status": "done" if ds["done"].all() else "incomplete",
            "experiment": plan.experiment.name,
            "command": plan.command,
            "axes": plan.axes,
            "cells": [plan.experiment.directory(cell, plan.out).name for cell in plan.cells],
            "versions": dict(provenance.versions()),
            **provenance.schema_and_code(ds.attrs),
            "source": plan.experiment.source,
        }
        files.write_json(content, plan.directory / "sweep.json")
        table = ds.to_dataframe().reset_index()
        files.write_atomically(plan.directory / "sweep.csv", lambda path: table.to_csv(path, index=False))
    return ds


def _combined(plan: Plan) -> xr.Dataset:
    import numpy as np
    import xarray as xr

    shape = tuple(len(values) for values in plan.axes.values())
    variables: dict[str, xr.Variable] = {}
    for i, cell in enumerate(plan.cells):
        for name, variable in _scalars(plan, cell).items():
            if name not in variables:
                empty = np.full(shape, False if name in ("done", "passed") else np.nan)
                variables[name] = xr.Variable(tuple(plan.axes), empty, variable.attrs)
            variables[name][np.unravel_index(i, shape)] = variable.values
    coords = {name: _coordinate(plan, name) for name in plan.axes}
    fixed = {name: value for name, value in plan.cells[0].items() if name not in plan.axes}
    attrs = {
        "experiment": plan.experiment.name,
        "command": plan.command,
        "knobs": json.dumps(fixed, sort_keys=True),
        "source": plan.experiment.source,
        **provenance.dataset_attrs(code.code_attrs(_other_hashes(plan))),
    }
    return xr.Dataset(variables, coords, attrs)


def _other_hashes(plan: Plan) -> set[str]:
    """Return the source hashes of the cells that other code of the package has computed."""
    done = (plan.experiment.done(cell, plan.out) for cell in plan.cells)
    return {one for content in done if content for one in code.other_hashes(content)}


def _coordinate(plan: Plan, name: str) -> Any:
    """Return the values of a swept knob; tuples as text."""
    knob = plan.experiment.knobs[name]
    return list(map(knob.text, plan.axes[name])) if knob.is_tuple else list(plan.axes[name])


def _scalars(plan: Plan, cell: dict[str, Any]) -> dict[str, xr.Variable]:
    """Read the numbers that a cell has stored."""
    import xarray as xr

    content = plan.experiment.done(cell, plan.out)
    own: dict[str, xr.Variable] = {"done": xr.Variable((), content is not None, {"long_name": "cell is done"})}
    if content is None:
        return own
    own["passed"] = xr.Variable((), content["passed"], {"long_name": "all checks passed"})
    own["wall_time"] = xr.Variable((), content["wall_time"], {"long_name": "wall time", "units": "s"})
    taken = {*OWN, *plan.axes}
    path = plan.experiment.directory(cell, plan.out) / "data.nc"
    with xr.open_dataset(path, engine="h5netcdf", decode_timedelta=False) as ds:
        for key, variable in ds.data_vars.items():
            if variable.ndim == 0 and variable.dtype.kind in "biuf":
                name = f"{key}_of_cell" if key in taken else str(key)
                own[name] = variable.variable.load().drop_encoding()
    return own
