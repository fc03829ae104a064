"""What docs/robustness.md promises of long work, as users meet it: by the command line, in processes of their own."""

import concurrent.futures
import errno
import inspect
import multiprocessing
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import wfr_pde as wfr
from wfr_pde.errors import DiskSpaceWarning
from wfr_pde.integrate import frames
from wfr_pde.storage.files import read_dataset
from wfr_pde.storage.locks import locked
from wfr_pde.storage.run_directory import open_run

ROOT = Path(__file__).parents[2]
WELL = ["--potential", "2*(x**2-1)**2", "--start", "gaussian(mean=-1, covariance=0.04)"]
SOLVE = ["solve", *WELL, "--t", "0:0.2:5", "--shape", "128", "--dt", "0.05"]
POSIX = pytest.mark.skipif(os.name != "posix", reason="signals, mounts and limits of POSIX")
EXPERIMENT = '''"""Größe ⁴: a number."""
import xarray as xr

QUICK = {}
CHECKS = {"value": (2.0, 0.5)}


def run(n=2, name="ü"):
    print("läuft ⁴")
    return xr.Dataset({"value": ((), float(n))})


def figure(ds):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2, 1))
    figure.subplots().set_title("ß")
    return figure
'''


def program(*words, cwd, **environment):
    """A command in a process of its own, which must not crash."""
    changed = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment}
    command = [sys.executable, "-m", "wfr_pde", *words]
    done = subprocess.run(command, cwd=cwd, env=changed, capture_output=True, timeout=120, check=False)
    assert done.returncode >= 0, done.stderr
    return done


@pytest.fixture
def small_disk(tmp_path):
    """A function that mounts a disk of some bytes, where that is allowed, with the options of `mount`."""
    disk = tmp_path / "disk"
    disk.mkdir()

    def mount(options):
        try:
            command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)]
            failed = subprocess.run(command, capture_output=True, check=False).returncode
        except FileNotFoundError:
            failed = True
        if failed:
            pytest.skip("a small disk cannot be mounted here")
        return disk

    yield mount
    if os.path.ismount(disk):
        subprocess.run(["umount", str(disk)], check=True)


def arguments(t):
    """A run that takes many steps."""
    target, start = wfr.DoubleWell(2.0), wfr.Gaussian(-1.0, 0.04)
    density = wfr.Grid(-3, 3, 512).density(start)
    return target, wfr.Strang(wfr.FisherRao(), wfr.SinkhornKernel()), density, t, 0.002


def solved(seed):
    """A run of a sampler, with compiled loops."""
    flow = wfr.Strang(wfr.samplers.Langevin(), wfr.samplers.BirthDeath(bandwidth=0.3))
    start = wfr.Gaussian(-1.0, 0.04).sample(1100, rng=seed)
    return wfr.solve(wfr.DoubleWell(2.0), flow, start, [0, 0.02], 0.01, rng=seed)["position"].values


@POSIX
def test_full_disk(small_disk, monkeypatch):
    disk = small_disk("size=160k")
    monkeypatch.setattr(frames, "SECONDS_PER_SEGMENT", 0.0)  # every save time is a piece
    run = arguments(np.linspace(0, 0.4, 41))
    with (
        pytest.raises(OSError, match="No space left on device") as raised,
        pytest.warns(
            DiskSpaceWarning, match=r"run needs about 172 KiB, but [\d.]+ KiB are free on its disk: make space"
        ),
    ):
        wfr.solve(*run, out=disk / "run")
    assert raised.value.errno == errno.ENOSPC
    space, resumed = raised.value.__notes__
    assert re.fullmatch(r"\(needed: about [\d.]+ KiB; free: \d+ KiB; nothing half-written is left: .*\)", space)
    assert re.fullmatch(rf"the result up to t = 0\.\d+ is in {disk / 'run'}; the same run goes on from there", resumed)
    assert not list(disk.rglob("*.tmp*"))
    seen = wfr.open_run(disk / "run")  # what was written before can be read
    assert 1 < seen.sizes["t"] < 41
    subprocess.run(["mount", "-o", "remount,size=20m", str(disk)], check=True)
    found = wfr.solve(*run, out=disk / "run")  # and goes on when there is space
    np.testing.assert_array_equal(found["log_density"], wfr.solve(*run)["log_density"])
    np.testing.assert_array_equal(found["log_density"][: seen.sizes["t"]], seen["log_density"])


