"""Every page of the built book in Chromium: both themes, a desk and two phones."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install -e .[test]")

HTML = Path(__file__).parents[1] / "_build" / "html"
WIDTHS = (1280, 390, 360)
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync",
]  # fmt: skip
FOUND = [path.relative_to(HTML).as_posix() for path in sorted(HTML.rglob("*.html"))]
SOURCES = [page for page in FOUND if page.startswith("_modules/")]  # all of one make
PAGES = [page for page in FOUND if not page.startswith(("_static/", "_modules/"))]
PAGES += sorted(SOURCES, key=len)[-1:]

# What is wider than the window and lies in nothing that scrolls.
STICKS_OUT = """() => {
  const scrolls = e => e.tagName != "ARTICLE"
    && (["auto", "scroll"].includes(getComputedStyle(e).overflowX) || scrolls(e.parentElement));
  const wide = [...document.querySelectorAll("article *")].filter(e =>
    e.getBoundingClientRect().right > innerWidth + 1
    && !e.closest("mjx-assistive-mml") && !scrolls(e.parentElement));
  const page = document.documentElement.scrollWidth > innerWidth ? ["the page itself"] : [];
  return page.concat(wide.map(e => e.outerHTML.slice(0, 120)));
}"""
OPEN_ALL = """() => {
  document.querySelectorAll("details").forEach(e => e.open = true);
  document.querySelectorAll(".toggle-hidden").forEach(e => e.classList.remove("toggle-hidden"));
}"""
BAD_IMAGES = "[...document.images].filter(e => !e.alt.trim() || !e.naturalWidth).map(e => e.outerHTML)"
BAD_FORMULAS = """() => [...document.querySelectorAll("mjx-merror, mjx-mtext[style*=red]")].map(
  e => e.closest("mjx-container").textContent)"""

pytestmark = [
    pytest.mark.skipif(BROWSER is None, reason="no Chromium: install it (Debian: apt install chromium)"),
    pytest.mark.skipif(not PAGES, reason="no built book: run make book first"),
]


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
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=BROWSER, args=FLAGS)
        yield browser
        browser.close()


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_sound(browser: Any, address: str, page: str) -> None:
    tab = browser.new_page(color_scheme="light", viewport={"width": WIDTHS[0], "height": 900})
    faults: list[str] = []
    tab.on("pageerror", lambda error: faults.append(f"error: {error}"))
    # Chromium asks for favicon.ico on the page that only forwards to the first one.
    tab.on("console", lambda m: m.type == "error" and not m.location["url"].endswith("/favicon.ico")
           and faults.append(f"console: {m.text} {m.location['url']}"))  # fmt: skip
    tab.on("request", lambda r: r.url.startswith(("http", "ws")) and not r.url.startswith(address)
           and faults.append(f"request to another host: {r.url}"))  # fmt: skip
    tab.on("response", lambda r: r.status >= 400 and faults.append(f"{r.status}: {r.url}"))
    tab.goto(f"{address}/{page}", wait_until="networkidle")
    tab.evaluate("() => window.MathJax?.startup?.promise")
    tab.evaluate(OPEN_ALL)
    for theme in ("light", "dark"):
        tab.emulate_media(color_scheme=theme)
        if tab.query_selector("article"):
            tab.wait_for_function("theme => document.documentElement.dataset.theme == theme", arg=theme)
        for width in WIDTHS:
            tab.set_viewport_size({"width": width, "height": 900})
            tab.evaluate("() => new Promise(done => requestAnimationFrame(() => setTimeout(done, 50)))")
            wide = tab.evaluate(STICKS_OUT)
            faults += [f"{theme}: wider than {width} px: {element}" for element in wide]
        bad = tab.evaluate(BAD_IMAGES)
        faults += [f"{theme}: image without text, or not found: {image}" for image in bad]
    faults += [f"formula: {formula}" for formula in tab.evaluate(BAD_FORMULAS)]
    tab.close()
    assert not faults, "\n".join(faults)
