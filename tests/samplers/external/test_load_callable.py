"""Callables by name, of modules and of files."""

import json
import os
import subprocess
import sys

import pytest

from wfr_pde.samplers.external.load_callable import load_callable


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
        "import wfr_pde as wfr\nfrom wfr_pde import load_callable, run_sampler\n"
        "ds = run_sampler(load_callable('mine_sampler:shifted'), wfr.Gaussian(0, 1), wfr.Gaussian(0, 1), [0, 2], 3)\n"
        "print(ds.attrs['method'], float((ds.position[1] - ds.position[0]).mean()))\n"
    )
    environment = os.environ | {"PYTHONSAFEPATH": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.split() == ["mine_sampler.shifted", "2.0"]
