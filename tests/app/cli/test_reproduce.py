"""The command reproduce: what it makes again, what it compares, and what it says of numbers that do not agree."""

import json
import re

import pytest

from wfr_pde.app.cli.main import main
from wfr_pde.storage import provenance

pytestmark = pytest.mark.usefixtures("project")
STATED = 'CHECKS = {"last": (8.0, 0.5)}'


@pytest.fixture
def stored(project, capsys):
    """The folder of a stored result in the gallery of the project, with the versions beside it."""
    main(["run", "powers", "--n", "3", "--out", "gallery"])
    (project / "gallery" / "constraints.txt").write_text(provenance.constraints())
    capsys.readouterr()
    (directory,) = (project / "gallery" / "powers").iterdir()
    (directory / "data.nc").unlink()  # is not committed
    return directory


@pytest.fixture
def changed(stored):
    """Changes `run.json` of the stored result."""

    def change(**content):
        path = stored / "run.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | content))

    return change


def rows(text):
    """The table: name -> the other columns."""
    found = [re.split(r"\s{2,}", line.strip()) for line in text.splitlines()]
    return {row[0]: row[1:] for row in found if len(row) > 3}


def test_a_result_that_is_the_same(project, stored, result):
    before = {path: path.read_bytes() for path in stored.iterdir()}
    code, out, _ = result("reproduce", "powers")
    table = rows(out)
    assert code == 0
    assert table["last"] == [
        "8",
        "8",
        "0.0e+00",
        "5.1e-04",
        "yes",
    ]  # 1e-6 of 8, 1e-3 of the claim's 0.5
    assert table["panel 1 line y (worst of 4)"] == ["1", "1", "0.0e+00", "1.0e-06", "yes"]
    assert "all 9 numbers agree" in out
    assert "stored with other versions" not in out
    assert {path: path.read_bytes() for path in stored.iterdir()} == before
    assert sorted(path.name for path in project.iterdir()) == ["experiments", "gallery"]  # nothing is left


def test_the_folder_of_a_result_and_where_the_new_one_is_kept(project, stored, json_of):
    code, (content,) = json_of("reproduce", str(stored), "--out", "again")
    assert code == 0
    assert content["agrees"]
    assert content["experiment"] == "powers"
    assert (project / "again" / "powers" / stored.name / "data.nc").exists()


def test_scalars_that_do_not_agree(stored, changed, result):
    changed(numbers={"last": 8.00052, "lost": 1.0})
    code, out, _ = result("reproduce", "powers")
    assert code == 1
    assert rows(out)["last"][2:] == ["5.2e-04", "5.1e-04", "NO"]
    assert rows(out)["lost"][-1] == "NO: the experiment has no such variable any more"
    assert "these do not agree: last, lost" in out


def test_numbers_that_are_none(project, stored, changed, result):
    changed(numbers={"last": "nan"})
    code, out, _ = result("reproduce", "powers")
    assert code == 1
    assert rows(out)["last"] == ["nan", "8", "inf", "5.0e-04", "NO"]
    path = project / "experiments" / "powers.py"
    path.write_text(path.read_text().replace('"last": values[-1]', '"last": np.nan'))
    code, out, _ = result("reproduce", "powers")
    assert code == 0  # as it was, in the run.json of both


def test_a_figure_that_does_not_agree(stored, result):
    table = (stored / "figure.csv").read_text()
    assert ",3,8," in table
    (stored / "figure.csv").write_text(table.replace(",3,8,", ",3,8.00001,"))
    code, out, _ = result("reproduce", "powers")
    assert code == 1
    assert "these do not agree: panel 1 line y" in out
    (stored / "figure.csv").write_text("\n".join(table.splitlines()[:-1]))
    code, out, _ = result("reproduce", "powers")
    assert code == 1
    assert "line 1 has 3 points in the stored figure, 4 in the new one" in out


