"""Scores: a run's samples, or anybody's, by the paper's Parzen estimator; images that stay in a record."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from gansrc import archives, datasets, mosaics, parzen, yours
from gansrc.datasets import Dataset
from gansrc.model import Recipe
from gansrc.recipes import MNIST
from gansrc.runs.files import drop_images, held, npz, sha256, write_json, write_own
from gansrc.runs.record import Average, Evaluation, Images, Record, Score, Scores
from gansrc.runs.run import EVALUATION_SEED, Run

LARGEST_FILE = 16 * 2**20
"""Bytes: of a generator larger than that a record keeps samples instead."""


def evaluate(folder: Path, keep: int | None = None, data: str | None = None) -> Evaluation:
    """Score a run's samples by the paper's Parzen estimator and keep the result in its record.

    A model that is too large to be kept, or no GAN, leaves the first `keep` of its samples, and a walk or a
    film, in the record; all do where `keep` is given. Then the samples are scored as the bytes that are kept.
    A model of points, which are no images, stays as it is; ValueError if `keep` is given. data: where the
    data set lies now, if it was moved.
    """
    dataset = Run(folder).dataset(data)
    images_of = len(dataset.image_shape) > 1
    if keep is not None and not images_of:
        raise ValueError(f"{folder} is a run on points, which are not kept as images: leave --keep out")
    with held(folder):
        run, images, files = Run(folder), dict[str, Any](), dict[str, bytes]()
        large = run.can_draw() and run.weights_file().stat().st_size > LARGEST_FILE
        if run.can_draw() and images_of and (run.recipe.leaves_samples or large or keep is not None):
            drawn, images, files = _as_bytes(run, parzen.N_SAMPLES if keep is None else keep)
        else:
            drawn = {w: run.samples(parzen.N_SAMPLES, weights=w) for w in run.recipe.weights}
        prepared, points, scores = run.recipe.prepare(dataset), dict[str, np.ndarray](), {}
        for weights, samples in drawn.items():
            scores[weights], values = score(run.recipe, samples, prepared)
            prefix = "" if weights == "last" else f"{weights}-"
            points |= {f"{prefix}{name}": part for name, part in values.items()}
        average = scores.get("average")
        files["log_likelihood.npz"] = npz(points)
        evaluation = Evaluation(
            **vars(scores["last"]), samples=len(drawn["last"]), updates=run.record.updates,
            seed=EVALUATION_SEED, average=Average(**vars(average)) if average else None,
            sha256=hashlib.sha256(files["log_likelihood.npz"]).hexdigest(),
        )  # fmt: skip
        _save(run, dataclasses.replace(run.record, **images, evaluation=evaluation), files)
    return evaluation


def _save(run: Run, record: Record, files: Mapping[str, bytes]) -> None:
    """Write files and the record that speaks of them; after a kill in between it speaks of none of them."""
    before, named = run.record, ("evaluation", *run.record.images())
    known, values = set(before.image_files().values()), run.folder / "log_likelihood.npz"
    if before.evaluation and values.is_file():
        known.add(before.evaluation.sha256 or sha256(values))  # the first records have none
    changed: dict[str, Any] = {name: None for name in named if getattr(before, name) != getattr(record, name)}
    if (silent := dataclasses.replace(before, **changed)) != before:
        write_json(run.folder / "run.json", silent.to_json())
    for name, content in files.items():
        write_own(run.folder / name, content, known)
    write_json(run.folder / "run.json", record.to_json())
    drop_images(run.folder, record.image_files(), before.image_files())


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


def _as_bytes(
    run: Run, keep: int
) -> tuple[dict[str, Float[Tensor, "n d"]], dict[str, Images], dict[str, bytes]]:
    """All samples of a run, as bytes round them, by the weights that drew them; the images that its record is
    to keep, the first of these samples, and its walk or film; and the files that hold the images."""
    shape, rng = run.record.data.image_shape, torch.Generator().manual_seed(EVALUATION_SEED)
    sampler = run.sampler()
    images = {"samples": sampler.samples(parzen.N_SAMPLES, rng), **sampler.pictures(rng)}
    for weights in run.recipe.weights[1:]:
        images[f"{weights}_samples"] = run.samples(parzen.N_SAMPLES, weights=weights)
    low, high = run.recipe.byte_range(images["samples"])
    grey = {name: mosaics.to_bytes(x, low, high) for name, x in images.items()}
    kept, files = dict[str, Images](), dict[str, bytes]()
    for name, x in grey.items():
        x = x[:keep] if name.endswith("samples") else x
        parts = {
            f"{name.replace('_', '-')}-{number}.webp": content
            for number, content in enumerate(mosaics.webp(x, shape))
        }
        checksums = {file: hashlib.sha256(content).hexdigest() for file, content in parts.items()}
        kept[name] = Images(len(x), EVALUATION_SEED, (low, high), checksums)
        files |= parts
    names = {"last": "samples", "average": "average_samples"}
    drawn = {key: mosaics.from_bytes(grey[name], low, high) for key, name in names.items() if name in grey}
    return drawn, kept, files


def evaluate_samples(file: Path, dataset: Dataset | None = None) -> Evaluation:
    """Score anybody's samples likewise, of MNIST or another data set of images in [0, 1]: an .npy of rows or
    of images, uint8 or in [0, 1]."""
    try:
        samples = archives.npy(file)
    except archives.Unreadable as error:
        cure = "save it anew with numpy.save"
        raise ValueError(f"{file} cannot be read as a plain .npy array: {cure} ({error})") from error
    rows = yours.upright(yours.pixels(samples, str(file))).flatten(1)
    dataset = dataset or datasets.mnist()
    d = dataset.test.shape[1]
    if rows.shape[1] != d:
        fits = {48 * 48: "faces", 3 * 32 * 32: "cifar10", 28 * 28: "mnist"}.get(
            rows.shape[1], "FILE.npz of yours"
        )
        raise ValueError(
            f"{file} holds samples of {rows.shape[1]} pixels, {dataset.name} has {d}: give --data {fits}, or"
            " in Python gansrc.score(samples, valid, test)"
        )
    return Evaluation(**vars(score(MNIST, rows, dataset)[0]), samples=len(rows))
