"""The deep belief net: restricted Boltzmann machines, one on top of the other (Hinton et al., 2006)."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from gansrc.datasets import Dataset
from gansrc.model import OURS, UNUSED, Sampler, Source, sources
from gansrc.models.base import (
    BY_TIME,
    BY_VALIDATION,
    MNIST_SOURCES,
    WINK_SOURCES,
    ChainModel,
    ChainRecipe,
    check_points,
    on_faces,
    some_of,
)  # fmt: skip
from gansrc.models.boltzmann import RBM, bottom_layer, in_widths, log_z, mixed, states


@dataclass(frozen=True, kw_only=True)
class DBNRecipe(ChainRecipe):
    """Hyper-parameters of a deep belief net (Hinton et al., 2006).

    hidden: units of each layer, from the bottom. layer_epochs: how long each is trained. weight_std: of the
    normal start. momentum: before and after epoch `momentum_epoch` of a layer below the top. steps: of Gibbs
    sampling, from the data (contrastive divergence); at the top they go on from where they ended last
    (persistent contrastive divergence; Tieleman, 2008), with `top_momentum` and `top_rate`, which falls to 0
    in a straight line. weight_cost: of the squared weights, biases aside. annealing: so many steps turn
    the weights on, in a straight line, for a chain that begins without them; 0 for one that has them from the
    first, and begins at a training image. width: of the bells about the means of visible units that are
    numbers, for points; 0 for ones that are 0 or 1.
    """

    hidden: tuple[int, ...]
    layer_epochs: int
    learning_rate: float
    top_rate: float
    top_momentum: float
    weight_std: float
    weight_cost: float
    momentum: tuple[float, float]
    momentum_epoch: int
    steps: int
    annealing: int = 0
    width: float = 0.0

    def longest(self) -> int:
        """The epochs of all layers: the rate has come to 0 then."""
        return self.layer_epochs * len(self.hidden)

    def start(
        self, dataset: Dataset, seed: int, device: torch.device | str = "cpu", below: Sampler | None = None
    ) -> DeepBeliefNet:
        """The net at its start; the visible biases begin at the pixels' means."""
        return DeepBeliefNet(self, dataset.train, seed, device)


