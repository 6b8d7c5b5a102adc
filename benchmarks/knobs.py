"""What do the knobs of the authors' own code do? Small nets at the ladder's top, one turned, several seeds.

`python benchmarks/knobs.py` trains what results/knobs.jsonl lacks, half a minute a line, and adds it:
validation scores along the way, of G's last weights and of their running mean.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import torch
from lines import RESULTS, add, line

from gansrc import datasets, parzen
from gansrc.extensions.coordination import LADDER_RATE

KNOBS: dict[str, dict[str, Any]] = {
    "none": {},
    "z Gaussian": {"noise": "gaussian"},
    "z on the unit sphere": {"noise": "gaussian", "radius": 1.0},
    "z on a sphere, unit variance": {"noise": "gaussian", "radius": 10.0},
    "no dropout in D for G": {"clear": True},
    "both costs blended": {"blend": 1 / 3},
    "eq. (1)'s cost alone": {"blend": 1.0},
    "noise on what D sees": {"input_noise": 0.1},
    "two steps of D": {"rules": dataclasses.replace(LADDER_RATE.rules, k=2)},
}
SEEDS, UPDATES, EVERY = 3, 1200, 400
NARROW: dict[str, Any] = {
    "g_hidden": (120, 120), "g_range": 0.089, "d_hidden": (24, 24), "d_range": 0.05, "average": 0.995,
}  # fmt: skip
"""A tenth of the paper's widths; weights start wider, so that a unit's input varies as in the wide nets."""


def scores(changes: dict[str, Any], seed: int) -> list[list[float]]:
    """Every so many updates: their number, validation nats by the last weights, and by their mean."""
    recipe, mnist = dataclasses.replace(LADDER_RATE, **NARROW | changes), datasets.mnist()
    model, found = recipe.start(mnist, seed), []
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
    done = {(one["knob"], one["seed"]) for one in known}
    for knob, changes in KNOBS.items():
        for seed in range(SEEDS):
            if (knob, seed) not in done:
                new = line(torch.device("cpu"), knob=knob, seed=seed)
                add("knobs", new | {"scores": scores(changes, seed)})
                print(knob, seed, flush=True)


if __name__ == "__main__":
    main()
