"""Every page of the built book in Chromium: both themes, a desk, two phones, a screen reader, keys, paper."""

from __future__ import annotations

import re
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
from whole_book import HTML  # noqa: E402

base = pytest.importorskip(
    "axe_playwright_python.base", reason="no axe-playwright-python: pip install -e .[test]"
)
bs4 = pytest.importorskip("bs4")

WIDTHS = (1280, 390, 360)
FOUND = [path.relative_to(HTML).as_posix() for path in sorted(HTML.rglob("*.html"))]
SOURCES = [page for page in FOUND if page.startswith("_modules/")]  # all of one make
PAGES = [page for page in FOUND if not page.startswith(("_static/", "_modules/")) and page != "index.html"]
PAGES += sorted(SOURCES, key=len)[-1:]
PIECES = [page for page in PAGES if 'data-live="' in (HTML / page).read_text(encoding="utf-8")]
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
# axe's rules on colours take ten times as long as all others together. They judge a text by what `style`
# lists; so they get one text of each style that no page had before.
COLOURS = ["color-contrast", "link-in-text-block"]
AXE = """async off => (await axe.run(document, {preload: false, resultTypes: ["violations"],
  rules: Object.fromEntries(off.map(id => [id, {enabled: false}]))
})).violations.flatMap(rule => rule.nodes.map(node => `${rule.id}: ${node.html.slice(0, 200)}`))"""
AXE_COLOURS = """async ([rules, known]) => {
  const grounds = new Map([[null, ["", 1]]]), texts = new Map();
  const ground = e => {
    if (!grounds.has(e)) {
      const own = getComputedStyle(e), colour = own.backgroundColor;
      const aside = ["absolute", "fixed"].includes(own.position);
      const paints = colour != "rgba(0, 0, 0, 0)" || own.backgroundImage != "none" || aside;
      const [below, opacity] = ground(e.parentElement), hides = colour.startsWith("rgb(");
      grounds.set(e, [(hides ? "" : below) + (paints ? `/${[colour, own.backgroundImage, aside]}` : ""),
        opacity * own.opacity]);
    }
    return grounds.get(e);
  };
  const holds = e => [...e.childNodes].some(n => n.nodeType == Node.TEXT_NODE && n.data.trim());
  const style = e => {
    const own = getComputedStyle(e), up = e.parentElement;
    const large = parseFloat(own.fontSize) >= (own.fontWeight >= 700 ? 18.66 : 24);
    const beside = e.tagName == "A" && holds(up) && getComputedStyle(up).color;
    return [own.color, large, own.textShadow, own.textDecorationLine, beside, ...ground(e)].join();
  };
  for (const e of document.body.querySelectorAll("*")) {
    if (!holds(e) || !e.checkVisibility({visibilityProperty: true})) continue;
    const name = style(e), parts = e.getElementsByTagName("*").length;
    if (!texts.has(name) || parts < texts.get(name).parts) texts.set(name, {e, parts});
  }
  known.forEach(name => texts.delete(name));
  if (!texts.size) return [[], []];
  const {violations} = await axe.run({include: [...texts.values()].map(({e}) => e)},
    {preload: false, resultTypes: ["violations"], runOnly: rules});
  const faults = violations.flatMap(rule => rule.nodes.map(node => `${rule.id}: ${node.html.slice(0, 200)}`));
  return [faults, faults.length ? [] : [...texts.keys()]];
}"""
DRAWN = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
FOCUS = """() => {
  const e = document.activeElement, style = getComputedStyle(e);
  const seen = style.outlineStyle != "none" && parseFloat(style.outlineWidth) >= 2;
  return [e.outerHTML.slice(0, 120), seen, !!e.closest(".math, math")];
}"""

pytestmark = pytest.mark.skipif(not PAGES, reason="no built book: run make book first")
code_blocks: Counter[bool] = Counter()
"""How many are cut at a desk (True), and how many are not."""
legible: dict[str, set[str]] = {"light": set(), "dark": set()}
"""Styles of text whose colours axe found right, in each theme."""


