"""A piece that the reader plays with, on any page. In MyST:

    :::{live} theorem-1
    :alt: Two densities on a line, and what follows from them.
    :caption: Drag the green one.

    ```{figure-of} fig-optimal
    ```
    :::

The body is the still picture, which stands there on paper and where scripts are off. In the browser
`_static/live/NAME.js` fills the place, with `live.js`; pages without a piece do not load them. The nets of
the piece `generator` are written when the book is built, from the record of the run `mnist`.
"""

from __future__ import annotations

import hashlib
import html
import subprocess
import sys
from pathlib import Path
from typing import Any

import live_weights
from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective
from sphinx.writers.html5 import HTML5Translator

from gansrc.runs import Run

WEIGHTS = "_static/live/{}-weights.js"
"""Where the pages find what a piece loads on a click."""
PLACE = "{live} generator"
"""What a page has that loads them."""


class live(nodes.General, nodes.Element):
    """The place of a piece; `piece` is its script's name, `alt` what one sees, in words."""


class Live(SphinxDirective):
    """A place for a piece, with a still picture and a caption."""

    required_arguments = 1
    has_content = True
    option_spec = {"alt": directives.unchanged_required, "caption": directives.unchanged}

    def run(self) -> list[nodes.Node]:
        """Leave the place, and remember that the page needs the scripts."""
        if "alt" not in self.options:
            raise self.error(f"the piece {self.arguments[0]} has no :alt: say what one sees")
        self.assert_has_content()
        place = live(piece=self.arguments[0], alt=self.options["alt"])
        self.set_source_info(place)
        still = nodes.container(classes=["live-still"])
        self.state.nested_parse(self.content, self.content_offset, still)
        place += still
        if caption := self.options.get("caption"):
            words, messages = self.state.inline_text(caption, self.lineno)
            tags = (nodes.raw("", tag, format="html") for tag in ("<figcaption>", "</figcaption>"))
            place += [next(tags), nodes.paragraph(caption, "", *words), next(tags), *messages]
        self.env.metadata[self.env.docname].setdefault("live", []).append(self.arguments[0])
        return [place]


def visit(writer: HTML5Translator, place: nodes.Element) -> None:
    """Open the figure, with the stage that the script fills."""
    piece, alt = html.escape(place["piece"]), html.escape(" ".join(place["alt"].split()))
    weights = Path(writer.builder.outdir, WEIGHTS.format(place["piece"]))
    size = f' data-size="{weights.stat().st_size / 1e6:.1f} MB"' if weights.exists() else ""
    writer.body.append(
        f'<figure class="live" id="live-{piece}" data-live="{piece}"{size} aria-label="{alt}">\n'
        '<div class="live-stage"></div>\n'
    )


def depart(writer: HTML5Translator, place: nodes.Element) -> None:
    """Close the figure."""
    writer.body.append("</figure>\n")


def load(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Let a page with pieces load their scripts, what they have in common first."""
    if pieces := app.env.metadata.get(pagename, {}).get("live"):
        for number, name in enumerate(["live", *dict.fromkeys(pieces)]):
            app.add_js_file(f"live/{name}.js", priority=600 + number, loading_method="defer")


class Weights:
    """The nets that pages load, written while pages are read, by a process of its own.

    Of its own also because this one has autodoc's modules, whose types cannot be looked up.
    """

    writing: subprocess.Popen[bytes] | None = None

    def begin(self, app: Sphinx, env: BuildEnvironment, docnames: list[str]) -> None:
        """Begin to write them, unless an earlier build did so from this record and this code."""
        self.pages = [name for name in env.found_docs if PLACE in Path(env.doc2path(name)).read_text("utf-8")]
        if not self.pages:
            return
        run, file = Run(Path(app.srcdir, "book/runs/mnist")), Path(app.outdir, WEIGHTS.format("generator"))
        code = Path(live_weights.__file__).read_text("utf-8")
        weights = sorted(run.record.checkpoint.sha256.values())
        self.key = hashlib.sha256("".join([*weights, code]).encode()).hexdigest()
        if not file.exists() or getattr(env, "live_weights_key", "") != self.key:
            command = [sys.executable, live_weights.__file__, str(run.folder), str(file)]
            self.writing = subprocess.Popen(command)

    def finish(self, app: Sphinx, env: BuildEnvironment) -> list[str]:
        """Wait until they are written; return the pages that say how large they are."""
        if self.writing is None:
            return []
        if status := self.writing.wait():
            raise subprocess.CalledProcessError(status, self.writing.args)
        env.live_weights_key = self.key
        return self.pages


def setup(app: Sphinx) -> dict[str, bool | int]:
    """Offer the directive; add the scripts when pages are written."""
    app.add_node(live, html=(visit, depart))
    app.add_directive("live", Live)
    weights = Weights()
    app.connect("env-before-read-docs", weights.begin, priority=600)  # after the chapters ran
    app.connect("env-updated", weights.finish)
    app.connect("html-page-context", load)
    return {"env_version": 1, "parallel_read_safe": True, "parallel_write_safe": True}
