"""A density in the plane that is known in closed form, on which the models of section 2 are set side by side.

Three bent bells of unequal weight make a face that winks: a mouth, a shut eye, an open one. Beside it the
grid of squares by which a model is held against it, exactly where the model has a density, else by samples.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from gansrc import measures, theory


@dataclass(frozen=True)
class BentBell:
    """A bell in the plane, bent along a parabola, then turned by `angle` and moved to `centre`.

    Along it u ~ N(0, length^2), across it v ~ N(bend (u^2 - length^2), width^2). To bend leaves areas as they
    are, so the density is the product of the two bells'.
    """

    weight: float
    centre: tuple[float, float]
    angle: float
    length: float
    width: float
    bend: float

    def log_density(self, x: Float[Tensor, "n 2"]) -> Float[Tensor, " n"]:
        """Log-density of this bell alone, nats."""
        u, v = (x.sub(x.new_tensor(self.centre)) @ self.axes(x)).T
        v = v - self.bend * (u.square() - self.length**2)
        squares = (u / self.length).square() + (v / self.width).square()
        return -squares / 2 - math.log(2 * math.pi * self.length * self.width)

    def bent(self, noise: Float[Tensor, "n 2"]) -> Float[Tensor, "n 2"]:
        """Points of the bell from draws of N(0, I)."""
        u = self.length * noise[:, 0]
        v = self.width * noise[:, 1] + self.bend * (u.square() - self.length**2)
        return torch.stack([u, v], 1) @ self.axes(noise).T + noise.new_tensor(self.centre)

    def axes(self, like: Tensor) -> Float[Tensor, "2 2"]:
        """The directions along and across, as columns."""
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        return like.new_tensor([[cos, -sin], [sin, cos]])


BELLS = (
    BentBell(0.5, (0.0, -1.3), 0.0, 0.9, 0.2, 0.45),
    BentBell(0.3, (1.6, 1.6), -0.1, 0.45, 0.2, -0.9),
    BentBell(0.2, (-1.6, 1.6), 0.4, 0.35, 0.25, 0.0),
)
"""The parts of the density."""
EDGE, SQUARES, WITHIN = 5.0, 80, 4
"""The grid: squares in each direction from -EDGE to EDGE; a density is taken at WITHIN x WITHIN points a
square."""


def log_density(x: Float[Tensor, "n 2"]) -> Float[Tensor, " n"]:
    """Log of the density of the data, nats."""
    parts = [bell.log_density(x) + math.log(bell.weight) for bell in BELLS]
    return torch.stack(parts).logsumexp(0)


def draw(n: int, rng: torch.Generator) -> Float[Tensor, "n 2"]:
    """n points of the data, float32."""
    chosen = torch.multinomial(torch.tensor([b.weight for b in BELLS]), n, True, generator=rng)
    noise = torch.randn(n, 2, generator=rng)
    points = torch.stack([bell.bent(noise) for bell in BELLS])
    return points[chosen, torch.arange(n)]


def points() -> Float64[Tensor, "points 2"]:
    """Where a density is taken: the midpoints of WITHIN x WITHIN parts of every square, float64.

    In order: the squares by rows, bottom row first and from left to right, and in each square its own points.
    """
    parts = SQUARES * WITHIN
    line = (torch.arange(parts, dtype=torch.float64) + 0.5) * (2 * EDGE / parts) - EDGE
    y, x = torch.meshgrid(line, line, indexing="ij")
    by_square = torch.stack([x, y], -1).unflatten(1, (SQUARES, WITHIN)).unflatten(0, (SQUARES, WITHIN))
    return by_square.movedim(2, 1).reshape(-1, 2)


def masses(log_density: Float[Tensor, " points"]) -> tuple[Float64[Tensor, "y x"], float]:
    """The mass of every square, made to sum to 1, and the integral before that, from the log of a density at
    `points()`.

    Of a density that is known but for a factor the integral is its normaliser over the grid; of one that is
    normalised it falls short of 1 by what lies outside. Raises ValueError where it is not finite, or 0.
    """
    n = (SQUARES * WITHIN) ** 2
    if len(log_density) != n:
        raise ValueError(f"a density is wanted at all {n:,} points, got {len(log_density):,}")
    logs = log_density.detach().double()
    highest = logs.max()
    if logs.isnan().any() or not highest.isfinite():
        raise ValueError(f"a log-density must be finite somewhere and nowhere nan, got up to {highest}")
    share = (logs - highest).exp().unflatten(0, (SQUARES, SQUARES, WITHIN**2)).sum(-1)
    area = (2 * EDGE / (SQUARES * WITHIN)) ** 2
    return share / share.sum(), (share.sum() * area).item() * math.exp(highest.item())


def shares(samples: Float[Tensor, "n 2"]) -> Float64[Tensor, "y x"]:
    """The share of samples in every square; what lies outside of the grid counts to the square nearest to it.

    Every square is given half a sample beforehand, so that none that the data reach is called impossible.
    Raises ValueError for samples of another shape, or nan.
    """
    if samples.dim() != 2 or samples.shape[1] != 2 or samples.isnan().any():
        raise ValueError(f"samples must be numbers of shape (n, 2), got {tuple(samples.shape)}")
    column, row = ((samples + EDGE) * (SQUARES / (2 * EDGE))).floor().long().clamp(0, SQUARES - 1).T
    counts = torch.bincount(row * SQUARES + column, minlength=SQUARES**2).double() + 0.5
    return (counts / counts.sum()).unflatten(0, (SQUARES, SQUARES))


@functools.cache
def truth() -> Float64[Tensor, "y x"]:
    """The mass of the data in every square."""
    return masses(log_density(points()))[0]


def distances(model: Float64[Tensor, "y x"]) -> tuple[float, float]:
    """How far a model is from the data: total variation, and KL(p_data || p_model) in nats, over squares."""
    data = truth()
    return measures.total_variation(data, model), theory.kl(data.flatten(), model.flatten()).item()
