"""The command info."""

import numpy as np

import wfr_pde as wfr
from wfr_pde.app.cli.main import main


def test_info(capsys, json_of):
    assert main(["info"]) == 0
    rows = dict(line.split(None, 1) for line in capsys.readouterr().out.splitlines() if "backend" not in line)
    assert rows["wfr_pde"] == wfr.__version__
    assert rows["numpy"] == np.__version__
    code, content = json_of("info")
    assert code == 0
    assert content["backends"]["numpy"] == "cpu"
    assert content["cpus"] >= 1


def test_info_names_what_a_backend_lacks(capsys, monkeypatch):
    from wfr_pde.numerics.backends import base

    monkeypatch.setattr(base, "backend_names", lambda: ["none", "numpy"])
    monkeypatch.setattr(base, "get_backend", lambda name: _backend(name))
    assert main(["info"]) == 0
    assert "not available: install it" in capsys.readouterr().out


def _backend(name):
    from wfr_pde.numerics.backends.numpy import backend

    if name == "none":
        raise wfr.BackendError("install it")
    return backend()
