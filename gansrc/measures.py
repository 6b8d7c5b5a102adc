"""Measures of samples beside the Parzen window: the nearest training examples (the rightmost columns of
Figure 2), centroids to hold beside them, a net that reads images, the autocorrelation time of a chain."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gansrc.streams import batch_indices, drawing_from


@torch.no_grad()
def nearest(
    x: Float[Tensor, "m d"], train: Float[Tensor, "n d"], k: int = 1
) -> tuple[Float[Tensor, "m k"], Int64[Tensor, "m k"]]:
    """Euclidean distances from every row of x to the k nearest rows of train, in order, and which they are.

    Distances of those k are taken anew, by differences: a copy is at distance 0, whatever float32 makes of
    the products that find it. Raises ValueError if train has fewer than k rows.
    """
    if len(train) < k:
        raise ValueError(f"{k} nearest rows are wanted, the training set has {len(train)}: lower k")
    centre = train.mean(0)
    moved = train - centre  # far from the origin squares would drown the distances
    half_squares = moved.square().sum(1) / 2
    closest = [
        torch.addmm(half_squares, part - centre, moved.T, alpha=-1).topk(k, 1, False) for part in x.split(256)
    ]
    index = torch.cat([part.indices for part in closest])
    distance = torch.stack([(x - train[column]).norm(dim=1) for column in index.T], 1)
    order = distance.argsort(1)
    return distance.gather(1, order), index.gather(1, order)


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


def judge(
    images: Float[Tensor, "n d"],
    labels: Int64[Tensor, " n"],
    image_shape: Sequence[int] = (28, 28),
    updates: int = 1500,
    seed: int = 0,
) -> nn.Sequential:
    """A small convolutional net that has learnt to read an image's label: (n, d) to logits (n, classes).

    Images are grey (h, w) or in colour (3, h, w). Its first part, `judge[0]`, sees 64 features in an image.
    """
    channels, height, width = image_shape if len(image_shape) == 3 else (1, *image_shape)
    places = math.prod(((size - 5) // 2 + 1 - 5) // 2 + 1 for size in (height, width))
    rng = torch.Generator().manual_seed(seed)
    with drawing_from(rng):
        features = nn.Sequential(
            nn.Unflatten(1, (channels, height, width)),
            nn.Conv2d(channels, 16, 5, stride=2), nn.ReLU(),
            nn.Conv2d(16, 32, 5, stride=2), nn.ReLU(), nn.Flatten(),
            nn.Linear(32 * places, 64),
        )  # fmt: skip
        net = nn.Sequential(features, nn.ReLU(), nn.Linear(64, int(labels.max()) + 1))
    adam = torch.optim.Adam(net.parameters(), lr=2e-3)
    rows = batch_indices(len(images), 100, seed, 0, images.device)
    for _ in range(updates):
        chosen = next(rows)
        adam.zero_grad()
        cross_entropy(net(images[chosen]), labels[chosen]).backward()
        adam.step()
    return net.eval().requires_grad_(False)


def autocorrelation_time(states: Float[Tensor, "*chains steps d"]) -> float:
    """Steps of a chain that are worth one independent draw: 1 + 2 * the sum of its autocorrelations.

    The autocorrelation of a state of d numbers is the trace of their autocovariance, divided by its value at
    lag 0; that of several chains side by side is taken about the mean of all, so that chains which keep apart
    do not pass for ones that have mixed. The sum ends, as Sokal (1997) has it, at the first lag that is five
    times the sum, or else with the last one: the time is then at least that long. Chains that never move, all
    in one place, have an infinite time.
    """
    x = states.double() - states.double().flatten(0, -2).mean(0)
    steps = x.shape[-2]
    spectrum = torch.fft.rfft(x, 2 * steps, dim=-2).abs().square()
    covariance = torch.fft.irfft(spectrum, 2 * steps, dim=-2)[..., :steps, :].sum(-1)
    covariance = covariance.reshape(-1, steps).mean(0) / torch.arange(steps, 0, -1)  # so many pairs a lag
    if covariance[0] <= 1e-12:
        return math.inf
    times = 2 * (covariance / covariance[0]).cumsum(0) - 1
    enough = (torch.arange(steps) >= 5 * times).nonzero()
    return times[enough[0, 0] if len(enough) else -1].item()
