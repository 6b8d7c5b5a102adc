"""Every page of the built book in Chromium: both themes, a desk, two phones, a screen reader, keys, paper."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "book" / "_ext"))
from whole_book import CHROMIUM, FLAGS, HTML  # noqa: E402

playwright = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install -e .[test]")
base = pytest.importorskip(
    "axe_playwright_python.base", reason="no axe-playwright-python: pip install -e .[test]"
)
bs4 = pytest.importorskip("bs4")

WIDTHS = (1280, 390, 360)
FOUND = [path.relative_to(HTML).as_posix() for path in sorted(HTML.rglob("*.html"))]
SOURCES = [page for page in FOUND if page.startswith("_modules/")]  # all of one make
PAGES = [page for page in FOUND if not page.startswith(("_static/", "_modules/")) and page != "index.html"]
PAGES += sorted(SOURCES, key=len)[-1:]
CHAPTER = "book/01-introduction.html"

# What is wider than the window and lies in nothing that scrolls.
STICKS_OUT = """() => {
  const scrolls = e => e.tagName != "ARTICLE"
    && (["auto", "scroll"].includes(getComputedStyle(e).overflowX) || scrolls(e.parentElement));
  const wide = [...document.querySelectorAll("article *")].filter(e =>
    e.getBoundingClientRect().right > innerWidth + 1 && !scrolls(e.parentElement));
  const page = document.documentElement.scrollWidth > innerWidth ? ["the page itself"] : [];
  return page.concat(wide.map(e => e.outerHTML.slice(0, 120)));
}"""
OPEN_ALL = """() => {
  document.querySelectorAll("details").forEach(e => e.open = true);
  document.querySelectorAll(".toggle-hidden").forEach(e => e.classList.remove("toggle-hidden"));
  document.querySelectorAll("img").forEach(e => e.loading = "eager");
  return Promise.allSettled([...document.images].map(e => e.decode()));
}"""
BAD_IMAGES = "[...document.images].filter(e => !e.alt.trim() || !e.naturalWidth).map(e => e.outerHTML)"
CODE = """() => [...document.querySelectorAll("div.cell_input pre, div[class^=highlight-] pre")]
  .filter(e => !e.closest(".cell_output")).map(e => e.scrollWidth - e.clientWidth)"""
# Height of the smallest letters of each picture that has any: nine pixels where it is `--least` wide.
LETTERS = """() => [...document.querySelectorAll("article img")].filter(e => e.offsetParent).map(
  e => [parseFloat(e.style.getPropertyValue("--least")), e]).filter(([least]) => least).map(
  ([least, e]) => [9 * e.getBoundingClientRect().width / least, e.alt])"""
AXE = """async ([exclude, more]) => (await axe.run({exclude}, {preload: false, ...more})).violations.flatMap(
  rule => rule.nodes.map(node => `${rule.id}: ${node.html.slice(0, 200)}`))"""
FOCUS = """() => {
  const e = document.activeElement, style = getComputedStyle(e);
  const seen = style.outlineStyle != "none" && parseFloat(style.outlineWidth) >= 2;
  return [e.outerHTML.slice(0, 120), seen, !!e.closest(".math, math")];
}"""

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: install it (Debian: apt install chromium)"),
    pytest.mark.skipif(not PAGES, reason="no built book: run make book first"),
]
code_blocks: Counter[bool] = Counter()
"""How many are cut at a desk (True), and how many are not."""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    server = ThreadingHTTPServer(("localhost", 0), partial(Quiet, directory=str(HTML)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://localhost:{server.server_port}"
    server.shutdown()


@pytest.fixture(scope="module")
def context() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser.new_context(color_scheme="light", viewport={"width": WIDTHS[0], "height": 900})
        browser.close()


@pytest.fixture
def tab(context: Any) -> Iterator[Any]:
    tab = context.new_page()
    yield tab
    tab.close()


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_sound(tab: Any, address: str, page: str) -> None:
    faults: list[str] = []
    tab.on("pageerror", lambda error: faults.append(f"error: {error}"))
    # Chromium asks for favicon.ico on the page that only forwards to the first one.
    tab.on("console", lambda m: m.type == "error" and not m.location["url"].endswith("/favicon.ico")
           and faults.append(f"console: {m.text} {m.location['url']}"))  # fmt: skip
    tab.on("request", lambda r: r.url.startswith(("http", "ws")) and not r.url.startswith(address)
           and faults.append(f"request to another host: {r.url}"))  # fmt: skip
    tab.on("response", lambda r: r.status >= 400 and faults.append(f"{r.status}: {r.url}"))
    tab.goto(f"{address}/{page}", wait_until="load")
    tab.add_style_tag(content="* { transition: none !important }")  # no colour halfway between two themes
    tab.evaluate(OPEN_ALL)
    tab.evaluate(base.AXE_SCRIPT)
    faults += [f"image without text, or not found: {image}" for image in tab.evaluate(BAD_IMAGES)]
    code_blocks.update(room > 1 for room in tab.evaluate(CODE))
    for theme in ("light", "dark"):
        tab.emulate_media(color_scheme=theme)
        if tab.query_selector("article"):
            tab.wait_for_function("theme => document.documentElement.dataset.theme == theme", arg=theme)
        tab.set_viewport_size({"width": WIDTHS[0], "height": 900})
        rules = {"runOnly": ["color-contrast"]} if theme == "dark" else {}  # the rest is the same
        same = [] if page == CHAPTER else [["div.highlight pre"]]  # colours of code: one page tells
        same += [["dl.py"]]  # autodoc's own
        faults += [f"{theme}: {fault}" for fault in tab.evaluate(AXE, [same, rules])]
    for width in WIDTHS:
        tab.set_viewport_size({"width": width, "height": 900})
        tab.evaluate("() => new Promise(done => requestAnimationFrame(() => setTimeout(done, 50)))")
        faults += [f"wider than {width} px: {element}" for element in tab.evaluate(STICKS_OUT)]
    faults += [f"letters of {size:.1f} px: {alt}" for size, alt in tab.evaluate(LETTERS) if size < 8.95]
    assert not faults, "\n".join(faults)


def test_code_fits_the_column_of_a_desk() -> None:
    """After the pages: at most one block in twenty scrolls."""
    if not code_blocks:
        pytest.skip("no page was opened")
    assert code_blocks[True] <= 0.05 * code_blocks.total()


@pytest.mark.parametrize("page", [*PAGES, "index.html"])  # the last only forwards to the first
def test_a_page_is_html(page: str) -> None:
    """Programs and screen readers trip over a second main heading, an id twice, text where none may be."""
    text = (HTML / page).read_text(encoding="utf-8")
    soup = bs4.BeautifulSoup(text, "html.parser")
    assert text.lstrip().lower().startswith("<!doctype html>")
    assert len(soup.find_all("h1")) == len(soup.find_all("title")) == 1
    assert len(soup.find_all("meta", {"name": "viewport"})) == 1
    assert len(soup.find_all("meta", {"name": "description"})) == 1
    twice = [name for name, count in Counter(e["id"] for e in soup.find_all(id=True)).items() if count > 1]
    assert not twice
    assert not soup.select("summary p, summary div, p p, p div, span div, a a, button a")


def test_the_keyboard_is_seen_wherever_it_is_and_stops_at_no_formula(tab: Any, address: str) -> None:
    tab.goto(f"{address}/{CHAPTER}", wait_until="load")
    places = []
    while len(places) < 1000:
        tab.keyboard.press("Tab")
        place = tab.evaluate(FOCUS)
        if place[0].startswith("<body"):
            break
        places.append(place)
    assert len(places) > 30
    assert not [html for html, seen, formula in places if formula or not seen]


def test_paper_is_light_with_the_answers_open(tab: Any, address: str) -> None:
    tab.emulate_media(color_scheme="dark")
    tab.goto(f"{address}/{CHAPTER}", wait_until="load")
    hidden = (
        "() => document.querySelectorAll('article .toggle-hidden, article details:not([open], .hide)').length"
    )
    before, theme = tab.evaluate(hidden), "() => document.documentElement.dataset.theme"
    tab.evaluate("() => dispatchEvent(new Event('beforeprint'))")
    assert (tab.evaluate(theme), tab.evaluate(hidden)) == ("light", 0)
    tab.emulate_media(media="print")
    assert tab.evaluate(
        "() => [...document.querySelectorAll('article pre')].every(e => e.scrollWidth <= e.clientWidth + 1)"
    )
    tab.evaluate("() => dispatchEvent(new Event('afterprint'))")
    assert (tab.evaluate(theme), tab.evaluate(hidden)) == ("dark", before) and before > 0


@pytest.mark.parametrize("words", ["225", "225 ± 2", "resume"])
def test_the_search_finds(tab: Any, address: str, words: str) -> None:
    tab.goto(f"{address}/search.html?q={words}", wait_until="load")
    tab.wait_for_function("() => document.querySelector('.search-summary')?.textContent")
    found = tab.locator("#search-results li").count()
    assert found > 0
