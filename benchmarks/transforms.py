"""Transforms forward and back on one thread: SciPy against FFTW, Fourier and cosines.

    python benchmarks/transforms.py [--quick] [--out PATH]

Why `SplitStep` takes SciPy's cosines and, where pyfftw is installed, FFTW's Fourier transforms with plans chosen by
rule. Writes results/benchmarks/transforms.json.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy import fft

from wfr_pde.storage import files


def milliseconds(function: Callable[[], Any], repeats: int) -> float:
    """Time of the fastest of some calls, after one that is not counted."""
    function()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        function()
        times.append(time.perf_counter() - began)
    return 1e3 * min(times)


def with_fftw(shape: tuple[int, int], cosines: bool, planning: str) -> Callable[[], Any]:
    """A planned pair of transforms."""
    import pyfftw

    values = pyfftw.empty_aligned(shape)
    spectrum = pyfftw.empty_aligned(shape if cosines else (shape[0], shape[1] // 2 + 1), "f8" if cosines else "c16")
    # one kind per axis for cosines, one for all for Fourier
    kinds: Any = [("FFTW_REDFT10",) * 2, ("FFTW_REDFT01",) * 2] if cosines else ["FFTW_FORWARD", "FFTW_BACKWARD"]
    forward = pyfftw.FFTW(values, spectrum, (0, 1), direction=kinds[0], flags=(planning,))
    back = pyfftw.FFTW(spectrum, values, (0, 1), direction=kinds[1], flags=(planning, "FFTW_DESTROY_INPUT"))
    values[:] = np.random.default_rng(0).random(shape)
    return lambda: (forward(), back())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks/transforms.json"))
    arguments = parser.parse_args()
    shape, repeats = ((128, 128), 2) if arguments.quick else ((1024, 1024), 20)
    u = np.random.default_rng(0).random(shape)
    pairs: dict[str, Callable[[], Any]] = {
        "Fourier, SciPy": lambda: fft.irfftn(fft.rfftn(u), s=shape),
        "cosines, SciPy": lambda: fft.idctn(fft.dctn(u)),
    }
    for planning in ("FFTW_ESTIMATE", "FFTW_MEASURE"):
        pairs[f"Fourier, {planning}"] = with_fftw(shape, False, planning)
        pairs[f"cosines, {planning}"] = with_fftw(shape, True, planning)
    found = {name: milliseconds(pair, repeats) for name, pair in pairs.items()}
    for name, value in found.items():
        print(f"{name:24} {value:8.2f} ms")
    print(f"written to {files.write_json({'shape': list(shape), 'milliseconds': found}, arguments.out)}")


if __name__ == "__main__":
    main()
