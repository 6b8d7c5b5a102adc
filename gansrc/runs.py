"""Recorded runs: train with checkpoints, resume, evaluate and reload, with everything a sceptic needs."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from jaxtyping import Float, UInt8
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.distributions import Distribution
from tqdm import tqdm

import gansrc
from gansrc import datasets, mosaics, parzen
from gansrc.baselines import KINDS, Baseline, ChainModel, Model
from gansrc.datasets import Dataset
from gansrc.game import Game, Games, Rules, drawing_from, sample
from gansrc.recipes import MNIST, Recipe

EVALUATION_SEED = 2014
"""Seed of every evaluation's samples; training draws from other streams."""
N_SAMPLES, N_VALID = 10_000, 1_000
"""The original evaluation (parzen_ll.py): samples in the window, validation images that choose sigma."""
FINE_SIGMAS = tuple(round(0.10 + 0.01 * i, 2) for i in range(20))
"""A finer grid around the optimum, .10 to .29."""
LEFT_BY_A_KILL = re.compile(r"samples\.png|history\.csv|\.lock|\.writable|.*\.part")
"""What a run may have written before its first run.json, beside a checkpoint."""
MARK = ".gansrc"
"""An empty file in every folder that is ours to delete."""
CONTRAST_SIGMAS = tuple(round(0.50 + 0.03 * i, 2) for i in range(20))
"""The same for images of normalised contrast, whose numbers are some four times as large: .50 to 1.07."""
EVALUATE_EVERY = 5
"""Rows of the history between two evaluations on validation images while training."""
FILM_STEPS = 1000
"""Consecutive steps of a Markov chain that a record keeps."""
LARGEST_FILE = 16 * 2**20
"""Bytes: of a generator larger than that a record keeps 10,000 samples instead."""


def grids(recipe: Recipe | Baseline) -> dict[str, tuple[float, ...]]:
    """The sigma grids that a recipe's samples are scored by, by the names they have in records."""
    return {"original": parzen.SIGMAS, "fine": CONTRAST_SIGMAS if recipe.contrast else FINE_SIGMAS}


