"""Problems on which backends are held against NumPy: target, start, options of the grid, time."""

import numpy as np

import wfr_pde as wfr

CASES = {
    "1D": (wfr.DoubleWell(2.0), wfr.Gaussian(-1, 0.1), dict(lower=-3, upper=3, shape=100), 0.05),
    "3D periodic": (
        wfr.Potential("cos(x) + cos(y) * sin(z)"),
        wfr.Potential("3*cos(x - 1) + cos(y) + sin(z)"),
        dict(lower=[0, 0, 0], upper=[2 * np.pi] * 3, shape=(16, 18, 20), boundary="periodic"),
        0.5,
    ),
    "far": (
        wfr.Gaussian([0, 0], [[1, 0.3], [0.3, 0.5]]),
        wfr.Gaussian([-5, 2], 0.01),
        dict(lower=[-8, -6], upper=[6, 6], shape=(180, 160)),
        0.05,
    ),
}