class Quiet(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # a connection serves many files

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    server = ThreadingHTTPServer(("localhost", 0), partial(Quiet, directory=str(HTML)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://localhost:{server.server_port}"
    server.shutdown()


@pytest.fixture(scope="module")
def context(chromium: Any) -> Iterator[Any]:
    """Where tabs have the files in common that they have loaded."""
    context = chromium.new_context(color_scheme="light", viewport={"width": WIDTHS[0], "height": 900})
    yield context
    context.close()


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
    # No colour halfway between two themes; and no shadows at edges, on which axe judges no text.
    tab.add_style_tag(content="* { background-image: none !important; transition: none !important }")
    tab.evaluate(OPEN_ALL)
    tab.evaluate(base.AXE_SCRIPT)
    faults += [f"image without text, or not found: {image}" for image in tab.evaluate(BAD_IMAGES)]
    code_blocks.update(room > 1 for room in tab.evaluate(CODE))
    faults += tab.evaluate(AXE, COLOURS)
    for theme in ("light", "dark"):
        tab.emulate_media(color_scheme=theme)
        if tab.query_selector("article"):
            tab.wait_for_function("theme => document.documentElement.dataset.theme == theme", arg=theme)
        found, styles = tab.evaluate(AXE_COLOURS, [COLOURS, sorted(legible[theme])])
        faults += [f"{theme}: {fault}" for fault in found]
        legible[theme].update(styles)
    for width in WIDTHS:
        tab.set_viewport_size({"width": width, "height": 900})
        tab.evaluate(DRAWN)
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
    assert not soup.select(
        "summary p, summary div, p p, p div, span div, a a, button a, pre div, figure style, dt dd"
    )


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


def test_a_page_opens_from_a_disk_with_the_font_of_its_formulas(tab: Any) -> None:
    faults: list[str] = []
    tab.on("console", lambda message: message.type == "error" and faults.append(message.text))
    tab.goto((HTML / CHAPTER).as_uri(), wait_until="load")
    tab.wait_for_function(
        "() => [...document.fonts].some(f => f.family.includes('STIX') && f.status == 'loaded')"
    )
    assert not faults


@pytest.mark.parametrize("words", ["225", "225 ± 2", "resume"])
def test_the_search_finds(tab: Any, address: str, words: str) -> None:
    tab.goto(f"{address}/search.html?q={words}", wait_until="load")
    tab.wait_for_function("() => document.querySelector('.search-summary')?.textContent")
    glass, field = (
        tab.locator(f"main form {part}").bounding_box() for part in (".fa-magnifying-glass", "input")
    )
    inset = tab.locator("main form input").evaluate("e => parseFloat(getComputedStyle(e).paddingLeft)")
    assert glass["x"] + glass["width"] <= field["x"] + inset  # the letters begin right of it
    found = tab.locator("#search-results li").count()
    assert found > 0


@pytest.mark.parametrize("page", PIECES)
def test_on_paper_and_without_scripts_a_piece_is_its_still_picture(
    chromium: Any, tab: Any, address: str, page: str
) -> None:
    def seen(tab: Any) -> tuple[bool, int]:
        place = tab.locator("figure.live")
        controls = place.locator(":is(button, input):visible")
        return place.locator(".live-still img").is_visible(), controls.count()

    with chromium.new_page(java_script_enabled=False) as plain:
        plain.goto(f"{address}/{page}", wait_until="load")
        assert seen(plain) == (True, 0)
    tab.goto(f"{address}/{page}", wait_until="load")
    assert seen(tab)[1] > 0
    tab.emulate_media(media="print")
    assert seen(tab) == (True, 0)


def test_claims_are_chosen_by_verdict_section_and_words(tab: Any, address: str) -> None:
    soup = bs4.BeautifulSoup((HTML / "book/claims.html").read_text(encoding="utf-8"), "html.parser")
    claims = soup.select("table.claims tbody tr")
    tab.goto(f"{address}/book/claims.html", wait_until="load")
    said = tab.locator(".claims-filter output")

    def seen() -> list[str]:
        found = tab.locator("table.claims tbody tr:visible").evaluate_all("rows => rows.map(row => row.id)")
        assert said.inner_text() == f"{len(found)} of {len(claims)} shown"
        return found

    assert seen() == [row["id"] for row in claims]
    tab.locator("ul.tally a[href$='#agrees']").click()
    agree = {row["id"] for row in claims if row.select(".verdict-kind.agrees")}
    assert set(seen()) == agree and 0 < len(agree) < len(claims)
    tab.get_by_label("Section").select_option("section-5")
    fifth = {row["id"] for row in claims if "section-5" in row["class"]}
    assert set(seen()) == agree & fifth
    tab.get_by_label("With the words").fill("PARZEN window")
    named = {row["id"] for row in claims if {"parzen", "window"} <= set(row.get_text().lower().split())}
    assert named & agree & fifth <= set(seen()) < agree & fifth
    tab.get_by_role("button", name="Show all").press("Enter")
    tab.wait_for_function(
        f"document.querySelector('.claims-filter output').value.startsWith('{len(claims)} ')"
    )
    assert len(seen()) == len(claims)


def test_commands_are_copied_as_they_are_to_be_typed(tab: Any, address: str) -> None:
    tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
    tab.goto(f"{address}/book/run-and-train.html", wait_until="load")
    source = (ROOT / "book" / "run-and-train.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```sh\n(.*?)\n```$", source, re.MULTILINE | re.DOTALL)
    places = tab.locator("div.highlight-sh, div.highlight-bash")
    assert places.count() == len(blocks) > 3
    for number, commands in enumerate(blocks):
        places.nth(number).hover()
        places.nth(number).get_by_role("button").click()
        assert tab.evaluate("navigator.clipboard.readText()") == commands
