"""exp(time L) on many lines at once, L the generator of a Markov jump chain between neighbours, by compiled sweeps.

(L f)_i = down_i (f_{i-1} - f_i) + up_i (f_{i+1} - f_i) acts on the ratio f = mu/pi along lines. Two ways, both right
relative to every cell's own value, and both leaving a constant f as it is, to the last bit:

- uniformisation (Jensen 1953, doi:10.1080/03461238.1953.10419459): e^(time L) = Σ_k e^-x x^k/k! P^k with
  P = 1 + L/rate a stochastic matrix, x = rate time: sums of positive numbers;
- the rational function of type (k - 1, k) that agrees with e^z to order 2k - 1 (the stability function of the
  L-stable Radau IIA methods, Hairer and Wanner 1996, doi:10.1007/978-3-642-05221-7, IV.5), as a sum of k resolvents
  (θ - h L)^-1, each one elimination without subtractions along the line. It is not positive by itself; a step is
  accepted where one of h and two of h/2 agree in every cell, relative to its value.

The time is covered by intervals that grow: what is stiff and rough at first needs small ones, and there the first way
is the faster.
"""

from __future__ import annotations

import functools
from typing import Any

import numba
import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]

POLES = 8  # order 15
PAIRS = POLES // 2
SHARE = 1.1  # uniformisation rate over the largest exit rate: P keeps a tenth at least
SERIES = 100.0  # x of one series; its terms exceed f by e^100 at most
NEGLIGIBLE_TERM = 1e-17
TERMS_PER_CHECK = 8
GAIN = 1e-3  # two steps of h/2 against one of h: 2^-15 in theory
GROWTH, CUT = 4.0, 0.2  # of h from step to step, at most
SAFETY = 0.8
CELLS_PER_BLOCK = 768  # five arrays of them fit into the first cache

TOP, RANGE = 450.0, 1050.0  # f is scaled to at most e^TOP; lines that span more than RANGE nats get a scale per cell
STEEPEST = 2.0  # log of a jump rate over the largest, times what the scale of the other cell is larger by, at most
WIDE_SERIES = 40.0  # x of one series there: terms grow to e^(40 e^2) = e^296 at most

jit = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})


@functools.cache
def resolvents(k: int = POLES) -> Array:
    """Poles θ_j and weights c_j/θ_j with e^z ≈ 1 + Σ_j c_j/θ_j z/(θ_j - z), one of each conjugate pair.

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


@jit
def _next_term(
    here: Array,
    below: Array,
    above: Array,
    new: Array,
    f: Array,
    down: Array,
    up: Array,
    scale: float,
    scaled_jump: float,
) -> None:
    """new ← scale P here, added to f."""
    for q in range(len(f)):
        jumps = down[q] * (below[q] - here[q]) + up[q] * (above[q] - here[q])
        value = scale * here[q] + scaled_jump * jumps
        new[q] = value
        f[q] += value


@jit
def _next_scaled_term(
    here: Array,
    below: Array,
    above: Array,
    new: Array,
    f: Array,
    exits: Array,
    down: Array,
    up: Array,
    scale: float,
    scaled_jump: float,
) -> None:
    """The same where every cell has a scale of its own: down and up are times that of the neighbour over the cell's."""
    for q in range(len(f)):
        value = (scale - scaled_jump * exits[q]) * here[q] + scaled_jump * (down[q] * below[q] + up[q] * above[q])
        new[q] = value
        f[q] += value


@jit
def _series(
    f: Array,
    term: Array,
    spare: Array,
    exits: Array,
    down: Array,
    up: Array,
    wide: bool,
    lines: int,
    periodic: bool,
    x: float,
    rate: float,
) -> None:
    """f ← e^(x/rate L) f by uniformisation; flat arrays of n rows of `lines`, term and spare with a row around."""
    size = len(f)
    per_jump = 1.0 / rate
    for q in range(lines):  # rows beyond walls are multiplied by rates of zero
        term[q] = spare[q] = term[size + lines + q] = spare[size + lines + q] = 0.0
    for q in range(size):
        term[lines + q] = f[q]
    k = 0
    done = False
    while not done:
        for _ in range(TERMS_PER_CHECK):
            k += 1
            if periodic:
                for q in range(lines):
                    term[q] = term[size + q]
                    term[size + lines + q] = term[lines + q]
            scale = x / k
            scaled_jump = scale * per_jump
            here, below, above = term[lines : lines + size], term[:size], term[2 * lines :]
            new = spare[lines : lines + size]
            if wide:
                _next_scaled_term(here, below, above, new, f, exits, down, up, scale, scaled_jump)
            else:
                _next_term(here, below, above, new, f, down, up, scale, scaled_jump)
            term, spare = spare, term
        if k > x:
            worst = 0.0
            for q in range(size):
                worst = max(worst, term[lines + q] - NEGLIGIBLE_TERM * f[q])
            done = worst <= 0.0
    factor = np.exp(-x)
    for q in range(size):
        f[q] *= factor