@dataclass(frozen=True)
class Run:
    """A run folder: run.json, history.csv, the last checkpoint, and log_likelihood.npz once evaluated."""

    folder: Path

    @cached_property
    def record(self) -> dict[str, Any]:
        """The content of run.json."""
        try:
            record = json.loads((self.folder / "run.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise FileNotFoundError(f"{self.folder} holds no run.json: give the folder of a run") from None
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ValueError(
                f"{self.folder / 'run.json'} cannot be read ({error}): restore it or train anew"
            ) from None
        needed = {"recipe", "seed", "data", "updates", "epochs", "checkpoint"}
        if not isinstance(record, dict) or needed - record.keys():
            raise ValueError(f"{self.folder / 'run.json'} is no record of a run: restore it or train anew")
        return record

    @cached_property
    def recipe(self) -> Recipe | Baseline:
        """The recipe the run was made with, rebuilt from the record's own values."""
        try:
            values = {key: _tuples(value) for key, value in self.record["recipe"].items()}
            if "rules" not in values:
                return KINDS[values.pop("model")](**values)
            rules = {key: _tuples(value) for key, value in values["rules"].items()}
            values.setdefault("average", rules.pop("average", 0.0))  # a rule once, and in no record before
            return Recipe(**{**values, "rules": Rules(**rules), "sources": {}})
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{self.folder} is of another version of gansrc ({error}): take that, or train anew"
            ) from None

    @cached_property
    def history(self) -> dict[str, np.ndarray]:
        """history.csv as float64 columns, nan where a row has no entry."""
        rows = self.rows()
        return {key: np.array([float(row[key] or "nan") for row in rows]) for key in rows[0]} if rows else {}

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
        to "original-5". Raises ValueError for a run that
        has not been scored since it was trained.
        """
        if "evaluation" not in self.record:
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
        means = np.array([x.astype(float).mean() for x in folds])
        return means.mean(), means.std(ddof=1) / len(means) ** 0.5

    def state(self) -> dict[str, Tensor]:
        """The checkpoint's tensors. Raises ValueError if a file is missing, truncated or altered."""
        state: dict[str, Tensor] = {}
        for name, sha256 in self.record["checkpoint"]["sha256"].items():
            file = self.folder / self.record["checkpoint"]["folder"] / name
            if not file.exists():
                raise FileNotFoundError(
                    f"{file} is missing: restore it, or delete {self.folder} and train anew"
                )
            if _sha256(file) != sha256:
                raise ValueError(
                    f"{file} is corrupt (its checksum is not the record's): restore it, or train anew"
                )
            state |= load_file(file)
        return state

    def game(self, data: Float[Tensor, "n d"], device: torch.device | str = "cpu") -> Game | Model:
        """The game where this run left it, to be played on with the training data it was played with.

        Or the model, of a run that is no game.
        """
        match = _beginning(self.recipe, data, self.record["seed"], device)
        match.load_state(self.state(), self.record["updates"])
        return match

    def model(self) -> Model:
        """The trained model, on the CPU, of a run that is no game: to be sampled, wherever it was trained."""
        model = self.recipe.model(torch.full((1, self.record["data"]["dimension"]), 0.5), 0)
        weights = {k.removeprefix("model."): v for k, v in self.state().items() if k.startswith("model.")}
        model.load_state_dict(weights)
        return model

    def generator(self, weights: str = "last") -> nn.Module:
        """The trained generator, on the CPU, with its last weights or their running mean, "average"."""
        recipe, d = self.recipe, self.record["data"]["dimension"]
        net, file = recipe.generator(d, torch.Generator()), self.generator_file(weights)
        if not file.exists():
            raise FileNotFoundError(f"{file} is missing: this record keeps no generator; train it anew")
        if _sha256(file) != self.record["checkpoint"]["sha256"][file.name]:
            raise ValueError(
                f"{file} is corrupt (its checksum is not the record's): restore it, or train anew"
            )
        net.load_state_dict({k.removeprefix(f"{file.stem}."): v for k, v in load_file(file).items()})
        return net.eval()

    def can_draw(self) -> bool:
        """Whether the weights that draw samples are at hand."""
        if isinstance(self.recipe, Baseline):
            return (self.folder / self.record["checkpoint"]["folder"]).exists()
        return all(self.generator_file(weights).exists() for weights in self.weights())

    def weights(self) -> tuple[str, ...]:
        """The weights that samples are drawn with: "last", and "average" where a running mean was kept."""
        averaged = not isinstance(self.recipe, Baseline) and self.recipe.average
        return ("last", "average") if averaged else ("last",)

    def generator_file(self, weights: str = "last") -> Path:
        """Where the generator's weights lie, the last ones or their mean, if they do."""
        part = "generator" if weights == "last" else weights
        return self.folder / self.record["checkpoint"]["folder"] / f"{part}.safetensors"

    def samples(self, n: int, seed: int = EVALUATION_SEED, weights: str = "last") -> Float[Tensor, "n d"]:
        """n samples of the trained generator; the same seed gives the same samples.

        weights: its "last" ones or their running mean, "average". From a record that keeps samples: the first
        n of these, if they are of that seed and so many.
        """
        name = "samples" if weights == "last" else f"{weights}-samples"
        kept = self.record.get(name, {"n": 0, "seed": seed})
        if n <= kept["n"] and seed == kept["seed"]:
            return self._images(name)[:n]
        if kept["n"] and not self.can_draw():
            raise ValueError(
                f"{self.folder} keeps {kept['n']} samples of seed {kept['seed']}, not {n} of seed {seed}:"
                " ask for those"
            )
        if isinstance(self.recipe, Baseline):
            return self.model().samples(n, torch.Generator().manual_seed(seed))
        return sample(self.generator(weights), self.recipe.p_z(), n, torch.Generator().manual_seed(seed))

    def walk(self) -> Float[Tensor, "5 12 d"]:
        """Samples along five straight lines between random codes (Figure 3)."""
        if "walk" in self.record:
            return self._images("walk").unflatten(0, (5, -1))
        return walk(self.generator(), self.recipe.p_z())

    def film(self) -> Float[Tensor, "steps d"]:
        """Consecutive steps of one Markov chain, of a model that is sampled by one: mean images."""
        return self._images("film")

    def _images(self, name: str) -> Float[Tensor, "n d"]:
        """Images that the record keeps, as numbers."""
        kept, images = self.record[name], []
        for file, sha256 in kept["sha256"].items():
            if not (self.folder / file).exists() or _sha256(self.folder / file) != sha256:
                raise ValueError(f"{self.folder / file} is missing or corrupt: restore it, or train anew")
            images.append(mosaics.read(self.folder / file, self.record["data"]["image_shape"]))
        return from_bytes(torch.cat(images)[: kept["n"]], *kept["range"])


def train(
    recipe: Recipe | Baseline,
    out: Path,
    *,
    epochs: int | None = None,
    seed: int = 0,
    device: str = "cpu",
    data: str | None = None,
    pretrained: Path | None = None,
) -> Run:
    """Train a recipe into the folder `out`, or go on where a run there stopped; return the record.

    epochs: total length, the recipe's by default; a finished run is prolonged by asking for more. pretrained:
    the run to start from, for a recipe that asks for one. Ctrl-C saves and stops; after a kill -9 the last
    checkpoint, a minute old or a little more, is taken up. Raises ValueError or OSError, one line, if the
    folder, the device or the data cannot be used, the device's memory does not suffice, or the game diverges;
    nothing there is overwritten then.
    """
    options = {"epochs": epochs, "device": device, "data": data, "pretrained": pretrained}
    return train_seeds(recipe, {seed: out}, **options)[0]


def train_seeds(
    recipe: Recipe | Baseline,
    out: Mapping[int, Path],
    *,
    epochs: int | None = None,
    device: str = "cpu",
    data: str | None = None,
    pretrained: Path | None = None,
) -> list[Run]:
    """Train several seeds of a recipe at once, each into its folder `out[seed]`, as `train` does with one.

    All pairs of nets are one batched computation, in which every seed keeps its own stream of randomness:
    its record is the one it would have alone, up to rounding. Runs that have not come as far as others are
    brought up to them first.
    """
    epochs = recipe.epochs if epochs is None else epochs
    if epochs < 1:
        raise ValueError(f"epochs must be at least 1, got {epochs}")
    if isinstance(recipe, Baseline) and len(out) > 1:
        raise ValueError(f"{recipe.name} trains one seed at a time, got {len(out)}: leave --seeds out")
    if isinstance(recipe, Baseline) and epochs > recipe.longest():
        raise ValueError(f"epochs must be at most {recipe.longest()}, where {recipe.name} ends, got {epochs}")
    where = _device(device)
    try:
        with ExitStack() as locks:
            for folder in out.values():
                _make(folder)
                locks.enter_context(_held(folder))
            return _train_seeds(recipe, out, epochs, where, data, pretrained)
    except RuntimeError as error:
        if "out of memory" not in str(error):  # CUDA's and that of MPS have no other class in common
            raise
        cure = f"lower --seeds, {len(out)} now" if len(out) > 1 else "train into a new folder on --device cpu"
        raise ValueError(f"the memory of {device} does not suffice: {cure}") from None


def _train_seeds(
    recipe: Recipe | Baseline,
    out: Mapping[int, Path],
    epochs: int,
    device: torch.device,
    data: str | None,
    pretrained: Path | None,
) -> list[Run]:
    previous = {seed: _previous(folder, recipe, seed) for seed, folder in out.items()}
    material = _Material.load(recipe, data, device)
    for folder, run in zip(out.values(), previous.values(), strict=True):
        if run and run.record["data"]["sha256"] != material.dataset.sha256:
            source = run.record["data"]["source"]
            raise ValueError(f"{folder} was trained on other data ({source}): choose another --out")
    start = None if all(previous.values()) else _pretrained(recipe, pretrained, material.dataset)
    last_update = epochs * material.per_epoch
    trainings = [_Training.begin(seed, out[seed], previous[seed], material, start) for seed in out]
    while behind := [t for t in trainings if t.game.updates < last_update]:
        reached = sorted({t.game.updates for t in behind})
        hindmost = [t for t in behind if t.game.updates == reached[0]]
        target = reached[1] if len(reached) > 1 else last_update
        _train_until(hindmost, material, target, last_update)
    return [Run(folder) for folder in out.values()]


@dataclass(frozen=True)
class _Material:
    """What the runs of a recipe train on, and how far apart their reports are."""

    recipe: Recipe | Baseline
    dataset: Dataset
    train: Tensor  # prepared, on the device
    valid: Tensor
    per_epoch: int  # updates
    per_row: int

    @classmethod
    def load(cls, recipe: Recipe | Baseline, data: str | None, device: torch.device) -> _Material:
        dataset, needed = datasets.load(data or recipe.data), recipe.examples_per_update()
        if len(dataset.train) < needed:
            raise ValueError(
                f"{dataset.source} has {len(dataset.train)} training images, an update takes {needed}:"
                " give more"
            )
        parts = [recipe.prepare(part).to(device) for part in (dataset.train, dataset.valid[:N_VALID])]
        per_epoch = recipe.updates_per_epoch(len(dataset.train))
        return cls(recipe, dataset, *parts, per_epoch, max(per_epoch // recipe.rows_per_epoch, 1))


@dataclass
class _Training:
    """A run in the making."""

    out: Path
    game: Game | Model
    record: dict[str, Any]
    rows: list[dict[str, Any]]
    sums: dict[str, float]  # of the reports, up to a row that is not complete

    @classmethod
    def begin(
        cls, seed: int, out: Path, previous: Run | None, material: _Material, start: Run | None
    ) -> _Training:
        train = material.train
        if previous:
            record, game = previous.record, previous.game(train, train.device)
            _drop_old_checkpoints(out, record)  # a kill may have left some
            rows = [row for row in previous.rows() if float(row["updates"]) <= record["updates"]]
            return cls(out, game, record, rows, record.pop("epoch_so_far", {}))
        record = {
            "recipe": material.recipe.values(), "seed": seed, "data": _describe(material.dataset),
            "epochs": 0, "updates": 0, "seconds": 0.0, "legs": [],
        }  # fmt: skip
        if start:
            keys = ("seed", "updates", "checkpoint")
            record["pretrained"] = {key: start.record[key] for key in keys}
        net = start.generator() if start else None
        return cls(out, _beginning(material.recipe, train, seed, train.device, net), record, [], {})

    def check(self) -> None:
        """Raise ValueError, with a note in the record, if the game has come to numbers that are none."""
        if all(map(math.isfinite, self.sums.values())):
            return
        if (self.out / "run.json").exists():
            _write_json(self.out / "run.json", Run(self.out).record | {"diverged": self.game.updates})
        saved = self.record["updates"]
        raise ValueError(
            f"{self.out}: the game diverged before update {self.game.updates} (its costs are no numbers),"
            f" the last checkpoint is of update {saved}: try another --seed or another recipe"
        )


def _beginning(
    recipe: Recipe | Baseline,
    train: Float[Tensor, "n d"],
    seed: int,
    device: torch.device | str,
    net: nn.Sequential | None = None,
) -> Game | Model:
    """What a recipe trains, at its start."""
    if isinstance(recipe, Baseline):
        return recipe.model(train, seed, device)
    return recipe.game(train, seed, device, net)


def _pretrained(recipe: Recipe | Baseline, folder: Path | None, dataset: Dataset) -> Run | None:
    """The run that a recipe starts from, None if it starts from nothing; ValueError if they do not match."""
    if not recipe.pretrained:
        if folder:
            raise ValueError(f"recipe {recipe.name!r} starts from nothing: leave --pretrained {folder} out")
        return None
    if not folder:
        raise ValueError(
            f"{recipe.name} starts from a trained run of {recipe.pretrained}: give --pretrained DIR"
        )
    run = Run(folder)
    if not run.recipe.name.startswith(recipe.pretrained) or run.record["data"]["sha256"] != dataset.sha256:
        raise ValueError(
            f"{folder} is a run of {run.recipe.name} on {run.record['data']['source']}:"
            f" give --pretrained a run of {recipe.pretrained} on {dataset.source}"
        )
    upper, whole = run.recipe, recipe.g_hidden
    below = whole[: -len(upper.g_hidden)]
    if whole[len(below) :] != upper.g_hidden or below[-1:] != (upper.z_dim,):
        raise ValueError(
            f"{folder} has a generator of {upper.z_dim} codes and {upper.g_hidden} units, {recipe.name} needs"
            f" {whole[-3]} and {whole[-2:]}: give --pretrained a run with these"
        )
    run.generator()  # is it there, and whole?
    return run


def _train_until(trainings: list[_Training], material: _Material, target: int, last_update: int) -> None:
    """Play to `target`: a history row now and then, a checkpoint a minute and at the end.

    Raises KeyboardInterrupt, all saved, when asked to stop short of `last_update`.
    """
    match = trainings[0].game if len(trainings) == 1 else Games([t.game for t in trainings])
    per_row, at_once = material.per_row, 1
    leg = {"from_update": match.updates, "together": len(trainings), **provenance(match.device)}
    for t in trainings:
        t.record["legs"] = [*t.record["legs"], leg]
    bar = tqdm(total=target, initial=match.updates, unit="update", smoothing=0.05, disable=None)
    saved, pause = time.monotonic(), 60.0
    clock = saved
    with _stop_requested() as stop, bar, tensor_float_32():
        while match.updates < target and not stop():
            n = min(at_once, per_row - match.updates % per_row, target - match.updates)
            played = match.fit(material.train, n)
            now = time.monotonic()
            if n == at_once and now - clock < 0.2:
                at_once = min(2 * at_once, 100)  # few words with a fast device, a quick stop of a slow one
            for t, means in zip(trainings, [played] if isinstance(played, dict) else played, strict=True):
                t.sums = {key: t.sums.get(key, 0.0) + n * mean for key, mean in means.items()}
                t.record["seconds"] += now - clock
                t.check()
            clock = now
            bar.update(n)
            bar.set_postfix({key: f"{mean:.3f}" for key, mean in [*means.items()][:2]}, refresh=False)
            if match.updates % per_row == 0:
                for t in trainings:
                    t.rows.append(_row(t, material))
                    t.sums = {}
            if time.monotonic() - saved > pause:
                begun = time.monotonic()
                _save(trainings, material.per_epoch)
                saved = time.monotonic()
                pause = max(60, 20 * (saved - begun))
        stopped = match.updates < last_update and stop()
        _save(trainings, material.per_epoch)
    if stopped:
        done = f"stopped after {match.updates} of {last_update} updates"
        print(f"{done}: the same command goes on from there", file=sys.stderr)
        raise KeyboardInterrupt


def _row(t: _Training, material: _Material) -> dict[str, Any]:
    """A row of the history; every few rows with validation columns, and samples.png drawn."""
    match, number, recipe = t.game, t.game.updates // material.per_row, material.recipe
    row: dict[str, Any] = {
        "epoch": f"{match.updates / material.per_epoch:.6g}", "updates": match.updates,
        "seconds": round(t.record["seconds"], 1),
    }  # fmt: skip
    row |= {key: f"{total / material.per_row:.6g}" for key, total in t.sums.items()}
    row |= {key: f"{rate:.6g}" for key, rate in match.rates().items()}
    scored, both = number % EVALUATE_EVERY == 0 or number == 1, grids(recipe)
    n = recipe.preview if isinstance(recipe, Baseline) else N_SAMPLES
    for weights in match.weights:
        prefix = "" if weights == "last" else f"{weights}_"
        if not scored:
            row |= {f"{prefix}{column}_{grid}": "" for grid in both for column in ("valid", "sigma")}
            continue
        rng = torch.Generator(match.device).manual_seed(EVALUATION_SEED)
        samples, valid = match.samples(n, rng, weights), material.valid
        if weights == "last":
            save_grid(recipe.pixels(samples[:100]), material.dataset.image_shape, t.out / "samples.png")
        if samples.device.type == "mps":  # it has no float64
            samples, valid = samples.cpu(), valid.cpu()
        means = parzen.log_likelihood(samples, valid, sum(both.values(), ())).mean(0)
        parts = means.split([len(sigmas) for sigmas in both.values()])
        for part, (grid, sigmas) in zip(parts, both.items(), strict=True):
            row[f"{prefix}valid_{grid}"] = f"{part.max():.3f}"
            row[f"{prefix}sigma_{grid}"] = f"{sigmas[part.argmax()]:.4f}"
    return row


def evaluate(folder: Path, keep: int = N_SAMPLES) -> dict[str, Any]:
    """Score a run's generator by the paper's Parzen estimator and keep the result in its record.

    Returns per sigma grid ("original", "fine") the test mean, its standard error (nats) and sigma. A
    generator too large to be kept leaves the first `keep` of its samples, and a walk between codes, in its
    stead; its samples are scored as the bytes that would be kept.
    """
    data = Run(folder).record["data"]
    dataset = datasets.load(data["load"])
    if dataset.sha256 != data["sha256"]:
        raise ValueError(
            f"{folder} was trained on {data['source']}, found {dataset.source}: set GANSRC_DATA to its folder"
        )
    with _held(folder):
        run = Run(folder)
        if _keeps_images(run):
            drawn = _keep_images(run, keep)
            run = Run(folder)
        else:
            drawn = {weights: run.samples(N_SAMPLES, weights=weights) for weights in run.weights()}
        result, points = _scores(drawn["last"], dataset, run.recipe)
        result |= {"updates": run.record["updates"], "seed": EVALUATION_SEED}
        if "average" in drawn:
            of_mean, values = _scores(drawn["average"], dataset, run.recipe)
            result["average"] = of_mean | {"decay": run.recipe.average}
            points |= {f"average-{name}": part for name, part in values.items()}
        np.savez(folder / "log_likelihood.npz", **points)
        _write_json(folder / "run.json", run.record | {"evaluation": result})
    return result


def _keeps_images(run: Run) -> bool:
    """Whether samples are to stand in a record for what draws them, and that is at hand."""
    return run.can_draw() and (
        isinstance(run.recipe, Baseline) or run.generator_file().stat().st_size > LARGEST_FILE
    )


def _keep_images(run: Run, keep: int) -> dict[str, Float[Tensor, "n d"]]:
    """Write samples of a run, its walk or film, too, beside the record, as bytes; return all samples, so
    rounded, by the weights that drew them."""
    shape, rng = run.record["data"]["image_shape"], torch.Generator().manual_seed(EVALUATION_SEED)
    if isinstance(run.recipe, Baseline):
        model = run.model()
        images = {"samples": model.samples(N_SAMPLES, rng)}
        if isinstance(model, ChainModel):
            images["film"] = model.film(FILM_STEPS, rng)
    else:
        generator = run.generator()
        images = {
            "samples": sample(generator, run.recipe.p_z(), N_SAMPLES, rng),
            "walk": walk(generator, run.recipe.p_z()).flatten(0, 1),
        }
        if "average" in run.weights():
            images["average-samples"] = run.samples(N_SAMPLES, weights="average")
    low, high = (0.0, 1.0) if not run.recipe.contrast else (x.item() for x in images["samples"].aminmax())
    grey = {name: to_bytes(x, low, high) for name, x in images.items()}
    kept: dict[str, dict[str, Any]] = {}
    for name, x in grey.items():
        x = x[:keep] if name.endswith("samples") else x
        files = mosaics.write(x, shape, run.folder, name)
        sha256 = {file.name: _sha256(file) for file in files}
        kept[name] = {"n": len(x), "seed": EVALUATION_SEED, "range": [low, high], "sha256": sha256}
    _write_json(run.folder / "run.json", run.record | kept)
    for old in run.folder.glob("*.webp"):
        if not any(old.name in part["sha256"] for part in kept.values()):
            old.unlink()
    names = {"last": "samples", "average": "average-samples"}
    return {key: from_bytes(grey[name], low, high) for key, name in names.items() if name in grey}


def to_bytes(x: Float[Tensor, "n d"], low: float, high: float) -> UInt8[Tensor, "n d"]:
    """Numbers from `low` to `high` as bytes from 0 to 255, rounded."""
    return ((x.clamp(low, high) - low) * (255 / (high - low))).round().to(torch.uint8)


def from_bytes(x: UInt8[Tensor, "n d"], low: float, high: float) -> Float[Tensor, "n d"]:
    """Back from `to_bytes`, to half a 255th of the range."""
    return x.float() * ((high - low) / 255) + low


@torch.no_grad()
def walk(
    generator: nn.Module, noise: Distribution, lines: int = 5, steps: int = 12, seed: int = 3
) -> Float[Tensor, "lines steps d"]:
    """Samples along straight lines between random codes (Figure 3)."""
    with drawing_from(torch.Generator().manual_seed(seed)):
        start, end = noise.sample((2, lines))
    t = torch.linspace(0, 1, steps)[None, :, None]
    codes = (1 - t) * start[:, None] + t * end[:, None]
    return generator(codes.flatten(0, 1)).unflatten(0, (lines, steps))


def evaluate_samples(file: Path) -> dict[str, Any]:
    """Score anybody's MNIST samples likewise: an .npy (n, 784) or (n, 28, 28), uint8 or in [0, 1]."""
    try:
        samples = np.load(file, allow_pickle=False)
        if not isinstance(samples, np.ndarray):
            raise ValueError("it holds several arrays")
    except datasets.UNREADABLE as error:
        cure = "save it anew with numpy.save"
        raise ValueError(f"{file} cannot be read as a plain .npy array: {cure}") from error
    samples = datasets.pixels(samples, str(file)).flatten(1)
    dataset = datasets.mnist()
    if samples.shape[1] != dataset.test.shape[1]:
        raise ValueError(
            f"{file} holds samples of {samples.shape[1]} pixels, MNIST has {dataset.test.shape[1]}:"
            " resize them"
        )
    return _scores(samples, dataset, MNIST)[0]


def _scores(
    samples: Float[Tensor, "n d"], dataset: Dataset, recipe: Recipe | Baseline
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Parzen scores by both grids, and the test images' own values. Sigma comes from validation alone.

    Where a data set has folds, sigma is chosen on each one's whole validation set, and the standard error is
    that of the mean over folds.
    """
    result: dict[str, Any] = {"samples": len(samples)}
    points = {}
    for grid, sigmas in grids(recipe).items():
        if not dataset.folds:
            valid, test = recipe.prepare(dataset.valid[:N_VALID]), recipe.prepare(dataset.test)
            score = parzen.score(samples, valid, test, sigmas)
            points[grid] = score.log_likelihoods.to(torch.float32).numpy()
            result[grid] = {"mean": score.mean, "standard_error": score.standard_error, "sigma": score.sigma}
            continue
        scores = [
            parzen.score(samples, recipe.prepare(valid), recipe.prepare(test), sigmas)
            for valid, test in dataset.folds
        ]
        for number, score in enumerate(scores, 1):
            points[f"{grid}-{number}"] = score.log_likelihoods.to(torch.float32).numpy()
        means = [score.mean for score in scores]
        result[grid] = {
            "mean": float(np.mean(means)), "standard_error": float(np.std(means, ddof=1) / len(means) ** 0.5),
            "sigma": [score.sigma for score in scores], "folds": means,
        }  # fmt: skip
    return result, points


def recorded(root: Path) -> Iterator[Run]:
    """Every run folder below `root`, by name."""
    for file in sorted(root.glob("*/run.json")):
        yield Run(file.parent)


def save_grid(images: Float[Tensor, "n d"], image_shape: tuple[int, ...], file: Path) -> None:
    """Write up to 100 images in [0, 1], grey or colour, in 10 columns; other data are not drawn."""
    if len(image_shape) != 2 and (len(image_shape) != 3 or image_shape[0] != 3):
        return
    from torchvision.utils import save_image

    pictures = images.cpu().reshape(-1, *image_shape)
    save_image(
        pictures if len(image_shape) == 3 else pictures[:, None], file, nrow=10, padding=2, pad_value=0.5
    )


def provenance(device: torch.device) -> dict[str, Any]:
    """Code version, package versions, device and date of a piece of work."""
    here = Path(gansrc.__file__).parent
    source = hashlib.sha256(b"".join(file.read_bytes() for file in sorted(here.rglob("*.py")))).hexdigest()
    try:
        command = ["git", "-C", str(here), "rev-parse", "HEAD"]
        commit = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:  # there is no git
        commit = ""
    packages = {}
    for name in ("torch", "torchvision", "numpy", "scipy", "safetensors"):
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = "absent"
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu_name()
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"), "gansrc": gansrc.__version__,
        "commit": commit, "source_sha256": source,
        "python": platform.python_version(), "packages": packages, "device": str(device), "device_name": name,
        "threads": torch.get_num_threads(), "cores": os.cpu_count(),
        "products": "TF32" if device.type == "cuda" else "float32",
    }  # fmt: skip


@contextmanager
def tensor_float_32() -> Iterator[None]:
    """Within the block CUDA may multiply float32 matrices as TF32, with ten bits after the point."""
    switch = torch.backends.cuda.matmul
    before, switch.fp32_precision = switch.fp32_precision, "tf32"
    try:
        yield
    finally:
        switch.fp32_precision = before


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    return next(
        (line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"unknown device {name!r}: give cpu, cuda or mps") from None
    cards = torch.cuda.device_count() if torch.cuda.is_available() else 0
    present = {"cpu": True, "cuda": (device.index or 0) < cards, "mps": torch.backends.mps.is_available()}
    if not present.get(device.type, False):
        raise ValueError(f"device {name!r} is not available here: use --device cpu")
    return device


def _make(out: Path) -> None:
    """Make a run's folder, unless it is there; ValueError if one cannot write to it."""
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file: choose another --out")
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / ".writable").touch()
        (out / ".writable").unlink()
    except OSError as error:
        raise ValueError(f"cannot write to {out} ({error.strerror}): choose another --out") from None


@contextmanager
def _held(out: Path) -> Iterator[None]:
    """Nobody else trains or scores the run in `out` within the block; ValueError if somebody does already."""
    lock = FileLock(out / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise ValueError(f"{out} is in use, it is trained or scored right now: wait for the end") from None
    except NotImplementedError:  # a file system without locks
        pass
    try:
        yield
    finally:
        lock.release()


def _previous(out: Path, recipe: Recipe | Baseline, seed: int) -> Run | None:
    """The run to go on with in `out`, None for a new or empty folder; ValueError for anything else there."""
    if not (out / "run.json").exists():
        if [p for p in out.iterdir() if not (LEFT_BY_A_KILL.fullmatch(p.name) or _ours(p))]:
            raise ValueError(f"{out} is not empty and holds no run: choose another --out")
        return None
    run = Run(out)
    if run.recipe != recipe or run.record["seed"] != seed:
        raise ValueError(
            f"{out} holds a run of recipe {run.record['recipe']['name']!r} with seed {run.record['seed']}"
            f" or other values, not {recipe.name!r} with seed {seed}: choose another --out"
        )
    return run


def _save(trainings: list[_Training], per_epoch: int) -> None:
    """Write checkpoints, point every run.json to its own, drop the old ones: a kill leaves each run whole."""
    outdated_folders: dict[Path, str | None] = {}
    for t in trainings:
        folder = t.out / f"checkpoint-{t.game.updates}"
        if t.record.get("checkpoint", {}).get("folder") == folder.name:
            continue
        if folder.exists() and not _ours(folder):
            raise ValueError(f"{folder} is none of this run's checkpoints: move it away, and go on")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        (folder / MARK).touch()
        files: dict[str, dict[str, Tensor]] = {}
        for key, tensor in t.game.state().items():
            part = key.split(".")[0]
            part = "momentum" if part in ("velocity", "optimizer", "rng") else part
            files.setdefault(part, {})[key] = tensor.cpu().contiguous()
        try:
            for name, tensors in files.items():
                save_file(tensors, folder / f"{name}.safetensors")
        except SafetensorError as error:
            raise OSError(f"cannot write to {folder} ({error}): make room, and go on") from None
        sha256 = {p.name: _sha256(p) for p in sorted(folder.glob("*.safetensors"))}
        outdated_folders[t.out] = t.record.get("checkpoint", {}).get("folder")
        t.record["checkpoint"] = {"folder": folder.name, "sha256": sha256}
        t.record |= {"updates": t.game.updates, "epochs": t.game.updates // per_epoch}
        if "evaluation" in t.record:  # of fewer updates: a stage on the way
            t.record["earlier"] = [*t.record.get("earlier", []), t.record["evaluation"]]
        for outdated in ("evaluation", "samples", "average-samples", "walk", "film", "diverged"):
            t.record.pop(outdated, None)
    for t in trainings:
        if t.rows:
            _write_csv(t.out / "history.csv", t.rows)
        so_far = {"epoch_so_far": t.sums} if t.sums else {}
        _write_json(t.out / "run.json", t.record | so_far | {"seconds": round(t.record["seconds"], 1)})
    for t in trainings:
        _drop_old_checkpoints(t.out, t.record, outdated_folders.get(t.out))


def _ours(folder: Path) -> bool:
    """Whether a folder is a checkpoint that we may delete: a marked one, or one that a kill left empty."""
    if not re.fullmatch(r"checkpoint-\d+", folder.name) or not folder.is_dir():
        return False
    return (folder / MARK).exists() or not any(folder.iterdir())


def _drop_old_checkpoints(out: Path, record: dict[str, Any], last: str | None = None) -> None:
    """Delete checkpoints that are ours, by their mark or as the `last` one, but for the record's."""
    for folder in out.glob("checkpoint-*"):
        if (_ours(folder) or folder.name == last) and folder.name != record["checkpoint"]["folder"]:
            shutil.rmtree(folder, ignore_errors=True)


def _describe(dataset: Dataset) -> dict[str, Any]:
    sizes = {part: len(getattr(dataset, part)) for part in ("train", "valid", "test")}
    return {
        "name": dataset.name, "load": dataset.load, "source": dataset.source, "complete": dataset.complete,
        **sizes, "dimension": dataset.train.shape[1], "image_shape": list(dataset.image_shape),
        "sha256": dataset.sha256, "pixels_sha256": dict(dataset.pixels_sha256),
    }  # fmt: skip


def _tuples(value: Any) -> Any:
    """Lists as tuples, throughout: JSON has lists alone."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _write_json(file: Path, content: dict[str, Any]) -> None:
    _replace(
        file, lambda temporary: temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    )


def _write_csv(file: Path, rows: list[dict[str, Any]]) -> None:
    def write(temporary: Path) -> None:
        with temporary.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)

    _replace(file, write)


def _replace(file: Path, write: Callable[[Path], object]) -> None:
    """Write beside the file, then put it in its place in one step."""
    temporary = file.with_name(file.name + ".part")
    write(temporary)
    os.replace(temporary, file)


@contextmanager
def _stop_requested() -> Iterator[Callable[[], bool]]:
    """Within the block Ctrl-C and SIGTERM only set a flag, which the returned function reads."""
    asked = False

    def ask(*_: object) -> None:
        nonlocal asked
        asked = True

    try:
        old = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not in the main thread: no signals to catch
        old = {}
    try:
        yield lambda: asked
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
