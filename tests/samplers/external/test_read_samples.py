"""Samples from files."""

import numpy as np
import pytest
import xarray as xr
from unadjusted_langevin import DT, START, TARGET, TIMES, euler

import wfr_pde as wfr
from wfr_pde.samplers import Langevin
from wfr_pde.samplers.external.read_samples import read_samples
from wfr_pde.samplers.external.run_sampler import run_sampler
from wfr_pde.storage import files

X = np.zeros((5, 2))


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
    "complex": ({"positions": np.full((3, 7, 2), 1j)}, "no numbers: positions .* which is complex: give .real"),
    "complex weights": ({"log_weights": None, "weights": np.full((3, 7), 1j)}, "which is complex: give .real"),
    "words": ({"positions": np.full((3, 7, 2), "a")}, "no numbers"),
    "both weights": ({"weights": np.ones((3, 7))}, "both weights and log_weights: leave one out"),
    "weights' shape": ({"log_weights": np.zeros(7)}, r"weights of shape \(7,\) for positions of shape \(3, 7, 2\)"),
    "negative": ({"log_weights": None, "weights": np.full((3, 7), -2.0)}, "the weight -2.0: weights must be >= 0"),
    "all zero": ({"log_weights": None, "weights": np.zeros((3, 7))}, "at t=0 what .* at least one weight must be pos"),
    "not finite": ({"positions": np.full((3, 7, 2), np.nan)}, r"at t=0 what cannot be particles: .*particle 0 .*\[nan"),
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
    with pytest.raises(ValueError, match=r"a.npz is no .npz file of numbers \(its content is of another kind"):
        read_samples(tmp_path / "a.npz")
    (tmp_path / "a.npz").write_bytes(b"")
    with pytest.raises(ValueError, match=r"a.npz is no .npz file of numbers \(it is empty"):
        read_samples(tmp_path / "a.npz")
    (tmp_path / "a.nc").write_text("1,2")
    with pytest.raises(ValueError, match=r"a.nc cannot be read as NetCDF"):
        read_samples(tmp_path / "a.nc")
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
