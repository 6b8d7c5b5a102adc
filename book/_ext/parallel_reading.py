"""Read, and so execute, chapters two at a time, each on half of the cores."""

from __future__ import annotations

import os

from sphinx.application import Sphinx
from sphinx.config import Config

UNDECLARED = ("sphinx_multitoc_numbering", "sphinx_jupyterbook_latex")
"""Extensions of Jupyter Book that act once all pages have been read, but do not say so."""


def declare(app: Sphinx, config: Config) -> None:
    for name in UNDECLARED:
        if name in app.extensions:
            app.extensions[name].parallel_read_safe = True


def setup(app: Sphinx) -> dict[str, bool]:
    cores = os.cpu_count() or 1
    app.parallel = min(2, cores)
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores // app.parallel)))
    app.connect("config-inited", declare)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
