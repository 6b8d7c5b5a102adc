"""Of the theme's two thousand icons those that the book shows: rules and glyphs of the others go.

They are a quarter of the theme's style sheet, and nearly all of its font of 150 kB.
"""

from __future__ import annotations

import re
from pathlib import Path

from fontTools import subset
from sphinx.application import Sphinx

SHEET = "_static/styles/pydata-sphinx-theme.css"
FONT = "_static/vendor/fontawesome/webfonts/fa-solid-900"
ICON = re.compile(r"\bfa-[a-z0-9-]+")
RULE = re.compile(r'((?:\.fa-[\w-]+:before,?)+)\{content:"[^"]*"\}')
LETTER = re.compile(r'"\\([0-9a-f]{1,5}) ?"|[\ue000-\uf8ff]')
"""An icon in the style sheet: its number, or itself."""
COMPRESSED = re.compile(r'url\([^)]*fa-solid-900\.woff2\) format\("woff2"\),')


def trimmed(sheet: str, shown: set[str]) -> str:
    """The style sheet without rules for icons that are not shown."""
    sheet = RULE.sub(lambda rule: rule[0] if shown & set(ICON.findall(rule[1])) else "", sheet)
    return COMPRESSED.sub("", sheet)


def trim(app: Sphinx, error: Exception | None) -> None:
    """Look through the pages and the theme's scripts for icons; rewrite style sheet and font."""
    out = Path(app.outdir)
    if error or app.builder.name != "html":
        return
    texts = [*out.rglob("*.html"), out / "_static/scripts/pydata-sphinx-theme.js"]
    shown = {icon for file in texts for icon in ICON.findall(file.read_text(encoding="utf-8"))}
    file, font = out / SHEET, out / f"{FONT}.ttf"
    sheet = trimmed(file.read_text(encoding="utf-8"), shown)
    options = subset.Options()
    glyphs = subset.load_font(font, options)
    few = subset.Subsetter(options)
    few.populate(unicodes={int(m[1], 16) if m[1] else ord(m[0]) for m in LETTER.finditer(sheet)})
    few.subset(glyphs)
    subset.save_font(glyphs, font, options)
    file.write_text(sheet, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Trim when all pages are written."""
    app.connect("build-finished", trim)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
