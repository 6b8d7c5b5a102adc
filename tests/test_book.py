"""The book's own extensions, on a book of six pages that is built with the real configuration."""

from __future__ import annotations

import html
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from xml.etree import ElementTree

import nbclient
import nbformat
import pytest
from fontTools import ttLib
from jupyter_client.provisioning import KernelProvisionerFactory

pytest.importorskip("jupyter_book")

ROOT = Path(__file__).parents[1]
CHAPTER = """---
jupytext: {text_representation: {extension: .md, format_name: myst}}
kernelspec: {display_name: Python 3, language: python, name: python3}
---
# Chapter

$$ a = h $$ (eq-4)

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
Also as {printed}`one PDF`.

```{figure-of} fig-3
```

:::{admonition} Verdict: {verdict}`T3`
:class: verdict
In short.
:::
"""
CLAIMS = """
- {id: T3, page: chapter, paper: "$C(G)$", shown: "error {worst_error:.1e}",
   rule: "worst_error < 1e-12", holds: "It holds.", fails: "It fails."}
"""
COLOUR = """---
jupytext: {text_representation: {extension: .md, format_name: myst}}
kernelspec: {display_name: Python 3, language: python, name: python3}
---
# RED

```{code-cell} ipython3
import os
from pathlib import Path
print(os.environ["GANSRC_DATA"], Path("runs/red-mnist/run.json").read_text())
```

```{code-cell} ipython3
def later():
    from gansrc import datasets, models
    return models.RED, datasets.load
```
"""
BLUE = COLOUR.replace("RED", "BLUE").replace("red-mnist", "blue-lfw")
PACKAGE = {
    "gansrc/__init__.py": '__version__ = "1"\n',
    "gansrc/cli.py": "one = 1\n",
    "gansrc/claims.py": "def evidence(): ...\n",
    "gansrc/datasets.py": "def load(name): ...\n",
    "gansrc/models/__init__.py": """from gansrc.models.base import Base
from gansrc.models.blue import BLUE
from .red import RED
""",
    "gansrc/models/base.py": "class Base: ...\nclass BaseRecipe: ...\n",
    "gansrc/models/red.py": "from gansrc.models.base import Base\nRED = 1\n",
    "gansrc/models/blue.py": "from .base import Base\nBLUE = 1\n",
}
TOY = '''"""Toys: `drum_`."""

def beat(times: "Int[Tensor, 'n']", *, loud: bool = True) -> int:
    r"""A drum_ of `n_` beats, $n^2$ of them | or * so; `many`.

    $$\\frac{n}{2}
    = 1$$

    ``n_`` and C:\\drums, for `times`.
    """
'''
API = "# To play\n\n```{eval-rst}\n.. package:: toys\n```\n"
PAGES = "index", "chapter", "claims", "red", "blue", "api"
TOC = f"{{format: jb-book, root: book/index, chapters: [{', '.join(f'file: book/{p}' for p in PAGES[1:])}]}}"


def write_package(folder: Path) -> None:
    """A package of two models and a record of each."""
    for name, text in PACKAGE.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    for name in ("red-mnist", "blue-lfw"):
        (folder / "book" / "runs" / name).mkdir(parents=True)
        (folder / "book" / "runs" / name / "run.json").write_text('{"recipe": {}, "epochs": 1}')


