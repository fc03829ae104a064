"""The command line as a whole: help, version, exit codes, and what it says to wrong command lines."""

import contextlib
import json
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

import wfr_pde as wfr
from wfr_pde.app.cli.main import COMMANDS, main

pytestmark = pytest.mark.usefixtures("project")
WELL = ["solve", "--potential", "2*(x**2-1)**2", "--start", "gaussian(mean=-1, covariance=0.04)"]
SMALL = [*WELL, "--t", "0:0.2:3", "--shape", "64", "--dt", "0.05"]


@pytest.mark.parametrize("words", [[], *([command.NAME] for command in COMMANDS)])
def test_help_has_examples(words, capsys):
    with contextlib.suppress(SystemExit):
        main([*words, "--help"])
    text = capsys.readouterr().out
    assert "usage: wfr-pde" in text
    assert " ".join(["wfr-pde", *words]) in text.split("examples:\n")[1]
    assert max(map(len, text.splitlines())) <= 120


def test_commands_are_called_like_their_modules():
    assert [f"wfr_pde.app.cli.{command.NAME}" for command in COMMANDS] == [command.__name__ for command in COMMANDS]


def test_version(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"wfr-pde {wfr.__version__}\n"


def test_the_command_is_light():
    """Help must not wait for libraries that it does not need."""
    script = (
        "import sys, wfr_pde.app.cli.main\n"
        "print([m for m in ('xarray', 'matplotlib', 'sympy', 'numba', 'pandas', 'h5py', 'shtab') if m in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"


@pytest.mark.parametrize(
    ("mode", "code", "message"),
    [
        ("stop", 130, "wfr-pde: interrupted; no data of powers with these knobs were stored"),
        ("lost", 4, "wfr-pde: error: the mass is lost"),
        ("device", 3, "wfr-pde: error: cupy is not installed"),
        ("extra", 3, "wfr-pde: error: No module named 'a_package_that_is_not_there'"),
    ],
)
def test_exit_codes(mode, code, message, capsys):
    assert main(["run", "powers", "--mode", mode]) == code
    assert capsys.readouterr().err.splitlines() == [message]


def test_an_error_of_the_program_is_not_taken_for_bad_input(monkeypatch):
    def fails(args):
        raise KeyError("a bug")

    monkeypatch.setattr("wfr_pde.app.cli.info.run", _of_the_package(fails))
    with pytest.raises(KeyError):
        main(["info"])


def _of_the_package(function):
    """The function as if its file were one of the package."""
    file = str(Path(wfr.__file__).parent / "app" / "cli" / "info.py")
    return types.FunctionType(function.__code__.replace(co_filename=file), function.__globals__)


def test_an_error_of_the_users_code_is_one_line_with_its_place(project, result):
    line = (project / "experiments" / "powers.py").read_text().split('raise KeyError("a bug")')[0].count("\n") + 1
    place = f"experiments/powers.py, line {line}"
    assert result("run", "powers", "--mode", "bug")[::2] == (2, f"wfr-pde: error: {place}: KeyError: 'a bug'\n")
    with pytest.raises(KeyError):
        main(["run", "powers", "--mode", "bug", "--traceback"])


def test_traceback_where_asked_for():
    with pytest.raises(ValueError, match="no experiment"):
        main(["run", "circles", "--traceback"])


def test_long_messages_lack_their_middle(stderr_of):
    code, err = stderr_of("run", "x" * 10_000)
    assert code == 2
    assert len(err) < 1300
    assert "[...]" in err
    assert err.endswith("known: powers\n")


def test_home_is_found_where_the_shell_leaves_it(project, monkeypatch, result):
    monkeypatch.setenv("HOME", str(project / "home"))
    code, out, _ = result("run", "powers", "--dry-run", "--out=~/there")
    assert code == 0
    assert str(project / "home" / "there" / "powers") in out
    assert "  directory  ~x/powers" in result("run", "powers", "--dry-run", "--out=~x")[1]


WARNING = """
import warnings

from wfr_pde.errors import OpenIntegralWarning


def run(args):
    warnings.warn("the integral\\nis open", OpenIntegralWarning, stacklevel=2)
    warnings.warn("odd", RuntimeWarning, stacklevel=1)
    return 0
"""


def test_warnings_are_a_line_each(project):
    (project / "mine.py").write_text(WARNING)
    script = (
        "import mine, wfr_pde.app.cli.info as info, wfr_pde.app.cli.main as cli\n"
        "info.run = mine.run\n"
        "cli.main(['info'])\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(project), *sys.path])}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True)
    assert done.stderr.splitlines() == [
        "wfr-pde: warning: the integral is open",
        "wfr-pde: warning: mine.py, line 9: RuntimeWarning: odd",
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "required: COMMAND"),
        (["fly"], "invalid choice: 'fly'"),
        (["run"], "run needs the NAME of an experiment (see wfr-pde list)"),
        (["run", "circles"], "there is no experiment 'circles' in 'experiments' or in wfr_pde; known: powers"),
        (["run", "circles.py"], "there is no file 'circles.py'"),
        (["run", "powers", "--m", "3"], "powers has no knob 'm'; it has (with defaults): --n 4, --base 2.0,"),
        (["run", "powers", "--n", "x"], "--n must be a whole number (default: 4), got 'x'"),
        (["run", "powers", "--n"], "--n needs a value, such as --n 4"),
        (["run", "powers", "--mode", "--n", "3"], "--mode needs a value, such as --mode fine"),
        (["run", "powers", "--n", "3", "--n", "4"], "--n is given twice: give it once"),
        (["run", "powers", "4"], "unknown argument '4': knobs are written as --name value"),
        (["run", "powers", "--n", "-1", "--dry-run", "--quik"], "has no knob 'quik'"),
        (["solve", "--start", "gaussian(0, 1)"], "required"),
        ([*SMALL], "needs a file to write, such as -o out.nc (or --dry-run)"),
        (["list", "all"], "unknown argument 'all' (see wfr-pde list --help)"),
    ],
)
def test_wrong_command_lines(words, message, stderr_of):
    code, text = stderr_of(*words)
    assert code == 2
    assert text.startswith("wfr-pde: error: ")
    assert message in text


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_characters_that_the_terminal_lacks_are_replaced(project, encoding):
    text = (project / "experiments" / "powers.py").read_text()
    (project / "experiments" / "powers.py").write_text(text.replace("Powers of", "Powers ⁴ of"), encoding="utf-8")
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    for words in (["list"], ["run", "powers", "--quick"], ["run", "powers", "--help"]):
        command = [sys.executable, "-m", "wfr_pde", *words]
        done = subprocess.run(command, capture_output=True, env=environment, check=False)
        assert (done.returncode, done.stderr) == (0, b"")
        assert f"Powers {'⁴' if encoding == 'utf-8' else '?'} of a number." in done.stdout.decode(encoding)


def test_the_program_returns_the_exit_code(project):
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    command = [sys.executable, "-m", "wfr_pde"]
    good = subprocess.run([*command, *SMALL, "-o", "out.nc", "--json"], capture_output=True, text=True, env=environment)
    assert good.returncode == 0
    assert good.stderr == ""  # no progress bar where stderr is no terminal
    assert json.loads(good.stdout)["path"] == "out.nc"
    bad = subprocess.run([*command, *SMALL, "-o", "out.nc"], capture_output=True, text=True, env=environment)
    assert bad.returncode == 2
    assert "Traceback" not in bad.stderr


@pytest.mark.parametrize("code", [0, None, "done"])
def test_code_that_ends_the_program_does_not_pass_for_success(code, monkeypatch, stderr_of):
    def ends(args):
        raise SystemExit(code)

    monkeypatch.setattr("wfr_pde.app.cli.info.run", ends)
    assert stderr_of("info") == (
        2,
        f"wfr-pde: error: the code that was run ends the program (SystemExit with the code {code}) before there is a "
        "result: let it return, or raise an error\n",
    )
