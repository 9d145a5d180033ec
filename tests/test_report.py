import base64
import io
import re
from html.parser import HTMLParser

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from xcontrast.errors import DataError
from xcontrast.report import Picture, Section, Table, write_report


@pytest.fixture(autouse=True)
def agg():
    plt.switch_backend("agg")
    yield
    plt.close("all")


class Page(HTMLParser):
    """Tags with their attributes, and a check that every opened tag is closed in order."""

    VOID = frozenset({"meta", "img", "br", "hr", "link", "input"})

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.words = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


def write(tmp_path, *sections, **options):
    path = write_report(tmp_path / "r.html", title="A report", sections=sections, **options)
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == []
    return text, page


def picture():
    ax = plt.subplots(figsize=(3, 2))[1]
    ax.plot([0, 1])
    return ax


def test_page_stands_alone(tmp_path):
    text, page = write(
        tmp_path,
        Section(
            title="One",
            figures=[Picture(image=picture(), caption="a line", alt="a line that rises")],
        ),
    )
    assert page.all("script") == page.all("link") == []
    sources = [attrs[k] for _, attrs in page.tags for k in ("src", "href") if k in attrs]
    assert all(source.startswith(("data:image/png;base64,", "#")) for source in sources)
    assert not re.search(r"url\(|@import|https?://", text)
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text


def test_figures_are_png_of_their_size_with_alt_and_number_and_are_closed(tmp_path):
    before = plt.get_fignums()
    stored = io.BytesIO()
    plt.imsave(stored, np.zeros((4, 900, 3)), format="png")
    text, page = write(
        tmp_path,
        Section(title="One", figures=[Picture(image=picture(), caption="first", alt="'a' < b")]),
        Section(
            title="Two",
            figures=[
                Picture(image=picture().figure, caption="second", alt="s"),
                Picture(image=stored.getvalue(), caption="third", alt="t"),
            ],
        ),
    )
    assert plt.get_fignums() == before
    images = page.all("img")
    assert [image["alt"] for image in images] == ["'a' < b", "s", "t"]
    for image in images:
        png = base64.b64decode(image["src"].split(",")[1])
        shape = plt.imread(io.BytesIO(png)).shape
        assert (int(image["height"]), int(image["width"])) == shape[:2]
    assert [image.get("class") for image in images] == [None, None, "broad"]
    assert re.findall(r"Figure \d", text) == ["Figure 1", "Figure 2", "Figure 3"]
    assert int(images[0]["width"]) <= 3.3 * 110


def test_everything_is_escaped(tmp_path):
    nasty = "<script>alert('&')</script> $body ${x}"
    frame = pd.DataFrame({"a": [nasty]}, index=pd.Index([nasty], name=nasty))
    _, page = write(
        tmp_path,
        Section(
            title=nasty,
            text=f"{nasty}\n\n- {nasty}\n\n    {nasty}",
            tables=[Table(frame=frame, caption=nasty)],
            figures=[Picture(image=picture(), caption=nasty, alt=nasty + '"')],
        ),
        lead=nasty,
        facts={nasty: nasty},
    )
    assert page.all("script") == []
    assert page.all("img")[0]["alt"] == nasty + '"'
    # heading, contents, paragraph, list, code, a header, two cells, two captions, lead, fact twice
    assert "".join(page.words).count(nasty) == 13


def test_contents_lead_to_their_sections(tmp_path):
    _, page = write(tmp_path, Section(title="One"), Section(title="Two & a half"))
    anchors = [attrs["href"][1:] for attrs in page.all("a")]
    assert anchors == [attrs["id"] for attrs in page.all("section")]
    assert len(anchors) == 2


def test_prose_knows_paragraphs_lists_and_code(tmp_path):
    text, page = write(
        tmp_path,
        Section(
            title="One",
            text="""
Call `embed`
now.

- a
- b

    import xcontrast as xc

    if True:
        xc.open_cube()

After.""",
        ),
    )
    assert "<p>Call <code>embed</code> now.</p>" in text
    assert "<ul><li>a</li><li>b</li></ul>" in text
    assert "import xcontrast as xc\n\nif True:\n    xc.open_cube()</code>" in text
    assert "<p>After.</p>" in text
    assert len(page.all("pre")) == 1


def test_tables_format_numbers_and_show_a_named_index(tmp_path):
    frame = pd.DataFrame(
        {
            "IoU": [0.71349, np.nan],
            "pairs": [1204, 3],
            "first": pd.to_datetime(["2023-05-01", None]),
            "x (m)": [1.23456789, 2.0],
        },
        index=pd.Index(["pretrained", "random"], name="method"),
    )
    text, page = write(
        tmp_path,
        Section(title="One", tables=[Table(frame=frame, caption="Scores", formats={"IoU": ".3f"})]),
    )
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", text)
    assert cells == [
        "pretrained", "0.713", "1204", "2023-05-01", "1.235",
        "random", "–", "3", "–", "2",
    ]  # fmt: skip
    assert [attrs["scope"] for attrs in page.all("th")] == ["col"] * 5
    assert "Table 1.</span> Scores" in text
    # Without a name the index is only row numbers, and stays out.
    text, page = write(
        tmp_path, Section(title="One", tables=[Table(frame=frame.reset_index(drop=True))])
    )
    assert len(page.all("th")) == 4
    assert "Table 1" not in text


def test_simulated_shows_at_the_top_in_the_title_and_on_each_figure(tmp_path):
    sections = [Section(title="One", figures=[Picture(image=picture(), caption="c", alt="a")])]
    text, page = write(tmp_path, *sections, simulated=True)
    assert "A report (simulated data)</title>" in text
    assert text.index('class="banner"') < text.index("<main>")
    assert len([a for a in page.all("span") if a.get("class") == "mark"]) == 1
    text, _ = write(
        tmp_path, Section(title="One", figures=[Picture(image=picture(), caption="c", alt="a")])
    )
    assert "simulated" not in text.lower()


def test_a_broken_run_leaves_the_old_page_and_no_parts(tmp_path):
    path = tmp_path / "r.html"
    path.write_text("old")
    bad = Section(title="One", figures=[Picture(image=b"GIF89a", caption="c", alt="a")])
    with pytest.raises(DataError, match=r"Expected the bytes of a PNG.*GIF89a.*format='png'"):
        write_report(path, title="t", sections=[bad])
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["r.html"]


@pytest.mark.parametrize("sections", [[], [Section(title="A"), Section(title="A")]])
def test_sections_are_needed_and_differ(tmp_path, sections):
    with pytest.raises(DataError, match=r"Expected one or more sections with different titles"):
        write_report(tmp_path / "r.html", title="t", sections=sections)


def test_what_is_no_picture_is_refused(tmp_path):
    bad = Section(title="One", figures=[Picture(image="a.png", caption="c", alt="a")])
    with pytest.raises(DataError, match=r"Expected a matplotlib figure.*received a str"):
        write_report(tmp_path / "r.html", title="t", sections=[bad])
