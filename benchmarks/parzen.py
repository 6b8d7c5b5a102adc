"""Time six ways to a Parzen log-likelihood, ours among them, as multiples of one matrix product.

`python benchmarks/parzen.py` prints a table; `--record` also writes it to benchmarks/results.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: threads that wait shall not spin

import numpy as np
import torch
from jaxtyping import Float
from scipy.spatial.distance import cdist
from scipy.special import logsumexp
from sklearn.neighbors import KernelDensity
from torch import Tensor

from gansrc import datasets, parzen
from gansrc.runs import Run
from gansrc.runs.provenance import provenance

HERE = Path(__file__).parent
ROUNDS = 9
CHECKED = 200
"""Points on which every contender is compared with the definition in float64."""

Images = Float[Tensor, "n d"]
Values = Float[Tensor, "m s"] | Float[np.ndarray, "m s"]


class Contender(NamedTuple):
    """A way to score points. The slow ones are given a fraction of the points, and their time is scaled."""

    name: str
    run: Callable[[Images, Images, list[float]], Values]
    sigmas: list[float]
    points: int


def ours(samples: Images, x: Images, sigmas: list[float]) -> Values:
    return parzen.log_likelihood(samples, x, sigmas)


def plain_blocks(samples: Images, x: Images, sigmas: list[float]) -> Values:
    """The obvious way in PyTorch: squared distances block by block, and a logsumexp for every sigma."""
    blocks = []
    for rows in x.split(500):
        squares = rows.square().sum(1)[:, None] + samples.square().sum(1) - 2 * rows @ samples.T
        blocks.append(torch.stack([torch.logsumexp(-squares / (2 * s**2), 1) for s in sigmas], 1))
    return torch.cat(blocks) - normaliser(samples, sigmas)


def broadcast(samples: Images, x: Images, sigmas: list[float]) -> Values:
    """The algorithm of the authors' script: ten points at a time against all samples, anew for each sigma."""
    batches = []
    for rows in x.split(10):
        columns = []
        for s in sigmas:
            exponents = -0.5 * ((rows[:, None, :] - samples) / s).square().sum(2)
            columns.append(torch.logsumexp(exponents, 1))
        batches.append(torch.stack(columns, 1))
    return torch.cat(batches) - normaliser(samples, sigmas)


def scipy_cdist(samples: Images, x: Images, sigmas: list[float]) -> Values:
    """The definition, in float64."""
    squares = cdist(x.double(), samples.double(), "sqeuclidean")
    sums = np.stack([logsumexp(-squares / (2 * s**2), axis=1) for s in sigmas], 1)
    return sums - normaliser(samples, sigmas).numpy()


def scikit_learn(samples: Images, x: Images, sigmas: list[float], leaf_size: int = 40) -> Values:
    columns = []
    for s in sigmas:
        density = KernelDensity(bandwidth=s, leaf_size=leaf_size).fit(samples.double().numpy())
        columns.append(density.score_samples(x.double().numpy()))
    return np.stack(columns, 1)


def scikit_learn_one_leaf(samples: Images, x: Images, sigmas: list[float]) -> Values:
    return scikit_learn(samples, x, sigmas, leaf_size=len(samples))


def normaliser(samples: Images, sigmas: list[float]) -> Float[Tensor, " s"]:
    n, d = samples.shape
    return math.log(n) + d * torch.tensor(sigmas, dtype=torch.float64).mul(math.sqrt(2 * math.pi)).log()


def bare_product(samples: Images, x: Images, rows: int) -> None:
    out = torch.empty(rows, len(samples))
    for block in x.split(rows):
        torch.mm(block, samples.T, out=out[: len(block)])


def seconds(work: Callable[..., object], *arguments: object) -> float:
    start = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - start


def generated(train: Images) -> tuple[Images, str]:
    """10,000 samples of the recorded MNIST generator, or a stand-in where there is none."""
    folder = HERE.parent / "book/runs/mnist"
    try:
        return Run(folder).samples(10_000), "samples of the recorded generator book/runs/mnist"
    except FileNotFoundError:
        g = torch.Generator().manual_seed(0)
        chosen = train[torch.randperm(len(train), generator=g)[:10_000]]
        noisy = (chosen + 0.1 * torch.randn(chosen.shape, generator=g)).clamp(0, 1)
        return noisy, "training images with noise of .1, as no generator is recorded"


