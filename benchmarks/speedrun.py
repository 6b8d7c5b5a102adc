"""Enter a training into the table of records: how long until the paper's nets draw digits of 160 nats?

`python benchmarks/speedrun.py "what was changed" RUN RUN RUN` reads the recorded runs of one recipe, three
seeds or more, times its updates beside those of the last record, and says whether it is a new one. With
`--record` a line is added to results/speedrun.jsonl either way.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
from pathlib import Path
from typing import Any, cast

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch, and as `gansrc train` has it

import lines
import products
import torch

from gansrc import catalogue, datasets
from gansrc.extensions import speedrun
from gansrc.gan import GANRecipe
from gansrc.runs import Run

ROUNDS, UPDATES = 9, 20
GIVEN = "data z_dim g_hidden d_hidden d_pieces preview"
"""Values of a recipe that a change must leave alone: the data, the nets, as many samples as are scored."""


def milliseconds(recipes: list[GANRecipe]) -> list[float]:
    """What an update of each takes on their data, in turns: medians."""
    train = datasets.load(recipes[0].data).train
    models = [recipe.start(datasets.of(train), 0) for recipe in recipes]
    took: list[list[float]] = [[] for _ in models]
    for _ in range(ROUNDS + 1):
        for model, times in zip(models, took, strict=True):
            begun = products.now()
            model.fit(train, UPDATES)
            times.append((products.now() - begun) / UPDATES)
    return [1000 * statistics.median(times[1:]) for times in took]  # the first round warms up


def curve(run: Run, weights: str) -> list[tuple[int, float]]:
    """Updates and validation score wherever there is one, by G's last weights or their mean."""
    column = "valid_original" if weights == "last" else f"{weights}_valid_original"
    pairs = zip(run.history["updates"], run.history[column], strict=True)
    return [(int(updates), round(score, 1)) for updates, score in pairs if score == score]


def proposal(change: str, runs: list[Run], weights: str, before: speedrun.Entry | None) -> lines.Line:
    """A line for these runs. ValueError for runs of several recipes, or twice the same seed."""
    recipe = runs[0].recipe
    if not isinstance(recipe, GANRecipe) or {run.recipe for run in runs} != {recipe}:
        raise ValueError(f"give runs of one recipe of a GAN, got {', '.join(r.recipe.name for r in runs)}")
    seeds = {str(run.record.seed): curve(run, weights) for run in runs}
    if len(seeds) < len(runs):
        raise ValueError(f"{len(runs)} runs of {len(seeds)} seeds: give each seed once")
    beside = [catalogue.recipe(before.recipe)] if before else []
    took = milliseconds([recipe, *beside])
    values: dict[str, Any] = dataclasses.asdict(recipe)
    given = {name: values[name] for name in GIVEN.split()} | {"sha256": runs[0].record.data.sha256}
    new = lines.line(
        torch.device("cpu"), change=change, recipe=recipe.name, weights=weights,
        beside=before.recipe if before else "", given=given, seeds=seeds,
        milliseconds=round(took[0], 2), milliseconds_beside=round(took[-1], 2),
    )  # fmt: skip
    return cast(lines.Line, json.loads(json.dumps(new)))  # as it will be read: lists, no tuples


def main() -> None:
    """Measure, judge, and keep the line if asked to."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("change", help="what was changed, in words")
    arguments.add_argument("runs", nargs="+", type=Path, help="recorded runs of one recipe")
    arguments.add_argument("--weights", choices=("last", "average"), default="average")
    arguments.add_argument("--record", action="store_true", help="add a line to results/speedrun.jsonl")
    given = arguments.parse_args()
    file = lines.RESULTS / "speedrun.jsonl"
    held = speedrun.records(speedrun.entries(lines.RESULTS)) if file.exists() else []
    line = proposal(given.change, [Run(folder) for folder in given.runs], given.weights, (held or [None])[-1])
    entry = speedrun.of(line)
    print(f"{line['recipe']}: {line['milliseconds']} ms an update")
    for nats in speedrun.HEIGHTS:
        print(f"seconds to {nats} nats: {', '.join(f'{s:.0f}' for s in entry.seconds_to(nats))}")
    found = speedrun.faults(entry, held[-1]) if held else []
    print("\n".join(found) or "a new record")
    if given.record:
        lines.add("speedrun", line)


if __name__ == "__main__":
    main()
