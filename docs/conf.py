"""Sphinx configuration: `sphinx-build -W -b html docs docs/_build/html`.

With a network, `sphinx-build -b linkcheck docs docs/_build/links` asks every outside page.
"""

import importlib
from pathlib import Path

import xcontrast

HERE = Path(__file__).parent

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
exclude_patterns = ["_build", "**.ipynb_checkpoints"]
templates_path = [
    "_templates",
    importlib.import_module("sphinx_autosummary_accessors").templates_path,
]


def copy_notebooks(source: Path, target: Path) -> None:
    """Put notebooks among the tutorials, with their links to pages, and take away what is gone."""
    for old in target.glob("*.ipynb"):
        if not (source / old.name).exists():
            old.unlink()
    for new in source.glob("*.ipynb"):
        copy = target / new.name
        text = new.read_text(encoding="utf-8").replace("](../docs/", "](../")
        if not copy.exists() or copy.read_text(encoding="utf-8") != text:
            copy.write_text(text, encoding="utf-8")


def leave_fields_to_members(_app, what, _name, obj, _options, lines) -> None:
    """Take away what help() lists: on a page each field has an entry of its own."""
    plain = getattr(vars(obj).get("__doc__"), "plain", None) if what == "class" else None
    if plain is not None:
        lines[:] = [*plain.splitlines(), ""]


def setup(app) -> None:
    """Go ahead of numpydoc, which makes sections of lines."""
    app.connect("autodoc-process-docstring", leave_fields_to_members, priority=400)


# Sphinx reads only what lies below this folder. Notebooks are run by the tests and kept with
# their outputs, so that nothing is run here.
copy_notebooks(HERE.parent / "examples", HERE / "tutorials")
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

linkcheck_timeout = 20
linkcheck_retries = 2
# These write their anchors with a script, or refuse programs that are no browser.
linkcheck_anchors_ignore_for_url = [r"https://github\.com/.*"]
linkcheck_ignore = [r"https://doi\.org/.*", r"https://storage\.googleapis\.com/.*"]

html_theme = "pydata_sphinx_theme"
html_title = "xcontrast"
html_theme_options = {
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "navigation_depth": 2,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_sidebars = {"index": [], "benchmarks": [], "ablation": []}
html_static_path = ["_static"]
html_css_files = ["site.css"]
