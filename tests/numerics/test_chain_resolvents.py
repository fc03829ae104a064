"""The rational function of a chain's generator against dense solves, in vectors of four and on rings."""

import math

import numpy as np
import pytest

from wfr_pde.numerics.compiled import chain_exponential as line_sweeps
from wfr_pde.numerics.compiled.chain_resolvents import allocated, jit, resolvents, whole_and_halves
from wfr_pde.numerics.compiled.vectors_of_four import load, minus, over, plus, store, times

CELLS = 12


def lines_of_rates(lines, periodic, spread=2.0):
    """Rates down and up (cells, lines), over some powers of ten, none through walls."""
    rng = np.random.default_rng(lines)
    down, up = 10 ** rng.uniform(-spread, spread, (2, CELLS, lines))
    if not periodic:
        down[0] = up[-1] = 0.0
    return down, up


def generator(down, up):
    """L of one line, on f."""
    matrix = np.diag(-(down + up))
    for i in range(CELLS):
        matrix[i, (i - 1) % CELLS] += down[i]
        matrix[i, (i + 1) % CELLS] += up[i]
    return matrix


def dense(matrix, h, f):
    """f + Σ Re[c/θ (θ - h L)^-1 h L f], by LU decompositions."""
    z = h * matrix
    total = f.copy()
    for a, b, c, d in zip(*resolvents(), strict=True):
        total += (complex(c, d) * np.linalg.solve(complex(a, b) * np.eye(CELLS) - z, z @ f)).real
    return total


def by_rows(down, up, f, h, *, periodic, wide=False):
    """Whole and halves of all lines, by the compiled function; if wide, with scales of cells that are all one."""
    lines = down.shape[1]
    rates = down.ravel(), up.ravel()
    parts = np.stack([*rates, *(np.ones(down.size) for _ in range(4))]) if wide else np.empty((6, 0))
    block = line_sweeps.Block(rates, tuple(rate.copy() for rate in rates), parts, wide, lines, periodic)
    work = allocated(resolvents(), CELLS, lines, periodic)
    work.y[:] = np.inf  # of a step before: nothing of it may count
    whole, half = np.empty(down.size), np.empty(down.size)
    whole_and_halves(f.ravel(), whole, half, block, h, work)
    return whole.reshape(f.shape), half.reshape(f.shape)


@pytest.mark.parametrize("h", [1e-3, 0.1, 30.0])
@pytest.mark.parametrize("lines", [1, 3, 8])
@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize("wide", [False, True])
def test_rational_function_is_that_of_dense_solves(wide, periodic, lines, h):
    down, up = lines_of_rates(lines, periodic)
    f = np.random.default_rng(0).uniform(1, 2, down.shape)
    whole, half = by_rows(down, up, f, h, periodic=periodic, wide=wide)
    for k in range(lines):
        matrix = generator(down[:, k], up[:, k])
        twice = dense(matrix, h / 2, dense(matrix, h / 2, f[:, k]))
        # conditions of (θ - h L) are up to 1e4 here, and LU decompositions lose as many digits
        np.testing.assert_allclose(whole[:, k], dense(matrix, h, f[:, k]), rtol=1e-11)
        np.testing.assert_allclose(half[:, k], twice, rtol=1e-11)


@pytest.mark.parametrize("h", [1.0, 1e6, 1e100])
@pytest.mark.parametrize("periodic", [False, True])
def test_constants_stay_to_the_last_bit(periodic, h):
    down, up = lines_of_rates(3, periodic, spread=8.0)
    f = np.full(down.shape, 0.7)
    for values in by_rows(down, up, f, h, periodic=periodic):
        assert np.array_equal(values, f)


def test_operations_on_four_numbers_are_those_on_each():
    @jit
    def every(x, y, out):
        store(out, 0, plus(load(x, 1), load(y, 0)))
        store(out, 4, minus(load(x, 1), load(y, 0)))
        store(out, 8, times(load(x, 1), load(y, 0)))
        store(out, 12, over(load(x, 1), load(y, 0)))

    x, y, out = np.arange(5.0) + 0.1, np.array([3.0, -0.7, 1e200, 0.3]), np.empty(17)
    out[16] = 5.0
    every(x, y, out)
    expected = [x[1:] + y, x[1:] - y, x[1:] * y, x[1:] / y]
    assert np.array_equal(out, np.append(np.concatenate(expected), 5.0))


def test_powers_of_two_in_tables_are_those_of_ldexp():
    for falling in (0, 1, 537, 1021, 1022, 1023, 1074, 1075, 1100, 5000, 2**41):
        assert line_sweeps._power(falling) == math.ldexp(1.0, -min(falling, 1100))
    for higher in (-3, 0, 1, 700, 1001, 1800, 2000):
        assert line_sweeps._times_power(1e-285, math.log(1e-285), higher) == (
            math.ldexp(1e-285, max(higher, 0)) if higher < 1900 else math.inf
        )


def test_scales_on_a_line_are_settled_by_one_lap_each_way():
    rng = np.random.default_rng(3)
    exponent = rng.integers(-400, 400, 3 * CELLS)
    powers = rng.integers(-60, 0, (2, 3 * CELLS))
    powers[0, :3] = powers[1, -3:] = line_sweeps.NOWHERE  # no jumps through walls
    one, two = np.empty_like(exponent), np.empty_like(exponent)
    line_sweeps._scales(exponent, powers, 9, 3, False, one)
    line_sweeps._scales(exponent, powers, 9, 3, True, two)
    assert np.array_equal(one, two)
    assert (one > exponent).any()
