"""The CuPy backend and its CUDA kernels: without a device by a compiler, by g++ on the CPU, and by a stand-in for CuPy.

On a device, `pytest -m gpu` runs every flow and compares it with NumPy.
"""

import contextlib
import ctypes
import importlib.util
import itertools
import os
import shutil
import subprocess
import sys
import types
from pathlib import Path

import backend_cases
import numpy as np
import pytest
import scipy.fft

import wfr_pde as wfr
from wfr_pde.app.cli.main import main
from wfr_pde.errors import BackendError
from wfr_pde.flows.transport.finite_volume.jump_rates import jump_rates, log_jump_rates
from wfr_pde.numerics import cuda
from wfr_pde.numerics.backends import cupy, get_backend
from wfr_pde.numerics.compiled import chain_exponential as line_sweeps

KERNELS = {
    "line_sweeps.cu": ["sweep_walls", "sweep_ring", "sweep_wide_walls", "sweep_wide_ring"],
    "fisher_rao.cu": ["fisher_rao_sums", "fisher_rao_result"],
}
CONSTANTS = {"line_sweeps.cu": line_sweeps.constants(), "fisher_rao.cu": {}}


def missing(what):
    """Skip, but not where everything must be there."""
    if os.environ.get("CI"):
        pytest.fail(f"{what} is missing")
    pytest.skip(f"{what} is missing")


# The texts are valid CUDA C++


@pytest.fixture(scope="module")
def nvrtc():
    """A function: text, architecture -> PTX, or machine code, by NVIDIA's run-time compiler. It needs no driver."""
    spec = importlib.util.find_spec("nvidia.cuda_nvrtc") if importlib.util.find_spec("nvidia") else None
    if spec is None:
        missing("nvidia-cuda-nvrtc-cu12")
    folder = Path(next(iter(spec.submodule_search_locations))) / "lib"
    library = ctypes.CDLL(str(next(folder.glob("libnvrtc.so.*"))))

    def compiled(text, architecture):
        program, size = ctypes.c_void_p(), ctypes.c_size_t()
        assert library.nvrtcCreateProgram(ctypes.byref(program), text.encode(), b"text.cu", 0, None, None) == 0
        options = [b"--std=c++17", f"--gpu-architecture={architecture}".encode()]
        failed = library.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
        library.nvrtcGetProgramLogSize(program, ctypes.byref(size))
        log = ctypes.create_string_buffer(size.value)
        library.nvrtcGetProgramLog(program, log)
        assert not failed, log.value.decode()
        assert not log.value, log.value.decode()  # no warnings
        kind = "PTX" if architecture.startswith("compute") else "CUBIN"
        getattr(library, f"nvrtcGet{kind}Size")(program, ctypes.byref(size))
        code = ctypes.create_string_buffer(size.value)
        getattr(library, f"nvrtcGet{kind}")(program, code)
        library.nvrtcDestroyProgram(ctypes.byref(program))
        return code.raw

    return compiled


@pytest.mark.parametrize("architecture", ["compute_80", "compute_90", "sm_80", "sm_90"])
@pytest.mark.parametrize("name", KERNELS)
def test_compiles_for_devices(nvrtc, name, architecture):
    code = nvrtc(cuda.source(name, CONSTANTS[name]), architecture)
    for kernel in KERNELS[name]:
        assert (f".entry {kernel}(" if architecture.startswith("compute") else f".text.{kernel}").encode() in code


def test_every_text_and_kernel_is_tested():
    folder = Path(cuda.__file__).parent
    assert {path.name for path in folder.glob("*.cu")} == set(KERNELS)
    for name, kernels in KERNELS.items():
        text = cuda.source(name)
        declared = text.count('extern "C" __global__') + text.count("\nSWEEP(") - ("#define SWEEP" in text)
        assert declared == len(kernels)


# What they compute, on the CPU

