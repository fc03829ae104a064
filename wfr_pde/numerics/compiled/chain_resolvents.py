"""The rational function of type (k - 1, k) that agrees with e^z to order 2k - 1, of the generator of a chain on lines.

It is the stability function of the L-stable Radau IIA methods (Hairer and Wanner 1996, doi:10.1007/978-3-642-05221-7,
IV.5), as a sum of k resolvents (θ - h L)^-1: each is one elimination without subtractions along the line, and one for
both of a pair of conjugate poles. The pairs are four, which between walls are done by one vector.

What numba has stored of functions that call those of this file goes by the date of their own file, not of this one.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numba
import numpy as np

from wfr_pde.numerics.compiled.vectors_of_four import load, minus, over, plus, store, times
from wfr_pde.numerics.typing import Array

POLES = 8  # order 2 * 8 - 1 = 15
PAIRS = POLES // 2  # of conjugate poles, as many as a vector of `vectors_of_four` has numbers
PER_CELL = 2 * PAIRS  # real and imaginary parts

jit = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})


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


class Block(NamedTuple):
    """Lines that are done together: flat arrays of n rows, with one cell of each of `lines` lines in a row."""

    rates: tuple[Array, Array]  # of jumps down and up
    scaled: tuple[Array, Array]  # the same in units of the scales of the cells
    parts: Array  # of the scaled rates, see `_rescale`
    wide: bool  # whether every cell has a scale of its own
    lines: int
    periodic: bool


class Resolvents(NamedTuple):
    """The poles, and memory for the resolvents of a block: flat arrays, see `_eliminate` and `_solve_ring`."""

    poles: Array
    rhs: Array
    y: Array
    g: Array
    s: Array


@jit
def allocated(poles: Array, n: int, lines: int, periodic: bool) -> Resolvents:
    """Allocate the memory for a block."""
    size = n * lines * PER_CELL
    y, g = np.zeros(3 * size if periodic else size), np.empty(2 * size if periodic else size)
    return Resolvents(poles, np.empty(n * lines), y, g, np.zeros(lines * PER_CELL))


@jit
def _four(value: float) -> tuple[float, float, float, float]:
    return value, value, value, value


@jit
def _eliminate(block: Block, h: float, work: Resolvents) -> None:
    """Compute g ← 1/β between walls for every pole θ, by an elimination that carries the row sums θ along.

    With s = 1 - (what has been eliminated of the weight below), β = θ + h down s_below + h up; nothing cancels. Scales
    of the cells do not change that, only what is carried from cell to cell. g (n, lines, 2, PAIRS) and s
    (lines, 2, PAIRS) hold real and imaginary parts.
    """
    _, _, _, g, s = work
    lines, (down, up) = block.lines, block.rates
    poles, one, nothing = work.poles.ravel(), _four(1.0), _four(0.0)
    real, imaginary = load(poles, 0), load(poles, PAIRS)
    s[:] = 0.0
    for q in range(len(down)):
        own, m = PER_CELL * q, PER_CELL * (q % lines)
        from_below, from_above = _four(h * down[q]), _four(h * up[q])
        nr = plus(real, times(from_below, load(s, m)))
        ni = plus(imaginary, times(from_below, load(s, m + PAIRS)))
        br = plus(nr, from_above)
        inverse = over(one, plus(times(br, br), times(ni, ni)))
        br, bi = times(br, inverse), times(minus(nothing, ni), inverse)
        store(g, own, br)
        store(g, own + PAIRS, bi)
        store(s, m, minus(times(nr, br), times(ni, bi)))
        store(s, m + PAIRS, plus(times(nr, bi), times(ni, br)))


@jit
def _substitute(f: Array, out: Array, block: Block, h: float, work: Resolvents) -> None:
    """Compute out ← f + Σ Re[c/θ y], y = (θ - h L)^-1 rhs, between walls, after `_eliminate` with the same h.

    y (n, lines, 2, PAIRS): real and imaginary parts.
    """
    _, rhs, y, g, _ = work
    row, size = PER_CELL * block.lines, len(f)
    scaled_down, scaled_up = block.scaled
    y[:row] = 0.0  # read, times zero, before it is set: it must not hold an overflow of the step before
    for q in range(size):
        own = PER_CELL * q
        below = own if own < row else own - row
        rate, br, bi = _four(h * scaled_down[q]), load(g, own), load(g, own + PAIRS)
        ar = plus(_four(rhs[q]), times(rate, load(y, below)))
        ai = times(rate, load(y, below + PAIRS))
        store(y, own, minus(times(ar, br), times(ai, bi)))
        store(y, own + PAIRS, plus(times(ar, bi), times(ai, br)))
    poles = work.poles.ravel()
    real, imaginary = load(poles, 2 * PAIRS), load(poles, 3 * PAIRS)
    for q in range(size - 1, -1, -1):
        own, above = PER_CELL * q, PER_CELL * q + row
        yr, yi = load(y, own), load(y, own + PAIRS)
        if above < len(y):
            rate = _four(h * scaled_up[q])
            gr, gi = times(rate, load(g, own)), times(rate, load(g, own + PAIRS))
            ar, ai = load(y, above), load(y, above + PAIRS)
            yr = plus(yr, minus(times(gr, ar), times(gi, ai)))
            yi = plus(yi, plus(times(gr, ai), times(gi, ar)))
            store(y, own, yr)
            store(y, own + PAIRS, yi)
        change = minus(times(real, yr), times(imaginary, yi))
        out[q] = f[q] + ((change[0] + change[1]) + (change[2] + change[3]))


@jit
def _solve_ring(block: Block, h: float, work: Resolvents) -> None:
    """Compute y ← (θ - h L)^-1 rhs for every pole θ, by an elimination that carries the row sums θ along.

    The elimination is that of `_eliminate`. The last cell is solved for in the end: y += z y_last with z the response
    of the others to it. y (n, lines, 6, PAIRS), g (n, lines, 4, PAIRS): real and imaginary parts of y, z, and
    k = 1 - z.
    """
    poles, rhs = work.poles, work.rhs
    lines, n = block.lines, len(rhs) // block.lines
    y, g = work.y.reshape((n, lines, 6, PAIRS)), work.g.reshape((n, lines, 4, PAIRS))
    s = work.s.reshape((lines, 2, PAIRS))
    down, up = block.rates
    scaled_down, scaled_up = block.scaled
    s[:] = 0.0
    y[0] = 0.0  # read, times zero, before it is set: it must not hold an overflow of the step before
    chain = n - 1
    for i in range(chain):
        first, last = i == 0, i == chain - 1
        for m in range(lines):
            q = i * lines + m
            hd, hu, r = h * down[q], h * up[q], rhs[q]
            link, scaled_link = 0.0, 0.0  # rate of jumps from this cell straight to the last cell of a ring
            from_below, from_above = h * scaled_down[q], h * scaled_up[q]
            if first:
                link, scaled_link, hd, from_below = hd, from_below, 0.0, 0.0
            if last:
                link, scaled_link, hu, from_above = link + hu, scaled_link + from_above, 0.0, 0.0
            below = max(i - 1, 0)
            for j in range(PAIRS):
                nr = poles[0, j] + link + hd * s[m, 0, j]
                ni = poles[1, j] + hd * s[m, 1, j]
                br, bi = nr + hu, ni
                inverse = 1.0 / (br * br + bi * bi)
                br, bi = br * inverse, -bi * inverse
                s[m, 0, j] = nr * br - ni * bi
                s[m, 1, j] = nr * bi + ni * br
                ar = r + from_below * y[below, m, 0, j]
                ai = from_below * y[below, m, 1, j]
                y[i, m, 0, j] = ar * br - ai * bi
                y[i, m, 1, j] = ar * bi + ai * br
                g[i, m, 0, j] = from_above * br
                g[i, m, 1, j] = from_above * bi
                g[i, m, 2, j] = hu * br
                g[i, m, 3, j] = hu * bi
                ar, ai = scaled_link + from_below * y[below, m, 2, j], from_below * y[below, m, 3, j]
                y[i, m, 2, j] = ar * br - ai * bi
                y[i, m, 3, j] = ar * bi + ai * br
                ar, ai = poles[0, j] + hd * y[below, m, 4, j], poles[1, j] + hd * y[below, m, 5, j]
                y[i, m, 4, j] = ar * br - ai * bi
                y[i, m, 5, j] = ar * bi + ai * br
    for i in range(chain - 2, -1, -1):
        for m in range(lines):
            for c in range(3):
                own = 2 if c == 2 else 0  # k is not scaled
                for j in range(PAIRS):
                    gr, gi = g[i, m, own, j], g[i, m, own + 1, j]
                    yr, yi = y[i + 1, m, 2 * c, j], y[i + 1, m, 2 * c + 1, j]
                    y[i, m, 2 * c, j] += gr * yr - gi * yi
                    y[i, m, 2 * c + 1, j] += gr * yi + gi * yr
    _close_ring(block, h, work.poles, rhs, y)


@jit
def _close_ring(block: Block, h: float, poles: Array, rhs: Array, y: Array) -> None:
    """Solve for the last cell of a ring, and add its part to the others."""
    rates, scaled, lines = block.rates, block.scaled, block.lines
    end = len(rhs) // lines - 1
    for m in range(lines):
        q = end * lines + m
        hd, hu, r = h * rates[0][q], h * rates[1][q], rhs[q]
        sd, su = h * scaled[0][q], h * scaled[1][q]
        for j in range(PAIRS):
            br = poles[0, j] + hd * y[end - 1, m, 4, j] + hu * y[0, m, 4, j]
            bi = poles[1, j] + hd * y[end - 1, m, 5, j] + hu * y[0, m, 5, j]
            ar = r + sd * y[end - 1, m, 0, j] + su * y[0, m, 0, j]
            ai = sd * y[end - 1, m, 1, j] + su * y[0, m, 1, j]
            inverse = 1.0 / (br * br + bi * bi)
            y[end, m, 0, j] = (ar * br + ai * bi) * inverse
            y[end, m, 1, j] = (ai * br - ar * bi) * inverse
    for i in range(end):
        for m in range(lines):
            for j in range(PAIRS):
                zr, zi = y[i, m, 2, j], y[i, m, 3, j]
                lr, li = y[end, m, 0, j], y[end, m, 1, j]
                y[i, m, 0, j] += zr * lr - zi * li
                y[i, m, 1, j] += zr * li + zi * lr


@jit
def _sum_ring(f: Array, out: Array, block: Block, work: Resolvents) -> None:
    """Compute out ← f + Σ Re[c/θ y] on a ring, after `_solve_ring`."""
    poles, lines, n = work.poles, block.lines, len(f) // block.lines
    y = work.y.reshape((n, lines, 6, PAIRS))
    for i in range(n):
        for m in range(lines):
            change = 0.0
            for j in range(PAIRS):
                change += poles[2, j] * y[i, m, 0, j] - poles[3, j] * y[i, m, 1, j]
            out[i * lines + m] = f[i * lines + m] + change


@jit
def _right_hand_side(f: Array, block: Block, h: float, rhs: Array) -> None:
    """Compute rhs ← h L f; beyond walls the rates are zero."""
    parts, lines, n = block.parts, block.lines, len(f) // block.lines
    down, up = block.rates
    for i in range(n):
        below, above = (i - 1) % n * lines, (i + 1) % n * lines
        for m in range(lines):
            q = i * lines + m
            f_below, f_above = f[below + m], f[above + m]
            if block.wide:
                jumps = parts[0, q] * (parts[2, q] * f_below - parts[4, q] * f[q])
                rhs[q] = h * (jumps + parts[1, q] * (parts[3, q] * f_above - parts[5, q] * f[q]))
            else:
                rhs[q] = h * (down[q] * (f_below - f[q]) + up[q] * (f_above - f[q]))


@jit
def _rational(f: Array, out: Array, block: Block, h: float, work: Resolvents) -> None:
    """Compute out ← f + Σ Re[c/θ (θ - h L)^-1 h L f], between walls after `_eliminate` with the same h."""
    _right_hand_side(f, block, h, work.rhs)
    if block.periodic:
        _solve_ring(block, h, work)
        _sum_ring(f, out, block, work)
    else:
        _substitute(f, out, block, h, work)


@jit
def whole_and_halves(f: Array, whole: Array, half: Array, block: Block, h: float, work: Resolvents) -> None:
    """Compute the function of h L, whole ← R(h L) f, and twice that of half of it, half ← R(h/2 L)² f."""
    if not block.periodic:
        _eliminate(block, h, work)
    _rational(f, whole, block, h, work)
    if not block.periodic:
        _eliminate(block, h / 2, work)
    _rational(f, half, block, h / 2, work)
    _rational(half, half, block, h / 2, work)
