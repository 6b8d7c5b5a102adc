"""A recorded run, read from its folder: what it says, what it scored, what draws its samples."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from safetensors.torch import load_file
from torch import Tensor

from gansrc import datasets, mosaics
from gansrc.datasets import Dataset
from gansrc.model import Model, Recipe, Sampler, recipe_of
from gansrc.runs.files import sha256
from gansrc.runs.record import Record

EVALUATION_SEED = 2014
"""Seed of every evaluation's samples; training draws from other streams."""


@dataclass(frozen=True)
class Run:
    """A run folder: run.json, history.csv, the last checkpoint, and log_likelihood.npz once evaluated."""

    folder: Path

    @cached_property
    def record(self) -> Record:
        """What run.json says. Raises ValueError or FileNotFoundError if it is not there or no record."""
        file = self.folder / "run.json"
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise FileNotFoundError(f"{self.folder} holds no run.json: give the folder of a run") from None
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{file} cannot be read ({error}): restore it or train anew") from None
        try:
            return Record.from_json(content)
        except ValueError as error:
            raise ValueError(f"{file} is no record of a run ({error}): restore it or train anew") from None

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe the run was made with, rebuilt from the record's own values."""
        values = self.record.recipe
        try:
            return recipe_of(values)
        except (ImportError, KeyError, TypeError, AttributeError, ValueError) as error:
            words = " ".join(str(error).split())
            raise ValueError(
                f"{self.folder} is of another version of gansrc ({words}): take that, or train anew"
            ) from None

    @cached_property
    def history(self) -> dict[str, np.ndarray]:
        """history.csv as float64 columns, nan where a row has no entry."""
        rows = self.rows()
        try:
            return {key: np.array([float(row[key] or "nan") for row in rows]) for key in (rows or [{}])[0]}
        except (TypeError, ValueError, KeyError) as error:
            file = self.folder / "history.csv"
            raise ValueError(f"{file} is damaged ({error}): restore it or train anew") from None

    def dataset(self) -> Dataset:
        """The data set that the run was trained with. Raises ValueError where another one is found."""
        data, found = self.record.data, datasets.load(self.record.data.load)
        if found.sha256 != data.sha256:
            raise ValueError(
                f"{self.folder} was trained on {data.source}, found {found.source}:"
                " set GANSRC_DATA to its folder"
            )
        return found

    def rows(self) -> list[dict[str, str]]:
        """The lines of history.csv, `rows_per_epoch` an epoch; none before the first is complete."""
        if not (self.folder / "history.csv").exists():
            return []
        with (self.folder / "history.csv").open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    @cached_property
    def log_likelihood(self) -> dict[str, Float[np.ndarray, " t"]]:
        """The test images' log-likelihoods, nats, float32, by sigma grid: "original", "fine".

        Those of the running mean are "average-original" and so on; where a data set has folds, "original-1"
        to "original-5". Raises ValueError for a run that has not been scored since it was trained.
        """
        if self.record.evaluation is None:
            raise ValueError(f"{self.folder} has no score: run gansrc evaluate {self.folder}")
        with np.load(self.folder / "log_likelihood.npz", allow_pickle=False) as file:
            return dict(file)

    def score(self, grid: str = "original", weights: str = "last") -> tuple[float, float]:
        """Mean log-likelihood of the test images and its standard error, nats, from their recorded values.

        weights: "last", or "average" for the running mean of the generator's. Where a data set has folds: the
        mean of the folds' means, and the standard error over folds.
        """
        values, grid = self.log_likelihood, grid if weights == "last" else f"{weights}-{grid}"
        if grid in values:
            points = values[grid].astype(float)
            return points.mean(), points.std() / len(points) ** 0.5
        folds = [x for name, x in values.items() if name.startswith(f"{grid}-")]
        if not folds:
            raise ValueError(
                f"{self.folder} has no score {grid!r}, only {', '.join(values)}: ask for one of these"
            )
        means = np.array([x.astype(float).mean() for x in folds])
        return means.mean(), means.std(ddof=1) / len(means) ** 0.5

    def state(self) -> dict[str, Tensor]:
        """The checkpoint's tensors. Raises ValueError if a file is missing, truncated or altered."""
        state: dict[str, Tensor] = {}
        for name in self.record.checkpoint.sha256:
            state |= self._tensors(name)
        return state

    def _tensors(self, name: str) -> dict[str, Tensor]:
        """The tensors of a file of the checkpoint, checked."""
        file = self.folder / self.record.checkpoint.folder / name
        if not file.exists():
            raise FileNotFoundError(f"{file} is missing: restore it, or delete {self.folder} and train anew")
        if sha256(file) != self.record.checkpoint.sha256.get(name):
            raise ValueError(
                f"{file} is corrupt (its checksum is not the record's): restore it, or train anew"
            )
        return load_file(file)

    def model(self, dataset: Dataset, device: torch.device | str = "cpu") -> Model:
        """The model where this run left it, to be trained on with the data it was trained with."""
        model = self.recipe.start(self.recipe.prepare(dataset), self.record.seed, device)
        model.load_state(self.state(), self.record.updates)
        return model

    def sampler(self, weights: str = "last") -> Sampler:
        """What draws samples, on the CPU, with its last weights or their running mean, "average"."""
        sampler, file = self.recipe.sampler(self.record.data.image_shape), self.weights_file(weights)
        if not file.exists():
            raise FileNotFoundError(f"{file} is missing: this record keeps no such weights; train it anew")
        sampler.load(self._tensors(file.name))
        return sampler

    def weights_file(self, weights: str = "last") -> Path:
        """Where the weights that draw samples lie, the last ones or their mean, if they do."""
        name = self.recipe.weights_file(weights)
        return self.folder / self.record.checkpoint.folder / f"{name}.safetensors"

    def can_draw(self) -> bool:
        """Whether the weights that draw samples are at hand."""
        return all(self.weights_file(weights).exists() for weights in self.recipe.weights)

    def samples(self, n: int, seed: int = EVALUATION_SEED, weights: str = "last") -> Float[Tensor, "n d"]:
        """n samples of the trained model; the same seed gives the same samples.

        weights: its "last" ones or their running mean, "average". From a record that keeps samples: the first
        n of these, if they are of that seed and so many.
        """
        name = "samples" if weights == "last" else f"{weights}_samples"
        kept = self.record.images().get(name)
        if kept and n <= kept.n and seed == kept.seed:
            return self._images(name)[:n]
        if kept and not self.weights_file(weights).exists():
            raise ValueError(
                f"{self.folder} keeps {kept.n} samples of seed {kept.seed}, not {n} of seed {seed}:"
                " ask for those"
            )
        return self.sampler(weights).samples(n, torch.Generator().manual_seed(seed))

    def walk(self) -> Float[Tensor, "5 12 d"]:
        """Samples along five straight lines between random codes (Figure 3)."""
        return self._pictures("walk").unflatten(0, (5, -1))

    def film(self) -> Float[Tensor, "steps d"]:
        """Consecutive steps of one Markov chain, of a model that is sampled by one: mean images."""
        return self._pictures("film")

    def reconstructions(self) -> Float[Tensor, "n d"]:
        """The first test images, drawn again from the codes that an encoder gave them."""
        return self._pictures("reconstructions")

    def _pictures(self, name: str) -> Float[Tensor, "_ d"]:
        """Images that the record keeps, or that its weights draw anew."""
        if name in self.record.images():
            return self._images(name)
        pictures = self.sampler().pictures(torch.Generator().manual_seed(EVALUATION_SEED))
        if name not in pictures:
            raise ValueError(f"{self.folder}, a run of {self.recipe.name}, has no {name}: ask for samples")
        return pictures[name]

    def _images(self, name: str) -> Float[Tensor, "n d"]:
        """Images that the record keeps, as numbers."""
        kept, images = self.record.images()[name], []
        for file, checksum in kept.sha256.items():
            if not (self.folder / file).exists() or sha256(self.folder / file) != checksum:
                raise ValueError(f"{self.folder / file} is missing or corrupt: restore it, or train anew")
            images.append(mosaics.read(self.folder / file, self.record.data.image_shape))
        return mosaics.from_bytes(torch.cat(images)[: kept.n], *kept.range)


def recorded(root: Path) -> Iterator[Run]:
    """Every run folder below `root`, by name."""
    for file in sorted(root.glob("*/run.json")):
        yield Run(file.parent)
