"""The nets of a recorded run as a script that a page can load: both of them in less than 3 MB of text.

Rounding each weight by itself to 8 bits moves single pixels by a third of the grey scale. So a layer is
rounded column by column, and what a column's rounding does to the layer's outputs is made good by the columns
not rounded yet, as far as their inputs tell of that column's (the optimal brain surgeon of Hassibi and Stork,
1993; GPTQ, Frantar et al., arXiv:2210.17323). The step of a column is in inverse proportion to what the later
inputs leave open of its own. Steps and the rounding's integers are in Rice's code, 15 bits a letter.
"""

from __future__ import annotations

import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from gansrc import datasets
from gansrc.gan import GAN, TrainedGenerator
from gansrc.runs import Run

FIRST = 0x4E00
"""The letter of fifteen zeros: from here on 2 ** 15 letters of UTF-16 are a code unit each."""
STEPS = {"generator": (3.03e-4, 5.454e-4, 4.04e-4), "discriminator": (5.4e-4, 9.6e-4, 1.2e-4)}
"""Of each layer, in units of its outputs: chosen so that all pixels, and D, are right to within 0.01 (for 998
of 1,000 codes)."""
DAMPING = (1e-6, 1e-3, 1e-3)
"""Of a layer's mean square input: inputs that are nearly always zero keep steps of a sensible size."""


@dataclass(frozen=True)
class Rounded:
    """A layer, weights (o, i) and bias (o,): its weights are integers * rows * columns."""

    integers: Int[np.ndarray, "o i"]
    rows: Float[np.ndarray, " o"]
    columns: Float[np.ndarray, " i"]
    bias: Float[np.ndarray, " o"]


def rounded(
    weight: Float[Tensor, "o i"],
    inputs: Float[Tensor, "n i"],
    step: float,
    rows: Float[Tensor, " o"],
    damping: float,
) -> tuple[Int[Tensor, "o i"], Float[Tensor, " i"]]:
    """Integers and the columns' steps, such that the layer's outputs on `inputs` stay as they are, nearly."""
    moments = inputs.T @ inputs / len(inputs)
    moments += damping * moments.diag().mean() * torch.eye(len(moments), dtype=moments.dtype)
    order = moments.diag().argsort(descending=True)
    later = torch.linalg.cholesky(torch.linalg.inv(moments[order][:, order]), upper=True)
    columns, weight, integers = step * later.diag(), weight[:, order].clone(), torch.zeros_like(weight)
    for j, size in enumerate(columns):
        integers[:, j] = (weight[:, j] / (size * rows)).round()
        error = (weight[:, j] - integers[:, j] * size * rows) / later[j, j]
        weight[:, j + 1 :] -= torch.outer(error, later[j, j + 1 :])
    back = order.argsort()
    return integers[:, back].long(), columns[back]


def generator(net: nn.Sequential, z: Float[Tensor, "n z"]) -> tuple[list[Rounded], Float[Tensor, "n d"]]:
    """Its three layers, and what they draw from z; units that no z of these wakes are left out."""
    affine = [layer for layer in net if isinstance(layer, nn.Linear)]
    weights, biases = (
        [getattr(one, name).detach().double() for one in affine] for name in ("weight", "bias")
    )
    first = (z @ weights[0].T + biases[0]).relu()
    alive = (first @ weights[1].T + biases[1] > 0).any(0)
    weights[1], biases[1], weights[2] = weights[1][alive], biases[1][alive], weights[2][:, alive]
    second = (first @ weights[1].T + biases[1]).relu()
    x = (second @ weights[2].T + biases[2]).sigmoid()
    # How much a unit's error shows: the mean square of its derivative, as if signs were independent.
    shows = [(x * (1 - x)).square()]
    for unit, weight in ((second, weights[2]), (first, weights[1])):
        shows.insert(0, (unit > 0) * (shows[0] @ weight.square()))
    layers, h = [], z
    for number, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        share = shows[number].mean(0) / shows[number].mean()
        rows = share.clamp_min(1e-6).pow(-0.25).clamp_max(2)
        integers, columns = rounded(weight, h, STEPS["generator"][number], rows, DAMPING[number])
        layers.append(Rounded(*(part.numpy() for part in (integers, rows, columns, bias))))
        h = h @ (integers * rows[:, None] * columns).T + bias
        h = h.relu() if number < 2 else h.sigmoid()
    return layers, h


