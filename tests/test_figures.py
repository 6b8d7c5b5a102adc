"""The book's plots: every pixel where it belongs, in its own colour."""

from __future__ import annotations

import base64
import html
import io
import re
import subprocess
import sys
from collections.abc import Iterator

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image

from gansrc import figures, mosaics


@pytest.fixture(autouse=True)
def no_window() -> Iterator[None]:
    with matplotlib.rc_context({"backend": "agg"}):
        yield
    matplotlib.pyplot.close("all")


@pytest.mark.parametrize("shape", [(3, 4), (3, 3, 4)])
def test_a_mosaic_goes_row_by_row_and_keeps_the_colours(shape):
    images = np.random.default_rng(0).random((10, *shape), dtype=np.float32)
    figure = figures.mosaic(torch.from_numpy(images).flatten(1), 5, shape, marked_column=2)
    (axes,) = figure.axes
    drawn = np.asarray(axes.images[0].get_array())
    assert drawn.shape == (6, 20, 3)
    for i, image in enumerate(images):
        row, column = divmod(i, 5)
        tile = drawn[3 * row : 3 * row + 3, 4 * column : 4 * column + 4]
        colours = np.broadcast_to(image, (3, 3, 4))  # grey: the same in red, green and blue
        np.testing.assert_array_equal(tile, colours.transpose(1, 2, 0))
    (frame,) = axes.patches
    assert (frame.get_xy(), frame.get_width(), frame.get_height()) == ((7.5, -0.5), 4, 6)


@pytest.mark.parametrize(("columns", "inches"), [(2, 1.6), (8, 6.4), (20, 6.4)])
def test_few_images_are_drawn_no_larger_than_eight_in_a_row(columns: int, inches: float) -> None:
    figure = figures.mosaic(torch.rand(2 * columns, 12), columns, (4, 3))
    assert tuple(figure.get_size_inches()) == pytest.approx((inches, inches * 2 * 4 / (columns * 3)))


def test_a_figure_drawn_again_is_the_same_file() -> None:
    files = []
    for _ in range(2):
        figures.use_style()
        _, axes = matplotlib.pyplot.subplots()
        axes.plot([0, 1], [0, 9])
        axes.set_ylim(0, 1)  # the curve is cut off, by a path with a name
        files.append(io.BytesIO())
        axes.figure.savefig(files[-1], format="svg", metadata={"Date": None})
    assert files[0].getvalue() == files[1].getvalue()


def test_a_movie_shows_every_image_in_turn_ten_times_as_large():
    pytest.importorskip("IPython")
    images = torch.linspace(0, 1, 6)[:, None].expand(-1, 30).clone()
    images[:, :6] = 0.5  # the upper row of 5 x 6 pixels
    page = figures.movie(images, (5, 6), 'A "chain"', milliseconds=70).data
    assert html.unescape(re.search(r'alt="([^"]*)"', page)[1]) == 'A "chain"' and "Play: 6 steps" in page
    film = Image.open(io.BytesIO(base64.b64decode(re.search(r"base64,([^\"]*)", page)[1])))
    assert film.size == (6, 5) and 'width="60"' in page and "pixelated" in page
    assert film.n_frames == 6 and film.info["loop"] == 0  # without end
    for i, image in enumerate(images.reshape(6, 5, 6)):
        film.seek(i)
        assert (np.asarray(film.convert("L")) == (image.numpy() * 255).round()).all()
        assert film.info["duration"] == 70


def test_columns_of_figures_are_flush_right_and_those_of_words_left() -> None:
    pytest.importorskip("IPython")
    lines = figures.table(("name", "nats", "with"), ("a", "-1.5 ± 2", "sigma"), ("b", "", "4 steps")).data
    assert lines.splitlines() == [
        "name | nats | with", ":-- | --: | :--", "a | -1.5 ± 2 | sigma", "b |  | 4 steps",
    ]  # fmt: skip


@pytest.mark.parametrize("shape", [(2, 3), (3, 2, 3)])
def test_each_label_stands_beside_its_rows(shape: tuple[int, ...]) -> None:
    rows, columns, height, width = 4, 5, *shape[-2:]
    images = torch.ones(rows * columns, torch.tensor(shape).prod().item())
    axes = figures.mosaic(images, columns, shape, labels=("upper", "lower")).axes[0]
    picture = axes.images[0].get_array()
    assert picture.shape == (rows * height, 1.4 * columns * width, 3)
    assert (picture[:, : columns * width] == 1).all() and (picture[:, columns * width :] == 0).all()
    places = {text.get_text(): text.get_position() for text in axes.texts}
    assert places["upper"][1] == height and places["lower"][1] == 3 * height
    assert all(columns * width <= x < picture.shape[1] for x, _ in places.values())


def test_a_number_in_a_table_keeps_its_per_cent_sign():
    assert figures.table(("a", "b"), ("pixels 10 %", "50%")).data.endswith("pixels 10\u00a0% | 50%")


def test_a_table_whose_first_cell_is_empty_keeps_its_columns():
    data = figures.table(("", "a", "b"), ("x", 1, 2), ("", 3, 4)).data
    assert [line.count(" | ") for line in data.splitlines()] == [2] * 4
    assert not any(line.startswith((" ", "|")) for line in data.splitlines())


@pytest.mark.parametrize("n", [1, 5, 6, 7])
@pytest.mark.parametrize(("channels", "padding", "value"), [(1, 0, 0.0), (3, 2, 0.5), (1, 1, 1.0)])
def test_a_picture_of_images_is_torchvisions(n, channels, padding, value):
    from torchvision.utils import make_grid

    images = torch.rand(n, channels, 4, 5, generator=torch.Generator().manual_seed(n))
    theirs = make_grid(images, nrow=3, padding=padding, pad_value=value).movedim(0, -1)
    if n == 1:  # theirs leaves a single image without a border
        theirs = torch.nn.functional.pad(theirs, (0, 0, *[padding] * 4), value=value) if padding else theirs
    assert torch.equal(mosaics.tiled(images, 3, padding, value), theirs)


def test_what_is_slow_to_import_is_imported_when_it_is_used():
    slow = "{'torchvision', 'torch._dynamo'}"
    code = f"import sys, gansrc.runs, gansrc.figures; assert not {slow} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True)
