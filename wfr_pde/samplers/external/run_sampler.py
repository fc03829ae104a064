"""Run a sampler of others, which may be any callable, and check what it yields."""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from wfr_pde.energies import KL
from wfr_pde.flows.base import Flow
from wfr_pde.integrate.randomness import generator_of, rng_state
from wfr_pde.integrate.save_times import save_times
from wfr_pde.numerics.arguments import finite, generator, instance, is_array, real_array, shown, whole
from wfr_pde.numerics.arguments import seed as seed_of
from wfr_pde.numerics.counted import counted
from wfr_pde.numerics.deadline import check_deadline
from wfr_pde.numerics.typing import Array
from wfr_pde.samplers.external.dataset import particle_dataset
from wfr_pde.samplers.external.load_callable import dotted_name
from wfr_pde.space.density import Density
from wfr_pde.space.particles import Particles, positions_of
from wfr_pde.storage.provenance import dataset_attrs
from wfr_pde.targets.arguments import dimension_in_words
from wfr_pde.targets.base import Target

if TYPE_CHECKING:
    import xarray as xr

# by which a time that is yielded may differ, relative to the largest of the times, or to one: rounding of sums of steps
SAME_TIME = 1e-9


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
        What the sampler samples; it is passed on.
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

    Examples
    --------
    A sampler that moves all particles to the left at speed one:

    >>> import wfr_pde as wfr
    >>> def drift(target, positions, times, rng):
    ...     for t in times:
    ...         yield t, positions - t, None
    >>> ds = wfr.run_sampler(drift, wfr.Gaussian(0, 1), wfr.Particles([[2.0], [4.0]]), t=[0, 0.5, 1])
    >>> ds.position.mean("particle").values.ravel().tolist()
    [3.0, 2.5, 2.0]
    """
    name = _checked_sampler(sampler)
    instance("target", target, Target, "such as Gaussian(mean=0, covariance=1)")
    times = save_times(t)
    rng = seed_of("rng", rng)
    if not isinstance(rng, int):
        rng = generator(rng)
    seed = rng_state(rng) if isinstance(rng, np.random.Generator) else str(rng)
    positions = _start_positions(start, target, n, rng)
    began = time.perf_counter()
    frames = _Frames(name, times, positions)
    results = _results(sampler, name, frames, (target, positions.copy(), times.copy(), generator_of(rng)), options)
    for result in results:
        check_deadline()
        frames.append(result)
    frames.check_complete()
    return particle_dataset(
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
            **dataset_attrs(),
            "wall_time": round(time.perf_counter() - began, 6),
        },
    )


def _checked_sampler(sampler: Any) -> str:
    """Return the dotted name of a sampler, if it can be called."""
    if isinstance(sampler, Flow):
        raise TypeError(f"{sampler!r} is a Flow: run it with solve(target, flow, start.sample(n, rng), t, dt, rng=rng)")
    if not callable(sampler):
        raise TypeError(f"sampler must be a callable f(target, start_positions, times, rng), got {shown(sampler)}")
    return dotted_name(sampler)


def _start_positions(start: Any, target: Target, n: int | None, rng: int | np.random.Generator) -> Array:
    """Return the positions (n, d) at the first time: drawn from the start, or the particles of the start."""
    if is_array(start):
        start = positions_of("start", start)
    if not isinstance(start, Target | Density | Particles):
        raise TypeError(
            f"start must be a Target, a Density, Particles or an array of positions, got {type(start).__name__}"
        )
    if start.ndim != target.ndim:
        raise ValueError(f"the start is {start.ndim}-dimensional, but the target {dimension_in_words(target)}")
    if not isinstance(start, Particles):
        n = whole("n", n, 1, "the number of particles to draw from the start")
        return np.asarray(start.sample(n, rng=rng), dtype=np.float64)
    if n is not None and whole("n", n) != len(start.positions):
        raise ValueError(f"n={shown(n)}, but the start has {counted(len(start.positions), 'particle')}: leave n out")
    if np.ptp(start.log_weights) > 1e-12:
        raise ValueError(
            "the particles of the start have different weights, which a sampler that is given positions does not "
            "know: draw equally weighted ones with start.sample(n, rng)"
        )
    return start.positions


def _results(
    sampler: Callable[..., Any], name: str, frames: _Frames, arguments: tuple[Any, ...], options: dict[str, Any]
) -> Iterator[Any]:
    """Yield the results of the sampler; its exceptions get a note of when they came."""
    try:
        results = sampler(*arguments, **options)
        flat = isinstance(results, np.ndarray) and results.ndim == 0  # has __iter__, but cannot be iterated over
        iterator = iter(results) if hasattr(results, "__iter__") and not flat else None
    except SystemExit as error:
        raise _ended(name, frames, error) from error
    except Exception as error:
        error.add_note(f"(raised by the sampler {name}, {frames.progress()})")
        raise
    if iterator is None:
        raise TypeError(
            f"the sampler {name} returned {type(results).__name__}, which is no iterable: it must "
            "yield, or return a list of, tuples (t, positions, log_weights or None)"
        )
    if isinstance(results, np.ndarray):
        raise TypeError(
            f"{name} returned {_in_words(results)}: it must yield, or return a list of, one tuple "
            "(t, positions, log_weights or None) for every one of `times`"
        )
    if isinstance(results, list | tuple):
        _check_apart(results, name)
    while True:
        try:
            result = next(iterator)
        except StopIteration:
            return
        except SystemExit as error:
            raise _ended(name, frames, error) from error
        except Exception as error:
            error.add_note(f"(raised by the sampler {name}, {frames.progress()})")
            raise
        yield result


def _ended(name: str, frames: _Frames, error: SystemExit) -> ValueError:
    """Return the error of a sampler that would end the program, perhaps as if all were well."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    return ValueError(
        f"the sampler {name} ends the program (SystemExit with the code {error.code}), {frames.progress()}, in "
        f"{place.filename}, line {place.lineno}: it must yield at every one of `times`, or raise an error"
    )


