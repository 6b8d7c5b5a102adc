"""What the models of Table 1 have in common: they are fitted to data update by update, and sampled."""

from __future__ import annotations

import dataclasses
import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gansrc.game import batch_indices, drawing_from, summing


@dataclass(frozen=True, kw_only=True)
class Baseline(ABC):
    """A model of Table 1 beside the GAN: every hyper-parameter, and where each value comes from.

    epochs: default length. epoch_updates: how many updates count as an epoch; 0 for one pass through the
    data. preview: so many samples score validation images while training (a chain takes its time; the final
    score has 10,000). sources: a line for every field.
    """

    name: str
    data: str
    epochs: int
    batch_size: int
    epoch_updates: int = 0
    preview: int = 10_000
    sources: Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False, compare=False)

    rows_per_epoch: ClassVar[int] = 1
    contrast: ClassVar[float] = 0.0
    pretrained: ClassVar[str] = ""

    @abstractmethod
    def model(self, train: Float[Tensor, "n d"], seed: int, device: torch.device | str = "cpu") -> Model:
        """The model at its start, weights drawn from `seed`; `train`, images in [0, 1], may set biases."""

    def examples_per_update(self) -> int:
        """How many training images an update takes."""
        return self.batch_size

    def updates_per_epoch(self, n: int) -> int:
        """Updates that count as an epoch, with n training images."""
        return self.epoch_updates or n // self.batch_size

    def longest(self) -> float:
        """Epochs after which an update changes nothing."""
        return math.inf

    def prepare(self, images: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """Images as the model is to see them: as they are."""
        return images

    def pixels(self, samples: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """Samples as images to look at: as they are."""
        return samples

    def values(self) -> dict[str, Any]:
        """All values, without their sources, and the class that takes them: what a record keeps."""
        values = {"model": type(self).__name__, **dataclasses.asdict(self)}
        del values["sources"]
        return values


class Model(nn.Module, ABC):
    """A model that is fitted by updates of minibatches; subclasses say what an update is.

    seed: of the stream that batches and all draws of the training come from. Hold every tensor that the next
    update depends on as a parameter or buffer, or in `optimizer`.
    """

    optimizer: torch.optim.Optimizer

    def __init__(self, recipe: Baseline, seed: int, device: torch.device | str) -> None:
        super().__init__()
        self.recipe, self.updates, self.per_epoch = recipe, 0, 1
        self.rng = torch.Generator(device).manual_seed(seed)

    @property
    def device(self) -> torch.device:
        """Where the model is trained."""
        return self.rng.device

    def fit(self, data: Float[Tensor, "n d"], updates: int) -> dict[str, float]:
        """Train by so many updates; return their mean cost. In two calls or in one: the same bit for bit."""
        size, self.per_epoch = self.recipe.batch_size, self.recipe.updates_per_epoch(len(data))
        if len(data) < size:
            raise ValueError(f"batch_size {size} needs as many examples, got {len(data)}")
        indices = batch_indices(len(data), size, self.rng.initial_seed(), self.updates, data.device)
        total = torch.zeros((), dtype=summing(data.device), device=data.device)
        self.train()
        with drawing_from(self.rng):
            for _ in range(updates):
                total = total + self.update(data[next(indices)]).detach()
                self.updates += 1
        return {"cost": total.item() / max(updates, 1)}

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

    def samples(self, n: int, rng: torch.Generator) -> Float[Tensor, "n d"]:
        """Draw n samples. Where the model ends in probabilities of pixels, these: means, not draws."""
        self.eval()
        with torch.no_grad(), drawing_from(rng):
            return self.draw(n)

    @abstractmethod
    def draw(self, n: int) -> Float[Tensor, "n d"]:
        """n samples by torch's default generator."""

    def state(self) -> dict[str, Tensor]:
        """What the next update depends on beside the count of updates."""
        state = {f"model.{key}": tensor for key, tensor in self.state_dict().items()}
        for i, slots in self.optimizer.state_dict()["state"].items():
            slots = {name: slot for name, slot in slots.items() if slot is not None}
            state |= {f"optimizer.{i}.{name}": torch.as_tensor(slot) for name, slot in slots.items()}
        return state | {"rng": self.rng.get_state()}

    def load_state(self, state: dict[str, Tensor], updates: int) -> None:
        """Continue from `state()` as taken after `updates` updates, on the same kind of device."""
        if state["rng"].shape != self.rng.get_state().shape:
            raise ValueError("the saved state is of another kind of device: go on with that one")
        own = {key.removeprefix("model."): t for key, t in state.items() if key.startswith("model.")}
        self.load_state_dict(own)
        slots: dict[int, dict[str, Tensor]] = {}
        for key, tensor in state.items():
            if key.startswith("optimizer."):
                _, i, name = key.split(".")
                slots.setdefault(int(i), {})[name] = tensor.clone()
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": slots, "param_groups": groups})
        self.rng.set_state(state["rng"])
        self.updates = updates


@dataclass(frozen=True, kw_only=True)
class ChainBaseline(Baseline):
    """A model that is sampled by a Markov chain.

    chains: so many run side by side; the first samples are taken after `burn_in` steps, one from each chain,
    the others after every `thin` further steps.
    """

    chains: int = 1
    burn_in: int = 0
    thin: int = 1

    def steps_per_sample(self, n: int) -> float:
        """Steps of a chain, all chains counted, for each of n samples."""
        width = min(self.chains, n)
        last = self.burn_in + 1 + self.thin * (math.ceil(n / width) - 1)
        return last * width / n


class ChainModel(Model):
    """A model that is sampled by a Markov chain over images: states step by step, each with a mean image."""

    recipe: ChainBaseline

    @abstractmethod
    def chain(self, n: int) -> Iterator[Float[Tensor, "n d"]]:
        """The mean images p(x | h) of n endless chains, step by step, by torch's default generator."""

    def draw(self, n: int) -> Float[Tensor, "n d"]:
        """n mean images, from as many chains and as far apart as the recipe says."""
        recipe, width = self.recipe, min(self.recipe.chains, n)
        steps = itertools.islice(self.chain(width), recipe.burn_in, None, recipe.thin)
        return torch.cat([next(steps).clone() for _ in range(math.ceil(n / width))])[:n]

    def film(self, steps: int, rng: torch.Generator) -> Float[Tensor, "steps d"]:
        """Consecutive steps of one chain, after the burn-in."""
        self.eval()
        with torch.no_grad(), drawing_from(rng):
            first = self.recipe.burn_in
            return torch.cat([x.clone() for x in itertools.islice(self.chain(1), first, first + steps)])


def some_of(train: Float[Tensor, "n d"], m: int, rng: torch.Generator) -> Float[Tensor, "m d"]:
    """m training images, drawn with replacement, for chains to begin at."""
    return train[torch.randint(len(train), (m,), generator=rng).to(train.device)]


def autocorrelation_time(states: Float[Tensor, "steps d"]) -> float:
    """Steps of a chain that are worth one independent draw: 1 + 2 * the sum of its autocorrelations.

    The autocorrelation of a state of d numbers is the trace of their autocovariance, divided by its value at
    lag 0. The sum ends, as Sokal (1997) has it, at the first lag that is five times the sum. A chain that
    never moves has an infinite time.
    """
    x = states.double() - states.double().mean(0)
    spectrum = torch.fft.rfft(x, 2 * len(x), dim=0).abs().square()
    covariance = torch.fft.irfft(spectrum, 2 * len(x), dim=0)[: len(x)].sum(1)
    if covariance[0] <= 1e-12 * len(x):
        return math.inf
    times = 2 * (covariance / covariance[0]).cumsum(0) - 1
    enough = (torch.arange(len(x)) >= 5 * times).nonzero()
    return times[enough[0, 0] if len(enough) else -1].item()
