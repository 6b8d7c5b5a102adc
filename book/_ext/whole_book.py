"""The built book as one PDF: its pages in one, printed by Chromium. Run: python book/_ext/whole_book.py"""

from __future__ import annotations

import posixpath
import re
import shutil
import sys
from collections.abc import Iterator
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
FOOT = """<div style="font: 8px sans-serif; color: #555; width: 100%; text-align: center">
<span class="pageNumber"></span> / <span class="totalPages"></span></div>"""
UNSEEN = re.compile(r"<script\b.*?</script>|<dialog\b.*?</dialog>", re.DOTALL)


def reading_order(entry: Any) -> Iterator[str]:
    """The pages that a table of contents, or a part of it, lists."""
    if isinstance(entry, list):
        for part in entry:
            yield from reading_order(part)
    elif isinstance(entry, dict):
        for key in ("root", "file"):
            if key in entry:
                yield entry[key]
        for key in ("parts", "chapters", "sections"):
            yield from reading_order(entry.get(key, []))


def name(page: str, anchor: str = "") -> str:
    """The name of a place in the book, unique in all of it."""
    return page.replace("/", "-") + (f"--{anchor}" if anchor else "")


def chapter(page: str, pages: list[str]) -> str:
    """What a page shows, its links and pictures as seen from the folder of the PDF, its boxes open."""
    text = (HTML / f"{page}.html").read_text(encoding="utf-8")
    start, end = text.index("<article"), text.rindex("</article>")
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

    shown = UNSEEN.sub("", text[start:end])
    shown = re.sub(r'\bhref="([^"]*)"', link, shown)
    shown = re.sub(r'\bsrc="([^"]*)"', picture, shown)
    shown = re.sub(r'\bid="([^"]*)"', lambda m: f'id="{name(page, m[1])}"', shown)
    shown = re.sub(r"<details(?![^>]*\bhide\b)", "<details open", shown).replace('loading="lazy" ', "")
    shown = re.sub(r'(class="[^"]*)\bdropdown\b', r"\1", shown)
    return f'<section id="{name(page)}" style="break-before: page">{shown}</article></section>'


def assemble() -> Path:
    """Write the book as a single page beside the PDF."""
    pages = list(reading_order(yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))))
    first = (HTML / f"{pages[0]}.html").read_text(encoding="utf-8")
    styles = re.findall(r'<link [^>]*?href="\.\./(_static/[^"]*\.css[^"]*)"', first)
    title = re.search(r"<title>(.*?)</title>", first)
    sheets = "".join(f'<link rel="stylesheet" href="../html/{style}">' for style in styles)
    body = "\n".join(chapter(page, pages) for page in pages)
    head = f'<meta charset="utf-8"><title>{title[1] if title else ""}</title>{sheets}'
    PDF.parent.mkdir(parents=True, exist_ok=True)
    whole = PDF.with_suffix(".html")
    whole.write_text(
        f'<!DOCTYPE html><html lang="en" data-theme="light"><head>{head}</head><body>'
        '<main class="bd-main"><div class="bd-content"><div class="bd-article-container">'
        f"{body}</div></div></main></body></html>",
        encoding="utf-8",
    )
    return whole


def print_book() -> None:
    """Assemble the book and print it."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        tab = browser.new_page(color_scheme="light")
        tab.set_default_timeout(600_000)
        tab.goto(assemble().as_uri(), wait_until="load")
        tab.pdf(
            path=PDF, format="A4", outline=True, tagged=True, prefer_css_page_size=True,
            print_background=True,
            display_header_footer=True, header_template="<span></span>", footer_template=FOOT,
        )  # fmt: skip
        browser.close()


if __name__ == "__main__":
    if CHROMIUM is None:
        sys.exit("no Chromium to print with: install it (Debian: apt install chromium)")
    if not HTML.exists():
        sys.exit(f"no built book in {HTML}: run make book first")
    print_book()
    print(f"{PDF}: {PDF.stat().st_size / 1e6:.1f} MB")
