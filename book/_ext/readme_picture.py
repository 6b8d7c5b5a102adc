"""The README's picture, the panels of Figure 1 in chapter 3. Run: python book/_ext/readme_picture.py"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jupytext
import matplotlib

BOOK = Path(__file__).parents[1]


def cells_up_to(chapter: Path, figure: str) -> list[str]:
    """The code of a chapter's cells, up to and with the one that draws the named figure."""
    code: list[str] = []
    for cell in jupytext.read(chapter).cells:
        if cell.cell_type == "code":
            code.append(cell.source)
            if cell.metadata.get("mystnb", {}).get("figure", {}).get("name") == figure:
                return code
    raise ValueError(f"{chapter} has no figure {figure!r}: name the one that the README shows")


def draw(out: Path) -> None:
    """Run the chapter to its Figure 1 and draw the same panels in one row, on white."""
    matplotlib.use("agg")
    chapter: dict[str, Any] = {}
    for code in cells_up_to(BOOK / "03-adversarial-nets/figure-1.md", "fig-1"):
        exec(code, chapter)
    plt = chapter["plt"]
    fig, axes = plt.subplots(1, 4, figsize=(12, 3.3))
    for ax, moment in zip(axes, "abcd", strict=True):
        chapter["panel"](ax, chapter[moment], f"({moment})")
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=12)
    fig.savefig(out, dpi=100, facecolor="white", transparent=False)


if __name__ == "__main__":
    draw(BOOK / "_static" / "readme.png")
