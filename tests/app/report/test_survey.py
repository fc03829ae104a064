"""Folders of results with links and other odd things: none leads astray, and one that is bad costs only itself."""

import json
import os

import pytest

from wfr_pde.app.cli.main import main
from wfr_pde.app.report import write_report
from wfr_pde.app.report.runs import read_run
from wfr_pde.app.report.survey import survey

CONTENT = {"status": "done", "experiment": "good", "description": "It holds.", "command": "wfr-pde run good"}


@pytest.fixture
def results(tmp_path, monkeypatch):
    """A folder of results with one run, as `results` in the working directory, and a secret outside of it."""
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "results" / "good" / "0123456789ab"
    run.mkdir(parents=True)
    (run / "run.json").write_text(json.dumps(CONTENT))
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "run.json").write_text(json.dumps({**CONTENT, "experiment": "secret"}))
    (tmp_path / "secret" / "figure.png").write_bytes(b"private")
    return tmp_path / "results"


def linked(name, target):
    return lambda results: (results / name).symlink_to(target)


LEFT_OUT = {
    "to itself": (linked("loop", "loop"), "a link that leads to itself"),
    "to its folder": (linked("loop", "."), "a link to a folder"),
    "up": (linked("loop", ".."), "a link that leads out of the folder of results"),
    "to the root": (linked("loop", "/"), "a link that leads out of the folder of results"),
    "to a run": (linked("loop", "good/0123456789ab"), "a link to a folder"),
    "to a run outside": (linked("loop", "../secret"), "a link that leads out of the folder of results"),
    "to a file outside": (linked("loop", "../secret/figure.png"), "a link that leads out of the folder of results"),
    "to nothing": (linked("loop", "nothing"), "a link to nothing"),
    "pipe": (lambda results: os.mkfifo(results / "loop"), "neither a file nor a folder"),
}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="links and pipes need rights on this system")
@pytest.mark.parametrize(("make", "reason"), LEFT_OUT.values(), ids=LEFT_OUT)
def test_what_leads_astray_is_named_and_not_followed(results, make, reason, capsys):
    make(results)
    found = survey("results")
    assert [path.as_posix() for path in found.runs] == ["results/good/0123456789ab"]
    assert [(each.path.as_posix(), each.reason) for each in found.left_out] == [("results/loop", reason)]
    assert found.others == []
    assert main(["report"]) == 0
    assert "not looked into: 1 link or file," in capsys.readouterr().out
    text = (results.parent / "report.html").read_text(encoding="utf-8")
    assert f"<li><code>results/loop</code>: {reason}</li>" in text
    assert "secret" not in text


def test_files_of_a_run_that_lead_out_are_no_part_of_the_page(results):
    run = results / "good" / "0123456789ab"
    (run / "figure.png").symlink_to("../../../secret/figure.png")
    found = read_run(run, results)
    assert found.pictures == ()
    assert "figure.png is left out: a link that leads out of the folder of results." in found.notes
    write_report()
    assert "cHJpdmF0ZQ" not in (results.parent / "report.html").read_text(encoding="utf-8")  # "private" in base64


def test_a_run_whose_content_leads_out_is_unreadable(results):
    run = results / "linked" / "0"
    run.mkdir(parents=True)
    (run / "run.json").symlink_to("../../../secret/run.json")
    assert survey("results").runs[-1] == run.relative_to(results.parent)
    found = read_run(run, results)
    assert (found.experiment, found.status) == ("linked", "unreadable")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes on this system")
@pytest.mark.parametrize("name", ["run.json", "data.nc", "checkpoint.nc", "figure.png"])
def test_a_pipe_in_a_run_is_not_waited_for(results, name):
    run = results / "pipe" / "0"
    run.mkdir(parents=True)
    os.mkfifo(run / name)
    (run / "else.txt").write_text("")
    report = write_report()
    assert report.verdicts["done"] == 1
    assert name == "figure.png" or report.verdicts["unreadable"] == 1


def test_a_run_that_breaks_the_reader_costs_only_itself(results, monkeypatch):
    deep = results / "deep" / "0"
    deep.mkdir(parents=True)
    (deep / "run.json").write_text("[" * 100_000)
    report = write_report()
    assert report.verdicts == {"done": 1, "unreadable": 1}


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="all folders can be read here")
def test_a_folder_that_cannot_be_read_is_named(results):
    (results / "closed").mkdir(mode=0o000)
    assert [each.reason for each in survey("results").left_out] == ["it cannot be read: Permission denied"]
