"""The deep generative stochastic network (Bengio et al., 2014): a chain that is trained to come back."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, linear

from gansrc.datasets import Dataset
from gansrc.model import OURS, UNUSED, Sampler, Source, sources
from gansrc.models.base import (
    MNIST_SOURCES,
    WINK_SOURCES,
    ChainModel,
    ChainRecipe,
    from_bell,
    log_bell,
    on_faces,
    some_of,
)


@dataclass(frozen=True, kw_only=True)
class GSNRecipe(ChainRecipe):
    """Hyper-parameters of a deep generative stochastic network (Bengio et al., 2014).

    hidden: tanh units of each layer, from the bottom. walkbacks: reconstructions that a training image is
    walked through. salt_and_pepper: share of the pixels that are replaced by 0 or 1. noise_std: of the
    Gaussian noise before and after the tanh of every hidden layer but the first. resample: whether pixels are
    drawn from their probabilities before the next step. decay: of the learning rate, by epoch. momentum: of a
    running mean of gradients, which begins at the first one. corruption_std: of Gaussian noise on real
    numbers, each of which is then drawn from a bell; where it is 0, x are pixels.
    """

    hidden: tuple[int, ...]
    walkbacks: int
    salt_and_pepper: float
    noise_std: float
    resample: bool
    learning_rate: float
    decay: float
    momentum: float
    corruption_std: float = 0.0

    def start(
        self, dataset: Dataset, seed: int, device: torch.device | str = "cpu", below: Sampler | None = None
    ) -> DeepGSN:
        """The network at its start."""
        return DeepGSN(self, dataset.train, seed, device)


class DeepGSN(ChainModel):
    """Layers x, h1, ..., hK, joined by weights that serve both ways; the layers of odd number move in turn
    with those of even number, x among the latter. Of real numbers h1 gives mean and log-variance."""

    recipe: GSNRecipe
    starts: Tensor

    def __init__(
        self, recipe: GSNRecipe, train: Float[Tensor, "n d"], seed: int, device: torch.device | str
    ) -> None:
        super().__init__(recipe, seed, device)
        init, sizes = torch.Generator().manual_seed(seed), [train.shape[1], *recipe.hidden]
        self.weights = nn.ParameterList()
        for below, above in zip(sizes[:-1], sizes[1:], strict=True):
            edge = math.sqrt(6 / (below + above))
            self.weights.append((2 * torch.rand(above, below, generator=init) - 1) * edge)
        self.biases = nn.ParameterList(torch.zeros(size) for size in sizes)
        if recipe.corruption_std:
            self.log_variance = nn.Linear(sizes[1], sizes[0])
            nn.init.zeros_(self.log_variance.weight)
            nn.init.zeros_(self.log_variance.bias)
        self.register_buffer("starts", some_of(train, recipe.chains, init))
        self.to(device)
        self.optimizer = torch.optim.SGD(
            self.parameters(), lr=recipe.learning_rate, momentum=recipe.momentum, dampening=recipe.momentum
        )

    def corrupt(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """Replace pixels, each with probability `salt_and_pepper`, by 0 or 1, either as likely; move numbers
        by draws of N(0, corruption_std²)."""
        if self.recipe.corruption_std:
            return x + self.recipe.corruption_std * torch.randn_like(x)
        noise = torch.rand_like(x).round()
        return torch.where(torch.rand_like(x) < self.recipe.salt_and_pepper, noise, x)

    def step(
        self, layers: list[Tensor]
    ) -> tuple[list[Tensor], Float[Tensor, "n total"], Float[Tensor, "n d"]]:
        """One step of the network from the states of all layers; the new ones, what x is drawn from, and x.

        layers: (n, units) each, from the image up. The image among the new states is a corrupted one, as that
        among the old ones. x is drawn from the logits of pixels, or from mean and log-variance side by side;
        without `resample` it is their mean.
        """
        layers, top = list(layers), len(layers) - 1
        given = x = layers[0]
        for i in [*range(1, top + 1, 2), *range(0, top + 1, 2)]:
            total = self.biases[i]
            if i > 0:
                total = linear(layers[i - 1], self.weights[i - 1], total)
            if i < top:
                total = torch.addmm(total, layers[i + 1], self.weights[i])
            if i == 0:
                given = total
                if self.recipe.corruption_std:
                    given = torch.cat([total, self.log_variance(layers[1])], 1)
                x = self.drawn(given.detach())
                layers[0] = self.corrupt(x)
            else:
                layers[i] = self.activate(total, i)
        return layers, given, x

    def drawn(self, given: Float[Tensor, "n total"]) -> Float[Tensor, "n d"]:
        """x from what it is drawn from, or its mean."""
        if not self.recipe.corruption_std:
            mean = given.sigmoid()
            return mean.bernoulli() if self.recipe.resample else mean
        return from_bell(given) if self.recipe.resample else given.chunk(2, 1)[0]

    def cost(self, given: Float[Tensor, "n total"], x: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
        """-log p(x) of what x is drawn from, nats for each of its numbers."""
        if not self.recipe.corruption_std:
            return binary_cross_entropy_with_logits(given, x)
        return -log_bell(x, given).mean()

    def activate(self, total: Float[Tensor, "n h"], i: int) -> Float[Tensor, "n h"]:
        """tanh, with noise on both of its sides in every layer but the first, i = 1."""
        if i == 1:
            return total.tanh()
        std = self.recipe.noise_std
        total = (total + std * torch.randn_like(total)).tanh()
        return total + std * torch.randn_like(total)

    def start(self, x: Float[Tensor, "n d"]) -> list[Tensor]:
        """All layers when an image comes in: the hidden ones are 0."""
        return [self.corrupt(x), *(x.new_zeros(len(x), len(bias)) for bias in self.biases[1:])]

    def update(self, x: Float[Tensor, "m d"]) -> Float[Tensor, ""]:
        """A gradient step on -log p(x), nats a pixel or number: the sum over a walk's steps."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.learning_rate * self.recipe.decay**self.epoch
        layers, cost = self.start(x), x.new_zeros(())
        for _ in range(self.recipe.walkbacks):
            layers, given, _ = self.step(layers)
            cost = cost + self.cost(given, x)
        self.descend(cost)
        return cost

    def chain(self, n: int) -> Iterator[Float[Tensor, "n d"]]:
        """The network's own steps, from training images, at most as many as the recipe has chains: means of
        pixels, or drawn numbers."""
        layers = self.start(self.starts[:n])
        while True:
            layers, given, x = self.step(layers)
            yield x if self.recipe.corruption_std else given.sigmoid()


