"""`wfr-pde compare`: samplers and files of samples held against a stored truth, and what it says to wrong input."""

import numpy as np
import pytest

import wfr_pde as wfr
from wfr_pde import metrics
from wfr_pde.samplers import Langevin
from wfr_pde.storage.files import read_dataset, write_dataset
from wfr_pde.validation.comparison import compare

TARGET, START = wfr.Gaussian(0, 1), wfr.Gaussian(-1, 0.4)
TIMES = np.array([0.0, 0.5, 1.0])
SAMPLER = """
import numpy as np

def ula(target, positions, times, rng, step=0.05):
    x = positions
    yield times[0], x, None
    for low, high in zip(times[:-1], times[1:]):
        n = max(1, round((high - low) / step))
        h = (high - low) / n
        for _ in range(n):
            x = x + h * target.score(x) + np.sqrt(2 * h) * rng.standard_normal(x.shape)
        yield high, x, None
"""
LANGEVIN = ["wfr_pde.samplers:Langevin", "--dt", "0.1", "--n", "40", "--seeds", "2", "--metrics", "mean_error"]


def langevin(seed, times=TIMES):
    """One run of what the command line makes of `LANGEVIN`."""
    return wfr.solve(TARGET, Langevin(), START.sample(40, rng=seed), times, 0.1, rng=seed)


@pytest.fixture(scope="module")
def truth():
    return wfr.ground_truth(TARGET, START, TIMES, reaction_rate=0, rtol=1e-6)


@pytest.fixture(autouse=True)
def folder(truth, tmp_path, monkeypatch):
    """A working directory with a truth, a sampler, and two files of samples of the same name."""
    monkeypatch.chdir(tmp_path)
    write_dataset(truth, tmp_path / "truth.nc")
    (tmp_path / "bad.nc").write_text("no")
    np.save("array.npy", np.zeros((3, 40, 1)))
    (tmp_path / "mine.py").write_text(SAMPLER)
    (tmp_path / "sub").mkdir()
    positions = langevin(0)["position"].values
    np.savez("file.npz", positions=positions, times=TIMES)
    np.savez("sub/file.npz", positions=positions + 1, times=TIMES)
    return tmp_path


def test_a_sampler_and_a_file_are_tabulated_stored_and_drawn(folder, result):
    words = ["compare", "truth.nc", "mine.py:ula", "file.npz", "--n", "40", "--seeds", "3", "--floor-draws", "3"]
    code, out, _ = result(*words, "--metrics", "mean_error,mmd", "-o", "out.nc", "--figure", "out.png")
    assert code == 0
    assert all(word in out for word in ("ula", "file", "equivalent draws"))
    ds = read_dataset(folder / "out.nc")
    assert list(ds["method"].values) == ["ula", "file"]
    assert ds["value"].shape == (2, 1, 3, 3, 2)
    assert (folder / "out.png").stat().st_size > 5000


def test_the_numbers_are_those_of_compare(truth, json_of):
    code, content = json_of("compare", "truth.nc", *LANGEVIN, "--floor-draws", "2", "--options", '{"rate": 1.0}')
    assert code == 0
    assert content["coords"]["method"]["data"] == ["Langevin"]
    expected = compare(truth, langevin(1), [metrics.mean_error], floor_draws=0)
    assert content["data_vars"]["value"]["data"][0][0][1][2][0] == float(expected["value"].values[0, 0, 0, 2, 0])


