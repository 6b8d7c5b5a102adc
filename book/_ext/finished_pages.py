"""What the theme and its parts leave on a written page, put in order.

- FontAwesome's script, 1.5 MB before the first word, goes: the theme's style sheet draws the same icons.
- HTML that is not valid, or that a screen reader stumbles over, is mended: repeated ids, paragraphs in
  a summary, a second main heading, names that say nothing or something else than what is seen.
- Signatures lose the spans, one around each word and each comma, that no style sheet names (0.7 MB on the
  package's page), and the lists in them that have no terms.
- Pictures have their size, so that nothing moves when they come, and come when they are near. One with
  letters in it also says how narrow it can be drawn (`--least`) before the smallest are below nine pixels.
- The first page of all, which only forwards to the book's, is a page too.
"""

from __future__ import annotations

import re
from functools import cache
from html import escape
from pathlib import Path
from typing import Any, cast

from page_styles import linked_once
from PIL import Image
from sphinx.application import Sphinx
from sphinx.builders.html import StandaloneHTMLBuilder

THEME = (
    '(mode => ["light", "dark"].includes(mode) ? mode : matchMedia("(prefers-color-scheme: dark)").matches '
    '? "dark" : "light")(localStorage.getItem("mode"))'
)
"""Which of the two it is, before the first word is drawn: told later, all get their colours again."""
MENDED = {
    r'\s*<!-- So that users can add custom icons -->\s*<script src="[^"]*fontawesome\.js[^"]*"></script>': "",
    r'(dataset\.theme = )localStorage[^;]*;': rf"\1{THEME};",
    r'<div id="jb-print-docs-body".*?(?=<div id="searchbox">)': "",  # title and contents once more, for paper
    r' id="(?:exercise|solution|proof)-content"': "",
    r'(<button class="btn search-button-field [^>]*?) aria-label="Search"': r"\1",  # it reads "Search Ctrl+K"
    r'\s*<!-- Pre-loaded scripts.*?-->(?:\s*<link rel="preload" as="script"[^>]*>)+': "",  # style first
    ' autocorrect="off"': "",
    r"(</head>)(.*?)(<style>.*?</style>)": r"\3\1\2",  # the film brings its own, also to notebooks
    r'(<img src="[^"]*_static/logo\.svg")': r'\1 width="240" height="84"',
    r'\s*<script type="text/x-thebe-config">.*?</script>\s*<script>kernelName[^<]*</script>': "",
    r'<summary aria-label="Toggle hidden content">': "<summary>",
    r'(<a [^>]*>)([^<]*)(</a><details[^>]*><summary)>': r'\1\2\3 aria-label="Pages of \2">',
    r'(<div id="pst-primary-sidebar") class': r'\1 role="complementary" aria-label="Contents" class',
    r"<title>([^<]*) &#8212; \1</title>": r"<title>\1</title>",
    r'[(“]?<span class="math">(?:(?!</span>).)*</span>(?:[^\s<&]|&[#\w]+;)+':
        r'<span class="whole">\g<0></span>',
    r"Solution to(<a [^>]*>) ": r"Solution to \1",  # no line under the space
    r'(href="#module-[\w.]+">gansrc\.\w+\.)(\w+</a></li>)': r"\1<wbr>\2",  # no break inside a word
    r' role="doc-biblioentry"': ' role="listitem"',
    r"<td><p>✅</p>": '<td><p><span class="verdict-kind agrees">yes</span></p>',  # not every font has it
    r'<th class="[^"]*"><p>(?:\s|&nbsp;|&#160;)*</p></th>': "<td></td>",
}  # fmt: skip
"""What is replaced by what."""
VIEWPORT = re.compile(r'\s*<meta name="viewport"[^>]*>')
SUMMARY = re.compile(r"<summary.*?</summary>", re.DOTALL)
CODE = re.compile(r"<pre>.*?</pre>", re.DOTALL)
SIGNATURE = re.compile(r'<dt class="sig .*?</dt>', re.DOTALL)
UNSTYLED = re.compile(r'<span class="(?:pre|[npsw]|sig-paren|sig-return(?:-icon|-typehint)?)">([^<]*)</span>')
PICTURE = re.compile(
    r'<img (?P<before>[^>]*?)src="(?P<src>[^"]*/_images/(?P<name>[^"/]+))"(?P<after>[^>]*?) ?/?>'
)
STILL = re.compile(r'(<div class="live-still[^>]*>\s*)<img loading="lazy" ')
"""The still picture of a piece: what is near only on paper would come too late for it."""
LETTERS = re.compile(r'scale\((0\.\d+) -0\.\d+\)|font-size="(\d+)"')
"""How Matplotlib scales glyphs that are a hundred units high; the size of letters that the browser draws."""
LEAST = 9
"""Height in pixels that the font in a picture keeps on the narrowest screen."""
FORWARD = """<!DOCTYPE html>
<html lang="{language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="0; url={first}">
<title>{title}</title>
<meta name="description" content="{title}: to the first page of the book.">
<link rel="icon" href="_static/{icon}">
</head>
<body><main><h1>{title}</h1><p><a href="{first}">To the first page</a></p></main></body>
</html>
"""


