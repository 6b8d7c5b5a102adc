"""What the models beside the GAN have in common: one torch optimizer fits them minibatch by minibatch."""

from __future__ import annotations

import dataclasses
import itertools
import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from gansrc.datasets import Dataset, of
from gansrc.devices import summing
from gansrc.model import OURS, Model, Recipe, Sampler, Source, State, load_slots, slots
from gansrc.streams import batch_indices, drawing_from

R = TypeVar("R", bound=Recipe)
FILM_STEPS = 1000
"""Consecutive steps of a Markov chain that a record keeps."""


@dataclass(frozen=True, kw_only=True)
class MinibatchRecipe(Recipe):
    """Settings of a model that is fitted by updates of minibatches.

    epoch_updates: how many updates count as an epoch; 0 for one pass through the data.
    """

    batch_size: int
    epoch_updates: int = 0

    @abstractmethod
    def start(
        self, dataset: Dataset, seed: int, device: torch.device | str = "cpu", below: Sampler | None = None
    ) -> MinibatchModel:
        """The model at its start, weights drawn from `seed`; the data, images in [0, 1], may set biases."""

    def sampler(self, image_shape: Sequence[int]) -> MinibatchModel:
        """The model itself, its weights still to be loaded."""
        return self.start(of(torch.full((1, math.prod(image_shape)), 0.5), tuple(image_shape)), 0)

    def examples_per_update(self) -> int:
        """How many training images an update takes."""
        return self.batch_size

    def updates_per_epoch(self, n: int) -> int:
        """Updates that count as an epoch, with n training images."""
        return self.epoch_updates or n // self.batch_size


class MinibatchModel(nn.Module, Model):
    """A model that is fitted by updates of minibatches; subclasses say what an update is.

    seed: of the stream that batches and all draws of the training come from. Hold every tensor that the next
    update depends on as a parameter or buffer, or in `optimizer`.
    """

    optimizer: torch.optim.Optimizer
    updates = 0

    def __init__(self, recipe: MinibatchRecipe, seed: int, device: torch.device | str) -> None:
        super().__init__()
        self.recipe, self.updates, self.per_epoch = recipe, 0, 1
        self.rng = torch.Generator(device).manual_seed(seed)

    @property
    def device(self) -> torch.device:
        """Where the model is trained."""
        return self.rng.device

    def fit(self, data: Float[Tensor, "n d"], updates: int) -> dict[str, float]:
        """Train by so many updates; return their mean cost. In two calls or in one: the same bit for bit.

        ValueError if there are fewer images than a minibatch takes.
        """
        size, self.per_epoch = self.recipe.batch_size, self.recipe.updates_per_epoch(len(data))
        if len(data) < size:
            raise ValueError(f"batch_size {size} needs as many examples, got {len(data)}")
        indices = batch_indices(len(data), size, self.rng.initial_seed(), self.updates, data.device)
        total = torch.zeros((), dtype=summing(data.device), device=data.device)
        self.train()
        with drawing_from(self.rng):
            for _ in range(updates):
                total = total + self.update_on(data, next(indices)).detach()
                self.updates += 1
        return {"cost": total.item() / max(updates, 1)}

    def update_on(self, data: Float[Tensor, "n d"], rows: Int64[Tensor, " m"]) -> Float[Tensor, ""]:
        """One update on a minibatch given by its rows; what has labels, too, looks them up by these."""
        return self.update(data[rows])

    @abstractmethod
    def update(self, x: Float[Tensor, "m d"]) -> Float[Tensor, ""]:
        """One update on a minibatch; what it brings down, per image."""

    def descend(self, cost: Float[Tensor, ""]) -> None:
        """One step of the optimizer down the gradient of a cost."""
        self.optimizer.zero_grad(set_to_none=True)
        cost.backward()
        self.optimizer.step()

    def set_rates(self, learning_rate: float, momentum: float) -> None:
        """Learning rate and momentum of the next step."""
        for group in self.optimizer.param_groups:
            group["lr"], group["momentum"] = learning_rate, momentum

    @property
    def epoch(self) -> int:
        """Epochs that have passed, from 0."""
        return self.updates // self.per_epoch

    def rates(self) -> dict[str, float]:
        """The learning rate, for the history."""
        return {"learning_rate": self.optimizer.param_groups[0]["lr"]}

    def samples(self, n: int, rng: torch.Generator, weights: str = "last") -> Float[Tensor, "n d"]:
        """Draw n samples. Where the model ends in probabilities of pixels, these: means, not draws."""
        self.eval()
        with torch.no_grad(), drawing_from(rng):
            return self.draw(n)

    @abstractmethod
    def draw(self, n: int) -> Float[Tensor, "n d"]:
        """n samples by torch's default generator."""

    def pictures(self, rng: torch.Generator) -> dict[str, Float[Tensor, "_ d"]]:
        """Other images that a record keeps, by name: none."""
        return {}

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Take over weights and buffers, wherever they were trained."""
        self.load_state_dict({key.removeprefix("model."): tensor for key, tensor in weights.items()})

    def state(self) -> State:
        """Weights and buffers, the optimizer's moments, the random stream."""
        state = {"model": {f"model.{key}": tensor for key, tensor in self.state_dict().items()}}
        state |= {"optimizer": slots(self.optimizer, "optimizer"), "random": {"rng": self.rng.get_state()}}
        return state

    def load_state(self, state: Mapping[str, Tensor], updates: int) -> None:
        """Go on from the tensors of `state()`."""
        self.load({key: tensor for key, tensor in state.items() if key.startswith("model.")})
        load_slots(self.optimizer, "optimizer", state)
        if state["rng"].shape == self.rng.get_state().shape:  # else of another kind of device
            self.rng.set_state(state["rng"])
        self.updates = updates


