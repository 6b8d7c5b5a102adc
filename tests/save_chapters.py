"""Save every chapter as JupyterLab would, so that saving one there changes only what was edited.

Run: python tests/save_chapters.py
"""

from __future__ import annotations

from pathlib import Path

import jupytext
from jupytext.config import load_jupytext_config

BOOK = Path(__file__).parents[1] / "book"


def chapters() -> list[Path]:
    """The pages that are notebooks."""
    return [
        path for path in sorted(BOOK.rglob("*.md")) if "format_name: myst" in path.read_text("utf-8")[:300]
    ]


def saved(chapter: Path) -> str:
    """A chapter as JupyterLab saves it, unedited, by the settings in book/jupytext.toml."""
    config = load_jupytext_config(str(BOOK / "any"))
    notebook = jupytext.reads(chapter.read_text("utf-8"), fmt="md:myst", config=config)
    return jupytext.writes(notebook, fmt="md:myst", config=config)


if __name__ == "__main__":
    for chapter in chapters():
        if (text := saved(chapter)) != chapter.read_text("utf-8"):
            chapter.write_text(text, "utf-8")
            print(chapter.relative_to(BOOK.parent))