class Book:
    """A small book in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, ""
        write_package(folder)
        for name in ("_ext", "_static"):
            shutil.copytree(ROOT / "book" / name, folder / "book" / name)
        shutil.copy(ROOT / "_config.yml", folder)
        (folder / "jupyter" / "kernels" / "python3").mkdir(parents=True)
        kernel = {"argv": ["false"], "display_name": "Somebody else's", "language": "python"}
        self.write("jupyter/kernels/python3/kernel.json", json.dumps(kernel))
        self.write("_toc.yml", TOC)
        self.write("book/references.bib", "")
        self.write("book/index.md", PAGE)
        self.write("book/chapter.md", CHAPTER)
        self.write("book/red.md", COLOUR)
        self.write("book/blue.md", BLUE)
        (folder / "imported" / "toys").mkdir(parents=True)
        self.write("imported/toys/__init__.py", '"""To play with."""')
        self.write("imported/toys/drum.py", TOY)
        self.write("imported/toys/_private.py", '"""Not to be seen."""')
        self.write("book/api.md", API)
        self.write("book/claims.md", "# Claims\n\n```{tally}\n```\n\n```{claims}\n```\n")
        self.write("book/claims.yml", CLAIMS)

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text, encoding="utf-8")

    def build(self) -> int:
        program = Path(sys.executable).parent / "jupyter-book"
        command = [program, "build", "-W", "-n", "--keep-going", "."]
        places = {
            "GANSRC_DATA": "data",
            "JUPYTER_PATH": str(self.folder / "jupyter"),
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(self.folder / "imported")]),
        }
        process = subprocess.run(
            command, cwd=self.folder, env=os.environ | places, capture_output=True, text=True
        )
        self.log = re.sub(r"\x1b\[[\d;]*m", "", process.stdout + process.stderr)  # without colours
        return process.returncode

    def executed(self) -> set[str]:
        """The chapters that ran, of whatever fate."""
        assert "Executed notebook" not in self.log  # by the reading, which is to find it in the cache
        return set(re.findall(r"running chapters\.\.\. \[ *\d+%\] book/(\w+)", self.log))

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


def test_a_script_stands_once_on_a_page_that_waits_for_none(built: Book) -> None:
    source = (built.folder / "_build/html/book/index.html").read_text(encoding="utf-8")
    inline = re.findall(r"<script>(.+?)</script>", source)
    assert len(inline) == len(set(inline)) and "thebe" not in source
    at_once = re.findall(r'<script src="[^"]*/([\w-]+)\.js', source)
    assert at_once == ["documentation_options"]
    theme = built.folder / "_build/html/_static/scripts/pydata-sphinx-theme.js"
    assert 'addEventListener("load"' not in theme.read_text(encoding="utf-8")  # it measures nothing then


def test_the_one_style_sheet_finds_its_files_and_has_the_icons_that_are_shown(built: Book) -> None:
    static = built.folder / "_build/html/_static"
    pages = [page.read_text(encoding="utf-8") for page in built.folder.glob("_build/html/book/*.html")]
    shown = {name for page in pages for name in re.findall(r'class="fa-solid fa-([\w-]+)', page)}
    assert all(len(re.findall(r'rel="stylesheet"', page)) <= 1 for page in pages)
    sheet = (static / "styles/book.css").read_text(encoding="utf-8")
    assert sheet.count(".highlight .nn {") == 2  # names of modules, in both themes
    assert ".bs-tooltip-auto" in sheet and ".highlighted" in sheet  # which scripts add
    assert ".carousel-dark" not in sheet and len(sheet) < 250_000
    needed = {(static / "styles" / file).resolve() for file in re.findall(r'url\("([^":]+)"\)', sheet)}
    assert (static / "fonts/stix-two-math.woff").resolve() in needed and all(f.exists() for f in needed)
    letters = {
        name: int(letter, 16)
        for names, letter in re.findall(r'([^{}]*)\{content:"\\(\w+) ?"\}', sheet)
        for name in re.findall(r"\.fa-([\w-]+):before", names)
    }
    assert "magnifying-glass" in shown <= letters.keys() and "anchor" not in letters
    font = static / "vendor/fontawesome/webfonts/fa-solid-900.ttf"
    assert set(letters.values()) <= set(ttLib.TTFont(font).getBestCmap()) and font.stat().st_size < 10_000
    assert f"{font.stem}.woff2" not in sheet


def test_the_font_of_formulas_has_their_letters_and_is_asked_for_at_once(built: Book) -> None:
    html = built.folder / "_build/html"
    chapter = (html / "book/chapter.html").read_text(encoding="utf-8")
    asked = re.search(r'<link rel="preload" href="\.\./([^"]+)" as="font"[^>]* crossorigin>', chapter)
    assert chapter.index('rel="preload"') < chapter.index('rel="stylesheet"')
    assert 'as="font"' not in (html / "search.html").read_text(encoding="utf-8")
    letters = ttLib.TTFont(html / asked[1]).getBestCmap()
    assert {ord("="), 0x1D44E, 0x210E} <= letters.keys() and 0x1D44F not in letters  # a = h, slanted
    assert (html / asked[1]).stat().st_size < 20_000


def test_the_font_has_the_signs_that_a_browser_draws_by_itself(
    extension: Callable[[str], ModuleType],
) -> None:
    letters = extension("page_styles").letters
    plain = letters(["√ − <math><mi>x</mi><mo>+</mo></math>"])
    assert plain == {ord("x"), ord("+"), 0x1D465}  # x, slanted
    assert {ord("√"), ord("−")} <= letters(["<math><msqrt><mn>2</mn></msqrt><mo>-</mo></math>"])


@pytest.mark.parametrize("tex", [r"\tfrac1n + \tfrac{\dfrac ab}{c}", r"x + {\textstyle \max_a b}"])
def test_the_style_of_a_fraction_stands_on_an_element_around_it(
    tex: str, extension: Callable[[str], ModuleType]
) -> None:
    found = extension("native_math").mathml(tex, block=False)
    assert "<mstyle " in found
    assert not re.search(r"<(?!mstyle|mtable)\w+[^>]* (?:displaystyle|scriptlevel)=", found)
    ElementTree.fromstring(found.replace("&ApplyFunction;", ""))  # elements end where they should


def test_a_chapter_can_be_downloaded_as_a_notebook(built: Book) -> None:
    file = built.folder / "_build/html/_sources/book/chapter.ipynb"
    cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
    assert "SystemExit" in "".join(cells[0]["source"])  # without an address it can only tell
    assert "> Said of (4)." in "".join(cells[1]["source"])
    assert "chapter.ipynb" in (built.folder / "_build/html/book/chapter.html").read_text(encoding="utf-8")


def test_figures_of_a_chapter_reach_the_other_pages(built: Book) -> None:
    assert "1.25 × 10⁻¹⁶ is agrees ." in built.text("index")
    assert "agrees It holds." in built.text("claims")


def test_verdicts_are_counted_and_the_counts_filter_the_table(built: Book) -> None:
    assert "Claims # 1 agree Claim " in built.text("claims")
    source = (built.folder / "_build/html/book/claims.html").read_text(encoding="utf-8")
    assert 'href="#agrees"' in source and "claims.js" in source and "section-" in source
    assert "claims.js" not in (built.folder / "_build/html/book/index.html").read_text(encoding="utf-8")


def test_a_figure_stands_on_another_page_too(book: Book) -> None:
    assert "Figure 3 of the paper. From Chapter ." in book.text("index")
    source = (book.folder / "_build/html/book/index.html").read_text(encoding="utf-8")
    assert source.count('alt="Boxes"') == 1 and 'href="chapter.html#fig-3"' in source
    book.write("book/chapter.md", CHAPTER.replace(":alt: Boxes", ":alt: Two boxes"))
    assert book.build() == 0
    assert 'alt="Two boxes"' in (book.folder / "_build/html/book/index.html").read_text(encoding="utf-8")
    book.write("book/index.md", PAGE.replace("{figure-of} fig-3", "{figure-of} fig-9"))
    assert book.build() != 0 and "no page has the figure 'fig-9'" in book.log


def test_the_line_that_carries_figures_is_not_on_its_page(book: Book) -> None:
    source = (book.folder / "_build/html/book/chapter.html").read_text(encoding="utf-8")
    assert "evidence" in book.text("chapter")  # the cell that hands them over
    assert "data-figures" not in source and "cell_output" not in source.split("<article", 1)[1]


def test_a_package_is_documented_module_by_module(book: Book) -> None:
    text, source = book.text("api"), (book.folder / "_build/html/book/api.html").read_text(encoding="utf-8")
    assert re.search(r"toys # To play with. toys.drum # Toys: drum_ . toys.drum. beat \(", text)
    assert "A drum_ of n_ beats, n 2 of them | or * so; many ." in text
    assert "<mfrac><mi>n</mi><mn>2</mn></mfrac><mo>=</mo><mn>1</mn>" in source
    assert r"n_ and C:\drums, for times ." in text
    assert "Not to be seen" not in text
    assert 'href="../_modules/toys/drum.html#beat"' in source


def test_nothing_runs_twice(book: Book) -> None:
    assert book.executed() == {"chapter", "red", "blue"}
    assert book.build() == 0
    assert book.executed() == set()
    assert "no targets are out of date" in book.log


def test_kernels_know_the_data_folder_by_its_full_name(book: Book) -> None:
    assert str(book.folder / "data") in book.text("red")


def test_what_no_chapter_uses_runs_nothing(book: Book) -> None:
    book.write("gansrc/cli.py", "one = 2\n")
    book.write(
        "gansrc/models/red.py", '"""Red."""\n' + PACKAGE["gansrc/models/red.py"] + '"""One."""  # once\n'
    )
    assert book.build() == 0
    assert "no targets are out of date" in book.log


def test_a_new_module_gets_its_place(book: Book) -> None:
    book.write("imported/toys/kite.py", '"""It flies."""')
    assert book.build() == 0
    assert "toys.kite # It flies." in book.text("api")
    assert book.executed() == set()


def test_a_models_file_runs_its_page_alone(book: Book) -> None:
    book.write("gansrc/models/red.py", PACKAGE["gansrc/models/red.py"].replace("1", "2"))
    assert book.build() == 0
    assert book.executed() == {"red"}


def test_a_data_set_that_comes_to_hand_runs_the_pages_that_use_it(book: Book) -> None:
    (book.folder / "data").mkdir()
    book.write("data/lfw.npz", "")
    assert book.build() == 0
    assert book.executed() == {"blue"}


def test_a_record_runs_its_page_also_after_a_build_that_another_page_broke(book: Book) -> None:
    book.write("book/runs/red-mnist/run.json", '{"recipe": {}, "epochs": 2}')
    book.write("book/blue.md", BLUE.replace("import os\n", ""))
    assert book.build() != 0  # before the red page was read, though it ran
    book.write("book/blue.md", BLUE)
    assert book.build() == 0
    assert '"epochs": 2' in book.text("red")
    assert book.build() == 0
    assert book.executed() == set()


def test_a_page_that_is_edited_runs_nothing_again_and_keeps_its_figures(book: Book) -> None:
    book.write("book/chapter.md", CHAPTER + "\nOne more sentence.\n")
    book.write("book/index.md", PAGE + "\nOne more sentence.\n")
    assert book.build() == 0
    assert book.executed() == set()
    assert "1.25 × 10⁻¹⁶ is agrees ." in book.text("index")


def test_a_corrupted_figure_flips_the_verdict_on_pages_that_nobody_touched(book: Book) -> None:
    book.write("book/chapter.md", CHAPTER.replace("1.25e-16", "1.25e-6"))
    assert book.build() == 0
    assert "does not agree It fails." in book.text("claims")
    assert "Claims # 1 do not agree Claim " in book.text("claims")
    assert "1.25 × 10⁻⁶ is does not agree ." in book.text("index")
    assert "verdict disagrees admonition" in (book.folder / "_build/html/book/index.html").read_text("utf-8")
    kept = list((book.folder / "_build/.jupyter_cache/executed").iterdir())
    assert len(kept) == 3  # the chapter as it was before has left the cache


def test_what_cannot_be_compared_says_what_it_lacks_wherever_its_verdict_stands(book: Book) -> None:
    needs = 'needs: "worst_error == 0", lacks: "{worst_error:.0e} is not 0", rule:'
    book.write("book/claims.yml", CLAIMS.replace("rule:", needs))
    assert book.build() == 0, book.log
    title = "not comparable: 1 × 10⁻¹⁶ is not 0"
    assert f"needs worst_error == 0 worst_error < 1e-12 {title}" in book.text("claims")
    assert f"1.25 × 10⁻¹⁶ is {title} ." in book.text("index")
    page = (book.folder / "_build/html/book/index.html").read_text("utf-8")
    assert "verdict incomparable admonition" in page and 'class="verdict-kind incomparable"' in page


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
    assert "Also as one PDF." in (book.folder / "_build/html/book/index.html").read_text(encoding="utf-8")
    config = (ROOT / "_config.yml").read_text(encoding="utf-8")
    book.write("_config.yml", config.replace('url: ""', 'url: "https://github.com/somebody/something"'))
    book.write("book/chapter.md", CHAPTER)
    book.write("book/index.md", PAGE)
    assert book.build() == 0, book.log
    page = (book.folder / "_build/html/book/chapter.html").read_text(encoding="utf-8")
    file = book.folder / "_build/html/_sources/book/chapter.ipynb"
    assert "git clone --quiet --depth 1 https://github.com/somebody/something" in file.read_text("utf-8")
    for url in (
        "https://colab.research.google.com/github/somebody/something/blob/notebooks/book/chapter.ipynb",
        "https://mybinder.org/v2/gh/somebody/something/notebooks?urlpath=lab/tree/book/chapter.ipynb",
        "https://github.com/somebody/something/edit/main/book/chapter.md",
        "https://github.com/somebody/something/issues/new",
    ):
        assert url in html.unescape(page)
    site = "https://somebody.github.io/something/"
    assert f'<meta property="og:image" content="{site}_static/readme.png">' in page
    index = (book.folder / "_build/html/book/index.html").read_text(encoding="utf-8")
    assert re.search(f'Also as <a [^>]*href="{site}[\\w-]+\\.pdf">one PDF</a>', index)
    assert f"<loc>{site}book/chapter.html</loc>" in (book.folder / "_build/html/sitemap.xml").read_text()
    assert f'<base href="{site}">' in (book.folder / "_build/html/404.html").read_text(encoding="utf-8")


@pytest.fixture
def extension(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Import an extension, as Sphinx does."""
    monkeypatch.syspath_prepend(str(ROOT / "book" / "_ext"))
    return importlib.import_module


