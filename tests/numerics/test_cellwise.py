"""Operations cell by cell: compiled ones do what those of the array API do, and exp and log are right to rounding."""

import contextlib
import math
import threading
from concurrent.futures import ThreadPoolExecutor

import mpmath
import numpy as np
import pytest

import wfr_pde as wfr
from wfr_pde.numerics.backends import get_backend
from wfr_pde.numerics.backends import numpy as numpy_backend
from wfr_pde.numerics.backends.numpy import COMPILED_FROM
from wfr_pde.numerics.cellwise import Cellwise, Chunk
from wfr_pde.numerics.compiled.cellwise import CompiledCellwise

EPS = np.finfo(np.float64).eps
SHAPES = [(4100,), (70, 66), (18, 20, 15), (9, 8, 9, 8)]


def all_of(x):
    return Chunk.along(x.shape, 0, 0, len(x))


def in_ulps(found, expected):
    """Errors in units in the last place of the exact values, which are mpmath numbers."""
    return max(
        float(abs(mpmath.mpf(float(f)) - e)) / np.spacing(abs(float(e))) for f, e in zip(found, expected, strict=True)
    )


def test_exponentials_are_within_a_unit_in_the_last_place():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.uniform(-480, 480, 4000), rng.uniform(-1, 1, 2000), 1e-9 * rng.standard_normal(500), [0.0]])
    x = np.concatenate([x, math.log(2) * (np.arange(-600, 601) + 0.5)])  # ends of the reduced range
    with mpmath.workdps(40):
        assert in_ulps(CompiledCellwise().exp(all_of(x), x, 0.0), [mpmath.exp(mpmath.mpf(v)) for v in x]) < 1


def test_logarithms_are_within_a_unit_in_the_last_place():
    rng = np.random.default_rng(1)
    x = np.concatenate(
        [np.exp(rng.uniform(-690, 690, 4000)), rng.uniform(0.5, 2, 3000), 1 + 1e-6 * rng.standard_normal(500)]
    )
    x = np.concatenate([x, 2.0 ** np.arange(-1000, 1000, 7), math.sqrt(2) * 2.0 ** np.arange(-50, 50), [1.0, 1 + EPS]])
    zeros, out = np.zeros_like(x), np.empty_like(x)
    CompiledCellwise().log(all_of(x), x, 0.0, 1.0, [(1.0, zeros), (1.0, zeros)], out)
    with mpmath.workdps(40):
        assert in_ulps(out[x != 1], [mpmath.log(mpmath.mpf(v)) for v in x[x != 1]]) < 0.8
    assert out[x == 1] == 0


