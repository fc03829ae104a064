"""Runs on disk: whole whenever the writer stops; a resumed run has the bits of an uninterrupted one."""

import dataclasses
import errno
import json
import math
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import wfr_pde as wfr
from wfr_pde import diagnostics
from wfr_pde.flows.base import Flow
from wfr_pde.integrate import frames
from wfr_pde.storage import files, run_directory

TIMES = np.linspace(0, 0.4, 5)
TARGET = wfr.DoubleWell(1.0)
GRID = wfr.Grid(-3.2, 3.2, 48)


@dataclass(frozen=True)
class NoisyReweighting(Flow):
    """Particles that move at random and are weighted anew: a random flow whose state is all that counts."""

    order = math.inf
    preserves = frozenset({"mass"})
    random = True

    def build_step(self, energy, template, dt):
        def step(state, rng):
            noise = rng.standard_normal(state.positions.shape)
            weights = state.log_weights + dt * rng.standard_normal(len(state.positions))
            return wfr.Particles(state.positions + math.sqrt(dt) * noise, weights)

        return step


def grid_run(**options):
    """A small run on a grid."""
    flow = wfr.Strang(wfr.FisherRao(1.0), wfr.SinkhornKernel(1.0))
    options = {"record": {"kl": wfr.KL(TARGET)}, **options}
    return wfr.solve(TARGET, flow, GRID.density(wfr.Gaussian(-1, 0.1)), TIMES, 0.05, **options)


GRADED = wfr.Grid([0, -6], [2 * math.pi, 30], (24, 60), boundary=("periodic", "no-flux"), names=("angle", "y"),
                  grading=(None, lambda y: 1 / np.sqrt(0.3 + (0.15 * y) ** 2)))  # fmt: skip


def graded_run(**options):
    """A small run on a grid with one graded axis."""
    flow = wfr.Strang(wfr.FisherRao(1.0), wfr.FiniteVolume(1.0))
    target, start = wfr.Potential("cos(x) + y**2 / 18"), wfr.Potential("sin(x) + 2*y**2", support=([0, -6], [6.3, 6]))
    options = {"record": {"kl": wfr.KL(target)}, **options}
    grid = dataclasses.replace(GRADED, max_cut=1)
    return wfr.solve(target, flow, grid.density(start), TIMES, 0.05, **options)


def particle_run(**options):
    """A small run of particles with weights."""
    start = wfr.Particles(np.linspace(-1, 1, 7)[:, None], np.linspace(0, 1, 7))
    options = {"record": {"kl": lambda state, energy: state.mean()[0]}, "rng": 5, **options}
    return wfr.solve(TARGET, NoisyReweighting(), start, TIMES, 0.05, **options)


def interrupting(record, at):
    """The record, which is interrupted at one time."""

    def interrupted(state, energy):
        interrupted.calls += 1
        # a run on disk is known by what its records say of the start: one call before the first frame
        if interrupted.calls == at + 2:
            raise KeyboardInterrupt
        return record(state, energy)

    interrupted.calls = 0
    return interrupted


def assert_same_bits(a, b):
    assert list(a.variables) == list(b.variables)
    for name in a.variables:
        assert a[name].dims == b[name].dims
        assert a[name].values.tobytes() == b[name].values.tobytes(), name
    assert {**a.attrs, "wall_time": 0} == {**b.attrs, "wall_time": 0}


@pytest.fixture
def every_frame_is_written(monkeypatch):
    monkeypatch.setattr(frames, "SECONDS_PER_SEGMENT", -1.0)


def leftovers(path):
    return [p.name for p in Path(path).rglob("*") if ".tmp" in p.name]