@pytest.mark.parametrize("tex", [r"\hat x_0", r"\bar\alpha_t", r"\sqrt{1 - \tilde x_i}"])
def test_an_index_stands_beside_a_letter_with_an_accent(
    tex: str, extension: Callable[[str], ModuleType]
) -> None:
    found = extension("native_math").mathml(tex, block=False)
    assert "<mover" in found and "<msub>" in found and "<munder" not in found


@pytest.mark.parametrize(
    ("tex", "spaces"),
    [
        (r"|u| + |v|", [("0", "0")] * 4),  # browsers set the third apart, as if it stood between two things
        (r"\max(0, x)", [("0", "0")]),
        (r"-\log x", [("0.1667em", "0.1667em")]),
        (r"\min_G V", [("0", "0.1667em")]),
        (r"(\log x)", [("0", "0.1667em")]),
    ],
)
def test_bars_and_names_of_functions_stand_apart_only_where_tex_has_it_so(
    tex: str, spaces: list[tuple[str, str]], extension: Callable[[str], ModuleType]
) -> None:
    found = extension("native_math").mathml(tex, block=False)
    assert re.findall(r'lspace="([^"]+)" rspace="([^"]+)"', found) == spaces


@pytest.mark.parametrize(
    ("cell", "modules"),
    [
        ("from gansrc.models.red import RED", "models.red models.base"),
        ("from gansrc.models import BLUE", "models.blue models.base"),  # handed on by the package
        ("from gansrc import models as m\nm.red.RED", "models.red models.base"),
        ("import gansrc.models\ngansrc.models.RED\ngansrc.cli", "models.red models.base cli"),
        ("from gansrc import models\nmodels.BOTH", "models models.red models.blue models.base"),
        ("from gansrc import models\nprint(models)", "models models.red models.blue models.base"),
        ("from gansrc.models import *", "models models.red models.blue models.base"),
        ("from gansrc.models import late", "models models.red models.blue models.base"),
        ("def f():\n    if True:\n        import gansrc.cli as x", "cli"),
        ("if TYPE_CHECKING:\n    from gansrc import cli", ""),
        ("import gansrc, torch\nprint(gansrc.__version__, gansrc.__file__)", ""),
        ("from gansrc.lazy import Kind", "lazy.kind"),  # found where it is defined
        ("%matplotlib inline\n!ls\nfrom gansrc import cli\n'gansrc.claims'", "cli"),
    ],
)
def test_of_the_package_a_chapter_depends_on_what_it_uses(
    tmp_path: Path, extension: Callable[[str], ModuleType], cell: str, modules: str
) -> None:
    write_package(tmp_path)
    (tmp_path / "gansrc/models/__init__.py").write_text(
        PACKAGE["gansrc/models/__init__.py"] + "BOTH = RED, BLUE\n"
    )
    (tmp_path / "gansrc/lazy").mkdir()
    (tmp_path / "gansrc/lazy/__init__.py").write_text("def __getattr__(name): ...\n")
    (tmp_path / "gansrc/lazy/kind.py").write_text("class Kind: ...\n")
    found = extension("chapter_inputs").Repository(tmp_path).inputs(["1 + 1", cell]).modules
    assert found - {"gansrc"} == {f"gansrc.{name}" for name in modules.split()}
    assert ("gansrc" in found) == ("__version__" in cell)


