"""Under each figure that a cell draws, a link to that cell, as it was when the book was built.

There is none while `repository: url` in `_config.yml` is empty, or outside of a Git checkout.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform


class Link(SphinxPostTransform):
    """Put the links at the ends of captions."""

    default_priority = 900

    def run(self, **kwargs: object) -> None:
        """Go through the cells of one page."""
        url = self.config.html_theme_options.get("repository_url", "").rstrip("/")
        if not url or not self.app.commit:
            return
        page = self.env.doc2path(self.env.docname, base=False)
        lines = Path(self.env.doc2path(self.env.docname)).read_text(encoding="utf-8").splitlines()
        for cell in self.document.findall(nodes.container):
            if cell.get("nb_element") == "cell_code":
                last = lines.index("```", cell.line) + 1
                place = f"{url}/blob/{self.app.commit}/{page}?plain=1#L{cell.line}-L{last}"
                for caption in cell.findall(nodes.caption):
                    link = nodes.reference("", "The cell that draws it", refuri=place)
                    caption += [nodes.Text(" "), nodes.inline("", "", link, classes=["source"])]


def note_commit(app: Sphinx) -> None:
    """Remember which commit the pages are built from."""
    command = ["git", "-C", str(app.srcdir), "rev-parse", "HEAD"]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    app.commit = process.stdout.strip()


def setup(app: Sphinx) -> dict[str, bool]:
    """Link when pages are written."""
    app.connect("builder-inited", note_commit)
    app.add_post_transform(Link)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
