"""The pen (`gansrc.strokes`) against a drawing spot by spot, and its gradient against differences."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from scipy.interpolate import BPoly

from gansrc.datasets import of
from gansrc.recipes import MNIST_ALGORITHM_1
from gansrc.strokes import INK, NUMBERS, PAPER, SPOTS, WIDTH, Strokes, between


def numbers(n: int, strokes: int) -> torch.Tensor:
    rng = torch.Generator().manual_seed(0)
    return torch.randn(n, strokes * NUMBERS, generator=rng, dtype=torch.float64)


def test_D2_a_picture_is_drawn_spot_by_spot() -> None:
    given, side = numbers(2, 3), 9
    drawn = Strokes((side, side)).double()(given).unflatten(1, (side, side))
    for picture, of_one in zip(drawn, given.numpy().reshape(2, 3, NUMBERS), strict=True):
        ink = np.zeros((side, side))
        for stroke in of_one:
            points = 0.5 + 0.4 * np.sin(stroke[:8].reshape(4, 1, 2))
            curve = BPoly(points, [0, 1])  # scipy's own Bezier curves
            width, amount = 0.04 + 0.01 * np.sin(stroke[8]), 0.9 + 0.5 * np.sin(stroke[9])
            for x, y in curve(np.linspace(0, 1, SPOTS)):
                for row, column in np.ndindex(side, side):
                    away = ((column + 0.5) / side - x) ** 2 + ((row + 0.5) / side - y) ** 2
                    ink[row, column] += amount * np.exp(-away / (2 * width**2))
        np.testing.assert_allclose(picture, 1 - np.exp(-ink), atol=2e-6)  # its constants are float32


def test_D2_the_gradient_through_the_pen_is_that_of_differences() -> None:
    pen = Strokes((6, 6)).double()
    assert torch.autograd.gradcheck(pen, numbers(2, 2).requires_grad_())


def test_numbers_of_any_size_stay_within_their_limits() -> None:
    wild = 1e3 * numbers(50, 3)
    for limits in (PAPER, WIDTH, INK):
        kept = between(limits, wild)
        assert kept.min() >= limits[0] and kept.max() <= limits[1]
    drawn = Strokes((28, 28)).double()(wild)
    assert drawn.min() >= 0 and drawn.max() <= 1 and drawn.max(1).values.min() > 0.1  # none is empty


def test_the_same_numbers_on_larger_paper_are_the_same_picture() -> None:
    given = numbers(3, 3)
    small, large = (Strokes((side, side)).double()(given) for side in (28, 28 * 5))
    centres = large.unflatten(1, (140, 140))[:, 2::5, 2::5].flatten(
        1
    )  # the middles of the small one's pixels
    torch.testing.assert_close(small, centres)


@pytest.mark.parametrize("shape", [(28, 20), (3, 8, 8), (0, 0), (784,)])
def test_other_images_than_square_grey_ones_are_told(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"a pen draws square grey images, got .*: crop them"):
        Strokes(shape)


def test_the_constants_are_no_weights_and_seeds_stand_side_by_side() -> None:
    pen, given = Strokes((8, 8)).double(), numbers(6, 2)
    assert pen.state_dict() == {} and list(pen.parameters()) == []
    assert torch.equal(pen(given.unflatten(0, (2, 3))), pen(given).unflatten(0, (2, 3)))


def test_a_generator_of_strokes_ends_in_the_pen_and_moves() -> None:
    rules = dataclasses.replace(MNIST_ALGORITHM_1.rules, batch_size=20)
    recipe = dataclasses.replace(
        MNIST_ALGORITHM_1, z_dim=4, g_hidden=(8,), d_hidden=(5,), d_range=0.3, rules=rules,
        g_strokes=2, g_output="linear", g_output_range=1.0, output_bias="zero",
    )  # fmt: skip
    model = recipe.start(of(torch.rand(40, 49), (7, 7)), 0)
    *layers, pen = model.game.generator
    assert isinstance(pen, Strokes) and layers[-2].out_features == 2 * NUMBERS
    before = layers[0].weight.clone()
    model.fit(torch.rand(40, 49), 3)
    assert not torch.equal(before, layers[0].weight)
    sampler = recipe.sampler((7, 7))
    sampler.load(model.state()["generator"])
    same = (x.samples(5, torch.Generator().manual_seed(1)) for x in (model, sampler))
    assert torch.equal(*same)
