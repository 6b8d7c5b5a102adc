"""Time an update of the MNIST nets: `gansrc.game`, also compiled, beside what most people write, and JAX.

`python benchmarks/training.py` prints a table; `--record` also adds a line to benchmarks/results. With
`--device cuda` it also times many seeds at once, and 125,000 updates with their Parzen score.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import math
import os
import statistics
from collections.abc import Callable, Iterator
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch, and as `gansrc train` has it
os.environ.setdefault("GOMP_SPINCOUNT", "2000")

import lines
import page
import products
import torch
import torchvision
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from gansrc import datasets, networks, parzen, recipes
from gansrc.devices import tensor_float_32
from gansrc.game import Game, sample
from gansrc.gan import GANRecipe
from gansrc.seeds import Games

ROUNDS = 15
SEEDS = 16
SEEDS_AT_ONCE = f"gansrc, {SEEDS} seeds at once"


def game_of(recipe: GANRecipe, train: Tensor, seed: int, device: str) -> Game:
    """A game at its start, without the running mean, which the other script lacks."""
    return dataclasses.replace(recipe, average=0.0).start(datasets.of(train), seed, device).game


def idiom(recipe: GANRecipe, device: str, detach: bool = True) -> Callable[[int], None]:
    """The popular way: DataLoader, a pass for the data and one for the samples, backward, `.item()`.

    Not to detach the samples from G in D's cost changes no update: a gradient is computed and thrown away.
    Some much-read programs do so (yunjey/pytorch-tutorial, lyeoni/pytorch-mnist-GAN).
    """
    folder, transform = str(datasets.root()), torchvision.transforms.ToTensor()
    mnist = torchvision.datasets.MNIST(folder, train=True, transform=transform)
    half = torch.utils.data.Subset(mnist, range(50_000))
    loader = torch.utils.data.DataLoader(half, batch_size=recipe.rules.batch_size, shuffle=True)
    batches: Iterator[tuple[Tensor, Tensor]] = itertools.chain.from_iterable(itertools.repeat(loader))

    game = game_of(recipe, torch.rand(1000, 784), 0, "cpu")
    G, D = (as_people_write(net).to(device) for net in (game.generator, game.discriminator))
    optimizers = [torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.5) for net in (G, D)]
    schedulers = [torch.optim.lr_scheduler.ExponentialLR(o, 1 / recipe.rules.decay) for o in optimizers]
    bce, edge = nn.BCEWithLogitsLoss(), math.sqrt(3)
    together = recipe.rules.order == "simultaneous"

    def codes(n: int) -> Tensor:
        return torch.empty(n, recipe.z_dim, device=device).uniform_(-edge, edge)

    def play(updates: int) -> None:
        for images, _ in itertools.islice(batches, updates):
            x = images.to(device).flatten(1)
            ones, zeros = torch.ones(len(x), device=device), torch.zeros(len(x), device=device)
            samples = G(codes(len(x)))
            optimizers[1].zero_grad()
            fake = D(samples.detach() if detach else samples)
            d_loss = recipe.rules.d_cost * (bce(D(x), ones) + bce(fake, zeros))
            d_loss.backward(retain_graph=together and not detach)
            if not together:
                optimizers[1].step()
                samples = G(codes(len(x)))
            optimizers[0].zero_grad()
            g_loss = bce(D(samples), ones)
            if together:  # D's gradient is its own cost's alone
                gradients = torch.autograd.grad(g_loss, list(G.parameters()))
                for parameter, gradient in zip(G.parameters(), gradients, strict=True):
                    parameter.grad = gradient
                optimizers[1].step()
            else:
                g_loss.backward()
            optimizers[0].step()
            for scheduler in schedulers:
                scheduler.step()
            d_loss.item(), g_loss.item()

    return play


def as_people_write(net: nn.Sequential) -> nn.Sequential:
    """The same layers by torch's own names; `gansrc.networks.Maxout`, which torch lacks, stays."""
    layers: list[nn.Module] = []
    for layer in net:
        layers.append(nn.Dropout(1 - layer.keep) if isinstance(layer, networks.Dropout) else layer)
    return nn.Sequential(*layers)