@POSIX
def test_a_full_disk_on_the_command_line(small_disk):
    disk = small_disk("size=16k")
    done = program(*SOLVE, "-o", "out.nc", cwd=disk)
    assert done.returncode == 2
    lines = done.stderr.decode().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("wfr-pde: error: [Errno 28] No space left on device: 'out.nc")
    assert re.search(r"needed: about [\d.]+ KiB; free: [\d.]+ KiB; nothing half-written is left: make space", lines[0])
    assert not (disk / "out.nc").exists()
    assert not list(disk.rglob("*.tmp*"))
    subprocess.run(["mount", "-o", "remount,size=20m", str(disk)], check=True)
    assert program(*SOLVE, "-o", "out.nc", cwd=disk).returncode == 0
    assert read_dataset(disk / "out.nc").sizes["t"] == 5


@POSIX
def test_a_disk_that_will_be_full_is_told_before(small_disk):
    disk = small_disk("size=24k")
    done = program(*SOLVE, "--shape", "512", "-o", "out.nc", cwd=disk)
    first, last = done.stderr.decode().splitlines()
    assert first.startswith("wfr-pde: warning: out.nc.partial needs about 28 KiB, but ")
    assert last.startswith("wfr-pde: error: [Errno 28] ")
    assert done.returncode == 2


@POSIX
def test_files_with_a_limit_of_size(tmp_path):
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({2**13}, {2**13}))\n"
    (tmp_path / "sitecustomize.py").write_text(limited, encoding="utf-8")
    words = [*SOLVE, "--shape", "512", "-o", "out.nc"]
    done = program(*words, cwd=tmp_path, PYTHONPATH=f"{tmp_path}:{ROOT}")
    assert done.returncode == 2
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("wfr-pde: error: [Errno 27] File too large: 'out.nc.partial/")
    assert "; a file may have 8 KiB at most, see ulimit -f; nothing half-written is left" in line
    (tmp_path / "sitecustomize.py").unlink()
    assert program(*words, cwd=tmp_path).returncode == 0


@POSIX
@pytest.mark.parametrize("words", [[*SOLVE, "-o", "disk/out.nc"], ["run", "size", "--out", "disk"]])
def test_read_only_folder(small_disk, tmp_path, words):
    small_disk("size=1m,ro")
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "size.py").write_text(EXPERIMENT, encoding="utf-8")
    done = program(*words, cwd=tmp_path)
    assert done.returncode == 2
    assert b"cannot be written (Read-only file system" in done.stderr
    assert b"compute" not in done.stdout


def test_two_processes_in_one_folder(tmp_path):
    with locked(tmp_path / "out.nc.partial"):  # as another process does while it writes
        done = program(*SOLVE, "-o", "out.nc", cwd=tmp_path)
        assert done.returncode == 2
        assert b"out.nc.partial is being written by another process: wait until it is done" in done.stderr
    assert program(*SOLVE, "-o", "out.nc", cwd=tmp_path).returncode == 0


@POSIX
@pytest.mark.filterwarnings("ignore:os.fork")  # of JAX, which other tests of the process may have loaded
def test_killed_at_twenty_random_places(tmp_path):
    times = np.linspace(0, 0.4, 41)
    expected = wfr.solve(*arguments(times))
    whole = tmp_path / "run"
    rng, kills = random.Random(1), 0
    fork = multiprocessing.get_context("fork")
    for _ in range(20):
        child = fork.Process(target=lambda: wfr.solve(*arguments(times), out=whole, progress=False))
        child.start()
        time.sleep(rng.uniform(0.0, 0.15))
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        kills += child.exitcode == -signal.SIGKILL
        if (whole / "checkpoint.nc").exists():
            seen = open_run(whole)  # whatever is there can be read
            np.testing.assert_array_equal(seen["log_density"], expected["log_density"][: seen.sizes["t"]])
    assert kills >= 1
    found = wfr.solve(*arguments(times), out=whole)
    np.testing.assert_array_equal(found["log_density"], expected["log_density"])
    assert not list(whole.glob(".*.tmp*"))