def test_a_full_disk_leaves_the_run_readable(tmp_path, monkeypatch, every_frame_is_written):
    whole = grid_run()
    written = files.write_dataset

    def full(ds, path):
        if Path(path).name == "seg-000003.nc":
            raise OSError(errno.ENOSPC, "No space left on device")
        return written(ds, path)

    monkeypatch.setattr(files, "write_dataset", full)
    with pytest.raises(OSError, match="No space left"):
        grid_run(out=tmp_path / "run")
    assert run_directory.open_run(tmp_path / "run").sizes["t"] == 3
    assert not leftovers(tmp_path)
    monkeypatch.setattr(files, "write_dataset", written)
    assert_same_bits(grid_run(out=tmp_path / "run"), whole)


@pytest.mark.parametrize("keep", ["all", "last", [0.1, 0.3]])
def test_a_graded_grid_comes_back_to_the_last_bit(keep, tmp_path, every_frame_is_written):
    ds = graded_run(keep=keep, out=tmp_path / "run")
    files.write_dataset(ds, tmp_path / "a.nc")
    for found in (ds, files.read_dataset(tmp_path / "a.nc"), wfr.open_run(tmp_path / "run")):
        grid = wfr.Grid.from_dataset(found)
        assert (grid.lower, grid.upper, grid.boundary, grid.names, grid.max_cut) == (
            GRADED.lower, GRADED.upper, GRADED.boundary, GRADED.names, 1.0,
        )  # fmt: skip
        for axis, exact in zip(grid.axes, GRADED.axes, strict=True):
            for name in ("edges", "centres", "widths", "periodic", "smooth"):
                assert np.array_equal(getattr(axis, name), getattr(exact, name)), name
        density = wfr.Density.from_dataset(found)
        assert density.log_values.tobytes() == ds["log_density"].values[-1].tobytes()
        assert abs(density.mass - 1) < 1e-10


@pytest.mark.parametrize("keep", ["all", "last"])
def test_xarray_alone_finds_the_cells_of_a_graded_grid(keep, tmp_path):
    files.write_dataset(graded_run(keep=keep), tmp_path / "a.nc")
    with xr.open_dataset(tmp_path / "a.nc") as ds:
        mass = (np.exp(ds["log_density"]) * ds["cell_width_angle"] * ds["cell_width_y"]).sum(("angle", "y"))
        assert np.abs(mass - 1).max() < 1e-10
        assert ds["cell_edge_y"].dims == ("y_edge",)
        assert ds.sizes["y_edge"] == ds.sizes["y"] + 1
        assert "cell_edge_angle" not in ds  # equal cells need none
        assert {name for name in ds.variables if "t" in ds[name].dims} >= {"t", "kl"}
        for name, value in ds.attrs.items():
            assert len(str(value)) < 1000, name  # cells are variables, not attributes


def test_given_edges_come_back_and_other_cells_are_another_run(tmp_path):
    def run(edges):
        grid = wfr.Grid.from_edges(edges)
        # the values are the same on any cells: only these tell the runs apart
        start = wfr.Density(grid, np.full(grid.shape, -math.log(4.0)))
        return wfr.solve(wfr.GridTarget(np.ones(8), 0, 4), wfr.FisherRao(), start, [0, 1], 1, out=tmp_path / "run")

    edges = np.array([0, 0.5, 1, 2, 3.5, 4])
    ds = run(edges)
    assert not wfr.Grid.from_dataset(ds).axes[0].smooth
    assert np.array_equal(wfr.Grid.from_dataset(ds).axes[0].edges, edges)
    with pytest.raises(ValueError, match="holds another run"):
        run(np.array([0, 0.5, 1, 2, 3.0, 4]))


@pytest.mark.parametrize("run", [grid_run, graded_run, particle_run])
def test_a_run_directory_holds_the_result(run, tmp_path, every_frame_is_written):
    ds = run(out=tmp_path / "run")
    assert_same_bits(ds, run())
    assert_same_bits(wfr.open_run(tmp_path / "run"), ds)
    assert len(list((tmp_path / "run").glob("seg-*.nc"))) == len(TIMES)
    status = json.loads((tmp_path / "run" / "run.json").read_text())
    assert status["status"] == "done"
    assert status["n_steps"] == 8
    # asked for again, it is read
    assert_same_bits(run(out=tmp_path / "run"), ds)


