"""The contract of whatever is trained here: settings with their sources, and a model that is fitted,
sampled, saved, resumed and scored. `gansrc.runs` knows this and nothing else of a model."""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from gansrc import parzen
from gansrc.datasets import Dataset

State = dict[str, dict[str, Tensor]]
"""Tensors by the file that keeps them, then by name."""
PARTS = "models", "extensions"
"""The packages in which a model beside the GAN is a file."""
Fitting = Callable[[Tensor, int], list[dict[str, float]]]
"""Trains models on rows by so many updates; returns the mean report of each."""


@dataclass(frozen=True)
class Source:
    """Where a value comes from: a file or a work, and a note on it."""

    where: str
    note: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.note}" if self.note else self.where


OURS = Source("ours")
"""A value that we chose."""
UNUSED = Source("not used")
"""Of a part that a model does without."""


def sources(where: str, fields: str, **special: Source) -> dict[str, Source]:
    """One source for all fields named, beside those given one by one."""
    return dict.fromkeys(fields.split(), Source(where)) | special


@runtime_checkable
class Sampler(Protocol):
    """What draws samples, once its weights are loaded: a generator, or a model itself."""

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Take over the tensors of the file that `Recipe.weights_file` names."""

    def samples(self, n: int, rng: torch.Generator) -> Float[Tensor, "n d"]:
        """Draw n samples, rows."""

    def pictures(self, rng: torch.Generator) -> dict[str, Float[Tensor, "_ d"]]:
        """Other images that a record keeps, by name: a walk between codes, steps of a chain."""


@runtime_checkable
class Density(Protocol):
    """What gives a density, once its weights are loaded."""

    def log_density(self, x: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """log p(x), nats; but for a constant where the model leaves its normaliser open."""


class Model(ABC):
    """What a recipe trains."""

    @property
    @abstractmethod
    def updates(self) -> int:
        """Updates so far."""

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """Where it is trained."""

    @abstractmethod
    def fit(self, data: Float[Tensor, "n d"], updates: int) -> dict[str, float]:
        """Train by so many updates; return the means of what they report. In two calls or in one: the same
        bit for bit, on a CPU."""

    @abstractmethod
    def rates(self) -> dict[str, float]:
        """The learning rate and the like, for the history."""

    @abstractmethod
    def samples(self, n: int, rng: torch.Generator, weights: str = "last") -> Float[Tensor, "n d"]:
        """n samples as drawn with the given weights, one of the recipe's `weights`."""

    @abstractmethod
    def state(self) -> State:
        """What the next update depends on beside the count of updates."""

    @abstractmethod
    def load_state(self, state: Mapping[str, Tensor], updates: int) -> None:
        """Continue from the tensors of all files of `state()`, as they were after `updates` updates.

        A random stream of another kind of device cannot be taken up: there it begins anew. Raises ValueError
        for tensors of another model.
        """