def test_threads_make_the_runs_that_one_makes():
    serial = [solved(seed) for seed in range(3)]
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        parallel = list(pool.map(solved, range(3)))
    for one, other in zip(serial, parallel, strict=True):
        np.testing.assert_array_equal(one, other)


def test_spawned_processes_make_the_runs_that_one_makes(tmp_path):
    script = tmp_path / "spawned.py"
    own = inspect.getsource(solved)
    script.write_text(
        f"import multiprocessing, numpy as np, wfr_pde as wfr\n{own}\n"
        "if __name__ == '__main__':\n"
        "    serial = [solved(0), solved(1)]\n"
        "    with multiprocessing.get_context('spawn').Pool(2) as pool:\n"
        "        parallel = pool.map(solved, range(2))\n"
        "    print(all(map(np.array_equal, serial, parallel)))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, str(script)], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout == "True\n", done.stderr


@POSIX
@pytest.mark.parametrize("closed", ["2>&-", "<&- >&- 2>&-"])
def test_no_terminal(tmp_path, closed):
    words = " ".join(f"'{word}'" for word in [sys.executable, "-m", "wfr_pde", *SOLVE, "-o", "out.nc"])
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["sh", "-c", f"{words} {closed}"], cwd=tmp_path, env=environment, capture_output=True, timeout=120
    )
    assert done.returncode == 0
    assert read_dataset(tmp_path / "out.nc").sizes["t"] == 5


@pytest.mark.parametrize("environment", [{"COLUMNS": "20"}, {"TERM": "dumb", "COLUMNS": "1"}, {"COLUMNS": "0"}])
def test_narrow_terminal(tmp_path, environment):
    done = program("solve", "--help", cwd=tmp_path, **environment)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"--potential" in done.stdout


LOCALES = {
    "C": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "Turkish": {"LANG": "tr_TR.ISO-8859-9", "PYTHONIOENCODING": "iso8859_9"},
}


@pytest.mark.slow
@pytest.mark.parametrize("environment", LOCALES.values(), ids=LOCALES)
def test_locales(tmp_path, environment):
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "size.py").write_text(EXPERIMENT, encoding="utf-8")
    for words in (["list"], ["sweep", "size", "--n", "2,3", "--jobs", "1"], ["report"]):
        done = program(*words, cwd=tmp_path, **environment)
        assert done.returncode in (0, 1), done.stderr  # of the cells one fails its check
        assert b"Traceback" not in done.stderr
    done = program(*SOLVE, "-o", "größe.nc", cwd=tmp_path, **environment)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "größe.nc").is_file()
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Größe ⁴: a number." in page
    assert 'class="badge passed"' in page
    assert 'class="badge failed"' in page


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a größe ⁴", "100% #1 'x' & y"])
def test_paths_with_spaces_and_unicode(tmp_path, name):
    folder = tmp_path / name
    (folder / "experiments").mkdir(parents=True)
    (folder / "experiments" / "size.py").write_text(EXPERIMENT, encoding="utf-8")
    assert program(*SOLVE, "-o", f"./{name}.nc", cwd=folder).returncode == 0
    assert read_dataset(folder / f"{name}.nc").sizes["t"] == 5
    done = program("run", "size", "--out", f"./{name}", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert program("report", "--results", f"./{name}", cwd=folder).returncode == 0
    links = re.findall(r'href="([^"#][^":]*)"', (folder / "report.html").read_text(encoding="utf-8"))
    assert any(link.endswith("data.nc") for link in links)
