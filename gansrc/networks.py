"""The networks of section 5: a rectifier generator and a maxout discriminator."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

Net = TypeVar("Net", bound=nn.Module)


class Linear(nn.Linear):
    """Affine layer, (..., in_features) to (..., out_features). When it holds S layers' weights side by side,
    (S, out, in), each maps its own slice: (S, n, in) to (S, n, out)."""

    def forward(self, x: Float[Tensor, "*batch i"]) -> Float[Tensor, "*batch o"]:
        if self.weight.dim() == 2:
            return super().forward(x)
        return torch.baddbmm(self.bias[:, None], x, self.weight.mT)


class Dropout(nn.Module):
    """Dropout: in training a value is kept with probability `keep` and divided by it, else it becomes 0.

    Masks come from torch's default generator, or, for inputs (S, ...), slice by slice from S generators of
    their own, `rngs`.
    """

    def __init__(self, keep: float) -> None:
        super().__init__()
        self.keep, self.rngs = keep, list[torch.Generator]()

    def forward(self, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        if not self.training or self.keep == 1:
            return x
        if self.rngs:
            like = {"device": x.device, "dtype": x.dtype}
            chance = torch.stack([torch.rand(x.shape[1:], generator=rng, **like) for rng in self.rngs])
        else:
            chance = torch.rand_like(x)
        return x * chance.lt_(self.keep).div_(self.keep)  # in place: half the time of a mask of bools


class Maxout(nn.Module):
    """Maxout layer: each unit outputs the largest of its own affine pieces (Goodfellow et al., 2013, eq. 1).

    Maps (..., in_features) to (..., units); holds `units * pieces` affine maps.
    """

    def __init__(self, in_features: int, units: int, pieces: int) -> None:
        super().__init__()
        self.units, self.pieces = units, pieces
        self.linear = Linear(in_features, units * pieces)

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
        layers += [Linear(z_dim, width), nn.ReLU()]
        z_dim = width
    net = nn.Sequential(*layers, Linear(z_dim, out_features), nn.Sigmoid())
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

    Maxout layers of `pieces` pieces, or rectifiers if `pieces` is 1, with dropout before every layer: a value
    is kept with probability `keep_input` or `keep_hidden`. Weights uniform in ±`weight_range`, biases zero.
    """
    layers: list[nn.Module] = []
    keep = keep_input
    for width in hidden:
        layers.append(Dropout(keep))
        if pieces == 1:
            layers += [Linear(in_features, width), nn.ReLU()]
        else:
            layers.append(Maxout(in_features, width, pieces))
        in_features, keep = width, keep_hidden
    net = nn.Sequential(*layers, Dropout(keep), Linear(in_features, 1), nn.Flatten(-2))
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


def stack(nets: Sequence[Net], rngs: list[torch.Generator]) -> Net:
    """S nets of one make as one net, (S, n, ...) to (S, n, ...), net s on slice s.

    The nets' own weights become views of its weights: to train it is to train them. Dropout masks of slice s
    are drawn from rngs[s]. Raises ValueError for nets that differ in shape, or have layers other than those
    of this module.
    """
    known = (nn.Sequential, Linear, Dropout, Maxout, nn.ReLU, nn.Sigmoid, nn.Flatten)
    for layer in nets[0].modules():
        if not isinstance(layer, known):
            raise ValueError(
                f"nets with a {type(layer).__name__} layer cannot be trained together: one at a time"
            )
    if len({tuple(p.shape for p in net.parameters()) for net in nets}) > 1:
        raise ValueError("nets of different shapes cannot be trained together: one at a time")
    together = copy.deepcopy(nets[0])
    weights = side_by_side([list(net.parameters()) for net in nets])
    for parameter, whole in zip(together.parameters(), weights, strict=True):
        parameter.data = whole
    for layer in together.modules():
        if isinstance(layer, Dropout):
            layer.rngs = rngs
    return together


def side_by_side(lists: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    """S lists of tensors as one list, each tensor with a leading axis of S; theirs become views of it."""
    wholes = []
    for tensors in zip(*lists, strict=True):
        wholes.append(torch.stack([tensor.detach() for tensor in tensors]))
        for tensor, part in zip(tensors, wholes[-1], strict=True):
            tensor.data = part
    return wholes
