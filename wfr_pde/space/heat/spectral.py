"""The heat semigroup of a box by spectral transforms: cosines on no-flux axes, Fourier on periodic ones.

On devices by the transforms of the backend. On the host, this is the only place that names an FFT library: cosine
transforms are SciPy's; Fourier transforms are FFTW's where pyfftw is installed (the extra `fftw`), else SciPy's too:
`benchmarks/transforms.py` prints the times of both. FFTW takes one thread, as its threads wait for each other wherever
other work keeps a core busy.

FFTW plans are chosen by rule (FFTW_ESTIMATE), not by timing, since a timing may end differently the next time, and
another plan rounds differently: a resumed run would not have the bits of an uninterrupted one. `measure_plans` times
plans once, for good: it stores them as FFTW's wisdom in the user's cache directory, and later processes read them. Bits
then hold as long as that file stays as it is.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from wfr_pde.errors import BackendError
from wfr_pde.numerics.backends.base import Transforms
from wfr_pde.space.axis import Axis
from wfr_pde.space.grid import Grid

RESOLUTION = 0.75  # time / dx² from which the sampled heat kernel is that of the plane to 1e-13
SHARED_TRANSFORM = 2**18  # values from which threads share a transform
Map = Callable[[np.ndarray], np.ndarray]


class HeatSemigroup:
    """The map u → e^{time Lap} u on the cell centres of a grid of uniform axes, for arrays of its backend.

    Type II cosines, which have no slope at the walls, on no-flux axes; Fourier on periodic ones. Exact for what the
    cells resolve; the error is that of the transforms, some eps max|u| in every cell, however small u is there.

    Where the cells resolve the heat kernel, time >= 0.75 dx², it is the sampled one, the sum of e^{-time k²} over a
    wave number and its aliases: the same to 1e-13, but positive, so that what is not resolved, such as a kink of u at a
    wall, stays near its place. For shorter times it is e^{-time k²} alone, which rings: `positive` is then false.

    Parameters
    ----------
    grid : Grid
    time : float
        Diffusivity times time, >= 0.
    library : {"fftw", "scipy"}, optional
        What does the Fourier transforms on the host; FFTW where it is installed.
    """

    def __init__(self, grid: Grid, time: float, library: str | None = None) -> None:
        self.cosine = tuple(k for k, axis in enumerate(grid.axes) if not axis.periodic)
        self.periodic = tuple(k for k, axis in enumerate(grid.axes) if axis.periodic)
        self.workers = threads(grid.size)
        self.symbol: Any = np.ones(())
        self.positive = all(time >= RESOLUTION * axis.dx**2 for axis in grid.axes)
        for k, axis in enumerate(grid.axes):
            numbers = _wave_numbers(axis, halved=bool(self.periodic) and k == self.periodic[-1])
            decay = np.exp(-time * numbers**2)
            if time >= RESOLUTION * axis.dx**2:
                for alias in (-2 * math.pi / axis.dx, 2 * math.pi / axis.dx):
                    decay += np.exp(-time * (numbers + alias) ** 2)
            self.symbol = self.symbol * decay.reshape([-1 if i == k else 1 for i in range(grid.ndim)])
        self.backend, self._fourier = grid.backend, None
        self.lengths = tuple(grid.shape[k] for k in self.periodic)
        if self.backend.transforms is not None:
            self.symbol = self.backend.asarray(self.symbol)
        elif self.periodic:
            chosen = library or ("fftw" if _fftw() is not None else "scipy")
            if chosen == "fftw":
                self._fourier = _by_fftw(grid.shape, self.periodic, self.symbol)
            else:
                self._fourier = _by_scipy(grid.shape, self.periodic, self.symbol, self.workers)

    _fourier: Map | None

    def __call__(self, values: Any) -> Any:
        """Compute e^{time Lap} of the values, a new array; `values` may be overwritten."""
        if self.backend.transforms is not None:
            return self._by_backend(values, self.backend.transforms)
        return self.backend.asarray(self._on_host(self.backend.asnumpy(values)))

    def _by_backend(self, values: Any, transforms: Transforms) -> Any:
        if self.cosine:
            values = transforms.dctn(values, self.cosine)
        if self.periodic:
            values = transforms.rfftn(values, self.periodic)
        values *= self.symbol
        if self.periodic:
            values = transforms.irfftn(values, self.lengths, self.periodic)
        if self.cosine:
            values = transforms.idctn(values, self.cosine)
        return values

    def _on_host(self, values: np.ndarray) -> np.ndarray:
        import scipy.fft

        if self.cosine:
            values = scipy.fft.dctn(values, type=2, axes=self.cosine, overwrite_x=True, workers=self.workers)
        if self._fourier is not None:
            values = self._fourier(values)
        else:
            values *= self.symbol
        if self.cosine:
            values = scipy.fft.idctn(values, type=2, axes=self.cosine, overwrite_x=True, workers=self.workers)
        return values


def threads(size: int) -> int:
    """Return the number of threads for a transform of `size` values: one where it is too small to be shared."""
    if size < SHARED_TRANSFORM:
        return 1
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def _wave_numbers(axis: Axis, halved: bool) -> np.ndarray:
    if not axis.periodic:
        return np.arange(axis.n) * (math.pi / axis.length)
    numbers = np.fft.rfftfreq(axis.n) if halved else np.fft.fftfreq(axis.n)
    return numbers * (2 * math.pi * axis.n / axis.length)


def _by_scipy(shape: tuple[int, ...], axes: tuple[int, ...], symbol: np.ndarray, workers: int) -> Map:
    """Make the map values → inverse(symbol · transform(values)) by SciPy."""
    import scipy.fft

    lengths = [shape[k] for k in axes]

    def multiply(values: np.ndarray) -> np.ndarray:
        spectrum = scipy.fft.rfftn(values, axes=axes, workers=workers)
        spectrum *= symbol
        return scipy.fft.irfftn(spectrum, s=lengths, axes=axes, overwrite_x=True, workers=workers)

    return multiply


def _by_fftw(shape: tuple[int, ...], axes: tuple[int, ...], symbol: np.ndarray) -> Map:
    """Make the map values → inverse(symbol · transform(values)) by FFTW, which is planned here, once."""
    forward, backward = _plans(shape, axes, "FFTW_ESTIMATE")
    scaled = symbol / math.prod(shape[k] for k in axes)
    lock = threading.Lock()  # the plans work in arrays of their own

    def multiply(values: np.ndarray) -> np.ndarray:
        with lock:
            forward.input_array[...] = values
            forward.execute()
            np.multiply(forward.output_array, scaled, out=forward.output_array)
            backward.execute()
            return backward.output_array.copy()

    return multiply


def _plans(shape: tuple[int, ...], axes: tuple[int, ...], effort: str) -> tuple[Any, Any]:
    fftw = _fftw()
    if fftw is None:
        raise BackendError("pyfftw is not installed: pip install 'wfr-pde[fftw]'")
    real = fftw.empty_aligned(shape, dtype="float64")
    halved = tuple(n // 2 + 1 if k == axes[-1] else n for k, n in enumerate(shape))
    spectrum = fftw.empty_aligned(halved, dtype="complex128")
    forward = fftw.FFTW(real, spectrum, axes=axes, flags=(effort,))
    flags = (effort, "FFTW_DESTROY_INPUT")
    return forward, fftw.FFTW(spectrum, real, axes=axes, direction="FFTW_BACKWARD", flags=flags)


@functools.cache
def _fftw() -> Any:
    """Import pyfftw with the user's wisdom; None where it is not installed."""
    try:
        import pyfftw
    except ImportError:
        return None
    with contextlib.suppress(OSError):  # none stored, or not ours to read
        pyfftw.import_wisdom((wisdom_file().read_bytes(), b"", b""))
    return pyfftw


def wisdom_file() -> Path:
    """Return the file of timed plans: $XDG_CACHE_HOME/wfr_pde/fftw_wisdom, or ~/.cache/wfr_pde/fftw_wisdom."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(cache) / "wfr_pde" / "fftw_wisdom"


def measure_plans(grid: Grid) -> bool:
    """Measure the plans for the periodic axes of a grid, and store the best for all later processes.

    Takes seconds to minutes, and brings about a third of the time of a transform. Not during a run, nor between its
    parts: other plans round differently. Does nothing where no axis is periodic.

    Returns
    -------
    bool
        Whether they could be stored; if not, they serve this process only.

    Raises
    ------
    BackendError
        If pyfftw is not installed.
    """
    axes = tuple(k for k, axis in enumerate(grid.axes) if axis.periodic)
    if not axes:
        return False
    _plans(grid.shape, axes, "FFTW_MEASURE")
    path = wisdom_file()
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(_fftw().export_wisdom()[0])
        temporary.replace(path)
    except OSError:
        return False
    return True
