"""Scores: a run's samples, or anybody's, by the paper's Parzen estimator; images that stay in a record."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from gansrc import datasets, mosaics, parzen
from gansrc.datasets import Dataset
from gansrc.model import Recipe
from gansrc.recipes import MNIST
from gansrc.runs.files import held, sha256, write_json, write_npz
from gansrc.runs.record import Evaluation, Images, Score, Scores
from gansrc.runs.run import EVALUATION_SEED, Run

LARGEST_FILE = 16 * 2**20
"""Bytes: of a generator larger than that a record keeps samples instead."""


def evaluate(folder: Path, keep: int | None = None) -> Evaluation:
    """Score a run's samples by the paper's Parzen estimator and keep the result in its record.

    A model that is too large to be kept, or no GAN, leaves the first `keep` of its samples, and a walk or a
    film, in the record; all do where `keep` is given. Then the samples are scored as the bytes that are kept.
    """
    data = Run(folder).record.data
    dataset = datasets.load(data.load)
    if dataset.sha256 != data.sha256:
        raise ValueError(
            f"{folder} was trained on {data.source}, found {dataset.source}: set GANSRC_DATA to its folder"
        )
    with held(folder):
        run = Run(folder)
        large = run.can_draw() and run.weights_file().stat().st_size > LARGEST_FILE
        if run.can_draw() and (run.recipe.leaves_samples or large or keep is not None):
            drawn = _keep_images(run, parzen.N_SAMPLES if keep is None else keep)
            run = Run(folder)
        else:
            drawn = {w: run.samples(parzen.N_SAMPLES, weights=w) for w in run.recipe.weights}
        prepared, points, scores = run.recipe.prepare(dataset), dict[str, np.ndarray](), {}
        for weights, samples in drawn.items():
            scores[weights], values = score(run.recipe, samples, prepared)
            prefix = "" if weights == "last" else f"{weights}-"
            points |= {f"{prefix}{name}": part for name, part in values.items()}
        evaluation = Evaluation(
            **vars(scores["last"]), samples=len(drawn["last"]), updates=run.record.updates,
            seed=EVALUATION_SEED, average=scores.get("average"),
        )  # fmt: skip
        write_npz(folder / "log_likelihood.npz", points)
        write_json(folder / "run.json", dataclasses.replace(run.record, evaluation=evaluation).to_json())
    return evaluation


def score(
    recipe: Recipe, samples: Float[Tensor, "n d"], dataset: Dataset
) -> tuple[Scores, dict[str, np.ndarray]]:
    """Scores of samples on a prepared data set, and the test images' own values by grid and fold."""
    scores, points = {}, {}
    for grid, entries in recipe.score(samples, dataset).items():
        values = [entry.log_likelihoods.to(torch.float32).numpy() for entry in entries]
        if len(entries) == 1:
            (entry,) = entries
            points[grid] = values[0]
            scores[grid] = Score(entry.mean, entry.standard_error, entry.sigma)
            continue
        points |= {f"{grid}-{number}": part for number, part in enumerate(values, 1)}
        means = np.array([entry.mean for entry in entries])
        error = float(means.std(ddof=1) / len(means) ** 0.5)
        sigmas = tuple(entry.sigma for entry in entries)
        scores[grid] = Score(float(means.mean()), error, sigmas, tuple(means.tolist()))
    return Scores(**scores), points


def _keep_images(run: Run, keep: int) -> dict[str, Float[Tensor, "n d"]]:
    """Write samples of a run, its walk or film, too, beside the record, as bytes; return all samples, so
    rounded, by the weights that drew them."""
    shape, rng = run.record.data.image_shape, torch.Generator().manual_seed(EVALUATION_SEED)
    sampler = run.sampler()
    images = {"samples": sampler.samples(parzen.N_SAMPLES, rng), **sampler.pictures(rng)}
    for weights in run.recipe.weights[1:]:
        images[f"{weights}_samples"] = run.samples(parzen.N_SAMPLES, weights=weights)
    low, high = run.recipe.byte_range(images["samples"])
    grey = {name: mosaics.to_bytes(x, low, high) for name, x in images.items()}
    kept: dict[str, Any] = {}
    for name, x in grey.items():
        x = x[:keep] if name.endswith("samples") else x
        files = mosaics.write(x, shape, run.folder, name.replace("_", "-"))
        kept[name] = Images(len(x), EVALUATION_SEED, (low, high), {f.name: sha256(f) for f in files})
    before = {name for part in run.record.images().values() for name in part.sha256}
    write_json(run.folder / "run.json", dataclasses.replace(run.record, **kept).to_json())
    for name in before - {name for part in kept.values() for name in part.sha256}:
        (run.folder / name).unlink(missing_ok=True)
    names = {"last": "samples", "average": "average_samples"}
    return {key: mosaics.from_bytes(grey[name], low, high) for key, name in names.items() if name in grey}


def evaluate_samples(file: Path) -> Evaluation:
    """Score anybody's MNIST samples likewise: an .npy (n, 784) or (n, 28, 28), uint8 or in [0, 1]."""
    try:
        samples = np.load(file, allow_pickle=False)
        if not isinstance(samples, np.ndarray):
            raise ValueError("it holds several arrays")
    except datasets.UNREADABLE as error:
        cure = "save it anew with numpy.save"
        raise ValueError(f"{file} cannot be read as a plain .npy array: {cure}") from error
    rows = datasets.pixels(samples, str(file)).flatten(1)
    dataset = datasets.mnist()
    if rows.shape[1] != dataset.test.shape[1]:
        raise ValueError(
            f"{file} holds samples of {rows.shape[1]} pixels, MNIST has {dataset.test.shape[1]}: resize them"
        )
    return Evaluation(**vars(score(MNIST, rows, dataset)[0]), samples=len(rows))
