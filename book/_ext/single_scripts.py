"""Each script once a page: the theme and its parts ask for some of them twice.

A second `const` of the same name is an error in the browser, so a repeated inline script is no small matter.
"""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx


def drop_repeats(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Keep the first of the scripts that have the same file name (inline: none) and the same body."""
    first: dict[tuple[str, str | None], Any] = {}
    for script in context["script_files"]:
        first.setdefault((str(script.filename or ""), script.attributes.get("body")), script)
    context["script_files"] = list(first.values())


def setup(app: Sphinx) -> dict[str, bool]:
    """Look through the scripts of each page when it is written."""
    app.connect("html-page-context", drop_repeats, priority=900)  # after everybody who adds scripts
    return {"parallel_read_safe": True, "parallel_write_safe": True}
