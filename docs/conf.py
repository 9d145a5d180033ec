"""Sphinx configuration: `sphinx-build -W -b html docs docs/_build/html`."""

import importlib
from pathlib import Path

import xcontrast

project = "xcontrast"
author = "The xcontrast developers"
project_copyright = author
version = release = xcontrast.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "myst_nb",
    "sphinx_autosummary_accessors",
]
exclude_patterns = ["_build", "generated/*.txt", "**.ipynb_checkpoints"]
templates_path = [
    "_templates",
    importlib.import_module("sphinx_autosummary_accessors").templates_path,
]

# Notebooks are run by the tests, which leave their outputs in them.
nb_execution_mode = "off"
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

autosummary_generate = True
autodoc_typehints = "none"  # numpydoc's type lines say more: dims, dtype, units
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

# Every reference to our own names must resolve. Types of other packages are plain words here:
# their inventories are on the network, and the docs build without one.
nitpicky = True
nitpick_ignore_regex = [(r"py:.*", r"(?!xcontrast\b).*")]

html_theme = "pydata_sphinx_theme"
html_title = "xcontrast"
html_theme_options = {
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_sidebars = {"index": []}
html_static_path = [name for name in ("_static",) if (Path(__file__).parent / name).is_dir()]
