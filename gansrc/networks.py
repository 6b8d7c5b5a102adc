"""The networks of section 5: a rectifier generator and a maxout discriminator."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

Net = TypeVar("Net", bound=nn.Module)


class Maxout(nn.Module):
    """Maxout layer: each unit outputs the largest of its own affine pieces (Goodfellow et al., 2013, eq. 1).

    Maps (..., in_features) to (..., units); holds `units * pieces` affine maps.
    """

    def __init__(self, in_features: int, units: int, pieces: int) -> None:
        super().__init__()
        self.units, self.pieces = units, pieces
        self.linear = nn.Linear(in_features, units * pieces)

    def forward(self, x: Float[Tensor, "*batch i"]) -> Float[Tensor, "*batch units"]:
        return self.linear(x).unflatten(-1, (self.pieces, self.units)).amax(-2)


def generator(
    z_dim: int, hidden: Sequence[int], out_features: int, weight_range: float, rng: torch.Generator
) -> nn.Sequential:
    """Generator of the MNIST experiment: codes z (n, z_dim) to pixels in [0, 1], (n, out_features).

    Rectified linear layers, a sigmoid output. Weights uniform in ±`weight_range`, biases zero.
    """
    layers: list[nn.Module] = []
    for width in hidden:
        layers += [nn.Linear(z_dim, width), nn.ReLU()]
        z_dim = width
    net = nn.Sequential(*layers, nn.Linear(z_dim, out_features), nn.Sigmoid())
    return init_uniform_(net, weight_range, rng)


def discriminator(
    in_features: int,
    hidden: Sequence[int],
    pieces: int,
    keep_input: float,
    keep_hidden: float,
    weight_range: float,
    rng: torch.Generator,
) -> nn.Sequential:
    """Discriminator of the MNIST experiment: pixels (n, in_features) to logits (n,); D(x) is their sigmoid.

    Maxout layers of `pieces` pieces, dropout before every layer: a value is kept with probability
    `keep_input` or `keep_hidden` and then divided by it. Weights uniform in ±`weight_range`, biases zero.
    """
    layers: list[nn.Module] = []
    keep = keep_input
    for width in hidden:
        layers += [nn.Dropout(1 - keep), Maxout(in_features, width, pieces)]
        in_features, keep = width, keep_hidden
    net = nn.Sequential(*layers, nn.Dropout(1 - keep), nn.Linear(in_features, 1), nn.Flatten(0))
    return init_uniform_(net, weight_range, rng)


def init_uniform_(net: Net, weight_range: float, rng: torch.Generator) -> Net:
    """Draw the weights of the linear layers uniformly from ±`weight_range`; set their biases to zero."""
    for layer in net.modules():
        if isinstance(layer, nn.Linear):
            nn.init.uniform_(layer.weight, -weight_range, weight_range, generator=rng)
            nn.init.zeros_(layer.bias)
    return net


def set_output_bias_(net: nn.Sequential, images: Float[Tensor, "n d"]) -> None:
    """Start a sigmoid output at the data's pixel means: the last bias becomes the logit of each mean.

    `images` in [0, 1]. Means are kept within 1e-7 of 0 and 1, as a pixel that never varies has no finite
    logit.
    """
    last = [layer for layer in net if isinstance(layer, nn.Linear)][-1]
    with torch.no_grad():
        last.bias.copy_(images.mean(0).clamp(1e-7, 1 - 1e-7).logit())


def count_weights(net: nn.Module) -> int:
    """Number of weights and biases of a net."""
    return sum(math.prod(p.shape) for p in net.parameters())
