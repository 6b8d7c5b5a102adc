"""Chapters outside of the book: as notebooks for plain Jupyter, and saved from JupyterLab."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

jupytext = pytest.importorskip("jupytext")
from save_chapters import saved  # noqa: E402

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "book" / "_ext"))
from plain_notebooks import plain  # noqa: E402

CHAPTERS = [
    path.relative_to(ROOT).as_posix()
    for path in sorted((ROOT / "book").rglob("*.md"))
    if "format_name: myst" in path.read_text(encoding="utf-8")[:300]
]
RAW = re.compile(r"^[`:]{3,}\{.*|^:::.*|\{[\w:-]+\}`[^`]*`|^\([\w-]+\)=$|^:[\w-]+: .*", re.MULTILINE)
CHAPTER = """---
jupytext: {text_representation: {extension: .md, format_name: myst}}
kernelspec: {display_name: Python 3, language: python, name: python3}
---
# Page

:::{admonition} Verdict: {verdict}`T3`
:class: verdict
As {cite:t}`somebody` say of {eq}`eq-4`, a {term}`net <network>` learns.
:::

```{code-cell} ipython3
---
tags: [hide-input]
mystnb:
  figure: {name: fig-3, caption: "Digits, {term}`drawn`."}
---
from pathlib import Path
print(Path("../runs/record.txt").read_text())
```

```{exercise}
:label: ex-one
Add.
```

```{solution-start} ex-one
:class: dropdown
```

So:

```{code-cell} ipython3
1 + 1
```

```{solution-end}
```

The end.
"""


def looked_up(role: str, text: str) -> str:
    return f"[{role} {text}]"


def notebook(text: str = CHAPTER, page: str = "book/05-experiments/mnist", url: str = "") -> Any:
    return plain(jupytext.reads(text, fmt="md:myst"), page, url, looked_up)


def test_boxes_references_captions_and_solutions_can_be_read_in_plain_jupyter() -> None:
    first, text, code, caption, rest = notebook().cells
    assert text.source.strip() == (
        "# Page\n\n\n> **Verdict: [verdict T3]**\n>\n> As [cite:t somebody] say of (4), a net learns."
    )
    assert code.metadata["jupyter"] == {"source_hidden": True} and "mystnb" not in code.metadata
    assert caption.source == "*Digits, drawn.*"
    folded, end = rest.source.split("</details>")
    assert "<details><summary>Solution</summary>" in folded and end.strip() == "The end."
    assert "So:\n\n```python\n1 + 1\n```" in folded
    assert [cell.cell_type for cell in notebook().cells].count("code") == 2  # and none of the solution's


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_no_chapter_leaves_raw_markup(chapter: str) -> None:
    text = (ROOT / chapter).read_text(encoding="utf-8")
    cells = notebook(text, chapter.removesuffix(".md")).cells
    markdown = [re.sub(r"^```.*?^```$", "", c.source, flags=re.DOTALL | re.MULTILINE)
                for c in cells if c.cell_type == "markdown"]  # fmt: skip
    assert not [raw for source in markdown for raw in RAW.findall(source)]
    assert all(source.count("<details>") == source.count("</details>") for source in markdown)


def run(notebook: Any, folder: Path) -> str:
    """What the cells of a notebook print, run in a folder; an error's last line, where one fails."""
    nbclient = pytest.importorskip("nbclient")
    client = nbclient.NotebookClient(
        notebook,
        timeout=120,
        kernel_name="python3",
        allow_errors=True,
        resources={"metadata": {"path": folder}},
    )
    client.execute()
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", [])]
    errors = [out["evalue"] for out in outputs if out.output_type == "error"]
    return (
        errors[0]
        if errors
        else "".join(out.get("text", "") for out in outputs if out.get("name") == "stdout")
    )


@pytest.mark.slow
def test_a_notebook_alone_fetches_what_it_reads_or_says_what_to_do(tmp_path: Path) -> None:
    repository, empty = tmp_path / "repository", tmp_path / "empty"
    (repository / "book" / "runs").mkdir(parents=True)
    (repository / "book" / "05-experiments").mkdir()
    for name in ("runs/record.txt", "05-experiments/mnist.md"):
        (repository / "book" / name).write_text("a record")
    git = ["git", "-C", str(repository), "-c", "user.name=x", "-c", "user.email=x@x.org"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"]):
        subprocess.run([*git, *command], check=True)
    empty.mkdir()
    told = run(notebook(), empty)
    assert told == (
        "Put this notebook into book/05-experiments of a copy of the book's repository."
        " In the copy: pip install ."
    )
    for _ in range(2):  # the second time, from what the first has fetched
        assert run(notebook(url=f"file://{repository}"), empty).strip() == "a record"


def test_packages_that_a_chapter_imports_are_installed_with_it() -> None:
    cell = notebook(CHAPTER.replace("1 + 1", "from sklearn import svm"), url="https://x.org").cells[0]
    assert "%pip install --quiet ./gansrc-book scikit-learn\n" in cell.source
    cell = notebook(CHAPTER.replace("1 + 1", "from sklearn import svm")).cells[0]
    assert '" In the copy: pip install . scikit-learn"' in cell.source


@pytest.mark.slow
@pytest.mark.parametrize("url", ["", "https://x.org"])
def test_threads_of_a_notebook_alone_do_not_spin(tmp_path: Path, monkeypatch, url: str) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    code = 'import os\nprint(os.environ["OMP_WAIT_POLICY"])'
    chapter = CHAPTER.replace('from pathlib import Path\nprint(Path("../runs/record.txt").read_text())', code)
    assert run(notebook(chapter, url=url), tmp_path).strip() == "PASSIVE"


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_saving_in_jupyterlab_changes_no_line_that_was_not_edited(chapter: str) -> None:
    text = (ROOT / chapter).read_text(encoding="utf-8")
    assert saved(ROOT / chapter) == text, "run python tests/save_chapters.py"
