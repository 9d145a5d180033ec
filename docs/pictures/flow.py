"""Write flow.svg, the way of the data on the home page.

    python docs/pictures/flow.py

The picture stands in the page itself, so that its links lead on and its colours follow the theme;
seen by itself it follows what the reader's system prefers. Links are relative to the home page.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

WIDTH, HEIGHT = 990, 420
BOX = (112, 40)
FUNCTION = "reference/generated/xcontrast.{}.html"

STYLE = """
svg.flow {
  --ink: var(--pst-color-text-base, #222832); --soft: var(--pst-color-text-muted, #48566b);
  --paper: var(--pst-color-surface, #f3f4f5); --line: var(--pst-color-border, #c9c9c9);
  --link: var(--pst-color-link, #0a6b7c);
  width: 100%; height: auto; font: 15px system-ui, sans-serif; }
@media (prefers-color-scheme: dark) {
  svg.flow {
    --ink: var(--pst-color-text-base, #ced6dd); --soft: var(--pst-color-text-muted, #9ca4af);
    --paper: var(--pst-color-surface, #29313d); --line: var(--pst-color-border, #48566b);
    --link: var(--pst-color-link, #3fb1c5); } }
svg.flow text { fill: var(--ink); text-anchor: middle; }
svg.flow .said { fill: var(--soft); font-size: 13px; }
svg.flow .code text { fill: var(--link); font: 13px ui-monospace, monospace; }
svg.flow .node rect { fill: var(--paper); stroke: var(--link); stroke-width: 1.5; }
svg.flow .yours rect { fill: none; stroke: var(--soft); stroke-dasharray: 4 3; }
svg.flow .group { fill: none; stroke: var(--line); }
svg.flow path { fill: none; stroke: var(--soft); stroke-width: 1.5; }
svg.flow marker path { fill: var(--soft); stroke: none; }
svg.flow a { text-decoration: none; }
svg.flow a:hover text, svg.flow a:focus text { text-decoration: underline; }
svg.flow a:hover rect, svg.flow a:focus rect { stroke-width: 3; }
"""


class Node(NamedTuple):
    """A thing: its middle, its name, its page, and whether it is the reader's own."""

    x: int
    y: int
    name: str
    page: str
    yours: bool = False


class Word(NamedTuple):
    """A function's name beside its arrow."""

    x: int
    y: int
    name: str


NODES = (
    Node(66, 84, "your arrays", "tutorials/start.html#open-a-cube", yours=True),
    Node(66, 136, "STAC items", "how-to/reading.html#sources", yours=True),
    Node(298, 84, "cube", "how-to/reading.html"),
    Node(298, 136, "collection", "how-to/collections.html"),
    Node(500, 110, "pairs", "tutorials/start.html#look-at-the-pairs"),
    Node(686, 110, "chips", "how-to/chips.html"),
    Node(884, 110, "model", "how-to/pretraining.html"),
    Node(452, 280, "embedding", "how-to/mapping.html"),
    Node(654, 254, "head", "how-to/heads.html"),
    Node(654, 306, "segmenter", "how-to/segmenters.html"),
    Node(884, 280, "map", "how-to/mapping.html"),
    Node(654, 390, "your labels", "how-to/heads.html", yours=True),
    Node(798, 390, "scores", "how-to/evaluating.html"),
    Node(924, 390, "files", "how-to/mapping.html#the-store-in-other-tools"),
)
GROUPS = ((298, 110), (654, 280))
"""Middles of frames around two things that the same arrows lead to and from."""

ARROWS = (
    ((122, 84), (228, 84)),
    ((122, 136), (228, 136)),
    ((364, 110), (442, 110)),
    ((556, 110), (628, 110)),
    ((742, 110), (826, 110)),
    ((298, 166), (298, 280), (394, 280)),
    ((884, 130), (884, 196), (452, 196), (452, 258)),
    ((654, 196), (654, 222)),
    ((508, 280), (584, 280)),
    ((654, 370), (654, 338)),
    ((720, 280), (826, 280)),
    ((860, 300), (860, 336), (798, 336), (798, 368)),
    ((908, 300), (908, 368)),
)
WORDS = (
    Word(174, 76, "as_cube"),
    Word(174, 128, "open_cube"),
    Word(174, 154, "collect"),
    Word(402, 102, "pairs"),
    Word(591, 102, "chips"),
    Word(783, 102, "pretrain"),
    Word(346, 272, "embed"),
    Word(690, 190, "finetune"),
    Word(544, 272, "fit"),
    Word(772, 272, "predict"),
    Word(772, 358, "score"),
    Word(940, 346, "to_cog"),
)
SAYINGS = (
    (66, 30, "dashed: yours"),
    (692, 30, "without labels"),
    (692, 56, "two encoders learn to see the same ground alike"),
    (130, 280, "with a few labels"),
    (130, 304, "a map of any size"),
)


def draw_node(node: Node) -> str:
    """Give a box with its name, linked to its page."""
    width, height = BOX
    kind = "node yours" if node.yours else "node"
    return (
        f'<a class="{kind}" href="{node.page}"><rect x="{node.x - width // 2}"'
        f' y="{node.y - height // 2}" width="{width}" height="{height}" rx="6"/>'
        f'<text x="{node.x}" y="{node.y + 5}">{node.name}</text></a>'
    )


def draw_group(x: int, y: int) -> str:
    """Give a frame around two boxes."""
    return f'<rect class="group" x="{x - 66}" y="{y - 56}" width="132" height="112" rx="10"/>'


def draw_arrow(points: tuple[tuple[int, int], ...]) -> str:
    """Give a line through points that ends in a tip."""
    way = " L ".join(f"{x} {y}" for x, y in points)
    return f'<path d="M {way}" marker-end="url(#tip)"/>'


def draw_word(word: Word) -> str:
    """Give a function's name, linked to its reference."""
    page = FUNCTION.format(word.name)
    return f'<a class="code" href="{page}"><text x="{word.x}" y="{word.y}">{word.name}</text></a>'


def draw() -> str:
    """Give the whole picture."""
    lines = [
        f'<svg class="flow" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"'
        ' role="img" aria-label="The way of the data, from images to a map">',
        f"<style>{STYLE}</style>",
        '<defs><marker id="tip" markerWidth="9" markerHeight="8" refX="7" refY="4"'
        ' orient="auto-start-reverse" markerUnits="userSpaceOnUse">'
        '<path d="M 0 0 L 9 4 L 0 8 z"/></marker></defs>',
        *(draw_group(x, y) for x, y in GROUPS),
        *(draw_arrow(points) for points in ARROWS),
        *(draw_node(node) for node in NODES),
        *(draw_word(word) for word in WORDS),
        *(f'<text class="said" x="{x}" y="{y}">{said}</text>' for x, y, said in SAYINGS),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    Path(__file__).with_name("flow.svg").write_text(draw(), encoding="utf-8")
