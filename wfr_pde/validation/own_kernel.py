"""What estimates of a density in many dimensions are off by a particle's own kernel."""

from __future__ import annotations

import math

import numpy as np

from wfr_pde.flows import Flow, Lie, Repeated, Strang
from wfr_pde.flows.sampler_laws.reweighting import reaction_share
from wfr_pde.numerics.typing import Array
from wfr_pde.samplers.birth_death import BirthDeath
from wfr_pde.samplers.density_ratio import KernelDensity, MixtureDensity
from wfr_pde.samplers.feynman_kac import FeynmanKac
from wfr_pde.samplers.langevin import Langevin
from wfr_pde.samplers.smc_wfr import SMCWFR
from wfr_pde.space.product_law import ProductLaw

DRAWS, SEED = 20000, 0  # at which the share of the own kernel is taken
FIRST_ORDER = 0.5  # standard deviations: beyond, what is of first order says nothing, and the margin is infinite


def own_kernel_margin(flow: Flow, laws: list[ProductLaw], times: Array, dt: float, n: float) -> Array:
    """Return by how many standard deviations (t - 1,) any expectation may move by the own kernels of n particles.

    An estimate of the density q at a particle, of n of them, has the particle's own kernel in it, K(0)/n with K(0) =
    (2 pi v)^(-d/2): beside q it is s = K(0)/(n q), which falls with 1/n but grows with the dimension like a power, so
    that from some n on, and not before, runs with n and 2n show it. The weights of a step, q^-share, are off by
    (1 + s)^-share, so that an expectation moves by share Cov(f, log(1 + s)) to first order, at most share times the
    standard deviations of f and of log(1 + s); what comes after does not enlarge it. The sum over the steps is
    returned, and infinity where it is no more of first order. The noise of the estimate is 2^(-d/2) as large.

    Parameters
    ----------
    flow : Flow
        The declared scheme.
    laws : list of ProductLaw
        The law at the times.
    times : array (t,)
        The first is that of the start.
    dt : float
        Step.
    n : float
        Number of particles that count.
    """
    total, found = 0.0, []
    for k, (begin, end) in enumerate(zip(times[:-1].tolist(), times[1:].tolist(), strict=True)):
        steps = max(1, math.ceil((end - begin) / dt * (1 - 1e-12)))
        size = (end - begin) / steps
        moves = [_spread(laws[i], n, _estimates(flow, size, [math.nan])) for i in (k, k + 1)]
        total += steps * max(moves)
        found.append(total if total <= FIRST_ORDER else math.inf)
    return np.array(found)


def _estimates(flow: Flow, dt: float, drawn: list[float]) -> list[tuple[float, float]]:
    """Return the shares of all estimates of a step, and the variances of their kernels; zero for Scott's rule.

    `drawn` has the variance of the last Langevin step, which is that of the mixture.
    """
    if isinstance(flow, SMCWFR):
        flow = flow.composition
    if isinstance(flow, Lie | Strang):
        return [one for part, size, _ in flow.stages(dt) for one in _estimates(part, size, drawn)]
    if isinstance(flow, Repeated):
        return flow.n * _estimates(flow.flow, dt / flow.n, drawn)
    if isinstance(flow, Langevin):
        drawn[0] = 2 * flow.rate * dt
    if isinstance(flow, BirthDeath | FeynmanKac):
        # births and deaths happen by the rates of the beginning, which is more than the exact map's share
        share = flow.rate * dt if isinstance(flow, BirthDeath) else reaction_share(flow.rate, dt, False)
        density = KernelDensity(getattr(flow, "bandwidth", None)) if flow.density is None else flow.density
        if isinstance(density, MixtureDensity):
            return [(share, drawn[0])]
        if isinstance(density, KernelDensity):
            return [(share, 0.0 if density.bandwidth is None else density.bandwidth**2)]
    return []


def _spread(law: ProductLaw, n: float, estimates: list[tuple[float, float]]) -> float:
    """Return the sum over the estimates of their shares times the standard deviations of log(1 + s)."""
    if not estimates:
        return 0.0
    log_q = np.asarray(law.log_prob(law.sample(DRAWS, SEED)))
    total = 0.0
    for share, variance in estimates:
        if variance == 0:  # Scott's rule
            variances = np.diag(law.covariance())
            variance = math.exp(np.mean(np.log(variances))) * n ** (-2 / (law.ndim + 4))
        log_s = -law.ndim / 2 * math.log(2 * math.pi * variance) - math.log(n) - log_q
        total += share * float(np.std(np.logaddexp(0.0, log_s)))
    return total if math.isfinite(total) else math.inf
