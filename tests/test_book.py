"""The book's own extensions, on a book of three pages that is built with the real configuration."""

from __future__ import annotations

import html
import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

pytest.importorskip("jupyter_book")

ROOT = Path(__file__).parents[1]
CHAPTER = """---
jupytext: {text_representation: {extension: .md, format_name: myst}}
kernelspec: {display_name: Python 3, language: python, name: python3}
---
# Chapter

$$ a = b $$ (eq-4)

```{prf:proposition}
:label: prop-2
Said of {eq}`eq-4`.
```

```{figure} _static/game.svg
:name: fig-3
:alt: Boxes

Figure 3 of the paper.
```

```{code-cell} ipython3
from gansrc.claims import evidence
evidence("T3", worst_error=1.25e-16)
```
"""
PAGE = """# Page

See {eq}`eq-4`, {prf:ref}`prop-2`, {numref}`fig-3`; {result}`T3.worst_error:.2e` is {verdict}`T3`.

:::{admonition} Verdict: {verdict}`T3`
:class: verdict
In short.
:::
"""
CLAIMS = """
- {id: T3, page: chapter, paper: "$C(G)$", shown: "error {worst_error:.1e}",
   rule: "worst_error < 1e-12", holds: "It holds.", fails: "It fails."}
"""
TOC = "{format: jb-book, root: book/index, chapters: [{file: book/chapter}, {file: book/claims}]}"


