"""How long `spectrum` takes in three dimensions, where it solves by conjugate gradients.

    python benchmarks/spectrum.py [--cells 40] [--modes 5] [--repeat 3]

Prints the least CPU seconds of some calls after a first one, the most memory that the process has had, and the
eigenvalues in all digits, of two modes on cells^3 cells. For the table in docs/design/truth.md.
"""

from __future__ import annotations

import argparse
import math
import resource
import sys
import time

import wfr_pde as wfr


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=40, help="along every axis (default: %(default)s)")
    parser.add_argument("--modes", type=int, default=5, help="the constant included (default: %(default)s)")
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    target = wfr.GaussianMixture([[-1.2, 0, 0], [1.2, 0, 0]], [0.4, 0.6], 0.5)
    grid = wfr.Grid([-5] * 3, [5] * 3, [arguments.cells] * 3)
    ds, seconds = wfr.spectrum(wfr.DoubleWell(2.0), wfr.Grid(-3, 3, 64), 2), math.inf  # what is imported at first
    for _ in range(arguments.repeat):
        began = time.process_time()
        ds = wfr.spectrum(target, grid, arguments.modes)
        seconds = min(seconds, time.process_time() - began)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    print(
        f"{arguments.cells}^3 cells, {arguments.modes} modes: {seconds:.2f} s; {peak:.0f} MiB; "
        f"{ds['eigenvalue'].values.tolist()}"
    )


if __name__ == "__main__":
    main()
