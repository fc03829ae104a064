"""Closed forms of flows from a Gaussian to a Gaussian, exact or split; the KL divergence between two Gaussians.

Notation: pi = N(b, A⁻¹) the target, mu_0 = N(m_0, C_0) the start, alpha the transport rate, beta the reaction
rate.

A transport step and a reaction step each move a covariance by a fractional linear map that fixes A⁻¹, so that
the exact flow and every splitting have one form. Let x(A) and y be the transport and reaction exponents of
the whole run (alpha A t and beta t / 2 for the exact flow), e = exp(-2 (x + y)), and r + q = 1 the shares of
the reaction and of the transport, which tell the schemes apart. With the functions of A

    k11 = r + q e,    k12 = q (1 - e) A⁻¹,    k21 = r (1 - e) A,    k22 = q + r e,

mean and covariance at the end are

    C = k12/k22 + (sqrt(e)/k22) (C_0⁻¹ + k21/k22)⁻¹ (sqrt(e)/k22)
    m = b + exp(-y) sqrt(e) (C_0 k21 + k22)⁻¹ (m_0 - b).

All sums are of positive terms: nothing is singular where C_0 - A⁻¹ is, and nothing cancels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike

from wfr_pde.errors import NumericalError
from wfr_pde.numerics.arguments import choice, finite, function, knows_its_arguments, positive, real_array, whole
from wfr_pde.numerics.special import minus_log1p
from wfr_pde.numerics.typing import Array
from wfr_pde.targets import Gaussian, Target
from wfr_pde.truth.exact.arguments import check_gaussians, checked_gaussian, checked_problem, checked_time

LATEST = 1e300  # exponent of what is gone of the start
STIFFEST = 1e5  # relaxations that the moment equations are integrated over
MOST_STEPS = 10**15
SCHEMES = ("W-FR", "FR-W", "W-FR-W", "FR-W-FR")
TRANSPORTS = ("exact", "sinkhorn")


@overload
def gaussian_flow(
    target: Gaussian, start: Gaussian, t: float, transport_rate: float = 1.0, reaction_rate: float = 1.0
) -> Gaussian: ...
@overload
def gaussian_flow(
    target: Gaussian, start: Gaussian, t: ArrayLike, transport_rate: float = 1.0, reaction_rate: float = 1.0
) -> Gaussian | list[Gaussian]: ...
@knows_its_arguments
def gaussian_flow(
    target: Gaussian, start: Gaussian, t: Any, transport_rate: float = 1.0, reaction_rate: float = 1.0
) -> Gaussian | list[Gaussian]:
    """Wasserstein-Fisher-Rao flow from a Gaussian to a Gaussian.

    It solves dm/dt = -(alpha I + beta C) A (m - b), dC/dt = alpha (2 I - A C - C A) + beta (C - C A C), by
    the form at the head of this file with r = beta / (2 alpha a + beta) for an eigenvalue a of A.

    Crucinio and Pathiraja, arXiv:2511.18060, equations (3.1)-(3.6), have alpha = beta = 1 in a form that is
    singular where C_0 - A⁻¹ is; this one is not, whatever the covariances and whether or not they commute.

    Parameters
    ----------
    target, start : Gaussian
        Of one dimension d.
    t : float, or array of times
        Time >= 0 since the start.
    transport_rate, reaction_rate : float
        alpha, beta >= 0; zero for the Fisher-Rao or the Wasserstein flow alone.

    Returns
    -------
    Gaussian, or a list of them for an array of times

    Raises
    ------
    ValueError
        If dimensions differ, or a time or rate is negative or not finite.
    """
    alpha, beta = checked_problem(target, start, transport_rate, reaction_rate)
    times = real_array("t", t)
    if times.ndim > 1:
        raise ValueError(f"t must be a number, or an array (n_t,), got shape {times.shape}")
    if times.ndim == 1:
        return [gaussian_flow(target, start, time, alpha, beta) for time in times.tolist()]
    time = checked_time(t)
    if time == 0 or alpha == beta == 0:
        return start
    a, basis = np.linalg.eigh(target.precision)
    time = min(time, LATEST / float(max(alpha * a.max(), beta)))  # later it is the target, and products overflow
    x, y = alpha * time * a, beta * time / 2
    if not np.all(x + y > 0):  # too short a time for a number
        return start
    return _evolved(target, start, (a, basis), x, y, r=y / (x + y), q=x / (x + y))


@knows_its_arguments
def gaussian_split(
    target: Gaussian,
    start: Gaussian,
    dt: float,
    n_steps: int,
    scheme: str,
    *,
    transport_rate: float = 1.0,
    reaction_rate: float = 1.0,
    transport: str = "exact",
) -> Gaussian:
    """Split Wasserstein-Fisher-Rao flow from a Gaussian to a Gaussian: `n_steps` steps of size `dt`.

    With x the transport and y the reaction exponent of one step (alpha a dt, beta dt / 2) and
    D = 1 - exp(-2 (x + y)), the shares r of the reaction and q = 1 - r of the transport are

        W-FR      r = e^{-2x} (1 - e^{-2y}) / D                q = (1 - e^{-2x}) / D
        FR-W      r = (1 - e^{-2y}) / D                        q = e^{-2y} (1 - e^{-2x}) / D
        W-FR-W    r = e^{-x} (1 - e^{-2y}) / D                 q = (1 - e^{-x}) (1 + e^{-x-2y}) / D
        FR-W-FR   r = (1 - e^{-y}) (1 + e^{-2x-y}) / D         q = e^{-y} (1 - e^{-2x}) / D

    and the form at the head of this file does the rest. Orders in dt: 1, 1, 2, 2. (Crucinio and Pathiraja,
    arXiv:2511.18060, have W-FR and FR-W at alpha = beta = 1.)

    Parameters
    ----------
    target, start : Gaussian
        Of one dimension d.
    dt : float
        Step > 0.
    n_steps : int
        Number of steps >= 0.
    scheme : {"W-FR", "FR-W", "W-FR-W", "FR-W-FR"}
        Parts in the order in which they act. The last two are Strang splittings: the outer parts take dt / 2.
    transport_rate, reaction_rate : float
        alpha, beta >= 0.
    transport : {"exact", "sinkhorn"}
        Whether the transport parts are exact, or steps of `SinkhornKernel`, which take asinh(alpha a h) in
        place of alpha a h, h the size of the part.

    Raises
    ------
    ValueError
        If an argument is not as above.
    """
    alpha, beta = checked_problem(target, start, transport_rate, reaction_rate)
    choice("scheme", scheme, SCHEMES)
    choice("transport", transport, TRANSPORTS)
    dt, n_steps = positive("dt", dt), whole("n_steps", n_steps, 0, most=MOST_STEPS)
    if n_steps == 0 or alpha == beta == 0:
        return start
    a, basis = np.linalg.eigh(target.precision)
    x, y = alpha * dt * a, beta * dt / 2
    if transport == "sinkhorn":
        x = 2 * np.arcsinh(x / 2) if scheme == "W-FR-W" else np.arcsinh(x)
    reaction, transported = _split_shares(scheme, x, y)
    return _evolved(target, start, (a, basis), n_steps * x, n_steps * y, r=reaction, q=transported)


def _split_shares(scheme: str, x: Array, y: float) -> tuple[Array, Array]:
    """Shares of the reaction and of the transport, from their exponents over one step."""
    both = -np.expm1(-2 * (x + y))
    if scheme == "W-FR":
        shares = np.exp(-2 * x) * -np.expm1(-2 * y), -np.expm1(-2 * x)
    elif scheme == "FR-W":
        shares = -np.expm1(-2 * y) * np.ones_like(x), np.exp(-2 * y) * -np.expm1(-2 * x)
    elif scheme == "W-FR-W":
        shares = np.exp(-x) * -np.expm1(-2 * y), -np.expm1(-x) * (1 + np.exp(-x - 2 * y))
    else:
        shares = -np.expm1(-y) * (1 + np.exp(-2 * x - y)), np.exp(-y) * -np.expm1(-2 * x)
    return shares[0] / both, shares[1] / both


def _evolved(
    target: Gaussian, start: Gaussian, eigen: tuple[Array, Array], x: Array, y: float, *, r: Array, q: Array
) -> Gaussian:
    """Evaluate the form at the head of this file, in the eigenbasis of A: x, r, q have one entry per eigenvalue."""
    a, basis = eigen
    root, gone = np.exp(-(x + y)), -np.expm1(-2 * (x + y))  # sqrt(e), 1 - e
    k11, k22 = r + q * root**2, q + r * root**2
    k12, k21 = q * gone / a, r * gone * a
    covariance = basis.T @ start.covariance @ basis
    offset = basis.T @ (start.mean - target.mean)
    offset = math.exp(-y) * root * np.linalg.solve(covariance * k21 + np.diag(k22), offset)
    if k22.min() >= k11.min():
        inner = _inverse_of_sum(covariance, k21 / k22)
        covariance = np.diag(k12 / k22) + np.outer(root / k22, root / k22) * inner
    else:  # the same map for the precision: without transport k22 is e, which may underflow
        inner = _inverse_of_sum(np.linalg.inv(covariance), k12 / k11)
        covariance = np.linalg.inv(np.diag(k21 / k11) + np.outer(root / k11, root / k11) * inner)
    covariance = basis @ covariance @ basis.T
    return Gaussian(target.mean + basis @ offset, (covariance + covariance.T) / 2)


def _inverse_of_sum(covariance: Array, diagonal: Array) -> Array:
    """(C⁻¹ + D)⁻¹ of a positive definite C and a diagonal D >= 0, as L (I + L' D L)⁻¹ L' with C = L L'."""
    factor = np.linalg.cholesky((covariance + covariance.T) / 2)
    inner = np.eye(len(diagonal)) + (factor.T * diagonal) @ factor
    return np.asarray(factor @ np.linalg.solve(inner, factor.T))


@knows_its_arguments
def gaussian_flow_by_ode(
    target: Target | Callable[[float], Gaussian],
    start: Gaussian,
    t: float,
    transport_rate: float = 1.0,
    reaction_rate: float = 1.0,
    start_time: float = 0.0,
) -> Gaussian:
    """Wasserstein-Fisher-Rao flow to a Gaussian that may move, by integrating the equations of its moments.

    With b and A those of the target at the time: dm/dt = -(alpha I + beta C) A (m - b) and
    dC/dt = alpha (2 I - A C - C A) + beta (C - C A C), by the method of order 8 of Dormand and Prince
    (relative tolerance 1e-13 per step; measured against `gaussian_flow`: 1e-12).

    Parameters
    ----------
    target : Target, or function t -> Gaussian
        A `Gaussian`, or a moving target whose `at(t)` is one (a `GeometricPath` between Gaussians).
    start : Gaussian
    t : float
        Time at the end, >= start_time.
    transport_rate, reaction_rate : float
        alpha, beta >= 0.
    start_time : float
        Time of the start, on the clock of the target.

    Raises
    ------
    ValueError
        If dimensions differ, the target is not Gaussian at a time, or a time or rate is not as above.
    NumericalError
        If the integration fails.
    """
    from scipy.integrate import solve_ivp

    at = target.at if isinstance(target, Target) else function("target", target, "of the time that returns a Gaussian")
    t, start_time = finite("t", t), finite("start_time", start_time)
    alpha, beta = checked_problem(at(start_time), start, transport_rate, reaction_rate)
    if t < start_time:
        raise ValueError(f"t must be at least start_time, got t={t} and start_time={start_time}")
    if t == start_time:
        return start
    d = start.ndim
    stiffness = 2 * alpha * np.linalg.eigvalsh(checked_gaussian("target", at(start_time)).precision)[-1] + beta
    if not float(stiffness) * (t - start_time) <= STIFFEST:  # floats of Python overflow without a warning
        raise ValueError(
            f"transport_rate={alpha:g} and reaction_rate={beta:g} from start_time={start_time:g} to t={t:g} take more "
            f"than {STIFFEST:g} times the fastest relaxation: use gaussian_flow, or stop earlier"
        )

    def rate_of_change(time: float, moments: Array) -> Array:
        pi = checked_gaussian("target", at(time))
        m, c = moments[:d], moments[d:].reshape(d, d)
        ac = pi.precision @ c
        dm = -(alpha * np.eye(d) + beta * c) @ pi.precision @ (m - pi.mean)
        dc = alpha * (2 * np.eye(d) - ac - ac.T) + beta * (c - c @ ac)
        return np.concatenate([dm, dc.ravel()])

    moments = np.concatenate([start.mean, start.covariance.ravel()])
    least = 1e-14 * float(np.linalg.eigvalsh(start.covariance)[0])
    solution = solve_ivp(rate_of_change, (start_time, t), moments, method="DOP853", rtol=1e-13, atol=least)
    if not solution.success:
        raise NumericalError(f"the moment equations could not be integrated to t={t}: {solution.message}")
    mean, covariance = solution.y[:d, -1], solution.y[d:, -1].reshape(d, d)
    return Gaussian(mean, (covariance + covariance.T) / 2)


@knows_its_arguments
def gaussian_kl(p: Gaussian, q: Gaussian) -> float:
    """KL(p|q) of two Gaussians in nats, right to rounding where they are nearly equal too.

    ½ [tr(Q C) - d - log det(Q C) + (m - n)' Q (m - n)], with p = N(m, C), q = N(n, Q⁻¹).
    """
    check_gaussians(p, q, "p", "q")
    factor = np.linalg.cholesky(q.covariance)
    offset = np.linalg.solve(factor, p.mean - q.mean)
    # eigenvalues of Q C - I: each contributes l - log(1 + l), where the sums would cancel
    gap = np.linalg.solve(factor, np.linalg.solve(factor, p.covariance - q.covariance).T)
    excess = np.linalg.eigvalsh((gap + gap.T) / 2)
    if np.abs(excess).max() < 0.5:
        return float(0.5 * (np.sum(minus_log1p(excess, np)) + offset @ offset))
    ratio = np.linalg.solve(factor, np.linalg.cholesky(p.covariance))
    return float(0.5 * (np.sum(ratio**2) - p.ndim - 2 * np.linalg.slogdet(ratio)[1] + offset @ offset))
