"""A clone stays clean: what the README's commands leave in it is ignored, and what is committed is not."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
RESULT = "galaxies/e2ebf21c5a87"
LEFT = [  # by the environment, the installation, experiments and tests
    ".venv/pyvenv.cfg",
    "wfr_pde.egg-info/PKG-INFO",
    "wfr_pde/__pycache__/errors.cpython-311.pyc",
    f"results/{RESULT}/data.nc",
    f"results/{RESULT}/figure.png",
    "results/constraints.txt",
    "results/benchmarks/accuracy.json",
    f"gallery/{RESULT}/data.nc",
    f"gallery/{RESULT}/figure.pdf",
    f"gallery/{RESULT}/seg-000000.nc",
    f"gallery/{RESULT}/.lock",
    "report.html",
    ".pytest_cache/README.md",
    "docs/_build/index.html",
]
COMMITTED = [
    "gallery/constraints.txt",
    f"gallery/{RESULT}/run.json",
    f"gallery/{RESULT}/figure.csv",
    f"gallery/{RESULT}/figure.png",
    "benchmarks/history.csv",
    "wfr_pde/problems/data/galaxies.csv",
]


@pytest.fixture
def status(tmp_path):
    """Makes files in a clone that holds nothing but .gitignore; returns those that git sees."""

    def seen(names):
        (tmp_path / ".gitignore").write_bytes((ROOT / ".gitignore").read_bytes())
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        git = ["git", "-C", str(tmp_path), "-c", "core.excludesFile=/dev/null"]
        subprocess.run([*git, "init", "-q"], check=True)
        shown = subprocess.run([*git, "status", "--porcelain", "-uall"], check=True, capture_output=True, text=True)
        return {line.split()[1] for line in shown.stdout.splitlines()} - {".gitignore"}

    return seen


def test_what_commands_leave_is_ignored(status):
    assert status(LEFT) == set()


def test_what_is_committed_is_seen(status):
    assert status(COMMITTED) == set(COMMITTED)
