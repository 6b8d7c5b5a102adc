"""What other programs are told of a page: a description, a card for its links, a way back from wrong ones.

Descriptions are the first sentences of the pages. The address of the site follows from `repository: url`
in `_config.yml` (GitHub serves the pages of owner/name at owner.github.io/name), or is `html: baseurl`;
without one there is no picture on the card, and no list of pages for search engines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config

CARD = "_static/readme.png"
CARD_SAYS = "Figure 1 of the paper, measured: the generator's density moves onto the data's"
LONGEST = 200
"""Characters of a description."""
LOST = """<h1>There is no such page</h1>
<p>It may have moved. <a href="{first}">Start at the first page</a>,
or <a href="search.html">search the book</a>.</p>
"""


def find_address(app: Sphinx, config: Config) -> None:
    """Derive the address of the pages from that of the repository, unless it is set."""
    url = config.html_theme_options.get("repository_url", "").rstrip("/")
    parts = re.fullmatch(r"https://github\.com/([\w-]+)/([\w.-]+)", url)
    if parts and not config.html_baseurl:
        config["html_baseurl"] = f"https://{parts[1].lower()}.github.io/{parts[2]}/"


def describe(doctree: nodes.document | None) -> str:
    """The first sentences of a page's own text, in one line, as many as have room; the first in any case."""
    paragraphs = doctree.findall(nodes.paragraph) if doctree else ()
    texts = (
        p.astext()
        for p in paragraphs
        if isinstance(p.parent, nodes.section) and not list(p.findall(nodes.math))
    )
    sentences = re.split(r"(?<=[.!?:]) ", " ".join(next(texts, "").split()))
    shown = sentences[0]
    for sentence in sentences[1:]:
        if len(shown) + 1 + len(sentence) > LONGEST:
            break
        shown += f" {sentence}"
    return shown if len(shown) <= LONGEST else shown[:LONGEST].rsplit(" ", 1)[0] + " …"


def add_head(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Put description and card into the head of a page."""
    config, first = app.config, pagename == app.config.root_doc
    book = config.html_title or config.project
    title = re.sub(r"<[^>]*>", "", context.get("title", book))
    description = describe(doctree) or f"{title}: a page of the book {book}."
    card = {
        "og:type": "website" if first else "article",
        "og:title": title,
        "og:site_name": book,
        "og:description": description,
    }
    address = config.html_baseurl
    if address:
        card |= {
            "og:url": f"{address}{pagename}.html",
            "og:image": f"{address}{CARD}",
            "og:image:alt": CARD_SAYS,
        }
    tags = [f'<meta property="{name}" content="{escape(text)}">' for name, text in card.items()]
    tags.append(f'<meta name="description" content="{escape(description)}">')
    if address:
        tags.append('<meta name="twitter:card" content="summary_large_image">')
    if address and pagename == "404":  # served for a wrong address in whatever folder
        tags.insert(0, f'<base href="{address}">')
    context["metatags"] = context.get("metatags", "") + "\n".join(["", *tags])


def lost(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    """The page for an address that is none."""
    yield (
        "404",
        {"title": "No such page", "body": LOST.format(first=f"{app.config.root_doc}.html")},
        "page.html",
    )


def list_pages(app: Sphinx, error: Exception | None) -> None:
    """Tell search engines which pages there are."""
    address = app.config.html_baseurl
    if error or not address or app.builder.name != "html":
        return
    places = "".join(f"<url><loc>{address}{page}.html</loc></url>\n" for page in sorted(app.env.found_docs))
    space = "http://www.sitemaps.org/schemas/sitemap/0.9"
    sitemap = f'<?xml version="1.0" encoding="utf-8"?>\n<urlset xmlns="{space}">\n{places}</urlset>\n'
    Path(app.outdir, "sitemap.xml").write_text(sitemap, encoding="utf-8")
    Path(app.outdir, "robots.txt").write_text(
        f"User-agent: *\nSitemap: {address}sitemap.xml\n", encoding="utf-8"
    )


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the heads, the page and the list."""
    app.connect("config-inited", find_address)
    app.connect("html-page-context", add_head)
    app.connect("html-collect-pages", lost)
    app.connect("build-finished", list_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
