"""Run every chapter that has cells tagged `nbval-check-output` and store their outputs in tests/reference."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]


def write_reference(chapter: Path) -> None:
    """Run `chapter` and store the sources and outputs of its tagged cells, nothing else."""
    reference = (ROOT / "tests/reference" / chapter.relative_to(ROOT / "book")).with_suffix(".ipynb")
    notebook = jupytext.read(chapter)
    checked = [cell for cell in notebook.cells if "nbval-check-output" in cell.metadata.get("tags", [])]
    if not checked:
        reference.unlink(missing_ok=True)
        return
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": chapter.parent}}).execute()
    for number, cell in enumerate(checked):
        cell.update(id=f"checked-{number}", metadata={}, execution_count=None)
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = None
    reference.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=checked), reference)
    print(f"{reference.relative_to(ROOT)}: {len(checked)} cells")


if __name__ == "__main__":
    if folder := os.environ.get("GANSRC_DATA"):  # cells run elsewhere, in their chapter's folder
        os.environ["GANSRC_DATA"] = os.path.abspath(os.path.expanduser(folder))
    chosen = [Path(name).resolve() for name in sys.argv[1:]] or sorted((ROOT / "book").rglob("*.md"))
    for chapter in chosen:
        write_reference(chapter)
