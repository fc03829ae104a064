"""The heat kernel: rows, images, eigenfunctions, and products over any range."""

import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logsumexp

import wfr_pde as wfr
from wfr_pde.errors import NumericalError
from wfr_pde.numerics.backends import get_backend
from wfr_pde.numerics.matrix_products import product_along
from wfr_pde.numerics.precision import DOUBLE
from wfr_pde.space.heat.band import Band
from wfr_pde.space.heat.blocks import Blocks
from wfr_pde.space.heat.kernel_of_axis import log_heat_kernel

PLAIN_RANGE, FLUSH, BLOCK_RANGE, NEGLIGIBLE = DOUBLE.span, DOUBLE.flush, DOUBLE.block_span, DOUBLE.negligible
TIMES = [1e-4, 1e-2, 0.3, 0.562, 0.563, 2.24, 2.26, 10.0, 1e5]


def exact_log_product(log_matrix, lines):
    """log(exp(lines) @ exp(log_matrix).T) in extended precision, term by term."""
    terms = log_matrix.astype(np.longdouble)[None, :, :] + lines[:, None, :]
    top = terms.max(axis=-1)
    return np.asarray(top + np.log(np.exp(terms - top[..., None]).sum(axis=-1)), dtype=float)


@pytest.mark.parametrize("boundary", ["no-flux", "periodic"])
@pytest.mark.parametrize("time", TIMES)
def test_rows_sum_to_one_and_kernel_is_symmetric(boundary, time):
    axis = wfr.Grid(-1, 2, 300, boundary=boundary).axes[0]
    log_matrix = log_heat_kernel(axis, time)
    # resolved: time >= 0.75 dx² = 7.5e-5; what is left is the aliasing e^(-4 pi² time/dx²)
    aliasing = 2 * np.exp(-4 * np.pi**2 * time / axis.dx**2)
    assert np.abs(np.exp(log_matrix).sum(axis=1) - 1).max() < aliasing + 1e-14
    assert np.array_equal(log_matrix, log_matrix.T)


@pytest.mark.parametrize("boundary", ["no-flux", "periodic"])
@pytest.mark.parametrize("time", [0.05, 0.5, 0.56, 0.57, 2.2, 2.3, 5.0])
def test_images_agree_with_eigenfunctions(boundary, time):
    axis = wfr.Grid(-1, 2, 40, boundary=boundary).axes[0]
    x, length = axis.centres + 1, 3.0
    k = np.arange(1, 400)[:, None]
    base = (2 if boundary == "periodic" else 1) * np.pi / length
    decay = np.exp(-((base * k) ** 2) * time)
    cosine, sine = np.cos(base * k * x), np.sin(base * k * x)
    kernel = 1 + 2 * np.einsum("ki,kj,k->ij", cosine, cosine, decay[:, 0])
    if boundary == "periodic":
        kernel += 2 * np.einsum("ki,kj,k->ij", sine, sine, decay[:, 0])
    # the sum over cosines cancels: its error is absolute, 1e-15 of the largest term, about 4
    assert np.exp(log_heat_kernel(axis, time)) == pytest.approx(kernel / 40, abs=1e-15)


@pytest.mark.parametrize("time", [1e-3, 0.05, 0.5, 0.57])
def test_mirror_images_are_relatively_right_at_the_far_corner(time):
    axis = wfr.Grid(0, 3, 64).axes[0]
    x = axis.centres
    images = [s * x[-1] + 6 * k for k in range(-9, 10) for s in (1, -1)]
    expected = logsumexp([-((x[0] - y) ** 2) / (4 * time) for y in images])
    expected += np.log(3 / 64) - 0.5 * np.log(4 * np.pi * time)
    assert log_heat_kernel(axis, time)[0, -1] == pytest.approx(expected, rel=1e-13, abs=1e-13)


@pytest.mark.parametrize("curvature", [0.05, 0.23, 0.5, 3.0])  # nats per cell²: ranges up to 1e5 nats
def test_products_over_any_range_are_right_in_every_cell(curvature):
    grid = wfr.Grid(-1, 1, 256)
    kernel = grid.heat_kernel(0.8 * grid.axes[0].dx ** 2)
    rng = np.random.default_rng(1)
    cells = np.arange(256)
    for centre in (0, 100, 255):
        line = -curvature / 2 * (cells - centre) ** 2 + 2 * rng.standard_normal(256)
        exact = exact_log_product(log_heat_kernel(grid.axes[0], kernel.time), line[None, :])[0]
        # a logarithm of size R is known to R eps; a handful of roundings
        assert np.abs(kernel.log_product(line.copy()) - exact).max() < 8 * np.finfo(float).eps * np.ptp(line)


