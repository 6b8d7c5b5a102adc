"""The deep Boltzmann machine: two hidden layers, no weight directed (Salakhutdinov and Hinton, 2009)."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn
from torch.nn.functional import linear, softplus

from gansrc.datasets import Dataset
from gansrc.model import Sampler, Source, sources
from gansrc.models.base import (
    BY_TIME,
    BY_VALIDATION,
    WINK_SOURCES,
    ChainModel,
    ChainRecipe,
    check_points,
    some_of,
)  # fmt: skip
from gansrc.models.boltzmann import RBM, bottom_layer, in_widths, mixed, states


@dataclass(frozen=True, kw_only=True)
class DBMRecipe(ChainRecipe):
    """Hyper-parameters of a deep Boltzmann machine of two hidden layers (Salakhutdinov and Hinton, 2009).

    hidden: units of each layer, from the bottom. learning_rate: at the start; it falls to 0 in a straight
    line over `rate_epochs`. weight_std: of the normal start. mean_field: rounds in which the means of the
    hidden layers, given an image, settle on one another. steps: of Gibbs sampling of the particles between
    two updates; they go on from where they ended last. width: of the bells about the means of visible units
    that are numbers, for points; 0 for ones that are 0 or 1.
    """

    hidden: tuple[int, int]
    rate_epochs: int
    learning_rate: float
    weight_std: float
    mean_field: int
    steps: int
    width: float = 0.0

    def longest(self) -> int:
        """The rate has come to 0 then."""
        return self.rate_epochs

    def start(
        self, dataset: Dataset, seed: int, device: torch.device | str = "cpu", below: Sampler | None = None
    ) -> DeepBoltzmannMachine:
        """The machine at its start; the visible biases begin at the examples' means."""
        return DeepBoltzmannMachine(self, dataset.train, seed, device)


class DBM(nn.Module):
    """Two RBMs that share the layer between them, with the sum of their energies.

    The bias of that layer is the lower one's; the upper one's visible biases stay 0.
    """

    def __init__(self, bottom: RBM, top: RBM) -> None:
        super().__init__()
        self.bottom, self.top = bottom, top
        top.visible_bias.requires_grad_(False)

    @property
    def hidden_bias(self) -> Tensor:
        """The biases of the layer between, from which the machine is counted and annealed."""
        return self.bottom.hidden_bias

    def between(
        self, v: Float[Tensor, "n v"], h2: Float[Tensor, "n h2"], share: float = 1.0
    ) -> Float[Tensor, "n h1"]:
        """p(h1 = 1 | v, h2), with that share of the weights."""
        field = linear(share * v, self.bottom.weight, self.hidden_bias)
        return (field + linear(share * h2, self.top.weight.T)).sigmoid()

    def outer(
        self, h1: Float[Tensor, "n h1"], share: float = 1.0
    ) -> tuple[Float[Tensor, "n v"], Float[Tensor, "n h2"]]:
        """Draws of the layers on both sides of h1, with that share of the weights."""
        return self.bottom.drawn(self.bottom.down(h1, share)), self.top.up(h1, share).bernoulli()

    def walk(self, h: Float[Tensor, "n h1"], share: float = 1.0) -> Float[Tensor, "n h1"]:
        """A step of Gibbs sampling from the layer between and back, with that share of the weights."""
        return self.between(*self.outer(h, share), share).bernoulli()

    def log_weight(self, h: Float[Tensor, "n h1"], share: float = 1.0) -> Float[Tensor, " n"]:
        """log of what h1 weighs, nats: both other layers summed out, with that share of the weights."""
        above = softplus(linear(share * h, self.top.weight, self.top.hidden_bias)).sum(1)
        return self.bottom.log_weight(h, share) + above

    def means(
        self, v: Float[Tensor, "n v"], rounds: int
    ) -> tuple[Float[Tensor, "n h1"], Float[Tensor, "n h2"]]:
        """The mean field of the hidden layers given v: each unit's mean with its neighbours at theirs."""
        h1 = self.bottom.up(v)
        for _ in range(rounds):
            h2 = self.top.up(h1)
            h1 = self.between(v, h2)
        return h1, h2


