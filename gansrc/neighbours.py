"""Nearest training examples: the rightmost columns of Figure 2; are samples copies (section 6)?"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor


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
