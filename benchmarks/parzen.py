"""Time six ways to a Parzen log-likelihood, ours among them, as multiples of one matrix product.

`python benchmarks/parzen.py` prints a table; `--record` also adds a line to benchmarks/results.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: threads that wait shall not spin

import lines
import numpy as np
import page
import products
import torch
from jaxtyping import Float
from scipy.spatial.distance import cdist
from scipy.special import logsumexp
from sklearn.neighbors import KernelDensity
from torch import Tensor

from gansrc import datasets, parzen
from gansrc.runs import Run

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


def seconds(work: Callable[..., object], *arguments: object) -> float:
    start = products.now()
    work(*arguments)
    return products.now() - start


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


def measure(samples: Images, x: Images, unit: products.Product) -> list[dict[str, Any]]:
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
    times: list[list[float]] = [[] for _ in contenders]
    ratios: list[list[float]] = [[] for _ in contenders]
    bare = []
    for turn in range(ROUNDS):
        for k, contender in enumerate(contenders):
            product = seconds(unit.run) * m / products.PARZEN[0]
            points = x[: contender.points]
            took = seconds(contender.run, samples, points, contender.sigmas) * m / len(points)
            bare.append(product)
            times[k].append(took)
            ratios[k].append(took / product)
        print(f"round {turn + 1} of {ROUNDS}", end="\r", flush=True)

    rows = [
        {
            "name": f"bare float32 product by {unit.library}", "sigmas": None,
            "seconds": statistics.median(bare), "ratio": 1.0, "spread": None, "points": m,
            "worst_error": None, "mean_error": None,
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


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--record", action="store_true", help="add a line to results/parzen.jsonl")
    record = arguments.parse_args().record
    mnist = datasets.mnist()
    samples, origin = generated(mnist.train)
    unit = products.fastest(products.PARZEN)
    rows = measure(samples, mnist.test, unit)
    new = lines.line(
        torch.device("cpu"), unit=products.as_line(unit), rounds=ROUNDS, samples=origin, data=mnist.name,
        checked=CHECKED, rows=rows,
    )  # fmt: skip
    page.tell(page.parzen, new, record)


if __name__ == "__main__":
    main()