class DeepBoltzmannMachine(ChainModel):
    """The machine with its training: mean field with the data, persistent chains without."""

    recipe: DBMRecipe
    starts: Tensor
    particles: Tensor

    def __init__(
        self, recipe: DBMRecipe, train: Float[Tensor, "n d"], seed: int, device: torch.device | str
    ) -> None:
        super().__init__(recipe, seed, device)
        init, std, (middle, top) = torch.Generator().manual_seed(seed), recipe.weight_std, recipe.hidden
        self.machine = DBM(bottom_layer(train, middle, std, recipe.width, init), RBM(middle, top, std, init))
        self.register_buffer("starts", some_of(train, recipe.chains, init))
        self.register_buffer("particles", torch.rand(recipe.batch_size, middle, generator=init).round())
        self.to(device)
        learnt = [p for p in self.parameters() if p.requires_grad]
        self.optimizer = torch.optim.SGD(learnt, lr=recipe.learning_rate)

    @torch.no_grad()
    def update(self, x: Float[Tensor, "m d"]) -> Float[Tensor, ""]:
        """A step along the statistics with the examples, by mean field, less those of the model, by chains.

        Returned: the squared error of a reconstruction by means, summed over the units, the mean over images.
        """
        recipe, machine = self.recipe, self.machine
        x = in_widths(x, recipe.width)
        h1, h2 = machine.means(x, recipe.mean_field)
        for _ in range(recipe.steps):
            v, model_h2 = machine.outer(self.particles)
            model_h1 = machine.between(v, model_h2)
            self.particles.copy_(model_h1.bernoulli())
        left = max(1 - self.updates / (recipe.rate_epochs * self.per_epoch), 0)
        self.set_rates(recipe.learning_rate * left, 0.0)
        self.optimizer.zero_grad(set_to_none=True)
        machine.bottom.contrast_(x, h1, v, model_h1)
        machine.top.contrast_(h1, h2, model_h1, model_h2)
        self.optimizer.step()
        return (machine.bottom.down(h1) - x).square().sum(1).mean()

    def chain(self, n: int) -> Iterator[Float[Tensor, "n d"]]:
        """Gibbs steps that begin at training images: of every state the mean image, or the point drawn."""
        machine, width = self.machine, self.recipe.width
        h1 = machine.means(in_widths(self.starts[:n], width), self.recipe.mean_field)[0].bernoulli()
        while True:
            v, h2 = machine.outer(h1)
            yield width * v if width else machine.bottom.down(h1)
            h1 = machine.between(v, h2).bernoulli()

    @torch.no_grad()
    def log_density(self, x: Float[Tensor, "n d"]) -> Float64[Tensor, " n"]:
        """log p(x), nats, exact: all states of the layer between are counted, in float64.

        Raises ValueError where it has more units than can be counted, and for points of another space.
        """
        check_points(x, self.starts.shape[1])
        twin, width = copy.deepcopy(self.machine).double(), self.recipe.width
        h = states(len(twin.hidden_bias), twin.hidden_bias)
        log_p = twin.log_weight(h)
        log_p = log_p - log_p.logsumexp(0)
        size = x.shape[1] * math.log(width) if width else 0.0
        return mixed(twin.bottom, in_widths(x.double(), width), h, log_p) - size


DBM_WINK = DBMRecipe(
    name="dbm-wink",
    data="wink",
    epochs=10,
    batch_size=200,
    epoch_updates=2000,
    preview=1000,
    hidden=(10, 10),
    rate_epochs=10,
    learning_rate=0.1,
    weight_std=0.3,
    mean_field=5,
    steps=5,
    width=0.25,
    chains=1000,
    burn_in=2000,
    thin=500,
    sources=WINK_SOURCES
    | sources(
        "ours",
        "batch_size rate_epochs weight_std mean_field chains",
        hidden=Source("ours", "few enough for all their states to be counted"),
        learning_rate=BY_VALIDATION,
        width=BY_VALIDATION,
        steps=BY_VALIDATION,
        burn_in=BY_TIME,
        thin=BY_TIME,
    ),
)
"""Two layers, both trained at once from the first: no layer is trained alone beforehand."""