def test_a_sampler_starts_with_the_truth_and_files_of_one_name_stay_apart(truth, json_of):
    words = ["compare", "truth.nc", LANGEVIN[0], "file.npz", "sub/file.npz", *LANGEVIN[1:]]
    code, content = json_of(*words, "--t", "1.0", "--floor-draws", "0")
    assert code == 0
    assert content["coords"]["method"]["data"] == ["Langevin", "file.npz", "sub/file.npz"]
    value = content["data_vars"]["value"]["data"]
    assert value[1][0][0][0][0] != value[2][0][0][0][0]
    own = compare(truth, langevin(0, [0.0, 1.0]), [metrics.mean_error], t=[1.0], floor_draws=0)
    assert value[0][0][0][0][0] == float(own["value"].squeeze())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nothing.nc", "x.npz"], "nothing.nc does not exist"),
        (["truth.nc", "wfr_pde.samplers:Langevin"], "give --dt"),
        (["truth.nc", "wfr_pde.samplers:Langevin", "--dt", "1", "--options", "[1]"], "must be a JSON object"),
        (["truth.nc", "wfr_pde.samplers:Langevin", "--dt", "1", "--options", "{"], "--options must be JSON"),
        (["truth.nc", "wfr_pde.samplers:Langevin", "--dt", "1", "--metrics", "best"], "; got 'best'"),
        (["truth.nc", "wfr_pde.samplers:Langevin", "--dt", "1", "--metrics", "best"], "--metrics knows "),
        (["truth.nc", "wfr_pde.samplers:Langevin", "--dt", "1", "--metrics", "best"], "mmd, "),
        (["truth.nc", "x.npz", "-o", "out.txt"], "ends in .nc"),
        (["truth.nc", "no_such.module:f"], "no_such"),
        (["truth.nc", "wfr_pde.samplers:Langevin", "--dt", "1", "--seeds", "0"], "must be at least 1"),
        (
            ["truth.nc", "array.npy"],
            "array.npy is not a file of samples: those end in .npz or .nc; an array is ",
        ),
        (["truth.nc", "array.npy"], "numpy.savez('samples.npz', positions=array, times=times)"),
        (["bad.nc", "x.npz"], "bad.nc is no NetCDF file: the truth comes first"),
    ],
)
def test_wrong_input_returns_two(words, message, stderr_of):
    code, err = stderr_of("compare", *words)
    assert code == 2
    assert message in err


BAD_SAMPLERS = """
import sys

def ends(target, positions, times, rng):
    sys.exit(0)

def ends_later(target, positions, times, rng):
    yield times[0], positions, None
    sys.exit(0)

def complex_positions(target, positions, times, rng):
    for t in times:
        yield t, positions + 1j, None
"""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["bad.py:ends"], "the sampler bad.ends ends the program (SystemExit with the code 0), before it yielded"),
        (["bad.py:ends_later"], "ends the program (SystemExit with the code 0), after t=0, in "),
        (["bad.py:complex_positions"], "which is complex: give .real"),
        (["broken.py:f"], "broken.py, line 3, is not valid Python"),
        (["raises.py:f"], "raises.py, line 2: ZeroDivisionError: division by zero"),
        (["leaves.py:f"], "leaves.py:f ends the program when it is imported, with the exit code 0"),
        (["complex.npz"], "complex.npz has what are no numbers: positions must be an array of real numbers"),
        (["empty.npz"], "empty.npz is no .npz file of numbers (it is empty): write it with numpy.savez"),
        (["text.npz"], "text.npz is no .npz file of numbers (its content is of another kind, or cut off)"),
        (["objects.npz"], "objects.npz is no .npz file of numbers (it holds objects)"),
        (["bad.nc"], "bad.nc cannot be read as NetCDF"),
    ],
)
def test_bad_samplers_and_files_are_told_by_name(folder, stderr_of, words, message):
    (folder / "bad.py").write_text(BAD_SAMPLERS)
    (folder / "broken.py").write_text("x = 1\n\ndef f(:\n")
    (folder / "raises.py").write_text("x = 0\n1 / x\n")
    (folder / "leaves.py").write_text("import sys\nsys.exit(0)\n")
    np.savez("complex.npz", positions=np.zeros((3, 4, 1)) + 1j, times=TIMES)
    np.savez("objects.npz", positions=np.array([1, "a", None], dtype=object), times=TIMES)
    (folder / "empty.npz").write_bytes(b"")
    (folder / "text.npz").write_text("hello")
    code, said = stderr_of("compare", "truth.nc", *words, "--metrics", "mean_error", "--n", "4", "--seeds", "2")
    assert code == 2
    assert message in said
    assert said.startswith("wfr-pde: error: ")
    assert said.count("\n") <= 1
    assert "allow_pickle" not in said
