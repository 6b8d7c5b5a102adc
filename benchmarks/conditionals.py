"""How gaps in test digits are filled: by the recorded net, by one that predicts means, by a clamped chain,
from the nearest training digits, and blindly.

`python benchmarks/conditionals.py DIR` reads a run of conditionals-mnist with its weights, trains the two
rivals for some minutes, and adds what all came to as a line to results/conditionals.jsonl; some of the filled
digits become results/conditionals.webp, in place of those that were there. Given a run of inpainting-cifar10,
it measures that, into results/conditionals-cifar10.jsonl and .webp.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from lines import RESULTS, add, line
from torch import Tensor
from torch.nn.functional import binary_cross_entropy

from gansrc import datasets, mosaics, parzen
from gansrc.extensions.conditionals import (
    CONDITIONALS_MNIST,
    PARTS,
    TrainedFiller,
    asked,
    from_neighbours,
    gaps,
    quality,
    window,
)
from gansrc.measures import judge
from gansrc.models.gsn import GSN_MNIST, DeepGSN
from gansrc.networks import set_output_bias_
from gansrc.runs import Run
from gansrc.streams import batch_indices, drawing_from

Way = Callable[[Tensor, Tensor, int], Tensor]
"""Images, gaps and a number to as many fillings."""
DIGITS, FILLS, WINDOWS = 300, 10, 50
"""Test digits, fillings of each, and fillings that make a Parzen window."""
SHARES, SIDES = (0.1, 0.25, 0.5, 0.75, 0.9), (8, 12, 16)
"""Of pixels that are missing one by one; the sides of squares that are, in the middle (a digit has 20)."""
SHOWN = ("pixels 75 %", "square 12", "right", "top")
"""Gaps, in the order of `settings`, whose fillings are kept as images, of the first test digits of KINDS."""
KINDS, OF_NET = (2, 3, 5, 7), 8
PHOTOS = 6
"""So many photographs are kept, each with its gap and six fillings."""
GREY = 0.4
"""Of what is missing, where it is shown."""
MEAN_UPDATES, GSN_UPDATES = 1500, 1500


def settings() -> dict[str, Tensor]:
    """Gaps (DIGITS, 784) by name."""
    rng, found = torch.Generator().manual_seed(0), dict[str, Tensor]()
    for share in SHARES:
        found[f"pixels {share:.0%}".replace("%", " %")] = (
            torch.rand(DIGITS, 784, generator=rng) < share
        ).float()
    for side in SIDES:
        square, edge = torch.zeros(28, 28), (28 - side) // 2
        square[edge : edge + side, edge : edge + side] = 1
        found[f"square {side}"] = square.flatten().expand(DIGITS, -1)
    return found | {part: gaps((part,), DIGITS, (28, 28)) for part in PARTS}


def mean_predictor(train: Tensor) -> Way:
    """The same layers, trained by cross-entropy on the missing pixels, which is least for their means."""
    rng = torch.Generator().manual_seed(0)
    net = CONDITIONALS_MNIST.generator((28, 28), rng)
    set_output_bias_(net, train)
    noise = CONDITIONALS_MNIST.nothing_known(784)
    adam = torch.optim.Adam(net.parameters(), 1e-3)
    rows = batch_indices(len(train), 100, 0, 0, train.device)
    with drawing_from(rng):
        for number in range(MEAN_UPDATES):
            for group in adam.param_groups:
                group["lr"] = 1e-3 * (1 - number / MEAN_UPDATES)
            x, missing = train[next(rows)], gaps(CONDITIONALS_MNIST.gaps, 100, (28, 28))
            filled = net(asked(noise.mean.expand(100, -1), x, missing))[:, :784]
            adam.zero_grad()
            binary_cross_entropy(filled, x).backward()
            adam.step()

    @torch.no_grad()
    def way(x: Tensor, missing: Tensor, n: int) -> Tensor:
        return net(asked(noise.mean.expand(len(x), -1), x, missing))[:, :784].expand(n, -1, -1)

    return way


def clamped_chain(train: Tensor) -> Way:
    """A deep GSN of 300 units a layer, whose chain has the known pixels put back after every step."""
    recipe = dataclasses.replace(GSN_MNIST, hidden=(300, 300), learning_rate=4.0)
    model = DeepGSN(recipe, train, 0, "cpu")
    model.fit(train, GSN_UPDATES)
    rng = torch.Generator().manual_seed(0)

    @torch.no_grad()
    def way(x: Tensor, missing: Tensor, n: int) -> Tensor:
        def steps() -> Any:
            layers = model.start(torch.where(missing > 0, 0, x))
            while True:
                layers, given, _ = model.step(layers)
                layers[0] = torch.where(missing > 0, layers[0], x)
                yield torch.where(missing > 0, given.sigmoid(), x)

        with drawing_from(rng):
            return torch.stack(list(islice(steps(), 50, 50 + 5 * n, 5)))

    return way


def blind(train: Tensor) -> Way:
    """What is missing from a training digit at random: variety that knows nothing of the rest."""
    rng = torch.Generator().manual_seed(0)

    def way(x: Tensor, missing: Tensor, n: int) -> Tensor:
        others = train[torch.randint(len(train), (n, len(x)), generator=rng)]
        return torch.where(missing > 0, others, x)

    return way


def nat_score(way: Way, mnist: datasets.Dataset) -> tuple[float, float]:
    """log p(right half | left half) of test digits by a Parzen window on fillings, nats: mean and error."""
    missing, values = gaps(("right",), DIGITS, (28, 28)), []
    for part in (mnist.valid, mnist.test):
        x = part[:DIGITS]
        values.append(window(way(x, missing, WINDOWS), x, missing, parzen.FINE_SIGMAS))
    best = values[1][values[0].mean(1).argmax()]
    return best.mean().item(), (best.std() / DIGITS**0.5).item()


def main(folder: Path) -> None:
    """Measure a run and its rivals, and keep it."""
    mnist, run = datasets.mnist(), Run(folder)
    weights = "last"  # their running mean lags behind for tens of epochs
    filler = run.sampler(weights)
    assert isinstance(filler, TrainedFiller)
    rng = torch.Generator().manual_seed(0)
    ways: dict[str, Way] = {
        "net": lambda x, missing, n: filler.fill(x, missing, n, rng),
        "mean": mean_predictor(mnist.train),
        "chain": clamped_chain(mnist.train),
        "neighbours": lambda x, missing, n: from_neighbours(x, missing, mnist.train, n),
        "blind": blind(mnist.train),
    }
    reader = judge(mnist.train, mnist.labels["train"], updates=800)
    x, labels = mnist.test[:DIGITS], mnist.labels["test"][:DIGITS]
    chosen = [int((labels == kind).nonzero()[0]) for kind in KINDS]
    rows, images = [], []
    for setting, missing in settings().items():
        if setting in SHOWN:
            images.append(torch.where(missing > 0, GREY, x)[chosen][:, None])
        for name, way in ways.items():
            fills = way(x, missing, FILLS)
            found = {key: value.double() for key, value in quality(fills, x, missing).items()}
            kinds = torch.stack([reader(one).argmax(1) for one in fills])
            right = (kinds[0] == labels).double()
            several = torch.tensor([len(column.unique()) for column in kinds.T]).double()
            figures = {key: value.mean().item() for key, value in found.items()}
            figures |= {"right": right.mean().item(), "kinds": several.mean().item()}
            figures["altered"] = found["altered"].max().item()
            rows.append({"gap": setting, "way": name, "share": missing.mean().item(), **figures})
            if setting in SHOWN and name != "blind":
                images.append(fills[: OF_NET if name == "net" else 1, chosen].movedim(0, 1))
        print(setting, {row["way"]: f"{row['one']:.4f} {row['right']:.2f}" for row in rows[-len(ways) :]})
    at = iter(images)
    pictures = [torch.cat([next(at) for _ in ways], 1) for _ in SHOWN]
    (content,) = mosaics.webp(mosaics.to_bytes(torch.stack(pictures).flatten(0, 2), 0, 1), (28, 28))
    (RESULTS / "conditionals.webp").write_bytes(content)
    with torch.no_grad():
        empty = {setting: (reader(torch.where(missing > 0, 0, x)).argmax(1) == labels).double().mean().item()
                 for setting, missing in settings().items()}  # fmt: skip
        real = (reader(x).argmax(1) == labels).double().mean().item()
    nats = {name: nat_score(way, mnist) for name, way in ways.items()}
    print(nats)
    add("conditionals", line(torch.device("cpu"), run=folder.name, updates=run.record.updates,
        epochs=run.record.epochs, weights=weights, digits=DIGITS, fills=FILLS, windows=WINDOWS, shown=SHOWN,
        chosen=chosen, of_net=OF_NET, mean_updates=MEAN_UPDATES, gsn_updates=GSN_UPDATES, rows=rows,
        empty=empty, real=real, nats=nats))  # fmt: skip


def photographs(folder: Path) -> None:
    """Measure a run that fills the right halves of photographs, and keep it with some of these."""
    photos, run = datasets.cifar10(), Run(folder)
    filler, rng = run.sampler(), torch.Generator().manual_seed(0)
    assert isinstance(filler, TrainedFiller)
    x, missing, train = photos.test[:DIGITS], gaps(("right",), DIGITS, (3, 32, 32)), photos.train
    fills = {
        "net": filler.fill(x, missing, FILLS, rng),
        "neighbours": from_neighbours(x, missing, train, FILLS),
        "blind": blind(train)(x, missing, FILLS),
    }
    found = {name: {key: value.mean().item() for key, value in quality(part, x, missing).items()}
             for name, part in fills.items()}  # fmt: skip
    lines = [x[:PHOTOS], torch.where(missing > 0, GREY, x)[:PHOTOS], *fills["net"][:6, :PHOTOS]]
    (content,) = mosaics.webp(mosaics.to_bytes(torch.stack(lines, 1).flatten(0, 1), 0, 1), (3, 32, 32))
    (RESULTS / "conditionals-cifar10.webp").write_bytes(content)
    add("conditionals-cifar10", line(torch.device("cpu"), run=folder.name, updates=run.record.updates,
        epochs=run.record.epochs, digits=DIGITS, fills=FILLS, shown=PHOTOS, ways=found))  # fmt: skip


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    (photographs if Run(folder).record.data.name == "cifar10" else main)(folder)
