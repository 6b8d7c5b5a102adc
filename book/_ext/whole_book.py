"""The built book as one PDF, printed by Chromium. Run: python book/_ext/whole_book.py

A title page, the contents with page numbers, then all pages in their order, each with its title at the head.
"""

from __future__ import annotations

import posixpath
import re
import shutil
import sys
from collections.abc import Iterator
from datetime import date
from html import escape, unescape
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
HTML = ROOT / "_build" / "html"
PDF = ROOT / "_build" / "pdf" / "generative-adversarial-nets-executed.pdf"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync",
]  # fmt: skip
ON_SCREEN = {"book/api"}
"""Pages that paper does not have: the reference of the package, a quarter as long as all the rest."""
UNSEEN = re.compile(r"<script\b.*?</script>|<dialog\b.*?</dialog>", re.DOTALL)
TITLE = re.compile(r"<h1[^>]*>(.*?)<(?:a class=\"headerlink\"|/h1)", re.DOTALL)
FRONT = """<section class="front"><p class="title">{title}</p><p>{abstract}</p>
<img src="../html/_static/readme.png" alt="Data, generator and discriminator at four moments of the game: in
the end both densities are one, and the discriminator says 1/2 everywhere.">
<p>{author}<br>Version {version}, printed on {today}<br>{license}</p>
<p class="quiet">On screen the book also has the code that only draws and makes tables, the reference of the
package, and pieces to play with, which stand still here.</p></section>"""
HEAD = '@page {name} {{ @top-left {{ color: #555; content: "{title}"; font: 8pt sans-serif; }} }}\n'
LETTERS = "한글中文"
UNLIKE = """letters => {
  const pen = new OffscreenCanvas(40, 40).getContext("2d", {willReadFrequently: true});
  pen.font = "30px sans-serif";
  const drawn = new Set([...letters].map(letter => {
    pen.clearRect(0, 0, 40, 40);
    pen.fillText(letter, 2, 32);
    return pen.getImageData(0, 0, 40, 40).data.join();
  }));
  return drawn.size == [...letters].length;
}"""
"""Whether no two of some letters are drawn the same: those that no font has are the same box."""

NUMBER = """numbers => document.querySelectorAll(".all-pages a").forEach(
  link => link.dataset.number = numbers[link.hash.slice(1)] ?? "")"""


def reading_order(entry: Any, depth: int = 0) -> Iterator[tuple[str, int]]:
    """The pages that a table of contents, or a part of it, lists, each with its depth."""
    if isinstance(entry, list):
        for part in entry:
            yield from reading_order(part, depth)
    elif isinstance(entry, dict):
        for key in ("root", "file"):
            if key in entry:
                yield entry[key], depth
        for key in ("parts", "chapters"):
            yield from reading_order(entry.get(key, []), depth)
        yield from reading_order(entry.get("sections", []), depth + 1)


def name(page: str, anchor: str = "") -> str:
    """The name of a place in the book, unique in all of it."""
    return page.replace("/", "-") + (f"--{anchor}" if anchor else "")


def article(page: str) -> str:
    """What a page shows, as it was built."""
    text = (HTML / f"{page}.html").read_text(encoding="utf-8")
    return text[text.index("<article") : text.rindex("</article>")] + "</article>"


def title(page: str) -> str:
    """The heading of a page, as HTML."""
    found = TITLE.search(article(page))
    assert found, f"{page} has no heading"
    return found[1].strip()


def words(html: str) -> str:
    """The text of a piece of HTML, as a string of CSS has it."""
    return re.sub(r'(["\\\\])', r"\\\1", unescape(re.sub("<.*?>", "", html)))


def chapter(page: str, depth: int, pages: dict[str, int]) -> str:
    """What a page shows, its links and pictures as seen from the folder of the PDF, its boxes open.

    The headings of a section are a step below those of its chapter.
    """
    folder = posixpath.dirname(page)

    def link(match: re.Match[str]) -> str:
        path, _, anchor = match[1].partition("#")
        target = posixpath.normpath(posixpath.join(folder, path)).removesuffix(".html") if path else page
        if re.match(r"[a-z]+:", path):
            return match[0]
        return (
            f'href="#{name(target, anchor)}"' if target in pages else ""
        )  # beside the book there are sources, say

    def picture(match: re.Match[str]) -> str:
        return match[0] if match[1].startswith("data:") else f'src="../html/{folder}/{match[1]}"'

    shown = UNSEEN.sub("", article(page))
    shown = re.sub(r'\bhref="([^"]*)"', link, shown)
    shown = re.sub(r'\bsrc="([^"]*)"', picture, shown)
    shown = re.sub(r'\bid="([^"]*)"', lambda m: f'id="{name(page, m[1])}"', shown)
    shown = re.sub(r"<details(?![^>]*\bhide\b)", "<details open", shown).replace('loading="lazy" ', "")
    shown = re.sub(r'(class="[^"]*)\bdropdown\b', r"\1", shown)
    shown = re.sub(r"<(/?)h([1-5])\b", lambda m: f"<{m[1]}h{int(m[2]) + depth}", shown)
    return f'<section id="{name(page)}"{" class=deep" * bool(depth)}>{shown}</section>'


