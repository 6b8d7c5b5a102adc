"""A recorded run, read from its folder: what it says, what it scored, what draws its samples."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from gansrc import archives, datasets, mosaics
from gansrc.datasets import Dataset
from gansrc.limits import check_seed
from gansrc.model import Model, Recipe, Sampler, recipe_of
from gansrc.runs.files import csv_of, sha256
from gansrc.runs.record import Record, hints_of, read

T = TypeVar("T")
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
        except (FileNotFoundError, NotADirectoryError):
            raise FileNotFoundError(f"{self.folder} holds no run.json: give the folder of a run") from None
        except OSError as error:
            raise OSError(f"{file} cannot be read ({error.strerror}): give the folder of a run") from None
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{file} cannot be read ({error}): restore it or train anew") from None
        try:
            return Record.from_json(content)
        except ValueError as error:
            raise ValueError(f"{file} is no record of a run ({error}): restore it or train anew") from None

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe the run was made with, rebuilt from the record's own values."""
        record = self.record
        return self._of_this_version(lambda: self._checked_recipe(record))

    @staticmethod
    def _checked_recipe(record: Record) -> Recipe:
        """The recipe, every value of the type that it has there."""
        recipe = recipe_of(record.recipe)
        values = json.loads(json.dumps(recipe.values()))
        for part in dataclasses.fields(recipe):
            if part.name != "sources":
                read(hints_of(type(recipe))[part.name], values[part.name], part.name)
        return recipe

    def _of_this_version(self, work: Callable[[], T]) -> T:
        """What comes of a record's values, or the ValueError that they are none of this version's."""
        try:
            return work()
        except (
            ImportError, LookupError, TypeError, AttributeError, ValueError, ArithmeticError, AssertionError,
            RuntimeError, SafetensorError,
        ) as error:  # fmt: skip
            if "memory" in str(error):
                raise
            words = " ".join(str(error).split())
            raise ValueError(
                f"{self.folder} is of another version of gansrc ({words:.120}): take that, or train anew"
            ) from None

    @cached_property
    def history(self) -> dict[str, np.ndarray]:
        """history.csv as float64 columns, nan where a row has no entry."""
        rows = self.rows()
        return {key: np.array([float(row[key] or "nan") for row in rows]) for key in (rows or [{}])[0]}

    def dataset(self, given: str | None = None) -> Dataset:
        """The data set that the run was trained with; `given` says where it lies now, if it was moved. Raises
        ValueError where another one is found."""
        found = datasets.load(self.place() if given is None else given)
        self.check_data(found)
        return found

    def check_data(self, found: Dataset) -> None:
        """Raise ValueError if a data set is not the one that the run was trained with, in any part."""
        data = self.record.data
        if found.sha256 != data.sha256:
            cure = "--data with its file" if data.load.lower().endswith(".npz") else "GANSRC_DATA its folder"
            raise ValueError(f"{self.folder} was trained on {data.source}, found {found.source}: give {cure}")
        if data.held_out_sha256 not in ("", found.held_out_sha256):
            raise ValueError(
                f"{found.source} has other images or labels to validate or test than when {self.folder} was"
                " begun: restore them"
            )

    def place(self) -> str:
        """The name of its data set, or the file: where the record says, or else one of that name, with the
        same images, in the folder of the run or of the data sets, above the run, or here."""
        load = self.record.data.load
        if not load.lower().endswith(".npz") or Path(load).exists():
            return load
        name = Path(load.replace("\\", "/")).name
        for folder in (self.folder, self.folder.absolute().parent, Path(), datasets.root()):
            if (folder / name).exists() and self._is_same(str(folder / name)):
                return str(folder / name)
        raise FileNotFoundError(
            f"{self.folder} was trained on {load}, and that is not there any more: give --data with its file"
        )

    def _is_same(self, file: str) -> bool:
        try:
            return datasets.load(file).sha256 == self.record.data.sha256
        except ValueError:
            return False

    def rows(self) -> list[dict[str, str]]:
        """The lines of history.csv, `rows_per_epoch` an epoch, checked; none before the first is complete.

        A kill may have left lines beyond the record's updates. Raises ValueError if others have been altered.
        """
        file, rows, told = self.folder / "history.csv", list[dict[str, str]](), self.record.history_sha256
        try:
            if file.exists():
                with file.open(newline="", encoding="utf-8") as stream:
                    rows = list(csv.DictReader(stream))
            for row in rows:
                for name, number in row.items():
                    if number:
                        float(number)
                    elif number is None:
                        raise ValueError(f"{name} has no entry")
            kept = [row for row in rows if float(row["updates"]) <= self.record.updates]
            if told and (not kept or hashlib.sha256(csv_of(kept)).hexdigest() != told):
                raise ValueError("its checksum is not the record's")
        except (TypeError, ValueError, KeyError, csv.Error, OSError) as error:
            words = " ".join(str(error).split())
            raise ValueError(f"{file} is damaged ({words:.80}): restore it or train anew") from None
        return rows

    @cached_property
    def log_likelihood(self) -> dict[str, Float[np.ndarray, " t"]]:
        """The test images' log-likelihoods, nats, float32, by sigma grid: "original", "fine".

        Those of the running mean are "average-original" and so on; where a data set has folds, "original-1"
        to "original-5". Raises ValueError for a run that has not been scored since it was trained.
        """
        if self.record.evaluation is None:
            raise ValueError(f"{self.folder} has no score: run gansrc evaluate {self.folder}")
        file, told = self.folder / "log_likelihood.npz", self.record.evaluation.sha256
        if not file.exists() or told not in ("", sha256(file)):
            raise ValueError(
                f"{file} is missing or altered (by its checksum): run gansrc evaluate {self.folder}"
            )
        try:
            return archives.npz(file)
        except archives.Unreadable as error:
            raise ValueError(f"{file} cannot be read ({error}): run gansrc evaluate {self.folder}") from None

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
        if not file.is_file():
            raise FileNotFoundError(f"{file} is missing: restore it, or delete {self.folder} and train anew")
        if sha256(file) != self.record.checkpoint.sha256.get(name):
            raise ValueError(
                f"{file} is corrupt (its checksum is not the record's): restore it, or train anew"
            )
        try:
            return load_file(file)
        except SafetensorError as error:
            raise ValueError(f"{file} cannot be read ({error}): restore it, or train anew") from None

    def model(self, dataset: Dataset, device: torch.device | str = "cpu") -> Model:
        """The model where this run left it, to be trained on with the data it was trained with."""
        recipe, state = self.recipe, self.state()

        def started() -> Model:
            model = recipe.start(recipe.prepare(dataset), self.record.seed, device)
            model.load_state(state, self.record.updates)
            return model

        return self._of_this_version(started)

    def sampler(self, weights: str = "last") -> Sampler:
        """What draws samples, on the CPU, with its last weights or their running mean, "average"."""
        recipe, file = self.recipe, self.weights_file(weights)
        if not file.exists():
            raise FileNotFoundError(f"{file} is missing: this record keeps no such weights; train it anew")
        tensors = self._tensors(file.name)

        def loaded() -> Sampler:
            sampler = recipe.sampler(self.record.data.image_shape)
            sampler.load(tensors)
            return sampler

        return self._of_this_version(loaded)

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
        check_seed(seed, "seed")
        room = 16 * n * self.record.data.dimension  # as float32, in parts, together and as bytes
        if room > archives.memory():
            have = archives.memory() / 2**30
            raise ValueError(
                f"{n:,} samples take {room / 2**30:,.1f} GB, this machine has {have:,.1f}: ask for fewer"
            )
        name = "samples" if weights == "last" else f"{weights}_samples"
        kept = self.record.images().get(name)
        if kept and n <= kept.n and seed == kept.seed:
            return self._images(name)[:n]
        if kept and not self.weights_file(weights).exists():
            raise ValueError(
                f"{self.folder} keeps {kept.n} samples of seed {kept.seed}, not {n} of seed {seed}:"
                " ask for those"
            )
        samples = self.sampler(weights).samples(n, torch.Generator().manual_seed(seed))
        if not samples.isfinite().all():
            raise ValueError(
                f"{self.folder} draws samples that are no numbers, its weights are not: train anew"
            )
        return samples

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
            try:
                images.append(mosaics.read(self.folder / file, self.record.data.image_shape))
            except (OSError, RuntimeError) as error:
                words = " ".join(str(error).split())
                raise ValueError(f"{self.folder / file} cannot be read ({words}): train anew") from None
        return mosaics.from_bytes(torch.cat(images)[: kept.n], *kept.range)


def recorded(root: Path) -> Iterator[Run]:
    """Every run folder below `root`, by name."""
    for file in sorted(root.glob("*/run.json")):
        yield Run(file.parent)