def compiled(recipe: GANRecipe, train: Tensor, device: str) -> Callable[[int], None]:
    """Our update with both nets through torch.compile; on a CUDA device what comes out of it is captured in
    the graph. (The update as a whole is compiled anew at every call.)"""
    torch._functorch.config.donated_buffer = False  # two gradients are taken of one way forward
    game = game_of(recipe, train, 0, device)
    game.generator.compile()
    game.discriminator.compile()
    return lambda n: game.play(train, n)


def in_jax(recipe: GANRecipe, train: Tensor, device: str) -> Callable[[int], None]:
    """The update of `mnist` in JAX, where that is installed."""
    import in_jax

    game = game_of(recipe, train, 0, device)
    return in_jax.contender(recipe, game.generator, game.discriminator, train)


def seconds(device: str, work: Callable[..., object], *arguments: object) -> float:
    start = products.now(device)
    work(*arguments)
    return products.now(device) - start


def operations(recipe: GANRecipe, train: Tensor, device: str) -> int:
    """Floating-point operations of the matrix products of an update."""
    game = game_of(recipe, train, 0, device)
    with FlopCounterMode(display=False) as counter:
        game.play(train, 1)
    return counter.get_total_flops()


def measure(recipe: GANRecipe, train: Tensor, device: str, gflops: float) -> dict[str, Any]:
    """All in turns, a slice of updates each, ROUNDS times."""
    updates = 100 if device == "cuda" else 20
    game = game_of(recipe, train, 0, device)
    contenders = {
        "idiom": idiom(recipe, device),
        "idiom, samples not detached": idiom(recipe, device, detach=False),
        "gansrc": lambda n: game.play(train, n),
    }
    if device == "cpu" and recipe is recipes.MNIST and products.has_jax():
        contenders["JAX"] = in_jax(recipe, train, device)
    if device == "cuda":
        many = Games([game_of(recipe, train, seed, device) for seed in range(SEEDS)])
        contenders[SEEDS_AT_ONCE] = lambda n: many.play(train, n)
    contenders["gansrc, torch.compile"] = compiled(
        recipe, train, device
    )  # a failed capture spoils what follows
    for name, play in [*contenders.items()]:
        try:
            play(10)
        except Exception as error:  # a compiler that is missing, or fails, costs its own column alone
            print(f"{recipe.name}: {name} left out: {str(error).splitlines()[0]}")
            del contenders[name]
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(ROUNDS):
        for name, play in contenders.items():
            times[name].append(1000 * seconds(device, play, updates) / updates)
        print(f"{recipe.name}: round {turn + 1} of {ROUNDS}", end="\r", flush=True)
    shortest = 1e3 * operations(recipe, train, device) / (1e9 * gflops)
    rows = {}
    for name, taken in times.items():
        ratios = [one / two for one, two in zip(times["idiom"], taken, strict=True)]
        median = statistics.median(taken)
        rows[name] = {
            "milliseconds": median,
            "products": median / shortest / (SEEDS if name == SEEDS_AT_ONCE else 1),
            "idiom_over_this": statistics.median(ratios),
            "range": [min(ratios), max(ratios)],
        }
    return rows


def whole_run(recipe: GANRecipe, mnist: datasets.Dataset, device: str) -> float:
    """Seconds for 125,000 updates, 250 epochs, from the start to the Parzen score."""
    train, valid, test = (part.to(device) for part in (mnist.train, mnist.valid[:1000], mnist.test))

    def work() -> None:
        game = game_of(recipe, train, 0, device)
        game.play(train, 125_000)
        samples = sample(game.generator, game.noise, 10_000, game.rng)
        print(f"{recipe.name}: {parzen.score(samples, valid, test).mean:.1f} nats")

    return seconds(device, work)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    arguments.add_argument("--record", action="store_true", help="add a line to results/training.jsonl")
    given = arguments.parse_args()
    mnist = datasets.mnist()
    train, both = mnist.train.to(given.device), (recipes.MNIST, recipes.MNIST_ALGORITHM_1)
    with tensor_float_32():
        unit = products.fastest(products.UPDATE, given.device)
        results = {r.name: measure(r, train, given.device, unit.gflops) for r in both}
        new = lines.line(
            torch.device(given.device), unit=products.as_line(unit), rounds=ROUNDS, results=results
        )
        if given.device == "cuda":
            new["whole_run_seconds"] = {r.name: whole_run(r, mnist, given.device) for r in both}
    page.tell(page.training, new, given.record)


if __name__ == "__main__":
    main()
