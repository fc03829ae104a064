"""CUDA C++ kernels, for what an array library does in many passes or not at all.

The texts, `line_sweeps.cu` and `fisher_rao.cu`, name no library: they are compiled when they are first needed, by what
the backend brings along (NVRTC), and the tests compile them with g++, too, and run them on the CPU.
"""

from __future__ import annotations

import functools
import importlib.resources
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Launch = Callable[[tuple[int, ...], tuple[int, ...], tuple[Any, ...]], None]  # (blocks, threads per block, arguments)
Compile = Callable[[str], Callable[[str], Launch]]  # text -> name of a kernel -> kernel

SUMS = 2**18  # threads that add up exponentials; a fixed number, so that results do not depend on the device
THREADS = 256  # per block: a multiple of a warp; no number depends on it
THREADS_OF_LINES = 32  # per block: a warp, so that a few thousand lines keep all multiprocessors busy
SCRATCH = 2**32  # bytes of scratch that a sweep takes at most, if not a single block needs more
PAIRS = 4  # of conjugate poles, as in `chain_exponential`


def source(name: str, constants: Mapping[str, float] | None = None) -> str:
    """Return the text of a file of this folder, with definitions of the constants that it uses in front."""
    text = importlib.resources.files(__name__).joinpath(name).read_text(encoding="utf-8")
    lines = [
        f"constexpr {'double' if isinstance(value, float) else 'long long'} {key} = {value!r};"
        for key, value in (constants or {}).items()
        if re.search(rf"\b{key}\b", text)
    ]
    return "\n".join([*lines, "", text])


class Kernels:
    """The kernels of this folder on arrays of one library.

    Parameters
    ----------
    xp : module
        Array namespace.
    compiled : callable
        ``compiled(text)(name)`` is the kernel of that name of a CUDA C++ text, called as
        ``kernel(blocks, threads, arguments)`` with arrays and NumPy scalars.
    """

    def __init__(self, xp: Any, compiled: Compile) -> None:
        self.xp = xp
        self._compiled = functools.cache(compiled)

    def fisher_rao(self, log_mu: Any, log_pi: Any, s: float, log_volume: Any) -> Any:
        """Compute log(mu^s pi^(1-s) / Z), Z such that its mass is one: the exact Fisher-Rao flow over a time -log s.

        Parameters
        ----------
        log_mu, log_pi : arrays of the same shape
        s : float
        log_volume : float or array
            Logarithm of the volumes of the cells, a number where all are equal.

        Returns
        -------
        array
        """
        xp, size = self.xp, log_mu.size
        log_mu, log_pi = xp.ascontiguousarray(log_mu), xp.ascontiguousarray(log_pi)
        graded = not isinstance(log_volume, float)
        volumes = xp.ascontiguousarray(log_volume) if graded else log_pi
        kernel = self._compiled(source("fisher_rao.cu"))
        threads = min(size, SUMS)
        top, total, result = xp.empty(threads), xp.empty(threads), xp.empty(log_mu.shape)
        arrays = log_mu, log_pi, volumes, top, total
        numbers = np.int64(size), np.int64(threads), np.int64(graded), np.float64(s)
        _launch(kernel("fisher_rao_sums"), threads, THREADS, (*arrays, *numbers))
        highest = xp.max(top)
        log_mass = highest + xp.log(xp.sum(total * xp.exp(top - highest)))
        if not graded:
            log_mass = log_mass + log_volume
        last = log_mu, log_pi, xp.asarray(log_mass), result, np.int64(size), np.float64(s)
        _launch(kernel("fisher_rao_result"), size, THREADS, last)
        return result

    def sweep(
        self,
        f: Any,
        rates: tuple[Any, Any, Any, Any],
        wide: bool,
        periodic: bool,
        time: float,
        *,
        tolerance: float,
        poles: Any,
        constants: Mapping[str, float],
    ) -> bool:
        """Compute f ← e^(time L) f, in place, for lines down the columns of an array (n, m).

        What `numerics.compiled.chain_exponential` does on the host.

        Parameters
        ----------
        f : array (n, m)
            Or its logarithm, if `wide`; contiguous, as all arrays here.
        rates : (down, up, log_down, log_up), arrays (n, m)
            Jump rates, and their logarithms, which are read only if `wide`.
        wide : bool
            Whether the lines may span more than one exponent range.
        periodic : bool
        time : float
        tolerance : float
            Relative error in every cell.
        poles : array (4, 4)
            Poles and weights, see `chain_exponential.resolvents`.
        constants : mapping
            Those of `chain_exponential.constants`.

        Returns
        -------
        bool
            Whether all lines came to an end.
        """
        xp, (n, m) = self.xp, f.shape
        for array in (f, *rates, poles):
            if not array.flags.c_contiguous:
                raise ValueError("the kernels take contiguous arrays only")
        if constants["PAIRS"] != PAIRS:
            raise ValueError(f"scratch is counted for {PAIRS} pairs of poles, got {constants['PAIRS']}")
        name = f"sweep_{'wide_' if wide else ''}{'ring' if periodic else 'walls'}"
        kernel = self._compiled(source("line_sweeps.cu", constants))(name)
        doubles, integers = scratch_arrays(wide, periodic)
        lines = _lines_at_once(n, m, doubles + integers)
        scratch, whole_numbers = xp.empty(n * lines * doubles), xp.empty(n * lines * integers, dtype=xp.int64)
        good = xp.zeros(m, dtype=xp.int64)
        for first in range(0, m, lines):
            count = min(lines, m - first)
            numbers = (*map(np.int64, (n, first, count, m)), np.float64(time), np.float64(tolerance))
            arguments = (f, *rates, scratch, whole_numbers, poles, good, *numbers)
            _launch(kernel, count, THREADS_OF_LINES, arguments)
        return bool(xp.all(good == 1))

    @staticmethod
    def scratch_bytes(n: int, lines: int, periodic: bool) -> int:
        """Return the most bytes that `sweep` allocates for `lines` lines of `n` cells."""
        arrays = sum(scratch_arrays(True, periodic))
        return 8 * n * arrays * _lines_at_once(n, lines, arrays)


def scratch_arrays(wide: bool, periodic: bool) -> tuple[int, int]:
    """Count the arrays of floats and of integers, as long as a line, that a line needs besides its rates."""
    elimination = (10 if periodic else 4) * PAIRS
    return 2 + elimination + (7 if wide else 0), 4 if wide else 0


def _lines_at_once(n: int, lines: int, arrays: int) -> int:
    return min(lines, max(THREADS_OF_LINES, SCRATCH // (8 * n * arrays)))


def _launch(kernel: Launch, count: int, threads: int, arguments: tuple[Any, ...]) -> None:
    """Launch a kernel with a thread for each of `count` things."""
    kernel((-(-count // threads),), (threads,), arguments)
