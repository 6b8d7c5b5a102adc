"""Few labels: which images have one, and linear classifiers that show what features are good for then."""

from __future__ import annotations

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor
from torch.nn.functional import cross_entropy


def few(labels: Int64[Tensor, " n"], wanted: int, seed: int) -> Int64[Tensor, " wanted"]:
    """The rows of `wanted` labels, as many of each class, drawn from `seed`, class by class.

    Raises ValueError where that cannot be: fewer labels than classes, or more than there are images.
    """
    if not len(labels):
        raise ValueError("there are no labels to draw from: give one for each image")
    kinds, counts = labels.unique(return_counts=True)
    each, rest = divmod(wanted, len(kinds))
    if rest or each < 1:
        raise ValueError(
            f"labels must be a multiple of the {len(kinds)} classes, got {wanted}: as many of each"
        )
    if each > counts.min():
        lacking = f"class {kinds[counts.argmin()]} has {counts.min()} images"
        raise ValueError(f"{wanted} labels take {each} images of each class, {lacking}: ask for fewer labels")
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    return torch.cat([order[labels[order] == kind][:each] for kind in kinds])


def softmax_regression(
    x: Float[Tensor, "s n f"], y: Int64[Tensor, "s n"], classes: int, penalty: float
) -> Float64[Tensor, "s f_plus_1 classes"]:
    """Linear classifiers of s sets of labelled rows, each fitted by itself, in float64.

    Of each the minimum of the mean of -log softmax(x W + b)_y, nats, plus penalty / 2 times |W|^2; the last
    row is b. It is the only minimum, so no draw of weights is needed. Class scores are x W + b.
    """
    # W is a sum of labelled rows: where these are few, their span is smaller than the space
    basis = torch.linalg.qr(x.double().mT).Q
    rows = torch.cat([x.double() @ basis, torch.ones_like(x[..., :1])], 2)
    weights = rows.new_zeros(len(x), rows.shape[2], classes, requires_grad=True)
    bfgs = torch.optim.LBFGS(
        [weights], max_iter=1000, tolerance_grad=1e-6, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def cost() -> Tensor:
        bfgs.zero_grad()
        fit = cross_entropy((rows @ weights).flatten(0, 1), y.flatten(), reduction="sum") / x.shape[1]
        total = fit + penalty / 2 * weights[:, :-1].square().sum()
        total.backward()
        return total

    bfgs.step(cost)
    w, b = weights.detach().split([basis.shape[2], 1], 1)
    return torch.cat([basis @ w, b], 1)


def mistakes(
    weights: Float64[Tensor, "s f_plus_1 classes"], x: Float[Tensor, "t f"], y: Int64[Tensor, " t"]
) -> Float64[Tensor, " s"]:
    """The share of rows that each linear classifier puts into a wrong class."""
    scores = x.double() @ weights[:, :-1] + weights[:, -1:]
    return (scores.argmax(2) != y).double().mean(1)


def tried(
    train: Float[Tensor, "n f"],
    labels: Int64[Tensor, " n"],
    chosen: Int64[Tensor, "s m"],
    test: Float[Tensor, "t f"],
    truth: Int64[Tensor, " t"],
    penalty: float,
) -> Float64[Tensor, " s"]:
    """What features are good for where labels are few: the share of test rows that linear classifiers miss.

    Each is fitted on the rows `chosen[i]` of train alone. No labels are needed to bring features to a common
    size: on train their mean is 0, their mean square length 1.
    """
    mean = train.mean(0)
    length = (train - mean).square().sum(1).mean().sqrt()
    rows, asked = ((x - mean) / length for x in (train[chosen], test))
    return mistakes(softmax_regression(rows, labels[chosen], int(labels.max()) + 1, penalty), asked, truth)
