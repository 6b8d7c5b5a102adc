"""A pen that gradients pass through: images drawn from the numbers that say how it moves."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

NUMBERS = 10
"""What says how a stroke goes: x and y of four points, the pen's width, its ink."""
SPOTS = 24
"""Spots of ink along a stroke."""
PAPER = 0.1, 0.9
"""Where points may lie, in sides of the image."""
WIDTH = 0.03, 0.05
"""The finest and the widest spot: standard deviations, in sides of the image."""
INK = 0.4, 1.4
"""The least and the most ink in the middle of a spot."""


def between(limits: tuple[float, float], numbers: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """Numbers of any size brought between two limits, by a sine: unlike a sigmoid it has no flat ends, at
    which a gradient could get lost for good."""
    low, high = limits
    return (low + high) / 2 + (high - low) / 2 * numbers.sin()


class Strokes(nn.Module):
    """Draws square grey images, rows of numbers in [0, 1]: (..., NUMBERS * strokes) to (..., side^2).

    A stroke is a cubic Bezier curve, which a pen walks in SPOTS steps of equal time; at each it leaves a
    round Gaussian spot of ink. The strokes' ink adds up, and a pixel on which a of it lies comes to
    1 - exp(-a), as paper does by Beer's law. Whatever the numbers are, points lie on the PAPER. The same
    numbers can be drawn at any size. Raises ValueError for images that are not square and grey.
    """

    def __init__(self, image_shape: Sequence[int]) -> None:
        super().__init__()
        side = image_shape[0]
        if tuple(image_shape) != (side, side) or side < 1:
            given = " x ".join(map(str, image_shape))
            raise ValueError(f"a pen draws square grey images, got {given}: crop them, or make them grey")
        t = torch.linspace(0, 1, SPOTS)[:, None]
        times = torch.cat([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3], 1)
        self.register_buffer("times", times, persistent=False)  # a constant, and none of the weights
        self.register_buffer("middles", (torch.arange(side) + 0.5) / side, persistent=False)
        self.times: Tensor
        self.middles: Tensor

    def path(self, numbers: Float[Tensor, "*n numbers"]) -> Float[Tensor, "*n strokes spots 2"]:
        """Where the spots lie, in sides of the image: x from the left, y from the top."""
        points = numbers.unflatten(-1, (-1, NUMBERS))[..., :8].unflatten(-1, (4, 2))
        return self.times @ between(PAPER, points)

    def forward(self, numbers: Float[Tensor, "*n numbers"]) -> Float[Tensor, "*n pixels"]:
        """The picture, row by row: 1 where all is ink."""
        width, ink = numbers.unflatten(-1, (-1, NUMBERS))[..., 8:, None].unbind(-2)
        width, ink = between(WIDTH, width), between(INK, ink)
        gap = (self.middles - self.path(numbers)[..., None]) / width[..., None, None]
        # a round spot is a product of one bell across and one down, so all of them are one matrix product
        across, down = (-gap.square() / 2).exp().flatten(-4, -3).unbind(-2)
        amount = ink.expand(*ink.shape[:-1], SPOTS).flatten(-2)[..., None]
        return -torch.expm1(-(down * amount).mT @ across).flatten(-2)