@pytest.mark.parametrize("keep", ["all", "last", [0.1, 0.3]])
@pytest.mark.parametrize("at", [1, 4])
@pytest.mark.parametrize("run", [grid_run, graded_run, particle_run])
def test_an_interrupted_run_goes_on_to_the_same_bits(run, at, keep, tmp_path, every_frame_is_written):
    def kl(state, energy):
        return state.mean()[0]

    whole = run(record={"kl": kl}, keep=keep)
    with pytest.raises(KeyboardInterrupt):
        run(record={"kl": interrupting(kl, at)}, keep=keep, out=tmp_path / "run")
    partial = wfr.open_run(tmp_path / "run")
    assert partial.sizes["t"] == at
    assert partial["kl"].values.tobytes() == whole["kl"].values[:at].tobytes()
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "running"
    resumed = run(record={"kl": kl}, keep=keep, out=tmp_path / "run")
    assert_same_bits(resumed, whole)
    assert_same_bits(wfr.open_run(tmp_path / "run"), whole)


def test_frames_that_wait_for_their_segment_are_written_when_interrupted(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        grid_run(record={"kl": interrupting(lambda state, energy: state.mean()[0], 4)}, out=tmp_path / "run")
    assert wfr.open_run(tmp_path / "run").sizes["t"] == 4


def test_interrupted_before_anything_was_saved(tmp_path):
    def kl(state, energy):
        return state.mean()[0]

    with pytest.raises(KeyboardInterrupt):
        grid_run(record={"kl": interrupting(kl, 0)}, out=tmp_path / "run")
    with pytest.raises(FileNotFoundError, match="before anything was saved"):
        wfr.open_run(tmp_path / "run")
    assert_same_bits(grid_run(record={"kl": kl}, out=tmp_path / "run"), grid_run(record={"kl": kl}))


KILLED = """
import os, signal, sys
sys.path.insert(0, {here!r})
import test_run_directory as t
t.frames.SECONDS_PER_SEGMENT = -1.0
written = t.files.write_atomically

def killed(path, write, size=None):
    # killed with a file half written
    if path.name == {file!r}:
        path.with_name("." + path.name + ".1.tmp.nc").write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)
    return written(path, write, size)

t.files.write_atomically = killed
t.{run}(out={out!r})
"""


@pytest.mark.parametrize("run", [grid_run, particle_run])
def test_a_killed_run_is_readable_and_goes_on_to_the_same_bits(run, tmp_path):
    out = tmp_path / "run"
    script = KILLED.format(here=str(Path(__file__).parent), run=run.__name__, out=str(out), file="seg-000002.nc")
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False, text=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert wfr.open_run(out).sizes["t"] == 2
    assert_same_bits(run(out=out), run())


@pytest.mark.parametrize("left", [".run.json.123.tmp.json", None])
def test_killed_before_the_first_file_was_renamed(left, tmp_path):
    out = tmp_path / "run"
    out.mkdir()
    if left is not None:
        (out / left).write_text("{")
    assert grid_run(out=out).sizes["t"] == len(TIMES)


def test_segment_without_its_checkpoint_does_not_count(tmp_path, every_frame_is_written):
    out = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        grid_run(record={"kl": interrupting(lambda state, energy: state.mean()[0], 2)}, out=out)
    (out / "seg-000002.nc").write_bytes(b"half of a segment")
    assert wfr.open_run(out).sizes["t"] == 2


def test_interrupted_between_a_checkpoint_and_the_next_frame(tmp_path, monkeypatch, every_frame_is_written):
    """Ctrl-C mostly arrives while a file is written: no frame may be stored twice."""
    whole, written = grid_run(), files.write_dataset

    def interrupted(ds, path):
        written(ds, path)
        if Path(path).name == "checkpoint.nc" and ds.attrs["frame"] == 2:
            monkeypatch.setattr(files, "write_dataset", written)
            raise KeyboardInterrupt

    monkeypatch.setattr(files, "write_dataset", interrupted)
    with pytest.raises(KeyboardInterrupt):
        grid_run(out=tmp_path / "run")
    assert wfr.open_run(tmp_path / "run").sizes["t"] == 3
    assert_same_bits(grid_run(out=tmp_path / "run"), whole)


@pytest.mark.parametrize(
    "records",
    [
        [diagnostics.mode_masses([-1.0, 1.0]), diagnostics.mode_masses([0.0, 5.0])],
        [wfr.KL(wfr.Gaussian(0, 0.2)), wfr.KL(wfr.Gaussian(0, 0.3))],
        [diagnostics.region_mass(lambda p: p[..., 0] > 0, "a"), diagnostics.region_mass(lambda p: p[..., 0] > 1, "a")],
    ],
)
def test_records_of_one_name_make_different_runs(records, tmp_path):
    grid_run(record=[records[0]], out=tmp_path / "run")
    with pytest.raises(ValueError, match="holds another run"):
        grid_run(record=[records[1]], out=tmp_path / "run")


def test_schedules_that_agree_at_both_ends_and_half_way_make_different_runs(tmp_path):
    ends = wfr.Gaussian(0, 1), wfr.Gaussian(1, 0.5)
    grid = wfr.Grid(-7, 7, 80)
    for schedule, refused in ((lambda t: t, False), (lambda t: t * t * (3 - 2 * t), True)):
        arguments = (wfr.GeometricPath(*ends, schedule=schedule), wfr.FisherRao(), grid.density(ends[0]), [0, 1], 0.5)
        if refused:
            with pytest.raises(ValueError, match="holds another run"):
                wfr.solve(*arguments, out=tmp_path / "run")
        else:
            wfr.solve(*arguments, out=tmp_path / "run")


def test_another_run_in_the_same_directory_is_refused(tmp_path):
    out = tmp_path / "run"
    grid_run(out=out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    for other in ({"record": ()}, {"keep": "last"}):
        with pytest.raises(ValueError, match="holds another run"):
            grid_run(out=out, **other)
    with pytest.raises(ValueError, match="holds another run"):
        particle_run(out=out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_seed_is_part_of_the_run(tmp_path):
    particle_run(out=tmp_path / "run", rng=5)
    with pytest.raises(ValueError, match="holds another run"):
        particle_run(out=tmp_path / "run", rng=6)


def test_a_target_from_a_function_is_recognised_by_its_values(tmp_path):
    """The same formula written twice is the same run; another one is not."""

    def run(height):
        target = wfr.Potential(lambda x: height * (x**2 - 1) ** 2)
        flow, start = wfr.FisherRao(), GRID.density(wfr.Gaussian(-1, 0.1))
        return wfr.solve(target, flow, start, TIMES, 0.1, out=tmp_path / "run")

    run(0.8)
    run(0.8)
    with pytest.raises(ValueError, match="holds another run"):
        run(0.9)


def test_directories_that_are_no_run(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="is not empty and holds no run"):
        grid_run(out=tmp_path)
    with pytest.raises(ValueError, match="is a file"):
        grid_run(out=tmp_path / "notes.txt")
    with pytest.raises(FileNotFoundError, match="holds no run"):
        wfr.open_run(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"a file is opened by xarray.open_dataset\('.*notes.txt'\)"):
        wfr.open_run(tmp_path / "notes.txt")
    assert os.listdir(tmp_path) == ["notes.txt"]


def test_the_result_of_an_experiment_is_not_taken_for_a_run_that_was_stopped(tmp_path):
    (tmp_path / "run.json").write_text('{"status": "done"}')
    files.write_dataset(xr.Dataset({"a": 1.0}), tmp_path / "data.nc")
    with pytest.raises(FileNotFoundError, match=r"the result of an experiment, not a run of `solve`: open .*data.nc"):
        run_directory.open_run(tmp_path)