@pytest.mark.parametrize("shape", SHAPES)
def test_compiled_operations_are_the_others(shape):
    rng = np.random.default_rng(2)
    x, y = 40 * rng.standard_normal(shape), 40 * rng.standard_normal(shape)
    compiled, plain = CompiledCellwise(), Cellwise(np)
    for axis, n in enumerate(shape):
        for first, last in ((0, n), (1, 4), (n - 3, n)):
            chunk = Chunk.along(shape, axis, first, last)
            results = []
            for cellwise in (compiled, plain):
                sums, logs, mixed, further, towards, following = (np.zeros(shape) for _ in range(6))
                ends = cellwise.add(chunk, 0.5, x, y, sums)
                exponentials = cellwise.exp(chunk, x, 3.0)
                cellwise.log(chunk, np.array(exponentials), -2.0, -1.0, [(0.5, x), (2.0, y)], logs)
                top, mass = cellwise.blend(chunk, x, y, 0.7, 0.25, mixed)
                masses = cellwise.log_blend(
                    chunk, np.array(exponentials), -2.0, y=y, s=0.7, z=x, volume=0.25, out=further
                )
                other_ends = cellwise.blend_add(chunk, x, y, 0.7, x, towards)
                last_ends = cellwise.log_blend_add(chunk, np.array(exponentials), -2.0, y=y, s=0.7, z=x, out=following)
                arrays = sums, logs, mixed, further, towards, following
                results.append((*arrays, *ends, exponentials, top, mass, *masses, *other_ends, *last_ends))
            for found, expected in zip(*results, strict=True):
                assert found == pytest.approx(expected, rel=8 * EPS, abs=1e-13)
            assert results[0][8].shape == x[chunk.index].shape


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("boundary", ["no-flux", "periodic"])
@pytest.mark.parametrize(("time", "reach"), [(2e-3, 60.0), (1e-2, 200.0), (0.3, 480.0)])
def test_compiled_products_are_the_others(shape, boundary, time, reach):
    """Of narrow bands, of wide ones whose ends wrap, and of whole matrices."""
    d = len(shape)
    grid = wfr.Grid([-1.0] * d, [1.0] * d, shape, boundary=boundary, max_cut=1.0)
    bands = grid.heat_kernel(time * (128 / max(shape)) ** 2 if d > 1 else time / 100).bands
    values = np.random.default_rng(5).uniform(-5, 5, shape)
    compiled, plain = CompiledCellwise(), Cellwise(np)
    for first, last in ((0, shape[0]), (1, 4), (shape[0] - 3, shape[0])):
        results = []
        for cellwise in (compiled, plain):
            result = values.copy()
            cellwise.product_across(Chunk.along(shape, 0, first, last), result, 1.0, bands, reach)
            results.append(result)
        assert results[0] == pytest.approx(results[1], rel=1e-13)
        if d > 1:
            assert np.array_equal(results[0][last:], values[last:])
    positive = np.exp(values)
    for first, last in ((0, shape[1]), (2, 5), (3, 4)) if d > 1 else ((0, shape[0]),):
        chunk = Chunk.along(shape, min(1, d - 1), first, last)
        found, expected = (cellwise.product_down(chunk, positive, bands[0], reach) for cellwise in (compiled, plain))
        assert found == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("boundary", ["no-flux", "periodic"])
def test_compiled_products_with_a_shift_per_line_are_the_others(shape, boundary):
    d = len(shape)
    grid = wfr.Grid([-1.0] * d, [1.0] * d, shape, boundary=boundary, max_cut=1.0)
    within = np.random.default_rng(7).uniform(-200, 200, shape)
    for axis, n in enumerate(shape):
        band = grid.heat_kernel(2 * (2 / max(shape)) ** 2).bands[axis]
        other = 0 if axis > 0 else min(1, d - 1)
        values = within + (500.0 * np.indices(shape)[other] if d > 1 else 0.0)
        for first, last in ((0, shape[other]), (2, 5), (3, 4)) if d > 1 else ((0, n),):
            chunk = Chunk.along(shape, other, first, last)
            for widest in (100.0, 450.0):
                found, expected = values.copy(), values.copy()
                done = [
                    cellwise.log_along(chunk, result, axis, band, widest)
                    for cellwise, result in ((CompiledCellwise(), found), (Cellwise(np), expected))
                ]
                assert done == [widest > 400] * 2
                assert np.abs(found - expected).max() <= 4 * EPS * np.abs(expected).max()
                outside = np.ones(shape, bool)
                outside[chunk.index] = False
                assert np.array_equal(found[outside], values[outside])


def test_sums_and_ranges_of_few_and_many_values():
    rng = np.random.default_rng(6)
    for n in (1, 2, 3, 1023, 1024, 1025, 5000):
        x = rng.standard_normal(n) * rng.choice([1e-300, 1.0, 300.0], n)
        out = np.empty(n)
        assert CompiledCellwise().add(all_of(x), 1.0, x, np.zeros(n), out) == (x.min(), x.max())
        top, mass = CompiledCellwise().blend(all_of(x), x, x, 0.5, 1.0, out)
        assert top == x.max()
        assert mass == pytest.approx(math.fsum(np.exp(x - x.max())), rel=4 * EPS)


