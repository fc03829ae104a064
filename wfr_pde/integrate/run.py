"""One run of `solve`: its arguments, checked before anything is computed, and what follows from them."""

from __future__ import annotations

import hashlib
import json
import math
import time
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from wfr_pde.energies import KL, Energy, NoEnergy
from wfr_pde.flows.base import Flow
from wfr_pde.integrate.memory import check_memory
from wfr_pde.integrate.open_integrals import telling_once
from wfr_pde.integrate.randomness import generator_of, rng_state
from wfr_pde.integrate.records import Record, named_records
from wfr_pde.integrate.save_times import kept_frames, save_times
from wfr_pde.integrate.schema import recorded
from wfr_pde.numerics.arguments import is_array, positive, refuse_no_entries, shown
from wfr_pde.numerics.arguments import seed as checked_seed
from wfr_pde.numerics.backends import get_backend
from wfr_pde.numerics.precision import DOUBLE, Precision
from wfr_pde.numerics.user_calls import call
from wfr_pde.space.density import Density
from wfr_pde.space.particles import Particles, positions_of
from wfr_pde.storage.provenance import dataset_attrs
from wfr_pde.storage.source_hash import code_attrs
from wfr_pde.targets.base import Target

MAX_SUBSTEPS = 1e12  # steps between two save times; a dt that asks for more is taken for a mistake


@dataclass(kw_only=True)
class Run:
    """Checked input of one run, and what follows from it."""

    energy: Energy
    flow: Flow
    start: Any
    times: np.ndarray
    dt: float
    records: dict[str, Record | Energy]
    kept: frozenset[int]  # numbers of the frames whose state is stored
    keep: str
    rng: np.random.Generator | None
    seed: str
    n_substeps: np.ndarray = field(init=False)
    sizes: np.ndarray = field(init=False)
    steps_before: list[int] = field(init=False)  # that lead to each frame
    code: dict[str, str] = field(default_factory=code_attrs, init=False)  # attributes: by which code
    began: float = field(default_factory=time.perf_counter, init=False)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict, init=False)  # of what the records said last
    told: set[str] = field(default_factory=set, init=False)  # warnings that were given

    def __post_init__(self) -> None:
        lengths = np.diff(self.times)
        if len(lengths) and lengths.max() / self.dt > MAX_SUBSTEPS:
            raise ValueError(
                f"dt={self.dt:.6g} cuts the interval of {lengths.max():.6g} between save times t into more than "
                f"{MAX_SUBSTEPS:.0e} steps: use a larger dt"
            )
        self.n_substeps = np.maximum(np.ceil(lengths / self.dt * (1 - 1e-12)), 1).astype(int)
        self.sizes = _merged(lengths / self.n_substeps)
        self.steps_before = [0, *np.cumsum(self.n_substeps).tolist()]

    @cached_property
    def watches_cells(self) -> bool:
        """Whether the state may come to a place where the cells are too wide for it: on a graded grid."""
        if not isinstance(self.start, Density) or self.start.grid.is_uniform:
            return False
        try:
            self.start.grid.check_resolved(self.start.log_values, "the start")
        except ValueError:
            return False  # it is rough already
        return True

    @property
    def n_steps(self) -> int:
        """Steps of the whole run."""
        return self.steps_before[-1]

    def fingerprint(self) -> str:
        """Hash everything that determines the bits of the result.

        Functions are known by their values: the target's on the grid, or at the particles, at some twenty times if it
        moves, those of the flow as its `reference` says, and every record's on the start.
        """
        digest = hashlib.sha256()
        what = [self.energy, self.flow, self.start, self.dt, list(self.records), self.keep, self.seed]
        digest.update("\n".join(map(repr, what)).encode())
        arrays = [self.times, *(array for _, array in self.start.checkpoint().values())]
        arrays += [array for name, (_, array) in self.start.coordinates().items() if name.startswith("cell_")]
        span, golden = self.times[-1] - self.times[0], 0.6180339887498949
        probes = [self.times[0] + span * share for share in (0.0, 1.0, *(k * golden % 1 for k in range(1, 17)))]
        energies = [self.energy, *(record for record in self.records.values() if isinstance(record, Energy))]
        for energy in energies:
            for t in probes if energy.moving else probes[:1]:
                arrays.append(energy.at(float(t)).reference(self.start))
        arrays.append(self.flow.reference(self.start))
        arrays.extend(self.record_values(0, self.start).values())
        for array in arrays:
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def record_values(self, frame: int, state: Any) -> dict[str, np.ndarray]:
        """Evaluate the records of a state at the save time of a frame."""
        t = float(self.times[frame])
        energy = self.energy.at(t)
        with telling_once(self.told):
            found = {
                name: record.at(t).value(state)
                if isinstance(record, Energy)
                else call(f"the record {name!r}", record, state, energy)
                for name, record in self.records.items()
            }
        values = {name: recorded(name, value, self.shapes.get(name), t) for name, value in found.items()}
        self.shapes = {name: value.shape for name, value in values.items()}
        return values

    def rng_state(self) -> str:
        """Return the state of the random number generator as JSON; empty for a flow that is not random."""
        return rng_state(self.rng)

    def attrs(self) -> dict[str, str | int | float]:
        """Return the attributes that say how the result was made: str, int and float only, mappings as JSON."""
        is_grid, of_energy = isinstance(self.start, Density), type(self.energy).__name__
        backend = self.start.grid.backend if is_grid else get_backend("numpy")
        return {
            "title": f"{type(self.flow).__name__} flow" + (f" of {of_energy}" if self.flow.energies else ""),
            "energy": repr(self.energy),
            "flow": repr(self.flow),
            "start": repr(self.start),
            **({"grid": json.dumps(self.start.grid.description())} if is_grid else {}),
            "dt": self.dt,
            "dt_used": json.dumps(sorted(set(self.sizes.tolist()), reverse=True)),
            "n_steps": self.n_steps,
            "seed": self.seed,
            "backend": backend.name,
            "device": backend.device,
            **dataset_attrs(self.code),
            "wall_time": round(time.perf_counter() - self.began, 6),
        }


