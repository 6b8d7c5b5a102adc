"""Time an update of one game by one process and by several that share it, and a game for each of them.

`torchrun --nproc_per_node 2 benchmarks/parallel.py` prints a table; `--record` also adds a line to
results/parallel.jsonl.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import time
from collections.abc import Callable
from typing import Any

import lines
import page
import torch
from torch import distributed

from gansrc import datasets, networks, parallel, recipes
from gansrc.game import Game
from gansrc.gan import GANRecipe

ROUNDS = 7
CASES = {  # side of the images, minibatch, updates a round
    "mnist": (recipes.MNIST, 28, 100, 10),
    "mnist, minibatches of 1,000": (recipes.MNIST, 28, 1000, 2),
    "faces": (recipes.FACES, 48, 100, 1),
}


def start(recipe: GANRecipe, data: datasets.Dataset, batch: int) -> Game:
    """A game at its start, without the running mean."""
    rules = dataclasses.replace(recipe.rules, batch_size=batch)
    return dataclasses.replace(recipe, average=0.0, rules=rules).start(data, 0).game


def seconds(work: Callable[[], object], mine: bool = True) -> float:
    """How long it takes; all processes begin together. Where it is not for this one, it sleeps meanwhile."""
    distributed.barrier()
    begun = time.monotonic()
    if mine:
        work()
    taken = time.monotonic() - begun
    distributed.barrier()
    return taken


def measure(recipe: GANRecipe, side: int, batch: int, updates: int) -> dict[str, Any]:
    """In turns: the first process alone, all with one game, all with a game each."""
    rows = torch.rand(2 * batch, side * side, generator=torch.Generator().manual_seed(0))
    rank, size, data = distributed.get_rank(), parallel.processes(), datasets.of(rows, (side, side))
    own, shared = start(recipe, data, batch), parallel.Shared(start(recipe, data, batch), rank, size)
    times: dict[str, list[float]] = {"alone": [], "shared": [], "each": []}
    for turn in range(-1, ROUNDS):  # the first one warms up
        taken = {
            "alone": seconds(lambda: own.play(rows, updates), rank == 0),
            "shared": seconds(lambda: shared.play(rows, updates)),
            "each": seconds(lambda: own.play(rows, updates)),
        }
        for name, s in taken.items() if turn >= 0 else ():
            times[name].append(1000 * s / updates)
    found: dict[str, Any] = {
        "minibatch": batch, "weights": sum(map(networks.count_weights, (own.generator, own.discriminator))),
        **{name: statistics.median(taken) for name, taken in times.items()},
    }  # fmt: skip
    for name, games in (("shared", 1), ("each", size)):
        faster = [games * one / other for one, other in zip(times["alone"], times[name], strict=True)]
        found[f"{name}_faster"] = [statistics.median(faster), min(faster), max(faster)]
    return found


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--record", action="store_true", help="add a line to results/parallel.jsonl")
    given = arguments.parse_args()
    with parallel.connected("cpu"):
        results = {name: measure(*case) for name, case in CASES.items()}
        first, size = parallel.is_first(), parallel.processes()
    if not first:
        return
    new = lines.line(torch.device("cpu"), processes=size, rounds=ROUNDS, results=results)
    page.tell(page.parallel, new, given.record)


if __name__ == "__main__":
    main()
