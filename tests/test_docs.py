"""The documentation: examples run and print what it says, links lead somewhere, generated pages are whole."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import wfr_pde as wfr
from wfr_pde.app.cli import main as cli
from wfr_pde.app.experiments.loading import description, find_experiments

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
EXAMPLES = DOCS / "examples"
PAGES = sorted([*DOCS.glob("*.md"), *(DOCS / "design").glob("*.md")])
PRINTING = sorted(path.stem for path in EXAMPLES.glob("*.txt"))
NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")


@pytest.fixture(scope="module")
def extension():
    """What makes the generated pages, without Sphinx."""
    spec = importlib.util.spec_from_file_location("generated", DOCS / "_extensions" / "generated.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def generated(extension):
    return extension.pages()


@pytest.mark.parametrize("name", PRINTING)
def test_an_example_prints_what_its_page_says(name):
    command = [sys.executable, "-W", "error", f"{name}.py"]
    ran = subprocess.run(command, cwd=EXAMPLES, capture_output=True, text=True, timeout=250)
    assert ran.returncode == 0, ran.stderr
    promised = (EXAMPLES / f"{name}.txt").read_text(encoding="utf-8")
    assert NUMBER.sub("#", ran.stdout) == NUMBER.sub("#", promised)
    printed, said = (list(map(float, NUMBER.findall(text))) for text in (ran.stdout, promised))
    # what is printed is rounded: one unit of the fourth digit after the point; another processor may sum otherwise
    assert printed == pytest.approx(said, rel=1e-3, abs=1.5e-4)


def test_the_example_of_an_experiment_runs_by_its_path(tmp_path, capsys):
    path = str(EXAMPLES / "experiment.py")
    assert cli.main(["run", path, "--quick", "--out", str(tmp_path), "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)["checks"]) == {"least_rate_wfr", "w_falls"}
    (figure,) = tmp_path.glob("experiment/*/figure.png")
    assert figure.stat().st_size > 10_000


def test_the_samplers_of_the_docs_get_their_verdicts_on_the_command_line(tmp_path, capsys):
    """The commands of docs/validate.md, with fewer particles."""
    block = re.search(r"```sh\n(wfr-pde truth.*?)```", (DOCS / "validate.md").read_text("utf-8"), re.DOTALL).group(1)
    lines = block.replace("\\\n", " ").strip().splitlines()
    codes = []
    for line in lines:
        words = [word.strip('"') for word in re.findall(r'"[^"]*"|\S+', line)][1:]
        words = [str(tmp_path / word) if word == "truth.nc" else word for word in words]
        words = [str(ROOT / word) if word.startswith("docs/") else word for word in words]
        codes.append(cli.main(["200" if word == "500" else word for word in words]))
    assert codes == [0, 0, 1], capsys.readouterr().out


def test_every_example_is_shown_and_every_shown_file_exists():
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    shown = re.findall(r"^```\{literalinclude\} (\S+)$", text, re.MULTILINE)
    assert sorted(shown) == sorted(f"examples/{path.name}" for path in EXAMPLES.iterdir() if path.is_file())


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda page: page.name)
def test_links_lead_to_files(page, generated):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if link.startswith(("https://doi.org/", "https://arxiv.org/")):
            continue
        path = (page.parent / link.split("#")[0]).resolve()
        made = path.relative_to(DOCS / "generated").as_posix() if path.is_relative_to(DOCS / "generated") else None
        assert made in generated or path.exists(), f"{page.name} links to {link}"


def test_every_page_is_in_the_table_of_contents():
    tables = "".join((DOCS / page).read_text(encoding="utf-8") for page in ("index.md", "design.md"))
    entries = re.findall(r"^([\w/]+)$", tables, re.MULTILINE)
    assert {page.relative_to(DOCS).with_suffix("").as_posix() for page in PAGES} - {"index"} <= set(entries)


def test_the_api_has_every_public_name(generated):
    api = "".join(text for path, text in generated.items() if path.startswith("api/"))
    documented = re.findall(r"^\.\. auto(?:class|function|data|module):: (\S+)$", api, re.MULTILINE)
    assert len(documented) == len(set(documented))
    assert {f"wfr_pde.{name}" for name in wfr.__all__} - {"wfr_pde.__version__"} <= set(documented)
    for namespace in wfr.samplers, wfr.metrics:
        assert {f"{namespace.__name__}.{name}" for name in namespace.__all__} <= set(documented)
    assert {"wfr_pde.exact.gaussian_flow", "wfr_pde.diagnostics.kl", "wfr_pde.plotting.density_ridge"} <= set(
        documented
    )


def test_the_gallery_has_every_experiment_and_the_reference_every_command(generated):
    for name, path in find_experiments(ROOT / "experiments").items():
        assert f"| `{name}` |" in generated["gallery.md"]
        assert description(path)[:20].split("|")[0] in generated["gallery.md"]
    for command in cli.COMMANDS:
        assert f"## wfr-pde {command.NAME}\n" in generated["command_line.md"]
    assert "../../gallery/galaxies/" in generated["gallery.md"]