def _check_apart(results: list[Any] | tuple[Any, ...], name: str) -> None:
    """Refuse a list that holds one array many times, which was changed in place and now has the last values only."""
    arrays = [id(result[1]) for result in results if isinstance(result, tuple | list) and len(result) == 3]
    if len(set(arrays)) < len(arrays):
        raise ValueError(
            f"{name} returned the same array of positions for several times, so that all have its last values: append "
            "positions.copy(), or yield them one by one"
        )


class _Frames:
    """Frames that a sampler has yielded so far, checked."""

    def __init__(self, name: str, times: Array, start: Array) -> None:
        self.name, self.times, self.start = name, times, start
        self.tolerance = SAME_TIME * max(1.0, float(np.abs(times).max()))
        self.count = 0
        self.positions: Array = np.empty((0, *start.shape))
        self.log_weights: Array = np.empty((0, len(start)))

    def progress(self) -> str:
        """Say how far the sampler has come."""
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
            return finite("t", t)
        except ValueError:
            raise ValueError(
                f"{self.name} yielded the time {shown(t)} {self.progress()}: it must be a finite number"
            ) from None

    def _check_expected(self, time: float) -> None:
        """Refuse a time that is not the next one asked for."""
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
        """Return the particles of one time, if they are valid and fit to those before."""
        where = f"{self.name} yielded at t={time:g}"
        d = self.start.shape[1]
        try:
            positions = real_array("positions", positions)
            log_weights = None if log_weights is None else real_array("log_weights", log_weights)
        except ValueError as error:
            raise ValueError(f"{where} what are no arrays of numbers: {error}") from error
        if positions.ndim != 2 or positions.shape[1] != d:
            raise ValueError(
                f"{where} positions of shape {positions.shape}: they must have shape (n, {d}), one row per particle"
            )
        if self.count and len(positions) != self.positions.shape[1]:
            remedy = "keep their number (weights of zero, log_weights=-inf, for those that died)"
            if self.count == 1:
                remedy += ", or yield all of them at the first save time too"
            number = counted(len(positions), "particle")
            raise ValueError(f"{where} {number}, after {self.positions.shape[1]} before: {remedy}")
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
    """Describe a result shortly, for an error."""
    if isinstance(result, np.ndarray):
        return f"an array of shape {result.shape}"
    if isinstance(result, tuple | list):
        return f"{len(result)} things"
    return f"{type(result).__name__}"
