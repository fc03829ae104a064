"""The command list."""

import pytest

from wfr_pde.app.cli.main import main

pytestmark = pytest.mark.usefixtures("project")


def test_list(capsys, json_of):
    assert main(["list"]) == 0
    assert capsys.readouterr().out == "powers  Powers of a number.\n"
    code, found = json_of("list")
    assert code == 0
    assert found == [{"name": "powers", "description": "Powers of a number.", "path": "experiments/powers.py"}]


def test_list_of_nothing(project, capsys):
    (project / "experiments" / "powers.py").unlink()
    assert main(["list"]) == 0
    assert "no experiments" in capsys.readouterr().out
