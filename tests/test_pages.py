"""What holds of every page's text: parts that each chapter has, numbers in links, the glossary's terms."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BOOK = ROOT / "book"
CHAPTERS = sorted(page for page in BOOK.glob("0*/**/*.md")) + sorted(BOOK.glob("0*.md"))
CELL = re.compile(r"^```\{code-cell\}[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
SHOWN = re.compile(r"^figures\.(?:table|movie)\(.*", re.MULTILINE)
NUMBER = re.compile(r"\[(?:section )?(\d(?:\.\d)*)\]\(([^)#]+\.md)[^)]*\)")


def parts_lacking(text: str) -> list[str]:
    """Of what every chapter has, in order: what is not there, or not in its place."""
    marks = (":class: overview", "\nBefore this: ", "```{code-cell}", ":class: takeaway")
    at = [text.find(mark) for mark in marks]
    return [mark for mark, here, before in zip(marks, at, [0, *at], strict=False) if here <= before]


def wrong_numbers(text: str, folder: Path) -> list[str]:
    """Links by a number that the page's title does not begin with."""
    found = []
    for number, target in NUMBER.findall(text):
        title = re.search(r"^# (.+)", (folder / target).read_text(encoding="utf-8"), re.MULTILINE)
        if not title or not f"{title[1].split()[0]}.".startswith(f"{number}."):
            found.append(f"[{number}]({target}): {title and title[1]}")
    return found


def lost_tables(text: str) -> list[str]:
    """Tables and films that no page shows, as they are not the last thing in their cell."""
    after = re.compile(r"^[^\s)]", re.MULTILINE)
    found = ((shown[0], cell[shown.end() :]) for cell in CELL.findall(text) for shown in SHOWN.finditer(cell))
    return [line for line, rest in found if after.search(rest)]


def without_translations(glossary: str) -> list[str]:
    """Entries that lack a Korean or a Chinese term."""
    entries = re.split(r"\n\n(?=\S)", glossary.split(":::{glossary}\n")[1].split("\n:::")[0])
    both = re.compile(r"\n    \[[^\]]+\]\{\.language-ko\} · \[[^\]]+\]\{\.language-zh\}\s*$")
    return [entry.splitlines()[0] for entry in entries if not both.search(entry)]


@pytest.mark.parametrize("page", CHAPTERS, ids=lambda page: page.relative_to(BOOK).as_posix())
def test_a_chapter_says_what_comes_what_is_needed_and_what_to_remember(page: Path) -> None:
    assert parts_lacking(page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("page", CHAPTERS, ids=lambda page: page.relative_to(BOOK).as_posix())
def test_a_table_is_the_last_thing_in_its_cell(page: Path) -> None:
    assert lost_tables(page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("page", sorted(BOOK.glob("**/*.md")), ids=lambda page: page.name)
def test_a_number_in_a_link_is_that_of_the_page(page: Path) -> None:
    assert wrong_numbers(page.read_text(encoding="utf-8"), page.parent) == []


def test_every_word_of_the_glossary_has_its_korean_and_chinese_terms() -> None:
    assert without_translations((BOOK / "glossary.md").read_text(encoding="utf-8")) == []


def test_what_is_wrong_on_a_page_is_seen(tmp_path: Path) -> None:
    (tmp_path / "one.md").write_text("---\nkernel: x\n---\n\n# 5.1 One\n", encoding="utf-8")
    assert wrong_numbers("[5.1](one.md) [section 5](one.md#a) [more](one.md)", tmp_path) == []
    assert wrong_numbers("[5.2](one.md)", tmp_path) == ["[5.2](one.md): 5.1 One"]
    last = "```{code-cell} ipython3\nx = 1\nfigures.table(\n    x)\n```\n"
    assert lost_tables(last + "\nMore.\n\n" + last) == []
    assert lost_tables(last.replace("x)", "x)\nassert x")) == ["figures.table("]
    good = "x :class: overview\nBefore this: a\n```{code-cell}\n:class: takeaway"
    assert parts_lacking(good) == []
    assert parts_lacking(good.replace("Before", "After")) == ["\nBefore this: "]
    entry = "\n    A kind.\n    [가]{.language-ko} · [甲]{.language-zh}"
    assert without_translations(f":::{{glossary}}\na{entry}\n\nb{entry}\n:::\n") == []
    assert without_translations(f":::{{glossary}}\na\n    A kind.\n\nb{entry}\n:::\n") == ["a"]
