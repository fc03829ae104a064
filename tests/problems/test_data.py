"""Data that come with the package: where they are from, under which licence, and that they are what was published."""

import hashlib
import tomllib
from pathlib import Path

import numpy as np
import pytest

import wfr_pde
from wfr_pde.problems.data import galaxies

PACKAGE = Path(wfr_pde.__file__).parent
CODE = {".py", ".cu", ".html", ".css", ".js", ".typed", ".toml"}
DATA = [path for path in PACKAGE.rglob("*") if path.is_file() and path.suffix not in CODE | {".pyc", ".nbi", ".nbc"}]


def test_data_are_in_one_place():
    assert DATA
    assert {path.parent for path in DATA} == {PACKAGE / "problems" / "data"}
    beside = {path.with_suffix("") for path in PACKAGE.rglob("*.toml")}
    assert beside == {path.with_suffix("") for path in DATA}


@pytest.mark.parametrize("path", DATA, ids=lambda path: path.name)
def test_each_says_where_it_is_from_and_is_as_it_was(path):
    about = tomllib.loads(path.with_suffix(".toml").read_text(encoding="utf-8"))
    assert set(about) == {"title", "columns", "sources", "notes", "licence", "sha256"}
    assert all(about.values())
    assert all("https://" in source for source in about["sources"])
    assert list(about["columns"]) == path.read_text(encoding="utf-8").splitlines()[0].split(",")
    assert about["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()


def test_galaxies():
    velocities = galaxies()
    assert velocities.shape == (82,)
    assert (np.diff(velocities) > 0).all()
    assert velocities[[0, 77, 81]].tolist() == [9.172, 26.96, 34.279]
