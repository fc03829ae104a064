"""Samplers that are any callable, and samples from files."""

import functools
import itertools
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr

import wfr_pde as wfr
from wfr_pde.samplers import Langevin
from wfr_pde.samplers.external.load_callable import dotted_name, load_callable
from wfr_pde.samplers.external.read_samples import read_samples
from wfr_pde.samplers.external.run_sampler import run_sampler
from wfr_pde.storage import files

TARGET, START = wfr.GaussianMixture([[-1.0, 0.0], [1.2, 0.5]], [0.4, 0.6], 0.3), wfr.Gaussian([-0.6, 0.2], 0.25)
TIMES = np.array([0.0, 0.25, 0.5, 0.8])
DT = 0.1


def euler(target, x, times, rng, dt=DT, first=True):
    """The unadjusted Langevin algorithm, in place."""
    if first:
        yield times[0], x, None
    for start, end in itertools.pairwise(times):
        n_steps = max(int(np.ceil((end - start) / dt * (1 - 1e-12))), 1)
        h = (end - start) / n_steps
        for _ in range(n_steps):
            x += h * target.score(x)
            x += np.sqrt(2 * h) * rng.standard_normal(x.shape)
        yield end, x, None


def yielding(*results):
    """A sampler that yields what it is told."""
    return lambda target, x, times, rng: iter(results)


def at_rest(target, x, times, rng):
    for t in times:
        yield t, x, None


@pytest.mark.parametrize("seed", [0, 5])
@pytest.mark.parametrize("first", [True, False], ids=["with the start", "without"])
def test_the_same_algorithm_gives_what_solve_gives(seed, first):
    ds = run_sampler(euler, TARGET, START, TIMES, 200, rng=seed, first=first)
    own = wfr.solve(TARGET, Langevin(), START.sample(200, rng=seed), TIMES, DT, rng=seed)
    np.testing.assert_array_equal(ds["position"], own["position"])  # the same random numbers, and sums in one order
    np.testing.assert_array_equal(ds["log_weight"], own["log_weight"])
    np.testing.assert_array_equal(ds["position"][0], START.sample(200, rng=seed))
    assert list(ds.data_vars) == list(own.data_vars)
    for name in ("position", "log_weight", "t"):
        assert ds[name].dims == own[name].dims
        assert ds[name].dtype == own[name].dtype
        assert ds[name].attrs == own[name].attrs
    assert ds.attrs["seed"] == own.attrs["seed"] == str(seed)
    assert ds.attrs["energy"] == own.attrs["energy"]
    assert set(own.attrs) - set(ds.attrs) == {"flow", "dt", "dt_used", "n_steps"}


def test_provenance():
    ds = run_sampler(functools.partial(euler, dt=0.05), TARGET, START, TIMES, 50, first=False)
    assert ds.attrs["method"] == dotted_name(euler) == f"{__name__}.euler"
    assert json.loads(ds.attrs["options"]) == {"first": "False"}
    assert ds.attrs["start"] == repr(START)
    assert ds.attrs["wall_time"] > 0
    assert all(isinstance(value, str | int | float) for value in ds.attrs.values())