def mend(page: str) -> str:
    """A page with what is listed above replaced."""
    for found, better in MENDED.items():
        page = re.sub(found, better, page, flags=re.DOTALL)
    page = SUMMARY.sub(lambda m: re.sub(r"<(/?)p\b", r"<\1span", m[0]), page)
    page = CODE.sub(lambda m: re.sub(r"<(/?)div\b", r"<\1span", m[0]), page)  # the marks in a module's source
    page = SIGNATURE.sub(lambda m: slim(m[0]), page)
    head, *rest = VIEWPORT.split(page)
    viewport = VIEWPORT.search(page)
    return head + (viewport[0] if viewport else "") + "".join(rest)


def slim(signature: str) -> str:
    """A signature without spans for nothing, from the inmost on; what is a line of it stays one."""
    found = 1
    while found:
        signature, found = UNSTYLED.subn(r"\1", signature)
    signature = signature.replace("<dl>", '<span class="lines">').replace("<dd>", "<span>")
    return signature.replace("</dl>", "</span>").replace("</dd>", "</span>")


@cache
def measure(picture: Path) -> str:
    """The size of a picture as attributes of its element, and how narrow its letters let it be drawn."""
    if picture.suffix != ".svg":
        with Image.open(picture) as image:
            return f'width="{image.width}" height="{image.height}"'
    text = picture.read_text(encoding="utf-8")
    left, top, width, height = map(float, re.search(r'viewBox="([^"]+)"', text)[1].split())
    points = re.search(r'<svg[^>]*? width="([\d.]+)pt"', text, re.DOTALL)
    unit = 4 / 3 if points else 1  # pixels: Matplotlib's files are in points
    sizes = [100 * float(glyphs) if glyphs else float(font) for glyphs, font in LETTERS.findall(text)]
    size = f'width="{width * unit:.0f}" height="{height * unit:.0f}"'
    return size + (f' style="--least: {width * LEAST / min(sizes):.0f}px"' if sizes else "")


def on_writing(app: Sphinx) -> None:
    """From now on, mend every page that is rendered."""
    builder = app.builder
    if not isinstance(builder, StandaloneHTMLBuilder):
        return
    render = builder.templates.render

    def sized(match: re.Match[str]) -> str:
        source = next(source for source, name in builder.images.items() if name == match["name"])
        size = measure(Path(app.srcdir, source))
        return f'<img loading="lazy" {match["before"]}src="{match["src"]}" {size}{match["after"]}>'

    def rendered(template: str, context: dict[str, Any]) -> str:
        page = linked_once(PICTURE.sub(sized, mend(render(template, context))))
        page = STILL.sub(r"\1<img ", page)
        return page.replace('<img loading="lazy" ', "<img ", 1)  # the first is often in the first window

    builder.templates.render = rendered  # type: ignore[method-assign]


def forward(app: Sphinx, error: Exception | None) -> None:
    """Write the page that forwards to the first one, before jupyter-book writes one of a single line."""
    if error or not isinstance(app.builder, StandaloneHTMLBuilder):
        return
    config = app.config
    values = {"title": escape(config.html_title or config.project), "language": config.language}
    first, icon = f"{config.root_doc}.html", Path(cast(str, config.html_favicon)).name
    Path(app.outdir, "index.html").write_text(
        FORWARD.format(first=first, icon=icon, **values), encoding="utf-8"
    )


def setup(app: Sphinx) -> dict[str, bool]:
    """Mend each page when it is written, and add the one in front."""
    app.connect("builder-inited", on_writing)
    app.connect("build-finished", forward)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
