"""A sampler as a function: unadjusted Langevin, and the same with a mistake."""

import numpy as np


def ula(target, start, times, rng, dt=0.01, noise=2.0):
    """Yield (t, positions, log-weights or None) at the save times."""
    x, t = start, times[0]
    for end in times[1:]:
        n_steps = max(1, round((end - t) / dt))
        h = (end - t) / n_steps
        for _ in range(n_steps):
            x = x + h * target.score(x) + np.sqrt(noise * h) * rng.standard_normal(x.shape)
        t = end
        yield t, x, None


def faulty(target, start, times, rng, dt=0.01):
    """The same with sqrt(h) in place of sqrt(2 h): particles spread half as much."""
    return ula(target, start, times, rng, dt, noise=1.0)
