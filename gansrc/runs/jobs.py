"""What one command is to train: a recipe, or several recipes and recorded runs one after the other."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch

from gansrc import catalogue, datasets, parallel
from gansrc.limits import check_seeds
from gansrc.model import Recipe
from gansrc.runs.run import Run
from gansrc.runs.signals import Stopped, stop_requested
from gansrc.runs.training import Material, train_seeds, usable_device


@dataclass(frozen=True)
class Job:
    """A recipe to be trained to a length, and the folder of each seed; all seeds are trained at once.

    data: a data set other than the recipe's. pretrained: the run to start from, where the recipe asks for
    one. recorded: the runs that are trained again. shared: all processes train it, each a part of every
    minibatch; the first has the folder.
    """

    recipe: Recipe
    epochs: int
    folders: dict[int, Path]
    data: str | None = None
    pretrained: Path | None = None
    recorded: tuple[Run, ...] = ()
    shared: bool = False

    def train(self, device: str, until: float = math.inf) -> list[Run]:
        """Train, or go on where the folders' runs have come to, as `train_seeds` does."""
        for run in self.recorded:
            run.dataset(self.data)  # is it here, and the same?
        if not self.shared:
            return self._train(device, until)
        usable_device(device)
        with parallel.connected(device):
            if parallel.is_first():
                return self._train(device, until)
            with stop_requested() as stop:  # it is the first that stops
                self._follow(device)
            if stop():
                raise Stopped(stop())
        return []

    def _train(self, device: str, until: float) -> list[Run]:
        return train_seeds(
            self.recipe, self.folders, epochs=self.epochs, device=device, data=self.data,
            pretrained=self.pretrained, until=until,
        )  # fmt: skip

    def _follow(self, device: str) -> None:
        """Train with the first process."""
        material, (seed,) = Material.load(self.recipe, self.data, torch.device(device)), self.folders
        model = self.recipe.start(material.prepared, seed, device)
        cast(parallel.Joined, self.recipe.fitting([model])).follow(material.train)


def plan(
    words: Sequence[str],
    out: Path,
    *,
    epochs: int | None = None,
    seed: int = 0,
    seeds: int | None = None,
    data: str | None = None,
    pretrained: Path | None = None,
) -> list[Job]:
    """The jobs of the words of a command, in their order.

    A word is a recipe's name or the folder of a recorded run, which is trained again: the same recipe, seed,
    data; `data` says where they lie now. `:N` after it is its length in epochs, else it is `epochs`, else the
    recipe's or the record's own. One word's run goes into `out` (with `seeds`, into so many folders beside
    it), those of several words into `out`/NAME each. Recorded runs that differ by their seed alone are one
    job, where seeds can be trained together. A run that starts from another one starts from `pretrained`, or
    from that one's namesake in `out`.

    Raises ValueError or OSError for words that cannot be understood, or do not go together.
    """
    if len(words) == 1:
        job = _job(words[0], out, epochs, seed, data, pretrained)
        if seeds is None:
            return [job]
        if job.recorded:
            raise ValueError(f"--seeds go with a recipe's name, got {words[0]}")
        check_seeds(seed, seeds)
        if out.name in ("", ".."):
            raise ValueError(
                f"--seeds needs a folder with a name as --out, got {out}: give one like runs/mine"
            )
        folders = {n: out.with_name(f"{out.name}-seed-{n}") for n in range(seed, seed + seeds)}
        return [dataclasses.replace(job, folders=folders)]
    if seeds is not None:
        raise ValueError(f"--seeds goes with one recipe, got {len(words)}: name recorded runs of these seeds")
    jobs: list[Job] = []
    for word in words:
        job = _job(word, out / Path(_name(word)).resolve().name, epochs, seed, data, pretrained)
        (folder,) = job.folders.values()
        if any(folder in other.folders.values() for other in jobs):
            raise ValueError(f"two runs would go into {folder}: train one of them by itself")
        below = job.recipe.builds_on()
        if below and pretrained and not (pretrained / "run.json").exists():  # told before others are trained
            raise FileNotFoundError(f"{pretrained} holds no run.json: give --pretrained a run of {below}")
        job = dataclasses.replace(job, pretrained=(pretrained or out / below) if below else None)
        at = next((n for n, other in enumerate(jobs) if _go_together(other, job)), len(jobs))
        if at < len(jobs):
            folders, recorded = jobs[at].folders | job.folders, jobs[at].recorded + job.recorded
            job = dataclasses.replace(job, folders=folders, recorded=recorded)
        jobs[at : at + 1] = [job]
    return jobs


def dealt(jobs: Sequence[Job], place: parallel.Place) -> list[Job]:
    """Of a command's jobs those of one process: each run is dealt to one, in turn.

    A run that starts from another one of them goes where that went. Where there is but one run, and its
    recipe's games can be shared, all processes train it.
    """
    if place.size > 1 and sum(len(job.folders) for job in jobs) == 1 and jobs[0].recipe.together:
        return [dataclasses.replace(jobs[0], shared=True)]
    turns, whose, own = itertools.count(), dict[Path | None, int](), list[Job]()
    for job in jobs:
        for folder in job.folders.values():
            whose[folder] = whose[job.pretrained] if job.pretrained in whose else next(turns) % place.size
        folders = {seed: folder for seed, folder in job.folders.items() if whose[folder] == place.rank}
        recorded = tuple(run for run in job.recorded if run.record.seed in folders)
        own += [dataclasses.replace(job, folders=folders, recorded=recorded)] if folders else []
    return own


def _name(word: str) -> str:
    """A word without its length."""
    name, _, length = word.rpartition(":")
    return name if length.isdecimal() and name else word


def _job(
    word: str, out: Path, epochs: int | None, seed: int, data: str | None, pretrained: Path | None
) -> Job:
    """The job of one word, into `out`."""
    name = _name(word)
    if name != word:
        epochs = int(word.removeprefix(f"{name}:"))
    if name not in catalogue.RECIPES and datasets.is_path(name) and not Path(name).is_dir():
        found = "is a file" if Path(name).exists() else "is not there"
        raise FileNotFoundError(f"{name} {found}: give the folder of a recorded run, or a recipe's name")
    if name in catalogue.RECIPES or not name.strip() or not Path(name).is_dir():
        recipe = catalogue.recipe(name)
        return Job(recipe, recipe.epochs if epochs is None else epochs, {seed: out}, data, pretrained)
    run = Run(Path(name))
    record = run.record
    length = record.epochs if epochs is None else epochs
    return Job(
        run.recipe, length, {record.seed: out}, run.place() if data is None else data, pretrained, (run,)
    )


def _go_together(one: Job, other: Job) -> bool:
    """Whether two jobs are the same but for their seeds, and may be trained at once."""
    same = (one.recipe, one.epochs, one.data) == (other.recipe, other.epochs, other.data)
    apart = not one.folders.keys() & other.folders.keys()
    return bool(same and apart and one.recipe.together and one.recorded and other.recorded)
