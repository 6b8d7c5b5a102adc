"""Write each chapter as a notebook beside it, for Colab and Binder: `notebooks.py OWNER/REPOSITORY`."""

from __future__ import annotations

import sys
from pathlib import Path

import jupytext
from nbformat.v4 import new_code_cell

ROOT = Path(__file__).parents[1]
FETCH = """# Colab opens this page alone: fetch the rest of the book, once.
import sys

if "google.colab" in sys.modules:
    !git clone --quiet --depth 1 https://github.com/{repository} /content/gansrc
    %pip install --quiet /content/gansrc
    %cd /content/gansrc/{folder}
"""


def write_notebook(chapter: Path, repository: str) -> None:
    """Write `chapter` as .ipynb, led by a cell that makes it run where only the notebook was opened."""
    notebook = jupytext.read(chapter)
    folder = chapter.parent.relative_to(ROOT).as_posix()
    notebook.cells.insert(0, new_code_cell(FETCH.format(repository=repository, folder=folder)))
    jupytext.write(notebook, chapter.with_suffix(".ipynb"))


if __name__ == "__main__":
    for chapter in sorted((ROOT / "book").rglob("*.md")):
        if "format_name: myst" in chapter.read_text(encoding="utf-8")[:300]:
            write_notebook(chapter, sys.argv[1])
