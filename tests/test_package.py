"""The package as a whole: what importing it loads, its public names, the README's example."""

import importlib
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import wfr_pde as wfr

ROOT = Path(__file__).parent.parent


def test_importing_loads_nothing_heavy():
    heavy = "xarray sympy matplotlib numba tqdm h5py h5netcdf cupy pyfftw jinja2 filelock "
    heavy += "scipy.interpolate scipy.optimize scipy.stats "
    heavy += "importlib.metadata importlib.resources concurrent.futures subprocess logging asyncio zipfile "
    heavy += "wfr_pde.targets.enclosures "
    heavy += "wfr_pde.truth.certified wfr_pde.truth.spectrum wfr_pde.validation"
    code = "import sys, numpy; before = set(sys.modules); import wfr_pde; new = set(sys.modules) - before; "
    code += f"print([name for name in {heavy.split()} if name in new])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"


def test_names_imported_at_first_use_are_there():
    code = "import wfr_pde; print({'spectrum', 'validate'} <= set(dir(wfr_pde)), 'spectrum' in vars(wfr_pde)); "
    code += "from wfr_pde import spectrum; print(spectrum.__name__, vars(wfr_pde)['spectrum'] is spectrum)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["True", "False", "spectrum", "True"]
    with pytest.raises(AttributeError, match="'wfr_pde' has no attribute 'ground_thruth'"):
        wfr.ground_thruth  # noqa: B018


def test_namespaces_are_there_without_an_import_of_their_own():
    code = "import sys, wfr_pde as wfr; print('matplotlib' in sys.modules, wfr.plotting.density_curve.__name__, "
    code += "wfr.targets.Gaussian is wfr.Gaussian, 'plotting' in dir(wfr))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["False", "density_curve", "True", "True"]


def test_dir_shows_what_is_public():
    public = {*wfr.__all__, "energies", "flows", "plotting", "tables", "targets"}
    assert set(dir(wfr)) == public
    namespaces = ("targets", "energies", "flows", "samplers", "metrics", "plotting", "exact", "diagnostics", "tables")
    for name in namespaces:
        space = getattr(wfr, name)
        assert dir(space) == sorted(space.__all__)
        assert all(hasattr(space, public_name) for public_name in space.__all__)


def test_no_public_name_hides_a_module():
    """Else `import wfr_pde.validate` and `wfr.validate` would be two things."""
    package = Path(wfr.__file__).parent
    for name in wfr.__all__:
        is_module = (package / name).is_dir() or (package / f"{name}.py").exists()
        assert not is_module or isinstance(getattr(wfr, name), ModuleType), name


def test_dotted_names_in_the_pages_are_there():
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    texts = "".join(page.read_text() for page in pages)
    found = set(re.findall(r"\b(?:wfr|wfr_pde)((?:\.[A-Za-z_]\w*)+)\b", texts)) - {".X"}  # wfr.X: any
    assert ".Density.from_dataset" in found
    for name in sorted(found):
        resolved(name.strip(".").split("."))


def resolved(words):
    """What a dotted name of the package stands for, by attributes and imports as a user would have them."""
    value, path = wfr, "wfr_pde"
    for word in words:
        path += f".{word}"
        value = getattr(value, word, None) or (
            importlib.import_module(path) if importlib.util.find_spec(path) else None
        )
    return value


def test_public_names_exist_and_are_documented():
    assert len(wfr.__all__) <= 60
    for name in wfr.__all__:
        assert getattr(wfr, name) is not None
        if name != "__version__":
            assert getattr(wfr, name).__doc__, name


def block_of_readme(name):
    """A code block of the README, by the marker above it."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.search(rf"<!-- {name} -->\n```python\n(.*?)```", text, re.DOTALL).group(1)


def test_readme_has_at_most_900_words():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= 900


@pytest.mark.pages
def test_readme_example_runs_as_printed(capsys):
    code = block_of_readme("api-example")
    scope = {}
    exec(code, scope)
    printed = np.array(capsys.readouterr().out.strip(" []\n").split(), dtype=float)
    promised = np.array(code.split("# [")[1].split("]")[0].split(), dtype=float)
    assert printed == pytest.approx(promised, rel=1e-7)
    # from -2 most of the way to the target's mean, 0.8: the difference falls like e^-t once it is small
    assert abs(wfr.Density.from_dataset(scope["ds"]).mean()[0] - 0.8) < 0.1
    # what the caption of the picture says
    frame = wfr.Density.from_dataset(scope["ds"], index=20)
    share = frame.expectation(lambda x: (x[..., 0] > 0).astype(float)) / 0.7
    assert float(scope["ds"].t[20]) == 2.0
    assert 0.45 < share < 0.55
    assert len(scope["figure"].axes) == 3


def test_readme_targets_are_what_they_are_called():
    scope = {"wfr": wfr, "np": np}
    exec(block_of_readme("target-example"), scope)
    banana, ring = scope["banana"], scope["ring"]
    assert banana.log_density([[1.0, 1.0]]) - banana.log_density([[0.0, 0.0]]) == pytest.approx(-0.5)
    assert ring.log_density([[2.0, 0.0], [0.0, -2.0]]) == pytest.approx([0.0, 0.0])


@pytest.mark.pages
def test_readme_truth_is_certified(capsys):
    target = wfr.GaussianMixture(means=[[-2, 0], [2, 0]], weights=[0.3, 0.7], covariances=0.25)
    scope = {"wfr": wfr, "np": np, "target": target, "start": wfr.Gaussian(mean=[-2, 0], covariance=0.16)}
    exec(block_of_readme("truth-example"), scope)
    assert all(float(bound) <= 1e-5 for bound in capsys.readouterr().out.split())
    assert scope["path"].score([[0.0, 0.0]], 1.3).shape == (1, 2)


@pytest.mark.pages
def test_readme_comparison_runs_as_printed(capsys):
    code = block_of_readme("compare-example")
    code = code.replace("sample(500,", "sample(100,").replace("range(10)", "range(3)").replace("dt=0.02", "dt=0.1")
    target, start = wfr.Gaussian(mean=[0, 0], covariance=1.0), wfr.Gaussian(mean=[-2, 0], covariance=0.16)
    truth = wfr.ground_truth(target, start, t=[0, 0.5], rtol=1e-3)
    scope = {"wfr": wfr, "np": np, "target": target, "start": start, "truth": truth}
    exec(code, scope)
    assert scope["errors"]["value"].shape == (1, 1, 3, 2, 3)
    assert "equivalent_draws" in capsys.readouterr().out


def test_version_is_the_changelogs_and_the_citations():
    assert f"## {wfr.__version__}" in (ROOT / "CHANGELOG.md").read_text()
    assert f"version: {wfr.__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_a_name_of_a_namespace_is_answered_with_its_place():
    for name, where in {"Langevin": "samplers", "MMD": "metrics", "to_latex": "tables"}.items():
        with pytest.raises(
            AttributeError, match=rf"no attribute '{name}': it is in a namespace, wfr_pde.{where}.{name}"
        ):
            getattr(wfr, name)
    with pytest.raises(AttributeError, match="no attribute 'groundtruth'$"):
        getattr(wfr, "ground" + "truth")
