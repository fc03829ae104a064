"""Bring your own: samplers that are any callable, and samples from files, in the Dataset that `solve` gives."""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.util
import json
import os
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from wfr_pde.deadline import check_deadline
from wfr_pde.energies import KL
from wfr_pde.flows.base import Flow
from wfr_pde.integrate.time_loop import generator_of, rng_state, save_times, state_attrs
from wfr_pde.space.density import Density, Particles
from wfr_pde.storage import files as storage
from wfr_pde.storage.source_hash import source_hash
from wfr_pde.targets.base import Target

if TYPE_CHECKING:
    import xarray as xr

Array = np.ndarray[Any, np.dtype[np.float64]]

SAME_TIME = 1e-9  # relative to the largest of the times, or to one
ARRAYS = ("positions", "times", "log_weights", "weights")  # of an .npz file
NETCDF = (".nc", ".nc4", ".netcdf", ".h5", ".hdf5")


def run_sampler(
    sampler: Callable[..., Any],
    target: Target,
    start: Target | Density | Particles | np.ndarray,
    t: ArrayLike,
    n: int | None = None,
    *,
    rng: int | np.random.Generator | None = 0,
    **options: Any,
) -> xr.Dataset:
    """Run a sampler that is no Flow, and return what `solve` would.

    Parameters
    ----------
    sampler : callable
        ``sampler(target, start_positions, times, rng, **options)`` with the positions (n, d) at times[0], the save
        times (n_t,) and a numpy Generator. It yields, or returns an iterable of, one tuple
        (t, positions, log_weights or None) for every save time in order; the first save time may be left out. What is
        yielded is copied: arrays may be used again.
    target : Target
    start : Target, Density, Particles, or array (n, d)
        What the positions at t[0] are drawn from, as by `start.sample(n, rng)`; or these themselves.
    t : array (n_t,)
        Save times, increasing; the first is the time of the start.
    n : int, optional
        Number of particles to draw; not needed where the start is one of particles.
    rng : int or numpy Generator
        With a seed, start and random numbers are those of `solve(target, flow, start.sample(n, rng=seed), ...,
        rng=seed)`: different samplers start at the same places.
    **options
        Passed on to the sampler.

    Returns
    -------
    xarray.Dataset
        `position` (t, particle, dim) and `log_weight` (t, particle); the attribute `method` has the dotted name of the
        sampler, `seed` the seed.

    Raises
    ------
    TypeError, ValueError
        For arguments that do not fit, or where what was yielded does: other times, shapes that differ, positions that
        are not finite, weights that sum to zero. Exceptions of the sampler pass, with a note of when they came.
    """
    name = _checked_sampler(sampler)
    if not isinstance(target, Target):
        raise TypeError(f"target must be a Target such as Gaussian(mean=0, covariance=1), got {type(target).__name__}")
    times = save_times(t)
    if not isinstance(rng, int | np.integer):
        rng = np.random.default_rng(rng)
    seed = rng_state(rng) if isinstance(rng, np.random.Generator) else str(rng)
    positions = _start_positions(start, target, n, rng)
    began = time.perf_counter()
    frames = _Frames(name, times, positions)
    results = _results(sampler, name, frames, (target, positions.copy(), times.copy(), generator_of(rng)), options)
    for result in results:
        check_deadline()
        frames.append(result)
    frames.check_complete()
    return _dataset(
        times,
        frames.positions,
        frames.log_weights,
        {
            "title": f"samples of {name}",
            "energy": repr(KL(target)),
            "method": name,
            "options": json.dumps({key: repr(value) for key, value in options.items()}),
            "start": repr(start if isinstance(start, Target | Density) else Particles(positions)),
            "seed": seed,
            "backend": "numpy",
            "device": "cpu",
            "versions": json.dumps(dict(storage.versions())),
            "commit": storage.commit(),
            "source_hash": source_hash(),
            "wall_time": round(time.perf_counter() - began, 6),
        },
    )


def _checked_sampler(sampler: Any) -> str:
    """Its dotted name, if it can be called."""
    if isinstance(sampler, Flow):
        raise TypeError(f"{sampler!r} is a Flow: run it with solve(target, flow, start.sample(n, rng), t, dt, rng=rng)")
    if not callable(sampler):
        raise TypeError(f"sampler must be a callable f(target, start_positions, times, rng), got {sampler!r}")
    return dotted_name(sampler)


