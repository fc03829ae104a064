"""The documentation: examples run and print what it says, links lead somewhere, generated pages are whole."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import wfr_pde as wfr
from wfr_pde.app.cli import main as cli
from wfr_pde.app.experiments.loading import description, find_experiments

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
EXAMPLES = DOCS / "examples"
PAGES = sorted([*DOCS.glob("*.md"), *(DOCS / "design").glob("*.md")])
ADDRESSES = ("https://doi.org/", "https://arxiv.org/", "https://pypi.org/project/")
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


@pytest.mark.pages
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


def blocks_of(page):
    """The Python code of a page, block by block."""
    return re.findall(r"^```python\n(.*?)^```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def smaller(code, **words):
    """Code with other numbers, each of which it has to hold."""
    for old, new in words.values():
        assert old in code, old
        code = code.replace(old, new)
    return code


@pytest.mark.pages
def test_the_code_of_the_page_on_schemes_runs():
    target, start = wfr.GaussianMixture([-2, 2], [0.3, 0.7], 0.5), wfr.Gaussian(-2, 0.5)
    scope = {"wfr": wfr, "target": target, "start": start, "t": [0, 0.5]}
    (code,) = blocks_of("choose_a_scheme.md")
    exec(code, scope)
    assert scope["ds"].sizes["t"] == 2


@pytest.mark.pages
def test_the_code_of_the_page_on_certificates_runs(capsys):
    first, evidence, pieces, walls, ridges = blocks_of("certify.md")
    scope = {"wfr": wfr, "np": np, "target": wfr.DoubleWell(2.0), "start": wfr.Gaussian(-1, 0.04)}
    exec(first, scope)
    assert float(scope["truth"].error_l1.max()) <= 1e-5
    exec(evidence, scope)
    assert "'kind': 'proved'" in capsys.readouterr().out
    exec(pieces, scope)
    exec(walls, scope)
    assert scope["half_line"].sizes["t"] == 2
    exec(ridges, scope)
    # the mean of the flow between Gaussians, in x and y, whatever the axes of the run
    assert "rotation" in scope["truth"].attrs
    assert scope["path"].mean(0.0) == pytest.approx([0.0, 0.0], abs=1e-3)


@pytest.mark.pages
def test_the_code_of_the_page_on_samplers_runs(capsys):
    compared, diffusion, law = blocks_of("samplers.md")
    compared = smaller(compared, n=("sample(500,", "sample(100,"), runs=("range(10)", "range(2)"), dt=("0.02", "0.1"))
    scope = {}
    exec(smaller(compared, rtol=("rtol=1e-5", "rtol=1e-3")), scope)
    assert "equivalent_draws" in capsys.readouterr().out
    scope["grid"] = wfr.Grid.covering(scope["target"], scope["start"], shape=96, tail=1e-9)
    exec(law, scope)
    assert scope["law"].log_density.shape == (2, 96, 96)
    exec(diffusion, {})
    assert float(capsys.readouterr().out) == pytest.approx(0.131, abs=5e-4)


@pytest.mark.pages
def test_the_code_of_the_page_on_any_dimension_runs(capsys):
    """Twenty dimensions: the mean of the Gaussian block is the closed form, and MMD near the floor of 400 draws."""
    (code,) = blocks_of("any_dimension.md")
    scope = {}
    exec(code, scope)
    first, second = capsys.readouterr().out.splitlines()
    mean = wfr.exact.gaussian_flow(wfr.Gaussian(0, 0.5), wfr.Gaussian(0.3, 0.5), 0.2).mean[0]
    assert first.startswith("20 [")
    assert first.endswith("True")
    assert scope["path"].mean(0.2)[19] == pytest.approx(mean, abs=1e-9)
    assert float(second[1:].split()[0]) < 0.1


def test_every_block_of_code_is_run():
    with_blocks = {page.name for page in PAGES if "```python" in page.read_text(encoding="utf-8")}
    # of experiments.md the folder is of a sweep of the reader's own: tests/app/experiments/test_opened_sweep.py
    assert with_blocks == {"choose_a_scheme.md", "certify.md", "samplers.md", "experiments.md", "any_dimension.md"}


@pytest.mark.pages
def test_the_example_of_an_experiment_runs_by_its_path(tmp_path, capsys):
    path = str(EXAMPLES / "experiment.py")
    assert cli.main(["run", path, "--quick", "--out", str(tmp_path), "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)["checks"]) == {"least_rate_wfr", "w_falls"}
    (figure,) = tmp_path.glob("experiment/*/figure.png")
    assert figure.stat().st_size > 10_000


@pytest.mark.pages
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
        if link.startswith(ADDRESSES):
            continue
        path = (page.parent / link.split("#")[0]).resolve()
        made = path.relative_to(DOCS / "generated").as_posix() if path.is_relative_to(DOCS / "generated") else None
        assert made in generated or path.exists(), f"{page.name} links to {link}"


def test_every_page_is_in_the_table_of_contents():
    tables = "".join((DOCS / page).read_text(encoding="utf-8") for page in ("index.md", "design.md"))
    entries = re.findall(r"^([\w/]+)$", tables, re.MULTILINE)
    pages = {page.relative_to(DOCS).with_suffix("").as_posix() for page in [*PAGES, DOCS / "notebook.ipynb"]}
    assert pages - {"index"} <= set(entries)


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


def test_numbers_in_tables_are_not_divided():
    spec = importlib.util.spec_from_file_location("number_cells", DOCS / "_extensions" / "number_cells.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert all(
        map(module.holds_number, ["6.0e-14", "0.14 s", "128 × 128 × 128", "27,748", "13 MiB", "-0.5", "64³", "885 µs"])
    )
    assert not any(
        map(module.holds_number, ["1D Gaussian from e^-200", "2 accused / all caught", "-", "", "text", "0.1 of them"])
    )


def test_every_page_is_in_a_table_of_contents():
    listed = set()
    for page in PAGES:
        for block in re.findall(
            r"^```\{toctree\}\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
        ):
            listed |= {
                (page.parent / line).resolve() for line in block.split("\n") if line and not line.startswith(":")
            }
    missing = [page.name for page in PAGES if page.with_suffix("").resolve() not in listed and page.name != "index.md"]
    assert missing == []
