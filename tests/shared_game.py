"""What `tests/test_parallel.py` has torchrun start twice: games that both processes play, beside one alone.

`python shared_game.py FOLDER` writes FOLDER/RANK.json: by game how far gradients and weights lie apart, as a
part of the largest, and how many numbers of the state differ between the processes.
"""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path

import torch
from torch import Tensor, distributed, nn

from gansrc import networks, parallel
from gansrc.game import Game, Rules
from gansrc.gan import GAN, GANRecipe
from gansrc.recipes import CIFAR10_CONV, MNIST

UPDATES = 3


class Watched:
    """Keeps the gradients that a game moves by."""

    def move(self, net: nn.Module, gradient: list[Tensor | None]) -> None:
        self.kept = [*getattr(self, "kept", []), *[g.clone() for g in gradient if g is not None]]
        super().move(net, gradient)


class Alone(Watched, Game):
    pass


class Both(parallel.Shared):
    def mean(self, tensors: list[Tensor]) -> list[Tensor]:
        means = super().mean(tensors)
        if len(tensors) > 1:  # else the report
            self.kept = [*getattr(self, "kept", []), *[g.clone() for g in means]]
        return means


def small(recipe: GANRecipe, dtype: torch.dtype, order: str) -> tuple[Game, Tensor]:
    """A game of small nets with dropout, at its start, and its data."""
    rng = torch.Generator().manual_seed(3)
    side, channels = (12, 1) if recipe.d_convolutions else (4, 1)
    data = torch.rand(60, channels * side * side, generator=rng, dtype=dtype)
    generator = networks.generator(5, (11,), data.shape[1], 0.5, rng)
    convolutions = [(4, 2, 3, 1, 2, 2)] if recipe.d_convolutions else []
    discriminator = networks.discriminator(
        data.shape[1], (9, 7), 3, 0.8, 0.5, 0.5, rng, convolutions, (channels, side, side)
    )
    k = 2 if order == "alternating" else 1
    rules = Rules(order=order, k=k, batch_size=10, max_column_norm=1.0)
    noise = torch.distributions.Uniform(-torch.ones(5, dtype=dtype), torch.ones(5, dtype=dtype))
    nets = generator.to(dtype), discriminator.to(dtype)
    return Alone(*nets, noise, rules, torch.Generator().manual_seed(4), 0.9), data


def apart(one: list[Tensor], other: list[Tensor]) -> float:
    """The largest difference, as a part of the largest number."""
    pairs = list(zip(one, other, strict=True))
    return max((a - b).abs().max().item() for a, b in pairs) / max(b.abs().max().item() for _, b in pairs)


def main(folder: Path) -> None:
    found = {}
    with parallel.connected("cpu"):
        rank, size = distributed.get_rank(), parallel.processes()
        for recipe in (MNIST, CIFAR10_CONV):
            for order in ("simultaneous", "alternating"):
                for dtype in (torch.float32, torch.float64):
                    alone, data = small(recipe, dtype, order)
                    common = copy.deepcopy(alone)
                    both = Both(common, rank, size)
                    one, other = alone.play(data, UPDATES), both.play(data, UPDATES)
                    state = GAN(common).state()
                    parts = [t.double().flatten() for part in state.values() for t in part.values()]
                    numbers = torch.cat(parts)
                    first = numbers.clone()
                    distributed.broadcast(first, 0)
                    found[f"{recipe.name} {order} {dtype}"] = {
                        "gradients": apart(both.kept, alone.kept),
                        "weights": apart([*common.generator.parameters()], [*alone.generator.parameters()]),
                        "mean": apart(common.average, alone.average),
                        "report": max(abs(one[key] - other[key]) for key in one),
                        "streams": torch.equal(common.rng.get_state(), alone.rng.get_state()),
                        "between processes": int((first != numbers).sum()),
                        "updates": common.updates,
                    }
    (folder / f"{rank}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
