"""Chapters as tests: `pytest --nbval-lax book` runs every cell of every MyST chapter, as nbval does."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from unittest.mock import patch

import pytest

try:
    import jupytext
    import nbformat
    from nbval.plugin import IPyNbFile
except ImportError:  # without Jupyter the unit tests still run
    IPyNbFile = object

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: threads that wait shall not spin
if folder := os.environ.get("GANSRC_DATA"):  # cells run elsewhere, in their chapter's folder
    os.environ["GANSRC_DATA"] = os.path.abspath(os.path.expanduser(folder))

own = str(Path(sys.prefix, "share", "jupyter"))  # this environment's kernel, whatever others there are
os.environ["JUPYTER_PATH"] = os.pathsep.join(filter(None, [own, os.environ.get("JUPYTER_PATH", "")]))

ROOT = Path(__file__).parent
sys.path.append(str(ROOT / "book/_ext"))
CHECKED = "nbval-check-output"


def read_chapter(path: Path) -> nbformat.NotebookNode:
    """Read a chapter; its cells tagged `nbval-check-output` get their outputs from tests/reference."""
    notebook = jupytext.read(path)
    checked = [cell for cell in notebook.cells if CHECKED in cell.metadata.get("tags", [])]
    reference = (ROOT / "tests/reference" / path.relative_to(ROOT / "book")).with_suffix(".ipynb")
    stored = nbformat.read(reference, as_version=4).cells if reference.exists() else []
    if [cell.source for cell in checked] != [cell.source for cell in stored]:
        name = reference.relative_to(ROOT)
        raise pytest.Collector.CollectError(f"{name} lacks the tagged cells of {path}: make references")
    for cell, kept in zip(checked, stored, strict=True):
        cell.outputs, cell.execution_count = kept.outputs, 0  # nbval compares only cells with a count
    return notebook


class Chapter(IPyNbFile):
    """A chapter in MyST Markdown, read where nbval expects a notebook."""

    def setup(self) -> None:
        """Start its kernel, as the book's build does where that is at hand."""
        with suppress(ImportError):
            import warm_kernels

            warm_kernels.offer()
        super().setup()

    def collect(self) -> Iterable[pytest.Item]:
        notebook = read_chapter(self.path)
        with patch("nbval.plugin.nbformat.read", lambda *args, **kwargs: notebook):
            return list(super().collect())


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> Chapter | None:
    lax, strict = (parent.config.getoption(name, False) for name in ("nbval_lax", "nbval"))
    if not (lax or strict) or file_path.suffix != ".md":
        return None
    has_cells = "format_name: myst" in file_path.read_text(encoding="utf-8")[:300]
    if has_cells and not lax:
        raise pytest.UsageError(f"{file_path}: a chapter keeps no outputs to compare with: use --nbval-lax")
    return Chapter.from_parent(parent, path=file_path) if has_cells else None
