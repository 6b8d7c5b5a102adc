"""The book's plots: one look, and Figure 1's own colours for data, generator and discriminator."""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image
from torch import Tensor
from torch.nn.functional import pad

from gansrc import mosaics

P_DATA: dict[str, Any] = {"color": "black", "linestyle": ":", "linewidth": 2.0, "label": r"$p_\mathrm{data}$"}
"""Line style of the data density: black, dotted."""
P_G: dict[str, Any] = {"color": "#1a8f3c", "linestyle": "-", "linewidth": 2.0, "label": r"$p_g$"}
"""Line style of the generator's density: green, solid."""
D: dict[str, Any] = {"color": "#1f5fd0", "linestyle": "--", "linewidth": 1.8, "label": "$D$"}
"""Line style of the discriminator: blue, dashed."""
ACCENT = "#d1495b"
"""The one further colour, for what a figure wants to point at."""
COLOURS = [P_G["color"], D["color"], ACCENT, "#8a6d3b", "#6f42c1", "#555555"]
"""For curves that play none of the roles above."""
_FIGURE = ("", "+", "-", "≥", *"0123456789")
"""How a cell of a table begins that holds a figure, or nothing."""


def use_style() -> None:
    """Set the book's plot style: black ink on a transparent ground, vector output in notebooks.

    The page's style sheet turns black into light grey in the dark theme, so no colour is set twice.
    """
    plt.rcParams.update(
        {
            "figure.figsize": (6.4, 3.2), "figure.dpi": 110, "savefig.dpi": 160, "savefig.transparent": True,
            "figure.facecolor": "none", "axes.facecolor": "none", "axes.spines.top": False,
            "axes.spines.right": False, "axes.grid": False, "font.size": 10.5, "legend.frameon": False,
            "lines.linewidth": 1.8, "figure.constrained_layout.use": True, "svg.fonttype": "path",
            "svg.hashsalt": "gansrc",  # the same figure gives the same file
            "axes.prop_cycle": plt.cycler(color=COLOURS),
        }
    )  # fmt: skip
    try:
        from matplotlib_inline.backend_inline import set_matplotlib_formats
    except ImportError:  # not in a notebook
        return
    set_matplotlib_formats("svg")


def movie(images: Float[Tensor, "n d"], image_shape: Sequence[int], alt: str, milliseconds: int = 80) -> Any:
    """Grey images in [0, 1] one after the other, ten times as large, for a notebook; a click shows them."""
    from IPython.display import HTML

    frames = (images.reshape(-1, *image_shape) * 255).round().byte().cpu().numpy()
    pictures = [Image.fromarray(frame) for frame in frames]
    file = io.BytesIO()
    more = {"save_all": True, "append_images": pictures[1:], "duration": milliseconds, "loop": 0}
    pictures[0].save(file, "WEBP", lossless=True, **more)
    source = "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()
    size = f'width="{10 * image_shape[1]}" style="image-rendering: pixelated"'  # the browser enlarges
    picture = f'<img class="photo" alt="{html.escape(alt)}" {size} src="{source}">'
    return HTML(f"<details><summary>Play: {len(images)} steps</summary>{picture}</details>")


def table(*lines: Sequence[object]) -> Any:
    """A table for a notebook, its head first; columns of figures are flush right, those of words left."""
    from IPython.display import Markdown

    head, *body = lines
    columns = ([str(line[at]) for line in body] for at in range(len(head)))
    rule = ["--:" if all(cell[:1] in _FIGURE for cell in column) else ":--" for column in columns]
    named = ((str(line[0]) or "&nbsp;", *line[1:]) for line in (head, rule, *body))  # no line begins with |
    text = "\n".join(" | ".join(map(str, line)) for line in named)
    return Markdown(text.replace(" %", "\N{NO-BREAK SPACE}%"))


def mosaic(
    images: Float[Tensor, "n d"],
    columns: int,
    image_shape: Sequence[int],
    marked_column: int | None = None,
    labels: Sequence[str] = (),
) -> Figure:
    """Draw images in [0, 1] row by row in a grid; `marked_column` (0 is the first) gets a frame.

    Any n that fills whole rows of `columns` images, each a row of numbers of `image_shape`: (height, width)
    if grey, (3, height, width) in colour. `labels` stand to the right, one for each row or for as many rows
    as come to each; they are white on black, so that they can be read in either theme.
    """
    channels, height, width = image_shape if len(image_shape) == 3 else (1, *image_shape)
    rows = len(images) // columns
    grid = images.detach().cpu().reshape(-1, channels, height, width)
    picture = mosaics.tiled(grid, columns)
    room = math.ceil(0.4 * columns * width) if labels else 0
    picture = pad(picture, (0, 0, 0, room))
    scale = 6.4 / max(columns * width + room, 8 * width)
    figure, axes = plt.subplots(figsize=(picture.shape[1] * scale, picture.shape[0] * scale))
    axes.imshow(picture.numpy(), interpolation="nearest")
    axes.set_axis_off()
    for number, label in enumerate(labels):
        middle = (number + 0.5) * rows * height / len(labels)
        axes.text(columns * width + 0.03 * room, middle, label, color="white", va="center", fontsize=12)
    if marked_column is not None:
        corner, size = (marked_column * width - 0.5, -0.5), (width, rows * height)
        axes.add_patch(Rectangle(corner, *size, fill=False, ec=ACCENT, lw=3, clip_on=False))
    return figure
