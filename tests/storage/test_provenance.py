"""Commit and versions."""

import re
import subprocess
import tomllib
from importlib import metadata
from pathlib import Path

import wfr_pde as wfr
from wfr_pde import _version
from wfr_pde.storage import provenance


def test_provenance():
    found = provenance.versions()
    assert found["wfr_pde"] == wfr.__version__
    assert {"python", "numpy", "scipy", "xarray"} <= set(found)
    assert isinstance(provenance.commit(), str)


def test_the_commit_is_dirty_by_changes_of_the_source_but_not_of_results(tmp_path, monkeypatch):
    def git(*words):
        who = ("-c", "user.name=x", "-c", "user.email=x@example.org")
        subprocess.run(["git", "-C", tmp_path, *who, *words], check=True, capture_output=True)

    for name in ("wfr_pde/_version.py", "results/run.json", "README.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("1")
    git("init")
    git("add", "-A")
    git("commit", "-m", "first")
    monkeypatch.setattr(_version, "__file__", str(tmp_path / "wfr_pde" / "_version.py"))

    commit = provenance.commit.__wrapped__  # without what is remembered
    clean = commit()
    assert len(clean) == 40
    (tmp_path / "results" / "run.json").write_text("2")
    assert commit() == clean
    (tmp_path / "README.md").write_text("2")
    assert commit() == f"{clean}-dirty"


def test_constraints_pin_all_that_is_needed(tmp_path):
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert {re.split("[<>=]", one)[0] for one in project["dependencies"]} == set(provenance.NEEDED)
    path = tmp_path / "constraints.txt"
    path.write_text(provenance.constraints())
    found = provenance.constraints_in(path)
    assert set(provenance.NEEDED) < set(found)
    assert "llvmlite" in found  # needed by numba
    assert "pytest" not in found  # nobody needs it but in extras
    assert all(metadata.version(name) == version for name, version in found.items())
    assert provenance.constraints_in(tmp_path / "none.txt") == {}
