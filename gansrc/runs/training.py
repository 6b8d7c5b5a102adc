"""Training with checkpoints: a run begun, taken up again, prolonged, or several seeds of it at once."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import math
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from gansrc import datasets, mosaics, parallel, parzen
from gansrc.datasets import Dataset
from gansrc.devices import is_out_of_memory, tensor_float_32
from gansrc.limits import check_device, check_epochs, check_seed
from gansrc.model import Model, Recipe
from gansrc.runs.files import (
    MARK,
    check_ours,
    csv_of,
    drop_checkpoint,
    drop_checkpoints,
    drop_images,
    is_checkpoint,
    json_of,
    keep_names,
    made,
    settle,
    sha256,
    write,
    write_json,
    write_own,
    write_together,
)  # fmt: skip
from gansrc.runs.progress import Progress
from gansrc.runs.provenance import provenance
from gansrc.runs.record import Checkpoint, Data, Leg, Pretrained, Record
from gansrc.runs.run import EVALUATION_SEED, Run
from gansrc.runs.signals import Stopped, pauses, say, stop_requested

EVALUATE_EVERY = 5
"""Rows of the history between two evaluations on validation images while training."""


def train(
    recipe: Recipe,
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
    return train_seeds(recipe, {seed: out}, epochs=epochs, device=device, data=data, pretrained=pretrained)[0]


def train_seeds(
    recipe: Recipe,
    out: Mapping[int, Path],
    *,
    epochs: int | None = None,
    device: str = "cpu",
    data: str | None = None,
    pretrained: Path | None = None,
    until: float = math.inf,
) -> list[Run]:
    """Train several seeds of a recipe at once, each into its folder `out[seed]`, as `train` does with one.

    All pairs of nets are one batched computation, in which every seed keeps its own stream of randomness:
    its record is the one it would have alone, up to rounding. Runs that have not come as far as others are
    brought up to them first. At `until`, by `time.monotonic`, training stops, with all saved.
    """
    epochs = recipe.epochs if epochs is None else epochs
    check_epochs(epochs, "epochs")
    if len(out) > 1 and not recipe.together:
        raise ValueError(f"{recipe.name} trains one seed at a time, got {len(out)}: leave --seeds out")
    if epochs > recipe.longest():
        raise ValueError(f"epochs must be at most {recipe.longest()}, where {recipe.name} ends, got {epochs}")
    where = usable_device(device)
    for seed, folder in out.items():
        check_seed(seed, "seed")
        check_ours(folder)
    try:
        material = Material.load(recipe, data, where)
        if none := mosaics.why_none(material.dataset.image_shape):
            logging.getLogger("gansrc").info("%s: %s", recipe.name, none)
        with ExitStack() as locks:
            for folder in out.values():
                locks.enter_context(made(folder))
            return _train_seeds(material, out, epochs, pretrained, until)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        cure = f"lower --seeds, {len(out)} now" if len(out) > 1 else "train into a new folder on --device cpu"
        if device == "cpu" and len(out) == 1:
            cure = "take smaller images, or a recipe of smaller nets"
        raise ValueError(f"the memory of {device} does not suffice: {cure}") from None


def _train_seeds(
    material: Material, out: Mapping[int, Path], epochs: int, pretrained: Path | None, until: float
) -> list[Run]:
    settle([folder / "run.json" for folder in out.values()])
    previous = {seed: _previous(folder, material, seed) for seed, folder in out.items()}
    below = None if all(previous.values()) else _below(material.recipe, pretrained, material.dataset)
    last_update = epochs * material.per_epoch
    trainings = [Training.begin(seed, out[seed], previous[seed], material, below) for seed in out]
    while behind := [t for t in trainings if t.model.updates < last_update]:
        reached = sorted({t.model.updates for t in behind})
        last_ones = [t for t in behind if t.model.updates == reached[0]]
        target = reached[1] if len(reached) > 1 else last_update
        if not _train_until(last_ones, material, target, last_update, until):
            break
    return [Run(folder) for folder in out.values()]


@dataclass(frozen=True)
class Material:
    """What the runs of a recipe train on, and how far apart their reports are.

    dataset: as it is; prepared: as the model sees it, and its rows on the device.
    """

    recipe: Recipe
    dataset: Dataset
    prepared: Dataset
    train: Tensor
    valid: Tensor
    per_epoch: int  # updates
    per_row: int

    @classmethod
    def load(cls, recipe: Recipe, data: str | None, device: torch.device) -> Material:
        """The recipe's own data set, or `data`, on a device."""
        dataset, needed = datasets.load(recipe.data if data is None else data), recipe.examples_per_update()
        if len(dataset.train) < needed:
            raise ValueError(
                f"{dataset.source} has {len(dataset.train)} training images, an update takes {needed}:"
                " give more"
            )
        prepared, per_epoch = recipe.prepare(dataset), recipe.updates_per_epoch(len(dataset.train))
        train, valid = prepared.train.to(device), prepared.valid[: parzen.N_VALID].to(device)
        per_row = max(per_epoch // recipe.rows_per_epoch, 1)
        return cls(recipe, dataset, prepared, train, valid, per_epoch, per_row)


@dataclass
class Training:
    """A run in the making: its record and history so far, and sums of the reports of a row to come."""

    out: Path
    model: Model
    record: Record
    rows: list[dict[str, Any]]
    sums: dict[str, float]

    @classmethod
    def begin(
        cls, seed: int, out: Path, previous: Run | None, material: Material, below: Run | None
    ) -> Training:
        """A run at its start, or where it was left."""
        recipe, device = material.recipe, material.train.device
        if previous:
            model = previous.model(material.dataset, device)
            record = dataclasses.replace(previous.record, data=Data.of(material.dataset))  # it may have moved
            drop_checkpoints(out, record.checkpoint.folder)  # a kill may have left some,
            drop_images(out, record.image_files(), {})  # and of these, too
            rows = [row for row in previous.rows() if float(row["updates"]) <= record.updates]
            return cls(out, model, record, rows, dict(record.epoch_so_far or {}))
        record = Record(
            recipe=recipe.values(), seed=seed, data=Data.of(material.dataset), epochs=0, updates=0,
            seconds=0.0, legs=(), checkpoint=Checkpoint("", {}),
            pretrained=Pretrained(below.record.seed, below.record.updates, below.record.checkpoint)
            if below
            else None,
        )  # fmt: skip
        model = recipe.start(material.prepared, seed, device, below.sampler() if below else None)
        return cls(out, model, record, [], {})

    def add(self, means: dict[str, float], updates: int, seconds: float) -> None:
        """Count what so many updates reported. Raises ValueError, with a note in the record, if the game has
        diverged."""
        self.sums = {key: self.sums.get(key, 0.0) + updates * mean for key, mean in means.items()}
        if self.rows and (unknown := self.sums.keys() - self.rows[-1].keys()):
            file = self.out / "history.csv"
            raise ValueError(f"{file} has no column {min(unknown)}: restore it or train anew")
        self.record = dataclasses.replace(self.record, seconds=self.record.seconds + seconds)
        if all(map(math.isfinite, self.sums.values())):
            return
        if (self.out / "run.json").exists():
            noted = dataclasses.replace(Run(self.out).record, diverged=self.model.updates)
            write_json(self.out / "run.json", noted.to_json())
        raise ValueError(
            f"{self.out}: the game diverged before update {self.model.updates} (its costs are not finite),"
            f" the last checkpoint is of update {self.record.updates}: try another --seed or another recipe"
        )

    def end_row(self, material: Material) -> None:
        """Add a row to the history; every few rows with validation columns, and samples.png drawn."""
        recipe, model, number = material.recipe, self.model, self.model.updates // material.per_row
        row: dict[str, Any] = {
            "epoch": f"{model.updates / material.per_epoch:.6g}", "updates": model.updates,
            "seconds": round(self.record.seconds, 1),
        }  # fmt: skip
        row |= {key: f"{total / material.per_row:.6g}" for key, total in self.sums.items()}
        row |= {key: f"{rate:.6g}" for key, rate in model.rates().items()}
        scored = number % EVALUATE_EVERY == 0 or number == 1
        for weights in recipe.weights:
            prefix = "" if weights == "last" else f"{weights}_"
            if not scored:
                columns = (f"{kind}_{grid}" for grid in recipe.sigmas() for kind in ("valid", "sigma"))
                row |= {f"{prefix}{column}": "" for column in columns}
                continue
            rng = torch.Generator(model.device).manual_seed(EVALUATION_SEED)
            samples, valid = model.samples(recipe.preview, rng, weights), material.valid
            if weights == "last":
                picture = mosaics.grid(recipe.pixels(samples[:100]), material.dataset.image_shape)
                if picture:
                    write_own(self.out / "samples.png", picture)
            if samples.device.type == "mps":  # it has no float64
                samples, valid = samples.cpu(), valid.cpu()
            values = recipe.validate(samples, valid)
            digits = {column: 4 if column.startswith("sigma") else 3 for column in values}
            row |= {f"{prefix}{column}": f"{x:.{digits[column]}f}" for column, x in values.items()}
        self.rows.append(row)
        self.sums = {}

    def save_checkpoint(self, per_epoch: int) -> None:
        """Write the model's state into a folder of its own, and let the record in memory point to it."""
        folder = self.out / f"checkpoint-{self.model.updates}"
        if self.record.checkpoint.folder == folder.name:
            return
        if folder.exists() and not is_checkpoint(folder):
            raise ValueError(f"{folder} is none of this run's checkpoints: move it away, and go on")
        drop_checkpoint(folder)
        folder.mkdir()
        (folder / MARK).touch()
        try:
            for name, tensors in self.model.state().items():
                whole = {key: tensor.cpu().contiguous() for key, tensor in tensors.items()}
                write(folder / f"{name}.safetensors", save(whole))
        except OSError:  # a full disk shall not be filled by a part of it
            drop_checkpoint(folder)
            raise
        keep_names(self.out)
        checksums = {p.name: sha256(p) for p in sorted(folder.glob("*.safetensors"))}
        stage = (self.record.evaluation,) if self.record.evaluation else ()
        self.record = dataclasses.replace(
            self.record, checkpoint=Checkpoint(folder.name, checksums), updates=self.model.updates,
            epochs=self.model.updates // per_epoch, earlier=(*self.record.earlier, *stage), evaluation=None,
            samples=None, average_samples=None, walk=None, film=None, reconstructions=None,
            diverged=None,
        )  # fmt: skip

    def write(self) -> bytes:
        """Write history.csv; return the content that run.json is to have."""
        content = csv_of(self.rows) if self.rows else b""
        if content:
            write(self.out / "history.csv", content)
        record = dataclasses.replace(
            self.record, seconds=round(self.record.seconds, 1), epoch_so_far=self.sums or None,
            history_sha256=hashlib.sha256(content).hexdigest() if content else "",
        )  # fmt: skip
        return json_of(record.to_json())


def usable_device(name: str) -> torch.device:
    """A device that is there, or ValueError."""
    check_device(name)
    device = torch.device(name)
    cards = torch.cuda.device_count() if torch.cuda.is_available() else 0
    present = {"cpu": True, "cuda": (device.index or 0) < cards, "mps": torch.backends.mps.is_available()}
    if not present.get(device.type, False):
        raise ValueError(f"device {name!r} is not available here: use --device cpu")
    return device


def _previous(out: Path, material: Material, seed: int) -> Run | None:
    """The run to go on with in `out`, None for a new folder; ValueError for a run of something else."""
    if not (out / "run.json").exists():
        return None
    run, recipe = Run(out), material.recipe
    if run.recipe != recipe or run.record.seed != seed:
        wanted = f"{recipe.name}, seed {seed}"
        holds = f"{run.recipe.name}, seed {run.record.seed}"
        found = "with other values" if holds == wanted else f"of {holds}"
        raise ValueError(f"{out} holds a run {found}, not of {wanted}: choose another --out")
    if run.record.data.sha256 != material.dataset.sha256:
        raise ValueError(
            f"{out} was trained on other data ({run.record.data.source}): give --data for that, or choose"
            " another --out"
        )
    run.check_data(material.dataset)
    return run


def _below(recipe: Recipe, folder: Path | None, dataset: Dataset) -> Run | None:
    """The run that a recipe starts from, None if it starts from nothing; ValueError if they do not match."""
    wanted = recipe.builds_on()
    if not wanted:
        if folder:
            raise ValueError(f"recipe {recipe.name!r} starts from nothing: leave --pretrained {folder} out")
        return None
    if not folder:
        raise ValueError(f"{recipe.name} starts from a trained run of {wanted}: give --pretrained DIR")
    run = Run(folder)
    if not run.recipe.name.startswith(wanted) or run.record.data.sha256 != dataset.sha256:
        raise ValueError(
            f"{folder} is a run of {run.recipe.name} on {run.record.data.source}:"
            f" give --pretrained a run of {wanted} on {dataset.source}"
        )
    recipe.check_below(run.recipe)
    run.sampler()  # is it there, and whole?
    return run


def _train_until(
    trainings: list[Training], material: Material, target: int, last_update: int, until: float
) -> bool:
    """Train to `target`: a history row now and then, a checkpoint a minute and at the end. Return whether it
    was reached, after one update at least, before the clock showed `until`.

    Raises Stopped, all saved, when asked to stop short of `last_update`.
    """
    first, per_row, at_once = trainings[0].model, material.per_row, 1
    fit = material.recipe.fitting([t.model for t in trainings])
    where = vars(provenance(first.device))
    leg = Leg(
        **where, from_update=first.updates, together=len(trainings), processes=parallel.processes()
    )  # fmt: skip
    for t in trainings:
        t.record = dataclasses.replace(t.record, legs=(*t.record.legs, leg))
    names = ", ".join(t.out.name for t in trainings[:2]) + (", ..." if len(trainings) > 2 else "")
    clock = saved = time.monotonic()
    still = 0.0
    told = Progress(names, first.updates, target, material.per_epoch, clock, until)
    pause = 60.0
    with stop_requested() as stop, told, tensor_float_32(), pauses() as paused:
        while first.updates < target and not stop() and (clock < until or first.updates == leg.from_update):
            n = min(at_once, per_row - first.updates % per_row, target - first.updates)
            reports = fit(material.train, n)
            now, rest = time.monotonic(), paused()
            if n == at_once and now - clock < 0.2:
                at_once = min(2 * at_once, 100)  # few words with a fast device, a quick stop of a slow one
            for t, means in zip(trainings, reports, strict=True):
                t.add(means, n, max(now - clock - (rest - still), 0.0))
            clock, still = now, rest
            row_ends = first.updates % per_row == 0
            for t in trainings if row_ends else ():
                t.end_row(material)
            told.step(n, means, trainings[0].rows[-1] if row_ends else None, now)
            if time.monotonic() - saved > pause:
                begun = time.monotonic()
                _save(trainings, material.per_epoch)
                saved = time.monotonic()
                pause = max(60, 20 * (saved - begun))
        stopped = stop() if first.updates < last_update else 0
        _save(trainings, material.per_epoch)
    if stopped or first.updates < target:
        done = f"{names}: stopped after {first.updates} of {last_update} updates"
        say(f"{done}, the same command goes on from there")
    if stopped:
        raise Stopped(stopped)
    return first.updates == target


def _save(trainings: list[Training], per_epoch: int) -> None:
    """Write checkpoints, point every run.json to its own, drop the old ones: a kill leaves each run whole."""
    before = [t.record for t in trainings]
    for t in trainings:
        t.save_checkpoint(per_epoch)
    write_together({t.out / "run.json": t.write() for t in trainings})
    for t, last in zip(trainings, before, strict=True):
        drop_checkpoints(t.out, t.record.checkpoint.folder, last.checkpoint.folder)
        drop_images(t.out, t.record.image_files(), last.image_files())