def _merged(sizes: np.ndarray) -> np.ndarray:
    """Make step sizes equal that differ by the rounding of the save times only: every new dt costs a preparation."""
    order = np.argsort(sizes, kind="stable")
    ascending = sizes[order]
    starts = np.flatnonzero(np.diff(ascending, prepend=-1.0) > 1e-11 * ascending)
    first_in_time = np.minimum.reduceat(order, starts) if len(sizes) else order
    group = np.searchsorted(starts, np.arange(len(sizes)), side="right") - 1
    merged = np.empty_like(sizes)
    merged[order] = sizes[first_in_time[group]]
    return merged


def prepare(
    problem: Any,
    flow: Any,
    start: Any,
    t: Any,
    dt: Any,
    *,
    record: Any = (),
    keep: Any = "all",
    rng: Any = None,
    written: bool = False,
) -> Run:
    """Check the arguments of `solve`; everything that can be refused is refused here."""
    energy = NoEnergy() if problem is None else KL(problem) if isinstance(problem, Target) else problem
    if not isinstance(energy, Energy):
        raise TypeError(
            "the problem must be a Target or an Energy, or None for a flow that needs none, got "
            f"{type(problem).__name__}"
        )
    if not isinstance(flow, Flow):
        raise TypeError(f"flow must be a Flow such as Strang(FisherRao(), SinkhornKernel()), got {shown(flow)}")
    if is_array(start):
        start = positions_of("start", start)
    if not isinstance(start, Density | Particles):
        raise TypeError(
            f"start must be a Density, Particles or an array of positions, got {type(start).__name__}; "
            "put a distribution on a grid with grid.density(distribution), or draw from it with .sample(n, rng)"
        )
    times = save_times(t)
    refuse_no_entries("record", record)
    step = positive("dt", dt, "the largest step of time")
    checked_seed("rng", rng)
    generator = generator_of(rng) if flow.random else None
    seed = str(rng) if isinstance(rng, int | np.integer) else rng_state(generator)
    flow.check(energy, start)
    kept, keep_words = kept_frames(keep, times)
    check_memory(flow, start, len(kept), written)
    _check_start(energy, start, times)
    start = flow.begin(start)
    run = Run(
        energy=energy,
        flow=flow,
        start=start,
        times=times,
        dt=step,
        records=named_records(record),
        kept=kept,
        keep=keep_words,
        rng=generator,
        seed=seed,
    )
    _check_limits(run)
    _check_names(run)
    return run