@pytest.mark.parametrize(
    ("cell", "records"),
    [
        ('Run("../runs/red")', "red"),
        ('[Path("../runs") / name for name in ("red", "red-2")]', "red red-2"),
        ('Path("../runs").glob("red*")', "red red-2"),
        ('[Path(f"../runs/red-{seed}") for seed in range(3)]', "red-2"),
        ('[Path("../runs") / ("red-" + seed) for seed in "123"]', "red-2"),
        ('[Path("../runs", "red-{}".format(seed)) for seed in "123"]', "red-2"),
        ('recorded = Run("../runs/red")', "red"),
        ("runs.recorded()", "red red-2 blue"),
        ('sorted(Path("../runs").iterdir())', "red red-2 blue"),
        ('Run("../runs/red"), Path("../runs").glob("*/run.json")', "red red-2 blue"),
        ('[Run(Path("../runs") / name) for name in names]', "red red-2 blue"),
        ('[Run(Path("../runs") / f"{colour}-{seed}") for seed in "123"]', "red red-2 blue"),
        ('print(f"{colour}, {name}", "**", f"{a}**{b}-{c}")  # red', ""),
        ('"""red"""', ""),
    ],
)
def test_a_chapter_depends_on_the_records_that_it_names(
    tmp_path: Path, extension: Callable[[str], ModuleType], cell: str, records: str
) -> None:
    for name in ("red", "red-2", "blue"):
        (tmp_path / "book" / "runs" / name).mkdir(parents=True)
    found = extension("chapter_inputs").Repository(tmp_path).inputs([cell]).records
    assert found == set(records.split())


