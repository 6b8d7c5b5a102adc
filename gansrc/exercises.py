"""Exercises that check themselves: a reader's answer beside ours, and in words what is off.

On its page an exercise has a cell with a placeholder that ends in `check("ex-...", answer)`; the solution,
folded, ends in `assert check("ex-...", answer)`, so it is tested whenever the page runs. The name is the
exercise's label. Ours are closed forms, worked out here for values that the page does not tell.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor

P = torch.tensor([0.05, 0.3, 0.9, 0.4], dtype=torch.float64)
Q = torch.tensor([0.6, 0.3, 0.02, 0.5], dtype=torch.float64)
SHIFTS = torch.tensor([0.5, 1.0, 2.5, 4.0], dtype=torch.float64)
SIZES = torch.tensor([3, 7, 12, 20], dtype=torch.float64)
PARTS = torch.tensor([0.02, 0.1, 0.25, 0.6], dtype=torch.float64)
WIDTHS = torch.tensor([0.1, 0.18, 0.3, 1.2], dtype=torch.float64)
NUMBERS = torch.tensor([-1.2, 0.4, 0.9, 2.0], dtype=torch.float64)
STATES = torch.tensor([[1, 0, 1], [0, 0, 0], [1, 1, 0], [0, 1, 1]], dtype=torch.float64)
WEIGHTS = torch.tensor([[0.5, -1.0, 2.0], [1.5, 0.3, -0.7]], dtype=torch.float64)
VISIBLE = torch.tensor([0.2, -0.4, 0.1], dtype=torch.float64)
HIDDEN = torch.tensor([0.3, -0.6], dtype=torch.float64)


@dataclass(frozen=True)
class Exercise:
    """What is asked: ours, the arguments that both answers get, how far apart they may lie.

    `given` is empty where numbers are asked, not a function. `tolerance` is a share of our largest number.
    """

    ours: Callable[..., Any]
    given: tuple[Any, ...] = ()
    tolerance: float = 1e-3


@dataclass(frozen=True)
class Finding:
    """How an answer fared: true if it is right; a notebook shows the words."""

    right: bool
    words: str

    def __bool__(self) -> bool:
        """Whether it is right, for an `assert`."""
        return self.right

    def __repr__(self) -> str:
        """The words alone."""
        return self.words


def _slower_walk() -> float:
    """How many times as many turns the five states take with damage .02 as with .5, to forget their start."""
    data = torch.tensor([0.4, 0.3, 0.05, 0.05, 0.2], dtype=torch.float64)
    ring, turns = torch.eye(5, dtype=torch.float64), []
    for move in (0.02, 0.5):
        damage = (1 - move) * ring + move / 2 * (ring.roll(1, 1) + ring.roll(-1, 1))
        repair = data[:, None] * damage  # Bayes' rule; its columns still to be normalised
        chain = damage @ (repair / repair.sum(0)).T
        turns.append(-1 / torch.linalg.eigvals(chain).abs().sort().values[-2].log().item())
    return turns[0] / turns[1]


def _ink(x: Float64[Tensor, "..."], u: float, width: float, ink: float) -> Float64[Tensor, "..."]:
    """What a round spot at u leaves at x."""
    return ink * (-((x - u) ** 2) / (2 * width**2)).exp()


EXERCISES: dict[str, Exercise] = {
    # 1 Introduction
    "ex-best-accuracy": Exercise(lambda m: (1 + torch.erf(m / math.sqrt(8))) / 2, (SHIFTS,)),
    # 2 Related work
    "ex-wink-empty": Exercise(lambda m: (-m).exp(), (SHIFTS,)),
    "ex-ae-kl": Exercise(lambda m, s: (m * m + s * s - 1) / 2 - s.log(), (SHIFTS, P)),
    "ex-boltzmann-sum": Exercise(lambda a: a.exp().log1p().sum(), (SHIFTS - 2,)),
    "ex-score-bell": Exercise(lambda x, m, s: (m - x) / s**2, (SHIFTS, 1.2, 0.8)),
    "ex-nce-share": Exercise(lambda p, q, nu: p / (p + nu * q), (P, Q, 10.0)),
    "ex-gsn-two": Exercise(lambda p, q: q / (p + q), (P, Q)),
    "ex-pm-spread": Exercise(lambda u: (1 - u.abs()) ** 2 / 3, (P - 0.5,)),
    "ex-remarks-kink": Exercise(lambda x, s: (1 + torch.erf(x / s / math.sqrt(2))) / 2, (P - 0.3, 0.4)),
    # 3 Adversarial nets
    "ex-constant-d": Exercise(lambda c: (c * (1 - c)).log(), (P,)),
    "ex-steepness": Exercise(lambda theta, s: theta / s**2, (SHIFTS, 1.5)),
    "ex-fold": Exercise(lambda x: x.rsqrt() / 2, (P,)),
    "ex-passes": Exercise(lambda k: 2 * k + 1, (torch.tensor([1.0, 2.0, 7.0]),)),
    "ex-energy": Exercise(lambda theta: 2 * theta.abs(), (SHIFTS - 2,)),
    "ex-least-squares": Exercise(lambda d: 2 * d * (1 - d) ** 2, (P,)),
    # 4 Theory
    "ex-circles": Exercise(lambda h: (1 + h * h).sqrt(), (SHIFTS,)),
    "ex-share": Exercise(lambda p, q, share: share * p / (share * p + (1 - share) * q), (P, Q, 0.8)),
    "ex-logit": Exercise(lambda p, q: (p / q).log(), (P, Q)),
    "ex-uniform": Exercise(lambda s: (s - 1) * math.log(4), (P,)),
    "ex-lag": Exercise(lambda eta: 1 - eta / 2, (SHIFTS,)),
    "ex-strips": Exercise(lambda theta, w: (theta / w).clamp(max=1) * math.log(2), (SHIFTS, 2.0)),
    # 5 Experiments
    "ex-mnist-range": Exercise(lambda pixels: -pixels * math.log(2), (SIZES,)),
    "ex-parzen-normaliser": Exercise(lambda sigma, d: d / 2 * sigma.log(), (WIDTHS, 100)),
    "ex-parzen-missing": Exercise(lambda share: -(1 - share).log(), (PARTS,)),
    "ex-faces-norm": Exercise(
        lambda rows: rows * (1.9365 / rows.norm(dim=1, keepdim=True)).clamp(max=1), (2 * WEIGHTS - 0.8,)
    ),
    "ex-cifar10-size": Exercise(lambda n, kernel, stride: stride * (n - 1) + kernel, (SIZES, 4, 2)),
    "ex-cifar10-grey": Exercise(
        lambda length, d: [length / math.sqrt(d), -d / 2 * (1 + math.log(2 * math.pi * length**2 / d))],
        (20.0, 300),
    ),
    "ex-figures-fair": Exercise(
        lambda known, others, patterns: [
            known / (known + others),
            math.sqrt(known * others / patterns) / (known + others),
        ],
        (300, 100, 50),
    ),
    "ex-table-1-paired": Exercise(
        lambda a, b, rho, n: ((a**2 + b**2 - 2 * rho * a * b) / n) ** 0.5, (SIZES, 9.0, PARTS, 400)
    ),
    "ex-dbn-units": Exercise(
        lambda v, weight, b, c: v @ b + (1 + (v @ weight.T + c).exp()).log().sum(1),
        (STATES, WEIGHTS, VISIBLE, HIDDEN),
    ),
    "ex-cae-walk": Exercise(
        lambda h, weight: (h * (1 - h))[:, None] * (weight @ weight.T) * (h * (1 - h)), (PARTS[:2], WEIGHTS)
    ),
    "ex-gsn-damage": Exercise(_slower_walk, (), 0.02),
    "ex-vae-kl": Exercise(lambda mean, std: (mean**2 + std**2 - 1) / 2 - std.log(), (NUMBERS, WIDTHS)),
    "ex-gmmn-two-points": Exercise(lambda a, sigma: 2 - 2 * (-(a**2) / (2 * sigma**2)).exp(), (NUMBERS, 0.7)),
    "ex-diffusion-two": Exercise(lambda x, left: (left**0.5 * x / (1 - left)).tanh(), (NUMBERS, 0.3)),
    "ex-rulers-frechet": Exercise(
        lambda m, s, n, t: (m - n) ** 2 + (s - t) ** 2, (NUMBERS, WIDTHS, 0.5, 0.8)
    ),
    # 6 Advantages
    "ex-trade-off": Exercise(lambda w: torch.stack([1 / (1 + w**2), w**2 / (1 + w**2)]), (WIDTHS,)),
    "ex-helvetica-birthday": Exercise(lambda p: 1 / p.square().sum(), (PARTS / PARTS.sum(),)),
    "ex-pen-pull": Exercise(
        lambda x, u, width, ink: (
            _ink(x, u, width, ink) * (-_ink(x, u, width, ink)).exp() * (x - u) / width**2
        ),
        (NUMBERS, 0.6, 0.8, 1.5),
    ),
    "ex-arcs-time": Exercise(
        lambda gap, wide, narrow: (gap**2 / 8 * (narrow**-2 - wide**-2)).exp(), (SIZES / 20, 0.5, 0.3)
    ),
    # 7 Extensions
    "ex-hopes-deaf": Exercise(lambda K: K.log() - (1 + 1 / K) * (K + 1).log(), (SIZES,)),
    "ex-hopes-gaps": Exercise(lambda d: 2**d - 1, (SIZES,), 1e-9),
    "ex-conditional-best": Exercise(
        lambda p, p_g, share, asked: share * p / (share * p + asked * p_g), (P, Q, 0.3, 0.1)
    ),
    "ex-inference-mean": Exercise(lambda: [1.0, 1.0, 1.0, 2.0]),
    "ex-inference-noise": Exercise(lambda a, std: a / (a @ a + std**2), (NUMBERS, 0.5)),
    "ex-conditionals-twice": Exercise(lambda v, n: (1 + 1 / n) * v, (PARTS, SIZES)),
    "ex-semi-logit": Exercise(lambda scores: torch.logsumexp(scores, 1).sigmoid(), (WEIGHTS,)),
    "ex-dirac-rates": Exercise(lambda k: 4 / k**0.5, (SIZES,)),
    "ex-coordination-memory": Exercise(lambda beta, n: beta**n, (1 - PARTS / 10, SIZES)),
}
"""By label, in the order of the book."""


def check(name: str, answer: object) -> Finding:
    """Compare an answer with ours, and say what is off (shape, sign, factor) without telling ours.

    A number, numbers (list, array or tensor), or a function, which is called with values of the exercise's
    own. None, or a function that returns None, is "not answered yet". Raises ValueError for a name that is
    no exercise's.
    """
    if name not in EXERCISES:
        raise ValueError(f"no exercise is called {name!r}: take one of {sorted(EXERCISES)}")
    exercise = EXERCISES[name]
    theirs = answer(*exercise.given) if callable(answer) else answer
    if theirs is None:
        return Finding(False, "not answered yet")
    try:
        numbers = torch.as_tensor(theirs, dtype=torch.float64).detach().cpu()
    except (TypeError, ValueError, RuntimeError):
        return Finding(False, f"a number is asked for, or several, got {type(theirs).__name__}")
    ours = torch.as_tensor(exercise.ours(*exercise.given), dtype=torch.float64)
    words = _what_is_off(numbers, ours, exercise.tolerance)
    return Finding(not words, words or "right")


def _what_is_off(theirs: Float64[Tensor, "..."], ours: Float64[Tensor, "..."], tolerance: float) -> str:
    """In words; nothing where all is right."""
    if theirs.shape != ours.shape:
        return f"the shape is {_shape(theirs)}, and should be {_shape(ours)}"
    near = tolerance * (ours.abs().max().item() or 1.0)

    def fits(numbers: Tensor) -> Tensor:
        return torch.isclose(numbers, ours, rtol=0.0, atol=near)

    if fits(theirs).all():
        return ""
    if not theirs.isfinite().all():
        return f"{int((~theirs.isfinite()).sum())} of {theirs.numel()} are no finite numbers"
    known = {
        -1.0: "the sign is the other one", 2.0: "it is twice as large as it should be",
        0.5: "it is half as large as it should be", 1 / math.log(2): "this is in bits, not in nats",
    }  # fmt: skip
    for factor, words in known.items():
        if fits(theirs / factor).all():
            return words
    if theirs.numel() == 1:
        return "too large" if theirs > ours else "too small"
    if fits(theirs * (theirs * ours).sum() / theirs.square().sum()).all():
        return "right but for a factor, the same for all"
    if fits(theirs + (ours - theirs).mean()).all():
        return "right but for a constant that is added"
    first = int((~fits(theirs)).flatten().nonzero()[0])
    side = "large" if theirs.flatten()[first] > ours.flatten()[first] else "small"
    return f"{int(fits(theirs).sum())} of {theirs.numel()} are right; number {first + 1} is too {side}"


def _shape(numbers: Tensor) -> str:
    return str(tuple(numbers.shape)) if numbers.shape else "that of one number"