def _check_names(run: Run) -> None:
    """Check that no record has the name of a coordinate."""
    for name in run.records:
        if name in run.start.coordinates():
            raise ValueError(f"a record cannot be named {name!r}, which is a coordinate of the Dataset")


def _check_start(energy: Energy, start: Any, times: np.ndarray) -> None:
    """Check that the start is finite with mass one, and that the target fits its space."""
    if not start.is_finite():
        raise ValueError(
            "the start is not finite in every cell (a density of zero has no logarithm): give it a positive density "
            "everywhere, for instance a mixture with a small part of the target"
        )
    if abs(start.mass - 1) > precision_of(start).mass:
        raise ValueError(f"the start has a mass of {start.mass:.12g}, not 1: use start.normalised()")
    if isinstance(start, Density):
        for t in times if energy.moving else times[:1]:
            energy.check(start.grid, float(t))


def precision_of(state: Any) -> Precision:
    """Return the floating-point precision of a state."""
    return state.grid.backend.precision if isinstance(state, Density) else DOUBLE


def _check_limits(run: Run) -> None:
    """Check that the steps that save times and `dt` ask for are within the limits of the flow."""
    if len(run.sizes) == 0:
        return
    ends = (run.times[0], run.times[-1]) if run.energy.moving else run.times[:1]
    limits = [run.flow.dt_bounds(run.energy.at(float(t)), run.start) for t in ends]
    low, high = max(low for low, _ in limits), min(high for _, high in limits)
    smallest, largest = float(run.sizes.min()), float(run.sizes.max())
    if low > high:
        raise ValueError(
            f"no dt fits {run.flow!r} on this grid: its smallest sub-step is resolved for dt >= {low:.6g}, but its "
            f"largest converges only for dt <= {high:.6g} (rate * dt * V'' < 1): use about {math.sqrt(low / high):.2g} "
            "times the cells per axis, a lower order, or the flow without Extrapolated"
        )
    if smallest < low * (1 - 1e-9):
        factor = math.sqrt(low / smallest)
        if not math.isfinite(factor):
            raise ValueError(
                f"dt or the distance of the save times t is {smallest:g}, which is no step: use larger ones"
            )
        if isinstance(run.start, Density):
            cells = tuple(math.ceil(n * factor) for n in run.start.grid.shape)
            widest = max(axis.dx for axis in run.start.grid.axes)
            remedy = f"a finer grid (about {factor:.3g} times the cells per axis, shape={cells})"
            where = f" on cells of {'' if run.start.grid.is_uniform else 'up to '}{widest:.4g}"
        else:
            remedy, where = "another flow", ""
        lengths = np.diff(run.times)
        most = np.floor(lengths / low * (1 + 1e-9))  # steps that an interval between save times can take
        if (most >= 1).all():
            enough = math.ceil(1e6 * (lengths / most).max()) / 1e6 if low > 1e-3 else float((lengths / most).max())
            larger = f"a larger dt (at least {enough:.6g} with these save times)"
        else:
            larger = f"save times further apart (at least {low:.6g}, and dt not below)"
        raise ValueError(
            f"dt={run.dt:.6g} is too small for {run.flow!r}{where}: it makes a step of {smallest:.6g}, but the "
            f"smallest sub-step is resolved from {low:.6g} on; use {larger}, or {remedy}"
        )
    if largest > high * (1 + 1e-9):
        raise ValueError(
            f"dt={run.dt:.6g} is too large for {run.flow!r} on this target: the expansion of the error in dt, which is "
            f"extrapolated, converges only for dt <= {high:.6g} (rate * dt * V'' < 1): use a smaller dt, or the flow "
            "without Extrapolated, which takes any dt"
        )