BEFORE = """
#include <math.h>
#include <string.h>
#include <utility>
#define __global__
#define __device__
struct Number { long long x; };
static thread_local Number threadIdx, blockIdx, blockDim;
static double __longlong_as_double(long long bits) {
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}
"""
AFTER = """
template <class... A, std::size_t... I>
static void call(void (*kernel)(A...), void **arguments, std::index_sequence<I...>) {
    kernel(*(A *)arguments[I]...);
}
template <class... A>
static void run(void (*kernel)(A...), void **arguments, long long blocks, long long threads) {
    blockDim.x = threads;
    for (blockIdx.x = 0; blockIdx.x < blocks; blockIdx.x++)
        for (threadIdx.x = 0; threadIdx.x < threads; threadIdx.x++)
            call(kernel, arguments, std::index_sequence_for<A...>());
}
"""
LAUNCH = """
extern "C" void launch_{0}(void **arguments, long long blocks, long long threads) {{
    run({0}, arguments, blocks, threads);
}}
"""
OPTIONS = {"plain": ["-ffp-contract=off"], "fused": ["-mfma", "-ffp-contract=fast"]}  # a device fuses a b + c


class OnCPU:
    """Compiles CUDA C++ for the CPU; its kernels take NumPy arrays, and go through all threads in turn."""

    def __init__(self, folder, options):
        self.folder, self.options, self.libraries = folder, options, {}
        self.launches = []

    def __call__(self, text):
        if text not in self.libraries:
            name = next(name for name, kernels in KERNELS.items() if kernels[0] in text)
            path = self.folder / f"{len(self.libraries)}.so"
            file = path.with_suffix(".cpp")
            file.write_text(BEFORE + text + AFTER + "".join(map(LAUNCH.format, KERNELS[name])))
            command = ["g++", "-std=c++17", "-O2", "-shared", "-fPIC", "-Wno-unknown-pragmas", *self.options]
            subprocess.run([*command, "-o", str(path), str(file)], check=True)
            self.libraries[text] = ctypes.CDLL(str(path))
        return lambda name: lambda *call: self.launch(self.libraries[text], name, *call)

    def launch(self, library, name, blocks, threads, arguments):
        self.launches.append(name)
        cells = []
        for argument in arguments:
            if isinstance(argument, np.ndarray):
                assert argument.flags.c_contiguous
                assert argument.dtype in (np.float64, np.int64)
                cells.append(ctypes.c_void_p(argument.ctypes.data))
            else:
                assert type(argument) in (np.int64, np.float64)
                kind = ctypes.c_longlong if isinstance(argument, np.int64) else ctypes.c_double
                cells.append(kind(argument.item()))
        pointers = (ctypes.c_void_p * len(cells))(*(ctypes.addressof(cell) for cell in cells))
        getattr(library, f"launch_{name}")(pointers, ctypes.c_longlong(blocks[0]), ctypes.c_longlong(threads[0]))


@pytest.fixture(scope="module", params=OPTIONS)
def on_cpu(request, tmp_path_factory):
    if shutil.which("g++") is None:
        missing("g++")
    if request.param == "fused" and " fma " not in Path("/proc/cpuinfo").read_text():
        pytest.skip("a CPU that fuses multiplications with additions is missing")
    return OnCPU(tmp_path_factory.mktemp(request.param), OPTIONS[request.param])


def of_chain(n, depth, lines, periodic, rng, steep=None, rough=0.1):
    """log f = log(mu/pi), and jump rates (with their logarithms) of random chains, one per column.

    If `steep` is a number, V changes by up to 900 nats from cell to cell, which underflow as a rate, and log f by that
    share of it.
    """
    x = np.linspace(0, 2 * np.pi, n, endpoint=False)[:, None]
    waves = [rng.normal(size=(2, lines)) / k for k in range(1, 4)]
    v = sum(a * np.cos(k * x) + b * np.sin(k * x) for k, (a, b) in enumerate(waves, start=1))
    hills = 0.0 if steep is None else 150 * n * np.sin(x) ** 2
    v = v + hills
    boundary = ["periodic" if periodic else "no-flux", "no-flux"]
    grid = wfr.Grid([0, 0], [2 * np.pi, 1], (n, max(lines, 4)), boundary=boundary)
    log_pi = -v if lines >= 4 else -np.repeat(v, 4, axis=1)[:, :4]
    log_pi = log_pi[:, : grid.shape[1]]
    rates = [*jump_rates(grid, log_pi, 0, "scharfetter-gummel"), *log_jump_rates(grid, log_pi, 0, "scharfetter-gummel")]
    rates = [np.ascontiguousarray(rate[:, :lines]) for rate in rates]
    log_f = -depth * (1 - np.cos(x - rng.uniform(0, 6, lines))) / 2 + rough * rng.normal(size=(n, lines))
    log_f += (steep or 0.0) * hills
    return np.ascontiguousarray(log_f), rates


