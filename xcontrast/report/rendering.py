"""The parts of a report as HTML: what is text is shown, not obeyed."""

from __future__ import annotations

import base64
import re
import struct
from collections.abc import Iterator, Mapping
from html import escape
from itertools import groupby
from textwrap import dedent
from typing import Any

import pandas as pd

from xcontrast.report.encoding import encode_picture
from xcontrast.report.parts import Picture, Section, Table

__all__ = ["render_facts", "render_prose", "render_section"]

BROAD = 700
"""Pixels of width above which a picture scrolls in a narrow window, rather than shrink."""
SHORT = 24
"""Letters in a cell that are kept on one line."""


def render_section(
    section: Section, anchor: str, figures: Iterator[int], tables: Iterator[int], simulated: bool
) -> str:
    """Write a section; figures and tables are numbered by what counts them over the page."""
    mark = ' <span class="mark">simulated</span>' if simulated else ""
    parts = [
        f'<section id="{anchor}"><h2>{escape(section.title)}</h2>',
        render_prose(section.text),
        *(_table(table, tables) for table in section.tables),
        *(_figure(picture, figures, mark) for picture in section.figures),
        "</section>",
    ]
    return "\n".join(part for part in parts if part)


def _figure(picture: Picture, number: Iterator[int], mark: str) -> str:
    png = encode_picture(picture.image)
    width, height = struct.unpack(">II", png[16:24])  # of the IHDR chunk, always the first
    broad = ' class="broad"' if width > BROAD else ""
    return (
        f'<figure><div class="wide" tabindex="0"><img width="{width}" height="{height}"'
        f'{broad} alt="{escape(picture.alt)}" '
        f'src="data:image/png;base64,{base64.b64encode(png).decode("ascii")}"></div>'
        f"<figcaption>{_caption('Figure', number, picture.caption)}{mark}</figcaption></figure>"
    )


def _caption(word: str, number: Iterator[int], text: str) -> str:
    return f'<span class="no">{word} {next(number)}.</span> {_inline(text)}'


def _inline(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def render_prose(text: str) -> str:
    """Turn plain text into paragraphs, lists and code."""
    html = []
    for is_code, group in groupby(_blocks(text), key=_is_code):
        if is_code:
            code = "\n\n".join(dedent(block) for block in group)
            html.append(f'<pre tabindex="0"><code>{escape(code)}</code></pre>')
            continue
        for block in group:
            lines = block.splitlines()
            if all(line.startswith("- ") for line in lines):
                items = "".join(f"<li>{_inline(line[2:])}</li>" for line in lines)
                html.append(f"<ul>{items}</ul>")
            else:
                html.append(f"<p>{_inline(' '.join(line.strip() for line in lines))}</p>")
    return "\n".join(html)


def _blocks(text: str) -> list[str]:
    return [block for block in re.split(r"\n(?:[ \t]*\n)+", text.strip("\n")) if block.strip()]


def _is_code(block: str) -> bool:
    return all(line.startswith("    ") for line in block.splitlines())


def render_facts(facts: Mapping[str, str]) -> str:
    """Write a box of names and values, or nothing."""
    if not facts:
        return ""
    rows = "".join(
        f"<div><dt>{escape(str(k))}</dt><dd>{_inline(str(v))}</dd></div>" for k, v in facts.items()
    )
    return f'<dl class="facts">{rows}</dl>'


def _table(table: Table, number: Iterator[int]) -> str:
    frame = table.frame.reset_index() if table.frame.index.name else table.frame
    texts = {c: [_cell(v, table.formats.get(str(c), "")) for v in frame[c]] for c in frame}
    kinds = [
        ' class="n"'
        if pd.api.types.is_numeric_dtype(frame[column])
        else ' class="k"'  # short words and dates are not broken
        if max(map(len, texts[column]), default=0) <= SHORT
        else ""
        for column in frame
    ]
    head = "".join(
        f'<th scope="col"{kind}>{_inline(str(column))}</th>'
        for column, kind in zip(frame, kinds, strict=True)
    )
    rows = "".join(
        "<tr>"
        + "".join(f"<td{kind}>{_inline(text)}</td>" for text, kind in zip(row, kinds, strict=True))
        + "</tr>"
        for row in zip(*texts.values(), strict=True)
    )
    caption = (
        f"<caption>{_caption('Table', number, table.caption)}</caption>" if table.caption else ""
    )
    return (
        f'<div class="wide" tabindex="0"><table>{caption}<thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _cell(value: Any, spec: str) -> str:
    if value is None or (pd.api.types.is_scalar(value) and pd.isna(value)):
        return "–"
    if isinstance(value, pd.Timestamp) and not spec:
        spec = "%Y-%m-%d"
    if isinstance(value, float) and not spec:
        spec = ".4g"
    return format(value, spec)