@pytest.mark.parametrize(
    ("tolerances", "code", "row"),
    [
        ({"la*": (0.125, 0.25)}, 0, ["8.5", "8", "5.0e-01", "1.3e+00", "yes"]),
        ({"last": None}, 0, ["8.5", "8", "5.0e-01", "none", "not compared"]),
        ({"other": None}, 1, ["8.5", "8", "5.0e-01", "5.1e-04", "NO"]),
    ],
)
def test_tolerances_that_an_experiment_states(project, stored, changed, result, tolerances, code, row):
    path = project / "experiments" / "powers.py"
    path.write_text(path.read_text().replace(STATED, f"{STATED}\nTOLERANCES = {tolerances!r}"))
    changed(numbers={"last": 8.5})
    found, out, _ = result("reproduce", "powers")
    assert found == code
    assert rows(out)["last"] == row
    assert "has been changed" not in out  # data do not depend on TOLERANCES
    assert ("TOLERANCES of powers.py fits nothing by other" in out) == ("other" in tolerances)


def test_a_tolerance_for_one_line_of_a_figure(project, stored, result):
    table = (stored / "figure.csv").read_text()
    (stored / "figure.csv").write_text(table.replace(",3,8,", ",3,8.1,"))
    path = project / "experiments" / "powers.py"
    experiment = path.read_text()
    cases = (
        ("None", 0, "first", "not compared"),
        ("(0.1, 0.0)", 0, "worst", "yes"),
        ("(0.001, 0.0)", 1, "worst", "NO"),
    )
    for tolerance, code, which, last in cases:
        path.write_text(experiment.replace(STATED, f'{STATED}\nTOLERANCES = {{"panel 1 line 1 y": {tolerance}}}'))
        found, out, _ = result("reproduce", "powers")
        assert found == code
        assert rows(out)[f"panel 1 line 1 y ({which} of 4)"][-1] == last


@pytest.mark.parametrize("tolerances", [3, {"last": 1e-6}, {"last": (-1e-6, 0.0)}, {"last": (1e-6, float("inf"))}])
def test_tolerances_that_are_none(project, tolerances, stderr_of):
    path = project / "experiments" / "powers.py"
    path.write_text(path.read_text().replace(STATED, f"{STATED}\nTOLERANCES = {tolerances!r}".replace("inf", "1e999")))
    code, err = stderr_of("run", "powers")
    assert code == 2
    assert "TOLERANCES" in err


def test_other_code_and_other_versions_are_told(project, stored, changed, result):
    versions = {**provenance.versions(), "numpy": "1.0"}
    changed(versions=versions, source="other", source_hash="other")
    constraints = project / "gallery" / "constraints.txt"
    constraints.write_text(re.sub("matplotlib==.*", "matplotlib==2.0", constraints.read_text()))
    _, out, _ = result("reproduce", "powers")
    here = provenance.packages()
    said = f"other versions: matplotlib 2.0 (here {here['matplotlib']}), numpy 1.0 (here {here['numpy']})"
    assert said in out
    assert "the experiment has been changed since the result was stored" in out
    assert "the package has been changed since the result was stored" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["circle"], "no experiment 'circle'"),
        (["powers", "--gallery", "nowhere"], "part of the repository, not of the installed package"),
        (["powers", "--out", "gallery"], "which would be written over: give another folder"),
        (["roots"], "no result of roots is stored in 'gallery'; those are: powers"),
    ],
)
def test_what_cannot_be_reproduced(project, stored, words, message, result):
    (project / "experiments" / "roots.py").write_text((project / "experiments" / "powers.py").read_text())
    code, _, err = result("reproduce", *words)
    assert code == 2
    assert message in err


def test_results_that_are_not_whole(stored, changed, result):
    changed(status="failed")
    assert "a run that is 'failed', not done" in result("reproduce", "powers")[2]
    changed(status="done", knobs={"m": 3})
    assert "powers has no knob 'm'" in result("reproduce", "powers")[2]
    changed(knobs={"n": 3})
    (stored / "figure.csv").unlink()
    assert "cannot be read as the table of a figure" in result("reproduce", "powers")[2]
