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
    # 6 Advantages
    # 7 Extensions
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