def dotted_name(function: Any) -> str:
    """Name of a callable with that of its module; of a partial one, that of what it calls."""
    while isinstance(function, functools.partial):
        function = function.func
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{named.__qualname__}"


def _start_positions(start: Any, target: Target, n: int | None, rng: int | np.random.Generator) -> Array:
    """Positions (n, d) at the first time."""
    if isinstance(start, np.ndarray):
        start = Particles(start)
    if not isinstance(start, Target | Density | Particles):
        raise TypeError(
            f"start must be a Target, a Density, Particles or an array of positions, got {type(start).__name__}"
        )
    if start.ndim != target.ndim:
        raise ValueError(f"the start is {start.ndim}-dimensional, but the target {target.ndim}-dimensional")
    if not isinstance(start, Particles):
        if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
            raise ValueError(f"n must be the number of particles to draw from the start, a whole number > 0, got {n!r}")
        return np.asarray(start.sample(int(n), rng=rng), dtype=np.float64)
    if n is not None and n != len(start.positions):
        raise ValueError(f"n={n}, but the start has {len(start.positions)} particles: leave n out")
    if np.ptp(start.log_weights) > 1e-12:
        raise ValueError(
            "the particles of the start have different weights, which a sampler that is given positions does not "
            "know: draw equally weighted ones with start.sample(n, rng)"
        )
    return start.positions


def _results(
    sampler: Callable[..., Any], name: str, frames: _Frames, arguments: tuple[Any, ...], options: dict[str, Any]
) -> Iterator[Any]:
    """What the sampler yields; its exceptions get a note of when they came."""
    try:
        results = sampler(*arguments, **options)
        iterator = iter(results) if hasattr(results, "__iter__") else None
    except Exception as error:
        error.add_note(f"(raised by the sampler {name}, {frames.progress()})")
        raise
    if iterator is None:
        raise TypeError(
            f"{name} returned {type(results).__name__}, which is no iterable: it must yield, or return a list of, "
            "tuples (t, positions, log_weights or None)"
        )
    if isinstance(results, list | tuple):
        _check_apart(results, name)
    while True:
        try:
            result = next(iterator)
        except StopIteration:
            return
        except Exception as error:
            error.add_note(f"(raised by the sampler {name}, {frames.progress()})")
            raise
        yield result


def _check_apart(results: list[Any] | tuple[Any, ...], name: str) -> None:
    """Refuse a list that holds one array many times, which was changed in place and now has the last values only."""
    arrays = [id(result[1]) for result in results if isinstance(result, tuple | list) and len(result) == 3]
    if len(set(arrays)) < len(arrays):
        raise ValueError(
            f"{name} returned the same array of positions for several times, so that all have its last values: append "
            "positions.copy(), or yield them one by one"
        )