def both_sweeps(on_cpu, log_f, rates, wide, periodic, time, tolerance=1e-12):
    """log f after a sweep by numba, a line at a time, and by the kernel."""
    shift = 0.0 if wide else log_f.max(axis=0) - line_sweeps.TOP
    f = log_f.copy() if wide else np.exp(log_f - shift)
    ours = f.copy()
    poles, m = line_sweeps.resolvents(), f.shape[1]
    good = line_sweeps.advance(f, *rates, wide, periodic, time, tolerance, poles, 0, m, 1)
    how = {"tolerance": tolerance, "poles": poles, "constants": line_sweeps.constants()}
    agreed = cuda.Kernels(np, on_cpu).sweep(ours, tuple(rates), wide, periodic, time, **how)
    assert good
    assert agreed
    return (f, ours) if wide else (np.log(f) + shift, np.log(ours) + shift)


@pytest.mark.parametrize("periodic", [False, True], ids=["walls", "ring"])
@pytest.mark.parametrize("jumps", [0.3, 30.0, 3e3, 1e6])
@pytest.mark.parametrize("depth", [5.0, 500.0])
@pytest.mark.parametrize(("n", "lines"), [(4, 1), (50, 1), (129, 70)])
def test_sweeps_are_those_of_the_cpu(on_cpu, n, lines, depth, jumps, periodic):
    rng = np.random.default_rng([n, lines, int(depth), int(jumps)])
    log_f, rates = of_chain(n, depth, lines, periodic, rng)
    time = jumps / float((rates[0] + rates[1]).max())
    a, b = both_sweeps(on_cpu, log_f, rates, False, periodic, time)
    assert np.abs(a - b).max() < 1e-12  # the tolerance, and rounding of the logarithms


@pytest.mark.parametrize("periodic", [False, True], ids=["walls", "ring"])
@pytest.mark.parametrize("jumps", [1e-12, 0.3, 30.0, 3e3, 1e5])
@pytest.mark.parametrize(
    ("depth", "steep", "rough"),
    [
        (7000.0, None, 0.1),
        (1500.0, None, 2000.0),
        (5.0, 0.0, 0.1),
        (1500.0, 0.0, 0.1),
        (5.0, 1.02, 1.0),
        (0, 0, 2000.0),
    ],
)
@pytest.mark.parametrize(("n", "lines"), [(60, 1), (128, 5)])
def test_wide_sweeps_are_those_of_the_cpu(on_cpu, n, lines, depth, steep, rough, jumps, periodic):
    rng = np.random.default_rng([n, lines, int(depth), int(jumps)])
    log_f, rates = of_chain(n, depth, lines, periodic, rng, steep, rough)
    time = jumps / float((rates[0] + rates[1]).max())
    a, b = both_sweeps(on_cpu, log_f, rates, True, periodic, time)
    largest = max(1.0, np.abs(a).max())
    assert np.abs(a - b).max() < 1e-12 + 4 * np.finfo(float).eps * largest


def test_what_is_out_of_reach_stays(on_cpu):
    _, rates = of_chain(2000, 5.0, 1, False, np.random.default_rng(0))
    log_f = -100.0 * np.arange(2000)[:, None]
    time = 1e-12 / float((rates[0] + rates[1]).max())
    a, b = both_sweeps(on_cpu, log_f, rates, True, False, time)
    assert np.isfinite(b).all()
    assert np.abs(a - b).max() < 4 * np.finfo(float).eps * 2e5


