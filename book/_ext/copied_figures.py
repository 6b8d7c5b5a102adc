"""A figure once more, further up or on another page: the picture and its caption. In MyST:

    ```{figure-of} fig-answer
    ```

The copy links to the page that has the figure, if it is another one, and is written again whenever pages have
been read. A name that no page has is a warning.
"""

from __future__ import annotations

from typing import cast

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.domains.std import StandardDomain
from sphinx.environment import BuildEnvironment
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import make_refnode

logger = logging.getLogger(__name__)


class copy_of(nodes.General, nodes.Element):
    """The place of a figure that another page has; `figure` is its name."""


class FigureOf(SphinxDirective):
    """A figure by name, whatever page it stands on."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Leave a place, to be filled when all pages are read."""
        self.env.metadata[self.env.docname]["copies"] = True
        place = copy_of(figure=self.arguments[0])
        self.set_source_info(place)
        return [place]


class Fill(SphinxPostTransform):
    """Put the copies where they belong."""

    default_priority = 3  # before the choice among the media types of an output (4)

    def run(self, **kwargs: object) -> None:
        """Fill one page's places."""
        domain = cast(StandardDomain, self.env.get_domain("std"))
        for place in list(self.document.findall(copy_of)):
            page, anchor, _ = domain.labels.get(place["figure"], ("", "", ""))
            found = self.env.get_doctree(page).findall(nodes.figure) if page else ()
            figure = next((f for f in found if anchor in f["ids"]), None)
            if figure is None:
                logger.warning("no page has the figure %r: name it there", place["figure"], location=place)
                place.parent.remove(place)
                continue
            copy = figure.deepcopy()
            copy["ids"], copy["names"] = [f"copy-of-{anchor}"], []
            copy["classes"].append("copied")
            if page != self.env.docname:
                title = nodes.Text(self.env.titles[page].astext())
                source = make_refnode(self.app.builder, self.env.docname, page, anchor, title)
                for caption in copy.findall(nodes.caption):
                    caption += [nodes.Text(" From "), source, nodes.Text(".")]
            place.replace_self(copy)


def note_read(app: Sphinx, doctree: nodes.document) -> None:
    """Remember that pages were read in this build."""
    app.env.copies_are_stale = True


def stale(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """The pages with copies, if any page was read."""
    if not getattr(env, "copies_are_stale", False):
        return []
    env.copies_are_stale = False
    return [page for page, data in env.metadata.items() if "copies" in data]


def setup(app: Sphinx) -> dict[str, bool | int]:
    """Offer the directive; fill its places when all pages are read."""
    app.add_node(copy_of)
    app.add_directive("figure-of", FigureOf)
    app.add_post_transform(Fill)
    app.connect("doctree-read", note_read)
    app.connect("env-updated", stale)
    return {"env_version": 1, "parallel_read_safe": True, "parallel_write_safe": True}
