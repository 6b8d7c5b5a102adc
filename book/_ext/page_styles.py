"""One style sheet for all pages, of what they show: a browser waits for the last of a dozen.

The theme's sheets are for every book, and its font for two thousand icons. What no page and no script
of this one names goes: two thirds of the rules, nearly all icons. The font of the formulas keeps their
letters.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import unescape
from logging import WARNING, getLogger
from pathlib import Path
from posixpath import dirname, join, relpath
from unicodedata import name as named
from unicodedata import normalize

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
ICONS = "vendor/fontawesome/webfonts/fa-solid-900"
LETTERS = "fonts/stix-two-math.woff"
LINK = re.compile(r'<link [^>]*?href="(?P<root>[^"]*)_static/[^"]+\.css[^>]*>\s*')
URL = re.compile(r"""url\(["']?(?!data:|#|https?:)([^"')]+)["']?\)""")
NAMES = re.compile(r'\bclass="([^"]*)"|<script(?![^>]*\bjson")[^>]*>(.*?)</script>', re.DOTALL)
"""Where a page names classes: its elements, and the scripts in it."""
SCRIPT = re.compile(r'<script [^>]*?src="[^"]*_static/([^"?]+)')
RULE = re.compile(r"([^{}@;]+)\{[^{}]*\}")
CLASS = re.compile(r"\.(?!bs-)(-?[A-Za-z_][\w-]*)")
"""A class that a rule is for; bootstrap makes up those that begin with bs-."""
EMPTY = re.compile(r"@(?:media|supports)[^{}]*\{\s*\}")
LETTER = re.compile(r'"\\([0-9a-f]{1,5}) ?"|[\ue000-\uf8ff]')
"""An icon in the style sheet: its number, or itself."""
COMPRESSED = re.compile(rf'url\("[^)]*{ICONS}\.woff2"\) format\("woff2"\),')
FORMULA = re.compile(r"<math.*?</math>", re.DOTALL)
SLANTED = ("MATHEMATICAL ITALIC", "PLANCK")  # the letter h is older than the others
getLogger("fontTools").setLevel(WARNING)  # else twenty lines for each font
PRELOAD = (
    '<script>location.protocol == "file:" || document.head.insertAdjacentHTML("beforeend",'
    """ '<link rel="preload" href="{}_static/{}" as="font" type="font/woff" crossorigin>')</script>\n"""
)
"""From a disk no font may be asked for ahead."""


def linked_once(page: str) -> str:
    """A page with one link in the place of those to style sheets, after the font of its formulas, if any.

    Text moves when a font comes late, and a browser asks for one only when it lays out the text.
    """
    first = LINK.search(page)
    if not first:
        return page
    one = f'<link rel="stylesheet" href="{first["root"]}_static/{ONE}">\n'
    if "<math" in page:
        one = PRELOAD.format(first["root"], LETTERS) + one
    return page[: first.start()] + one + LINK.sub("", page[first.start() :])


def joined(static: Path) -> str:
    """All sheets as one, in which what they ask for is found from its place."""

    def moved(name: str) -> str:
        return URL.sub(lambda m: f'url("{relpath(join(dirname(name), m[1]), dirname(ONE))}")', text(name))

    def text(name: str) -> str:
        return (static / name).read_text(encoding="utf-8").replace('@charset "UTF-8";', "")

    found = (file.relative_to(static).as_posix() for name in SHEETS for file in sorted(static.glob(name)))
    return "\n".join(['@charset "UTF-8";', *map(moved, found)])


def named_in(pages: Iterable[str], static: Path) -> set[str]:
    """The classes of the elements of pages, and every word in a script, which may be one."""
    found, scripts = set(), set()
    for page in pages:
        scripts |= set(SCRIPT.findall(page))
        for classes, script in NAMES.findall(page):
            found |= set(classes.split() or re.findall(r"[\w-]+", script))
    return found.union(*(re.findall(r"[\w-]+", (static / s).read_text(encoding="utf-8")) for s in scripts))


def used(sheet: str, classes: set[str]) -> str:
    """The rules of a sheet that are for elements without a class or with one of `classes`."""

    def kept(rule: re.Match[str]) -> str:
        selectors = [rule[1]] if "(" in rule[1] else rule[1].split(",")  # a bracket may have commas in it
        found = [each for each in selectors if "(" in each or set(CLASS.findall(each)) <= classes]
        return ",".join(found) + rule[0][len(rule[1]) :] if found else ""

    return EMPTY.sub("", RULE.sub(kept, re.sub(r"/\*.*?\*/", "", sheet, flags=re.DOTALL)))


def letters(pages: Iterable[str]) -> set[int]:
    """What formulas show: their characters, and what a browser draws of its own accord.

    That is the sign of a root, a minus for a hyphen, and slanted letters for single ones.
    """
    whole = " ".join(formula for page in pages for formula in FORMULA.findall(page))
    plain = set(unescape(re.sub(r"<[^>]*>", "", whole)))
    plain |= {drawn for given, drawn in (("<msqrt", "√"), ("<mo>-</mo>", "−")) if given in whole}
    same = {each: normalize("NFKC", each) for each in map(chr, [0x210E, *range(0x1D400, 0x1D800)])}
    slanted = {each for each in same if same[each] in plain and named(each, "").startswith(SLANTED)}
    return set(map(ord, plain | slanted))


def save(font: Path, place: Path, characters: set[int]) -> None:
    """Write a font of these characters."""
    options = subset.Options(flavor="woff" if place.suffix == ".woff" else None)
    whole, few = subset.load_font(font, options), subset.Subsetter(options)
    few.populate(unicodes=characters)
    few.subset(whole)
    subset.save_font(whole, place, options)


def write(app: Sphinx, error: Exception | None) -> None:
    """Write the sheet of what the pages name, and fonts of what they show."""
    out, static = Path(app.outdir), Path(app.outdir, "_static")
    if error or app.builder.name != "html":
        return
    pages = [p.read_text(encoding="utf-8") for p in out.rglob("*.html") if static not in p.parents]
    sheet = COMPRESSED.sub("", used(joined(static), named_in(pages, static)))
    (static / ONE).write_text(sheet, encoding="utf-8")
    icons = {int(m[1], 16) if m[1] else ord(m[0]) for m in LETTER.finditer(sheet)}
    theme = Path(pydata_sphinx_theme.__file__).parent / "theme/pydata_sphinx_theme/static"
    save(theme / f"{ICONS}.ttf", static / f"{ICONS}.ttf", icons)
    save(Path(app.srcdir, "book/_static", LETTERS), static / LETTERS, letters(pages))


def setup(app: Sphinx) -> dict[str, bool]:
    """Write the sheet when all pages are written; `finished_pages` has linked it."""
    app.connect("build-finished", write, priority=900)  # after the theme, which writes a sheet then
    return {"parallel_read_safe": True, "parallel_write_safe": True}