@pytest.mark.parametrize("periodic", [False, True], ids=["walls", "ring"])
@pytest.mark.parametrize("wide", [False, True])
def test_a_constant_stays(on_cpu, wide, periodic):
    _, rates = of_chain(64, 1.0, 3, periodic, np.random.default_rng(0))
    constant = np.full((64, 3), 0.0 if wide else 3.25)
    time = 1e4 / float((rates[0] + rates[1]).max())
    changed = constant.copy()
    poles = line_sweeps.resolvents()
    how = {"tolerance": 1e-12, "poles": poles, "constants": line_sweeps.constants()}
    assert cuda.Kernels(np, on_cpu).sweep(changed, tuple(rates), wide, periodic, time, **how)
    assert np.abs(changed - constant).max() < 1e-13  # the series of e^-x x^k/k! does not sum to one to the last bit
    expected = constant.copy()
    line_sweeps.advance(expected, *rates, wide, periodic, time, 1e-12, poles, 0, 3, 1)
    assert np.abs(changed - expected).max() < 1e-14


def test_lines_do_not_depend_on_how_many_share_a_launch(on_cpu, monkeypatch):
    log_f, rates = of_chain(40, 100.0, 70, True, np.random.default_rng(1))
    results = []
    for scratch in (cuda.SCRATCH, 1):
        monkeypatch.setattr(cuda, "SCRATCH", scratch)
        on_cpu.launches.clear()
        results.append(both_sweeps(on_cpu, log_f, rates, False, True, 0.5)[1])
        assert len(on_cpu.launches) == (1 if scratch > 1 else 3)
    assert np.array_equal(*results)


def test_a_sweep_that_does_not_end_says_so(on_cpu):
    log_f, rates = of_chain(16, 1.0, 2, False, np.random.default_rng(0))
    constants = {**line_sweeps.constants(), "MOST_PARTS": 2}
    how = {"tolerance": 1e-12, "poles": line_sweeps.resolvents(), "constants": constants}
    assert not cuda.Kernels(np, on_cpu).sweep(np.exp(log_f), tuple(rates), False, False, 1e5, **how)


def test_arrays_must_be_contiguous(on_cpu):
    log_f, rates = of_chain(16, 1.0, 4, False, np.random.default_rng(0))
    how = {"tolerance": 1e-12, "poles": line_sweeps.resolvents(), "constants": line_sweeps.constants()}
    with pytest.raises(ValueError, match="contiguous"):
        cuda.Kernels(np, on_cpu).sweep(np.exp(log_f)[:, ::2], tuple(rates), False, False, 0.1, **how)


@pytest.mark.parametrize("graded", [False, True])
@pytest.mark.parametrize("shape", [(7,), (90, 70), (12, 10, 9)])
def test_fused_reaction_is_that_of_numpy(on_cpu, shape, graded, monkeypatch):
    monkeypatch.setattr(cuda, "SUMS", 1000)  # fewer than some of the shapes have cells
    rng = np.random.default_rng(len(shape))
    log_mu, log_pi = 7000 * rng.uniform(-1, 0, shape), 300 * rng.uniform(-1, 0, shape)
    volume = rng.normal(size=shape) if graded else -1.5
    for s in (1.0, 0.9, 1e-3):
        found = cuda.Kernels(np, on_cpu).fisher_rao(log_mu, log_pi, s, volume)
        expected = (log_mu - log_pi) * s + log_pi
        weighted = expected + volume
        expected -= weighted.max() + np.log(np.sum(np.exp(weighted - weighted.max())))
        assert np.abs(found - expected).max() < 2e-12  # rounding at 7000
    at_rest = cuda.Kernels(np, on_cpu).fisher_rao(log_pi, log_pi, 0.3, volume)
    assert np.ptp(at_rest - log_pi) <= 2 * np.finfo(float).eps * 300


def test_fused_reaction_with_cells_of_no_mass_and_with_none_that_is_finite(on_cpu):
    log_mu, log_pi = np.array([-np.inf, 0.0, 1.0, -np.inf]), np.zeros(4)
    found = cuda.Kernels(np, on_cpu).fisher_rao(log_mu, log_pi, 1.0, 0.0)
    assert found == pytest.approx(log_mu - np.logaddexp(0, 1))
    log_mu[1] = np.nan
    assert np.isnan(cuda.Kernels(np, on_cpu).fisher_rao(log_mu, log_pi, 1.0, 0.0)[1:3]).all()


# The backend, on a stand-in for CuPy: NumPy, and kernels on the CPU


