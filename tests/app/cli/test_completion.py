"""The command completion: what its scripts complete in shells."""

import shutil
import subprocess

import pytest

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
    assert script.count(':_wfr_pde_experiments"') == 4
    assert script.count('"*:') == 3
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
