"""benchmarks/history: rows that are added to the file, and what they are held against."""

import importlib
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
history = importlib.import_module("history")
step = importlib.import_module("step")


@pytest.fixture
def recorded(tmp_path, monkeypatch):
    """Runs the command on a machine and a commit with given times of a step; returns the rows of the file."""
    path = tmp_path / "history.csv"

    def run(commit, seconds, *words, name="step", machine="a processor"):
        monkeypatch.setattr(history.provenance, "commit", lambda: commit)
        monkeypatch.setattr(history, "machine", lambda: machine)
        monkeypatch.setattr(history, "measured", lambda name, quick: [("case, 64", seconds, "")])
        monkeypatch.setattr(sys, "argv", ["history.py", name, "--history", str(path), *words])
        history.main()
        return history.read(path)

    return run


def test_rows_are_added_and_held_against_the_last_of_the_same_machine(recorded, capsys):
    recorded("a" * 40, 0.5)
    recorded("c" * 40, 9.0, machine="another processor")
    capsys.readouterr()
    rows = recorded("b" * 40, 0.25)
    assert [(row["commit"][0], row["seconds"], row["benchmark"]) for row in rows] == [
        ("a", "0.5", "step --quick"),
        ("c", "9", "step --quick"),
        ("b", "0.25", "step --quick"),
    ]
    assert tuple(rows[0]) == history.COLUMNS
    table = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert table[1][-4:] == ["0.25", "0.5", "0.5", "aaaaaaaa"]


def test_quick_and_full_times_are_apart(recorded, capsys):
    recorded("a" * 40, 0.5)
    assert recorded("b" * 40, 0.4, "--full")[-1]["benchmark"] == "step"
    assert capsys.readouterr().out.splitlines()[-2].split()[-3:] == ["-", "-", "-"]


@pytest.mark.parametrize("commit", ["", "abc-dirty"])
def test_times_without_a_commit_are_refused(recorded, commit, capsys):
    with pytest.raises(SystemExit):
        recorded(commit, 0.5)
    assert "commit what has been changed first" in capsys.readouterr().err


def test_unknown_benchmarks_are_refused(recorded, capsys):
    with pytest.raises(SystemExit):
        recorded("a" * 40, 0.5, name="steps")
    assert "no history of 'steps'" in capsys.readouterr().err


def test_rows_of_a_benchmark_are_read():
    row = step.measured((64,), "SinkhornKernel", 0.001)
    assert list(history.of_step([row])) == [("SinkhornKernel, 64", 1e-3 * row["step_ms"], "")]
