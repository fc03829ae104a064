"""Integrate a flow over time and record it at the save times: `solve`, the only time loop."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from wfr_pde.energies import Energy
from wfr_pde.errors import NumericalError
from wfr_pde.flows.base import Flow, Steps
from wfr_pde.integrate.frames import SegmentFrames
from wfr_pde.integrate.memory import stored_bytes
from wfr_pde.integrate.run import Record, Run, precision_of, prepare
from wfr_pde.numerics.arguments import flag, knows_its_arguments, path
from wfr_pde.numerics.deadline import check_deadline
from wfr_pde.numerics.precision import SINGLE
from wfr_pde.numerics.progress import bar
from wfr_pde.space.density import Density
from wfr_pde.space.particles import Particles
from wfr_pde.storage.disk_space import NO_SPACE, warn_of_space
from wfr_pde.storage.locks import locked
from wfr_pde.storage.run_directory import RunDirectory, join_segments, open_run
from wfr_pde.targets.base import Target

if TYPE_CHECKING:
    import xarray as xr

MASS_TOLERANCE = 1e-10  # plus 1e-13 per step: rounding adds up to far less


@knows_its_arguments
def solve(
    problem: Target | Energy | None,
    flow: Flow,
    start: Density | Particles | np.ndarray,
    t: ArrayLike,
    dt: float,
    *,
    record: Iterable[Record | Energy] | Mapping[str, Record | Energy] = (),
    keep: str | ArrayLike = "all",
    out: str | Path | None = None,
    rng: int | np.random.Generator | None = None,
    progress: bool | None = None,
    accept_other_code: bool = False,
) -> xr.Dataset:
    """Advance a measure along a flow, and return it and its records at the save times.

    Parameters
    ----------
    problem : Target or Energy or None
        What the flow goes down; a target means KL(target), and None that the flow needs no energy (`Flow.energies`).
    flow : Flow
        What advances the measure by a step.
    start : Density, Particles, or array (n, d) of positions
        The measure at time t[0].
    t : array (n_t,)
        Save times, increasing; the first is the time of `start`.
    dt : float
        Largest step. Each interval between save times is cut into equal steps; what was used is in the attributes.
    record : functions, or mapping name -> function
        Evaluated at every save time as f(state, energy) -> number or array; an Energy records its value. Without a
        problem the energy is `energies.NoEnergy()`, of which nothing can be asked.
    keep : "all", "last", or times
        Which states are stored; times are a subset of `t`. With "all" they share the dimension `t` with the
        records, else they have a dimension `t_kept` of their own.
    out : path, optional
        Directory that the run is written to as it goes. If it holds the same run, unfinished, that is continued,
        to the same bits; a finished one is read, with a warning where other code of the package computed it.
    rng : int or numpy Generator, optional
        For random flows. A seed gives numbers that are independent of those of `start.sample(n, rng=seed)`.
    progress : bool, optional
        Progress bar; by default where stderr is a terminal, and in notebooks.
    accept_other_code : bool
        Go on with a run in `out` that other code of the package began; else it is refused. The attribute
        `other_source_hashes` says so then.

    Returns
    -------
    xarray.Dataset
        `log_density` (t, x, ...), normalised, with coordinates and `cell_width_x`, ...; or `position`
        (t, particle, dim) and `log_weight` (t, particle); one variable per record; provenance in the attributes.

    Raises
    ------
    ValueError, TypeError
        For input that does not fit: see the message.
    MemoryError
        Before anything is allocated, if the run would not fit.
    BlockingIOError
        If another process is writing the run in `out`.
    NumericalError
        If the state loses finiteness or mass.

    Examples
    --------
    The Wasserstein-Fisher-Rao flow from N(1, 1) to N(0, 1), whose mean is exp(-2 t):

    >>> import wfr_pde as wfr
    >>> start = wfr.Grid(-8.0, 8.0, 64).density(wfr.Gaussian(1.0, 1.0))
    >>> flow = wfr.Extrapolated(wfr.Strang(wfr.FisherRao(), wfr.SinkhornKernel()), 4)
    >>> run = wfr.solve(wfr.Gaussian(0.0, 1.0), flow, start, [0.0, 0.5, 1.0], 0.125, record=[wfr.diagnostics.mean])
    >>> run["mean"].values[:, 0].round(4)
    array([1.    , 0.3679, 0.1353])
    """
    flag("accept_other_code", accept_other_code)
    if progress is not None:
        flag("progress", progress)
    if out is not None:
        path("out", out)
    run = prepare(problem, flow, start, t, dt, record=record, keep=keep, rng=rng, written=out is not None)
    if out is None:
        return _solved(run, None, progress)
    if Path(out).is_file():
        raise ValueError(f"out={str(out)!r} is a file; give a directory for the run")
    if Path(out).is_symlink() and not Path(out).exists():
        raise ValueError(f"out={str(out)!r} is a link to {os.readlink(out)!r}, which is not there: make it first")
    with locked(out):
        return _solved(run, RunDirectory(out, run.fingerprint(), accept_other_code), progress)


def _solved(run: Run, directory: RunDirectory | None, progress: bool | None) -> xr.Dataset:
    """Make a run, or go on with the one that is on disk."""
    segments, frame, state = _resumed(run, directory)
    if directory is not None:
        run.code = directory.code
        warn_of_space(directory.path, stored_bytes(run.start, sum(number >= frame for number in run.kept)))
    done = run.steps_before[max(frame - 1, 0)]
    try:
        with run.start.threads(), bar(progress, run.n_steps, done) as count:
            segments += _loop(run, state, frame, directory, count)
    except OSError as error:
        if directory is not None and error.errno in NO_SPACE and (stored := directory.checkpoint()) is not None:
            t = run.times[int(stored.attrs["frame"])]
            error.add_note(f"the result up to t = {t:.6g} is in {directory.path}; the same run goes on from there")
        raise
    ds = join_segments(segments)
    if directory is not None:
        directory.finish(ds.attrs)
    return ds


def _resumed(run: Run, directory: RunDirectory | None) -> tuple[list[xr.Dataset], int, Any]:
    """Read what is on disk: its segments, the number of the next frame, and the state before it."""
    checkpoint = None if directory is None else directory.checkpoint()
    if directory is None or checkpoint is None:
        return [], 0, run.start
    if run.rng is not None:
        run.rng.bit_generator.state = json.loads(checkpoint.attrs["rng"])
    return (
        [open_run(directory.path)],
        int(checkpoint.attrs["frame"]) + 1,
        run.start.from_variables(checkpoint),
    )


def _loop(
    run: Run, state: Any, first: int, directory: RunDirectory | None, count: Callable[[], object]
) -> list[xr.Dataset]:
    """Compute the frames from number `first` on, as segments, which are written to the directory as they come."""
    segments: list[xr.Dataset] = []
    prepared = _PreparedSteps(run)
    frames = SegmentFrames(run)
    try:
        for frame in range(first, len(run.times)):
            if frame > 0:
                state = _advance(run, state, frame, prepared, count)
            _check(run, state, frame)
            frames.append(frame, state)
            if frame == 0:
                frames.check_fit()
            if directory is not None and frames.due():
                segments.append(frames.write(directory))
                frames = SegmentFrames(run)
    except BaseException:
        # interrupted, or numbers that cannot be trusted from here on: keep what is good
        if directory is not None and frames.last is not None:
            frames.write(directory)
        raise
    if frames.numbers:
        segments.append(frames.dataset() if directory is None else frames.write(directory))
    return segments


class _PreparedSteps:
    """The steps of one run, prepared when their size is asked for; one size at a time, as they hold memory."""

    def __init__(self, run: Run) -> None:
        self.run, self.flow = run, run.flow.monitored()
        self._size = 0.0
        self._steps: Steps | None = None

    def of_size(self, h: float) -> Steps:
        """Return the function that makes runs of steps of size `h`."""
        if self._steps is None or h != self._size:
            self._steps = None
            self._size, self._steps = h, self.flow.make_steps(self.run.energy, self.run.start, h)
        return self._steps


def _advance(run: Run, state: Any, frame: int, prepared: _PreparedSteps, count: Callable[[], object]) -> Any:
    """Advance the state from the save time before `frame` to that of `frame`."""
    steps = prepared.of_size(float(run.sizes[frame - 1]))

    def callback() -> None:
        check_deadline()
        count()

    return steps(state, float(run.times[frame - 1]), int(run.n_substeps[frame - 1]), run.rng, callback)


def _check(run: Run, state: Any, frame: int) -> None:
    """Check that a state is finite, has its mass where the flow promises it, and is resolved by graded cells."""
    t = float(run.times[frame])
    if not state.is_finite():
        raise NumericalError(
            f"the state is not finite at t={t:.6g}: use a smaller dt (extrapolation needs rate*dt*|V''| < 1), or a "
            "lower order"
        )
    if "mass" in run.flow.preserves:
        precision = precision_of(state)
        tolerance = precision.mass if precision is SINGLE else MASS_TOLERANCE + 1e-13 * run.steps_before[frame]
        if abs(state.mass - 1) > tolerance:
            raise NumericalError(
                f"the mass is {state.mass:.15g} at t={t:.6g}, off by more than {tolerance:.2g}: "
                f"{run.flow!r} promises to keep it"
            )
    if frame > 0 and run.watches_cells:
        try:
            state.grid.check_resolved(state.log_values, f"the state at t={t:.6g}")
        except ValueError as error:
            raise NumericalError(f"{error}: both ends are resolved, but not what is between them") from None