class _Frames:
    """What a sampler has yielded so far, checked."""

    def __init__(self, name: str, times: Array, start: Array) -> None:
        self.name, self.times, self.start = name, times, start
        self.tolerance = SAME_TIME * max(1.0, float(np.abs(times).max()))
        self.count = 0
        self.positions: Array = np.empty((0, *start.shape))
        self.log_weights: Array = np.empty((0, len(start)))

    def progress(self) -> str:
        """How far the sampler has come, in words."""
        return f"after t={self.times[self.count - 1]:g}" if self.count else "before it yielded anything"

    def append(self, result: Any) -> None:
        """Check and store what was yielded."""
        if not isinstance(result, tuple | list) or len(result) != 3:
            raise TypeError(
                f"{self.name} yielded {_in_words(result)} {self.progress()}: it must yield tuples "
                "(t, positions, log_weights), with None for equal weights"
            )
        t, positions, log_weights = result
        time = self._checked_time(t)
        if self.count == 0 and abs(time - self.times[0]) > self.tolerance:
            self._store(Particles(self.start))  # the first time was left out
        self._check_expected(time)
        self._store(self._particles(time, positions, log_weights))

    def _checked_time(self, t: Any) -> float:
        try:
            time = float(t)
        except (TypeError, ValueError):
            time = np.nan
        if not np.isfinite(time):
            raise ValueError(f"{self.name} yielded the time {t!r} {self.progress()}: it must be a finite number")
        return time

    def _check_expected(self, time: float) -> None:
        """The time must be the next one asked for."""
        if self.count == len(self.times):
            raise ValueError(
                f"{self.name} yielded t={time:.12g} after the last save time {self.times[-1]:.12g}: it must stop there"
            )
        expected = float(self.times[self.count])
        if abs(time - expected) > self.tolerance:
            raise ValueError(
                f"{self.name} yielded t={time:.12g}, but the next save time is {expected:.12g}: it must yield at every "
                "one of `times`, in order, and nowhere else"
            )

    def _particles(self, time: float, positions: Any, log_weights: Any) -> Particles:
        """The particles of one time, checked by themselves and against those before."""
        where = f"{self.name} yielded at t={time:g}"
        d = self.start.shape[1]
        try:
            positions = np.asarray(positions, dtype=np.float64)
            log_weights = None if log_weights is None else np.asarray(log_weights, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{where} what are no arrays of numbers: {error}") from error
        if positions.ndim != 2 or positions.shape[1] != d:
            raise ValueError(
                f"{where} positions of shape {positions.shape}: they must have shape (n, {d}), one row per particle"
            )
        if self.count and len(positions) != self.positions.shape[1]:
            remedy = "keep their number (weights of zero, log_weights=-inf, for those that died)"
            if self.count == 1:
                remedy += ", or yield all of them at the first save time too"
            raise ValueError(f"{where} {len(positions)} particles, after {self.positions.shape[1]} before: {remedy}")
        try:
            return Particles(positions, log_weights)
        except ValueError as error:
            raise ValueError(f"{where} what cannot be particles: {error}") from error

    def _store(self, particles: Particles) -> None:
        if self.count == 0:
            self.positions = np.empty((len(self.times), *particles.positions.shape))
            self.log_weights = np.empty(self.positions.shape[:2])
        self.positions[self.count] = particles.positions
        self.log_weights[self.count] = particles.log_weights
        self.count += 1

    def check_complete(self) -> None:
        """Refuse a sampler that stopped early."""
        if self.count < len(self.times):
            raise ValueError(
                f"{self.name} stopped {self.progress()}: it must go on and yield at the {len(self.times) - self.count} "
                f"save times from t={self.times[self.count]:g} on too"
            )


def _in_words(result: Any) -> str:
    """What something is, shortly."""
    if isinstance(result, np.ndarray):
        return f"an array of shape {result.shape}"
    if isinstance(result, tuple | list):
        return f"{len(result)} things"
    return f"{type(result).__name__}"


def _dataset(times: Array, positions: Array, log_weights: Array, attrs: dict[str, Any]) -> xr.Dataset:
    """Particles (..., t, particle, dim) in the schema of `solve`; in front there may be the dimension `seed`."""
    import xarray as xr

    dims = ("seed", "t", "particle", "dim")[-positions.ndim :]
    variables = {
        "position": (dims, positions, state_attrs("position")),
        "log_weight": (dims[:-1], log_weights, state_attrs("log_weight")),
    }
    coordinates = {"t": (("t",), times, {"long_name": "time", "units": "1"})}
    return xr.Dataset(variables, coords=coordinates, attrs=attrs)


def load_callable(where: str) -> Any:
    """The callable, or Flow, that a text names: "package.module:name", "package.module.name" or "path/to/file.py:name".

    The current directory, or that of the file, is put first on the module path, as Python does for what it runs.

    Raises
    ------
    FileNotFoundError, ImportError
        If there is no such file, module or name.
    TypeError, ValueError
        If it is neither, or the text is none of the above.
    """
    text = str(where)
    module, colon, name = text.rpartition(":")
    if not colon and text.endswith(".py"):
        raise ValueError(f"{text!r} names a file only: write {text}:NAME with the name of a function in it")
    if colon and module.endswith(".py"):
        found = _attribute(_file_module(Path(module)), name, text)
    elif colon:
        found = _attribute(_module(module, text), name, text)
    else:
        found = _dotted(text)
    if not callable(found) and not isinstance(found, Flow):
        raise TypeError(
            f"{text!r} is {type(found).__name__}, which cannot be called: name a function, a class or a Flow"
        )
    return found


def _dotted(text: str) -> Any:
    """What "package.module.name" names, with as many parts as there are modules."""
    parts = text.split(".")
    if len(parts) < 2 or not all(part.isidentifier() for part in parts):
        raise ValueError(f"{text!r} names no callable: write package.module:name, or path/to/file.py:name")
    for k in range(len(parts) - 1, 0, -1):
        module = ".".join(parts[:k])
        try:
            return _attribute(_module(module, text), ".".join(parts[k:]), text)
        except ModuleNotFoundError as error:
            if k == 1 or error.name is None or not f"{module}.".startswith(f"{error.name}."):
                raise
    raise AssertionError  # the last module raises or returns


def _module(name: str, text: str) -> ModuleType:
    """A module by its name."""
    if not all(part.isidentifier() for part in name.split(".")):
        raise ValueError(f"{text!r} names no module: write package.module:name, or path/to/file.py:name")
    _put_first(Path.cwd())
    importlib.invalidate_caches()  # the file may be new
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            error.add_note(f"(imported by {name}, for {text!r})")
            raise
        raise ModuleNotFoundError(
            f"there is no module {error.name!r} for {text!r}, neither installed nor in {Path.cwd()}: check the name, "
            "or give path/to/file.py:name",
            name=error.name,
        ) from None


def _file_module(path: Path) -> ModuleType:
    """A file as a module, under its own name where that is free."""
    path = path.expanduser().resolve()
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {str(path)!r}")
    name = path.stem
    if not name.isidentifier() or not _is_free(name, path):
        name = f"file_{hashlib.sha256(os.fsencode(path)).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    _put_first(path.parent)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None  # for a name that ends in .py there is one
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickles look there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _is_free(name: str, path: Path) -> bool:
    """Whether a module of that name is the file's, or there is none."""
    if name in sys.modules:
        return getattr(sys.modules[name], "__file__", None) == str(path)
    return importlib.util.find_spec(name) is None or Path(f"{name}.py").resolve() == path


def _put_first(directory: Path) -> None:
    if str(directory) not in sys.path:
        sys.path.insert(0, str(directory))


def _attribute(module: ModuleType, name: str, text: str) -> Any:
    """What a module calls `name`, which may have dots."""
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            here = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
            raise ImportError(
                f"{text!r}: {getattr(found, '__name__', type(found).__name__)} has no {part!r}; it has "
                f"{', '.join(here[:8]) or 'nothing that can be called'}"
            )
        found = getattr(found, part)
    return found


def read_samples(path: str | Path) -> xr.Dataset:
    """Samples of any method from a file, in the Dataset that `solve` gives.

    Parameters
    ----------
    path : path
        An .npz file with the arrays `positions` (n_t, n, d), or (n, d) for one time, or (n_seeds, n_t, n, d);
        `times` (n_t,); and `log_weights` or `weights`, of the shape of `positions` less the last axis, up to a
        constant, equal by default. Or a NetCDF file with `position` (t,
        particle, dim), in front of it perhaps `seed`, and perhaps `log_weight`; or the directory of a run of `solve`.

    Returns
    -------
    xarray.Dataset
        `position` ([seed,] t, particle, dim) and `log_weight` ([seed,] t, particle), normalised. The attribute
        `method` is the file's own, or the name of the file where it has neither that nor `flow`.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such file, or it holds something else.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no file {str(path)!r}")
    if path.is_dir():
        return _from_netcdf(storage.open_run(path), path)
    if path.suffix == ".npz":
        return _from_npz(path)
    if path.suffix in NETCDF:
        return _from_netcdf(storage.read_dataset(path), path)
    raise ValueError(f"{path} has the ending {path.suffix!r}: samples are read from .npz or NetCDF ({NETCDF[0]})")


def _from_npz(path: Path) -> xr.Dataset:
    """Samples from arrays."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (zipfile.BadZipFile, ValueError) as error:
        raise ValueError(f"{path} is no .npz file of numbers: {error}; write it with numpy.savez") from error
    has = ", ".join(f"{name} {array.shape}" for name, array in arrays.items()) or "nothing"
    unknown = sorted(set(arrays) - set(ARRAYS))
    if "positions" not in arrays or unknown:
        cause = f"does not know what {unknown[0]!r} is" if "positions" in arrays else "misses the array 'positions'"
        raise ValueError(f"{path} has {has}, and read_samples {cause}: name the arrays {', '.join(ARRAYS)}")
    positions = arrays["positions"]
    if positions.ndim == 2:
        positions = positions[None]
    if positions.ndim not in (3, 4):
        raise ValueError(
            f"{path} has positions of shape {positions.shape}: they must have shape (n, d), (n_t, n, d) or (n_seeds, "
            "n_t, n, d)"
        )
    times = arrays.get("times")
    if times is None:
        count = positions.shape[-3]
        raise ValueError(
            f"{path} has positions {arrays['positions'].shape} at {count} time{'s' * (count > 1)}, but no array "
            f"'times': add it, of shape ({count},)"
        )
    log_weights = _log_weights(arrays, path)
    return _checked(path, np.atleast_1d(times), positions, log_weights, {"title": f"samples of {path.name}"})


def _log_weights(arrays: dict[str, Array], path: Path) -> Array | None:
    """The log-weights of an .npz file."""
    if "weights" not in arrays:
        return arrays.get("log_weights")
    if "log_weights" in arrays:
        raise ValueError(f"{path} has both weights and log_weights: leave one out")
    weights = arrays["weights"]
    if not (weights >= 0).all():
        raise ValueError(f"{path} has the weight {weights[~(weights >= 0)][0]}: weights must be >= 0, log_weights any")
    with np.errstate(divide="ignore"):
        return np.log(weights)


def _from_netcdf(ds: xr.Dataset, path: Path) -> xr.Dataset:
    """Samples from a Dataset of particles."""
    if "position" not in ds:
        raise ValueError(
            f"{path} misses the variable 'position' (t, particle, dim); it has {', '.join(map(str, ds.data_vars))}"
        )
    position = ds["position"]
    time_dim = "t_kept" if "t_kept" in position.dims else "t"
    dims = (*(("seed",) if "seed" in position.dims else ()), time_dim, "particle", "dim")
    if set(position.dims) != set(dims):
        raise ValueError(
            f"{path} has position with the dimensions {position.dims}: they must be ([seed,] t, particle, dim)"
        )
    if time_dim not in ds.coords:
        raise ValueError(f"{path} has no coordinate {time_dim!r} with the times of its {ds.sizes[time_dim]} frames")
    log_weights = None
    if "log_weight" in ds:
        if set(ds["log_weight"].dims) != set(dims[:-1]):
            raise ValueError(
                f"{path} has log_weight with the dimensions {ds['log_weight'].dims}: they must be {dims[:-1]}"
            )
        log_weights = ds["log_weight"].transpose(*dims[:-1]).values
    result = _checked(path, ds[time_dim].values, position.transpose(*dims).values, log_weights, dict(ds.attrs))
    return result.assign_coords(seed=ds["seed"]) if "seed" in ds.coords and "seed" in dims else result


def _checked(path: Path, times: Any, positions: Any, log_weights: Any, attrs: dict[str, Any]) -> xr.Dataset:
    """The Dataset, with normalised weights, if every frame is one of particles."""
    try:
        times, positions = np.asarray(times, dtype=np.float64), np.asarray(positions, dtype=np.float64)
        weighted = None if log_weights is None else np.asarray(log_weights, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} has what are no numbers: {error}") from error
    shape = positions.shape
    if times.shape != shape[-3:-2] or not np.isfinite(times).all() or (np.diff(times) <= 0).any():
        raise ValueError(
            f"{path} has times {np.array2string(times, threshold=6)} of shape {times.shape} for positions of shape "
            f"{shape}: they must be {shape[-3]} finite, increasing times"
        )
    if weighted is not None and weighted.ndim == positions.ndim - 2 and shape[-3] == 1:
        weighted = np.expand_dims(weighted, -2)  # of one time, as positions may be
    if weighted is not None and weighted.shape != shape[:-1]:
        raise ValueError(
            f"{path} has weights of shape {weighted.shape} for positions of shape {shape}: one per particle"
        )
    normalised = np.empty(shape[:-1])
    for index in np.ndindex(*shape[:-2]):
        try:
            particles = Particles(positions[index], None if weighted is None else weighted[index])
        except ValueError as error:
            seed = f" for seed number {index[0]}" if len(index) > 1 else ""
            raise ValueError(f"{path} has at t={times[index[-1]]:g}{seed} what cannot be particles: {error}") from error
        normalised[index] = particles.log_weights
    if not {"method", "flow"} & attrs.keys():
        attrs = {"method": path.stem} | attrs
    return _dataset(times, positions, normalised, attrs)