RUN_GSN = "run_gsn.py of github.com/yaoli/GSN (the authors', 2014)"
MODEL = "model.py of github.com/yaoli/GSN (the authors', 2014)"

GSN_MNIST = GSNRecipe(
    name="gsn-mnist",
    data="mnist",
    epochs=1000,
    batch_size=100,
    preview=1000,
    hidden=(1500, 1500),
    walkbacks=4,
    salt_and_pepper=0.4,
    noise_std=2.0,
    resample=True,
    learning_rate=0.25,
    decay=0.995,
    momentum=0.5,
    burn_in=100,
    sources=MNIST_SOURCES
    | sources(
        RUN_GSN,
        "epochs batch_size hidden walkbacks salt_and_pepper noise_std resample learning_rate decay momentum",
        chains=Source(MODEL),
        thin=Source(MODEL),
        burn_in=OURS,
        corruption_std=UNUSED,
    ),
)

GSN_FACES = on_faces(
    GSN_MNIST, OURS, epoch_updates=500, salt_and_pepper=0.2, resample=False, learning_rate=1.0
)

GSN_WINK = GSNRecipe(
    name="gsn-wink",
    data="wink",
    epochs=20,
    epoch_updates=500,
    batch_size=100,
    preview=1000,
    hidden=(64,),
    walkbacks=1,
    salt_and_pepper=0.0,
    noise_std=0.0,
    resample=True,
    learning_rate=0.05,
    decay=0.8,
    momentum=0.9,
    corruption_std=0.4,
    chains=1000,
    burn_in=500,
    thin=2,
    sources=WINK_SOURCES
    | sources(
        "ours",
        "batch_size hidden walkbacks learning_rate decay momentum chains thin",
        resample=Source("Bengio et al. (2014)", "the chain draws x, a mean would not do"),
        corruption_std=Source("ours", "what it does is measured"),
        burn_in=Source("ours", "more than three autocorrelation times"),
        salt_and_pepper=UNUSED,
        noise_std=UNUSED,
    ),
)
