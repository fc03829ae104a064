"""What a run will cost, before it is made: time by measuring a step, memory by counting arrays."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from wfr_pde.energies import Energy
from wfr_pde.flows.base import Flow
from wfr_pde.integrate.memory import estimated_memory
from wfr_pde.integrate.run import Run, prepare
from wfr_pde.numerics.arguments import flag, knows_its_arguments
from wfr_pde.numerics.backends import get_backend
from wfr_pde.space.density import Density
from wfr_pde.space.particles import Particles
from wfr_pde.targets.base import Target

STEPS = 2  # that are measured together: in a run they may share work

if TYPE_CHECKING:
    from wfr_pde.integrate.run import Record


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """The cost of a run.

    Attributes
    ----------
    seconds : float
        Time of the whole run.
    preparation, step, record : float
        Seconds to prepare steps of one size, for a step, and for the records of one save time.
    n_steps : int
        Number of steps.
    memory : int
        Bytes at most, of arrays.
    available : int or None
        Bytes that are free, if the system tells.
    """

    seconds: float
    preparation: float
    step: float
    record: float
    n_steps: int
    memory: int
    available: int | None


@knows_its_arguments
def estimate(
    problem: Target | Energy | None,
    flow: Flow,
    start: Density | Particles | np.ndarray,
    t: ArrayLike,
    dt: float,
    *,
    record: Iterable[Record | Energy] | Mapping[str, Record | Energy] = (),
    keep: str | ArrayLike = "all",
    rng: int | np.random.Generator | None = None,
    written: bool = False,
) -> Estimate:
    """Estimate the time and the memory that `solve` takes with the same arguments, from two steps that are made.

    Parameters
    ----------
    problem, flow, start, t, dt, record, keep, rng
        As for `solve`.
    written : bool
        Whether the run is to be written to a directory, which takes the stored frames twice.

    Returns
    -------
    Estimate

    Raises
    ------
    ValueError, TypeError, MemoryError
        Whatever `solve` refuses.

    Examples
    --------
    >>> import wfr_pde as wfr
    >>> start = wfr.Grid(-8.0, 8.0, 64).density(wfr.Gaussian(1.0, 1.0))
    >>> cost = wfr.estimate(wfr.Gaussian(0.0, 1.0), wfr.SinkhornKernel(), start, [0.0, 1.0], 0.125)
    >>> cost.n_steps, 0 < cost.seconds < 10, cost.memory < 2**20
    (8, True, True)
    """
    flag("written", written)
    run = prepare(problem, flow, start, t, dt, record=record, keep=keep, rng=rng, written=written)
    preparation = step = seconds = 0.0
    with run.start.threads():
        if run.n_steps:
            preparation, step = _measured(run)
            changes = 1 + int(np.count_nonzero(np.diff(run.sizes)))
            seconds = changes * preparation + run.n_steps * step
        began = time.perf_counter()
        if run.records:
            run.record_values(0, run.start)
        recorded = time.perf_counter() - began
    backend = run.start.grid.backend if isinstance(run.start, Density) else get_backend("numpy")
    return Estimate(
        seconds=seconds + len(run.times) * recorded,
        preparation=preparation,
        step=step,
        record=recorded,
        n_steps=run.n_steps,
        memory=estimated_memory(flow, run.start, len(run.kept), written),
        available=backend.available_memory(),
    )


def _measured(run: Run) -> tuple[float, float]:
    """Return the seconds that it takes to prepare steps, and for one step after the first, in a run of some."""
    h, t, rng = float(run.sizes[0]), float(run.times[0]), copy.deepcopy(run.rng)  # that of the user stays as it is
    clock = [time.perf_counter()]
    steps, n = run.flow.monitored().make_steps(run.energy, run.start, h), min(int(run.n_substeps[0]), STEPS)
    clock.append(time.perf_counter())
    state = steps(run.start, t, 1, rng)
    clock.append(time.perf_counter())
    state = steps(state, t + h, n, rng)
    next(iter(state.variables().values()))  # on the host: a device has finished
    clock.append(time.perf_counter())
    return clock[1] - clock[0], (clock[3] - clock[2]) / n
