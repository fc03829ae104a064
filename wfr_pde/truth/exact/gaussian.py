"""Closed forms of flows from a Gaussian to a Gaussian, exact or split; the KL divergence between two Gaussians.

Notation: pi = N(b, A⁻¹) the target, mu_0 = N(m_0, C_0) the start, alpha the transport rate, beta the reaction
rate. A transport step and a reaction step each move a covariance by a fractional linear map that fixes A⁻¹, so that
the exact flow and every splitting have one form, which the notes of `gaussian_flow` give. All its sums are of positive
terms: nothing is singular where C_0 - A⁻¹ is, and nothing cancels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike

from wfr_pde.errors import NumericalError
from wfr_pde.flows.gaussian_moments import after, evolved
from wfr_pde.numerics.arguments import choice, finite, function, knows_its_arguments, positive, real_array, whole
from wfr_pde.numerics.special import minus_log1p
from wfr_pde.numerics.typing import Array
from wfr_pde.targets import Gaussian, Target
from wfr_pde.truth.exact.arguments import check_gaussians, checked_gaussian, checked_problem, checked_time

STIFFEST = 1e5  # fastest relaxations that the moment equations are integrated over: explicit steps are as short as one
MOST_STEPS = 10**15  # of a splitting, given by their number alone; a float counts steps exactly up to 9e15
SCHEMES = ("W-FR", "FR-W", "W-FR-W", "FR-W-FR")  # values of the argument `scheme` of `gaussian_split`
TRANSPORTS = ("exact", "sinkhorn")  # values of its argument `transport`


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
    """Evaluate the Wasserstein-Fisher-Rao flow from a Gaussian to a Gaussian, in closed form.

    The moments solve, with the target N(b, A⁻¹),

        dm/dt = -(alpha I + beta C) A (m - b),
        dC/dt = alpha (2 I - A C - C A) + beta (C - C A C).

    The solution is not singular where C_0 - A⁻¹ is, and the covariances need not commute. Crucinio and Pathiraja (2025,
    arXiv:2511.18060), equations (3.1)-(3.6), have alpha = beta = 1 in a form that is singular there.

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
    TypeError
        If target or start is no Gaussian.

    Notes
    -----
    With the exponents x = alpha a t and y = beta t/2 of an eigenvalue a of A, e = exp(-2 (x + y)), and the shares
    r = y/(x + y) of the reaction and q = x/(x + y) of the transport, let

        k11 = r + q e,    k12 = q (1 - e)/a,    k21 = r (1 - e) a,    k22 = q + r e.

    In the eigenbasis of A, where these are diagonal matrices, mean and covariance are

        C = k12/k22 + (sqrt(e)/k22) (C_0⁻¹ + k21/k22)⁻¹ (sqrt(e)/k22),
        m = b + exp(-y) sqrt(e) (C_0 k21 + k22)⁻¹ (m_0 - b).

    Examples
    --------
    With alpha = beta = 1 the mean of N(1, 1) falls as exp(-2 t); by transport alone, as exp(-t):

    >>> import wfr_pde as wfr
    >>> target, start = wfr.Gaussian(0.0, 1.0), wfr.Gaussian(1.0, 1.0)
    >>> wfr.exact.gaussian_flow(target, start, 1.0).mean.round(4)
    array([0.1353])
    >>> wfr.exact.gaussian_flow(target, start, 1.0, reaction_rate=0.0).mean.round(4)
    array([0.3679])
    """
    alpha, beta = checked_problem(target, start, transport_rate, reaction_rate)
    times = real_array("t", t)
    if times.ndim > 1:
        raise ValueError(f"t must be a number, or an array (n_t,), got shape {times.shape}")
    if times.ndim == 1:
        return [gaussian_flow(target, start, time, alpha, beta) for time in times.tolist()]
    return after(target, start, checked_time(t), (alpha, beta))


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
    """Evaluate a split Wasserstein-Fisher-Rao flow between Gaussians in closed form: `n_steps` steps of size `dt`.

    With x = alpha a dt the transport and y = beta dt/2 the reaction exponent of one step, and D = 1 - exp(-2 (x + y)),
    the shares r of the reaction and q = 1 - r of the transport are

        W-FR      r = e^{-2x} (1 - e^{-2y}) / D                q = (1 - e^{-2x}) / D
        FR-W      r = (1 - e^{-2y}) / D                        q = e^{-2y} (1 - e^{-2x}) / D
        W-FR-W    r = e^{-x} (1 - e^{-2y}) / D                 q = (1 - e^{-x}) (1 + e^{-x-2y}) / D
        FR-W-FR   r = (1 - e^{-y}) (1 + e^{-2x-y}) / D         q = e^{-y} (1 - e^{-2x}) / D

    in the formulas of the notes on `gaussian_flow`, with the exponents n x and n y of all n steps. The orders in dt are
    1, 1, 2, 2. Crucinio and Pathiraja (2025, arXiv:2511.18060) have W-FR and FR-W at alpha = beta = 1.

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
        Whether the transport parts are exact, or steps of `SinkhornKernel`, which take asinh(alpha a h) in place of
        alpha a h, h the size of the part.

    Returns
    -------
    Gaussian

    Raises
    ------
    ValueError
        If an argument is not as above.
    TypeError
        If target or start is no Gaussian.

    Examples
    --------
    Half the step divides the error of the Strang splitting by 2²:

    >>> import math
    >>> import wfr_pde as wfr
    >>> target, start = wfr.Gaussian(0.0, 1.0), wfr.Gaussian(1.0, 4.0)
    >>> def error(n):
    ...     split = wfr.exact.gaussian_split(target, start, 1 / n, n, "W-FR-W")
    ...     return split.covariance[0, 0] - wfr.exact.gaussian_flow(target, start, 1.0).covariance[0, 0]
    >>> round(math.log2(error(64) / error(128)), 2)
    2.0
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
    return evolved(target, start, (a, basis), n_steps * x, n_steps * y, r=reaction, q=transported)