@jit
def _solve(
    rhs: Array,
    rates: tuple[Array, Array],
    scaled: tuple[Array, Array],
    lines: int,
    periodic: bool,
    h: float,
    poles: Array,
    y: Array,
    g: Array,
    s: Array,
) -> None:
    """y ← (θ - h L)^-1 rhs for every pole θ, by an elimination that carries the row sums θ along.

    With s = 1 - (what has been eliminated of the weight below), β = θ + h down s_below + h up; nothing cancels.
    On a ring the last cell is solved for in the end: y += z y_last with z the response of the others to it.
    y, g (n, lines, 2, PAIRS), on a ring (n, lines, 6, PAIRS) and (n, lines, 4, PAIRS): real and imaginary parts of y,
    z, and k = 1 - z. Scales of the cells do not change the elimination, only what is carried from cell to cell.
    """
    n = len(rhs) // lines
    down, up = rates
    scaled_down, scaled_up = scaled
    chain = n - 1 if periodic else n
    for i in range(chain):
        first, last = i == 0, i == chain - 1
        for m in range(lines):
            q = i * lines + m
            hd, hu, r = h * down[q], h * up[q], rhs[q]
            link, scaled_link = 0.0, 0.0  # rate of jumps from this cell straight to the last cell of a ring
            from_below, from_above = h * scaled_down[q], h * scaled_up[q]
            if periodic and first:
                link, scaled_link, hd, from_below = hd, from_below, 0.0, 0.0
            if periodic and last:
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
                if periodic:
                    g[i, m, 2, j] = hu * br
                    g[i, m, 3, j] = hu * bi
                    ar, ai = scaled_link + from_below * y[below, m, 2, j], from_below * y[below, m, 3, j]
                    y[i, m, 2, j] = ar * br - ai * bi
                    y[i, m, 3, j] = ar * bi + ai * br
                    ar, ai = poles[0, j] + hd * y[below, m, 4, j], poles[1, j] + hd * y[below, m, 5, j]
                    y[i, m, 4, j] = ar * br - ai * bi
                    y[i, m, 5, j] = ar * bi + ai * br
    columns = 3 if periodic else 1
    for i in range(chain - 2, -1, -1):
        for m in range(lines):
            for c in range(columns):
                own = 2 if c == 2 else 0  # k is not scaled
                for j in range(PAIRS):
                    gr, gi = g[i, m, own, j], g[i, m, own + 1, j]
                    yr, yi = y[i + 1, m, 2 * c, j], y[i + 1, m, 2 * c + 1, j]
                    y[i, m, 2 * c, j] += gr * yr - gi * yi
                    y[i, m, 2 * c + 1, j] += gr * yi + gi * yr
    if periodic:
        _close_ring(rhs, rates, scaled, lines, h, poles, y)


@jit
def _close_ring(
    rhs: Array,
    rates: tuple[Array, Array],
    scaled: tuple[Array, Array],
    lines: int,
    h: float,
    poles: Array,
    y: Array,
) -> None:
    """The last cell of a ring, and its part in the others."""
    n = len(rhs) // lines
    end = n - 1
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
def _rational(
    f: Array,
    out: Array,
    rhs: Array,
    rates: tuple[Array, Array],
    scaled: tuple[Array, Array],
    wide: bool,
    lines: int,
    periodic: bool,
    h: float,
    poles: Array,
    y: Array,
    g: Array,
    s: Array,
) -> None:
    """out ← f + Σ Re[c/θ (θ - h L)^-1 h L f]."""
    n = len(f) // lines
    down, up = scaled
    for i in range(n):
        below, above = (i - 1) % n, (i + 1) % n  # beyond walls the rates are zero
        for m in range(lines):
            q = i * lines + m
            f_below, f_above = f[below * lines + m], f[above * lines + m]
            if wide:
                rhs[q] = h * (down[q] * f_below + up[q] * f_above - (rates[0][q] + rates[1][q]) * f[q])
            else:
                rhs[q] = h * (down[q] * (f_below - f[q]) + up[q] * (f_above - f[q]))
    s[:] = 0.0
    _solve(rhs, rates, scaled, lines, periodic, h, poles, y, g, s)
    for i in range(n):
        for m in range(lines):
            change = 0.0
            for j in range(PAIRS):
                change += poles[2, j] * y[i, m, 0, j] - poles[3, j] * y[i, m, 1, j]
            out[i * lines + m] = f[i * lines + m] + change


@jit
def _largest_exit_rate(down: Array, up: Array) -> float:
    rate = 0.0
    for q in range(len(down)):
        rate = max(rate, down[q] + up[q])
    return rate