class DeviceArray(np.ndarray):
    """NumPy's, but never together with arrays of the host, and numbers are arrays, as in CuPy."""

    def __array_ufunc__(self, ufunc, method, *inputs, out=(), **options):
        assert not any(type(x) is np.ndarray for x in (*inputs, *out)), f"{ufunc} of arrays of the host and the device"
        inputs, outs = (tuple(map(of_host, arrays)) for arrays in (inputs, out))
        result = getattr(ufunc, method)(*inputs, **({"out": outs} if out else {}), **options)
        return out[0] if out else on_device(result)


def on_device(x):
    return np.asarray(x).view(DeviceArray) if isinstance(x, np.ndarray | np.generic) else x


def of_host(x):
    return x.view(np.ndarray) if isinstance(x, DeviceArray) else x


def stand_in(compiled, free=2**34, limit=0):
    """Packages cupy and cupyx as far as the backend uses them: NumPy, kernels on the CPU, and a list of copies."""

    def wrapped(function):
        return lambda *arguments, **options: on_device(function(*arguments, **options))

    package = types.ModuleType("cupy")
    for name in dir(np):
        if not name.startswith("_") and name not in ("fft", "linalg", "random"):
            thing = getattr(np, name)
            setattr(package, name, wrapped(thing) if callable(thing) and not isinstance(thing, type) else thing)
    runtime = types.SimpleNamespace(
        getDeviceCount=lambda: 1,
        getDevice=lambda: 0,
        getDeviceProperties=lambda number: {"name": b"Stand-in"},
        memGetInfo=lambda: (free, 2**35),
    )
    package.cuda = types.SimpleNamespace(runtime=runtime, is_available=lambda: True)
    pool = types.SimpleNamespace(free_bytes=lambda: 1000, used_bytes=lambda: 500, get_limit=lambda: limit)
    package.get_default_memory_pool = lambda: pool
    package.copies = []  # sizes of what came to the host

    def asnumpy(array):
        assert isinstance(array, DeviceArray)
        package.copies.append(array.size)
        return np.array(array)

    package.asnumpy = asnumpy
    package.RawModule = lambda code, options: types.SimpleNamespace(get_function=compiled(code))
    cupyx, cupyx_scipy = types.ModuleType("cupyx"), types.ModuleType("cupyx.scipy")
    names = "dctn", "idctn", "rfftn", "irfftn"
    transforms = {
        name: lambda x, name=name, **o: on_device(getattr(scipy.fft, name)(of_host(x), **o)) for name in names
    }
    cupyx_scipy.fft = types.SimpleNamespace(**transforms)
    return {"cupy": package, "cupyx": cupyx, "cupyx.scipy": cupyx_scipy}


@contextlib.contextmanager
def installed(modules, monkeypatch):
    """Modules as if they were installed, or None where one is not."""
    cupy.backend.cache_clear()
    with monkeypatch.context() as patch:
        for name, module in modules.items():
            patch.setitem(sys.modules, name, module)
        yield
    cupy.backend.cache_clear()


R, S = wfr.FisherRao(1.0), wfr.SinkhornKernel(1.0)
FLOWS = {
    "FisherRao": R,
    "Lie": wfr.Lie(S, R),
    "Strang": wfr.Strang(R, S),
    "Repeated": wfr.Repeated(wfr.Strang(R, S), 2),
    "Extrapolated": wfr.Extrapolated(wfr.Strang(R, S), 8),
    "FiniteVolume": wfr.Strang(R, wfr.FiniteVolume(1.0)),
    "square-root": wfr.FiniteVolume(1.0, flux="square-root"),
    "in dx": wfr.Extrapolated(wfr.Strang(R, wfr.FiniteVolume()), 4, "dx"),
    "SplitStep": wfr.Strang(R, wfr.SplitStep(1.0)),
    "LangevinKernel": wfr.Strang(R, wfr.LangevinKernel(1.0)),
    "MALAKernel": wfr.Strang(R, wfr.MALAKernel(1.0)),
}
CASES = {
    "1D": backend_cases.CASES["1D"],
    "2D": (
        wfr.DoubleWell(2.0, stiffness=(4.0,), coupling=0.5),
        wfr.Gaussian([-1, 0], 0.1),
        dict(lower=[-3, -3], upper=[3, 3.5], shape=(140, 90)),
        0.05,
    ),
    "2D graded": (
        wfr.DoubleWell(2.0, stiffness=(4.0,), coupling=0.5),
        wfr.Gaussian([-1, 0], 0.1),
        dict(lower=[-3, -3], upper=[3, 3.5], shape=(140, 90), grading=[lambda x: 1 / (3 + x**2), None]),
        0.05,
    ),
    "3D periodic": backend_cases.CASES["3D periodic"],
    "far": backend_cases.CASES["far"],
}
NOT_THERE = {  # one dimension only; equal cells only; all below the floor; a drift too strong for the cells
    *(("MALAKernel", case) for case in CASES if case != "1D"),
    ("SplitStep", "2D graded"),
    ("SplitStep", "far"),
    ("LangevinKernel", "far"),
}
PAIRS = [pair for pair in itertools.product(FLOWS, CASES) if pair not in NOT_THERE]
ids = [" ".join(pair) for pair in PAIRS]


