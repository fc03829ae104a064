"""The command list."""

import pytest

from wfr_pde.app.cli.main import main
from wfr_pde.app.experiments import loading

pytestmark = pytest.mark.usefixtures("project")


def test_list(capsys, json_of):
    assert main(["list"]) == 0
    assert capsys.readouterr().out == "powers  Powers of a number.\n"
    code, found = json_of("list")
    assert code == 0
    assert found == [{"name": "powers", "description": "Powers of a number.", "path": "experiments/powers.py"}]


def test_those_of_the_package_and_own_ones(project, result):
    shipped = loading.SHIPPED
    shipped.mkdir()
    (shipped / "powers.py").write_text('"""Other powers."""')
    (shipped / "roots.py").write_text('"""Roots."""')
    code, out, err = result("list")
    assert (code, out) == (0, "powers  Powers of a number.\nroots   Roots.\n")
    assert err == "wfr-pde: taken from the folder 'experiments', not from wfr_pde: powers\n"
