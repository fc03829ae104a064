"""Poles and weights of the rational functions that the L-stable Radau IIA methods have for e^z."""

from __future__ import annotations

import functools

import numpy as np

from wfr_pde.numerics.typing import Array

POLES = 8  # order 2 * 8 - 1 = 15


@functools.cache
def resolvents(k: int = POLES) -> Array:
    """Return the poles θ_j and weights c_j/θ_j with e^z ≈ 1 + Σ_j c_j/θ_j z/(θ_j - z), one of each conjugate pair.

    Returns
    -------
    array (4, k/2)
        Real and imaginary parts of the poles and of the weights; the weights of a pair are doubled, so that the real
        part of one is the sum of both.
    """
    import mpmath

    with mpmath.workdps(60):
        f = mpmath.factorial
        n = 2 * k - 1
        top = [f(n - j) * f(k - 1) / (f(n) * f(j) * f(k - 1 - j)) for j in range(k)]
        bottom = [(-1) ** j * f(n - j) * f(k) / (f(n) * f(j) * f(k - j)) for j in range(k + 1)]
        poles = [pole for pole in mpmath.polyroots(bottom[::-1], maxsteps=500, extraprec=200) if pole.imag > 0]
        slope = [j * bottom[j] for j in range(1, k + 1)]
        weights = [-2 * mpmath.polyval(top[::-1], pole) / mpmath.polyval(slope[::-1], pole) / pole for pole in poles]
        pairs = sorted(zip(poles, weights, strict=True), key=lambda pair: float(pair[0].imag))
        numbers = [(float(p.real), float(p.imag), float(w.real), float(w.imag)) for p, w in pairs]
    return np.array(numbers).T.copy()
