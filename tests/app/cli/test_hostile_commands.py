"""Hostile values for every option and argument of every command: one line of ours each; see `hostile_commands`.

More, and other ones, by ``python tests/app/cli/hostile_commands.py --seed N --trials 1000``, or here with the
environment variables WFR_HOSTILE_SEED and WFR_HOSTILE_TRIALS.
"""

import os
import shutil
import sys
from pathlib import Path

import pytest

from wfr_pde.app.cli.main import COMMANDS

sys.path.insert(0, str(Path(__file__).parent))
import hostile_commands as hostile

SEED, TRIALS = 20261130, 40  # of a command
HERE = pytest.mark.usefixtures("here")
NAMES = [command.NAME for command in COMMANDS]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared")
    hostile.prepare(folder)
    return folder


@pytest.fixture
def here(prepared, tmp_path, monkeypatch):
    """A folder with what the commands need, as the working directory."""
    shutil.copytree(prepared, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")


def test_every_command_has_a_line():
    assert list(hostile.LINES) == list(hostile.EXAMPLES) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_option_has_a_value_that_works(name):
    knobs = hostile.KNOBS if name in ("run", "sweep") else {}
    assert hostile.options_of(name) | set(knobs) == set(hostile.EXAMPLES[name])


@HERE
@pytest.mark.parametrize("name", NAMES)
def test_the_lines_work(name):
    assert hostile.said_of([name, *hostile.LINES[name]])[0] == 0


@HERE
@pytest.mark.parametrize("name", [name for name in NAMES if hostile.EXAMPLES[name]])
def test_hostile_values_meet_one_line_of_ours(name):
    trials = int(os.environ.get("WFR_HOSTILE_TRIALS", TRIALS))
    done, faults = hostile.tour(name, int(os.environ.get("WFR_HOSTILE_SEED", SEED)), trials)
    assert done == trials
    assert not faults, "\n".join(faults)


@HERE
@pytest.mark.parametrize("name", [name for name in NAMES if hostile.EXAMPLES[name]])
def test_options_without_a_value_are_refused(name):
    for option, kind in hostile.EXAMPLES[name].items():
        if not option.startswith("-"):
            continue
        words = hostile.with_value(name, option, kind.example)
        code, _, err = hostile.said_of([*words, option])
        assert code == 2, option
        assert option in err


@HERE
@pytest.mark.parametrize(
    ("name", "option"),
    [
        *(("run", "--n"), ("sweep", "--n"), ("solve", "--record"), ("compare", "--metrics"), ("compare", "--options")),
        *(("validate", "--options"), ("validate", "--scheme-options"), ("validate", "--modes")),
    ],
)
def test_what_holds_several_is_given_once(name, option):
    example = hostile.EXAMPLES[name][option].example
    code, _, err = hostile.said_of([*hostile.with_value(name, option, example), option, example])
    assert (code, err.count("\n")) == (2, 1)
    assert f"{option} is given twice: give it once" in err
