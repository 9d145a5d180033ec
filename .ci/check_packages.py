"""Check an sdist and the wheel built from it: all that git keeps, nothing else, and it runs.

    python -m build --outdir FOLDER && python .ci/check_packages.py FOLDER

Run from the checkout. Nothing is installed but the wheel, into a folder of its own; what it needs
is taken from the environment.
"""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
TOP = (
    "pyproject.toml", "README.md", "CHANGELOG.md", "CITATION.cff", "LICENSE", "environment.yml",
    "conftest.py",
)  # fmt: skip
FOLDERS = ("xcontrast", "tests", "docs", "examples")
MOST_BYTES = 20e6
"""Of an sdist: pictures of notebooks are most of it."""


def main() -> None:
    """Check the packages in the folder that is named."""
    folder = Path(sys.argv[1]).resolve()
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    if knows_git():
        check_sdist(sdist)
        check_wheel(wheel)
    else:
        print("no git checkout: what the packages hold was not compared with anything")
    version = check_run(wheel)
    assert sdist.name == f"xcontrast-{version}.tar.gz", (sdist.name, version)
    print(f"{sdist.name} {sdist.stat().st_size / 1e6:.1f} MB, {wheel.name}: whole, and runs")


def knows_git() -> bool:
    """Say whether git can tell what it keeps: not where the files alone were copied."""
    command = ["git", "-C", str(ROOT), "rev-parse", "--is-inside-work-tree"]
    return bool(shutil.which("git")) and not subprocess.run(command, capture_output=True).returncode


def list_kept(*paths: str) -> set[str]:
    """List the files that git keeps."""
    command = ["git", "-c", "core.quotepath=off", "ls-files", *paths]
    told = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return set(told.stdout.splitlines())


def check_sdist(path: Path) -> None:
    """Compare an sdist with what git keeps."""
    with tarfile.open(path) as file:
        found = {name.partition("/")[2] for name in file.getnames()}
    compare(path, found, list_kept(*TOP, *FOLDERS), own={"PKG-INFO", ".gitignore"})
    assert path.stat().st_size < MOST_BYTES, path.stat().st_size


def check_wheel(path: Path) -> None:
    """Compare a wheel with what git keeps: data of the package too, and the licence."""
    with zipfile.ZipFile(path) as file:
        found = set(file.namelist())
    about = path.name.removesuffix("-py3-none-any.whl") + ".dist-info"
    told = {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE"}
    kept = list_kept("xcontrast") | {f"{about}/{name}" for name in told}
    assert {"xcontrast/py.typed", "xcontrast/report/page.html"} <= kept
    compare(path, found, kept)


def compare(
    path: Path, found: set[str], kept: set[str], own: frozenset[str] | set[str] = frozenset()
) -> None:
    """Refuse a package that lacks a file, or has one too many."""
    missing, more = sorted(kept - found), sorted(found - kept - own)
    assert not missing, f"{path.name} lacks {missing}"
    assert not more, f"{path.name} has what git does not keep: {more}"


def check_run(wheel: Path) -> str:
    """Run the wheel from outside the checkout; give the version that it tells."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder).resolve() / "installed"
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target"]
        subprocess.run([*pip, str(target), str(wheel)], check=True)

        def run(*command: str) -> str:
            settings = os.environ | {"PYTHONPATH": str(target)}
            told = subprocess.run(
                command, cwd=folder, env=settings, check=True, text=True, capture_output=True
            )
            return told.stdout.strip()

        where = run(sys.executable, "-c", "import xcontrast; print(xcontrast.__file__)")
        assert Path(where).is_relative_to(target), where
        facts = json.loads(run(str(target / "bin" / "xcontrast"), "info", "--json"))
        return str(facts["xcontrast"])


if __name__ == "__main__":
    main()
