"""Times of reverse diffusions, with their errors: to the exact density, or to a finer run where there is none.

    python benchmarks/diffusions.py

Warm, the second of two runs. The data are mixtures, the noise is Ornstein-Uhlenbeck up to noise time 3. Rows: the exact
score from N(0, 1), against the closed form by quadrature on the grid (`HTransform` in one step is that quadrature, so
the reference is a run with other steps and cells); a score with a bias of 0.3, against a run of order 8 with twice the
steps; the certified solution of a 2D drift that turns.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

import wfr_pde as wfr

LINE = wfr.GaussianMixture([[-1.5], [1.5]], [0.3, 0.7], 0.09)
PLANE = wfr.GaussianMixture(
    [[-1.0, -0.4], [1.0, 0.5]], [0.4, 0.6], [[[0.35, 0.1], [0.1, 0.2]], [[0.2, -0.08], [-0.08, 0.3]]]
)


def biased(path: Any) -> Any:
    """The exact score of a path with a bias of 0.3."""
    return lambda points, t: path.at(t).score(points) + 0.3


def generated(data: Any, cells: int, order: int, steps: int, wrong: bool) -> wfr.Density:
    """What the reverse SDE generates."""
    path = wfr.Noised(data, wfr.OU(t_end=3.0))
    back = path.reversed()
    flow: Any = wfr.ReverseSDE(back, biased(path) if wrong else None)
    flow = flow if order == 2 else wfr.Extrapolated(flow, order)
    grid = wfr.Grid([-6.0] * data.ndim, [6.0] * data.ndim, cells)
    start = grid.density(back.at(0.0) if wrong else wfr.Gaussian([0.0] * data.ndim, np.eye(data.ndim)))
    return wfr.Density.from_dataset(wfr.solve(None, flow, start, [0, 1], 1 / steps, keep="last"))


def timed(*arguments: Any) -> tuple[wfr.Density, float]:
    """The second of two runs, and its seconds."""
    generated(*arguments)
    begin = time.perf_counter()
    return generated(*arguments), time.perf_counter() - begin


def main() -> None:
    """Print a row per problem."""
    print(f"{'problem':34s} {'cells':>6s} {'order':>5s} {'steps':>5s} {'seconds':>8s} {'L1':>8s}")
    rows = [
        ("1D, exact score from N(0, 1)", LINE, 256, 2, 4, False, (2, 16)),
        ("1D, biased score", LINE, 256, 4, 24, True, (8, 32)),
        ("2D, exact score from N(0, 1)", PLANE, 128, 2, 4, False, (2, 16)),
        ("2D, biased score", PLANE, 128, 4, 24, True, (8, 16)),
    ]
    for words, data, cells, order, steps, wrong, finer in rows:
        density, seconds = timed(data, cells, order, steps, wrong)
        reference = generated(data, cells, *finer, wrong)
        error = float(density.grid.integrate(np.abs(density.values - reference.values)))
        print(f"{words:34s} {cells:6d} {order:5d} {steps:5d} {seconds:8.2f} {error:8.1e}", flush=True)
    turning = wfr.Advected(lambda x, t: np.stack([-x[..., 0] - 2 * x[..., 1], 2 * x[..., 0] - x[..., 1]], -1), 1.0)
    for rtol in (1e-3, 1e-5, 1e-7):
        begin = time.perf_counter()
        ds = wfr.ground_truth(flow=turning, start=wfr.Gaussian([1.0, 0.0], np.eye(2)), t=[0, 0.5], rtol=rtol)
        seconds, bound = time.perf_counter() - begin, float(ds["error_l1"].max())
        print(f"{'certified, 2D drift that turns':34s} {ds.sizes['x']:6d} {'':5s} {'':5s} {seconds:8.2f} {bound:8.1e}")


if __name__ == "__main__":
    main()
