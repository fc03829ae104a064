"""The method of characteristics: points that move along a velocity field, and what a rate adds up to on their way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from wfr_pde.errors import NumericalError
from wfr_pde.numerics.typing import Array

Slope = Callable[[float, Array], Array]

TOLERANCE = 1e-9  # of a step relative to the scales: some 1e-8 nats in tails that fall by ten nats a cell
HALVINGS = 10  # of a step at most: below a thousandth of it the slope is taken to be no smooth function


def along_characteristics(
    velocity: Callable[[Array, float], Array],
    rate: Callable[[Array, float], Array],
    points: Array,
    t: float,
    t_end: float,
    *,
    rtol: float,
    lengths: Array,
) -> tuple[Array, Array]:
    """Solve dX/ds = v(X, s), dA/ds = r(X, s) from time t to t_end, which may be earlier, by a method of order 8.

    Parameters
    ----------
    velocity : function (points (n, d), t) -> (n, d)
    rate : function (points (n, d), t) -> (n,)
    points : array (n, d)
        X at time t; A is zero there.
    t, t_end : float
    rtol : float
        Relative tolerance; the absolute one is this times `lengths` for X, and times one for A.
    lengths : array (d,)
        Scales of the coordinates.

    Returns
    -------
    arrays (n, d) and (n,)
        X and A at time t_end.

    Raises
    ------
    NumericalError
        If the integration fails.
    """
    from scipy.integrate import solve_ivp  # here, as it is slow to import

    n, d = points.shape
    scale = np.concatenate([np.tile(lengths, n), np.ones(n)])

    def slope(s: float, state: Array) -> Array:
        x = state[: n * d].reshape(n, d)
        return np.concatenate([velocity(x, s).ravel(), rate(x, s)])

    begin = np.concatenate([points.ravel(), np.zeros(n)])
    run = solve_ivp(slope, (t, t_end), begin, method="DOP853", rtol=rtol, atol=rtol * scale, t_eval=[t_end])
    if not run.success:
        raise NumericalError(f"the characteristics from t={t:.6g} back to t={t_end:.6g} failed: {run.message}")
    end = run.y[:, -1]
    return end[: n * d].reshape(n, d), end[n * d :]


def back_along_characteristics(
    slope: Slope, begin: Array, t: float, h: float, scales: Array, tolerance: float = TOLERANCE
) -> Array:
    """Solve dY/ds = slope(s, Y) for many points from time t + h back to t, by steps of order 8.

    One step of Dormand and Prince's method, and where that is not right to the tolerance by its own estimate of the
    error, two of half its size for those points, and so on. Nothing is used from earlier steps, so that the map is a
    function of its arguments to the bit.

    Parameters
    ----------
    slope : function (s, Y (k, n)) -> (k, n)
        Each column by itself.
    begin : array (k, n)
        Y at time t + h.
    t, h : float
    scales : array (k,)
        What errors of the components are relative to.
    tolerance : float
        Largest error of a step; the estimate is of a lower order than the step.

    Returns
    -------
    array (k, n)
        Y at time t.

    Raises
    ------
    NumericalError
        If halving the step `HALVINGS` times is not enough.

    References
    ----------
    Hairer, Nørsett, Wanner (1993), Solving Ordinary Differential Equations I, doi:10.1007/978-3-540-78862-1, section
    II.5.
    """
    return _steps_back(slope, begin, (t + h, -h), scales=scales, tolerance=tolerance, halvings=HALVINGS)


def _steps_back(
    slope: Slope, begin: Array, step: tuple[float, float], *, scales: Array, tolerance: float, halvings: int
) -> Array:
    """Make the step (from, by), and two of half its size for the points where it is not right."""
    t, h = step
    end, error = _dormand_prince(slope, begin, t, h, scales)
    wrong = ~(error <= tolerance)
    if not wrong.any():
        return end
    if halvings == 0:
        raise NumericalError(
            f"the characteristics from t={t:.6g} over {h:.3g} have an error of {np.max(error):.1e} cells after "
            f"{HALVINGS} halvings of the step: the drift is too steep or not finite there; use a smaller dt"
        )
    options: dict[str, Any] = {"scales": scales, "tolerance": tolerance, "halvings": halvings - 1}
    middle = _steps_back(slope, begin[:, wrong], (t, h / 2), **options)
    end[:, wrong] = _steps_back(slope, middle, (t + h / 2, h / 2), **options)
    return end


def _dormand_prince(slope: Slope, begin: Array, t: float, h: float, scales: Array) -> tuple[Array, Array]:
    """Return Y after one step of order 8, and the largest estimated error of each point relative to the scales."""
    from scipy.integrate import DOP853  # here, as it is slow to import

    stages = np.empty((DOP853.n_stages, *begin.shape))
    for k in range(DOP853.n_stages):
        moved = begin if k == 0 else begin + h * np.tensordot(DOP853.A[k, :k], stages[:k], axes=1)
        stages[k] = slope(t + float(DOP853.C[k]) * h, moved)
    fifth, third = (
        h * np.tensordot(weights[: DOP853.n_stages], stages, axes=1) / scales[:, None]
        for weights in (DOP853.E5, DOP853.E3)
    )
    size = np.hypot(fifth, 0.1 * third)
    error = np.divide(fifth**2, size, out=np.zeros_like(size), where=size > 0).max(axis=0)
    return begin + h * np.tensordot(DOP853.B, stages, axes=1), error