@dataclass(frozen=True, kw_only=True)
class ChainRecipe(MinibatchRecipe):
    """A model that is sampled by a Markov chain.

    chains: so many run side by side; the first samples are taken after `burn_in` steps, one from each chain,
    the others after every `thin` further steps.
    """

    chains: int = 1
    burn_in: int = 0
    thin: int = 1

    def passes_per_sample(self, n: int) -> float:
        """Steps of a chain, all chains counted, for each of n samples."""
        chains = min(self.chains, n)
        last = self.burn_in + 1 + self.thin * (math.ceil(n / chains) - 1)
        return last * chains / n


class ChainModel(MinibatchModel):
    """A model that is sampled by a Markov chain over images: states step by step, each with a mean image."""

    recipe: ChainRecipe

    @abstractmethod
    def chain(self, n: int) -> Iterator[Float[Tensor, "n d"]]:
        """The mean images p(x | h) of n endless chains, step by step, by torch's default generator."""

    def draw(self, n: int) -> Float[Tensor, "n d"]:
        """n mean images, from as many chains and as far apart as the recipe says."""
        recipe, chains = self.recipe, min(self.recipe.chains, n)
        steps = itertools.islice(self.chain(chains), recipe.burn_in, None, recipe.thin)
        return torch.cat([next(steps).clone() for _ in range(math.ceil(n / chains))])[:n]

    def pictures(self, rng: torch.Generator) -> dict[str, Float[Tensor, "_ d"]]:
        """A film: consecutive steps of one chain, after the burn-in."""
        return {"film": self.film(FILM_STEPS, rng)}

    def film(self, steps: int, rng: torch.Generator) -> Float[Tensor, "steps d"]:
        """Consecutive steps of one chain, after the burn-in."""
        self.eval()
        with torch.no_grad(), drawing_from(rng):
            first = self.recipe.burn_in
            return torch.cat([x.clone() for x in itertools.islice(self.chain(1), first, first + steps)])


def rectifiers(sizes: list[int]) -> nn.Sequential:
    """Affine layers, from `sizes[0]` numbers to `sizes[-1]`, with rectifiers between them."""
    layers: list[nn.Module] = []
    for below, above in zip(sizes[:-1], sizes[1:], strict=True):
        layers += [nn.Linear(below, above), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def log_bell(x: Float[Tensor, "n d"], bell: Float[Tensor, "n two_d"]) -> Float[Tensor, "n d"]:
    """Log-density of every number under a bell of its own, nats; means and log-variances side by side."""
    mean, log_variance = bell.chunk(2, 1)
    return -((x - mean).square() / log_variance.exp() + log_variance + math.log(2 * math.pi)) / 2


def from_bell(bell: Float[Tensor, "n two_d"]) -> Float[Tensor, "n d"]:
    """A draw of every number from its bell, by torch's default generator."""
    mean, log_variance = bell.chunk(2, 1)
    return mean + (log_variance / 2).exp() * torch.randn_like(mean)


def check_points(x: Float[Tensor, "n d"], d: int) -> None:
    """Raise ValueError for points that are not of d numbers."""
    if x.dim() != 2 or x.shape[1] != d:
        raise ValueError(f"points must be of shape (n, {d}), got {tuple(x.shape)}")


def some_of(train: Float[Tensor, "n d"], m: int, rng: torch.Generator) -> Float[Tensor, "m d"]:
    """m training images, drawn with replacement, for chains to begin at."""
    return train[torch.randint(len(train), (m,), generator=rng).to(train.device)]


MNIST_SOURCES: dict[str, Source] = {
    **dict.fromkeys(("name", "epochs", "epoch_updates", "preview", "rows_per_epoch"), OURS),
    "data": Source("as for the GAN", "the first 50,000 training images of MNIST in [0, 1]"),
}
"""Of the fields that every recipe has, where a model's own do not say otherwise."""
WINK_SOURCES = MNIST_SOURCES | {
    "data": Source("ours", "points of a density in the plane, known in closed form")
}
"""Likewise, of the recipes for points in the plane."""
BY_VALIDATION = Source("ours", "of a few values the best on validation data")
"""Of what was tuned."""
BY_TIME = Source("ours", "of the order of the chain's autocorrelation time, or longer")
"""Of how long chains run before a sample is taken."""


def on_faces(recipe: R, source: Source, fields: str = "", **changes: Any) -> R:
    """The recipe for faces: `fields` by `source`, which speaks of faces; other changes are ours, and what
    stays comes from where it came for MNIST."""
    stays = {
        key: given if given.where in ("ours", "not used") else Source(f"{given.where}, for MNIST", given.note)
        for key, given in recipe.sources.items()
    }
    data = Source("as for the GAN", "the unlabeled part of TFD in [0, 1], or else Labeled Faces in the Wild")
    return dataclasses.replace(
        recipe,
        name=recipe.name.replace("mnist", "faces"),
        data="faces",
        sources={
            **stays,
            "data": data,
            **dict.fromkeys(changes, OURS),
            **dict.fromkeys(fields.split(), source),
        },
        **changes,
    )
