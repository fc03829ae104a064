"""Steps of the flow for g = log(mu/pi) on one axis, by one compiled call each; the target is at rest."""

from __future__ import annotations

import numpy as np

from wfr_pde.numerics.compiled.chain_exponential import DONE, advance_logarithms, jit
from wfr_pde.numerics.typing import Array


@jit
def extrapolated_step(
    g: Array,
    finest: Array,
    weights: Array,
    alpha_dt: float,
    half_beta_dt: float,
    down: Array,
    up: Array,
    log_down: Array,
    log_up: Array,
    steep: bool,
    periodic: bool,
    tolerance: float,
    poles: Array,
) -> int:
    """Compute g ← Σ_k w_k S(dt/k)^k g with Strang steps S(h) = R(h/2) T(h) R(h/2), and `finest`, the last of these.

    R(h) g = e^(-beta h) g; T is the transport, see `advance_logarithms` for the rates and for what is returned: unless
    it is `DONE`, g is as it was. The sum is taken of the differences to the finest, so that a constant stays one.
    """
    last = len(weights)
    total, run = np.zeros(len(g)), np.empty(len(g))
    for k in range(last, 0, -1):
        s = np.exp(-half_beta_dt / k)
        run[:] = g
        for _ in range(k):
            run *= s
            end = advance_logarithms(run, alpha_dt / k, down, up, log_down, log_up, steep, periodic, tolerance, poles)
            if end != DONE:
                return end
            run *= s
        if k == last:
            finest[:] = run
        else:
            total += weights[k - 1] * (run - finest)
    g[:] = finest + total
    return DONE


@jit
def moved_mass(one: Array, other: Array, log_pi: Array, volumes: Array) -> float:
    """Return the L1 distance of the densities e^(g + log pi), normalised, of two flat g; nan where not finite."""
    high_one, high_other = -np.inf, -np.inf
    for q in range(len(one)):
        high_one, high_other = max(high_one, one[q] + log_pi[q]), max(high_other, other[q] + log_pi[q])
    masses = np.empty((2, len(one)))
    sums = np.zeros(2)
    for q in range(len(one)):
        masses[0, q] = np.exp(one[q] + log_pi[q] - high_one) * volumes[q]
        masses[1, q] = np.exp(other[q] + log_pi[q] - high_other) * volumes[q]
        sums[0] += masses[0, q]
        sums[1] += masses[1, q]
    moved = 0.0
    for q in range(len(one)):
        moved += abs(masses[0, q] / sums[0] - masses[1, q] / sums[1])
    return moved
