"""A Gaussian under a linear drift that is no gradient, with a growth: the closed form, and distances from it."""

import numpy as np
from scipy.integrate import solve_ivp

import wfr_pde as wfr

A, B0, D = np.array([[-1, 2], [-1.5, -0.5]]), np.array([0.3, -0.2]), 0.7
MEAN, COVARIANCE = np.array([0.5, -0.4]), np.array([[0.8, 0.2], [0.2, 0.5]])
Q1, Q2 = np.array([0.3, -0.5]), np.array([[0.6, 0.2], [0.2, 0.4]])
T = 0.5


def linear(points, t):
    return points @ A.T + B0


def quadratic(points, t):
    return points @ Q1 - np.einsum("...i,ij,...j->...", points, Q2, points) / 2


def weighted_gaussian(matrix, offset, diffusivity, t, *, q=0 * Q1, Q=0 * Q2):  # as in the equations
    """Return the law and log Z of b = A x + b0, c = q.x - x'Qx/2 at time t, by its Riccati equation."""

    def slope(s, y):
        m, c = y[:2], y[2:6].reshape(2, 2)
        dm = matrix @ m + offset + c @ (q - Q @ m)
        dc = matrix @ c + c @ matrix.T + 2 * np.diag(np.broadcast_to(diffusivity, 2)) - c @ Q @ c
        return np.concatenate([dm, dc.ravel(), [q @ m - (m @ Q @ m + np.trace(Q @ c)) / 2]])

    begin = np.concatenate([MEAN, COVARIANCE.ravel(), [0.0]])
    end = solve_ivp(slope, (0, t), begin, method="DOP853", rtol=1e-13, atol=1e-14).y[:, -1]
    return wfr.Gaussian(end[:2], end[2:6].reshape(2, 2)), end[6]


def solved(flow, start, t, dt):
    return wfr.Density.from_dataset(wfr.solve(None, flow, start, [0, t], dt))


def errors(density, exact, nats=60.0):
    """Return the L1 distance, and the largest relative error of the density within so many nats."""
    log_exact = density.grid.density(exact).log_values
    l1 = float(density.grid.integrate(np.abs(density.values - np.exp(log_exact))))
    return l1, np.abs(density.log_values - log_exact)[log_exact > log_exact.max() - nats].max()
