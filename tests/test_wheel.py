"""What is built for others: the contents of wheel and sdist, and the text that a package index shows."""

import re
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

import wfr_pde as wfr

ROOT = Path(__file__).parent.parent
NOT_SOURCES = {".pyc", ".nc", ".ipynb"}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The wheel and the sdist of the source tree."""
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-d", out]
    made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stdout + made.stderr
    (wheel,), (sdist,) = out.glob("*.whl"), out.glob("*.tar.gz")
    return wheel, sdist


@pytest.fixture(scope="module")
def wheel_names(built):
    with zipfile.ZipFile(built[0]) as wheel:
        return set(wheel.namelist())


@pytest.fixture(scope="module")
def sdist_names(built):
    with tarfile.open(built[1]) as sdist:
        return {name.partition("/")[2] for name in sdist.getnames()}


def tracked(*folders):
    """Files of the source tree in these folders, without what Python leaves beside them."""
    return {
        path.relative_to(ROOT).as_posix()
        for folder in folders
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_wheel_holds_the_package_and_the_experiments_and_nothing_else(wheel_names):
    experiments = {path.name for path in (ROOT / "experiments").glob("*.py")}
    shipped = {f"wfr_pde/app/experiments/shipped/{name}" for name in experiments}
    about = {name for name in wheel_names if name.startswith(f"wfr_pde-{wfr.__version__}.dist-info/")}
    assert wheel_names - about == tracked("wfr_pde") | shipped
    assert len(experiments) >= 24
    assert {name.partition("/")[2] for name in about} >= {"METADATA", "entry_points.txt", "licenses/LICENSE"}


def test_what_is_no_python_is_in_the_wheel(wheel_names):
    """Templates of the report, kernels for devices, data, and the mark that there are types."""
    found = {Path(name).suffix for name in wheel_names if name.startswith("wfr_pde/")}
    assert {".html", ".css", ".js", ".cu", ".csv", ".typed"} <= found
    assert not found & NOT_SOURCES


def test_the_sdist_holds_what_tests_and_documentation_need(sdist_names):
    wanted = tracked("wfr_pde", "experiments", "benchmarks", "tests") | tracked("docs/examples", "docs/design")
    assert wanted <= sdist_names
    files = "README.md CHANGELOG.md CITATION.cff CONTRIBUTING.md LICENSE pyproject.toml gallery/README.md docs/conf.py"
    assert set(files.split()) <= sdist_names
    folders = {name.split("/")[0] for name in sdist_names if "/" in name}
    assert folders == {"wfr_pde", "experiments", "benchmarks", "tests", "docs", "gallery"}


def test_the_text_for_an_index_has_no_links_into_the_repository(built):
    with zipfile.ZipFile(built[0]) as wheel:
        metadata = message_from_bytes(wheel.read(f"wfr_pde-{wfr.__version__}.dist-info/METADATA"))
    text = metadata.get_payload(decode=True).decode()
    assert metadata["Version"] == wfr.__version__
    assert metadata["Description-Content-Type"] == "text/markdown"
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.search(r"\]\((?!https?://)\w", readme)  # the README itself has some
    outside_code = re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)
    assert re.findall(r"\]\((?!https?://)[^)]*\)", outside_code) == []
    assert "`docs/certify.md`" in text


def test_twine_finds_nothing_wrong(built):
    command = [sys.executable, "-m", "twine", "check", "--strict", *built]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout + said.stderr
