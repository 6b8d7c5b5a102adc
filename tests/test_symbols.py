"""The page of symbols: every name of code on it is there."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

TEXT = (Path(__file__).parents[1] / "book" / "symbols.md").read_text(encoding="utf-8")
NAMES = sorted(set(re.findall(r"`(gansrc\.[\w.]+)`", TEXT)))


@pytest.mark.parametrize("name", NAMES)
def test_a_name_on_the_page_of_symbols_is_code(name: str) -> None:
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for part in parts[cut:]:  # a field without a default is an annotation alone
            found = getattr(found, part, None) or found.__annotations__[part]
        return
    raise AssertionError(f"{name} is not code")


def test_every_row_names_code_or_a_page() -> None:
    rows = [line for line in TEXT.splitlines() if line.startswith("| $")]
    assert len(rows) >= 25
    assert [row for row in rows if not re.search(r"(`gansrc\.[\w.]+`|\]\([\w/.-]+\.md\)) \|$", row)] == []
