"""Chapters as notebooks for plain Jupyter: what only this book's builder understands, in ordinary Markdown.

Boxes become quotations, solutions are folded, captions stand under their cells, and references are words. A
first cell fetches what a notebook lacks that is opened by itself, or says in one line what to do.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell

LookUp = Callable[[str, str], str]
"""What a role and its text come to: a verdict, a citation."""
FENCE = re.compile(r"^(?P<fence>`{3,}|:{3,})\{(?P<name>[\w:-]+)\} *(?P<title>.*)$")
ROLE = re.compile(r"\{(?P<name>[\w:-]+)\}`(?P<text>[^`]+)`")
NUMBERED = {
    "eq": "({})",
    "thm": "Theorem {}",
    "prop": "Proposition {}",
    "alg": "Algorithm {}",
    "fig": "Figure {}",
}
PACKAGES = {"sklearn": "scikit-learn", "sympy": "sympy", "mlxtend": "mlxtend"}
"""What chapters import and the package does not bring."""
CALM = """import importlib.util
import os
from pathlib import Path

# Before torch: threads that wait by spinning make a busy machine many times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
"""
FETCH = """# By itself this notebook lacks what it runs on: fetch that, once.
if not ({there}):
    if not Path("gansrc-book").is_dir():
        !git clone --quiet --depth 1 {url} gansrc-book
    if not importlib.util.find_spec("gansrc"):
        %pip install --quiet {packages}
    os.chdir("gansrc-book/{folder}")"""
TELL = """if not ({there}):
    raise SystemExit(
        "Put this notebook into {folder} of a copy of the book's repository."
        " In the copy: pip install {packages}"
    )"""


def plain(notebook: NotebookNode, page: str, url: str, look_up: LookUp) -> NotebookNode:
    """The notebook of a page such as "book/05-experiments/mnist", to be opened by itself.

    url: of the repository, or ""; look_up(role, text) says what a role of the book's own comes to.
    """
    cells: list[NotebookNode] = [first_cell(notebook, page, url)]
    folded = False
    for cell in notebook.cells:
        if cell.cell_type == "code":
            if folded:  # a part of a solution: to be copied by whoever wants to run it
                cells[-1].source += f"\n\n```python\n{cell.source}\n```"
                continue
            options = cell.metadata.pop("mystnb", {})
            if "hide-input" in cell.metadata.get("tags", []):
                cell.metadata["jupyter"] = {"source_hidden": True}
            cells.append(cell)
            if caption := options.get("figure", {}).get("caption"):
                cells.append(new_markdown_cell(f"*{roles(caption, look_up)}*"))
            continue
        source = roles("\n".join(blocks(cell.source.split("\n"))), look_up)
        if folded:
            cells[-1].source += f"\n\n{source}"
        elif source.strip():
            cells.append(new_markdown_cell(source))
        folded = source.count("<details>") + folded > source.count("</details>")
    notebook.cells = cells
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    return notebook


def first_cell(notebook: NotebookNode, page: str, url: str) -> NotebookNode:
    """The cell that makes a page run where only its notebook was opened, or says how."""
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    folder = PurePosixPath(page).parent
    needed = ['importlib.util.find_spec("gansrc")']
    for name in ("../runs", "runs", "../../benchmarks", "../benchmarks"):
        if any(f'"{name}' in source for source in code):
            needed.append(f'Path("{name}").is_dir()')
    there = " and ".join(needed)
    more = sorted({PACKAGES[name] for source in code for name in imported(source) if name in PACKAGES})
    packages = " ".join(["./gansrc-book" if url else ".", *more])
    form = CALM + (FETCH if url else TELL)
    return new_code_cell(form.format(there=there, url=url, packages=packages, folder=folder))


def imported(source: str) -> Iterator[str]:
    """The packages that a cell imports."""
    try:
        tree = ast.parse(source)
    except SyntaxError:  # with a line of Jupyter's own
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0]


def blocks(lines: list[str]) -> Iterator[str]:
    """Lines of Markdown without directives, targets and comments."""
    lines = list(lines)
    while lines:
        line = lines.pop(0)
        if re.fullmatch(r"\([\w-]+\)=|%.*|\+\+\+.*", line):
            continue
        opened = FENCE.match(line)
        if not opened:
            yield re.sub(
                r"^\$\$ *(.*)\$\$ \(eq-(\d+)\)$",
                r"$$\1\\tag{\2}$$",
                re.sub(r"^\$\$ \(eq-(\d+)\)$", "$$", line),
            )
            continue
        end = next((n for n, other in enumerate(lines) if other.strip() == opened["fence"]), len(lines))
        body, lines = lines[:end], lines[end + 1 :]
        yield from directive(opened["name"], opened["title"], *options_of(body))


def options_of(body: list[str]) -> tuple[dict[str, str], list[str]]:
    """The options at the head of a directive, and the rest."""
    options, rest = {}, list(body)
    if rest and rest[0].strip() == "---":
        rest = rest[rest.index("---", 1) + 1 :]
    while rest and (match := re.match(r"^:([\w-]+): ?(.*)$", rest[0])):
        options[match[1]] = match[2]
        rest.pop(0)
    return options, rest


def directive(name: str, title: str, options: dict[str, str], body: list[str]) -> Iterator[str]:
    """What a directive comes to in plain Markdown."""
    inner = list(blocks(body))
    match name.removeprefix("prf:"):
        case "solution-start":
            yield from ("", "<details><summary>Solution</summary>", "")
        case "solution-end":
            yield from ("", "</details>", "")
        case "exercise-end":
            pass
        case "solution" | "dropdown":
            summary = "Solution" if name == "solution" else title or "More"
            yield from ("", f"<details><summary>{summary}</summary>", "", *inner, "", "</details>", "")
        case "exercise" | "exercise-start":
            yield from ("", f"**Exercise** {title}".rstrip(), "", *inner)
        case "figure":
            yield from ("", f"*Figure: {options.get('alt', '')}*", "", *inner)
        case "math":
            yield from ("$$", *body, "$$")
        case "table" | "list-table" | "container" | "div" | "glossary" | "grid":
            yield from inner
        case "figure-of" | "tally" | "claims" | "live" | "bibliography" | "eval-rst" | "nb-exec-table":
            yield "*(In the built book something to see stands here.)*"
        case "theorem" | "proposition" | "algorithm" | "proof" | "lemma" | "definition":
            yield from quoted(f"{name.removeprefix('prf:').capitalize()} {title}".strip(), inner)
        case "admonition":
            folded = "dropdown" in options.get("class", "")
            if folded:
                yield from ("", f"<details><summary>{title}</summary>", "", *inner, "", "</details>", "")
            else:
                yield from quoted(title, inner)
        case _:
            yield from quoted(title or name.capitalize(), inner)


def quoted(title: str, body: list[str]) -> Iterator[str]:
    """A box as a quotation, its title in bold type."""
    yield from ("", f"> **{title}**", ">", *(f"> {line}".rstrip() for line in body), "")


def roles(text: str, look_up: LookUp) -> str:
    """Text whose roles are words."""

    def words(match: re.Match[str]) -> str:
        name, inner = match["name"], match["text"]
        shown, target = (re.fullmatch(r"(.*?)\s*<([^>]*)>", inner) or re.fullmatch(r"((.*))", inner)).groups()
        if name == "math":
            return f"${inner}$"
        if name in ("verdict", "shown", "result", "tally") or name.startswith("cite"):
            return look_up(name, inner)
        if shown == target and (label := re.fullmatch(r"(eq|thm|prop|alg|fig)-(\w+)", target)):
            return NUMBERED[label[1]].format(label[2])
        return shown

    parts = re.split(r"(^```python$.*?^```$)", text, flags=re.MULTILINE | re.DOTALL)
    return "".join(part if i % 2 else ROLE.sub(words, part) for i, part in enumerate(parts))
