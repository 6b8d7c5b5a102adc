"""The networks of section 5: generators of rectifiers and sigmoids, maxout discriminators."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import max_pool2d

Net = TypeVar("Net", bound=nn.Module)
ACTIVATIONS = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid, "linear": nn.Identity}
"""What may follow an affine layer of a generator."""


class Linear(nn.Linear):
    """Affine layer, (..., in_features) to (..., out_features). When it holds S layers' weights side by side,
    (S, out, in), each maps its own slice: (S, n, in) to (S, n, out)."""

    def forward(self, x: Float[Tensor, "*batch i"]) -> Float[Tensor, "*batch o"]:
        """The affine map of x, or of every slice of x by the layer that it belongs to."""
        if self.weight.dim() == 2:
            return super().forward(x)
        return torch.baddbmm(self.bias[:, None], x, self.weight.mT)


class Dropout(nn.Module):
    """Dropout: in training a value is kept with probability `keep` and divided by it, else it becomes 0.

    Masks come from torch's default generator, or, for inputs (S, ...), slice by slice from S generators of
    their own, `rngs`. share: (i, s) where the rows of x are those of number i modulo s, of s times as many:
    the masks of all are drawn.
    """

    def __init__(self, keep: float) -> None:
        super().__init__()
        self.keep, self.rngs, self.share = keep, list[torch.Generator](), (0, 1)

    def forward(self, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """x with some of its values dropped; outside of training, x."""
        if not self.training or self.keep == 1:
            return x
        if self.rngs:
            shape, dtype = x.shape[1:], x.dtype
            chance = torch.stack(
                [torch.rand(shape, generator=rng, device=x.device, dtype=dtype) for rng in self.rngs]
            )
        elif self.share != (0, 1):
            i, s = self.share
            chance = torch.rand_like(torch.cat([x] * s))[i::s]  # laid out in memory as all rows would be
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
        """The largest piece of every unit."""
        return self.linear(x).unflatten(-1, (self.pieces, self.units)).amax(-2)


class MaxoutConv(nn.Module):
    """Convolutional maxout layer with max pooling: the largest of `pieces` feature maps, then of a window.

    Maps (n, in_channels, h, w) to (n, channels, h', w'). The number of windows is rounded up: the last may
    reach over the edge, as in cuda-convnet, which the authors used.
    """

    def __init__(
        self, in_channels: int, channels: int, pieces: int, kernel: int, padding: int, pool: int, stride: int
    ) -> None:
        super().__init__()
        self.channels, self.pieces, self.pool, self.stride = channels, pieces, pool, stride
        self.conv = nn.Conv2d(in_channels, channels * pieces, kernel, padding=padding)

    def forward(self, x: Float[Tensor, "n i h w"]) -> Float[Tensor, "n channels h2 w2"]:
        """The largest of the pieces' maps, then the largest value of every window."""
        # max, not amax: of two pieces its gradient costs half as much
        largest = self.conv(x).unflatten(1, (self.pieces, self.channels)).max(1).values
        return max_pool2d(largest, self.pool, self.stride, ceil_mode=True)


class Bias(nn.Module):
    """Adds to each of `features` numbers, (n, features), a bias of its own: untied, after a convolution."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(features))

    def forward(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """x with the biases added."""
        return x + self.bias


def generator(
    z_dim: int,
    hidden: Sequence[int],
    out_features: int,
    weight_range: float,
    rng: torch.Generator,
    activations: Sequence[str] = (),
    output: str = "sigmoid",
) -> nn.Sequential:
    """Fully connected generator: codes z (n, z_dim) to images (n, out_features).

    Hidden layers of the given `activations`, "relu" or "sigmoid", all rectifiers if there are none; the
    output is "sigmoid" or "linear". Weights uniform in ±`weight_range`, biases zero.
    """
    layers: list[nn.Module] = []
    kinds = [*(activations or ["relu"] * len(hidden)), output]
    for width, kind in zip([*hidden, out_features], kinds, strict=True):
        layers += [Linear(z_dim, width), ACTIVATIONS[kind]()]
        z_dim = width
    return init_uniform_(nn.Sequential(*layers), weight_range, rng)


def deconvolution(
    hidden: nn.Sequential, channels: int, kernel: int, stride: int, image_shape: Sequence[int]
) -> nn.Sequential:
    """Put a transposed convolution on a net: its m outputs, as `channels` square maps, become an image.

    The net so made maps to rows (n, c * h * w) of images of `image_shape` (c, h, w), with a bias for each
    pixel. Raises ValueError if the maps do not come out as images of that shape.
    """
    width = [layer for layer in hidden if isinstance(layer, nn.Linear)][-1].out_features
    side = math.isqrt(width // channels)
    size = (side - 1) * stride + kernel
    if tuple(image_shape[1:]) != (size, size):
        given = "{} x {}".format(*image_shape[1:])
        raise ValueError(
            f"this net draws images of {size} x {size} pixels, grey or colour, got {given}:"
            " resize them, or take a fully connected recipe"
        )
    maps = nn.Unflatten(-1, (channels, side, side))
    spread = nn.ConvTranspose2d(channels, image_shape[0], kernel, stride, bias=False)
    return nn.Sequential(*hidden, maps, spread, nn.Flatten(-3), Bias(math.prod(image_shape)))


def discriminator(
    in_features: int,
    hidden: Sequence[int],
    pieces: int,
    keep_input: float,
    keep_hidden: float,
    weight_range: float,
    rng: torch.Generator,
    convolutions: Sequence[Sequence[int]] = (),
    image_shape: Sequence[int] = (),
) -> nn.Sequential:
    """Discriminator: images (n, in_features) to logits (n,); D(x) is their sigmoid.

    `convolutions`, each (channels, pieces, kernel, padding, pool, stride) of a `MaxoutConv`, work on the rows
    as images of `image_shape` (c, h, w). Then maxout layers of `pieces` pieces, or rectifiers if `pieces` is
    1. Dropout before every layer: a value is kept with probability `keep_input` or `keep_hidden`. Weights
    uniform in ±`weight_range`, biases zero.
    """
    layers: list[nn.Module] = []
    keep = keep_input
    if convolutions:
        layers.append(nn.Unflatten(-1, tuple(image_shape)))
        channels, size = image_shape[0], image_shape[1]
        for convolution in convolutions:
            layers += [Dropout(keep), MaxoutConv(channels, *convolution)]
            channels, _, kernel, padding, pool, stride = convolution
            size = -(-(size + 2 * padding - kernel + 1 - pool) // stride) + 1
            keep = keep_hidden
        layers.append(nn.Flatten(-3))
        in_features = channels * size**2
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
    """Draw the weights of all layers uniformly from ±`weight_range`; set their biases to zero."""
    for name, parameter in net.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
        else:
            nn.init.uniform_(parameter, -weight_range, weight_range, generator=rng)
    return net


def init_sparse_(layer: nn.Linear, n: int, rng: torch.Generator) -> None:
    """Give every unit `n` weights from N(0, 1), to inputs chosen at random, and zeros to all others."""
    with torch.no_grad():
        chosen = torch.rand(layer.weight.shape, generator=rng).topk(n, 1).indices
        values = torch.randn(chosen.shape, generator=rng)
        layer.weight.zero_().scatter_(1, chosen, values)


def limit_column_norms_(net: nn.Module, largest: float) -> None:
    """Shrink the weights into a unit of an affine layer, a column of the authors' W, to that norm at most."""
    for layer in net.modules():
        if isinstance(layer, nn.Linear) and layer.weight.requires_grad:
            layer.weight.data.flatten(0, -2).renorm_(2, 0, largest)


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
