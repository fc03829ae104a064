"""Sphinx: `sphinx-build -W --keep-going -b html docs docs/_build`, without a network."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

os.environ.setdefault("TQDM_DISABLE", "1")  # a page cannot draw a bar over the last one

import wfr_pde  # noqa: E402

project = "wfr_pde"
author = "The wfr_pde developers"
version = release = wfr_pde.__version__

extensions = [
    "myst_nb",
    "sphinx_copybutton",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "mathml",
    "number_cells",
    "plain_docstrings",
    "generated",
]
nb_execution_mode = "force"  # what a page shows is what the code of today prints
nb_execution_timeout = 120
nb_execution_raise_on_error = True
nb_merge_streams = True
myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "_extensions", "examples"]
suppress_warnings = ["config.cache"]

smartquotes_action = "D"  # dashes; the quote of V' is a prime
default_role = "py:obj"  # `name` in a docstring is a link where the name is documented, else code
autodoc_typehints = "signature"
autodoc_type_aliases = {"ArrayLike": "ArrayLike", "Array": "Array", "Rng": "Rng", "Box": "Box"}
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 90
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_param = True
napoleon_use_ivar = True

html_theme = "furo"
html_title = f"wfr_pde {release}"
html_math_renderer = "mathml"
html_show_copyright = False
html_copy_source = False
html_show_sourcelink = False
html_static_path = ["_static"]
html_css_files = ["wfr.css"]
