"""The command figures: what it draws again, and what it says of the rest."""

import shutil

import pytest

from wfr_pde.app.cli.main import main

pytestmark = pytest.mark.usefixtures("in_parts")


def test_figures_draws_what_is_stored(project, capsys, json_of, result):
    assert result("figures")[1] == "nothing is stored in results\n"
    main(["sweep", "powers", "--n", "1,2"])
    main(["run", "experiments/powers.py", "--n", "4"])  # named by its path
    main(["run", "powers", "--n", "2", "--mode", "stop"])  # no data
    capsys.readouterr()
    drawn = list(project.glob("results/powers/*/figure.*"))
    assert len(drawn) == 9
    for path in drawn:
        path.unlink()
    code, out, _ = result("figures")
    assert code == 0
    assert "computing" not in out
    assert len(out.splitlines()) == 3
    assert all(path.exists() for path in drawn)
    assert "FAIL last" in out  # 16 is out of range
    assert len(json_of("figures", "powers")[1]) == 3


def test_figures_says_what_cannot_be_drawn_and_draws_the_rest(project, capsys, result):
    main(["run", "powers", "--n", "1"])
    shutil.copy(project / "experiments" / "powers.py", project / "experiments" / "roots.py")
    main(["run", "roots", "--n", "1"])
    capsys.readouterr()
    powers, roots = (project / "experiments" / f"{name}.py" for name in ("powers", "roots"))
    roots.write_text(powers.read_text().replace("* 0.01", "* 0.02"))
    powers.write_text(powers.read_text().replace("ds.power", "ds.root"))
    code, out, _ = result("figures")
    assert code == 2
    line = next(k for k, text in enumerate(powers.read_text().splitlines(), 1) if "ds.root" in text)
    assert f"failed: experiments/powers.py, line {line}: AttributeError: " in out.splitlines()[0]
    assert "data of an older version of the experiment; `wfr-pde run` computes them again" in out.splitlines()[1]
    (project / "experiments" / "roots.py").unlink()
    assert "no experiment 'roots'" in result("figures")[1]


@pytest.mark.parametrize(("name", "message"), [("circle", "no experiment 'circle'"), ("powers", "nothing of powers")])
def test_figures_of_nothing(name, message, result):
    code, _, err = result("figures", name)
    assert code == 2
    assert message in err