@dataclass(frozen=True, kw_only=True)
class Recipe(ABC):
    """Every setting of a training, and where each comes from.

    epochs: default length. preview: so many samples score validation images while training. rows_per_epoch:
    how often the history is written. sources: one for every field.
    """

    name: str
    data: str
    epochs: int
    preview: int = parzen.N_SAMPLES
    rows_per_epoch: int = 1
    sources: Mapping[str, Source] = dataclasses.field(default_factory=dict, repr=False, compare=False)

    leaves_samples: ClassVar[bool] = True
    """Whether a record keeps samples in place of the weights, however small these are."""
    together: ClassVar[bool] = False
    """Whether several seeds can be trained as one computation."""

    @abstractmethod
    def start(
        self, dataset: Dataset, seed: int, device: torch.device | str = "cpu", below: Sampler | None = None
    ) -> Model:
        """The model at its start on a prepared data set, weights drawn from `seed`.

        below: what a trained run of `builds_on` draws its samples with.
        """

    @abstractmethod
    def sampler(self, image_shape: Sequence[int]) -> Sampler:
        """What draws samples of images of that shape, on the CPU; its weights are still to be loaded."""

    @property
    def weights(self) -> tuple[str, ...]:
        """The weights that samples are drawn with and scored: "last", and others kept beside them."""
        return ("last",)

    def weights_file(self, weights: str = "last") -> str:
        """The file of a model's state that a sampler loads."""
        return "model"

    @abstractmethod
    def examples_per_update(self) -> int:
        """How many training images an update takes."""

    @abstractmethod
    def updates_per_epoch(self, n: int) -> int:
        """Updates that count as an epoch, with n training images."""

    def passes_per_sample(self, n: int) -> float:
        """Passes through its nets that a sample takes, of n that are drawn together: one."""
        return 1

    def longest(self) -> float:
        """Epochs after which an update changes nothing."""
        return math.inf

    def builds_on(self) -> str:
        """The recipe whose trained run this one starts from; empty if it starts from nothing."""
        return ""

    def check_below(self, below: Recipe) -> None:  # noqa: B027, most recipes start from nothing
        """Raise ValueError if a run of `below`, one of `builds_on`, does not fit under this one."""

    def prepare(self, dataset: Dataset) -> Dataset:
        """The data set as the model is to see it: as it is."""
        return dataset

    def pixels(self, samples: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """Samples as images to look at, in [0, 1]: as they are."""
        return samples

    def fitting(self, models: Sequence[Model]) -> Fitting:
        """The training of models of this recipe, one for each seed; of more than one only if `together`."""
        (model,) = models
        return lambda data, updates: [model.fit(data, updates)]

    def sigmas(self) -> dict[str, tuple[float, ...]]:
        """The sigma grids that samples are scored by, by the names they have in records; for points of the
        plane a fifth of them."""
        scale = 0.2 if self.data == "wink" else 1.0
        grids = {"original": parzen.SIGMAS, "fine": parzen.FINE_SIGMAS}
        return {name: tuple(scale * sigma for sigma in grid) for name, grid in grids.items()}

    def validate(self, samples: Float[Tensor, "n d"], valid: Float[Tensor, "v d"]) -> dict[str, float]:
        """Columns of the history: the score of validation images, nats, and its sigma, by each grid."""
        grids = self.sigmas()
        means = parzen.log_likelihood(samples, valid, sum(grids.values(), ())).mean(0)
        columns: dict[str, float] = {}
        for part, (grid, sigmas) in zip(means.split([*map(len, grids.values())]), grids.items(), strict=True):
            columns |= {f"valid_{grid}": part.max().item(), f"sigma_{grid}": sigmas[int(part.argmax())]}
        return columns

    def score(self, samples: Float[Tensor, "n d"], dataset: Dataset) -> dict[str, list[parzen.Score]]:
        """The final score of samples on a prepared data set, by each grid: one entry, or one for each fold.

        Sigma comes from validation images alone: 1,000 of them, or, where a data set has folds, all of each.
        """
        pairs = dataset.folds or [(dataset.valid[: parzen.N_VALID], dataset.test)]
        return {
            grid: [parzen.score(samples, valid, test, sigmas) for valid, test in pairs]
            for grid, sigmas in self.sigmas().items()
        }

    def byte_range(self, samples: Float[Tensor, "n d"]) -> tuple[float, float]:
        """The numbers that black and white stand for where samples are kept as bytes."""
        return 0.0, 1.0

    @classmethod
    def from_values(cls, values: dict[str, Any]) -> Recipe:
        """The recipe of recorded values. Raises TypeError for values of another version."""
        return cls(**values)

    def values(self) -> dict[str, Any]:
        """All values, nested, without their sources: what a record keeps."""
        values = dataclasses.asdict(self)
        del values["sources"]
        return {"model": type(self).__name__.removesuffix("Recipe"), **values}


def recipe_of(values: Mapping[str, Any]) -> Recipe:
    """The recipe of the values that a record keeps, `Recipe.values`.

    Raises ImportError, KeyError, TypeError or AttributeError for values of another version.
    """
    own = _tuples(values)
    kind = own.pop("model", "GAN")  # the first records do not say
    homes = ["gansrc.gan"] if kind == "GAN" else [f"gansrc.{part}.{kind.lower()}" for part in PARTS]
    home = next((name for name in homes if find_spec(name)), homes[0])
    return getattr(import_module(home), f"{kind}Recipe").from_values(own)


def slots(optimizer: torch.optim.Optimizer, prefix: str) -> dict[str, Tensor]:
    """What an optimizer remembers, by parameter and kind, under names that begin with `prefix` and a dot."""
    return {
        f"{prefix}.{i}.{name}": torch.as_tensor(slot)
        for i, kinds in optimizer.state_dict()["state"].items()
        for name, slot in kinds.items()
        if slot is not None
    }


def load_slots(optimizer: torch.optim.Optimizer, prefix: str, state: Mapping[str, Tensor]) -> None:
    """Let an optimizer go on with what `slots` gave; other tensors of `state` are none of its."""
    found: dict[int, dict[str, Tensor]] = {}
    for key, tensor in state.items():
        if key.startswith(f"{prefix}."):
            i, name = key.removeprefix(f"{prefix}.").split(".")
            found.setdefault(int(i), {})[name] = tensor.clone()
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": found, "param_groups": groups})


def _tuples(value: Any) -> Any:
    """Lists as tuples, throughout: JSON has lists alone."""
    if isinstance(value, Mapping):
        return {key: _tuples(part) for key, part in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