def test_same_seed_same_bits():
    first, again, other = (run_sampler(euler, TARGET, START, TIMES, 50, rng=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first["position"], again["position"])
    assert (first["position"][-1] != other["position"][-1]).all()
    np.testing.assert_array_equal(
        *(run_sampler(euler, TARGET, START, TIMES, 9, rng=np.random.default_rng(1))["position"] for _ in range(2))
    )
    free = [run_sampler(euler, TARGET, START, TIMES, 9, rng=None) for _ in range(2)]
    assert (free[0]["position"] != free[1]["position"]).all()
    assert free[0].attrs["seed"] != free[1].attrs["seed"]


def test_what_the_sampler_is_given_is_its_own():
    x = START.sample(20, rng=0)
    kept, times = x.copy(), TIMES.copy()

    def destroys(target, x, times, rng):
        for t in times.copy():
            yield t, x, None
            x += 1
            times[:] = 0

    ds = run_sampler(destroys, TARGET, x, times)
    np.testing.assert_array_equal(x, kept)
    np.testing.assert_array_equal(times, TIMES)
    np.testing.assert_allclose(ds["position"].values - kept, np.arange(4)[:, None, None] + 0 * kept, rtol=1e-15)


def test_starts():
    x = START.sample(30, rng=1)
    expected = run_sampler(at_rest, TARGET, START, TIMES, 30, rng=1)
    np.testing.assert_array_equal(expected["position"], np.broadcast_to(x, (4, 30, 2)))
    for start in (x, wfr.Particles(x)):
        xr.testing.assert_equal(run_sampler(at_rest, TARGET, start, TIMES, rng=1), expected)
    density = wfr.Grid([-4, -3], [4, 4], 32).density(START)
    drawn = run_sampler(at_rest, TARGET, density, TIMES, 30, rng=1)
    np.testing.assert_array_equal(drawn["position"][0], density.sample(30, rng=1))


def test_weights_are_normalised_and_may_be_zero():
    log_weights = np.log([1, 2, 3, 4]) + 700
    log_weights[0] = -np.inf

    def weighted(target, x, times, rng):
        return [(t, x + t, log_weights) for t in times]

    ds = run_sampler(weighted, TARGET, START, TIMES, 4)
    np.testing.assert_allclose(np.exp(ds["log_weight"]), [[0, 2 / 9, 3 / 9, 4 / 9]] * 4, rtol=1e-13)


def test_the_number_of_particles_may_differ_from_that_of_the_start():
    halves = run_sampler(lambda target, x, times, rng: ((t, x[::2], None) for t in times), TARGET, START, TIMES, 10)
    assert halves.sizes["particle"] == 5


X = np.zeros((5, 2))
FAR = np.full((5, 2), np.inf)
WRONG = {
    "no tuple": (yielding(X), TypeError, r"yielded an array of shape \(5, 2\) before it .* tuples \(t, positions"),
    "two things": (yielding((0.0, X)), TypeError, "yielded 2 things"),
    "no time": (yielding(("now", X, None)), ValueError, "yielded the time 'now'.*finite number"),
    "NaN time": (yielding((np.nan, X, None)), ValueError, "yielded the time nan"),
    "wrong time": (yielding((0, X, None), (0.26, X, None)), ValueError, "t=0.26, but the next save time is 0.25"),
    "late": (yielding((0.5, X, None)), ValueError, "t=0.5, but the next save time is 0.25"),
    "few": (yielding((0, X, None), (0.25, X, None)), ValueError, "stopped after t=0.25.* 2 save times from t=0.5 on"),
    "none": (yielding(), ValueError, "stopped before it yielded anything"),
    "many": (
        yielding(*((t, X, None) for t in [*TIMES, 1.0])),
        ValueError,
        "yielded t=1 after the last save time 0.8: it must stop there",
    ),
    "one axis": (yielding((0, X[0], None)), ValueError, r"positions of shape \(2,\): they must have shape \(n, 2\)"),
    "dimension": (yielding((0, X[:, :1], None)), ValueError, r"positions of shape \(5, 1\)"),
    "words": (yielding((0, "here", None)), ValueError, "no arrays of numbers"),
    "number": (yielding((0, X, None), (0.25, X[1:], None)), ValueError, "4 particles, after 5 before: keep .*-inf"),
    "number at first": (yielding((0.25, X[1:], None)), ValueError, "or yield all of them at the first save time too"),
    "infinite": (yielding((0, FAR, None)), ValueError, r"at t=0 .*particle 0 has the position \[inf, inf\]"),
    "no particle": (yielding((0, X[:0], None)), ValueError, "n > 0"),
    "weights": (yielding((0, X, np.zeros(4))), ValueError, r"log_weights have shape \(4,\), but there are 5 particles"),
    "no weight": (yielding((0, X, np.full(5, -np.inf))), ValueError, "at least one weight must be positive"),
    "NaN weight": (yielding((0, X, np.full(5, np.nan))), ValueError, "largest log-weight is nan"),
    "nothing": (lambda target, x, times, rng: None, TypeError, "returned NoneType, which is no iterable"),
    "one array": (
        lambda target, x, times, rng: [(t, x, None) for t in times],
        ValueError,
        r"same array of positions for several times.*append positions.copy\(\)",
    ),
}


@pytest.mark.parametrize(("sampler", "error", "message"), WRONG.values(), ids=WRONG.keys())
def test_what_does_not_fit_is_refused(sampler, error, message):
    with pytest.raises(error, match=message):
        run_sampler(sampler, TARGET, START, TIMES, 5)


def test_times_may_differ_by_rounding_only():
    times = np.array([0.0, 100.0])
    assert run_sampler(yielding((1e-8, X, None), (100 + 1e-8, X, None)), TARGET, START, times, 5)["t"][1] == 100
    with pytest.raises(ValueError, match="t=100.000001, but"):
        run_sampler(yielding((0, X, None), (100 + 1e-6, X, None)), TARGET, START, times, 5)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((Langevin(), TARGET, START, TIMES, 5), TypeError, "is a Flow: run it with solve"),
        ((3, TARGET, START, TIMES, 5), TypeError, "must be a callable"),
        ((at_rest, "pi", START, TIMES, 5), TypeError, "target must be a Target .* got str"),
        ((at_rest, TARGET, [0, 1], TIMES, 5), TypeError, "start must be .* got list"),
        ((at_rest, TARGET, wfr.Gaussian(0, 1), TIMES, 5), ValueError, "start is 1-dimensional, but the target 2-"),
        ((at_rest, TARGET, START, TIMES), ValueError, "n must be the number of particles .* got None"),
        ((at_rest, TARGET, START, TIMES, 0), ValueError, "n must be the number of particles .* got 0"),
        ((at_rest, TARGET, X, TIMES, 6), ValueError, "n=6, but the start has 5 particles: leave n out"),
        ((at_rest, TARGET, wfr.Particles(X, np.arange(5)), TIMES), ValueError, "different weights.*start.sample"),
        ((at_rest, TARGET, START, [0, 1, 1], 5), ValueError, "increasing save times"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        run_sampler(*arguments)


def test_errors_of_the_sampler_pass_with_a_note():
    def breaks(target, x, times, rng):
        yield times[0], x, None
        yield times[1], x, None
        raise KeyError("mine")

    def breaks_at_once(target, x, times, rng):
        raise OSError("mine")

    with pytest.raises(KeyError, match="mine") as caught:
        run_sampler(breaks, TARGET, START, TIMES, 5)
    assert re.search(r"raised by the sampler .*breaks, after t=0.25", caught.value.__notes__[0])
    with pytest.raises(OSError, match="mine") as caught:
        run_sampler(breaks_at_once, TARGET, START, TIMES, 5)
    assert "before it yielded anything" in caught.value.__notes__[0]
    with pytest.raises(TypeError, match="unexpected keyword argument 'step'"):
        run_sampler(euler, TARGET, START, TIMES, 5, step=0.1)


# load_callable


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A directory with a package of its own, as the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    (tmp_path / "mine_alone.py").write_text("def f(): return 'file'\nX = 3\nclass C:\n    def g(): return 'method'\n")
    package = tmp_path / "mine_package" / "inner"
    package.mkdir(parents=True)
    (tmp_path / "mine_package" / "__init__.py").write_text("def f(): return 'package'\n")
    (package / "__init__.py").write_text("")
    (package / "deep.py").write_text("def f(): return 'deep'\n")
    (package / "broken.py").write_text("import no_such_thing\n")
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith(("mine_", "file_")):
            del sys.modules[name]


@pytest.mark.parametrize(
    ("where", "says"),
    [
        ("mine_alone:f", "file"),
        ("mine_alone.f", "file"),
        ("mine_alone:C.g", "method"),
        ("mine_alone.C.g", "method"),
        ("mine_alone.py:f", "file"),
        ("./mine_package/inner/deep.py:f", "deep"),
        ("mine_package:f", "package"),
        ("mine_package.inner.deep:f", "deep"),
        ("mine_package.inner.deep.f", "deep"),
    ],
)
def test_load_callable(project, where, says):
    assert load_callable(where)() == says


def test_files_of_one_name_do_not_get_mixed_up(project):
    for k in range(2):
        (project / f"{k}").mkdir()
        (project / f"{k}" / "mine_twin.py").write_text(f"import neighbour_{k}\ndef f(): return neighbour_{k}.K\n")
        (project / f"{k}" / f"neighbour_{k}.py").write_text(f"K = {k}\n")
    (project / "json.py").write_text("def f(): return 'not that of Python'\n")
    (project / "mine-own.py").write_text("def f(): return 'dash'\n")
    first, second = (load_callable(f"{k}/mine_twin.py:f") for k in range(2))
    assert (first(), second()) == (0, 1)
    assert first.__module__ == "mine_twin" != second.__module__
    assert load_callable("0/mine_twin.py:f") is first
    assert load_callable("1/mine_twin.py:f") is second
    assert load_callable("json.py:f")() == "not that of Python"
    assert load_callable("mine-own.py:f")() == "dash"
    assert sys.modules["json"] is json


@pytest.mark.parametrize(
    ("where", "error", "message"),
    [
        ("no_such_module:f", ModuleNotFoundError, "no module 'no_such_module' for 'no_such_module:f', neither inst"),
        ("no_such_module.f", ModuleNotFoundError, "no module 'no_such_module'"),
        ("mine_package.nowhere:f", ModuleNotFoundError, "no module 'mine_package.nowhere'"),
        ("mine_package.nowhere.f", ImportError, "mine_package has no 'nowhere'; it has f"),
        ("mine_package.inner.broken:f", ModuleNotFoundError, "No module named 'no_such_thing'"),
        ("mine_package.inner.broken.f", ModuleNotFoundError, "No module named 'no_such_thing'"),
        ("mine_alone:h", ImportError, "mine_alone has no 'h'; it has f, C"),
        ("mine_alone:X", TypeError, "'mine_alone:X' is int, which cannot be called"),
        ("mine_alone.py", ValueError, "names a file only: write mine_alone.py:NAME"),
        ("nowhere.py:f", FileNotFoundError, "no file .*nowhere.py"),
        ("f", ValueError, "'f' names no callable: write package.module:name"),
        ("a b:f", ValueError, "names no module"),
        ("", ValueError, "names no callable"),
    ],
)
def test_what_cannot_be_loaded(project, where, error, message):
    with pytest.raises(error, match=message):
        load_callable(where)


def test_a_sampler_in_a_file_runs_from_anywhere(project):
    (project / "mine_sampler.py").write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass\n"
        "@dataclass\nclass Shift:\n    by: float\n"
        "def shifted(target, x, times, rng, by=1.0):\n    for t in times:\n"
        "        yield t, x + Shift(by).by * t, None\n"
    )
    code = (
        "import wfr_pde as wfr\nfrom wfr_pde.samplers.external.run_sampler import load_callable, run_sampler\n"
        "ds = run_sampler(load_callable('mine_sampler:shifted'), wfr.Gaussian(0, 1), wfr.Gaussian(0, 1), [0, 2], 3)\n"
        "print(ds.attrs['method'], float((ds.position[1] - ds.position[0]).mean()))\n"
    )
    environment = os.environ | {"PYTHONSAFEPATH": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.split() == ["mine_sampler.shifted", "2.0"]


# read_samples


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    return {"positions": rng.normal(size=(3, 7, 2)), "times": TIMES[:3], "log_weights": rng.normal(size=(3, 7))}


def check_schema(ds, *front):
    assert ds["position"].dims == (*front, "t", "particle", "dim")
    assert ds["log_weight"].dims == (*front, "t", "particle")
    assert ds["t"].attrs == {"long_name": "time", "units": "1"}
    assert ds["position"].attrs["units"] == "1"
    np.testing.assert_allclose(np.exp(ds["log_weight"]).sum("particle"), 1, rtol=1e-13)


def test_npz(tmp_path, arrays):
    np.savez(tmp_path / "theirs.npz", **arrays)
    ds = read_samples(tmp_path / "theirs.npz")
    check_schema(ds)
    np.testing.assert_array_equal(ds["position"], arrays["positions"])
    np.testing.assert_array_equal(ds["t"], arrays["times"])
    expected = [
        wfr.Particles(x, w).log_weights for x, w in zip(arrays["positions"], arrays["log_weights"], strict=True)
    ]
    np.testing.assert_array_equal(ds["log_weight"], expected)
    assert ds.attrs["method"] == "theirs"


def test_npz_with_seeds_weights_and_one_time(tmp_path, arrays):
    x = arrays["positions"]
    np.savez(tmp_path / "a.npz", positions=x[None].repeat(2, axis=0), times=arrays["times"])
    ds = read_samples(tmp_path / "a.npz")
    check_schema(ds, "seed")
    assert ds.sizes["seed"] == 2
    np.testing.assert_allclose(np.exp(ds["log_weight"]), 1 / 7, rtol=1e-14)
    np.savez(tmp_path / "b.npz", positions=x[0], weights=np.arange(7), times=0.0)
    ds = read_samples(str(tmp_path / "b.npz"))
    check_schema(ds)
    assert ds["t"].values.tolist() == [0]
    np.testing.assert_allclose(np.exp(ds["log_weight"][0]), np.arange(7) / 21, rtol=1e-13, atol=0)
    np.savez(tmp_path / "c.npz", positions=x[0], times=2.5)
    assert read_samples(tmp_path / "c.npz")["t"].values.tolist() == [2.5]


def test_what_solve_and_run_sampler_gave_comes_back(tmp_path):
    theirs = run_sampler(euler, TARGET, START, TIMES, 20)
    ours = wfr.solve(TARGET, Langevin(), START.sample(20, rng=0), TIMES, DT, rng=0, out=tmp_path / "run")
    for ds in (theirs, ours):
        xr.testing.assert_identical(read_samples(files.write_dataset(ds, tmp_path / "a.nc")), ds)
    xr.testing.assert_equal(read_samples(tmp_path / "run"), ours)
    several = xr.concat([theirs, theirs], dim="seed").assign_coords(seed=[5, 6])
    read = read_samples(files.write_dataset(several.transpose(..., "seed"), tmp_path / "c.nc"))
    check_schema(read, "seed")
    xr.testing.assert_equal(read, several)
    last = wfr.solve(TARGET, Langevin(), START.sample(20, rng=0), TIMES, DT, rng=0, keep="last")
    read = read_samples(files.write_dataset(last, tmp_path / "d.nc"))
    check_schema(read)
    assert read["t"].values.tolist() == [0.8]


def test_netcdf_without_weights_has_equal_ones(tmp_path, arrays):
    ds = xr.Dataset({"position": (("t", "particle", "dim"), arrays["positions"])}, coords={"t": arrays["times"]})
    ds.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    read = read_samples(tmp_path / "a.nc")
    check_schema(read)
    np.testing.assert_allclose(np.exp(read["log_weight"]), 1 / 7, rtol=1e-14)


WRONG_ARRAYS = {
    "no positions": ({"positions": None, "x": X}, r"has times .*, x \(5, 2\), and read_samples misses the array 'pos"),
    "unknown": ({"log_weight": np.zeros(7)}, "does not know what 'log_weight' is: name the arrays positions, times"),
    "no times": ({"times": None}, r"positions \(3, 7, 2\) at 3 times, but no array 'times': add it, of shape \(3,\)"),
    "too few times": ({"times": TIMES[:2]}, r"times \[0.   0.25\] of shape \(2,\) for positions of shape \(3, 7, 2\)"),
    "falling times": ({"times": -TIMES[:3]}, "3 finite, increasing times"),
    "infinite time": ({"times": np.array([0, 1, np.inf])}, "3 finite, increasing times"),
    "one axis": ({"positions": np.zeros(7)}, r"positions of shape \(7,\): they must have shape \(n, d\)"),
    "five axes": ({"positions": np.zeros((1, 1, 3, 7, 2))}, r"positions of shape \(1, 1, 3, 7, 2\)"),
    "words": ({"positions": np.full((3, 7, 2), "a")}, "no numbers"),
    "both weights": ({"weights": np.ones((3, 7))}, "both weights and log_weights: leave one out"),
    "weights' shape": ({"log_weights": np.zeros(7)}, r"weights of shape \(7,\) for positions of shape \(3, 7, 2\)"),
    "negative": ({"log_weights": None, "weights": np.full((3, 7), -2.0)}, "the weight -2.0: weights must be >= 0"),
    "all zero": ({"log_weights": None, "weights": np.zeros((3, 7))}, "at t=0 what .* at least one weight must be pos"),
    "not finite": ({"positions": np.full((3, 7, 2), np.nan)}, r"at t=0 what cannot be particles: particle 0 .*\[nan"),
}


@pytest.mark.parametrize(("changes", "message"), WRONG_ARRAYS.values(), ids=WRONG_ARRAYS.keys())
def test_arrays_that_are_refused(tmp_path, arrays, changes, message):
    np.savez(tmp_path / "a.npz", **{name: value for name, value in (arrays | changes).items() if value is not None})
    with pytest.raises(ValueError, match=message):
        read_samples(tmp_path / "a.npz")


def test_files_that_are_refused(tmp_path, arrays):
    with pytest.raises(FileNotFoundError, match="no file .*nothing.npz"):
        read_samples(tmp_path / "nothing.npz")
    (tmp_path / "a.csv").write_text("1,2")
    with pytest.raises(ValueError, match=r"the ending '.csv': samples are read from .npz or NetCDF"):
        read_samples(tmp_path / "a.csv")
    (tmp_path / "a.npz").write_text("1,2")
    with pytest.raises(ValueError, match=r"a.npz is no .npz file of numbers"):
        read_samples(tmp_path / "a.npz")
    with pytest.raises(FileNotFoundError, match="holds no run"):
        read_samples(tmp_path)
    dims, t = ("t", "particle", "dim"), {"t": TIMES[:3]}
    for k, (ds, message) in enumerate([
        (xr.Dataset({"x": 1.0}), "misses the variable 'position' .*; it has x"),
        (xr.Dataset({"position": (("t", "n", "dim"), arrays["positions"])}), r"dimensions \('t', 'n', 'dim'\)"),
        (xr.Dataset({"position": (dims, arrays["positions"])}), "no coordinate 't' with the times of its 3 frames"),
        (
            xr.Dataset({"position": (dims, arrays["positions"]), "log_weight": ("particle", np.zeros(7))}, t),
            "log_weight with the dimensions",
        ),
    ]):  # fmt: skip
        files.write_dataset(ds, tmp_path / f"{k}.nc")
        with pytest.raises(ValueError, match=message):
            read_samples(tmp_path / f"{k}.nc")
