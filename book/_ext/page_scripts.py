"""The scripts of a page: each once, none that it has no use for, none that it has to wait for.

A second `const` of the same name is an error in the browser, so a repeated inline script is no small matter.
"""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.builders.html._assets import _JavaScript

AT_ONCE = "documentation_options.js"
"""Inline scripts, which run while the page is read, change what this one defines."""


def choose(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Keep the first of the scripts that have the same file name (inline: none) and the same body.

    Thebe, which runs cells on somebody's server, goes. On the search page, whose own scripts
    call the others while it is read, nothing is deferred.
    """
    chosen: dict[tuple[str, str | None], _JavaScript] = {}
    for script in context["script_files"]:
        name, more = str(script.filename or ""), script.attributes
        body = more.get("body")
        if "thebe" in f"{name}{body}":
            continue
        if name and pagename != "search" and not {"async", "defer"} & more.keys() and AT_ONCE not in name:
            script = _JavaScript(script.filename, priority=script.priority, defer="defer", **more)
        chosen.setdefault((name, body), script)
    context["script_files"] = list(chosen.values())


def setup(app: Sphinx) -> dict[str, bool]:
    """Look through the scripts of each page when it is written."""
    app.connect("html-page-context", choose, priority=900)  # after everybody who adds scripts
    return {"parallel_read_safe": True, "parallel_write_safe": True}