@jit
def _scales(
    log_f: Array, rates: tuple[Array, Array], scaled: tuple[Array, Array], lines: int, periodic: bool, fastest: float
) -> Array:
    """Logarithms of a scale per cell, at least that of f, and such that no scaled rate exceeds `fastest` e^STEEPEST.

    A cell that many nats below its neighbour, more than the jump to it is rare, takes its scale from there: that is
    where its f will come from.
    """
    n = len(log_f) // lines
    scale = log_f.copy()
    turns = 2 if periodic else 1
    for m in range(lines):
        for k in range(turns * n):
            i, other = k % n, (k - 1) % n
            q = i * lines + m
            if (periodic or i > 0) and rates[0][q] > 0.0:
                least = scale[other * lines + m] - STEEPEST + np.log(rates[0][q] / fastest)
                scale[q] = max(scale[q], least)
        for k in range(turns * n - 1, -1, -1):
            i, other = k % n, (k + 1) % n
            q = i * lines + m
            if (periodic or i < n - 1) and rates[1][q] > 0.0:
                least = scale[other * lines + m] - STEEPEST + np.log(rates[1][q] / fastest)
                scale[q] = max(scale[q], least)
    for i in range(n):
        for m in range(lines):
            q = i * lines + m
            for side in range(2):
                other = (i - 1 + 2 * side) % n
                rate = rates[side][q]
                higher = scale[other * lines + m] - scale[q]
                scaled[side][q] = np.exp(np.log(rate) + higher) if rate > 0.0 else 0.0
    return scale


@jit
def _advance_block(
    f: Array,
    down: Array,
    up: Array,
    wide: bool,
    lines: int,
    periodic: bool,
    time: float,
    tolerance: float,
    poles: Array,
) -> None:
    """f ← e^(time L) f in place, for flat arrays of n rows of `lines`; if `wide`, f stands for its logarithm."""
    size = len(f)
    n = size // lines
    rate = SHARE * _largest_exit_rate(down, up)
    series = WIDE_SERIES if wide else SERIES
    term, spare = np.empty(size + 2 * lines), np.empty(size + 2 * lines)
    y = np.zeros((n, lines, 6 if periodic else 2, PAIRS))
    g, s = np.empty((n, lines, 4 if periodic else 2, PAIRS)), np.zeros((lines, 2, PAIRS))
    whole, half, rhs = np.empty(size), np.empty(size), np.empty(size)
    rates, scaled = (down, up), (down, up)
    log_f, scale, exits = f, f, f
    if wide:
        log_f, scaled, exits = f.copy(), (np.empty(size), np.empty(size)), down + up
    done, h = 0.0, 0.0
    while done < time:
        if wide:
            scale = _scales(log_f, rates, scaled, lines, periodic, rate)
            for q in range(size):
                f[q] = np.exp(log_f[q] - scale[q])
        left = time - done
        if h * rate <= series or left * rate <= series:
            length = min(left, series / rate)
            _series(f, term, spare, exits, scaled[0], scaled[1], wide, lines, periodic, length * rate, rate)
            h = 2 * series / rate
        else:
            length = min(h, left)
            _rational(f, whole, rhs, rates, scaled, wide, lines, periodic, length, poles, y, g, s)
            _rational(f, half, rhs, rates, scaled, wide, lines, periodic, length / 2, poles, y, g, s)
            _rational(half, half, rhs, rates, scaled, wide, lines, periodic, length / 2, poles, y, g, s)
            error = 0.0
            for q in range(size):
                error = max(error, abs(half[q] - whole[q]) / half[q] if half[q] > 0.0 else np.inf)
            factor = SAFETY * (tolerance / (GAIN * error)) ** (1.0 / (2 * POLES)) if error > 0.0 else GROWTH
            h = length * min(GROWTH, max(CUT, factor))
            if not GAIN * error <= tolerance:
                continue
            for q in range(size):
                f[q] = half[q]
        done = time if length == left else done + length
        if wide:
            for q in range(size):
                stays = log_f[q] - length * exits[q]  # what has not jumped: all there is, far from the rest
                log_f[q] = max(stays, scale[q] + np.log(f[q])) if f[q] > 0.0 else stays
    if wide:
        for q in range(size):
            f[q] = log_f[q]


@jit
def advance(
    f: Array,
    down: Array,
    up: Array,
    wide: bool,
    periodic: bool,
    time: float,
    tolerance: float,
    poles: Array,
    start: int,
    stop: int,
    block: int,
) -> None:
    """f[:, start:stop] ← e^(time L) f for lines down the columns of arrays (n, m), `block` lines at a time.

    If `wide`, f stands for its logarithm, of any range.
    """
    n = f.shape[0]
    for m0 in range(start, stop, block):
        m1 = min(m0 + block, stop)
        lines = m1 - m0
        part, d, u = np.empty(n * lines), np.empty(n * lines), np.empty(n * lines)
        for i in range(n):
            for m in range(lines):
                part[i * lines + m] = f[i, m0 + m]
                d[i * lines + m] = down[i, m0 + m]
                u[i * lines + m] = up[i, m0 + m]
        _advance_block(part, d, u, wide, lines, periodic, time, tolerance, poles)
        for i in range(n):
            for m in range(lines):
                f[i, m0 + m] = part[i * lines + m]