def check_agreement(flow, case, device):
    """What `solve` gives with the cupy backend against what it gives with NumPy."""
    target, start, options, dt = CASES[case]
    results = []
    for backend in ("numpy", "cupy"):
        grid = wfr.Grid(**options, backend=backend)
        record = [wfr.KL(target), wfr.diagnostics.mean]
        results.append(wfr.solve(target, FLOWS[flow], grid.density(start), [0, 2 * dt], dt, record=record))
    a, b = results
    assert device in b.attrs["device"]
    assert a.kl.values == pytest.approx(b.kl.values, rel=1e-11)
    assert np.allclose(a["mean"].values, b["mean"].values, atol=1e-13)
    if flow == "SplitStep":  # its tails are noise
        p, q = (wfr.Density.from_dataset(ds) for ds in results)
        assert wfr.metrics.l1(p, q) < 1e-12
        return
    # rounding, amplified by the extrapolation weights and by the size of the logarithms; sweeps err by their tolerance
    tolerance = 1e-13 * (10 + np.abs(a.log_density.values).max())
    if "in dx" in flow or flow in ("FiniteVolume", "square-root"):
        tolerance += 1e-11
    assert np.abs(a.log_density.values - b.log_density.values).max() < tolerance


@pytest.mark.filterwarnings("ignore::wfr_pde.FloorWarning")  # agreement is what counts, also on a far start
@pytest.mark.parametrize(("flow", "case"), PAIRS, ids=ids)
def test_flows_on_the_stand_in(on_cpu, flow, case, monkeypatch):
    with installed(stand_in(on_cpu), monkeypatch):
        check_agreement(flow, case, "Stand-in (CUDA device 0)")


@pytest.mark.parametrize("flow", [name for name in FLOWS if name != "LangevinKernel"])
def test_a_step_stays_on_the_device(on_cpu, flow, monkeypatch):
    target, start, options, dt = CASES["1D" if flow == "MALAKernel" else "2D"]
    modules = stand_in(on_cpu)
    with installed(modules, monkeypatch):
        grid = wfr.Grid(**options, backend="cupy")
        state = grid.density(start)
        step = FLOWS[flow].make_step(wfr.KL(target), state, dt)
        state = step(state, 0.0)  # the watch of SplitStep looks at the target once
        modules["cupy"].copies.clear()
        on_cpu.launches.clear()
        state = step(state, dt)
        assert isinstance(state.log_values, DeviceArray)
        assert not modules["cupy"].copies
    assert "fisher_rao_sums" in on_cpu.launches or flow == "square-root"
    assert ("sweep_walls" in on_cpu.launches) == (flow in ("FiniteVolume", "square-root", "in dx"))


def test_too_large_a_problem_is_refused_before_it_is_allocated(on_cpu, monkeypatch):
    target, start, options, dt = CASES["2D"]
    with installed(stand_in(on_cpu, free=1_500_000), monkeypatch):
        assert get_backend("cupy").available_memory() == 1_501_000
        grid = wfr.Grid(**options, backend="cupy")
        state = grid.density(start)
        with pytest.raises(MemoryError, match="GiB are free"):
            wfr.solve(target, wfr.FiniteVolume(), state, [0, 1], dt)
        with pytest.raises(MemoryError, match="use fewer cells"):
            wfr.Grid(**options | {"shape": (300, 300)}, backend="cupy").density(start)
    with installed(stand_in(on_cpu, limit=3000), monkeypatch):
        assert get_backend("cupy").available_memory() == 2500  # the limit of the pool, less what is in use


