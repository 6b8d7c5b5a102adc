"""What are features good for where labels are few? Errors of linear classifiers on pixels, on those of a
trained and an untrained discriminator, and of a deep belief net of the same size.

`python benchmarks/semisupervised.py` trains the belief net for two minutes, then fits ten classifiers, each
with labels of its own, on every kind of features and every number of labels; each such cell becomes a line of
results/semisupervised.jsonl. Cells that are there already stay.
"""

from __future__ import annotations

import dataclasses
import json
from typing import cast

import torch
from lines import RESULTS, add, line
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gansrc import datasets
from gansrc.datasets import Dataset
from gansrc.extensions.semisupervised import SEMISUPERVISED_MNIST_100, hidden_layers, learnt, wrong
from gansrc.gan import GAN
from gansrc.labels import few, tried
from gansrc.models.dbn import DBN_MNIST
from gansrc.runs import Run
from gansrc.streams import drawing_from

IMAGES, DRAWS = 10_000, 10
"""Training images among which labels are drawn, and so many draws; one more sets the penalty."""
NUMBERS = (20, 50, 100, 1000)
"""Labels, as in the table of Salimans et al. (2016)."""
PENALTIES = (1e-5, 1e-4, 1e-3, 1e-2)
"""Of a classifier's squared weights: the best on validation images, by a draw of labels apart."""
LAYER_EPOCHS = 10
"""Of the belief net."""
ALONE = 1000
"""Updates of a D that sees the labelled images alone."""
Features = dict[str, tuple[Tensor, ...]]
"""By name: of training, validation and test images, a row each."""


def features(mnist: Dataset) -> Features:
    """All kinds of features; of nets with two layers each, and both."""
    run = Run(RESULTS.parents[1] / "book" / "runs" / "mnist")
    trained, fresh = run.model(mnist), run.recipe.start(mnist, run.record.seed)
    assert isinstance(trained, GAN) and isinstance(fresh, GAN)
    recipe = dataclasses.replace(DBN_MNIST, hidden=(240, 240), layer_epochs=LAYER_EPOCHS)
    belief = recipe.start(mnist, 0)
    belief.fit(mnist.train, 2 * LAYER_EPOCHS * recipe.updates_per_epoch(len(mnist.train)))
    images = (mnist.train[:IMAGES], mnist.valid, mnist.test)
    found: Features = {"pixels": images}
    for name, net in (("untrained D", fresh), ("D", trained)):
        D = cast(nn.Sequential, net.game.discriminator.eval())
        layers = [hidden_layers(D, x) for x in images]
        found |= {f"{name}, layer {at + 1}": tuple(part[at] for part in layers) for at in range(2)}
        found[name] = tuple(torch.cat(part, 1) for part in layers)
    with torch.no_grad():
        first = [belief.layers[0].up(x) for x in images]
        second = [belief.layers[1].up(x) for x in first]
    found |= {"DBN, layer 1": tuple(first), "DBN, layer 2": tuple(second)}
    return found | {"DBN": tuple(torch.cat(pair, 1) for pair in zip(first, second, strict=True))}


def alone(mnist: Dataset) -> float:
    """The share of test images that the recipe's D misses if it sees labelled images alone, and no game."""
    model = SEMISUPERVISED_MNIST_100.start(mnist, 0)
    D = model.discriminator
    adam = torch.optim.Adam(learnt(D), model.recipe.learning_rate, (model.recipe.momentum, 0.999))
    with drawing_from(model.rng):
        for model.updates in range(ALONE):
            x, kinds = model.labelled(100)
            adam.zero_grad()
            cross_entropy(D(x), kinds).backward()
            adam.step()
    return wrong(D.eval()(mnist.test), mnist.labelled("test"))


def main() -> None:
    """Fill the cells that are missing."""
    file, mnist = RESULTS / "semisupervised.jsonl", datasets.mnist()
    lines = [json.loads(text) for text in file.read_text().splitlines()] if file.exists() else []
    known = {(one["features"], one["labels"]) for one in lines}
    if ("labels alone", 100) not in known:
        new = line(torch.device("cpu"), features="labels alone", labels=100, updates=ALONE)
        add("semisupervised", new | {"errors": [alone(mnist)]})
    labels, valid, test = (mnist.labelled(part) for part in ("train", "valid", "test"))
    labels = labels[:IMAGES]
    for name, (train, validating, testing) in features(mnist).items():
        for number in NUMBERS:
            if (name, number) in known:
                continue
            *draws, apart = (few(labels, number, seed) for seed in range(DRAWS + 1))
            by_penalty = {
                penalty: tried(train, labels, apart[None], validating, valid, penalty).item()
                for penalty in PENALTIES
            }
            penalty = min(by_penalty, key=by_penalty.__getitem__)
            errors = tried(train, labels, torch.stack(draws), testing, test, penalty)
            new = line(torch.device("cpu"), features=name, labels=number, penalty=penalty)
            add("semisupervised", new | {"errors": [round(error, 4) for error in errors.tolist()]})
            print(f"{name}, {number} labels, {penalty:g}: {errors.mean():.4f}", flush=True)


if __name__ == "__main__":
    main()
