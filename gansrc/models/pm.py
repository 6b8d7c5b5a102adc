"""Predictability minimisation (Schmidhuber, 1992), with the decoder that makes a generative model of it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gansrc.datasets import Dataset
from gansrc.model import Sampler, Source, sources
from gansrc.models.base import MinibatchModel, MinibatchRecipe, rectifiers, some_of
from gansrc.streams import drawing_from


@dataclass(frozen=True, kw_only=True)
class PMRecipe(MinibatchRecipe):
    """Hyper-parameters of predictability minimisation.

    hidden: rectifiers of each layer of the encoder and, turned round, of the decoder. units: numbers of a
    code. predictor: rectifiers of each layer of a predictor. competition, reconstruction: how much the
    encoder minds that its units are predicted, and that the decoder errs; 0 for not at all. learning_rate: of
    Adam; after u updates it is divided by 1 + u / `half_life`. lead: the predictors' rate, times this.
    points: so many training points whose codes new ones are put together from.
    """

    hidden: tuple[int, ...]
    units: int
    predictor: tuple[int, ...]
    competition: float
    reconstruction: float
    learning_rate: float
    half_life: int
    lead: float
    points: int

    def start(
        self, dataset: Dataset, seed: int, device: torch.device | str = "cpu", below: Sampler | None = None
    ) -> PredictabilityMinimizer:
        """Encoder, predictors and decoder at their start. Raises ValueError for a single unit."""
        if self.units < 2:
            raise ValueError(f"units must be at least 2, to predict one by the others, got {self.units}")
        return PredictabilityMinimizer(self, dataset.train, seed, device)


class PredictabilityMinimizer(MinibatchModel):
    """An encoder whose units escape from being predicted by each other, and a decoder that undoes it.

    New points: each unit takes its value from a training point of its own, as if units were independent, and
    the code is decoded.
    """

    recipe: PMRecipe
    starts: Tensor

    def __init__(self, recipe: PMRecipe, train: Tensor, seed: int, device: torch.device | str) -> None:
        super().__init__(recipe, seed, device)
        rng, d, m = torch.Generator().manual_seed(seed), train.shape[1], recipe.units
        with drawing_from(rng):
            self.encoder = rectifiers([d, *recipe.hidden, m])
            self.decoder = rectifiers([m, *reversed(recipe.hidden), d])
            self.predictors = nn.ModuleList(rectifiers([m - 1, *recipe.predictor, 1]) for _ in range(m))
        self.register_buffer("starts", some_of(train, recipe.points, rng))
        self.to(device)
        coder = [*self.encoder.parameters(), *self.decoder.parameters()]
        self.optimizer = torch.optim.Adam([{"params": coder}, {"params": [*self.predictors.parameters()]}])

    def encode(self, x: Float[Tensor, "m d"]) -> Float[Tensor, "m units"]:
        """The code of each point, units in (0, 1)."""
        return self.encoder(x).sigmoid()

    def unpredicted(self, codes: Float[Tensor, "m units"]) -> Float[Tensor, " units"]:
        """The share of each unit's variance that its predictor misses: E (P_i(others) - y_i)^2 / Var y_i.

        Schmidhuber's V_C (1992, eq. 5), units brought to mean 0 and variance 1 first, so that none gains by
        its size. 1 at the best if the others say nothing of a unit's mean, 0 if they tell the unit itself.
        """
        y = (codes - codes.mean(0)) / codes.var(0, correction=0).add(1e-8).sqrt()
        others = [torch.cat([y[:, :i], y[:, i + 1 :]], 1) for i in range(y.shape[1])]
        predicted = [net(rest) for net, rest in zip(self.predictors, others, strict=True)]
        return (torch.cat(predicted, 1) - y).square().mean(0)

    def update(self, x: Float[Tensor, "m d"]) -> Float[Tensor, ""]:
        """One step of all nets at once; the squared error of the decoder plus what is unpredicted.

        Decoder and predictors bring their own part down. The encoder brings the decoder's error down, and
        what is unpredicted up.
        """
        recipe, codes = self.recipe, self.encode(x)
        errors = (self.decoder(passed(codes, recipe.reconstruction)) - x).square().sum(1)
        cost = errors.mean() + self.unpredicted(passed(codes, -recipe.competition)).sum()
        rate = recipe.learning_rate / (1 + self.updates / recipe.half_life)
        for group, factor in zip(self.optimizer.param_groups, (1, recipe.lead), strict=True):
            group["lr"] = rate * factor
        self.descend(cost)
        return cost

    def draw(self, n: int) -> Float[Tensor, "n d"]:
        """Decoded codes whose units are drawn one by one, each from its own values."""
        codes = self.encode(self.starts)
        chosen = torch.randint(len(codes), (n, codes.shape[1]), device=codes.device)
        return self.decoder(codes.gather(0, chosen))


def passed(x: Tensor, factor: float) -> Tensor:
    """x as it is, but on its way back the gradient is multiplied by `factor`."""
    return x.detach() + factor * (x - x.detach())


PAPER = "Schmidhuber (1992)"

PM_WINK = PMRecipe(
    name="pm-wink",
    data="wink",
    epochs=20,
    epoch_updates=400,
    preview=1000,
    batch_size=200,
    hidden=(32, 32),
    units=2,
    predictor=(16, 16),
    competition=0.1,
    reconstruction=1.0,
    learning_rate=2e-3,
    half_life=2000,
    lead=3.0,
    points=1000,
    sources=sources(
        "ours",
        "name data epochs epoch_updates preview rows_per_epoch batch_size hidden predictor learning_rate"
        " half_life lead points",
        units=Source("ours", "as many as a point has numbers"),
        competition=Source(
            PAPER,
            "section 4; the value is ours, of three, by distance to the data",
        ),
        reconstruction=Source(PAPER, "section 4.3, an auto-encoder's error"),
    ),
)
