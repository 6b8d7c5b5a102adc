"""The claims page, and figures of the chapters on any other page.

A chapter's outputs carry its figures (`gansrc.claims.evidence`). They are gathered here when all pages are
read, and put where a page asks for them when it is written; such a page is written again when a figure has
changed. The outputs themselves are not written. In MyST:

    ```{claims}
    ```                             the table of all claims
    {result}`T3.worst_error:.1e`    one figure, in a format of Python's
    {shown}`T3`                     our figures on a claim, in the words of its row
    {verdict}`T3`                   the verdict on a claim, linked to its row
    ```{tally}
    ```                             how many claims fared how: a bar, and links that filter the table
    {tally}`all`                    how many there are

What no chapter has computed is named as such on the page, and is a warning; what a chapter says that it left
out is named without one.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective, SphinxRole
from sphinx.util.nodes import make_refnode

from gansrc.claims import TAG, Claim, Value, Verdict, collect_html, read_claims, verdict

MISSING = "not computed in this build"
LEFT_OUT = "left out of this build"
CLASS = {
    "agrees": "agrees",
    "agrees, with a restriction": "restricted",
    "does not agree": "disagrees",
    "not comparable": "incomparable",
    LEFT_OUT: "missing",
    MISSING: "missing",
}

COUNTED = {
    "agrees": "agree",
    "restricted": "agree, with a restriction",
    "disagrees": "do not agree",
    "incomparable": "cannot be compared",
    "missing": "left out",
}
"""What so many claims of a class do."""

logger = logging.getLogger(__name__)


class pending(nodes.Inline, nodes.Element):
    """A place to be filled when all pages are read. `what` is a method of `Fill`, `key` its argument."""


class Claims(SphinxDirective):
    """The table of all claims: what the paper says, what we find and the rule for it, the verdict."""

    def run(self) -> list[nodes.Node]:
        """Build the table; its cells are filled when all pages are read."""
        self.env.claims_page = self.env.docname
        note_user(self.env)
        rows = [_row(*(inline(title) for title in ("Claim", "The paper says", "We find", "Verdict")))]
        for claim in self.env.claims.values():
            name, shown, wording = (pending(what=w, key=claim.id) for w in ("chapter", "shown", "wording"))
            rules = [nodes.literal("", f"needs {claim.needs}", classes=["rule"])] if claim.needs else []
            rules.append(nodes.literal("", claim.rule, classes=["rule"]))
            cells = [name], inline(claim.paper), [shown, nodes.Text(" "), *rules], [wording]
            section = f"section-{claim.page[:2].lstrip('0')}"
            rows.append(_row(*cells, ids=[f"claim-{claim.id}"], classes=[section]))
        widths = (nodes.colspec(colwidth=width) for width in (7, 31, 36, 26))
        group = nodes.tgroup("", *widths, nodes.thead("", rows[0]), nodes.tbody("", *rows[1:]), cols=4)
        return [nodes.table("", group, classes=["claims", "cards", "colwidths-given"])]


class Tally(SphinxDirective):
    """The place where claims are counted by verdict."""

    def run(self) -> list[nodes.Node]:
        """Leave the place, to be filled when all pages are read."""
        note_user(self.env)
        place = pending(what="tally", key="kinds")
        self.set_source_info(place)
        return [place]


class Place(SphinxRole):
    """The role of a pending place, named like the method of `Fill` that fills it."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Leave a place of the role's name, with the role's text as its key."""
        note_user(self.env)
        place = pending(what=self.name, key=self.text)
        self.set_source_info(place)
        return [place], []