def test_scratch_is_part_of_the_memory(on_cpu, monkeypatch):
    options = dict(lower=[0, 0], upper=[1, 1], shape=(64, 32), max_cut=1)
    start = wfr.Gaussian([0.5, 0.5], 0.02)
    with installed(stand_in(on_cpu), monkeypatch):
        flow = wfr.FiniteVolume()
        needed = [flow.memory_use(wfr.Grid(**options, backend=name).density(start)).held for name in ("numpy", "cupy")]
    assert needed[1] - needed[0] == 8 * 64 * 32 * sum(cuda.scratch_arrays(True, False))


def test_without_cupy_the_extra_is_named(monkeypatch, capsys):
    with installed({"cupy": None}, monkeypatch):
        with pytest.raises(BackendError, match=r'pip install "wfr-pde\[cuda12\]".*cuda13.*nvidia-smi'):
            wfr.Grid(0, 1, 16, backend="cupy")
        options = ["--potential", "x**2", "--start", "gaussian(mean=0, covariance=1)", "--t", "0:1:2"]
        assert main(["solve", *options, "--device", "cuda", "--dry-run"]) == 3
        assert "wfr-pde[cuda12]" in capsys.readouterr().err
        assert main(["info"]) == 0
        assert "not available: the cupy backend needs CuPy" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("said", ["cudaErrorInsufficientDriver: CUDA driver version is insufficient", None])
def test_without_a_device_the_driver_is_quoted(said, on_cpu, monkeypatch):
    def count():
        if said:
            raise RuntimeError(said)
        return 0

    modules = stand_in(on_cpu)
    modules["cupy"].cuda.runtime.getDeviceCount = count
    with installed(modules, monkeypatch), pytest.raises(BackendError, match=said or "no CUDA device") as error:
        get_backend("cupy")
    assert "CUDA_VISIBLE_DEVICES" in str(error.value)


def test_what_is_no_backend_is_not_offered():
    with pytest.raises(BackendError, match="use one of: cupy, numpy"):
        get_backend("cuda")


def test_asked_for_again_it_is_the_same(on_cpu, monkeypatch):
    with installed(stand_in(on_cpu), monkeypatch):
        assert get_backend("cupy") is get_backend("cupy")


# On a device


def device_is_there():
    if importlib.util.find_spec("cupy") is None:
        return False
    import cupy as library

    return library.cuda.is_available()


on_a_device = pytest.mark.skipif(not device_is_there(), reason="needs CuPy and a CUDA device")


@pytest.mark.gpu
@on_a_device
@pytest.mark.filterwarnings("ignore::wfr_pde.FloorWarning")
@pytest.mark.parametrize(("flow", "case"), PAIRS, ids=ids)
def test_flows_on_a_device(flow, case):
    check_agreement(flow, case, "CUDA device")


@pytest.mark.gpu
@on_a_device
@pytest.mark.parametrize("periodic", [False, True], ids=["walls", "ring"])
@pytest.mark.parametrize(("wide", "depth"), [(False, 500.0), (True, 7000.0)])
def test_sweeps_on_a_device(wide, depth, periodic):
    backend = get_backend("cupy")
    kernels, put = backend.kernels, backend.asarray
    log_f, rates = of_chain(128, depth, 5, periodic, np.random.default_rng(0))
    time, poles = 3e3 / float((rates[0] + rates[1]).max()), line_sweeps.resolvents()
    shift = 0.0 if wide else log_f.max(axis=0) - line_sweeps.TOP
    f = log_f.copy() if wide else np.exp(log_f - shift)
    ours = put(f.copy())
    line_sweeps.advance(f, *rates, wide, periodic, time, 1e-12, poles, 0, 5, 1)
    how = {"tolerance": 1e-12, "poles": put(poles), "constants": line_sweeps.constants()}
    assert kernels.sweep(ours, tuple(map(put, rates)), wide, periodic, time, **how)
    found = backend.asnumpy(ours)
    difference = np.abs(found - f) if wide else np.abs(np.log(found / f))
    assert difference.max() < 1e-12 + 4 * np.finfo(float).eps * (np.abs(f).max() if wide else 1.0)
