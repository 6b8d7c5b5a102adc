"""A book of four small pages, printed to one file as the whole one is."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

BOOK = Path(__file__).parents[1] / "book"
sys.path.append(str(BOOK / "_ext"))
import whole_book  # noqa: E402

PAGE = """<html><head><title>{name}</title>
<link rel="stylesheet" href="../_static/custom.css?v=1"></head><body><button>menu</button>
<article class="bd-article"><section id="top">
<h1>{name} &amp; "more"<a class="headerlink" href="#top">#</a></h1>
<h2 id="sub">Sub</h2>{body}</section></article></body></html>"""
BODIES = {
    "first": 'See <a id="on" href="deep/second.html#sub">on</a>, <a id="gone" href="api.html">api</a>,'
    ' <a id="far" href="https://example.org/a.html">far</a>.<script>document.title = "run"</script>',
    "deep/second": '<img src="../../_images/dot.png" alt="dot"><a id="back" href="../first.html">back</a>'
    '<details class="hide"><summary>code</summary>drawing</details>'
    '<details class="dropdown"><summary>Solution</summary><b>seven</b></details>'
    + 2
    * '<p style="break-after: page">a page ends</p>',
    "deep/third": "<p>short</p>",
    "last": "<p>short</p>",
    "api": "<p>signatures</p>",
}
TOC = """root: book/first
parts:
- caption: Part one
  chapters:
  - file: book/deep/second
    sections: [{file: book/deep/third}]
  - file: book/last
  - file: book/api
"""


@pytest.fixture
def tab(chromium: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A tab, for a book in a folder of its own."""
    html = tmp_path / "_build" / "html"
    for folder in ("_static", "_images", "book/deep"):
        (html / folder).mkdir(parents=True)
    for name, body in BODIES.items():
        (html / "book" / f"{name}.html").write_text(PAGE.format(name=name, body=body), encoding="utf-8")
    shutil.copy(BOOK / "_static" / "custom.css", html / "_static")
    shutil.copy(BOOK / "_static" / "readme.png", html / "_static")
    shutil.copy(BOOK / "_static" / "readme.png", html / "_images" / "dot.png")
    (tmp_path / "_toc.yml").write_text(TOC, encoding="utf-8")
    for file in ("_config.yml", "CITATION.cff"):
        shutil.copy(BOOK.parent / file, tmp_path)
    monkeypatch.setattr(whole_book, "ROOT", tmp_path)
    monkeypatch.setattr(whole_book, "HTML", html)
    monkeypatch.setattr(whole_book, "PDF", tmp_path / "_build" / "pdf" / "book.pdf")
    tab = chromium.new_page(color_scheme="dark")
    yield tab
    tab.close()


def test_contents_have_the_numbers_of_the_pages(tab: Any) -> None:
    """Title and contents are pages 1 and 2; the second chapter ends two pages itself, its section runs on."""
    numbers = whole_book.print_pages(tab)
    expected = {"first": 3, "deep/second": 4, "deep/third": 6, "last": 7}
    assert {page: numbers[whole_book.name(f"book/{page}")] for page in expected} == expected
    listed = tab.eval_on_selector_all(".all-pages a", "all => all.map(a => [a.innerText, a.dataset.number])")
    assert listed == [[f'{page} & "more"', str(expected[page])] for page in expected]
    assert whole_book.PDF.read_bytes().count(b"/Type /Page\n") == 7


def test_paper_has_what_a_reader_of_paper_can_use(tab: Any) -> None:
    """Links lead into the file or out of the book, solutions are open, folded code and buttons are gone."""
    tab.goto(whole_book.assemble().as_uri())
    tab.emulate_media(media="print")
    href = "document.getElementById('book-{}').getAttribute('href')"
    links = [
        tab.evaluate(href.format(name))
        for name in ("first--on", "deep-second--back", "first--far", "first--gone")
    ]
    assert links == ["#book-deep-second--sub", "#book-first", "https://example.org/a.html", None]
    assert tab.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
    assert tab.get_by_text("seven").is_visible() and not tab.get_by_text("drawing").is_visible()
    assert not tab.get_by_text("menu").count() and not tab.get_by_text("signatures").count()
    assert tab.title() != "run"
    titles, parts = "section[id] > article > section > {}", "all => all.map(e => e.tagName).join(' ')"
    assert tab.eval_on_selector_all(titles.format(":first-child"), parts) == "H1 H1 H2 H1"
    assert tab.eval_on_selector_all(titles.format(":nth-child(2)"), parts) == "H2 H2 H3 H2"
    assert tab.evaluate("document.documentElement.dataset.theme") == "light"


def test_missing_fonts_are_noticed(tab: Any) -> None:
    """No font has the letters of planes 15 and 16."""
    assert tab.evaluate(whole_book.UNLIKE, "abcd")
    assert not tab.evaluate(whole_book.UNLIKE, "\U000f1234\U00101234")
