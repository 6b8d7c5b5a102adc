"""The scripts of a page: each once, none that it has no use for, none that it has to wait for.

A second `const` of the same name is an error in the browser, so a repeated inline script is no small matter.
The theme's script measures every block of code once a page is loaded, folded ones too, which are laid out
for that: half of its time. Here it does not; `wide-math.js` measures what is seen.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pydata_sphinx_theme
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.builders.html._assets import _JavaScript
from sphinx.util import logging

logger = logging.getLogger(__name__)

AT_ONCE = "documentation_options.js"
"""Inline scripts, which run while the page is read, change what this one defines."""


SCRIPT = "scripts/pydata-sphinx-theme.js"
MEASURES = re.compile(r'"complete"===document\.readyState\?(\w+)\(\):window\.addEventListener\("load",\1\)')


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


def lighten(app: Sphinx, error: Exception | None) -> None:
    """Write the theme's script without its measurements."""
    if error or app.builder.name != "html":
        return
    theme = Path(pydata_sphinx_theme.__file__).parent / "theme/pydata_sphinx_theme/static"
    script, found = MEASURES.subn("0", (theme / SCRIPT).read_text(encoding="utf-8"))
    if not found:
        logger.warning("the theme's script is another one: where does it measure blocks of code now?")
    Path(app.outdir, "_static", SCRIPT).write_text(script, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Look through the scripts of each page when it is written, and through the theme's in the end."""
    app.connect("build-finished", lighten)
    app.connect("html-page-context", choose, priority=900)  # after everybody who adds scripts
    return {"parallel_read_safe": True, "parallel_write_safe": True}