class DeepBeliefNet(ChainModel):
    """A stack of RBMs: the top one is an undirected model of the units below it, which draw the image."""

    recipe: DBNRecipe
    starts: Tensor
    particles: Tensor

    def __init__(
        self, recipe: DBNRecipe, train: Float[Tensor, "n d"], seed: int, device: torch.device | str
    ) -> None:
        super().__init__(recipe, seed, device)
        init = torch.Generator().manual_seed(seed)
        first, pairs = recipe.hidden[0], itertools.pairwise(recipe.hidden)
        bottom = bottom_layer(train, first, recipe.weight_std, recipe.width, init)
        layers = nn.ModuleList([bottom, *(RBM(v, h, recipe.weight_std, init) for v, h in pairs)])
        self.layers = cast(Sequence[RBM], layers)
        self.register_buffer("starts", some_of(train, recipe.chains, init))
        self.register_buffer(
            "particles", torch.rand(recipe.batch_size, recipe.hidden[-1], generator=init).round()
        )
        self.to(device)
        weights = [layer.weight for layer in self.layers]
        biases = [p for layer in self.layers for p in (layer.visible_bias, layer.hidden_bias)]
        groups: list[dict[str, Any]] = [
            {"params": weights, "weight_decay": recipe.weight_cost},
            {"params": biases},
        ]
        self.optimizer = torch.optim.SGD(
            groups,
            lr=recipe.learning_rate, momentum=recipe.momentum[0],
        )  # fmt: skip

    @torch.no_grad()
    def update(self, x: Float[Tensor, "m d"]) -> Float[Tensor, ""]:
        """A step of contrastive divergence on the layer whose turn it is (Hinton, 2002).

        Images pass up as probabilities of units, points as units that are drawn. Returned: the squared error
        of a reconstruction by means, summed over the units, the mean over images.
        """
        recipe, top = self.recipe, len(self.layers) - 1
        x = in_widths(x, recipe.width)
        number = min(self.epoch // recipe.layer_epochs, top)
        for below in self.layers[:number]:
            x = below.up(x)
            if recipe.width:
                x = x.bernoulli()
        layer, since = self.layers[number], self.updates - number * recipe.layer_epochs * self.per_epoch
        if number and since == 0:
            layer.visible_bias.copy_(x.mean(0).clamp(0.01, 0.99).logit())
        if number < top:
            v, means = self.contrastive(layer, x)
            self.set_rates(
                recipe.learning_rate, recipe.momentum[since >= recipe.momentum_epoch * self.per_epoch]
            )
        else:
            v, means = self.persistent(layer)
            rate = recipe.top_rate * max(1 - since / (recipe.layer_epochs * self.per_epoch), 0)
            self.set_rates(rate, recipe.top_momentum)
        self.optimizer.zero_grad(set_to_none=True)
        layer.gradient_(x, v, means)
        self.optimizer.step()
        return (layer.down(layer.up(x)) - x).square().sum(1).mean()

    def contrastive(self, layer: RBM, x: Float[Tensor, "m v"]) -> tuple[Tensor, Tensor]:
        """Gibbs steps from the data: a reconstruction and the means of the hidden units on it.

        The last reconstruction of an image is a mean, which is as right as a draw, and less noisy.
        """
        h = layer.up(x).bernoulli()
        for _ in range(self.recipe.steps - 1):
            h = layer.walk(h)
        v = layer.down(h)
        if self.recipe.width:
            v = layer.drawn(v)
        return v, layer.up(v)

    def persistent(self, layer: RBM) -> tuple[Tensor, Tensor]:
        """Gibbs steps from where the last ones ended: states of the visible units, means of the hidden."""
        for _ in range(self.recipe.steps):
            v = layer.drawn(layer.down(self.particles))
            means = layer.up(v)
            self.particles.copy_(means.bernoulli())
        return v, means

    def chain(self, n: int) -> Iterator[Float[Tensor, "n d"]]:
        """Gibbs steps of the top RBM; every state passes means down to an image, or draws to a point.

        With annealing they begin at units that know nothing of each other; without, at training images, at
        most as many as the recipe has chains.
        """
        top, steps, width = self.layers[-1], self.recipe.annealing, self.recipe.width
        if steps:
            h = top.hidden_bias.sigmoid().expand(n, -1)
        else:
            h = in_widths(self.starts[:n], width)
            for layer in self.layers:
                h = layer.up(h)
        h = h.bernoulli()
        for step in itertools.count(1):
            share = min(step / steps, 1.0) if steps else 1.0
            v = top.down(h, share)
            drawn = top.drawn(v)
            h = top.up(drawn, share).bernoulli()
            x = drawn if width else v
            for below in reversed(self.layers[:-1]):
                x = below.drawn(below.down(x)) if width else below.down(x)
            yield width * x if width else x

    @torch.no_grad()
    def log_density(self, x: Float[Tensor, "n d"]) -> Float64[Tensor, " n"]:
        """log p(x), nats, exact: the states of every hidden layer are counted, in float64.

        Of a net of one layer the hidden units are summed out by a formula, and only Z is counted. Raises
        ValueError for a layer of more units than can be counted, and for points of another space.
        """
        check_points(x, self.starts.shape[1])
        *lower, top = [copy.deepcopy(layer).double() for layer in self.layers]
        v = in_widths(x.double(), self.recipe.width)
        size = x.shape[1] * math.log(self.recipe.width) if self.recipe.width else 0.0
        if not lower:
            return -top.free_energy(v) - log_z(top) - size
        h = states(len(top.visible_bias), v)
        log_p = -top.free_energy(h)
        log_p = log_p - log_p.logsumexp(0)
        for layer in reversed(lower[1:]):
            below = states(len(layer.visible_bias), v)
            log_p, h = mixed(layer, below, h, log_p), below
        return mixed(lower[0], v, h, log_p) - size


SCIENCE = "code of Hinton & Salakhutdinov (2006), Science"
TUTORIAL = "DBN.py of the tutorials at deeplearning.net"

DBN_MNIST = DBNRecipe(
    name="dbn-mnist",
    data="mnist",
    epochs=40,
    batch_size=100,
    preview=100,
    hidden=(1000, 1000),
    layer_epochs=20,
    learning_rate=0.1,
    top_rate=0.05,
    top_momentum=0.5,
    weight_std=0.1,
    weight_cost=2e-4,
    momentum=(0.5, 0.9),
    momentum_epoch=5,
    steps=1,
    annealing=1000,
    chains=1000,
    burn_in=1000,
    thin=200,
    sources=MNIST_SOURCES
    | sources(
        SCIENCE,
        "learning_rate weight_std weight_cost momentum momentum_epoch steps batch_size",
        hidden=Source(TUTORIAL, "of whose three layers we take two"),
        layer_epochs=Source("ours", "there 50"),
        top_rate=OURS,
        top_momentum=OURS,
        annealing=OURS,
        chains=OURS,
        burn_in=OURS,
        thin=OURS,
        width=UNUSED,
    ),
)
"""Two layers, as in Table 1."""

DBN_FACES = on_faces(DBN_MNIST, OURS, epoch_updates=500, preview=500, annealing=0, thin=100)

RBM_WINK = DBNRecipe(
    name="rbm-wink",
    data="wink",
    epochs=10,
    batch_size=200,
    epoch_updates=2000,
    preview=1000,
    hidden=(12,),
    layer_epochs=10,
    learning_rate=0.1,
    top_rate=0.1,
    top_momentum=0.5,
    weight_std=0.3,
    weight_cost=0.0,
    momentum=(0.5, 0.5),
    momentum_epoch=0,
    steps=5,
    width=0.25,
    chains=1000,
    burn_in=2000,
    thin=500,
    sources=WINK_SOURCES
    | sources(
        "ours",
        "batch_size top_momentum weight_std chains annealing",
        hidden=Source("ours", "few enough for all their states to be counted"),
        layer_epochs=Source("ours", "all of the training"),
        learning_rate=UNUSED,
        momentum=UNUSED,
        momentum_epoch=UNUSED,
        top_rate=BY_VALIDATION,
        width=BY_VALIDATION,
        weight_cost=Source("ours", "none"),
        steps=BY_VALIDATION,
        burn_in=BY_TIME,
        thin=BY_TIME,
    ),
)
"""A single layer, on points of the plane."""

DBN_WINK = dataclasses.replace(
    RBM_WINK,
    name="dbn-wink",
    hidden=(10, 10),
    layer_epochs=5,
    sources={**RBM_WINK.sources, **sources("ours", "momentum momentum_epoch", learning_rate=BY_VALIDATION)},
)
"""Two layers: the lower one is trained by contrastive divergence, the upper one on what it draws."""
