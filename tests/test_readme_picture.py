"""The README's picture is drawn by the chapter's own code: that code is found."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

pytest.importorskip("jupytext")

BOOK = Path(__file__).parents[1] / "book"


@pytest.fixture(scope="module")
def readme_picture() -> ModuleType:
    spec = importlib.util.spec_from_file_location("readme_picture", BOOK / "_ext" / "readme_picture.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_chapter_has_what_the_picture_needs(readme_picture: ModuleType) -> None:
    code = readme_picture.cells_up_to(BOOK / "03-adversarial-nets/figure-1.md", "fig-1")
    assert "def panel(ax, frame, title):" in code[-1]
    for moment in "abcd":
        assert re.search(rf"^(film\.append\()?{moment} :?= ", "\n".join(code), re.MULTILINE), moment


def test_an_unknown_figure_is_refused(readme_picture: ModuleType) -> None:
    with pytest.raises(ValueError, match="has no figure 'fig-99'"):
        readme_picture.cells_up_to(BOOK / "03-adversarial-nets/figure-1.md", "fig-99")
