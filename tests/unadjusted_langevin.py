"""A sampler as users write one: a generator, with the problem that it is run on."""

import itertools

import numpy as np

import wfr_pde as wfr

TARGET, START = wfr.GaussianMixture([[-1.0, 0.0], [1.2, 0.5]], [0.4, 0.6], 0.3), wfr.Gaussian([-0.6, 0.2], 0.25)
TIMES = np.array([0.0, 0.25, 0.5, 0.8])
DT = 0.1


def euler(target, x, times, rng, dt=DT, first=True):
    """The unadjusted Langevin algorithm, in place."""
    if first:
        yield times[0], x, None
    for start, end in itertools.pairwise(times):
        n_steps = max(int(np.ceil((end - start) / dt * (1 - 1e-12))), 1)
        h = (end - start) / n_steps
        for _ in range(n_steps):
            x += h * target.score(x)
            x += np.sqrt(2 * h) * rng.standard_normal(x.shape)
        yield end, x, None
