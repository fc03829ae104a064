"""Targets and starts by name and from files."""

import numpy as np
import pytest
import xarray as xr

import wfr_pde as wfr
from wfr_pde.app.cli.distributions import distribution
from wfr_pde.storage.files import read_dataset, write_dataset

TARGET, START = "gaussian(mean=0, covariance=1)", "gaussian(mean=1, covariance=0.5)"
SOLVE = ["solve", "--target", TARGET, "--shape", "256", "--lower", "-8", "--upper", "8"]


@pytest.fixture(autouse=True)
def folder(project):
    return project


def test_a_run_goes_on_from_a_stored_density(result):
    whole = result(*SOLVE, "--start", START, "--t", "0,0.5,1", "--dt", "0.1", "-o", "whole.nc")
    assert whole[0] == 0
    code, _, err = result(*SOLVE, "--start", "whole.nc@0.5", "--t", "0.5,1", "--dt", "0.1", "-o", "later.nc")
    assert (code, err) == (0, "")
    for name in ("kl", "log_density"):
        np.testing.assert_allclose(read_dataset("later.nc")[name][-1], read_dataset("whole.nc")[name][-1], atol=1e-12)
    last = distribution("--target", "whole.nc")
    assert last.log_values.tolist() == read_dataset("whole.nc")["log_density"][-1].values.tolist()
    frame = distribution("--target", "whole.nc:log_density@0")
    assert frame.log_values.tolist() == read_dataset("whole.nc")["log_density"][0].values.tolist()


def test_values_in_a_file_are_a_target(result):
    x = np.linspace(-6, 6, 241)
    xr.Dataset({"p": ("x", np.exp(-(x**2) / 2)), "q": ("x", x)}, coords={"x": x}).to_netcdf("two.nc", engine="h5netcdf")
    xr.Dataset({"log_p": ("x", -(x**2) / 2)}, coords={"x": x}).to_netcdf("one.nc", engine="h5netcdf")
    for text in ("two.nc:p", "one.nc"):
        found = distribution("--target", text)
        assert found.log_density([[1.0]]) - found.log_density([[0.0]]) == pytest.approx(-0.5)
    code, _, _ = result("solve", "--target", "two.nc:p", "--start", START, "--t", "0,0.5", "-o", "out.nc")
    assert code == 0
    assert float(read_dataset("out.nc")["kl"][-1]) < 0.2
    assert "GridTarget" in read_dataset("out.nc").attrs["energy"]


def test_paths_between_two():
    path = distribution("--target", f"geometric_path(start={START}, target=double_well(2))")
    assert repr(path) == repr(wfr.GeometricPath(wfr.Gaussian(1, 0.5), wfr.DoubleWell(2)))
    assert distribution("--target", f"geometric_mean({START}, {TARGET}, 0.5)").ndim == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nowhere.nc", "there is no file 'nowhere.nc'"),
        ("text.nc", "text.nc cannot be read as NetCDF"),
        ("two.nc", "two.nc has p, q: say which is meant, as in two.nc:NAME"),
        ("two.nc:r", "two.nc has no variable 'r'; it has p, q"),
        ("two.nc:p@1", "p in two.nc is at one time: leave out @1"),
        ("two.nc:q", "values must be positive and finite densities, but the value at"),
        ("run.nc@0.3", "run.nc has no time 0.3; it has [0., 1.]"),
        ("run.nc@now", "the time in run.nc@now must be a number"),
        ("student_t(3)", "'student_t' is not a known distribution; known: "),
        ("student_t(3)", "any other is written by its -log, as in potential('2*log(1 + x**2/3)')"),
        ("gausian(0, 1)", "'gausian' is not a known distribution (did you mean gaussian?)"),
        ("geometric_path(0, 1)", "start"),
    ],
)
def test_what_is_no_distribution(folder, stderr_of, text, message):
    (folder / "text.nc").write_text("no")
    x = np.linspace(-1, 1, 20)
    write_dataset(xr.Dataset({"p": ("x", x + 2), "q": ("x", x)}, coords={"x": x}), "two.nc")
    frames = xr.Dataset({"log_density": (("t", "x"), np.zeros((2, 20)))}, coords={"t": [0.0, 1.0], "x": x})
    write_dataset(frames, "run.nc")
    for words in (["--target", text, "--start", START], ["--target", TARGET, "--start", text]):
        code, err = stderr_of("solve", *words, "--t", "0,1", "-o", "out.nc")
        assert code == 2
        assert message in err
