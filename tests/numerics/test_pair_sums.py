"""Sums over pairs: against NumPy, far apart, in blocks, in parallel."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from scipy.special import logsumexp

from wfr_pde.numerics.compiled import row_threads
from wfr_pde.numerics.compiled.pair_sums import (
    BLOCK,
    PARALLEL_FROM,
    SMALLEST,
    distance_sums,
    kernel_sums,
    laplace_sums,
    log_kernel_sums,
    stein_sums,
)
from wfr_pde.numerics.compiled.svgd import stein_directions

SIZES = [(1, 1, 1), (7, BLOCK - 1, 2), (3, BLOCK + 1, 3), (1200, 900, 2), (70, 600, 41), (5, 3 * SMALLEST + 1, 301)]
assert 1200 * 900 > PARALLEL_FROM > 3 * (BLOCK + 1)


def stein_matrix(x, s, length, power):
    """k_0 by derivatives of k, written out."""
    gap = x[:, None] - x
    squares = (gap**2).sum(axis=-1)
    base = length**2 + squares
    k = base**power
    by_x = 2 * power * base[..., None] ** (power - 1) * gap
    laplacian = -2 * power * x.shape[1] * base ** (power - 1) - 4 * power * (power - 1) * squares * base ** (power - 2)
    return s @ s.T * k - np.einsum("ik,ijk->ij", s, by_x) + np.einsum("jk,ijk->ij", s, by_x) + laplacian


@pytest.mark.parametrize(("n", "m", "d"), SIZES)
def test_against_numpy(n, m, d):
    rng = np.random.default_rng(1)
    x, y, w = rng.normal(size=(n, d)), rng.normal(size=(m, d)), rng.normal(size=m)
    distance = cdist(x, y)
    size = np.abs(w).sum()
    for found, matrix in (
        (kernel_sums(x, y, w, 0.3), np.exp(-(distance**2) / 0.6)),
        (laplace_sums(x, y, w, 0.7), np.exp(-distance / 0.7)),
        (distance_sums(x, y, w), distance),
    ):
        assert found == pytest.approx(matrix @ w, abs=1e-14 * size * max(1, matrix.max()))
    log_w = np.log(np.abs(w))
    assert log_kernel_sums(x, y, log_w, 0.3) == pytest.approx(
        logsumexp(log_w - distance**2 / 0.6, axis=1), rel=1e-13, abs=1e-13
    )


@pytest.mark.parametrize(("n", "d"), [(1, 1), (40, 3), (1100, 2), (300, 101)])
@pytest.mark.parametrize(("length", "power"), [(1.0, -0.5), (0.7, -0.3)])
def test_stein_kernel(n, d, length, power):
    rng = np.random.default_rng(2)
    x, s, w = rng.normal(size=(n, d)), rng.normal(size=(n, d)), rng.normal(size=n)
    matrix = stein_matrix(x, s, length, power)
    found = stein_sums(x, s, w, length, power)
    assert found == pytest.approx(matrix @ w, abs=1e-14 * np.abs(matrix).max() * np.abs(w).sum())


def test_stein_kernel_is_the_derivative_of_k():
    def k(x, y):
        return (0.49 + np.sum((x - y) ** 2)) ** -0.3

    rng = np.random.default_rng(3)
    x, s = rng.normal(size=(2, 2)), rng.normal(size=(2, 2))
    h, e = 1e-4, np.eye(2)
    (a, b), (p, q) = x, s
    by_a = [(k(a + h * u, b) - k(a - h * u, b)) / 2 / h for u in e]
    by_b = [(k(a, b + h * u) - k(a, b - h * u)) / 2 / h for u in e]
    mixed = sum(
        (k(a + h * u, b + h * u) - k(a + h * u, b - h * u) - k(a - h * u, b + h * u) + k(a - h * u, b - h * u))
        / 4
        / h**2
        for u in e
    )
    expected = p @ q * k(a, b) + p @ by_b + q @ by_a + mixed
    assert stein_sums(x, s, np.array([0.0, 1.0]), 0.7, -0.3)[0] == pytest.approx(expected, abs=1e-7)  # h², eps/h²


@given(seed=st.integers(0, 2**32 - 1), spread=st.floats(0, 12), leave=st.booleans())
@settings(deadline=None, max_examples=60)
def test_logarithms_at_any_distance(seed, spread, leave):
    rng = np.random.default_rng(seed)
    x, log_w = rng.normal(size=(30, 2)) * 10**spread, rng.normal(size=30) * 100
    exponents = log_w - cdist(x, x, "sqeuclidean") / (2 * 0.25)
    if leave:
        np.fill_diagonal(exponents, -np.inf)
    found = log_kernel_sums(x, x, log_w, 0.25, np.arange(30) if leave else None)
    assert found == pytest.approx(logsumexp(exponents, axis=1), rel=1e-12, abs=1e-12)


def test_far_apart_over_many_blocks():
    # the sources come nearer from block to block, then go away again: the largest term is in the middle
    y = np.abs(np.arange(5 * BLOCK) - 2.5 * BLOCK)[:, None]
    x = np.array([[-1.0], [0.0], [1e3]])
    found = log_kernel_sums(x, y, np.zeros(len(y)), 1.0)
    assert found == pytest.approx(logsumexp(-0.5 * (x - y.T) ** 2, axis=1), rel=1e-13, abs=1e-13)


def test_weights_of_zero_and_nothing_left():
    x = np.array([[0.0], [1.0]])
    log_w = np.array([0.0, -np.inf])
    assert log_kernel_sums(x, x, log_w, 1.0) == pytest.approx([0, -0.5], abs=1e-15)
    found = log_kernel_sums(x, x, log_w, 1.0, np.arange(2))
    assert found[0] == -np.inf
    assert found[1] == pytest.approx(-0.5)
    assert kernel_sums(x, x, np.zeros(2), 1.0).tolist() == [0, 0]


@pytest.mark.parametrize("d", [2, 100])
def test_the_number_of_threads_does_not_change_a_bit(monkeypatch, d):
    rng = np.random.default_rng(4)
    x, w = rng.normal(size=(1500, d)), rng.random(1500)
    results = []
    for threads in (1, 2, 5):
        monkeypatch.setattr(row_threads, "number_of_threads", lambda threads=threads: threads)
        results.append(
            np.concatenate(
                [
                    log_kernel_sums(x, x, np.log(w), 0.1),
                    kernel_sums(x, x, w, 0.1),
                    distance_sums(x, x, w),
                    laplace_sums(x, x, w, 0.5),
                    stein_sums(x, -x, w, 1.0, -0.5),
                    stein_directions(x, -x, 1.0).ravel(),
                ]
            )
        )
    assert np.array_equal(results[0], results[1])
    assert np.array_equal(results[0], results[2])
    # nor does it matter whether rows are divided among threads at all
    assert np.array_equal(results[0][:10], log_kernel_sums(x[:10], x, np.log(w), 0.1))


def test_arrays_of_other_layouts():
    rng = np.random.default_rng(5)
    x, w = rng.normal(size=(40, 6))[:, ::3], rng.random(80)[::2]
    assert kernel_sums(x, x, w, 0.5) == pytest.approx(np.exp(-cdist(x, x, "sqeuclidean")) @ w, rel=1e-13)
