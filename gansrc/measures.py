"""Measures of samples beside the Parzen window: the nearest training examples (the rightmost columns of
Figure 2), whether samples are copies of them, what samples cover, whether a net can tell them from data;
centroids to hold beside them, a net that reads images, the autocorrelation time of a chain."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, cross_entropy, normalize, unfold

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


@torch.no_grad()
def neighbour_ratio(
    x: Float[Tensor, "m d"], train: Float[Tensor, "n d"], image_shape: Sequence[int]
) -> Float[Tensor, " m"]:
    """Distance from each image to the nearest training image, divided by that to the second nearest.

    Near 0 for a copy; for an image that is like many, and like none in particular, near 1 (Lowe, 2004). All
    are compared at half their size, each at the best of nine places a pixel apart, so that a copy remains one
    under some noise, a blur or a shift. Raises ValueError if there is only one training image.
    """
    if len(train) < 2:
        raise ValueError(f"two nearest images are wanted, the training set has {len(train)}: give more")
    height, width = image_shape[-2:]

    def window(images: Tensor, top: int, left: int) -> Tensor:
        """All but two rows and columns of images, at half their size."""
        pictures = images.unflatten(1, tuple(image_shape))
        part = pictures[..., top : top + height - 2, left : left + width - 2]
        return shrunk(part.flatten(1), (*image_shape[:-2], height - 2, width - 2), 2)

    known = window(train, 1, 1)
    centre = known.mean(0)
    known -= centre
    half_squares, ratios = known.square().sum(1) / 2, []
    for part in x.split(256):
        least = part.new_full((len(part), len(train)), math.inf)
        for top, left in product(range(3), repeat=2):
            moved = window(part, top, left) - centre
            gap = torch.addmm(half_squares, moved, known.T, alpha=-1)
            torch.minimum(least, gap.add_(moved.square().sum(1, keepdim=True) / 2), out=least)
        first, second = least.topk(2, 1, False).values.clamp(min=0).sqrt().T
        ratios.append(first / second.clamp(min=1e-12))
    return torch.cat(ratios)


def nearer(ratios: Float[Tensor, " m"], held_out: Float[Tensor, " n"]) -> tuple[float, float]:
    """How much nearer to training images samples are than held-out images, by the `neighbour_ratio` of both.

    First the most by which, below any value, the share of samples exceeds that of held-out images (the
    one-sided Kolmogorov-Smirnov statistic): 0 for samples that are never nearer, almost 1 for copies. Then
    the share of samples below the 1 % quantile of held-out images: .01 is usual, and more if even a few of
    them are copies.
    """
    values = torch.cat([ratios, held_out]).sort().values
    below = [torch.searchsorted(x.sort().values, values, right=True) / len(x) for x in (ratios, held_out)]
    return (below[0] - below[1]).max().item(), (ratios < held_out.quantile(0.01)).float().mean().item()


def share_from(
    known: Float[Tensor, "n d"], others: Float[Tensor, "o d"], patterns: Float[Tensor, "p d"], side: int
) -> float:
    """The share of patterns whose strongest part has its best match in `known` rather than in `others`.

    Patterns and images are square and cut into squares of `side` pixels, all of an image if that is its
    side. The strongest part varies most; its best match, of those in the same place, has the largest
    correlation with it, as it is or inverted. Patterns that know neither set, of one kind, match `known` as
    often as it is large: n / (n + o). Patterns copied from it always do.
    """
    width = math.isqrt(patterns.shape[1])
    squares = unfold(patterns.unflatten(1, (1, width, width)), side, stride=side)
    strongest, found = squares.var(1).argmax(1), []
    for place in strongest.unique().tolist():
        top, left = (side * number for number in divmod(place, width // side))

        def part(images: Tensor, top: int = top, left: int = left) -> Float[Tensor, "_ pixels"]:
            """That square of images, brought to mean 0 and length 1."""
            square = images.unflatten(1, (width, width))[:, top : top + side, left : left + side].flatten(1)
            return normalize(square - square.mean(1, keepdim=True))

        seen = part(patterns[strongest == place])
        match = [(seen @ part(images).T).abs().amax(1) for images in (known, others)]
        found.append(match[0] > match[1])
    return torch.cat(found).float().mean().item()


def shrunk(images: Float[Tensor, "n d"], image_shape: Sequence[int], factor: int) -> Float[Tensor, "n e"]:
    """Images reduced in height and width: each new pixel is the mean of a square of factor x factor."""
    pictures = images.unflatten(1, tuple(image_shape)).reshape(len(images), -1, *image_shape[-2:])
    return avg_pool2d(pictures, factor).flatten(1)


def covered(x: Float[Tensor, "m d"], by: Float[Tensor, "n d"], k: int = 3) -> float:
    """The share of the points x that lie where the points `by` are: in a ball around one of these.

    A ball reaches to the k-th neighbour of its own kind. Samples by real images is the precision of samples,
    real images by samples their recall (Kynkaanniemi et al., 2019).
    """
    reach = torch.cdist(by, by).kthvalue(k + 1).values  # 0 is the point itself
    return (torch.cdist(x, by) <= reach).any(1).float().mean().item()


@torch.no_grad()
def twins(x: Float[Tensor, "n d"], n: int = 2000, pairs: int = 1_000_000) -> float:
    """The distance within which one pair in so many lies, of the first n rows of x.

    Raises ValueError if these have fewer than `pairs` pairs.
    """
    x = x[:n]
    nearest = len(x) * (len(x) - 1) // 2 // pairs
    if not nearest:
        raise ValueError(f"{pairs:,} pairs are wanted, {len(x)} rows have fewer: give more rows")
    upper = torch.triu_indices(len(x), len(x), 1)
    return torch.cdist(x, x)[tuple(upper)].kthvalue(nearest + 1).values.item()


@torch.no_grad()
def birthday(x: Float[Tensor, "n d"], within: float, trials: int = 400, seed: int = 0) -> float:
    """How many of the rows x one has to draw until two are no further apart than `within`: the median.

    The birthday test (Arora and Zhang, 2017): of N equally likely images about 1.18 sqrt(N) have to be drawn
    until one comes twice. The rows are shuffled `trials` times; infinite if no two are that near. Raises
    ValueError for fewer than two rows.
    """
    if len(x) < 2:
        raise ValueError(f"two rows at least are wanted, got {len(x)}: draw more")
    near = (torch.cdist(x, x) <= within).triu_(1)
    share = near.sum().item() / (len(x) * (len(x) - 1) / 2)
    if share == 0:
        return math.inf
    enough = math.ceil(100 / math.sqrt(share))  # rows, by far: more would only cost time
    first, second = near[:enough, :enough].nonzero().T
    rng, waits = torch.Generator().manual_seed(seed), []
    for _ in range(trials):
        place = torch.randperm(min(enough, len(x)), generator=rng)
        waits.append(torch.maximum(place[first], place[second]).min() + 1)
    return torch.stack(waits).double().median().item()


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


def class_shares(judge: nn.Module, images: Float[Tensor, "n d"]) -> Float[Tensor, " classes"]:
    """The share of each class among images, as a `judge` reads them."""
    logits = judge(images)
    return logits.argmax(1).bincount(minlength=logits.shape[1]) / len(images)


def total_variation(p: Float[Tensor, "*shape"], q: Float[Tensor, "*shape"]) -> float:
    """How far two distributions are apart, from 0 to 1: the most by which any event's probability differs."""
    return (p - q).abs().sum().item() / 2


