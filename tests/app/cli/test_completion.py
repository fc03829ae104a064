"""The command completion: what its scripts complete in shells."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from typed_keys import TypedShell

pytestmark = pytest.mark.usefixtures("project")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_accepts_the_script(shell, project, result):
    code, out, _ = result("completion", shell)
    assert code == 0
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell} here")
    (project / "script").write_text(out)
    subprocess.run([shell, "-n", "script"], check=True, capture_output=True)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["s"], {"sweep", "solve"}),
        (["run", "po"], {"powers"}),
        (["sweep", "powers", "--d"], {"--dry-run", "--dask"}),
        (["solve", "--order", ""], {"2", "4", "6", "8"}),
        (["solve", "--t", ""], set()),
        (["completion", ""], {"bash", "zsh", "fish"}),
        (["figures", "p"], {"powers"}),
        (["figures", "roots", "p"], {"powers"}),
        (["report", "--results", ""], {"experiments"}),
        (["compare", "truth.nc", "scr"], {"script"}),
        (["solve", "-o", "s"], {"script"}),
        (["--", "x"], set()),
    ],
)
def test_bash_completes(words, found, project, result):
    if shutil.which("bash") is None:
        pytest.skip("there is no bash here")
    (project / "script").write_text(result("completion", "bash")[1])
    (project / "experiments" / "_shared.py").touch()
    line = " ".join(f"'{word}'" for word in ["wfr-pde", *words])
    function = '$(complete -p wfr-pde | sed "s/.*-F //; s/ .*//")'
    show = 'printf "%s\\n" "${COMPREPLY[@]}"'
    command = f"source ./script; COMP_WORDS=({line}); COMP_CWORD={len(words)}; {function}; {show}"
    done = subprocess.run(["bash", "-c", command], check=True, capture_output=True, text=True)
    assert done.stderr == ""
    assert set(done.stdout.split()) == found


def test_bash_takes_what_it_does_not_know_for_a_file(project, result):
    if shutil.which("bash") is None:
        pytest.skip("there is no bash here")
    (project / "script").write_text(result("completion", "bash")[1])
    command = ["bash", "-c", "source ./script; complete -p wfr-pde"]
    assert "-o default" in subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_zsh_completes_each_of_several_arguments(result):
    _, script, _ = result("completion", "zsh")
    assert script.count(':_wfr_pde_experiments"') == 5
    assert script.count('"*:') == 4
    assert '"(*)' not in script
    assert "(eval|file)" in script


def test_fish_completes(project, result):
    if shutil.which("fish") is None:
        pytest.skip("there is no fish here")
    (project / "script").write_text(result("completion", "fish")[1])
    done = subprocess.run(
        ["fish", "--no-config", "-c", 'source ./script; complete -C "wfr-pde run po"; complete -C "wfr-pde sw"'],
        check=True, capture_output=True, text=True, env={"HOME": str(project), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == ["powers", "sweep"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_keys_that_are_pressed_complete(shell, project, result):
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell} here")
    (project / "script").write_text(result("completion", shell)[1])
    (project / "experiments" / "roots.py").touch()
    (project / "my samples.nc").touch()
    (project / "other").mkdir()
    typed = {
        "ru": "run ",
        "xyz": "xyz",
        "run pow": "run powers ",
        "run experiments/pow": "run experiments/powers.py ",
        "run powers --dr": "run powers --dry-run ",
        "run --out oth": "run --out other/",
        "run --out=oth": "run --out=other/",
        "all --on": "all --only ",
        "all --only po": "all --only powers ",
        "all --only powers ro": "all --only powers roots ",
        "all --only powers --qu": "all --only powers --quick ",
        "all po": "all po",
        "figures powers ro": "figures powers roots ",
        "solve --device cud": "solve --device cuda",
        "truth -o my": r"truth -o my\ samples.nc ",
        "truth --out=my": r"truth --out=my\ samples.nc ",
        "compare my": r"compare my\ samples.nc ",
        "completion zs": "completion zsh ",
    }
    if shell != "bash":  # for which a colon ends a word
        typed["solve --device cuda:"] = "solve --device cuda:single "
    terminal = TypedShell(shell, project)
    try:
        found = {words: terminal.line_after(f"wfr-pde {words}\t") for words in typed}
    finally:
        terminal.close()
    assert found == {words: f"wfr-pde {expected}" for words, expected in typed.items()}
