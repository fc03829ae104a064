"""The method of characteristics: points that move along a velocity field, and what a rate adds up to on their way."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from wfr_pde.errors import NumericalError
from wfr_pde.numerics.typing import Array


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