def measure(samples: Images, x: Images) -> list[dict[str, Any]]:
    """Every contender in turn, ROUNDS times, each just after the bare product to which it is compared."""
    ten, one = list(parzen.SIGMAS), [parzen.SIGMAS[3]]
    m = len(x)
    contenders = [
        Contender("gansrc.parzen", ours, one, m),
        Contender("gansrc.parzen", ours, ten, m),
        Contender("plain blocks in PyTorch", plain_blocks, one, m // 5),
        Contender("plain blocks in PyTorch", plain_blocks, ten, m // 10),
        Contender("scikit-learn KernelDensity, default tree", scikit_learn, one, m // 100),
        Contender("scikit-learn KernelDensity, a single leaf", scikit_learn_one_leaf, one, m // 100),
        Contender("SciPy cdist + logsumexp", scipy_cdist, one, m // 50),
        Contender("SciPy cdist + logsumexp", scipy_cdist, ten, m // 50),
        Contender("the authors' broadcast", broadcast, one, m // 500),
        Contender("the authors' broadcast", broadcast, ten, m // 1000),
    ]
    heights = (m, 768, 384)
    trials = {rows: min(seconds(bare_product, samples, x, rows) for _ in range(3)) for rows in heights}
    quickest = min(trials, key=trials.__getitem__)
    times: list[list[float]] = [[] for _ in contenders]
    ratios: list[list[float]] = [[] for _ in contenders]
    products = []
    for turn in range(ROUNDS):
        for k, contender in enumerate(contenders):
            product = seconds(bare_product, samples, x, quickest)
            points = x[: contender.points]
            took = seconds(contender.run, samples, points, contender.sigmas) * m / len(points)
            products.append(product)
            times[k].append(took)
            ratios[k].append(took / product)
        print(f"round {turn + 1} of {ROUNDS}", end="\r", flush=True)

    how = "whole" if quickest == m else f"{quickest} rows at a time"
    rows = [
        {
            "name": f"bare float32 product, {how}", "sigmas": None, "seconds": statistics.median(products),
            "ratio": 1.0, "spread": None, "points": m, "worst_error": None, "mean_error": None,
        }
    ]  # fmt: skip
    for contender, took, ratio in zip(contenders, times, ratios, strict=True):
        checked = x[: min(CHECKED, contender.points)]
        truth = scipy_cdist(samples, checked, contender.sigmas)
        error = np.asarray(contender.run(samples, checked, contender.sigmas)) - truth
        rows.append(
            {
                "name": contender.name, "sigmas": len(contender.sigmas), "seconds": statistics.median(took),
                "ratio": statistics.median(ratio), "spread": [min(ratio), max(ratio)],
                "points": contender.points, "worst_error": float(abs(error).max()),
                "mean_error": float(abs(error.mean(0)).max()),
            }
        )  # fmt: skip
    return rows


def table(rows: list[dict[str, Any]], m: int) -> str:
    lines = [
        "| | sigmas | seconds | x product: median (range) | points timed | worst error, nats | of the mean |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        ratio = figure(row["ratio"]) + (
            " ({} to {})".format(*map(figure, row["spread"])) if row["spread"] else ""
        )
        points = f"{row['points']:,}" + ("" if row["points"] == m else ", scaled")
        worst, mean = ("" if row[k] is None else f"{row[k]:.0e}" for k in ("worst_error", "mean_error"))
        cells = [row["name"], row["sigmas"] or "", figure(row["seconds"]), ratio, points, worst, mean]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--record", action="store_true", help="write benchmarks/results/parzen.{json,md}")
    record = arguments.parse_args().record
    mnist = datasets.mnist()
    samples, origin = generated(mnist.train)
    x = mnist.test
    machine = vars(provenance(torch.device("cpu")))
    heading = (
        f"{len(samples):,} generated x {len(x):,} real images ({mnist.name}), {x.shape[1]} dimensions.\n"
        f"Generated: {origin}.\n"
        f"Machine: {machine['device_name']}, {machine['cores']} cores, {machine['threads']} threads, torch "
        f"{machine['packages']['torch']}.\n"
        f"Medians of {ROUNDS} rounds. One sigma is {parzen.SIGMAS[3]:.3f}, ten are logspace(-1, 0, 10).\n"
        f"Errors: on up to {CHECKED} points, against the definition in float64."
    )
    print(heading)
    rows = measure(samples, x)
    print("\n" + table(rows, len(x)))
    if record:
        folder = HERE / "results"
        folder.mkdir(exist_ok=True)
        content = {"samples": origin, "data": mnist.name, "machine": machine, "rounds": ROUNDS, "rows": rows}
        (folder / "parzen.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        text = f"# Parzen log-likelihood, as recorded\n\n{heading}\n\n{table(rows, len(x))}\n"
        (folder / "parzen.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
