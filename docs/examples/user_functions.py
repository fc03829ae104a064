"""Potentials as users have them, all of V(x, y) = x²/2 + cosh(y)."""

import math
import warnings

import numpy as np

import wfr_pde as wfr

warnings.simplefilter("ignore", wfr.errors.SlowFunctionWarning)  # of the fourth one

forms = {
    "text": wfr.Potential("x**2/2 + cosh(y)"),
    "arrays of coordinates": wfr.Potential(lambda x, y: x**2 / 2 + np.cosh(y)),
    "points (..., d)": wfr.Potential(lambda p: p[..., 0] ** 2 / 2 + np.cosh(p[..., 1]), ndim=2, of="points"),
    "numbers": wfr.Potential(lambda x, y: x**2 / 2 + math.cosh(y)),
    "one vector (d,)": wfr.Potential(lambda p: p[0] ** 2 / 2 + np.cosh(p[1]), ndim=2, of="point"),
}
for name, target in forms.items():
    print(f"{name:22} {target.log_density([[1.0, 0.5], [0.0, 2.0]])}")

moving = wfr.Potential("(x - tanh(t))**2 / 2")
truth = wfr.ground_truth(moving, wfr.Gaussian(0, 1), t=[0, 0.5, 1], rtol=1e-4)
print("moving target: KL", np.round(truth.kl.values, 6))
