"""A distribution without any width, two arcs of a circle, and a Markov chain on what a blur makes of it.

The chain moves on a grid of squares, so that the same chain can be simulated and, as a matrix, solved.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor

from gansrc.measures import total_variation

HALF = math.pi / 3
"""An arc reaches that far to either side of the x axis; the radius is 1."""
GAP = 2 * math.cos(HALF)
"""Between the ends of the two arcs."""
PARTS = 10
"""Of an arc, to count what samples cover."""
EDGE, SQUARES = 1.8, 72
"""The grid: squares in each direction, from -EDGE to EDGE."""
SIDE = 2 * EDGE / SQUARES
"""Of a square."""


def draw(n: int, rng: torch.Generator) -> Float[Tensor, "n 2"]:
    """n points of the data: on either arc with probability 1/2, anywhere on it alike."""
    angle = HALF * (2 * torch.rand(n, generator=rng) - 1)
    side = torch.randint(2, (n, 1), generator=rng) * 2 - 1
    return side * torch.stack([angle.cos(), angle.sin()], 1)


def distance(x: Float[Tensor, "n 2"]) -> Float[Tensor, " n"]:
    """How far points lie from the nearer arc."""
    folded = x.abs()  # the arcs are alike in all four quarters
    end = x.new_tensor([math.cos(HALF), math.sin(HALF)])
    beside = torch.atan2(folded[:, 1], folded[:, 0]) <= HALF
    return torch.where(beside, (folded.norm(dim=1) - 1).abs(), (folded - end).norm(dim=1))


def unevenness(x: Float[Tensor, "n 2"]) -> float:
    """How unevenly points lie along the arcs, whatever their distance: the total variation between their
    shares of 2 x PARTS equal parts and the data's. 0 for the data, .95 for points all in one part."""
    angle = torch.atan2(x[:, 1] * x[:, 0].sign(), x[:, 0].abs())
    part = ((angle + HALF) * (PARTS / (2 * HALF))).floor().long().clamp(0, PARTS - 1)
    counts = torch.bincount(part + PARTS * (x[:, 0] < 0), minlength=2 * PARTS).double()
    shares = counts / counts.sum()
    return total_variation(shares, torch.full_like(shares, 1 / (2 * PARTS)))


def middles() -> Float64[Tensor, "squares 2"]:
    """The middles of the grid's squares, column by column."""
    line = (torch.arange(SQUARES, dtype=torch.float64) + 0.5) * SIDE - EDGE
    return torch.cartesian_prod(line, line)


def blurred(width: float) -> Float64[Tensor, " squares"]:
    """The data with noise of N(0, width^2 I) on it: the mass of every square, from the density in its middle.

    The integral over the arcs is a sum over 400 points of them. Raises ValueError for a width below one
    square: the grid does not resolve it.
    """
    if not SIDE <= width < math.inf:
        raise ValueError(f"width must be at least {SIDE:.2f}, a square of the grid, got {width}: blur more")
    angle = HALF * ((torch.arange(200, dtype=torch.float64) + 0.5) / 100 - 1)
    right = torch.stack([angle.cos(), angle.sin()], 1)
    squares = torch.cdist(middles(), torch.cat([right, -right])).square()
    return (-squares / (2 * width**2)).logsumexp(1).softmax(0)


def reach(width: float) -> int:
    """The longest step of the chain each way, in squares: twice the blur."""
    return max(round(2 * width / SIDE), 1)


def transitions(p: Float64[Tensor, " squares"], steps: int) -> csr_matrix:
    """The Metropolis chain that draws squares with probabilities p, as a matrix: row i to column j.

    From a square it proposes any of the (2 steps + 1)^2 around it, each as likely, and goes there with
    probability min(1, p_j / p_i), else it stays.
    """
    log_p = p.log().numpy().reshape(SQUARES, SQUARES)
    number = np.arange(SQUARES**2).reshape(SQUARES, SQUARES)
    rows, columns, chances = [], [], []
    for right in range(-steps, steps + 1):
        for up in range(-steps, steps + 1):
            inside = tuple(slice(max(0, -d), SQUARES - max(0, d)) for d in (right, up))
            there = tuple(slice(max(0, d), SQUARES - max(0, -d)) for d in (right, up))
            rows.append(number[inside].ravel())
            columns.append(number[there].ravel())
            chances.append(np.exp(np.minimum(log_p[there] - log_p[inside], 0)).ravel())
    entries = np.concatenate(chances) / (2 * steps + 1) ** 2
    moves = coo_matrix((entries, (np.concatenate(rows), np.concatenate(columns)))).tocsr()
    stays = 1 - np.asarray(moves.sum(1)).ravel()  # refused, or over the edge
    moves.setdiag(moves.diagonal() + stays)
    return moves


def slowest(p: Float64[Tensor, " squares"], steps: int) -> tuple[float, float]:
    """The second eigenvalue of `transitions`, and the share of it in how the chain changes sides.

    The autocorrelation of "on the right" at a lag t is a sum of eigenvalues to the power t, with weights
    that sum to 1: the share is this eigenvalue's.
    """
    chain, root = transitions(p, steps), p.sqrt().numpy()
    root = root / np.linalg.norm(root)
    side = np.sign(middles()[:, 0].numpy()) * root

    def symmetric(x: np.ndarray) -> np.ndarray:
        """The chain in the measure in which it is symmetric, less its first eigenvalue, 1."""
        return root * (chain @ (x.ravel() / root)) - root * (root @ x.ravel())

    operator = LinearOperator(chain.shape, matvec=symmetric, dtype=float)
    (value,), vector = eigsh(operator, k=1, which="LA", v0=side)
    return float(value), float((side @ vector[:, 0]) ** 2)


def walk(
    p: Float64[Tensor, " squares"], steps: int, chains: int, length: int, rng: torch.Generator
) -> Bool[Tensor, "chains length"]:
    """The same chain simulated, so many side by side from draws of p: whether they are on the right, step by
    step. Raises ValueError for a chain of no steps."""
    if length < 1:
        raise ValueError(f"length must be positive, got {length}: let the chain take a step")
    edge = SQUARES + 2 * steps
    log_p = torch.full((edge, edge), -math.inf, dtype=torch.float64)  # nothing beyond the grid
    log_p[steps:-steps, steps:-steps] = p.log().unflatten(0, (SQUARES, SQUARES))
    log_p, start = log_p.flatten(), torch.multinomial(p, chains, True, generator=rng)
    at, right = (start // SQUARES + steps) * edge + start % SQUARES + steps, []
    for _ in range(length):
        across, up = torch.randint(-steps, steps + 1, (2, chains), generator=rng)
        new = at + across * edge + up
        luck = torch.rand(chains, generator=rng, dtype=torch.float64)
        at = torch.where(luck.log() < log_p[new] - log_p[at], new, at)
        right.append(at >= (edge // 2) * edge)
    return torch.stack(right, 1)
