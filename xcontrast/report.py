"""One self-contained HTML page out of text, figures and tables.

Pictures are inside the file, styles too; no script, no request to anywhere. What is written knows
nothing of satellites: `xcontrast.demo` says what to show.
"""

from __future__ import annotations

import base64
import io
import os
import re
import struct
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html import escape
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from string import Template
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import pandas as pd

from xcontrast.errors import DataError, problem

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Picture", "Section", "Table", "write_report"]

DPI = 110
BROAD = 700
"""Pixels of width above which a picture scrolls in a narrow window, rather than shrink."""
SHORT = 24
"""Letters in a cell that are kept on one line."""
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A figure with what to see in it.

    Examples
    --------
    >>> ax = xc.plot(labels.assign_attrs(xc.FLOOD.attrs))
    >>> Picture(image=ax, caption="A third of the plain is wet.", alt="Map of the flood").caption
    'A third of the plain is wet.'
    """

    image: Figure | Axes | bytes
    """A matplotlib figure, axes (their whole figure is taken) or the bytes of a PNG."""
    caption: str
    """What it shows and what to look for, in a sentence or two."""
    alt: str
    """What it says, for a person who does not see it."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table with formatted numbers; units belong in the column names.

    Examples
    --------
    >>> table = Table(frame=pd.DataFrame({"IoU": [0.4567]}), formats={"IoU": ".2f"})
    >>> table.frame.shape
    (1, 1)
    """

    frame: pd.DataFrame
    """The rows; the index is shown when it has a name."""
    caption: str = ""
    """What it shows."""
    formats: Mapping[str, str] = field(default_factory=dict)
    """Format specification by column, e.g. ``{"IoU": ".3f"}``."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """One section of a report: text, then tables, then figures.

    The text is plain: a blank line ends a paragraph, lines that start with a dash make a list,
    lines indented by four spaces are code, and words between backticks are code too.

    Examples
    --------
    >>> Section(title="Flood", text="- one or `two`").title
    'Flood'
    """

    title: str
    """Heading, also in the table of contents."""
    text: str = ""
    """Plain text as above; HTML in it is shown, not obeyed."""
    figures: Sequence[Picture] = ()
    """Shown in order, after the tables."""
    tables: Sequence[Table] = ()
    """Shown in order, after the text."""


def write_report(
    path: str | os.PathLike[str],
    *,
    title: str,
    sections: Sequence[Section],
    lead: str = "",
    facts: Mapping[str, str] | None = None,
    simulated: bool = False,
) -> Path:
    """Write a report as one HTML file that needs nothing else.

    Parameters
    ----------
    path : path-like
        The file, replaced only when the new one is complete; its folder must exist.
    title : str
        Heading of the page.
    sections : sequence of Section
        What to say, in order.
    lead : str, optional
        The result in a few sentences, plain text as in `Section`.
    facts : mapping of str to str, optional
        A box of names and values beneath the lead.
    simulated : bool, default False
        Put a banner on the page and a mark on every caption: the data are simulated.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    DataError
        If there is no section, a title occurs twice, or a picture is not one.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     page = write_report(folder + "/a.html", title="A < B", sections=[Section(title="One")])
    ...     "<h1>A &lt; B</h1>" in page.read_text(encoding="utf-8")
    True
    """
    titles = [section.title for section in sections]
    if not titles or len(set(titles)) != len(titles):
        raise DataError(
            problem(
                expected="one or more sections with different titles",
                received=f"{titles}",
                do="give each section its own title",
            )
        )
    from xcontrast.version import __version__

    anchors = [f"s{k}" for k in range(1, len(titles) + 1)]
    figures = _Counter("Figure")
    tables = _Counter("Table")
    body = "\n".join(
        _section(section, anchor, figures, tables, simulated)
        for section, anchor in zip(sections, anchors, strict=True)
    )
    page = Template((files("xcontrast") / "report.html").read_text(encoding="utf-8")).substitute(
        title=re.sub(r"(\w+-\d+)", r'<span class="k">\1</span>', escape(title)),
        head_title=escape(f"{title} (simulated data)" if simulated else title),
        banner=_BANNER if simulated else "",
        lead=f'<div class="lead">{_prose(lead)}</div>' if lead else "",
        facts=_facts(facts or {}),
        contents="\n".join(
            f'<li><a href="#{anchor}">{escape(name)}</a></li>'
            for name, anchor in zip(titles, anchors, strict=True)
        ),
        body=body,
        footer=f"Written by xcontrast {__version__}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC.",
    )
    return _replace(Path(path), page)


_BANNER = (
    '<div class="banner" role="note"><strong>Simulated data.</strong> '
    "Every image, label and score on this page comes from a simulation with a known answer. "
    "None of it is a measurement of a real place.</div>"
)


class _Counter:
    def __init__(self, word: str) -> None:
        self.word = word
        self.n = 0

    def __call__(self) -> str:
        self.n += 1
        return f'<span class="no">{self.word} {self.n}.</span>'


def _replace(path: Path, page: str) -> Path:
    """Write beside the target, then rename: a broken run leaves no half page."""
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(page)
        Path(part).chmod(0o644)  # mkstemp makes it private, a report is to be read
        os.replace(part, path)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise
    return path


def _section(
    section: Section, anchor: str, figures: _Counter, tables: _Counter, simulated: bool
) -> str:
    mark = ' <span class="mark">simulated</span>' if simulated else ""
    parts = [
        f'<section id="{anchor}"><h2>{escape(section.title)}</h2>',
        _prose(section.text),
        *(_table(table, tables) for table in section.tables),
        *(_figure(picture, figures, mark) for picture in section.figures),
        "</section>",
    ]
    return "\n".join(part for part in parts if part)


def _figure(picture: Picture, counter: _Counter, mark: str) -> str:
    png = _png(picture.image)
    width, height = struct.unpack(">II", png[16:24])  # of the IHDR chunk, always the first
    broad = ' class="broad"' if width > BROAD else ""
    return (
        f'<figure><div class="wide" tabindex="0"><img width="{width}" height="{height}"'
        f'{broad} alt="{escape(picture.alt)}" '
        f'src="data:image/png;base64,{base64.b64encode(png).decode("ascii")}"></div>'
        f"<figcaption>{counter()} {_inline(picture.caption)}{mark}</figcaption></figure>"
    )


def _inline(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def _prose(text: str) -> str:
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


def _facts(facts: Mapping[str, str]) -> str:
    if not facts:
        return ""
    rows = "".join(
        f"<div><dt>{escape(str(k))}</dt><dd>{_inline(str(v))}</dd></div>" for k, v in facts.items()
    )
    return f'<dl class="facts">{rows}</dl>'


def _table(table: Table, counter: _Counter) -> str:
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
    caption = f"<caption>{counter()} {_inline(table.caption)}</caption>" if table.caption else ""
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


def _png(image: Any) -> bytes:
    """Encode a picture, and forget the figure that pyplot would otherwise keep open."""
    if not isinstance(image, bytes):
        figure = image.get_figure(root=True) if hasattr(image, "get_figure") else None
        figure = image if hasattr(image, "savefig") else figure
        if figure is None:
            raise DataError(
                problem(
                    expected="a matplotlib figure, axes, or the bytes of a PNG",
                    received=f"a {type(image).__name__}",
                    do="pass what the functions of xcontrast.plotting return",
                )
            )
        import matplotlib.pyplot as plt

        buffer = io.BytesIO()
        figure.savefig(
            buffer, format="png", dpi=DPI, facecolor="white", bbox_inches="tight", pad_inches=0.06
        )
        plt.close(figure)
        return buffer.getvalue()
    if not image.startswith(PNG_MAGIC) or len(image) < 24:
        raise DataError(
            problem(
                expected="the bytes of a PNG",
                received=f"{len(image)} bytes that begin with {image[:8]!r}",
                do="save the picture with format='png'",
            )
        )
    return image
