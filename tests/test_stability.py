"""What docs/stability.md promises: public names stay, and the page says the exit codes and schema that there are."""

import importlib
import re
from pathlib import Path

import wfr_pde as wfr
from wfr_pde.app import exit_codes
from wfr_pde.storage.schema_version import SCHEMA_VERSION

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "stability.md").read_text(encoding="utf-8")
STABLE = ROOT / "tests" / "public_names.txt"  # of the last release: one that goes is deprecated first
NAMESPACES = re.findall(r"`(\w+)`", re.search(r"and in `__all__` of (.*?); their", PAGE).group(1))


def public_names():
    """Every name that is stable, with its namespace."""
    spaces = {"wfr_pde": wfr} | {name: getattr(wfr, name) for name in NAMESPACES}
    return {f"{space}.{name}" for space, module in spaces.items() for name in module.__all__}


def test_no_public_name_has_gone():
    promised = set(STABLE.read_text().split())
    assert len(promised) > 100
    assert sorted(promised - public_names()) == []


def test_the_page_names_all_namespaces():
    found = {name for name in dir(wfr) if hasattr(getattr(wfr, name), "__path__") or name in ("exact", "diagnostics")}
    modules = {name for name in found | {"tables"} if hasattr(getattr(wfr, name), "__all__")}
    assert modules == set(NAMESPACES)
    assert all(importlib.import_module(getattr(wfr, name).__name__) for name in NAMESPACES)


def test_the_page_has_the_exit_codes():
    said = {int(code) for code in re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)}
    assert said == {value for name, value in vars(exit_codes).items() if name.isupper() and isinstance(value, int)}


def test_the_page_has_the_schema():
    assert f"a whole number, now {SCHEMA_VERSION}:" in PAGE