def test_plain_and_blocked_products_agree_at_the_switch():
    grid = wfr.Grid(-1, 1, 128)
    kernel = grid.heat_kernel(2 * grid.axes[0].dx ** 2)
    for scale in (0.999, 1.001):
        line = -PLAIN_RANGE * scale * np.linspace(0, 1, 128) ** 2
        exact = exact_log_product(log_heat_kernel(grid.axes[0], kernel.time), line[None, :])[0]
        assert np.abs(kernel.log_product(line.copy()) - exact).max() < 1e-12


@given(st.integers(0, 2**32 - 1), st.floats(0.1, 400), st.floats(0.75, 1e4), st.sampled_from([1, 2, 4, 8, 16]))
def test_blocks_say_when_they_are_too_wide(seed, roughness, resolution, width):
    """Random walks of any steepness: where the margin is not negative the result is right, one cell always is."""
    grid = wfr.Grid(0, 1, 50)
    log_matrix = log_heat_kernel(grid.axes[0], resolution * grid.axes[0].dx ** 2)
    lines = np.cumsum(roughness * np.random.default_rng(seed).standard_normal((3, 50)), axis=1)
    values, margin = Blocks(log_matrix, width, grid.backend).log_product(lines)
    if width == 1:
        assert margin >= 0
    if margin >= 0:
        exact = exact_log_product(log_matrix, lines)
        tolerance = 50 * np.exp(-NEGLIGIBLE) + 8 * np.finfo(float).eps * (1 + np.abs(lines).max())
        assert np.abs(values - exact).max() < tolerance


@pytest.mark.parametrize("shape", [(8,), (8, 6), (5, 6, 7), (4, 5, 6, 7)])
def test_products_along_an_axis(shape):
    values = np.random.default_rng(0).random(shape)
    for axis in range(len(shape)):
        matrix = np.random.default_rng(1).random((3, shape[axis]))
        expected = np.moveaxis(np.tensordot(matrix, values, axes=(1, axis)), 0, axis)
        assert product_along(matrix, values, axis, np) == pytest.approx(expected)


@pytest.mark.parametrize("shape", [(30,), (20, 24), (10, 12, 14), (6, 7, 8, 9)])
@pytest.mark.parametrize("reach", [100.0, 3000.0])
def test_product_in_every_dimension_is_the_tensor_product(shape, reach):
    d = len(shape)
    grid = wfr.Grid([-1] * d, [1] * d, shape, names="xyzw"[:d])
    kernel = grid.heat_kernel(1.0 * max(axis.dx for axis in grid.axes) ** 2)
    rng = np.random.default_rng(2)
    log_values = rng.standard_normal(shape) - reach * (grid.points() ** 2).sum(axis=-1) / d
    expected = log_values
    for axis in range(d):
        lines = np.moveaxis(expected, axis, -1)
        flat = exact_log_product(log_heat_kernel(grid.axes[axis], kernel.time), lines.reshape(-1, shape[axis]))
        expected = np.moveaxis(flat.reshape(lines.shape), -1, axis)
    assert np.abs(kernel.log_product(log_values.copy()) - expected).max() < 1e-14 * (10 + reach)


@pytest.mark.parametrize("boundary", ["no-flux", "periodic"])
@pytest.mark.parametrize(
    ("n", "resolution"), [(90, 0.75), (90, 30.0), (700, 0.75), (700, 40.0), (700, 3000.0), (701, 1e6)]
)
def test_bands_take_what_matters_for_the_range_of_values(boundary, n, resolution):
    """Values over so many nats: as with every entry of the matrix, in every cell."""
    axis = wfr.Grid(0, 1, n, boundary=boundary).axes[0]
    time = resolution * axis.dx**2
    band, log_matrix = Band(axis, time, get_backend("numpy")), log_heat_kernel(axis, time)
    rng = np.random.default_rng(0)
    for spread in (0.0, 30.0, 200.0, PLAIN_RANGE):
        values = spread * (rng.random((4, n)) - 0.5)
        values[:, :2] = -spread / 2, spread / 2
        expected = np.exp(exact_log_product(log_matrix, values))
        reach = spread + FLUSH - PLAIN_RANGE
        for axis_number, form in enumerate((values.T, values)):
            product = band.product(np.exp(form), axis_number, reach)
            assert (product.T if axis_number == 0 else product) == pytest.approx(expected, rel=1e-13)
        assert band.operations(reach) <= 2 * n**2
    if n == 700 and resolution < 1:
        assert band.operations(FLUSH - PLAIN_RANGE) < 0.2 * n**2
        stored = sum(matrix.size for _, parts in band._blocks for _, matrix in parts)
        assert stored < 0.25 * n**2