def _split_shares(scheme: str, x: Array, y: float) -> tuple[Array, Array]:
    """Return the shares of the reaction and of the transport, from their exponents over one step."""
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


@knows_its_arguments
def gaussian_flow_by_ode(
    target: Target | Callable[[float], Gaussian],
    start: Gaussian,
    t: float,
    transport_rate: float = 1.0,
    reaction_rate: float = 1.0,
    start_time: float = 0.0,
) -> Gaussian:
    """Integrate the moments of the Wasserstein-Fisher-Rao flow to a Gaussian target that may move.

    With b and A those of the target at the time, it solves dm/dt = -(alpha I + beta C) A (m - b) and dC/dt = alpha (2 I
    - A C - C A) + beta (C - C A C) by the method of order 8 of Dormand and Prince (relative tolerance 1e-13 per step).
    For a target at rest use `gaussian_flow`, which is exact; the two agree to 1e-12.

    Parameters
    ----------
    target : Target, or function t -> Gaussian
        A `Gaussian`, or a moving target whose `at(t)` is one (a `GeometricPath` between Gaussians).
    start : Gaussian
        mu_0.
    t : float
        Time at the end, >= start_time.
    transport_rate, reaction_rate : float
        alpha, beta >= 0.
    start_time : float
        Time of the start, on the clock of the target.

    Returns
    -------
    Gaussian

    Raises
    ------
    ValueError
        If dimensions differ, or a time or rate is not as above; if the run is longer than 1e5 of its fastest
        relaxations.
    TypeError
        If target or start is not Gaussian at a time.
    NumericalError
        If the integration fails.

    References
    ----------
    Hairer, Nørsett, Wanner (1993), Solving Ordinary Differential Equations I, doi:10.1007/978-3-540-78862-1, section
    II.5.

    Examples
    --------
    By transport alone, a mean that starts at 0 follows the mean t of a moving target as t - 1 + exp(-t):

    >>> import wfr_pde as wfr
    >>> moved = wfr.exact.gaussian_flow_by_ode(
    ...     lambda t: wfr.Gaussian(t, 1.0), wfr.Gaussian(0.0, 1.0), 1.0, reaction_rate=0.0
    ... )
    >>> moved.mean.round(4)
    array([0.3679])
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
    """Compute KL(p|q) of two Gaussians in nats, right to rounding also where they are nearly equal.

    With p = N(m, C) and q = N(n, Q⁻¹) it is ½ [tr(Q C) - d - log det(Q C) + (m - n)' Q (m - n)].

    Parameters
    ----------
    p, q : Gaussian
        Of one dimension d.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If dimensions differ.
    TypeError
        If one is no Gaussian.

    Examples
    --------
    For equal variances of one it is half the squared distance of the means, however small that is:

    >>> import wfr_pde as wfr
    >>> wfr.exact.gaussian_kl(wfr.Gaussian(1.0, 1.0), wfr.Gaussian(0.0, 1.0))
    0.5
    >>> f"{wfr.exact.gaussian_kl(wfr.Gaussian(1e-10, 1.0), wfr.Gaussian(0.0, 1.0)):.6g}"
    '5e-21'
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
