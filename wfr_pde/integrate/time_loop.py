"""The verb `solve`: the only time loop."""

from __future__ import annotations

import hashlib
import json
import math
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from wfr_pde.deadline import check_deadline
from wfr_pde.energies import KL, Energy
from wfr_pde.errors import NumericalError
from wfr_pde.flows.base import Flow
from wfr_pde.numerics.backends import get_backend
from wfr_pde.numerics.precision import DOUBLE, SINGLE, Precision
from wfr_pde.space.density import Density, Particles
from wfr_pde.storage import files as storage
from wfr_pde.storage.source_hash import code_attrs
from wfr_pde.targets.base import Target

if TYPE_CHECKING:
    import xarray as xr

Record = Callable[[Any, Energy], Any]
MASS_TOLERANCE = 1e-10  # plus 1e-13 per step: rounding adds up to far less
PIECES = 6  # arrays of a piece that are at work, by all threads together
VOLUMES = 5  # more of them on graded cells: volumes, their logarithms, and the check that the cells resolve the state
MAX_SUBSTEPS = 1e12
SECONDS_PER_SEGMENT = 10.0
BYTES_PER_SEGMENT = 2**27


def solve(
    problem: Target | Energy,
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
    """Advance a measure along a flow and return what it was at the save times.

    Parameters
    ----------
    problem : Target or Energy
        What the flow goes down; a target means KL(target).
    flow : Flow
    start : Density, Particles, or array (n, d) of positions
        The measure at time t[0].
    t : array (n_t,)
        Save times, increasing; the first is the time of `start`.
    dt : float
        Largest step. Each interval between save times is cut into equal steps; what was used is in the attributes.
    record : functions, or mapping name -> function
        Evaluated at every save time as f(state, energy) -> number or array; an Energy records its value.
    keep : "all", "last", or times
        Which states are stored; times are a subset of `t`. With "all" they share the dimension `t` with the
        records, else they have a dimension `t_kept` of their own.
    out : path, optional
        Directory that the run is written to as it goes. If it holds the same run, unfinished, that is continued,
        to the same bits; a finished one is read, with a warning where other code of the package computed it.
    rng : int or numpy Generator, optional
        For random flows. A seed gives numbers that are independent of those of `start.sample(n, rng=seed)`.
    progress : bool, optional
        Progress bar on stderr; by default where that is a terminal.
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
    NumericalError
        If the state loses finiteness or mass.
    """
    run = prepare(problem, flow, start, t, dt, record, keep, rng, written=out is not None)
    directory = None if out is None else storage.RunDirectory(out, run.fingerprint(), accept_other_code)
    if directory is not None:
        run.code = directory.code
    segments, frame, state = _resumed(run, directory)
    done = run.steps_before[max(frame - 1, 0)]
    with run.start.threads(), _progress_bar(progress, run.n_steps, done) as bar:
        segments += _loop(run, state, frame, directory, bar)
    ds = storage.join_segments(segments)
    if directory is not None:
        directory.finish(ds.attrs)
    return ds


def _resumed(run: Run, directory: storage.RunDirectory | None) -> tuple[list[xr.Dataset], int, Any]:
    """What is on disk already, the number of the next frame, and the state before it."""
    checkpoint = None if directory is None else directory.checkpoint()
    if directory is None or checkpoint is None:
        return [], 0, run.start
    if run.rng is not None:
        run.rng.bit_generator.state = json.loads(checkpoint.attrs["rng"])
    return (
        [storage.open_run(directory.path)],
        int(checkpoint.attrs["frame"]) + 1,
        run.start.from_variables(checkpoint),
    )


def _loop(run: Run, state: Any, first: int, directory: storage.RunDirectory | None, bar: Any) -> list[xr.Dataset]:
    """The frames from number `first` on, as segments; with a directory they are written as they come."""
    segments: list[xr.Dataset] = []
    prepared: dict[float, Any] = {}
    frames = _Frames(run)
    try:
        for frame in range(first, len(run.times)):
            if frame > 0:
                state = _advance(run, state, frame, prepared, bar)
            _check(run, state, frame)
            frames.append(frame, state)
            if frame == 0:
                frames.check_fit()
            if directory is not None and frames.due():
                segments.append(frames.write(directory))
                frames = _Frames(run)
    except BaseException:
        # interrupted, or numbers that cannot be trusted from here on: keep what is good
        if directory is not None and frames.last is not None:
            frames.write(directory)
        raise
    if frames.numbers:
        segments.append(frames.dataset() if directory is None else frames.write(directory))
    return segments


def estimated_memory(flow: Flow, start: Density | Particles, n_kept: int, written: bool = False) -> int:
    """Bytes that a run needs at most: frames, working arrays, and what the prepared steps hold.

    A run that is written to a directory puts its frames together from pieces, which takes them twice.
    """
    frames = 2 * n_kept if written else n_kept
    arrays, pieces = 2 + frames + flow.working(start), 0  # the start and the target besides
    if isinstance(start, Density):
        arrays += 0 if start.grid.is_uniform else VOLUMES
        pieces = PIECES * 8 * min(start.grid.size, start.grid.backend.chunk)
    return start.nbytes * arrays + pieces + flow.memory(start)


@dataclass
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

    def __post_init__(self) -> None:
        lengths = np.diff(self.times)
        if len(lengths) and lengths.max() / self.dt > MAX_SUBSTEPS:
            raise ValueError(
                f"dt={self.dt:.6g} cuts the interval of {lengths.max():.6g} between save times into more than "
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
        """Hash of what determines the bits of the result.

        Functions are known by their values: the target's on the grid, or at the particles, at some twenty times if it
        moves, and every record's on the start.
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
                arrays.append(_values_of(energy.at(float(t)), self.start))
        arrays.extend(self.record_values(0, self.start).values())
        for array in arrays:
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def record_values(self, frame: int, state: Any) -> dict[str, np.ndarray]:
        """What the records say of a state at a save time."""
        t = float(self.times[frame])
        energy = self.energy.at(t)
        return {
            name: np.asarray(record.at(t).value(state) if isinstance(record, Energy) else record(state, energy))
            for name, record in self.records.items()
        }

    def rng_state(self) -> str:
        """State of the random number generator as JSON; empty for a flow that is not random."""
        return rng_state(self.rng)

    def attrs(self) -> dict[str, str | int | float]:
        """Provenance: str, int and float only, mappings as JSON."""
        is_grid = isinstance(self.start, Density)
        backend = self.start.grid.backend if is_grid else get_backend("numpy")
        return {
            "title": f"{type(self.flow).__name__} flow of {type(self.energy).__name__}",
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
            "versions": json.dumps(dict(storage.versions())),
            "commit": storage.commit(),
            **self.code,
            "wall_time": round(time.perf_counter() - self.began, 6),
        }


def _values_of(energy: Any, start: Any) -> np.ndarray:
    """What tells targets apart: their values where the start is."""
    if isinstance(start, Density):
        return start.grid.backend.asnumpy(energy.log_equilibrium(start.grid))
    return np.asarray(energy.target.log_density(start.positions))


def generator_of(rng: int | np.random.Generator | None) -> np.random.Generator:
    """A seed gives other numbers than it gives to `start.sample(n, rng=seed)`: noise must not repeat the start."""
    if isinstance(rng, int | np.integer):
        return np.random.default_rng(np.random.SeedSequence(int(rng), spawn_key=(1,)))
    return np.random.default_rng(rng)


def rng_state(rng: np.random.Generator | None) -> str:
    """The state of a generator as JSON, "" of none; some bit generators hold arrays."""
    return "" if rng is None else json.dumps(rng.bit_generator.state, default=lambda array: array.tolist())


def _merged(sizes: np.ndarray) -> np.ndarray:
    """Step sizes with those made equal that differ by the rounding of the save times: a new dt costs."""
    order = np.argsort(sizes, kind="stable")
    ascending = sizes[order]
    starts = np.flatnonzero(np.diff(ascending, prepend=-1.0) > 1e-11 * ascending)
    first_in_time = np.minimum.reduceat(order, starts) if len(sizes) else order
    group = np.searchsorted(starts, np.arange(len(sizes)), side="right") - 1
    merged = np.empty_like(sizes)
    merged[order] = sizes[first_in_time[group]]
    return merged


class _Frames:
    """States and records of consecutive save times, until they become a Dataset."""

    def __init__(self, run: Run) -> None:
        self.run, self.bytes, self.began = run, 0, time.perf_counter()
        self.numbers: list[int] = []
        self.kept: list[int] = []
        self.states: dict[str, np.ndarray] = {}
        self.records: dict[str, list[np.ndarray]] = {name: [] for name in run.records}
        self.last: Any = None

    def append(self, frame: int, state: Any) -> None:
        """Store a frame, and evaluate the records."""
        values = self.run.record_values(frame, state)
        for name, value in values.items():
            self.records[name].append(value)
        if frame in self.run.kept:
            self._keep(frame, state)
        self.numbers.append(frame)
        # in one assignment: an interrupt cannot part the state from its number
        self.last = (frame, state, self.run.rng_state())

    def _keep(self, frame: int, state: Any) -> None:
        """Store a state, in arrays with room for all that may follow (memory is used as they are filled)."""
        for name, (_, values) in state.variables().items():
            if not self.kept:
                room = sum(1 for number in self.run.kept if number >= frame)
                self.states[name] = np.empty((room, *values.shape))
            self.states[name][len(self.kept)] = values
        self.kept.append(frame)
        self.bytes += state.nbytes

    def due(self) -> bool:
        """Whether it is time to write."""
        return time.perf_counter() - self.began > SECONDS_PER_SEGMENT or self.bytes > BYTES_PER_SEGMENT

    def write(self, directory: storage.RunDirectory) -> xr.Dataset:
        """Write the frames as a segment, with a checkpoint of the last state."""
        import xarray as xr

        frame, state, rng = self.last
        self._drop_after(frame)
        segment = self.dataset()
        checkpoint = xr.Dataset(state.checkpoint(), attrs={"frame": frame, "rng": rng})
        directory.append(segment, checkpoint)
        return segment

    def _drop_after(self, frame: int) -> None:
        """Forget what an interrupt left half stored."""
        self.numbers = [number for number in self.numbers if number <= frame]
        self.kept = [number for number in self.kept if number <= frame]
        self.records = {name: values[: len(self.numbers)] for name, values in self.records.items()}

    def check_fit(self) -> None:
        """Refuse records that cannot be stored together, before the run rather than after it.

        Raises
        ------
        ValueError
        """
        try:
            self.dataset()
        except ValueError as error:
            raise ValueError(
                f"the records {list(self.records)} do not fit into one Dataset with dimensions "
                f"{list(self.run.start.coordinates())}: {error}; give them other names, or other `dims`"
            ) from error

    def dataset(self) -> xr.Dataset:
        """The frames as a Dataset in the schema."""
        import xarray as xr

        run = self.run
        frame_dim = "t" if run.keep == "all" else "t_kept"
        time_attrs = {"long_name": "time", "units": "1"}
        coordinates: dict[str, Any] = dict(run.start.coordinates())
        coordinates["t"] = (("t",), run.times[self.numbers], time_attrs)
        if frame_dim == "t_kept":
            coordinates["t_kept"] = (("t_kept",), run.times[self.kept], time_attrs)
        variables: dict[str, Any] = {}
        for name, (dims, example) in run.start.variables().items():
            stored = self.states[name][: len(self.kept)] if self.kept else np.empty((0, *example.shape))
            variables[name] = ((frame_dim, *dims), stored, state_attrs(name))
        for name, values in self.records.items():
            variables[name] = _record_variable(name, run.records[name], np.stack(values))
        widths = {name: coordinates.pop(name) for name in list(coordinates) if name.startswith("cell_")}
        used = {dim for dims, *_ in variables.values() for dim in dims} | {"t"}
        coordinates = {name: value for name, value in coordinates.items() if used.issuperset(value[0])}
        return xr.Dataset(variables | widths, coords=coordinates, attrs=run.attrs())


def state_attrs(name: str) -> dict[str, str]:
    """long_name and units of a variable that holds states."""
    words = {
        "log_density": "log density, normalised",
        "position": "particle position",
        "log_weight": "log weight, normalised",
    }
    return {"long_name": words[name], "units": "nats" if name.startswith("log_") else "1"}


def _record_variable(name: str, record: Any, values: np.ndarray) -> tuple[Any, np.ndarray, dict[str, str]]:
    """Dimensions, values and attributes of a record."""
    dims = getattr(record, "dims", None)
    if dims is None or len(dims) != values.ndim - 1:
        dims = tuple(f"{name}_{k}" for k in range(values.ndim - 1))
    attrs = {"long_name": getattr(record, "long_name", name), "units": getattr(record, "units", "1")}
    return ("t", *dims), values, attrs


def prepare(
    problem: Any,
    flow: Any,
    start: Any,
    t: Any,
    dt: Any,
    record: Any = (),
    keep: Any = "all",
    rng: Any = None,
    written: bool = False,
) -> Run:
    """Check the arguments of `solve`; everything that can be refused is refused here."""
    if isinstance(problem, Target):
        problem = KL(problem)
    if not isinstance(problem, Energy):
        raise TypeError(f"the problem must be a Target or an Energy, got {type(problem).__name__}")
    if not isinstance(flow, Flow):
        raise TypeError(f"flow must be a Flow such as Strang(FisherRao(), SinkhornKernel()), got {flow!r}")
    if isinstance(start, np.ndarray):
        start = Particles(start)
    if not isinstance(start, Density | Particles):
        raise TypeError(
            f"start must be a Density, Particles or an array of positions, got {type(start).__name__}; "
            "put a distribution on a grid with grid.density(distribution), or draw from it with .sample(n, rng)"
        )
    times = save_times(t)
    step = float(dt)
    if not (math.isfinite(step) and step > 0):
        raise ValueError(f"dt must be a finite number > 0, got {dt}")
    generator = generator_of(rng) if flow.random else None
    seed = str(rng) if isinstance(rng, int | np.integer) else rng_state(generator)
    flow.check(problem, start)
    kept, keep_words = _kept_frames(keep, times)
    flow.check(problem, start)
    _check_memory(flow, start, len(kept), written)
    _check_start(problem, start, times)
    run = Run(problem, flow, start, times, step, _named(record), kept, keep_words, generator, seed)
    _check_limits(run)
    return run


def save_times(t: ArrayLike) -> np.ndarray:
    """Save times as an array, if they are finite, increasing, and at least two.

    Raises
    ------
    ValueError
    """
    times = np.atleast_1d(np.asarray(t, dtype=np.float64))
    if times.ndim == 1 and len(times) == 1:
        raise ValueError(
            f"t needs at least two save times, as the first is the time of the start, got {times.tolist()}: for the "
            f"state {times[0]:g} later write t=[0, {times[0]:g}]"
        )
    if times.ndim != 1 or len(times) == 0 or not np.isfinite(times).all() or (np.diff(times) <= 0).any():
        raise ValueError(f"t must be finite, increasing save times, got {np.array2string(times, threshold=6)}")
    return times


def _kept_frames(keep: Any, times: np.ndarray) -> tuple[frozenset[int], str]:
    """Numbers of the frames to keep, and `keep` in words."""
    if isinstance(keep, str):
        if keep not in ("all", "last"):
            raise ValueError(f'keep must be "all", "last" or some of the save times, got {keep!r}')
        return frozenset(range(len(times)) if keep == "all" else [len(times) - 1]), keep
    if keep is None:
        raise ValueError('keep must be "all", "last" or some of the save times, got None')
    wanted = np.atleast_1d(np.asarray(keep, dtype=np.float64))
    nearest = np.abs(times[:, None] - wanted[None, :]).argmin(axis=0)
    missing = ~(np.abs(times[nearest] - wanted) <= 1e-9 * max(1.0, float(np.abs(times).max())))
    if missing.any():
        raise ValueError(f"keep has the time {wanted[missing][0]}, which is not among the save times t")
    kept = np.unique(nearest)
    return frozenset(kept.tolist()), "times " + json.dumps(times[kept].tolist())


def _named(record: Any) -> dict[str, Any]:
    """Records by name."""
    if callable(record) or isinstance(record, Energy):
        record = [record]
    if not isinstance(record, Iterable) or isinstance(record, str):
        raise TypeError(
            f"record takes functions f(state, energy), such as [KL(target), diagnostics.mean], or a mapping of them, "
            f"got {record!r}"
        )
    named = dict(record) if isinstance(record, Mapping) else {}
    for entry in () if isinstance(record, Mapping) else record:
        name = entry.name if isinstance(entry, Energy) else getattr(entry, "__name__", "<lambda>")
        if name == "<lambda>":
            raise ValueError(f"the record {entry!r} has no name: give a mapping {{name: function}}")
        if name in named:
            raise ValueError(f"two records are named {name!r}: give a mapping {{name: function}}")
        named[name] = entry
    for name, entry in named.items():
        if not isinstance(name, str) or not name.isidentifier():
            raise ValueError(f"a record needs a name of letters, digits and _, got {name!r}")
        if isinstance(entry, type):
            raise TypeError(f"the record {name!r} is the class {entry.__name__}: give an object, {entry.__name__}(...)")
        if not callable(entry) and not isinstance(entry, Energy):
            raise TypeError(f"the record {name!r} is neither a function f(state, energy) nor an Energy: {entry!r}")
        if name in ("t", "t_kept", "log_density", "position", "log_weight") or name.startswith("cell_"):
            raise ValueError(f"a record cannot be named {name!r}, which the Dataset uses itself")
    return named


def _check_memory(flow: Flow, start: Any, n_kept: int, written: bool) -> None:
    needed = estimated_memory(flow, start, n_kept, written)
    backend = start.grid.backend if isinstance(start, Density) else get_backend("numpy")
    available = backend.available_memory()
    if available is not None and needed > available:
        raise MemoryError(
            f"the run needs about {needed / 2**30:.2g} GiB ({n_kept} stored frames), but {available / 2**30:.2g} GiB "
            'are free: store fewer frames (keep="last" or times), or use fewer cells'
        )


def _check_start(energy: Energy, start: Any, times: np.ndarray) -> None:
    """The start is finite with mass one; the target fits its space."""
    if not start.is_finite():
        raise ValueError(
            "the start is not finite in every cell (a density of zero has no logarithm): give it a positive density "
            "everywhere, for instance a mixture with a small part of the target"
        )
    if abs(start.mass - 1) > _precision(start).mass:
        raise ValueError(f"the start has a mass of {start.mass:.12g}, not 1: use start.normalised()")
    if isinstance(start, Density):
        for t in (times[0], times[-1]) if energy.moving else times[:1]:
            energy.check(start.grid, float(t))


def _precision(state: Any) -> Precision:
    """Of the numbers of a state."""
    return state.grid.backend.precision if isinstance(state, Density) else DOUBLE


def _check_limits(run: Run) -> None:
    """The steps that the save times and `dt` ask for must be within the limits of the flow."""
    if len(run.sizes) == 0:
        return
    ends = (run.times[0], run.times[-1]) if run.energy.moving else run.times[:1]
    limits = [run.flow.limits(run.energy.at(float(t)), run.start) for t in ends]
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


def _advance(run: Run, state: Any, frame: int, prepared: dict[float, Any], bar: Any) -> Any:
    """From the save time before `frame` to that of `frame`."""
    h = float(run.sizes[frame - 1])
    if h not in prepared:
        prepared.clear()  # steps of one size at a time: they hold memory
        prepared[h] = run.flow.make_steps(run.energy, run.start, h)

    def watch() -> None:
        check_deadline()
        bar.update()

    return prepared[h](state, float(run.times[frame - 1]), int(run.n_substeps[frame - 1]), run.rng, watch)


def _check(run: Run, state: Any, frame: int) -> None:
    """Finiteness; mass where the flow promises it; on a graded grid, that the cells resolve the state."""
    t = float(run.times[frame])
    if not state.is_finite():
        raise NumericalError(
            f"the state is not finite at t={t:.6g}: use a smaller dt (extrapolation needs rate*dt*|V''| < 1), or a "
            "lower order"
        )
    if "mass" in run.flow.preserves:
        precision = _precision(state)
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


class _NoBar:
    """A progress bar that shows nothing."""

    def __enter__(self) -> _NoBar:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def update(self) -> None:
        """Nothing."""


def _progress_bar(progress: bool | None, total: int, done: int) -> Any:
    """A bar on stderr where wanted, by default on a terminal only."""
    if progress is None:
        progress = sys.stderr.isatty()
    if not progress:
        return _NoBar()
    from tqdm import tqdm

    return tqdm(total=total, initial=done, unit="step", leave=False)
