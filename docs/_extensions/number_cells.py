"""Cells of tables that hold a number, with its unit or as a product, are not divided at the end of a line."""

import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

NUMBER = r"[-+]?\d[\d.,]*(?:e[-+]?\d+)?[³⁴]?"
CELL = re.compile(rf"{NUMBER}(?: × {NUMBER})*(?: [a-zA-Zµ%]{{1,3}})?")


def holds_number(text: str) -> bool:
    """Whether the text of a cell is a number, as 6.0e-14, 0.14 s, 64 × 64 or 27,748."""
    return CELL.fullmatch(text.strip()) is not None


def mark(app: Sphinx, tree: Any, docname: str) -> None:
    """Give cells that hold a number the class `number`."""
    for cell in tree.findall(nodes.entry):
        if holds_number(cell.astext()):
            cell["classes"].append("number")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the step."""
    app.connect("doctree-resolved", mark)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
