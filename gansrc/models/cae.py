"""The stacked contractive auto-encoder and its sampling chain (Rifai et al., 2012)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, linear

from gansrc.datasets import Dataset
from gansrc.model import OURS, Sampler, Source, sources
from gansrc.models.base import MNIST_SOURCES, ChainModel, ChainRecipe, on_faces, some_of


@dataclass(frozen=True, kw_only=True)
class CAERecipe(ChainRecipe):
    """Hyper-parameters of a stacked contractive auto-encoder (Rifai et al., 2011; 2012).

    hidden: units of each layer, from the bottom. layer_epochs: how long each layer below the top is trained.
    contraction: of each layer, the weight lambda of the penalty. sampling_std: of the chain's noise in code
    space, whose units lie in [0, 1].
    """

    hidden: tuple[int, ...]
    layer_epochs: int
    learning_rate: float
    contraction: tuple[float, ...]
    sampling_std: float

    def start(
        self, dataset: Dataset, seed: int, device: torch.device | str = "cpu", below: Sampler | None = None
    ) -> StackedCAE:
        """The auto-encoder at its start."""
        return StackedCAE(self, dataset.train, seed, device)


class ContractiveLayer(nn.Module):
    """An auto-encoder with tied weights, h = s(W x + b) and r = s(W^T h + c), s the logistic sigmoid."""

    def __init__(self, visible: int, hidden: int, rng: torch.Generator) -> None:
        super().__init__()
        edge = 4 * math.sqrt(6 / (visible + hidden))
        self.weight = nn.Parameter((2 * torch.rand(hidden, visible, generator=rng) - 1) * edge)
        self.hidden_bias = nn.Parameter(torch.zeros(hidden))
        self.visible_bias = nn.Parameter(torch.zeros(visible))

    def encode(self, x: Float[Tensor, "n v"]) -> Float[Tensor, "n h"]:
        """The code of x."""
        return linear(x, self.weight, self.hidden_bias).sigmoid()

    def logits(self, h: Float[Tensor, "n h"]) -> Float[Tensor, "n v"]:
        """The reconstruction from a code, before its sigmoid."""
        return linear(h, self.weight.T, self.visible_bias)

    def penalty(self, h: Float[Tensor, "n h"]) -> Float[Tensor, " n"]:
        """Squared Frobenius norm of J = dh/dx where the code is h (Rifai et al., 2011)."""
        return (h * (1 - h)).square() @ self.weight.square().sum(1)

    def step(self, h: Float[Tensor, "n h"], noise: Float[Tensor, "n h"]) -> Float[Tensor, "n h"]:
        """From the code h to h + J J^T noise, along what the code is sensitive to (Rifai et al., 2012)."""
        slope = h * (1 - h)
        return h + slope * linear((slope * noise) @ self.weight, self.weight)


class StackedCAE(ChainModel):
    """Contractive auto-encoders, one on the other's codes; a chain walks about in the top one's."""

    recipe: CAERecipe
    starts: Tensor

    def __init__(
        self, recipe: CAERecipe, train: Float[Tensor, "n d"], seed: int, device: torch.device | str
    ) -> None:
        super().__init__(recipe, seed, device)
        init, sizes = torch.Generator().manual_seed(seed), [train.shape[1], *recipe.hidden]
        pairs = zip(sizes[:-1], sizes[1:], strict=True)
        layers = nn.ModuleList(ContractiveLayer(v, h, init) for v, h in pairs)
        self.layers = cast(Sequence[ContractiveLayer], layers)
        self.register_buffer("starts", some_of(train, recipe.chains, init))
        self.to(device)
        self.optimizer = torch.optim.SGD(self.parameters(), lr=recipe.learning_rate)

    def update(self, x: Float[Tensor, "m d"]) -> Float[Tensor, ""]:
        """A gradient step of the layer whose turn it is, on the codes of those below, which are left alone.

        Its cost, nats an image: cross-entropy + lambda penalty.
        """
        number = min(self.epoch // self.recipe.layer_epochs, len(self.layers) - 1)
        with torch.no_grad():
            for below in self.layers[:number]:
                x = below.encode(x)
        layer = self.layers[number]
        h = layer.encode(x)
        entropy = binary_cross_entropy_with_logits(layer.logits(h), x, reduction="none").sum(1)
        cost = (entropy + self.recipe.contraction[number] * layer.penalty(h)).mean()
        self.descend(cost)
        return cost

    def chain(self, n: int) -> Iterator[Float[Tensor, "n d"]]:
        """Noise in the top code, along J J^T; decode; encode again. Images are decoded all the way down.

        It begins at training images, at most as many as the recipe has chains.
        """
        top, h = self.layers[-1], self.starts[:n]
        for layer in self.layers:
            h = layer.encode(h)
        while True:
            h = top.step(h, self.recipe.sampling_std * torch.randn_like(h))
            x = top.logits(h).sigmoid()
            h = top.encode(x)
            for below in reversed(self.layers[:-1]):
                x = below.logits(x).sigmoid()
            yield x


CAE_CODE = "github.com/ynd/cae.py (Dauphin & Rifai, 2012)"

CAE_MNIST = CAERecipe(
    name="cae-mnist",
    data="mnist",
    epochs=40,
    batch_size=20,
    preview=1000,
    hidden=(1000, 1000),
    layer_epochs=20,
    learning_rate=0.05,
    contraction=(3.0, 0.3),
    sampling_std=0.5,
    chains=100,
    burn_in=100,
    thin=10,
    sources=MNIST_SOURCES
    | sources(
        CAE_CODE,
        "batch_size layer_epochs",
        hidden=OURS,
        learning_rate=Source("ours", "there .1"),
        contraction=Source("ours", "there .1, by which the chain leaves the digits"),
        sampling_std=Source("ours", "there 1, likewise"),
        chains=OURS,
        burn_in=OURS,
        thin=OURS,
    ),
)

CAE_FACES = on_faces(CAE_MNIST, Source(CAE_CODE), "batch_size", epochs=16, epoch_updates=2500, layer_epochs=8)