@pytest.mark.parametrize("resolution", [0.75, 3.0, 100.0])
def test_no_product_meets_a_subnormal_number(resolution):
    """Subnormal numbers slow a product several times: entries and values are far enough above 2.2e-308."""
    grid = wfr.Grid([-1, -1], [1, 1], (384, 512))
    kernel = grid.heat_kernel(resolution * max(axis.dx for axis in grid.axes) ** 2)
    parts = [matrix for band in kernel.bands for _, parts in band._blocks for _, matrix in parts]
    smallest = min(matrix[matrix > 0].min() for matrix in parts)
    assert smallest * np.exp(-PLAIN_RANGE / 2) > np.finfo(float).tiny
    block = kernel.blocks(0, 4)
    smallest = min(matrix[matrix > 0].min() for _, _, matrix in block.columns)
    assert smallest * np.exp(-BLOCK_RANGE) > np.finfo(float).tiny


@pytest.mark.parametrize("shape", [(300,), (5000,), (80, 70)])
@pytest.mark.parametrize("bad", [np.nan, -np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused(shape, bad):
    grid = wfr.Grid([-1.0] * len(shape), [1.0] * len(shape), shape)
    values = np.zeros(shape)
    values.flat[-3] = bad
    for plus in (None, np.zeros(shape)):
        with pytest.raises(NumericalError, match="not finite in some cell"):
            grid.heat_kernel(0.01).log_product(values, plus)


def test_a_kernel_is_made_once_for_all_that_use_it_and_goes_with_the_last():
    grid = wfr.Grid([0, 0], [1, 1], (40, 30))
    kernel = grid.heat_kernel(0.01)
    assert grid.heat_kernel(0.01) is kernel
    assert grid.heat_kernel(0.02) is not kernel
    assert wfr.Grid([0, 0], [1, 1], (40, 30)).heat_kernel(0.01) is kernel  # grids are what they hold
    assert wfr.Grid([0, 0], [1, 1], (40, 31)).heat_kernel(0.01) is not kernel
    for _, parts in kernel.bands[0]._blocks:
        for _, matrix in parts:
            with pytest.raises(ValueError, match="read-only"):
                matrix[0, 0] = 1.0
    references = weakref.ref(kernel), weakref.ref(grid)
    del kernel, parts, matrix
    assert references[0]() is None
    del grid
    assert references[1]() is None


def test_threads_that_ask_at_once_get_the_same_kernel():
    grid, barrier = wfr.Grid(0, 1, 400), threading.Barrier(4)

    def ask(_):
        barrier.wait(10)
        return grid.heat_kernel(0.01)

    with ThreadPoolExecutor(4) as pool:
        kernels = list(pool.map(ask, range(4)))
    assert all(kernel is kernels[0] for kernel in kernels)


def test_a_coarser_grid_is_there_where_it_pays():
    grid = wfr.Grid([0, 0], [1, 2], (101, 200))
    dx2 = 0.01**2
    assert grid.coarser(1.1 * dx2).shape == (51, 100)  # any number of equal cells
    assert grid.coarser(1e4 * dx2).shape == (51, 100)
    assert grid.coarser(0.75 * dx2).shape == (58, 116)  # time = dx² / 4 there
    assert grid.coarser(0.6 * dx2) is None  # more than a third of the cells
    assert wfr.Grid(0, 1, 10_000).coarser(1.0) is None  # half of them
    assert wfr.Grid([0, 0], [1, 1], (50, 50)).coarser(1.0) is None  # few cells, and as many calls
    smooth = lambda x: 1 + x
    for n, shape in ((100, (50, 100)), (101, None)):  # graded cells are joined in pairs
        coarser = wfr.Grid([0, 0], [1, 2], (n, 200), grading=(smooth, None)).coarser(0.01)
        assert shape == (coarser and coarser.shape)
