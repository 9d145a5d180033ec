"""Look for links within built pages that lead nowhere: `python docs/rendered.py HTML_FOLDER`."""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """The links of a page, and what can be linked to in it."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep what a tag links to, and by what it can be linked to."""
        for name, value in attrs:
            if name in ("href", "src") and value:
                self.links.append(value)
            elif name == "id" or (tag, name) == ("a", "name"):
                self.anchors.add(value or "")


def find_broken(folder: Path) -> list[str]:
    """Say which links of the folder's pages lead to no file or to no anchor of it."""
    files = [file.resolve() for file in folder.rglob("*.html") if "_static" not in file.parts]
    pages = {file: Page(file) for file in files}
    broken = []
    for file, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            there = target.exists()
            anchor = unquote(parts.fragment)
            if there and anchor and target in pages:
                there = anchor in pages[target].anchors
            if not there:
                broken.append(f"{file.relative_to(folder.resolve())}: {link}")
    return sorted(set(broken))


if __name__ == "__main__":
    found = find_broken(Path(sys.argv[1]))
    sys.exit("\n".join(["These links lead nowhere:", *found]) if found else 0)
