"""Links of the pages lead somewhere, and pictures are as their scripts make them."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote, urlsplit

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
PAGES = sorted(
    [
        ROOT / "README.md",
        ROOT / "CHANGELOG.md",
        *(p for p in DOCS.rglob("*.md") if not {"_build", "generated"} & set(p.parts)),
    ]
)


def load(script: Path) -> ModuleType:
    """Import a script that lies in no package."""
    spec = importlib.util.spec_from_file_location(script.stem, script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read_text(page: Path) -> str:
    """Give a page's Markdown: of a notebook, that of its cells."""
    text = page.read_text(encoding="utf-8")
    if page.suffix == ".md":
        return text
    cells = json.loads(text)["cells"]
    return "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")


def walk(tokens: list[Token]) -> Iterator[Token]:
    for token in tokens:
        yield token
        yield from walk(token.children or [])


def find_links(text: str) -> list[str]:
    """Give what a page's links and pictures lead to."""
    tokens = walk(MarkdownIt("commonmark").enable("table").parse(text))
    found = [token.attrs.get("href", token.attrs.get("src")) for token in tokens]
    return [str(link) for link in found if link is not None]


def find_anchors(text: str) -> set[str]:
    """Give the names of a page's headings, as GitHub and MyST make them."""
    tokens = MarkdownIt("commonmark").parse(text)
    titles = [b.content for a, b in pairwise(tokens) if a.tag[:1] == "h"]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def explain(page: Path, link: str) -> str | None:
    """Say what is wrong with a link."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        whole = parts.scheme == "https" and re.fullmatch(r"[\w.-]+\.\w{2,}", parts.netloc)
        return None if whole else "is no https address"
    target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    if target.parent == ROOT / "docs" / "tutorials" and target.suffix == ".ipynb":
        target = ROOT / "examples" / target.name  # The build of the docs copies them from there.
    if not target.exists():
        return "leads to no file"
    if ROOT not in target.parents:
        return "leads out of the repository"
    if parts.fragment and target.suffix in (".md", ".ipynb"):
        anchors = find_anchors(read_text(target))
        return None if parts.fragment in anchors else "leads to no heading"
    return None


@pytest.mark.parametrize("page", [*PAGES, *NOTEBOOKS], ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    links = find_links(read_text(page))
    wrong = {link: reason for link in links if (reason := explain(page, link))}
    assert wrong == {}


def test_there_are_links_to_look_at() -> None:
    links = [link for page in PAGES for link in find_links(read_text(page))]
    assert sum(link.startswith("https") for link in links) > 10
    assert sum(not link.startswith("http") for link in links) > 30


@pytest.mark.parametrize(
    ("link", "reason"),
    [
        ("README.md", None),
        ("README.md#use", None),
        ("README.md#abuse", "leads to no heading"),
        ("docs/nowhere.md", "leads to no file"),
        ("../README.md", "leads to no file"),
        ("http://example.org/", "is no https address"),
        ("https:/example.org", "is no https address"),
        ("https://example.org/a#b", None),
    ],
)
def test_a_wrong_link_is_found(link: str, reason: str | None) -> None:
    found = find_links(f"See [this]({link}), `[that](x.md)` and\n\n    [code](y.md)\n")
    assert found == [link]
    assert explain(ROOT / "README.md", link) == reason


def test_every_page_is_within_a_group() -> None:
    groups = {"tutorials", "how-to", "explanation", "reference"}
    loose = {p.name for p in DOCS.glob("*.md")}
    assert loose == {"index.md", "benchmarks.md", "ablation.md"}
    assert {p.parent.name for p in DOCS.glob("*/index.md")} == groups


def test_the_rendered_check_finds_what_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.html").write_text(
        '<h1 id="top">A</h1><a href="sub/b.html#deep">b</a><a href="#top">up</a>'
        '<a href="sub/b.html#shallow">b</a><svg><a href="c.html">c</a></svg>'
        '<img src="no.png"><a href="https://example.org/#x">out</a>'
    )
    (tmp_path / "sub" / "b.html").write_text('<p id="deep"><a href="../a.html">a</a></p>')
    found = load(DOCS / "rendered.py").find_broken(tmp_path)
    assert found == ["a.html: c.html", "a.html: no.png", "a.html: sub/b.html#shallow"]


def test_pictures_of_notebooks_are_those_that_the_notebooks_hold() -> None:
    script = load(DOCS / "pictures" / "from_notebooks.py")
    assert len(script.PICTURES) > 3
    for name in script.PICTURES:
        kept = (DOCS / "pictures" / f"{name}.png").read_bytes()
        assert kept == script.find_picture(name), "run: python docs/pictures/from_notebooks.py"


def test_the_flow_figure_is_as_its_script_draws_it() -> None:
    drawn = load(DOCS / "pictures" / "flow.py").draw()
    assert (DOCS / "pictures" / "flow.svg").read_text(encoding="utf-8") == drawn
    links = re.findall(r'href="([^"#]+)', drawn)
    pages = [link for link in links if "generated" not in link]
    assert len(pages) > 10
    assert [link for link in pages if not (DOCS / link).with_suffix(".md").exists()] == []


def test_pictures_are_small_and_shown() -> None:
    # As text: a directive may show one, as well as Markdown.
    told = "\n".join(read_text(page) for page in PAGES)
    for picture in (DOCS / "pictures").glob("*.png"):
        assert picture.stat().st_size < 150_000, picture.name
        assert f"pictures/{picture.name}" in told, picture.name
