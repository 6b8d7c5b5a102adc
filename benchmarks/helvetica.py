"""How many modes samples cover, against steps of G for one of D, Adam's rates, and plain momentum.

`python benchmarks/helvetica.py` plays ten games in each setting, up to a minute each, and adds what they
came to, counts of samples by mode, to results/helvetica.jsonl. Settings that are there already stay.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import torch
from lines import RESULTS, add, line

from gansrc import datasets
from gansrc.game import Rules
from gansrc.gan import GAN
from gansrc.measures import birthday, judge, twins
from gansrc.modes import Crowd, grid, ring
from gansrc.runs import Run

PAIRS, SAMPLES, POINTS = 10, 2500, 100_000
"""Seeds, samples of each, points of the data."""
EQUAL, TENFOLD = (1e-3, 1e-3), (1e-3, 1e-4)
"""Adam's rates for G and D: the same, and ten times as large for G."""
RULES = Rules(batch_size=64, learning_rate=0.05, momentum=(0.5, 0.5))
"""Of all games, but for how often each net moves."""
COURSES = (
    ((1, 10, 200), (5, 1, 1500), (1, 10, 200), (1, 1000, 1)),
    ((1, 10, 200), (1, 1, 5000)),
)
"""Games in parts: steps of D, of G, and updates. G ahead, D catches up, G ahead again, D frozen; G ahead, in
step."""

IN_STEP = (500, 1500, 3000, 5000)
"""Updates of the digits' game between two looks at it."""


@dataclasses.dataclass(frozen=True)
class Setting:
    """One cell of the table: the data, the rules of the game, Adam's rates (without: momentum)."""

    data: str
    k: int = 1
    g_steps: int = 1
    rates: tuple[float, float] | None = EQUAL
    updates: int = 2000

    def counts(self) -> list[list[int]]:
        """Samples of high quality, by pair of nets and mode."""
        modes = {"ring": ring, "grid": grid}[self.data]()
        data = modes.draw(POINTS, torch.Generator().manual_seed(0))
        rules = dataclasses.replace(RULES, k=self.k, g_steps=self.g_steps)
        crowd = Crowd(PAIRS, rules, rates=self.rates)
        crowd.on(data, self.updates)
        return [modes.counts(samples).tolist() for samples in crowd.samples(SAMPLES)]


def course(parts: tuple[tuple[int, int, int], ...]) -> dict[str, list[list[Any]]]:
    """Ten games on the ring: after each part, by pair, the counts, and how wide samples lie.

    Width is the root of the sum of both variances: 1 for the data.
    """
    modes, found = ring(), {"counts": [], "width": []}
    data = modes.draw(POINTS, torch.Generator().manual_seed(0))
    crowd = Crowd(PAIRS, RULES, rates=EQUAL)
    for k, g_steps, updates in parts:
        crowd.rules = dataclasses.replace(RULES, k=k, g_steps=g_steps)
        crowd.on(data, updates)
        samples = crowd.samples(SAMPLES)
        found["counts"].append([modes.counts(part).tolist() for part in samples])
        found["width"].append(samples.var(1).sum(-1).sqrt().tolist())
    return found


def digits() -> dict[str, list[Any]]:
    """The recorded run on MNIST whose G was ahead, in step again: at some counts of updates, samples by digit
    as a small net reads them, draws until a pair (0 for none), and at last 24 samples as bytes."""
    mnist, home = datasets.mnist(), RESULTS.parents[1] / "book" / "runs"
    model = Run(home / "mnist-algorithm-1-g-20").model(mnist)
    assert isinstance(model, GAN)
    model.game.rules = dataclasses.replace(model.game.rules, g_steps=1)
    reader = judge(mnist.train, mnist.labels["train"], updates=300)
    found: dict[str, list[Any]] = {"updates": [], "kinds": [], "draws": []}
    for updates in IN_STEP:
        model.fit(mnist.train, updates)
        samples = model.samples(2000, torch.Generator().manual_seed(0))
        draws = birthday(samples, twins(mnist.valid))
        found["updates"].append(model.updates)
        found["kinds"].append(reader(samples).argmax(1).bincount(minlength=10).tolist())
        found["draws"].append(draws if draws < len(samples) else 0)
    found["images"] = (samples[:24] * 255).byte().tolist()
    return found


SETTINGS = [
    setting
    for data in ("ring", "grid")
    for setting in (
        Setting(data), Setting(data, k=5), Setting(data, g_steps=2), Setting(data, g_steps=5),
        Setting(data, rates=TENFOLD), Setting(data, rates=None),
    )
] + [Setting("grid", updates=8000)]  # fmt: skip
"""All cells; on the grid 2,000 updates do not bring samples nearer to modes than noise is."""


def main() -> None:
    """Play what is missing, and add a line to the record after each setting."""
    file = RESULTS / "helvetica.jsonl"
    known = [json.loads(text)["setting"] for text in file.read_text().splitlines()] if file.exists() else []
    for parts in COURSES:
        values = json.loads(json.dumps(parts))
        if values not in known:
            add("helvetica", line(torch.device("cpu"), setting=values, samples=SAMPLES) | course(parts))
            print(values, flush=True)
    for setting in SETTINGS:
        values = json.loads(json.dumps(dataclasses.asdict(setting)))
        if values not in known:
            new = line(torch.device("cpu"), setting=values, samples=SAMPLES)
            add("helvetica", new | {"counts": setting.counts()})
            print(values, flush=True)
    if "digits" not in known:
        add("helvetica", line(torch.device("cpu"), setting="digits", samples=2000) | digits())


if __name__ == "__main__":
    main()
