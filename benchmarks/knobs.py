"""What do the knobs of the authors' own code do? Small nets, one thing changed, several seeds.

`python benchmarks/knobs.py` trains what results/knobs.jsonl lacks, half a minute a line, and adds it:
validation scores along the way, of G's last weights and of their running mean.
"""

from __future__ import annotations

import dataclasses
import json

import torch
from lines import RESULTS, add, line

from gansrc import catalogue, datasets, parzen
from gansrc.gan import GANRecipe

KNOBS = (
    "mnist-algorithm-1", "mnist-algorithm-1-gaussian", "knob-unit-sphere", "knob-clear", "knob-blend",
    "mnist-algorithm-1-saturating", "knob-noise", "mnist-algorithm-1-k-2",
)  # fmt: skip
"""The paper's text, then one thing changed in each."""
SEEDS, UPDATES, EVERY = 3, 4000, 1000
NARROW = {"g_hidden": (120, 120), "g_range": 0.089, "d_hidden": (24, 24), "d_range": 0.05, "average": 0.998}
"""A tenth of the paper's widths; weights start wider, so that a unit's input varies as in the wide nets."""


def scores(name: str, seed: int) -> list[list[float]]:
    """Every so many updates: their number, validation nats by the last weights, and by their mean."""
    recipe, mnist = catalogue.recipe(name), datasets.mnist()
    assert isinstance(recipe, GANRecipe)
    model = dataclasses.replace(recipe, **NARROW).start(mnist, seed)
    found = []
    for _ in range(UPDATES // EVERY):
        model.fit(mnist.train, EVERY)
        looks = [
            model.samples(parzen.N_SAMPLES, torch.Generator().manual_seed(0), weights)
            for weights in ("last", "average")
        ]
        nats = [recipe.validate(x, mnist.valid[: parzen.N_VALID])["valid_original"] for x in looks]
        found.append([model.updates, *(round(value, 1) for value in nats)])
    return found


def main() -> None:
    """Train what is missing, and add a line after each."""
    file = RESULTS / "knobs.jsonl"
    known = [json.loads(text) for text in file.read_text().splitlines()] if file.exists() else []
    done = {(one["recipe"], one["seed"]) for one in known}
    for name in KNOBS:
        for seed in range(SEEDS):
            if (name, seed) not in done:
                new = line(torch.device("cpu"), recipe=name, seed=seed)
                add("knobs", new | {"scores": scores(name, seed)})
                print(name, seed, flush=True)


if __name__ == "__main__":
    main()
