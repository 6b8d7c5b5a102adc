"""Sets of images that no net has drawn, to hold beside those that one has."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor


def centroids(
    train: Float[Tensor, "n d"], start: Float[Tensor, "k d"], directions: int = 50
) -> tuple[Float[Tensor, "k d"], Int64[Tensor, " k"]]:
    """k-means after one step from `start`: the mean of the images nearest to each point, and their number.

    Nearness is measured along those directions, so many, in which `start` varies most. The mean of no image
    is 0. To draw centroids as a model would, take each as often as its number says.
    """
    axes = torch.linalg.eigh(torch.cov(start.T)).eigenvectors[:, -directions:]
    points, centres = train @ axes, start @ axes
    half = centres.square().sum(1) / 2  # |x - c|² is least where x·c - |c|²/2 is largest
    nearest = torch.cat([(part @ centres.T - half).argmax(1) for part in points.split(1000)])
    counts = torch.bincount(nearest, minlength=len(start))
    return torch.zeros_like(start).index_add_(0, nearest, train) / counts[:, None].clamp(min=1), counts
