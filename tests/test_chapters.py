"""The chapters are tests: a failing cell fails, a stored output that no longer comes out is noticed."""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gansrc import datasets

pytest.importorskip("nbval")
pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[1]
HEADER = """---
jupytext:
  text_representation:
    extension: .md
    format_name: myst
kernelspec:
  display_name: Python 3
  language: python
  name: python3
---
"""


def cell(code: str, tags: str = "") -> str:
    return f"```{{code-cell}} ipython3\n{f':tags: [{tags}]' if tags else ''}\n\n{code}\n```\n\n"


@pytest.fixture
def book(pytester: pytest.Pytester) -> Path:
    """A book of two chapters and a page without cells, with this project's collector."""
    shutil.copy(ROOT / "conftest.py", pytester.path)
    (pytester.path / "tests").mkdir()
    shutil.copy(ROOT / "tests/write_references.py", pytester.path / "tests")
    book = pytester.mkdir("book")
    (book / "plain.md").write_text("# No cells\n\n```python\n1 / 0\n```\n")
    (book / "part").mkdir()
    cells = cell("x = 2") + cell("print(x + 2)\nx", "nbval-check-output")
    (book / "part/index.md").write_text(HEADER + cells)
    return book


def run(pytester: pytest.Pytester) -> pytest.RunResult:
    return pytester.runpytest_subprocess("--nbval-lax", "-p", "no:xdist", "-p", "no:cacheprovider", "book")


def write_references(book: Path) -> Path:
    script = book.parent / "tests/write_references.py"
    subprocess.run([sys.executable, script, book / "part/index.md"], check=True)
    return book.parent / "tests/reference/part/index.ipynb"


@pytest.mark.slow
def test_a_failing_cell_fails_and_names_itself_in_the_data_folder_of_the_tests(
    pytester: pytest.Pytester, book: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GANSRC_DATA", "some/data")  # as seen from where pytest starts
    folder = str(pytester.path / "some" / "data")
    good = cell(f"import os\nassert os.environ['GANSRC_DATA'] == {folder!r}")
    with (book / "part/index.md").open("a") as index:
        index.write(good)
    write_references(book)
    (book / "failing.md").write_text(HEADER + good + cell("x = 1\nassert x == 2, 'x is not 2'"))
    result = run(pytester)
    result.assert_outcomes(passed=4, failed=1)
    result.stdout.fnmatch_lines(["*AssertionError*x is not 2*"])


@pytest.mark.parametrize("given", ["some data", "../data", "~/data", "~nobody-of-that-name/data"])
def test_cells_under_test_see_the_data_folder_of_the_command_line(
    monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    monkeypatch.setenv("GANSRC_DATA", given)
    folder = datasets.root()
    runpy.run_path(str(ROOT / "conftest.py"))
    assert os.environ["GANSRC_DATA"] == str(folder)


@pytest.mark.slow
def test_a_tampered_reference_is_caught(pytester: pytest.Pytester, book: Path) -> None:
    reference = write_references(book)
    text = reference.read_text()
    assert '"4\\n"' in text
    reference.write_text(text.replace('"4\\n"', '"5\\n"'))
    result = run(pytester)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*Cell outputs differ*"])


@pytest.mark.slow
@pytest.mark.parametrize("change", ["no reference", "edited cell"])
def test_a_tagged_cell_without_its_stored_output_is_refused(
    pytester: pytest.Pytester, book: Path, change: str
) -> None:
    if change == "edited cell":
        write_references(book)
        chapter = book / "part/index.md"
        chapter.write_text(chapter.read_text().replace("x + 2", "x + 3"))
    result = run(pytester)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*reference/part/index.ipynb lacks the tagged cells of*: make references"])


def test_every_reference_belongs_to_a_chapter() -> None:
    folder = ROOT / "tests/reference"
    names = [path.relative_to(folder).with_suffix(".md") for path in folder.rglob("*.ipynb")]
    assert [name for name in names if not (ROOT / "book" / name).exists()] == []