class Fill(SphinxPostTransform):
    """Replace every pending place by its content, and leave out the outputs that only carry evidence."""

    default_priority = 6  # after the choice among an output's media types (4), before cross-references (10)

    def run(self, **kwargs: object) -> None:
        """Fill one page's places; what no chapter has computed is a warning."""
        for place in list(self.document.findall(pending)):
            try:
                if place["what"] == "verdict" and isinstance(place.parent, nodes.title):
                    self.colour(place.parent.parent, place["key"])
                place.replace_self(getattr(self, place["what"])(place["key"]))
            except (KeyError, ValueError) as error:
                logger.warning("%s is %s: %s", place["key"], MISSING, error, location=place)
                place.replace_self(nodes.emphasis("", MISSING))
        for output in list(self.document.findall(nodes.raw)):
            if output.astext().startswith(TAG):
                empty: nodes.Node = output
                while len(empty.parent) == 1:  # the boxes around it, if it is all they hold
                    empty = empty.parent
                empty.parent.remove(empty)

    def colour(self, box: nodes.Element, claim: str) -> None:
        """Let a box of a verdict look like the verdict in its title."""
        if box["classes"] == ["verdict"]:
            box["classes"].append(CLASS[self.env.verdicts[claim].kind])

    def chapter(self, claim: str) -> list[nodes.Node]:
        """The claim's name, linked to the chapter that computes it."""
        folder = Path(self.env.config.claims_file).parent
        page = (folder / self.env.claims[claim].page).as_posix()
        name = nodes.Text(claim)
        return [self.link(page, "", name) if page in self.env.found_docs else name]

    def shown(self, claim: str) -> list[nodes.Node]:
        """Our figures in words."""
        judged = self.env.verdicts[claim]
        return inline(powers(judged.shown or judged.title))

    def wording(self, claim: str) -> list[nodes.Node]:
        """The verdict with its words."""
        judged = self.env.verdicts[claim]
        words = f" {judged.wording} {self.env.claims[claim].restriction}"
        return [badge(judged), *inline(words.rstrip())]

    def verdict(self, claim: str) -> list[nodes.Node]:
        """The verdict alone, linked to the claim's row."""
        return [self.link(self.env.claims_page, f"claim-{claim}", badge(self.env.verdicts[claim]))]

    def tally(self, key: str) -> list[nodes.Node]:
        """How many claims there are ("all"), or of each kind: a bar, and a list of links to the table."""
        judged = self.env.verdicts.values()
        if key == "all":
            return [nodes.Text(str(len(judged)))]
        counts = Counter(CLASS[verdict.kind] for verdict in judged)
        found = {kind: counts[kind] for kind in COUNTED if counts[kind]}
        parts = "".join(f'<span class="{kind}" style="flex-grow: {n}"></span>' for kind, n in found.items())
        bar = nodes.raw("", f'<div class="tally-bar" aria-hidden="true">{parts}</div>', format="html")
        items = nodes.bullet_list("", classes=["tally"])
        for kind, n in found.items():
            content = nodes.inline("", "", nodes.strong("", str(n)), nodes.Text(f" {COUNTED[kind]}"))
            content["classes"] = ["verdict-kind", kind]
            item = nodes.paragraph("", "", self.link(self.env.claims_page, kind, content))
            items += nodes.list_item("", item)
        return [bar, items]

    def result(self, key: str) -> list[nodes.Node]:
        """One figure."""
        name, _, form = key.partition(":")
        claim, _, figure = name.partition(".")
        if self.env.verdicts[claim].kind == LEFT_OUT:
            return [nodes.emphasis("", LEFT_OUT)]
        return [nodes.Text(powers(format(self.env.figures[claim][figure], form)))]

    def link(self, page: str, anchor: str, content: nodes.Node) -> nodes.reference:
        """A link from the page that is being written."""
        return make_refnode(self.app.builder, self.env.docname, page, anchor, content)


def inline(text: str) -> list[nodes.Node]:
    """Text in which $...$ is mathematics."""
    parts = enumerate(re.split(r"\$(.+?)\$", text))
    return [nodes.math(part, part) if i % 2 else nodes.Text(part) for i, part in parts if part]


def powers(text: str) -> str:
    """Text with 2.2e-16 written 2.2 × 10⁻¹⁶, in one piece."""

    def power(match: re.Match[str]) -> str:
        exponent = str(int(match[2])).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
        return f"{match[1]}\N{NO-BREAK SPACE}×\N{NO-BREAK SPACE}10{exponent}" if float(match[1]) else "0"

    return re.sub(r"(\d(?:\.\d+)?)e([+-]\d+)", power, text)


