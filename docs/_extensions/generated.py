"""Pages made from the code, so that none of them can go stale: the API, the command line, the gallery."""

import argparse
import contextlib
import importlib
import inspect
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import wfr_pde
from wfr_pde import diagnostics, exact, metrics, plotting, samplers, tables
from wfr_pde.app.cli import main as cli
from wfr_pde.app.experiments.loading import description, find_experiments, load_experiment

DOCS = Path(__file__).parent.parent
ROOT = DOCS.parent
FOLDER = DOCS / "generated"
NAMESPACES = {
    "samplers": samplers,
    "metrics": metrics,
    "diagnostics": diagnostics,
    "exact": exact,
    "plotting": plotting,
    "tables": tables,
}
GROUPS = {  # title, and the modules of what is on the page; the last takes the rest
    "targets": ("Targets", ("wfr_pde.targets",)),
    "flows": ("Flows", ("wfr_pde.flows",)),
    "solving": ("Grids, solving, certifying, comparing", ("wfr_pde",)),
}


def pages() -> dict[str, str]:
    """All generated pages: path below `FOLDER` -> Markdown."""
    return {"gallery.md": gallery(), "command_line.md": command_line(), **api()}


GALLERY = """\
Each is a file in `experiments/` of the repository, and makes a claim that is checked whenever it runs.
`wfr-pde run NAME` in the project's root computes data and figure, `--quick` a small version of both; `wfr-pde all` runs
all of them, and makes one page of the results. Figures, their numbers as csv, and provenance go to
`results/`; those of the full runs below are in `gallery/`.
[How to add one](../add_an_experiment.md)."""


# API


def api() -> dict[str, str]:
    """A page for every group of the package's names, and for every namespace."""
    result, tables = {}, []
    left = [name for name in wfr_pde.__all__ if name not in NAMESPACES and name != "__version__"]
    for group, (title, modules) in GROUPS.items():
        here = [name for name in left if getattr(wfr_pde, name).__module__.startswith(modules)]
        left = [name for name in left if name not in here]
        result[f"api/{group}.md"] = _api_page(title, "", "wfr_pde", here)
        tables += _summaries(title, "wfr_pde", here)
    for name, module in NAMESPACES.items():
        names = public_names(module)
        result[f"api/{name}.md"] = _api_page(f"wfr_pde.{name}", f"wfr_pde.{name}", f"wfr_pde.{name}", names)
        tables += _summaries(f"wfr_pde.{name}", f"wfr_pde.{name}", names)
    entries = "\n".join(Path(path).stem for path in result)
    result["api/index.md"] = (
        "# API reference\n\nThe names of `import wfr_pde as wfr` are on the first three pages; namespaces follow.\n\n"
        + "\n".join(tables)
        + f"\n```{{toctree}}\n:hidden:\n:maxdepth: 1\n\n{entries}\n```\n"
    )
    return result


def _summaries(title: str, module: str, names: Iterable[str]) -> list[str]:
    """A table of names, with the first lines of their docstrings."""
    lines = [f"## {title}", "", "| name | |", "|---|---|"]
    for name in names:
        value = getattr(importlib.import_module(module), name)
        first = plain((inspect.getdoc(value) or "").split("\n\n")[0].replace("\n", " "))
        lines.append(f"| {{py:obj}}`~{module}.{name}` | {first} |")
    return [*lines, ""]


def public_names(module: Any) -> list[str]:
    """Names that a module offers: those of its `__all__` that can be called, or what it defines, in their order."""
    if hasattr(module, "__all__"):
        return [name for name in module.__all__ if callable(getattr(module, name))]
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (inspect.isclass(value) or inspect.isfunction(value))
        and value.__module__ == module.__name__
    ]


def _api_page(title: str, described: str, module: str, names: Iterable[str]) -> str:
    lines = [f"# {title}", ""]
    if described:
        lines += ["```{eval-rst}", f".. automodule:: {described}", "   :no-members:", "```", ""]
    for name in names:
        value = getattr(importlib.import_module(module), name)
        lines += ["```{eval-rst}"]
        if inspect.isclass(value):
            lines += [f".. autoclass:: {module}.{name}", "   :members:"]
        elif inspect.isroutine(value) or not value.__doc__ or type(value).__doc__ != value.__doc__:
            lines += [f".. autofunction:: {module}.{name}"]
        else:
            lines += [f".. autodata:: {module}.{name}", "   :no-value:"]
        lines += ["```", ""]
    return "\n".join(lines)


# command line


def command_line() -> str:
    """The help of every command, as the parser prints it."""
    with _environment(COLUMNS="100", NO_COLOR="1"):
        lines = ["# Command line", "", "What `wfr-pde --help` and `wfr-pde COMMAND --help` print.", ""]
        for name, parser in cli.parsers().items():
            lines += [f"## wfr-pde {name}", ""] if name else []
            lines += _help(parser)
    return "\n".join(lines) + "\n"


@contextlib.contextmanager
def _environment(**variables: str) -> Iterator[None]:
    """Environment variables for a while."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _help(parser: argparse.ArgumentParser) -> list[str]:
    return ["```{code-block} text", ":class: help", "", parser.format_help().rstrip(), "```", ""]


# gallery


def gallery() -> str:
    """The experiments, with the first lines of their docstrings, and the figures of the full runs in `gallery/`."""
    found = find_experiments(ROOT / "experiments")
    claims = {name: plain(description(path)) for name, path in found.items()}
    lines = ["# Gallery of experiments", "", GALLERY, "", "| name | claim |", "|---|---|"]
    lines += [f"| `{name}` | {claim} |" for name, claim in claims.items()]
    for name, path in found.items():
        experiment = load_experiment(path)
        directory = experiment.directory(experiment.values({}), ROOT / "gallery")
        content = json.loads((directory / "run.json").read_text()) if (directory / "figure.png").exists() else {}
        if content.get("status") == "done":  # not one that is being run again
            picture = os.path.relpath(directory / "figure.png", FOLDER)
            lines += ["", f"## {name}", "", claims[name], "", f"![{claims[name]}]({picture})", "", made(content)]
    return "\n".join(lines) + "\n"


def made(content: dict[str, Any]) -> str:
    """How a result was made, and what its checks said, from its run.json."""
    checks = content["checks"].values()
    passed = sum(check["passed"] for check in checks)
    seconds = float(content["wall_time"])
    took = f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
    return f"`{content['command']}`, {took}; {passed} of {len(checks)} checks pass."


def plain(text: str) -> str:
    """Text in Markdown, with the signs escaped that would be markup, but for code between backticks."""
    parts = text.split("`")
    words = ["".join(f"\\{sign}" if sign in "*_|$<>[]" else sign for sign in part) for part in parts]
    return "`".join(parts[k] if k % 2 else words[k] for k in range(len(parts)))


def write(app: Any = None) -> None:
    """Write the pages; those that have not changed stay, so that they are not built again."""
    made = pages()
    for path in sorted(FOLDER.rglob("*.md")) if FOLDER.exists() else []:
        if str(path.relative_to(FOLDER)) not in made:
            path.unlink()
    for name, text in made.items():
        path = FOLDER / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def setup(app: Any) -> dict[str, Any]:
    """Write the pages before the sources are read."""
    app.connect("builder-inited", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