def energy_distance(x: Float[Tensor, "m d"], y: Float[Tensor, "n d"]) -> float:
    """Energy distance of two distributions, from their samples (Székely and Rizzo, 2013).

    2 E|X - Y| - E|X - X'| - E|Y - Y'|, each mean over all pairs of different samples: without bias, in the
    units of the data, 0 on average where the two are equal. Raises ValueError for fewer than two samples.
    """
    if min(len(x), len(y)) < 2:
        raise ValueError(f"two samples of each are wanted, got {len(x)} and {len(y)}: draw more")

    def within(a: Tensor) -> Tensor:
        return torch.cdist(a, a).sum() / (len(a) * (len(a) - 1))

    return (2 * torch.cdist(x, y).mean() - within(x) - within(y)).item()


def two_sample_accuracy(
    a: Float[Tensor, "m d"],
    b: Float[Tensor, "n d"],
    image_shape: Sequence[int] = (28, 28),
    updates: int = 500,
    seed: int = 0,
) -> tuple[float, float]:
    """How often a fresh net can tell images a from images b, and the standard error of that share.

    The classifier two-sample test (Lopez-Paz and Oquab, 2017): a `judge` is trained on one half of the
    images, as many of a as of b, and asked about the other. Where both are of one kind it is right in half of
    the cases.
    """
    rng, half = torch.Generator().manual_seed(seed), min(len(a), len(b)) // 2
    parts = [x[torch.randperm(len(x), generator=rng)[: 2 * half]] for x in (a, b)]
    labels = torch.tensor([0, 1]).repeat_interleave(half)
    net = judge(torch.cat([x[:half] for x in parts]), labels, image_shape, updates, seed)
    right = net(torch.cat([x[half:] for x in parts])).argmax(1) == labels
    share = right.double().mean().item()
    return share, math.sqrt(share * (1 - share) / len(right))


def autocorrelation_time(states: Float[Tensor, "*chains steps d"]) -> float:
    """Steps of a chain that are worth one independent draw: 1 + 2 * the sum of its autocorrelations.

    The autocorrelation of a state of d numbers is the trace of their autocovariance, divided by its value at
    lag 0; that of several chains side by side is taken about the mean of all, so that chains which keep apart
    do not pass for ones that have mixed. The sum ends, as Sokal (1997) has it, at the first lag that is five
    times the sum, or else with the last one: the time is then at least that long. Chains that never move, all
    in one place, have an infinite time. Raises ValueError for chains of no step, and for nan.
    """
    if not states.shape[-2] or states.isnan().any():
        raise ValueError(f"steps that are numbers are wanted, got {tuple(states.shape)}: run the chain on")
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
