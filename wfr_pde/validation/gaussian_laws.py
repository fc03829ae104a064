"""Laws of samplers and flows that keep Gaussians Gaussian, in any dimension: moments in closed form, step by step."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from wfr_pde.flows import FiniteVolume, FisherRao, Flow, Lie, Repeated, Strang
from wfr_pde.flows.sampler_laws.reweighting import reaction_share
from wfr_pde.numerics.typing import Array
from wfr_pde.samplers.density_ratio import KernelDensity, MixtureDensity, Oracle
from wfr_pde.samplers.feynman_kac import FeynmanKac
from wfr_pde.samplers.langevin import Langevin
from wfr_pde.samplers.resample import Resample
from wfr_pde.samplers.smc_wfr import SMCWFR
from wfr_pde.targets.base import Target
from wfr_pde.targets.gaussian import Gaussian
from wfr_pde.validation.law_density import LawDensity

SLACK = 1e-12  # of a step, by which a gap between save times may exceed a whole number of steps, as in `solve`
Moments = tuple[Array, Array]  # mean (d,), covariance (d, d)
Truth = Callable[[float], Gaussian]  # the law that an `Oracle` knows, at a time


def keeps_gaussians(flow: Flow) -> bool:
    """Tell whether what a flow makes of a Gaussian, towards a Gaussian, is known as a Gaussian."""
    if isinstance(flow, Lie | Strang | Repeated):
        return all(keeps_gaussians(part) for part in flow.parts)
    if type(flow) is FeynmanKac:
        return type(flow.density) in (KernelDensity, MixtureDensity, Oracle, LawDensity)
    if type(flow) is FiniteVolume:
        return flow.drift is None
    return type(flow) in (Langevin, Resample, SMCWFR, FisherRao)


def gaussian_laws(
    flow: Flow, target: Target, start: Gaussian, times: Array, dt: float, truth: Truth | None = None
) -> list[Gaussian]:
    """Return the law of a flow for infinitely many particles at some times, from a Gaussian towards a Gaussian.

    A Langevin step is linear, and weights by powers of Gaussians, convolved with a Gaussian kernel or not, leave a
    Gaussian: the moments are exact, in any dimension.

    Parameters
    ----------
    flow : Flow
        One that `keeps_gaussians`.
    target : Gaussian, or moving target
        pi; a moving one is a Gaussian at every time.
    start : Gaussian
        The law at the first time.
    times : array (t,)
        Save times, of which the first is that of the start.
    dt : float
        Largest step: intervals between the times are cut into equal steps, as `solve` cuts them.
    truth : function t -> Gaussian, optional
        The law that the weights of an `Oracle` are of.

    Returns
    -------
    list of Gaussian
        At the times.

    Raises
    ------
    ValueError
        If weights leave no Gaussian, as their precision is not positive.

    Examples
    --------
    One step of ½ of Langevin from N(1, 1) towards N(0, 1) leads to N(½, 5/4), the same in every direction:

    >>> import numpy as np
    >>> import wfr_pde as wfr
    >>> target, start = wfr.Gaussian(np.zeros(30), 1.0), wfr.Gaussian(np.ones(30), 1.0)
    >>> law = gaussian_laws(wfr.samplers.Langevin(), target, start, np.array([0.0, 0.5]), 0.5)[-1]
    >>> law.mean[29].item(), law.covariance[29, 29].item()
    (0.5, 1.25)
    """
    found, state = [start], (start.mean, start.covariance)
    for begin, end in itertools.pairwise(times):
        n = max(1, math.ceil((end - begin) / dt * (1 - SLACK)))
        size = float(end - begin) / n
        for k in range(n):
            state = _stepped(flow, target, state, float(begin) + k * size, size, truth)
        found.append(Gaussian(*state))
    return found


def _stepped(flow: Flow, target: Target, state: Moments, t: float, dt: float, truth: Truth | None) -> Moments:
    """Return the moments after one step of the flow."""
    if isinstance(flow, SMCWFR):
        flow = flow.composition
    if isinstance(flow, Lie | Strang):
        for part, size, begin in flow.stages(dt):
            state = _stepped(part, target, state, t + begin, size, truth)
        return state
    if isinstance(flow, Repeated):
        for k in range(flow.n):
            state = _stepped(flow.flow, target, state, t + k * dt / flow.n, dt / flow.n, truth)
        return state
    middle: Any = target.at(t + dt / 2) if target.moving else target
    if isinstance(flow, Langevin):
        return _moved(state, middle, flow.rate * dt)
    if isinstance(flow, FiniteVolume):
        from wfr_pde.truth.exact.gaussian import gaussian_flow  # here, as it is slow to load

        there = gaussian_flow(middle, Gaussian(*state), dt, flow.rate, 0.0)
        return there.mean, there.covariance
    if isinstance(flow, FisherRao):
        own = -math.expm1(-flow.time(t, dt))
        return _weighted(state, [(-own, *state), (own, middle.mean, middle.covariance)])
    if isinstance(flow, FeynmanKac):
        return _reweighted(flow, middle, state, t, dt, truth)
    return state


def _moved(state: Moments, target: Gaussian, time: float) -> Moments:
    """Return the moments after a Langevin step of length rate dt = `time`."""
    precision = np.linalg.inv(target.covariance)
    map_ = np.eye(len(precision)) - time * precision
    mean = target.mean + map_ @ (state[0] - target.mean)
    covariance = map_ @ state[1] @ map_.T + 2 * time * np.eye(len(precision))
    return mean, (covariance + covariance.T) / 2


def _reweighted(
    flow: FeynmanKac, target: Gaussian, state: Moments, t: float, dt: float, truth: Truth | None
) -> Moments:
    """Return the moments after weights by the g of the flow."""
    share = reaction_share(flow.rate, dt, flow.density.is_exact)
    mean, covariance = state
    if isinstance(flow.density, LawDensity):
        flow.density.frames[t + dt / 2] = Gaussian(mean, covariance)
    if isinstance(flow.density, KernelDensity) and flow.density.bandwidth is not None:
        covariance = covariance + flow.density.bandwidth**2 * np.eye(len(mean))
    if isinstance(flow.density, Oracle):
        if truth is None:
            raise ValueError(f"{flow!r} knows a truth, which the law of its steps needs as Gaussians: give truth=")
        known = truth(t + dt / 2)
        mean, covariance = known.mean, known.covariance
    return _weighted(state, [(-share, mean, covariance), (share, target.mean, target.covariance)])


def _weighted(state: Moments, powers: list[tuple[float, Array, Array]]) -> Moments:
    """Return the moments of a Gaussian times powers of others: precisions and their products with means add."""
    precision = np.linalg.inv(state[1])
    vector = precision @ state[0]
    for power, mean, covariance in powers:
        inverse = np.linalg.inv(covariance)
        precision, vector = precision + power * inverse, vector + power * (inverse @ mean)
    precision = (precision + precision.T) / 2
    smallest = float(np.linalg.eigvalsh(precision)[0])
    if not smallest > 0:
        raise ValueError(
            f"the weights leave no Gaussian: a precision is {smallest:.4g}; use a smaller dt, or a nearer start"
        )
    result = np.linalg.inv(precision)
    return result @ vector, (result + result.T) / 2