def badge(judged: Verdict) -> nodes.inline:
    """A verdict in few words, in the colour of its kind."""
    return nodes.inline("", powers(judged.title), classes=["verdict-kind", CLASS[judged.kind]])


def _row(*cells: list[nodes.Node], **names: list[str]) -> nodes.row:
    paragraphs = (nodes.paragraph("", "", *cell) for cell in cells)
    return nodes.row("", *(nodes.entry("", paragraph) for paragraph in paragraphs), **names)


def note_user(env: BuildEnvironment) -> None:
    """Remember that the page being read shows figures, and depends on the file of claims."""
    env.claims_users.add(env.docname)
    env.note_dependency(env.config.claims_file)


def start(app: Sphinx) -> None:
    """Read the file of claims; make room for what is gathered, where an earlier build has left none."""
    claims = read_claims(Path(app.srcdir) / app.config.claims_file)
    app.env.claims = {claim.id: claim for claim in claims}
    if not hasattr(app.env, "evidence"):
        app.env.evidence, app.env.figures, app.env.verdicts = {}, {}, {}
        app.env.claims_users, app.env.claims_page = set(), ""


def keep(app: Sphinx, doctree: nodes.document) -> None:
    """Keep the outputs of a page that carry evidence."""
    outputs = (raw.astext() for raw in doctree.findall(nodes.raw))
    app.env.evidence[app.env.docname] = [text for text in outputs if text.startswith(TAG)]


def forget(app: Sphinx, env: BuildEnvironment, docname: str) -> None:
    """Drop what was gathered from a page that is read again, or gone."""
    env.evidence.pop(docname, None)
    env.claims_users.discard(docname)


def merge(app: Sphinx, env: BuildEnvironment, docnames: Iterable[str], other: BuildEnvironment) -> None:
    """Take over what a parallel reader has found."""
    env.evidence.update({docname: other.evidence.get(docname, []) for docname in docnames})
    env.claims_users.update(other.claims_users & set(docnames))
    env.claims_page = other.claims_page or env.claims_page


def gather(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """Put all evidence together and judge every claim; return the pages to write again."""
    before = env.figures, env.verdicts
    try:
        env.figures = collect_html(text for outputs in env.evidence.values() for text in outputs)
    except ValueError as error:
        logger.warning("%s", error)
        env.figures = {}
    for unknown in sorted(set(env.figures) - set(env.claims)):
        logger.warning("evidence for %s, which has no row in %s: add one", unknown, app.config.claims_file)
    env.verdicts = {claim.id: _judge(claim, env.figures.get(claim.id)) for claim in env.claims.values()}
    return sorted(env.claims_users) if (env.figures, env.verdicts) != before else []


def _judge(claim: Claim, figures: Mapping[str, Value] | None) -> Verdict:
    try:
        judged = verdict(claim, figures)
    except ValueError as error:
        judged = Verdict(MISSING, "", f"{error}.")
    if judged.kind == MISSING:
        logger.warning("claim %s of %s is %s: %s", claim.id, claim.page, MISSING, judged.wording)
    return judged


def dress(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Give the table of claims its filters."""
    if pagename == app.env.claims_page:
        app.add_js_file("claims.js", loading_method="defer")


def setup(app: Sphinx) -> dict[str, bool | int]:
    """Offer the directives and the roles; gather when pages are read, judge when all are."""
    app.add_config_value("claims_file", "book/claims.yml", "env", str)
    app.add_directive("claims", Claims)
    app.add_directive("tally", Tally)
    for what in ("result", "shown", "tally", "verdict"):
        app.add_role(what, Place())
    app.add_post_transform(Fill)
    app.connect("builder-inited", start)
    app.connect("doctree-read", keep)
    app.connect("env-purge-doc", forget)
    app.connect("env-merge-info", merge)
    app.connect("env-updated", gather)
    app.connect("html-page-context", dress)
    return {"env_version": 1, "parallel_read_safe": True, "parallel_write_safe": True}