class Book:
    """A small book in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, ""
        (folder / "gansrc").mkdir()
        (folder / "book" / "runs").mkdir(parents=True)
        for name in ("_ext", "_static"):
            shutil.copytree(ROOT / "book" / name, folder / "book" / name)
        shutil.copy(ROOT / "_config.yml", folder)
        self.write("_toc.yml", TOC)
        self.write("book/references.bib", "")
        self.write("gansrc/theory.py", "one = 1\n")
        self.write("book/index.md", PAGE)
        self.write("book/chapter.md", CHAPTER)
        self.write("book/claims.md", "# Claims\n\n```{claims}\n```\n")
        self.write("book/claims.yml", CLAIMS)

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text, encoding="utf-8")

    def build(self) -> int:
        program = Path(sys.executable).parent / "jupyter-book"
        command = [program, "build", "-W", "-n", "--keep-going", "."]
        process = subprocess.run(command, cwd=self.folder, capture_output=True, text=True)
        self.log = process.stdout + process.stderr
        return process.returncode

    def executed(self) -> bool:
        return "running chapters" in self.log

    def text(self, page: str) -> str:
        source = (self.folder / "_build/html/book" / f"{page}.html").read_text(encoding="utf-8")
        article = source.split("<article", 1)[1].split("</article>", 1)[0]
        return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", article)).split())


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Book:
    """The small book, built without a warning."""
    book = Book(tmp_path_factory.mktemp("book"))
    assert book.build() == 0, book.log
    return book


@pytest.fixture
def book(built: Book, tmp_path: Path) -> Iterator[Book]:
    """The built book, to be altered; afterwards it is again as it was, but for files that no test touches."""
    log, kept, large = built.log, tmp_path / "kept", shutil.ignore_patterns("_static")
    shutil.copytree(built.folder, kept, ignore=large)
    yield built
    for path in sorted(built.folder.rglob("*"), reverse=True):  # a folder after what is in it
        if "_static" in path.parts:
            continue
        if path.is_file():
            path.unlink()
        elif not any(path.iterdir()):
            path.rmdir()
    shutil.copytree(kept, built.folder, dirs_exist_ok=True)
    built.log = log


def test_the_papers_numbers_hold_across_pages(built: Book) -> None:
    assert "See (4) , Proposition 2 , Figure 3 ;" in built.text("index")
    assert "Proposition 2 Said of (4) ." in built.text("chapter")


def test_a_script_stands_once_on_a_page(built: Book) -> None:
    source = (built.folder / "_build/html/book/index.html").read_text(encoding="utf-8")
    inline = re.findall(r"<script>(.+?)</script>", source)
    assert len(inline) == len(set(inline))


def test_a_chapter_can_be_downloaded_as_a_notebook(built: Book) -> None:
    assert (built.folder / "_build/html/_sources/book/chapter.ipynb").exists()
    assert "chapter.ipynb" in (built.folder / "_build/html/book/chapter.html").read_text(encoding="utf-8")


def test_figures_of_a_chapter_reach_the_other_pages(built: Book) -> None:
    assert "1.25 × 10⁻¹⁶ is agrees ." in built.text("index")
    assert "agrees It holds." in built.text("claims")


def test_nothing_runs_twice(book: Book) -> None:
    assert book.executed()
    assert "Executed notebook" not in book.log  # by the reading, which found it in the cache
    assert book.build() == 0
    assert not book.executed()
    assert "no targets are out of date" in book.log


def test_a_change_of_the_package_runs_the_chapters_again(book: Book) -> None:
    (old,) = (book.folder / "_build").glob(".jupyter_cache-*")
    book.write("gansrc/theory.py", "one = 1.0\n")
    assert book.build() == 0
    assert book.executed()
    (new,) = (book.folder / "_build").glob(".jupyter_cache-*")
    assert old != new


def test_a_page_that_is_edited_runs_nothing_again_and_keeps_its_figures(book: Book) -> None:
    book.write("book/chapter.md", CHAPTER + "\nOne more sentence.\n")
    book.write("book/index.md", PAGE + "\nOne more sentence.\n")
    assert book.build() == 0
    assert not book.executed()
    assert "1.25 × 10⁻¹⁶ is agrees ." in book.text("index")


def test_a_corrupted_figure_flips_the_verdict_on_pages_that_nobody_touched(book: Book) -> None:
    book.write("book/chapter.md", CHAPTER.replace("1.25e-16", "1.25e-6"))
    assert book.build() == 0
    assert "does not agree It fails." in book.text("claims")
    assert "1.25 × 10⁻⁶ is does not agree ." in book.text("index")
    assert "verdict disagrees admonition" in (book.folder / "_build/html/book/index.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("cell", "warning"),
    [
        ("1 + 1", "claim T3 of chapter is not computed in this build"),
        ('evidence("T3", error=1.0)', "needs the figure 'worst_error', got ['error']"),
    ],
)
def test_missing_evidence_fails_the_build_and_the_page_says_so(book: Book, cell: str, warning: str) -> None:
    book.write("book/chapter.md", CHAPTER.replace('evidence("T3", worst_error=1.25e-16)', cell))
    assert book.build() != 0
    assert warning in book.log
    assert "not computed in this build" in book.text("claims")
    assert "not computed in this build" in book.text("index")


def test_a_failing_cell_fails_the_build(book: Book) -> None:
    book.write("book/chapter.md", CHAPTER.replace("1.25e-16", "1 / 0"))
    assert book.build() != 0
    assert "ZeroDivisionError" in book.log


def test_labels_that_are_not_the_papers_fail_the_build(book: Book) -> None:
    wrong = (
        CHAPTER.replace("(eq-4)", "(eq-ours)").replace("prop-2", "prop-ours").replace("`eq-4`", "`eq-ours`")
    )
    book.write("book/chapter.md", wrong)
    book.write("book/index.md", "# Page\n")
    assert book.build() != 0
    assert "equation label eq-ours is not the paper's" in book.log
    assert "proposition prop-ours is not the paper's" in book.log


def test_an_address_brings_the_buttons_that_need_one(book: Book) -> None:
    assert "colab" not in (book.folder / "_build/html/book/chapter.html").read_text(encoding="utf-8")
    config = (ROOT / "_config.yml").read_text(encoding="utf-8")
    book.write("_config.yml", config.replace('url: ""', 'url: "https://github.com/somebody/something"'))
    book.write("book/chapter.md", CHAPTER)
    assert book.build() == 0, book.log
    page = (book.folder / "_build/html/book/chapter.html").read_text(encoding="utf-8")
    for url in (
        "https://colab.research.google.com/github/somebody/something/blob/notebooks/book/chapter.ipynb",
        "https://mybinder.org/v2/gh/somebody/something/notebooks?urlpath=lab/tree/book/chapter.ipynb",
        "https://github.com/somebody/something/edit/main/book/chapter.md",
        "https://github.com/somebody/something/issues/new",
    ):
        assert url in html.unescape(page)


def extension(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "book" / "_ext" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_cache_is_keyed_on_package_runs_pins_and_data_and_on_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = extension("execution_key").key
    monkeypatch.setenv("GANSRC_DATA", str(tmp_path / "data"))
    for folder in ("gansrc/deep", "book/runs/mnist/checkpoint-7"):
        (tmp_path / folder).mkdir(parents=True)
    keys = [key(tmp_path)]
    for name in ("gansrc/a.py", "gansrc/deep/b.py", "book/runs/mnist/run.json", "constraints.txt"):
        (tmp_path / name).write_text("1")
        keys.append(key(tmp_path))
    (tmp_path / "data" / "MNIST" / "raw").mkdir(parents=True)
    keys.append(key(tmp_path))
    (tmp_path / "data" / "lfw.npz").write_text("1")
    keys.append(key(tmp_path))
    assert len(set(keys)) == 7
    for name in ("book/index.md", "gansrc/a.pyc", "book/runs/mnist/checkpoint-7/net", "README.md"):
        (tmp_path / name).write_text("1")
    assert key(tmp_path) == keys[-1]


def test_scientific_notation_is_written_out() -> None:
    powers = extension("book_claims").powers
    written = powers("2.2e-16, 1e+03, 0.0e+00, page3").replace("\N{NO-BREAK SPACE}", " ")
    assert written == "2.2 × 10⁻¹⁶, 1 × 10³, 0, page3"