def test_arrays_in_any_order_of_memory_are_read():
    x = np.asfortranarray(np.random.default_rng(3).standard_normal((70, 66)))
    out = CompiledCellwise().empty(x)
    CompiledCellwise().add(all_of(x), 1.0, x, x, out)
    assert np.array_equal(out, 2 * x)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_a_number_stays_so(bad):
    x = np.linspace(-1, 1, 5000)
    x[17] = bad
    y, out, cellwise = np.zeros(5000), np.empty(5000), CompiledCellwise()
    assert math.isnan(cellwise.blend(all_of(x), x, y, 0.5, 1.0, out)[1])
    cellwise.log(all_of(x), x + 2, 0.0, 1.0, [(1.0, y), (1.0, y)], out)
    assert not math.isfinite(out[17])
    if math.isnan(bad):
        assert math.isnan(cellwise.exp(all_of(x), x, 0.0)[17])


def test_equal_densities_stay_to_the_last_bit():
    x = np.random.default_rng(4).uniform(-1e4, 0, 5000)
    out = np.empty(5000)
    CompiledCellwise().blend(all_of(x), x, x.copy(), 0.3, 1.0, out)
    assert np.array_equal(out, x)
    zeros, ones, sums = np.zeros(5000), np.ones(5000), np.empty(5000)
    CompiledCellwise().blend_add(all_of(x), x, x.copy(), 0.3, zeros, out)
    assert np.array_equal(out, x)
    CompiledCellwise().blend_add(all_of(x), zeros, zeros, 0.3, x, out)
    CompiledCellwise().log_blend(all_of(x), ones, 0.0, y=x.copy(), s=0.3, z=zeros, volume=1.0, out=sums)
    assert np.array_equal(out, x)
    assert np.array_equal(sums, x)


def test_small_grids_do_without_compiled_code():
    backend = get_backend("numpy")
    assert type(backend.cellwise(COMPILED_FROM - 1)) is Cellwise
    assert type(backend.cellwise(COMPILED_FROM)) is CompiledCellwise


@pytest.fixture
def four_threads():
    """A pool, on machines and in environments with one thread, too."""
    with ThreadPoolExecutor(3) as executor:
        yield executor, 3


@contextlib.contextmanager
def threads_of(pool):
    """BLAS with one thread, and chunks by the threads of a pool."""
    with get_backend("numpy").one_thread():
        before = numpy_backend._pool.set(pool)
        yield
        numpy_backend._pool.reset(before)


def test_threads_take_part(four_threads):
    meeting = threading.Barrier(4, timeout=60)
    with threads_of(four_threads):  # all four at once, or the barrier breaks
        names = get_backend("numpy").map(lambda _: (meeting.wait(), threading.get_ident())[1], range(4))
    assert len(set(names)) == 4


@pytest.mark.parametrize("shape", [(1024, 700), (96, 128, 80)])
def test_the_number_of_threads_changes_no_bit(shape, four_threads):
    d = len(shape)
    target = wfr.GaussianMixture([[-1.5] + [0] * (d - 1), [1.5] + [0] * (d - 1)], [0.3, 0.7], 0.6)
    grid = wfr.Grid([-6.0] * d, [6.0] * d, shape)
    state, energy = grid.density(wfr.Gaussian([-1.5] + [0] * (d - 1), 0.6)), wfr.KL(target)
    results = []
    for pool in (None, four_threads):
        with threads_of(pool):
            step = wfr.Strang(wfr.FisherRao(), wfr.SinkhornKernel()).make_step(energy, state, 0.05)
            results.append(step(step(state, 0.0), 0.05).log_values)
    assert np.array_equal(*results)


def test_an_error_in_a_thread_is_raised(four_threads):
    backend = get_backend("numpy")

    def refuse(number):
        if number == 5:
            raise ValueError("five")
        return number

    with threads_of(four_threads):
        assert backend.map(lambda number: 2 * number, range(7)) == list(range(0, 14, 2))
        with pytest.raises(ValueError, match="five"):
            backend.map(refuse, range(9))
    with backend.threads(False):
        assert backend.map(refuse, range(5)) == list(range(5))
