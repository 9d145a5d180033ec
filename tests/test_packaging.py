"""What lies at the top of the repository agrees with pyproject.toml."""

import os
import re
import tomllib
from pathlib import Path

import yaml

import xcontrast

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# The names that conda-forge spells otherwise.
CONDA = {
    "torch": "pytorch",
    "dask[array]": "dask",
    "netCDF4": "netcdf4",
    "huggingface-hub": "huggingface_hub",
}


def split(requirement: str) -> tuple[str, str]:
    name, bound = re.fullmatch(r"([\w.\-\[\]]+)\s*(.*)", requirement).groups()
    return CONDA.get(name, name), bound


def test_environment_has_the_names_and_bounds_of_pyproject():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    extras = PROJECT["optional-dependencies"]
    wanted = [*PROJECT["dependencies"], *extras["test"], *extras["docs"]]
    expected = dict(split(requirement) for requirement in wanted)
    expected |= {"python": PROJECT["requires-python"], "pip": ""}
    *conda, by_pip = environment["dependencies"]
    found = [split(entry) for entry in (*conda, *by_pip["pip"])]
    assert len(found) == len(dict(found))
    assert dict(found) == expected
    assert environment["channels"] == ["conda-forge", "nodefaults"]


def test_readme_first_screen_has_the_two_commands():
    screen = "\n".join((ROOT / "README.md").read_text(encoding="utf-8").splitlines()[:20])
    setup = "python -m venv .venv && . .venv/bin/activate && "
    assert setup + "pip install . && xcontrast demo --out demo\n" in screen
    assert setup + 'pip install ".[test]" && pytest\n' in screen


def test_ci_installs_as_the_readme_says_and_ends_with_pytest():
    script = ROOT / ".ci" / "run"
    lines = script.read_text(encoding="utf-8").split("\n")
    commands = [line for line in lines if line and not line.startswith("#")]
    assert any(re.fullmatch(r'pip install (--quiet )?"\.\[test\]"', line) for line in commands)
    assert commands[0] == "set -euo pipefail"
    assert commands[-1] == "pytest"
    assert os.access(script, os.X_OK)


def test_readme_links_lead_somewhere():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    local = re.findall(r"\]\((?!https?:)([^)#]+)", text)
    assert local
    assert [link for link in local if not (ROOT / link).exists()] == []


def test_citation_has_what_cff_1_2_requires():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == xcontrast.__version__
    assert citation["license"] == PROJECT["license"]
    assert {"message", "title", "authors"} <= set(citation)
    for reference in citation["references"]:
        assert {"type", "title", "authors", "year"} <= set(reference)
