"""How long truths in 20 and in 100 dimensions take.

    python benchmarks/any_dimension.py [--rtol 1e-6] [--repeat 2]

Prints the least CPU seconds and the least time of some calls after a first one, the bound and what it is of: twenty
equal wells, and three different factors that make 100 dimensions.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter

import numpy as np

import wfr_pde as wfr

TIMES = [0.0, 0.25, 1.0]


def problems() -> dict[str, tuple[wfr.Target, wfr.Target]]:
    """Targets and starts by their names."""
    well, tilted = wfr.Potential("2*(x**2 - 1)**2"), wfr.Potential("(x**2 - 1)**2 + x/4")
    rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((100, 100)))[0]
    shell, covariance = wfr.Radial("x**4/4", 20), np.diag(np.linspace(0.5, 2, 40))
    mixed = wfr.Product([*[well] * 20, *[tilted] * 20, shell, wfr.Gaussian(np.zeros(40), covariance)], rotation)
    return {
        "twenty equal wells": (wfr.Product([well] * 20), wfr.Gaussian(np.full(20, 0.3), 0.3)),
        "100 dimensions, three factors and a Gaussian": (mixed, wfr.Gaussian(np.zeros(100), 0.5)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rtol", type=float, default=1e-6, help="of the whole law (default: %(default)s)")
    parser.add_argument("--repeat", type=int, default=2)
    arguments = parser.parse_args()
    wfr.ground_truth(wfr.Potential("x**4/4"), wfr.Gaussian(0.0, 1.0), [0.0, 0.1], rtol=1e-3)  # what is compiled
    for name, (target, start) in problems().items():
        spent = []
        for _ in range(arguments.repeat):
            began = time.process_time(), time.perf_counter()
            tree = wfr.ground_truth(target, start, TIMES, rtol=arguments.rtol)
            spent.append((time.process_time() - began[0], time.perf_counter() - began[1]))
        factors = Counter(f"{one['node']}, {one['kind']} in {one['ndim']}" for one in json.loads(tree.attrs["factors"]))
        made = "; ".join(f"{count} x {factor}D" for factor, count in factors.items())
        cpu, wall = (min(column) for column in zip(*spent, strict=True))
        print(
            f"{name}: {cpu:.2f} s of CPU, {wall:.2f} s; error_l1 {float(tree['error_l1'].max()):.1e}; {made}",
            flush=True,
        )


if __name__ == "__main__":
    main()
