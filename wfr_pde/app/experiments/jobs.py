"""Runs of experiments in parallel: each idempotent, and one that fails costs only itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wfr_pde.app.complaints import code_of, complaint, notes
from wfr_pde.app.exit_codes import CHECK_FAILED
from wfr_pde.app.experiments.executors import Processes
from wfr_pde.app.experiments.experiment import Experiment
from wfr_pde.app.experiments.loading import load_experiment
from wfr_pde.app.experiments.runner import run_experiment
from wfr_pde.numerics.counted import counted
from wfr_pde.numerics.progress import bar
from wfr_pde.storage.source_hash import other_hashes

FEW = 4  # most failed checks that are named in a row of a table


@dataclass(frozen=True, eq=False)
class Cell:
    """One experiment with all its knobs, and the root of the results."""

    experiment: Experiment
    knobs: dict[str, Any]
    out: Path

    @property
    def directory(self) -> Path:
        """Directory that its results are in."""
        return self.experiment.directory(self.knobs, self.out)


@dataclass(frozen=True, eq=False)
class Outcome:
    """Outcome of a cell: done, or what went wrong.

    Attributes
    ----------
    cell : Cell
        The cell whose outcome it is.
    content : dict
        What its `run.json` says: checks, wall time, whether all checks passed; empty where it failed.
    error : str
        What went wrong; empty where nothing did.
    code : int
        Exit code for that.
    reused : bool
        Whether it was done before.
    """

    cell: Cell
    content: dict[str, Any]
    error: str = ""
    code: int = 0
    reused: bool = False

    @property
    def status(self) -> str:
        """Status in a word: pass, FAIL (a check) or failed."""
        if self.error:
            return "failed"
        return "pass" if self.content["passed"] else "FAIL"

    @property
    def other_hashes(self) -> tuple[str, ...]:
        """Source hashes of the code that computed it, where it is not the present code of the package."""
        return other_hashes(self.content) if self.content else ()

    @property
    def row(self) -> tuple[str, str]:
        """Return two entries of a table: status, with the checks that failed, and time."""
        missed = [name for name, check in self.content.get("checks", {}).items() if not check["passed"]]
        how = f"FAIL {', '.join(missed[:FEW])}{', ...' if len(missed) > FEW else ''}" if missed else self.status
        seconds = self.content.get("wall_time")
        by = "stored, by other code" if self.other_hashes else "stored"
        took = "" if seconds is None else f"{float(seconds):.3g} s{f' ({by})' if self.reused else ''}"
        return how, took

    def plain(self) -> dict[str, Any]:
        """Return the outcome in plain types, for JSON."""
        return {
            "knobs": self.cell.knobs,
            "directory": str(self.cell.directory),
            "status": self.status,
            "reused": self.reused,
            "other_source_hashes": list(self.other_hashes),
            "checks": self.content.get("checks", {}),
            "wall_time": self.content.get("wall_time"),
            "error": self.error,
        }


def run_cells(
    cells: Sequence[Cell],
    executor: Executor | None = None,
    *,
    force: bool = False,
    accept_other_code: bool = False,
    figures: bool = True,
    progress: bool | None = None,
    title: str = "",
) -> list[Outcome]:
    """Run the cells that are not done, in parallel.

    Parameters
    ----------
    cells : sequence of Cell
        The cells, done or not.
    executor : Executor, optional
        Where cells run; by default `Processes()`. Its workers must see the same files under the same paths.
    force : bool
        Compute every cell anew.
    accept_other_code : bool
        Go on with parts that other code of the package has stored.
    figures : bool
        Draw the figure of every cell.
    progress : bool, optional
        Show cells done and time left; by default on a terminal and in notebooks.
    title : str
        What is beside that.

    Returns
    -------
    list of Outcome
        In the order of the cells, those that failed included.
    """
    done = [None if force else cell.experiment.done(cell.knobs, cell.out) for cell in cells]
    outcomes = {i: Outcome(cells[i], content, reused=True) for i, content in enumerate(done) if content}
    waiting = {i: cell for i, cell in enumerate(cells) if i not in outcomes}
    with bar(progress, len(cells), len(outcomes), "cell", title) as count:
        if waiting and executor is None:
            with Processes() as executor:
                _run(waiting, executor, (force, accept_other_code, figures), outcomes, count)
        elif waiting and executor is not None:
            _run(waiting, executor, (force, accept_other_code, figures), outcomes, count)
    return [outcomes[i] for i in range(len(cells))]


def _run(
    cells: dict[int, Cell],
    executor: Executor,
    how: tuple[bool, bool, bool],
    outcomes: dict[int, Outcome],
    count: Callable[[], object],
) -> None:
    """Run cells, and add what becomes of them to `outcomes` as it comes; `how` are three options."""
    futures = {}
    for i, cell in cells.items():
        experiment = cell.experiment
        future = executor.submit(
            run_cell,
            cell.knobs,
            str(experiment.path),
            given=experiment.given,
            source=experiment.source,
            out=str(cell.out.resolve()),
            force=how[0],
            accept_other_code=how[1],
            figures=how[2],
        )
        futures[future] = i
    try:
        for future in as_completed(futures):
            i = futures[future]
            try:
                reply = future.result()
            except Exception as error:  # not of the experiment, but of the worker that ran it
                reply = failure(error)
            outcomes[i] = Outcome(cells[i], **{"content": {}, **reply})
            count()
    except BaseException as error:
        for future in futures:
            future.cancel()
        run = sum(i in outcomes for i in cells)
        error.add_note(f"run of {counted(len(cells), 'cell')}: {run}; the same command goes on with the others")
        raise


def run_cell(
    knobs: dict[str, Any],
    path: str,
    *,
    given: str,
    source: str,
    out: str,
    force: bool,
    accept_other_code: bool,
    figures: bool,
) -> dict[str, Any]:
    """Run one cell where the executor wants it, and say what became of it in plain types.

    Raises
    ------
    ValueError
        If the file is not the one that the cell was planned with.
    """
    experiment = dataclasses.replace(load_experiment(path), given=given)
    if experiment.source != source:
        raise ValueError(f"{path} has been changed since this began: start it again")
    try:
        result = run_experiment(
            experiment, knobs, out=out, force=force, wait=True, accept_other_code=accept_other_code, figures=figures
        )
    except Exception as error:
        return failure(error)
    return {"content": result.content(), "reused": result.reused}


def failure(error: Exception) -> dict[str, Any]:
    """Return the parts `error` and `code` of an outcome for an error, with the place in the user's code."""
    code = code_of(error)
    if code is None:
        text, trace = " ".join(f"{error} {notes(error)}".split()), error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        place = "" if trace is None else f" ({Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno})"
        return {"error": f"{type(error).__name__}: {text}{place}", "code": CHECK_FAILED}
    return {"error": complaint(error), "code": code}
