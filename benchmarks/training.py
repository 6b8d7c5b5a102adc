"""Time an update of the MNIST nets: `gansrc.game` beside the script that most people write.

`python benchmarks/training.py` prints a table; `--record` also writes it to benchmarks/results. With
`--device cuda` it also times many seeds at once, and 125,000 updates with their Parzen score.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import math
import os
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch, and as `gansrc train` has it
os.environ.setdefault("GOMP_SPINCOUNT", "2000")

import torch
import torchvision
from torch import Tensor, nn

from gansrc import datasets, networks, parzen, recipes
from gansrc.devices import tensor_float_32
from gansrc.game import Game, sample
from gansrc.gan import GANRecipe
from gansrc.runs.provenance import provenance
from gansrc.seeds import Games

HERE = Path(__file__).parent
ROUNDS = 15
SEEDS = 16


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


def seconds(work: Callable[..., object], *arguments: object) -> float:
    synchronize = torch.cuda.synchronize if torch.cuda.is_available() else lambda: None
    synchronize()
    start = time.perf_counter()
    work(*arguments)
    synchronize()
    return time.perf_counter() - start


def measure(recipe: GANRecipe, train: Tensor, device: str) -> dict[str, Any]:
    """Both in turns, a slice of updates each, ROUNDS times."""
    updates = 100 if device == "cuda" else 20
    game, plain = game_of(recipe, train, 0, device), idiom(recipe, device)
    contenders = {
        "idiom": plain,
        "idiom, samples not detached": idiom(recipe, device, detach=False),
        "gansrc": lambda n: game.play(train, n),
    }
    if device == "cuda":
        many = Games([game_of(recipe, train, seed, device) for seed in range(SEEDS)])
        contenders[f"gansrc, {SEEDS} seeds at once"] = lambda n: many.play(train, n)
    for play in contenders.values():
        play(10)
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(ROUNDS):
        for name, play in contenders.items():
            times[name].append(1000 * seconds(play, updates) / updates)
        print(f"{recipe.name}: round {turn + 1} of {ROUNDS}", end="\r", flush=True)
    rows = {}
    for name, taken in times.items():
        ratios = [one / two for one, two in zip(times["idiom"], taken, strict=True)]
        rows[name] = {
            "milliseconds": statistics.median(taken),
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

    return seconds(work)


def table(results: dict[str, dict[str, Any]]) -> str:
    lines = ["| recipe | | ms an update | idiom / this: median (range) |", "|---|---|--:|--:|"]
    for recipe, rows in results.items():
        for name, row in rows.items():
            low, high = row["range"]
            ratio = f"{row['idiom_over_this']:.2f} ({low:.2f} to {high:.2f})"
            lines.append(f"| {recipe} | {name} | {row['milliseconds']:.3g} | {ratio} |")
    return "\n".join(lines)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    arguments.add_argument("--record", action="store_true", help="write benchmarks/results/training-DEVICE.*")
    given = arguments.parse_args()
    mnist, machine = datasets.mnist(), vars(provenance(torch.device(given.device)))
    train = mnist.train.to(given.device)
    both = (recipes.MNIST, recipes.MNIST_ALGORITHM_1)
    with tensor_float_32():
        results = {recipe.name: measure(recipe, train, given.device) for recipe in both}
    heading = (
        f"An update of the MNIST nets, batches of {recipes.MNIST.rules.batch_size}.\n"
        f"Machine: {machine['device_name']}, {machine['cores']} cores, {machine['threads']} threads, torch "
        f"{machine['packages']['torch']}, products in {machine['products']}.\n"
        f"Medians of {ROUNDS} rounds."
    )
    content = {"data": mnist.name, "machine": machine, "rounds": ROUNDS, "results": results}
    text = f"{heading}\n\n{table(results)}\n"
    if given.device == "cuda":
        with tensor_float_32():
            content["whole_run_seconds"] = {r.name: whole_run(r, mnist, given.device) for r in both}
        for name, took in content["whole_run_seconds"].items():
            text += f"\n125,000 updates of {name} with the Parzen score: {took:.0f} s.\n"
    print(text)
    if given.record:
        file = HERE / "results" / f"training-{given.device}"
        file.parent.mkdir(exist_ok=True)
        file.with_suffix(".json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        file.with_suffix(".md").write_text(f"# Training, as recorded\n\n{text}", encoding="utf-8")


if __name__ == "__main__":
    main()
