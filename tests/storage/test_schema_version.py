"""The version of the schema is in everything that is stored, and a newer one is refused."""

import json

import pytest
import xarray as xr

import wfr_pde as wfr
from wfr_pde.app.exit_codes import BAD_INPUT, exit_code
from wfr_pde.errors import SchemaError
from wfr_pde.samplers.external.run_sampler import run_sampler
from wfr_pde.storage import files
from wfr_pde.storage.run_directory import open_run
from wfr_pde.storage.schema_version import SCHEMA_VERSION, check_schema

TARGET, START = wfr.Gaussian(0.0, 1.0), wfr.Gaussian(-1.0, 0.5)
GRID = wfr.Grid.covering(TARGET, START, shape=64)
TIMES = [0, 0.1]
STAMP = {"schema_version", "versions", "commit", "source_hash"}


def jump(target, positions, times, rng):
    """A sampler of a user's: it draws from the target at once."""
    for t in times:
        yield t, positions if t == times[0] else target.sample(len(positions), rng), None


@pytest.fixture(scope="module")
def truth():
    return wfr.ground_truth(TARGET, START, t=TIMES, rtol=1e-3, cross_check=False)


def solved(**options):
    return wfr.solve(TARGET, wfr.FisherRao(), GRID.density(START), TIMES, 0.1, **options)


def jumped(seed):
    return run_sampler(jump, TARGET, START.sample(20, seed), TIMES, rng=seed)


MADE = {
    "solve": lambda truth: solved(),
    "ground_truth": lambda truth: truth,
    "spectrum": lambda truth: wfr.spectrum(TARGET, GRID, 2),
    "run_sampler": lambda truth: jumped(0),
    "compare": lambda truth: wfr.compare(truth, {"jump": [jumped(0), jumped(1)]}, [wfr.metrics.mean_error]),
    "validate": lambda truth: wfr.validate(jump, truth, TARGET, start=START, n=50, seeds=20, t=[0.1]),
    "error_budget": lambda truth: wfr.error_budget(
        wfr.samplers.Langevin(), truth, TARGET, start=START, dt=0.1, n=50, t=0.1, seeds=4
    ),
    "convergence_table": lambda truth: wfr.convergence_table(lambda dt: solved(), "dt", [0.2, 0.1, 0.05]),
}


@pytest.mark.parametrize("name", MADE)
def test_every_dataset_says_its_schema_and_by_what_it_was_made(name, truth, tmp_path):
    ds = MADE[name](truth)
    assert set(ds.attrs) >= STAMP
    assert ds.attrs["schema_version"] == SCHEMA_VERSION
    assert json.loads(ds.attrs["versions"])["wfr_pde"] == wfr.__version__
    stored = files.read_dataset(files.write_dataset(ds, tmp_path / "ds.nc"))
    assert int(stored.attrs["schema_version"]) == SCHEMA_VERSION


def test_run_directories_say_it(tmp_path):
    solved(out=tmp_path / "run")
    content = json.loads((tmp_path / "run" / "run.json").read_text())
    assert content["schema_version"] == SCHEMA_VERSION
    assert open_run(tmp_path / "run").attrs["schema_version"] == SCHEMA_VERSION


def test_a_newer_schema_is_refused_with_the_remedy(tmp_path):
    newer = solved().assign_attrs(schema_version=SCHEMA_VERSION + 1)
    path = files.write_dataset(newer, tmp_path / "newer.nc")
    for read in (files.read_dataset, files.read_attrs):
        with pytest.raises(SchemaError, match=r"newer\.nc has schema_version 2, but .* only those up to 1: .*upgrade"):
            read(path)
    with pytest.raises(SchemaError, match="the Dataset has schema_version 2"):
        wfr.Density.from_dataset(newer)
    solved(out=tmp_path / "run")
    record = tmp_path / "run" / "run.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"schema_version": SCHEMA_VERSION + 1}))
    with pytest.raises(SchemaError, match="the run in out="):
        solved(out=tmp_path / "run")


def test_older_and_foreign_attributes_are_taken(tmp_path):
    ds = solved()
    del ds.attrs["schema_version"]  # as 0.1.0 wrote it
    assert wfr.Density.from_dataset(files.read_dataset(files.write_dataset(ds, tmp_path / "old.nc"))).grid.matches(GRID)
    foreign = xr.Dataset({"v": ("x", [1.0])}, attrs={"schema_version": "CF-1.8"})
    assert "v" in files.read_dataset(files.write_dataset(foreign, tmp_path / "foreign.nc"))


def test_it_is_bad_input_on_the_command_line():
    with pytest.raises(SchemaError) as caught:
        check_schema({"schema_version": SCHEMA_VERSION + 1}, "it")
    assert exit_code(caught.value) == BAD_INPUT
