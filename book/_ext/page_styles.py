"""One style sheet for all pages: a browser shows nothing before it has the last of a dozen.

Of the theme's two thousand icons it holds those that the book shows. The rules of the others are a quarter of
the theme's sheet, and their shapes nearly all of its font of 150 kB.
"""

from __future__ import annotations

import re
from pathlib import Path
from posixpath import dirname, join, relpath

import pydata_sphinx_theme
from fontTools import subset
from sphinx.application import Sphinx

SHEETS = (
    "basic.css", "styles/pydata-sphinx-theme.css", "pygments.css", "styles/sphinx-book-theme.css",
    "togglebutton.css", "copybutton.css", "mystnb.*.css", "exercise.css", "proof.css",
    "sphinx-design.min.css", "tally.css", "live/live.css", "custom.css",
)  # fmt: skip
"""What goes into it, in this order, by the names in `_static`."""
ONE = "styles/book.css"
FONT = "vendor/fontawesome/webfonts/fa-solid-900"
LINK = re.compile(r'<link [^>]*?href="(?P<root>[^"]*)_static/[^"]+\.css[^>]*>\s*')
URL = re.compile(r"""url\(["']?(?!data:|#|https?:)([^"')]+)["']?\)""")
ICON = re.compile(r"\bfa-[a-z0-9-]+")
RULE = re.compile(r'((?:\.fa-[\w-]+:before,?)+)\{content:"[^"]*"\}')
LETTER = re.compile(r'"\\([0-9a-f]{1,5}) ?"|[\ue000-\uf8ff]')
"""An icon in the style sheet: its number, or itself."""
COMPRESSED = re.compile(rf'url\("[^)]*{FONT}\.woff2"\) format\("woff2"\),')


def linked_once(page: str) -> str:
    """A page with one link in the place of those to style sheets."""
    first = LINK.search(page)
    if not first:
        return page
    one = f'<link rel="stylesheet" href="{first["root"]}_static/{ONE}">\n'
    return page[: first.start()] + one + LINK.sub("", page[first.start() :])


def joined(static: Path) -> str:
    """All sheets as one, in which what they ask for is found from its place."""

    def moved(name: str) -> str:
        return URL.sub(lambda m: f'url("{relpath(join(dirname(name), m[1]), dirname(ONE))}")', text(name))

    def text(name: str) -> str:
        return (static / name).read_text(encoding="utf-8").replace('@charset "UTF-8";', "")

    found = (file.relative_to(static).as_posix() for name in SHEETS for file in sorted(static.glob(name)))
    return "\n".join(['@charset "UTF-8";', *map(moved, found)])


def write(app: Sphinx, error: Exception | None) -> None:
    """Write the sheet, with the icons that pages and the theme's script name, and a font of these."""
    out, static = Path(app.outdir), Path(app.outdir, "_static")
    if error or app.builder.name != "html":
        return
    texts = [*out.rglob("*.html"), static / "scripts/pydata-sphinx-theme.js"]
    shown = {icon for file in texts for icon in ICON.findall(file.read_text(encoding="utf-8"))}
    sheet = RULE.sub(lambda rule: rule[0] if shown & set(ICON.findall(rule[1])) else "", joined(static))
    sheet = COMPRESSED.sub("", sheet)
    (static / ONE).write_text(sheet, encoding="utf-8")

    options = subset.Options()
    theme = Path(pydata_sphinx_theme.__file__).parent / "theme/pydata_sphinx_theme/static"
    font, few = subset.load_font(theme / f"{FONT}.ttf", options), subset.Subsetter(options)
    few.populate(unicodes={int(m[1], 16) if m[1] else ord(m[0]) for m in LETTER.finditer(sheet)})
    few.subset(font)
    subset.save_font(font, static / f"{FONT}.ttf", options)


def setup(app: Sphinx) -> dict[str, bool]:
    """Write the sheet when all pages are written; `finished_pages` has linked it."""
    app.connect("build-finished", write, priority=900)  # after the theme, which writes a sheet then
    return {"parallel_read_safe": True, "parallel_write_safe": True}
