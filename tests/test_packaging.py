"""What lies at the top of the repository agrees with pyproject.toml."""

import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
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
COMMIT = "-c user.name=A -c user.email=a@b.c commit -q --allow-empty -m step"


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


def _last_release() -> str:
    """Find the newest version that the changelog tells of; before the first, the first to come."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    return next(iter(re.findall(r"^## \[(\d+\.\d+\.\d+)\]", text, flags=re.M)), "0.1.0")


@pytest.mark.parametrize(
    ("commands", "expected"),
    [
        ([], r"0\.0\.0"),
        (["init -q", COMMIT], r"0\.0\.1\.dev1\+g\w+"),
        (["init -q", COMMIT, "tag v0.2.0"], r"0\.2\.0"),
        (["init -q", COMMIT, "tag v0.2.0", COMMIT], r"0\.2\.1\.dev1\+g\w+"),
    ],
    ids=["files alone", "no tag", "at a tag", "after a tag"],
)
def test_the_version_is_the_tags(commands: list[str], expected: str, tmp_path: Path) -> None:
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    for command in commands:
        subprocess.run(["git", *shlex.split(command)], cwd=tmp_path, check=True)
    asked = [sys.executable, "-m", "hatchling", "version"]
    told = subprocess.run(asked, cwd=tmp_path, check=True, capture_output=True, text=True)
    assert re.fullmatch(expected, told.stdout.strip())


def test_the_version_is_that_of_what_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.version", {"xcontrast": "1.2.3"}.__getitem__)
    path = xcontrast.version.__file__
    assert runpy.run_path(path)["__version__"] == "1.2.3"

    def find_nothing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.version", find_nothing)
    assert runpy.run_path(path)["__version__"] == "0.0.0+unknown"


def test_citation_has_what_cff_1_2_requires():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == _last_release()
    assert citation["license"] == PROJECT["license"]
    assert {"message", "title", "authors"} <= set(citation)
    for reference in citation["references"]:
        assert {"type", "title", "authors", "year"} <= set(reference)
