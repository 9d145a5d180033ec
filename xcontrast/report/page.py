"""One self-contained HTML page out of text, figures and tables.

Pictures are inside the file, styles too; no script, no request to anywhere. What is written knows
nothing of satellites: `xcontrast.demo` says what to show.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from importlib.resources import files
from itertools import count
from pathlib import Path
from string import Template

from xcontrast.errors import DataError, problem
from xcontrast.report.parts import Section
from xcontrast.report.rendering import render_facts, render_prose, render_section

__all__ = ["write_report"]

_BANNER = (
    '<div class="banner" role="note"><strong>Simulated data.</strong> '
    "Every image, label and score on this page comes from a simulation with a known answer. "
    "None of it is a measurement of a real place.</div>"
)


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
    figures, tables = count(1), count(1)
    body = "\n".join(
        render_section(section, anchor, figures, tables, simulated)
        for section, anchor in zip(sections, anchors, strict=True)
    )
    page = Template(
        (files("xcontrast.report") / "page.html").read_text(encoding="utf-8")
    ).substitute(
        title=re.sub(r"(\w+-\d+)", r'<span class="k">\1</span>', escape(title)),
        head_title=escape(f"{title} (simulated data)" if simulated else title),
        banner=_BANNER if simulated else "",
        lead=f'<div class="lead">{render_prose(lead)}</div>' if lead else "",
        facts=render_facts(facts or {}),
        contents="\n".join(
            f'<li><a href="#{anchor}">{escape(name)}</a></li>'
            for name, anchor in zip(titles, anchors, strict=True)
        ),
        body=body,
        footer=f"Written by xcontrast {__version__}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC.",
    )
    return _replace(Path(path), page)


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