def test_a_record_brings_the_module_of_its_model(
    tmp_path: Path, extension: Callable[[str], ModuleType]
) -> None:
    write_package(tmp_path)
    (tmp_path / "gansrc/models/base.py").write_text("class BaseRecipe: ...")
    (tmp_path / "book/runs/red-mnist/run.json").write_text('{"recipe": {"model": "Base"}}')
    repository = extension("chapter_inputs").Repository(tmp_path)
    assert repository.inputs(['Run("runs/red-mnist")']).modules == {"gansrc.models.base"}
    assert repository.inputs(['Run("runs/blue-lfw")']).modules == set()


def test_of_this_book_an_edited_model_runs_its_own_pages(extension: Callable[[str], ModuleType]) -> None:
    jupytext = pytest.importorskip("jupytext")
    repository, users = extension("chapter_inputs").Repository(ROOT), dict[str, set[str]]()
    for path in (ROOT / "book").rglob("*.md"):
        if "format_name: myst" in path.read_text(encoding="utf-8")[:300]:
            cells = [cell.source for cell in jupytext.read(path).cells if cell.cell_type == "code"]
            for module in repository.inputs(cells).modules:
                users.setdefault(module, set()).add(path.stem)
    records = {"index", "table-1", "rulers"}  # these read its records
    records |= {"run-and-train"}  # and this lists all recipes
    assert users["gansrc.models.gsn"] == {"gsn", "06-advantages"} | records
    assert users["gansrc.models.vae"] == {"vae", "autoencoders", "06-advantages"} | records
    assert "gansrc.cli" not in users and users["gansrc.catalogue"] == {"run-and-train"}
    assert users["gansrc.gan"] >= {"mnist", "faces", "cifar10", "figures", "parzen", "table-1", "deviations"}