def discriminator(net: nn.Sequential, x: Float[Tensor, "n d"]) -> list[Rounded]:
    """Its layers, rounded for such images: two of maxout units, whose pieces are rows, and the last."""
    layers, h = list[Rounded](), x
    for part in net:
        affine = getattr(part, "linear", part)
        if not isinstance(affine, nn.Linear):
            continue
        rows = torch.ones(affine.out_features, dtype=h.dtype)
        step, damping = STEPS["discriminator"][len(layers)], DAMPING[1]
        integers, columns = rounded(affine.weight.detach().double(), h, step, rows, damping)
        bias = affine.bias.detach().double()
        layers.append(Rounded(*(one.numpy() for one in (integers, rows, columns, bias))))
        h = h @ (integers * rows[:, None] * columns).T + bias
        if part is not affine:
            h = h.unflatten(-1, (part.pieces, part.units)).amax(-2)
    return layers


def directions(net: nn.Sequential, z: Float[Tensor, "n z"], n: int = 4) -> Float[np.ndarray, "n z"]:
    """The n directions of z along which images change most, on average over z, each of length one."""

    def one(code: Tensor) -> Tensor:
        return net(code)

    with warnings.catch_warnings():  # torch uses its own old compiler for derivatives forwards
        warnings.filterwarnings("ignore", ".*torch.jit.script", FutureWarning)
        slopes = torch.func.vmap(torch.func.jacfwd(one))(z).detach()
    moments = torch.einsum("ndi,ndj->ij", slopes, slopes)
    found = torch.linalg.eigh(moments).eigenvectors.flip(1)[:, :n].T
    return (found * found.sum(1, keepdim=True).sign()).numpy()  # either sign is right: always the same one


def bits_of(number: int, width: int) -> Int[np.ndarray, " width"]:
    """An integer as so many bits, the highest first."""
    return number >> np.arange(width)[::-1] & 1


def floats(values: Float[np.ndarray, " n"]) -> Int[np.ndarray, " b"]:
    """32 bits each."""
    raw = np.ascontiguousarray(values, dtype=">f4").view(np.uint8)
    return np.unpackbits(raw)


def rice(values: Int[np.ndarray, " n"]) -> Int[np.ndarray, " b"]:
    """Rice's code: k in 4 bits; then each value, its sign folded in: all but k bits in unary, and these.

    A column of zeros is k = 15 alone.
    """
    if not values.any():
        return bits_of(15, 4)
    folded = np.where(values < 0, -2 * values - 1, 2 * values)
    k = min(range(15), key=lambda k: int((folded >> k).sum()) + k * len(folded))
    high = folded >> k
    ends = np.cumsum(high + 1 + k)
    bits, stop = np.ones(ends[-1], dtype=np.uint8), ends - k - 1
    bits[stop] = 0
    for place in range(k):
        bits[stop + 1 + place] = folded >> (k - 1 - place) & 1
    return np.concatenate([bits_of(k, 4), bits])


def packed(layers: list[Rounded], extra: Float[np.ndarray, " e"]) -> str:
    """Layers and further numbers as text."""
    bits = [bits_of(len(extra), 16), floats(extra)]
    for layer in layers:
        bits += [bits_of(size, 16) for size in layer.integers.shape]
        bits += [floats(layer.rows), floats(layer.columns), floats(layer.bias)]
        bits += [rice(column) for column in layer.integers.T]
    stream = np.concatenate(bits)
    stream = np.pad(stream, (0, -len(stream) % 15)).reshape(-1, 15)
    return (FIRST + stream @ (1 << np.arange(15)[::-1])).astype("<u2").tobytes().decode("utf-16-le")


def write(run: Run, file: Path, codes: int = 5000) -> None:
    """Write the run's generator, by the running mean of its weights, and its discriminator.

    Before the weights come numbers: the directions, then D's mean on test images.
    """
    net = cast(TrainedGenerator, run.sampler("average")).net
    mnist = datasets.mnist()
    judge = cast(GAN, run.model(mnist)).game.discriminator.eval()
    rng = torch.Generator().manual_seed(0)
    z = 3**0.5 * (2 * torch.rand(codes, net[0].in_features, generator=rng, dtype=torch.float64) - 1)
    layers, x = generator(net, z)
    with torch.no_grad():
        believed = judge(mnist.test[:1000]).sigmoid().mean().item()
    extra = np.append(directions(net, z[:60].float()), believed)
    text = packed(layers + discriminator(judge, x), extra)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(f'\ufeffvar generatorWeights="{text}";\n'.encode("utf-16-le"))


if __name__ == "__main__":
    write(Run(Path(sys.argv[1])), Path(sys.argv[2]))