def contents(toc: Any, pages: dict[str, int]) -> str:
    """The parts, chapters and sections, each with room for its page number."""
    lines, captions = [], {part["chapters"][0]["file"]: part["caption"] for part in toc["parts"]}
    for page, depth in pages.items():
        if page in captions:
            lines.append(f'<p class="caption">{captions[page]}</p>')
        kind = "section" if depth else "chapter"
        lines.append(f'<p class="{kind}"><a href="#{name(page)}">{title(page)}</a></p>')
    return f'<nav class="all-pages"><h1>Contents</h1>{"".join(lines)}</nav>'


def assemble() -> Path:
    """Write the book as a single page beside the PDF."""
    toc, config, cff = (
        yaml.safe_load((ROOT / file).read_text(encoding="utf-8"))
        for file in ("_toc.yml", "_config.yml", "CITATION.cff")
    )
    pages = {page: depth for page, depth in reading_order(toc) if page not in ON_SCREEN}
    first = (HTML / f"{toc['root']}.html").read_text(encoding="utf-8")
    styles = re.findall(r'<link [^>]*?href="\.\./(_static/[^"]*\.css[^"]*)"', first)
    styles = [*(f"../html/{style}" for style in styles), Path(__file__).with_suffix(".css").as_uri()]
    sheets = "".join(f'<link rel="stylesheet" href="{style}">' for style in styles)
    chapters = (page for page, depth in pages.items() if not depth)
    heads = "".join(HEAD.format(name=name(page), title=words(title(page))) for page in chapters)
    told = {**cff, "title": config["title"], "author": config["author"], "today": f"{date.today():%d %B %Y}"}
    front = FRONT.format(**{key: escape(str(value)) for key, value in told.items()})
    body = "\n".join(
        (f'</div><div style="page: {name(page)}">' if not depth else "") + chapter(page, depth, pages)
        for page, depth in pages.items()
    )
    head = f'<meta charset="utf-8"><title>{escape(config["title"])}</title>{sheets}<style>{heads}</style>'
    PDF.parent.mkdir(parents=True, exist_ok=True)
    whole = PDF.with_suffix(".html")
    whole.write_text(
        f'<!DOCTYPE html><html lang="en" data-theme="light"><head>{head}</head><body>'
        '<main class="bd-main"><div class="bd-content"><div class="bd-article-container">'
        f'<div class="bd-article">{front}{contents(toc, pages)}{body}</div></div></div></main></body></html>',
        encoding="utf-8",
    )
    return whole


def page_numbers(pdf: bytes) -> dict[str, int]:
    """The page of each place that a link leads to. Chromium writes the pages and the places in plain text."""
    sheets = re.findall(rb"\n(\d+) 0 obj\n<</Type /Page\n", pdf)
    numbers = {sheet: number for number, sheet in enumerate(sheets, 1)}
    places = re.findall(rb"/([\w.-]+) \[(\d+) 0 R /XYZ", pdf)
    return {place.decode(): numbers[sheet] for place, sheet in places}


def print_pages(tab: Any) -> dict[str, int]:
    """Print the book, and once more, now that its contents know the page numbers, which are returned."""
    tab.set_default_timeout(600_000)
    tab.goto(assemble().as_uri(), wait_until="load")
    if not tab.evaluate(UNLIKE, LETTERS):
        print("no font has Korean and Chinese letters: install one (Debian: apt install fonts-noto-cjk)")
    numbers: dict[str, int] = {}
    for _ in range(2):
        tab.evaluate(NUMBER, numbers)
        tab.pdf(path=PDF, outline=True, tagged=True, prefer_css_page_size=True, print_background=True)
        numbers = page_numbers(PDF.read_bytes())
    return numbers


def print_book() -> None:
    """Open a browser and print."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        print_pages(browser.new_page(color_scheme="light"))
        browser.close()


if __name__ == "__main__":
    lacks = None if HTML.exists() else f"no built book in {HTML}: run make book first"
    if CHROMIUM is None:
        lacks = "no Chromium to print with: install it (Debian: apt install chromium)"
    if lacks:
        print(lacks, file=sys.stderr)
        sys.exit(2)
    print_book()
    print(f"{PDF}: {PDF.stat().st_size / 1e6:.1f} MB")
