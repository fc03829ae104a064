"""Docstrings are plain text first: what reStructuredText would take for markup by mistake is told apart here."""

import re
from typing import Any

from sphinx.application import Sphinx
from sphinx.util.nodes import make_refnode

QUOTED = re.compile(r"(`[^`]*`)")
PLACES = ("wfr_pde", "wfr_pde.samplers", "wfr_pde.metrics")
UNDERLINE = re.compile(r"\s*-{3,}\s*$")


def escaped(line: str) -> str:
    """`|x|` is an absolute value, not a substitution, and `x**2` a power."""
    parts = QUOTED.split(line)
    return "".join(part if k % 2 else part.replace("|", r"\|").replace("**", r"\*\*") for k, part in enumerate(parts))


def marked(lines: list[str]) -> list[str]:
    """The lines of a docstring with formulas and code, indented after a blank line, as literal blocks."""
    result: list[str] = []
    block: int | None = None  # the indentation of the text that a literal block interrupts
    section, above = False, 0
    example = False
    for k, line in enumerate(lines):
        example = bool(line.strip()) and (example or line.lstrip().startswith(">>>"))  # up to an empty line
        if example:
            result.append(line)
            continue
        indent = len(line) - len(line.lstrip())
        section = section or (k + 1 < len(lines) and UNDERLINE.match(lines[k + 1]) is not None)
        if not line.strip():
            result.append(line)
            continue
        if block is not None and indent <= block:
            block = None
        after_blank = k > 0 and not lines[k - 1].strip()
        if block is None and not section and after_blank and indent > above:
            block = above
            result += [" " * above + "::", ""]
        result.append(line if block is not None else escaped(line))
        if block is None:
            item = re.match(r"\s*[-*] +", line)
            above = item.end() if item else indent
    return result


def process(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """For autodoc, before napoleon."""
    lines[:] = marked(lines)


def resolve(app: Sphinx, env: Any, node: Any, content: Any) -> Any:
    """Links from one page of the API to another: `Langevin` is `wfr_pde.samplers.Langevin`, wherever it is named."""
    if node.get("refdomain") != "py" or node.get("reftype") not in ("obj", "class"):
        return None
    for place in PLACES:
        found = env.get_domain("py").objects.get(f"{place}.{node['reftarget']}")
        if found is not None:
            return make_refnode(app.builder, node["refdoc"], found.docname, found.node_id, content)
    return None


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect."""
    app.connect("autodoc-process-docstring", process, priority=100)
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