@pytest.mark.parametrize(
    ("cell", "data"),
    [
        ('datasets.at_hand("faces")', "faces"),
        ("datasets.mnist(); recipes.CIFAR10_FC", "mnist cifar10"),
        ("halfway, tfds = 1, 2", ""),
    ],
)
def test_a_chapter_depends_on_the_data_sets_that_it_names(
    tmp_path: Path, extension: Callable[[str], ModuleType], cell: str, data: str
) -> None:
    write_package(tmp_path)
    repository = extension("chapter_inputs").Repository(tmp_path)
    assert repository.inputs(["from gansrc import datasets", cell]).data == set(data.split())
    assert repository.inputs([cell]).data == set()  # which cannot load any


def test_the_key_is_that_of_the_inputs_and_of_nothing_else(
    tmp_path: Path, extension: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GANSRC_DATA", str(tmp_path / "data"))
    write_package(tmp_path)
    (tmp_path / "data").mkdir()
    cells = ["from gansrc import datasets, models", 'models.RED, "runs/red-mnist", "faces"']

    def key() -> str:
        repository = extension("chapter_inputs").Repository(tmp_path)
        return repository.key(repository.inputs(cells))

    keys = [key()]
    for name in (
        "gansrc/models/base.py", "gansrc/models/red.py", "book/runs/red-mnist/history.csv", "data/lfw.npz",
        "data/TFD_48x48.mat", "constraints.txt",
    ):  # fmt: skip
        (tmp_path / name).write_text("RED = Base = 2")
        keys.append(key())
    assert len(set(keys)) == 7
    (tmp_path / "book/runs/red-mnist/checkpoint-7").mkdir()
    for name in (
        "book/index.md", "gansrc/cli.py", "gansrc/red.pyc", "gansrc/models/blue.py", "data/cifar10.npz",
        "book/runs/blue-lfw/history.csv", "book/runs/red-mnist/checkpoint-7/net", "book/runs/red-mnist/.lock",
    ):  # fmt: skip
        (tmp_path / name).write_text("3")
    (tmp_path / "gansrc/models/red.py").write_text('"""Red."""\n\nRED = Base = 2  # twice\n"""So."""\n')
    assert key() == keys[-1]
    (tmp_path / "book/runs/red-mnist/history.csv").rename(tmp_path / "book/runs/red-mnist/costs.csv")
    assert key() not in keys


@pytest.mark.parametrize(
    ("given", "folder"),
    [
        ("~/pictures", Path.home() / "pictures"),
        ("../pictures", Path.cwd().parent / "pictures"),
        ("~nobody-of-that-name", Path.cwd() / "~nobody-of-that-name"),
    ],
)
def test_chapters_see_the_data_folder_by_its_full_name(
    extension: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch, given: str, folder: Path
) -> None:
    monkeypatch.setenv("GANSRC_DATA", given)
    monkeypatch.setenv("JUPYTER_PATH", "")
    extension("execution_key").prepare(None, None)
    assert os.environ["GANSRC_DATA"] == str(folder)


@pytest.mark.skipif(sys.platform != "linux", reason="kernels start as always there")
def test_warm_kernels_are_kernels_of_their_own(
    extension: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    factory = KernelProvisionerFactory.instance()
    monkeypatch.setattr(factory, "provisioners", dict(factory.provisioners))
    monkeypatch.setattr(factory, "default_provisioner_name", factory.default_provisioner_name)
    monkeypatch.setenv("COLOUR", "blue")
    extension("warm_kernels").offer()

    def outputs(*cells: str) -> list[str]:
        notebook = nbformat.v4.new_notebook(cells=list(map(nbformat.v4.new_code_cell, cells)))
        nbclient.execute(notebook, cwd=str(tmp_path), timeout=60)
        return [out.get("text") or sorted(out.data)[0] for cell in notebook.cells for out in cell.outputs]

    told = outputs(
        "import os, sys; before = {'torch', 'gansrc'} & set(sys.modules); import torch\n"
        "print(before, os.getcwd(), os.environ['COLOUR'], torch.ones(300, 300).sum())",
        "import matplotlib.pyplot as plt; plt.plot([1, 2]);",
        "torch.set_default_dtype(torch.float64); sys.modules['gansrc'] = None",
    )
    assert told == [f"{{'torch'}} {tmp_path} blue tensor(90000.)\n", "image/png"]
    assert outputs("import torch, gansrc; print(torch.get_default_dtype())") == ["torch.float32\n"]
    with pytest.raises(nbclient.exceptions.DeadKernelError):
        outputs("import os; os.kill(os.getpid(), 9)")


def test_scientific_notation_is_written_out(extension: Callable[[str], ModuleType]) -> None:
    powers = extension("book_claims").powers
    written = powers("2.2e-16, 1e+03, 0.0e+00, page3").replace("\N{NO-BREAK SPACE}", " ")
    assert written == "2.2 × 10⁻¹⁶, 1 × 10³, 0, page3"


def test_mathematics_stands_between_two_dollars(extension: Callable[[str], ModuleType]) -> None:
    parts = [(node.tagname, node.astext()) for node in extension("book_claims").inline("$a$ is $b$ here")]
    assert parts == [("math", "a"), ("#text", " is "), ("math", "b"), ("#text", " here")]


def test_a_verdict_with_a_restriction_says_which(extension: Callable[[str], ModuleType]) -> None:
    page = extension("book_claims")
    env = SimpleNamespace(
        verdicts={"T3": page.Verdict("agrees, with a restriction", "", "It holds.")},
        claims={"T3": SimpleNamespace(restriction="On the support.")},
    )
    words = "".join(node.astext() for node in page.Fill.wording(SimpleNamespace(env=env), "T3"))
    assert words == "agrees, with a restriction It holds. On the support."


def test_figures_are_gathered_from_the_pages_that_there_are(
    extension: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    page, warnings = extension("book_claims"), list[str]()
    monkeypatch.setattr(page.logger, "warning", lambda text, *parts, **_: warnings.append(text % parts))
    app = SimpleNamespace(config=SimpleNamespace(claims_file="claims.yml"))
    outputs = {
        name: [f'<div class="evidence" data-claim="{name}" data-figures="{{&quot;error&quot;: 1}}"></div>']
        for name in ("T3", "T9")
    }
    row = page.Claim("T3", "theory", "eq. (6)", "{error}", "error < 2", "It holds.", "It fails.")
    env, reader = (
        SimpleNamespace(
            evidence={}, claims_users=set(), claims_page="", claims={"T3": row}, figures={}, verdicts={}
        )
        for _ in range(2)
    )
    env.claims_page, env.evidence["one"] = "table", outputs["T3"]
    reader.claims_users, reader.evidence["two"] = {"two"}, outputs["T9"]
    page.merge(app, env, ["two"], reader)  # who has not met the page of claims
    assert env.claims_page == "table" and page.gather(app, env) == ["two"]
    assert env.verdicts["T3"].kind == "agrees" and env.figures.keys() == {"T3", "T9"}
    assert warnings == ["evidence for T9, which has no row in claims.yml: add one"]
    assert page.gather(app, env) == []  # nothing new: no page is written again
    page.forget(app, env, "one")
    assert page.gather(app, env) == ["two"] and env.verdicts["T3"].kind == page.MISSING
    page.forget(app, env, "two")
    assert page.gather(app, env) == [] and not env.figures
