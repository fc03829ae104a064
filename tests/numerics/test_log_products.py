"""Products by logarithms: right relative to every entry, however far the exponents reach."""

import math

import numpy as np
import pytest

from wfr_pde.numerics.log_products import log_mean_along, log_product_along


def by_sums(log_matrix, lines):
    """Logarithms of sums, entry by entry, in exact sums of floats."""
    result = np.empty((len(log_matrix), lines.shape[1]))
    for i, j in np.ndindex(*result.shape):
        terms = log_matrix[i] + lines[:, j]
        result[i, j] = terms.max() + math.log(math.fsum(np.exp(terms - terms.max())))
    return result


@pytest.mark.parametrize("span", [1.0, 100.0, 2000.0, 1e6])
def test_entries_are_right_relative_to_their_values(span):
    rng = np.random.default_rng(1)
    log_matrix, lines = span * rng.standard_normal((7, 11)), span * rng.standard_normal((11, 5))
    expected = by_sums(log_matrix, lines)
    # an exponent of size span is rounded by eps span
    np.testing.assert_allclose(log_product_along(log_matrix, lines, 0), expected, rtol=0, atol=1e-15 * (5 + 8 * span))


def test_any_axis():
    rng = np.random.default_rng(2)
    values = 300 * rng.standard_normal((4, 6, 3))
    for axis, n in enumerate(values.shape):
        log_matrix = 300 * rng.standard_normal((5, n))
        lines = np.moveaxis(values, axis, 0).reshape(n, -1)
        expected = by_sums(log_matrix, lines)
        found = log_product_along(log_matrix, values, axis)
        assert found.shape == tuple(5 if k == axis else m for k, m in enumerate(values.shape))
        np.testing.assert_allclose(np.moveaxis(found, axis, 0).reshape(5, -1), expected, rtol=0, atol=3e-12)


@pytest.mark.parametrize("span", [1.0, 2000.0])
def test_means(span):
    rng = np.random.default_rng(3)
    log_matrix, lines, weighted = (
        span * rng.standard_normal((7, 11)),
        span * rng.standard_normal((11, 5)),
        rng.standard_normal((7, 11)),
    )
    found = log_mean_along(log_matrix, weighted, lines, 0)
    for i, j in np.ndindex(7, 5):
        shares = np.exp(log_matrix[i] + lines[:, j] - (log_matrix[i] + lines[:, j]).max())
        assert found[i, j] == pytest.approx(shares @ weighted[i] / shares.sum(), abs=1e-14 * (3 + span))
