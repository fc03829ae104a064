"""exp(time L) on many lines at once, L the generator of a Markov jump chain between neighbours, by compiled sweeps.

(L f)_i = down_i (f_{i-1} - f_i) + up_i (f_{i+1} - f_i) acts on the ratio f = mu/pi along lines. Two ways, both right
relative to every cell's own value, and both leaving a constant f as it is, to the last bit:

- uniformisation (Jensen 1953, doi:10.1080/03461238.1953.10419459): e^(time L) = Σ_k e^-x x^k/k! P^k with
  P = 1 + L/rate a stochastic matrix, x = rate time: sums of positive numbers;
- the rational function of type (k - 1, k) that agrees with e^z to order 2k - 1 (the stability function of the
  L-stable Radau IIA methods, Hairer and Wanner 1996, doi:10.1007/978-3-642-05221-7, IV.5), as a sum of k resolvents
  (θ - h L)^-1, each one elimination without subtractions along the line. It is not positive by itself; a step is
  accepted where one of h and two of h/2 agree in every cell, relative to its value.

The second way tries the whole time first. Where that fails, the time is covered by intervals that grow: what is stiff
and rough at first needs small ones, and there the first way is the faster.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from wfr_pde.numerics.compiled.chain_resolvents import PAIRS, POLES, Block, allocated, jit, whole_and_halves
from wfr_pde.numerics.compiled.chain_resolvents import resolvents as resolvents
from wfr_pde.numerics.typing import Array

Integers = np.ndarray[Any, np.dtype[np.int64]]

SHARE = 1.1  # uniformisation rate over the largest exit rate: P keeps a tenth at least
SERIES = 100.0  # x of one series; its terms exceed f by e^100 at most
NEGLIGIBLE_TERM = 1e-17  # of the sum, in every cell: below rounding, and terms beyond x fall
TERMS_PER_CHECK = 8  # from one look at all cells to the next, as a look reads as much as a term
GAIN = 1e-3  # two steps of h/2 against one of h: 2^-15 in theory
GROWTH, CUT = 4.0, 0.2  # of h from step to step, at most
EXACT, LEAP = 1e-14, 64.0  # error that is rounding, after which h grows by more
HOPELESS, PLUNGE = 1.0, 1.0 / 64.0  # error that tells no h, after which it shrinks by more
SAFETY = 0.8  # of the step that the error asks for, as is usual where steps are chosen
CELLS_PER_BLOCK = 768  # five arrays of them fit into the first cache

TOP, RANGE = 450.0, 1050.0  # f is scaled to at most e^TOP; lines that span more than RANGE nats get a scale per cell
WIDE_SERIES = 40.0  # x of one series where cells have scales of their own
WIDE_GROWTH = 320.0  # x times a scaled jump rate over the largest: terms grow to e^320 at most
MOST_SCALED = 900  # log2 of a scaled jump rate: doubles end at 2^1024
REACH = 500  # cells along which values are carried in one series: (320 e / 500)^500, far above the smallest double
SMALL = 1e-290  # scaled values below have lost digits
NOWHERE = -(2**40)  # exponent of zero: below those of all doubles, and far from overflow of integers
MOST_PARTS = 20_000  # of the time of a step: then something is wrong
PATIENCE = 32  # series, at most, before the second way is tried again
DONE, NEEDS_LOG_RATES, NO_END = 0, 1, 2  # of a sweep along one line
LN2_HIGH, LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10  # ln 2; the first has 33 digits
LOWEST_POWER, HIGHEST_POWER = 1100, 1000  # of two, in tables: below, nothing is left; above, in two parts
FALLING_POWERS = np.array([math.ldexp(1.0, -k) for k in range(LOWEST_POWER + 1)])  # a look-up is faster than ldexp
RISING_POWERS = np.array([math.ldexp(1.0, k) for k in range(HIGHEST_POWER + 1)])


def constants() -> dict[str, float]:
    """Return the constants of the sweeps by name, for kernels that do the same on devices."""
    everything = {"PAIRS": PAIRS, **globals()}
    return {name: value for name, value in everything.items() if name.isupper() and isinstance(value, int | float)}


@jit
def next_term(
    here: Array, below: Array, above: Array, new: Array, f: Array, rates: tuple[Array, Array], scale: float, jump: float
) -> None:
    """Compute new ← (scale + jump L) here, and add it to f."""
    down, up = rates
    for q in range(len(f)):
        jumps = down[q] * (below[q] - here[q]) + up[q] * (above[q] - here[q])
        value = scale * here[q] + jump * jumps
        new[q] = value
        f[q] += value


@jit
def _next_scaled_term(
    here: Array, below: Array, above: Array, new: Array, f: Array, parts: Array, scale: float, jump: float
) -> None:
    """Do what `next_term` does where every cell has a scale of its own, with the parts that `_rescale` makes."""
    for q in range(len(f)):
        jumps = parts[0, q] * (parts[2, q] * below[q] - parts[4, q] * here[q])
        jumps += parts[1, q] * (parts[3, q] * above[q] - parts[5, q] * here[q])
        value = scale * here[q] + jump * jumps
        new[q] = value
        f[q] += value


@jit
def uniformise(f: Array, term: Array, spare: Array, block: Block, x: float, rate: float) -> None:
    """Compute f ← e^(x/rate L) f by uniformisation, each term x/k P the last; term and spare have a row around."""
    size, lines = len(f), block.lines
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
            if block.periodic:
                for q in range(lines):
                    term[q] = term[size + q]
                    term[size + lines + q] = term[lines + q]
            scale = x / k
            scaled_jump = scale * per_jump
            here, below, above = term[lines : lines + size], term[:size], term[2 * lines :]
            new = spare[lines : lines + size]
            if block.wide:
                _next_scaled_term(here, below, above, new, f, block.parts, scale, scaled_jump)
            else:
                next_term(here, below, above, new, f, block.rates, scale, scaled_jump)
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
def _largest_exit_rate(down: Array, up: Array) -> float:
    rate = 0.0
    for q in range(len(down)):
        rate = max(rate, down[q] + up[q])
    return rate


@jit
def _taken_apart(logarithm: float) -> tuple[float, int]:
    """Return m and k with m 2^k = e^logarithm, 1 <= m < 2, to rounding of m."""
    k = np.floor(logarithm / (LN2_HIGH + LN2_LOW))
    return np.exp((logarithm - k * LN2_HIGH) - k * LN2_LOW), int(k)


@jit
def _split(log_f: Array, f: Array, exponent: Integers) -> None:
    """Split e^log_f into f 2^exponent with 1 <= f < 2; zero has the exponent `NOWHERE`."""
    for q in range(len(log_f)):
        if log_f[q] == -np.inf:
            f[q], exponent[q] = 0.0, NOWHERE
        else:
            f[q], exponent[q] = _taken_apart(log_f[q])


@jit
def _powers(log_rates: tuple[Array, Array], fastest: float) -> Integers:
    """Return the powers of two (2, size), rounded up, of jump rates over the largest; `NOWHERE` for no jump."""
    powers = np.full((2, len(log_rates[0])), NOWHERE)
    for side in range(2):
        for q in range(len(log_rates[0])):
            if log_rates[side][q] > -np.inf:
                powers[side, q] = int(np.ceil((log_rates[side][q] - np.log(fastest)) / (LN2_HIGH + LN2_LOW)))
    return powers


@jit
def _scales(exponent: Integers, powers: Integers, steepest: int, lines: int, periodic: bool, scale: Integers) -> None:
    """Choose powers of two for the cells, at least their own, so that no scaled rate is above fastest 2^steepest.

    A cell far below its neighbour, more than the jump to it is rare, takes its scale from there: that is where its f
    will come from.
    """
    n = len(exponent) // lines
    for q in range(len(exponent)):
        scale[q] = exponent[q]
    laps = 2 * n if periodic else n  # twice around a ring; at walls there is no jump
    for k in range(laps):
        own, below = (k % n) * lines, ((k - 1) % n) * lines
        for m in range(lines):
            scale[own + m] = max(scale[own + m], scale[below + m] - steepest + powers[0, own + m])
    for k in range(laps - 1, -1, -1):
        own, above = (k % n) * lines, ((k + 1) % n) * lines
        for m in range(lines):
            scale[own + m] = max(scale[own + m], scale[above + m] - steepest + powers[1, own + m])


@jit
def _power(falling: int) -> float:
    """Return 2^-falling for falling >= 0; zero from 2^-1075 on."""
    return float(FALLING_POWERS[min(falling, LOWEST_POWER)])


@jit
def _times_power(rate: float, log_rate: float, higher: int) -> float:
    """Compute rate 2^higher, for higher > 0, from the logarithm where the rate has underflowed."""
    if higher <= 0 or log_rate == -np.inf:
        return rate
    if rate < SMALL:
        mantissa, k = _taken_apart(log_rate)
        return math.ldexp(mantissa, max(k + higher, -1100))
    # in two parts, as 2^higher alone may overflow
    first = min(higher, 2 * HIGHEST_POWER) // 2
    return float(rate * RISING_POWERS[first] * RISING_POWERS[min(higher, 2 * HIGHEST_POWER) - first])


@jit
def _rescale(
    state: tuple[Array, Integers], scale: Integers, f: Array, block: Block, log_rates: tuple[Array, Array]
) -> None:
    """Convert f, and the jump rates, to units of 2^scale.

    Parts are w, p, q of jumps down and up, (w_down, w_up, p_down, ...), such that w (p f_other - q f) is the scaled
    rate times f_other less the rate times f: powers of two p, q <= 1, so that nothing is rounded before the
    difference. So a constant stays as it is, and mass, whatever the scales.
    """
    rates, scaled, parts, _, lines, _ = block
    n = len(f) // lines
    for q in range(len(f)):
        f[q] = state[0][q] * _power(scale[q] - state[1][q])
    for side in range(2):
        for i in range(n):
            own, other = i * lines, (i - 1 + 2 * side) % n * lines
            for m in range(lines):
                q = own + m
                higher = scale[other + m] - scale[q]
                parts[side, q] = _times_power(rates[side][q], log_rates[side][q], higher)
                parts[2 + side, q] = _power(max(-higher, 0))
                parts[4 + side, q] = _power(max(higher, 0))
                scaled[side][q] = parts[side, q] * parts[2 + side, q]


@jit
def _note(f: Array, scale: Integers, state: tuple[Array, Integers], exits: Array, length: float) -> None:
    """Store state ← f 2^scale, or, far from the rest, what has not jumped from the state before."""
    for q in range(len(f)):
        old, exponent = state[0][q], state[1][q]
        if f[q] < SMALL and old > 0.0:
            stays = np.log2(old) + exponent - length * exits[q] / (LN2_HIGH + LN2_LOW)
            if not (f[q] > 0.0 and np.log2(f[q]) + scale[q] >= stays):
                k = np.floor(stays)
                state[0][q], state[1][q] = 2.0 ** (stays - k), int(k)
                continue
        mantissa, k = math.frexp(f[q])
        state[0][q], state[1][q] = mantissa, scale[q] + k if mantissa != 0.0 else NOWHERE


@jit
def _disagreement(half: Array, whole: Array) -> float:
    """Return the largest relative difference of two half steps and one; infinite where the half is not > 0."""
    error = 0.0
    for q in range(len(half)):
        error = max(error, abs(half[q] - whole[q]) / half[q] if half[q] > 0.0 else np.inf)
    return error


@jit
def _steepest(x: float, fastest: float) -> int:
    """Return log2 of the most that a scaled jump rate may be over the largest, for a series of x."""
    return int(min(np.floor(np.log2(WIDE_GROWTH / x)), MOST_SCALED - max(0.0, np.ceil(np.log2(fastest)))))


@jit
def _advance_block(
    f: Array,
    down: Array,
    up: Array,
    log_rates: tuple[Array, Array],
    wide: bool,
    lines: int,
    periodic: bool,
    time: float,
    tolerance: float,
    poles: Array,
) -> bool:
    """Compute f ← e^(time L) f in place, for flat arrays of n rows of `lines`; if `wide`, f stands for its logarithm.

    Returns whether it came to an end.
    """
    size, n = len(f), len(f) // lines
    rate = SHARE * _largest_exit_rate(down, up)
    longest = min(WIDE_SERIES / rate, time / np.ceil(n / REACH)) if wide else SERIES / rate  # series
    term, spare = np.empty(size + 2 * lines), np.empty(size + 2 * lines)
    work = allocated(poles, n, lines, periodic)
    whole, half = np.empty(size), np.empty(size)
    scaled, exits = (down, up), down + up
    held = size if wide else 0
    parts, powers = np.empty((6, held)), np.empty((2, held), np.int64)
    state, scale = (np.empty(held), np.empty(held, np.int64)), np.empty(held, np.int64)
    if wide:
        scaled, powers = (np.empty(size), np.empty(size)), _powers(log_rates, rate)
        _split(f, state[0], state[1])
    block = Block((down, up), scaled, parts, wide, lines, periodic)
    done, h = 0.0, time  # what is smooth may take the whole time at once
    waiting, patience = 0, 1  # series until the second way is tried again: more, the more often it failed
    for _ in range(MOST_PARTS):
        left = time - done
        short = h <= longest or left <= longest or waiting > 0
        length = min(left, longest) if short else min(h, left)
        if wide:
            _scales(state[1], powers, _steepest(min(length, longest) * rate, rate), lines, periodic, scale)
            _rescale(state, scale, f, block, log_rates)
        if short:
            uniformise(f, term, spare, block, length * rate, rate)
            h = 2 * longest
            waiting = max(waiting - 1, 0)
        else:
            whole_and_halves(f, whole, half, block, length, work)
            error = _disagreement(half, whole)
            factor = SAFETY * (tolerance / (GAIN * error)) ** (1.0 / (2 * POLES)) if error > EXACT else LEAP
            most, least = LEAP if error <= EXACT else GROWTH, CUT if error <= HOPELESS else PLUNGE
            h = length * min(most, max(least, factor))
            if not GAIN * error <= tolerance:
                if h <= longest:
                    waiting, patience = patience, min(2 * patience, PATIENCE)
                continue
            patience = 1
            f[:] = half
        if wide:
            _note(f, scale, state, exits, length)
        if length == left:
            for q in range(held):
                f[q] = np.log(state[0][q]) + state[1][q] * LN2_LOW + state[1][q] * LN2_HIGH
            return True
        if done + length == done:
            return False
        done += length
    return False


@jit
def advance(
    f: Array,
    down: Array,
    up: Array,
    log_down: Array,
    log_up: Array,
    wide: bool,
    periodic: bool,
    time: float,
    tolerance: float,
    poles: Array,
    start: int,
    stop: int,
    block: int,
) -> bool:
    """Compute f[:, start:stop] ← e^(time L) f for lines down the columns of arrays (n, m), `block` lines at a time.

    If `wide`, f stands for its logarithm, of any range, and the logarithms of the rates are used too. Returns whether
    all came to an end.
    """
    n, good = f.shape[0], True
    for m0 in range(start, stop, block):
        m1 = min(m0 + block, stop)
        lines = m1 - m0
        part, d, u = np.empty(n * lines), np.empty(n * lines), np.empty(n * lines)
        held = n * lines if wide else 0
        log_rates = (np.empty(held), np.empty(held))
        for i in range(n):
            for m in range(lines):
                part[i * lines + m] = f[i, m0 + m]
                d[i * lines + m] = down[i, m0 + m]
                u[i * lines + m] = up[i, m0 + m]
                if wide:
                    log_rates[0][i * lines + m] = log_down[i, m0 + m]
                    log_rates[1][i * lines + m] = log_up[i, m0 + m]
        good &= _advance_block(part, d, u, log_rates, wide, lines, periodic, time, tolerance, poles)
        for i in range(n):
            for m in range(lines):
                f[i, m0 + m] = part[i * lines + m]
    return good


@jit
def advance_logarithms(
    log_f: Array,
    time: float,
    down: Array,
    up: Array,
    log_down: Array,
    log_up: Array,
    steep: bool,
    periodic: bool,
    tolerance: float,
    poles: Array,
) -> int:
    """Compute log f ← log e^(time L) f on one line in place, by rates (n, 1); return `DONE`, or why it was not done.

    `NEEDS_LOG_RATES` says that the line spans so much, or is so `steep`, that the logarithms of the rates are needed,
    which may be empty otherwise; `NO_END` that it takes too many parts.
    """
    high, low = -np.inf, np.inf
    for value in log_f:
        high, low = max(high, value), min(low, value)
    wide = steep or high - low > RANGE
    if wide and len(log_down) < len(log_f):
        return NEEDS_LOG_RATES
    shift = high - TOP
    values = np.empty((len(log_f), 1))
    for q in range(len(log_f)):
        values[q, 0] = log_f[q] if wide else np.exp(log_f[q] - shift)
    if not advance(values, down, up, log_down, log_up, wide, periodic, time, tolerance, poles, 0, 1, 1):
        return NO_END
    for q in range(len(log_f)):
        log_f[q] = values[q, 0] if wide else np.log(values[q, 0]) + shift
    return DONE
