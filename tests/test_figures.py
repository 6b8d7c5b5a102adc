"""Tables and mosaics: what stands where."""

from __future__ import annotations

import matplotlib
import pytest
import torch

from gansrc import figures

matplotlib.use("Agg")


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
